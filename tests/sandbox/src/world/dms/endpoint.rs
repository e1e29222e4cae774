//! Endpoints on `PostgreSQL`.
//!
//! | rule | source |
//! |---|---|
//! | identifier: letter first, letters, digits, single hyphens | API model of CreateEndpoint |
//! | a second one of that identifier is `ResourceAlreadyExistsFault` | API model |
//! | `SslMode` is none unless told otherwise; verify-ca and verify-full need an imported certificate | API model |
//! | the password is never shown | API model |
//! | changing one is refused while a task that uses it runs | Terraform provider issue 27661 |
//! | changing one starts connection tests by itself | Terraform provider issue 46139 |
//! | can't be deleted while a task uses it | API model of DeleteEndpoint |

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{Describe, Reply, Status, Tag, filter, tags};
use crate::plane::{Database, Tls};
use crate::world::{Refusal, World, names};

#[derive(Clone, Debug)]
pub(in crate::world) struct Endpoint {
    pub(in crate::world) identifier: String,
    pub(super) status: &'static str,
    pub(super) due: Option<Timestamp>,
    pub(super) source: bool,
    engine: String,
    username: String,
    password: String,
    server: String,
    port: u16,
    database: String,
    extra: Option<String>,
    kms_key: Option<String>,
    pub(super) certificate: Option<String>,
    ssl_mode: String,
    settings: Map<String, Value>,
}

/// `CreateEndpoint`, for `PostgreSQL` with a login.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
#[expect(missing_docs, reason = "the API's own fields")]
pub struct CreateEndpoint {
    pub endpoint_identifier: String,
    pub endpoint_type: String,
    pub engine_name: String,
    pub username: Option<String>,
    pub password: Option<String>,
    pub server_name: Option<String>,
    pub port: Option<u16>,
    pub database_name: Option<String>,
    pub extra_connection_attributes: Option<String>,
    pub kms_key_id: Option<String>,
    #[serde(default)]
    pub tags: Vec<Tag>,
    pub certificate_arn: Option<String>,
    pub ssl_mode: Option<String>,
    #[serde(rename = "PostgreSQLSettings", default)]
    pub settings: Map<String, Value>,
    pub resource_identifier: Option<String>,
}

/// `ModifyEndpoint`: what is absent stays.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
#[expect(missing_docs, reason = "the API's own fields")]
pub struct ModifyEndpoint {
    pub endpoint_arn: String,
    pub endpoint_identifier: Option<String>,
    pub endpoint_type: Option<String>,
    pub engine_name: Option<String>,
    pub username: Option<String>,
    pub password: Option<String>,
    pub server_name: Option<String>,
    pub port: Option<u16>,
    pub database_name: Option<String>,
    pub extra_connection_attributes: Option<String>,
    pub certificate_arn: Option<String>,
    pub ssl_mode: Option<String>,
    #[serde(rename = "PostgreSQLSettings", default)]
    pub settings: Map<String, Value>,
    pub exact_settings: Option<bool>,
}

/// `DeleteEndpoint`
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
#[expect(missing_docs, reason = "the API's own fields")]
pub struct DeleteEndpoint {
    pub endpoint_arn: String,
}

/// An endpoint as AWS shows it: without its password.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
#[expect(missing_docs, reason = "the API's own fields")]
pub struct EndpointView {
    pub endpoint_identifier: String,
    pub endpoint_arn: String,
    pub endpoint_type: String,
    pub engine_name: String,
    pub engine_display_name: String,
    pub username: String,
    pub server_name: String,
    pub port: u16,
    pub database_name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub extra_connection_attributes: Option<String>,
    pub status: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kms_key_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificate_arn: Option<String>,
    pub ssl_mode: String,
    #[serde(rename = "PostgreSQLSettings")]
    pub settings: Map<String, Value>,
}

/// The members of `PostgreSQLSettings` besides the login, from the API model.
const SETTINGS: [&str; 16] = [
    "AfterConnectScript",
    "AuthenticationMethod",
    "CaptureDdls",
    "DatabaseMode",
    "DdlArtifactsSchema",
    "DisableUnicodeSourceFilter",
    "ExecuteTimeout",
    "FailTasksOnLobTruncation",
    "HeartbeatEnable",
    "HeartbeatFrequency",
    "HeartbeatSchema",
    "MapBooleanAsBoolean",
    "MapJsonbAsClob",
    "MaxFileSize",
    "PluginName",
    "SlotName",
];

