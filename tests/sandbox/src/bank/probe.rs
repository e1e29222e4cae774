//! Who takes the application's writes? Both sides are asked every few milliseconds, each over a connection of its own.
//!
//! A probe is a real write by the application's role, with everything that stands in its way: the login, the right to
//! connect, the rights on the table, triggers. It goes over the server's socket, where no time is lost on TLS and
//! passwords, so that a side that lets nobody in can be asked as often as the other. The probes run on a thread of their
//! own: what else this process does must not make a side look closed.
//!
//! The accepted writes of a side without a refusal between them make an interval. It reaches from when its first write
//! was sent to when its last was answered, which is more than what is proved. No interval of one side may meet one of the
//! other.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use tokio_postgres::Client;

use super::DATABASE;
use crate::postgres::{Error, Server, connect_local};

/// How often each side is asked.
pub const EVERY: Duration = Duration::from_millis(5);
/// A side that does not answer for so long refuses.
const PATIENCE: Duration = Duration::from_secs(2);
/// The same row each time: the probe must not make the tables grow.
const WRITE: &str =
    "INSERT INTO public.rates (currency, valid_on, rate, source) VALUES ('ZZZ', '1999-12-31', 1, 'probe')
    ON CONFLICT (currency, valid_on) DO UPDATE SET rate = (rates.rate + 1) % 1000000000";

/// One side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The source.
    Source,
    /// The target.
    Target,
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Source => "source",
            Self::Target => "target",
        })
    }
}

/// Accepted writes without a refusal between them, in times since the probes began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interval {
    /// When the first was sent.
    pub from: Duration,
    /// When the first was answered: from here on the side certainly took writes.
    pub proved_from: Duration,
    /// When the last was answered.
    pub to: Duration,
    /// How many there were.
    pub writes: u64,
}

/// What was found on both sides so far.
#[derive(Clone, Debug, Default)]
pub struct Findings {
    /// The source's intervals, oldest first.
    pub source: Vec<Interval>,
    /// The target's.
    pub target: Vec<Interval>,
    /// Probes that were refused, or had no answer.
    pub refused: u64,
    /// Whether the last probe of source and target was accepted.
    pub open: [bool; 2],
    /// What was said at the last refusal on each side.
    pub last_refusal: [Option<String>; 2],
}

/// The time in which nobody took writes, between two sides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outage {
    /// Who took writes before.
    pub before: Side,
    /// When the last was answered.
    pub from: Duration,
    /// When the first was answered on the other side.
    pub to: Duration,
}

impl Outage {
    /// How long.
    pub fn length(&self) -> Duration {
        self.to.saturating_sub(self.from)
    }
}

impl Findings {
    fn of(&mut self, side: Side) -> &mut Vec<Interval> {
        match side {
            Side::Source => &mut self.source,
            Side::Target => &mut self.target,
        }
    }

    /// Every interval with its side, in the order of their beginnings.
    fn all(&self) -> Vec<(Side, Interval)> {
        let source = self.source.iter().map(|interval| (Side::Source, *interval));
        let target = self.target.iter().map(|interval| (Side::Target, *interval));
        let mut all: Vec<_> = source.chain(target).collect();
        all.sort_by_key(|(_, interval)| interval.from);
        all
    }

    /// Pairs of intervals, one of each side, that meet.
    pub fn overlaps(&self) -> Vec<(Interval, Interval)> {
        let meet = |one: &Interval, other: &Interval| one.from <= other.to && other.from <= one.to;
        let pairs = self.source.iter().flat_map(|one| self.target.iter().map(move |other| (*one, *other)));
        pairs.filter(|(one, other)| meet(one, other)).collect()
    }

    /// Each time the writer changed sides.
    pub fn moves(&self) -> Vec<Outage> {
        let all = self.all();
        let pairs = all.windows(2).filter(|pair| pair[0].0 != pair[1].0);
        pairs
            .map(|pair| Outage { before: pair[0].0, from: pair[0].1.to, to: pair[1].1.proved_from })
            .collect()
    }

    /// Who took the last accepted write.
    pub fn writer(&self) -> Option<Side> {
        self.all().into_iter().max_by_key(|(_, interval)| interval.to).map(|(side, _)| side)
    }

    /// Accepted writes on both sides.
    pub fn accepted(&self) -> u64 {
        self.source.iter().chain(&self.target).map(|interval| interval.writes).sum()
    }
}

/// Probes that run until they are stopped.
pub struct Prober {
    began: Instant,
    findings: Arc<Mutex<Findings>>,
    stop: watch::Sender<bool>,
    thread: Option<JoinHandle<()>>,
}

