//! Steps: everything that can be done, as data. `act` performs one, a plan prints it, a simulator applies it to a model.

use crate::aws::cloudwatch::Alarm;
use crate::aws::dms::StartType;
use crate::database::cname;
use crate::database::decide::{Decide, LatchWhy, Move};
use crate::database::goal::Goal;
use crate::side::Side;

/// One step.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// Write the intent: the finalizer, and `status.provisionedAt`, before the first effect.
    Claim,
    /// The record on the target, and the fence: no application can write there.
    FenceTarget,
    /// The record and the marker table on the source.
    PrepareSource,
    /// Import a side's certificate authority into DMS.
    ImportCertificate(Side),
    /// Remove a certificate that was replaced.
    DeleteCertificate {
        /// Its ARN.
        arn: String,
        /// Its identifier.
        identifier: String,
    },
    /// Make the subnet group.
    CreateSubnetGroup,
    /// Make the replication instance.
    CreateInstance,
    /// Make a side's endpoint.
    CreateEndpoint(Side),
    /// Bring a side's endpoint to what it should be.
    ModifyEndpoint(Side),
    /// Begin a connection test.
    TestConnection(Side),
    /// Make the task.
    CreateTask,
    /// Start it.
    StartTask(StartType),
    /// Stop it.
    StopTask,
    /// Record on the source that this slot is ours.
    NoteSlot(String),
    /// Write an alarm.
    PutAlarm(Box<Alarm>),
    /// Remove alarms.
    DeleteAlarms(Vec<String>),
    /// Write our heartbeat on the source and measure when the target has it.
    Beat,
    /// Delete the task.
    DeleteTask,
    /// Drop a slot that the task left on the source.
    DropSlot(String),
    /// Delete a side's endpoint.
    DeleteEndpoint(Side),
    /// Delete the replication instance.
    DeleteInstance,
    /// Delete the subnet group.
    DeleteSubnetGroup,
    /// Drop the record on the source.
    DropSourceRecord,
    /// Let go of the target: drop the marker table there. The fence stays.
    ReleaseTarget,
    /// Let go of the source, which stays fenced: the target is the writer and needs Slipway no more.
    ReleaseSource,
    /// Drop the record on the target, which is the writer.
    DropTargetRecord,
    /// Drop the slot of the way back on the target, which is the writer.
    DropReverseSlot(String),
    /// Lower the TTL of the record by which applications find the writer, and mark it, well before the writer moves.
    LowerTtl,
    /// Give that record back: its own TTL, and no marker.
    GiveBackRecord,
    /// Write a decision about the writer to the status, before its first effect.
    Decide(Decide),
    /// Write to the status that the attempt is given up.
    Latch(LatchWhy),
    /// One step of a move of the writer.
    Move(Move),
    /// Take the finalizer off.
    Release,
}

