//! Which call may change a side, by who holds it and by whose decision it is: every combination.

use slipway::api::condition::Reason;
use slipway::fault::Fault;
use slipway::permit::Permit;
use slipway::postgres::{
    ClaimAs, Connection, Guard, add_layer, claim, end_sessions, fence, freeze, give, open, take_back, thaw,
    unfence,
};

use super::moving::{guard, put, row, slot, source, state};
use super::server::{Database, everything, leadership};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Call {
    ClaimFenced,
    ClaimRefused,
    ClaimUnchanged,
    Fence,
    EndSessions,
    AddLayer,
    Freeze,
    Thaw,
    Give,
    Open,
    Unfence,
    TakeBack,
}

use Call::{
    AddLayer, ClaimFenced, ClaimRefused, ClaimUnchanged, EndSessions, Fence, Freeze, Give, Open, TakeBack,
    Thaw, Unfence,
};

const CALLS: [Call; 12] = [
    ClaimFenced,
    ClaimRefused,
    ClaimUnchanged,
    Fence,
    EndSessions,
    AddLayer,
    Freeze,
    Thaw,
    Give,
    Open,
    Unfence,
    TakeBack,
];

/// The row holds this epoch in every case.
const EPOCH: i64 = 3;

/// The holder afterwards, or that the call is refused. The side is the source.
fn expected(call: Call, holder: &str, epoch: i64) -> Option<&'static str> {
    if epoch < EPOCH {
        return None;
    }
    match (call, holder) {
        (ClaimFenced | ClaimRefused | ClaimUnchanged | Fence | Unfence | Open, "source") if call != Fence => {
            (call != Open || epoch == EPOCH).then_some("source")
        }
        (ClaimFenced, "refused") => (epoch > EPOCH).then_some("fenced"),
        (ClaimFenced, "target" | "fenced") => Some("fenced"),
        (ClaimRefused, "target" | "fenced" | "refused") => Some("refused"),
        (Fence, "source" | "none") | (AddLayer, "none") | (TakeBack, "target" | "none") => Some("none"),
        (ClaimUnchanged, _) | (EndSessions | Freeze | Thaw, "target" | "none" | "fenced" | "refused") => {
            Some(match holder {
                "target" => "target",
                "none" => "none",
                "fenced" => "fenced",
                _ => "refused",
            })
        }
        (Give, "none" | "target") => (epoch == EPOCH).then_some("target"),
        (Open, "fenced") => (epoch == EPOCH).then_some("source"),
        (Unfence, "none") => Some("source"),
        _ => None,
    }
}

async fn call(
    call: Call,
    connection: &Connection,
    permit: &Permit<'_>,
    guard: &Guard,
    slot: &str,
) -> Result<Vec<String>, Fault> {
    let tables = &everything();
    let told = |()| Vec::new();
    match call {
        ClaimFenced => claim(connection, permit, guard, ClaimAs::Fenced).await.map(told),
        ClaimRefused => claim(connection, permit, guard, ClaimAs::Refused).await.map(told),
        ClaimUnchanged => claim(connection, permit, guard, ClaimAs::Unchanged).await.map(told),
        Fence => fence(connection, permit, guard, tables).await.map(told),
        EndSessions => end_sessions(connection, permit, guard).await.map(told),
        AddLayer => add_layer(connection, permit, guard, tables).await.map(told),
        Freeze => freeze(connection, permit, guard, tables).await.map(told),
        Thaw => thaw(connection, permit, guard).await,
        Give => give(connection, permit, guard, tables, 1).await.map(told),
        Open => open(connection, permit, guard, tables, slot).await,
        Unfence => unfence(connection, permit, guard).await,
        TakeBack => take_back(connection, permit, guard).await.map(told),
    }
}

/// Fenced and frozen, with the place recorded where the way back begins.
async fn ready(database: &Database, connection: &Connection, permit: &Permit<'_>) {
    let name = &database.name;
    let give_back = format!(
        "DELETE FROM slipway.token_acl; GRANT CONNECT ON DATABASE {name} TO {name}_app, {name}_dms;
         SET ROLE {name}_owner; GRANT INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {name}_app, {name}_dms;
         RESET ROLE"
    );
    database.admin.batch_execute(&give_back).await.unwrap();
    put(database, "source", 0).await;
    let guard = guard(database, 1);
    fence(connection, permit, &guard, &everything()).await.unwrap();
    freeze(connection, permit, &guard, &everything()).await.unwrap();
    let reverse =
        format!("UPDATE slipway.token SET reverse_slot = '{}', reverse_lsn = '0/10'", slot(database));
    database.admin.batch_execute(&reverse).await.unwrap();
}

async fn make_slot(database: &Database) {
    let make = format!(
        "SELECT pg_create_logical_replication_slot('{0}', 'test_decoding'); INSERT INTO slipway.slot VALUES ('{0}')",
        slot(database)
    );
    for statement in make.split("; ") {
        database.admin.batch_execute(statement).await.unwrap();
    }
}

async fn drop_slot(database: &Database) {
    let drop = format!("SELECT pg_drop_replication_slot('{}')", slot(database));
    database.admin.batch_execute(&drop).await.unwrap();
}

