"""psycopg2 as an application uses it; the environment says where and who."""

import io

import psycopg2
import psycopg2.errors
import psycopg2.pool

from walk import ADMIN, JOIN, MARKER, OTHER, TENANT, check, judge


def forbidden(conn, sql, args):
    """The statement must fail with 42501, or succeed for an administrator."""
    cur = conn.cursor()
    try:
        cur.execute(sql, args)
        check(ADMIN, "a write for another tenant went through: " + sql)
    except psycopg2.errors.InsufficientPrivilege as e:
        print(e.pgcode, str(e).strip())
        check(not ADMIN, "an administrator's write was refused")
    finally:
        conn.rollback()


pool = psycopg2.pool.ThreadedConnectionPool(1, 2, "")
for turn in range(3):  # the same connection again and again, as a web application does
    conn = pool.getconn()
    cur = conn.cursor()
    cur.execute("SELECT email FROM users ORDER BY email")
    judge("users", cur.fetchall(), 10)
    cur.execute(JOIN)
    judge("join", cur.fetchall(), 18)

    cur.execute("INSERT INTO organizations (tenant_id, name) VALUES (%s, %s) RETURNING id", (TENANT, "new of " + MARKER))
    org = cur.fetchone()[0]
    cur.execute("INSERT INTO projects (tenant_id, organization_id, name) VALUES (%s, %s, %s) RETURNING id", (TENANT, org, "new of " + MARKER))
    project = cur.fetchone()[0]
    cur.execute("INSERT INTO audit_logs (tenant_id, project_id, action) VALUES (%s, %s, %s)", (TENANT, project, "new of " + MARKER))
    conn.commit()
    cur.execute("SELECT o.name, p.name, a.action FROM organizations o JOIN projects p ON p.organization_id = o.id"
                " JOIN audit_logs a ON a.project_id = p.id WHERE o.id = %s", (org,))
    print("transaction", cur.fetchall())
    cur.execute("DELETE FROM audit_logs WHERE project_id = %s", (project,))
    cur.execute("DELETE FROM projects WHERE id = %s", (project,))
    cur.execute("DELETE FROM organizations WHERE id = %s", (org,))
    conn.commit()

    forbidden(conn, "INSERT INTO users (tenant_id, email) VALUES (%s, %s)", (OTHER, "forged@example"))
    forbidden(conn, "UPDATE users SET tenant_id = %s WHERE email LIKE %s", (OTHER, "user1@%"))
    cur.execute("UPDATE users SET role = role WHERE tenant_id = %s", (OTHER,))
    print("foreign update", cur.rowcount)
    check(cur.rowcount == (10 if ADMIN else 0), "foreign rows were updated")
    conn.rollback()

    out = io.StringIO()
    cur.copy_expert("COPY (SELECT email FROM users ORDER BY email) TO STDOUT", out)
    judge("copy", [(line,) for line in out.getvalue().splitlines()], 10)
    cur.execute("CREATE TEMP TABLE arrivals (n int, t text)")
    cur.copy_expert("COPY arrivals FROM STDIN", io.StringIO("".join(f"{n}\tx{n}\n" for n in range(5000))))
    cur.execute("SELECT count(*), sum(n) FROM arrivals")
    print("copied in", cur.fetchone())
    conn.rollback()

    named = conn.cursor("a_cursor")  # DECLARE CURSOR and FETCH
    named.itersize = 3
    named.execute("SELECT email FROM users ORDER BY email")
    judge("cursor", named.fetchall(), 10)
    conn.rollback()
    pool.putconn(conn)
pool.closeall()
