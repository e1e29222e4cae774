//! What an operator asks before it decides on traffic, in the order of `application::observe::look`.

use std::net::IpAddr;

use jiff::{SignedDuration, Timestamp};
use sandbox::world::balancer::{self, Health};
use sandbox::world::{Call, Reply as Answer, cloudwatch as cw, ecs, route53};
use slipway::application::context::Memory;
use slipway::application::goal::{DatabaseGoal, Goal};
use slipway::application::observe::{judge, of_database};
use slipway::application::seen::{DatabaseSeen, Seen};
use slipway::aws::balancer::{Balancer, Target, TargetGroup, TargetHealth};
use slipway::aws::cloudwatch::{Dashboard, Datapoint};
use slipway::aws::ecs::{Deployment, Service};
use slipway::aws::route53::{self as records, Propagation, RecordSet, Zone};
use slipway::database::seen::Known;
use slipway::database::sight::{Eyes, Kept};
use slipway::fault::Fault;
use slipway::gate::{self, Answer as Told, Gate, Rule, Sample};
use slipway::side::{Side, Sides};

use super::super::Process;
use super::super::aws::{present, strange};
use crate::world::traffic::errors_series;

/// `observe::RARELY`.
const RARELY: SignedDuration = SignedDuration::from_mins(5);
/// `observe::NOW_AND_THEN`.
const NOW_AND_THEN: SignedDuration = SignedDuration::from_secs(30);

impl Process {
    /// `observe::look`.
    pub(super) async fn look_at_traffic(&self, goal: &Goal, memory: &mut Memory, now: Timestamp) -> Seen {
        let track = |gate: &Gate| memory.gates.get(&gate.name).map(|(_, track)| track);
        let due: Vec<&Gate> = goal.gates.iter().filter(|gate| gate::is_due(gate, track(gate), now)).collect();
        let zone = kept(&mut memory.zone, RARELY, now, self.zone(goal)).await;
        let records = self.records(goal).await;
        let change = self.propagation(goal).await;
        let balancer = kept(&mut memory.balancer, NOW_AND_THEN, now, self.balancer(goal)).await;
        let group = kept(&mut memory.group, NOW_AND_THEN, now, self.target_group(goal)).await;
        let targets = self.targets(goal).await;
        let service = self.service(goal).await;
        let database = self.migration(goal, now).await;
        let wanted = goal.claimed || goal.deletion.is_some();
        let (alarms, dashboard) = if wanted {
            let (names, ours) = (goal.names.alarms(), goal.ownership());
            (
                kept(&mut memory.alarms, NOW_AND_THEN, now, self.alarms(&names, &ours)).await,
                kept(&mut memory.dashboard, NOW_AND_THEN, now, self.dashboard(goal)).await,
            )
        } else {
            (Ok(Vec::new()), Ok(None))
        };
        let health = Sides {
            source: self.health(goal, Side::Source, &balancer).await,
            target: self.health(goal, Side::Target, &balancer).await,
        };
        let mut samples = Vec::new();
        for gate in &due {
            samples.extend(self.sample(gate, now).await.map(|sample| ((*gate).clone(), sample)));
        }
        samples.extend(of_database(goal, &due, database.as_ref()));
        self.remember_lag(&samples);
        judge(goal, memory, &samples, now);
        let mut seen = Seen {
            now,
            account: Ok(()),
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
        };
        if let Some(mutant) = self.sim.with(|world| world.mutant) {
            super::hands::lie(mutant, &mut seen);
        }
        seen
    }

    async fn route53(
        &self,
        name: &'static str,
        on: &str,
        call: route53::Call,
    ) -> Known<Option<route53::Reply>> {
        match present(self.aws("route53", name, false, on, Call::Route53(call)).await)? {
            Some(Answer::Route53(reply)) => Ok(Some(reply)),
            Some(_) => Err(strange(name).fault),
            None => Ok(None),
        }
    }

    async fn zone(&self, goal: &Goal) -> Known<Option<Zone>> {
        let id = &goal.record.zone_id;
        match self.route53("GetHostedZone", id, route53::Call::GetHostedZone { id: id.clone() }).await? {
            Some(route53::Reply::Zone(zone)) => {
                Ok(Some(Zone { id: zone.id, name: records::normal(&zone.name), private: zone.private }))
            }
            Some(_) => Err(strange("GetHostedZone").fault),
            None => Ok(None),
        }
    }

