//! People: who orders what, and when.

use slipway::api::application::Goal as Reach;
use slipway::api::database::{DeletionPolicy, Goal};
use slipway::postgres::ClaimAs;
use slipway::side::Side;

use crate::clock::{Kind, Micros, SECOND, Sim};
use crate::database::{Epoch, Guard, Holder};
use crate::operator::tell_watches;
use crate::world::World;
use crate::world::traffic::Stands;

/// A phase that never comes is not waited for for ever.
const PATIENCE: Micros = 600 * SECOND;

/// What an order waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// So many seconds after the one before.
    After(i64),
    /// The status says this phase.
    Phase(&'static str),
    /// The status says this phase, and that all is reached.
    Ready(&'static str),
    /// The source's row says that nobody may write.
    Fenced,
    /// The status of the `ApplicationMigration` says this phase.
    Traffic(&'static str),
    /// The same, and that all is reached.
    TrafficReady(&'static str),
    /// This weight was asked for, and is not on all servers yet.
    Changing(i32),
    /// This weight was asked for, and is held.
    Held(i32),
}

/// An order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Order {
    Goal(Goal),
    Suspend(bool),
    /// The brake, for the present attempt.
    Abort,
    /// The brake is off.
    Release,
    /// The next attempt.
    Attempt,
    Delete,
    Retain,
    /// `slipway unfence`, as long as nothing was given away.
    Unfence,
    /// The status is lost.
    LoseStatus,
    /// Nothing is applied for so many seconds.
    Stall(i64),
    /// The `ApplicationMigration`'s goal.
    Reach(Reach),
    /// How much traffic may go to the target.
    MaxWeight(u8),
    SuspendTraffic(bool),
    AbortTraffic,
    ReleaseTraffic,
    AttemptTraffic,
    DeleteTraffic,
    RetainTraffic,
    LoseTrafficStatus,
    /// A side's fleet can't serve, or can again.
    Sick(Side, bool),
    /// The target's fleet has no way to this database, or has one to each.
    CutOff(Option<Side>),
    /// The target says how many errors it has, or does not.
    Publish(bool),
    /// Somebody changes the target's weight by hand.
    Meddle(i64),
    /// All that was waited for so far must have come.
    Arrived,
}

/// Gives these orders, one after the other.
pub async fn order(sim: Sim, orders: Vec<(When, Order)>) {
    for (when, order) in orders {
        let mut waited: Micros = 0;
        if let When::After(seconds) = when {
            sim.sleep(seconds * SECOND).await;
        } else {
            while !sim.with(|world| world.is_so(when)) && waited < PATIENCE {
                let soon = when == When::Fenced && sim.with(|world| world.is_so(When::Phase("CuttingOver")));
                let pause = if soon { SECOND / 50 } else { SECOND / 5 };
                sim.sleep(pause).await;
                waited += pause;
            }
            if waited >= PATIENCE {
                sim.with(|world| world.missed = Some(when));
            }
        }
        sim.with(|world| world.obey(order));
    }
    sim.with(|world| world.faults.orders_left -= 1);
}

/// Where an attempt was given up, and nobody asked for that, the next one is ordered.
pub async fn try_again(sim: Sim) {
    loop {
        sim.sleep(40 * SECOND).await;
        sim.with(|world| {
            let Some(object) = world.cluster.database.newest() else { return };
            let attempt = object.spec.attempt;
            let latched = object.status.as_ref().and_then(|status| status.latch.as_ref());
            let given_up = latched.is_some_and(|latch| latch.attempt >= attempt);
            let aborted = object.spec.abort_attempt.is_some_and(|abort| abort >= attempt);
            if given_up && !aborted && object.spec.goal >= Goal::CutOver {
                world.obey(Order::Attempt);
            }
        });
        sim.with(|world| {
            let Some(object) = world.cluster.traffic.newest() else { return };
            let attempt = object.spec.attempt;
            let status = object.status.as_ref();
            let latched = status.and_then(|status| status.latch.as_ref());
            let given_up = latched.is_some_and(|latch| latch.attempt >= attempt);
            let aborted = object.spec.abort_attempt.is_some_and(|abort| abort >= attempt);
            let drifted = status.is_some_and(|status| {
                status.conditions.iter().any(|c| c.type_ == "Stalled" && c.reason == "RecordDrift")
            });
            // Whoever is sick gets well first.
            if ((given_up && object.spec.goal >= Reach::Shift) || drifted) && !aborted {
                world.obey(Order::AttemptTraffic);
            }
        });
    }
}

impl World {
    fn is_so(&self, when: When) -> bool {
        let status = self.cluster.database.newest().and_then(|object| object.status.as_ref());
        let phase = |wanted: &str| status.is_some_and(|status| status.phase.as_deref() == Some(wanted));
        let newest = self.cluster.traffic.newest().and_then(|object| object.status.as_ref());
        let traffic = |wanted: &str| newest.is_some_and(|status| status.phase.as_deref() == Some(wanted));
        let asked = |weight: i32, held: bool| {
            newest.and_then(|status| status.traffic.as_ref()).is_some_and(|traffic| {
                traffic.requested_weight == Some(weight) && traffic.since.is_some() == held
            })
        };
        match when {
            When::After(_) => true,
            When::Phase(wanted) => phase(wanted),
            When::Ready(wanted) => {
                phase(wanted)
                    && status.is_some_and(|status| {
                        status.conditions.iter().any(|c| c.type_ == "Ready" && c.status == "True")
                    })
            }
            When::Traffic(wanted) => traffic(wanted),
            When::TrafficReady(wanted) => {
                traffic(wanted)
                    && self.cluster.traffic.newest().and_then(|object| object.status.as_ref()).is_some_and(
                        |status| status.conditions.iter().any(|c| c.type_ == "Ready" && c.status == "True"),
                    )
            }
            When::Changing(weight) => asked(weight, false),
            When::Held(weight) => asked(weight, true),
            When::Fenced => {
                self.database(Side::Source).row.is_some_and(|row| row.holder != Holder::Side(Side::Source))
            }
        }
    }

    /// Does what a person orders, where the API server would let it.
    pub fn obey(&mut self, order: Order) {
        let now = self.clock.now;
        self.trace.say(now, || format!("PERSON: {order:?}"));
        match order {
            Order::Goal(goal) => {
                // As the CRD's rules have it: no way back from Finish, none to Plan.
                let no_return = self
                    .cluster
                    .database
                    .newest()
                    .and_then(|object| object.status.as_ref())
                    .is_some_and(|status| status.point_of_no_return_at.is_some());
                if !no_return && goal != Goal::Plan {
                    self.cluster.database.edit(now, |spec| spec.goal = goal);
                }
            }
            Order::Suspend(on) => self.cluster.database.edit(now, |spec| spec.suspend = on.then_some(true)),
            Order::Abort => self.cluster.database.edit(now, |spec| spec.abort_attempt = Some(spec.attempt)),
            Order::Release => self.cluster.database.edit(now, |spec| spec.abort_attempt = None),
            Order::Attempt => self.cluster.database.edit(now, |spec| {
                spec.attempt += 1;
                spec.abort_attempt = None;
            }),
            Order::Delete => {
                let policy = self.cluster.database.newest().map(|object| object.spec.deletion_policy);
                self.retained |= policy == Some(DeletionPolicy::Retain);
                let open = self.database(Side::Target).open;
                let time = self.now();
                if self.cluster.database.delete(now, time) {
                    self.cluster.open_when_deleted = Some(open);
                }
            }
            Order::Retain => {
                // Also for a deletion that was ordered before.
                self.retained |= self.cluster.open_when_deleted.is_some();
                self.cluster.database.edit(now, |spec| {
                    spec.deletion_policy = DeletionPolicy::Retain;
                });
            }
            Order::Unfence => self.unfence_by_hand(),
            Order::LoseStatus => {
                self.lost_at_the_end |= self.cluster.is_over() || self.is_removed();
                self.lost = true;
                self.cluster.database.lose_status(now);
            }
            Order::Stall(seconds) => self.plane.stalled_until = now + seconds * SECOND,
            Order::Reach(goal) => {
                // As the CRD's rules have it.
                let status = self.cluster.traffic.newest().and_then(|object| object.status.as_ref());
                let begun = status.is_some_and(|status| status.provisioned_at.is_some());
                let over = status.is_some_and(|status| status.point_of_no_return_at.is_some());
                if (!over || goal == Reach::Finish) && (!begun || goal != Reach::Plan) {
                    self.cluster.traffic.edit(now, |spec| spec.goal = goal);
                }
            }
            Order::MaxWeight(weight) => {
                self.cluster.traffic.edit(now, |spec| spec.traffic.max_weight = weight);
            }
            Order::SuspendTraffic(on) => {
                self.cluster.traffic.edit(now, |spec| spec.suspend = on.then_some(true));
            }
            Order::AbortTraffic => {
                self.cluster.traffic.edit(now, |spec| spec.abort_attempt = Some(spec.attempt));
            }
            Order::ReleaseTraffic => self.cluster.traffic.edit(now, |spec| spec.abort_attempt = None),
            Order::AttemptTraffic => self.cluster.traffic.edit(now, |spec| {
                spec.attempt += 1;
                spec.abort_attempt = None;
            }),
            Order::DeleteTraffic => {
                let time = self.now();
                let retain = slipway::api::application::DeletionPolicy::Retain;
                let policy = self.cluster.traffic.newest().map(|object| object.spec.deletion_policy);
                self.traffic_retained |= policy == Some(retain);
                self.cluster.traffic.delete(now, time);
            }
            Order::RetainTraffic => {
                self.traffic_retained |= self.cluster.traffic.is_deleted();
                self.cluster.traffic.edit(now, |spec| {
                    spec.deletion_policy = slipway::api::application::DeletionPolicy::Retain;
                });
            }
            Order::LoseTrafficStatus => {
                self.traffic_lost_at_the_end |= self.stands() == Stands::TargetAlone;
                self.cluster.traffic.lose_status(now);
            }
            Order::Sick(side, sick) => self.sicken(side, sick),
            Order::CutOff(from) => self.cut_off(from),
            Order::Publish(on) => {
                if let Some(traffic) = &mut self.traffic {
                    traffic.publishes = on;
                }
            }
            Order::Meddle(weight) => self.meddle(weight),
            Order::Arrived => {
                if let Some(when) = self.missed {
                    self.fail(0, format!("{when:?} never came"));
                }
            }
        }
        tell_watches(self, Kind::Database);
        if self.traffic.is_some() {
            tell_watches(self, Kind::Traffic);
        }
    }

    fn unfence_by_hand(&mut self) {
        let epoch = |world: &Self, side: Side| world.database(side).row.map_or(0, |row| row.epoch);
        let room = Epoch::try_from(slipway::cli::unfence::ROOM).unwrap_or(Epoch::MAX);
        let next = epoch(self, Side::Source).max(epoch(self, Side::Target)).saturating_add(room);
        let Some(row) = self.database(Side::Source).row else { return };
        let guard = Guard { uid: row.uid, epoch: next, fence: row.fence.unwrap_or_default() };
        let theirs = self.database(Side::Target).row.filter(|theirs| theirs.uid == row.uid);
        let given = row.holder == Holder::Side(Side::Target);
        // `cli::unfence`: what it refuses, and in which order it claims, takes back and opens.
        if given && theirs.is_none_or(|theirs| theirs.holder == Holder::Side(Side::Target)) {
            return;
        }
        if let Some(theirs) = theirs {
            let how = match (row.holder, theirs.holder) {
                (Holder::Side(Side::Source), _) | (_, Holder::None) => ClaimAs::Unchanged,
                _ => ClaimAs::Refused,
            };
            if self.database_mut(Side::Target).claim(&guard, how).is_err() {
                return;
            }
        }
        if given {
            let target = self.database(Side::Target);
            let refused = target.row.is_some_and(|row| row.holder == Holder::Refused);
            let shut = refused && !target.open && target.sessions.is_empty();
            if !shut || self.database_mut(Side::Source).take_back(&guard).is_err() {
                return;
            }
        }
        let done = self.database_mut(Side::Source).unfence(&guard);
        self.trace.say(self.clock.now, || format!("  source: unfence by hand: {done:?}"));
    }
}
