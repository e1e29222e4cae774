//! Decisions as walks and tables over a small world. The world knows the types; the cases do not.

mod cells;
mod random;
pub(crate) mod world;

use jiff::SignedDuration;
use serde_json::json;

use crate::api::application::ApplicationMigrationStatus;
use crate::api::condition::Reason;
use crate::application::decide::{Phase, State, Step, wanted};
use crate::application::{plan, records};
use crate::aws::route53::{Answer as Records, Routing};
use crate::gate::Verdict;
use world::{Crash, World, simple, start};

const CLEAN: [&str; 17] = [
    "Claim",
    "Intend 0",
    "SetWeights 0",
    "Hold",
    "PutAlarm",
    "PutAlarm",
    "PutAlarm",
    "PutDashboard",
    "Intend 10",
    "SetWeights 10",
    "Hold",
    "Intend 50",
    "SetWeights 50",
    "Hold",
    "Intend 100",
    "SetWeights 100",
    "Hold",
];

#[test]
fn a_clean_run_takes_these_steps_in_this_order() {
    let mut world = World::new();
    assert_eq!(world.walk(), CLEAN);
    let decision = world.turn(None);
    assert!(matches!(decision.state, State::Ready { reason: Reason::Shifted, .. }), "{decision:?}");
    assert_eq!(world.status.phase.as_deref(), Some("Shifted"));
    assert_eq!(world.status.next.as_deref(), Some("waiting for goal Finish"));
    let traffic = world.status.traffic.clone().expect("a status");
    assert_eq!((traffic.weight, traffic.step_summary.as_deref()), (Some(100), Some("3/3")));
    let phases: Vec<String> =
        world.status.history.iter().filter(|h| h.step.is_none()).map(|h| h.phase.clone()).collect();
    assert_eq!(phases, ["Staging", "Shifting", "Shifted"]);
    let weights: Vec<String> = world.status.history.iter().filter_map(|h| h.step.clone()).collect();
    assert_eq!(weights, ["0 %", "10 %", "50 %", "100 %"]);
}

#[test]
fn at_rest_nothing_is_done_and_nothing_is_written() {
    for weight in [0, 10, 100] {
        let mut world = World::at(weight);
        world.spec["traffic"]["maxWeight"] = json!(weight);
        world.walk();
        let (changes, writes) = (world.changes, world.status_writes);
        for _ in 0..1_000 {
            assert_eq!(world.turn(None).step, None);
        }
        assert_eq!((world.changes, world.status_writes), (changes, writes), "at {weight}");
    }
}

/// The old record's TTL, then each TTL and hold in full: nothing goes faster.
#[test]
fn each_step_is_held_for_its_whole_time() {
    let mut world = World::new();
    let mut at = Vec::new();
    for _ in 0..20_000 {
        let now = world.seen.now;
        if let Some(Step::SetWeights(batch)) = &world.turn(None).step {
            at.push((batch.weight, now.duration_since(start()).as_secs()));
        }
        if world.status.phase.as_deref() == Some("Shifted") {
            break;
        }
    }
    let weights: Vec<u8> = at.iter().map(|(weight, _)| *weight).collect();
    assert_eq!(weights, [0, 10, 50, 100]);
    let waits: Vec<i64> = at.windows(2).map(|pair| pair[1].1 - pair[0].1).collect();
    // 40 s until all servers have it, and the longer of 300 s of the old record and 60 s of the new; then 60 s and the hold.
    for (wait, least) in waits.iter().zip([40 + 300, 40 + 60 + 120, 40 + 60 + 180]) {
        assert!((least..least + 25).contains(wait), "{waits:?}");
    }
}

#[test]
fn the_plan_is_the_clean_run_without_what_is_only_remembered() {
    let mut world = World::new();
    world.spec["goal"] = json!("Plan");
    let decision = world.turn(None);
    assert_eq!(decision.step, None);
    assert!(matches!(decision.state, State::Ready { reason: Reason::Planned, .. }), "{decision:?}");
    let planned: Vec<String> = plan::steps(&world.goal(), &world.seen).into_iter().map(|s| s.on).collect();
    assert_eq!(
        planned,
        [
            "api.bank.example at 0 %",
            "alarm-target-5xx-payments-api-dev",
            "alarm-target-latency-payments-api-dev",
            "alarm-unhealthy-hosts-payments-api-dev",
            "dashboard-payments-api-dev",
            "api.bank.example at 10 %",
            "api.bank.example at 50 %",
            "api.bank.example at 100 %",
        ]
    );
    let plan = world.status.plan.clone().expect("a plan");
    world.turn(None);
    assert_eq!(world.status.plan, Some(plan), "the same plan has the same hash and time");
}

