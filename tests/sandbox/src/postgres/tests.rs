#![allow(clippy::unwrap_used)]

use super::*;

async fn number(server: &Server, sql: &str) -> i64 {
    let client = connect_local(&server.superuser_dsn("postgres")).await.unwrap();
    client.query_one(sql, &[]).await.unwrap().get(0)
}

/// A directory of this test's own, removed when the value goes.
pub(crate) struct Scratch(pub(crate) PathBuf);

impl Scratch {
    pub(crate) fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("slipway-test-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_survives_restart_kill_and_pause_and_leaves_nothing() {
    let scratch = Scratch::new("server");
    let authority = Authority::new("sandbox databases").unwrap();
    let mut server = Server::start(&scratch.0, "one", &authority).await.unwrap();
    let client = connect_local(&server.superuser_dsn("postgres")).await.unwrap();
    client
        .batch_execute("CREATE TABLE kept AS SELECT 7::bigint AS n; CREATE ROLE someone LOGIN PASSWORD 'pw'")
        .await
        .unwrap();
    let level: String = client.query_one("SHOW wal_level", &[]).await.unwrap().get(0);
    assert_eq!(level, "logical");

    let login = Login {
        host: "localhost".into(),
        port: server.port(),
        database: "postgres".into(),
        user: "someone".into(),
        password: "pw".into(),
        ca: server.ca().to_owned(),
    };
    let encrypted = login.connect("test").await.unwrap();
    let row =
        encrypted.query_one("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()", &[]).await.unwrap();
    assert!(row.get::<_, bool>(0));

    // Nobody gets in with the wrong authority or password, nor without TLS.
    let other = Authority::new("somebody else").unwrap();
    let refused = |login: Login| async move { login.connect("test").await.unwrap_err().to_string() };
    let wrong_ca = refused(Login { ca: other.pair().certificate.clone(), ..login.clone() }).await;
    assert!(wrong_ca.contains("certificate"), "{wrong_ca}");
    let wrong_password = refused(Login { password: "no".into(), ..login.clone() }).await;
    assert!(wrong_password.contains("28P01"), "{wrong_password}");
    let plain = format!(
        "host=127.0.0.1 port={} user=someone password=pw dbname=postgres sslmode=disable",
        server.port()
    );
    let plain = connect_local(&plain).await.unwrap_err().to_string();
    assert!(plain.contains("28000"), "{plain}");

    server.restart().await.unwrap();
    assert_eq!(number(&server, "SELECT n FROM kept").await, 7);
    assert!(client.is_closed());

    server.kill().await.unwrap();
    assert!(connect_local(&server.superuser_dsn("postgres")).await.is_err());
    server.restart().await.unwrap();
    assert_eq!(number(&server, "SELECT n FROM kept").await, 7);

    server.pause().unwrap();
    let dsn = server.superuser_dsn("postgres");
    assert!(tokio::time::timeout(Duration::from_millis(300), connect_local(&dsn)).await.is_err());
    server.resume().unwrap();
    assert_eq!(number(&server, "SELECT n FROM kept").await, 7);

    let (data, port) = (server.data.clone(), server.port());
    server.stop().await.unwrap();
    assert!(!data.exists());
    assert!(TcpListener::bind(("127.0.0.1", port)).is_ok());
}

#[tokio::test]
async fn a_directory_that_the_servers_account_cannot_enter_is_left_for_the_temporary_one() {
    use std::os::unix::fs::PermissionsExt as _;
    let scratch = Scratch::new("closed");
    fs::set_permissions(&scratch.0, fs::Permissions::from_mode(0o700)).unwrap();
    let server = Server::start(&scratch.0, "two", &Authority::new("ca").unwrap()).await.unwrap();
    // Whoever is not root enters its own directory.
    assert_eq!(server.data.starts_with(&scratch.0), server.account.is_none());
    let data = server.data.clone();
    drop(server);
    assert!(!data.exists());
}
