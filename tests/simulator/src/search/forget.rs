//! What a state forgets: many states differ only in what can make no difference any more, and one of them stands for all.
//!
//! Three forms. *Raw* is the model itself. *Plain* leaves out calls that every database refuses from now on, and what is
//! remembered of fences that are gone; it is what wrong versions are searched in, whose numbers may compare otherwise.
//! *Canonical* is what the right version is searched in. That none of it loses anything is no matter of belief: `prove`
//! walks the raw states and compares what follows from each with what follows from its canonical form.

use slipway::postgres::ClaimAs;
use slipway::side::Side;

use super::mutants::Lax;
use super::state::{Call, Decided, Kept, Memory, Object, State, Task, What, Word};
use crate::database::{Epoch, Holder, Refused, Stage};

/// How much a state forgets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Form {
    /// Nothing.
    Raw,
    /// What holds of wrong versions, too.
    Plain,
    /// Everything that makes no difference.
    Canonical,
}

const GIVEN: Holder = Holder::Side(Side::Target);

/// The resource that a write of the resource was made for.
pub(super) fn expected(call: &mut Call) -> Option<&mut Object> {
    match &mut call.what {
        What::Record { expected, .. }
        | What::Latch { expected }
        | What::ClaimObject { expected }
        | What::Release { expected } => Some(expected),
        _ => None,
    }
}

impl State {
    /// Puts a state into a form. Every state that is met went through this.
    pub fn take(&mut self, form: Form, weak: &[Lax]) {
        self.settle(weak);
        if form == Form::Raw {
            return;
        }
        self.forget_late(weak);
        if weak.is_empty() {
            self.forget_fences();
        }
        if form == Form::Canonical {
            self.late_calls_done();
            self.forget_memory();
            self.forget_object();
            self.forget_times();
            self.forget_logs();
            self.forget_writes();
        }
        self.name_clients();
        if form == Form::Canonical {
            self.rank_numbers();
        }
        self.late.sort_unstable();
    }

    /// What is no matter of form. A version of the resource never comes back, though its content may: a write that was
    /// made for another is refused for ever. And without a lag, the operator's copy is the resource.
    fn settle(&mut self, weak: &[Lax]) {
        let object = self.object;
        let compared = !weak.contains(&Lax::NoCompare);
        if compared {
            self.late.retain_mut(|call| expected(call).is_none_or(|expected| *expected == object));
        }
        if self.left.lag > 0 {
            return;
        }
        self.operator.read = object;
        if compared
            && let Some(call) = &mut self.call
            && expected(call).is_some_and(|expected| *expected != object)
        {
            *call = Call {
                what: What::Refused(Refused::Overtaken),
                epoch: 0,
                fence: 0,
                in_outage: call.in_outage,
            };
        }
    }

    /// Late calls that every database refuses from now on, since the number of a row never goes down.
    fn forget_late(&mut self, weak: &[Lax]) {
        // A wrong version may refuse less.
        if !weak.is_empty() {
            return;
        }
        let sides = &self.sides;
        self.late.retain(|call| {
            call.side().is_none_or(|side| sides.get(side).row.is_some_and(|row| row.epoch <= call.epoch))
        });
    }

    /// What an operator remembers of fences that are gone, since no fence comes back.
    fn forget_fences(&mut self) {
        let stands = self.sides.source.row.and_then(|row| row.fence);
        for operator in [Some(&mut self.operator), self.deposed.as_mut()].into_iter().flatten() {
            let kept = match &operator.kept {
                Some(Kept::Side(kept)) if kept.side == Side::Source => kept.row.and_then(|row| row.fence),
                _ => stands,
            };
            let is = |fence: Epoch| Some(fence) == stands || Some(fence) == kept;
            let memory = &mut operator.memory;
            memory.timeline = memory.timeline.filter(|(of, _)| is(*of));
            memory.verified = memory.verified.filter(|(of, _)| is(*of));
            memory.sequences = memory.sequences.filter(|(of, _)| is(*of));
        }
    }

    /// Late calls whose effect is there and stays there for as long as they are not refused: under one number, a fence is
    /// not undone, nor a side opened or thawed again; and a side that is open stays so.
    fn late_calls_done(&mut self) {
        let mut late = std::mem::take(&mut self.late);
        late.retain(|call| !self.is_done(call));
        self.late = late;
    }

