#![allow(clippy::unwrap_used, clippy::panic)]

use proptest::prelude::*;

use super::*;

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn lease(version: u32, holder: Option<&str>, transitions: i32) -> Record {
    Record {
        version: Some(version.to_string()),
        holder: holder.map(ToOwned::to_owned),
        duration: seconds(15),
        transitions,
    }
}

fn elector(identity: &str) -> Elector {
    Elector::new(identity.to_owned(), Timing::default())
}

/// One that leads since second 0, its Lease at version 1.
fn leader() -> Elector {
    let mut elector = elector("a");
    elector.saw(None, seconds(0));
    let Do::Write(record) = elector.next(seconds(0)) else { panic!("{elector:?}") };
    assert_eq!((record.version, record.transitions), (None, 0));
    elector.wrote(lease(1, Some("a"), 0), seconds(0), seconds(1));
    assert_eq!(elector.valid_until(), Some(seconds(10)), "it counts from before the request");
    elector
}

#[test]
fn the_proportions_are_those_of_kubernetes_own_controllers() {
    let timing = Timing { duration: seconds(15), renew_within: seconds(10), retry: seconds(2) };
    assert_eq!(Timing::default(), timing);
}

#[test]
fn a_lease_that_nobody_ever_held_is_taken_at_once_and_renewed_in_time() {
    let mut elector = leader();
    assert_eq!(elector.next(seconds(1)), Do::Sleep(seconds(2)));
    assert_eq!(elector.next(seconds(2)), Do::Write(lease(1, Some("a"), 0)));
    elector.wrote(lease(2, Some("a"), 0), seconds(2), seconds(3));
    assert_eq!(elector.valid_until(), Some(seconds(12)));
}

#[test]
fn a_holders_lease_is_taken_when_it_was_watched_unchanged_for_its_duration() {
    let mut elector = elector("b");
    let theirs = lease(7, Some("a"), 3);
    elector.saw(Some(theirs.clone()), seconds(100));
    assert_eq!(elector.next(seconds(100)), Do::Sleep(seconds(101)));
    assert_eq!(elector.next(seconds(101)), Do::Look);
    elector.saw(Some(theirs.clone()), seconds(114));
    assert_eq!(elector.next(seconds(114)), Do::Sleep(seconds(115)), "not a moment too long");
    elector.saw(Some(lease(8, Some("a"), 3)), seconds(115));
    assert_eq!(elector.next(seconds(116)), Do::Look, "it was renewed: the wait begins anew");
    elector.saw(Some(lease(8, Some("a"), 3)), seconds(130));
    assert_eq!(elector.next(seconds(130)), Do::Write(lease(8, Some("b"), 4)));
    assert_eq!(elector.valid_until(), None, "asked for is not had");
}

#[test]
fn a_longer_duration_that_the_holder_says_counts() {
    let mut elector = elector("b");
    let theirs = Record { duration: seconds(60), ..lease(7, Some("a"), 3) };
    elector.saw(Some(theirs.clone()), seconds(0));
    elector.saw(Some(theirs.clone()), seconds(59));
    assert_eq!(elector.next(seconds(59)), Do::Sleep(seconds(60)));
    elector.saw(Some(theirs), seconds(60));
    assert!(matches!(elector.next(seconds(60)), Do::Write(_)));
}

#[test]
fn ones_own_lease_of_before_and_one_that_was_given_back_are_taken_at_once() {
    for holder in [Some("a"), None] {
        let mut elector = elector("a");
        elector.saw(Some(lease(7, holder, 3)), seconds(5));
        assert_eq!(elector.next(seconds(5)), Do::Write(lease(7, Some("a"), 4)));
    }
}

#[test]
fn a_deleted_lease_is_not_free_before_its_holder_must_have_noticed() {
    let mut elector = elector("b");
    elector.saw(Some(lease(7, Some("a"), 3)), seconds(0));
    elector.saw(None, seconds(1));
    assert!(matches!(elector.next(seconds(1)), Do::Sleep(_)));
    elector.saw(None, seconds(16));
    assert!(matches!(elector.next(seconds(16)), Do::Write(Record { version: None, .. })));
}

#[test]
fn leadership_without_a_renewal_ends_and_does_not_come_back() {
    let mut elector = leader();
    elector.failed(seconds(2), seconds(4));
    assert_eq!(elector.next(seconds(4)), Do::Look, "an unanswered write may have been made");
    elector.failed(seconds(4), seconds(5));
    assert_eq!(elector.next(seconds(5)), Do::Sleep(seconds(6)));
    elector.failed(seconds(9), seconds(9));
    assert_eq!(elector.next(seconds(9)), Do::Sleep(seconds(10)), "it wakes to end, not to look");
    assert_eq!(elector.next(seconds(10)), Do::Lost(Lost::Late(seconds(10))));
}

