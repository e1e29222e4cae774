//! The states of targets, and what is published.

use std::collections::BTreeMap;

use jiff::SignedDuration;

use super::*;
use crate::world::cloudwatch::{self, GetMetricData, MetricQuery, Series, Statistic};
use crate::world::{Call as AnyCall, Config, Reply as AnyReply, Switches};

const ADDRESS: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

struct Stage {
    world: World,
    now: Timestamp,
    arn: String,
    group: String,
}

impl Stage {
    fn new(switches: Switches) -> Self {
        let now = Timestamp::from_second(1_800_000_000).expect("a time");
        let mut world = World::new(Config { switches, ..Config::default() }, now);
        let (arn, group) = world.keep_balancer("alb-dev", "alb", vec![Ipv4Addr::LOCALHOST], Check::default());
        Self { world, now, arn, group }
    }

    fn wait(&mut self, milliseconds: i64) {
        self.now += SignedDuration::from_millis(milliseconds);
        self.world.advance(self.now);
    }

    /// The state after the next probe came to this.
    fn probe(&mut self, result: Result<(), Failure>) -> Health {
        self.wait(200);
        let [probe] = <[Probe; 1]>::try_from(self.world.due_probes(self.now)).expect("one is due");
        assert!(self.world.due_probes(self.now).is_empty(), "each is handed out once");
        self.world.probed(&probe, result, self.now);
        self.world.target_groups()[0].targets[0].health
    }
}

#[test]
fn thresholds_count_in_a_row() {
    let mut stage = Stage::new(Switches::default());
    stage.world.register(&stage.group, ADDRESS, 80);
    let (sick, late) = (Failure::Status(500), Failure::Timeout);
    for (result, health) in [
        (Err(sick), Health::Initial),
        (Err(sick), Health::Unhealthy(sick)),
        (Ok(()), Health::Unhealthy(sick)),
        (Err(late), Health::Unhealthy(late)),
        (Ok(()), Health::Unhealthy(late)),
        (Ok(()), Health::Healthy),
        (Err(sick), Health::Healthy),
        (Ok(()), Health::Healthy),
        (Err(sick), Health::Healthy),
        (Err(sick), Health::Unhealthy(sick)),
    ] {
        assert_eq!(stage.probe(result), health, "{result:?}");
    }
    stage.world.register(&stage.group, ADDRESS, 81);
    assert_eq!(stage.world.due_probes(stage.now).len(), 1, "a new target is probed at once");
}

#[test]
fn a_group_without_a_load_balancer_is_unused_and_a_deregistered_target_drains() {
    let mut stage = Stage::new(Switches::default());
    let lone = stage.world.keep_group("lone", Check::default(), None);
    stage.world.register(&lone, ADDRESS, 80);
    assert!(stage.world.due_probes(stage.now).is_empty());
    assert_eq!(stage.world.target_groups()[1].targets[0].health, Health::Unused);

    stage.world.register(&stage.group, ADDRESS, 80);
    stage.world.deregister(&stage.group, ADDRESS, 80);
    assert!(matches!(stage.world.target_groups()[0].targets[0].health, Health::Draining(_)));
    assert_eq!(stage.world.next_target(&stage.arn), None);
    stage.wait(500);
    let call = Call::DescribeTargetHealth { group_arn: stage.group.clone(), targets: Vec::new() };
    let reply = stage.world.call(AnyCall::Balancer(call), stage.now);
    assert!(matches!(reply, Ok(AnyReply::Balancer(Reply::TargetHealth(targets))) if targets.is_empty()));
}

