//! Against real servers over loopback, with and without TLS.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::sync::Mutex;

use axum::http::{HeaderMap, StatusCode, Uri};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ServerConfig, ServerConnection};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::*;

const NAME: &str = "payments.bank.example";

fn prober() -> Prober {
    Prober::trusting(RootCertStore::empty(), LIMIT)
}

/// One that does not keep a test waiting.
fn hasty() -> Prober {
    Prober::trusting(RootCertStore::empty(), Duration::from_millis(300))
}

fn place(port: u16, scheme: Scheme) -> Place {
    Place { at: "127.0.0.1".into(), port, name: NAME.into(), scheme, path: "/healthz?full=1".into() }
}

async fn listen() -> (TcpListener, u16) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, port)
}

fn status(probe: Probe) -> u16 {
    match probe {
        Probe::Answered { status, took } if took < LIMIT => status,
        other => panic!("{other:?}"),
    }
}

/// A server that reads a request, writes `reply`, then `more` for ever, and keeps the connection open if `keep`.
async fn raw(reply: &'static [u8], more: &'static [u8], keep: bool) -> u16 {
    let (listener, port) = listen().await;
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut request = [0; 4096];
                let _ = stream.read(&mut request).await;
                let _ = stream.write_all(reply).await;
                while !more.is_empty() && stream.write_all(more).await.is_ok() {}
                if keep {
                    tokio::time::sleep(Duration::from_mins(1)).await;
                }
            });
        }
    });
    port
}

#[tokio::test]
async fn an_application_is_asked_as_its_clients_ask_it_and_only_its_status_counts() {
    let (listener, port) = listen().await;
    let seen: Arc<Mutex<Vec<(String, HeaderMap)>>> = Arc::default();
    let log = Arc::clone(&seen);
    let app = axum::Router::new().fallback(move |uri: Uri, headers: HeaderMap| {
        let log = Arc::clone(&log);
        async move {
            let answer = match uri.path() {
                "/healthz" => (StatusCode::OK, [("location", ""), ("x-secret", "hunter2")], "fine"),
                "/moved" => (StatusCode::FOUND, [("location", "/healthz"), ("x-secret", "hunter2")], ""),
                _ => (StatusCode::SERVICE_UNAVAILABLE, [("location", ""), ("x-secret", "")], "hunter2"),
            };
            log.lock().unwrap().push((uri.to_string(), headers));
            answer
        }
    });
    tokio::spawn(async move { axum::serve(listener, app).await });
    let at = |path: &str| Place { path: path.into(), ..place(port, Scheme::Http) };
    assert_eq!(status(prober().ask(&at("/healthz?full=1")).await), 200);
    assert_eq!(status(prober().ask(&at("/moved")).await), 302);
    let down = prober().ask(&at("/elsewhere")).await;
    assert_eq!(status(down), 503);
    assert!(!format!("{down:?}").contains("hunter2"));
    let named = Place { at: "localhost".into(), ..at("/healthz") };
    assert_eq!(status(prober().ask(&named).await), 200);
    let seen = seen.lock().unwrap();
    let paths: Vec<&str> = seen.iter().map(|(path, _)| path.as_str()).collect();
    assert_eq!(paths, ["/healthz?full=1", "/moved", "/elsewhere", "/healthz"], "no redirect is followed");
    for (_, headers) in seen.iter() {
        assert_eq!(headers["host"], format!("{NAME}:{port}"));
        assert_eq!(headers["connection"], "close");
    }
}