/// A login may stand at the top or in `PostgreSQLSettings`; the latter is more exact and wins.
#[derive(Default)]
struct Login {
    username: Option<String>,
    password: Option<String>,
    server: Option<String>,
    port: Option<u16>,
    database: Option<String>,
}

impl Login {
    /// Takes the login out of the settings, and refuses settings that the model does not have.
    fn take(settings: &mut Map<String, Value>, top: Self) -> Result<Self, Refusal> {
        let mut text = |name: &str| match settings.remove(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(other) => Err(Refusal::value(format!("PostgreSQLSettings.{name} {other} is not a string"))),
        };
        let (username, password) = (text("Username")?, text("Password")?);
        let (server, database) = (text("ServerName")?, text("DatabaseName")?);
        let port = match settings.remove("Port") {
            None => None,
            Some(port) => Some(
                port.as_u64()
                    .and_then(|port| u16::try_from(port).ok())
                    .ok_or_else(|| Refusal::value(format!("PostgreSQLSettings.Port {port} is not a port")))?,
            ),
        };
        if let Some(unknown) = settings.keys().find(|name| !SETTINGS.contains(&name.as_str())) {
            return Err(Refusal::not_modelled(format!("PostgreSQLSettings.{unknown}")));
        }
        if settings.get("AuthenticationMethod").is_some_and(|method| method != "password") {
            return Err(Refusal::not_modelled("PostgreSQLSettings.AuthenticationMethod other than password"));
        }
        Ok(Self {
            username: username.or(top.username),
            password: password.or(top.password),
            server: server.or(top.server),
            port: port.or(top.port),
            database: database.or(top.database),
        })
    }
}

impl World {
    pub(super) fn create_endpoint(&mut self, mut call: CreateEndpoint) -> Result<Reply, Refusal> {
        let identifier = call.endpoint_identifier;
        names::check("EndpointIdentifier", &identifier, 255)?;
        let new_tags = tags::checked(&call.tags)?;
        let source = is_source(&call.endpoint_type)?;
        check_engine(&call.engine_name)?;
        let top = Login {
            username: call.username,
            password: call.password,
            server: call.server_name,
            port: call.port,
            database: call.database_name,
        };
        let login = Login::take(&mut call.settings, top)?;
        let (Some(username), Some(password), Some(server), Some(port), Some(database)) =
            (login.username, login.password, login.server, login.port, login.database)
        else {
            return Err(Refusal::combination(format!(
                "endpoint {identifier} needs Username, Password, ServerName, Port and DatabaseName"
            )));
        };
        let ssl_mode = call.ssl_mode.unwrap_or_else(|| "none".to_owned());
        self.check_tls(&ssl_mode, call.certificate_arn.as_ref())?;
        if let Some((arn, _)) =
            self.dms.endpoints.iter().find(|(_, other)| other.identifier.eq_ignore_ascii_case(&identifier))
        {
            return Err(Refusal::exists("endpoint", &identifier, arn));
        }
        if self.dms.endpoints.len() >= 1000 {
            return Err(Refusal::quota("endpoints", 1000));
        }
        let tail = self.names.tail(call.resource_identifier.as_deref())?;
        let arn = self.names.arn("dms", "endpoint", &tail);
        if self.dms.endpoints.contains_key(&arn) {
            return Err(Refusal::exists("endpoint", &tail, &arn));
        }
        let endpoint = Endpoint {
            identifier,
            status: "creating",
            due: Some(self.now + self.delays.endpoint_create),
            source,
            engine: call.engine_name,
            username,
            password,
            server,
            port,
            database,
            extra: call.extra_connection_attributes,
            kms_key: call.kms_key_id,
            certificate: call.certificate_arn,
            ssl_mode,
            settings: call.settings,
        };
        let view = view(&arn, &endpoint);
        self.dms.endpoints.insert(arn.clone(), endpoint);
        self.dms.tags.insert(arn, new_tags);
        Ok(Reply::Endpoint(Box::new(view)))
    }

