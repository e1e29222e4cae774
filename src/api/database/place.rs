//! Where a database listens, and what is needed to get in.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::api::form;

/// Where the source listens.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SourceEndpoint {
    /// Host name or address. May change after a failover; the operator refuses a server with another system identifier.
    #[schemars(length(min = 1, max = 253), regex(pattern = form::HOST))]
    #[x_kube(validation = form::decimal())]
    #[x_kube(validation = form::beyond_this_machine())]
    #[x_kube(validation = form::beyond_this_cluster())]
    pub host: String,
    /// TCP port.
    #[serde(default = "postgres_port")]
    #[schemars(range(min = 1, max = 65535), extend("format" = "int32"))]
    pub port: u16,
    /// Name of the database.
    #[schemars(length(min = 1, max = 63), regex(pattern = form::TEXT))]
    pub database: String,
}

/// A host and a port.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HostPort {
    /// Host name or address.
    #[schemars(length(min = 1, max = 253), regex(pattern = form::HOST))]
    #[x_kube(validation = form::decimal())]
    #[x_kube(validation = form::beyond_this_machine())]
    #[x_kube(validation = form::beyond_this_cluster())]
    pub host: String,
    /// TCP port.
    #[serde(default = "postgres_port")]
    #[schemars(range(min = 1, max = 65535), extend("format" = "int32"))]
    pub port: u16,
}

fn postgres_port() -> u16 {
    5432
}

/// How a server's certificate is checked. There is no way to switch the check off.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Tls {
    /// `VerifyFull` checks the chain and the host name; `VerifyCA` the chain only, for a server known by several names.
    #[serde(default)]
    pub mode: TlsMode,
    /// The certificate authorities to trust, PEM, in a `ConfigMap` or Secret of this namespace.
    pub ca_ref: CaRef,
}

/// What is checked of a certificate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum TlsMode {
    /// Chain and host name.
    #[default]
    VerifyFull,
    /// Chain only.
    VerifyCA,
}

/// A key of a `ConfigMap` or Secret of the resource's own namespace.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CaRef {
    /// `ConfigMap` or Secret.
    pub kind: CaKind,
    /// Its name.
    #[schemars(length(min = 1, max = 253), regex(pattern = form::OBJECT_NAME))]
    pub name: String,
    /// The key that holds the PEM text.
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[A-Za-z0-9._-]+$"))]
    pub key: String,
}

/// Where a certificate authority is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum CaKind {
    /// In a `ConfigMap`.
    ConfigMap,
    /// In a Secret.
    Secret,
}

/// A Secret of the resource's own namespace.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SecretRef {
    /// Its name.
    #[schemars(length(min = 1, max = 253), regex(pattern = form::OBJECT_NAME))]
    pub name: String,
}

/// The role that DMS logs in as.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ReplicationCredentials {
    /// A kubernetes.io/basic-auth Secret of this namespace (keys username, password); the operator hands it to DMS.
    pub secret_ref: SecretRef,
}
