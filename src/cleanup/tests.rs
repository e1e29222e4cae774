//! What is told apart, and what is sent to AWS, with the real clients against replies written down before.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::sync::Mutex;
use std::time::Duration;

use serde_json::{Value, json};

use super::remove::Remover;
use super::*;
use crate::aws::responder::{Reply, Responder, lead};

const POLL: Duration = Duration::from_millis(5);
const TASK: &str = "arn:aws:dms:eu-central-1:111122223333:task:ABCDEFGHIJKLMNOPQRST";

fn scope() -> Scope {
    Scope { suffix: "dev".into(), resource: None }
}

fn owner(resource: &str) -> Ownership {
    Ownership { uid: "u-1".into(), resource: resource.into() }
}

fn thing(kind: Kind, identifier: &str) -> Thing {
    Thing {
        kind,
        identifier: identifier.into(),
        arn: format!("arn:{identifier}"),
        state: String::new(),
        uses: vec![],
    }
}

#[test]
fn ours_is_what_its_tags_migration_would_call_so() {
    let names = database::Names::new("payments-db", "dev");
    let ours = [
        (Kind::Task, names.task.clone()),
        (Kind::Endpoint, names.endpoints.source.clone()),
        (Kind::Endpoint, names.endpoints.target.clone()),
        (Kind::Certificate, names.certificate(crate::side::Side::Source, "0abc")),
        (Kind::Instance, names.instance.clone()),
        (Kind::SubnetGroup, names.subnet_group.clone()),
    ];
    let alarms = names.alarms().into_iter().map(|name| (Kind::Alarm, name));
    let of_application = application::Names::new("payments-db", "dev");
    let traffic = of_application.alarms().into_iter().map(|name| (Kind::Alarm, name));
    let traffic = traffic.chain([(Kind::Dashboard, of_application.dashboard)]);
    for (kind, name) in ours.into_iter().chain(alarms).chain(traffic) {
        let it = thing(kind, &name);
        assert_eq!(scope().by_name(&it), ByName::Like, "{name}");
        assert_eq!(
            scope().by_tags(&it, Some(owner("bank/payments-db"))),
            Ok(owner("bank/payments-db")),
            "{name}"
        );
        assert_eq!(scope().by_tags(&it, None), Err(Why::NoTag));
        for other in ["bank/payments", "bank/", "", "payments-db", "bank/db"] {
            assert_eq!(
                scope().by_tags(&it, Some(owner(other))),
                Err(Why::Tag(owner(other))),
                "{name} {other}"
            );
        }
        let of = |resource: &str| Scope { resource: Some(resource.into()), ..scope() };
        assert!(of("bank/payments-db").by_tags(&it, Some(owner("bank/payments-db"))).is_ok());
        assert_eq!(
            of("shop/payments-db").by_tags(&it, Some(owner("bank/payments-db"))),
            Err(Why::Resource(owner("bank/payments-db")))
        );
    }
}

#[test]
fn a_suffix_that_only_ends_like_ours_is_another() {
    // Made with suffix two-dev for payments: the name alone could be payments-two's with suffix dev.
    let it = thing(Kind::Task, &database::Names::new("payments", "two-dev").task);
    assert_eq!(scope().by_name(&it), ByName::Like);
    assert_eq!(scope().by_tags(&it, Some(owner("bank/payments"))), Err(Why::Tag(owner("bank/payments"))));
    for (name, expected) in [
        ("dms-task-payments-prod", ByName::Left(Why::Suffix)),
        ("dms-task-paymentsdev", ByName::Left(Why::Suffix)),
        ("reporting-dev", ByName::Left(Why::Name)),
        ("dms-endpoint-source-payments-dev", ByName::Left(Why::Name)),
        ("reporting", ByName::Other),
        ("dev", ByName::Other),
    ] {
        assert_eq!(scope().by_name(&thing(Kind::Task, name)), expected, "{name}");
    }
}

