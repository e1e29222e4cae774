//! The cluster that Slipway runs in, and what Slipway may do.

use std::collections::BTreeSet;
use std::path::Path;

use slipway_infra::control::rights::RIGHTS;
use slipway_infra::pulumi::Value;

use crate::components::{has, text};
use crate::mock::build;

#[test]
fn kubernetes_is_reached_from_within_and_from_on_premises_only() {
    let record = build(&[]);
    let cluster = record.named("eks-cluster-dev");
    let vpc = format!("{:?}", cluster.inputs["vpcConfig"]);
    assert!(
        vpc.contains("\"endpointPublicAccess\": false") && vpc.contains("\"endpointPrivateAccess\": true")
    );
    assert!(vpc.contains("security-group-control-plane") && !vpc.contains("public-a"), "{vpc}");
    let logs = format!("{:?}", cluster.inputs["enabledClusterLogTypes"]);
    for kind in ["api", "audit", "authenticator", "controllerManager", "scheduler"] {
        assert!(logs.contains(kind), "{kind}");
    }
    has(record.named("log-group-eks-dev"), &[("name", text("/aws/eks/eks-cluster-dev/cluster"))]);
}

#[test]
fn a_pod_can_not_take_its_nodes_identity() {
    let record = build(&[]);
    let template = record.named("launch-template-nodes-dev");
    let metadata = format!("{:?}", template.inputs["metadataOptions"]);
    assert!(metadata.contains("\"httpTokens\": \"required\""), "{metadata}");
    assert!(metadata.contains("\"httpPutResponseHopLimit\": 1.0"), "{metadata}");
    has(template, &[("vpcSecurityGroupIds", Value::List(vec![text("id<security-group-control-dev>")]))]);
    has(
        record.named("pod-identity-slipway-dev"),
        &[
            ("namespace", text("slipway-system")),
            ("serviceAccount", text("slipway")),
            ("roleArn", text("arn<role-slipway-dev>")),
        ],
    );
}

fn files(folder: &Path, found: &mut Vec<String>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, found);
        } else if path.extension().is_some_and(|it| it == "rs") {
            found.push(std::fs::read_to_string(path).unwrap());
        }
    }
}

/// `Operation::read("dms", "DescribeEndpoints", …)`, wherever lines are broken.
fn called() -> BTreeSet<String> {
    let mut sources = Vec::new();
    files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../src/aws"), &mut sources);
    let mut found = BTreeSet::new();
    for source in sources {
        let product = source.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
        for begin in ["Operation::read(", "Operation::change("] {
            for rest in product.split(begin).skip(1) {
                let words: Vec<&str> = rest.splitn(5, '"').collect();
                if let [_, service, _, name, _] = words.as_slice()
                    && service.bytes().all(|it| it.is_ascii_lowercase() || it.is_ascii_digit())
                    && !name.ends_with('X')
                {
                    found.insert(format!("{service}:{name}"));
                }
            }
        }
    }
    found
}

/// What IAM wants beside the operations that are called: tags that are given along, and the key of a secret.
const BESIDE: [&str; 3] = ["cloudwatch:TagResource", "kms:Decrypt", "kms:GenerateDataKey"];

/// Neither more nor less.
#[test]
fn slipway_may_do_what_its_code_does() {
    let called: BTreeSet<String> = called().into_iter().chain(BESIDE.map(str::to_owned)).collect();
    let granted: BTreeSet<String> = RIGHTS.iter().map(|it| it.0.to_owned()).collect();
    let missing: Vec<_> = called.difference(&granted).collect();
    let too_much: Vec<_> = granted.difference(&called).collect();
    assert!(missing.is_empty() && too_much.is_empty(), "missing {missing:?}, too much {too_much:?}");
    assert_eq!(RIGHTS.len(), granted.len(), "one is there twice");
}

#[test]
fn slipway_may_do_what_its_manual_says() {
    let page = include_str!("../../../docs/operating.md");
    for (action, _) in RIGHTS {
        let (service, name) = action.split_once(':').unwrap();
        let row = format!("| `{service}` | ");
        let listed = page
            .lines()
            .find_map(|line| line.strip_prefix(row.as_str()))
            .is_some_and(|row| row.trim_end_matches(" |").split(", ").any(|said| said == name));
        // Those of the key are in the words beside the table.
        assert!(listed || (service == "kms" && page.contains(name)), "{action} is not in docs/operating.md");
    }
}

#[test]
fn the_policy_grants_each_operation_once_and_no_pattern() {
    let record = build(&[]);
    let Value::Text(policy) = &record.named("role-policy-slipway-dev").inputs["policy"] else { panic!() };
    let policy: serde_json::Value = serde_json::from_str(policy).unwrap();
    let mut actions: Vec<&str> = Vec::new();
    for statement in policy["Statement"].as_array().unwrap() {
        let here: Vec<&str> =
            statement["Action"].as_array().unwrap().iter().map(|it| it.as_str().unwrap()).collect();
        assert!(!here.is_empty() && here.iter().all(|it| !it.contains('*')), "{statement}");
        if statement["Resource"] == "*" {
            let reads = ["Describe", "Get", "List"];
            assert!(
                here.iter().all(|it| reads.iter().any(|word| it.contains(&format!(":{word}")))),
                "{statement}"
            );
        }
        actions.extend(here);
    }
    assert_eq!(actions.len(), RIGHTS.len());
    assert!(policy.to_string().len() < 10_240, "a role's policies have no more room");
}
