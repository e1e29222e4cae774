//! What carries the data: DMS's subnet group and replication instance, the role by which it reads secrets, and, if servers are
//! to be carried too, what MGN wants.
//!
//! Endpoints and tasks belong to the operator, which is given the instance by its ARN and never changes it.

use serde_json::json;

use crate::account_roles::{self, AccountRoles};
use crate::aws::{dms, ec2, iam};
use crate::flows::Party;
use crate::keys::Keys;
use crate::names::{self, DMS_SUBNET_GROUP, REPLICATION_INSTANCE, SECRET};
use crate::network::{Network, ids};
use crate::pulumi::{Fields, Node, Output, Resource, Timeouts};
use crate::scope::{Ground, Scope};
use crate::security::Security;

mod servers;

/// What the migration uses.
pub struct Migration {
    /// The replication instance.
    pub instance: dms::ReplicationInstance,
    /// By which DMS may read secrets of this environment.
    pub secrets_role: iam::Role,
    /// What MGN is told, if it is.
    pub servers: Option<Output<String>>,
}

impl Migration {
    /// Makes it.
    pub fn new(
        ground: &Ground,
        network: &Network,
        security: &Security,
        keys: &Keys,
        roles: &AccountRoles,
    ) -> Self {
        let scope = ground.component("migration");
        let mut first: Vec<Resource> =
            account_roles::DMS.iter().flat_map(|role| roles.make(&scope, role)).collect();
        let subnets = subnet_group(&scope, network, &first);
        let logs = scope.log_group_as("replication", &names::replication_logs(&scope.config().suffix), keys);
        first.push(logs.resource().clone());
        let instance = instance(&scope, &subnets, security, keys, &first);
        let secrets_role = secrets_role(&scope, keys);
        let servers =
            scope.config().migration.servers.then(|| servers::new(&scope, network, security, roles));
        scope.end(Fields::from([
            ("replicationInstanceArn".to_owned(), Node::from(instance.replication_instance_arn())),
            ("secretsRoleArn".to_owned(), secrets_role.arn().into()),
        ]));
        Self { instance, secrets_role, servers }
    }
}

/// DMS looks at the VPC by `dms-vpc-role` while it makes this.
fn subnet_group(scope: &Scope, network: &Network, first: &[Resource]) -> dms::ReplicationSubnetGroup {
    let name = scope.name(&DMS_SUBNET_GROUP);
    let required = dms::ReplicationSubnetGroupRequired {
        replication_subnet_group_description: "The private subnets".into(),
        replication_subnet_group_id: name.as_str().into(),
        subnet_ids: ids(&network.private).into(),
    };
    let args = dms::ReplicationSubnetGroupArgs::new(required).tags(scope.tags(&name));
    dms::ReplicationSubnetGroup::new(scope.context(), &name, args, scope.named().after(first))
}

/// Private, whatever AWS's default: that is public, and can't be changed afterwards.
fn instance(
    scope: &Scope,
    subnets: &dms::ReplicationSubnetGroup,
    security: &Security,
    keys: &Keys,
    first: &[Resource],
) -> dms::ReplicationInstance {
    let config = &scope.config().migration;
    let name = scope.name(&REPLICATION_INSTANCE);
    let groups: Vec<Output<String>> =
        security.group(Party::Replication).map(ec2::SecurityGroup::id).into_iter().collect();
    let args = dms::ReplicationInstanceArgs::new(dms::ReplicationInstanceRequired {
        replication_instance_class: config.class.as_str().into(),
        replication_instance_id: name.as_str().into(),
    })
    .allocated_storage(i64::from(config.storage_gib))
    .multi_az(config.multi_az)
    .publicly_accessible(false)
    .kms_key_arn(keys.database.arn())
    .replication_subnet_group_id(subnets.id())
    .vpc_security_group_ids(groups)
    // No upgrade of AWS's choice restarts a task, least of all in a cutover.
    .auto_minor_version_upgrade(false)
    .preferred_maintenance_window("sun:04:30-sun:05:30")
    .tags(scope.tags(&name));
    let slow = || "60m".to_owned();
    let options = scope
        .named()
        .after(first)
        .rules(|it| it.timeouts = Timeouts { create: slow(), update: slow(), delete: slow() });
    dms::ReplicationInstance::new(scope.context(), &name, args, options)
}

/// Endpoints may take their login from a secret. DMS then comes as the region's own service, not as the one of `dms-vpc-role`.
fn secrets_role(scope: &Scope, keys: &Keys) -> iam::Role {
    let (region, suffix) = (scope.config().region.clone(), scope.config().suffix.clone());
    let role = scope.service_role("dms-secrets", &format!("dms.{region}.amazonaws.com"));
    let policy = scope.account().zip(&keys.secrets.arn()).map(move |(account, key)| {
        let secrets = SECRET.part("dms-*", &suffix);
        json!({ "Version": "2012-10-17", "Statement": [
            {
                "Effect": "Allow",
                "Action": ["secretsmanager:GetSecretValue", "secretsmanager:DescribeSecret"],
                // Secrets Manager puts a hyphen and six characters behind a name.
                "Resource": format!("arn:aws:secretsmanager:{region}:{account}:secret:{secrets}-??????"),
            },
            {
                "Effect": "Allow",
                "Action": "kms:Decrypt",
                "Resource": key,
                "Condition": { "StringEquals": {
                    "kms:ViaService": format!("secretsmanager.{region}.amazonaws.com"),
                } },
            },
        ] })
        .to_string()
    });
    scope.rights("dms-secrets", &role, policy);
    role
}
