//! A real PostgreSQL server with TLS, and databases with roles in it. It ends with the last test that uses it.

use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use slipway::api::database::{TableSelector, TlsMode};
use slipway::permit::Leadership;
use slipway::postgres::Holding;
use slipway::postgres::Question;
use slipway::postgres::Selection;
use slipway::postgres::{ConnectSpec, Connection, Whose};
use slipway::secret::Secret;
use slipway::side::Side;
use tokio::net::TcpStream;
use tokio_postgres::Client;
use tokio_postgres::tls::MakeTlsConnect;
use tokio_postgres_rustls::MakeRustlsConnect;

pub(crate) const PASSWORD: &str = "a long word";

/// Makes a self-signed authority.
pub(crate) fn authority(name: &str) -> (Issuer<'static, KeyPair>, String) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, name);
    let pem = params.self_signed(&key).unwrap().pem();
    (Issuer::new(params, key), pem)
}

pub(crate) struct Server {
    child: Child,
    directory: PathBuf,
    pub(crate) port: u16,
    pub(crate) ca: String,
}

impl Server {
    /// The server that all tests share that need nothing special.
    pub(crate) fn shared() -> Arc<Self> {
        static SHARED: Mutex<Weak<Server>> = Mutex::new(Weak::new());
        Self::share(&SHARED, "bank")
    }

    /// Another one, for tests with two sides. Its authority has a name of its own: OpenSSL looks for one by name, and
    /// tries no second one of that name.
    pub(crate) fn second() -> Arc<Self> {
        static SECOND: Mutex<Weak<Server>> = Mutex::new(Weak::new());
        Self::share(&SECOND, "other bank")
    }

    fn share(place: &Mutex<Weak<Self>>, authority_name: &str) -> Arc<Self> {
        let mut shared = place.lock().unwrap_or_else(PoisonError::into_inner);
        shared.upgrade().unwrap_or_else(|| {
            let server = Arc::new(Self::start_with(authority_name, 2099, &[]));
            *shared = Arc::downgrade(&server);
            server
        })
    }

    /// Starts a server whose certificate, for `localhost`, ends with the given year.
    pub(crate) fn start(until: i32) -> Self {
        Self::start_with("bank", until, &[])
    }

    /// The same with an authority of this name, and with more settings.
    pub(crate) fn start_with(authority_name: &str, until: i32, more: &[&str]) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("slipway-it-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::SeqCst));
        let directory = std::env::temp_dir().join(name);
        std::fs::create_dir(&directory).unwrap();
        let user = Account::find();
        user.owns(&directory, 0o700);

        let (issuer, ca) = authority(authority_name);
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        params.not_before = rcgen::date_time_ymd(2001, 1, 1);
        params.not_after = rcgen::date_time_ymd(until, 12, 31);
        let certificate = params.signed_by(&key, &issuer).unwrap().pem();
        for (file, text) in
            [("crt", certificate), ("key", key.serialize_pem()), ("password", PASSWORD.to_owned())]
        {
            std::fs::write(directory.join(file), text).unwrap();
            user.owns(&directory.join(file), 0o600);
        }

        let data = directory.join("data");
        let made = user
            .command("initdb")
            .args(["--auth=scram-sha-256", "--username=postgres", "--encoding=UTF8", "--no-sync"])
            .arg(format!("--pwfile={}", directory.join("password").display()))
            .arg(&data)
            .stdout(Stdio::null())
            .status()
            .unwrap();
        assert!(made.success(), "initdb: {made}");
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let settings = [
            "listen_addresses=127.0.0.1".to_owned(),
            format!("port={port}"),
            "unix_socket_directories=".to_owned(),
            "ssl=on".to_owned(),
            format!("ssl_cert_file={}", directory.join("crt").display()),
            format!("ssl_key_file={}", directory.join("key").display()),
            "wal_level=logical".to_owned(),
            "fsync=off".to_owned(),
        ];
        let log = std::fs::File::create(directory.join("log")).unwrap();
        let child = user
            .command("postgres")
            .arg("-D")
            .arg(&data)
            .args(
                settings
                    .iter()
                    .map(String::as_str)
                    .chain(more.iter().copied())
                    .flat_map(|setting| ["-c", setting]),
            )
            .stderr(log)
            .spawn()
            .unwrap();
        Self { child, directory, port, ca }
    }

