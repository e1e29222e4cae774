//! One reconcile of an `ApplicationMigration`: the pipeline of `src/application.rs`, and `publish.rs` beside it.

mod eyes;
mod hands;

pub(super) use eyes::read;
pub(super) use hands::write;

use std::time::Duration;

use slipway::api::application::{ApplicationMigrationStatus, Goal as Reach};
use slipway::application::context::Memory;
use slipway::application::decide::{self, Decision, Step};
use slipway::application::goal::Goal;
use slipway::application::report;
use slipway::application::seen::Seen;
use slipway::fault::{Blocked, Fault};
use slipway::turn;

use super::{Process, once, tell_watches};
use crate::clock::Kind;
use crate::world::World;
use crate::world::cluster::Traffic as Object;

/// `application::STEPS_MAX`.
const STEPS_MAX: usize = 8;

/// What comes after a turn.
enum Turn {
    Again,
    Later(Duration),
}

/// `application::reconcile`.
pub(super) async fn reconcile(process: &Process, object: Object) -> Result<Duration, Fault> {
    let mut memory = process.traffic.take();
    let result = walk(process, object, &mut memory).await;
    process.traffic.replace(memory);
    result
}

async fn walk(process: &Process, mut object: Object, memory: &mut Memory) -> Result<Duration, Fault> {
    for _ in 0..STEPS_MAX {
        let goal = match process.parse_traffic(&object) {
            Ok(goal) => goal,
            Err(blocked) => return process.refuse_traffic(&object, &blocked).await,
        };
        memory.turn_to(object.metadata.generation, &goal.gates);
        let misread = process.misread(&goal);
        match Box::pin(process.look_and_act(&mut object, memory, (&goal, misread.as_ref().unwrap_or(&goal))))
            .await?
        {
            Turn::Again => {}
            Turn::Later(pause) => return Ok(pause),
        }
    }
    Ok(Duration::ZERO)
}

impl Process {
    /// `Goal::parse`.
    fn parse_traffic(&self, object: &Object) -> Result<Goal, Blocked> {
        self.sim.with(|world| {
            let parsed = once(&mut world.parsed_traffic, object.metadata.generation, || Goal::parse(object));
            Ok(parsed?.as_of(object))
        })
    }

    /// `application::look_and_act`.
    async fn look_and_act(
        &self,
        object: &mut Object,
        memory: &mut Memory,
        (truth, goal): (&Goal, &Goal),
    ) -> Result<Turn, Fault> {
        let (now, looked) = (self.now(), self.sim.with(|world| world.clock.now));
        let seen = Box::pin(self.look_at_traffic(goal, memory, now)).await;
        let mut decision = decide::decide(goal, &seen);
        self.bend(&mut decision);
        self.sim.with(|world| {
            world.looks += 1;
            let words = || {
                let step = decision.step.as_ref().map_or("-", Step::action);
                format!(
                    "operator {}: traffic: decides {step}; {:?}; {}",
                    self.id, decision.phase, decision.next
                )
            };
            world.trace.say(world.clock.now, words);
            if let Some(step) = &decision.step {
                world.judge_step(truth, step, looked);
            }
        });
        let mut outcome = Ok(());
        if let Some(step) = decision.step.clone() {
            memory.forget(&step);
            let report = report_of(object, goal, &seen, &decision);
            let acted = Box::pin(self.act_on_traffic(object, goal, &step, &report, now)).await;
            outcome = acted.as_ref().map(|_| ()).map_err(Clone::clone);
            self.sim.with(|world| match &outcome {
                Ok(()) => world.cluster.said.push(step.describe(goal)),
                Err(fault) => {
                    let words = || format!("  {}: {}: {fault}", step.action(), fault.class());
                    world.trace.say(world.clock.now, words);
                }
            });
            if let Ok(written) = acted {
                memory.failures = 0;
                if matches!(step, Step::Release) {
                    *memory = Memory::default();
                    return Ok(Turn::Later(self.pace.rarely));
                }
                if let Some(written) = written {
                    *object = written;
                }
                return Ok(Turn::Again);
            }
        }
        turn::tell_of_failure(&mut decision.state, &mut decision.next, &outcome, memory.failures);
        if !turn::held_back(&decision.state, &mut memory.uncertain_since, now) {
            self.publish_traffic(object, goal, &seen, &decision).await?;
        }
        let pause = turn::pause_after(
            &decision.state,
            &outcome,
            &self.pace,
            &mut memory.failures,
            &goal.migration.uid,
        );
        let look_again = || Duration::try_from(decision.look_again).unwrap_or(self.pace.rarely);
        Ok(Turn::Later(pause.unwrap_or_else(look_again)))
    }

