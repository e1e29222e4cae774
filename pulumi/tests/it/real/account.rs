//! What the tests' provider has made, and in which order.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;

use serde_json::Value as Json;
use slipway_infra::pulumi::Value;

use crate::mock::Record;

/// A resource: its type and its name.
pub type Thing = (String, String);

/// Of a URN, whatever it belongs to.
pub fn thing(urn: &str) -> Thing {
    let (rest, name) = urn.rsplit_once("::").unwrap();
    let kind = rest.rsplit("::").next().and_then(|it| it.rsplit('$').next()).unwrap();
    (kind.to_owned(), name.to_owned())
}

/// The resources of the provider that the program registers, each with those that it needs.
pub fn needs(record: &Record) -> BTreeMap<Thing, BTreeSet<Thing>> {
    let all: BTreeMap<Thing, BTreeSet<Thing>> = record
        .resources()
        .map(|it| ((it.kind.clone(), it.name.clone()), it.needs.iter().map(|urn| thing(urn)).collect()))
        .collect();
    all.iter()
        .map(|(it, needs)| (it.clone(), needs.iter().filter(|it| all.contains_key(it)).cloned().collect()))
        .collect()
}

/// Of two programs: what only the second has, what only the first has, and what both have with different inputs.
pub fn changes(before: &Record, after: &Record) -> [BTreeSet<Thing>; 3] {
    let inputs = |record: &Record| -> BTreeMap<Thing, BTreeMap<String, Value>> {
        record.resources().map(|it| ((it.kind.clone(), it.name.clone()), it.inputs.clone())).collect()
    };
    let (before, after) = (inputs(before), inputs(after));
    let without = |all: &BTreeMap<Thing, _>, others: &BTreeMap<Thing, _>| -> BTreeSet<Thing> {
        all.keys().filter(|it| !others.contains_key(*it)).cloned().collect()
    };
    let changed = after.iter().filter(|(it, new)| before.get(it).is_some_and(|old| old != *new));
    [without(&after, &before), without(&before, &after), changed.map(|(it, _)| it.clone()).collect()]
}

/// A line of the provider's log.
#[derive(Debug)]
pub struct Line {
    pub what: String,
    pub when: String,
    pub thing: Thing,
}

/// The provider's folder.
pub struct Account(pub PathBuf);

impl Account {
    /// What exists: each thing with what the file says of it.
    pub fn resources(&self) -> BTreeMap<Thing, Json> {
        let entries = fs::read_dir(&self.0).unwrap().map(|it| it.unwrap().path());
        let files = entries.filter(|it| it.file_name().unwrap().to_str().unwrap().starts_with("made-"));
        files
            .map(|it| {
                let json: Json = serde_json::from_slice(&fs::read(it).unwrap()).unwrap();
                let text = |name: &str| json[name].as_str().unwrap().to_owned();
                ((text("type"), text("name")), json)
            })
            .collect()
    }

    /// What was done since the last call of this.
    pub fn take_log(&self) -> Log {
        let path = self.0.join("log");
        let text = fs::read_to_string(&path).unwrap_or_default();
        fs::write(path, "").unwrap();
        let lines = text.lines().map(|line| {
            let json: Json = serde_json::from_str(line).unwrap();
            let text = |name: &str| json[name].as_str().unwrap().to_owned();
            Line { what: text("what"), when: text("when"), thing: (text("type"), text("name")) }
        });
        Log(lines.collect())
    }
}

/// What was done, in its order.
#[derive(Debug)]
pub struct Log(pub Vec<Line>);

impl Log {
    /// What was done to the end in this way; nothing is done twice, and nothing was refused.
    pub fn done(&self, what: &str) -> BTreeSet<Thing> {
        let mut done = BTreeSet::new();
        for line in &self.0 {
            assert_ne!(line.when, "refused", "{line:?}");
            if line.what == what && line.when == "ends" {
                assert!(done.insert(line.thing.clone()), "twice: {line:?}");
            }
        }
        done
    }

    fn position(&self, what: &str, when: &str, thing: &Thing) -> usize {
        let at = self.0.iter().position(|it| it.what == what && it.when == when && it.thing == *thing);
        at.unwrap_or_else(|| panic!("no {what} of {thing:?} {when}"))
    }

    /// Nothing began to be made before all that it needs was there.
    pub fn made_in_order(&self, needs: &BTreeMap<Thing, BTreeSet<Thing>>) {
        let made = self.done("create");
        for it in &made {
            for need in needs[it].intersection(&made) {
                let order = (self.position("create", "ends", need), self.position("create", "begins", it));
                assert!(order.0 < order.1, "{it:?} was made before {need:?}");
            }
        }
    }

    /// Nothing began to be deleted before all that needs it was gone.
    pub fn deleted_in_order(&self, needs: &BTreeMap<Thing, BTreeSet<Thing>>) {
        let gone = self.done("delete");
        for it in &gone {
            for need in needs[it].intersection(&gone) {
                let order = (self.position("delete", "ends", it), self.position("delete", "begins", need));
                assert!(order.0 < order.1, "{need:?} was deleted before {it:?}");
            }
        }
    }
}
