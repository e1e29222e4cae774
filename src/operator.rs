//! How reconcile gets called: leadership, watches, concurrency, health, shutdown.

pub mod accounts;
pub mod backoff;
pub mod context;
pub mod health;
pub mod leader;
pub mod lease;
pub mod objects;

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
use kube::{Api, Client, Resource, ResourceExt};
use tokio::sync::{oneshot, watch};
use tokio::task::{JoinError, JoinHandle};

use crate::api::application::ApplicationMigration;
use crate::api::condition::Reason;
use crate::api::database::DatabaseMigration;
use crate::fault::{Blocked, Fault};
use crate::metrics::{Metrics, Outcome};
use crate::permit::{Leadership, Term};
use crate::{application, database};
use accounts::Accounts;
use context::{Context, Pace};
use health::Readiness;
use leader::{Candidate, Election, Standing};

/// A reconcile that takes longer is given up; the next one looks at what it left. Longer than the longest
/// `spec.cutover.maxWriteOutage`, which ends a move by itself.
const RECONCILE_MAX: Duration = Duration::from_mins(12);
/// Running reconciles may take this long after SIGTERM. One in the midst of a move that takes longer is dropped: whoever
/// leads next goes on with it, and sooner than if it waited for this one.
const GRACE: Duration = Duration::from_secs(10);
/// Giving the Lease back may take this long.
const GIVE_BACK_WITHIN: Duration = Duration::from_secs(3);
/// Migrations looked after at once.
const CONCURRENCY: u16 = 8;
/// A change of the same object within this time is looked at once.
const DEBOUNCE: Duration = Duration::from_millis(50);

type Guarded<K> = DeserializeGuard<K>;

/// How to run.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where `/metrics`, `/healthz` and `/readyz` listen.
    pub health_address: SocketAddr,
    /// Which namespace uses which AWS account.
    pub accounts: Accounts,
    /// How often to look again.
    pub pace: Pace,
    /// Which Lease, and who asks for it.
    pub candidate: Candidate,
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
    /// It may not lead, or leads no more.
    #[error(transparent)]
    Leader(#[from] leader::Error),
    /// Nobody renews the Lease any more.
    #[error("the task that renews the Lease ended: {0}")]
    Renewal(#[from] JoinError),
}

/// Runs until `stop` resolves; then lets running reconciles finish and gives the Lease back. While somebody else holds it,
/// this waits.
///
/// # Errors
/// When it can't start, and when the Lease is lost: then the process must end at once, since what is under way may not go
/// on. Permits have ended by then.
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
    let term = Term::default();
    let leadership = Leadership::acquire().ok_or(Error::NotLeader)?.within(term.clone());
    let election = Election::new(client.clone(), settings.candidate.clone(), term, metrics.clone());
    let standing = election.standing();
    let (finish, finished) = oneshot::channel();
    // By itself, so that nothing that a reconcile does can keep the Lease from being renewed.
    let mut renewal = tokio::spawn(election.run(finished));
    tokio::select! {
        () = lead(standing, readiness.clone()) => {
            let work = act(settings, client, leadership, metrics, readiness, stop.clone());
            tokio::select! {
                () = work => {}
                ended = &mut renewal => return over(ended),
                () = overdue(stop.clone()) => {
                    tracing::warn!("steps did not end within {} s; whoever leads next goes on with them", GRACE.as_secs());
                }
            }
        }
        ended = &mut renewal => return over(ended),
        () = stop.clone() => {}
    }
    let _ = finish.send(());
    give_back(renewal).await?;
    tracing::info!("stopped; nothing runs any more");
    health.abort();
    Ok(())
}

/// Returns when this process leads. One that follows is ready: what it is there for, it does.
async fn lead(mut standing: watch::Receiver<Standing>, readiness: Readiness) {
    loop {
        let now = *standing.borrow_and_update();
        match now {
            Standing::Leads => return,
            Standing::Follows => readiness.set(),
            Standing::Unknown => {}
        }
        if standing.changed().await.is_err() {
            // Its task has ended, and tells why by itself.
            std::future::pending::<()>().await;
        }
    }
}

