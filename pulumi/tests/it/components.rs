//! What each component makes, in each profile.

use slipway_infra::database::PARAMETERS;
use slipway_infra::network::ZONES;
use slipway_infra::pulumi::{Registration, Value};

use crate::mock::{Record, build};

pub fn text(it: &str) -> Value {
    Value::Text(it.to_owned())
}

#[track_caller]
pub fn has(registration: &Registration, wanted: &[(&str, Value)]) {
    for (input, value) in wanted {
        assert_eq!(registration.inputs.get(*input), Some(value), "{}.{input}", registration.name);
    }
}

fn production() -> Record {
    build(&[("profile", "production")])
}

// Network -----------------------------------------------------------------------------------------------------------------

#[test]
fn subnets_are_in_three_zones_and_do_not_overlap() {
    for cidr in ["10.40.0.0/16", "192.168.16.0/20"] {
        let record = build(&[("vpcCidr", cidr), ("onPremisesNetworks", "172.20.0.0/16")]);
        let vpc: ipnet::Ipv4Net = cidr.parse().unwrap();
        let mut networks: Vec<ipnet::Ipv4Net> = Vec::new();
        for (word, index) in
            [("public", 0), ("private", 0)].into_iter().flat_map(|(word, _)| (0..3).map(move |i| (word, i)))
        {
            let subnet = record.named(&format!("subnet-{word}-{}-dev", ZONES[index]));
            has(subnet, &[("availabilityZone", text(&format!("us-east-1{}", ZONES[index])))]);
            let Value::Text(cidr) = &subnet.inputs["cidrBlock"] else { panic!() };
            let network: ipnet::Ipv4Net = cidr.parse().unwrap();
            assert!(vpc.contains(&network));
            assert!(networks.iter().all(|it| !it.contains(&network) && !network.contains(it)));
            networks.push(network);
        }
        assert_eq!(networks.len(), 6);
    }
}

#[test]
fn each_private_subnet_goes_out_by_the_nat_gateway_of_its_zone_or_by_the_only_one() {
    for (record, gateways) in [(build(&[]), vec!["a"]), (production(), vec!["a", "b", "c"])] {
        assert_eq!(record.of_kind("aws:ec2/natGateway:NatGateway").len(), gateways.len());
        for zone in ZONES {
            let gateway = if gateways.contains(&zone) { zone } else { "a" };
            has(
                record.named(&format!("route-private-{zone}-internet-dev")),
                &[
                    ("natGatewayId", text(&format!("id<nat-gateway-{gateway}-dev>"))),
                    ("routeTableId", text(&format!("id<route-table-private-{zone}-dev>"))),
                    ("destinationCidrBlock", text("0.0.0.0/0")),
                ],
            );
            has(
                record.named(&format!("route-table-association-private-{zone}-dev")),
                &[("subnetId", text(&format!("id<subnet-private-{zone}-dev>")))],
            );
        }
        has(record.named("route-public-internet-dev"), &[("gatewayId", text("id<internet-gateway-dev>"))]);
        let internet: Vec<&Registration> = record
            .of_kind("aws:ec2/route:Route")
            .into_iter()
            .filter(|it| it.inputs.contains_key("gatewayId"))
            .collect();
        assert_eq!(internet.len(), 1, "private subnets have no way in from the internet");
    }
}

