//! Starting etcd and kube-apiserver, and knowing when they serve.

use std::fs;
use std::io::{self, ErrorKind};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::time::Duration;

use axum::http::Request;
use k8s_openapi::api::core::v1::Namespace;
use kube::{Api, Client};
use tokio::time::{Instant, sleep};

use super::binaries::Binaries;
use super::credentials::{Credentials, Proof, write_kubeconfig};
use super::{Error, config, io_error};
use crate::process::{self, Running, Spec};

/// How long a start may take on a machine that is busy with other things.
const PATIENCE: Duration = Duration::from_mins(3);

/// Writes, once each, when they are answered. The API server's own housekeeping is nobody's business.
const AUDIT_POLICY: &str = "\
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- level: None
  users: ['system:apiserver']
- level: Metadata
  verbs: [create, update, patch, delete, deletecollection]
- level: None
";

/// Both servers, ready.
pub(super) struct Servers {
    pub(super) url: String,
    pub(super) admin_kubeconfig: PathBuf,
    pub(super) audit_log: PathBuf,
    pub(super) etcd: Running,
    pub(super) apiserver: Running,
}

struct Ports {
    clients: u16,
    peers: u16,
    api: u16,
}

/// A free port can be taken by somebody else between being found and being used; then other ports are tried.
pub(super) async fn start(
    binaries: &Binaries,
    credentials: &Credentials,
    directory: &Path,
) -> Result<Servers, Error> {
    let mut attempts = 1;
    loop {
        let servers = launch(binaries, credentials, directory)?;
        match wait_until_ready(&servers).await {
            Ok(()) => return Ok(servers),
            Err(Error::NotReady(why)) if attempts < 3 && why.contains("address already in use") => {
                attempts += 1;
            }
            Err(error) => return Err(error),
        }
        servers.apiserver.stop(Duration::ZERO).await?;
        servers.etcd.stop(Duration::ZERO).await?;
    }
}

fn launch(binaries: &Binaries, credentials: &Credentials, directory: &Path) -> Result<Servers, Error> {
    let ports = free_ports().map_err(io_error(|| "find free ports on 127.0.0.1".to_owned()))?;
    let audit_log = directory.join("audit.log");
    let policy = directory.join("audit-policy.yaml");
    let data = directory.join("etcd");
    remove(&data, fs::remove_dir_all)?;
    // A log's end explains a failed start, so an earlier start must not be in it.
    for log in [&audit_log, &directory.join("etcd.log"), &directory.join("kube-apiserver.log")] {
        remove(log, fs::remove_file)?;
    }
    fs::write(&policy, AUDIT_POLICY).map_err(io_error(|| format!("write {}", policy.display())))?;
    let spec = |program: &Path, args: Vec<String>, log: &str| Spec {
        program: program.to_owned(),
        args,
        envs: Vec::new(),
        user: None,
        log: directory.join(log),
    };
    let etcd = process::start(&spec(&binaries.etcd, etcd_flags(credentials, &data, &ports), "etcd.log"))?;
    let flags = apiserver_flags(credentials, &policy, &audit_log, &ports);
    let apiserver = process::start(&spec(&binaries.kube_apiserver, flags, "kube-apiserver.log"))?;
    let url = format!("https://127.0.0.1:{}", ports.api);
    let admin_kubeconfig = directory.join("admin.kubeconfig");
    let proof = Proof::Certificate(&credentials.admin);
    let authority = &credentials.cluster_authority;
    write_kubeconfig(&admin_kubeconfig, &url, authority, "admin", "default", &proof)?;
    Ok(Servers { url, admin_kubeconfig, audit_log, etcd, apiserver })
}

fn etcd_flags(credentials: &Credentials, data: &Path, ports: &Ports) -> Vec<String> {
    let clients = format!("https://127.0.0.1:{}", ports.clients);
    let peers = format!("https://127.0.0.1:{}", ports.peers);
    let (certificate, key) = (credentials.certificate("etcd"), credentials.key("etcd"));
    let authority = credentials.certificate("etcd-authority");
    vec![
        "--name=sandbox".to_owned(),
        format!("--data-dir={}", data.display()),
        format!("--listen-client-urls={clients}"),
        format!("--advertise-client-urls={clients}"),
        format!("--listen-peer-urls={peers}"),
        format!("--initial-advertise-peer-urls={peers}"),
        format!("--initial-cluster=sandbox={peers}"),
        format!("--cert-file={}", certificate.display()),
        format!("--key-file={}", key.display()),
        format!("--trusted-ca-file={}", authority.display()),
        "--client-cert-auth=true".to_owned(),
        format!("--peer-cert-file={}", certificate.display()),
        format!("--peer-key-file={}", key.display()),
        format!("--peer-trusted-ca-file={}", authority.display()),
        "--peer-client-cert-auth=true".to_owned(),
        // The data is gone with the sandbox; waiting for the disk would only make it slow.
        "--unsafe-no-fsync=true".to_owned(),
    ]
}

