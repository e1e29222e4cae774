//! What is seen, and who is told: alarms and their topic, a dashboard, and the trail of all calls to AWS.
//!
//! Log groups stand with what writes to them, so that they are there first.

use serde_json::json;

use crate::application::Application;
use crate::aws::{cloudtrail, sns};
use crate::bucket::{self, Encryption};
use crate::control::Control;
use crate::database::Database;
use crate::keys::Keys;
use crate::migration::Migration;
use crate::names::{SUBSCRIPTION, TOPIC, TOPIC_POLICY, TRAIL};
use crate::pulumi::{Fields, Node, Output};
use crate::scope::{Ground, Scope};

mod alarms;
mod dashboard;

/// What is seen.
pub struct Observability {
    /// Where alarms tell.
    pub topic: sns::Topic,
}

/// Whose figures are looked at.
pub struct Watched<'a> {
    /// The database.
    pub database: &'a Database,
    /// The replication instance.
    pub migration: &'a Migration,
    /// The application.
    pub application: &'a Application,
    /// The control cluster.
    pub control: &'a Control,
    /// The VPN, if there is one.
    pub vpn: Option<Output<String>>,
}

impl Observability {
    /// Makes it.
    pub fn new(ground: &Ground, watched: &Watched, keys: &Keys) -> Self {
        let scope = ground.component("observability");
        let topic = topic(&scope, keys);
        trail(&scope, keys);
        alarms::new(&scope, watched, &topic);
        dashboard::new(&scope, watched);
        scope.end(Fields::from([("topicArn".to_owned(), Node::from(topic.arn()))]));
        Self { topic }
    }
}

fn topic(scope: &Scope, keys: &Keys) -> sns::Topic {
    let name = scope.part(&TOPIC, "alerts");
    let args =
        sns::TopicArgs::new().name(name.as_str()).kms_master_key_id(keys.alerts.id()).tags(scope.tags(&name));
    let topic = sns::Topic::new(scope.context(), &name, args, scope.named());
    let policy = topic.arn().zip(scope.account()).map(|(topic, account): (String, String)| {
        json!({ "Version": "2012-10-17", "Statement": [
            {
                "Sid": "AlarmsOfThisAccount",
                "Effect": "Allow",
                "Principal": { "Service": "cloudwatch.amazonaws.com" },
                "Action": "sns:Publish",
                "Resource": topic,
                "Condition": { "StringEquals": { "aws:SourceAccount": account } },
            },
            {
                "Sid": "TlsOnly",
                "Effect": "Deny",
                "Principal": "*",
                "Action": "sns:Publish",
                "Resource": topic,
                "Condition": { "Bool": { "aws:SecureTransport": "false" } },
            },
        ] })
        .to_string()
    });
    let args = sns::TopicPolicyArgs::new(sns::TopicPolicyRequired {
        arn: topic.arn().into(),
        policy: policy.into(),
    });
    sns::TopicPolicy::new(scope.context(), &scope.part(&TOPIC_POLICY, "alerts"), args, scope.options());
    if let Some(address) = &scope.config().alert_email {
        let args = sns::TopicSubscriptionArgs::new(sns::TopicSubscriptionRequired {
            endpoint: address.as_str().into(),
            protocol: "email".into(),
            topic: topic.arn().into(),
        });
        sns::TopicSubscription::new(
            scope.context(),
            &scope.part(&SUBSCRIPTION, "email"),
            args,
            scope.options(),
        );
    }
    topic
}

/// Every call to AWS's APIs in this account, in all regions, in files whose change would show. The bucket has no object lock:
/// a lock would outlive `pulumi destroy`.
fn trail(scope: &Scope, keys: &Keys) {
    let name = scope.name(&TRAIL);
    let region = scope.config().region.clone();
    let of_trail = name.clone();
    let files = bucket::new(scope, "trail", Encryption::Key(keys.trail.arn()), move |bucket, account| {
        let trail = format!("arn:aws:cloudtrail:{region}:{account}:trail/{of_trail}");
        vec![
            json!({
                "Sid": "TrailLooks",
                "Effect": "Allow",
                "Principal": { "Service": "cloudtrail.amazonaws.com" },
                "Action": "s3:GetBucketAcl",
                "Resource": bucket,
                "Condition": { "StringEquals": { "aws:SourceArn": trail } },
            }),
            json!({
                "Sid": "TrailWrites",
                "Effect": "Allow",
                "Principal": { "Service": "cloudtrail.amazonaws.com" },
                "Action": "s3:PutObject",
                "Resource": format!("{bucket}/AWSLogs/{account}/*"),
                "Condition": { "StringEquals": {
                    "aws:SourceArn": trail,
                    "s3:x-amz-acl": "bucket-owner-full-control",
                } },
            }),
        ]
    });
    let logs = scope.log_group("trail", keys);
    let role = scope.service_role("trail", "cloudtrail.amazonaws.com");
    let policy = logs.arn().map(|logs: String| {
        json!({ "Version": "2012-10-17", "Statement": [{
            "Effect": "Allow",
            "Action": ["logs:CreateLogStream", "logs:PutLogEvents"],
            "Resource": format!("{logs}:log-stream:*"),
        }] })
        .to_string()
    });
    let rights = scope.rights("trail", &role, policy);
    let args = cloudtrail::TrailArgs::new(cloudtrail::TrailRequired { s3_bucket_name: (&files.name).into() })
        .name(name.as_str())
        .is_multi_region_trail(true)
        .include_global_service_events(true)
        .enable_log_file_validation(true)
        .enable_logging(true)
        .kms_key_id(keys.trail.arn())
        .cloud_watch_logs_group_arn(logs.arn().map(|it: String| format!("{it}:*")))
        .cloud_watch_logs_role_arn(role.arn())
        .tags(scope.tags(&name));
    let options = scope.named().after(&files.ready).after([rights.resource()]);
    cloudtrail::Trail::new(scope.context(), &name, args, options);
}
