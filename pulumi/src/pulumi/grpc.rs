//! The engine as it is: gRPC on loopback, in the clear, as Pulumi speaks it.

use std::collections::BTreeMap;

use futures::FutureExt;
use futures::future::BoxFuture;
use prost_types::value::Kind;
use prost_types::{ListValue, Struct};
use pulumi_gestalt_proto::pulumi::pulumirpc as rpc;
use rpc::engine_client::EngineClient;
use rpc::resource_monitor_client::ResourceMonitorClient;
use tonic::Code;
use tonic::transport::{Channel, Endpoint};

use super::monitor::{Invocation, Level, Monitor, Registered, Registration};
use super::resource::Alias;
use super::value::Value;

/// What marks an object that stands for something else, and the mark of a secret.
const SPECIAL: &str = "4dabf18193072939515e22adb298388d";
const SECRET: &str = "1b47061264138c4ac30d75fd1eb44270";
/// What stands for an unknown string, bool, number, list, asset, archive, object; any is sent for all.
const UNKNOWN: [&str; 7] = [
    "04da6b54-80e4-46f7-96ec-b56ff0331ba9",
    "1c4a061d-8072-4f0a-a4cb-0ff528b18fe7",
    "3eeb2bf0-c639-47a8-9e75-3b44932eb421",
    "6a19a0b0-7e62-4c92-b797-7f8e31da9cc2",
    "030794c1-ac77-496b-92df-f27374a8bd58",
    "e48ece36-62e2-4504-bad9-02848725956a",
    "dd056dcd-154b-4c76-9bd3-c8f88648b5ff",
];
/// A stack's state may be large; tonic's own limit is 4 MiB.
const MESSAGE_BYTES: usize = 64 << 20;

/// The connection to the engine.
pub struct Engine {
    monitor: ResourceMonitorClient<Channel>,
    log: Option<EngineClient<Channel>>,
}

impl Engine {
    /// Connects, and refuses an engine that would keep secrets in the clear.
    pub async fn connect(monitor: &str, engine: &str) -> Result<Self, String> {
        let mut monitor_client =
            ResourceMonitorClient::new(channel(monitor).await?).max_decoding_message_size(MESSAGE_BYTES);
        let log = if engine.is_empty() { None } else { Some(EngineClient::new(channel(engine).await?)) };
        let ask = rpc::SupportsFeatureRequest { id: "secrets".to_owned() };
        let secrets = monitor_client.supports_feature(ask).await;
        if !secrets
            .map_err(|it| format!("asking the engine at {monitor} what it can: {}", why(&it)))?
            .into_inner()
            .has_support
        {
            return Err(format!(
                "the engine at {monitor} keeps no secrets, so the database's password would be in its state in clear text. Use a current Pulumi"
            ));
        }
        Ok(Self { monitor: monitor_client, log })
    }
}

async fn channel(address: &str) -> Result<Channel, String> {
    let wrong = |it: tonic::transport::Error| {
        format!(
            "connecting to the engine at {address}: {it}. Pulumi starts this program: run `pulumi up` in its folder"
        )
    };
    let address = if address.contains("://") { address.to_owned() } else { format!("http://{address}") };
    Endpoint::from_shared(address).map_err(wrong)?.connect().await.map_err(wrong)
}

/// The engine shows a failure at length by itself; here is its first line.
fn why(status: &tonic::Status) -> String {
    let line = status.message().lines().next().unwrap_or_default();
    format!("{:?}: {}", status.code(), line.chars().take(300).collect::<String>())
}

impl Monitor for Engine {
    fn register(&self, registration: Registration) -> BoxFuture<'_, Result<Registered, String>> {
        let mut monitor = self.monitor.clone();
        async move {
            let answer =
                monitor.register_resource(request(registration)).await.map_err(|it| why(&it))?.into_inner();
            if answer.result() != rpc::Result::Success {
                return Err("the engine did not carry it out; its own output says why".to_owned());
            }
            Ok(Registered {
                urn: answer.urn,
                id: if UNKNOWN.contains(&answer.id.as_str()) { String::new() } else { answer.id },
                properties: fields_in(answer.object),
            })
        }
        .boxed()
    }

    fn outputs(&self, urn: String, outputs: BTreeMap<String, Value>) -> BoxFuture<'_, Result<(), String>> {
        let mut monitor = self.monitor.clone();
        async move {
            let request = rpc::RegisterResourceOutputsRequest { urn, outputs: Some(fields_out(outputs)) };
            monitor.register_resource_outputs(request).await.map(drop).map_err(|it| why(&it))
        }
        .boxed()
    }

    fn invoke(&self, call: Invocation) -> BoxFuture<'_, Result<BTreeMap<String, Value>, String>> {
        let mut monitor = self.monitor.clone();
        async move {
            let request = rpc::ResourceInvokeRequest {
                tok: call.token,
                args: Some(fields_out(call.arguments)),
                provider: call.provider,
                version: call.version,
                ..rpc::ResourceInvokeRequest::default()
            };
            let answer = monitor.invoke(request).await.map_err(|it| why(&it))?.into_inner();
            if !answer.failures.is_empty() {
                let failures = answer.failures.iter().map(|it| format!("{}: {}", it.property, it.reason));
                return Err(failures.collect::<Vec<_>>().join("; "));
            }
            Ok(fields_in(answer.r#return))
        }
        .boxed()
    }

    fn log(&self, level: Level, message: String, urn: String) -> BoxFuture<'_, ()> {
        let log = self.log.clone();
        async move {
            let Some(mut log) = log else { return };
            let severity = match level {
                Level::Info => rpc::LogSeverity::Info,
                Level::Warning => rpc::LogSeverity::Warning,
                Level::Error => rpc::LogSeverity::Error,
            };
            let request =
                rpc::LogRequest { severity: severity.into(), message, urn, ..rpc::LogRequest::default() };
            drop(log.log(request).await);
        }
        .boxed()
    }

    fn done(&self) -> BoxFuture<'_, Result<(), String>> {
        let mut monitor = self.monitor.clone();
        async move {
            match monitor.signal_and_wait_for_shutdown(()).await {
                // Older engines end with the program.
                Err(it) if it.code() != Code::Unimplemented => Err(why(&it)),
                _ => Ok(()),
            }
        }
        .boxed()
    }
}

