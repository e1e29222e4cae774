//! The same questions to moto, which others wrote, where the Rust SDK can read its answers and it is known to be right. What it
//! is known to answer otherwise than AWS is listed with the reason; a difference that is none any more is a failure, too.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use aws_config::SdkConfig;
use aws_sdk_elasticloadbalancingv2::types::{
    ProtocolEnum, TargetDescription, TargetHealthStateEnum, TargetTypeEnum,
};
use aws_sdk_route53::error::ProvideErrorMetadata;
use aws_sdk_route53::types::{
    ChangeAction, HealthCheckConfig, HealthCheckType, HostedZoneConfig, ResourceRecord, ResourceRecordSet,
    RrType,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

use super::route53::{NAME, alias, change, simple, weighted};
use super::{Bench, sdk_config};

const VERSION: &str = "5.2.1";

/// The program, installed below the target directory if the machine has none.
async fn program() -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("moto");
    let program = folder.join("bin/moto_server");
    if !program.exists() {
        run(Command::new("python3").args(["-m", "venv"]).arg(&folder)).await;
        let package = format!("moto[server]=={VERSION}");
        let mut pip = Command::new(folder.join("bin/pip"));
        run(pip.args(["install", "--quiet", "--no-compile", "--disable-pip-version-check", &package])).await;
    }
    program
}

async fn run(command: &mut Command) {
    let done = command.stdin(Stdio::null()).status().await;
    let done = done.unwrap_or_else(|error| panic!("{command:?}: {error}; python3 with venv is needed"));
    assert!(done.success(), "{command:?}: {done}");
}

/// A moto of our own, ended with this value.
async fn start() -> (Child, SocketAddr) {
    let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|free| free.local_addr()).expect("free");
    let mut command = Command::new(program().await);
    command.args(["-H", "127.0.0.1", "-p", &free.port().to_string()]).kill_on_drop(true);
    let mut child =
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("moto");
    for _ in 0..1200 {
        if TcpStream::connect(free).await.is_ok() {
            return (child, free);
        }
        let ended = child.try_wait().expect("our child");
        assert_eq!(ended, None, "moto ended before it listened");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("moto does not listen after two minutes");
}

/// A question, and what is said to it, in words.
type Said = (String, String);

/// What moto says otherwise, and why it is not to be followed: the question, its answer, AWS's by its documentation, the reason.
const DIFFERENCES: [(&str, &str, &str, &str); 6] = [
    (
        "a new change",
        "INSYNC",
        "PENDING",
        "moto has no propagation; AWS answers PENDING until its servers have the change (API reference, ChangeInfo)",
    ),
    (
        "an unknown change",
        "known",
        "NoSuchChange",
        "moto has one constant change id and knows every other one as well",
    ),
    (
        "api.bank.example. A alias",
        "weight 0 ttl Some(0)",
        "weight 0 ttl None",
        "moto gives an alias a TTL of 0; AWS gives it none (API reference, ResourceRecordSet)",
    ),
    (
        "to delete what is not there",
        "InvalidInput",
        "InvalidChangeBatch",
        "moto has its own code for a deletion of nothing (API reference, ChangeResourceRecordSets, errors)",
    ),
    (
        "to delete with another weight",
        "taken",
        "InvalidChangeBatch",
        "moto deletes by the set identifier alone; AWS wants every value to be the same (API reference, Change)",
    ),
    (
        "a target that was just registered",
        "healthy",
        "unused",
        "moto checks no target; AWS does not use one whose group no listener forwards to (user guide, target health)",
    ),
];

