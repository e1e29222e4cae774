//! What is true in DMS now. Every list is read to its end.

use aws_sdk_databasemigration::types::{self, Filter};

use super::words;
use super::{Certificate, Connection, Dms, Endpoint, Instance, SubnetGroup, TableStatistics, Task};
use crate::aws::call::{Operation, pages};
use crate::aws::owner::{Ownership, SECRET_VERSION_TAG, value};
use crate::fault::Fault;
use crate::side::Side;

const NAMES: &str = "metadata.name and spec.environmentSuffix";
pub(super) const DESCRIBE_INSTANCES: Operation =
    Operation::read("dms", "DescribeReplicationInstances", "spec.replication.instance.arn");
pub(super) const DESCRIBE_SUBNET_GROUPS: Operation =
    Operation::read("dms", "DescribeReplicationSubnetGroups", NAMES);
pub(super) const DESCRIBE_CERTIFICATES: Operation = Operation::read("dms", "DescribeCertificates", NAMES);
pub(super) const DESCRIBE_ENDPOINTS: Operation = Operation::read("dms", "DescribeEndpoints", NAMES);
const DESCRIBE_CONNECTIONS: Operation =
    Operation::read("dms", "DescribeConnections", "spec.replication.instance.arn");
pub(super) const DESCRIBE_TASKS: Operation = Operation::read("dms", "DescribeReplicationTasks", NAMES);
const DESCRIBE_TABLES: Operation = Operation::read("dms", "DescribeTableStatistics", NAMES);

/// Rows of a page: what AWS allows at most.
pub(super) const PAGE: i32 = 100;
const PAGE_OF_TABLES: i32 = 500;

impl Dms {
    /// The replication instance of this identifier.
    pub async fn instance(&self, identifier: &str, ours: &Ownership) -> Result<Option<Instance>, Fault> {
        self.one_instance("replication-instance-id", identifier, ours).await
    }

    /// The replication instance of this ARN; it may be anybody's.
    pub async fn instance_by_arn(&self, arn: &str, ours: &Ownership) -> Result<Option<Instance>, Fault> {
        self.one_instance("replication-instance-arn", arn, ours).await
    }

    async fn one_instance(
        &self,
        filter_name: &str,
        wanted: &str,
        ours: &Ownership,
    ) -> Result<Option<Instance>, Fault> {
        let filter = filter(filter_name, [wanted])?;
        let found = pages(
            wanted,
            |marker| {
                let request = self
                    .client
                    .describe_replication_instances()
                    .filters(filter.clone())
                    .max_records(PAGE)
                    .set_marker(marker);
                self.caller.call(DESCRIBE_INSTANCES, wanted, request.send())
            },
            |page| (page.replication_instances, page.marker),
        )
        .await?;
        // AWS stores this identifier in lower case.
        let is_wanted = |seen: &types::ReplicationInstance| {
            seen.replication_instance_arn() == Some(wanted)
                || seen.replication_instance_identifier().is_some_and(|id| id.eq_ignore_ascii_case(wanted))
        };
        let Some(seen) = found.into_iter().find(is_wanted) else { return Ok(None) };
        let arn = seen.replication_instance_arn.unwrap_or_default();
        let Some(owner) = self.owner(ours, &arn).await? else { return Ok(None) };
        Ok(Some(Instance {
            owner,
            arn,
            identifier: seen.replication_instance_identifier.unwrap_or_default(),
            status: words::instance_status(seen.replication_instance_status.as_deref().unwrap_or_default()),
        }))
    }

    /// The subnet group of this identifier.
    pub async fn subnet_group(
        &self,
        identifier: &str,
        ours: &Ownership,
    ) -> Result<Option<SubnetGroup>, Fault> {
        let filter = filter("replication-subnet-group-id", [identifier])?;
        let found = pages(
            identifier,
            |marker| {
                let request = self
                    .client
                    .describe_replication_subnet_groups()
                    .filters(filter.clone())
                    .max_records(PAGE)
                    .set_marker(marker);
                self.caller.call(DESCRIBE_SUBNET_GROUPS, identifier, request.send())
            },
            |page| (page.replication_subnet_groups, page.marker),
        )
        .await?;
        let is_wanted = |seen: &types::ReplicationSubnetGroup| {
            seen.replication_subnet_group_identifier().is_some_and(|id| id.eq_ignore_ascii_case(identifier))
        };
        let Some(seen) = found.into_iter().find(is_wanted) else { return Ok(None) };
        let identifier = seen.replication_subnet_group_identifier.unwrap_or_default();
        let arn = self.identity.subnet_group_arn(&identifier).await?;
        let Some(owner) = self.owner(ours, &arn).await? else { return Ok(None) };
        Ok(Some(SubnetGroup {
            identifier,
            complete: seen.subnet_group_status.as_deref() == Some("Complete"),
            owner,
        }))
    }

