//! The name server, asked with hand-made questions, and with `dig` where there is one.

use std::net::{Ipv4Addr, SocketAddr};
use std::process::Stdio;
use std::time::Duration;

use aws_sdk_route53::Client;
use aws_sdk_route53::types::{ChangeAction, RrType};
use sandbox::traffic::NameServer;
use sandbox::world::balancer::Check;
use tokio::net::UdpSocket;

use super::Bench;
use super::route53::{NAME, alias, change, in_sync, simple, weighted, zone};

const A: u8 = 1;
const TXT: u8 = 16;

/// The answer's code, and TTL and data of each record, of the question for a name and type.
pub(super) async fn ask(server: SocketAddr, name: &str, kind: u8) -> (u8, Vec<(u32, Vec<u8>)>) {
    let mut question = b"\x5a\x1d\x01\x00\0\x01\0\0\0\0\0\0".to_vec();
    for label in name.split('.') {
        question.push(u8::try_from(label.len()).expect("short"));
        question.extend(label.as_bytes());
    }
    question.extend([0, 0, kind, 0, 1]);
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
    socket.send_to(&question, server).await.expect("sent");
    let mut buffer = [0; 4096];
    let answered = tokio::time::timeout(Duration::from_secs(10), socket.recv(&mut buffer)).await;
    let answer = &buffer[..answered.expect("in time").expect("received")];
    assert_eq!(answer[..2], question[..2], "the same id");
    assert_eq!(answer[2] & 0x80, 0x80, "a reply");
    assert!(answer[12..].starts_with(&question[12..]), "the same question");
    let mut rest = &answer[question.len()..];
    let mut records = Vec::new();
    for _ in 0..answer[7] {
        while rest[0] != 0 {
            rest = &rest[usize::from(rest[0]) + 1..];
        }
        let ttl = u32::from_be_bytes(rest[5..9].try_into().expect("four"));
        let length = usize::from(rest[9]) * 256 + usize::from(rest[10]);
        records.push((ttl, rest[11..11 + length].to_vec()));
        rest = &rest[11 + length..];
    }
    assert!(rest.is_empty());
    (answer[3] & 0x0f, records)
}

/// How often each address came, of so many questions.
async fn shares(server: SocketAddr, addresses: &[[u8; 4]], times: u32) -> Vec<u32> {
    let mut seen = vec![0; addresses.len()];
    for _ in 0..times {
        let (code, records) = ask(server, NAME, A).await;
        let [(_, address)] = records.as_slice() else { panic!("{code} {records:?}") };
        seen[addresses.iter().position(|it| it == address.as_slice()).expect("one of them")] += 1;
    }
    seen
}

#[tokio::test]
async fn names_are_answered_by_weight_once_a_change_is_in_sync() {
    let bench = Bench::start().await;
    let zone = zone(&bench);
    bench.server.with_world(|world, _| {
        world.keep_balancer("alb-dev", "localhost", vec![Ipv4Addr::LOCALHOST], Check::default());
    });
    let names = NameServer::start(bench.server.handle(), 7).await.expect("a free port");
    let server = names.address();
    assert_eq!(ask(server, "API.bank.example", A).await, (0, vec![(60, vec![127, 0, 0, 2])]));
    assert_eq!(ask(server, NAME, TXT).await, (0, Vec::new()));
    assert_eq!(ask(server, "no.bank.example", A).await.0, 3);
    assert_eq!(ask(server, "bank.other", A).await.0, 5);

    let client = Client::new(&bench.config);
    let shift = |source, target| {
        vec![
            (ChangeAction::Upsert, weighted("source", source, "127.0.0.2")),
            (ChangeAction::Upsert, alias("target", target, "Z35SXDOTRQ7X7K", "localhost")),
        ]
    };
    let mut first = vec![(ChangeAction::Delete, simple(RrType::A, 60, "127.0.0.2"))];
    first.extend(shift(1, 0));
    first.push((ChangeAction::Create, simple(RrType::Txt, 30, "\"heritage=slipway\" \"two\"")));
    let addresses = [[127, 0, 0, 2], [127, 0, 0, 1]];
    for (changes, share) in [(first, 0.0), (shift(3, 1), 0.25), (shift(0, 1), 1.0)] {
        let made = change(&client, &zone, changes).await.expect("changed");
        in_sync(&client, &made).await;
        let seen = shares(server, &addresses, 1000).await;
        let (wanted, deviation) = (1000.0 * share, (1000.0_f64 * share * (1.0 - share)).sqrt());
        assert!((f64::from(seen[1]) - wanted).abs() <= 4.0 * deviation, "{seen:?}, wanted {wanted}");
    }
    assert_eq!(ask(server, NAME, A).await.1[0].0, 60, "an alias has the load balancer's TTL");
    let text = b"\x10heritage=slipway\x03two".to_vec();
    assert_eq!(ask(server, NAME, TXT).await.1, [(30, text)]);
    by_dig(server).await;
}

/// The same by a program that others wrote, if the machine has it.
async fn by_dig(server: SocketAddr) {
    let dig = |kind: &str| {
        let mut command = tokio::process::Command::new("dig");
        command.args([&format!("@{}", server.ip()), "-p", &server.port().to_string(), "+short", NAME, kind]);
        command.stdin(Stdio::null()).output()
    };
    let Ok(answer) = dig("A").await else {
        eprintln!("this machine has no dig: not asked");
        return;
    };
    assert_eq!(String::from_utf8_lossy(&answer.stdout).trim(), "127.0.0.1");
    let answer = dig("TXT").await.expect("asked");
    assert_eq!(String::from_utf8_lossy(&answer.stdout).trim(), "\"heritage=slipway\" \"two\"");
}
