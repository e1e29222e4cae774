//! What is handed to the control cluster: the two resources of this environment, the secrets that they name, and the chart's
//! values. `pulumi stack output manifests --json` is what `kubectl apply -f -` takes, once a person has read it.
//!
//! Both resources say `Plan`: nothing is touched before a person changes that line.

use std::collections::BTreeMap;

use serde_json::{Value as Json, json};

use crate::application::Application;
use crate::config::Config;
use crate::control::OPERATOR;
use crate::database::Database;
use crate::migration::Migration;
use crate::observability::Observability;
use crate::pulumi::{Context, Node, Output, Value};
use crate::traffic::Traffic;

/// What both resources are called, and the role by which the application writes.
const NAME: &str = "application";
/// Kubernetes secrets of type `kubernetes.io/basic-auth` that the migration names, and whose login each is.
const LOGINS: [(&str, &str); 4] = [
    ("source-operator", "Slipway's login on the source"),
    ("source-dms", "DMS's login on the source"),
    ("target-operator", "Slipway's login on the target"),
    ("target-dms", "DMS's login on the target"),
];
/// ConfigMaps with the authorities of both servers, under the key `ca.crt`.
const AUTHORITIES: [(&str, &str); 2] = [
    ("onprem-ca", "the authority that signed the source server's certificate"),
    ("rds-ca", "the authorities of RDS in the region"),
];

/// What has been made, as far as manifests name it.
pub struct Made<'a> {
    /// The database.
    pub database: &'a Database,
    /// The replication instance.
    pub migration: &'a Migration,
    /// The application.
    pub application: &'a Application,
    /// The zones.
    pub traffic: &'a Traffic,
    /// Who is told.
    pub observability: &'a Observability,
}

/// Adds the outputs.
pub fn export(context: &Context, config: &Config, account: &Output<String>, made: &Made) {
    let mut items: Vec<Node> = vec![resource("DatabaseMigration", config, database(config, made))];
    if let Some(spec) = application(config, made) {
        items.push(resource("ApplicationMigration", config, spec));
    }
    context.export(
        "manifests",
        fields([("apiVersion", "v1".into()), ("kind", "List".into()), ("items", Node::List(items))]),
    );
    context.export("manifestSecrets", of_json(&secrets(config)));
    context.export(
        "chartValues",
        of_json(&json!({
            "namespaces": [config.control.namespace],
            // The role comes by Pod Identity, which knows the account by namespace and name.
            "serviceAccount": { "name": OPERATOR.1, "annotations": {} },
        })),
    );
    context.export(
        "accounts",
        fields([(
            "namespaces",
            fields([(
                config.control.namespace.as_str(),
                fields([("accountID", account.into()), ("region", config.region.as_str().into())]),
            )]),
        )]),
    );
}

fn resource(kind: &str, config: &Config, spec: Node) -> Node {
    let metadata = json!({ "name": NAME, "namespace": config.control.namespace });
    fields([
        ("apiVersion", "slipway.dev/v1alpha1".into()),
        ("kind", kind.into()),
        ("metadata", of_json(&metadata)),
        ("spec", spec),
    ])
}

fn database(config: &Config, made: &Made) -> Node {
    let side = |operator: &str, dms: &str, authority: &str| {
        json!({
            "tls": { "caRef": { "kind": "ConfigMap", "name": authority, "key": "ca.crt" } },
            "operatorCredentialsRef": { "name": operator },
            "replicationCredentials": { "secretRef": { "name": dms } },
            "applicationRoles": [NAME],
        })
    };
    let mut source = side("source-operator", "source-dms", "onprem-ca");
    source["endpoint"] =
        json!({ "host": config.source_host(), "port": 5432, "database": config.database.name });
    let mut target = side("target-operator", "target-dms", "rds-ca");
    target["database"] = json!(config.database.name);
    let mut target = of_json(&target);
    if let Node::Map(fields) = &mut target {
        fields.insert("rdsInstanceIdentifier".to_owned(), made.database.instance.identifier().into());
    }
    fields([
        ("goal", "Plan".into()),
        ("environmentSuffix", config.suffix.as_str().into()),
        ("source", of_json(&source)),
        ("target", target),
        ("tables", of_json(&json!({ "include": [{ "schema": "public" }] }))),
        (
            "replication",
            fields([(
                "instance",
                fields([("arn", made.migration.instance.replication_instance_arn().into())]),
            )]),
        ),
        ("cutover", of_json(&json!({ "connection": { "multiHost": {} } }))),
        ("alarms", fields([("snsTopicARN", made.observability.topic.arn().into())])),
    ])
}

/// Only once there is a service to shift to.
fn application(config: &Config, made: &Made) -> Option<Node> {
    let service = made.application.service.as_ref()?;
    let addresses: Vec<String> = config.traffic.source_addresses.iter().map(ToString::to_string).collect();
    let source = json!({
        "ipv4Addresses": addresses,
        "healthCheck": { "path": config.application.health_path },
    });
    let steps = json!([
        { "weight": 1, "hold": "30m" },
        { "weight": 10, "hold": "1h" },
        { "weight": 50, "hold": "4h" },
        { "weight": 100, "hold": "24h" },
    ]);
    let ecs =
        fields([("cluster", made.application.cluster.name().into()), ("service", service.name().into())]);
    let route53 = fields([
        ("zoneID", made.traffic.public.zone_id().into()),
        ("name", config.traffic.domain.as_str().into()),
    ]);
    Some(fields([
        ("goal", "Plan".into()),
        ("environmentSuffix", config.suffix.as_str().into()),
        ("database", of_json(&json!({ "type": "Migration", "migrationRef": { "name": NAME } }))),
        ("source", of_json(&source)),
        (
            "target",
            fields([
                ("loadBalancerARN", made.application.balancer.arn().into()),
                ("targetGroupARN", made.application.targets.arn().into()),
                ("ecsService", ecs),
            ]),
        ),
        ("traffic", fields([("route53", route53), ("maxWeight", 0_i64.into()), ("steps", of_json(&steps))])),
    ]))
}

/// What must be there before, by name; a value is never in an output.
fn secrets(config: &Config) -> Json {
    let item = |kind: &str, name: &str, keys: &[&str], what: &str| {
        json!({
            "kind": kind, "namespace": config.control.namespace, "name": name, "keys": keys, "what": what,
        })
    };
    let logins = LOGINS.iter().map(|(name, what)| item("Secret", name, &["username", "password"], what));
    let authorities = AUTHORITIES.iter().map(|(name, what)| item("ConfigMap", name, &["ca.crt"], what));
    logins.chain(authorities).collect()
}

fn fields<const N: usize>(fields: [(&str, Node); N]) -> Node {
    Node::Map(fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
}

fn of_json(value: &Json) -> Node {
    fn plain(value: &Json) -> Value {
        match value {
            Json::Null => Value::Null,
            Json::Bool(it) => Value::Bool(*it),
            Json::Number(it) => Value::Number(it.as_f64().unwrap_or_default()),
            Json::String(it) => Value::Text(it.clone()),
            Json::Array(it) => Value::List(it.iter().map(plain).collect()),
            Json::Object(it) => {
                Value::Map(it.iter().map(|(name, it)| (name.clone(), plain(it))).collect::<BTreeMap<_, _>>())
            }
        }
    }
    // An object stays open for what is not known yet.
    match plain(value) {
        Value::Map(fields) => {
            Node::Map(fields.into_iter().map(|(name, it)| (name, Node::Value(it))).collect())
        }
        other => Node::Value(other),
    }
}
