//! The simulator's model of a database and PostgreSQL itself, side by side: the same calls in the same random order give the
//! same answers and leave both sides standing alike. What a search proves of the model holds as far as this does.

use std::sync::Arc;

use simulator::database::{Database as Model, Guard as ModelGuard, Names, Refused, SlotName};
use slipway::fault::Fault;
use slipway::permit::Permit;
use slipway::postgres::{self, ClaimAs, Guard, Standing, StandingQuestion};
use slipway::side::{Side, Sides};

use super::pair::Pair;
use super::server::{Server, everything, leadership};

/// Calls in one walk.
const CALLS: usize = 100;
/// Calls after the target was opened: not much is left to be done then.
const CALLS_AFTER: usize = 20;
/// Walks, each on databases of its own.
const WALKS: u64 = 6;
/// A move as it should be. By chance alone, none would ever come to its end.
const SCRIPT: [Call; 9] = [
    Call::Claim(Side::Target, ClaimAs::Fenced),
    Call::CreateSlot,
    Call::Fence,
    Call::Mark,
    Call::Freeze,
    Call::Sequences,
    Call::Arm,
    Call::Give,
    Call::Open,
];

/// Numbers that are the same in every run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, below: u64) -> u64 {
        // Knuth's MMIX numbers; the high bits are the random ones.
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % below
    }
}

#[derive(Clone, Copy, Debug)]
enum Call {
    Claim(Side, ClaimAs),
    CreateSlot,
    Fence,
    Mark,
    Freeze,
    Sequences,
    Arm,
    Give,
    Open,
    Unfence,
    TakeBack,
    DropSlot(Side),
    Thaw,
    FenceTarget,
    PrepareSource,
    /// Somebody else drops the slot of the way back.
    Meddle,
}

fn call(dice: &mut Dice) -> Call {
    let how = [ClaimAs::Fenced, ClaimAs::Fenced, ClaimAs::Refused, ClaimAs::Unchanged];
    let pick = how[usize::try_from(dice.roll(4)).unwrap()];
    match dice.roll(22) {
        0..=3 => Call::Claim(Side::Target, pick),
        4 => Call::Claim(Side::Source, ClaimAs::Unchanged),
        5 | 6 => Call::CreateSlot,
        7..=9 => Call::Fence,
        10 => Call::Mark,
        11 => Call::Freeze,
        12 => Call::Sequences,
        13 | 14 => Call::Arm,
        15 => Call::Give,
        16 => Call::Open,
        17 => Call::Unfence,
        18 => [Call::TakeBack, Call::PrepareSource][usize::try_from(dice.roll(2)).unwrap()],
        19 => [Call::DropSlot(Side::Target), Call::DropSlot(Side::Source)]
            [usize::try_from(dice.roll(2)).unwrap()],
        20 => Call::Thaw,
        _ => [Call::FenceTarget, Call::Meddle][usize::try_from(dice.roll(2)).unwrap()],
    }
}

struct Both {
    pair: Pair,
    model: Sides<Model>,
    names: Names,
    slot: String,
}

impl Both {
    async fn make(server: &Arc<Server>, name: &str, permit: &Permit<'_>) -> Self {
        let pair = Pair::make_on(server, name, permit).await;
        pair.on_both("CREATE SEQUENCE numbers").await;
        for (side, holder) in [(Side::Source, "source"), (Side::Target, "fenced")] {
            let sql = "UPDATE slipway.token SET holder = $1, epoch = 0, fence_id = NULL";
            pair.databases.get(side).admin.execute(sql, &[&holder]).await.unwrap();
        }
        let mut model = Sides { source: Model::new(Side::Source), target: Model::new(Side::Target) };
        model.source.prepare_source(1).unwrap();
        model.target.fence_target(1).unwrap();
        let slot = format!("{name}_rev");
        let names = Names {
            resource: "bank/payments".to_owned(),
            uid: "uid-1".to_owned(),
            forward: "forward".to_owned(),
            back: slot.clone(),
            application: "app".to_owned(),
            dms: "dms".to_owned(),
        };
        Self { pair, model, names, slot }
    }

