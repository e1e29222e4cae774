//! A source, a target, a data plane between them, and a writer.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::{Mutex, mpsc},
    task::JoinHandle,
};
use tokio_postgres::Client;

use super::server::Server;
use crate::{
    dataplane::DataPlane,
    plane::{Effect, Report, Selection, Settings, Start, Stopped, TableReport, Task},
};

pub(super) const ARN: &str = "arn:aws:dms:eu-central-1:000000000000:task:XPTO3XWNVEK6KQ3ZK7GNXQ5U3Y";

/// Tables with all that is odd about types, names and keys.
pub(super) const SCHEMA: &str = r#"
    CREATE SCHEMA "Odd Schema";
    CREATE TYPE "Odd Schema"."Mood" AS ENUM ('so so', 'it''s "fine"', 'ü');
    CREATE TYPE public.pair AS (a int, b text);
    CREATE TABLE public.account (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, owner text NOT NULL,
        balance numeric(18,2) NOT NULL, doubled numeric GENERATED ALWAYS AS (balance * 2) STORED,
        profile jsonb, changed timestamptz NOT NULL DEFAULT clock_timestamp());
    CREATE TABLE public.entry (account bigint NOT NULL REFERENCES public.account DEFERRABLE INITIALLY DEFERRED,
        number int NOT NULL, amount numeric NOT NULL, note text, PRIMARY KEY (account, number));
    CREATE TABLE "Odd Schema"."T""x: INSERT: [y]" ("Id" uuid PRIMARY KEY DEFAULT gen_random_uuid(), "new-tuple:" text,
        ok boolean, bits bit(3), varbits bit varying, bytes bytea, f8 double precision, f4 real, every interval,
        day date, at timestamp, zone timestamptz, n numeric, j json, x xml, r int4range, ip inet, c char(5),
        mood "Odd Schema"."Mood", moods "Odd Schema"."Mood"[], texts text[], p public.pair, cash money,
        spot point, big text, t time, tz timetz, oid oid, v tsvector, empty text);
    CREATE TABLE public.nokey (a int, b text, j json);
    ALTER TABLE public.nokey REPLICA IDENTITY FULL;
    CREATE TABLE public.marker (id int PRIMARY KEY, token bigint);
    CREATE TABLE public.secret (id int PRIMARY KEY);
    GRANT USAGE ON SCHEMA "Odd Schema" TO dms;
    GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public, "Odd Schema" TO dms"#;

const ODD_ROW: &str = r#"INSERT INTO "Odd Schema"."T""x: INSERT: [y]" ("new-tuple:", ok, bits, varbits, bytes, f8, f4, every,
        day, at, zone, n, j, x, r, ip, c, mood, moods, texts, p, cash, spot, big, t, tz, oid, v, empty)
    SELECT E'it''s\n\t"new-tuple:" \\ Ünïcödé 🦀 ' || i, i % 2 = 0, b'101', b'1', '\x00ff27'::bytea,
        CASE i % 4 WHEN 0 THEN 'NaN' WHEN 1 THEN '-Infinity' ELSE 1e-300 * i + 0.1 END, 0.1, '1 mon -3 days 04:05:06.789',
        CASE i % 3 WHEN 0 THEN 'infinity' WHEN 1 THEN '0044-03-15 BC' ELSE '2026-02-28' END::date,
        '-infinity', '2026-10-25 02:30:00.000001+02', CASE i % 3 WHEN 0 THEN 'NaN' ELSE i || '.10' END::numeric,
        '{"a":  [1, null, "it''s"]}', '<a b="c">d</a>', '[1,5)', '10.0.0.0/8', 'ab',
        'it''s "fine"', ARRAY['so so', NULL, 'ü']::"Odd Schema"."Mood"[], ARRAY[['a,b', 'c"d'], ['{}', 'null']],
        ROW(1, 'x y')::pair, 12.34, '(1.5,-2)', CASE WHEN i % 3 = 0 THEN repeat(md5(i::text), 300) || random() END, '23:59:59.999999',
        '23:00:00+02', 4294967295, 'a:1 b:2', ''
    FROM generate_series($FROM, $TO) i"#;

pub(super) struct Bench {
    pub(super) server: Server,
    effects: mpsc::Sender<Effect>,
    reports: mpsc::Receiver<Report>,
    plane: DataPlane,
    pub(super) task: Task,
}

