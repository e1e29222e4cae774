//! Several applications in one zone and one account: what is in the way of one is in nobody else's.

use kube::api::DeleteParams;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::stage::{PATIENCE, Stage, full, record, weight};
use crate::crash::replies::order;
use crate::journey::View;

fn shifted(view: &View) -> bool {
    view.is_current() && view.is("Ready", "True", "Shifted") && weight(view) == Some(100)
}

fn shift(object: &mut Value) {
    object["spec"]["goal"] = json!("Shift");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_in_the_way_of_one_application_is_in_nobody_elses() {
    let mut stage = Box::pin(Stage::begin_with("isolation", |options| {
        options.delays.dns_in_sync = options.delays.dns_change;
    }))
    .await;
    // Somebody's simple record that is not to be replaced, and somebody's weighted one.
    let refused = stage.quick("refused", |object| {
        shift(object);
        object["spec"]["traffic"]["route53"]["existingRecord"] = json!("Refuse");
    });
    let mut foreign = stage.quick("foreign", shift);
    foreign["spec"]["traffic"]["route53"]["name"] = json!(full("theirs"));
    stage.keep(record("theirs", Some(("theirs", 10))));
    // One that will be changed by somebody on its way.
    let changed = stage.quick("changed", |object| {
        shift(object);
        object["spec"]["traffic"]["maxWeight"] = json!(50);
    });
    // One whose alarms may not be made, and one whose metric may not be read.
    let denied = stage.quick("denied", |object| {
        shift(object);
        object["spec"]["alarms"] = json!({"snsTopicARN": "arn:aws:sns:us-east-1:111122223333:alerts-dev"});
    });
    let blind = stage.quick("blind", |object| {
        shift(object);
        object["spec"]["gates"] = json!([{"name": "errors", "interval": "5s", "metric": {
            "namespace": "AWS/ApplicationELB", "metricName": "HTTPCode_Target_5XX_Count", "statistic": "Sum",
            "operator": "LessThanOrEqual", "threshold": "5", "minSamples": 1,
        }}]);
    });
    order(&stage.journey, "access-denied cloudwatch:PutMetricAlarm");
    order(&stage.journey, "access-denied cloudwatch:GetMetricData");
    let before = stage.records_of(&full("refused"));
    let theirs = stage.records_of(&full("theirs"));
    stage.journey.start_operator();
    for object in [&refused, &foreign, &changed, &denied, &blind] {
        stage.journey.try_apply(object).await.unwrap();
    }
    stage.until_of("refused", "RecordConflict", |view| view.is("Stalled", "True", "RecordConflict")).await;
    stage.until_of("foreign", "NotOurs", |view| view.is("Stalled", "True", "NotOurs")).await;
    stage.until_of("denied", "AccessDenied", |view| view.is("Stalled", "True", "AccessDenied")).await;
    stage.until_of("changed", "half of it", |view| weight(view) == Some(50)).await;
    stage.keep(record("changed", Some(("slipway-target", 255))));
    let meddled = stage.records_of(&full("changed"));
    let drifted = |view: &View| view.is("Stalled", "True", "RecordDrift");
    // Whatever a person does in a zone is seen at the next look.
    stage.until_of("changed", "RecordDrift", drifted).await;
    let held = |view: &View| weight(view) == Some(50) && view.message("Reconciling").contains("gate errors");
    let view = stage.until_of("blind", "held by its gate", held).await;
    assert!(view.message("Reconciling").contains("AccessDenied"), "{}", view.describe());

    // Beside all of them, one that nothing is in the way of.
    let healthy = stage.quick("healthy", shift);
    let stood = stage.records_of(&full("healthy"));
    let begun = Instant::now();
    stage.journey.try_apply(&healthy).await.unwrap();
    stage.until_of("healthy", "shifted", shifted).await;
    println!("beside five that wait for a person, one was shifted in {:?}", begun.elapsed());
    stage.patch_of("healthy", json!({"goal": "Stage"})).await;
    let back =
        |view: &View| view.is_current() && view.is("Ready", "True", "Staging") && weight(view) == Some(0);
    stage.until_of("healthy", "all of it back", back).await;
    stage.applications().delete("healthy", &DeleteParams::default()).await.unwrap();
    stage
        .journey
        .eventually(PATIENCE, "healthy to be gone", || async {
            match stage.applications().get_opt("healthy").await {
                Ok(None) => Ok(()),
                Ok(Some(object)) => Err(View::of(&object).describe()),
                Err(error) => Err(error.to_string()),
            }
        })
        .await;
    assert_eq!(stage.records_of(&full("healthy")), stood, "what stood there before stands there again");

    // They still wait, and nobody touched what is theirs or somebody else's.
    for (name, reason) in [
        ("refused", "RecordConflict"),
        ("foreign", "NotOurs"),
        ("denied", "AccessDenied"),
        ("changed", "RecordDrift"),
    ] {
        stage.until_of(name, reason, |view| view.is("Stalled", "True", reason)).await;
    }
    stage.until_of("blind", "held by its gate", held).await;
    assert_eq!(stage.records_of(&full("refused")), before);
    assert_eq!(stage.records_of(&full("theirs")), theirs);
    assert_eq!(stage.records_of(&full("changed")), meddled);

    // What a person mends of one lets that one go on.
    stage.journey.sandbox.aws.clear_faults();
    stage.patch_of("refused", json!({"traffic": {"route53": {"existingRecord": "Replace"}}})).await;
    stage.patch_of("changed", json!({"attempt": 2, "traffic": {"maxWeight": 100}})).await;
    for name in ["refused", "changed", "denied"] {
        stage.until_of(name, "shifted", shifted).await;
    }
    stage.until_of("foreign", "NotOurs", |view| view.is("Stalled", "True", "NotOurs")).await;
    assert_eq!(stage.records_of(&full("theirs")), theirs);
    stage.journey.end().await;
}
