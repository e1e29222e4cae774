//! The application, the load balancer before it, and the zones.

use slipway_infra::pulumi::Value;

use crate::components::{has, text};
use crate::mock::build;

fn json(value: &Value) -> serde_json::Value {
    let Value::Text(text) = value else { panic!("{value:?}") };
    serde_json::from_str(text).unwrap()
}

#[test]
fn the_load_balancer_speaks_tls_1_2_and_1_3_and_nothing_else() {
    let record = build(&[]);
    let listeners = record.of_kind("aws:lb/listener:Listener");
    assert_eq!(listeners.len(), 1);
    has(
        listeners[0],
        &[
            ("port", Value::Number(443.0)),
            ("protocol", text("HTTPS")),
            ("sslPolicy", text("ELBSecurityPolicy-TLS13-1-2-Res-2021-06")),
            ("certificateArn", text("arn:aws:acm:us-east-1:111122223333:certificate/0a1b2c3d")),
        ],
    );
    has(
        record.named("alb-dev"),
        &[
            ("dropInvalidHeaderFields", Value::Bool(true)),
            ("securityGroups", Value::List(vec![text("id<security-group-load-balancer-dev>")])),
        ],
    );
    let logs = format!("{:?}", record.named("alb-dev").inputs["accessLogs"]);
    assert!(
        logs.contains("bucket-access-logs-111122223333-dev") && logs.contains("\"enabled\": true"),
        "{logs}"
    );
    has(
        record.named("web-acl-association-dev"),
        &[("resourceArn", text("arn<alb-dev>")), ("webAclArn", text("arn<web-acl-dev>"))],
    );
    let rules = json(&record.named("web-acl-dev").inputs["ruleJson"]);
    let priorities: Vec<u64> =
        rules.as_array().unwrap().iter().map(|it| it["Priority"].as_u64().unwrap()).collect();
    assert_eq!(priorities, [0, 1, 2, 3, 4]);
    let set = |it: &serde_json::Value| it["Statement"]["ManagedRuleGroupStatement"]["Name"].clone();
    let sets: Vec<serde_json::Value> = rules.as_array().unwrap().iter().map(set).collect();
    assert!(sets.contains(&"AWSManagedRulesKnownBadInputsRuleSet".into()), "Log4j's among them");
    assert!(
        rules
            .as_array()
            .unwrap()
            .iter()
            .all(|it| it["OverrideAction"]["None"].is_object() || it["Action"]["Block"].is_object())
    );
}

#[test]
fn there_is_a_target_group_for_each_fleet_and_all_goes_to_the_one_in_aws() {
    let record = build(&[("onPremisesApplications", "172.20.2.5,172.20.3.0/24")]);
    let listener = record.named("listener-dev");
    let action = format!("{:?}", listener.inputs["defaultActions"]);
    assert!(action.contains(r#"{"arn": "arn<tg-ecs-dev>", "weight": 100.0}"#), "{action}");
    assert!(action.contains(r#"{"arn": "arn<tg-onprem-dev>", "weight": 0.0}"#), "{action}");
    assert_eq!(listener.rules.ignore_changes, ["defaultActions"]);
    let targets = record.of_kind("aws:lb/targetGroupAttachment:TargetGroupAttachment");
    assert_eq!(targets.len(), 1, "a network is no target");
    has(
        targets[0],
        &[
            ("targetGroupArn", text("arn<tg-onprem-dev>")),
            ("targetId", text("172.20.2.5")),
            ("availabilityZone", text("all")),
        ],
    );
}

#[test]
fn nothing_runs_before_there_is_an_image() {
    let record = build(&[("applicationTag", "-")]);
    assert!(record.of_kind("aws:ecs/service:Service").is_empty());
    assert_eq!(record.of_kind("aws:ecr/repository:Repository").len(), 1);
    assert_eq!(record.of_kind("aws:lb/loadBalancer:LoadBalancer").len(), 1);
}

#[test]
fn the_service_runs_in_private_subnets_with_its_login_from_a_secret() {
    let record = build(&[("sourceDatabaseHost", "pg01.bank.example")]);
    let service = record.named("ecs-service-dev");
    has(service, &[("launchType", text("FARGATE")), ("enableExecuteCommand", Value::Bool(false))]);
    let network = format!("{:?}", service.inputs["networkConfiguration"]);
    assert!(network.contains("subnet-private-a") && !network.contains("public-"), "{network}");
    assert!(network.contains("\"assignPublicIp\": false"), "{network}");
    has(record.named("task-definition-dev"), &[("taskRoleArn", text("arn<role-application-dev>"))]);
    let containers = json(&record.named("task-definition-dev").inputs["containerDefinitions"]);
    let container = &containers[0];
    assert_eq!(container["image"], "repositoryUrl<repository-dev>:1.4.2");
    assert_eq!(
        container["environment"][0]["value"],
        "jdbc:postgresql://pg01.bank.example:5432,address<db-instance-dev>:5432/application?targetServerType=primary&sslmode=verify-full"
    );
    assert_eq!(container["secrets"][1]["valueFrom"], "arn<secret-application-dev>:password::");
    assert_eq!(container["readonlyRootFilesystem"], true);
    // The application itself may do nothing at AWS.
    assert!(record.resources().all(|it| it.inputs.get("role") != Some(&text("id<role-application-dev>"))));
    has(
        record.named("scaling-target-dev"),
        &[
            ("minCapacity", Value::Number(2.0)),
            ("maxCapacity", Value::Number(4.0)),
            ("resourceId", text("service/ecs-cluster-dev/ecs-service-dev")),
        ],
    );
    assert_eq!(service.rules.ignore_changes, ["desiredCount"]);
}

#[test]
fn zones_go_with_their_records_and_hold_none_of_ours() {
    let record = build(&[]);
    for zone in record.of_kind("aws:route53/zone:Zone") {
        has(zone, &[("forceDestroy", Value::Bool(true))]);
    }
    has(record.named("zone-public-dev"), &[("name", text("api.bank.example"))]);
    assert!(!record.named("zone-public-dev").inputs.contains_key("vpcs"));
    has(record.named("zone-private-dev"), &[("name", text("dev.slipway.internal"))]);
    assert!(format!("{:?}", record.named("zone-private-dev").inputs["vpcs"]).contains("id<vpc-dev>"));
    assert!(record.resources().all(|it| !it.kind.contains("route53/record")));
    has(
        record.named("health-check-source-203.0.113.10-dev"),
        &[("ipAddress", text("203.0.113.10")), ("fqdn", text("api.bank.example")), ("type", text("HTTPS"))],
    );
    has(record.named("health-check-target-dev"), &[("fqdn", text("dnsName<alb-dev>"))]);
    // Route 53 can't get in where only some may: a check that always fails would be worse than none.
    let some = build(&[("clientCidrs", "198.51.100.0/24")]);
    assert!(some.resources().all(|it| it.name != "health-check-target-dev"));
}
