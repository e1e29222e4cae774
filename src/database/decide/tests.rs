//! Decisions as tables, walks and products over small worlds. `Scene` knows the types; the cases do not.

mod moving;
mod worlds;

use jiff::SignedDuration;

use crate::api::FINALIZER;
use crate::api::condition::Reason;
use crate::api::database::{DatabaseMigration, DatabaseMigrationStatus, Decided};
use crate::aws::dms::{Owner, StopReason, TableState, TaskStatus, ValidationState};
use crate::database::decide::scene::{Scene, now};
use crate::database::decide::{Phase, State, Step};
use crate::database::goal::{Goal, Intent};
use crate::database::plan::steps;
use crate::fault::Fault;
use crate::postgres::{Holder, Record, Slot, TableKind, Token};
use crate::side::{Side, Sides};

#[test]
fn a_clean_run_takes_these_steps_in_this_order() {
    let mut scene = Scene::fresh();
    let actions = scene.walk();
    assert_eq!(
        actions,
        [
            "Claim",
            "FenceTarget",
            "PrepareSource",
            "CreateSubnetGroup",
            "CreateInstance",
            "ImportCertificate",
            "ImportCertificate",
            "CreateEndpoint",
            "CreateEndpoint",
            "TestConnection",
            "TestConnection",
            "CreateTask",
            "StartTask",
            "PutAlarm",
            "PutAlarm",
            "PutAlarm",
            "Beat",
        ]
    );
    let decision = scene.decide();
    assert!(matches!(decision.state, State::Ready { .. }), "{decision:?}");
    assert_eq!(decision.phase, Some(Phase::Replicating));
}

#[test]
fn the_plan_is_the_clean_run_without_what_changes_nothing_outside() {
    let mut scene = Scene::fresh();
    scene.goal.reach = crate::api::database::Goal::Plan;
    let decision = scene.decide();
    assert_eq!(decision.step, None);
    assert!(matches!(decision.state, State::Ready { reason: Reason::Planned, .. }));
    let planned: Vec<String> = steps(&scene.goal, &scene.seen).into_iter().map(|s| s.action).collect();
    let walked: Vec<&str> =
        Scene::fresh().walk().into_iter().filter(|a| !["Claim", "Beat"].contains(a)).collect();
    assert_eq!(planned, walked);
}

#[test]
fn a_deletion_removes_everything_in_reverse_and_then_lets_go() {
    let mut scene = Scene::replicating().bend(|s| {
        s.on(Side::Source).slots = vec![slot("slot_of_task", true)];
        s.goal.deletion = Some(crate::api::database::DeletionPolicy::Delete);
    });
    assert_eq!(
        scene.walk(),
        [
            "NoteSlot",
            "StopTask",
            "DeleteTask",
            "DeleteAlarms",
            "DeleteEndpoint",
            "DeleteEndpoint",
            "DeleteCertificate",
            "DeleteCertificate",
            "DeleteInstance",
            "DeleteSubnetGroup",
            "DropSlot",
            "DropSourceRecord",
            "ReleaseTarget",
            "Release",
        ]
    );
    let target = scene.seen.database.target.expect("seen");
    assert!(target.writers.is_empty(), "the fence stays");
}

fn slot(name: &str, active: bool) -> Slot {
    Slot {
        name: name.into(),
        active,
        used_by: active.then(|| "slipway_dms".into()),
        retained_bytes: Some(0),
        wal_status: Some("reserved".into()),
    }
}

#[test]
fn a_deletion_leaves_what_is_not_ours() {
    let actions = Scene::replicating()
        .bend(|s| {
            s.goal.deletion = Some(crate::api::database::DeletionPolicy::Delete);
            let foreign = || Owner::Other(Some("u-2".into()));
            s.aws().instance.as_mut().expect("there").owner = foreign();
            s.aws().subnet_group.as_mut().expect("there").owner = foreign();
            for side in Side::BOTH {
                s.aws().endpoints.get_mut(side).as_mut().expect("there").owner = foreign();
            }
            for certificate in &mut s.aws().certificates {
                certificate.owner = foreign();
            }
            for alarm in &mut s.aws().alarms {
                alarm.owner = foreign();
            }
            s.task().owner = foreign();
        })
        .walk();
    assert_eq!(actions, ["DropSourceRecord", "ReleaseTarget", "Release"]);
}

