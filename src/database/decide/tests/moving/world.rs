//! Two databases that honour epochs, and what the operator knows of them.

use jiff::SignedDuration;

use crate::api::database::Goal as Reach;
use crate::aws::dms::TaskStatus;
use crate::aws::route53::{Change, Propagation, RecordSet, Zone};
use crate::database::cname::{self, CnameSeen};
use crate::database::decide::scene::{Scene, now};
use crate::database::decide::{Decide, LookAgain, Move, MoveStep, Phase, Step};
use crate::database::goal::{Decided, GivenUp, Intent};
use crate::database::seen::{MemorySeen, Verified};
use crate::fault::Fault;
use crate::marker::Changed;
use crate::postgres::{
    ClaimAs, Holder, Identity, MoveSlot, PreCheck, Record, ReverseStart, Slot, Standing, Token,
};
use crate::side::{Side, Sides};

/// One database.
#[derive(Clone, Debug)]
pub(super) struct Database {
    pub(super) token: Token,
    pub(super) open: bool,
    pub(super) sessions: i64,
    pub(super) marker: Option<String>,
    pub(super) replication: bool,
    pub(super) slot: bool,
}

/// Two databases and what the operator knows.
#[derive(Clone)]
pub(super) struct World {
    pub(super) scene: Scene,
    pub(super) source: Database,
    pub(super) target: Database,
    /// Each write is carried while replication may write to the target.
    pub(super) carries: bool,
    pub(super) reachable: Sides<bool>,
    pub(super) different: bool,
    /// What Route 53 lists at the applications' name and its marker's.
    pub(super) sets: Vec<RecordSet>,
    /// Its last change is not on all servers yet.
    pub(super) pending: bool,
    pub(super) steps: Vec<&'static str>,
}

impl World {
    pub(super) fn new() -> Self {
        let mut scene = Scene::replicating();
        scene.goal.reach = Reach::CutOver;
        scene.goal.cutover.min_soak = SignedDuration::ZERO;
        let token = |holder| Token::fresh(holder);
        let source = Database {
            token: token(Holder::Side(Side::Source)),
            open: true,
            sessions: 3,
            marker: None,
            replication: false,
            slot: false,
        };
        let target = Database {
            token: token(Holder::Fenced),
            open: false,
            replication: true,
            sessions: 0,
            ..source.clone()
        };
        Self {
            scene,
            source,
            target,
            carries: true,
            reachable: Sides { source: true, target: true },
            different: false,
            sets: Vec::new(),
            pending: false,
            steps: Vec::new(),
        }
    }

    /// What is seen now. While a move goes on, as the loop sees it; else the whole.
    pub(super) fn look(&mut self) {
        let moving = self.scene.goal.is_moving();
        let fence = self.source.token.fence_id.clone();
        let quiet =
            self.source.token.holder == Holder::None && self.source.sessions == 0 && !self.source.open;
        let memory = &mut self.scene.seen.memory;
        memory.quiet_looks = if quiet { memory.quiet_looks + 1 } else { 0 };
        let pending = if self.pending { Propagation::Pending } else { Propagation::InSync };
        self.scene.seen.cname = cname::of(&self.scene.goal).map(|record| {
            let zone = Zone { id: record.zone_id.clone(), name: "bank.example".to_owned(), private: true };
            let change = memory.cname_change.as_ref().map(|_| Ok(Some(pending)));
            Ok(CnameSeen { zone: Some(zone), sets: self.sets.clone(), change })
        });
        for side in Side::BOTH {
            let there = *self.reachable.get(side);
            let database = if side == Side::Source { &self.source } else { &self.target };
            let standing = standing(database, fence.as_deref());
            *self.scene.seen.standing.get_mut(side) = moving.then(|| {
                if there { Ok(standing) } else { Err(Fault::Again(format!("the {side} is silent"))) }
            });
            *self.scene.seen.precheck.get_mut(side) =
                (self.source.token.holder == Holder::Side(Side::Source)).then(|| Ok(quiet_side(side)));
            if let Ok(server) = self.scene.seen.database.get_mut(side)
                && let Record::Present { token, slots, .. } = &mut server.record
            {
                *token = database.token.clone();
                if side == Side::Target {
                    let name = self.scene.goal.migration.move_slot();
                    server.slots.retain(|slot| slot.name != name);
                    slots.retain(|slot| *slot != name);
                    if database.slot {
                        slots.push(name.clone());
                        server.slots.push(Slot {
                            name,
                            active: false,
                            used_by: None,
                            retained_bytes: Some(0),
                            wal_status: Some("reserved".into()),
                        });
                    }
                }
                server.writers = if database.open { vec!["payments_app".into()] } else { Vec::new() };
            }
        }
    }

