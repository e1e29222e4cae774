//! The application's name and its two fleets: who can serve, what Route 53 has, and what must hold of each change of weights.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use sandbox::world::route53::{Alias, Answer, RecordSet, Routing, Wanted};
use sandbox::world::{Call, balancer, cloudwatch, route53};
use slipway::application::decide::{Batch, Step};
use slipway::application::goal::Goal;
use slipway::application::records::TARGET;
use slipway::application::weights::Share;
use slipway::aws::UID_TAG;
use slipway::gate::Rule;
use slipway::side::{Side, Sides};

use super::World;
use super::people::Order;
use crate::clock::{Micros, SECOND, Sim};
use crate::journey::APPLICATION;

/// The name that clients use.
pub const NAME: &str = "api.bank.example";
/// Where the source's fleet is.
pub const ADDRESSES: [&str; 2] = ["203.0.113.10", "203.0.113.11"];
/// For how long resolvers keep the record that stood there before Slipway came.
const OLD_TTL: i64 = 90;
/// The target's one task.
const TASK: (Ipv4Addr, u16) = (Ipv4Addr::new(10, 0, 1, 20), 8080);
/// The ECS service, and its cluster.
pub const SERVICE: &str = "payments-api-dev";
/// Its errors, as it counts them itself.
pub const ERRORS: (&str, &str) = ("Bank/Payments", "Errors");
/// A look that is older than this is no look any more: calls of it may have taken so long.
const LOOKED_WITHIN: Micros = 100 * SECOND;

/// What somebody else has under a name that ours would have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stranger {
    /// A marker at the name.
    Marker,
    /// An alarm.
    Alarm,
    /// A dashboard.
    Dashboard,
}

impl Stranger {
    /// Each.
    pub const EACH: [Self; 3] = [Self::Marker, Self::Alarm, Self::Dashboard];
}

/// The name and its fleets.
pub struct Traffic {
    /// What somebody else has, and how it stood when the history began.
    pub theirs: Option<(Stranger, String)>,
    /// The hosted zone.
    pub zone: String,
    /// The load balancer.
    pub balancer: String,
    /// Its target group.
    pub group: String,
    /// Whether each side's fleet can serve.
    pub healthy: Sides<bool>,
    /// When it could for the last time, where it can't now.
    healthy_until: Sides<Micros>,
    /// The target's fleet has no way to this database.
    pub cut_off: Option<Side>,
    /// The target says how many errors it had.
    pub publishes: bool,
    /// Somebody else changed the records.
    pub meddled: bool,
    /// How long Route 53 takes to tell its servers.
    in_sync_after: Micros,
    /// From when on the present share is on all servers.
    in_sync_at: Micros,
    /// Somebody changed it, and not Slipway: no look can prevent that in the midst of a move.
    by_hand: bool,
    /// The last share that stood there.
    share: Option<Share>,
    /// What was last answered to who asked for the sake of a gate: when, and whether it was good.
    evidence: BTreeMap<String, (Micros, bool)>,
    /// Which fleets had a session on the writer when that was last asked, and when.
    fleets: Option<(Micros, Sides<bool>)>,
}

/// What stands at the name.
#[derive(Clone, Debug, PartialEq)]
pub enum Stands {
    /// What stood there before Slipway came.
    Before,
    /// The target's record alone.
    TargetAlone,
    /// Weighted records, with the share of the target.
    Weighted(Share),
    /// Anything else; in words.
    Broken(String),
}

fn values(ttl: i64, values: &[&str]) -> Wanted {
    Wanted {
        name: NAME.to_owned(),
        kind: "A".to_owned(),
        ttl: Some(ttl),
        values: values.iter().map(|value| (*value).to_owned()).collect(),
        ..Wanted::default()
    }
}

/// Probes the target, and has it say how many errors it had.
pub async fn serve(sim: Sim) {
    let mut turn = 0_u64;
    loop {
        sim.sleep(5 * SECOND).await;
        turn += 1;
        sim.with(World::probe_target);
        if turn.is_multiple_of(2) {
            sim.with(World::publish_errors);
        }
    }
}

