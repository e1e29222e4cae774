//! Random histories: whatever happens to the world, and wherever the operator crashes, the rules hold after each turn; and once
//! all is well, the migration comes to its end.

use jiff::SignedDuration;
use proptest::prelude::*;
use serde_json::json;

use super::world::{Crash, World};
use crate::application::decide::{Step, fit};
use crate::application::weights::Share;
use crate::aws::route53::Routing;
use crate::gate::Verdict;
use crate::side::Side;

#[derive(Clone, Debug)]
enum Event {
    Turns(u8),
    Crash(u8),
    Time(u16),
    Gate(bool, u8),
    Health(bool, bool),
    Phase(u8),
    Goal(u8),
    MaxWeight(u8),
    Attempt(u8),
    Abort(bool),
    Suspend(bool),
    ByHand(u8),
    ForgetStatus,
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        8 => (1_u8..12).prop_map(Event::Turns),
        2 => (0_u8..3).prop_map(Event::Crash),
        4 => (1_u16..10_000).prop_map(Event::Time),
        3 => (any::<bool>(), 0_u8..3).prop_map(|(gate, verdict)| Event::Gate(gate, verdict)),
        2 => (any::<bool>(), any::<bool>()).prop_map(|(side, well)| Event::Health(side, well)),
        2 => (0_u8..4).prop_map(Event::Phase),
        2 => (0_u8..3).prop_map(Event::Goal),
        2 => (0_u8..=100).prop_map(Event::MaxWeight),
        1 => (1_u8..5).prop_map(Event::Attempt),
        1 => any::<bool>().prop_map(Event::Abort),
        1 => any::<bool>().prop_map(Event::Suspend),
        1 => (0_u8..=255).prop_map(Event::ByHand),
        1 => Just(Event::ForgetStatus),
    ]
}

fn happen(world: &mut World, event: &Event) {
    match event {
        Event::Turns(count) => (0..*count).for_each(|_| checked(world, None)),
        Event::Crash(when) => {
            let when = [Crash::Before, Crash::AfterEffect, Crash::AfterRecord][usize::from(*when)];
            checked(world, Some(when));
        }
        Event::Time(seconds) => world.pass(SignedDuration::from_secs(i64::from(*seconds))),
        Event::Gate(which, verdict) => {
            let verdict = [Verdict::Pass, Verdict::Fail, Verdict::Unknown][usize::from(*verdict)];
            world.fail(if *which { "errors" } else { "login" }, verdict);
        }
        Event::Health(source, well) => {
            let side = if *source { Side::Source } else { Side::Target };
            if *well { world.well(side) } else { world.sick(side) }
        }
        Event::Phase(which) => {
            let (phase, writer, says) = [
                ("Replicating", Some(Side::Source), "Source"),
                ("CuttingOver", None, "None"),
                ("Soaking", Some(Side::Target), "Target"),
                ("RollingBack", None, "None"),
            ][usize::from(*which)];
            let database = world.database();
            (database.phase, database.writer, database.writer_word) = (phase.into(), writer, says.into());
        }
        Event::Goal(which) => world.spec["goal"] = json!(["Stage", "Shift", "Finish"][usize::from(*which)]),
        Event::MaxWeight(weight) => world.spec["traffic"]["maxWeight"] = json!(weight),
        Event::Attempt(attempt) => world.spec["attempt"] = json!(attempt),
        Event::Abort(on) => world.spec["abortAttempt"] = if *on { json!(2) } else { json!(null) },
        Event::Suspend(on) => world.spec["suspend"] = json!(on),
        Event::ByHand(weight) => {
            if world.percent().is_some() {
                world.set_by_hand(*weight);
            }
        }
        Event::ForgetStatus => {
            // What is written before an effect that can't be taken back is not lost in these histories.
            if world.status.point_of_no_return_at.is_none() {
                world.status = crate::api::application::ApplicationMigrationStatus::default();
            }
        }
    }
}

