//! The two database servers: real PostgreSQL, found on the machine, over TLS, with logical decoding on.
//!
//! A server belongs to one [`Server`] value. Its data directory is made at start and removed when the value ends; if
//! the whole process is killed the server dies with it, and the directory is what remains.

mod child;
mod connect;
mod install;

use std::fs::{self, File};
use std::io::Write as _;
use std::net::TcpListener;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout_at};

use crate::certificates::Authority;
use child::Child;
pub(crate) use connect::describe;
pub use connect::{Login, connect_local};
use install::{Account, Install};

/// The bootstrap superuser of a sandbox server. It can log in over the socket in the data directory only.
const SUPERUSER: &str = "postgres";
/// Crash recovery after [`Server::kill`] is part of a start.
const START_DEADLINE: Duration = Duration::from_mins(1);
const STOP_DEADLINE: Duration = Duration::from_secs(30);

/// What went wrong with a server or a statement: what was attempted, on what, and why it failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Something the machine does not have, and how to get it, on one line.
    #[error("{0}")]
    Missing(String),
    /// The operating system refused.
    #[error("{attempt}: {cause}")]
    System {
        /// What was attempted.
        attempt: String,
        /// Why it failed.
        cause: std::io::Error,
    },
    /// A server process did not do what it was started for.
    #[error("{attempt} failed: {cause}")]
    Server {
        /// What was attempted.
        attempt: String,
        /// Why it failed, with the end of the server's log.
        cause: String,
    },
    /// A connection or statement was refused.
    #[error("{attempt}: {cause}")]
    Sql {
        /// What was attempted.
        attempt: String,
        /// PostgreSQL's own message, with its SQLSTATE.
        cause: String,
    },
}

impl Error {
    pub(crate) fn system(attempt: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        let attempt = attempt.into();
        move |cause| Self::System { attempt, cause }
    }

    pub(crate) fn sql(attempt: impl Into<String>) -> impl FnOnce(tokio_postgres::Error) -> Self {
        let attempt = attempt.into();
        move |error| Self::Sql { attempt, cause: describe(&error) }
    }
}

/// One running PostgreSQL server on loopback.
pub struct Server {
    name: String,
    install: Install,
    account: Option<Account>,
    data: PathBuf,
    log: PathBuf,
    port: u16,
    ca: String,
    child: Option<Child>,
}

impl Server {
    /// Makes a new, empty server called `name` and waits until it answers. Its log is `DIR/NAME.log`. Its data directory
    /// is `DIR/NAME` if the account it runs as can get there, else one in the system's temporary directory.
    pub async fn start(dir: &Path, name: &str, authority: &Authority) -> Result<Self, Error> {
        let install = Install::find()?;
        let account = Account::needed()?;
        let data = make_data_directory(dir, name, account.as_ref())?;
        // From here on the value owns the directory: whatever fails below, dropping it removes what was made.
        let mut server = Self {
            name: name.to_owned(),
            install,
            account,
            data,
            log: dir.join(format!("{name}.log")),
            port: free_port()?,
            ca: authority.pair().certificate.clone(),
            child: None,
        };
        server.initialise(authority)?;
        server.launch().await?;
        Ok(server)
    }

    /// The name given at start.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its port on loopback, for TLS and passwords. It stays the same over a restart.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The certificate of the authority that issued the server's own, PEM.
    pub fn ca(&self) -> &str {
        &self.ca
    }

    /// Where the server writes its log.
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// Connection string of the superuser, over the socket in the data directory; also good for `psql`.
    pub fn superuser_dsn(&self, database: &str) -> String {
        self.socket_dsn(SUPERUSER, database)
    }

    /// Connection string of any role over that socket, without a password: whoever can enter the data directory could be
    /// the superuser as well.
    pub fn socket_dsn(&self, role: &str, database: &str) -> String {
        format!("host={} port={} user={role} dbname={database}", self.data.display(), self.port)
    }

    /// Stops in an orderly way, ending all sessions, and starts again with the same data and port.
    /// After [`Self::kill`] it only starts.
    pub async fn restart(&mut self) -> Result<(), Error> {
        self.halt().await?;
        self.launch().await
    }

