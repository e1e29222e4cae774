//! What an observation says of a database.

use slipway::postgres::Selection;
use slipway::postgres::TableKind::{Ordinary, Partitioned, Unlogged};
use slipway::postgres::{Question, observe};
use slipway::postgres::{Record, Server};
use slipway::side::Side;

use super::server::{Database, selector};

#[tokio::test]
async fn the_selected_tables_are_described() {
    let database = Database::make("tables").await;
    database
        .admin
        .batch_execute(
            "CREATE TABLE keyless (a integer, b text[]);
             CREATE UNLOGGED TABLE scratch (id uuid PRIMARY KEY, at timestamptz(3));
             CREATE TABLE ledger (id bigint, at date, PRIMARY KEY (id, at)) PARTITION BY RANGE (at);
             CREATE TABLE ledger_2024 PARTITION OF ledger FOR VALUES FROM ('2024-01-01') TO ('2025-01-01');
             CREATE VIEW seen AS SELECT * FROM accounts;
             CREATE TABLE awsdms_ddl_audit (id integer PRIMARY KEY);
             CREATE TABLE left_out (id integer PRIMARY KEY);
             CREATE SCHEMA other; CREATE TABLE other.one (id integer PRIMARY KEY); CREATE TABLE other.two ();
             ALTER TABLE accounts ADD gone integer; ALTER TABLE accounts DROP gone;
             INSERT INTO accounts VALUES (1, 10); INSERT INTO ledger VALUES (1, '2024-05-05');
             GRANT SELECT ON ALL TABLES IN SCHEMA public TO tables_op; GRANT USAGE ON SCHEMA other TO tables_op",
        )
        .await
        .unwrap();
    let selection = Selection {
        include: vec![selector("public", "*"), selector("other", "one"), selector("slipway", "*")],
        exclude: vec![selector("public", "left_out")],
    };
    let question = Question { selection, dms_role: database.role("dms") };
    let server = observe(&database.open(Side::Target).await, &question).await.unwrap();

    let seen: Vec<_> = server
        .tables
        .iter()
        .map(|t| (format!("{}.{}", t.schema, t.name), t.kind, t.has_primary_key, t.empty))
        .collect();
    let expected = [
        ("other.one", Ordinary, true, None), // not readable: nobody knows
        ("public.Transfer Log", Ordinary, true, Some(true)),
        ("public.accounts", Ordinary, true, Some(false)),
        ("public.keyless", Ordinary, false, Some(true)),
        ("public.ledger", Partitioned, true, Some(false)),
        ("public.ledger_2024", Ordinary, true, Some(false)),
        ("public.scratch", Unlogged, true, Some(true)),
    ];
    let expected: Vec<_> = expected.into_iter().map(|(n, k, p, e)| (n.to_owned(), k, p, e)).collect();
    assert_eq!(seen, expected);
    let columns = |index: usize| -> Vec<(&str, &str)> {
        server.tables[index].columns.iter().map(|(name, kind)| (name.as_str(), kind.as_str())).collect()
    };
    assert_eq!(columns(2), [("id", "bigint"), ("balance", "numeric(12,2)")]);
    assert_eq!(columns(3), [("a", "integer"), ("b", "text[]")]);
    assert_eq!(columns(6), [("id", "uuid"), ("at", "timestamp(3) with time zone")]);

    let source = observe(&database.open(Side::Source).await, &question).await.unwrap();
    assert!(source.tables.iter().all(|table| table.empty.is_none()));
}

