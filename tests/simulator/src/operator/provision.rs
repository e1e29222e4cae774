//! The steps at AWS, as the calls that they are made of: `src/database/act.rs` and the services below it.

use std::collections::BTreeMap;

use sandbox::world::Call;
use sandbox::world::cloudwatch as cw;
use sandbox::world::dms::{self, Tag};
use slipway::aws::cloudwatch::{Alarm, Comparison, MissingData, Statistic};
use slipway::aws::dms::StartType;
use slipway::aws::dms::settings::{table_mappings, task_settings};
use slipway::aws::{Ownership, RESOURCE_TAG, SECRET_VERSION_TAG, UID_TAG};
use slipway::database::decide::{Step, wanted};
use slipway::database::goal::{Goal, InstanceGoal};
use slipway::database::seen::{AwsSeen, Seen};
use slipway::fault::Fault;
use slipway::side::Side;

use super::Process;
use super::aws::present;
use super::eyes::group_arn;
use crate::world::{CANARY, authority};

fn vanished(what: &str) -> Fault {
    Fault::Wait(format!("the {what} is not there any more"))
}

fn owner_tags(ours: &Ownership) -> Vec<Tag> {
    vec![tag(UID_TAG, &ours.uid), tag(RESOURCE_TAG, &ours.resource)]
}

/// The same, as CloudWatch takes them.
pub(super) fn tag_map(ours: &Ownership) -> BTreeMap<String, String> {
    owner_tags(ours).into_iter().map(|tag| (tag.key, tag.value)).collect()
}

fn tag(key: &str, value: &str) -> Tag {
    Tag { key: key.to_owned(), value: value.to_owned(), resource_arn: None }
}

impl Process {
    pub(super) async fn of_aws(&self, goal: &Goal, seen: &Seen, step: &Step) -> Result<(), Fault> {
        let names = &goal.names;
        let ours = &goal.ownership();
        let there = seen.aws.as_ref().map_err(Clone::clone)?;
        match step {
            Step::ImportCertificate(side) => {
                let identifier = wanted::certificate(goal, seen, *side)
                    .ok_or_else(|| vanished("certificate authority"))?;
                let call = dms::Call::ImportCertificate(dms::ImportCertificate {
                    certificate_identifier: identifier.clone(),
                    certificate_pem: authority().to_owned(),
                    tags: owner_tags(ours),
                });
                self.dms("ImportCertificate", true, &identifier, call).await?;
            }
            Step::DeleteCertificate { arn, .. } => {
                let call =
                    dms::Call::DeleteCertificate(dms::DeleteCertificate { certificate_arn: arn.clone() });
                self.delete(ours, "DeleteCertificate", arn, call).await?;
            }
            Step::CreateSubnetGroup => {
                let InstanceGoal::Managed(managed) = &goal.instance else { return Ok(()) };
                let call = dms::Call::CreateReplicationSubnetGroup(dms::CreateReplicationSubnetGroup {
                    replication_subnet_group_identifier: names.subnet_group.clone(),
                    replication_subnet_group_description: "Slipway".to_owned(),
                    subnet_ids: managed.subnet_ids.clone(),
                    tags: owner_tags(ours),
                });
                self.dms("CreateReplicationSubnetGroup", true, &names.subnet_group, call).await?;
            }
            Step::DeleteSubnetGroup => {
                let call = dms::Call::DeleteReplicationSubnetGroup(dms::DeleteReplicationSubnetGroup {
                    replication_subnet_group_identifier: names.subnet_group.clone(),
                });
                let arn = group_arn(&names.subnet_group);
                self.delete(ours, "DeleteReplicationSubnetGroup", &arn, call).await?;
            }
            Step::CreateInstance => {
                let call = Self::new_instance(goal, ours);
                self.dms("CreateReplicationInstance", true, &names.instance, call).await?;
            }
            Step::DeleteInstance => {
                let arn = instance_arn(there)?;
                let call = dms::Call::DeleteReplicationInstance(dms::DeleteReplicationInstance {
                    replication_instance_arn: arn.clone(),
                });
                self.delete(ours, "DeleteReplicationInstance", &arn, call).await?;
            }
            Step::CreateEndpoint(side) | Step::ModifyEndpoint(side) => {
                self.set_endpoint(goal, seen, there, *side, matches!(step, Step::CreateEndpoint(_))).await?;
            }
            Step::DeleteEndpoint(side) => {
                let arn = endpoint_arn(there, *side)?;
                let call = dms::Call::DeleteEndpoint(dms::DeleteEndpoint { endpoint_arn: arn.clone() });
                self.delete(ours, "DeleteEndpoint", &arn, call).await?;
            }
            Step::TestConnection(side) => {
                let (instance, endpoint) = (instance_arn(there)?, endpoint_arn(there, *side)?);
                self.prove_present(ours, "TestConnection", &endpoint).await?;
                let call = dms::Call::TestConnection(dms::TestConnection {
                    replication_instance_arn: instance,
                    endpoint_arn: endpoint.clone(),
                });
                self.dms("TestConnection", true, &endpoint, call).await?;
            }
            Step::CreateTask => self.create_task(goal, there, ours).await?,
            Step::StartTask(start) => {
                let arn = task_arn(there)?;
                self.prove_present(ours, "StartReplicationTask", &arn).await?;
                let start = match start {
                    StartType::First => "start-replication",
                    StartType::Resume => "resume-processing",
                };
                let call = dms::Call::StartReplicationTask(dms::StartReplicationTask {
                    replication_task_arn: arn.clone(),
                    start_replication_task_type: start.to_owned(),
                });
                self.dms("StartReplicationTask", true, &arn, call).await?;
            }
            Step::StopTask => self.stop_task(ours, &task_arn(there)?).await?,
            Step::DeleteTask => {
                let arn = task_arn(there)?;
                let by = dms::TaskByArn { replication_task_arn: arn.clone() };
                self.delete(ours, "DeleteReplicationTask", &arn, dms::Call::DeleteReplicationTask(by))
                    .await?;
            }
            Step::PutAlarm(alarm) => self.put_alarm(ours, alarm).await?,
            Step::DeleteAlarms(names) => {
                let names = names.clone();
                let call = Call::CloudWatch(cw::Call::DeleteAlarms { names });
                present(self.aws("cloudwatch", "DeleteAlarms", true, "alarms", call).await)?;
            }
            other => return Err(Fault::Bug(format!("{} is no step of AWS", other.action()))),
        }
        Ok(())
    }

