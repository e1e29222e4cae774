//! The verifier: it finds every planted difference, and calls nothing different that is not.

use std::collections::BTreeSet;
use std::time::Duration;

use slipway::fault::Fault;
use slipway::postgres::{Selection, Verdict, verify};
use slipway::side::Side;

use super::pair::Pair;
use super::server::{everything, leadership, selector};

const WITHIN: Duration = Duration::from_mins(1);

/// Tables whose only row differs: name, the column's type, its value on the source and on the target.
const VALUES: [(&str, &str, &str, &str); 27] = [
    ("number", "integer", "1", "2"),
    ("null_empty", "text", "NULL", "''"),
    ("numeric_scale", "numeric", "1.0", "1.00"),
    ("zero", "double precision", "'-0'", "'0'"),
    ("float_bit", "double precision", "0.1", "0.1::float8 + 2e-17::float8"),
    ("span", "interval", "'1 day'", "'24 hours'"),
    ("json_text", "json", "'{\"a\":1}'", "'{\"a\": 1}'"),
    ("jsonb_scale", "jsonb", "'{\"a\":1.0}'", "'{\"a\":1.00}'"),
    ("bounds", "integer[]", "'{1,2}'", "'[2:3]={1,2}'"),
    ("array_null", "text[]", "ARRAY[NULL]", "ARRAY['NULL']"),
    ("wide", "text", "'🧀a'", "'🧀b'"),
    ("space", "text", "'a'", "'a '"),
    ("bytes", "bytea", "'\\x00ff'", "'\\x00fe'"),
    ("instant", "timestamptz", "'2001-02-03 04:05:06.789012Z'", "'2001-02-03 04:05:06.789013Z'"),
    ("feeling", "mood", "'ok'", "'sad'"),
    ("feelings", "mood[]", "'{ok}'", "'[0:0]={ok}'"),
    ("lying", "liar", "'yes'", "'no'"),
    ("lying_null", "liar", "NULL", "'no'"),
    ("bounded", "amount", "1.0", "1.00"),
    ("bounded_mood", "mild", "'ok'", "'sad'"),
    ("composite", "pair", "ROW(1, NULL)::pair", "ROW(1, '')::pair"),
    ("composite_null", "pair", "NULL", "ROW(NULL, NULL)::pair"),
    ("composites", "pair[]", "ARRAY[ROW(1, 'a')::pair]", "ARRAY[ROW(1, 'b')::pair]"),
    ("spread", "numrange", "'[1.0,2]'", "'[1.00,2]'"),
    ("address", "inet", "'10.0.0.1/8'", "'10.0.0.1'"),
    ("bits", "bit varying", "B'01'", "B'010'"),
    ("object", "regclass", "'public.accounts'", "'public.\"Transfer Log\"'"),
];

