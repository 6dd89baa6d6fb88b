package io.github.hookmux;

import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.atomic.AtomicInteger;

/** The threads that hooks run in. Who hands work out bounds how much there is. */
final class Threads {
  private static final AtomicInteger NUMBER = new AtomicInteger();

  static final ExecutorService POOL = Executors.newCachedThreadPool(Threads::daemon);

  static Thread daemon(Runnable r) {
    Thread t = new Thread(r, "hook-" + NUMBER.incrementAndGet());
    t.setDaemon(true);
    return t;
  }

  private Threads() {}
}