    /// Deletes what is ours; content if it is gone.
    async fn delete(
        &self,
        ours: &Ownership,
        name: &'static str,
        arn: &str,
        call: dms::Call,
    ) -> Result<(), Fault> {
        if self.prove(ours, name, arn).await? {
            present(self.dms(name, true, arn, call).await)?;
        }
        Ok(())
    }

    async fn prove_present(&self, ours: &Ownership, name: &'static str, arn: &str) -> Result<(), Fault> {
        if self.prove(ours, name, arn).await? {
            return Ok(());
        }
        Err(Fault::Unknown(format!("{name} {arn}: it is not there; looking again")))
    }

    /// `Dms::stop_task`.
    pub(super) async fn stop_task(&self, ours: &Ownership, arn: &str) -> Result<(), Fault> {
        self.prove_present(ours, "StopReplicationTask", arn).await?;
        let by = dms::TaskByArn { replication_task_arn: arn.to_owned() };
        self.dms("StopReplicationTask", true, arn, dms::Call::StopReplicationTask(by)).await?;
        Ok(())
    }

    fn new_instance(goal: &Goal, ours: &Ownership) -> dms::Call {
        let InstanceGoal::Managed(managed) = &goal.instance else {
            return dms::Call::DescribeCertificates(dms::Describe::default());
        };
        dms::Call::CreateReplicationInstance(Box::new(dms::CreateReplicationInstance {
            replication_instance_identifier: goal.names.instance.clone(),
            allocated_storage: u32::try_from(managed.storage_gib).ok(),
            replication_instance_class: managed.class.clone(),
            vpc_security_group_ids: managed.security_group_ids.clone(),
            availability_zone: None,
            replication_subnet_group_identifier: Some(goal.names.subnet_group.clone()),
            preferred_maintenance_window: None,
            multi_az: Some(managed.multi_az),
            engine_version: None,
            auto_minor_version_upgrade: Some(false),
            tags: owner_tags(ours),
            kms_key_id: None,
            publicly_accessible: Some(false),
            resource_identifier: None,
        }))
    }

    async fn set_endpoint(
        &self,
        goal: &Goal,
        seen: &Seen,
        there: &AwsSeen,
        side: Side,
        create: bool,
    ) -> Result<(), Fault> {
        let ours = &goal.ownership();
        let settings = wanted::endpoint(goal, seen, there, side).ok_or_else(|| vanished("certificate"))?;
        let ssl_mode = match settings.tls {
            slipway::aws::dms::EndpointTls::VerifyCa => "verify-ca",
            _ => "verify-full",
        };
        let version = settings.secret_version.clone().unwrap_or_default();
        let endpoint_type = side.as_str().to_owned();
        if create {
            let mut tags = owner_tags(ours);
            tags.push(tag(SECRET_VERSION_TAG, &version));
            let identifier = goal.names.endpoints.get(side).clone();
            let call = dms::Call::CreateEndpoint(Box::new(dms::CreateEndpoint {
                endpoint_identifier: identifier.clone(),
                endpoint_type,
                engine_name: "postgres".to_owned(),
                username: Some(settings.username),
                password: Some(CANARY.to_owned()),
                server_name: Some(settings.host),
                port: Some(settings.port),
                database_name: Some(settings.database),
                extra_connection_attributes: None,
                kms_key_id: None,
                tags,
                certificate_arn: settings.certificate_arn,
                ssl_mode: Some(ssl_mode.to_owned()),
                settings: serde_json::Map::new(),
                resource_identifier: None,
            }));
            self.dms("CreateEndpoint", true, &identifier, call).await?;
            return Ok(());
        }
        let arn = endpoint_arn(there, side)?;
        self.prove_present(ours, "ModifyEndpoint", &arn).await?;
        let call = dms::Call::ModifyEndpoint(Box::new(dms::ModifyEndpoint {
            endpoint_arn: arn.clone(),
            endpoint_identifier: None,
            endpoint_type: Some(endpoint_type),
            engine_name: Some("postgres".to_owned()),
            username: Some(settings.username),
            password: Some(CANARY.to_owned()),
            server_name: Some(settings.host),
            port: Some(settings.port),
            database_name: Some(settings.database),
            extra_connection_attributes: None,
            certificate_arn: settings.certificate_arn,
            ssl_mode: Some(ssl_mode.to_owned()),
            settings: serde_json::Map::new(),
            exact_settings: None,
        }));
        self.dms("ModifyEndpoint", true, &arn, call).await?;
        let call = dms::Call::AddTagsToResource(dms::AddTagsToResource {
            resource_arn: arn.clone(),
            tags: vec![tag(SECRET_VERSION_TAG, &version)],
        });
        self.dms("AddTagsToResource", true, &arn, call).await?;
        Ok(())
    }

