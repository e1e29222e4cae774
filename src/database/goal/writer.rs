//! Where the writer is to be, and what was last decided about it.

use jiff::{SignedDuration, Timestamp};

use super::Goal;
use crate::api::database::{self as api, DatabaseMigrationSpec, DatabaseMigrationStatus, Invariant};
use crate::duration;
use crate::fault::Blocked;
use crate::side::Side;

/// How the writer moves.
#[derive(Clone, Debug, PartialEq)]
pub struct CutoverGoal {
    /// Which comes first.
    pub order: api::Order,
    /// The cutover begins only while the target is not further behind.
    pub max_lag: SignedDuration,
    /// For how long nobody may be able to write.
    pub max_write_outage: SignedDuration,
    /// It does not begin before.
    pub not_before: Option<Timestamp>,
    /// It does not begin after.
    pub not_after: Option<Timestamp>,
    /// How applications find the writer; `None` only below goal `CutOver`.
    pub connection: Option<ConnectionGoal>,
    /// What must have the same answer on both sides before the writer moves.
    pub invariants: Vec<Invariant>,
    /// `Finish` is honoured this long after the target became the writer.
    pub min_soak: SignedDuration,
}

/// How applications find the writer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConnectionGoal {
    /// Their driver tries both hosts; the fence is the switch.
    MultiHost,
    /// They read this secret.
    Secret {
        /// Its ARN.
        arn: String,
    },
    /// They resolve this name.
    Record(RecordGoal),
}

/// A CNAME by which applications find the writer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordGoal {
    /// Its hosted zone.
    pub zone_id: String,
    /// Its name.
    pub name: String,
    /// Seconds for which resolvers may keep it.
    pub ttl: u32,
}

impl RecordGoal {
    /// The name of the marker.
    pub fn marker(&self) -> String {
        crate::marker::beside(&self.name)
    }
}

/// What was last decided about the writer, as the status has it. Should it be lost, the rows of both databases say what is
/// to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decided {
    /// The number of the decision.
    pub epoch: i64,
    /// What it is.
    pub intent: Intent,
    /// The attempt that it belongs to.
    pub attempt: i32,
}

/// An attempt that was given up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GivenUp {
    /// Which.
    pub attempt: i32,
    /// Why.
    pub message: String,
}

/// What a decision is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Intent {
    /// Nothing moves.
    Steady,
    /// The writer goes to the target.
    Move,
    /// It was given up: the source is opened again.
    Return,
    /// What the migration made is removed.
    Finish,
    /// All of it is removed.
    Finished,
}

impl Intent {
    /// The word as the status has it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Steady => "Steady",
            Self::Move => "Move",
            Self::Return => "Return",
            Self::Finish => "Finish",
            Self::Finished => "Finished",
        }
    }

    fn parse(word: &str) -> Option<Self> {
        [Self::Steady, Self::Move, Self::Return, Self::Finish, Self::Finished]
            .into_iter()
            .find(|intent| intent.as_str() == word)
    }
}

impl Goal {
    /// Where Git, the latch and the brake together want the writer to be.
    pub fn wanted_writer(&self) -> Side {
        let forward = self.reach >= api::Goal::CutOver
            && self.deletion.is_none()
            && !self.is_latched()
            && !self.is_aborted();
        if forward { Side::Target } else { Side::Source }
    }

    /// An earlier attempt was given up, and no later one was ordered.
    pub fn is_latched(&self) -> bool {
        self.latch.as_ref().is_some_and(|latch| latch.attempt >= self.attempt)
    }

    /// The emergency brake is on for this attempt.
    pub fn is_aborted(&self) -> bool {
        self.abort_attempt.is_some_and(|abort| abort >= self.attempt)
    }

    /// Something about the writer was begun and is not at its end.
    pub fn is_moving(&self) -> bool {
        matches!(&self.decided, Some(Decided { intent: Intent::Move | Intent::Return, .. }))
    }
}

/// The decision in a status; `None` too for a word of another version, as if it were lost.
pub(super) fn decided(status: Option<&DatabaseMigrationStatus>) -> Option<Decided> {
    let decided = status?.decided.as_ref()?;
    Some(Decided { epoch: decided.epoch, intent: Intent::parse(&decided.intent)?, attempt: decided.attempt })
}

/// The latch in a status.
pub(super) fn latch(status: Option<&DatabaseMigrationStatus>) -> Option<GivenUp> {
    let latch = status?.latch.as_ref()?;
    let message = latch.message.clone().unwrap_or_else(|| latch.reason.clone());
    Some(GivenUp { attempt: latch.attempt, message })
}

/// Parses what is said about the cutover.
pub(super) fn cutover(
    spec: &DatabaseMigrationSpec,
    invalid: impl Fn(&str, &str) -> Blocked,
) -> Result<CutoverGoal, Blocked> {
    let read = |field: &str, text: &str| {
        duration::parse(text).ok_or_else(|| invalid(field, "must be a duration such as 5s or 1m30s"))
    };
    let wish = &spec.cutover;
    let max_lag = read("spec.cutover.maxLag", &wish.max_lag)?;
    let max_write_outage = read("spec.cutover.maxWriteOutage", &wish.max_write_outage)?;
    if max_write_outage < SignedDuration::from_secs(5) || max_write_outage > SignedDuration::from_mins(10) {
        return Err(invalid("spec.cutover.maxWriteOutage", "must be between 5s and 10m"));
    }
    if !max_lag.is_positive() {
        return Err(invalid("spec.cutover.maxLag", "must be longer than nothing"));
    }
    let (not_before, not_after) =
        (wish.not_before.as_ref().map(|at| at.0), wish.not_after.as_ref().map(|at| at.0));
    if let (Some(before), Some(after)) = (not_before, not_after)
        && before >= after
    {
        return Err(invalid("spec.cutover.notBefore", "must be earlier than spec.cutover.notAfter"));
    }
    let connection = match &wish.connection {
        None if spec.goal >= api::Goal::CutOver => {
            return Err(invalid(
                "spec.cutover.connection",
                "is needed for the goals CutOver and Finish: it says how applications find the writer",
            ));
        }
        None => None,
        Some(by) => match (&by.record, &by.secret, &by.multi_host) {
            (Some(record), None, None) => Some(ConnectionGoal::Record(RecordGoal {
                zone_id: record.zone_id.clone(),
                name: record.name.clone(),
                ttl: record.ttl_seconds,
            })),
            (None, Some(secret), None) => Some(ConnectionGoal::Secret { arn: secret.secret_arn.clone() }),
            (None, None, Some(api::MultiHost {})) => Some(ConnectionGoal::MultiHost),
            _ => {
                return Err(invalid(
                    "spec.cutover.connection",
                    "must have exactly one of record, secret and multiHost",
                ));
            }
        },
    };
    Ok(CutoverGoal {
        order: wish.order,
        max_lag,
        max_write_outage,
        not_before,
        not_after,
        connection,
        invariants: spec.verification.invariants.clone(),
        min_soak: read("spec.rollback.minSoak", &spec.rollback.min_soak)?,
    })
}
