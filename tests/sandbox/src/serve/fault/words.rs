//! Faults in words, as a person types them.

use super::{Order, Rule, Word};
use crate::world::{Meddling, RowState, StopKind};

/// What can be said.
pub const USAGE: &str = "\
throttle|error500|timeout-before|timeout-after|access-denied|expired-token|stale OPERATION
        [--times N] [--for SECONDS] [--lag SECONDS] [--key ACCESS_KEY_ID]
        OPERATION is dms:CreateEndpoint, dms:Describe*, dms:* or *
fail-task TASK recoverable|fatal [MESSAGE]
lose-connections testing|failed
delete-resource IDENTIFIER_OR_ARN
no-datapoints on|off
connection-test-fails MESSAGE | connection-test-fails off
switch NAME on|off
health-check ID passes|fails
service NAME [--desired TASKS] [--rolling on|off]
database IDENTIFIER [--status STATUS] [--parameter-apply-status STATUS] [--encrypted on|off]
list
clear";

/// What to ask of a running stand-in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Show the faults in force.
    List,
    /// End all faults.
    Clear,
    /// Set one, or let something happen.
    Order(Order),
}

/// The words make no sense.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}; what can be said:\n{USAGE}")]
pub struct WordsError(String);

impl Command {
    /// From words, as `["throttle", "dms:CreateEndpoint", "--times", "3"]`.
    pub fn parse<S: AsRef<str>>(words: &[S]) -> Result<Self, WordsError> {
        let words: Vec<&str> = words.iter().map(AsRef::as_ref).collect();
        let (first, rest) = words.split_first().ok_or_else(|| WordsError("nothing was said".to_owned()))?;
        let order = match (*first, rest) {
            ("list", []) => return Ok(Self::List),
            ("clear", []) => return Ok(Self::Clear),
            ("fail-task", [task, reason, message @ ..]) => Order::World(Meddling::FailTask {
                task: (*task).to_owned(),
                reason: match *reason {
                    "recoverable" => StopKind::Recoverable,
                    "fatal" => StopKind::Fatal,
                    other => return Err(WordsError(format!("{other:?} is neither recoverable nor fatal"))),
                },
                message: (!message.is_empty()).then(|| message.join(" ")),
            }),
            ("lose-connections", ["testing"]) => {
                Order::World(Meddling::LoseConnections { to: RowState::Testing })
            }
            ("lose-connections", ["failed"]) => {
                Order::World(Meddling::LoseConnections { to: RowState::Failed })
            }
            ("delete-resource", [resource]) => {
                Order::World(Meddling::DeleteResource { resource: (*resource).to_owned() })
            }
            ("no-datapoints", [word]) => Order::World(Meddling::NoDatapoints { on: on(word)? }),
            ("connection-test-fails", ["off"]) => {
                Order::World(Meddling::ConnectionTestFails { message: None })
            }
            ("connection-test-fails", [_, ..]) => {
                Order::World(Meddling::ConnectionTestFails { message: Some(rest.join(" ")) })
            }
            ("switch", [name, word]) => {
                Order::World(Meddling::Switch { name: (*name).to_owned(), on: on(word)? })
            }
            ("health-check", [id, word]) => Order::World(Meddling::HealthCheck {
                id: (*id).to_owned(),
                passes: match *word {
                    "passes" => true,
                    "fails" => false,
                    other => return Err(WordsError(format!("{other:?} is neither passes nor fails"))),
                },
            }),
            ("service", [name, options @ ..]) => service(name, options)?,
            ("database", [identifier, options @ ..]) => database(identifier, options)?,
            (kind, [operation, options @ ..]) => {
                let kind = serde_json::from_value::<Word>(kind.into())
                    .map_err(|_| WordsError(format!("{kind:?} is not known, or has the wrong arguments")))?;
                Order::Fault(rule(kind, operation, options)?)
            }
            (other, []) => return Err(WordsError(format!("{other:?} is not known, or lacks its arguments"))),
        };
        Ok(Self::Order(order))
    }
}