#[test]
fn a_leader_goes_on_after_an_unanswered_renewal_that_was_made() {
    let mut elector = leader();
    elector.failed(seconds(2), seconds(4));
    elector.saw(Some(lease(2, Some("a"), 0)), seconds(4));
    assert_eq!(elector.valid_until(), Some(seconds(10)), "seeing it is no renewal");
    assert_eq!(elector.next(seconds(4)), Do::Write(lease(2, Some("a"), 0)));
}

#[test]
fn a_leader_that_sees_another_term_ends() {
    for (seen, why) in [
        (Some(lease(9, Some("b"), 1)), Lost::Taken("b".to_owned())),
        (Some(lease(9, Some("a"), 1)), Lost::Impostor),
        (Some(lease(9, None, 0)), Lost::Cleared),
        (None, Lost::Cleared),
    ] {
        let mut elector = leader();
        elector.refused(seconds(3));
        assert_eq!(elector.next(seconds(3)), Do::Look);
        elector.saw(seen, seconds(3));
        assert_eq!(elector.valid_until(), None);
        assert_eq!(elector.next(seconds(3)), Do::Lost(why));
    }
}

#[test]
fn a_write_that_got_no_new_version_is_no_renewal() {
    let mut elector = leader();
    elector.wrote(lease(1, Some("a"), 0), seconds(2), seconds(2));
    assert_eq!(elector.valid_until(), Some(seconds(10)));
}

#[test]
fn giving_back_ends_the_right_to_act_first_and_names_nobody() {
    let mut elector = leader();
    assert_eq!(elector.give_back(), Some(lease(1, None, 0)));
    assert_eq!(elector.valid_until(), None);
    assert_eq!(elector.next(seconds(2)), Do::Lost(Lost::GivenBack));
    assert_eq!(elector.give_back(), None, "once");

    let mut unsure = leader();
    unsure.failed(seconds(2), seconds(4));
    assert_eq!(unsure.give_back(), None, "its version is not known");
    assert_eq!(elector_of_nobody().give_back(), None);
}

fn elector_of_nobody() -> Elector {
    let mut elector = elector("b");
    elector.saw(Some(lease(1, Some("a"), 0)), seconds(0));
    elector
}

/// Some processes, one API server, and a network that keeps requests for as long as it likes.
mod world {
    use super::*;

    pub const STEP_MS: u64 = 20;

    /// Numbers that differ by seed; good enough to pick delays.
    pub struct Dice(pub u64);

    impl Dice {
        pub fn below(&mut self, limit: u64) -> u64 {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            (self.0 >> 11) % limit.max(1)
        }

        pub fn once_in(&mut self, times: u64) -> bool {
            times > 0 && self.below(times) == 0
        }
    }

    /// How bad it is; each 0 leaves that trouble out. Probabilities are per step of 20 ms or per request.
    #[derive(Clone, Copy, Debug)]
    pub struct Trouble {
        pub delay_ms: u64,
        pub lose_once_in: u64,
        pub pause_once_in: u64,
        pub crash_once_in: u64,
        pub stop_once_in: u64,
    }

    pub const NONE: Trouble =
        Trouble { delay_ms: 20, lose_once_in: 0, pause_once_in: 0, crash_once_in: 0, stop_once_in: 0 };

    enum Answer {
        Lease(Option<Record>),
        Refused,
    }

    struct Request {
        write: Option<Record>,
        of: usize,
        /// Of the process's incarnations, so that nobody reads a dead one's answer.
        life: u32,
        sent: Duration,
        lands_at: u64,
        answers_at: Option<u64>,
        answer: Option<Answer>,
    }

    pub struct Process {
        pub elector: Elector,
        identity: String,
        timing: Timing,
        /// Parts of a thousand: how fast its clock goes.
        rate: u64,
        offset: Duration,
        asleep_until: u64,
        life: u32,
        pub waits: bool,
        pub terms: u32,
    }

    impl Process {
        pub fn clock(&self, at: u64) -> Duration {
            self.offset + Duration::from_micros(at * self.rate)
        }

        pub fn may_act(&self, at: u64) -> bool {
            self.elector.valid_until().is_some_and(|until| self.clock(at) < until)
        }

