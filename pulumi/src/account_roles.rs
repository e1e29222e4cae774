//! Roles whose names AWS dictates, so that an account has each once and all environments share it.
//!
//! One that is there is used as it is. One that is missing is made, tagged with the environment that made it, and forgotten
//! instead of deleted when that environment goes: another one, or somebody's console, may have come to rely on it. If that
//! environment comes again, it takes its own up again by its id. Two environments that come up at the same moment may both
//! find a role missing: the second one's creation fails with `EntityAlreadyExists`, and its next `pulumi up` uses the first
//! one's.

use std::collections::BTreeMap;

use serde_json::json;

use crate::aws::iam;
use crate::names::{ACCOUNT_PROFILE, ACCOUNT_ROLE};
use crate::pulumi::{Context, Options, Resource};
use crate::scope::Scope;

/// A role of the account.
#[derive(Clone, Copy, Debug)]
pub struct AccountRole {
    /// Its name in AWS.
    pub name: &'static str,
    /// The part of our own name for it.
    pub part: &'static str,
    /// The folder that it is in.
    path: &'static str,
    /// Who may take it on.
    service: &'static str,
    /// Its policies, all AWS's own.
    policies: &'static [&'static str],
}

const fn of_dms(name: &'static str, part: &'static str, policies: &'static [&'static str]) -> AccountRole {
    AccountRole { name, part, path: "/", service: "dms.amazonaws.com", policies }
}

const fn of_mgn(
    name: &'static str,
    part: &'static str,
    service: &'static str,
    policies: &'static [&'static str],
) -> AccountRole {
    AccountRole { name, part, path: "/service-role/", service, policies }
}

/// What DMS wants before its first subnet group, and before its first log.
pub const DMS: [AccountRole; 2] = [
    of_dms("dms-vpc-role", "dms-vpc", &["service-role/AmazonDMSVPCManagementRole"]),
    of_dms("dms-cloudwatch-logs-role", "dms-logs", &["service-role/AmazonDMSCloudWatchLogsRole"]),
];

const EC2: &str = "ec2.amazonaws.com";
const MGN_SERVICE: &str = "mgn.amazonaws.com";

/// What MGN wants when it is initialised by its API.
pub const MGN: [AccountRole; 6] = [
    of_mgn(
        "AWSApplicationMigrationReplicationServerRole",
        "mgn-replication-server",
        EC2,
        &["service-role/AWSApplicationMigrationReplicationServerPolicy"],
    ),
    of_mgn(
        "AWSApplicationMigrationConversionServerRole",
        "mgn-conversion-server",
        EC2,
        &["service-role/AWSApplicationMigrationConversionServerPolicy"],
    ),
    of_mgn(
        "AWSApplicationMigrationLaunchInstanceWithSsmRole",
        "mgn-launch-ssm",
        EC2,
        &["AmazonSSMManagedInstanceCore"],
    ),
    of_mgn(
        "AWSApplicationMigrationLaunchInstanceWithDrsRole",
        "mgn-launch-drs",
        EC2,
        &["AmazonSSMManagedInstanceCore", "service-role/AWSElasticDisasterRecoveryEc2InstancePolicy"],
    ),
    of_mgn(
        "AWSApplicationMigrationMGHRole",
        "mgn-hub",
        MGN_SERVICE,
        &["service-role/AWSApplicationMigrationMGHAccess"],
    ),
    of_mgn(
        "AWSApplicationMigrationAgentRole",
        "mgn-agent",
        MGN_SERVICE,
        &["service-role/AWSApplicationMigrationAgentPolicy_v2"],
    ),
];

/// MGN's service-linked role.
pub const MGN_LINKED: &str = "AWSServiceRoleForApplicationMigrationService";

/// Whose a role is.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Standing {
    /// It is not there.
    Missing,
    /// This environment made it, now or in an earlier life. Its ARN.
    Ours(String),
    /// It is there, and somebody else's; or it could not be looked for, which is said elsewhere.
    Others,
}

