//! What comes in the way once something was made: AWS refuses, a person waits, a goal goes back, a resource is deleted
//! while its database can't be asked.

use sandbox::serve::fault::Command;
use serde_json::json;

use super::case::Deed;
use crate::journey::{Journey, NAME, PATIENCE, View, texts};

const SECRETS: [&str; 2] = ["source-operator", "target-operator"];

#[tokio::test(flavor = "multi_thread")]
async fn refused_by_aws_suspended_resumed_and_deleted_while_blocked() {
    let mut journey = Journey::begin("along").await;
    journey.start_operator();
    let subnets =
        |ids: [&str; 2]| json!({"spec": {"replication": {"instance": {"managed": {"subnetIDs": ids}}}}});

    // Both subnets lie in one availability zone: nobody but AWS knows.
    journey
        .apply(|migration| {
            let managed = &mut migration["spec"]["replication"]["instance"]["managed"];
            managed["subnetIDs"] = json!(["subnet-0a", "subnet-0c"]);
        })
        .await;
    let view =
        journey.until(NAME, "Stalled by AWS", |view| view.is("Stalled", "True", "RequestRefused")).await;
    let message = view.message("Stalled");
    for word in [
        "CreateReplicationSubnetGroup dms-subnet-group-payments-db-dev",
        "ReplicationSubnetGroupDoesNotCoverEnoughAZs",
        "two availability zones",
        "spec.replication.instance.managed.subnetIDs",
    ] {
        assert!(message.contains(word), "{}", view.describe());
    }
    journey.until_quiet(NAME).await;
    assert_eq!(journey.changes(), Vec::<String>::new());
    assert!(journey.view(NAME).await.is("TargetFenced", "True", "Fenced"));

    // Suspended, the refused step is not even tried, mended or not.
    journey.patch(NAME, json!({"spec": {"suspend": true}})).await.unwrap();
    let suspended = |view: &View| {
        view.is_current()
            && view.is("Reconciling", "True", "Suspended")
            && view.is("Stalled", "False", "Suspended")
    };
    journey.until(NAME, "suspended", suspended).await;
    let calls = journey.mutating_calls().len();
    journey.patch(NAME, subnets(["subnet-0a", "subnet-0b"])).await.unwrap();
    journey.until(NAME, "suspended with other subnets", suspended).await;
    journey.until_quiet(NAME).await;
    assert_eq!(journey.mutating_calls().len(), calls);
    journey.patch(NAME, json!({"spec": {"suspend": null}})).await.unwrap();
    journey.until_replicating(NAME).await;

    // What runs goes on while suspended, over a restart too: the lag is still measured, the target still fenced.
    journey.patch(NAME, json!({"spec": {"suspend": true}})).await.unwrap();
    journey.until_replicating(NAME).await;
    let calls = journey.mutating_calls().len();
    journey
        .on_target(
            "GRANT CONNECT ON DATABASE payments TO payments_app; GRANT INSERT ON rates TO payments_app",
        )
        .await;
    journey.kill_operator().await;
    journey.start_operator();
    fenced_again(&journey).await;
    journey.until_replicating(NAME).await;
    assert_eq!(journey.mutating_calls().len(), calls);
    journey.patch(NAME, json!({"spec": {"suspend": null}})).await.unwrap();

    let refused = journey.patch(NAME, json!({"spec": {"goal": "Plan"}})).await.unwrap_err();
    assert!(refused.contains("cannot return to Plan once replication exists"), "{refused}");

    // Nobody can ask the databases what is to be cleaned up there.
    for secret in SECRETS {
        Deed::NoSecret(secret).done(&mut journey, NAME).await;
    }
    let named = |view: &View| view.is("Stalled", "True", "SecretMissing");
    let view = journey.until(NAME, "a Secret that is gone is missed", named).await;
    assert!(view.message("Stalled").contains("spec.source.operatorCredentialsRef"), "{}", view.describe());
    journey.delete(NAME).await;
    let held = |view: &View| view.phase() == "Deleting" && view.is("Stalled", "True", "Deleting");
    let view = journey.until(NAME, "a deletion that says what it waits for", held).await;
    let message = view.message("Stalled");
    for word in [
        "The source must be cleaned up",
        "there is no Secret source-operator",
        "spec.deletionPolicy to Retain",
    ] {
        assert!(message.contains(word), "{}", view.describe());
    }
    journey.until_quiet(NAME).await;
    Deed::Secrets.done(&mut journey, NAME).await;
    journey.until_gone(NAME).await;
    nothing_is_left(&journey).await;
    journey.end().await;
}

