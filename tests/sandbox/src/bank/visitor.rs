//! Clients of the bank's API: each resolves the public name for itself, keeps the answer for its time, and asks where it leads.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper::client::conn::http1;
use hyper::header::{CONNECTION, CONTENT_TYPE, HOST};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::api::{Order, Said};
use crate::sandbox::{self, Environment};
use crate::traffic::Resolver;

/// A request that takes longer is given up.
const PATIENCE: Duration = Duration::from_secs(2);

/// Where the public name is, and how it is asked.
#[derive(Clone, Debug)]
pub struct Public {
    /// The name server.
    pub dns: SocketAddr,
    /// The name.
    pub name: String,
    /// The port on which everything that it leads to listens.
    pub port: u16,
    /// Where the application is served from before it moves: whatever else is answered counts as the target.
    pub source: Ipv4Addr,
}

impl Public {
    /// That of a sandbox.
    pub fn read(environment: &Environment) -> Result<Self, sandbox::Error> {
        let malformed = |name: &str| {
            let what = environment.path().display().to_string();
            sandbox::Error::Malformed { what, reason: format!("{name} is no address with a port") }
        };
        let address = |name: &str| -> Result<SocketAddr, sandbox::Error> {
            environment.get(name)?.parse().map_err(|_| malformed(name))
        };
        Ok(Self {
            dns: address("DNS_ADDRESS")?,
            name: environment.get("RECORD_NAME")?.to_owned(),
            port: address("LOAD_BALANCER_ADDRESS")?.port(),
            source: sandbox::SOURCE_ADDRESS,
        })
    }
}

/// What clients saw.
#[derive(Debug, Default)]
pub struct Seen {
    /// Answers of the name server that led to the source, and to the target.
    pub resolved: [AtomicU64; 2],
    /// Attempts of requests, and those of them that failed.
    pub attempts: [AtomicU64; 2],
}

/// Why an attempt brought nothing.
#[derive(Debug)]
pub(super) enum Trouble {
    /// It was not carried out and never will be.
    Refused(String),
    /// Nobody knows.
    Unknown(String),
}

/// Many clients of one place, each with a resolver of its own; they take turns.
pub(super) struct Visitors {
    public: Public,
    resolvers: Vec<Resolver>,
    turn: usize,
}

impl Visitors {
    pub(super) fn new(public: &Public, count: usize) -> Self {
        let resolver = Resolver::new(public.dns, &public.name);
        Self { public: public.clone(), resolvers: vec![resolver; count.max(1)], turn: 0 }
    }

    /// The next client sends this, and once more if that fails.
    pub(super) async fn send(
        &mut self,
        order: &mut Order,
        seen: &Seen,
    ) -> Result<super::writes::Done, Trouble> {
        self.turn = (self.turn + 1) % self.resolvers.len();
        match self.attempt(order, seen).await {
            Ok(done) => return Ok(done),
            Err(Trouble::Refused(_)) => {}
            Err(Trouble::Unknown(_)) => order.again = true,
        }
        match self.attempt(order, seen).await {
            // What was refused this time says nothing about the time before.
            Err(Trouble::Refused(why)) if order.again => Err(Trouble::Unknown(why)),
            other => other,
        }
    }

    async fn attempt(&mut self, order: &Order, seen: &Seen) -> Result<super::writes::Done, Trouble> {
        let Public { port, name, source, .. } = &self.public;
        let (address, fresh) = match self.resolvers[self.turn].address().await {
            Ok(found) => found,
            Err(error) => return Err(Trouble::Refused(format!("resolving {name}: {error}"))),
        };
        let side = usize::from(address != *source);
        if fresh {
            seen.resolved[side].fetch_add(1, Relaxed);
        }
        seen.attempts[0].fetch_add(1, Relaxed);
        let asked = timeout(PATIENCE, ask(SocketAddr::from((address, *port)), name, order)).await;
        let answer = asked.unwrap_or_else(|_| Err(Trouble::Unknown(format!("no answer in {PATIENCE:?}"))));
        if answer.is_err() {
            seen.attempts[1].fetch_add(1, Relaxed);
        }
        answer
    }
}

async fn ask(at: SocketAddr, name: &str, order: &Order) -> Result<super::writes::Done, Trouble> {
    let unknown = |error: &dyn std::fmt::Display| Trouble::Unknown(format!("asking {at}: {error}"));
    let body = serde_json::to_vec(order).map_err(|error| Trouble::Refused(error.to_string()))?;
    let stream = TcpStream::connect(at).await;
    // Nothing was sent.
    let stream = stream.map_err(|error| Trouble::Refused(format!("connecting to {at}: {error}")))?;
    let (mut sender, connection) =
        http1::handshake(TokioIo::new(stream)).await.map_err(|error| unknown(&error))?;
    let connection = tokio::spawn(connection);
    let request = Request::post("/writes")
        .header(HOST, format!("{name}:{}", at.port()))
        .header(CONTENT_TYPE, "application/json")
        .header(CONNECTION, "close")
        .body(Full::new(Bytes::from(body)))
        .map_err(|error| Trouble::Refused(error.to_string()))?;
    let answer = sender.send_request(request).await.map_err(|error| unknown(&error))?;
    let status = answer.status();
    let body = answer.into_body().collect().await.map_err(|error| unknown(&error))?.to_bytes();
    connection.abort();
    match serde_json::from_slice(&body) {
        Ok(Said::Done(done)) => Ok(done),
        Ok(Said::Refused(why)) => Err(Trouble::Refused(why)),
        Ok(Said::Unknown(why)) => Err(Trouble::Unknown(why)),
        // The load balancer's own answer, which does not say how far the request came.
        Err(_) => Err(Trouble::Unknown(format!("{at} answered with {status}"))),
    }
}
