//! The proof: every row of both databases compared, while the application writes.

use std::time::Duration;

use tokio_postgres::types::PgLsn;

use crate::bank::journal::{self, Ledger, Verdict};
use crate::bank::{self, Comparison, Following, SCHEMA};
use crate::postgres::Error;
use crate::sandbox::{self, Environment};

/// How long the target may take to apply a position of the source.
const PATIENCE: Duration = Duration::from_mins(1);

/// Compares the bank's tables on both sides of a sandbox whose task is replicating.
pub async fn compare(environment: &Environment) -> Result<Comparison, sandbox::Error> {
    let mut source = environment.login("SOURCE_DSN")?.connect("check").await?;
    let mut target = environment.login("TARGET_DSN")?.connect("check").await?;
    let following = following(&target).await?;
    Ok(Box::pin(bank::compare(&mut source, &mut target, &[SCHEMA], &following)).await?)
}

/// Compares a load's journal with the one database that takes the application's writes.
pub async fn journal(environment: &Environment, ledger: &Ledger) -> Result<Verdict, String> {
    let text = |error: sandbox::Error| error.to_string();
    let mut writers = Vec::new();
    let mut refused = Vec::new();
    for side in ["SOURCE", "TARGET"] {
        let application = environment.login(&format!("{side}_APP_DSN")).map_err(text)?;
        match bank::writer(&[application], "journal").await {
            Ok(_) => writers.push(side),
            Err(error) => refused.push(error.to_string()),
        }
    }
    let [writer] = writers[..] else {
        return Err(match writers[..] {
            [] => format!("neither side takes the application's writes: {}", refused.join("; ")),
            _ => "both sides take the application's writes".to_owned(),
        });
    };
    let database = environment.login(&format!("{writer}_DSN")).map_err(text)?.connect("journal").await;
    let database = database.map_err(|error| error.to_string())?;
    journal::check(&database, ledger).await.map_err(|error| error.to_string())
}

/// The bank's tables on the source, and the rows in them.
pub async fn count(environment: &Environment) -> Result<(usize, u64), sandbox::Error> {
    let source = environment.login("SOURCE_DSN")?.connect("count").await?;
    let attempt = "counting the source's rows";
    let tables = source
        .query(
            "SELECT format('%I.%I', schemaname, tablename) FROM pg_tables WHERE schemaname = $1",
            &[&SCHEMA],
        )
        .await
        .map_err(Error::sql(attempt))?;
    let mut rows = 0;
    for table in &tables {
        let sql = format!("SELECT count(*) FROM {}", table.get::<_, &str>(0));
        let counted = source.query_one(&sql, &[]).await.map_err(Error::sql(attempt))?;
        rows += counted.get::<_, i64>(0).unsigned_abs();
    }
    Ok((tables.len(), rows))
}

/// How far the source's log has come.
pub async fn position(environment: &Environment) -> Result<PgLsn, sandbox::Error> {
    let source = environment.login("SOURCE_DSN")?.connect("position").await?;
    let row = source.query_one("SELECT pg_current_wal_insert_lsn()", &[]).await;
    Ok(row.map_err(Error::sql("reading the source's position"))?.get(0))
}

/// Deletes one row that the application never touches again, so that nothing but a comparison can find out. Says which.
pub async fn delete_one_row_on_target(environment: &Environment) -> Result<String, sandbox::Error> {
    let target = environment.login("TARGET_DSN")?.connect("vandal").await?;
    let deleted = target
        .query_one(
            "DELETE FROM public.entries WHERE (transfer_id, line) = \
             (SELECT transfer_id, line FROM public.entries ORDER BY transfer_id, line LIMIT 1) \
             RETURNING format('public.entries (%s, %s)', transfer_id, line)",
            &[],
        )
        .await
        .map_err(Error::sql("deleting one row on the target"))?;
    Ok(deleted.get(0))
}

/// Deletes the key of one write on the target, as if the write were lost. Says which.
pub async fn delete_one_write(environment: &Environment) -> Result<String, sandbox::Error> {
    let target = environment.login("TARGET_DSN")?.connect("vandal").await?;
    let sql = "DELETE FROM public.requests WHERE key = (SELECT key FROM public.requests ORDER BY at LIMIT 1) \
               RETURNING key::text";
    let deleted = target.query_one(sql, &[]).await;
    Ok(deleted.map_err(Error::sql("deleting one write on the target"))?.get(0))
}

/// Where on the target the task notes how far it has come.
async fn following(target: &tokio_postgres::Client) -> Result<Following, Error> {
    let attempt = "looking for the task's position on the target";
    let missing = |cause: &str| Error::Sql { attempt: attempt.to_owned(), cause: cause.to_owned() };
    let schemas = target
        .query("SELECT schemaname::text FROM pg_tables WHERE tablename = 'awsdms_txn_state'", &[])
        .await
        .map_err(Error::sql(attempt))?;
    let [schema] = schemas.as_slice() else {
        return Err(missing(
            "there is not exactly one table awsdms_txn_state there; does a migration replicate?",
        ));
    };
    let control_schema: String = schema.get(0);
    let names = format!(
        "SELECT task_name FROM \"{}\".awsdms_txn_state ORDER BY applied_commit_time DESC NULLS LAST LIMIT 1",
        control_schema.replace('"', "\"\"")
    );
    let task = target.query_opt(&names, &[]).await.map_err(Error::sql(attempt))?;
    let task = task.ok_or_else(|| missing("no task has come that far"))?;
    Ok(Following::Position { control_schema, task: task.get(0), patience: PATIENCE })
}
