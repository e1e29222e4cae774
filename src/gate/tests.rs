//! The truth table of every rule, and what must hold for any series of samples.

use proptest::prelude::*;

use super::*;
use crate::api::condition::Reason;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + seconds).expect("a time")
}

/// The weight changed at 0, and it is 5 minutes later.
const SINCE: i64 = 0;
const NOW: i64 = 300;

fn gate(rule: Rule) -> Gate {
    Gate {
        name: "g".into(),
        enforced: true,
        interval: SignedDuration::from_mins(1),
        failures_to_trip: 1,
        rule,
    }
}

fn verdict(rule: Rule, sample: &Sample) -> Verdict {
    judge(&gate(rule), sample, Some(at(SINCE)), at(NOW)).verdict
}

fn faults() -> Vec<Fault> {
    vec![
        Fault::Again("throttled".into()),
        Fault::Wait("busy".into()),
        Fault::Unknown("no answer".into()),
        Fault::blocked(Reason::AccessDenied, "GetMetricData refused", "allow it"),
        Fault::Bug("a bug".into()),
    ]
}

fn metric() -> Metric {
    Metric { namespace: "N".into(), name: "M".into(), dimensions: vec![], statistic: "Average".into() }
}

fn limited(bound: Bound, limit: Limit) -> Rule {
    Rule::Metric { metric: metric(), bound, limit, min_samples: 30 }
}

#[allow(clippy::unnecessary_wraps)] // a sample is such a Result
fn point(at_seconds: i64, value: f64, samples: f64) -> Result<Option<Datapoint>, Fault> {
    Ok(Some(Datapoint { at: at(at_seconds), value, samples }))
}

#[test]
fn an_alarm_passes_only_at_ok_that_speaks_of_nothing_before_the_change() {
    let rule = || Rule::Alarm { name: "a".into() };
    let state = |value: &str, window: Option<i64>, keeps| {
        let window = window.map(SignedDuration::from_secs);
        Sample::Alarm(Ok(Some(AlarmState { name: "a".into(), value: value.into(), window, keeps })))
    };
    // It is five minutes later, and what happens is published and judged within two.
    for (value, window, keeps, expected) in [
        ("OK", Some(60), false, Verdict::Pass),
        ("OK", Some(180), false, Verdict::Pass),
        ("OK", Some(181), false, Verdict::Unknown),
        ("OK", None, false, Verdict::Unknown),
        ("OK", Some(60), true, Verdict::Unknown),
        ("ALARM", Some(60), false, Verdict::Fail),
        ("ALARM", Some(900), true, Verdict::Fail),
        ("ALARM", None, false, Verdict::Fail),
        ("INSUFFICIENT_DATA", Some(60), false, Verdict::Unknown),
        ("ok", Some(60), false, Verdict::Unknown),
        ("", Some(60), false, Verdict::Unknown),
    ] {
        let sample = state(value, window, keeps);
        assert_eq!(verdict(rule(), &sample), expected, "{value} {window:?} {keeps}");
        let changing = judge(&gate(rule()), &sample, None, at(NOW)).verdict;
        assert_eq!(changing, if value == "ALARM" { Verdict::Fail } else { Verdict::Unknown });
    }
    let composite = state("OK", None, false);
    assert_eq!(judge(&gate(rule()), &composite, Some(at(SINCE)), at(420)).verdict, Verdict::Pass);
    assert_eq!(verdict(rule(), &Sample::Alarm(Ok(None))), Verdict::Unknown);
}

