//! The fence's third layer: a trigger that refuses writes, for those whom no REVOKE stops: an owner, and functions that
//! run as one.
//!
//! It is made inside the fence, so that the schema of a side that applications write to is as it was. That it calls
//! `slipway.fence()` is what tells it from the application's own triggers.

use super::connect::Connection;
use super::selection::Selection;
use super::standing;
use crate::fault::Fault;

// DMS applies with `session_replication_role = replica`, in which such a trigger does not fire.
const FUNCTION: &str = "
CREATE OR REPLACE FUNCTION slipway.fence() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION USING ERRCODE = 'read_only_sql_transaction',
    MESSAGE = format('table %I.%I is fenced: its writer is moving to another database', tg_table_schema, tg_table_name);
END $$";

// Ours, by its function and not by its name.
const OURS: &str = "
SELECT format('%I.%I', n.nspname, c.relname), quote_ident(t.tgname), t.tgenabled <> 'D'
  FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE NOT t.tgisinternal AND t.tgfoid = to_regprocedure('slipway.fence()')
 ORDER BY 1";

/// Longer than `deadlock_timeout`, after which an autovacuum that stands in the way gives way.
const PATIENCE: &str = "SET LOCAL lock_timeout = '2s'";
/// A DROP TRIGGER makes readers wait behind it, and there is no hurry.
const IMPATIENCE: &str = "SET LOCAL lock_timeout = '100ms'";

/// Gives every selected table that needs the layer and lacks it the trigger. To be called in a guarded transaction.
pub(super) async fn add(connection: &Connection, dms_role: &str, selection: &Selection) -> Result<(), Fault> {
    let tables = standing::unlayered(connection, dms_role, selection).await?;
    if tables.is_empty() {
        return Ok(());
    }
    connection.run("waiting longer for locks", PATIENCE).await?;
    connection.run("creating slipway.fence()", FUNCTION).await?;
    let present = triggers(connection).await?;
    let mut statements = Vec::new();
    for table in &tables {
        statements.push(match present.iter().find(|(of, ..)| of == table) {
            Some((_, name, _)) => format!("ALTER TABLE {table} ENABLE TRIGGER {name}"),
            None => format!(
                "CREATE TRIGGER slipway_fence BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE ON {table} \
                 FOR EACH STATEMENT EXECUTE FUNCTION slipway.fence()"
            ),
        });
    }
    connection.run_long("creating triggers", &statements.join("; ")).await
}

/// Switches the layer off, in the transaction that opens the side. Unlike dropping it this waits for no reader.
pub(super) async fn disable(connection: &Connection) -> Result<(), Fault> {
    let present = triggers(connection).await?;
    let enabled = present.iter().filter(|(.., enabled)| *enabled);
    let statements: Vec<String> =
        enabled.map(|(table, name, _)| format!("ALTER TABLE {table} DISABLE TRIGGER {name}")).collect();
    if statements.is_empty() {
        return Ok(());
    }
    connection.run("waiting longer for locks", PATIENCE).await?;
    connection.run_long("disabling triggers", &statements.join("; ")).await
}

/// Drops what [`disable`] left, in a transaction of its own.
pub(super) async fn remove(connection: &Connection) -> Result<(), Fault> {
    let present = triggers(connection).await?;
    let statements: Vec<String> =
        present.iter().map(|(table, name, _)| format!("DROP TRIGGER {name} ON {table}")).collect();
    if statements.is_empty() {
        return Ok(());
    }
    connection.run("waiting less for locks", IMPATIENCE).await?;
    connection.run_long("dropping triggers", &statements.join("; ")).await
}

/// What is left of it, as sentences.
pub(super) async fn left(connection: &Connection) -> Result<Vec<String>, Fault> {
    let present = triggers(connection).await?;
    Ok(present
        .iter()
        .map(|(table, name, enabled)| {
            let state = if *enabled { "enabled" } else { "disabled" };
            format!("the {state} trigger {name} is still on {table}: DROP TRIGGER {name} ON {table}")
        })
        .collect())
}

/// Table, name, and whether it fires.
async fn triggers(connection: &Connection) -> Result<Vec<(String, String, bool)>, Fault> {
    let rows = connection.query("reading the fence's triggers", OURS, &[]).await?;
    Ok(rows.iter().map(|row| (row.get(0), row.get(1), row.get(2))).collect())
}
