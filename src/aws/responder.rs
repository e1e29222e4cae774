//! For tests: answers the real clients over loopback with replies that were written down before.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex};

use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, Method, Response, Uri};
use serde_json::Value;

use super::{Aws, CallObserver};
use crate::permit::Leadership;

/// One reply.
#[derive(Clone)]
pub(crate) struct Reply {
    status: u16,
    content_type: &'static str,
    body: Vec<u8>,
    hang_up: bool,
}

impl Reply {
    /// As DMS answers.
    pub(crate) fn json(status: u16, body: &Value) -> Self {
        Self {
            status,
            content_type: "application/x-amz-json-1.1",
            body: body.to_string().into(),
            hang_up: false,
        }
    }

    /// A refusal of DMS, with a message that holds what must not be repeated.
    pub(crate) fn error(code: &str) -> Self {
        Self::json(400, &serde_json::json!({ "__type": code, "message": "LEAK hunter2" }))
    }

    /// As STS, RDS, Route 53 and load balancers answer.
    pub(crate) fn xml(status: u16, body: &str) -> Self {
        Self { status, content_type: "text/xml", body: body.into(), hang_up: false }
    }

    /// A refusal of these, with a message that holds what must not be repeated.
    pub(crate) fn xml_error(status: u16, code: &str) -> Self {
        Self::xml(
            status,
            &format!(
                "<ErrorResponse><Error><Type>Sender</Type><Code>{code}</Code><Message>LEAK hunter2</Message></Error>\
                 <RequestId>1234-abcd</RequestId></ErrorResponse>"
            ),
        )
    }

    /// As `CloudWatch` answers.
    pub(crate) fn cbor(status: u16, body: &ciborium::Value) -> Self {
        let mut bytes = Vec::new();
        ciborium::into_writer(body, &mut bytes).unwrap();
        Self { status, content_type: "application/cbor", body: bytes, hang_up: false }
    }

    /// It says no, so it did nothing.
    pub(crate) fn is_refusal(&self) -> bool {
        self.status >= 400
    }

    /// The effect takes place and the answer gets lost.
    pub(crate) fn lost() -> Self {
        Self { hang_up: true, ..Self::xml(200, "") }
    }
}

/// One request that arrived.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) operation: String,
    /// Path and query, where they say what is asked for.
    pub(crate) path: String,
    /// Region and service that it was signed for: `eu-central-1/dms`.
    pub(crate) signed_for: String,
    pub(crate) body: Value,
}

#[derive(Default)]
struct State {
    script: HashMap<String, VecDeque<Reply>>,
    seen: Vec<Seen>,
}

#[derive(Default)]
struct Counted(Mutex<Vec<String>>);

impl CallObserver for Counted {
    fn called(&self, service: &'static str, operation: &'static str, outcome: &'static str) {
        self.0.lock().unwrap().push(format!("{service} {operation} {outcome}"));
    }
}

/// The server, and clients that speak to it. It ends with its test's runtime.
pub(crate) struct Responder {
    pub(crate) aws: Aws,
    url: String,
    state: Arc<Mutex<State>>,
    counted: Arc<Counted>,
}

impl Responder {
    /// Answers each operation with its replies in turn, the last of them ever after.
    pub(crate) async fn start(script: impl IntoIterator<Item = (&'static str, Vec<Reply>)>) -> Self {
        let mut state = State::default();
        for (operation, replies) in script {
            state.script.insert(operation.to_owned(), replies.into());
        }
        let state = Arc::new(Mutex::new(state));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::clone(&state);
        let app =
            axum::Router::new().fallback(move |method: Method, uri: Uri, headers: HeaderMap, body: Bytes| {
                let shared = Arc::clone(&shared);
                async move { answer(&shared, &method, &uri, &headers, &body) }
            });
        tokio::spawn(async move { axum::serve(listener, app).await });
        let counted = Arc::new(Counted::default());
        let url = format!("http://{address}");
        let observer: Arc<dyn CallObserver> = Arc::clone(&counted) as _;
        let aws = Aws::new(&config(&url), &observer, Arc::new(super::limit::route53()));
        Self { aws, url, state, counted }
    }

    /// Where it listens.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Every request so far.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.state.lock().unwrap().seen.clone()
    }

    /// The names of the operations asked for so far.
    pub(crate) fn operations(&self) -> Vec<String> {
        self.seen().into_iter().map(|seen| seen.operation).collect()
    }

    /// The body of the last request for `operation`.
    pub(crate) fn last(&self, operation: &str) -> Value {
        let seen = self.seen().into_iter().rev().find(|seen| seen.operation == operation);
        seen.unwrap_or_else(|| panic!("no {operation} was sent")).body
    }

