//! The whole way: there, soaking, and finished.

use sandbox::bank::probe::Side;
use serde_json::json;

use super::{Night, grants};
use crate::journey::{NAME, PATIENCE, spec, texts};

#[tokio::test(flavor = "multi_thread")]
async fn the_writer_moves_under_load_and_the_migration_is_finished() {
    let mut night = Box::pin(Night::begin("cutover", |_| {})).await;
    night.goal("CutOver").await;
    let view = Box::pin(night.until_phase("Soaking")).await;
    night.journey.until_quiet(NAME).await;
    assert_eq!(view.status()["writer"], "Target", "{}", view.describe());
    assert_eq!(view.status()["rollback"]["mode"], "None");
    assert_eq!(view.status()["verification"]["state"], "Equal");
    assert!(view.is("Ready", "True", "Soaking"), "{}", view.describe());
    let steps: Vec<&str> = view.status()["history"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|entry| entry["phase"] == "CuttingOver")
        .filter_map(|entry| entry["step"].as_str())
        .collect();
    assert_eq!(
        steps,
        ["PreCheck", "Fence", "Drain", "Freeze", "Verify", "Sequences", "ArmReverse", "Promote"],
        "{}",
        view.status()["history"]
    );
    night.writes().await;
    // The slot of the way back is there, was there before the first write, and its position is written down.
    let slots =
        texts(&night.journey.sandbox.target, "SELECT slot_name::text FROM pg_replication_slots").await;
    assert_eq!(slots.len(), 1, "{slots:?}");
    let row = "SELECT reverse_slot || ' ' || reverse_lsn FROM slipway.token";
    let row = texts(&night.journey.sandbox.source, row).await;
    assert!(row[0].starts_with(&slots[0]), "{row:?}");
    let forward =
        texts(&night.journey.sandbox.source, "SELECT slot_name::text FROM pg_replication_slots").await;
    assert!(forward.is_empty(), "the forward slot is gone: {forward:?}");
    assert!(night.journey.changes().contains(&"dms:DeleteReplicationTask".to_owned()));
    // Next values of all sequences lie above what is there.
    night.writes().await;
    let findings = night.proved().await;
    assert_eq!(findings.writer(), Some(Side::Target));
    assert_eq!(findings.moves().len(), 1, "{:?}", findings.moves());

    // A way back that there is none: said, and nothing done.
    night.goal("Replicate").await;
    let view = night.journey.until(NAME, "NoWayBack", |view| view.is("Stalled", "True", "NoWayBack")).await;
    assert_eq!(view.status()["writer"], "Target");
    // Nor is anything deleted that a way back would need.
    night.goal("CutOver").await;
    Box::pin(night.until_phase("Soaking")).await;

    night.goal("Finish").await;
    let view = Box::pin(night.until_phase("Finished")).await;
    assert!(view.is("Ready", "True", "Finished"), "{}", view.describe());
    night.journey.until_quiet(NAME).await;
    assert!(view.status()["pointOfNoReturnAt"].is_string());
    let refused = night.journey.patch(NAME, spec(json!({"goal": "CutOver"}))).await.unwrap_err();
    assert!(refused.contains("only Finish is possible"), "{refused}");
    assert!(
        texts(&night.journey.sandbox.target, "SELECT slot_name::text FROM pg_replication_slots")
            .await
            .is_empty()
    );
    let left =
        "SELECT relname::text FROM pg_class WHERE relnamespace = 'slipway'::regnamespace AND relkind = 'r'";
    assert!(texts(&night.journey.sandbox.target, left).await.is_empty());
    let may = "SELECT 'may' WHERE has_database_privilege('payments_app', 'payments', 'CONNECT')";
    assert!(texts(&night.journey.sandbox.source, may).await.is_empty(), "the source stays fenced");
    assert_eq!(texts(&night.journey.sandbox.target, may).await.len(), 1);
    night.journey.delete(NAME).await;
    night.journey.until_gone(NAME).await;
    night.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn given_back_the_source_is_exactly_as_it_was() {
    let night = Box::pin(Night::begin("giveback", |object| {
        object["spec"]["verification"] =
            json!({"invariants": [{"name": "never", "sql": "SELECT pg_backend_pid()"}]});
    }))
    .await;
    let before = grants(&night.journey.sandbox.source).await;
    let target = grants(&night.journey.sandbox.target).await;
    night.goal("CutOver").await;
    // An invariant that can't hold: the move is given up after the fence, and Git's goal does not begin it again.
    let view = night.journey.until(NAME, "GivenUp", |view| view.is("Stalled", "True", "GivenUp")).await;
    assert!(view.message("Stalled").contains("never"), "{}", view.describe());
    assert!(view.message("Stalled").contains("spec.attempt"), "{}", view.describe());
    assert_eq!(view.status()["latch"]["attempt"], 1);
    Box::pin(night.until_back()).await;
    night.writes().await;
    assert_eq!(grants(&night.journey.sandbox.source).await, before);
    assert_eq!(grants(&night.journey.sandbox.target).await, target);
    assert!(
        texts(&night.journey.sandbox.target, "SELECT slot_name::text FROM pg_replication_slots")
            .await
            .is_empty()
    );
    night
        .journey
        .until(NAME, "GivenUp", |view| view.is_current() && view.is("Stalled", "True", "GivenUp"))
        .await;
    night.journey.until_quiet(NAME).await;

    // Mended, and ordered again.
    let order = json!({"attempt": 2, "verification": {"invariants": null}});
    night.journey.patch(NAME, spec(order)).await.unwrap();
    let view = Box::pin(night.until_phase("Soaking")).await;
    assert_eq!(view.status()["writer"], "Target", "{}", view.describe());
    night.writes().await;
    Box::pin(night.ends_with(Side::Target)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_in_the_way_is_named_and_nothing_is_fenced() {
    let mut night = Box::pin(Night::begin("precheck", |_| {})).await;
    let source = night.journey.sandbox.source.superuser_dsn(sandbox::bank::DATABASE);
    night
        .journey
        .on_source(
            "CREATE ROLE etl LOGIN; GRANT CONNECT ON DATABASE payments TO etl; GRANT INSERT ON public.accounts TO etl",
        )
        .await;
    night.goal("CutOver").await;
    let view = night
        .journey
        .until(NAME, "UnlistedWriter", |view| view.is("Stalled", "True", "UnlistedWriter"))
        .await;
    assert!(view.message("Stalled").contains("etl"), "{}", view.describe());
    // A transaction that has written something and goes on.
    let holder = sandbox::postgres::connect_local(&source).await.unwrap();
    holder.batch_execute("BEGIN; CREATE TABLE public.hold (id bigint PRIMARY KEY)").await.unwrap();
    let age = "SELECT clock_timestamp() - xact_start > interval '2 seconds' FROM pg_stat_activity WHERE pid = pg_backend_pid()";
    while !holder.query_one(age, &[]).await.unwrap().get::<_, bool>(0) {}
    night
        .journey
        .on_source("REVOKE ALL ON public.accounts FROM etl; REVOKE ALL ON DATABASE payments FROM etl")
        .await;
    let view = night
        .journey
        .until(NAME, "LongTransaction", |view| view.is("Stalled", "True", "LongTransaction"))
        .await;
    assert_eq!(view.status()["writer"], "Source", "{}", view.describe());
    holder.batch_execute("ROLLBACK").await.unwrap();
    let view = Box::pin(night.until_phase("Soaking")).await;
    assert_eq!(view.status()["writer"], "Target", "{}", view.describe());
    night.proved().await;
    night.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_window_is_kept() {
    let mut night = Box::pin(Night::begin("window", |object| {
        object["spec"]["cutover"]["notAfter"] = json!("2001-01-01T00:00:00Z");
    }))
    .await;
    night.goal("CutOver").await;
    let view =
        night.journey.until(NAME, "WindowPassed", |view| view.is("Stalled", "True", "WindowPassed")).await;
    assert_eq!(view.status()["writer"], "Source");
    let later = json!({"cutover": {"notBefore": "2199-01-01T00:00:00Z", "notAfter": null}});
    night.journey.patch(NAME, spec(later)).await.unwrap();
    night
        .journey
        .eventually(PATIENCE, "waiting for the window", || async {
            let view = night.journey.view(NAME).await;
            let next = view.status()["next"].as_str().unwrap_or_default().to_owned();
            if next.contains("2199-01-01") { Ok(()) } else { Err(view.describe()) }
        })
        .await;
    night.proved().await;
    night.end().await;
}

/// Applications that read the writer's place from a secret: it points to the target when the target takes writes, and what
/// else is in it stays.
#[tokio::test(flavor = "multi_thread")]
async fn a_secret_is_pointed_to_the_target() {
    let value = json!({"username": "payments_app", "password": "kanarienvogel", "host": "pg01", "port": 5432, "dbname": "payments"});
    let mut night = Box::pin(Night::begin("secret", |_| {})).await;
    let arn =
        night.journey.sandbox.aws.with_world(|world, _| world.keep_secret("payments", &value.to_string()));
    // One that is not there is found out before anything is fenced.
    let connection =
        |arn: &str| json!({"cutover": {"connection": {"multiHost": null, "secret": {"secretARN": arn}}}});
    let none = "arn:aws:secretsmanager:us-east-1:111122223333:secret:none-AbCdEf";
    night.journey.patch(NAME, spec(connection(none))).await.unwrap();
    night.goal("CutOver").await;
    let view = night
        .journey
        .until(NAME, "a secret that is missing", |view| {
            view.is_current() && view.condition("Stalled").is_some_and(|(status, ..)| status == "True")
        })
        .await;
    assert!(
        view.message("Stalled").contains("spec.cutover.connection.secret.secretARN"),
        "{}",
        view.describe()
    );
    assert_eq!(view.status()["writer"], "Source");
    night.journey.patch(NAME, spec(connection(&arn))).await.unwrap();
    let view = Box::pin(night.until_phase("Soaking")).await;
    assert_eq!(view.status()["writer"], "Target", "{}", view.describe());
    let steps = view.status()["history"].to_string();
    assert!(steps.contains("Repoint"), "{steps}");
    let found = night.journey.sandbox.aws.with_world(|world, _| {
        let current = world.secrets_mut()[0].versions.pop().unwrap();
        serde_json::from_str::<serde_json::Value>(&current.value).unwrap()
    });
    let port = night.journey.sandbox.target.port();
    let expected = json!({"username": "payments_app", "password": "kanarienvogel", "host": found["host"], "port": port, "dbname": "payments"});
    assert_eq!(found, expected);
    night.proved().await;
    night.end().await;
}

/// Applications that resolve a name. A CNAME carries no port, and this machine's two servers differ by nothing else: so what is
/// shown is that the zone is looked at, that what can't be led is told of before anything is changed, and the way out.
#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_can_not_be_led_is_told_of_and_nothing_is_fenced() {
    let mut night = Box::pin(Night::begin("record", |_| {})).await;
    let record = |zone: &str| {
        let record = json!({"zoneID": zone, "name": "db.bank.example"});
        json!({"cutover": {"connection": {"multiHost": null, "secret": null, "record": record}}})
    };
    let stalled = async |night: &Night, reason: &str, words: &str| {
        let view = night.journey.until(NAME, reason, |view| view.is("Stalled", "True", reason)).await;
        assert!(view.message("Stalled").contains(words), "{}", view.describe());
        assert_eq!(view.status()["writer"], "Source", "{}", view.describe());
    };
    night.journey.patch(NAME, spec(record("Z0NOSUCHZONE"))).await.unwrap();
    let view = night
        .journey
        .until(NAME, "a warning", |view| {
            view.is_current() && view.message("Assessed").contains("verify-full")
        })
        .await;
    assert!(view.is("Assessed", "True", "Assessed"), "{}", view.describe());
    night.goal("CutOver").await;
    stalled(&night, "ZoneMissing", "spec.cutover.connection.record.zoneID").await;
    let zone = night.journey.sandbox.traffic.zone_id.clone();
    night.journey.patch(NAME, spec(record(&zone))).await.unwrap();
    stalled(&night, "InvalidSpec", "spec.cutover.connection.record: both sides have the host").await;
    night.journey.until_quiet(NAME).await;
    let changes = night.journey.changes();
    assert!(!changes.iter().any(|change| change.starts_with("route53:")), "{changes:?}");
    let hosts = json!({"cutover": {"connection": {"record": null, "multiHost": {}}}});
    night.journey.patch(NAME, spec(hosts)).await.unwrap();
    let view = Box::pin(night.until_phase("Soaking")).await;
    assert_eq!(view.status()["writer"], "Target", "{}", view.describe());
    night.proved().await;
    night.end().await;
}
