//! One AWS request: recognise, let faults have their way, ask the world, write the call down.

use bytes::Bytes;
use http_body_util::Full;
use hyper::Response;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue, LOCATION};
use hyper::http::request::Parts;
use jiff::Timestamp;

use super::fault::Kind;
use super::{Lost, Shared, cbor, journal, json, query, rest};
use crate::canary;
use crate::world::{Call, Refusal, Reply, route53};

/// How an error or a reply is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wire {
    /// JSON 1.1
    Json,
    /// rpc-v2-cbor
    Cbor,
    /// Query requests, XML replies.
    Query,
    /// Paths and XML in, XML out.
    Rest,
}

/// A request whose operation is known.
struct Recognised {
    wire: Wire,
    /// `dms:CreateEndpoint`
    operation: String,
    call: Result<Call, Refusal>,
}

pub(super) fn answer(shared: &Shared, parts: &Parts, body: &[u8]) -> Result<Response<Full<Bytes>>, Lost> {
    let Recognised { wire, operation, call } = recognise(parts, body);
    let now = Timestamp::now();
    let mut state = shared.lock();
    let request_id = state.next_request_id();
    let key = access_key(parts);
    let fault = match &key {
        Some(key) => state.faults.meet(&operation, key, now),
        None => None,
    };
    let result = match (&key, fault) {
        (None, _) => Err(authentication(wire)),
        (Some(_), Some(Kind::Stale { lag })) if journal::is_read(&operation) => {
            let mut past = state.past(lag, now);
            let then = past.now();
            call.and_then(|call| past.call(call, then))
        }
        (Some(_), None | Some(Kind::TimeoutAfter | Kind::Stale { .. })) => {
            call.and_then(|call| state.world.call(call, now))
        }
        (
            Some(_),
            Some(fault @ (Kind::Throttle | Kind::Error500 | Kind::AccessDenied | Kind::ExpiredToken)),
        ) => Err(injected(fault, wire, &operation)),
        (Some(_), Some(Kind::TimeoutBefore)) => {
            state.journal.add(now, &operation, "lost-before");
            return Err(Lost);
        }
    };
    if fault == Some(Kind::TimeoutAfter) {
        state.journal.add(now, &operation, "lost-after");
        return Err(Lost);
    }
    let outcome = result.as_ref().err().map_or("ok", |refusal| refusal.code);
    state.journal.add(now, &operation, outcome);
    let bare = state.world.switches().bare_change_refusals;
    drop(state);
    Ok(write(wire, &operation, result, &request_id, bare))
}

fn recognise(parts: &Parts, body: &[u8]) -> Recognised {
    if let Some(name) = parts.uri.path().strip_prefix("/service/GraniteServiceVersion20100801/operation/") {
        let operation = format!("cloudwatch:{name}");
        return Recognised { wire: Wire::Cbor, call: cbor::decode(name, body), operation };
    }
    if let Some((operation, call)) = rest::decode(parts, body) {
        return Recognised { wire: Wire::Rest, operation, call };
    }
    let header = |name: &str| parts.headers.get(name).and_then(|value| value.to_str().ok());
    if let Some(target) = header("x-amz-target") {
        let (service, name) = target.rsplit_once('.').unwrap_or(("", target));
        if service == "AmazonDMSv20160101" {
            return Recognised {
                wire: Wire::Json,
                operation: format!("dms:{name}"),
                call: json::decode(name, body),
            };
        }
        if service == "secretsmanager" {
            return Recognised {
                wire: Wire::Json,
                operation: format!("secretsmanager:{name}"),
                call: json::decode_secrets(name, body),
            };
        }
        if service == "AmazonEC2ContainerServiceV20141113" {
            return Recognised {
                wire: Wire::Json,
                operation: format!("ecs:{name}"),
                call: json::decode_ecs(name, body),
            };
        }
        let call = Err(Refusal::not_modelled(format!("the service of {target}")));
        return Recognised { wire: Wire::Json, operation: target.to_owned(), call };
    }
    let form = header(CONTENT_TYPE.as_str())
        .is_some_and(|kind| kind.starts_with("application/x-www-form-urlencoded"));
    if form {
        let (operation, call) = query::decode(body);
        return Recognised { wire: Wire::Query, operation, call };
    }
    let what = format!("{} {}", parts.method, parts.uri.path());
    Recognised { wire: Wire::Json, call: Err(Refusal::not_modelled(&what)), operation: what }
}

