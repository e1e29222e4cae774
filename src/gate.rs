//! Gates: what must hold for something to go further. A gate passes, fails, or is not known; not known never lets anything
//! go further, and only a failure takes anything back. Pure: what was sampled is given, and the time too.

use jiff::{SignedDuration, Timestamp};

use crate::aws::cloudwatch::{AlarmState, Datapoint, Metric};
use crate::duration;
use crate::fault::Fault;
use crate::probe::{Failure, Probe};
use crate::side::Side;

#[cfg(test)]
mod tests;

/// One gate, checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Gate {
    /// How it is called.
    pub name: String,
    /// It decides. Otherwise it is only told of.
    pub enforced: bool,
    /// How often it is judged.
    pub interval: SignedDuration,
    /// Failures in a row after which it fails.
    pub failures_to_trip: u32,
    /// By what it is judged.
    pub rule: Rule,
}

/// By what a gate is judged.
#[derive(Clone, Debug, PartialEq)]
pub enum Rule {
    /// OK passes, once it speaks of nothing from before the change.
    Alarm {
        /// Its name.
        name: String,
    },
    /// A metric within its limit.
    Metric {
        /// Which.
        metric: Metric,
        /// On which side of the limit it passes.
        bound: Bound,
        /// The limit.
        limit: Limit,
        /// Fewer samples are not enough.
        min_samples: u32,
    },
    /// An answer with this status.
    Http {
        /// Who is asked.
        side: Side,
        /// For what.
        path: String,
        /// The status that passes.
        status: u16,
    },
    /// The other database is not further behind.
    DatabaseLag {
        /// The most that passes.
        max: SignedDuration,
    },
    /// Both databases were found equal.
    DatabaseVerified,
    /// The answer to a question.
    Sql {
        /// The question.
        query: String,
        /// The answer that passes.
        expect: String,
    },
}

impl Rule {
    /// It rests on the traffic that the target gets: without any, nothing can be known.
    pub fn needs_traffic(&self) -> bool {
        matches!(self, Self::Alarm { .. } | Self::Metric { .. })
    }
}

/// On which side of its limit a metric passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Bound {
    AtMost,
    AtLeast,
}

/// The limit of a metric.
#[derive(Clone, Debug, PartialEq)]
pub enum Limit {
    /// A number.
    Fixed(f64),
    /// A share of what the source has.
    OfSource {
        /// The source's metric.
        metric: Metric,
        /// 100 is as much.
        percent: u32,
    },
}

/// What was found when a gate was looked at: a fact, or why it could not be had.
#[derive(Clone, Debug, PartialEq)]
pub enum Sample {
    /// `None`: there is no such alarm.
    Alarm(Result<Option<AlarmState>, Fault>),
    /// `None`: no datapoint.
    Metric {
        /// The metric itself.
        own: Result<Option<Datapoint>, Fault>,
        /// The source's, if the limit is a share of it.
        source: Option<Result<Option<Datapoint>, Fault>>,
    },
    /// What the side answered.
    Http(Answer),
    /// How far the other database is behind, and when that was measured; `None` if nobody knows.
    DatabaseLag(Result<Option<(SignedDuration, Timestamp)>, Fault>),
    /// Whether both were equal; `None` if they were never compared.
    DatabaseVerified(Result<Option<bool>, Fault>),
    /// The one value; `None` if there was none, or more than one.
    Sql(Result<Option<String>, Fault>),
}

/// What came of asking a side over HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// A status.
    Status(u16),
    /// It refused, or can't be trusted; the words say how. That is an answer, too.
    Refused(&'static str),
    /// Nothing came, and nobody knows whether that is the side's fault; the words say what is known.
    Silent(&'static str),
}

impl From<Probe> for Answer {
    fn from(probe: Probe) -> Self {
        match probe {
            Probe::Answered { status, .. } => Self::Status(status),
            Probe::Failed(failure) => match failure {
                Failure::Refused
                | Failure::CertificateRefused
                | Failure::TlsFailed
                | Failure::NotHttp
                | Failure::BrokenOff => Self::Refused(failure.as_str()),
                // As likely the fault of the way there, of a resolver, or of whoever asks.
                Failure::Unfit
                | Failure::NotResolved
                | Failure::Forbidden
                | Failure::Unreachable
                | Failure::TimedOut => Self::Silent(failure.as_str()),
            },
        }
    }
}

/// Whether a gate holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum Verdict {
    Pass,
    Fail,
    Unknown,
}

impl Verdict {
    /// The word as a status shows it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pass => "Pass",
            Self::Fail => "Fail",
            Self::Unknown => "Unknown",
        }
    }
}

/// A verdict and what it rests on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judgement {
    /// The verdict.
    pub verdict: Verdict,
    /// What was found, as a person reads it.
    pub value: Option<String>,
    /// Why.
    pub reason: String,
}

impl Judgement {
    fn pass(value: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { verdict: Verdict::Pass, value: Some(value.into()), reason: reason.into() }
    }