    async fn records(&self, goal: &Goal) -> Known<Vec<RecordSet>> {
        let mut all = Vec::new();
        for name in [goal.record.name.clone(), goal.record.marker()] {
            let list = route53::List {
                zone_id: goal.record.zone_id.clone(),
                name: Some(name.clone()),
                ..route53::List::default()
            };
            let call = route53::Call::ListResourceRecordSets(list);
            let on = format!("{name} in {}", goal.record.zone_id);
            match self.route53("ListResourceRecordSets", &on, call).await? {
                Some(route53::Reply::Records(page)) => {
                    all.extend(page.records.into_iter().map(read).filter(|set| set.name == name));
                }
                Some(_) => return Err(strange("ListResourceRecordSets").fault),
                None => return Err(Fault::Again(format!("{on}: there is no such zone"))),
            }
        }
        Ok(all)
    }

    async fn propagation(&self, goal: &Goal) -> Option<Known<Option<Propagation>>> {
        let asked = goal.requested.as_ref().filter(|asked| asked.since.is_none())?;
        let id = asked.change.clone()?;
        let reply = self.route53("GetChange", &id, route53::Call::GetChange { id: id.clone() }).await;
        Some(reply.map(|reply| match reply {
            Some(route53::Reply::Change(change)) if change.in_sync => Some(Propagation::InSync),
            Some(route53::Reply::Change(_)) => Some(Propagation::Pending),
            _ => None,
        }))
    }

    async fn balancers(
        &self,
        name: &'static str,
        on: &str,
        call: balancer::Call,
    ) -> Known<Option<balancer::Reply>> {
        match present(self.aws("elasticloadbalancing", name, false, on, Call::Balancer(call)).await)? {
            Some(Answer::Balancer(reply)) => Ok(Some(reply)),
            Some(_) => Err(strange(name).fault),
            None => Ok(None),
        }
    }

    async fn balancer(&self, goal: &Goal) -> Known<Option<Balancer>> {
        let arn = &goal.target.balancer;
        let call = balancer::Call::DescribeLoadBalancers { arns: vec![arn.clone()], names: Vec::new() };
        let Some(balancer::Reply::LoadBalancers(found)) =
            self.balancers("DescribeLoadBalancers", arn, call).await?
        else {
            return Ok(None);
        };
        Ok(found.into_iter().next().map(|seen| Balancer {
            arn: seen.arn,
            dns_name: seen.dns_name,
            zone_id: seen.zone_id,
            state: seen.state,
        }))
    }

    async fn target_group(&self, goal: &Goal) -> Known<Option<TargetGroup>> {
        let arn = &goal.target.group;
        let call = balancer::Call::DescribeTargetGroups {
            arns: vec![arn.clone()],
            names: Vec::new(),
            balancer_arn: None,
        };
        let Some(balancer::Reply::TargetGroups(found)) =
            self.balancers("DescribeTargetGroups", arn, call).await?
        else {
            return Ok(None);
        };
        Ok(found.into_iter().next().map(|seen| TargetGroup { arn: seen.arn, balancers: seen.balancer_arns }))
    }

    async fn targets(&self, goal: &Goal) -> Known<Vec<Target>> {
        let arn = &goal.target.group;
        let call = balancer::Call::DescribeTargetHealth { group_arn: arn.clone(), targets: Vec::new() };
        let Some(balancer::Reply::TargetHealth(found)) =
            self.balancers("DescribeTargetHealth", arn, call).await?
        else {
            return Ok(Vec::new());
        };
        let target = |seen: balancer::Target| Target {
            id: seen.address.to_string(),
            port: seen.port,
            health: match seen.health {
                Health::Healthy => TargetHealth::Healthy,
                Health::Initial => TargetHealth::Initial,
                Health::Unhealthy(_) => TargetHealth::Unhealthy,
                Health::Unused => TargetHealth::Unused,
                Health::Draining(_) => TargetHealth::Draining,
            },
            reason: seen.health.words().1.map(str::to_owned),
        };
        Ok(found.into_iter().map(target).collect())
    }

