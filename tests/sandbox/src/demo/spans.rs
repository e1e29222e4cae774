//! How long each step of a cutover took, as `status.history` says.

use std::time::Duration;

use serde_json::Value;

/// The steps that no cutover goes without.
pub(crate) const STEPS: [&str; 8] =
    ["PreCheck", "Fence", "Drain", "Freeze", "Verify", "Sequences", "ArmReverse", "Promote"];
/// How the operator says, at the end, how long nobody could write.
const OUTAGE: &str = "nobody could write for ";

/// The steps passed, and what else history has of a cutover.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Spans {
    /// Name, time and what was done, in their order. A step that was begun again is there again.
    pub(crate) steps: Vec<(String, Duration, String)>,
    /// From the fence to the opened target, if one operator saw both.
    outage: Option<Duration>,
}

impl Spans {
    pub(super) fn of(history: &Value) -> Self {
        let mut spans = Self::default();
        for entry in history.as_array().into_iter().flatten() {
            let evidence = entry["evidence"].as_str().unwrap_or_default();
            if let Some(step) = entry["step"].as_str() {
                let took =
                    evidence.split_once("ms").and_then(|(took, rest)| Some((took.parse().ok()?, rest)));
                let (took, what) = took.unwrap_or((0, evidence));
                let what = what.trim_start_matches([':', ' ']).to_owned();
                spans.steps.push((step.to_owned(), Duration::from_millis(took), what));
            }
            let said = evidence.split_once(OUTAGE).and_then(|(_, rest)| rest.split_once(" ms"));
            spans.outage =
                said.and_then(|(ms, _)| ms.parse().ok()).map(Duration::from_millis).or(spans.outage);
        }
        spans
    }

    /// How long a step took in all.
    pub(crate) fn of_step(&self, name: &str) -> Option<Duration> {
        let mut times = self.steps.iter().filter(|(step, _, _)| step == name).map(|(_, took, _)| *took);
        times.next().map(|first| times.fold(first, |sum, took| sum + took))
    }

    /// From the fence to the opened target: as the operator measured it, or as the sum of the steps between.
    pub(crate) fn fence_to_promote(&self) -> Duration {
        let between = STEPS.iter().skip(1).filter_map(|step| self.of_step(step));
        self.outage.unwrap_or_else(|| between.sum())
    }

    /// Steps that history lacks.
    pub(crate) fn missing(&self) -> Vec<&'static str> {
        STEPS.into_iter().filter(|step| self.of_step(step).is_none()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_read_from_history() {
        let entry = |step: &str, evidence: &str| serde_json::json!({"phase": "CuttingOver", "step": step, "evidence": evidence});
        let ms = Duration::from_millis;
        let mut history = vec![
            serde_json::json!({"phase": "CuttingOver", "evidence": "the writer moves"}),
            entry("Fence", "120ms: fence the source"),
            entry("Drain", "8ms: wait for the marker"),
            entry("Fence", "5ms: fence the source"),
        ];
        let spans = Spans::of(&history.clone().into());
        assert_eq!(spans.steps.len(), 3);
        assert_eq!(spans.of_step("Fence"), Some(ms(125)));
        assert_eq!(spans.of_step("Promote"), None);
        assert_eq!(spans.fence_to_promote(), ms(133));
        assert_eq!(spans.missing().len(), 6);
        assert_eq!(spans.steps[1].2, "wait for the marker");
        history.push(
            serde_json::json!({"phase": "Soaking", "evidence": "moved (nobody could write for 412 ms)"}),
        );
        assert_eq!(Spans::of(&history.into()).fence_to_promote(), ms(412));
    }
}
