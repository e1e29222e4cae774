//! Source transactions onto the target, in commit order, each as a whole, with the position in the same transaction.

use std::time::Duration;

use futures::{StreamExt, pin_mut};
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, sleep_until},
};
use tokio_postgres::SimpleQueryMessage;

use super::{
    capture::{Ready, Transaction},
    connect::{Failure, Session, describe},
    control::Control,
    progress::{Kind, Ledger},
    replication::Lsn,
};
use crate::plane::{Settings, TableName};

/// Of the transactions that wait, so many statements are committed at once. An idle task commits each by itself; one that
/// is behind pays for fewer commits. Either way the target is at a point that the source was at.
const GROUP: usize = 400;

pub(super) struct Applier {
    pub(super) target: Session,
    pub(super) control: Control,
    pub(super) settings: Settings,
    /// How long a change is kept before it is applied.
    pub(super) latency: Duration,
    pub(super) ledger: Ledger,
    /// Position of the last transaction committed on the target.
    pub(super) at: Lsn,
    pub(super) applied: watch::Sender<Lsn>,
}

/// A statement that was refused.
struct Trouble {
    /// Its index; `None` if it was one of ours around the changes.
    change: Option<usize>,
    failure: Failure,
}

impl Applier {
    /// Applies until told to stop.
    pub(super) async fn run(
        &mut self,
        transactions: &mut mpsc::UnboundedReceiver<Transaction>,
        stop: &mut watch::Receiver<bool>,
    ) -> Result<(), Failure> {
        let mut held = None;
        loop {
            let next = async {
                match held.take() {
                    None => transactions.recv().await,
                    held => held,
                }
            };
            let first = tokio::select! {
                biased;
                _ = stop.wait_for(|stop| *stop) => return Ok(()),
                transaction = next => transaction,
                () = self.target.lost() => {
                    return Err(Failure::Lost("the target ended the session".to_owned()));
                }
            };
            let Some(first) = first else {
                return Err(Failure::Lost("the session that reads the slot has ended".to_owned()));
            };
            if !self.latency.is_zero() {
                tokio::select! {
                    biased;
                    // What was not applied stays in the source's log.
                    _ = stop.wait_for(|stop| *stop) => return Ok(()),
                    () = sleep_until(first.captured + self.latency) => {}
                }
            }
            let mut size = first.changes.len();
            let mut group = vec![first];
            while size < GROUP {
                let Ok(next) = transactions.try_recv() else { break };
                if next.captured + self.latency > Instant::now() {
                    held = Some(next);
                    break;
                }
                size += next.changes.len();
                group.push(next);
            }
            self.apply(&group).await?;
        }
    }

    async fn apply(&mut self, group: &[Transaction]) -> Result<(), Failure> {
        let Err(trouble) = self.attempt(group).await else { return Ok(()) };
        let changes = || group.iter().flat_map(|transaction| &transaction.changes);
        let (change, why) = match trouble {
            Trouble { change: Some(change), failure: Failure::Fatal(why) } => (change, why),
            Trouble { change: Some(change), failure: Failure::Denied(why) } => {
                let refused = changes().nth(change);
                return Err(Failure::Denied(refused.map_or(why.clone(), |refused| complaint(refused, &why))));
            }
            Trouble { failure, .. } => return Err(failure),
        };
        self.run_one("ROLLBACK").await?;
        if group.len() > 1 {
            // Those before the one that can't be applied are committed all the same.
            for transaction in group {
                Box::pin(self.apply(std::slice::from_ref(transaction))).await?;
            }
            return Ok(());
        }
        if self.settings.strict {
            let refused = changes().nth(change);
            let position = group.last().map(|transaction| transaction.end).unwrap_or_default();
            return Err(Failure::Fatal(format!(
                "{}, in the source's transaction that ends at {position}",
                refused.map_or(why.clone(), |refused| complaint(refused, &why)),
            )));
        }
        for transaction in group {
            self.apply_leniently(transaction).await?;
        }
        Ok(())
    }