#[test]
fn flows_are_logged_by_a_role_that_can_do_nothing_else() {
    let record = build(&[]);
    has(
        record.named("flow-log-dev"),
        &[("trafficType", text("ALL")), ("logDestination", text("arn<log-group-flow-logs-dev>"))],
    );
    let Value::Text(policy) = &record.named("role-policy-flow-logs-dev").inputs["policy"] else { panic!() };
    let policy: serde_json::Value = serde_json::from_str(policy).unwrap();
    for statement in policy["Statement"].as_array().unwrap() {
        assert!(statement["Resource"].as_str().is_some_and(|it| it != "*"), "{statement}");
        assert!(!statement["Action"].to_string().contains('*'), "{statement}");
    }
    let Value::Text(trust) = &record.named("role-flow-logs-dev").inputs["assumeRolePolicy"] else { panic!() };
    assert!(trust.contains(r#""aws:SourceAccount":"111122223333""#), "{trust}");
}

#[test]
fn a_vpn_has_static_routes_or_bgp_and_strong_tunnels() {
    let record = build(&[]);
    has(
        record.named("customer-gateway-dev"),
        &[("ipAddress", text("198.51.100.10")), ("bgpAsn", text("65000"))],
    );
    let connection = record.named("vpn-connection-dev");
    has(connection, &[("staticRoutesOnly", Value::Bool(true))]);
    let routes = record.of_kind("aws:ec2/vpnConnectionRoute:VpnConnectionRoute");
    assert_eq!(routes.len(), 2);
    assert_eq!(record.of_kind("aws:ec2/vpnGatewayRoutePropagation:VpnGatewayRoutePropagation").len(), 4);
    for tunnel in ["tunnel1", "tunnel2"] {
        has(connection, &[(&format!("{tunnel}IkeVersions"), Value::List(vec![text("ikev2")]))]);
        for phase in ["Phase1", "Phase2"] {
            let input = |word: &str| format!("{:?}", connection.inputs[&format!("{tunnel}{phase}{word}")]);
            assert_eq!(input("EncryptionAlgorithms"), r#"["AES256", "AES256-GCM-16"]"#);
            assert!(!input("IntegrityAlgorithms").contains("SHA1"));
            assert_eq!(input("DhGroupNumbers"), "[14.0, 19.0, 20.0, 21.0]");
        }
        let logs = format!("{:?}", connection.inputs[&format!("{tunnel}LogOptions")]);
        assert!(logs.contains("arn<log-group-vpn-dev>"), "{logs}");
        assert!(!connection.inputs.contains_key(&format!("{tunnel}PresharedKey")), "AWS makes the keys");
    }

    let record = build(&[("onPremisesBgpAsn", "4200000001")]);
    has(record.named("vpn-connection-dev"), &[("staticRoutesOnly", Value::Bool(false))]);
    has(record.named("customer-gateway-dev"), &[("bgpAsnExtended", text("4200000001"))]);
    assert!(record.of_kind("aws:ec2/vpnConnectionRoute:VpnConnectionRoute").is_empty());
}

#[test]
fn a_transit_gateway_gets_a_route_to_each_network_from_each_table() {
    let record = build(&[
        ("onPremisesLink", "transitGateway"),
        ("transitGatewayId", "tgw-0123456789abcdef0"),
        ("onPremisesGatewayAddress", "-"),
    ]);
    for kind in ["aws:ec2/vpnConnection:VpnConnection", "aws:ec2/customerGateway:CustomerGateway"] {
        assert!(record.of_kind(kind).is_empty());
    }
    let attachment = record.named("transit-gateway-attachment-dev");
    for table in ["public", "private-a", "private-b", "private-c"] {
        for network in ["172.20.0.0-16", "192.168.7.0-24"] {
            let route = record.named(&format!("route-{table}-{network}-dev"));
            has(route, &[("transitGatewayId", text("tgw-0123456789abcdef0"))]);
            assert!(route.needs.contains(&crate::mock::urn(&attachment.kind, &attachment.name)));
        }
    }
}

#[test]
fn s3_has_an_endpoint_always_and_the_apis_where_it_is_paid_for() {
    let record = build(&[]);
    let endpoints = record.of_kind("aws:ec2/vpcEndpoint:VpcEndpoint");
    assert_eq!(endpoints.len(), 1);
    has(
        endpoints[0],
        &[("vpcEndpointType", text("Gateway")), ("serviceName", text("com.amazonaws.us-east-1.s3"))],
    );
    assert!(!record.registrations.iter().any(|it| it.name == "security-group-endpoints-dev"));

    let record = production();
    let endpoints = record.of_kind("aws:ec2/vpcEndpoint:VpcEndpoint");
    assert_eq!(endpoints.len(), 9);
    for it in endpoints.iter().filter(|it| !it.name.contains("-s3-")) {
        let group = Value::List(vec![text("id<security-group-endpoints-dev>")]);
        has(it, &[("privateDnsEnabled", Value::Bool(true)), ("securityGroupIds", group)]);
        let Value::Text(policy) = &it.inputs["policy"] else { panic!() };
        assert!(policy.contains(r#""aws:PrincipalAccount":"111122223333""#), "{policy}");
    }
}

// Keys --------------------------------------------------------------------------------------------------------------------

#[test]
fn a_key_may_be_used_by_the_one_service_that_writes_with_it_and_only_for_this_environment() {
    let record = production();
    let keys = record.of_kind("aws:kms/key:Key");
    assert_eq!(keys.len(), 5);
    for key in keys {
        let Value::Text(policy) = &key.inputs["policy"] else { panic!() };
        let policy: serde_json::Value = serde_json::from_str(policy).unwrap();
        let statements = policy["Statement"].as_array().unwrap();
        assert_eq!(statements[0]["Principal"]["AWS"], "arn:aws:iam::111122223333:root");
        let (service, only) = match key.name.as_str() {
            "kms-key-logs-dev" => ("logs.us-east-1.amazonaws.com", "log-group:log-group-*-dev"),
            "kms-key-alerts-dev" => ("cloudwatch.amazonaws.com", r#""aws:SourceAccount":"111122223333""#),
            "kms-key-trail-dev" => ("cloudtrail.amazonaws.com", ":trail/trail-dev"),
            _ => {
                assert_eq!(statements.len(), 1, "{}", key.name);
                continue;
            }
        };
        assert_eq!(statements.len(), 2, "{}", key.name);
        assert_eq!(statements[1]["Principal"]["Service"], service);
        assert!(statements[1]["Condition"].to_string().contains(only), "{}", statements[1]);
    }
    let aliases = record.of_kind("aws:kms/alias:Alias");
    assert_eq!(aliases.len(), 5);
    has(aliases[0], &[("name", text(&format!("alias/{}", aliases[0].name)))]);
}

/// Each log group of ours is one that the key's policy lets CloudWatch encrypt.
#[test]
fn the_logs_key_covers_every_log_group() {
    let suffix = "dev";
    for record in [build(&[]), production()] {
        for group in record.of_kind("aws:cloudwatch/logGroup:LogGroup") {
            let Value::Text(name) = &group.inputs["name"] else { panic!() };
            let covered = slipway_infra::names::log_groups(suffix).iter().any(|pattern| {
                pattern
                    .split_once('*')
                    .map_or(pattern == name, |(begin, end)| name.starts_with(begin) && name.ends_with(end))
            });
            assert!(covered, "{name}");
        }
    }
}

// Security ----------------------------------------------------------------------------------------------------------------

#[test]
fn a_flow_between_groups_names_groups_and_one_to_on_premises_names_addresses() {
    let record = build(&[("applicationPort", "9443")]);
    has(
        record.named("security-group-rule-application-database-in-dev"),
        &[
            ("securityGroupId", text("id<security-group-database-dev>")),
            ("referencedSecurityGroupId", text("id<security-group-application-dev>")),
            ("fromPort", Value::Number(5432.0)),
        ],
    );
    has(
        record.named("security-group-rule-application-database-out-dev"),
        &[
            ("securityGroupId", text("id<security-group-application-dev>")),
            ("referencedSecurityGroupId", text("id<security-group-database-dev>")),
        ],
    );
    for address in ["172.20.1.10", "172.20.1.11"] {
        has(
            record
                .named(&format!("security-group-rule-replication-on-premises-database-out-{address}-32-dev")),
            &[("cidrIpv4", text(&format!("{address}/32")))],
        );
    }
    has(
        record.named("security-group-rule-load-balancer-on-premises-application-out-172.20.2.0-24-dev"),
        &[("fromPort", Value::Number(9443.0)), ("cidrIpv4", text("172.20.2.0/24"))],
    );
    let own = build(&[("clientCidrs", "203.0.113.0/24,198.51.100.0/24")]);
    let from_clients: Vec<&str> = own
        .registrations
        .iter()
        .map(|it| it.name.as_str())
        .filter(|it| it.starts_with("security-group-rule-clients-"))
        .collect();
    assert_eq!(from_clients.len(), 2, "{from_clients:?}");
}

// Database ----------------------------------------------------------------------------------------------------------------

#[test]
fn the_database_is_private_encrypted_available_and_sized_by_the_configuration() {
    let yes = Value::Bool(true);
    for (record, class, storage, backups, monitoring) in
        [(build(&[]), "db.t4g.medium", 50.0, 7.0, 0.0), (production(), "db.r7g.large", 200.0, 35.0, 60.0)]
    {
        let instance = record.named("db-instance-dev");
        has(
            instance,
            &[
                ("identifier", text("db-instance-dev")),
                ("engine", text("postgres")),
                ("engineVersion", text("17")),
                ("instanceClass", text(class)),
                ("allocatedStorage", Value::Number(storage)),
                ("backupRetentionPeriod", Value::Number(backups)),
                ("monitoringInterval", Value::Number(monitoring)),
                ("multiAz", yes.clone()),
                ("storageEncrypted", yes.clone()),
                ("publiclyAccessible", Value::Bool(false)),
                ("iamDatabaseAuthenticationEnabled", yes.clone()),
                ("performanceInsightsEnabled", yes.clone()),
                ("enabledCloudwatchLogsExports", Value::List(vec![text("postgresql"), text("upgrade")])),
                ("parameterGroupName", text("db-parameter-group-17-dev")),
                ("dbSubnetGroupName", text("db-subnet-group-dev")),
                ("vpcSecurityGroupIds", Value::List(vec![text("id<security-group-database-dev>")])),
            ],
        );
        assert_eq!(instance.inputs.contains_key("monitoringRoleArn"), monitoring > 0.0);
        let subnets = ZONES.map(|zone| text(&format!("id<subnet-private-{zone}-dev>")));
        has(record.named("db-subnet-group-dev"), &[("subnetIds", Value::List(subnets.to_vec()))]);
        assert_eq!(instance.rules.timeouts.create, "90m");
    }
}

#[test]
fn replication_and_tls_are_there_from_the_first_day() {
    let record = build(&[("databaseVersion", "16.4")]);
    let group = record.named("db-parameter-group-16-dev");
    has(group, &[("family", text("postgres16"))]);
    let Value::List(parameters) = &group.inputs["parameters"] else { panic!() };
    let value = |name: &str| {
        let found = parameters.iter().find_map(|it| {
            let Value::Map(it) = it else { panic!() };
            (it["name"] == text(name)).then(|| (it["value"].clone(), it["applyMethod"].clone()))
        });
        found.unwrap_or_else(|| panic!("{name}"))
    };
    assert_eq!(value("rds.force_ssl"), (text("1"), text("immediate")));
    assert_eq!(value("rds.logical_replication"), (text("1"), text("pending-reboot")));
    assert_eq!(value("shared_preload_libraries").1, text("pending-reboot"));
    assert_eq!(parameters.len(), PARAMETERS.len());
    let instance = record.named("db-instance-dev");
    has(
        instance,
        &[("parameterGroupName", text("db-parameter-group-16-dev")), ("engineVersion", text("16.4"))],
    );
}

/// The instance's password is what is in the secret, not what this run made: a broken run can't leave two passwords.
#[test]
fn the_password_comes_from_the_secret_and_is_made_once() {
    use std::collections::BTreeMap;
    let kept = Value::Text(r#"{"username":"database_master","password":"canaryKept"}"#.to_owned()).secret();
    let answers = BTreeMap::from([(
        "aws:secretsmanager/secretVersion:SecretVersion".to_owned(),
        BTreeMap::from([("secretString".to_owned(), kept)]),
    )]);
    let config = crate::mock::config(&[]);
    let mock = crate::mock::Mock { answers, ..crate::mock::Mock::default() };
    let (record, end) = crate::mock::build_with(mock, &config);
    assert_eq!(end, Ok(()));
    let version = record.named("secret-version-database-master-dev");
    assert_eq!(version.rules.ignore_changes, ["secretString"]);
    let instance = record.named("db-instance-dev");
    assert_eq!(instance.inputs["password"], text("canaryKept").secret());
    assert!(instance.property_needs["password"].contains(&crate::mock::urn(&version.kind, &version.name)));
    let call = record.invocations.iter().find(|it| it.token.contains("getRandomPassword")).unwrap();
    assert_eq!(call.arguments["passwordLength"], Value::Number(40.0));
    assert_eq!(call.arguments["excludePunctuation"], Value::Bool(true), "RDS takes no /, @ and quotes");
}

#[test]
fn a_secret_that_somebody_spoilt_is_said_without_showing_it() {
    use std::collections::BTreeMap;
    let answers = BTreeMap::from([(
        "aws:secretsmanager/secretVersion:SecretVersion".to_owned(),
        BTreeMap::from([("secretString".to_owned(), text("canary, no JSON").secret())]),
    )]);
    let config = crate::mock::config(&[]);
    let mock = crate::mock::Mock { answers, ..crate::mock::Mock::default() };
    let (_, end) = crate::mock::build_with(mock, &config);
    assert_eq!(
        end.unwrap_err(),
        [
            "registering aws:rds/instance:Instance db-instance-dev: secret-database-master-dev holds no JSON with a password: put \
          one with username and password there"
        ]
    );
}

/// What comes later builds on these, so each is in the documentation.
#[test]
fn the_stack_has_the_outputs_that_the_documentation_promises() {
    let page = include_str!("../../../docs/infrastructure.md");
    let gateway = [
        ("onPremisesLink", "transitGateway"),
        ("transitGatewayId", "tgw-0123456789abcdef0"),
        ("onPremisesGatewayAddress", "-"),
    ];
    for record in [build(&[]), build(&gateway)] {
        let root = crate::mock::urn("pulumi:pulumi:Stack", "slipway-dev");
        let outputs = &record.outputs[&root];
        assert!(outputs.len() > 12);
        for (name, value) in outputs {
            assert!(page.contains(&format!("| `{name}` |")), "{name} is not in docs/infrastructure.md");
            assert!(
                !value.holds_secret() && !value.holds_unknown() && *value != Value::Null,
                "{name}: {value:?}"
            );
        }
    }
    let groups =
        &build(&[]).outputs[&crate::mock::urn("pulumi:pulumi:Stack", "slipway-dev")]["securityGroupIds"];
    let Value::Map(groups) = groups else { panic!("{groups:?}") };
    assert_eq!(groups["database"], text("id<security-group-database-dev>"));
}

#[test]
fn only_this_account_may_be_touched_if_it_is_said() {
    let provider = |record: &Record| record.of_kind("pulumi:providers:aws")[0].clone();
    let any = provider(&build(&[]));
    has(&any, &[("region", text("us-east-1"))]);
    assert!(!any.inputs.contains_key("allowedAccountIds"));
    let one = provider(&build(&[
        ("accountId", "111122223333"),
        ("region", "eu-central-1"),
        ("certificateArn", "arn:aws:acm:eu-central-1:111122223333:certificate/0a1b2c3d"),
    ]));
    has(&one, &[("region", text("eu-central-1")), ("allowedAccountIds", text(r#"["111122223333"]"#))]);
}
