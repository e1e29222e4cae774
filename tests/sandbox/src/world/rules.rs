//! One test for each rule of the state machines, each naming its source.

#![allow(clippy::panic, clippy::similar_names, clippy::doc_markdown, reason = "tests")]

use jiff::{SignedDuration, Timestamp};

use super::dms::{self, Call as D, Describe, Reply as R};
use super::{Call, Config, Delays, Meddling, Refusal, Reply, StopKind, Switches, World, cloudwatch};
use crate::plane::{Changes, Effect, Load, Report, Start, Stopped, TableName, TableReport, Validation};

const MAPPINGS: &str = r#"{"rules":[{"rule-type":"selection","rule-id":"1","rule-name":"1","rule-action":"include",
    "object-locator":{"schema-name":"bank","table-name":"%"}}]}"#;
const SETTINGS: &str = r#"{"FullLoadSettings":{"TargetTablePrepMode":"DO_NOTHING"}}"#;

/// A world, its clock, and what the data plane would have been asked.
struct Stage {
    world: World,
    now: Timestamp,
    asked: Vec<Effect>,
    /// Instance, source, target, task.
    arns: [String; 4],
}

impl Stage {
    fn new(switches: Switches) -> Self {
        let now = Timestamp::from_second(1_800_000_000).expect("a time");
        let config = Config { delays: Delays::aws(), switches, ..Config::default() };
        Self { world: World::new(config, now), now, asked: Vec::new(), arns: Default::default() }
    }

    /// A task that is `ready`, with both connections tested.
    fn ready(switches: Switches) -> Self {
        let mut stage = Self::new(switches);
        stage.arns[0] = stage.create_instance();
        stage.wait(20);
        stage.arns[1] = stage.create_endpoint("endpoint-source", "source");
        stage.arns[2] = stage.create_endpoint("endpoint-target", "target");
        stage.wait(3);
        stage.test(1, Ok(()));
        stage.test(2, Ok(()));
        stage.arns[3] = stage.create_task();
        stage.wait(5);
        stage
    }

    fn running(switches: Switches) -> Self {
        let mut stage = Self::ready(switches);
        stage.start("start-replication").expect("legal");
        stage.now_running();
        stage
    }

    fn say(&mut self, call: D) -> Result<R, Refusal> {
        match self.world.call(Call::Dms(call), self.now)? {
            Reply::Dms(reply) => Ok(reply),
            other => panic!("not of DMS: {other:?}"),
        }
    }

    fn wait(&mut self, seconds: i64) {
        self.now += SignedDuration::from_secs(seconds);
        self.asked.extend(self.world.advance(self.now));
    }

    fn create_instance(&mut self) -> String {
        let call = dms::CreateReplicationInstance {
            replication_instance_identifier: "Replication-Instance".into(),
            replication_instance_class: "dms.t3.medium".into(),
            ..Default::default()
        };
        match self.say(D::CreateReplicationInstance(Box::new(call))) {
            Ok(R::Instance(instance)) => instance.replication_instance_arn,
            other => panic!("{other:?}"),
        }
    }

    fn create_endpoint(&mut self, name: &str, kind: &str) -> String {
        let call = dms::CreateEndpoint {
            endpoint_identifier: name.into(),
            endpoint_type: kind.into(),
            engine_name: "postgres".into(),
            username: Some("dms".into()),
            password: Some("secret".into()),
            server_name: Some("localhost".into()),
            port: Some(5432),
            database_name: Some("bank".into()),
            ..Default::default()
        };
        match self.say(D::CreateEndpoint(Box::new(call))) {
            Ok(R::Endpoint(endpoint)) => endpoint.endpoint_arn,
            other => panic!("{other:?}"),
        }
    }

    fn create_task(&mut self) -> String {
        let call = dms::CreateReplicationTask {
            replication_task_identifier: "task".into(),
            replication_instance_arn: self.arns[0].clone(),
            source_endpoint_arn: self.arns[1].clone(),
            target_endpoint_arn: self.arns[2].clone(),
            migration_type: "full-load-and-cdc".into(),
            table_mappings: MAPPINGS.into(),
            replication_task_settings: Some(SETTINGS.into()),
            ..Default::default()
        };
        match self.say(D::CreateReplicationTask(Box::new(call))) {
            Ok(R::Task(task)) => task.replication_task_arn,
            other => panic!("{other:?}"),
        }
    }