    /// The certificates whose identifiers are wanted. All are listed, since the API has no filter by prefix; an account
    /// has at most a hundred.
    pub async fn certificates(
        &self,
        wanted: impl Fn(&str) -> bool,
        ours: &Ownership,
    ) -> Result<Vec<Certificate>, Fault> {
        let found = self.every_certificate().await?;
        let mut certificates = Vec::new();
        for seen in found {
            let identifier = seen.certificate_identifier.unwrap_or_default();
            if !wanted(&identifier) {
                continue;
            }
            let arn = seen.certificate_arn.unwrap_or_default();
            if let Some(owner) = self.owner(ours, &arn).await? {
                certificates.push(Certificate { arn, identifier, owner });
            }
        }
        Ok(certificates)
    }

    /// The endpoint of this identifier, with its tags read now: the version of its password is only there.
    pub async fn endpoint(
        &self,
        identifier: &str,
        side: Side,
        ours: &Ownership,
    ) -> Result<Option<Endpoint>, Fault> {
        let filter = filter("endpoint-id", [identifier])?;
        let found = pages(
            identifier,
            |marker| {
                let request = self
                    .client
                    .describe_endpoints()
                    .filters(filter.clone())
                    .max_records(PAGE)
                    .set_marker(marker);
                self.caller.call(DESCRIBE_ENDPOINTS, identifier, request.send())
            },
            |page| (page.endpoints, page.marker),
        )
        .await?;
        let Some(seen) = found.into_iter().find(|seen| seen.endpoint_identifier() == Some(identifier)) else {
            return Ok(None);
        };
        let arn = seen.endpoint_arn().unwrap_or_default().to_owned();
        let Some(tags) = self.tags(&arn).await? else { return Ok(None) };
        let secret_version = value(&tags, SECRET_VERSION_TAG).map(str::to_owned);
        let seen_side = words::endpoint_side(&seen).unwrap_or(side);
        Ok(Some(Endpoint {
            identifier: identifier.to_owned(),
            deleting: seen.status() == Some("deleting"),
            active: seen.status() == Some("active"),
            settings: words::endpoint_settings(&seen, seen_side, secret_version),
            owner: ours.judge(&tags),
            arn,
        }))
    }

    /// The last connection test of this endpoint from this instance. Asked for both, or another instance's would do.
    pub async fn connection(
        &self,
        instance_arn: &str,
        endpoint_arn: &str,
    ) -> Result<Option<Connection>, Fault> {
        let filters = vec![
            filter("replication-instance-arn", [instance_arn])?,
            filter("endpoint-arn", [endpoint_arn])?,
        ];
        let found = pages(
            endpoint_arn,
            |marker| {
                let request = self
                    .client
                    .describe_connections()
                    .set_filters(Some(filters.clone()))
                    .max_records(PAGE)
                    .set_marker(marker);
                self.caller.call(DESCRIBE_CONNECTIONS, endpoint_arn, request.send())
            },
            |page| (page.connections, page.marker),
        )
        .await?;
        let is_wanted = |seen: &types::Connection| {
            seen.replication_instance_arn() == Some(instance_arn) && seen.endpoint_arn() == Some(endpoint_arn)
        };
        Ok(found.into_iter().find(is_wanted).map(|seen| Connection {
            endpoint_arn: endpoint_arn.to_owned(),
            instance_arn: instance_arn.to_owned(),
            status: words::connection_status(seen.status().unwrap_or_default()),
        }))
    }

    /// The task of this identifier.
    pub async fn task(&self, identifier: &str, ours: &Ownership) -> Result<Option<Task>, Fault> {
        let filter = filter("replication-task-id", [identifier])?;
        let found = pages(
            identifier,
            |marker| {
                let request = self
                    .client
                    .describe_replication_tasks()
                    .filters(filter.clone())
                    .without_settings(true)
                    .max_records(PAGE)
                    .set_marker(marker);
                self.caller.call(DESCRIBE_TASKS, identifier, request.send())
            },
            |page| (page.replication_tasks, page.marker),
        )
        .await?;
        let Some(seen) =
            found.into_iter().find(|seen| seen.replication_task_identifier() == Some(identifier))
        else {
            return Ok(None);
        };
        let owner = self.owner(ours, seen.replication_task_arn().unwrap_or_default()).await?;
        Ok(owner.map(|owner| words::task(seen, owner)))
    }

    /// One row per table of the task; none if it is not there.
    pub async fn table_statistics(&self, task_arn: &str) -> Result<Vec<TableStatistics>, Fault> {
        let found = pages(
            task_arn,
            |marker| {
                let request = self
                    .client
                    .describe_table_statistics()
                    .replication_task_arn(task_arn)
                    .max_records(PAGE_OF_TABLES)
                    .set_marker(marker);
                self.caller.call(DESCRIBE_TABLES, task_arn, request.send())
            },
            |page| (page.table_statistics, page.marker),
        )
        .await?;
        Ok(found.into_iter().map(words::table).collect())
    }
}

fn filter<'a>(name: &str, values: impl IntoIterator<Item = &'a str>) -> Result<Filter, Fault> {
    let values = values.into_iter().map(str::to_owned).collect();
    let filter = Filter::builder().name(name).set_values(Some(values));
    filter.build().map_err(|_| Fault::Bug(format!("the filter {name} could not be built")))
}
