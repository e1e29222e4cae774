//! (goal, seen) → decision. Pure: no I/O, no clock but `seen.now`, no randomness, no async. At most one step.

pub mod assess;
mod deletion;
mod forward;
#[cfg(test)]
pub(crate) mod scene;
#[cfg(test)]
mod tests;
pub mod wanted;

use jiff::SignedDuration;

use crate::api::condition::Reason;
use crate::api::database::{DeletionPolicy, Goal as Reach};
use crate::aws::cloudwatch::Alarm;
use crate::aws::dms::StartType;
use crate::database::goal::Goal;
use crate::database::seen::Seen;
use crate::fault::{Blocked, Fault};
use crate::side::Side;

/// How often our own heartbeat is written and its arrival measured.
pub const BEAT_EVERY: SignedDuration = SignedDuration::from_secs(10);
/// A measured lag older than this is no knowledge.
pub const LAG_FRESH_FOR: SignedDuration = SignedDuration::from_secs(60);
/// A successful connection test older than this is history, not a proof (aws-facts: the API has no time of its own).
pub const TEST_FRESH_FOR: SignedDuration = SignedDuration::from_hours(1);
/// A failed connection test is repeated after this.
pub const RETEST_AFTER: SignedDuration = SignedDuration::from_secs(20);
/// A fence that left a writer is tried again after this.
pub const REFENCE_AFTER: SignedDuration = SignedDuration::from_secs(60);
/// A task that stopped for a passing reason is resumed after this.
pub const RESUME_AFTER: SignedDuration = SignedDuration::from_secs(5);
/// A task that stopped at an error is resumed after this: long enough to mend the cause, and an unmended one stops it
/// again at the same place, since every error policy is strict.
pub const RESUME_AFTER_FATAL: SignedDuration = SignedDuration::from_mins(1);

/// What to do and what to say.
#[derive(Clone, Debug, PartialEq)]
pub struct Decision {
    /// Where the migration stands; `None` if that can't be told now, and then the last word stands.
    pub phase: Option<Phase>,
    /// The one step to perform now.
    pub step: Option<Step>,
    /// How it is.
    pub state: State,
    /// What happens next, in one sentence that does not change by itself.
    pub next: String,
    /// When to look again if nothing was done.
    pub look_again: LookAgain,
}

/// Where a migration stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Phase {
    /// Nothing was made; both sides are fit.
    Pending,
    /// Nothing was made; facts are missing or something is in the way.
    Assessing,
    /// Making what is needed.
    Provisioning,
    /// The task copies tables.
    Loading,
    /// The target follows the source.
    Replicating,
    /// Removing what was made.
    Deleting,
}

impl Phase {
    /// What being in it means, for those who read events and history.
    pub fn meaning(self) -> &'static str {
        match self {
            Self::Pending => "Nothing was made yet, and nothing is in the way",
            Self::Assessing => "Nothing was made yet, and something is in the way",
            Self::Provisioning => "Making what replication needs",
            Self::Loading => "The task copies the tables",
            Self::Replicating => "Every table is loaded; the task applies each change of the source",
            Self::Deleting => "Removing what was made; the target's rows and its fence stay",
        }
    }

    /// The word as the status shows it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "Pending",
            Self::Assessing => "Assessing",
            Self::Provisioning => "Provisioning",
            Self::Loading => "Loading",
            Self::Replicating => "Replicating",
            Self::Deleting => "Deleting",
        }
    }
}

/// How a migration is.
#[derive(Clone, Debug, PartialEq)]
pub enum State {
    /// What Git allows is reached and healthy.
    Ready {
        /// The word.
        reason: Reason,
        /// The sentence.
        message: String,
    },
    /// On its way.
    Walking {
        /// The word.
        reason: Reason,
        /// The sentence.
        message: String,
    },
    /// A person must change something.
    Stalled(Blocked),
    /// The facts could not be had; the sentence says which. Says nothing about the migration yet.
    Uncertain(String),
}

/// When to look again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LookAgain {
    /// AWS is at work: soon.
    Soon,
    /// Replicating: at the pace of the heartbeat.
    Steady,
    /// A person must act, or nothing is to be done.
    Rarely,
}

