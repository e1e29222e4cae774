//! One sandbox in which the example's migration is carried out again and again, from nothing to Ready to nothing.

use k8s_openapi::api::events::v1::Event;
use kube::Api;
use kube::api::ListParams;
use sandbox::bank::{Config, Load, Way};
use sandbox::demo::check;

use super::inventory::{self, Lines};
use crate::journey::{Journey, NAME, View, texts};

const SLOTS: &str = "SELECT slot_name::text FROM pg_replication_slots WHERE NOT temporary";

/// A sandbox under a small load, with the operator running.
pub struct Bench {
    /// All of it.
    pub journey: Journey,
    /// What a run without a disturbance made.
    pub clean: Clean,
    /// What is in AWS and not ours.
    pub others: Lines,
    load: Load,
}

/// A run without a disturbance.
#[derive(Debug, Default)]
pub struct Clean {
    /// What is in AWS when it is Ready.
    pub made: Lines,
    /// The operations that change AWS, in their order, from nothing to Ready.
    pub changes: Vec<String>,
    /// The same, from Ready to nothing.
    pub removals: Vec<String>,
    /// All calls, from nothing to Ready.
    pub calls: usize,
    /// Writes to the migration, from nothing to Ready, and to nothing.
    pub writes: [usize; 2],
}

impl Bench {
    /// Starts everything, and goes through it once undisturbed.
    pub async fn begin(test: &str) -> Self {
        let mut bench = Box::pin(Self::begin_at_once(test)).await;
        Box::pin(bench.rehearse()).await;
        bench
    }

    /// Starts everything.
    pub async fn begin_at_once(test: &str) -> Self {
        let mut journey = Box::pin(Journey::begin(test)).await;
        let load = Load::start(&Config {
            way: Way::Databases(vec![journey.sandbox.bank.source.app.clone()]),
            clients: 2,
            writes_per_second: 20,
            seed: 1,
            journal: None,
        });
        journey.start_operator();
        Self { journey, clean: Clean::default(), others: Lines::new(), load }
    }

    /// Begins a replication, and remembers what was made for it.
    pub async fn replicating(test: &str) -> (Self, View) {
        let mut bench = Box::pin(Self::begin_at_once(test)).await;
        bench.apply().await;
        let view = bench.ready().await;
        bench.clean.made = inventory::take(&bench.journey.sandbox.aws).of(view.uid());
        bench.new_operator().await;
        (bench, view)
    }

    async fn rehearse(&mut self) {
        let bench = self;
        let mut clean = Clean::default();
        let begun = bench.counts();
        bench.apply().await;
        let view = bench.ready().await;
        let ready = bench.counts();
        clean.made = inventory::take(&bench.journey.sandbox.aws).of(view.uid());
        clean.changes = bench.journey.changes()[begun.changes..ready.changes].to_vec();
        clean.calls = ready.calls - begun.calls;
        bench.new_operator().await;
        bench.journey.delete(NAME).await;
        bench.gone(&view).await;
        let gone = bench.counts();
        clean.removals = bench.journey.changes()[ready.changes..gone.changes].to_vec();
        clean.writes = [ready.writes - begun.writes, gone.writes - ready.writes];
        bench.empty_target().await;
        bench.new_operator().await;
        bench.clean = clean;
    }

    /// Kills the operator where it stands and starts another. A new one has its whole allowance of AWS calls, and does not
    /// wait for its next.
    pub async fn new_operator(&mut self) {
        self.journey.kill_operator().await;
        self.journey.start_operator();
    }

    /// Applies the example.
    pub async fn apply(&self) {
        self.journey.apply(|_| {}).await;
    }

    /// Waits until it replicates, and checks that both sides are equal under the load and that nothing is there twice.
    pub async fn ready(&self) -> View {
        let view = self.journey.until_replicating(NAME).await;
        self.proved(&view).await;
        assert_eq!(self.warnings(&view).await, Vec::<String>::new(), "nobody was needed");
        view
    }

    /// What the operator warned of: each time that the migration became stalled, for one.
    pub async fn warnings(&self, view: &View) -> Vec<String> {
        let events = events(&self.journey, view).await.into_iter();
        events.filter_map(|(kind, event)| (kind == "Warning").then_some(event)).collect()
    }

