package io.github.hookmux;

import com.google.protobuf.ByteString;
import io.grpc.Metadata;
import io.grpc.MethodDescriptor.MethodType;
import io.grpc.Server;
import io.grpc.ServerCall;
import io.grpc.ServerServiceDefinition;
import io.grpc.Status;
import io.grpc.netty.NettyServerBuilder;
import io.netty.channel.EventLoop;
import io.netty.channel.MultiThreadIoEventLoopGroup;
import io.netty.channel.nio.NioIoHandler;
import io.netty.channel.socket.nio.NioServerDomainSocketChannel;
import java.io.IOException;
import java.lang.reflect.Proxy;
import java.net.UnixDomainSocketAddress;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;

/** Serves go-plugin's host, which hookmux is, until the plugin is told to stop. */
final class Serving {
  private static final int FAILED = 1;
  private static final int USAGE = 2;

  // How long stopping may take: go-plugin's host kills a plugin two seconds after it has been told
  // that it stops.
  private static final long DRAIN_MILLIS = 1000;
  private static final long LAST_ANSWERS_MILLIS = 250;
  private static final long STOP_MILLIS = 1500;

  /** How often we look whether the parent is still there. */
  private static final long PARENT_MILLIS = 500;

  private static final int WINDOW = 1 << 20;

  private final Handler handler;
  private final CountDownLatch told = new CountDownLatch(1); // to stop
  private final InFlight inFlight = new InFlight();
  private final List<EventStream> streams = new ArrayList<>(); // guarded by this
  private final EventLoop loop;

  Serving(Handler handler) {
    this.handler = handler;
    this.loop = (EventLoop) new MultiThreadIoEventLoopGroup(1, Threads::daemon, NioIoHandler.newFactory()).next();
  }

  /** Runs a plugin; returns its exit status. */
  static int run(Plugin plugin) {
    Handler handler;
    try {
      handler = new Handler(plugin);
    } catch (IllegalArgumentException e) {
      return fail(plugin, e.getMessage());
    }
    if (!Env.underHookmux()) {
      System.err.print(Usage.of(handler));
      return USAGE;
    }
    long parent = parent();
    Serving serving = new Serving(handler);
    onTerm(serving.told::countDown);
    try {
      plugin.onStart();
    } catch (Throwable e) {
      return failed(plugin, "onStart", e);
    }
    int status = serving.serve(parent);
    return stop(plugin) ? status : FAILED;
  }

  /**
   * Has SIGTERM ask for the end, which the JVM's own handler would not wait for. By reflection, since
   * javac warns of sun.misc.Signal, although the module that has it, jdk.unsupported, is there to stay.
   */
  private static void onTerm(Runnable stop) {
    try {
      Class<?> signal = Class.forName("sun.misc.Signal");
      Class<?> handler = Class.forName("sun.misc.SignalHandler");
      Object stopper = Proxy.newProxyInstance(handler.getClassLoader(), new Class<?>[] {handler}, (self, method, args) -> {
        stop.run();
        return null;
      });
      signal.getMethod("handle", signal, handler).invoke(null, signal.getConstructor(String.class).newInstance("TERM"), stopper);
    } catch (ReflectiveOperationException e) {
      Log.error("SIGTERM will end the plugin at once", Map.of(), e);
    }
  }

  private int serve(long parent) {
    Path socket = null;
    Server server = null;
    try {
      int protocol = Env.protocol(System.getenv("PLUGIN_PROTOCOL_VERSIONS"));
      String dir = Env.socketDir();
      Path in = dir == null ? Files.createTempDirectory("plugin") : Path.of(dir);
      socket = in.resolve("java" + ProcessHandle.current().pid() + ".sock");
      server = server(socket, protocol).start();
      Stdio.handshake("1|" + protocol + "|unix|" + socket + "|grpc");
      while (!told.await(PARENT_MILLIS, TimeUnit.MILLISECONDS) && parent() == parent) {
        // until somebody says so, or nobody is left to ask for anything
      }
      drain();
      server.shutdown();
      if (!server.awaitTermination(LAST_ANSWERS_MILLIS, TimeUnit.MILLISECONDS)) {
        server.shutdownNow();
      }
      return 0;
    } catch (IllegalArgumentException e) {
      return fail(handler.plugin, e.getMessage());
    } catch (IOException e) {
      return fail(handler.plugin, "serving at " + socket + ": " + e);
    } catch (InterruptedException e) {
      return fail(handler.plugin, "interrupted");
    } finally {
      try {
        if (socket != null) {
          Files.deleteIfExists(socket);
        }
      } catch (IOException e) {
        // hookmux removes the folder
      }
    }
  }

  private static long parent() {
    return ProcessHandle.current().parent().map(ProcessHandle::pid).orElse(0L);
  }

