//! What AWS has, in the product's words: the questions of `sight::look`, put to the stand-in's model.

use jiff::Timestamp;
use sandbox::world::cloudwatch as cw;
use sandbox::world::dms::{self, Describe};
use sandbox::world::{Call, Reply as Answer};
use slipway::aws::cloudwatch::{Alarm, Comparison, MissingData, SeenAlarm, Statistic, TaskLag};
use slipway::aws::dms::{
    Certificate, Connection, Endpoint, EndpointSettings, EndpointTls, Instance, Owner, SubnetGroup,
    TableStatistics, Task, words,
};
use slipway::aws::{Ownership, SECRET_VERSION_TAG};
use slipway::database::goal::{InstanceGoal, Names};
use slipway::database::seen::Known;
use slipway::database::sight::Eyes;
use slipway::side::Side;

use super::Process;
use super::aws::{present, strange};

/// The ARN of a subnet group: DMS tags it, and does not tell it.
pub(super) fn group_arn(identifier: &str) -> String {
    format!("arn:aws:dms:eu-central-1:111122223333:subgrp:{identifier}")
}

impl Eyes for Process {
    async fn task(&self, identifier: &str, ours: &Ownership) -> Known<Option<Task>> {
        let call = dms::Call::DescribeReplicationTasks(dms::DescribeReplicationTasks {
            filters: Describe::one("replication-task-id", identifier).filters,
            without_settings: Some(true),
            ..dms::DescribeReplicationTasks::default()
        });
        let found = present(self.dms("DescribeReplicationTasks", false, identifier, call).await)?;
        let Some(dms::Reply::Tasks(page)) = found else { return Ok(None) };
        let Some(view) = page.items.into_iter().next() else { return Ok(None) };
        let arn = view.replication_task_arn;
        let Some(owner) = self.owner(ours, &arn).await? else { return Ok(None) };
        let stats = view.replication_task_stats.as_ref();
        Ok(Some(Task {
            status: words::task_status(&view.status),
            stop_reason: view.stop_reason.as_deref().and_then(words::stop_reason),
            started_at: view.replication_task_start_date,
            stopped_at: stats.and_then(|stats| stats.stop_date),
            full_load_finished: stats.is_some_and(|stats| {
                stats.full_load_finish_date.is_some()
                    && stats.tables_loading == 0
                    && stats.tables_queued == 0
                    && stats.tables_errored == 0
            }),
            full_load_percent: 0,
            arn,
            identifier: view.replication_task_identifier,
            source_endpoint_arn: view.source_endpoint_arn,
            target_endpoint_arn: view.target_endpoint_arn,
            instance_arn: view.replication_instance_arn,
            owner,
        }))
    }

    async fn table_statistics(&self, task_arn: &str) -> Known<Vec<TableStatistics>> {
        let call = dms::Call::DescribeTableStatistics(dms::DescribeTableStatistics {
            replication_task_arn: task_arn.to_owned(),
            filters: Vec::new(),
            max_records: None,
            marker: None,
        });
        match present(self.dms("DescribeTableStatistics", false, task_arn, call).await)? {
            Some(dms::Reply::TableStatistics { page, .. }) => Ok(page
                .items
                .into_iter()
                .map(|view| TableStatistics {
                    schema: view.schema_name,
                    name: view.table_name,
                    state: words::table_state(&view.table_state),
                    full_load_rows: i64::try_from(view.full_load_rows).unwrap_or(i64::MAX),
                    validation: words::validation_state(&view.validation_state),
                })
                .collect()),
            _ => Ok(Vec::new()),
        }
    }

    async fn instance(
        &self,
        goal: &InstanceGoal,
        identifier: &str,
        ours: &Ownership,
    ) -> Known<Option<Instance>> {
        let (filter, wanted) = match goal {
            InstanceGoal::Existing { arn } => ("replication-instance-arn", arn.as_str()),
            InstanceGoal::Managed(_) => ("replication-instance-id", identifier),
        };
        let call = dms::Call::DescribeReplicationInstances(Describe::one(filter, wanted));
        let found = present(self.dms("DescribeReplicationInstances", false, wanted, call).await)?;
        let Some(dms::Reply::Instances(page)) = found else { return Ok(None) };
        let Some(view) = page.items.into_iter().next() else { return Ok(None) };
        let arn = view.replication_instance_arn;
        let Some(owner) = self.owner(ours, &arn).await? else { return Ok(None) };
        Ok(Some(Instance {
            owner,
            arn,
            identifier: view.replication_instance_identifier,
            status: words::instance_status(&view.replication_instance_status),
        }))
    }

    async fn subnet_group(&self, identifier: &str, ours: &Ownership) -> Known<Option<SubnetGroup>> {
        let filter = Describe::one("replication-subnet-group-id", identifier);
        let call = dms::Call::DescribeReplicationSubnetGroups(filter);
        let found = present(self.dms("DescribeReplicationSubnetGroups", false, identifier, call).await)?;
        let Some(dms::Reply::SubnetGroups(page)) = found else { return Ok(None) };
        let Some(view) = page.items.into_iter().next() else { return Ok(None) };
        let identifier = view.replication_subnet_group_identifier;
        let Some(owner) = self.owner(ours, &group_arn(&identifier)).await? else { return Ok(None) };
        Ok(Some(SubnetGroup { identifier, complete: view.subnet_group_status == "Complete", owner }))
    }

