//! What AWS refuses is refused with AWS's codes, typed by the SDK where its model has them.

use aws_sdk_databasemigration::error::ProvideErrorMetadata;
use aws_sdk_databasemigration::types::StartReplicationTaskTypeValue as Start;
use sandbox::serve::fault::Command;

use super::{Bench, SETTINGS, SUBNETS, filter};

#[tokio::test]
async fn subnet_groups_need_two_zones_and_known_subnets() {
    let bench = Bench::start().await;
    let create = |subnets: Vec<&str>| {
        let call = bench.dms.create_replication_subnet_group();
        let call = call.replication_subnet_group_identifier("g").replication_subnet_group_description("d");
        call.set_subnet_ids(Some(subnets.into_iter().map(str::to_owned).collect())).send()
    };
    let one = create(vec![SUBNETS[0]]).await.expect_err("one zone").into_service_error();
    assert!(one.is_replication_subnet_group_does_not_cover_enough_azs(), "{one:?}");
    let unknown = create(vec![SUBNETS[0], "subnet-nope"]).await.expect_err("unknown").into_service_error();
    assert!(unknown.is_invalid_subnet(), "{unknown:?}");
    create(SUBNETS.to_vec()).await.expect("fine");
    let twice = create(SUBNETS.to_vec()).await.expect_err("twice").into_service_error();
    assert!(twice.is_resource_already_exists_fault(), "{twice:?}");
    bench.server.with_world(|world, _| world.switches_mut().vpc_role_missing = true);
    let role = create(SUBNETS.to_vec()).await.expect_err("no role").into_service_error();
    assert!(role.is_access_denied_fault(), "{role:?}");
}

#[tokio::test]
async fn identifiers_are_unique_and_well_formed() {
    let bench = Bench::start().await;
    let first = bench.create_endpoint("endpoint-source-x", "source").send().await.expect("made");
    let arn = first.endpoint().and_then(|endpoint| endpoint.endpoint_arn()).expect("an ARN").to_owned();
    let twice = bench.create_endpoint("endpoint-source-x", "source").send().await.expect_err("twice");
    let twice = twice.into_service_error();
    match &twice {
        aws_sdk_databasemigration::operation::create_endpoint::CreateEndpointError::ResourceAlreadyExistsFault(fault) => {
            assert_eq!(fault.resource_arn(), Some(arn.as_str()));
        }
        other => panic!("not typed: {other:?}"),
    }
    for bad in ["1x", "x--y", "x-", "x_y"] {
        let error = bench.create_endpoint(bad, "source").send().await.expect_err(bad).into_service_error();
        assert_eq!(error.code(), Some("InvalidParameterValueException"), "{bad}");
    }
    let error = bench
        .create_endpoint("endpoint-tls", "source")
        .ssl_mode(aws_sdk_databasemigration::types::DmsSslModeValue::VerifyFull)
        .send()
        .await
        .expect_err("no certificate");
    assert_eq!(error.into_service_error().code(), Some("InvalidParameterCombinationException"));
}

#[tokio::test]
async fn what_a_filter_does_not_match_is_a_fault_or_an_empty_list() {
    let bench = Bench::start().await;
    let describe = || bench.dms.describe_endpoints().filters(filter("endpoint-id", "nope")).send();
    let fault = describe().await.expect_err("nothing").into_service_error();
    assert!(fault.is_resource_not_found_fault(), "{fault:?}");
    bench.server.with_world(|world, _| world.switches_mut().empty_list_for_nothing = true);
    assert!(describe().await.expect("empty").endpoints().is_empty());
    let unknown = bench.dms.describe_endpoints().filters(filter("colour", "red")).send().await;
    let unknown = unknown.expect_err("unknown filter").into_service_error();
    assert_eq!(unknown.code(), Some("InvalidParameterValueException"));
    let size = bench.dms.describe_endpoints().max_records(5).send().await.expect_err("too small");
    assert_eq!(size.into_service_error().code(), Some("InvalidParameterValueException"));
}

