//! Each cell of the design's table for an application, and each thing that is not known.

use serde_json::json;

use super::world::{World, fault};
use crate::api::condition::Reason;
use crate::api::database::Order;
use crate::application::decide::State;
use crate::aws::balancer::TargetHealth;
use crate::aws::route53::{Answer as Records, RecordSet, Routing};
use crate::fault::Fault;
use crate::gate::{Answer, Verdict};
use crate::side::Side;

const NOTHING: [&str; 0] = [];

#[test]
fn a_moved_goal_does_what_the_table_says() {
    type Bend = fn(&mut World);
    let cells: [(&str, u8, Bend, u8, &str, bool); 17] = [
        ("goal Stage at 0", 0, |w| w.spec["goal"] = json!("Stage"), 0, "Staging", false),
        ("goal Stage at 10", 10, |w| w.spec["goal"] = json!("Stage"), 0, "Staging", false),
        ("goal Stage at 100", 100, |w| w.spec["goal"] = json!("Stage"), 0, "Staging", false),
        ("maxWeight 0", 50, |w| w.spec["traffic"]["maxWeight"] = json!(0), 0, "Staging", false),
        (
            "maxWeight below the first step",
            50,
            |w| w.spec["traffic"]["maxWeight"] = json!(9),
            0,
            "Staging",
            false,
        ),
        (
            "maxWeight between steps",
            100,
            |w| w.spec["traffic"]["maxWeight"] = json!(49),
            10,
            "Shifting",
            false,
        ),
        ("maxWeight at a step", 100, |w| w.spec["traffic"]["maxWeight"] = json!(50), 50, "Shifting", false),
        ("maxWeight raised", 10, |w| w.spec["traffic"]["maxWeight"] = json!(50), 50, "Shifting", false),
        ("abort at 0", 0, |w| w.spec["abortAttempt"] = json!(1), 0, "RolledBack", true),
        ("abort at 50", 50, |w| w.spec["abortAttempt"] = json!(1), 0, "RolledBack", true),
        (
            "abort of an earlier attempt",
            50,
            |w| {
                w.spec["attempt"] = json!(3);
                w.spec["abortAttempt"] = json!(2);
            },
            100,
            "Shifted",
            false,
        ),
        ("suspend at 10", 10, |w| w.spec["suspend"] = json!(true), 10, "Shifting", false),
        (
            "suspend and goal Stage",
            10,
            |w| {
                w.spec["suspend"] = json!(true);
                w.spec["goal"] = json!("Stage");
            },
            0,
            "Staging",
            false,
        ),
        (
            "suspend and abort",
            10,
            |w| {
                w.spec["suspend"] = json!(true);
                w.spec["abortAttempt"] = json!(1);
            },
            0,
            "RolledBack",
            true,
        ),
        (
            "suspend and a failing gate",
            10,
            |w| {
                w.spec["suspend"] = json!(true);
                w.fail("errors", Verdict::Fail);
            },
            0,
            "RolledBack",
            true,
        ),
        (
            "a failing gate that only holds",
            10,
            |w| {
                w.spec["traffic"]["onFailure"] = json!("Hold");
                w.fail("errors", Verdict::Fail);
            },
            10,
            "Shifting",
            false,
        ),
        (
            "a failing gate that is only watched",
            10,
            |w| w.fail("watched", Verdict::Fail),
            100,
            "Shifted",
            false,
        ),
    ];
    for (what, from, bend, to, phase, latched) in cells {
        let mut world = World::at(from).bend(bend);
        world.walk();
        assert_eq!(world.percent(), Some(to), "{what}");
        assert_eq!(world.status.phase.as_deref(), Some(phase), "{what}");
        assert_eq!(world.status.latch.is_some(), latched, "{what}");
        assert!(world.status.next.as_ref().is_some_and(|next| !next.is_empty()), "{what}");
    }
}

/// Going back waits neither for Route 53 nor for a hold.
#[test]
fn a_way_back_does_not_wait_for_the_change_under_way() {
    let mut world = World::at(10);
    let submitted = loop {
        if let Some(super::Step::SetWeights(batch)) = world.turn(None).step {
            break batch;
        }
    };
    assert_eq!(submitted.weight, 50);
    assert!(world.in_sync_at > world.seen.now, "it is pending");
    world.spec["goal"] = json!("Stage");
    let now = world.seen.now;
    assert_eq!(world.turn(None).step.map(|s| s.action()), Some("Intend"));
    assert_eq!(world.turn(None).step.map(|s| s.action()), Some("SetWeights"));
    assert_eq!((world.percent(), world.seen.now), (Some(0), now));
}

