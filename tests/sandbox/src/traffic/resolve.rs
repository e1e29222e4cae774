//! A resolver of a client's own: asks the name server, and keeps an answer for its time.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::time::{Instant, timeout};

/// An answer that takes longer is lost.
const PATIENCE: Duration = Duration::from_secs(2);
const A: [u8; 2] = [0, 1];

/// What a resolver of one client keeps of one name.
#[derive(Clone, Debug)]
pub struct Resolver {
    server: SocketAddr,
    name: String,
    kept: Option<(Ipv4Addr, Instant)>,
}

impl Resolver {
    /// One that knows nothing yet.
    pub fn new(server: SocketAddr, name: &str) -> Self {
        Self { server, name: name.to_owned(), kept: None }
    }

    /// An address of the name, and whether it was asked for just now.
    pub async fn address(&mut self) -> io::Result<(Ipv4Addr, bool)> {
        if let Some((address, until)) = self.kept
            && Instant::now() < until
        {
            return Ok((address, false));
        }
        let asked = timeout(PATIENCE, ask(self.server, &self.name)).await;
        let (address, ttl) = asked.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))?;
        self.kept = Some((address, Instant::now() + ttl));
        Ok((address, true))
    }
}

/// The first address of a name, and for how long all that led to it may be kept.
async fn ask(server: SocketAddr, name: &str) -> io::Result<(Ipv4Addr, Duration)> {
    let mut question = b"\x5a\x1d\x01\x00\0\x01\0\0\0\0\0\0".to_vec();
    for label in name.split('.') {
        question.push(u8::try_from(label.len()).map_err(|_| io::ErrorKind::InvalidInput)?);
        question.extend(label.as_bytes());
    }
    question.extend([0, A[0], A[1], 0, 1]);
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    // Connected: nobody else's packet is taken for the answer.
    socket.connect(server).await?;
    socket.send(&question).await?;
    let mut buffer = [0; 4096];
    let length = socket.recv(&mut buffer).await?;
    read(&buffer[..length], question.len()).ok_or_else(|| io::Error::other("no address in the answer"))
}

/// The answer's first address, behind a question of so many bytes. The names in it are not compressed.
fn read(message: &[u8], question: usize) -> Option<(Ipv4Addr, Duration)> {
    let count = usize::from(*message.get(7)?);
    let mut rest = message.get(question..)?;
    let mut ttl = u32::MAX;
    for _ in 0..count {
        while *rest.first()? != 0 {
            rest = rest.get(usize::from(rest[0]) + 1..)?;
        }
        let kind = rest.get(1..3)?;
        ttl = ttl.min(u32::from_be_bytes(rest.get(5..9)?.try_into().ok()?));
        let length = usize::from(u16::from_be_bytes(rest.get(9..11)?.try_into().ok()?));
        let data = rest.get(11..11 + length)?;
        if kind == A {
            let octets: [u8; 4] = data.try_into().ok()?;
            return Some((Ipv4Addr::from(octets), Duration::from_secs(ttl.into())));
        }
        rest = rest.get(11 + length..)?;
    }
    None
}
