//! The compiled program under Pulumi itself: its command line and engine, built from their source, with a language host
//! and a provider of the tests' own (tests/engine). Whatever the program registers is compared with what it registers in
//! process; nothing here counts resources.

mod account;
mod binaries;
mod stack;

use std::collections::{BTreeMap, BTreeSet};

use account::{Thing, changes, needs, thing};
use serde_json::Value as Json;
use slipway_infra::account_roles::{DMS, MGN, MGN_LINKED};
use stack::{CANARY, Machine, said};

use crate::mock::{Mock, Record, build, build_with, config};

const SECRETS: [(&str, &str); 2] =
    [("vpnPresharedKey1", "secretCanaryFirst.key_1"), ("vpnPresharedKey2", "secretCanarySecond.key_2")];

fn of<'a>(more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    [&SECRETS, more].concat()
}

/// All that is registered, components too, except the stack, whose name differs.
fn registered(record: &Record) -> BTreeSet<Thing> {
    let named = record.registrations.iter().map(|it| (it.kind.clone(), it.name.clone()));
    named.filter(|(kind, _)| kind != "pulumi:pulumi:Stack").collect()
}

fn in_state(state: &[Json]) -> BTreeMap<Thing, &Json> {
    let named = state.iter().map(|it| (thing(it["urn"].as_str().unwrap()), it));
    named.filter(|((kind, _), _)| kind != "pulumi:pulumi:Stack").collect()
}

fn keys<K: Ord + Clone, V>(map: &BTreeMap<K, V>) -> BTreeSet<K> {
    map.keys().cloned().collect()
}

/// What a stack leaves behind on purpose.
fn retained(state: &[Json]) -> BTreeSet<Thing> {
    let all = in_state(state);
    all.into_iter().filter(|(_, it)| it["retainOnDelete"] == true).map(|(thing, _)| thing).collect()
}

#[test]
#[ignore = "builds Pulumi from source, once: docs/infrastructure.md"]
fn a_stack_from_its_preview_to_its_end() {
    let machine = Machine::new("life");
    let first = build(&SECRETS);
    let stack = machine.stack("dev", &SECRETS);

    let previewed: BTreeSet<(String, Thing)> =
        stack.preview().into_iter().filter(|(_, (kind, _))| kind != "pulumi:pulumi:Stack").collect();
    assert_eq!(previewed, registered(&first).into_iter().map(|it| ("create".to_owned(), it)).collect());
    assert_eq!(machine.account.resources(), BTreeMap::new());

    stack.up();
    let log = machine.account.take_log();
    let needed = needs(&first);
    assert_eq!(log.done("create"), keys(&needed));
    assert_eq!(log.done("create"), keys(&machine.account.resources()));
    log.made_in_order(&needed);
    let state = stack.state();
    assert_eq!(keys(&in_state(&state)), registered(&first));
    engine_knows_what_was_said(&in_state(&state), &first);

    stack.nothing_to_do();
    stack.run(&["refresh", "--yes", "--expect-no-changes"]);
    assert!(machine.account.take_log().0.is_empty());

    // An update, then one that adds, then one that takes away.
    let values = of(&[("logRetentionDays", "90"), ("databaseMaxStorageGib", "300")]);
    let mut before = build(&values);
    let [added, gone, changed] = changes(&first, &before);
    assert!(added.is_empty() && gone.is_empty() && !changed.is_empty());
    stack.configure(&values);
    stack.up();
    let log = machine.account.take_log();
    assert_eq!([log.done("create"), log.done("delete"), log.done("update")], [added, gone, changed]);
    for zones in ["perZone", "single"] {
        let values = of(&[&values[2..], &[("natGateways", zones)]].concat());
        let after = build(&values);
        let expected = changes(&before, &after);
        assert!(expected[usize::from(zones == "single")].len() > 1);
        stack.configure(&values);
        stack.up();
        let log = machine.account.take_log();
        log.made_in_order(&needs(&after));
        log.deleted_in_order(&needs(&before));
        assert_eq!([log.done("create"), log.done("delete"), log.done("update")], expected, "{zones}");
        before = after;
    }
    stack.nothing_to_do();
    no_secret_is_stored(&machine, &stack.state_with_secrets());

    let retained = retained(&stack.state());
    stack.destroy();
    let log = machine.account.take_log();
    log.deleted_in_order(&needs(&before));
    assert_eq!(keys(&machine.account.resources()), retained);
    assert_eq!(stack.state(), Vec::<Json>::new());
    stack.run(&["stack", "rm", "--yes"]);
}