        pub fn crash(&mut self, back_at: u64) {
            self.elector = Elector::new(self.identity.clone(), self.timing);
            self.life += 1;
            self.waits = false;
            self.asleep_until = back_at;
        }
    }

    pub struct World {
        pub at: u64,
        dice: Dice,
        trouble: Trouble,
        lease: Option<Record>,
        version: u32,
        requests: Vec<Request>,
        pub processes: Vec<Process>,
    }

    impl World {
        pub fn new(seed: u64, trouble: Trouble, timing: Timing, rates: &[u64]) -> Self {
            let mut dice = Dice(seed | 1);
            let processes = rates
                .iter()
                .enumerate()
                .map(|(n, rate)| Process {
                    elector: Elector::new(format!("pod-{n}"), timing),
                    identity: format!("pod-{n}"),
                    timing,
                    rate: *rate,
                    offset: Duration::from_millis(dice.below(1_000_000)),
                    asleep_until: 0,
                    life: 0,
                    waits: false,
                    terms: 0,
                })
                .collect();
            Self { at: 0, dice, trouble, lease: None, version: 0, requests: Vec::new(), processes }
        }

        pub fn leader(&self) -> Option<usize> {
            self.processes.iter().position(|process| process.may_act(self.at))
        }

        pub fn step(&mut self) {
            self.at += STEP_MS;
            for n in 0..self.processes.len() {
                if self.dice.once_in(self.trouble.pause_once_in) {
                    self.processes[n].asleep_until = self.at + self.dice.below(60_000);
                }
                if self.dice.once_in(self.trouble.crash_once_in) {
                    let back_at = self.at + self.dice.below(30_000);
                    self.processes[n].crash(back_at);
                }
                if self.dice.once_in(self.trouble.stop_once_in) {
                    self.stop(n);
                }
            }
            self.land();
            for n in 0..self.processes.len() {
                if self.processes[n].asleep_until <= self.at {
                    self.run(n);
                }
            }
            let acting: Vec<usize> =
                (0..self.processes.len()).filter(|n| self.processes[*n].may_act(self.at)).collect();
            assert!(acting.len() <= 1, "{acting:?} act at {} ms", self.at);
        }

        /// SIGTERM: what it holds is given back, and it starts again later. One that waits for an answer does not know what
        /// it would write on.
        pub fn stop(&mut self, n: usize) {
            let process = &mut self.processes[n];
            let now = process.clock(self.at);
            if process.waits {
                process.elector.failed(now, now);
            }
            let given = process.elector.give_back();
            if let Some(record) = given {
                self.send(n, Some(record));
            }
            let back_at = self.at + self.dice.below(30_000);
            self.processes[n].crash(back_at);
        }

        fn land(&mut self) {
            self.requests.sort_by_key(|request| request.lands_at);
            for request in &mut self.requests {
                if request.lands_at > self.at || request.answer.is_some() {
                    continue;
                }
                let current = self.lease.as_ref().and_then(|lease| lease.version.clone());
                request.answer = Some(match &request.write {
                    None => Answer::Lease(self.lease.clone()),
                    Some(write) if write.version == current => {
                        self.version += 1;
                        self.lease =
                            Some(Record { version: Some(self.version.to_string()), ..write.clone() });
                        Answer::Lease(self.lease.clone())
                    }
                    Some(_) => Answer::Refused,
                });
            }
        }

        fn send(&mut self, n: usize, write: Option<Record>) {
            let lands_at = self.at + self.dice.below(self.trouble.delay_ms);
            let answers_at = (!self.dice.once_in(self.trouble.lose_once_in))
                .then(|| lands_at + self.dice.below(self.trouble.delay_ms));
            let process = &mut self.processes[n];
            process.waits = true;
            let (life, sent) = (process.life, process.clock(self.at));
            self.requests.push(Request { write, of: n, life, sent, lands_at, answers_at, answer: None });
        }

