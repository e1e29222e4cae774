//! That a leaked secret would be found, wherever it leaks to: the search at the end of each journey must be able to fail.

use std::io::Write as _;

use kube::Api;
use kube::api::{Patch, PatchParams, PostParams};
use sandbox::canary::{self, MARK};
use serde_json::json;

use crate::journey::{Journey, NAME};

mod application;

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_in_a_log_an_event_or_an_annotation_is_found() {
    let mut journey = Box::pin(Journey::begin("canary")).await;
    journey.start_operator();
    Box::pin(journey.apply(|object| object["spec"]["goal"] = json!("Plan"))).await;
    journey.until(NAME, "Planned", |view| view.is_current() && view.is("Ready", "True", "Planned")).await;
    let directory = journey.sandbox.directory().path().to_owned();
    let search = async || canary::search(&journey.client, &directory).await.unwrap();
    assert_eq!(search().await, []);
    // The word is in what the operator was given, or it could not be found elsewhere.
    let login = journey.environment().login("SOURCE_OPERATOR_DSN").unwrap();
    assert!(login.password.starts_with(MARK));
    assert!(journey.environment().get("AWS_SECRET_ACCESS_KEY").unwrap().starts_with(MARK));

    let annotation = json!({"metadata": {"annotations": {"note": login.password}}});
    journey.patch(NAME, annotation).await.unwrap();
    let found = search().await;
    assert!(
        found.iter().any(|leak| leak.to_string().starts_with("the migrations hold")
            || leak.to_string().starts_with("the migrations")),
        "{found:?}"
    );
    journey.patch(NAME, json!({"metadata": {"annotations": null}})).await.unwrap();
    assert_eq!(search().await, []);
    let mut application = crate::bad_input::kind::Kind::Application.placed(&journey);
    application["spec"]["goal"] = json!("Plan");
    application["metadata"]["annotations"] = json!({"note": login.password});
    journey.try_apply(&application).await.unwrap();
    let found = search().await;
    assert!(found.iter().any(|leak| leak.to_string().starts_with("the applications")), "{found:?}");
    application["metadata"]["annotations"] = json!({});
    journey.try_apply(&application).await.unwrap();
    assert_eq!(search().await, []);

    let status = json!({"status": {"next": format!("log in with {}", login.password)}});
    let patch = Patch::Merge(&status);
    journey.migrations().patch_status(NAME, &PatchParams::default(), &patch).await.unwrap();
    let found = search().await;
    assert!(found.iter().any(|leak| leak.to_string().starts_with("the migrations")), "{found:?}");
    journey
        .until(NAME, "a status of the operator's", |view| {
            !view.status()["next"].as_str().unwrap_or_default().contains(MARK)
        })
        .await;

    let events = Api::<k8s_openapi::api::core::v1::Event>::namespaced(journey.client.clone(), "default");
    let event = json!({"apiVersion": "v1", "kind": "Event", "metadata": {"name": "leak"}, "reason": "Leak",
        "involvedObject": {"kind": "DatabaseMigration", "name": NAME, "namespace": "default"},
        "message": format!("the password {} is wrong", login.password)});
    events.create(&PostParams::default(), &serde_json::from_value(event).unwrap()).await.unwrap();
    let found = search().await;
    assert!(found.iter().any(|leak| leak.to_string().starts_with("the events")), "{found:?}");
    events.delete("leak", &kube::api::DeleteParams::default()).await.unwrap();

    let log = directory.join("kubernetes/planted.log");
    let token = std::fs::read_to_string(directory.join("kubernetes/operator.token")).unwrap();
    for planted in [
        login.dsn(&directory),
        json!(k8s_openapi::ByteString(login.password.into_bytes())).to_string(),
        token,
    ] {
        let mut file = std::fs::File::create(&log).unwrap();
        writeln!(file, "debug: {planted}").unwrap();
        let found = search().await;
        assert!(found.iter().any(|leak| leak.to_string().contains("planted.log")), "{found:?}");
    }
    std::fs::remove_file(&log).unwrap();
    journey.end().await;
}
