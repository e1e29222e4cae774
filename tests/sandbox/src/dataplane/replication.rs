//! The streaming replication protocol: tokio-postgres does not speak it.

use std::{
    fmt, io,
    str::FromStr,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use postgres_protocol::{
    IsNull,
    authentication::{
        md5_hash,
        sasl::{ChannelBinding, SCRAM_SHA_256, ScramSha256},
    },
    message::frontend,
};
use rustls::pki_types::ServerName;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
};
use tokio_rustls::TlsConnector;

use super::connect::{CONNECT_TIMEOUT, Failure, OPTIONS, Refusal, client_config, timed_out};
use crate::plane::Database;

/// A position in a server's write-ahead log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Lsn(pub(super) u64);

impl fmt::Display for Lsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:X}/{:X}", self.0 >> 32, self.0 & 0xFFFF_FFFF)
    }
}

impl FromStr for Lsn {
    type Err = Failure;

    fn from_str(text: &str) -> Result<Self, Failure> {
        let parse = || {
            let (high, low) = text.split_once('/')?;
            let (high, low) = (u32::from_str_radix(high, 16).ok()?, u32::from_str_radix(low, 16).ok()?);
            Some(Self(u64::from(high) << 32 | u64::from(low)))
        };
        parse().ok_or_else(|| Failure::Fatal(format!("the server gave {text:?} where an LSN belongs")))
    }
}

trait Wire: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Wire for T {}

/// A connection of a walsender.
pub(super) struct Replication {
    wire: Box<dyn Wire>,
    input: BytesMut,
}

/// A row of text values.
pub(super) type Row = Vec<Option<String>>;

/// A slot that was just made.
pub(super) struct Created {
    /// Every transaction committed before is in the snapshot, every later one will come out of the slot.
    pub(super) consistent: Lsn,
    /// Valid until the next command on the connection that made it.
    pub(super) snapshot: Option<String>,
}

/// One message of a slot's stream.
#[derive(Debug)]
pub(super) enum Frame {
    /// Output of the plugin; `start` of a commit is the end of its record.
    Data { start: Lsn, text: String },
    /// All before `end` was sent.
    Keepalive { end: Lsn, reply: bool },
}

impl Replication {
    /// Logs in to a walsender of `database`.
    pub(super) async fn connect(database: &Database) -> Result<Self, Failure> {
        let login = async {
            let transport = |error: io::Error| Refusal::transport(&error);
            let mut tcp =
                TcpStream::connect((database.host.as_str(), database.port)).await.map_err(transport)?;
            tcp.set_nodelay(true).map_err(transport)?;
            let wire: Box<dyn Wire> = match client_config(&database.tls)? {
                None => Box::new(tcp),
                Some(config) => {
                    let mut request = BytesMut::new();
                    frontend::ssl_request(&mut request);
                    tcp.write_all(&request).await.map_err(transport)?;
                    if tcp.read_u8().await.map_err(transport)? != b'S' {
                        let why = "the server does not support TLS, which the endpoint's SslMode demands";
                        return Err(transport(io::Error::other(why)));
                    }
                    let name = ServerName::try_from(database.host.clone())
                        .map_err(|error| transport(io::Error::other(error)))?;
                    Box::new(TlsConnector::from(config).connect(name, tcp).await.map_err(transport)?)
                }
            };
            let mut connection = Self { wire, input: BytesMut::new() };
            connection.log_in(database).await?;
            Ok(connection)
        };
        match tokio::time::timeout(CONNECT_TIMEOUT, login).await {
            Ok(result) => result,
            Err(_) => Err(timed_out()),
        }
        .map_err(|refusal| refusal.failure(database))
    }

