//! The move where applications find the writer by a CNAME of their own.

use jiff::SignedDuration;

use super::World;
use crate::api::condition::Reason;
use crate::api::database::{DeletionPolicy, Goal as Reach};
use crate::aws::route53::{Answer, Change, RecordSet, Routing};
use crate::database::decide::scene::Scene;
use crate::database::decide::{LookAgain, Phase, State, Step, wanted};
use crate::database::goal::{ConnectionGoal, RecordGoal};
use crate::fault::{Blocked, Fault};
use crate::marker::Marker;
use crate::side::Side;

type Bend = Box<dyn Fn(&mut World)>;

const NAME: &str = "db.bank.example";
const SOURCE: &str = "pg01.bank.example";
const TARGET: &str = "rds.example";

fn cname(host: &str, ttl: u32) -> RecordSet {
    RecordSet {
        name: NAME.to_owned(),
        kind: "CNAME".to_owned(),
        routing: Routing::Simple,
        answer: Answer::Values { ttl, values: vec![host.to_owned()] },
        health_check: None,
    }
}

/// Follows, with goal `CutOver` and the applications' record at the source.
fn world(ttl: u32) -> World {
    let mut world = World::new();
    world.scene.goal.cutover.connection =
        Some(ConnectionGoal::Record(RecordGoal { zone_id: "Z1".to_owned(), name: NAME.to_owned(), ttl: 5 }));
    // Written in another way, and the same.
    world.sets = vec![cname("PG01.bank.example.", ttl)];
    world
}

/// Where the name leads, and for how long that may be kept.
fn leads(world: &World) -> (String, u32) {
    let set = world.sets.iter().find(|set| set.kind == "CNAME").expect("a CNAME");
    let Answer::Values { ttl, values } = &set.answer else { panic!("{set:?}") };
    (values[0].trim_end_matches('.').to_ascii_lowercase(), *ttl)
}

fn marker(world: &World) -> Option<Marker> {
    let set = world.sets.iter().find(|set| set.kind == "TXT")?;
    assert_eq!(set.name, "slipway.db.bank.example");
    Some(Marker::ours(set, &world.scene.goal.migration, NAME, "the name").expect("ours"))
}

/// Until all that resolvers kept is old.
fn wait(world: &mut World) {
    world.walk();
    world.scene.seen.now += SignedDuration::from_secs(361);
    if let Some(lag) = &mut world.scene.seen.memory.lag {
        lag.at = world.scene.seen.now;
    }
}

/// To the end, waits included.
fn walk(world: &mut World) {
    wait(world);
    world.walk();
}

fn next(world: &mut World) -> (String, State) {
    world.look();
    let decision = world.scene.decide();
    (decision.next, decision.state)
}

#[test]
fn the_name_is_made_short_lived_and_then_leads_to_the_target() {
    let mut world = world(300);
    world.walk();
    assert_eq!(world.steps, ["LowerTTL"]);
    assert_eq!(leads(&world), (SOURCE.to_owned(), 5));
    let (words, state) = next(&mut world);
    assert!(words.contains("12:06:00Z") && words.contains(NAME) && words.contains("300 s"), "{words}");
    assert!(matches!(state, State::Ready { .. }), "{state:?}");
    assert!(!world.source.token.holder.as_str().contains("none") && world.source.open);
    walk(&mut world);
    let at = |action| world.steps.iter().position(|step| *step == action).expect(action);
    assert!(at("Open") < at("Repoint") && at("Repoint") < at("DecideSteady"), "{:?}", world.steps);
    assert_eq!(world.steps.iter().filter(|step| **step == "Repoint").count(), 1);
    assert_eq!(leads(&world), (TARGET.to_owned(), 5));
    let changed = marker(&world).expect("a marker").changed.expect("changed");
    assert_eq!(changed.epoch, world.scene.goal.decided.as_ref().expect("decided").epoch);
    assert_eq!(world.phase(), Phase::Soaking);
}

