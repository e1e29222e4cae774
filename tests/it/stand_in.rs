//! The AWS stand-in, called by the real Rust SDK clients over its real listener.
//!
//! The data plane is a fake that answers at once: what is proven here is the wire and the rules, not the moving of rows.

#![allow(
    clippy::large_futures,
    clippy::panic,
    reason = "tests; and the SDK's futures are as large as they are"
)]

mod alarms;
mod balancing;
mod cname;
mod faults;
mod moto;
mod names;
mod provisioning;
mod refusals;
mod route53;
mod secrets;
mod watching;

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use aws_config::retry::RetryConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_databasemigration as dms;
use aws_sdk_databasemigration::config::Credentials;
use jiff::Timestamp;
use sandbox::certificates::Authority;
use sandbox::plane::{Changes, Effect, Load, Report, Stopped, TableName, TableReport, Validation};
use sandbox::serve::Server;
use sandbox::world::{Config, World, rds};
use tokio::sync::mpsc;

const SUBNETS: [&str; 2] = ["subnet-0a5a1d0000000000a", "subnet-0b5a1d0000000000b"];

const MAPPINGS: &str = r#"{"rules":[{"rule-type":"selection","rule-id":"1","rule-name":"1","rule-action":"include",
    "object-locator":{"schema-name":"bank","table-name":"%"},"filters":[]}]}"#;

const SETTINGS: &str = r#"{"TargetMetadata":{"TaskRecoveryTableEnabled":true},
    "FullLoadSettings":{"TargetTablePrepMode":"DO_NOTHING"},"Logging":{"EnableLogging":true},
    "ControlTablesSettings":{"ControlSchema":"awsdms_control","HistoryTimeslotInMinutes":7}}"#;

/// A stand-in, its fake data plane, and a client.
struct Bench {
    server: Server,
    dms: dms::Client,
    config: SdkConfig,
}

impl Bench {
    async fn start() -> Self {
        let database = rds::Instance {
            identifier: "bank".into(),
            arn: "arn:aws:rds:eu-central-1:111122223333:db:bank".into(),
            address: "bank.local".into(),
            port: 5433,
            database: "bank".into(),
            master_username: "root<&>".into(),
            engine_version: "15.8".into(),
            status: "available".into(),
            parameter_group: "bank-15".into(),
            parameter_apply_status: "in-sync".into(),
            storage_encrypted: true,
            publicly_accessible: false,
            ca_certificate_identifier: "rds-ca-rsa2048-g1".into(),
        };
        let config = Config { databases: vec![database], ..Config::default() };
        let world = World::new(config, Timestamp::now());
        let (effects, wanted) = mpsc::unbounded_channel();
        let (reports, heard) = mpsc::channel(64);
        tokio::spawn(obey(wanted, reports));
        let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let server = Server::start(listen, world, effects, heard).await.expect("a free port");
        let config = sdk_config(&server.url(), "AKIASANDBOX").await;
        Self { dms: dms::Client::new(&config), config, server }
    }

    /// Subnet group, instance, certificate, both endpoints, both connections, task; all of them ready.
    async fn provision(&self) -> Provisioned {
        let instance = self.instance("replication-instance-prod").await;
        let certificate = self.certificate().await;
        let source = self.endpoint("endpoint-source-prod", "source", &certificate).await;
        let target = self.endpoint("endpoint-target-prod", "target", &certificate).await;
        for endpoint in [&source, &target] {
            self.test(&instance, endpoint).await;
            self.connection_becomes(&instance, endpoint, "successful").await;
        }
        let task = self
            .create_task("task-prod", &instance, &source, &target)
            .send()
            .await
            .expect("a task")
            .replication_task
            .and_then(|task| task.replication_task_arn)
            .expect("an ARN");
        self.task_becomes(&task, "ready").await;
        Provisioned { instance, certificate, source, target, task }
    }

