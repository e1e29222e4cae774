//! What tests and people see of the stand-in itself: its calls and its faults.

use bytes::Bytes;
use http_body_util::Full;
use hyper::Response;
use hyper::header::CONTENT_TYPE;
use hyper::http::request::Parts;
use serde_json::json;

use super::{Shared, fault};

/// `GET /_sandbox/calls[?since=N]`, `GET`, `POST` and `DELETE /_sandbox/faults`.
pub(super) fn respond(shared: &Shared, parts: &Parts, body: &[u8]) -> Response<Full<Bytes>> {
    match (parts.method.as_str(), parts.uri.path()) {
        ("GET", "/_sandbox/calls") => {
            let query = parts.uri.query().unwrap_or_default();
            let since = form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "since");
            let since = since.and_then(|(_, value)| value.parse().ok()).unwrap_or(0);
            reply(200, json!({ "calls": shared.lock().journal.since(since) }).to_string())
        }
        ("GET", "/_sandbox/faults") => {
            reply(200, json!({ "faults": shared.lock().faults.list(jiff::Timestamp::now()) }).to_string())
        }
        ("POST", "/_sandbox/faults") => match fault::Order::read(body) {
            Ok(order) => match shared.order(order) {
                Ok(()) => reply(200, "{}".to_owned()),
                Err(error) => plain(404, error.to_string()),
            },
            Err(error) => plain(400, error.to_string()),
        },
        ("DELETE", "/_sandbox/faults") => {
            shared.clear_faults();
            reply(200, "{}".to_owned())
        }
        (method, path) => plain(404, format!("the sandbox has no {method} {path}")),
    }
}

fn reply(status: u16, body: String) -> Response<Full<Bytes>> {
    respond_with(status, "application/json", body)
}

pub(super) fn plain(status: u16, body: String) -> Response<Full<Bytes>> {
    respond_with(status, "text/plain; charset=utf-8", body)
}

fn respond_with(status: u16, kind: &'static str, body: String) -> Response<Full<Bytes>> {
    // Only an illegal header value could fail it, and there is none.
    Response::builder()
        .status(status)
        .header(CONTENT_TYPE, kind)
        .body(Full::new(body.into()))
        .unwrap_or_default()
}