#[test]
fn a_name_that_is_short_lived_already_is_not_waited_for() {
    for (ttl, after) in [(1, 1), (5, 5), (6, 6)] {
        let mut world = world(ttl);
        world.walk();
        let done = ttl <= 5;
        assert_eq!(world.target.open, done, "{ttl}: {:?}", world.steps);
        // What is shorter than was asked for stays.
        if done {
            assert_eq!(leads(&world), (TARGET.to_owned(), after));
        }
    }
}

#[test]
fn nothing_is_fenced_until_route_53_has_the_short_ttl_everywhere() {
    let mut world = world(300);
    world.pending = true;
    wait(&mut world);
    world.walk();
    assert_eq!(world.steps, ["LowerTTL"]);
    assert!(next(&mut world).0.contains("Route 53's servers"));
    world.pending = false;
    world.walk();
    assert!(world.target.open, "{:?}", world.steps);
}

#[test]
fn the_move_is_at_its_end_when_route_53_answers_so_everywhere() {
    let mut world = world(5);
    while !world.target.open {
        assert!(world.turn(), "{:?}", world.steps);
    }
    world.pending = true;
    world.walk();
    assert_eq!((world.phase(), leads(&world).0.as_str()), (Phase::CuttingOver, TARGET), "{:?}", world.steps);
    assert!(next(&mut world).0.contains("Route 53's servers"));
    // Another process does not know the change's number: it sends the same batch again.
    world.crash();
    world.walk();
    assert_eq!(world.phase(), Phase::CuttingOver);
    world.pending = false;
    world.walk();
    assert_eq!(world.phase(), Phase::Soaking);
    assert_eq!(world.steps.iter().filter(|step| **step == "Repoint").count(), 2);
}

#[test]
fn killed_anywhere_the_name_leads_to_the_writer() {
    for crash in 0..24 {
        let mut world = world(300);
        for turn in 0..crash {
            if !world.turn() {
                assert!(turn > 0);
                wait(&mut world);
            }
        }
        world.crash();
        walk(&mut world);
        assert_eq!((world.phase(), leads(&world)), (Phase::Soaking, (TARGET.to_owned(), 5)), "{crash}");
    }
}

/// Back before the promotion: the name never moved. It stays short-lived for the next attempt.
#[test]
fn a_move_that_is_given_up_leaves_the_name_alone() {
    let mut world = world(300);
    world.different = true;
    walk(&mut world);
    assert!(world.source.open && world.scene.goal.latch.is_some(), "{:?}", world.steps);
    assert!(!world.steps.contains(&"Repoint"));
    assert_eq!(leads(&world), (SOURCE.to_owned(), 5));
    world.different = false;
    world.scene.goal.attempt = 2;
    world.walk();
    assert_eq!(world.phase(), Phase::Soaking, "not waited for once more: {:?}", world.steps);
}

