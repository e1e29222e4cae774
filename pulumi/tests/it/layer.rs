//! The layer itself, without a cloud and without a program.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::future::BoxFuture;
use slipway_infra::pulumi::{
    Alias, Context, Fields, Input, Invocation, Level, Monitor, Node, Options, Output, Registered,
    Registration, Resource, Setting, Settings, Timeouts, Value,
};

use crate::mock::{Mock, Record, run_with, urn};

fn text(it: &str) -> Value {
    Value::Text(it.to_owned())
}

fn make(context: &Context, name: &str, inputs: &[(&str, Node)], options: Options) -> Resource {
    let inputs: Fields = inputs.iter().map(|(name, node)| ((*name).to_owned(), node.clone())).collect();
    context.register("test:a:A", "1", name, inputs, options)
}

fn under(parent: &Resource) -> Options {
    Options { parent: Some(parent.clone()), ..Options::default() }
}

fn good(mock: Mock, program: impl FnOnce(&Context)) -> Record {
    let (record, end) = run_with(mock, program);
    assert_eq!(end, Ok(()));
    record
}

fn urn_of(name: &str) -> String {
    urn("test:a:A", name)
}

#[test]
fn the_stack_is_the_root_and_has_the_outputs() {
    let record = good(Mock::default(), |context| {
        let a = make(context, "a", &[], Options::default());
        context.export("id", a.id());
        context.export("secret", a.id().secret());
        context.log(Level::Info, "hello");
    });
    assert_eq!(record.registrations[0].kind, "pulumi:pulumi:Stack");
    assert_eq!(record.registrations[0].name, "slipway-dev");
    assert_eq!(record.registrations[0].parent, "");
    let root = urn("pulumi:pulumi:Stack", "slipway-dev");
    assert_eq!(record.named("a").parent, root);
    let outputs = &record.outputs[&root];
    assert_eq!(outputs["id"], text("id<a>"));
    assert_eq!(outputs["secret"], text("id<a>").secret());
    assert_eq!(record.logs, ["hello"]);
    assert!(record.done);
}

#[test]
fn an_output_as_an_input_is_a_dependency_of_that_input() {
    let record = good(Mock::default(), |context| {
        let a = make(context, "a", &[], Options::default());
        let b = make(context, "b", &[("x", a.id().into())], Options::default());
        let both: Output<String> = a.id().zip(&b.id()).map(|(a, b)| format!("{a} {b}"));
        let nested = Node::List(vec![Node::Map(Fields::from([("deep".to_owned(), both.into())]))]);
        make(context, "c", &[("list", nested), ("plain", "p".into())], Options::default());
    });
    assert_eq!(record.named("b").needs, [urn_of("a")].into());
    let c = record.named("c");
    assert_eq!(c.needs, [urn_of("a"), urn_of("b")].into());
    assert_eq!(c.property_needs["list"], c.needs);
    assert!(c.property_needs["plain"].is_empty());
    let deep = Value::Map(BTreeMap::from([("deep".to_owned(), text("id<a> id<b>"))]));
    assert_eq!(c.inputs["list"], Value::List(vec![deep]));
}

#[test]
fn a_secret_stays_secret_through_everything_made_of_it() {
    let answers = BTreeMap::from([(
        "test:a:A".to_owned(),
        BTreeMap::from([
            ("key".to_owned(), text("canary").secret()),
            ("listed".to_owned(), text("canary")),
            (
                "object".to_owned(),
                Value::Map(BTreeMap::from([("inner".to_owned(), text("canary").secret())])).secret(),
            ),
        ]),
    )]);
    let record = good(Mock { answers, ..Mock::default() }, |context| {
        let options = Options::default().rules(|it| it.secret_outputs = vec!["listed".to_owned()]);
        let a = make(context, "a", &[], options);
        let key: Output<String> = a.output("key");
        let mapped: Output<String> = key.map(|it| format!("postgres://u:{it}@h"));
        let zipped: Output<String> = a.id().zip(&key).map(|(a, b)| a + &b);
        let object: Output<BTreeMap<String, String>> = a.output("object");
        let inner: Output<String> = object.property("inner");
        let listed: Output<String> = a.output("listed");
        let inputs = [
            ("mapped", mapped.into()),
            ("zipped", zipped.into()),
            ("inner", inner.into()),
            ("listed", listed.into()),
            ("list", Node::from(vec![key, a.id()])),
        ];
        make(context, "b", &inputs, Options::default());
    });
    let b = record.named("b");
    assert_eq!(b.inputs["mapped"], text("postgres://u:canary@h").secret());
    assert_eq!(b.inputs["zipped"], text("id<a>canary").secret());
    assert_eq!(b.inputs["inner"], text("canary").secret());
    assert_eq!(b.inputs["listed"], text("canary").secret());
    assert_eq!(b.inputs["list"], Value::List(vec![text("canary").secret(), text("id<a>")]));
    assert!(!format!("{:?}", b.inputs).contains("canary"), "Debug shows a secret");
}