    fn database(&mut self, side: Side) -> &mut Database {
        match side {
            Side::Source => &mut self.source,
            Side::Target => &mut self.target,
        }
    }

    /// One turn: look, decide, act. False when nothing is left to do.
    pub(super) fn turn(&mut self) -> bool {
        self.look();
        let decision = self.scene.decide();
        let Some(step) = decision.step else {
            if decision.look_again == LookAgain::AtOnce {
                self.source.token.age += SignedDuration::from_secs(5);
                self.arrive();
                return true;
            }
            return false;
        };
        self.perform(&step);
        self.check(&step);
        true
    }

    fn arrive(&mut self) {
        if self.carries && self.target.replication && self.source.marker.is_some() {
            self.target.marker.clone_from(&self.source.marker);
        }
    }

    fn perform(&mut self, step: &Step) {
        self.steps.push(step.action());
        match step {
            Step::Decide(decide) => self.record(decide),
            Step::Move(step) => self.move_by(step),
            Step::StopTask => self.scene.task().status = TaskStatus::Stopped,
            Step::Latch(why) => {
                self.scene.goal.latch =
                    Some(GivenUp { attempt: self.scene.goal.attempt, message: why.message.clone() });
            }
            Step::Beat => {
                self.scene.apply(step);
                self.scene.seen.memory.prompt_beats += 1;
            }
            Step::DropReverseSlot(_) => self.target.slot = false,
            Step::LowerTtl => self.lead(Side::Source, 0),
            Step::GiveBackRecord => {
                let record = cname::of(&self.scene.goal).expect("a record");
                let batch = cname::give_back_batch(&self.scene.goal, record, &self.sets);
                assert!(self.change(batch), "nobody changed it in between");
            }
            Step::ReleaseSource => self.release(Side::Source),
            Step::DropTargetRecord => self.release(Side::Target),
            other => self.scene.apply(other),
        }
    }

    /// The row of a side is not this migration's any more.
    fn release(&mut self, side: Side) {
        if let Ok(server) = self.scene.seen.database.get_mut(side) {
            server.record = Record::Absent;
        }
    }

    fn record(&mut self, decide: &Decide) {
        let goal = &mut self.scene.goal;
        if let Some(before) = &goal.decided {
            let begins = !matches!(decide.intent, Intent::Steady | Intent::Finished);
            assert!(!begins || decide.epoch > before.epoch, "a new decision has a new number: {decide:?}");
        }
        if let Some(latch) = &decide.latch {
            goal.latch = Some(GivenUp { attempt: goal.attempt, message: latch.message.clone() });
        }
        goal.decided = Some(Decided { epoch: decide.epoch, intent: decide.intent, attempt: decide.attempt });
        let memory = &mut self.scene.seen.memory;
        memory.led = Some(decide.epoch);
        memory.failed = None;
        memory.quiet_looks = 0;
    }

