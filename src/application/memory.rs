//! What a step leaves in the status, beside what is observed: which weight was asked for, since when it stands, what was given
//! up. The status is the only memory but Route 53 itself, and is written with the object's resourceVersion.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::api::application::{ApplicationMigrationStatus, Latch, TrafficStatus};
use crate::application::decide::{Intend, Step};
use crate::application::goal::Goal;
use crate::database::decide::LatchWhy;
use crate::report::clip;

/// The status after a step that is remembered; `None` for any other.
pub fn after(
    goal: &Goal,
    step: &Step,
    previous: &ApplicationMigrationStatus,
    now: Timestamp,
) -> Option<ApplicationMigrationStatus> {
    let mut status = previous.clone();
    // As the API server keeps it, or the next look would find another time.
    let now = Timestamp::from_second(now.as_second()).unwrap_or(now);
    match step {
        Step::Claim => {
            status.provisioned_at.get_or_insert(Time(now));
        }
        Step::Intend(Intend { weight, latch: given_up, .. }) => {
            status.traffic = Some(TrafficStatus {
                requested_weight: Some(i32::from(*weight)),
                step_index: i32::try_from(goal.index_of(*weight)).ok(),
                attempt: Some(goal.attempt),
                change_id: None,
                since: None,
                hold_until: None,
                drift: None,
                ..status.traffic.unwrap_or_default()
            });
            if let Some(why) = given_up {
                status.latch = Some(latch(goal, why, now));
            }
        }
        Step::Hold => {
            let traffic = status.traffic.get_or_insert_default();
            traffic.since = Some(Time(now));
            traffic.staged_at.get_or_insert(Time(now));
        }
        Step::Latch(why) => status.latch = Some(latch(goal, why, now)),
        Step::EndWayBack => {
            status.point_of_no_return_at.get_or_insert(Time(now));
        }
        Step::SetWeights(_)
        | Step::PutAlarm(_)
        | Step::DeleteAlarms(_)
        | Step::PutDashboard { .. }
        | Step::DeleteDashboard
        | Step::LeaveToTarget(_)
        | Step::Restore(_)
        | Step::Release => return None,
    }
    Some(status)
}

/// The status once Route 53 took the batch that sets the weights.
pub fn submitted(previous: &ApplicationMigrationStatus, change_id: &str) -> ApplicationMigrationStatus {
    let mut status = previous.clone();
    status.traffic.get_or_insert_default().change_id = Some(change_id.to_owned());
    status
}

fn latch(goal: &Goal, why: &LatchWhy, now: Timestamp) -> Latch {
    Latch {
        attempt: goal.attempt,
        reason: why.reason.as_str().to_owned(),
        message: Some(clip(&why.message, 512)),
        at: Time(now),
    }
}
