//! The part of a move for which applications wait: looked at, decided and acted on in a loop inside one reconcile, one step
//! per turn, with the same `decide`. Only the two databases are asked. A crash can fall only between steps, and what comes
//! after it reads from the rows where it is.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

use crate::api::database::DatabaseMigration;
use crate::aws::Aws;
use crate::database::act::{self, Hands};
use crate::database::context::Memory;
use crate::database::decide::{self, Decide, Decision, LookAgain, MoveStep, Stage, State, Step};
use crate::database::goal::Goal;
use crate::database::seen::Seen;
use crate::database::{observe, publish};
use crate::fault::Fault;
use crate::operator::context::Context;
use crate::operator::objects;

/// Between two looks while something takes milliseconds.
pub const POLL: Duration = Duration::from_millis(10);
/// Between two looks while facts are missing, or after a call that failed.
pub const RETRY: Duration = Duration::from_millis(100);
/// A loop that is longer is left, so that a person is told, and begun anew.
pub const LONGEST: Duration = Duration::from_secs(4);

/// How long the API server may take to answer.
pub const RECORD_WITHIN: Duration = Duration::from_secs(5);

/// What a move did, and how long each part took.
#[derive(Clone, Debug, Default)]
pub struct Spans {
    /// The parts that are over, in their order.
    pub done: Vec<Span>,
    now: Option<(Stage, Instant, String)>,
    fenced: Option<Instant>,
    /// From the fence to the opened side.
    pub outage: Option<Duration>,
}

/// One part of a move.
#[derive(Clone, Debug)]
pub struct Span {
    /// Which part.
    pub stage: Stage,
    /// How long.
    pub took: Duration,
    /// When it was over.
    pub at: Timestamp,
    /// What was done last in it.
    pub what: String,
}

impl Spans {
    fn enter(&mut self, stage: Stage, what: String) {
        match &mut self.now {
            Some((now, _, words)) if *now == stage => *words = what,
            _ => {
                self.leave();
                self.now = Some((stage, Instant::now(), what));
            }
        }
    }

    /// Ends the part that goes on.
    fn leave(&mut self) {
        if let Some((stage, since, what)) = self.now.take() {
            let took = since.elapsed();
            tracing::info!(
                stage = stage.as_str(),
                took_ms = took.as_millis(),
                what,
                "part of the move is done"
            );
            self.done.push(Span { stage, took, at: Timestamp::now(), what });
        }
    }

    fn note(&mut self, step: &MoveStep) {
        match step {
            MoveStep::Fence => self.fenced = self.fenced.or_else(|| Some(Instant::now())),
            MoveStep::Open | MoveStep::Unfence => {
                self.outage = self.fenced.take().map(|fenced| fenced.elapsed()).or(self.outage);
            }
            _ => {}
        }
    }
}

/// How the loop ended.
pub enum End {
    /// Nobody waits for what is left, or AWS is needed for it.
    Rest,
    /// It takes long: this is how it stands.
    Long(Box<(Seen, Decision)>),
}

