//! What a DMS task does: it copies the source's rows, then follows its log through its slot into the target, as long as its
//! role may write there. Small: one entry of a log is one transaction.

use sandbox::plane::{Changes, Effect, Load, Report, Start, Stopped, TableName, TableReport, Validation};
use slipway::side::Side;

use crate::clock::{MILLI, Micros, SECOND, Sim};
use crate::database::{Entry, Slot, Stage};
use crate::world::World;

/// How often it works while there is something to do.
const TICK: Micros = 250 * MILLI;

/// A task that runs.
#[derive(Clone, Debug)]
#[allow(clippy::struct_excessive_bools)] // Each is a fact of its own.
struct Running {
    arn: String,
    resume: bool,
    told: bool,
    stop: bool,
    waits_for_rights: bool,
    begun: Micros,
}

/// What DMS's tasks do.
#[derive(Default)]
pub struct Plane {
    running: Option<Running>,
    /// The first load is done.
    loaded: bool,
    /// It stands still: nothing is applied.
    pub stalled_until: Micros,
}

/// Works for as long as the world lasts.
pub async fn work(sim: Sim) {
    loop {
        let pause = sim.with(|world| {
            world.plane_turn();
            let busy = world.plane.running.is_some();
            match world.aws.next_change() {
                Some(at) => {
                    let until = at.duration_since(world.now()).as_micros();
                    let until = i64::try_from(until).unwrap_or(TICK).max(MILLI);
                    until.min(if busy { TICK } else { 2 * SECOND })
                }
                None if busy => TICK,
                None => SECOND,
            }
        });
        sim.sleep(pause).await;
    }
}

impl World {
    fn plane_turn(&mut self) {
        let now = self.now();
        for effect in self.aws.advance(now) {
            match effect {
                Effect::TestConnection { instance_arn, endpoint_arn, database } => {
                    let reachable =
                        database.host != "target.example" || self.database(Side::Target).dms_connects;
                    let result =
                        if reachable { Ok(()) } else { Err("permission denied for database".to_owned()) };
                    self.aws.tell(Report::ConnectionTested { instance_arn, endpoint_arn, result }, now);
                }
                Effect::StartTask { task_arn, task, start } => {
                    self.plane.running = Some(Running {
                        arn: task_arn,
                        resume: matches!(start, Start::Resume { .. }),
                        told: false,
                        stop: false,
                        waits_for_rights: task.waits_for_rights,
                        begun: self.clock.now,
                    });
                    if !matches!(start, Start::Resume { .. }) {
                        self.plane.loaded = false;
                    }
                }
                Effect::StopTask { task_arn } => {
                    if let Some(running) =
                        self.plane.running.as_mut().filter(|running| running.arn == task_arn)
                    {
                        running.stop = true;
                    }
                }
            }
        }
        let Some(mut running) = self.plane.running.take() else { return };
        match self.task_turn(&mut running) {
            None => self.plane.running = Some(running),
            Some(reason) => {
                if let Some(slot) = &mut self.database_mut(Side::Source).forward {
                    slot.active = false;
                }
                self.database_mut(Side::Target).dms_session = false;
                self.trace.say(self.clock.now, || format!("plane: the task ended: {reason:?}"));
                let report =
                    Report::TaskStopped { task_arn: running.arn, reason, applied_lsn: Some("0/1".into()) };
                self.aws.tell(report, now);
            }
        }
    }

    /// One turn; why the task ends, if it does.
    fn task_turn(&mut self, running: &mut Running) -> Option<Stopped> {
        if running.stop {
            return Some(Stopped::Normal);
        }
        let target = self.database(Side::Target);
        let allowed = target.dms_connects && target.dms_writes && target.marker_table;
        if !allowed {
            let why = Stopped::Fatal("the role lost its rights on the target".to_owned());
            return (!running.waits_for_rights).then_some(why);
        }
        if self.clock.now < self.plane.stalled_until {
            return None;
        }
        let source = self.database(Side::Source);
        match source.forward {
            Some(slot) if slot.lost => return Some(Stopped::Fatal("the slot was lost".to_owned())),
            Some(_) => {}
            None if running.resume && self.plane.loaded => {
                return Some(Stopped::Fatal("the slot does not exist".to_owned()));
            }
            None => {
                // Making a slot waits for every transaction that has written.
                let busy = source.sessions.iter().any(|session| matches!(session.stage, Stage::Wrote(_)));
                if busy || !source.prepared.is_empty() {
                    return None;
                }
                let position = source.end();
                self.database_mut(Side::Source).forward = Some(Slot { position, active: true, lost: false });
            }
        }
        // Each change is checked: none is made that changes nothing.
        if self.database(Side::Source).forward.is_some_and(|slot| !slot.active)
            && let Some(slot) = &mut self.database_mut(Side::Source).forward
        {
            slot.active = true;
        }
        if !self.database(Side::Target).dms_session {
            self.database_mut(Side::Target).dms_session = true;
        }
        let now = self.now();
        if !running.told {
            running.told = true;
            let slot = self.names.forward.clone();
            self.aws.tell(Report::TaskRunning { task_arn: running.arn.clone(), slot }, now);
            return None;
        }
        if !self.plane.loaded {
            if self.clock.now < running.begun + SECOND {
                return None;
            }
            self.load();
        }
        self.apply();
        let progress = self.progress(running);
        self.aws.tell(progress, now);
        None
    }

    /// Copies what the source's tables hold at the slot.
    fn load(&mut self) {
        let source = self.database(Side::Source);
        let position = usize::from(source.forward.map_or(0, |slot| slot.position));
        let rows: Vec<Entry> =
            source.log[..position].iter().filter(|entry| matches!(entry, Entry::Write(_))).copied().collect();
        let target = self.database_mut(Side::Target);
        let half = target.writes().next().is_some();
        if half {
            target.log.push(Entry::Truncate);
        }
        target.log.extend(rows);
        self.plane.loaded = true;
        self.trace.say(self.clock.now, || format!("plane: loaded up to {position}"));
    }

    fn apply(&mut self) {
        let source = self.database(Side::Source);
        let Some(slot) = source.forward else { return };
        let from = usize::from(slot.position);
        let entries: Vec<Entry> = source.log[from..].to_vec();
        if entries.is_empty() {
            return;
        }
        self.database_mut(Side::Target).log.extend(entries);
        let end = self.database(Side::Source).end();
        if let Some(slot) = &mut self.database_mut(Side::Source).forward {
            slot.position = end;
        }
    }

    fn progress(&self, running: &Running) -> Report {
        let rows = u64::try_from(self.database(Side::Target).writes().count()).unwrap_or(0);
        let now = self.now();
        let table = |name: &str, schema: &str| TableReport {
            table: TableName { schema: schema.to_owned(), name: name.to_owned() },
            load: if self.plane.loaded { Load::Completed } else { Load::Loading },
            full_load_rows: rows,
            load_started: Some(now),
            load_ended: self.plane.loaded.then_some(now),
            captured: Changes::default(),
            applied: Changes::default(),
            validation: Validation::Validated,
            validation_failed: 0,
        };
        Report::TaskProgress {
            task_arn: running.arn.clone(),
            tables: vec![table("accounts", "public"), table("entries", "public"), table("marker", "slipway")],
            full_load_done: self.plane.loaded,
            latency_source_seconds: 0.0,
            latency_target_seconds: 0.0,
            waiting_changes: 0,
            applied_lsn: Some("0/1".to_owned()),
        }
    }
}
