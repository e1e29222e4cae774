//! Replication instances.
//!
//! | rule | source |
//! |---|---|
//! | identifier at most 63 characters, stored in lower case | API model of CreateReplicationInstance |
//! | `PubliclyAccessible` and `AutoMinorVersionUpgrade` are true unless told otherwise | API model |
//! | `MultiAZ` excludes `AvailabilityZone` | API model |
//! | storage 5 to 6144 GB | Terraform's provider |
//! | creating, then available; deleting, then gone | `ReplicationInstance*` waiters of the API model |
//! | can't be deleted while it has tasks | API model of DeleteReplicationInstance |

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Describe, Reply, SubnetGroupView, Tag, epoch, filter, tags};
use crate::world::{Refusal, World, names};

#[derive(Clone, Debug)]
pub(in crate::world) struct Instance {
    pub(in crate::world) identifier: String,
    pub(in crate::world) status: &'static str,
    pub(super) due: Option<Timestamp>,
    pub(super) group: Option<String>,
    class: String,
    storage: u32,
    engine_version: String,
    public: bool,
    multi_az: bool,
    auto_minor_version_upgrade: bool,
    zone: Option<String>,
    maintenance_window: String,
    kms_key: Option<String>,
    security_groups: Vec<String>,
    created: Option<Timestamp>,
}

/// `CreateReplicationInstance`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
#[expect(missing_docs, reason = "the API's own fields")]
pub struct CreateReplicationInstance {
    pub replication_instance_identifier: String,
    pub allocated_storage: Option<u32>,
    pub replication_instance_class: String,
    #[serde(default)]
    pub vpc_security_group_ids: Vec<String>,
    pub availability_zone: Option<String>,
    pub replication_subnet_group_identifier: Option<String>,
    pub preferred_maintenance_window: Option<String>,
    #[serde(rename = "MultiAZ")]
    pub multi_az: Option<bool>,
    pub engine_version: Option<String>,
    pub auto_minor_version_upgrade: Option<bool>,
    #[serde(default)]
    pub tags: Vec<Tag>,
    pub kms_key_id: Option<String>,
    pub publicly_accessible: Option<bool>,
    pub resource_identifier: Option<String>,
}

/// `DeleteReplicationInstance`
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
#[expect(missing_docs, reason = "the API's own fields")]
pub struct DeleteReplicationInstance {
    pub replication_instance_arn: String,
}

/// A replication instance as AWS shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
#[expect(missing_docs, reason = "the API's own fields")]
pub struct InstanceView {
    pub replication_instance_identifier: String,
    pub replication_instance_arn: String,
    pub replication_instance_class: String,
    pub replication_instance_status: String,
    pub allocated_storage: u32,
    #[serde(with = "epoch", skip_serializing_if = "Option::is_none")]
    pub instance_create_time: Option<Timestamp>,
    pub vpc_security_groups: Vec<SecurityGroupView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub availability_zone: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replication_subnet_group: Option<SubnetGroupView>,
    pub preferred_maintenance_window: String,
    #[serde(rename = "MultiAZ")]
    pub multi_az: bool,
    pub engine_version: String,
    pub auto_minor_version_upgrade: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kms_key_id: Option<String>,
    pub publicly_accessible: bool,
}

/// A security group of an instance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct SecurityGroupView {
    pub vpc_security_group_id: String,
    pub status: String,
}

impl World {
    pub(super) fn create_instance(&mut self, call: CreateReplicationInstance) -> Result<Reply, Refusal> {
        let identifier = call.replication_instance_identifier.to_lowercase();
        names::check("ReplicationInstanceIdentifier", &identifier, 63)?;
        check_class(&call.replication_instance_class)?;
        let new_tags = tags::checked(&call.tags)?;
        let storage = call.allocated_storage.unwrap_or(50);
        if !(5..=6144).contains(&storage) {
            return Err(Refusal::value(format!("AllocatedStorage {storage} is not between 5 and 6144 GB")));
        }
        let multi_az = call.multi_az.unwrap_or(false);
        if multi_az && call.availability_zone.is_some() {
            return Err(Refusal::combination("AvailabilityZone can't be given together with MultiAZ"));
        }
        let engine_version = call.engine_version.unwrap_or_else(|| "3.6.1".to_owned());
        if engine_version.split('.').count() != 3 || !engine_version.starts_with("3.") {
            return Err(Refusal::value(format!("there is no replication engine version {engine_version}")));
        }
        if let Some((arn, _)) =
            self.dms.instances.iter().find(|(_, instance)| instance.identifier == identifier)
        {
            return Err(Refusal::exists("replication instance", &identifier, arn));
        }
        if self.dms.instances.len() >= 60 {
            return Err(Refusal::quota("replication instances", 60));
        }
        let group = call.replication_subnet_group_identifier.map(|name| name.to_lowercase());
        if let Some(name) = group.as_ref().filter(|name| !self.dms.groups.contains_key(*name)) {
            return Err(Refusal::not_found(format!("replication subnet group {name} does not exist")));
        }
        let tail = self.names.tail(call.resource_identifier.as_deref())?;
        let arn = self.names.arn("dms", "rep", &tail);
        if self.dms.instances.contains_key(&arn) {
            return Err(Refusal::exists("replication instance", &tail, &arn));
        }
        let instance = Instance {
            identifier,
            status: "creating",
            due: Some(self.now + self.delays.instance_create),
            group,
            class: call.replication_instance_class,
            storage,
            engine_version,
            public: call.publicly_accessible.unwrap_or(true),
            multi_az,
            auto_minor_version_upgrade: call.auto_minor_version_upgrade.unwrap_or(true),
            zone: call.availability_zone,
            maintenance_window: call
                .preferred_maintenance_window
                .unwrap_or_else(|| "sun:03:00-sun:03:30".to_owned()),
            kms_key: call.kms_key_id,
            security_groups: call.vpc_security_group_ids,
            created: None,
        };
        let view = self.instance_view(&arn, &instance);
        self.dms.instances.insert(arn.clone(), instance);
        self.dms.tags.insert(arn, new_tags);
        Ok(Reply::Instance(Box::new(view)))
    }