    /// One target transaction for the group.
    async fn attempt(&mut self, group: &[Transaction]) -> Result<(), Trouble> {
        let Some(last) = group.last() else { return Ok(()) };
        let ours = |failure| Trouble { change: None, failure };
        let advance = self.control.advance(self.at, last.end, &last.commit_time);
        let mut sql = String::from("BEGIN");
        if self.settings.recovery_table {
            // First, because its row lock keeps out a dying session of ours that is not yet gone.
            sql.push_str(";\n");
            sql.push_str(&advance);
        }
        let around = if self.settings.recovery_table { 2 } else { 1 };
        let mut changes = Vec::new();
        for (index, change) in group.iter().flat_map(|transaction| &transaction.changes).enumerate() {
            if let Some(statement) = &change.sql {
                sql.push_str(";\n");
                sql.push_str(statement);
                changes.push(index);
            }
        }
        let (rows, refused) = self.run_all(&sql).await;
        if self.settings.recovery_table && rows.get(1).is_some_and(|rows| *rows != 1) {
            return Err(ours(moved()));
        }
        for (rows, change) in rows.iter().skip(around).zip(&changes) {
            if *rows != 1 {
                let failure = Failure::Fatal(format!("{rows} rows found on the target where one belongs"));
                return Err(Trouble { change: Some(*change), failure });
            }
        }
        if let Some(error) = refused {
            let change = rows.len().checked_sub(around).and_then(|index| changes.get(index).copied());
            return Err(Trouble { change, failure: judge(&error) });
        }
        self.run_one("COMMIT").await.map_err(ours)?;
        if !self.settings.recovery_table {
            let (rows, refused) = self.run_all(&advance).await;
            match refused {
                Some(error) => return Err(ours(judge(&error))),
                None if rows != [1] => return Err(ours(moved())),
                None => {}
            }
        }
        self.arrived(last.end, &[]);
        Ok(())
    }

    /// As AWS's lenient error policies do: what can't be applied is noted and skipped.
    async fn apply_leniently(&mut self, transaction: &Transaction) -> Result<(), Failure> {
        self.run_one("BEGIN").await?;
        let advance = self.control.advance(self.at, transaction.end, &transaction.commit_time);
        if self.run_one(&advance).await? != 1 {
            return Err(moved());
        }
        let mut skipped = Vec::new();
        for change in &transaction.changes {
            let Some(statement) = &change.sql else { continue };
            self.run_one("SAVEPOINT change").await?;
            let why = match self.run_one(statement).await {
                Ok(1) => continue,
                Ok(rows) => format!("{rows} rows found on the target where one belongs"),
                Err(Failure::Fatal(why)) => why,
                // Nor is a change skipped because the right to make it was taken away.
                Err(lost_or_denied) => return Err(lost_or_denied),
            };
            self.run_one("ROLLBACK TO SAVEPOINT change").await?;
            tracing::warn!(error = complaint(change, &why), "change skipped");
            self.run_one(&self.control.exception(&change.table, statement, &why)).await?;
            skipped.push((change.table.clone(), change.kind));
        }
        self.run_one("COMMIT").await?;
        self.arrived(transaction.end, &skipped);
        Ok(())
    }

    fn arrived(&mut self, end: Lsn, skipped: &[(TableName, Kind)]) {
        self.at = end;
        self.ledger.settle(end, skipped);
        self.applied.send_replace(end);
    }

    async fn run_one(&self, sql: &str) -> Result<u64, Failure> {
        let (rows, refused) = self.run_all(sql).await;
        match refused {
            Some(error) => Err(judge(&error)),
            None => Ok(rows.first().copied().unwrap_or_default()),
        }
    }

    /// Runs statements in one round trip: the rows that each touched, up to the one that was refused.
    async fn run_all(&self, sql: &str) -> (Vec<u64>, Option<tokio_postgres::Error>) {
        let mut touched = Vec::new();
        let answers = match self.target.client.simple_query_raw(sql).await {
            Ok(answers) => answers,
            Err(error) => return (touched, Some(error)),
        };
        pin_mut!(answers);
        while let Some(answer) = answers.next().await {
            match answer {
                Ok(SimpleQueryMessage::CommandComplete(rows)) => touched.push(rows),
                Ok(_) => {}
                Err(error) => return (touched, Some(error)),
            }
        }
        (touched, None)
    }
}

fn judge(error: &tokio_postgres::Error) -> Failure {
    match Failure::of("applying to the target", error) {
        Failure::Fatal(_) => Failure::Fatal(describe(error)),
        Failure::Denied(_) => Failure::Denied(describe(error)),
        lost @ Failure::Lost(_) => lost,
    }
}

fn moved() -> Failure {
    Failure::Lost("the position in awsdms_txn_state was moved by another session".to_owned())
}

fn complaint(change: &Ready, why: &str) -> String {
    let kind = match change.kind {
        Kind::Insert => "INSERT into",
        Kind::Update => "UPDATE of",
        Kind::Delete => "DELETE from",
    };
    format!("{kind} table {}.{} could not be applied: {why}", change.table.schema, change.table.name)
}
