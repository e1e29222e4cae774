//! How long AWS takes.

use jiff::SignedDuration;

/// How long each asynchronous state lasts at least; connection tests, starts and stops also wait for the data plane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delays {
    /// Replication instance: `creating`.
    pub instance_create: SignedDuration,
    /// Replication instance: `deleting`.
    pub instance_delete: SignedDuration,
    /// Endpoint: `creating`.
    pub endpoint_create: SignedDuration,
    /// Endpoint: `deleting`.
    pub endpoint_delete: SignedDuration,
    /// Connection: `testing`.
    pub connection_test: SignedDuration,
    /// Task: `creating`.
    pub task_create: SignedDuration,
    /// Task: `deleting`.
    pub task_delete: SignedDuration,
    /// Task: `starting`.
    pub task_start: SignedDuration,
    /// Task: `stopping`.
    pub task_stop: SignedDuration,
    /// How long a change waits between the source's commit and the target's, when nothing else holds it up.
    pub apply: SignedDuration,
    /// How often metrics are published.
    pub metric_period: SignedDuration,
    /// How long a published datapoint can't be read yet.
    pub metric_lateness: SignedDuration,
    /// How long a minute of an alarm's period lasts.
    pub alarm_minute: SignedDuration,
    /// How long a change of a zone is at work, and refuses the next.
    pub dns_change: SignedDuration,
    /// Until a change of a zone is answered: `PENDING`.
    pub dns_in_sync: SignedDuration,
    /// Between two probes of a target.
    pub target_probe: SignedDuration,
    /// How long a deregistered target drains.
    pub target_drain: SignedDuration,
}

impl Delays {
    /// What AWS takes, but with the waits for provisioning cut from minutes to seconds.
    pub const fn aws() -> Self {
        Self {
            instance_create: SignedDuration::from_secs(20),
            instance_delete: SignedDuration::from_secs(15),
            endpoint_create: SignedDuration::from_secs(3),
            endpoint_delete: SignedDuration::from_secs(3),
            connection_test: SignedDuration::from_secs(3),
            task_create: SignedDuration::from_secs(5),
            task_delete: SignedDuration::from_secs(4),
            task_start: SignedDuration::from_secs(5),
            task_stop: SignedDuration::from_secs(5),
            apply: SignedDuration::from_secs(2),
            metric_period: SignedDuration::from_mins(1),
            metric_lateness: SignedDuration::from_mins(1),
            alarm_minute: SignedDuration::from_mins(1),
            dns_change: SignedDuration::from_millis(200),
            dns_in_sync: SignedDuration::from_secs(30),
            target_probe: SignedDuration::from_secs(5),
            target_drain: SignedDuration::from_secs(10),
        }
    }

    /// Next to nothing. Every state is still passed through, so a caller that skips one is found out.
    pub const fn none() -> Self {
        let short = SignedDuration::from_millis(5);
        Self {
            instance_create: short,
            instance_delete: short,
            endpoint_create: short,
            endpoint_delete: short,
            connection_test: short,
            task_create: short,
            task_delete: short,
            task_start: short,
            task_stop: short,
            apply: SignedDuration::ZERO,
            metric_period: SignedDuration::from_secs(5),
            metric_lateness: SignedDuration::ZERO,
            alarm_minute: SignedDuration::from_secs(5),
            dns_change: short,
            dns_in_sync: SignedDuration::from_millis(200),
            target_probe: SignedDuration::from_millis(200),
            target_drain: SignedDuration::from_millis(500),
        }
    }
}

impl std::str::FromStr for Delays {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, Self::Err> {
        match word {
            "aws" => Ok(Self::aws()),
            "none" => Ok(Self::none()),
            other => Err(format!("{other:?} is neither aws nor none")),
        }
    }
}
