//! What the migration uses, and the account's roles in all the ways in which they can stand.

use slipway_infra::pulumi::{Registration, Value};

use crate::components::{has, text};
use crate::mock::{Mock, Record, build, build_with, config};

#[test]
fn the_replication_instance_is_private_and_restarts_at_nobodys_wish() {
    let record = build(&[]);
    has(
        record.named("replication-instance-dev"),
        &[
            ("publiclyAccessible", Value::Bool(false)),
            ("autoMinorVersionUpgrade", Value::Bool(false)),
            ("multiAz", Value::Bool(false)),
            ("replicationInstanceClass", text("dms.t3.medium")),
            ("vpcSecurityGroupIds", Value::List(vec![text("id<security-group-replication-dev>")])),
        ],
    );
    let subnets: Vec<Value> =
        ["a", "b", "c"].map(|it| text(&format!("id<subnet-private-{it}-dev>"))).to_vec();
    has(record.named("dms-subnet-group-dev"), &[("subnetIds", Value::List(subnets))]);
    has(
        build(&[("profile", "production")]).named("replication-instance-dev"),
        &[("multiAz", Value::Bool(true)), ("allocatedStorage", Value::Number(200.0))],
    );
}

#[test]
fn dms_reads_secrets_of_this_environment_as_the_regions_own_service() {
    let record = build(&[]);
    let Value::Text(trust) = &record.named("role-dms-secrets-dev").inputs["assumeRolePolicy"] else {
        panic!()
    };
    assert!(trust.contains(r#""Service":"dms.us-east-1.amazonaws.com""#), "{trust}");
    let Value::Text(policy) = &record.named("role-policy-dms-secrets-dev").inputs["policy"] else { panic!() };
    let policy: serde_json::Value = serde_json::from_str(policy).unwrap();
    assert_eq!(
        policy["Statement"][0]["Resource"],
        "arn:aws:secretsmanager:us-east-1:111122223333:secret:secret-dms-*-dev-??????"
    );
    assert_eq!(policy["Statement"][1]["Resource"], "arn<kms-key-secrets-dev>");
}

const SERVERS: [(&str, &str); 1] = [("serverMigration", "true")];

fn with_roles(roles: Vec<(&'static str, &'static str)>, changes: &[(&str, &str)]) -> Record {
    let (record, end) = build_with(Mock { roles, ..Mock::default() }, &config(changes));
    assert_eq!(end, Ok(()));
    record
}

fn shared(record: &Record) -> Vec<&Registration> {
    record.resources().filter(|it| it.name.starts_with("account-role-")).collect()
}

/// The account's roles are in the way of two environments: whoever comes first makes them, and nobody deletes them.
#[test]
fn roles_of_the_account_are_made_once_and_never_deleted() {
    let first = with_roles(Vec::new(), &[]);
    assert_eq!(shared(&first).len(), 2);
    for it in first.resources().filter(|it| it.rules.retain_on_delete) {
        assert_eq!(it.rules.import_id, "");
    }
    has(first.named("account-role-dms-vpc-dev"), &[("name", text("dms-vpc-role")), ("path", text("/"))]);
    has(
        first.named("role-policy-attachment-dms-vpc-dev"),
        &[("policyArn", text("arn:aws:iam::aws:policy/service-role/AmazonDMSVPCManagementRole"))],
    );

    // Another environment finds them, and leaves them alone: it has no such resource, so it can't delete one either.
    let made = vec![("dms-vpc-role", "dev"), ("dms-cloudwatch-logs-role", "dev")];
    let second = with_roles(made.clone(), &[("environmentSuffix", "two")]);
    assert_eq!(shared(&second).len(), 0);
    assert!(second.resources().all(|it| !it.rules.retain_on_delete));
    assert_eq!(second.of_kind("aws:dms/replicationInstance:ReplicationInstance").len(), 1);

    // The first one's next run registers what it registered, so nothing changes; if it was destroyed in between, they are
    // taken up by their names.
    let again = with_roles(made, &[]);
    assert_eq!(shared(&again).len(), 2);
    for (before, now) in shared(&first).into_iter().zip(shared(&again)) {
        assert_eq!(text(&now.rules.import_id), now.inputs["name"]);
        assert_eq!(before.inputs, now.inputs);
    }

    // Made by hand, with no tag of ours; one of two.
    let by_hand = with_roles(vec![("dms-vpc-role", "")], &[]);
    let names: Vec<&str> = shared(&by_hand).into_iter().map(|it| it.name.as_str()).collect();
    assert_eq!(names, ["account-role-dms-logs-dev"]);
}

#[test]
fn servers_get_a_staging_subnet_and_one_for_tests_that_reaches_nothing() {
    assert!(
        build(&[]).registrations.iter().all(|it| !it.name.contains("staging") && !it.name.contains("mgn"))
    );
    let record = with_roles(Vec::new(), &SERVERS);
    assert_eq!(shared(&record).len(), 2 + 6 + 1);
    let profiles = record.of_kind("aws:iam/instanceProfile:InstanceProfile");
    assert_eq!(profiles.len(), 4, "one for each role that servers take on");
    for it in profiles {
        assert_eq!(it.inputs["name"], it.inputs["role"], "{}", it.name);
    }
    has(
        record.named("route-table-association-test-dev"),
        &[("routeTableId", text("id<route-table-test-dev>")), ("subnetId", text("id<subnet-test-dev>"))],
    );
    for kind in ["aws:ec2/route:Route", "aws:ec2/vpnGatewayRoutePropagation:VpnGatewayRoutePropagation"] {
        for it in record.of_kind(kind) {
            assert_ne!(it.inputs["routeTableId"], text("id<route-table-test-dev>"), "{}", it.name);
        }
    }
    let root = crate::mock::urn("pulumi:pulumi:Stack", "slipway-dev");
    let Value::Text(told) = &record.outputs[&root]["mgnReplicationTemplate"] else { panic!() };
    let told: serde_json::Value = serde_json::from_str(told).unwrap();
    assert_eq!(told["stagingAreaSubnetId"], "id<subnet-staging-dev>");
    assert_eq!(told["replicationServersSecurityGroupsIDs"][0], "id<security-group-staging-dev>");
    assert_eq!((&told["createPublicIP"], &told["dataPlaneRouting"]), (&false.into(), &"PRIVATE_IP".into()));
}

#[test]
fn mgns_linked_role_is_taken_up_by_its_arn() {
    let record = with_roles(vec![("AWSServiceRoleForApplicationMigrationService", "dev")], &SERVERS);
    let linked = record.named("account-role-mgn-linked-dev");
    assert_eq!(
        linked.rules.import_id,
        "arn:aws:iam::111122223333:role/AWSServiceRoleForApplicationMigrationService"
    );
    assert!(linked.rules.retain_on_delete);
}