  Server server(Path socket, int protocol) {
    NettyServerBuilder b = NettyServerBuilder.forAddress(UnixDomainSocketAddress.of(socket))
        .channelType(NioServerDomainSocketChannel.class)
        .bossEventLoopGroup(loop)
        .workerEventLoopGroup(loop)
        .maxInboundMessageSize(Integer.MAX_VALUE)
        .flowControlWindow(WINDOW)
        .permitKeepAliveTime(5, TimeUnit.SECONDS)
        .permitKeepAliveWithoutCalls(true)
        .directExecutor(); // the streams and health live in the event loop
    b.callExecutor(new io.grpc.ServerCallExecutorSupplier() {
      @Override
      public <Q, A> java.util.concurrent.Executor getExecutor(ServerCall<Q, A> call, Metadata headers) {
        MethodType type = call.getMethodDescriptor().getType();
        return type == MethodType.UNARY && !Health.CHECK.equals(call.getMethodDescriptor()) ? Threads.POOL : null;
      }
    });
    b.addService(Health.service());
    b.addService(ServerServiceDefinition.builder("plugin.GRPCController")
        .addMethod(Wire.method("plugin.GRPCController", "Shutdown", MethodType.UNARY),
            (call, headers) -> new UnaryCall(call, request -> {
              drain();
              told.countDown();
              return ByteString.EMPTY;
            }))
        .build());
    b.addService(protocol == Env.STREAM ? streams() : hooks());
    return b.build();
  }

  /** App protocol 1: the plain service. */
  private ServerServiceDefinition hooks() {
    String name = "emqx.exhook.v3.HookProvider";
    ServerServiceDefinition.Builder service = ServerServiceDefinition.builder(name);
    for (Hook hook : Hook.values()) {
      service.addMethod(Wire.method(name, hook.rpc(), MethodType.UNARY), (call, headers) -> {
        if (!inFlight.enter()) {
          call.close(Status.UNAVAILABLE.withDescription("the plugin is stopping"), new Metadata());
          return new ServerCall.Listener<>() {};
        }
        return new UnaryCall(call, UnaryCall.events(hook, handler, headers)) {
          @Override
          public void onComplete() {
            inFlight.leave(1);
          }

          @Override
          public void onCancel() {
            inFlight.leave(1);
          }
        };
      });
    }
    return service.build();
  }

  /** App protocol 2: a stream for decisions and one for notifications. */
  private ServerServiceDefinition streams() {
    String name = "hookmux.plugin.v1.Plugin";
    return ServerServiceDefinition.builder(name)
        .addMethod(Wire.method(name, "Decide", MethodType.BIDI_STREAMING), (call, headers) -> stream(call, false))
        .addMethod(Wire.method(name, "Notify", MethodType.BIDI_STREAMING), (call, headers) -> stream(call, true))
        .build();
  }

  private synchronized EventStream stream(ServerCall<ByteString, ByteString> call, boolean isNotify) {
    EventStream stream = new EventStream(call, loop, inFlight, handler, isNotify);
    streams.add(stream);
    return stream;
  }

  /** Takes no new calls, lets those under way end, and ends the streams; may come more than once. */
  void drain() throws InterruptedException {
    inFlight.drain(DRAIN_MILLIS);
    List<EventStream> open;
    synchronized (this) {
      open = List.copyOf(streams);
    }
    loop.submit(() -> open.forEach(EventStream::end)).await(LAST_ANSWERS_MILLIS);
  }

  /** Gives onStop its time and no more: a hung plugin must not be what keeps a reload from ending. */
  private static boolean stop(Plugin plugin) {
    Throwable[] thrown = new Throwable[1];
    Thread t = Threads.daemon(() -> {
      try {
        plugin.onStop();
      } catch (Throwable e) {
        thrown[0] = e;
      }
    });
    t.start();
    try {
      t.join(STOP_MILLIS);
    } catch (InterruptedException e) {
      thrown[0] = e;
    }
    if (t.isAlive()) {
      fail(plugin, "onStop: not done after " + STOP_MILLIS + " ms");
    } else if (thrown[0] != null) {
      failed(plugin, "onStop", thrown[0]);
    }
    return !t.isAlive() && thrown[0] == null;
  }

  private static int failed(Plugin plugin, String method, Throwable e) {
    if (e instanceof IllegalArgumentException && e.getMessage() != null) {
      return fail(plugin, method + ": " + e.getMessage());
    }
    if (e instanceof RuntimeException || e instanceof Error) {
      Log.error("exception in the plugin", Map.of("method", method), e);
    }
    return fail(plugin, method + ": " + e);
  }

  private static int fail(Plugin plugin, String text) {
    System.err.println(Env.name(plugin) + ": " + text);
    System.err.flush();
    return FAILED;
  }
}