    fn fail(value: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { verdict: Verdict::Fail, value: Some(value.into()), reason: reason.into() }
    }

    fn unknown(reason: impl Into<String>) -> Self {
        Self { verdict: Verdict::Unknown, value: None, reason: reason.into() }
    }
}

/// A database's status is refreshed every 5 minutes without news: what it says is known for a little longer.
const DATABASE_FRESH_FOR: SignedDuration = SignedDuration::from_mins(6);

/// What happened is published within a minute, and alarms are evaluated each minute.
const ALARM_LATE: SignedDuration = SignedDuration::from_mins(2);
/// How far back a composite alarm is taken to look: over those that it is made of, which it does not tell.
const COMPOSITE_WINDOW: SignedDuration = SignedDuration::from_mins(5);

/// Judges one sample. `since` is when the present weight was on all servers: what was found out before speaks of another
/// one. It is `None` while a change is under way, and then nothing that rests on traffic can pass.
pub fn judge(gate: &Gate, sample: &Sample, since: Option<Timestamp>, now: Timestamp) -> Judgement {
    match (&gate.rule, sample) {
        (Rule::Alarm { name }, Sample::Alarm(found)) => match found {
            Err(fault) => Judgement::unknown(fault.message()),
            Ok(None) => Judgement::unknown(format!("there is no alarm {name}")),
            Ok(Some(state)) => alarm(state, since, now),
        },
        (Rule::Metric { bound, limit, min_samples, .. }, Sample::Metric { own, source }) => {
            let period = metric_period(gate.interval);
            let read = |found: &Result<Option<Datapoint>, Fault>, whose: &str| {
                usable(found, whose, *min_samples, since, period, gate.interval, now)
            };
            let value = match read(own, "") {
                Ok(value) => value,
                Err(why) => return Judgement::unknown(why),
            };
            let (limit, words) = match (limit, source) {
                (Limit::Fixed(limit), _) => (*limit, limit.to_string()),
                (Limit::OfSource { percent, .. }, Some(source)) => match read(source, "the source's ") {
                    Ok(of) => (
                        of * f64::from(*percent) / 100.0,
                        format!("{percent} % of the source's {}", short(of)),
                    ),
                    Err(why) => return Judgement::unknown(why),
                },
                (Limit::OfSource { .. }, None) => {
                    return Judgement::unknown("the source's metric was not asked for");
                }
            };
            within(value, *bound, limit, &words)
        }
        (Rule::Http { status, .. }, Sample::Http(answer)) => match answer {
            Answer::Status(found) if found == status => Judgement::pass(found.to_string(), "as expected"),
            Answer::Status(found) => Judgement::fail(found.to_string(), format!("{status} is expected")),
            Answer::Refused(word) => Judgement::fail(*word, format!("{status} is expected")),
            Answer::Silent(word) => Judgement::unknown(*word),
        },
        (Rule::DatabaseLag { max }, Sample::DatabaseLag(found)) => match found {
            Err(fault) => Judgement::unknown(fault.message()),
            Ok(None) => Judgement::unknown("the lag is not known"),
            Ok(Some((lag, at))) => {
                let fresh_for = DATABASE_FRESH_FOR.max(gate.interval.saturating_mul(2));
                if now.duration_since(*at) > fresh_for {
                    return Judgement::unknown("the lag was measured too long ago");
                }
                let (value, limit) = (duration::format(*lag), duration::format(*max));
                if lag <= max {
                    Judgement::pass(value, format!("at most {limit}"))
                } else {
                    Judgement::fail(value, format!("at most {limit} is allowed"))
                }
            }
        },
        (Rule::DatabaseVerified, Sample::DatabaseVerified(found)) => match found {
            Err(fault) => Judgement::unknown(fault.message()),
            Ok(None) => Judgement::unknown("the databases were not compared"),
            Ok(Some(true)) => Judgement::pass("Equal", "both databases were found equal"),
            Ok(Some(false)) => Judgement::fail("Different", "the databases were found different"),
        },
        (Rule::Sql { expect, .. }, Sample::Sql(found)) => match found {
            Err(fault) => Judgement::unknown(fault.message()),
            Ok(None) => Judgement::unknown("the query did not return one value"),
            // The value is the application's data: it is compared, and not repeated.
            Ok(Some(value)) if value == expect => {
                Judgement::pass("as expected", "the answer is the expected one")
            }
            Ok(Some(_)) => Judgement::fail("another", "the answer is not the expected one"),
        },
        _ => Judgement::unknown("it was not looked at in the way that it is judged"),
    }
}

