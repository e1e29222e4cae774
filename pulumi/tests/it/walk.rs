//! A walk over everything that is registered, in every variant: names, tags, exposure, encryption, secrets, order.

use std::collections::{BTreeMap, BTreeSet};

use slipway_infra::flows::{FLOWS, Party};
use slipway_infra::names::KINDS;
use slipway_infra::pulumi::{Registration, Value};

use crate::mock::{Record, build, urn, variants};
use crate::schema;

const COMPONENTS: [&str; 9] = [
    "application",
    "control",
    "database",
    "keys",
    "migration",
    "network",
    "observability",
    "security",
    "traffic",
];

/// What every stack has, whatever its name.
fn suffix(record: &Record) -> String {
    let Value::Map(tags) = &record.of_kind("aws:ec2/vpc:Vpc")[0].inputs["tags"] else { panic!("no tags") };
    let Value::Text(suffix) = &tags["slipway.dev/environment"] else { panic!("no suffix") };
    suffix.clone()
}

fn text<'a>(registration: &'a Registration, input: &str) -> Option<&'a str> {
    if let Some(Value::Text(text)) = registration.inputs.get(input) { Some(text) } else { None }
}

/// The name in AWS: its own, or else its tag.
fn physical(registration: &Registration) -> Option<String> {
    let own = ["identifier", "name"].iter().find_map(|it| text(registration, it));
    let tag = || {
        let Value::Map(tags) = registration.inputs.get("tags")? else {
            panic!("{}: tags", registration.name)
        };
        if let Value::Text(name) = &tags["Name"] { Some(name.as_str()) } else { None }
    };
    own.or_else(tag).map(str::to_owned)
}

/// Does the name begin with a kind's word and end with the suffix, within what AWS takes?
fn well_named(name: &str, suffix: &str) -> bool {
    let Some(rest) = name.strip_suffix(suffix).and_then(|it| it.strip_suffix('-')) else { return false };
    KINDS.iter().any(|kind| {
        let part = if rest == kind.word {
            Some("")
        } else {
            rest.strip_prefix(kind.word).and_then(|it| it.strip_prefix('-'))
        };
        part.is_some_and(|part| part.len() <= kind.part && name.len() <= kind.limit)
    })
}

#[test]
fn every_name_begins_with_its_type_and_ends_with_the_suffix() {
    for (variant, record) in variants() {
        let suffix = suffix(&record);
        for registration in record.resources() {
            assert!(well_named(&registration.name, &suffix), "{variant}: {}", registration.name);
            let Some(name) = physical(registration) else { continue };
            let dictated = [
                format!("/aws/rds/instance/db-instance-{suffix}/"),
                format!("dms-tasks-replication-instance-{suffix}"),
                format!("/aws/eks/eks-cluster-{suffix}/cluster"),
                format!("/aws/ecs/containerinsights/ecs-cluster-{suffix}/performance"),
                format!("aws-waf-logs-web-acl-{suffix}"),
            ];
            if dictated.iter().any(|it| name.starts_with(it)) {
                continue; // AWS dictates the name, and the environment is in it
            }
            let zones = ["api.bank.example".to_owned(), format!("{suffix}.slipway.internal")];
            if registration.kind.ends_with(":Zone") && zones.contains(&name) {
                continue; // a name in the world, and one in the VPC
            }
            if registration.rules.retain_on_delete {
                // The account's, whatever the environment: nothing else may lack the suffix.
                assert!(registration.name.starts_with("account-"), "{variant}: {name}");
                continue;
            }
            let name = name.strip_prefix("alias/").unwrap_or(&name);
            assert_eq!(name, registration.name, "{variant}: the name in AWS is another one than Pulumi's");
        }
    }
}

