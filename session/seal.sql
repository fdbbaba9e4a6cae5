-- The seal of tenantgate, version 1: a context that no SQL of a client can forge.
--
-- Plain SQL and PL/pgSQL for PostgreSQL 15 and later, no extension. `tenantgate seal sql` prints this file with the
-- configured settings, the key and the tables to protect behind it; running all of that again installs what is missing,
-- upgrades what is older and changes nothing else. What it needs: a superuser, or a role that has CREATEROLE, CREATE on
-- the database, and is (or is a member of) the owner of the tables that are to be protected.
--
-- How it works. The proxy calls tenantgate.enter() with the context and an HMAC-SHA256 over it, over the server process and
-- over the start of the server. enter() checks it with the key in tenantgate.key, sets the settings, and latches what it
-- has verified in four sequences: the current value of a sequence is private to a session, every role may read it here
-- and nobody but enter() may set it ("Sequence Manipulation Functions" in the PostgreSQL documentation). Policies read the
-- latch, never a setting by itself. Where no sequence can be set, on a standby and in a read-only transaction, the seal
-- is kept in the setting tenantgate.seal and is verified by every statement. A seal is made for one or the other: what is
-- latched is no good for keeping, and a process with a kept seal serves nobody else.
--
-- The settings tenantgate.latch and tenantgate.seal can be set by anybody. They only say where to look: with any value
-- of them a reader gives the session's own tenant, NULL or an error.

\set ON_ERROR_STOP on
\set QUIET on
BEGIN;
SET LOCAL client_min_messages = warning;
SET LOCAL search_path = pg_catalog, pg_temp;
SET LOCAL standard_conforming_strings = on;

-- 1. The owner, a role that nobody logs in as, and its schema. What somebody else has put there first is not built upon.
DO $$
DECLARE
  owner oid;
  lang name;
BEGIN
  IF current_setting('server_version_num')::int < 150000 THEN
    RAISE EXCEPTION 'tenantgate: the seal needs PostgreSQL 15 or later';
  END IF;
  IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'tenantgate_owner') THEN
    CREATE ROLE tenantgate_owner NOLOGIN;
  END IF;
  SELECT oid INTO owner FROM pg_roles WHERE rolname = 'tenantgate_owner';
  IF EXISTS (SELECT FROM pg_roles WHERE oid = owner AND (rolcanlogin OR rolsuper OR rolbypassrls OR rolcreaterole)) THEN
    RAISE EXCEPTION 'tenantgate: the role tenantgate_owner must not log in, nor be a superuser, nor have BYPASSRLS or CREATEROLE';
  END IF;
  IF NOT (SELECT rolsuper FROM pg_roles WHERE rolname = current_user)
     AND NOT pg_has_role('tenantgate_owner',
                         CASE WHEN current_setting('server_version_num')::int < 160000 THEN 'MEMBER' ELSE 'SET' END) THEN
    GRANT tenantgate_owner TO CURRENT_USER;
  END IF;
  -- Both languages, where they have been taken from PUBLIC: by this grant or not at all.
  FOR lang IN SELECT l.lanname FROM pg_language l
      WHERE l.lanname IN ('sql', 'plpgsql') AND NOT has_language_privilege(owner, l.oid, 'USAGE') LOOP
    BEGIN
      EXECUTE format('GRANT USAGE ON LANGUAGE %I TO tenantgate_owner', lang);
    EXCEPTION WHEN insufficient_privilege THEN
      NULL; -- said below
    END;
    IF NOT has_language_privilege(owner, lang, 'USAGE') THEN
      RAISE EXCEPTION 'tenantgate: the role tenantgate_owner may not use the language %', lang
        USING HINT = format('As superuser: GRANT USAGE ON LANGUAGE %I TO tenantgate_owner', lang);
    END IF;
  END LOOP;
  IF to_regnamespace('tenantgate') IS NULL THEN
    CREATE SCHEMA tenantgate AUTHORIZATION tenantgate_owner;
  END IF;
  IF EXISTS (SELECT FROM pg_namespace WHERE nspname = 'tenantgate' AND nspowner <> owner)
     OR EXISTS (SELECT FROM pg_class WHERE relnamespace = 'tenantgate'::regnamespace AND relowner <> owner)
     OR EXISTS (SELECT FROM pg_proc WHERE pronamespace = 'tenantgate'::regnamespace AND proowner <> owner)
     OR EXISTS (SELECT FROM pg_type WHERE typnamespace = 'tenantgate'::regnamespace AND typowner <> owner) THEN
    RAISE EXCEPTION 'tenantgate: the schema tenantgate, or something in it, does not belong to tenantgate_owner'
      USING HINT = 'Look at what it is and who made it, and drop it.';
  END IF;
