//! The whole sandbox: Kubernetes, two database servers with the bank on them, and AWS between them.
//!
//! Everything runs in, or as a child of, the process that holds the [`Sandbox`], and ends with it. Other processes reach
//! it through the file `env` in its directory: see [`Environment`].

mod aws;
mod directory;
mod environment;
mod operator;
mod resources;
mod traffic;

use std::path::PathBuf;
use std::time::Duration;

use tokio::task::JoinHandle;

use crate::bank::{self, Bank, Passwords};
use crate::certificates::Authority;
use crate::cluster::{self, Cluster};
use crate::postgres::{self, Login, Server, connect_local};
use crate::process;
use crate::serve;
use crate::world::Delays;

pub(crate) use directory::end_leftovers;
pub use directory::{Directory, Holder, held_by};
pub use environment::Environment;
pub use operator::{start_operator, start_operator_in, start_operator_with};
pub use resources::{
    Example, application_example, applications, apply_example, apply_secrets, example, install_crds,
    migrations,
};
pub use traffic::{CLUSTER, Fleets, RECORD, SERVICE, SOURCE_ADDRESS, Traffic, ZONE};

/// The RDS instance that the target server plays.
pub const RDS_INSTANCE: &str = "rds-payments-dev";
/// The AWS account.
pub const ACCOUNT: &str = "111122223333";
/// The AWS region.
pub const REGION: &str = "us-east-1";

/// A token of the operator lasts a day; a sandbox may be kept for longer.
const RENEW_TOKEN: Duration = Duration::from_hours(8);