#[tokio::test]
async fn the_server_its_slots_and_its_sessions_are_described() {
    let database = Database::make("described").await;
    let connection = database.open(Side::Source).await;
    let before = observe(&connection, &database.question()).await.unwrap();
    assert_eq!(before.wal_level, "logical");
    assert_eq!(before.record, Record::Absent);
    assert_eq!(before.slots, []);
    assert_eq!(before.missing_privileges, Vec::<String>::new());
    assert_eq!(before.writers, ["described_app"]);
    assert_eq!(before.application_sessions, 0);
    assert!(before.identity.version >= 140_000);
    assert!(before.free_slots > 0 && before.free_wal_senders > 0);

    let _app = database.server.client("described", "described_app").await.unwrap();
    let _dms = database.server.client("described", "described_dms").await.unwrap();
    let make = "SELECT pg_create_logical_replication_slot('described_slot', 'test_decoding');
                INSERT INTO accounts VALUES (1, 1); SELECT pg_switch_wal()";
    database.admin.batch_execute(make).await.unwrap();
    let after = observe(&connection, &database.question()).await.unwrap();
    assert_eq!(after.identity, before.identity);
    assert_eq!(after.application_sessions, 1);
    let [slot] = &after.slots[..] else { panic!("{:?}", after.slots) };
    assert_eq!((slot.name.as_str(), slot.active, &slot.used_by), ("described_slot", false, &None));
    assert_eq!(slot.wal_status.as_deref(), Some("reserved"));
    assert!(slot.retained_bytes.unwrap() > 0);
    // Another database's view does not contain it.
    database.admin.batch_execute("SELECT pg_drop_replication_slot('described_slot')").await.unwrap();
}

#[tokio::test]
async fn every_missing_privilege_comes_with_a_statement_that_mends_it() {
    let database = Database::make("missing").await;
    database
        .admin
        .batch_execute(
            "REVOKE missing_owner, missing_app, pg_monitor, pg_signal_backend FROM missing_op;
             ALTER ROLE missing_op NOREPLICATION; ALTER ROLE missing_dms NOREPLICATION NOLOGIN;
             REVOKE ALL ON ALL TABLES IN SCHEMA public FROM missing_dms;
             REVOKE ALL ON SCHEMA public FROM missing_dms; REVOKE ALL ON SCHEMA public FROM PUBLIC;
             REVOKE CONNECT ON DATABASE missing FROM missing_dms;
             ALTER SCHEMA awsdms_control OWNER TO missing_owner; DROP SCHEMA slipway",
        )
        .await
        .unwrap();
    for side in Side::BOTH {
        let mut missing = Vec::new();
        // Some can only be seen once others are there.
        for round in 0.. {
            let server = observe(&database.open(side).await, &database.question()).await.unwrap();
            if server.missing_privileges.is_empty() {
                break;
            }
            assert!(round < 3, "no statement mends {:?}", server.missing_privileges);
            for sentence in server.missing_privileges {
                let (_, statement) = sentence.rsplit_once(": ").unwrap();
                database.admin.batch_execute(statement).await.unwrap_or_else(|e| panic!("{sentence}: {e:?}"));
                missing.push(sentence);
            }
        }
        assert!(missing.len() > 3, "{missing:?}");
    }
    database.admin.batch_execute("DROP OWNED BY missing_dms; DROP ROLE missing_dms").await.unwrap();
    let server = observe(&database.open(Side::Source).await, &database.question()).await.unwrap();
    assert_eq!(
        server.missing_privileges,
        ["On the source, missing_dms does not exist: CREATE ROLE missing_dms LOGIN"]
    );
}