/// What was found in the account.
pub struct AccountRoles(BTreeMap<&'static str, Standing>);

impl AccountRoles {
    /// Looks for these. This is the one thing that is waited for before anything is registered: it decides what is.
    pub async fn find(context: &Context, options: &Options, suffix: &str, wanted: &[&'static str]) -> Self {
        let pattern = format!("^({})$", wanted.join("|"));
        let there = iam::get_roles(context, iam::GetRolesArgs::new().name_regex(pattern), options)
            .names()
            .wait()
            .await;
        let mut found = BTreeMap::new();
        for &name in wanted {
            let standing = match &there {
                Some(there) if !there.iter().any(|it| it == name) => Standing::Missing,
                Some(_) => {
                    let role = iam::get_role(context, iam::GetRoleArgs::new().name(name), options);
                    let tags: Option<BTreeMap<String, String>> = role.tags().wait().await;
                    let ours = tags
                        .is_some_and(|it| it.get("slipway.dev/environment").is_some_and(|it| it == suffix));
                    match role.arn().wait().await {
                        Some(arn) if ours => Standing::Ours(arn),
                        _ => Standing::Others,
                    }
                }
                None => Standing::Others,
            };
            found.insert(name, standing);
        }
        Self(found)
    }

    /// Makes it if it is missing. What needs the role comes after what this gives.
    pub fn make(&self, scope: &Scope, role: &AccountRole) -> Vec<Resource> {
        let Some(import) = self.import(role.name, |_| role.name.to_owned()) else { return Vec::new() };
        let mut statement = json!({
            "Effect": "Allow",
            "Principal": { "Service": role.service },
            "Action": "sts:AssumeRole",
        });
        if role.part == "mgn-agent" {
            // Each agent comes under its server's id.
            statement["Action"] = json!(["sts:AssumeRole", "sts:SetSourceIdentity"]);
            statement["Condition"] = json!({ "StringLike": { "sts:SourceIdentity": "s-*" } });
        }
        let trust = json!({ "Version": "2012-10-17", "Statement": [statement] }).to_string();
        let args = iam::RoleArgs::new(iam::RoleRequired { assume_role_policy: trust.into() })
            .name(role.name)
            .path(role.path)
            .tags(scope.tags(role.name));
        let kept = keep(scope.options(), import.clone());
        let made = iam::Role::new(scope.context(), &scope.part(&ACCOUNT_ROLE, role.part), args, kept);
        if role.service == EC2 {
            // A server takes on a role by a profile, which has its name.
            let args =
                iam::InstanceProfileArgs::new().name(role.name).role(made.name()).tags(scope.tags(role.name));
            let name = scope.part(&ACCOUNT_PROFILE, role.part);
            iam::InstanceProfile::new(scope.context(), &name, args, keep(scope.options(), import));
        }
        let attached = role.policies.iter().enumerate().map(|(index, policy)| {
            let part = if index == 0 { role.part.to_owned() } else { format!("{}-{}", role.part, index + 1) };
            let kept = keep(scope.options(), String::new());
            scope.attach(&part, &made, policy, kept).resource().clone()
        });
        attached.collect()
    }

    /// MGN's service-linked role.
    pub fn make_linked(&self, scope: &Scope) {
        let Some(import) = self.import(MGN_LINKED, str::to_owned) else { return };
        let required = iam::ServiceLinkedRoleRequired { aws_service_name: MGN_SERVICE.into() };
        let args = iam::ServiceLinkedRoleArgs::new(required).tags(scope.tags(MGN_LINKED));
        let name = scope.part(&ACCOUNT_ROLE, "mgn-linked");
        iam::ServiceLinkedRole::new(scope.context(), &name, args, keep(scope.options(), import));
    }

    /// By which id an existing one is taken up, empty for one to make; `None` if it is to be left alone.
    fn import(&self, name: &str, id: impl Fn(&str) -> String) -> Option<String> {
        match self.0.get(name) {
            Some(Standing::Missing) => Some(String::new()),
            Some(Standing::Ours(arn)) => Some(id(arn)),
            Some(Standing::Others) | None => None,
        }
    }
}

fn keep(options: Options, import_id: String) -> Options {
    options.rules(|it| {
        it.retain_on_delete = true;
        it.import_id = import_id;
        // What else this program says of it one day must not stop it from being taken up.
        it.ignore_changes = vec!["tags".to_owned()];
    })
}
