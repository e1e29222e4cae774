#![allow(clippy::unwrap_used, clippy::panic)]

use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::Api;
use kube::api::{DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams};
use kube::core::{ApiResource, GroupVersionKind};
use serde_json::json;

use super::*;

/// A stand-in for the generated CRD with the same group and name, because the chart's rules name that one.
const MANIFESTS: &str = "\
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: databasemigrations.slipway.dev}
spec:
  group: slipway.dev
  scope: Namespaced
  names: {kind: DatabaseMigration, plural: databasemigrations, singular: databasemigration}
  versions:
  - name: v1alpha1
    served: true
    storage: true
    subresources: {status: {}}
    schema:
      openAPIV3Schema:
        type: object
        properties:
          spec: {type: object, properties: {goal: {type: string, enum: [Plan, Replicate]}}}
          status: {type: object, properties: {phase: {type: string}}}
---
# A document with nothing in it.
---
apiVersion: v1
kind: Namespace
metadata: {name: elsewhere}
---
apiVersion: v1
kind: Secret
metadata: {name: password, namespace: elsewhere}
stringData: {password: hidden}
---
apiVersion: v1
kind: Secret
metadata: {name: password}
stringData: {password: given}
---
apiVersion: slipway.dev/v1alpha1
kind: DatabaseMigration
metadata: {name: bank}
spec: {goal: Plan}
";

fn migrations(client: Client, namespace: &str) -> Api<DynamicObject> {
    let kind = GroupVersionKind::gvk("slipway.dev", "v1alpha1", "DatabaseMigration");
    Api::namespaced_with(client, namespace, &ApiResource::from_gvk(&kind))
}

fn assert_forbidden<T>(result: Result<T, kube::Error>, what: &str) {
    match result {
        Err(kube::Error::Api(status)) if status.is_forbidden() => {}
        Err(other) => panic!("{what}: refused, but with {other}"),
        Ok(_) => panic!("{what}: allowed"),
    }
}

/// Not there, or ended and reaped by nobody yet.
fn gone(pid: i32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat"))
        .map_or(true, |stat| stat.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('Z')))
}

#[tokio::test]
async fn the_operator_may_do_what_the_chart_grants_and_nothing_leaves_a_trace() {
    let directory = std::env::temp_dir().join(format!("slipway-cluster-{}", std::process::id()));
    let cluster = Cluster::start(&directory).await.unwrap();
    let admin = cluster.client().await.unwrap();
    let version = admin.apiserver_version().await.unwrap();
    assert_eq!((version.major.as_str(), version.minor.as_str()), ("1", "36"), "{version:?}");

    let stored = Box::pin(manifests::apply(&admin, MANIFESTS)).await.unwrap();
    assert_eq!(stored.len(), 5);
    let again = Box::pin(manifests::apply(&admin, MANIFESTS)).await.unwrap();
    for (first, second) in stored.iter().zip(&again) {
        assert_eq!(first.metadata.uid, second.metadata.uid);
    }
    let refused = MANIFESTS.replace("{goal: Plan}", "{goal: Fly}");
    let error = Box::pin(manifests::apply(&admin, &refused)).await.unwrap_err().to_string();
    assert!(error.starts_with("cannot apply DatabaseMigration bank: "), "{error}");
    assert!(error.contains("Unsupported value: \"Fly\""), "{error}");

    let identity = Box::pin(cluster.operator_identity(&["default", "team-a"])).await.unwrap();
    let operator = identity.client().await.unwrap();
    check_rights(&operator).await;
    // A new token is of use to a client made before and after.
    assert!(identity.renew().await.unwrap() > jiff::Timestamp::now());
    migrations(operator.clone(), "default").get("bank").await.unwrap();
    migrations(identity.client().await.unwrap(), "default").get("bank").await.unwrap();

    let writes: Vec<audit::Write> =
        audit::writes(&cluster.audit_log).unwrap().into_iter().filter(audit::Write::is_by_operator).collect();
    let of_status: Vec<_> = writes.iter().filter(|write| write.subresource == "status").collect();
    assert_eq!(of_status.len(), 1, "{writes:#?}");
    assert_eq!((of_status[0].name.as_str(), of_status[0].code), ("bank", 200));
    assert!(writes.iter().any(|write| write.verb == "delete" && write.code == 403), "{writes:#?}");

    let pids = cluster.pids();
    assert!(!pids.iter().copied().any(gone));
    cluster.stop().await.unwrap();
    assert!(pids.iter().copied().all(gone));
    assert_eq!(process::end_leftovers(&directory).unwrap(), Vec::<String>::new());
    fs::remove_dir_all(directory).unwrap();
}

async fn check_rights(operator: &Client) {
    let bank = migrations(operator.clone(), "default");
    bank.list(&ListParams::default()).await.unwrap();
    let apply = PatchParams::apply("slipway").force();
    let status = json!({
        "apiVersion": "slipway.dev/v1alpha1", "kind": "DatabaseMigration", "status": { "phase": "Planned" },
    });
    let seen = bank.patch_status("bank", &apply, &Patch::Apply(&status)).await.unwrap();
    assert_eq!(seen.data["status"]["phase"], "Planned");
    let finalizer = json!({ "metadata": { "finalizers": ["slipway.dev/cleanup"] } });
    bank.patch("bank", &PatchParams::default(), &Patch::Merge(&finalizer)).await.unwrap();
    assert_forbidden(bank.delete("bank", &DeleteParams::default()).await, "deleting a migration");
    assert_forbidden(bank.create(&PostParams::default(), &seen).await, "creating a migration");

    let secrets = |namespace| Api::<Secret>::namespaced(operator.clone(), namespace);
    let read = secrets("default").get("password").await.unwrap();
    assert_eq!(read.data.unwrap()["password"].0, b"given");
    assert_forbidden(secrets("elsewhere").get("password").await, "a secret of another namespace");
    assert_forbidden(secrets("default").list(&ListParams::default()).await, "listing secrets");
    assert_forbidden(Api::<Secret>::all(operator.clone()).list(&ListParams::default()).await, "all secrets");
    let absent = Api::<ConfigMap>::namespaced(operator.clone(), "team-a").get_opt("none").await.unwrap();
    assert!(absent.is_none());
    assert_forbidden(
        secrets("team-a").create(&PostParams::default(), &Secret::default()).await,
        "a new secret",
    );
}

#[tokio::test]
async fn a_second_start_in_the_same_place_is_an_empty_cluster() {
    let directory = std::env::temp_dir().join(format!("slipway-cluster-again-{}", std::process::id()));
    let cluster = Cluster::start(&directory).await.unwrap();
    Box::pin(manifests::apply(
        &cluster.client().await.unwrap(),
        "{apiVersion: v1, kind: Namespace, metadata: {name: old}}",
    ))
    .await
    .unwrap();
    let first = cluster.pids();
    drop(cluster);
    let cluster = Cluster::start(&directory).await.unwrap();
    let namespaces: Api<k8s_openapi::api::core::v1::Namespace> = Api::all(cluster.client().await.unwrap());
    assert!(namespaces.get_opt("old").await.unwrap().is_none());
    cluster.stop().await.unwrap();
    assert!(first.into_iter().chain(cluster.pids()).all(gone));
    fs::remove_dir_all(directory).unwrap();
}
