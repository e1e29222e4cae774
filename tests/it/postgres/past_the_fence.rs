//! Each way past a REVOKE that PostgreSQL knows: none leads past the fence, and each is open again afterwards.

use slipway::fault::Fault;
use slipway::postgres::{add_layer, fence, unfence};
use tokio_postgres::Client;

use super::moving::{fence_and_prove, guard, privileges, source, stands};
use super::server::{Database, PASSWORD, everything, leadership};

/// One way: who comes along it, what makes it, and the write.
struct Way {
    role: &'static str,
    made_by: &'static str,
    write: &'static str,
}

async fn count(database: &Database) -> i64 {
    let sql = "SELECT (SELECT count(*) FROM accounts) + (SELECT count(*) FROM \"Transfer Log\" WHERE note IS NOT NULL)";
    database.admin.query_one(sql, &[]).await.unwrap().get(0)
}

/// The write as the role, by someone who needs no login: what is left if all else were open.
async fn refused_inside(database: &Database, role: &str, write: &str) -> String {
    let admin = &database.admin;
    admin.batch_execute(&format!("BEGIN; SET LOCAL ROLE {role}")).await.unwrap();
    let refusal = admin.batch_execute(write).await.expect_err("the write went through");
    admin.batch_execute("ROLLBACK").await.unwrap();
    refusal.code().unwrap().code().to_owned()
}

async fn leads_nowhere(name: &str, way: Way) {
    let leadership = leadership().await;
    let permit = leadership.permit();
    let (database, connection) = source(name, &permit).await;
    let role = database.role(way.role);
    let fill = |sql: &str| sql.replace("{name}", name).replace("{role}", &role);
    let common = format!(
        "DO $$ BEGIN IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '{role}') THEN CREATE ROLE {role}; END IF; END $$;
         ALTER ROLE {role} LOGIN PASSWORD '{PASSWORD}';
         GRANT CONNECT ON DATABASE {name} TO {role}; GRANT USAGE ON SCHEMA public TO {role};"
    );
    database.admin.batch_execute(&(common + &fill(way.made_by))).await.unwrap();
    let before = privileges(&database).await;
    let write = fill(way.write);

    // The write is open; and one session has begun and would go on: it holds its lock, and a plan that was checked.
    let session: Client = database.server.client(name, &role).await.unwrap();
    session.batch_execute(&write.replace("$id", "1")).await.unwrap();
    // Of his grants none is still open: a REVOKE would wait for it, and fail.
    let begun = write.strip_prefix(&fill(OWN_GRANT)).unwrap_or(&write).replace("$id", "2");
    session.batch_execute(&format!("BEGIN; {begun}")).await.unwrap();
    let guard = guard(&database, 3);
    let waiting = stands(&database, &connection).await;
    assert!(waiting.write_locks > 0 && waiting.sessions == 1, "{waiting:?}");
    let proved = fence_and_prove(&database, &connection, &permit, &guard).await;
    let written = count(&database).await;
    if !proved.unlayered.is_empty() {
        add_layer(&connection, &permit, &guard, &everything()).await.unwrap();
    }
    assert_eq!(stands(&database, &connection).await.unlayered, Vec::<String>::new());

    assert!(session.batch_execute("COMMIT").await.is_err(), "the session was left");
    let login = database.server.client(name, &role).await.expect_err("the login was let in");
    assert_eq!(login.code().unwrap().code(), "42501", "{login:?}");
    let refusal = refused_inside(&database, &role, &write.replace("$id", "4")).await;
    assert!(["42501", "25006"].contains(&refusal.as_str()), "{refusal}");
    assert_eq!(count(&database).await, written);

    assert_eq!(unfence(&connection, &permit, &guard).await.unwrap(), Vec::<String>::new());
    assert_eq!(privileges(&database).await, before);
    let session = database.server.client(name, &role).await.unwrap();
    session.batch_execute(&write.replace("$id", "5")).await.unwrap();
    assert_eq!(count(&database).await, written + 1);
    let triggers = "SELECT FROM pg_trigger WHERE NOT tgisinternal";
    assert!(database.admin.query(triggers, &[]).await.unwrap().is_empty());
}

const OWN_GRANT: &str = "GRANT INSERT ON accounts TO {role}; ";
const INSERT: &str = "INSERT INTO accounts VALUES ($id, 1)";

