//! What a fence and a freeze take away comes back as it was; and what happens when a commit is not answered.

use std::sync::Arc;

use slipway::fault::Fault;
use slipway::postgres::{ClaimAs, Holder, claim, fence, freeze, recorded, thaw, unfence};

use super::moving::{fence_and_prove, guard, privileges, row, source, source_on, stands, state};
use super::observe::pave_roads;
use super::server::{Server, everything, leadership};

#[tokio::test]
async fn every_privilege_comes_back_as_it_was() {
    let leadership = leadership().await;
    let permit = leadership.permit();
    let (database, connection) = source("restored", &permit).await;
    pave_roads(&database).await;
    database
        .admin
        .batch_execute(
            "GRANT restored_direct, restored_dms TO restored_op;
             GRANT CONNECT, TEMPORARY ON DATABASE restored TO PUBLIC;
             GRANT CONNECT ON DATABASE restored TO restored_direct WITH GRANT OPTION;
             GRANT INSERT, UPDATE (note) ON columns TO PUBLIC;
             GRANT UPDATE (note), INSERT (id, note) ON columns TO restored_column WITH GRANT OPTION;
             REVOKE CONNECT ON DATABASE restored FROM restored_op, restored_dms;
             CREATE ROLE \"Odd, name\" NOLOGIN; GRANT DELETE, TRUNCATE, SELECT ON \"Transfer Log\" TO \"Odd, name\"",
        )
        .await
        .unwrap();
    let before = privileges(&database).await;
    for epoch in [3, 4] {
        let guard = guard(&database, epoch);
        fence_and_prove(&database, &connection, &permit, &guard).await;
        let fenced = privileges(&database).await;
        assert!(fenced.len() < before.len());
        assert_eq!(unfence(&connection, &permit, &guard).await.unwrap(), Vec::<String>::new());
        assert_eq!(privileges(&database).await, before);
        assert_eq!(row(&database).await, ("source".to_owned(), epoch));
        let notes = "SELECT FROM slipway.token_acl";
        assert!(database.admin.query(notes, &[]).await.unwrap().is_empty());
    }
}

#[tokio::test]
async fn what_is_gone_keeps_nothing_else_from_coming_back() {
    let leadership = leadership().await;
    let permit = leadership.permit();
    let (database, connection) = source("gone", &permit).await;
    pave_roads(&database).await;
    let guard = guard(&database, 3);
    fence_and_prove(&database, &connection, &permit, &guard).await;
    database
        .admin
        .batch_execute("DROP TABLE open_to_all; DROP OWNED BY gone_emptier; DROP ROLE gone_emptier; ALTER TABLE columns DROP COLUMN note")
        .await
        .unwrap();
    let told = unfence(&connection, &permit, &guard).await.unwrap();
    assert!(told.iter().any(|line| line.contains("gone_emptier")), "{told:?}");
    assert!(told.iter().any(|line| line.contains("(note)")), "{told:?}");
    let app = database.server.client("gone", "gone_app").await.unwrap();
    app.batch_execute("INSERT INTO accounts VALUES (1, 1)").await.unwrap();
    assert_eq!(row(&database).await.0, "source");
}

#[tokio::test]
async fn a_fence_that_is_built_again_stays_the_fence_it_was() {
    let leadership = leadership().await;
    let permit = leadership.permit();
    let (database, connection) = source("again", &permit).await;
    let before = privileges(&database).await;
    fence(&connection, &permit, &guard(&database, 3), &everything()).await.unwrap();
    let since = async || {
        let sql = "SELECT since::text, fence_id FROM slipway.token";
        let row = database.admin.query_one(sql, &[]).await.unwrap();
        (row.get::<_, String>(0), row.get::<_, String>(1))
    };
    let first = since().await;
    // Somebody opens a gate, and another leader fences anew.
    database.admin.batch_execute("GRANT CONNECT ON DATABASE again TO again_app").await.unwrap();
    let mut later = guard(&database, 5);
    later.fence_id = "5".to_owned();
    fence(&connection, &permit, &later, &everything()).await.unwrap();
    assert_eq!(since().await, first);
    assert!(database.server.client("again", "again_app").await.is_err());
    // The first leader's calls come late.
    let now = state(&database).await;
    assert!(matches!(unfence(&connection, &permit, &guard(&database, 3)).await, Err(Fault::Wait(_))));
    assert_eq!(state(&database).await, now);
    unfence(&connection, &permit, &later).await.unwrap();
    assert_eq!(privileges(&database).await, before);
    let token = recorded(&connection).await.unwrap().unwrap().token;
    assert_eq!((token.holder, token.epoch, token.fence_id), (Holder::Side(connection.side()), 5, None));
}