#[test]
fn retain_and_never_claimed_let_go_at_once() {
    use crate::api::database::DeletionPolicy::{Delete, Retain};
    let retained = Scene::replicating().bend(|s| s.goal.deletion = Some(Retain)).walk();
    let untouched = Scene::fresh().bend(|s| s.goal.deletion = Some(Delete)).walk();
    assert_eq!((retained.as_slice(), untouched.as_slice()), (["Release"].as_slice(), ["Release"].as_slice()));
}

/// A heartbeat that is due at each look must not keep the brake from being recorded.
#[test]
fn the_brake_is_recorded_although_a_heartbeat_is_due() {
    let braked = Scene::replicating().bend(|s| {
        s.goal.reach = crate::api::database::Goal::CutOver;
        s.goal.abort_attempt = Some(s.goal.attempt);
    });
    assert_eq!(braked.step(), Some("Latch"));
    let due = braked.bend(|s| {
        s.seen.now += super::BEAT_EVERY;
    });
    let decision = due.decide();
    assert_eq!(decision.step.map(|step| step.action()), Some("Beat"));
    assert_eq!(decision.look_again, super::LookAgain::Soon);
}

/// The finalizer was there before anything was made; that the status told of it does not matter.
#[test]
fn a_deletion_whose_status_was_lost_leaves_nothing_behind() {
    use crate::api::database::DeletionPolicy::Delete;
    let known = Scene::replicating().bend(|s| s.goal.deletion = Some(Delete));
    let lost = known.clone().bend(|s| s.goal.claimed = false);
    assert_eq!(lost.clone().walk(), known.clone().walk());
    // In the midst of it, too, and while a database can't be asked.
    let silent = Scene::fresh().bend(|s| {
        s.goal.deletion = Some(Delete);
        s.seen.database.source = Err(crate::fault::Fault::Again("silent".to_owned()));
    });
    assert_eq!(silent.step(), None);
}

#[test]
fn a_deletion_waits_for_the_source_and_names_the_way_out() {
    let decision = Scene::replicating()
        .bend(|s| {
            s.goal.deletion = Some(crate::api::database::DeletionPolicy::Delete);
            s.aws().task = None;
            s.aws().alarms.clear();
            s.aws().endpoints = Sides::default();
            s.aws().certificates.clear();
            s.aws().instance = None;
            s.aws().subnet_group = None;
            s.seen.database.source = Err(Fault::blocked(Reason::Unreachable, "no answer", "mend it"));
        })
        .decide();
    assert_eq!(decision.step, None);
    let State::Stalled(blocked) = decision.state else { panic!("{:?}", decision.state) };
    assert!(blocked.message.contains("deletionPolicy"), "{}", blocked.message);
}

/// How a scene is bent.
type Bend = fn(&mut Scene);

/// What stands in the way: the word that must be said, and how the scene is bent.
fn blockers() -> Vec<(Reason, Bend)> {
    vec![
        (Reason::AccountMismatch, |s| {
            s.seen.account = Err(Fault::blocked(Reason::AccountMismatch, "wrong", "mend it"));
        }),
        (Reason::SecretMissing, |s| {
            s.seen.material.source = Err(Fault::blocked(Reason::SecretMissing, "wrong", "mend it"));
        }),
        (Reason::InstanceMissing, |s| {
            s.seen.address.target = Err(Fault::blocked(Reason::InstanceMissing, "wrong", "mend it"));
        }),
        (Reason::LoginRefused, |s| {
            s.seen.database.source = Err(Fault::blocked(Reason::LoginRefused, "wrong", "mend it"));
        }),
        (Reason::LoginRefused, |s| {
            s.seen.replication_login.target = Err(Fault::blocked(Reason::LoginRefused, "wrong", "mend it"));
        }),
        (Reason::AccessDenied, |s| {
            s.seen.aws = Err(Fault::blocked(Reason::AccessDenied, "wrong", "mend it"));
        }),
        (Reason::WalLevelNotLogical, |s| s.on(Side::Source).wal_level = "replica".into()),
        (Reason::SlotsExhausted, |s| s.on(Side::Source).free_slots = 0),
        (Reason::SlotsExhausted, |s| s.on(Side::Source).free_wal_senders = 0),
        (Reason::NoTables, |s| s.on(Side::Source).tables.clear()),
        (Reason::TableWithoutKey, |s| s.on(Side::Source).tables[1].has_primary_key = false),
        (Reason::TableUnsupported, |s| s.on(Side::Source).tables[1].kind = TableKind::Unlogged),
        (Reason::TableUnsupported, |s| s.on(Side::Target).identity.version = 140_010),
        (Reason::TargetSchemaMissing, |s| {
            s.on(Side::Target).tables.pop();
        }),
        (Reason::TargetSchemaMissing, |s| s.on(Side::Target).tables[0].columns[0].1 = "integer".into()),
        (Reason::TargetNotEmpty, |s| s.on(Side::Target).tables[0].empty = Some(false)),
        (Reason::PrivilegeMissing, |s| s.on(Side::Target).missing_privileges.push("GRANT …".into())),
        (Reason::InvalidSpec, |s| s.on(Side::Target).identity.system_identifier = 1),
        (Reason::OtherMigration, |s| {
            s.on(Side::Target).record = Record::Present {
                migration: "other/one".into(),
                uid: "u-2".into(),
                token: Token::fresh(Holder::Fenced),
                system_identifier: 2,
                slots: vec![],
            };
        }),
    ]
}

