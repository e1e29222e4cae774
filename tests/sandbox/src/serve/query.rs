//! RDS and STS: forms in, XML out.

use crate::world::rds::{Describe, Instance};
use crate::world::{Call, Refusal, Reply};

/// A form as an operation and a call.
pub(super) fn decode(body: &[u8]) -> (String, Result<Call, Refusal>) {
    let mut action = String::new();
    let mut identifier = None;
    let mut unknown = None;
    for (name, value) in form_urlencoded::parse(body) {
        match name.as_ref() {
            "Action" => action = value.into_owned(),
            // Paging is of no use with the few instances that there are.
            "Version" | "MaxRecords" => {}
            "DBInstanceIdentifier" => identifier = Some(value.into_owned()),
            _ => unknown = Some(name.into_owned()),
        }
    }
    let (operation, call) = match action.as_str() {
        "DescribeDBInstances" => {
            ("rds:DescribeDBInstances".to_owned(), Call::DescribeDatabases(Describe { identifier }))
        }
        "GetCallerIdentity" => ("sts:GetCallerIdentity".to_owned(), Call::GetCallerIdentity),
        other => {
            let refusal = Refusal::not_modelled(format!("Action={other}"));
            return (format!("query:{other}"), Err(refusal));
        }
    };
    let call = match unknown {
        Some(name) => Err(Refusal::not_modelled(format!("the parameter {name} of {operation}"))),
        None => Ok(call),
    };
    (operation, call)
}

/// A reply or an error as a document.
pub(super) fn encode(operation: &str, result: Result<Reply, Refusal>, request_id: &str) -> String {
    let action = operation.split_once(':').map_or(operation, |(_, action)| action);
    let space = if operation.starts_with("sts:") {
        "https://sts.amazonaws.com/doc/2011-06-15/"
    } else {
        "http://rds.amazonaws.com/doc/2014-10-31/"
    };
    let inner = match result {
        Ok(Reply::Databases(instances)) => {
            let all: String = instances.iter().map(instance).collect();
            tag("DBInstances", &all)
        }
        Ok(Reply::Identity { account, arn }) => {
            text("Arn", &arn) + &text("UserId", "AROA5A1D000000000000A:slipway") + &text("Account", &account)
        }
        Ok(other) => {
            return error("InternalFailure", &format!("not an answer of {operation}: {other:?}"), request_id);
        }
        Err(refusal) => return error(refusal.code, &refusal.message, request_id),
    };
    format!(
        "<{action}Response xmlns=\"{space}\">{}{}</{action}Response>",
        tag(&format!("{action}Result"), &inner),
        tag("ResponseMetadata", &text("RequestId", request_id))
    )
}

fn error(code: &str, message: &str, request_id: &str) -> String {
    let kind = if code == "InternalFailure" { "Receiver" } else { "Sender" };
    let fields = text("Type", kind) + &text("Code", code) + &text("Message", message);
    tag("ErrorResponse", &(tag("Error", &fields) + &text("RequestId", request_id)))
}

fn instance(instance: &Instance) -> String {
    let Instance {
        identifier,
        arn,
        address,
        port,
        database,
        master_username,
        engine_version,
        status,
        parameter_group,
        parameter_apply_status,
        storage_encrypted,
        publicly_accessible,
        ca_certificate_identifier,
    } = instance;
    let group =
        text("DBParameterGroupName", parameter_group) + &text("ParameterApplyStatus", parameter_apply_status);
    let fields = [
        text("DBInstanceIdentifier", identifier),
        text("DBInstanceArn", arn),
        text("DBInstanceStatus", status),
        text("Engine", "postgres"),
        text("EngineVersion", engine_version),
        text("DBName", database),
        text("MasterUsername", master_username),
        tag("Endpoint", &(text("Address", address) + &text("Port", &port.to_string()))),
        tag("DBParameterGroups", &tag("DBParameterGroup", &group)),
        text("StorageEncrypted", &storage_encrypted.to_string()),
        text("PubliclyAccessible", &publicly_accessible.to_string()),
        text("CACertificateIdentifier", ca_certificate_identifier),
    ];
    tag("DBInstance", &fields.concat())
}

fn tag(name: &str, inner: &str) -> String {
    format!("<{name}>{inner}</{name}>")
}

fn text(name: &str, value: &str) -> String {
    let value = value.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    tag(name, &value)
}
