//! The load: each table copied at one snapshot, in one transaction that also notes that it is done.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
};

use futures::{SinkExt, StreamExt, pin_mut};
use jiff::Timestamp;
use tokio::task::JoinSet;

use super::{
    catalog::{Shape, literal, qualified},
    connect::{Failure, Session, describe, session, target_session},
    control::{Control, Loaded},
    progress::Ledger,
    replication::{Created, Lsn, Replication},
};
use crate::plane::{TableName, Task};

/// What is to be loaded, and at which snapshot.
pub(super) struct Load {
    pub(super) task: Task,
    pub(super) control: Control,
    pub(super) ledger: Ledger,
    /// Tables with the source's columns.
    pub(super) tables: Vec<(TableName, Shape)>,
    pub(super) created: Created,
}

struct Shared {
    load: Load,
    snapshot: String,
    queue: Mutex<VecDeque<(TableName, Shape)>>,
}

/// Loads all tables. `holder` keeps the snapshot: it must not be used until the end.
pub(super) async fn run(mut load: Load, holder: Replication) -> Result<(), Failure> {
    let snapshot = load.created.snapshot.take();
    let snapshot = snapshot.ok_or_else(|| Failure::Fatal("the slot came without a snapshot".to_owned()))?;
    let queue: VecDeque<_> = std::mem::take(&mut load.tables).into();
    let workers = load.task.settings.parallel_tables.clamp(1, queue.len().max(1));
    let shared = Arc::new(Shared { load, snapshot, queue: Mutex::new(queue) });
    let mut work = JoinSet::new();
    for _ in 0..workers {
        work.spawn(worker(shared.clone()));
    }
    while let Some(ended) = work.join_next().await {
        ended.map_err(|error| Failure::Lost(format!("a worker of the load ended: {error}")))??;
    }
    drop(holder);
    Ok(())
}

async fn worker(shared: Arc<Shared>) -> Result<(), Failure> {
    let Load { task, ledger, .. } = &shared.load;
    let source = session(&task.source, "AWS DMS full load").await?;
    let target = target_session(&task.target, "AWS DMS full load").await?;
    loop {
        let next = shared.queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
        let Some((table, shape)) = next else { return Ok(()) };
        if let Err(failure) = table_load(&shared, &source, &target, &table, &shape).await {
            if !matches!(failure, Failure::Lost(_)) {
                ledger.load_fails(&table);
            }
            return Err(failure);
        }
    }
}

async fn table_load(
    shared: &Shared,
    source: &Session,
    target: &Session,
    table: &TableName,
    shape: &Shape,
) -> Result<(), Failure> {
    let Load { control, ledger, created, .. } = &shared.load;
    let full_name = format!("{}.{}", table.schema, table.name);
    let reading = |error| Failure::of(&format!("full load of table {full_name}: reading the source"), &error);
    let writing = |error| Failure::of(&format!("full load of table {full_name}: writing the target"), &error);
    ledger.load_begins(table);
    let started = Timestamp::now();

    let begin = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";
    source.client.batch_execute(begin).await.map_err(reading)?;
    let import = format!("SET TRANSACTION SNAPSHOT {}", literal(&shared.snapshot));
    // Whatever the server says: the snapshot went with the connection that held it, and a new one can be had.
    source.client.batch_execute(&import).await.map_err(|error| {
        Failure::Lost(format!(
            "full load of table {full_name}: the snapshot can't be imported: {}",
            describe(&error)
        ))
    })?;

    target.client.batch_execute("BEGIN").await.map_err(writing)?;
    let mut loaded = Loaded { at: created.consistent, rows: 0, started, ended: started };
    if control.take_load(&target.client, table).await? {
        loaded.rows = copy(ledger, source, target, table, shape).await?;
        loaded.ended = Timestamp::now();
        control.finish_load(&target.client, table, &loaded).await?;
    } else {
        // An earlier session's commit was done though its answer was lost. It was at another snapshot than the one
        // noted for this session: connecting again reads what is true.
        return Err(Failure::Lost(format!("full load of table {full_name}: it was finished meanwhile")));
    }
    target.client.batch_execute("COMMIT").await.map_err(writing)?;
    source.client.batch_execute("COMMIT").await.map_err(reading)?;
    ledger.load_ends(table, &loaded);
    Ok(())
}

async fn copy(
    ledger: &Ledger,
    source: &Session,
    target: &Session,
    table: &TableName,
    shape: &Shape,
) -> Result<u64, Failure> {
    /// Rows between two notes of progress.
    const NOTE: u64 = 1000;
    let full_name = format!("{}.{}", table.schema, table.name);
    let reading = |error| Failure::of(&format!("full load of table {full_name}: reading the source"), &error);
    let writing = |error| Failure::of(&format!("full load of table {full_name}: writing the target"), &error);
    let name = qualified(table);
    let columns = shape.column_list();
    let from = format!("COPY (SELECT {columns} FROM ONLY {name}) TO STDOUT");
    let list = if columns.is_empty() { String::new() } else { format!("({columns})") };
    let to = format!("COPY {name} {list} FROM STDIN");
    let rows = source.client.copy_out(&from).await.map_err(reading)?;
    let sink = target.client.copy_in(&to).await.map_err(writing)?;
    pin_mut!(rows, sink);
    let mut copied = 0;
    while let Some(row) = rows.next().await {
        sink.feed(row.map_err(reading)?).await.map_err(writing)?;
        copied += 1;
        if copied % NOTE == 0 {
            ledger.loaded_rows(table, copied);
        }
    }
    sink.finish().await.map_err(writing)
}

/// Where the source is, rounded down if only a page's header lies between: no record ends within one.
pub(super) async fn source_position(source: &Session) -> Result<Lsn, Failure> {
    const PAGE: u64 = 8192;
    const HEADER: u64 = 40;
    let attempted = "reading the source's WAL position";
    let row = source.client.query_one("SELECT pg_current_wal_flush_lsn()::text", &[]).await;
    let position: Lsn = row.map_err(|error| Failure::of(attempted, &error))?.get::<_, &str>(0).parse()?;
    let past = position.0 % PAGE;
    Ok(if past <= HEADER { Lsn(position.0 - past) } else { position })
}
