//! Ask Kubernetes, AWS, both sides and the database what is true now. Changes nothing.

use futures::future::join_all;
use jiff::{SignedDuration, Timestamp};
use kube::{Api, Client};

use crate::api::application::Protocol;
use crate::api::database::DatabaseMigration;
use crate::application::context::Memory;
use crate::application::goal::{DatabaseGoal, Goal};
use crate::application::seen::{DatabaseSeen, Seen};
use crate::aws::balancer::{Balancer, Target};
use crate::aws::route53::{RecordSet, Route53};
use crate::aws::{Account, Aws};
use crate::database::seen::Known;
use crate::database::sight::Kept;
use crate::database::visit::{self, Visit};
use crate::fault::Fault;
use crate::gate::{self, Answer, Gate, Limit, Rule, Sample, Track, Verdict};
use crate::operator::accounts;
use crate::operator::objects::kubernetes;
use crate::postgres;
use crate::probe::{Place, Prober, Scheme};
use crate::side::{Side, Sides};

/// The zone is looked at again this often.
const RARELY: SignedDuration = SignedDuration::from_mins(5);
/// So are the load balancer, its target group, alarms and dashboard.
const NOW_AND_THEN: SignedDuration = SignedDuration::from_secs(30);

/// By what is looked.
pub struct Eyes<'a> {
    /// The Kubernetes API.
    pub client: &'a Client,
    /// AWS.
    pub aws: &'a Aws,
    /// The account that it should be.
    pub account: &'a Account,
    /// HTTP.
    pub prober: &'a Prober,
}

/// Looks at everything that the next decision needs. Gates are judged if they are due.
pub async fn look(eyes: &Eyes<'_>, goal: &Goal, memory: &mut Memory, now: Timestamp) -> Seen {
    let aws = eyes.aws;
    // Whoever goes back must not wait behind others.
    let urgent = aws.route53.urgent();
    let route53 = if goal.ceiling() < goal.requested.as_ref().map_or(0, |asked| asked.weight) {
        &urgent
    } else {
        &aws.route53
    };
    let track = |gate: &Gate| memory.gates.get(&gate.name).map(|(_, track)| track);
    let due: Vec<&Gate> = goal.gates.iter().filter(|gate| gate::is_due(gate, track(gate), now)).collect();
    let Memory { zone, balancer, group, alarms, dashboard, visit, account_at, .. } = memory;
    let ours = goal.ownership();
    let (target, record) = (&goal.target, &goal.record);
    let wants_alarms = goal.claimed || goal.deletion.is_some();
    let names = goal.names.alarms();
    let (
        account,
        zone,
        records,
        change,
        balancer,
        group,
        targets,
        service,
        (database, sql),
        alarms,
        dashboard,
    ) = futures::join!(
        accounts::verify(aws, eyes.account, account_at, now),
        kept(zone, RARELY, now, route53.zone(&record.zone_id)),
        records(route53, goal),
        change(route53, goal),
        kept(balancer, NOW_AND_THEN, now, aws.balancers.balancer(&target.balancer)),
        kept(group, NOW_AND_THEN, now, aws.balancers.target_group(&target.group)),
        targets(aws, goal),
        aws.ecs.service(&target.cluster, &target.service),
        database(eyes, goal, visit, &due, now),
        async {
            if !wants_alarms {
                return Ok(Vec::new());
            }
            kept(alarms, NOW_AND_THEN, now, aws.cloudwatch.alarms(&names, &ours)).await
        },
        async {
            if !wants_alarms {
                return Ok(None);
            }
            kept(dashboard, NOW_AND_THEN, now, aws.cloudwatch.dashboard(&goal.names.dashboard, &ours)).await
        },
    );
    let (health, samples) =
        futures::join!(health(eyes, goal, &balancer), samples(eyes, goal, &due, &balancer, now));
    let mut samples: Vec<(Gate, Sample)> = samples.into_iter().chain(sql).collect();
    samples.extend(of_database(goal, &due, database.as_ref()));
    judge(goal, memory, &samples, now);
    Seen {
        now,
        account,
        zone,
        records,
        change,
        balancer,
        group,
        targets,
        service,
        health,
        database,
        alarms,
        dashboard,
        gates: memory.gates.iter().map(|(name, (_, track))| (name.clone(), track.clone())).collect(),
    }
}

/// A fact that stays true for a while. A fault is not kept.
async fn kept<T: Clone>(
    kept: &mut Kept<T>,
    age: SignedDuration,
    now: Timestamp,
    ask: impl Future<Output = Known<T>>,
) -> Known<T> {
    match kept.younger(age, now) {
        Some(known) => Ok(known),
        None => Ok(kept.keep(now, ask.await?)),
    }
}

