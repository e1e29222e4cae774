//! The compiled program against a gRPC monitor, started as a language host starts it.

use std::collections::BTreeMap;
use std::process::{Command, Output};

use prost_types::value::Kind;
use slipway_infra::pulumi::{Registration, Setting};

use crate::engine::{Engine, Seen, Way};
use crate::mock::{CANARY, Mock, build, settings};

fn program(engine: &Engine, settings: &BTreeMap<String, Setting>, preview: bool) -> Output {
    let config: BTreeMap<&String, &String> = settings.iter().map(|(key, it)| (key, &it.text)).collect();
    let secret: Vec<&String> = settings.iter().filter(|(_, it)| it.secret).map(|(key, _)| key).collect();
    Command::new(env!("CARGO_BIN_EXE_infra"))
        .env_clear()
        .env("PULUMI_MONITOR", &engine.address)
        .env("PULUMI_ENGINE", &engine.address)
        .env("PULUMI_PROJECT", "slipway")
        .env("PULUMI_STACK", "dev")
        .env("PULUMI_ORGANIZATION", "organization")
        .env("PULUMI_DRY_RUN", preview.to_string())
        .env("PULUMI_PARALLEL", "16")
        .env("PULUMI_CONFIG", serde_json::to_string(&config).unwrap())
        .env("PULUMI_CONFIG_SECRET_KEYS", serde_json::to_string(&secret).unwrap())
        .output()
        .unwrap()
}