#[test]
fn a_metric_passes_only_by_enough_fresh_numbers_within_its_limit() {
    use Verdict::{Fail, Pass, Unknown};
    let own = |own| Sample::Metric { own, source: None };
    for (bound, value, expected) in [
        (Bound::AtMost, 5.0, Pass),
        (Bound::AtMost, 5.1, Fail),
        (Bound::AtLeast, 5.0, Pass),
        (Bound::AtLeast, 4.9, Fail),
        (Bound::AtMost, f64::NAN, Unknown),
        (Bound::AtLeast, f64::NAN, Unknown),
        (Bound::AtMost, f64::NEG_INFINITY, Unknown),
        (Bound::AtLeast, f64::INFINITY, Unknown),
    ] {
        let found = verdict(limited(bound, Limit::Fixed(5.0)), &own(point(180, value, 30.0)));
        assert_eq!(found, expected, "{bound:?} {value}");
    }
    let rule = || limited(Bound::AtMost, Limit::Fixed(5.0));
    for (sample, why) in [
        (Ok(None), "no data"),
        (point(180, 1.0, 29.0), "too few samples"),
        (point(180, 9.0, 29.0), "too few samples, even of a failure"),
        (point(180, 1.0, f64::NAN), "an unknown number of samples"),
        (point(-1, 1.0, 30.0), "from before the change"),
        (point(119, 1.0, 30.0), "older than two intervals after its period"),
    ] {
        assert_eq!(verdict(rule(), &own(sample)), Unknown, "{why}");
    }
    assert_eq!(verdict(rule(), &own(point(120, 1.0, 30.0))), Pass);
    let changing = judge(&gate(rule()), &own(point(180, 1.0, 30.0)), None, at(NOW));
    assert_eq!(changing.verdict, Unknown);
    let nan = limited(Bound::AtMost, Limit::Fixed(f64::NAN));
    assert_eq!(verdict(nan, &own(point(180, 1.0, 30.0))), Unknown);
}

#[test]
fn a_ratio_needs_both_sides() {
    use Verdict::{Fail, Pass, Unknown};
    let rule = || limited(Bound::AtMost, Limit::OfSource { metric: metric(), percent: 120 });
    let sample = |own, source| Sample::Metric { own, source };
    let good = || point(180, 12.0, 30.0);
    for (sample, expected, why) in [
        (sample(good(), Some(point(180, 10.0, 30.0))), Pass, "at the limit"),
        (sample(good(), Some(point(180, 9.9, 30.0))), Fail, "above it"),
        (sample(point(180, 0.0, 30.0), Some(point(180, 0.0, 30.0))), Pass, "nothing of nothing"),
        (sample(good(), Some(point(180, 0.0, 30.0))), Fail, "something of nothing"),
        (sample(good(), Some(point(180, 10.0, 1.0))), Unknown, "too few samples of the source"),
        (sample(good(), Some(point(-1, 10.0, 30.0))), Unknown, "an old one of the source"),
        (sample(good(), Some(Ok(None))), Unknown, "none of the source"),
        (sample(good(), Some(Err(Fault::Again("x".into())))), Unknown, "the source can't be asked"),
        (sample(good(), None), Unknown, "the source was not asked"),
    ] {
        assert_eq!(verdict(rule(), &sample), expected, "{why}");
    }
}

#[test]
fn the_other_rules_have_three_answers_too() {
    use Verdict::{Fail, Pass, Unknown};
    let http = || Rule::Http { side: Side::Target, path: "/".into(), status: 204 };
    for (answer, expected) in [
        (Answer::Status(204), Pass),
        (Answer::Status(200), Fail),
        (Answer::Status(503), Fail),
        (Answer::Refused("connection refused"), Fail),
        (Answer::Silent("no answer within 2 s"), Unknown),
    ] {
        assert_eq!(verdict(http(), &Sample::Http(answer)), expected, "{answer:?}");
    }
    let lag = || Rule::DatabaseLag { max: SignedDuration::from_secs(5) };
    let measured = |lag: i64, at_seconds: i64| {
        Sample::DatabaseLag(Ok(Some((SignedDuration::from_millis(lag), at(at_seconds)))))
    };
    assert_eq!(verdict(lag(), &measured(5_000, 0)), Pass);
    assert_eq!(verdict(lag(), &measured(5_001, 0)), Fail);
    assert_eq!(verdict(lag(), &measured(1, NOW - 361)), Unknown);
    assert_eq!(verdict(lag(), &measured(9_999, NOW - 361)), Unknown);
    assert_eq!(verdict(lag(), &Sample::DatabaseLag(Ok(None))), Unknown);
    for (found, expected) in [(None, Unknown), (Some(true), Pass), (Some(false), Fail)] {
        assert_eq!(verdict(Rule::DatabaseVerified, &Sample::DatabaseVerified(Ok(found))), expected);
    }
    let sql = || Rule::Sql { query: "select 1".into(), expect: "1".into() };
    for (found, expected) in [(None, Unknown), (Some("1"), Pass), (Some("2"), Fail), (Some(""), Fail)] {
        assert_eq!(verdict(sql(), &Sample::Sql(Ok(found.map(str::to_owned)))), expected);
    }
}

