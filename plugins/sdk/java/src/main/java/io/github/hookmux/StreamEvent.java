package io.github.hookmux;

import com.google.protobuf.ByteString;
import java.util.concurrent.ScheduledExecutorService;

/** One event of a stream of app protocol 2. */
final class StreamEvent extends CallContext {
  final long id;
  final Hook hook; // null: one this SDK does not know
  final int bytes;
  private final EventStream stream;
  private final long timeoutMicros;
  private final String eventId;
  private ByteString request; // a view into the batch it came in

  StreamEvent(EventStream stream, ScheduledExecutorService timer, io.github.hookmux.plugin.v1.Event e) {
    super(timer);
    this.stream = stream;
    this.id = e.getId();
    this.hook = Hook.of(e.getHookValue());
    this.timeoutMicros = e.getTimeoutUs();
    this.eventId = e.getEventId();
    this.request = e.getRequest();
    this.bytes = request.size();
  }

  @Override
  public String eventId() {
    return eventId;
  }

  void startClock(long now) {
    startClock(now, timeoutMicros);
  }

  /** Calls the hook and puts its reply into the next batch, which is not sent by that. */
  void handle(Handler handler) {
    ByteString r = request;
    request = null; // what keeps the context need not keep this
    try {
      stream.answer(this, handler.call(hook, r, this));
    } catch (Handler.Failure e) {
      stream.fail(this, e.getMessage(), e.isUnavailable());
    }
  }
}
