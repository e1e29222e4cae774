//! The stand-in for AWS: one listener on loopback, the wire protocols of the Rust SDKs in front of a [`World`].
//!
//! It owns the clock: it tells the world what time it is, hands the world's effects to a data plane, and the data
//! plane's reports to the world. It never decides what AWS would answer; that is the world's.
//!
//! | path | protocol | module |
//! |---|---|---|
//! | `/service/GraniteServiceVersion20100801/operation/…` | CloudWatch, rpc-v2-cbor | `cbor` |
//! | `/` with `x-amz-target` | DMS, Secrets Manager and ECS, JSON 1.1 | `json` |
//! | `/` with a form | RDS, STS and Elastic Load Balancing, query and XML | `query` |
//! | `/2013-04-01/…` | Route 53, REST and XML | `rest` |
//! | `/_sandbox/calls`, `/_sandbox/faults` | for tests and people | `control` |

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use jiff::{SignedDuration, Timestamp};
use tokio::net::TcpListener;
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinSet;
use tracing::{debug, warn};

use crate::plane::{Effect, Report};
use crate::world::World;

mod answer;
mod cbor;
mod control;
mod json;
mod query;
mod rest;
mod xml;

pub mod fault;
pub mod journal;

/// The largest request body taken.
const LARGEST_BODY: usize = 4 << 20;

/// A running stand-in. Dropping it ends it.
pub struct Server {
    address: SocketAddr,
    shared: Arc<Shared>,
    _tasks: JoinSet<()>,
}

/// The world behind a stand-in, for tasks of the sandbox's own. It outlives the server.
#[derive(Clone)]
pub struct Handle(Arc<Shared>);

impl Handle {
    /// Looks at the world, or tells it something, at the time of the server's clock.
    pub fn with_world<R>(&self, look: impl FnOnce(&mut World, Timestamp) -> R) -> R {
        look(&mut self.0.lock().world, Timestamp::now())
    }
}

pub(crate) struct Shared {
    state: Mutex<State>,
    /// Something may have become due.
    woken: Notify,
}

pub(crate) struct State {
    pub(crate) world: World,
    pub(crate) faults: fault::Faults,
    pub(crate) journal: journal::Journal,
    /// The world of the last minute, a copy for each second, for describes that lag behind.
    past: VecDeque<World>,
    requests: u64,
}

impl Server {
    /// Listens, and lets the world's time run. `effects` has no bound, so that a slow data plane can't stop the clock.
    pub async fn start(
        listen: SocketAddr,
        world: World,
        effects: mpsc::UnboundedSender<Effect>,
        reports: mpsc::Receiver<Report>,
    ) -> std::io::Result<Self> {
        let listener = TcpListener::bind(listen).await?;
        let address = listener.local_addr()?;
        let state = State {
            past: VecDeque::from([world.clone()]),
            world,
            faults: fault::Faults::default(),
            journal: journal::Journal::default(),
            requests: 0,
        };
        let shared = Arc::new(Shared { state: Mutex::new(state), woken: Notify::new() });
        let mut tasks = JoinSet::new();
        tasks.spawn(run_clock(Arc::clone(&shared), effects, reports));
        tasks.spawn(accept(Arc::clone(&shared), listener));
        Ok(Self { address, shared, _tasks: tasks })
    }

    /// Where it listens: the value of `AWS_ENDPOINT_URL_*`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Every call so far, oldest first.
    pub fn calls(&self) -> Vec<journal::Record> {
        self.shared.lock().journal.since(0)
    }

    /// Tells `hook` of each call from now on: once its effect is there, and before its caller has the answer. That is the
    /// place to kill the caller. The hook holds everything up while it runs.
    pub fn on_call(&self, hook: impl FnMut(&journal::Record) + Send + 'static) {
        self.shared.lock().journal.tell(Some(Box::new(hook)));
    }

    /// Ends [`Self::on_call`].
    pub fn off_call(&self) {
        self.shared.lock().journal.tell(None);
    }

    /// Sets a fault, or lets something happen to the world.
    pub fn order(&self, order: fault::Order) -> Result<(), crate::world::UnknownThing> {
        self.shared.order(order)
    }