    pub(super) fn describe_endpoints(&self, call: &Describe) -> Result<Reply, Refusal> {
        let all = self.dms.endpoints.iter().map(|(arn, endpoint)| {
            let have = vec![
                endpoint.identifier.clone(),
                arn.clone(),
                kind(endpoint.source).to_owned(),
                endpoint.engine.clone(),
            ];
            (arn.clone(), have, view(arn, endpoint))
        });
        let attributes = ["endpoint-id", "endpoint-arn", "endpoint-type", "engine-name"];
        filter::page(call, 100, &attributes, self.switches, "endpoint", all).map(Reply::Endpoints)
    }

    pub(super) fn modify_endpoint(&mut self, mut call: ModifyEndpoint) -> Result<Reply, Refusal> {
        let arn = call.endpoint_arn.clone();
        let Some(before) = self.dms.endpoints.get(&arn) else {
            return Err(Refusal::not_found(format!("endpoint {arn} does not exist")));
        };
        if before.status != "active" {
            return Err(Refusal::state(format!("endpoint {} is {}", before.identifier, before.status)));
        }
        let busy = [Status::Starting, Status::Running, Status::Stopping];
        if let Some(task) =
            self.dms.tasks.values().find(|task| task.uses_endpoint(&arn) && busy.contains(&task.status))
        {
            return Err(Refusal::state(format!(
                "endpoint {} can't be changed while replication task {} is {}",
                before.identifier,
                task.identifier,
                task.status.as_str()
            )));
        }
        let mut after = before.clone();
        if let Some(identifier) = call.endpoint_identifier {
            names::check("EndpointIdentifier", &identifier, 255)?;
            let taken = self.dms.endpoints.iter().find(|(other, endpoint)| {
                **other != arn && endpoint.identifier.eq_ignore_ascii_case(&identifier)
            });
            if let Some((other, _)) = taken {
                return Err(Refusal::exists("endpoint", &identifier, other));
            }
            after.identifier = identifier;
        }
        if let Some(endpoint_type) = &call.endpoint_type {
            after.source = is_source(endpoint_type)?;
        }
        if let Some(engine) = call.engine_name {
            check_engine(&engine)?;
            after.engine = engine;
        }
        let top = Login {
            username: call.username,
            password: call.password,
            server: call.server_name,
            port: call.port,
            database: call.database_name,
        };
        let login = Login::take(&mut call.settings, top)?;
        after.username = login.username.unwrap_or(after.username);
        after.password = login.password.unwrap_or(after.password);
        after.server = login.server.unwrap_or(after.server);
        after.port = login.port.unwrap_or(after.port);
        after.database = login.database.unwrap_or(after.database);
        after.extra = call.extra_connection_attributes.or(after.extra);
        after.certificate = call.certificate_arn.or(after.certificate);
        after.ssl_mode = call.ssl_mode.unwrap_or(after.ssl_mode);
        if call.exact_settings == Some(true) {
            after.settings.clear();
        }
        after.settings.extend(call.settings);
        self.check_tls(&after.ssl_mode, after.certificate.as_ref())?;
        let view = view(&arn, &after);
        self.dms.endpoints.insert(arn.clone(), after);
        let rows: Vec<_> =
            self.dms.connections.keys().filter(|(_, endpoint)| *endpoint == arn).cloned().collect();
        for key in rows {
            self.begin_test(&key);
        }
        Ok(Reply::Endpoint(Box::new(view)))
    }

    pub(super) fn delete_endpoint(&mut self, call: &DeleteEndpoint) -> Result<Reply, Refusal> {
        let arn = &call.endpoint_arn;
        let Some(endpoint) = self.dms.endpoints.get(arn) else {
            return Err(Refusal::not_found(format!("endpoint {arn} does not exist")));
        };
        if endpoint.status == "deleting" {
            return Err(Refusal::state(format!("endpoint {} is being deleted already", endpoint.identifier)));
        }
        if let Some(task) = self.dms.tasks.values().find(|task| task.uses_endpoint(arn)) {
            return Err(Refusal::state(format!(
                "endpoint {} is used by replication task {}",
                endpoint.identifier, task.identifier
            )));
        }
        let due = self.now + self.delays.endpoint_delete;
        if let Some(endpoint) = self.dms.endpoints.get_mut(arn) {
            endpoint.status = "deleting";
            endpoint.due = Some(due);
        }
        self.mark_connections_deleting(|(_, endpoint_arn)| endpoint_arn == arn);
        Ok(Reply::Endpoint(Box::new(view(arn, &self.dms.endpoints[arn]))))
    }

