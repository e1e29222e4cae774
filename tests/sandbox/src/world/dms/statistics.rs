//! Statistics of tasks and tables: what the data plane measured, in AWS's words.
//!
//! | rule | source |
//! |---|---|
//! | names of table and validation states | API model of TableStatistics |
//! | `FullLoadFinishDate` is set when every load has ended; the percentage counts finished tables | user guide, CHAP_Monitoring |
//! | `MaxRecords` 20..500 | API model of DescribeTableStatistics |

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::task::Task;
use super::{Describe, Filter, Reply, epoch, filter};
use crate::plane::{Load, TableReport, Validation};
use crate::world::{Refusal, World};

/// The last report about a run.
#[derive(Clone, Debug)]
pub(in crate::world) struct Progress {
    pub(in crate::world) tables: Vec<TableReport>,
    pub(in crate::world) full_load_done: bool,
    pub(in crate::world) latency_source_seconds: f64,
    pub(in crate::world) latency_target_seconds: f64,
    pub(in crate::world) waiting_changes: u64,
    pub(in crate::world) at: Timestamp,
}

/// `DescribeTableStatistics`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
#[expect(missing_docs, reason = "the API's own fields")]
pub struct DescribeTableStatistics {
    pub replication_task_arn: String,
    #[serde(default)]
    pub filters: Vec<Filter>,
    pub max_records: Option<usize>,
    pub marker: Option<String>,
}

/// Statistics of a task as AWS shows them.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
#[expect(missing_docs, reason = "the API's own fields")]
pub struct TaskStatsView {
    pub full_load_progress_percent: usize,
    pub elapsed_time_millis: i64,
    pub tables_loaded: usize,
    pub tables_loading: usize,
    pub tables_queued: usize,
    pub tables_errored: usize,
    #[serde(with = "epoch", skip_serializing_if = "Option::is_none")]
    pub fresh_start_date: Option<Timestamp>,
    #[serde(with = "epoch", skip_serializing_if = "Option::is_none")]
    pub start_date: Option<Timestamp>,
    #[serde(with = "epoch", skip_serializing_if = "Option::is_none")]
    pub stop_date: Option<Timestamp>,
    #[serde(with = "epoch", skip_serializing_if = "Option::is_none")]
    pub full_load_start_date: Option<Timestamp>,
    #[serde(with = "epoch", skip_serializing_if = "Option::is_none")]
    pub full_load_finish_date: Option<Timestamp>,
}

/// Statistics of a table as AWS shows them.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
#[expect(missing_docs, reason = "the API's own fields")]
pub struct TableStatisticsView {
    pub schema_name: String,
    pub table_name: String,
    pub inserts: u64,
    pub deletes: u64,
    pub updates: u64,
    pub ddls: u64,
    pub applied_inserts: u64,
    pub applied_deletes: u64,
    pub applied_updates: u64,
    pub applied_ddls: u64,
    pub full_load_rows: u64,
    pub full_load_error_rows: u64,
    #[serde(with = "epoch", skip_serializing_if = "Option::is_none")]
    pub full_load_start_time: Option<Timestamp>,
    #[serde(with = "epoch", skip_serializing_if = "Option::is_none")]
    pub full_load_end_time: Option<Timestamp>,
    #[serde(with = "epoch", skip_serializing_if = "Option::is_none")]
    pub last_update_time: Option<Timestamp>,
    pub table_state: String,
    pub validation_pending_records: u64,
    pub validation_failed_records: u64,
    pub validation_suspended_records: u64,
    pub validation_state: String,
}