    /// Ends all faults.
    pub fn clear_faults(&self) {
        self.shared.clear_faults();
    }

    /// For those who play what AWS's API only describes: load balancers and name servers.
    pub fn handle(&self) -> Handle {
        Handle(Arc::clone(&self.shared))
    }

    /// Looks at the world, or changes it, at the time of the server's clock.
    pub fn with_world<R>(&self, look: impl FnOnce(&mut World, Timestamp) -> R) -> R {
        let result = look(&mut self.shared.lock().world, Timestamp::now());
        self.shared.woken.notify_one();
        result
    }
}

impl Shared {
    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        // A panic of one request is no reason to refuse all others: each change of the state is whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn order(&self, order: fault::Order) -> Result<(), crate::world::UnknownThing> {
        let now = Timestamp::now();
        let mut state = self.lock();
        let result = match order {
            fault::Order::Fault(rule) => {
                state.faults.add(rule, now);
                Ok(())
            }
            fault::Order::World(meddling) => state.world.meddle(meddling, now),
        };
        drop(state);
        self.woken.notify_one();
        result
    }

    pub(crate) fn clear_faults(&self) {
        let mut state = self.lock();
        state.faults.clear();
        state.world.mend();
    }
}

impl State {
    pub(crate) fn next_request_id(&mut self) -> String {
        self.requests += 1;
        format!("5a1d0000-0000-4000-8000-{:012x}", self.requests)
    }

    /// The world as it was `lag` ago, or as long ago as is remembered.
    pub(crate) fn past(&self, lag: SignedDuration, now: Timestamp) -> World {
        let wanted = now - lag;
        let older = self.past.iter().rev().find(|world| world.now() <= wanted);
        older.or(self.past.front()).unwrap_or(&self.world).clone()
    }

    fn remember(&mut self, now: Timestamp) {
        let second = SignedDuration::from_secs(1);
        if self.past.back().is_none_or(|last| now.duration_since(last.now()) >= second) {
            self.past.push_back(self.world.clone());
            if self.past.len() > 60 {
                self.past.pop_front();
            }
        }
    }
}

async fn run_clock(
    shared: Arc<Shared>,
    effects: mpsc::UnboundedSender<Effect>,
    mut reports: mpsc::Receiver<Report>,
) {
    let mut hears = true;
    loop {
        let now = Timestamp::now();
        let next = {
            let mut state = shared.lock();
            state.remember(now);
            for effect in state.world.advance(now) {
                debug!(?effect, "effect");
                if effects.send(effect).is_err() {
                    warn!("the data plane is gone: nothing will be tested or moved");
                }
            }
            state.world.next_change()
        };
        let longest = Duration::from_millis(500);
        let wait = next
            .map_or(longest, |next| Duration::try_from(next.duration_since(now)).unwrap_or_default())
            .clamp(Duration::from_millis(1), longest);
        tokio::select! {
            report = reports.recv(), if hears => match report {
                Some(report) => shared.lock().world.tell(report, Timestamp::now()),
                None => hears = false,
            },
            () = tokio::time::sleep(wait) => {}
            () = shared.woken.notified() => {}
        }
    }
}

async fn accept(shared: Arc<Shared>, listener: TcpListener) {
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        let shared = Arc::clone(&shared);
        connections.spawn(async move {
            let service = service_fn(|request| respond(&shared, request));
            if let Err(error) = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await {
                debug!(%error, "connection ended");
            }
        });
    }
}

/// The reply is lost on purpose: hyper closes the connection without a byte.
#[derive(Debug, thiserror::Error)]
#[error("the reply is lost: a fault asked for it")]
pub(crate) struct Lost;

async fn respond(shared: &Shared, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Lost> {
    let (parts, body) = request.into_parts();
    let limited = http_body_util::Limited::new(body, LARGEST_BODY);
    let Ok(body) = limited.collect().await.map(http_body_util::Collected::to_bytes) else {
        return Ok(control::plain(413, "the request's body can't be read, or is too large".to_owned()));
    };
    if parts.uri.path().starts_with("/_sandbox/") {
        return Ok(control::respond(shared, &parts, &body));
    }
    let reply = answer::answer(shared, &parts, &body);
    shared.woken.notify_one();
    reply
}