/// Every record of the name and of the marker's name.
async fn records(route53: &Route53, goal: &Goal) -> Known<Vec<RecordSet>> {
    let (zone, marker) = (&goal.record.zone_id, goal.record.marker());
    let (at_name, at_marker) =
        futures::try_join!(route53.records(zone, &goal.record.name), route53.records(zone, &marker))?;
    Ok(at_name.into_iter().chain(at_marker).collect())
}

async fn change(route53: &Route53, goal: &Goal) -> Option<Known<Option<crate::aws::route53::Propagation>>> {
    let asked = goal.requested.as_ref().filter(|asked| asked.since.is_none())?;
    let id = asked.change.as_ref()?;
    Some(route53.propagation(id).await)
}

async fn targets(aws: &Aws, goal: &Goal) -> Known<Vec<Target>> {
    // A target group that is not there is told of where it is looked for.
    Ok(aws.balancers.targets(&goal.target.group).await?.unwrap_or_default())
}

/// How a side is asked over HTTP: as its clients ask it, wherever the name may lead now.
fn place(goal: &Goal, at: &str, path: &str) -> Place {
    Place {
        at: at.to_owned(),
        port: goal.health.port,
        name: goal.record.name.clone(),
        scheme: match goal.health.protocol {
            Protocol::Http => Scheme::Http,
            Protocol::Https => Scheme::Https,
        },
        path: path.to_owned(),
    }
}

/// Where a side is asked: each address of the source, and the load balancer of the target.
fn places(goal: &Goal, side: Side, balancer: &Known<Option<Balancer>>) -> Known<Vec<String>> {
    match (side, balancer) {
        (Side::Source, _) => Ok(goal.source.places().to_vec()),
        (Side::Target, Ok(Some(balancer))) => Ok(vec![balancer.dns_name.clone()]),
        (Side::Target, Ok(None)) => Err(Fault::Wait("the load balancer does not exist".to_owned())),
        (Side::Target, Err(fault)) => Err(fault.clone()),
    }
}

async fn health(
    eyes: &Eyes<'_>,
    goal: &Goal,
    balancer: &Known<Option<Balancer>>,
) -> Sides<Known<Vec<(String, Answer)>>> {
    let ask = async |side: Side| {
        let asked = places(goal, side, balancer)?.into_iter().map(async |at| {
            let answer = eyes.prober.ask(&place(goal, &at, &goal.health.path)).await;
            (at, Answer::from(answer))
        });
        Ok(join_all(asked).await)
    };
    let (source, target) = futures::join!(ask(Side::Source), ask(Side::Target));
    Sides { source, target }
}

/// Samples of the gates that are due and rest on CloudWatch or on an answer.
async fn samples(
    eyes: &Eyes<'_>,
    goal: &Goal,
    due: &[&Gate],
    balancer: &Known<Option<Balancer>>,
    now: Timestamp,
) -> Vec<(Gate, Sample)> {
    let cloudwatch = &eyes.aws.cloudwatch;
    let sample = async |gate: &Gate| {
        let sample = match &gate.rule {
            Rule::Alarm { name } => {
                let found = cloudwatch.alarm_states(std::slice::from_ref(name)).await;
                Sample::Alarm(found.map(|states| states.into_iter().next()))
            }
            Rule::Metric { metric, limit, .. } => {
                let period = gate::metric_period(gate.interval).as_secs();
                let period = u32::try_from(period).unwrap_or(60);
                let own = cloudwatch.measured(metric, period, now).await;
                let source = match limit {
                    Limit::Fixed(_) => None,
                    Limit::OfSource { metric, .. } => Some(cloudwatch.measured(metric, period, now).await),
                };
                Sample::Metric { own, source }
            }
            Rule::Http { side, path, .. } => Sample::Http(match places(goal, *side, balancer) {
                Err(_) => Answer::Silent("where to ask is not known"),
                Ok(places) => worst(eyes, goal, &places, path, &gate.rule).await,
            }),
            Rule::DatabaseLag { .. } | Rule::DatabaseVerified | Rule::Sql { .. } => return None,
        };
        Some((gate.clone(), sample))
    };
    join_all(due.iter().copied().map(sample)).await.into_iter().flatten().collect()
}

/// The answer of all places that is furthest from what passes.
async fn worst(eyes: &Eyes<'_>, goal: &Goal, places: &[String], path: &str, rule: &Rule) -> Answer {
    let asked = places.iter().map(async |at| Answer::from(eyes.prober.ask(&place(goal, at, path)).await));
    let answers = join_all(asked).await;
    let rank = |answer: &Answer| match (answer, rule) {
        (Answer::Status(found), Rule::Http { status, .. }) if found == status => 0,
        (Answer::Silent(_), _) => 1,
        (Answer::Status(_) | Answer::Refused(_), _) => 2,
    };
    answers.into_iter().max_by_key(rank).unwrap_or(Answer::Silent("nobody was asked"))
}

