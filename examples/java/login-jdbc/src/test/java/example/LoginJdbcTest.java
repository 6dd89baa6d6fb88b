package example;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.github.hookmux.Harness;
import io.github.hookmux.Harness.HookException;
import io.github.hookmux.exhook.v3.ClientAuthenticateRequest;
import io.github.hookmux.exhook.v3.ClientInfo;
import io.github.hookmux.exhook.v3.ValuedResponse;
import io.github.hookmux.exhook.v3.ValuedResponse.ResponsedType;
import java.nio.file.Path;
import java.sql.Connection;
import java.sql.DriverManager;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

class LoginJdbcTest {
  @TempDir Path dir;

  private String url() {
    return "jdbc:h2:" + dir.resolve("users");
  }

  /** A table with alice, whose password is wonderland. */
  private void createUsers() throws Exception {
    try (Connection c = DriverManager.getConnection(url()); var statement = c.createStatement()) {
      statement.execute("CREATE TABLE mqtt_user (username VARCHAR PRIMARY KEY, password VARCHAR)");
      var insert = c.prepareStatement("INSERT INTO mqtt_user VALUES (?, ?)");
      for (var row : Map.of("alice", Passwords.hash("wonderland", 1000), "broken", "plain text").entrySet()) {
        insert.setString(1, row.getKey());
        insert.setString(2, row.getValue());
        insert.execute();
      }
    }
  }

  private Harness start(String more, String timeout) throws Exception {
    return Harness.start(new LoginJdbc(),
        "{\"url\": \"" + url() + more + "\", \"connections\": 2, \"timeout\": \"" + timeout + "\"}");
  }

  private static ClientAuthenticateRequest login(String user, String password) {
    return ClientAuthenticateRequest.newBuilder()
        .setClientinfo(ClientInfo.newBuilder().setUsername(user).setPassword(password))
        .build();
  }

  private static void assertAnswer(boolean allowed, ResponsedType type, ValuedResponse answer) {
    assertEquals(allowed, answer.getBoolResult());
    assertEquals(type, answer.getType());
  }

  @Test
  void whoMayLogIn() throws Exception {
    createUsers();
    try (Harness login = start("", "30s")) {
      assertAnswer(true, ResponsedType.CONTINUE, login.ask(login("alice", "wonderland")));
      assertAnswer(false, ResponsedType.STOP_AND_RETURN, login.ask(login("alice", "Wonderland")));
      assertAnswer(false, ResponsedType.STOP_AND_RETURN, login.ask(login("alice", "")));
      assertAnswer(false, ResponsedType.CONTINUE, login.ask(login("mallory", "wonderland")));
      assertAnswer(false, ResponsedType.CONTINUE, login.ask(login("mallory", "nobody")));
      assertAnswer(false, ResponsedType.CONTINUE, login.ask(login("' OR 1=1 --", "")));
      assertThrows(HookException.class, () -> login.ask(login("broken", "plain text")));
    }
  }

  @Test
  @Timeout(60)
  void withoutItsDatabaseItGivesNoAnswer() throws Exception {
    try (Harness login = start(";IFEXISTS=TRUE", "250ms")) {
      HookException e = assertThrows(HookException.class, () -> login.ask(login("alice", "wonderland")));
      assertTrue(e.getMessage().contains("not available"), e.getMessage());
      createUsers(); // the database comes back
      ValuedResponse answer = null;
      while (answer == null) { // the pool tries in its own time
        try {
          answer = login.ask(login("alice", "wonderland"));
        } catch (HookException still) {
          assertTrue(still.getMessage().contains("not available"), still.getMessage());
        }
      }
      assertAnswer(true, ResponsedType.CONTINUE, answer);
    }
  }

  @Test
  void configErrors() {
    var e = assertThrows(IllegalArgumentException.class, () -> Harness.start(new LoginJdbc()));
    assertTrue(e.getMessage().contains("\"url\" is missing"), e.getMessage());
    e = assertThrows(IllegalArgumentException.class, () -> Harness.start(new LoginJdbc(), "{\"uri\": \"x\"}"));
    assertTrue(e.getMessage().contains("did you mean \"url\"?"), e.getMessage());
  }

  @Test
  void hashesAreSalted() {
    String hash = Passwords.hash("secret", 1000);
    assertFalse(hash.equals(Passwords.hash("secret", 1000)));
    assertTrue(Passwords.match("secret", hash));
    assertFalse(Passwords.match("Secret", hash));
    assertFalse(Passwords.match("nobody", null));
  }
}
