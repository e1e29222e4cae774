//! One history: a journey, with what goes wrong in it, to its end; and what must hold there.

mod traffic;

use sandbox::world::Delays;
use slipway::api::database::Goal;
use slipway::side::Side;

use crate::clock::{Micros, SECOND, Scheduler, Sim};
use crate::database::Names;
use crate::journey::{self, By, Journey};
use crate::operator;
use crate::world::faults::{Fate, Point};
use crate::world::people::{self, Order, When};
use crate::world::strangers::Kind;
use crate::world::traffic::Stranger;
use crate::world::{CANARY, Violation, World, applications, plane};

/// Within this time after the last fault and the last order the end is reached.
const CONVERGES_WITHIN: Micros = 3_600 * SECOND;

/// What to run.
#[derive(Clone, Debug)]
#[allow(clippy::struct_excessive_bools)] // Each is a trouble of its own.
pub struct Setup {
    /// Where chance comes from.
    pub seed: u64,
    /// The journey.
    pub journey: Journey,
    /// Further orders, given beside the journey's.
    pub meddling: Vec<(When, Order)>,
    /// One call and its fate.
    pub one: Option<(usize, Fate)>,
    /// So many of a thousand calls fail, in these ways.
    pub rate: u32,
    /// See `rate`.
    pub kinds: Vec<Fate>,
    /// How many operators run.
    pub operators: u8,
    /// Operators are stopped for a while, now and then.
    pub pauses: bool,
    /// How many applications write.
    pub applications: u8,
    /// Some of their transactions are long, or prepared.
    pub long: bool,
    /// Tables' owners could get past the fence's privileges.
    pub layer: bool,
    /// AWS takes its time.
    pub slow: bool,
    /// By so many seconds may operators' clocks be wrong.
    pub skew: i64,
    /// For how long it is watched at the end that nothing more is changed.
    pub idle: Micros,
    /// So often it must be looked at meanwhile.
    pub looks: u64,
    /// Somebody else has something of a name that ours would have.
    pub foreign: Option<Kind>,
    /// The same of the traffic's names.
    pub stranger: Option<Stranger>,
    /// A wrong version of a rule.
    pub mutant: Option<&'static str>,
    /// The story is told.
    pub told: bool,
    /// Every call is listed.
    pub listed: bool,
}

impl Setup {
    /// A journey in which nothing goes wrong.
    pub fn clean(journey: Journey) -> Self {
        Self {
            seed: 1,
            journey,
            meddling: Vec::new(),
            one: None,
            rate: 0,
            kinds: Vec::new(),
            operators: 1,
            pauses: false,
            applications: 2,
            long: false,
            layer: false,
            slow: false,
            skew: 0,
            foreign: None,
            stranger: None,
            idle: 120 * SECOND,
            looks: 0,
            mutant: None,
            told: false,
            listed: false,
        }
    }
}

/// How it went.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// What was wrong, if anything was.
    pub violation: Option<Violation>,
    /// The end, in short.
    pub end: String,
    /// All of it that must be the same whatever went wrong on the way.
    pub left: String,
    /// Every call, if they were to be listed.
    pub calls: Vec<Point>,
    /// How many calls were made until the end was reached.
    pub calls_to_the_end: usize,
    /// The one call that was to fail was made.
    pub reached: bool,
    /// How many steps were made.
    pub steps: u64,
    /// A number for all that happened.
    pub hash: u64,
    /// The story, if it was to be told.
    pub story: Vec<String>,
}

/// Runs one history to its end, or to the first violation.
pub fn run(setup: &Setup) -> Outcome {
    let sim = begin(setup);
    let mut scheduler = Scheduler::new(sim.clone());
    let mut end = String::new();
    let done = go(setup, &sim, &mut scheduler, &mut end);
    if !done {
        "stopped at the violation".clone_into(&mut end);
    }
    sim.with(|world| {
        let left = if done { world.left() } else { String::new() };
        Outcome {
            violation: world.violation.clone(),
            end,
            left,
            calls_to_the_end: world.faults.calls_to_the_end,
            calls: world.faults.listed.take().unwrap_or_default(),
            reached: world.faults.reached,
            steps: scheduler.steps,
            hash: world.trace.hash(),
            story: std::mem::take(&mut world.trace.lines),
        }
    })
}