/// A crash before, within or after any step of the run: the end is that of the clean one, and what stands in Route 53 was
/// whole all the time.
#[test]
fn a_crash_anywhere_comes_to_the_same_end() {
    let mut clean = World::new();
    clean.walk();
    let mut crashes = 0;
    let mut begun = World::new();
    let mut waited = 0;
    while begun.status.phase.as_deref() != Some("Shifted") {
        let waits = begun.clone().turn(None).step.is_none();
        waited += usize::from(waits);
        // In a long wait one crash is like the other.
        let few = if waits && waited % 60 != 0 { 0 } else { 3 };
        for crash in [Crash::Before, Crash::AfterEffect, Crash::AfterRecord].into_iter().take(few) {
            let mut world = begun.clone();
            world.turn(Some(crash));
            world.walk();
            assert_eq!(world.unnumbered(), clean.unnumbered(), "{crash:?} at {:?}", begun.status.next);
            assert_eq!(world.status.phase, clean.status.phase, "{crash:?} at {:?}", begun.status.next);
            assert_eq!(world.seen.alarms, clean.seen.alarms);
            crashes += 1;
        }
        begun.turn(None);
    }
    assert!(crashes > 51, "only {crashes} crashes were tried");
}

/// What becomes of a world.
type Bend = fn(&mut World);

/// The same on the way back, at the end, and in a deletion.
#[test]
fn a_crash_on_other_ways_comes_to_the_same_end() {
    let ways: [(&str, Bend); 4] = [
        ("back", |world| world.spec["goal"] = json!("Stage")),
        ("gate", |world| world.fail("errors", Verdict::Fail)),
        ("brake", |world| world.spec["abortAttempt"] = json!(1)),
        ("finish", |world| {
            world.spec["goal"] = json!("Finish");
            let database = world.database();
            database.phase = "Soaking".into();
            database.writer = Some(crate::side::Side::Target);
            database.writer_word = "Target".into();
        }),
    ];
    for (way, bend) in ways {
        let mut clean = World::at(100);
        bend(&mut clean);
        let begun = clean.clone();
        let steps = clean.walk().len();
        assert!(steps > 1, "{way}");
        for crash in [Crash::Before, Crash::AfterEffect, Crash::AfterRecord] {
            for at in 0..=steps + 3 {
                let mut world = begun.clone();
                for _ in 0..at {
                    world.turn(None);
                }
                world.turn(Some(crash));
                world.walk();
                assert_eq!(world.unnumbered(), clean.unnumbered(), "{way} {crash:?} at turn {at}");
                assert_eq!(world.status.phase, clean.status.phase, "{way} {crash:?} at turn {at}");
            }
        }
    }
}

#[test]
fn a_deletion_at_the_source_restores_what_stood_there() {
    let mut world = World::at(0);
    world.deleting = true;
    assert_eq!(world.walk(), ["Restore", "DeleteAlarms", "DeleteDashboard", "Release"]);
    assert_eq!(world.seen.records, Ok(vec![simple(300)]), "with its TTL, and without the marker");
    let mut nothing_there = World::new().bend(|w| {
        w.seen.records = Ok(vec![]);
        w.spec["traffic"]["maxWeight"] = json!(0);
    });
    nothing_there.walk();
    nothing_there.deleting = true;
    nothing_there.walk();
    let [record] = nothing_there.at_name()[..] else { panic!("one record") };
    assert_eq!(record.routing, Routing::Simple);
    let values = vec!["203.0.113.10".to_owned(), "203.0.113.11".to_owned()];
    assert_eq!(record.answer, Records::Values { ttl: 60, values }, "the name stays where it led");
}

/// A call that got no answer may be carried out at any later time, when the weights are again as it thinks them to be.
#[test]
fn a_batch_that_arrives_after_another_is_refused() {
    let mut world = World::at(0);
    let batch = |world: &World, weight| {
        let (goal, records) = (world.goal(), world.seen.records.as_ref().expect("known"));
        let balancer = world.seen.balancer.as_ref().expect("known").as_ref();
        records::set_weights(&goal, &records::stands(&goal, records), balancer, weight).expect("a batch")
    };
    let late = batch(&world, 10);
    let meanwhile = batch(&world, 0);
    plan::apply(&mut world.seen.records, &meanwhile);
    assert_eq!(world.percent(), Some(0));
    plan::apply(&mut world.seen.records, &late);
    assert_eq!(world.percent(), Some(0), "it was sent before the other one");
    let next = batch(&world, 10);
    plan::apply(&mut world.seen.records, &next);
    assert_eq!(world.percent(), Some(10));
}

