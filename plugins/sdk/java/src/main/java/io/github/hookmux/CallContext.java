package io.github.hookmux;

import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.ScheduledExecutorService;
import java.util.concurrent.TimeUnit;

/**
 * The context of one call. Most hooks never look at theirs, so what costs, a timer and a list, is made
 * when it is asked for.
 */
class CallContext implements Context {
  private static final long DAY = TimeUnit.DAYS.toNanos(1);
  private static final long NONE = Long.MIN_VALUE;

  private final ScheduledExecutorService timer; // null: one is made when needed
  private volatile long deadline; // of System.nanoTime; NONE: no limit
  private volatile boolean cancelled;
  private List<Runnable> actions; // guarded by this
  private Future<?> timeout; // guarded by this
  private boolean over; // guarded by this

  CallContext(ScheduledExecutorService timer) {
    this.deadline = NONE;
    this.timer = timer;
  }

  CallContext(long deadline, ScheduledExecutorService timer) {
    this.deadline = deadline == NONE ? NONE + 1 : deadline;
    this.timer = timer;
  }

  /** Has the time begin: microseconds from now, 0 for no limit. More than a day is a day. */
  void startClock(long now, long timeoutMicros) {
    if (timeoutMicros != 0) {
      long day = DAY / 1000;
      long limit = now + 1000 * (Long.compareUnsigned(timeoutMicros, day) > 0 ? day : timeoutMicros);
      deadline = limit == NONE ? NONE + 1 : limit;
    }
  }

  @Override
  public Duration remaining() {
    return Duration.ofNanos(remainingNanos());
  }

  private long remainingNanos() {
    return deadline == NONE ? DAY : Math.max(0, deadline - System.nanoTime());
  }

  @Override
  public boolean isCancelled() {
    return cancelled || (deadline != NONE && deadline - System.nanoTime() <= 0);
  }

  @Override
  public void onCancel(Runnable action) {
    synchronized (this) {
      if (over) {
        return;
      }
      if (!isCancelled()) {
        if (actions == null) {
          actions = new ArrayList<>(1);
          if (deadline != NONE) {
            timeout = timer().schedule(this::cancel, remainingNanos(), TimeUnit.NANOSECONDS);
          }
        }
        actions.add(action);
        return;
      }
    }
    Threads.POOL.execute(action);
  }

  private ScheduledExecutorService timer() {
    return timer != null ? timer : OwnTimer.TIMER;
  }

  /** Nobody waits any more. */
  void cancel() {
    List<Runnable> run;
    synchronized (this) {
      cancelled = true;
      run = actions;
      actions = null;
      if (over) {
        return;
      }
    }
    if (run != null) {
      run.forEach(Threads.POOL::execute);
    }
  }

  /** The hook has returned. */
  void end() {
    synchronized (this) {
      over = true;
      actions = null;
      if (timeout != null) {
        timeout.cancel(false);
      }
    }
  }

  private static final class OwnTimer {
    static final ScheduledExecutorService TIMER = Executors.newScheduledThreadPool(1, Threads::daemon);
  }
}
