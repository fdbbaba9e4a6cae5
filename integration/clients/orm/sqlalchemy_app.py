"""SQLAlchemy's ORM with psycopg2, its asyncpg dialect, and psycopg 3 beneath; with MIGRATE=1 its DDL."""

import asyncio
import os
import uuid

import psycopg
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import UUID, insert
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import Session, declarative_base, relationship, selectinload

from ordinary import DATABASE, HOST, MARKER, MIGRATE, OTHER, PASSWORD, PORT, SET, TENANT, USER, check, own, refused

Base = declarative_base()


class Organization(Base):
    __tablename__ = "organizations"
    id = sa.Column(UUID(as_uuid=True), primary_key=True, default=uuid.uuid4)
    tenant_id = sa.Column(UUID(as_uuid=True), default=lambda: uuid.UUID(TENANT))
    name = sa.Column(sa.Text)
    projects = relationship("Project", back_populates="organization", cascade="all, delete-orphan")


class Project(Base):
    __tablename__ = "projects"
    id = sa.Column(UUID(as_uuid=True), primary_key=True, default=uuid.uuid4)
    tenant_id = sa.Column(UUID(as_uuid=True), default=lambda: uuid.UUID(TENANT))
    organization_id = sa.Column(sa.ForeignKey("organizations.id"))
    name = sa.Column(sa.Text)
    organization = relationship(Organization, back_populates="projects")


class Account(Base):
    __tablename__ = "users"
    id = sa.Column(UUID(as_uuid=True), primary_key=True, default=uuid.uuid4)
    tenant_id = sa.Column(UUID(as_uuid=True))
    email = sa.Column(sa.Text)


# Others may be at the same work.
NAME = f"new of {MARKER} by {os.getpid()}"


def url(driver):
    return sa.engine.URL.create("postgresql+" + driver, USER, PASSWORD, HOST, PORT, DATABASE)


def sync():
    engine = sa.create_engine(url("psycopg2"), pool_pre_ping=True, connect_args={"sslmode": "disable"})
    for _ in range(2):
        with Session(engine) as s:
            own(s.scalars(sa.select(Account.email).order_by(Account.email)))
            org = Organization(name=NAME, projects=[Project(name=f"p{n} of {MARKER}") for n in range(3)])
            s.add(org)
            s.flush()
            with s.begin_nested():
                s.execute(insert(Organization).values(id=org.id, name="x").on_conflict_do_update(index_elements=["id"], set_={"name": org.name}))
            s.commit()
            print(len(s.scalars(sa.select(Organization).options(selectinload(Organization.projects)).where(Organization.name.like(NAME + "%"))).one().projects))
            s.delete(org)
            s.commit()
            s.execute(sa.text(SET.format(":t")), {"t": TENANT})
            try:
                s.execute(sa.text(SET.format(":t")), {"t": OTHER})
                check(False, "the other tenant was set")
            except sa.exc.DBAPIError as e:
                refused(e)
    inspector = sa.inspect(engine)
    print(sorted(inspector.get_table_names()), len(inspector.get_columns("users")), inspector.get_foreign_keys("projects")[0]["referred_table"],
          len(inspector.get_indexes("projects")))
    sa.MetaData().reflect(engine)
    engine.dispose()


async def asynchronous():
    engine = create_async_engine(url("asyncpg"), connect_args={"ssl": False})
    for _ in range(2):
        async with AsyncSession(engine) as s:
            own(await s.scalars(sa.select(Account.email)))
            set_own = await s.execute(sa.text(SET.format(":t")), {"t": TENANT})
            check(set_own.scalar() == TENANT, "the own tenant")
            await s.commit()
            try:
                await s.execute(sa.text(SET.format(":t")), {"t": OTHER})
                check(False, "the other tenant was set")
            except sa.exc.DBAPIError as e:
                refused(e)
        async with engine.connect() as c:
            print(len(await c.run_sync(lambda c: sa.inspect(c).get_table_names())))
    await engine.dispose()


def psycopg3():
    with psycopg.connect(f"host={HOST} port={PORT} user={USER} dbname={DATABASE} sslmode=disable", password=PASSWORD) as c:
        c.prepare_threshold = 2
        for _ in range(5):
            check(c.execute(SET.format("%s"), [TENANT]).fetchone()[0] == TENANT, "the own tenant")
            own(r[0] for r in c.execute("SELECT email FROM users WHERE email LIKE %s", ["%"]))
            c.commit()
        for binary in (False, True):
            check(c.execute(SET.format("%b" if binary else "%t"), [TENANT]).fetchone()[0] == TENANT, "the own tenant")
            try:
                c.execute(SET.format("%b" if binary else "%t"), [OTHER])
                check(False, "the other tenant was set")
            except psycopg.errors.InsufficientPrivilege as e:
                refused(e)
            c.rollback()
        with c.pipeline():
            rows = [c.execute("SELECT %s::int", [n]) for n in range(5)]
            c.execute(SET.format("%s"), [TENANT])
        print(sum(r.fetchone()[0] for r in rows))
        with c.cursor("named") as cursor:
            own(r[0] for r in cursor.execute("SELECT email FROM users"))
        with c.cursor() as cursor, cursor.copy("COPY (SELECT email FROM users) TO STDOUT") as copy:
            own(r[0] for r in copy.rows())


def migrate():
    engine = sa.create_engine(url("psycopg2"), connect_args={"sslmode": "disable"})
    meta = sa.MetaData()
    tag = sa.Table("orm_tags", meta, sa.Column("id", sa.Integer, primary_key=True), sa.Column("name", sa.String(50), unique=True, index=True),
                   sa.Column("kind", sa.Enum("a", "b", name="orm_kind")))
    sa.Table("orm_tagged", meta, sa.Column("tag_id", sa.ForeignKey(tag.c.id)), sa.CheckConstraint("tag_id > 0"))
    meta.create_all(engine)
    meta.create_all(engine)
    meta.drop_all(engine)
    print("migrated")


if MIGRATE:
    migrate()
else:
    sync()
    asyncio.run(asynchronous())
    psycopg3()
