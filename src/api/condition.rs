//! Condition types and reasons: every one that a status can show, in one place.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

/// What Git allows is reached and healthy (also while waiting for a person).
pub const READY: &str = "Ready";
/// Walking towards the goal.
pub const RECONCILING: &str = "Reconciling";
/// A person must change something; the message says what.
pub const STALLED: &str = "Stalled";
/// The source answers, as the server it was before, to the operator's role over verified TLS.
pub const SOURCE_CONNECTED: &str = "SourceConnected";
/// The same for the target.
pub const TARGET_CONNECTED: &str = "TargetConnected";
/// Both databases are fit for the migration.
pub const ASSESSED: &str = "Assessed";
/// No application can write to the target.
pub const TARGET_FENCED: &str = "TargetFenced";
/// The task runs, every table is loaded, and our own heartbeat arrives.
pub const REPLICATING: &str = "Replicating";
/// The application as it is today is healthy, and proved to write to the present writer.
pub const SOURCE_READY: &str = "SourceReady";
/// The same for the application on AWS.
pub const TARGET_READY: &str = "TargetReady";
/// The weighted records are ours and as they were asked for.
pub const RECORDS_HELD: &str = "RecordsHeld";

/// Why something is as it is: `CamelCase` in a condition, and bounded, so that it can label a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[allow(missing_docs)] // each is explained to its reader in docs/conditions.md, which a test keeps complete
pub enum Reason {
    Aborted,
    AccessDenied,
    AccountMismatch,
    AccountNotMapped,
    ApplicationMissing,
    Assessed,
    CertificateAuthorityInvalid,
    CertificateRefused,
    Connected,
    ConnectionsExhausted,
    ConnectionTestFailed,
    CuttingOver,
    DatabaseMissing,
    DataMismatch,
    DecidedElsewhere,
    Deleting,
    Fenced,
    Finished,
    Finishing,
    GateFailed,
    GivenUp,
    InstanceMissing,
    InstanceUnfit,
    InternalError,
    InvalidSpec,
    Loading,
    LoginRefused,
    LongTransaction,
    MigrationMissing,
    NoTables,
    NotAssessed,
    NotDrained,
    NotFenced,
    NotFrozen,
    NotHealthy,
    NotOurs,
    NoWayBack,
    OtherMigration,
    OtherServer,
    Planned,
    PreparedTransaction,
    PrivilegeMissing,
    Provisioning,
    QuotaExceeded,
    RecordConflict,
    RecordDrift,
    Replicating,
    RequestRefused,
    Retrying,
    RollingBack,
    SchemaChanging,
    SecretKeyMissing,
    SecretMissing,
    Shifted,
    Shifting,
    SlotLost,
    SlotsExhausted,
    Soaking,
    Staging,
    StandbyMissing,
    StatusLost,
    Suspended,
    TableErrored,
    TableNotCarried,
    TableUnsupported,
    TableWithoutKey,
    TargetMissing,
    TargetNotEmpty,
    TargetSchemaMissing,
    TaskFailed,
    TwoWriters,
    Unknown,
    UnlistedWriter,
    Unreachable,
    WalLevelNotLogical,
    WindowPassed,
    WriteOutageExceeded,
    WriterUnknown,
    ZoneMissing,
}