#[tokio::test]
async fn a_tables_owner_that_can_log_in() {
    let made_by = "GRANT {role} TO {name}_op; GRANT CREATE ON SCHEMA public TO {role}; ALTER TABLE accounts OWNER TO {role}";
    // He may give himself what was taken. The trigger stays.
    let write = "GRANT INSERT ON accounts TO {role}; INSERT INTO accounts VALUES ($id, 1)";
    assert!(write.starts_with(OWN_GRANT));
    leads_nowhere("w_owner", Way { role: "own", made_by, write }).await;
}

#[tokio::test]
async fn a_member_of_the_tables_owner() {
    let write = "SET ROLE {name}_owner; INSERT INTO accounts VALUES ($id, 1); RESET ROLE";
    leads_nowhere("w_kin", Way { role: "kin", made_by: "GRANT {name}_owner TO {role}", write }).await;
}

#[tokio::test]
async fn a_member_of_a_role_that_may_write() {
    let made_by = "CREATE ROLE {name}_group NOLOGIN; GRANT INSERT ON accounts TO {name}_group;
                   GRANT {name}_group TO {role}; ALTER ROLE {role} NOINHERIT";
    let write = "SET ROLE {name}_group; INSERT INTO accounts VALUES ($id, 1); RESET ROLE";
    let made_by = format!("GRANT USAGE ON SCHEMA public TO PUBLIC; {made_by}");
    leads_nowhere("w_member", Way { role: "member", made_by: made_by.leak(), write }).await;
}

#[tokio::test]
async fn a_function_that_runs_as_its_owner() {
    let made_by = "
        CREATE FUNCTION deposit(n bigint) RETURNS void LANGUAGE sql SECURITY DEFINER
            AS 'INSERT INTO public.accounts VALUES (n, 1)';
        ALTER FUNCTION deposit OWNER TO {name}_owner";
    leads_nowhere("w_definer", Way { role: "caller", made_by, write: "SELECT deposit($id)" }).await;
}

#[tokio::test]
async fn a_grant_on_a_column() {
    let made_by = "GRANT INSERT (id, note), UPDATE (note) ON \"Transfer Log\" TO {role}";
    let write = "INSERT INTO \"Transfer Log\" (id, note) VALUES ($id, 'a')";
    leads_nowhere("w_column", Way { role: "column", made_by, write }).await;
}

#[tokio::test]
async fn a_grant_to_everyone() {
    let made_by = "GRANT INSERT ON accounts TO PUBLIC; GRANT CONNECT, TEMPORARY ON DATABASE {name} TO PUBLIC;
                   REVOKE CONNECT ON DATABASE {name} FROM {role}, {name}_op, {name}_dms";
    leads_nowhere("w_public", Way { role: "anyone", made_by, write: INSERT }).await;
}

#[tokio::test]
async fn a_grant_by_a_foreign_grantor() {
    let made_by = "CREATE ROLE {name}_mid NOLOGIN; GRANT USAGE ON SCHEMA public TO {name}_mid; GRANT {name}_mid TO {name}_op;
                   GRANT INSERT ON accounts TO {name}_mid WITH GRANT OPTION;
                   GRANT CONNECT ON DATABASE {name} TO {name}_mid WITH GRANT OPTION;
                   SET ROLE {name}_mid; GRANT INSERT ON accounts TO {role} WITH GRANT OPTION;
                   GRANT CONNECT ON DATABASE {name} TO {role}; RESET ROLE";
    leads_nowhere("w_foreign", Way { role: "passed", made_by, write: INSERT }).await;
}

#[tokio::test]
async fn the_databases_owner() {
    let made_by = "GRANT {role} TO {name}_op; ALTER DATABASE {name} OWNER TO {role}; GRANT INSERT ON accounts TO {role}";
    leads_nowhere("w_dbowner", Way { role: "lord", made_by, write: INSERT }).await;
}

/// Nobody can be stopped by a REVOKE who may write everything; that he can't connect does.
#[tokio::test]
async fn a_role_that_may_write_everything_is_not_let_in() {
    let leadership = leadership().await;
    let permit = leadership.permit();
    let (database, connection) = source("w_all", &permit).await;
    let role = database.role("all");
    let make = format!(
        "CREATE ROLE {role} LOGIN PASSWORD '{PASSWORD}'; GRANT CONNECT ON DATABASE w_all TO {role};
         GRANT pg_write_all_data TO {role}"
    );
    database.admin.batch_execute(&make).await.unwrap();
    fence_and_prove(&database, &connection, &permit, &guard(&database, 3)).await;
    assert!(database.server.client("w_all", &role).await.is_err());
}