    async fn certificates(&self, names: &Names, ours: &Ownership) -> Known<Vec<Certificate>> {
        let call = dms::Call::DescribeCertificates(Describe::default());
        let found = present(self.dms("DescribeCertificates", false, "all certificates", call).await)?;
        let Some(dms::Reply::Certificates(page)) = found else { return Ok(Vec::new()) };
        let mut certificates = Vec::new();
        for view in page.items {
            let identifier = view.certificate_identifier;
            if !names.is_certificate(&identifier) {
                continue;
            }
            let arn = view.certificate_arn;
            if let Some(owner) = self.owner(ours, &arn).await? {
                certificates.push(Certificate { arn, identifier, owner });
            }
        }
        Ok(certificates)
    }

    async fn endpoint(&self, identifier: &str, side: Side, ours: &Ownership) -> Known<Option<Endpoint>> {
        let call = dms::Call::DescribeEndpoints(Describe::one("endpoint-id", identifier));
        let found = present(self.dms("DescribeEndpoints", false, identifier, call).await)?;
        let Some(dms::Reply::Endpoints(page)) = found else { return Ok(None) };
        let Some(view) = page.items.into_iter().next() else { return Ok(None) };
        let arn = view.endpoint_arn;
        let Some(tags) = self.tags(&arn).await? else { return Ok(None) };
        let version = tags.iter().find(|(key, _)| key == SECRET_VERSION_TAG).map(|(_, value)| value.clone());
        Ok(Some(Endpoint {
            identifier: view.endpoint_identifier,
            deleting: view.status == "deleting",
            active: view.status == "active",
            settings: EndpointSettings {
                side,
                host: view.server_name,
                port: view.port,
                database: view.database_name,
                username: view.username,
                tls: match view.ssl_mode.as_str() {
                    "verify-ca" => EndpointTls::VerifyCa,
                    "verify-full" => EndpointTls::VerifyFull,
                    other => EndpointTls::Other(other.to_owned()),
                },
                certificate_arn: view.certificate_arn,
                secret_version: version,
            },
            owner: self.judge(ours, &tags),
            arn,
        }))
    }

    async fn connection(&self, instance_arn: &str, endpoint_arn: &str) -> Known<Option<Connection>> {
        let mut describe = Describe::one("replication-instance-arn", instance_arn);
        describe.filters.extend(Describe::one("endpoint-arn", endpoint_arn).filters);
        let call = dms::Call::DescribeConnections(describe);
        let found = present(self.dms("DescribeConnections", false, endpoint_arn, call).await)?;
        let Some(dms::Reply::Connections(page)) = found else { return Ok(None) };
        Ok(page.items.into_iter().next().map(|view| Connection {
            endpoint_arn: view.endpoint_arn,
            instance_arn: view.replication_instance_arn,
            status: words::connection_status(&view.status),
        }))
    }

    async fn alarms(&self, names: &[String], ours: &Ownership) -> Known<Vec<SeenAlarm>> {
        let describe = cw::DescribeAlarms { names: names.to_vec(), ..Default::default() };
        let call = Call::CloudWatch(cw::Call::DescribeAlarms(describe));
        let found = present(self.aws("cloudwatch", "DescribeAlarms", false, "alarms", call).await)?;
        let Some(Answer::CloudWatch(cw::Reply::Alarms(page))) = found else { return Ok(Vec::new()) };
        let mut alarms = Vec::new();
        for seen in page.alarms {
            let call = Call::CloudWatch(cw::Call::ListTagsForResource { arn: seen.arn.clone() });
            let name = "ListTagsForResource";
            let reply = present(self.aws("cloudwatch", name, false, &seen.settings.name, call).await)?;
            let tags = match reply {
                Some(Answer::CloudWatch(cw::Reply::Tags(tags))) => tags.into_iter().collect(),
                Some(_) => return Err(strange(name).fault),
                None => Vec::new(),
            };
            let owner: Owner = self.judge(ours, &tags);
            alarms.push(SeenAlarm { state: seen.state.to_owned(), alarm: alarm(seen.settings), owner });
        }
        Ok(alarms)
    }

    async fn task_lag(&self, _: &str, _: &str, _: Timestamp) -> Known<Option<TaskLag>> {
        // The second witness is only told of; nothing rests on it.
        Ok(None)
    }
}

/// An alarm as the model keeps it, in the product's words.
fn alarm(seen: cw::PutMetricAlarm) -> Alarm {
    Alarm {
        name: seen.name,
        description: seen.description.unwrap_or_default(),
        namespace: seen.series.namespace,
        metric: seen.series.name,
        dimensions: seen.series.dimensions.into_iter().collect(),
        statistic: match seen.statistic {
            cw::Statistic::Maximum => Statistic::Maximum,
            cw::Statistic::SampleCount => Statistic::SampleCount,
            cw::Statistic::Sum => Statistic::Sum,
            percentile @ cw::Statistic::Percentile(_) => Statistic::Extended(percentile.word()),
            other => Statistic::Other(other.word()),
        },
        comparison: match seen.comparison_operator.as_str() {
            "GreaterThanThreshold" => Comparison::GreaterThanThreshold,
            "LessThanThreshold" => Comparison::LessThanThreshold,
            other => Comparison::Other(other.to_owned()),
        },
        threshold: seen.threshold,
        periods: i32::try_from(seen.evaluation_periods).unwrap_or(0),
        missing_data: match seen.treat_missing_data.as_deref() {
            Some("breaching") => MissingData::Breaching,
            Some("notBreaching") => MissingData::NotBreaching,
            other => MissingData::Other(other.unwrap_or("missing").to_owned()),
        },
        sns_topic_arn: seen.alarm_actions.into_iter().next().unwrap_or_default(),
    }
}
