//! Every metric, in one list, with its meaning. Labels are bounded words: no name of a resource but the migration's own,
//! no text of an error.

use std::sync::Arc;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use std::sync::atomic::AtomicU64;

/// Which migration.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
#[allow(missing_docs)]
pub struct Of {
    pub kind: &'static str,
    pub namespace: String,
    pub name: String,
}

/// One AWS call.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
#[allow(missing_docs)]
pub struct Call {
    pub service: &'static str,
    pub operation: &'static str,
    pub outcome: &'static str,
}

/// One word.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
#[allow(missing_docs)]
pub struct Outcome {
    pub outcome: &'static str,
}

/// One step of a migration.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
#[allow(missing_docs)]
pub struct Performed {
    pub action: &'static str,
    pub outcome: &'static str,
}

/// The operator's metrics.
#[derive(Clone)]
pub struct Metrics {
    registry: Arc<Registry>,
    /// `slipway_reconciles_total{outcome}`: reconciles by how they ended.
    pub reconciles: Family<Outcome, Counter>,
    /// `slipway_reconcile_seconds`: how long a reconcile took.
    pub reconcile_seconds: Histogram,
    /// `slipway_steps_total{action,outcome}`: steps performed.
    pub steps: Family<Performed, Counter>,
    /// `slipway_aws_calls_total{service,operation,outcome}`: calls to AWS.
    pub aws_calls: Family<Call, Counter>,
    /// `slipway_status_writes_total`: statuses written.
    pub status_writes: Counter,
    /// `slipway_lag_seconds{kind,namespace,name}`: age of the heartbeat on the target; absent while unknown.
    pub lag_seconds: Family<Of, Gauge<f64, AtomicU64>>,
    /// `slipway_ready{kind,namespace,name}`: 1 while the migration is Ready, else 0.
    pub ready: Family<Of, Gauge>,
    /// `slipway_stalled{kind,namespace,name}`: 1 while a person must change something, else 0.
    pub stalled: Family<Of, Gauge>,
    /// `slipway_weight_percent{kind,namespace,name}`: percent of an application's traffic at the target, read back from
    /// Route 53; absent while unknown.
    pub weight: Family<Of, Gauge>,
    /// `slipway_leader`: 1 while this process holds the Lease, else 0.
    pub leader: Gauge,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("slipway");
        let reconciles = Family::default();
        let reconcile_seconds = Histogram::new([0.005, 0.02, 0.1, 0.5, 2.0, 10.0, 60.0]);
        let steps = Family::default();
        let aws_calls = Family::default();
        let status_writes = Counter::default();
        let lag_seconds = Family::default();
        let ready = Family::default();
        let stalled = Family::default();
        let weight = Family::default();
        let leader = Gauge::default();
        registry.register("reconciles", "Reconciles by how they ended", reconciles.clone());
        registry.register("reconcile_seconds", "How long a reconcile took", reconcile_seconds.clone());
        registry.register("steps", "Steps performed, by how they ended", steps.clone());
        registry.register("aws_calls", "Calls to AWS, by how they ended", aws_calls.clone());
        registry.register("status_writes", "Statuses written", status_writes.clone());
        registry.register("lag_seconds", "Age of the heartbeat on the target", lag_seconds.clone());
        registry.register("ready", "1 while the migration is Ready", ready.clone());
        registry.register("stalled", "1 while a person must change something", stalled.clone());
        registry.register("weight_percent", "Percent of the traffic at the target", weight.clone());
        registry.register("leader", "1 while this process holds the Lease", leader.clone());
        Self {
            registry: Arc::new(registry),
            reconciles,
            reconcile_seconds,
            steps,
            aws_calls,
            status_writes,
            lag_seconds,
            ready,
            stalled,
            weight,
            leader,
        }
    }
}

impl Metrics {
    /// All metrics as `OpenMetrics` text.
    ///
    /// # Errors
    /// Never in practice: writing to a string does not fail.
    pub fn render(&self) -> Result<String, std::fmt::Error> {
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(text)
    }

    /// Forgets a migration that is gone.
    pub fn forget(&self, of: &Of) {
        self.lag_seconds.remove(of);
        self.ready.remove(of);
        self.stalled.remove(of);
        self.weight.remove(of);
    }
}