END $$;
SET LOCAL ROLE tenantgate_owner;

-- 2. The keys, as RFC 2104 uses them: two keys are valid at once while one takes over from the other.
CREATE TABLE IF NOT EXISTS tenantgate.key (
  kid     text PRIMARY KEY CHECK (kid ~ '^[A-Za-z0-9_-]{1,32}$'),
  ipad    bytea NOT NULL CHECK (octet_length(ipad) = 64),
  opad    bytea NOT NULL CHECK (octet_length(opad) = 64),
  created timestamptz NOT NULL DEFAULT now());

-- 3. The latch: 1 and 2 hold the tenant's uuid, 3 and 4 half a digest of the whole context. Their shared value is always
-- 0: only the value of the own session counts. Unlogged: an entry writes no WAL and takes no transaction id.
CREATE UNLOGGED SEQUENCE IF NOT EXISTS tenantgate.latch_1 MINVALUE -9223372036854775808 START 0;
CREATE UNLOGGED SEQUENCE IF NOT EXISTS tenantgate.latch_2 MINVALUE -9223372036854775808 START 0;
CREATE UNLOGGED SEQUENCE IF NOT EXISTS tenantgate.latch_3 MINVALUE -9223372036854775808 START 0;
CREATE UNLOGGED SEQUENCE IF NOT EXISTS tenantgate.latch_4 MINVALUE -9223372036854775808 START 0;

-- 4. What the proxy looks at when it connects.
CREATE OR REPLACE FUNCTION tenantgate.version() RETURNS integer
  LANGUAGE sql IMMUTABLE PARALLEL SAFE
  RETURN 1;

-- The start of the server in microseconds: process ids are dealt out again after a restart, and seals must not be.
CREATE OR REPLACE FUNCTION tenantgate.epoch() RETURNS bigint
  LANGUAGE sql STABLE PARALLEL SAFE
  RETURN (extract(epoch FROM pg_postmaster_start_time()) * 1000000)::bigint;

-- The port that the client of this process came from, 0 for a Unix socket: process ids are dealt out again while the
-- server runs.
CREATE OR REPLACE FUNCTION tenantgate.port() RETURNS integer
  LANGUAGE sql STABLE PARALLEL RESTRICTED
  RETURN coalesce(inet_client_port(), 0);

-- settings, admin_setting and context are written by configure(); until then nothing is sealed.
DO $$
BEGIN
  IF to_regprocedure('tenantgate.settings()') IS NULL THEN
    CREATE FUNCTION tenantgate.settings() RETURNS text[] LANGUAGE sql IMMUTABLE PARALLEL SAFE RETURN NULL::text[];
    CREATE FUNCTION tenantgate.admin_setting() RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE RETURN NULL::text;
    CREATE FUNCTION tenantgate.context() RETURNS text LANGUAGE sql STABLE PARALLEL SAFE RETURN NULL::text;
  END IF;
END $$;

-- 5. Verification.

