//! What a side says of itself during a move, and what is said before one.

use std::sync::Arc;

use slipway::postgres::precheck;
use slipway::side::Side;

use super::moving::{slot, source, source_on, stands};
use super::server::{Database, PASSWORD, Server, leadership};

#[tokio::test]
async fn one_look_tells_how_a_side_stands() {
    let leadership = leadership().await;
    let permit = leadership.permit();
    let (database, connection) = source("stands", &permit).await;
    let found = stands(&database, &connection).await;
    assert_eq!(found.writers, ["stands_app"]);
    assert_eq!((found.timeline, found.in_recovery), (1, false));
    assert_eq!((found.sessions, found.write_locks, found.replication_sessions), (0, 0, 0));
    assert!(!found.marker && found.slot.is_none());
    // DMS may connect and has rights on tables in these tests.
    assert!(found.replication_may_write);
    assert_eq!(found.unlayered, Vec::<String>::new());

    let slot = slot(&database);
    for statement in [
        format!("SELECT pg_create_logical_replication_slot('{slot}', 'test_decoding')"),
        "INSERT INTO slipway.marker VALUES ('move:3', 0, NULL, now())".to_owned(),
        format!(
            "CREATE ROLE stands_own LOGIN PASSWORD '{PASSWORD}'; GRANT stands_own TO stands_op;
             ALTER TABLE \"Transfer Log\" OWNER TO stands_own; GRANT CONNECT ON DATABASE stands TO stands_own"
        ),
    ] {
        database.admin.batch_execute(&statement).await.unwrap();
    }
    let found = stands(&database, &connection).await;
    assert!(found.marker);
    assert!(found.slot.as_ref().is_some_and(|slot| !slot.usable && slot.confirmed.is_some()), "{found:?}");
    assert!(found.slot.as_ref().and_then(|slot| slot.confirmed).unwrap() <= found.flushed);
    assert_eq!(found.writers, ["stands_app", "stands_own"]);
    assert_eq!(found.unlayered, ["public.\"Transfer Log\""]);
    database.admin.execute("INSERT INTO slipway.slot VALUES ($1)", &[&slot]).await.unwrap();
    assert!(stands(&database, &connection).await.slot.is_some_and(|slot| slot.usable && !slot.active));

    let app = database.server.client("stands", "stands_app").await.unwrap();
    app.batch_execute("BEGIN; INSERT INTO accounts VALUES (1, 1)").await.unwrap();
    let found = stands(&database, &connection).await;
    assert!(found.sessions == 1 && found.write_locks == 1 && found.busy >= 1, "{found:?}");
    database.admin.batch_execute(&format!("SELECT pg_drop_replication_slot('{slot}')")).await.unwrap();
}

/// A function that runs as a superuser may write, whoever calls it; one of an extension is not an application's.
#[tokio::test]
async fn every_table_that_a_definer_may_write_needs_the_layer() {
    let leadership = leadership().await;
    let permit = leadership.permit();
    let (database, connection) = source("definers", &permit).await;
    let make =
        "CREATE FUNCTION tidy() RETURNS void LANGUAGE sql SECURITY DEFINER AS 'DELETE FROM public.accounts'";
    database.admin.batch_execute(make).await.unwrap();
    let found = stands(&database, &connection).await;
    assert_eq!(found.unlayered, ["public.\"Transfer Log\"", "public.accounts"]);
}

