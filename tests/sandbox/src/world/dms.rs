//! Database Migration Service: what exists, and which call goes where.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::{Refusal, World};

mod certificate;
mod connection;
mod endpoint;
mod filter;
mod instance;
mod lifecycle;
mod mappings;
mod settings;
mod statistics;
mod subnet_group;
mod tags;
mod task;

pub use certificate::{CertificateView, DeleteCertificate, ImportCertificate};
pub use connection::{ConnectionView, TestConnection};
pub use endpoint::{CreateEndpoint, DeleteEndpoint, EndpointView, ModifyEndpoint};
pub use filter::{Describe, Filter, Page};
pub use instance::{CreateReplicationInstance, DeleteReplicationInstance, InstanceView};
pub use statistics::{DescribeTableStatistics, TableStatisticsView, TaskStatsView};
pub use subnet_group::{
    CreateReplicationSubnetGroup, DeleteReplicationSubnetGroup, SubnetGroupView, SubnetView,
};
pub use tags::{AddTagsToResource, ListTagsForResource, RemoveTagsFromResource, Tag};
pub use task::{CreateReplicationTask, DescribeReplicationTasks, StartReplicationTask, TaskByArn, TaskView};

pub(super) use task::{Status, Task};

/// A call. Names and fields are those of the API.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "each is the AWS operation of that name")]
pub enum Call {
    CreateReplicationSubnetGroup(CreateReplicationSubnetGroup),
    DescribeReplicationSubnetGroups(Describe),
    DeleteReplicationSubnetGroup(DeleteReplicationSubnetGroup),
    CreateReplicationInstance(Box<CreateReplicationInstance>),
    DescribeReplicationInstances(Describe),
    DeleteReplicationInstance(DeleteReplicationInstance),
    ImportCertificate(ImportCertificate),
    DescribeCertificates(Describe),
    DeleteCertificate(DeleteCertificate),
    CreateEndpoint(Box<CreateEndpoint>),
    DescribeEndpoints(Describe),
    ModifyEndpoint(Box<ModifyEndpoint>),
    DeleteEndpoint(DeleteEndpoint),
    TestConnection(TestConnection),
    DescribeConnections(Describe),
    CreateReplicationTask(Box<CreateReplicationTask>),
    DescribeReplicationTasks(DescribeReplicationTasks),
    StartReplicationTask(StartReplicationTask),
    StopReplicationTask(TaskByArn),
    DeleteReplicationTask(TaskByArn),
    DescribeTableStatistics(DescribeTableStatistics),
    AddTagsToResource(AddTagsToResource),
    RemoveTagsFromResource(RemoveTagsFromResource),
    ListTagsForResource(ListTagsForResource),
}

/// The answer to a [`Call`].
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "each is the AWS answer of that name")]
pub enum Reply {
    SubnetGroup(SubnetGroupView),
    SubnetGroups(Page<SubnetGroupView>),
    Instance(Box<InstanceView>),
    Instances(Page<InstanceView>),
    Certificate(CertificateView),
    Certificates(Page<CertificateView>),
    Endpoint(Box<EndpointView>),
    Endpoints(Page<EndpointView>),
    Connection(ConnectionView),
    Connections(Page<ConnectionView>),
    Task(Box<TaskView>),
    Tasks(Page<TaskView>),
    TableStatistics { task_arn: String, page: Page<TableStatisticsView> },
    Tags(Vec<Tag>),
    Done,
}

/// Everything of DMS. Maps are keyed by ARN, subnet groups by name, connections by (instance ARN, endpoint ARN).
#[derive(Clone, Debug, Default)]
pub(super) struct Dms {
    pub(super) groups: BTreeMap<String, subnet_group::SubnetGroup>,
    pub(super) instances: BTreeMap<String, instance::Instance>,
    pub(super) certificates: BTreeMap<String, certificate::Certificate>,
    pub(super) endpoints: BTreeMap<String, endpoint::Endpoint>,
    pub(super) connections: BTreeMap<(String, String), connection::Connection>,
    pub(super) tasks: BTreeMap<String, Task>,
    pub(super) tags: BTreeMap<String, BTreeMap<String, String>>,
}

impl Dms {
    /// When the next state changes by itself.
    pub(super) fn next_due(&self) -> Option<Timestamp> {
        let instances = self.instances.values().filter_map(|instance| instance.due);
        let endpoints = self.endpoints.values().filter_map(|endpoint| endpoint.due);
        let connections = self.connections.values().filter_map(connection::Connection::due);
        let tasks = self.tasks.values().filter_map(|task| task.due);
        instances.chain(endpoints).chain(connections).chain(tasks).min()
    }
}

