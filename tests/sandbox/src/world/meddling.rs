//! What happens to a world from outside its API: someone deletes a thing by hand, a task fails, metrics go missing.

use serde::{Deserialize, Serialize};

use super::World;
use crate::plane::{Effect, Stopped};

/// One thing that happens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", rename_all_fields = "kebab-case")]
pub enum Meddling {
    /// A running task ends by an error. The data plane is stopped first, so that nothing goes on behind its back.
    FailTask {
        /// Identifier or ARN.
        task: String,
        /// Which stop reason.
        reason: StopKind,
        /// `LastFailureMessage`
        #[serde(default)]
        message: Option<String>,
    },
    /// Every tested connection changes to this state.
    LoseConnections {
        /// To which.
        to: RowState,
    },
    /// Someone deletes a resource, and all that hangs on it, with no regard for rules.
    DeleteResource {
        /// Identifier or ARN of a DMS resource, or the name of an alarm or a dashboard.
        resource: String,
    },
    /// No metric is published any more, or again.
    NoDatapoints {
        /// Whether none are.
        on: bool,
    },
    /// Every connection test ends with this message; with none, with the truth again.
    ConnectionTestFails {
        /// `LastFailureMessage`
        message: Option<String>,
    },
    /// A health check of Route 53 passes, or fails. One that follows an alarm goes on doing so.
    HealthCheck {
        /// Its id.
        id: String,
        /// Whether it passes.
        passes: bool,
    },
    /// A service of ECS is to have so many tasks, or is in the middle of a rollout.
    Service {
        /// Its name.
        name: String,
        /// `desiredCount`
        #[serde(default)]
        desired: Option<u32>,
        /// Whether a second deployment is there.
        #[serde(default)]
        rolling: Option<bool>,
    },
    /// Sets one of the [`super::Switches`].
    Switch {
        /// Its name.
        name: String,
        /// Its value.
        on: bool,
    },
    /// A database instance changes.
    Database {
        /// Identifier.
        identifier: String,
        /// New `DBInstanceStatus`.
        #[serde(default)]
        status: Option<String>,
        /// New `ParameterApplyStatus`.
        #[serde(default)]
        parameter_apply_status: Option<String>,
        /// Whether `StorageEncrypted`.
        #[serde(default)]
        encrypted: Option<bool>,
    },
}

/// The stop reasons of an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StopKind {
    /// `RECOVERABLE_ERROR`
    Recoverable,
    /// `FATAL_ERROR`
    Fatal,
}

/// What becomes of connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RowState {
    /// `testing`: a new test runs.
    Testing,
    /// `failed`
    Failed,
}

/// The thing that something was to happen to is not there.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the world has no {0}")]
pub struct UnknownThing(String);

/// What is spoilt until mended.
#[derive(Clone, Debug, Default)]
pub(super) struct Spoilt {
    pub(super) connection_tests: Option<String>,
    pub(super) no_datapoints: bool,
}

impl World {
    /// Lets something happen. Effects are handed out by the next [`World::advance`].
    pub fn meddle(&mut self, meddling: Meddling, now: jiff::Timestamp) -> Result<(), UnknownThing> {
        self.pass(now);
        match meddling {
            Meddling::FailTask { task, reason, message } => self.fail_task(&task, reason, message),
            Meddling::LoseConnections { to } => {
                self.lose_connections(to);
                Ok(())
            }
            Meddling::DeleteResource { resource } => self.delete_resource(&resource),
            Meddling::NoDatapoints { on } => {
                self.spoilt.no_datapoints = on;
                Ok(())
            }
            Meddling::ConnectionTestFails { message } => {
                self.spoilt.connection_tests = message;
                Ok(())
            }
            Meddling::HealthCheck { id, passes } => {
                let check = self.route53.checks.get_mut(&id);
                let check = check.ok_or_else(|| UnknownThing(format!("health check {id}")))?;
                check.passes = passes;
                Ok(())
            }
            Meddling::Service { name, desired, rolling } => {
                let service = self.services.iter_mut().find(|service| service.name == name);
                let service = service.ok_or_else(|| UnknownThing(format!("service {name}")))?;
                service.desired = desired.unwrap_or(service.desired);
                service.rolling = rolling.unwrap_or(service.rolling);
                Ok(())
            }
            Meddling::Switch { name, on } => {
                if self.switches.set(&name, on) {
                    Ok(())
                } else {
                    Err(UnknownThing(format!("switch {name}; it has {}", super::Switches::NAMES.join(", "))))
                }
            }
            Meddling::Database { identifier, status, parameter_apply_status, encrypted } => {
                let instance = self
                    .databases
                    .iter_mut()
                    .find(|instance| instance.identifier == identifier)
                    .ok_or_else(|| UnknownThing(format!("database instance {identifier}")))?;
                instance.status = status.unwrap_or_else(|| instance.status.clone());
                instance.parameter_apply_status =
                    parameter_apply_status.unwrap_or_else(|| instance.parameter_apply_status.clone());
                instance.storage_encrypted = encrypted.unwrap_or(instance.storage_encrypted);
                Ok(())
            }
        }
    }

    /// Mends what [`Meddling::NoDatapoints`] and [`Meddling::ConnectionTestFails`] spoilt.
    pub fn mend(&mut self) {
        self.spoilt = Spoilt::default();
    }

    fn fail_task(
        &mut self,
        name: &str,
        reason: StopKind,
        message: Option<String>,
    ) -> Result<(), UnknownThing> {
        let (arn, task) = self
            .dms
            .tasks
            .iter_mut()
            .find(|(arn, task)| (*arn == name || task.identifier == name) && task.runs())
            .ok_or_else(|| UnknownThing(format!("running task {name}")))?;
        let message =
            message.unwrap_or_else(|| "Last Error: a fault of the sandbox made the task fail".to_owned());
        task.forced = Some(match reason {
            StopKind::Recoverable => Stopped::Recoverable(message),
            StopKind::Fatal => Stopped::Fatal(message),
        });
        self.outbox.push(Effect::StopTask { task_arn: arn.clone() });
        Ok(())
    }

    fn lose_connections(&mut self, to: RowState) {
        let keys: Vec<_> = self.dms.connections.keys().cloned().collect();
        for key in keys {
            match to {
                RowState::Testing => self.begin_test(&key),
                RowState::Failed => {
                    if let Some(row) = self.dms.connections.get_mut(&key) {
                        row.status = "failed";
                        row.failure = Some("Test Endpoint failed: the connection was lost".to_owned());
                    }
                }
            }
        }
    }

    fn delete_resource(&mut self, name: &str) -> Result<(), UnknownThing> {
        if self.delete_dms_resource(name)
            || self.cloudwatch.alarms.remove(name).is_some()
            || self.cloudwatch.dashboards.remove(name).is_some()
        {
            Ok(())
        } else {
            Err(UnknownThing(format!("resource {name}")))
        }
    }
}