fn request(it: Registration) -> rpc::RegisterResourceRequest {
    use rpc::register_resource_request::{CustomTimeouts, PropertyDependencies};
    let timeouts = it.rules.timeouts;
    rpc::RegisterResourceRequest {
        r#type: it.kind,
        name: it.name,
        parent: it.parent,
        custom: it.custom,
        object: Some(fields_out(it.inputs)),
        protect: it.rules.protect.then_some(true),
        dependencies: it.needs.into_iter().collect(),
        property_dependencies: it
            .property_needs
            .into_iter()
            .map(|(name, urns)| (name, PropertyDependencies { urns: urns.into_iter().collect() }))
            .collect(),
        provider: it.provider,
        version: it.version,
        delete_before_replace: it.rules.delete_before_replace,
        delete_before_replace_defined: it.rules.delete_before_replace,
        ignore_changes: it.rules.ignore_changes,
        additional_secret_outputs: it.rules.secret_outputs,
        aliases: it.rules.aliases.into_iter().map(alias).collect(),
        alias_specs: true,
        custom_timeouts: Some(CustomTimeouts {
            create: timeouts.create,
            update: timeouts.update,
            delete: timeouts.delete,
        }),
        retain_on_delete: it.rules.retain_on_delete.then_some(true),
        import_id: it.rules.import_id,
        accept_secrets: true,
        supports_partial_values: true,
        supports_result_reporting: true,
        ..rpc::RegisterResourceRequest::default()
    }
}

fn alias(it: Alias) -> rpc::Alias {
    use rpc::alias::spec::Parent;
    use rpc::alias::{Alias as Kind, Spec};
    let alias = match it {
        Alias::Urn(urn) => Kind::Urn(urn),
        Alias::Was { name, kind, parent } => Kind::Spec(Spec {
            name: name.unwrap_or_default(),
            r#type: kind.unwrap_or_default(),
            parent: parent
                .map(|it| if it.is_empty() { Parent::NoParent(true) } else { Parent::ParentUrn(it) }),
            ..Spec::default()
        }),
    };
    rpc::Alias { alias: Some(alias) }
}

/// As the engine wants it.
pub fn fields_out(fields: BTreeMap<String, Value>) -> Struct {
    Struct { fields: fields.into_iter().map(|(name, value)| (name, value_out(value))).collect() }
}

fn value_out(value: Value) -> prost_types::Value {
    let kind = match value {
        Value::Null => Kind::NullValue(0),
        Value::Bool(it) => Kind::BoolValue(it),
        Value::Number(it) => Kind::NumberValue(it),
        Value::Text(it) => Kind::StringValue(it),
        Value::List(it) => Kind::ListValue(ListValue { values: it.into_iter().map(value_out).collect() }),
        Value::Map(it) => Kind::StructValue(fields_out(it)),
        Value::Unknown => Kind::StringValue(UNKNOWN[0].to_owned()),
        Value::Secret(it) => Kind::StructValue(fields_out(BTreeMap::from([
            (SPECIAL.to_owned(), Value::Text(SECRET.to_owned())),
            ("value".to_owned(), *it),
        ]))),
    };
    prost_types::Value { kind: Some(kind) }
}

/// As the engine gave it.
pub fn fields_in(fields: Option<Struct>) -> BTreeMap<String, Value> {
    fields.unwrap_or_default().fields.into_iter().map(|(name, value)| (name, value_in(value))).collect()
}

fn value_in(value: prost_types::Value) -> Value {
    match value.kind {
        None | Some(Kind::NullValue(_)) => Value::Null,
        Some(Kind::BoolValue(it)) => Value::Bool(it),
        Some(Kind::NumberValue(it)) => Value::Number(it),
        Some(Kind::StringValue(it)) if UNKNOWN.contains(&it.as_str()) => Value::Unknown,
        Some(Kind::StringValue(it)) => Value::Text(it),
        Some(Kind::ListValue(it)) => Value::List(it.values.into_iter().map(value_in).collect()),
        Some(Kind::StructValue(it)) => {
            let mut fields = fields_in(Some(it));
            if fields.get(SPECIAL) == Some(&Value::Text(SECRET.to_owned())) {
                return fields.remove("value").unwrap_or_default().secret();
            }
            Value::Map(fields)
        }
    }
}
