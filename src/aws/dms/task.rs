//! Makes, starts, stops and deletes the replication task.

use aws_sdk_databasemigration::types::{MigrationTypeValue, StartReplicationTaskTypeValue};

use super::tags::{Standing, owner_tags};
use super::{Dms, StartType};
use crate::aws::call::{Operation, present};
use crate::aws::owner::Ownership;
use crate::fault::Fault;
use crate::permit::Permit;

const FIELDS: &str = "spec.tables and spec.replication.tuning";
const CREATE_TASK: Operation = Operation::change("dms", "CreateReplicationTask", FIELDS);
const START_TASK: Operation = Operation::change("dms", "StartReplicationTask", FIELDS);
const STOP_TASK: Operation = Operation::change("dms", "StopReplicationTask", FIELDS);
const DELETE_TASK: Operation = Operation::change("dms", "DeleteReplicationTask", FIELDS);

/// A task to be made: full load, then changes.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct NewTask {
    pub identifier: String,
    pub instance_arn: String,
    pub source_endpoint_arn: String,
    pub target_endpoint_arn: String,
    /// See [`settings::table_mappings`](super::settings::table_mappings).
    pub table_mappings: String,
    /// See [`settings::task_settings`](super::settings::task_settings).
    pub settings: String,
}

impl Dms {
    /// Makes a task. It does not run yet.
    pub async fn create_task(
        &self,
        permit: &Permit<'_>,
        ours: &Ownership,
        new: &NewTask,
    ) -> Result<(), Fault> {
        let request = self
            .client
            .create_replication_task()
            .replication_task_identifier(&new.identifier)
            .replication_instance_arn(&new.instance_arn)
            .source_endpoint_arn(&new.source_endpoint_arn)
            .target_endpoint_arn(&new.target_endpoint_arn)
            .migration_type(MigrationTypeValue::FullLoadAndCdc)
            .table_mappings(&new.table_mappings)
            .replication_task_settings(&new.settings)
            .set_tags(Some(owner_tags(ours)));
        self.caller.change(permit, CREATE_TASK, &new.identifier, request.send()).await?;
        Ok(())
    }

    /// Starts our task.
    pub async fn start_task(
        &self,
        permit: &Permit<'_>,
        ours: &Ownership,
        arn: &str,
        start: StartType,
    ) -> Result<(), Fault> {
        self.prove_present(ours, START_TASK, arn).await?;
        let start = match start {
            StartType::First => StartReplicationTaskTypeValue::StartReplication,
            StartType::Resume => StartReplicationTaskTypeValue::ResumeProcessing,
        };
        let request =
            self.client.start_replication_task().replication_task_arn(arn).start_replication_task_type(start);
        self.caller.change(permit, START_TASK, arn, request.send()).await?;
        Ok(())
    }

    /// Asks our task to stop.
    pub async fn stop_task(&self, permit: &Permit<'_>, ours: &Ownership, arn: &str) -> Result<(), Fault> {
        self.prove_present(ours, STOP_TASK, arn).await?;
        let request = self.client.stop_replication_task().replication_task_arn(arn);
        self.caller.change(permit, STOP_TASK, arn, request.send()).await?;
        Ok(())
    }

    /// Asks for the deletion of our task; content if it is gone.
    pub async fn delete_task(&self, permit: &Permit<'_>, ours: &Ownership, arn: &str) -> Result<(), Fault> {
        if let Standing::Gone = self.prove(ours, DELETE_TASK, arn).await? {
            return Ok(());
        }
        let request = self.client.delete_replication_task().replication_task_arn(arn);
        present(self.caller.change(permit, DELETE_TASK, arn, request.send()).await)?;
        Ok(())
    }
}