-- Says why a seal is refused; NULL: it is good. head is `v1.KEY.EXPIRY.UNTIL.NONCE` with times in Unix seconds: EXPIRY
-- for entering with it, UNTIL for reading where it is kept, 0 for a seal that must be latched. fields are the context,
-- each name and value behind its length.
CREATE OR REPLACE FUNCTION tenantgate.refusal(head text, mac bytea, fields bytea, entering boolean) RETURNS text
  LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  inner_pad bytea;
  outer_pad bytea;
  message bytea;
BEGIN
  IF head IS NULL OR mac IS NULL OR fields IS NULL
     OR head !~ '^v1[.][A-Za-z0-9_-]{1,32}[.][0-9]{12}[.][0-9]{12}[.][A-Za-z0-9_-]{16,64}$' THEN
    RETURN 'it is malformed';
  END IF;
  SELECT k.ipad, k.opad INTO inner_pad, outer_pad FROM tenantgate.key k WHERE k.kid = split_part(head, '.', 2);
  IF NOT FOUND THEN
    RETURN 'its key is not in this database';
  END IF;
  message := convert_to(concat_ws(chr(10), 'tenantgate', head, pg_backend_pid(), tenantgate.port(), tenantgate.epoch(), ''),
                        'UTF8') || fields;
  -- Both sides are hashed once more, so that how long the comparison takes tells nothing.
  IF sha256(outer_pad || sha256(outer_pad || sha256(inner_pad || message))) IS DISTINCT FROM sha256(outer_pad || mac) THEN
    RETURN 'its code is wrong: made with another key, or for another context, server process or server';
  END IF;
  IF split_part(head, '.', CASE WHEN entering THEN 3 ELSE 4 END)::bigint <= extract(epoch FROM clock_timestamp()) THEN
    RETURN 'it has expired';
  END IF;
  RETURN NULL;
END $$;

-- Lets the proxy try its key when it connects: a seal over no context at all. Says why not; NULL: it is good.
CREATE OR REPLACE FUNCTION tenantgate.accepts(head text, mac bytea) RETURNS text
  LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  RETURN tenantgate.refusal(head, mac, '', true);
END $$;

-- Whether the seal in the setting tenantgate.seal is good for the settings as they are now. False for garbage.
CREATE OR REPLACE FUNCTION tenantgate.verified() RETURNS boolean
  LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  seal text := current_setting('tenantgate.seal', true);
  fields bytea := '';
  name text;
  b bytea;
BEGIN
  IF seal IS NULL OR seal !~ '[.][0-9a-f]{64}$' THEN
    RETURN false;
  END IF;
  FOREACH name IN ARRAY coalesce(tenantgate.settings(), '{}') LOOP
    b := convert_to(name, 'UTF8');
    fields := fields || int4send(octet_length(b)) || b;
    b := convert_to(coalesce(current_setting(name, true), ''), 'UTF8');
    fields := fields || int4send(octet_length(b)) || b;
  END LOOP;
  RETURN octet_length(fields) > 0
    AND tenantgate.refusal(left(seal, -65), decode(right(seal, 64), 'hex'), fields, false) IS NULL;
EXCEPTION WHEN character_not_in_repertoire OR untranslatable_character THEN
  RETURN false; -- a setting holds what is no text in UTF-8
END $$;

-- The tenant's uuid where no latch was set; NULL without a good seal and for tenants that are no uuid.
CREATE OR REPLACE FUNCTION tenantgate.verified_tenant_id() RETURNS uuid
  LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  tenant text;
BEGIN
  IF tenantgate.verified() THEN
    tenant := current_setting((tenantgate.settings())[1], true);
    IF tenant ~ '^[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}$' THEN
      RETURN tenant::uuid;
    END IF;
  END IF;
  RETURN NULL;
END $$;

-- Whether this session has a latch.
CREATE OR REPLACE FUNCTION tenantgate.latch_set() RETURNS boolean
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  IF NOT pg_is_in_recovery() THEN -- where no latch can be set, nor read
    PERFORM currval('tenantgate.latch_1'); -- the one that is set first; sessions lose all or none
    RETURN true;
  END IF;
  RETURN false;
