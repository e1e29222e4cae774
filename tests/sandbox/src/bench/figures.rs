//! What many cutovers took, as a table.

use std::fmt::Write as _;
use std::time::Duration;

use crate::demo::spans::{STEPS, Spans};

/// One cutover that came to its end.
#[derive(Clone, Debug)]
pub(super) struct Run {
    /// The time in which nobody took writes, as the probes saw it; none if the writer did not move.
    pub(super) outage: Option<Duration>,
    pub(super) spans: Spans,
    pub(super) acknowledged: u64,
    /// Acknowledged per second, while one side took writes.
    pub(super) rate: u64,
    pub(super) unknown: u64,
    pub(super) kills: u32,
}

impl Run {
    /// One line.
    pub(super) fn describe(&self) -> String {
        let Self { outage, spans, acknowledged, rate, unknown, kills } = self;
        let ended = match outage {
            Some(outage) => format!(
                "moved, write outage {}, fence to promote {}",
                seconds(*outage),
                seconds(spans.fence_to_promote())
            ),
            None => "given up, the source is the writer".to_owned(),
        };
        let killed = if *kills > 0 { format!("; operator killed {kills} times") } else { String::new() };
        format!("{ended}; {acknowledged} acknowledged, {rate} a second, {unknown} unknown{killed}")
    }
}

/// All of them.
#[derive(Clone, Debug, Default)]
pub(super) struct Figures {
    runs: Vec<Run>,
}

impl Figures {
    pub(super) fn add(&mut self, run: Run) {
        self.runs.push(run);
    }

    /// One row for each figure, and a line on what was lost: nothing, or this would not have been reached.
    pub(super) fn table(&self) -> String {
        let moved: Vec<&Run> = self.runs.iter().filter(|run| run.outage.is_some()).collect();
        let mut text = format!("{:<22}  {:>9}  {:>9}  {:>9}  {:>9}\n", "", "min", "median", "p99", "max");
        let mut row = |name: &str, mut times: Vec<Duration>| {
            times.sort();
            if times.is_empty() {
                return;
            }
            let _ = write!(text, "{name:<22}");
            for share in [0.0, 0.5, 0.99, 1.0] {
                let _ = write!(text, "  {:>9}", seconds(quantile(&times, share)));
            }
            text.push('\n');
        };
        row("write outage", moved.iter().filter_map(|run| run.outage).collect());
        row("fence to promote", moved.iter().map(|run| run.spans.fence_to_promote()).collect());
        let after = |run: &&Run| {
            run.outage.map_or(Duration::ZERO, |whole| whole.saturating_sub(run.spans.fence_to_promote()))
        };
        row("promote to first write", moved.iter().map(after).collect());
        for step in STEPS {
            row(&format!("  {step}"), moved.iter().filter_map(|run| run.spans.of_step(step)).collect());
        }
        let sum = |count: fn(&Run) -> u64| self.runs.iter().map(count).sum::<u64>();
        let _ = write!(
            text,
            "{} runs: {} moved, {} given up; {} writes acknowledged, {} unknown; 0 missing, 0 duplicated, 0 overlaps; \
             operator killed {} times",
            self.runs.len(),
            moved.len(),
            self.runs.len() - moved.len(),
            sum(|run| run.acknowledged),
            sum(|run| run.unknown),
            sum(|run| u64::from(run.kills)),
        );
        text
    }
}

fn seconds(duration: Duration) -> String {
    format!("{:.3} s", duration.as_secs_f64())
}

/// The smallest of the sorted times that is not exceeded by this share of them.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "there are never so many runs"
)]
fn quantile(sorted: &[Duration], share: f64) -> Duration {
    let rank = (sorted.len() as f64 * share).ceil() as usize;
    sorted.get(rank.saturating_sub(1)).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_measured_values() {
        let times: Vec<Duration> = (1..=50).map(Duration::from_millis).collect();
        let at = |share| quantile(&times, share).as_millis();
        assert_eq!([at(0.0), at(0.5), at(0.99), at(1.0)], [1, 25, 50, 50]);
        assert_eq!(quantile(&times[..1], 0.5).as_millis(), 1);
    }

    #[test]
    fn runs_that_were_given_up_have_no_outage_and_are_counted() {
        let run =
            |outage| Run { outage, spans: Spans::default(), acknowledged: 10, rate: 5, unknown: 1, kills: 2 };
        let mut figures = Figures::default();
        figures.add(run(Some(Duration::from_millis(400))));
        figures.add(run(None));
        let table = figures.table();
        assert!(table.contains("write outage              0.400 s    0.400 s"), "{table}");
        assert!(table.contains("2 runs: 1 moved, 1 given up; 20 writes acknowledged, 2 unknown;"), "{table}");
        assert!(run(None).describe().contains("given up"));
    }
}
