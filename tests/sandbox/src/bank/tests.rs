#![allow(clippy::unwrap_used, clippy::panic)]

mod moved;

use std::time::Duration;

use tokio_postgres::Client;

use super::*;
use crate::certificates::Authority;
use crate::postgres::tests::Scratch;
use crate::postgres::{Server, connect_local};

/// Two servers with the bank on them.
pub(super) struct Pair {
    pub(super) source: Server,
    pub(super) target: Server,
    pub(super) bank: Bank,
    pub(super) scratch: Scratch,
}

impl Pair {
    pub(super) async fn new(name: &str) -> Self {
        let scratch = Scratch::new(name);
        let authority = Authority::new("sandbox databases").unwrap();
        let source = Server::start(&scratch.0, "source", &authority).await.unwrap();
        let target = Server::start(&scratch.0, "target", &authority).await.unwrap();
        let passwords = [Passwords::random().unwrap(), Passwords::random().unwrap()];
        let bank = prepare(&source, &target, &passwords[0], &passwords[1]).await.unwrap();
        Self { source, target, bank, scratch }
    }

    pub(super) async fn stop(self) {
        self.source.stop().await.unwrap();
        self.target.stop().await.unwrap();
    }
}

pub(super) async fn superuser(server: &Server) -> Client {
    connect_local(&server.superuser_dsn(DATABASE)).await.unwrap()
}

async fn can(client: &Client, sql: &str) {
    client
        .batch_execute(sql)
        .await
        .unwrap_or_else(|error| panic!("{sql}: {}", crate::postgres::describe(&error)));
}

/// Refused with this SQLSTATE, and not for any other reason.
async fn cannot(client: &Client, sql: &str, state: &str) {
    let error = client.batch_execute(sql).await.expect_err(sql);
    assert_eq!(error.code().unwrap().code(), state, "{sql}: {}", crate::postgres::describe(&error));
}

async fn number(client: &Client, sql: &str) -> i64 {
    client.query_one(sql, &[]).await.unwrap().get(0)
}