impl Reason {
    /// The word as a condition shows it.
    pub fn as_str(self) -> &'static str {
        // The variants' names are the API's words; a test holds the two together.
        match self {
            Self::Aborted => "Aborted",
            Self::AccessDenied => "AccessDenied",
            Self::AccountMismatch => "AccountMismatch",
            Self::AccountNotMapped => "AccountNotMapped",
            Self::ApplicationMissing => "ApplicationMissing",
            Self::Assessed => "Assessed",
            Self::CertificateAuthorityInvalid => "CertificateAuthorityInvalid",
            Self::CertificateRefused => "CertificateRefused",
            Self::Connected => "Connected",
            Self::ConnectionsExhausted => "ConnectionsExhausted",
            Self::ConnectionTestFailed => "ConnectionTestFailed",
            Self::CuttingOver => "CuttingOver",
            Self::DatabaseMissing => "DatabaseMissing",
            Self::DataMismatch => "DataMismatch",
            Self::DecidedElsewhere => "DecidedElsewhere",
            Self::Deleting => "Deleting",
            Self::Fenced => "Fenced",
            Self::Finished => "Finished",
            Self::Finishing => "Finishing",
            Self::GateFailed => "GateFailed",
            Self::GivenUp => "GivenUp",
            Self::InstanceMissing => "InstanceMissing",
            Self::InstanceUnfit => "InstanceUnfit",
            Self::InternalError => "InternalError",
            Self::InvalidSpec => "InvalidSpec",
            Self::Loading => "Loading",
            Self::LoginRefused => "LoginRefused",
            Self::LongTransaction => "LongTransaction",
            Self::MigrationMissing => "MigrationMissing",
            Self::NoTables => "NoTables",
            Self::NotAssessed => "NotAssessed",
            Self::NotDrained => "NotDrained",
            Self::NotFenced => "NotFenced",
            Self::NotFrozen => "NotFrozen",
            Self::NotHealthy => "NotHealthy",
            Self::NotOurs => "NotOurs",
            Self::NoWayBack => "NoWayBack",
            Self::OtherMigration => "OtherMigration",
            Self::OtherServer => "OtherServer",
            Self::Planned => "Planned",
            Self::PreparedTransaction => "PreparedTransaction",
            Self::PrivilegeMissing => "PrivilegeMissing",
            Self::Provisioning => "Provisioning",
            Self::QuotaExceeded => "QuotaExceeded",
            Self::RecordConflict => "RecordConflict",
            Self::RecordDrift => "RecordDrift",
            Self::Replicating => "Replicating",
            Self::RequestRefused => "RequestRefused",
            Self::Retrying => "Retrying",
            Self::RollingBack => "RollingBack",
            Self::SchemaChanging => "SchemaChanging",
            Self::SecretKeyMissing => "SecretKeyMissing",
            Self::SecretMissing => "SecretMissing",
            Self::Shifted => "Shifted",
            Self::Shifting => "Shifting",
            Self::SlotLost => "SlotLost",
            Self::SlotsExhausted => "SlotsExhausted",
            Self::Soaking => "Soaking",
            Self::Staging => "Staging",
            Self::StandbyMissing => "StandbyMissing",
            Self::StatusLost => "StatusLost",
            Self::Suspended => "Suspended",
            Self::TableErrored => "TableErrored",
            Self::TableNotCarried => "TableNotCarried",
            Self::TableUnsupported => "TableUnsupported",
            Self::TableWithoutKey => "TableWithoutKey",
            Self::TargetMissing => "TargetMissing",
            Self::TargetNotEmpty => "TargetNotEmpty",
            Self::TargetSchemaMissing => "TargetSchemaMissing",
            Self::TaskFailed => "TaskFailed",
            Self::TwoWriters => "TwoWriters",
            Self::Unknown => "Unknown",
            Self::UnlistedWriter => "UnlistedWriter",
            Self::Unreachable => "Unreachable",
            Self::WalLevelNotLogical => "WalLevelNotLogical",
            Self::WindowPassed => "WindowPassed",
            Self::WriteOutageExceeded => "WriteOutageExceeded",
            Self::WriterUnknown => "WriterUnknown",
            Self::ZoneMissing => "ZoneMissing",
        }
    }
}

impl std::fmt::Display for Reason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// True, False, or not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Truth {
    True,
    False,
    Unknown,
}

impl Truth {
    /// The word as Kubernetes writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::True => "True",
            Self::False => "False",
            Self::Unknown => "Unknown",
        }
    }
}

impl From<bool> for Truth {
    fn from(value: bool) -> Self {
        if value { Self::True } else { Self::False }
    }
}

/// Sets one condition. The transition time moves only when the status does.
pub fn set(
    conditions: &mut Vec<Condition>,
    kind: &str,
    truth: Truth,
    reason: Reason,
    message: impl Into<String>,
    generation: Option<i64>,
    now: Timestamp,
) {
    let since = conditions
        .iter()
        .find(|c| c.type_ == kind && c.status == truth.as_str())
        .map_or_else(|| Time(now), |c| c.last_transition_time.clone());
    let condition = Condition {
        type_: kind.to_owned(),
        status: truth.as_str().to_owned(),
        reason: reason.as_str().to_owned(),
        message: message.into(),
        observed_generation: generation,
        last_transition_time: since,
    };
    match conditions.iter_mut().find(|c| c.type_ == kind) {
        Some(existing) => *existing = condition,
        None => conditions.push(condition),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reasons_word_is_its_variants_name() {
        for reason in [Reason::AccessDenied, Reason::TargetNotEmpty, Reason::WalLevelNotLogical] {
            assert_eq!(format!("{reason:?}"), reason.as_str());
        }
    }

    #[test]
    fn the_transition_time_moves_only_with_the_status() {
        let (early, late) = (Timestamp::UNIX_EPOCH, Timestamp::MAX);
        let mut conditions = Vec::new();
        set(&mut conditions, READY, Truth::False, Reason::Loading, "1 of 2", Some(1), early);
        set(&mut conditions, READY, Truth::False, Reason::Provisioning, "2 of 2", Some(2), late);
        assert_eq!(conditions[0].last_transition_time.0, early);
        assert_eq!(conditions[0].message, "2 of 2");
        set(&mut conditions, READY, Truth::True, Reason::Replicating, "", Some(2), late);
        assert_eq!(conditions[0].last_transition_time.0, late);
        assert_eq!(conditions.len(), 1);
    }
}
