//! An operator's process, call by call. What it decides, how it classifies failures, when it looks again and who leads are
//! the product's own functions; what is here is only the order in which the product calls them (`src/database.rs` and below),
//! with a model on the other end of each call.

mod act;
mod aws;
mod cname;
mod eyes;
mod look;
mod outage;
mod provision;
mod traffic;
mod walk;

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use jiff::Timestamp;
use slipway::aws::secrets::Place;
use slipway::database::cname::CnameSeen;
use slipway::database::goal::Goal;
use slipway::database::seen::MemorySeen;
use slipway::database::sight::{Kept, Sight};
use slipway::fault::{Blocked, Fault};
use slipway::operator::context::Pace;
use slipway::operator::lease::{Do, Elector, Timing};
use slipway::side::Sides;

use crate::clock::{Kind as News, MILLI, Micros, ProcessId, SECOND, Sim};
use crate::world::cluster::{self, Object, Traffic};
use crate::world::faults::{Fate, Kind, Point, Service};
use crate::world::{World, running, stamp};

/// How long a call is waited for.
const PATIENCE: Micros = 10 * SECOND;
/// A watch that lost an event is listed anew after this at the latest.
pub const RELIST: Micros = 60 * SECOND;

/// What a process remembers; empty after each start.
#[derive(Default)]
struct Memory {
    seen: MemorySeen,
    sight: Sight,
    fence_id: String,
    task_arn: Option<String>,
    failures: u32,
    uncertain_since: Option<Timestamp>,
    generation: Option<i64>,
    material_at: Option<Timestamp>,
    address: Sides<Kept<(String, u16)>>,
    secret: Kept<Option<Place>>,
    cname: Kept<CnameSeen>,
    sessions: Sides<bool>,
    logins: Sides<Option<Timestamp>>,
}

impl Memory {
    /// As `Memory::turn_to` of the product.
    fn turn_to(&mut self, generation: Option<i64>) {
        if self.generation != generation {
            self.generation = generation;
            self.material_at = None;
            self.sight = Sight::default();
            self.address = Sides::default();
            self.secret = Kept::default();
            self.cname = Kept::default();
        }
    }
}

/// One process.
pub struct Process {
    /// Which.
    pub id: ProcessId,
    sim: Sim,
    pace: Pace,
    /// Its wall clock is wrong by this.
    skew: Micros,
    /// Its monotonic clock runs at this rate, in thousandths.
    rate: i64,
    begun: Micros,
    /// How far its watches are behind: of a `DatabaseMigration`, and of an `ApplicationMigration`.
    lag: (Cell<Micros>, Cell<Micros>),
    /// Which version each had last.
    version: (Cell<usize>, Cell<usize>),
    /// When its watch told it that the resource is deleted, by its own clock.
    told_of_deletion: Cell<Option<Timestamp>>,
    elector: RefCell<Elector>,
    memory: RefCell<Memory>,
    traffic: RefCell<slipway::application::context::Memory>,
    /// It ends before its next call.
    doomed: Cell<bool>,
}

/// What became of a call.
pub(crate) enum Reply<T> {
    /// It was answered.
    Answer(T),
    /// No answer came.
    Silence,
    /// Whoever was called refused it before looking at it.
    Refused(Kind),
}

/// Starts a process, after a while.
pub fn start(sim: &Sim, id: ProcessId, after: Micros) {
    let inner = sim.clone();
    sim.with(|world| {
        world.clock.spawn(None, async move {
            inner.sleep(after).await;
            let process = Rc::new(inner.with(|world| Process::new(&inner, world, id)));
            inner.with(|world| {
                world.processes.retain(|known| known.upgrade().is_some_and(|known| known.id != id));
                world.processes.push(Rc::downgrade(&process));
                let (sim, keeper) = (inner.clone(), Rc::clone(&process));
                world.trace.say(world.clock.now, || format!("operator {id} starts"));
                world.clock.spawn(Some(id), keep_lease(sim, keeper));
                if world.traffic.is_some() {
                    world.clock.spawn(Some(id), serve_traffic(Rc::clone(&process)));
                }
                world.clock.spawn(Some(id), reconcile_for_ever(process));
            });
        });
    });
}

