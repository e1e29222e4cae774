//! Against real servers: what is on the source must be on the target, whatever happened on the way.
#![allow(clippy::unwrap_used, clippy::panic)]

mod bench;
mod rights;
mod server;

use std::time::Duration;

use bench::{Bench, Writer};
use server::{PASSWORD, Server};
use tokio::sync::mpsc;

use super::DataPlane;
use crate::{
    certificates::Authority,
    plane::{Changes, Database, Effect, Load, Report, Start, Stopped, TableReport, Tls, Validation},
};

fn find<'a>(tables: &'a [TableReport], name: &str) -> &'a TableReport {
    tables.iter().find(|table| table.table.name == name).unwrap()
}

fn total(changes: Changes) -> u64 {
    changes.inserts + changes.updates + changes.deletes
}

async fn writers(bench: &Bench, stubborn: bool) -> Writer {
    let mut clients = Vec::new();
    for _ in 0..3 {
        clients.push(bench.server.admin("source").await);
    }
    Writer::start(clients, stubborn)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn loads_and_follows_under_writes() {
    let mut bench = Bench::new(5_000).await;
    let writer = writers(&bench, false).await;
    bench.begin(Start::FullLoadAndCdc).await;
    let slot = bench.running().await;
    assert!(slot.starts_with("xpto3xwnvek6kq3z_"), "{slot}");
    bench.progress(|_, done, _| done).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let written = writer.stop().await;
    assert!(written > 100, "{written}");
    bench.drain().await;
    bench.compare().await;

    let tables = bench.progress(|_, _, waiting| waiting == 0).await;
    assert_eq!(tables.len(), 5);
    for table in &tables {
        assert_eq!(table.load, Load::Completed);
        assert_eq!(table.captured, table.applied, "{table:?}");
    }
    assert!(find(&tables, "account").full_load_rows >= 5_000);
    assert!(total(find(&tables, "account").applied) > 0);
    let tables = bench
        .progress(|tables, _, _| {
            tables
                .iter()
                .all(|table| !matches!(table.validation, Validation::Pending | Validation::PendingRecords))
        })
        .await;
    for table in &tables {
        let expected = if table.table.name == "nokey" { Validation::NoKey } else { Validation::Validated };
        assert_eq!(table.validation, expected, "{table:?}");
    }

    // The slot is held by a walsender of the DMS role and does not keep the log of an idle task.
    let source = bench.server.admin("source").await;
    source.batch_execute("CREATE TABLE unrelated AS SELECT generate_series(1, 10000)").await.unwrap();
    let position: String =
        source.query_one("SELECT pg_current_wal_insert_lsn()::text", &[]).await.unwrap().get(0);
    let sql = "SELECT s.active, a.usename::text, s.confirmed_flush_lsn >= $2::text::pg_lsn
               FROM pg_replication_slots s JOIN pg_stat_activity a ON a.pid = s.active_pid WHERE slot_name = $1";
    let mut confirmed = false;
    for _ in 0..300 {
        let row = source.query_one(sql, &[&slot, &position]).await.unwrap();
        assert!(row.get::<_, bool>(0));
        assert_eq!(row.get::<_, &str>(1), "dms");
        confirmed = row.get(2);
        if confirmed {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(confirmed);

    bench.order_stop().await;
    let (reason, position) = bench.stopped().await;
    assert_eq!(reason, Stopped::Normal);
    assert!(position.unwrap().contains('/'));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn survives_the_loss_of_any_connection() {
    let mut bench = Bench::new(30_000).await;
    bench.task.settings.validation = false;
    let writer = writers(&bench, false).await;
    let admin = bench.server.admin("postgres").await;
    bench.begin(Start::FullLoadAndCdc).await;
    let murder = tokio::spawn(async move {
        // First always when tables are being copied, then at any moment.
        let while_loading = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE usename = 'dms'
            AND EXISTS (SELECT FROM pg_stat_activity WHERE application_name = 'AWS DMS full load' AND query LIKE 'COPY%')";
        let any = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE usename = 'dms'";
        let (mut loads, mut killed) = (0, 0);
        while loads < 4 {
            tokio::time::sleep(Duration::from_millis(5)).await;
            let now = admin.query_one(while_loading, &[]).await.unwrap().get::<_, i64>(0);
            loads += i64::from(now > 0);
        }
        for round in 0..30_u64 {
            tokio::time::sleep(Duration::from_millis(40 + round * 97 % 700)).await;
            killed += admin.query_one(any, &[]).await.unwrap().get::<_, i64>(0);
        }
        killed
    });
    let killed = murder.await.unwrap();
    assert!(killed > 10, "{killed}");
    writer.stop().await;
    bench.progress(|_, done, _| done).await;
    bench.drain().await;
    bench.compare().await;

    // And the servers themselves.
    for _ in 0..3 {
        let writer = writers(&bench, true).await;
        tokio::time::sleep(Duration::from_millis(700)).await;
        bench.server.crash();
        writer.stop().await;
    }
    bench.drain().await;
    bench.compare().await;
    let tables = bench.progress(|_, _, waiting| waiting == 0).await;
    for table in &tables {
        assert_eq!(table.captured, table.applied, "{table:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stops_and_resumes_where_it_was() {
    let mut bench = Bench::new(500).await;
    bench.begin(Start::FullLoadAndCdc).await;
    let slot = bench.running().await;
    for _ in 0..3 {
        let writer = writers(&bench, false).await;
        tokio::time::sleep(Duration::from_millis(500)).await;
        bench.order_stop().await;
        assert_eq!(bench.stopped().await.0, Stopped::Normal);
        writer.stop().await;
        bench.begin(Start::Resume { slot: slot.clone() }).await;
        assert_eq!(bench.running().await, slot);
    }
    bench.drain().await;
    bench.compare().await;
    bench.order_stop().await;
    bench.stopped().await;

    // Reloading without removing what is there can't work, and says so.
    bench.begin(Start::Reload).await;
    let (reason, _) = bench.stopped().await;
    let Stopped::Fatal(why) = reason else { panic!("{reason:?}") };
    assert!(why.contains("full load of table") && why.contains("duplicate key"), "{why}");

    let source = bench.server.admin("source").await;
    let sql = "SELECT count(pg_drop_replication_slot(slot_name)) FROM pg_replication_slots WHERE NOT active";
    source.query_one(sql, &[]).await.unwrap();
    bench.begin(Start::Resume { slot: slot.clone() }).await;
    let (reason, _) = bench.stopped().await;
    let Stopped::Fatal(why) = reason else { panic!("{reason:?}") };
    assert!(why.contains(&slot) && why.contains("does not exist"), "{why}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_load_that_was_cut_off_is_finished_by_a_resume() {
    let mut bench = Bench::new(30_000).await;
    let writer = writers(&bench, false).await;
    bench.begin(Start::FullLoadAndCdc).await;
    let slot = bench.running().await;
    for _ in 0..3 {
        tokio::time::sleep(Duration::from_millis(20)).await;
        bench.power_cut().await;
        bench.begin(Start::Resume { slot: slot.clone() }).await;
        bench.running().await;
    }
    let tables = bench.progress(|_, done, _| done).await;
    assert!(find(&tables, "account").full_load_rows >= 30_000);
    bench.power_cut().await;
    bench.begin(Start::Resume { slot }).await;
    writer.stop().await;
    bench.drain().await;
    bench.compare().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_applied_stops_a_strict_task_and_is_noted_by_a_lenient_one() {
    let mut bench = Bench::new(100).await;
    let source = bench.server.admin("source").await;
    let target = bench.server.admin("target").await;
    bench.begin(Start::FullLoadAndCdc).await;
    let slot = bench.running().await;
    bench.progress(|_, done, _| done).await;
    let clash = "INSERT INTO entry VALUES (1, 77, 1, 'here first')";
    target.batch_execute(clash).await.unwrap();
    target
        .batch_execute("SET session_replication_role = replica; DELETE FROM account WHERE id = 2")
        .await
        .unwrap();
    source.batch_execute("UPDATE account SET owner = 'before' WHERE id = 3").await.unwrap();
    source
        .batch_execute("BEGIN; UPDATE account SET owner = 'x' WHERE id = 1; INSERT INTO entry VALUES (1, 77, 1, 'later'); COMMIT")
        .await
        .unwrap();
    source.batch_execute("UPDATE account SET owner = 'y' WHERE id = 2").await.unwrap();
    let (reason, _) = bench.stopped().await;
    let Stopped::Fatal(why) = reason else { panic!("{reason:?}") };
    assert!(why.contains("INSERT into table public.entry") && why.contains("duplicate key"), "{why}");
    let owners = "SELECT string_agg(owner, ',' ORDER BY id) FROM account WHERE id IN (1, 3)";
    let owner: String = target.query_one(owners, &[]).await.unwrap().get(0);
    assert_eq!(owner, "Müller 1,before", "a transaction is applied as a whole or not at all");

    bench.task.settings.strict = false;
    bench.begin(Start::Resume { slot }).await;
    bench.running().await;
    bench.drain().await;
    let owner: String = target.query_one(owners, &[]).await.unwrap().get(0);
    assert_eq!(owner, "x,before");
    let noted = target
        .query(
            "SELECT table_name, error FROM awsdms_control.awsdms_apply_exceptions ORDER BY error_time",
            &[],
        )
        .await
        .unwrap();
    assert_eq!(noted.len(), 2);
    assert!(noted[0].get::<_, &str>(1).contains("duplicate key"));
    assert!(noted[1].get::<_, &str>(1).starts_with("0 rows"));
    let tables = bench.progress(|_, _, waiting| waiting == 0).await;
    let account = find(&tables, "account");
    assert_eq!(account.captured.updates, account.applied.updates + 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_and_tables_in_the_way_of_the_load_are_named() {
    let mut bench = Bench::new(50).await;
    let target = bench.server.admin("target").await;
    let row = "INSERT INTO account OVERRIDING SYSTEM VALUE VALUES (7, 'here first', 1)";
    target.batch_execute(row).await.unwrap();
    bench.begin(Start::FullLoadAndCdc).await;
    let (reason, _) = bench.stopped().await;
    let Stopped::Fatal(why) = reason else { panic!("{reason:?}") };
    assert!(why.contains("full load of table public.account") && why.contains("duplicate key"), "{why}");
    let rows: i64 = target.query_one("SELECT count(*) FROM account", &[]).await.unwrap().get(0);
    assert_eq!(rows, 1, "what was there is not removed");

    target.batch_execute("DROP TABLE nokey").await.unwrap();
    bench.begin(Start::FullLoadAndCdc).await;
    let (reason, _) = bench.stopped().await;
    let Stopped::Fatal(why) = reason else { panic!("{reason:?}") };
    assert!(why.contains("table public.nokey does not exist on the target"), "{why}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn validation_finds_what_differs_and_nothing_else() {
    let mut bench = Bench::new(2_000).await;
    // Here it's also shown that without the recovery table all is well as long as nothing breaks.
    bench.task.settings.recovery_table = false;
    bench.begin(Start::FullLoadAndCdc).await;
    bench.running().await;
    let writer = writers(&bench, false).await;
    let validated = |tables: &[TableReport]| {
        tables.iter().all(|table| matches!(table.validation, Validation::Validated | Validation::NoKey))
    };
    bench
        .progress(|tables, done, _| {
            assert!(tables.iter().all(|table| table.validation != Validation::Mismatched), "{tables:?}");
            done && validated(tables)
        })
        .await;
    let target = bench.server.admin("target").await;
    target
        .batch_execute(
            "UPDATE account SET balance = 1.10 WHERE id = 1999; DELETE FROM entry WHERE account = 1998",
        )
        .await
        .unwrap();
    let tables = bench
        .progress(|tables, _, _| {
            ["account", "entry"].iter().all(|name| find(tables, name).validation == Validation::Mismatched)
        })
        .await;
    assert_eq!(find(&tables, "account").validation_failed, 1);
    assert_eq!(find(&tables, "entry").validation_failed, 3);
    writer.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connection_tests_obey_the_tls_mode_and_say_why() {
    let server = Server::start().await;
    let (effects, effects_seen) = mpsc::channel(16);
    let (reports_told, mut reports) = mpsc::channel(16);
    let _plane = DataPlane::start(effects_seen, reports_told);
    let good = server.endpoint("source");
    let other_ca = Authority::new("another").unwrap().pair().certificate.clone();
    let with = |tls: Tls| Database { tls, ..good.clone() };
    let by_address = |tls: Tls| Database { host: "127.0.0.1".into(), tls, ..good.clone() };
    let ca = server.ca.clone();
    let cases = [
        (good.clone(), None),
        (with(Tls::Require), None),
        (with(Tls::VerifyCa(ca.clone())), None),
        (by_address(Tls::VerifyCa(ca.clone())), None),
        (by_address(Tls::Require), None),
        (by_address(Tls::VerifyFull(ca)), Some("certificate")),
        (with(Tls::VerifyFull(other_ca.clone())), Some("certificate")),
        (with(Tls::VerifyCa(other_ca)), Some("certificate")),
        (with(Tls::VerifyCa("not PEM".into())), Some("certificate")),
        (with(Tls::None), Some("authentication failed")),
        (Database { password: "wrong".into(), ..good.clone() }, Some("authentication failed")),
        (Database { database: "nowhere".into(), ..good.clone() }, Some("database does not exist")),
        (Database { port: 1, ..good.clone() }, Some("could not connect")),
        (Database { host: "no-such-host.invalid".into(), ..good.clone() }, Some("could not connect")),
    ];
    for (database, expected) in cases {
        let effect = Effect::TestConnection {
            instance_arn: "rep".into(),
            endpoint_arn: "endpoint".into(),
            database: database.clone(),
        };
        effects.send(effect).await.unwrap();
        let Some(Report::ConnectionTested { result, .. }) = reports.recv().await else { panic!() };
        match (result, expected) {
            (Ok(()), None) => {}
            (Err(message), Some(expected)) => {
                assert!(message.contains(expected), "{database:?}: {message}");
                assert!(!message.contains(PASSWORD) && !message.contains("wrong"), "{message}");
            }
            (result, _) => panic!("{database:?}: {result:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_is_applied_after_its_latency_and_none_is_held_back_for_ever() {
    let mut bench = Bench::new(600).await;
    bench.task.apply_latency = Duration::from_millis(400);
    bench.begin(Start::FullLoadAndCdc).await;
    bench.running().await;
    bench.progress(|_, done, _| done).await;
    let begun = std::time::Instant::now();
    bench.drain().await;
    assert!(begun.elapsed() >= bench.task.apply_latency);
    // Many at once take no longer than one.
    let writer = writers(&bench, false).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(writer.stop().await > 50);
    bench.drain().await;
    bench.compare().await;
}
