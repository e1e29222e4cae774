//! AWS's words for states, turned into ours. What is not known is kept as it is.

use aws_sdk_databasemigration::types;
use aws_smithy_types::DateTime;
use jiff::Timestamp;

use super::{
    ConnectionStatus, EndpointSettings, EndpointTls, InstanceStatus, Owner, StopReason, TableState,
    TableStatistics, Task, TaskStatus, ValidationState,
};
use crate::side::Side;

/// `ReplicationInstanceStatus`.
pub fn instance_status(word: &str) -> InstanceStatus {
    match word {
        "available" => InstanceStatus::Available,
        "creating" => InstanceStatus::Creating,
        "modifying" => InstanceStatus::Modifying,
        "deleting" => InstanceStatus::Deleting,
        "failed" => InstanceStatus::Failed,
        other => InstanceStatus::Other(other.to_owned()),
    }
}

/// `Connection.Status`.
pub fn connection_status(word: &str) -> ConnectionStatus {
    match word {
        "testing" => ConnectionStatus::Testing,
        "successful" => ConnectionStatus::Successful,
        "failed" => ConnectionStatus::Failed,
        "deleting" => ConnectionStatus::Deleting,
        other => ConnectionStatus::Other(other.to_owned()),
    }
}

/// `ReplicationTask.Status`.
pub fn task_status(word: &str) -> TaskStatus {
    match word {
        "creating" => TaskStatus::Creating,
        "ready" => TaskStatus::Ready,
        "starting" => TaskStatus::Starting,
        "running" => TaskStatus::Running,
        "stopping" => TaskStatus::Stopping,
        "stopped" => TaskStatus::Stopped,
        "failed" => TaskStatus::Failed,
        "modifying" => TaskStatus::Modifying,
        "testing" => TaskStatus::Testing,
        "deleting" => TaskStatus::Deleting,
        other => TaskStatus::Other(other.to_owned()),
    }
}

/// AWS writes "Stop Reason NORMAL".
pub fn stop_reason(text: &str) -> Option<StopReason> {
    let word = text.trim();
    let word = word.strip_prefix("Stop Reason").unwrap_or(word).trim();
    match word {
        "" => None,
        "NORMAL" => Some(StopReason::Normal),
        "RECOVERABLE_ERROR" => Some(StopReason::RecoverableError),
        "FATAL_ERROR" => Some(StopReason::FatalError),
        other => Some(StopReason::Other(other.to_owned())),
    }
}

/// `TableState`.
pub fn table_state(word: &str) -> TableState {
    match word {
        "Before load" => TableState::BeforeLoad,
        "Full load" => TableState::FullLoad,
        "Table completed" => TableState::Completed,
        "Table error" => TableState::Error,
        "Table does not exist" => TableState::DoesNotExist,
        other => TableState::Other(other.to_owned()),
    }
}

/// `ValidationState`.
pub fn validation_state(word: &str) -> ValidationState {
    match word {
        "Validated" => ValidationState::Validated,
        "Pending records" | "Pending validation" | "Preparing table" | "Pending revalidation" => {
            ValidationState::Pending
        }
        "Mismatched records" => ValidationState::Mismatched,
        "Suspended records" => ValidationState::Suspended,
        "No primary key" => ValidationState::NoPrimaryKey,
        "Not enabled" => ValidationState::NotEnabled,
        "Error" | "Table error" => ValidationState::Error,
        other => ValidationState::Other(other.to_owned()),
    }
}

pub(super) fn ssl_mode(tls: &EndpointTls) -> types::DmsSslModeValue {
    match tls {
        EndpointTls::VerifyCa => types::DmsSslModeValue::VerifyCa,
        EndpointTls::VerifyFull => types::DmsSslModeValue::VerifyFull,
        EndpointTls::Other(word) => types::DmsSslModeValue::from(word.as_str()),
    }
}

fn tls(mode: Option<&types::DmsSslModeValue>) -> EndpointTls {
    match mode {
        Some(types::DmsSslModeValue::VerifyCa) => EndpointTls::VerifyCa,
        Some(types::DmsSslModeValue::VerifyFull) => EndpointTls::VerifyFull,
        Some(other) => EndpointTls::Other(other.as_str().to_owned()),
        None => EndpointTls::Other("none".to_owned()),
    }
}

