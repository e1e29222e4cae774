//! The rules, one by one; each names its source in the module that it is a rule of.

use super::*;
use crate::dice::Dice;
use crate::world::balancer::{Check, Health};
use crate::world::{Config, Delays, Switches, balancer};

struct Stage {
    world: World,
    now: Timestamp,
    zone: String,
    dice: Dice,
}

const NAME: &str = "api.bank.example.";

impl Stage {
    fn new(switches: Switches) -> Self {
        let now = Timestamp::from_second(1_800_000_000).expect("a time");
        let delays = Delays { dns_in_sync: SignedDuration::from_secs(30), ..Delays::none() };
        let mut world = World::new(Config { delays, switches, ..Config::default() }, now);
        let zone = world.keep_zone("bank.example", false);
        Self { world, now, zone, dice: Dice::new(7) }
    }

    fn wait(&mut self, milliseconds: i64) {
        self.now += SignedDuration::from_millis(milliseconds);
        self.world.advance(self.now);
    }

    /// A change, once Route 53 is ready for the next.
    fn change(&mut self, changes: Vec<(Action, Wanted)>) -> Result<ChangeInfo, Refusal> {
        self.wait(200);
        let zone_id = self.zone.clone();
        self.change_at_once(ChangeBatch { zone_id, comment: None, changes })
    }

    fn change_at_once(&mut self, batch: ChangeBatch) -> Result<ChangeInfo, Refusal> {
        match self.world.call(crate::world::Call::Route53(Call::ChangeResourceRecordSets(batch)), self.now)? {
            crate::world::Reply::Route53(Reply::Change(change)) => Ok(change),
            other => panic!("{other:?}"),
        }
    }

    /// What a change is refused for.
    fn refused(&mut self, changes: Vec<(Action, Wanted)>) -> Refusal {
        let before = self.world.records(&self.zone);
        let refusal = self.change(changes).expect_err("refused");
        assert_eq!(self.world.records(&self.zone), before, "nothing of a refused batch happens");
        refusal
    }

    fn listed(&self) -> Vec<String> {
        let shown =
            |set: RecordSet| format!("{} {} {}", set.name, set.kind, set.set_identifier().unwrap_or("-"));
        self.world.records(&self.zone).into_iter().map(shown).filter(|line| line.starts_with(NAME)).collect()
    }

    /// How often each of these values is answered, of a thousand questions.
    fn drawn(&mut self, values: &[&str]) -> Vec<usize> {
        let mut drawn = vec![0; values.len()];
        for _ in 0..1000 {
            let DnsAnswer::Records(records) = self.world.resolve(NAME, "A", &mut self.dice) else {
                panic!("no answer");
            };
            let last = records.last().expect("an address").values.concat();
            drawn[values.iter().position(|value| *value == last).expect(&last)] += 1;
        }
        drawn
    }
}

fn simple(kind: &str, value: &str) -> Wanted {
    let values = vec![value.to_owned()];
    Wanted { name: NAME.into(), kind: kind.into(), ttl: Some(30), values, ..Wanted::default() }
}

fn weighted(set: &str, weight: i64, value: &str) -> Wanted {
    Wanted { set_identifier: Some(set.into()), weight: Some(weight), ..simple("A", value) }
}

fn alias(set: &str, weight: i64, to: &str, zone: &str, evaluate_target_health: bool) -> Wanted {
    let (hosted_zone_id, dns_name) = (zone.to_owned(), to.to_owned());
    let alias = Some(Alias { hosted_zone_id, dns_name, evaluate_target_health });
    Wanted { alias, ttl: None, values: Vec::new(), ..weighted(set, weight, "") }
}

#[test]
fn a_batch_happens_as_a_whole_or_not_at_all() {
    let mut stage = Stage::new(Switches::default());
    stage.change(vec![(Action::Create, simple("A", "192.0.2.1"))]).expect("a simple record");
    let replace = vec![
        (Action::Delete, simple("A", "192.0.2.1")),
        (Action::Create, weighted("source", 100, "192.0.2.1")),
        (Action::Create, weighted("target", 0, "192.0.2.2")),
        (Action::Create, Wanted { kind: "TXT".into(), ..simple("TXT", "\"heritage=slipway\"") }),
    ];
    let mut torn = replace.clone();
    torn.push((Action::Delete, simple("AAAA", "::1")));
    let refusal = stage.refused(torn);
    assert_eq!(refusal.code, "InvalidChangeBatch");
    assert!(refusal.message.contains("but it was not found"), "{refusal}");
    stage.change(replace).expect("replaced");
    let all = ["api.bank.example. A source", "api.bank.example. A target", "api.bank.example. TXT -"];
    assert_eq!(stage.listed(), all);
}