    /// A plain client for what the tests themselves do.
    pub(crate) async fn client(&self, database: &str, role: &str) -> Result<Client, tokio_postgres::Error> {
        let (client, driver) = self.config(database, role).connect(self.tls()).await?;
        tokio::spawn(driver);
        Ok(client)
    }

    /// The same from an address of loopback's own choice, as `127.0.0.2`.
    pub(crate) async fn client_from(
        &self,
        address: std::net::Ipv4Addr,
        database: &str,
        role: &str,
    ) -> Result<Client, tokio_postgres::Error> {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind((address, 0).into()).unwrap();
        let stream = socket.connect(([127, 0, 0, 1], self.port).into()).await.unwrap();
        let tls = MakeTlsConnect::<TcpStream>::make_tls_connect(&mut self.tls(), "localhost").unwrap();
        let (client, driver) = self.config(database, role).connect_raw(stream, tls).await?;
        tokio::spawn(driver);
        Ok(client)
    }

    fn config(&self, database: &str, role: &str) -> tokio_postgres::Config {
        let mut config = tokio_postgres::Config::new();
        config.host("localhost").port(self.port).dbname(database).user(role).password(PASSWORD);
        config.ssl_mode(tokio_postgres::config::SslMode::Require);
        config
    }

    fn tls(&self) -> MakeRustlsConnect {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(self.ca.as_bytes()).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        MakeRustlsConnect::new(config)
    }

    /// A superuser's client, as soon as the server answers.
    pub(crate) async fn superuser(&self, database: &str) -> Client {
        for _ in 0..600 {
            match self.client(database, "postgres").await {
                Ok(client) => return client,
                Err(error) if error.as_db_error().is_some_and(|e| e.code().code() != "57P03") => {
                    panic!("{error:?}");
                }
                Err(_) => tokio::time::sleep(std::time::Duration::from_millis(50)).await,
            }
        }
        panic!("{}", std::fs::read_to_string(self.directory.join("log")).unwrap());
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // SIGINT is PostgreSQL's fast shutdown: it ends its own children, which SIGKILL would not.
        let _ = Command::new("kill").args(["-INT", &self.child.id().to_string()]).status();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

/// One of PostgreSQL's own client programs, as `psql`.
pub(crate) fn client_program(name: &str) -> Command {
    // Some machines have links to the server's programs elsewhere.
    let programs = Account::find().programs.join("initdb").canonicalize().unwrap();
    Command::new(programs.with_file_name(name))
}

/// Who runs the server: PostgreSQL refuses root.
struct Account {
    ids: Option<(u32, u32)>,
    programs: PathBuf,
}

impl Account {
    fn find() -> Self {
        let id = |arguments: &[&str]| -> u32 {
            let output = Command::new("id").args(arguments).output().unwrap();
            String::from_utf8(output.stdout).unwrap().trim().parse().unwrap()
        };
        let ids = (id(&["-u"]) == 0).then(|| (id(&["-u", "postgres"]), id(&["-g", "postgres"])));
        let on_path = std::env::var_os("PATH").unwrap_or_default();
        let packaged = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
        let programs = std::env::split_paths(&on_path)
            .chain(packaged.map(|version| version.path().join("bin")))
            .find(|directory| directory.join("initdb").exists())
            .expect("these tests need PostgreSQL's server programs: apt-get install postgresql");
        Self { ids, programs }
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.programs.join(program));
        // Not the tests' own directory, into which another user may not even look.
        command.current_dir("/").stdin(Stdio::null());
        if let Some((user, group)) = self.ids {
            command.uid(user).gid(group);
        }
        command
    }

    fn owns(&self, path: &Path, mode: u32) {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
        if let Some((user, group)) = self.ids {
            chown(path, Some(user), Some(group)).unwrap();
        }
    }
}

/// A database with the roles owner, app, dms and op, each prefixed with the database's name.
pub(crate) struct Database {
    pub(crate) server: Arc<Server>,
    pub(crate) name: String,
    pub(crate) admin: Client,
}

impl Database {
    /// `name` is also the roles' prefix, so it must be this test's own.
    pub(crate) async fn make(name: &str) -> Self {
        Self::make_on(Server::shared(), name).await
    }

