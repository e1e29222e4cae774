//! `slipway cleanup`: removes what an operator left in AWS, by names and tags, without a cluster. Shows it unless it is told
//! to delete.

use std::io::{BufRead, Write};
use std::sync::Arc;
use std::time::Duration;

use clap::Args;

use crate::aws::{Account, Aws, CallObserver};
use crate::cleanup::remove::Remover;
use crate::cleanup::{Look, Scope, tell};
use crate::database::goal::is_identifier;
use crate::permit::Leadership;

/// Flags of `cleanup`.
#[derive(Clone, Debug, Args)]
pub struct Cleanup {
    /// `spec.environmentSuffix`: only what was made with this suffix.
    #[arg(long, value_parser = suffix)]
    pub environment_suffix: String,
    /// AWS region. Account and credentials are those of the AWS SDK's usual sources, such as `AWS_PROFILE`.
    #[arg(long, default_value = "us-east-1", env = "AWS_REGION")]
    pub region: String,
    /// Only what was made for this migration: `namespace/name`.
    #[arg(long, value_parser = resource)]
    pub resource: Option<String>,
    /// Delete, and not only show.
    #[arg(long)]
    pub delete: bool,
    /// Do not ask.
    #[arg(long, requires = "delete")]
    pub yes: bool,
    /// Seconds between looks while AWS is at work.
    #[arg(long, default_value = "5", value_parser = super::seconds)]
    pub poll: Duration,
}

fn suffix(text: &str) -> Result<String, String> {
    if is_identifier(text) && text.len() <= 20 {
        Ok(text.to_owned())
    } else {
        Err("1 to 20 lower case letters, digits and single hyphens".to_owned())
    }
}

fn resource(text: &str) -> Result<String, String> {
    match text.split_once('/') {
        Some((namespace, name)) if !namespace.is_empty() && is_identifier(name) => Ok(text.to_owned()),
        _ => Err("namespace/name".to_owned()),
    }
}

/// Nobody counts a person's calls.
struct Uncounted;

impl CallObserver for Uncounted {
    fn called(&self, _service: &'static str, _operation: &'static str, _outcome: &'static str) {}
}

/// Shows what is left, and removes it if that was asked for.
///
/// # Errors
/// When AWS can't be looked at, or something of ours is left that was to be deleted.
pub async fn cleanup(flags: &Cleanup) -> Result<(), String> {
    let scope = Scope { suffix: flags.environment_suffix.clone(), resource: flags.resource.clone() };
    let account =
        Account { account_id: None, region: flags.region.clone(), role_arn: None, external_id: None };
    let aws = Box::pin(Aws::connect(&account, Arc::new(Uncounted))).await;
    let id = aws.identity().await.map_err(|fault| fault.message().to_owned())?;
    let place = format!("account {id}, region {}", flags.region);
    // By hand, and so without a lease. What keeps it apart from an operator is the person, who is told.
    let leadership = Leadership::acquire().ok_or("another part of this process acts already")?;
    let permit = leadership.permit();
    let say = |line: &str| println!("{line}");
    let remover = Remover { aws: &aws, permit: &permit, scope: &scope, poll: flags.poll, tell: &say };

    let first = remover.look().await?;
    show(&first, &scope, &place);
    if !flags.delete || first.ours.is_empty() {
        if !first.ours.is_empty() {
            println!("Nothing was changed. The same command with --delete removes what has a number.");
        }
        return Ok(());
    }
    confirm(flags, &place)?;
    let last = remover.remove(&first).await?;
    if last.ours.is_empty() {
        println!("Nothing of Slipway's with suffix {} is left in {place}.", scope.suffix);
        return Ok(());
    }
    let stays: Vec<String> = last
        .ours
        .iter()
        .map(|ours| {
            let user = ours.used_by.as_ref().map(|user| format!(", used by {user}")).unwrap_or_default();
            format!("{} {}{user}", ours.thing.kind.as_str(), ours.thing.identifier)
        })
        .collect();
    Err(format!("not all of it could be removed; left: {}", stays.join("; ")))
}

fn show(look: &Look, scope: &Scope, place: &str) {
    let whose = scope.resource.as_ref().map(|resource| format!(" for {resource}")).unwrap_or_default();
    if look.ours.is_empty() {
        println!("Nothing of Slipway's{whose} with suffix {} is left in {place}.", scope.suffix);
    } else {
        println!(
            "What Slipway made{whose} with suffix {} in {place}, in the order in which it would go:",
            scope.suffix
        );
    }
    println!();
    for line in tell::tables(look) {
        println!("{line}");
    }
    if look.others > 0 {
        println!(
            "and {} more of these kinds, neither called as by Slipway nor with this suffix.",
            look.others
        );
    }
    for line in tell::warnings(look) {
        println!("\n{line}");
    }
    println!();
}

fn confirm(flags: &Cleanup, place: &str) -> Result<(), String> {
    if flags.yes {
        return Ok(());
    }
    eprint!(
        "Everything above that has a number is deleted in {place}, and can't be brought back. If no operator works on it any more, \
         type the suffix to go on: "
    );
    let _ = std::io::stderr().flush();
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer).map_err(|error| format!("reading the answer: {error}"))?;
    if answer.trim() == flags.environment_suffix {
        Ok(())
    } else {
        Err("not confirmed; nothing was changed".to_owned())
    }
}
