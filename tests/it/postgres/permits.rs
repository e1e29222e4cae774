//! A change asks its permit before it begins and before it is committed.

use std::time::Duration;

use slipway::fault::Fault;
use slipway::permit::{Term, clock};
use slipway::postgres::{drop_slot, fence_target, note_slot, prepare_source};
use slipway::side::Side;
use tokio::time::sleep;

use super::server::{Database, everything, leadership};

const RECORD: &str = "SELECT to_regclass('slipway.token') IS NOT NULL";
/// The lock that every change of the record takes first.
const LOCK: &str = "SELECT pg_advisory_lock(x'736c6970776179'::bigint)";
const UNLOCK: &str = "SELECT pg_advisory_unlock(x'736c6970776179'::bigint)";
const WAITS: &str = "SELECT EXISTS (SELECT FROM pg_stat_activity
    WHERE datname = current_database() AND wait_event_type = 'Lock')";

async fn is(database: &Database, sql: &str) -> bool {
    database.admin.query_one(sql, &[]).await.unwrap().get(0)
}

fn refused(fault: &Fault) -> bool {
    matches!(fault, Fault::Again(why) if why.contains("not sent"))
}

#[tokio::test]
async fn without_the_lease_nothing_is_begun() {
    let database = Database::make("unpermitted").await;
    let leadership = leadership().await.within(Term::default());
    let (permit, migration) = (leadership.permit(), database.migration("uid-1"));
    let (source, target) = (database.open(Side::Source).await, database.open(Side::Target).await);
    for outcome in [
        fence_target(&target, &permit, &migration, &everything()).await,
        prepare_source(&source, &permit, &migration).await,
        note_slot(&source, &permit, "s").await,
    ] {
        let fault = outcome.unwrap_err();
        assert!(refused(&fault), "{fault}");
    }
    // What has no effect needs no permit.
    drop_slot(&source, &permit, "no_such_slot").await.unwrap();
    assert!(!is(&database, RECORD).await);
}

#[tokio::test]
async fn what_was_begun_in_time_is_not_committed_too_late() {
    let database = Database::make("permitted_until").await;
    let term = Term::default();
    term.set(Some(clock() + Duration::from_mins(1)));
    let leadership = leadership().await.within(term.clone());
    let (permit, migration) = (leadership.permit(), database.migration("uid-1"));
    let source = database.open(Side::Source).await;
    database.admin.query_one(LOCK, &[]).await.unwrap();
    let paused = async {
        while !is(&database, WAITS).await {
            sleep(Duration::from_millis(5)).await;
        }
        term.set(None);
        database.admin.query_one(UNLOCK, &[]).await.unwrap();
    };
    let (outcome, ()) = tokio::join!(prepare_source(&source, &permit, &migration), paused);
    let fault = outcome.unwrap_err();
    assert!(refused(&fault), "{fault}");
    assert!(!is(&database, RECORD).await, "rolled back");

    term.set(Some(clock() + Duration::from_mins(1)));
    prepare_source(&source, &permit, &migration).await.unwrap();
    assert!(is(&database, RECORD).await);
}
