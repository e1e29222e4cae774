-- Roles on the target: the database in AWS that the application is to move to.
--
-- Run by a DBA, connected to the target's database, before its schema is restored:
--
--     psql --set ON_ERROR_STOP=1 --single-transaction --dbname payments --file roles-target.sql
--     pg_dump --schema-only ... | psql ... payments        (every table must end up owned by payments_owner)
--
-- Plain SQL for PostgreSQL 14 and later; running it twice changes nothing. A database made from nothing needs
-- CREATE DATABASE payments first. Replace the names payments, payments_owner and payments_app by your own; they are
-- the same as on the source.
--
-- It sets no password. Do that by hand, so that none is ever in a file:  \password slipway_dms
-- Use other passwords than on the source: a wrong endpoint then fails at the login and not at the data.
-- payments_app is the exception where applications list both hosts (multiHost): their URL has one password.
--
-- On RDS, run it as the master user. What differs there:
--   * Nobody is a superuser, and ALTER DATABASE/SCHEMA ... OWNER TO and AUTHORIZATION need membership in the new owner:
--     the file makes the user who runs it a member where it has to.
--   * REPLICATION can't be given; the file uses rds_replication where that role exists.
--   * Setting session_replication_role for a role needs rds_superuser. Should your version refuse the line, set
--     session_replication_role = replica in the parameter group for the time of the migration instead.
--   * The parameter group needs rds.logical_replication = 1, which takes a reboot: the way back, from AWS to here, reads
--     this server's log. Elsewhere that is wal_level = logical.

-- While a migration runs, this file would open the target to the application beside the source: two writable databases.
DO $$
BEGIN
  IF to_regclass('slipway.token') IS NOT NULL THEN
    RAISE EXCEPTION 'slipway.token exists: a migration into this database has begun, and these grants would undo its fence'
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

-- A master user that is no superuser hands things over only to roles it is a member of.
DO $$
DECLARE
  owner text;
BEGIN
  IF NOT (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) THEN
    FOREACH owner IN ARRAY ARRAY['payments_owner', 'slipway_dms', 'slipway_operator'] LOOP
      IF NOT pg_has_role(current_user, owner, 'USAGE') THEN
        EXECUTE format('GRANT %I TO %I', owner, current_user);
      END IF;
    END LOOP;
  END IF;
END
$$;

-- As on the source: nobody logs in as the owner, and the application owns nothing.
ALTER ROLE payments_owner NOLOGIN;
ALTER ROLE payments_app LOGIN;

-- DMS only writes here, so it gets no REPLICATION.
ALTER ROLE slipway_dms LOGIN;

-- The operator makes the slot that the way back begins at, before the application writes its first row here.
ALTER ROLE slipway_operator LOGIN;
DO $$
BEGIN
  IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'rds_replication') THEN
    GRANT rds_replication TO slipway_operator;
  ELSE
    ALTER ROLE slipway_operator REPLICATION;
  END IF;
END
$$;

-- DMS loads tables in any order, so a foreign key may point to a row that comes later; and what triggers did on the
-- source arrives as rows of its own, so they must not do it again. In the sessions of this role neither fires.
ALTER ROLE slipway_dms SET session_replication_role = replica;

-- A load of a large table is one long statement in one long transaction; a server-wide limit would cut it off.
ALTER ROLE slipway_dms SET statement_timeout = 0;
ALTER ROLE slipway_dms SET idle_in_transaction_session_timeout = 0;

-- The owner -----------------------------------------------------------------------------------------------------------

-- As on the source, so that the operator can open and close this side with the same statements.
ALTER DATABASE payments OWNER TO payments_owner;
ALTER SCHEMA public OWNER TO payments_owner;
REVOKE CREATE ON SCHEMA public FROM PUBLIC;
REVOKE CONNECT, TEMPORARY ON DATABASE payments FROM PUBLIC;

-- The application -----------------------------------------------------------------------------------------------------

-- What it will need after the cutover. Slipway notes these grants, takes them away before the first row is loaded, and
-- gives exactly them back when this side becomes the writer.
GRANT CONNECT, TEMPORARY ON DATABASE payments TO payments_app;
GRANT USAGE ON SCHEMA public TO payments_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO payments_app;
ALTER DEFAULT PRIVILEGES FOR ROLE payments_owner IN SCHEMA public
  GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO payments_app;
GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO payments_app;
ALTER DEFAULT PRIVILEGES FOR ROLE payments_owner IN SCHEMA public
  GRANT USAGE ON SEQUENCES TO payments_app;

-- DMS -----------------------------------------------------------------------------------------------------------------

GRANT CONNECT ON DATABASE payments TO slipway_dms;
GRANT USAGE ON SCHEMA public TO slipway_dms;

-- SELECT is for its own validation and to find a row by its key. No TRUNCATE, and it owns none of the tables: a task
-- set up wrongly (to drop or empty tables before a load) is then refused here, and destroys nothing.
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO slipway_dms;
ALTER DEFAULT PRIVILEGES FOR ROLE payments_owner IN SCHEMA public
  GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO slipway_dms;

-- Where DMS keeps how far it has come. Made beforehand and its own, so that it needs no CREATE on the database.
CREATE SCHEMA IF NOT EXISTS awsdms_control AUTHORIZATION slipway_dms;

-- Slipway's operator --------------------------------------------------------------------------------------------------

GRANT CONNECT ON DATABASE payments TO slipway_operator;

-- Being a member of the owner lets it fence this side from birth, open it in the cutover, read every table and
-- sequence for the comparison, and set the sequences. Being a member of the application lets it try, as the
-- application, whether a write is really refused.
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

-- The fence ends the application's sessions, and proves that none is left, for which the operator must see the
-- sessions, locks and settings of all roles.
GRANT pg_signal_backend TO slipway_operator;
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

-- What it needs of DMS's notes is to read how far the replication has come.
GRANT USAGE ON SCHEMA awsdms_control TO slipway_operator;
ALTER DEFAULT PRIVILEGES FOR ROLE slipway_dms IN SCHEMA awsdms_control
  GRANT SELECT ON TABLES TO slipway_operator;

-- What Slipway keeps in the database: heartbeats and markers as they arrive, and the row that says who may write. DMS
-- may look into the schema; the operator grants it the tables it needs, one by one, and never the row that decides.
CREATE SCHEMA IF NOT EXISTS slipway AUTHORIZATION slipway_operator;
GRANT USAGE ON SCHEMA slipway TO slipway_dms;

-- A master user that had to become a member above gives up what would let it past the fence: as a member of these two it
-- could still connect and write while the application can not.
DO $$
BEGIN
  IF NOT (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) THEN
    EXECUTE format('REVOKE slipway_operator, slipway_dms FROM %I', current_user);
  END IF;
END
$$;
