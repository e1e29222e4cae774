//! Everything that AWS has, in a form in which two runs can be compared: what AWS itself makes up is left out.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use sandbox::serve::Server;
use sandbox::world::cloudwatch::{self, AlarmPage, DescribeAlarms};
use sandbox::world::dms::{self, Describe, DescribeReplicationTasks, ListTagsForResource, Page};
use sandbox::world::route53::RecordSet;
use sandbox::world::{Call, Reply, World};
use serde::Serialize;
use serde_json::{Value, json};

const UID_TAG: &str = "slipway.dev/uid";

/// One line for each thing, as `endpoint dms-endpoint-source-payments-db-dev: {…}`. Two things of one name would be two
/// lines.
pub type Lines = BTreeSet<String>;

/// What AWS has.
#[derive(Clone, Debug)]
pub struct Inventory {
    things: Vec<Thing>,
}

#[derive(Clone, Debug)]
struct Thing {
    kind: &'static str,
    name: String,
    arn: String,
    view: Value,
    tags: BTreeMap<String, String>,
}

/// All of it.
pub fn take(aws: &Server) -> Inventory {
    aws.with_world(|world, now| Inventory { things: things(world, now) })
}

/// The records of a zone, with a word in the place of this uid. They carry no tags: a marker stands beside ours.
pub fn records(aws: &Server, zone: &str, uid: &str) -> Lines {
    let sets = aws.with_world(|world, _| world.records(zone));
    let line = |set: &RecordSet| {
        let RecordSet { name, kind, routing, answer, health_check } = set;
        let line = format!("{name} {kind} {routing:?} {answer:?} {health_check:?}").replace(uid, "<uid>");
        // After a crash one more batch may have been sent, and the marker counts them.
        match line.split_once(",batch=") {
            Some((head, tail)) => {
                format!("{head},batch=N{}", tail.trim_start_matches(|c: char| c.is_ascii_digit()))
            }
            None => line,
        }
    };
    let lines: Lines = sets.iter().map(line).collect();
    assert_eq!(lines.len(), sets.len(), "a record is there twice: {sets:#?}");
    lines
}

impl Inventory {
    /// The things that carry this migration's uid, comparable with another run's.
    pub fn of(&self, uid: &str) -> Lines {
        self.lines(|thing| thing.tags.get(UID_TAG).is_some_and(|tag| tag == uid))
    }

    /// The things that don't.
    pub fn of_others(&self, uid: &str) -> Lines {
        self.lines(|thing| thing.tags.get(UID_TAG).is_none_or(|tag| tag != uid))
    }

    /// Everything, whosever it is.
    pub fn all(&self) -> Lines {
        self.lines(|_| true)
    }

    /// Kind and name of everything.
    pub fn names(&self) -> Vec<String> {
        let mut names: Vec<String> =
            self.things.iter().map(|thing| format!("{} {}", thing.kind, thing.name)).collect();
        names.sort();
        names
    }

    fn lines(&self, which: impl Fn(&Thing) -> bool) -> Lines {
        let lines: Vec<String> = self
            .things
            .iter()
            .filter(|thing| which(thing))
            .map(|thing| self.anonymous(&format!("{} {}: {}", thing.kind, thing.name, told(thing))))
            .collect();
        let set: Lines = lines.iter().cloned().collect();
        assert_eq!(set.len(), lines.len(), "something is there twice: {lines:#?}");
        set
    }

    /// With names in the place of ARNs and of the ids in them.
    fn anonymous(&self, line: &str) -> String {
        let mut line = line.to_owned();
        for Thing { kind, name, arn, tags, .. } in &self.things {
            let id = arn.rsplit(':').next().unwrap_or_default();
            line = line.replace(arn, &format!("<{kind} {name}>"));
            if id != name {
                line = line.replace(id, &format!("<id of {kind} {name}>"));
            }
            if let Some(uid) = tags.get(UID_TAG) {
                line = line.replace(uid, "<uid>");
            }
        }
        line
    }
}

