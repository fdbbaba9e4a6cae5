"""What every driver's program does: read, join, write in a transaction, and try
to reach the other tenant. Each program passes in a function that runs one
statement, and prints what it saw; the test compares direct and proxied runs."""

import os

TENANT, MARKER = os.environ["TENANT_ID"], os.environ["TENANT_MARKER"]
OTHER, OTHER_MARKER = os.environ["OTHER_ID"], os.environ["OTHER_MARKER"]
ADMIN = os.environ.get("ROLE") == "admin"

JOIN = """SELECT p.name, a.action, i.memo FROM projects p JOIN audit_logs a ON a.project_id = p.id
  JOIN organizations o ON o.id = p.organization_id JOIN invoices i ON i.organization_id = o.id ORDER BY 1, 2, 3"""


def check(condition, what):
    """A promise that must hold in any build of Python."""
    if not condition:
        raise SystemExit("broken: " + what)


def judge(name, rows, own):
    """Prints the rows and checks that a tenant sees its own and only its own."""
    text = [" ".join(str(c) for c in row) for row in rows]
    print(name, len(text), *text, sep="\n  ")
    check(len(text) == own * (2 if ADMIN else 1), f"{name}: {len(text)} rows")
    if not ADMIN:
        check(all(MARKER in line and OTHER_MARKER not in line for line in text), f"{name}: a foreign row")
