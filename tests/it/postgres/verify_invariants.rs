//! Invariants: the user's own questions, asked on both sides.

use std::time::Duration;

use slipway::postgres::{Invariant, Verdict, verify};
use slipway::side::Side;

use super::pair::Pair;
use super::server::{everything, leadership};

const WITHIN: Duration = Duration::from_mins(1);

async fn ask(pair: &Pair, invariants: &[(&str, &str)]) -> Verdict {
    let invariants: Vec<Invariant> = invariants
        .iter()
        .map(|(name, sql)| Invariant { name: (*name).to_owned(), sql: (*sql).to_owned() })
        .collect();
    verify(&pair.from, &pair.to, &everything(), &invariants, WITHIN).await.unwrap()
}

#[tokio::test]
async fn invariants_have_the_same_single_value_on_both_sides_or_say_why_not() {
    let leadership = leadership().await;
    let pair = Pair::make("invariant", &leadership.permit()).await;
    pair.on_both("INSERT INTO accounts VALUES (1, 10.00), (2, 5.50)").await;
    let good = [
        ("total", "SELECT sum(balance) FROM public.accounts"),
        ("semicolon", "SELECT count(*) FROM public.accounts; "),
        ("comment", "SELECT max(id) FROM public.accounts -- the newest"),
        ("with", "WITH a AS (SELECT id FROM public.accounts) SELECT min(id) FROM a"),
        ("values", "VALUES (1)"),
        ("alias", "SELECT 1 AS q"),
        ("empty", "SELECT ''::text"),
    ];
    let verdict = ask(&pair, &good).await;
    assert!(verdict.is_equal(), "{:?}", verdict.differences);
    assert_eq!(verdict.invariants, 7);

    pair.on(Side::Target, "CREATE FUNCTION differs() RETURNS bigint LANGUAGE sql STABLE AS 'SELECT 2::bigint'; CREATE FUNCTION kind() RETURNS bigint LANGUAGE sql AS 'SELECT 1::bigint'").await;
    pair.on(Side::Source, "CREATE FUNCTION differs() RETURNS bigint LANGUAGE sql STABLE AS 'SELECT 1::bigint'; CREATE FUNCTION kind() RETURNS integer LANGUAGE sql AS 'SELECT 1'").await;
    for (sql, said) in [
        ("SELECT public.differs()", "gives another value on the other side"),
        ("SELECT public.kind()", "gives int4 on one side and int8 on the other"),
        ("SELECT random()", "each time it is asked"),
        ("SELECT clock_timestamp()", "each time it is asked"),
        ("SELECT now()", "each time it is asked"),
        ("SELECT id FROM public.accounts", "gives more than one row on the source"),
        ("SELECT id FROM public.accounts WHERE false", "gives no row on the source"),
        ("SELECT 1, 2", "gives more than one column on the source"),
        ("SELECT NULL::integer", "gives NULL"),
        ("SELECT sum(balance) FROM public.accounts WHERE false", "gives NULL"),
        // What the server says may quote data: only its code is told.
        ("SELECT 1/0", "22012"),
        ("SELECT * FROM public.no_such_table", "42P01"),
        ("SELECT 1; DROP TABLE public.accounts", "failed"),
        ("DELETE FROM public.accounts", "failed"),
        ("WITH d AS (DELETE FROM public.accounts RETURNING id) SELECT count(*) FROM d", "failed"),
        ("SELECT set_config('transaction_read_only', 'off', true)", "failed"),
        ("COMMIT", "failed"),
        ("", "failed"),
    ] {
        let verdict = ask(&pair, &[("odd", sql), ("total", good[0].1)]).await;
        let [found] = verdict.differences.as_slice() else { panic!("{sql}: {:?}", verdict.differences) };
        assert_eq!(found.object, "invariant odd");
        assert!(found.detail.contains(said), "{sql}: {}", found.detail);
        assert_eq!(verdict.invariants, 2);
        assert!(pair.from.is_usable() && pair.to.is_usable(), "{sql}");
    }
    let left = pair.databases.source.admin.query("SELECT FROM accounts", &[]).await.unwrap();
    assert_eq!(left.len(), 2);
}