    fn ask_test(&mut self, endpoint: usize) -> Result<R, Refusal> {
        let (replication_instance_arn, endpoint_arn) = (self.arns[0].clone(), self.arns[endpoint].clone());
        self.say(D::TestConnection(dms::TestConnection { replication_instance_arn, endpoint_arn }))
    }

    fn test(&mut self, endpoint: usize, result: Result<(), String>) {
        self.ask_test(endpoint).expect("may be tested");
        self.report_test(endpoint, result);
        self.wait(3);
    }

    fn report_test(&mut self, endpoint: usize, result: Result<(), String>) {
        let (instance_arn, endpoint_arn) = (self.arns[0].clone(), self.arns[endpoint].clone());
        self.world.tell(Report::ConnectionTested { instance_arn, endpoint_arn, result }, self.now);
    }

    fn connection(&mut self, endpoint: usize) -> String {
        match self.say(D::DescribeConnections(Describe::one("endpoint-arn", &self.arns[endpoint].clone()))) {
            Ok(R::Connections(page)) => page.items[0].status.clone(),
            other => panic!("{other:?}"),
        }
    }

    fn by_arn(&self) -> dms::TaskByArn {
        dms::TaskByArn { replication_task_arn: self.arns[3].clone() }
    }

    fn start(&mut self, how: &str) -> Result<R, Refusal> {
        let (replication_task_arn, start_replication_task_type) = (self.arns[3].clone(), how.to_owned());
        self.say(D::StartReplicationTask(dms::StartReplicationTask {
            replication_task_arn,
            start_replication_task_type,
        }))
    }

    fn stop(&mut self) -> Result<R, Refusal> {
        let call = self.by_arn();
        self.say(D::StopReplicationTask(call))
    }

    fn delete(&mut self) -> Result<R, Refusal> {
        let call = self.by_arn();
        self.say(D::DeleteReplicationTask(call))
    }

    fn now_running(&mut self) {
        self.wait(5);
        let (task_arn, slot) = (self.arns[3].clone(), "slot_1".to_owned());
        self.world.tell(Report::TaskRunning { task_arn, slot }, self.now);
    }

    fn ended(&mut self, reason: Stopped) {
        let (task_arn, applied_lsn) = (self.arns[3].clone(), Some("4AF/B00000D0".to_owned()));
        self.world.tell(Report::TaskStopped { task_arn, reason, applied_lsn }, self.now);
    }

    fn task(&mut self) -> Result<dms::TaskView, Refusal> {
        let Describe { filters, max_records, marker } =
            Describe::one("replication-task-arn", &self.arns[3].clone());
        let call = dms::DescribeReplicationTasks { filters, max_records, marker, without_settings: None };
        match self.say(D::DescribeReplicationTasks(call))? {
            R::Tasks(page) => Ok(page.items[0].clone()),
            other => panic!("{other:?}"),
        }
    }

    fn status(&mut self) -> String {
        self.task().expect("there").status
    }

    /// Brings the task into a state.
    fn in_state(state: &str) -> Self {
        match state {
            "ready" => Self::ready(Switches::default()),
            "starting" => {
                let mut stage = Self::ready(Switches::default());
                stage.start("start-replication").expect("legal");
                stage
            }
            "running" => Self::running(Switches::default()),
            "stopping" => {
                let mut stage = Self::running(Switches::default());
                stage.stop().expect("legal");
                stage
            }
            "stopped" => {
                let mut stage = Self::in_state("stopping");
                stage.ended(Stopped::Normal);
                stage.wait(5);
                stage
            }
            "failed" => {
                let mut stage = Self::running(Switches::default());
                stage.ended(Stopped::Fatal("a row".to_owned()));
                stage
            }
            "deleting" => {
                let mut stage = Self::ready(Switches::default());
                stage.delete().expect("legal");
                stage
            }
            other => panic!("no state {other}"),
        }
    }
}

