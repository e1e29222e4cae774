//! How reconcile gets called: watches, concurrency, health, shutdown.

pub mod accounts;
pub mod backoff;
pub mod health;
pub mod lease;

use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::{FutureExt, StreamExt};
use jiff::Timestamp;
use kube::core::DeserializeGuard;
use kube::runtime::controller::{Action, Controller};
use kube::runtime::events::{Recorder, Reporter};
use kube::runtime::reflector::ObjectRef;
use kube::runtime::{reflector, watcher};
use kube::{Api, Client, ResourceExt};

use crate::api::condition::Reason;
use crate::api::database::DatabaseMigration;
use crate::database;
use crate::database::context::{Context, Pace};
use crate::fault::Fault;
use crate::metrics::{Metrics, Outcome};
use crate::permit::Leadership;
use accounts::Accounts;
use health::Readiness;

/// A reconcile that takes longer is given up; the next one looks at what it left. Longer than the longest
/// `spec.cutover.maxWriteOutage`, which ends a move by itself.
const RECONCILE_MAX: Duration = Duration::from_mins(12);
/// Migrations looked after at once.
const CONCURRENCY: u16 = 8;
/// A change of the same object within this time is looked at once.
const DEBOUNCE: Duration = Duration::from_millis(50);

type Guarded = DeserializeGuard<DatabaseMigration>;

/// How to run.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where `/metrics`, `/healthz` and `/readyz` listen.
    pub health_address: SocketAddr,
    /// Which namespace uses which AWS account.
    pub accounts: Accounts,
    /// How often to look again.
    pub pace: Pace,
}

/// Why the operator could not run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No Kubernetes.
    #[error("reading the Kubernetes configuration: {0}")]
    Config(String),
    /// The health address is taken.
    #[error("listening on {address} for /healthz and /metrics: {source}")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// Why not.
        source: std::io::Error,
    },
    /// Another part of this process acts already.
    #[error("another operator runs in this process")]
    NotLeader,
}

/// Runs until `stop` resolves; then lets running reconciles finish.
///
/// # Errors
/// When it can't start.
pub async fn run(
    settings: Settings,
    stop: impl Future<Output = ()> + Clone + Send + Sync + 'static,
) -> Result<(), Error> {
    let mut config = kube::Config::infer().await.map_err(|error| Error::Config(error.to_string()))?;
    // Retries are ours: one layer, visible, and with what was learned in between.
    config.default_retry = false;
    let client = Client::try_from(config).map_err(|error| Error::Config(error.to_string()))?;
    let metrics = Metrics::default();
    let readiness = Readiness::default();
    let (address, health) =
        health::serve(settings.health_address, metrics.clone(), readiness.clone(), stop.clone())
            .await
            .map_err(|source| Error::Listen { address: settings.health_address, source })?;
    tracing::info!(%address, "serving /healthz, /readyz and /metrics");
    let reporter = Reporter { controller: "slipway".to_owned(), instance: std::env::var("POD_NAME").ok() };
    let context = Arc::new(Context::new(
        client.clone(),
        settings.accounts,
        Leadership::acquire().ok_or(Error::NotLeader)?,
        metrics,
        Recorder::new(client.clone(), reporter),
        settings.pace,
    ));
    let migrations = Api::<Guarded>::all(client);
    let controller = Controller::new(migrations, watcher::Config::default());
    tokio::spawn(become_ready(controller.store(), readiness));
    let store = controller.store();
    context.watch(Box::new(move |known| {
        let name =
            ObjectRef::<Guarded>::new(&known.name_any()).within(&known.namespace().unwrap_or_default());
        let found = store.get(&name)?;
        found.0.as_ref().ok().cloned()
    }));
    controller
        .with_config(kube::runtime::Config::default().concurrency(CONCURRENCY).debounce(DEBOUNCE))
        .graceful_shutdown_on(stop)
        .run(|object, context| Box::pin(guard(object, context)), after_failure, context)
        .for_each(|result| async move {
            if let Err(error) = result {
                tracing::debug!(%error, "reconcile");
            }
        })
        .await;
    tracing::info!("stopped; nothing runs any more");
    health.abort();
    Ok(())
}

/// The store wakes only the last of those who wait for it (one waker in kube-runtime's `DelayedInit`), and the controller
/// waits, too: so this asks again each second.
async fn become_ready(store: reflector::Store<Guarded>, readiness: Readiness) {
    loop {
        match tokio::time::timeout(Duration::from_secs(1), store.wait_until_ready()).await {
            Ok(Ok(())) => break,
            Ok(Err(_)) => return,
            Err(_) => {}
        }
    }
    readiness.set();
    tracing::info!("ready");
}

/// One reconcile, fenced in: a malformed object, a hang or a panic of one migration never stops the others.
async fn guard(object: Arc<Guarded>, context: Arc<Context>) -> Result<Action, Fault> {
    let migration = match &object.0 {
        Ok(migration) => migration,
        Err(error) => {
            tracing::error!(name = object.name_any(), %error, "the object does not fit its CRD; waiting for it to change");
            count(&context, "malformed");
            return Ok(Action::await_change());
        }
    };
    let started = tokio::time::Instant::now();
    let work = AssertUnwindSafe(database::reconcile(migration, &context, Timestamp::now())).catch_unwind();
    let result = match tokio::time::timeout(RECONCILE_MAX, Box::pin(work)).await {
        Ok(Ok(result)) => result,
        Ok(Err(_)) => Err(Fault::Bug("a reconcile panicked; the log has the place".to_owned())),
        Err(_) => Err(Fault::Unknown(format!("a reconcile took longer than {} s", RECONCILE_MAX.as_secs()))),
    };
    context.metrics.reconcile_seconds.observe(started.elapsed().as_secs_f64());
    match result {
        Ok(pause) => {
            count(&context, "ok");
            Ok(Action::requeue(pause))
        }
        Err(fault) => {
            count(&context, fault.class());
            if matches!(fault, Fault::Bug(_)) {
                let blocked = crate::fault::Blocked::new(
                    Reason::InternalError,
                    fault.message(),
                    "This is an error in Slipway: please report it with the operator's log",
                );
                // A bug is told, too; if that can't be written either, the log has it.
                let told = database::publish::refused(migration, &context, &blocked, Timestamp::now()).await;
                tracing::error!(
                    migration = migration.name_any(),
                    fault = fault.message(),
                    told = told.is_ok(),
                    "bug"
                );
            }
            Err(fault)
        }
    }
}

fn count(context: &Context, outcome: &'static str) {
    context.metrics.reconciles.get_or_create(&Outcome { outcome }).inc();
}

/// Only what could not be reported ends here.
#[allow(clippy::needless_pass_by_value)] // the controller's signature
fn after_failure(object: Arc<Guarded>, fault: &Fault, _: Arc<Context>) -> Action {
    tracing::warn!(name = object.name_any(), class = fault.class(), fault = fault.message(), "not reported");
    match fault {
        Fault::Wait(_) | Fault::Unknown(_) => Action::requeue(Duration::from_millis(500)),
        Fault::Again(_) | Fault::Blocked(_) => Action::requeue(Duration::from_secs(5)),
        Fault::Bug(_) => Action::requeue(Duration::from_mins(10)),
    }
}
