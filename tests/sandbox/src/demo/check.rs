//! The proof: every row of both databases compared, while the application writes.

use std::time::Duration;

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

/// Where on the target the task notes how far it has come.
async fn following(target: &tokio_postgres::Client) -> Result<Following, Error> {
    let attempt = "looking for the task's position on the target";
    let missing = |cause: &str| Error::Sql { attempt: attempt.to_owned(), cause: cause.to_owned() };
    let schemas = target
        .query("SELECT schemaname::text FROM pg_tables WHERE tablename = 'awsdms_txn_state'", &[])
        .await
        .map_err(Error::sql(attempt))?;
    let [schema] = schemas.as_slice() else {
        return Err(missing("no task, or more than one, has written awsdms_txn_state there"));
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