/// Nothing that is not known lets traffic go forward; and nothing but a failure takes it back.
#[test]
fn what_is_not_known_holds() {
    type Bend = fn(&mut World);
    let unknowns: [(&str, Bend); 22] = [
        ("an alarm", |w| w.fail("errors", Verdict::Unknown)),
        ("an answer", |w| w.fail("login", Verdict::Unknown)),
        ("the records", |w| w.seen.records = Err(fault())),
        ("the account", |w| w.seen.account = Err(fault())),
        ("the balancer", |w| w.seen.balancer = Err(fault())),
        ("the group", |w| w.seen.group = Err(fault())),
        ("the targets", |w| w.seen.targets = Err(fault())),
        ("no targets", |w| w.seen.targets = Ok(vec![])),
        ("the service", |w| w.seen.service = Err(fault())),
        ("the target's health", |w| w.seen.health.target = Err(fault())),
        ("a probe that times out", |w| {
            w.seen.health.target = Ok(vec![("alb".into(), Answer::Silent("no answer within 2 s"))]);
        }),
        ("a target that nobody asked", |w| w.seen.health.target = Ok(vec![])),
        ("the database", |w| w.seen.database = Some(Err(fault()))),
        ("the database was not asked", |w| w.seen.database = None),
        ("no such database", |w| w.seen.database = Some(Ok(None))),
        ("an old word of the database", |w| w.database().fresh = false),
        ("the writer", |w| w.database().writer = None),
        ("the sessions", |w| w.database().sessions = Err(fault())),
        ("a target without a session", |w| {
            w.database().sessions = Ok(vec!["10.0.1.1".parse().expect("one")]);
        }),
        ("a target that is an instance", |w| {
            w.seen.targets.as_mut().expect("known")[0].id = "i-0123".into();
        }),
        ("the alarms", |w| w.seen.alarms = Err(fault())),
        ("the dashboard", |w| w.seen.dashboard = Err(Fault::blocked(Reason::AccessDenied, "no", "allow it"))),
    ];
    for (what, bend) in unknowns {
        let mut world = World::at(10).bend(bend);
        let before = world.seen.records.clone();
        assert_eq!(world.walk(), NOTHING, "{what}");
        assert_eq!(world.seen.records, before, "{what}");
        assert!(!matches!(world.turn(None).state, State::Ready { .. }), "{what}");
        assert_eq!(world.status.latch, None, "{what}");
    }
}

#[test]
fn a_target_that_is_not_well_holds() {
    type Bend = fn(&mut World);
    let bends: [(&str, Bend); 8] = [
        ("sick", |w| w.sick(Side::Target)),
        ("an unhealthy target", |w| {
            w.seen.targets.as_mut().expect("known")[1].health = TargetHealth::Unhealthy;
        }),
        ("a deployment under way", |w| {
            let service = w.seen.service.as_mut().expect("known").as_mut().expect("there");
            service.deployments[0].rollout = Some("IN_PROGRESS".into());
        }),
        ("too few tasks", |w| {
            w.seen.service.as_mut().expect("known").as_mut().expect("there").running = 1;
        }),
        ("no tasks wanted", |w| {
            w.seen.service.as_mut().expect("known").as_mut().expect("there").desired = 0;
        }),
        ("a balancer that is not active", |w| {
            w.seen.balancer.as_mut().expect("known").as_mut().expect("there").state = "provisioning".into();
        }),
        ("the writer moves", |w| w.database().phase = "CuttingOver".into()),
        ("the writer moves back", |w| w.database().phase = "RollingBack".into()),
    ];
    for (what, bend) in bends {
        let mut world = World::at(10).bend(bend);
        assert_eq!(world.walk(), NOTHING, "{what}");
        assert_eq!(world.percent(), Some(10), "{what}");
    }
}

/// Both sides bad: traffic stays, and a person is told; it goes once one of them is well.
#[test]
fn nothing_goes_back_to_a_side_that_is_not_proved() {
    type Bend = fn(&mut World);
    let bends: [(&str, Bend); 5] = [
        ("sick", |w| w.sick(Side::Source)),
        ("one address of two", |w| {
            w.seen.health.source.as_mut().expect("known")[1].1 =
                Answer::Refused("the connection was refused");
        }),
        ("not known", |w| w.seen.health.source = Err(fault())),
        ("on another database", |w| {
            w.database().sessions = Ok(["10.0.1.1", "10.0.1.2"].map(|a| a.parse().expect("one")).to_vec());
        }),
        ("the writer moves", |w| w.database().phase = "CuttingOver".into()),
    ];
    for (what, bend) in bends {
        let mut world = World::at(50).bend(bend);
        world.fail("errors", Verdict::Fail);
        assert_eq!(world.walk(), NOTHING, "{what}");
        let decision = world.turn(None);
        assert_eq!(world.status.phase.as_deref(), Some("RollingBack"), "{what}");
        assert!(decision.next.contains("as soon as"), "{what}: {}", decision.next);
        assert_eq!(world.status.latch, None, "{what}: nothing was given up yet");
        assert_eq!(world.status.rollback.clone().map(|way| way.mode).as_deref(), Some("None"), "{what}");
        let well = World::at(50);
        world.seen.health = well.seen.health;
        world.seen.database = well.seen.database;
        assert!(world.walk().contains(&"SetWeights 0".to_owned()), "{what}");
        assert!(world.status.latch.is_some(), "{what}");
    }
}

