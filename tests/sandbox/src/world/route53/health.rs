//! Health checks, as far as a record may name one.
//!
//! | rule | source |
//! |---|---|
//! | the same reference and configuration is the same check; another configuration is `HealthCheckAlreadyExists`, 409 | API model of CreateHealthCheck |
//! | `CLOUDWATCH_METRIC` follows its alarm; without data it is as `InsufficientDataHealthStatus` says | API model of HealthCheckConfig |
//! | any other kind passes until somebody says that it does not: nothing is probed | this model |
//! | a record whose check is gone is as healthy as one without | unverified |

use super::{Refusal, Reply, Route53, invalid_input};
use crate::world::World;

/// `HealthCheckConfig`
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "the API's own fields")]
pub struct CheckConfig {
    pub kind: String,
    pub ip_address: Option<String>,
    pub port: Option<u16>,
    pub resource_path: Option<String>,
    pub fully_qualified_domain_name: Option<String>,
    pub request_interval: u32,
    pub failure_threshold: u32,
    /// Its alarm, for `CLOUDWATCH_METRIC`.
    pub alarm_name: Option<String>,
    /// `Healthy`, `Unhealthy` or `LastKnownStatus`.
    pub insufficient_data_health_status: Option<String>,
    pub inverted: bool,
    pub disabled: bool,
}

/// `CreateHealthCheck`
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "the API's own fields")]
pub struct CreateHealthCheck {
    pub caller_reference: String,
    pub config: CheckConfig,
}

/// A health check.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the API's own fields")]
pub struct HealthCheck {
    pub id: String,
    pub caller_reference: String,
    pub config: CheckConfig,
    /// What was said of it from outside.
    pub passes: bool,
}

impl Route53 {
    pub(super) fn check(&self, id: &str) -> Result<&HealthCheck, Refusal> {
        self.checks.get(id).ok_or_else(|| {
            Refusal::new("NoSuchHealthCheck", format!("A health check with id {id} does not exist."))
        })
    }
}

impl World {
    pub(super) fn create_health_check(&mut self, call: CreateHealthCheck) -> Result<Reply, Refusal> {
        let CreateHealthCheck { caller_reference, config } = call;
        let known = self.route53.checks.values().find(|check| check.caller_reference == caller_reference);
        if let Some(check) = known {
            if check.config == config {
                return Ok(Reply::HealthCheck { check: check.clone(), made: false });
            }
            return Err(Refusal::new(
                "HealthCheckAlreadyExists",
                format!(
                    "A health check with the caller reference {caller_reference} and another configuration exists"
                ),
            ));
        }
        if !["HTTP", "HTTPS", "TCP", "CLOUDWATCH_METRIC"].contains(&config.kind.as_str()) {
            return Err(Refusal::not_modelled(format!("health checks of the type {}", config.kind)));
        }
        let by_alarm = config.kind == "CLOUDWATCH_METRIC";
        if by_alarm != config.alarm_name.is_some() {
            return Err(invalid_input("AlarmIdentifier is for CLOUDWATCH_METRIC, which needs it"));
        }
        if !by_alarm && config.ip_address.is_none() && config.fully_qualified_domain_name.is_none() {
            return Err(invalid_input("Either IPAddress or FullyQualifiedDomainName is needed"));
        }
        if ![10, 30].contains(&config.request_interval) || !(1..=10).contains(&config.failure_threshold) {
            return Err(invalid_input("RequestInterval must be 10 or 30, and FailureThreshold from 1 to 10"));
        }
        let id = format!("5a1d0000-0000-4000-8000-{:012x}", self.route53.checks.len() + 1);
        let check = HealthCheck { id: id.clone(), caller_reference, config, passes: true };
        self.route53.checks.insert(id, check.clone());
        Ok(Reply::HealthCheck { check, made: true })
    }

    /// Whether the check of this id passes now; one that is gone does.
    pub(super) fn passes(&self, id: &str) -> bool {
        let Some(check) = self.route53.checks.get(id) else { return true };
        if check.config.disabled {
            return true;
        }
        let passes = match &check.config.alarm_name {
            None => check.passes,
            Some(name) => match self.alarm_state(name) {
                Some("OK") => true,
                Some("ALARM") => false,
                _ => check.config.insufficient_data_health_status.as_deref() == Some("Healthy"),
            },
        };
        passes != check.config.inverted
    }
}