/// One step. Data: `act` performs it, a plan prints it, a simulator applies it to a model.
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
            Self::Release => "Release",
        }
    }

    /// What it is done to.
    pub fn on(&self, goal: &Goal) -> String {
        let names = &goal.names;
        match self {
            Self::Claim | Self::Release => goal.migration.resource(),
            Self::FenceTarget | Self::ReleaseTarget => {
                format!("database {} on the target", goal.sides.target.database)
            }
            Self::PrepareSource | Self::DropSourceRecord | Self::Beat => {
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
            Self::DropSlot(_) => format!("drop {on}"),
            Self::DeleteEndpoint(_) => format!("delete endpoint {on}"),
            Self::DeleteInstance => format!("delete replication instance {on}"),
            Self::DeleteSubnetGroup => format!("delete replication subnet group {on}"),
            Self::DropSourceRecord => format!("drop the tables of schema slipway in {on}"),
            Self::ReleaseTarget => format!("let go of {on}, which stays fenced"),
            Self::Release => format!("let {on} go"),
        }
    }

    /// Whether deleting the migration undoes it. The target's rows and its fence outlive the migration.
    pub fn is_reversible(&self) -> bool {
        !matches!(self, Self::FenceTarget | Self::StartTask(StartType::First))
    }

    /// Steps that keep promises instead of making progress: done while suspended, too.
    pub fn is_guard(&self) -> bool {
        matches!(self, Self::FenceTarget | Self::NoteSlot(_) | Self::Beat)
    }

    /// Steps that repeat for ever and say nothing new: no event for them.
    pub fn is_routine(&self) -> bool {
        matches!(self, Self::Beat)
    }
}

/// What `forward` and `deletion` found: exactly one of these.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Found {
    /// To be done now.
    Do(Step),
    /// Something is at work; the sentence says what.
    Wait(String),
    /// A person must change something.
    Stall(Blocked),
    /// Nothing is left to do.
    Done,
}

/// The decision. Total: every goal and every observation has one.
pub fn decide(goal: &Goal, seen: &Seen) -> Decision {
    match (goal.deletion, goal.reach) {
        (Some(policy), _) => delete(goal, seen, policy),
        (None, Reach::Plan) => plan(goal, seen),
        (None, Reach::Replicate) => replicate(goal, seen),
    }
}

fn plan(goal: &Goal, seen: &Seen) -> Decision {
    let state = match assess::assess(goal, seen) {
        Err(message) => State::Uncertain(message),
        Ok(blockers) => match blockers.into_iter().next() {
            Some(first) => State::Stalled(first),
            None => State::Ready {
                reason: Reason::Planned,
                message: "Nothing was changed; status.plan lists what goal Replicate would do".to_owned(),
            },
        },
    };
    let next = match &state {
        State::Ready { .. } => "waiting for goal Replicate".to_owned(),
        State::Stalled(blocked) => blocked_next(blocked),
        State::Walking { .. } | State::Uncertain(_) => "looking at both sides".to_owned(),
    };
    let phase = match &state {
        State::Ready { .. } => Some(Phase::Pending),
        State::Stalled(_) => Some(Phase::Assessing),
        State::Walking { .. } | State::Uncertain(_) => None,
    };
    Decision { phase, step: None, state, next, look_again: LookAgain::Rarely }
}

fn replicate(goal: &Goal, seen: &Seen) -> Decision {
    let blockers = match assess::assess(goal, seen) {
        Ok(blockers) => blockers,
        Err(message) => {
            return Decision {
                phase: forward::phase(goal, seen),
                step: None,
                state: State::Uncertain(message),
                next: "looking again at what could not be seen".to_owned(),
                look_again: LookAgain::Soon,
            };
        }
    };
    let phase = forward::phase(goal, seen);
    if let Some(first) = blockers.into_iter().next() {
        // Forward nothing; but a target that came open is fenced again whatever else is wrong, and the lag is measured.
        let step = if goal.claimed { forward::guard(goal, seen) } else { None };
        let next = blocked_next(&first);
        let phase = if goal.claimed { phase } else { Some(Phase::Assessing) };
        return Decision { phase, step, state: State::Stalled(first), next, look_again: LookAgain::Rarely };
    }
    match forward::next(goal, seen) {
        Found::Do(step) if goal.suspended && !step.is_guard() => Decision {
            phase,
            step: None,
            state: State::Walking {
                reason: Reason::Suspended,
                message: format!("spec.suspend holds the next step: {}", step.describe(goal)),
            },
            next: "suspended: waiting for spec.suspend to be removed".to_owned(),
            look_again: LookAgain::Steady,
        },
        Found::Do(step) => {
            let (state, next, look_again) = if step.is_routine() {
                standing(goal, seen)
            } else {
                let message = step.describe(goal);
                (
                    State::Walking { reason: walking_reason(phase), message: message.clone() },
                    message,
                    LookAgain::Soon,
                )
            };
            Decision { phase, step: Some(step), state, next, look_again }
        }
        Found::Wait(message) => Decision {
            phase,
            step: None,
            state: State::Walking { reason: walking_reason(phase), message: message.clone() },
            next: message,
            look_again: LookAgain::Soon,
        },
        Found::Stall(blocked) => {
            let next = blocked_next(&blocked);
            Decision {
                phase,
                step: None,
                state: State::Stalled(blocked),
                next,
                look_again: LookAgain::Steady,
            }
        }
        Found::Done => {
            let (state, next, look_again) = standing(goal, seen);
            Decision { phase, step: None, state, next, look_again }
        }
    }
}

