//! What reconciling needs beside the resource: clients, settings, and what this process remembers.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use jiff::Timestamp;
use kube::Client;
use kube::runtime::events::Recorder;
use tokio::sync::Mutex;

use crate::api::database::DatabaseMigration;
use crate::aws::secrets::Place;
use crate::aws::{Account, Aws, CallObserver};
use crate::database::goal::Goal;
use crate::database::material::Material;
use crate::database::outage::Spans;
use crate::database::seen::MemorySeen;
use crate::database::sight::{Kept, Sight};
use crate::metrics::{Call, Metrics};
use crate::operator::accounts::Accounts;
use crate::permit::Leadership;
use crate::postgres::Connection;
use crate::side::Sides;

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
    newest: OnceLock<Newest>,
    clients: Mutex<HashMap<Account, Arc<Aws>>>,
    memories: std::sync::Mutex<HashMap<String, Arc<Mutex<Memory>>>>,
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
            newest: OnceLock::new(),
            clients: Mutex::default(),
            memories: std::sync::Mutex::default(),
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

    /// What is remembered of a migration.
    pub fn memory(&self, uid: &str) -> Arc<Mutex<Memory>> {
        let mut memories = self.memories.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        Arc::clone(memories.entry(uid.to_owned()).or_default())
    }

    /// Forgets a migration that is gone.
    pub fn forget(&self, uid: &str) {
        self.memories.lock().unwrap_or_else(std::sync::PoisonError::into_inner).remove(uid);
    }
}

struct Counted(Metrics);

impl CallObserver for Counted {
    fn called(&self, service: &'static str, operation: &'static str, outcome: &'static str) {
        self.0.aws_calls.get_or_create(&Call { service, operation, outcome }).inc();
    }
}

/// A session, and what it was opened with.
pub type Held = Option<(Opened, Arc<Connection>)>;

/// What this process remembers of one migration. All of it may be lost at any moment: the next look finds it again, at the
/// price of a repeated test or connection.
#[derive(Default)]
pub struct Memory {
    /// The part that decisions may use.
    pub seen: MemorySeen,
    /// Open sessions of the operator's role, with what they were opened with.
    pub sessions: Sides<Held>,
    /// A second session of each side, held during a move.
    pub spares: Sides<Held>,
    /// The fence that stands on the old side, as last seen during a move.
    pub fence_id: String,
    /// What was last to be reached, by a spec that could be used.
    pub goal: Option<Goal>,
    /// The forward task, as last seen.
    pub task_arn: Option<String>,
    /// What a move did and how long it took, until it is reported.
    pub spans: Spans,
    /// With what the login of DMS's role last worked, and when.
    pub logins: Sides<Option<(Opened, Timestamp)>>,
    /// The generation of the spec that what follows was learned for.
    pub generation: Option<i64>,
    /// Secrets and authorities as last read without a fault.
    pub material: Option<(Timestamp, Sides<Material>)>,
    /// What AWS has, as far as it is settled.
    pub sight: Sight,
    /// Where each side listens, if AWS was asked.
    pub address: Sides<Kept<(String, u16)>>,
    /// Where the applications' secret points, if it could be read.
    pub secret: Kept<Option<Place>>,
    /// The account behind the credentials, as last checked.
    pub account_at: Option<Timestamp>,
    /// Failures in a row.
    pub failures: u32,
    /// Since when the facts can't be had.
    pub uncertain_since: Option<Timestamp>,
    /// The slot's warning was sent.
    pub slot_warned: bool,
}

impl Memory {
    /// Forgets what another spec led to: other Secrets, other instances.
    pub fn turn_to(&mut self, generation: Option<i64>) {
        if self.generation != generation {
            self.generation = generation;
            self.material = None;
            self.sight = Sight::default();
            self.address = Sides::default();
            self.secret = Kept::default();
        }
    }
}

/// What a session was opened with: it is opened anew when any of this changes.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Opened {
    pub host: String,
    pub port: u16,
    pub database: String,
    pub username: String,
    pub version: String,
    pub ca_pem: String,
}