    /// As the guarded transactions do it.
    fn move_by(&mut self, step: &Move) {
        let (epoch, to) = (step.epoch, step.direction.to());
        let fence_id = Some(step.fence_id.clone());
        match &step.what {
            MoveStep::Claim(side, how) => {
                let database = self.database(*side);
                assert!(database.token.epoch <= epoch);
                database.token.epoch = epoch;
                if database.token.holder != Holder::Side(*side) && *how != ClaimAs::Unchanged {
                    database.token.fence_id = fence_id;
                    database.token.holder =
                        if *how == ClaimAs::Fenced { Holder::Fenced } else { Holder::Refused };
                }
            }
            MoveStep::CreateSlot => {
                assert!(!self.target.open && self.target.token.epoch == epoch);
                self.target.slot = true;
            }
            MoveStep::Fence => {
                assert!(self.source.token.epoch <= epoch);
                if self.source.token.holder != Holder::None {
                    self.source.token.age = SignedDuration::ZERO;
                    self.source.token.reverse = None;
                }
                self.source.token.epoch = epoch;
                self.source.token.holder = Holder::None;
                self.source.token.fence_id = fence_id;
                self.source.open = false;
            }
            MoveStep::EndSessions => self.source.sessions = 0,
            MoveStep::AddLayer => {}
            MoveStep::Mark => {
                assert!(
                    self.source.sessions == 0 && !self.source.open,
                    "the marker comes behind the proved fence"
                );
                self.source.marker = fence_id;
                self.arrive();
            }
            MoveStep::Freeze => {
                assert!(!self.target.open && self.target.token.epoch <= epoch);
                self.target.replication = false;
            }
            MoveStep::Verify => {
                assert!(!self.target.replication && !self.source.open, "both sides stand still");
                self.scene.seen.memory.verified = Some(Verified {
                    fence_id: step.fence_id.clone(),
                    difference: self.different.then(|| "public.accounts: 1 row".to_owned()),
                    tables: 2,
                    rows: 10,
                    at: now(),
                });
            }
            MoveStep::Sequences => {
                self.scene.seen.memory.sequences = Some((step.fence_id.clone(), epoch));
            }
            MoveStep::ArmReverse => {
                assert!(self.target.slot);
                let lsn = 1_u64.into();
                self.source.token.reverse = Some(ReverseStart { slot: step.slot.clone(), lsn });
            }
            MoveStep::Promote => {
                assert_eq!((self.source.token.epoch, &self.source.token.holder), (epoch, &Holder::None));
                assert!(self.source.token.reverse.is_some());
                self.source.token.holder = Holder::Side(to);
            }
            MoveStep::Open => {
                assert_eq!((self.target.token.epoch, &self.target.token.holder), (epoch, &Holder::Fenced));
                assert!(self.target.slot && !self.target.replication);
                self.target.token.holder = Holder::Side(to);
                self.target.open = true;
            }
            MoveStep::Repoint => {
                if cname::of(&self.scene.goal).is_some() {
                    assert!(self.target.open, "the name leads nobody to a side that takes no writes");
                    self.lead(to, epoch);
                }
                self.scene.seen.memory.repointed = Some(epoch);
            }
            MoveStep::Unfence => {
                assert!(self.source.token.epoch <= epoch);
                assert_ne!(self.source.token.holder, Holder::Side(to), "the row says the target");
                self.source.token.epoch = epoch;
                self.source.token.holder = Holder::Side(Side::Source);
                self.source.open = true;
            }
            MoveStep::TakeBack => {
                assert_eq!(self.target.token.holder, Holder::Refused);
                self.source.token.holder = Holder::None;
            }
            MoveStep::DropSlot(side, _) => self.database(*side).slot = false,
            MoveStep::Thaw => {
                assert!(!self.target.open);
                self.target.replication = true;
            }
        }
    }

    /// Leads the applications' name to a side.
    fn lead(&mut self, side: Side, epoch: i64) {
        let host = |side: Side| self.scene.seen.address.get(side).as_ref().expect("known").0.clone();
        let hosts = [host(Side::Source), host(Side::Target)];
        let from: Vec<&str> =
            hosts[..if side == Side::Source { 1 } else { 2 }].iter().map(String::as_str).collect();
        let batch = self.batch(&from, &host(side), epoch).expect("nothing is in the way");
        assert!(self.change(batch), "nobody changed it in between");
        self.scene.seen.memory.cname_change = Some("C1".to_owned());
    }