    async fn instance(&self, name: &str) -> String {
        self.dms
            .create_replication_subnet_group()
            .replication_subnet_group_identifier("Subnet-Group-Prod")
            .replication_subnet_group_description("two zones")
            .set_subnet_ids(Some(SUBNETS.map(str::to_owned).to_vec()))
            .send()
            .await
            .expect("a subnet group");
        let instance = self
            .dms
            .create_replication_instance()
            .replication_instance_identifier(name)
            .replication_instance_class("dms.t3.medium")
            .replication_subnet_group_identifier("subnet-group-prod")
            .publicly_accessible(false)
            .tags(dms::types::Tag::builder().key("owner").value("slipway").build())
            .send()
            .await
            .expect("an instance")
            .replication_instance
            .expect("shown");
        assert_eq!(instance.replication_instance_status(), Some("creating"));
        let arn = instance.replication_instance_arn.expect("an ARN");
        eventually("the instance is available", async || {
            let seen = self
                .dms
                .describe_replication_instances()
                .filters(filter("replication-instance-arn", &arn))
                .send()
                .await;
            seen.expect("described").replication_instances()[0].replication_instance_status()
                == Some("available")
        })
        .await;
        arn
    }

    async fn certificate(&self) -> String {
        let authority = Authority::new("databases").expect("a certificate");
        let imported = self
            .dms
            .import_certificate()
            .certificate_identifier("certificate-prod")
            .certificate_pem(authority.pair().certificate.clone())
            .send()
            .await
            .expect("imported");
        imported.certificate.and_then(|certificate| certificate.certificate_arn).expect("an ARN")
    }

    fn create_endpoint(
        &self,
        name: &str,
        kind: &str,
    ) -> dms::operation::create_endpoint::builders::CreateEndpointFluentBuilder {
        self.dms
            .create_endpoint()
            .endpoint_identifier(name)
            .endpoint_type(kind.into())
            .engine_name("postgres")
            .username("dms")
            .password("secret")
            .server_name("localhost")
            .port(5432)
            .database_name("bank")
            .postgre_sql_settings(
                dms::types::PostgreSqlSettings::builder()
                    .heartbeat_enable(true)
                    .map_boolean_as_boolean(true)
                    .build(),
            )
    }

    async fn endpoint(&self, name: &str, kind: &str, certificate: &str) -> String {
        let made = self
            .create_endpoint(name, kind)
            .ssl_mode(dms::types::DmsSslModeValue::VerifyFull)
            .certificate_arn(certificate)
            .send()
            .await
            .expect("an endpoint");
        let arn = made.endpoint.and_then(|endpoint| endpoint.endpoint_arn).expect("an ARN");
        eventually("the endpoint is active", async || {
            let seen = self.dms.describe_endpoints().filters(filter("endpoint-id", name)).send().await;
            seen.expect("described").endpoints()[0].status() == Some("active")
        })
        .await;
        arn
    }

    async fn test(&self, instance: &str, endpoint: &str) {
        let tested =
            self.dms.test_connection().replication_instance_arn(instance).endpoint_arn(endpoint).send().await;
        let row = tested.expect("tested").connection.expect("a row");
        assert_eq!(row.status(), Some("testing"));
    }

    async fn connection_becomes(
        &self,
        instance: &str,
        endpoint: &str,
        status: &str,
    ) -> dms::types::Connection {
        let mut last = None;
        eventually("the connection is tested", async || {
            let seen = self
                .dms
                .describe_connections()
                .filters(filter("endpoint-arn", endpoint))
                .filters(filter("replication-instance-arn", instance))
                .send()
                .await;
            last = seen.expect("described").connections().first().cloned();
            last.as_ref().and_then(|row| row.status()) == Some(status)
        })
        .await;
        last.expect("seen")
    }

    fn create_task(
        &self,
        name: &str,
        instance: &str,
        source: &str,
        target: &str,
    ) -> dms::operation::create_replication_task::builders::CreateReplicationTaskFluentBuilder {
        self.dms
            .create_replication_task()
            .replication_task_identifier(name)
            .replication_instance_arn(instance)
            .source_endpoint_arn(source)
            .target_endpoint_arn(target)
            .migration_type(dms::types::MigrationTypeValue::FullLoadAndCdc)
            .table_mappings(MAPPINGS)
            .replication_task_settings(SETTINGS)
    }

