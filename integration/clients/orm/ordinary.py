"""What the programs of the object mappers share: whose data it is, and the check that each makes."""

import os

TENANT, MARKER = os.environ["TENANT_ID"], os.environ["TENANT_MARKER"]
OTHER, OTHER_MARKER = os.environ["OTHER_ID"], os.environ["OTHER_MARKER"]
HOST, PORT = os.environ["PGHOST"], int(os.environ["PGPORT"])
USER, PASSWORD, DATABASE = os.environ["PGUSER"], os.environ["PGPASSWORD"], os.environ["PGDATABASE"]
MIGRATE = os.environ.get("MIGRATE") == "1"

# What an application sends that sets its own tenant, with the value as a parameter.
SET = "SELECT set_config('app.current_tenant_id', {}, false)"


def check(condition, what):
    if not condition:
        raise SystemExit("broken: " + what)


def own(emails, least=10):
    """Checks that a tenant sees its own users and only those."""
    emails = list(emails)
    check(len(emails) >= least and all(MARKER in e for e in emails), f"users {emails}")
    print(len(emails), "users")


def refused(error):
    """Checks that an attempt at the other tenant was refused by the guard."""
    check("42501" in str(error) or "tenant's context" in str(error), f"refused by {error!r}")
    print("refused")
