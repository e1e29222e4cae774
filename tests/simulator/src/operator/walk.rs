//! One reconcile: the pipeline of `src/database.rs`, and `publish.rs` for what is written of it.

use std::rc::Rc;
use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use slipway::api::condition::READY;
use slipway::api::database::DatabaseMigrationStatus;
use slipway::database::decide::{self, Decision, Step};
use slipway::database::goal::Goal;
use slipway::database::outage::Spans;
use slipway::database::seen::Seen;
use slipway::database::{CLAIM_SEEN_WITHIN, pause, report};
use slipway::fault::{Blocked, Fault};
use slipway::turn;

use super::outage::End;
use super::{Memory, Process, tell_watches};
use crate::clock::Kind as News;
use crate::world::CANARY;
use crate::world::cluster::Object;

/// `database::reconcile`.
pub(super) async fn reconcile(process: &Rc<Process>, object: Object) -> Result<Duration, Fault> {
    let mut memory = process.memory.take();
    memory.turn_to(object.metadata.generation);
    let result = walk(process, object, &mut memory).await;
    process.memory.replace(memory);
    result
}

async fn walk(process: &Rc<Process>, mut object: Object, memory: &mut Memory) -> Result<Duration, Fault> {
    let mut goal = match process.parse(&object) {
        Ok(goal) => goal,
        Err(blocked) => return process.refuse(&object, &blocked).await,
    };
    if memory.seen.led > goal.decided.as_ref().map(|decided| decided.epoch) {
        object = process.read().await?;
        match process.parse(&object) {
            Ok(parsed) => goal = parsed,
            Err(blocked) => return process.refuse(&object, &blocked).await,
        }
    }
    if goal.is_moving()
        && let End::Long(stand) = Box::pin(process.outage(&mut object, &mut goal, memory)).await
    {
        let (seen, decision) = *stand;
        process.underway(&object, &goal, &seen, &decision).await?;
        return Ok(Duration::ZERO);
    }
    let now = process.now();
    let seen = Box::pin(process.look(&goal, memory, now)).await;
    process.sim.with(|world| world.looks += 1);
    let mut decision = decide::decide(&goal, &seen);
    if goal.deletion.is_some()
        && matches!(decision.step, Some(Step::DeleteEndpoint(_)))
        && process.sim.with(|world| world.mutant == Some("early-release"))
    {
        decision.step = Some(Step::Release);
    }
    process.sim.with(|world| {
        let words = || {
            let step = decision.step.as_ref().map_or("-", Step::action);
            format!("operator {}: decides {step}; {:?}; {}", process.id, decision.phase, decision.next)
        };
        world.trace.say(world.clock.now, words);
    });
    let mut outcome = Ok(());
    if let Some(step) = &decision.step {
        if let Step::Decide(decide) = step {
            process.record(&object, &goal, memory, decide).await?;
            return Ok(Duration::ZERO);
        }
        outcome = Box::pin(process.act(&object, &goal, &seen, memory, step)).await;
        process.sim.with(|world| {
            if let Err(fault) = &outcome {
                world
                    .trace
                    .say(world.clock.now, || format!("  {}: {}: {fault}", step.action(), fault.class()));
            } else if !step.is_routine() {
                world.cluster.said.push(step.describe(&goal));
            }
        });
    }
    if matches!((&decision.step, &outcome), (Some(Step::Release), Ok(()))) {
        *memory = Memory::default();
        return Ok(process.pace.rarely);
    }
    if matches!((&decision.step, &outcome), (Some(Step::Claim | Step::Latch(_)), Ok(()))) {
        return Ok(CLAIM_SEEN_WITHIN);
    }
    turn::tell_of_failure(&mut decision.state, &mut decision.next, &outcome, memory.failures);
    let seen = Seen { memory: memory.seen.clone(), ..seen };
    if outcome.is_ok() && decision.step.as_ref().is_some_and(Step::is_routine) {
        decision = Decision { step: decision.step, ..decide::decide(&goal, &seen) };
    }
    if !turn::held_back(&decision.state, &mut memory.uncertain_since, now) {
        process.publish(&object, &goal, &seen, &decision).await?;
    }
    Ok(pause(&decision, &outcome, &process.pace, &mut memory.failures, &goal.migration.uid))
}