/// The task runs and nothing is left to do but to follow: how healthy is that?
fn standing(goal: &Goal, seen: &Seen) -> (State, String, LookAgain) {
    let following = "following the source; Replicate is reached".to_owned();
    let Some(lag) = seen.memory.lag.filter(|lag| !is_older(lag.at, LAG_FRESH_FOR, seen)) else {
        return (
            State::Walking {
                reason: Reason::Replicating,
                message: "The heartbeat has not been seen on the target yet, so the lag is unknown"
                    .to_owned(),
            },
            "measuring the lag".to_owned(),
            LookAgain::Soon,
        );
    };
    if lag.age > goal.lag_threshold() {
        let limit = crate::duration::format(goal.lag_threshold());
        return (
            State::Walking {
                reason: Reason::Replicating,
                message: format!("The target is more than {limit} behind the source"),
            },
            "waiting for the target to catch up".to_owned(),
            LookAgain::Steady,
        );
    }
    (
        State::Ready {
            reason: Reason::Replicating,
            message: "Every table is loaded and the target follows the source".to_owned(),
        },
        following,
        LookAgain::Steady,
    )
}

fn delete(goal: &Goal, seen: &Seen, policy: DeletionPolicy) -> Decision {
    let walking = |message: String| State::Walking { reason: Reason::Deleting, message: message.clone() };
    let decision = |step, state, next, look_again| Decision {
        phase: Some(Phase::Deleting),
        step,
        state,
        next,
        look_again,
    };
    if policy == DeletionPolicy::Retain || !goal.claimed {
        let message = "letting go of everything that was made".to_owned();
        return decision(Some(Step::Release), walking(message.clone()), message, LookAgain::Soon);
    }
    match deletion::next(goal, seen) {
        Err(Fault::Blocked(blocked)) | Ok(Found::Stall(blocked)) => {
            let next = blocked_next(&blocked);
            decision(None, State::Stalled(blocked), next, LookAgain::Rarely)
        }
        Err(fault) => decision(
            None,
            State::Uncertain(fault.message().to_owned()),
            "looking again at what is left".to_owned(),
            LookAgain::Soon,
        ),
        Ok(Found::Do(step)) => {
            let message = step.describe(goal);
            decision(Some(step), walking(message.clone()), message, LookAgain::Soon)
        }
        Ok(Found::Wait(message)) => decision(None, walking(message.clone()), message, LookAgain::Soon),
        Ok(Found::Done) => {
            let message = "nothing is left".to_owned();
            decision(Some(Step::Release), walking(message.clone()), message, LookAgain::Soon)
        }
    }
}

fn blocked_next(blocked: &Blocked) -> String {
    format!("waiting for a person: {} (see the Stalled condition)", blocked.reason)
}

fn walking_reason(phase: Option<Phase>) -> Reason {
    match phase {
        Some(Phase::Loading) => Reason::Loading,
        Some(Phase::Replicating) => Reason::Replicating,
        Some(Phase::Deleting) => Reason::Deleting,
        Some(Phase::Pending | Phase::Assessing | Phase::Provisioning) | None => Reason::Provisioning,
    }
}

fn is_older(at: jiff::Timestamp, than: SignedDuration, seen: &Seen) -> bool {
    seen.now.duration_since(at) > than
}
