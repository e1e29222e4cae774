//! People: who orders what, and when.

use slipway::api::database::{DeletionPolicy, Goal};
use slipway::postgres::ClaimAs;
use slipway::side::Side;

use crate::clock::{Micros, SECOND, Sim};
use crate::database::{Epoch, Guard, Holder};
use crate::operator::tell_watches;
use crate::world::World;

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
}

/// Gives these orders, one after the other.
pub async fn order(sim: Sim, orders: Vec<(When, Order)>) {
    for (when, order) in orders {
        let mut waited: Micros = 0;
        match when {
            When::After(seconds) => sim.sleep(seconds * SECOND).await,
            _ => {
                // A phase that never comes is not waited for for ever.
                while !sim.with(|world| world.is_so(when)) && waited < 400 * SECOND {
                    let soon =
                        when == When::Fenced && sim.with(|world| world.is_so(When::Phase("CuttingOver")));
                    let pause = if soon { SECOND / 50 } else { SECOND / 5 };
                    sim.sleep(pause).await;
                    waited += pause;
                }
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
            let Some(object) = world.cluster.newest() else { return };
            let attempt = object.spec.attempt;
            let latched = object.status.as_ref().and_then(|status| status.latch.as_ref());
            let given_up = latched.is_some_and(|latch| latch.attempt >= attempt);
            let aborted = object.spec.abort_attempt.is_some_and(|abort| abort >= attempt);
            if given_up && !aborted && object.spec.goal >= Goal::CutOver {
                world.obey(Order::Attempt);
            }
        });
    }
}

impl World {
    fn is_so(&self, when: When) -> bool {
        let status = self.cluster.newest().and_then(|object| object.status.as_ref());
        let phase = |wanted: &str| status.is_some_and(|status| status.phase.as_deref() == Some(wanted));
        match when {
            When::After(_) => true,
            When::Phase(wanted) => phase(wanted),
            When::Ready(wanted) => {
                phase(wanted)
                    && status.is_some_and(|status| {
                        status.conditions.iter().any(|c| c.type_ == "Ready" && c.status == "True")
                    })
            }
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
                    .newest()
                    .and_then(|object| object.status.as_ref())
                    .is_some_and(|status| status.point_of_no_return_at.is_some());
                if !no_return && goal != Goal::Plan {
                    self.cluster.edit(now, |spec| spec.goal = goal);
                }
            }
            Order::Suspend(on) => self.cluster.edit(now, |spec| spec.suspend = on.then_some(true)),
            Order::Abort => self.cluster.edit(now, |spec| spec.abort_attempt = Some(spec.attempt)),
            Order::Release => self.cluster.edit(now, |spec| spec.abort_attempt = None),
            Order::Attempt => self.cluster.edit(now, |spec| {
                spec.attempt += 1;
                spec.abort_attempt = None;
            }),
            Order::Delete => {
                let policy = self.cluster.newest().map(|object| object.spec.deletion_policy);
                self.retained |= policy == Some(DeletionPolicy::Retain);
                let open = self.database(Side::Target).open;
                let time = self.now();
                self.cluster.delete(now, time, open);
            }
            Order::Retain => {
                // Also for a deletion that was ordered before.
                self.retained |= self.cluster.open_when_deleted.is_some();
                self.cluster.edit(now, |spec| {
                    spec.deletion_policy = DeletionPolicy::Retain;
                });
            }
            Order::Unfence => self.unfence_by_hand(),
            Order::LoseStatus => {
                self.lost_at_the_end |= self.cluster.is_over() || self.is_removed();
                self.lost = true;
                self.cluster.lose_status(now);
            }
            Order::Stall(seconds) => self.plane.stalled_until = now + seconds * SECOND,
        }
        tell_watches(self);
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