/// Where the operator can't act as who passed a right on, the fence takes it all the same, and says what it gave back
/// differently.
#[tokio::test]
async fn a_grantor_whom_the_operator_cannot_act_as() {
    let leadership = leadership().await;
    let permit = leadership.permit();
    let (database, connection) = source("w_stranger", &permit).await;
    database
        .admin
        .batch_execute(&format!(
            "CREATE ROLE w_stranger_mid NOLOGIN; CREATE ROLE w_stranger_far LOGIN PASSWORD '{PASSWORD}';
             GRANT USAGE ON SCHEMA public TO w_stranger_mid, w_stranger_far;
             GRANT CONNECT ON DATABASE w_stranger TO w_stranger_far;
             GRANT INSERT ON accounts TO w_stranger_mid WITH GRANT OPTION;
             SET ROLE w_stranger_mid; GRANT INSERT ON accounts TO w_stranger_far; RESET ROLE"
        ))
        .await
        .unwrap();
    let guard = guard(&database, 3);
    fence_and_prove(&database, &connection, &permit, &guard).await;
    assert_eq!(
        refused_inside(&database, "w_stranger_far", "INSERT INTO accounts VALUES (1, 1)").await,
        "42501"
    );
    let told = unfence(&connection, &permit, &guard).await.unwrap();
    assert_eq!(
        told,
        ["INSERT on public.accounts was not given back to w_stranger_far as w_stranger_mid had granted it"]
    );
    let far = database.server.client("w_stranger", "w_stranger_far").await.unwrap();
    far.batch_execute("INSERT INTO accounts VALUES (1, 1)").await.unwrap();
    assert_eq!(unfence(&connection, &permit, &guard).await.unwrap(), told, "it is told again");
}

/// Locks of someone who is not ended keep the barrier up: a prepared transaction, and a superuser's open one.
#[tokio::test]
async fn the_barrier_stays_up_while_anyone_holds_a_lock() {
    let leadership = leadership().await;
    let permit = leadership.permit();
    let server = std::sync::Arc::new(super::server::Server::start_with(
        "bank",
        2099,
        &["max_prepared_transactions=5"],
    ));
    let (database, connection) = super::moving::source_on(server, "w_locks", &permit).await;
    let guard = guard(&database, 3);
    let app = database.server.client("w_locks", "w_locks_app").await.unwrap();
    app.batch_execute("BEGIN; INSERT INTO accounts VALUES (1, 1); PREPARE TRANSACTION 'left behind'")
        .await
        .unwrap();
    let boss = database.server.superuser("w_locks").await;
    // A lock and no transaction id: a horizon of ids would look past it.
    boss.batch_execute("BEGIN; UPDATE accounts SET balance = 2 WHERE false").await.unwrap();
    fence(&connection, &permit, &guard, &everything()).await.unwrap();
    for _ in 0..2 {
        slipway::postgres::end_sessions(&connection, &permit, &guard).await.unwrap();
    }
    let both = stands(&database, &connection).await;
    assert!(both.write_locks >= 2, "{both:?}");
    assert_eq!(both.prepared, ["left behind of w_locks_app"]);
    boss.batch_execute("ROLLBACK").await.unwrap();
    assert_eq!(stands(&database, &connection).await.write_locks, 1);
    database.admin.batch_execute("ROLLBACK PREPARED 'left behind'").await.unwrap();
    let none = stands(&database, &connection).await;
    assert_eq!((none.write_locks, none.prepared.len()), (0, 0));
}

/// A lock on a table that lasts ends the attempt soon, and half a fence is none.
#[tokio::test]
async fn a_fence_that_has_to_wait_changes_nothing() {
    let leadership = leadership().await;
    let permit = leadership.permit();
    let (database, connection) = source("w_busy", &permit).await;
    let before = super::moving::state(&database).await;
    let other = database.server.superuser("w_busy").await;
    other.batch_execute("BEGIN; SELECT pg_advisory_xact_lock(x'736c6970776179'::bigint)").await.unwrap();
    let fault = fence(&connection, &permit, &guard(&database, 3), &everything()).await.unwrap_err();
    assert!(matches!(fault, Fault::Again(_)), "{fault:?}");
    assert!(connection.is_usable());
    other.batch_execute("ROLLBACK").await.unwrap();
    assert_eq!(super::moving::state(&database).await, before);
}