#[test]
fn a_setting_is_as_secret_as_it_was_set() {
    let record = good(Mock::default(), |context| {
        let setting = |secret| Setting { text: "canary".to_owned(), secret };
        let inputs = [true, false].map(|secret| Node::from(Input::<String>::from(&setting(secret))));
        let [secret, plain] = inputs;
        make(context, "a", &[("secret", secret), ("plain", plain)], Options::default());
    });
    assert_eq!(record.named("a").inputs["secret"], text("canary").secret());
    assert_eq!(record.named("a").inputs["plain"], text("canary"));
}

#[test]
fn in_a_preview_what_was_not_answered_is_unknown_and_else_nothing() {
    let program = |context: &Context| {
        let a = make(context, "a", &[], Options::default());
        let later: Output<String> = a.output("later");
        let made: Output<String> = later.try_map(|it| Ok(it + "!"));
        let secret = later.secret();
        make(context, "b", &[("id", a.id().into()), ("later", later.into())], Options::default());
        make(context, "c", &[("secret", secret.into())], Options::default());
        context.export("made", made);
    };
    let (record, end) = run_with(Mock { preview: true, ..Mock::default() }, program);
    assert_eq!(end, Ok(()));
    assert_eq!(record.named("b").inputs["id"], Value::Unknown);
    assert_eq!(record.named("b").inputs["later"], Value::Unknown);
    assert_eq!(record.named("c").inputs["secret"], Value::Unknown.secret());
    assert_eq!(record.outputs[&urn("pulumi:pulumi:Stack", "slipway-dev")]["made"], Value::Unknown);

    let (record, end) = run_with(Mock::default(), program);
    assert!(!record.named("b").inputs.contains_key("later"), "nothing is sent as nothing");
    // What is made of nothing is an error, and is told.
    let failures = end.unwrap_err();
    assert_eq!(failures, ["making the stack's outputs: a value has another type than it should"]);
}

#[test]
fn to_depend_on_a_component_is_to_depend_on_all_in_it() {
    let record = good(Mock::default(), |context| {
        let outer = context.component("test:c:Outer", "outer", Options::default());
        let inner = context.component("test:c:Inner", "inner", under(&outer));
        make(context, "one", &[], under(&outer));
        make(context, "two", &[], under(&inner));
        make(context, "after", &[], Options::default().after([&outer]));
        // Within the component: those before it, and not itself, or it would wait for ever.
        make(context, "third", &[], under(&outer).after([&outer]));
        context.outputs(&inner, Fields::from([("x".to_owned(), "y".into())]));
    });
    let members = [urn_of("one"), urn_of("two")].into();
    assert_eq!(record.named("after").needs, members);
    assert_eq!(record.named("third").needs, members);
    assert_eq!(record.named("two").parent, urn("test:c:Inner", "inner"));
    assert!(!record.named("outer").custom && record.named("one").custom);
    assert_eq!(record.outputs[&urn("test:c:Inner", "inner")]["x"], text("y"));
}