impl World {
    /// The name, its zone and its fleets, as they are before Slipway comes.
    pub fn has_traffic(&mut self, in_sync_after: Micros) {
        let zone = self.aws.keep_zone("bank.example", false);
        let kept = self.aws.keep_record(&zone, values(OLD_TTL, &ADDRESSES));
        if let Err(refusal) = kept {
            self.fail(0, format!("the simulator could not make a record: {}", refusal.code));
        }
        let check = balancer::Check::default();
        let dns = "alb-dev-1.eu-central-1.elb.amazonaws.com";
        let (balancer, group) = self.aws.keep_balancer("alb-dev", dns, vec![TASK.0], check);
        self.aws.keep_service("ecs-dev", SERVICE, 1, Some(&group));
        self.aws.run_task(SERVICE, TASK.0, TASK.1);
        self.traffic = Some(Traffic {
            theirs: None,
            zone,
            balancer,
            group,
            healthy: Sides { source: true, target: true },
            healthy_until: Sides::default(),
            cut_off: None,
            publishes: true,
            meddled: false,
            in_sync_after,
            in_sync_at: 0,
            by_hand: false,
            share: None,
            evidence: BTreeMap::new(),
            fleets: None,
        });
    }

    /// Makes what somebody else has.
    pub fn somebody_else_has(&mut self, stranger: Stranger) {
        let (now, tags) = (self.now(), BTreeMap::from([(UID_TAG.to_owned(), "another".to_owned())]));
        let Some(zone) = self.traffic.as_ref().map(|traffic| traffic.zone.clone()) else { return };
        let done = match stranger {
            Stranger::Marker => {
                let value = r#""heritage=slipway,uid=another,resource=bank/other,batch=000001""#;
                let mut marker = values(60, &[value]);
                marker.name = format!("slipway.{NAME}");
                "TXT".clone_into(&mut marker.kind);
                self.aws.keep_record(&zone, marker)
            }
            Stranger::Alarm => {
                let alarm = super::strangers::alarm(&format!("alarm-target-5xx-{APPLICATION}-dev"), tags);
                self.aws
                    .call(Call::CloudWatch(cloudwatch::Call::PutMetricAlarm(Box::new(alarm))), now)
                    .map(|_| ())
            }
            Stranger::Dashboard => {
                let name = format!("dashboard-{APPLICATION}-dev");
                let dashboard = cloudwatch::PutDashboard { name, body: "{\"widgets\":[]}".to_owned(), tags };
                self.aws.call(Call::CloudWatch(cloudwatch::Call::PutDashboard(dashboard)), now).map(|_| ())
            }
        };
        if let Err(refusal) = done {
            self.fail(0, format!("the simulator could not make a {stranger:?}: {}", refusal.code));
        }
        let stands = self.stranger_stands(stranger);
        if let Some(traffic) = &mut self.traffic {
            traffic.theirs = Some((stranger, stands));
        }
    }

    /// How that stands now.
    pub fn stranger_stands(&mut self, stranger: Stranger) -> String {
        let zone = self.traffic.as_ref().map(|traffic| traffic.zone.clone()).unwrap_or_default();
        match stranger {
            Stranger::Marker => format!("{:?}", self.aws.records(&zone)),
            Stranger::Alarm | Stranger::Dashboard => {
                let word = if stranger == Stranger::Alarm { "alarm-target-5xx" } else { "dashboard" };
                let items = self.inventory().into_iter();
                format!("{:?}", items.filter(|item| item.name.starts_with(word)).collect::<Vec<_>>())
            }
        }
    }

    fn probe_target(&mut self) {
        let now = self.now();
        let Some(healthy) = self.traffic.as_ref().map(|traffic| traffic.healthy.target) else { return };
        let result = if healthy { Ok(()) } else { Err(balancer::Failure::Status(503)) };
        for probe in self.aws.due_probes(now) {
            self.aws.probed(&probe, result, now);
        }
    }

    fn publish_errors(&mut self) {
        let (now, share) = (self.now(), self.share());
        let Some(traffic) = self.traffic.as_ref().filter(|traffic| traffic.publishes) else { return };
        if share.is_none_or(Share::is_none) {
            return;
        }
        let errors = if traffic.healthy.target { 0.0 } else { 50.0 };
        let put = cloudwatch::PutMetric {
            series: errors_series(),
            at: Some(now),
            values: vec![(errors, 10.0)],
            unit: None,
        };
        let call = Call::CloudWatch(cloudwatch::Call::PutMetricData(vec![put]));
        if let Err(refusal) = self.aws.call(call, now) {
            self.fail(0, format!("the simulator could not publish: {}", refusal.code));
        }
    }