/// Deleting moves nothing: with traffic at the target it waits, and ways back stay open.
#[test]
fn a_deletion_with_traffic_at_the_target_is_held() {
    for weight in [10, 50, 100] {
        let mut world = World::at(weight);
        let before = world.seen.records.clone();
        world.deleting = true;
        assert_eq!(world.walk(), Vec::<String>::new(), "at {weight}");
        assert_eq!(world.seen.records, before);
        let decision = world.turn(None);
        assert!(matches!(&decision.state, State::Stalled(b) if b.reason == Reason::Deleting), "{decision:?}");
        let mut failing = world.clone();
        failing.fail("errors", Verdict::Fail);
        assert!(failing.walk().contains(&"SetWeights 0".to_owned()), "a failing gate goes back");
        world.spec["goal"] = json!("Stage");
        assert_eq!(
            world.walk(),
            ["Intend 0", "SetWeights 0", "Restore", "DeleteAlarms", "DeleteDashboard", "Release"]
        );
        assert_eq!(world.seen.records, Ok(vec![simple(300)]));
    }
    // What was asked for is lost with the status, and the advice that it gave stays true.
    let mut lost = World::at(10);
    lost.deleting = true;
    lost.status = ApplicationMigrationStatus::default();
    assert_eq!(lost.walk(), ["Claim", "Intend 10", "SetWeights 10", "Hold"]);
    assert_eq!(lost.percent(), Some(10), "nothing moves");
    lost.spec["goal"] = json!("Stage");
    assert!(lost.walk().ends_with(&["Release".to_owned()]));
    assert_eq!(lost.seen.records, Ok(vec![simple(300)]));
    let mut retained = World::at(50);
    retained.deleting = true;
    retained.spec["deletionPolicy"] = json!("Retain");
    let before = retained.seen.records.clone();
    assert_eq!(retained.walk(), ["Release"]);
    assert_eq!(retained.seen.records, before);
    let mut untouched = World::new().bend(|w| w.deleting = true);
    assert_eq!(untouched.walk(), ["Release"]);
}

#[test]
fn the_end_waits_for_the_writer_and_then_leaves_one_record() {
    let mut world = World::at(100);
    world.spec["goal"] = json!("Finish");
    assert_eq!(world.walk(), Vec::<String>::new(), "the writer is the source");
    assert!(world.status.next.as_deref().is_some_and(|next| next.contains("not the target")));
    world.database().phase = "Soaking".into();
    world.database().writer = Some(crate::side::Side::Target);
    world.database().writer_word = "Target".into();
    assert_eq!(world.walk(), ["EndWayBack", "LeaveToTarget", "DeleteAlarms", "DeleteDashboard"]);
    let records = world.seen.records.clone().expect("known");
    assert_eq!(records.len(), 1, "{records:?}");
    assert!(matches!(&records[0].answer, Records::Alias { dns_name, evaluate_target_health: false, .. }
        if dns_name == "alb-dev-1.us-east-1.elb.amazonaws.com"));
    assert_eq!(world.status.phase.as_deref(), Some("Finished"));
    assert_eq!(world.status.rollback.clone().map(|way| way.mode).as_deref(), Some("None"));
    world.deleting = true;
    assert_eq!(world.walk(), ["Release"]);
    assert_eq!(world.seen.records, Ok(records), "it stays");
}

/// What a held deletion advises is what happens: the end that is ordered comes, once the last hold and the gates are passed.
#[test]
fn a_deletion_that_is_held_at_100_ends_with_goal_finish() {
    let mut world = World::at(100);
    world.database().writer = Some(crate::side::Side::Target);
    world.database().writer_word = "Target".into();
    world.deleting = true;
    assert_eq!(world.walk(), Vec::<String>::new());
    assert_eq!(world.status.phase.as_deref(), Some("Deleting"));
    world.spec["goal"] = json!("Finish");
    assert_eq!(world.walk(), ["EndWayBack", "LeaveToTarget", "DeleteAlarms", "DeleteDashboard", "Release"]);
    let State::Stalled(held) = super::forward::deletion_holds(10).state else { panic!("it is held") };
    assert!(!held.message.contains("Finish"), "at 10 % nothing leads there");
}

/// Whoever makes a resource anew for a name that leads to the target already must not take its traffic away.
#[test]
fn a_record_that_does_not_lead_to_the_source_is_never_replaced() {
    let finished = {
        let mut world = World::at(100);
        world.spec["goal"] = json!("Finish");
        world.database().writer = Some(crate::side::Side::Target);
        world.walk();
        world.seen.records.clone().expect("known")
    };
    let mut elsewhere = simple(300);
    elsewhere.answer = Records::Values { ttl: 300, values: vec!["198.51.100.1".into()] };
    let mut name = simple(300);
    name.kind = "CNAME".into();
    for records in [finished, vec![elsewhere], vec![name]] {
        let mut world = World::new().bend(|w| w.seen.records = Ok(records.clone()));
        assert_eq!(world.walk(), Vec::<String>::new());
        assert_eq!(world.seen.records, Ok(records));
        assert!(matches!(world.turn(None).state, State::Stalled(b) if b.reason == Reason::RecordConflict));
    }
    let mut refused = World::new();
    refused.spec["traffic"]["route53"]["existingRecord"] = json!("Refuse");
    assert_eq!(refused.walk(), Vec::<String>::new());
    assert_eq!(refused.status.phase.as_deref(), Some("Assessing"));
}