#[test]
fn children_have_their_parents_provider_and_protection() {
    let record = good(Mock::default(), |context| {
        let provider = context.register("pulumi:providers:test", "1", "p", Fields::new(), Options::default());
        let other = context.register("pulumi:providers:test", "1", "q", Fields::new(), Options::default());
        let options =
            Options { provider: Some(provider), ..Options::default() }.rules(|it| it.protect = true);
        let outer = context.component("test:c:Outer", "outer", options);
        let inner = context.component("test:c:Inner", "inner", under(&outer));
        make(context, "a", &[], under(&inner));
        make(context, "b", &[], Options { provider: Some(other), ..under(&inner) });
        make(context, "c", &[], Options::default());
        let answer: Output<BTreeMap<String, String>> =
            context.invoke("test:f:f", "1", Fields::new(), &under(&inner));
        context.export("echo", answer.property::<String>("echo"));
    });
    let reference = |name: &str| format!("{}::id<{name}>", urn("pulumi:providers:test", name));
    assert_eq!(record.named("a").provider, reference("p"));
    assert_eq!(record.named("b").provider, reference("q"));
    assert_eq!(record.named("c").provider, "");
    assert_eq!(record.named("outer").provider, "", "a component has no provider of its own");
    assert!(record.named("a").rules.protect && !record.named("c").rules.protect);
    assert_eq!(record.invocations[0].provider, reference("p"));
}

#[test]
fn rules_arrive_as_they_were_given() {
    let record = good(Mock::default(), |context| {
        let options = Options::default().rules(|it| {
            it.delete_before_replace = true;
            it.ignore_changes = vec!["tags".to_owned()];
            it.aliases = vec![
                Alias::Urn("urn:old".to_owned()),
                Alias::Was { name: Some("old".to_owned()), kind: None, parent: Some(String::new()) },
            ];
            it.timeouts = Timeouts { create: "40m".to_owned(), ..Timeouts::default() };
        });
        make(context, "a", &[], options);
    });
    let rules = &record.named("a").rules;
    assert!(rules.delete_before_replace && rules.aliases.len() == 2);
    assert_eq!(rules.ignore_changes, ["tags"]);
    assert_eq!(rules.timeouts.create, "40m");
}

#[test]
fn of_an_unknown_argument_nothing_is_called_and_a_secret_one_makes_a_secret() {
    let call = |context: &Context, argument: Node| -> Output<String> {
        let arguments = Fields::from([("x".to_owned(), argument)]);
        let answer: Output<BTreeMap<String, String>> =
            context.invoke("test:f:f", "1", arguments, &Options::default());
        answer.property("echo")
    };
    let record = good(Mock { preview: true, ..Mock::default() }, |context| {
        let a = make(context, "a", &[], Options::default());
        let unknown = call(context, a.id().into());
        let secret = call(context, Node::Secret(Box::new("canary".into())));
        make(context, "b", &[("unknown", unknown.into()), ("secret", secret.into())], Options::default());
    });
    assert_eq!(record.invocations.len(), 1);
    assert_eq!(record.invocations[0].arguments["x"], text("canary"), "the provider gets it open");
    let b = record.named("b");
    assert_eq!(b.inputs["unknown"], Value::Unknown);
    assert_eq!(b.inputs["secret"], text("test:f:f").secret());
    assert_eq!(b.needs, [urn_of("a")].into());
}

#[test]
fn every_failure_is_told_once_and_a_dependent_adds_none() {
    let refuse = |it: &Registration| it.name.starts_with("bad").then(|| "the provider says no".to_owned());
    let mock = Mock { refuse: Some(Box::new(refuse)), ..Mock::default() };
    let (record, end) = run_with(mock, |context| {
        let one = make(context, "bad-1", &[], Options::default());
        make(context, "bad-2", &[], Options::default());
        make(context, "dependent", &[("x", one.id().into())], Options::default());
        make(context, "good", &[], Options::default());
        let wrong: Output<String> = make(context, "other", &[], Options::default())
            .id()
            .try_map(|_| Err::<String, _>("no JSON".to_owned()));
        make(context, "made", &[("x", wrong.into())], Options::default());
        context.export("x", one.id());
    });
    let failures = end.unwrap_err();
    assert_eq!(
        failures,
        [
            "registering test:a:A bad-1: the provider says no",
            "registering test:a:A bad-2: the provider says no",
            "registering test:a:A made: no JSON",
        ]
    );
    assert_eq!(record.logs, failures, "the user sees them in Pulumi's output too");
    record.named("good");
    assert!(record.registrations.iter().all(|it| it.name != "dependent"));
    assert!(record.outputs.is_empty(), "a failed run has no outputs of the stack");
    // An engine that is told that the program is done deletes what was not registered: the dependents of what failed.
    assert!(!record.done);
}

