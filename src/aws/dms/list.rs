//! Everything that an account has in DMS, whosever it is. Every list is read to its end.

use super::Dms;
use super::read::{
    DESCRIBE_CERTIFICATES, DESCRIBE_ENDPOINTS, DESCRIBE_INSTANCES, DESCRIBE_SUBNET_GROUPS, DESCRIBE_TASKS,
    PAGE,
};
use crate::aws::call::pages;
use crate::aws::inventory::{Kind, Thing};
use crate::fault::Fault;

impl Dms {
    /// All tasks.
    pub(in crate::aws) async fn all_tasks(&self) -> Result<Vec<Thing>, Fault> {
        let on = "all tasks";
        let found = pages(
            on,
            |marker| {
                let request = self
                    .client
                    .describe_replication_tasks()
                    .without_settings(true)
                    .max_records(PAGE)
                    .set_marker(marker);
                self.caller.call(DESCRIBE_TASKS, on, request.send())
            },
            |page| (page.replication_tasks, page.marker),
        )
        .await?;
        let thing = |seen: aws_sdk_databasemigration::types::ReplicationTask| Thing {
            kind: Kind::Task,
            identifier: seen.replication_task_identifier.unwrap_or_default(),
            arn: seen.replication_task_arn.unwrap_or_default(),
            state: seen.status.unwrap_or_default(),
            uses: [seen.source_endpoint_arn, seen.target_endpoint_arn, seen.replication_instance_arn]
                .into_iter()
                .flatten()
                .collect(),
        };
        Ok(found.into_iter().map(thing).collect())
    }

    /// All endpoints.
    pub(in crate::aws) async fn all_endpoints(&self) -> Result<Vec<Thing>, Fault> {
        let on = "all endpoints";
        let found = pages(
            on,
            |marker| {
                let request = self.client.describe_endpoints().max_records(PAGE).set_marker(marker);
                self.caller.call(DESCRIBE_ENDPOINTS, on, request.send())
            },
            |page| (page.endpoints, page.marker),
        )
        .await?;
        let thing = |seen: aws_sdk_databasemigration::types::Endpoint| Thing {
            kind: Kind::Endpoint,
            identifier: seen.endpoint_identifier.unwrap_or_default(),
            arn: seen.endpoint_arn.unwrap_or_default(),
            state: seen.status.unwrap_or_default(),
            uses: seen.certificate_arn.into_iter().collect(),
        };
        Ok(found.into_iter().map(thing).collect())
    }

    /// All certificates.
    pub(in crate::aws) async fn all_certificates(&self) -> Result<Vec<Thing>, Fault> {
        let found = self.every_certificate().await?;
        let thing = |seen: aws_sdk_databasemigration::types::Certificate| Thing {
            kind: Kind::Certificate,
            identifier: seen.certificate_identifier.unwrap_or_default(),
            arn: seen.certificate_arn.unwrap_or_default(),
            state: String::new(),
            uses: Vec::new(),
        };
        Ok(found.into_iter().map(thing).collect())
    }

    /// All certificates, as AWS has them.
    pub(super) async fn every_certificate(
        &self,
    ) -> Result<Vec<aws_sdk_databasemigration::types::Certificate>, Fault> {
        let on = "all certificates";
        pages(
            on,
            |marker| {
                let request = self.client.describe_certificates().max_records(PAGE).set_marker(marker);
                self.caller.call(DESCRIBE_CERTIFICATES, on, request.send())
            },
            |page| (page.certificates, page.marker),
        )
        .await
    }

    /// All replication instances.
    pub(in crate::aws) async fn all_instances(&self) -> Result<Vec<Thing>, Fault> {
        let on = "all replication instances";
        let found = pages(
            on,
            |marker| {
                let request =
                    self.client.describe_replication_instances().max_records(PAGE).set_marker(marker);
                self.caller.call(DESCRIBE_INSTANCES, on, request.send())
            },
            |page| (page.replication_instances, page.marker),
        )
        .await?;
        let mut things = Vec::new();
        for seen in found {
            let group = seen
                .replication_subnet_group
                .and_then(|group| group.replication_subnet_group_identifier)
                .filter(|group| !group.is_empty());
            let uses = match group {
                Some(group) => vec![self.identity.subnet_group_arn(&group).await?],
                None => Vec::new(),
            };
            things.push(Thing {
                kind: Kind::Instance,
                identifier: seen.replication_instance_identifier.unwrap_or_default(),
                arn: seen.replication_instance_arn.unwrap_or_default(),
                state: seen.replication_instance_status.unwrap_or_default(),
                uses,
            });
        }
        Ok(things)
    }

    /// All subnet groups.
    pub(in crate::aws) async fn all_subnet_groups(&self) -> Result<Vec<Thing>, Fault> {
        let on = "all replication subnet groups";
        let found = pages(
            on,
            |marker| {
                let request =
                    self.client.describe_replication_subnet_groups().max_records(PAGE).set_marker(marker);
                self.caller.call(DESCRIBE_SUBNET_GROUPS, on, request.send())
            },
            |page| (page.replication_subnet_groups, page.marker),
        )
        .await?;
        let mut things = Vec::new();
        for seen in found {
            let identifier = seen.replication_subnet_group_identifier.unwrap_or_default();
            things.push(Thing {
                kind: Kind::SubnetGroup,
                arn: self.identity.subnet_group_arn(&identifier).await?,
                identifier,
                state: seen.subnet_group_status.unwrap_or_default(),
                uses: Vec::new(),
            });
        }
        Ok(things)
    }
}
