//! The marker of a fence.

use slipway::api::condition::Reason;
use slipway::fault::Fault;
use slipway::postgres::{mark, marker_key};
use slipway::side::Side;

use super::pair::Pair;
use super::server::leadership;

#[tokio::test]
async fn a_fence_is_marked_once_and_by_its_own_decision_alone() {
    let leadership = leadership().await;
    let permit = leadership.permit();
    let pair = Pair::make("marked", &permit).await;
    let admin = &pair.databases.source.admin;
    let guard = pair.guard(Side::Source, 7);
    // Acknowledged before it is on disk: the position must lie behind it all the same.
    admin.batch_execute("SET synchronous_commit = off; INSERT INTO accounts VALUES (1, 1)").await.unwrap();
    let written = admin.query_one("SELECT pg_current_wal_insert_lsn()", &[]).await.unwrap();
    let first = mark(&pair.from, &permit, &guard).await.unwrap();
    assert!(first >= written.get(0), "{first}");
    let sql = "SELECT k, fence_id, at::text FROM slipway.marker WHERE k LIKE 'move:%'";
    let row = admin.query_one(sql, &[]).await.unwrap();
    assert_eq!((row.get::<_, String>(0), row.get::<_, String>(1)), (marker_key("7"), "7".to_owned()));
    let again = mark(&pair.from, &permit, &guard).await.unwrap();
    assert!(again >= first);
    let same = admin.query_one(sql, &[]).await.unwrap();
    assert_eq!(row.get::<_, String>(2), same.get::<_, String>(2), "it was written a second time");

    // Another fence, another holder, a later decision: nothing is written.
    admin.batch_execute("DELETE FROM slipway.marker").await.unwrap();
    for (holder, epoch, fence_id, why) in [
        ("none", 7, "6", "is not fence 7"),
        ("source", 7, "7", "is source (epoch 7)"),
        ("target", 7, "7", "is target (epoch 7)"),
        ("none", 8, "7", "a later decision (epoch 8) holds"),
        ("none", 6, "7", "epoch 7 has not claimed"),
    ] {
        let sql = "UPDATE slipway.token SET holder = $1, epoch = $2, fence_id = $3";
        admin.execute(sql, &[&holder, &i64::from(epoch), &fence_id]).await.unwrap();
        let fault = mark(&pair.from, &permit, &guard).await.unwrap_err();
        assert!(matches!(&fault, Fault::Wait(message) if message.contains(why)), "{why}: {fault:?}");
    }
    pair.token(Side::Source, "none", 7).await;
    let mut other = guard.clone();
    other.holding = pair.databases.source.migration("uid-2");
    let fault = mark(&pair.from, &permit, &other).await.unwrap_err();
    assert!(matches!(&fault, Fault::Blocked(b) if b.reason == Reason::OtherMigration), "{fault:?}");
    assert!(admin.query("SELECT FROM slipway.marker", &[]).await.unwrap().is_empty());
    assert!(pair.from.is_usable());
}