    /// The paths of the requests for `operation`.
    pub(crate) fn paths(&self, operation: &str) -> Vec<String> {
        let seen = self.seen().into_iter().filter(|seen| seen.operation == operation);
        seen.map(|seen| seen.path).collect()
    }

    /// What the observer was told.
    pub(crate) fn outcomes(&self) -> Vec<String> {
        self.counted.0.lock().unwrap().clone()
    }
}

/// Tests run side by side and leadership is one per process, so they take turns.
pub(crate) async fn lead() -> Leadership {
    loop {
        if let Some(leadership) = Leadership::acquire() {
            return leadership;
        }
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
}

/// Clients for `url` with credentials that open nothing.
pub(crate) fn config(url: &str) -> SdkConfig {
    let credentials = Credentials::new("AKIATEST", "test", None, None, "test");
    SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("eu-central-1"))
        .endpoint_url(url)
        .retry_config(RetryConfig::disabled())
        .timeout_config(
            TimeoutConfig::builder().operation_timeout(std::time::Duration::from_secs(20)).build(),
        )
        .credentials_provider(SharedCredentialsProvider::new(credentials))
        .build()
}

fn answer(
    state: &Mutex<State>,
    method: &Method,
    uri: &Uri,
    headers: &HeaderMap,
    body: &[u8],
) -> Response<Body> {
    let text = String::from_utf8_lossy(body);
    let target = headers.get("x-amz-target").and_then(|value| value.to_str().ok());
    let (operation, parsed) = if let Some(target) = target {
        (target.rsplit('.').next().unwrap().to_owned(), serde_json::from_slice(body).unwrap())
    } else if let Some((_, operation)) = uri.path().split_once("/operation/") {
        (operation.to_owned(), from_cbor(body))
    } else if let Some(path) = uri.path().strip_prefix("/2013-04-01/") {
        (of_route53(method, path).to_owned(), Value::String(text.to_string()))
    } else {
        let action = text.split('&').find_map(|pair| pair.strip_prefix("Action=")).unwrap_or_default();
        (action.to_owned(), Value::String(text.to_string()))
    };
    let mut state = state.lock().unwrap();
    let replies = state.script.get_mut(&operation);
    let reply = match replies {
        Some(replies) if replies.len() > 1 => replies.pop_front().unwrap(),
        Some(replies) => replies[0].clone(),
        None => panic!("no reply was written for {operation}"),
    };
    let path = uri.path_and_query().map(ToString::to_string).unwrap_or_default();
    state.seen.push(Seen { operation, path, signed_for: signed_for(headers), body: parsed });
    drop(state);
    if reply.hang_up {
        // Ends this connection without an answer, and without a panic's report in the test's output.
        std::panic::resume_unwind(Box::new("hanging up, as the test asked"));
    }
    Response::builder()
        .status(reply.status)
        .header("content-type", reply.content_type)
        .header("smithy-protocol", "rpc-v2-cbor")
        .header("x-amzn-requestid", "1234-abcd")
        .body(Body::from(reply.body))
        .unwrap()
}

fn of_route53(method: &Method, path: &str) -> &'static str {
    match (method.as_str(), path.split('/').collect::<Vec<_>>().as_slice()) {
        ("GET", ["hostedzone", _]) => "GetHostedZone",
        ("GET", ["hostedzone", _, "rrset", ..]) => "ListResourceRecordSets",
        ("POST", ["hostedzone", _, "rrset", ..]) => "ChangeResourceRecordSets",
        ("GET", ["change", _]) => "GetChange",
        other => panic!("{other:?} is nothing that Route 53 is asked for"),
    }
}

/// `Credential=<key>/<day>/<region>/<service>/aws4_request, …`
fn signed_for(headers: &HeaderMap) -> String {
    let header = headers.get("authorization").and_then(|value| value.to_str().ok()).unwrap_or_default();
    header.split('/').skip(2).take(2).collect::<Vec<_>>().join("/")
}

/// CBOR's tags, which mark times, have no place in JSON.
fn from_cbor(body: &[u8]) -> Value {
    fn untag(value: ciborium::Value) -> ciborium::Value {
        match value {
            ciborium::Value::Tag(_, inner) => untag(*inner),
            ciborium::Value::Array(items) => ciborium::Value::Array(items.into_iter().map(untag).collect()),
            ciborium::Value::Map(entries) => {
                ciborium::Value::Map(entries.into_iter().map(|(key, value)| (key, untag(value))).collect())
            }
            other => other,
        }
    }
    untag(ciborium::from_reader(body).unwrap()).deserialized().unwrap()
}
