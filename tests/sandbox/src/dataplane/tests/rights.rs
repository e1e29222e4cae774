//! The role's rights or its login vanish while the task runs: it ends by an error, or waits, and never skips a change.

use super::*;

/// As the freeze of a cutover does it: no new login, no writing.
const FREEZE: &str = "BEGIN;
    REVOKE CONNECT ON DATABASE target FROM PUBLIC;
    REVOKE INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public FROM dms;
    COMMIT";
const THAW: &str = "BEGIN;
    GRANT CONNECT ON DATABASE target TO PUBLIC;
    GRANT INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO dms;
    COMMIT";
const SESSIONS: &str =
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'dms' AND datname = 'target'";
const WRITE: &str =
    "UPDATE account SET owner = owner || '+' WHERE id = 1; DELETE FROM entry WHERE account = 2";

async fn followed(rows: u32, change: impl FnOnce(&mut Bench)) -> (Bench, String) {
    let mut bench = Bench::new(rows).await;
    change(&mut bench);
    bench.begin(Start::FullLoadAndCdc).await;
    let slot = bench.running().await;
    bench.progress(|_, done, _| done).await;
    bench.drain().await;
    (bench, slot)
}

async fn fatal(bench: &mut Bench) -> String {
    let (reason, _) = bench.stopped().await;
    let Stopped::Fatal(why) = reason else { panic!("{reason:?}") };
    why
}

/// No change was skipped, or passed over with a note.
async fn nothing_was_skipped(bench: &Bench) {
    bench.compare().await;
    let target = bench.server.admin("target").await;
    let noted = "SELECT count(*) FROM awsdms_control.awsdms_apply_exceptions";
    assert_eq!(target.query_one(noted, &[]).await.unwrap().get::<_, i64>(0), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_that_may_not_write_ends_and_goes_on_where_it_was() {
    for strict in [true, false] {
        let (mut bench, slot) = followed(100, |bench| bench.task.settings.strict = strict).await;
        let (source, target) = (bench.server.admin("source").await, bench.server.admin("target").await);
        target.batch_execute("REVOKE UPDATE, DELETE ON account, entry FROM dms").await.unwrap();
        source.batch_execute(WRITE).await.unwrap();
        let why = fatal(&mut bench).await;
        assert!(why.contains("public.account") && why.contains("42501"), "{why}");

        // Without its rights it ends again, and has still skipped nothing.
        bench.begin(Start::Resume { slot: slot.clone() }).await;
        assert!(fatal(&mut bench).await.contains("42501"));
        target.batch_execute("GRANT UPDATE, DELETE ON account, entry TO dms").await.unwrap();
        bench.begin(Start::Resume { slot }).await;
        bench.running().await;
        bench.drain().await;
        nothing_was_skipped(&bench).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_that_may_not_log_in_ends_even_with_nothing_to_do() {
    let (mut bench, slot) = followed(100, |_| {}).await;
    let (source, target) = (bench.server.admin("source").await, bench.server.admin("target").await);
    let refusals = [(FREEZE, THAW), ("ALTER ROLE dms NOLOGIN", "ALTER ROLE dms LOGIN")];
    for (take, give) in refusals {
        target.batch_execute(take).await.unwrap();
        target.execute(SESSIONS, &[]).await.unwrap();
        let why = fatal(&mut bench).await;
        assert!(why.contains("permission denied") || why.contains("not permitted to log in"), "{why}");
        source.batch_execute(WRITE).await.unwrap();
        target.batch_execute(give).await.unwrap();
        bench.begin(Start::Resume { slot: slot.clone() }).await;
        bench.running().await;
        bench.drain().await;
        nothing_was_skipped(&bench).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_that_waits_for_its_rights_can_be_stopped_meanwhile_and_goes_on_by_itself() {
    let (mut bench, slot) = followed(100, |bench| bench.task.waits_for_rights = true).await;
    let (source, target) = (bench.server.admin("source").await, bench.server.admin("target").await);
    target.batch_execute(FREEZE).await.unwrap();
    target.execute(SESSIONS, &[]).await.unwrap();
    source.batch_execute(WRITE).await.unwrap();
    // It keeps trying: each refused login is in the server's log.
    bench.refused_logins(3).await;
    bench.order_stop().await;
    let (reason, _) = bench.stopped().await;
    assert_eq!(reason, Stopped::Normal);

    bench.begin(Start::Resume { slot }).await;
    bench.refused_logins(3).await;
    target.batch_execute(THAW).await.unwrap();
    bench.running().await;
    bench.drain().await;
    nothing_was_skipped(&bench).await;

    // So it does when only a table is closed to it.
    target.batch_execute("REVOKE UPDATE ON account FROM dms").await.unwrap();
    source.batch_execute(WRITE).await.unwrap();
    source.batch_execute("UPDATE account SET owner = owner || '!' WHERE id = 3").await.unwrap();
    target.batch_execute("GRANT UPDATE ON account TO dms").await.unwrap();
    bench.drain().await;
    nothing_was_skipped(&bench).await;
}