EXCEPTION WHEN object_not_in_prerequisite_state THEN
  RETURN false;
END $$;

-- Whether the latch of this session holds these values already.
CREATE OR REPLACE FUNCTION tenantgate.latch_holds(tenant bytea, digest bytea) RETURNS boolean
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  RETURN int8send(currval('tenantgate.latch_1')) || int8send(currval('tenantgate.latch_2')) = tenant
     AND int8send(currval('tenantgate.latch_3')) || int8send(currval('tenantgate.latch_4')) = digest;
EXCEPTION WHEN object_not_in_prerequisite_state THEN
  RETURN false;
END $$;

-- Whether anything of a context is left in this session: DISCARD ALL takes all of it away, and the proxy asks behind it.
CREATE OR REPLACE FUNCTION tenantgate.latched() RETURNS boolean
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  IF current_setting('tenantgate.latch', true) <> '' OR current_setting('tenantgate.seal', true) <> '' THEN
    RETURN true;
  END IF;
  RETURN tenantgate.latch_set();
END $$;

-- 6. Entering. context holds the configured settings, name and value in turn, in UTF-8. To call it gives no power: without
-- the code of a key it raises TG001 and has done nothing. So it does where the session is latched to another context, since a
-- reset takes the latch away first. TG002: nothing can be latched here, and the seal is not one to be kept.
CREATE OR REPLACE FUNCTION tenantgate.enter(head text, mac bytea, context bytea[]) RETURNS boolean
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  names text[] := tenantgate.settings();
  fields bytea := '';
  refused text;
  tenant text;
  how text := 'text';
  digest bytea;
  bits bytea;
  latched boolean;
BEGIN
  IF names IS NULL OR cardinality(context) IS DISTINCT FROM 2 * cardinality(names) THEN
    refused := 'the seal was installed for other settings; run tenantgate seal sql again';
  ELSE
    FOR i IN 1 .. cardinality(names) LOOP
      IF context[2 * i - 1] IS DISTINCT FROM convert_to(names[i], 'UTF8') THEN
        refused := 'the seal was installed for other settings; run tenantgate seal sql again';
      END IF;
      fields := fields || int4send(octet_length(context[2 * i - 1])) || context[2 * i - 1]
                       || int4send(octet_length(context[2 * i])) || context[2 * i];
    END LOOP;
    refused := coalesce(refused, tenantgate.refusal(head, mac, fields, true));
  END IF;
  IF refused IS NOT NULL THEN
    RAISE EXCEPTION 'tenantgate: the seal is not accepted: %', refused USING ERRCODE = 'TG001';
  END IF;

  FOR i IN 1 .. cardinality(names) LOOP -- comes back with the transaction, should this raise an error
    PERFORM set_config(names[i], convert_from(context[2 * i], 'UTF8'), false);
  END LOOP;
  tenant := convert_from(context[2], 'UTF8');
  digest := sha256(convert_to(tenantgate.context(), 'SQL_ASCII'));
  bits := substr(digest, 17, 16); -- belongs to no tenant
  digest := substr(digest, 1, 16);
  IF tenant ~ '^[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}$' THEN
    how := 'uuid';
    bits := uuid_send(tenant::uuid);
  END IF;
  latched := tenantgate.latch_holds(bits, digest);
  IF NOT latched AND tenantgate.latch_set() THEN
    RAISE EXCEPTION 'tenantgate: the seal is not accepted: this session has entered another context' USING ERRCODE = 'TG001';
  END IF;
  IF NOT pg_is_in_recovery() AND current_setting('transaction_read_only') = 'off' THEN
    -- The second setval of each wipes what other sessions could see and leaves the value of this session alone.
    PERFORM setval('tenantgate.latch_1', ('x' || encode(substr(bits, 1, 8), 'hex'))::bit(64)::bigint),
            setval('tenantgate.latch_1', 0, false),
            setval('tenantgate.latch_2', ('x' || encode(substr(bits, 9, 8), 'hex'))::bit(64)::bigint),
            setval('tenantgate.latch_2', 0, false),
            setval('tenantgate.latch_3', ('x' || encode(substr(digest, 1, 8), 'hex'))::bit(64)::bigint),
            setval('tenantgate.latch_3', 0, false),
            setval('tenantgate.latch_4', ('x' || encode(substr(digest, 9, 8), 'hex'))::bit(64)::bigint),
            setval('tenantgate.latch_4', 0, false);
  ELSIF NOT latched THEN
    IF split_part(head, '.', 4)::bigint = 0 THEN
      RAISE EXCEPTION 'tenantgate: nothing can be latched in a read-only transaction, nor on a standby, and the seal is not to be kept'
        USING ERRCODE = 'TG002';
    END IF;
    how := 'none';
  END IF;
  PERFORM set_config('tenantgate.latch', how, false),
          set_config('tenantgate.seal', CASE WHEN how = 'none' THEN head || '.' || encode(mac, 'hex') ELSE '' END, false);
  RETURN true;