#[test]
fn a_stack_that_is_refused_is_told() {
    let mock = Mock { refuse: Some(Box::new(|_| Some("the engine is gone".to_owned()))), ..Mock::default() };
    let (_, end) = run_with(mock, |context| {
        make(context, "a", &[], Options::default());
    });
    assert_eq!(end.unwrap_err(), ["registering pulumi:pulumi:Stack slipway-dev: the engine is gone"]);
}

/// 200 registrations of which none is answered before all have come: one after the other would wait for ever.
#[test]
fn what_does_not_depend_on_each_other_is_registered_at_once() {
    struct Together(Mock, tokio::sync::Barrier);
    impl Monitor for Together {
        fn register(&self, it: Registration) -> BoxFuture<'_, Result<Registered, String>> {
            Box::pin(async move {
                if it.custom {
                    self.1.wait().await;
                }
                self.0.answer(it)
            })
        }
        fn outputs(
            &self,
            urn: String,
            outputs: BTreeMap<String, Value>,
        ) -> BoxFuture<'_, Result<(), String>> {
            self.0.outputs(urn, outputs)
        }
        fn invoke(&self, call: Invocation) -> BoxFuture<'_, Result<BTreeMap<String, Value>, String>> {
            self.0.invoke(call)
        }
        fn log(&self, level: Level, message: String, urn: String) -> BoxFuture<'_, ()> {
            self.0.log(level, message, urn)
        }
        fn done(&self) -> BoxFuture<'_, Result<(), String>> {
            self.0.done()
        }
    }
    let together = std::sync::Arc::new(Together(Mock::default(), tokio::sync::Barrier::new(200)));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let context = Context::new(together.clone(), "slipway", "dev", false);
        for index in 0..200 {
            make(&context, &format!("r{index}"), &[], Options::default());
        }
        let hung = "they wait for each other";
        let end = tokio::time::timeout(Duration::from_mins(2), context.finish()).await.expect(hung);
        assert_eq!(end, Ok(()));
    });
}

#[test]
fn the_environment_is_read_and_what_lacks_is_said() {
    let variables = BTreeMap::from([
        ("PULUMI_MONITOR", "127.0.0.1:1"),
        ("PULUMI_PROJECT", "slipway"),
        ("PULUMI_STACK", "dev"),
        ("PULUMI_DRY_RUN", "true"),
        ("PULUMI_CONFIG", r#"{"slipway:a":"1","slipway:b":"canary"}"#),
        ("PULUMI_CONFIG_SECRET_KEYS", r#"["slipway:b"]"#),
    ]);
    let read = |variables: &BTreeMap<&str, &str>| {
        Settings::read(|name| variables.get(name).map(|&it| it.to_owned()))
    };
    let settings = read(&variables).unwrap();
    assert!(settings.preview && settings.engine.is_empty());
    assert!(!settings.config["slipway:a"].secret && settings.config["slipway:b"].secret);
    assert!(!format!("{settings:?}").contains("canary"));
    for name in ["PULUMI_MONITOR", "PULUMI_PROJECT", "PULUMI_STACK"] {
        let mut fewer = variables.clone();
        fewer.remove(name);
        let why = read(&fewer).unwrap_err();
        assert!(why.contains(name) && why.contains("pulumi up"), "{why}");
    }
    for (name, value) in [("PULUMI_CONFIG", "canary{"), ("PULUMI_CONFIG_SECRET_KEYS", "canary")] {
        let mut other = variables.clone();
        other.insert(name, value);
        let why = read(&other).unwrap_err();
        assert!(why.contains(name) && !why.contains("canary"), "{why}");
    }
}
