//! `ApplicationMigration`: one application's traffic, moved to AWS by Route 53 weights.

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::form;

mod gate;
mod status;
mod traffic;

pub use gate::*;
pub use status::*;
pub use traffic::*;

/// One application's traffic, moved to AWS by Route 53 weights. `spec.goal` and `spec.traffic.maxWeight` say how far it may
/// go; the operator walks there and reports in the status.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "slipway.dev",
    version = "v1alpha1",
    kind = "ApplicationMigration",
    plural = "applicationmigrations",
    singular = "applicationmigration",
    shortname = "appmigration",
    shortname = "appm",
    category = "migrations",
    namespaced,
    status = "ApplicationMigrationStatus",
    derive = "PartialEq",
    doc = "One application's traffic, moved to AWS by Route 53 weights. Move spec.goal and spec.traffic.maxWeight to say how far; watch the status.",
    selectable = ".spec.goal",
    selectable = ".spec.database.migrationRef.name",
    printcolumn(name = "Phase", type_ = "string", json_path = ".status.phase"),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].status"),
    printcolumn(name = "Step", type_ = "string", json_path = ".status.traffic.stepSummary"),
    printcolumn(name = "Weight", type_ = "integer", json_path = ".status.traffic.weight"),
    printcolumn(name = "Writer", type_ = "string", json_path = ".status.writer"),
    printcolumn(name = "Gates", type_ = "string", json_path = ".status.gateSummary"),
    printcolumn(name = "Rollback", type_ = "string", json_path = ".status.rollback.mode"),
    printcolumn(name = "Next", type_ = "string", json_path = ".status.next"),
    printcolumn(name = "Goal", type_ = "string", json_path = ".spec.goal", priority = 1),
    printcolumn(name = "Max", type_ = "integer", json_path = ".spec.traffic.maxWeight", priority = 1),
    printcolumn(name = "Observed", type_ = "date", json_path = ".status.observedAt", priority = 1),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    validation = Rule::new("self.metadata.name.matches('^[a-z0-9]([a-z0-9]|-[a-z0-9])*$') && size(self.metadata.name) + size(self.spec.environmentSuffix) <= 40").message("metadata.name: lower case letters, digits and single hyphens, and with environmentSuffix at most 40 characters"),
    validation = Rule::new("self.spec.goal == oldSelf.spec.goal || self.spec.goal != 'Plan' || !has(oldSelf.status) || !has(oldSelf.status.provisionedAt)").message("spec.goal: cannot return to Plan once something was staged; Stage takes all traffic back, suspend stops, deleting the resource gives up"),
    validation = Rule::new("self.spec.goal == oldSelf.spec.goal || self.spec.goal == 'Finish' || !has(oldSelf.status) || !has(oldSelf.status.pointOfNoReturnAt)").message("spec.goal: the way back was removed (status.pointOfNoReturnAt); only Finish is possible"),
    validation = Rule::new("!has(oldSelf.status) || !has(oldSelf.status.provisionedAt) || (self.spec.target == oldSelf.spec.target && self.spec.traffic.route53.zoneID == oldSelf.spec.traffic.route53.zoneID && self.spec.traffic.route53.name == oldSelf.spec.traffic.route53.name && self.spec.database == oldSelf.spec.database && has(self.spec.source.hostname) == has(oldSelf.spec.source.hostname))").message("spec.target, spec.database, the record's zone and name, and whether the source has addresses or a hostname cannot change once something was staged; delete this resource at weight 0 and make another"),
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.gates) || self.traffic.steps.all(s, !has(s.gates) || s.gates.all(g, self.gates.exists(x, x.name == g)))").message("spec.traffic.steps: a step names a gate that spec.gates does not define; define it, or take its name out"))]
#[x_kube(validation = Rule::new("has(self.gates) || self.traffic.steps.all(s, !has(s.gates) || size(s.gates) == 0)").message("spec.traffic.steps: a step names a gate and spec.gates is missing; define it, or take its name out"))]
#[x_kube(validation = Rule::new("self.database.type == 'Migration' || !has(self.gates) || self.gates.all(g, !has(g.databaseLag) && !has(g.databaseVerified) && !has(g.sql))").message("spec.gates: databaseLag, databaseVerified and sql need spec.database.type Migration; use another gate, or name the DatabaseMigration"))]
pub struct ApplicationMigrationSpec {
    /// How far the migration may go: Plan changes nothing and lists in status.plan what would be done; Stage prepares both
    /// sides and the records, with all traffic at the source; Shift moves traffic by spec.traffic.steps up to maxWeight;
    /// Finish replaces the weighted records by one that leads to the target, and with them the way back. Required, no
    /// default: a line lost from Git must never mean "go back".
    pub goal: Goal,