END $$;

-- 7. The readers, for policies, views, functions and defaults: all NULL (is_admin: false) without an entered context. They
-- are parsed here and now, so that no search_path, operator or temporary object of a caller gets between, and PostgreSQL
-- puts their bodies into a statement in the place of a call. VOLATILE, because otherwise it would not; write them as
-- (SELECT tenantgate.current_tenant_id()), so that a statement evaluates them once.

-- The tenant, where tenants are uuids.
CREATE OR REPLACE FUNCTION tenantgate.current_tenant_id() RETURNS uuid
  LANGUAGE sql VOLATILE PARALLEL RESTRICTED
  RETURN CASE WHEN current_setting('tenantgate.latch', true) COLLATE "C" = 'uuid'
    THEN encode(int8send(currval('tenantgate.latch_1')) || int8send(currval('tenantgate.latch_2')), 'hex')::uuid
    ELSE tenantgate.verified_tenant_id() END;

-- Whether all settings of the context are those that were entered.
CREATE OR REPLACE FUNCTION tenantgate.sealed() RETURNS boolean
  LANGUAGE sql VOLATILE PARALLEL RESTRICTED
  RETURN CASE WHEN current_setting('tenantgate.latch', true) COLLATE "C" IN ('uuid', 'text')
    THEN substr(sha256(convert_to(tenantgate.context(), 'SQL_ASCII')), 1, 16)
       = int8send(currval('tenantgate.latch_3')) || int8send(currval('tenantgate.latch_4'))
    ELSE tenantgate.verified() END;

-- The tenant as text.
CREATE OR REPLACE FUNCTION tenantgate.tenant() RETURNS text
  LANGUAGE sql VOLATILE PARALLEL RESTRICTED
  RETURN CASE WHEN tenantgate.sealed() THEN current_setting((tenantgate.settings())[1], true) END;

-- The tenant, where tenants are numbers.
CREATE OR REPLACE FUNCTION tenantgate.tenant_number() RETURNS bigint
  LANGUAGE sql VOLATILE PARALLEL RESTRICTED
  RETURN CASE WHEN tenantgate.sealed() AND current_setting((tenantgate.settings())[1], true) ~ '^(0|-?[1-9][0-9]{0,17})$'
    THEN current_setting((tenantgate.settings())[1], true)::bigint END;

-- Whether the admin setting was entered as 'true'.
CREATE OR REPLACE FUNCTION tenantgate.is_admin() RETURNS boolean
  LANGUAGE sql VOLATILE PARALLEL RESTRICTED
  RETURN CASE WHEN tenantgate.sealed()
    THEN coalesce(current_setting(tenantgate.admin_setting(), true) = 'true', false) ELSE false END;

