//! A steady write load, as the payments application would make it: many small transactions from several sessions.
//!
//! What it writes follows from the seed; in which order the sessions come does not. Two sums hold at every moment:
//! the amounts of all entries make zero, and the balances of all accounts what they made before.
//!
//! It finds the writer as a driver with several hosts does: a session goes to the first host that lets it in. Each write
//! has a key and is put down in a [`Journal`] before it goes out; one whose answer was lost is sent again with its key
//! before the session does anything else.

use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep, timeout};
use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

use super::api::Order;
use super::journal::{Journal, Key, Word};
use super::visitor::{Public, Seen, Trouble, Visitors};
use super::writes::{self, Done, Kind, Statements, Write};
use crate::postgres::{Error, Login, describe};

/// An answer that takes longer is given up, and its session with it, as a connection pool would.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);
const RECONNECT: Duration = Duration::from_millis(100);
/// So many sessions try to connect at once: a pool whose database lets nobody in does not storm it.
const CONNECTORS: usize = 1;
/// Clients of the public name, for each session; each has a resolver of its own.
const VISITORS: usize = 25;
/// How long a load that was told to stop goes on asking what became of writes whose answer was lost.
const LAST_WORDS: Duration = Duration::from_secs(20);

/// Which way writes go.
#[derive(Clone, Debug)]
pub enum Way {
    /// To the databases: the application's logins, one for each host, in the order in which they are tried.
    Databases(Vec<Login>),
    /// To the bank's API, by its public name.
    Public(Public),
}