fn write(
    wire: Wire,
    operation: &str,
    result: Result<Reply, Refusal>,
    request_id: &str,
    bare: bool,
) -> Response<Full<Bytes>> {
    let made = match &result {
        Ok(Reply::Route53(route53::Reply::HealthCheck { made: true, check })) => Some(check.id.clone()),
        _ => None,
    };
    let status = match &result {
        Ok(_) if made.is_some() => 201,
        Ok(_) => 200,
        Err(refusal) => status(wire, refusal.code),
    };
    let (kind, body) = match wire {
        Wire::Json => ("application/x-amz-json-1.1", json::encode(result).into_bytes()),
        Wire::Cbor => ("application/cbor", cbor::encode(result)),
        Wire::Query => ("text/xml", query::encode(operation, result, request_id).into_bytes()),
        Wire::Rest => ("text/xml", rest::encode(operation, result, request_id, bare).into_bytes()),
    };
    let mut response = Response::builder()
        .status(status)
        .header(CONTENT_TYPE, kind)
        .header("x-amzn-requestid", request_id)
        .body(Full::new(Bytes::from(body)))
        // Only an illegal header value could fail it, and there is none.
        .unwrap_or_default();
    if let Some(id) = made {
        let location = format!("https://route53.amazonaws.com/2013-04-01/healthcheck/{id}");
        response.headers_mut().extend(HeaderValue::try_from(location).ok().map(|value| (LOCATION, value)));
    }
    if wire == Wire::Cbor {
        response.headers_mut().insert("smithy-protocol", HeaderValue::from_static("rpc-v2-cbor"));
    }
    response
}

fn status(wire: Wire, code: &str) -> u16 {
    match code {
        "InternalFailure" => 500,
        "DBInstanceNotFound" | "NoSuchHostedZone" | "NoSuchChange" | "NoSuchHealthCheck" => 404,
        "ResourceNotFound" if wire == Wire::Cbor => 404,
        "HealthCheckAlreadyExists" => 409,
        "AccessDenied" | "ExpiredToken" | "MissingAuthenticationToken" => 403,
        "AccessDeniedException" | "ExpiredTokenException" if wire == Wire::Cbor => 403,
        _ => 400,
    }
}

/// The access key id that a request is signed with. The signature itself is not checked: the stand-in has no secrets.
fn access_key(parts: &Parts) -> Option<String> {
    let header = parts.headers.get(AUTHORIZATION)?.to_str().ok()?;
    let credential = header.split_once("Credential=")?.1;
    credential.split('/').next().filter(|key| !key.is_empty()).map(str::to_owned)
}

fn authentication(wire: Wire) -> Refusal {
    let code = match wire {
        Wire::Json | Wire::Cbor => "MissingAuthenticationTokenException",
        Wire::Query | Wire::Rest => "MissingAuthenticationToken",
    };
    Refusal::new(code, "Missing Authentication Token: the request is not signed")
}

fn injected(fault: Kind, wire: Wire, operation: &str) -> Refusal {
    let query = matches!(wire, Wire::Query | Wire::Rest);
    let (code, message) = match fault {
        Kind::Throttle => {
            (if query { "Throttling" } else { "ThrottlingException" }, "Rate exceeded".to_owned())
        }
        Kind::AccessDenied => (
            if query { "AccessDenied" } else { "AccessDeniedException" },
            format!(
                "User: arn:aws:sts::111122223333:assumed-role/slipway/slipway is not authorized to perform: {operation}"
            ),
        ),
        Kind::ExpiredToken => (
            if query { "ExpiredToken" } else { "ExpiredTokenException" },
            "The security token included in the request is expired".to_owned(),
        ),
        Kind::Error500 | Kind::TimeoutBefore | Kind::TimeoutAfter | Kind::Stale { .. } => {
            ("InternalFailure", "The request processing has failed because of an unknown error".to_owned())
        }
    };
    // Whatever AWS says may repeat what was sent to it. Whoever repeats AWS's words is found out.
    Refusal::new(code, format!("{message} ({})", canary::MARK))
}
