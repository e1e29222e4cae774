//! One session of the operator's role: verified TLS, and nothing in it may wait for ever.

use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio_postgres::config::SslMode;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Config, Row};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::{failure, tls};
use crate::address;
use crate::api::database::TlsMode;
use crate::fault::Fault;
use crate::permit::Permit;
use crate::secret::Secret;
use crate::side::Side;

/// How long a connection may take to be made, and a statement to be answered.
const DEADLINE: Duration = Duration::from_secs(5);
/// The same for statements that read or change something of every table.
const LONG_DEADLINE: Duration = Duration::from_secs(30);
/// What the server is told of that.
const LONG: &str = "SET LOCAL statement_timeout = '29500ms'";
/// The plea to cancel a statement is a courtesy; it may not take long itself.
const CANCEL_DEADLINE: Duration = Duration::from_secs(1);

// The server gives up a little before we do, so that we normally hear its reason. `row_security` off turns a policy that
// would hide rows from us into an error. Compiling a statement over the catalog takes longer than running it. Names are always written in full, so nothing but the catalog needs to be found.
const SESSION: &str = "SET statement_timeout = '4500ms'; SET lock_timeout = '2s'; \
     SET idle_in_transaction_session_timeout = '60s'; SET row_security = off; \
     SET jit = off; SET search_path = pg_catalog, pg_temp; SET \"TimeZone\" = 'UTC'";

/// Which of the two logins of a side a session is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whose {
    /// The operator's own.
    Operator,
    /// The one that is handed to DMS.
    Dms,
}

impl Whose {
    /// As in "the operator's role".
    pub(super) fn possessive(self) -> &'static str {
        match self {
            Self::Operator => "the operator's",
            Self::Dms => "DMS's",
        }
    }

    /// The field, below a side, that names its Secret.
    pub(super) fn field(self) -> &'static str {
        match self {
            Self::Operator => "operatorCredentialsRef",
            Self::Dms => "replicationCredentials.secretRef",
        }
    }
}

/// Where to connect, as whom, and whom to trust.
#[derive(Clone, Debug)]
pub struct ConnectSpec {
    /// Which of the two databases this is.
    pub side: Side,
    /// Host name or address.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// Name of the database.
    pub database: String,
    /// Whose login it is, for messages.
    pub whose: Whose,
    /// The role.
    pub username: String,
    /// Its password.
    pub password: Secret,
    /// What is checked of the server's certificate.
    pub tls_mode: TlsMode,
    /// The authorities to trust, PEM.
    pub ca_pem: String,
    /// How the session shows itself in `pg_stat_activity`.
    pub application_name: String,
}

/// A session of the operator's role. One step at a time uses it; a statement that outlives its deadline, or a
/// transaction that is dropped half-way, makes it unusable for good.
pub struct Connection {
    side: Side,
    /// `the source (database payments at db.example:5432)`, for messages.
    at: String,
    role: String,
    client: Client,
    tls: MakeRustlsConnect,
    broken: AtomicBool,
    in_transaction: AtomicBool,
}

impl Connection {
    /// Connects within five seconds, or says what a person has to mend.
    pub async fn open(spec: &ConnectSpec) -> Result<Self, Fault> {
        let tls = tls::connector(spec.side, spec.tls_mode, &spec.ca_pem)?;
        let mut config = Config::new();
        // A name is resolved once, and what was found and judged is where the connection goes.
        for address in addresses(spec).await? {
            config.host(&spec.host).hostaddr(address);
        }
        if config.get_hosts().is_empty() {
            config.host(&spec.host);
        }
        config
            .port(spec.port)
            .dbname(&spec.database)
            .user(&spec.username)
            .password(spec.password.reveal())
            .application_name(&spec.application_name)
            .ssl_mode(SslMode::Require)
            .connect_timeout(DEADLINE)
            .tcp_user_timeout(Duration::from_secs(10))
            .keepalives(true)
            .keepalives_idle(Duration::from_secs(10))
            .keepalives_interval(Duration::from_secs(5))
            .keepalives_retries(3);
        let connecting = Box::pin(config.connect(tls.clone()));
        let (client, driver) = match tokio::time::timeout(DEADLINE, connecting).await {
            Ok(Ok(pair)) => pair,
            Ok(Err(error)) => return Err(failure::connecting(spec, &error)),
            Err(_) => return Err(failure::unreachable(spec, "no connection within 5 s")),
        };
        // It ends when the client is dropped or the connection is lost, and the client then says so to its user.
        tokio::spawn(driver);
        let at = format!("the {} (database {} at {}:{})", spec.side, spec.database, spec.host, spec.port);
        let connection = Self {
            side: spec.side,
            at,
            role: spec.username.clone(),
            client,
            tls,
            broken: AtomicBool::new(false),
            in_transaction: AtomicBool::new(false),
        };
        connection.run("setting up the session", SESSION).await?;
        Ok(connection)
    }

