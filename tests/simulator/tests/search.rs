//! The search within bounds that take seconds, and a share of the mutants. `docs/simulation.md` has the wide ones.

use simulator::search::cli::{as_expected, mutate};
use simulator::search::coverage::MET;
use simulator::search::mutants::{Fate, MUTANTS};
use simulator::search::prove::prove;
use simulator::search::{Settings, search, story};

/// Everything that can go wrong is in one of them.
const BOUNDS: [&str; 8] = [
    "w2 f1 g1 c0 k0 t0 l1",
    "w0 f0 g2 c0 k0 t0 p1 l1",
    "w1 f1 g1 c0 k1 t0 o1 l1",
    "w1 f1 g1 c0 k0 t1 l1",
    "w0 f0 g1 c1 k1 t0 l1",
    "w0 f0 g1 c1 k0 t1 z1 l1",
    "w0 f0 g1 c0 k1 t1 l1",
    "w0 f0 g1 c0 k0 t0 s1 h1 l1",
];
/// Where what the search forgets is proved to make no difference.
const PROVED: [&str; 9] =
    ["w1 f1 g1", "w2 f2", "g2 m2", "g1 k1", "g1 t1 m2", "g1 c1 m2", "g1 s1", "g1 h1 p1", "w1 f1 g1 o1 l1"];
/// A mutant that takes more states than these is searched for on demand only.
const STATES_MAX: usize = 20_000;

#[test]
fn the_shipped_decisions_hold_within_small_bounds() {
    let mut met = [0; MET.len()];
    for bounds in BOUNDS {
        let settings = Settings {
            bounds: bounds.parse().unwrap(),
            mutant: None,
            threads: 2,
            limit: 4_000_000,
            liveness: true,
        };
        let report = search(settings);
        if let Some((finding, lines)) = &report.finding {
            panic!("{bounds}: {}\n{}", finding.word(), story::tell(lines, false));
        }
        assert!(report.complete, "{bounds}: more than {} states", settings.limit);
        println!("{bounds}: {} states, {} edges, {:.1} s", report.states, report.edges, report.seconds);
        for (sum, count) in met.iter_mut().zip(report.met) {
            *sum += count;
        }
    }
    for ((words, _), count) in MET.iter().zip(met) {
        assert!(count > 0, "no search met this: {words}");
    }
}

#[test]
fn what_is_forgotten_makes_no_difference() {
    for bounds in PROVED {
        let proof =
            prove(bounds.parse().unwrap(), 1_000_000).unwrap_or_else(|words| panic!("{bounds}: {words}"));
        assert!(proof.complete && proof.canonical < proof.raw, "{bounds}: {proof}");
        println!("{bounds}: {proof}");
    }
}

#[test]
fn mutants_are_found_out() {
    let mut wrong = Vec::new();
    let mut killed = 0;
    for mutant in MUTANTS.iter().filter(|mutant| mutant.fate == Fate::Killed) {
        let bounds = mutant.bounds().unwrap();
        let settings =
            Settings { bounds, mutant: Some(mutant), threads: 2, limit: STATES_MAX, liveness: true };
        let report = search(settings);
        match (&report.finding, report.complete) {
            (Some(_), _) => killed += 1,
            (None, true) => wrong.push(mutant.id),
            // Too wide for here.
            (None, false) => {}
        }
    }
    assert!(wrong.is_empty(), "not found out: {wrong:?}");
    assert!(killed >= 25, "only {killed} were found out within {STATES_MAX} states");
}

/// Takes some minutes: `cargo test -p simulator -- --ignored`.
#[test]
#[ignore = "takes minutes"]
fn every_mutant_is_as_the_table_says() {
    for mutant in MUTANTS {
        match mutate(mutant, 2) {
            Ok(report) => assert!(as_expected(mutant, &report), "{}", mutant.id),
            Err(why) => assert!(matches!(mutant.fate, Fate::NotYet(_)), "{}: {why}", mutant.id),
        }
    }
}
