//! The move in a small world: two databases that honour epochs, and nothing else. Every crash, every goal.

use jiff::SignedDuration;

use crate::api::condition::Reason;
use crate::api::database::{DeletionPolicy, Goal as Reach};
use crate::aws::dms::TaskStatus;
use crate::database::decide::scene::{Scene, now};
use crate::database::decide::{Decide, LookAgain, Move, MoveStep, Phase, Stage, State, Step};
use crate::database::goal::{Decided, GivenUp, Intent};
use crate::database::seen::{MemorySeen, Verified};
use crate::fault::{Blocked, Fault};
use crate::postgres::{
    ClaimAs, Holder, Identity, MoveSlot, PreCheck, Record, ReverseStart, Slot, Standing, Token,
};
use crate::side::{Side, Sides};

/// One database.
#[derive(Clone, Debug)]
struct Database {
    token: Token,
    open: bool,
    sessions: i64,
    marker: Option<String>,
    replication: bool,
    slot: bool,
}

/// Two databases and what the operator knows.
#[derive(Clone)]
struct World {
    scene: Scene,
    source: Database,
    target: Database,
    /// Each write is carried while replication may write to the target.
    carries: bool,
    reachable: Sides<bool>,
    different: bool,
    steps: Vec<&'static str>,
}

impl World {
    fn new() -> Self {
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
            steps: Vec::new(),
        }
    }

    /// What is seen now. While a move goes on, as the loop sees it; else the whole.
    fn look(&mut self) {
        let moving = self.scene.goal.is_moving();
        let fence = self.source.token.fence_id.clone();
        let quiet =
            self.source.token.holder == Holder::None && self.source.sessions == 0 && !self.source.open;
        let memory = &mut self.scene.seen.memory;
        memory.quiet_looks = if quiet { memory.quiet_looks + 1 } else { 0 };
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
    fn turn(&mut self) -> bool {
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
            MoveStep::Repoint => self.scene.seen.memory.repointed = Some(epoch),
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

    fn crash(&mut self) {
        self.scene.seen.memory = MemorySeen { lag: self.scene.seen.memory.lag, ..MemorySeen::default() };
    }

    fn walk(&mut self) {
        let mut turns = 0;
        while self.turn() {
            turns += 1;
            assert!(turns < 200, "no end: {:?}", self.steps);
        }
    }

    /// To the end of a deletion, or to where it is held.
    fn walk_out(&mut self) {
        let mut turns = 0;
        while self.steps.last() != Some(&"Release") && self.turn() {
            turns += 1;
            assert!(turns < 200, "no end: {:?}", self.steps);
        }
    }

    fn phase(&mut self) -> Phase {
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
        foreign_grants: vec![],
    }
}

#[test]
fn the_writer_moves_in_this_order() {
    let mut world = World::new();
    world.walk();
    assert_eq!(
        world.steps,
        [
            "Beat",
            "Beat",
            "DecideMove",
            "ClaimSide",
            "CreateReverseSlot",
            "Fence",
            "EndSessions",
            "WriteMarker",
            "Freeze",
            "Verify",
            "SetSequences",
            "ArmReverse",
            "Promote",
            "Open",
            "StopTask",
            "DeleteTask",
            "DecideSteady"
        ]
    );
    assert_eq!(world.phase(), Phase::Soaking);
    assert!(world.target.open && !world.source.open);
}

/// Crashes after each step, all of them at once included.
#[test]
fn killed_anywhere_the_writer_arrives_all_the_same() {
    for crash in 0..20 {
        let mut world = World::new();
        for _ in 0..crash {
            world.turn();
        }
        world.crash();
        world.walk();
        assert_eq!(world.phase(), Phase::Soaking, "killed after {crash}: {:?}", world.steps);
        assert!(world.target.open, "killed after {crash}");
    }
}

/// The goal goes back after each step: the source is the writer again, or the target is and says so.
#[test]
fn a_goal_that_goes_back_at_any_moment_ends_on_one_side() {
    let mut back = 0;
    for moment in 0..20 {
        for crash in [false, true] {
            let mut world = World::new();
            for _ in 0..moment {
                world.turn();
            }
            world.scene.goal.reach = Reach::Replicate;
            if crash {
                world.crash();
            }
            world.walk();
            let given = world.source.token.holder == Holder::Side(Side::Target);
            assert_eq!(world.target.open, given, "after {moment}: {:?}", world.steps);
            assert_eq!(world.source.open, !given, "after {moment}: {:?}", world.steps);
            assert_eq!(world.target.replication, !given);
            assert_eq!(world.target.slot, given, "a slot of a given-up move is dropped");
            assert!(world.scene.goal.latch.is_none(), "a goal that goes back latches nothing");
            back += u32::from(!given);
        }
    }
    assert!(back >= 20, "{back}");
}

#[test]
fn the_brake_latches_and_suspend_does_not() {
    for (moment, latches) in [(9, true), (9, false)] {
        let mut world = World::new();
        for _ in 0..moment {
            world.turn();
        }
        if latches {
            world.scene.goal.abort_attempt = Some(1);
        } else {
            world.scene.goal.suspended = true;
        }
        world.walk();
        assert!(world.source.open && !world.target.open);
        assert_eq!(world.scene.goal.latch.is_some(), latches);
        // Git still says CutOver: nothing begins anew by itself while it is latched.
        world.scene.goal.abort_attempt = None;
        world.scene.goal.suspended = false;
        world.walk();
        assert_eq!(world.target.open, !latches, "{:?}", world.steps);
        world.scene.goal.attempt = 2;
        world.walk();
        assert!(world.target.open, "{:?}", world.steps);
    }
}

#[test]
fn a_marker_that_never_arrives_opens_the_source_again() {
    let mut world = World::new();
    world.carries = false;
    world.walk();
    assert!(world.source.open && !world.target.open && world.target.replication && !world.target.slot);
    let State::Stalled(blocked) = world.scene.decide().state else { panic!("{:?}", world.scene.decide()) };
    assert_eq!(blocked.reason, Reason::GivenUp);
    assert!(blocked.message.contains("maxWriteOutage"), "{}", blocked.message);
}

#[test]
fn a_target_that_falls_silent_before_the_decision_opens_the_source_again() {
    // From the fence on, before Promote.
    for moment in 6..12 {
        let mut world = World::new();
        for _ in 0..moment {
            world.turn();
        }
        if world.source.token.holder != Holder::None {
            continue;
        }
        world.reachable.target = false;
        world.walk();
        assert!(world.source.open, "after {moment}: {:?}", world.steps);
        world.reachable.target = true;
        world.walk();
        assert!(world.target.replication && !world.target.open && !world.target.slot);
    }
}

#[test]
fn a_target_that_falls_silent_after_the_decision_is_waited_for() {
    let mut world = World::new();
    while world.steps.last() != Some(&"Promote") {
        world.turn();
    }
    world.reachable.target = false;
    world.scene.goal.abort_attempt = Some(1);
    for _ in 0..50 {
        world.turn();
        assert!(!world.source.open, "opened although the row says the target: {:?}", world.steps);
    }
    world.reachable.target = true;
    world.walk();
    assert!(world.target.open != world.source.open);
}

#[test]
fn different_rows_open_the_source_again_and_say_which() {
    let mut world = World::new();
    world.different = true;
    world.walk();
    assert!(world.source.open && !world.target.open);
    assert!(world.scene.goal.latch.as_ref().is_some_and(|l| l.message.contains("public.accounts")));
}

/// The new side refuses to open although it answers: the role is taken back, and only then is the old side opened.
#[test]
fn a_target_that_refuses_gives_the_role_back() {
    let mut world = World::new();
    while world.steps.last() != Some(&"Promote") {
        world.turn();
    }
    world.scene.seen.memory.failed = Some(Blocked::new(Reason::SlotLost, "the slot is gone", "Look"));
    world.walk();
    assert!(world.source.open && !world.target.open && world.target.replication, "{:?}", world.steps);
    let tail: Vec<_> = world.steps.iter().skip_while(|step| **step != "DecideReturn").copied().collect();
    assert_eq!(
        tail,
        ["DecideReturn", "ClaimSide", "TakeBack", "Unfence", "DropMoveSlot", "Thaw", "DecideSteady"]
    );
}

#[test]
fn a_lost_status_is_found_again_in_the_rows() {
    for moment in 0..20 {
        let mut world = World::new();
        for _ in 0..moment {
            world.turn();
        }
        world.scene.goal.decided = None;
        world.scene.goal.latch = None;
        world.crash();
        world.walk();
        assert!(world.source.open != world.target.open, "after {moment}: {:?}", world.steps);
    }
}

#[test]
fn every_step_belongs_to_a_part_of_the_move() {
    assert_eq!(MoveStep::Fence.stage(), Stage::Fence);
    assert_eq!(MoveStep::Open.stage(), Stage::Promote);
    assert_eq!(MoveStep::Claim(Side::Target, ClaimAs::Refused).stage(), Stage::Return);
    let words = [Stage::PreCheck, Stage::Fence, Stage::Return].map(Stage::as_str);
    assert_eq!(words, ["PreCheck", "Fence", "Return"]);
}

/// A world walked to where it stands in a phase.
fn at(place: &str) -> World {
    let mut world = World::new();
    match place {
        "Replicating" => world.scene.goal.reach = Reach::Replicate,
        "Fenced" => {
            while world.steps.last() != Some(&"WriteMarker") {
                world.turn();
            }
        }
        "Promoted" => {
            while world.steps.last() != Some(&"Promote") {
                world.turn();
            }
        }
        "Soaking" => {}
        "Latched" => {
            world.different = true;
            world.walk();
            world.different = false;
        }
        "Finished" => world.scene.goal.reach = Reach::Finish,
        other => panic!("{other}"),
    }
    if !matches!(place, "Fenced" | "Promoted") {
        world.walk();
    }
    world.steps.clear();
    world
}

/// What a moved goal does in each phase: the table of the goals, cell by cell. `Writer`: where the writer is at the end.
#[test]
fn what_a_moved_goal_does_in_each_phase() {
    type Bend = fn(&mut Scene);
    type Case = (&'static str, &'static str, Bend, Side, Phase, bool);
    let cases: Vec<Case> = vec![
        ("Replicating", "Replicate", |_| {}, Side::Source, Phase::Replicating, false),
        ("Replicating", "CutOver", |s| s.goal.reach = Reach::CutOver, Side::Target, Phase::Soaking, false),
        ("Replicating", "Finish", |s| s.goal.reach = Reach::Finish, Side::Target, Phase::Finished, false),
        (
            "Replicating",
            "suspend",
            |s| (s.goal.reach, s.goal.suspended) = (Reach::CutOver, true),
            Side::Source,
            Phase::Replicating,
            false,
        ),
        (
            "Replicating",
            "abort",
            |s| (s.goal.reach, s.goal.abort_attempt) = (Reach::CutOver, Some(1)),
            Side::Source,
            Phase::Replicating,
            true,
        ),
        ("Fenced", "Replicate", |s| s.goal.reach = Reach::Replicate, Side::Source, Phase::Replicating, false),
        ("Fenced", "Finish", |s| s.goal.reach = Reach::Finish, Side::Target, Phase::Finished, false),
        ("Fenced", "suspend", |s| s.goal.suspended = true, Side::Source, Phase::Replicating, false),
        ("Fenced", "abort", |s| s.goal.abort_attempt = Some(1), Side::Source, Phase::Replicating, true),
        ("Promoted", "Replicate", |s| s.goal.reach = Reach::Replicate, Side::Target, Phase::Soaking, false),
        ("Promoted", "suspend", |s| s.goal.suspended = true, Side::Target, Phase::Soaking, false),
        ("Promoted", "abort", |s| s.goal.abort_attempt = Some(1), Side::Target, Phase::Soaking, false),
        ("Soaking", "Replicate", |s| s.goal.reach = Reach::Replicate, Side::Target, Phase::Soaking, false),
        ("Soaking", "CutOver", |_| {}, Side::Target, Phase::Soaking, false),
        ("Soaking", "Finish", |s| s.goal.reach = Reach::Finish, Side::Target, Phase::Finished, false),
        (
            "Soaking",
            "Finish, suspended",
            |s| (s.goal.reach, s.goal.suspended) = (Reach::Finish, true),
            Side::Target,
            Phase::Soaking,
            false,
        ),
        (
            "Soaking",
            "Finish before minSoak",
            |s| {
                s.goal.reach = Reach::Finish;
                s.goal.cutover.min_soak = SignedDuration::from_hours(72);
            },
            Side::Target,
            Phase::Soaking,
            false,
        ),
        ("Latched", "CutOver", |_| {}, Side::Source, Phase::Replicating, true),
        ("Latched", "Replicate", |s| s.goal.reach = Reach::Replicate, Side::Source, Phase::Replicating, true),
        ("Latched", "Finish", |s| s.goal.reach = Reach::Finish, Side::Source, Phase::Replicating, true),
        ("Latched", "a higher attempt", |s| s.goal.attempt = 2, Side::Target, Phase::Soaking, true),
        ("Finished", "abort", |s| s.goal.abort_attempt = Some(1), Side::Target, Phase::Finished, false),
    ];
    for (place, order, bend, writer, phase, latched) in cases {
        let mut world = at(place);
        bend(&mut world.scene);
        world.walk();
        let what = format!("{place} → {order}: {:?}", world.steps);
        assert_eq!(
            (world.source.open, world.target.open),
            (writer == Side::Source, writer == Side::Target),
            "{what}"
        );
        assert_eq!(world.phase(), phase, "{what}");
        assert_eq!(world.scene.goal.latch.is_some(), latched, "{what}");
    }
}

/// A deletion never moves the writer and never opens a fence; where it would end the way back, it is held.
#[test]
fn what_a_deletion_does_in_each_phase() {
    for (place, gone) in [
        ("Replicating", true),
        ("Fenced", true),
        ("Promoted", false),
        ("Soaking", false),
        ("Latched", true),
        ("Finished", true),
    ] {
        for policy in [DeletionPolicy::Delete, DeletionPolicy::Retain] {
            let mut world = at(place);
            let open = (world.source.open, world.target.open);
            world.scene.goal.deletion = Some(policy);
            world.walk_out();
            let what = format!("{place}, {policy:?}: {:?}", world.steps);
            assert_eq!(world.steps.contains(&"Release"), gone, "{what}");
            match place {
                "Fenced" => assert!(world.source.open && !world.target.open, "{what}"),
                "Promoted" => assert!(!world.source.open && world.target.open, "{what}"),
                _ => assert_eq!((world.source.open, world.target.open), open, "{what}"),
            }
            if !gone {
                let State::Stalled(blocked) = world.scene.decide().state else { panic!("{what}") };
                assert_eq!(blocked.reason, Reason::Deleting, "{what}");
            }
        }
    }
}