impl Task {
    /// None before the first start.
    pub(super) fn stats(&self, now: Timestamp) -> Option<TaskStatsView> {
        let start_date = self.started?;
        let tables = self.progress.as_ref().map_or(&[][..], |progress| &progress.tables);
        let count = |load: Load| tables.iter().filter(|table| table.load == load).count();
        let loaded = count(Load::Completed);
        let finished = self.progress.as_ref().is_some_and(|progress| progress.full_load_done);
        Some(TaskStatsView {
            full_load_progress_percent: (loaded * 100).checked_div(tables.len()).unwrap_or(0),
            elapsed_time_millis: millis(self.ended.unwrap_or(now).duration_since(start_date)),
            tables_loaded: loaded,
            tables_loading: count(Load::Loading),
            tables_queued: count(Load::Before),
            tables_errored: count(Load::Error),
            fresh_start_date: self.fresh_start,
            start_date: Some(start_date),
            stop_date: self.ended,
            full_load_start_date: tables.iter().filter_map(|table| table.load_started).min(),
            full_load_finish_date: tables
                .iter()
                .filter_map(|table| table.load_ended)
                .max()
                .filter(|_| finished),
        })
    }
}

impl World {
    pub(super) fn describe_table_statistics(&self, call: &DescribeTableStatistics) -> Result<Reply, Refusal> {
        let DescribeTableStatistics { replication_task_arn: task_arn, filters, max_records, marker } =
            call.clone();
        let Some(task) = self.dms.tasks.get(&task_arn) else {
            return Err(Refusal::not_found(format!("replication task {task_arn} does not exist")));
        };
        let mut views: Vec<TableStatisticsView> = Vec::new();
        if let Some(progress) = &task.progress {
            views.extend(progress.tables.iter().map(|table| view(table, progress.at)));
        }
        let keyed = views.into_iter().map(|view| {
            let have = vec![view.schema_name.clone(), view.table_name.clone(), view.table_state.clone()];
            (format!("{}\u{1}{}", view.schema_name, view.table_name), have, view)
        });
        // Pages are cut in the order of the keys.
        let mut all: Vec<_> = keyed.collect();
        all.sort_by(|(one, ..), (other, ..)| one.cmp(other));
        let describe = Describe { filters, max_records, marker };
        let attributes = ["schema-name", "table-name", "table-state"];
        filter::page(&describe, 500, &attributes, self.switches, "table", all.into_iter())
            .map(|page| Reply::TableStatistics { task_arn, page })
    }
}

fn millis(elapsed: SignedDuration) -> i64 {
    i64::try_from(elapsed.as_millis()).unwrap_or(i64::MAX)
}

fn view(table: &TableReport, at: Timestamp) -> TableStatisticsView {
    let TableReport {
        table: name,
        load,
        full_load_rows,
        load_started,
        load_ended,
        captured,
        applied,
        validation,
        validation_failed,
    } = table;
    let unsettled = captured.inserts + captured.updates + captured.deletes;
    let settled = applied.inserts + applied.updates + applied.deletes;
    let pending = matches!(validation, Validation::Pending | Validation::PendingRecords);
    TableStatisticsView {
        schema_name: name.schema.clone(),
        table_name: name.name.clone(),
        inserts: captured.inserts,
        deletes: captured.deletes,
        updates: captured.updates,
        ddls: 0,
        applied_inserts: applied.inserts,
        applied_deletes: applied.deletes,
        applied_updates: applied.updates,
        applied_ddls: 0,
        full_load_rows: *full_load_rows,
        full_load_error_rows: 0,
        full_load_start_time: *load_started,
        full_load_end_time: *load_ended,
        last_update_time: Some(at),
        table_state: match load {
            Load::Before => "Before load",
            Load::Loading => "Full load",
            Load::Completed => "Table completed",
            Load::Error => "Table error",
        }
        .to_owned(),
        // Never 0 while records are said to be pending, so that a gate on the number alone stays shut.
        validation_pending_records: if pending { unsettled.saturating_sub(settled).max(1) } else { 0 },
        validation_failed_records: *validation_failed,
        validation_suspended_records: 0,
        validation_state: match validation {
            Validation::NotEnabled => "Not enabled",
            Validation::Pending => "Pending validation",
            Validation::PendingRecords => "Pending records",
            Validation::Mismatched => "Mismatched records",
            Validation::NoKey => "No primary key",
            Validation::Validated => "Validated",
        }
        .to_owned(),
    }
}
