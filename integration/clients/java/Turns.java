import java.io.StringReader;
import java.io.StringWriter;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Savepoint;
import java.sql.Statement;
import java.util.ArrayList;
import java.util.List;
import java.util.Properties;
import java.util.UUID;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import org.postgresql.PGConnection;

/** Several connections of one tenant that work at the same time, with the driver's own server-side prepared statements. */
public class Turns {
  static final int CLIENTS = 3;
  static final UUID TENANT = UUID.fromString(System.getenv("TENANT_ID"));
  static final UUID OTHER = UUID.fromString(System.getenv("OTHER_ID"));
  static final String MARKER = System.getenv("TENANT_MARKER");
  static final String TABLE = System.getenv("TURNS_TABLE");

  interface Step {
    void run(Connection c, int n, List<String> seen) throws Exception;
  }

  static void check(boolean condition, String what) {
    if (!condition) {
      throw new IllegalStateException("broken: " + what);
    }
  }

  static Connection connect(String port, String user, String password) throws SQLException {
    Properties p = new Properties();
    p.setProperty("user", user);
    p.setProperty("password", password);
    p.setProperty("sslmode", "disable");
    return DriverManager.getConnection("jdbc:postgresql://" + System.getenv("PGHOST") + ":" + port + "/" + System.getenv("PGDATABASE"), p);
  }

  /** What a statement gives: its rows, the number of rows it changed, or the state of its error. */
  static String outcome(PreparedStatement s, Object... args) {
    try {
      for (int i = 0; i < args.length; i++) {
        s.setObject(i + 1, args[i]);
      }
      if (!s.execute()) {
        return String.valueOf(s.getUpdateCount());
      }
      StringBuilder rows = new StringBuilder();
      try (ResultSet r = s.getResultSet()) {
        while (r.next()) {
          rows.append('(');
          for (int i = 1; i <= r.getMetaData().getColumnCount(); i++) {
            rows.append(i > 1 ? " " : "").append(r.getString(i));
          }
          rows.append(')');
        }
      }
      return rows.toString();
    } catch (SQLException e) {
      return e.getSQLState();
    }
  }

  static String outcome(Connection c, String sql, Object... args) throws SQLException {
    try (PreparedStatement s = c.prepareStatement(sql)) {
      return outcome(s, args);
    }
  }

  /** Past the threshold of preparation; under one name each client has another statement. */
  static void prepared(Connection c, int n, List<String> seen) throws SQLException {
    try (PreparedStatement own = c.prepareStatement("SELECT ?::int + " + n + " AS client" + n + ", tenant_id, marker FROM load_rows LIMIT 1");
        PreparedStatement users = c.prepareStatement("SELECT email FROM users WHERE email LIKE ? ORDER BY email")) {
      for (int turn = 0; turn < 12; turn++) {
        String row = outcome(own, turn);
        check(row.equals("(" + (turn + n) + " " + TENANT + " " + MARKER + ")"), "client " + n + " gets " + row);
        String emails = outcome(users, "user%");
        check(emails.split("@" + MARKER, -1).length == 11 && emails.split("@", -1).length == 11, emails);
        seen.add(emails);
      }
    }
  }

  /** Errors of prepared statements, which stay usable. */
  static void failing(Connection c, int n, List<String> seen) throws SQLException {
    for (int turn = 0; turn < 12; turn++) {
      seen.add(outcome(c, "SELECT 10 / ?::int", n % 2));
    }
    seen.add(outcome(c, "INSERT INTO users (tenant_id, email) VALUES (?, 'forged@example')", OTHER));
  }

  /** A commit with an error behind a savepoint, and a rollback. */
  static void transaction(Connection c, int n, List<String> seen) throws SQLException {
    String nonce = MARKER + " " + n;
    String insert = "INSERT INTO load_rows (tenant_id, marker, nonce) VALUES (?, ?, ?)";
    String count = "SELECT count(*) FROM load_rows WHERE nonce = ?";
    c.setAutoCommit(false);
    for (int turn = 0; turn < 7; turn++) {
      seen.add(outcome(c, insert, TENANT, MARKER, nonce));
      Savepoint s = c.setSavepoint();
      seen.add(outcome(c, insert, TENANT, MARKER, nonce) + outcome(c, count, nonce) + outcome(c, "SELECT 10 / ?::int", 0) + outcome(c, count, nonce));
      c.rollback(s);
      seen.add(outcome(c, count, nonce));
      c.commit();
      seen.add(outcome(c, "DELETE FROM load_rows WHERE nonce = ?", nonce));
      c.rollback();
      seen.add(outcome(c, count, nonce));
      seen.add(outcome(c, "DELETE FROM load_rows WHERE nonce = ?", nonce));
      c.commit();
      String turned = String.join(" ", seen.subList(turn * 6, turn * 6 + 6)) + outcome(c, count, nonce);
      c.commit();
      check(turned.equals("1 1(2)2201225P02 (1) 1 (1) 1(0)"), turned);
    }
    c.setAutoCommit(true);
  }