fn begin(setup: &Setup) -> Sim {
    let uid = "0b5e9a52-2f61-4a59-8d3f-6f1f0a4b7c10";
    let names = Names {
        resource: "bank/payments-db".to_owned(),
        uid: uid.to_owned(),
        forward: "dms_forward_slot".to_owned(),
        back: "slipway_rev_0b5e9a522f614a59".to_owned(),
        application: "payments_app".to_owned(),
        dms: "slipway_dms".to_owned(),
    };
    let mut delays = if setup.slow { Delays::aws() } else { Delays::none() };
    if setup.journey.traffic.is_some() {
        // A load balancer that says something each moment takes most of the processor's time, and tells nothing new.
        let aws = Delays::aws();
        delays.metric_period = aws.metric_period;
        delays.alarm_minute = aws.alarm_minute;
        delays.target_probe = aws.target_probe;
    }
    let mut world = World::new(setup.seed, delays, names);
    world.trace.wanted = setup.told;
    world.mutant = setup.mutant;
    world.faults.one = setup.one;
    world.faults.rate = setup.rate;
    world.skew = setup.skew;
    world.faults.pauses = setup.pauses;
    world.faults.kinds.clone_from(&setup.kinds);
    world.faults.listed = setup.listed.then(Vec::new);
    world.database_mut(Side::Source).needs_layer = setup.layer;
    if setup.journey.by == By::Secret {
        let value = format!(
            "{{\"host\":\"pg01.bank.example\",\"port\":5432,\"dbname\":\"payments\",\"password\":\"{CANARY}\"}}"
        );
        world.aws.keep_secret("payments", &value);
    }
    if let Some(kind) = setup.foreign {
        world.somebody_has(kind);
    }
    let zone_id = if setup.journey.by == By::Record { world.keep_cname() } else { String::new() };
    let wrong = |error| format!("the simulator's manifest is wrong: {error}");
    let part = setup.journey.traffic.as_ref();
    if let Some(part) = part {
        world.has_traffic(i64::try_from(delays.dns_in_sync.as_micros()).unwrap_or(SECOND));
        if let Some(stranger) = setup.stranger {
            world.somebody_else_has(stranger);
        }
        let manifest = world.traffic.as_ref().map(|traffic| journey::traffic_manifest(part, traffic));
        match manifest {
            Some(Ok(object)) => world.cluster.traffic.create(0, object),
            Some(Err(error)) => world.fail(0, wrong(error)),
            None => {}
        }
    }
    if part.is_none_or(|part| !part.alone) {
        match journey::manifest(setup.journey.goal, setup.journey.by, &zone_id, part) {
            Ok(object) => world.cluster.database.create(0, object),
            Err(error) => world.fail(0, wrong(error)),
        }
    }
    let sim = Sim::new(world);
    for id in 0..setup.operators {
        operator::start(&sim, id, i64::from(id) * 3 * SECOND);
    }
    sim.with(|world| {
        let clock = &mut world.clock;
        // Without a DatabaseMigration nobody replicates, and nobody asks who writes.
        let alone = setup.journey.traffic.as_ref().is_some_and(|part| part.alone);
        if !alone {
            clock.spawn(None, plane::work(sim.clone()));
        }
        let part = setup.journey.traffic.as_ref();
        world.faults.orders_left = 1 + usize::from(!setup.meddling.is_empty()) + usize::from(part.is_some());
        if let Some(part) = part {
            clock.spawn(None, crate::world::traffic::serve(sim.clone()));
            clock.spawn(None, people::order(sim.clone(), part.orders.clone()));
        }
        clock.spawn(None, people::order(sim.clone(), setup.journey.orders.clone()));
        clock.spawn(None, people::try_again(sim.clone()));
        if !setup.meddling.is_empty() {
            clock.spawn(None, people::order(sim.clone(), setup.meddling.clone()));
        }
        let applications = if alone { 0 } else { setup.applications };
        for client in 1..=applications {
            clock.spawn(None, applications::write(sim.clone(), client, setup.long));
        }
        clock.spawn(None, applications::end_prepared(sim.clone()));
        if setup.pauses {
            clock.spawn(None, pause(sim.clone(), setup.operators));
        }
    });
    sim
}