#[test]
fn the_check_of_names_can_fail() {
    for bad in [
        "dev",
        "vpc",
        "vpc-dev-x",
        "vpc-a-dev",
        "dev-vpc",
        "my-vpc-dev",
        "db-instance-a-dev",
        "subnet-private-abc-dev",
    ] {
        assert!(!well_named(bad, "dev"), "{bad}");
    }
    assert!(well_named("vpc-dev", "dev") && well_named("subnet-private-a-dev", "dev"));
}

#[test]
fn two_environments_share_no_name() {
    for profile in ["development", "production"] {
        let names = |suffix: &str| -> BTreeSet<String> {
            let record = build(&[
                ("environmentSuffix", suffix),
                ("profile", profile),
                ("serverMigration", "true"),
                // Each environment is called by its own name, in the world as well.
                ("publicDomain", &format!("{suffix}.bank.example")),
            ]);
            // The account's roles are shared on purpose: migration.rs shows how.
            let own = || record.resources().filter(|it| !it.rules.retain_on_delete);
            let physical = own().filter_map(physical).collect::<Vec<_>>();
            let buckets =
                own().filter_map(|it| text(it, "bucket").filter(|it| !it.contains('<')).map(str::to_owned));
            own().map(|it| it.name.clone()).chain(physical).chain(buckets).collect()
        };
        // One suffix is the end of the other, the worst case.
        let (one, other) = (names("dev"), names("a-dev"));
        assert!(one.is_disjoint(&other), "{:?}", one.intersection(&other).collect::<Vec<_>>());
        assert_eq!(one.len(), other.len());
    }
}

#[test]
fn no_two_resources_of_a_type_share_a_name() {
    for (variant, record) in variants() {
        let mut seen = BTreeSet::new();
        for registration in &record.registrations {
            assert!(
                seen.insert((&registration.kind, &registration.name)),
                "{variant}: {}",
                registration.name
            );
        }
    }
}

/// Else a second `pulumi up` would change something.
#[test]
fn a_second_run_registers_the_same() {
    let all = |record: Record| -> BTreeMap<(String, String), Registration> {
        record.registrations.into_iter().map(|it| ((it.kind.clone(), it.name.clone()), it)).collect()
    };
    for ((variant, first), (_, second)) in variants().into_iter().zip(variants()) {
        assert_eq!(first.outputs, second.outputs, "{variant}");
        let (first, second) = (all(first), all(second));
        for (key, it) in &first {
            assert_eq!(it, &second[key], "{variant}");
        }
        assert_eq!(first.len(), second.len(), "{variant}");
    }
}

#[test]
fn everything_that_can_have_tags_has_them() {
    for (variant, record) in variants() {
        let mut tagged = 0;
        for registration in record.resources().filter(|it| schema::has_input(&it.kind, "tags")) {
            let Some(Value::Map(tags)) = registration.inputs.get("tags") else {
                panic!("{variant}: {} has no tags", registration.name)
            };
            for tag in ["Name", "slipway.dev/environment", "slipway.dev/component"] {
                let Some(Value::Text(value)) = tags.get(tag) else {
                    panic!("{variant}: {}: {tag}", registration.name)
                };
                assert!((1..=256).contains(&value.len()));
            }
            tagged += 1;
        }
        assert!(tagged > 40, "{variant}: only {tagged}");
    }
}

