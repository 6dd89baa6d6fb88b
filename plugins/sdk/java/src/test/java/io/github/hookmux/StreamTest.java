package io.github.hookmux;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.google.protobuf.ByteString;
import io.github.hookmux.exhook.v3.ClientAuthenticateRequest;
import io.github.hookmux.exhook.v3.ClientConnectedRequest;
import io.github.hookmux.exhook.v3.ClientInfo;
import io.github.hookmux.plugin.v1.Event;
import io.github.hookmux.plugin.v1.Events;
import io.github.hookmux.plugin.v1.Replies;
import io.github.hookmux.plugin.v1.Reply;
import io.grpc.CallOptions;
import io.grpc.ClientCall;
import io.grpc.ManagedChannel;
import io.grpc.Metadata;
import io.grpc.MethodDescriptor.MethodType;
import io.grpc.Server;
import io.grpc.Status;
import io.grpc.netty.NettyChannelBuilder;
import io.netty.channel.MultiThreadIoEventLoopGroup;
import io.netty.channel.nio.NioIoHandler;
import io.netty.channel.socket.nio.NioDomainSocketChannel;
import java.net.UnixDomainSocketAddress;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

/** The app protocols over a real socket, mostly 2. */
@Timeout(60)
class StreamTest {
  @TempDir Path dir;

  private final MultiThreadIoEventLoopGroup group = new MultiThreadIoEventLoopGroup(1, NioIoHandler.newFactory());
  private Serving serving;
  private Server server;
  private ManagedChannel channel;

  private final CountDownLatch release = new CountDownLatch(1); // of what waits for it
  private final Map<String, List<Integer>> connected = new ConcurrentHashMap<>();
  private final LinkedBlockingQueue<Context> contexts = new LinkedBlockingQueue<>();

  /** A notification of "wait…" and a login of "wait" take until release. */
  private final class TestPlugin extends Plugin {
    @Override
    public void onClientConnected(ClientConnectedRequest request, Context context) throws Exception {
      String client = request.getClientinfo().getClientid();
      if (client.equals("away")) {
        throw new UnavailableException("no database");
      }
      if (client.startsWith("wait")) {
        contexts.add(context);
        release.await();
      }
      connected.computeIfAbsent(client, c -> new ArrayList<>()).add(request.getClientinfo().getSockport());
    }

    @Override
    public Access onClientAuthenticate(ClientAuthenticateRequest request, Context context) throws Exception {
      if (request.getClientinfo().getClientid().equals("away")) {
        throw new UnavailableException("no database");
      }
      if (request.getClientinfo().getClientid().equals("backend")) {
        throw Status.UNAVAILABLE.asException();
      }
      if (request.getClientinfo().getClientid().equals("wait")) {
        contexts.add(context);
        CountDownLatch canceled = new CountDownLatch(1);
        context.onCancel(canceled::countDown);
        canceled.await();
      }
      return allow();
    }
  }

  /** What hookmux has of a stream, or of one call. */
  private static final class Stream extends ClientCall.Listener<ByteString> {
    final LinkedBlockingQueue<Reply> replies = new LinkedBlockingQueue<>();
    final CompletableFuture<Status> end = new CompletableFuture<>();
    final ClientCall<ByteString, ByteString> call;

    Stream(ManagedChannel channel, String service, String name, MethodType type) {
      call = channel.newCall(Wire.method(service, name, type), CallOptions.DEFAULT);
      call.start(this, new Metadata());
      call.request(Integer.MAX_VALUE);
    }

    void send(Events.Builder batch) {
      call.sendMessage(batch.build().toByteString());
    }

    @Override
    public void onMessage(ByteString message) {
      try {
        Replies batch = Replies.parseFrom(message);
        replies.addAll(batch.getRepliesList());
        batch.getDoneList().forEach(id -> replies.add(Reply.newBuilder().setId(id).build()));
      } catch (java.io.IOException e) {
        throw new java.io.UncheckedIOException(e);
      }
    }

    @Override
    public void onClose(Status status, Metadata trailers) {
      end.complete(status);
    }
  }