/// Source: DMS API model, ReplicationTask.Status and StartReplicationTask; Terraform provider issue 24047.
#[test]
fn every_call_in_every_state_of_a_task() {
    const LEGAL: [(&str, &[&str]); 7] = [
        ("ready", &["start-replication", "delete"]),
        ("starting", &[]),
        ("running", &["stop"]),
        ("stopping", &[]),
        ("stopped", &["resume-processing", "reload-target", "delete"]),
        ("failed", &["resume-processing", "reload-target", "delete"]),
        ("deleting", &[]),
    ];
    for (state, legal) in LEGAL {
        for call in ["start-replication", "resume-processing", "reload-target", "stop", "delete"] {
            let mut stage = Stage::in_state(state);
            assert_eq!(stage.status(), state);
            let result = match call {
                "stop" => stage.stop(),
                "delete" => stage.delete(),
                how => stage.start(how),
            };
            match result {
                Ok(_) => assert!(legal.contains(&call), "{call} in {state} was taken"),
                Err(refusal) => {
                    assert!(!legal.contains(&call), "{call} in {state}: {refusal}");
                    let ran = ["stopped", "failed"].contains(&state);
                    let again = ran && call == "start-replication";
                    let code = if again {
                        "InvalidParameterCombinationException"
                    } else {
                        "InvalidResourceStateFault"
                    };
                    assert_eq!(refusal.code, code, "{call} in {state}");
                }
            }
        }
    }
}

/// Source: DMS API model, the waiters ReplicationInstanceAvailable and ReplicationInstanceDeleted; durations: `Delays`.
#[test]
fn an_instance_takes_its_time_and_is_public_unless_told_otherwise() {
    let mut stage = Stage::new(Switches::default());
    let arn = stage.create_instance();
    assert_eq!(
        stage.world.next_change().map(|next| next <= stage.now + SignedDuration::from_secs(20)),
        Some(true)
    );
    let mut seen = || match stage.say(D::DescribeReplicationInstances(Describe::one(
        "replication-instance-id",
        "replication-instance",
    ))) {
        Ok(R::Instances(page)) => page.items[0].clone(),
        other => panic!("{other:?}"),
    };
    let first = seen();
    assert_eq!(first.replication_instance_status, "creating");
    assert!(first.publicly_accessible && first.auto_minor_version_upgrade);
    assert_eq!(first.replication_instance_identifier, "replication-instance", "stored in lower case");
    stage.wait(19);
    let call = dms::DeleteReplicationInstance { replication_instance_arn: arn };
    let early = stage.say(D::DeleteReplicationInstance(call.clone())).expect_err("creating");
    assert_eq!(early.code, "InvalidResourceStateFault");
    stage.wait(1);
    stage.say(D::DeleteReplicationInstance(call)).expect("available");
    stage.wait(15);
    let describe = Describe::one("replication-instance-id", "replication-instance");
    let gone = stage.say(D::DescribeReplicationInstances(describe)).expect_err("gone");
    assert_eq!(gone.code, "ResourceNotFoundFault");
}

/// Source: DMS API model, the waiter TestConnectionSucceeds; the refusal while testing is unverified, hence a switch.
#[test]
fn a_connection_test_waits_for_time_and_truth() {
    for test_while_testing in [false, true] {
        let mut stage = Stage::ready(Switches { test_while_testing, ..Switches::default() });
        stage.ask_test(1).expect("may be tested again");
        assert_eq!(stage.ask_test(1).is_ok(), test_while_testing);
        stage.wait(60);
        assert_eq!(stage.connection(1), "testing", "the data plane has said nothing yet");
        stage.report_test(1, Err("no route".to_owned()));
        assert_eq!(stage.connection(1), "failed");
    }
}

/// Source: cockroach issue 82182 (both connections must have succeeded), issue 101699 (and even then: switch).
#[test]
fn a_start_needs_two_successful_connections() {
    let mut stage = Stage::ready(Switches::default());
    stage.test(2, Err("no route".to_owned()));
    assert_eq!(stage.start("start-replication").expect_err("one failed").code, "InvalidResourceStateFault");
    stage.test(2, Ok(()));
    stage.start("start-replication").expect("both succeeded");

    let switches = Switches { start_refused_once_after_test: true, ..Switches::default() };
    let mut stage = Stage::ready(switches);
    assert_eq!(stage.start("start-replication").expect_err("once").code, "InvalidResourceStateFault");
    stage.start("start-replication").expect("the second time");
}

