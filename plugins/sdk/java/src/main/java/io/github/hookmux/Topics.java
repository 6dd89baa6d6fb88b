package io.github.hookmux;

import java.lang.annotation.Documented;
import java.lang.annotation.ElementType;
import java.lang.annotation.Retention;
import java.lang.annotation.RetentionPolicy;
import java.lang.annotation.Target;

/**
 * Limits a message hook to topics that match one of the filters: {@code @Topics({"sensors/+/raw",
 * "drop/#"})}. Without it the hook gets every message. It counts where it stands: a method that
 * overrides one with Topics has its own, or none.
 */
@Documented
@Retention(RetentionPolicy.RUNTIME)
@Target(ElementType.METHOD)
public @interface Topics {
  /** MQTT topic filters, at least one. */
  String[] value();
}