    async fn create_task(&self, goal: &Goal, there: &AwsSeen, ours: &Ownership) -> Result<(), Fault> {
        let mappings = table_mappings(&goal.tables.include, &goal.tables.exclude).map_err(Fault::Blocked)?;
        let call = dms::Call::CreateReplicationTask(Box::new(dms::CreateReplicationTask {
            replication_task_identifier: goal.names.task.clone(),
            source_endpoint_arn: endpoint_arn(there, Side::Source)?,
            target_endpoint_arn: endpoint_arn(there, Side::Target)?,
            replication_instance_arn: instance_arn(there)?,
            migration_type: "full-load-and-cdc".to_owned(),
            table_mappings: mappings,
            replication_task_settings: Some(task_settings(&goal.tuning)),
            tags: owner_tags(ours),
            resource_identifier: None,
        }));
        self.dms("CreateReplicationTask", true, &goal.names.task, call).await?;
        Ok(())
    }

    /// The call of `CloudWatch::put_alarm`, for either kind.
    pub(super) async fn put_alarm(&self, ours: &Ownership, alarm: &Alarm) -> Result<(), Fault> {
        let call = cw::Call::PutMetricAlarm(Box::new(cw::PutMetricAlarm {
            name: alarm.name.clone(),
            description: Some(alarm.description.clone()),
            actions_enabled: true,
            ok_actions: vec![alarm.sns_topic_arn.clone()],
            alarm_actions: vec![alarm.sns_topic_arn.clone()],
            insufficient_data_actions: Vec::new(),
            series: cw::Series {
                namespace: alarm.namespace.clone(),
                name: alarm.metric.clone(),
                dimensions: alarm.dimensions.iter().cloned().collect(),
            },
            statistic: match &alarm.statistic {
                Statistic::Sum => cw::Statistic::Sum,
                Statistic::Maximum => cw::Statistic::Maximum,
                Statistic::Extended(word) | Statistic::Other(word) => {
                    cw::Statistic::parse(word).map_err(|refusal| Fault::Bug(refusal.code.to_owned()))?
                }
                Statistic::Average => cw::Statistic::Average,
                Statistic::SampleCount => cw::Statistic::SampleCount,
            },
            period_seconds: 60,
            evaluation_periods: i64::from(alarm.periods),
            datapoints_to_alarm: Some(i64::from(alarm.periods)),
            threshold: alarm.threshold,
            comparison_operator: match &alarm.comparison {
                Comparison::GreaterThanThreshold => "GreaterThanThreshold".to_owned(),
                Comparison::LessThanThreshold => "LessThanThreshold".to_owned(),
                Comparison::Other(word) => word.clone(),
            },
            treat_missing_data: Some(match &alarm.missing_data {
                MissingData::Breaching => "breaching".to_owned(),
                MissingData::NotBreaching => "notBreaching".to_owned(),
                MissingData::Other(word) => word.clone(),
            }),
            unit: None,
            tags: tag_map(ours),
        }));
        self.aws("cloudwatch", "PutMetricAlarm", true, &alarm.name, Call::CloudWatch(call)).await?;
        Ok(())
    }
}

fn instance_arn(there: &AwsSeen) -> Result<String, Fault> {
    there.instance.as_ref().map(|i| i.arn.clone()).ok_or_else(|| vanished("replication instance"))
}

fn endpoint_arn(there: &AwsSeen, side: Side) -> Result<String, Fault> {
    there.endpoints.get(side).as_ref().map(|e| e.arn.clone()).ok_or_else(|| vanished("endpoint"))
}

fn task_arn(there: &AwsSeen) -> Result<String, Fault> {
    there.task.as_ref().map(|t| t.arn.clone()).ok_or_else(|| vanished("task"))
}