    fn is_done(&self, call: &Call) -> bool {
        let (source, target) = (&self.sides.source, &self.sides.target);
        match call.what {
            // Nothing here makes them anew.
            What::StartTask | What::StopTask | What::DeleteTask => return self.task == Task::Gone,
            What::DeleteResources => return !self.provisioned,
            _ => {}
        }
        let Some(side) = call.side() else { return false };
        let database = self.sides.get(side);
        let Some(row) = database.row.filter(|row| row.epoch == call.epoch) else { return false };
        let us = row.holder == Holder::Side(side);
        let this = row.fence == Some(call.fence);
        match call.what {
            What::Fence => !source.open && !us,
            What::EndSessions => !source.open && source.sessions.is_empty(),
            What::AddLayer => source.layered == source.needs_layer,
            What::Mark => row.holder == GIVEN || source.has_marker(call.fence),
            What::Arm(_) | What::Give(_) => row.holder == GIVEN,
            What::Unfence | What::Open => us,
            What::TakeBack => row.holder != GIVEN,
            What::Claim(_, ClaimAs::Unchanged) => true,
            // Another claim of this decision may name another fence, and then this one would bring back its own: the fence
            // of an operator that is gone may come between.
            What::Claim(_, ClaimAs::Fenced) => us || row.holder == Holder::Refused,
            What::Claim(_, ClaimAs::Refused) => us || row.holder == Holder::Refused && this,
            // Somebody may drop it, and then it would be made.
            What::CreateSlot => us || self.left.faults == 0 && target.back_is_usable(),
            What::Freeze => us || !target.replication_may_write() && !target.dms_session,
            What::Thaw => us || target.dms_connects && target.dms_writes,
            What::Sequences(_) => us || self.left.writes == 0,
            What::DropMoveSlot(_, name) => us || database.slot(name).is_none() && !database.noted.has(name),
            _ => false,
        }
    }

    /// What an operator remembers and never asks again. Its timeline is always the one; a decision that is not its own
    /// is taken over by a new one, whichever it led before; and a new one forgets quiet looks and failures.
    fn forget_memory(&mut self) {
        if self.left.by_hand > 0 || self.left.lag > 0 {
            // Numbers may come back.
            return;
        }
        let stands = self.sides.source.row.and_then(|row| row.fence);
        for operator in [Some(&mut self.operator), self.deposed.as_mut()].into_iter().flatten() {
            let kept = match &operator.kept {
                Some(Kept::Side(kept)) if kept.side == Side::Source => kept.row.and_then(|row| row.fence),
                _ => stands,
            };
            let decided = operator.read.decided;
            let epoch = decided.map(|decided| decided.epoch);
            let Memory { led, quiet_looks, asked, timeline, sequences, repointed, failed, verified: _ } =
                &mut operator.memory;
            *timeline = None;
            *asked = asked.filter(|fence| Some(*fence) == stands || Some(*fence) == kept);
            *led = led.filter(|led| Some(*led) == epoch);
            *repointed = repointed.filter(|led| Some(*led) == epoch);
            *sequences = sequences.filter(|(_, of)| Some(*of) == epoch);
            if decided.is_none_or(|decided| decided.intent != Word::Move) {
                *quiet_looks = 0;
                *failed = None;
            }
        }
    }

    /// A latch or a brake of an attempt that is over; and which attempt a decision was made for, which nobody asks.
    fn forget_object(&mut self) {
        if self.left.lag > 0 || self.left.zombies > 0 || self.deposed.is_some() {
            return;
        }
        let object = &mut self.object;
        object.latch = object.latch.filter(|latch| *latch >= object.attempt);
        object.abort = object.abort.filter(|abort| *abort >= object.attempt);
        if let Some(decided) = &mut object.decided {
            decided.attempt = 0;
        }
        // Nobody names an attempt but the last, and the next is one above. A second one stays a second one, so that the
        // search can tell that it met one.
        if object.latch.is_none_or(|latch| latch == object.attempt)
            && object.abort.is_none_or(|abort| abort == object.attempt)
        {
            let attempt = object.attempt.min(2);
            object.latch = object.latch.map(|_| attempt);
            object.abort = object.abort.map(|_| attempt);
            object.attempt = attempt;
        }
        let object = *object;
        self.operator.read = object;
        for call in self.call.iter_mut().chain(&mut self.late) {
            if let What::Record { decided: Decided { attempt, .. }, .. } = &mut call.what {
                *attempt = 0;
            }
            if let Some(expected) = expected(call) {
                // All others were refused.
                *expected = object;
            }
        }
    }