/// A process has ended: its sessions are gone, and it is started again.
pub fn ended(sim: &Sim, id: ProcessId) {
    let after = sim.with(|world| {
        world.trace.say(world.clock.now, || format!("operator {id} ended"));
        world.clock.paused.retain(|(process, _)| *process != id);
        world.random.within(SECOND, 8 * SECOND)
    });
    start(sim, id, after);
}

impl Process {
    fn new(sim: &Sim, world: &mut World, id: ProcessId) -> Self {
        let (skewed, wrong_by) = (world.skew > 0, world.skew);
        let skew = if skewed { world.random.within(-wrong_by, wrong_by) * SECOND } else { 0 };
        let rate = if skewed { world.random.within(900, 1_100) } else { 1_000 };
        // Each pod has another identity; a container that starts again has the same.
        let elector = Elector::new(format!("slipway-{id}"), Timing::default());
        Self {
            id,
            sim: sim.clone(),
            pace: Pace::default(),
            skew,
            rate,
            begun: world.clock.now,
            lag: (Cell::new(20 * MILLI), Cell::new(20 * MILLI)),
            version: (Cell::new(0), Cell::new(0)),
            told_of_deletion: Cell::new(None),
            elector: RefCell::new(elector),
            memory: RefCell::default(),
            traffic: RefCell::default(),
            doomed: Cell::new(false),
        }
    }

    /// The time as its wall clock shows it.
    fn now(&self) -> Timestamp {
        self.sim.with(|world| stamp(world.clock.now + self.skew))
    }

    fn monotonic(&self, now: Micros) -> Duration {
        let micros = (now - self.begun) * self.rate / 1_000;
        Duration::from_micros(u64::try_from(micros).unwrap_or(0))
    }

    /// Whether its permits are valid, by its own clock.
    pub fn may_act(&self, now: Micros) -> bool {
        self.elector.borrow().valid_until().is_some_and(|until| self.monotonic(now) < until)
    }

    async fn die(&self) -> ! {
        self.sim.with(|world| world.clock.kill(self.id));
        loop {
            self.sim.sleep(86_400 * SECOND).await;
        }
    }

    async fn sleep(&self, duration: Duration) {
        self.sim.sleep(i64::try_from(duration.as_micros()).unwrap_or(SECOND)).await;
    }

