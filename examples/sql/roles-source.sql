-- Roles on the source: the database that the application writes to today.
--
-- Run by a DBA, as a superuser, connected to the database that is to be migrated:
--
--     psql --set ON_ERROR_STOP=1 --single-transaction --dbname payments --file roles-source.sql
--
-- Plain SQL for PostgreSQL 14 and later; running it twice changes nothing. A database made from nothing needs
-- CREATE DATABASE payments first. Replace the names payments, payments_owner and payments_app by your own.
--
-- It sets no password. Do that by hand, so that none is ever in a file:  \password slipway_dms
--
-- The server itself needs, in postgresql.conf (a restart): wal_level = logical, and for max_replication_slots and
-- max_wal_senders at least 4 more than are in use. In pg_hba.conf: hostssl lines with scram-sha-256 for slipway_dms
-- and slipway_operator and this database, and, as AWS asks, one for slipway_dms and the keyword replication.

-- While a migration runs, this file would give the application rights that Slipway has taken away on purpose.
DO $$
BEGIN
  IF to_regclass('slipway.token') IS NOT NULL THEN
    RAISE EXCEPTION 'slipway.token exists: a migration of this database has begun, and these grants would undo its fence'
      USING HINT = 'Run this file before the DatabaseMigration is created, or after it was deleted and schema slipway emptied.';
  END IF;
END
$$;

-- Roles ---------------------------------------------------------------------------------------------------------------

DO $$
DECLARE
  wanted text;
BEGIN
  FOREACH wanted IN ARRAY ARRAY['payments_owner', 'payments_app', 'slipway_dms', 'slipway_operator'] LOOP
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = wanted) THEN
      EXECUTE format('CREATE ROLE %I', wanted);
    END IF;
  END LOOP;
END
$$;

-- The owner of all tables. Nobody logs in as it, so that no session can give itself back what the fence took:
-- an owner can always grant to itself.
ALTER ROLE payments_owner NOLOGIN;

-- The application. It must own nothing, for the same reason.
ALTER ROLE payments_app LOGIN;

-- DMS. It reads the tables once and the write-ahead log ever after, which takes REPLICATION.
-- The operator needs REPLICATION too: it looks after DMS's slot, and drops it when DMS has forgotten it. A slot that
-- nobody reads fills the disk of this server.
-- On RDS nobody can be given REPLICATION; membership in rds_replication is its equivalent.
ALTER ROLE slipway_dms LOGIN;
ALTER ROLE slipway_operator LOGIN;
DO $$
BEGIN
  IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'rds_replication') THEN
    GRANT rds_replication TO slipway_dms, slipway_operator;
  ELSE
    ALTER ROLE slipway_dms REPLICATION;
    ALTER ROLE slipway_operator REPLICATION;
  END IF;
END
$$;

-- A load of a large table is one long statement in one long transaction; a server-wide limit would cut it off.
ALTER ROLE slipway_dms SET statement_timeout = 0;
ALTER ROLE slipway_dms SET idle_in_transaction_session_timeout = 0;

-- The owner -----------------------------------------------------------------------------------------------------------

-- Only the owner of a database, or a member of it, may take CONNECT away from others; that is the fence's first layer.
ALTER DATABASE payments OWNER TO payments_owner;
ALTER SCHEMA public OWNER TO payments_owner;

-- Until PostgreSQL 14 everyone may create tables in public, and an application that creates one owns it.
REVOKE CREATE ON SCHEMA public FROM PUBLIC;

-- CONNECT goes to named roles. What PUBLIC holds, any role on this server can use to get round the fence.
REVOKE CONNECT, TEMPORARY ON DATABASE payments FROM PUBLIC;

-- The application -----------------------------------------------------------------------------------------------------

GRANT CONNECT, TEMPORARY ON DATABASE payments TO payments_app;
GRANT USAGE ON SCHEMA public TO payments_app;

-- Rows, but not TRUNCATE: DMS does not replicate it, so one TRUNCATE would part the two databases without a word.
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO payments_app;
ALTER DEFAULT PRIVILEGES FOR ROLE payments_owner IN SCHEMA public
  GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO payments_app;

-- nextval() for columns that default to a sequence. Identity columns need none.
GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO payments_app;
ALTER DEFAULT PRIVILEGES FOR ROLE payments_owner IN SCHEMA public
  GRANT USAGE ON SEQUENCES TO payments_app;

-- DMS -----------------------------------------------------------------------------------------------------------------

GRANT CONNECT ON DATABASE payments TO slipway_dms;

-- It reads here and never writes. Tables made later are covered by the default, or the task would fail on the first.
GRANT USAGE ON SCHEMA public TO slipway_dms;
GRANT SELECT ON ALL TABLES IN SCHEMA public TO slipway_dms;
ALTER DEFAULT PRIVILEGES FOR ROLE payments_owner IN SCHEMA public
  GRANT SELECT ON TABLES TO slipway_dms;

-- Slipway's operator --------------------------------------------------------------------------------------------------

GRANT CONNECT ON DATABASE payments TO slipway_operator;

-- Being a member of the owner lets it revoke what the owner granted, on the database, its tables and columns, and
-- give it back. It also lets it read every table and sequence for the comparison of both sides.
-- Being a member of the application lets it try, as the application, whether a write is really refused.
-- From PostgreSQL 16 on a membership may have been made without these two options; they are what it is for.
DO $$
BEGIN
  IF current_setting('server_version_num')::integer >= 160000 THEN
    EXECUTE 'GRANT payments_owner, payments_app TO slipway_operator WITH INHERIT TRUE, SET TRUE';
  ELSE
    GRANT payments_owner, payments_app TO slipway_operator;
  END IF;
END
$$;

-- The fence ends the application's sessions ...
GRANT pg_signal_backend TO slipway_operator;

-- ... and proves that none is left, for which it must see the sessions, locks and settings of all roles.
GRANT pg_monitor TO slipway_operator;

-- When the application has used up all connections, the operator must still get in. (PostgreSQL 16 and later; it
-- takes effect with reserved_connections above 0.)
DO $$
BEGIN
  IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'pg_use_reserved_connections') THEN
    GRANT pg_use_reserved_connections TO slipway_operator;
  END IF;
END
$$;

-- What Slipway keeps in the database: heartbeats, markers, and the row that says who may write. Made beforehand, so
-- that it needs no CREATE on the database. DMS carries heartbeats and markers across, so it may look into the schema;
-- the operator grants it the tables it needs, one by one.
CREATE SCHEMA IF NOT EXISTS slipway AUTHORIZATION slipway_operator;
GRANT USAGE ON SCHEMA slipway TO slipway_dms;
