//! DMS's real client against replies written down before.

#![allow(clippy::unwrap_used, clippy::panic)]

use serde_json::{Value, json};

use super::*;
use crate::api::condition::Reason;
use crate::aws::Ownership;
use crate::aws::responder::{Reply, Responder, lead};
use crate::fault::Fault;
use crate::permit::Term;
use crate::secret::Secret;

const ARN: &str = "arn:aws:dms:eu-central-1:123456789012:endpoint:ABC";

fn ours() -> Ownership {
    Ownership { uid: "u-1".into(), resource: "bank/payments-db".into() }
}

#[allow(clippy::needless_pass_by_value)] // it is made where it is passed
fn ok(body: Value) -> Reply {
    Reply::json(200, &body)
}

fn tags(uid: &str) -> Reply {
    ok(json!({ "TagList": [
        { "Key": "slipway.dev/uid", "Value": uid },
        { "Key": "slipway.dev/resource", "Value": "bank/other" },
        { "Key": "slipway.dev/secret-version", "Value": "v7" },
    ] }))
}

fn settings() -> EndpointSettings {
    EndpointSettings {
        side: Side::Target,
        host: "db.example".into(),
        port: 5432,
        database: "bank".into(),
        username: "dms".into(),
        tls: EndpointTls::VerifyFull,
        certificate_arn: Some("arn:cert".into()),
        secret_version: Some("v8".into()),
    }
}