#[test]
fn everything_can_be_destroyed() {
    for (variant, record) in variants() {
        for it in &record.registrations {
            assert!(!it.rules.protect, "{variant}: {} is protected", it.name);
            for (input, wanted) in [
                ("deletionProtection", Value::Bool(false)),
                ("skipFinalSnapshot", Value::Bool(true)),
                ("deleteAutomatedBackups", Value::Bool(true)),
                ("recoveryWindowInDays", Value::Number(0.0)),
                ("deletionWindowInDays", Value::Number(7.0)), // KMS knows no less
                ("revokeRulesOnDelete", Value::Bool(true)),
                ("forceDetachPolicies", Value::Bool(true)),
                ("forceDestroy", Value::Bool(true)),
                ("forceDelete", Value::Bool(true)),
                ("enableDeletionProtection", Value::Bool(false)),
                ("objectLockEnabled", Value::Bool(false)),
            ] {
                // The default group is only closed; it goes with the VPC. The account's roles stay.
                let must = schema_has(it, input)
                    && !it.kind.ends_with(":DefaultSecurityGroup")
                    && !it.rules.retain_on_delete;
                if must {
                    assert_eq!(it.inputs.get(input), Some(&wanted), "{variant}: {}.{input}", it.name);
                }
            }
            assert!(it.inputs.get("skipDestroy") != Some(&Value::Bool(true)), "{variant}: {}", it.name);
            let kept = it.rules.retain_on_delete;
            let accounts = ["account-", "role-policy-attachment-dms-", "role-policy-attachment-mgn-"];
            assert_eq!(kept, accounts.iter().any(|word| it.name.starts_with(word)), "{variant}: {}", it.name);
        }
    }
}

fn schema_has(registration: &Registration, input: &str) -> bool {
    registration.kind.starts_with("aws:") && schema::has_input(&registration.kind, input)
}

#[test]
fn a_secret_is_in_no_plain_property() {
    for (variant, record) in variants() {
        let mut secrets = 0;
        for registration in &record.registrations {
            for (name, value) in &registration.inputs {
                assert!(!shows_canary(value), "{variant}: {}.{name} shows a secret", registration.name);
                secrets += usize::from(value.holds_secret());
            }
        }
        for (urn, outputs) in &record.outputs {
            assert!(!outputs.values().any(shows_canary), "{variant}: an output of {urn} shows a secret");
        }
        assert!(!record.logs.iter().any(|it| it.contains("canary")), "{variant}");
        assert!(secrets >= 2, "{variant}: the secret version and the password are secret");
    }
}

/// Is a canary outside of all secrets?
fn shows_canary(value: &Value) -> bool {
    match value {
        Value::Text(text) => text.contains("canary"),
        Value::List(items) => items.iter().any(shows_canary),
        Value::Map(fields) => fields.values().any(shows_canary),
        _ => false,
    }
}

#[test]
fn every_rule_has_a_flow_and_every_flow_its_rules() {
    let described = |c: char| c.is_ascii_alphanumeric() || " ._-:/()#,@[]+=&;{}!$*".contains(c);
    for (variant, record) in variants() {
        let mut of_flow: BTreeMap<String, usize> = BTreeMap::new();
        for rule in record
            .resources()
            .filter(|it| it.kind.contains("securityGroup") && it.kind.starts_with("aws:vpc"))
        {
            let why = text(rule, "description").unwrap_or_default();
            assert!(
                (1..=255).contains(&why.len()) && why.chars().all(described),
                "{variant}: {}: {why}",
                rule.name
            );
            let Value::Map(tags) = &rule.inputs["tags"] else { panic!() };
            let Value::Text(flow) = &tags["slipway.dev/flow"] else { panic!("{variant}: {}", rule.name) };
            let flow = FLOWS.iter().find(|it| it.name() == *flow).unwrap_or_else(|| panic!("{}", rule.name));
            assert_eq!(flow.why, why);
            assert!(flow.port.protocols().contains(&text(rule, "ipProtocol").unwrap()), "{}", rule.name);
            assert_eq!(rule.inputs["fromPort"], rule.inputs["toPort"], "{variant}: {}", rule.name);
            *of_flow.entry(flow.name()).or_default() += 1;
        }
        let servers = variant.starts_with("servers");
        let endpoints = !servers && variant != "development" && variant != "BGP and keys of our own";
        for flow in FLOWS {
            let of = |party: Party| flow.from == party || flow.to == party;
            let wanted =
                (endpoints || !of(Party::Endpoints)) && (servers || !(of(Party::Staging) || of(Party::Test)));
            assert_eq!(of_flow.contains_key(&flow.name()), wanted, "{variant}: {}", flow.name());
        }
    }
}