fn errors(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn sorted(registrations: Vec<Registration>) -> BTreeMap<(String, String), Registration> {
    registrations.into_iter().map(|it| ((it.kind.clone(), it.name.clone()), it)).collect()
}

const PRODUCTION: [(&str, &str); 3] = [
    ("profile", "production"),
    ("vpnPresharedKey1", "canaryFirst.key_1"),
    ("vpnPresharedKey2", "canarySecond.key_2"),
];

#[test]
fn over_the_wire_the_same_is_registered_as_in_process() {
    let engine = Engine::start(Seen::default());
    let output = program(&engine, &settings(&PRODUCTION), false);
    assert!(output.status.success(), "{}", errors(&output));
    assert_eq!(errors(&output), "");
    let record = engine.record();
    assert!(record.done);
    let mut in_process = sorted(build(&PRODUCTION).registrations);
    for it in in_process.values_mut() {
        it.rules.aliases.clear();
    }
    let over_the_wire = sorted(record.registrations);
    assert_eq!(over_the_wire.keys().collect::<Vec<_>>(), in_process.keys().collect::<Vec<_>>());
    for (key, it) in &in_process {
        assert_eq!(&over_the_wire[key], it, "{key:?}");
    }
    engine.stop();
}

/// On the wire a secret is an object with Pulumi's mark, and what is in clear text has no canary.
#[test]
fn secrets_are_marked_on_the_wire() {
    fn shows(value: &prost_types::Value, path: &str, secrets: &mut Vec<String>) {
        match value.kind.as_ref() {
            Some(Kind::StringValue(text)) => assert!(!text.contains("canary"), "{path} is in clear text"),
            Some(Kind::ListValue(list)) => list.values.iter().for_each(|it| shows(it, path, secrets)),
            Some(Kind::StructValue(fields)) => {
                let mark =
                    fields.fields.get("4dabf18193072939515e22adb298388d").and_then(|it| it.kind.clone());
                if mark == Some(Kind::StringValue("1b47061264138c4ac30d75fd1eb44270".to_owned())) {
                    let Some(Kind::StringValue(text)) = &fields.fields["value"].kind else {
                        panic!("{path}")
                    };
                    assert!(text.contains("canary"), "{path}");
                    secrets.push(path.to_owned());
                    return;
                }
                fields.fields.iter().for_each(|(name, it)| shows(it, &format!("{path}.{name}"), secrets));
            }
            _ => {}
        }
    }
    let engine = Engine::start(Seen::default());
    let output = program(&engine, &settings(&PRODUCTION), false);
    assert!(output.status.success(), "{}", errors(&output));
    let mut secrets = Vec::new();
    for request in engine.seen.requests.lock().unwrap().iter() {
        assert!(
            request.accept_secrets && request.supports_partial_values && request.supports_result_reporting
        );
        for (name, value) in &request.object.as_ref().unwrap().fields {
            shows(value, &format!("{}.{name}", request.name), &mut secrets);
        }
    }
    secrets.sort();
    assert_eq!(
        secrets,
        [
            "db-instance-dev.password",
            "secret-version-database-master-dev.secretString",
            "vpn-connection-dev.tunnel1PresharedKey",
            "vpn-connection-dev.tunnel2PresharedKey",
        ]
    );
    engine.stop();
}

#[test]
fn a_preview_with_everything_unknown_registers_all_of_it() {
    let engine = Engine::start(Seen { mock: Mock { preview: true, ..Mock::default() }, ..Seen::default() });
    let output = program(&engine, &settings(&PRODUCTION), true);
    assert!(output.status.success(), "{}", errors(&output));
    assert_eq!(engine.record().registrations.len(), build(&PRODUCTION).registrations.len());
    let requests = engine.seen.requests.lock().unwrap();
    let subnet = requests.iter().find(|it| it.name == "subnet-private-a-dev").unwrap();
    assert_eq!(
        subnet.object.as_ref().unwrap().fields["vpcId"].kind,
        Some(Kind::StringValue("04da6b54-80e4-46f7-96ec-b56ff0331ba9".to_owned()))
    );
    drop(requests);
    engine.stop();
}

#[test]
fn a_bad_configuration_is_refused_before_anything_is_registered() {
    for changes in [
        [("environmentSuffix", "Prod")],
        [("vpcCidr", "172.20.0.0/16")],
        [("onPremisesGatewayAddress", "-")],
        [("unknownKey", "1")],
    ] {
        let engine = Engine::start(Seen::default());
        let output = program(&engine, &settings(&changes), false);
        assert_eq!(output.status.code(), Some(1));
        let key = format!("slipway:{}: ", changes[0].0);
        assert!(errors(&output).starts_with(&key), "{}", errors(&output));
        let record = engine.record();
        assert!(record.registrations.is_empty() && record.invocations.is_empty());
        assert!(record.logs.len() == 1 && record.logs[0].starts_with(&key), "{:?}", record.logs);
        engine.stop();
    }
}

#[test]
fn every_failure_of_the_engine_is_told_and_the_program_fails() {
    for way in [Way::Usual, Way::FailsByResult] {
        let refuse = |it: &Registration| {
            ["flow-log-dev", "db-subnet-group-dev", "customer-gateway-dev"]
                .contains(&it.name.as_str())
                .then(|| "AccessDenied: not you\nwith a long story".to_owned())
        };
        let mock = Mock { refuse: Some(Box::new(refuse)), ..Mock::default() };
        let engine = Engine::start(Seen { mock, way, ..Seen::default() });
        let output = program(&engine, &settings(&[]), false);
        assert_eq!(output.status.code(), Some(1));
        let said = errors(&output);
        let why = if way == Way::FailsByResult {
            "the engine did not carry it out"
        } else {
            "Unknown: AccessDenied: not you"
        };
        let wanted = [
            "registering aws:ec2/customerGateway:CustomerGateway customer-gateway-dev: ",
            "registering aws:ec2/flowLog:FlowLog flow-log-dev: ",
            "registering aws:rds/subnetGroup:SubnetGroup db-subnet-group-dev: ",
        ];
        assert_eq!(said.lines().count(), wanted.len(), "{said}");
        for (line, wanted) in said.lines().zip(wanted) {
            assert!(line.starts_with(&format!("{wanted}{why}")), "{line}");
        }
        let record = engine.record();
        assert!(record.registrations.iter().all(|it| it.name != "db-instance-dev"));
        assert!(record.logs.len() == 3 && !record.done);
        assert!(!said.contains(CANARY));
        engine.stop();
    }
}

#[test]
fn a_function_that_the_provider_refuses_is_told() {
    let engine = Engine::start(Seen { way: Way::RefusesCalls, ..Seen::default() });
    let output = program(&engine, &settings(&[]), false);
    assert_eq!(output.status.code(), Some(1));
    let said = errors(&output);
    let wanted = [
        "calling aws:iam/getRoles:getRoles: filters: not like this",
        "calling aws:index/getAvailabilityZones:getAvailabilityZones: filters: not like this",
        "calling aws:index/getCallerIdentity:getCallerIdentity: filters: not like this",
        "calling aws:secretsmanager/getRandomPassword:getRandomPassword: filters: not like this",
    ];
    assert_eq!(said.lines().collect::<Vec<_>>(), wanted);
    engine.stop();
}

#[test]
fn an_engine_that_keeps_no_secrets_is_refused() {
    let engine = Engine::start(Seen { way: Way::NoSecrets, ..Seen::default() });
    let output = program(&engine, &settings(&[]), false);
    assert_eq!(output.status.code(), Some(1));
    assert!(errors(&output).contains("in clear text. Use a current Pulumi"), "{}", errors(&output));
    assert!(engine.record().registrations.is_empty());
    engine.stop();
}

#[test]
fn an_older_engine_that_waits_for_no_signal_will_do() {
    let engine = Engine::start(Seen { way: Way::Old, ..Seen::default() });
    let output = program(&engine, &settings(&[]), false);
    assert!(output.status.success(), "{}", errors(&output));
    engine.stop();
}

#[test]
fn without_pulumi_it_says_how_it_is_run() {
    let alone = Command::new(env!("CARGO_BIN_EXE_infra")).env_clear().output().unwrap();
    assert_eq!(alone.status.code(), Some(1));
    assert!(errors(&alone).contains("PULUMI_MONITOR is not set") && errors(&alone).contains("pulumi up"));
    let nobody = Command::new(env!("CARGO_BIN_EXE_infra"))
        .env_clear()
        .envs([("PULUMI_MONITOR", "127.0.0.1:1"), ("PULUMI_PROJECT", "slipway"), ("PULUMI_STACK", "dev")])
        .output()
        .unwrap();
    assert_eq!(nobody.status.code(), Some(1));
    assert!(errors(&nobody).contains("connecting to the engine at 127.0.0.1:1"), "{}", errors(&nobody));
}
