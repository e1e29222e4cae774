//! Connecting: as anybody over TLS with the server fully checked, or as the superuser over the socket.

use std::error::Error as _;
use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;
use tokio_postgres::config::SslMode;
use tokio_postgres::tls::MakeTlsConnect;
use tokio_postgres::{Client, NoTls};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::Error;
use crate::plane::{Database, Tls};

const CONNECT_DEADLINE: Duration = Duration::from_secs(10);

/// All that is needed to log in as one role, over TLS, with the server's certificate and name checked.
#[derive(Clone, PartialEq, Eq)]
pub struct Login {
    /// Host name; the certificate must carry it.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// Database name.
    pub database: String,
    /// Role.
    pub user: String,
    /// Its password.
    pub password: String,
    /// The authority to trust, PEM.
    pub ca: String,
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Login({self})")
    }
}

impl fmt::Display for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port, database, user, .. } = self;
        write!(f, "{user}@{host}:{port}/{database}")
    }
}

impl Login {
    /// Connects, and shows up in `pg_stat_activity` under `application`.
    pub async fn connect(&self, application: &str) -> Result<Client, Error> {
        self.connect_from(None, application).await
    }

    /// The same, from an address of this machine's own.
    pub async fn connect_from(&self, from: Option<Ipv4Addr>, application: &str) -> Result<Client, Error> {
        let attempt = format!("connecting as {self}");
        let tls = self.tls().map_err(|cause| Error::Sql { attempt: attempt.clone(), cause })?;
        let mut config = tokio_postgres::Config::new();
        config
            .host(&self.host)
            .port(self.port)
            .dbname(&self.database)
            .user(&self.user)
            .password(&self.password);
        config.ssl_mode(SslMode::Require).connect_timeout(CONNECT_DEADLINE).application_name(application);
        // How a connection ends is told to whoever uses the client.
        let Some(from) = from else {
            let (client, connection) = config.connect(tls).await.map_err(Error::sql(attempt))?;
            tokio::spawn(connection);
            return Ok(client);
        };
        let open = async {
            let to = tokio::net::lookup_host((self.host.as_str(), self.port)).await?;
            let to = to.into_iter().find(SocketAddr::is_ipv4).ok_or(std::io::ErrorKind::NotFound)?;
            let socket = TcpSocket::new_v4()?;
            socket.bind(SocketAddr::from((from, 0)))?;
            socket.connect(to).await
        };
        let opened = timeout(CONNECT_DEADLINE, open).await;
        let opened = opened.unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into()));
        let stream =
            opened.map_err(|error| Error::Sql { attempt: attempt.clone(), cause: error.to_string() })?;
        let mut tls = tls;
        let tls = MakeTlsConnect::<TcpStream>::make_tls_connect(&mut tls, &self.host)
            .map_err(|error| Error::Sql { attempt: attempt.clone(), cause: error.to_string() })?;
        let (client, connection) = config.connect_raw(stream, tls).await.map_err(Error::sql(attempt))?;
        tokio::spawn(connection);
        Ok(client)
    }

    /// As a connection string for `psql` and for [`Self::parse`], with the authority in a file of its own.
    pub fn dsn(&self, ca: &Path) -> String {
        let Self { host, port, database, user, password, .. } = self;
        let quoted = |value: &str| format!("'{}'", value.replace('\\', "\\\\").replace('\'', "\\'"));
        format!(
            "host={} port={port} dbname={} user={} password={} sslmode=verify-full sslrootcert={}",
            quoted(host),
            quoted(database),
            quoted(user),
            quoted(password),
            quoted(&ca.display().to_string()),
        )
    }

    /// Reads what [`Self::dsn`] wrote. Anything weaker than `sslmode=verify-full` is refused.
    pub fn parse(dsn: &str) -> Result<Self, Error> {
        let wrong = |cause: String| Error::Sql { attempt: "reading the connection string".to_owned(), cause };
        let pairs = pairs(dsn).ok_or_else(|| wrong("expected key=value pairs".to_owned()))?;
        let get = |key: &str| {
            let found = pairs.iter().find(|(name, _)| name == key).map(|(_, value)| value.clone());
            found.ok_or_else(|| wrong(format!("it has no {key}")))
        };
        if get("sslmode")? != "verify-full" {
            return Err(wrong("sslmode must be verify-full".to_owned()));
        }
        let ca = get("sslrootcert")?;
        Ok(Self {
            host: get("host")?,
            port: get("port")?.parse().map_err(|error| wrong(format!("port: {error}")))?,
            database: get("dbname")?,
            user: get("user")?,
            password: get("password")?,
            ca: std::fs::read_to_string(&ca).map_err(Error::system(format!("reading {ca}")))?,
        })
    }

    fn tls(&self) -> Result<MakeRustlsConnect, String> {
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(self.ca.as_bytes()) {
            let certificate =
                certificate.map_err(|error| format!("the CA is no PEM certificate: {error}"))?;
            roots.add(certificate).map_err(|error| format!("the CA certificate is not usable: {error}"))?;
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(MakeRustlsConnect::new(config))
    }
}

