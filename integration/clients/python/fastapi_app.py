"""The article's FastAPI + SQLAlchemy application, served by uvicorn and called
over HTTP. It has no set_rls_context: the connection carries the tenant. With
ARTICLE_CONTEXT=1 it calls the article's own set_rls_context, which must keep working."""

import concurrent.futures
import json
import os
import socket
import threading
import urllib.request
import uuid

import uvicorn
from fastapi import Depends, FastAPI
from sqlalchemy import Column, ForeignKey, String, create_engine, text
from sqlalchemy.dialects.postgresql import UUID
from sqlalchemy.exc import ProgrammingError
from sqlalchemy.orm import Session, declarative_base, sessionmaker

from walk import ADMIN, MARKER, OTHER, OTHER_MARKER, TENANT, check

engine = create_engine("postgresql+psycopg2://", pool_size=3, max_overflow=1, pool_pre_ping=True)
SessionLocal = sessionmaker(bind=engine)
Base = declarative_base()
app = FastAPI()


class Tenant(Base):
    __tablename__ = "tenants"
    id = Column(UUID(as_uuid=True), primary_key=True)
    name = Column(String, nullable=False)


class User(Base):
    __tablename__ = "users"
    id = Column(UUID(as_uuid=True), primary_key=True, default=uuid.uuid4)
    tenant_id = Column(UUID(as_uuid=True), ForeignKey("tenants.id"), nullable=False)
    email = Column(String, nullable=False)
    role = Column(String, default="user")


def set_rls_context(session: Session, tenant_id: str, is_admin: bool = False):
    """The article's own function."""
    session.execute(text("SET app.current_tenant_id = :tenant_id"), {"tenant_id": tenant_id})
    session.execute(text("SET app.is_admin = :is_admin"), {"is_admin": is_admin})


def get_db():
    session = SessionLocal()
    try:
        if os.environ.get("ARTICLE_CONTEXT"):
            set_rls_context(session, tenant_id=TENANT, is_admin=ADMIN)
        yield session
    finally:
        session.close()


@app.get("/users")
def list_users(db: Session = Depends(get_db)):
    return sorted(u.email for u in db.query(User).all())


@app.post("/users/{tenant_id}")
def add_user(tenant_id: str, db: Session = Depends(get_db)):
    user = User(tenant_id=uuid.UUID(tenant_id), email="new@" + MARKER)
    db.add(user)
    try:
        db.flush()
    except ProgrammingError as e:
        return {"refused": e.orig.pgcode}
    seen = db.query(User).filter(User.id == user.id).count()
    db.rollback()
    return {"seen": seen}


def call(method, path):
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", method=method)
    with urllib.request.urlopen(request, timeout=30) as response:
        return json.load(response)


listener = socket.create_server(("127.0.0.1", 0))
port = listener.getsockname()[1]
server = uvicorn.Server(uvicorn.Config(app, log_level="error"))
thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
thread.start()
try:
    with concurrent.futures.ThreadPoolExecutor(8) as callers:
        lists = list(callers.map(lambda _: call("GET", "/users"), range(40)))
    check(all(emails == lists[0] for emails in lists), "requests saw different users")
    check(len(lists[0]) == (20 if ADMIN else 10), f"{len(lists[0])} users")
    check(ADMIN or all(MARKER in e and OTHER_MARKER not in e for e in lists[0]), "a foreign user")
    own, foreign = call("POST", "/users/" + TENANT), call("POST", "/users/" + OTHER)
    check(own == {"seen": 1}, f"own insert: {own}")
    check(foreign == ({"seen": 1} if ADMIN else {"refused": "42501"}), f"foreign insert: {foreign}")
    print(*lists[0], own, foreign, sep="\n")
finally:
    server.should_exit = True
    thread.join()
