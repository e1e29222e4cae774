//! DMS, Secrets Manager and ECS: JSON 1.1.

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::world::dms::{Call, Page, Reply};
use crate::world::{self, Refusal, ecs, secrets};

/// A request's body as a call. A field that the model lacks is refused rather than ignored.
pub(super) fn decode(operation: &str, body: &[u8]) -> Result<world::Call, Refusal> {
    let call = match operation {
        "CreateReplicationSubnetGroup" => Call::CreateReplicationSubnetGroup(read(body)?),
        "DescribeReplicationSubnetGroups" => Call::DescribeReplicationSubnetGroups(read(body)?),
        "DeleteReplicationSubnetGroup" => Call::DeleteReplicationSubnetGroup(read(body)?),
        "CreateReplicationInstance" => Call::CreateReplicationInstance(read(body)?),
        "DescribeReplicationInstances" => Call::DescribeReplicationInstances(read(body)?),
        "DeleteReplicationInstance" => Call::DeleteReplicationInstance(read(body)?),
        "ImportCertificate" => Call::ImportCertificate(read(body)?),
        "DescribeCertificates" => Call::DescribeCertificates(read(body)?),
        "DeleteCertificate" => Call::DeleteCertificate(read(body)?),
        "CreateEndpoint" => Call::CreateEndpoint(read(body)?),
        "DescribeEndpoints" => Call::DescribeEndpoints(read(body)?),
        "ModifyEndpoint" => Call::ModifyEndpoint(read(body)?),
        "DeleteEndpoint" => Call::DeleteEndpoint(read(body)?),
        "TestConnection" => Call::TestConnection(read(body)?),
        "DescribeConnections" => Call::DescribeConnections(read(body)?),
        "CreateReplicationTask" => Call::CreateReplicationTask(read(body)?),
        "DescribeReplicationTasks" => Call::DescribeReplicationTasks(read(body)?),
        "StartReplicationTask" => Call::StartReplicationTask(read(body)?),
        "StopReplicationTask" => Call::StopReplicationTask(read(body)?),
        "DeleteReplicationTask" => Call::DeleteReplicationTask(read(body)?),
        "DescribeTableStatistics" => Call::DescribeTableStatistics(read(body)?),
        "AddTagsToResource" => Call::AddTagsToResource(read(body)?),
        "RemoveTagsFromResource" => Call::RemoveTagsFromResource(read(body)?),
        "ListTagsForResource" => Call::ListTagsForResource(read(body)?),
        other => return Err(Refusal::not_modelled(format!("dms:{other}"))),
    };
    Ok(world::Call::Dms(call))
}

/// The same for Secrets Manager.
pub(super) fn decode_secrets(operation: &str, body: &[u8]) -> Result<world::Call, Refusal> {
    let call = match operation {
        "GetSecretValue" => secrets::Call::Get(read(body)?),
        "PutSecretValue" => secrets::Call::Put(read(body)?),
        other => return Err(Refusal::not_modelled(format!("secretsmanager:{other}"))),
    };
    Ok(world::Call::Secrets(call))
}

/// The same for ECS.
pub(super) fn decode_ecs(operation: &str, body: &[u8]) -> Result<world::Call, Refusal> {
    match operation {
        "DescribeServices" => Ok(world::Call::DescribeServices(read(body)?)),
        other => Err(Refusal::not_modelled(format!("ecs:{other}"))),
    }
}

fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, Refusal> {
    serde_json::from_slice(body).map_err(|error| {
        Refusal::new("SerializationException", format!("the AWS stand-in can't read the request: {error}"))
    })
}

/// A reply or an error as a body.
pub(super) fn encode(result: Result<world::Reply, Refusal>) -> String {
    let value = match result {
        Ok(world::Reply::Dms(reply)) => value(reply),
        Ok(world::Reply::Secrets(secrets::Reply { arn, name, version, with_value })) => {
            let secrets::Version { id, value, stages } = version;
            let mut reply = json!({ "ARN": arn, "Name": name, "VersionId": id, "VersionStages": stages });
            if with_value {
                reply["SecretString"] = value.into();
            }
            reply
        }
        Ok(world::Reply::Services(ecs::Described { services, missing })) => {
            let services: Vec<Value> = services.into_iter().map(service).collect();
            let failure = |arn: String| json!({ "arn": arn, "reason": "MISSING" });
            let failures: Vec<Value> = missing.into_iter().map(failure).collect();
            json!({ "services": services, "failures": failures })
        }
        Ok(other) => {
            json!({ "__type": "InternalFailure", "message": format!("not an answer in JSON: {other:?}") })
        }
        Err(Refusal { code, message, resource_arn: None }) => json!({ "__type": code, "message": message }),
        Err(Refusal { code, message, resource_arn }) => {
            json!({ "__type": code, "message": message, "resourceArn": resource_arn })
        }
    };
    value.to_string()
}

fn value(reply: Reply) -> Value {
    match reply {
        Reply::SubnetGroup(group) => json!({ "ReplicationSubnetGroup": group }),
        Reply::SubnetGroups(groups) => page("ReplicationSubnetGroups", groups),
        Reply::Instance(instance) => json!({ "ReplicationInstance": instance }),
        Reply::Instances(instances) => page("ReplicationInstances", instances),
        Reply::Certificate(certificate) => json!({ "Certificate": certificate }),
        Reply::Certificates(certificates) => page("Certificates", certificates),
        Reply::Endpoint(endpoint) => json!({ "Endpoint": endpoint }),
        Reply::Endpoints(endpoints) => page("Endpoints", endpoints),
        Reply::Connection(connection) => json!({ "Connection": connection }),
        Reply::Connections(connections) => page("Connections", connections),
        Reply::Task(task) => json!({ "ReplicationTask": task }),
        Reply::Tasks(tasks) => page("ReplicationTasks", tasks),
        Reply::TableStatistics { task_arn, page: tables } => {
            let mut value = page("TableStatistics", tables);
            value["ReplicationTaskArn"] = task_arn.into();
            value
        }
        Reply::Tags(tags) => json!({ "TagList": tags }),
        Reply::Done => json!({}),
    }
}

fn service(shown: ecs::Shown) -> Value {
    let ecs::Shown { service, arn, cluster_arn, running, pending, deployments } = shown;
    let ecs::Service { name, status, desired, group_arn, tasks, .. } = service;
    let port = tasks.first().map_or(80, |(_, port)| *port);
    let balancers: Vec<Value> = group_arn
        .into_iter()
        .map(|arn| json!({ "targetGroupArn": arn, "containerName": name, "containerPort": port }))
        .collect();
    let deployments: Vec<Value> = deployments
        .into_iter()
        .enumerate()
        .map(|(number, (status, rollout, running))| {
            json!({
                "id": format!("ecs-svc/5a1d00000000000000{number}"), "status": status, "rolloutState": rollout,
                "desiredCount": desired, "runningCount": running, "pendingCount": desired.saturating_sub(running),
                "failedTasks": 0, "launchType": "FARGATE",
            })
        })
        .collect();
    json!({
        "serviceArn": arn, "serviceName": name, "clusterArn": cluster_arn, "status": status,
        "desiredCount": desired, "runningCount": running, "pendingCount": pending,
        "loadBalancers": balancers, "deployments": deployments, "launchType": "FARGATE",
        "schedulingStrategy": "REPLICA", "events": [],
    })
}

fn page<T: Serialize>(name: &str, page: Page<T>) -> Value {
    let Page { items, marker } = page;
    let mut value = json!({ name: items });
    if let Some(marker) = marker {
        value["Marker"] = marker.into();
    }
    value
}