#[test]
fn what_can_not_be_led_is_told_before_anything_is_changed() {
    let foreign = || {
        let mut set = cname("", 5);
        set.name = "slipway.db.bank.example".to_owned();
        set.kind = "TXT".to_owned();
        set.answer = Answer::Values {
            ttl: 5,
            values: vec!["\"heritage=slipway,uid=u-2,resource=default/other,batch=000001\"".to_owned()],
        };
        set
    };
    let weighted = RecordSet {
        routing: Routing::Weighted { set_identifier: "one".to_owned(), weight: 1 },
        ..cname(SOURCE, 5)
    };
    let address = RecordSet { kind: "A".to_owned(), ..cname("10.0.0.5", 5) };
    let alias = RecordSet {
        answer: Answer::Alias {
            zone_id: "Z1".to_owned(),
            dns_name: SOURCE.to_owned(),
            evaluate_target_health: false,
        },
        ..cname(SOURCE, 5)
    };
    let stand = |sets: Vec<RecordSet>| -> Bend { Box::new(move |world| world.sets.clone_from(&sets)) };
    let address_of = |side: Side, host: &'static str, port: u16| -> Bend {
        Box::new(move |world: &mut World| {
            *world.scene.seen.address.get_mut(side) = Ok((host.to_owned(), port));
            let aws = world.scene.aws().clone();
            let wish = wanted::endpoint(&world.scene.goal, &world.scene.seen, &aws, side).expect("known");
            world.scene.aws().endpoints.get_mut(side).as_mut().expect("made").settings = wish;
        })
    };
    let name = |name: &'static str| -> Bend {
        Box::new(move |world: &mut World| {
            let Some(ConnectionGoal::Record(record)) = &mut world.scene.goal.cutover.connection else {
                return;
            };
            name.clone_into(&mut record.name);
        })
    };
    let field = "spec.cutover.connection.record";
    for (bend, reason, words) in [
        (stand(vec![]), Reason::RecordConflict, "has no record"),
        (stand(vec![cname("third.example", 5)]), Reason::RecordConflict, "leads to third.example"),
        // Somebody led it there already: nobody would notice the cutover.
        (stand(vec![cname(TARGET, 5)]), Reason::RecordConflict, "leads to rds.example"),
        (stand(vec![weighted]), Reason::RecordConflict, "no simple CNAME"),
        (stand(vec![address]), Reason::RecordConflict, "of type A"),
        (stand(vec![alias]), Reason::RecordConflict, "alias"),
        (stand(vec![cname(SOURCE, 5), foreign()]), Reason::NotOurs, "default/other"),
        (address_of(Side::Target, TARGET, 5433), Reason::InvalidSpec, "the target on 5433"),
        (address_of(Side::Target, SOURCE, 5432), Reason::InvalidSpec, "host pg01.bank.example"),
        (name("db.other.example"), Reason::ZoneMissing, "does not lie in"),
        (name("bank.example"), Reason::ZoneMissing, "does not lie in"),
    ] {
        let mut world = world(5);
        bend(&mut world);
        let before = world.sets.clone();
        world.walk();
        let (_, state) = next(&mut world);
        let State::Stalled(Blocked { reason: found, message }) = state else { panic!("{words}: {state:?}") };
        assert_eq!(found, reason, "{message}");
        assert!(message.contains(words) && message.contains(field), "{message}");
        assert!(world.steps.is_empty() && world.sets == before, "{message}: {:?}", world.steps);
    }
}

#[test]
fn a_zone_that_is_gone_and_a_question_that_failed_fence_nothing() {
    let mut world = world(5);
    world.look();
    let stalled = |scene: &Scene| match scene.decide().state {
        State::Stalled(blocked) => Some(blocked.reason),
        _ => None,
    };
    let seen = world.scene.seen.cname.clone();
    if let Some(Ok(seen)) = &mut world.scene.seen.cname {
        seen.zone = None;
    }
    assert_eq!(stalled(&world.scene), Some(Reason::ZoneMissing));
    let denied = Blocked::new(Reason::AccessDenied, "ListResourceRecordSets", "Allow it");
    world.scene.seen.cname = Some(Err(Fault::Blocked(denied)));
    assert_eq!(stalled(&world.scene), Some(Reason::AccessDenied));
    for unknown in [Some(Err(Fault::Again("throttled".to_owned()))), None] {
        world.scene.seen.cname = unknown;
        let decision = world.scene.decide();
        assert_eq!((decision.step, decision.look_again), (None, LookAgain::Steady));
    }
    world.scene.seen.cname = seen;
    assert!(world.scene.decide().step.is_some());
}