/// The task that renews the Lease ended while it should not.
fn over(ended: Result<Result<(), leader::Error>, JoinError>) -> Result<(), Error> {
    Ok(ended??)
}

async fn overdue(stop: impl Future<Output = ()>) {
    stop.await;
    tokio::time::sleep(GRACE).await;
}

/// A Lease that is lost just now is nobody's trouble any more; one that can't be given back expires.
async fn give_back(renewal: JoinHandle<Result<(), leader::Error>>) -> Result<(), Error> {
    if let Ok(ended) = tokio::time::timeout(GIVE_BACK_WITHIN, renewal).await {
        return over(ended);
    }
    tracing::warn!("the Lease was not given back in time; others wait until it expires");
    Ok(())
}

/// Looks after migrations until `stop` resolves and what was under way has ended.
async fn act(
    settings: Settings,
    client: Client,
    leadership: Leadership,
    metrics: Metrics,
    readiness: Readiness,
    stop: impl Future<Output = ()> + Send + Sync + 'static,
) {
    let reporter = Reporter { controller: "slipway".to_owned(), instance: std::env::var("POD_NAME").ok() };
    let context = Arc::new(Context::new(
        client.clone(),
        settings.accounts,
        leadership,
        metrics,
        Recorder::new(client.clone(), reporter),
        settings.pace,
    ));
    let databases =
        Controller::new(Api::<Guarded<DatabaseMigration>>::all(client.clone()), watcher::Config::default());
    let applications =
        Controller::new(Api::<Guarded<ApplicationMigration>>::all(client), watcher::Config::default());
    tokio::spawn(become_ready(databases.store(), applications.store(), readiness));
    let store = databases.store();
    context.watch(Box::new(move |known| {
        let name = ObjectRef::<Guarded<DatabaseMigration>>::new(&known.name_any())
            .within(&known.namespace().unwrap_or_default());
        let found = store.get(&name)?;
        found.0.as_ref().ok().cloned()
    }));
    let stop = stop.shared();
    tokio::join!(drive(databases, &context, stop.clone()), drive(applications, &context, stop));
}

/// Calls reconcile for each object of one kind.
async fn drive<K: Served>(
    controller: Controller<Guarded<K>>,
    context: &Arc<Context>,
    stop: impl Future<Output = ()> + Send + Sync + 'static,
) {
    controller
        .with_config(kube::runtime::Config::default().concurrency(CONCURRENCY).debounce(DEBOUNCE))
        .graceful_shutdown_on(stop)
        .run(|object, context| Box::pin(guard(object, context)), after_failure, Arc::clone(context))
        .for_each(|result| async move {
            if let Err(error) = result {
                tracing::debug!(%error, "reconcile");
            }
        })
        .await;
}

/// A kind that is looked after.
trait Served: objects::Kind + Send + 'static {
    /// One look at an object, and what follows from it.
    fn reconcile(
        object: &Self,
        context: &Arc<Context>,
    ) -> impl Future<Output = Result<Duration, Fault>> + Send;

    /// Says in its status that a person must act.
    fn refused(
        object: &Self,
        context: &Context,
        blocked: &Blocked,
    ) -> impl Future<Output = Result<(), Fault>> + Send;
}

impl Served for DatabaseMigration {
    async fn reconcile(object: &Self, context: &Arc<Context>) -> Result<Duration, Fault> {
        Box::pin(database::reconcile(object, context, Timestamp::now())).await
    }

    async fn refused(object: &Self, context: &Context, blocked: &Blocked) -> Result<(), Fault> {
        database::publish::refused(object, context, blocked, Timestamp::now()).await
    }
}

impl Served for ApplicationMigration {
    async fn reconcile(object: &Self, context: &Arc<Context>) -> Result<Duration, Fault> {
        Box::pin(application::reconcile(object, context)).await
    }

    async fn refused(object: &Self, context: &Context, blocked: &Blocked) -> Result<(), Fault> {
        application::publish::refused(object, context, blocked, Timestamp::now()).await
    }
}