#[test]
fn the_usual_port_is_not_told_and_what_can_not_be_asked_is_not() {
    for (scheme, port, host) in [
        (Scheme::Http, 80, NAME.to_owned()),
        (Scheme::Https, 443, NAME.to_owned()),
        (Scheme::Http, 443, format!("{NAME}:443")),
        (Scheme::Https, 8443, format!("{NAME}:8443")),
    ] {
        assert_eq!(request(&place(port, scheme)).unwrap().headers()["host"], host);
    }
    for path in ["", "healthz", "http://other.example/", "/a b", "/\u{7}", "/a\r\nHost: other"] {
        let place = Place { path: path.into(), ..place(80, Scheme::Http) };
        assert_eq!(request(&place).unwrap_err(), Failure::Unfit, "{path:?}");
    }
    // Whatever a spec's path may hold is asked for as it is, and never becomes the one who is asked.
    for path in
        ["//other.example/", "/@other.example:80/", "/../..%2f", "/a?b=http://c/&d=?", "/!$&'()*+,;=:@-._~"]
    {
        let made = request(&Place { path: path.into(), ..place(80, Scheme::Http) }).unwrap();
        assert_eq!((made.uri().to_string().as_str(), made.uri().authority()), (path, None));
        assert_eq!(made.headers()["host"], NAME);
    }
    let place = Place { name: "a\r\nb".into(), ..place(80, Scheme::Http) };
    assert_eq!(request(&place).unwrap_err(), Failure::Unfit);
}

#[tokio::test]
async fn whatever_comes_instead_of_an_answer_is_told_in_a_word_and_in_time() {
    let silent = raw(b"", b"", true).await;
    let half = raw(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf", b"", true).await;
    let head = raw(b"HTTP/1.1 200 OK\r\n", b"", true).await;
    let cut = raw(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf", b"", false).await;
    let shut = raw(b"", b"", false).await;
    let other = raw(b"SSH-2.0-OpenSSH_9.6\r\n\r\n", b"", false).await;
    let long = raw(b"HTTP/1.1 200 OK\r\n", b"x-more: and more and more\r\n", true).await;
    let (closed, gone) = listen().await;
    drop(closed);
    for (port, failure) in [
        (silent, Failure::TimedOut),
        (half, Failure::TimedOut),
        (head, Failure::TimedOut),
        (cut, Failure::BrokenOff),
        (shut, Failure::BrokenOff),
        (other, Failure::NotHttp),
        (long, Failure::NotHttp),
        (gone, Failure::Refused),
    ] {
        let began = Instant::now();
        assert_eq!(hasty().ask(&place(port, Scheme::Http)).await, Probe::Failed(failure));
        assert!(began.elapsed() < LIMIT);
    }
}

#[tokio::test]
async fn two_seconds_are_the_limit() {
    let silent = raw(b"", b"", true).await;
    let began = Instant::now();
    assert_eq!(prober().ask(&place(silent, Scheme::Http)).await, Probe::Failed(Failure::TimedOut));
    let took = began.elapsed();
    assert!(took >= LIMIT && took < LIMIT * 2, "{took:?}");
}

#[tokio::test]
async fn of_a_body_without_end_only_the_beginning_is_read() {
    let endless = raw(b"HTTP/1.1 200 OK\r\ncontent-length: 99999999999\r\n\r\n", &[b'x'; 8192], true).await;
    let chunk = format!("1000\r\n{}\r\n", "x".repeat(4096)).into_bytes().leak();
    let chunked = raw(b"HTTP/1.1 404 Not Found\r\ntransfer-encoding: chunked\r\n\r\n", chunk, true).await;
    assert_eq!(status(prober().ask(&place(endless, Scheme::Http)).await), 200);
    assert_eq!(status(prober().ask(&place(chunked, Scheme::Http)).await), 404);
    // One that ends when the connection does.
    let plain = raw(b"HTTP/1.0 200 OK\r\n\r\nbody", b"", false).await;
    assert_eq!(status(prober().ask(&place(plain, Scheme::Http)).await), 200);
}

#[tokio::test]
async fn nothing_is_asked_where_nothing_may_be() {
    for at in
        ["169.254.169.254", "0.0.0.0", "224.0.0.1", "::", "fd00:ec2::254", "fe80::1", "::ffff:127.0.0.1"]
    {
        let place = Place { at: at.into(), ..place(80, Scheme::Http) };
        assert_eq!(prober().ask(&place).await, Probe::Failed(Failure::Forbidden), "{at}");
    }
    let place = Place { at: "nobody.invalid".into(), ..place(80, Scheme::Http) };
    let probe = prober().ask(&place).await;
    // Where no resolver answers at all, that takes its time.
    assert!(matches!(probe, Probe::Failed(Failure::NotResolved | Failure::TimedOut)), "{probe:?}");
}

struct Authority {
    issuer: Issuer<'static, KeyPair>,
    roots: RootCertStore,
}

fn authority() -> Authority {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, "bank");
    let mut roots = RootCertStore::empty();
    roots.add(params.self_signed(&key).unwrap().der().clone()).unwrap();
    Authority { issuer: Issuer::new(params, key), roots }
}

/// A TLS server with a certificate for `name` until the end of a year; says who it was taken for.
async fn secure(authority: &Authority, name: &str, until: i32) -> (u16, Arc<Mutex<Vec<Option<String>>>>) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
    params.not_before = rcgen::date_time_ymd(2001, 1, 1);
    params.not_after = rcgen::date_time_ymd(until, 12, 31);
    let certificate = params.signed_by(&key, &authority.issuer).unwrap();
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let provider = Arc::new(crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)
        .unwrap();
    let (listener, port) = listen().await;
    let seen: Arc<Mutex<Vec<Option<String>>>> = Arc::default();
    let log = Arc::clone(&seen);
    tokio::spawn(async move {
        let acceptor = TlsAcceptor::from(Arc::new(config));
        while let Ok((stream, _)) = listener.accept().await {
            let Ok(mut stream) = acceptor.accept(stream).await else { continue };
            let connection: &ServerConnection = stream.get_ref().1;
            log.lock().unwrap().push(connection.server_name().map(str::to_owned));
            let mut request = [0; 4096];
            let _ = stream.read(&mut request).await;
            let _ = stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await;
            let _ = stream.shutdown().await;
        }
    });
    (port, seen)
}

