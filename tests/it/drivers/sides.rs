//! Two servers with the same database, and a door in each that lets the application in or not.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use super::application::Attempt;
use super::directory;
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
            let table = "CREATE TABLE requests (key text PRIMARY KEY, writer integer NOT NULL)";
            let grant = format!("GRANT SELECT, INSERT ON requests TO {role}");
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
        let barrier = "BEGIN; LOCK TABLE requests IN SHARE MODE; COMMIT";
        admin.batch_execute(barrier).await.unwrap();
    }

    pub(super) async fn open_second(&self) {
        self.second.admin.batch_execute(&self.door.open(&self.second)).await.unwrap();
    }

    /// The keys of the rows that are there. The table's key is what keeps one from being there twice.
    pub(super) async fn keys(&self, side: &Database) -> BTreeSet<String> {
        let rows = side.admin.query("SELECT key FROM requests", &[]).await.unwrap();
        rows.iter().map(|row| row.get(0)).collect()
    }

    /// Holds what the application was told against what the databases hold. `fenced` is what the first host had when its
    /// fence was proved.
    pub(super) async fn judge(&self, attempts: &[Attempt], fenced: &BTreeSet<String>) {
        let (first, second) = (self.keys(&self.first).await, self.keys(&self.second).await);
        let mut of_key: BTreeMap<&str, Vec<&Attempt>> = BTreeMap::new();
        for attempt in attempts {
            of_key.entry(&attempt.key).or_default().push(attempt);
        }
        for (key, attempts) in &of_key {
            let acknowledged: Vec<u16> = attempts.iter().filter_map(|a| a.acknowledged()).collect();
            let unknown = attempts.iter().any(|attempt| attempt.outcome == "unknown");
            let (on_first, on_second) = (first.contains(*key), second.contains(*key));
            let right = match acknowledged[..] {
                [port] if port == self.first.server.port => fenced.contains(*key) && !on_second,
                // A commit whose answer was lost may be there beside its repetition: these two sides don't replicate.
                [port] if port == self.second.server.port => on_second && (!on_first || unknown),
                // The first host's last unanswered commits, if the program was ended before it could repeat them.
                [] => !(on_first || on_second) || unknown,
                _ => false,
            };
            assert!(right, "{key}: on first {on_first}, on second {on_second}: {attempts:#?}");
        }
        let strange: Vec<_> = first.union(&second).filter(|key| !of_key.contains_key(key.as_str())).collect();
        assert!(strange.is_empty(), "rows of which the application told nothing: {strange:?}");
        for writer in 0..super::application::WRITERS {
            let own = attempts.iter().filter(|attempt| attempt.writer == writer);
            let ports: Vec<u16> = own.filter_map(Attempt::acknowledged).collect();
            let moved = ports.iter().position(|port| *port == self.second.server.port).unwrap();
            assert!(ports[moved..].iter().all(|port| *port == self.second.server.port), "{writer} went back");
        }
    }
}

impl Drop for Sides {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.authorities);
    }
}
