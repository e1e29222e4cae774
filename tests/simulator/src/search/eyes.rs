//! What an operator sees of a state, in the product's own types, and what the product's own `decide` makes of it.

use std::collections::HashMap;

use slipway::api::condition::Reason;
use slipway::aws::dms::{StopReason, TaskStatus};
use slipway::database::decide::{self, Decision, LookAgain, Move, MoveStep, QUIET_LOOKS, Step};
use slipway::database::goal::{Decided as SeenDecided, GivenUp, Goal};
use slipway::database::seen::{MemorySeen, Seen, Verified};
use slipway::fault::{Blocked, Fault};
use slipway::postgres::Record;
use slipway::side::{Side, Sides};

use super::fingerprint::{Known, of};
use super::mutants::{Lax, Mutant};
use super::scene;
use super::state::{Call, Decided, Kept, Memory, Object, Operator, State, Task, What};
use crate::database::{Database, Entry, Fence, Holder, Names, Refused, SlotName, Stage};

/// What an operator does next, and what it then remembers.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// The call, without what it reads when it is made.
    pub call: Option<Call>,
    /// What looking did to the memory.
    pub memory: Memory,
    /// Nothing is left to be done, or a person was told.
    pub rest: Option<Rest>,
    /// A step that this model does not know.
    pub unmodelled: Option<&'static str>,
}

/// How a migration rests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Rest {
    /// What Git allows is reached.
    Ready(Reason),
    /// A person must change something, and was told.
    Stalled(Reason),
    /// `spec.suspend` holds it.
    Suspended,
}

/// The parts that an operator looks at.
#[derive(Hash)]
struct Look<'a> {
    source: &'a Database,
    target: &'a Database,
    task: Task,
    provisioned: bool,
    object: &'a Object,
    memory: &'a Memory,
}

/// The product's decisions, each computed once.
pub struct Eyes {
    goal: Goal,
    seen: Seen,
    names: Names,
    mutant: Option<&'static Mutant>,
    known: Known<Plan>,
}

impl Eyes {
    /// Eyes for one search.
    pub fn new(mutant: Option<&'static Mutant>) -> Self {
        let (goal, seen, names) = scene::replicating();
        Self { goal, seen, names, mutant, known: HashMap::default() }
    }

    /// So many different decisions were asked of the product.
    pub fn decisions(&self) -> usize {
        self.known.len()
    }

    /// What `operator` does next.
    pub fn plan(&mut self, state: &State, operator: &Operator) -> Plan {
        let (mut source, mut target) = (glance(&state.sides.source), glance(&state.sides.target));
        let mut task = state.task;
        match &operator.kept {
            Some(Kept::Side(kept)) if kept.side == Side::Source => source = (**kept).clone(),
            Some(Kept::Side(kept)) => target = (**kept).clone(),
            Some(Kept::Task(kept)) => task = *kept,
            None => {}
        }
        let look = Look {
            source: &source,
            target: &target,
            task,
            provisioned: state.provisioned,
            object: &operator.read,
            memory: &operator.memory,
        };
        let key = of(&look);
        if let Some(plan) = self.known.get(&key) {
            return *plan;
        }
        let plan = self.think(&look);
        self.known.insert(key, plan);
        plan
    }

    fn think(&self, look: &Look<'_>) -> Plan {
        let mut goal = self.goal(look.object);
        if let Some(lie) = self.mutant.and_then(|mutant| mutant.lie) {
            // What is looked at rests on the goal, too.
            lie(&mut goal, &mut self.seen.clone());
        }
        let mut memory = *look.memory;
        if goal.is_moving() {
            let seen = self.in_outage(look, &mut memory);
            let decision = self.decide(&goal, seen);
            if decision.look_again == LookAgain::AtOnce {
                return self.plan_of(look, memory, &decision, true);
            }
        }
        let seen = self.whole(look, &goal, &memory);
        let decision = self.decide(&goal, seen);
        self.plan_of(look, memory, &decision, false)
    }

