package io.github.hookmux;

import com.google.protobuf.ByteString;
import io.grpc.Context.CancellationListener;
import io.grpc.Deadline;
import io.grpc.Metadata;
import io.grpc.ServerCall;
import io.grpc.Status;
import java.util.concurrent.Executor;
import java.util.concurrent.TimeUnit;

/** One call of app protocol 1, in a thread of its own. */
class UnaryCall extends ServerCall.Listener<ByteString> {
  private static final Metadata.Key<String> EVENT_ID = Metadata.Key.of("hookmux-event-id", Metadata.ASCII_STRING_MARSHALLER);
  private static final Executor DIRECT = Runnable::run;

  /** Says what a request is answered with; null: nothing, the call is closed by it. */
  interface Answerer {
    ByteString answer(ByteString request) throws Exception;
  }

  private final ServerCall<ByteString, ByteString> call;
  private final Answerer answerer;
  private ByteString request;

  UnaryCall(ServerCall<ByteString, ByteString> call, Answerer answerer) {
    this.call = call;
    this.answerer = answerer;
    call.request(2); // a second one would be the caller's mistake, which gRPC finds
  }

  @Override
  public void onMessage(ByteString message) {
    request = message;
  }

  @Override
  public void onHalfClose() {
    ByteString answer;
    try {
      answer = answerer.answer(request == null ? ByteString.EMPTY : request);
    } catch (Handler.Failure e) {
      call.close(e.status, new Metadata());
      return;
    } catch (Exception e) {
      call.close(Status.fromThrowable(e), new Metadata());
      return;
    }
    call.sendHeaders(new Metadata());
    call.sendMessage(answer);
    call.close(Status.OK, new Metadata());
  }

  /** Answers the events of a hook. */
  static Answerer events(Hook hook, Handler handler, Metadata headers) {
    String eventId = headers.get(EVENT_ID);
    return request -> {
      io.grpc.Context grpc = io.grpc.Context.current();
      Deadline deadline = grpc.getDeadline();
      CallContext context = deadline == null
          ? new UnaryContext(eventId)
          : new UnaryContext(System.nanoTime() + deadline.timeRemaining(TimeUnit.NANOSECONDS), eventId);
      CancellationListener cancel = c -> context.cancel();
      grpc.addListener(cancel, DIRECT);
      try {
        return handler.call(hook, request, context);
      } finally {
        grpc.removeListener(cancel);
      }
    };
  }

  /** The context of an event. */
  private static final class UnaryContext extends CallContext {
    private final String eventId; // null: it has none

    UnaryContext(String eventId) {
      super(null);
      this.eventId = eventId;
    }

    UnaryContext(long deadline, String eventId) {
      super(deadline, null);
      this.eventId = eventId;
    }

    @Override
    public String eventId() {
      return eventId == null ? "" : eventId;
    }
  }
}
