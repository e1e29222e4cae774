//! What is true now, as far as it could be learned: the input of `decide` beside the goal. Plain data.

use jiff::{SignedDuration, Timestamp};

use crate::aws::cloudwatch::{SeenAlarm, TaskLag};
use crate::aws::dms::{Certificate, Connection, Endpoint, Instance, SubnetGroup, TableStatistics, Task};
use crate::aws::secrets::Place;
use crate::database::applications::ApplicationSeen;
use crate::database::cname::CnameSeen;
use crate::database::decide::{self, Move, MoveStep, Step};
use crate::fault::{Blocked, Fault};
use crate::postgres::{Holder, Lag, PreCheck, Server, Standing};
use crate::side::{Direction, Sides};

/// A fact, or why it is not known.
pub type Known<T> = Result<T, Fault>;

/// Everything that was observed for one decision.
#[derive(Clone, Debug, PartialEq)]
pub struct Seen {
    /// When. The only clock that `decide` knows.
    pub now: Timestamp,
    /// The credentials at hand belong to the account that the administrator mapped this namespace to.
    pub account: Known<()>,
    /// What the Secrets and certificate authorities of each side are, without what they hold.
    pub material: Sides<Known<MaterialSeen>>,
    /// Where each side listens.
    pub address: Sides<Known<(String, u16)>>,
    /// What each database says to the operator's role.
    pub database: Sides<Known<Server>>,
    /// What each database says of itself during a move; asked only then.
    pub standing: Sides<Option<Known<Standing>>>,
    /// What could be in the way of a fence; asked only before one.
    pub precheck: Sides<Option<Known<PreCheck>>>,
    /// The applications that name this database; asked only before a fence.
    pub applications: Option<Known<Vec<ApplicationSeen>>>,
    /// Where the applications' secret points, if there is one; asked only before a move.
    pub secret: Option<Known<Option<Place>>>,
    /// What stands at the name by which applications find the writer, if there is one; asked around a move and at the end.
    pub cname: Option<Known<CnameSeen>>,
    /// Whether the role that DMS uses can log in, tried by the operator itself.
    pub replication_login: Sides<Known<()>>,
    /// What AWS says.
    pub aws: Known<AwsSeen>,
    /// What this process remembers of what it did; empty after a restart, and nothing may depend on it but repetition.
    pub memory: MemorySeen,
}

/// How each side is reached, as far as that is known: its Secrets, and where it listens.
pub type Reach = Sides<Known<(MaterialSeen, (String, u16))>>;

impl Seen {
    /// What is seen within a move: the two databases and nothing else, since applications wait.
    pub fn within_a_move(
        now: Timestamp,
        reach: Reach,
        standing: Sides<Option<Known<Standing>>>,
        precheck: Sides<Option<Known<PreCheck>>>,
        applications: Option<Known<Vec<ApplicationSeen>>>,
        memory: MemorySeen,
    ) -> Self {
        fn split<M, A>(known: Known<(M, A)>) -> (Known<M>, Known<A>) {
            match known {
                Ok((material, address)) => (Ok(material), Ok(address)),
                Err(fault) => (Err(fault.clone()), Err(fault)),
            }
        }
        let not_asked = || Fault::Wait("AWS is not asked while applications wait".to_owned());
        let (source, target) = (split(reach.source), split(reach.target));
        Self {
            now,
            account: Ok(()),
            material: Sides { source: source.0, target: target.0 },
            address: Sides { source: source.1, target: target.1 },
            database: Sides { source: Err(not_asked()), target: Err(not_asked()) },
            standing,
            precheck,
            applications,
            secret: None,
            cname: None,
            replication_login: Sides { source: Ok(()), target: Ok(()) },
            aws: Err(not_asked()),
            memory,
        }
    }
}

/// What is known of a side's Secrets without knowing the secrets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MaterialSeen {
    /// Role that DMS logs in as.
    pub replication_username: String,
    /// Which version of its Secret: uid and resourceVersion.
    pub replication_version: String,
    /// First 8 hexadecimal digits of the SHA-256 of the certificate authorities.
    pub ca_fingerprint: String,
}

/// What AWS has of this migration.
#[derive(Clone, Debug, Default, PartialEq)]
#[allow(missing_docs)]
pub struct AwsSeen {
    pub instance: Option<Instance>,
    pub subnet_group: Option<SubnetGroup>,
    /// Every certificate made for this migration, of whatever content.
    pub certificates: Vec<Certificate>,
    pub endpoints: Sides<Option<Endpoint>>,
    pub connections: Sides<Option<Connection>>,
    pub task: Option<Task>,
    pub tables: Vec<TableStatistics>,
    pub alarms: Vec<SeenAlarm>,
    pub task_lag: Option<TaskLag>,
}

