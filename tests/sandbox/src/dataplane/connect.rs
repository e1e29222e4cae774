//! Connections as DMS makes them: the endpoint's `SslMode` obeyed, settings that change the text of values pinned.

use std::{error::Error, fmt::Write as _, io, sync::Arc, time::Duration};

use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, aws_lc_rs},
    pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject},
};
use tokio_postgres::{Client, NoTls, config::SslMode};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::Owned;
use crate::plane::{Database, Tls};

/// A value must read the same on both sides, whatever the servers' or roles' own settings are. Time limits set for the
/// role don't hold for a task, which may wait as long as a load takes.
pub(super) const OPTIONS: &str = "-c DateStyle=ISO -c IntervalStyle=postgres -c TimeZone=UTC -c extra_float_digits=3 \
     -c bytea_output=hex -c lc_monetary=C -c standard_conforming_strings=on -c statement_timeout=0 \
     -c lock_timeout=0 -c idle_in_transaction_session_timeout=0";

pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How often an idle session is looked at.
const LOOK: Duration = Duration::from_millis(100);

/// Why something failed, judged by what can be done about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// Trying again gives the same.
    Fatal(String),
    /// A connection or a moment was lost: trying again may do.
    Lost(String),
    /// The role may no longer do it, or no longer log in. What is refused so must never be skipped: whoever took the
    /// right away may give it back.
    Denied(String),
}

impl Failure {
    /// Judges an error of a server or a connection; `attempted` says on what.
    pub(super) fn of(attempted: &str, error: &tokio_postgres::Error) -> Self {
        let text = format!("{attempted}: {}", describe(error));
        Self::judge(error.code().map(tokio_postgres::error::SqlState::code), text)
    }

    pub(super) fn judge(code: Option<&str>, text: String) -> Self {
        match code {
            Some(code) if denies(code) => Self::Denied(text),
            Some(code) if !passes(code) => Self::Fatal(text),
            _ => Self::Lost(text),
        }
    }

    pub(super) fn why(&self) -> &str {
        match self {
            Self::Fatal(why) | Self::Lost(why) | Self::Denied(why) => why,
        }
    }
}

/// Whether this SQLSTATE means that the role lacks a right, CONNECT among them, or that it may not log in at all.
fn denies(code: &str) -> bool {
    ["42501", "28000"].contains(&code)
}

/// Whether a server's refusal with this SQLSTATE may pass by itself.
pub(super) fn passes(code: &str) -> bool {
    // Connection, rollback (deadlock), resources, operator intervention, system; a slot or lock still held by a session
    // of ours that the server has not yet seen die.
    ["08", "40", "53", "57", "58", "XX"].iter().any(|class| code.starts_with(class))
        || ["55006", "55P03", "25P03"].contains(&code)
}

/// What kept a login from succeeding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    Authentication,
    Certificate,
    NoDatabase,
    Unreachable,
    Refused,
}

/// A login that did not succeed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) class: Class,
    pub(super) sqlstate: String,
    pub(super) detail: String,
}

impl Refusal {
    pub(super) fn server(code: &str, message: &str) -> Self {
        let class = match code {
            "28P01" | "28000" => Class::Authentication,
            "3D000" => Class::NoDatabase,
            _ if passes(code) => Class::Unreachable,
            _ => Class::Refused,
        };
        Self { class, sqlstate: code.to_owned(), detail: format!("FATAL: {message}") }
    }

    pub(super) fn transport(error: &(dyn Error + 'static)) -> Self {
        let class = if blames_certificate(error) { Class::Certificate } else { Class::Unreachable };
        Self { class, sqlstate: "08001".to_owned(), detail: chain(error) }
    }

    fn of(error: &tokio_postgres::Error) -> Self {
        match error.as_db_error() {
            Some(refused) => Self::server(refused.code().code(), refused.message()),
            None => Self::transport(error),
        }
    }

    /// The words for the class.
    fn headline(&self) -> &'static str {
        match self.class {
            Class::Authentication => "authentication failed",
            Class::Certificate => "the server's certificate was not accepted",
            Class::NoDatabase => "database does not exist",
            Class::Unreachable => "could not connect",
            Class::Refused => "the server refused the session",
        }
    }

    pub(super) fn failure(&self, database: &Database) -> Failure {
        let text = format!(
            "{} at {}:{}, database {}, user {}: {}",
            self.headline(),
            database.host,
            database.port,
            database.database,
            database.username,
            self.detail
        );
        match self.class {
            Class::Unreachable => Failure::Lost(text),
            _ if denies(&self.sqlstate) => Failure::Denied(text),
            _ => Failure::Fatal(text),
        }
    }
}

fn blames_certificate(error: &(dyn Error + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        let inner = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        let tls = error
            .downcast_ref::<rustls::Error>()
            .or_else(|| inner.and_then(|inner| inner.downcast_ref::<rustls::Error>()));
        if matches!(tls, Some(rustls::Error::InvalidCertificate(_))) {
            return true;
        }
        next = error.source();
    }
    false
}

fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            let _ = write!(text, ": {cause_text}");
        }
        next = cause.source();
    }
    text
}

/// What the server said, not only that it said something.
pub(super) fn describe(error: &tokio_postgres::Error) -> String {
    let Some(refused) = error.as_db_error() else { return chain(error) };
    let mut text = format!("{} (SQLSTATE {})", refused.message(), refused.code().code());
    for more in [refused.detail(), refused.where_()].into_iter().flatten() {
        let _ = write!(text, "; {more}");
    }
    text
}

