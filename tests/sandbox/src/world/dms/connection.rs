//! Connections: one row for each pair of replication instance and endpoint that was ever tested.
//!
//! | rule | source |
//! |---|---|
//! | a test is asynchronous: `testing`, then `successful` or `failed` with `LastFailureMessage` | `TestConnectionSucceeds` waiter of the API model |
//! | a test of a row that is `testing` is `InvalidResourceStateFault` | unverified; switch `test-while-testing` |
//! | changing an endpoint starts a test of each of its rows | Terraform provider issue 46139 |

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Describe, Reply, filter};
use crate::plane::Effect;
use crate::world::{Refusal, World};

#[derive(Clone, Debug)]
pub(in crate::world) struct Connection {
    pub(in crate::world) status: &'static str,
    pub(in crate::world) failure: Option<String>,
    /// Tests asked for whose report has not come; only the last one counts.
    awaited: u32,
    not_before: Timestamp,
    verdict: Option<Result<(), String>>,
    /// Successful since the last start: see the switch `start-refused-once-after-test`.
    pub(super) fresh: bool,
}

impl Connection {
    pub(super) fn due(&self) -> Option<Timestamp> {
        self.verdict.as_ref().map(|_| self.not_before)
    }
}

/// `TestConnection`
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
#[expect(missing_docs, reason = "the API's own fields")]
pub struct TestConnection {
    pub replication_instance_arn: String,
    pub endpoint_arn: String,
}

/// A connection as AWS shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
#[expect(missing_docs, reason = "the API's own fields")]
pub struct ConnectionView {
    pub replication_instance_arn: String,
    pub endpoint_arn: String,
    pub status: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_failure_message: Option<String>,
    pub endpoint_identifier: String,
    pub replication_instance_identifier: String,
}

impl World {
    pub(super) fn test_connection(&mut self, call: &TestConnection) -> Result<Reply, Refusal> {
        let instance = self.dms.instances.get(&call.replication_instance_arn).ok_or_else(|| {
            Refusal::not_found(format!(
                "replication instance {} does not exist",
                call.replication_instance_arn
            ))
        })?;
        let endpoint =
            self.dms.endpoints.get(&call.endpoint_arn).ok_or_else(|| {
                Refusal::not_found(format!("endpoint {} does not exist", call.endpoint_arn))
            })?;
        if instance.status != "available" {
            return Err(Refusal::state(format!(
                "replication instance {} is {}, a connection can be tested when it is available",
                instance.identifier, instance.status
            )));
        }
        if endpoint.status != "active" {
            return Err(Refusal::state(format!(
                "endpoint {} is {}, a connection can be tested when it is active",
                endpoint.identifier, endpoint.status
            )));
        }
        let key = (call.replication_instance_arn.clone(), call.endpoint_arn.clone());
        let testing = self.dms.connections.get(&key).is_some_and(|row| row.status == "testing");
        if testing && !self.switches.test_while_testing {
            return Err(Refusal::state(format!(
                "the connection of {} to {} is being tested already",
                instance.identifier, endpoint.identifier
            )));
        }
        if !testing {
            self.begin_test(&key);
        }
        Ok(Reply::Connection(self.connection_view(&key)))
    }

    pub(in crate::world) fn begin_test(&mut self, key: &(String, String)) {
        let Some(database) = self.database_of(&key.1) else { return };
        let row = self.dms.connections.entry(key.clone()).or_insert_with(|| Connection {
            status: "testing",
            failure: None,
            awaited: 0,
            not_before: self.now,
            verdict: None,
            fresh: false,
        });
        row.status = "testing";
        row.failure = None;
        row.fresh = false;
        row.verdict = None;
        row.awaited += 1;
        row.not_before = self.now + self.delays.connection_test;
        let (instance_arn, endpoint_arn) = key.clone();
        self.outbox.push(Effect::TestConnection { instance_arn, endpoint_arn, database });
    }

    pub(in crate::world) fn connection_tested(&mut self, key: &(String, String), result: Result<(), String>) {
        let Some(row) = self.dms.connections.get_mut(key) else { return };
        row.awaited = row.awaited.saturating_sub(1);
        if row.awaited == 0 && row.status == "testing" {
            row.verdict = Some(match &self.spoilt.connection_tests {
                Some(message) => Err(message.clone()),
                None => result,
            });
        }
    }

    pub(super) fn settle_connections(&mut self) {
        let now = self.now;
        for row in self.dms.connections.values_mut().filter(|row| row.not_before <= now) {
            match row.verdict.take() {
                None => {}
                Some(Ok(())) => {
                    row.status = "successful";
                    row.fresh = true;
                }
                Some(Err(message)) => {
                    row.status = "failed";
                    row.failure = Some(message);
                }
            }
        }
    }

    pub(super) fn describe_connections(&self, call: &Describe) -> Result<Reply, Refusal> {
        let all = self.dms.connections.keys().map(|key| {
            (format!("{} {}", key.0, key.1), vec![key.1.clone(), key.0.clone()], self.connection_view(key))
        });
        let attributes = ["endpoint-arn", "replication-instance-arn"];
        filter::page(call, 100, &attributes, self.switches, "connection", all).map(Reply::Connections)
    }

    pub(super) fn mark_connections_deleting(&mut self, which: impl Fn(&(String, String)) -> bool) {
        for (_, row) in self.dms.connections.iter_mut().filter(|(key, _)| which(key)) {
            row.status = "deleting";
            row.verdict = None;
        }
    }

    /// Why a task of this instance with these endpoints can't start, if it can't: both tests must have succeeded.
    pub(super) fn untested(&mut self, instance_arn: &str, endpoints: [&str; 2]) -> Option<Refusal> {
        let refusal = || {
            Refusal::state(
                "Test connection for replication instance and endpoint should be successful for starting the replication task",
            )
        };
        let keys = endpoints.map(|endpoint| (instance_arn.to_owned(), endpoint.to_owned()));
        for key in &keys {
            if self.dms.connections.get(key).is_none_or(|row| row.status != "successful") {
                return Some(refusal());
            }
        }
        let mut any_fresh = false;
        for key in &keys {
            if let Some(row) = self.dms.connections.get_mut(key) {
                any_fresh |= std::mem::take(&mut row.fresh);
            }
        }
        (any_fresh && self.switches.start_refused_once_after_test).then(refusal)
    }

    fn connection_view(&self, key: &(String, String)) -> ConnectionView {
        let row = self.dms.connections.get(key);
        let endpoint = self.dms.endpoints.get(&key.1);
        let instance = self.dms.instances.get(&key.0);
        ConnectionView {
            replication_instance_arn: key.0.clone(),
            endpoint_arn: key.1.clone(),
            status: row.map_or("deleting", |row| row.status).to_owned(),
            last_failure_message: row.and_then(|row| row.failure.clone()),
            endpoint_identifier: endpoint.map(|endpoint| endpoint.identifier.clone()).unwrap_or_default(),
            replication_instance_identifier: instance
                .map(|instance| instance.identifier.clone())
                .unwrap_or_default(),
        }
    }
}
