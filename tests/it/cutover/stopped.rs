//! What stops a move on its way, and where it ends then.

use sandbox::bank::probe::Side;
use sandbox::postgres::connect_local;
use serde_json::json;

use super::{Night, grants};
use crate::journey::{NAME, spec, texts};

/// The target is stopped while the marker is on its way: the source is the writer again within maxWriteOutage.
#[tokio::test(flavor = "multi_thread")]
async fn a_target_that_stops_in_the_fence_gives_the_source_back() {
    let mut night = Box::pin(Night::begin("target-stops", |object| {
        object["spec"]["cutover"]["maxWriteOutage"] = json!("5s");
    }))
    .await;
    let held = night.held_in_the_fence().await;
    drop(held);
    night.journey.sandbox.target.kill().await.unwrap();
    night.holder("source").await;
    night.writes().await;
    night.journey.sandbox.target.restart().await.unwrap();
    Box::pin(night.until_back()).await;
    Box::pin(night.ends_with(Side::Source)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn suspended_and_aborted_in_the_midst_the_source_is_the_writer() {
    let night = Box::pin(Night::begin("aborted", |_| {})).await;
    let held = night.held_in_the_fence().await;
    night.journey.patch(NAME, spec(json!({"suspend": true}))).await.unwrap();
    Box::pin(night.journey.until(NAME, "the source is the writer", |view| {
        view.status()["writer"] == "Source" && view.phase() == "Replicating"
    }))
    .await;
    night.writes().await;
    assert!(night.journey.view(NAME).await.status()["latch"].is_null());
    drop(held);
    Box::pin(night.until_back()).await;

    let held = night.hold_the_marker().await;
    night.journey.patch(NAME, spec(json!({"suspend": null}))).await.unwrap();
    night.fenced().await;
    night.journey.patch(NAME, spec(json!({"abortAttempt": 1}))).await.unwrap();
    let view =
        Box::pin(night.journey.until(NAME, "the latch", |view| !view.status()["latch"].is_null())).await;
    assert_eq!(view.status()["latch"]["reason"], "Aborted");
    drop(held);
    Box::pin(night.until_back()).await;
    night.writes().await;
    // The brake is taken off; what was given up stays so, until a higher attempt is ordered.
    night.journey.patch(NAME, spec(json!({"abortAttempt": null}))).await.unwrap();
    night.journey.until(NAME, "GivenUp", |view| view.is("Stalled", "True", "GivenUp")).await;
    night.journey.patch(NAME, spec(json!({"attempt": 2}))).await.unwrap();
    Box::pin(night.until_phase("Soaking")).await;
    Box::pin(night.ends_with(Side::Target)).await;
}

/// The status is wiped in the midst of the fence: the rows tell where it stood.
#[tokio::test(flavor = "multi_thread")]
async fn a_wiped_status_ends_on_one_side() {
    let mut night = Box::pin(Night::begin("wiped", |_| {})).await;
    let held = night.held_in_the_fence().await;
    night.journey.kill_operator().await;
    let wipe = kube::api::Patch::Merge(json!({"status": null}));
    night.journey.migrations().patch_status(NAME, &kube::api::PatchParams::default(), &wipe).await.unwrap();
    night.journey.start_operator();
    let view =
        Box::pin(night.journey.until(NAME, "the latch", |view| !view.status()["latch"].is_null())).await;
    assert_eq!(view.status()["latch"]["reason"], "StatusLost", "{}", view.describe());
    drop(held);
    Box::pin(night.until_back()).await;
    night.writes().await;
    Box::pin(night.ends_with(Side::Source)).await;
}

/// A prepared transaction that appears at the fence is somebody's money: it is named, and the source is given back.
#[tokio::test(flavor = "multi_thread")]
async fn a_prepared_transaction_at_the_fence_is_named_and_the_source_given_back() {
    let night = Box::pin(Night::begin("prepared", |_| {})).await;
    // It is begun while nobody looks, and prepared when the operator can't look any more: between its last check and the
    // fence, which wait for the lock that is held here.
    let source = night.journey.sandbox.source.superuser_dsn(sandbox::bank::DATABASE);
    let holder = connect_local(&source).await.unwrap();
    let other = connect_local(&source).await.unwrap();
    holder.batch_execute("SELECT pg_advisory_lock(x'736c6970776179'::bigint)").await.unwrap();
    night.goal("CutOver").await;
    let waits = "SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted)";
    while !other.query_one(waits, &[]).await.unwrap().get::<_, bool>(0) {}
    other
        .batch_execute("BEGIN; UPDATE public.rates SET rate = rate WHERE currency = 'EUR'; PREPARE TRANSACTION 'month-end'")
        .await
        .unwrap();
    holder.batch_execute("SELECT pg_advisory_unlock_all()").await.unwrap();
    let view = night.journey.until(NAME, "the latch or the check", |view| {
        view.status()["latch"]["reason"] == "PreparedTransaction"
            || view.is("Stalled", "True", "PreparedTransaction")
    });
    let view = Box::pin(view).await;
    assert_eq!(view.status()["writer"], "Source", "{}", view.describe());
    night.writes().await;
    // It is still its owner's to end.
    other.batch_execute("COMMIT PREPARED 'month-end'").await.unwrap();
    if !view.status()["latch"].is_null() {
        Box::pin(night.until_back()).await;
        night.journey.patch(NAME, spec(json!({"attempt": 2}))).await.unwrap();
    }
    Box::pin(night.until_phase("Soaking")).await;
    Box::pin(night.ends_with(Side::Target)).await;
}

/// The source is restarted while it is fenced: the fence is in its catalog, and the move goes on.
#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_restarts_in_the_fence_stays_fenced_and_the_writer_arrives() {
    let mut night = Box::pin(Night::begin("source-restarts", |object| {
        object["spec"]["cutover"]["maxWriteOutage"] = json!("60s");
    }))
    .await;
    let held = night.held_in_the_fence().await;
    night.journey.sandbox.source.restart().await.unwrap();
    night.holder("none").await;
    drop(held);
    // The task's session with the source was lost, too; whether it is back before the outage is too long is the task's
    // matter. Either way one side takes writes.
    let view = Box::pin(night.journey.until(NAME, "one writer", |view| {
        view.phase() == "Soaking" || (view.phase() == "Replicating" && view.status()["writer"] == "Source")
    }))
    .await;
    night.writes().await;
    let findings = night.proved().await;
    let side = if view.phase() == "Soaking" { Side::Target } else { Side::Source };
    assert_eq!(findings.writer(), Some(side));
    night.end().await;
}

/// Applications take every connection that there is, the moment the fence falls: the operator holds its own.
#[tokio::test(flavor = "multi_thread")]
async fn when_all_connections_are_used_up_the_operator_still_has_its_own() {
    let night = Box::pin(Night::begin("storm", |object| {
        object["spec"]["cutover"]["maxWriteOutage"] = json!("5s");
    }))
    .await;
    let held = night.held_in_the_fence().await;
    // A storm of another database's sessions, which no fence of this one touches.
    let mut storm = Vec::new();
    let dsn = night.journey.sandbox.source.superuser_dsn("postgres");
    while let Ok(session) = connect_local(&dsn).await {
        storm.push(session);
        assert!(storm.len() < 2_000);
    }
    assert!(storm.len() > 10, "{}", storm.len());
    // The marker never arrives, so the source is given back, with no connection free.
    let writable = "SELECT holder FROM slipway.token";
    let look = storm.pop().unwrap();
    drop(look);
    night
        .journey
        .eventually(crate::journey::PATIENCE, "the source given back", || async {
            // The place that was freed may be taken at once.
            let Ok(look) =
                connect_local(&night.journey.sandbox.source.superuser_dsn(sandbox::bank::DATABASE)).await
            else {
                return Err("no connection".to_owned());
            };
            let holder: String = look.query_one(writable, &[]).await.unwrap().get(0);
            if holder == "source" { Ok(()) } else { Err(holder) }
        })
        .await;
    drop(storm);
    drop(held);
    Box::pin(night.until_back()).await;
    night.writes().await;
    Box::pin(night.ends_with(Side::Source)).await;
}

/// COMMIT hangs after it was carried out, as with a lost synchronous standby: the operator's own deadline ends the wait,
/// and the row says what became of it.
#[tokio::test(flavor = "multi_thread")]
async fn a_commit_that_hangs_in_the_fence_ends_by_our_deadline() {
    let night = Box::pin(Night::begin("hangs", |object| {
        object["spec"]["cutover"]["maxWriteOutage"] = json!("10s");
    }))
    .await;
    let held = night.held_in_the_fence().await;
    // From now on every COMMIT on the source hangs, the one that opens it again included.
    night.journey.on_source("ALTER SYSTEM SET synchronous_standby_names = 'nobody'").await;
    night.journey.on_source("SELECT pg_reload_conf()").await;
    night.holder("source").await;
    night.journey.on_source("ALTER SYSTEM RESET synchronous_standby_names").await;
    night.journey.on_source("SELECT pg_reload_conf()").await;
    drop(held);
    night.writes().await;
    Box::pin(night.until_back()).await;
    Box::pin(night.ends_with(Side::Source)).await;
}

/// A deletion in the midst of the fence gives the source back first, and then removes what was made.
#[tokio::test(flavor = "multi_thread")]
async fn deleted_in_the_fence_the_source_is_the_writer_and_nothing_is_left() {
    let night = Box::pin(Night::begin("deleted", |_| {})).await;
    let before = grants(&night.journey.sandbox.source).await;
    let held = night.held_in_the_fence().await;
    night.journey.delete(NAME).await;
    drop(held);
    night.journey.until_gone(NAME).await;
    night.writes().await;
    assert_eq!(grants(&night.journey.sandbox.source).await, before);
    for server in [&night.journey.sandbox.source, &night.journey.sandbox.target] {
        let slots = texts(server, "SELECT slot_name::text FROM pg_replication_slots").await;
        assert!(slots.is_empty(), "{slots:?}");
    }
    Box::pin(night.ends_with(Side::Source)).await;
}

/// While the target soaks a deletion is held, and says so; nothing changes who the writer is.
#[tokio::test(flavor = "multi_thread")]
async fn deleted_while_soaking_it_is_held() {
    let night = Box::pin(Night::begin("held", |_| {})).await;
    night.goal("CutOver").await;
    Box::pin(night.until_phase("Soaking")).await;
    night.journey.delete(NAME).await;
    let view = night.journey.until(NAME, "held", |view| view.is("Stalled", "True", "Deleting")).await;
    assert_eq!(view.status()["writer"], "Target", "{}", view.describe());
    assert!(view.message("Stalled").contains("Finish"), "{}", view.describe());
    // The way out that the message names.
    night.goal("Finish").await;
    night.journey.until_gone(NAME).await;
    night.writes().await;
    Box::pin(night.ends_with(Side::Target)).await;
}