#[test]
fn groups_have_no_rules_but_those() {
    for (variant, record) in variants() {
        for group in record.resources().filter(|it| it.kind.ends_with("SecurityGroup")) {
            for inline in ["ingress", "egress"] {
                assert!(!group.inputs.contains_key(inline), "{variant}: {}", group.name);
            }
        }
        assert_eq!(record.of_kind("aws:ec2/defaultSecurityGroup:DefaultSecurityGroup").len(), 1);
    }
}

/// What is open to everywhere and need not be.
fn exposed(record: &Record) -> Vec<String> {
    let mut found = Vec::new();
    let everywhere = |it: &Registration| {
        text(it, "cidrIpv4").is_some_and(|it| it.ends_with("/0")) || it.inputs.contains_key("cidrIpv6")
    };
    for rule in record.of_kind("aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule") {
        let balancer = text(rule, "securityGroupId").is_some_and(|it| it.contains("load-balancer"));
        if everywhere(rule) && !(balancer && rule.inputs["fromPort"] == Value::Number(443.0)) {
            found.push(format!("{} lets everybody in", rule.name));
        }
    }
    for rule in record.of_kind("aws:vpc/securityGroupEgressRule:SecurityGroupEgressRule") {
        if everywhere(rule) && rule.inputs["fromPort"] != Value::Number(443.0) {
            found.push(format!("{} leads everywhere", rule.name));
        }
        if text(rule, "securityGroupId").is_some_and(|it| it.contains("<security-group-database-")) {
            found.push(format!("{}: the database calls nobody", rule.name));
        }
    }
    for it in record.resources() {
        for input in ["publiclyAccessible", "mapPublicIpOnLaunch", "assignIpv6AddressOnCreation"] {
            if it.inputs.get(input) == Some(&Value::Bool(true)) {
                found.push(format!("{}.{input}", it.name));
            }
        }
    }
    found
}

#[test]
fn nothing_is_open_that_need_not_be() {
    for (variant, record) in variants() {
        assert_eq!(exposed(&record), Vec::<String>::new(), "{variant}");
    }
    // The check can fail.
    let plant = |name: &str, input: &str, value: Value| {
        let mut record = build(&[]);
        let found = record.registrations.iter_mut().find(|it| it.name == name);
        found.unwrap_or_else(|| panic!("{name}")).inputs.insert(input.to_owned(), value);
        exposed(&record).len()
    };
    let everywhere = || Value::Text("0.0.0.0/0".to_owned());
    assert_eq!(plant("security-group-rule-application-database-in-dev", "cidrIpv4", everywhere()), 1);
    assert_eq!(plant("security-group-rule-application-database-out-dev", "cidrIpv4", everywhere()), 1);
    let balancer = "security-group-rule-clients-load-balancer-in-0.0.0.0-0-dev";
    assert_eq!(plant(balancer, "fromPort", Value::Number(5432.0)), 1);
    assert_eq!(plant("db-instance-dev", "publiclyAccessible", Value::Bool(true)), 1);
}