    /// `publish::publish`.
    async fn publish_traffic(
        &self,
        object: &Object,
        goal: &Goal,
        seen: &Seen,
        decision: &Decision,
    ) -> Result<(), Fault> {
        let empty = ApplicationMigrationStatus::default();
        let previous = object.status.as_ref().unwrap_or(&empty);
        let status = report_of(object, goal, seen, decision);
        let chatty = self.sim.with(|world| world.mutant == Some("chatty"));
        if chatty || report::is_news(previous, &status) {
            self.write_traffic(object.metadata.resource_version.clone(), status).await?;
        }
        Ok(())
    }

    async fn refuse_traffic(&self, object: &Object, blocked: &Blocked) -> Result<Duration, Fault> {
        let empty = ApplicationMigrationStatus::default();
        let previous = object.status.as_ref().unwrap_or(&empty);
        let status = report::refused(blocked, previous, object.metadata.generation, self.now());
        if report::is_news(previous, &status) {
            self.write_traffic(object.metadata.resource_version.clone(), status).await?;
        }
        Ok(self.pace.rarely)
    }

    /// `objects::write_status`.
    async fn write_traffic(
        &self,
        version: Option<String>,
        status: ApplicationMigrationStatus,
    ) -> Result<Object, Fault> {
        let version = if self.sim.with(|world| world.mutant == Some("no-cas")) { None } else { version };
        self.kubernetes("ApplyStatus of the traffic", true, move |world| {
            let ended = |object: &Object| {
                object.status.as_ref().is_some_and(|status| status.point_of_no_return_at.is_some())
            };
            let before = world.cluster.traffic.newest().is_some_and(&ended);
            let written = world.cluster.traffic.apply_status(world.clock.now, version.as_deref(), &status);
            if let Ok(object) = &written {
                world.judge_traffic_status(&status);
                if !before && ended(object) && object.spec.goal != Reach::Finish {
                    world.fail(15, "the end of the way back was recorded while the goal was another");
                }
            }
            tell_watches(world, Kind::Traffic);
            written
        })
        .await
    }

    /// A wrong version of what the status says.
    fn misread(&self, goal: &Goal) -> Option<Goal> {
        self.sim.with(|world| world.mutant == Some("no-hold")).then(|| hands::without_hold(goal.clone()))
    }

    /// A wrong version of what was decided.
    fn bend(&self, decision: &mut Decision) {
        let Some(mutant) = self.sim.with(|world| world.mutant) else { return };
        hands::bend(mutant, decision);
    }
}

/// `publish::report`.
fn report_of(object: &Object, goal: &Goal, seen: &Seen, decision: &Decision) -> ApplicationMigrationStatus {
    let empty = ApplicationMigrationStatus::default();
    let previous = object.status.as_ref().unwrap_or(&empty);
    report::status(goal, seen, decision, previous, object.metadata.generation)
}

impl World {
    /// Invariants 8 and 14, when a status is written.
    fn judge_traffic_status(&mut self, status: &ApplicationMigrationStatus) {
        self.trace.say(self.clock.now, || {
            let asked = status.traffic.as_ref().and_then(|traffic| traffic.requested_weight);
            format!("  status of the traffic: {:?} at {asked:?}, {:?}", status.phase, status.next)
        });
        self.judge_words(status.phase.as_ref(), status.next.as_ref(), &status.conditions);
    }
}