    async fn start_as(
        &self,
        task: &str,
        how: dms::types::StartReplicationTaskTypeValue,
    ) -> Result<
        dms::operation::start_replication_task::StartReplicationTaskOutput,
        dms::operation::start_replication_task::StartReplicationTaskError,
    > {
        let started = self
            .dms
            .start_replication_task()
            .replication_task_arn(task)
            .start_replication_task_type(how)
            .send()
            .await;
        started.map_err(aws_sdk_databasemigration::error::SdkError::into_service_error)
    }

    async fn stop(&self, task: &str) {
        self.dms.stop_replication_task().replication_task_arn(task).send().await.expect("stopped");
        self.task_becomes(task, "stopped").await;
    }

    async fn task_becomes(&self, arn: &str, status: &str) -> dms::types::ReplicationTask {
        let mut last = None;
        eventually("the task's status is as expected", async || {
            let seen = self
                .dms
                .describe_replication_tasks()
                .filters(filter("replication-task-arn", arn))
                .without_settings(true)
                .send()
                .await;
            last = seen.expect("described").replication_tasks().first().cloned();
            last.as_ref().and_then(|task| task.status()) == Some(status)
        })
        .await;
        last.expect("seen")
    }
}

struct Provisioned {
    instance: String,
    certificate: String,
    source: String,
    target: String,
    task: String,
}

/// A data plane that does nothing, and says at once that it went well.
async fn obey(mut wanted: mpsc::UnboundedReceiver<Effect>, reports: mpsc::Sender<Report>) {
    while let Some(effect) = wanted.recv().await {
        let news = match effect {
            Effect::TestConnection { instance_arn, endpoint_arn, database } => {
                let result =
                    if database.password == "secret" { Ok(()) } else { Err("wrong password".to_owned()) };
                vec![Report::ConnectionTested { instance_arn, endpoint_arn, result }]
            }
            Effect::StartTask { task_arn, task, .. } => {
                assert_eq!(task.settings.control_schema, "awsdms_control");
                let slot = format!("slot_{}", task.resource_id.to_lowercase());
                vec![Report::TaskRunning { task_arn: task_arn.clone(), slot }, progress(task_arn)]
            }
            Effect::StopTask { task_arn } => {
                let applied_lsn = Some("4AF/B00000D0".to_owned());
                vec![Report::TaskStopped { task_arn, reason: Stopped::Normal, applied_lsn }]
            }
        };
        for report in news {
            if reports.send(report).await.is_err() {
                return;
            }
        }
    }
}

fn progress(task_arn: String) -> Report {
    let now = Timestamp::now();
    let table = |name: String| TableReport {
        table: TableName { schema: "bank".to_owned(), name },
        load: Load::Completed,
        full_load_rows: 1000,
        load_started: Some(now),
        load_ended: Some(now),
        captured: Changes { inserts: 3, updates: 2, deletes: 1 },
        applied: Changes { inserts: 3, updates: 2, deletes: 0 },
        validation: Validation::Validated,
        validation_failed: 0,
    };
    Report::TaskProgress {
        task_arn,
        tables: (0..25).map(|number| table(format!("table_{number:02}"))).collect(),
        full_load_done: true,
        latency_source_seconds: 1.5,
        latency_target_seconds: 2.5,
        waiting_changes: 1,
        applied_lsn: Some("4AF/A0".to_owned()),
    }
}

async fn sdk_config(url: &str, access_key: &str) -> SdkConfig {
    aws_config::defaults(BehaviorVersion::latest())
        .region(Region::new("eu-central-1"))
        .credentials_provider(Credentials::new(access_key, "not-checked", None, None, "test"))
        .endpoint_url(url)
        .retry_config(RetryConfig::disabled())
        .load()
        .await
}

fn filter(name: &str, value: &str) -> dms::types::Filter {
    dms::types::Filter::builder().name(name).values(value).build().expect("complete")
}

async fn eventually(what: &str, mut look: impl AsyncFnMut() -> bool) {
    let patience = async {
        while !look().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let waited = tokio::time::timeout(Duration::from_mins(1), patience).await;
    assert!(waited.is_ok(), "never: {what}");
}