/// What load to make.
#[derive(Clone, Debug)]
pub struct Config {
    /// Which way writes go.
    pub way: Way,
    /// Sessions.
    pub clients: u32,
    /// Transactions per second, of all sessions together. Sessions that fall behind don't catch up.
    pub writes_per_second: u32,
    /// Where the choice of writes begins.
    pub seed: u64,
    /// Where each write is put down; without one, nobody can check the load afterwards.
    pub journal: Option<Arc<Journal>>,
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
    /// The answer was lost: done once or not at all. A write counts once for each answer that was lost.
    pub unknown: u64,
    /// Writes that were sent again and found done.
    pub present: u64,
    /// Attempts to open a session again after one was lost or refused.
    pub reconnects: u64,
    /// By the public name: answers of the name server that led to the source, and to the target,
    pub resolved: [u64; 2],
    /// and attempts of requests, and those that failed.
    pub attempts: [u64; 2],
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
    present: AtomicU64,
    reconnects: AtomicU64,
    seen: Seen,
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
        let run = run();
        let door = Arc::new(Semaphore::new(CONNECTORS));
        let sessions = (0..clients).map(|number| {
            let session = Session {
                logins: match &config.way {
                    Way::Databases(logins) => logins.clone(),
                    Way::Public(_) => Vec::new(),
                },
                visitors: match &config.way {
                    Way::Databases(_) => None,
                    Way::Public(public) => Some(Visitors::new(public, VISITORS)),
                },
                journal: config.journal.clone(),
                run,
                number: u16::try_from(number).unwrap_or(u16::MAX),
                written: 0,
                pending: None,
                connection: None,
                door: Arc::clone(&door),
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
            present,
            reconnects,
            seen,
            last_error,
        } = &*self.counters;
        let pair = |pair: &[AtomicU64; 2]| [pair[0].load(Relaxed), pair[1].load(Relaxed)];
        Totals {
            inserts: inserts.load(Relaxed),
            updates: updates.load(Relaxed),
            deletes: deletes.load(Relaxed),
            transfers: transfers.load(Relaxed),
            empty: empty.load(Relaxed),
            refused: refused.load(Relaxed),
            unknown: unknown.load(Relaxed),
            present: present.load(Relaxed),
            reconnects: reconnects.load(Relaxed),
            resolved: pair(&seen.resolved),
            attempts: pair(&seen.attempts),
            last_error: last_error.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        }
    }

    /// Lets every session finish the write in hand and find out about one whose answer was lost, and says what was done
    /// in all.
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
    logins: Vec<Login>,
    journal: Option<Arc<Journal>>,
    run: u32,
    number: u16,
    written: u64,
    /// A write whose answer was lost.
    pending: Option<Write>,
    connection: Option<(Client, Statements)>,
    /// Who asks by the public name, if anybody does.
    visitors: Option<Visitors>,
    /// The pool's: whoever connects holds a place.
    door: Arc<Semaphore>,
    counters: Arc<Counters>,
    dice: writes::Dice,
    pause: Duration,
    offset: Duration,
}

/// What became of one attempt.
enum Outcome {
    Done(Done),
    Refused,
    Unknown,
}

impl Session {
    async fn run(mut self, mut stopped: watch::Receiver<bool>) {
        let mut ticks = interval_at(Instant::now() + self.offset, self.pause.max(Duration::from_micros(100)));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut first = true;
        let mut end: Option<Instant> = None;
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                // An error means that the load's value was dropped, which stops it too.
                _ = stopped.wait_for(|stop| *stop), if end.is_none() => {
                    end = Some(Instant::now() + LAST_WORDS);
                }
            }
            if end.is_some_and(|end| self.pending.is_none() || Instant::now() > end) {
                return;
            }
            if self.connection.is_none() && self.visitors.is_none() {
                if !std::mem::take(&mut first) {
                    self.counters.reconnects.fetch_add(1, Relaxed);
                }
                let door = Arc::clone(&self.door);
                // Nobody closes it.
                let _place = door.acquire().await;
                match self.connect().await {
                    Ok(made) => self.connection = Some(made),
                    Err(error) => {
                        self.counters.failed(error.to_string());
                        sleep(RECONNECT).await;
                        continue;
                    }
                }
            }
            if let Err(error) = self.write().await {
                // What can't be put down must not be sent.
                self.counters.failed(format!("writing the journal: {error}"));
                return;
            }
        }
    }

    /// One attempt at the write that is open, or at a new one.
    async fn write(&mut self) -> std::io::Result<()> {
        let earlier = self.pending.take();
        let is_new = earlier.is_none();
        let write = earlier.unwrap_or_else(|| {
            self.written += 1;
            Write::draw(Key::new(self.run, self.number, self.written), &mut self.dice)
        });
        let journal = self.journal.clone();
        let note = |word| journal.as_ref().map_or(Ok(()), |journal| journal.note(write.key, word));
        if is_new {
            note(Word::Sent)?;
        }
        let outcome = if let Some(visitors) = &mut self.visitors {
            by_name(visitors, &write, is_new, &self.counters).await
        } else {
            self.in_database(&write, is_new).await
        };
        match outcome {
            Outcome::Done(Done::Now(kind, rows)) => {
                note(Word::Acknowledged)?;
                self.counters.acknowledged(kind, rows);
            }
            Outcome::Done(Done::Before) => {
                note(Word::Present)?;
                self.counters.present.fetch_add(1, Relaxed);
            }
            Outcome::Refused => {
                note(Word::Refused)?;
                self.counters.refused.fetch_add(1, Relaxed);
            }
            Outcome::Unknown => {
                note(Word::Unknown)?;
                self.counters.unknown.fetch_add(1, Relaxed);
                self.pending = Some(write);
            }
        }
        Ok(())
    }

    async fn in_database(&mut self, write: &Write, is_new: bool) -> Outcome {
        let Some((client, statements)) = &mut self.connection else {
            return if is_new { Outcome::Refused } else { Outcome::Unknown };
        };
        // Boxed: a transfer holds many statements at once, and each session its own.
        let attempt = async {
            if is_new {
                Box::pin(writes::first(client, statements, write)).await
            } else {
                Box::pin(writes::again(client, statements, write)).await
            }
        };
        let (outcome, keep) = match timeout(PATIENCE, attempt).await {
            Ok(Ok(done)) => (Outcome::Done(done), true),
            Ok(Err(error)) => {
                self.counters.failed(describe(&error));
                let unknown = is_unknown(&error);
                // What was refused this time says nothing about the time before.
                let outcome = if unknown || !is_new { Outcome::Unknown } else { Outcome::Refused };
                (outcome, !unknown && !is_elsewhere(&error))
            }
            Err(_) => {
                self.counters.failed(format!("no answer in {PATIENCE:?}"));
                (Outcome::Unknown, false)
            }
        };
        if !keep {
            self.connection = None;
        }
        outcome
    }

    async fn connect(&self) -> Result<(Client, Statements), Error> {
        let client = writer(&self.logins, "bank load").await?;
        let statements = timeout(PATIENCE, Statements::prepare(&client)).await;
        let attempt = "preparing the load";
        match statements {
            Ok(statements) => Ok((client, statements.map_err(Error::sql(attempt))?)),
            Err(_) => Err(no_answer(attempt)),
        }
    }
}

