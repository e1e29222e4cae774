//! Support for journeys: a whole sandbox with the example's Secrets, the operator as a process of its own, and looks at
//! what a user would see. A look that waits in vain shows what it saw last and the end of the operator's log.

use std::future::Future;
use std::path::PathBuf;
use std::time::Duration;

use kube::api::{DeleteParams, DynamicObject, Patch, PatchParams};
use kube::{Api, Client};
use sandbox::bank;
use sandbox::canary;
use sandbox::cluster::{audit, manifests};
use sandbox::postgres::{Server, connect_local};
use sandbox::process::{Running, Signal};
use sandbox::sandbox as stage;
use sandbox::sandbox::{Environment, Options, Sandbox};
use sandbox::serve::journal::Record;
use serde_json::{Value, json};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::{Instant, sleep};

use crate::crash::inventory;

pub use view::View;

mod view;

/// Long enough for a machine with more to do; nothing waits for it in vain but a test that fails.
pub const PATIENCE: Duration = Duration::from_secs(90);
/// The name of the example's migration.
pub const NAME: &str = "payments-db";
/// How often the operator looks at what a person must mend.
const RETRY: Duration = Duration::from_millis(200);
const LOOK: Duration = Duration::from_millis(50);
const GRACE: Duration = Duration::from_secs(30);
/// A sandbox is six processes; more than two at once would only wait for each other.
static PLACES: Semaphore = Semaphore::const_new(2);

/// A sandbox with the CRDs, the example's Secrets and a small bank on the source; the operator runs from
/// [`Journey::start_operator`] on. Dropping it ends everything.
pub struct Journey {
    /// The whole of it.
    pub sandbox: Sandbox,
    /// With all rights.
    pub client: Client,
    /// More flags for the operator's next start, as `--accounts FILE`.
    pub flags: Vec<String>,
    /// How often the operator looks at what a person must mend, from its next start on.
    pub retry: Duration,
    /// Seconds that the operator's Lease lasts. Longer than usual, since nobody starts an operator again that ended because
    /// a busy machine's API server was slow.
    pub lease: u32,
    operator: Option<Running>,
    directory: PathBuf,
    _place: SemaphorePermit<'static>,
}

impl Journey {
    /// With the namespace `default`. `test` names its directory.
    pub async fn begin(test: &str) -> Self {
        Self::begin_with(test, |_| {}).await
    }

    /// With other options than the usual.
    pub async fn begin_with(test: &str, change: impl FnOnce(&mut Options)) -> Self {
        let place = PLACES.acquire().await.unwrap();
        let name = format!("slipway-journey-{test}-{}", std::process::id());
        let directory = std::env::temp_dir().join(name);
        let mut options = Options::new(&directory);
        change(&mut options);
        let sandbox = Box::pin(Sandbox::start(&options)).await.unwrap();
        let client = sandbox.cluster.client().await.unwrap();
        Box::pin(stage::install_crds(&client)).await.unwrap();
        Box::pin(stage::apply_secrets(&client, &sandbox.environment)).await.unwrap();
        bank::seed(&sandbox.source, 0).await.unwrap();
        Self {
            sandbox,
            client,
            flags: Vec::new(),
            retry: RETRY,
            lease: 60,
            operator: None,
            directory,
            _place: place,
        }
    }

    /// No secret in any log, migration, event or metric, nor in a name, tag or text that was given to AWS.
    pub async fn no_canary(&self) {
        let directory = self.sandbox.directory().path();
        let mut leaks = canary::search(&self.client, directory).await.unwrap();
        let in_aws: Vec<String> = inventory::take(&self.sandbox.aws).all().into_iter().collect();
        leaks.extend(canary::in_text("AWS", &in_aws.join("\n")));
        assert!(leaks.is_empty(), "{leaks:#?}");
    }

    /// Ends everything in order and removes what a passed test leaves behind.
    pub async fn end(mut self) {
        self.no_canary().await;
        if self.operator.is_some() {
            self.stop_operator().await;
        }
        self.sandbox.stop().await.unwrap();
        std::fs::remove_dir_all(&self.directory).unwrap();
    }

    /// Starts the operator's process; it looks again without long pauses.
    pub fn start_operator(&mut self) {
        let lease = ["--lease-duration".to_owned(), self.lease.to_string()];
        let flags: Vec<String> = self.flags.iter().cloned().chain(lease).collect();
        self.operator = Some(self.start_in("slipway-0", &flags));
    }

