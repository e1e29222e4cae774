//! The table of codes, through the real client.

#![allow(clippy::unwrap_used, clippy::panic)]

use serde_json::json;

use crate::api::condition::Reason;
use crate::aws::Ownership;
use crate::aws::responder::{Reply, Responder, config, lead};
use crate::aws::{Aws, CallObserver};
use crate::fault::Fault;

struct Nobody;
impl CallObserver for Nobody {
    fn called(&self, _: &'static str, _: &'static str, _: &'static str) {}
}

fn nobody() -> std::sync::Arc<dyn CallObserver> {
    std::sync::Arc::new(Nobody)
}

fn new(config: &aws_config::SdkConfig) -> Aws {
    Aws::new(config, &nobody(), std::sync::Arc::new(crate::aws::limit::route53()))
}

/// What a code must become when a subnet group is made.
async fn made(reply: Reply) -> Fault {
    let aws = Responder::start([("CreateReplicationSubnetGroup", vec![reply])]).await;
    let leadership = lead().await;
    let ours = Ownership { uid: "u".into(), resource: "bank/payments-db".into() };
    aws.aws.dms.create_subnet_group(&leadership.permit(), &ours, "g", &[]).await.unwrap_err()
}

#[tokio::test]
async fn each_code_says_what_now() {
    let table = [
        ("ThrottlingException", "again", "throttling"),
        ("Throttling", "again", "throttling"),
        ("RequestLimitExceeded", "again", "throttling"),
        ("KMSThrottlingFault", "again", "throttling"),
        ("ExpiredTokenException", "again", "credentials"),
        ("InvalidClientTokenId", "again", "credentials"),
        ("InsufficientResourceCapacityFault", "again", "capacity"),
        ("InvalidResourceStateFault", "wait", "earlier step"),
        ("ResourceAlreadyExistsFault", "unknown", "whose it is"),
        ("ResourceNotFoundFault", "unknown", "not there"),
        ("AccessDeniedFault", "AccessDenied", "dms:CreateReplicationSubnetGroup"),
        ("AccessDeniedFault", "AccessDenied", "dms-vpc-role"),
        ("AccessDeniedException", "AccessDenied", "dms:CreateReplicationSubnetGroup"),
        ("KMSAccessDeniedFault", "AccessDenied", "kmsKeyARN"),
        ("ResourceQuotaExceededFault", "QuotaExceeded", "Service Quotas"),
        ("StorageQuotaExceededFault", "QuotaExceeded", "storageGiB"),
        ("InvalidParameterValueException", "RequestRefused", "managed.subnetIDs"),
        ("InvalidParameterCombinationException", "RequestRefused", "managed.subnetIDs"),
        ("InvalidSubnet", "RequestRefused", "managed.subnetIDs"),
        ("SubnetAlreadyInUse", "RequestRefused", "managed.subnetIDs"),
        ("ReplicationSubnetGroupDoesNotCoverEnoughAZs", "RequestRefused", "two availability zones"),
        ("KMSKeyNotAccessibleFault", "RequestRefused", "kmsKeyARN"),
        ("InvalidCertificateFault", "RequestRefused", "caRef"),
        ("SNSInvalidTopicFault", "RequestRefused", "snsTopicARN"),
        ("NobodyKnowsThis", "again", "does not know"),
    ];
    for (code, expected, says) in table {
        let fault = made(Reply::error(code)).await;
        let class = match &fault {
            Fault::Blocked(blocked) => blocked.reason.as_str(),
            other => other.class(),
        };
        assert_eq!(class, expected, "{code}: {fault}");
        assert!(fault.message().contains(says), "{code}: {fault}");
        let head = format!("CreateReplicationSubnetGroup g: {code} (client error, request 1234-abcd): ");
        assert!(fault.message().starts_with(&head), "{fault}");
        assert!(!fault.message().contains("LEAK"), "{fault}");
    }
}

#[tokio::test]
async fn a_server_error_is_tried_again_whatever_its_code() {
    for reply in [
        Reply::json(500, &json!({ "__type": "AccessDeniedFault" })),
        Reply::json(503, &json!({ "__type": "ServiceUnavailable" })),
        Reply::xml(502, "<html>Bad gateway</html>"),
    ] {
        let fault = made(reply).await;
        assert!(matches!(fault, Fault::Again(_)), "{fault:?}");
    }
}

#[tokio::test]
async fn an_answer_that_is_lost_or_unreadable_matters_to_changes_only() {
    for reply in [Reply::lost(), Reply::xml(200, "not JSON")] {
        let fault = made(reply.clone()).await;
        assert!(matches!(&fault, Fault::Unknown(m) if m.contains("may have been carried out")), "{fault:?}");
        let aws = Responder::start([("DescribeTableStatistics", vec![reply])]).await;
        let fault = aws.aws.dms.table_statistics("arn:task").await.unwrap_err();
        assert!(matches!(fault, Fault::Again(_)), "{fault:?}");
    }
}

#[tokio::test]
async fn a_refused_connection_was_never_a_request() {
    // Bound and closed again: nobody listens there.
    let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let aws = new(&config(&format!("http://{address}")));
    let leadership = lead().await;
    let ours = Ownership { uid: "u".into(), resource: "bank/payments-db".into() };
    let made = aws.dms.create_subnet_group(&leadership.permit(), &ours, "g", &[]).await;
    let fault = made.unwrap_err();
    assert!(matches!(&fault, Fault::Again(m) if m.contains("connection was refused")), "{fault:?}");
}

#[tokio::test]
async fn a_role_that_can_not_be_assumed_is_for_a_person_to_mend() {
    let denied = "<ErrorResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><Error><Type>Sender</Type>\
                  <Code>AccessDenied</Code><Message>LEAK</Message></Error></ErrorResponse>";
    let aws = Responder::start([("AssumeRole", vec![Reply::xml(403, denied)])]).await;
    let credentials = aws_credential_types::Credentials::new("AKIATEST", "test", None, None, "test");
    let base = aws_config::defaults(aws_config::BehaviorVersion::latest())
        .region("eu-central-1")
        .endpoint_url(aws.url())
        .retry_config(aws_config::retry::RetryConfig::disabled())
        .credentials_provider(credentials);
    let base = Box::pin(base.load()).await;
    let role = aws_config::sts::AssumeRoleProvider::builder("arn:aws:iam::123456789012:role/slipway");
    let role = Box::pin(role.session_name("slipway").configure(&base).build()).await;
    let role = aws_credential_types::provider::SharedCredentialsProvider::new(role);
    let config = base.into_builder().credentials_provider(role).build();
    let assumed = new(&config);
    let fault = assumed.dms.table_statistics("arn:task").await.unwrap_err();
    let Fault::Blocked(blocked) = &fault else { panic!("{fault:?}") };
    assert_eq!(blocked.reason, Reason::AccessDenied);
    assert!(blocked.message.contains("sts:AssumeRole") && !blocked.message.contains("LEAK"));
}