  private Stream open(String name) throws Exception {
    serve(Env.STREAM);
    return new Stream(channel, "hookmux.plugin.v1.Plugin", name, MethodType.BIDI_STREAMING);
  }

  private void serve(int protocol) throws Exception {
    if (server == null) {
      Path socket = dir.resolve("s");
      serving = new Serving(new Handler(new TestPlugin()));
      server = serving.server(socket, protocol).start();
      channel = NettyChannelBuilder.forAddress(UnixDomainSocketAddress.of(socket))
          .eventLoopGroup(group).channelType(NioDomainSocketChannel.class, UnixDomainSocketAddress.class)
          .usePlaintext().build();
    }
  }

  @AfterEach
  void stop() {
    release.countDown();
    if (server != null) {
      channel.shutdownNow();
      server.shutdownNow();
    }
    group.shutdownGracefully(0, 0, TimeUnit.SECONDS);
  }

  private static Event connected(long id, String client) {
    return Event.newBuilder().setId(id).setHookValue(5).setKey(ByteString.copyFromUtf8(client))
        .setRequest(ClientConnectedRequest.newBuilder()
            .setClientinfo(ClientInfo.newBuilder().setClientid(client).setSockport((int) id)).build().toByteString())
        .build();
  }

  private static Event login(long id, String client) {
    return Event.newBuilder().setId(id).setHookValue(7).setTimeoutUs(TimeUnit.HOURS.toMicros(1))
        .setRequest(ClientAuthenticateRequest.newBuilder()
            .setClientinfo(ClientInfo.newBuilder().setClientid(client)).build().toByteString())
        .build();
  }

  @Test
  void orderPerClient() throws Exception {
    Stream notify = open("Notify");
    int clients = 20;
    int each = 2000; // far more than may be under way
    for (int i = 0; i < each; i++) {
      Events.Builder batch = Events.newBuilder();
      for (int c = 0; c < clients; c++) {
        batch.addEvents(connected((long) i * clients + c + 1, "client-" + c));
      }
      notify.send(batch);
    }
    for (int i = 0; i < each * clients; i++) {
      Reply r = notify.replies.take();
      assertTrue(r.getError().isEmpty(), r.getError());
    }
    for (int c = 0; c < clients; c++) {
      List<Integer> got = connected.get("client-" + c);
      assertEquals(each, got.size());
      for (int i = 0; i < each; i++) {
        assertEquals(i * clients + c + 1, got.get(i));
      }
    }
  }

  @Test
  void aSlowNotificationHoldsUpNobodyElse() throws Exception {
    Stream notify = open("Notify");
    Stream decide = open("Decide");
    notify.send(Events.newBuilder().addEvents(connected(1, "a")).addEvents(connected(2, "wait")).addEvents(connected(3, "b")));
    List<Long> quick = List.of(notify.replies.take().getId(), notify.replies.take().getId());
    assertTrue(quick.containsAll(List.of(1L, 3L)), quick.toString());

    Events.Builder many = Events.newBuilder(); // to have all workers wait
    for (int i = 4; i < 1000; i++) {
      many.addEvents(connected(i, "wait-" + i));
    }
    notify.send(many);
    for (int i = 0; i < 16; i++) {
      contexts.take();
    }
    decide.send(Events.newBuilder().addEvents(login(1, "x")));
    assertEquals(1, decide.replies.take().getId());
    assertTrue(notify.replies.isEmpty() && contexts.isEmpty());
    release.countDown();
    for (int i = 0; i < 997; i++) {
      notify.replies.take();
    }
  }

  @Test
  void aDurableEventHasItsId() throws Exception {
    Stream notify = open("Notify");
    notify.send(Events.newBuilder().addEvents(connected(1, "wait").toBuilder().setEventId("e-1")).addEvents(connected(2, "wait-2")));
    List<String> ids = List.of(contexts.take().eventId(), contexts.take().eventId());
    assertTrue(ids.containsAll(List.of("e-1", "")), ids.toString());
    release.countDown();
  }