impl Bench {
    /// The schema on both sides and `rows` accounts on the source.
    pub(super) async fn new(rows: u32) -> Self {
        let server = Server::start().await;
        for database in ["source", "target"] {
            server.admin(database).await.batch_execute(SCHEMA).await.unwrap();
        }
        let fill = format!(
            "INSERT INTO account (owner, balance, profile) SELECT 'Müller ' || i, i, '{{\"n\": 1.0}}' FROM generate_series(1, {rows}) i;
             INSERT INTO entry SELECT id, n, id * 1.5, repeat('x', 50) FROM account, generate_series(1, 3) n;
             INSERT INTO nokey SELECT i % 7, NULLIF('it''s ' || i % 3, 'it''s 0'), '{{\"a\":  1}}' FROM generate_series(1, 200) i;
             INSERT INTO secret VALUES (1);
             INSERT INTO marker VALUES (1, 0);
             {}",
            ODD_ROW.replace("$FROM", "1").replace("$TO", "50")
        );
        server.admin("source").await.batch_execute(&fill).await.unwrap();
        let task = Task {
            resource_id: "XPTO3XWNVEK6KQ3ZK7GNXQ5U3Y".into(),
            source: server.endpoint("source"),
            target: server.endpoint("target"),
            selections: vec![
                Selection { include: true, schema: "%".into(), table: "%".into() },
                Selection { include: false, schema: "public".into(), table: "sec%".into() },
            ],
            settings: Settings {
                parallel_tables: 3,
                recovery_table: true,
                control_schema: "awsdms_control".into(),
                validation: true,
                strict: true,
            },
            waits_for_rights: false,
            apply_latency: Duration::ZERO,
        };
        let (effects, effects_seen) = mpsc::channel(16);
        let (reports_told, reports) = mpsc::channel(16);
        let plane = DataPlane::start(effects_seen, reports_told);
        Self { server, effects, reports, plane, task }
    }

    /// The data plane ends where it is, and a new one that knows nothing takes its place.
    pub(super) async fn power_cut(&mut self) {
        let (effects, effects_seen) = mpsc::channel(16);
        let (reports_told, reports) = mpsc::channel(16);
        let plane = DataPlane::start(effects_seen, reports_told);
        std::mem::replace(&mut self.plane, plane).stop().await;
        (self.effects, self.reports) = (effects, reports);
    }

    pub(super) async fn begin(&self, start: Start) {
        let effect = Effect::StartTask { task_arn: ARN.into(), task: Box::new(self.task.clone()), start };
        self.effects.send(effect).await.unwrap();
    }

    pub(super) async fn order_stop(&self) {
        self.effects.send(Effect::StopTask { task_arn: ARN.into() }).await.unwrap();
    }

    pub(super) async fn report(&mut self) -> Report {
        let next = tokio::time::timeout(Duration::from_mins(2), self.reports.recv()).await;
        next.expect("a report in time").expect("a data plane")
    }

    /// The slot, when the task runs.
    pub(super) async fn running(&mut self) -> String {
        loop {
            match self.report().await {
                Report::TaskRunning { slot, .. } => return slot,
                Report::TaskProgress { .. } => {}
                other => panic!("{other:?}"),
            }
        }
    }

    /// Waits for a progress report that fits.
    pub(super) async fn progress(
        &mut self,
        mut fits: impl FnMut(&[TableReport], bool, u64) -> bool,
    ) -> Vec<TableReport> {
        for _ in 0..400 {
            match self.report().await {
                Report::TaskProgress { tables, full_load_done, waiting_changes, .. } => {
                    if fits(&tables, full_load_done, waiting_changes) {
                        return tables;
                    }
                }
                Report::TaskRunning { .. } => {}
                other => panic!("{other:?}"),
            }
        }
        panic!("no such progress");
    }

    pub(super) async fn stopped(&mut self) -> (Stopped, Option<String>) {
        loop {
            if let Report::TaskStopped { reason, applied_lsn, .. } = self.report().await {
                return (reason, applied_lsn);
            }
        }
    }

