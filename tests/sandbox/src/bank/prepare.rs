//! The bank's database on both servers, as a DBA would make it: the role files, the passwords, the schema.

use std::fmt::Write as _;

use tokio_postgres::Client;

use super::DATABASE;
use crate::postgres::{Error, Login, Server, connect_local};

const ROLES_SOURCE: &str = include_str!("../../../../examples/sql/roles-source.sql");
const ROLES_TARGET: &str = include_str!("../../../../examples/sql/roles-target.sql");
const SCHEMA: &str = include_str!("../../bank/schema.sql");
const SEED: &str = include_str!("../../bank/seed.sql");

/// Below this, some table of the seed would stay empty.
const FEWEST_ROWS: u64 = 1000;

/// The passwords of one side's roles.
#[derive(Clone)]
pub struct Passwords {
    /// Of the application.
    pub app: String,
    /// Of DMS.
    pub dms: String,
    /// Of Slipway's operator.
    pub operator: String,
}

impl Passwords {
    /// New ones from the system's random numbers.
    pub fn random() -> Result<Self, Error> {
        Ok(Self { app: random()?, dms: random()?, operator: random()? })
    }
}

/// The logins to one side's database.
#[derive(Clone, Debug)]
pub struct Side {
    /// `payments_app`
    pub app: Login,
    /// `slipway_dms`
    pub dms: Login,
    /// `slipway_operator`
    pub operator: Login,
}

/// The logins to both sides.
#[derive(Clone, Debug)]
pub struct Bank {
    /// Where the application writes today.
    pub source: Side,
    /// Where it is to move.
    pub target: Side,
}

/// Makes the database, roles and empty tables on both servers. The sides should have different passwords, so that
/// a mix-up fails at the login.
pub async fn prepare(
    source: &Server,
    target: &Server,
    source_passwords: &Passwords,
    target_passwords: &Passwords,
) -> Result<Bank, Error> {
    Ok(Bank {
        source: prepare_side(source, ROLES_SOURCE, source_passwords).await?,
        target: prepare_side(target, ROLES_TARGET, target_passwords).await?,
    })
}

/// Fills the source with about `rows` rows, the same in every run.
pub async fn seed(source: &Server, rows: u64) -> Result<(), Error> {
    let sql = SEED.replace("{rows}", &format!("{}::bigint", rows.max(FEWEST_ROWS)));
    let client = connect_local(&source.superuser_dsn(DATABASE)).await?;
    as_owner(&client, &sql, &format!("filling database {DATABASE} of {}", source.name())).await
}

async fn prepare_side(server: &Server, roles: &str, passwords: &Passwords) -> Result<Side, Error> {
    let name = server.name();
    let admin = connect_local(&server.superuser_dsn("postgres")).await?;
    let create = format!("CREATE DATABASE {DATABASE}");
    admin.batch_execute(&create).await.map_err(Error::sql(format!("{create} on {name}")))?;

    let admin = connect_local(&server.superuser_dsn(DATABASE)).await?;
    admin.batch_execute(roles).await.map_err(Error::sql(format!("running the role file on {name}")))?;
    as_owner(&admin, SCHEMA, &format!("making the bank's tables on {name}")).await?;

    let login = |user: &str, password: &str| Login {
        host: "localhost".to_owned(),
        port: server.port(),
        database: DATABASE.to_owned(),
        user: user.to_owned(),
        password: password.to_owned(),
        ca: server.ca().to_owned(),
    };
    let side = Side {
        app: login("payments_app", &passwords.app),
        dms: login("slipway_dms", &passwords.dms),
        operator: login("slipway_operator", &passwords.operator),
    };
    for Login { user, password, .. } in [&side.app, &side.dms, &side.operator] {
        // What psql's \password does: the server, and so its log, sees a verifier and never the password.
        let verifier = postgres_protocol::password::scram_sha_256(password.as_bytes());
        let set = format!("ALTER ROLE {user} PASSWORD '{verifier}'");
        admin
            .batch_execute(&set)
            .await
            .map_err(Error::sql(format!("setting the password of {user} on {name}")))?;
    }
    Ok(side)
}

async fn as_owner(client: &Client, sql: &str, attempt: &str) -> Result<(), Error> {
    client.batch_execute("SET ROLE payments_owner").await.map_err(Error::sql(attempt))?;
    client.batch_execute(sql).await.map_err(Error::sql(attempt))?;
    client.batch_execute("RESET ROLE").await.map_err(Error::sql(attempt))
}

fn random() -> Result<String, Error> {
    let mut bytes = [0; 24];
    rustls::crypto::aws_lc_rs::default_provider().secure_random.fill(&mut bytes).map_err(|error| {
        Error::System {
            attempt: "making a password".to_owned(),
            cause: std::io::Error::other(format!("{error:?}")),
        }
    })?;
    Ok(bytes.iter().fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    }))
}