/// AWS shows a `PostgreSQL` endpoint's address both at its top and among its `PostgreSQL` settings.
pub(super) fn endpoint_settings(
    endpoint: &types::Endpoint,
    side: Side,
    secret_version: Option<String>,
) -> EndpointSettings {
    let inner = endpoint.postgre_sql_settings();
    let text = |outer: Option<&str>, inner: Option<&str>| outer.or(inner).unwrap_or_default().to_owned();
    let port = endpoint.port().or_else(|| inner?.port()).unwrap_or_default();
    EndpointSettings {
        side,
        host: text(endpoint.server_name(), inner.and_then(|s| s.server_name())),
        port: u16::try_from(port).unwrap_or_default(),
        database: text(endpoint.database_name(), inner.and_then(|s| s.database_name())),
        username: text(endpoint.username(), inner.and_then(|s| s.username())),
        tls: tls(endpoint.ssl_mode()),
        certificate_arn: endpoint.certificate_arn().filter(|arn| !arn.is_empty()).map(str::to_owned),
        secret_version,
    }
}

/// Which side an endpoint is of, as AWS has it.
pub(super) fn endpoint_side(endpoint: &types::Endpoint) -> Option<Side> {
    match endpoint.endpoint_type()?.as_str() {
        word if word.eq_ignore_ascii_case("source") => Some(Side::Source),
        word if word.eq_ignore_ascii_case("target") => Some(Side::Target),
        _ => None,
    }
}

pub(super) fn task(task: types::ReplicationTask, owner: Owner) -> Task {
    let stats = task.replication_task_stats.as_ref();
    // Not "100 %", which is an estimate from the source's statistics.
    let full_load_finished = stats.is_some_and(|stats| {
        stats.full_load_finish_date.is_some()
            && stats.tables_loading == 0
            && stats.tables_queued == 0
            && stats.tables_errored == 0
    });
    let started =
        task.replication_task_start_date.or_else(|| stats?.fresh_start_date).or_else(|| stats?.start_date);
    Task {
        status: task_status(task.status.as_deref().unwrap_or_default()),
        stop_reason: task.stop_reason.as_deref().and_then(stop_reason),
        started_at: started.and_then(timestamp),
        stopped_at: stats.and_then(|stats| stats.stop_date).and_then(timestamp),
        full_load_finished,
        full_load_percent: stats.map_or(0, |stats| stats.full_load_progress_percent),
        arn: task.replication_task_arn.unwrap_or_default(),
        identifier: task.replication_task_identifier.unwrap_or_default(),
        source_endpoint_arn: task.source_endpoint_arn.unwrap_or_default(),
        target_endpoint_arn: task.target_endpoint_arn.unwrap_or_default(),
        instance_arn: task.replication_instance_arn.unwrap_or_default(),
        owner,
    }
}

pub(super) fn table(table: types::TableStatistics) -> TableStatistics {
    TableStatistics {
        schema: table.schema_name.unwrap_or_default(),
        name: table.table_name.unwrap_or_default(),
        state: table_state(table.table_state.as_deref().unwrap_or_default()),
        full_load_rows: table.full_load_rows,
        validation: validation_state(table.validation_state.as_deref().unwrap_or_default()),
    }
}

fn timestamp(time: DateTime) -> Option<Timestamp> {
    Timestamp::new(time.secs(), i32::try_from(time.subsec_nanos()).ok()?).ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]

    use super::*;

    #[test]
    fn words_that_nobody_knows_are_kept() {
        assert_eq!(task_status("moving"), TaskStatus::Other("moving".into()));
        assert_eq!(instance_status("storage-full"), InstanceStatus::Other("storage-full".into()));
        assert_eq!(table_state("Table cancelled"), TableState::Other("Table cancelled".into()));
        assert_eq!(validation_state(""), ValidationState::Other(String::new()));
        assert_eq!(connection_status("x"), ConnectionStatus::Other("x".into()));
    }

    #[test]
    fn a_stop_reason_loses_its_prefix() {
        assert_eq!(stop_reason("Stop Reason NORMAL"), Some(StopReason::Normal));
        assert_eq!(stop_reason("Stop Reason FATAL_ERROR"), Some(StopReason::FatalError));
        assert_eq!(stop_reason("RECYCLE_TASK"), Some(StopReason::Other("RECYCLE_TASK".into())));
        assert_eq!(stop_reason(""), None);
        assert_eq!(stop_reason("Stop Reason "), None);
    }

    #[test]
    fn a_load_is_finished_only_when_no_table_waits_or_failed() {
        let finished = |errored, date: Option<i64>| {
            let stats = types::ReplicationTaskStats::builder()
                .full_load_progress_percent(100)
                .tables_errored(errored)
                .set_full_load_finish_date(date.map(DateTime::from_secs))
                .build();
            let seen = types::ReplicationTask::builder().replication_task_stats(stats).build();
            task(seen, Owner::Us).full_load_finished
        };
        assert!(finished(0, Some(1)));
        assert!(!finished(1, Some(1)));
        assert!(!finished(0, None), "100 % alone is an estimate");
    }
}
