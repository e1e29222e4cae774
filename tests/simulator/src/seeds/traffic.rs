//! Histories with traffic by chance.

use slipway::api::application::Goal as Reach;
use slipway::api::database::Goal;
use slipway::side::Side;

use super::{Mutant, wrong};
use crate::clock::SECOND;
use crate::history::Setup;
use crate::journey;
use crate::random::Random;
use crate::world::faults::Fate;
use crate::world::people::{Order, When};
use crate::world::traffic::Stranger;

/// Wrong versions of what moves traffic.
pub const MUTANTS: [Mutant; 14] = [
    wrong("unknown-passes", "a gate of which nothing is known passes"),
    wrong("blind-health", "both sides are taken for healthy"),
    wrong("no-proof", "every fleet is taken to write to the writer"),
    wrong("zero-zero", "going back gives no record a weight"),
    wrong("one-sided", "at 100 % the source's records are removed"),
    wrong("no-hold", "no weight is held"),
    wrong("no-insync", "a change is taken to be on all servers at once"),
    wrong("blind-mutex", "a weight changes while the writer moves"),
    Mutant {
        name: "deaf-to-weights",
        what: "the writer moves while a weight changes",
        covered: Some(
            "with TrafficFirst an application whose weight changes is not Shifted, and with DatabaseFirst none has a \
             weight to change before the writer moved",
        ),
    },
    wrong("upsert", "records are overwritten, whatever stands there"),
    wrong("no-cas", "the status is written on whatever version there is"),
    wrong("no-owner", "what exists at AWS is taken for our own"),
    wrong("no-permit", "changes are sent without a permit"),
    wrong("chatty", "the status is written at each look"),
];

/// What the history of a seed is made of.
pub fn setup(seed: u64) -> Setup {
    let mut random = Random::new(seed ^ 0x7AFF_1C00);
    let alone = random.permille(600);
    let mut journeys = journey::of_traffic();
    journeys.retain(|journey| journey.traffic.as_ref().is_some_and(|part| part.alone == alone));
    let journey = random.pick(&journeys).clone();
    let kinds: Vec<Fate> = Fate::EACH.into_iter().filter(|_| random.permille(500)).collect();
    let rate = *random.pick(&[0, 5, 10, 20, 40, 80]);
    let mut meddling = Vec::new();
    if random.permille(600) {
        for _ in 0..random.within(1, 6) {
            let when = match random.within(0, 6) {
                0 => When::Changing(*random.pick(&[0, 10, 100])),
                1 => When::Held(*random.pick(&[0, 10, 100])),
                2 if !alone => When::Phase("CuttingOver"),
                _ => When::After(random.within(0, 120)),
            };
            meddling.push((when, order(&mut random, alone)));
        }
    }
    // Somebody orders the end, and thinks better of it at once.
    let mut further = Random::new(seed ^ 0x3D1C_77A5);
    if alone && further.permille(100) {
        meddling = vec![
            (When::TrafficReady("Shifted"), Order::Reach(Reach::Finish)),
            (When::After(further.within(0, 3)), Order::Reach(Reach::Shift)),
        ];
    }
    Setup {
        seed,
        meddling,
        rate,
        kinds,
        operators: if random.permille(350) { 2 } else { 1 },
        pauses: random.permille(300),
        applications: u8::try_from(random.within(2, 4)).unwrap_or(2),
        long: random.permille(150),
        slow: random.permille(300),
        // AWS takes no signature of a clock that is wrong by minutes, and by those alone no metric would be young enough.
        skew: if rate > 0 && random.permille(300) { 20 } else { 0 },
        stranger: random.permille(60).then_some(*random.pick(&Stranger::EACH)),
        idle: 60 * SECOND,
        ..Setup::clean(journey)
    }
}

fn order(random: &mut Random, alone: bool) -> Order {
    let of_traffic = [
        Order::Reach(Reach::Shift),
        Order::Reach(Reach::Stage),
        Order::Reach(Reach::Finish),
        Order::MaxWeight(0),
        Order::MaxWeight(10),
        Order::MaxWeight(100),
        Order::SuspendTraffic(true),
        Order::SuspendTraffic(false),
        Order::AbortTraffic,
        Order::ReleaseTraffic,
        Order::AttemptTraffic,
        Order::LoseTrafficStatus,
        Order::DeleteTraffic,
        Order::Sick(Side::Target, true),
        Order::Sick(Side::Source, true),
        Order::Sick(Side::Target, false),
        Order::Publish(false),
        Order::CutOff(Some(Side::Source)),
        Order::CutOff(Some(Side::Target)),
        Order::Meddle(40),
    ];
    let of_writer = [
        Order::Goal(Goal::CutOver),
        Order::Goal(Goal::Replicate),
        Order::Goal(Goal::Finish),
        Order::Suspend(true),
        Order::Suspend(false),
        Order::Abort,
        Order::Attempt,
        Order::Unfence,
        Order::LoseStatus,
        Order::Delete,
    ];
    if alone || random.permille(650) { *random.pick(&of_traffic) } else { *random.pick(&of_writer) }
}
