//! A load balancer: takes a request, sends it to the next target, hands the answer back, and tells what it saw.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1 as client;
use hyper::header::{CONNECTION, HeaderMap, HeaderName, HeaderValue, TRANSFER_ENCODING};
use hyper::server::conn::http1 as server;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};
use tracing::{debug, warn};

use crate::serve::Handle;
use crate::world::balancer::Served;

/// The largest body that is forwarded, either way.
const LARGEST_BODY: usize = 8 << 20;
/// How long a target may take to be connected to. Source: user guide, HTTP 504.
const CONNECT: Duration = Duration::from_secs(10);
/// How long a target may be silent. Source: user guide, idle timeout.
const IDLE: Duration = Duration::from_mins(1);

/// One listener of a load balancer. Dropping it ends it and every connection.
pub struct Forwarder {
    task: JoinHandle<()>,
}

struct Balancer {
    world: Handle,
    arn: String,
}

impl Forwarder {
    /// Forwards what comes to a listener to the targets of the load balancer with this ARN.
    pub fn start(world: Handle, listener: TcpListener, arn: &str) -> Self {
        let balancer = Arc::new(Balancer { world, arn: arn.to_owned() });
        Self { task: tokio::spawn(accept(listener, balancer)) }
    }
}

impl Drop for Forwarder {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(listener: TcpListener, balancer: Arc<Balancer>) {
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        let (stream, from) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                warn!(%error, "a connection to the load balancer could not be accepted");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        let balancer = Arc::clone(&balancer);
        connections.spawn(async move {
            let service = service_fn(|request| balancer.serve(request, from));
            if let Err(error) = server::Builder::new().serve_connection(TokioIo::new(stream), service).await {
                debug!(%error, "connection to the load balancer ended");
            }
        });
    }
}

impl Balancer {
    async fn serve(
        &self,
        request: Request<Incoming>,
        from: SocketAddr,
    ) -> Result<Response<Full<Bytes>>, std::convert::Infallible> {
        let (response, served) = match self.forward(request, from).await {
            Ok(answered) => answered,
            Err(status) => {
                let served = Served { target: None, status: status.as_u16(), took: Duration::ZERO };
                (own(status), served)
            }
        };
        self.world.with_world(|world, now| world.served(&self.arn, served, now));
        Ok(response)
    }

    /// A target's answer, or the status of the load balancer's own. Source: user guide, load-balancer-troubleshooting.
    async fn forward(
        &self,
        request: Request<Incoming>,
        from: SocketAddr,
    ) -> Result<(Response<Full<Bytes>>, Served), StatusCode> {
        let (mut parts, body) = request.into_parts();
        let body = Limited::new(body, LARGEST_BODY).collect().await;
        let body = body.map_err(|_| StatusCode::PAYLOAD_TOO_LARGE)?.to_bytes();
        let target = self.world.with_world(|world, _| world.next_target(&self.arn));
        let (group_arn, address, port) = target.ok_or(StatusCode::SERVICE_UNAVAILABLE)?;
        strip(&mut parts.headers);
        if let Ok(client) = HeaderValue::try_from(from.ip().to_string()) {
            parts.headers.append(HeaderName::from_static("x-forwarded-for"), client);
        }
        let request = Request::from_parts(parts, Full::new(body));
        let begun = Instant::now();
        let connected = tokio::time::timeout(CONNECT, TcpStream::connect((address, port))).await;
        let stream =
            connected.map_err(|_| StatusCode::GATEWAY_TIMEOUT)?.map_err(|_| StatusCode::BAD_GATEWAY)?;
        let asked = tokio::time::timeout(IDLE, ask(stream, request)).await;
        let (mut parts, body) =
            asked.map_err(|_| StatusCode::GATEWAY_TIMEOUT)?.map_err(|_| StatusCode::BAD_GATEWAY)?;
        strip(&mut parts.headers);
        let status = parts.status.as_u16();
        let served = Served { target: Some((group_arn, status)), status, took: begun.elapsed() };
        Ok((Response::from_parts(parts, Full::new(body)), served))
    }
}

/// The target's connection broke, or it sent what is not HTTP.
struct Broken;

async fn ask(
    stream: TcpStream,
    request: Request<Full<Bytes>>,
) -> Result<(hyper::http::response::Parts, Bytes), Broken> {
    let (mut sender, connection) = client::handshake(TokioIo::new(stream)).await.map_err(|_| Broken)?;
    let connection = tokio::spawn(connection);
    let response = sender.send_request(request).await.map_err(|_| Broken)?;
    let (parts, body) = response.into_parts();
    let body = Limited::new(body, LARGEST_BODY).collect().await.map_err(|_| Broken)?.to_bytes();
    connection.abort();
    Ok((parts, body))
}

/// Headers that are of one connection only.
fn strip(headers: &mut HeaderMap) {
    headers.remove(CONNECTION);
    headers.remove(TRANSFER_ENCODING);
    headers.remove("keep-alive");
}

fn own(status: StatusCode) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(status.to_string())));
    *response.status_mut() = status;
    response
}
