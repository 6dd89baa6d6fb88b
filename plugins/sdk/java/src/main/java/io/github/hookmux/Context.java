package io.github.hookmux;

import java.time.Duration;

/** How long a hook still has, and whether anybody still waits for it. May be used from any thread. */
public interface Context {
  /**
   * What is left until the deadline; later answers count for nothing. Never negative, and a day when
   * there is no deadline, so it can be handed to whatever the hook calls.
   */
  Duration remaining();

  /** Whether nobody waits any more: hookmux gave the event up, or the deadline has passed. */
  boolean isCancelled();

  /**
   * Has action run, in another thread, as soon as {@link #isCancelled} becomes true; at once if it is
   * already. It does not run after the hook has returned.
   */
  void onCancel(Runnable action);

  /**
   * Names a notification that is delivered durably ({@code delivery: durable}): the same in every attempt
   * to deliver it, also after restarts, so that a hook can tell a repetition. Empty for all other events.
   */
  default String eventId() {
    return "";
  }

  /** A context for unit tests that ends after that time, or when its deadline is asked for. */
  static Context within(Duration time) {
    return new CallContext(System.nanoTime() + time.toNanos(), null);
  }
}