/// The state has the dependencies, parents, providers, inputs and rules that the program gave.
fn engine_knows_what_was_said(state: &BTreeMap<Thing, &Json>, record: &Record) {
    let things = |list: &Json| -> BTreeSet<Thing> {
        list.as_array().into_iter().flatten().map(|it| thing(it.as_str().unwrap())).collect()
    };
    for it in record.resources() {
        let stored = state[&(it.kind.clone(), it.name.clone())];
        let name = &it.name;
        assert_eq!(things(&stored["dependencies"]), it.needs.iter().map(|it| thing(it)).collect(), "{name}");
        for (property, needs) in &it.property_needs {
            let known = things(&stored["propertyDependencies"][property]);
            assert_eq!(known, needs.iter().map(|it| thing(it)).collect(), "{name} {property}");
        }
        assert_eq!(thing(stored["parent"].as_str().unwrap()), thing(&it.parent), "{name}");
        let provider = stored["provider"].as_str().unwrap().rsplit_once("::").unwrap().0;
        assert_eq!(thing(provider), thing(it.provider.rsplit_once("::").unwrap().0), "{name}");
        let inputs: BTreeSet<&String> =
            stored["inputs"].as_object().unwrap().keys().filter(|it| !it.starts_with("__")).collect();
        assert_eq!(inputs, it.inputs.keys().collect(), "{name}");
        assert_eq!(stored["protect"] == true, it.rules.protect, "{name}");
    }
}

/// The secrets are there for whoever has the passphrase, and nowhere in clear text.
fn no_secret_is_stored(machine: &Machine, opened: &[Json]) {
    let opened = serde_json::to_string(opened).unwrap();
    for canary in SECRETS.map(|(_, it)| it).into_iter().chain(["secretCanaryPassword"]) {
        assert!(opened.contains(canary), "{canary} is nowhere, so its absence would say nothing");
    }
    let files = machine.stored();
    assert!(files.iter().any(|(_, text)| text.contains("ciphertext") || text.contains("secure:")));
    for (path, text) in files {
        assert!(!text.contains(CANARY), "{} holds a secret in clear text", path.display());
    }
}

#[test]
#[ignore = "builds Pulumi from source, once: docs/infrastructure.md"]
fn two_stacks_stand_in_one_account_and_one_goes_without_the_other() {
    let machine = Machine::new("two");
    let suffixes = ["greenhouse", "workshop"];
    let configured = suffixes
        .map(|it| of(&[("environmentSuffix", it), ("profile", "production"), ("serverMigration", "true")]));
    let stacks = [0, 1].map(|it| {
        let stack = machine.stack(suffixes[it], &configured[it]);
        stack.up();
        // Its own roles are found now.
        stack.nothing_to_do();
        stack
    });
    let resources = machine.account.resources();
    // The account's roles are the first one's; the second uses them.
    let roles: Vec<&str> = DMS.iter().chain(&MGN).map(|it| it.name).chain([MGN_LINKED]).collect();
    let roles = roles.into_iter().map(|it| (it, suffixes[0])).collect();
    let (second, end) = build_with(Mock { roles, ..Mock::default() }, &config(&configured[1]));
    assert_eq!(end, Ok(()));
    let records = [build(&configured[0]), second];
    assert_eq!(keys(&resources), records.iter().flat_map(|it| keys(&needs(it))).collect());
    // Neither has anything of the other's: no name and no id.
    let of_stack = |name: &str, it: &Json| it["urn"].as_str().unwrap().contains(&format!(":{name}::"));
    for [own, other] in [suffixes, [suffixes[1], suffixes[0]]] {
        let others = resources.values().filter(|it| of_stack(other, it));
        let mut foreign: Vec<&str> = others.map(|it| it["id"].as_str().unwrap()).collect();
        assert!(!foreign.is_empty());
        foreign.push(other);
        for it in resources.values().filter(|it| of_stack(own, it)) {
            let text = it.to_string();
            assert!(foreign.iter().all(|foreign| !text.contains(foreign)), "{text}");
        }
    }
    machine.account.take_log();

    let left = retained(&stacks[0].state());
    let parts = DMS.iter().chain(&MGN).map(|it| it.part).chain(["mgn-linked"]);
    for part in parts {
        assert!(left.iter().any(|(_, name)| name.contains(part)), "{part}: {left:?}");
    }
    stacks[0].destroy();
    machine.account.take_log().deleted_in_order(&needs(&records[0]));
    let expected: BTreeSet<Thing> = keys(&needs(&records[1])).union(&left).cloned().collect();
    assert_eq!(keys(&machine.account.resources()), expected);
    stacks[1].nothing_to_do();
    assert_eq!(retained(&stacks[1].state()), BTreeSet::new());
    stacks[1].destroy();
    machine.account.take_log().deleted_in_order(&needs(&records[1]));
    assert_eq!(keys(&machine.account.resources()), left);

    // The first comes again and takes up what it left.
    stacks[0].up();
    let log = machine.account.take_log();
    let needed = needs(&records[0]);
    let attached = |it: &&Thing| it.0 == "aws:iam/rolePolicyAttachment:RolePolicyAttachment";
    let again: BTreeSet<Thing> = left.iter().filter(|it| !attached(it)).cloned().collect();
    assert_eq!(log.done("create"), keys(&needed).difference(&again).cloned().collect());
    assert_eq!(keys(&machine.account.resources()), keys(&needed));
    stacks[0].nothing_to_do();
}

