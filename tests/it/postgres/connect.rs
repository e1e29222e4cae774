//! Each way in which a connection can fail has its own word.

use slipway::api::condition::Reason;
use slipway::api::database::TlsMode;
use slipway::fault::Fault;
use slipway::postgres::{ConnectSpec, Connection, Whose};
use slipway::secret::Secret;
use slipway::side::Side;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::server::{Database, PASSWORD, Server, authority};

async fn refused(spec: &ConnectSpec, reason: Reason) -> String {
    match Connection::open(spec).await {
        Err(Fault::Blocked(blocked)) if blocked.reason == reason => {
            assert!(!blocked.message.contains(PASSWORD), "{}", blocked.message);
            blocked.message
        }
        other => panic!("not {reason}: {other:?}"),
    }
}

#[tokio::test]
async fn a_refused_login_or_database_is_named() {
    let database = Database::make("refused").await;
    let spec = database.spec(Side::Source);

    let wrong = ConnectSpec { password: Secret::new("wrong".to_owned()), ..spec.clone() };
    let message = refused(&wrong, Reason::LoginRefused).await;
    assert!(message.contains("refused_op") && message.contains("source"), "{message}");
    assert!(!message.contains("\"wrong\""), "{message}");

    let nobody = ConnectSpec { username: "nobody_of_that_name".to_owned(), ..spec.clone() };
    refused(&nobody, Reason::LoginRefused).await;
    database.admin.batch_execute("ALTER ROLE refused_app NOLOGIN").await.unwrap();
    refused(&ConnectSpec { username: "refused_app".to_owned(), ..spec.clone() }, Reason::LoginRefused).await;

    let message =
        refused(&ConnectSpec { database: "nowhere".to_owned(), ..spec.clone() }, Reason::DatabaseMissing)
            .await;
    assert!(message.contains("nowhere"), "{message}");

    database.admin.batch_execute("REVOKE CONNECT ON DATABASE refused FROM refused_op").await.unwrap();
    database.admin.batch_execute("REVOKE refused_owner, refused_app FROM refused_op").await.unwrap();
    let message = refused(&spec, Reason::PrivilegeMissing).await;
    assert!(message.contains("GRANT CONNECT"), "{message}");

    database.admin.batch_execute("GRANT CONNECT ON DATABASE refused TO refused_op").await.unwrap();
    database.admin.batch_execute("ALTER ROLE refused_op CONNECTION LIMIT 0").await.unwrap();
    let message = refused(&spec, Reason::Unreachable).await;
    assert!(message.contains("max_connections"), "{message}");
    database.admin.batch_execute("ALTER ROLE refused_op CONNECTION LIMIT 1").await.unwrap();
    // The session that was refused last counts until the server has buried it.
    let mut opened = Connection::open(&spec).await;
    for _ in 0..200 {
        if opened.is_ok() {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        opened = Connection::open(&spec).await;
    }
    assert!(opened.unwrap().is_usable());
}

#[tokio::test]
async fn a_refused_certificate_says_why() {
    let database = Database::make("certificate").await;
    let spec = database.spec(Side::Target);

    let message =
        refused(&ConnectSpec { ca_pem: authority("stranger").1, ..spec.clone() }, Reason::CertificateRefused)
            .await;
    assert!(message.contains("issuer") && message.contains("spec.target.tls.caRef"), "{message}");
    // The same name, but another key: what is left after an authority was made anew.
    let message =
        refused(&ConnectSpec { ca_pem: authority("bank").1, ..spec.clone() }, Reason::CertificateRefused)
            .await;
    assert!(message.contains("issuer"), "{message}");

    let by_address = ConnectSpec { host: "127.0.0.1".to_owned(), ..spec.clone() };
    let message = refused(&by_address, Reason::CertificateRefused).await;
    assert!(message.contains("not made out to 127.0.0.1") && message.contains("localhost"), "{message}");
    let chain_only = ConnectSpec { tls_mode: TlsMode::VerifyCA, ..by_address };
    assert!(Connection::open(&chain_only).await.unwrap().is_usable());
    // Forgiving the name must not forgive the chain.
    let message =
        refused(&ConnectSpec { ca_pem: authority("stranger").1, ..chain_only }, Reason::CertificateRefused)
            .await;
    assert!(message.contains("issuer"), "{message}");

    refused(&ConnectSpec { ca_pem: String::new(), ..spec }, Reason::CertificateAuthorityInvalid).await;
}

#[tokio::test]
async fn an_expired_certificate_is_refused_in_both_modes() {
    let server = Server::start(2002);
    for tls_mode in [TlsMode::VerifyFull, TlsMode::VerifyCA] {
        let spec = ConnectSpec {
            side: Side::Source,
            host: "localhost".to_owned(),
            port: server.port,
            database: "postgres".to_owned(),
            whose: Whose::Operator,
            username: "postgres".to_owned(),
            password: Secret::new(PASSWORD.to_owned()),
            tls_mode,
            ca_pem: server.ca.clone(),
            application_name: "slipway".to_owned(),
        };
        let message = loop {
            match Connection::open(&spec).await {
                Err(Fault::Blocked(blocked)) if blocked.reason == Reason::Unreachable => {
                    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
                }
                Err(Fault::Blocked(blocked)) if blocked.reason == Reason::CertificateRefused => {
                    break blocked.message;
                }
                other => panic!("{other:?}"),
            }
        };
        assert!(message.contains("has expired"), "{message}");
    }
}

#[tokio::test]
async fn what_does_not_answer_is_unreachable() {
    let (_, ca_pem) = authority("bank");
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let spec = ConnectSpec {
        side: Side::Source,
        whose: Whose::Operator,
        host: "localhost".to_owned(),
        port: listener.local_addr().unwrap().port(),
        database: "bank".to_owned(),
        username: "op".to_owned(),
        password: Secret::new(PASSWORD.to_owned()),
        tls_mode: TlsMode::VerifyFull,
        ca_pem,
        application_name: "slipway".to_owned(),
    };

    // Takes the connection and says nothing.
    let message = refused(&spec, Reason::Unreachable).await;
    assert!(message.contains("5 s"), "{message}");

    // Answers as a PostgreSQL server without TLS.
    let plain = tokio::spawn(async move {
        loop {
            let (mut socket, _) = listener.accept().await.unwrap();
            let mut request = [0; 8];
            if socket.read_exact(&mut request).await.is_ok() {
                socket.write_all(b"N").await.unwrap();
            }
        }
    });
    let message = refused(&spec, Reason::Unreachable).await;
    assert!(message.contains("does not offer TLS"), "{message}");
    plain.abort();
    let _ = plain.await;

    let message = refused(&spec, Reason::Unreachable).await;
    assert!(message.contains(&spec.port.to_string()), "{message}");
    let message =
        refused(&ConnectSpec { host: "no-such-host.invalid".to_owned(), ..spec }, Reason::Unreachable).await;
    assert!(message.contains("no-such-host.invalid"), "{message}");
}

#[tokio::test]
async fn a_session_that_was_ended_is_no_longer_usable() {
    let database = Database::make("ended").await;
    let connection = database.open(Side::Source).await;
    let sql = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'ended_op'";
    database.admin.batch_execute(sql).await.unwrap();
    for _ in 0..2 {
        let fault = slipway::postgres::observe(&connection, &database.question()).await.unwrap_err();
        assert!(matches!(fault, Fault::Again(_)), "{fault:?}");
    }
    assert!(!connection.is_usable());
}
