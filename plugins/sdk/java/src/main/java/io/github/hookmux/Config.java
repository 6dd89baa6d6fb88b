package io.github.hookmux;

import com.google.gson.Strictness;
import com.google.gson.stream.JsonReader;
import com.google.gson.stream.JsonToken;
import com.google.gson.stream.MalformedJsonException;
import java.io.EOFException;
import java.io.IOException;
import java.io.StringReader;
import java.lang.reflect.Constructor;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.ParameterizedType;
import java.lang.reflect.RecordComponent;
import java.lang.reflect.Type;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/** Reads a plugin's config into a record, strictly, and says of what is wrong where it is. */
final class Config {
  private static final Pattern DURATION = Pattern.compile("(\\d+(?:\\.\\d+)?)(ns|us|µs|ms|s|m|h)");

  private static final Pattern WHERE = Pattern.compile(" at line \\d+ column \\d+");
  private static final Pattern UPPER = Pattern.compile("\\p{Lu}");

  private final JsonReader json;

  private Config(JsonReader json) {
    this.json = json;
  }

  /**
   * Reads a JSON object.
   *
   * @throws IllegalArgumentException if it is not what the type wants
   */
  static <C extends Record> C read(String text, Class<C> type) {
    JsonReader json = new JsonReader(new StringReader(text));
    json.setStrictness(Strictness.STRICT);
    try {
      if (json.peek() != JsonToken.BEGIN_OBJECT) {
        throw wrong("must be an object of keys and values");
      }
      C config = type.cast(new Config(json).record(type, ""));
      if (!isAtEnd(json)) {
        throw wrong("there is something behind the JSON object");
      }
      return config;
    } catch (EOFException e) {
      throw wrong("the JSON ends in the middle");
    } catch (MalformedJsonException e) {
      Matcher where = WHERE.matcher(e.getMessage());
      throw wrong("not JSON" + (where.find() ? where.group() : ""));
    } catch (IOException e) {
      throw wrong(e.getMessage());
    }
  }

  private static boolean isAtEnd(JsonReader json) throws IOException {
    try {
      return json.peek() == JsonToken.END_DOCUMENT;
    } catch (MalformedJsonException e) { // two documents are none
      return false;
    }
  }

  private static IllegalArgumentException wrong(String what) {
    return new IllegalArgumentException("config: " + what);
  }

  private Object record(Class<?> type, String path) throws IOException {
    RecordComponent[] components = type.getRecordComponents();
    List<String> names = Arrays.stream(components).map(c -> key(c.getName())).toList();
    Object[] values = new Object[components.length];
    for (int i = 0; i < components.length; i++) {
      values[i] = absent(components[i].getType());
    }
    boolean[] given = new boolean[components.length];
    json.beginObject();
    while (json.hasNext()) {
      String key = json.nextName();
      String full = path.isEmpty() ? key : path + "." + key;
      int i = names.indexOf(key);
      if (i < 0) {
        throw wrong("unknown key \"" + full + "\"" + (names.isEmpty()
            ? "; no keys are allowed here"
            : Nearest.didYouMean(key, names) + "; allowed: " + String.join(", ", names)));
      }
      if (given[i]) {
        throw wrong("key \"" + full + "\" is given twice");
      }
      given[i] = true;
      Object value = value(components[i].getGenericType(), full);
      values[i] = value == null ? values[i] : value;
    }
    json.endObject();
    return construct(type, components, values, path);
  }

  /** A component's key: maxClients is max_clients in YAML. */
  private static String key(String component) {
    return UPPER.matcher(component).replaceAll(m -> "_" + m.group().toLowerCase(Locale.ROOT));
  }

  private static Object construct(Class<?> type, RecordComponent[] components, Object[] values, String path) {
    try {
      Constructor<?> c = type.getDeclaredConstructor(
          Arrays.stream(components).map(RecordComponent::getType).toArray(Class<?>[]::new));
      c.setAccessible(true);
      return c.newInstance(values);
    } catch (InvocationTargetException e) {
      Throwable cause = e.getCause();
      String text = cause.getMessage() == null ? cause.toString() : cause.getMessage();
      throw new IllegalArgumentException("config: " + (path.isEmpty() ? "" : "\"" + path + "\": ") + text, cause);
    } catch (ReflectiveOperationException e) {
      throw new IllegalArgumentException("config: cannot make a " + type.getName() + ": " + e, e);
    }
  }

  private static Object absent(Class<?> type) {
    if (type == boolean.class) {
      return false;
    }
    if (type == int.class) {
      return 0;
    }
    if (type == long.class) {
      return 0L;
    }
    return type == double.class ? (Object) 0.0 : null;
  }