    /// Ends every process of the server at once, as a power cut would. [`Self::restart`] recovers it.
    pub async fn kill(&mut self) -> Result<(), Error> {
        let Some(child) = self.child.take() else { return Ok(()) };
        child.kill().await.map_err(Error::system(format!("killing PostgreSQL server {}", self.name)))
    }

    /// Freezes every process of the server: connections stay open and nothing answers.
    pub fn pause(&self) -> Result<(), Error> {
        self.signal_all("STOP")
    }

    /// Ends [`Self::pause`].
    pub fn resume(&self) -> Result<(), Error> {
        self.signal_all("CONT")
    }

    /// Stops in an orderly way and removes the data directory.
    pub async fn stop(mut self) -> Result<(), Error> {
        self.halt().await?;
        fs::remove_dir_all(&self.data).map_err(Error::system(format!("removing {}", self.data.display())))
    }

    fn signal_all(&self, signal: &str) -> Result<(), Error> {
        let attempt = format!("sending {signal} to PostgreSQL server {}", self.name);
        match &self.child {
            Some(child) => child.signal_all(signal).map_err(Error::system(attempt)),
            None => Err(Error::Server { attempt, cause: "it is not running".to_owned() }),
        }
    }

    fn initialise(&self, authority: &Authority) -> Result<(), Error> {
        let log = self.open_log()?;
        let mut initdb = self.install.command("initdb", self.account.as_ref());
        initdb.arg("--pgdata").arg(&self.data);
        // Nothing of an empty cluster is worth waiting for the disk; the server itself keeps fsync on.
        initdb.args(["--username", SUPERUSER, "--encoding", "UTF8", "--locale", "C", "--no-sync"]);
        initdb.args(["--auth-local", "trust", "--auth-host", "scram-sha-256"]);
        initdb.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        let status = initdb.status().map_err(Error::system("running initdb"))?;
        if !status.success() {
            return Err(self.failed(format!("initdb of {}", self.data.display()), &status.to_string()));
        }

        let issued = authority.issue("localhost", &[], &["localhost", "127.0.0.1"]).map_err(|error| {
            Error::Server { attempt: "issuing the server's certificate".to_owned(), cause: error.to_string() }
        })?;
        self.write("server.crt", &issued.certificate)?;
        self.write("server.key", &issued.key)?;
        // The socket lies in the data directory, which only the server's account can enter: that is the check.
        self.write(
            "pg_hba.conf",
            "local   all         all                     trust\n\
             hostssl all         all       127.0.0.0/8   scram-sha-256\n\
             hostssl replication all       127.0.0.0/8   scram-sha-256\n",
        )?;
        self.write("sandbox.conf", &self.settings())?;
        let main = self.data.join("postgresql.conf");
        let appended = File::options().append(true).open(&main);
        appended
            .and_then(|mut file| file.write_all(b"\ninclude 'sandbox.conf'\n"))
            .map_err(Error::system(format!("writing {}", main.display())))
    }

    fn settings(&self) -> String {
        format!(
            "listen_addresses = '127.0.0.1'\n\
             port = {port}\n\
             unix_socket_directories = '{socket}'\n\
             unix_socket_permissions = 0700\n\
             ssl = on\n\
             ssl_cert_file = 'server.crt'\n\
             ssl_key_file = 'server.key'\n\
             password_encryption = 'scram-sha-256'\n\
             wal_level = logical\n\
             max_replication_slots = 20\n\
             max_wal_senders = 20\n\
             max_connections = 100\n\
             max_prepared_transactions = 10\n\
             log_line_prefix = '%m [%p] %u@%d %a '\n\
             timezone = 'UTC'\n\
             log_timezone = 'UTC'\n",
            port = self.port,
            socket = self.data.display().to_string().replace('\'', "''"),
        )
    }

    /// Writes a file that only the server's account can read; it refuses a private key that others can.
    fn write(&self, file: &str, content: &str) -> Result<(), Error> {
        let path = self.data.join(file);
        let written = File::options().create(true).write(true).truncate(true).mode(0o600).open(&path);
        written
            .and_then(|mut file| file.write_all(content.as_bytes()))
            .and_then(|()| self.account.as_ref().map_or(Ok(()), |account| account.own(&path)))
            .map_err(Error::system(format!("writing {}", path.display())))
    }

    fn open_log(&self) -> Result<File, Error> {
        File::options()
            .create(true)
            .append(true)
            .open(&self.log)
            .map_err(Error::system(format!("opening {}", self.log.display())))
    }

