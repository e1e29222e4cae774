//! The virtual clock, and what runs on it: actors, each an async block that waits for nothing but time. One poll is one step
//! of the history, and nothing else happens while it lasts.

use std::cell::RefCell;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use crate::world::World;

/// Microseconds of true time since a history began.
pub type Micros = i64;
/// One second.
pub const SECOND: Micros = 1_000_000;
/// One millisecond.
pub const MILLI: Micros = 1_000;

/// Which operator process.
pub type ProcessId = u8;

/// Of which kind of resource there is news.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum Kind {
    Database,
    Traffic,
}

/// What runs.
pub type Act = Pin<Box<dyn Future<Output = ()>>>;

/// What the scheduler and those that run say to each other.
#[derive(Default)]
pub struct Clock {
    /// The true time.
    pub now: Micros,
    /// Set by the one that was polled: when it wants to go on, and whether news may wake it earlier.
    wake: Option<(Micros, Option<Kind>)>,
    spawned: Vec<(Option<ProcessId>, Act)>,
    killed: Vec<ProcessId>,
    nudged: Vec<(ProcessId, Kind, Micros)>,
    /// Processes that are stopped, and until when.
    pub paused: Vec<(ProcessId, Micros)>,
}

impl Clock {
    /// Lets something run from now on; with a process, it ends with it.
    pub fn spawn(&mut self, owner: Option<ProcessId>, act: impl Future<Output = ()> + 'static) {
        self.spawned.push((owner, Box::pin(act)));
    }

    /// Ends a process at once.
    pub fn kill(&mut self, process: ProcessId) {
        self.killed.push(process);
    }

    /// Wakes what a process waits with for news of this kind, at this time at the latest.
    pub fn nudge(&mut self, process: ProcessId, kind: Kind, at: Micros) {
        self.nudged.push((process, kind, at));
    }
}

/// The world, as those that run in it hold it.
#[derive(Clone)]
pub struct Sim(Rc<RefCell<World>>);

impl Sim {
    /// Around a world.
    pub fn new(world: World) -> Self {
        Self(Rc::new(RefCell::new(world)))
    }

    /// Looks at the world, or changes it. Never across an await.
    pub fn with<T>(&self, look: impl FnOnce(&mut World) -> T) -> T {
        look(&mut self.0.borrow_mut())
    }

    /// Waits.
    pub fn sleep(&self, for_: Micros) -> Sleep {
        Sleep { sim: self.clone(), for_, news: None, begun: false }
    }

    /// Waits, or less long if there is news of this kind for the process.
    pub fn sleep_until_news(&self, kind: Kind, for_: Micros) -> Sleep {
        Sleep { sim: self.clone(), for_, news: Some(kind), begun: false }
    }
}

/// A wait.
pub struct Sleep {
    sim: Sim,
    for_: Micros,
    news: Option<Kind>,
    begun: bool,
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        if self.begun {
            return Poll::Ready(());
        }
        self.begun = true;
        let (for_, news) = (self.for_.max(0), self.news);
        self.sim.with(|world| world.clock.wake = Some((world.clock.now + for_, news)));
        Poll::Pending
    }
}

struct Actor {
    owner: Option<ProcessId>,
    act: Act,
    due: Micros,
    token: u32,
    news: Option<Kind>,
}

/// Runs one history.
pub struct Scheduler {
    sim: Sim,
    actors: Vec<Option<Actor>>,
    free: Vec<usize>,
    queue: BinaryHeap<Reverse<(Micros, u64, usize, u32)>>,
    order: u64,
    tokens: u32,
    /// How many steps were made.
    pub steps: u64,
}

impl Scheduler {
    /// Nothing runs yet but what was spawned.
    pub fn new(sim: Sim) -> Self {
        let mut scheduler = Self {
            sim,
            actors: Vec::new(),
            free: Vec::new(),
            queue: BinaryHeap::new(),
            order: 0,
            tokens: 0,
            steps: 0,
        };
        scheduler.settle();
        scheduler
    }

    fn push(&mut self, index: usize, due: Micros, news: Option<Kind>) {
        self.tokens = self.tokens.wrapping_add(1);
        self.order += 1;
        if let Some(actor) = &mut self.actors[index] {
            actor.due = due;
            actor.token = self.tokens;
            actor.news = news;
            self.queue.push(Reverse((due, self.order, index, self.tokens)));
        }
    }

    /// One step. False when nothing is left to run.
    pub fn step(&mut self) -> bool {
        let (due, index) = loop {
            let Some(Reverse((due, _, index, token))) = self.queue.pop() else { return false };
            let Some(actor) = self.actors[index].as_ref().filter(|actor| actor.token == token) else {
                continue;
            };
            let owner = actor.owner;
            let stopped = self.sim.with(|world| {
                let until = world.clock.paused.iter().find(|(process, _)| Some(*process) == owner);
                until.map(|(_, until)| *until).filter(|until| *until > due)
            });
            match stopped {
                Some(until) => {
                    let news = actor.news;
                    self.push(index, until, news);
                }
                None => break (due, index),
            }
        };
        self.sim.with(|world| world.pass(due));
        let Some(actor) = &mut self.actors[index] else { return true };
        let done = actor.act.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready();
        self.steps += 1;
        let wake = self.sim.with(|world| world.clock.wake.take());
        match wake {
            Some((at, news)) if !done => self.push(index, at, news),
            _ => self.remove(index),
        }
        self.settle();
        true
    }

    fn remove(&mut self, index: usize) {
        self.actors[index] = None;
        self.free.push(index);
    }

    /// Does what was asked for in the last step.
    fn settle(&mut self) {
        loop {
            let (spawned, killed, nudged, now) = self.sim.with(|world| {
                let clock = &mut world.clock;
                (
                    std::mem::take(&mut clock.spawned),
                    std::mem::take(&mut clock.killed),
                    std::mem::take(&mut clock.nudged),
                    clock.now,
                )
            });
            if spawned.is_empty() && killed.is_empty() && nudged.is_empty() {
                return;
            }
            for process in killed {
                for index in 0..self.actors.len() {
                    if self.actors[index].as_ref().is_some_and(|actor| actor.owner == Some(process)) {
                        self.remove(index);
                    }
                }
                crate::operator::ended(&self.sim, process);
            }
            for (owner, act) in spawned {
                let index = self.free.pop().unwrap_or_else(|| {
                    self.actors.push(None);
                    self.actors.len() - 1
                });
                self.actors[index] = Some(Actor { owner, act, due: now, token: 0, news: None });
                self.push(index, now, None);
            }
            for (process, kind, at) in nudged {
                for index in 0..self.actors.len() {
                    let waits = self.actors[index].as_ref().is_some_and(|actor| {
                        actor.owner == Some(process) && actor.news == Some(kind) && actor.due > at
                    });
                    if waits {
                        self.push(index, at, Some(kind));
                    }
                }
            }
        }
    }
}