const TYPES: &str = "
CREATE TYPE mood AS ENUM ('sad', 'ok');
CREATE TYPE liar AS ENUM ('yes', 'no');
CREATE FUNCTION lie(liar) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT ''maybe''';
CREATE CAST (liar AS text) WITH FUNCTION lie(liar);
CREATE DOMAIN amount AS numeric CHECK (VALUE >= 0);
CREATE DOMAIN mild AS mood;
CREATE DOMAIN padded AS char(5);
CREATE DOMAIN flags AS bit(3);
CREATE DOMAIN numbers AS integer[];
CREATE TYPE pair AS (a integer, b text);
CREATE TYPE deep AS (p pair, m mood, at timestamptz, d date, i interval, f double precision, b bytea, n numeric)";

fn names(verdict: &Verdict) -> BTreeSet<String> {
    verdict.differences.iter().map(|found| found.object.replace("table public.", "")).collect()
}

fn set(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

async fn check(pair: &Pair, selection: &Selection) -> Verdict {
    verify(&pair.from, &pair.to, selection, &[], WITHIN).await.unwrap()
}

/// A type's number is another in every database; here they would be nearly the same by chance.
async fn apart(pair: &Pair) {
    pair.on(Side::Target, "CREATE TYPE first AS ENUM ('x'); DROP TYPE first").await;
}

#[tokio::test]
async fn planted_values_are_found_and_look_alikes_are_not() {
    let leadership = leadership().await;
    let pair = Pair::make("verified", &leadership.permit()).await;
    apart(&pair).await;
    for side in Side::BOTH {
        let admin = &pair.databases.get(side).admin;
        admin.batch_execute(&format!("SET search_path = public; {TYPES}; RESET search_path")).await.unwrap();
    }
    for (name, kind, source, target) in VALUES {
        pair.on_both(&format!(
            "CREATE TABLE {name} (id integer, v {kind}); CREATE TABLE like_{name} (id integer, v {kind})"
        ))
        .await;
        for (side, value) in [(Side::Source, source), (Side::Target, target)] {
            pair.on(side, &format!("INSERT INTO {name} VALUES (1, {value})")).await;
            // The same rows on both sides, in another order.
            let rows = match side {
                Side::Source => format!("(1, {source}), (2, {target}), (3, {source})"),
                Side::Target => format!("(3, {source}), (2, {target}), (1, {source})"),
            };
            pair.on(side, &format!("INSERT INTO like_{name} VALUES {rows}")).await;
        }
    }
    let verdict = check(&pair, &everything()).await;
    assert!(!verdict.is_equal());
    assert_eq!(names(&verdict), VALUES.iter().map(|(name, ..)| (*name).to_owned()).collect());
    assert_eq!(verdict.tables, 2 + 2 * VALUES.len());
    assert_eq!(verdict.rows, 4 * i64::try_from(VALUES.len()).unwrap());
    assert!(verdict.differences.iter().all(|d| d.detail == "1 rows on both sides, with other content"));
}

#[tokio::test]
async fn planted_rows_are_found_and_partitions_are_counted_once() {
    let leadership = leadership().await;
    let pair = Pair::make("rowwise", &leadership.permit()).await;
    pair.on_both(
        "CREATE TABLE swapped (id integer, v text); CREATE TABLE seam (a text, b text);
         CREATE TABLE missing (id integer); CREATE TABLE extra (id integer); CREATE TABLE twins (id integer);
         CREATE TABLE emptied (id integer); CREATE TABLE alias (t integer, v text); CREATE TABLE computed (a integer, b integer);
         CREATE TABLE parent (id integer); CREATE TABLE child () INHERITS (parent);
         CREATE TABLE parted (id integer, v text) PARTITION BY RANGE (id);
         CREATE TABLE parted_1 PARTITION OF parted FOR VALUES FROM (0) TO (10);
         CREATE TABLE parted_2 PARTITION OF parted FOR VALUES FROM (10) TO (20);
         CREATE UNLOGGED TABLE volatile (id integer)",
    )
    .await;
    pair.on(
        Side::Source,
        "CREATE TABLE only_source (id integer); CREATE TABLE typed (v integer); CREATE TABLE fewer (v integer, w integer);
         ALTER TABLE computed ADD c integer GENERATED ALWAYS AS (a + b) STORED;
         INSERT INTO swapped VALUES (1, 'a'), (2, 'b'); INSERT INTO seam VALUES ('ab', 'c');
         INSERT INTO missing VALUES (1), (2); INSERT INTO extra VALUES (1); INSERT INTO twins VALUES (1), (1), (3);
         INSERT INTO emptied VALUES (1); INSERT INTO computed VALUES (1, 2); INSERT INTO alias VALUES (1, 'a');
         INSERT INTO child VALUES (1); INSERT INTO parted VALUES (1, 'a'), (11, 'b')",
    )
    .await;
    pair.on(
        Side::Target,
        "CREATE TABLE only_target (id integer); CREATE TABLE typed (v bigint); CREATE TABLE fewer (v integer);
         ALTER TABLE computed ADD c integer GENERATED ALWAYS AS (a - b) STORED;
         INSERT INTO swapped VALUES (1, 'b'), (2, 'a'); INSERT INTO seam VALUES ('a', 'bc');
         INSERT INTO missing VALUES (1); INSERT INTO extra VALUES (1), (1); INSERT INTO twins VALUES (2), (2), (3);
         INSERT INTO computed VALUES (1, 2); INSERT INTO alias VALUES (1, 'b');
         INSERT INTO child VALUES (2); INSERT INTO parted VALUES (1, 'a'), (11, 'x')",
    )
    .await;
    let verdict = check(&pair, &everything()).await;
    let found = [
        "alias",
        "child",
        "computed",
        "emptied",
        "extra",
        "fewer",
        "missing",
        "only_source",
        "only_target",
        "parted_2",
        "seam",
        "swapped",
        "twins",
        "typed",
        "volatile",
    ];
    assert_eq!(names(&verdict), set(&found), "{:?}", verdict.differences);
    let detail = |name: &str| {
        let object = format!("table public.{name}");
        verdict.differences.iter().find(|d| d.object == object).unwrap().to_string()
    };
    assert_eq!(detail("missing"), "table public.missing: 2 rows on the source, 1 on the target");
    assert_eq!(detail("only_source"), "table public.only_source: is on one side only");
    assert_eq!(detail("typed"), "table public.typed: column v is not the same on both sides");
    assert_eq!(detail("fewer"), "table public.fewer: column w is not the same on both sides");
    assert_eq!(
        verdict.rows,
        2 + 1 + 2 + 1 + 3 + 1 + 1 + 1 + 1 + 2,
        "rows of a partition or a child counted twice"
    );

    // The parent alone says nothing about its rows, unless they were left out on purpose.
    let only = |names: &[&str]| names.iter().map(|name| selector("public", name)).collect::<Vec<_>>();
    let parent = Selection { include: only(&["parted", "accounts"]), exclude: vec![] };
    let verdict = check(&pair, &parent).await;
    assert_eq!(names(&verdict), set(&["parted"]));
    assert_eq!(verdict.differences[0].detail, "its partition public.parted_1 is not selected");
    let left_out = Selection { exclude: only(&["parted_1", "parted_2"]), ..parent };
    assert!(check(&pair, &left_out).await.is_equal());
    // Nothing was compared: nothing can be said.
    let nothing = Selection { include: only(&["no_such_table"]), exclude: vec![] };
    let verdict = check(&pair, &nothing).await;
    assert!(!verdict.is_equal() && verdict.differences.is_empty() && verdict.tables == 0);
}

#[tokio::test]
async fn the_same_data_in_another_guise_is_the_same() {
    let leadership = leadership().await;
    let pair = Pair::make("disguised", &leadership.permit()).await;
    apart(&pair).await;
    for side in Side::BOTH {
        let admin = &pair.databases.get(side).admin;
        admin.batch_execute(&format!("SET search_path = public; {TYPES}; RESET search_path")).await.unwrap();
    }
    // Sessions of the target show values in other ways, and its tables came about in other ways.
    pair.databases
        .target
        .admin
        .batch_execute(
            "ALTER DATABASE disguised_b SET datestyle = 'SQL, DMY'; ALTER DATABASE disguised_b SET intervalstyle = 'iso_8601';
             ALTER DATABASE disguised_b SET bytea_output = 'escape'; ALTER DATABASE disguised_b SET extra_float_digits = -3;
             ALTER DATABASE disguised_b SET timezone = 'Asia/Tokyo'",
        )
        .await
        .unwrap();
    let columns =
        "m mood, ms mood[], d deep, ds deep[], p padded, f flags, n numbers, a amount, c char(4), r regtype";
    pair.on(
        Side::Source,
        &format!(
            "CREATE TABLE guise (gone text, id integer, {columns}, big text); ALTER TABLE guise DROP gone"
        ),
    )
    .await;
    pair.on(Side::Target, &format!("CREATE TABLE guise (big text, {columns}, id integer)")).await;
    let row = "SELECT i, 'ok'::mood, '{ok,sad}'::mood[], deep, ARRAY[deep], 'ab'::padded, B'101'::flags,
                      '[3:4]={1,2}'::numbers, 1.50::amount, 'x'::char(4), 'mood'::regtype, repeat(md5(i::text), 500)
                 FROM generate_series(1, 200) i,
                      (SELECT ROW(ROW(1, 'it''s \"')::pair, 'sad', '2001-02-03 04:05:06.7+00', '2001-02-03', '1 day 02:03',
                                  0.1::float8 + 0.2, '\\x00ff', 1.00)::deep AS deep) d";
    let into = "INSERT INTO guise (id, m, ms, d, ds, p, f, n, a, c, r, big)";
    pair.on(Side::Source, &format!("{into} {row}")).await;
    pair.on(Side::Target, &format!("{into} {row} ORDER BY i DESC")).await;
    pair.on(
        Side::Target,
        "UPDATE guise SET c = c WHERE id % 3 = 0; CREATE TABLE awsdms_apply_exceptions (id integer)",
    )
    .await;
    pair.on_both(
        "CREATE TABLE summed (a integer, b integer GENERATED ALWAYS AS (a * 2) STORED); INSERT INTO summed VALUES (1), (2);
         CREATE TABLE nothing (); CREATE TABLE empty (id integer)",
    )
    .await;
    // The session was opened before the settings, so another one is needed to meet them.
    let to = pair.databases.target.open(Side::Target).await;
    let verdict = verify(&pair.from, &to, &everything(), &[], WITHIN).await.unwrap();
    assert!(verdict.is_equal(), "{:?}", verdict.differences);
    assert_eq!((verdict.tables, verdict.rows), (6, 202));
    pair.on(Side::Target, "UPDATE guise SET d.f = (d).f + 1e-16 WHERE id = 77").await;
    let verdict = verify(&pair.from, &to, &everything(), &[], WITHIN).await.unwrap();
    assert_eq!(names(&verdict), set(&["guise"]));
}

#[tokio::test]
async fn what_can_not_be_read_is_no_verdict() {
    let leadership = leadership().await;
    let pair = Pair::make("unread", &leadership.permit()).await;
    pair.on_both("CREATE TABLE policed (id integer)").await;
    let police =
        "ALTER TABLE policed ENABLE ROW LEVEL SECURITY; ALTER TABLE policed FORCE ROW LEVEL SECURITY";
    pair.on(Side::Source, police).await;
    let fault = verify(&pair.from, &pair.to, &everything(), &[], WITHIN).await.unwrap_err();
    assert!(fault.message().contains("policed"), "{fault:?}");
    let free =
        "ALTER TABLE policed DISABLE ROW LEVEL SECURITY; ALTER TABLE policed NO FORCE ROW LEVEL SECURITY";
    pair.on(Side::Source, free).await;

    // A lock that does not go away.
    let (from, to) =
        (pair.databases.source.open(Side::Source).await, pair.databases.target.open(Side::Target).await);
    pair.databases.target.admin.batch_execute("BEGIN; LOCK TABLE policed").await.unwrap();
    let within = Duration::from_millis(200);
    let fault = verify(&from, &to, &everything(), &[], within).await.unwrap_err();
    assert!(matches!(&fault, Fault::Again(_)), "{fault:?}");
    pair.databases.target.admin.batch_execute("ROLLBACK").await.unwrap();
    let waiting =
        "SELECT FROM pg_stat_activity WHERE usename IN ('unread_a_op', 'unread_b_op') AND state = 'active'";
    // Neither side goes on working for a verdict that nobody waits for.
    while !pair.databases.target.admin.query(waiting, &[]).await.unwrap().is_empty() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let (from, to) =
        (pair.databases.source.open(Side::Source).await, pair.databases.target.open(Side::Target).await);
    assert!(verify(&from, &to, &everything(), &[], WITHIN).await.unwrap().is_equal());
}
