//! Secrets and certificate authorities, read from the resource's own namespace by name: never listed, never from another
//! namespace.

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{ConfigMap, Secret as KubeSecret};
use kube::{Api, Client};
use sha2::{Digest, Sha256};

use crate::api::condition::Reason;
use crate::api::database::{CaKind, CaRef};
use crate::database::goal::{Goal, SideGoal};
use crate::database::seen::{Known, MaterialSeen};
use crate::fault::{Blocked, Fault};
use crate::hex::hex;
use crate::secret::Secret;
use crate::side::{Side, Sides};

/// What is needed to connect to one side.
#[derive(Clone, Debug)]
pub struct Material {
    /// The operator's login.
    pub operator: Login,
    /// The login that DMS uses.
    pub replication: Login,
    /// The certificate authorities to trust, PEM.
    pub ca_pem: String,
}

/// A role and its password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Login {
    /// The role.
    pub username: String,
    /// Its password.
    pub password: Secret,
    /// Which version of the Secret this is: uid and resourceVersion.
    pub version: String,
}

impl Material {
    /// What may be known of it outside.
    pub fn seen(&self) -> MaterialSeen {
        let digest = Sha256::digest(self.ca_pem.as_bytes());
        MaterialSeen {
            replication_username: self.replication.username.clone(),
            replication_version: self.replication.version.clone(),
            ca_fingerprint: hex(&digest[..4]),
        }
    }
}

/// Reads both sides' material.
pub async fn read(client: &Client, goal: &Goal) -> Sides<Known<Material>> {
    let namespace = &goal.migration.namespace;
    let (source, target) = futures::join!(
        read_side(client, namespace, Side::Source, &goal.sides.source),
        read_side(client, namespace, Side::Target, &goal.sides.target),
    );
    Sides { source, target }
}

async fn read_side(client: &Client, namespace: &str, side: Side, wish: &SideGoal) -> Known<Material> {
    let (operator, replication) = ("operatorCredentialsRef", "replicationCredentials.secretRef");
    let material = Material {
        operator: login(client, namespace, &wish.operator_secret, side, operator).await?,
        replication: login(client, namespace, &wish.replication_secret, side, replication).await?,
        ca_pem: authority(client, namespace, side, &wish.ca).await?,
    };
    match clash(side, wish, &material.operator.username, &material.replication.username) {
        None => Ok(material),
        Some(blocked) => Err(Fault::Blocked(blocked)),
    }
}

/// The fence keeps the application's roles out: a role that must get in can't be one of them. And what DMS may do, the
/// operator's role may not.
fn clash(side: Side, wish: &SideGoal, operator: &str, replication: &str) -> Option<Blocked> {
    let invalid = |wrong: String, remedy: &str| Some(Blocked::new(Reason::InvalidSpec, wrong, remedy));
    if operator == replication {
        return invalid(
            format!(
                "spec.{side}.operatorCredentialsRef and spec.{side}.replicationCredentials hold the same role {operator}"
            ),
            "Give the operator and DMS roles of their own, as examples/sql has them",
        );
    }
    let (role, field) =
        [(operator, "operatorCredentialsRef"), (replication, "replicationCredentials.secretRef")]
            .into_iter()
            .find(|(role, _)| wish.application_roles.iter().any(|listed| listed == role))?;
    invalid(
        format!(
            "spec.{side}.applicationRoles lists {role}, the role of spec.{side}.{field}, which the fence would keep out"
        ),
        "Take it off the list, or use another role for it, as examples/sql has them",
    )
}

/// What no server takes for a name or password. A line break at the end is what `echo` leaves.
fn unusable(key: &str, text: &str) -> Option<&'static str> {
    let most = if key == "username" { 63 } else { 1_024 };
    if text.ends_with(['\n', '\r']) {
        Some("ends with a line break. Write it without one, with printf instead of echo for one")
    } else if text.chars().any(char::is_control) {
        Some("holds a control character. Write it without one")
    } else if text.len() > most {
        Some("is longer than PostgreSQL takes (63 bytes for a name, 1,024 for a password). Make it shorter")
    } else {
        None
    }
}

