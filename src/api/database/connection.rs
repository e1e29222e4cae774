//! How applications find the writer.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use crate::api::form;

/// How applications find the writer.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("[has(self.record), has(self.secret), has(self.multiHost)].filter(x, x).size() == 1").message("spec.cutover.connection: exactly one of record, secret and multiHost"))]
pub struct ConnectionBy {
    /// By a CNAME of theirs that leads to the source until the cutover. TLS verify-full fails through it unless the target's
    /// certificate carries the name; RDS certificates do not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub record: Option<ConnectionRecord>,
    /// By a secret in AWS Secrets Manager that they read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<ConnectionSecret>,
    /// Their driver lists both hosts and goes on to the next one that lets it log in, as pgJDBC does (libpq does not).
    /// The fence itself is the switch; nothing is moved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub multi_host: Option<MultiHost>,
}

/// A CNAME in a hosted zone of the operator's account. It is there before, and leads to the source's host.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ConnectionRecord {
    /// The hosted zone.
    #[serde(rename = "zoneID")]
    #[schemars(length(max = 32), regex(pattern = r"^Z[A-Z0-9]+$"))]
    pub zone_id: String,
    /// The name, in lower case and without a dot at the end. Short enough for the marker beside it, slipway.NAME.
    #[schemars(length(min = 1, max = 245), regex(pattern = form::RECORD))]
    pub name: String,
    /// Seconds for which resolvers may keep an answer, from well before the cutover on. A record that has less keeps it.
    #[serde(default = "record_ttl")]
    #[schemars(range(min = 1, max = 60), extend("format" = "int32"))]
    pub ttl_seconds: u32,
}

fn record_ttl() -> u32 {
    5
}

/// A secret in AWS Secrets Manager.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ConnectionSecret {
    /// Its ARN. Its value is a JSON object; the operator writes the keys host, port and dbname and keeps all others.
    #[serde(rename = "secretARN")]
    #[schemars(
        length(max = 512),
        regex(pattern = r"^arn:aws[a-z-]*:secretsmanager:[a-z0-9-]+:[0-9]{12}:secret:[A-Za-z0-9/_+=.@-]+$")
    )]
    pub secret_arn: String,
}

/// Nothing to say: the driver's list of hosts is the application's own.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MultiHost {}