/// A session whose connection ends with it.
pub(super) struct Session {
    pub(super) client: Client,
    _driver: Owned<()>,
}

impl Session {
    /// Returns when the server has ended the session: one that is not used would not notice.
    pub(super) async fn lost(&self) {
        while !self.client.is_closed() {
            tokio::time::sleep(LOOK).await;
        }
    }
}

/// Logs in.
pub(super) async fn open(database: &Database, application: &str) -> Result<Session, Refusal> {
    let mut config = tokio_postgres::Config::new();
    config
        .host(&database.host)
        .port(database.port)
        .dbname(&database.database)
        .user(&database.username)
        .password(&database.password)
        .application_name(application)
        .options(OPTIONS)
        .connect_timeout(CONNECT_TIMEOUT);
    if let Some(tls) = client_config(&database.tls)? {
        config.ssl_mode(SslMode::Require);
        let attempt = config.connect(MakeRustlsConnect::new(Arc::unwrap_or_clone(tls)));
        let (client, connection) = within(attempt).await?;
        Ok(Session { client, _driver: drive(connection) })
    } else {
        config.ssl_mode(SslMode::Disable);
        let (client, connection) = within(config.connect(NoTls)).await?;
        Ok(Session { client, _driver: drive(connection) })
    }
}

async fn within<T>(attempt: impl Future<Output = Result<T, tokio_postgres::Error>>) -> Result<T, Refusal> {
    match tokio::time::timeout(CONNECT_TIMEOUT, attempt).await {
        Ok(result) => result.map_err(|error| Refusal::of(&error)),
        Err(_) => Err(timed_out()),
    }
}

pub(super) fn timed_out() -> Refusal {
    let detail = format!("no answer within {} s", CONNECT_TIMEOUT.as_secs());
    Refusal { class: Class::Unreachable, sqlstate: "08001".to_owned(), detail }
}

fn drive(connection: impl Future<Output = Result<(), tokio_postgres::Error>> + Send + 'static) -> Owned<()> {
    Owned::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(error = describe(&error), "connection ended");
        }
    })
}

/// Logs in for a task's work.
pub(super) async fn session(database: &Database, application: &str) -> Result<Session, Failure> {
    open(database, application).await.map_err(|refusal| refusal.failure(database))
}

/// Logs in for writing to a target: constraints between tables and triggers must not fire again for replicated rows.
pub(super) async fn target_session(database: &Database, application: &str) -> Result<Session, Failure> {
    let session = session(database, application).await?;
    // The role usually has it by ALTER ROLE; it may lack the right to set it by itself, as with an AfterConnectScript.
    if let Err(error) = session.client.batch_execute("SET session_replication_role = replica").await {
        if error.as_db_error().is_none() {
            return Err(Failure::of("connecting to the target", &error));
        }
        tracing::debug!(error = describe(&error), "session_replication_role stays as the role has it");
    }
    Ok(session)
}

/// A connection test: the outcome as `LastFailureMessage` would show it.
pub(super) async fn test(database: &Database) -> Result<(), String> {
    let refusal = match open(database, "AWS DMS connection test").await {
        Ok(session) => match session.client.simple_query("SELECT 1").await {
            Ok(_) => return Ok(()),
            Err(error) => Refusal::of(&error),
        },
        Err(refusal) => refusal,
    };
    Err(format!(
        "Test Endpoint failed: Application-Status: 1020912, Application-Message: Failed to connect: {}, \
         Application-Detailed-Message: RetCode: SQL_ERROR SqlState: {} NativeError: 101 Message: {}",
        refusal.headline(),
        refusal.sqlstate,
        refusal.detail
    ))
}

/// The TLS that the endpoint's `SslMode` asks for; `None` if it asks for none.
pub(super) fn client_config(tls: &Tls) -> Result<Option<Arc<ClientConfig>>, Refusal> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let unusable = |why: String| Refusal {
        class: Class::Certificate,
        sqlstate: "08001".to_owned(),
        detail: format!("the imported certificate can't be used: {why}"),
    };
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|error| unusable(error.to_string()))?;
    let roots = |pem: &str| {
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
            let certificate = certificate.map_err(|error| unusable(error.to_string()))?;
            roots.add(certificate).map_err(|error| unusable(error.to_string()))?;
        }
        if roots.is_empty() { Err(unusable("there is no certificate in it".to_owned())) } else { Ok(roots) }
    };
    let config = match tls {
        Tls::None => return Ok(None),
        Tls::Require => builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Lax { chain: None, provider }))
            .with_no_client_auth(),
        Tls::VerifyCa(pem) => {
            let chain = WebPkiServerVerifier::builder_with_provider(Arc::new(roots(pem)?), provider.clone())
                .build()
                .map_err(|error| unusable(error.to_string()))?;
            builder
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(Lax { chain: Some(chain), provider }))
                .with_no_client_auth()
        }
        Tls::VerifyFull(pem) => builder.with_root_certificates(roots(pem)?).with_no_client_auth(),
    };
    Ok(Some(Arc::new(config)))
}

/// `require` and `verify-ca` check less than TLS libraries want to: nothing, and the chain without the name.
#[derive(Debug)]
struct Lax {
    chain: Option<Arc<WebPkiServerVerifier>>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Lax {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let Some(chain) = &self.chain else { return Ok(ServerCertVerified::assertion()) };
        match chain.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now) {
            // The name is looked at last: the chain was good.
            Err(rustls::Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) => Ok(ServerCertVerified::assertion()),
            other => other,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