fn told(thing: &Thing) -> Value {
    // What depends on when the run began, and on how much was written meanwhile.
    const BY_CHANCE: [&str; 6] = [
        "InstanceCreateTime",
        "CertificateCreationDate",
        "ReplicationTaskCreationDate",
        "ReplicationTaskStartDate",
        "RecoveryCheckpoint",
        "ReplicationTaskStats",
    ];
    let mut view = thing.view.clone();
    if let Some(fields) = view.as_object_mut() {
        fields.retain(|key, _| !BY_CHANCE.contains(&key.as_str()));
    }
    json!({ "is": view, "tags": thing.tags })
}

fn things(world: &mut World, now: Timestamp) -> Vec<Thing> {
    let mut found = Vec::new();
    let mut dms = |call| match world.call(Call::Dms(call), now) {
        Ok(Reply::Dms(reply)) => reply,
        other => panic!("describing everything: {other:?}"),
    };
    let all = Describe::default;
    if let dms::Reply::SubnetGroups(page) = dms(dms::Call::DescribeReplicationSubnetGroups(all())) {
        add(&mut found, "subnet group", page, |group| {
            let name = group.replication_subnet_group_identifier.clone();
            let arn = format!(
                "arn:aws:dms:{}:{}:subgrp:{name}",
                sandbox::sandbox::REGION,
                sandbox::sandbox::ACCOUNT
            );
            (name, arn)
        });
    }
    if let dms::Reply::Instances(page) = dms(dms::Call::DescribeReplicationInstances(all())) {
        add(&mut found, "instance", page, |one| {
            (one.replication_instance_identifier.clone(), one.replication_instance_arn.clone())
        });
    }
    if let dms::Reply::Certificates(page) = dms(dms::Call::DescribeCertificates(all())) {
        add(&mut found, "certificate", page, |one| {
            (one.certificate_identifier.clone(), one.certificate_arn.clone())
        });
    }
    if let dms::Reply::Endpoints(page) = dms(dms::Call::DescribeEndpoints(all())) {
        add(&mut found, "endpoint", page, |one| (one.endpoint_identifier.clone(), one.endpoint_arn.clone()));
    }
    let tasks = dms::Call::DescribeReplicationTasks(DescribeReplicationTasks::default());
    if let dms::Reply::Tasks(page) = dms(tasks) {
        add(&mut found, "task", page, |one| {
            (one.replication_task_identifier.clone(), one.replication_task_arn.clone())
        });
    }
    for thing in &mut found {
        let resource_arn = Some(thing.arn.clone());
        let list = ListTagsForResource { resource_arn, resource_arn_list: Vec::new() };
        if let dms::Reply::Tags(tags) = dms(dms::Call::ListTagsForResource(list)) {
            thing.tags = tags.into_iter().map(|tag| (tag.key, tag.value)).collect();
        }
    }
    if let Ok(Reply::CloudWatch(cloudwatch::Reply::Dashboards(dashboards))) =
        world.call(Call::CloudWatch(cloudwatch::Call::ListDashboards), now)
    {
        found.extend(dashboards.into_iter().map(|dashboard| Thing {
            kind: "dashboard",
            name: dashboard.name,
            arn: dashboard.arn,
            view: json!(dashboard.body),
            tags: dashboard.tags,
        }));
    }
    let asked = DescribeAlarms::default();
    let alarms = cloudwatch::Call::DescribeAlarms(asked);
    if let Ok(Reply::CloudWatch(cloudwatch::Reply::Alarms(AlarmPage { alarms, next_token, .. }))) =
        world.call(Call::CloudWatch(alarms), now)
    {
        assert_eq!(next_token, None, "more alarms than were expected");
        found.extend(alarms.into_iter().map(|alarm| Thing {
            kind: "alarm",
            name: alarm.settings.name.clone(),
            // An alarm has its name in its ARN, and nothing refers to it.
            arn: alarm.arn,
            view: json!(format!(
                "{:?}",
                cloudwatch::PutMetricAlarm { tags: BTreeMap::new(), ..alarm.settings }
            )),
            tags: alarm.tags,
        }));
    }
    found
}

fn add<T: Serialize>(
    found: &mut Vec<Thing>,
    kind: &'static str,
    page: Page<T>,
    named: impl Fn(&T) -> (String, String),
) {
    assert_eq!(page.marker, None, "more of {kind} than were expected");
    found.extend(page.items.into_iter().map(|item| {
        let (name, arn) = named(&item);
        Thing { kind, name, arn, view: json!(item), tags: BTreeMap::new() }
    }));
}