/// Stops an operator for a while, now and then.
async fn pause(sim: Sim, operators: u8) {
    loop {
        let wait = sim.with(|world| world.random.within(5 * SECOND, 120 * SECOND));
        sim.sleep(wait).await;
        sim.with(|world| {
            if world.faults.over {
                return;
            }
            let id = u8::try_from(world.random.within(0, i64::from(operators))).unwrap_or(0);
            let until = world.clock.now + world.random.within(SECOND / 2, 60 * SECOND);
            world.stop(id, until);
        });
    }
}

/// Why stepping ended.
#[derive(PartialEq, Eq)]
enum Ended {
    Wanted,
    TooLate,
    Violated,
}

/// Steps until `stop` says so, or the time is up, or an invariant is broken.
fn until(
    sim: &Sim,
    scheduler: &mut Scheduler,
    deadline: Micros,
    mut stop: impl FnMut(&mut World) -> bool,
) -> Ended {
    let mut asked = 0;
    loop {
        if !scheduler.step() {
            return Ended::TooLate;
        }
        let ended = sim.with(|world| {
            world.check();
            let now = world.clock.now;
            if world.violation.is_some() {
                Some(Ended::Violated)
            } else if now >= deadline {
                Some(Ended::TooLate)
            } else if now >= asked {
                asked = now + SECOND / 2;
                stop(world).then_some(Ended::Wanted)
            } else {
                None
            }
        });
        if let Some(ended) = ended {
            return ended;
        }
    }
}

/// True if it got to its end.
fn go(setup: &Setup, sim: &Sim, scheduler: &mut Scheduler, end: &mut String) -> bool {
    let troubled = setup.rate > 0 || setup.pauses || !setup.meddling.is_empty();
    let least = if troubled { 200 * SECOND } else { 0 };
    let orders = until(sim, scheduler, 20_000 * SECOND, |world| {
        world.faults.orders_left == 0 && world.clock.now >= least
    });
    if orders == Ended::Violated {
        return false;
    }
    let deadline = sim.with(|world| {
        world.faults.over = true;
        world.trace.say(world.clock.now, || "from here on nothing goes wrong".to_owned());
        if !setup.meddling.is_empty() {
            for order in [Order::Suspend(false), Order::Release, Order::Attempt] {
                world.obey(order);
            }
            if world.traffic.is_some() {
                world.mend_traffic();
            }
        }
        world.clock.now + CONVERGES_WITHIN
    });
    let mut found = None;
    match until(sim, scheduler, deadline, |world| {
        found = settled(world);
        found.is_some()
    }) {
        Ended::Wanted => {}
        Ended::Violated => return false,
        Ended::TooLate => {
            sim.with(|world| {
                let words = format!("no end is reached; at last: {}", stand(world));
                world.fail(9, words);
            });
            return false;
        }
    }
    *end = found.unwrap_or_default();
    sim.with(|world| world.faults.calls_to_the_end = world.faults.calls);
    idle(setup, sim, scheduler) && sim.with(|world| at_the_end(world, end))
}

