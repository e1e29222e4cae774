//! A steady write load, as the payments application would make it: many small transactions from several sessions.
//!
//! What it writes follows from the seed; in which order the sessions come does not. Two sums hold at every moment:
//! the amounts of all entries make zero, and the balances of all accounts what they made before.

mod writes;

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep, timeout};
use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

use crate::postgres::{Error, Login, describe};
use writes::{Kind, Statements};

/// An answer that takes longer is given up, and its session with it, as a connection pool would.
const PATIENCE: Duration = Duration::from_secs(10);
const RECONNECT: Duration = Duration::from_millis(200);

/// What load to make.
#[derive(Clone, Debug)]
pub struct Config {
    /// The application's login.
    pub login: Login,
    /// Sessions.
    pub clients: u32,
    /// Transactions per second, of all sessions together. Sessions that fall behind don't catch up.
    pub writes_per_second: u32,
    /// Where the choice of writes begins.
    pub seed: u64,
}

/// What a load has done.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Totals {
    /// Transactions whose commit was acknowledged, by kind: single inserts,
    pub inserts: u64,
    /// updates,
    pub updates: u64,
    /// deletes,
    pub deletes: u64,
    /// and transfers, which write to four tables.
    pub transfers: u64,
    /// Acknowledged, and found no row to change: another session had deleted it.
    pub empty: u64,
    /// Refused by the database: not done.
    pub refused: u64,
    /// The answer was lost: done once or not at all.
    pub unknown: u64,
    /// Attempts to open a session again after one was lost or refused.
    pub reconnects: u64,
    /// The last error, of whatever kind.
    pub last_error: Option<String>,
}

impl Totals {
    /// Transactions that changed something and were acknowledged.
    pub fn acknowledged(&self) -> u64 {
        self.inserts + self.updates + self.deletes + self.transfers
    }
}

#[derive(Default)]
struct Counters {
    inserts: AtomicU64,
    updates: AtomicU64,
    deletes: AtomicU64,
    transfers: AtomicU64,
    empty: AtomicU64,
    refused: AtomicU64,
    unknown: AtomicU64,
    reconnects: AtomicU64,
    last_error: Mutex<Option<String>>,
}

/// A load that runs until it is stopped.
pub struct Load {
    counters: Arc<Counters>,
    stop: watch::Sender<bool>,
    sessions: Vec<JoinHandle<()>>,
}

impl Load {
    /// Starts the sessions. One that can't connect tries again for as long as the load runs; the totals say why.
    pub fn start(config: &Config) -> Self {
        let counters = Arc::new(Counters::default());
        let (stop, stopped) = watch::channel(false);
        let clients = config.clients.max(1);
        let pause = Duration::from_secs(1) * clients / config.writes_per_second.max(1);
        let sessions = (0..clients).map(|number| {
            let session = Session {
                login: config.login.clone(),
                counters: Arc::clone(&counters),
                dice: writes::Dice::new(config.seed, number),
                pause,
                offset: pause * number / clients,
            };
            tokio::spawn(session.run(stopped.clone()))
        });
        let sessions = sessions.collect();
        Self { counters, stop, sessions }
    }

    /// Acknowledged writes so far.
    pub fn acknowledged(&self) -> u64 {
        self.totals().acknowledged()
    }

    /// Everything counted so far.
    pub fn totals(&self) -> Totals {
        let Counters {
            inserts,
            updates,
            deletes,
            transfers,
            empty,
            refused,
            unknown,
            reconnects,
            last_error,
        } = &*self.counters;
        Totals {
            inserts: inserts.load(Relaxed),
            updates: updates.load(Relaxed),
            deletes: deletes.load(Relaxed),
            transfers: transfers.load(Relaxed),
            empty: empty.load(Relaxed),
            refused: refused.load(Relaxed),
            unknown: unknown.load(Relaxed),
            reconnects: reconnects.load(Relaxed),
            last_error: last_error.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        }
    }

