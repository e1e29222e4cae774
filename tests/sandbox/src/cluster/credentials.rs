//! The cluster's keys and certificates, made anew at each start, and kubeconfig files.

use std::fs::{self, OpenOptions, Permissions};
use std::io::Write;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use k8s_openapi::ByteString;
use serde_json::Value;

use super::{Error, io_error};
use crate::certificates::{Authority, Pair};

/// What the servers are told to use, as files below `pki/`.
pub(super) struct Credentials {
    /// Signs and checks the API server's certificate and every client's; PEM.
    pub(super) cluster_authority: String,
    /// The administrator's client certificate.
    pub(super) admin: Pair,
    directory: PathBuf,
}

impl Credentials {
    pub(super) fn create(directory: &Path) -> Result<Self, Error> {
        let pki = directory.join("pki");
        fs::create_dir_all(&pki)
            .and_then(|()| fs::set_permissions(&pki, Permissions::from_mode(0o700)))
            .map_err(io_error(|| format!("make {}", pki.display())))?;
        let loopback = ["127.0.0.1", "localhost"];
        let cluster = Authority::new("slipway-sandbox")?;
        // A second authority, or every client of the API server could read etcd past it.
        let store = Authority::new("slipway-sandbox-etcd")?;
        let credentials = Self {
            cluster_authority: cluster.pair().certificate.clone(),
            admin: cluster.issue("sandbox-admin", &["system:masters"], &[])?,
            directory: pki,
        };
        let pairs = [
            ("apiserver", cluster.issue("kube-apiserver", &[], &loopback)?),
            // Signs and checks service account tokens.
            ("service-account", cluster.issue("service-account", &[], &[])?),
            ("etcd", store.issue("etcd", &[], &loopback)?),
            ("etcd-client", store.issue("kube-apiserver", &[], &[])?),
        ];
        for (name, pair) in &pairs {
            write_private(&credentials.certificate(name), &pair.certificate)?;
            write_private(&credentials.key(name), &pair.key)?;
        }
        write_private(&credentials.certificate("authority"), &cluster.pair().certificate)?;
        write_private(&credentials.certificate("etcd-authority"), &store.pair().certificate)?;
        Ok(credentials)
    }

    pub(super) fn certificate(&self, name: &str) -> PathBuf {
        self.directory.join(format!("{name}.crt"))
    }

    pub(super) fn key(&self, name: &str) -> PathBuf {
        self.directory.join(format!("{name}.key"))
    }
}

/// How a kubeconfig's user proves who it is.
pub(super) enum Proof<'a> {
    Certificate(&'a Pair),
    /// Read again by clients while they run, so that a renewed token reaches them.
    TokenFile(&'a Path),
}

/// Writes a kubeconfig of one user and one cluster.
pub(super) fn write_kubeconfig(
    file: &Path,
    server: &str,
    authority: &str,
    user: &str,
    namespace: &str,
    proof: &Proof<'_>,
) -> Result<(), Error> {
    let proof = match proof {
        Proof::Certificate(pair) => serde_json::json!({
            "client-certificate-data": base64(&pair.certificate),
            "client-key-data": base64(&pair.key),
        }),
        Proof::TokenFile(token) => serde_json::json!({ "tokenFile": token }),
    };
    let document = serde_json::json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{
            "name": "sandbox",
            "cluster": { "server": server, "certificate-authority-data": base64(authority) },
        }],
        "users": [{ "name": user, "user": proof }],
        "contexts": [{ "name": "sandbox", "context": { "cluster": "sandbox", "user": user, "namespace": namespace } }],
        "current-context": "sandbox",
    });
    // JSON is YAML.
    write_private(file, &format!("{document:#}\n"))
}

/// Replaces a file at once, readable by this user only.
pub(super) fn write_private(file: &Path, content: &str) -> Result<(), Error> {
    let mut new = file.as_os_str().to_owned();
    new.push(".new");
    OpenOptions::new()
        .create(true)
        .write(true)
        .truncate(true)
        .mode(0o600)
        .open(&new)
        .and_then(|mut opened| opened.write_all(content.as_bytes()))
        .and_then(|()| fs::rename(&new, file))
        .map_err(io_error(|| format!("write {}", file.display())))
}

/// Kubernetes' own encoding of bytes in JSON.
fn base64(text: &str) -> Value {
    serde_json::json!(ByteString(text.as_bytes().to_vec()))
}