#[tokio::test]
async fn every_page_is_read() {
    let table = |name: &str| json!({ "SchemaName": "bank", "TableName": name, "TableState": "Table completed", "FullLoadRows": 3, "ValidationState": "Validated" });
    let aws = Responder::start([(
        "DescribeTableStatistics",
        vec![
            ok(json!({ "TableStatistics": [table("a")], "Marker": "1" })),
            ok(json!({ "TableStatistics": [], "Marker": "2" })),
            ok(json!({ "TableStatistics": [table("b")] })),
        ],
    )])
    .await;
    let seen = aws.aws.dms.table_statistics("arn:task").await.unwrap();
    assert_eq!(seen.iter().map(|t| t.name.as_str()).collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!(seen[1].state, TableState::Completed);
    assert_eq!(seen[1].validation, ValidationState::Validated);
    let markers: Vec<_> = aws.seen().into_iter().map(|seen| seen.body["Marker"].clone()).collect();
    assert_eq!(markers, [Value::Null, json!("1"), json!("2")]);
}

#[tokio::test]
async fn half_a_list_is_no_list() {
    let aws = Responder::start([(
        "DescribeTableStatistics",
        vec![ok(json!({ "TableStatistics": [], "Marker": "same" }))],
    )])
    .await;
    assert!(matches!(aws.aws.dms.table_statistics("arn:task").await, Err(Fault::Again(_))));
}

#[tokio::test]
async fn absent_is_an_empty_list_and_a_fault_alike() {
    let missing = || vec![Reply::error("ResourceNotFoundFault"), ok(json!({}))];
    let aws = Responder::start([
        ("DescribeReplicationInstances", missing()),
        ("DescribeReplicationSubnetGroups", missing()),
        ("DescribeCertificates", missing()),
        ("DescribeEndpoints", missing()),
        ("DescribeConnections", missing()),
        ("DescribeReplicationTasks", missing()),
        ("DescribeTableStatistics", missing()),
    ])
    .await;
    let (dms, ours) = (&aws.aws.dms, ours());
    for _ in 0..2 {
        assert_eq!(dms.instance("i", &ours).await.unwrap(), None);
        assert_eq!(dms.instance_by_arn("arn:i", &ours).await.unwrap(), None);
        assert_eq!(dms.subnet_group("g", &ours).await.unwrap(), None);
        assert_eq!(dms.certificates(|identifier| identifier == "c", &ours).await.unwrap(), []);
        assert_eq!(dms.endpoint("e", Side::Source, &ours).await.unwrap(), None);
        assert_eq!(dms.connection("arn:i", "arn:e").await.unwrap(), None);
        assert_eq!(dms.task("t", &ours).await.unwrap(), None);
        assert_eq!(dms.table_statistics("arn:t").await.unwrap(), []);
    }
    assert!(aws.outcomes().iter().any(|o| o == "dms DescribeEndpoints absent"));
    let body = aws.last("DescribeConnections");
    assert_eq!(body["Filters"].as_array().unwrap().len(), 2, "another instance's test must not count");
    assert_eq!(aws.last("DescribeReplicationTasks")["WithoutSettings"], true);
}

#[tokio::test]
async fn an_endpoint_is_read_with_its_owner_and_the_version_of_its_password() {
    let endpoint = json!({ "Endpoints": [{
        "EndpointIdentifier": "e", "EndpointArn": ARN, "EndpointType": "TARGET", "Status": "active",
        "ServerName": "db.example", "Port": 5432, "DatabaseName": "bank", "Username": "dms",
        "SslMode": "verify-full", "CertificateArn": "arn:cert",
    }] });
    let aws = Responder::start([
        ("DescribeEndpoints", vec![ok(endpoint)]),
        ("ListTagsForResource", vec![tags("u-1"), tags("u-2")]),
    ])
    .await;
    let seen = aws.aws.dms.endpoint("e", Side::Target, &ours()).await.unwrap().unwrap();
    assert_eq!(seen.owner, Owner::Us);
    assert!(seen.active && !seen.deleting);
    assert_eq!(seen.settings, EndpointSettings { secret_version: Some("v7".into()), ..settings() });
    let seen = aws.aws.dms.endpoint("e", Side::Target, &ours()).await.unwrap().unwrap();
    assert_eq!(seen.owner, Owner::Other(Some("bank/other (uid u-2)".into())), "tags are read anew");
}

#[tokio::test]
async fn what_was_proved_ours_costs_no_second_read() {
    let task = json!({ "ReplicationTasks": [{
        "ReplicationTaskIdentifier": "t", "ReplicationTaskArn": "arn:aws:dms:r:1:task:XYZ", "Status": "stopped",
        "StopReason": "Stop Reason NORMAL", "ReplicationTaskStartDate": 1_700_000_000.5,
    }] });
    let aws = Responder::start([
        ("DescribeReplicationTasks", vec![ok(task)]),
        ("ListTagsForResource", vec![tags("u-1")]),
    ])
    .await;
    for _ in 0..3 {
        let seen = aws.aws.dms.task("t", &ours()).await.unwrap().unwrap();
        assert_eq!(
            (seen.status.clone(), seen.stop_reason.clone()),
            (TaskStatus::Stopped, Some(StopReason::Normal))
        );
        assert_eq!((seen.resource_id(), seen.owner.clone()), ("XYZ", Owner::Us));
        assert_eq!(seen.started_at.unwrap().as_millisecond(), 1_700_000_000_500);
    }
    let reads = aws.operations().into_iter().filter(|o| o == "ListTagsForResource").count();
    assert_eq!(reads, 1);
    let other = Ownership { uid: "u-9".into(), ..ours() };
    assert_ne!(aws.aws.dms.task("t", &other).await.unwrap().unwrap().owner, Owner::Us);
}

#[tokio::test]
async fn a_subnet_groups_tags_are_found_under_its_arn() {
    let who = "<GetCallerIdentityResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><GetCallerIdentityResult>\
               <Arn>arn:aws-cn:sts::123456789012:assumed-role/x/y</Arn><UserId>U</UserId><Account>123456789012</Account>\
               </GetCallerIdentityResult></GetCallerIdentityResponse>";
    let aws = Responder::start([
        ("GetCallerIdentity", vec![Reply::xml(200, who)]),
        (
            "DescribeReplicationSubnetGroups",
            vec![ok(json!({ "ReplicationSubnetGroups": [
                { "ReplicationSubnetGroupIdentifier": "g", "SubnetGroupStatus": "Complete" }
            ] }))],
        ),
        ("ListTagsForResource", vec![tags("u-1")]),
        ("DeleteReplicationSubnetGroup", vec![ok(json!({}))]),
    ])
    .await;
    assert_eq!(aws.aws.identity().await.unwrap(), "123456789012");
    let seen = aws.aws.dms.subnet_group("g", &ours()).await.unwrap().unwrap();
    assert!(seen.complete && seen.owner == Owner::Us);
    let arn = aws.last("ListTagsForResource")["ResourceArn"].clone();
    assert_eq!(arn, "arn:aws-cn:dms:eu-central-1:123456789012:subgrp:g");
    let leadership = lead().await;
    aws.aws.dms.delete_subnet_group(&leadership.permit(), &ours(), "g").await.unwrap();
    assert_eq!(aws.last("DeleteReplicationSubnetGroup")["ReplicationSubnetGroupIdentifier"], "g");
}

#[tokio::test]
async fn nothing_of_anybody_elses_is_changed() {
    for foreign in [tags("u-2"), ok(json!({ "TagList": [] }))] {
        // No reply is written for any change: a test that sends one fails.
        let aws = Responder::start([("ListTagsForResource", vec![foreign])]).await;
        let (dms, ours, leadership) = (&aws.aws.dms, ours(), lead().await);
        let (permit, password) = (leadership.permit(), Secret::new("hunter2"));
        let refused = [
            dms.delete_instance(&permit, &ours, ARN).await,
            dms.delete_certificate(&permit, &ours, ARN).await,
            dms.modify_endpoint(&permit, &ours, ARN, &settings(), &password).await,
            dms.delete_endpoint(&permit, &ours, ARN).await,
            dms.test_connection(&permit, &ours, "arn:i", ARN).await,
            dms.start_task(&permit, &ours, ARN, StartType::First).await,
            dms.stop_task(&permit, &ours, ARN).await,
            dms.delete_task(&permit, &ours, ARN).await,
        ];
        for refused in refused {
            let fault = refused.unwrap_err();
            assert!(matches!(&fault, Fault::Blocked(b) if b.reason == Reason::NotOurs), "{fault}");
        }
        assert!(aws.operations().iter().all(|operation| operation == "ListTagsForResource"));
    }
}

#[tokio::test]
async fn without_the_lease_nothing_is_changed() {
    // No reply is written for any change: a test that sends one fails.
    let aws = Responder::start([("ListTagsForResource", vec![tags("u-1")])]).await;
    let (dms, ours) = (&aws.aws.dms, ours());
    let leadership = lead().await.within(Term::default());
    let (permit, password) = (leadership.permit(), Secret::new("hunter2"));
    let refused = [
        dms.import_certificate(&permit, &ours, "c", "pem").await,
        dms.create_subnet_group(&permit, &ours, "g", &[]).await,
        dms.create_endpoint(&permit, &ours, "e", &settings(), &password).await,
        dms.modify_endpoint(&permit, &ours, ARN, &settings(), &password).await,
        dms.test_connection(&permit, &ours, "arn:i", ARN).await,
        dms.start_task(&permit, &ours, ARN, StartType::First).await,
        dms.stop_task(&permit, &ours, ARN).await,
        dms.delete_task(&permit, &ours, ARN).await,
        dms.delete_endpoint(&permit, &ours, ARN).await,
        dms.delete_certificate(&permit, &ours, ARN).await,
        dms.delete_instance(&permit, &ours, ARN).await,
    ];
    for refused in refused {
        let fault = refused.unwrap_err();
        assert!(matches!(&fault, Fault::Again(why) if why.contains("not sent")), "{fault}");
    }
    assert!(aws.operations().iter().all(|operation| operation == "ListTagsForResource"));
}

#[tokio::test]
async fn deleting_what_is_gone_is_done_and_changing_it_is_not() {
    let aws = Responder::start([("ListTagsForResource", vec![Reply::error("ResourceNotFoundFault")])]).await;
    let (dms, ours, leadership) = (&aws.aws.dms, ours(), lead().await);
    let permit = leadership.permit();
    dms.delete_instance(&permit, &ours, ARN).await.unwrap();
    dms.delete_endpoint(&permit, &ours, ARN).await.unwrap();
    dms.delete_task(&permit, &ours, ARN).await.unwrap();
    dms.delete_certificate(&permit, &ours, ARN).await.unwrap();
    let fault = dms.start_task(&permit, &ours, ARN, StartType::Resume).await.unwrap_err();
    assert!(matches!(fault, Fault::Unknown(_)));
}

#[tokio::test]
async fn a_new_instance_is_private_tagged_and_never_upgrades_itself() {
    let aws = Responder::start([("CreateReplicationInstance", vec![ok(json!({}))])]).await;
    let leadership = lead().await;
    let new = NewInstance {
        identifier: "i".into(),
        class: "dms.r6i.large".into(),
        storage_gib: 100,
        multi_az: true,
        engine_version: None,
        subnet_group: "g".into(),
        security_group_ids: vec!["sg-1".into()],
        kms_key_arn: None,
    };
    aws.aws.dms.create_instance(&leadership.permit(), &ours(), &new).await.unwrap();
    let body = aws.last("CreateReplicationInstance");
    assert_eq!(body["PubliclyAccessible"], false);
    assert_eq!(body["AutoMinorVersionUpgrade"], false);
    assert_eq!(body["MultiAZ"], true);
    assert!(body.get("EngineVersion").is_none() && body.get("KmsKeyId").is_none());
    assert_eq!(body["Tags"][0], json!({ "Key": "slipway.dev/uid", "Value": "u-1" }));
    assert_eq!(body["Tags"][1], json!({ "Key": "slipway.dev/resource", "Value": "bank/payments-db" }));
}

#[tokio::test]
async fn an_endpoint_is_made_strict_and_its_tag_follows_its_password() {
    let aws = Responder::start([
        ("CreateEndpoint", vec![ok(json!({}))]),
        ("ListTagsForResource", vec![tags("u-1")]),
        ("ModifyEndpoint", vec![ok(json!({}))]),
        ("AddTagsToResource", vec![ok(json!({}))]),
    ])
    .await;
    let (dms, ours, leadership) = (&aws.aws.dms, ours(), lead().await);
    let (permit, password) = (leadership.permit(), Secret::new("hunter2"));
    dms.create_endpoint(&permit, &ours, "e", &settings(), &password).await.unwrap();
    let body = aws.last("CreateEndpoint");
    assert_eq!((&body["Password"], &body["SslMode"]), (&json!("hunter2"), &json!("verify-full")));
    let expected = json!({
        "MapBooleanAsBoolean": true, "FailTasksOnLobTruncation": true, "CaptureDdls": false, "HeartbeatEnable": false,
        "AfterConnectScript": "SET session_replication_role='replica'",
    });
    assert_eq!(body["PostgreSQLSettings"], expected);
    assert_eq!(body["Tags"][2], json!({ "Key": "slipway.dev/secret-version", "Value": "v8" }));

    let source = EndpointSettings { side: Side::Source, ..settings() };
    dms.modify_endpoint(&permit, &ours, ARN, &source, &password).await.unwrap();
    let body = aws.last("ModifyEndpoint");
    assert_eq!(body["PostgreSQLSettings"]["PluginName"], "test-decoding");
    assert!(body["PostgreSQLSettings"].get("AfterConnectScript").is_none());
    assert_eq!(body["Password"], "hunter2");
    let operations = aws.operations();
    assert_eq!(operations[1..], ["ListTagsForResource", "ModifyEndpoint", "AddTagsToResource"]);
    assert_eq!(aws.last("AddTagsToResource")["Tags"][0]["Value"], "v8");
}

#[tokio::test]
async fn a_password_is_in_no_fault_whatever_aws_says() {
    let codes = ["InvalidParameterValueException", "AccessDeniedFault", "NobodyKnows"];
    for reply in codes.map(Reply::error).into_iter().chain([
        Reply::json(500, &json!({ "message": "LEAK hunter2" })),
        Reply::xml(200, "LEAK hunter2"),
        Reply::lost(),
    ]) {
        let aws = Responder::start([("CreateEndpoint", vec![reply])]).await;
        let leadership = lead().await;
        let password = Secret::new("hunter2");
        let made =
            aws.aws.dms.create_endpoint(&leadership.permit(), &ours(), "e", &settings(), &password).await;
        let fault = made.unwrap_err();
        assert!(fault.message().starts_with("CreateEndpoint e: "), "{fault}");
        assert!(!format!("{fault:?}").contains("hunter2"), "{fault}");
        assert!(!fault.message().contains("LEAK"), "{fault}");
    }
}

#[tokio::test]
async fn a_lost_answer_to_a_change_is_unknown_and_is_sent_once() {
    let aws = Responder::start([("CreateReplicationTask", vec![Reply::lost()])]).await;
    let leadership = lead().await;
    let new = NewTask {
        identifier: "t".into(),
        instance_arn: "arn:i".into(),
        source_endpoint_arn: "arn:s".into(),
        target_endpoint_arn: "arn:t".into(),
        table_mappings: "{}".into(),
        settings: "{}".into(),
    };
    let fault = aws.aws.dms.create_task(&leadership.permit(), &ours(), &new).await.unwrap_err();
    assert!(matches!(fault, Fault::Unknown(_)), "{fault:?}");
    assert_eq!(aws.operations(), ["CreateReplicationTask"]);
    assert_eq!(aws.last("CreateReplicationTask")["MigrationType"], "full-load-and-cdc");
    assert_eq!(aws.outcomes(), ["dms CreateReplicationTask unknown"]);
}

#[tokio::test]
async fn what_goes_away_between_two_reads_is_absent_and_nobodys() {
    let task =
        json!({ "ReplicationTaskIdentifier": "t", "ReplicationTaskArn": "arn:t", "Status": "deleting" });
    let aws = Responder::start([
        ("DescribeReplicationTasks", vec![ok(json!({ "ReplicationTasks": [task] }))]),
        ("ListTagsForResource", vec![Reply::error("ResourceNotFoundFault")]),
    ])
    .await;
    assert_eq!(aws.aws.dms.task("t", &ours()).await.unwrap(), None);
}
