//! Secrets Manager, in our words: the one secret in which applications find the writer.
//!
//! Of its value, only host, port and database name are ever looked at or told; all else in it is the application's.

use aws_sdk_secretsmanager::Client;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use super::call::{Caller, Operation, present};
use crate::api::condition::Reason;
use crate::fault::Fault;
use crate::hex::hex;
use crate::permit::Permit;

const FIELD: &str = "spec.cutover.connection.secret.secretARN";
const GET: Operation = Operation::read("secretsmanager", "GetSecretValue", FIELD);
const PUT: Operation = Operation::change("secretsmanager", "PutSecretValue", FIELD);

/// The keys that RDS's own secrets and the drivers that read them use.
const HOST: &str = "host";
const PORT: &str = "port";
const DATABASE: &str = "dbname";

/// Where a database is.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Place {
    pub host: String,
    pub port: u16,
    pub database: String,
}

/// Secrets Manager of one account in one region.
pub struct Secrets {
    client: Client,
    caller: Caller,
}

/// A secret's present value. Not `Debug`: it holds a password.
struct Current {
    version: String,
    value: Map<String, Value>,
}

impl Secrets {
    pub(super) fn new(client: Client, caller: Caller) -> Self {
        Self { client, caller }
    }

    /// Where the secret points; `None` if it lacks one of the three keys.
    pub async fn place(&self, arn: &str) -> Result<Option<Place>, Fault> {
        Ok(place(&self.read(arn).await?.value))
    }

    /// Points the secret to `to` and keeps all its other keys. Where it points there already, nothing is written. `decision`
    /// tells one decision from another: a repeat of this call for the same one is the same request to AWS.
    pub async fn point(
        &self,
        permit: &Permit<'_>,
        arn: &str,
        to: &Place,
        decision: &str,
    ) -> Result<(), Fault> {
        let Current { version, mut value } = self.read(arn).await?;
        if place(&value).as_ref() == Some(to) {
            return Ok(());
        }
        // Some write it as text, and those who read it may rely on that.
        let port = match value.get(PORT) {
            Some(Value::String(_)) => Value::from(to.port.to_string()),
            _ => Value::from(to.port),
        };
        value.insert(HOST.to_owned(), Value::from(to.host.as_str()));
        value.insert(PORT.to_owned(), port);
        value.insert(DATABASE.to_owned(), Value::from(to.database.as_str()));
        let request = self
            .client
            .put_secret_value()
            .secret_id(arn)
            .client_request_token(token(decision, &version, to))
            .secret_string(Value::Object(value).to_string())
            .send();
        match present(self.caller.change(permit, PUT, arn, request).await)? {
            Some(_) => Ok(()),
            None => Err(missing(arn)),
        }
    }

    async fn read(&self, arn: &str) -> Result<Current, Fault> {
        let request = self.client.get_secret_value().secret_id(arn).send();
        let Some(reply) = present(self.caller.call(GET, arn, request).await)? else {
            return Err(missing(arn));
        };
        let unfit = |why: &str| {
            Fault::blocked(
                Reason::InvalidSpec,
                format_args!("{FIELD}: the value of {arn} {why}"),
                "Let it be a JSON object, as {\"host\": \"db.example\", \"port\": 5432, \"dbname\": \"bank\"}, with \
                 whatever else applications read from it",
            )
        };
        let text = reply.secret_string().ok_or_else(|| unfit("is binary"))?;
        // What the parser says could quote the value.
        let value: Value = serde_json::from_str(text).map_err(|_| unfit("is not JSON"))?;
        if !exact(&value) {
            return Err(unfit(
                "holds a number with a fraction or of more than 19 digits, which might not be kept exactly: write it as text",
            ));
        }
        let Value::Object(value) = value else { return Err(unfit("is no JSON object")) };
        let version = reply.version_id().unwrap_or_default().to_owned();
        Ok(Current { version, value })
    }
}

/// Which key identifies the new version. It depends on the version that was read, so that a secret which somebody turned
/// back in between is written once more; and on no value of the secret, for it can be read by more people than that.
fn token(decision: &str, version: &str, to: &Place) -> String {
    let Place { host, port, database } = to;
    hex(&Sha256::digest(format!("{decision}\n{version}\n{host}\n{port}\n{database}")))
}

fn place(value: &Map<String, Value>) -> Option<Place> {
    let port = match value.get(PORT)? {
        Value::String(text) => text.parse().ok()?,
        number => u16::try_from(number.as_u64()?).ok()?,
    };
    let text = |key: &str| value.get(key)?.as_str().map(str::to_owned);
    Some(Place { host: text(HOST)?, port, database: text(DATABASE)? })
}

/// Every number in it comes out as it went in.
fn exact(value: &Value) -> bool {
    match value {
        Value::Number(number) => !number.is_f64(),
        Value::Array(items) => items.iter().all(exact),
        Value::Object(entries) => entries.values().all(exact),
        Value::Null | Value::Bool(_) | Value::String(_) => true,
    }
}