#[test]
fn a_fault_is_never_an_answer() {
    for fault in faults() {
        let all = [
            (Rule::Alarm { name: "a".into() }, Sample::Alarm(Err(fault.clone()))),
            (
                limited(Bound::AtMost, Limit::Fixed(1.0)),
                Sample::Metric { own: Err(fault.clone()), source: None },
            ),
            (Rule::DatabaseLag { max: SignedDuration::MAX }, Sample::DatabaseLag(Err(fault.clone()))),
            (Rule::DatabaseVerified, Sample::DatabaseVerified(Err(fault.clone()))),
            (Rule::Sql { query: "q".into(), expect: String::new() }, Sample::Sql(Err(fault.clone()))),
            // A sample of another kind than the rule's.
            (Rule::DatabaseVerified, Sample::Http(Answer::Status(200))),
        ];
        for (rule, sample) in all {
            assert_eq!(verdict(rule, &sample), Verdict::Unknown, "{sample:?}");
        }
    }
}

#[test]
fn a_secret_in_an_answer_to_sql_is_not_repeated() {
    let rule = Rule::Sql { query: "q".into(), expect: "1".into() };
    let found = judge(&gate(rule), &Sample::Sql(Ok(Some("hunter2".into()))), Some(at(0)), at(NOW));
    assert!(!format!("{found:?}").contains("hunter2"));
}

#[test]
fn a_pass_must_be_fresh_and_from_after_the_change_and_a_failure_must_repeat() {
    let mut three = gate(Rule::DatabaseVerified);
    three.failures_to_trip = 3;
    let pass = || Judgement::pass("x", "y");
    let fail = || Judgement::fail("x", "y");
    let stand = |track: Option<&Track>, since: Option<i64>, now: i64| {
        standing(&three, track, since.map(at), at(now)).verdict
    };
    assert_eq!(stand(None, Some(0), 0), Verdict::Unknown);
    let passed = Track::after(None, pass(), at(100));
    assert_eq!(stand(Some(&passed), Some(100), 100), Verdict::Pass);
    assert_eq!(stand(Some(&passed), Some(100), 220), Verdict::Pass);
    assert_eq!(stand(Some(&passed), Some(100), 221), Verdict::Unknown, "too old");
    assert_eq!(stand(Some(&passed), Some(101), 110), Verdict::Unknown, "from before the change");
    assert_eq!(stand(Some(&passed), None, 110), Verdict::Unknown, "the change is under way");
    assert_eq!(stand(Some(&passed), Some(0), 99), Verdict::Unknown, "a clock that went back");
    let once = Track::after(Some(&passed), fail(), at(110));
    let unknown = Track::after(Some(&once), Judgement::unknown("?"), at(120));
    let twice = Track::after(Some(&unknown), fail(), at(130));
    let thrice = Track::after(Some(&twice), fail(), at(140));
    assert_eq!(stand(Some(&once), Some(0), 110), Verdict::Unknown);
    assert_eq!(stand(Some(&unknown), Some(0), 120), Verdict::Unknown);
    assert_eq!(stand(Some(&twice), Some(0), 130), Verdict::Unknown);
    assert_eq!(stand(Some(&thrice), Some(0), 140), Verdict::Fail);
    assert_eq!(stand(Some(&thrice), None, 140), Verdict::Fail, "a change under way hides no failure");
    assert_eq!(stand(Some(&thrice), Some(0), 261), Verdict::Unknown, "too old to be known");
    assert_eq!(Track::after(Some(&thrice), pass(), at(150)).failures, 0);
    assert!(is_due(&three, None, at(0)) && is_due(&three, Some(&passed), at(160)));
    assert!(!is_due(&three, Some(&passed), at(159)) && is_due(&three, Some(&passed), at(99)));
}