fn rule(kind: Word, operation: &str, options: &[&str]) -> Result<Rule, WordsError> {
    let operation = operation.to_owned();
    let mut rule =
        Rule { operation, kind, times: None, for_seconds: None, lag_seconds: None, access_key: None };
    for (option, value) in pairs(options)? {
        match option {
            "--times" => rule.times = Some(number(option, value)?),
            "--for" => rule.for_seconds = Some(number(option, value)?),
            "--lag" => rule.lag_seconds = Some(number(option, value)?),
            "--key" => rule.access_key = Some(value.to_owned()),
            other => return Err(WordsError(format!("the option {other:?} is not known"))),
        }
    }
    Ok(rule)
}

fn database(identifier: &str, options: &[&str]) -> Result<Order, WordsError> {
    let (mut new_status, mut new_apply_status, mut encrypted) = (None, None, None);
    for (option, value) in pairs(options)? {
        match option {
            "--status" => new_status = Some(value.to_owned()),
            "--parameter-apply-status" => new_apply_status = Some(value.to_owned()),
            "--encrypted" => encrypted = Some(on(value)?),
            other => return Err(WordsError(format!("the option {other:?} is not known"))),
        }
    }
    Ok(Order::World(Meddling::Database {
        identifier: identifier.to_owned(),
        status: new_status,
        parameter_apply_status: new_apply_status,
        encrypted,
    }))
}

fn service(name: &str, options: &[&str]) -> Result<Order, WordsError> {
    let (mut desired, mut rolling) = (None, None);
    for (option, value) in pairs(options)? {
        match option {
            "--desired" => desired = Some(number(option, value)?),
            "--rolling" => rolling = Some(on(value)?),
            other => return Err(WordsError(format!("the option {other:?} is not known"))),
        }
    }
    Ok(Order::World(Meddling::Service { name: name.to_owned(), desired, rolling }))
}

fn pairs<'a>(options: &[&'a str]) -> Result<Vec<(&'a str, &'a str)>, WordsError> {
    let chunks = options.chunks(2);
    chunks
        .map(|chunk| match chunk {
            [option, value] => Ok((*option, *value)),
            other => Err(WordsError(format!("{other:?} lacks its value"))),
        })
        .collect()
}

fn number(option: &str, value: &str) -> Result<u32, WordsError> {
    value.parse().map_err(|_| WordsError(format!("{option} {value:?} is not a number")))
}

fn on(word: &str) -> Result<bool, WordsError> {
    match word {
        "on" => Ok(true),
        "off" => Ok(false),
        other => Err(WordsError(format!("{other:?} is neither on nor off"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(words: &str) -> Result<Command, WordsError> {
        Command::parse(&words.split(' ').collect::<Vec<_>>())
    }

    #[test]
    fn words_become_orders_and_survive_the_wire() {
        for words in [
            "throttle dms:CreateEndpoint --times 3",
            "timeout-after * --for 60",
            "stale dms:Describe* --lag 10",
            "access-denied * --key AKIABAD",
            "fail-task task-prod fatal slot is gone",
            "lose-connections testing",
            "delete-resource task-prod",
            "no-datapoints on",
            "connection-test-fails no route to host",
            "switch vpc-role-missing on",
            "database bank --parameter-apply-status pending-reboot",
            "health-check 5a1d fails",
            "service api --desired 3 --rolling on",
        ] {
            let Command::Order(order) = parse(words).expect(words) else { unreachable!("{words}") };
            let sent = serde_json::to_vec(&order).expect("JSON");
            assert_eq!(Order::read(&sent).expect(words), order);
        }
        assert_eq!(parse("clear"), Ok(Command::Clear));
        assert_eq!(parse("list"), Ok(Command::List));
    }

    #[test]
    fn nonsense_is_refused_with_the_usage() {
        for words in
            ["", "explode *", "throttle", "throttle * --times", "throttle * --times x", "fail-task t maybe"]
        {
            assert!(parse(words).expect_err(words).to_string().contains("lose-connections"), "{words}");
        }
    }
}
