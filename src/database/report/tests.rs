//! What is written, and when nothing is.

use jiff::SignedDuration;

use super::{REFRESH_EVERY, clip, is_due, is_news, status};
use crate::api::condition::{READY, RECONCILING, Reason, STALLED};
use crate::api::database::DatabaseMigrationStatus;
use crate::database::decide::scene::Scene;
use crate::database::goal::{ConnectionGoal, RecordGoal};
use crate::database::outage::Spans;
use crate::database::seen::Verified;
use crate::fault::{Blocked, Fault};
use crate::postgres::{Holder, Record};
use crate::side::Side;

/// How a scene is bent.
type Bend = fn(&mut Scene);

fn report(scene: &Scene, previous: &DatabaseMigrationStatus) -> DatabaseMigrationStatus {
    status(&scene.goal, &scene.seen, &scene.decide(), &Spans::default(), previous, Some(1))
}

fn truth<'a>(status: &'a DatabaseMigrationStatus, kind: &str) -> &'a str {
    status.conditions.iter().find(|c| c.type_ == kind).map_or("absent", |c| c.status.as_str())
}

#[test]
fn at_rest_nothing_is_news() {
    let scene = Scene::replicating();
    let first = report(&scene, &DatabaseMigrationStatus::default());
    let later = scene.clone().bend(|s| {
        s.seen.now += SignedDuration::from_secs(30);
        let lag = s.seen.memory.lag.as_mut().expect("measured");
        lag.at = s.seen.now;
        lag.age = SignedDuration::from_millis(1234);
        s.aws().tables[0].full_load_rows += 5;
    });
    let second = report(&later, &first);
    assert_ne!(first, second, "lag and time moved");
    assert!(!is_news(&first, &second));
    assert_eq!(second.replication.as_ref().and_then(|r| r.lag.as_deref()), Some("1s200ms"));
}

#[test]
fn while_replicating_the_status_is_refreshed_every_five_minutes_and_not_sooner() {
    let scene = Scene::replicating();
    let first = report(&scene, &DatabaseMigrationStatus::default());
    let decision = scene.decide();
    let at = scene.seen.now;
    assert!(!is_due(&first, &decision, at + REFRESH_EVERY - SignedDuration::from_secs(1)));
    assert!(is_due(&first, &decision, at + REFRESH_EVERY));
    let plan = Scene::fresh().bend(|s| s.goal.reach = crate::api::database::Goal::Plan);
    let first = report(&plan, &DatabaseMigrationStatus::default());
    assert!(!is_due(&first, &plan.decide(), at + SignedDuration::from_hours(24)), "never with goal Plan");
}

#[test]
fn with_goal_plan_nothing_changes_from_look_to_look() {
    let scene = Scene::fresh().bend(|s| s.goal.reach = crate::api::database::Goal::Plan);
    let first = report(&scene, &DatabaseMigrationStatus::default());
    assert_eq!(first.plan.as_ref().map(|plan| plan.steps.len()), Some(15));
    let later = scene.bend(|s| s.seen.now += SignedDuration::from_hours(1));
    assert!(!is_news(&first, &report(&later, &first)));
}

#[test]
fn each_of_these_is_news() {
    let scene = Scene::replicating();
    let first = report(&scene, &DatabaseMigrationStatus::default());
    let bends: [(&str, Bend); 5] = [
        ("the lag is no longer known", |s| s.seen.memory.lag = None),
        ("the lag is above its threshold", |s| {
            s.seen.memory.lag.as_mut().expect("measured").age = SignedDuration::from_mins(5);
        }),
        ("the target came open", |s| s.on(Side::Target).writers.push("payments_app".into())),
        ("the source is gone", |s| {
            let gone = Fault::blocked(crate::api::condition::Reason::Unreachable, "no answer", "mend it");
            s.seen.database.source = Err(gone);
        }),
        ("the task stopped", |s| {
            s.aws().task.as_mut().expect("there").status = crate::aws::dms::TaskStatus::Stopped;
        }),
    ];
    for (what, bend) in bends {
        let second = report(&scene.clone().bend(bend), &first);
        assert!(is_news(&first, &second), "{what}");
    }
}