#[tokio::test]
async fn what_would_stand_in_the_way_is_found_before() {
    let leadership = leadership().await;
    let permit = leadership.permit();
    let server = Arc::new(Server::start_with("bank", 2099, &["max_prepared_transactions=5"]));
    let (database, connection) = source_on(server, "before", &permit).await;
    let quiet = precheck(&connection, &database.question()).await.unwrap();
    assert_eq!((quiet.timeline, quiet.in_recovery, quiet.lost_synchronous_standby), (1, false, false));
    assert_eq!(quiet.superusers, ["postgres"]);
    assert_eq!(quiet.writers, ["before_app"]);
    assert!(quiet.free_connections > 80, "{quiet:?}");
    for empty in [
        &quiet.prepared,
        &quiet.long_transactions,
        &quiet.open_ddl,
        &quiet.standbys,
        &quiet.subscriptions,
        &quiet.foreign_grants,
    ] {
        assert_eq!(empty, &Vec::<String>::new(), "{quiet:?}");
    }

    database
        .admin
        .batch_execute(
            "CREATE ROLE before_far LOGIN; CREATE ROLE before_mid NOLOGIN; GRANT USAGE ON SCHEMA public TO before_mid;
             GRANT DELETE ON accounts TO before_mid WITH GRANT OPTION;
             SET ROLE before_mid; GRANT DELETE ON accounts TO before_far; RESET ROLE;
             CREATE TABLE elses (id bigint); ALTER TABLE elses OWNER TO before_far; GRANT INSERT ON elses TO before_app;
             CREATE SUBSCRIPTION incoming CONNECTION 'host=nowhere' PUBLICATION p WITH (connect = false);
             ALTER SUBSCRIPTION incoming ENABLE",
        )
        .await
        .unwrap();
    database.admin.batch_execute("SELECT pg_create_physical_replication_slot('standby')").await.unwrap();
    let app = database.server.client("before", "before_app").await.unwrap();
    app.batch_execute("BEGIN; INSERT INTO accounts VALUES (1, 1); PREPARE TRANSACTION 'left behind'")
        .await
        .unwrap();
    app.batch_execute("BEGIN; INSERT INTO accounts VALUES (2, 1)").await.unwrap();
    let ddl = database.server.superuser("before").await;
    ddl.batch_execute("BEGIN; ALTER TABLE \"Transfer Log\" ADD COLUMN more text; SELECT pg_sleep(2)")
        .await
        .unwrap();
    let found = precheck(&connection, &database.question()).await.unwrap();
    assert!(
        found.prepared.len() == 1 && found.prepared[0].starts_with("left behind of before_app"),
        "{found:?}"
    );
    assert!(found.long_transactions.iter().any(|line| line.contains("before_app")), "{found:?}");
    assert!(found.open_ddl.iter().any(|line| line.ends_with("public.\"Transfer Log\"")), "{found:?}");
    assert_eq!(found.standbys, ["slot standby"]);
    assert_eq!(found.subscriptions, ["incoming"]);
    assert_eq!(
        found.foreign_grants,
        [
            "DELETE of before_far on public.accounts, granted by before_mid",
            "INSERT of before_app on public.elses, granted by before_far"
        ]
    );
    assert!(found.free_connections < quiet.free_connections);
    for statement in [
        "ALTER SUBSCRIPTION incoming DISABLE",
        "ALTER SUBSCRIPTION incoming SET (slot_name = NONE)",
        "DROP SUBSCRIPTION incoming",
    ] {
        database.admin.batch_execute(statement).await.unwrap();
    }
}

/// What the operator would miss in the midst of a fence is found before it, with the statement that gives it.
#[tokio::test]
async fn what_the_operator_lacks_for_a_fence_is_named() {
    let database = Database::make("lacking").await;
    let connection = database.open(Side::Source).await;
    let before = precheck(&connection, &database.question()).await.unwrap();
    assert_eq!(before.operator_lacks, Vec::<String>::new());
    let operator = database.role("op");
    database
        .admin
        .batch_execute(&format!(
            "REVOKE pg_signal_backend FROM {operator}; ALTER ROLE {operator} NOREPLICATION"
        ))
        .await
        .unwrap();
    let after = precheck(&connection, &database.question()).await.unwrap();
    assert_eq!(
        after.operator_lacks,
        [
            format!("{operator} can't end other roles' sessions: GRANT pg_signal_backend TO {operator}"),
            format!("{operator} can't make a replication slot: ALTER ROLE {operator} REPLICATION"),
        ]
    );
}
