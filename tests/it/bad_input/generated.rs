//! More than a thousand resources of each kind made from the schema, before the real API server; what it lets pass, before the
//! operator.

use std::time::Duration;

use sandbox::dice::Dice;
use serde_json::{Value, json};

use super::generate::{self, Bent};
use super::kind::Kind;
use super::{admission, names_one, nothing_was_touched, renamed, submit, told};
use crate::journey::Journey;

/// Pairs of bent fields, beside every single one; so many if it is set.
const PAIRS: &str = "SLIPWAY_BAD_PAIRS";
/// Resources without Secrets that the operator looks at as thoroughly as at any other. Each costs calls to AWS, and those
/// have their pace.
const LOOKED_AT: usize = 12;
const SEED: u64 = 5;

/// Here nobody may migrate anything: what is wrong with the spec is said all the same.
const UNMAPPED: &str = "unmapped";
/// Here one may, and there are no Secrets.
const BARE: &str = "bare";

#[tokio::test(flavor = "multi_thread")]
async fn a_database_made_from_the_schema_is_refused_or_told_of_and_nothing_is_touched() {
    Box::pin(all_of(Kind::Database, "generated")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_application_made_from_the_schema_is_refused_or_told_of_and_nothing_is_touched() {
    Box::pin(all_of(Kind::Application, "generated-application")).await;
}

async fn all_of(kind: Kind, test: &str) {
    let mut journey = Box::pin(Journey::begin_with(test, |options| {
        options.namespaces = [UNMAPPED, BARE].map(ToOwned::to_owned).to_vec();
        options.namespaces.push("default".to_owned());
    }))
    .await;
    let pairs = std::env::var(PAIRS).map_or(400, |text| text.parse().unwrap());
    let bent = generate::all(kind, &kind.placed(&journey), pairs, SEED);
    assert!(bent.len() >= 1_000, "{}", bent.len());

    let verdicts = admission(&journey.client, kind, bent.iter().map(|bent| &bent.object)).await;
    let mut passed: Vec<&Bent> = Vec::new();
    let mut refused = 0;
    let mut wrong = Vec::new();
    for (bent, verdict) in bent.iter().zip(&verdicts) {
        match verdict {
            Ok(()) => passed.push(bent),
            Err(message) => {
                refused += 1;
                if !names_one(message, &bent.fields) {
                    wrong.push(format!("{:?} {}: {message:.400}", bent.fields, bent.how));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{} refusals do not name the field: {wrong:#?}", wrong.len());
    println!("{} resources: {refused} refused by the API server, {} passed", bent.len(), passed.len());
    assert!(refused > 700 && passed.len() > 50);

    let map = journey.sandbox.directory().path().join("accounts.yaml");
    std::fs::write(&map, json!({"namespaces": {BARE: {"accountID": "111122223333"}}}).to_string()).unwrap();
    journey.flags = vec!["--accounts".to_owned(), map.display().to_string()];
    journey.retry = Duration::from_mins(1);
    let mut dice = Dice::new(SEED);
    let sample: Vec<&Bent> = (0..LOOKED_AT).map(|_| *dice.one_of(&passed)).collect();
    let mut names = [Vec::new(), Vec::new()];
    for (place, (namespace, chosen)) in [(UNMAPPED, &passed), (BARE, &sample)].into_iter().enumerate() {
        for (number, bent) in chosen.iter().enumerate() {
            let name = format!("g{number}");
            let object: Value = renamed(&bent.object, &name, namespace);
            submit(&journey.client, kind, object, false)
                .await
                .unwrap_or_else(|why| panic!("{}: {why}", bent.how));
            names[place].push(name);
        }
    }
    journey.start_operator();
    for (place, (namespace, chosen)) in [(UNMAPPED, &passed), (BARE, &sample)].into_iter().enumerate() {
        let views = Box::pin(told(&journey, kind, namespace, &names[place])).await;
        for (view, bent) in views.iter().zip(chosen.iter()) {
            let (status, reason, message) = view.condition("Stalled").unwrap_or_default();
            let said = match reason {
                "InvalidSpec" => names_one(message, &bent.fields),
                "AccountNotMapped" => message.contains(namespace),
                _ => message.contains("spec."),
            };
            let remedy = message.contains(". ");
            assert!(
                status == "True" && said && remedy,
                "{:?} {}: {}",
                bent.fields,
                bent.how,
                view.describe()
            );
        }
    }
    nothing_was_touched(&journey).await;
    journey.end().await;
}
