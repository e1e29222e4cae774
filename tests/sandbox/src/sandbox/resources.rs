//! What a user applies: the CRDs of the repository and its example.

use std::fs;
use std::path::{Path, PathBuf};

use kube::api::{ApiResource, DynamicObject, GroupVersionKind};
use kube::{Api, Client};
use serde_json::{Value, json};

use super::{Environment, Error, SOURCE_ADDRESS};
use crate::cluster::manifests;

/// The example's resource, as applied.
#[derive(Clone, Debug)]
pub struct Example {
    /// Its name.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// What differs from the file, as `source.endpoint.port: 15001`.
    pub replaced: Vec<String>,
}

/// Migrations of a namespace, as any client sees them.
pub fn migrations(client: Client, namespace: &str) -> Api<DynamicObject> {
    let kind = GroupVersionKind::gvk("slipway.dev", "v1alpha1", "DatabaseMigration");
    let resource = ApiResource::from_gvk_with_plural(&kind, "databasemigrations");
    Api::namespaced_with(client, namespace, &resource)
}

/// Applications' migrations of a namespace, as any client sees them.
pub fn applications(client: Client, namespace: &str) -> Api<DynamicObject> {
    let kind = GroupVersionKind::gvk("slipway.dev", "v1alpha1", "ApplicationMigration");
    let resource = ApiResource::from_gvk_with_plural(&kind, "applicationmigrations");
    Api::namespaced_with(client, namespace, &resource)
}

/// `examples/application-migration.yaml` at goal Stage, with this sandbox's places, these steps, and gates that need no
/// minutes; and what of it was replaced.
pub fn application_example(environment: &Environment, steps: &Value) -> Result<(Value, Vec<String>), Error> {
    let file = repository("examples/application-migration.yaml");
    let [mut migration] = <[Value; 1]>::try_from(documents(&file)?).map_err(|all| Error::Malformed {
        what: file.display().to_string(),
        reason: format!("it holds {} documents, one was expected", all.len()),
    })?;
    let text = |name: &str| environment.get(name).map(ToOwned::to_owned);
    let port = text("LOAD_BALANCER_ADDRESS")?.rsplit(':').next().and_then(|port| port.parse::<u16>().ok());
    let health = json!({"protocol": "HTTP", "port": port, "path": "/healthz"});
    let gates = json!([
        {"name": "healthy", "interval": "1s", "http": {"side": "Target", "path": "/healthz"}},
        {"name": "lag", "interval": "5s", "databaseLag": {"max": "30s"}},
        {"name": "accounts", "interval": "5s",
         "sql": {"query": "SELECT count(*) > 0 FROM public.accounts", "expect": "true"}},
    ]);
    let mut replaced = Vec::new();
    for (path, value) in [
        ("goal", json!("Stage")),
        ("source.ipv4Addresses", json!([SOURCE_ADDRESS.to_string()])),
        ("source.healthCheck", health),
        ("target.loadBalancerARN", json!(text("LOAD_BALANCER_ARN")?)),
        ("target.targetGroupARN", json!(text("TARGET_GROUP_ARN")?)),
        ("target.ecsService", json!({"cluster": text("ECS_CLUSTER")?, "service": text("ECS_SERVICE")?})),
        ("traffic.route53.zoneID", json!(text("ZONE_ID")?)),
        ("traffic.steps", steps.clone()),
        ("gates", gates),
    ] {
        replace(&mut migration, &mut replaced, path, value);
    }
    Ok((migration, replaced))
}

/// Applies every file of the repository's `crds/`, and returns their names when the API server serves them.
pub async fn install_crds(client: &Client) -> Result<Vec<String>, Error> {
    let folder = repository("crds");
    let entries = fs::read_dir(&folder).map_err(Error::io(format!("list {}", folder.display())))?;
    let mut files: Vec<PathBuf> = entries
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "yaml"))
        .collect();
    files.sort();
    let mut names = Vec::new();
    for file in files {
        let applied = Box::pin(manifests::apply(client, &text(&file)?)).await?;
        names.extend(applied.into_iter().filter_map(|object| object.metadata.name));
    }
    if names.is_empty() {
        return Err(Error::Malformed {
            what: folder.display().to_string(),
            reason: "it has no CRD: make them with `cargo run -- crds --write crds`".to_owned(),
        });
    }
    Ok(names)
}