-- The value of one setting of the context; NULL for any other.
CREATE OR REPLACE FUNCTION tenantgate.claim(name text) RETURNS text
  LANGUAGE sql VOLATILE PARALLEL RESTRICTED
  RETURN CASE WHEN lower(name) = ANY (tenantgate.settings()) AND tenantgate.sealed() THEN current_setting(name, true) END;

-- 8. For the DBA: settings and keys.

-- Names the settings of the context, the tenant's first; admin is the one that tells administrators, if any.
CREATE OR REPLACE FUNCTION tenantgate.configure(names text[], admin text DEFAULT NULL) RETURNS void
  LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on AS $$
DECLARE
  body text := '';
  name text;
BEGIN
  SELECT array_agg(lower(n) ORDER BY i) INTO names FROM unnest(names) WITH ORDINALITY u(n, i);
  admin := lower(admin);
  IF coalesce(cardinality(names), 0) = 0 OR admin <> ALL (names) THEN
    RAISE EXCEPTION 'tenantgate: name the settings of the context, the admin setting among them';
  END IF;
  FOREACH name IN ARRAY names LOOP
    body := concat_ws(' || ', nullif(body, ''),
      format('octet_length(coalesce(current_setting(%1$L, true), %2$L))::text || %3$L '
        '|| coalesce(current_setting(%1$L, true), %2$L)', name, '', ':'));
  END LOOP;
  IF tenantgate.settings() IS DISTINCT FROM names THEN
    EXECUTE format('CREATE OR REPLACE FUNCTION tenantgate.settings() RETURNS text[] LANGUAGE sql IMMUTABLE PARALLEL SAFE '
      'RETURN %L::text[]', names);
    EXECUTE 'CREATE OR REPLACE FUNCTION tenantgate.context() RETURNS text LANGUAGE sql STABLE PARALLEL SAFE RETURN ' || body;
  END IF;
  IF tenantgate.admin_setting() IS DISTINCT FROM admin THEN
    EXECUTE format('CREATE OR REPLACE FUNCTION tenantgate.admin_setting() RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE '
      'RETURN %L::text', admin);
  END IF;
END $$;

-- Adds a key in the form in which it is stored. Adding it again changes nothing.
CREATE OR REPLACE FUNCTION tenantgate.add_key_pads(id text, inner_pad bytea, outer_pad bytea) RETURNS void
  LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  INSERT INTO tenantgate.key (kid, ipad, opad) VALUES (id, inner_pad, outer_pad) ON CONFLICT (kid) DO NOTHING;
  IF NOT EXISTS (SELECT FROM tenantgate.key k WHERE k.kid = id AND k.ipad = inner_pad AND k.opad = outer_pad) THEN
    RAISE EXCEPTION 'tenantgate: the key id % stands for another key already', id
      USING HINT = 'Give the new key a key_id of its own; drop the old one when no proxy uses it any more.';
  END IF;
END $$;

-- Takes a key away: SELECT tenantgate.drop_key('k1'). Contexts that were entered with it last until they are left. The last
-- one stays.
CREATE OR REPLACE FUNCTION tenantgate.drop_key(id text) RETURNS void
  LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  DELETE FROM tenantgate.key k WHERE k.kid = id;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'tenantgate: there is no key with the id %', id;
  ELSIF NOT EXISTS (SELECT FROM tenantgate.key) THEN
    RAISE EXCEPTION 'tenantgate: % is the last key, without which nobody is served', id
      USING HINT = 'Bring the next one in first, by tenantgate seal sql. If nobody is to be served: DELETE FROM tenantgate.key';
  END IF;
END $$;

-- The ids of the keys, without the keys.
CREATE OR REPLACE FUNCTION tenantgate.keys() RETURNS TABLE (kid text, created timestamptz)
  LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
  BEGIN ATOMIC SELECT k.kid, k.created FROM tenantgate.key k ORDER BY k.created, k.kid; END;
