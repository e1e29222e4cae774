//! Where an application's sessions come from.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use slipway::postgres::{Connection, sessions};
use slipway::side::Side;
use tokio_postgres::Client;

use super::server::{Database, Server};

/// A server that lets all of loopback in, as a company's network would.
async fn open_to_loopback(name: &str) -> Database {
    let database = Database::make_on(Arc::new(Server::start(2099)), name).await;
    let open = "COPY (SELECT 'hostssl all all 127.0.0.0/8 scram-sha-256') TO PROGRAM 'cat >> pg_hba.conf'";
    database.admin.batch_execute(&format!("{open}; SELECT pg_reload_conf()")).await.unwrap();
    database
}

/// A session from `127.0.0.<last>`; the server may need a moment to read its new rules.
async fn from(database: &Database, last: u8, role: &str) -> Client {
    let address = Ipv4Addr::new(127, 0, 0, last);
    for _ in 0..100 {
        let client = database.server.client_from(address, &database.name, &database.role(role)).await;
        if let Ok(client) = client {
            return client;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("no session from {address}");
}

fn at(last: u8, count: i64) -> (Option<IpAddr>, i64) {
    (Some(IpAddr::from([127, 0, 0, last])), count)
}

/// The sessions, once they are as expected: the server notices the end of one a moment later.
async fn becomes(connection: &Connection, roles: &[String], expected: &[(Option<IpAddr>, i64)]) {
    let mut seen = Vec::new();
    for _ in 0..100 {
        seen = sessions(connection, roles).await.unwrap();
        if seen == expected {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(seen, expected);
}

#[tokio::test]
async fn sessions_are_counted_by_role_and_address() {
    let database = open_to_loopback("fleet").await;
    let connection = database.open(Side::Source).await;
    let (app, second) = (database.role("app"), database.role("second"));
    let make = format!(
        "CREATE ROLE {second} LOGIN PASSWORD '{}'; GRANT CONNECT ON DATABASE fleet TO {second}; GRANT {app} TO {second}",
        super::server::PASSWORD
    );
    database.admin.batch_execute(&make).await.unwrap();
    let roles = [app.clone(), second.clone()];
    assert_eq!(sessions(&connection, &roles).await.unwrap(), []);

    let first = from(&database, 2, "app").await;
    let again = from(&database, 2, "app").await;
    let other = from(&database, 3, "second").await;
    // Not of the application, and not of this database.
    let _dms = from(&database, 4, "dms").await;
    database.admin.batch_execute(&format!("GRANT CONNECT ON DATABASE postgres TO {app}")).await.unwrap();
    let elsewhere = database.server.client_from(Ipv4Addr::new(127, 0, 0, 5), "postgres", &app).await.unwrap();
    assert_eq!(sessions(&connection, &roles).await.unwrap(), [at(2, 2), at(3, 1)]);
    assert_eq!(sessions(&connection, std::slice::from_ref(&second)).await.unwrap(), [at(3, 1)]);
    assert_eq!(sessions(&connection, &[]).await.unwrap(), []);
    assert_eq!(sessions(&connection, &["nobody".to_owned()]).await.unwrap(), []);

    // It counts as whom somebody logged in, not as whom he acts.
    other.batch_execute(&format!("SET ROLE {app}")).await.unwrap();
    assert_eq!(sessions(&connection, &[app]).await.unwrap(), [at(2, 2)]);
    // One in a transaction or with a slow statement counts as well.
    first.batch_execute("BEGIN").await.unwrap();
    drop((again, elsewhere));
    becomes(&connection, &roles, &[at(2, 1), at(3, 1)]).await;
    drop((first, other));
    becomes(&connection, &roles, &[]).await;
}

#[tokio::test]
async fn sessions_whose_address_may_not_be_seen_are_told_without_one() {
    let database = Database::make("veiled").await;
    let connection = database.open(Side::Target).await;
    let app = database.role("app");
    let _session = database.server.client("veiled", &app).await.unwrap();
    assert_eq!(sessions(&connection, std::slice::from_ref(&app)).await.unwrap(), [at(1, 1)]);
    let revoke = format!("REVOKE pg_monitor, {app} FROM {}", database.role("op"));
    database.admin.batch_execute(&revoke).await.unwrap();
    assert_eq!(sessions(&connection, &[app]).await.unwrap(), [(None, 1)]);
}
