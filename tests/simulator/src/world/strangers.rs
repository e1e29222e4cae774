//! What somebody else has at AWS, under a name that ours would have: it must be left as it is.

use std::collections::BTreeMap;

use sandbox::world::{Call, Reply, cloudwatch, dms};
use slipway::api::database::Tuning;
use slipway::aws::dms::settings::task_settings;

use super::{World, authority, stamp};
use crate::clock::{Micros, SECOND};

/// Before the history begins: by then all of it is made.
pub const LONG_AGO: Micros = -7_200 * SECOND;

/// What they have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Kind {
    Group,
    Instance,
    Certificate,
    Endpoint,
    Task,
    Alarm,
}

impl Kind {
    /// Each.
    pub const EACH: [Self; 6] =
        [Self::Group, Self::Instance, Self::Certificate, Self::Endpoint, Self::Task, Self::Alarm];
}

fn tags() -> Vec<dms::Tag> {
    let tag = |key: &str, value: &str| dms::Tag {
        key: key.to_owned(),
        value: value.to_owned(),
        resource_arn: None,
    };
    vec![tag(slipway::aws::UID_TAG, "another")]
}

impl World {
    /// Makes it, and whatever it needs.
    pub fn somebody_has(&mut self, kind: Kind) {
        let name = |wanted: Kind, ours: &str| {
            if kind == wanted { ours.to_owned() } else { format!("other-{ours}") }
        };
        let group = name(Kind::Group, "dms-subnet-group-payments-db-dev");
        let instance = name(Kind::Instance, "dms-instance-payments-db-dev");
        match kind {
            Kind::Group => self.their_group(&group),
            Kind::Instance => {
                self.their_group(&group);
                self.their_instance(&instance, &group);
            }
            Kind::Certificate => {
                self.theirs(dms::Call::ImportCertificate(dms::ImportCertificate {
                    certificate_identifier: "dms-certificate-source-0badcafe-payments-db-dev".to_owned(),
                    certificate_pem: authority().to_owned(),
                    tags: tags(),
                }));
            }
            Kind::Endpoint => {
                self.their_endpoint("dms-endpoint-source-payments-db-dev", "source");
            }
            Kind::Task => {
                self.their_group(&group);
                let instance = self.their_instance(&instance, &group);
                let source = self.their_endpoint("other-source", "source");
                let target = self.their_endpoint("other-target", "target");
                self.aws.advance(stamp(LONG_AGO / 2));
                if let (Some(instance), Some(source), Some(target)) = (instance, source, target) {
                    self.their_task(instance, source, target);
                }
            }
            Kind::Alarm => self.their_alarm(),
        }
        self.aws.advance(stamp(0));
        self.strangers = self.inventory();
        if self.strangers.is_empty() {
            self.fail(0, format!("the simulator could not make a {kind:?} of somebody else"));
        }
    }

    fn theirs(&mut self, call: dms::Call) -> Option<dms::Reply> {
        let at = if matches!(call, dms::Call::CreateReplicationTask(_)) { LONG_AGO / 2 } else { LONG_AGO };
        match self.aws.call(Call::Dms(call), stamp(at)) {
            Ok(Reply::Dms(reply)) => Some(reply),
            Ok(_) => None,
            Err(refusal) => {
                self.fail(0, format!("the simulator's own call was refused: {}", refusal.code));
                None
            }
        }
    }

    fn their_group(&mut self, name: &str) {
        self.theirs(dms::Call::CreateReplicationSubnetGroup(dms::CreateReplicationSubnetGroup {
            replication_subnet_group_identifier: name.to_owned(),
            replication_subnet_group_description: "another's".to_owned(),
            subnet_ids: vec!["subnet-0a5a1d0000000000a".to_owned(), "subnet-0b5a1d0000000000b".to_owned()],
            tags: tags(),
        }));
    }

    fn their_instance(&mut self, name: &str, group: &str) -> Option<String> {
        let call = dms::Call::CreateReplicationInstance(Box::new(dms::CreateReplicationInstance {
            replication_instance_identifier: name.to_owned(),
            allocated_storage: Some(50),
            replication_instance_class: "dms.t3.micro".to_owned(),
            vpc_security_group_ids: vec!["sg-05a1d000000000001".to_owned()],
            availability_zone: None,
            replication_subnet_group_identifier: Some(group.to_owned()),
            preferred_maintenance_window: None,
            multi_az: None,
            engine_version: None,
            auto_minor_version_upgrade: None,
            tags: tags(),
            kms_key_id: None,
            publicly_accessible: Some(false),
            resource_identifier: None,
        }));
        match self.theirs(call)? {
            dms::Reply::Instance(view) => Some(view.replication_instance_arn),
            _ => None,
        }
    }

