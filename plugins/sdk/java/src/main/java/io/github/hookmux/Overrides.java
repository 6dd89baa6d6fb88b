package io.github.hookmux;

import java.lang.reflect.Method;
import java.lang.reflect.Modifier;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.EnumMap;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/**
 * Finds the hooks a plugin overrides, once, and everything its author will want to know before the first
 * event does: a hook that is never called because of a typing error would be a hole nobody sees.
 */
final class Overrides {
  /** What hooks are called elsewhere: too far from the right name for the edit distance. */
  private static final Map<String, String> OTHER_NAMES = Map.ofEntries(
      Map.entry("onClientCheckAcl", "onClientAuthorize"),
      Map.entry("onSessionTakeovered", "onSessionTakenover"),
      Map.entry("onClientAuth", "onClientAuthenticate"),
      Map.entry("onClientAuthn", "onClientAuthenticate"),
      Map.entry("onClientAuthz", "onClientAuthorize"),
      Map.entry("onAuthenticate", "onClientAuthenticate"),
      Map.entry("onAuthorize", "onClientAuthorize"),
      Map.entry("onConnect", "onClientConnect"),
      Map.entry("onConnected", "onClientConnected"),
      Map.entry("onDisconnected", "onClientDisconnected"),
      Map.entry("onSubscribe", "onClientSubscribe"),
      Map.entry("onUnsubscribe", "onClientUnsubscribe"),
      Map.entry("onPublish", "onMessagePublish"),
      Map.entry("onDelivered", "onMessageDelivered"),
      Map.entry("onDropped", "onMessageDropped"),
      Map.entry("onAcked", "onMessageAcked"));

  /** What a plugin says of a hook that it overrides; no topics are all topics. */
  record Declared(List<String> topics, boolean pure) {}

  private Overrides() {}

  static EnumMap<Hook, Declared> of(Class<?> plugin) {
    Map<String, Hook> byMethod = new HashMap<>();
    for (Hook h : Hook.values()) {
      byMethod.put(h.method, h);
    }
    List<String> problems = new ArrayList<>();
    EnumMap<Hook, Declared> hooks = new EnumMap<>(Hook.class);
    for (Class<?> c = plugin; c != Plugin.class && c != null; c = c.getSuperclass()) {
      for (Method m : c.getDeclaredMethods()) {
        if (m.isSynthetic() || !looksLikeHook(m.getName())) {
          continue;
        }
        Hook hook = byMethod.get(m.getName());
        boolean overrides = !Modifier.isStatic(m.getModifiers())
            && (hook == null ? isLifecycle(m) : Arrays.equals(m.getParameterTypes(), parameters(hook)));
        if (!overrides) {
          problems.add(hook != null
              ? "method " + m + " has the wrong parameters\n\twant " + hook.signature()
              : unknown(m, byMethod));
        } else if (hook != null && hook.isHook()) {
          Topics topics = m.getAnnotation(Topics.class);
          hooks.putIfAbsent(hook, new Declared(
              topics == null ? List.of() : filters(hook, topics, problems), m.isAnnotationPresent(Pure.class)));
        }
      }
      for (Method m : c.getDeclaredMethods()) {
        Hook hook = byMethod.get(m.getName());
        if (m.isAnnotationPresent(Topics.class) && (hook == null || !hook.isMessageHook())) {
          problems.add("@Topics of " + m.getName() + ": only hooks of messages (onMessage...) can be limited to topics");
        }
        if (m.isAnnotationPresent(Pure.class) && (hook == null || hook.returns().equals("void"))) {
          problems.add("@Pure of " + m.getName() + ": only hooks with an answer can be pure");
        }
      }
    }
    if (problems.isEmpty() && hooks.isEmpty()) {
      problems.add(plugin.getName() + " has no hook: override at least one method such as\n\t"
          + Hook.CLIENT_CONNECTED.signature());
    }
    if (!problems.isEmpty()) {
      throw new IllegalArgumentException(String.join("\n", problems));
    }
    return hooks;
  }

  private static boolean looksLikeHook(String name) {
    return name.length() > 2 && name.startsWith("on") && Character.isUpperCase(name.charAt(2));
  }

  private static boolean isLifecycle(Method m) {
    return (m.getName().equals("onStart") || m.getName().equals("onStop")) && m.getParameterCount() == 0;
  }

  private static Class<?>[] parameters(Hook hook) {
    return new Class<?>[] {hook.request, Context.class};
  }

  private static List<String> filters(Hook hook, Topics topics, List<String> problems) {
    List<String> filters = List.of(topics.value());
    if (filters.isEmpty()) {
      problems.add("@Topics of " + hook.method + ": an empty list would mean every topic; leave @Topics out if that is meant");
    }
    for (String f : filters) {
      try {
        TopicFilters.check(f);
      } catch (IllegalArgumentException e) {
        problems.add("@Topics of " + hook.method + ": " + e.getMessage());
      }
    }
    return filters;
  }

  private static String unknown(Method m, Map<String, Hook> byMethod) {
    String name = m.getName();
    String meant = OTHER_NAMES.get(name);
    if (meant == null) {
      meant = Nearest.of(name, byMethod.keySet(), Integer.MAX_VALUE - 1);
    }
    return "method " + name + " is no hook; did you mean " + meant + "?\n\twant " + byMethod.get(meant).signature()
        + "\n\t(a method that is meant to be something else must not begin with \"on\")";
  }
}
