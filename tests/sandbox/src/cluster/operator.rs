//! The operator's own identity: a service account with exactly the rights that the Helm chart grants.

use std::path::PathBuf;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec,
};
use k8s_openapi::api::core::v1::ServiceAccount;
use k8s_openapi::api::rbac::v1::PolicyRule;
use kube::api::PostParams;
use kube::{Api, Client};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::credentials::{Proof, write_kubeconfig, write_private};
use super::{Cluster, Error, api_error, client, manifests};

/// The namespace the operator is installed in.
pub const NAMESPACE: &str = "slipway-system";
/// Its service account, and the name of its roles.
pub const SERVICE_ACCOUNT: &str = "slipway";

/// What the chart grants everywhere.
const CLUSTER_RULES: &str = include_str!("../../../../charts/slipway/files/cluster-rules.yaml");
/// What the chart grants in each namespace of migrations.
const NAMESPACE_RULES: &str = include_str!("../../../../charts/slipway/files/namespace-rules.yaml");

/// What the chart grants in the namespace it is installed in.
const LEASE_RULES: &str = include_str!("../../../../charts/slipway/files/lease-rules.yaml");

/// A token is asked for as long as a day's work in the sandbox.
const TOKEN_SECONDS: i64 = 24 * 60 * 60;

/// The identity, with a kubeconfig to run the operator with.
#[derive(Clone, Debug)]
pub struct OperatorIdentity {
    /// For `KUBECONFIG` of the operator's process. Its token is in a file beside it, which clients read again while they
    /// run.
    pub kubeconfig: PathBuf,
    token_file: PathBuf,
    admin_kubeconfig: PathBuf,
}

impl OperatorIdentity {
    /// Makes `slipway-system`, the service account, the chart's roles and bindings, a token and the kubeconfig, and
    /// returns when the rights are in force. `namespaces` are those that will hold migrations, as the chart's value of
    /// that name; they are made if they don't exist. Repeating it does no harm.
    pub async fn create(cluster: &Cluster, namespaces: &[&str]) -> Result<Self, Error> {
        let admin = cluster.client().await?;
        let cluster_rules = rules("cluster-rules.yaml", CLUSTER_RULES)?;
        let namespace_rules = rules("namespace-rules.yaml", NAMESPACE_RULES)?;
        let lease_rules = rules("lease-rules.yaml", LEASE_RULES)?;
        for object in chart_objects(namespaces)? {
            Box::pin(manifests::apply(&admin, &object.to_string())).await?;
        }
        let kubeconfig = cluster.directory.join("operator.kubeconfig");
        let token_file = cluster.directory.join("operator.token");
        let identity = Self {
            kubeconfig: kubeconfig.clone(),
            token_file: token_file.clone(),
            admin_kubeconfig: cluster.admin_kubeconfig.clone(),
        };
        identity.renew().await?;
        let proof = Proof::TokenFile(&token_file);
        write_kubeconfig(&kubeconfig, &cluster.server, &cluster.authority, "slipway", NAMESPACE, &proof)?;
        let own = identity.client().await?;
        wait_until_granted(&own, None, &cluster_rules).await?;
        wait_until_granted(&own, Some(NAMESPACE), &lease_rules).await?;
        for namespace in namespaces {
            wait_until_granted(&own, Some(namespace), &namespace_rules).await?;
        }
        Ok(identity)
    }

    /// A new client as the operator.
    pub async fn client(&self) -> Result<Client, Error> {
        client(&self.kubeconfig).await
    }

    /// Gets a new token and puts it where running clients will read it. Returns when it expires: a day from now.
    pub async fn renew(&self) -> Result<Timestamp, Error> {
        let what = || format!("get a token of service account {NAMESPACE}/{SERVICE_ACCOUNT}");
        let accounts: Api<ServiceAccount> = Api::namespaced(client(&self.admin_kubeconfig).await?, NAMESPACE);
        let spec =
            TokenRequestSpec { expiration_seconds: Some(TOKEN_SECONDS), ..TokenRequestSpec::default() };
        let request = TokenRequest { spec: Some(spec), ..TokenRequest::default() };
        let granted = accounts
            .create_token_request(SERVICE_ACCOUNT, &PostParams::default(), &request)
            .await
            .map_err(api_error(what))?;
        let Some((token, expires)) =
            granted.status.and_then(|status| Some((status.token?, status.expiration_timestamp?.0)))
        else {
            return Err(Error::Malformed {
                what: "the answer to a token request".to_owned(),
                reason: "it has no token".to_owned(),
            });
        };
        write_private(&self.token_file, &token)?;
        Ok(expires)
    }
}