/// Invariant 12: at the end nothing is changed any more.
fn idle(setup: &Setup, sim: &Sim, scheduler: &mut Scheduler) -> bool {
    // What was under way may still arrive, and what a look finds for the first time be told.
    let now = sim.with(|world| world.clock.now);
    if until(sim, scheduler, now + 100 * SECOND, |_| false) == Ended::Violated {
        return false;
    }
    let (now, changes, writes, looks) = sim.with(|world| {
        // So long that their writes would be too many to number.
        world.applications_run &= setup.looks == 0 || world.traffic.is_some();
        (world.clock.now, world.changes, world.cluster.status_writes(), world.looks)
    });
    if until(sim, scheduler, now + setup.idle, |_| false) == Ended::Violated {
        return false;
    }
    if setup.looks > 0 {
        let enough = |world: &mut World| {
            // Where nothing is left, nobody looks.
            world.looks >= looks + setup.looks
                || (world.cluster.database.newest().is_none() && world.cluster.traffic.newest().is_none())
        };
        let last = now + setup.idle + i64::try_from(setup.looks).unwrap_or(0) * 60 * SECOND;
        match until(sim, scheduler, last, enough) {
            Ended::Wanted => {}
            Ended::TooLate => {
                sim.with(|world| world.fail(12, "at rest it is looked at less than once in a minute"));
                return false;
            }
            Ended::Violated => return false,
        }
    }
    sim.with(|world| {
        // The status of a migration that follows is refreshed every 5 minutes; that of an application tells of a gate whose
        // metric grew too old.
        let kinds =
            u64::from(world.cluster.database.was_applied()) + u64::from(world.cluster.traffic.was_applied());
        let allowed = kinds + u64::try_from((world.clock.now - now) / (300 * SECOND)).unwrap_or(0);
        let (more, written) = (world.changes - changes, world.cluster.status_writes() - writes);
        if written > allowed {
            world.fail(12, format!("{written} writes of the status at rest"));
        } else if more > written {
            world.fail(12, format!("{} changes outside at rest", more - written));
        }
        world.violation.is_none()
    })
}

/// The end in short, if this is one.
fn settled(world: &World) -> Option<String> {
    let traffic = traffic::settled(world)?;
    if !world.cluster.database.was_applied() {
        return Some(traffic);
    }
    let database = settled_database(world)?;
    Some(if traffic.is_empty() { database } else { format!("{database}, {traffic}") })
}

/// The end of the `DatabaseMigration` in short.
fn settled_database(world: &World) -> Option<String> {
    let Some(object) = world.cluster.database.newest() else { return Some("gone".to_owned()) };
    let status = object.status.as_ref()?;
    let is = |kind: &str| {
        status.conditions.iter().find(|c| c.type_ == kind && c.status == "True").map(|c| c.reason.clone())
    };
    let (ready, stalled) = (is("Ready"), is("Stalled"));
    // A side that could not be read in the last look is read in the next one.
    let unknown = status.writer.as_deref() == Some("Unknown");
    if status.observed_generation != object.metadata.generation || unknown {
        return None;
    }
    let phase = status.phase.as_deref().unwrap_or_default();
    let reason = stalled.as_deref().unwrap_or_default();
    let aborted = object.spec.abort_attempt.is_some_and(|abort| abort >= object.spec.attempt);
    let deleted = object.metadata.deletion_timestamp.is_some();
    let fits = match object.spec.goal {
        _ if !world.strangers.is_empty() => reason == "NotOurs" && !deleted,
        // Nothing but the status knew that it was the end; the source's row knows that there was one. The last row may also
        // go by an operator that looked before the status was lost.
        _ if world.lost_at_the_end && !deleted => reason == "OtherMigration",
        _ if world.lost && world.is_removed() && reason == "OtherMigration" => !deleted,
        _ if deleted => phase == "Soaking" && reason == "Deleting",
        Goal::Plan => phase == "Pending" && ready.is_some(),
        Goal::Replicate => {
            (phase == "Replicating" && ready.is_some()) || (phase == "Soaking" && reason == "NoWayBack")
        }
        // The order that it was given holds it, and it says so.
        Goal::CutOver | Goal::Finish if waits_for_traffic(world) && phase == "Replicating" => {
            aborted
                || status.next.as_ref().is_some_and(|next| next.contains("application"))
                || reason == "ApplicationMissing"
        }
        Goal::CutOver | Goal::Finish if aborted => {
            (phase == "Replicating" && reason == "GivenUp")
                || (phase == "Soaking" && reason == "NoWayBack")
                || (phase == "Finished" && ready.is_some())
        }
        Goal::CutOver => phase == "Soaking" && ready.is_some(),
        Goal::Finish => phase == "Finished" && ready.is_some(),
    };
    fits.then(|| {
        let stalled = if stalled.is_some() { " stalled" } else { "" };
        format!("{phase}/{}{stalled}", status.writer.as_deref().unwrap_or("None"))
    })
}