#[test]
fn requests_go_round_the_healthy_and_to_the_sick_only_when_there_are_no_others() {
    for nothing in [false, true] {
        let mut stage = Stage::new(Switches { sick_groups_get_nothing: nothing, ..Switches::default() });
        assert_eq!(stage.world.next_target(&stage.arn), None, "no target");
        let addresses = [2, 3, 4].map(|last| Ipv4Addr::new(127, 0, 0, last));
        for address in addresses {
            stage.world.register(&stage.group, address, 80);
        }
        assert_eq!(stage.world.next_target(&stage.arn), None, "none judged");
        let sick = Failure::Failed;
        for round in 0..2 {
            stage.wait(200 * (round + 1));
            for probe in stage.world.due_probes(stage.now) {
                let result = if probe.address == addresses[0] { Err(sick) } else { Ok(()) };
                stage.world.probed(&probe, result, stage.now);
            }
        }
        let mut seen = [0; 3];
        for _ in 0..10 {
            let (_, address, _) = stage.world.next_target(&stage.arn).expect("two are healthy");
            seen[usize::from(address.octets()[3] - 2)] += 1;
        }
        assert_eq!(seen, [0, 5, 5]);
        for address in &addresses[1..] {
            stage.world.deregister(&stage.group, *address, 80);
        }
        assert_eq!(stage.world.next_target(&stage.arn).is_none(), nothing, "the sick one alone is left");
    }
}

#[test]
fn what_was_served_becomes_metrics_for_the_balancer_alone_and_with_its_group() {
    let mut stage = Stage::new(Switches::default());
    let (arn, group) = (stage.arn.clone(), stage.group.clone());
    stage.wait(100);
    let mut served = |status, target: bool, milliseconds| {
        let target = target.then(|| (group.clone(), status));
        let served = Served { target, status, took: Duration::from_millis(milliseconds) };
        stage.world.served(&arn, served, stage.now);
    };
    for milliseconds in 1..=98 {
        served(200, true, milliseconds);
    }
    served(500, true, 1000);
    served(503, false, 0);
    stage.wait(5000);
    let mut value = |name: &str, with_group: bool, statistic: &str| {
        let mut dimensions =
            BTreeMap::from([("LoadBalancer".to_owned(), "app/alb-dev/5a1d000000000000".to_owned())]);
        if with_group {
            dimensions.insert("TargetGroup".to_owned(), "targetgroup/alb-dev/5a1d100000000000".to_owned());
        }
        let series = Series { namespace: "AWS/ApplicationELB".into(), name: name.into(), dimensions };
        let query = MetricQuery {
            id: "q".into(),
            label: None,
            series,
            period_seconds: 60,
            statistic: Statistic::parse(statistic).expect("known"),
            unit: None,
        };
        let (start, end) =
            (stage.now - SignedDuration::from_mins(5), stage.now + SignedDuration::from_mins(1));
        let call = GetMetricData { queries: vec![query], start, end, ascending: true };
        let call = AnyCall::CloudWatch(cloudwatch::Call::GetMetricData(call));
        match stage.world.call(call, stage.now) {
            Ok(AnyReply::CloudWatch(cloudwatch::Reply::MetricData(results))) => {
                results[0].points.last().map(|point| point.value)
            }
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(value("RequestCount", false, "Sum"), Some(100.0));
    assert_eq!(value("RequestCount", true, "Sum"), Some(99.0));
    for with_group in [false, true] {
        assert_eq!(value("HTTPCode_Target_5XX_Count", with_group, "Sum"), Some(1.0));
        assert_eq!(value("HTTPCode_Target_2XX_Count", with_group, "Sum"), Some(98.0));
        assert_eq!(value("TargetResponseTime", with_group, "p50"), Some(0.05));
        assert_eq!(value("TargetResponseTime", with_group, "Maximum"), Some(1.0));
        assert_eq!(value("TargetResponseTime", with_group, "SampleCount"), Some(99.0));
    }
    assert_eq!(value("HTTPCode_ELB_5XX_Count", false, "Sum"), Some(1.0));
    assert_eq!(value("UnHealthyHostCount", true, "Maximum"), Some(0.0));
    assert_eq!(value("HTTPCode_Target_4XX_Count", true, "Sum"), None, "what did not happen is not published");
}