/// Applies `examples/secrets.yaml` with this sandbox's passwords and authority, and `examples/database-migration.yaml`
/// with the source's address, in `default`. Another goal than the example's may be asked for. Nothing else is changed.
pub async fn apply_example(
    client: &Client,
    environment: &Environment,
    goal: Option<&str>,
) -> Result<Example, Error> {
    Box::pin(apply_secrets(client, environment)).await?;
    let (mut migration, mut replaced) = example(environment)?;
    if let Some(goal) = goal {
        replace(&mut migration, &mut replaced, "goal", json!(goal));
    }
    Box::pin(manifests::apply(client, &migration.to_string())).await?;
    let word = |pointer: &str, default: &str| {
        migration.pointer(pointer).and_then(Value::as_str).unwrap_or(default).to_owned()
    };
    Ok(Example {
        name: word("/metadata/name", ""),
        namespace: word("/metadata/namespace", "default"),
        replaced,
    })
}

/// Applies `examples/secrets.yaml` with this sandbox's passwords and authority, in `default`.
pub async fn apply_secrets(client: &Client, environment: &Environment) -> Result<(), Error> {
    for mut object in documents(&repository("examples/secrets.yaml"))? {
        fill(&mut object, environment)?;
        Box::pin(manifests::apply(client, &object.to_string())).await?;
    }
    Ok(())
}

/// `examples/database-migration.yaml` with the source's address, and what of it was replaced.
pub fn example(environment: &Environment) -> Result<(Value, Vec<String>), Error> {
    let file = repository("examples/database-migration.yaml");
    let [mut migration] = <[Value; 1]>::try_from(documents(&file)?).map_err(|all| Error::Malformed {
        what: file.display().to_string(),
        reason: format!("it holds {} documents, one was expected", all.len()),
    })?;
    let source = environment.login("SOURCE_APP_DSN")?;
    let mut replaced = Vec::new();
    replace(&mut migration, &mut replaced, "source.endpoint.host", json!(source.host));
    replace(&mut migration, &mut replaced, "source.endpoint.port", json!(source.port));
    Ok((migration, replaced))
}

fn replace(migration: &mut Value, replaced: &mut Vec<String>, path: &str, value: Value) {
    let pointer = format!("/spec/{}", path.replace('.', "/"));
    let (parent, key) = pointer.rsplit_once('/').unwrap_or_default();
    if let Some(parent) = migration.pointer_mut(parent)
        && parent[key] != value
    {
        let shown = value.as_str().map_or_else(|| value.to_string(), ToOwned::to_owned);
        replaced.push(format!("{path}: {shown}"));
        parent[key] = value;
    }
}

/// Puts a password or certificate where the example has a placeholder.
fn fill(object: &mut Value, environment: &Environment) -> Result<(), Error> {
    let name = object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    let dsn = match name.as_str() {
        "source-operator" => "SOURCE_OPERATOR_DSN",
        "source-dms" => "SOURCE_DMS_DSN",
        "target-operator" => "TARGET_OPERATOR_DSN",
        "target-dms" => "TARGET_DMS_DSN",
        "onprem-ca" => "SOURCE_DSN",
        "rds-ca" => "TARGET_DSN",
        other => {
            return Err(Error::Malformed {
                what: "examples/secrets.yaml".to_owned(),
                reason: format!("the sandbox has nothing to fill {other:?} with"),
            });
        }
    };
    let login = environment.login(dsn)?;
    if object["kind"] == "Secret" {
        object["stringData"]["password"] = json!(login.password);
    } else {
        object["data"]["ca.crt"] = json!(login.ca);
    }
    Ok(())
}

fn documents(file: &Path) -> Result<Vec<Value>, Error> {
    serde_saphyr::from_multiple(&text(file)?)
        .map_err(|error| Error::Malformed { what: file.display().to_string(), reason: error.to_string() })
}

fn text(file: &Path) -> Result<String, Error> {
    fs::read_to_string(file).map_err(Error::io(format!("read {}", file.display())))
}

/// A path of the repository that this program was built from.
fn repository(path: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2);
    root.unwrap_or(Path::new(env!("CARGO_MANIFEST_DIR"))).join(path)
}
