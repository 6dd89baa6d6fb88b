package io.github.hookmux;

import com.google.protobuf.ByteString;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.TimeUnit;

/**
 * Handles the events of the stream Notify: those with the same key in the same shard, and each shard by
 * one worker at a time.
 *
 * <p>Quick hooks are all run by one worker, which costs one wake a batch. What is still waiting a
 * millisecond later gets one more, and so on: slow hooks have all workers within a few milliseconds. The
 * same tick sends the replies that a slow hook would hold up.
 */
final class Notifications implements EventStream.Handling {
  private static final int WORKERS = 16;
  private static final int SHARDS = 64;
  private static final int TICK_MILLIS = 1;
  private static final int SLOWEST_TICK_MILLIS = 16;

  private final EventStream stream;
  private final Handler handler;
  private final Shard[] shards = new Shard[SHARDS];
  private final List<Shard> touched = new ArrayList<>(); // to be made ready after this batch
  private int next; // the shard for an event without a key
  private int tick; // milliseconds to the next; 0: none is scheduled

  private final ArrayDeque<Shard> ready = new ArrayDeque<>(); // with events and no worker; guarded by this
  private int workers; // guarded by this

  /** The queue of a group of keys. */
  private static final class Shard {
    private List<StreamEvent> queue = new ArrayList<>();
    private List<StreamEvent> run = new ArrayList<>(); // what the worker has taken
    private boolean scheduled; // is ready, or has a worker

    /** Whether the shard has to be made ready. */
    synchronized boolean add(StreamEvent e) {
      queue.add(e);
      boolean first = !scheduled;
      scheduled = true;
      return first;
    }

    /** The next run; none: the shard has no worker any more. */
    synchronized List<StreamEvent> take() {
      List<StreamEvent> taken = queue;
      run.clear();
      queue = run;
      run = taken;
      scheduled = !taken.isEmpty();
      return taken;
    }
  }

  Notifications(EventStream stream, Handler handler) {
    this.stream = stream;
    this.handler = handler;
    for (int i = 0; i < SHARDS; i++) {
      shards[i] = new Shard();
    }
  }

  @Override
  public void handle(StreamEvent e, ByteString key) {
    int h = key.isEmpty() ? next++ : key.hashCode();
    Shard s = shards[(h ^ h >>> 16) & (SHARDS - 1)];
    if (s.add(e)) {
      touched.add(s);
    }
  }

  @Override
  public void handled() {
    if (touched.isEmpty()) {
      return;
    }
    synchronized (this) {
      ready.addAll(touched);
      if (workers == 0) {
        oneMore();
      }
    }
    touched.clear();
    if (tick == 0) {
      schedule(TICK_MILLIS);
    }
  }

  /** Sets one more worker to work, with the lock held. */
  private void oneMore() {
    workers++;
    try {
      Threads.POOL.execute(this::work);
    } catch (Throwable t) { // no memory for one more thread: the tick tries again
      workers--;
    }
  }

  private void schedule(int millis) {
    tick = millis;
    stream.loop.schedule(this::tick, millis, TimeUnit.MILLISECONDS);
  }

  private void tick() {
    boolean busy = stream.flush();
    synchronized (this) {
      if (!ready.isEmpty() && workers < WORKERS) {
        oneMore();
        busy = true;
      } else if (workers == 0) {
        tick = 0;
        return;
      }
    }
    schedule(busy ? TICK_MILLIS : Math.min(2 * tick, SLOWEST_TICK_MILLIS));
  }

  private void work() {
    for (Shard s = nextReady(); s != null; s = nextReady()) {
      for (List<StreamEvent> run = s.take(); !run.isEmpty(); run = s.take()) {
        for (StreamEvent e : run) {
          handle(e);
        }
      }
    }
    stream.flushSoon();
  }

  private synchronized Shard nextReady() {
    Shard s = ready.poll();
    if (s == null) {
      workers--;
    }
    return s;
  }

  private void handle(StreamEvent e) {
    if (stream.isClosed()) {
      stream.answer(e, ByteString.EMPTY); // only to count it
      return;
    }
    e.startClock(System.nanoTime()); // what it waited behind others is not its time
    e.handle(handler);
  }
}
