//! The health checks of targets: HTTP, as often as the world says.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1;
use hyper::header::{CONNECTION, HOST, USER_AGENT};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::task::{JoinHandle, JoinSet};

use crate::serve::Handle;
use crate::world::World;
use crate::world::balancer::{Failure, Probe};

/// How often it asks what is due.
const LOOK: Duration = Duration::from_millis(50);

/// Probes every target of every load balancer. Dropping it ends it.
pub struct Prober {
    task: JoinHandle<()>,
}

impl Prober {
    /// Begins at once.
    pub fn start(world: Handle) -> Self {
        Self { task: tokio::spawn(run(world)) }
    }
}

impl Drop for Prober {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn run(world: Handle) {
    let mut probes = JoinSet::new();
    loop {
        while probes.try_join_next().is_some() {}
        for probe in world.with_world(World::due_probes) {
            let world = world.clone();
            probes.spawn(async move {
                let result = tokio::time::timeout(probe.timeout, ask(&probe)).await;
                let result = result.unwrap_or(Err(Failure::Timeout));
                world.with_world(|world, now| world.probed(&probe, result, now));
            });
        }
        tokio::time::sleep(LOOK).await;
    }
}

async fn ask(probe: &Probe) -> Result<(), Failure> {
    match get(probe.address, probe.port, &probe.path).await {
        Ok(StatusCode::OK) => Ok(()),
        Ok(other) => Err(Failure::Status(other.as_u16())),
        Err(Unanswered) => Err(Failure::Failed),
    }
}

/// Nobody answers, or not with HTTP.
struct Unanswered;

async fn get(address: Ipv4Addr, port: u16, path: &str) -> Result<StatusCode, Unanswered> {
    let stream = TcpStream::connect(SocketAddr::from((address, port))).await.map_err(|_| Unanswered)?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(|_| Unanswered)?;
    let connection = tokio::spawn(connection);
    let request = Request::get(path)
        .header(HOST, format!("{address}:{port}"))
        .header(USER_AGENT, "ELB-HealthChecker/2.0")
        .header(CONNECTION, "close")
        .body(Full::new(Bytes::new()))
        .map_err(|_| Unanswered)?;
    let answered = sender.send_request(request).await.map_err(|_| Unanswered);
    let status = answered.as_ref().map(hyper::Response::status).map_err(|_| Unanswered);
    if let Ok(response) = answered {
        // The body is of no interest, but a target that breaks off is not well.
        http_body_util::Limited::new(response.into_body(), 1 << 20)
            .collect()
            .await
            .map_err(|_| Unanswered)?;
    }
    connection.abort();
    status
}
