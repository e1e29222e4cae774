//! Reconcile one `DatabaseMigration`: goal, observe, decide, act, report. The pipeline, and nothing else.

pub mod act;
pub mod applications;
pub mod cname;
pub mod context;
pub mod decide;
pub mod goal;
pub mod material;
pub mod observe;
pub mod outage;
pub mod plan;
pub mod publish;
pub mod report;
pub mod seen;
pub mod sight;
pub mod visit;

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use kube::ResourceExt;

use crate::api::database::DatabaseMigration;
use crate::aws::Account;
use crate::database::act::Hands;
use crate::database::context::Memory;
use crate::database::decide::{Decision, LookAgain, Step};
use crate::database::goal::Goal;
use crate::database::observe::Observed;
use crate::fault::{Blocked, Fault};
use crate::metrics::Performed;
use crate::operator::context::{Context, Pace};
use crate::operator::objects;
use crate::turn;

/// After the claim the object is read anew: its own event brings it, within this time.
pub const CLAIM_SEEN_WITHIN: Duration = Duration::from_millis(200);

/// Looks at one migration, takes at most one step, says what was found, and says when to look again.
///
/// # Errors
/// When the report could not be written; nothing was lost, since the next look finds the same.
pub async fn reconcile(
    object: &DatabaseMigration,
    context: &Arc<Context>,
    now: Timestamp,
) -> Result<Duration, Fault> {
    let uid = object.uid().unwrap_or_default();
    let memory = context.databases.of(&uid);
    let memory = &mut *memory.lock().await;
    memory.turn_to(object.metadata.generation);
    let goal = match read(object, memory) {
        Ok(goal) => goal,
        Err(blocked) => return refuse(object, context, &blocked, now).await,
    };
    let account = match context.accounts.of(&goal.migration.namespace) {
        Ok(account) => account,
        Err(blocked) => return refuse(object, context, &blocked, now).await,
    };
    match goal.is_within(&account) {
        Err(blocked) if !goal.is_moving() => return refuse(object, context, &blocked, now).await,
        Ok(()) | Err(_) => {}
    }
    Box::pin(walk(object, context, memory, &goal, &account, now)).await
}

/// What is to be reached. In the midst of a move that is what it was when the spec could be used last.
fn read(object: &DatabaseMigration, memory: &mut Memory) -> Result<Goal, Blocked> {
    let goal = Goal::parse(object)
        .or_else(|blocked| memory.goal.as_ref().and_then(|last| last.in_the_midst(object)).ok_or(blocked))?;
    memory.goal = Some(goal.clone());
    Ok(goal)
}

