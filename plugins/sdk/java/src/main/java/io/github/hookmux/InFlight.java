package io.github.hookmux;

/** Counts the calls under way, so that stopping can wait for them. */
final class InFlight {
  private int calls;
  private boolean closed;

  /** Begins a call; false means that the plugin is stopping. */
  synchronized boolean enter() {
    if (!closed) {
      calls++;
    }
    return !closed;
  }

  synchronized void leave(int n) {
    calls -= n;
    if (closed && calls == 0) {
      notifyAll();
    }
  }

  /** Refuses new calls and waits until those under way are done, or the time is up. */
  synchronized void drain(long millis) throws InterruptedException {
    closed = true;
    for (long end = System.nanoTime() + millis * 1_000_000; calls > 0; ) {
      long left = (end - System.nanoTime()) / 1_000_000;
      if (left <= 0) {
        return;
      }
      wait(left);
    }
  }
}