/// What the `DatabaseMigration` says, read anew, and the answers to questions of SQL gates that are due.
async fn database(
    eyes: &Eyes<'_>,
    goal: &Goal,
    visit: &mut Visit,
    due: &[&Gate],
    now: Timestamp,
) -> (Option<Known<Option<DatabaseSeen>>>, Vec<(Gate, Sample)>) {
    let DatabaseGoal::Migration(name) = &goal.database else { return (None, Vec::new()) };
    let asks = due.iter().copied().filter_map(|gate| match &gate.rule {
        Rule::Sql { query, .. } => Some((gate, query)),
        _ => None,
    });
    let api = Api::<DatabaseMigration>::namespaced(eyes.client.clone(), &goal.migration.namespace);
    let object = match api.get_opt(name).await {
        Ok(Some(object)) => object,
        Ok(None) => return (Some(Ok(None)), Vec::new()),
        Err(error) => {
            let fault = kubernetes(&format!("reading DatabaseMigration {name}"), &error);
            return (Some(Err(fault)), Vec::new());
        }
    };
    let unknown = || Fault::Wait(format!("the writer of DatabaseMigration {name} is not known"));
    let mut seen = DatabaseSeen::read(&object, &goal.migration.name, Err(unknown()), now);
    let session = match (seen.writer, crate::database::goal::Goal::parse(&object)) {
        (Some(side), Ok(of)) => match visit.enter(eyes.client, eyes.aws, &of, side, now).await {
            Ok(session) => {
                seen.sessions = visit::sessions(&session, &of, side).await;
                Ok(session)
            }
            Err(fault) => Err(fault),
        },
        (Some(_), Err(blocked)) => Err(Fault::Wait(format!("DatabaseMigration {name}: {}", blocked.message))),
        (None, _) => Err(unknown()),
    };
    if let Err(fault) = &session {
        seen.sessions = Err(fault.clone());
    }
    let mut answers = Vec::new();
    for (gate, query) in asks {
        let answer = match &session {
            Ok(session) => postgres::ask(session, query).await,
            Err(fault) => Err(fault.clone()),
        };
        answers.push((gate.clone(), Sample::Sql(answer)));
    }
    (Some(Ok(Some(seen))), answers)
}

/// Samples of the gates that are due and rest on what the `DatabaseMigration` says.
pub fn of_database(
    goal: &Goal,
    due: &[&Gate],
    database: Option<&Known<Option<DatabaseSeen>>>,
) -> Vec<(Gate, Sample)> {
    let fact = |of: &Gate| -> Option<Sample> {
        let seen = match database {
            Some(Ok(Some(seen))) => Ok(Some(seen)),
            Some(Ok(None)) => Err(no_migration(goal)),
            None => Ok(None),
            Some(Err(fault)) => Err(fault.clone()),
        };
        match &of.rule {
            Rule::DatabaseLag { .. } => {
                Some(Sample::DatabaseLag(seen.map(|seen| seen.and_then(|seen| seen.lag))))
            }
            Rule::DatabaseVerified => {
                Some(Sample::DatabaseVerified(seen.map(|seen| seen.and_then(|seen| seen.verified))))
            }
            Rule::Alarm { .. } | Rule::Metric { .. } | Rule::Http { .. } | Rule::Sql { .. } => None,
        }
    };
    due.iter().filter_map(|gate| Some(((*gate).clone(), fact(gate)?))).collect()
}

fn no_migration(goal: &Goal) -> Fault {
    let name = match &goal.database {
        DatabaseGoal::Migration(name) => name.as_str(),
        DatabaseGoal::Declared => "",
    };
    Fault::Wait(format!("there is no DatabaseMigration {name} in this namespace"))
}

/// Judges each sample, and remembers how that ended.
pub fn judge(goal: &Goal, memory: &mut Memory, samples: &[(Gate, Sample)], now: Timestamp) {
    let since = goal.requested.as_ref().and_then(|asked| asked.since);
    let unsent = goal.requested.as_ref().is_some_and(|asked| asked.change.is_none());
    for (gate, sample) in samples {
        let judgement = gate::judge(gate, sample, since, now);
        let before = memory.gates.get(&gate.name).map(|(_, track)| track);
        // Between asking for a weight and sending it much can't be known: the pass that it rests on counts until it is too old.
        let passed = before.is_some_and(|track| track.last.verdict == Verdict::Pass);
        if unsent && passed && judgement.verdict == Verdict::Unknown {
            continue;
        }
        let track = Track::after(before, judgement, now);
        memory.gates.insert(gate.name.clone(), (gate.clone(), track));
    }
}
