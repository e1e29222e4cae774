//! RDS, in our words: only read.

use aws_sdk_rds::Client;
use aws_sdk_rds::types::{DbInstance, DbParameterGroupStatus};

use super::call::{Caller, Operation, present};
use crate::fault::Fault;

const DESCRIBE: Operation =
    Operation::read("rds", "DescribeDBInstances", "spec.target.rdsInstanceIdentifier");

/// The RDS instance that a migration goes to.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Instance {
    pub identifier: String,
    pub status: String,
    /// `None` while it is being created.
    pub address: Option<(String, u16)>,
    pub storage_encrypted: bool,
    pub publicly_accessible: bool,
    /// A parameter group waits for a reboot, so `rds.logical_replication` may not be in force.
    pub pending_reboot: bool,
}

/// RDS of one account in one region.
pub struct Rds {
    client: Client,
    caller: Caller,
}

impl Rds {
    pub(super) fn new(client: Client, caller: Caller) -> Self {
        Self { client, caller }
    }

    /// The instance of this identifier.
    pub async fn instance(&self, identifier: &str) -> Result<Option<Instance>, Fault> {
        let request = self.client.describe_db_instances().db_instance_identifier(identifier).send();
        let Some(reply) = present(self.caller.call(DESCRIBE, identifier, request).await)? else {
            return Ok(None);
        };
        let is_wanted = |seen: &DbInstance| {
            seen.db_instance_identifier().is_some_and(|id| id.eq_ignore_ascii_case(identifier))
        };
        Ok(reply.db_instances.unwrap_or_default().into_iter().find(is_wanted).map(|seen| instance(&seen)))
    }
}

fn instance(seen: &DbInstance) -> Instance {
    let address = seen.endpoint().and_then(|endpoint| {
        let port = u16::try_from(endpoint.port()?).ok()?;
        Some((endpoint.address()?.to_owned(), port))
    });
    let waits = |group: &DbParameterGroupStatus| group.parameter_apply_status() == Some("pending-reboot");
    Instance {
        identifier: seen.db_instance_identifier().unwrap_or_default().to_owned(),
        status: seen.db_instance_status().unwrap_or_default().to_owned(),
        address,
        storage_encrypted: seen.storage_encrypted().unwrap_or_default(),
        // What AWS does not say is not taken for the safe answer.
        publicly_accessible: seen.publicly_accessible().unwrap_or(true),
        pending_reboot: seen.db_parameter_groups().iter().any(waits),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]

    use crate::aws::responder::{Reply, Responder};

    fn found(endpoint: &str) -> Reply {
        Reply::xml(
            200,
            &format!(
                "<DescribeDBInstancesResponse xmlns=\"http://rds.amazonaws.com/doc/2014-10-31/\"><DescribeDBInstancesResult>\
                 <DBInstances><DBInstance><DBInstanceIdentifier>payments-db</DBInstanceIdentifier>\
                 <DBInstanceStatus>available</DBInstanceStatus>{endpoint}<StorageEncrypted>true</StorageEncrypted>\
                 <PubliclyAccessible>false</PubliclyAccessible><DBParameterGroups><DBParameterGroup>\
                 <ParameterApplyStatus>pending-reboot</ParameterApplyStatus></DBParameterGroup></DBParameterGroups>\
                 </DBInstance></DBInstances></DescribeDBInstancesResult></DescribeDBInstancesResponse>"
            ),
        )
    }

    #[tokio::test]
    async fn an_instance_is_read() {
        let aws = Responder::start([(
            "DescribeDBInstances",
            vec![
                found("<Endpoint><Address>db.example</Address><Port>5433</Port></Endpoint>"),
                found(""),
                Reply::xml(
                    404,
                    "<ErrorResponse><Error><Type>Sender</Type><Code>DBInstanceNotFound</Code>\
                     <Message>DBInstance payments-db not found.</Message></Error></ErrorResponse>",
                ),
            ],
        )])
        .await;
        let rds = &aws.aws.rds;
        let seen = rds.instance("payments-db").await.unwrap().unwrap();
        assert_eq!(seen.address, Some(("db.example".into(), 5433)));
        assert!(seen.storage_encrypted && seen.pending_reboot && !seen.publicly_accessible);
        assert_eq!(rds.instance("payments-db").await.unwrap().unwrap().address, None);
        assert_eq!(rds.instance("payments-db").await.unwrap(), None);
        assert_eq!(aws.outcomes(), ["ok", "ok", "absent"].map(|o| format!("rds DescribeDBInstances {o}")));
    }
}