    /// The product's decision, unless a mutant bends what it sees or what it says.
    fn decide(&self, goal: &Goal, mut seen: Seen) -> Decision {
        let Some(mutant) = self.mutant else { return decide::decide(goal, &seen) };
        let mut goal = goal.clone();
        if let Some(lie) = mutant.lie {
            lie(&mut goal, &mut seen);
        }
        let mut decision = decide::decide(&goal, &seen);
        if let Some(bend) = mutant.bend {
            bend(&goal, &seen, &mut decision);
        }
        decision
    }

    fn goal(&self, object: &Object) -> Goal {
        Goal {
            reach: object.reach,
            suspended: object.suspended,
            deletion: object.deletion.map(Into::into),
            claimed: object.claimed,
            attempt: i32::from(object.attempt),
            abort_attempt: object.abort.map(i32::from),
            latch: object.latch.map(|attempt| GivenUp {
                attempt: i32::from(attempt),
                message: "it was given up".to_owned(),
            }),
            decided: object.decided.map(|decided| SeenDecided {
                epoch: i64::from(decided.epoch),
                intent: decided.intent.into(),
                attempt: i32::from(decided.attempt),
            }),
            ..self.goal.clone()
        }
    }

    /// As `observe::look_at_sides`.
    fn in_outage(&self, look: &Look<'_>, memory: &mut Memory) -> Seen {
        let ask = |side: &Database| Some(side.standing(memory.asked, &self.names).map_err(Refused::fault));
        let mut standing = Sides { source: ask(look.source), target: ask(look.target) };
        let mut seen = self.memory(memory);
        let mut asked = memory.asked.map(|fence| fence.to_string()).unwrap_or_default();
        seen.looked(&mut asked, &mut standing);
        if self.mutant.is_some_and(|mutant| mutant.lax.contains(&Lax::AnyMarker)) {
            for (seen, database) in [(&mut standing.source, look.source), (&mut standing.target, look.target)]
            {
                if let Some(Ok(seen)) = seen {
                    seen.marker = database.log.iter().any(|entry| matches!(entry, Entry::Marker(_)));
                }
            }
        }
        memory.quiet_looks = u8::try_from(seen.quiet_looks.min(QUIET_LOOKS)).unwrap_or(u8::MAX);
        seen.quiet_looks = u32::from(memory.quiet_looks);
        memory.asked = asked.parse().ok();
        memory.timeline = seen.timeline.as_ref().and_then(|(fence, timeline)| {
            Some((fence.parse::<Fence>().ok()?, u8::try_from(*timeline).unwrap_or(u8::MAX)))
        });
        let open = look.source.row.is_some_and(|row| row.holder == Holder::Side(Side::Source));
        let precheck = if open { self.precheck(look) } else { Sides::default() };
        let within = || Fault::Wait("AWS is not asked while applications wait".to_owned());
        Seen {
            database: Sides { source: Err(within()), target: Err(within()) },
            standing,
            precheck,
            applications: Some(Ok(Vec::new())),
            aws: Err(within()),
            memory: seen,
            ..self.seen.clone()
        }
    }

