//! What AWS should have: computed from goal and observation, compared with what is there.

use crate::aws::cloudwatch::{self, Alarm, Comparison, MissingData, Statistic};
use crate::aws::dms::{EndpointSettings, Instance, Task};
use crate::database::goal::Goal;
use crate::database::seen::{AwsSeen, Seen};
use crate::postgres::{Table, TableKind};
use crate::side::Side;

/// The certificate of a side: its identifier, once the authority is known.
pub fn certificate(goal: &Goal, seen: &Seen, side: Side) -> Option<String> {
    let material = seen.material.get(side).as_ref().ok()?;
    Some(goal.names.certificate(side, &material.ca_fingerprint))
}

/// What a side's endpoint should be, once everything it needs is known.
pub fn endpoint(goal: &Goal, seen: &Seen, aws: &AwsSeen, side: Side) -> Option<EndpointSettings> {
    let material = seen.material.get(side).as_ref().ok()?;
    let (host, port) = seen.address.get(side).as_ref().ok()?.clone();
    let identifier = certificate(goal, seen, side)?;
    let certificate = aws.certificates.iter().find(|c| c.identifier == identifier)?;
    let wish = goal.sides.get(side);
    Some(EndpointSettings {
        side,
        host,
        port,
        database: wish.database.clone(),
        username: material.replication_username.clone(),
        tls: wish.endpoint_tls(),
        certificate_arn: Some(certificate.arn.clone()),
        secret_version: Some(material.replication_version.clone()),
    })
}

/// The tables that the task must carry: selected and ordinary. DMS wants a partitioned table's partitions, not the
/// parent, and never our own marker's table among the application's.
pub fn tables(source_tables: &[Table]) -> impl Iterator<Item = &Table> {
    source_tables.iter().filter(|table| table.kind == TableKind::Ordinary)
}

/// The alarms to have once the task follows: lag, a task that failed or stopped, an instance that sends no data.
///
/// DMS has no metric "failed": a task that stopped or failed publishes nothing, so its alarm counts datapoints and takes
/// missing ones as breaching.
pub fn alarms(goal: &Goal, instance: &Instance, task: &Task) -> Vec<Alarm> {
    let Some(wish) = &goal.alarms else { return Vec::new() };
    let of_instance = ("ReplicationInstanceIdentifier".to_owned(), instance.identifier.clone());
    let of_task =
        vec![of_instance.clone(), ("ReplicationTaskIdentifier".to_owned(), task.resource_id().to_owned())];
    let alarm = |name: &str, description: String, metric: &str, dimensions, periods| Alarm {
        name: name.to_owned(),
        description,
        namespace: cloudwatch::DMS.to_owned(),
        metric: metric.to_owned(),
        dimensions,
        statistic: Statistic::SampleCount,
        comparison: Comparison::LessThanThreshold,
        threshold: 1.0,
        periods,
        missing_data: MissingData::Breaching,
        sns_topic_arn: wish.topic.clone(),
    };
    let migration = goal.migration.resource();
    vec![
        Alarm {
            statistic: Statistic::Maximum,
            comparison: Comparison::GreaterThanThreshold,
            threshold: wish.lag_threshold.as_secs_f64(),
            ..alarm(
                &goal.names.alarm_lag,
                format!("The target of DatabaseMigration {migration} is too far behind its source"),
                "CDCLatencyTarget",
                of_task.clone(),
                3,
            )
        },
        alarm(
            &goal.names.alarm_task,
            format!("The DMS task of DatabaseMigration {migration} failed or stopped"),
            "CDCLatencySource",
            of_task,
            3,
        ),
        alarm(
            &goal.names.alarm_data,
            format!("The DMS instance of DatabaseMigration {migration} sends no data"),
            "CPUUtilization",
            vec![of_instance],
            5,
        ),
    ]
}