    /// Lets every session finish the write in hand, and says what was done in all.
    pub async fn stop(mut self) -> Totals {
        self.stop.send_replace(true);
        for session in self.sessions.drain(..) {
            if let Err(error) = session.await {
                self.counters.failed(format!("a session of the load ended by itself: {error}"));
            }
        }
        self.totals()
    }
}

impl Counters {
    fn failed(&self, error: String) {
        *self.last_error.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
    }

    fn acknowledged(&self, kind: Kind, rows: u64) {
        let counter = match kind {
            _ if rows == 0 => &self.empty,
            Kind::Insert => &self.inserts,
            Kind::Update => &self.updates,
            Kind::Delete => &self.deletes,
            Kind::Transfer => &self.transfers,
        };
        counter.fetch_add(1, Relaxed);
    }
}

struct Session {
    login: Login,
    counters: Arc<Counters>,
    dice: writes::Dice,
    pause: Duration,
    offset: Duration,
}

impl Session {
    async fn run(mut self, mut stopped: watch::Receiver<bool>) {
        let mut ticks = interval_at(Instant::now() + self.offset, self.pause.max(Duration::from_micros(100)));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut connection: Option<(Client, Statements)> = None;
        let mut first = true;
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                // An error means that the load's value was dropped, which stops it too.
                _ = stopped.wait_for(|stop| *stop) => return,
            }
            let (client, statements) = match &mut connection {
                Some((client, statements)) => (client, &*statements),
                none => {
                    if !std::mem::take(&mut first) {
                        self.counters.reconnects.fetch_add(1, Relaxed);
                    }
                    match self.connect().await {
                        Ok(made) => {
                            let (client, statements) = none.insert(made);
                            (client, &*statements)
                        }
                        Err(error) => {
                            self.counters.failed(error.to_string());
                            sleep(RECONNECT).await;
                            continue;
                        }
                    }
                }
            };
            // Boxed: a transfer holds many statements at once, and each session its own.
            let write = Box::pin(writes::one(client, statements, &mut self.dice));
            let outcome = timeout(PATIENCE, write).await;
            let keep = match outcome {
                Ok(Ok((kind, rows))) => {
                    self.counters.acknowledged(kind, rows);
                    true
                }
                Ok(Err(error)) => {
                    let lost = is_unknown(&error);
                    let counter = if lost { &self.counters.unknown } else { &self.counters.refused };
                    counter.fetch_add(1, Relaxed);
                    self.counters.failed(describe(&error));
                    !lost
                }
                Err(_) => {
                    self.counters.unknown.fetch_add(1, Relaxed);
                    self.counters.failed(format!("no answer from {} in {PATIENCE:?}", self.login));
                    false
                }
            };
            if !keep {
                connection = None;
            }
        }
    }

    async fn connect(&self) -> Result<(Client, Statements), Error> {
        let attempt = async {
            let client = self.login.connect("bank load").await?;
            let statements = Statements::prepare(&client).await;
            let statements =
                statements.map_err(Error::sql(format!("preparing the load as {}", self.login)))?;
            Ok((client, statements))
        };
        timeout(PATIENCE, attempt).await.unwrap_or_else(|_| {
            let cause = format!("no answer in {PATIENCE:?}");
            Err(Error::Sql { attempt: format!("connecting as {}", self.login), cause })
        })
    }
}

/// Was it possibly carried out? Any error that is not a plain refusal leaves that open: the session broke (08), or an
/// administrator ended it (57P), or the server itself does not know (40003).
fn is_unknown(error: &tokio_postgres::Error) -> bool {
    match error.code() {
        None => true,
        Some(state) => {
            let code = state.code();
            code.starts_with("08")
                || code.starts_with("57P")
                || *state == SqlState::T_R_STATEMENT_COMPLETION_UNKNOWN
        }
    }
}