    async fn launch(&mut self) -> Result<(), Error> {
        let attempt = format!("starting PostgreSQL server {}", self.name);
        let log = self.open_log()?;
        let again = log.try_clone().map_err(Error::system(format!("opening {}", self.log.display())))?;
        let mut command = self.install.command("postgres", self.account.as_ref());
        command.arg("-D").arg(&self.data).stdin(Stdio::null()).stdout(log).stderr(again);
        let mut child = Child::spawn(command, &self.name).map_err(Error::system(attempt.as_str()))?;

        let deadline = Instant::now() + START_DEADLINE;
        let outcome = loop {
            let refused = match connect_local(&self.superuser_dsn("postgres")).await {
                Ok(_) => break Ok(()),
                Err(error) => error.to_string(),
            };
            if let Some(status) = child.ended() {
                break Err(self.failed(attempt, &status));
            }
            if Instant::now() > deadline {
                break Err(self.failed(attempt, &format!("no answer in {START_DEADLINE:?}: {refused}")));
            }
            sleep(Duration::from_millis(50)).await;
        };
        self.child = Some(child);
        outcome
    }

    async fn halt(&mut self) -> Result<(), Error> {
        let Some(mut child) = self.child.take() else { return Ok(()) };
        let attempt = format!("stopping PostgreSQL server {}", self.name);
        // A paused server would keep the signal for later.
        child.signal_all("CONT").map_err(Error::system(attempt.as_str()))?;
        // INT: a fast shutdown, ending all sessions. QUIT: at once, with recovery at the next start.
        for signal in ["INT", "QUIT"] {
            child.signal(signal).map_err(Error::system(attempt.as_str()))?;
            if timeout_at(Instant::now() + STOP_DEADLINE, child.wait()).await.is_ok() {
                return Ok(());
            }
        }
        child.kill().await.map_err(Error::system(attempt))
    }

    fn failed(&self, attempt: String, cause: &str) -> Error {
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        let tail = lines[lines.len().saturating_sub(5)..].join("\n");
        Error::Server { attempt, cause: format!("{cause}; {} ends with:\n{tail}", self.log.display()) }
    }
}

impl Drop for Server {
    /// For a value that was not stopped, as in a test that failed: ends the server and removes its data.
    fn drop(&mut self) {
        drop(self.child.take());
        // It may be gone already, and nobody could be told if not.
        let _ = fs::remove_dir_all(&self.data);
    }
}

fn make_data_directory(dir: &Path, name: &str, account: Option<&Account>) -> Result<PathBuf, Error> {
    let make = |path: &Path| -> Result<(), Error> {
        fs::DirBuilder::new()
            .mode(0o700)
            .create(path)
            .and_then(|()| account.map_or(Ok(()), |account| account.own(path)))
            .map_err(Error::system(format!("making the data directory {}", path.display())))
    };
    let beside =
        std::path::absolute(dir).map_err(Error::system(format!("finding {}", dir.display())))?.join(name);
    make(&beside)?;
    if fits_socket(&beside) && install::reaches(account, &beside)? {
        return Ok(beside);
    }
    fs::remove_dir(&beside).map_err(Error::system(format!("removing {}", beside.display())))?;
    let nanos = jiff::Timestamp::now().as_nanosecond();
    let away = std::env::temp_dir().join(format!("slipway-{name}-{}-{nanos}", std::process::id()));
    make(&away)?;
    Ok(away)
}

/// The address of a Unix socket holds 107 bytes.
fn fits_socket(directory: &Path) -> bool {
    directory.as_os_str().len() + "/.s.PGSQL.65535".len() <= 107
}

/// A port below those that the kernel gives to outgoing connections: one of them could take it during a restart.
fn free_port() -> Result<u16, Error> {
    let start = jiff::Timestamp::now().subsec_nanosecond() / 1000;
    let candidates = (0..100).map(|step: i32| 15_000 + (start.abs() + step * 769) % 15_000);
    candidates
        .filter_map(|port| u16::try_from(port).ok())
        .find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok())
        .ok_or_else(|| {
            Error::Missing(
                "none of 100 ports between 15000 and 30000 is free on 127.0.0.1: end what holds them"
                    .to_owned(),
            )
        })
}

#[cfg(test)]
pub(crate) mod tests;
