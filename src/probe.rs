//! The operator's own look at an application: one HTTP request, of which only the status counts.
//!
//! What is asked for comes from a resource, so that whoever may write one could aim this at anything that the operator
//! reaches. Hence: no free URL, no address of the machine's own or of the cloud's metadata, no redirect is followed, and
//! nothing of an answer but its status is ever told.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt, Empty};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::{Request, header};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore, crypto};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_rustls::TlsConnector;

use crate::address;

#[cfg(test)]
mod tests;

/// For all of it: the name, the connection, TLS, and the answer.
const LIMIT: Duration = Duration::from_secs(2);
/// Bytes of the answer's head, and of its body, that are read.
const READ_MAX: usize = 64 * 1024;

/// What to ask, and where.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Place {
    /// The address, or the name, to connect to.
    pub at: String,
    /// Where it listens.
    pub port: u16,
    /// What it is asked as (`Host`), and must have a certificate for: the name that clients use.
    pub name: String,
    /// How it is asked.
    pub scheme: Scheme,
    /// With a slash at the beginning.
    pub path: String,
}

/// Whether there is TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum Scheme {
    Http,
    /// The certificate is verified against the machine's roots, in full.
    Https,
}

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Probe {
    /// There was an answer.
    Answered {
        /// Its status, redirects included.
        status: u16,
        /// From the beginning until the answer was read.
        took: Duration,
    },
    /// There was none.
    Failed(Failure),
}

/// Why there was no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Failure {
    /// The name or the path can't be put into a request.
    Unfit,
    /// The name leads nowhere.
    NotResolved,
    /// The address is one that nothing is ever asked at.
    Forbidden,
    /// Nobody listens.
    Refused,
    /// No way there, or the connection was cut while it was made.
    Unreachable,
    /// The certificate is not one for this name by an authority that the machine trusts.
    CertificateRefused,
    /// No TLS came about for another reason.
    TlsFailed,
    /// Not HTTP, or too long a head.
    NotHttp,
    /// The connection ended before the answer did.
    BrokenOff,
    /// No whole answer within the time.
    TimedOut,
}

impl Failure {
    /// In words, for a gate's reason.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unfit => "the name or path can't be asked for",
            Self::NotResolved => "the name does not resolve",
            Self::Forbidden => "the address is link-local, multicast, unspecified or the cloud's metadata",
            Self::Refused => "the connection was refused",
            Self::Unreachable => "it can't be reached",
            Self::CertificateRefused => "its certificate is not trusted for this name",
            Self::TlsFailed => "TLS failed",
            Self::NotHttp => "the answer is not HTTP",
            Self::BrokenOff => "the answer broke off",
            Self::TimedOut => "no answer within 2 s",
        }
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Asks, and trusts whom the machine trusts.
#[derive(Clone)]
pub struct Prober {
    tls: TlsConnector,
    limit: Duration,
}

impl Prober {
    /// Reads the machine's roots (`SSL_CERT_FILE` and `SSL_CERT_DIR` are heeded), once and for all. Where there are none,
    /// no certificate is trusted.
    pub fn new() -> Self {
        let found = rustls_native_certs::load_native_certs();
        let mut roots = RootCertStore::empty();
        let (added, ignored) = roots.add_parsable_certificates(found.certs);
        tracing::debug!(added, ignored, errors = found.errors.len(), "the machine's certificate authorities");
        if roots.is_empty() {
            tracing::warn!(
                "the machine has no certificate authorities, so that no HTTPS health check can pass"
            );
        }
        Self::trusting(roots, LIMIT)
    }