impl Process {
    async fn refuse(&self, object: &Object, blocked: &Blocked) -> Result<Duration, Fault> {
        let empty = DatabaseMigrationStatus::default();
        let previous = object.status.as_ref().unwrap_or(&empty);
        let status = report::refused(blocked, previous, object.metadata.generation, self.now());
        if report::is_news(previous, &status) {
            self.write(object, status).await?;
        }
        Ok(self.pace.rarely)
    }

    /// `publish::publish`.
    async fn publish(
        &self,
        object: &Object,
        goal: &Goal,
        seen: &Seen,
        decision: &Decision,
    ) -> Result<(), Fault> {
        let empty = DatabaseMigrationStatus::default();
        let previous = object.status.as_ref().unwrap_or(&empty);
        let generation = object.metadata.generation;
        let status = report::status(goal, seen, decision, &Spans::default(), previous, generation);
        let chatty = self.sim.with(|world| world.mutant == Some("chatty"));
        if !chatty && !report::is_news(previous, &status) && !report::is_due(previous, decision, seen.now) {
            return Ok(());
        }
        self.write(object, status).await
    }

    /// `publish::underway`.
    async fn underway(
        &self,
        object: &Object,
        goal: &Goal,
        seen: &Seen,
        decision: &Decision,
    ) -> Result<(), Fault> {
        let empty = DatabaseMigrationStatus::default();
        let previous = object.status.as_ref().unwrap_or(&empty);
        let generation = object.metadata.generation;
        let status = report::underway(goal, seen, decision, &Spans::default(), previous, generation);
        if report::is_news(previous, &status) {
            self.write(object, status).await?;
        }
        Ok(())
    }

    async fn write(&self, object: &Object, mut status: DatabaseMigrationStatus) -> Result<(), Fault> {
        self.sim.with(|world| match world.mutant {
            Some("leaky") => world.cluster.said.push(format!("connected with {CANARY}")),
            Some("wrong-writer") if status.writer.as_deref() == Some("Source") => {
                status.writer = Some("Target".to_owned());
            }
            _ => {}
        });
        let version = object.metadata.resource_version.clone();
        let version = if self.sim.with(|world| world.mutant == Some("no-cas")) { None } else { version };
        self.kubernetes("ApplyStatus", true, move |world| {
            let written = world.cluster.database.apply_status(world.clock.now, version.as_deref(), &status);
            if written.is_ok() {
                world.judge_status(&status);
            }
            tell_watches(world, News::Database);
            written
        })
        .await
        .map(|_| ())
    }
}

impl crate::world::World {
    /// Invariants 8 and 14, and that the status tells the truth, when it is written.
    fn judge_status(&mut self, status: &DatabaseMigrationStatus) {
        let ready = status.conditions.iter().any(|c| c.type_ == READY && c.status == "True");
        if ready && matches!(status.writer.as_deref(), Some("Unknown" | "Both")) {
            self.fail(13, "a status says Ready, and does not know the writer");
        }
        let phase = status.phase.clone().unwrap_or_default();
        self.trace.say(self.clock.now, || {
            format!("  status: {phase}, writer {:?}, {:?}", status.writer, status.next)
        });
        self.judge_words(status.phase.as_ref(), status.next.as_ref(), &status.conditions);
    }

    /// That a status of either kind says what comes next; and its words are kept, to be searched at the end.
    pub(super) fn judge_words(
        &mut self,
        phase: Option<&String>,
        next: Option<&String>,
        conditions: &[Condition],
    ) {
        if next.is_none_or(String::is_empty) {
            self.fail(8, "a status does not say what comes next");
        }
        let (phase, next) = (phase.map_or("", String::as_str), next.map_or("", String::as_str));
        let messages: Vec<&str> = conditions.iter().map(|c| c.message.as_str()).collect();
        let words = format!("{phase} {next} {}", messages.join(" "));
        if self.cluster.said.last() != Some(&words) {
            self.cluster.said.push(words);
        }
    }
}