fn any_datapoint() -> impl Strategy<Value = Result<Option<Datapoint>, Fault>> {
    // Beyond this a share of it is no number any more.
    let number = prop_oneof![-1e300..1e300_f64, Just(f64::NAN), Just(f64::INFINITY), 0.0..100.0_f64];
    prop_oneof![
        1 => Just(Ok(None)),
        1 => Just(Err(Fault::Again("throttled".into()))),
        8 => (-600_i64..600, number, 0.0..200.0_f64)
            .prop_map(|(seconds, value, samples)| point(seconds, value, samples)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10_000))]

    /// Whatever a metric shows: it passes only by enough fresh numbers within the limit, and without a number it neither
    /// passes nor fails.
    #[test]
    fn a_metric_never_passes_by_what_is_not_known(
        own in any_datapoint(),
        source in proptest::option::of(any_datapoint()),
        ratio in any::<bool>(),
        at_most in any::<bool>(),
        since in proptest::option::of(-600_i64..600),
        now in 0_i64..600,
    ) {
        let limit =
            if ratio { Limit::OfSource { metric: metric(), percent: 100 } } else { Limit::Fixed(50.0) };
        let bound = if at_most { Bound::AtMost } else { Bound::AtLeast };
        let sample = Sample::Metric { own: own.clone(), source: source.clone() };
        let found = judge(&gate(limited(bound, limit)), &sample, since.map(at), at(now)).verdict;
        let good = |point: &Result<Option<Datapoint>, Fault>| match point {
            Ok(Some(p)) => p.value.is_finite()
                && p.samples >= 30.0
                && since.is_some_and(|since| p.at >= at(since))
                && at(now).duration_since(p.at) <= SignedDuration::from_secs(180),
            _ => false,
        };
        let known = good(&own) && (!ratio || source.as_ref().is_some_and(good));
        prop_assert_eq!(found == Verdict::Unknown, !known);
    }

    /// Whatever the series: a gate fails only after enough failures without a pass between them, and passes only if it
    /// passed last.
    #[test]
    fn a_series_trips_only_by_failures_in_a_row(
        series in proptest::collection::vec(0_u8..3, 1..30),
        to_trip in 1_u32..5,
    ) {
        let mut rule = gate(Rule::DatabaseVerified);
        rule.failures_to_trip = to_trip;
        let mut track: Option<Track> = None;
        let mut in_a_row = 0;
        for (turn, which) in (0_i64..).zip(series) {
            let judgement = match which {
                0 => Judgement::pass("x", "y"),
                1 => Judgement::fail("x", "y"),
                _ => Judgement::unknown("?"),
            };
            in_a_row = match which { 0 => 0, 1 => in_a_row + 1, _ => in_a_row };
            track = Some(Track::after(track.as_ref(), judgement, at(turn)));
            let found = standing(&rule, track.as_ref(), Some(at(0)), at(turn)).verdict;
            let expected = match which {
                0 => Verdict::Pass,
                1 if in_a_row >= to_trip => Verdict::Fail,
                _ => Verdict::Unknown,
            };
            prop_assert_eq!(found, expected);
        }
    }
}
