//! Everything outside of the operators: AWS, the Kubernetes API, two databases, what a DMS task does, applications, people.
//! Plain data, stepped on a virtual clock.

pub mod applications;
pub mod cluster;
pub mod faults;
pub mod inventory;
pub mod people;
pub mod plane;
pub mod shelf;
pub mod strangers;
pub mod trace;
pub mod traffic;

use std::collections::BTreeMap;
use std::sync::OnceLock;

use jiff::Timestamp;
use sandbox::certificates::Authority;
use sandbox::world as aws;
use slipway::database::goal::Goal;
use slipway::postgres::Server;
use slipway::side::{Side, Sides};

use crate::clock::{Clock, Micros, ProcessId};
use crate::database::{self, Database, Holder, Names};
use crate::invariants::{self, History};
use crate::random::Random;
use cluster::Cluster;
use faults::Faults;
use plane::Plane;
use trace::Trace;

/// When every history begins.
const BEGIN: &str = "2026-01-05T08:00:00Z";
/// The identifier of the target's RDS instance.
pub const RDS: &str = "rds-payments-dev";
/// Stands in every password. Nothing that a person can read may hold it.
pub const CANARY: &str = "canary-5e1f";

/// A moment of true time.
pub fn stamp(at: Micros) -> Timestamp {
    static BASE: OnceLock<i64> = OnceLock::new();
    let base = BASE.get_or_init(|| BEGIN.parse::<Timestamp>().map_or(0, Timestamp::as_microsecond));
    Timestamp::from_microsecond(base + at).unwrap_or_default()
}

/// An authority in PEM, made once: AWS's model parses it.
pub fn authority() -> &'static str {
    static PEM: OnceLock<String> = OnceLock::new();
    PEM.get_or_init(|| {
        Authority::new("simulator").map(|made| made.pair().certificate.clone()).unwrap_or_default()
    })
}

/// What was found to be wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The number of the invariant in the design.
    pub invariant: u8,
    /// In words.
    pub words: String,
}

/// The world.
#[allow(clippy::struct_excessive_bools)] // Each is a fact of its own.
pub struct World {
    /// The virtual clock.
    pub clock: Clock,
    /// Where chance comes from.
    pub random: Random,
    /// AWS.
    pub aws: aws::World,
    /// The Kubernetes API.
    pub cluster: Cluster,
    databases: Sides<Database>,
    /// A database changed since it was last checked.
    changed: bool,
    /// The target was fenced once.
    promised: bool,
    reader: invariants::Reader,
    /// What happened, as far as the databases do not show it.
    pub history: History,
    /// What DMS's tasks do.
    pub plane: Plane,
    /// What goes wrong.
    pub faults: Faults,
    /// What was done, in words.
    pub trace: Trace,
    /// The first thing that was wrong.
    pub violation: Option<Violation>,
    /// The name and its fleets, if there is an `ApplicationMigration`.
    pub traffic: Option<traffic::Traffic>,
    /// By so many seconds may operators' clocks be wrong.
    pub skew: i64,
    /// What things are called in the databases.
    pub names: Names,
    /// The operators' processes.
    pub processes: Vec<std::rc::Weak<crate::operator::Process>>,
    /// Changes that operators made outside, but for heartbeats.
    pub changes: u64,
    /// How often operators looked at everything.
    pub looks: u64,
    /// How often operators made something at AWS, by name: nothing may be made twice.
    pub made: BTreeMap<String, usize>,
    /// What happens now was sent long ago.
    pub arrives_late: bool,
    /// What a late call was about, for each that arrived.
    pub late: Vec<String>,
    /// Names of what late calls made when the resource was gone or finished.
    pub orphans: Vec<String>,
    /// What stood at the public name before a batch arrived late, if nobody was there any more to undo it.
    pub stood: Option<traffic::Stands>,
    /// Names that AWS made lately, and when: a describe may not know them yet.
    pub young: Vec<(String, Micros)>,
    /// What people waited for in vain.
    pub missed: Option<people::When>,
    /// Whether applications still write.
    pub applications_run: bool,
    /// It was deleted with everything kept.
    pub retained: bool,
    /// The same of the `ApplicationMigration`.
    pub traffic_retained: bool,
    /// The status of the `ApplicationMigration` was lost when nothing else knew that all was finished.
    pub traffic_lost_at_the_end: bool,
    /// The status was lost.
    pub lost: bool,
    /// The status was lost when nothing else knew that all was finished.
    pub lost_at_the_end: bool,
    /// What somebody else has at AWS.
    pub strangers: Vec<inventory::Item>,
    /// Wrong versions of the rules, to see that they are found out.
    pub mutant: Option<&'static str>,
    /// The zone of the applications' record, if they have one.
    pub zone: Option<String>,
    base: Sides<Server>,
    /// What each generation of the spec says, once it was parsed.
    pub parsed: Vec<(Option<i64>, Goal)>,
    /// The same of the application's.
    pub parsed_traffic: Vec<(Option<i64>, slipway::application::goal::Goal)>,
}

