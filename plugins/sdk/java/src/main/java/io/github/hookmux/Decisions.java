package io.github.hookmux;

import com.google.protobuf.ByteString;

/** Handles the events of the stream Decide, each in a thread of its own: no decision waits for another. */
final class Decisions implements EventStream.Handling {
  private final EventStream stream;
  private final Handler handler;

  Decisions(EventStream stream, Handler handler) {
    this.stream = stream;
    this.handler = handler;
  }

  @Override
  public void handle(StreamEvent e, ByteString key) {
    try {
      Threads.POOL.execute(() -> {
        e.handle(handler);
        stream.flushSoon();
      });
    } catch (Throwable t) { // no memory for one more thread
      stream.fail(e, t.toString(), false);
      stream.flushSoon();
    }
  }

  @Override
  public void handled() {}
}
