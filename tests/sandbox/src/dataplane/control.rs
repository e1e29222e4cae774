//! The control tables on the target: what a task must know after its connections, or its process, were killed.

use std::collections::HashMap;

use jiff::Timestamp;
use tokio_postgres::{Client, error::SqlState};

use super::{
    catalog::{literal, quoted},
    connect::Failure,
    replication::Lsn,
};
use crate::plane::{TableName, Task};

/// A load that was finished.
#[derive(Clone, Debug)]
pub(super) struct Loaded {
    /// The position of the snapshot: later commits are not in it.
    pub(super) at: Lsn,
    pub(super) rows: u64,
    pub(super) started: Timestamp,
    pub(super) ended: Timestamp,
}

/// The control tables of one task.
#[derive(Clone, Debug)]
pub(super) struct Control {
    schema: String,
    task: String,
}

const TABLES: &str = "
    CREATE TABLE IF NOT EXISTS {s}.awsdms_txn_state (
        task_name text PRIMARY KEY, applied_lsn pg_lsn NOT NULL, applied_commit_time timestamptz);
    CREATE TABLE IF NOT EXISTS {s}.awsdms_load_state (
        task_name text NOT NULL, table_owner text NOT NULL, table_name text NOT NULL,
        loaded_at_lsn pg_lsn, loaded_rows bigint, load_started timestamptz, load_ended timestamptz,
        PRIMARY KEY (task_name, table_owner, table_name));
    CREATE TABLE IF NOT EXISTS {s}.awsdms_apply_exceptions (
        task_name text NOT NULL, table_owner text NOT NULL, table_name text NOT NULL,
        error_time timestamptz NOT NULL, statement text NOT NULL, error text NOT NULL)";

impl Control {
    pub(super) fn new(task: &Task) -> Self {
        Self { schema: quoted(&task.settings.control_schema), task: literal(&task.resource_id) }
    }

    /// Makes what is missing of the schema and tables, and the task's row.
    pub(super) async fn prepare(&self, target: &Client, schema: &str) -> Result<(), Failure> {
        let failed = |error: tokio_postgres::Error| {
            let failure = Failure::of(&format!("making the control tables in schema {schema}"), &error);
            // Another task may be making them at this moment: IF NOT EXISTS does not wait for that.
            let made_meanwhile =
                [SqlState::UNIQUE_VIOLATION, SqlState::DUPLICATE_TABLE, SqlState::DUPLICATE_SCHEMA];
            match failure {
                Failure::Fatal(why) if error.code().is_some_and(|code| made_meanwhile.contains(code)) => {
                    Failure::Lost(why)
                }
                other => other,
            }
        };
        // IF NOT EXISTS asks for the right to create even if nothing is to be created.
        let there = target.query_one("SELECT to_regnamespace($1) IS NOT NULL", &[&self.schema]).await;
        if !there.map_err(failed)?.get::<_, bool>(0) {
            target.batch_execute(&format!("CREATE SCHEMA {}", self.schema)).await.map_err(failed)?;
        }
        let names: Vec<String> = ["awsdms_txn_state", "awsdms_load_state", "awsdms_apply_exceptions"]
            .iter()
            .map(|name| format!("{}.{name}", self.schema))
            .collect();
        let missing = target
            .query_one("SELECT bool_or(to_regclass(name) IS NULL) FROM unnest($1::text[]) AS name", &[&names])
            .await
            .map_err(failed)?;
        if missing.get::<_, bool>(0) {
            target.batch_execute(&TABLES.replace("{s}", &self.schema)).await.map_err(failed)?;
        }
        let row = format!(
            "INSERT INTO {}.awsdms_txn_state (task_name, applied_lsn) VALUES ({}, '0/0') ON CONFLICT DO NOTHING",
            self.schema, self.task
        );
        target.batch_execute(&row).await.map_err(failed)
    }

    /// Forgets position and loads, for a start from nothing.
    pub(super) async fn forget(&self, target: &Client) -> Result<(), Failure> {
        let Self { schema, task } = self;
        let sql = format!(
            "BEGIN; DELETE FROM {schema}.awsdms_load_state WHERE task_name = {task};
             UPDATE {schema}.awsdms_txn_state SET applied_lsn = '0/0', applied_commit_time = NULL WHERE task_name = {task};
             COMMIT"
        );
        target
            .batch_execute(&sql)
            .await
            .map_err(|error| Failure::of("clearing the task's control rows", &error))
    }