    /// Sends one call. `effect` is what it does to the world, whenever it gets there.
    async fn call<T: 'static>(
        &self,
        point: Point,
        within: Micros,
        effect: impl FnOnce(&mut World) -> T + 'static,
    ) -> Reply<T> {
        if self.doomed.get() {
            self.die().await;
        }
        let mutates = point.mutates;
        let guarded = mutates && point.name != "UpdateLease";
        if guarded && self.sim.with(|world| world.stops_before(self.id)) {
            self.sim.sleep(0).await;
        }
        let (fate, latency, permitted) = self.sim.with(|world| {
            let now = world.clock.now;
            let permitted = !guarded || world.mutant == Some("no-permit") || self.may_act(now);
            let fate = world.faults.fate(self.id, &point, &mut world.random);
            let fastest = if point.service == Service::Sql { MILLI } else { 10 * MILLI };
            let latency = world.random.within(fastest, 4 * fastest);
            if guarded && permitted {
                world.sent(self, &point);
            }
            world.trace.note((self.id, point.name, now, permitted));
            world.trace.say(now, || {
                let how = if fate == Fate::Answered { String::new() } else { format!("  !! {fate:?}") };
                format!("operator {}: {} {}{how}", self.id, point.name, point.on)
            });
            (fate, latency, permitted)
        });
        if !permitted {
            // The product's calls take a permit, and there is none.
            self.die().await;
        }
        let change = guarded && point.name != "beat";
        let counted = move |world: &mut World| {
            if change {
                world.changes += 1;
            }
            effect(world)
        };
        match fate {
            Fate::CrashBefore => self.die().await,
            Fate::Refused(kind) => {
                self.sim.sleep(latency).await;
                Reply::Refused(kind)
            }
            Fate::SilenceBefore => {
                self.sim.sleep(within).await;
                Reply::Silence
            }
            Fate::SilenceAfter => {
                self.sim.sleep(latency).await;
                self.sim.with(counted);
                self.sim.sleep(within).await;
                Reply::Silence
            }
            Fate::Late(after) => {
                let (sim, name, on) = (self.sim.clone(), point.name, point.on);
                self.sim.with(|world| {
                    world.clock.spawn(None, async move {
                        sim.sleep(after).await;
                        sim.with(|world| {
                            world.trace.say(world.clock.now, || format!("a late {name} arrives"));
                            world.arrives_late = true;
                            if world.is_left_alone(&on) {
                                world.orphaned(counted);
                            } else {
                                counted(world);
                            }
                            world.arrives_late = false;
                            world.late.push(on);
                        });
                    });
                });
                self.sim.sleep(within).await;
                Reply::Silence
            }
            Fate::CrashAfter => {
                self.sim.sleep(latency).await;
                self.sim.with(counted);
                self.die().await
            }
            Fate::Answered | Fate::CrashRecorded => {
                self.sim.sleep(latency).await;
                let answer = self.sim.with(counted);
                self.sim.sleep(latency).await;
                self.doomed.set(fate == Fate::CrashRecorded);
                Reply::Answer(answer)
            }
        }
    }

    /// A call to a database. `Err` of the effect is how the database refused it.
    async fn sql<T: 'static>(
        &self,
        name: &'static str,
        on: impl std::fmt::Display,
        mutates: bool,
        effect: impl FnOnce(&mut World) -> Result<T, crate::database::Refused> + 'static,
    ) -> Result<T, Fault> {
        let on = on.to_string();
        let point = Point { service: Service::Sql, name, on: on.clone(), mutates, young: false };
        match self.call(point, 2 * SECOND, effect).await {
            Reply::Answer(Ok(answer)) => Ok(answer),
            Reply::Answer(Err(refused)) => Err(refused.fault()),
            // `failure::asking`: a connection that was lost says nothing of what was done.
            Reply::Silence => {
                Err(Fault::Again(format!("{name} on the {on} failed: the connection was lost")))
            }
            Reply::Refused(Kind::Denied) => Err(Fault::blocked(
                slipway::api::condition::Reason::PrivilegeMissing,
                format_args!("{name} on the {on} is not permitted to the operator's role"),
                "Grant it",
            )),
            Reply::Refused(kind) => Err(Fault::Again(format!("{name} on the {on} failed: {kind:?}"))),
        }
    }

    /// A call to the Kubernetes API.
    async fn kubernetes<T: 'static>(
        &self,
        name: &'static str,
        mutates: bool,
        effect: impl FnOnce(&mut World) -> Result<T, kube::Error> + 'static,
    ) -> Result<T, Fault> {
        let point = Point { service: Service::Kubernetes, name, on: String::new(), mutates, young: false };
        let error = match self.call(point, PATIENCE, effect).await {
            Reply::Answer(Ok(answer)) => return Ok(answer),
            Reply::Answer(Err(error)) => error,
            Reply::Silence => kube::Error::LinesCodecMaxLineLengthExceeded,
            Reply::Refused(kind) => match kind {
                Kind::Throttled => cluster::refusal(429, "TooManyRequests"),
                Kind::ServerError => cluster::refusal(503, "ServiceUnavailable"),
                Kind::Denied => cluster::refusal(403, "Forbidden"),
                Kind::Expired => cluster::refusal(401, "Unauthorized"),
                Kind::Conflict => cluster::refusal(409, "Conflict"),
                Kind::NotFound => cluster::refusal(404, "NotFound"),
            },
        };
        Err(slipway::operator::objects::kubernetes(name, &error))
    }

    /// `Goal::parse`.
    fn parse(&self, object: &Object) -> Result<Goal, Blocked> {
        self.sim.with(|world| {
            let parsed = once(&mut world.parsed, object.metadata.generation, || Goal::parse(object));
            Ok(parsed?.as_of(object))
        })
    }

    /// One request to an application; `None` if no answer came in time.
    async fn http<T: 'static>(
        &self,
        name: &'static str,
        on: &str,
        effect: impl FnOnce(&mut World) -> T + 'static,
    ) -> Option<T> {
        let point = Point { service: Service::Http, name, on: on.to_owned(), mutates: false, young: false };
        match self.call(point, 2 * SECOND, effect).await {
            Reply::Answer(answer) => Some(answer),
            Reply::Silence | Reply::Refused(_) => None,
        }
    }

    /// The `ApplicationMigration` as its watch has it.
    fn watched_traffic(&self) -> Option<Traffic> {
        self.sim.with(|world| {
            let (lag, least) = (self.lag.1.get(), self.version.1.get());
            let (version, object) = world.cluster.traffic.seen(world.clock.now, lag, least)?;
            self.version.1.set(version);
            Some(object.clone())
        })
    }

    /// The resource as its watch has it.
    fn watched(&self) -> Option<Object> {
        self.sim.with(|world| {
            let now = world.clock.now;
            let (lag, least) = (self.lag.0.get(), self.version.0.get());
            let (version, object) = world.cluster.database.seen(now, lag, least)?;
            self.version.0.set(version);
            if object.metadata.deletion_timestamp.is_some() && self.told_of_deletion.get().is_none() {
                self.told_of_deletion.set(Some(stamp(now + self.skew)));
            }
            Some(object.clone())
        })
    }
}