    /// The same on a server of the caller's choice.
    pub(crate) async fn make_on(server: Arc<Server>, name: &str) -> Self {
        let root = server.superuser("postgres").await;
        root.batch_execute(&format!(
            "CREATE ROLE {name}_owner NOLOGIN;
             CREATE ROLE {name}_app LOGIN PASSWORD '{PASSWORD}';
             CREATE ROLE {name}_dms LOGIN REPLICATION PASSWORD '{PASSWORD}';
             CREATE ROLE {name}_op LOGIN REPLICATION PASSWORD '{PASSWORD}';
             GRANT {name}_owner, {name}_app, pg_signal_backend, pg_monitor TO {name}_op"
        ))
        .await
        .unwrap();
        root.batch_execute(&format!("CREATE DATABASE {name} OWNER {name}_owner")).await.unwrap();
        let admin = server.superuser(name).await;
        admin
            .batch_execute(&format!(
                "REVOKE CONNECT, TEMPORARY ON DATABASE {name} FROM PUBLIC;
                 GRANT CONNECT ON DATABASE {name} TO {name}_app, {name}_dms, {name}_op;
                 ALTER SCHEMA public OWNER TO {name}_owner;
                 CREATE SCHEMA slipway AUTHORIZATION {name}_op;
                 CREATE SCHEMA awsdms_control AUTHORIZATION {name}_dms;
                 SET ROLE {name}_owner;
                 CREATE TABLE accounts (id bigint PRIMARY KEY, balance numeric(12,2) NOT NULL);
                 CREATE TABLE \"Transfer Log\" (id bigint PRIMARY KEY, note text);
                 GRANT USAGE ON SCHEMA public TO {name}_app, {name}_dms;
                 GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {name}_app, {name}_dms;
                 RESET ROLE"
            ))
            .await
            .unwrap();
        Self { server, name: name.to_owned(), admin }
    }

    pub(crate) fn role(&self, role: &str) -> String {
        format!("{}_{role}", self.name)
    }

    pub(crate) fn spec(&self, side: Side) -> ConnectSpec {
        ConnectSpec {
            side,
            host: "localhost".to_owned(),
            port: self.server.port,
            database: self.name.clone(),
            whose: Whose::Operator,
            username: self.role("op"),
            password: Secret::new(PASSWORD.to_owned()),
            tls_mode: TlsMode::VerifyFull,
            ca_pem: self.server.ca.clone(),
            application_name: "slipway".to_owned(),
        }
    }

    pub(crate) async fn open(&self, side: Side) -> Connection {
        Connection::open(&self.spec(side)).await.unwrap()
    }

    pub(crate) fn migration(&self, uid: &str) -> Holding {
        Holding { resource: format!("bank/{}", self.name), uid: uid.to_owned(), dms_role: self.role("dms") }
    }

    pub(crate) fn question(&self) -> Question {
        Question { selection: everything(), dms_role: self.role("dms") }
    }
}

pub(crate) fn everything() -> Selection {
    Selection { include: vec![selector("public", "*")], exclude: Vec::new() }
}

pub(crate) fn selector(schema: &str, name: &str) -> TableSelector {
    TableSelector { schema: schema.to_owned(), name: name.to_owned() }
}

/// Leadership, as soon as no other test has it.
pub(crate) async fn leadership() -> Leadership {
    loop {
        if let Some(leadership) = Leadership::acquire() {
            return leadership;
        }
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
}
