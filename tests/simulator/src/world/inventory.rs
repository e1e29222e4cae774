//! Everything that exists at AWS.

use sandbox::world::route53::{Answer, Wanted};
use sandbox::world::{Call, Reply, cloudwatch, dms};
use slipway::side::Side;

use super::World;
use crate::journey::{RECORD, ZONE};

/// Of the applications' record, in seconds.
const OWN_TTL: u32 = 300;

/// Something at AWS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// Its name.
    pub name: String,
    /// What can be told of it, but for what changes by itself.
    pub what: String,
}

impl Item {
    fn new(name: String, what: impl std::fmt::Debug) -> Self {
        Self { name, what: format!("{what:?}") }
    }
}

impl World {
    /// Everything that exists at AWS.
    pub fn inventory(&mut self) -> Vec<Item> {
        self.existing().into_iter().map(|(item, _)| item).collect()
    }

    /// What is left, in words that do not depend on the way; without what arrived when nobody was there to undo it.
    pub fn left(&mut self) -> String {
        let existing = self.existing();
        let kept = existing.iter().filter(|(item, _)| !self.orphans.contains(&item.name));
        let mut words: Vec<String> = kept.map(|(item, status)| format!("{}{status}", item.name)).collect();
        // AWS lists by when it was made, or by ARN.
        words.sort_unstable();
        let name = self
            .traffic
            .as_ref()
            .map(|_| format!("; {:?}", self.stood.clone().unwrap_or_else(|| self.stands())))
            .unwrap_or_default();
        let leads = self.cname().map(|(host, _)| format!("; {RECORD} leads to {host}")).unwrap_or_default();
        format!("{}; AWS: {}{name}{leads}", self.rows(), words.join(", "))
    }

    /// Each with the word for how a task stands.
    fn existing(&mut self) -> Vec<(Item, String)> {
        let now = self.now();
        let mut found = Vec::new();
        let calls = [
            dms::Call::DescribeReplicationSubnetGroups(dms::Describe::default()),
            dms::Call::DescribeReplicationInstances(dms::Describe::default()),
            dms::Call::DescribeCertificates(dms::Describe::default()),
            dms::Call::DescribeEndpoints(dms::Describe::default()),
            dms::Call::DescribeReplicationTasks(dms::DescribeReplicationTasks::default()),
        ];
        for call in calls {
            let mut keep = |item: Item| found.push((item, String::new()));
            match self.aws.call(Call::Dms(call), now) {
                Ok(Reply::Dms(dms::Reply::SubnetGroups(page))) => {
                    for view in page.items {
                        let what = (view.replication_subnet_group_description, view.subnets);
                        keep(Item::new(view.replication_subnet_group_identifier, what));
                    }
                }
                Ok(Reply::Dms(dms::Reply::Instances(page))) => {
                    for view in page.items {
                        let what = (view.replication_instance_arn, view.replication_instance_class);
                        keep(Item::new(view.replication_instance_identifier, what));
                    }
                }
                Ok(Reply::Dms(dms::Reply::Certificates(page))) => {
                    for view in page.items {
                        let what = (view.certificate_arn, view.certificate_pem);
                        keep(Item::new(view.certificate_identifier, what));
                    }
                }
                Ok(Reply::Dms(dms::Reply::Endpoints(page))) => {
                    for mut view in page.items {
                        view.status.clear();
                        keep(Item::new(view.endpoint_identifier.clone(), view));
                    }
                }
                Ok(Reply::Dms(dms::Reply::Tasks(page))) => {
                    for view in page.items {
                        let what = (view.replication_task_arn, view.replication_task_start_date);
                        let item = Item::new(view.replication_task_identifier, what);
                        found.push((item, format!(" {}", view.status)));
                    }
                }
                _ => {}
            }
        }
        let alarms = cloudwatch::DescribeAlarms::default();
        let call = Call::CloudWatch(cloudwatch::Call::DescribeAlarms(alarms));
        if let Ok(Reply::CloudWatch(cloudwatch::Reply::Alarms(page))) = self.aws.call(call, now) {
            for alarm in page.alarms {
                let item = Item::new(alarm.settings.name.clone(), (alarm.settings, alarm.tags));
                found.push((item, String::new()));
            }
        }
        let call = Call::CloudWatch(cloudwatch::Call::ListDashboards);
        if let Ok(Reply::CloudWatch(cloudwatch::Reply::Dashboards(all))) = self.aws.call(call, now) {
            for dashboard in all {
                let item = Item::new(dashboard.name.clone(), (dashboard.body, dashboard.tags));
                found.push((item, String::new()));
            }
        }
        let markers = self.zone.as_ref().map(|zone| self.aws.records(zone)).unwrap_or_default();
        for set in markers.into_iter().filter(|set| set.kind == "TXT") {
            found.push((Item::new(set.name.clone(), set.name), String::new()));
        }
        found
    }

    /// The applications' record, as their owners made it long ago; the answer is its zone's id.
    pub fn keep_cname(&mut self) -> String {
        let zone = self.aws.keep_zone(ZONE, true);
        let wanted = Wanted {
            name: RECORD.to_owned(),
            kind: "CNAME".to_owned(),
            ttl: Some(OWN_TTL.into()),
            values: vec!["pg01.bank.example".to_owned()],
            ..Wanted::default()
        };
        if let Err(refusal) = self.aws.keep_record(&zone, wanted) {
            self.fail(0, format!("the simulator's record is wrong: {refusal}"));
        }
        self.zone = Some(zone.clone());
        zone
    }

    /// Where the applications' record leads, and its TTL.
    fn cname(&self) -> Option<(String, u32)> {
        let set = self.aws.records(self.zone.as_ref()?).into_iter().find(|set| set.kind == "CNAME")?;
        match set.answer {
            Answer::Values { ttl, values } => Some((values.first()?.clone(), ttl)),
            Answer::Alias(_) => None,
        }
    }

    /// At the end it leads to the writer, and once nothing else is left it has its own TTL.
    pub fn cname_is_wrong(&mut self) -> Option<String> {
        self.zone.as_ref()?;
        let Some((host, ttl)) = self.cname() else { return Some(format!("{RECORD} is gone")) };
        let wanted = match self.writer()? {
            Side::Source => "pg01.bank.example",
            Side::Target => "target.example",
        };
        if host != wanted {
            return Some(format!("{RECORD} leads to {host}, and the writer is {wanted}"));
        }
        let over = self.cluster.is_over() && !self.retained && self.orphans.is_empty();
        (over && ttl != OWN_TTL).then(|| format!("{RECORD} is left with a TTL of {ttl} s"))
    }
}
