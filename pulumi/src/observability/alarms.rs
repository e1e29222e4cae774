//! Alarms on what stands for as long as the environment does. Those of a single migration, its lag above all, belong to the
//! operator, which tells the same topic.

use std::collections::BTreeMap;

use super::Watched;
use crate::aws::{cloudwatch, sns};
use crate::names::ALARM;
use crate::pulumi::Output;
use crate::scope::Scope;

type Dimensions = BTreeMap<String, Output<String>>;

/// When something is wrong.
struct Wrong {
    part: &'static str,
    what: &'static str,
    metric: (&'static str, &'static str),
    statistic: &'static str,
    /// Above, or below.
    above: bool,
    threshold: f64,
    /// Minutes in a row.
    minutes: i64,
    /// Silence is a fault too.
    silence: bool,
}

const fn above(
    part: &'static str,
    what: &'static str,
    metric: (&'static str, &'static str),
    statistic: &'static str,
    threshold: f64,
) -> Wrong {
    Wrong { part, what, metric, statistic, above: true, threshold, minutes: 5, silence: false }
}

const fn below(
    part: &'static str,
    what: &'static str,
    metric: (&'static str, &'static str),
    statistic: &'static str,
    threshold: f64,
) -> Wrong {
    Wrong { above: false, ..above(part, what, metric, statistic, threshold) }
}

const GIB: f64 = 1_073_741_824.0;

const DATABASE: [Wrong; 4] = [
    above(
        "database-cpu",
        "The database's processors are busy",
        ("AWS/RDS", "CPUUtilization"),
        "Average",
        90.0,
    ),
    below(
        "database-storage",
        "The database's storage ends soon",
        ("AWS/RDS", "FreeStorageSpace"),
        "Minimum",
        10.0 * GIB,
    ),
    below(
        "database-memory",
        "The database's memory ends",
        ("AWS/RDS", "FreeableMemory"),
        "Minimum",
        0.2 * GIB,
    ),
    // A slot that nobody reads keeps the log until the storage is full.
    above(
        "database-slot",
        "A replication slot on the target keeps much of the log",
        ("AWS/RDS", "OldestReplicationSlotLag"),
        "Maximum",
        20.0 * GIB,
    ),
];

const REPLICATION: [Wrong; 3] = [
    above(
        "replication-cpu",
        "The replication instance's processors are busy",
        ("AWS/DMS", "CPUUtilization"),
        "Average",
        90.0,
    ),
    below(
        "replication-memory",
        "The replication instance's memory ends",
        ("AWS/DMS", "FreeableMemory"),
        "Minimum",
        0.5 * GIB,
    ),
    below(
        "replication-storage",
        "The replication instance's storage ends soon",
        ("AWS/DMS", "FreeStorageSpace"),
        "Minimum",
        5.0 * GIB,
    ),
];

const BALANCER: [Wrong; 1] = [above(
    "balancer-errors",
    "The load balancer itself answers with errors: no target does",
    ("AWS/ApplicationELB", "HTTPCode_ELB_5XX_Count"),
    "Sum",
    10.0,
)];

const TARGETS: [Wrong; 2] = [
    above(
        "targets-errors",
        "The fleet in AWS answers with errors",
        ("AWS/ApplicationELB", "HTTPCode_Target_5XX_Count"),
        "Sum",
        10.0,
    ),
    above(
        "targets-unhealthy",
        "A task of the application is not well",
        ("AWS/ApplicationELB", "UnHealthyHostCount"),
        "Maximum",
        0.0,
    ),
];

const SERVICE: [Wrong; 2] = [
    above(
        "service-cpu",
        "The application's processors are busy, at the most of tasks",
        ("AWS/ECS", "CPUUtilization"),
        "Average",
        85.0,
    ),
    above(
        "service-memory",
        "The application's memory ends",
        ("AWS/ECS", "MemoryUtilization"),
        "Average",
        85.0,
    ),
];

/// Both tunnels are down: on-premises is cut off.
const VPN: Wrong = Wrong {
    silence: true,
    ..below("vpn-down", "No tunnel of the VPN is up", ("AWS/VPN", "TunnelState"), "Maximum", 0.01)
};

pub(super) fn new(scope: &Scope, watched: &Watched, topic: &sns::Topic) {
    let of = |name: &str, value: Output<String>| BTreeMap::from([(name.to_owned(), value)]);
    let application = watched.application;
    let balancer = application.balancer.arn_suffix();
    let mut targets = of("LoadBalancer", balancer.clone());
    targets.insert("TargetGroup".to_owned(), application.targets.arn_suffix());
    let database = of("DBInstanceIdentifier", watched.database.instance.identifier());
    let replication =
        of("ReplicationInstanceIdentifier", watched.migration.instance.replication_instance_id());
    let all = |wrongs: &[Wrong], dimensions: &Dimensions| {
        for wrong in wrongs {
            alarm(scope, wrong, dimensions, topic);
        }
    };
    all(&DATABASE, &database);
    all(&REPLICATION, &replication);
    all(&BALANCER, &of("LoadBalancer", balancer));
    if let Some(it) = &application.service {
        let mut service = of("ServiceName", it.name());
        service.insert("ClusterName".to_owned(), application.cluster.name());
        all(&TARGETS, &targets);
        all(&SERVICE, &service);
    }
    if let Some(id) = &watched.vpn {
        all(&[VPN], &of("VpnId", id.clone()));
    }
}

fn alarm(scope: &Scope, wrong: &Wrong, dimensions: &Dimensions, topic: &sns::Topic) {
    let name = scope.part(&ALARM, wrong.part);
    let args = cloudwatch::MetricAlarmArgs::new()
        .name(name.as_str())
        .alarm_description(wrong.what)
        .namespace(wrong.metric.0)
        .metric_name(wrong.metric.1)
        .dimensions(dimensions.clone())
        .statistic(wrong.statistic)
        .comparison_operator(if wrong.above { "GreaterThanThreshold" } else { "LessThanThreshold" })
        .threshold(wrong.threshold)
        .period(60)
        .evaluation_periods(wrong.minutes)
        .datapoints_to_alarm(wrong.minutes)
        .treat_missing_data(if wrong.silence { "breaching" } else { "missing" })
        .alarm_actions(vec![topic.arn()])
        .ok_actions(vec![topic.arn()])
        .tags(scope.tags(&name));
    cloudwatch::MetricAlarm::new(scope.context(), &name, args, scope.named());
}
