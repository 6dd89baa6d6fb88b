package example;

import com.zaxxer.hikari.HikariConfig;
import com.zaxxer.hikari.HikariDataSource;
import io.github.hookmux.Access;
import io.github.hookmux.Context;
import io.github.hookmux.Plugin;
import io.github.hookmux.exhook.v3.ClientAuthenticateRequest;
import io.github.hookmux.exhook.v3.ClientInfo;
import java.sql.Connection;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.time.Duration;
import java.util.Map;
import java.util.concurrent.Semaphore;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;

/** Lets clients in by user name and password, against a table of any database that has a JDBC driver. */
public class LoginJdbc extends Plugin {
  /** connections is how many logins are looked up at a time, timeout how long one waits for its turn. */
  record Config(String url, String user, String password, String query, Integer connections, Duration timeout) {
    Config {
      if (url == null) {
        throw new IllegalArgumentException("\"url\" is missing, such as jdbc:h2:/var/lib/mqtt/users");
      }
      query = query == null ? "SELECT password FROM mqtt_user WHERE username = ?" : query;
      connections = connections == null ? 8 : connections;
      timeout = timeout == null ? Duration.ofSeconds(2) : timeout;
    }
  }

  private final Semaphore hashing = new Semaphore(Runtime.getRuntime().availableProcessors());
  private Config config;
  private HikariDataSource database;

  @Override
  public void onStart() {
    config = config(Config.class);
    HikariConfig pool = new HikariConfig();
    pool.setJdbcUrl(config.url());
    pool.setUsername(config.user());
    pool.setPassword(config.password());
    pool.setMaximumPoolSize(config.connections());
    pool.setConnectionTimeout(config.timeout().toMillis());
    pool.setInitializationFailTimeout(-1); // without its database it starts, and is ready when that is
    pool.setReadOnly(true);
    database = new HikariDataSource(pool);
  }

  @Override
  public void onStop() {
    database.close();
  }

  /**
   * Refuses a wrong password for good, and an unknown user unless a later plugin knows better. Without
   * the database it throws, so hookmux's failure policy decides: nobody is let in by accident.
   */
  @Override
  public Access onClientAuthenticate(ClientAuthenticateRequest request, Context context) throws Exception {
    ClientInfo client = request.getClientinfo();
    String stored = storedPassword(client.getUsername(), context);
    if (matches(client.getPassword(), stored, context)) {
      return allow();
    }
    log.log(System.Logger.Level.INFO, "login denied", Map.of(
        "user", client.getUsername(), "client", client.getClientid(), "address", client.getPeerhost(),
        "why", stored == null ? "unknown user" : "wrong password"));
    return stored == null ? deny() : deny().asFinal();
  }

  /** Hashes as many at a time as there are processors: more would only have all of them come too late. */
  private boolean matches(String password, String stored, Context context) throws Exception {
    if (!hashing.tryAcquire(context.remaining().toNanos(), TimeUnit.NANOSECONDS)) {
      throw new TimeoutException("more logins than this machine can hash");
    }
    try {
      if (context.isCancelled()) {
        throw new TimeoutException("nobody waits for this login any more");
      }
      return Passwords.match(password, stored);
    } finally {
      hashing.release();
    }
  }

  /** What the table has for the user; null if the user is not there. */
  private String storedPassword(String user, Context context) throws SQLException {
    try (Connection connection = database.getConnection();
        PreparedStatement query = connection.prepareStatement(config.query())) {
      context.onCancel(() -> cancel(query)); // a slow database must not keep the connection busy
      query.setString(1, user);
      try (ResultSet rows = query.executeQuery()) {
        if (!rows.next()) {
          return null;
        }
        String stored = rows.getString(1);
        if (stored == null || rows.next()) {
          throw new SQLException("the query must give one password for a user, not " + (stored == null ? "NULL" : "several"));
        }
        return stored;
      }
    }
  }

  private void cancel(PreparedStatement query) {
    try {
      query.cancel();
    } catch (SQLException e) {
      log.log(System.Logger.Level.DEBUG, "the query cannot be canceled", e);
    }
  }

  public static void main(String[] args) throws Exception {
    if (args.length == 1 && args[0].equals("hash")) {
      Passwords.hashLines(System.in, System.out);
      return;
    }
    new LoginJdbc().serve();
  }
}