impl World {
    /// As it is before Slipway comes.
    pub fn new(seed: u64, delays: aws::Delays, names: Names) -> Self {
        let database = aws::rds::Instance {
            identifier: RDS.to_owned(),
            arn: format!("arn:aws:rds:eu-central-1:111122223333:db:{RDS}"),
            address: "target.example".to_owned(),
            port: 5432,
            database: "payments".to_owned(),
            master_username: "master".to_owned(),
            engine_version: "15.8".to_owned(),
            status: "available".to_owned(),
            parameter_group: "slipway".to_owned(),
            parameter_apply_status: "in-sync".to_owned(),
            storage_encrypted: true,
            publicly_accessible: false,
            ca_certificate_identifier: "rds-ca-rsa2048-g1".to_owned(),
        };
        let config = aws::Config { seed, delays, databases: vec![database], ..aws::Config::default() };
        Self {
            clock: Clock::default(),
            random: Random::new(seed),
            aws: aws::World::new(config, stamp(strangers::LONG_AGO)),
            cluster: Cluster::default(),
            databases: Sides { source: Database::new(Side::Source), target: Database::new(Side::Target) },
            changed: true,
            promised: false,
            reader: invariants::Reader::default(),
            history: History::default(),
            plane: Plane::default(),
            faults: Faults::default(),
            trace: Trace::default(),
            violation: None,
            traffic: None,
            skew: 0,
            names,
            processes: Vec::new(),
            changes: 0,
            looks: 0,
            made: BTreeMap::new(),
            arrives_late: false,
            late: Vec::new(),
            orphans: Vec::new(),
            stood: None,
            young: Vec::new(),
            missed: None,
            applications_run: true,
            retained: false,
            traffic_retained: false,
            traffic_lost_at_the_end: false,
            lost: false,
            lost_at_the_end: false,
            strangers: Vec::new(),
            mutant: None,
            zone: None,
            base: Sides { source: database::base(1), target: database::base(2) },
            parsed: Vec::new(),
            parsed_traffic: Vec::new(),
        }
    }

    /// Time passes.
    pub fn pass(&mut self, to: Micros) {
        self.clock.now = self.clock.now.max(to);
    }

    /// The present moment of true time.
    pub fn now(&self) -> Timestamp {
        stamp(self.clock.now)
    }

    /// A database, to look at.
    pub fn database(&self, side: Side) -> &Database {
        self.databases.get(side)
    }

    /// A database, to change it: its own clock shows the present.
    pub fn database_mut(&mut self, side: Side) -> &mut Database {
        self.changed = true;
        let clock = self.clock.now / 1_000;
        let database = self.databases.get_mut(side);
        database.clock = clock;
        database
    }

    /// What a database says of itself outside of a move.
    pub fn server(&mut self, side: Side) -> Server {
        let clock = self.clock.now / 1_000;
        let database = self.databases.get_mut(side);
        database.clock = clock;
        let mut server = database.server(self.base.get(side), &self.names);
        let empty = database.writes().next().is_none();
        for table in &mut server.tables {
            table.empty = Some(empty);
        }
        server
    }

    /// Notes that something is wrong; the first is kept.
    pub fn fail(&mut self, invariant: u8, words: impl Into<String>) {
        let words = words.into();
        self.trace.say(self.clock.now, || format!("VIOLATION of invariant {invariant}: {words}"));
        self.violation.get_or_insert(Violation { invariant, words });
    }

    /// Every invariant that can be seen in one state. Called after every step.
    pub fn check(&mut self) {
        if !std::mem::take(&mut self.changed) {
            return;
        }
        // Before Slipway came, nobody promised anything.
        self.promised |= self.databases.target.row.is_some();
        if self.promised {
            let found = self.reader.check(&self.databases, &self.history);
            if cfg!(test) {
                assert_eq!(found, invariants::check(&self.databases, &self.history), "read piece by piece");
            }
            if let Err(violation) = found {
                self.fail(violation.invariant(), violation.words());
            }
        }
        // That it is not moved by a deletion either is seen where a step is taken.
        let given = self.holds(Side::Source, Side::Target);
        if self.cluster.open_when_deleted == Some(false) && self.databases.target.open && !given {
            self.fail(16, "a resource that is deleted opened the target");
        }
    }

    /// Whether the row of `side` says that `holder` is the writer.
    pub fn holds(&self, side: Side, holder: Side) -> bool {
        self.database(side).row.is_some_and(|row| row.holder == Holder::Side(holder))
    }

    /// The move was finished, and no row says any more whose it was.
    pub fn is_removed(&self) -> bool {
        let is_ours = |side: Side| self.database(side).row.is_some_and(|row| row.uid != 0);
        self.holds(Side::Source, Side::Target) && !Side::BOTH.into_iter().any(is_ours)
    }

    /// Nobody is left who would undo what is made now: the resource is gone or finished, or it is being deleted and the last
    /// look found nothing.
    pub fn is_left_alone(&mut self, on: &str) -> bool {
        if traffic::is_about(on) {
            return self.traffic_is_left_alone();
        }
        if self.cluster.is_over() {
            return true;
        }
        let deleting =
            self.cluster.database.newest().is_some_and(|o| o.metadata.deletion_timestamp.is_some());
        deleting && self.inventory().iter().all(|item| self.strangers.contains(item))
    }

    /// Which side takes applications' writes.
    pub fn writer(&self) -> Option<Side> {
        Side::BOTH.into_iter().find(|side| self.databases.get(*side).open)
    }

    /// The rows' words, for comparing two ends.
    pub fn rows(&self) -> String {
        let row = |side: Side| {
            let database = self.databases.get(side);
            let held = database.row.map(|row| match row.holder {
                Holder::Side(side) => format!("{side} of {}", row.uid),
                other => format!("{other:?} of {}", row.uid),
            });
            let slots = (database.forward.is_some(), database.back.is_some());
            let dms = (database.dms_connects, database.dms_writes);
            format!("{side}: {held:?} open {} slots {slots:?} dms {dms:?}", database.open)
        };
        format!("{}; {}", row(Side::Source), row(Side::Target))
    }
}

/// The process that a weak reference is of, if it runs.
pub fn running(world: &World, id: ProcessId) -> Option<std::rc::Rc<crate::operator::Process>> {
    world.processes.iter().filter_map(std::rc::Weak::upgrade).find(|process| process.id == id)
}
