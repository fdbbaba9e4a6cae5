#!/usr/bin/env bash
# Installs what the tests need and this machine lacks, and nothing else: Debian
# packages (as root or through sudo) and the Node packages of the lock files.
# With the argument `server` it is the PostgreSQL server alone, for the demo; with
# `servers` PostgreSQL 16, 17 and 18 as well, into .cache/servers of the repository,
# and with `clients` the object mappers.
# Where everything is there already it needs neither network nor privileges.
set -euo pipefail
cd "$(dirname "$0")"

missing=()
# need PACKAGES… -- COMMAND…: the packages are missing when the command fails.
need() {
	local packages=()
	while [[ $1 != -- ]]; do
		packages+=("$1")
		shift
	done
	shift
	"$@" >/dev/null 2>&1 || missing+=("${packages[@]}")
}
has() { PATH=$PATH:/usr/sbin:/sbin command -v "$1"; }
postgres_server() { has postgres || compgen -G '/usr/lib/postgresql/*/bin/postgres'; }

# fetch_servers installs the versions of servers/package-lock.json. The packages
# hold no symbolic links: a script of theirs makes them, which npm may not run.
fetch_servers() {
	local lock=servers/package-lock.json dir=../.cache/servers
	[[ ! $dir/complete -nt $lock ]] || return 0
	rm -rf "$dir"
	mkdir -p "$dir"
	cp servers/package.json "$lock" "$dir"
	(
		cd "$dir"
		npm ci --ignore-scripts --no-audit --no-fund
		for server in node_modules/postgres*; do
			(cd "$server" && node scripts/hydrate-symlinks.js)
		done
		chmod -R a+rX . # the servers run as another user than root
		touch complete
	)
}

need postgresql -- postgres_server
if [[ ${1:-} != server ]]; then
	need gcc libc6-dev -- has gcc # the race detector needs a C compiler
	need postgresql-client -- has psql
	need prometheus -- has promtool
	need default-jdk-headless -- has javac
	need libpostgresql-jdbc-java -- test -e /usr/share/java/postgresql.jar
	need nodejs -- has node
	need npm -- has npm
	for module in psycopg2 asyncpg sqlalchemy fastapi uvicorn; do
		need "python3-$module" -- /usr/bin/python3 -c "import $module"
	done
fi
if [[ ${1:-} == clients ]]; then
	for module in psycopg django; do
		need "python3-$module" -- /usr/bin/python3 -c "import $module"
	done
	need ruby -- has ruby
	need ruby-activerecord -- ruby -e 'require "active_record"'
	need ruby-pg -- ruby -e 'require "pg"'
	need libhibernate3-java -- test -e /usr/share/java/hibernate3.jar
fi

if ((${#missing[@]})); then
	echo "installing: ${missing[*]}" >&2
	if ! has apt-get >/dev/null; then
		echo "this machine has no apt-get: install the equivalents of these Debian packages by hand" >&2
		exit 1
	fi
	root=()
	((EUID == 0)) || root=(sudo)
	# The tests start servers of their own: no cluster is made for the
	# distribution's PostgreSQL, and no service is started.
	if [[ ! -e /etc/postgresql-common/createcluster.conf ]]; then
		"${root[@]}" mkdir -p /etc/postgresql-common
		echo 'create_main_cluster = false' | "${root[@]}" tee /etc/postgresql-common/createcluster.conf >/dev/null
	fi
	if [[ ! -e /usr/sbin/policy-rc.d ]]; then
		trap '"${root[@]}" rm -f /usr/sbin/policy-rc.d' EXIT
		printf '#!/bin/sh\nexit 101\n' | "${root[@]}" tee /usr/sbin/policy-rc.d >/dev/null
		"${root[@]}" chmod 755 /usr/sbin/policy-rc.d
	fi
	"${root[@]}" apt-get update -q
	# An existing configuration file wins over the package's.
	"${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends \
		-o Dpkg::Options::=--force-confold "${missing[@]}"
fi

[[ ${1:-} != server ]] || exit 0
if [[ ${1:-} == servers ]]; then
	fetch_servers
	exit 0
fi
# make_prisma makes Prisma's client, which needs none of the engines that Prisma
# would download. It stands among the packages.
make_prisma() (
	cd clients/orm
	[[ ! node_modules/.prisma-client -nt schema.prisma ]] || return 0
	PRISMA_SCHEMA_ENGINE_BINARY=/bin/true CHECKPOINT_DISABLE=1 node_modules/.bin/prisma generate --schema schema.prisma
	touch node_modules/.prisma-client
)

shopt -s nullglob
for lock in clients/*/package-lock.json; do
	dir=$(dirname "$lock")
	[[ $dir != clients/orm || ${1:-} == clients ]] || continue
	if [[ ! $dir/node_modules/.package-lock.json -nt $lock ]]; then
		(cd "$dir" && npm ci --ignore-scripts --no-audit --no-fund)
	fi
done
[[ ${1:-} != clients ]] || make_prisma