#[test]
fn everything_at_rest_is_encrypted_with_a_key_of_ours() {
    for (variant, record) in variants() {
        let key = |it: &Registration, input: &str, word: &str| {
            let key = text(it, input).unwrap_or_else(|| panic!("{variant}: {} has no {input}", it.name));
            assert!(key.contains(&format!("<kms-key-{word}-")), "{variant}: {}.{input}: {key}", it.name);
        };
        for it in record.of_kind("aws:rds/instance:Instance") {
            assert_eq!(it.inputs["storageEncrypted"], Value::Bool(true));
            key(it, "kmsKeyId", "database");
            key(it, "performanceInsightsKmsKeyId", "database");
        }
        for it in record.of_kind("aws:sns/topic:Topic") {
            key(it, "kmsMasterKeyId", "alerts");
        }
        for it in record.of_kind("aws:cloudtrail/trail:Trail") {
            key(it, "kmsKeyId", "trail");
            assert_eq!(it.inputs["enableLogFileValidation"], Value::Bool(true));
        }
        for it in record.of_kind("aws:eks/cluster:Cluster") {
            assert!(
                format!("{:?}", it.inputs["encryptionConfig"]).contains("<kms-key-secrets-"),
                "{variant}"
            );
        }
        for it in record.of_kind("aws:s3/bucket:Bucket") {
            let part = it.name.strip_prefix("bucket-").unwrap();
            for kind in ["versioning", "encryption", "public-access", "ownership", "lifecycle", "policy"] {
                let beside = record.named(&format!("bucket-{kind}-{part}"));
                assert_eq!(text(beside, "bucket"), Some(format!("id<{}>", it.name).as_str()));
            }
        }
        for it in record.of_kind("aws:dms/replicationInstance:ReplicationInstance") {
            key(it, "kmsKeyArn", "database");
        }
        for it in record.of_kind("aws:cloudwatch/logGroup:LogGroup") {
            key(it, "kmsKeyId", "logs");
            assert!(it.inputs.contains_key("retentionInDays"), "{variant}: {} is kept for ever", it.name);
        }
        for it in record.of_kind("aws:secretsmanager/secret:Secret") {
            key(it, "kmsKeyId", "secrets");
        }
        for it in record.of_kind("aws:kms/key:Key") {
            assert_eq!(it.inputs["enableKeyRotation"], Value::Bool(true), "{variant}: {}", it.name);
        }
    }
}

/// Whoever uses another's id, ARN or address needs it, and the engine was told so. Then dependents go first.
#[test]
fn every_reference_is_a_recorded_dependency() {
    for (variant, record) in variants() {
        let urns: BTreeMap<String, String> = record
            .resources()
            .map(|it| (format!("<{}>", it.name), urn(&it.kind, &it.name)))
            .filter(|(_, urn)| !urn.contains(":Alias::"))
            .collect();
        let mut references = 0;
        for it in record.resources() {
            for (input, value) in &it.inputs {
                let mut texts = Vec::new();
                collect(value, &mut texts);
                for (mark, urn) in &urns {
                    if texts.iter().any(|text| text.contains(mark)) {
                        assert!(it.needs.contains(urn), "{variant}: {}.{input} uses {mark}", it.name);
                        assert!(it.property_needs[input].contains(urn), "{variant}: {}.{input}", it.name);
                        references += 1;
                    }
                }
            }
        }
        assert!(references > 80, "{variant}: only {references}");
    }
}

fn collect(value: &Value, texts: &mut Vec<String>) {
    match value {
        Value::Text(text) => texts.push(text.clone()),
        Value::Secret(inner) => collect(inner, texts),
        Value::List(items) => items.iter().for_each(|it| collect(it, texts)),
        Value::Map(fields) => fields.values().for_each(|it| collect(it, texts)),
        _ => {}
    }
}

/// For each name all names that it needs, by however many steps. The engine deletes a resource before all of these.
fn needed(record: &Record) -> BTreeMap<String, BTreeSet<String>> {
    let names: BTreeMap<String, &Registration> =
        record.resources().map(|it| (urn(&it.kind, &it.name), it)).collect();
    let mut all: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (own, it) in &names {
        let (mut found, mut open) = (BTreeSet::new(), vec![*it]);
        while let Some(next) = open.pop() {
            for urn in next.needs.iter().filter(|urn| names.contains_key(*urn)) {
                assert_ne!(urn, own, "a circle");
                if found.insert(names[urn].name.clone()) {
                    open.push(names[urn]);
                }
            }
        }
        if !it.kind.ends_with(":Alias") {
            all.insert(it.name.clone(), found);
        }
    }
    all
}

