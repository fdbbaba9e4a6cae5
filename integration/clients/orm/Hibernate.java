import java.math.BigDecimal;
import java.util.ArrayList;
import java.util.List;
import java.util.UUID;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import javax.persistence.Entity;
import javax.persistence.GeneratedValue;
import javax.persistence.GenerationType;
import javax.persistence.Id;
import javax.persistence.Table;
import org.hibernate.Session;
import org.hibernate.SessionFactory;
import org.hibernate.Transaction;
import org.hibernate.annotations.Proxy;
import org.hibernate.annotations.Type;
import org.hibernate.cfg.Configuration;

/** Hibernate on the JDBC driver as an application uses it: several sessions at the same time. */
public class Hibernate {
  static final UUID TENANT = UUID.fromString(System.getenv("TENANT_ID"));
  static final UUID OTHER = UUID.fromString(System.getenv("OTHER_ID"));
  static final String MARKER = System.getenv("TENANT_MARKER");

  @Entity(name = "Invoice")
  @Proxy(lazy = false)
  @Table(name = "invoices")
  public static class Invoice {
    @Id
    @GeneratedValue(strategy = GenerationType.IDENTITY)
    public Long id;
    @Type(type = "pg-uuid")
    public UUID tenant_id;
    public BigDecimal amount;
    public String memo;
  }

  @Entity(name = "Account")
  @Proxy(lazy = false)
  @Table(name = "users")
  public static class Account {
    @Id
    @Type(type = "pg-uuid")
    public UUID id;
    @Type(type = "pg-uuid")
    public UUID tenant_id;
    public String email;
    public String role;
  }

  static void check(boolean condition, String what) {
    if (!condition) {
      throw new IllegalStateException("broken: " + what);
    }
  }

  static Invoice invoice(UUID tenant, String memo) {
    Invoice i = new Invoice();
    i.tenant_id = tenant;
    i.amount = new BigDecimal("1.50");
    i.memo = memo;
    return i;
  }

  /** What one client does: reads, a commit, a rollback, and a write that is refused. */
  static String work(SessionFactory factory, int n) {
    String memo = "new of " + MARKER + " by " + ProcessHandle.current().pid() + " " + n;
    for (int turn = 0; turn < 12; turn++) {
      Session s = factory.openSession();
      try {
        Transaction t = s.beginTransaction();
        List<?> emails = s.createQuery("select a.email from Account a where a.email like :e order by a.email").setString("e", "user%").list();
        check(emails.size() == 10 && emails.stream().allMatch(e -> e.toString().endsWith(MARKER + ".example")), emails.toString());
        Invoice made = invoice(TENANT, memo);
        s.save(made);
        made.memo = memo + " changed";
        s.flush();
        t.commit();
        t = s.beginTransaction();
        check(s.createQuery("delete Invoice where memo = :m").setString("m", memo + " changed").executeUpdate() == 1, "the changed row");
        t.rollback();
        t = s.beginTransaction();
        s.clear();
        s.delete(s.get(Invoice.class, made.id));
        t.commit();
        t = s.beginTransaction();
        try {
          s.save(invoice(OTHER, "forged"));
          check(false, "a forged row");
        } catch (org.hibernate.JDBCException e) {
          check("42501".equals(e.getSQLException().getSQLState()), e.getSQLException().getMessage());
        }
        t.rollback();
      } finally {
        s.close();
      }
    }
    return "worked " + n;
  }

  public static void main(String[] args) throws Exception {
    Thread.currentThread().setContextClassLoader(Hibernate.class.getClassLoader());
    Configuration c = new Configuration().addAnnotatedClass(Account.class).addAnnotatedClass(Invoice.class)
        .setProperty("hibernate.dialect", "org.hibernate.dialect.PostgreSQLDialect")
        .setProperty("hibernate.connection.driver_class", "org.postgresql.Driver")
        .setProperty("hibernate.connection.url", "jdbc:postgresql://" + System.getenv("PGHOST") + ":" + System.getenv("PGPORT") + "/" + System.getenv("PGDATABASE") + "?sslmode=disable")
        .setProperty("hibernate.connection.username", System.getenv("PGUSER"))
        .setProperty("hibernate.connection.password", System.getenv("PGPASSWORD"))
        .setProperty("hibernate.connection.pool_size", "3");
    SessionFactory factory = c.buildSessionFactory();
    ExecutorService threads = Executors.newFixedThreadPool(3);
    List<Callable<String>> clients = new ArrayList<>();
    for (int i = 0; i < 3; i++) {
      int n = i;
      clients.add(() -> work(factory, n));
    }
    for (var f : threads.invokeAll(clients)) {
      System.out.println(f.get());
    }
    threads.shutdown();
    factory.close();
  }
}