    /// Both sides are equal, and AWS and the source hold what a clean run makes, once.
    pub async fn proved(&self, view: &View) {
        let aws = inventory::take(&self.journey.sandbox.aws);
        let made = aws.of(view.uid());
        if !self.clean.made.is_empty() {
            assert_eq!(made, self.clean.made, "other things than in a clean run: {:#?}", aws.names());
        }
        assert_eq!(aws.of_others(view.uid()), self.others, "others' things, or something without our tags");
        let slots = texts(&self.journey.sandbox.source, SLOTS).await;
        assert_eq!(slots.len(), 1, "slots: {slots:?}");
        let comparison = check::compare(self.journey.environment()).await.unwrap();
        assert!(comparison.equal(), "{comparison}");
    }

    /// Waits until it is gone, and checks that nothing of it is left.
    pub async fn gone(&self, view: &View) {
        self.journey.until_gone(NAME).await;
        self.nothing_left(view).await;
    }

    /// Nothing of the migration is left in AWS and on the source; the target's rows and its fence are.
    pub async fn nothing_left(&self, view: &View) {
        let aws = inventory::take(&self.journey.sandbox.aws);
        assert_eq!(aws.of(view.uid()), Lines::new(), "left in AWS");
        assert_eq!(aws.of_others(view.uid()), self.others, "others' things in AWS");
        let sandbox = &self.journey.sandbox;
        assert_eq!(texts(&sandbox.source, SLOTS).await, Vec::<String>::new(), "slots on the source");
        let tables = "SELECT tablename::text FROM pg_tables WHERE schemaname = 'slipway'";
        assert_eq!(texts(&sandbox.source, tables).await, Vec::<String>::new(), "tables on the source");
        let may =
            "SELECT 'payments_app' WHERE has_table_privilege('payments_app', 'public.accounts', 'INSERT')";
        assert_eq!(texts(&sandbox.target, may).await, Vec::<String>::new(), "the fence");
    }

    /// Empties the target's tables, as a person would who wants to begin anew.
    pub async fn empty_target(&self) {
        self.journey
            .on_target(
                "DO $$ BEGIN EXECUTE (SELECT 'TRUNCATE ' || string_agg(format('%I.%I', schemaname, tablename), ', ')
                 FROM pg_tables WHERE schemaname = 'public'); END $$",
            )
            .await;
    }

    /// Deletes the migration and waits until it is gone, then empties the target.
    pub async fn clear(&mut self, view: &View) {
        self.new_operator().await;
        self.journey.delete(NAME).await;
        self.gone(view).await;
        self.empty_target().await;
        self.new_operator().await;
    }

    /// How much was done so far.
    pub fn counts(&self) -> Counts {
        let writes = self.journey.writes_by_operator();
        Counts {
            changes: self.journey.changes().len(),
            calls: self.journey.sandbox.aws.calls().len(),
            writes: writes.iter().filter(|write| write.resource == "databasemigrations").count(),
        }
    }

    /// Ends it.
    pub async fn end(self) {
        self.load.stop().await;
        self.journey.end().await;
    }
}

/// Type, and reason with note, of each event of a migration.
pub async fn events(journey: &Journey, view: &View) -> Vec<(String, String)> {
    let api: Api<Event> = Api::namespaced(journey.client.clone(), "default");
    let all = api.list(&ListParams::default()).await.unwrap().items.into_iter();
    let of =
        |event: &Event| event.regarding.as_ref().and_then(|object| object.uid.as_deref()) == Some(view.uid());
    let words = |event: Event| {
        let word = Option::unwrap_or_default;
        (word(event.type_), format!("{}: {}", word(event.reason), word(event.note)))
    };
    all.filter(of).map(words).collect()
}

/// What was done up to a moment.
#[derive(Clone, Copy, Debug)]
pub struct Counts {
    pub changes: usize,
    pub calls: usize,
    pub writes: usize,
}

/// Whether a migration follows its source.
pub fn replicates(view: Option<&View>) -> bool {
    view.is_some_and(|view| view.is_current() && view.is("Ready", "True", "Replicating"))
}
