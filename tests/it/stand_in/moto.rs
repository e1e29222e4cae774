//! The same questions to moto, which others wrote, where the Rust SDK can read its answers and it is known to be right.

use std::net::{Ipv4Addr, TcpListener};
use std::process::Stdio;
use std::time::Duration;

use aws_config::SdkConfig;
use aws_sdk_route53::types::{ChangeAction, HostedZoneConfig, ResourceRecord, RrType};

use super::route53::{NAME, change, simple, weighted};
use super::{Bench, sdk_config};

/// A moto of our own, ended with this value; none if the machine has none.
async fn start() -> Option<(tokio::process::Child, SdkConfig)> {
    let port =
        TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|free| free.local_addr()).expect("free").port();
    let mut command = tokio::process::Command::new("moto_server");
    command.args(["-H", "127.0.0.1", "-p", &port.to_string()]).kill_on_drop(true);
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().ok()?;
    for _ in 0..1800 {
        if tokio::net::TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.is_ok() {
            return Some((child, sdk_config(&format!("http://127.0.0.1:{port}"), "AKIASANDBOX").await));
        }
        // A name that leads to nothing that runs is as good as none.
        if child.try_wait().expect("our child").is_some() {
            return None;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("moto does not listen after three minutes");
}

/// What a stand-in says to each question, in words.
async fn answers(config: &SdkConfig, zone: &str) -> Vec<String> {
    let names = aws_sdk_route53::Client::new(config);
    let balancers = aws_sdk_elasticloadbalancingv2::Client::new(config);
    let services = aws_sdk_ecs::Client::new(config);
    let mut said = Vec::new();
    let changes = vec![
        (ChangeAction::Upsert, weighted("source", 3, "127.0.0.2")),
        (ChangeAction::Upsert, weighted("target", 0, "127.0.0.3")),
        (ChangeAction::Create, simple(RrType::Txt, 30, "\"heritage=slipway,uid=1\"")),
    ];
    let made = change(&names, zone, changes).await.expect("changed");
    said.push(format!("a change has an id: {}", made.change_info().is_some_and(|it| it.id().contains('C'))));
    let listed = names.list_resource_record_sets().hosted_zone_id(zone).start_record_name(NAME).send().await;
    for set in
        listed.expect("listed").resource_record_sets().iter().filter(|set| set.name().starts_with(NAME))
    {
        let values: Vec<&str> = set.resource_records().iter().map(ResourceRecord::value).collect();
        let (kind, identifier) = (set.r#type(), set.set_identifier());
        said.push(format!(
            "{} {kind} {identifier:?} {:?} {:?} {values:?}",
            set.name(),
            set.weight(),
            set.ttl()
        ));
    }
    let shown = names.get_hosted_zone().id(zone).send().await.expect("there").hosted_zone.expect("shown");
    said.push(format!("{} private: {:?}", shown.name(), shown.config().map(HostedZoneConfig::private_zone)));
    let absent = names.get_hosted_zone().id("Z0NONE").send().await.expect_err("absent").into_service_error();
    said.push(format!("no zone: {}", absent.is_no_such_hosted_zone()));

    let absent = balancers.describe_load_balancers().names("none").send().await.expect_err("absent");
    said.push(format!("no balancer: {}", absent.into_service_error().is_load_balancer_not_found_exception()));
    let group = "arn:aws:elasticloadbalancing:eu-central-1:111122223333:targetgroup/none/5a1d000000000000";
    let absent = balancers.describe_target_health().target_group_arn(group).send().await.expect_err("absent");
    said.push(format!("no group: {}", absent.into_service_error().is_target_group_not_found_exception()));

    let seen =
        services.describe_services().cluster("ecs-dev").services("none").send().await.expect("described");
    said.push(format!("no service: {:?}", seen.failures()[0].reason()));
    let absent =
        services.describe_services().cluster("none").services("none").send().await.expect_err("absent");
    said.push(format!("no cluster: {}", absent.into_service_error().is_cluster_not_found_exception()));
    said
}

#[tokio::test]
async fn moto_says_the_same_skipped_where_there_is_no_moto() {
    let Some((_moto, theirs)) = start().await else {
        eprintln!("this machine has no moto_server: not asked");
        return;
    };
    let names = aws_sdk_route53::Client::new(&theirs);
    let made = names.create_hosted_zone().name("bank.example").caller_reference("once").send().await;
    let zone = made.expect("made").hosted_zone.expect("shown").id().to_owned();
    aws_sdk_ecs::Client::new(&theirs).create_cluster().cluster_name("ecs-dev").send().await.expect("made");
    let theirs = answers(&theirs, &zone).await;

    let bench = Bench::start().await;
    let zone = bench.server.with_world(|world, _| {
        world.keep_service("ecs-dev", "api-dev", 1, None);
        world.keep_zone("bank.example", false)
    });
    let ours = answers(&bench.config, &zone).await;
    assert_eq!(ours, theirs);
    assert!(ours.len() > 8);
}