  @Test
  void whatItNeedsIsAway() throws Exception {
    Stream decide = open("Decide");
    decide.send(Events.newBuilder().addEvents(login(1, "away")));
    assertEquals(Reply.newBuilder().setId(1).setError("onClientAuthenticate: no database").setUnavailable(true).build(),
        decide.replies.take());
    decide.send(Events.newBuilder().addEvents(login(2, "backend")));
    Reply backend = decide.replies.take();
    assertTrue(!backend.getUnavailable() && backend.getError().contains("UNAVAILABLE"), backend.toString());
    Stream notify = open("Notify");
    notify.send(Events.newBuilder().addEvents(connected(3, "away")));
    assertEquals(Reply.newBuilder().setId(3).setError("onClientConnected: no database").setUnavailable(true).build(),
        notify.replies.take());
  }

  @Test
  void whatItNeedsIsAwayOnAppProtocol1() throws Exception {
    serve(Env.UNARY);
    assertEquals("UNAVAILABLE onClientAuthenticate: no database", unary("OnClientAuthenticate", login(1, "away")));
    assertEquals("UNAVAILABLE onClientConnected: no database", unary("OnClientConnected", connected(2, "away")));
    assertTrue(unary("OnClientAuthenticate", login(3, "backend")).startsWith("UNKNOWN "));
  }

  /** How a call of app protocol 1 fails. */
  private String unary(String name, Event event) throws Exception {
    Stream s = new Stream(channel, "emqx.exhook.v3.HookProvider", name, MethodType.UNARY);
    s.call.sendMessage(event.getRequest());
    s.call.halfClose();
    return s.end.get().getCode() + " " + s.end.get().getDescription();
  }

  @Test
  void aCanceledDecisionIsToldAndAnswered() throws Exception {
    Stream decide = open("Decide");
    decide.send(Events.newBuilder().addEvents(login(1, "wait")).addEvents(login(2, "x")));
    assertEquals(2, decide.replies.take().getId());
    Context context = contexts.take();
    assertTrue(!context.isCancelled() && context.remaining().compareTo(Duration.ofMinutes(50)) > 0);
    decide.send(Events.newBuilder().addCanceled(77).addCanceled(1));
    assertEquals(1, decide.replies.take().getId());
    assertTrue(context.isCancelled());
  }

  @Test
  void aBrokenStreamCancelsWhatIsUnderWay() throws Exception {
    Stream decide = open("Decide");
    decide.send(Events.newBuilder().addEvents(login(1, "wait")));
    Context context = contexts.take();
    CountDownLatch canceled = new CountDownLatch(1);
    context.onCancel(canceled::countDown);
    decide.call.cancel("gone", null);
    canceled.await();
    assertTrue(context.isCancelled());
  }

  @Test
  void whatItDoesNotKnowIsAnError() throws Exception {
    Stream decide = open("Decide");
    decide.send(Events.newBuilder().addEvents(Event.newBuilder().setId(1).setHookValue(99)));
    assertEquals("hook 99 is not known to this plugin", decide.replies.take().getError());
    decide.send(Events.newBuilder().addEvents(login(2, "x").toBuilder().setRequest(ByteString.copyFromUtf8("\377"))));
    assertTrue(!decide.replies.take().getError().isEmpty());
    decide.call.sendMessage(ByteString.copyFromUtf8("no batch"));
    assertEquals(Status.Code.INVALID_ARGUMENT, decide.end.get().getCode());
  }

  @Test
  void stoppingAnswersWhatIsUnderWay() throws Exception {
    Stream notify = open("Notify");
    notify.send(Events.newBuilder().addEvents(connected(1, "wait")));
    contexts.take();
    CompletableFuture<Void> drained = CompletableFuture.runAsync(() -> {
      try {
        serving.drain();
      } catch (InterruptedException e) {
        throw new IllegalStateException(e);
      }
    });
    release.countDown();
    assertEquals(1, notify.replies.take().getId());
    drained.get();
    assertTrue(notify.end.get().isOk());
  }

  @Test
  void halfCloseIsAnsweredToTheEnd() throws Exception {
    Stream notify = open("Notify");
    notify.send(Events.newBuilder().addEvents(connected(1, "wait")));
    notify.call.halfClose();
    contexts.take();
    release.countDown();
    assertTrue(notify.end.get().isOk());
    assertEquals(1, notify.replies.take().getId());
  }
}