fn apiserver_flags(credentials: &Credentials, policy: &Path, audit_log: &Path, ports: &Ports) -> Vec<String> {
    let certificate = |name| credentials.certificate(name).display().to_string();
    let key = |name| credentials.key(name).display().to_string();
    vec![
        format!("--etcd-servers=https://127.0.0.1:{}", ports.clients),
        format!("--etcd-cafile={}", certificate("etcd-authority")),
        format!("--etcd-certfile={}", certificate("etcd-client")),
        format!("--etcd-keyfile={}", key("etcd-client")),
        "--bind-address=127.0.0.1".to_owned(),
        "--advertise-address=127.0.0.1".to_owned(),
        format!("--secure-port={}", ports.api),
        format!("--tls-cert-file={}", certificate("apiserver")),
        format!("--tls-private-key-file={}", key("apiserver")),
        format!("--client-ca-file={}", certificate("authority")),
        "--anonymous-auth=false".to_owned(),
        "--authorization-mode=RBAC".to_owned(),
        "--service-account-issuer=https://kubernetes.default.svc".to_owned(),
        format!("--service-account-key-file={}", certificate("service-account")),
        format!("--service-account-signing-key-file={}", key("service-account")),
        // It wants a service account in every namespace, and nobody here makes any.
        "--disable-admission-plugins=ServiceAccount".to_owned(),
        "--service-cluster-ip-range=10.0.0.0/24".to_owned(),
        // It would publish the advertised address, and may not publish a loopback one.
        "--endpoint-reconciler-type=none".to_owned(),
        format!("--audit-policy-file={}", policy.display()),
        format!("--audit-log-path={}", audit_log.display()),
        // A write is in the log before its answer is sent.
        "--audit-log-mode=blocking".to_owned(),
        "--profiling=false".to_owned(),
    ]
}

async fn wait_until_ready(servers: &Servers) -> Result<(), Error> {
    let mut config = config(&servers.admin_kubeconfig).await?;
    // This loop is the retry.
    config.default_retry = false;
    config.connect_timeout = Some(Duration::from_secs(5));
    config.read_timeout = Some(Duration::from_secs(10));
    let client = Client::try_from(config)
        .map_err(super::api_error(|| format!("make a client from {}", servers.admin_kubeconfig.display())))?;
    let begun = Instant::now();
    loop {
        for server in [&servers.etcd, &servers.apiserver] {
            if !server.is_running() {
                return Err(Error::NotReady(server.describe()));
            }
        }
        let why = match ready(&client).await {
            Ok(()) => return Ok(()),
            Err(why) => why,
        };
        if begun.elapsed() > PATIENCE {
            return Err(Error::NotReady(format!(
                "waited {PATIENCE:?}, the last answer: {why}\n{}\n{}",
                servers.apiserver.describe(),
                servers.etcd.describe()
            )));
        }
        sleep(Duration::from_millis(50)).await;
    }
}

/// Ready, and the namespaces that everybody takes for granted are made: the server makes them after it is ready.
async fn ready(client: &Client) -> Result<(), kube::Error> {
    let readiness = Request::get("/readyz").body(Vec::new()).map_err(kube::Error::HttpError)?;
    client.request_text(readiness).await?;
    let namespaces: Api<Namespace> = Api::all(client.clone());
    namespaces.get("default").await?;
    namespaces.get("kube-system").await?;
    Ok(())
}

/// All are held until all are found, so that they differ.
fn free_ports() -> io::Result<Ports> {
    let listen = || TcpListener::bind(("127.0.0.1", 0));
    let (clients, peers, api) = (listen()?, listen()?, listen()?);
    let port = |listener: &TcpListener| listener.local_addr().map(|address| address.port());
    Ok(Ports { clients: port(&clients)?, peers: port(&peers)?, api: port(&api)? })
}

fn remove(path: &Path, remove: impl FnOnce(PathBuf) -> io::Result<()>) -> Result<(), Error> {
    match remove(path.to_owned()) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(io_error(|| format!("remove {}", path.display()))(error))
        }
        _ => Ok(()),
    }
}
