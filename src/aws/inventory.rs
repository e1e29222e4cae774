//! Whatever the operator makes in AWS, by kind: listed whosever it is, and deleted only by its owner's tag.

use super::{Aws, Ownership};
use crate::fault::Fault;
use crate::permit::Permit;

/// Key and value of each tag.
pub type Tags = Vec<(String, String)>;

/// A kind of thing that the operator makes. Each service that it learns to use adds its kinds here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum Kind {
    Task,
    Alarm,
    Dashboard,
    Endpoint,
    Certificate,
    Instance,
    SubnetGroup,
}

impl Kind {
    /// In an order in which AWS lets them be deleted: nothing is used by what comes later. Alarms go as soon as there is no
    /// task to watch, as in the operator's own deletion: later, they would ring for an instance that is being deleted.
    pub const ALL: [Self; 7] = [
        Self::Task,
        Self::Alarm,
        Self::Dashboard,
        Self::Endpoint,
        Self::Certificate,
        Self::Instance,
        Self::SubnetGroup,
    ];

    /// For a person.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Task => "task",
            Self::Alarm => "alarm",
            Self::Dashboard => "dashboard",
            Self::Endpoint => "endpoint",
            Self::Certificate => "certificate",
            Self::Instance => "replication instance",
            Self::SubnetGroup => "subnet group",
        }
    }

    /// The operation that makes one.
    pub const fn made_by(self) -> &'static str {
        match self {
            Self::Task => "CreateReplicationTask",
            Self::Alarm => "PutMetricAlarm",
            Self::Dashboard => "PutDashboard",
            Self::Endpoint => "CreateEndpoint",
            Self::Certificate => "ImportCertificate",
            Self::Instance => "CreateReplicationInstance",
            Self::SubnetGroup => "CreateReplicationSubnetGroup",
        }
    }
}

/// One thing, whosever it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Thing {
    /// What it is.
    pub kind: Kind,
    /// Its identifier.
    pub identifier: String,
    /// Its ARN.
    pub arn: String,
    /// The state that it is in, as AWS writes it; empty where AWS has none.
    pub state: String,
    /// The ARNs of what can't be deleted before it.
    pub uses: Vec<String>,
}

impl Aws {
    /// Everything of one kind, with its tags not read.
    pub async fn things(&self, kind: Kind) -> Result<Vec<Thing>, Fault> {
        match kind {
            Kind::Task => self.dms.all_tasks().await,
            Kind::Alarm => self.cloudwatch.all_alarms().await,
            Kind::Dashboard => self.cloudwatch.all_dashboards().await,
            Kind::Endpoint => self.dms.all_endpoints().await,
            Kind::Certificate => self.dms.all_certificates().await,
            Kind::Instance => self.dms.all_instances().await,
            Kind::SubnetGroup => self.dms.all_subnet_groups().await,
        }
    }

    /// Its tags, read now; `None` if it is gone.
    pub async fn tags(&self, thing: &Thing) -> Result<Option<Tags>, Fault> {
        match thing.kind {
            Kind::Alarm | Kind::Dashboard => self.cloudwatch.tags(&thing.arn).await,
            Kind::Task | Kind::Endpoint | Kind::Certificate | Kind::Instance | Kind::SubnetGroup => {
                self.dms.tags(&thing.arn).await
            }
        }
    }

    /// Asks for its deletion, if it carries `ours` at this moment; content if it is gone.
    pub async fn delete(&self, permit: &Permit<'_>, ours: &Ownership, thing: &Thing) -> Result<(), Fault> {
        let Thing { kind, identifier, arn, .. } = thing;
        match kind {
            Kind::Task => self.dms.delete_task(permit, ours, arn).await,
            Kind::Alarm => {
                self.cloudwatch.delete_alarms(permit, ours, std::slice::from_ref(identifier)).await
            }
            Kind::Dashboard => {
                self.cloudwatch.delete_dashboards(permit, ours, std::slice::from_ref(identifier)).await
            }
            Kind::Endpoint => self.dms.delete_endpoint(permit, ours, arn).await,
            Kind::Certificate => self.dms.delete_certificate(permit, ours, arn).await,
            Kind::Instance => self.dms.delete_instance(permit, ours, arn).await,
            Kind::SubnetGroup => self.dms.delete_subnet_group(permit, ours, identifier).await,
        }
    }
}