impl Prober {
    /// Begins to ask both servers as `payments_app`, each every `every`.
    pub fn start(source: &Server, target: &Server, every: Duration) -> Result<Self, Error> {
        let attempt = "starting the probes";
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(Error::system(attempt))?;
        let findings = Arc::new(Mutex::new(Findings::default()));
        let (stop, stopped) = watch::channel(false);
        let began = Instant::now();
        let probe = |side, server: &Server| Probe {
            side,
            dsn: server.socket_dsn("payments_app", DATABASE),
            began,
            findings: Arc::clone(&findings),
            open: false,
        };
        let (source, target) = (probe(Side::Source, source), probe(Side::Target, target));
        let other = stopped.clone();
        let thread = std::thread::Builder::new().name("probes".to_owned()).spawn(move || {
            runtime.block_on(async { tokio::join!(source.run(every, stopped), target.run(every, other)) });
        });
        let thread = Some(thread.map_err(Error::system(attempt))?);
        Ok(Self { began, findings, stop, thread })
    }

    /// What was found so far.
    pub fn findings(&self) -> Findings {
        self.findings.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The time since the probes began, as in the findings.
    pub fn clock(&self) -> Duration {
        self.began.elapsed()
    }

    /// Ends the probes.
    pub fn stop(mut self) -> Findings {
        self.end();
        self.findings()
    }

    fn end(&mut self) {
        self.stop.send_replace(true);
        if let Some(thread) = self.thread.take() {
            // A probe that panicked found nothing more; the intervals say so.
            let _ = thread.join();
        }
    }
}

impl Drop for Prober {
    fn drop(&mut self) {
        self.end();
    }
}

struct Probe {
    side: Side,
    dsn: String,
    began: Instant,
    findings: Arc<Mutex<Findings>>,
    /// The last probe was accepted.
    open: bool,
}

impl Probe {
    async fn run(mut self, every: Duration, mut stopped: watch::Receiver<bool>) {
        let mut ticks = interval(every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut connection: Option<Client> = None;
        loop {
            tokio::select! {
                _ = stopped.wait_for(|stop| *stop) => return,
                _ = ticks.tick() => {}
            }
            let attempt = async {
                let client = match &mut connection {
                    Some(client) => client,
                    none => none.insert(connect_local(&self.dsn).await.map_err(|error| error.to_string())?),
                };
                let sent = self.began.elapsed();
                let written = client.batch_execute(WRITE).await;
                written.map(|()| sent).map_err(|error| crate::postgres::describe(&error))
            };
            let outcome = timeout(PATIENCE, attempt).await;
            let outcome = outcome.unwrap_or_else(|_| Err(format!("no answer in {PATIENCE:?}")));
            if outcome.is_err() {
                // As a pool does: a session that fails is not used again.
                connection = None;
            }
            self.found(outcome);
        }
    }

    fn found(&mut self, outcome: Result<Duration, String>) {
        let answered = self.began.elapsed();
        let mut findings = self.findings.lock().unwrap_or_else(PoisonError::into_inner);
        match outcome {
            Ok(sent) => {
                let intervals = findings.of(self.side);
                match intervals.last_mut().filter(|_| self.open) {
                    Some(interval) => {
                        interval.to = answered;
                        interval.writes += 1;
                    }
                    None => intervals.push(Interval {
                        from: sent,
                        proved_from: answered,
                        to: answered,
                        writes: 1,
                    }),
                }
                self.open = true;
            }
            Err(why) => {
                findings.refused += 1;
                findings.last_refusal[usize::from(self.side == Side::Target)] = Some(why);
                self.open = false;
            }
        }
        findings.open[usize::from(self.side == Side::Target)] = self.open;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn interval(from: u64, to: u64) -> Interval {
        let ms = Duration::from_millis;
        Interval { from: ms(from), proved_from: ms(from + 1), to: ms(to), writes: 5 }
    }

    #[test]
    fn intervals_that_meet_are_found_and_the_gap_is_measured() {
        let mut findings = Findings {
            source: vec![interval(0, 100), interval(110, 500)],
            target: vec![interval(900, 2000)],
            ..Findings::default()
        };
        assert_eq!(findings.overlaps(), []);
        assert_eq!(findings.writer(), Some(Side::Target));
        let moves = findings.moves();
        assert_eq!(moves.len(), 1);
        assert_eq!((moves[0].before, moves[0].length()), (Side::Source, Duration::from_millis(401)));

        findings.source.push(interval(1990, 1995));
        assert_eq!(findings.overlaps().len(), 1);
        assert_eq!(findings.writer(), Some(Side::Target));
    }
}
