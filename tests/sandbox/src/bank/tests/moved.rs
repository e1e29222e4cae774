//! The writer moves, by hand, between two servers with nothing between them: the load follows, the probes see no two
//! writers, the journal holds; and each check can fail.

use std::sync::Arc;

use tokio::time::{Instant, sleep};

use super::*;
use crate::bank::journal::{Journal, Ledger, check};
use crate::bank::probe::{EVERY, Prober, Side};

const CLOSE: &str = "BEGIN;
    REVOKE CONNECT ON DATABASE payments FROM payments_app;
    REVOKE INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public FROM payments_app;
    COMMIT";
const OPEN: &str = "BEGIN;
    GRANT INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO payments_app;
    GRANT CONNECT ON DATABASE payments TO payments_app;
    COMMIT";
const SESSIONS: &str =
    "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE usename = 'payments_app'";

/// Nobody writes there any more.
async fn close(admin: &Client) {
    can(admin, CLOSE).await;
    while number(admin, SESSIONS).await > 0 {
        sleep(Duration::from_millis(5)).await;
    }
}

async fn until(what: &str, mut reached: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !reached() {
        assert!(begun.elapsed() < Duration::from_mins(1), "waited in vain until {what}");
        sleep(Duration::from_millis(10)).await;
    }
}

/// What a replication would have brought: the keys of all requests.
async fn carry(from: &Client, to: &Client) {
    let rows = from.query("SELECT key::text FROM requests", &[]).await.unwrap();
    let keys: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    let sql = "INSERT INTO requests (key) SELECT unnest($1::text[])::uuid ON CONFLICT DO NOTHING";
    to.execute(sql, &[&keys]).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_load_follows_the_writer_and_every_check_of_the_move_can_fail() {
    let pair = Pair::new("moved").await;
    for server in [&pair.source, &pair.target] {
        seed(server, 5_000).await.unwrap();
    }
    let (source, target) = (superuser(&pair.source).await, superuser(&pair.target).await);
    close(&target).await;

    let path = pair.scratch.0.join("load.journal");
    let journal = Arc::new(Journal::open(&path).unwrap());
    let config = Config {
        way: Way::Databases(vec![pair.bank.source.app.clone(), pair.bank.target.app.clone()]),
        clients: 8,
        writes_per_second: 2_000,
        seed: 3,
        journal: Some(journal),
    };
    let prober = Prober::start(&pair.source, &pair.target, EVERY).unwrap();
    let load = Load::start(&config);
    let at_least = |wanted: u64| until("enough is acknowledged", move_past(&load, wanted));
    at_least(300).await;
    // Answers are lost before the move too; their writes are sent again.
    let begun = Instant::now();
    while load.totals().unknown == 0 {
        assert!(begun.elapsed() < Duration::from_mins(1), "{:?}", load.totals());
        number(&source, SESSIONS).await;
        sleep(Duration::from_millis(50)).await;
    }
    at_least(load.acknowledged() + 300).await;

    close(&source).await;
    let refused = prober.findings().refused;
    until("the closed source was asked", || prober.findings().refused > refused + 10).await;
    carry(&source, &target).await;
    can(&target, OPEN).await;
    at_least(load.acknowledged() + 300).await;
    until("the probes have seen the target open", || prober.findings().writer() == Some(Side::Target)).await;
    let totals = load.stop().await;

    let findings = prober.findings();
    assert_eq!(findings.overlaps(), [], "{findings:?}");
    let moves = findings.moves();
    assert_eq!(moves.len(), 1, "{moves:?}");
    assert_eq!(moves[0].before, Side::Source);
    assert!(moves[0].length() > EVERY, "{moves:?}");

    let ledger = Ledger::read(&path).unwrap();
    let verdict = check(&target, &ledger).await.unwrap();
    assert!(verdict.holds(), "{verdict}: {:?}", verdict.complaints());
    assert!(totals.unknown > 0 && verdict.present + verdict.absent > 0, "{verdict} {totals:?}");
    assert_eq!(verdict.present, totals.present, "{verdict} {totals:?}");
    assert_eq!(verdict.acknowledged, verdict.found);
    assert!(verdict.acknowledged >= totals.acknowledged(), "{verdict} {totals:?}");
    // The side that is left lacks what came after.
    assert!(!check(&source, &ledger).await.unwrap().missing.is_empty());

    each_check_can_fail(&target, &ledger, &verdict.to_string()).await;

    // Two writers at once, for a moment.
    assert_eq!(prober.findings().overlaps(), []);
    can(&source, OPEN).await;
    until("the probes have seen both open", || !prober.findings().overlaps().is_empty()).await;
    prober.stop();
    pair.stop().await;
}

fn move_past(load: &Load, wanted: u64) -> impl FnMut() -> bool {
    move || load.acknowledged() >= wanted
}

/// A row that is lost, there twice, or there without a reason is each found and named.
async fn each_check_can_fail(database: &Client, ledger: &Ledger, before: &str) {
    let text = |row: tokio_postgres::Row| row.get::<_, String>(0);
    let lost =
        "DELETE FROM requests WHERE key = (SELECT min(key::text)::uuid FROM requests) RETURNING key::text";
    let lost = text(database.query_one(lost, &[]).await.unwrap());
    let verdict = check(database, ledger).await.unwrap();
    assert_eq!(verdict.missing, [lost.as_str()], "{verdict}");
    assert!(!verdict.holds() && verdict.complaints().len() == 1);

    let back = format!("INSERT INTO requests (key) VALUES ('{lost}')");
    can(database, &back).await;
    assert_eq!(check(database, ledger).await.unwrap().to_string(), before);
    cannot(database, &back, "23505").await;
    can(database, "ALTER TABLE requests DROP CONSTRAINT requests_pkey").await;
    can(database, &back).await;
    let verdict = check(database, ledger).await.unwrap();
    assert_eq!(verdict.duplicated, [lost.as_str()], "{verdict}");
    assert!(!verdict.holds() && verdict.to_string().contains(" 0 missing, 1 duplicated;"), "{verdict}");

    can(database, &format!("DELETE FROM requests WHERE key = '{lost}'; {back}")).await;
    can(database, "INSERT INTO requests (key) VALUES (gen_random_uuid())").await;
    let verdict = check(database, ledger).await.unwrap();
    assert!(!verdict.holds() && verdict.to_string().ends_with("; 1 there without a reason"), "{verdict}");
}
