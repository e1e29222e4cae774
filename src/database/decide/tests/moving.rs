//! The move in a small world: two databases that honour epochs, and nothing else. Every crash, every goal.

mod cname;
mod world;

use jiff::SignedDuration;

use crate::api::condition::Reason;
use crate::api::database::{DeletionPolicy, Goal as Reach};
use crate::database::decide::scene::Scene;
use crate::database::decide::{LookAgain, MoveStep, Phase, Stage, State, Step};
use crate::database::goal::{ConnectionGoal, Decided, Intent};
use crate::fault::Blocked;
use crate::postgres::{ClaimAs, Holder, Record, Token};
use crate::side::Side;
use world::World;

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
        ["DecideReturn", "ClaimSide", "TakeBack", "Unfence", "Thaw", "DropMoveSlot", "DecideSteady"]
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
        if world.source.open {
            assert!(!world.target.slot && world.target.replication, "after {moment}: {:?}", world.steps);
        } else {
            assert_eq!(world.scene.aws().task, None, "after {moment}: {:?}", world.steps);
        }
    }
}

/// Whatever becomes of `status.decided`, a target that is the writer is not fenced as one that nobody fenced yet.
#[test]
fn the_writer_is_never_fenced_for_want_of_a_record() {
    let mut world = at("Finished");
    world.scene.goal.decided = None;
    let mut source = Token::fresh(Holder::Side(Side::Target));
    source.epoch = 2;
    world.scene.on(Side::Source).record = Record::Present {
        migration: String::new(),
        uid: String::new(),
        token: source,
        system_identifier: 1,
        slots: vec![],
    };
    world.scene.on(Side::Target).record = Record::Absent;
    world.scene.seen.memory.fenced_at = None;
    assert_eq!(world.scene.step(), None, "{:?}", world.scene.decide());
}

/// A failover in the midst of the fence: what was proved was proved of another history.
#[test]
fn a_promoted_standby_gives_the_source_back() {
    let mut world = at("Fenced");
    let fence = world.source.token.fence_id.clone().expect("fenced");
    world.scene.seen.memory.timeline = Some((fence, 7));
    world.walk();
    assert!(world.source.open && !world.target.open, "{:?}", world.steps);
    assert!(world.scene.goal.latch.is_some_and(|latch| latch.message.contains("promoted")));
}

/// `slipway unfence` at any moment, by a number that the status already has and no row yet: the move is given up.
#[test]
fn unfenced_by_hand_under_the_same_number_it_is_given_up() {
    let mut given_up = 0;
    for moment in 0..20 {
        let mut world = World::new();
        for _ in 0..moment {
            world.turn();
        }
        let Some(decided) = world.scene.goal.decided.clone() else { continue };
        let given = matches!(world.source.token.holder, Holder::Side(Side::Target));
        if given || world.target.open || !world.scene.goal.is_moving() {
            continue;
        }
        world.source.token.holder = Holder::Side(Side::Source);
        world.source.token.epoch = decided.epoch;
        world.source.open = true;
        world.target.token.holder = Holder::Refused;
        world.target.token.epoch = decided.epoch;
        world.walk();
        assert!(world.source.open && !world.target.open, "after {moment}: {:?}", world.steps);
        let latch = world.scene.goal.latch.as_ref();
        assert!(
            latch.is_some_and(|latch| latch.message.contains("slipway unfence")),
            "after {moment}: {latch:?}"
        );
        given_up += 1;
    }
    assert!(given_up > 5, "{given_up}");
}

/// A row that somebody changed by hand while nothing moved: the side is opened again, and a person is told.
#[test]
fn a_fence_that_nobody_decided_is_undone() {
    let mut world = at("Replicating");
    world.scene.goal.decided = Some(Decided { epoch: 3, intent: Intent::Steady, attempt: 1 });
    world.source.token.holder = Holder::None;
    world.source.token.fence_id = Some("9".into());
    world.source.open = false;
    world.walk();
    assert!(world.source.open && !world.target.open, "{:?}", world.steps);
    assert!(world.scene.goal.latch.is_some());
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
                // The way out that the message names.
                world.scene.goal.reach = Reach::Finish;
                world.walk_out();
                assert!(
                    world.steps.contains(&"Release") && world.target.open && !world.source.open,
                    "{what}"
                );
            }
        }
    }
}

/// A secret that may not be written is a person's to mend: told, and not asked for again at once.
#[test]
fn a_secret_that_may_not_be_written_is_not_written_to_without_a_pause() {
    let mut world = World::new();
    world.scene.goal.cutover.connection = Some(ConnectionGoal::Secret { arn: "arn".to_owned() });
    while !world.target.open {
        assert!(world.turn(), "{:?}", world.steps);
    }
    world.look();
    let next = |world: &World| {
        let decision = world.scene.decide();
        (decision.step.as_ref().map(Step::action), decision.look_again)
    };
    assert_eq!(next(&world), (Some("Repoint"), LookAgain::AtOnce));
    let denied = Blocked::new(Reason::AccessDenied, "PutSecretValue: AccessDenied", "Allow it");
    world.scene.seen.memory.failed = Some(denied);
    assert_eq!(next(&world), (Some("Repoint"), LookAgain::Soon));
}
