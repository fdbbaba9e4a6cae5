import java.io.StringReader;
import java.io.StringWriter;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.util.ArrayList;
import java.util.List;
import java.util.Properties;
import java.util.UUID;
import org.postgresql.PGConnection;

/** The JDBC driver as an application uses it: server-side prepared statements, batches, COPY and transactions. */
public class Walk {
  static final boolean ADMIN = "admin".equals(System.getenv("ROLE"));
  static final UUID TENANT = UUID.fromString(System.getenv("TENANT_ID"));
  static final UUID OTHER = UUID.fromString(System.getenv("OTHER_ID"));
  static final String MARKER = System.getenv("TENANT_MARKER");
  static final String OTHER_MARKER = System.getenv("OTHER_MARKER");

  static void check(boolean condition, String what) {
    if (!condition) {
      throw new IllegalStateException("broken: " + what);
    }
  }

  static PreparedStatement prepare(Connection c, String sql, Object... args) throws SQLException {
    PreparedStatement s = c.prepareStatement(sql);
    for (int i = 0; i < args.length; i++) {
      s.setObject(i + 1, args[i]);
    }
    return s;
  }

  static List<String> rows(Connection c, String sql, Object... args) throws SQLException {
    List<String> lines = new ArrayList<>();
    try (PreparedStatement s = prepare(c, sql, args); ResultSet r = s.executeQuery()) {
      while (r.next()) {
        StringBuilder line = new StringBuilder();
        for (int i = 1; i <= r.getMetaData().getColumnCount(); i++) {
          line.append(r.getString(i)).append(' ');
        }
        lines.add(line.toString());
      }
    }
    return lines;
  }

  static void judge(String name, List<String> lines, int own) {
    System.out.println(name + " " + lines.size() + "\n  " + String.join("\n  ", lines));
    check(lines.size() == own * (ADMIN ? 2 : 1), name + ": " + lines.size() + " rows");
    for (String line : lines) {
      check(ADMIN || (line.contains(MARKER) && !line.contains(OTHER_MARKER)), name + ": a foreign row");
    }
  }

  static void forbidden(Connection c, String sql, Object... args) throws SQLException {
    try (PreparedStatement s = prepare(c, sql, args)) {
      s.executeUpdate();
      check(ADMIN, "a write for another tenant went through: " + sql);
    } catch (SQLException e) {
      System.out.println(e.getSQLState() + " " + e.getMessage());
      check(!ADMIN && "42501".equals(e.getSQLState()), e.getMessage());
    } finally {
      c.rollback();
    }
  }

  static void transaction(Connection c) throws SQLException {
    UUID org = UUID.randomUUID();
    UUID project = UUID.randomUUID();
    prepare(c, "INSERT INTO organizations (id, tenant_id, name) VALUES (?, ?, 'new')", org, TENANT).executeUpdate();
    prepare(c, "INSERT INTO projects (id, tenant_id, organization_id, name) VALUES (?, ?, ?, 'new')", project, TENANT, org).executeUpdate();
    try (PreparedStatement s = c.prepareStatement("INSERT INTO audit_logs (tenant_id, project_id, action) VALUES (?, ?, 'new')")) {
      for (int i = 0; i < 50; i++) {
        s.setObject(1, TENANT);
        s.setObject(2, project);
        s.addBatch();
      }
      s.executeBatch();
    }
    c.commit();
    System.out.println("transaction " + rows(c, "SELECT count(*) FROM audit_logs WHERE project_id = ?", project));
    for (String sql : new String[] {"DELETE FROM audit_logs WHERE project_id = ?", "DELETE FROM projects WHERE id = ?"}) {
      prepare(c, sql, project).executeUpdate();
    }
    prepare(c, "DELETE FROM organizations WHERE id = ?", org).executeUpdate();
    c.commit();
  }

  static void copy(Connection c) throws Exception {
    StringWriter out = new StringWriter();
    c.unwrap(PGConnection.class).getCopyAPI().copyOut("COPY (SELECT email FROM users ORDER BY email) TO STDOUT", out);
    judge("copy", List.of(out.toString().split("\n")), 10);
    c.createStatement().execute("CREATE TEMP TABLE arrivals (n int, t text) ON COMMIT DROP");
    StringBuilder in = new StringBuilder();
    for (int i = 0; i < 5000; i++) {
      in.append(i).append("\tx").append(i).append('\n');
    }
    System.out.println(c.unwrap(PGConnection.class).getCopyAPI().copyIn("COPY arrivals FROM STDIN", new StringReader(in.toString())));
    System.out.println(rows(c, "SELECT count(*), sum(n) FROM arrivals"));
    c.commit();
  }

  public static void main(String[] args) throws Exception {
    Properties p = new Properties();
    p.setProperty("user", System.getenv("PGUSER"));
    p.setProperty("password", System.getenv("PGPASSWORD"));
    p.setProperty("sslmode", "disable");
    String url = "jdbc:postgresql://" + System.getenv("PGHOST") + ":" + System.getenv("PGPORT") + "/" + System.getenv("PGDATABASE");
    try (Connection c = DriverManager.getConnection(url, p)) {
      c.setAutoCommit(false);
      for (int turn = 0; turn < 12; turn++) { // past the threshold of server-side preparation
        check(rows(c, "SELECT set_config('app.current_tenant_id', ?, false)", TENANT.toString()).contains(TENANT + " "), "the own tenant");
        judge("users", rows(c, "SELECT email FROM users WHERE email LIKE ? ORDER BY email", "user%"), 10);
      }
      judge("join", rows(c, "SELECT p.name, a.action, i.memo FROM projects p JOIN audit_logs a ON a.project_id = p.id"
          + " JOIN organizations o ON o.id = p.organization_id JOIN invoices i ON i.organization_id = o.id ORDER BY 1, 2, 3"), 18);
      transaction(c);
      forbidden(c, "INSERT INTO users (tenant_id, email) VALUES (?, 'forged@example')", OTHER);
      forbidden(c, "UPDATE users SET tenant_id = ? WHERE email LIKE 'user1@%'", OTHER);
      copy(c);
      PreparedStatement slow = c.prepareStatement("SELECT pg_sleep(30)");
      slow.setQueryTimeout(1); // the driver cancels in plain TCP
      try {
        slow.executeQuery();
        check(false, "the query timeout did not cancel");
      } catch (SQLException e) {
        System.out.println(e.getSQLState());
        check("57014".equals(e.getSQLState()), e.getMessage());
      }
      c.rollback();
      PreparedStatement some = c.prepareStatement("SELECT email FROM users ORDER BY email");
      some.setFetchSize(3); // portal suspension
      int n = 0;
      for (ResultSet r = some.executeQuery(); r.next();) {
        n++;
      }
      System.out.println("fetched " + n);
      c.commit();
    }
  }
}
