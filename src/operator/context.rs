//! What reconciling needs beside the resource: clients, settings, and what this process remembers.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use kube::Client;
use kube::runtime::events::Recorder;
use tokio::sync::Mutex;

use crate::api::database::DatabaseMigration;
use crate::aws::{Account, Aws, CallObserver};
use crate::metrics::{Call, Metrics};
use crate::operator::accounts::Accounts;
use crate::permit::Leadership;
use crate::probe::Prober;
use crate::{application, database};

/// How often to look again.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// While AWS is at work.
    pub soon: Duration,
    /// While replicating; also the pace of the heartbeat.
    pub steady: Duration,
    /// While waiting for a person, or at rest.
    pub rarely: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            soon: Duration::from_secs(2),
            steady: Duration::from_secs(10),
            rarely: Duration::from_secs(15),
        }
    }
}

/// What the watch has of a resource.
pub type Newest = Box<dyn Fn(&DatabaseMigration) -> Option<DatabaseMigration> + Send + Sync>;

/// Shared by all reconciles of the operator.
pub struct Context {
    /// The Kubernetes API.
    pub client: Client,
    /// Which namespace uses which AWS account.
    pub accounts: Accounts,
    /// Proof that this process may act.
    pub leadership: Leadership,
    /// Counters and gauges.
    pub metrics: Metrics,
    /// Writes events; one for all, since it folds repeats.
    pub recorder: Recorder,
    /// How often to look again.
    pub pace: Pace,
    /// What is remembered of each `DatabaseMigration`.
    pub databases: Memories<database::context::Memory>,
    /// What is remembered of each `ApplicationMigration`.
    pub applications: Memories<application::context::Memory>,
    /// Asks applications how they are.
    pub prober: Prober,
    newest: OnceLock<Newest>,
    clients: Mutex<HashMap<Account, Arc<Aws>>>,
}

impl Context {
    /// With an empty memory.
    pub fn new(
        client: Client,
        accounts: Accounts,
        leadership: Leadership,
        metrics: Metrics,
        recorder: Recorder,
        pace: Pace,
    ) -> Self {
        Self {
            client,
            accounts,
            leadership,
            metrics,
            recorder,
            pace,
            databases: Memories::default(),
            applications: Memories::default(),
            prober: Prober::new(),
            newest: OnceLock::new(),
            clients: Mutex::default(),
        }
    }

    /// Lets a move see a changed goal: what the watch has of a resource.
    pub fn watch(&self, newest: Newest) {
        // Said once, when the operator starts.
        let _ = self.newest.set(newest);
    }

    /// The resource, if the watch has a later spec of it than `known`: a changed goal, or an order to delete it. What a
    /// watch has may be old; it is never taken for newer than it is.
    pub fn newest(&self, known: &DatabaseMigration) -> Option<DatabaseMigration> {
        let found = self.newest.get()?(known)?;
        let same = found.metadata.uid == known.metadata.uid;
        (same && found.metadata.generation > known.metadata.generation).then_some(found)
    }

    /// The clients of an account, made once.
    pub async fn aws(&self, account: &Account) -> Arc<Aws> {
        let mut clients = self.clients.lock().await;
        if let Some(aws) = clients.get(account) {
            return Arc::clone(aws);
        }
        let observer: Arc<dyn CallObserver> = Arc::new(Counted(self.metrics.clone()));
        let aws = Arc::new(Aws::connect(account, observer).await);
        clients.insert(account.clone(), Arc::clone(&aws));
        aws
    }
}

/// What is remembered of each migration of a kind, by its uid.
pub struct Memories<M>(std::sync::Mutex<HashMap<String, Arc<Mutex<M>>>>);

impl<M> Default for Memories<M> {
    fn default() -> Self {
        Self(std::sync::Mutex::default())
    }
}

impl<M: Default> Memories<M> {
    /// What is remembered of a migration.
    pub fn of(&self, uid: &str) -> Arc<Mutex<M>> {
        let mut memories = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        Arc::clone(memories.entry(uid.to_owned()).or_default())
    }

    /// Forgets a migration that is gone.
    pub fn forget(&self, uid: &str) {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner).remove(uid);
    }
}

struct Counted(Metrics);

impl CallObserver for Counted {
    fn called(&self, service: &'static str, operation: &'static str, outcome: &'static str) {
        self.0.aws_calls.get_or_create(&Call { service, operation, outcome }).inc();
    }
}
