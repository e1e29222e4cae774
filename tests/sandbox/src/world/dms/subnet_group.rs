//! Replication subnet groups.
//!
//! | rule | source |
//! |---|---|
//! | name: at most 255 letters, digits, `.`, `_`, `-`, not `default`; stored in lower case | API model |
//! | at least two subnets in two zones of one VPC, or `ReplicationSubnetGroupDoesNotCoverEnoughAZs` | API model |
//! | an unknown subnet is `InvalidSubnet` | API model |
//! | without the role `dms-vpc-role`: `AccessDeniedFault` | switch `vpc-role-missing`; aws-cdk issue 7632 |
//! | can't be deleted while an instance uses it | API model |

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::{Describe, Reply, Tag, filter, tags};
use crate::world::{Refusal, World};

#[derive(Clone, Debug)]
pub(in crate::world) struct SubnetGroup {
    name: String,
    description: String,
    vpc: String,
    subnets: Vec<(String, String)>,
}

/// `CreateReplicationSubnetGroup`
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
#[expect(missing_docs, reason = "the API's own fields")]
pub struct CreateReplicationSubnetGroup {
    pub replication_subnet_group_identifier: String,
    pub replication_subnet_group_description: String,
    pub subnet_ids: Vec<String>,
    #[serde(default)]
    pub tags: Vec<Tag>,
}

/// `DeleteReplicationSubnetGroup`
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
#[expect(missing_docs, reason = "the API's own fields")]
pub struct DeleteReplicationSubnetGroup {
    pub replication_subnet_group_identifier: String,
}

/// A subnet group as AWS shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
#[expect(missing_docs, reason = "the API's own fields")]
pub struct SubnetGroupView {
    pub replication_subnet_group_identifier: String,
    pub replication_subnet_group_description: String,
    pub vpc_id: String,
    pub subnet_group_status: String,
    pub subnets: Vec<SubnetView>,
    pub is_read_only: bool,
}

/// A subnet of a group as AWS shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
#[expect(missing_docs, reason = "the API's own fields")]
pub struct SubnetView {
    pub subnet_identifier: String,
    pub subnet_availability_zone: Zone,
    pub subnet_status: String,
}

/// An availability zone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Zone {
    pub name: String,
}

impl SubnetGroup {
    pub(super) fn view(&self) -> SubnetGroupView {
        SubnetGroupView {
            replication_subnet_group_identifier: self.name.clone(),
            replication_subnet_group_description: self.description.clone(),
            vpc_id: self.vpc.clone(),
            subnet_group_status: "Complete".to_owned(),
            subnets: self
                .subnets
                .iter()
                .map(|(id, zone)| SubnetView {
                    subnet_identifier: id.clone(),
                    subnet_availability_zone: Zone { name: zone.clone() },
                    subnet_status: "Active".to_owned(),
                })
                .collect(),
            is_read_only: false,
        }
    }
}

impl World {
    pub(super) fn create_subnet_group(
        &mut self,
        call: CreateReplicationSubnetGroup,
    ) -> Result<Reply, Refusal> {
        let name = call.replication_subnet_group_identifier.to_lowercase();
        let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        if name.is_empty() || name.len() > 255 || !name.bytes().all(legal) || name == "default" {
            return Err(Refusal::value(format!(
                "ReplicationSubnetGroupIdentifier {name:?} must have 1 to 255 letters, digits, '.', '_' or '-', and not be \"default\""
            )));
        }
        let new_tags = tags::checked(&call.tags)?;
        if self.switches.vpc_role_missing {
            return Err(Refusal::new(
                "AccessDeniedFault",
                format!(
                    "The IAM Role arn:aws:iam::{}:role/dms-vpc-role is not configured properly.",
                    self.names.account()
                ),
            ));
        }
        let arn = self.names.arn("dms", "subgrp", &name);
        if self.dms.groups.contains_key(&name) {
            return Err(Refusal::exists("replication subnet group", &name, &arn));
        }
        if self.dms.groups.len() >= 60 {
            return Err(Refusal::quota("replication subnet groups", 60));
        }
        let mut subnets = Vec::new();
        let (mut zones, mut vpcs) = (BTreeSet::new(), BTreeSet::new());
        for id in &call.subnet_ids {
            let subnet = self
                .names
                .subnets
                .iter()
                .find(|subnet| subnet.id == *id)
                .ok_or_else(|| Refusal::new("InvalidSubnet", format!("subnet {id} does not exist")))?;
            zones.insert(subnet.zone.clone());
            vpcs.insert(subnet.vpc.clone());
            subnets.push((subnet.id.clone(), subnet.zone.clone()));
        }
        if zones.len() < 2 {
            return Err(Refusal::new(
                "ReplicationSubnetGroupDoesNotCoverEnoughAZs",
                format!("the subnets of {name} lie in {} availability zone(s), two are needed", zones.len()),
            ));
        }
        let (Some(vpc), true) = (vpcs.pop_first(), vpcs.is_empty()) else {
            return Err(Refusal::new(
                "InvalidSubnet",
                format!("the subnets of {name} are not all in one VPC"),
            ));
        };
        let description = call.replication_subnet_group_description;
        let group = SubnetGroup { name: name.clone(), description, vpc, subnets };
        let view = group.view();
        self.dms.groups.insert(name, group);
        self.dms.tags.insert(arn, new_tags);
        Ok(Reply::SubnetGroup(view))
    }

    pub(super) fn describe_subnet_groups(&self, call: &Describe) -> Result<Reply, Refusal> {
        let all = self
            .dms
            .groups
            .values()
            .map(|group| (group.name.clone(), vec![group.name.clone()], group.view()));
        // The API model lists one filter; it is compared in the stored (lower) case.
        let mut call = call.clone();
        for value in call.filters.iter_mut().flat_map(|filter| &mut filter.values) {
            *value = value.to_lowercase();
        }
        filter::page(
            &call,
            100,
            &["replication-subnet-group-id"],
            self.switches,
            "replication subnet group",
            all,
        )
        .map(Reply::SubnetGroups)
    }

    pub(super) fn delete_subnet_group(
        &mut self,
        call: &DeleteReplicationSubnetGroup,
    ) -> Result<Reply, Refusal> {
        let name = call.replication_subnet_group_identifier.to_lowercase();
        if !self.dms.groups.contains_key(&name) {
            return Err(Refusal::not_found(format!("replication subnet group {name} does not exist")));
        }
        if let Some(user) =
            self.dms.instances.values().find(|instance| instance.group.as_ref() == Some(&name))
        {
            return Err(Refusal::state(format!(
                "replication subnet group {name} is used by replication instance {}",
                user.identifier
            )));
        }
        self.dms.groups.remove(&name);
        self.dms.tags.remove(&self.names.arn("dms", "subgrp", &name));
        Ok(Reply::Done)
    }
}