impl World {
    /// Now and then an operator is stopped at the worst moment: all is decided, and the change is about to be sent.
    fn stops_before(&mut self, process: ProcessId) -> bool {
        let stops = self.faults.pauses && !self.faults.over && self.random.permille(40);
        if stops {
            let until = self.clock.now + self.random.within(10 * SECOND, 60 * SECOND);
            self.stop(process, until);
        }
        stops
    }

    /// Stops a process, as a machine does that is out of memory.
    pub fn stop(&mut self, process: ProcessId, until: Micros) {
        self.trace.say(self.clock.now, || format!("operator {process} is stopped"));
        self.clock.paused.retain(|(stopped, _)| *stopped != process);
        self.clock.paused.push((process, until));
    }

    /// What arrives when the resource is gone or finished can't be undone by anybody: what it makes stays, a known limit.
    fn orphaned<T>(&mut self, effect: impl FnOnce(&mut Self) -> T) {
        let (before, stood) = (self.inventory(), self.traffic.is_some().then(|| self.stands()));
        effect(self);
        if let Some(stood) = stood.filter(|stood| *stood != self.stands()) {
            self.stood.get_or_insert(stood);
        }
        let made = self.inventory().into_iter().filter(|item| !before.contains(item));
        self.orphans.extend(made.map(|item| item.name));
    }

    /// Invariant 11, when a change is sent: nobody else may act.
    fn sent(&mut self, process: &Process, point: &Point) {
        let now = self.clock.now;
        let others: Vec<ProcessId> = self
            .processes
            .iter()
            .filter_map(std::rc::Weak::upgrade)
            .filter(|other| other.id != process.id && other.may_act(now))
            .map(|other| other.id)
            .collect();
        if !others.is_empty() {
            let words = format!(
                "operator {} sends {} while operator {} may act, too",
                process.id, point.name, others[0]
            );
            self.fail(11, words);
        }
    }
}

/// Holds the Lease, or waits for it.
async fn keep_lease(sim: Sim, process: Rc<Process>) {
    let monotonic = || sim.with(|world| process.monotonic(world.clock.now));
    loop {
        let next = process.elector.borrow().next(monotonic());
        match next {
            Do::Look => {
                let sent = monotonic();
                let read =
                    process.kubernetes("GetLease", false, |world| Ok(world.cluster.lease.clone())).await;
                let mut elector = process.elector.borrow_mut();
                match read {
                    Ok(lease) => elector.saw(lease, monotonic()),
                    Err(_) => elector.failed(sent, monotonic()),
                }
            }
            Do::Write(record) => {
                let sent = monotonic();
                let wrote = process
                    .kubernetes("UpdateLease", true, move |world| world.cluster.write_lease(record))
                    .await;
                let mut elector = process.elector.borrow_mut();
                match wrote {
                    Ok(answer) => elector.wrote(answer, sent, monotonic()),
                    Err(_) => elector.failed(sent, monotonic()),
                }
            }
            Do::Sleep(until) => {
                let left = until.saturating_sub(monotonic());
                let left = i64::try_from(left.as_micros()).unwrap_or(SECOND) * 1_000 / process.rate + 1;
                sim.sleep(left).await;
            }
            Do::Lost(lost) => {
                sim.with(|world| {
                    let id = process.id;
                    world.trace.say(world.clock.now, || format!("operator {id} lost the lease: {lost}"));
                });
                process.die().await;
            }
        }
    }
}