  static void copy(Connection c, int n, List<String> seen) throws Exception {
    StringWriter out = new StringWriter();
    c.unwrap(PGConnection.class).getCopyAPI().copyOut("COPY (SELECT email FROM users ORDER BY email) TO STDOUT", out);
    check(out.toString().split(MARKER, -1).length == 11, out.toString());
    String nonce = MARKER + " " + n + " ";
    StringBuilder in = new StringBuilder();
    for (int i = 0; i < 3000; i++) {
      in.append(nonce).append(i).append('\n');
    }
    c.setAutoCommit(false);
    seen.add(out.toString() + c.unwrap(PGConnection.class).getCopyAPI().copyIn("COPY plain_arrivals FROM STDIN", new StringReader(in.toString())));
    seen.add(outcome(c, "SELECT count(*) FROM plain_arrivals WHERE t LIKE ?", nonce + "%"));
    c.rollback();
    c.setAutoCommit(true);
    seen.add(outcome(c, "SELECT count(*) FROM plain_arrivals WHERE t LIKE ?", nonce + "%"));
  }

  /** A timeout, rows fetched in parts, and a batch. */
  static void parts(Connection c, int n, List<String> seen) throws SQLException {
    try (PreparedStatement slow = c.prepareStatement("SELECT pg_sleep(30)")) {
      slow.setQueryTimeout(1);
      seen.add(outcome(slow));
    }
    c.setAutoCommit(false);
    try (PreparedStatement some = c.prepareStatement("SELECT email FROM users ORDER BY email");
        PreparedStatement many = c.prepareStatement("INSERT INTO load_rows (tenant_id, marker, nonce) VALUES (?, ?, ?)")) {
      some.setFetchSize(3);
      seen.add(outcome(some));
      for (int i = 0; i < 40; i++) {
        many.setObject(1, TENANT);
        many.setObject(2, MARKER);
        many.setObject(3, "batch " + n);
        many.addBatch();
      }
      seen.add(String.valueOf(many.executeBatch().length));
      seen.add(outcome(c, "SELECT count(*) FROM load_rows WHERE nonce = ?", "batch " + n));
    }
    c.rollback();
    c.setAutoCommit(true);
  }

  static void described(Connection c, int n, List<String> seen) throws SQLException {
    for (int i = 0; i < 8; i++) {
      seen.add(outcome(c, "SELECT * FROM " + TABLE));
    }
    c.setAutoCommit(false);
    seen.add(outcome(c, "SELECT * FROM " + TABLE));
    c.rollback();
    c.setAutoCommit(true);
  }

  static void each(ExecutorService threads, List<Connection> clients, String name, Step step) throws Exception {
    List<Callable<String>> work = new ArrayList<>();
    for (int i = 0; i < CLIENTS; i++) {
      int n = i;
      work.add(() -> {
        List<String> seen = new ArrayList<>();
        step.run(clients.get(n), n, seen);
        return name + " " + n + "\n  " + String.join("\n  ", seen);
      });
    }
    for (var f : threads.invokeAll(work)) {
      System.out.println(f.get());
    }
  }

  public static void main(String[] args) throws Exception {
    List<Connection> clients = new ArrayList<>();
    for (int n = 0; n < CLIENTS; n++) {
      clients.add(connect(System.getenv("PGPORT"), System.getenv("PGUSER"), System.getenv("PGPASSWORD")));
    }
    ExecutorService threads = Executors.newFixedThreadPool(CLIENTS);
    try (Connection owner = connect(System.getenv("OWNER_PORT"), "app_owner", System.getenv("OWNER_PASSWORD")); Statement ddl = owner.createStatement()) {
      for (int round = 0; round < 2; round++) {
        each(threads, clients, "prepared", Turns::prepared);
        each(threads, clients, "failing", Turns::failing);
        each(threads, clients, "transaction", Turns::transaction);
        each(threads, clients, "copy", Turns::copy);
        each(threads, clients, "parts", Turns::parts);
      }
      each(threads, clients, "described", Turns::described);
      ddl.execute("ALTER TABLE " + TABLE + " ADD COLUMN c int DEFAULT 3");
      each(threads, clients, "a column more", Turns::described);
      ddl.execute("ALTER TABLE " + TABLE + " ALTER COLUMN a TYPE text");
      each(threads, clients, "another type", Turns::described);
    } finally {
      threads.shutdown();
    }
    for (Connection c : clients) {
      c.close();
    }
  }
}