    fn trusting(roots: RootCertStore, limit: Duration) -> Self {
        // Named outright: with a process-wide default, the first crate to install one would decide.
        let provider = Arc::new(crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("the provider speaks TLS 1.2 and 1.3");
        let config = builder.with_root_certificates(roots).with_no_client_auth();
        Self { tls: TlsConnector::from(Arc::new(config)), limit }
    }

    /// Asks once. Two seconds later at most it says what came of it.
    pub async fn ask(&self, place: &Place) -> Probe {
        let began = Instant::now();
        match tokio::time::timeout(self.limit, Box::pin(self.status(place))).await {
            Ok(Ok(status)) => Probe::Answered { status, took: began.elapsed() },
            Ok(Err(failure)) => Probe::Failed(failure),
            Err(_) => Probe::Failed(Failure::TimedOut),
        }
    }

    async fn status(&self, place: &Place) -> Result<u16, Failure> {
        let request = request(place)?;
        let stream = TcpStream::connect(addresses(place).await?.as_slice()).await;
        let stream = stream.map_err(|error| match error.kind() {
            std::io::ErrorKind::ConnectionRefused => Failure::Refused,
            _ => Failure::Unreachable,
        })?;
        match place.scheme {
            Scheme::Http => exchange(stream, request).await,
            Scheme::Https => {
                let name = ServerName::try_from(place.name.clone()).map_err(|_| Failure::Unfit)?;
                let stream = self.tls.connect(name, stream).await.map_err(|error| tls_failure(&error))?;
                exchange(stream, request).await
            }
        }
    }
}

impl Default for Prober {
    fn default() -> Self {
        Self::new()
    }
}

fn request(place: &Place) -> Result<Request<Empty<Bytes>>, Failure> {
    let usual = match place.scheme {
        Scheme::Http => 80,
        Scheme::Https => 443,
    };
    let host =
        if place.port == usual { place.name.clone() } else { format!("{}:{}", place.name, place.port) };
    if !place.path.starts_with('/') {
        return Err(Failure::Unfit);
    }
    Request::get(&place.path)
        .header(header::HOST, host)
        .header(header::USER_AGENT, concat!("slipway/", env!("CARGO_PKG_VERSION")))
        .header(header::ACCEPT, "*/*")
        .header(header::CONNECTION, "close")
        .body(Empty::new())
        .map_err(|_| Failure::Unfit)
}

/// A name is resolved once, and what was found and judged is where the connection goes. Loopback is let pass, as for a
/// database: a name such as `localhost` may mean it.
async fn addresses(place: &Place) -> Result<Vec<SocketAddr>, Failure> {
    let found = tokio::net::lookup_host((place.at.as_str(), place.port)).await;
    let found: Vec<SocketAddr> = found.map_err(|_| Failure::NotResolved)?.collect();
    if found.is_empty() {
        return Err(Failure::NotResolved);
    }
    if found.iter().any(|socket| address::is_metadata_or_worse(socket.ip())) {
        return Err(Failure::Forbidden);
    }
    Ok(found)
}

/// Sends the request and reads the answer. The body is read so far as is usual for a whole answer, and thrown away.
async fn exchange<S>(stream: S, request: Request<Empty<Bytes>>) -> Result<u16, Failure>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let made = http1::Builder::new().max_buf_size(READ_MAX).handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) = made.map_err(|error| http_failure(&error))?;
    // Ends with this function, whatever is still to come.
    let mut driver = JoinSet::new();
    driver.spawn(connection);
    let answer = sender.send_request(request).await.map_err(|error| http_failure(&error))?;
    let status = answer.status().as_u16();
    let mut body = answer.into_body();
    let mut read = 0;
    while read < READ_MAX
        && let Some(frame) = body.frame().await
    {
        let frame = frame.map_err(|error| http_failure(&error))?;
        read += frame.data_ref().map_or(0, Bytes::len);
    }
    Ok(status)
}

fn http_failure(error: &hyper::Error) -> Failure {
    if error.is_parse() { Failure::NotHttp } else { Failure::BrokenOff }
}

fn tls_failure(error: &std::io::Error) -> Failure {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match inner {
        Some(rustls::Error::InvalidCertificate(_)) => Failure::CertificateRefused,
        _ => Failure::TlsFailed,
    }
}
