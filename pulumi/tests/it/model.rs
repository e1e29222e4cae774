//! Random programs against a small model: what is made of a secret is secret, what is made of an unknown is unknown, and
//! whatever a value came from is a dependency. No way of putting outputs together may lose one of the three.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use proptest::test_runner::{Config as Runs, TestRunner};
use slipway_infra::pulumi::{Fields, Node, Options, Output, Resource, Value};

use crate::mock::{Mock, run_with, urn};

/// How an input is made.
#[derive(Clone, Debug)]
enum Made {
    Plain,
    /// Of a resource before: its id, a property that is secret by itself, one that is not answered in a preview.
    Id(usize),
    SecretOf(usize),
    LateOf(usize),
    Secret(Box<Made>),
    Mapped(Box<Made>),
    Zipped(Box<Made>, Box<Made>),
    Listed(Vec<Made>),
    Field(Box<Made>),
    Item(Box<Made>),
}

/// What must come of it.
#[derive(Clone, Debug, Default, PartialEq)]
struct Expected {
    /// The text, unless it is unknown.
    text: Option<String>,
    secret: bool,
    needs: BTreeSet<String>,
}

fn made() -> impl Strategy<Value = Made> {
    let leaf = prop_oneof![
        Just(Made::Plain),
        (0..8_usize).prop_map(Made::Id),
        (0..8_usize).prop_map(Made::SecretOf),
        (0..8_usize).prop_map(Made::LateOf),
    ];
    leaf.prop_recursive(4, 12, 3, |inner| {
        let boxed = inner.clone().prop_map(Box::new);
        prop_oneof![
            boxed.clone().prop_map(Made::Secret),
            boxed.clone().prop_map(Made::Mapped),
            (boxed.clone(), boxed.clone()).prop_map(|(a, b)| Made::Zipped(a, b)),
            prop::collection::vec(inner, 1..4).prop_map(Made::Listed),
            boxed.clone().prop_map(Made::Field),
            boxed.prop_map(Made::Item),
        ]
    })
}

/// Builds it. Resources that are not there yet are plain.
fn build(made: &Made, before: &[Resource]) -> Output<String> {
    let plain = || Output::of("plain");
    match made {
        Made::Plain => plain(),
        Made::Id(index) => before.get(*index).map_or_else(plain, Resource::id),
        Made::SecretOf(index) => before.get(*index).map_or_else(plain, |it| it.output("secret")),
        Made::LateOf(index) => before.get(*index).map_or_else(plain, |it| it.output("late")),
        Made::Secret(inner) => build(inner, before).secret(),
        Made::Mapped(inner) => build(inner, before).map(|it| it + "!"),
        Made::Zipped(a, b) => build(a, before).zip(&build(b, before)).map(|(a, b)| a + &b),
        Made::Listed(items) => {
            let all: Vec<Output<String>> = items.iter().map(|it| build(it, before)).collect();
            Output::<Vec<String>>::of(all).map(|it| it.concat())
        }
        Made::Field(inner) => {
            Output::<BTreeMap<String, String>>::of(BTreeMap::from([("x".to_owned(), build(inner, before))]))
                .property("x")
        }
        Made::Item(inner) => Output::<Vec<String>>::of(vec![Output::of("first"), build(inner, before)]).at(1),
    }
}

/// What must come of it, with `count` resources before it.
fn model(made: &Made, count: usize, preview: bool) -> Expected {
    let of = |index: usize, text: String, secret: bool, known: bool| {
        if index >= count {
            return Expected { text: Some("plain".to_owned()), ..Expected::default() };
        }
        let needs = [urn("test:a:A", &format!("r{index}"))].into();
        Expected { text: known.then_some(text), secret, needs }
    };
    let both = |a: Expected, b: Expected| Expected {
        text: a.text.zip(b.text).map(|(a, b)| a + &b),
        secret: a.secret || b.secret,
        needs: a.needs.union(&b.needs).cloned().collect(),
    };
    match made {
        Made::Plain => of(count, String::new(), false, true),
        Made::Id(index) => of(*index, format!("id<r{index}>"), false, !preview),
        Made::SecretOf(index) => of(*index, "canary".to_owned(), true, true),
        Made::LateOf(index) => of(*index, "late".to_owned(), false, !preview),
        Made::Secret(inner) => Expected { secret: true, ..model(inner, count, preview) },
        Made::Mapped(inner) => {
            let before = model(inner, count, preview);
            Expected { text: before.text.map(|it| it + "!"), ..before }
        }
        Made::Zipped(a, b) => both(model(a, count, preview), model(b, count, preview)),
        Made::Listed(items) => {
            let none = Expected { text: Some(String::new()), ..Expected::default() };
            items.iter().fold(none, |sum, it| both(sum, model(it, count, preview)))
        }
        Made::Field(inner) | Made::Item(inner) => model(inner, count, preview),
    }
}

#[test]
fn no_way_of_making_values_loses_a_secret_an_unknown_or_a_dependency() {
    let mut runner = TestRunner::new(Runs { cases: 400, failure_persistence: None, ..Runs::default() });
    let strategy = (prop::collection::vec(made(), 1..8), prop::bool::ANY);
    runner
        .run(&strategy, |(program, preview)| {
            let text = |it: &str| Value::Text(it.to_owned());
            let mut answers = BTreeMap::from([("secret".to_owned(), text("canary").secret())]);
            if !preview {
                answers.insert("late".to_owned(), text("late"));
            }
            let answers = BTreeMap::from([("test:a:A".to_owned(), answers)]);
            let (record, end) = run_with(Mock { preview, answers, ..Mock::default() }, |context| {
                let mut before: Vec<Resource> = Vec::new();
                for (index, made) in program.iter().enumerate() {
                    let inputs = Fields::from([("x".to_owned(), Node::from(build(made, &before)))]);
                    let name = format!("r{index}");
                    before.push(context.register("test:a:A", "1", &name, inputs, Options::default()));
                }
            });
            prop_assert_eq!(end, Ok(()));
            for (index, made) in program.iter().enumerate() {
                let expected = model(made, index, preview);
                let it = record.named(&format!("r{index}"));
                let plain = expected.text.as_deref().map_or(Value::Unknown, text);
                let value = if expected.secret { plain.secret() } else { plain };
                prop_assert!(
                    it.inputs["x"] == value,
                    "{:?} gave {:?}, not {:?}",
                    made,
                    it.inputs["x"],
                    value
                );
                prop_assert_eq!(&it.needs, &expected.needs);
                prop_assert_eq!(&it.property_needs["x"], &expected.needs);
            }
            Ok(())
        })
        .unwrap();
}