    async fn service(&self, goal: &Goal) -> Known<Option<Service>> {
        let (cluster, service) = (goal.target.cluster.clone(), goal.target.service.clone());
        let on = format!("{service} in {cluster}");
        let call = Call::DescribeServices(ecs::Describe { cluster: Some(cluster), services: vec![service] });
        let reply = present(self.aws("ecs", "DescribeServices", false, &on, call).await)?;
        let Some(Answer::Services(described)) = reply else { return Ok(None) };
        Ok(described.services.into_iter().next().map(|seen| Service {
            arn: seen.arn,
            status: seen.service.status,
            desired: i32::try_from(seen.service.desired).unwrap_or(i32::MAX),
            running: i32::try_from(seen.running).unwrap_or(i32::MAX),
            pending: i32::try_from(seen.pending).unwrap_or(i32::MAX),
            deployments: seen
                .deployments
                .into_iter()
                .map(|(status, rollout, _)| Deployment {
                    status: status.to_owned(),
                    rollout: Some(rollout.to_owned()),
                })
                .collect(),
            target_groups: seen.service.group_arn.into_iter().collect(),
        }))
    }

    /// `observe::database`: the resource, then the sessions of its writer.
    async fn migration(&self, goal: &Goal, now: Timestamp) -> Option<Known<Option<DatabaseSeen>>> {
        let DatabaseGoal::Migration(name) = &goal.database else { return None };
        let read = self
            .kubernetes("Get of the other", false, |world| Ok(world.cluster.database.newest().cloned()))
            .await;
        let object = match read {
            Ok(Some(object)) => object,
            Ok(None) => return Some(Ok(None)),
            Err(fault) => return Some(Err(fault)),
        };
        let unknown = || Fault::Wait(format!("the writer of DatabaseMigration {name} is not known"));
        let mut seen = DatabaseSeen::read(&object, &goal.migration.name, Err(unknown()), now);
        if let Some(side) = seen.writer {
            let found: Known<Vec<IpAddr>> =
                self.sql("sessions", side, false, move |world| Ok(world.fleets(side))).await;
            seen.sessions = found;
        }
        Some(Ok(Some(seen)))
    }

    pub(super) async fn dashboard(&self, goal: &Goal) -> Known<Option<Dashboard>> {
        let name = goal.names.dashboard.clone();
        let call = Call::CloudWatch(cw::Call::GetDashboard { name: name.clone() });
        let reply = present(self.aws("cloudwatch", "GetDashboard", false, &name, call).await)?;
        let Some(Answer::CloudWatch(cw::Reply::Dashboard(seen))) = reply else { return Ok(None) };
        let call = Call::CloudWatch(cw::Call::ListTagsForResource { arn: seen.arn.clone() });
        let reply = present(self.aws("cloudwatch", "ListTagsForResource", false, &name, call).await)?;
        let tags: Vec<(String, String)> = match reply {
            Some(Answer::CloudWatch(cw::Reply::Tags(tags))) => tags.into_iter().collect(),
            _ => Vec::new(),
        };
        Ok(Some(Dashboard { name, body: seen.body, owner: self.judge(&goal.ownership(), &tags) }))
    }

    /// `observe::health`.
    async fn health(
        &self,
        goal: &Goal,
        side: Side,
        balancer: &Known<Option<Balancer>>,
    ) -> Known<Vec<(String, Told)>> {
        let places = match (side, balancer) {
            (Side::Source, _) => goal.source.places().to_vec(),
            (Side::Target, Ok(Some(balancer))) => vec![balancer.dns_name.clone()],
            (Side::Target, Ok(None)) => {
                return Err(Fault::Wait("the load balancer does not exist".to_owned()));
            }
            (Side::Target, Err(fault)) => return Err(fault.clone()),
        };
        let mut answers = Vec::new();
        for place in places {
            let answer = self.ask(side, &place).await;
            answers.push((place, answer));
        }
        Ok(answers)
    }