/// Walks until nobody waits any more, or until nothing can be done here. `object` and `goal` are what they have become.
pub async fn run(
    context: &Arc<Context>,
    aws: &Arc<Aws>,
    object: &mut DatabaseMigration,
    goal: &mut Goal,
    memory: &mut Memory,
) -> End {
    let began = Instant::now();
    let ends = observe::ends(&context.client, aws, goal, memory, Timestamp::now()).await;
    observe::hold_spares(goal, memory, &ends).await;
    while goal.is_moving() {
        turn_to_newest(context, object, goal);
        let observed = observe::look_at_sides(&context.client, goal, memory, &ends, Timestamp::now()).await;
        let decision = decide::decide(goal, &observed.seen);
        if decision.look_again != LookAgain::AtOnce {
            break;
        }
        if began.elapsed() > LONGEST {
            return End::Long(Box::new((observed.seen, decision)));
        }
        let uncertain = matches!(decision.state, State::Uncertain(_));
        let Some(step) = decision.step else {
            tokio::time::sleep(if uncertain { RETRY } else { POLL }).await;
            continue;
        };
        if let Step::Move(step) = &step {
            memory.spans.enter(step.what.stage(), step.describe(goal));
        }
        let permit = context.leadership.permit();
        let hands = Hands { client: &context.client, aws, means: &observed.means, permit: &permit };
        let outcome = match &step {
            Step::Decide(decide) => match recorded(&hands, object, goal, memory, decide).await {
                Ok(recorded) => {
                    *object = recorded;
                    turn_to(object, goal);
                    Ok(())
                }
                Err(fault) => {
                    refresh(context, object, goal).await;
                    Err(fault)
                }
            },
            Step::Move(step) => {
                memory.seen.begins(&Step::Move(step.clone()), observed.seen.now);
                if step.what == MoveStep::Freeze {
                    stop_in_passing(context, aws, goal, memory);
                }
                Box::pin(act::moving(&hands, goal, &observed.seen, memory, &ends, step)).await
            }
            other => Err(Fault::Bug(format!("{} is no step of a move", other.action()))),
        };
        if super::counted(context, goal, &step, &outcome) {
            tell_in_passing(context, object, goal, &step);
        }
        match &outcome {
            Ok(()) => {
                if let Step::Move(step) = &step {
                    memory.spans.note(&step.what);
                }
            }
            Err(Fault::Wait(_)) => tokio::time::sleep(POLL).await,
            Err(fault) => {
                memory.seen.failed_in_a_move(fault);
                tokio::time::sleep(RETRY).await;
            }
        }
    }
    memory.spans.leave();
    End::Rest
}

/// Records a decision, or gives up soon: a cluster that hangs must not keep the loop from looking.
async fn recorded(
    hands: &Hands<'_>,
    object: &DatabaseMigration,
    goal: &Goal,
    memory: &mut Memory,
    decide: &Decide,
) -> Result<DatabaseMigration, Fault> {
    tokio::time::timeout(RECORD_WITHIN, act::record(hands, object, goal, memory, decide))
        .await
        .unwrap_or_else(|_| Err(Fault::Unknown("recording status.decided: no answer in time".to_owned())))
}

/// An event for a step, sent without waiting.
fn tell_in_passing(context: &Arc<Context>, object: &DatabaseMigration, goal: &Goal, step: &Step) {
    let (context, object) = (Arc::clone(context), object.clone());
    let (action, on, words) = (step.action(), step.on(goal), step.describe(goal));
    tokio::spawn(async move { publish::note(&object, &context, action, &on, &words).await });
}

/// A goal that changed in the midst of a move counts, as soon as the watch tells of it.
fn turn_to_newest(context: &Context, object: &mut DatabaseMigration, goal: &mut Goal) {
    if let Some(newest) = context.newest(object) {
        *object = newest;
        turn_to(object, goal);
    }
}

/// A spec that can't be used changes nothing in a move that has begun; what was recorded of it counts all the same.
fn turn_to(object: &DatabaseMigration, goal: &mut Goal) {
    if let Some(parsed) = Goal::parse(object).ok().or_else(|| goal.in_the_midst(object)) {
        *goal = parsed;
    }
}

/// After a conflict: somebody wrote to the resource, and what we know of it is old.
async fn refresh(context: &Context, object: &mut DatabaseMigration, goal: &mut Goal) {
    let read = tokio::time::timeout(RECORD_WITHIN, objects::read(&context.client, object)).await;
    if let Ok(Ok(read)) = read {
        *object = read;
        turn_to(object, goal);
    }
}

/// Asks the forward task to stop, without waiting: the old side is fenced and drained, so there is nothing left to apply.
/// Whether it was heard shows later.
fn stop_in_passing(context: &Arc<Context>, aws: &Arc<Aws>, goal: &Goal, memory: &Memory) {
    let Some(arn) = memory.task_arn.clone() else { return };
    let (context, aws, ours) = (Arc::clone(context), Arc::clone(aws), goal.ownership());
    tokio::spawn(async move {
        let permit = context.leadership.permit();
        if let Err(fault) = aws.dms.stop_task(&permit, &ours, &arn).await {
            tracing::debug!(fault = fault.message(), "the task was asked to stop, and is asked again later");
        }
    });
}
