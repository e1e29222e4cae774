//! All small worlds, and every point of a walk: the rules that hold in all of them.

use crate::aws::dms::{ConnectionStatus, InstanceStatus, StartType, TaskStatus};
use crate::database::decide::scene::Scene;
use crate::database::decide::{State, Step};
use crate::database::seen::{AwsSeen, MemorySeen};
use crate::postgres::Record;
use crate::side::Side;

/// Every combination of what can be at work: the rules that hold in all of them.
#[test]
fn over_all_small_worlds_no_step_breaks_a_rule() {
    let tasks = [
        TaskStatus::Creating,
        TaskStatus::Ready,
        TaskStatus::Starting,
        TaskStatus::Running,
        TaskStatus::Stopping,
        TaskStatus::Stopped,
        TaskStatus::Failed,
        TaskStatus::Modifying,
        TaskStatus::Testing,
        TaskStatus::Deleting,
        TaskStatus::Other("moving".into()),
    ];
    let instances = [
        InstanceStatus::Available,
        InstanceStatus::Creating,
        InstanceStatus::Modifying,
        InstanceStatus::Deleting,
        InstanceStatus::Failed,
        InstanceStatus::Other("storage-full".into()),
    ];
    let connections = [
        ConnectionStatus::Testing,
        ConnectionStatus::Successful,
        ConnectionStatus::Failed,
        ConnectionStatus::Deleting,
        ConnectionStatus::Other("odd".into()),
    ];
    let full = Scene::replicating();
    let mut worlds = 0;
    for bits in 0_u32..1 << 7 {
        let bit = |n: u32| bits & (1 << n) != 0;
        for task in &tasks {
            for instance in &instances {
                for connection in &connections {
                    let mut scene = full.clone();
                    scene.aws().instance.as_mut().expect("there").status = instance.clone();
                    for side in Side::BOTH {
                        scene.aws().connections.get_mut(side).as_mut().expect("there").status =
                            connection.clone();
                    }
                    scene.task().status = task.clone();
                    if bit(0) {
                        scene.task().started_at = None;
                        scene.task().full_load_finished = false;
                    }
                    if bit(1) {
                        scene.aws().task = None;
                    }
                    if bit(2) {
                        scene.on(Side::Target).tables[0].empty = Some(false);
                    }
                    if bit(3) {
                        scene.goal.suspended = true;
                    }
                    if bit(4) {
                        scene.on(Side::Target).writers = vec!["payments_app".into()];
                        scene.seen.memory.fenced_at = None;
                    }
                    if bit(5) {
                        scene.goal.deletion = Some(crate::api::database::DeletionPolicy::Delete);
                    }
                    if bit(6) {
                        scene.goal.reach = crate::api::database::Goal::Plan;
                    }
                    rules(&scene);
                    worlds += 1;
                }
            }
        }
    }
    assert_eq!(worlds, 128 * 11 * 6 * 5);
}

fn rules(scene: &Scene) {
    let decision = scene.decide();
    assert_eq!(decision, scene.decide(), "deciding twice is the same");
    assert!(!decision.next.is_empty() && decision.next.len() <= 256, "{decision:?}");
    let Some(step) = &decision.step else { return };
    let deleting = scene.goal.deletion.is_some();
    assert!(
        deleting || scene.goal.reach != crate::api::database::Goal::Plan,
        "goal Plan changes nothing: {decision:?}"
    );
    if scene.goal.suspended && !deleting {
        assert!(step.is_guard(), "suspended: {decision:?}");
    }
    let aws = scene.seen.aws.as_ref().expect("seen");
    let task = aws.task.as_ref();
    match step {
        Step::StartTask(StartType::First) => {
            let task = task.expect("a task");
            assert_eq!(task.started_at, None, "start-replication only once: {decision:?}");
            let empty = scene
                .seen
                .database
                .target
                .as_ref()
                .expect("seen")
                .tables
                .iter()
                .all(|t| t.empty == Some(true));
            assert!(empty, "never into rows: {decision:?}");
        }
        Step::StartTask(StartType::Resume) => {
            assert!(task.is_some_and(|t| t.started_at.is_some()), "{decision:?}");
        }
        Step::StopTask => assert_eq!(task.map(|t| &t.status), Some(&TaskStatus::Running), "{decision:?}"),
        Step::CreateTask => assert_eq!(task, None, "{decision:?}"),
        Step::DeleteTask
        | Step::DeleteInstance
        | Step::DeleteSubnetGroup
        | Step::DeleteEndpoint(_)
        | Step::DropSlot(_)
        | Step::DropSourceRecord
        | Step::ReleaseTarget
        | Step::Release => assert!(deleting, "only a deletion removes: {decision:?}"),
        _ => {}
    }
    if deleting {
        let removes = matches!(
            step,
            Step::NoteSlot(_)
                | Step::StopTask
                | Step::DeleteTask
                | Step::DeleteAlarms(_)
                | Step::DeleteEndpoint(_)
                | Step::DeleteCertificate { .. }
                | Step::DeleteInstance
                | Step::DeleteSubnetGroup
                | Step::DropSlot(_)
                | Step::DropSourceRecord
                | Step::ReleaseTarget
                | Step::Release
        );
        assert!(removes, "a deletion makes nothing: {decision:?}");
    }
    // An open target is closed before anything else goes forward.
    let open = !scene.seen.database.target.as_ref().expect("seen").writers.is_empty();
    if open && !deleting {
        assert_eq!(*step, Step::FenceTarget, "{decision:?}");
    }
}

/// A crash falls between two steps; what is lost is only what the process remembered.
#[test]
fn after_a_restart_at_any_step_the_end_is_the_same() {
    let mut clean = Scene::fresh();
    let length = clean.walk().len();
    for crash_at in 0..=length {
        let mut scene = Scene::fresh();
        for _ in 0..crash_at {
            let step = scene.decide().step.expect("a step of the clean run");
            scene.apply(&step);
        }
        scene.seen.memory = MemorySeen::default();
        scene.walk();
        assert_eq!(scene.seen.aws, clean.seen.aws, "crash at {crash_at}");
        assert_eq!(scene.seen.database, clean.seen.database, "crash at {crash_at}");
        assert!(matches!(scene.decide().state, State::Ready { .. }), "crash at {crash_at}");
    }
}

#[test]
fn a_deletion_from_any_step_leaves_nothing_but_the_fence() {
    let length = Scene::fresh().walk().len();
    for stop_at in 0..=length {
        let mut scene = Scene::fresh();
        for _ in 0..stop_at {
            let step = scene.decide().step.expect("a step of the clean run");
            scene.apply(&step);
        }
        scene.seen.memory = MemorySeen::default();
        scene.goal.deletion = Some(crate::api::database::DeletionPolicy::Delete);
        let actions = scene.walk();
        assert_eq!(actions.last(), Some(&"Release"), "from {stop_at}: {actions:?}");
        assert_eq!(scene.seen.aws, Ok(AwsSeen::default()), "from {stop_at}");
        let source = scene.seen.database.source.expect("seen");
        assert_eq!(source.record, Record::Absent, "from {stop_at}");
    }
}