const DENIED: &str = "42501";
const NEW_RATE: &str = "INSERT INTO rates (currency, valid_on, rate) VALUES ('AAA', '2000-01-01', 1)";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_role_can_do_what_it_is_for_and_nothing_else() {
    let pair = Pair::new("roles").await;
    seed(&pair.source, 1000).await.unwrap();
    let Bank { source, target } = &pair.bank;

    // The role files can be run twice, and not once a migration has begun.
    for (server, roles) in [
        (&pair.source, include_str!("../../../../examples/sql/roles-source.sql")),
        (&pair.target, include_str!("../../../../examples/sql/roles-target.sql")),
    ] {
        let admin = superuser(server).await;
        can(&admin, roles).await;
        can(&admin, "BEGIN; CREATE TABLE slipway.token (n integer)").await;
        cannot(&admin, roles, "P0001").await;
        can(&admin, "ROLLBACK").await;
    }

    // The application: rows, and nothing about the tables.
    let app = source.app.connect("app").await.unwrap();
    can(&app, NEW_RATE).await;
    can(&app, "UPDATE rates SET rate = 2 WHERE currency = 'AAA'; DELETE FROM rates WHERE currency = 'AAA'")
        .await;
    can(&app, "INSERT INTO standing_orders (account_id, payee, amount, day) VALUES (1, 'x', 1, 1)").await;
    cannot(&app, "TRUNCATE rates", DENIED).await;
    cannot(&app, "ALTER TABLE rates ADD COLUMN x integer", DENIED).await;
    cannot(&app, "CREATE TABLE public.mine (n integer)", DENIED).await;
    cannot(&app, "SET ROLE payments_owner", DENIED).await;
    cannot(&app, "SELECT * FROM slipway.anything", DENIED).await;

    // DMS on the source: reads rows and log, writes nothing. A table made later is readable too.
    let owner = superuser(&pair.source).await;
    can(&owner, "SET ROLE payments_owner; CREATE TABLE later (id integer PRIMARY KEY)").await;
    let dms = source.dms.connect("dms").await.unwrap();
    can(&dms, "SELECT count(*) FROM accounts; SELECT * FROM later").await;
    can(&dms, "SELECT pg_create_logical_replication_slot('dms', 'test_decoding')").await;
    can(&dms, "SELECT * FROM pg_logical_slot_get_changes('dms', NULL, NULL)").await;
    cannot(&dms, NEW_RATE, DENIED).await;
    cannot(&dms, "UPDATE accounts SET balance = 0", DENIED).await;
    cannot(&dms, "CREATE TABLE public.mine (n integer)", DENIED).await;
    can(&owner, "DROP TABLE later").await;

    // DMS on the target: rows without their parents, triggers silent, its own schema; no TRUNCATE, no DDL, no slot.
    let dms = target.dms.connect("dms").await.unwrap();
    can(&dms, "INSERT INTO accounts (id, customer_id, iban, currency) VALUES (7, gen_random_uuid(), 'orphan', 'EUR')").await;
    can(&dms, "UPDATE accounts SET balance = 5 WHERE id = 7").await;
    assert_eq!(
        number(&dms, "SELECT version::bigint FROM accounts WHERE id = 7").await,
        0,
        "the trigger fired"
    );
    can(
        &dms,
        "INSERT INTO transfers (id, reference, debit_account, credit_account, amount, currency, value_on)
               VALUES (1, gen_random_uuid(), 8, 9, 1, 'EUR', '2026-01-01')",
    )
    .await;
    assert_eq!(number(&dms, "SELECT count(*) FROM audit").await, 0, "the trigger fired");
    can(
        &dms,
        "CREATE TABLE awsdms_control.awsdms_txn_state (task_name text PRIMARY KEY, applied_lsn pg_lsn)",
    )
    .await;
    can(&dms, "DELETE FROM accounts; DELETE FROM transfers").await;
    cannot(&dms, "TRUNCATE rates", DENIED).await;
    cannot(&dms, "DROP TABLE rates", DENIED).await;
    cannot(&dms, "CREATE SCHEMA other", DENIED).await;
    cannot(&dms, "SELECT pg_create_logical_replication_slot('dms', 'test_decoding')", DENIED).await;

    for (side, dms, server) in [(source, &source.dms, &pair.source), (target, &target.dms, &pair.target)] {
        let operator = side.operator.connect("operator").await.unwrap();
        // Its own schema, of which DMS gets what it is given.
        can(
            &operator,
            "CREATE TABLE slipway.token (n integer PRIMARY KEY); INSERT INTO slipway.token VALUES (1)",
        )
        .await;
        let dms = dms.connect("dms").await.unwrap();
        cannot(&dms, "SELECT * FROM slipway.token", DENIED).await;
        cannot(&dms, "CREATE TABLE slipway.mine (n integer)", DENIED).await;
        can(&operator, "GRANT SELECT ON slipway.token TO slipway_dms").await;
        can(&dms, "SELECT * FROM slipway.token").await;

        // Reads every table and sequence, sets sequences, makes and drops slots, sees what the server is.
        let names = "SELECT oid::regclass::text FROM pg_class WHERE relkind IN ('r', 'S')
                     AND relnamespace = 'public'::regnamespace ORDER BY 1";
        let names = operator.query(names, &[]).await.unwrap();
        assert!(names.len() > 15);
        for name in &names {
            can(&operator, &format!("SELECT * FROM {} LIMIT 1", name.get::<_, &str>(0))).await;
        }
        can(&operator, "SELECT last_value, is_called FROM standing_order_numbers").await;
        can(&operator, "SELECT setval('standing_order_numbers', 900000)").await;
        can(&operator, "SELECT pg_create_logical_replication_slot('op', 'test_decoding')").await;
        can(&operator, "SELECT pg_drop_replication_slot('op')").await;
        can(&operator, "SELECT system_identifier FROM pg_control_system()").await;
        can(&operator, "SELECT timeline_id FROM pg_control_checkpoint()").await;

        // Sees another's statement and ends its session.
        let app = side.app.connect("victim").await.unwrap();
        can(&app, "SELECT 'seen'").await;
        let victim = "FROM pg_stat_activity WHERE application_name = 'victim'";
        let seen = operator.query_one(&format!("SELECT query {victim}"), &[]).await.unwrap();
        assert_eq!(seen.get::<_, &str>(0), "SELECT 'seen'");
        can(&operator, &format!("SELECT pg_terminate_backend(pid, 5000) {victim}")).await;
        assert!(app.batch_execute("SELECT 1").await.is_err());

        // Takes everything from the application, in one transaction, and the catalog agrees; then gives it back.
        let app = side.app.connect("app").await.unwrap();
        can(
            &operator,
            "BEGIN;
             REVOKE CONNECT, TEMPORARY ON DATABASE payments FROM PUBLIC, payments_owner, payments_app;
             REVOKE INSERT, UPDATE, DELETE, TRUNCATE ON ALL TABLES IN SCHEMA public FROM payments_app;
             COMMIT",
        )
        .await;
        cannot(&app, NEW_RATE, DENIED).await;
        can(&operator, "BEGIN; SET LOCAL ROLE payments_app").await;
        cannot(&operator, NEW_RATE, DENIED).await;
        can(&operator, "ROLLBACK").await;
        let refused = side.app.connect("app").await.err().unwrap().to_string();
        assert!(refused.contains(DENIED), "{refused}");
        let left =
            "SELECT count(*) FROM pg_class c WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'
                    AND has_table_privilege('payments_app', c.oid, 'INSERT, UPDATE, DELETE, TRUNCATE')";
        assert_eq!(number(&operator, left).await, 0);
        // The operator itself and DMS still get in.
        side.operator.connect("operator").await.unwrap();
        side.dms.connect("dms").await.unwrap();
        can(
            &operator,
            "GRANT CONNECT, TEMPORARY ON DATABASE payments TO payments_app;
             GRANT INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO payments_app",
        )
        .await;
        can(&side.app.connect("app").await.unwrap(), NEW_RATE).await;

        // And is no superuser.
        cannot(&operator, "CREATE ROLE other", DENIED).await;
        cannot(&operator, "ALTER SYSTEM SET wal_level = minimal", DENIED).await;
        // No password is in a log.
        let log = std::fs::read_to_string(server.log()).unwrap();
        assert!(!log.contains(&side.app.password) && !log.contains(&side.operator.password));
    }
    pair.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_load_writes_everything_keeps_its_sums_and_survives_lost_sessions() {
    let pair = Pair::new("load").await;
    seed(&pair.source, 200_000).await.unwrap();
    let admin = superuser(&pair.source).await;
    can(&admin, "ANALYZE").await;
    let mut rows = 0;
    let tables = admin.query(
        "SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace",
        &[],
    );
    for table in tables.await.unwrap() {
        let count = number(&admin, &format!("SELECT count(*) FROM {}", table.get::<_, &str>(0))).await;
        // Nobody has asked for anything yet.
        assert_eq!(count > 0, table.get::<_, &str>(0) != "requests");
        rows += count;
    }
    assert!(rows >= 200_000, "{rows}");
    let balance = "SELECT (sum(balance) * 10000)::bigint FROM accounts";
    let entries = "SELECT (sum(amount) * 10000)::bigint FROM entries";
    let before = number(&admin, balance).await;

    let login = crate::postgres::Login::parse(&{
        let ca = pair.scratch.0.join("ca.crt");
        std::fs::write(&ca, pair.source.ca()).unwrap();
        pair.bank.source.app.dsn(&ca)
    })
    .unwrap();
    let config = Config {
        way: Way::Databases(vec![login]),
        clients: 4,
        writes_per_second: 400,
        seed: 1,
        journal: None,
    };
    let load = Load::start(&config);
    let past = async |wanted: u64| {
        let reached = async {
            while load.acknowledged() < wanted {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let reached = tokio::time::timeout(Duration::from_mins(1), reached).await;
        assert!(reached.is_ok(), "{:?}", load.totals());
    };
    past(500).await;
    can(&admin, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'payments_app'")
        .await;
    past(load.acknowledged() + 300).await;
    let totals = load.stop().await;
    assert!(totals.reconnects >= 4, "{totals:?}");
    assert!(
        [totals.inserts, totals.updates, totals.deletes, totals.transfers].iter().all(|n| *n > 0),
        "{totals:?}"
    );
    assert_eq!(totals.refused, 0, "{totals:?}");
    assert_eq!(number(&admin, balance).await, before);
    assert_eq!(number(&admin, entries).await, 0);
    // Each acknowledged transfer is there; one whose answer was lost may be.
    let booked = number(&admin, "SELECT count(*) FROM transfers WHERE id > 30000").await.unsigned_abs();
    assert!((totals.transfers..=totals.transfers + totals.unknown).contains(&booked), "{booked} {totals:?}");
    pair.stop().await;
}