#[test]
fn what_others_use_stays_and_what_that_uses_too() {
    let endpoint = Thing { uses: vec!["arn:c".into()], ..thing(Kind::Endpoint, "e") };
    let (task, instance, certificate) = (
        Thing { uses: vec!["arn:i".into()], ..thing(Kind::Task, "t") },
        thing(Kind::Instance, "i"),
        thing(Kind::Certificate, "c"),
    );
    let theirs = Thing { uses: vec!["arn:e".into()], ..thing(Kind::Task, "theirs") };
    let ours = [&task, &endpoint, &certificate, &instance].map(|thing| Ours {
        thing: thing.clone(),
        owner: owner("bank/payments-db"),
        used_by: None,
    });
    let all = [task, theirs, endpoint, certificate, instance];
    let mut held = ours.clone();
    hold(&mut held, &all);
    let by: Vec<Option<&str>> = held.iter().map(|ours| ours.used_by.as_deref()).collect();
    assert_eq!(by, [None, Some("task theirs"), Some("endpoint e"), None]);
    let look = Look { ours: held.to_vec(), ..Look::default() };
    assert_eq!(look.removable(Kind::Endpoint).count(), 0);
    assert_eq!(look.removable(Kind::Instance).count(), 1);
    let told = tell::warnings(&look).join("\n");
    assert!(told.contains("endpoint e stays, since task theirs uses it"), "{told}");
}

fn ok(body: &Value) -> Reply {
    Reply::json(200, body)
}

fn task(state: &str, arn: &str) -> Value {
    json!({ "ReplicationTasks": [{
        "ReplicationTaskIdentifier": "dms-task-payments-db-dev", "ReplicationTaskArn": arn, "Status": state,
        "SourceEndpointArn": "arn:s", "TargetEndpointArn": "arn:t", "ReplicationInstanceArn": "arn:i" }] })
}

fn tags(uid: &str) -> Reply {
    ok(&json!({ "TagList": [
        { "Key": "slipway.dev/uid", "Value": uid },
        { "Key": "slipway.dev/resource", "Value": "bank/payments-db" } ] }))
}