    /// The batch that does.
    pub(super) fn batch(&self, from: &[&str], to: &str, epoch: i64) -> Result<Vec<Change>, Fault> {
        let record = cname::of(&self.scene.goal).expect("a record");
        let changed = Changed { epoch, at: self.scene.seen.now };
        cname::lead(&self.scene.goal, record, &self.sets, from, to, changed)
    }

    /// As Route 53 does it: as a whole or not at all. False if a record stands otherwise than the batch says.
    pub(super) fn change(&mut self, batch: Vec<Change>) -> bool {
        let mut sets = self.sets.clone();
        for change in batch {
            match change {
                Change::Delete(set) => match sets.iter().position(|there| *there == set) {
                    Some(at) => drop(sets.remove(at)),
                    None => return false,
                },
                Change::Create(set) if sets.iter().any(|it| it.name == set.name && it.kind == set.kind) => {
                    return false;
                }
                Change::Create(set) => sets.push(set),
                Change::Upsert(set) => panic!("{set:?} would overwrite what somebody set in between"),
            }
        }
        self.sets = sets;
        true
    }

    /// What must hold after every step.
    fn check(&self, step: &Step) {
        assert!(!(self.source.open && self.target.open), "two writers after {step:?}");
        assert!(!(self.target.open && self.target.replication), "writes and replication after {step:?}");
        if self.target.open {
            assert_eq!(self.source.token.holder, Holder::Side(Side::Target), "opened without the role");
            assert_eq!(self.source.marker, self.target.marker, "opened before it had everything");
            let finishing = matches!(&self.scene.goal.decided, Some(decided) if matches!(decided.intent, Intent::Finish | Intent::Finished));
            assert!(self.target.slot || finishing, "a way back was taken away");
        }
    }

    pub(super) fn crash(&mut self) {
        self.scene.seen.memory = MemorySeen { lag: self.scene.seen.memory.lag, ..MemorySeen::default() };
    }

    pub(super) fn walk(&mut self) {
        let mut turns = 0;
        while self.turn() {
            turns += 1;
            assert!(turns < 200, "no end: {:?}", self.steps);
        }
    }

    /// To the end of a deletion, or to where it is held.
    pub(super) fn walk_out(&mut self) {
        let mut turns = 0;
        while self.steps.last() != Some(&"Release") && self.turn() {
            turns += 1;
            assert!(turns < 200, "no end: {:?}", self.steps);
        }
    }

    pub(super) fn phase(&mut self) -> Phase {
        self.look();
        self.scene.decide().phase.expect("a phase")
    }
}

fn standing(database: &Database, fence: Option<&str>) -> Standing {
    Standing {
        identity: Identity { system_identifier: 1, version: 150_018 },
        timeline: 1,
        in_recovery: false,
        token: database.token.clone(),
        writers: if database.open { vec!["payments_app".into()] } else { vec![] },
        sessions: database.sessions,
        write_locks: 0,
        prepared: vec![],
        unlayered: vec![],
        replication_may_write: database.replication,
        replication_sessions: 0,
        marker: fence.is_some() && database.marker.as_deref() == fence,
        slot: database.slot.then_some(MoveSlot { usable: true, active: false, confirmed: None }),
        busy: 0,
        flushed: 1_u64.into(),
    }
}

fn quiet_side(side: Side) -> PreCheck {
    PreCheck {
        writers: if side == Side::Source { vec!["payments_app".into()] } else { vec![] },
        free_connections: 50,
        timeline: 1,
        in_recovery: false,
        prepared: vec![],
        long_transactions: vec![],
        open_ddl: vec![],
        superusers: vec!["postgres".into()],
        standbys: vec![],
        lost_synchronous_standby: false,
        subscriptions: vec![],
        operator_lacks: vec![],
        foreign_grants: vec![],
    }
}
