package io.github.hookmux;

import java.lang.annotation.Documented;
import java.lang.annotation.ElementType;
import java.lang.annotation.Retention;
import java.lang.annotation.RetentionPolicy;
import java.lang.annotation.Target;

/**
 * Says of a hook with an answer that the answer depends on the request alone and that asking has no side
 * effect: it counts nothing, limits no rate, keeps no session. It is then asked at the same time as the
 * plugins before it, also for nothing, so that a chain of such plugins costs the time of one. It counts
 * where it stands: a method that overrides one with Pure has its own, or is not pure.
 */
@Documented
@Retention(RetentionPolicy.RUNTIME)
@Target(ElementType.METHOD)
public @interface Pure {}