    /// Since when the source's role is given away: asked only while the target does not answer, which needs a hand.
    fn forget_times(&mut self) {
        if self.left.by_hand > 0 {
            return;
        }
        let kept = match &mut self.operator.kept {
            Some(Kept::Side(kept)) if kept.side == Side::Source => kept.row.as_mut(),
            _ => None,
        };
        for row in self.sides.source.row.as_mut().into_iter().chain(kept) {
            if row.holder == GIVEN {
                row.since = 0;
            }
        }
    }

    /// Relabels the clients: they are all alike.
    fn name_clients(&mut self) {
        if self.left.fleets < 2 {
            return;
        }
        let mut name = 0;
        for database in [&mut self.sides.source, &mut self.sides.target] {
            database.sessions.sort_unstable_by_key(|session| (session.stage, session.client));
            for session in &mut database.sessions {
                session.client = name;
                name += 1;
            }
        }
    }

    /// Numbers of decisions and fences by their rank. A new one is one above `status.decided`, which is the highest but
    /// for a decision that is just being written.
    fn rank_numbers(&mut self) {
        let left = &self.left;
        if left.by_hand > 0 || left.zombies > 0 || left.lag > 0 || self.deposed.is_some() {
            return;
        }
        let Some(decided) = self.object.decided.map(|decided| decided.epoch) else { return };
        let rows = [self.sides.source.row, self.sides.target.row];
        if decided >= 60 || rows.iter().flatten().any(|row| row.epoch > decided) {
            return;
        }
        let mut used = 0_u64;
        self.numbers(true, &mut |number| used |= 1 << (*number).min(63));
        let rank = |number: Epoch| {
            let rank = (used & ((2_u64 << number) - 1) & !1).count_ones();
            Epoch::try_from(rank).unwrap_or(Epoch::MAX)
        };
        let highest = rank(decided);
        if highest == decided {
            return;
        }
        self.numbers(true, &mut |number| {
            *number = if *number > decided { highest + (*number - decided) } else { rank(*number) };
        });
    }

    /// Every number of a decision or a fence; those of markers only if asked for.
    pub(super) fn numbers(&mut self, markers: bool, visit: &mut dyn FnMut(&mut Epoch)) {
        for database in [&mut self.sides.source, &mut self.sides.target] {
            database.numbers(markers, visit);
        }
        self.object.numbers(visit);
        for operator in [Some(&mut self.operator), self.deposed.as_mut()].into_iter().flatten() {
            operator.read.numbers(visit);
            operator.memory.numbers(visit);
            if let Some(Kept::Side(kept)) = &mut operator.kept {
                kept.numbers(markers, visit);
            }
        }
        for call in self.call.iter_mut().chain(&mut self.late) {
            visit(&mut call.epoch);
            visit(&mut call.fence);
            if let What::Record { decided, .. } = &mut call.what {
                visit(&mut decided.epoch);
            }
            if let Some(expected) = expected(call) {
                expected.numbers(visit);
            }
        }
    }
}

impl Object {
    fn numbers(&mut self, visit: &mut dyn FnMut(&mut Epoch)) {
        if let Some(decided) = &mut self.decided {
            visit(&mut decided.epoch);
        }
    }
}

impl Memory {
    fn numbers(&mut self, visit: &mut dyn FnMut(&mut Epoch)) {
        let Self { led, asked, timeline, verified, sequences, repointed, quiet_looks: _, failed: _ } = self;
        [led, asked, repointed].into_iter().flatten().for_each(&mut *visit);
        if let Some((fence, _)) = timeline {
            visit(fence);
        }
        if let Some((fence, _)) = verified {
            visit(fence);
        }
        if let Some((fence, epoch)) = sequences {
            visit(fence);
            visit(epoch);
        }
    }
}

/// Whether a session has written and not ended its transaction, and which write.
pub(super) fn wrote(stage: &mut Stage) -> Option<&mut u16> {
    match stage {
        Stage::Wrote(id) => Some(id),
        Stage::Arriving | Stage::Idle => None,
    }
}
