//! The cluster that Slipway runs in: Kubernetes with an endpoint that only the VPC and on-premises reach, and two nodes.

use std::collections::BTreeMap;

use serde_json::json;

use crate::aws::{ec2, eks, iam};
use crate::flows::Party;
use crate::keys::Keys;
use crate::names::{ADDON, EKS_CLUSTER, LAUNCH_TEMPLATE, NODE_GROUP, POD_IDENTITY, ROLE};
use crate::network::{Network, ids};
use crate::pulumi::{Fields, Node, Output, Resource, Timeouts};
use crate::scope::{Ground, Scope};
use crate::security::Security;

pub mod rights;

/// The namespace of the operator, and its service account: those of the chart.
pub const OPERATOR: (&str, &str) = ("slipway-system", "slipway");
/// What Kubernetes logs of itself.
const LOGS: [&str; 5] = ["api", "audit", "authenticator", "controllerManager", "scheduler"];
const NODES: [(&str, &str); 3] = [
    ("nodes-worker", "AmazonEKSWorkerNodePolicy"),
    ("nodes-images", "AmazonEC2ContainerRegistryPullOnly"),
    ("nodes-network", "AmazonEKS_CNI_Policy"),
];

/// The cluster.
pub struct Control {
    /// It.
    pub cluster: eks::Cluster,
    /// What Slipway is at AWS.
    pub operator: iam::Role,
}

impl Control {
    /// Makes it.
    pub fn new(ground: &Ground, network: &Network, security: &Security, keys: &Keys) -> Self {
        let scope = ground.component("control");
        let cluster = cluster(&scope, network, security, keys);
        // Before the nodes: pods can't start without addresses, nor reach a service without the proxy.
        let first: Vec<Resource> = ["vpc-cni", "kube-proxy", "eks-pod-identity-agent"]
            .map(|it| addon(&scope, &cluster, it, &[]))
            .to_vec();
        let nodes = nodes(&scope, network, security, &cluster, &first);
        // Names are looked up by pods, which need a node.
        addon(&scope, &cluster, "coredns", &[nodes.resource().clone()]);
        let operator = operator(&scope, &cluster, keys);
        scope.end(Fields::from([
            ("clusterName".to_owned(), Node::from(cluster.name())),
            ("operatorRoleArn".to_owned(), operator.arn().into()),
        ]));
        Self { cluster, operator }
    }
}

fn cluster(scope: &Scope, network: &Network, security: &Security, keys: &Keys) -> eks::Cluster {
    let name = scope.name(&EKS_CLUSTER);
    let logs = scope.log_group_as("eks", &format!("/aws/eks/{name}/cluster"), keys);
    let role = scope.service_role("eks", "eks.amazonaws.com");
    let rights = scope.attach("eks", &role, "AmazonEKSClusterPolicy", scope.options());
    let required = eks::types::ClusterVpcConfigRequired { subnet_ids: ids(&network.private).into() };
    let vpc = eks::types::ClusterVpcConfig::new(required)
        .endpoint_private_access(true)
        .endpoint_public_access(false)
        .security_group_ids(groups(security, Party::ControlPlane));
    let access = eks::types::ClusterAccessConfig::new()
        .authentication_mode("API")
        // Whoever deploys administers; nobody else is in it until they say so.
        .bootstrap_cluster_creator_admin_permissions(true);
    let key = eks::types::ClusterEncryptionConfigProvider::new(
        eks::types::ClusterEncryptionConfigProviderRequired { key_arn: keys.secrets.arn().into() },
    );
    let encrypted = eks::types::ClusterEncryptionConfig::new(eks::types::ClusterEncryptionConfigRequired {
        provider: key.into(),
        resources: vec!["secrets".to_owned()].into(),
    });
    let required = eks::ClusterRequired { role_arn: role.arn().into(), vpc_config: vpc.into() };
    let args = eks::ClusterArgs::new(required)
        .name(name.as_str())
        .version(scope.config().control.version.as_str())
        .access_config(access)
        .encryption_config(encrypted)
        .enabled_cluster_log_types(LOGS.map(str::to_owned).to_vec())
        // Addons are made below, where their versions can be seen.
        .bootstrap_self_managed_addons(false)
        .deletion_protection(false)
        .tags(scope.tags(&name));
    // While the cluster is deleted, EKS still uses its role to take its interfaces out of the VPC.
    let options = scope.named().after([logs.resource(), rights.resource()]).rules(|it| it.timeouts = slow());
    eks::Cluster::new(scope.context(), &name, args, options)
}

fn slow() -> Timeouts {
    let time = || "60m".to_owned();
    Timeouts { create: time(), update: time(), delete: time() }
}

fn groups(security: &Security, party: Party) -> Vec<Output<String>> {
    security.group(party).map(ec2::SecurityGroup::id).into_iter().collect()
}

fn addon(scope: &Scope, cluster: &eks::Cluster, word: &str, first: &[Resource]) -> Resource {
    let name = scope.part(&ADDON, word);
    let required = eks::AddonRequired { addon_name: word.into(), cluster_name: cluster.name().into() };
    let args = eks::AddonArgs::new(required)
        .resolve_conflicts_on_create("OVERWRITE")
        .resolve_conflicts_on_update("OVERWRITE")
        .preserve(false)
        .tags(scope.tags(&name));
    eks::Addon::new(scope.context(), &name, args, scope.options().after(first)).resource().clone()
}

