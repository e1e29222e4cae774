//! Faults: switched on over HTTP as the command line does, seen through the SDK.

use aws_sdk_databasemigration::error::{ProvideErrorMetadata, SdkError};
use sandbox::serve::fault::{Client, Command};

use super::{Bench, filter, sdk_config};

async fn say(bench: &Bench, words: &str) -> String {
    let words: Vec<&str> = words.split(' ').collect();
    let command = Command::parse(&words).expect("words");
    Client::new(&bench.server.url()).run(command).await.expect("obeyed")
}

#[tokio::test]
async fn throttling_is_a_code_outside_the_model_and_ends_after_its_times() {
    let bench = Bench::start().await;
    say(&bench, "throttle dms:CreateEndpoint --times 2").await;
    for _ in 0..2 {
        let error = bench.create_endpoint("endpoint-a", "source").send().await.expect_err("throttled");
        assert_eq!(error.code(), Some("ThrottlingException"));
    }
    bench.create_endpoint("endpoint-a", "source").send().await.expect("made");
    assert_eq!(say(&bench, "list").await, "no faults");
}

#[tokio::test]
async fn a_lost_reply_leaves_its_effect_and_a_lost_request_does_not() {
    let bench = Bench::start().await;
    say(&bench, "timeout-before dms:CreateEndpoint --times 1").await;
    let lost = bench.create_endpoint("endpoint-a", "source").send().await.expect_err("lost");
    assert!(matches!(lost, SdkError::DispatchFailure(_)), "{lost:?}");
    let describe = || bench.dms.describe_endpoints().filters(filter("endpoint-id", "endpoint-a")).send();
    describe().await.expect_err("nothing was made");

    say(&bench, "timeout-after dms:CreateEndpoint --times 1").await;
    let lost = bench.create_endpoint("endpoint-a", "source").send().await.expect_err("lost");
    assert!(matches!(lost, SdkError::DispatchFailure(_)), "{lost:?}");
    assert_eq!(describe().await.expect("it was made").endpoints().len(), 1);

    let calls = Client::new(&bench.server.url()).calls(0).await.expect("calls");
    let outcomes: Vec<&str> = calls.iter().map(|call| call.outcome.as_str()).collect();
    assert_eq!(outcomes, ["lost-before", "ResourceNotFoundFault", "lost-after", "ok"]);
    let mutating: Vec<bool> = calls.iter().map(|call| call.mutating).collect();
    assert_eq!(mutating, [true, false, true, false]);
}

#[tokio::test]
async fn denied_expired_and_broken_calls_are_told_apart() {
    let bench = Bench::start().await;
    for (words, code) in [
        ("access-denied dms:*", "AccessDeniedException"),
        ("expired-token *", "ExpiredTokenException"),
        ("error500 dms:DescribeEndpoints", "InternalFailure"),
    ] {
        say(&bench, words).await;
        let error = bench.dms.describe_endpoints().send().await.expect_err(words);
        assert_eq!(error.code(), Some(code));
        say(&bench, "clear").await;
    }
    say(&bench, "access-denied * --key AKIABAD").await;
    bench.dms.describe_endpoints().send().await.expect("another key");
    let bad = aws_sdk_sts::Client::new(&sdk_config(&bench.server.url(), "AKIABAD").await);
    let error = bad.get_caller_identity().send().await.expect_err("denied");
    assert_eq!(error.code(), Some("AccessDenied"));
}

#[tokio::test]
async fn stale_reads_show_the_past() {
    let bench = Bench::start().await;
    bench.create_endpoint("endpoint-a", "source").send().await.expect("made");
    say(&bench, "stale dms:Describe* --lag 60").await;
    assert!(bench.dms.describe_endpoints().send().await.expect("stale").endpoints().is_empty());
    say(&bench, "clear").await;
    assert_eq!(bench.dms.describe_endpoints().send().await.expect("fresh").endpoints().len(), 1);
}

#[tokio::test]
async fn things_vanish_and_tests_fail_when_told_to() {
    let bench = Bench::start().await;
    let made = bench.provision().await;
    say(&bench, "connection-test-fails no route to host").await;
    bench.test(&made.instance, &made.source).await;
    let row = bench.connection_becomes(&made.instance, &made.source, "failed").await;
    assert_eq!(row.last_failure_message(), Some("no route to host"));
    say(&bench, "clear").await;
    say(&bench, "lose-connections testing").await;
    bench.connection_becomes(&made.instance, &made.source, "successful").await;

    say(&bench, "delete-resource endpoint-source-prod").await;
    let task = bench
        .dms
        .describe_replication_tasks()
        .filters(filter("replication-task-arn", &made.task))
        .send()
        .await;
    assert!(task.expect_err("gone with it").into_service_error().is_resource_not_found_fault());
    let missing = Command::parse(&["delete-resource", "nope"]).expect("words");
    let error = Client::new(&bench.server.url()).run(missing).await.expect_err("not there");
    assert!(error.to_string().contains("nope"), "{error}");
}

#[tokio::test]
async fn unsigned_requests_are_refused() {
    let bench = Bench::start().await;
    let unsigned = aws_sdk_sts::config::Builder::from(&bench.config);
    let unsigned = unsigned
        .allow_no_auth()
        .auth_scheme_preference([aws_smithy_runtime_api::client::auth::AuthSchemeId::from("noAuth")])
        .build();
    let error =
        aws_sdk_sts::Client::from_conf(unsigned).get_caller_identity().send().await.expect_err("unsigned");
    assert_eq!(error.code(), Some("MissingAuthenticationToken"), "{error:?}");
}
