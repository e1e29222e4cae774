//! The fence from birth: proved by logging in and by trying to write.

use slipway::api::condition::Reason;
use slipway::fault::Fault;
use slipway::postgres::Record;
use slipway::postgres::fence_target;
use slipway::postgres::observe;
use slipway::side::Side;

use super::observe::{pave_roads, writers};
use super::server::{Database, everything, leadership};

async fn noted(database: &Database) -> Vec<String> {
    let sql = "SELECT t::text FROM slipway.token_acl t ORDER BY 1";
    database.admin.query(sql, &[]).await.unwrap().iter().map(|row| row.get(0)).collect()
}

/// Tries as each role, past the login, to change what its road led to.
async fn tries(database: &Database, roles: &[String]) -> Vec<String> {
    let mut done = Vec::new();
    for role in roles {
        for statement in [
            "INSERT INTO accounts VALUES (1, 1)",
            "TRUNCATE accounts",
            "UPDATE columns SET note = ''",
            "INSERT INTO open_to_all VALUES (1)",
            "SET ROLE fenced_group; INSERT INTO accounts VALUES (1, 1)",
        ] {
            let sql = format!("BEGIN; SET LOCAL ROLE {role}; {statement}");
            if database.admin.batch_execute(&sql).await.is_ok() {
                done.push(format!("{role}: {statement}"));
            }
            database.admin.batch_execute("ROLLBACK; RESET ROLE").await.unwrap();
        }
    }
    done
}

#[tokio::test]
async fn the_fence_stops_every_road_and_can_be_built_twice() {
    let database = Database::make("fenced").await;
    let mut roles = pave_roads(&database).await;
    roles.push(database.role("app"));
    database
        .admin
        .batch_execute(
            "GRANT INSERT ON open_to_all TO PUBLIC; GRANT CONNECT, TEMPORARY ON DATABASE fenced TO PUBLIC",
        )
        .await
        .unwrap();
    let mut sessions = Vec::new();
    for role in &roles {
        sessions.push(database.server.client("fenced", role).await.unwrap());
    }
    let dms = database.server.client("fenced", "fenced_dms").await.unwrap();
    let connection = database.open(Side::Target).await;
    let before = observe(&connection, &database.question()).await.unwrap();
    assert!(roles.iter().all(|role| before.writers.contains(role)), "{:?}", before.writers);
    let open = tries(&database, &roles).await;
    for role in &roles {
        assert!(
            open.iter().any(|done| done.starts_with(&format!("{role}: "))),
            "{role} can do nothing: {open:?}"
        );
    }

    let leadership = leadership().await;
    let migration = database.migration("uid-1");
    fence_target(&connection, &leadership.permit(), &migration, &everything()).await.unwrap();

    let after = observe(&connection, &database.question()).await.unwrap();
    assert_eq!(after.writers, Vec::<String>::new());
    assert_eq!(after.application_sessions, 0);
    assert_eq!(after.missing_privileges, Vec::<String>::new());
    let Record::Present { migration: resource, uid, token, system_identifier, slots } = after.record else {
        panic!("no record");
    };
    assert_eq!((resource.as_str(), uid.as_str(), token.holder.as_str()), ("bank/fenced", "uid-1", "fenced"));
    assert_eq!(system_identifier, after.identity.system_identifier);
    assert_eq!(slots, Vec::<String>::new());

    for (role, session) in roles.iter().zip(&sessions) {
        assert!(session.batch_execute("SELECT 1").await.is_err(), "the session of {role} was left");
        let login = database.server.client("fenced", role).await.err();
        let code = login.as_ref().and_then(|error| error.code()).map(|code| code.code().to_owned());
        assert_eq!(code.as_deref(), Some("42501"), "{role}: {login:?}");
    }
    // It is let in no more, but has rights that no REVOKE on a table can take.
    let kept = tries(&database, &roles).await;
    assert!(kept.iter().all(|done| done.starts_with("fenced_all: ")), "{kept:?}");
    dms.batch_execute(
        "INSERT INTO accounts VALUES (1, 1); INSERT INTO owned VALUES (1); DELETE FROM accounts",
    )
    .await
    .unwrap();
    dms.batch_execute("INSERT INTO slipway.marker VALUES ('k', 0, NULL, now(), 1)").await.unwrap();
    assert!(dms.batch_execute("UPDATE slipway.token SET holder = 'x'").await.is_err());

    let first = noted(&database).await;
    for part in [
        "(database,fenced,\"\",fenced_owner,PUBLIC,CONNECT,f",
        "(database,fenced,\"\",fenced_owner,fenced_app,CONNECT,f",
        "(relation,public.accounts,\"\",fenced_owner,fenced_direct,INSERT,t",
        "(relation,public.accounts,\"\",fenced_direct,fenced_passed,INSERT,f",
        "(relation,public.accounts,\"\",fenced_dms,fenced_bydms,INSERT,f",
        "(relation,public.accounts,\"\",fenced_owner,fenced_dms,INSERT,t",
        "(column,public.columns,note,fenced_owner,fenced_column,UPDATE,f",
        "(relation,public.open_to_all,\"\",fenced_owner,PUBLIC,INSERT,f",
    ] {
        assert!(first.iter().any(|row| row.starts_with(part)), "{part} is not among {first:#?}");
    }

    // Again, with nothing new.
    fence_target(&connection, &leadership.permit(), &migration, &everything()).await.unwrap();
    assert_eq!(noted(&database).await, first);

    // Again, after someone opened a gate: the old notes stay, the new grant is noted beside them and taken.
    database
        .admin
        .batch_execute(
            "GRANT CONNECT ON DATABASE fenced TO fenced_reader, fenced_app;
             GRANT INSERT ON accounts TO fenced_direct, fenced_reader",
        )
        .await
        .unwrap();
    // The application may connect again, but not write; the reader may do both.
    assert_eq!(writers(&database, Side::Target).await.writers, ["fenced_reader"]);
    fence_target(&connection, &leadership.permit(), &migration, &everything()).await.unwrap();
    assert_eq!(writers(&database, Side::Target).await.writers, Vec::<String>::new());
    let second = noted(&database).await;
    assert!(first.iter().all(|row| second.contains(row)));
    let new: Vec<_> = second.iter().filter(|row| !first.contains(row)).collect();
    assert!(!new.is_empty() && new.iter().all(|row| row.contains("fenced_reader")), "{new:?}");
}

