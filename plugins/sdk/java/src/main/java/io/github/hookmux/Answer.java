package io.github.hookmux;

import io.github.hookmux.exhook.v3.Message;
import io.github.hookmux.exhook.v3.ValuedResponse;
import io.github.hookmux.exhook.v3.ValuedResponse.ResponsedType;
import java.nio.charset.StandardCharsets;
import java.util.Objects;

/**
 * Answers message.publish and message.ingress; made by {@link Plugin#pass}, {@link Plugin#drop} and
 * {@link Plugin#rewrite}. null is no answer and counts as an error.
 */
public final class Answer {
  static final Answer PASS = new Answer(Verb.PASS, null, false);
  static final Answer DROP = new Answer(Verb.DROP, null, false);

  static final ValuedResponse IGNORED = ValuedResponse.newBuilder().setType(ResponsedType.IGNORE).build();

  enum Verb {
    PASS,
    DROP,
    REWRITE
  }

  private final Verb verb;
  private final Message message;
  private final boolean isFinal;

  Answer(Verb verb, Message message, boolean isFinal) {
    this.verb = verb;
    this.message = message;
    this.isFinal = isFinal;
  }

  /** This answer as the last word: no later plugin is asked. */
  public Answer asFinal() {
    return new Answer(verb, message, true);
  }

  /** The message given to rewrite, null for the other answers; for tests. */
  public Message message() {
    return message;
  }

  /** What the broker reads; the parameter is the request's message. */
  ValuedResponse wire(Message asked) {
    Message result = switch (verb) {
      case PASS -> asked;
      case DROP -> asked.toBuilder().putHeaders("allow_publish", "false").build();
      case REWRITE -> publishable(message);
    };
    if (verb == Verb.PASS && !isFinal) {
      return IGNORED;
    }
    return ValuedResponse.newBuilder()
        .setType(isFinal ? ResponsedType.STOP_AND_RETURN : ResponsedType.CONTINUE)
        .setMessage(result)
        .build();
  }

  private static Message publishable(Message m) {
    String wrong = null;
    if (m == null) {
      wrong = "the message is null";
    } else if (m.getTopic().isEmpty()) {
      wrong = "the message has no topic; change the request's message instead of making a new one";
    } else if (m.getTopic().indexOf('+') >= 0 || m.getTopic().indexOf('#') >= 0 || m.getTopic().indexOf('\0') >= 0) {
      wrong = "topic \"" + m.getTopic() + "\" has a wildcard or a NUL";
    } else if (m.getTopic().length() > TopicFilters.MAX_BYTES / 3 && utf8Length(m.getTopic()) > TopicFilters.MAX_BYTES) {
      wrong = "the topic has " + utf8Length(m.getTopic()) + " bytes, MQTT allows " + TopicFilters.MAX_BYTES;
    } else if (Integer.compareUnsigned(m.getQos(), 2) > 0) {
      wrong = "QoS " + Integer.toUnsignedString(m.getQos()) + "; MQTT has 0, 1 and 2";
    }
    if (wrong != null) {
      throw new IllegalArgumentException("rewrite: " + wrong);
    }
    return m;
  }

  private static int utf8Length(String s) {
    return s.getBytes(StandardCharsets.UTF_8).length;
  }

  @Override
  public boolean equals(Object o) {
    return o instanceof Answer a && verb == a.verb && isFinal == a.isFinal && Objects.equals(message, a.message);
  }

  @Override
  public int hashCode() {
    return Objects.hash(verb, isFinal, message);
  }

  /** The answer in words, such as "drop" or "rewrite (final)". */
  @Override
  public String toString() {
    return verb.name().toLowerCase(java.util.Locale.ROOT) + (isFinal ? " (final)" : "");
  }
}