/// The store wakes only the last of those who wait for it (one waker in kube-runtime's `DelayedInit`), and the controller
/// waits, too: so this asks again each second.
async fn become_ready(
    databases: reflector::Store<Guarded<DatabaseMigration>>,
    applications: reflector::Store<Guarded<ApplicationMigration>>,
    readiness: Readiness,
) {
    loop {
        let both = futures::future::try_join(databases.wait_until_ready(), applications.wait_until_ready());
        match tokio::time::timeout(Duration::from_secs(1), both).await {
            Ok(Ok(_)) => break,
            Ok(Err(_)) => return,
            Err(_) => {}
        }
    }
    readiness.set();
    tracing::info!("ready");
}

/// One reconcile, fenced in: a malformed object, a hang or a panic of one migration never stops the others.
async fn guard<K: Served>(object: Arc<Guarded<K>>, context: Arc<Context>) -> Result<Action, Fault> {
    let migration = match &object.0 {
        Ok(migration) => migration,
        Err(error) => {
            let error = without_values(&error.error);
            let name = object.name_any();
            tracing::error!(name, error, "the object does not fit its CRD; waiting for it to change");
            count(&context, "malformed");
            objects::malformed(&object.object_ref(&()), &context, &error).await;
            return Ok(Action::await_change());
        }
    };
    let started = tokio::time::Instant::now();
    let work = AssertUnwindSafe(K::reconcile(migration, &context)).catch_unwind();
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
                let blocked = Blocked::new(
                    Reason::InternalError,
                    fault.message(),
                    "This is an error in Slipway: please report it with the operator's log",
                );
                // A bug is told, too; if that can't be written either, the log has it.
                let told = K::refused(migration, &context, &blocked).await;
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

/// What does not fit may be a password that somebody wrote into the wrong field, and readers repeat it. Only what they
/// expected, and the name of a field that is missing, is surely ours.
fn without_values(error: &str) -> String {
    let lower = error.to_ascii_lowercase();
    if lower.starts_with("missing field") {
        return error.to_owned();
    }
    let kinds = ["unknown variant", "invalid type", "invalid value", "invalid length"];
    match (kinds.into_iter().find(|kind| lower.starts_with(kind)), lower.rfind("expected")) {
        (Some(kind), Some(at)) => format!("{kind}, {}", error[at..].trim_end_matches(')')),
        (Some(kind), None) => kind.to_owned(),
        (None, _) => "a value can't be read".to_owned(),
    }
}

fn count(context: &Context, outcome: &'static str) {
    context.metrics.reconciles.get_or_create(&Outcome { outcome }).inc();
}

/// Only what could not be reported ends here.
#[allow(clippy::needless_pass_by_value)] // the controller's signature
fn after_failure<K: Served>(object: Arc<Guarded<K>>, fault: &Fault, _: Arc<Context>) -> Action {
    tracing::warn!(name = object.name_any(), class = fault.class(), fault = fault.message(), "not reported");
    match fault {
        Fault::Wait(_) | Fault::Unknown(_) => Action::requeue(Duration::from_millis(500)),
        Fault::Again(_) | Fault::Blocked(_) => Action::requeue(Duration::from_secs(5)),
        Fault::Bug(_) => Action::requeue(Duration::from_mins(10)),
    }
}

#[cfg(test)]
mod tests {
    use super::without_values;

    #[test]
    fn what_does_not_fit_is_not_repeated() {
        for (error, told) in [
            (
                "invalid type: string \"hunter2 \"x\"\", expected struct SecretRef",
                "invalid type, expected struct SecretRef",
            ),
            (
                "Unknown variant hunter2 (expected one of [\"Plan\", \"Replicate\"])",
                "unknown variant, expected one of [\"Plan\", \"Replicate\"]",
            ),
            ("failed to parse year in \"hunter2\": expected a digit, not hunter2", "a value can't be read"),
            ("missing field `source`", "missing field `source`"),
        ] {
            assert_eq!(without_values(error), told);
        }
    }
}