#[tokio::test]
async fn every_call_in_every_state_under_every_decision() {
    let leadership = leadership().await;
    let permit = leadership.permit();
    let (database, connection) = source("holders", &permit).await;
    make_slot(&database).await;
    let slot = slot(&database);
    let mut changed = true;
    for which in CALLS {
        for holder in ["source", "target", "none", "fenced", "refused"] {
            for epoch in [EPOCH - 1, EPOCH, EPOCH + 1] {
                let case = format!("{which:?} at epoch {epoch} of a side that is held by {holder}");
                if std::mem::take(&mut changed) {
                    ready(&database, &connection, &permit).await;
                }
                put(&database, holder, EPOCH).await;
                let before = state(&database).await;
                let guard = guard(&database, epoch);
                let outcome = call(which, &connection, &permit, &guard, &slot).await;
                match (outcome, expected(which, holder, epoch)) {
                    (Err(fault), None) => {
                        assert!(matches!(fault, Fault::Wait(_)), "{case}: {fault:?}");
                        assert_eq!(
                            fault.message().contains("a later decision (epoch 3)"),
                            epoch < EPOCH,
                            "{case}: {fault}"
                        );
                        assert_eq!(state(&database).await, before, "{case}");
                    }
                    (Ok(told), Some(afterwards)) => {
                        changed = true;
                        // One that is open by its row alone tells what it lacks.
                        assert!(told.is_empty() || holder == "source", "{case}: {told:?}");
                        assert_eq!(row(&database).await, (afterwards.to_owned(), epoch), "{case}");
                        let after = state(&database).await;
                        let again = call(which, &connection, &permit, &guard, &slot).await;
                        assert_eq!(again, Ok(told), "{case}, again");
                        assert_eq!(state(&database).await, after, "{case}, again");
                    }
                    (outcome, expected) => panic!("{case}: {outcome:?} instead of {expected:?}"),
                }
            }
        }
    }
    drop_slot(&database).await;
}

fn reason(outcome: Result<Vec<String>, Fault>) -> Reason {
    match outcome {
        Err(Fault::Blocked(blocked)) => blocked.reason,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_side_is_opened_only_with_its_way_back_and_without_replication() {
    let leadership = leadership().await;
    let permit = leadership.permit();
    let (database, connection) = source("opening", &permit).await;
    ready(&database, &connection, &permit).await;
    put(&database, "fenced", EPOCH).await;
    let before = state(&database).await;
    let (guard, slot) = (guard(&database, EPOCH), slot(&database));
    let tries = async || open(&connection, &permit, &guard, &everything(), &slot).await;

    assert_eq!(reason(tries().await), Reason::SlotLost);
    // One that is there, but not known to be ours.
    let make = format!("SELECT pg_create_logical_replication_slot('{slot}', 'test_decoding')");
    database.admin.batch_execute(&make).await.unwrap();
    assert_eq!(reason(tries().await), Reason::SlotLost);
    drop_slot(&database).await;
    assert_eq!(state(&database).await, before);
    make_slot(&database).await;
    for (give, take) in [
        (
            "GRANT CONNECT ON DATABASE opening TO opening_dms",
            "REVOKE CONNECT ON DATABASE opening FROM opening_dms",
        ),
        ("GRANT INSERT ON accounts TO opening_dms", "REVOKE INSERT ON accounts FROM opening_dms"),
        (
            "GRANT UPDATE (note) ON \"Transfer Log\" TO opening_dms",
            "REVOKE UPDATE (note) ON \"Transfer Log\" FROM opening_dms",
        ),
        ("GRANT opening_owner TO opening_dms", "REVOKE opening_owner FROM opening_dms"),
    ] {
        database.admin.batch_execute(give).await.unwrap();
        assert_eq!(reason(tries().await), Reason::NotFrozen, "{give}");
        assert_eq!(row(&database).await, ("fenced".to_owned(), EPOCH));
        database.admin.batch_execute(take).await.unwrap();
    }
    // Another fence's decision, though its number is the same.
    let other = Guard { fence_id: "2".to_owned(), ..guard.clone() };
    let fault = open(&connection, &permit, &other, &everything(), &slot).await.unwrap_err();
    assert!(matches!(fault, Fault::Wait(_)), "{fault:?}");
    assert_eq!(tries().await, Ok(Vec::new()));
    drop_slot(&database).await;
}

#[tokio::test]
async fn the_role_is_given_only_where_nobody_could_write_and_the_history_is_the_same() {
    let leadership = leadership().await;
    let permit = leadership.permit();
    let (database, connection) = source("giving", &permit).await;
    ready(&database, &connection, &permit).await;
    put(&database, "none", EPOCH).await;
    let guard = guard(&database, EPOCH);
    let tries = async |timeline| {
        give(&connection, &permit, &guard, &everything(), timeline).await.map(|()| Vec::new())
    };

    assert_eq!(reason(tries(2).await), Reason::OtherServer);
    let grant = "GRANT CONNECT ON DATABASE giving TO giving_app; GRANT INSERT ON accounts TO giving_app";
    database.admin.batch_execute(grant).await.unwrap();
    assert_eq!(reason(tries(1).await), Reason::UnlistedWriter);
    let revoke =
        "REVOKE CONNECT ON DATABASE giving FROM giving_app; UPDATE slipway.token SET reverse_slot = NULL";
    database.admin.batch_execute(revoke).await.unwrap();
    assert!(matches!(tries(1).await, Err(Fault::Wait(_))));
    assert_eq!(row(&database).await, ("none".to_owned(), EPOCH));
    database.admin.batch_execute("UPDATE slipway.token SET reverse_slot = 's'").await.unwrap();
    assert_eq!(tries(1).await, Ok(Vec::new()));
    assert_eq!(row(&database).await, ("target".to_owned(), EPOCH));
}

#[tokio::test]
async fn another_migrations_side_is_not_touched() {
    let leadership = leadership().await;
    let permit = leadership.permit();
    let (database, connection) = source("elses", &permit).await;
    let before = state(&database).await;
    let mut guard = guard(&database, 9);
    guard.holding.uid = "uid-2".to_owned();
    for which in CALLS {
        assert_eq!(
            reason(call(which, &connection, &permit, &guard, "s").await),
            Reason::OtherMigration,
            "{which:?}"
        );
    }
    assert_eq!(state(&database).await, before);
}