    /// Which attempt this is. One that the operator gave up by itself stays given up (status.latch), whatever Git says,
    /// until this exceeds the latch's attempt. A higher one also takes back records that somebody else changed. A lower
    /// value is accepted and means nothing, so that a git revert always applies.
    #[serde(default = "first_attempt")]
    #[schemars(range(min = 1, max = 10_000))]
    pub attempt: i32,

    /// The emergency brake: while it is not less than attempt, all traffic goes back to the source and stays there. Set it
    /// with kubectl and leave it out of Git: a sync does not remove a field that Git never had.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10_000))]
    pub abort_attempt: Option<i32>,

    /// True: traffic goes no further. Gates are judged and ways back are taken all the same. Leave it out of Git, so that
    /// a sync does not undo it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suspend: Option<bool>,

    /// Ends the name of every AWS resource made for this migration, as in alarm-target-5xx-payments-api-dev. Lower case
    /// letters, digits and single hyphens. Cannot be changed.
    #[x_kube(validation = Rule::new("self == oldSelf").message("environmentSuffix is immutable"))]
    #[schemars(length(min = 1, max = 20), regex(pattern = r"^[a-z0-9]([a-z0-9]|-[a-z0-9])*$"))]
    pub environment_suffix: String,

    /// Where the application keeps its data.
    pub database: Database,

    /// The application as it is today.
    pub source: Source,

    /// The application on AWS.
    pub target: Target,

    /// How traffic moves.
    pub traffic: Traffic,

    /// What must hold for traffic to stay and to go further.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".to_owned()]))]
    pub gates: Vec<Gate>,

    /// CloudWatch alarms and a dashboard for this migration. None are made if this is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alarms: Option<Alarms>,

    /// What deleting this resource does. It never moves traffic. Delete, while all traffic goes to the source: the record
    /// that stood before is restored, and alarms and dashboard are removed; with traffic at the target it is held. Retain
    /// leaves everything as it is.
    #[serde(default)]
    pub deletion_policy: DeletionPolicy,
}

/// How far a migration may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Goal {
    /// Change nothing; list what would be done.
    Plan,
    /// Prepare; all traffic stays at the source.
    Stage,
    /// Move traffic, by steps.
    Shift,
    /// Leave the target alone with the name, without a way back.
    Finish,
}

fn first_attempt() -> i32 {
    1
}

/// What deleting the resource does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum DeletionPolicy {
    /// Restore what stood before and remove what the operator made.
    #[default]
    Delete,
    /// Leave everything.
    Retain,
}

/// Where the application keeps its data. Migration: both sides follow that `DatabaseMigration`'s connection. Shared: one
/// database that does not move. None: its author declares that it holds no data.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("(self.type == 'Migration') == has(self.migrationRef)").message("spec.database: migrationRef is needed for type Migration and forbidden otherwise"))]
pub struct Database {
    /// Migration, Shared or None.
    #[serde(rename = "type")]
    pub kind: DatabaseKind,
    /// The `DatabaseMigration` of this namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub migration_ref: Option<MigrationRef>,
}

/// Where the data is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum DatabaseKind {
    /// In a database that a `DatabaseMigration` carries.
    Migration,
    /// In one that both sides use and that does not move.
    Shared,
    /// There is none.
    None,
}

/// A `DatabaseMigration` of the resource's own namespace.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MigrationRef {
    /// Its name.
    #[schemars(length(min = 1, max = 63), regex(pattern = form::OBJECT_NAME))]
    pub name: String,
}

