//! Composite alarms: alarms on the states of others.
//!
//! | rule | source |
//! |---|---|
//! | a rule of `ALARM("name")`, `OK("name")`, `INSUFFICIENT_DATA("name")`, TRUE, FALSE, AND, OR, NOT and parentheses | API model of PutCompositeAlarm |
//! | ALARM while the rule is true, else OK; a new one is `INSUFFICIENT_DATA` until it is judged | same |
//! | an alarm that the rule names and that is not there is refused when the rule is put | same |

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::Reply;
use crate::world::{Refusal, World};

/// `PutCompositeAlarm`
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "the API's own fields")]
pub struct PutCompositeAlarm {
    pub name: String,
    pub rule: String,
    pub description: Option<String>,
    pub actions_enabled: bool,
    pub alarm_actions: Vec<String>,
    pub tags: BTreeMap<String, String>,
}

/// A composite alarm and its state.
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "the API's own fields")]
pub struct Composite {
    pub arn: String,
    pub settings: PutCompositeAlarm,
    pub tags: BTreeMap<String, String>,
    pub state: &'static str,
    pub state_reason: String,
    pub state_updated: Timestamp,
    pub configured: Timestamp,
    rule: Rule,
}

#[derive(Clone, Debug, PartialEq)]
enum Rule {
    Is(&'static str, String),
    Always(bool),
    Not(Box<Rule>),
    And(Box<Rule>, Box<Rule>),
    Or(Box<Rule>, Box<Rule>),
}

impl World {
    pub(super) fn put_composite_alarm(&mut self, call: PutCompositeAlarm) -> Result<Reply, Refusal> {
        let refuse = |why: String| Refusal::new("ValidationError", why);
        let rule =
            parse(&call.rule).ok_or_else(|| refuse(format!("AlarmRule {:?} can't be read", call.rule)))?;
        let mut named = Vec::new();
        rule.names(&mut named);
        if let Some(name) = named.iter().find(|name| self.alarm_state(name).is_none()) {
            return Err(refuse(format!("AlarmRule names the alarm {name}, which does not exist")));
        }
        let now = self.now;
        let arn = self.names.arn("cloudwatch", "alarm", &call.name);
        let before = self.cloudwatch.composites.remove(&call.name);
        let (state, state_reason, state_updated, tags) = before.map_or_else(
            || {
                let reason = "Unchecked: Initial alarm creation".to_owned();
                ("INSUFFICIENT_DATA", reason, now, call.tags.clone())
            },
            |it| (it.state, it.state_reason, it.state_updated, it.tags),
        );
        let name = call.name.clone();
        let settings = call;
        let composite =
            Composite { arn, settings, tags, state, state_reason, state_updated, configured: now, rule };
        self.cloudwatch.composites.insert(name, composite);
        Ok(Reply::Done)
    }

    pub(super) fn judge_composites(&mut self) {
        let now = self.now;
        let verdicts: Vec<(String, bool)> = self
            .cloudwatch
            .composites
            .iter()
            .map(|(name, alarm)| (name.clone(), alarm.rule.holds(&|name| self.alarm_state(name))))
            .collect();
        for (name, holds) in verdicts {
            let Some(alarm) = self.cloudwatch.composites.get_mut(&name) else { continue };
            let state = if holds { "ALARM" } else { "OK" };
            if alarm.state != state {
                alarm.state = state;
                alarm.state_reason = format!("{} is {holds}", alarm.settings.rule);
                alarm.state_updated = now;
            }
        }
    }
}

impl Rule {
    fn names<'a>(&'a self, into: &mut Vec<&'a str>) {
        match self {
            Self::Is(_, name) => into.push(name),
            Self::Always(_) => {}
            Self::Not(rule) => rule.names(into),
            Self::And(one, other) | Self::Or(one, other) => {
                one.names(into);
                other.names(into);
            }
        }
    }

    fn holds(&self, state: &dyn Fn(&str) -> Option<&'static str>) -> bool {
        match self {
            Self::Is(wanted, name) => state(name) == Some(*wanted),
            Self::Always(holds) => *holds,
            Self::Not(rule) => !rule.holds(state),
            Self::And(one, other) => one.holds(state) && other.holds(state),
            Self::Or(one, other) => one.holds(state) || other.holds(state),
        }
    }
}