/// The loop around reconcile, as the controller drives it.
async fn reconcile_for_ever(process: Rc<Process>) {
    let sim = process.sim.clone();
    while sim.with(|world| !process.may_act(world.clock.now)) {
        sim.sleep(SECOND / 2).await;
    }
    // The controller starts only now (`operator::run`), with a list of what the API server has.
    sim.with(|world| process.version.0.set(world.cluster.database.newest_version()));
    loop {
        if sim.with(|world| !process.may_act(world.clock.now)) {
            sim.sleep(SECOND / 2).await;
            continue;
        }
        let Some(object) = process.watched() else {
            sim.sleep_until_news(News::Database, RELIST).await;
            continue;
        };
        let pause = after(&sim, Box::pin(walk::reconcile(&process, object)).await);
        sim.sleep_until_news(News::Database, pause).await;
    }
}

/// The same for the other kind, by a controller of its own.
async fn serve_traffic(process: Rc<Process>) {
    let sim = process.sim.clone();
    while sim.with(|world| !process.may_act(world.clock.now)) {
        sim.sleep(SECOND / 2).await;
    }
    sim.with(|world| process.version.1.set(world.cluster.traffic.newest_version()));
    loop {
        if sim.with(|world| !process.may_act(world.clock.now)) {
            sim.sleep(SECOND / 2).await;
            continue;
        }
        let Some(object) = process.watched_traffic() else {
            sim.sleep_until_news(News::Traffic, RELIST).await;
            continue;
        };
        let pause = after(&sim, Box::pin(traffic::reconcile(&process, object)).await);
        sim.sleep_until_news(News::Traffic, pause).await;
    }
}

/// What a generation of a spec says, parsed once for each: it would take a third to a half of all time.
fn once<G>(
    parsed: &mut Vec<(Option<i64>, G)>,
    generation: Option<i64>,
    parse: impl FnOnce() -> Result<G, Blocked>,
) -> Result<&G, Blocked> {
    let at = if let Some(at) = parsed.iter().position(|(of, _)| *of == generation) {
        at
    } else {
        parsed.push((generation, parse()?));
        parsed.len() - 1
    };
    Ok(&parsed[at].1)
}

/// `operator::after_failure`, where it failed.
fn after(sim: &Sim, reconciled: Result<Duration, Fault>) -> Micros {
    let pause = match reconciled {
        Ok(pause) => pause,
        Err(Fault::Wait(_) | Fault::Unknown(_)) => Duration::from_millis(500),
        Err(Fault::Again(_) | Fault::Blocked(_)) => Duration::from_secs(5),
        Err(Fault::Bug(words)) => {
            sim.with(|world| world.fail(0, format!("the operator calls it a bug: {words}")));
            Duration::from_mins(10)
        }
    };
    i64::try_from(pause.as_micros()).unwrap_or(SECOND).max(MILLI)
}

/// The resource changed: each watch hears of it a moment later, or, if the event is lost, when it lists anew.
pub fn tell_watches(world: &mut World, kind: News) {
    let now = world.clock.now;
    let troubled = world.faults.rate > 0 && !world.faults.over;
    for id in 0..3 {
        let Some(process) = running(world, id) else { continue };
        let lag = match (troubled, world.random.within(0, 100)) {
            (true, 0..4) => world.random.within(SECOND, RELIST),
            (true, 4..20) => world.random.within(100 * MILLI, 3 * SECOND),
            _ => world.random.within(5 * MILLI, 60 * MILLI),
        };
        match kind {
            News::Database => process.lag.0.set(lag),
            News::Traffic => process.lag.1.set(lag),
        }
        world.clock.nudge(id, kind, now + lag + MILLI);
    }
}