/// Source: Terraform provider issue 46139: a change starts a test; the report of the test before it counts no more.
#[test]
fn a_changed_endpoint_is_tested_and_only_the_last_test_counts() {
    let mut stage = Stage::ready(Switches::default());
    stage.ask_test(1).expect("may be tested");
    let endpoint_arn = stage.arns[1].clone();
    let call = dms::ModifyEndpoint { endpoint_arn, password: Some("new".into()), ..Default::default() };
    stage.say(D::ModifyEndpoint(Box::new(call))).expect("no task runs");
    stage.report_test(1, Ok(()));
    stage.wait(60);
    assert_eq!(stage.connection(1), "testing");
    stage.report_test(1, Ok(()));
    assert_eq!(stage.connection(1), "successful");
    let passwords: Vec<&str> = stage
        .asked
        .iter()
        .filter_map(|effect| match effect {
            Effect::TestConnection { database, .. } => Some(database.password.as_str()),
            Effect::StartTask { .. } | Effect::StopTask { .. } => None,
        })
        .collect();
    assert_eq!(passwords.last(), Some(&"new"));
}

/// Source: DMS user guide, CHAP_Source.PostgreSQL: a resume needs the slot of the first start, a reload makes another.
#[test]
fn a_resume_gets_the_slot_of_the_first_start() {
    for (how, expected) in
        [("resume-processing", Start::Resume { slot: "slot_1".to_owned() }), ("reload-target", Start::Reload)]
    {
        let mut stage = Stage::in_state("stopped");
        stage.start(how).expect("legal");
        assert_eq!(stage.status(), "starting");
        stage.now_running();
        assert_eq!(stage.status(), "running");
        let last = stage.asked.iter().rev().find_map(|effect| match effect {
            Effect::StartTask { start, .. } => Some(start.clone()),
            Effect::TestConnection { .. } | Effect::StopTask { .. } => None,
        });
        assert_eq!(last, Some(expected));
    }
}

/// Source: DMS API model, ReplicationTask.StopReason and RecoveryCheckpoint.
/// Nobody could verify what a task does whose rights vanish: the switch goes with it.
#[test]
fn a_task_is_started_with_what_it_does_when_its_rights_vanish() {
    for waits in [false, true] {
        let mut stage = Stage::running(Switches { task_waits_for_rights: waits, ..Switches::default() });
        stage.wait(0);
        let told = stage.asked.iter().find_map(|effect| match effect {
            Effect::StartTask { task, .. } => Some(task.waits_for_rights),
            _ => None,
        });
        assert_eq!(told, Some(waits));
    }
}

#[test]
fn an_ended_task_says_why_and_where() {
    let mut stage = Stage::in_state("stopping");
    stage.ended(Stopped::Normal);
    assert_eq!(stage.status(), "stopping", "its time is not up");
    stage.wait(5);
    let task = stage.task().expect("there");
    assert_eq!((task.status.as_str(), task.stop_reason.as_deref()), ("stopped", Some("Stop Reason NORMAL")));
    assert_eq!(task.recovery_checkpoint.as_deref(), Some("checkpoint:V1#1#000004AF/B00000D0#0#0#*#0#0"));
    for failed_shows_stopped in [false, true] {
        let mut stage = Stage::running(Switches { failed_shows_stopped, ..Switches::default() });
        stage.ended(Stopped::Recoverable("lost".to_owned()));
        let task = stage.task().expect("there");
        assert_eq!(task.status, if failed_shows_stopped { "stopped" } else { "failed" });
        assert_eq!(task.stop_reason.as_deref(), Some("Stop Reason RECOVERABLE_ERROR"));
        assert_eq!(task.last_failure_message.as_deref(), Some("lost"));
    }
}

/// A fault stops the data plane first, and the task fails when that has ended.
#[test]
fn a_task_made_to_fail_is_stopped_before_it_is_said_to_have_failed() {
    let mut stage = Stage::running(Switches::default());
    let fail =
        Meddling::FailTask { task: "task".into(), reason: StopKind::Fatal, message: Some("why".into()) };
    stage.world.meddle(fail, stage.now).expect("it runs");
    stage.wait(0);
    assert!(matches!(stage.asked.last(), Some(Effect::StopTask { .. })));
    assert_eq!(stage.status(), "running");
    stage.ended(Stopped::Normal);
    assert_eq!(stage.task().expect("there").stop_reason.as_deref(), Some("Stop Reason FATAL_ERROR"));
}