#[tokio::test]
async fn a_task_moves_only_as_the_state_machine_allows() {
    let bench = Bench::start().await;
    let made = bench.provision().await;
    for how in [Start::ResumeProcessing, Start::ReloadTarget] {
        let early = bench.start_as(&made.task, how).await.expect_err("never ran");
        assert!(early.is_invalid_resource_state_fault(), "{early:?}");
    }
    let stop = bench.dms.stop_replication_task().replication_task_arn(&made.task).send().await;
    assert!(stop.expect_err("not running").into_service_error().is_invalid_resource_state_fault());

    bench.start_as(&made.task, Start::StartReplication).await.expect("started");
    bench.task_becomes(&made.task, "running").await;
    let twice = bench.start_as(&made.task, Start::ResumeProcessing).await.expect_err("running");
    assert!(twice.is_invalid_resource_state_fault(), "{twice:?}");
    let delete = bench.dms.delete_replication_task().replication_task_arn(&made.task).send().await;
    assert!(delete.expect_err("running").into_service_error().is_invalid_resource_state_fault());
    let modify = bench.dms.modify_endpoint().endpoint_arn(&made.source).password("other").send().await;
    assert!(modify.expect_err("running").into_service_error().is_invalid_resource_state_fault());
    let used = bench.dms.delete_endpoint().endpoint_arn(&made.source).send().await;
    assert!(used.expect_err("used").into_service_error().is_invalid_resource_state_fault());
    let used = bench.dms.delete_replication_instance().replication_instance_arn(&made.instance).send().await;
    assert!(used.expect_err("used").into_service_error().is_invalid_resource_state_fault());
    let used = bench.dms.delete_certificate().certificate_arn(&made.certificate).send().await;
    assert!(used.expect_err("used").into_service_error().is_invalid_resource_state_fault());

    bench.stop(&made.task).await;
    let again = bench.start_as(&made.task, Start::StartReplication).await.expect_err("ran before");
    assert_eq!(again.code(), Some("InvalidParameterCombinationException"));
}

#[tokio::test]
async fn a_changed_endpoint_is_tested_anew_before_a_start() {
    let bench = Bench::start().await;
    let made = bench.provision().await;
    let modify =
        |password: &str| bench.dms.modify_endpoint().endpoint_arn(&made.source).password(password).send();
    modify("wrong").await.expect("changed");
    let row = bench.connection_becomes(&made.instance, &made.source, "failed").await;
    assert_eq!(row.last_failure_message(), Some("wrong password"));
    let start = bench.start_as(&made.task, Start::StartReplication).await.expect_err("not tested");
    assert!(start.is_invalid_resource_state_fault(), "{start:?}");
    modify("secret").await.expect("changed");
    bench.connection_becomes(&made.instance, &made.source, "successful").await;
    bench.start_as(&made.task, Start::StartReplication).await.expect("started");
}

#[tokio::test]
async fn broken_settings_and_mappings_are_refused() {
    let bench = Bench::start().await;
    let made = bench.provision().await;
    let create = || bench.create_task("task-other", &made.instance, &made.source, &made.target);
    let unknown = SETTINGS.replace("TaskRecoveryTableEnabled", "TaskRecoveryTable");
    for call in [create().table_mappings("{"), create().replication_task_settings(unknown)] {
        let error = call.send().await.expect_err("broken").into_service_error();
        assert_eq!(error.code(), Some("InvalidParameterValueException"), "{error:?}");
    }
    let crossed = bench.create_task("task-other", &made.instance, &made.target, &made.source).send().await;
    assert_eq!(
        crossed.expect_err("crossed").into_service_error().code(),
        Some("InvalidParameterCombinationException")
    );
    let absent = bench.create_task("task-other", "arn:nope", &made.source, &made.target).send().await;
    assert!(absent.expect_err("no instance").into_service_error().is_resource_not_found_fault());
    let twice = bench.create_task("task-prod", &made.instance, &made.source, &made.target).send().await;
    assert!(twice.expect_err("twice").into_service_error().is_resource_already_exists_fault());
}

#[tokio::test]
async fn what_is_not_modelled_is_said() {
    let bench = Bench::start().await;
    let error = bench.dms.describe_account_attributes().send().await.expect_err("not modelled");
    let error = error.into_service_error();
    assert_eq!(error.code(), Some("UnknownOperationException"));
    assert!(
        error.message().is_some_and(|message| message.contains("dms:DescribeAccountAttributes")),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_failed_task_shows_why() {
    let bench = Bench::start().await;
    let made = bench.provision().await;
    bench.start_as(&made.task, Start::StartReplication).await.expect("started");
    bench.task_becomes(&made.task, "running").await;
    let Command::Order(order) =
        Command::parse(&["fail-task", "task-prod", "fatal", "the slot is gone"]).expect("words")
    else {
        panic!("not an order");
    };
    bench.server.order(order).expect("the task runs");
    let failed = bench.task_becomes(&made.task, "failed").await;
    assert_eq!(failed.stop_reason(), Some("Stop Reason FATAL_ERROR"));
    assert_eq!(failed.last_failure_message(), Some("the slot is gone"));
    bench.start_as(&made.task, Start::ResumeProcessing).await.expect("resumed");
    let running = bench.task_becomes(&made.task, "running").await;
    assert_eq!(running.stop_reason(), None);
}