#[tokio::test]
async fn a_freeze_ends_replications_sessions_and_a_thaw_gives_back_exactly_that() {
    let leadership = leadership().await;
    let permit = leadership.permit();
    let (database, connection) = source("frozen", &permit).await;
    database
        .admin
        .batch_execute(
            "GRANT UPDATE (note) ON \"Transfer Log\" TO frozen_dms;
             GRANT INSERT ON accounts TO frozen_dms WITH GRANT OPTION;
             GRANT INSERT, UPDATE ON slipway.marker TO frozen_dms",
        )
        .await
        .unwrap();
    let guard = guard(&database, 3);
    fence_and_prove(&database, &connection, &permit, &guard).await;
    claim_as_side(&database).await;
    let before = privileges(&database).await;
    let dms = database.server.client("frozen", "frozen_dms").await.unwrap();
    dms.batch_execute("BEGIN; INSERT INTO accounts VALUES (1, 1)").await.unwrap();
    let found = stands(&database, &connection).await;
    assert!(found.replication_may_write && found.replication_sessions == 1, "{found:?}");

    freeze(&connection, &permit, &guard, &everything()).await.unwrap();
    // It is told to end; when it has is for an observation to say.
    let mut found = stands(&database, &connection).await;
    while found.replication_sessions > 0 {
        found = stands(&database, &connection).await;
    }
    assert!(!found.replication_may_write && found.write_locks == 0, "{found:?}");
    assert!(dms.batch_execute("COMMIT").await.is_err());
    assert!(database.server.client("frozen", "frozen_dms").await.is_err());
    let accounts: i64 = database.admin.query_one("SELECT count(*) FROM accounts", &[]).await.unwrap().get(0);
    assert_eq!(accounts, 0);

    for _ in 0..2 {
        assert_eq!(thaw(&connection, &permit, &guard).await.unwrap(), Vec::<String>::new());
        assert_eq!(privileges(&database).await, before);
    }
    let dms = database.server.client("frozen", "frozen_dms").await.unwrap();
    dms.batch_execute("INSERT INTO accounts VALUES (1, 1); UPDATE \"Transfer Log\" SET note = ''")
        .await
        .unwrap();
}

/// As if this were the side that the writer goes to.
async fn claim_as_side(database: &super::server::Database) {
    super::moving::put(database, "fenced", 3).await;
}

/// A standby that commits wait for and that is not there: the COMMIT is never answered, and has happened all the same.
#[tokio::test]
async fn a_commit_that_hangs_ends_by_our_deadline_and_the_row_tells() {
    let leadership = leadership().await;
    let permit = leadership.permit();
    let server = Arc::new(Server::start(2099));
    let (database, connection) = source_on(Arc::clone(&server), "hung", &permit).await;
    let wait_for = async |standby: &str| {
        let set = format!("ALTER SYSTEM SET synchronous_standby_names = '{standby}'");
        database.admin.batch_execute(&set).await.unwrap();
        database.admin.batch_execute("SELECT pg_reload_conf()").await.unwrap();
        let seen = "SELECT current_setting('synchronous_standby_names')";
        while database.admin.query_one(seen, &[]).await.unwrap().get::<_, String>(0) != standby {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    };
    database.admin.batch_execute("SET synchronous_commit = local").await.unwrap();
    wait_for("nobody").await;
    let check = slipway::postgres::precheck(&connection, &database.question()).await.unwrap();
    assert!(check.lost_synchronous_standby, "{check:?}");

    let guard = guard(&database, 3);
    let fault = fence(&connection, &permit, &guard, &everything()).await.unwrap_err();
    assert!(matches!(fault, Fault::Unknown(_)), "{fault:?}");
    assert!(!connection.is_usable());
    // Another session, which any leader can open, reads what came of it: when the server has taken up our plea to cancel.
    // Until then the commit holds the record's lock, so that nobody acts on what it is about to overtake.
    let second = becomes(&database, Holder::None).await;
    let fault = unfence(&second, &permit, &guard).await.unwrap_err();
    assert!(matches!(fault, Fault::Unknown(_)), "{fault:?}");
    let third = becomes(&database, Holder::Side(connection.side())).await;
    wait_for("").await;
    unfence(&third, &permit, &guard).await.unwrap();
    database.server.client("hung", "hung_app").await.unwrap();
    claim(&third, &permit, &guard, ClaimAs::Unchanged).await.unwrap();
}

/// A new session, as soon as the row has that holder.
async fn becomes(database: &super::server::Database, holder: Holder) -> slipway::postgres::Connection {
    let connection = database.open(slipway::side::Side::Source).await;
    for _ in 0..200 {
        let token = recorded(&connection).await.unwrap().unwrap().token;
        if token.holder == holder {
            assert_eq!(token.epoch, 3);
            return connection;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    panic!("{:?}", recorded(&connection).await);
}
