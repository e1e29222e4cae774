#![allow(clippy::unwrap_used)]

use super::*;
use crate::bank::tests::{Pair, superuser};
use crate::bank::{Config, Load, SCHEMA, Way, seed};

async fn run(client: &Client, sql: &str) {
    client.batch_execute(sql).await.unwrap();
}

fn found(comparison: &Comparison) -> Vec<String> {
    assert_eq!(comparison.unresolved, []);
    comparison.differences.iter().map(ToString::to_string).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_kind_of_difference_is_found_and_no_other() {
    let pair = Pair::new("exact").await;
    let (mut source, mut target) = (superuser(&pair.source).await, superuser(&pair.target).await);
    // The enums have other numbers on the two sides, the columns another order, one side a dropped column.
    run(&target, "CREATE TYPE unrelated AS ENUM ('x')").await;
    let types = "CREATE SCHEMA t; CREATE TYPE t.mood AS ENUM ('good', 'bad')";
    run(&source, types).await;
    run(&target, types).await;
    run(&source, "CREATE TABLE t.\"odd \"\"name\" (a text, b integer, n numeric, m t.mood[], j jsonb, f float8, PRIMARY KEY (b, a))").await;
    run(&target, "CREATE TABLE t.\"odd \"\"name\" (gone integer, n numeric, m t.mood[], j jsonb, f float8, b integer, a text, PRIMARY KEY (b, a));
                  ALTER TABLE t.\"odd \"\"name\" DROP COLUMN gone").await;
    let rows = "INSERT INTO t.\"odd \"\"name\" (a, b, n, m, j, f)
                SELECT 'k' || i, i % 10, i / 10.0, '{good,NULL}', '{\"v\": 1.0}', i FROM generate_series(1, 5000) AS i";
    run(&source, rows).await;
    run(&target, rows).await;

    let at_rest = Following::AtRest;
    let equal = compare(&mut source, &mut target, &["t"], &at_rest).await.unwrap();
    assert!(equal.equal(), "{equal}");
    assert_eq!((equal.tables, equal.rows), (1, 5000));

    run(
        &target,
        "SET search_path = t;
         DELETE FROM \"odd \"\"name\" WHERE a = 'k1';
         INSERT INTO \"odd \"\"name\" (a, b) VALUES ('extra', -1);
         UPDATE \"odd \"\"name\" SET n = '1.10' WHERE a = 'k11';
         UPDATE \"odd \"\"name\" SET m = '{bad,NULL}' WHERE a = 'k22';
         UPDATE \"odd \"\"name\" SET j = '{\"v\": 1.00}' WHERE a = 'k33';
         UPDATE \"odd \"\"name\" SET f = '-0' WHERE a = 'zero';
         UPDATE \"odd \"\"name\" SET a = 'moved' WHERE a = 'k44'",
    )
    .await;
    let differing = compare(&mut source, &mut target, &["t"], &at_rest).await.unwrap();
    assert!(!differing.equal());
    let table = "t.odd \"name";
    let expected = [
        format!("{table} (-1, extra): extra on target"),
        format!("{table} (1, k1): missing on target"),
        format!("{table} (1, k11): different"),
        format!("{table} (2, k22): different"),
        format!("{table} (3, k33): different"),
        format!("{table} (4, k44): missing on target"),
        format!("{table} (4, moved): extra on target"),
    ];
    assert_eq!(found(&differing), expected);

    // Nothing compared, or something that can't be, is an error.
    let error = async |source: &mut Client, target: &mut Client, schema: &str| {
        compare(source, target, &[schema], &Following::AtRest).await.unwrap_err().to_string()
    };
    assert!(error(&mut source, &mut target, "nowhere").await.contains("has no table"));
    for (sql, expected) in [
        ("CREATE SCHEMA u; CREATE TABLE u.nokey (n integer)", "no primary key"),
        ("CREATE SCHEMA v; CREATE TABLE v.scale (n numeric(9, 2) PRIMARY KEY)", ""),
    ] {
        run(&source, sql).await;
        run(&target, sql).await;
        if !expected.is_empty() {
            assert!(error(&mut source, &mut target, "u").await.contains(expected));
        }
    }
    run(&target, "ALTER TABLE v.scale ALTER n TYPE numeric(9, 3)").await;
    assert!(error(&mut source, &mut target, "v").await.contains("defined otherwise"));
    run(&target, "DROP TABLE v.scale; CREATE TABLE v.other (n integer PRIMARY KEY)").await;
    assert!(error(&mut source, &mut target, "v").await.contains("target has no table v.scale"));
    run(&source, "DROP TABLE v.scale; CREATE TABLE v.other (n integer PRIMARY KEY); DROP TABLE v.other")
        .await;
    assert!(error(&mut source, &mut target, "v").await.contains("has no table"));
    pair.stop().await;
}

/// PostgreSQL's own replication carries the bank across here: a second opinion that shares nothing with the stand-in's.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_in_flight_are_no_differences_and_planted_ones_are_found_under_load() {
    let pair = Pair::new("inflight").await;
    seed(&pair.source, 20_000).await.unwrap();
    let (mut source, mut target) = (superuser(&pair.source).await, superuser(&pair.target).await);
    // Otherwise an idle target tells how far it is only every ten seconds.
    run(&target, "ALTER SYSTEM SET wal_receiver_status_interval = 1").await;
    run(&target, "SELECT pg_reload_conf()").await;
    run(&source, "CREATE PUBLICATION bank FOR ALL TABLES").await;
    let ca = pair.scratch.0.join("ca.crt");
    std::fs::write(&ca, pair.source.ca()).unwrap();
    let from = pair.bank.source.dms.dsn(&ca).replace('\'', "''");
    run(&target, &format!("CREATE SUBSCRIPTION bank CONNECTION '{from}' PUBLICATION bank")).await;
    run(
        &target,
        "CREATE TABLE awsdms_control.awsdms_txn_state (task_name text PRIMARY KEY, applied_lsn pg_lsn)",
    )
    .await;

    let login = pair.bank.source.app.clone();
    let config = Config {
        way: Way::Databases(vec![login]),
        clients: 4,
        writes_per_second: 300,
        seed: 2,
        journal: None,
    };
    let load = Load::start(&config);
    let loaded = async {
        let pending = "SELECT count(*) FROM pg_subscription_rel WHERE srsubstate <> 'r'";
        while target.query_one(pending, &[]).await.unwrap().get::<_, i64>(0) > 0 {
            sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_mins(1), loaded).await.unwrap();

    let following = Following::Position {
        control_schema: "awsdms_control".into(),
        task: "t".into(),
        patience: Duration::from_mins(1),
    };
    let equal = compare(&mut source, &mut target, &[SCHEMA], &following).await.unwrap();
    assert!(equal.equal(), "{equal}");
    assert_eq!(equal.tables, 11);
    assert!(equal.rows > 20_000);

    // Rows that the load never touches, so that replication does not stumble over what was done to them.
    run(
        &target,
        "SET session_replication_role = replica;
         DELETE FROM public.audit WHERE id = 1;
         INSERT INTO public.rates (currency, valid_on, rate) VALUES ('zzz', '1999-01-01', 1);
         UPDATE public.transfers SET purpose = NULL WHERE id = 1;
         UPDATE public.transfers SET purpose = '' WHERE id = 4;
         UPDATE public.transfers SET purpose = '' WHERE id = 5",
    )
    .await;
    let differing = compare(&mut source, &mut target, &[SCHEMA], &following).await.unwrap();
    let expected = [
        "public.audit (1): missing on target",
        "public.rates (zzz, 1999-01-01): extra on target",
        "public.transfers (1): different",
        "public.transfers (4): different",
    ];
    assert_eq!(found(&differing), expected);
    let totals = load.stop().await;
    assert_eq!((totals.refused, totals.unknown), (0, 0), "{totals:?}");

    // At rest it says the same.
    let still = compare(&mut source, &mut target, &[SCHEMA], &following).await.unwrap();
    assert_eq!(found(&still), expected);

    // Cut off, the target may only be late: that is no verdict. With the position noted as applied, it is one.
    run(&target, "ALTER SUBSCRIPTION bank DISABLE").await;
    run(&source, "DELETE FROM public.audit WHERE id = 2").await;
    let hurried = Following::Position {
        control_schema: "awsdms_control".into(),
        task: "t".into(),
        patience: Duration::from_millis(100),
    };
    let late = compare(&mut source, &mut target, &[SCHEMA], &hurried).await.unwrap_err().to_string();
    assert!(late.contains("waiting until the target has applied"), "{late}");
    run(&target, "INSERT INTO awsdms_control.awsdms_txn_state VALUES ('t', 'FFFFFFFF/0')").await;
    let after = compare(&mut source, &mut target, &[SCHEMA], &hurried).await.unwrap();
    assert_eq!(
        found(&after)[..2],
        ["public.audit (1): missing on target", "public.audit (2): extra on target"]
    );
    pair.stop().await;
}

#[test]
fn a_row_that_moves_is_neither_equal_nor_different() {
    let seen = |hash, version: &str| Some(Seen::new(hash, version));
    let suspect = || Suspect { table: 0, key: vec!["1".into()], confirmed: 1, how: How::Different };
    let judge = |s1: Option<Seen>, d: Option<Seen>, s2: Option<Seen>| {
        judge(suspect(), s1.as_ref(), d.as_ref(), s2.as_ref()).map(|s| (s.confirmed, s.how))
    };
    assert_eq!(judge(seen(1, "a"), seen(1, "x"), seen(2, "b")), None);
    assert_eq!(judge(seen(1, "a"), seen(2, "x"), seen(2, "b")), None);
    assert_eq!(judge(None, None, seen(2, "b")), None);
    assert_eq!(judge(seen(1, "a"), seen(3, "x"), seen(1, "a")), Some((2, How::Different)));
    assert_eq!(judge(seen(1, "a"), None, seen(1, "a")), Some((2, How::MissingOnTarget)));
    assert_eq!(judge(None, seen(3, "x"), None), Some((2, How::ExtraOnTarget)));
    // There and back again between the looks: the same values in another version.
    assert_eq!(judge(seen(1, "a"), seen(3, "x"), seen(1, "b")), Some((0, How::Different)));
    assert_eq!(judge(seen(1, "a"), seen(3, "x"), seen(2, "b")), Some((0, How::Different)));
}