impl Step {
    /// The word for it, for events, metrics and plans.
    pub fn action(&self) -> &'static str {
        match self {
            Self::Claim => "Claim",
            Self::FenceTarget => "FenceTarget",
            Self::PrepareSource => "PrepareSource",
            Self::ImportCertificate(_) => "ImportCertificate",
            Self::DeleteCertificate { .. } => "DeleteCertificate",
            Self::CreateSubnetGroup => "CreateSubnetGroup",
            Self::CreateInstance => "CreateInstance",
            Self::CreateEndpoint(_) => "CreateEndpoint",
            Self::ModifyEndpoint(_) => "ModifyEndpoint",
            Self::TestConnection(_) => "TestConnection",
            Self::CreateTask => "CreateTask",
            Self::StartTask(StartType::First) => "StartTask",
            Self::StartTask(StartType::Resume) => "ResumeTask",
            Self::StopTask => "StopTask",
            Self::NoteSlot(_) => "NoteSlot",
            Self::PutAlarm(_) => "PutAlarm",
            Self::DeleteAlarms(_) => "DeleteAlarms",
            Self::Beat => "Beat",
            Self::DeleteTask => "DeleteTask",
            Self::DropSlot(_) => "DropSlot",
            Self::DeleteEndpoint(_) => "DeleteEndpoint",
            Self::DeleteInstance => "DeleteInstance",
            Self::DeleteSubnetGroup => "DeleteSubnetGroup",
            Self::DropSourceRecord => "DropSourceRecord",
            Self::ReleaseTarget => "ReleaseTarget",
            Self::ReleaseSource => "ReleaseSource",
            Self::DropTargetRecord => "DropTargetRecord",
            Self::DropReverseSlot(_) => "DropReverseSlot",
            Self::LowerTtl => "LowerTTL",
            Self::GiveBackRecord => "GiveBackRecord",
            Self::Decide(decide) => decide.action(),
            Self::Latch(_) => "Latch",
            Self::Move(step) => step.what.action(),
            Self::Release => "Release",
        }
    }

    /// What it is done to.
    pub fn on(&self, goal: &Goal) -> String {
        let names = &goal.names;
        match self {
            Self::Claim | Self::Release | Self::Decide(_) | Self::Latch(_) => goal.migration.resource(),
            Self::FenceTarget | Self::ReleaseTarget | Self::DropTargetRecord => {
                format!("database {} on the target", goal.sides.target.database)
            }
            Self::PrepareSource | Self::DropSourceRecord | Self::ReleaseSource | Self::Beat => {
                format!("database {} on the source", goal.sides.source.database)
            }
            Self::ImportCertificate(side) => format!("certificate authority of the {side}"),
            Self::DeleteCertificate { identifier, .. } => identifier.clone(),
            Self::CreateSubnetGroup | Self::DeleteSubnetGroup => names.subnet_group.clone(),
            Self::CreateInstance | Self::DeleteInstance => names.instance.clone(),
            Self::CreateEndpoint(side)
            | Self::ModifyEndpoint(side)
            | Self::TestConnection(side)
            | Self::DeleteEndpoint(side) => names.endpoints.get(*side).clone(),
            Self::CreateTask | Self::StartTask(_) | Self::StopTask | Self::DeleteTask => names.task.clone(),
            Self::NoteSlot(slot) | Self::DropSlot(slot) => format!("slot {slot} on the source"),
            Self::DropReverseSlot(slot) => format!("slot {slot} on the target"),
            Self::LowerTtl | Self::GiveBackRecord => {
                cname::of(goal).map_or_else(String::new, |record| format!("record {}", record.name))
            }
            Self::Move(step) => step.on(goal),
            Self::PutAlarm(alarm) => alarm.name.clone(),
            Self::DeleteAlarms(names) => names.join(", "),
        }
    }

    /// What is done, in words.
    pub fn describe(&self, goal: &Goal) -> String {
        let on = self.on(goal);
        match self {
            Self::Claim => format!("record that something may exist for {on}"),
            Self::FenceTarget => format!("keep applications from writing to {on}"),
            Self::PrepareSource => format!("make the tables of schema slipway in {on}"),
            Self::ImportCertificate(_) => format!("import the {on} into DMS"),
            Self::DeleteCertificate { .. } => format!("delete certificate {on}"),
            Self::CreateSubnetGroup => format!("create replication subnet group {on}"),
            Self::CreateInstance => format!("create replication instance {on}"),
            Self::CreateEndpoint(_) => format!("create endpoint {on}"),
            Self::ModifyEndpoint(_) => format!("bring endpoint {on} up to date"),
            Self::TestConnection(_) => format!("test the connection through {on}"),
            Self::CreateTask => format!("create task {on}"),
            Self::StartTask(StartType::First) => format!("start task {on}: load, then follow"),
            Self::StartTask(StartType::Resume) => format!("resume task {on} where it stopped"),
            Self::StopTask => format!("stop task {on}"),
            Self::NoteSlot(_) => format!("note that {on} is ours"),
            Self::PutAlarm(_) => format!("write {on}"),
            Self::DeleteAlarms(_) => format!("delete {on}"),
            Self::Beat => format!("measure the lag from {on}"),
            Self::DeleteTask => format!("delete task {on}"),
            Self::DropSlot(_) | Self::DropReverseSlot(_) => format!("drop {on}"),
            Self::DeleteEndpoint(_) => format!("delete endpoint {on}"),
            Self::DeleteInstance => format!("delete replication instance {on}"),
            Self::DeleteSubnetGroup => format!("delete replication subnet group {on}"),
            Self::DropSourceRecord | Self::DropTargetRecord => {
                format!("drop the tables of schema slipway in {on}")
            }
            Self::ReleaseTarget | Self::ReleaseSource => format!("let go of {on}, which stays fenced"),
            Self::LowerTtl => format!("lower the TTL of {on} for the cutover"),
            Self::GiveBackRecord => format!("give {on} its own TTL again and remove the marker beside it"),
            Self::Decide(decide) => decide.describe(),
            Self::Latch(_) => "record that this attempt is given up".to_owned(),
            Self::Move(step) => step.describe(goal),
            Self::Release => format!("let {on} go"),
        }
    }

    /// Whether deleting the migration undoes it. The target's rows and its fence outlive the migration.
    pub fn is_reversible(&self) -> bool {
        !matches!(self, Self::FenceTarget | Self::StartTask(StartType::First))
    }

    /// Steps that keep promises instead of making progress: done while suspended, too.
    pub fn is_guard(&self) -> bool {
        matches!(self, Self::FenceTarget | Self::NoteSlot(_) | Self::Beat | Self::Latch(_))
    }

    /// Steps that repeat for ever and say nothing new: no event for them.
    pub fn is_routine(&self) -> bool {
        matches!(self, Self::Beat)
    }
}
