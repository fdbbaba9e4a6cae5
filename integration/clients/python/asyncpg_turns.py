"""asyncpg's connections with their cache of prepared statements; see turns.py."""

import asyncio
import io

import asyncpg

import turns


class Driver:
    Error = asyncpg.PostgresError

    @staticmethod
    def changed(_):
        return None

    @staticmethod
    async def connect(**place):
        return await asyncpg.connect(ssl=False, **place)

    @staticmethod
    async def rows(c, sql, *args):
        return [tuple(r) for r in await c.fetch(sql, *args)]

    @classmethod
    async def outcome(cls, c, sql, *args):
        try:
            return await cls.rows(c, sql, *args)
        except cls.Error as e:
            return type(e).__name__, e.sqlstate

    @staticmethod
    async def copy_in(c, table, lines):
        await c.copy_records_to_table(table, records=[(line,) for line in lines])

    @staticmethod
    async def copy_out(c, sql):
        out = io.BytesIO()
        await c.copy_from_query(sql, output=out)
        return out.getvalue().decode()

    @staticmethod
    async def cancelled(c, sql):
        try:
            return await c.fetch(sql, timeout=0.2)
        except asyncio.TimeoutError:
            return "timeout"


asyncio.run(turns.run(Driver))