async fn by_name(visitors: &mut Visitors, write: &Write, is_new: bool, counters: &Counters) -> Outcome {
    let mut order = Order { write: write.clone(), again: !is_new };
    match visitors.send(&mut order, &counters.seen).await {
        Ok(done) => Outcome::Done(done),
        Err(Trouble::Refused(why)) => {
            counters.failed(why);
            if is_new { Outcome::Refused } else { Outcome::Unknown }
        }
        Err(Trouble::Unknown(why)) => {
            counters.failed(why);
            Outcome::Unknown
        }
    }
}

/// Logs in where the application is let in and may write: the first of several hosts.
pub async fn writer(logins: &[Login], application: &str) -> Result<Client, Error> {
    writer_from(None, logins, application).await
}

/// The same, from an address of this machine's own.
pub(super) async fn writer_from(
    from: Option<Ipv4Addr>,
    logins: &[Login],
    application: &str,
) -> Result<Client, Error> {
    let mut refused = Vec::new();
    for login in logins {
        let attempt = async {
            let client = login.connect_from(from, application).await?;
            let may = "SELECT has_table_privilege('public.requests', 'INSERT')";
            let asked = client.query_one(may, &[]).await;
            let may: bool = asked.map_err(Error::sql(format!("asking {login} what it may do")))?.get(0);
            let cause = "it may not write there".to_owned();
            if may { Ok(client) } else { Err(Error::Sql { attempt: format!("writing as {login}"), cause }) }
        };
        match timeout(PATIENCE, attempt).await {
            Ok(Ok(client)) => return Ok(client),
            Ok(Err(error)) => refused.push(error.to_string()),
            Err(_) => refused.push(no_answer(&format!("connecting as {login}")).to_string()),
        }
    }
    Err(Error::Sql { attempt: "looking for the writer".to_owned(), cause: refused.join("; ") })
}

fn no_answer(attempt: &str) -> Error {
    Error::Sql { attempt: attempt.to_owned(), cause: format!("no answer in {PATIENCE:?}") }
}

/// A number that no other run has: the keys of two loads must not meet.
fn run() -> u32 {
    let nanoseconds =
        jiff::Timestamp::now().as_nanosecond().unsigned_abs() ^ u128::from(std::process::id()) << 20;
    u32::try_from((nanoseconds ^ nanoseconds >> 32) & 0xFFFF_FFFF).unwrap_or(0)
}

/// Does it say that this host no longer takes writes? Then the writer may be another.
pub(super) fn is_elsewhere(error: &tokio_postgres::Error) -> bool {
    let not_here = [SqlState::INSUFFICIENT_PRIVILEGE, SqlState::READ_ONLY_SQL_TRANSACTION];
    error.code().is_some_and(|state| not_here.contains(state))
}

/// Was it possibly carried out? Any error that is not a plain refusal leaves that open: the session broke (08), or an
/// administrator ended it (57P), or the server itself does not know (40003).
pub(super) fn is_unknown(error: &tokio_postgres::Error) -> bool {
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