/// The application as it is today.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.ipv4Addresses) != has(self.hostname)").message("spec.source: exactly one of ipv4Addresses and hostname"))]
pub struct Source {
    /// Its addresses, exactly those that the name answers today; the record is then of type A.
    #[serde(default, rename = "ipv4Addresses", skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 8), inner(length(max = 15), regex(pattern = form::IPV4)))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    #[x_kube(validation = Rule::new("self.all(a, !a.matches('^(0|169[.]254|22[4-9]|2[3-5][0-9])([.][0-9]+)+$'))").message("spec.source.ipv4Addresses: link-local, multicast and metadata addresses are refused; use the application's own"))]
    pub ipv4_addresses: Option<Vec<String>>,
    /// The host name that the name leads to today; the record is then of type CNAME, which a zone's own name can't have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = form::LOWER_HOST))]
    #[x_kube(validation = Rule::new("!self.matches('(^|[.])(0x[0-9a-f]*|[0-9]+)$') && !self.matches('^(metadata([.]google[.]internal)?|instance-data([.]ec2[.]internal)?)$')").message("spec.source.hostname: a name, not an address and not the cloud's metadata; addresses belong into ipv4Addresses"))]
    pub hostname: Option<String>,
    /// How its health is seen.
    pub health_check: HealthCheck,
}

/// How health is seen: a GET from the operator, answered with 2xx or 3xx. The same on both sides, as clients ask them, since
/// a name leads to addresses and not to ports; the target is asked through its load balancer.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HealthCheck {
    /// HTTPS is verified against the machine's certificate authorities, for the record's name.
    #[serde(default)]
    pub protocol: Protocol,
    /// TCP port that clients use, on either side.
    #[serde(default = "https_port")]
    #[schemars(range(min = 1, max = 65535), extend("format" = "int32"))]
    pub port: u16,
    /// Path, and no more: no host, no fragment.
    #[schemars(length(min = 1, max = 255), regex(pattern = form::PATH))]
    pub path: String,
}

fn https_port() -> u16 {
    443
}

/// How a path is asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Protocol {
    /// In the clear.
    #[serde(rename = "HTTP")]
    Http,
    /// Over verified TLS.
    #[default]
    #[serde(rename = "HTTPS")]
    Https,
}

/// The application on AWS: an ECS service behind an application load balancer.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Target {
    /// The load balancer that the name is to lead to.
    #[serde(rename = "loadBalancerARN")]
    #[schemars(
        length(max = 512),
        regex(
            pattern = r"^arn:aws[a-z-]*:elasticloadbalancing:[a-z0-9-]+:[0-9]{12}:loadbalancer/app/[A-Za-z0-9/-]+$"
        )
    )]
    pub load_balancer_arn: String,
    /// Its target group.
    #[serde(rename = "targetGroupARN")]
    #[schemars(
        length(max = 512),
        regex(
            pattern = r"^arn:aws[a-z-]*:elasticloadbalancing:[a-z0-9-]+:[0-9]{12}:targetgroup/[A-Za-z0-9/-]+$"
        )
    )]
    pub target_group_arn: String,
    /// The service whose tasks are the targets.
    pub ecs_service: EcsService,
}

/// An ECS service.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EcsService {
    /// Name or ARN of its cluster.
    #[schemars(length(min = 1, max = 255), regex(pattern = r"^[A-Za-z0-9:/_-]+$"))]
    pub cluster: String,
    /// Its name.
    #[schemars(length(min = 1, max = 255), regex(pattern = r"^[A-Za-z0-9:/_-]+$"))]
    pub service: String,
}

/// CloudWatch alarms of the target (server errors, latency, unhealthy hosts), and a dashboard.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Alarms {
    /// The SNS topic they notify.
    #[serde(rename = "snsTopicARN")]
    #[schemars(
        length(max = 256),
        regex(pattern = r"^arn:aws[a-z-]*:sns:[a-z0-9-]+:[0-9]{12}:[A-Za-z0-9_.-]+$")
    )]
    pub sns_topic_arn: String,
    /// Answers of the target with 5xx within a minute above which the alarm rings.
    #[serde(default = "server_errors")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub max_server_errors_per_minute: i32,
    /// Time that 99 of 100 answers of the target stay below, or the alarm rings after three minutes, as 2s.
    #[serde(default = "p99_latency", rename = "maxP99Latency")]
    #[x_kube(validation = Rule::new("duration(self) > duration('0s')").message("spec.alarms.maxP99Latency must be longer than nothing"))]
    #[schemars(length(max = 16), regex(pattern = form::DURATION))]
    pub max_p99_latency: String,
}

fn server_errors() -> i32 {
    10
}

fn p99_latency() -> String {
    "2s".to_owned()
}
