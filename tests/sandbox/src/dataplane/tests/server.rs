//! A real database server with two databases, `source` and `target`, for one test.

use std::{
    fs,
    net::TcpListener,
    os::unix::{fs::PermissionsExt, process::CommandExt},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use tokio_postgres::{Client, NoTls};

use crate::{
    certificates::Authority,
    plane::{Database, Tls},
};

pub(super) const PASSWORD: &str = "the dms role's own 'password'";

pub(super) struct Server {
    directory: PathBuf,
    port: u16,
    child: Child,
    pub(super) ca: String,
}

/// Binaries: on the path, or where Debian hides them.
fn binary(name: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut found: Vec<PathBuf> =
        std::env::split_paths(&path).map(|folder| folder.join(name)).filter(|file| file.exists()).collect();
    if let Ok(versions) = fs::read_dir("/usr/lib/postgresql") {
        found.extend(versions.flatten().map(|version| version.path().join("bin").join(name)));
    }
    found.into_iter().find(|file| file.exists()).expect("PostgreSQL's server programs are needed")
}

/// The server refuses to run as root.
fn as_postgres(command: &mut Command) -> &mut Command {
    let passwd = fs::read_to_string("/etc/passwd").unwrap();
    let ids = passwd.lines().find(|line| line.starts_with("postgres:")).map(|line| {
        let mut fields = line.split(':').skip(2).map(|field| field.parse::<u32>().unwrap());
        (fields.next().unwrap(), fields.next().unwrap())
    });
    let is_root = fs::metadata("/proc/self").is_ok_and(|me| std::os::unix::fs::MetadataExt::uid(&me) == 0);
    match ids {
        Some((uid, gid)) if is_root => command.uid(uid).gid(gid),
        _ => command,
    }
}

fn own(path: &Path) {
    let mut chown = Command::new("chown");
    // Fails if not root, and then it's ours already.
    let _ = chown.args(["-R", "postgres:postgres"]).arg(path).stderr(Stdio::null()).status();
}

impl Server {
    pub(super) async fn start() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let directory = std::env::temp_dir().join(format!("slipway-plane-{}-{number}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        own(&directory);
        let data = directory.join("data");
        let made = as_postgres(Command::new(binary("initdb")).current_dir(&directory))
            .args(["--no-sync", "--auth=trust", "--username=postgres", "--encoding=UTF8", "--locale=C.UTF-8"])
            .arg("-D")
            .arg(&data)
            .output()
            .unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let authority = Authority::new("databases").unwrap();
        let pair = authority.issue("localhost", &[], &["localhost"]).unwrap();
        for (name, text) in [("server.crt", &pair.certificate), ("server.key", &pair.key)] {
            fs::write(data.join(name), text).unwrap();
            fs::set_permissions(data.join(name), fs::Permissions::from_mode(0o600)).unwrap();
        }
        fs::write(
            data.join("pg_hba.conf"),
            "host all postgres 127.0.0.1/32 trust\nhostssl all dms 127.0.0.1/32 scram-sha-256\n\
             hostssl all dms ::1/128 scram-sha-256\n",
        )
        .unwrap();
        own(&data);
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let child = Self::spawn(&directory, port);
        let server = Self { directory, port, child, ca: authority.pair().certificate.clone() };
        let admin = server.admin("postgres").await;
        admin
            .batch_execute(&format!(
                "CREATE ROLE dms LOGIN REPLICATION PASSWORD '{}'",
                PASSWORD.replace('\'', "''")
            ))
            .await
            .unwrap();
        for sql in [
            "CREATE DATABASE source",
            "CREATE DATABASE target",
            "GRANT CREATE ON DATABASE target TO dms",
            "ALTER ROLE dms IN DATABASE target SET session_replication_role = replica",
        ] {
            admin.batch_execute(sql).await.unwrap();
        }
        server
    }

    fn spawn(directory: &Path, port: u16) -> Child {
        let log = fs::File::options().create(true).append(true).open(directory.join("log")).unwrap();
        as_postgres(&mut Command::new(binary("postgres")))
            .current_dir(directory)
            .arg("-D")
            .arg(directory.join("data"))
            .args(["-p", &port.to_string(), "-h", "localhost", "-k", ""])
            .args(["-c", "wal_level=logical", "-c", "fsync=off", "-c", "ssl=on", "-c", "max_wal_senders=20"])
            .args(["-c", "max_replication_slots=20", "-c", "max_slot_wal_keep_size=-1"])
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap()
    }

    /// An immediate stop, as a crash is, and a new start.
    pub(super) fn crash(&mut self) {
        self.kill();
        self.child = Self::spawn(&self.directory, self.port);
    }

    fn kill(&mut self) {
        let mut stop = Command::new(binary("pg_ctl"));
        let stopped = as_postgres(stop.current_dir(&self.directory))
            .args(["stop", "-m", "immediate", "-D"])
            .arg(self.directory.join("data"))
            .stdout(Stdio::null())
            .status();
        if !stopped.is_ok_and(|status| status.success()) {
            let _ = self.child.kill();
        }
        let _ = self.child.wait();
    }

    /// A superuser's session; waits for the server to be up.
    pub(super) async fn admin(&self, database: &str) -> Client {
        let dsn = format!("host=127.0.0.1 port={} user=postgres dbname={database}", self.port);
        for _ in 0..600 {
            if let Ok((client, connection)) = tokio_postgres::connect(&dsn, NoTls).await {
                tokio::spawn(connection);
                return client;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let log = fs::read_to_string(self.directory.join("log")).unwrap_or_default();
        panic!("no server: {log}");
    }

    /// What the server has logged so far.
    pub(super) fn log(&self) -> String {
        fs::read_to_string(self.directory.join("log")).unwrap_or_default()
    }

    /// A database as the endpoint has it.
    pub(super) fn endpoint(&self, database: &str) -> Database {
        Database {
            host: "localhost".into(),
            port: self.port,
            database: database.into(),
            username: "dms".into(),
            password: PASSWORD.into(),
            tls: Tls::VerifyFull(self.ca.clone()),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
        let _ = fs::remove_dir_all(&self.directory);
    }
}