fn parse(text: &str) -> Option<Rule> {
    let mut rest = text;
    let rule = either(&mut rest, 0)?;
    rest.trim().is_empty().then_some(rule)
}

/// Nothing nests deeper.
const DEEPEST: u32 = 32;

fn either(rest: &mut &str, depth: u32) -> Option<Rule> {
    let mut rule = both(rest, depth)?;
    while word(rest, "OR") {
        rule = Rule::Or(Box::new(rule), Box::new(both(rest, depth)?));
    }
    Some(rule)
}

fn both(rest: &mut &str, depth: u32) -> Option<Rule> {
    let mut rule = single(rest, depth)?;
    while word(rest, "AND") {
        rule = Rule::And(Box::new(rule), Box::new(single(rest, depth)?));
    }
    Some(rule)
}

fn single(rest: &mut &str, depth: u32) -> Option<Rule> {
    if depth > DEEPEST {
        return None;
    }
    if word(rest, "NOT") {
        return Some(Rule::Not(Box::new(single(rest, depth + 1)?)));
    }
    for (name, holds) in [("TRUE", true), ("FALSE", false)] {
        if word(rest, name) {
            return Some(Rule::Always(holds));
        }
    }
    for state in ["INSUFFICIENT_DATA", "ALARM", "OK"] {
        if word(rest, state) {
            let inner = rest.trim_start().strip_prefix('(')?;
            let (name, after) = inner.split_once(')')?;
            *rest = after;
            let name = name.trim().trim_matches(['"', '\'']);
            // An ARN names its alarm last.
            let name = name.rsplit_once(":alarm:").map_or(name, |(_, name)| name);
            return (!name.is_empty()).then(|| Rule::Is(state, name.to_owned()));
        }
    }
    *rest = rest.trim_start().strip_prefix('(')?;
    let rule = either(rest, depth + 1)?;
    *rest = rest.trim_start().strip_prefix(')')?;
    Some(rule)
}

/// Takes a word, if it is the next.
fn word(rest: &mut &str, word: &str) -> bool {
    let Some(after) = rest.trim_start().strip_prefix(word) else { return false };
    let ends = !after.starts_with(|next: char| next.is_ascii_alphanumeric() || next == '_');
    if ends {
        *rest = after;
    }
    ends
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::Config;

    #[test]
    fn a_new_one_is_not_judged_yet_and_one_put_again_keeps_its_state() {
        let now = Timestamp::from_second(1_800_000_000).expect("a time");
        let mut world = World::new(Config::default(), now);
        let put = |world: &mut World, rule: &str| {
            world.put_composite_alarm(PutCompositeAlarm {
                name: "bank".into(),
                rule: rule.into(),
                description: None,
                actions_enabled: true,
                alarm_actions: Vec::new(),
                tags: BTreeMap::new(),
            })
        };
        put(&mut world, "TRUE").expect("put");
        assert_eq!(world.alarm_state("bank"), Some("INSUFFICIENT_DATA"));
        world.judge_composites();
        assert_eq!(world.alarm_state("bank"), Some("ALARM"));
        put(&mut world, "FALSE").expect("put");
        assert_eq!(world.alarm_state("bank"), Some("ALARM"));
        world.judge_composites();
        assert_eq!(world.alarm_state("bank"), Some("OK"));
        put(&mut world, "OK(none)").expect_err("no such alarm");
    }

    #[test]
    fn rules_hold_as_they_read() {
        let state = |name: &str| match name {
            "sick" => Some("ALARM"),
            "well" => Some("OK"),
            _ => None,
        };
        for (text, holds) in [
            ("ALARM(\"sick\")", true),
            ("ALARM(sick) AND OK(well)", true),
            ("NOT ALARM(sick) OR FALSE", false),
            ("(ALARM(well) OR OK(well)) AND NOT INSUFFICIENT_DATA(gone)", true),
            ("ALARM(arn:aws:cloudwatch:us-east-1:111122223333:alarm:sick)", true),
            ("FALSE AND TRUE OR TRUE", true),
        ] {
            assert_eq!(parse(text).expect(text).holds(&state), holds, "{text}");
        }
        let deep = "(".repeat(100);
        for text in ["", "ALARM", "ALARM()", "ALARM(a) OK(b)", "(TRUE", "TRUE)", "ORANGE", deep.as_str()] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
