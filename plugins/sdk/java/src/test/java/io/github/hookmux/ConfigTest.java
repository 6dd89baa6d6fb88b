package io.github.hookmux;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.time.Duration;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class ConfigTest {
  enum Color {
    RED,
    DARK_BLUE
  }

  record Server(String host, int port) {
    Server {
      if (host == null) {
        throw new IllegalArgumentException("\"host\" is missing");
      }
    }
  }

  record Everything(
      boolean quiet,
      Integer maxClients,
      long bytes,
      double rate,
      String name,
      Duration wait_,
      Color color,
      Server server,
      List<Server> servers,
      Map<String, List<Integer>> table,
      Object any) {}

  private static Everything read(String json) {
    return Config.read(json, Everything.class);
  }

  @Test
  void everyType() {
    Everything e = read("""
        {"quiet": true, "max_clients": 3, "bytes": 9000000000, "rate": 0.5, "name": "x", "wait_": "1m30.5s",
         "color": "dark_blue", "server": {"host": "a", "port": 1}, "servers": [{"host": "b"}],
         "table": {"k": [1, 2]}, "any": {"a": [1, "b", null, true]}}""");
    assertEquals(true, e.quiet());
    assertEquals(3, e.maxClients());
    assertEquals(9_000_000_000L, e.bytes());
    assertEquals(0.5, e.rate());
    assertEquals("x", e.name());
    assertEquals(Duration.ofMillis(90_500), e.wait_());
    assertEquals(Color.DARK_BLUE, e.color());
    assertEquals(new Server("a", 1), e.server());
    assertEquals(List.of(new Server("b", 0)), e.servers());
    assertEquals(Map.of("k", List.of(1, 2)), e.table());
    assertEquals("{a=[1.0, b, null, true]}", e.any().toString());
  }

  @Test
  void whatIsNotThere() {
    Everything e = read("{\"name\": null}");
    assertEquals(new Everything(false, null, 0, 0, null, null, null, null, null, null, null), e);
  }

  @ParameterizedTest
  @CsvSource(delimiter = '|', quoteCharacter = '`', value = {
    "{\"qiet\": true}          | unknown key \"qiet\" (did you mean \"quiet\"?); allowed: quiet, max_clients",
    "{\"server\": {\"hots\": 1}} | unknown key \"server.hots\" (did you mean \"host\"?); allowed: host, port",
    "{\"quiet\": 1}            | key \"quiet\" must be true or false, not a number",
    "{\"max_clients\": \"3\"}  | key \"max_clients\" must be an integer, not a string",
    "{\"max_clients\": 1.5}    | key \"max_clients\" must be an integer (32 bits), not 1.5",
    "{\"max_clients\": 3000000000} | (32 bits)",
    "{\"name\": [1]}           | key \"name\" must be a string, not a list",
    "{\"server\": \"a:1\"}     | key \"server\" must be an object, not a string",
    "{\"servers\": [{\"host\": \"a\"}, 7]} | key \"servers[1]\" must be an object, not a number",
    "{\"servers\": [{}]}       | \"servers[0]\": \"host\" is missing",
    "{\"table\": {\"k\": [true]}} | key \"table.k[0]\" must be an integer, not true or false",
    "{\"wait_\": \"5\"}        | key \"wait_\" must be a duration such as \"5s\" or \"1h30m\", not \"5\"",
    "{\"wait_\": 5}            | key \"wait_\" must be a string such as \"5s\", not a number",
    "{\"color\": \"green\"}    | key \"color\" must be one of red, dark_blue, not \"green\"",
    "{\"name\": \"a\", \"name\": \"b\"} | key \"name\" is given twice",
    "{\"table\": {\"a\": [], \"a\": []}} | key \"table.a\" is given twice",
    "{\"name\": \"a\"} {}      | something behind the JSON object",
    "{\"name\":                | the JSON ends in the middle",
    "{name: 1}                 | not JSON",
    "[1]                       | must be an object of keys and values",
  })
  void errorsSayWhereAndWhy(String json, String want) {
    var e = assertThrows(IllegalArgumentException.class, () -> read(json));
    assertTrue(e.getMessage().startsWith("config: ") && e.getMessage().contains(want), e.getMessage());
  }
}
