//! The schema `slipway` and the slots it remembers.

use slipway::api::condition::Reason;
use slipway::fault::Fault;
use slipway::postgres::Record;
use slipway::postgres::fence_target;
use slipway::postgres::observe;
use slipway::postgres::{Holder, drop_record, drop_slot, note_slot, prepare_source, release};
use slipway::side::Side;

use super::server::{Database, everything, leadership};

async fn tables(database: &Database) -> Vec<String> {
    let sql = "SELECT relname::text FROM pg_class WHERE relnamespace = 'slipway'::regnamespace AND relkind = 'r' ORDER BY 1";
    database.admin.query(sql, &[]).await.unwrap().iter().map(|row| row.get(0)).collect()
}

#[tokio::test]
async fn the_sources_record_is_made_once_and_removed_by_its_own_migration_alone() {
    let database = Database::make("recorded").await;
    let connection = database.open(Side::Source).await;
    let leadership = leadership().await;
    let permit = leadership.permit();
    let (ours, theirs) = (database.migration("uid-1"), database.migration("uid-2"));
    drop_record(&connection, &permit, &ours).await.unwrap();
    for _ in 0..2 {
        prepare_source(&connection, &permit, &ours).await.unwrap();
    }
    let server = observe(&connection, &database.question()).await.unwrap();
    assert!(
        matches!(&server.record, Record::Present { uid, token, .. } if uid == "uid-1" && token.holder == Holder::Side(Side::Source)),
        "{:?}",
        server.record
    );
    assert_eq!(server.writers, ["recorded_app"], "the source stays open");
    let dms = database.server.client("recorded", "recorded_dms").await.unwrap();
    dms.batch_execute("SELECT * FROM slipway.marker").await.unwrap();
    assert!(dms.batch_execute("DELETE FROM slipway.marker").await.is_err());

    let fault = prepare_source(&connection, &permit, &theirs).await.unwrap_err();
    assert!(
        matches!(&fault, Fault::Blocked(b) if b.reason == Reason::OtherMigration && b.message.contains("uid-1")),
        "{fault:?}"
    );
    drop_record(&connection, &permit, &theirs).await.unwrap();
    assert_eq!(tables(&database).await, ["marker", "slot", "token", "token_acl"]);
    drop_record(&connection, &permit, &ours).await.unwrap();
    assert_eq!(tables(&database).await, Vec::<String>::new());
    prepare_source(&connection, &permit, &theirs).await.unwrap();
}

#[tokio::test]
async fn without_a_right_to_the_schema_the_statement_is_named() {
    let database = Database::make("rightless").await;
    database
        .admin
        .batch_execute("DROP SCHEMA slipway; REVOKE rightless_owner FROM rightless_op")
        .await
        .unwrap();
    let connection = database.open(Side::Source).await;
    let leadership = leadership().await;
    let fault =
        prepare_source(&connection, &leadership.permit(), &database.migration("uid-1")).await.unwrap_err();
    assert!(matches!(&fault, Fault::Blocked(b) if b.reason == Reason::PrivilegeMissing), "{fault:?}");
    assert!(connection.is_usable());
}

#[tokio::test]
async fn only_slots_that_were_noted_are_dropped() {
    let database = Database::make("slots").await;
    let connection = database.open(Side::Source).await;
    let leadership = leadership().await;
    let permit = leadership.permit();
    let migration = database.migration("uid-1");
    prepare_source(&connection, &permit, &migration).await.unwrap();
    for name in ["slots_ours", "slots_theirs"] {
        let make = format!("SELECT pg_create_logical_replication_slot('{name}', 'test_decoding')");
        database.admin.batch_execute(&make).await.unwrap();
    }
    for _ in 0..2 {
        note_slot(&connection, &permit, "slots_ours").await.unwrap();
    }
    let server = observe(&connection, &database.question()).await.unwrap();
    assert!(matches!(&server.record, Record::Present { slots, .. } if slots == &["slots_ours"]));

    let fault = drop_slot(&connection, &permit, "slots_theirs").await.unwrap_err();
    assert!(matches!(&fault, Fault::Blocked(b) if b.reason == Reason::NotOurs), "{fault:?}");
    let fault = drop_record(&connection, &permit, &migration).await.unwrap_err();
    assert!(matches!(&fault, Fault::Wait(message) if message.contains("slots_ours")), "{fault:?}");
    for _ in 0..2 {
        drop_slot(&connection, &permit, "slots_ours").await.unwrap();
    }
    drop_slot(&connection, &permit, "slots_never_there").await.unwrap();
    drop_record(&connection, &permit, &migration).await.unwrap();
    drop_slot(&connection, &permit, "slots_ours").await.unwrap();
    database.admin.batch_execute("SELECT pg_drop_replication_slot('slots_theirs')").await.unwrap();
}

#[tokio::test]
async fn deletion_takes_the_targets_marker_and_leaves_its_fence() {
    let database = Database::make("deleted").await;
    let connection = database.open(Side::Target).await;
    let leadership = leadership().await;
    let permit = leadership.permit();
    let migration = database.migration("uid-1");
    fence_target(&connection, &permit, &migration, &everything()).await.unwrap();
    release(&connection, &permit, &database.migration("uid-2")).await.unwrap();
    assert_eq!(tables(&database).await, ["marker", "slot", "token", "token_acl"]);
    for _ in 0..2 {
        release(&connection, &permit, &migration).await.unwrap();
    }
    assert_eq!(tables(&database).await, ["slot", "token", "token_acl"]);
    assert!(database.server.client("deleted", "deleted_app").await.is_err());
}
