//! The configuration: what is refused, with which words, and that nothing makes it panic.

use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::test_runner::{Config as Runs, TestRunner};
use slipway_infra::config::{Config, KEYS, Link, Nat, Profile};
use slipway_infra::names::{KINDS, LONGEST_SUFFIX, refuse_suffix};
use slipway_infra::pulumi::Setting;

use crate::mock::{Mock, build_with, config, settings};

/// The refusals as a user sees them.
fn refused(changes: &[(&str, &str)]) -> Vec<String> {
    match Config::read("slipway", &settings(changes)) {
        Ok(config) => panic!("{changes:?} was accepted: {config:?}"),
        Err(refused) => refused.iter().map(ToString::to_string).collect(),
    }
}

#[test]
fn the_defaults_are_a_good_configuration() {
    let development = config(&[]);
    assert_eq!((development.region.as_str(), development.profile), ("us-east-1", Profile::Development));
    assert!(development.database.multi_az && development.nat == Nat::Single);
    let production = config(&[("profile", "production")]);
    assert!(production.database.multi_az && production.nat == Nat::PerZone && production.interface_endpoints);
    assert!(production.log_days >= 365 && production.database.backup_days == 35);
    let own =
        config(&[("profile", "production"), ("databaseClass", "db.m7g.xlarge"), ("natGateways", "single")]);
    assert_eq!((own.database.class.as_str(), own.nat), ("db.m7g.xlarge", Nat::Single));
    // As Pulumi hands over a list that was set with --path.
    let json = config(&[("onPremisesNetworks", r#"["172.20.0.0/16","10.1.0.0/16"]"#)]);
    assert_eq!(json.on_premises.networks.len(), 2);
}

#[test]
fn a_wrong_suffix_is_refused() {
    assert_eq!(
        refused(&[("environmentSuffix", "Dev_1")]),
        [
            "slipway:environmentSuffix: \"Dev_1\" has other characters than lower-case letters, digits and hyphens (what all \
          names end with: lower-case letters, digits and single hyphens, at most 20). Set it: pulumi config set environmentSuffix dev"
        ]
    );
    assert_eq!(
        refused(&[("environmentSuffix", "-")]),
        [
            "slipway:environmentSuffix: is not set (what all names end with: lower-case letters, digits and single hyphens, at \
          most 20). Set it: pulumi config set environmentSuffix dev"
        ]
    );
    for bad in ["", "-dev", "dev-", "a--b", "dév", "a b", "a/b", "abcdefghijklmnopqrstu", "DEV"] {
        assert!(refuse_suffix(bad).is_some(), "{bad}");
    }
    for good in ["d", "7", "dev", "dev-2", "a2345678901234567890"] {
        assert_eq!(refuse_suffix(good), None, "{good}");
    }
    for kind in KINDS {
        assert!(kind.room() >= LONGEST_SUFFIX, "{} leaves {}", kind.word, kind.room());
    }
}

#[test]
fn an_overlap_of_networks_is_refused() {
    let said = refused(&[("vpcCidr", "172.20.128.0/17")]);
    assert_eq!(said.len(), 1);
    assert!(
        said[0].starts_with(
            "slipway:vpcCidr: 172.20.128.0/17 overlaps 172.20.0.0/16 of onPremisesNetworks, so that addresses there could not be \
             reached (the VPC's network"
        ),
        "{said:?}"
    );
    let said = refused(&[("onPremisesNetworks", "172.20.0.0/16,172.20.1.0/24")]);
    assert!(said[0].contains("both 172.20.0.0/16 and 172.20.1.0/24, which overlap"), "{said:?}");
}

#[test]
fn a_missing_address_on_premises_is_refused() {
    assert_eq!(
        refused(&[("onPremisesGatewayAddress", "-")]),
        [
            "slipway:onPremisesGatewayAddress: is not set (with vpn, required: the public address of the gateway on-premises). \
          Set it: pulumi config set onPremisesGatewayAddress 198.51.100.10"
        ]
    );
    let none = [("onPremisesNetworks", "-"), ("onPremisesDatabases", "-"), ("onPremisesApplications", "-")];
    let said = refused(&none);
    assert_eq!(said.len(), 3, "{said:?}");
    for (said, (key, _)) in said.iter().zip(none) {
        assert!(said.starts_with(&format!("slipway:{key}: is not set (")), "{said}");
    }
}

/// What is set, which key is named, and a part of what is said.
type Case = (&'static [(&'static str, &'static str)], &'static str, &'static str);

#[test]
fn every_wrong_value_is_refused_with_its_key() {
    let table: &[Case] = &[
        (&[("profile", "prod")], "profile", "neither development nor production"),
        (&[("region", "us-east")], "region", "no region"),
        (&[("region", "US-EAST-1")], "region", "no region"),
        (&[("region", "cn-north-1")], "region", "another partition"),
        (&[("region", "us-west-1")], "region", "two zones"),
        (&[("accountId", "1111-2222-3333")], "accountId", "12 digits"),
        (&[("vpcCidr", "10.40.0.0")], "vpcCidr", "/16 to /20"),
        (&[("vpcCidr", "10.40.0.0/24")], "vpcCidr", "/16 to /20"),
        (&[("vpcCidr", "10.40.0.0/33")], "vpcCidr", "no network"),
        (&[("vpcCidr", "10.40.1.0/16")], "vpcCidr", "whose network is 10.40.0.0/16"),
        (&[("vpcCidr", "8.8.0.0/16")], "vpcCidr", "no private network"),
        (&[("vpcCidr", "172.17.0.0/16")], "vpcCidr", "Docker"),
        (&[("vpcCidr", "fd00::/16")], "vpcCidr", "no network"),
        (&[("natGateways", "2")], "natGateways", "neither single nor perZone"),
        (&[("interfaceEndpoints", "yes")], "interfaceEndpoints", "neither true nor false"),
        (&[("clientCidrs", "anyone")], "clientCidrs", "no network"),
        (&[("clientCidrs", "")], "clientCidrs", "no network"),
        (&[("clientCidrs", "[]")], "clientCidrs", "0 entries"),
        (&[("clientCidrs", "[1]")], "clientCidrs", "no list of texts"),
        (&[("applicationPort", "0")], "applicationPort", "no number from 1 to 65535"),
        (&[("applicationPort", "65536")], "applicationPort", "no number from 1 to 65535"),
        (&[("applicationPort", "5432")], "applicationPort", "PostgreSQL's port"),
        (&[("onPremisesLink", "directConnect")], "onPremisesLink", "neither vpn nor transitGateway"),
        (&[("onPremisesGatewayAddress", "10.0.0.1")], "onPremisesGatewayAddress", "no public address"),
        (&[("onPremisesGatewayAddress", "vpn.bank.example")], "onPremisesGatewayAddress", "no IPv4 address"),
        (&[("onPremisesBgpAsn", "64512")], "onPremisesBgpAsn", "AWS's side"),
        (&[("onPremisesBgpAsn", "-1")], "onPremisesBgpAsn", "no number"),
        (
            &[("transitGatewayId", "tgw-0123456789abcdef0")],
            "transitGatewayId",
            "onPremisesLink says otherwise",
        ),
        (&[("onPremisesNetworks", "0.0.0.0/0")], "onPremisesNetworks", "too much"),
        (&[("onPremisesNetworks", "169.254.0.0/16")], "onPremisesNetworks", "nothing can be routed"),
        (&[("onPremisesDatabases", "10.9.9.9")], "onPremisesDatabases", "in none of onPremisesNetworks"),
        (
            &[("onPremisesApplications", "172.20.2.1/24")],
            "onPremisesApplications",
            "whose network is 172.20.2.0/24",
        ),
        (&[("onPremisesAdministrators", "10.9.9.0/24")], "onPremisesAdministrators", "in none of"),
        (
            &[("onPremisesPublicAddresses", "10.0.0.1")],
            "onPremisesPublicAddresses",
            "single public addresses",
        ),
        (&[("onPremisesPublicAddresses", "203.0.113.0/24")], "onPremisesPublicAddresses", "single public"),
        (&[("sourceDatabaseHost", "PG01")], "sourceDatabaseHost", "no name in lower case"),
        (&[("replicationClass", "r6i.large")], "replicationClass", "no class"),
        (&[("replicationStorageGib", "4")], "replicationStorageGib", "from 5"),
        (&[("replicationMultiAz", "no")], "replicationMultiAz", "neither true nor false"),
        (&[("serverMigration", "mgn")], "serverMigration", "neither true nor false"),
        (&[("publicDomain", "example")], "publicDomain", "no name in lower case"),
        (&[("publicDomain", "-a.example")], "publicDomain", "no name in lower case"),
        (&[("certificateArn", "arn:aws:iam::111122223333:server-certificate/a")], "certificateArn", "no ARN"),
        (
            &[("certificateArn", "arn:aws:acm:eu-west-1:111122223333:certificate/0a")],
            "certificateArn",
            "in another region",
        ),
        (&[("applicationTag", "a/b")], "applicationTag", "no image's tag"),
        (&[("applicationTasks", "0")], "applicationTasks", "from 1"),
        (&[("applicationTasks", "9")], "applicationMaxTasks", "below applicationTasks (9)"),
        (&[("healthCheckPath", "healthz")], "healthCheckPath", "no path"),
        (&[("kubernetesVersion", "latest")], "kubernetesVersion", "no version"),
        (&[("controlNodeType", "medium")], "controlNodeType", "no instance type"),
        (&[("migrationNamespace", "a.b")], "migrationNamespace", "has a dot"),
        (&[("alertEmail", "nobody")], "alertEmail", "no e-mail address"),
        (&[("databaseClass", "r7g.large")], "databaseClass", "no instance class"),
        (&[("databaseStorageGib", "10")], "databaseStorageGib", "no number from 20"),
        (&[("databaseStorageGib", "200")], "databaseMaxStorageGib", "10 % above databaseStorageGib (200)"),
        (&[("databaseMultiAz", "TRUE")], "databaseMultiAz", "neither true nor false"),
        (&[("databaseVersion", "13")], "databaseVersion", "from 14 to 18"),
        (&[("databaseVersion", "17.x")], "databaseVersion", "no number"),
        (&[("databaseName", "Payments")], "databaseName", "lower-case name"),
        (&[("databaseName", "postgres")], "databaseName", "of your own"),
        (&[("databaseBackupDays", "0")], "databaseBackupDays", "from 1 to 35"),
        (&[("databaseMonitoringSeconds", "7")], "databaseMonitoringSeconds", "none of 0, 1, 5"),
        (&[("logRetentionDays", "45")], "logRetentionDays", "none of 1, 3, 5"),
        (&[("vpcCIDR", "10.40.0.0/16")], "vpcCIDR", "Did you mean vpcCidr?"),
        (&[("databasePassword", "x")], "databasePassword", "no such key"),
        (&[("vpnPresharedKey1", "a23456789")], "vpnPresharedKey2", "the other one is"),
        (&[("vpnPresharedKey1", "short"), ("vpnPresharedKey2", "a23456789")], "vpnPresharedKey1", "8 to 64"),
        (
            &[("vpnPresharedKey1", "a23456789"), ("vpnPresharedKey2", "a23456789")],
            "vpnPresharedKey2",
            "the same",
        ),
    ];
    let mut named: Vec<&str> = Vec::new();
    for (changes, key, words) in table {
        let said = refused(changes);
        let found = said.iter().find(|it| it.starts_with(&format!("slipway:{key}: ")));
        assert!(found.is_some_and(|it| it.contains(words)), "{changes:?}: {said:#?}");
        named.push(key);
    }
    for key in KEYS {
        let elsewhere = ["environmentSuffix"];
        assert!(named.contains(&key.name) || elsewhere.contains(&key.name), "{} is never refused", key.name);
    }
}

#[test]
fn a_transit_gateway_needs_its_id_and_nothing_of_a_vpn() {
    let gateway = ("onPremisesLink", "transitGateway");
    let said = refused(&[gateway]);
    assert_eq!(said.len(), 2, "{said:?}");
    assert!(
        said[0].starts_with("slipway:onPremisesGatewayAddress: is set, but onPremisesLink says otherwise")
    );
    assert!(said[1].starts_with("slipway:transitGatewayId: is not set"));
    let id = ("transitGatewayId", "tgw-0123456789abcdef0");
    let good = config(&[gateway, id, ("onPremisesGatewayAddress", "-")]);
    assert_eq!(good.on_premises.link, Link::TransitGateway { id: id.1.to_owned() });
}

#[test]
fn all_that_is_wrong_is_said_at_once() {
    let said = refused(&[
        ("environmentSuffix", "A"),
        ("region", "x"),
        ("databaseBackupDays", "99"),
        ("nonsense", "1"),
    ]);
    assert_eq!(said.len(), 4, "{said:#?}");
}

#[test]
fn a_region_for_other_programs_must_be_the_same() {
    let mut settings = settings(&[]);
    settings.insert("aws:region".to_owned(), Setting { text: "us-east-1".to_owned(), secret: false });
    assert!(Config::read("slipway", &settings).is_ok());
    settings.insert("aws:region".to_owned(), Setting { text: "eu-west-1".to_owned(), secret: false });
    let refused = Config::read("slipway", &settings).unwrap_err();
    assert_eq!(refused.len(), 1);
    assert_eq!(refused[0].key, "aws:region");
    assert!(refused[0].message.contains("slipway:region (us-east-1)"), "{}", refused[0]);
}

#[test]
fn a_secret_is_never_shown_and_a_key_in_clear_text_refused() {
    let mut settings = settings(&[]);
    for key in KEYS {
        settings
            .insert(format!("slipway:{}", key.name), Setting { text: "canary !".to_owned(), secret: true });
    }
    let refused = Config::read("slipway", &settings).unwrap_err();
    assert!(refused.len() > 10);
    let said = refused.iter().find(|it| it.key == "slipway:databaseName").unwrap();
    assert!(said.message.starts_with("was set with --secret, but is no secret"), "{said}");
    assert!(!format!("{refused:?}").contains("canary"), "{refused:#?}");
    settings = self::settings(&[]);
    for key in ["vpnPresharedKey1", "vpnPresharedKey2"] {
        settings.insert(
            format!("slipway:{key}"),
            Setting { text: "canary_plain_text".to_owned(), secret: false },
        );
    }
    let refused = Config::read("slipway", &settings).unwrap_err();
    let said = format!("{refused:?}");
    assert!(said.contains("set it with --secret") && !said.contains("canary"), "{said}");
}

/// A value for a key: a good one, a slip, or noise.
fn value() -> impl Strategy<Value = String> {
    prop_oneof![
        3 => prop::sample::select(KEYS).prop_map(|key| key.example.to_owned()),
        2 => prop::sample::select(vec![
            "", " ", "0", "-1", "1", "20", "65535", "4294967295", "4294967296", "99999999999999999999", "true", "TRUE",
            "0.0.0.0/0", "255.255.255.255/32", "10.0.0.0/8", "10.40.0.0/16", "10.40.0.0/20", "172.20.0.0/16,172.20.0.0/16",
            "[\"10.0.0.0/8\"]", "[", "[[]]", "{}", ",", ",,", "17.", ".17", "17.17.17", "db..", "db.a.b", "tgw-", "-", "--",
            "a-b", "vpn", "transitGateway", "perZone", "production", "ä", "\u{0}", "🦀", "us-east-1", "--1", "us--1",
        ]).prop_map(str::to_owned),
        1 => "[0-9./,]{0,40}",
        1 => "[a-z0-9-]{0,70}",
        1 => ".{0,200}",
    ]
}

fn any_settings() -> impl Strategy<Value = BTreeMap<String, Setting>> {
    let key = prop_oneof![
        12 => prop::sample::select(KEYS).prop_map(|key| format!("slipway:{}", key.name)),
        1 => Just("aws:region".to_owned()),
        1 => ".{0,30}".prop_map(|it| format!("slipway:{it}")),
    ];
    let one = (key, value(), prop::bool::weighted(0.1));
    (prop::collection::vec(one, 0..12), prop::bool::ANY).prop_map(|(changes, from_good)| {
        let mut all = if from_good { settings(&[]) } else { BTreeMap::new() };
        for (key, text, secret) in changes {
            all.insert(key, Setting { text, secret });
        }
        all
    })
}

#[test]
fn twelve_thousand_configurations_make_no_panic_and_each_refusal_names_its_key() {
    let mut runner = TestRunner::new(Runs { cases: 12_000, failure_persistence: None, ..Runs::default() });
    let (good, bad) = (std::cell::Cell::new(0), std::cell::Cell::new(0));
    runner
        .run(&any_settings(), |settings| {
            match Config::read("slipway", &settings) {
                Ok(config) => {
                    good.set(good.get() + 1);
                    prop_assert_eq!(refuse_suffix(&config.suffix), None);
                }
                Err(refused) => {
                    bad.set(bad.get() + 1);
                    prop_assert!(!refused.is_empty());
                    for refusal in refused {
                        let known = KEYS.iter().any(|key| refusal.key == format!("slipway:{}", key.name));
                        let set = settings.keys().any(|key| key.starts_with(&refusal.key));
                        prop_assert!(known || set, "{}", refusal);
                        prop_assert!(refusal.message.len() < 1000, "{}", refusal);
                    }
                }
            }
            Ok(())
        })
        .unwrap();
    // Both ways were really walked.
    assert!(good.get() > 200 && bad.get() > 8_000, "{} good, {} bad", good.get(), bad.get());
}

/// What is accepted can be registered: names, schema and all that the mock checks.
#[test]
fn whatever_is_accepted_can_be_built() {
    let mut runner = TestRunner::new(Runs { cases: 1_000, failure_persistence: None, ..Runs::default() });
    let built = std::cell::Cell::new(0);
    runner
        .run(&any_settings(), |settings| {
            let Ok(config) = Config::read("slipway", &settings) else { return Ok(()) };
            let (record, end) = build_with(Mock::default(), &config);
            prop_assert_eq!(end, Ok(()));
            for it in record.resources() {
                let named = it.name.ends_with(&format!("-{}", config.suffix));
                prop_assert!(named, "{}", it.name);
            }
            built.set(built.get() + 1);
            Ok(())
        })
        .unwrap();
    assert!(built.get() > 20, "{}", built.get());
}