/// Roles that can write by every road there is, named after it, and their databases's own four.
pub(crate) async fn pave_roads(database: &Database) -> Vec<String> {
    let name = &database.name;
    let roads =
        ["direct", "emptier", "column", "anyone", "member", "noinherit", "passed", "bydms", "own", "all"];
    let roles: Vec<String> = roads.iter().map(|road| database.role(road)).collect();
    for role in &roles {
        let make = format!(
            "CREATE ROLE {role} LOGIN PASSWORD '{}'; GRANT CONNECT ON DATABASE {name} TO {role}; GRANT USAGE ON SCHEMA public TO {role}",
            super::server::PASSWORD
        );
        database.admin.batch_execute(&make).await.unwrap();
    }
    let pave = format!(
        "CREATE ROLE {name}_group NOLOGIN; GRANT {name}_group TO {name}_member; GRANT {name}_group TO {name}_noinherit;
         ALTER ROLE {name}_noinherit NOINHERIT;
         CREATE ROLE {name}_reader LOGIN; GRANT CONNECT ON DATABASE {name} TO {name}_reader;
         CREATE ROLE {name}_outside LOGIN; CREATE ROLE {name}_mighty LOGIN SUPERUSER;
         CREATE TABLE open_to_all (id bigint PRIMARY KEY); CREATE TABLE owned (id bigint PRIMARY KEY);
         CREATE TABLE columns (id bigint PRIMARY KEY, note text);
         ALTER TABLE open_to_all OWNER TO {name}_owner; ALTER TABLE columns OWNER TO {name}_owner;
         ALTER TABLE owned OWNER TO {name}_own; GRANT {name}_own TO {name}_op;
         GRANT SELECT, INSERT, UPDATE, DELETE ON open_to_all, owned, columns TO {name}_dms;
         SET ROLE {name}_owner;
         GRANT SELECT ON accounts TO {name}_reader;
         GRANT INSERT ON accounts TO {name}_direct, {name}_outside, {name}_group;
         GRANT TRUNCATE ON accounts TO {name}_emptier;
         GRANT UPDATE (note) ON columns TO {name}_column;
         GRANT INSERT ON accounts TO {name}_direct WITH GRANT OPTION;
         GRANT INSERT ON accounts TO {name}_dms WITH GRANT OPTION;
         SET ROLE {name}_direct; GRANT INSERT ON accounts TO {name}_passed;
         SET ROLE {name}_dms; GRANT INSERT ON accounts TO {name}_bydms;
         RESET ROLE; GRANT pg_write_all_data TO {name}_all"
    );
    database.admin.batch_execute(&pave).await.unwrap();
    roles
}

/// The writers that the target's observation names.
pub(crate) async fn writers(database: &Database, side: Side) -> Server {
    observe(&database.open(side).await, &database.question()).await.unwrap()
}

#[tokio::test]
async fn writers_are_found_by_every_road() {
    let database = Database::make("roads").await;
    let mut expected = pave_roads(&database).await;
    expected.push(database.role("app"));
    expected.retain(|role| role != "roads_anyone");
    expected.sort();
    for side in Side::BOTH {
        assert_eq!(writers(&database, side).await.writers, expected);
    }
    // A grant to PUBLIC makes a writer of everyone who can connect, the reader included; not of those who can't.
    database.admin.batch_execute("GRANT INSERT ON open_to_all TO PUBLIC").await.unwrap();
    expected.extend([database.role("anyone"), database.role("reader")]);
    expected.sort();
    assert_eq!(writers(&database, Side::Target).await.writers, expected);
    // Tables that nobody selected count for nothing.
    let selection = Selection { include: vec![selector("public", "owned")], exclude: Vec::new() };
    let question = Question { selection, dms_role: database.role("dms") };
    let server = observe(&database.open(Side::Target).await, &question).await.unwrap();
    assert_eq!(server.writers, ["roads_all", "roads_own"]);
}

#[tokio::test]
async fn two_thousand_tables_are_observed() {
    let database = Database::make("many").await;
    database
        .admin
        .batch_execute(
            "DO $$ BEGIN FOR n IN 1..2000 LOOP
                 EXECUTE format('CREATE TABLE t%s (id bigint PRIMARY KEY, note text)', n);
             END LOOP; END $$;
             GRANT SELECT ON ALL TABLES IN SCHEMA public TO many_op",
        )
        .await
        .unwrap();
    let server = observe(&database.open(Side::Target).await, &database.question()).await.unwrap();
    assert_eq!(server.tables.len(), 2002);
    assert!(server.tables.iter().all(|table| table.empty == Some(true)));
    assert!(server.missing_privileges.iter().any(|sentence| sentence.contains("and 1997 more")));
}