/// Whatever needs this type, at whatever remove.
fn dependents(kind: &str, needs: &BTreeMap<Thing, BTreeSet<Thing>>) -> BTreeSet<Thing> {
    let mut found: BTreeSet<Thing> = needs.keys().filter(|it| it.0 == kind).cloned().collect();
    loop {
        let more = needs.iter().filter(|(_, needs)| !needs.is_disjoint(&found)).map(|(it, _)| it.clone());
        let all: BTreeSet<Thing> = found.iter().cloned().chain(more).collect();
        if all.len() == found.len() {
            return found;
        }
        found = all;
    }
}

/// The account refuses the database's instance. What a run that broke has left goes like any other, or the next run goes on
/// with the same password; and what was not registered because of a change that failed is not taken for gone.
#[test]
#[ignore = "builds Pulumi from source, once: docs/infrastructure.md"]
fn a_run_that_broke_is_gone_on_with_and_can_be_destroyed() {
    let machine = Machine::new("broken");
    let stack = machine.stack("dev", &[]);
    let instance = "aws:rds/instance:Instance";
    let needed = needs(&build(&[]));
    let up = ["up", "--yes", "--skip-preview"];
    let refuses = |arguments: &[&str]| {
        machine.refuse(instance);
        let output = stack.try_run(arguments);
        machine.refuse("");
        assert!(!output.status.success());
        let said = said(&output);
        assert!(said.contains(&format!("the account takes no more of {instance}")), "{said}");
        said
    };

    // At the first failure the engine begins nothing more.
    refuses(&up);
    let there = keys(&machine.account.resources());
    assert!(!there.is_empty() && there.is_disjoint(&dependents(instance, &needed)));
    let retained = retained(&stack.state());
    assert!(!retained.is_empty());
    machine.account.take_log();
    stack.destroy();
    machine.account.take_log().deleted_in_order(&needed);
    assert_eq!(keys(&machine.account.resources()), retained);

    // Told to, it goes on: all else is made that does not need the instance. Roles that were left are taken up again.
    let on = [&up[..], &["--continue-on-error"]].concat();
    let said = refuses(&on);
    assert!(said.contains(&format!("registering {instance} db-instance-dev: ")), "{said}");
    let without: BTreeSet<Thing> =
        keys(&needed).difference(&dependents(instance, &needed)).cloned().collect();
    assert_eq!(keys(&machine.account.resources()), without);
    stack.up();
    assert_eq!(keys(&machine.account.resources()), keys(&needed));
    let state = stack.state_with_secrets();
    let one = |kind: &str| -> &Json {
        let found: Vec<&Json> = state.iter().filter(|it| it["type"] == kind).collect();
        assert_eq!(found.len(), 1, "{kind}");
        found[0]
    };
    // A secret's plaintext is JSON.
    let opened =
        |secret: &Json| -> String { serde_json::from_str(secret["plaintext"].as_str().unwrap()).unwrap() };
    let held = opened(&one("aws:secretsmanager/secretVersion:SecretVersion")["inputs"]["secretString"]);
    let held: Json = serde_json::from_str(&held).unwrap();
    assert_eq!(held["password"], opened(&one(instance)["inputs"]["password"]));
    stack.nothing_to_do();

    // What needs the instance is not registered once its change has failed.
    stack.configure(&[("databaseMaxStorageGib", "300")]);
    machine.account.take_log();
    for arguments in [&up[..], &on] {
        refuses(arguments);
        let log = machine.account.take_log();
        assert_eq!([log.done("create"), log.done("delete")], [BTreeSet::new(), BTreeSet::new()]);
    }
    stack.up();
    let changed = [(instance.to_owned(), "db-instance-dev".to_owned())];
    assert!(machine.account.take_log().done("update").is_superset(&BTreeSet::from(changed)));
    stack.nothing_to_do();
    assert_eq!(keys(&machine.account.resources()), keys(&needed));
}

#[test]
#[ignore = "builds Pulumi from source, once: docs/infrastructure.md"]
fn a_bad_configuration_is_shown_in_words_and_nothing_is_made() {
    let machine = Machine::new("bad");
    let stack = machine.stack("dev", &[("vpcCidr", "172.20.0.0/16"), ("unknownKey", "1")]);
    for command in ["preview", "up"] {
        let output =
            stack.try_run(if command == "up" { &["up", "--yes", "--skip-preview"] } else { &["preview"] });
        assert!(!output.status.success());
        for key in ["slipway:vpcCidr: ", "slipway:unknownKey: "] {
            assert!(said(&output).contains(key), "{command}: {}", said(&output));
        }
    }
    assert_eq!(machine.account.resources(), BTreeMap::new());
}
