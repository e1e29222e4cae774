//! What stops a move on its way, and where it ends then.

use sandbox::bank::probe::Side;
use sandbox::postgres::connect_local;
use serde_json::json;

use super::Night;
use crate::journey::{NAME, PATIENCE, spec, texts};

/// The target is stopped while the marker is on its way: the source is the writer again within maxWriteOutage.
#[tokio::test(flavor = "multi_thread")]
async fn a_target_that_stops_in_the_fence_gives_the_source_back() {
    let mut night = Box::pin(Night::begin("target-stops", |object| {
        object["spec"]["cutover"]["maxWriteOutage"] = json!("5s");
    }))
    .await;
    // Paused, it neither answers nor refuses: the worst that a server can do.
    night.goal("CutOver").await;
    night
        .journey
        .eventually(PATIENCE, "the fence", || async {
            let holder = texts(&night.journey.sandbox.source, "SELECT holder FROM slipway.token").await;
            if holder == ["none"] { Ok(()) } else { Err(format!("{holder:?}")) }
        })
        .await;
    night.journey.sandbox.target.kill().await.unwrap();
    night
        .journey
        .eventually(PATIENCE, "the source as the writer", || async {
            let holder = texts(&night.journey.sandbox.source, "SELECT holder FROM slipway.token").await;
            if holder == ["source"] { Ok(()) } else { Err(format!("{holder:?}")) }
        })
        .await;
    night.writes().await;
    night.journey.sandbox.target.restart().await.unwrap();
    Box::pin(night.until_back()).await;
    let findings = night.proved().await;
    assert_eq!(findings.writer(), Some(Side::Source));
    night.end().await;
}

/// A prepared transaction that appears at the fence is somebody's money: it is named, and the source is given back.
#[tokio::test(flavor = "multi_thread")]
async fn suspended_and_aborted_in_the_midst_the_source_is_the_writer() {
    let mut night = Box::pin(Night::begin("aborted", |_| {})).await;
    // The move can't get past Drain while the marker's table is locked on the target.
    let locker =
        connect_local(&night.journey.sandbox.target.superuser_dsn(sandbox::bank::DATABASE)).await.unwrap();
    locker.batch_execute("BEGIN; LOCK TABLE slipway.marker IN EXCLUSIVE MODE").await.unwrap();
    let fenced = async |night: &Night| {
        night
            .journey
            .eventually(PATIENCE, "the fence", || async {
                let holder = texts(&night.journey.sandbox.source, "SELECT holder FROM slipway.token").await;
                if holder == ["none"] { Ok(()) } else { Err(format!("{holder:?}")) }
            })
            .await;
    };
    night.goal("CutOver").await;
    fenced(&night).await;
    night.journey.patch(NAME, spec(json!({"suspend": true}))).await.unwrap();
    Box::pin(night.journey.until(NAME, "the source is the writer", |view| {
        view.status()["writer"] == "Source" && view.phase() == "Replicating"
    }))
    .await;
    night.writes().await;
    assert!(night.journey.view(NAME).await.status()["latch"].is_null());
    locker.batch_execute("ROLLBACK").await.unwrap();
    Box::pin(night.until_back()).await;

    locker.batch_execute("BEGIN; LOCK TABLE slipway.marker IN EXCLUSIVE MODE").await.unwrap();
    night.journey.patch(NAME, spec(json!({"suspend": null}))).await.unwrap();
    fenced(&night).await;
    night.journey.patch(NAME, spec(json!({"abortAttempt": 1}))).await.unwrap();
    let view =
        Box::pin(night.journey.until(NAME, "the latch", |view| !view.status()["latch"].is_null())).await;
    assert_eq!(view.status()["latch"]["reason"], "Aborted");
    locker.batch_execute("ROLLBACK").await.unwrap();
    Box::pin(night.until_back()).await;
    night.writes().await;
    // The brake is taken off; what was given up stays so, until a higher attempt is ordered.
    night.journey.patch(NAME, spec(json!({"abortAttempt": null}))).await.unwrap();
    night.journey.until(NAME, "GivenUp", |view| view.is("Stalled", "True", "GivenUp")).await;
    night.journey.patch(NAME, spec(json!({"attempt": 2}))).await.unwrap();
    Box::pin(night.until_phase("Soaking")).await;
    let findings = night.proved().await;
    assert_eq!(findings.writer(), Some(Side::Target));
    night.end().await;
}

/// The status is wiped in the midst of the fence: the rows tell where it stood.
#[tokio::test(flavor = "multi_thread")]
async fn a_wiped_status_ends_on_one_side() {
    let mut night = Box::pin(Night::begin("wiped", |_| {})).await;
    let locker =
        connect_local(&night.journey.sandbox.target.superuser_dsn(sandbox::bank::DATABASE)).await.unwrap();
    locker.batch_execute("BEGIN; LOCK TABLE slipway.marker IN EXCLUSIVE MODE").await.unwrap();
    night.goal("CutOver").await;
    night
        .journey
        .eventually(PATIENCE, "the fence", || async {
            let holder = texts(&night.journey.sandbox.source, "SELECT holder FROM slipway.token").await;
            if holder == ["none"] { Ok(()) } else { Err(format!("{holder:?}")) }
        })
        .await;
    night.journey.kill_operator().await;
    let wipe = kube::api::Patch::Merge(json!({"status": null}));
    night.journey.migrations().patch_status(NAME, &kube::api::PatchParams::default(), &wipe).await.unwrap();
    night.journey.start_operator();
    let view =
        Box::pin(night.journey.until(NAME, "the latch", |view| !view.status()["latch"].is_null())).await;
    assert_eq!(view.status()["latch"]["reason"], "StatusLost", "{}", view.describe());
    locker.batch_execute("ROLLBACK").await.unwrap();
    Box::pin(night.until_back()).await;
    night.writes().await;
    let findings = night.proved().await;
    assert_eq!(findings.writer(), Some(Side::Source));
    night.end().await;
}