async fn login(client: &Client, namespace: &str, name: &str, side: Side, field: &str) -> Known<Login> {
    let field = format!("spec.{side}.{field}");
    let secret = Api::<KubeSecret>::namespaced(client.clone(), namespace)
        .get_opt(name)
        .await
        .map_err(|error| unreadable(&field, "Secret", name, &error))?
        .ok_or_else(|| missing(&field, "Secret", name, namespace, "type kubernetes.io/basic-auth"))?;
    let value = |key: &str| {
        let text = secret
            .data
            .as_ref()
            .and_then(|data| data.get(key))
            .and_then(|ByteString(bytes)| String::from_utf8(bytes.clone()).ok())
            .filter(|text| !text.is_empty())
            .ok_or_else(|| key_missing(&field, "Secret", name, key))?;
        match unusable(key, &text) {
            None => Ok(text),
            Some(why) => Err(Fault::Blocked(Blocked {
                reason: Reason::SecretKeyMissing,
                message: format!("{field}: the value under the key {key} of Secret {name} {why}"),
            })),
        }
    };
    Ok(Login {
        username: value("username")?,
        password: Secret::new(value("password")?),
        version: format!(
            "{}/{}",
            secret.metadata.uid.as_deref().unwrap_or_default(),
            secret.metadata.resource_version.as_deref().unwrap_or_default()
        ),
    })
}

async fn authority(client: &Client, namespace: &str, side: Side, reference: &CaRef) -> Known<String> {
    let field = format!("spec.{side}.tls.caRef");
    let (kind, found) = match reference.kind {
        CaKind::ConfigMap => (
            "ConfigMap",
            Api::<ConfigMap>::namespaced(client.clone(), namespace)
                .get_opt(&reference.name)
                .await
                .map_err(|error| unreadable(&field, "ConfigMap", &reference.name, &error))?
                .map(|map| map.data.and_then(|mut data| data.remove(&reference.key))),
        ),
        CaKind::Secret => (
            "Secret",
            Api::<KubeSecret>::namespaced(client.clone(), namespace)
                .get_opt(&reference.name)
                .await
                .map_err(|error| unreadable(&field, "Secret", &reference.name, &error))?
                .map(|secret| {
                    secret
                        .data
                        .and_then(|mut data| data.remove(&reference.key))
                        .and_then(|ByteString(bytes)| String::from_utf8(bytes).ok())
                }),
        ),
    };
    let text = found
        .ok_or_else(|| missing(&field, kind, &reference.name, namespace, "holding the PEM text"))?
        .ok_or_else(|| key_missing(&field, kind, &reference.name, &reference.key))?;
    if text.contains("-----BEGIN CERTIFICATE-----") {
        Ok(text)
    } else {
        Err(Fault::blocked(
            Reason::CertificateAuthorityInvalid,
            format_args!(
                "{field}: key {} of {kind} {} holds no PEM certificate",
                reference.key, reference.name
            ),
            "Put the certificate authority there, beginning with -----BEGIN CERTIFICATE-----",
        ))
    }
}

fn missing(field: &str, kind: &str, name: &str, namespace: &str, what: &str) -> Fault {
    Fault::blocked(
        Reason::SecretMissing,
        format_args!("{field}: there is no {kind} {name} in namespace {namespace}"),
        format_args!("Create it ({what}), or correct the name"),
    )
}

fn key_missing(field: &str, kind: &str, name: &str, key: &str) -> Fault {
    Fault::blocked(
        Reason::SecretKeyMissing,
        format_args!("{field}: {kind} {name} has no readable value under the key {key}"),
        format_args!("Add the key {key}"),
    )
}

fn unreadable(field: &str, kind: &str, name: &str, error: &kube::Error) -> Fault {
    match error {
        kube::Error::Api(status) if status.is_forbidden() => Fault::blocked(
            Reason::AccessDenied,
            format_args!("{field}: the operator may not get {kind} {name}"),
            "Add this namespace to the chart's value `namespaces`, which grants it get on Secrets and ConfigMaps there",
        ),
        kube::Error::Api(status) => Fault::Again(format!(
            "{field}: getting {kind} {name} failed: {} ({})",
            status.reason, status.code
        )),
        _ => Fault::Again(format!("{field}: getting {kind} {name} failed: the API server did not answer")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_that_no_server_takes_are_told_of_without_showing_them() {
        for (key, text, words) in [
            ("password", "hunter2\n".to_owned(), "line break"),
            ("username", "slipway\r\n".to_owned(), "line break"),
            ("password", "hun\0ter2".to_owned(), "control character"),
            ("username", "u".repeat(64), "longer"),
            ("password", "hunter2".repeat(200), "longer"),
        ] {
            let why = unusable(key, &text).unwrap_or_default();
            assert!(why.contains(words) && why.contains(". ") && !why.contains("hunter2"), "{text:?}: {why}");
        }
        assert_eq!(unusable("password", "pä$$ word';--"), None);
    }
}
