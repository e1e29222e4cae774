//! How long the verifier takes: a figure, not a check. `cargo test --test it verify_speed -- --ignored --nocapture`

use std::time::{Duration, Instant};

use slipway::postgres::verify;

use super::pair::Pair;
use super::server::{everything, leadership};

const TABLES: usize = 10;
const ROWS: usize = 20_000;

#[tokio::test]
#[ignore = "prints a figure"]
async fn verify_speed() {
    let leadership = leadership().await;
    let pair = Pair::make("speed", &leadership.permit()).await;
    for (kind, columns, values) in [
        (
            "plain types",
            "id bigint PRIMARY KEY, customer uuid, amount numeric(19,4), at timestamptz, note text, profile jsonb, open boolean",
            "i, md5(i::text)::uuid, i / 7.0, to_timestamp(i), 'payment ' || i, jsonb_build_object('i', i), i % 3 = 0",
        ),
        (
            "with an enum",
            "id bigint PRIMARY KEY, customer uuid, amount numeric(19,4), at timestamptz, note text, status status, open boolean",
            "i, md5(i::text)::uuid, i / 7.0, to_timestamp(i), 'payment ' || i, 'booked', i % 3 = 0",
        ),
    ] {
        pair.on_both("DROP TYPE IF EXISTS status CASCADE; CREATE TYPE status AS ENUM ('open', 'booked')")
            .await;
        for n in 0..TABLES {
            pair.on_both(&format!(
                "DROP TABLE IF EXISTS t{n}; CREATE TABLE t{n} ({columns});
                 INSERT INTO t{n} SELECT {values} FROM generate_series(1, {ROWS}) i; ANALYZE t{n}"
            ))
            .await;
        }
        let mut took: Vec<Duration> = Vec::new();
        for _ in 0..7 {
            let began = Instant::now();
            let verdict =
                verify(&pair.from, &pair.to, &everything(), &[], Duration::from_mins(1)).await.unwrap();
            took.push(began.elapsed());
            assert!(verdict.is_equal() && verdict.tables == TABLES + 2, "{verdict:?}");
        }
        took.sort();
        println!(
            "{kind}: {} rows in {TABLES} tables: min {:?}, median {:?}, max {:?}",
            TABLES * ROWS,
            took[0],
            took[3],
            took[6]
        );
    }
}