#[tokio::test]
async fn a_certificate_must_be_for_the_name_that_clients_use_and_by_whom_the_machine_trusts() {
    let bank = authority();
    let trusting = |authority: &Authority| Prober::trusting(authority.roots.clone(), LIMIT);
    let (port, seen) = secure(&bank, NAME, 2099).await;
    // By address, as each source is asked.
    assert_eq!(status(trusting(&bank).ask(&place(port, Scheme::Https)).await), 204);
    assert_eq!(*seen.lock().unwrap(), [Some(NAME.to_owned())]);
    // By another name, as the target is asked behind its load balancer.
    let named = Place { at: "localhost".into(), ..place(port, Scheme::Https) };
    assert_eq!(status(trusting(&bank).ask(&named).await), 204);

    let refused = Probe::Failed(Failure::CertificateRefused);
    let misnamed = Place { name: "other.bank.example".into(), ..place(port, Scheme::Https) };
    assert_eq!(trusting(&bank).ask(&misnamed).await, refused);
    assert_eq!(trusting(&authority()).ask(&place(port, Scheme::Https)).await, refused);
    assert_eq!(prober().ask(&place(port, Scheme::Https)).await, refused);
    let (old, _) = secure(&bank, NAME, 2002).await;
    assert_eq!(trusting(&bank).ask(&place(old, Scheme::Https)).await, refused);

    let unfit = Place { name: "not a name".into(), ..place(port, Scheme::Https) };
    assert_eq!(trusting(&bank).ask(&unfit).await, Probe::Failed(Failure::Unfit));
    // Each as if it were the other.
    let plain = raw(b"HTTP/1.1 200 OK\r\n\r\n", b"", false).await;
    assert_eq!(trusting(&bank).ask(&place(plain, Scheme::Https)).await, Probe::Failed(Failure::TlsFailed));
    let probe = trusting(&bank).ask(&place(port, Scheme::Http)).await;
    assert!(matches!(probe, Probe::Failed(Failure::NotHttp | Failure::BrokenOff)), "{probe:?}");
}
