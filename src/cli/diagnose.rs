//! `slipway diagnose`: who can write where, what the rows say, and what is safe. Changes nothing.

use super::sides::{Reach, Reached};
use crate::postgres::{Holder, Record, Server};
use crate::side::{Side, Sides};

/// Looks at both sides and says what it found.
///
/// # Errors
/// When a flag is missing, or neither side could be looked at.
pub async fn diagnose(reach: &Reach) -> Result<(), String> {
    let sides = reach.look().await?;
    for side in Side::BOTH {
        println!("{side}:");
        for line in describe(sides.get(side)) {
            println!("  {line}");
        }
    }
    let rows = Sides { source: Row::of(&sides.source), target: Row::of(&sides.target) };
    for line in verdict(&rows) {
        println!("{line}");
    }
    if Side::BOTH.iter().all(|side| !matches!(sides.get(*side), Reached::Open(_))) {
        return Err("neither side could be looked at".to_owned());
    }
    Ok(())
}

fn describe(reached: &Reached) -> Vec<String> {
    let server: &Server = match reached {
        Reached::NotAsked => return vec!["not asked: no host was given".to_owned()],
        Reached::Silent(why) => return vec![format!("no answer: {why}")],
        Reached::Open(open) => &open.1,
    };
    let mut lines = Vec::new();
    match &server.record {
        Record::Absent => lines.push("its schema slipway is empty: no migration holds it".to_owned()),
        Record::Present { migration, uid, token, slots, .. } => {
            let fence = token.fence_id.as_ref().map(|fence| format!(", fence {fence}")).unwrap_or_default();
            let whose = if uid.is_empty() { "let go of by" } else { "held by" };
            lines.push(format!("{whose} DatabaseMigration {migration}"));
            lines.push(format!(
                "its row: holder {}, decision {}{fence}, for {} s",
                token.holder.as_str(),
                token.epoch,
                token.age.as_secs()
            ));
            if let Some(reverse) = &token.reverse {
                lines.push(format!("the way back begins at {} of slot {}", reverse.lsn, reverse.slot));
            }
            if !slots.is_empty() {
                lines.push(format!("slots of the migration: {}", slots.join(", ")));
            }
        }
    }
    let writers = if server.writers.is_empty() { "nobody".to_owned() } else { server.writers.join(", ") };
    lines.push(format!("who can log in and write, besides superusers and DMS: {writers}"));
    lines.push(format!("sessions of applications: {}", server.application_sessions));
    lines
}

/// What one side's row says, and who can write in spite of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The holder; `None` without a row or an answer.
    pub holder: Option<Holder>,
    /// It answered.
    pub answered: bool,
    /// Roles that can write.
    pub writers: Vec<String>,
}

impl Row {
    fn of(reached: &Reached) -> Self {
        match reached {
            Reached::NotAsked | Reached::Silent(_) => {
                Self { holder: None, answered: false, writers: Vec::new() }
            }
            Reached::Open(open) => Self {
                holder: reached.token().map(|token| token.holder.clone()),
                answered: true,
                writers: open.1.writers.clone(),
            },
        }
    }
}

/// What is so, and what is safe.
fn verdict(rows: &Sides<Row>) -> Vec<String> {
    let mut lines = Vec::new();
    for side in Side::BOTH {
        let row = rows.get(side);
        let fenced = row.holder.as_ref().is_some_and(|holder| *holder != Holder::Side(side));
        if fenced && !row.writers.is_empty() {
            lines.push(format!(
                "WRONG: the {side} is fenced by its row, and these roles can write to it: {}. Take CONNECT from them.",
                row.writers.join(", ")
            ));
        }
    }
    let holds = |side: Side| rows.get(side).holder == Some(Holder::Side(side));
    if holds(Side::Source) && holds(Side::Target) {
        lines.push(
            "WRONG: both rows say that applications may write. Stop the applications now, and keep them from one side."
                .to_owned(),
        );
        return lines;
    }
    for side in Side::BOTH {
        if holds(side) {
            lines.push(format!("The writer is the {side}. Nothing needs to be un-fenced."));
            return lines;
        }
    }
    for side in Side::BOTH {
        let other = side.other();
        match &rows.get(side).holder {
            Some(Holder::None) => lines.push(format!(
                "Nobody is the writer: the {side} is fenced, and its role was given to nobody. Safe: \
                 slipway unfence --side {side}, whether the {other} answers or not."
            )),
            Some(Holder::Side(to)) if *to == other && !rows.get(other).answered => lines.push(format!(
                "The {side} gave the writer's role to the {other}, which does not answer here: it may be open and hold writes \
                 that the {side} lacks. Safe: nothing. Reach the {other} first."
            )),
            Some(Holder::Side(to)) if *to == other => lines.push(format!(
                "The {side} gave the writer's role to the {other}, which is not open. The operator opens it when it runs. To go \
                 back instead: slipway unfence --side {side}, which keeps the {other} shut first."
            )),
            _ => {}
        }
    }
    if lines.is_empty() {
        lines.push(
            "What can be seen does not say who the writer is. Safe: nothing, until both sides answer."
                .to_owned(),
        );
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(source: Option<Holder>, target: Option<Holder>) -> Sides<Row> {
        let row = |holder: Option<Holder>| Row { answered: holder.is_some(), holder, writers: Vec::new() };
        Sides { source: row(source), target: row(target) }
    }

    #[test]
    fn each_state_has_its_words() {
        use Holder::{Fenced, None as Nobody, Refused, Side as By};
        use Side::{Source, Target};
        for (source, target, said) in [
            (Some(By(Source)), Some(Fenced), "The writer is the source"),
            (Some(By(Source)), None, "The writer is the source"),
            (Some(By(Target)), Some(By(Target)), "The writer is the target"),
            (None, Some(By(Target)), "The writer is the target"),
            (Some(Nobody), Some(Fenced), "slipway unfence --side source"),
            (Some(Nobody), None, "slipway unfence --side source"),
            (Some(By(Target)), Some(Nobody), "slipway unfence --side target"),
            (Some(By(Target)), Some(Fenced), "keeps the target shut first"),
            (Some(By(Target)), Some(Refused), "keeps the target shut first"),
            (Some(By(Target)), None, "Safe: nothing. Reach the target first"),
            (None, Some(Fenced), "does not say who the writer is"),
            (Some(By(Source)), Some(By(Target)), "WRONG: both"),
        ] {
            let lines = verdict(&rows(source.clone(), target.clone())).join("\n");
            assert!(lines.contains(said), "{source:?} {target:?}: {lines}");
        }
    }

    #[test]
    fn whoever_writes_past_a_fence_is_named() {
        let mut rows = rows(Some(Holder::Side(Side::Source)), Some(Holder::Fenced));
        rows.target.writers = vec!["etl".to_owned()];
        assert!(
            verdict(&rows)[0]
                .contains("WRONG: the target is fenced by its row, and these roles can write to it: etl")
        );
    }
}
