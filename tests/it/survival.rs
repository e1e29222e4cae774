//! A replication outlives what happens to databases, tasks and passwords.

use std::time::Duration;

use kube::Api;
use kube::api::{Patch, PatchParams};
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::sleep;

use crate::crash::EVERY;
use crate::crash::bench::{Bench, events};
use crate::crash::replies::order;
use crate::journey::{NAME, View, spec, texts};

const TASK: &str = "dms-task-payments-db-dev";

impl Bench {
    /// Waits until the migration is Ready again, and both sides are equal.
    async fn recovers(&self, uid: &str) -> View {
        let view = self
            .journey
            .until(NAME, "Ready again", |view| {
                view.is_current() && view.is("Ready", "True", "Replicating") && view.uid() == uid
            })
            .await;
        self.proved(&view).await;
        view
    }

    /// Waits until AWS says that the task runs, and the operator has seen what there was to see.
    async fn until_task(&self, wanted: &str) {
        self.journey
            .until(NAME, &format!("task {wanted}"), |view| {
                view.status()["replication"]["taskStatus"].as_str().is_some_and(|now| now.starts_with(wanted))
            })
            .await;
    }

    /// How often the task was started or resumed.
    fn starts(&self) -> usize {
        let changes = self.journey.changes();
        changes.iter().filter(|change| *change == "dms:StartReplicationTask").count()
    }
}

/// Ends every session of DMS on both servers.
async fn end_sessions(bench: &Bench) -> usize {
    let sql =
        "SELECT pid::text, pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'slipway_dms'";
    texts(&bench.journey.sandbox.source, sql).await.len()
        + texts(&bench.journey.sandbox.target, sql).await.len()
}

#[tokio::test(flavor = "multi_thread")]
async fn it_outlives_its_servers_and_its_task() {
    let (mut bench, view) = Box::pin(Bench::replicating("servers")).await;
    let uid = view.uid().to_owned();

    for _ in 0..3 {
        assert!(end_sessions(&bench).await > 0, "DMS had no session");
        bench.recovers(&uid).await;
    }
    bench.journey.sandbox.target.restart().await.unwrap();
    bench.recovers(&uid).await;
    bench.journey.sandbox.source.restart().await.unwrap();
    bench.recovers(&uid).await;
    bench.new_operator().await;
    bench.journey.sandbox.target.kill().await.unwrap();
    sleep(Duration::from_secs(1)).await;
    bench.journey.sandbox.target.restart().await.unwrap();
    bench.recovers(&uid).await;
    bench.journey.sandbox.source.kill().await.unwrap();
    sleep(Duration::from_secs(1)).await;
    bench.journey.sandbox.source.restart().await.unwrap();
    bench.recovers(&uid).await;

    bench.new_operator().await;
    let starts = bench.starts();
    order(&bench.journey, &format!("fail-task {TASK} recoverable"));
    bench
        .journey
        .eventually(crate::journey::PATIENCE, "a resume", || async {
            if bench.starts() > starts { Ok(()) } else { Err(format!("{} starts", bench.starts())) }
        })
        .await;
    bench.recovers(&uid).await;
    bench.end().await;
}