    async fn log_in(&mut self, database: &Database) -> Result<(), Refusal> {
        let transport = |error: io::Error| Refusal::transport(&error);
        let parameters = [
            ("user", database.username.as_str()),
            ("database", database.database.as_str()),
            ("replication", "database"),
            ("application_name", "AWS DMS replication"),
            ("client_encoding", "UTF8"),
            ("options", OPTIONS),
        ];
        let mut output = BytesMut::new();
        frontend::startup_message(parameters, &mut output).map_err(transport)?;
        self.send(&mut output).await.map_err(transport)?;
        let mut scram: Option<ScramSha256> = None;
        loop {
            let (tag, mut body) = self.message().await.map_err(transport)?;
            match tag {
                b'R' if body.len() >= 4 => {
                    match body.get_i32() {
                        0 | 12 => {
                            if let Some(mut scram) = scram.take_if(|_| !body.is_empty()) {
                                scram.finish(&body).map_err(transport)?;
                            }
                        }
                        3 => frontend::password_message(database.password.as_bytes(), &mut output)
                            .map_err(transport)?,
                        5 => {
                            let salt = body.as_ref().try_into().unwrap_or([0; 4]);
                            let (user, password) =
                                (database.username.as_bytes(), database.password.as_bytes());
                            let hash = md5_hash(user, password, salt);
                            frontend::password_message(hash.as_bytes(), &mut output).map_err(transport)?;
                        }
                        10 => {
                            let new =
                                ScramSha256::new(database.password.as_bytes(), ChannelBinding::unsupported());
                            frontend::sasl_initial_response(SCRAM_SHA_256, new.message(), &mut output)
                                .map_err(transport)?;
                            scram = Some(new);
                        }
                        11 => {
                            if let Some(scram) = scram.as_mut() {
                                scram.update(&body).map_err(transport)?;
                                frontend::sasl_response(scram.message(), &mut output).map_err(transport)?;
                            }
                        }
                        other => {
                            let why = format!("the server asks for authentication method {other}");
                            return Err(transport(io::Error::other(why)));
                        }
                    }
                    self.send(&mut output).await.map_err(transport)?;
                }
                b'E' => {
                    let (code, text) = server_error(&body);
                    return Err(Refusal::server(&code, &text));
                }
                b'Z' => return Ok(()),
                _ => {}
            }
        }
    }

    async fn send(&mut self, output: &mut BytesMut) -> io::Result<()> {
        if !output.is_empty() {
            self.wire.write_all(output).await?;
            self.wire.flush().await?;
            output.clear();
        }
        Ok(())
    }

    /// The next message. May be dropped while waiting without losing any.
    async fn message(&mut self) -> io::Result<(u8, Bytes)> {
        loop {
            if self.input.len() >= 5 {
                let length = u32::from_be_bytes([self.input[1], self.input[2], self.input[3], self.input[4]]);
                let whole = length as usize + 1;
                if length < 4 {
                    return Err(io::Error::other("the server sent a message without length"));
                }
                if self.input.len() >= whole {
                    let mut message = self.input.split_to(whole);
                    let tag = message.get_u8();
                    message.advance(4);
                    return Ok((tag, message.freeze()));
                }
                self.input.reserve(whole - self.input.len());
            } else {
                self.input.reserve(64 * 1024);
            }
            if self.wire.read_buf(&mut self.input).await? == 0 {
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the server closed the connection"));
            }
        }
    }

    /// Runs a command of the replication grammar, or a plain query.
    async fn query(&mut self, command: &str) -> Result<Vec<Row>, Failure> {
        let lost = |error: io::Error| Failure::Lost(format!("{command}: {error}"));
        let mut output = BytesMut::new();
        frontend::query(command, &mut output).map_err(lost)?;
        self.send(&mut output).await.map_err(lost)?;
        let mut rows = Vec::new();
        let mut refused = None;
        loop {
            let (tag, body) = self.message().await.map_err(lost)?;
            match tag {
                b'D' => rows.push(row(body).map_err(lost)?),
                b'E' => refused = Some(refusal(command, &body)),
                b'Z' => return refused.map_or(Ok(rows), Err),
                _ => {}
            }
        }
    }

    /// The server's identity: system identifier and database.
    pub(super) async fn identify(&mut self) -> Result<String, Failure> {
        let rows = self.query("IDENTIFY_SYSTEM").await?;
        let system = rows.into_iter().next().and_then(|row| row.into_iter().next()).flatten();
        system.ok_or_else(|| Failure::Fatal("IDENTIFY_SYSTEM gave no system identifier".to_owned()))
    }

    /// Makes a logical slot. A temporary one ends with this connection.
    pub(super) async fn create_slot(
        &mut self,
        name: &str,
        temporary: bool,
        export: bool,
    ) -> Result<Created, Failure> {
        // The grammar without parentheses is the one that servers before 15 know and later ones still take.
        let kind = if temporary { " TEMPORARY" } else { "" };
        let snapshot = if export { "EXPORT_SNAPSHOT" } else { "NOEXPORT_SNAPSHOT" };
        let command = format!("CREATE_REPLICATION_SLOT \"{name}\"{kind} LOGICAL test_decoding {snapshot}");
        let rows = self.query(&command).await?;
        let mut row = rows.into_iter().next().unwrap_or_default().into_iter();
        let consistent = row.nth(1).flatten().unwrap_or_default().parse()?;
        Ok(Created { consistent, snapshot: row.next().flatten() })
    }