#[test]
fn what_is_not_ours_is_left_alone() {
    let mut marker = World::at(10).seen.records.expect("known");
    for set in &mut marker {
        if let Records::Values { values, .. } = &mut set.answer {
            for value in values {
                *value = value.replace("uid=u-1", "uid=u-2");
            }
        }
    }
    let without_marker: Vec<_> = marker.iter().filter(|set| set.kind != "TXT").cloned().collect();
    let mut latency = simple(300);
    latency.routing = Routing::Other("latency".into());
    let mut txt = simple(300);
    (txt.kind, txt.name) = ("TXT".into(), "slipway.api.bank.example".into());
    for records in [marker, without_marker, vec![latency], vec![simple(300), txt]] {
        for deleting in [false, true] {
            let mut world = World::new().bend(|w| {
                w.seen.records = Ok(records.clone());
                w.deleting = deleting;
            });
            let expected: &[&str] = if deleting { &["Release"] } else { &[] };
            assert_eq!(world.walk(), expected);
            assert_eq!(world.seen.records, Ok(records.clone()));
        }
    }
}

#[test]
fn records_of_other_types_are_left_alone() {
    let mut mail = simple(60);
    mail.kind = "MX".into();
    mail.answer = Records::Values { ttl: 60, values: vec!["10 mail.bank.example".into()] };
    let mut six = simple(60);
    six.kind = "AAAA".into();
    let mut world = World::new().bend(|w| {
        w.seen.records.as_mut().expect("known").extend([mail.clone(), six.clone()]);
    });
    assert_eq!(world.walk(), CLEAN);
    let records = world.seen.records.clone().expect("known");
    assert!(records.contains(&mail) && records.contains(&six));
    let held = world.status.conditions.iter().find(|c| c.type_ == "RecordsHeld").expect("there");
    assert!(held.message.contains("AAAA"), "{}", held.message);
}

#[test]
fn every_phase_has_a_meaning_and_every_alarm_the_suffix() {
    for phase in [Phase::Pending, Phase::RolledBack, Phase::Finished] {
        assert!(!phase.meaning().is_empty() && !phase.as_str().is_empty());
    }
    let goal = World::new().goal();
    let alarms = wanted::alarms(&goal);
    assert_eq!(alarms.len(), 3);
    for alarm in &alarms {
        assert!(
            alarm.name.starts_with("alarm-") && alarm.name.ends_with("-payments-api-dev"),
            "{}",
            alarm.name
        );
        let dimensions: Vec<&str> = alarm.dimensions.iter().map(|(_, value)| value.as_str()).collect();
        assert_eq!(dimensions, ["app/alb-dev/1", "targetgroup/tg-dev/1"]);
    }
    let body: serde_json::Value = serde_json::from_str(&wanted::dashboard(&goal)).expect("JSON");
    assert_eq!(body["widgets"].as_array().map(Vec::len), Some(5));
    assert_eq!(body["widgets"][1]["properties"]["region"], "us-east-1");
}

/// From a failing sample to the weights: no hold is waited for.
#[test]
fn a_failing_gate_goes_back_at_once() {
    let mut world = World::at(50).bend(|w| w.spec["traffic"]["maxWeight"] = json!(50));
    world.verdicts.insert("login".to_owned(), Verdict::Fail);
    let failed_at = world.seen.now;
    loop {
        if let Some(Step::SetWeights(batch)) = world.turn(None).step {
            assert!(batch.urgent && batch.weight == 0);
            break;
        }
    }
    let took = world.seen.now.duration_since(failed_at);
    assert!(took <= SignedDuration::from_secs(61), "{took}");
    let latch = world.status.latch.clone().expect("latched");
    assert_eq!((latch.attempt, latch.reason.as_str()), (1, "GateFailed"));
    world.walk();
    assert_eq!((world.percent(), world.status.phase.as_deref()), (Some(0), Some("RolledBack")));
    world.fail("login", Verdict::Pass);
    assert_eq!(world.walk(), Vec::<String>::new(), "it stays back, whatever the gate says now");
    world.spec["attempt"] = json!(2);
    world.spec["traffic"]["maxWeight"] = json!(100);
    let actions = world.walk();
    assert_eq!(actions.first().map(String::as_str), Some("Intend 10"), "from the first step");
    assert_eq!(world.percent(), Some(100));
}