async fn of_records(config: &SdkConfig, zone: &str) -> Vec<Said> {
    let names = aws_sdk_route53::Client::new(config);
    let mut said = Vec::new();
    let mut say = |what: &str, answer: String| said.push((what.to_owned(), answer));
    let list = async || {
        let listed =
            names.list_resource_record_sets().hosted_zone_id(zone).start_record_name(NAME).send().await;
        let sets = listed.expect("listed").resource_record_sets.into_iter();
        sets.filter(|set| set.name().starts_with(NAME)).collect::<Vec<ResourceRecordSet>>()
    };
    let changes = vec![
        (ChangeAction::Upsert, weighted("source", 3, "127.0.0.2")),
        (ChangeAction::Upsert, alias("target", 0, "Z35SXDOTRQ7X7K", "dualstack.alb.example")),
        (ChangeAction::Create, simple(RrType::Txt, 30, "\"heritage=slipway,uid=1\" \"replaced=A\"")),
    ];
    let made = change(&names, zone, changes).await.expect("changed");
    let info = made.change_info().expect("shown");
    say("a new change", info.status().as_str().to_owned());
    say("its id", format!("begins with /change/: {}", info.id().starts_with("/change/")));
    let unknown = names.get_change().id("C0NONE").send().await;
    let unknown = unknown.err().and_then(|error| error.code().map(str::to_owned));
    say("an unknown change", unknown.unwrap_or_else(|| "known".to_owned()));
    for set in list().await {
        let (name, kind) = (set.name(), set.r#type());
        if let Some(target) = set.alias_target() {
            let weight = set.weight().expect("weighted");
            say(&format!("{name} {kind} alias"), format!("weight {weight} ttl {:?}", set.ttl()));
            let leads = (target.hosted_zone_id(), target.dns_name().trim_end_matches('.'));
            say("where it leads", format!("{leads:?} {}", target.evaluate_target_health()));
            continue;
        }
        let values: Vec<&str> = set.resource_records().iter().map(ResourceRecord::value).collect();
        let of = (set.set_identifier(), set.weight(), set.ttl(), set.health_check_id());
        say(&format!("{name} {kind}"), format!("{of:?} {values:?}"));
    }

    // A batch happens as a whole or not at all.
    let before = list().await.len();
    let mut beside = weighted("third", 1, "127.0.0.4");
    let mut nothing = simple(RrType::A, 30, "127.0.0.5");
    "nobody.bank.example".clone_into(&mut nothing.name);
    let batch = vec![(ChangeAction::Create, beside.clone()), (ChangeAction::Delete, nothing)];
    let refused = loop {
        // The zone may still be at work on the change before.
        match change(&names, zone, batch.clone()).await {
            Err(error) if error.is_prior_request_not_complete() => {}
            other => break other.expect_err("refused"),
        }
    };
    say("to delete what is not there", refused.code().unwrap_or_default().to_owned());
    say("what such a batch does", format!("{} records more", list().await.len() - before));
    change(&names, zone, vec![(ChangeAction::Create, beside.clone())]).await.expect("made");
    let mut wrong = beside.clone();
    wrong.weight = Some(2);
    let deleted = loop {
        match change(&names, zone, vec![(ChangeAction::Delete, wrong.clone())]).await {
            Err(error) if error.is_prior_request_not_complete() => {}
            other => break other.err().and_then(|error| error.code().map(str::to_owned)),
        }
    };
    say("to delete with another weight", deleted.unwrap_or_else(|| "taken".to_owned()));
    // Whatever became of it, it is there, and goes with its own values.
    beside.set_identifier = Some("fourth".to_owned());
    for action in [ChangeAction::Create, ChangeAction::Delete] {
        while change(&names, zone, vec![(action.clone(), beside.clone())]).await.is_err() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    let left = list().await.iter().any(|set| set.set_identifier() == Some("fourth"));
    say("to delete with the same values", format!("left: {left}"));

    let shown = names.get_hosted_zone().id(zone).send().await.expect("there").hosted_zone.expect("shown");
    let private = shown.config().map(HostedZoneConfig::private_zone);
    say("the zone", format!("{} private: {private:?}", shown.name()));
    let absent = names.get_hosted_zone().id("Z0NONE").send().await.expect_err("absent").into_service_error();
    say("no zone", absent.code().unwrap_or_default().to_owned());
    let absent = change(&names, "Z0NONE", vec![(ChangeAction::Create, beside)]).await.expect_err("absent");
    say("a change of no zone", absent.code().unwrap_or_default().to_owned());
    said
}

async fn of_health_checks(config: &SdkConfig) -> Vec<Said> {
    let names = aws_sdk_route53::Client::new(config);
    let wish = HealthCheckConfig::builder().r#type(HealthCheckType::Http).ip_address("192.0.2.1").port(80);
    let wish =
        wish.resource_path("/healthz").request_interval(30).failure_threshold(3).build().expect("whole");
    let made = names.create_health_check().caller_reference("once").health_check_config(wish).send().await;
    let made = made.expect("made").health_check.expect("shown");
    let seen = names.get_health_check().health_check_id(made.id()).send().await.expect("there");
    let config = seen.health_check().and_then(|check| check.health_check_config()).cloned().expect("shown");
    let shown = (config.r#type(), config.port(), config.resource_path(), config.failure_threshold());
    let mut said = vec![("a health check".to_owned(), format!("{shown:?}"))];
    let status = names.get_health_check_status().health_check_id(made.id()).send().await.expect("known");
    let observed = &status.health_check_observations()[0];
    let word = observed.status_report().and_then(|report| report.status()).unwrap_or_default();
    said.push(("its status".to_owned(), word.split([':', ' ']).next().unwrap_or_default().to_owned()));
    names.delete_health_check().health_check_id(made.id()).send().await.expect("deleted");
    let gone = names.get_health_check().health_check_id(made.id()).send().await.expect_err("gone");
    said.push(("a deleted one".to_owned(), gone.code().unwrap_or_default().to_owned()));
    said
}

async fn of_balancing(config: &SdkConfig, group: &str) -> Vec<Said> {
    let balancers = aws_sdk_elasticloadbalancingv2::Client::new(config);
    let mut said = Vec::new();
    let mut say = |what: &str, answer: Option<&str>| {
        said.push((what.to_owned(), answer.unwrap_or_default().to_owned()));
    };
    let health = balancers.describe_target_health().target_group_arn(group).send().await.expect("described");
    for target in health.target_health_descriptions() {
        let state = target.target_health().and_then(|health| health.state());
        say("a target that was just registered", state.map(TargetHealthStateEnum::as_str));
        let place = target.target().map(|place| format!("{:?} {:?}", place.id(), place.port()));
        say("where it is", place.as_deref());
    }
    let groups = balancers.describe_target_groups().target_group_arns(group).send().await.expect("described");
    for group in groups.target_groups() {
        let shown = (group.target_group_name(), group.load_balancer_arns(), group.target_type());
        say("its group", Some(&format!("{shown:?}")));
    }
    let absent = balancers.describe_load_balancers().names("none").send().await.expect_err("absent");
    say("no balancer", absent.code());
    let nobodys = "arn:aws:elasticloadbalancing:eu-central-1:111122223333:targetgroup/none/5a1d000000000000";
    let absent =
        balancers.describe_target_health().target_group_arn(nobodys).send().await.expect_err("absent");
    say("the health of no group", absent.code());
    let absent =
        balancers.describe_target_groups().target_group_arns(nobodys).send().await.expect_err("absent");
    say("no group", absent.code());
    said
}

async fn of_services(config: &SdkConfig) -> Vec<Said> {
    let services = aws_sdk_ecs::Client::new(config);
    let describe =
        |cluster: &str, service: &str| services.describe_services().cluster(cluster).services(service).send();
    let seen = describe("ecs-dev", "api-dev").await.expect("described");
    let service = &seen.services()[0];
    let deployments: Vec<_> =
        service.deployments().iter().map(|it| (it.status(), it.rollout_state())).collect();
    let shown = (service.service_name(), service.status(), service.desired_count(), service.running_count());
    let mut said = vec![("a service".to_owned(), format!("{shown:?} {deployments:?}"))];
    let seen = describe("ecs-dev", "none").await.expect("described");
    said.push(("no service".to_owned(), format!("{:?}", seen.failures()[0].reason())));
    let absent = describe("none", "none").await.expect_err("absent");
    said.push(("no cluster".to_owned(), absent.code().unwrap_or_default().to_owned()));
    said
}

/// All that is asked.
async fn answers(config: &SdkConfig, zone: &str, group: &str) -> Vec<Said> {
    let mut said = Box::pin(of_records(config, zone)).await;
    said.extend(Box::pin(of_health_checks(config)).await);
    said.extend(Box::pin(of_balancing(config, group)).await);
    said.extend(Box::pin(of_services(config)).await);
    said
}

/// Makes a VPC, which a target group there must have, without another client for this alone. Returns its id.
async fn vpc(moto: SocketAddr) -> String {
    let body = "Action=CreateVpc&Version=2016-11-15&CidrBlock=10.0.0.0%2F16";
    let scope = "Credential=AKIASANDBOX/20260101/eu-central-1/ec2/aws4_request";
    let request = format!(
        "POST / HTTP/1.1\r\nHost: {moto}\r\nConnection: close\r\nContent-Length: {}\r\n\
         Content-Type: application/x-www-form-urlencoded\r\n\
         Authorization: AWS4-HMAC-SHA256 {scope}, SignedHeaders=host, Signature=0\r\n\r\n{body}",
        body.len()
    );
    let mut stream = TcpStream::connect(moto).await.expect("listens");
    stream.write_all(request.as_bytes()).await.expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("answered");
    let id = answer.split_once("<vpcId>").and_then(|(_, rest)| rest.split_once("</vpcId>"));
    id.unwrap_or_else(|| panic!("{answer}")).0.to_owned()
}

/// Makes in moto what a person made in AWS. Returns the zone and the target group.
async fn furnish(config: &SdkConfig, vpc: &str) -> (String, String) {
    let names = aws_sdk_route53::Client::new(config);
    let made = names.create_hosted_zone().name("bank.example").caller_reference("once").send().await;
    let zone = made.expect("made").hosted_zone.expect("shown").id().to_owned();
    let balancers = aws_sdk_elasticloadbalancingv2::Client::new(config);
    let group = balancers.create_target_group().name("tg-dev").protocol(ProtocolEnum::Http).port(80);
    let made = group.vpc_id(vpc).target_type(TargetTypeEnum::Ip).send().await.expect("made");
    let group = made.target_groups()[0].target_group_arn().expect("shown").to_owned();
    let target = TargetDescription::builder().id("127.0.0.3").port(8080).build();
    balancers.register_targets().target_group_arn(&group).targets(target).send().await.expect("registered");
    let services = aws_sdk_ecs::Client::new(config);
    services.create_cluster().cluster_name("ecs-dev").send().await.expect("made");
    let container =
        aws_sdk_ecs::types::ContainerDefinition::builder().name("api").image("api").memory(64).build();
    let task = services.register_task_definition().family("api").container_definitions(container);
    task.send().await.expect("registered");
    let service = services.create_service().cluster("ecs-dev").service_name("api-dev").task_definition("api");
    service.desired_count(2).send().await.expect("made");
    (zone, group)
}

#[tokio::test]
#[ignore = "installs moto from PyPI: cargo test --test it moto_says -- --ignored"]
async fn moto_says_the_same_but_for_what_it_is_known_to_say_otherwise() {
    let (moto, address) = Box::pin(start()).await;
    let config = sdk_config(&format!("http://{address}"), "AKIASANDBOX").await;
    let (zone, group) = Box::pin(furnish(&config, &vpc(address).await)).await;
    let mut theirs = Box::pin(answers(&config, &zone, &group)).await;

    let bench = Bench::start().await;
    let (zone, group) = bench.server.with_world(|world, _| {
        let group = world.keep_group("tg-dev", sandbox::world::balancer::Check::default(), None);
        world.register(&group, Ipv4Addr::new(127, 0, 0, 3), 8080);
        world.keep_service("ecs-dev", "api-dev", 2, None);
        (world.keep_zone("bank.example", false), group)
    });
    let ours = Box::pin(answers(&bench.config, &zone, &group)).await;

    for (what, found, documented, why) in DIFFERENCES {
        let said = theirs.iter_mut().find(|(question, _)| question == what);
        let (_, answer) = said.unwrap_or_else(|| panic!("{what} was not asked"));
        assert_eq!(answer, found, "{what}: moto differs otherwise than is listed ({why})");
        documented.clone_into(answer);
    }
    assert_eq!(ours, theirs);
    assert!(ours.len() > 20, "{ours:#?}");
    drop(moto);
}