    /// Starts the stream of a slot at `from`, or where the slot is if that is later.
    pub(super) async fn start(&mut self, slot: &str, from: Lsn) -> Result<(), Failure> {
        let command = format!(
            "START_REPLICATION SLOT \"{slot}\" LOGICAL {from} \
             (\"include-xids\" '1', \"include-timestamp\" '1', \"skip-empty-xacts\" '1')"
        );
        let lost = |error: io::Error| Failure::Lost(format!("START_REPLICATION: {error}"));
        let mut output = BytesMut::new();
        frontend::query(&command, &mut output).map_err(lost)?;
        self.send(&mut output).await.map_err(lost)?;
        loop {
            let (tag, body) = self.message().await.map_err(lost)?;
            match tag {
                b'W' => return Ok(()),
                b'E' => return Err(refusal(&command, &body)),
                _ => {}
            }
        }
    }

    /// The next frame of the stream. May be dropped while waiting without losing any.
    pub(super) async fn frame(&mut self) -> Result<Frame, Failure> {
        let lost = |error: io::Error| Failure::Lost(format!("reading the slot's stream: {error}"));
        loop {
            let (tag, mut body) = self.message().await.map_err(lost)?;
            match tag {
                b'd' if body.len() >= 25 && body[0] == b'w' => {
                    body.advance(1);
                    let start = Lsn(body.get_u64());
                    body.advance(16);
                    let text = String::from_utf8(body.into()).map_err(|error| {
                        Failure::Fatal(format!("the slot's output at {start} is not UTF-8: {error}"))
                    })?;
                    return Ok(Frame::Data { start, text });
                }
                b'd' if body.len() >= 18 && body[0] == b'k' => {
                    body.advance(1);
                    let end = Lsn(body.get_u64());
                    body.advance(8);
                    return Ok(Frame::Keepalive { end, reply: body.get_u8() != 0 });
                }
                b'E' => return Err(refusal("reading the slot's stream", &body)),
                b'c' | b'C' | b'Z' => {
                    return Err(Failure::Lost("the server ended the slot's stream".to_owned()));
                }
                _ => {}
            }
        }
    }

    /// Tells the server what was received and what is safe on the target.
    pub(super) async fn confirm(&mut self, received: Lsn, flushed: Lsn) -> Result<(), Failure> {
        const FROM_1970_TO_2000: Duration = Duration::from_hours(10_957 * 24);
        let clock = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let clock = clock.saturating_sub(FROM_1970_TO_2000).as_micros();
        let mut output = BytesMut::with_capacity(39);
        output.put_u8(b'd');
        output.put_u32(38);
        output.put_u8(b'r');
        output.put_u64(received.0);
        output.put_u64(flushed.0);
        output.put_u64(flushed.0);
        output.put_u64(u64::try_from(clock).unwrap_or_default());
        output.put_u8(0);
        let lost = |error: io::Error| Failure::Lost(format!("confirming a position to the source: {error}"));
        self.send(&mut output).await.map_err(lost)
    }
}

fn row(mut body: Bytes) -> io::Result<Row> {
    let short = || io::Error::other("the server sent a row that ends early");
    let columns = body.try_get_u16().map_err(|_| short())?;
    let mut row = Row::new();
    for _ in 0..columns {
        let length = body.try_get_i32().map_err(|_| short())?;
        let null = if length < 0 { IsNull::Yes } else { IsNull::No };
        row.push(match null {
            IsNull::Yes => None,
            IsNull::No => {
                let length = usize::try_from(length).map_err(|_| short())?;
                if body.len() < length {
                    return Err(short());
                }
                Some(String::from_utf8_lossy(&body.split_to(length)).into_owned())
            }
        });
    }
    Ok(row)
}

fn refusal(attempted: &str, body: &[u8]) -> Failure {
    let (code, text) = server_error(body);
    let text = format!("{attempted}: {text} (SQLSTATE {code})");
    Failure::judge(Some(&code), text)
}

fn server_error(body: &[u8]) -> (String, String) {
    let (mut code, mut text) = (String::new(), String::new());
    for field in body.split(|byte| *byte == 0).filter(|field| field.len() > 1) {
        let value = || String::from_utf8_lossy(&field[1..]).into_owned();
        match field[0] {
            b'C' => code = value(),
            b'M' => text = value(),
            _ => {}
        }
    }
    (code, text)
}