#[test]
fn what_stands_is_compared_before_it_is_made_or_deleted() {
    let mut stage = Stage::new(Switches::default());
    stage.change(vec![(Action::Create, weighted("one", 5, "192.0.2.1"))]).expect("made");
    for (change, why) in [
        ((Action::Create, weighted("one", 5, "192.0.2.1")), "already exists"),
        ((Action::Delete, weighted("one", 6, "192.0.2.1")), "do not match the current values"),
        ((Action::Delete, weighted("one", 5, "192.0.2.2")), "do not match the current values"),
        ((Action::Delete, weighted("two", 5, "192.0.2.1")), "was not found"),
        ((Action::Create, simple("A", "192.0.2.1")), "weighted RRSet with the same name and type exists"),
        ((Action::Upsert, simple("A", "192.0.2.1")), "weighted RRSet with the same name and type exists"),
        ((Action::Create, simple("CNAME", "a.example")), "conflicting RRSet of type CNAME"),
        (
            (Action::Create, Wanted { ttl: Some(60), ..weighted("two", 5, "192.0.2.2") }),
            "must have the same TTL",
        ),
    ] {
        let refusal = stage.refused(vec![change.clone()]);
        assert_eq!(refusal.code, "InvalidChangeBatch", "{change:?}");
        assert!(refusal.message.contains(why), "{refusal}");
    }
    let slower =
        |set: &str, value: &str| (Action::Upsert, Wanted { ttl: Some(60), ..weighted(set, 5, value) });
    stage.change(vec![slower("one", "192.0.2.1"), slower("two", "192.0.2.2")]).expect("all at once");
}

#[test]
fn a_record_alone_must_make_sense() {
    let mut stage = Stage::new(Switches::default());
    let several = |wanted: Wanted| Wanted { values: vec!["192.0.2.1".into(), "192.0.2.2".into()], ..wanted };
    let named = |name: &str, wanted: Wanted| Wanted { name: name.into(), ..wanted };
    for (wanted, code, why) in [
        (weighted("one", 256, "192.0.2.1"), "InvalidInput", "between 0 and 255"),
        (weighted("one", -1, "192.0.2.1"), "InvalidInput", "between 0 and 255"),
        (Wanted { set_identifier: None, ..weighted("", 1, "192.0.2.1") }, "InvalidInput", "'SetIdentifier'"),
        (Wanted { weight: None, ..weighted("one", 1, "192.0.2.1") }, "InvalidInput", "but found none"),
        (weighted(&"x".repeat(129), 1, "192.0.2.1"), "InvalidInput", "setIdentifier"),
        (Wanted { ttl: None, ..simple("A", "192.0.2.1") }, "InvalidInput", "but found none"),
        (
            Wanted { ttl: Some(30), ..alias("one", 1, "localhost", "Z1", false) },
            "InvalidInput",
            "more than one",
        ),
        (named("", simple("A", "192.0.2.1")), "InvalidInput", "name"),
        (simple("B", "192.0.2.1"), "InvalidInput", "type"),
        (several(weighted("one", 1, "")), "InvalidChangeBatch", "only one resource record"),
        (simple("A", "192.0.2.256"), "InvalidChangeBatch", "IPv4"),
        (simple("TXT", "unquoted"), "InvalidChangeBatch", "InvalidCharacterString"),
        (named("bank.example", simple("CNAME", "a.example")), "InvalidChangeBatch", "at apex"),
        (named("bank.other", simple("A", "192.0.2.1")), "InvalidChangeBatch", "not permitted in zone"),
        (Wanted { health_check: Some("no".into()), ..simple("A", "192.0.2.1") }, "NoSuchHealthCheck", "no"),
    ] {
        let refusal = stage.refused(vec![(Action::Create, wanted.clone())]);
        assert_eq!(refusal.code, code, "{wanted:?}: {refusal}");
        assert!(refusal.message.contains(why), "{refusal}");
    }
    stage.change(vec![(Action::Create, several(simple("A", "")))]).expect("a simple one may have several");
    let many = (0..501).map(|n| (Action::Upsert, weighted(&n.to_string(), 1, "192.0.2.1"))).collect();
    assert!(stage.refused(many).message.contains("UPSERT counting twice"));
}

