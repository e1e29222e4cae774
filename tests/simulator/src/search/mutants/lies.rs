//! What `decide` is told instead of the truth.

use slipway::api::database::Goal as Reach;
use slipway::database::goal::{Goal, Intent};
use slipway::database::seen::Seen;
use slipway::postgres::{Holder, MoveSlot, ReverseStart, Standing};
use slipway::side::Side;

fn old(seen: &mut Seen) -> Option<&mut Standing> {
    seen.standing.source.as_mut()?.as_mut().ok()
}

fn new(seen: &mut Seen) -> Option<&mut Standing> {
    seen.standing.target.as_mut()?.as_mut().ok()
}

fn intent(goal: &Goal) -> Option<Intent> {
    goal.decided.as_ref().map(|decided| decided.intent)
}

/// Nobody looks whether sessions or their locks are left behind the fence.
pub fn no_sessions_no_locks(goal: &mut Goal, seen: &mut Seen) {
    quiet_at_once(goal, seen);
    if let Some(old) = old(seen) {
        old.sessions = 0;
        old.write_locks = 0;
    }
}

/// Sessions are not ended.
pub fn no_sessions(goal: &mut Goal, seen: &mut Seen) {
    quiet_at_once(goal, seen);
    if let Some(old) = old(seen) {
        old.sessions = 0;
    }
}

/// One quiet look is enough.
pub fn quiet_at_once(_: &mut Goal, seen: &mut Seen) {
    seen.memory.quiet_looks = seen.memory.quiet_looks.max(2);
}

/// Until the marker is written, nobody looks whether the fence is proved.
pub fn marked_unproved(goal: &mut Goal, seen: &mut Seen) {
    if old(seen).is_some_and(|old| !old.marker) {
        no_sessions_no_locks(goal, seen);
    }
}

/// Prepared transactions and their locks are not looked at.
pub fn no_prepared(goal: &mut Goal, seen: &mut Seen) {
    quiet_at_once(goal, seen);
    if let Some(old) = old(seen) {
        old.prepared.clear();
        old.write_locks = 0;
    }
}

/// Owners that get past the fence are not looked at.
pub fn no_owners(goal: &mut Goal, seen: &mut Seen) {
    quiet_at_once(goal, seen);
    if let Some(old) = old(seen) {
        old.unlayered.clear();
    }
}

/// The target is taken for frozen once it has the marker.
pub fn frozen(_: &mut Goal, seen: &mut Seen) {
    if let Some(new) = new(seen)
        && new.marker
    {
        new.replication_may_write = false;
    }
}

/// The marker is taken for arrived.
pub fn drained(_: &mut Goal, seen: &mut Seen) {
    if let Some(new) = new(seen) {
        new.marker = true;
    }
}

/// The marker that was seen before the freeze is believed behind it.
pub fn not_read_again(_: &mut Goal, seen: &mut Seen) {
    if let Some(new) = new(seen)
        && !new.replication_may_write
    {
        new.marker = true;
    }
}

/// The freeze comes before the drain.
pub fn frozen_early(_: &mut Goal, seen: &mut Seen) {
    if let Some(new) = new(seen)
        && new.replication_may_write
    {
        new.marker = true;
    }
}

/// The sequences are taken for set.
pub fn sequences_set(goal: &mut Goal, seen: &mut Seen) {
    let fence = old(seen).and_then(|old| old.token.fence_id.clone());
    if let (Some(fence), Some(decided)) = (fence, &goal.decided) {
        seen.memory.sequences = Some((fence, decided.epoch));
    }
}

/// The slot of the way back is taken for made, and where it begins for known.
pub fn armed(goal: &mut Goal, seen: &mut Seen) {
    let slot = goal.migration.move_slot();
    if let Some(old) = old(seen) {
        old.token.reverse = Some(ReverseStart { slot, lsn: 1_u64.into() });
    }
    if let Some(new) = new(seen) {
        new.slot = Some(MoveSlot { usable: true, active: false, confirmed: None });
    }
}

/// The slot of a move that was given up is left.
pub fn slot_left(goal: &mut Goal, seen: &mut Seen) {
    if intent(goal) == Some(Intent::Return)
        && let Some(new) = new(seen)
    {
        new.slot = None;
    }
    let name = goal.migration.move_slot();
    if intent(goal) != Some(Intent::Move)
        && let Ok(target) = &mut seen.database.target
    {
        target.slots.retain(|slot| slot.name != name);
    }
}

/// No outage is too long.
pub fn no_limit(_: &mut Goal, seen: &mut Seen) {
    if let Some(old) = old(seen) {
        old.token.age = jiff::SignedDuration::ZERO;
    }
}

/// A move that was given up leaves replication without its rights.
pub fn not_thawed(goal: &mut Goal, seen: &mut Seen) {
    if intent(goal) == Some(Intent::Return)
        && let Some(new) = new(seen)
    {
        new.replication_may_write = true;
    }
}

/// Both of the last two.
pub fn not_thawed_no_limit(goal: &mut Goal, seen: &mut Seen) {
    not_thawed(goal, seen);
    no_limit(goal, seen);
}

/// A new leader goes on under the number of the one before.
pub fn led_by_us(goal: &mut Goal, seen: &mut Seen) {
    seen.memory.led = goal.decided.as_ref().map(|decided| decided.epoch);
}

/// A fence that stands is taken for our own.
pub fn fence_believed(goal: &mut Goal, seen: &mut Seen) {
    if let (Some(old), Some(decided)) = (old(seen), &goal.decided)
        && old.token.holder == Holder::None
    {
        old.token.epoch = decided.epoch;
    }
}

/// A source that is open is not claimed for the decision to go back.
pub fn open_is_enough(goal: &mut Goal, seen: &mut Seen) {
    if intent(goal) == Some(Intent::Return)
        && let (Some(old), Some(decided)) = (old(seen), &goal.decided)
        && old.token.holder == Holder::Side(Side::Source)
    {
        old.token.epoch = decided.epoch;
    }
}

/// `CutOver` is taken for Finish.
pub fn finish_early(goal: &mut Goal, _: &mut Seen) {
    if goal.reach == Reach::CutOver {
        goal.reach = Reach::Finish;
    }
}

/// A deletion is taken for an order to finish.
pub fn deletion_finishes(goal: &mut Goal, _: &mut Seen) {
    if goal.deletion.is_some() {
        goal.reach = Reach::Finish;
    }
}

/// A deletion is not looked at.
pub fn deletion_ignored(goal: &mut Goal, _: &mut Seen) {
    goal.deletion = None;
}

/// The forward task and its slot are taken for gone once the target is open.
pub fn forward_gone(goal: &mut Goal, seen: &mut Seen) {
    let opened = new(seen).is_some_and(|new| new.token.holder == Holder::Side(Side::Target));
    if opened
        || intent(goal) == Some(Intent::Steady)
            && seen.database.source.as_ref().is_ok_and(|source| source.writers.is_empty())
    {
        if let Ok(aws) = &mut seen.aws {
            aws.task = None;
        }
        if let Ok(source) = &mut seen.database.source {
            source.slots.clear();
        }
    }
}

/// What a failed call says is not heard: a move that can't go on is tried for ever, without a limit.
pub fn failures_ignored(goal: &mut Goal, seen: &mut Seen) {
    seen.memory.failed = None;
    no_limit(goal, seen);
}