    /// One request over HTTP.
    async fn ask(&self, side: Side, place: &str) -> Told {
        let asked =
            self.http("ask", place, move |world| if world.serves(side) { 200_u16 } else { 503 }).await;
        asked.map_or(Told::Silent("no answer in time"), Told::Status)
    }

    /// `observe::samples`.
    async fn sample(&self, gate: &Gate, now: Timestamp) -> Option<Sample> {
        match &gate.rule {
            Rule::Metric { .. } => {
                let own = self.errors(gate, now).await;
                Some(Sample::Metric { own, source: None })
            }
            Rule::Http { side, status, .. } => {
                let (side, status, name) = (*side, *status, gate.name.clone());
                let answer = self
                    .http("ask for a gate", &name.clone(), move |world| {
                        let found = if world.serves(side) { 200 } else { 503 };
                        world.testify(&name, found == status);
                        found
                    })
                    .await;
                Some(Sample::Http(answer.map_or(Told::Silent("no answer in time"), Told::Status)))
            }
            Rule::Alarm { .. } | Rule::DatabaseLag { .. } | Rule::DatabaseVerified | Rule::Sql { .. } => None,
        }
    }

    /// `CloudWatch::datapoint`: the newest period that is over, with its samples.
    async fn errors(&self, gate: &Gate, now: Timestamp) -> Known<Option<Datapoint>> {
        let period = gate::metric_period(gate.interval).as_secs();
        let end = now.as_second() - now.as_second().rem_euclid(period);
        let second = |at: i64| Timestamp::from_second(at).unwrap_or(now);
        let query = |id: &str, statistic| cw::MetricQuery {
            id: id.to_owned(),
            label: None,
            series: errors_series(),
            period_seconds: period,
            statistic,
            unit: None,
        };
        let call = Call::CloudWatch(cw::Call::GetMetricData(cw::GetMetricData {
            queries: vec![
                query("value", cw::Statistic::Maximum),
                query("samples", cw::Statistic::SampleCount),
            ],
            start: second(end - (5 * period).max(600)),
            end: second(end),
            ascending: false,
        }));
        let reply = self.aws("cloudwatch", "GetMetricData", false, &gate.name, call).await?;
        let Answer::CloudWatch(cw::Reply::MetricData(results)) = reply else {
            return Err(strange("GetMetricData").fault);
        };
        let of = |id: &str| results.iter().find(|result| result.id == id).map(|result| &result.points);
        let (Some(values), Some(samples)) = (of("value"), of("samples")) else { return Ok(None) };
        let newest = values.iter().max_by_key(|point| point.at);
        let found = newest.and_then(|point| {
            let samples = samples.iter().find(|samples| samples.at == point.at)?;
            Some(Datapoint { at: point.at, value: point.value, samples: samples.value })
        });
        if let Some(found) = found {
            let good = found.value <= 5.0;
            self.sim.with(|world| world.testify(&gate.name, good));
        }
        Ok(found)
    }

    fn remember_lag(&self, samples: &[(Gate, Sample)]) {
        for (gate, sample) in samples {
            if let (Rule::DatabaseLag { max }, Sample::DatabaseLag(Ok(Some((lag, _))))) = (&gate.rule, sample)
            {
                self.sim.with(|world| world.testify(&gate.name, lag <= max));
            }
        }
    }
}

/// `observe::kept`.
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

/// A record set in the product's words.
pub(in crate::operator) fn read(seen: route53::RecordSet) -> RecordSet {
    RecordSet {
        name: records::normal(&seen.name),
        kind: seen.kind,
        routing: match seen.routing {
            route53::Routing::Simple => records::Routing::Simple,
            route53::Routing::Weighted { set_identifier, weight } => {
                records::Routing::Weighted { set_identifier, weight }
            }
            route53::Routing::Other { field, .. } => records::Routing::Other(field),
        },
        answer: match seen.answer {
            route53::Answer::Values { ttl, values } => records::Answer::Values { ttl, values },
            route53::Answer::Alias(alias) => records::Answer::Alias {
                zone_id: alias.hosted_zone_id,
                dns_name: records::normal(&alias.dns_name),
                evaluate_target_health: alias.evaluate_target_health,
            },
        },
        health_check: seen.health_check,
    }
}