/// All that happens while a task is stopped by an error, which is resumed by itself after a minute.
#[tokio::test(flavor = "multi_thread")]
async fn it_outlives_a_fatal_stop_and_the_fence_is_held_meanwhile() {
    let (mut bench, view) = Box::pin(Bench::replicating("fatal")).await;
    let uid = view.uid().to_owned();
    let starts = bench.starts();
    order(&bench.journey, &format!("fail-task {TASK} fatal a row that does not fit"));
    let view = bench.journey.until(NAME, "TaskFailed", |view| view.is("Stalled", "True", "TaskFailed")).await;
    assert!(view.message("Stalled").contains("resumed by itself"), "{}", view.describe());

    // A grant by hand, for which nobody waits until the task runs again.
    bench.new_operator().await;
    bench.journey.on_target("GRANT CONNECT ON DATABASE payments TO payments_app; GRANT INSERT ON public.accounts TO payments_app").await;
    let may = "SELECT 'may' WHERE has_database_privilege('payments_app', 'payments', 'CONNECT') OR has_table_privilege('payments_app', 'public.accounts', 'INSERT')";
    bench
        .journey
        .eventually(crate::journey::PATIENCE, "the fence", || async {
            let may = texts(&bench.journey.sandbox.target, may).await;
            if may.is_empty() { Ok(()) } else { Err("payments_app may write".to_owned()) }
        })
        .await;
    let told = events(&bench.journey, &view).await;
    let refenced = told.iter().any(|(_, event)| event.contains("FenceTarget") || event.contains("ence"));
    assert!(refenced, "{told:?}");

    if std::env::var_os(EVERY).is_none() {
        bench.end().await;
        return;
    }
    bench
        .journey
        .eventually(crate::journey::PATIENCE, "a resume", || async {
            if bench.starts() > starts { Ok(()) } else { Err(format!("{} starts", bench.starts())) }
        })
        .await;
    bench.recovers(&uid).await;
    bench.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_slot_is_never_resumed() {
    let (bench, _) = Box::pin(Bench::replicating("slot")).await;
    bench.journey.until_replicating(NAME).await;
    let starts = bench.starts();
    order(&bench.journey, &format!("fail-task {TASK} recoverable"));
    bench
        .journey
        .eventually(crate::journey::PATIENCE, "the slot dropped by hand", || async {
            let drop = "SELECT slot_name::text, pg_drop_replication_slot(slot_name) FROM pg_replication_slots
                WHERE NOT temporary AND NOT active";
            let dropped = texts(&bench.journey.sandbox.source, drop).await;
            if dropped.is_empty() { Err("it is in use".to_owned()) } else { Ok(()) }
        })
        .await;
    let lost = |view: &View| view.is("Stalled", "True", "SlotLost");
    let view = bench.journey.until(NAME, "SlotLost", lost).await;
    assert!(view.message("Stalled").contains("load"), "{}", view.describe());
    // Longer than the pause before a resume.
    sleep(Duration::from_secs(8)).await;
    assert_eq!(bench.starts(), starts, "resumed without its slot");
    bench.journey.delete(NAME).await;
    bench.gone(&view).await;
    bench.end().await;
}

/// Hands connections on, as if the server listened on another port.
async fn other_port(port: u16) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let other = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut here, _)) = listener.accept().await {
            tokio::spawn(async move {
                if let Ok(mut there) = TcpStream::connect(("127.0.0.1", port)).await {
                    let _ = tokio::io::copy_bidirectional(&mut here, &mut there).await;
                }
            });
        }
    });
    other
}

#[tokio::test(flavor = "multi_thread")]
async fn it_follows_its_source_to_another_port_and_its_passwords_to_new_ones() {
    let (mut bench, view) = Box::pin(Bench::replicating("moves")).await;
    let uid = view.uid().to_owned();

    let port = other_port(bench.journey.sandbox.source.port()).await;
    let before = bench.journey.changes().len();
    bench.journey.patch(NAME, spec(json!({"source": {"endpoint": {"port": port}}}))).await.unwrap();
    bench.clean.made =
        bench.clean.made.iter().map(|line| moved(line, bench.journey.sandbox.source.port(), port)).collect();
    bench.recovers(&uid).await;
    let changes = bench.journey.changes().split_off(before);
    let mut expected =
        ["dms:StopReplicationTask", "dms:ModifyEndpoint", "dms:TestConnection", "dms:StartReplicationTask"]
            .iter();
    let mut next = expected.next();
    for change in &changes {
        if Some(change.as_str()) == next.copied() {
            next = expected.next();
        }
    }
    assert_eq!(next, None, "{changes:?}");

    // All four passwords, in the database first, as a rotation does. Neither task nor operator stops for it.
    bench.new_operator().await;
    bench.journey.until_replicating(NAME).await;
    let starts = bench.starts();
    for (side, server) in
        [("source", &bench.journey.sandbox.source), ("target", &bench.journey.sandbox.target)]
    {
        for who in ["dms", "operator"] {
            let password = format!("kanarienvogel-of-of-{who}-on-{side}");
            crate::journey::execute(server, &format!("ALTER ROLE slipway_{who} PASSWORD '{password}'")).await;
            let secrets: Api<k8s_openapi::api::core::v1::Secret> =
                Api::namespaced(bench.journey.client.clone(), "default");
            let patch = json!({"stringData": {"password": password}});
            let name = format!("{side}-{who}");
            secrets.patch(&name, &PatchParams::default(), &Patch::Merge(&patch)).await.unwrap();
        }
    }
    bench.new_operator().await;
    bench.journey.until_replicating(NAME).await;
    assert_eq!(bench.starts(), starts, "a new password is no reason to stop");
    // The next time that DMS logs in it needs the new one.
    bench.clean.made.clear();
    end_sessions(&bench).await;
    bench
        .journey
        .eventually(crate::journey::PATIENCE, "endpoints with the new passwords", || async {
            let modified =
                bench.journey.changes().iter().filter(|change| *change == "dms:ModifyEndpoint").count();
            if modified >= 3 { Ok(()) } else { Err(format!("{modified} modifications")) }
        })
        .await;
    bench.recovers(&uid).await;
    bench.until_task("running").await;
    bench.end().await;
}

fn moved(line: &str, from: u16, to: u16) -> String {
    if line.contains("endpoint-source") {
        line.replace(&from.to_string(), &to.to_string())
    } else {
        line.to_owned()
    }
}