/// What this process remembers.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MemorySeen {
    /// When a connection test was last begun, by side.
    pub tested_at: Sides<Option<Timestamp>>,
    /// When the target was last fenced by this process.
    pub fenced_at: Option<Timestamp>,
    /// The last measured lag.
    pub lag: Option<Lag>,
    /// Heartbeats in a row that arrived within `spec.cutover.maxLag`.
    pub prompt_beats: u32,
    /// The decision that this process wrote. Another one's is taken over by a decision of our own.
    pub led: Option<i64>,
    /// Looks in a row that found the old side fenced and quiet.
    pub quiet_looks: u32,
    /// The old side's timeline when its fence was first seen, and which fence.
    pub timeline: Option<(String, i32)>,
    /// What comparing both sides found, and within which fence.
    pub verified: Option<Verified>,
    /// The fence and the decision under which the sequences were set.
    pub sequences: Option<(String, i64)>,
    /// The decision under which applications were told of the writer.
    pub repointed: Option<i64>,
    /// The last change of the name by which applications find the writer.
    pub cname_change: Option<String>,
    /// Why the move can't go on.
    pub failed: Option<Blocked>,
}

impl MemorySeen {
    /// A step is about to be tried.
    pub fn begins(&mut self, step: &Step, now: Timestamp) {
        match step {
            Step::FenceTarget => self.fenced_at = Some(now),
            // A connection test of before proves nothing of what is now there.
            Step::CreateEndpoint(side) | Step::ModifyEndpoint(side) => *self.tested_at.get_mut(*side) = None,
            Step::TestConnection(side) => *self.tested_at.get_mut(*side) = Some(now),
            Step::Move(Move { what: MoveStep::Fence, .. }) => self.quiet_looks = 0,
            _ => {}
        }
    }

    /// A step of a move was done.
    pub fn moved(&mut self, step: &Move) {
        match &step.what {
            MoveStep::Sequences => self.sequences = Some((step.fence_id.clone(), step.epoch)),
            MoveStep::Repoint => self.repointed = Some(step.epoch),
            _ => {}
        }
    }

    /// A heartbeat was measured.
    pub fn beaten(&mut self, lag: Lag, max_lag: SignedDuration) {
        self.lag = Some(lag);
        let prompt = lag.arrived && lag.age <= max_lag;
        self.prompt_beats = if prompt { self.prompt_beats.saturating_add(1) } else { 0 };
    }

    /// A step of a move was not done: may the move go on?
    pub fn failed_in_a_move(&mut self, fault: &Fault) {
        self.failed = decide::ends_the_move(fault).or(self.failed.take());
    }

    /// This process wrote a decision: what was learned for an earlier one counts no more.
    pub fn decided(&mut self, epoch: i64) {
        self.led = Some(epoch);
        self.quiet_looks = 0;
        self.failed = None;
        self.prompt_beats = 0;
    }

    /// Both sides were looked at in the midst of a move. `asked` is the fence whose marker was looked for, and becomes the
    /// one that stands; where they differ, the marker of another fence was found, which proves nothing.
    pub fn looked(&mut self, asked: &mut String, standing: &mut Sides<Option<Known<Standing>>>) {
        let side = Direction::FORWARD.from;
        let stands = match standing.get(side) {
            Some(Ok(old)) => old.token.fence_id.clone().unwrap_or_default(),
            Some(Err(_)) | None => asked.clone(),
        };
        if stands != *asked {
            for found in [&mut standing.source, &mut standing.target] {
                if let Some(Ok(found)) = found {
                    found.marker = false;
                }
            }
        }
        let Some(Ok(old)) = standing.get(side) else { return };
        let quiet = old.token.holder == Holder::None
            && old.sessions == 0
            && old.write_locks == 0
            && old.prepared.is_empty()
            && old.writers.is_empty()
            && old.unlayered.is_empty();
        self.quiet_looks = if quiet { self.quiet_looks.saturating_add(1) } else { 0 };
        *asked = stands;
        let known = self.timeline.as_ref().is_some_and(|(fence, _)| fence == asked);
        if old.token.holder == Holder::None && !known {
            self.timeline = Some((asked.clone(), old.timeline));
        }
    }
}

/// What comparing both sides found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// Within which fence.
    pub fence_id: String,
    /// What differs; `None` if both sides are equal.
    pub difference: Option<String>,
    /// Tables compared in full.
    pub tables: usize,
    /// Rows compared on each side.
    pub rows: u64,
    /// When.
    pub at: Timestamp,
}
