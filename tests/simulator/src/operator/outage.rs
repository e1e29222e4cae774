//! The part of a move for which applications wait: the loop of `src/database/outage.rs`.

use std::rc::Rc;

use slipway::database::decide::{self, Decide, Decision, LookAgain, MoveStep, State, Step};
use slipway::database::goal::Goal;
use slipway::database::outage::{LONGEST, POLL, RETRY};
use slipway::database::seen::Seen;
use slipway::fault::Fault;

use super::{Memory, Process};
use crate::world::cluster::Object;

/// How the loop ended.
pub(super) enum End {
    Rest,
    Long(Box<(Seen, Decision)>),
}

impl Process {
    /// `outage::run`.
    pub(super) async fn outage(
        self: &Rc<Self>,
        object: &mut Object,
        goal: &mut Goal,
        memory: &mut Memory,
    ) -> End {
        let began = self.sim.with(|world| world.clock.now);
        let ends = self.ends(goal, memory, self.now()).await;
        while goal.is_moving() {
            self.turn_to_newest(object, goal);
            if self.sim.with(|world| world.mutant == Some("no-takeover")) {
                memory.seen.led = goal.decided.as_ref().map(|decided| decided.epoch);
            }
            let seen = self.look_at_sides(memory, &ends, self.now()).await;
            let decision = decide::decide(goal, &seen);
            if decision.look_again != LookAgain::AtOnce {
                break;
            }
            let elapsed = self.sim.with(|world| world.clock.now) - began;
            if i128::from(elapsed) > i128::try_from(LONGEST.as_micros()).unwrap_or(0) {
                return End::Long(Box::new((seen, decision)));
            }
            let uncertain = matches!(decision.state, State::Uncertain(_));
            let Some(step) = decision.step else {
                self.sleep(if uncertain { RETRY } else { POLL }).await;
                continue;
            };
            let outcome = match &step {
                Step::Decide(decide) => self.recorded(object, goal, memory, decide).await,
                Step::Move(step) => {
                    memory.seen.begins(&Step::Move(step.clone()), seen.now);
                    if step.what == MoveStep::Freeze {
                        self.stop_in_passing(goal, memory);
                    }
                    Box::pin(self.moving(goal, &seen, memory, step)).await
                }
                other => Err(Fault::Bug(format!("{} is no step of a move", other.action()))),
            };
            match &outcome {
                Ok(()) => {}
                Err(Fault::Wait(_)) => self.sleep(POLL).await,
                Err(fault) => {
                    memory.seen.failed_in_a_move(fault);
                    self.sleep(RETRY).await;
                }
            }
        }
        End::Rest
    }

    async fn recorded(
        &self,
        object: &mut Object,
        goal: &mut Goal,
        memory: &mut Memory,
        decide: &Decide,
    ) -> Result<(), Fault> {
        match self.record(object, goal, memory, decide).await {
            Ok(recorded) => {
                *object = recorded;
                self.turn_to(object, goal);
                Ok(())
            }
            Err(fault) => {
                if let Ok(read) = self.read().await {
                    *object = read;
                    self.turn_to(object, goal);
                }
                Err(fault)
            }
        }
    }

    /// Reads the resource anew.
    pub(super) async fn read(&self) -> Result<Object, Fault> {
        self.kubernetes("Get", false, |world| {
            world
                .cluster
                .database
                .newest()
                .cloned()
                .ok_or_else(|| crate::world::cluster::refusal(404, "NotFound"))
        })
        .await
    }

    /// `Context::newest`: a later spec counts, as soon as the watch tells of it.
    fn turn_to_newest(&self, object: &mut Object, goal: &mut Goal) {
        let deaf = self.sim.with(|world| world.mutant == Some("deaf"));
        if let Some(newest) = self.watched()
            && !deaf
            && newest.metadata.generation > object.metadata.generation
        {
            *object = newest;
            self.turn_to(object, goal);
        }
    }

    fn turn_to(&self, object: &Object, goal: &mut Goal) {
        if let Ok(parsed) = self.parse(object) {
            *goal = parsed;
        }
    }

    fn stop_in_passing(self: &Rc<Self>, goal: &Goal, memory: &Memory) {
        let Some(arn) = memory.task_arn.clone() else { return };
        let (process, ours) = (Rc::clone(self), goal.ownership());
        self.sim.with(|world| {
            world.clock.spawn(Some(process.id), async move {
                // Whether it was heard shows later.
                let _ = process.stop_task(&ours, &arn).await;
            });
        });
    }
}