    /// A side's fleet can serve from now on, or can't.
    pub fn sicken(&mut self, side: Side, sick: bool) {
        let now = self.clock.now;
        let Some(traffic) = &mut self.traffic else { return };
        if sick && *traffic.healthy.get(side) {
            *traffic.healthy_until.get_mut(side) = now;
        }
        *traffic.healthy.get_mut(side) = !sick;
    }

    /// Somebody gives the target other weights by hand.
    pub fn meddle(&mut self, weight: i64) {
        let Some(traffic) = &mut self.traffic else { return };
        let zone_id = traffic.zone.clone();
        let standing =
            self.aws.records(&zone_id).into_iter().find(|set| set.set_identifier() == Some(TARGET));
        let Some(RecordSet { name, kind, answer: Answer::Alias(alias), .. }) = standing else { return };
        traffic.meddled = true;
        let wanted = Wanted {
            name,
            kind,
            set_identifier: Some(TARGET.to_owned()),
            weight: Some(weight),
            alias: Some(alias),
            ..Wanted::default()
        };
        let batch =
            route53::ChangeBatch { zone_id, comment: None, changes: vec![(route53::Action::Upsert, wanted)] };
        let now = self.now();
        let done = self.aws.call(Call::Route53(route53::Call::ChangeResourceRecordSets(batch)), now);
        self.trace.say(self.clock.now, || format!("  by hand: {done:?}"));
        self.note_share(true);
    }

    /// The target's fleet loses its way to a database, and its session there.
    pub fn cut_off(&mut self, from: Option<Side>) {
        if let Some(traffic) = &mut self.traffic {
            traffic.cut_off = from;
        }
        if let Some(side) = from
            && self.database(side).stage_of(2).is_some()
        {
            self.database_mut(side).leave(2);
        }
    }

    /// Nobody is left who would undo what is made now.
    pub fn traffic_is_left_alone(&mut self) -> bool {
        let phase = |wanted: &str| {
            let newest = self.cluster.traffic.newest();
            newest.and_then(|object| object.status.as_ref()?.phase.clone()).as_deref() == Some(wanted)
        };
        if self.cluster.traffic.newest().is_none() || phase("Finished") {
            return true;
        }
        let gone = matches!(self.stands(), Stands::Before | Stands::TargetAlone);
        self.cluster.traffic.is_deleted() && gone && !self.inventory().iter().any(|item| is_about(&item.name))
    }

    /// From here on nothing goes wrong: both fleets serve and write, and people order what they held back.
    pub fn mend_traffic(&mut self) {
        for side in Side::BOTH {
            self.obey(Order::Sick(side, false));
        }
        for order in [
            Order::CutOff(None),
            Order::Publish(true),
            Order::SuspendTraffic(false),
            Order::ReleaseTraffic,
            Order::AttemptTraffic,
        ] {
            self.obey(order);
        }
    }

    /// Whether a side answers its health check now.
    pub fn serves(&self, side: Side) -> bool {
        self.traffic.as_ref().is_some_and(|traffic| *traffic.healthy.get(side))
    }

    /// Whether the client's fleet has a way to this database. The second of all clients is the target's fleet.
    pub fn reaches(&self, client: u8, side: Side) -> bool {
        let cut_off = self.traffic.as_ref().and_then(|traffic| traffic.cut_off);
        // Before the target is fenced, whoever reached it alone would write there.
        client != 2 || (cut_off != Some(side) && (cut_off.is_none() || self.promised))
    }