fn missing(arn: &str) -> Fault {
    Fault::blocked(
        Reason::SecretMissing,
        format_args!("{FIELD}: there is no secret {arn}, or it has no value"),
        "Correct the ARN, or create the secret",
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]

    use serde_json::json;

    use super::*;
    use crate::aws::responder::{Reply, Responder, lead};

    const ARN: &str = "arn:aws:secretsmanager:eu-central-1:111122223333:secret:payments-5a1d00";

    fn holds(text: &str, version: &str) -> Reply {
        Reply::json(
            200,
            &json!({ "ARN": ARN, "Name": "payments", "VersionId": version, "SecretString": text }),
        )
    }

    fn put() -> Reply {
        Reply::json(200, &json!({ "ARN": ARN, "Name": "payments", "VersionId": "v2" }))
    }

    fn target() -> Place {
        Place { host: "target.example".into(), port: 5433, database: "bank".into() }
    }

    #[tokio::test]
    async fn the_place_changes_and_all_else_is_kept() {
        let leadership = lead().await;
        let permit = leadership.permit();
        for (before, after) in [
            (
                r#"{"username":"app","password":"hunter2 \u00e4\"","host":"source.example","port":5432,"dbname":"bank","pool":{"max":20,"on":true}}"#,
                json!({ "username": "app", "password": "hunter2 ä\"", "host": "target.example", "port": 5433,
                        "dbname": "bank", "pool": { "max": 20, "on": true } }),
            ),
            (
                r#"{"port":"5432","id":9007199254740993}"#,
                json!({ "host": "target.example", "port": "5433", "dbname": "bank", "id": 9_007_199_254_740_993_u64 }),
            ),
            ("{}", json!({ "host": "target.example", "port": 5433, "dbname": "bank" })),
        ] {
            let aws = Responder::start([
                ("GetSecretValue", vec![holds(before, "v1")]),
                ("PutSecretValue", vec![Reply::lost(), put()]),
            ])
            .await;
            let secrets = &aws.aws.secrets;
            // Its answer was lost, so it is asked for again: the same request, by which AWS knows it.
            let fault = secrets.point(&permit, ARN, &target(), "decision-7").await.unwrap_err();
            assert!(matches!(fault, Fault::Unknown(_)), "{fault:?}");
            let first = aws.last("PutSecretValue");
            secrets.point(&permit, ARN, &target(), "decision-7").await.unwrap();
            let second = aws.last("PutSecretValue");
            assert_eq!(first, second);
            let written: Value = serde_json::from_str(second["SecretString"].as_str().unwrap()).unwrap();
            assert_eq!(written, after);
            assert_eq!(second["ClientRequestToken"].as_str().unwrap().len(), 64);
            assert_eq!(second["VersionStages"], Value::Null);
        }
    }

    #[tokio::test]
    async fn a_secret_that_points_there_already_is_left_alone() {
        let leadership = lead().await;
        let there = r#"{"host":"target.example","port":"5433","dbname":"bank","password":"hunter2"}"#;
        let aws = Responder::start([("GetSecretValue", vec![holds(there, "v1"), holds("{}", "v1")])]).await;
        aws.aws.secrets.point(&leadership.permit(), ARN, &target(), "decision-7").await.unwrap();
        assert_eq!(aws.operations(), ["GetSecretValue"]);
        assert_eq!(aws.aws.secrets.place(ARN).await.unwrap(), None);
    }

    #[test]
    fn another_decision_or_another_version_is_another_request() {
        let tokens = [
            token("7", "v1", &target()),
            token("8", "v1", &target()),
            token("7", "v2", &target()),
            token("7", "v1", &Place { port: 5432, ..target() }),
        ];
        let different: std::collections::BTreeSet<&String> = tokens.iter().collect();
        assert_eq!(different.len(), tokens.len());
        assert_eq!(tokens[0], token("7", "v1", &target()));
    }

    #[tokio::test]
    async fn a_secret_that_can_not_be_kept_whole_is_refused_and_never_repeated() {
        let leadership = lead().await;
        let permit = leadership.permit();
        for (reply, reason) in [
            (holds("hunter2", "v1"), Reason::InvalidSpec),
            (holds("\"hunter2\"", "v1"), Reason::InvalidSpec),
            (holds("[\"hunter2\"]", "v1"), Reason::InvalidSpec),
            (holds("{\"hunter2\":1.10}", "v1"), Reason::InvalidSpec),
            (holds("{\"hunter2\":[123456789012345678901234567890]}", "v1"), Reason::InvalidSpec),
            (Reply::json(200, &json!({ "ARN": ARN, "SecretBinary": "aHVudGVyMg==" })), Reason::InvalidSpec),
            (Reply::error("ResourceNotFoundException"), Reason::SecretMissing),
            (Reply::error("AccessDeniedException"), Reason::AccessDenied),
            (Reply::error("InvalidRequestException"), Reason::RequestRefused),
            (Reply::error("DecryptionFailure"), Reason::AccessDenied),
        ] {
            let aws = Responder::start([("GetSecretValue", vec![reply])]).await;
            let fault = aws.aws.secrets.point(&permit, ARN, &target(), "decision-7").await.unwrap_err();
            let Fault::Blocked(blocked) = &fault else { panic!("{fault:?}") };
            assert_eq!(blocked.reason, reason, "{fault}");
            assert!(!fault.message().contains("hunter2") && fault.message().contains(ARN), "{fault}");
            assert_eq!(aws.operations(), ["GetSecretValue"]);
        }
    }
}
