//! Steps: everything that can be done, as data. `act` performs one, a plan prints it, a model applies it.

use crate::api::condition::Reason;
use crate::application::goal::Goal;
use crate::aws::cloudwatch::Alarm;
use crate::aws::route53::Change;
use crate::database::decide::LatchWhy;

/// One step.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// Write the intent: the finalizer, and `status.provisionedAt`, before the first effect.
    Claim,
    /// Write to the status which weight is asked for, before it is.
    Intend(Intend),
    /// Set the weights, in one batch; its change goes to the status.
    SetWeights(Batch),
    /// Write to the status that the weight is on all of Route 53's servers: its hold begins.
    Hold,
    /// Write to the status that this attempt is given up.
    Latch(LatchWhy),
    /// Write an alarm.
    PutAlarm(Box<Alarm>),
    /// Remove alarms.
    DeleteAlarms(Vec<String>),
    /// Write the dashboard.
    PutDashboard {
        /// JSON.
        body: String,
    },
    /// Remove the dashboard.
    DeleteDashboard,
    /// Write to the status that the way back is going to be removed.
    EndWayBack,
    /// Leave the name to the target alone, in one batch.
    LeaveToTarget(Batch),
    /// Restore what stood there before, in one batch.
    Restore(Batch),
    /// Take the finalizer off.
    Release,
}

/// Which weight is asked for, and why.
#[derive(Clone, Debug, PartialEq)]
pub struct Intend {
    /// Percent at the target.
    pub weight: u8,
    /// Why, in a sentence.
    pub why: String,
    /// The attempt is given up with it.
    pub latch: Option<LatchWhy>,
}

/// Changes that happen as a whole or not at all.
#[derive(Clone, Debug, PartialEq)]
pub struct Batch {
    /// In order.
    pub changes: Vec<Change>,
    /// Percent at the target afterwards.
    pub weight: u8,
    /// It takes traffic back, and must not wait behind routine calls.
    pub urgent: bool,
}

impl Step {
    /// The word for it, for events, metrics and plans.
    pub fn action(&self) -> &'static str {
        match self {
            Self::Claim => "Claim",
            Self::Intend(_) => "Intend",
            Self::SetWeights(_) => "SetWeights",
            Self::Hold => "Hold",
            Self::Latch(_) => "Latch",
            Self::PutAlarm(_) => "PutAlarm",
            Self::DeleteAlarms(_) => "DeleteAlarms",
            Self::PutDashboard { .. } => "PutDashboard",
            Self::DeleteDashboard => "DeleteDashboard",
            Self::EndWayBack => "EndWayBack",
            Self::LeaveToTarget(_) => "LeaveToTarget",
            Self::Restore(_) => "Restore",
            Self::Release => "Release",
        }
    }

    /// What it is done to.
    pub fn on(&self, goal: &Goal) -> String {
        match self {
            Self::Claim | Self::Latch(_) | Self::Release | Self::EndWayBack => goal.migration.resource(),
            Self::Intend(Intend { weight, .. }) | Self::SetWeights(Batch { weight, .. }) => {
                format!("{} at {weight} %", goal.record.name)
            }
            Self::Hold | Self::LeaveToTarget(_) | Self::Restore(_) => goal.record.name.clone(),
            Self::PutAlarm(alarm) => alarm.name.clone(),
            Self::DeleteAlarms(names) => names.join(", "),
            Self::PutDashboard { .. } | Self::DeleteDashboard => goal.names.dashboard.clone(),
        }
    }

    /// What is done, in words.
    pub fn describe(&self, goal: &Goal) -> String {
        let on = self.on(goal);
        let name = &goal.record.name;
        match self {
            Self::Claim => format!("record that something may exist for {on}"),
            Self::Intend(Intend { weight, why, .. }) => {
                format!("record that {weight} % of {name} is asked for: {why}")
            }
            Self::SetWeights(Batch { weight, urgent: false, .. }) => {
                format!("give the target {weight} % of {name}, in one batch")
            }
            Self::SetWeights(Batch { weight, urgent: true, .. }) => {
                format!("take {name} back to {weight} % at the target, in one batch")
            }
            Self::Hold => {
                let weight = goal.requested.as_ref().map_or(0, |asked| asked.weight);
                format!("hold {name} at {weight} %: its weights are on all of Route 53's servers")
            }
            Self::Latch(why) => format!("record that this attempt is given up: {}", why.message),
            Self::PutAlarm(_) | Self::PutDashboard { .. } => format!("write {on}"),
            Self::DeleteAlarms(_) | Self::DeleteDashboard => format!("delete {on}"),
            Self::EndWayBack => format!("record that the way back of {on} is going to be removed"),
            Self::LeaveToTarget(_) => {
                format!("leave {name} to the target alone, in one batch that moves no traffic")
            }
            Self::Restore(_) => {
                format!("restore what {name} was before, in one batch that moves no traffic")
            }
            Self::Release => format!("let {on} go"),
        }
    }

    /// Whether it can be taken back.
    pub fn is_reversible(&self) -> bool {
        !matches!(self, Self::EndWayBack | Self::LeaveToTarget(_))
    }

    /// It only writes to the status, and the next look follows at once.
    pub fn is_memory(&self) -> bool {
        matches!(self, Self::Claim | Self::Intend(_) | Self::Hold | Self::Latch(_) | Self::EndWayBack)
    }
}

/// Why an attempt is given up.
pub fn latch(reason: Reason, message: impl Into<String>) -> LatchWhy {
    LatchWhy { reason, message: message.into() }
}