fn nodes(
    scope: &Scope,
    network: &Network,
    security: &Security,
    cluster: &eks::Cluster,
    first: &[Resource],
) -> eks::NodeGroup {
    let role = scope.service_role("nodes", "ec2.amazonaws.com");
    let mut first = first.to_vec();
    for (part, policy) in NODES {
        first.push(scope.attach(part, &role, policy, scope.options()).resource().clone());
    }
    let template = template(scope, security);
    let name = scope.name(&NODE_GROUP);
    let scaling = eks::types::NodeGroupScalingConfig::new(eks::types::NodeGroupScalingConfigRequired {
        desired_size: 2.into(),
        max_size: 4.into(),
        min_size: 2.into(),
    });
    let launch = eks::types::NodeGroupLaunchTemplate::new(eks::types::NodeGroupLaunchTemplateRequired {
        version: template.latest_version().map(|it: i64| it.to_string()).into(),
    })
    .id(template.id());
    let required = eks::NodeGroupRequired {
        cluster_name: cluster.name().into(),
        node_role_arn: role.arn().into(),
        scaling_config: scaling.into(),
        subnet_ids: ids(&network.private).into(),
    };
    let args = eks::NodeGroupArgs::new(required)
        .node_group_name(name.as_str())
        .ami_type("AL2023_x86_64_STANDARD")
        .instance_types(vec![scope.config().control.node_type.clone()])
        .launch_template(launch)
        .update_config(eks::types::NodeGroupUpdateConfig::new().max_unavailable(1))
        .tags(scope.tags(&name));
    let options = scope.named().after(&first).rules(|it| it.timeouts = slow());
    eks::NodeGroup::new(scope.context(), &name, args, options)
}

/// Nodes with our security group instead of EKS's own, which would let everything through. A pod can't take a node's identity:
/// its request to the metadata service is one hop too far.
fn template(scope: &Scope, security: &Security) -> ec2::LaunchTemplate {
    use ec2::types::{
        LaunchTemplateBlockDeviceMapping as Disk, LaunchTemplateBlockDeviceMappingEbs as Ebs,
        LaunchTemplateMetadataOptions as Metadata, LaunchTemplateTagSpecification as Tags,
    };
    let name = scope.part(&LAUNCH_TEMPLATE, "nodes");
    let disk = Ebs::new().encrypted("true").volume_size(40).volume_type("gp3").delete_on_termination("true");
    let tags: BTreeMap<String, String> = scope.tags(&scope.name(&NODE_GROUP));
    let tagged = ["instance", "volume", "network-interface"]
        .map(|kind| Tags::new().resource_type(kind).tags(tags.clone()));
    let args = ec2::LaunchTemplateArgs::new()
        .name(name.as_str())
        .update_default_version(true)
        .vpc_security_group_ids(groups(security, Party::Control))
        .block_device_mappings(vec![Disk::new().device_name("/dev/xvda").ebs(disk)])
        .metadata_options(
            Metadata::new().http_endpoint("enabled").http_tokens("required").http_put_response_hop_limit(1),
        )
        .tag_specifications(tagged.to_vec())
        .tags(scope.tags(&name));
    ec2::LaunchTemplate::new(scope.context(), &name, args, scope.named())
}

/// The operator's role, for its service account and nobody else in the cluster.
fn operator(scope: &Scope, cluster: &eks::Cluster, keys: &Keys) -> iam::Role {
    let name = scope.part(&ROLE, OPERATOR.1);
    let trust = cluster.arn().zip(scope.account()).map(|(cluster, account): (String, String)| {
        json!({ "Version": "2012-10-17", "Statement": [{
            "Effect": "Allow",
            "Principal": { "Service": "pods.eks.amazonaws.com" },
            "Action": ["sts:AssumeRole", "sts:TagSession"],
            "Condition": { "StringEquals": {
                "aws:SourceAccount": account,
                "aws:SourceArn": cluster,
            } },
        }] })
        .to_string()
    });
    let args = iam::RoleArgs::new(iam::RoleRequired { assume_role_policy: trust.into() })
        .name(name.as_str())
        .force_detach_policies(true)
        .tags(scope.tags(&name));
    let role = iam::Role::new(scope.context(), &name, args, scope.named());
    let region = scope.config().region.clone();
    let suffix = scope.config().suffix.clone();
    let policy = scope.account().zip(&keys.secrets.arn()).map(move |(account, key): (String, String)| {
        rights::policy(&region, &account, &suffix, &key).to_string()
    });
    let rights = scope.rights(OPERATOR.1, &role, policy);
    let required = eks::PodIdentityAssociationRequired {
        cluster_name: cluster.name().into(),
        namespace: OPERATOR.0.into(),
        role_arn: role.arn().into(),
        service_account: OPERATOR.1.into(),
    };
    let name = scope.part(&POD_IDENTITY, OPERATOR.1);
    let args = eks::PodIdentityAssociationArgs::new(required).tags(scope.tags(&name));
    let options = scope.named().after([rights.resource()]);
    eks::PodIdentityAssociation::new(scope.context(), &name, args, options);
    role
}
