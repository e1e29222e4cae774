//! Makes and deletes the replication instance and its subnet group.

use super::Dms;
use super::tags::{Standing, owner_tags};
use crate::aws::call::{Operation, present};
use crate::aws::owner::Ownership;
use crate::fault::Fault;
use crate::permit::Permit;

const CREATE_SUBNET_GROUP: Operation =
    Operation::change("dms", "CreateReplicationSubnetGroup", "spec.replication.instance.managed.subnetIDs");
const DELETE_SUBNET_GROUP: Operation =
    Operation::change("dms", "DeleteReplicationSubnetGroup", "spec.replication.instance.managed");
const CREATE_INSTANCE: Operation = Operation::change(
    "dms",
    "CreateReplicationInstance",
    "spec.replication.instance.managed (class, engineVersion, storageGiB, securityGroupIDs)",
);
const DELETE_INSTANCE: Operation =
    Operation::change("dms", "DeleteReplicationInstance", "spec.replication.instance.managed");

/// A replication instance to be made: private, and never upgraded by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct NewInstance {
    pub identifier: String,
    pub class: String,
    pub storage_gib: i32,
    pub multi_az: bool,
    /// AWS's default if `None`.
    pub engine_version: Option<String>,
    pub subnet_group: String,
    pub security_group_ids: Vec<String>,
    /// AWS's own key for DMS if `None`.
    pub kms_key_arn: Option<String>,
}

impl Dms {
    /// Makes a subnet group.
    pub async fn create_subnet_group(
        &self,
        permit: &Permit<'_>,
        ours: &Ownership,
        identifier: &str,
        subnet_ids: &[String],
    ) -> Result<(), Fault> {
        let request = self
            .client
            .create_replication_subnet_group()
            .replication_subnet_group_identifier(identifier)
            .replication_subnet_group_description(format!("Slipway: {}", ours.resource))
            .set_subnet_ids(Some(subnet_ids.to_vec()))
            .set_tags(Some(owner_tags(ours)));
        self.caller.change(permit, CREATE_SUBNET_GROUP, identifier, request.send()).await?;
        Ok(())
    }

    /// Deletes our subnet group; content if it is gone.
    pub async fn delete_subnet_group(
        &self,
        permit: &Permit<'_>,
        ours: &Ownership,
        identifier: &str,
    ) -> Result<(), Fault> {
        let arn = self.identity.subnet_group_arn(identifier).await?;
        if let Standing::Gone = self.prove(ours, DELETE_SUBNET_GROUP, &arn).await? {
            return Ok(());
        }
        let request =
            self.client.delete_replication_subnet_group().replication_subnet_group_identifier(identifier);
        present(self.caller.change(permit, DELETE_SUBNET_GROUP, identifier, request.send()).await)?;
        Ok(())
    }

    /// Makes a replication instance.
    pub async fn create_instance(
        &self,
        permit: &Permit<'_>,
        ours: &Ownership,
        new: &NewInstance,
    ) -> Result<(), Fault> {
        let request = self
            .client
            .create_replication_instance()
            .replication_instance_identifier(&new.identifier)
            .replication_instance_class(&new.class)
            .allocated_storage(new.storage_gib)
            .multi_az(new.multi_az)
            .set_engine_version(new.engine_version.clone())
            .replication_subnet_group_identifier(&new.subnet_group)
            .set_vpc_security_group_ids(Some(new.security_group_ids.clone()))
            .set_kms_key_id(new.kms_key_arn.clone())
            // Left out, AWS makes it public, for ever.
            .publicly_accessible(false)
            // Left out, a maintenance window can restart the task in the middle of a cutover.
            .auto_minor_version_upgrade(false)
            .set_tags(Some(owner_tags(ours)));
        self.caller.change(permit, CREATE_INSTANCE, &new.identifier, request.send()).await?;
        Ok(())
    }

    /// Asks for the deletion of our replication instance; content if it is gone.
    pub async fn delete_instance(
        &self,
        permit: &Permit<'_>,
        ours: &Ownership,
        arn: &str,
    ) -> Result<(), Fault> {
        if let Standing::Gone = self.prove(ours, DELETE_INSTANCE, arn).await? {
            return Ok(());
        }
        let request = self.client.delete_replication_instance().replication_instance_arn(arn);
        present(self.caller.change(permit, DELETE_INSTANCE, arn, request.send()).await)?;
        Ok(())
    }
}
