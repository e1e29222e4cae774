//! What is true now, as far as it could be learned: the input of `decide` beside the goal. Plain data.

use std::collections::BTreeMap;
use std::net::IpAddr;

use jiff::{SignedDuration, Timestamp};

use crate::api::database::{DatabaseMigration, Order};
use crate::aws::balancer::{Balancer, Target, TargetGroup};
use crate::aws::cloudwatch::{Dashboard, SeenAlarm};
use crate::aws::ecs::Service;
use crate::aws::route53::{Propagation, RecordSet, Zone};
use crate::database::seen::Known;
use crate::duration;
use crate::gate::{Answer, Track};
use crate::side::{Side, Sides};

/// Everything that was observed for one decision.
#[derive(Clone, Debug, PartialEq)]
pub struct Seen {
    /// When. The only clock that `decide` knows.
    pub now: Timestamp,
    /// The credentials at hand belong to the account that the administrator mapped this namespace to.
    pub account: Known<()>,
    /// The hosted zone, if it exists.
    pub zone: Known<Option<Zone>>,
    /// Every record of the name and of the marker's name.
    pub records: Known<Vec<RecordSet>>,
    /// Where the change that the status names has got to; asked only while that is open. `None`: Route 53 does not know it.
    pub change: Option<Known<Option<Propagation>>>,
    /// The load balancer, if it exists.
    pub balancer: Known<Option<Balancer>>,
    /// The target group, if it exists.
    pub group: Known<Option<TargetGroup>>,
    /// Its targets.
    pub targets: Known<Vec<Target>>,
    /// The service, if it exists.
    pub service: Known<Option<Service>>,
    /// What each side's places answered to the health check.
    pub health: Sides<Known<Vec<(String, Answer)>>>,
    /// What the `DatabaseMigration` says, if the spec names one; `None` within: there is none of that name.
    pub database: Option<Known<Option<DatabaseSeen>>>,
    /// Those of our alarms that exist.
    pub alarms: Known<Vec<SeenAlarm>>,
    /// Our dashboard, if it exists.
    pub dashboard: Known<Option<Dashboard>>,
    /// How each gate was judged last; empty after a restart.
    pub gates: BTreeMap<String, Track>,
}

/// What a `DatabaseMigration` says of itself, and what its writer shows.
#[derive(Clone, Debug, PartialEq)]
pub struct DatabaseSeen {
    /// Its spec.applications names this application.
    pub lists_us: bool,
    /// Which comes first.
    pub order: Order,
    /// Its phase.
    pub phase: String,
    /// Which database takes the applications' writes; `None` if none does, or nobody knows.
    pub writer: Option<Side>,
    /// The word for that, as its status has it.
    pub writer_word: String,
    /// What it says is of now.
    pub fresh: bool,
    /// How far the target was behind, and when.
    pub lag: Option<(SignedDuration, Timestamp)>,
    /// Whether both were found equal when the writer moved.
    pub verified: Option<bool>,
    /// From where applications are logged in to the writer; asked only where a fleet has to be proved.
    pub sessions: Known<Vec<IpAddr>>,
}

/// What a status says is of now for this long: while the target follows the source it is refreshed every 5 minutes.
const FRESH_FOR: SignedDuration = SignedDuration::from_mins(6);

impl DatabaseSeen {
    /// What a `DatabaseMigration` says of itself to the application of this name. At rest its status is not refreshed: then it
    /// is of now as long as it speaks of the present spec. A move of the writer is written there before it begins.
    pub fn read(
        object: &DatabaseMigration,
        application: &str,
        sessions: Known<Vec<IpAddr>>,
        now: Timestamp,
    ) -> Self {
        let status = object.status.clone().unwrap_or_default();
        let recent = status.observed_at.as_ref().is_some_and(|at| now.duration_since(at.0) <= FRESH_FOR);
        let current = status.observed_generation == object.metadata.generation;
        let writer_word = status.writer.unwrap_or_else(|| "Unknown".to_owned());
        let replication = status.replication.unwrap_or_default();
        let lag = replication.lag.as_deref().and_then(duration::parse);
        let measured = lag.zip(replication.measured_at.map(|at| at.0));
        Self {
            lists_us: object.spec.applications.iter().any(|name| name == application),
            order: object.spec.cutover.order,
            phase: status.phase.unwrap_or_default(),
            writer: match writer_word.as_str() {
                "Source" => Some(Side::Source),
                "Target" => Some(Side::Target),
                _ => None,
            },
            // Once the target is the writer it is behind nothing, and nothing measures how far.
            lag: if writer_word == "Target" { Some((SignedDuration::ZERO, now)) } else { measured },
            writer_word,
            fresh: recent || current,
            verified: status.verification.map(|verification| verification.state == "Equal"),
            sessions,
        }
    }

    /// The writer is being moved.
    pub fn is_moving(&self) -> bool {
        matches!(self.phase.as_str(), "CuttingOver" | "RollingBack")
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::fault::Fault;

    #[test]
    fn the_target_is_behind_nothing_once_it_is_the_writer() {
        let text = include_str!("../../examples/database-migration.yaml");
        let mut object: DatabaseMigration = serde_saphyr::from_str(text).expect("the example");
        let now: Timestamp = "2026-11-24T12:00:00Z".parse().expect("a time");
        let mut with = |status: serde_json::Value| {
            object.status = serde_json::from_value(status).expect("a status");
            DatabaseSeen::read(&object, "payments-api", Err(Fault::Wait("not asked".to_owned())), now)
        };
        let replication = json!({"lag": "2s", "measuredAt": "2026-11-24T11:59:00Z"});
        let follows = with(json!({"writer": "Source", "replication": replication}));
        let measured = "2026-11-24T11:59:00Z".parse().expect("a time");
        assert_eq!(follows.lag, Some((SignedDuration::from_secs(2), measured)));
        assert_eq!(with(json!({"writer": "Source"})).lag, None);
        assert_eq!(with(json!({"writer": "Target"})).lag, Some((SignedDuration::ZERO, now)));
        assert_eq!(with(json!({"writer": "None"})).lag, None);
        assert!(!with(json!({})).lists_us, "the example names no application");
    }
}
