//! What drivers do when the host that they know refuses the login: the list of hosts in an application's URL is the
//! switch of a cutover, so this must stay true. The application is a Java program (tests/java) with the real `pgJDBC` and
//! `HikariCP`; libpq is asked through psql.

use std::path::{Path, PathBuf};
use std::process::Output;

use crate::postgres::server::{PASSWORD, client_program};
use application::{Application, Attempt, Retries};
use sides::{Door, Sides};

mod application;
mod cutover;
mod judge;
mod sides;

/// So many rows of each writer show that a host is written to.
const STEADY: usize = 20;

#[tokio::test]
async fn pgjdbc_goes_on_after_a_revoked_connect() {
    goes_on("jdbc_plain", Door::Connect, "", Retries::Pool).await;
}

#[tokio::test]
async fn pgjdbc_goes_on_with_a_target_server_type() {
    goes_on("jdbc_primary", Door::Connect, "&targetServerType=primary", Retries::Pool).await;
}

#[tokio::test]
async fn pgjdbc_goes_on_after_a_role_lost_its_login() {
    goes_on("jdbc_nologin", Door::Login, "", Retries::Pool).await;
}

/// What docs/connections.md advises.
#[tokio::test]
async fn pgjdbc_goes_on_with_a_source_that_asks_again() {
    let advised = "&connectTimeout=2&socketTimeout=30&tcpKeepAlive=true";
    goes_on("jdbc_advised", Door::Connect, advised, Retries::Source).await;
}

/// The whole story: written to the first host, shut out there, shut out on both, let in on the second.
async fn goes_on(name: &str, door: Door, parameters: &str, retries: Retries) {
    let sides = Sides::make(name, door).await;
    let mut application =
        Application::start(&sides.url(parameters), &sides.first.role("app"), PASSWORD, retries);
    application.until("all writers on the first host", |seen| steady(seen, sides.first.server.port)).await;

    sides.shut_first().await;
    let fenced = sides.keys(&sides.first).await;
    // The longest part of a cutover for an application is that no host lets it in.
    let shut_out = |attempts: &[Attempt]| attempts.iter().any(Attempt::got_no_connection);
    application.until("a writer that no host lets in", shut_out).await;

    sides.open_second().await;
    application.until("all writers on the second host", |seen| steady(seen, sides.second.server.port)).await;
    let attempts = application.end().await;

    let held = sides.held().await;
    assert_eq!(held.keys[0], fenced, "the first host was written to after its fence");
    held.judge(&attempts);
}

fn steady(attempts: &[Attempt], port: u16) -> bool {
    (0..application::WRITERS).all(|writer| {
        let there = |attempt: &&Attempt| attempt.writer == writer && attempt.acknowledged_by(port);
        attempts.iter().filter(there).count() >= STEADY
    })
}

#[tokio::test]
async fn libpq_does_not_go_on_after_a_refused_login() {
    for (name, door) in [("libpq_connect", Door::Connect), ("libpq_login", Door::Login)] {
        let sides = Sides::make(name, door).await;
        sides.shut_first().await;
        sides.open_second().await;
        let (first, second) = (sides.first.server.port, sides.second.server.port);
        let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        for parameters in ["", "target_session_attrs=read-write"] {
            let refused = psql(&sides, [first, second], parameters);
            let said = String::from_utf8_lossy(&refused.stderr).into_owned();
            assert!(
                !refused.status.success(),
                "psql went on to the second host: docs/connections.md is wrong"
            );
            assert!(said.contains(door.refusal()), "{said}");
            assert!(!said.contains(&format!("port {second}")), "psql asked the second host: {said}");
            // Neither the second host nor the list itself was in the way.
            for ports in [[second, first], [nobody, second]] {
                let answered = psql(&sides, ports, parameters);
                assert!(answered.status.success(), "{}", String::from_utf8_lossy(&answered.stderr));
                assert_eq!(String::from_utf8_lossy(&answered.stdout).trim(), second.to_string());
            }
        }
    }
}

/// Asks for the port of the server that let psql in.
fn psql(sides: &Sides, ports: [u16; 2], parameters: &str) -> Output {
    let [one, other] = ports;
    let (database, role) = (&sides.first.name, sides.first.role("app"));
    let authorities = sides.authorities.display();
    client_program("psql")
        .args(["--no-psqlrc", "--no-password", "--tuples-only", "--no-align"])
        .args(["--command", "SELECT inet_server_port()", "--dbname"])
        .arg(format!(
            "host=localhost,localhost port={one},{other} dbname={database} user={role} sslmode=verify-full \
             sslrootcert={authorities} connect_timeout=60 {parameters}"
        ))
        .env("PGPASSWORD", PASSWORD)
        .output()
        .unwrap()
}

/// A place below target/ for what these tests make.
fn directory() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("drivers")
}