    /// From where applications are logged in to a side; that somebody asked is remembered.
    pub fn fleets(&mut self, side: Side) -> Vec<IpAddr> {
        let (now, is_writer) = (self.clock.now, self.database(side).open);
        let clients: Vec<u8> = self.database(side).sessions.iter().map(|session| session.client).collect();
        if let Some(traffic) = &mut self.traffic {
            let seen = Sides {
                source: is_writer && clients.iter().any(|client| *client != 2),
                target: is_writer && clients.contains(&2),
            };
            traffic.fleets = Some((now, seen));
        }
        let address = |client: u8| match client {
            2 => IpAddr::V4(TASK.0),
            _ => ADDRESSES[0].parse().unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED)),
        };
        clients.into_iter().map(address).collect()
    }

    /// Remembers what was answered for the sake of a gate.
    pub fn testify(&mut self, gate: &str, good: bool) {
        let now = self.clock.now;
        if let Some(traffic) = &mut self.traffic {
            traffic.evidence.insert(gate.to_owned(), (now, good));
        }
    }

    /// What stands at the name.
    pub fn stands(&self) -> Stands {
        let Some(traffic) = &self.traffic else { return Stands::Before };
        let all = self.aws.records(&traffic.zone);
        let at = |name: &str| -> Vec<&RecordSet> {
            all.iter().filter(|set| set.name.trim_end_matches('.') == name).collect()
        };
        let (sets, marker) = (at(NAME), at(&format!("slipway.{NAME}")));
        let simple =
            |set: &RecordSet| set.routing == Routing::Simple && set.kind == "A" && set.health_check.is_none();
        match sets.as_slice() {
            [one] if simple(one) && marker.is_empty() => match &one.answer {
                Answer::Values { ttl, values } if i64::from(*ttl) == OLD_TTL && *values == ADDRESSES => {
                    Stands::Before
                }
                Answer::Alias(Alias { dns_name, .. }) if dns_name.contains("alb-dev") => Stands::TargetAlone,
                other => Stands::Broken(format!("{other:?}")),
            },
            sets => weighted(sets, marker.len()),
        }
    }

    /// The share of the target: none of it before the weighted records stand.
    pub fn share(&self) -> Option<Share> {
        match self.stands() {
            Stands::Before => Share::new(0, std::iter::once(1)),
            Stands::TargetAlone => Share::new(1, std::iter::once(0)),
            Stands::Weighted(share) => Some(share),
            Stands::Broken(_) => None,
        }
    }

    fn note_share(&mut self, by_hand: bool) {
        let (now, share) = (self.clock.now, self.share());
        let Some(traffic) = &mut self.traffic else { return };
        if traffic.share != share {
            traffic.in_sync_at = now + traffic.in_sync_after;
            traffic.by_hand = by_hand;
        }
        traffic.share = share;
    }

    /// Invariant 6, and the mutex of both kinds, after each batch that Route 53 took.
    pub fn judge_records(&mut self) {
        let before = self.traffic.as_ref().and_then(|traffic| traffic.share);
        self.note_share(false);
        if let Stands::Broken(words) = self.stands() {
            self.fail(6, format!("the records of the name are not whole: {words}"));
        }
        let none = || Share::new(0, std::iter::once(1));
        let moved = self.share() != before.or_else(none);
        let asked = self
            .cluster
            .traffic
            .newest()
            .and_then(|object| object.status.as_ref()?.traffic.as_ref()?.requested_weight);
        let wanted = asked
            .and_then(|asked| u8::try_from(asked).ok())
            .map(|asked| Share::asked(asked, ADDRESSES.len()));
        if moved && self.arrives_late && wanted.is_some() && self.share() != wanted {
            self.fail(7, format!("a late batch moves traffic, and {asked:?} % are asked for by now"));
        }
        if moved && self.writer().is_none() {
            self.fail(7, "a weight changes while nobody may write");
        }
    }

    /// The mutex of both kinds, at a fence.
    pub fn judge_fence(&mut self) {
        let now = self.clock.now;
        if self.traffic.as_ref().is_some_and(|traffic| traffic.in_sync_at > now && !traffic.by_hand) {
            self.fail(7, "the writer is fenced while a weight is not on all servers");
        }
    }

    /// Invariants 5, 7, 15 and 16, when a step is decided after a look that began at `looked`.
    pub fn judge_step(&mut self, goal: &Goal, step: &Step, looked: Micros) {
        let Some(share) = self.share() else { return };
        match step {
            Step::SetWeights(batch) => self.judge_weights(goal, batch, share, looked),
            Step::Restore(_) if !share.is_none() => self.fail(16, "a deletion takes traffic from the target"),
            Step::LeaveToTarget(_) if !share.is_all() => {
                self.fail(15, "the end gives the target more traffic");
            }
            Step::LeaveToTarget(_)
                if self.writer() == Some(Side::Source) && self.cluster.database.was_applied() =>
            {
                self.fail(15, "the way back is removed while the source is the writer");
            }
            _ => {}
        }
    }

    fn judge_weights(&mut self, goal: &Goal, batch: &Batch, share: Share, looked: Micros) {
        let wanted = Share::asked(batch.weight, ADDRESSES.len());
        if wanted == share {
            return;
        }
        let to = if wanted > share { Side::Target } else { Side::Source };
        let now = self.clock.now;
        let Some(traffic) = &self.traffic else { return };
        let mut wrong = Vec::new();
        if !traffic.healthy.get(to) && *traffic.healthy_until.get(to) < looked {
            wrong.push((5, format!("traffic goes to the {to}, which can't serve")));
        }
        let follows = traffic.fleets.as_ref().is_some_and(|(at, of)| *at >= looked && *of.get(to));
        if self.cluster.database.was_applied() && !follows {
            wrong.push((
                5,
                format!("traffic goes to the {to}, of which nobody saw that it writes to the writer"),
            ));
        }
        if to == Side::Target {
            if goal.suspended || goal.deletion.is_some() || batch.weight > goal.ceiling() {
                wrong.push((7, "traffic goes further than people allow".to_owned()));
            }
            let hold = goal.step_at(goal.weight_before(batch.weight)).map_or(0, |step| micros(step.hold));
            let due = traffic.in_sync_at + micros(goal.ttl()) + hold;
            // Whoever looks may see only whole seconds.
            if self.skew == 0 && !traffic.meddled && traffic.share.is_some() && now + SECOND < due {
                wrong
                    .push((7, format!("traffic goes on {} s before its hold is over", (due - now) / SECOND)));
            }
            for gate in goal
                .gates_at(goal.weight_before(batch.weight))
                .filter(|gate| !gate.rule.needs_traffic() || !share.is_none())
            {
                let known = traffic.evidence.get(&gate.name);
                let since = traffic.in_sync_at.max(now - LOOKED_WITHIN);
                if !matches!(gate.rule, Rule::DatabaseVerified | Rule::Sql { .. })
                    && !traffic.meddled
                    && !known.is_some_and(|(at, good)| *good && *at >= since)
                {
                    wrong.push((5, format!("traffic goes on, and gate {} has {known:?}", gate.name)));
                }
            }
        }
        for (invariant, words) in wrong {
            self.fail(invariant, words);
        }
    }
}