/// Whether its applications are not where it waits for them to be, by their own orders.
fn waits_for_traffic(world: &World) -> bool {
    world.traffic.is_some()
        && world.cluster.database.newest().is_some_and(|object| {
            let first = object.spec.cutover.order == slipway::api::database::Order::TrafficFirst;
            world.cluster.traffic.newest().is_none() || (first && !traffic::will_be_shifted(world))
        })
}

/// Where a history stands that does not end.
fn stand(world: &World) -> String {
    format!("{}{}", stand_of_database(world), traffic::stand(world))
}

fn stand_of_database(world: &World) -> String {
    let Some(object) = world.cluster.database.newest() else { return "gone".to_owned() };
    let status = object.status.clone().unwrap_or_default();
    let conditions: Vec<String> = status
        .conditions
        .iter()
        .filter(|c| c.status == "True")
        .map(|c| format!("{} {} {}", c.type_, c.reason, c.message))
        .collect();
    format!(
        "goal {:?}, phase {:?}, next {:?}; {}; {}",
        object.spec.goal,
        status.phase,
        status.next,
        conditions.join(" | "),
        world.rows()
    )
}

/// What must hold at the end, and can't be seen in each state.
fn at_the_end(world: &mut World, end: &str) -> bool {
    let mut inventory = world.inventory();
    for theirs in world.strangers.clone() {
        if inventory.contains(&theirs) {
            inventory.retain(|item| *item != theirs);
        } else {
            world.fail(10, format!("what is somebody else's was changed or deleted: {theirs:?}"));
        }
    }
    // What arrived when nobody was there any more to undo it: a known limit.
    inventory.retain(|item| !world.orphans.contains(&item.name));
    inventory.retain(|item| !item.name.contains(traffic::NAMED));
    traffic::at_the_end(world);
    let deleted = world.cluster.database.newest().is_none();
    let retained = world.retained;
    if (deleted || end.starts_with("Finished")) && !retained {
        if !inventory.is_empty() {
            let names: Vec<_> = inventory.into_iter().map(|item| item.name).collect();
            world.fail(9, format!("left behind at AWS: {}", names.join(", ")));
        }
        for side in Side::BOTH {
            let database = world.database(side);
            if database.forward.is_some() || database.back.is_some() {
                world.fail(9, format!("a replication slot is left behind on the {side}"));
            }
        }
    }
    // A create that arrives late may come after the deletion of what was made instead; then it is deleted, too.
    let late = |name: &String| world.late.iter().filter(|late| *late == name).count();
    if let Some((name, times)) = world.made.iter().find(|(name, times)| **times > 1 + late(name)) {
        let words = format!("{name} was made {times} times");
        world.fail(9, words);
    }
    let writer = world.writer().map(|side| if side == Side::Source { "Source" } else { "Target" });
    let told = world.cluster.database.newest().and_then(|object| object.status.as_ref()?.writer.clone());
    if !deleted && told.is_some() && told.as_deref() != writer {
        world.fail(13, format!("the status says that the writer is {told:?}, and it is {writer:?}"));
    }
    if let Some(wrong) = world.cname_is_wrong() {
        world.fail(9, wrong);
    }
    if writer.is_none() {
        world.fail(8, "at the end nobody can write");
    }
    if world.cluster.said.iter().any(|words| words.contains(CANARY)) {
        world.fail(14, "a password stands in a status or an event");
    }
    world.violation.is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn at_rest_a_thousand_looks_change_nothing() {
        for journey in journey::all() {
            let outcome = run(&Setup { looks: 1_000, ..Setup::clean(journey.clone()) });
            assert_eq!(outcome.violation, None, "{}", journey.name);
        }
    }
}
