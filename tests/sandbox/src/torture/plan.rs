//! What goes wrong in a round, and when: drawn from the dice, all of it before the round begins.

use std::fmt;
use std::time::Duration;

use super::deed::{Deed, Person};
use crate::bank::probe::Side;
use crate::dice::Dice;

/// The part of a round that a misfortune belongs to. Its time counts from the part's beginning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Stage {
    /// From the resource on, while everything is made and loaded.
    Making,
    /// While the target follows.
    Following,
    /// From the moved goal on.
    Moving,
    /// From when nobody may write to the source.
    Fenced,
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Making => "making",
            Self::Following => "following",
            Self::Moving => "moving",
            Self::Fenced => "fenced",
        })
    }
}

/// All of a round.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    /// In the order in which they come.
    deeds: Vec<(Stage, Duration, Deed)>,
    pub(super) max_write_outage: &'static str,
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "maxWriteOutage {}", self.max_write_outage)?;
        for (stage, at, deed) in &self.deeds {
            write!(f, "; {stage} +{} ms {deed}", at.as_millis())?;
        }
        Ok(())
    }
}

impl Plan {
    /// One to five misfortunes; in a fifth of the rounds the target is gone for longer than nobody may write.
    pub(super) fn draw(dice: &mut Dice) -> Self {
        let max_write_outage = *dice.one_of(&["5s", "8s", "20s"]);
        let mut plan = Self { deeds: Vec::new(), max_write_outage };
        if dice.below(5) == 0 {
            plan.target_gone(dice);
        }
        for _ in 0..=dice.below(4) {
            let stage = *dice.one_of(&[
                Stage::Making,
                Stage::Following,
                Stage::Moving,
                Stage::Moving,
                Stage::Fenced,
                Stage::Fenced,
                Stage::Fenced,
            ]);
            plan.misfortune(stage, dice);
        }
        plan.deeds.sort_by_key(|(stage, at, _)| (*stage, *at));
        plan
    }

    pub(super) fn of(&self, stage: Stage) -> Vec<(Duration, Deed)> {
        let of = self.deeds.iter().filter(|(of, ..)| *of == stage);
        of.map(|(_, at, deed)| (*at, deed.clone())).collect()
    }

    pub(super) fn has(&self, stage: Stage) -> bool {
        self.deeds.iter().any(|(of, ..)| *of == stage)
    }

    pub(super) fn holds_the_marker(&self) -> bool {
        self.deeds.iter().any(|(.., deed)| *deed == Deed::LetGoOfTheMarker)
    }

    /// The kinds of the misfortunes, without their ends.
    pub(super) fn kinds(&self) -> Vec<String> {
        self.deeds.iter().filter_map(|(.., deed)| deed.kind()).collect()
    }

    fn add(&mut self, stage: Stage, at: u64, deed: Deed) {
        self.deeds.push((stage, Duration::from_millis(at), deed));
    }

    /// The marker can't arrive, the target is killed, and comes back when the time is over.
    fn target_gone(&mut self, dice: &mut Dice) {
        self.max_write_outage = "5s";
        let at = dice.below(1_000);
        self.add(Stage::Fenced, at, Deed::LetGoOfTheMarker);
        self.add(Stage::Fenced, at, Deed::Kill(Side::Target));
        self.add(Stage::Fenced, at + 6_000 + dice.below(3_000), Deed::Start(Side::Target));
    }

    fn misfortune(&mut self, stage: Stage, dice: &mut Dice) {
        let within = if stage == Stage::Fenced { 1_200 } else { 2_500 };
        let at = dice.below(within);
        let side = *dice.one_of(&[Side::Source, Side::Target]);
        let longest = if dice.below(3) == 0 { 12_000 } else { 2_500 };
        let lasts = 200 + dice.below(longest);
        match dice.below(15) {
            3 | 4 => self.add(stage, at, Deed::KillOperator),
            5 => {
                // Sometimes longer than any lease.
                let lasts = if dice.below(3) == 0 { 17_000 + dice.below(4_000) } else { lasts };
                self.add(stage, at, Deed::FreezeOperator);
                self.add(stage, at + lasts, Deed::ThawOperator);
            }
            6 | 7 => {
                self.add(stage, at, Deed::Kill(side));
                self.add(stage, at + lasts, Deed::Start(side));
            }
            8 => self.add(stage, at, Deed::Restart(side)),
            9 => {
                self.add(stage, at, Deed::Freeze(side));
                self.add(stage, at + lasts, Deed::Thaw(side));
            }
            10 => {
                self.add(stage, at, Deed::FreezeKubernetes);
                self.add(stage, at + lasts, Deed::ThawKubernetes);
            }
            11 => self.add(stage, at, Deed::CutSessions(side)),
            12 if stage > Stage::Making => match dice.below(3) {
                0 => self.add(stage, at, Deed::Says(Person::GoBack)),
                1 => self.add(stage, at, Deed::Says(Person::Abort)),
                _ => {
                    self.add(stage, at, Deed::Says(Person::Suspend));
                    self.add(stage, at + lasts, Deed::Says(Person::Resume));
                }
            },
            13 if stage > Stage::Making => match dice.below(4) {
                0 => self.add(stage, at, Deed::LoseSlot),
                1 => self.add(stage, at, Deed::Aws(fail_task(dice))),
                _ => {
                    self.add(stage, at, Deed::Prepare);
                    self.add(stage, at + lasts, Deed::RollBackPrepared);
                }
            },
            _ => self.add(stage, at, Deed::Aws(aws(dice))),
        }
    }
}

fn fail_task(dice: &mut Dice) -> String {
    let kind = dice.one_of(&["recoverable", "fatal"]);
    format!("fail-task dms-task-payments-db-dev {kind}")
}

fn aws(dice: &mut Dice) -> String {
    let kind = *dice.one_of(&[
        "throttle",
        "error500",
        "timeout-before",
        "timeout-after",
        "access-denied",
        "expired-token",
        "stale",
    ]);
    if kind == "stale" {
        return format!("stale dms:Describe* --lag {} --for {}", 1 + dice.below(10), 2 + dice.below(8));
    }
    let operation = dice.one_of(&[
        "*",
        "dms:*",
        "dms:Create*",
        "dms:Describe*",
        "dms:StartReplicationTask",
        "dms:StopReplicationTask",
        "dms:DeleteReplicationTask",
        "dms:TestConnection",
        "cloudwatch:*",
        "rds:*",
        "sts:*",
    ]);
    if dice.below(2) == 0 {
        format!("{kind} {operation} --times {}", 1 + dice.below(5))
    } else {
        format!("{kind} {operation} --for {}", 1 + dice.below(8))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::serve::fault::Command;

    #[test]
    fn a_seed_draws_the_same_plan_again_and_all_kinds_are_drawn() {
        let mut kinds = std::collections::BTreeSet::new();
        for seed in 0..500 {
            let plan = Plan::draw(&mut Dice::new(seed));
            assert_eq!(plan.to_string(), Plan::draw(&mut Dice::new(seed)).to_string());
            for (.., deed) in &plan.deeds {
                if let Deed::Aws(words) = deed {
                    let words: Vec<&str> = words.split(' ').collect();
                    assert!(Command::parse(&words).is_ok(), "{words:?}");
                }
            }
            kinds.extend(plan.kinds());
        }
        assert!(kinds.len() >= 18, "{kinds:?}");
    }
}
