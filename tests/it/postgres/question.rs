//! The `sql` gate's question: it asks, changes nothing, and leaves nothing behind in the session.

use slipway::fault::Fault;
use slipway::postgres::{Connection, ask};
use slipway::side::Side;

use super::server::Database;

async fn refused(connection: &Connection, query: &str) -> String {
    match ask(connection, query).await {
        Err(fault) => fault.message().to_owned(),
        Ok(answer) => panic!("{query}: {answer:?}"),
    }
}

#[tokio::test]
async fn one_value_is_an_answer_and_nothing_else_is() {
    let database = Database::make("question").await;
    database.admin.batch_execute("INSERT INTO accounts VALUES (1, 10), (2, 20)").await.unwrap();
    let session = database.open(Side::Target).await;
    for (query, expected) in [
        ("SELECT 1", Some("1")),
        ("SELECT true", Some("true")),
        ("  values ('a b')  ", Some("a b")),
        ("SELECT 1;", Some("1")),
        ("SELECT 1; ;", Some("1")),
        ("SELECT 1 -- and no more", Some("1")),
        ("SELECT '; DROP TABLE accounts'", Some("; DROP TABLE accounts")),
        ("WITH two AS (SELECT 2 AS n) SELECT n FROM two", Some("2")),
        ("SELECT NULL::text", None),
        ("SELECT 1 WHERE false", None),
        ("SELECT 1, 2", None),
        ("SELECT generate_series(1, 3)", None),
        ("TABLE pg_catalog.pg_am LIMIT 1", None),
    ] {
        assert_eq!(ask(&session, query).await.unwrap().as_deref(), expected, "{query}");
    }
}

#[tokio::test]
async fn no_question_changes_anything() {
    let database = Database::make("question_writes").await;
    database
        .admin
        .batch_execute("INSERT INTO accounts VALUES (1, 10); CREATE SEQUENCE numbers")
        .await
        .unwrap();
    // As if somebody had given the operator's role far more than it needs.
    let operator = database.role("op");
    let all = format!(
        "GRANT ALL ON ALL TABLES IN SCHEMA public TO {operator}; GRANT ALL ON SEQUENCE numbers TO {operator};
         GRANT CREATE ON SCHEMA public TO {operator}"
    );
    database.admin.batch_execute(&all).await.unwrap();
    let session = database.open(Side::Target).await;
    for query in [
        "SELECT 1; DELETE FROM public.accounts",
        "SELECT 1) answer (value); DELETE FROM public.accounts; SELECT * FROM (SELECT 1",
        "SELECT 1) answer (value); COMMIT; DELETE FROM public.accounts; SELECT * FROM (SELECT 1",
        "WITH gone AS (DELETE FROM public.accounts RETURNING id) SELECT count(*) FROM gone",
        "SELECT 1 INTO public.made",
        "SELECT id FROM public.accounts FOR UPDATE",
        "SELECT nextval('public.numbers')",
        "SELECT setval('public.numbers', 7)",
        "SELECT set_config('transaction_read_only', 'off', true)",
        "SELECT query_to_xml('DELETE FROM public.accounts RETURNING 1', true, true, '')",
        "VALUES (1) ; TRUNCATE public.accounts",
    ] {
        let message = refused(&session, query).await;
        assert!(message.contains("asking the gate's question"), "{query}: {message}");
    }
    let kept = database.admin.query_one("SELECT count(*) FROM accounts", &[]).await.unwrap();
    assert_eq!(kept.get::<_, i64>(0), 1);
    let number = database.admin.query_one("SELECT is_called FROM numbers", &[]).await.unwrap();
    assert!(!number.get::<_, bool>(0));
    // Not every version counts a large object as a write.
    let _ = ask(&session, "SELECT lo_create(0)").await;
    let made = database.admin.query_one("SELECT count(*) FROM pg_largeobject_metadata", &[]).await.unwrap();
    assert_eq!(made.get::<_, i64>(0), 0);
    // It is of use all the same.
    assert_eq!(ask(&session, "SELECT 1").await.unwrap().as_deref(), Some("1"));
}

/// What the server says against a question may quote the data that it met.
#[tokio::test]
async fn a_refusal_repeats_no_data() {
    let database = Database::make("question_data").await;
    database.admin.batch_execute("INSERT INTO \"Transfer Log\" VALUES (1, 'hunter2')").await.unwrap();
    let grant = format!("GRANT SELECT ON public.\"Transfer Log\" TO {}", database.role("op"));
    database.admin.batch_execute(&grant).await.unwrap();
    let session = database.open(Side::Target).await;
    for query in [
        "SELECT note::integer FROM public.\"Transfer Log\"",
        "SELECT query_to_xml('SELECT ' || note, true, true, '') FROM public.\"Transfer Log\"",
        "SELECT current_setting(note) FROM public.\"Transfer Log\"",
    ] {
        let message = refused(&session, query).await;
        assert!(!message.contains("hunter2") && message.contains("SQLSTATE"), "{query}: {message}");
    }
}

/// The session is asked by others too, and a lock that it kept would stop whoever moves the writer.
#[tokio::test]
async fn a_question_leaves_nothing_in_the_session() {
    let database = Database::make("question_session").await;
    let session = database.open(Side::Target).await;
    let path = "SELECT current_setting('search_path')";
    let before = ask(&session, path).await.unwrap();
    for setting in ["search_path", "statement_timeout", "row_security"] {
        let value = if setting == "search_path" { "public, pg_catalog" } else { "off" };
        let value = if setting == "statement_timeout" { "0" } else { value };
        let set = format!("SELECT set_config('{setting}', '{value}', false)");
        let _ = ask(&session, &set).await;
    }
    assert_eq!(ask(&session, path).await.unwrap(), before);
    let limit = ask(&session, "SELECT reset_val FROM pg_settings WHERE name = 'statement_timeout'").await;
    assert!(limit.is_ok(), "{limit:?}");

    let locks = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'";
    for query in [
        "SELECT pg_advisory_lock(x'736c6970776179'::bigint)::text",
        "SELECT pg_advisory_lock_shared(7)::text",
        "SELECT (pg_advisory_lock(8)::text || (1 / 0))",
        "SELECT pg_advisory_lock(9)::text FROM generate_series(1, 3)",
    ] {
        let _ = ask(&session, query).await;
        let held = database.admin.query_one(locks, &[]).await.unwrap();
        assert_eq!(held.get::<_, i64>(0), 0, "{query}");
    }
    assert_eq!(ask(&session, "SELECT 1").await.unwrap().as_deref(), Some("1"));
}

#[tokio::test]
async fn a_question_that_takes_long_is_given_up_and_says_so() {
    let database = Database::make("question_slow").await;
    let session = database.open(Side::Target).await;
    for query in [
        "SELECT pg_sleep(30)::text",
        "SELECT set_config('statement_timeout', '0', true) || pg_sleep(30)::text",
    ] {
        let begun = std::time::Instant::now();
        let fault = ask(&session, query).await.unwrap_err();
        assert!(begun.elapsed().as_secs() < 6, "{:?}", begun.elapsed());
        assert!(matches!(fault, Fault::Again(_) | Fault::Wait(_) | Fault::Unknown(_)), "{fault:?}");
    }
}