    fn their_endpoint(&mut self, name: &str, endpoint_type: &str) -> Option<String> {
        let call = dms::Call::CreateEndpoint(Box::new(dms::CreateEndpoint {
            endpoint_identifier: name.to_owned(),
            endpoint_type: endpoint_type.to_owned(),
            engine_name: "postgres".to_owned(),
            username: Some("other".to_owned()),
            password: Some("other".to_owned()),
            server_name: Some("other.example".to_owned()),
            port: Some(5432),
            database_name: Some("other".to_owned()),
            extra_connection_attributes: None,
            kms_key_id: None,
            tags: tags(),
            certificate_arn: None,
            ssl_mode: None,
            settings: serde_json::Map::new(),
            resource_identifier: None,
        }));
        match self.theirs(call)? {
            dms::Reply::Endpoint(view) => Some(view.endpoint_arn),
            _ => None,
        }
    }

    fn their_task(&mut self, instance: String, source: String, target: String) {
        let mappings = serde_json::json!({"rules": [{
            "rule-type": "selection", "rule-id": "1", "rule-name": "1", "rule-action": "include",
            "object-locator": {"schema-name": "other", "table-name": "%"},
        }]});
        self.theirs(dms::Call::CreateReplicationTask(Box::new(dms::CreateReplicationTask {
            replication_task_identifier: "dms-task-payments-db-dev".to_owned(),
            source_endpoint_arn: source,
            target_endpoint_arn: target,
            replication_instance_arn: instance,
            migration_type: "full-load-and-cdc".to_owned(),
            table_mappings: mappings.to_string(),
            replication_task_settings: Some(task_settings(&Tuning::default())),
            tags: tags(),
            resource_identifier: None,
        })));
    }

    fn their_alarm(&mut self) {
        let tags = tags().into_iter().map(|tag| (tag.key, tag.value)).collect();
        let alarm = alarm("alarm-dms-lag-payments-db-dev", tags);
        let call = Call::CloudWatch(cloudwatch::Call::PutMetricAlarm(Box::new(alarm)));
        if let Err(refusal) = self.aws.call(call, stamp(LONG_AGO)) {
            self.fail(0, format!("the simulator's own call was refused: {}", refusal.code));
        }
    }
}

/// An alarm of somebody else.
pub(super) fn alarm(name: &str, tags: BTreeMap<String, String>) -> cloudwatch::PutMetricAlarm {
    cloudwatch::PutMetricAlarm {
        name: name.to_owned(),
        description: None,
        actions_enabled: true,
        ok_actions: Vec::new(),
        alarm_actions: Vec::new(),
        insufficient_data_actions: Vec::new(),
        series: cloudwatch::Series {
            namespace: "AWS/DMS".to_owned(),
            name: "CDCLatencyTarget".to_owned(),
            dimensions: BTreeMap::new(),
        },
        statistic: cloudwatch::Statistic::Maximum,
        period_seconds: 60,
        evaluation_periods: 1,
        datapoints_to_alarm: None,
        threshold: 1.0,
        comparison_operator: "GreaterThanThreshold".to_owned(),
        treat_missing_data: None,
        unit: None,
        tags,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::history::{Setup, run};
    use crate::journey;

    #[test]
    fn what_somebody_else_has_is_left_alone_and_named() {
        let journey = journey::all().into_iter().find(|journey| journey.name == "replicate").unwrap();
        for kind in Kind::EACH {
            for slow in [false, true] {
                let setup = Setup { foreign: Some(kind), slow, ..Setup::clean(journey.clone()) };
                let outcome = run(&setup);
                assert_eq!(outcome.violation, None, "{kind:?}");
                assert!(outcome.end.ends_with(" stalled"), "{kind:?}: {}", outcome.end);
                let taken = run(&Setup { mutant: Some("no-owner"), ..setup });
                assert!(taken.violation.is_some(), "{kind:?} may be taken");
            }
        }
    }
}