#[test]
fn the_order_of_the_database_is_kept() {
    let mut world = World::at(0).bend(|w| w.database().order = Order::DatabaseFirst);
    assert_eq!(world.walk(), NOTHING);
    assert!(world.status.next.as_deref().is_some_and(|next| next.contains("DatabaseFirst")));
    world.database().writer = Some(Side::Target);
    world.database().writer_word = "Target".into();
    world.walk();
    assert_eq!(world.percent(), Some(100));
    let mut unlisted = World::new().bend(|w| w.database().lists_us = false);
    assert_eq!(unlisted.walk(), NOTHING);
    let mut alone = World::new();
    alone.spec["database"] = json!({"type": "None"});
    alone.spec["gates"] = json!([]);
    alone.seen.database = None;
    alone.walk();
    assert_eq!(alone.percent(), Some(100));
}

/// A weight that was asked for is not submitted once what let it be asked for is gone.
#[test]
fn what_changes_between_asking_and_submitting_is_heeded() {
    type Bend = fn(&mut World);
    let bends: [(&str, Bend); 5] = [
        ("the writer moves", |w| w.database().phase = "CuttingOver".into()),
        ("the target is sick", |w| w.sick(Side::Target)),
        ("suspended", |w| w.spec["suspend"] = json!(true)),
        ("deleted", |w| w.deleting = true),
        ("the goal went back", |w| w.spec["goal"] = json!("Stage")),
    ];
    for (what, bend) in bends {
        let mut world = World::at(10);
        while world.turn(None).step.is_none() {}
        let asked = world.status.traffic.clone().expect("a status");
        assert_eq!((asked.requested_weight, asked.change_id), (Some(50), None));
        bend(&mut world);
        for _ in 0..100 {
            world.turn(None);
            assert!(world.percent().is_none_or(|percent| percent <= 10), "{what}");
        }
    }
}

/// A gate fails between asking and submitting while the source is sick, and is not known when the source could serve again.
#[test]
fn a_gate_that_failed_before_a_weight_was_submitted_must_pass_again() {
    let mut world = World::at(10);
    while world.turn(None).step.is_none() {}
    assert_eq!(world.status.traffic.clone().and_then(|asked| asked.requested_weight), Some(50));
    world.sick(Side::Source);
    world.fail("errors", Verdict::Fail);
    assert_eq!(world.walk(), NOTHING);
    assert_eq!(world.status.phase.as_deref(), Some("RollingBack"));
    world.fail("errors", Verdict::Unknown);
    assert_eq!(world.walk()[..2], ["Intend 10", "SetWeights 10"]);
    assert_eq!(world.percent(), Some(10));
    assert_eq!(world.status.latch, None, "nothing was given up");
    world.well(Side::Source);
    world.fail("errors", Verdict::Pass);
    world.walk();
    assert_eq!(world.percent(), Some(100));
}

/// Somebody changed the records: they are left alone, and told of.
#[test]
fn drift_is_told_and_not_fought() {
    let mut world = World::at(50);
    world.set_by_hand(200);
    let by_hand = world.seen.records.clone();
    assert_eq!(world.walk(), NOTHING);
    assert_eq!(world.seen.records, by_hand);
    let decision = world.turn(None);
    assert!(matches!(decision.state, State::Stalled(b) if b.reason == Reason::RecordDrift));
    let traffic = world.status.traffic.clone().expect("a status");
    assert!(traffic.drift.is_some_and(|drift| drift.contains("50 % was asked for")));
    assert_eq!(traffic.requested_weight, Some(50));
    let mut undone = world.clone();
    undone.seen.records = World::at(50).seen.records;
    undone.walk();
    assert_eq!(undone.percent(), Some(100), "set right by hand, it goes on");
    let mut back = world.clone();
    back.spec["goal"] = json!("Stage");
    back.walk();
    assert_eq!(back.percent(), Some(0), "an order to go back is a person's, too");
    back.set_by_hand(100);
    assert_eq!(back.walk(), NOTHING, "and is not repeated against another's hand");
    world.spec["attempt"] = json!(2);
    assert_eq!(world.walk()[..2], ["Intend 50", "SetWeights 50"]);
    assert_eq!(world.percent(), Some(100));
}