/// One turn, and what must hold of it.
fn checked(world: &mut World, crash: Option<Crash>) {
    let goal = world.look();
    let (before, records) = (world.share(), world.seen.records.clone());
    let requested = goal.requested.clone();
    let seen = world.seen.clone();
    let decision = world.turn(crash);
    let after = world.share();
    if records == world.seen.records {
        return;
    }
    let step = decision.step.expect("records change by a step only");
    let steps: Vec<Share> = [0]
        .into_iter()
        .chain(goal.steps.iter().map(|step| step.weight))
        .map(|w| Share::asked(w, 2))
        .collect();
    match (&step, before, after) {
        (Step::SetWeights(batch), before, Some(after)) => {
            assert!(batch.weight <= goal.ceiling(), "never above what Git allows");
            assert!(steps.contains(&after), "only to a step");
            assert_eq!(requested.expect("asked for first").weight, batch.weight, "the intent comes first");
            let still = fit::still(&goal, &seen).is_proved();
            match before {
                Some(before) if after > before => {
                    assert!(fit::side(&goal, &seen, Side::Target).is_proved() && still, "forward, unproved");
                    assert!(!goal.suspended, "forward, though suspended");
                }
                Some(before) if after < before => {
                    assert!(fit::side(&goal, &seen, Side::Source).is_proved() && still, "back, unproved");
                }
                Some(_) => {}
                None => assert!(after.is_none() || still, "made with traffic where none was"),
            }
        }
        (Step::LeaveToTarget(_), Some(before), None) => assert!(before.is_all(), "the end moves traffic"),
        (step, before, after) => panic!("{step:?} changed {before:?} to {after:?}"),
    }
    // Both records are there, and weigh something: all zero would be an equal split.
    let weights: Vec<u8> = world
        .at_name()
        .iter()
        .filter_map(|set| match &set.routing {
            Routing::Weighted { weight, .. } => Some(*weight),
            Routing::Simple | Routing::Other(_) => None,
        })
        .collect();
    assert!(
        weights.is_empty() || (weights.len() == 3 && weights.iter().any(|weight| *weight > 0)),
        "{weights:?}"
    );
    assert!(!world.at_name().is_empty(), "the name is never gone");
}

/// Asks for the weight of the next step, and no further, whatever the operator forgot.
fn one_step_further(world: &World, step: &Step) {
    let Step::Intend(intend) = step else { return };
    let goal = world.goal();
    let Some(requested) = &goal.requested else { return };
    let (from, to) = (goal.index_of(requested.weight), goal.index_of(intend.weight));
    assert!(to <= from + 1, "from step {from} to {to}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 20, max_shrink_iters: 64, ..ProptestConfig::default() })]

    #[test]
    fn the_rules_hold_in_every_history_and_each_comes_to_its_end(
        events in proptest::collection::vec(event(), 1..60),
    ) {
        let mut world = World::new();
        for event in &events {
            happen(&mut world, event);
        }
        // All is well again, and a person orders a new attempt.
        for side in Side::BOTH {
            world.well(side);
        }
        for gate in ["errors", "login"] {
            world.fail(gate, Verdict::Pass);
        }
        happen(&mut world, &Event::Phase(2));
        world.spec["suspend"] = json!(false);
        world.spec["abortAttempt"] = json!(null);
        // What was done by hand is told first: only an attempt that is raised after that takes it over.
        for _ in 0..3 {
            checked(&mut world, None);
        }
        world.spec["attempt"] = json!(9);
        world.spec["traffic"]["maxWeight"] = json!(100);
        world.spec["goal"] = json!("Finish");
        let mut turns = 0;
        while world.status.phase.as_deref() != Some("Finished") {
            let left = world.at_name().len() == 1 || world.share().is_some_and(Share::is_all);
            if world.status.point_of_no_return_at.is_some() && !left {
                // Somebody's hand was there after the end was begun: only a hand undoes it.
                for set in world.seen.records.as_mut().expect("known") {
                    if let Routing::Weighted { set_identifier, weight } = &mut set.routing {
                        *weight = u8::from(set_identifier == "slipway-target");
                    }
                }
            }
            let before = world.clone();
            let goal = world.look();
            if let Some(step) = crate::application::decide::decide(&goal, &world.seen).step {
                one_step_further(&before, &step);
            }
            checked(&mut world, None);
            turns += 1;
            prop_assert!(turns < 5_000, "stuck: {:?} {:?}", world.status.phase, world.status.next);
        }
        prop_assert_eq!(world.at_name().len(), 1);
    }
}