#[test]
fn nothing_is_made_while_anything_is_in_the_way() {
    for (index, (reason, bend)) in blockers().into_iter().enumerate() {
        let scene = Scene::fresh().bend(bend);
        let decision = scene.decide();
        assert_eq!(scene.stalled(), Some(reason), "case {index}: {decision:?}");
        assert_eq!(decision.step, None, "case {index}");
        assert_eq!(decision.phase, Some(Phase::Assessing), "case {index}");
    }
}

#[test]
fn a_fact_that_is_not_known_is_no_verdict_and_no_step() {
    for bend in [
        (|s: &mut Scene| s.seen.aws = Err(Fault::Again("throttled".into()))) as Bend,
        |s| s.seen.database.target = Err(Fault::Again("gone for a moment".into())),
        |s| s.seen.account = Err(Fault::Again("no answer".into())),
        |s| s.seen.address.target = Err(Fault::Wait("no address yet".into())),
    ] {
        for scene in [Scene::fresh().bend(bend), Scene::replicating().bend(bend)] {
            let decision = scene.decide();
            assert!(matches!(decision.state, State::Uncertain(_)), "{decision:?}");
            assert_eq!(decision.step, None);
        }
    }
}

#[test]
fn rows_on_the_target_are_our_own_work_once_the_task_ran() {
    let full = |s: &mut Scene| s.on(Side::Target).tables[0].empty = Some(false);
    assert_eq!(Scene::fresh().bend(full).stalled(), Some(Reason::TargetNotEmpty));
    assert_eq!(Scene::replicating().bend(full).stalled(), None);
    // A task of somebody else's of the same name is no excuse.
    let foreign = Scene::replicating().bend(full).bend(|s| s.task().owner = Owner::Other(None));
    assert_eq!(foreign.stalled(), Some(Reason::NotOurs));
}

#[test]
fn a_stopped_task_is_resumed_never_started_again() {
    let stopped = |reason: StopReason, seconds: i64| {
        Scene::replicating().bend(move |s| {
            let at = s.seen.now - SignedDuration::from_secs(seconds);
            let task = s.task();
            task.status = TaskStatus::Stopped;
            task.stop_reason = Some(reason);
            task.stopped_at = Some(at);
        })
    };
    assert_eq!(stopped(StopReason::RecoverableError, 10).step(), Some("ResumeTask"));
    assert_eq!(stopped(StopReason::Normal, 10).step(), Some("ResumeTask"));
    assert_eq!(stopped(StopReason::FatalError, 10).step(), None);
    assert_eq!(stopped(StopReason::FatalError, 10).stalled(), Some(Reason::TaskFailed));
    assert_eq!(stopped(StopReason::FatalError, 70).step(), Some("ResumeTask"));
    // A test of hours ago, or of another process, proves nothing: test first.
    let untested = stopped(StopReason::Normal, 10).bend(|s| s.seen.memory.tested_at = Sides::default());
    assert_eq!(untested.step(), Some("TestConnection"));
}

