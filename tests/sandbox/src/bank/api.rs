//! The bank's API: machines that take the application's writes over HTTP and carry them out in the database that takes them.
//!
//! A machine finds the writer as a driver with several hosts does, and its sessions come from its own address. One that is
//! made sick answers everything with 500, its health check included.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tokio_postgres::Client;

use super::load::{PATIENCE, is_elsewhere, is_unknown, writer_from};
use super::writes::{self, Done, Statements, Write};
use crate::postgres::{Error, Login, describe};

/// Sessions of one machine with the database.
const SESSIONS: usize = 4;
/// How often a pool looks after its idle sessions.
const KEEP: Duration = Duration::from_millis(250);
/// A request that finds no session in this time is told so: less than its client waits.
const WAIT: Duration = Duration::from_millis(1_500);

/// A write, as it is sent to the API.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Order {
    pub(super) write: Write,
    /// It was sent before, and what became of it is not known.
    pub(super) again: bool,
}

/// What the API says of a write.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Said {
    /// It is done.
    Done(Done),
    /// It was not carried out, and never will be by this request.
    Refused(String),
    /// Nobody knows.
    Unknown(String),
}

/// One machine of a fleet. Dropping it ends it.
pub struct Machine {
    address: Ipv4Addr,
    inner: Arc<Inner>,
    tasks: Vec<JoinHandle<()>>,
}

struct Inner {
    address: Ipv4Addr,
    logins: Vec<Login>,
    idle: Mutex<Vec<(Client, Statements)>>,
    places: Semaphore,
    sick: AtomicBool,
    served: AtomicU64,
}

impl Machine {
    /// Listens on an address of loopback, and keeps sessions with the writer, which is the first of the logins that lets it in.
    pub async fn start(address: Ipv4Addr, port: u16, logins: Vec<Login>) -> io::Result<Self> {
        let listener = TcpListener::bind(SocketAddr::from((address, port))).await?;
        let inner = Arc::new(Inner {
            address,
            logins,
            idle: Mutex::default(),
            places: Semaphore::new(SESSIONS),
            sick: AtomicBool::new(false),
            served: AtomicU64::new(0),
        });
        let router = Router::new()
            .route("/writes", post(carry))
            .route("/healthz", get(health))
            .with_state(Arc::clone(&inner));
        let serve = async move {
            if let Err(error) = axum::serve(listener, router).await {
                tracing::warn!(%error, "a machine of the bank ended");
            }
        };
        let keep = Arc::clone(&inner);
        let tasks = vec![tokio::spawn(serve), tokio::spawn(async move { keep.keep().await })];
        Ok(Self { address, inner, tasks })
    }

    /// Where it listens.
    pub fn address(&self) -> Ipv4Addr {
        self.address
    }

    /// From now on it answers everything with 500, or no longer.
    pub fn sicken(&self, sick: bool) {
        self.inner.sick.store(sick, Relaxed);
    }

    /// Requests to write that came.
    pub fn served(&self) -> u64 {
        self.inner.served.load(Relaxed)
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

impl Inner {
    /// Opens sessions where there are none, and closes those that can write no more, as a pool does.
    async fn keep(&self) {
        loop {
            sleep(KEEP).await;
            // One at a time: those that are in use show by themselves what they are good for.
            let Ok(_place) = self.places.try_acquire() else { continue };
            let kept = self.take();
            let session = match kept {
                Some((client, statements)) if may_write(&client).await => Ok((client, statements)),
                Some(_) | None => self.open().await,
            };
            if let Ok(session) = session {
                self.give(session);
            }
        }
    }

    fn take(&self) -> Option<(Client, Statements)> {
        // The oldest, so that each gets its turn.
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.is_empty() { None } else { Some(idle.remove(0)) }
    }

    fn give(&self, session: (Client, Statements)) {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(session);
    }

    async fn open(&self) -> Result<(Client, Statements), Error> {
        let client = writer_from(Some(self.address), &self.logins, "bank api").await?;
        let statements = Statements::prepare(&client).await.map_err(Error::sql("preparing the API"))?;
        Ok((client, statements))
    }

    async fn carry(&self, order: &Order) -> Said {
        let place = timeout(WAIT, self.places.acquire()).await;
        let Ok(Ok(_place)) = place else { return Said::Refused("no session is free".to_owned()) };
        let session = match self.take() {
            Some(session) => Ok(session),
            None => timeout(WAIT, self.open()).await.unwrap_or_else(|_| {
                let cause = format!("no answer in {WAIT:?}");
                Err(Error::Sql { attempt: "looking for the writer".to_owned(), cause })
            }),
        };
        let (mut client, statements) = match session {
            Ok(session) => session,
            Err(error) => return Said::Refused(error.to_string()),
        };
        let attempt = async {
            // Boxed: a transfer holds many statements at once.
            if order.again {
                Box::pin(writes::again(&mut client, &statements, &order.write)).await
            } else {
                Box::pin(writes::first(&mut client, &statements, &order.write)).await
            }
        };
        match timeout(PATIENCE, attempt).await {
            Ok(Ok(done)) => {
                self.give((client, statements));
                Said::Done(done)
            }
            Ok(Err(error)) if is_unknown(&error) => Said::Unknown(describe(&error)),
            Ok(Err(error)) => {
                if !is_elsewhere(&error) {
                    self.give((client, statements));
                }
                Said::Refused(describe(&error))
            }
            Err(_) => Said::Unknown(format!("no answer in {PATIENCE:?}")),
        }
    }
}

async fn may_write(client: &Client) -> bool {
    let may = "SELECT has_table_privilege('public.requests', 'INSERT')";
    let asked = timeout(PATIENCE, client.query_one(may, &[])).await;
    asked.is_ok_and(|asked| asked.is_ok_and(|row| row.get(0)))
}

async fn health(State(inner): State<Arc<Inner>>) -> StatusCode {
    if inner.sick.load(Relaxed) { StatusCode::INTERNAL_SERVER_ERROR } else { StatusCode::OK }
}

async fn carry(State(inner): State<Arc<Inner>>, body: Bytes) -> Response {
    inner.served.fetch_add(1, Relaxed);
    if inner.sick.load(Relaxed) {
        let said = Said::Refused("this machine is sick".to_owned());
        return answer(StatusCode::INTERNAL_SERVER_ERROR, &said);
    }
    let order: Order = match serde_json::from_slice(&body) {
        Ok(order) => order,
        Err(error) => return answer(StatusCode::BAD_REQUEST, &Said::Refused(error.to_string())),
    };
    // By itself, so that a client that goes away leaves no transaction half done.
    let work = tokio::spawn(async move { inner.carry(&order).await });
    let said = work.await.unwrap_or_else(|error| Said::Unknown(error.to_string()));
    let status = match &said {
        Said::Done(_) => StatusCode::OK,
        Said::Refused(_) => StatusCode::SERVICE_UNAVAILABLE,
        Said::Unknown(_) => StatusCode::INTERNAL_SERVER_ERROR,
    };
    answer(status, &said)
}

fn answer(status: StatusCode, said: &Said) -> Response {
    match serde_json::to_vec(said) {
        Ok(body) => (status, body).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}
