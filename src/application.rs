//! Reconcile one `ApplicationMigration`: goal, observe, decide, act, report. The pipeline, and nothing else.

pub mod act;
pub mod context;
pub mod decide;
pub mod goal;
pub mod memory;
pub mod observe;
pub mod plan;
pub mod publish;
pub mod records;
pub mod report;
pub mod seen;
pub mod weights;

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use kube::ResourceExt;

use crate::api::application::ApplicationMigration;
use crate::application::act::Hands;
use crate::application::context::Memory;
use crate::application::decide::Step;
use crate::application::goal::Goal;
use crate::application::observe::Eyes;
use crate::aws::{Account, Aws};
use crate::fault::{Blocked, Fault};
use crate::metrics::Performed;
use crate::operator::context::Context;
use crate::turn;

/// Steps of one reconcile. What is left is done by the next, which comes at once; others get their turn in between.
const STEPS_MAX: usize = 8;

/// Looks at one migration, takes steps as long as each was done, says what was found, and says when to look again.
///
/// # Errors
/// When the report could not be written; nothing was lost, since the next look finds the same.
pub async fn reconcile(object: &ApplicationMigration, context: &Arc<Context>) -> Result<Duration, Fault> {
    let uid = object.uid().unwrap_or_default();
    let memory = context.applications.of(&uid);
    let memory = &mut *memory.lock().await;
    let mut object = object.clone();
    for _ in 0..STEPS_MAX {
        let goal = match Goal::parse(&object) {
            Ok(goal) => goal,
            Err(blocked) => return refuse(&object, context, &blocked).await,
        };
        let account = match context.accounts.of(&goal.migration.namespace) {
            Ok(account) => account,
            Err(blocked) => return refuse(&object, context, &blocked).await,
        };
        if let Err(blocked) = goal.is_within(&account) {
            return refuse(&object, context, &blocked).await;
        }
        memory.turn_to(object.metadata.generation, &goal.gates);
        let aws = context.aws(&account).await;
        match Box::pin(look_and_act(&mut object, context, memory, &goal, &account, &aws)).await? {
            Turn::Again => {}
            Turn::Later(pause) => return Ok(pause),
        }
    }
    Ok(Duration::ZERO)
}

/// What comes after a turn.
enum Turn {
    /// The next one, at once.
    Again,
    /// Nothing for so long.
    Later(Duration),
}

/// One look, one decision, at most one step.
async fn look_and_act(
    object: &mut ApplicationMigration,
    context: &Arc<Context>,
    memory: &mut Memory,
    goal: &Goal,
    account: &Account,
    aws: &Aws,
) -> Result<Turn, Fault> {
    let now = Timestamp::now();
    let eyes = Eyes { client: &context.client, aws, account, prober: &context.prober };
    let seen = Box::pin(observe::look(&eyes, goal, memory, now)).await;
    let mut decision = decide::decide(goal, &seen);
    let mut outcome = Ok(());
    if let Some(step) = decision.step.clone() {
        let permit = context.leadership.permit();
        let hands = Hands { client: &context.client, aws, permit: &permit };
        // Done or half done: what was known of it is old from here on.
        memory.forget(&step);
        let report = publish::report(object, goal, &seen, &decision);
        let acted = Box::pin(act::act(&hands, object, goal, &step, &report, now)).await;
        outcome = acted.as_ref().map(|_| ()).map_err(Clone::clone);
        performed(object, context, goal, &step, &outcome).await;
        if let Ok(written) = acted {
            memory.failures = 0;
            if matches!(step, Step::Release) {
                context.applications.forget(&goal.migration.uid);
                context.metrics.forget(&publish::of(goal));
                return Ok(Turn::Later(context.pace.rarely));
            }
            if let Some(written) = written {
                publish::tell(object, context, &written).await;
                *object = written;
            }
            return Ok(Turn::Again);
        }
    }
    turn::tell_of_failure(&mut decision.state, &mut decision.next, &outcome, memory.failures);
    if !turn::held_back(&decision.state, &mut memory.uncertain_since, now) {
        publish::publish(object, context, goal, &seen, &decision).await?;
    }
    let (failures, uid) = (&mut memory.failures, &goal.migration.uid);
    let pause = turn::pause_after(&decision.state, &outcome, &context.pace, failures, uid);
    let look_again = || Duration::try_from(decision.look_again).unwrap_or(context.pace.rarely);
    Ok(Turn::Later(pause.unwrap_or_else(look_again)))
}

/// Tells of a step that was tried: in the log, in a metric, and in an event if it was done.
async fn performed(
    object: &ApplicationMigration,
    context: &Context,
    goal: &Goal,
    step: &Step,
    outcome: &Result<(), Fault>,
) {
    let word = outcome.as_ref().map_or_else(Fault::class, |()| "ok");
    context.metrics.steps.get_or_create(&Performed { action: step.action(), outcome: word }).inc();
    let (on, migration) = (step.on(goal), goal.migration.resource());
    match outcome {
        Ok(()) => {
            tracing::info!(migration, action = step.action(), on, "step");
            publish::note(object, context, step.action(), &step.describe(goal)).await;
        }
        Err(fault) => {
            let (class, fault) = (fault.class(), fault.message());
            tracing::warn!(migration, action = step.action(), on, class, fault, "step failed");
        }
    }
}

async fn refuse(
    object: &ApplicationMigration,
    context: &Context,
    blocked: &Blocked,
) -> Result<Duration, Fault> {
    publish::refused(object, context, blocked, Timestamp::now()).await?;
    Ok(context.pace.rarely)
}