#[test]
fn servers_answer_the_old_until_in_sync() {
    let mut stage = Stage::new(Switches::default());
    stage.world.keep_record(&stage.zone, simple("A", "192.0.2.1")).expect("kept");
    let change = stage.change(vec![(Action::Upsert, simple("A", "192.0.2.2"))]).expect("changed");
    assert!(!change.in_sync);
    let both = ["192.0.2.1", "192.0.2.2"];
    assert_eq!(stage.drawn(&both), [1000, 0]);
    stage.wait(29_999);
    assert_eq!(stage.drawn(&both), [1000, 0]);
    stage.wait(1);
    assert_eq!(stage.drawn(&both), [0, 1000]);
    let asked = crate::world::Call::Route53(Call::GetChange { id: change.id });
    let reply = stage.world.call(asked, stage.now).expect("known");
    let crate::world::Reply::Route53(Reply::Change(change)) = reply else { panic!("{reply:?}") };
    assert!(change.in_sync);
}

#[test]
fn a_zone_at_work_refuses_the_next_change_and_the_account_has_a_budget() {
    for waits in [false, true] {
        let switches = Switches { changes_wait_for_insync: waits, ..Switches::default() };
        let mut stage = Stage::new(switches);
        let batch = |stage: &Stage, value: &str| ChangeBatch {
            zone_id: stage.zone.clone(),
            comment: None,
            changes: vec![(Action::Upsert, simple("A", value))],
        };
        let (first, second) = (batch(&stage, "192.0.2.1"), batch(&stage, "192.0.2.2"));
        stage.change_at_once(first).expect("the first");
        let refusal = stage.change_at_once(second.clone()).expect_err("too soon");
        assert_eq!(refusal.code, "PriorRequestNotComplete");
        stage.wait(1000);
        assert_eq!(stage.change_at_once(second.clone()).is_err(), waits, "still PENDING");
        stage.wait(30_000);
        stage.change_at_once(second).expect("INSYNC");
        let ask = |stage: &mut Stage| {
            let zone = crate::world::Call::Route53(Call::GetHostedZone { id: stage.zone.clone() });
            stage.world.call(zone, stage.now).map(drop)
        };
        // One of the 50 went to the change above.
        for _ in 0..49 {
            ask(&mut stage).expect("within the burst");
        }
        assert_eq!(ask(&mut stage).expect_err("used up").code, "Throttling");
        stage.wait(100);
        ask(&mut stage).expect("a tenth of a second later");
        ask(&mut stage).expect_err("one and no more");
    }
}

#[test]
fn shares_follow_the_weights_and_health_follows_the_guide() {
    let mut stage = Stage::new(Switches::default());
    let (arn, group) = stage.world.keep_balancer(
        "alb",
        "alb.elb.example",
        vec!["127.0.0.9".parse().expect("one")],
        Check::default(),
    );
    let zone_id = stage.world.balancers_mut()[0].zone_id.clone();
    let check = CheckConfig {
        kind: "HTTP".into(),
        ip_address: Some("192.0.2.1".into()),
        request_interval: 30,
        failure_threshold: 3,
        ..CheckConfig::default()
    };
    let call = CreateHealthCheck { caller_reference: "one".into(), config: check };
    let Ok(Reply::HealthCheck { check, .. }) = stage.world.create_health_check(call) else {
        panic!("refused")
    };
    let source =
        |weight| Wanted { health_check: Some(check.id.clone()), ..weighted("source", weight, "192.0.2.1") };
    let target = |weight, evaluate| alias("target", weight, "dualstack.ALB.elb.example", &zone_id, evaluate);
    let both = ["192.0.2.1", "127.0.0.9"];
    let put = |stage: &mut Stage, source: Wanted, target: Wanted| {
        stage.world.keep_record(&stage.zone, source).expect("kept");
        stage.world.keep_record(&stage.zone, target).expect("kept");
    };
    put(&mut stage, source(3), target(1, false));
    let drawn = stage.drawn(&both);
    // Of 1000 draws with a share of a quarter, four standard deviations are 55.
    assert!((195..=305).contains(&drawn[1]), "{drawn:?}");

    put(&mut stage, source(1), target(0, false));
    assert_eq!(stage.drawn(&both), [1000, 0]);
    stage
        .world
        .meddle(crate::world::Meddling::HealthCheck { id: check.id.clone(), passes: false }, stage.now)
        .expect("sick");
    assert_eq!(stage.drawn(&both), [0, 1000], "a zero weight comes back when all others are unhealthy");
    put(&mut stage, source(1), target(0, true));
    assert_eq!(
        stage.drawn(&both),
        [1000, 0],
        "an empty group is unhealthy, and if nobody is healthy all are"
    );
    stage.world.register(&group, "127.0.0.2".parse().expect("one"), 80);
    let probe = stage.world.due_probes(stage.now).remove(0);
    stage.world.probed(&probe, Ok(()), stage.now);
    assert_eq!(stage.world.target_groups()[0].targets[0].health, Health::Healthy);
    assert_eq!(stage.drawn(&both), [0, 1000]);
    put(&mut stage, Wanted { health_check: None, ..source(0) }, target(0, false));
    let drawn = stage.drawn(&both);
    assert!(drawn.iter().all(|times| *times > 400), "all with 0: equal shares, not {drawn:?}");
    let described = balancer::Call::DescribeLoadBalancers { arns: vec![arn], names: Vec::new() };
    stage.world.call(crate::world::Call::Balancer(described), stage.now).expect("there");
}