  private Object value(Type type, String path) throws IOException {
    JsonToken token = json.peek();
    if (token == JsonToken.NULL) {
      json.nextNull();
      return null;
    }
    if (type instanceof ParameterizedType p && p.getRawType() == List.class) {
      return list(token, p.getActualTypeArguments()[0], path);
    }
    if (type instanceof ParameterizedType p && p.getRawType() == Map.class && p.getActualTypeArguments()[0] == String.class) {
      return map(token, p.getActualTypeArguments()[1], path);
    }
    if (type == Object.class) {
      return switch (token) {
        case BEGIN_ARRAY -> list(token, Object.class, path);
        case BEGIN_OBJECT -> map(token, Object.class, path);
        case BOOLEAN -> json.nextBoolean();
        case NUMBER -> json.nextDouble();
        default -> json.nextString();
      };
    }
    if (type instanceof Class<?> c) {
      return plain(c, token, path);
    }
    throw wrong("key \"" + path + "\": a record cannot have a " + type.getTypeName());
  }

  private Object plain(Class<?> c, JsonToken token, String path) throws IOException {
    if (c.isRecord()) {
      expect(token, JsonToken.BEGIN_OBJECT, path, "an object");
      return record(c, path);
    }
    if (c == String.class) {
      expect(token, JsonToken.STRING, path, "a string");
      return json.nextString();
    }
    if (c == boolean.class || c == Boolean.class) {
      expect(token, JsonToken.BOOLEAN, path, "true or false");
      return json.nextBoolean();
    }
    if (c == int.class || c == Integer.class || c == long.class || c == Long.class) {
      expect(token, JsonToken.NUMBER, path, "an integer");
      String text = json.nextString();
      try {
        return c == int.class || c == Integer.class ? (Object) Integer.parseInt(text) : (Object) Long.parseLong(text);
      } catch (NumberFormatException e) {
        throw wrong("key \"" + path + "\" must be an integer (" + (c == int.class || c == Integer.class ? 32 : 64) + " bits), not " + text);
      }
    }
    if (c == double.class || c == Double.class) {
      expect(token, JsonToken.NUMBER, path, "a number");
      return json.nextDouble();
    }
    if (c == Duration.class) {
      expect(token, JsonToken.STRING, path, "a string such as \"5s\"");
      return duration(json.nextString(), path);
    }
    if (c.isEnum()) {
      expect(token, JsonToken.STRING, path, "a string");
      return constant(c, json.nextString(), path);
    }
    throw wrong("key \"" + path + "\": a record cannot have a " + c.getName());
  }

  private List<Object> list(JsonToken token, Type element, String path) throws IOException {
    expect(token, JsonToken.BEGIN_ARRAY, path, "a list");
    List<Object> list = new ArrayList<>();
    json.beginArray();
    while (json.hasNext()) {
      list.add(value(element, path + "[" + list.size() + "]"));
    }
    json.endArray();
    return Collections.unmodifiableList(list);
  }

  private Map<String, Object> map(JsonToken token, Type element, String path) throws IOException {
    expect(token, JsonToken.BEGIN_OBJECT, path, "an object");
    Map<String, Object> map = new LinkedHashMap<>();
    json.beginObject();
    while (json.hasNext()) {
      String key = json.nextName();
      if (map.containsKey(key)) {
        throw wrong("key \"" + path + "." + key + "\" is given twice");
      }
      map.put(key, value(element, path + "." + key));
    }
    json.endObject();
    return Collections.unmodifiableMap(map);
  }

  private static void expect(JsonToken have, JsonToken want, String path, String words) {
    if (have != want) {
      throw wrong("key \"" + path + "\" must be " + words + ", not " + switch (have) {
        case BEGIN_ARRAY -> "a list";
        case BEGIN_OBJECT -> "an object";
        case STRING -> "a string";
        case NUMBER -> "a number";
        case BOOLEAN -> "true or false";
        default -> "the end";
      });
    }
  }

  private static Object constant(Class<?> type, String text, String path) {
    List<String> names = new ArrayList<>();
    for (Object constant : type.getEnumConstants()) {
      String name = ((Enum<?>) constant).name().toLowerCase(Locale.ROOT);
      if (name.equals(text)) {
        return constant;
      }
      names.add(name);
    }
    throw wrong("key \"" + path + "\" must be one of " + String.join(", ", names) + ", not \"" + text + "\"");
  }

  /** As Go writes them: "250ms", "1h30m". */
  static Duration duration(String text, String path) {
    Matcher m = DURATION.matcher(text);
    double nanos = 0;
    int end = 0;
    while (m.find() && m.start() == end) {
      end = m.end();
      nanos += Double.parseDouble(m.group(1)) * switch (m.group(2)) {
        case "ns" -> 1e0;
        case "us", "µs" -> 1e3;
        case "ms" -> 1e6;
        case "s" -> 1e9;
        case "m" -> 60e9;
        default -> 3600e9;
      };
    }
    if (end == 0 || end != text.length() || nanos > Long.MAX_VALUE) {
      throw wrong("key \"" + path + "\" must be a duration such as \"5s\" or \"1h30m\", not \"" + text + "\"");
    }
    return Duration.ofNanos(Math.round(nanos));
  }
}
