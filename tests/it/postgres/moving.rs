//! What tests of a move share: a side in a given state, and what it says of itself.

use std::sync::Arc;

use slipway::permit::Permit;
use slipway::postgres::{
    Connection, Guard, Standing, StandingQuestion, end_sessions, fence, prepare_source, standing,
};
use slipway::side::Side;

use super::server::{Database, Server, everything};

/// The slot of the way back in these tests.
pub(crate) fn slot(database: &Database) -> String {
    format!("{}_rev", database.name)
}

pub(crate) fn guard(database: &Database, epoch: i64) -> Guard {
    Guard { holding: database.migration("uid-1"), epoch, fence_id: "3".to_owned() }
}

/// A source that its migration has taken hold of, and the operator's session there.
pub(crate) async fn source(name: &str, permit: &Permit<'_>) -> (Database, Connection) {
    source_on(Server::shared(), name, permit).await
}

pub(crate) async fn source_on(
    server: Arc<Server>,
    name: &str,
    permit: &Permit<'_>,
) -> (Database, Connection) {
    let database = Database::make_on(server, name).await;
    let connection = database.open(Side::Source).await;
    prepare_source(&connection, permit, &database.migration("uid-1")).await.unwrap();
    (database, connection)
}

pub(crate) async fn stands(database: &Database, connection: &Connection) -> Standing {
    let question = StandingQuestion {
        selection: everything(),
        dms_role: database.role("dms"),
        fence_id: "3".to_owned(),
        slot: slot(database),
    };
    standing(connection, &question).await.unwrap()
}

/// Fences, and ends sessions until none is left and nobody holds a lock: the proof that decisions wait for.
pub(crate) async fn fence_and_prove(
    database: &Database,
    connection: &Connection,
    permit: &Permit<'_>,
    guard: &Guard,
) -> Standing {
    fence(connection, permit, guard, &everything()).await.unwrap();
    for _ in 0..500 {
        let found = stands(database, connection).await;
        if found.sessions == 0 && found.write_locks == 0 {
            assert_eq!(found.writers, Vec::<String>::new());
            return found;
        }
        end_sessions(connection, permit, guard).await.unwrap();
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("{:?}", stands(database, connection).await);
}

/// Every privilege on the database, its tables and their columns, one a line.
pub(crate) async fn privileges(database: &Database) -> Vec<String> {
    let sql = "
        SELECT 'database ' || a FROM pg_database d, unnest(coalesce(d.datacl, acldefault('d', d.datdba))) a
         WHERE d.datname = current_database()
        UNION ALL
        SELECT c.oid::regclass || ' ' || a FROM pg_class c, unnest(coalesce(c.relacl, acldefault('r', c.relowner))) a
         WHERE c.relnamespace IN ('public'::regnamespace, 'slipway'::regnamespace) AND c.relkind IN ('r', 'p')
        UNION ALL
        SELECT c.oid::regclass || '.' || t.attname || ' ' || a
          FROM pg_class c JOIN pg_attribute t ON t.attrelid = c.oid, unnest(t.attacl) a
         WHERE c.relnamespace = 'public'::regnamespace AND t.attnum > 0
        ORDER BY 1";
    database.admin.query(sql, &[]).await.unwrap().iter().map(|row| row.get(0)).collect()
}

/// Everything that a call may change: the row, the notes, the privileges, the triggers and the slots.
pub(crate) async fn state(database: &Database) -> Vec<String> {
    let sql = "
        SELECT t::text FROM slipway.token t
        UNION ALL SELECT (to_jsonb(a) - 'saved_at')::text FROM slipway.token_acl a
        UNION ALL SELECT tgrelid::regclass || ' ' || tgname || ' ' || tgenabled::text FROM pg_trigger WHERE NOT tgisinternal
        UNION ALL SELECT slot_name || '' FROM pg_replication_slots WHERE database = current_database()
        ORDER BY 1";
    let mut found: Vec<String> =
        database.admin.query(sql, &[]).await.unwrap().iter().map(|row| row.get(0)).collect();
    found.extend(privileges(database).await);
    found
}

/// Puts the row where a test wants it, as nobody else may.
pub(crate) async fn put(database: &Database, holder: &str, epoch: i64) {
    let sql = "UPDATE slipway.token SET holder = $1, epoch = $2, fence_id = '3'";
    database.admin.execute(sql, &[&holder, &epoch]).await.unwrap();
}

/// Holder and epoch.
pub(crate) async fn row(database: &Database) -> (String, i64) {
    let row = database.admin.query_one("SELECT holder, epoch FROM slipway.token", &[]).await.unwrap();
    (row.get(0), row.get(1))
}
