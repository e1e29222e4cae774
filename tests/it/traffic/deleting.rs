//! Deleting an application's migration moves no traffic, and takes away nothing but its own.

use std::collections::BTreeMap;

use kube::api::DeleteParams;
use sandbox::world::Call;
use sandbox::world::cloudwatch::{self, PutDashboard};
use serde_json::json;

use super::stage::{PATIENCE, Stage, full, weight};
use crate::crash::inventory;
use crate::journey::View;

const NAME: &str = "parting-api";

impl Stage {
    async fn delete(&self) {
        self.applications().delete(NAME, &DeleteParams::default()).await.unwrap();
    }

    async fn until_gone(&self) {
        self.journey
            .eventually(PATIENCE, "it to be gone", || async {
                match self.applications().get_opt(NAME).await {
                    Ok(None) => Ok(()),
                    Ok(Some(object)) => Err(View::of(&object).describe()),
                    Err(error) => Err(error.to_string()),
                }
            })
            .await;
    }

    /// What CloudWatch has, by kind and name.
    fn watched(&self) -> Vec<String> {
        inventory::take(&self.journey.sandbox.aws).names()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_deleted_moves_no_traffic_and_leaves_others_things_alone() {
    let mut stage = Box::pin(Stage::begin_with("parting", |options| {
        options.delays.dns_in_sync = options.delays.dns_change;
    }))
    .await;
    let object = |stage: &Stage| {
        stage.quick(NAME, |object| {
            let spec = &mut object["spec"];
            spec["goal"] = json!("Shift");
            spec["traffic"]["steps"] = json!([{"weight": 100, "hold": "1s"}]);
            spec["alarms"] = json!({"snsTopicARN": "arn:aws:sns:us-east-1:111122223333:alerts-dev"});
        })
    };
    let first = object(&stage);
    let stood = stage.records_of(&full(NAME));
    // Somebody else's, by the name that ours would have.
    let theirs = "dashboard dashboard-parting-api-dev".to_owned();
    stage.journey.sandbox.aws.with_world(|world, now| {
        let body = json!({"widgets": []}).to_string();
        let put = PutDashboard { name: "dashboard-parting-api-dev".to_owned(), body, tags: BTreeMap::new() };
        world.call(Call::CloudWatch(cloudwatch::Call::PutDashboard(put)), now).unwrap();
    });
    stage.journey.start_operator();
    stage.journey.try_apply(&first).await.unwrap();
    let view = stage.until_of(NAME, "NotOurs", |view| view.is("Stalled", "True", "NotOurs")).await;
    assert!(view.message("Stalled").contains("dashboard-parting-api-dev"), "{}", view.describe());
    assert_eq!(weight(&view).unwrap_or(0), 0, "nothing moves before all is made");
    stage.delete().await;
    stage.until_gone().await;
    assert_eq!(stage.records_of(&full(NAME)), stood);
    assert_eq!(stage.watched(), [theirs]);
    stage.journey.sandbox.aws.with_world(|world, now| {
        let names = vec!["dashboard-parting-api-dev".to_owned()];
        world.call(Call::CloudWatch(cloudwatch::Call::DeleteDashboards { names }), now).unwrap();
    });

    // With traffic at the target it is held, and waits for a person.
    let shifted = |view: &View| view.is("Ready", "True", "Shifted") && weight(view) == Some(100);
    stage.journey.try_apply(&object(&stage)).await.unwrap();
    stage.until_of(NAME, "shifted", shifted).await;
    let (records, watched) = (stage.records_of(&full(NAME)), stage.watched());
    assert_eq!(watched.len(), 4, "{watched:?}");
    stage.delete().await;
    let held = |view: &View| view.is("Stalled", "True", "Deleting") && view.is_held();
    let view = stage.until_of(NAME, "held", held).await;
    for word in ["100 %", "Stage", "Finish", "Retain"] {
        assert!(view.message("Stalled").contains(word), "{word} in {}", view.describe());
    }
    assert_eq!((stage.records_of(&full(NAME)), stage.watched()), (records, watched));
    stage.patch_of(NAME, json!({"goal": "Stage"})).await;
    stage.until_gone().await;
    assert_eq!(stage.records_of(&full(NAME)), stood, "what stood there before stands there again");
    assert_eq!(stage.watched(), Vec::<String>::new());

    // Retain leaves all of it, and the next one of the name does not take it for its own.
    let mut last = object(&stage);
    last["spec"]["deletionPolicy"] = json!("Retain");
    stage.journey.try_apply(&last).await.unwrap();
    stage.until_of(NAME, "shifted", shifted).await;
    let left = (stage.records_of(&full(NAME)), stage.watched());
    let uid = stage.applications().get(NAME).await.unwrap().metadata.uid.unwrap();
    stage.delete().await;
    stage.until_gone().await;
    assert_eq!((stage.records_of(&full(NAME)), stage.watched()), left);
    // Without its simple record, which the weighted ones would not suffer beside them.
    stage.journey.try_apply(&last).await.unwrap();
    let view = stage.until_of(NAME, "NotOurs", |view| view.is("Stalled", "True", "NotOurs")).await;
    assert!(view.message("Stalled").contains(&uid), "{}", view.describe());
    assert!(!view.is_held(), "nothing was made, so nothing is to be cleaned up");
    stage.delete().await;
    stage.until_gone().await;
    assert_eq!((stage.records_of(&full(NAME)), stage.watched()), left);
    stage.journey.end().await;
}