impl World {
    pub(super) fn dms_call(&mut self, call: Call) -> Result<Reply, Refusal> {
        match call {
            Call::CreateReplicationSubnetGroup(call) => self.create_subnet_group(call),
            Call::DescribeReplicationSubnetGroups(call) => self.describe_subnet_groups(&call),
            Call::DeleteReplicationSubnetGroup(call) => self.delete_subnet_group(&call),
            Call::CreateReplicationInstance(call) => self.create_instance(*call),
            Call::DescribeReplicationInstances(call) => self.describe_instances(&call),
            Call::DeleteReplicationInstance(call) => self.delete_instance(&call),
            Call::ImportCertificate(call) => self.import_certificate(call),
            Call::DescribeCertificates(call) => self.describe_certificates(&call),
            Call::DeleteCertificate(call) => self.delete_certificate(&call),
            Call::CreateEndpoint(call) => self.create_endpoint(*call),
            Call::DescribeEndpoints(call) => self.describe_endpoints(&call),
            Call::ModifyEndpoint(call) => self.modify_endpoint(*call),
            Call::DeleteEndpoint(call) => self.delete_endpoint(&call),
            Call::TestConnection(call) => self.test_connection(&call),
            Call::DescribeConnections(call) => self.describe_connections(&call),
            Call::CreateReplicationTask(call) => self.create_task(*call),
            Call::DescribeReplicationTasks(call) => self.describe_tasks(&call),
            Call::StartReplicationTask(call) => self.start_task(&call),
            Call::StopReplicationTask(call) => self.stop_task(&call),
            Call::DeleteReplicationTask(call) => self.delete_task(&call),
            Call::DescribeTableStatistics(call) => self.describe_table_statistics(&call),
            Call::AddTagsToResource(call) => self.add_tags(&call),
            Call::RemoveTagsFromResource(call) => self.remove_tags(&call),
            Call::ListTagsForResource(call) => self.list_tags(&call),
        }
    }

    /// Moves on everything in DMS that is due.
    pub(super) fn settle_dms(&mut self) {
        self.settle_instances();
        self.settle_endpoints();
        self.settle_connections();
        self.settle_tasks();
    }
}

/// Timestamps of this API are seconds since 1970, as a JSON number.
mod epoch {
    use jiff::Timestamp;
    use serde::Serializer;

    #[expect(clippy::ref_option, reason = "the signature that serde asks for")]
    pub(super) fn serialize<S: Serializer>(
        time: &Option<Timestamp>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match time {
            Some(time) => serializer.serialize_f64(time.as_duration().as_secs_f64()),
            None => serializer.serialize_none(),
        }
    }
}

impl World {
    /// Removes a resource, by identifier or ARN, with all that hangs on it. False if there is none.
    pub(super) fn delete_dms_resource(&mut self, name: &str) -> bool {
        let named = |arn: &String, identifier: &String| arn == name || identifier == name;
        if let Some(arn) =
            self.dms.tasks.iter().find(|(arn, task)| named(arn, &task.identifier)).map(|(arn, _)| arn.clone())
        {
            self.kill_tasks(|task_arn, _| task_arn == arn);
            return true;
        }
        if let Some(arn) = self
            .dms
            .endpoints
            .iter()
            .find(|(arn, one)| named(arn, &one.identifier))
            .map(|(arn, _)| arn.clone())
        {
            self.kill_tasks(|_, task| task.uses_endpoint(&arn));
            self.forget_endpoint(&arn);
            return true;
        }
        if let Some(arn) = self
            .dms
            .instances
            .iter()
            .find(|(arn, one)| named(arn, &one.identifier))
            .map(|(arn, _)| arn.clone())
        {
            self.kill_tasks(|_, task| task.instance_arn == arn);
            self.forget_instance(&arn);
            return true;
        }
        if let Some(arn) = self
            .dms
            .certificates
            .iter()
            .find(|(arn, one)| named(arn, &one.identifier))
            .map(|(arn, _)| arn.clone())
        {
            self.dms.tags.remove(&arn);
            return self.dms.certificates.remove(&arn).is_some();
        }
        self.dms.tags.remove(&self.names.arn("dms", "subgrp", name));
        self.dms.groups.remove(name).is_some()
    }

    fn kill_tasks(&mut self, which: impl Fn(&str, &Task) -> bool) {
        let doomed: Vec<(String, bool)> = self
            .dms
            .tasks
            .iter()
            .filter(|(arn, task)| which(arn, task))
            .map(|(arn, task)| (arn.clone(), task.runs()))
            .collect();
        for (arn, runs) in doomed {
            if runs {
                self.outbox.push(crate::plane::Effect::StopTask { task_arn: arn.clone() });
            }
            self.forget_task(&arn);
        }
    }
}
