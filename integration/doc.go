// Package integration holds black-box tests: the built binary between real
// clients and real PostgreSQL servers. Its files are named by the promise they
// hold. A case that can runs twice, against PostgreSQL itself and through the
// proxy, and both must answer the same.
//
// The tests need PostgreSQL's server binaries (on PATH or in
// /usr/lib/postgresql/*/bin), psql, a C compiler for the race detector, and for
// the driver tests Python (psycopg2, SQLAlchemy, FastAPI with uvicorn, asyncpg),
// Node with the lock file's packages, and Java with the PostgreSQL JDBC driver.
// What is missing is a failure, not a skip.
//
// TENANTGATE_BIN names a binary to test instead of building one, and the flag
// -postgres chooses the server's version (16, 17 and 18 are there after
// `install.sh servers`), -load sets how long the two-tenant load runs, and
// -load-seed what its clients do.
package integration
