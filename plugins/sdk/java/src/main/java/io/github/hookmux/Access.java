package io.github.hookmux;

import io.github.hookmux.exhook.v3.ValuedResponse;
import io.github.hookmux.exhook.v3.ValuedResponse.ResponsedType;

/**
 * Answers client.authenticate and client.authorize. null is no answer and counts as an error, so a
 * forgotten branch lets nobody in.
 */
public enum Access {
  /** Yes; a later plugin may still say no. */
  ALLOW,
  /** No; a later plugin may still say yes. */
  DENY,
  /** The decision stays as it is. */
  NO_OPINION,
  /** Yes, and nobody else is asked. */
  FINAL_ALLOW,
  /** No, and nobody else is asked. */
  FINAL_DENY,
  /** The decision so far is settled, nobody else is asked. */
  FINAL_NO_OPINION;

  /** This answer as the last word: no later plugin is asked. */
  public Access asFinal() {
    return switch (this) {
      case ALLOW, FINAL_ALLOW -> FINAL_ALLOW;
      case DENY, FINAL_DENY -> FINAL_DENY;
      case NO_OPINION, FINAL_NO_OPINION -> FINAL_NO_OPINION;
    };
  }

  /** What the broker reads; result is the decision so far. */
  ValuedResponse wire(boolean result) {
    return switch (this) {
      case ALLOW -> bool(ResponsedType.CONTINUE, true);
      case DENY -> bool(ResponsedType.CONTINUE, false);
      case NO_OPINION -> Answer.IGNORED;
      case FINAL_ALLOW -> bool(ResponsedType.STOP_AND_RETURN, true);
      case FINAL_DENY -> bool(ResponsedType.STOP_AND_RETURN, false);
      case FINAL_NO_OPINION -> bool(ResponsedType.STOP_AND_RETURN, result);
    };
  }

  private static ValuedResponse bool(ResponsedType type, boolean value) {
    return ValuedResponse.newBuilder().setType(type).setBoolResult(value).build();
  }
}