impl From<&Login> for Database {
    fn from(login: &Login) -> Self {
        Self {
            host: login.host.clone(),
            port: login.port,
            database: login.database.clone(),
            username: login.user.clone(),
            password: login.password.clone(),
            tls: Tls::VerifyFull(login.ca.clone()),
        }
    }
}

/// Connects over a Unix socket, as with [`super::Server::superuser_dsn`].
pub async fn connect_local(dsn: &str) -> Result<Client, Error> {
    let attempt = format!("connecting with {dsn}");
    let (client, connection) = tokio_postgres::connect(dsn, NoTls).await.map_err(Error::sql(attempt))?;
    tokio::spawn(connection);
    Ok(client)
}

/// PostgreSQL's own words: the crate's `Display` for them is just "db error".
pub(crate) fn describe(error: &tokio_postgres::Error) -> String {
    if let Some(refused) = error.as_db_error() {
        let detail = refused.detail().map(|detail| format!("; {detail}")).unwrap_or_default();
        return format!("{} (SQLSTATE {}){detail}", refused.message(), refused.code().code());
    }
    match error.source() {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

fn pairs(dsn: &str) -> Option<Vec<(String, String)>> {
    let mut rest = dsn.trim_start();
    let mut pairs = Vec::new();
    while !rest.is_empty() {
        let (key, after) = rest.split_once('=')?;
        let (value, after) = value(after)?;
        pairs.push((key.trim().to_owned(), value));
        rest = after.trim_start();
    }
    Some(pairs)
}

/// One value, plain up to a space or in quotes, and what follows it.
fn value(text: &str) -> Option<(String, &str)> {
    let quoted = text.starts_with('\'');
    let mut value = String::new();
    let mut characters = text.char_indices().skip(usize::from(quoted));
    while let Some((at, character)) = characters.next() {
        match character {
            '\\' => value.push(characters.next()?.1),
            '\'' if quoted => return Some((value, &text[at + 1..])),
            ' ' if !quoted => return Some((value, &text[at..])),
            other => value.push(other),
        }
    }
    (!quoted).then_some((value, ""))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_connection_string_comes_back_as_it_was() {
        let text = r"host='localhost' user=app password='it\'s \\ =x' dbname=''";
        let read = pairs(text).unwrap();
        let expected = [("host", "localhost"), ("user", "app"), ("password", r"it's \ =x"), ("dbname", "")];
        assert_eq!(read, expected.map(|(key, value)| (key.to_owned(), value.to_owned())));
        assert_eq!(pairs("host"), None);
        assert_eq!(pairs("host='open"), None);
    }

    #[test]
    fn unchecked_tls_is_refused_and_no_password_is_shown() {
        let error =
            Login::parse("host=h port=1 dbname=d user=u password=secret sslmode=require").unwrap_err();
        assert!(error.to_string().contains("verify-full"), "{error}");
        let login = Login {
            host: "h".into(),
            port: 1,
            database: "d".into(),
            user: "u".into(),
            password: "secret".into(),
            ca: String::new(),
        };
        assert!(!format!("{login:?} {login}").contains("secret"));
    }
}
