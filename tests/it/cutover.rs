//! The writer moves under load, watched on both sides: nothing is lost, nothing is there twice, and at no moment do both
//! sides take writes.

use std::path::PathBuf;
use std::sync::Arc;

use sandbox::bank::journal::{self, Journal as Book, Ledger};
use sandbox::bank::probe::{EVERY, Findings, Prober, Side};
use sandbox::bank::{self, Load};
use sandbox::postgres::connect_local;
use sandbox::torture::hold_the_marker;
use serde_json::{Value, json};

use crate::journey::{Journey, NAME, View, spec, texts};

mod clean;
mod cut;
mod killed;
mod stopped;
mod two;

/// Writes per second: enough that something is always in flight.
const RATE: u32 = 300;

/// A migration that follows its source under load.
pub struct Night {
    pub journey: Journey,
    load: Option<Load>,
    prober: Option<Prober>,
    book: Arc<Book>,
    path: PathBuf,
}

impl Night {
    /// From nothing to Ready at goal Replicate, with the load and the probes at work. `change` bends the manifest.
    pub async fn begin(test: &str, change: impl FnOnce(&mut Value)) -> Self {
        Box::pin(Self::begin_with(test, 60, change)).await
    }

    /// The same with an operator whose Lease lasts so many seconds.
    pub async fn begin_with(test: &str, lease: u32, change: impl FnOnce(&mut Value)) -> Self {
        let mut journey = Box::pin(Journey::begin(test)).await;
        journey.lease = lease;
        journey.start_operator();
        journey
            .apply(|object| {
                object["spec"]["rollback"] = json!({"minSoak": "0s"});
                object["spec"]["cutover"]["maxWriteOutage"] = json!("20s");
                change(object);
            })
            .await;
        Box::pin(journey.until_replicating(NAME)).await;
        let path = journey.sandbox.directory().path().join("night.journal");
        let book = Arc::new(Book::open(&path).unwrap());
        let login = |name| journey.environment().login(name).unwrap();
        let load = Load::start(&bank::Config {
            way: bank::Way::Databases(vec![login("SOURCE_APP_DSN"), login("TARGET_APP_DSN")]),
            clients: 4,
            writes_per_second: RATE,
            seed: 11,
            journal: Some(Arc::clone(&book)),
        });
        let prober = Prober::start(&journey.sandbox.source, &journey.sandbox.target, EVERY).unwrap();
        let night = Self { journey, load: Some(load), prober: Some(prober), book, path };
        night.writes().await;
        night
    }

    /// Waits until the application has written something more.
    pub async fn writes(&self) {
        let load = self.load.as_ref().unwrap();
        let before = load.acknowledged();
        self.journey
            .eventually(crate::journey::PATIENCE, "acknowledged writes", || async {
                if load.acknowledged() > before + 20 { Ok(()) } else { Err(format!("{:?}", load.totals())) }
            })
            .await;
    }

    pub async fn goal(&self, goal: &str) {
        self.journey.patch(NAME, spec(json!({"goal": goal}))).await.unwrap();
    }

    pub async fn until_phase(&self, phase: &str) -> View {
        self.journey.until(NAME, phase, |view| view.is_current() && view.phase() == phase).await
    }

    /// The source is the writer, and the target follows again.
    pub async fn until_back(&self) -> View {
        self.journey
            .until(NAME, "the source is the writer, and the target follows", |view| {
                view.is_current()
                    && view.phase() == "Replicating"
                    && view.status()["writer"] == "Source"
                    && view.status()["replication"]["taskStatus"] == "running"
                    && view.status()["decided"]["intent"] == "Steady"
            })
            .await
    }

    /// Waits until the source is fenced by a move.
    pub async fn fenced(&self) {
        self.holder("none").await;
    }

    /// Waits until the source's row says so.
    pub async fn holder(&self, wanted: &str) {
        self.journey
            .eventually(crate::journey::PATIENCE, &format!("slipway.token: {wanted}"), || async {
                let holder = texts(&self.journey.sandbox.source, "SELECT holder FROM slipway.token").await;
                if holder == [wanted] { Ok(()) } else { Err(format!("{holder:?}")) }
            })
            .await;
    }

    /// From here on the marker of a move can't arrive on the target, until what is returned is dropped. Heartbeats can.
    pub async fn hold_the_marker(&self) -> tokio_postgres::Client {
        hold_the_marker(&self.journey.sandbox.target).await.unwrap()
    }

    /// A move that stands in the fence, and goes no further until what is returned is dropped.
    pub async fn held_in_the_fence(&self) -> tokio_postgres::Client {
        let held = self.hold_the_marker().await;
        self.goal("CutOver").await;
        self.fenced().await;
        held
    }

    /// The end, if all is proved and this side takes the writes.
    pub async fn ends_with(mut self, writer: Side) {
        let findings = self.proved().await;
        assert_eq!(findings.writer(), Some(writer));
        self.end().await;
    }

    /// Ends load and probes, and compares: each acknowledged write is there once, and the intervals never met.
    pub async fn proved(&mut self) -> Findings {
        let totals = self.load.take().unwrap().stop().await;
        self.book.sync().unwrap();
        let findings = self.prober.take().unwrap().stop();
        assert!(findings.overlaps().is_empty(), "{:#?}", findings.overlaps());
        assert!(findings.accepted() > 0);
        let server = match findings.writer() {
            Some(Side::Target) => &self.journey.sandbox.target,
            Some(Side::Source) | None => &self.journey.sandbox.source,
        };
        let database = connect_local(&server.superuser_dsn(bank::DATABASE)).await.unwrap();
        let verdict = journal::check(&database, &Ledger::read(&self.path).unwrap()).await.unwrap();
        println!("{verdict}; {totals:?}; moves: {:?}", findings.moves());
        assert!(verdict.holds(), "{verdict}\n{}", verdict.complaints().join("\n"));
        assert!(verdict.acknowledged > 20);
        findings
    }

    pub async fn end(self) {
        self.journey.end().await;
    }
}

/// All grants of a database, to compare before with after.
pub async fn grants(server: &sandbox::postgres::Server) -> Vec<String> {
    texts(
        server,
        "SELECT format('%s %s', datname, (SELECT string_agg(a::text, ',' ORDER BY a::text) FROM unnest(datacl) a))
           FROM pg_database WHERE datname = current_database()
         UNION ALL SELECT format('%s.%s %s', n.nspname, c.relname,
             (SELECT string_agg(a::text, ',' ORDER BY a::text) FROM unnest(c.relacl) a))
           FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
          WHERE n.nspname = 'public' AND c.relkind IN ('r', 'p', 'S') ORDER BY 1",
    )
    .await
}
