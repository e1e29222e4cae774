//! Secrets Manager, through its own SDK and through Slipway's.

use aws_sdk_secretsmanager as sdk;
use aws_sdk_secretsmanager::error::ProvideErrorMetadata;
use sandbox::serve::fault::{Client, Command};
use sandbox::world::secrets::Secret;

use super::Bench;

const TOKEN: &str = "0123456789abcdef0123456789abcdef";
const BEFORE: &str =
    r#"{"username":"app","password":"hunter2","host":"source.local","port":5432,"dbname":"bank"}"#;

fn secret(bench: &Bench) -> Secret {
    bench.server.with_world(|world, _| world.secrets_mut()[0].clone())
}

fn keep(bench: &Bench, value: &str) -> String {
    bench.server.with_world(|world, _| world.keep_secret("payments", value))
}

#[tokio::test]
async fn values_are_versions_and_tokens_make_them_once() {
    let bench = Bench::start().await;
    let client = sdk::Client::new(&bench.config);
    let arn = keep(&bench, BEFORE);
    for id in [arn.as_str(), "payments"] {
        let seen = client.get_secret_value().secret_id(id).send().await.expect("there");
        assert_eq!(
            (seen.secret_string(), seen.version_stages()),
            (Some(BEFORE), &["AWSCURRENT".to_owned()][..])
        );
    }
    let put = |token: &str, value: &str| {
        client.put_secret_value().secret_id(&arn).client_request_token(token).secret_string(value).send()
    };
    for _ in 0..2 {
        let put = put(TOKEN, "new").await.expect("written");
        assert_eq!(put.version_id(), Some(TOKEN));
    }
    let stages: Vec<Vec<String>> =
        secret(&bench).versions.into_iter().map(|version| version.stages).collect();
    assert_eq!(stages, [["AWSPREVIOUS"], ["AWSCURRENT"]]);
    for (error, code) in [
        (put(TOKEN, "other").await.expect_err("in use"), "ResourceExistsException"),
        (put("short", "new").await.expect_err("too short"), "InvalidParameterException"),
    ] {
        assert_eq!(error.code(), Some(code));
    }
    let get = async |id: &str| client.get_secret_value().secret_id(id).send().await.expect_err("refused");
    assert_eq!(get("no-such-secret").await.code(), Some("ResourceNotFoundException"));
    bench.server.with_world(|world, _| world.secrets_mut()[0].deleted = true);
    assert_eq!(get(&arn).await.code(), Some("InvalidRequestException"));
    let refused = client.describe_secret().secret_id(&arn).send().await.expect_err("not modelled");
    assert_eq!(refused.code(), Some("UnknownOperationException"));
}

#[tokio::test]
async fn a_lost_answer_leaves_a_version_that_the_same_request_finds() {
    let bench = Bench::start().await;
    let client = sdk::Client::new(&bench.config);
    let arn = keep(&bench, BEFORE);
    let faults = Client::new(&bench.server.url());
    let say = async |words: &str| {
        let words: Vec<&str> = words.split(' ').collect();
        faults.run(Command::parse(&words).expect("words")).await.expect("obeyed");
    };
    let put =
        || client.put_secret_value().secret_id(&arn).client_request_token(TOKEN).secret_string("new").send();
    say("timeout-after secretsmanager:PutSecretValue --times 1").await;
    put().await.expect_err("lost");
    put().await.expect("the same request");
    assert_eq!(secret(&bench).versions.len(), 2);
    // Somebody turned it back: the same request does not turn it again, as AWS says of itself.
    keep(&bench, BEFORE);
    put().await.expect("ignored");
    let seen = client.get_secret_value().secret_id(&arn).send().await.expect("there");
    assert_eq!(seen.secret_string(), Some(BEFORE));

    say("access-denied secretsmanager:*").await;
    let denied = client.get_secret_value().secret_id(&arn).send().await.expect_err("denied");
    assert_eq!(denied.code(), Some("AccessDeniedException"));
    let calls = faults.calls(0).await.expect("calls");
    let mutating: Vec<bool> = calls.iter().map(|call| call.mutating).collect();
    assert_eq!(mutating, [true, true, true, false, false]);
}