#[test]
fn a_health_check_or_a_stranger_among_the_records_is_drift() {
    type Bend = fn(&mut World);
    let bends: [(&str, Bend); 4] = [
        ("a health check", |w| {
            let set = w.seen.records.as_mut().expect("known").iter_mut().find(|set| set.kind == "A");
            set.expect("one").health_check = Some("check".into());
        }),
        ("another weighted record", |w| {
            let records = w.seen.records.as_mut().expect("known");
            let mut other = records.iter().find(|set| set.kind == "A").expect("one").clone();
            other.routing = Routing::Weighted { set_identifier: "theirs".into(), weight: 9 };
            records.push(other);
        }),
        ("an address", |w| {
            for set in w.seen.records.as_mut().expect("known").iter_mut().filter(|set| set.kind == "A") {
                if let Records::Values { values, .. } = &mut set.answer {
                    *values = vec!["198.51.100.9".into()];
                }
            }
        }),
        ("the records are gone", |w| w.seen.records = Ok(vec![super::simple(60)])),
    ];
    for (what, bend) in bends {
        let mut world = World::at(10).bend(bend);
        let before = world.seen.records.clone();
        assert_eq!(world.walk(), NOTHING, "{what}");
        assert_eq!(world.seen.records, before, "{what}");
        assert!(
            matches!(world.turn(None).state, State::Stalled(b) if b.reason == Reason::RecordDrift),
            "{what}"
        );
        world.spec["attempt"] = json!(2);
        world.walk();
        let taken_over = what != "another weighted record";
        assert_eq!(world.percent() == Some(100), taken_over, "{what}: nobody's record but ours is deleted");
    }
}

/// The status is a report: lost, it is made anew from what stands in Route 53.
#[test]
fn a_lost_status_moves_no_traffic() {
    for weight in [0, 10, 50, 100] {
        let mut world = World::at(weight);
        let target = weight;
        world.spec["traffic"]["maxWeight"] = json!(target);
        let before: Vec<RecordSet> = world.at_name().into_iter().cloned().collect();
        world.status = crate::api::application::ApplicationMigrationStatus::default();
        world.walk();
        assert_eq!(world.at_name(), before.iter().collect::<Vec<_>>(), "at {weight}");
        assert_eq!(world.status.traffic.clone().and_then(|t| t.weight), Some(i32::from(weight)));
    }
}

/// A way back needs neither the load balancer nor CloudWatch.
#[test]
fn a_way_back_needs_nothing_of_the_target() {
    let mut world = World::at(50);
    world.seen.balancer = Err(fault());
    world.seen.group = Err(fault());
    world.seen.service = Err(fault());
    world.seen.alarms = Err(fault());
    world.seen.dashboard = Err(fault());
    world.seen.zone = Err(fault());
    world.spec["abortAttempt"] = json!(1);
    world.walk();
    assert_eq!(world.percent(), Some(0));
}

#[test]
fn a_source_with_a_name_has_cnames_and_not_at_a_zones_own_name() {
    let mut world = World::new();
    world.spec["source"] = json!({"hostname": "old.bank.example", "healthCheck": {"path": "/"}});
    world.seen.records = Ok(vec![]);
    world.walk();
    assert_eq!(world.percent(), Some(100));
    for set in world.at_name() {
        assert_eq!(set.kind, "CNAME");
        assert!(matches!(&set.answer, Records::Values { ttl: 60, values } if values.len() == 1));
    }
    let mut apex = World::new();
    apex.spec["source"] = json!({"hostname": "old.bank.example", "healthCheck": {"path": "/"}});
    apex.seen.records = Ok(vec![]);
    apex.seen.zone.as_mut().expect("known").as_mut().expect("there").name = "api.bank.example".into();
    assert_eq!(apex.walk(), NOTHING);
    let mut elsewhere = World::new();
    elsewhere.seen.zone.as_mut().expect("known").as_mut().expect("there").name = "other.example".into();
    assert_eq!(elsewhere.walk(), NOTHING);
    let mut missing = World::new();
    missing.seen.zone = Ok(None);
    // As Route 53 has it: where there is no zone, nothing can be listed.
    missing.seen.records = Err(fault());
    assert_eq!(missing.walk(), NOTHING);
    let state = missing.turn(None).state;
    assert!(matches!(&state, State::Stalled(blocked) if blocked.reason == Reason::ZoneMissing), "{state:?}");
}