    pub(super) fn describe_instances(&self, call: &Describe) -> Result<Reply, Refusal> {
        let attributes = [
            "replication-instance-id",
            "replication-instance-arn",
            "replication-instance-class",
            "engine-version",
        ];
        let mut call = call.clone();
        for filter in call.filters.iter_mut().filter(|filter| filter.name == "replication-instance-id") {
            for value in &mut filter.values {
                *value = value.to_lowercase();
            }
        }
        let all = self.dms.instances.iter().map(|(arn, instance)| {
            let have = vec![
                instance.identifier.clone(),
                arn.clone(),
                instance.class.clone(),
                instance.engine_version.clone(),
            ];
            (arn.clone(), have, self.instance_view(arn, instance))
        });
        filter::page(&call, 100, &attributes, self.switches, "replication instance", all)
            .map(Reply::Instances)
    }

    pub(super) fn delete_instance(&mut self, call: &DeleteReplicationInstance) -> Result<Reply, Refusal> {
        let arn = &call.replication_instance_arn;
        let Some(instance) = self.dms.instances.get(arn) else {
            return Err(Refusal::not_found(format!("replication instance {arn} does not exist")));
        };
        if instance.status != "available" {
            return Err(Refusal::state(format!(
                "replication instance {} is {}, so it can't be deleted",
                instance.identifier, instance.status
            )));
        }
        if let Some(task) = self.dms.tasks.values().find(|task| task.instance_arn == *arn) {
            return Err(Refusal::state(format!(
                "replication instance {} still has replication task {}",
                instance.identifier, task.identifier
            )));
        }
        let due = self.now + self.delays.instance_delete;
        if let Some(instance) = self.dms.instances.get_mut(arn) {
            instance.status = "deleting";
            instance.due = Some(due);
        }
        self.mark_connections_deleting(|(instance_arn, _)| instance_arn == arn);
        Ok(Reply::Instance(Box::new(self.instance_view(arn, &self.dms.instances[arn]))))
    }

    pub(super) fn settle_instances(&mut self) {
        let now = self.now;
        let mut gone = Vec::new();
        for (arn, instance) in &mut self.dms.instances {
            if instance.due.is_none_or(|due| due > now) {
                continue;
            }
            instance.due = None;
            if instance.status == "deleting" {
                gone.push(arn.clone());
            } else {
                instance.status = "available";
                instance.created = Some(now);
            }
        }
        for arn in gone {
            self.forget_instance(&arn);
        }
    }

    pub(super) fn forget_instance(&mut self, arn: &str) {
        self.dms.instances.remove(arn);
        self.dms.connections.retain(|(instance_arn, _), _| instance_arn != arn);
        self.dms.tags.remove(arn);
    }

    fn instance_view(&self, arn: &str, instance: &Instance) -> InstanceView {
        let group = instance.group.as_ref().and_then(|name| self.dms.groups.get(name));
        InstanceView {
            replication_instance_identifier: instance.identifier.clone(),
            replication_instance_arn: arn.to_owned(),
            replication_instance_class: instance.class.clone(),
            replication_instance_status: instance.status.to_owned(),
            allocated_storage: instance.storage,
            instance_create_time: instance.created,
            vpc_security_groups: instance
                .security_groups
                .iter()
                .map(|id| SecurityGroupView {
                    vpc_security_group_id: id.clone(),
                    status: "active".to_owned(),
                })
                .collect(),
            availability_zone: instance.zone.clone(),
            replication_subnet_group: group.map(super::subnet_group::SubnetGroup::view),
            preferred_maintenance_window: instance.maintenance_window.clone(),
            multi_az: instance.multi_az,
            engine_version: instance.engine_version.clone(),
            auto_minor_version_upgrade: instance.auto_minor_version_upgrade,
            kms_key_id: instance.kms_key.clone(),
            publicly_accessible: instance.public,
        }
    }
}

/// `dms.<family>.<size>`; which combinations exist differs between regions, so only the form is checked.
fn check_class(class: &str) -> Result<(), Refusal> {
    let mut parts = class.split('.');
    let (head, family, size) = (parts.next(), parts.next(), parts.next());
    let families = ["t2", "t3", "c4", "c5", "c6i", "c7i", "r4", "r5", "r6i", "r7i"];
    let sizes = ["micro", "small", "medium", "large", "xlarge"];
    let fits = head == Some("dms")
        && family.is_some_and(|family| families.contains(&family))
        && size.is_some_and(|size| sizes.contains(&size) || size.ends_with("xlarge"))
        && parts.next().is_none();
    if fits {
        Ok(())
    } else {
        Err(Refusal::value(format!("there is no replication instance class {class:?}")))
    }
}
