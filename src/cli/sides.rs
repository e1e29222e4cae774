//! Both databases by their credentials alone, for when there is no cluster to ask.

use std::path::PathBuf;

use clap::Args;

use crate::api::database::TlsMode;
use crate::fault::Fault;
use crate::postgres::{self, ConnectSpec, Connection, Question, Record, Selection, Server, Token, Whose};
use crate::secret::Secret;
use crate::side::{Side, Sides};

/// How to reach the two databases. A side without a host is left out.
#[derive(Clone, Debug, Args)]
pub struct Reach {
    /// The source's host.
    #[arg(long)]
    pub source_host: Option<String>,
    /// The source's port.
    #[arg(long, default_value_t = 5432)]
    pub source_port: u16,
    /// The source's database.
    #[arg(long)]
    pub source_database: Option<String>,
    /// The operator's role on the source.
    #[arg(long, default_value = "slipway_operator")]
    pub source_user: String,
    /// A file with its password; else it is taken from the environment variable `SLIPWAY_SOURCE_PASSWORD`.
    #[arg(long)]
    pub source_password_file: Option<PathBuf>,
    /// A PEM file with the authorities that may have signed the source's certificate.
    #[arg(long)]
    pub source_ca: Option<PathBuf>,
    /// The target's host.
    #[arg(long)]
    pub target_host: Option<String>,
    /// The target's port.
    #[arg(long, default_value_t = 5432)]
    pub target_port: u16,
    /// The target's database.
    #[arg(long)]
    pub target_database: Option<String>,
    /// The operator's role on the target.
    #[arg(long, default_value = "slipway_operator")]
    pub target_user: String,
    /// A file with its password; else it is taken from the environment variable `SLIPWAY_TARGET_PASSWORD`.
    #[arg(long)]
    pub target_password_file: Option<PathBuf>,
    /// A PEM file with the authorities that may have signed the target's certificate.
    #[arg(long)]
    pub target_ca: Option<PathBuf>,
    /// Check the certificate's chain, and not that it is made out to the host.
    #[arg(long)]
    pub any_host_name: bool,
    /// The role that DMS logs in as: it may write to a side that is fenced.
    #[arg(long, default_value = "slipway_dms")]
    pub replication_role: String,
}

/// One side, as far as it could be reached.
#[derive(Debug)]
pub enum Reached {
    /// No host was given.
    NotAsked,
    /// It did not answer, or not to us.
    Silent(String),
    /// It answered.
    Open(Box<(Connection, Server)>),
}

impl Reached {
    /// Its row, if it has one.
    pub fn token(&self) -> Option<&Token> {
        match self {
            Self::Open(open) => match &open.1.record {
                Record::Present { token, .. } => Some(token),
                Record::Absent => None,
            },
            Self::NotAsked | Self::Silent(_) => None,
        }
    }
}

impl Reach {
    /// Connects to both sides and looks at them.
    pub async fn look(&self) -> Result<Sides<Reached>, String> {
        let (source, target) = (self.spec(Side::Source)?, self.spec(Side::Target)?);
        let (source, target) = tokio::join!(self.reach(source), self.reach(target));
        Ok(Sides { source, target })
    }

    async fn reach(&self, spec: Option<ConnectSpec>) -> Reached {
        let Some(spec) = spec else { return Reached::NotAsked };
        let looked = async {
            let connection = Box::pin(Connection::open(&spec)).await?;
            let server = self.observe(&connection).await?;
            Ok::<_, Fault>((connection, server))
        };
        match looked.await {
            Ok(open) => Reached::Open(Box::new(open)),
            Err(fault) => Reached::Silent(fault.message().to_owned()),
        }
    }

    /// Looks at a side once more.
    pub async fn observe(&self, connection: &Connection) -> Result<Server, Fault> {
        let selection = Selection::of_everything(connection).await?;
        let question = Question { selection, dms_role: self.replication_role.clone() };
        Box::pin(postgres::observe(connection, &question)).await
    }

    /// The database's name, as it was given.
    pub fn database(&self, side: Side) -> Option<&str> {
        match side {
            Side::Source => self.source_database.as_deref(),
            Side::Target => self.target_database.as_deref(),
        }
    }

    fn spec(&self, side: Side) -> Result<Option<ConnectSpec>, String> {
        let (host, port, user, password, ca) = match side {
            Side::Source => (
                &self.source_host,
                self.source_port,
                &self.source_user,
                &self.source_password_file,
                &self.source_ca,
            ),
            Side::Target => (
                &self.target_host,
                self.target_port,
                &self.target_user,
                &self.target_password_file,
                &self.target_ca,
            ),
        };
        let Some(host) = host.clone() else { return Ok(None) };
        let database = self
            .database(side)
            .ok_or_else(|| format!("--{side}-host is given and --{side}-database is not"))?;
        let read = |path: &PathBuf| {
            std::fs::read_to_string(path).map_err(|error| format!("reading {}: {error}", path.display()))
        };
        let variable = format!("SLIPWAY_{}_PASSWORD", side.as_str().to_ascii_uppercase());
        let password = match password {
            Some(path) => read(path)?.trim_end_matches(['\r', '\n']).to_owned(),
            None => std::env::var(&variable).map_err(|_| {
                format!("the {side}'s password is neither in --{side}-password-file nor in {variable}")
            })?,
        };
        let ca = ca
            .as_ref()
            .ok_or_else(|| format!("--{side}-ca is missing: Slipway connects with verified TLS alone"))?;
        Ok(Some(ConnectSpec {
            side,
            host,
            port,
            database: database.to_owned(),
            whose: Whose::Operator,
            username: user.clone(),
            password: Secret::new(password),
            tls_mode: if self.any_host_name { TlsMode::VerifyCA } else { TlsMode::VerifyFull },
            ca_pem: read(ca)?,
            application_name: "slipway by hand".to_owned(),
        }))
    }
}
