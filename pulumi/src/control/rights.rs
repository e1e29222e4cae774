//! What Slipway may do at AWS: exactly the operations that it calls. A test compares this with its code and with its manual.
//!
//! What is there already may be looked at. What Slipway makes carries its tag, and of DMS it may change or delete nothing
//! without it: another team's task can't be stopped by mistake. A connection is tested, and a task made, on an instance that
//! is others'; tags are written before they are there. These are held to the account and region.

use serde_json::{Value, json};

/// On what an operation may be called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum On {
    /// Anything; IAM knows no narrower one, or reading does no harm.
    Everything,
    /// Databases of this account and region.
    Databases,
    /// What is DMS's in this account and region.
    Dms,
    /// Only with Slipway's tag in the request.
    NewInDms,
    /// Only what has Slipway's tag.
    OwnInDms,
    /// Alarms and dashboards of the operator in this environment, and their tags.
    Watches,
    /// Records of any zone: the name is a resource's, and its marker says whose it is.
    Zones,
    /// Changes of records.
    Changes,
    /// Services of ECS in this account and region.
    Services,
    /// Secrets by which applications find their database.
    ConnectionSecrets,
    /// The key of those, by way of Secrets Manager.
    SecretsKey,
}

/// Every operation, as IAM names it.
pub const RIGHTS: [(&str, On); 47] = [
    ("sts:GetCallerIdentity", On::Everything),
    ("rds:DescribeDBInstances", On::Databases),
    ("dms:DescribeReplicationSubnetGroups", On::Everything),
    ("dms:DescribeReplicationInstances", On::Everything),
    ("dms:DescribeCertificates", On::Everything),
    ("dms:DescribeEndpoints", On::Everything),
    ("dms:DescribeConnections", On::Everything),
    ("dms:DescribeReplicationTasks", On::Everything),
    ("dms:DescribeTableStatistics", On::Dms),
    ("dms:ListTagsForResource", On::Dms),
    ("dms:TestConnection", On::Dms),
    ("dms:CreateReplicationTask", On::Dms),
    ("dms:AddTagsToResource", On::Dms),
    ("dms:CreateReplicationSubnetGroup", On::NewInDms),
    ("dms:CreateReplicationInstance", On::NewInDms),
    ("dms:ImportCertificate", On::NewInDms),
    ("dms:CreateEndpoint", On::NewInDms),
    ("dms:ModifyEndpoint", On::OwnInDms),
    ("dms:StartReplicationTask", On::OwnInDms),
    ("dms:StopReplicationTask", On::OwnInDms),
    ("dms:DeleteReplicationTask", On::OwnInDms),
    ("dms:DeleteEndpoint", On::OwnInDms),
    ("dms:DeleteCertificate", On::OwnInDms),
    ("dms:DeleteReplicationInstance", On::OwnInDms),
    ("dms:DeleteReplicationSubnetGroup", On::OwnInDms),
    ("cloudwatch:DescribeAlarms", On::Everything),
    ("cloudwatch:GetMetricData", On::Everything),
    ("cloudwatch:PutMetricAlarm", On::Watches),
    ("cloudwatch:DeleteAlarms", On::Watches),
    ("cloudwatch:TagResource", On::Watches),
    ("cloudwatch:ListTagsForResource", On::Watches),
    ("cloudwatch:ListDashboards", On::Everything),
    ("cloudwatch:GetDashboard", On::Watches),
    ("cloudwatch:PutDashboard", On::Watches),
    ("cloudwatch:DeleteDashboards", On::Watches),
    ("route53:GetHostedZone", On::Zones),
    ("route53:ListResourceRecordSets", On::Zones),
    ("route53:ChangeResourceRecordSets", On::Zones),
    ("route53:GetChange", On::Changes),
    ("elasticloadbalancing:DescribeLoadBalancers", On::Everything),
    ("elasticloadbalancing:DescribeTargetGroups", On::Everything),
    ("elasticloadbalancing:DescribeTargetHealth", On::Everything),
    ("ecs:DescribeServices", On::Services),
    ("secretsmanager:GetSecretValue", On::ConnectionSecrets),
    ("secretsmanager:PutSecretValue", On::ConnectionSecrets),
    ("kms:Decrypt", On::SecretsKey),
    ("kms:GenerateDataKey", On::SecretsKey),
];

/// Slipway's tag on what it makes.
const OWN: &str = "slipway.dev/uid";

/// The policy, a statement for each thing that operations may be called on.
pub fn policy(region: &str, account: &str, suffix: &str, key: &str) -> Value {
    let all = [
        On::Everything,
        On::Databases,
        On::Dms,
        On::NewInDms,
        On::OwnInDms,
        On::Watches,
        On::Zones,
        On::Changes,
        On::Services,
        On::ConnectionSecrets,
        On::SecretsKey,
    ];
    let statements: Vec<Value> = all.iter().map(|&on| statement(on, region, account, suffix, key)).collect();
    json!({ "Version": "2012-10-17", "Statement": statements })
}

fn statement(on: On, region: &str, account: &str, suffix: &str, key: &str) -> Value {
    let actions: Vec<&str> = RIGHTS.iter().filter(|it| it.1 == on).map(|it| it.0).collect();
    let dms = format!("arn:aws:dms:{region}:{account}:*");
    let alarm = |head: &str| format!("arn:aws:cloudwatch:{region}:{account}:alarm:{head}-*-{suffix}");
    let (resource, condition) = match on {
        On::Everything => (json!("*"), None),
        On::Databases => (json!(format!("arn:aws:rds:{region}:{account}:db:*")), None),
        On::Dms => (json!(dms), None),
        On::NewInDms => (json!(dms), Some(json!({ "Null": { format!("aws:RequestTag/{OWN}"): "false" } }))),
        On::OwnInDms => (json!(dms), Some(json!({ "Null": { format!("aws:ResourceTag/{OWN}"): "false" } }))),
        On::Watches => {
            // Dashboards belong to no region.
            let dashboards = format!("arn:aws:cloudwatch::{account}:dashboard/dashboard-*-{suffix}");
            let alarms = ["alarm-dms", "alarm-target", "alarm-unhealthy-hosts"].map(alarm);
            (json!([alarms[0], alarms[1], alarms[2], dashboards]), None)
        }
        On::Zones => (json!("arn:aws:route53:::hostedzone/*"), None),
        On::Changes => (json!("arn:aws:route53:::change/*"), None),
        On::Services => (json!(format!("arn:aws:ecs:{region}:{account}:service/*")), None),
        On::ConnectionSecrets => (
            json!(format!(
                "arn:aws:secretsmanager:{region}:{account}:secret:secret-connection-*-{suffix}-??????"
            )),
            None,
        ),
        On::SecretsKey => (
            json!(key),
            Some(
                json!({ "StringEquals": { "kms:ViaService": format!("secretsmanager.{region}.amazonaws.com") } }),
            ),
        ),
    };
    let mut statement =
        json!({ "Sid": format!("{on:?}"), "Effect": "Allow", "Action": actions, "Resource": resource });
    if let Some(condition) = condition {
        statement["Condition"] = condition;
    }
    statement
}
