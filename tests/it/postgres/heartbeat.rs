//! The heartbeat, carried across by hand.

use std::time::Duration;

use jiff::SignedDuration;
use slipway::fault::Fault;
use slipway::postgres::beat;
use slipway::postgres::fence_target;
use slipway::postgres::prepare_source;
use slipway::side::Side;

use super::server::{Database, everything, leadership};

/// Copies the marker's rows as they are, as replication would.
async fn replicate(source: &Database, target: &Database) {
    let rows = source.admin.query("SELECT k, at::text, beat FROM slipway.marker", &[]).await.unwrap();
    for row in rows {
        let (k, at, beat): (String, String, i64) = (row.get(0), row.get(1), row.get(2));
        let sql =
            "INSERT INTO slipway.marker (k, attempt, at, beat) VALUES ($1, 0, $2::text::timestamptz, $3)
                   ON CONFLICT (k) DO UPDATE SET at = excluded.at, beat = excluded.beat";
        target.admin.query(sql, &[&k, &at, &beat]).await.unwrap();
    }
}

#[tokio::test]
async fn a_beat_is_measured_when_it_arrives_and_when_it_does_not() {
    let (here, there) = (Database::make("beating").await, Database::make("hearing").await);
    let (source, target) = (here.open(Side::Source).await, there.open(Side::Target).await);
    let leadership = leadership().await;
    let permit = leadership.permit();
    prepare_source(&source, &permit, &here.migration("uid-1")).await.unwrap();
    fence_target(&target, &permit, &there.migration("uid-1"), &everything()).await.unwrap();

    let short = Duration::from_millis(50);
    let fault = beat(&source, &target, &permit, short).await.unwrap_err();
    assert!(matches!(&fault, Fault::Again(message) if message.contains("heartbeat")), "{fault:?}");

    // A row that an earlier life of the source left there, with a higher number: never taken for a new beat.
    let relic = "INSERT INTO slipway.marker VALUES ('heartbeat', 0, NULL, now() - interval '1 day', 500)";
    there.admin.batch_execute(relic).await.unwrap();
    let lag = beat(&source, &target, &permit, short).await.unwrap();
    assert!(!lag.arrived && lag.age >= SignedDuration::from_hours(24), "{lag:?}");

    replicate(&here, &there).await;
    let lag = beat(&source, &target, &permit, short).await.unwrap();
    assert!(!lag.arrived && lag.age >= SignedDuration::from_millis(50), "{lag:?}");
    assert!(lag.age < SignedDuration::from_hours(1), "{lag:?}");

    let replication = async {
        loop {
            replicate(&here, &there).await;
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let lag = tokio::select! {
        lag = beat(&source, &target, &permit, Duration::from_mins(1)) => lag.unwrap(),
        () = replication => unreachable!(),
    };
    assert!(lag.arrived && lag.age >= SignedDuration::ZERO, "{lag:?}");
    let fault = beat(&target, &source, &permit, short).await.unwrap_err();
    assert!(matches!(fault, Fault::Bug(_)), "{fault:?}");
}