/// What went wrong with the sandbox.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Kubernetes.
    #[error(transparent)]
    Cluster(#[from] cluster::Error),
    /// A database server.
    #[error(transparent)]
    Postgres(#[from] postgres::Error),
    /// A child process.
    #[error(transparent)]
    Process(#[from] process::Error),
    /// A certificate authority.
    #[error("cannot make the certificate authority of the databases: {0}")]
    Certificates(#[from] rcgen::Error),
    /// A file or the listener of the AWS stand-in.
    #[error("cannot {what}: {source}")]
    Io {
        /// What was attempted, and on what.
        what: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// The directory is not one to use.
    #[error("{0}")]
    Directory(String),
    /// A file of the repository or of the sandbox does not hold what it should.
    #[error("cannot read {what}: {reason}")]
    Malformed {
        /// Which.
        what: String,
        /// Why not, and what to do.
        reason: String,
    },
}

impl Error {
    pub(crate) fn io(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        let what = what.into();
        move |source| Self::Io { what, source }
    }
}

/// What sandbox to start.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where its files go. Made if it isn't there; refused if it holds anything that is not a sandbox's.
    pub directory: PathBuf,
    /// How long AWS takes.
    pub delays: Delays,
    /// Rows in the bank's tables on the source, about; 0 leaves them empty.
    pub rows: u64,
    /// The namespaces in which the operator may look after migrations.
    pub namespaces: Vec<String>,
    /// What the operator logs, as `RUST_LOG` has it; its own choice if left out.
    pub operator_log: Option<String>,
}

impl Options {
    /// A sandbox without delays and rows, and with the namespace `default`.
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self {
            directory: directory.into(),
            delays: Delays::none(),
            rows: 0,
            namespaces: vec!["default".to_owned()],
            operator_log: None,
        }
    }
}

/// A running sandbox. Dropping it kills all of it; [`Sandbox::stop`] ends it in order.
pub struct Sandbox {
    /// Kubernetes.
    pub cluster: Cluster,
    /// The server that the bank's application writes to.
    pub source: Server,
    /// The server that plays the RDS instance.
    pub target: Server,
    /// The roles' logins on both.
    pub bank: Bank,
    /// The AWS stand-in.
    pub aws: serve::Server,
    /// The bank's public side.
    pub traffic: Traffic,
    /// What other processes need to know.
    pub environment: Environment,
    wiring: aws::Wiring,
    renewal: JoinHandle<()>,
    // Last: its lock says that everything above still runs.
    directory: Directory,
}

impl Sandbox {
    /// Starts everything and writes `env`. Building Kubernetes, once on a machine, takes minutes.
    pub async fn start(options: &Options) -> Result<Self, Error> {
        let directory = Directory::take(&options.directory)?;
        let namespaces: Vec<&str> = options.namespaces.iter().map(String::as_str).collect();
        let kubernetes = async {
            let cluster = Cluster::start(&directory.kubernetes()).await?;
            let identity = Box::pin(cluster.operator_identity(&namespaces)).await?;
            Ok::<_, Error>((cluster, identity))
        };
        let authority = Authority::new("sandbox databases")?;
        let databases = async {
            let (source, target) = tokio::try_join!(
                Server::start(directory.databases(), "source", &authority),
                Server::start(directory.databases(), "target", &authority),
            )?;
            let (here, there) = (Passwords::random()?, Passwords::random()?);
            let bank = bank::prepare(&source, &target, &here, &there).await?;
            if options.rows > 0 {
                bank::seed(&source, options.rows).await?;
            }
            let superusers = [superuser(&source).await?, superuser(&target).await?];
            Ok::<_, Error>((source, target, bank, superusers))
        };
        let ((cluster, identity), (source, target, bank, [on_source, on_target])) =
            tokio::try_join!(Box::pin(kubernetes), Box::pin(databases))?;
        let (aws, wiring) = aws::start(&options.delays, &target).await?;
        let traffic = traffic::start(&aws).await?;
        let environment = Environment::new(
            &directory,
            &environment::Parts {
                admin: &cluster.admin_kubeconfig,
                operator: &identity.kubeconfig,
                aws: &aws.url(),
                traffic: &traffic,
                superusers: [&on_source, &on_target],
                bank: &bank,
                operator_log: options.operator_log.as_deref(),
            },
        )?;
        let renewal = tokio::spawn(async move {
            loop {
                tokio::time::sleep(RENEW_TOKEN).await;
                if let Err(error) = Box::pin(identity.renew()).await {
                    tracing::warn!(%error, "the operator's token could not be renewed");
                }
            }
        });
        environment.write()?;
        Ok(Self { cluster, source, target, bank, aws, traffic, environment, wiring, renewal, directory })
    }

    /// Where its files are.
    pub fn directory(&self) -> &Directory {
        &self.directory
    }

    /// Ends everything in order, and removes what is of no use without it. The logs stay in its directory. All of it is
    /// tried; the first failure is returned.
    pub async fn stop(self) -> Result<(), Error> {
        let Self { cluster, source, target, aws, traffic, wiring, renewal, directory, environment, .. } =
            self;
        renewal.abort();
        let gone = environment.remove();
        drop((traffic, aws));
        wiring.stop().await;
        let (cluster, source, target) = tokio::join!(cluster.stop(), source.stop(), target.stop());
        gone?;
        cluster?;
        source?;
        target?;
        directory.release()
    }
}

/// The superuser over TLS: a server of the sandbox lets it in over its socket only until it has a password.
async fn superuser(server: &Server) -> Result<Login, Error> {
    let Passwords { operator: password, .. } = Passwords::random()?;
    let client = connect_local(&server.superuser_dsn("postgres")).await?;
    let verifier = postgres_protocol::password::scram_sha_256(password.as_bytes());
    let set = format!("ALTER ROLE postgres PASSWORD '{verifier}'");
    let attempt = format!("setting the superuser's password on {}", server.name());
    client.batch_execute(&set).await.map_err(postgres::Error::sql(attempt))?;
    Ok(Login {
        host: "localhost".to_owned(),
        port: server.port(),
        database: bank::DATABASE.to_owned(),
        user: "postgres".to_owned(),
        password,
        ca: server.ca().to_owned(),
    })
}