    /// Starts another operator beside it, in a pod of its own.
    pub fn start_beside(&self, pod: &str, flags: &[&str]) -> Running {
        let flags: Vec<String> = flags.iter().map(|flag| (*flag).to_owned()).collect();
        self.start_in(pod, &flags)
    }

    fn start_in(&self, pod: &str, more: &[String]) -> Running {
        let mut flags = vec!["--retry".to_owned(), self.retry.as_secs_f64().to_string()];
        flags.extend_from_slice(more);
        let binary = PathBuf::from(env!("CARGO_BIN_EXE_slipway"));
        let poll = Duration::from_millis(200);
        stage::start_operator_in(pod, &self.sandbox.environment, &binary, poll, &flags).unwrap()
    }

    /// Makes another process the operator of this journey. What the one before was is returned.
    pub fn replace_operator(&mut self, operator: Running) -> Option<Running> {
        self.operator.replace(operator)
    }

    /// Asks the operator to end, and waits until it has.
    pub async fn stop_operator(&mut self) {
        let operator = self.operator.take().unwrap();
        operator.stop(GRACE).await.unwrap();
        no_canary_in(&operator);
    }

    /// `kill -9` of the operator.
    pub async fn kill_operator(&mut self) {
        let operator = self.operator.take().unwrap();
        operator.signal(Signal::KILL).unwrap();
        operator.ended().await;
        no_canary_in(&operator);
    }

    /// The operator's process, while it should be running.
    pub fn operator(&self) -> Option<&Running> {
        self.operator.as_ref()
    }

    /// What other processes know of the sandbox.
    pub fn environment(&self) -> &Environment {
        &self.sandbox.environment
    }

    /// The example's migration as JSON, with this sandbox's source, and with what `change` makes of it.
    pub fn example(&self, change: impl FnOnce(&mut Value)) -> Value {
        let (mut migration, _) = stage::example(&self.sandbox.environment).unwrap();
        change(&mut migration);
        migration
    }

    /// Applies the example's migration with a change. What an earlier apply set and this one leaves out is removed.
    pub async fn apply(&self, change: impl FnOnce(&mut Value)) {
        self.try_apply(&self.example(change)).await.unwrap();
    }

    /// Applies any object, or tells what the API server says against it.
    pub async fn try_apply(&self, object: &Value) -> Result<DynamicObject, String> {
        let applied = Box::pin(manifests::apply(&self.client, &object.to_string())).await;
        // The API server's own words are in the source.
        let mut objects = applied.map_err(|error| format!("{error:?}"))?;
        Ok(objects.remove(0))
    }

    /// Changes a migration by a JSON merge patch, or tells what the API server says against it.
    pub async fn patch(&self, name: &str, merge: Value) -> Result<(), String> {
        let patched = self.migrations().patch(name, &PatchParams::default(), &Patch::Merge(merge)).await;
        patched.map(|_| ()).map_err(|error| error.to_string())
    }

    /// Asks for the deletion of a migration, without waiting.
    pub async fn delete(&self, name: &str) {
        self.migrations().delete(name, &DeleteParams::default()).await.unwrap();
    }

    /// Waits until the resource is gone.
    pub async fn until_gone(&self, name: &str) {
        self.eventually(PATIENCE, &format!("{name} to be gone"), || async {
            match self.migrations().get_opt(name).await {
                Ok(None) => Ok(()),
                Ok(Some(object)) => Err(View::of(&object).describe()),
                Err(error) => Err(error.to_string()),
            }
        })
        .await;
    }

    /// The migrations of `default`.
    pub fn migrations(&self) -> Api<DynamicObject> {
        stage::migrations(self.client.clone(), "default")
    }

    /// A migration as it is now.
    pub async fn view(&self, name: &str) -> View {
        View::of(&self.migrations().get(name).await.unwrap())
    }

    /// Waits until a migration is as wanted, and returns it.
    pub async fn until(&self, name: &str, what: &str, reached: impl Fn(&View) -> bool) -> View {
        self.eventually(PATIENCE, &format!("{name}: {what}"), || async {
            match self.migrations().get(name).await {
                Ok(object) => {
                    let view = View::of(&object);
                    if reached(&view) { Ok(view) } else { Err(view.describe()) }
                }
                Err(error) => Err(error.to_string()),
            }
        })
        .await
    }