#[tokio::test]
async fn another_migrations_target_is_left_alone() {
    let database = Database::make("others").await;
    let connection = database.open(Side::Target).await;
    let leadership = leadership().await;
    let permit = leadership.permit();
    fence_target(&connection, &permit, &database.migration("uid-1"), &everything()).await.unwrap();
    let before = noted(&database).await;
    database.admin.batch_execute("GRANT CONNECT ON DATABASE others TO others_app").await.unwrap();
    let fault =
        fence_target(&connection, &permit, &database.migration("uid-2"), &everything()).await.unwrap_err();
    let Fault::Blocked(blocked) = fault else { panic!("{fault:?}") };
    assert_eq!(blocked.reason, Reason::OtherMigration);
    assert!(
        blocked.message.contains("bank/others") && blocked.message.contains("uid-1"),
        "{}",
        blocked.message
    );
    assert_eq!(noted(&database).await, before);
    database.server.client("others", "others_app").await.unwrap();
    assert!(connection.is_usable());
}

#[tokio::test]
async fn a_target_that_was_opened_is_never_fenced_by_birth_again() {
    let database = Database::make("opened").await;
    let connection = database.open(Side::Target).await;
    let leadership = leadership().await;
    let migration = database.migration("uid-1");
    fence_target(&connection, &leadership.permit(), &migration, &everything()).await.unwrap();
    let open = "UPDATE slipway.token SET holder = 'target'; GRANT CONNECT ON DATABASE opened TO opened_app";
    database.admin.batch_execute(open).await.unwrap();
    let fault = fence_target(&connection, &leadership.permit(), &migration, &everything()).await.unwrap_err();
    assert!(matches!(fault, Fault::Bug(_)), "{fault:?}");
    database.server.client("opened", "opened_app").await.unwrap();
    // Nor is a source, by mistake.
    let source = database.open(Side::Source).await;
    let fault = fence_target(&source, &leadership.permit(), &migration, &everything()).await.unwrap_err();
    assert!(matches!(fault, Fault::Bug(_)), "{fault:?}");
}

#[tokio::test]
async fn an_operator_that_is_no_owner_is_told_so_and_nothing_is_changed() {
    let database = Database::make("stranger").await;
    database.admin.batch_execute("REVOKE stranger_owner FROM stranger_op").await.unwrap();
    let connection = database.open(Side::Target).await;
    let leadership = leadership().await;
    let fault =
        fence_target(&connection, &leadership.permit(), &database.migration("uid-1"), &everything()).await;
    // PostgreSQL refuses, or does nothing and says nothing; the observation tells either way.
    if let Err(fault) = fault {
        assert!(
            matches!(&fault, Fault::Blocked(blocked) if blocked.reason == Reason::PrivilegeMissing),
            "{fault:?}"
        );
    }
    let after = observe(&connection, &database.question()).await.unwrap();
    assert_eq!(after.writers, ["stranger_app"]);
    assert!(after.missing_privileges.iter().any(|s| s.ends_with("GRANT stranger_owner TO stranger_op")));
}

#[tokio::test]
async fn a_reconcile_on_another_thread_may_fence_and_observe() {
    let database = Database::make("spawned").await;
    let leadership = leadership().await;
    let reconcile = async move {
        let connection = database.open(Side::Target).await;
        fence_target(&connection, &leadership.permit(), &database.migration("uid-1"), &everything())
            .await
            .unwrap();
        observe(&connection, &database.question()).await.unwrap()
    };
    assert_eq!(tokio::spawn(reconcile).await.unwrap().writers, Vec::<String>::new());
}