#[test]
fn a_lost_slot_stops_everything_for_ever() {
    let noted = |s: &mut Scene| {
        s.on(Side::Source).slots = vec![slot("ours", false)];
        s.apply(&Step::NoteSlot("ours".into()));
        s.task().status = TaskStatus::Stopped;
    };
    assert_eq!(Scene::replicating().bend(noted).step(), Some("ResumeTask"));
    for bend in [
        (|s: &mut Scene| s.on(Side::Source).slots.clear()) as Bend,
        |s| s.on(Side::Source).slots[0].wal_status = Some("lost".into()),
        |s| s.on(Side::Source).slots[0].name = "somebody_elses".into(),
    ] {
        let scene = Scene::replicating().bend(noted).bend(bend);
        assert_eq!((scene.step(), scene.stalled()), (None, Some(Reason::SlotLost)));
    }
}

#[test]
fn a_target_that_came_open_is_fenced_again_whatever_else_is_wrong() {
    let open = |s: &mut Scene| {
        s.on(Side::Target).writers = vec!["payments_app".into()];
        s.seen.memory.fenced_at = None;
    };
    assert_eq!(Scene::replicating().bend(open).step(), Some("FenceTarget"));
    let wrong = Scene::replicating().bend(open).bend(|s| s.on(Side::Source).wal_level = "replica".into());
    assert_eq!((wrong.step(), wrong.stalled()), (Some("FenceTarget"), Some(Reason::WalLevelNotLogical)));
    let suspended = Scene::replicating().bend(open).bend(|s| s.goal.suspended = true);
    assert_eq!(suspended.step(), Some("FenceTarget"));
    // What the fence can't stop is said, not fought over.
    let stubborn = Scene::replicating().bend(open).bend(|s| s.seen.memory.fenced_at = Some(s.seen.now));
    assert_eq!((stubborn.step(), stubborn.stalled()), (None, Some(Reason::UnlistedWriter)));
}

#[test]
fn what_is_in_the_way_does_not_stop_the_heartbeat() {
    let stalled = |s: &mut Scene| {
        s.on(Side::Source).tables[0].has_primary_key = false;
        s.seen.memory.lag = None;
    };
    let scene = Scene::replicating().bend(stalled);
    assert_eq!((scene.step(), scene.stalled()), (Some("Beat"), Some(Reason::TableWithoutKey)));
    let stopped = scene.bend(|s| s.task().status = TaskStatus::Stopped);
    assert_eq!(stopped.step(), None);
    assert_eq!(Scene::fresh().bend(stalled).step(), None);
}

#[test]
fn a_table_made_after_the_task_is_named() {
    let scene = Scene::replicating().bend(|s| {
        for side in Side::BOTH {
            let mut late = s.on(side).tables[0].clone();
            late.name = "late".into();
            s.on(side).tables.push(late);
        }
    });
    assert_eq!(scene.stalled(), Some(Reason::TableNotCarried));
}

#[test]
fn suspend_holds_progress_and_keeps_guards() {
    let fresh = Scene::fresh().bend(|s| s.goal.suspended = true);
    assert_eq!(fresh.step(), None);
    assert!(matches!(fresh.decide().state, State::Walking { reason: Reason::Suspended, .. }));
    let running = Scene::replicating().bend(|s| {
        s.goal.suspended = true;
        s.seen.memory.lag = None;
    });
    assert_eq!(running.step(), Some("Beat"));
}

#[test]
fn the_endpoint_follows_the_spec_without_stopping_the_task_for_a_password() {
    let rotated = |s: &mut Scene| {
        s.seen.material.source.as_mut().expect("known").replication_version = "s-1/8".into();
    };
    let moved = |s: &mut Scene| s.seen.address.source = Ok(("pg02.bank.example".into(), 5432));
    assert_eq!(Scene::replicating().bend(rotated).step(), None);
    assert_eq!(Scene::replicating().bend(moved).step(), Some("StopTask"));
    let stopped = |s: &mut Scene| s.task().status = TaskStatus::Stopped;
    for change in [rotated as Bend, moved] {
        assert_eq!(Scene::replicating().bend(stopped).bend(change).step(), Some("ModifyEndpoint"));
    }
    let other_ca = Scene::replicating().bend(stopped).bend(|s| {
        s.seen.material.source.as_mut().expect("known").ca_fingerprint = "deadbeef".into();
    });
    let mut scene = other_ca;
    assert_eq!(
        &scene.walk()[..],
        ["ImportCertificate", "ModifyEndpoint", "ResumeTask", "DeleteCertificate"],
        "the old authority goes last"
    );
}

