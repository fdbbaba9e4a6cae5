"""Several connections of one tenant that work at the same time: what asyncpg and
psycopg 3 share of it. Behind a pool with fewer backends than connections every
statement may run on another backend than the one before."""

import asyncio
import os

from walk import MARKER, OTHER, TENANT, check

CLIENTS, TABLE = 3, os.environ["TURNS_TABLE"]
OWNER = {"host": os.environ["PGHOST"], "port": int(os.environ["OWNER_PORT"]), "user": "app_owner", "password": os.environ["OWNER_PASSWORD"]}


class Undo(Exception):
    """Ends a transaction that is to be rolled back."""


async def prepared(db, c, n):
    """Statements past every threshold of preparation; under one name each client has another one."""
    for turn in range(12):
        own = await db.rows(c, f"SELECT $1::int + {n} AS client{n}, tenant_id::text, marker FROM load_rows LIMIT 1", turn)
        check(own == [(turn + n, TENANT, MARKER)], f"client {n} gets {own}")
        emails = await db.rows(c, "SELECT email FROM users WHERE email LIKE $1 ORDER BY email", "user%")
        check(len(emails) == 10 and all(MARKER in e for e, in emails), f"users {emails}")
    return emails


async def failing(db, c, n):
    """Errors of prepared statements, which stay usable."""
    seen = [await db.outcome(c, "SELECT 10 / $1::int", n % 2) for n in range(12)]
    return seen + [await db.outcome(c, "INSERT INTO users (tenant_id, email) VALUES ($1::text::uuid, 'forged@example')", OTHER)]


async def transaction(db, c, n):
    """A commit with an error behind a savepoint, and a rollback."""
    nonce = f"{MARKER} {n}"
    insert, count = "INSERT INTO load_rows (tenant_id, marker, nonce) VALUES ($1::text::uuid, $2, $3)", "SELECT count(*) FROM load_rows WHERE nonce = $1"
    seen = []
    for _ in range(7):
        async with c.transaction():
            await db.rows(c, insert, TENANT, MARKER, nonce)
            try:
                async with c.transaction():
                    await db.rows(c, insert, TENANT, MARKER, nonce)
                    seen += await db.rows(c, count, nonce)
                    await db.rows(c, "SELECT 10 / $1::int", 0)
            except db.Error as e:
                seen.append(e.sqlstate)
            seen += await db.rows(c, count, nonce)
        try:
            async with c.transaction():
                await db.rows(c, "DELETE FROM load_rows WHERE nonce = $1", nonce)
                raise Undo
        except Undo:
            seen += await db.rows(c, count, nonce)
        await db.rows(c, "DELETE FROM load_rows WHERE nonce = $1", nonce)
        seen += await db.rows(c, count, nonce)
    check(seen == 7 * [(2,), "22012", (1,), (1,), (0,)], f"transactions {seen}")
    return seen


async def copy(db, c, n):
    """COPY both ways."""
    nonce = f"{MARKER} {n} "
    try:
        async with c.transaction():
            await db.copy_in(c, "plain_arrivals", [nonce + str(i) for i in range(3000)])
            seen = await db.rows(c, "SELECT count(*) FROM plain_arrivals WHERE t LIKE $1", nonce + "%")
            raise Undo
    except Undo:
        seen += await db.rows(c, "SELECT count(*) FROM plain_arrivals WHERE t LIKE $1", nonce + "%")
    text = await db.copy_out(c, "SELECT email FROM users ORDER BY email")
    check(text.count(MARKER) == 10 == text.count("\n"), text)
    return [*seen, text]


async def cancel(db, c, n):
    """A cancelled statement, and the connection behind it."""
    return [await db.cancelled(c, "SELECT pg_sleep(30)"), *await db.rows(c, "SELECT $1::int", n)]


async def run(db):
    clients = [await db.connect() for _ in range(CLIENTS)]

    async def each(name, step):
        for n, seen in enumerate(await asyncio.gather(*(step(db, c, n) for n, c in enumerate(clients)))):
            print(name, n, *seen, sep="\n  ")

    for _ in range(2):
        for step in (prepared, failing, transaction, copy, cancel):
            await each(step.__name__, step)

    changed = False

    async def described(db, c, n):
        seen = [await db.outcome(c, "SELECT * FROM " + TABLE) for _ in range(8)]
        return [changed and db.changed(rows) or rows for rows in seen]

    await each("described", described)
    owner, changed = await db.connect(**OWNER), True
    await db.rows(owner, f"ALTER TABLE {TABLE} ADD COLUMN c int DEFAULT 3")
    await each("a column more", described)
    await db.rows(owner, f"ALTER TABLE {TABLE} ALTER COLUMN a TYPE text")
    await each("another type", described)
    for c in [owner, *clients]:
        await c.close()
