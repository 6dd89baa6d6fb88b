package io.github.hookmux;

import com.google.protobuf.ByteString;
import com.google.protobuf.CodedInputStream;
import io.github.hookmux.plugin.v1.Event;
import io.github.hookmux.plugin.v1.Events;
import io.github.hookmux.plugin.v1.Replies;
import io.github.hookmux.plugin.v1.Reply;
import io.grpc.Metadata;
import io.grpc.ServerCall;
import io.grpc.Status;
import io.netty.channel.EventLoop;
import io.netty.util.collection.LongObjectHashMap;
import java.io.IOException;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.List;

/**
 * One of the two streams of app protocol 2. All of it runs in the connection's event loop but {@link
 * #answer}, {@link #fail} and {@link #flushSoon}, so reading, writing and counting need no lock, and the replies that
 * come while the loop is busy make one batch.
 *
 * <p>Reading pauses when so much is under way that a bound is reached, so the bounds hold the plugin's
 * memory, whatever the host sends.
 */
final class EventStream extends ServerCall.Listener<ByteString> {
  static final int MAX_DECISIONS = 1024;
  static final int MAX_NOTIFICATIONS = 4096;
  private static final long MAX_BYTES = 32 << 20;

  /** What becomes of a stream's events. */
  interface Handling {
    /** Sees to it that the event is answered; does not wait for that. */
    void handle(StreamEvent event, ByteString key);

    /** Called after the last event of a batch. */
    void handled();
  }

  private final ServerCall<ByteString, ByteString> call;
  final EventLoop loop;
  private final InFlight inFlight;
  private final boolean isNotify;
  private final Handling handling;

  private final LongObjectHashMap<StreamEvent> underWay = new LongObjectHashMap<>();
  private final ArrayDeque<StreamEvent> waiting = new ArrayDeque<>(); // decisions read, without room yet
  private int events; // begun and not yet replied to
  private long bytes; // of their requests
  private boolean reading; // a batch is asked for
  private boolean paused;
  private boolean refused; // the plugin is stopping
  private boolean halfClosed;
  private volatile boolean closed;

  private final Object lock = new Object();
  private Replies.Builder ready = Replies.newBuilder(); // guarded by lock
  private List<StreamEvent> answered = new ArrayList<>(); // guarded by lock
  private boolean flushing; // guarded by lock: flush will be called

  EventStream(ServerCall<ByteString, ByteString> call, EventLoop loop, InFlight inFlight, Handler handler, boolean isNotify) {
    this.call = call;
    this.loop = loop;
    this.inFlight = inFlight;
    this.isNotify = isNotify;
    this.handling = isNotify ? new Notifications(this, handler) : new Decisions(this, handler);
    call.sendHeaders(new Metadata());
    more();
  }

  @Override
  public void onMessage(ByteString batch) {
    reading = false;
    if (closed) {
      return;
    }
    long now = System.nanoTime();
    Events read;
    try {
      CodedInputStream in = batch.newCodedInput();
      in.enableAliasing(true);
      read = Events.parseFrom(in);
    } catch (IOException e) {
      close(Status.INVALID_ARGUMENT.withDescription("the batch is malformed"));
      return;
    }
    for (Event e : read.getEventsList()) {
      if (!take(e, now)) {
        refused = true;
        break;
      }
    }
    for (int i = 0; i < read.getCanceledCount(); i++) {
      StreamEvent e = underWay.get(read.getCanceled(i));
      if (e != null) {
        e.cancel();
      }
    }
    begin();
    handling.handled();
    more();
  }

  private boolean take(Event in, long now) {
    if (!inFlight.enter()) {
      return false;
    }
    StreamEvent e = new StreamEvent(this, loop, in);
    underWay.put(e.id, e);
    if (e.hook == null) {
      count(e);
      fail(e, "hook " + in.getHookValue() + " is not known to this plugin", false);
      flushSoon();
    } else if (isNotify) {
      count(e);
      handling.handle(e, in.getKey());
    } else {
      e.startClock(now);
      waiting.add(e);
    }
    return true;
  }

  /** Begins the decisions that there is room for; one always has room, however large. */
  private void begin() {
    while (!waiting.isEmpty() && hasRoom(1)) {
      StreamEvent e = waiting.poll();
      count(e);
      handling.handle(e, ByteString.EMPTY);
    }
  }

  private void count(StreamEvent e) {
    events++;
    bytes += e.bytes;
  }

  private boolean hasRoom(int part) {
    return events < (isNotify ? MAX_NOTIFICATIONS : MAX_DECISIONS) / part && bytes < MAX_BYTES / part;
  }

  /** Asks for the next batch if there is room: once paused, notifications go on at half the bounds. */
  private void more() {
    if (reading || closed || refused || halfClosed || !waiting.isEmpty()) {
      return;
    }
    if (hasRoom(paused ? 2 : 1)) {
      paused = false;
      reading = true;
      call.request(1);
    } else {
      paused = isNotify;
    }
  }

  /** Puts an event's answer into the next batch; any thread. Then call {@link #flushSoon}. */
  void answer(StreamEvent e, ByteString answer) {
    synchronized (lock) {
      if (answer.isEmpty()) {
        ready.addDone(e.id);
      } else {
        ready.addReplies(Reply.newBuilder().setId(e.id).setAnswer(answer));
      }
      answered.add(e);
    }
  }

  /** As {@link #answer}, for an event that has none; unavailable: what the plugin needs for it is away. */
  void fail(StreamEvent e, String error, boolean unavailable) {
    synchronized (lock) {
      ready.addReplies(Reply.newBuilder().setId(e.id).setError(error).setUnavailable(unavailable));
      answered.add(e);
    }
  }

  /** Has the replies sent that are there; any thread. */
  void flushSoon() {
    synchronized (lock) {
      if (flushing) {
        return;
      }
      flushing = true;
    }
    loop.execute(this::flush);
  }

  /** Sends the replies that are there; says whether there were any. */
  boolean flush() {
    synchronized (lock) {
      flushing = false;
    }
    // What cannot be sent yet waits for onReady, and with it the window.
    return (closed || call.isReady()) && send();
  }

  private boolean send() {
    Replies batch;
    List<StreamEvent> done;
    synchronized (lock) {
      if (answered.isEmpty()) {
        return false;
      }
      batch = ready.build();
      ready = Replies.newBuilder();
      done = answered;
      answered = new ArrayList<>();
    }
    if (!closed) {
      call.sendMessage(batch.toByteString());
    }
    for (StreamEvent e : done) {
      underWay.remove(e.id);
      bytes -= e.bytes;
    }
    events -= done.size();
    inFlight.leave(done.size());
    begin();
    if (halfClosed && events == 0 && waiting.isEmpty()) {
      close(Status.OK);
    }
    more();
    return true;
  }

  @Override
  public void onReady() {
    flush();
  }

  @Override
  public void onHalfClose() {
    halfClosed = true;
    if (events == 0 && waiting.isEmpty()) {
      close(Status.OK);
    }
  }

  /** hookmux is gone or gives up on this process. */
  @Override
  public void onCancel() {
    broken();
  }

  /** The plugin has stopped: what is answered goes out, nothing else. */
  void end() {
    if (!closed) {
      send();
      close(Status.OK);
    }
  }

  private void close(Status status) {
    if (!closed) {
      broken();
      call.close(status, new Metadata());
    }
  }

  private void broken() {
    closed = true;
    inFlight.leave(waiting.size());
    waiting.clear();
    underWay.values().forEach(StreamEvent::cancel);
    send();
  }

  boolean isClosed() {
    return closed;
  }
}