    pub(super) fn settle_endpoints(&mut self) {
        let now = self.now;
        let mut gone = Vec::new();
        for (arn, endpoint) in &mut self.dms.endpoints {
            if endpoint.due.is_none_or(|due| due > now) {
                continue;
            }
            endpoint.due = None;
            if endpoint.status == "deleting" {
                gone.push(arn.clone());
            } else {
                endpoint.status = "active";
            }
        }
        for arn in gone {
            self.forget_endpoint(&arn);
        }
    }

    pub(super) fn forget_endpoint(&mut self, arn: &str) {
        self.dms.endpoints.remove(arn);
        self.dms.connections.retain(|(_, endpoint_arn), _| endpoint_arn != arn);
        self.dms.tags.remove(arn);
    }

    /// What an endpoint connects to.
    pub(super) fn database_of(&self, arn: &str) -> Option<Database> {
        let endpoint = self.dms.endpoints.get(arn)?;
        let pem = || {
            let certificate = endpoint.certificate.as_ref().and_then(|arn| self.dms.certificates.get(arn));
            certificate.map(|certificate| certificate.pem.clone()).unwrap_or_default()
        };
        let tls = match endpoint.ssl_mode.as_str() {
            "require" => Tls::Require,
            "verify-ca" => Tls::VerifyCa(pem()),
            "verify-full" => Tls::VerifyFull(pem()),
            _ => Tls::None,
        };
        Some(Database {
            host: endpoint.server.clone(),
            port: endpoint.port,
            database: endpoint.database.clone(),
            username: endpoint.username.clone(),
            password: endpoint.password.clone(),
            tls,
        })
    }

    fn check_tls(&self, ssl_mode: &str, certificate: Option<&String>) -> Result<(), Refusal> {
        if !["none", "require", "verify-ca", "verify-full"].contains(&ssl_mode) {
            return Err(Refusal::value(format!(
                "SslMode {ssl_mode:?} is not none, require, verify-ca or verify-full"
            )));
        }
        if ssl_mode.starts_with("verify") && certificate.is_none() {
            return Err(Refusal::combination(format!("SslMode {ssl_mode} needs CertificateArn")));
        }
        match certificate.filter(|arn| !self.dms.certificates.contains_key(*arn)) {
            Some(arn) => Err(Refusal::not_found(format!("certificate {arn} does not exist"))),
            None => Ok(()),
        }
    }
}

fn is_source(endpoint_type: &str) -> Result<bool, Refusal> {
    match endpoint_type {
        "source" => Ok(true),
        "target" => Ok(false),
        other => Err(Refusal::value(format!("EndpointType {other:?} is neither source nor target"))),
    }
}

fn check_engine(engine: &str) -> Result<(), Refusal> {
    match engine {
        "postgres" | "aurora-postgresql" => Ok(()),
        other => Err(Refusal::not_modelled(format!("endpoints with EngineName {other}"))),
    }
}

fn kind(source: bool) -> &'static str {
    if source { "source" } else { "target" }
}

fn view(arn: &str, endpoint: &Endpoint) -> EndpointView {
    let mut settings = endpoint.settings.clone();
    settings.insert("DatabaseName".to_owned(), endpoint.database.clone().into());
    settings.insert("ServerName".to_owned(), endpoint.server.clone().into());
    settings.insert("Port".to_owned(), endpoint.port.into());
    settings.insert("Username".to_owned(), endpoint.username.clone().into());
    EndpointView {
        endpoint_identifier: endpoint.identifier.clone(),
        endpoint_arn: arn.to_owned(),
        endpoint_type: kind(endpoint.source).to_owned(),
        engine_name: endpoint.engine.clone(),
        engine_display_name: "PostgreSQL".to_owned(),
        username: endpoint.username.clone(),
        server_name: endpoint.server.clone(),
        port: endpoint.port,
        database_name: endpoint.database.clone(),
        extra_connection_attributes: endpoint.extra.clone(),
        status: endpoint.status.to_owned(),
        kms_key_id: endpoint.kms_key.clone(),
        certificate_arn: endpoint.certificate.clone(),
        ssl_mode: endpoint.ssl_mode.clone(),
        settings,
    }
}