/// Led somewhere else in the midst: it is left there, whoever did it.
#[test]
fn a_name_that_somebody_else_leads_is_never_overwritten() {
    let mut world = world(5);
    while !world.target.open {
        assert!(world.turn());
    }
    world.sets.retain(|set| set.kind == "TXT");
    world.sets.push(cname("third.example", 5));
    let fault = world.batch(&[SOURCE, TARGET], TARGET, 9).expect_err("left alone");
    assert!(matches!(&fault, Fault::Blocked(b) if b.reason == Reason::RecordConflict), "{fault:?}");
    assert!(fault.message().contains("spec.cutover.connection.record.name"), "{fault}");
    // And where it was led away after it led to the target, that is told.
    world.scene.seen.memory.repointed = world.scene.seen.memory.led;
    world.walk();
    let (_, state) = next(&mut world);
    assert!(matches!(&state, State::Stalled(b) if b.reason == Reason::RecordConflict), "{state:?}");
}

/// A batch of a decision that was overtaken arrives when a later one's was carried out, or somebody set all as it was before.
#[test]
fn a_batch_that_arrives_late_changes_nothing() {
    let mut world = world(300);
    let early = world.batch(&[SOURCE], SOURCE, 0).expect("a batch");
    assert!(world.change(early.clone()));
    let lowered = world.sets.clone();
    assert!(!world.change(early.clone()), "twice");
    world.scene.seen.now += SignedDuration::from_secs(1);
    let forth = |world: &World, epoch| world.batch(&[SOURCE, TARGET], TARGET, epoch).expect("a batch");
    let (late, later) = (forth(&world, 7), forth(&world, 8));
    assert!(world.change(later));
    let after = world.sets.clone();
    assert!(!world.change(late.clone()) && !world.change(early));
    assert_eq!(world.sets, after);
    // Led back to the source by a later decision: the CNAME is as it was, and the marker tells.
    let back = world.batch(&[TARGET], SOURCE, 9).expect("a batch");
    assert!(world.change(back));
    assert_eq!(leads(&world), (SOURCE.to_owned(), 5));
    assert!(lowered.iter().filter(|set| set.kind == "CNAME").all(|set| world.sets.contains(set)));
    assert!(!world.change(late), "the name would lead to a side that is not the writer");
}

#[test]
fn the_name_gets_its_own_ttl_again_when_all_is_given_back() {
    // At the end of a migration, and where one is deleted before the writer moved.
    for finish in [true, false] {
        let mut world = world(300);
        if finish {
            walk(&mut world);
            world.scene.goal.reach = Reach::Finish;
        } else {
            world.walk();
            world.scene.goal.deletion = Some(DeletionPolicy::Delete);
        }
        if finish {
            world.walk();
        } else {
            world.walk_out();
        }
        assert!(world.steps.contains(&"GiveBackRecord"), "{:?}", world.steps);
        let host = if finish { TARGET } else { SOURCE };
        assert_eq!((leads(&world), marker(&world)), ((host.to_owned(), 300), None));
        // The source's row says whose all of it was: it goes last.
        let at = |action| world.steps.iter().position(|step| *step == action);
        assert!(at("GiveBackRecord") < at(if finish { "ReleaseSource" } else { "DropSourceRecord" }));
    }
    // What somebody else changed since is left as it is; the marker goes.
    let mut world = world(300);
    world.walk();
    world.sets.retain(|set| set.kind == "TXT");
    world.sets.push(cname("third.example", 60));
    let record = crate::database::cname::of(&world.scene.goal).expect("a record").clone();
    let batch = crate::database::cname::give_back_batch(&world.scene.goal, &record, &world.sets);
    assert!(batch.iter().all(|change| !matches!(change, Change::Upsert(_))));
    assert!(world.change(batch));
    assert!(marker(&world).is_none() && leads(&world).0 == "third.example");
}

/// What is said when the writer begins to move.
fn announced(mut world: World) -> String {
    loop {
        world.look();
        if let Some(Step::Decide(decide)) = world.scene.decide().step {
            return decide.why;
        }
        assert!(world.turn(), "{:?}", world.steps);
    }
}

#[test]
fn who_chose_a_name_is_warned_of_verify_full() {
    let words = announced(world(5));
    assert!(words.contains("verify-full") && words.contains(NAME), "{words}");
    assert!(!announced(World::new()).contains("verify-full"));
}