    /// The position of the last transaction applied. Waits for a dying session of ours that still holds it.
    pub(super) async fn position(&self, target: &Client) -> Result<Lsn, Failure> {
        let sql = format!(
            "SELECT applied_lsn::text FROM {}.awsdms_txn_state WHERE task_name = {} FOR UPDATE",
            self.schema, self.task
        );
        let attempted = "reading the task's position in awsdms_txn_state";
        let row = target.query_opt(&sql, &[]).await.map_err(|error| Failure::of(attempted, &error))?;
        let row = row.ok_or_else(|| Failure::Fatal(format!("{attempted}: the task's row is gone")))?;
        row.get::<_, &str>(0).parse()
    }

    /// Moves the position; touches no row if another session moved it meanwhile.
    pub(super) fn advance(&self, from: Lsn, to: Lsn, commit_time: &str) -> String {
        format!(
            "UPDATE {}.awsdms_txn_state SET applied_lsn = '{to}', applied_commit_time = {} \
             WHERE task_name = {} AND applied_lsn = '{from}'",
            self.schema,
            literal(commit_time),
            self.task
        )
    }

    /// Notes an error that the lenient settings skip.
    pub(super) fn exception(&self, table: &TableName, statement: &str, error: &str) -> String {
        format!(
            "INSERT INTO {}.awsdms_apply_exceptions VALUES ({}, {}, {}, clock_timestamp(), {}, {})",
            self.schema,
            self.task,
            literal(&table.schema),
            literal(&table.name),
            literal(statement),
            literal(error)
        )
    }

    /// Makes a row for each table and says which loads are finished.
    pub(super) async fn loads(
        &self,
        target: &Client,
        tables: &[TableName],
    ) -> Result<HashMap<TableName, Loaded>, Failure> {
        let failed = |error| Failure::of("reading the finished loads in awsdms_load_state", &error);
        let schemas: Vec<&str> = tables.iter().map(|table| table.schema.as_str()).collect();
        let names: Vec<&str> = tables.iter().map(|table| table.name.as_str()).collect();
        let Self { schema, task } = self;
        let rows = format!(
            "INSERT INTO {schema}.awsdms_load_state (task_name, table_owner, table_name)
             SELECT {task}, * FROM unnest($1::text[], $2::text[]) ON CONFLICT DO NOTHING"
        );
        target.execute(&rows, &[&schemas, &names]).await.map_err(failed)?;
        let finished = format!(
            "SELECT table_owner, table_name, loaded_at_lsn::text, loaded_rows, load_started, load_ended
             FROM {schema}.awsdms_load_state WHERE task_name = {task} AND loaded_at_lsn IS NOT NULL"
        );
        let mut loads = HashMap::new();
        for row in target.query(&finished, &[]).await.map_err(failed)? {
            let loaded = Loaded {
                at: row.get::<_, &str>(2).parse()?,
                rows: u64::try_from(row.get::<_, i64>(3)).unwrap_or_default(),
                started: row.get(4),
                ended: row.get(5),
            };
            loads.insert(TableName { schema: row.get(0), name: row.get(1) }, loaded);
        }
        Ok(loads)
    }

    /// Takes a table's load for the running transaction. Waits for a dying session of ours that still holds it;
    /// says whether there is still something to do.
    pub(super) async fn take_load(&self, target: &Client, table: &TableName) -> Result<bool, Failure> {
        let sql = format!(
            "SELECT loaded_at_lsn IS NULL FROM {}.awsdms_load_state
             WHERE task_name = {} AND table_owner = $1 AND table_name = $2 FOR UPDATE",
            self.schema, self.task
        );
        let attempted = format!("taking the load of {}.{} in awsdms_load_state", table.schema, table.name);
        let row = target.query_opt(&sql, &[&table.schema, &table.name]).await;
        let row = row.map_err(|error| Failure::of(&attempted, &error))?;
        row.map(|row| row.get(0)).ok_or_else(|| Failure::Fatal(format!("{attempted}: its row is gone")))
    }

    /// Notes a finished load, in the transaction that loaded.
    pub(super) async fn finish_load(
        &self,
        target: &Client,
        table: &TableName,
        loaded: &Loaded,
    ) -> Result<(), Failure> {
        let sql = format!(
            "UPDATE {}.awsdms_load_state SET loaded_at_lsn = '{}', loaded_rows = {}, load_started = $3, load_ended = $4
             WHERE task_name = {} AND table_owner = $1 AND table_name = $2",
            self.schema, loaded.at, loaded.rows, self.task
        );
        let parameters: [&(dyn tokio_postgres::types::ToSql + Sync); 4] =
            [&table.schema, &table.name, &loaded.started, &loaded.ended];
        target
            .execute(&sql, &parameters)
            .await
            .map(drop)
            .map_err(|error| Failure::of("noting a finished load in awsdms_load_state", &error))
    }
}