    /// Waits until a migration follows its source: Ready, with reason Replicating, for the spec as it is now.
    pub async fn until_replicating(&self, name: &str) -> View {
        let ready = |view: &View| view.is_current() && view.is("Ready", "True", "Replicating");
        self.until(name, "Ready=True (Replicating)", ready).await
    }

    /// Lets the operator look at a blocked migration a few more times, and ends the test if it has anything new to say
    /// of it. The first looks after a change may still find more than one did.
    pub async fn until_quiet(&self, name: &str) {
        sleep(3 * RETRY).await;
        let (before, was) = (self.status_writes(name), self.view(name).await);
        sleep(3 * RETRY).await;
        let view = self.view(name).await;
        let told = format!("before {:#}\nafter {:#}", was.status(), view.status());
        assert_eq!(self.status_writes(name), before, "{told}\n{}", self.operator_log());
    }

    /// Looks until there is an answer; each `Err` is what was seen instead. Ends the test at the deadline, with what was
    /// seen last.
    pub async fn eventually<T, F>(&self, deadline: Duration, what: &str, mut look: impl FnMut() -> F) -> T
    where
        F: Future<Output = Result<T, String>>,
    {
        let begun = Instant::now();
        loop {
            let seen = match look().await {
                Ok(answer) => return answer,
                Err(seen) => seen,
            };
            let ended = self.operator.as_ref().is_some_and(|operator| !operator.is_running());
            if ended || begun.elapsed() > deadline {
                let why = if ended { "the operator ended" } else { "waited in vain" };
                panic!("{why}; wanted: {what}\nlast seen: {seen}\n{}", self.operator_log());
            }
            sleep(LOOK).await;
        }
    }

    /// How the operator is, and the end of its log.
    pub fn operator_log(&self) -> String {
        self.operator.as_ref().map_or_else(|| "the operator does not run".to_owned(), Running::describe)
    }

    /// Calls to AWS so far that would change something, whether or not they did.
    pub fn mutating_calls(&self) -> Vec<Record> {
        self.sandbox.aws.calls().into_iter().filter(|call| call.mutating).collect()
    }

    /// The changes made by calls to AWS so far: operations that were answered with success.
    pub fn changes(&self) -> Vec<String> {
        let done = self.mutating_calls().into_iter().filter(|call| call.outcome == "ok");
        done.map(|call| call.operation).collect()
    }

    /// What the operator wrote to Kubernetes so far, by the API server's audit log, its Lease apart.
    pub fn writes_by_operator(&self) -> Vec<audit::Write> {
        let mut writes = audit::writes(&self.sandbox.cluster.audit_log).unwrap();
        writes.retain(|write| write.is_by_operator() && write.resource != "leases");
        writes
    }

    /// How often the operator wrote a migration's status.
    pub fn status_writes(&self, name: &str) -> usize {
        let of = |write: &audit::Write| {
            write.resource == "databasemigrations" && write.subresource == "status" && write.name == name
        };
        self.writes_by_operator().iter().filter(|write| of(write)).count()
    }

    /// Runs statements on the source's bank as superuser.
    pub async fn on_source(&self, sql: &str) {
        execute(&self.sandbox.source, sql).await;
    }

    /// Runs statements on the target's bank as superuser.
    pub async fn on_target(&self, sql: &str) {
        execute(&self.sandbox.target, sql).await;
    }
}

/// The next operator begins its log anew.
fn no_canary_in(operator: &Running) {
    let leaks = canary::in_file(operator.log());
    assert!(leaks.is_empty(), "{leaks:#?}");
}

/// Runs statements on a server's bank as superuser.
pub async fn execute(server: &Server, sql: &str) {
    let client = connect_local(&server.superuser_dsn(bank::DATABASE)).await.unwrap();
    client.batch_execute(sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
}

/// The first column of each row of a query as superuser, which must be text.
pub async fn texts(server: &Server, sql: &str) -> Vec<String> {
    let client = connect_local(&server.superuser_dsn(bank::DATABASE)).await.unwrap();
    let rows = client.query(sql, &[]).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    rows.iter().map(|row| row.get(0)).collect()
}

/// A merge patch of the spec.
#[allow(clippy::needless_pass_by_value)] // so that a literal can be given
pub fn spec(change: Value) -> Value {
    json!({ "spec": change })
}