    /// Waits until the target has refused so many more logins of the task.
    pub(super) async fn refused_logins(&mut self, wanted: usize) {
        let seen = self.server.log().matches("permission denied for database").count();
        for _ in 0..6000 {
            while let Ok(report) = self.reports.try_recv() {
                assert!(!matches!(report, Report::TaskStopped { .. }), "{report:?}");
            }
            if self.server.log().matches("permission denied for database").count() >= seen + wanted {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("the task does not try");
    }

    /// Writes a marker on the source and waits until it is on the target: all before it is, too.
    pub(super) async fn drain(&mut self) {
        let source = self.server.admin("source").await;
        let target = self.server.admin("target").await;
        let sql = "UPDATE marker SET token = token + 1 RETURNING token";
        let token: i64 = source.query_one(sql, &[]).await.unwrap().get(0);
        for _ in 0..6000 {
            while let Ok(report) = self.reports.try_recv() {
                assert!(!matches!(report, Report::TaskStopped { .. }), "{report:?}");
            }
            let seen = target.query_opt("SELECT token FROM marker", &[]).await.unwrap();
            if seen.is_some_and(|row| row.get::<_, i64>(0) == token) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("the marker did not arrive");
    }

    /// Every row of every table, as text, equal on both sides.
    pub(super) async fn compare(&self) {
        let (source, target) = (self.server.admin("source").await, self.server.admin("target").await);
        for table in ["account", "entry", "nokey", "marker", r#""Odd Schema"."T""x: INSERT: [y]""#] {
            let sql = format!("SELECT t::text FROM {table} t ORDER BY t::text COLLATE \"C\"");
            let (left, right) = (texts(&source, &sql).await, texts(&target, &sql).await);
            assert_eq!(left.len(), right.len(), "{table}");
            for (left, right) in left.iter().zip(&right) {
                assert_eq!(left, right, "{table}");
            }
        }
        assert_eq!(texts(&target, "SELECT id::text FROM secret").await, Vec::<String>::new());
    }
}

async fn texts(client: &Client, sql: &str) -> Vec<String> {
    client.query(sql, &[]).await.unwrap().iter().map(|row| row.get(0)).collect()
}

/// Writes of all kinds, over several sessions, until stopped.
pub(super) struct Writer {
    work: Vec<JoinHandle<u64>>,
    go: Arc<Mutex<bool>>,
}

impl Writer {
    /// Keeps on through lost connections if `stubborn`.
    pub(super) fn start(clients: Vec<Client>, stubborn: bool) -> Self {
        let go = Arc::new(Mutex::new(true));
        let work = clients.into_iter().enumerate().map(|(seed, client)| {
            let go = go.clone();
            tokio::spawn(async move {
                let mut done = 0;
                let mut random = 0x9E37_79B9_7F4A_7C15_u64.wrapping_mul(seed as u64 + 1);
                while *go.lock().await {
                    random ^= random << 13;
                    random ^= random >> 7;
                    random ^= random << 17;
                    match client.batch_execute(&write(random)).await {
                        Ok(()) => done += 1,
                        // Two sessions may want the same rows.
                        Err(error)
                            if error
                                .as_db_error()
                                .is_some_and(|error| ["40P01", "23505"].contains(&error.code().code())) =>
                        {
                            let _ = client.batch_execute("ROLLBACK").await;
                        }
                        Err(_) if stubborn => return done,
                        Err(error) => panic!("{error:?}"),
                    }
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
                done
            })
        });
        Self { work: work.collect(), go: go.clone() }
    }

    pub(super) async fn stop(self) -> u64 {
        *self.go.lock().await = false;
        let mut done = 0;
        for work in self.work {
            done += work.await.unwrap();
        }
        done
    }
}

fn write(random: u64) -> String {
    let (a, b, n) = (random % 500 + 1, random / 500 % 500 + 1, random / 250_000 % 1000);
    match random >> 60 {
        0..4 => format!(
            "BEGIN; UPDATE account SET balance = balance - {n}, changed = clock_timestamp() WHERE id = {a};
             UPDATE account SET balance = balance + {n} WHERE id = {b};
             INSERT INTO entry SELECT {a}, COALESCE(max(number), 0) + 1, -{n}, 'it''s {n}' FROM entry WHERE account = {a}; COMMIT"
        ),
        4 => format!("INSERT INTO account (owner, balance, profile) VALUES (E'Neu\\n{n}', {n}, NULL)"),
        5 => format!("BEGIN; DELETE FROM entry WHERE account = {a} AND number > 3; UPDATE account SET profile = '{{\"k\": {n}}}' WHERE id = {a}; COMMIT"),
        6 => ODD_ROW.replace("$FROM", &n.to_string()).replace("$TO", &n.to_string()),
        7 => format!(r#"UPDATE "Odd Schema"."T""x: INSERT: [y]" SET ok = NOT ok, empty = 'x''{n}' WHERE f4 = 0.1::real AND oid <> {n} AND "Id" IN (SELECT "Id" FROM "Odd Schema"."T""x: INSERT: [y]" ORDER BY "Id" LIMIT 3)"#),
        8 => format!(r#"DELETE FROM "Odd Schema"."T""x: INSERT: [y]" WHERE "Id" IN (SELECT "Id" FROM "Odd Schema"."T""x: INSERT: [y]" ORDER BY "new-tuple:" LIMIT 1 OFFSET {})"#, n % 20),
        9 => format!("UPDATE nokey SET b = CASE WHEN b IS NULL THEN 'x{n}' END WHERE ctid = (SELECT min(ctid) FROM nokey WHERE a = {})", n % 7),
        10 => format!("DELETE FROM nokey WHERE ctid = (SELECT min(ctid) FROM nokey WHERE a = {})", n % 7),
        11 => format!("INSERT INTO nokey SELECT {}, NULL, '[1,  2]' FROM generate_series(1, 2)", n % 7),
        12 => format!("UPDATE entry SET number = number + 100000 WHERE account = {a} AND number = (SELECT max(number) FROM entry WHERE account = {a} AND number < 100000)"),
        13 => format!("INSERT INTO secret VALUES ({}) ON CONFLICT DO NOTHING", random % 100_000),
        14 => "BEGIN; INSERT INTO account (owner, balance) VALUES ('never', 0); ROLLBACK".to_owned(),
        _ => format!("BEGIN; UPDATE account SET balance = balance WHERE id BETWEEN {a} AND {a} + 20; SAVEPOINT s; DELETE FROM entry WHERE account = {b}; ROLLBACK TO s; COMMIT"),
    }
}
