//! Migrations beside each other: one that is broken never stops another, two that share nothing run at once, and two
//! that share a database do not.

use kube::api::DynamicObject;
use sandbox::postgres::{Server, connect_local};
use serde_json::{Value, json};

use crate::journey::{Journey, NAME, View, execute};

const CRD: &str = include_str!("../../../crds/databasemigrations.slipway.dev.yaml");

#[tokio::test(flavor = "multi_thread")]
async fn a_malformed_object_and_a_second_migration_stop_nobody() {
    let mut journey = Journey::begin("beside").await;
    for server in [&journey.sandbox.source, &journey.sandbox.target] {
        second_database(server).await;
    }
    let malformed = journey.example(|migration| {
        migration["metadata"]["name"] = json!("malformed");
        migration["spec"]["goal"] = json!("Everything");
        migration["spec"]["tables"] = json!("all");
    });
    write_past_the_crd(&journey, &malformed).await;
    journey.start_operator();
    journey.apply(|_| {}).await;
    journey.apply(|migration| ledger(migration, "ledger")).await;
    let (payments, ledger_view) =
        tokio::join!(journey.until_replicating(NAME), journey.until_replicating("ledger"));
    assert_ne!(payments.status()["replication"]["taskARN"], ledger_view.status()["replication"]["taskARN"]);
    assert!(journey.view("malformed").await.status().is_null());
    // Once it fits, it is one like any other: it wants a database that another one holds.
    let mended = journey.example(|migration| ledger(migration, "malformed"));
    journey.patch("malformed", json!({"spec": mended["spec"]})).await.unwrap();
    let taken = |view: &View| view.is_current() && view.is("Stalled", "True", "OtherMigration");
    let view = journey.until("malformed", "Stalled=True (OtherMigration)", taken).await;
    for word in [
        "The source database belongs to the DatabaseMigration default/ledger",
        ledger_view.uid(),
        "Delete that resource",
    ] {
        assert!(view.message("Stalled").contains(word), "{}", view.describe());
    }
    journey.until_quiet("malformed").await;
    assert!(!view.is_held(), "{}", view.describe());
    // Deleted while blocked and before anything was made: gone at once, and nobody else notices.
    let changes = journey.changes().len();
    journey.delete("malformed").await;
    journey.until_gone("malformed").await;
    journey.until_replicating(NAME).await;
    journey.until_replicating("ledger").await;
    assert_eq!(journey.changes().len(), changes);

    // One goes; the other stays as it is.
    journey.delete("ledger").await;
    journey.until_gone("ledger").await;
    let view = journey.until_replicating(NAME).await;
    assert_eq!(view.status()["replication"]["taskARN"], payments.status()["replication"]["taskARN"]);
    journey.end().await;
}

/// The accounts file is the administrator's: the operator reads it when it starts.
#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_without_an_account_touches_nothing() {
    let mut journey = Journey::begin("accounts").await;
    let file = journey.environment().directory().join("accounts.yaml");
    journey.flags = vec!["--accounts".to_owned(), file.display().to_string()];
    let map = |namespace: &str, account: &str| {
        let text = format!("namespaces:\n  {namespace}:\n    accountID: \"{account}\"\n");
        std::fs::write(&file, text).unwrap();
    };
    map("elsewhere", "111122223333");
    journey.start_operator();
    journey.apply(|_| {}).await;
    let stalled = |reason: &'static str| move |view: &View| view.is("Stalled", "True", reason);
    let view = journey.until(NAME, "AccountNotMapped", stalled("AccountNotMapped")).await;
    for word in ["The namespace default is mapped to no AWS account", "administrator", "--accounts"] {
        assert!(view.message("Stalled").contains(word), "{}", view.describe());
    }
    journey.until_quiet(NAME).await;
    assert_eq!(journey.sandbox.aws.calls(), []);

    journey.stop_operator().await;
    map("default", "444455556666");
    journey.start_operator();
    let view = journey.until(NAME, "AccountMismatch", stalled("AccountMismatch")).await;
    for word in ["111122223333", "444455556666", "accounts file"] {
        assert!(view.message("Stalled").contains(word), "{}", view.describe());
    }
    journey.until_quiet(NAME).await;
    assert_eq!(journey.mutating_calls(), []);
    assert!(!journey.view(NAME).await.is_held());

    journey.stop_operator().await;
    map("default", "111122223333");
    journey.start_operator();
    journey.until_replicating(NAME).await;
    journey.end().await;
}

fn ledger(migration: &mut Value, name: &str) {
    migration["metadata"]["name"] = json!(name);
    migration["spec"]["source"]["endpoint"]["database"] = json!("ledger");
    migration["spec"]["target"]["database"] = json!("ledger");
}

/// A copy of the bank's database with the same roles, before anybody else uses it.
async fn second_database(server: &Server) {
    let admin = connect_local(&server.superuser_dsn("postgres")).await.unwrap();
    // A template must be without sessions, and those of the preparation may still be ending.
    let end = "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = 'payments'";
    admin.batch_execute(end).await.unwrap();
    admin.batch_execute("CREATE DATABASE ledger TEMPLATE payments OWNER payments_owner").await.unwrap();
    execute(
        server,
        "REVOKE CONNECT, TEMPORARY ON DATABASE ledger FROM PUBLIC;
         GRANT CONNECT ON DATABASE ledger TO payments_app, slipway_dms, slipway_operator;
         DO $$ BEGIN
           IF has_database_privilege('slipway_dms', 'payments', 'CREATE') THEN
             GRANT CREATE ON DATABASE ledger TO slipway_dms;
           END IF;
         END $$",
    )
    .await;
}

/// As an object that is older than its CRD: with a CRD that lets anything pass, and then the real one again.
async fn write_past_the_crd(journey: &Journey, object: &Value) {
    let real: Value = serde_saphyr::from_str(CRD).unwrap();
    let mut lax = real.clone();
    let version = &mut lax["spec"]["versions"][0];
    let anything = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    version["schema"]["openAPIV3Schema"] =
        json!({"type": "object", "properties": {"spec": anything, "status": anything}});
    version.as_object_mut().unwrap().remove("selectableFields");
    journey.try_apply(&lax).await.unwrap();
    journey
        .eventually(crate::journey::PATIENCE, "an object past the CRD", || async {
            journey.try_apply(object).await
        })
        .await;
    journey.try_apply(&real).await.unwrap();
    // Served again as it should be: it refuses the same.
    let mut again: DynamicObject = serde_json::from_value(object.clone()).unwrap();
    again.metadata.name = Some("again".to_owned());
    let again = serde_json::to_value(&again).unwrap();
    journey
        .eventually(crate::journey::PATIENCE, "the real CRD to be in force", || async {
            if journey.try_apply(&again).await.is_err() {
                return Ok(());
            }
            journey.delete("again").await;
            Err("anything passes".to_owned())
        })
        .await;
}