async fn walk(
    object: &DatabaseMigration,
    context: &Arc<Context>,
    memory: &mut Memory,
    goal: &Goal,
    account: &Account,
    now: Timestamp,
) -> Result<Duration, Fault> {
    let aws = context.aws(account).await;
    let (mut object, mut goal) = (object.clone(), goal.clone());
    if memory.seen.led > goal.decided.as_ref().map(|decided| decided.epoch) {
        // The watch is behind what this very process wrote.
        object = objects::read(&context.client, &object).await?;
        match read(&object, memory) {
            Ok(parsed) => goal = parsed,
            Err(blocked) => return refuse(&object, context, &blocked, now).await,
        }
    }
    if goal.is_moving()
        && let outage::End::Long(stand) =
            Box::pin(outage::run(context, &aws, &mut object, &mut goal, memory)).await
    {
        let (seen, decision) = *stand;
        publish::underway(&object, context, memory, &goal, &seen, &decision).await?;
        return Ok(Duration::ZERO);
    }
    let now = if memory.spans.done.is_empty() { now } else { Timestamp::now() };
    let Observed { seen, means } =
        Box::pin(observe::look(&context.client, &aws, account, &goal, memory, now)).await;
    let mut decision = decide::decide(&goal, &seen);
    let mut outcome = Ok(());
    if let Some(step) = &decision.step {
        let permit = context.leadership.permit();
        let hands = Hands { client: &context.client, aws: &aws, means: &means, permit: &permit };
        if let Step::Decide(decide) = step {
            // A decision is all of this turn: what it led to is looked at first.
            let recorded = act::record(&hands, &object, &goal, memory, decide).await;
            performed(&object, context, &goal, step, &recorded.as_ref().map(|_| ()).map_err(Clone::clone))
                .await;
            recorded?;
            return Ok(Duration::ZERO);
        }
        outcome = Box::pin(act::act(&hands, &object, &goal, &seen, memory, step)).await;
        performed(&object, context, &goal, step, &outcome).await;
    }
    let (object, goal) = (&object, &goal);
    if matches!((&decision.step, &outcome), (Some(Step::Release), Ok(()))) {
        context.databases.forget(&goal.migration.uid);
        context.metrics.forget(&publish::of(goal));
        return Ok(context.pace.rarely);
    }
    if matches!((&decision.step, &outcome), (Some(Step::Claim | Step::Latch(_)), Ok(()))) {
        return Ok(CLAIM_SEEN_WITHIN);
    }
    turn::tell_of_failure(&mut decision.state, &mut decision.next, &outcome, memory.failures);
    // What a beat found is part of what is reported. Without it each start of the operator would say that the lag is
    // unknown, and a moment later that it is not.
    let seen = seen::Seen { memory: memory.seen.clone(), ..seen };
    if outcome.is_ok() && decision.step.as_ref().is_some_and(Step::is_routine) {
        decision = Decision { step: decision.step, ..decide::decide(goal, &seen) };
    }
    if !turn::held_back(&decision.state, &mut memory.uncertain_since, now) {
        publish::publish(object, context, memory, goal, &seen, &decision).await?;
    }
    Ok(pause(&decision, &outcome, &context.pace, &mut memory.failures, &goal.migration.uid))
}

/// When to look again. `failures` counts those in a row.
pub fn pause(
    decision: &Decision,
    outcome: &Result<(), Fault>,
    pace: &Pace,
    failures: &mut u32,
    uid: &str,
) -> Duration {
    if let Some(pause) = turn::pause_after(&decision.state, outcome, pace, failures, uid) {
        return pause;
    }
    match &decision.step {
        Some(step) if !step.is_routine() => Duration::ZERO,
        Some(_) | None => match decision.look_again {
            LookAgain::AtOnce => Duration::ZERO,
            LookAgain::Soon => pace.soon,
            LookAgain::Steady => pace.steady,
            LookAgain::Rarely => pace.rarely,
        },
    }
}

/// Tells of a step that was tried: in the log, in a metric, and in an event if it is news.
async fn performed(
    object: &DatabaseMigration,
    context: &Context,
    goal: &Goal,
    step: &Step,
    outcome: &Result<(), Fault>,
) {
    if counted(context, goal, step, outcome) {
        publish::note(object, context, step.action(), &step.on(goal), &step.describe(goal)).await;
    }
}

/// The same without the event. True if there is one to send.
fn counted(context: &Context, goal: &Goal, step: &Step, outcome: &Result<(), Fault>) -> bool {
    let word = outcome.as_ref().map_or_else(Fault::class, |()| "ok");
    context.metrics.steps.get_or_create(&Performed { action: step.action(), outcome: word }).inc();
    let on = step.on(goal);
    match outcome {
        Ok(()) if step.is_routine() => {
            tracing::debug!(migration = goal.migration.resource(), action = step.action(), on, "step");
            false
        }
        Ok(()) => {
            tracing::info!(migration = goal.migration.resource(), action = step.action(), on, "step");
            true
        }
        Err(fault) => {
            tracing::warn!(
                migration = goal.migration.resource(),
                action = step.action(),
                on,
                class = fault.class(),
                fault = fault.message(),
                "step failed"
            );
            false
        }
    }
}

async fn refuse(
    object: &DatabaseMigration,
    context: &Context,
    blocked: &Blocked,
    now: Timestamp,
) -> Result<Duration, Fault> {
    publish::refused(object, context, blocked, now).await?;
    Ok(context.pace.rarely)
}
