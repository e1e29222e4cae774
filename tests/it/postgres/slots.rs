//! The slot of the way back, and where the way back begins.

use std::sync::Arc;

use slipway::api::condition::Reason;
use slipway::fault::Fault;
use slipway::postgres::{arm, create_slot, drop_move_slot};
use slipway::side::Side;
use tokio_postgres::types::PgLsn;

use super::pair::Pair;
use super::server::{Server, leadership};

async fn slots(pair: &Pair, side: Side) -> Vec<String> {
    let sql =
        "SELECT slot_name::text FROM pg_replication_slots WHERE database = current_database() ORDER BY 1";
    let admin = &pair.databases.get(side).admin;
    admin.query(sql, &[]).await.unwrap().iter().map(|row| row.get(0)).collect()
}

async fn noted(pair: &Pair, side: Side) -> Vec<String> {
    let sql = "SELECT name FROM slipway.slot ORDER BY 1";
    let admin = &pair.databases.get(side).admin;
    admin.query(sql, &[]).await.unwrap().iter().map(|row| row.get(0)).collect()
}

/// Slots and open transactions are the whole server's business, so these tests have one of their own.
fn own_server() -> Arc<Server> {
    Arc::new(Server::start(2099))
}

#[tokio::test]
async fn a_slot_is_made_once_found_again_and_dropped() {
    let leadership = leadership().await;
    let permit = leadership.permit();
    let server = own_server();
    let pair = Pair::make_on(&server, "backway", &permit).await;
    let guard = pair.guard(Side::Target, 7);
    for _ in 0..2 {
        create_slot(&pair.to, &permit, &guard, "backway_rev").await.unwrap();
        assert_eq!(slots(&pair, Side::Target).await, ["backway_rev"]);
        assert_eq!(noted(&pair, Side::Target).await, ["backway_rev"]);
    }

    // Only the decision that claimed the side, and only while it is closed.
    for (holder, epoch, why) in [
        ("target", 7, "is target (epoch 7)"),
        ("refused", 7, "is refused (epoch 7)"),
        ("fenced", 8, "a later decision (epoch 8)"),
        ("fenced", 6, "epoch 7 has not claimed"),
    ] {
        pair.token(Side::Target, holder, epoch).await;
        let fault = create_slot(&pair.to, &permit, &guard, "backway_other").await.unwrap_err();
        assert!(matches!(&fault, Fault::Wait(message) if message.contains(why)), "{why}: {fault:?}");
    }
    for (holder, epoch) in [("target", 7), ("none", 7), ("fenced", 8), ("fenced", 6)] {
        pair.token(Side::Target, holder, epoch).await;
        let fault = drop_move_slot(&pair.to, &permit, &guard, "backway_rev").await.unwrap_err();
        assert!(matches!(&fault, Fault::Wait(_)), "{holder} {epoch}: {fault:?}");
    }
    assert_eq!(slots(&pair, Side::Target).await, ["backway_rev"]);
    assert_eq!(noted(&pair, Side::Target).await, ["backway_rev"]);

    // Of another's slot neither call makes use, whatever its name.
    let admin = &pair.databases.target.admin;
    admin
        .batch_execute("SELECT pg_create_logical_replication_slot('theirs', 'test_decoding')")
        .await
        .unwrap();
    pair.token(Side::Target, "refused", 7).await;
    let fault = drop_move_slot(&pair.to, &permit, &guard, "theirs").await.unwrap_err();
    assert!(matches!(&fault, Fault::Blocked(b) if b.reason == Reason::NotOurs), "{fault:?}");
    pair.token(Side::Target, "fenced", 7).await;
    let fault = create_slot(&pair.to, &permit, &guard, "theirs").await.unwrap_err();
    assert!(matches!(&fault, Fault::Blocked(b) if b.reason == Reason::NotOurs), "{fault:?}");
    assert_eq!(noted(&pair, Side::Target).await, ["backway_rev"]);

    pair.token(Side::Target, "refused", 7).await;
    for _ in 0..2 {
        drop_move_slot(&pair.to, &permit, &guard, "backway_rev").await.unwrap();
        assert_eq!(slots(&pair, Side::Target).await, ["theirs"]);
        assert_eq!(noted(&pair, Side::Target).await, Vec::<String>::new());
    }
    // The forward slot, once the role was given away; not before.
    let admin = &pair.databases.source.admin;
    admin
        .batch_execute(
            "SELECT pg_create_logical_replication_slot('forth', 'test_decoding');
             INSERT INTO slipway.slot (name) VALUES ('forth')",
        )
        .await
        .unwrap();
    let guard = pair.guard(Side::Source, 7);
    let fault = drop_move_slot(&pair.from, &permit, &guard, "forth").await.unwrap_err();
    assert!(matches!(&fault, Fault::Wait(_)), "{fault:?}");
    pair.token(Side::Source, "target", 7).await;
    drop_move_slot(&pair.from, &permit, &guard, "forth").await.unwrap();
    assert_eq!(slots(&pair, Side::Source).await, Vec::<String>::new());
}

