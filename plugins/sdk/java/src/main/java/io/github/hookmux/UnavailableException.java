package io.github.hookmux;

/**
 * Thrown by a hook: what it needs for the event, such as its database, is away; no fault of the event.
 * Delivered durably, the event is tried again as long as it takes, and not made a dead letter; everywhere
 * else it is an exception like any other. It is not logged with its stack: hookmux logs the message and
 * the cause.
 */
public class UnavailableException extends RuntimeException {
  private static final long serialVersionUID = 1;

  public UnavailableException(String message) {
    super(message);
  }

  public UnavailableException(String message, Throwable cause) {
    super(message, cause);
  }

  public UnavailableException(Throwable cause) {
    super(cause);
  }
}
