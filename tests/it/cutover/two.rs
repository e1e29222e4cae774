//! Two operators at once, one of them paused, and leases that don't keep them apart: each has its own, as if somebody had
//! installed Slipway twice. What the first still sends when it wakes up finds a later decision.

use std::time::Duration;

use sandbox::bank::probe::Side;
use sandbox::process::Signal;
use serde_json::json;
use tokio::time::sleep;

use super::Night;
use crate::crash::EVERY;
use crate::journey::{NAME, PATIENCE};

/// The steps after whose effect the first operator is paused.
const STEPS: [&str; 8] = [
    "DecideMove",
    "ClaimSide",
    "CreateReverseSlot",
    "Fence",
    "WriteMarker",
    "Freeze",
    "ArmReverse",
    "Promote",
];

/// The name of the second operator's Lease.
const LEASE: &str = "beside";

/// Lets operators hold a Lease of another name, too.
async fn allow_another_lease(night: &Night) {
    let metadata = json!({"name": LEASE, "namespace": "slipway-system"});
    let role = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": metadata,
        "rules": [{
            "apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "resourceNames": [LEASE],
            "verbs": ["get", "update"],
        }],
    });
    let binding = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": metadata,
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": LEASE},
        "subjects": [{"kind": "ServiceAccount", "name": "slipway", "namespace": "slipway-system"}],
    });
    for object in [role, binding] {
        night.journey.try_apply(&object).await.unwrap();
    }
}

async fn arrives_when_paused_after(step: &str) {
    println!("paused after {step}");
    // So long that it does not end while the first one is paused.
    let lease = 600;
    let test = format!("paused-{}", step.to_lowercase());
    let mut night = Box::pin(Night::begin_with(&test, lease, |_| {})).await;
    allow_another_lease(&night).await;
    let first = night.journey.operator().unwrap();
    let words = format!("action=\"{step}\"");
    night.goal("CutOver").await;
    let begun = tokio::time::Instant::now();
    while !std::fs::read_to_string(first.log()).unwrap().contains(&words) {
        assert!(begun.elapsed() < PATIENCE, "{step} never came\n{}", night.journey.operator_log());
        sleep(Duration::from_millis(1)).await;
    }
    first.signal(Signal::STOP).unwrap();
    let second = night.journey.start_beside("slipway-1", &["--lease-name", LEASE]);
    let view = Box::pin(night.until_phase("Soaking")).await;
    assert_eq!(view.status()["writer"], "Target", "{}", view.describe());
    night.writes().await;
    first.signal(Signal::CONT).unwrap();
    // It looks, and finds that it was overtaken; both are quiet in the end.
    night.writes().await;
    let view = Box::pin(night.until_phase("Soaking")).await;
    assert_eq!(view.status()["writer"], "Target", "{}", view.describe());
    let findings = night.proved().await;
    assert_eq!(findings.writer(), Some(Side::Target));
    assert_eq!(findings.moves().len(), 1, "{:?}", findings.moves());
    assert!(night.journey.view(NAME).await.status()["latch"].is_null());
    second.stop(Duration::from_secs(30)).await.unwrap();
    night.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_that_slept_changes_nothing_when_it_wakes() {
    let steps: Vec<&str> = if std::env::var_os(EVERY).is_some() {
        STEPS.to_vec()
    } else {
        vec!["ClaimSide", "Fence", "Promote"]
    };
    for step in steps {
        Box::pin(arrives_when_paused_after(step)).await;
    }
}
