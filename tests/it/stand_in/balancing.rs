//! Elastic Load Balancing and ECS: what is described of a load balancer that really forwards, and of real targets.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use aws_sdk_elasticloadbalancingv2::Client;
use aws_sdk_elasticloadbalancingv2::error::ProvideErrorMetadata;
use aws_sdk_elasticloadbalancingv2::types::{
    LoadBalancerStateEnum, TargetHealthReasonEnum, TargetHealthStateEnum,
};
use sandbox::serve::fault::Order;
use sandbox::traffic::{Forwarder, Prober};
use sandbox::world::Meddling;
use sandbox::world::balancer::Check;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use super::{Bench, eventually};

/// A load balancer of this machine, its API, and where it listens.
struct Front {
    bench: Bench,
    client: Client,
    arn: String,
    group: String,
    port: u16,
    _plays: (Forwarder, Prober),
}

impl Front {
    async fn start() -> Self {
        let bench = Bench::start().await;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
        let port = listener.local_addr().expect("bound").port();
        let (arn, group) = bench.server.with_world(|world, _| {
            let (arn, group) =
                world.keep_balancer("alb-dev", "localhost", vec![Ipv4Addr::LOCALHOST], Check::default());
            world.keep_service("ecs-dev", "api-dev", 2, Some(&group));
            (arn, group)
        });
        let plays =
            (Forwarder::start(bench.server.handle(), listener, &arn), Prober::start(bench.server.handle()));
        let client = Client::new(&bench.config);
        Self { bench, client, arn, group, port, _plays: plays }
    }

    /// State and reason of each target, in order.
    async fn health(&self) -> Vec<(TargetHealthStateEnum, Option<TargetHealthReasonEnum>)> {
        let seen = self.client.describe_target_health().target_group_arn(&self.group).send().await;
        let health = |target: &aws_sdk_elasticloadbalancingv2::types::TargetHealthDescription| {
            let health = target.target_health().expect("shown");
            (health.state().cloned().expect("shown"), health.reason().cloned())
        };
        seen.expect("described").target_health_descriptions().iter().map(health).collect()
    }

    async fn becomes(&self, states: &[TargetHealthStateEnum]) {
        eventually("the targets are as expected", async || {
            self.health().await.into_iter().map(|(state, _)| state).collect::<Vec<_>>() == states
        })
        .await;
    }

    /// Status and body of one request through the load balancer.
    async fn get(&self, path: &str) -> (u16, String) {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).await.expect("listens");
        let request = format!("GET {path} HTTP/1.1\r\nHost: api.bank.example\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("answered");
        let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
        (status, answer.split_once("\r\n\r\n").expect("a body").1.to_owned())
    }
}

/// A fleet's server: answers its name, the status that it is told to, and what the balancer said of the client.
struct Target {
    port: u16,
    status: Arc<AtomicU16>,
    task: JoinHandle<()>,
}

impl Target {
    async fn start(name: &'static str) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
        let port = listener.local_addr().expect("bound").port();
        let status = Arc::new(AtomicU16::new(200));
        let told = Arc::clone(&status);
        let answer = move |headers: axum::http::HeaderMap| {
            let status = axum::http::StatusCode::from_u16(told.load(Ordering::Relaxed)).expect("a status");
            let header = |name: &str| {
                headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or("-").to_owned()
            };
            let body = format!("{name} {} {}", header("host"), header("x-forwarded-for"));
            async move { (status, body) }
        };
        let router = axum::Router::new().fallback(answer);
        let task = tokio::spawn(async move { axum::serve(listener, router).await.expect("served") });
        Self { port, status, task }
    }