    /// Which of the two databases this is.
    pub fn side(&self) -> Side {
        self.side
    }

    /// The operator's role.
    pub fn role(&self) -> &str {
        &self.role
    }

    /// False once the session was lost or given up: open another one.
    pub fn is_usable(&self) -> bool {
        !self.client.is_closed() && !self.broken.load(Ordering::SeqCst)
    }

    /// Where this leads, for messages.
    pub(super) fn at(&self) -> &str {
        &self.at
    }

    /// Rows of one statement. `doing` is how a message begins: "reading the tables".
    pub(super) async fn query(
        &self,
        doing: &str,
        sql: &str,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<Row>, Fault> {
        self.deadline(DEADLINE, doing, self.client.query(sql, parameters)).await
    }

    /// The same for a statement that looks at many tables, inside [`Self::long_transaction`].
    pub(super) async fn query_long(
        &self,
        doing: &str,
        sql: &str,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<Row>, Fault> {
        self.deadline(LONG_DEADLINE, doing, self.client.query(sql, parameters)).await
    }

    /// The same with a deadline of the caller's own.
    pub(super) async fn query_within(
        &self,
        limit: Duration,
        doing: &str,
        sql: &str,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<Row>, Fault> {
        self.deadline(limit, doing, self.client.query(sql, parameters)).await
    }

    /// The same for a question that a person wrote: what the server says against it may quote what it found, and is not told.
    pub(super) async fn query_of_a_person(
        &self,
        limit: Duration,
        doing: &str,
        sql: &str,
    ) -> Result<Vec<Row>, Fault> {
        self.deadline_telling(failure::questioning, limit, doing, self.client.query(sql, &[])).await
    }

    /// Asks the server to stop what it does for this session, and gives the session up.
    pub(super) async fn abandon(&self) {
        self.broken.store(true, Ordering::SeqCst);
        let cancel = self.client.cancel_token();
        // Whether the plea arrives does not change what we know, which is nothing.
        let _ = tokio::time::timeout(CANCEL_DEADLINE, cancel.cancel_query(self.tls.clone())).await;
    }

    /// The only row of a statement that always has one.
    pub(super) async fn row(
        &self,
        doing: &str,
        sql: &str,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<Row, Fault> {
        let mut rows = self.query(doing, sql, parameters).await?;
        rows.pop().ok_or_else(|| Fault::Bug(format!("{doing} on {} returned no row", self.at)))
    }

    /// Statements without parameters and without rows.
    pub(super) async fn run(&self, doing: &str, sql: &str) -> Result<(), Fault> {
        self.deadline(DEADLINE, doing, self.client.batch_execute(sql)).await
    }

    /// The same for statements that touch many tables, inside [`Self::long_transaction`].
    pub(super) async fn run_long(&self, doing: &str, sql: &str) -> Result<(), Fault> {
        self.deadline(LONG_DEADLINE, doing, self.client.batch_execute(sql)).await
    }

    /// Runs `work` between BEGIN with `mode` and COMMIT; a fault rolls back. A commit whose answer is missing is
    /// [`Fault::Unknown`].
    pub(super) async fn transaction<T>(
        &self,
        doing: &str,
        mode: &str,
        work: impl Future<Output = Result<T, Fault>>,
    ) -> Result<T, Fault> {
        let half_way = HalfWay::enter(self)?;
        self.run(doing, &format!("BEGIN {mode}")).await?;
        let outcome = match work.await {
            Ok(value) => {
                let commit = self.deadline(DEADLINE, doing, self.client.batch_execute("COMMIT")).await;
                // Even an error that the server itself reports (a shutdown, say) does not mean that nothing was committed.
                commit.map(|()| value).map_err(|fault| {
                    Fault::Unknown(format!("{}; the transaction may have been committed", fault.message()))
                })
            }
            Err(fault) => {
                // A session that can't roll back is left half-way, and so is given up.
                if !self.is_usable() || self.run("rolling back", "ROLLBACK").await.is_err() {
                    return Err(fault);
                }
                Err(fault)
            }
        };
        half_way.leave();
        outcome
    }

    /// A transaction that changes something. It is not begun without a valid permit, and not committed if that has expired
    /// meanwhile.
    pub(super) async fn change<T>(
        &self,
        permit: &Permit<'_>,
        doing: &str,
        work: impl Future<Output = Result<T, Fault>>,
    ) -> Result<T, Fault> {
        permit.check(doing)?;
        let work = async {
            let value = work.await?;
            permit.check(doing)?;
            Ok(value)
        };
        Box::pin(self.transaction(doing, "", work)).await
    }

    /// [`Self::change`] whose statements may take as long as [`LONG_DEADLINE`].
    pub(super) async fn long_change<T>(
        &self,
        permit: &Permit<'_>,
        doing: &str,
        work: impl Future<Output = Result<T, Fault>>,
    ) -> Result<T, Fault> {
        let work = async {
            self.run(doing, LONG).await?;
            work.await
        };
        self.change(permit, doing, work).await
    }

    /// [`Self::transaction`] whose statements may take as long as [`LONG_DEADLINE`].
    pub(super) async fn long_transaction<T>(
        &self,
        doing: &str,
        mode: &str,
        work: impl Future<Output = Result<T, Fault>>,
    ) -> Result<T, Fault> {
        let work = async {
            self.run(doing, LONG).await?;
            work.await
        };
        self.transaction(doing, mode, work).await
    }

    async fn deadline<T>(
        &self,
        limit: Duration,
        doing: &str,
        answer: impl Future<Output = Result<T, tokio_postgres::Error>>,
    ) -> Result<T, Fault> {
        self.deadline_telling(failure::asking, limit, doing, answer).await
    }

    /// No answer within `limit` cancels the statement and gives the session up: what it will do next is unknown.
    async fn deadline_telling<T>(
        &self,
        tell: failure::Teller,
        limit: Duration,
        doing: &str,
        answer: impl Future<Output = Result<T, tokio_postgres::Error>>,
    ) -> Result<T, Fault> {
        if !self.is_usable() {
            return Err(Fault::Again(format!("{doing} on {} failed: the session is lost", self.at)));
        }
        match tokio::time::timeout(limit, answer).await {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) => {
                if error.as_db_error().is_none() && !self.client.is_closed() {
                    // An answer that can't be read leaves the session in a state that nobody knows.
                    self.broken.store(true, Ordering::SeqCst);
                }
                Err(tell(&self.at, &self.role, doing, &error))
            }
            Err(_) => {
                self.abandon().await;
                Err(Fault::Again(format!(
                    "{doing} on {} had no answer within {} s and was cancelled",
                    self.at,
                    limit.as_secs()
                )))
            }
        }
    }
}

/// Where a host is; nowhere if that can't be learned, which the connection itself then tells better.
async fn addresses(spec: &ConnectSpec) -> Result<Vec<IpAddr>, Fault> {
    let asked = tokio::net::lookup_host((spec.host.as_str(), spec.port));
    let Ok(Ok(found)) = tokio::time::timeout(DEADLINE, asked).await else { return Ok(Vec::new()) };
    let found: Vec<IpAddr> = found.map(|socket| socket.ip()).collect();
    match found.iter().find(|address| address::is_metadata_or_worse(**address)) {
        None => Ok(found),
        Some(address) => Err(failure::misleading(spec, *address)),
    }
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection").field("at", &self.at).field("role", &self.role).finish_non_exhaustive()
    }
}

/// Marks a session as unusable if a transaction in it is neither committed nor rolled back, as when its future is
/// dropped.
struct HalfWay<'a> {
    connection: &'a Connection,
    left: bool,
}

impl<'a> HalfWay<'a> {
    fn enter(connection: &'a Connection) -> Result<Self, Fault> {
        if connection.in_transaction.swap(true, Ordering::SeqCst) {
            return Err(Fault::Bug(format!(
                "a second transaction was begun on one session of {}",
                connection.at
            )));
        }
        Ok(Self { connection, left: false })
    }

    fn leave(mut self) {
        self.left = true;
    }
}

impl Drop for HalfWay<'_> {
    fn drop(&mut self) {
        if !self.left {
            self.connection.broken.store(true, Ordering::SeqCst);
        }
        self.connection.in_transaction.store(false, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[tokio::test]
    async fn a_host_that_leads_to_the_metadata_is_never_asked() {
        let mut spec = ConnectSpec {
            side: Side::Source,
            host: "169.254.169.254".to_owned(),
            port: 80,
            database: "payments".to_owned(),
            whose: Whose::Operator,
            username: "slipway_operator".to_owned(),
            password: Secret::new("x"),
            tls_mode: TlsMode::VerifyFull,
            ca_pem: String::new(),
            application_name: "slipway".to_owned(),
        };
        let fault = addresses(&spec).await.unwrap_err();
        assert!(fault.message().contains("spec.source, 169.254.169.254, leads to"), "{fault}");
        "localhost".clone_into(&mut spec.host);
        assert!(!addresses(&spec).await.unwrap().is_empty());
    }
}