#[test]
fn ready_needs_every_table_no_error_and_a_fresh_small_lag() {
    let cases: Vec<(&str, Bend)> = vec![
        ("a table is missing from the statistics", |s| {
            s.aws().tables.pop();
        }),
        ("a table is still loading", |s| s.aws().tables[0].state = TableState::FullLoad),
        ("a table is in error", |s| s.aws().tables[0].state = TableState::Error),
        ("a state nobody knows", |s| s.aws().tables[0].state = TableState::Other("Table odd".into())),
        ("rows differ", |s| s.aws().tables[0].validation = ValidationState::Mismatched),
        ("the load is not done", |s| s.task().full_load_finished = false),
        ("the task is stopped", |s| s.task().status = TaskStatus::Stopped),
        ("the lag is unknown", |s| s.seen.memory.lag = None),
        ("the lag is old", |s| {
            s.seen.memory.lag.as_mut().expect("measured").at -= SignedDuration::from_mins(5);
        }),
        ("the lag is large", |s| {
            s.seen.memory.lag.as_mut().expect("measured").age = SignedDuration::from_mins(2);
        }),
        ("the target is open", |s| s.on(Side::Target).writers.push("payments_app".into())),
        ("the source is gone", |s| {
            s.seen.database.source = Err(Fault::blocked(Reason::Unreachable, "no answer", "mend it"));
        }),
    ];
    for (what, bend) in cases {
        let decision = Scene::replicating().bend(bend).decide();
        assert!(!matches!(decision.state, State::Ready { .. }), "{what}: {decision:?}");
    }
}

#[test]
fn foreign_resources_of_our_names_are_left_alone() {
    let full = Scene::replicating();
    let bends: Vec<Bend> = vec![
        |s| s.aws().instance.as_mut().expect("there").owner = Owner::Other(None),
        |s| s.aws().subnet_group.as_mut().expect("there").owner = Owner::Other(None),
        |s| s.aws().certificates[0].owner = Owner::Other(None),
        |s| s.aws().endpoints.source.as_mut().expect("there").owner = Owner::Other(None),
        |s| s.task().owner = Owner::Other(None),
        |s| s.aws().alarms[0].owner = Owner::Other(None),
    ];
    for bend in bends {
        let scene = full.clone().bend(bend);
        assert_eq!((scene.step(), scene.stalled()), (None, Some(Reason::NotOurs)));
    }
}

#[test]
fn a_goal_is_claimed_only_with_finalizer_and_record() {
    let mut object = Scene::fresh().object;
    assert!(!Goal::parse(&object).expect("good").claimed);
    object.metadata.finalizers = Some(vec![FINALIZER.to_owned()]);
    assert!(!Goal::parse(&object).expect("good").claimed);
    object.status = Some(DatabaseMigrationStatus {
        provisioned_at: Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(now())),
        ..DatabaseMigrationStatus::default()
    });
    assert!(Goal::parse(&object).expect("good").claimed);
}

#[test]
fn an_older_object_that_breaks_a_rule_is_refused_with_the_fields_name() {
    type BendObject = fn(&mut DatabaseMigration);
    let bad: [(&str, BendObject); 5] = [
        ("metadata.name", |o| o.metadata.name = Some("Payments--db".into())),
        ("spec.environmentSuffix", |o| o.spec.environment_suffix = "-dev".into()),
        ("spec.target", |o| o.spec.target.rds_instance_identifier = None),
        ("spec.replication.instance", |o| o.spec.replication.instance.managed = None),
        ("spec.alarms.lagThreshold", |o| {
            o.spec.alarms.as_mut().expect("there").lag_threshold = "0s".into();
        }),
    ];
    for (field, bend) in bad {
        let mut object = Scene::fresh().object;
        bend(&mut object);
        let blocked = Goal::parse(&object).expect_err(field);
        assert_eq!(blocked.reason, Reason::InvalidSpec);
        assert!(blocked.message.starts_with(field), "{}", blocked.message);
    }
}