/// AWS answers nothing useful for a while, then denies: each has its word, and passes.
#[tokio::test(flavor = "multi_thread")]
async fn denied_and_throttled_calls_pass_once_they_may() {
    let mut journey = Journey::begin("denied").await;
    journey.start_operator();
    order(&journey, "access-denied dms:CreateReplicationInstance");
    journey.apply(|_| {}).await;
    let denied = |view: &View| view.is("Stalled", "True", "AccessDenied");
    let view = journey.until(NAME, "Stalled (AccessDenied)", denied).await;
    assert!(view.message("Stalled").contains("dms:CreateReplicationInstance"), "{}", view.describe());
    journey.until_quiet(NAME).await;
    assert_eq!(journey.changes(), ["dms:CreateReplicationSubnetGroup"]);
    journey.sandbox.aws.clear_faults();
    order(&journey, "throttle dms:CreateEndpoint --times 3");
    journey.until_replicating(NAME).await;

    // The resource goes, and what was made stays and goes on.
    journey.patch(NAME, json!({"spec": {"deletionPolicy": "Retain"}})).await.unwrap();
    let calls = journey.mutating_calls().len();
    journey.delete(NAME).await;
    journey.until_gone(NAME).await;
    assert_eq!(journey.mutating_calls().len(), calls);
    journey.on_source("INSERT INTO rates (currency, valid_on, rate) VALUES ('ZZZ', '2026-01-01', 1)").await;
    journey
        .eventually(PATIENCE, "the retained task to carry a row", || async {
            let found =
                texts(&journey.sandbox.target, "SELECT currency::text FROM rates WHERE currency = 'ZZZ'")
                    .await;
            if found.is_empty() { Err("no row".to_owned()) } else { Ok(()) }
        })
        .await;
    assert_eq!(writers(&journey).await, Vec::<String>::new());
    journey.end().await;
}

fn order(journey: &Journey, words: &str) {
    let words: Vec<&str> = words.split(' ').collect();
    let Ok(Command::Order(order)) = Command::parse(&words) else { panic!("{words:?} is no order") };
    journey.sandbox.aws.order(order).unwrap();
}

async fn writers(journey: &Journey) -> Vec<String> {
    let sql = "SELECT 'payments_app' WHERE has_database_privilege('payments_app', current_database(), 'CONNECT')
               UNION ALL SELECT relname::text FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'
                AND has_table_privilege('payments_app', oid, 'INSERT, UPDATE, DELETE')";
    texts(&journey.sandbox.target, sql).await
}

async fn fenced_again(journey: &Journey) {
    journey
        .eventually(PATIENCE, "the target to be fenced again", || async {
            let writers = writers(journey).await;
            if writers.is_empty() { Ok(()) } else { Err(format!("may write: {writers:?}")) }
        })
        .await;
}

/// Neither in AWS nor on the source; the target keeps its rows and its fence.
async fn nothing_is_left(journey: &Journey) {
    let created = |word: &str| journey.changes().iter().filter(|call| call.contains(word)).count();
    assert_eq!(
        created(":CreateReplication") + created(":CreateEndpoint"),
        created(":DeleteReplication") + created(":DeleteEndpoint")
    );
    assert_eq!(created(":ImportCertificate"), created(":DeleteCertificate"));
    let slots = "SELECT slot_name::text FROM pg_replication_slots
                 UNION ALL SELECT tablename::text FROM pg_tables WHERE schemaname = 'slipway'";
    assert_eq!(texts(&journey.sandbox.source, slots).await, Vec::<String>::new());
    assert_eq!(writers(journey).await, Vec::<String>::new());
    let rows = "SELECT count(*)::text FROM customers";
    assert_eq!(texts(&journey.sandbox.source, rows).await, texts(&journey.sandbox.target, rows).await);
}
