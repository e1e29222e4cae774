//! Removes what was found, kind after kind, and waits until each is gone. Nothing is remembered: it may be ended at any
//! moment, and begun again.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use super::{Look, Ours, Scope, look};
use crate::aws::Aws;
use crate::aws::dms::words;
use crate::aws::inventory::{Kind, Thing};
use crate::database::decide::deletion::{WayOut, way_out_of_instance, way_out_of_task};
use crate::fault::Fault;
use crate::permit::Permit;

/// How long one kind may take: AWS's own waiter for the deletion of a replication instance gives up after an hour.
const PATIENCE: Duration = Duration::from_hours(1);
/// How often somebody who waits is told so.
const STILL: Duration = Duration::from_secs(30);
/// Calls in a row that may fail for a reason that passes.
const FAILURES_MAX: u32 = 10;

/// Removes things from one account.
pub struct Remover<'a> {
    /// The account.
    pub aws: &'a Aws,
    /// The person's.
    pub permit: &'a Permit<'a>,
    /// What is looked for.
    pub scope: &'a Scope,
    /// Time between looks.
    pub poll: Duration,
    /// Told of what happens, line by line.
    pub tell: &'a (dyn Fn(&str) + Sync),
}

impl Remover<'_> {
    /// Removes what `first` found, and says what is there afterwards.
    ///
    /// # Errors
    /// When something can't be removed, or is made again meanwhile. What was begun goes on in AWS.
    pub async fn remove(&self, first: &Look) -> Result<Look, String> {
        let mut expected: HashSet<String> = first.ours.iter().map(|ours| ours.thing.arn.clone()).collect();
        for kind in Kind::ALL {
            if first.removable(kind).next().is_none() {
                continue;
            }
            let now = self.look().await?;
            nothing_new(&now, &expected)?;
            self.clear(kind, now.removable(kind).collect()).await?;
            for ours in now.removable(kind) {
                expected.remove(&ours.thing.arn);
            }
        }
        let last = self.look().await?;
        nothing_new(&last, &expected)?;
        Ok(last)
    }

    /// Looks; what fails for a reason that passes is tried again.
    ///
    /// # Errors
    /// When it does not pass, or a person must change something.
    pub async fn look(&self) -> Result<Look, String> {
        let mut failures = 0;
        loop {
            match look(self.aws, self.scope).await {
                Ok(look) => return Ok(look),
                Err(fault) => self.bear(&fault, &mut failures).await?,
            }
        }
    }

    /// Removes everything of one kind, and returns when it is gone.
    async fn clear(&self, kind: Kind, mut todo: Vec<&Ours>) -> Result<(), String> {
        let begun = Instant::now();
        let (mut told, mut failures) = (Told::default(), 0);
        loop {
            let seen = match self.aws.things(kind).await {
                Ok(seen) => seen,
                Err(fault) => {
                    self.bear(&fault, &mut failures).await?;
                    continue;
                }
            };
            let mut left = Vec::new();
            for ours in todo {
                let Thing { identifier, arn, .. } = &ours.thing;
                if let Some(again) = seen.iter().find(|s| s.identifier == *identifier && s.arn != *arn) {
                    return Err(made_again(again));
                }
                let Some(thing) = seen.iter().find(|seen| seen.arn == *arn) else {
                    (self.tell)(&format!("{} {identifier}: gone", kind.as_str()));
                    continue;
                };
                left.push(ours);
                match self.push(ours, thing).await {
                    Ok(doing) => {
                        failures = 0;
                        told.say(self, identifier, &format!("{} {identifier}: {doing}", kind.as_str()));
                    }
                    // No failure; how long it may last is bounded by the clock.
                    Err(Fault::Wait(busy)) => told.say(self, identifier, &busy),
                    Err(fault) => self.bear(&fault, &mut failures).await?,
                }
            }
            if left.is_empty() {
                return Ok(());
            }
            if begun.elapsed() > PATIENCE {
                return Err(format!(
                    "after {} minutes AWS still has {} of kind {}. It is safe to run this command again",
                    PATIENCE.as_secs() / 60,
                    left.len(),
                    kind.as_str()
                ));
            }
            todo = left;
            tokio::time::sleep(self.poll).await;
        }
    }

    /// Takes the next step with one thing, and says which.
    async fn push(&self, ours: &Ours, thing: &Thing) -> Result<String, Fault> {
        match way_out(thing) {
            WayOut::Stop => {
                self.aws.dms.stop_task(self.permit, &ours.owner, &thing.arn).await?;
                Ok("told to stop".to_owned())
            }
            WayOut::Delete => {
                self.aws.delete(self.permit, &ours.owner, thing).await?;
                Ok("told to go".to_owned())
            }
            WayOut::Wait => Ok(format!("waiting, it is {}", thing.state)),
        }
    }

    /// A fault that passes is told and waited for; any other ends it.
    async fn bear(&self, fault: &Fault, failures: &mut u32) -> Result<(), String> {
        *failures += 1;
        let passes = matches!(fault, Fault::Again(_) | Fault::Wait(_) | Fault::Unknown(_));
        if !passes || *failures > FAILURES_MAX {
            return Err(format!("{fault}. It is safe to run this command again"));
        }
        (self.tell)(fault.message());
        tokio::time::sleep(self.poll).await;
        Ok(())
    }
}

/// What may be done with it in its state.
fn way_out(thing: &Thing) -> WayOut {
    match thing.kind {
        Kind::Task => way_out_of_task(&words::task_status(&thing.state)),
        Kind::Instance => way_out_of_instance(&words::instance_status(&thing.state)),
        Kind::Endpoint if thing.state == "deleting" => WayOut::Wait,
        Kind::Endpoint | Kind::Alarm | Kind::Dashboard | Kind::Certificate | Kind::SubnetGroup => {
            WayOut::Delete
        }
    }
}

/// What is there now was there at the beginning, and is not gone yet. Else somebody makes it again.
fn nothing_new(now: &Look, expected: &HashSet<String>) -> Result<(), String> {
    now.ours
        .iter()
        .find(|ours| !expected.contains(&ours.thing.arn))
        .map_or(Ok(()), |new| Err(made_again(&new.thing)))
}

fn made_again(thing: &Thing) -> String {
    format!(
        "{} {} was made while things were being deleted: an operator works on this migration. Stop the operator, or delete \
         its DatabaseMigration and let the operator clean up; then run this command again",
        thing.kind.as_str(),
        thing.identifier
    )
}

/// What was last said of each, so that only news are told, and that it still goes on.
#[derive(Default)]
struct Told(HashMap<String, (String, Instant)>);

impl Told {
    fn say(&mut self, remover: &Remover<'_>, of: &str, line: &str) {
        let now = Instant::now();
        let is_news =
            self.0.get(of).is_none_or(|(last, at)| last != line || now.duration_since(*at) >= STILL);
        if is_news {
            (remover.tell)(line);
            self.0.insert(of.to_owned(), (line.to_owned(), now));
        }
    }
}
