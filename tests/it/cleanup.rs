//! `slipway cleanup`: AWS is freed of what an operator left, with neither operator nor cluster.

use std::process::{Output, Stdio};

use sandbox::world::Call;
use sandbox::world::dms::{self, CreateEndpoint, Tag};
use tokio::process::Command;

use crate::crash::inventory;
use crate::journey::{Journey, NAME, texts};

/// What a person runs, with AWS's variables and none of Kubernetes'.
fn command(journey: &Journey, flags: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_slipway"));
    let given = journey.environment().for_operator().unwrap().into_iter();
    command
        .env_clear()
        .envs(given.filter(|(name, _)| name.starts_with("AWS_")))
        .args(["cleanup", "--environment-suffix", "dev", "--poll", "0.05"])
        .args(flags)
        .stdin(Stdio::null());
    command
}

async fn cleanup(journey: &Journey, flags: &[&str]) -> (bool, String) {
    let Output { status, stdout, stderr } = command(journey, flags).output().await.unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
    println!("$ slipway cleanup {}\n{said}", flags.join(" "));
    assert!(!said.contains(sandbox::canary::MARK), "{said}");
    (status.success(), said)
}

/// An endpoint that the operator did not make.
fn endpoint(journey: &Journey, identifier: &str, tags: &[(&str, &str)]) {
    let word = |text: &str| Some(text.to_owned());
    let tag = |(key, value): &(&str, &str)| Tag {
        key: (*key).to_owned(),
        value: (*value).to_owned(),
        resource_arn: None,
    };
    let call = CreateEndpoint {
        endpoint_identifier: identifier.to_owned(),
        endpoint_type: "source".to_owned(),
        engine_name: "postgres".to_owned(),
        username: word("somebody"),
        password: word("secret"),
        server_name: word("db.somebody.example"),
        port: Some(5432),
        database_name: word("theirs"),
        tags: tags.iter().map(tag).collect(),
        ..CreateEndpoint::default()
    };
    let call = Call::Dms(dms::Call::CreateEndpoint(Box::new(call)));
    journey.sandbox.aws.with_world(|world, now| world.call(call, now)).unwrap();
}

/// The operations that a page of the documentation asks a right for.
fn documented() -> String {
    let page = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/cleanup.md");
    std::fs::read_to_string(page).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_cluster_everything_of_ours_goes_and_all_else_stays() {
    let mut journey = Box::pin(Journey::begin("cleanup")).await;
    // With our suffix and no tag, with our tag and another suffix, and one that only ends like ours.
    endpoint(&journey, "dms-endpoint-source-reporting-dev", &[]);
    endpoint(&journey, "reporting-dev", &[("slipway.dev/uid", "11111111-0000")]);
    let theirs = [("slipway.dev/uid", "11111111-0000"), ("slipway.dev/resource", "default/payments")];
    endpoint(&journey, "dms-endpoint-source-payments-db-prod", &theirs);
    endpoint(&journey, "dms-endpoint-source-payments-two-dev", &theirs);
    endpoint(&journey, "reporting", &[]);
    journey.start_operator();
    journey.apply(|_| {}).await;
    let view = journey.until_replicating(NAME).await;
    journey.no_canary().await;
    journey.kill_operator().await;
    journey.sandbox.cluster.stop().await.unwrap();

    let take = || inventory::take(&journey.sandbox.aws);
    let (made, others) = (take(), take().of_others(view.uid()));
    assert_eq!(others.len(), 5, "{others:#?}");
    let calls = journey.sandbox.aws.calls().len();
    let (done, said) = cleanup(&journey, &[]).await;
    assert!(done && said.contains("Nothing was changed"), "{said}");
    let ours: Vec<String> =
        made.names().into_iter().filter(|name| name.ends_with("payments-db-dev")).collect();
    assert!(ours.len() >= 10, "task, endpoints, certificates, instance, subnet group, alarms: {ours:?}");
    for name in &ours {
        assert!(said.contains(name.rsplit(' ').next().unwrap()), "{name} in {said}");
    }
    // The slot is told by what its name begins with, since the task that tells it goes.
    let slots = texts(&journey.sandbox.source, "SELECT slot_name::text FROM pg_replication_slots").await;
    assert!(!slots.is_empty());
    for slot in slots {
        assert!(said.contains(&format!("LIKE '{}%'", &slot[..16])), "{slot} in {said}");
    }
    for words in [
        view.uid(),
        "default/payments-db",
        "can't be known without its cluster",
        "replicates for default/payments-db",
        "pg_drop_replication_slot",
        "no tag slipway.dev/uid",
        "another suffix",
        "Slipway calls nothing so",
    ] {
        assert!(said.contains(words), "{words} in {said}");
    }
    // Nobody answers the question; or another's things are asked for.
    let (done, said) = cleanup(&journey, &["--delete"]).await;
    assert!(!done && said.contains("not confirmed; nothing was changed"), "{said}");
    let (done, said) = cleanup(&journey, &["--delete", "--yes", "--resource", "default/payments"]).await;
    assert!(done && said.contains("Nothing of Slipway's for default/payments"), "{said}");
    let since = |calls: usize| journey.sandbox.aws.calls().into_iter().skip(calls);
    assert!(since(calls).all(|call| !call.mutating), "a look changes nothing");

    // Ended in the midst, then run again.
    let mut cut = command(&journey, &["--delete", "--yes"]).stdout(Stdio::null()).spawn().unwrap();
    while !since(calls).any(|call| call.operation == "dms:DeleteReplicationTask") {
        assert!(cut.try_wait().unwrap().is_none(), "it ended without a task's deletion");
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    }
    cut.kill().await.unwrap();
    let (done, said) = cleanup(&journey, &["--delete", "--yes"]).await;
    assert!(done, "{said}");
    assert!(take().of(view.uid()).is_empty(), "{:#?}", take().names());
    assert_eq!(take().of_others(view.uid()), others);
    let changes = since(calls).filter(|call| call.mutating).count();
    let (done, said) = cleanup(&journey, &["--delete", "--yes"]).await;
    assert!(done && said.contains("Nothing of Slipway's with suffix dev is left"), "{said}");
    assert_eq!(since(calls).filter(|call| call.mutating).count(), changes, "nothing more to do");

    // The least that it needs is written down.
    let page = documented();
    for call in since(calls) {
        let (service, name) = call.operation.split_once(':').unwrap();
        assert!(page.contains(&format!("\"{service}:{name}\"")), "docs/cleanup.md lacks {}", call.operation);
    }
    let directory = journey.sandbox.directory().path().to_owned();
    journey.sandbox.source.kill().await.unwrap();
    journey.sandbox.target.kill().await.unwrap();
    drop(journey);
    std::fs::remove_dir_all(directory).unwrap();
}