#[test]
fn the_three_that_sum_up_never_contradict_each_other() {
    let bends: [Bend; 4] = [
        |_| {},
        |s| s.seen.aws = Err(Fault::Again("throttled".into())),
        |s| s.on(Side::Source).wal_level = "replica".into(),
        |s| s.goal.suspended = true,
    ];
    for scene in [Scene::fresh(), Scene::replicating()] {
        for bend in bends {
            let status = report(&scene.clone().bend(bend), &DatabaseMigrationStatus::default());
            let all = [READY, RECONCILING, STALLED].map(|kind| truth(&status, kind));
            assert!(
                matches!(
                    all,
                    ["True", "False", "False"]
                        | ["False" | "Unknown", "True", "False"]
                        | ["False", "False", "True"]
                ),
                "{all:?}"
            );
        }
    }
}

#[test]
fn the_writer_is_said_once_the_target_was_fenced() {
    let writer = |scene: Scene| report(&scene, &DatabaseMigrationStatus::default()).writer;
    assert_eq!(writer(Scene::fresh()), None);
    assert_eq!(writer(Scene::replicating()).as_deref(), Some("Source"));
    let open = Scene::replicating().bend(|s| s.on(Side::Target).writers.push("payments_app".into()));
    assert_eq!(writer(open).as_deref(), Some("Both"));
    let blind = Scene::replicating().bend(|s| s.seen.database.target = Err(Fault::Again("no answer".into())));
    assert_eq!(writer(blind).as_deref(), Some("Unknown"));
}

#[test]
fn a_lag_that_is_not_known_is_absent_not_old() {
    let scene = Scene::replicating().bend(|s| s.seen.now += SignedDuration::from_mins(10));
    let status = report(&scene, &DatabaseMigrationStatus::default());
    assert_eq!(status.replication.and_then(|r| r.lag), None);
}

#[test]
fn every_finding_is_listed_and_the_first_one_stalls() {
    let scene = Scene::fresh().bend(|s| {
        s.on(Side::Source).wal_level = "replica".into();
        s.on(Side::Source).tables[0].has_primary_key = false;
    });
    let status = report(&scene, &DatabaseMigrationStatus::default());
    let assessed = status.conditions.iter().find(|c| c.type_ == "Assessed").expect("there");
    assert!(
        assessed.message.contains("1. WalLevelNotLogical") && assessed.message.contains("2. TableWithoutKey")
    );
    assert_eq!(
        status.next.as_deref(),
        Some("waiting for a person: WalLevelNotLogical (see the Stalled condition)")
    );
}

#[test]
fn texts_are_cut_between_characters() {
    assert_eq!(clip("äöü", 6), "äöü");
    assert_eq!(clip("äöüß", 7), "äö…");
    assert!(clip(&"ü".repeat(500), 256).len() <= 256);
}

#[test]
fn history_is_bounded_and_grows_with_phases_only() {
    let scene = Scene::replicating();
    let mut current = DatabaseMigrationStatus::default();
    for round in 0..120 {
        let seen = if round % 2 == 0 { scene.clone() } else { scene.clone().bend(|s| s.aws().task = None) };
        current = report(&seen, &current);
    }
    assert_eq!(current.history.len(), 50);
}

#[test]
fn the_same_refusal_with_another_request_id_is_no_news() {
    let refused = |request: &str, code: &str| {
        let message = format!(
            "CreateEndpoint e: {code} (client error, request {request}): look at spec.source (again)"
        );
        let blocked = Blocked { reason: Reason::RequestRefused, message };
        super::refused(&blocked, &DatabaseMigrationStatus::default(), Some(1), jiff::Timestamp::UNIX_EPOCH)
    };
    let first = refused("5a1d-1", "InvalidSubnet");
    assert!(!is_news(&first, &refused("5a1d-2", "InvalidSubnet")));
    assert!(is_news(&first, &refused("5a1d-1", "InvalidParameterValue")));
}