#[tokio::test]
async fn an_open_transaction_hinders_a_slot_and_none_is_left_half_made() {
    let leadership = leadership().await;
    let permit = leadership.permit();
    let server = own_server();
    let pair = Pair::make_on(&server, "hindered", &permit).await;
    let guard = pair.guard(Side::Target, 7);
    // In another database even: the log is one for the whole server.
    let other = pair.databases.source.server.client("hindered_a", "hindered_a_app").await.unwrap();
    other.batch_execute("BEGIN; INSERT INTO accounts VALUES (1, 1)").await.unwrap();
    let fault = create_slot(&pair.to, &permit, &guard, "hindered_rev").await.unwrap_err();
    assert!(
        matches!(&fault, Fault::Again(m) if m.contains("of hindered_a_app in database hindered_a")),
        "{fault:?}"
    );
    assert_eq!(slots(&pair, Side::Target).await, Vec::<String>::new());
    assert!(pair.to.is_usable());
    other.batch_execute("ROLLBACK").await.unwrap();
    create_slot(&pair.to, &permit, &guard, "hindered_rev").await.unwrap();
    drop_move_slot(&pair.to, &permit, &guard, "hindered_rev").await.unwrap();
}

#[tokio::test]
async fn arming_waits_for_others_and_names_a_position_behind_all_that_was_written() {
    let leadership = leadership().await;
    let permit = leadership.permit();
    let server = own_server();
    let pair = Pair::make_on(&server, "armed", &permit).await;
    let (source, target) = (pair.guard(Side::Source, 7), pair.guard(Side::Target, 7));
    let fault = arm(&pair.from, &pair.to, &permit, &source, "armed_rev").await.unwrap_err();
    assert!(matches!(&fault, Fault::Blocked(b) if b.reason == Reason::SlotLost), "{fault:?}");
    create_slot(&pair.to, &permit, &target, "armed_rev").await.unwrap();

    let dms = pair.databases.target.server.client("armed_b", "armed_b_dms").await.unwrap();
    dms.batch_execute("SET synchronous_commit = off; BEGIN; INSERT INTO accounts VALUES (1, 1)")
        .await
        .unwrap();
    let fault = arm(&pair.from, &pair.to, &permit, &source, "armed_rev").await.unwrap_err();
    assert!(matches!(&fault, Fault::Wait(message) if message.starts_with("1 transactions")), "{fault:?}");
    let recorded = async || {
        let sql = "SELECT reverse_slot, reverse_lsn FROM slipway.token";
        let row = pair.databases.source.admin.query_one(sql, &[]).await.unwrap();
        (row.get::<_, Option<String>>(0), row.get::<_, Option<PgLsn>>(1))
    };
    assert_eq!(recorded().await, (None, None));
    // Acknowledged, and not on disk yet.
    dms.batch_execute("COMMIT").await.unwrap();
    let start = arm(&pair.from, &pair.to, &permit, &source, "armed_rev").await.unwrap();
    assert_eq!(recorded().await, (Some("armed_rev".to_owned()), Some(start.lsn)));
    // What comes from there on is what an application writes, and nothing that replication wrote.
    let dms = pair.databases.target.server.client("armed_b", "armed_b_dms").await.unwrap();
    dms.batch_execute("INSERT INTO accounts VALUES (2, 2)").await.unwrap();
    let sql = "SELECT lsn, data FROM pg_logical_slot_peek_changes('armed_rev', NULL, NULL) WHERE data LIKE '%accounts%'";
    let changes = pair.databases.target.admin.query(sql, &[]).await.unwrap();
    let after: Vec<bool> = changes.iter().map(|row| row.get::<_, PgLsn>(0) >= start.lsn).collect();
    assert_eq!(after, [false, true], "{start:?} {changes:?}");
    let again = arm(&pair.from, &pair.to, &permit, &source, "armed_rev").await.unwrap();
    assert!(again.lsn >= start.lsn);

    for (from, to) in
        [(("target", 7), ("fenced", 7)), (("none", 8), ("fenced", 7)), (("none", 7), ("target", 7))]
    {
        pair.token(Side::Source, from.0, from.1).await;
        pair.token(Side::Target, to.0, to.1).await;
        let fault = arm(&pair.from, &pair.to, &permit, &source, "armed_rev").await.unwrap_err();
        assert!(matches!(&fault, Fault::Wait(_)), "{from:?} {to:?}: {fault:?}");
        assert_eq!(recorded().await.1, Some(again.lsn));
    }
    pair.token(Side::Target, "fenced", 7).await;
    drop_move_slot(&pair.to, &permit, &target, "armed_rev").await.unwrap();
}
