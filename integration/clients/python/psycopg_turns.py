"""psycopg 3, which prepares what is executed for the sixth time; see turns.py."""

import asyncio
import os
import re

import psycopg

import turns
from walk import MARKER


class Driver:
    Error = psycopg.Error

    @staticmethod
    def changed(rows):
        """Behind a change of the columns a statement fails once where it was prepared before, and is right elsewhere."""
        return rows == ("FeatureNotSupported", "0A000") or len(rows[0]) == 3 and rows[0][1:] == (MARKER, 3)

    @staticmethod
    async def connect(**place):
        return await psycopg.AsyncConnection.connect(dbname=os.environ["PGDATABASE"], **place)

    @staticmethod
    async def rows(c, sql, *args):
        sql = re.sub(r"\$\d", "%s", sql)
        if c.info.transaction_status == psycopg.pq.TransactionStatus.IDLE:
            async with c.transaction():
                return await Driver.fetch(await c.execute(sql, args))
        return await Driver.fetch(await c.execute(sql, args))

    @staticmethod
    async def fetch(cursor):
        return await cursor.fetchall() if cursor.description else []

    @classmethod
    async def outcome(cls, c, sql, *args):
        try:
            return await cls.rows(c, sql, *args)
        except cls.Error as e:
            return type(e).__name__, e.sqlstate

    @staticmethod
    async def copy_in(c, table, lines):
        async with c.cursor().copy(f"COPY {table} FROM STDIN") as to:
            for line in lines:
                await to.write_row((line,))

    @staticmethod
    async def copy_out(c, sql):
        async with c.transaction(), c.cursor().copy(f"COPY ({sql}) TO STDOUT") as out:
            return b"".join([bytes(chunk) async for chunk in out]).decode()

    @classmethod
    async def cancelled(cls, c, sql):
        asyncio.get_running_loop().call_later(0.2, c.cancel)
        try:
            return await c.execute(sql)
        except cls.Error as e:
            return type(e).__name__, e.sqlstate
        finally:
            await c.rollback()


asyncio.run(turns.run(Driver))