/// Whether a call, or a thing, of this name is the traffic's.
pub fn is_about(on: &str) -> bool {
    on.contains(APPLICATION) || on.contains(NAME)
}

/// The series of the target's errors.
pub fn errors_series() -> cloudwatch::Series {
    cloudwatch::Series {
        namespace: ERRORS.0.to_owned(),
        name: ERRORS.1.to_owned(),
        dimensions: BTreeMap::new(),
    }
}

/// What weighted records say, if they are whole.
fn weighted(sets: &[&RecordSet], markers: usize) -> Stands {
    let weight = |set: &RecordSet| match &set.routing {
        Routing::Weighted { set_identifier, weight } => Some((set_identifier.clone(), *weight)),
        Routing::Simple | Routing::Other { .. } => None,
    };
    let weights: Vec<(String, u8)> = sets.iter().filter_map(|set| weight(set)).collect();
    let target = weights.iter().find(|(name, _)| name == TARGET).map(|(_, weight)| *weight);
    let sources = weights.iter().filter(|(name, _)| name != TARGET).map(|(_, weight)| *weight);
    let whole = weights.len() == sets.len() && weights.len() == 1 + ADDRESSES.len();
    let checked = sets.iter().any(|set| set.health_check.is_some());
    match (target, markers) {
        (Some(target), 1) if whole && !checked => Share::new(target, sources)
            .map_or_else(|| Stands::Broken(format!("a sum of 0: {weights:?}")), Stands::Weighted),
        _ => Stands::Broken(format!("{weights:?}, {} records and {markers} markers", sets.len())),
    }
}

fn micros(duration: jiff::SignedDuration) -> Micros {
    Micros::try_from(duration.as_micros()).unwrap_or(Micros::MAX)
}