/// Source: DMS API model, the waiter ReplicationTaskDeleted; the empty list is what others have seen: switch.
#[test]
fn a_deleted_task_is_gone_for_good() {
    for empty_list_for_nothing in [false, true] {
        let mut stage = Stage::ready(Switches { empty_list_for_nothing, ..Switches::default() });
        stage.delete().expect("ready");
        assert_eq!(stage.status(), "deleting");
        stage.wait(4);
        let arn = stage.arns[3].clone();
        let Describe { filters, max_records, marker } = Describe::one("replication-task-arn", &arn);
        let call = dms::DescribeReplicationTasks { filters, max_records, marker, without_settings: None };
        match stage.say(D::DescribeReplicationTasks(call)) {
            Ok(R::Tasks(page)) => assert!(empty_list_for_nothing && page.items.is_empty()),
            Err(refusal) => assert!(!empty_list_for_nothing && refusal.code == "ResourceNotFoundFault"),
            other => panic!("{other:?}"),
        }
        assert_ne!(stage.create_task(), arn, "a new one has a new ARN");
    }
}

/// Source: DMS user guide, CHAP_Monitoring; PR 492 of yet-another-cloudwatch-exporter for the task dimension.
#[test]
fn metrics_are_published_each_minute_by_running_tasks_only() {
    for stopped_tasks_publish in [false, true] {
        let mut stage = Stage::running(Switches { stopped_tasks_publish, ..Switches::default() });
        let task_arn = stage.arns[3].clone();
        let tables = vec![TableReport {
            table: TableName { schema: "bank".into(), name: "accounts".into() },
            load: Load::Completed,
            full_load_rows: 1,
            load_started: None,
            load_ended: None,
            captured: Changes::default(),
            applied: Changes::default(),
            validation: Validation::NotEnabled,
            validation_failed: 0,
        }];
        let progress = Report::TaskProgress {
            task_arn: task_arn.clone(),
            tables,
            full_load_done: true,
            latency_source_seconds: 1.0,
            latency_target_seconds: 7.0,
            waiting_changes: 0,
            applied_lsn: None,
        };
        stage.world.tell(progress, stage.now);
        stage.wait(300);
        let count = |stage: &mut Stage| {
            let tail = task_arn.rsplit(':').next().unwrap_or_default();
            let dimensions = [
                ("ReplicationInstanceIdentifier", "replication-instance"),
                ("ReplicationTaskIdentifier", tail),
            ];
            let query = cloudwatch::MetricQuery {
                id: "q".into(),
                label: None,
                series: cloudwatch::Series {
                    namespace: "AWS/DMS".into(),
                    name: "CDCLatencyTarget".into(),
                    dimensions: dimensions.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
                },
                period_seconds: 60,
                statistic: cloudwatch::Statistic::Maximum,
                unit: None,
            };
            let (start, end) = (stage.now - SignedDuration::from_hours(1), stage.now);
            let call = cloudwatch::GetMetricData { queries: vec![query], start, end, ascending: true };
            match stage.world.call(Call::CloudWatch(cloudwatch::Call::GetMetricData(call)), stage.now) {
                Ok(Reply::CloudWatch(cloudwatch::Reply::MetricData(results))) => results[0].points.len(),
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(count(&mut stage), 4, "one a minute, the last not readable yet");
        stage.stop().expect("running");
        stage.ended(Stopped::Normal);
        stage.wait(600);
        let later = count(&mut stage);
        assert_eq!(later > 6, stopped_tasks_publish, "{later}");
    }
}

/// Worlds that hear the same words at the same times are the same.
#[test]
fn the_same_words_make_the_same_world() {
    let one = Stage::in_state("stopped");
    let other = Stage::in_state("stopped");
    assert_eq!(format!("{:?}", one.world), format!("{:?}", other.world));
    assert_eq!(one.asked, other.asked);
}
