//! The words in which the world (the pure model of AWS) and the data plane (what really moves rows) speak.
//!
//! The world answers API calls and, as time passes, asks for [`Effect`]s. The server hands each to the data plane,
//! which does the work over its own connections and answers with [`Report`]s; the world learns nothing else of it.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// A database as a DMS endpoint describes it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Database {
    /// Host name, checked against the certificate when `tls` is [`Tls::VerifyFull`].
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// Database name.
    pub database: String,
    /// The role DMS logs in as.
    pub username: String,
    /// Its password.
    pub password: String,
    /// What the endpoint's `SslMode` demands.
    pub tls: Tls,
}

/// `SslMode` of an endpoint, with the imported certificate it needs.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Tls {
    /// `none`
    None,
    /// `require`: encrypted, nobody checked
    Require,
    /// `verify-ca`: the chain is checked against this PEM
    VerifyCa(String),
    /// `verify-full`: the chain and the host name
    VerifyFull(String),
}

/// One table by name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct TableName {
    /// Schema.
    pub schema: String,
    /// Table.
    pub name: String,
}

/// One selection rule of the table mappings, in the order of its rule id. `%` is the wildcard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selection {
    /// `rule-action`: include or exclude.
    pub include: bool,
    /// `schema-name` pattern.
    pub schema: String,
    /// `table-name` pattern.
    pub table: String,
}

/// The task settings that the data plane obeys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// `FullLoadSettings.MaxFullLoadSubTasks`: tables loaded at once.
    pub parallel_tables: usize,
    /// `TargetMetadata.TaskRecoveryTableEnabled`: without it a restart may apply a transaction twice, as AWS does.
    pub recovery_table: bool,
    /// `ControlTablesSettings.ControlSchema` on the target.
    pub control_schema: String,
    /// `ValidationSettings.EnableValidation`.
    pub validation: bool,
    /// Every `ApplyError*`, `TableErrorPolicy` and `DataErrorPolicy` is `STOP_TASK`. If false, a row that can't be
    /// applied is logged in `awsdms_apply_exceptions` and skipped, as with AWS's lenient defaults.
    pub strict: bool,
}

/// Everything a task needs to run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Task {
    /// The generated tail of the task's ARN; also the task's name in the control tables on the target.
    pub resource_id: String,
    /// Where rows come from.
    pub source: Database,
    /// Where rows go.
    pub target: Database,
    /// The mappings' selection rules.
    pub selections: Vec<Selection>,
    /// The settings obeyed.
    pub settings: Settings,
    /// A task whose role loses its rights or its login waits until they are back; else it ends by an error. Neither way
    /// does it skip what it may not do.
    pub waits_for_rights: bool,
    /// How long a change is kept before it is applied.
    pub apply_latency: Duration,
}

/// How a task is started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Start {
    /// `start-replication` of a full-load-and-cdc task: makes its own slot, loads, then follows.
    FullLoadAndCdc,
    /// `resume-processing`: goes on from the stored position with this slot. Tables whose load did not finish are
    /// loaded again.
    Resume {
        /// The slot that the first start made.
        slot: String,
    },
    /// `reload-target`: a new slot, and every table again. With `DO_NOTHING` the target's rows are not removed.
    Reload,
}

/// What the world wants done outside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Connect as DMS would, and say how it went.
    TestConnection {
        /// Which replication instance and endpoint asked; handed back in the report.
        instance_arn: String,
        /// See `instance_arn`.
        endpoint_arn: String,
        /// Where to connect.
        database: Database,
    },
    /// Run a task until told to stop or until it fails.
    StartTask {
        /// The task's ARN; handed back in every report.
        task_arn: String,
        /// Everything it needs.
        task: Box<Task>,
        /// Where it begins.
        start: Start,
    },
    /// Stop a running task in an orderly way: finish the transaction in hand, store the position.
    StopTask {
        /// The task's ARN.
        task_arn: String,
    },
}

/// The state of one table's load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Load {
    /// "Before load"
    Before,
    /// "Full load"
    Loading,
    /// "Table completed"
    Completed,
    /// "Table error"
    Error,
}

/// The state of one table's validation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Validation {
    /// "Not enabled"
    NotEnabled,
    /// "Pending validation"
    Pending,
    /// "Pending records": some rows differ and may still be in flight
    PendingRecords,
    /// "Mismatched records"
    Mismatched,
    /// "No primary key"
    NoKey,
    /// "Validated"
    Validated,
}

/// What a task did to one table so far: counters since the task was created, measured, not estimated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableReport {
    /// Which table.
    pub table: TableName,
    /// How its load stands.
    pub load: Load,
    /// Rows copied by the load.
    pub full_load_rows: u64,
    /// When its load began.
    pub load_started: Option<Timestamp>,
    /// When its load ended.
    pub load_ended: Option<Timestamp>,
    /// Inserts, updates, deletes decoded from the slot.
    pub captured: Changes,
    /// Inserts, updates, deletes committed on the target.
    pub applied: Changes,
    /// How its validation stands.
    pub validation: Validation,
    /// Rows found different by the last validation pass.
    pub validation_failed: u64,
}

/// Numbers of changes by kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Inserted rows.
    pub inserts: u64,
    /// Updated rows.
    pub updates: u64,
    /// Deleted rows.
    pub deletes: u64,
}

/// Why a task is no longer running.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stopped {
    /// It was told to: `Stop Reason NORMAL`.
    Normal,
    /// Connections were lost and could not be had again for a while: `Stop Reason RECOVERABLE_ERROR`.
    Recoverable(String),
    /// A row could not be applied, a slot or table is gone, the login is refused: `Stop Reason FATAL_ERROR`.
    Fatal(String),
}

/// What the data plane tells the world.
#[derive(Clone, Debug, PartialEq)]
pub enum Report {
    /// A connection test ended.
    ConnectionTested {
        /// From the effect.
        instance_arn: String,
        /// From the effect.
        endpoint_arn: String,
        /// Connected and logged in, or the message that AWS would show as `LastFailureMessage`.
        result: Result<(), String>,
    },
    /// The task holds its connections and slot, and works.
    TaskRunning {
        /// From the effect.
        task_arn: String,
        /// The slot it uses on the source.
        slot: String,
    },
    /// News about a running task; sent at least once a second while anything changes.
    TaskProgress {
        /// From the effect.
        task_arn: String,
        /// Every table the selections chose.
        tables: Vec<TableReport>,
        /// All loads have ended and the changes cached meanwhile are applied.
        full_load_done: bool,
        /// Seconds between now and the commit time of the last transaction captured; 0 when the reader is idle.
        latency_source_seconds: f64,
        /// Seconds between now and the commit time of the oldest transaction not yet on the target; 0 when none.
        latency_target_seconds: f64,
        /// Changes captured and not yet applied.
        waiting_changes: u64,
        /// Source position of the last transaction committed on the target, as `4AF/B00000D0`.
        applied_lsn: Option<String>,
    },
    /// The task ended.
    TaskStopped {
        /// From the effect.
        task_arn: String,
        /// Why.
        reason: Stopped,
        /// Where a resume goes on.
        applied_lsn: Option<String>,
    },
}