#[test]
fn names_are_followed_and_absent_ones_told_apart() {
    let mut stage = Stage::new(Switches::default());
    stage.world.keep_record(&stage.zone, simple("CNAME", "onprem.bank.example")).expect("kept");
    let there = Wanted { name: "onprem.bank.example".into(), ..simple("A", "192.0.2.1") };
    stage.world.keep_record(&stage.zone, there).expect("kept");
    let ask = |stage: &mut Stage, name: &str, kind: &str| stage.world.resolve(name, kind, &mut stage.dice);
    let DnsAnswer::Records(records) = ask(&mut stage, "API.bank.example", "A") else { panic!("no answer") };
    let kinds: Vec<&str> = records.iter().map(|record| record.kind.as_str()).collect();
    assert_eq!(kinds, ["CNAME", "A"]);
    assert_eq!(ask(&mut stage, "no.bank.example", "A"), DnsAnswer::NoSuchName);
    assert_eq!(ask(&mut stage, "onprem.bank.example", "TXT"), DnsAnswer::Records(Vec::new()));
    assert_eq!(ask(&mut stage, "bank.other", "A"), DnsAnswer::Refused);
    // A loop of names ends.
    let around = Wanted { name: "a.bank.example".into(), ..simple("CNAME", "a.bank.example") };
    stage.world.keep_record(&stage.zone, around).expect("kept");
    let DnsAnswer::Records(records) = ask(&mut stage, "a.bank.example", "A") else { panic!("no answer") };
    assert!(records.len() < 20);
}

#[test]
fn a_listing_has_pages_and_begins_where_told() {
    let mut stage = Stage::new(Switches::default());
    for set in ["one", "two"] {
        stage.world.keep_record(&stage.zone, weighted(set, 1, "192.0.2.1")).expect("kept");
    }
    let mut list = List { zone_id: stage.zone.clone(), max_items: Some(1), ..List::default() };
    let mut seen = Vec::new();
    loop {
        let call = crate::world::Call::Route53(Call::ListResourceRecordSets(list.clone()));
        let reply = stage.world.call(call, stage.now).expect("listed");
        let crate::world::Reply::Route53(Reply::Records(page)) = reply else { panic!("{reply:?}") };
        seen.extend(
            page.records.iter().map(|set| format!("{} {}", set.kind, set.set_identifier().unwrap_or("-"))),
        );
        let Some(next) = page.next else { break };
        list.identifier = next.set_identifier().map(str::to_owned);
        (list.name, list.kind) = (Some(next.name), Some(next.kind));
    }
    assert_eq!(seen, ["NS -", "SOA -", "A one", "A two"]);
    let without_name = List { name: None, kind: Some("A".into()), identifier: None, ..list };
    let call = crate::world::Call::Route53(Call::ListResourceRecordSets(without_name));
    assert_eq!(stage.world.call(call, stage.now).expect_err("no name").code, "InvalidInput");
}
