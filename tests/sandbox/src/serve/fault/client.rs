//! Asks a running stand-in from another process.

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1;
use hyper::header::HOST;
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::{Command, Rule};
use crate::serve::journal::Record;

/// Speaks to the stand-in at an address.
#[derive(Clone, Debug)]
pub struct Client {
    address: String,
}

/// The stand-in could not be asked, or refused.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody answers.
    #[error("the stand-in at {address} does not answer: {source}; is the sandbox up?")]
    Connect {
        /// Where.
        address: String,
        /// Why.
        source: std::io::Error,
    },
    /// The connection broke.
    #[error("the stand-in at {address} did not answer in full: {source}")]
    Talk {
        /// Where.
        address: String,
        /// Why.
        source: hyper::Error,
    },
    /// It is there, and says no.
    #[error("the stand-in refused: {0}")]
    Refused(String),
    /// It answers something else.
    #[error("the stand-in's answer can't be read: {0}")]
    Unreadable(#[from] serde_json::Error),
}

#[derive(serde::Deserialize)]
struct FaultList {
    faults: Vec<Rule>,
}

#[derive(serde::Deserialize)]
struct CallList {
    calls: Vec<Record>,
}

impl Client {
    /// For a URL, as `http://127.0.0.1:4566`.
    pub fn new(url: &str) -> Self {
        let address = url.trim_start_matches("http://").trim_end_matches('/').to_owned();
        Self { address }
    }

    /// Does as commanded, and says what there is to show.
    pub async fn run(&self, command: Command) -> Result<String, ClientError> {
        match command {
            Command::List => {
                let FaultList { faults } = serde_json::from_slice(
                    &self.send(Method::GET, "/_sandbox/faults", String::new()).await?,
                )?;
                let lines: Result<Vec<String>, _> = faults.iter().map(serde_json::to_string).collect();
                let lines = lines?;
                Ok(if lines.is_empty() { "no faults".to_owned() } else { lines.join("\n") })
            }
            Command::Clear => {
                self.send(Method::DELETE, "/_sandbox/faults", String::new()).await?;
                Ok("cleared".to_owned())
            }
            Command::Order(order) => {
                let body = serde_json::to_string(&order)?;
                self.send(Method::POST, "/_sandbox/faults", body.clone()).await?;
                Ok(format!("set {body}"))
            }
        }
    }

    /// The calls since the one of this number.
    pub async fn calls(&self, since: u64) -> Result<Vec<Record>, ClientError> {
        let body = self.send(Method::GET, &format!("/_sandbox/calls?since={since}"), String::new()).await?;
        let CallList { calls } = serde_json::from_slice(&body)?;
        Ok(calls)
    }

    async fn send(&self, method: Method, path: &str, body: String) -> Result<Bytes, ClientError> {
        let address = self.address.clone();
        let talk = |source| ClientError::Talk { address: address.clone(), source };
        let stream = TcpStream::connect(&self.address)
            .await
            .map_err(|source| ClientError::Connect { address: address.clone(), source })?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(talk)?;
        let connection = tokio::spawn(connection);
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, &self.address)
            .body(Full::new(Bytes::from(body)))
            .map_err(|error| ClientError::Refused(format!("{path} is not a request: {error}")))?;
        let response = sender.send_request(request).await.map_err(talk)?;
        let status = response.status();
        let body = response.into_body().collect().await.map_err(talk)?.to_bytes();
        connection.abort();
        if status.is_success() {
            Ok(body)
        } else {
            Err(ClientError::Refused(String::from_utf8_lossy(&body).into_owned()))
        }
    }
}
