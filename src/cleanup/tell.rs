//! What a person is told of it, as lines.

use super::{Left, Look, Ours, Why};
use crate::aws::UID_TAG;
use crate::aws::dms::{TaskStatus, slot_prefix, words};
use crate::aws::inventory::Kind;

/// Everything of ours in the order in which it would go, then what is left alone and why.
pub fn tables(look: &Look) -> Vec<String> {
    let mut lines = Vec::new();
    if !look.ours.is_empty() {
        let mut rows = vec![["", "KIND", "NAME", "STATE", "MADE FOR", "UID"].map(str::to_owned)];
        for (number, Ours { thing, owner, used_by }) in (1..).zip(&look.ours) {
            let state = match used_by {
                Some(user) => format!("used by {user}"),
                None if thing.state.is_empty() => "-".to_owned(),
                None => thing.state.clone(),
            };
            let order = if used_by.is_some() { "stays".to_owned() } else { number.to_string() };
            rows.push([
                order,
                thing.kind.as_str().to_owned(),
                thing.identifier.clone(),
                state,
                owner.resource.clone(),
                owner.uid.clone(),
            ]);
        }
        lines.extend(aligned(&rows));
    }
    if !look.left.is_empty() {
        if !lines.is_empty() {
            lines.push(String::new());
        }
        lines.push("Left alone:".to_owned());
        let mut rows = vec![["KIND", "NAME", "WHY"].map(str::to_owned)];
        for Left { thing, why } in &look.left {
            rows.push([thing.kind.as_str().to_owned(), thing.identifier.clone(), reason(why)]);
        }
        lines.extend(aligned(&rows));
    }
    lines
}

fn reason(why: &Why) -> String {
    match why {
        Why::Name => "Slipway calls nothing so".to_owned(),
        Why::Suffix => "another suffix".to_owned(),
        Why::NoTag => format!("no tag {UID_TAG}: Slipway did not make it"),
        Why::Tag(owner) => format!(
            "made for {} (uid {}), which has another suffix or another name",
            if owner.resource.is_empty() { "nobody by name" } else { &owner.resource },
            owner.uid
        ),
        Why::Resource(owner) => format!("made for {} (uid {})", owner.resource, owner.uid),
    }
}

/// What a person should know before it is deleted.
pub fn warnings(look: &Look) -> Vec<String> {
    let mut lines = Vec::new();
    let mut resources: Vec<&str> = look.ours.iter().map(|ours| ours.owner.resource.as_str()).collect();
    resources.sort_unstable();
    resources.dedup();
    if resources.is_empty() {
        return lines;
    }
    lines.push(format!(
        "Whether an operator still works on {} can't be known without its cluster. If one does, it makes again what is deleted \
         here: stop it first, or delete the DatabaseMigration and let it clean up.",
        resources.join(", ")
    ));
    for Ours { thing, owner, used_by } in &look.ours {
        if let Some(user) = used_by {
            lines.push(format!(
                "{} {} stays, since {user} uses it and is not to be removed.",
                thing.kind.as_str(),
                thing.identifier
            ));
            continue;
        }
        if matches!(thing.state.as_str(), "creating" | "starting" | "modifying" | "testing") {
            lines.push(format!(
                "{} {} is {} at this moment: somebody works on it, an operator for one.",
                thing.kind.as_str(),
                thing.identifier,
                thing.state
            ));
        }
        if thing.kind != Kind::Task {
            continue;
        }
        if matches!(words::task_status(&thing.state), TaskStatus::Running | TaskStatus::Starting) {
            lines.push(format!(
                "Task {} replicates for {}. That ends for good: what is written to the source from then on never reaches the \
                 target. Unless the target is the writer by now (slipway diagnose says so), the way to AWS begins anew, with an \
                 empty target.",
                thing.identifier, owner.resource
            ));
        }
        if let Some(prefix) = slot_prefix(&thing.arn) {
            lines.push(format!(
                "A replication slot of task {} may stay on the source of {} and keeps WAL there until the disk is full. As \
                 superuser, once the task is gone: SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE \
                 slot_name LIKE '{prefix}%' AND NOT active;",
                thing.identifier, owner.resource
            ));
        }
    }
    lines.push(
        "The databases are not touched: who may write stays as it is (slipway diagnose), and SELECT name FROM slipway.slot names \
         on either side the slots that the operator knew of."
            .to_owned(),
    );
    lines
}

/// Columns as wide as they need to be.
fn aligned<const N: usize>(rows: &[[String; N]]) -> Vec<String> {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or_default();
    let widths: [usize; N] = std::array::from_fn(width);
    let line = |row: &[String; N]| {
        let cells: Vec<String> =
            row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        cells.join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect()
}
