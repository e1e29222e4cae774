//! Keys: one for each kind of thing that is encrypted, so that who may read a log may not therefore read the database.
//!
//! AWS deletes a key 7 days after it was told to, at the soonest; until then nothing is charged for it.

use serde_json::{Value, json};

use crate::aws::kms;
use crate::names::{KMS_KEY, TRAIL, log_groups};
use crate::pulumi::{Fields, Node, Output};
use crate::scope::{Ground, Scope};

/// The keys.
pub struct Keys {
    /// For the database, its backups and its figures.
    pub database: kms::Key,
    /// For log groups.
    pub logs: kms::Key,
    /// For secrets, Kubernetes' too.
    pub secrets: kms::Key,
    /// For alerts on their way.
    pub alerts: kms::Key,
    /// For the trail of all calls to AWS.
    pub trail: kms::Key,
}

impl Keys {
    /// Makes them.
    pub fn new(ground: &Ground) -> Self {
        let scope = ground.component("keys");
        let (region, suffix) = (scope.config().region.clone(), scope.config().suffix.clone());
        let plain = scope.account().map(|account| policy(&account, &[]));
        let logs =
            scope.account().map(move |account| policy(&account, &[for_logs(&region, &account, &suffix)]));
        let alerts = scope.account().map(|account| policy(&account, &[for_alarms(&account)]));
        let (region, suffix) = (scope.config().region.clone(), scope.config().suffix.clone());
        let trail = scope
            .account()
            .map(move |account| policy(&account, &[for_trail(&region, &account, &TRAIL.name(&suffix))]));
        let keys = Self {
            alerts: key(&scope, "alerts", "Alerts on their way", alerts),
            trail: key(&scope, "trail", "The trail of all calls to AWS", trail),
            database: key(&scope, "database", "The database, its backups and its figures", plain.clone()),
            logs: key(&scope, "logs", "Log groups", logs),
            secrets: key(&scope, "secrets", "Secrets", plain),
        };
        let outputs = [
            ("database", &keys.database),
            ("logs", &keys.logs),
            ("secrets", &keys.secrets),
            ("alerts", &keys.alerts),
            ("trail", &keys.trail),
        ];
        scope.end(Fields::from(outputs.map(|(word, key)| (word.to_owned(), Node::from(key.arn())))));
        keys
    }
}

fn key(scope: &Scope, word: &str, what: &str, policy: Output<String>) -> kms::Key {
    let name = scope.part(&KMS_KEY, word);
    let args = kms::KeyArgs::new()
        .description(what)
        .enable_key_rotation(true)
        .deletion_window_in_days(7)
        .policy(policy)
        .tags(scope.tags(&name));
    let key = kms::Key::new(scope.context(), &name, args, scope.options());
    let alias = kms::AliasArgs::new(kms::AliasRequired { target_key_id: key.id().into() })
        .name(format!("alias/{name}"));
    kms::Alias::new(scope.context(), &name, alias, scope.named());
    key
}

/// The account decides by its own IAM policies; a service may use the key only for what `statements` say.
fn policy(account: &str, statements: &[Value]) -> String {
    let owner = json!({
        "Sid": "AccountDecidesByIam",
        "Effect": "Allow",
        "Principal": { "AWS": format!("arn:aws:iam::{account}:root") },
        "Action": "kms:*",
        "Resource": "*",
    });
    let statements: Vec<&Value> = std::iter::once(&owner).chain(statements).collect();
    json!({ "Version": "2012-10-17", "Statement": statements }).to_string()
}

/// CloudWatch Logs, for this environment's groups and no others.
fn for_logs(region: &str, account: &str, suffix: &str) -> Value {
    let groups = log_groups(suffix).map(|it| format!("arn:aws:logs:{region}:{account}:log-group:{it}"));
    json!({
        "Sid": "LogGroupsOfThisEnvironment",
        "Effect": "Allow",
        "Principal": { "Service": format!("logs.{region}.amazonaws.com") },
        "Action": ["kms:Encrypt", "kms:Decrypt", "kms:ReEncrypt*", "kms:GenerateDataKey*", "kms:DescribeKey"],
        "Resource": "*",
        "Condition": { "ArnLike": { "kms:EncryptionContext:aws:logs:arn": groups } },
    })
}

/// CloudWatch, for what this account's alarms tell.
fn for_alarms(account: &str) -> Value {
    json!({
        "Sid": "AlarmsOfThisAccount",
        "Effect": "Allow",
        "Principal": { "Service": "cloudwatch.amazonaws.com" },
        "Action": ["kms:Decrypt", "kms:GenerateDataKey*"],
        "Resource": "*",
        "Condition": { "StringEquals": { "aws:SourceAccount": account } },
    })
}

/// CloudTrail, for this environment's trail and no other.
fn for_trail(region: &str, account: &str, trail: &str) -> Value {
    json!({
        "Sid": "TrailOfThisEnvironment",
        "Effect": "Allow",
        "Principal": { "Service": "cloudtrail.amazonaws.com" },
        "Action": ["kms:GenerateDataKey*", "kms:DescribeKey"],
        "Resource": "*",
        "Condition": { "StringEquals": {
            "aws:SourceArn": format!("arn:aws:cloudtrail:{region}:{account}:trail/{trail}"),
        } },
    })
}