        fn run(&mut self, n: usize) {
            let now = self.processes[n].clock(self.at);
            let mine = |request: &Request, process: &Process| {
                request.of == n && request.life == process.life && request.answers_at != Some(u64::MAX)
            };
            if self.processes[n].waits {
                let process = &mut self.processes[n];
                let Some(request) = self.requests.iter_mut().find(|request| mine(request, process)) else {
                    panic!("it waits for nothing");
                };
                let answered = request.answers_at.is_some_and(|at| at <= self.at);
                if answered && let Some(answer) = &request.answer {
                    let before = process.elector.valid_until().is_some();
                    match (answer, &request.write) {
                        (Answer::Refused, _) => process.elector.refused(now),
                        (Answer::Lease(lease), None) => process.elector.saw(lease.clone(), now),
                        (Answer::Lease(lease), Some(_)) => {
                            process.elector.wrote(lease.clone().unwrap(), request.sent, now);
                        }
                    }
                    process.terms += u32::from(!before && process.elector.valid_until().is_some());
                } else if now >= request.sent + process.timing.retry {
                    process.elector.failed(request.sent, now);
                } else {
                    return;
                }
                // It may still land, but its sender waits for it no more.
                request.answers_at = Some(u64::MAX);
                process.waits = false;
            }
            self.requests
                .retain(|request| request.lands_at > self.at || request.answers_at != Some(u64::MAX));
            match self.processes[n].elector.next(now) {
                Do::Look => self.send(n, None),
                Do::Write(record) => self.send(n, Some(record)),
                Do::Sleep(_) => {}
                // The container starts again.
                Do::Lost(_) => {
                    let back_at = self.at + 500;
                    self.processes[n].crash(back_at);
                }
            }
        }
    }
}

use world::{NONE, STEP_MS, Trouble, World};

/// As near to the edge as clocks of 90 to 110 % allow, so that a second too much is found.
const TIGHT: Timing =
    Timing { duration: seconds(15), renew_within: Duration::from_millis(12_250), retry: seconds(2) };

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn never_do_two_act(
        seed in any::<u64>(),
        rates in proptest::collection::vec(900_u64..=1100, 2..=3),
        tight in any::<bool>(),
        delay_ms in prop_oneof![Just(40_u64), Just(1_000), Just(3_000), Just(30_000)],
        lose_once_in in prop_oneof![Just(0_u64), Just(3), Just(20)],
        pause_once_in in prop_oneof![Just(0_u64), Just(500), Just(3_000)],
        crash_once_in in prop_oneof![Just(0_u64), Just(1_000)],
        stop_once_in in prop_oneof![Just(0_u64), Just(1_000)],
    ) {
        let trouble = Trouble { delay_ms, lose_once_in, pause_once_in, crash_once_in, stop_once_in };
        let timing = if tight { TIGHT } else { Timing::default() };
        let mut world = World::new(seed, trouble, timing, &rates);
        for _ in 0..(200_000 / STEP_MS) {
            world.step();
        }
    }

    #[test]
    fn the_next_one_leads_within_20_s_of_a_crash_and_3_s_of_a_stop(
        seed in any::<u64>(),
        rates in proptest::collection::vec(900_u64..=1100, 2..=3),
        stopped in any::<bool>(),
        after_ms in 1_000_u64..30_000,
    ) {
        let mut world = World::new(seed, Trouble { delay_ms: 200, ..NONE }, Timing::default(), &rates);
        while world.at < after_ms {
            world.step();
        }
        let first = world.leader().unwrap();
        if stopped {
            while world.processes[first].waits {
                world.step();
            }
            world.stop(first);
        }
        world.processes[first].crash(u64::MAX);
        let (ended, within) = (world.at, if stopped { 3_000 } else { 20_000 });
        while world.leader().is_none() {
            world.step();
            prop_assert!(world.at - ended <= within, "{} ms", world.at - ended);
        }
    }
}

/// A pod that was killed and starts again takes its own Lease back; a lone process is never without one for long.
#[test]
fn a_container_that_starts_again_leads_at_once() {
    let mut world = World::new(5, NONE, Timing::default(), &[1_000, 1_000]);
    while world.at < 5_000 {
        world.step();
    }
    let first = world.leader().unwrap();
    world.processes[first].crash(world.at + 100);
    while world.leader().is_none() {
        world.step();
    }
    assert!(world.at <= 5_500, "{}", world.at);
    assert_eq!(world.leader(), Some(first));
}

/// The troubles above must leave somebody leading, or nothing was tried.
#[test]
fn troubles_end_terms_and_begin_others() {
    let trouble =
        Trouble { delay_ms: 1_000, lose_once_in: 20, pause_once_in: 3_000, crash_once_in: 1_000, ..NONE };
    let mut world = World::new(9, trouble, Timing::default(), &[950, 1_050]);
    let mut led = 0;
    for _ in 0..(2_000_000 / STEP_MS) {
        world.step();
        led += u32::from(world.leader().is_some());
    }
    let terms: u32 = world.processes.iter().map(|process| process.terms).sum();
    assert!(terms > 20, "{terms} terms");
    assert!(led > 20_000, "somebody led in {led} of 100,000 steps");
}