    async fn standing(&self, side: Side, fence: u16) -> Standing {
        let database = self.pair.databases.get(side);
        let question = StandingQuestion {
            selection: everything(),
            dms_role: database.role("dms"),
            fence_id: fence.to_string(),
            slot: self.slot.clone(),
        };
        let connection = if side == Side::Source { &self.pair.from } else { &self.pair.to };
        postgres::standing(connection, &question).await.unwrap()
    }

    /// The same call on both.
    async fn call(&mut self, permit: &Permit<'_>, call: Call, epoch: u16, fence: u16) -> (Answer, Answer) {
        let guard =
            |side: Side| Guard { fence_id: fence.to_string(), ..self.pair.guard(side, i64::from(epoch)) };
        let model_guard = ModelGuard { uid: 1, epoch, fence };
        let (from, to) = (&self.pair.from, &self.pair.to);
        let holding = |side: Side| self.pair.databases.get(side).migration("uid-1");
        let tables = everything();
        let (source, target) = (&mut self.model.source, &mut self.model.target);
        match call {
            Call::Claim(side, how) => {
                let connection = if side == Side::Source { from } else { to };
                let real = postgres::claim(connection, permit, &guard(side), how).await;
                (real.into(), self.model.get_mut(side).claim(&model_guard, how).into())
            }
            Call::CreateSlot => {
                let real = postgres::create_slot(to, permit, &guard(Side::Target), &self.slot).await;
                (real.into(), target.create_slot(&model_guard).into())
            }
            Call::Fence => {
                let real = postgres::fence(from, permit, &guard(Side::Source), &tables).await;
                (real.into(), source.fence(&model_guard).into())
            }
            Call::Mark => {
                let real = postgres::mark(from, permit, &guard(Side::Source)).await.map(|_| ());
                (real.into(), source.mark(&model_guard).into())
            }
            Call::Freeze => {
                let real = postgres::freeze(to, permit, &guard(Side::Target), &tables).await;
                (real.into(), target.freeze(&model_guard).into())
            }
            Call::Sequences => {
                let real = postgres::move_sequences(from, to, permit, &guard(Side::Target), &tables).await;
                (real.map(|_| ()).into(), target.move_sequences(&model_guard, source.sequence).into())
            }
            Call::Arm => {
                let real = postgres::arm(from, to, permit, &guard(Side::Source), &self.slot).await;
                let model =
                    target.arm_from(&model_guard).and_then(|position| source.arm(&model_guard, position));
                (real.map(|_| ()).into(), model.into())
            }
            Call::Give => {
                let real = postgres::give(from, permit, &guard(Side::Source), &tables, 1).await;
                (real.into(), source.give(&model_guard, 1).into())
            }
            Call::Open => {
                let real = postgres::open(to, permit, &guard(Side::Target), &tables, &self.slot).await;
                (real.map(|_| ()).into(), target.open(&model_guard).into())
            }
            Call::Unfence => {
                let real = postgres::unfence(from, permit, &guard(Side::Source)).await;
                (real.map(|_| ()).into(), source.unfence(&model_guard).into())
            }
            Call::TakeBack => {
                let real = postgres::take_back(from, permit, &guard(Side::Source)).await;
                (real.into(), source.take_back(&model_guard).into())
            }
            Call::DropSlot(side) => {
                let connection = if side == Side::Source { from } else { to };
                let real = postgres::drop_move_slot(connection, permit, &guard(side), &self.slot).await;
                // The slots of one server share their names, so on the source it is not ours.
                let model = self.model.get_mut(side).drop_move_slot(&model_guard, SlotName::Back);
                (real.into(), model.into())
            }
            Call::Thaw => {
                let real = postgres::thaw(to, permit, &guard(Side::Target)).await;
                (real.map(|_| ()).into(), target.thaw(&model_guard).into())
            }
            Call::FenceTarget => {
                let real = postgres::fence_target(to, permit, &holding(Side::Target), &tables).await;
                (real.into(), target.fence_target(1).into())
            }
            Call::PrepareSource => {
                let real = postgres::prepare_source(from, permit, &holding(Side::Source)).await;
                (real.into(), source.prepare_source(1).into())
            }
            Call::Meddle => {
                let drop = "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name = $1::text::name";
                self.pair.databases.target.admin.query(drop, &[&self.slot]).await.unwrap();
                target.back = None;
                (Answer::Ok, Answer::Ok)
            }
        }
    }
}