/// An account with nothing but what `tasks` says in turn.
async fn account(tasks: Vec<Reply>, more: Vec<(&'static str, Vec<Reply>)>) -> Responder {
    let none = || vec![ok(&json!({}))];
    let script = vec![
        ("DescribeReplicationTasks", tasks),
        ("DescribeEndpoints", none()),
        ("DescribeCertificates", none()),
        ("DescribeReplicationInstances", none()),
        ("DescribeReplicationSubnetGroups", none()),
        ("DescribeAlarms", vec![Reply::cbor(200, &ciborium::Value::Map(vec![]))]),
        ("ListDashboards", vec![Reply::cbor(200, &ciborium::Value::Map(vec![]))]),
    ];
    Responder::start(script.into_iter().chain(more)).await
}

fn changes(aws: &Responder) -> Vec<String> {
    let is_read = |operation: &String| operation.starts_with("Describe") || operation.starts_with("List");
    aws.operations().into_iter().filter(|operation| !is_read(operation)).collect()
}

#[tokio::test]
async fn a_task_is_stopped_then_deleted_and_every_list_is_read_to_its_end() {
    let page = |state: &str| ok(&task(state, TASK));
    let mut first = task("running", TASK);
    first["Marker"] = json!("1");
    let theirs = json!({ "ReplicationTaskIdentifier": "reporting", "ReplicationTaskArn": "arn:r", "Status": "running" });
    let tasks = vec![
        ok(&first),
        ok(&json!({ "ReplicationTasks": [theirs] })),
        page("running"),
        page("running"),
        page("stopping"),
        page("stopped"),
        page("stopped"),
        page("deleting"),
        ok(&json!({})),
    ];
    let aws = account(
        tasks,
        vec![
            ("ListTagsForResource", vec![tags("u-1")]),
            ("StopReplicationTask", vec![ok(&json!({}))]),
            // Busy for once, which passes.
            ("DeleteReplicationTask", vec![Reply::error("InvalidResourceStateFault"), ok(&json!({}))]),
        ],
    )
    .await;
    let (leadership, scope, told) = (lead().await, scope(), Mutex::new(Vec::new()));
    let permit = leadership.permit();
    let say = |line: &str| told.lock().unwrap().push(line.to_owned());
    let remover = Remover { aws: &aws.aws, permit: &permit, scope: &scope, poll: POLL, tell: &say };
    let look = remover.look().await.unwrap();
    assert_eq!((look.ours.len(), look.others, look.left.len()), (1, 1, 0));
    let warnings = tell::warnings(&look).join("\n");
    for words in ["can't be known", "Task dms-task-payments-db-dev replicates", "'abcdefghijklmnop%'"] {
        assert!(warnings.contains(words), "{words} in {warnings}");
    }
    assert!(changes(&aws).is_empty(), "looking changes nothing");
    let last = remover.remove(&look).await.unwrap();
    assert_eq!(last, Look::default());
    assert_eq!(changes(&aws), ["StopReplicationTask", "DeleteReplicationTask", "DeleteReplicationTask"]);
    let told = told.into_inner().unwrap().join("\n");
    for words in
        ["told to stop", "waiting, it is stopping", "told to go", "waiting, it is deleting", ": gone"]
    {
        assert!(told.contains(words), "{words} in {told}");
    }
}

#[tokio::test]
async fn what_is_made_again_meanwhile_ends_it() {
    for (later, says) in [
        // Seen before anything is done, and while it is waited for.
        (vec![ok(&task("creating", "arn:task:OTHER"))], vec![]),
        (
            vec![
                ok(&task("stopped", TASK)),
                ok(&task("stopped", TASK)),
                ok(&task("creating", "arn:task:OTHER")),
            ],
            vec!["DeleteReplicationTask"],
        ),
    ] {
        let tasks = std::iter::once(ok(&task("stopped", TASK))).chain(later).collect();
        let aws = account(
            tasks,
            vec![("ListTagsForResource", vec![tags("u-1")]), ("DeleteReplicationTask", vec![ok(&json!({}))])],
        )
        .await;
        let (leadership, scope) = (lead().await, scope());
        let permit = leadership.permit();
        let remover = Remover { aws: &aws.aws, permit: &permit, scope: &scope, poll: POLL, tell: &|_| {} };
        let first = remover.look().await.unwrap();
        let error = remover.remove(&first).await.unwrap_err();
        assert!(error.contains("an operator works on this migration"), "{error}");
        assert_eq!(changes(&aws), says);
    }
}

#[tokio::test]
async fn what_became_somebody_elses_is_not_deleted_and_a_missing_right_is_named() {
    for (seen, reply, says) in [
        // The tag is read once to look, once before it is done, and once in the same breath as the deletion.
        (vec![tags("u-1"), tags("u-1"), tags("u-2")], ok(&json!({})), "tagged as belonging to"),
        (vec![tags("u-1")], Reply::error("AccessDeniedFault"), "dms:DeleteReplicationTask"),
    ] {
        let aws = account(
            vec![ok(&task("stopped", TASK))],
            vec![("ListTagsForResource", seen), ("DeleteReplicationTask", vec![reply])],
        )
        .await;
        let (leadership, scope) = (lead().await, scope());
        let permit = leadership.permit();
        let remover = Remover { aws: &aws.aws, permit: &permit, scope: &scope, poll: POLL, tell: &|_| {} };
        let first = remover.look().await.unwrap();
        let error = remover.remove(&first).await.unwrap_err();
        assert!(error.contains(says) && error.contains("safe to run this command again"), "{error}");
    }
}

#[tokio::test]
async fn a_list_that_fails_for_a_while_is_asked_for_again_and_no_list_is_not_an_empty_one() {
    let throttled = || Reply::error("ThrottlingException");
    let aws = account(vec![throttled(), throttled(), ok(&json!({}))], vec![]).await;
    let (leadership, scope) = (lead().await, scope());
    let permit = leadership.permit();
    let remover = Remover { aws: &aws.aws, permit: &permit, scope: &scope, poll: POLL, tell: &|_| {} };
    assert_eq!(remover.look().await.unwrap(), Look::default());
    let aws = account(vec![throttled()], vec![]).await;
    let remover = Remover { aws: &aws.aws, permit: &permit, scope: &scope, poll: POLL, tell: &|_| {} };
    let error = remover.look().await.unwrap_err();
    assert!(error.contains("DescribeReplicationTasks"), "{error}");
}

#[tokio::test]
async fn every_kind_is_listed_with_its_state_and_what_it_uses() {
    let group = "arn:aws:dms:eu-central-1:111122223333:subgrp:g";
    let identity = "<GetCallerIdentityResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><GetCallerIdentityResult>\
                    <Arn>arn:aws:sts::111122223333:assumed-role/x/y</Arn><UserId>x</UserId><Account>111122223333</Account>\
                    </GetCallerIdentityResult></GetCallerIdentityResponse>";
    let alarm = ["AlarmName", "AlarmArn", "StateValue"].into_iter().zip(["a", "arn:a", "OK"]);
    let alarm = ciborium::Value::Map(alarm.map(|(key, value)| (key.into(), value.into())).collect());
    let dashboard = ["DashboardName", "DashboardArn"].into_iter().zip(["d", "arn:d"]);
    let dashboard = ciborium::Value::Map(dashboard.map(|(key, value)| (key.into(), value.into())).collect());
    let dashboards =
        ciborium::Value::Map(vec![("DashboardEntries".into(), ciborium::Value::Array(vec![dashboard]))]);
    let alarms = ciborium::Value::Map(vec![("MetricAlarms".into(), ciborium::Value::Array(vec![alarm]))]);
    let aws = Responder::start([
        ("GetCallerIdentity", vec![Reply::xml(200, identity)]),
        ("DescribeReplicationTasks", vec![ok(&task("running", TASK))]),
        ("DescribeEndpoints", vec![ok(&json!({ "Endpoints": [{ "EndpointIdentifier": "e", "EndpointArn": "arn:e",
            "Status": "active", "CertificateArn": "arn:c" }] }))]),
        ("DescribeCertificates", vec![ok(&json!({ "Certificates": [
            { "CertificateIdentifier": "c", "CertificateArn": "arn:c" }] }))]),
        ("DescribeReplicationInstances", vec![ok(&json!({ "ReplicationInstances": [{
            "ReplicationInstanceIdentifier": "i", "ReplicationInstanceArn": "arn:i", "ReplicationInstanceStatus": "available",
            "ReplicationSubnetGroup": { "ReplicationSubnetGroupIdentifier": "g" } }] }))]),
        ("DescribeReplicationSubnetGroups", vec![ok(&json!({ "ReplicationSubnetGroups": [
            { "ReplicationSubnetGroupIdentifier": "g", "SubnetGroupStatus": "Complete" }] }))]),
        ("DescribeAlarms", vec![Reply::cbor(200, &alarms)]),
        ("ListDashboards", vec![Reply::cbor(200, &dashboards)]),
    ])
    .await;
    let mut seen = Vec::new();
    for kind in Kind::ALL {
        seen.extend(aws.aws.things(kind).await.unwrap());
    }
    let with = |state: &str, uses: &[&str], thing: Thing| Thing {
        state: state.into(),
        uses: uses.iter().map(|arn| (*arn).to_owned()).collect(),
        ..thing
    };
    let task = Thing { arn: TASK.into(), ..thing(Kind::Task, "dms-task-payments-db-dev") };
    let expected = [
        with("running", &["arn:s", "arn:t", "arn:i"], task),
        with("OK", &[], thing(Kind::Alarm, "a")),
        thing(Kind::Dashboard, "d"),
        with("active", &["arn:c"], thing(Kind::Endpoint, "e")),
        thing(Kind::Certificate, "c"),
        with("available", &[group], thing(Kind::Instance, "i")),
        with("Complete", &[], Thing { arn: group.into(), ..thing(Kind::SubnetGroup, "g") }),
    ];
    assert_eq!(seen, expected);
    assert_eq!(aws.last("DescribeReplicationTasks")["WithoutSettings"], true);
}
