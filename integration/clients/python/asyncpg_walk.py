"""asyncpg's pool, which sends RESET ALL among others at every release, and then
uses the same connection again: the tenant must still be there."""

import asyncio
import os

import asyncpg

from walk import ADMIN, JOIN, MARKER, OTHER, TENANT, check, judge


async def forbidden(conn, sql, *args):
    transaction = conn.transaction()
    await transaction.start()
    try:
        await conn.execute(sql, *args)
        check(ADMIN, "a write for another tenant went through: " + sql)
    except asyncpg.InsufficientPrivilegeError as e:
        print(e.sqlstate, e.message)
        check(not ADMIN, "an administrator's write was refused")
    finally:
        await transaction.rollback()


async def turn(pool):
    async with pool.acquire() as conn:
        await conn.execute("SELECT set_config('app.current_tenant_id', $1, false)", TENANT)
        judge("users", await conn.fetch("SELECT email FROM users ORDER BY email"), 10)
        judge("join", await conn.fetch(JOIN), 18)
        async with conn.transaction():
            org = await conn.fetchval("INSERT INTO organizations (tenant_id, name) VALUES ($1, $2) RETURNING id", TENANT, "new of " + MARKER)
            project = await conn.fetchval("INSERT INTO projects (tenant_id, organization_id, name) VALUES ($1, $2, $3) RETURNING id",
                                          TENANT, org, "new of " + MARKER)
            await conn.execute("INSERT INTO audit_logs (tenant_id, project_id, action) VALUES ($1, $2, $3)", TENANT, project, "new of " + MARKER)
        print("transaction", await conn.fetchval("SELECT count(*) FROM audit_logs WHERE project_id = $1", project))
        async with conn.transaction():
            await conn.execute("DELETE FROM audit_logs WHERE project_id = $1", project)
            await conn.execute("DELETE FROM projects WHERE id = $1", project)
            await conn.execute("DELETE FROM organizations WHERE id = $1", org)
        await forbidden(conn, "INSERT INTO users (tenant_id, email) VALUES ($1, 'forged@example')", OTHER)
        await forbidden(conn, "UPDATE users SET tenant_id = $1 WHERE email LIKE 'user1@%'", OTHER)
        async with conn.transaction():
            await conn.execute("CREATE TEMP TABLE arrivals (n int, t text) ON COMMIT DROP")
            print(await conn.copy_records_to_table("arrivals", records=[(n, f"x{n}") for n in range(5000)]))
            print(await conn.fetchrow("SELECT count(*), sum(n) FROM arrivals"))
            names = [r async for r in conn.cursor("SELECT email FROM users ORDER BY email", prefetch=3)]
            judge("cursor", names, 10)


async def main():
    async with asyncpg.create_pool(host=os.environ["PGHOST"], ssl=False, min_size=2, max_size=2) as pool:
        for _ in range(3):
            await turn(pool)
        counts = await asyncio.gather(*(pool.fetchval("SELECT count(*) FROM users") for _ in range(100)))
        check(set(counts) == {20 if ADMIN else 10}, f"counts {set(counts)}")
        async with pool.acquire() as conn:
            for reset in ("RESET ALL", "DISCARD ALL", "RESET app.current_tenant_id"):
                try:
                    await conn.execute(reset)
                finally:
                    seen = await conn.fetchval("SELECT current_setting('app.current_tenant_id')", timeout=5)
                    check(seen == TENANT, f"tenant after {reset}: {seen!r}")
                await conn.reload_schema_state()
                if reset == "DISCARD ALL":  # asyncpg's own statement cache does not survive it
                    conn._drop_local_statement_cache()


asyncio.run(main())