/// What a call said, as far as both must say the same.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Answer {
    Ok,
    Not(String),
}

impl From<Result<(), Fault>> for Answer {
    fn from(result: Result<(), Fault>) -> Self {
        match result {
            Ok(()) => Self::Ok,
            Err(Fault::Blocked(blocked)) => Self::Not(format!("blocked: {}", blocked.reason)),
            Err(fault) => Self::Not(fault.class().to_owned()),
        }
    }
}

impl From<Result<(), Refused>> for Answer {
    fn from(result: Result<(), Refused>) -> Self {
        result.map_err(Refused::fault).into()
    }
}

/// What both must show of a side.
fn shown(standing: &Standing) -> String {
    format!(
        "{} epoch {} fence {:?} reverse {} open {} replication {} marker {} slot {:?}",
        standing.token.holder.as_str(),
        standing.token.epoch,
        standing.token.fence_id,
        standing.token.reverse.is_some(),
        !standing.writers.is_empty(),
        standing.replication_may_write,
        standing.marker,
        standing.slot.as_ref().map(|slot| slot.usable),
    )
}

#[tokio::test]
async fn the_model_and_postgresql_answer_alike() {
    let leadership = leadership().await;
    let permit = leadership.permit();
    let server = Arc::new(Server::start_with("bank", 2099, &[]));
    let (mut done, mut refused) = (0, 0);
    let mut met = std::collections::BTreeSet::new();
    for walk in 0..WALKS {
        let mut dice = Dice(walk * 7919 + 17);
        let mut both = Both::make(&server, &format!("conform_{walk}"), &permit).await;
        let (mut epoch, mut history, mut after) = (1_u16, Vec::new(), 0);
        let mut script = SCRIPT.iter().cycle();
        for _ in 0..CALLS {
            after += usize::from(both.model.target.open);
            if after > CALLS_AFTER {
                break;
            }
            let scripted = if dice.roll(10) < 7 { script.next().copied() } else { None };
            // Mostly the present decision, sometimes the next one or an earlier one.
            let numbered = match dice.roll(10) {
                0 if scripted.is_none() => epoch.saturating_sub(1),
                1 if scripted.is_none() => {
                    epoch += 1;
                    epoch
                }
                _ => epoch,
            };
            let stands = both.model.source.row.and_then(|row| row.fence);
            let fence =
                if scripted.is_none() && dice.roll(8) == 0 { numbered } else { stands.unwrap_or(numbered) };
            let call = scripted.unwrap_or_else(|| call(&mut dice));
            // One server has one slot of a name, and this one is the target's.
            if matches!(call, Call::DropSlot(Side::Source)) && both.model.target.back.is_some() {
                continue;
            }
            history.push(format!("{call:?} epoch {numbered} fence {fence}"));
            let (real, model) = both.call(&permit, call, numbered, fence).await;
            assert_eq!(real, model, "walk {walk}: {history:#?}");
            if real == Answer::Ok {
                done += 1;
                met.insert(format!("{call:?}"));
            } else {
                refused += 1;
            }
            for side in Side::BOTH {
                let model = both.model.get(side).standing(Some(fence), &both.names).unwrap();
                let mut model = shown(&model);
                let real = both.standing(side, fence).await;
                if side == Side::Source {
                    // It is asked of the same server here, and DMS only ever reads there.
                    let (slot, writes) =
                        (real.slot.as_ref().map(|slot| slot.usable), real.replication_may_write);
                    model = model.replace("slot None", &format!("slot {slot:?}"));
                    model = model.replace("replication false", &format!("replication {writes}"));
                }
                assert_eq!(shown(&real), model, "walk {walk}, {side}: {history:#?}");
            }
        }
    }
    println!("{done} done, {refused} refused");
    assert!(done > 80 && refused > 80, "{done} done, {refused} refused");
    for call in ["Open", "Give", "Arm", "Unfence", "TakeBack", "Freeze", "Thaw", "CreateSlot", "Mark"] {
        assert!(met.contains(call), "{call} was never done: {met:?}");
    }
}