/// Past a laxer CRD a spec may be spoilt while nobody can write: the move goes on by what it began with, and ends.
#[test]
fn a_spec_that_is_spoilt_in_the_midst_of_a_move_does_not_strand_it() {
    let mut object = Scene::fresh().object;
    let with = |object: &mut DatabaseMigration, intent: Intent| {
        object.status.get_or_insert_default().decided = Some(Decided {
            epoch: 4,
            intent: intent.as_str().to_owned(),
            attempt: 1,
            at: k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(now()),
        });
    };
    with(&mut object, Intent::Steady);
    let steady = Goal::parse(&object).expect("good");
    with(&mut object, Intent::Move);
    let moving = Goal::parse(&object).expect("good");
    object.spec.source.endpoint.host = "169.254.169.254".into();
    assert!(Goal::parse(&object).is_err());
    assert_eq!(steady.in_the_midst(&object), None);
    assert_eq!(moving.in_the_midst(&object), Some(moving.clone()));
    // What was recorded meanwhile counts: else it would be decided again and again.
    with(&mut object, Intent::Return);
    let back = moving.in_the_midst(&object).expect("moving");
    assert_eq!(back.decided.map(|decided| decided.intent), Some(Intent::Return));
    object.metadata.uid = Some("another".into());
    assert_eq!(moving.in_the_midst(&object), None);
}

#[test]
fn certificates_are_told_by_their_whole_name() {
    let names = Scene::fresh().goal.names;
    let ours = names.certificate(Side::Source, "0badcafe");
    assert_eq!(ours, "dms-certificate-source-0badcafe-payments-db-dev");
    assert!(names.is_certificate(&ours));
    for other in [
        "dms-certificate-source-0badcafe-other-payments-db-dev",
        "dms-certificate-source-0badcafe-payments-db-prod",
        "certificate-payments-db-dev",
    ] {
        assert!(!names.is_certificate(other), "{other}");
    }
}

/// The next migration of the same database takes the fenced target over.
#[test]
fn a_released_target_is_taken_over_and_anothers_is_not() {
    let held_by = |uid: &'static str| {
        Scene::fresh().bend(move |s| {
            s.on(Side::Target).writers.clear();
            s.on(Side::Target).record = Record::Present {
                migration: "default/payments-db".into(),
                uid: uid.into(),
                token: Token::fresh(Holder::Fenced),
                system_identifier: 2,
                slots: vec![],
            };
        })
    };
    assert_eq!(held_by("").walk()[..2], ["Claim", "FenceTarget"]);
    assert_eq!(held_by("u-0").stalled(), Some(Reason::OtherMigration));
}

fn decided(epoch: i64, intent: Intent) -> crate::database::goal::Decided {
    crate::database::goal::Decided { epoch, intent, attempt: 1 }
}

/// The status was lost in the move: Finish is not ordered before the source was seen, and takes along what is left there.
#[test]
fn finish_takes_the_forward_slot_along_if_a_lost_status_hid_it() {
    let mut scene = Scene::replicating();
    scene.goal.reach = crate::api::database::Goal::Finish;
    scene.goal.cutover.min_soak = jiff::SignedDuration::ZERO;
    scene.aws().task = None;
    for side in Side::BOTH {
        let server = scene.on(side);
        server.writers = if side == Side::Target { vec!["payments_app".into()] } else { Vec::new() };
        if let Record::Present { token, .. } = &mut server.record {
            token.holder = Holder::Side(Side::Target);
        }
    }
    let server = scene.on(Side::Source);
    server.slots = vec![slot("dms_forward_slot", false)];
    if let Record::Present { slots, .. } = &mut server.record {
        *slots = vec!["dms_forward_slot".to_owned()];
    }
    scene.goal.decided = Some(decided(3, Intent::Steady));
    let source = std::mem::replace(&mut scene.seen.database.source, Err(Fault::Again("no answer".into())));
    assert_eq!(scene.step(), None, "{:?}", scene.decide());
    scene.goal.decided = Some(decided(4, Intent::Finish));
    scene.seen.database.source = source;
    scene.seen.aws = Ok(crate::database::seen::AwsSeen::default());
    assert_eq!(scene.step(), Some("DropSlot"), "{:?}", scene.decide());
}
