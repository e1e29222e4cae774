//! The connection is cut in the middle of COMMIT, before it took effect and after: what became of it is read from the row.

use sandbox::bank::{self, probe::Side};
use sandbox::postgres::connect_local;
use serde_json::json;

use super::Night;
use crate::journey::NAME;

/// Whether the COMMIT whose answer is lost was carried out.
#[derive(Clone, Copy, Debug)]
enum Cut {
    Before,
    After,
}

/// Cuts the operator's session with the source in the COMMIT that writes this holder.
async fn cut_in_the_commit_of(holder: &str, cut: Cut) {
    println!("cut in the COMMIT of {holder}: {cut:?}");
    let test = format!("cut-{holder}-{cut:?}").to_lowercase();
    let mut night = Box::pin(Night::begin(&test, |object| {
        object["spec"]["cutover"]["maxWriteOutage"] = json!("30s");
    }))
    .await;
    let dsn = night.journey.sandbox.source.superuser_dsn(bank::DATABASE);
    let holding = connect_local(&dsn).await.unwrap();
    holding
        .batch_execute(&format!(
            "SELECT pg_advisory_lock(4712);
             CREATE FUNCTION public.hold_commit() RETURNS trigger LANGUAGE plpgsql AS $$
             BEGIN PERFORM pg_advisory_xact_lock(4712); RETURN NULL; END $$;
             CREATE CONSTRAINT TRIGGER hold_commit AFTER UPDATE ON slipway.token DEFERRABLE INITIALLY DEFERRED
                FOR EACH ROW WHEN (OLD.holder <> NEW.holder AND NEW.holder = '{holder}') EXECUTE FUNCTION public.hold_commit()"
        ))
        .await
        .unwrap();
    night.goal("CutOver").await;
    let looking = connect_local(&dsn).await.unwrap();
    let waits = "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND objid = 4712 AND NOT granted";
    let pid: i32 = loop {
        if let Some(row) = looking.query_opt(waits, &[]).await.unwrap() {
            break row.get(0);
        }
    };
    let terminate = format!("SELECT pg_terminate_backend({pid})");
    match cut {
        Cut::Before => looking.batch_execute(&terminate).await.unwrap(),
        Cut::After => {
            // Carried out, it hangs for want of a standby, and is not visible to anybody until it is cut.
            looking.batch_execute("ALTER SYSTEM SET synchronous_standby_names = 'nobody'").await.unwrap();
            looking.batch_execute("SELECT pg_reload_conf()").await.unwrap();
            let defined = "SELECT current_setting('synchronous_standby_names') = 'nobody'";
            while !looking.query_one(defined, &[]).await.unwrap().get::<_, bool>(0) {}
            holding.batch_execute("SELECT pg_advisory_unlock_all()").await.unwrap();
            let hangs = format!(
                "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE pid = {pid} AND wait_event = 'SyncRep')"
            );
            while !looking.query_one(&hangs, &[]).await.unwrap().get::<_, bool>(0) {}
            looking.batch_execute(&terminate).await.unwrap();
            looking.batch_execute("ALTER SYSTEM RESET synchronous_standby_names").await.unwrap();
            looking.batch_execute("SELECT pg_reload_conf()").await.unwrap();
        }
    }
    drop(holding);
    let view = Box::pin(night.until_phase("Soaking")).await;
    assert_eq!(view.status()["writer"], "Target", "{}", view.describe());
    night.writes().await;
    let findings = night.proved().await;
    assert_eq!(findings.writer(), Some(Side::Target));
    assert_eq!(findings.moves().len(), 1, "{:?}", findings.moves());
    assert!(night.journey.view(NAME).await.status()["latch"].is_null());
    night.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cut_in_the_fences_commit_the_writer_arrives() {
    for cut in [Cut::Before, Cut::After] {
        Box::pin(cut_in_the_commit_of("none", cut)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn cut_in_the_promotions_commit_the_writer_arrives() {
    for cut in [Cut::Before, Cut::After] {
        Box::pin(cut_in_the_commit_of("target", cut)).await;
    }
}