    /// As `observe::look`.
    fn whole(&self, look: &Look<'_>, goal: &Goal, memory: &Memory) -> Seen {
        let mut seen = self.seen.clone();
        for (side, database) in [(Side::Source, look.source), (Side::Target, look.target)] {
            let base = self.seen.database.get(side).clone();
            *seen.database.get_mut(side) = base.map(|base| database.server(&base, &self.names));
            if goal.is_moving() {
                // Each side is asked for the marker of the fence that its own row names.
                let asked = database.row.and_then(|row| row.fence);
                let standing = database.standing(asked, &self.names).map_err(Refused::fault);
                *seen.standing.get_mut(side) = Some(standing);
            }
        }
        let writer = matches!(&seen.database.source, Ok(server)
            if matches!(&server.record, Record::Present { token, .. } if token.holder.as_str() == "source"));
        if goal.wanted_writer() == Side::Target && writer {
            seen.precheck = self.precheck(look);
        }
        if let Ok(aws) = &mut seen.aws {
            if !look.provisioned {
                aws.instance = None;
                aws.subnet_group = None;
                aws.certificates.clear();
                aws.endpoints = Sides::default();
                aws.connections = Sides::default();
                aws.alarms.clear();
            }
            match (&mut aws.task, look.task) {
                (_, Task::Gone) => {
                    aws.task = None;
                    aws.tables.clear();
                }
                (Some(task), Task::Running) => task.status = TaskStatus::Running,
                (Some(task), Task::Stopped) => {
                    task.status = TaskStatus::Stopped;
                    task.stop_reason = Some(StopReason::Normal);
                }
                (Some(task), Task::Failed) => {
                    task.status = TaskStatus::Failed;
                    task.stop_reason = Some(StopReason::FatalError);
                }
                (None, _) => {}
            }
        }
        seen.memory = self.memory(memory);
        seen
    }

    fn precheck(
        &self,
        look: &Look<'_>,
    ) -> Sides<Option<slipway::database::seen::Known<slipway::postgres::PreCheck>>> {
        Sides {
            source: Some(Ok(look.source.precheck(&self.names))),
            target: Some(Ok(look.target.precheck(&self.names))),
        }
    }

    fn memory(&self, memory: &Memory) -> MemorySeen {
        MemorySeen {
            led: memory.led.map(i64::from),
            quiet_looks: u32::from(memory.quiet_looks),
            timeline: memory.timeline.map(|(fence, timeline)| (fence.to_string(), i32::from(timeline))),
            verified: memory.verified.map(|(fence, differs)| Verified {
                fence_id: fence.to_string(),
                difference: differs.then(|| "public.accounts: 1 row".to_owned()),
                tables: 2,
                rows: 10,
                at: self.seen.now,
            }),
            sequences: memory.sequences.map(|(fence, epoch)| (fence.to_string(), i64::from(epoch))),
            repointed: memory.repointed.map(i64::from),
            failed: memory.failed.map(|refused| match refused.fault() {
                Fault::Blocked(blocked) => blocked,
                other => Blocked::new(Reason::InternalError, other.message(), "This is a model's word"),
            }),
            ..self.seen.memory.clone()
        }
    }

    fn plan_of(&self, look: &Look<'_>, memory: Memory, decision: &Decision, in_outage: bool) -> Plan {
        let mut plan = Plan { call: None, memory, rest: None, unmodelled: None };
        match &decision.step {
            Some(step) if !step.is_routine() => match self.call(look, step) {
                Ok((what, epoch, fence)) => plan.call = Some(Call { what, epoch, fence, in_outage }),
                Err(action) => plan.unmodelled = Some(action),
            },
            _ if decision.look_again == LookAgain::AtOnce => {}
            _ => plan.rest = rest(decision),
        }
        plan
    }