/// The API server keeps whole seconds: what was written must not differ from what is reported a moment later.
#[test]
fn what_was_verified_is_no_news_at_the_next_look() {
    let mut scene = Scene::replicating();
    scene.seen.memory.verified = Some(Verified {
        fence_id: "1".into(),
        difference: None,
        tables: 2,
        rows: 10,
        at: "2026-11-23T12:00:00.123456789Z".parse().expect("a timestamp"),
    });
    let written = serde_json::to_string(&report(&scene, &DatabaseMigrationStatus::default())).expect("JSON");
    let kept: DatabaseMigrationStatus = serde_json::from_str(&written).expect("a status");
    assert_eq!(kept.verification, report(&scene, &kept).verification);
    assert!(!is_news(&kept, &report(&scene, &kept)));
}

/// A status that was lost does not know any more that something was made; the rows know who the writer is.
#[test]
fn a_lost_status_does_not_hide_the_writer() {
    let scene = Scene::replicating().bend(|s| s.goal.claimed = false);
    assert_eq!(report(&scene, &DatabaseMigrationStatus::default()).writer.as_deref(), Some("Source"));
    let fresh = Scene::fresh();
    assert_eq!(report(&fresh, &DatabaseMigrationStatus::default()).writer, None);
}

/// Whether anybody writes to the source as well, the target does not know.
#[test]
fn while_soaking_nothing_is_ready_that_could_not_be_seen() {
    let mut scene = Scene::replicating();
    scene.goal.reach = crate::api::database::Goal::CutOver;
    scene.aws().task = None;
    for side in Side::BOTH {
        let server = scene.on(side);
        server.writers = if side == Side::Target { vec!["payments_app".into()] } else { Vec::new() };
        if let Record::Present { token, .. } = &mut server.record {
            token.holder = Holder::Side(Side::Target);
        }
    }
    let said = |scene: &Scene| {
        let status = report(scene, &DatabaseMigrationStatus::default());
        (status.phase.clone(), status.writer.clone(), truth(&status, READY).to_owned())
    };
    let (soaking, target) = (Some("Soaking".to_owned()), Some("Target".to_owned()));
    assert_eq!(said(&scene), (soaking.clone(), target, "True".to_owned()));
    scene.seen.database.source = Err(Fault::Again("no answer".into()));
    assert_eq!(said(&scene), (soaking.clone(), Some("Unknown".to_owned()), "Unknown".to_owned()));
    scene.seen.database.source = Err(Fault::blocked(Reason::Unreachable, "no answer", "mend it"));
    assert_eq!(said(&scene), (soaking, Some("Unknown".to_owned()), "False".to_owned()));
}

/// Whoever chose a name for the applications reads what becomes of verify-full beside the plan, and is not held up.
#[test]
fn a_name_that_breaks_verify_full_is_warned_of_and_not_refused() {
    let mut plan = Scene::fresh().bend(|s| s.goal.reach = crate::api::database::Goal::Plan);
    let of = |scene: &Scene| {
        let status = report(scene, &DatabaseMigrationStatus::default());
        let assessed = status.conditions.iter().find(|c| c.type_ == "Assessed").expect("there").clone();
        (assessed.status, assessed.message, status.plan.is_some())
    };
    let (_, before, _) = of(&plan);
    let record = RecordGoal { zone_id: "Z1".to_owned(), name: "db.bank.example".to_owned(), ttl: 5 };
    plan.goal.cutover.connection = Some(ConnectionGoal::Record(record));
    let (status, after, planned) = of(&plan);
    assert!(status == "True" && planned && !before.contains("verify-full"));
    assert!(
        after.starts_with(&before) && after.contains("verify-full fails through db.bank.example"),
        "{after}"
    );
}