/// What no input says and AWS insists on, too.
#[test]
fn destroyed_are_dependents_first() {
    for (variant, record) in variants() {
        let (needed, suffix) = (needed(&record), suffix(&record));
        let before = |first: &str, then: &str| {
            let [first, then] = [first, then].map(|it| format!("{it}-{suffix}"));
            if !(needed.contains_key(&first) && needed.contains_key(&then)) {
                return false;
            }
            assert!(needed[&first].contains(&then), "{variant}: {first} may be there without {then}");
            true
        };
        for (first, then) in [
            ("nat-gateway-a", "internet-gateway"),
            ("nat-gateway-a", "route-public-internet"),
            ("nat-gateway-a", "eip-nat-a"),
            ("eip-nat-a", "internet-gateway"),
            ("route-private-a-internet", "nat-gateway-a"),
            ("internet-gateway", "vpc"),
            ("subnet-private-a", "vpc"),
            ("db-instance", "db-subnet-group"),
            ("db-instance", "db-parameter-group-17"),
            ("db-instance", "security-group-database"),
            ("db-instance", "log-group-db-postgresql"),
            ("db-instance", "kms-key-database"),
            ("db-instance", "secret-version-database-master"),
            ("replication-instance", "log-group-replication"),
            ("replication-instance", "dms-subnet-group"),
            ("dms-subnet-group", "role-policy-attachment-dms-vpc"),
            ("eks-cluster", "log-group-eks"),
            ("eks-cluster", "role-policy-attachment-eks"),
            ("node-group", "addon-vpc-cni"),
            ("node-group", "role-policy-attachment-nodes-worker"),
            ("addon-coredns", "node-group"),
            ("pod-identity-slipway", "role-policy-slipway"),
            ("alb", "bucket-policy-access-logs"),
            ("listener", "tg-onprem"),
            ("trail", "bucket-policy-trail"),
            ("trail", "role-policy-trail"),
            ("ecs-cluster", "log-group-ecs-figures"),
            ("db-subnet-group", "subnet-private-a"),
            ("flow-log", "role-policy-flow-logs"),
            ("role-policy-flow-logs", "role-flow-logs"),
            ("log-group-flow-logs", "kms-key-logs"),
            ("security-group-rule-application-database-in", "security-group-application"),
            ("security-group-database", "vpc"),
        ] {
            assert!(before(first, then), "{variant}: {first} or {then} is not there");
        }
        let some = [
            before("ecs-service", "listener"),
            before("vpn-connection", "vpn-gateway"),
            before("route-propagation-public", "vpn-gateway"),
            before("transit-gateway-attachment", "subnet-private-a"),
            before("vpc-endpoint-kms", "security-group-endpoints"),
            before("db-instance", "role-policy-attachment-db-monitoring"),
        ];
        assert!(some.contains(&true), "{variant}");
    }
}

#[test]
fn components_own_what_they_make_and_end_with_outputs() {
    for (variant, record) in variants() {
        let components: Vec<&Registration> =
            record.registrations.iter().filter(|it| it.kind.starts_with("slipway:infra:")).collect();
        let words: BTreeSet<&str> = components.iter().map(|it| &it.kind["slipway:infra:".len()..]).collect();
        assert_eq!(words, BTreeSet::from(COMPONENTS), "{variant}");
        for component in components {
            let urn = urn(&component.kind, &component.name);
            assert!(
                record.outputs.get(&urn).is_some_and(|it| !it.is_empty()),
                "{variant}: {urn} has no outputs"
            );
            assert!(
                record.registrations.iter().filter(|it| it.parent == urn).count() > 3,
                "{variant}: {urn}"
            );
        }
        for it in record.resources() {
            assert!(it.parent.contains("::slipway:infra:"), "{variant}: {} is in no component", it.name);
            assert!(
                it.provider.contains("pulumi:providers:aws"),
                "{variant}: {} has the default provider",
                it.name
            );
        }
    }
}