    fn call(&self, look: &Look<'_>, step: &Step) -> Result<(What, u16, Fence), &'static str> {
        let expected = *look.object;
        let what = match step {
            Step::Decide(decide) => What::Record {
                expected,
                decided: Decided {
                    epoch: u16::try_from(decide.epoch).unwrap_or(u16::MAX),
                    intent: decide.intent.into(),
                    attempt: u8::try_from(decide.attempt).unwrap_or(u8::MAX),
                },
                latch: decide.latch.is_some(),
            },
            Step::Claim => What::ClaimObject { expected },
            Step::Latch(_) => What::Latch { expected },
            Step::Release => What::Release { expected },
            Step::NoteSlot(_) => What::NoteSlot,
            Step::DropSlot(name) => What::DropSlot(Side::Source, self.name(name)),
            Step::DropReverseSlot(name) => What::DropSlot(Side::Target, self.name(name)),
            Step::PrepareSource => What::PrepareSource,
            Step::FenceTarget => What::FenceTarget,
            Step::ReleaseSource => What::ReleaseSide(Side::Source),
            Step::ReleaseTarget => What::ReleaseSide(Side::Target),
            Step::DropSourceRecord => What::DropRecord(Side::Source),
            Step::DropTargetRecord => What::DropRecord(Side::Target),
            Step::StartTask(_) => What::StartTask,
            Step::StopTask => What::StopTask,
            Step::DeleteTask => What::DeleteTask,
            Step::DeleteAlarms(_)
            | Step::DeleteEndpoint(_)
            | Step::DeleteCertificate { .. }
            | Step::DeleteInstance
            | Step::DeleteSubnetGroup => What::DeleteResources,
            Step::Move(step) => return Ok(self.moving(look, step)),
            other => return Err(other.action()),
        };
        Ok((what, 0, 0))
    }

    fn moving(&self, look: &Look<'_>, step: &Move) -> (What, u16, Fence) {
        let what = match &step.what {
            MoveStep::Claim(side, how) => What::Claim(*side, *how),
            MoveStep::CreateSlot => What::CreateSlot,
            MoveStep::Fence => What::Fence,
            MoveStep::EndSessions => What::EndSessions,
            MoveStep::AddLayer => What::AddLayer,
            MoveStep::Mark => What::Mark,
            MoveStep::Freeze => What::Freeze,
            MoveStep::Verify => What::Verify,
            MoveStep::Sequences => What::Sequences(0),
            MoveStep::ArmReverse => What::Arm(0),
            MoveStep::Promote => What::Give(look.source.timeline),
            MoveStep::Open => What::Open,
            MoveStep::Repoint => What::Repoint,
            MoveStep::Unfence => What::Unfence,
            MoveStep::TakeBack => What::TakeBack,
            MoveStep::DropSlot(side, name) => What::DropMoveSlot(*side, self.name(name)),
            MoveStep::Thaw => What::Thaw,
        };
        (what, u16::try_from(step.epoch).unwrap_or(u16::MAX), step.fence_id.parse().unwrap_or(0))
    }

    fn name(&self, name: &str) -> SlotName {
        if name == self.names.back { SlotName::Back } else { SlotName::Forward }
    }
}

fn rest(decision: &Decision) -> Option<Rest> {
    match &decision.state {
        decide::State::Ready { reason, .. } => Some(Rest::Ready(*reason)),
        decide::State::Stalled(blocked) => Some(Rest::Stalled(blocked.reason)),
        decide::State::Walking { reason: Reason::Suspended, .. } => Some(Rest::Suspended),
        decide::State::Walking { .. } | decide::State::Uncertain(_) => None,
    }
}

/// What can be seen of a database: neither rows nor numbers that no decision rests on.
pub fn glance(database: &Database) -> Database {
    let mut seen = database.clone();
    // Nothing else of the log is seen.
    let mut markers: Vec<Entry> = database
        .log
        .iter()
        .copied()
        .filter(|entry| matches!(entry, Entry::Marker(marker) if database.has_marker(*marker)))
        .collect();
    markers.sort_unstable();
    markers.dedup();
    seen.log = markers;
    seen.sequence = 0;
    for slot in [&mut seen.forward, &mut seen.back].into_iter().flatten() {
        slot.position = 0;
    }
    if let Some(row) = &mut seen.row
        && row.reverse.is_some()
    {
        row.reverse = Some(0);
    }
    for id in &mut seen.prepared {
        *id = 0;
    }
    seen.sessions.retain(|session| session.stage != Stage::Arriving);
    for (client, session) in (0_u8..).zip(&mut seen.sessions) {
        session.client = client;
        if let Stage::Wrote(id) = &mut session.stage {
            *id = 0;
        }
    }
    seen.sessions.sort_unstable_by_key(|session| session.stage);
    seen
}