    fn says(&self, status: u16) {
        self.status.store(status, Ordering::Relaxed);
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[tokio::test]
async fn targets_are_probed_and_requests_go_to_the_healthy_ones() {
    use TargetHealthStateEnum::{Healthy, Unhealthy};
    let front = Front::start().await;
    assert!(front.health().await.is_empty());
    assert_eq!(front.get("/").await.0, 503, "no target");
    let (one, two) = (Target::start("one").await, Target::start("two").await);
    for target in [&one, &two] {
        front.bench.server.with_world(|world, _| world.run_task("api-dev", Ipv4Addr::LOCALHOST, target.port));
    }
    front.becomes(&[Healthy, Healthy]).await;
    let mut seen = Vec::new();
    for _ in 0..4 {
        seen.push(front.get("/accounts?x=1").await);
    }
    seen.sort();
    let said = |name: &str| (200, format!("{name} api.bank.example 127.0.0.1"));
    assert_eq!(seen, [said("one"), said("one"), said("two"), said("two")]);

    two.says(500);
    front.becomes(&[Healthy, Unhealthy]).await;
    let health = front.health().await;
    assert_eq!(health[1].1, Some(TargetHealthReasonEnum::ResponseCodeMismatch));
    for _ in 0..4 {
        assert_eq!(front.get("/").await, said("one"));
    }
    drop(one);
    front.becomes(&[Unhealthy, Unhealthy]).await;
    assert_eq!(front.health().await[0].1, Some(TargetHealthReasonEnum::FailedHealthChecks));
    // As AWS does: when all are unhealthy, all are tried.
    let mut statuses = [front.get("/").await.0, front.get("/").await.0];
    statuses.sort_unstable();
    assert_eq!(statuses, [500, 502]);
    front
        .bench
        .server
        .order(Order::World(Meddling::Switch { name: "sick-groups-get-nothing".into(), on: true }))
        .expect("ordered");
    assert_eq!(front.get("/").await.0, 503);
    two.says(200);
    front.becomes(&[Unhealthy, Healthy]).await;

    front.bench.server.with_world(|world, _| world.end_task("api-dev", Ipv4Addr::LOCALHOST, two.port));
    assert_eq!(front.health().await[1].0, TargetHealthStateEnum::Draining);
    front.becomes(&[Unhealthy]).await;
}

#[tokio::test]
async fn what_is_served_can_be_read_from_cloudwatch() {
    use aws_sdk_cloudwatch::primitives::DateTime;
    use aws_sdk_cloudwatch::types::{Dimension, Metric, MetricDataQuery, MetricStat};
    let front = Front::start().await;
    let target = Target::start("one").await;
    front.bench.server.with_world(|world, _| world.run_task("api-dev", Ipv4Addr::LOCALHOST, target.port));
    front.becomes(&[TargetHealthStateEnum::Healthy]).await;
    target.says(500);
    assert_eq!(front.get("/").await.0, 500);
    target.says(200);
    for _ in 0..9 {
        assert_eq!(front.get("/").await.0, 200);
    }
    let client = aws_sdk_cloudwatch::Client::new(&front.bench.config);
    let tail = |arn: &str, word: &str| arn.split_once(word).expect("of its kind").1.to_owned();
    let dimension = |name: &str, value: String| Dimension::builder().name(name).value(value).build();
    let dimensions = [
        dimension("LoadBalancer", tail(&front.arn, ":loadbalancer/")),
        dimension("TargetGroup", format!("targetgroup/{}", tail(&front.group, ":targetgroup/"))),
    ];
    let asked = [
        ("requests", "RequestCount", "Sum"),
        ("errors", "HTTPCode_Target_5XX_Count", "Sum"),
        ("slow", "TargetResponseTime", "p99"),
        ("samples", "TargetResponseTime", "SampleCount"),
        ("hosts", "HealthyHostCount", "Maximum"),
        ("never", "HTTPCode_Target_3XX_Count", "Sum"),
    ];
    let queries: Vec<MetricDataQuery> = asked
        .iter()
        .map(|(id, name, statistic)| {
            let metric = Metric::builder()
                .namespace("AWS/ApplicationELB")
                .metric_name(*name)
                .set_dimensions(Some(dimensions.to_vec()))
                .build();
            let stat = MetricStat::builder().metric(metric).period(60).stat(*statistic).build();
            MetricDataQuery::builder().id(*id).metric_stat(stat).build()
        })
        .collect();
    let mut sums = Vec::new();
    eventually("all of it is published", async || {
        let now = jiff::Timestamp::now().as_second();
        let answer = client
            .get_metric_data()
            .set_metric_data_queries(Some(queries.clone()))
            .start_time(DateTime::from_secs(now - 600))
            .end_time(DateTime::from_secs(now + 60))
            .send()
            .await
            .expect("data");
        // The minute may have changed meanwhile.
        // The sum of nothing would be -0.
        let sum = |values: &[f64]| values.iter().fold(0.0, |sum, value| sum + value);
        sums = answer.metric_data_results().iter().map(|one| sum(one.values())).collect();
        tokio::time::sleep(Duration::from_millis(50)).await;
        sums[0] >= 10.0
    })
    .await;
    let [requests, errors, slow, samples, hosts, never] = sums[..] else { panic!("{sums:?}") };
    let counted = format!("{:?}", [requests, errors, samples, never]);
    assert_eq!(counted, "[10.0, 1.0, 10.0, 0.0]");
    assert!(slow > 0.0 && slow < 5.0, "{slow}");
    assert!(hosts >= 1.0, "{hosts}");
}

#[tokio::test]
async fn load_balancers_and_groups_are_described_and_absent_ones_refused() {
    let front = Front::start().await;
    let seen =
        front.client.describe_load_balancers().load_balancer_arns(&front.arn).send().await.expect("there");
    let balancer = &seen.load_balancers()[0];
    assert_eq!(balancer.state().and_then(|state| state.code()), Some(&LoadBalancerStateEnum::Active));
    assert_eq!(balancer.dns_name(), Some("localhost"));
    assert_eq!(balancer.canonical_hosted_zone_id(), Some("Z35SXDOTRQ7X7K"));
    let seen =
        front.client.describe_target_groups().target_group_arns(&front.group).send().await.expect("there");
    assert_eq!(seen.target_groups()[0].load_balancer_arns(), std::slice::from_ref(&front.arn));
    let seen =
        front.client.describe_target_groups().load_balancer_arn(&front.arn).send().await.expect("there");
    assert_eq!(seen.target_groups().len(), 1);

    let absent = front.client.describe_load_balancers().names("none").send().await.expect_err("absent");
    assert!(absent.into_service_error().is_load_balancer_not_found_exception());
    let absent = front.client.describe_target_groups().target_group_arns("arn:none").send().await;
    assert!(absent.expect_err("absent").into_service_error().is_target_group_not_found_exception());
    let absent = front.client.describe_target_health().target_group_arn("arn:none").send().await;
    assert!(absent.expect_err("absent").into_service_error().is_target_group_not_found_exception());
    let target = aws_sdk_elasticloadbalancingv2::types::TargetDescription::builder().id("127.0.0.9").build();
    let absent =
        front.client.describe_target_health().target_group_arn(&front.group).targets(target).send().await;
    assert!(absent.expect_err("absent").into_service_error().is_invalid_target_exception());
    let unknown = front.client.describe_rules().send().await.expect_err("not modelled").into_service_error();
    assert_eq!(unknown.code(), Some("UnknownOperationException"));
}

#[tokio::test]
async fn a_service_is_stable_when_its_tasks_are_healthy() {
    let front = Front::start().await;
    let client = aws_sdk_ecs::Client::new(&front.bench.config);
    let describe = async || {
        let seen =
            client.describe_services().cluster("ecs-dev").services("api-dev").services("none").send().await;
        seen.expect("described")
    };
    let seen = describe().await;
    assert_eq!(seen.failures()[0].reason(), Some("MISSING"));
    let service = &seen.services()[0];
    assert_eq!((service.desired_count(), service.running_count(), service.pending_count()), (2, 0, 2));
    let rollout = |service: &aws_sdk_ecs::types::Service| {
        service.deployments()[0].rollout_state().map(|state| state.as_str().to_owned())
    };
    assert_eq!(rollout(service).as_deref(), Some("IN_PROGRESS"));
    assert_eq!(service.load_balancers()[0].target_group_arn(), Some(front.group.as_str()));

    let targets = [Target::start("one").await, Target::start("two").await];
    for target in &targets {
        front.bench.server.with_world(|world, _| world.run_task("api-dev", Ipv4Addr::LOCALHOST, target.port));
    }
    eventually("it is stable", async || {
        let seen = describe().await;
        let service = &seen.services()[0];
        service.running_count() == 2 && rollout(service).as_deref() == Some("COMPLETED")
    })
    .await;
    let rolling = Meddling::Service { name: "api-dev".into(), desired: Some(3), rolling: Some(true) };
    front.bench.server.order(Order::World(rolling)).expect("ordered");
    let seen = describe().await;
    let service = &seen.services()[0];
    let statuses: Vec<_> = service.deployments().iter().filter_map(|it| it.status()).collect();
    assert_eq!(statuses, ["PRIMARY", "ACTIVE"]);
    assert_eq!((service.desired_count(), service.pending_count()), (3, 1));

    let absent = client.describe_services().cluster("none").services("api-dev").send().await;
    assert!(absent.expect_err("absent").into_service_error().is_cluster_not_found_exception());
    let none = client.describe_services().cluster("ecs-dev").set_services(Some(Vec::new())).send().await;
    assert!(none.expect_err("no names").into_service_error().is_invalid_parameter_exception());
}
