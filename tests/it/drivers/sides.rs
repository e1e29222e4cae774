//! Two servers with the same database, and a door in each that lets the application in or not.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use super::directory;
use super::judge::Held;
use crate::postgres::server::{Database, Server};

/// What is shut to fence a side.
#[derive(Clone, Copy, Debug)]
pub(super) enum Door {
    /// The right to connect to the database, as Slipway does it.
    Connect,
    /// The role's right to log in to the server.
    Login,
}

impl Door {
    fn shut(self, database: &Database) -> String {
        let (name, role) = (&database.name, database.role("app"));
        match self {
            Self::Connect => format!("REVOKE CONNECT ON DATABASE {name} FROM {role}, PUBLIC"),
            Self::Login => format!("ALTER ROLE {role} NOLOGIN"),
        }
    }

    fn open(self, database: &Database) -> String {
        let (name, role) = (&database.name, database.role("app"));
        match self {
            Self::Connect => format!("GRANT CONNECT ON DATABASE {name} TO {role}"),
            Self::Login => format!("ALTER ROLE {role} LOGIN"),
        }
    }

    /// What the server says at a shut door.
    pub(super) fn refusal(self) -> &'static str {
        match self {
            Self::Connect => "permission denied for database",
            Self::Login => "is not permitted to log in",
        }
    }
}

pub(super) struct Sides {
    pub(super) first: Database,
    pub(super) second: Database,
    /// A file with the authorities of both servers.
    pub(super) authorities: PathBuf,
    door: Door,
}

impl Sides {
    /// The first host is open, the second is shut. `name` must be this test's own.
    pub(super) async fn make(name: &str, door: Door) -> Self {
        let first = Database::make_on(Server::shared(), name).await;
        let second = Database::make_on(Server::second(), name).await;
        for side in [&first, &second] {
            let role = side.role("app");
            let table = "CREATE TABLE application_writes (key text PRIMARY KEY, writer integer NOT NULL)";
            let grant = format!("GRANT SELECT, INSERT ON application_writes TO {role}");
            side.admin.batch_execute(&format!("{table}; {grant}")).await.unwrap();
        }
        second.admin.batch_execute(&door.shut(&second)).await.unwrap();
        std::fs::create_dir_all(directory()).unwrap();
        let authorities = directory().join(format!("{name}-{}.pem", std::process::id()));
        std::fs::write(&authorities, [&*first.server.ca, &*second.server.ca].concat()).unwrap();
        Self { first, second, authorities, door }
    }

    /// The application's URL: both hosts, and nothing that knows which is the writer.
    pub(super) fn url(&self, parameters: &str) -> String {
        format!(
            "jdbc:postgresql://localhost:{},localhost:{}/{}?sslmode=verify-full&sslrootcert={}{parameters}",
            self.first.server.port,
            self.second.server.port,
            self.first.name,
            self.authorities.display()
        )
    }

    /// Shuts the first host and ends the sessions there until two looks in a row find none.
    pub(super) async fn shut_first(&self) {
        let admin = &self.first.admin;
        admin.batch_execute(&self.door.shut(&self.first)).await.unwrap();
        let end =
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1 AND usename = $2";
        let mut empty = 0;
        while empty < 2 {
            let ended = admin.query(end, &[&self.first.name, &self.first.role("app")]).await.unwrap();
            empty = if ended.is_empty() { empty + 1 } else { 0 };
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        // Waits for whoever may still write.
        let barrier = "BEGIN; LOCK TABLE application_writes IN SHARE MODE; COMMIT";
        admin.batch_execute(barrier).await.unwrap();
    }

    pub(super) async fn open_second(&self) {
        self.second.admin.batch_execute(&self.door.open(&self.second)).await.unwrap();
    }

    /// The keys of the rows that are there.
    pub(super) async fn keys(&self, side: &Database) -> BTreeSet<String> {
        let rows = side.admin.query("SELECT key FROM application_writes", &[]).await.unwrap();
        rows.iter().map(|row| row.get(0)).collect()
    }

    /// What both sides hold now. They know nothing of each other.
    pub(super) async fn held(&self) -> Held {
        Held {
            ports: [self.first.server.port, self.second.server.port],
            keys: [self.keys(&self.first).await, self.keys(&self.second).await],
            replicated: false,
        }
    }
}

impl Drop for Sides {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.authorities);
    }
}