/// What the chart's templates render to, for a release named `slipway` in `slipway-system`, and the namespaces.
pub(super) fn chart_objects(namespaces: &[&str]) -> Result<Vec<Value>, Error> {
    const RBAC: &str = "rbac.authorization.k8s.io";
    let cluster_rules = rules("cluster-rules.yaml", CLUSTER_RULES)?;
    let namespace_rules = rules("namespace-rules.yaml", NAMESPACE_RULES)?;
    let lease_rules = rules("lease-rules.yaml", LEASE_RULES)?;
    let lease_role = format!("{SERVICE_ACCOUNT}-lease");
    let version = format!("{RBAC}/v1");
    let binding = |kind: &str, role_kind: &str, role: &str, metadata: &Value| {
        json!({
            "apiVersion": version, "kind": kind, "metadata": metadata,
            "roleRef": { "apiGroup": RBAC, "kind": role_kind, "name": role },
            "subjects": [{ "kind": "ServiceAccount", "name": SERVICE_ACCOUNT, "namespace": NAMESPACE }],
        })
    };
    let namespace =
        |name: &str| json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": name } });
    let unscoped = json!({ "name": SERVICE_ACCOUNT });
    let of_lease = json!({ "name": lease_role, "namespace": NAMESPACE });
    let mut objects = vec![
        namespace(NAMESPACE),
        json!({
            "apiVersion": "v1", "kind": "ServiceAccount",
            "metadata": { "name": SERVICE_ACCOUNT, "namespace": NAMESPACE },
        }),
        json!({ "apiVersion": version, "kind": "ClusterRole", "metadata": unscoped, "rules": cluster_rules }),
        binding("ClusterRoleBinding", "ClusterRole", SERVICE_ACCOUNT, &unscoped),
        json!({ "apiVersion": version, "kind": "Role", "metadata": of_lease, "rules": lease_rules }),
        binding("RoleBinding", "Role", &lease_role, &of_lease),
    ];
    for name in namespaces {
        let metadata = json!({ "name": SERVICE_ACCOUNT, "namespace": name });
        objects.push(namespace(name));
        objects.push(json!({
            "apiVersion": version, "kind": "Role", "metadata": metadata, "rules": namespace_rules,
        }));
        objects.push(binding("RoleBinding", "Role", SERVICE_ACCOUNT, &metadata));
    }
    Ok(objects)
}

fn rules(file: &str, text: &str) -> Result<Vec<PolicyRule>, Error> {
    serde_saphyr::from_str(text)
        .map_err(|error| Error::Malformed { what: format!("the chart's {file}"), reason: error.to_string() })
}

/// A new role binding takes a moment to reach the API server's authorizer; until then the operator would be refused.
async fn wait_until_granted(
    own: &Client,
    namespace: Option<&str>,
    rules: &[PolicyRule],
) -> Result<(), Error> {
    let patience = Duration::from_mins(1);
    let reviews: Api<SelfSubjectAccessReview> = Api::all(own.clone());
    let begun = Instant::now();
    for attributes in rules.iter().flat_map(|rule| asked(namespace, rule)) {
        let spec = SelfSubjectAccessReviewSpec {
            resource_attributes: Some(attributes.clone()),
            ..SelfSubjectAccessReviewSpec::default()
        };
        let review = SelfSubjectAccessReview { spec, ..SelfSubjectAccessReview::default() };
        loop {
            let answer = reviews
                .create(&PostParams::default(), &review)
                .await
                .map_err(api_error(|| "ask for the operator's rights".to_owned()))?;
            if answer.status.is_some_and(|status| status.allowed) {
                break;
            }
            if begun.elapsed() > patience {
                return Err(Error::TimedOut {
                    what: format!("the operator's right to {attributes:?}"),
                    waited: patience,
                });
            }
            sleep(Duration::from_millis(50)).await;
        }
    }
    Ok(())
}

/// One question for each resource of a rule. All verbs of a rule come into force together.
fn asked(namespace: Option<&str>, rule: &PolicyRule) -> Vec<ResourceAttributes> {
    let groups = rule.api_groups.as_deref().unwrap_or_default();
    let resources = rule.resources.as_deref().unwrap_or_default();
    let pairs = groups.iter().flat_map(|group| resources.iter().map(move |resource| (group, resource)));
    pairs
        .map(|(group, resource)| {
            let (resource, subresource) = match resource.split_once('/') {
                Some((resource, subresource)) => (resource, Some(subresource.to_owned())),
                None => (resource.as_str(), None),
            };
            ResourceAttributes {
                group: Some(group.clone()),
                resource: Some(resource.to_owned()),
                name: rule.resource_names.as_ref().and_then(|names| names.first().cloned()),
                subresource,
                verb: rule.verbs.first().cloned(),
                namespace: namespace.map(ToOwned::to_owned),
                ..ResourceAttributes::default()
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    /// The whole of what is granted, so that no right is added in passing.
    #[test]
    fn the_chart_grants_this_and_nothing_else() {
        let granted = |file, text| -> Vec<String> {
            let mut granted = Vec::new();
            for rule in rules(file, text).unwrap() {
                assert!(rule.non_resource_urls.is_none(), "{rule:?}");
                for group in rule.api_groups.unwrap() {
                    for resource in rule.resources.as_deref().unwrap() {
                        let names = rule.resource_names.as_deref().unwrap_or_default().join(" ");
                        let of = if names.is_empty() { names } else { format!(" {names}") };
                        granted.push(format!("{group}/{resource}{of}: {}", rule.verbs.join(" ")));
                    }
                }
            }
            granted
        };
        assert_eq!(
            granted("cluster-rules.yaml", CLUSTER_RULES),
            [
                "slipway.dev/databasemigrations: get list watch patch",
                "slipway.dev/applicationmigrations: get list watch patch",
                "slipway.dev/databasemigrations/status: patch",
                "slipway.dev/applicationmigrations/status: patch",
                "/events: create patch",
                "events.k8s.io/events: create patch",
            ]
        );
        assert_eq!(granted("namespace-rules.yaml", NAMESPACE_RULES), ["/secrets: get", "/configmaps: get"]);
        assert_eq!(
            granted("lease-rules.yaml", LEASE_RULES),
            ["coordination.k8s.io/leases slipway: get update", "coordination.k8s.io/leases: create"]
        );
    }
}
