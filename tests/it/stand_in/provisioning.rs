//! The whole way from nothing to a running task, and back to nothing.

use aws_sdk_databasemigration::types::StartReplicationTaskTypeValue as Start;
use aws_sdk_databasemigration::types::Tag;

use super::{Bench, filter};

#[tokio::test]
async fn a_task_runs_stops_resumes_and_is_deleted_with_all_that_it_needed() {
    let bench = Bench::start().await;
    let made = bench.provision().await;

    bench.start_as(&made.task, Start::StartReplication).await.expect("started");
    let running = bench.task_becomes(&made.task, "running").await;
    assert!(running.table_mappings().is_none(), "WithoutSettings was asked for");
    assert!(running.recovery_checkpoint().is_none(), "readable at rest only");

    bench.stop(&made.task).await;
    let stopped = bench.task_becomes(&made.task, "stopped").await;
    assert_eq!(stopped.stop_reason(), Some("Stop Reason NORMAL"));
    assert_eq!(stopped.recovery_checkpoint(), Some("checkpoint:V1#1#000004AF/B00000D0#0#0#*#0#0"));
    let stats = stopped.replication_task_stats().expect("it ran");
    assert_eq!(stats.tables_loaded(), 25);
    assert_eq!(stats.full_load_progress_percent(), 100);
    assert!(stats.full_load_finish_date().is_some() && stats.stop_date().is_some());

    bench.start_as(&made.task, Start::ResumeProcessing).await.expect("resumed");
    bench.task_becomes(&made.task, "running").await;
    bench.stop(&made.task).await;

    bench.dms.delete_replication_task().replication_task_arn(&made.task).send().await.expect("deleting");
    gone(&bench, "replication-task-arn", &made.task).await;
    for endpoint in [&made.source, &made.target] {
        bench.dms.delete_endpoint().endpoint_arn(endpoint).send().await.expect("deleting");
    }
    bench
        .dms
        .delete_replication_instance()
        .replication_instance_arn(&made.instance)
        .send()
        .await
        .expect("deleting");
    super::eventually("the subnet group can go", async || {
        let group = bench.dms.delete_replication_subnet_group();
        group.replication_subnet_group_identifier("subnet-group-prod").send().await.is_ok()
    })
    .await;
    super::eventually("the certificate can go", async || {
        bench.dms.delete_certificate().certificate_arn(&made.certificate).send().await.is_ok()
    })
    .await;
    let left = bench.dms.describe_endpoints().send().await.expect("described");
    assert!(left.endpoints().is_empty());
}

async fn gone(bench: &Bench, name: &str, arn: &str) {
    super::eventually("it is gone", async || {
        let seen = bench.dms.describe_replication_tasks().filters(filter(name, arn)).send().await;
        seen.is_err_and(|error| error.into_service_error().is_resource_not_found_fault())
    })
    .await;
}

#[tokio::test]
async fn settings_come_back_expanded_and_passwords_not_at_all() {
    let bench = Bench::start().await;
    let made = bench.provision().await;
    let tasks = bench.dms.describe_replication_tasks().send().await.expect("described");
    let shown = tasks.replication_tasks()[0].replication_task_settings().expect("settings");
    let shown: serde_json::Value = serde_json::from_str(shown).expect("JSON");
    assert_eq!(shown["ControlTablesSettings"]["historyTimeslotInMinutes"], 7);
    assert_eq!(shown["Logging"]["CloudWatchLogGroup"], "dms-tasks-stand-in");
    assert_eq!(shown["ErrorBehavior"]["ApplyErrorDeletePolicy"], "IGNORE_RECORD");

    let endpoints = bench.dms.describe_endpoints().filters(filter("endpoint-arn", &made.source)).send().await;
    let endpoint = endpoints.expect("described").endpoints()[0].clone();
    let settings = endpoint.postgre_sql_settings().expect("settings");
    assert_eq!(settings.heartbeat_enable(), Some(true));
    assert_eq!(settings.password(), None);
    assert_eq!(endpoint.username(), Some("dms"));

    let instances = bench.dms.describe_replication_instances().send().await.expect("described");
    let instance = &instances.replication_instances()[0];
    assert!(!instance.publicly_accessible());
    assert!(instance.instance_create_time().is_some());
    let group = instance.replication_subnet_group().expect("a group");
    assert_eq!(
        group.replication_subnet_group_identifier(),
        Some("subnet-group-prod"),
        "stored in lower case"
    );
    assert_eq!(group.subnet_group_status(), Some("Complete"));
}

#[tokio::test]
async fn tags_are_kept_and_added_to() {
    let bench = Bench::start().await;
    let arn = bench.instance("replication-instance-tagged").await;
    let tag = Tag::builder().key("part").value("1").build();
    bench.dms.add_tags_to_resource().resource_arn(&arn).tags(tag).send().await.expect("tagged");
    let listed = bench.dms.list_tags_for_resource().resource_arn(&arn).send().await.expect("listed");
    let listed: Vec<_> = listed.tag_list().iter().map(|tag| (tag.key(), tag.value())).collect();
    assert_eq!(listed, [(Some("owner"), Some("slipway")), (Some("part"), Some("1"))]);
    let unknown = bench.dms.list_tags_for_resource().resource_arn("arn:aws:dms:x").send().await;
    assert!(unknown.expect_err("unknown").into_service_error().is_resource_not_found_fault());
}

#[tokio::test]
async fn tables_are_paged() {
    let bench = Bench::start().await;
    let made = bench.provision().await;
    bench.start_as(&made.task, Start::StartReplication).await.expect("started");
    bench.task_becomes(&made.task, "running").await;
    super::eventually("statistics are there", async || {
        let page = bench.dms.describe_table_statistics().replication_task_arn(&made.task).send().await;
        !page.expect("described").table_statistics().is_empty()
    })
    .await;
    let mut names = Vec::new();
    let mut marker = None;
    let mut pages = 0;
    loop {
        let asked = bench.dms.describe_table_statistics().replication_task_arn(&made.task).max_records(20);
        let page = asked.set_marker(marker).send().await.expect("a page");
        assert_eq!(page.table_statistics()[0].table_state(), Some("Table completed"));
        assert_eq!(page.table_statistics()[0].validation_state(), Some("Validated"));
        names
            .extend(page.table_statistics().iter().filter_map(|table| table.table_name().map(str::to_owned)));
        pages += 1;
        marker = page.marker;
        if marker.is_none() {
            break;
        }
    }
    assert_eq!(pages, 2);
    assert_eq!(names, (0..25).map(|number| format!("table_{number:02}")).collect::<Vec<_>>());
    let one = bench.dms.describe_table_statistics().replication_task_arn(&made.task);
    let one = one.filters(filter("table-name", "table_07")).send().await.expect("filtered");
    assert_eq!(one.table_statistics().len(), 1);
    assert_eq!(one.table_statistics()[0].applied_inserts(), Some(3));
}