/// An alarm that says OK speaks of the time that it looks back over. It passes once all of that is after the change, and what
/// happened at its end was published and judged.
fn alarm(state: &AlarmState, since: Option<Timestamp>, now: Timestamp) -> Judgement {
    match state.value.as_str() {
        "ALARM" => Judgement::fail("ALARM", "the alarm rings"),
        "OK" if state.keeps => Judgement::unknown(
            "OK, but it treats missing data as ignore, so that this may be old; have it treated as missing",
        ),
        "OK" => {
            let Some(since) = since else {
                return Judgement::unknown("OK, and the weight is still changing");
            };
            let window = state.window.unwrap_or(COMPOSITE_WINDOW).saturating_add(ALARM_LATE);
            if now.duration_since(since) >= window {
                Judgement::pass("OK", "judged after the change")
            } else {
                let window = duration::format(window);
                Judgement::unknown(format!(
                    "OK, and speaks of the time since the weight changed after {window}"
                ))
            }
        }
        "INSUFFICIENT_DATA" => Judgement::unknown("INSUFFICIENT_DATA"),
        _ => Judgement::unknown("a state that Slipway does not know"),
    }
}

/// The period that a metric is asked for by: whole minutes, since most services publish once a minute.
pub fn metric_period(interval: SignedDuration) -> SignedDuration {
    let minutes = interval.as_secs().saturating_add(59) / 60;
    SignedDuration::from_mins(minutes.clamp(1, 24 * 60))
}

/// The value of a datapoint that may be judged by, or why there is none.
fn usable(
    found: &Result<Option<Datapoint>, Fault>,
    whose: &str,
    min_samples: u32,
    since: Option<Timestamp>,
    period: SignedDuration,
    interval: SignedDuration,
    now: Timestamp,
) -> Result<f64, String> {
    let point = match found {
        Err(fault) => return Err(fault.message().to_owned()),
        Ok(None) => return Err(format!("{whose}metric has no data")),
        Ok(Some(point)) => point,
    };
    if !point.value.is_finite() || !point.samples.is_finite() {
        return Err(format!("{whose}metric is not a number"));
    }
    if point.samples < f64::from(min_samples) {
        return Err(format!("{whose}metric rests on {} of {min_samples} samples", short(point.samples)));
    }
    let Some(since) = since else { return Err("the weight is still changing".to_owned()) };
    if point.at < since {
        return Err(format!("{whose}metric is from before the weight changed"));
    }
    let age = now.duration_since(point.at).checked_sub(period).unwrap_or(SignedDuration::MAX);
    if age > interval.max(period).saturating_mul(2) {
        return Err(format!("{whose}metric is too old"));
    }
    Ok(point.value)
}

fn within(value: f64, bound: Bound, limit: f64, words: &str) -> Judgement {
    let (holds, side) = match bound {
        Bound::AtMost => (value <= limit, "at most"),
        Bound::AtLeast => (value >= limit, "at least"),
    };
    match (holds, limit.is_finite()) {
        (_, false) => Judgement::unknown("the limit is not a number"),
        (true, true) => Judgement::pass(short(value), format!("{side} {words}")),
        (false, true) => Judgement::fail(short(value), format!("{side} {words} is allowed")),
    }
}

/// As many digits as a person reads.
fn short(value: f64) -> String {
    let text = format!("{value:.3}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// What is remembered of a gate between looks. It may be lost: then nothing is known until it is judged again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Track {
    /// When it was judged last.
    pub judged_at: Timestamp,
    /// What came of it.
    pub last: Judgement,
    /// Failures in a row. What is not known neither adds to them nor ends them.
    pub failures: u32,
}

impl Track {
    /// After one more judgement.
    #[must_use]
    pub fn after(previous: Option<&Self>, judgement: Judgement, now: Timestamp) -> Self {
        let before = previous.map_or(0, |track| track.failures);
        let failures = match judgement.verdict {
            Verdict::Pass => 0,
            Verdict::Fail => before.saturating_add(1),
            Verdict::Unknown => before,
        };
        Self { judged_at: now, last: judgement, failures }
    }
}

/// Whether a gate is to be judged again now.
pub fn is_due(gate: &Gate, track: Option<&Track>, now: Timestamp) -> bool {
    // A clock that was set back must not silence a gate.
    track.is_none_or(|track| {
        let age = now.duration_since(track.judged_at);
        age >= gate.interval || age.is_negative()
    })
}

/// How a gate stands now. A pass must be fresh, and from after the change; a failure counts from its last time on until it
/// is too old to be known.
pub fn standing(gate: &Gate, track: Option<&Track>, since: Option<Timestamp>, now: Timestamp) -> Judgement {
    let Some(track) = track else { return Judgement::unknown("not judged yet") };
    let age = now.duration_since(track.judged_at);
    if age > gate.interval.saturating_mul(2) || age.is_negative() {
        return unknown_of(track, "judged too long ago");
    }
    match track.last.verdict {
        Verdict::Fail if track.failures < gate.failures_to_trip => unknown_of(
            track,
            &format!("failed {} of {} times in a row", track.failures, gate.failures_to_trip),
        ),
        Verdict::Pass if since.is_none_or(|since| track.judged_at < since) => {
            unknown_of(track, "not judged since the weight changed")
        }
        Verdict::Pass | Verdict::Fail | Verdict::Unknown => track.last.clone(),
    }
}

fn unknown_of(track: &Track, reason: &str) -> Judgement {
    Judgement { verdict: Verdict::Unknown, value: track.last.value.clone(), reason: reason.to_owned() }
}
