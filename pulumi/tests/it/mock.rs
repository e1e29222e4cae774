//! A monitor that records, checks against the schema, and answers as a provider might.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use futures::FutureExt;
use futures::future::BoxFuture;
use slipway_infra::config::Config;
use slipway_infra::environment;
use slipway_infra::pulumi::{Context, Invocation, Level, Monitor, Registered, Registration, Setting, Value};

use crate::schema;

/// What no plain property may hold.
pub const CANARY: &str = "canaryPassword0123456789";

/// Everything that was asked of the monitor.
#[derive(Clone, Default)]
pub struct Record {
    pub registrations: Vec<Registration>,
    pub outputs: BTreeMap<String, BTreeMap<String, Value>>,
    pub invocations: Vec<Invocation>,
    pub logs: Vec<String>,
    pub done: bool,
}

impl Record {
    pub fn named(&self, name: &str) -> &Registration {
        let found: Vec<&Registration> =
            self.registrations.iter().filter(|it| it.name == name && !it.kind.ends_with(":Alias")).collect();
        assert_eq!(found.len(), 1, "{name} was registered {} times", found.len());
        found[0]
    }

    pub fn of_kind(&self, kind: &str) -> Vec<&Registration> {
        self.registrations.iter().filter(|it| it.kind == kind).collect()
    }

    /// The resources of providers, without the provider itself.
    pub fn resources(&self) -> impl Iterator<Item = &Registration> {
        self.registrations.iter().filter(|it| it.custom && !it.kind.starts_with("pulumi:"))
    }
}

type Refuse = Box<dyn Fn(&Registration) -> Option<String> + Send + Sync>;

#[derive(Default)]
pub struct Mock {
    pub record: Mutex<Record>,
    pub preview: bool,
    pub refuse: Option<Refuse>,
    /// The roles of the account that are there already, with the environment in their tag.
    pub roles: Vec<(&'static str, &'static str)>,
    /// Answers of a kind of the test's own, by type.
    pub answers: BTreeMap<String, BTreeMap<String, Value>>,
}

pub fn urn(kind: &str, name: &str) -> String {
    format!("urn:pulumi:dev::slipway::{kind}::{name}")
}

impl Mock {
    pub fn answer(&self, registration: Registration) -> Result<Registered, String> {
        if let Some(why) = self.refuse.as_ref().and_then(|refuse| refuse(&registration)) {
            return Err(why);
        }
        let Registration { kind, name, custom, inputs, .. } = &registration;
        let mut properties = inputs.clone();
        if kind.starts_with("aws:") {
            schema::check(&registration);
            for (property, kind) in schema::computed(kind) {
                // Marked with the name, so that whoever uses it is known.
                let value = match kind {
                    _ if self.preview => continue,
                    "string" => Value::Text(format!("{property}<{name}>")),
                    "integer" => Value::Number(1.0),
                    "strings" => Value::List(vec![Value::Text(format!("{property}<{name}>"))]),
                    _ => continue,
                };
                properties.entry(property).or_insert(value);
            }
        }
        properties.extend(self.answers.get(kind).cloned().unwrap_or_default());
        let answer = Registered {
            urn: urn(kind, name),
            id: if *custom && !self.preview { format!("id<{name}>") } else { String::new() },
            properties: if *custom { properties } else { BTreeMap::new() },
        };
        self.record.lock().unwrap().registrations.push(registration);
        Ok(answer)
    }

    pub fn call(&self, call: Invocation) -> BTreeMap<String, Value> {
        let text = |it: &str| Value::Text(it.to_owned());
        let mut more = None;
        let answer = match call.token.as_str() {
            "aws:index/getCallerIdentity:getCallerIdentity" => ("accountId", text("111122223333")),
            "aws:index/getAvailabilityZones:getAvailabilityZones" => (
                "names",
                Value::List(["a", "b", "c", "d"].map(|it| text(&format!("us-east-1{it}"))).to_vec()),
            ),
            "aws:iam/getRoles:getRoles" => {
                ("names", Value::List(self.roles.iter().map(|it| text(it.0)).collect()))
            }
            "aws:iam/getRole:getRole" => {
                let Value::Text(name) = &call.arguments["name"] else { panic!() };
                let owner = self.roles.iter().find(|it| it.0 == name).unwrap().1;
                let tags = BTreeMap::from([("slipway.dev/environment".to_owned(), text(owner))]);
                more = Some(("arn".to_owned(), text(&format!("arn:aws:iam::111122223333:role/{name}"))));
                ("tags", Value::Map(tags))
            }
            "aws:secretsmanager/getRandomPassword:getRandomPassword" => ("randomPassword", text(CANARY)),
            other => ("echo", text(other)),
        };
        if call.token.starts_with("aws:") {
            schema::check_call(&call);
        }
        self.record.lock().unwrap().invocations.push(call);
        more.into_iter().chain([(answer.0.to_owned(), answer.1)]).collect()
    }
}

impl Monitor for Mock {
    fn register(&self, registration: Registration) -> BoxFuture<'_, Result<Registered, String>> {
        async move { self.answer(registration) }.boxed()
    }

    fn outputs(&self, urn: String, outputs: BTreeMap<String, Value>) -> BoxFuture<'_, Result<(), String>> {
        self.record.lock().unwrap().outputs.insert(urn, outputs);
        async { Ok(()) }.boxed()
    }

    fn invoke(&self, call: Invocation) -> BoxFuture<'_, Result<BTreeMap<String, Value>, String>> {
        async move { Ok(self.call(call)) }.boxed()
    }

    fn log(&self, _: Level, message: String, _: String) -> BoxFuture<'_, ()> {
        self.record.lock().unwrap().logs.push(message);
        async {}.boxed()
    }

    fn done(&self) -> BoxFuture<'_, Result<(), String>> {
        self.record.lock().unwrap().done = true;
        async { Ok(()) }.boxed()
    }
}

/// A configuration that is good, changed by the test.
pub fn settings(changes: &[(&str, &str)]) -> BTreeMap<String, Setting> {
    let mut settings = BTreeMap::new();
    let good = [
        ("environmentSuffix", "dev"),
        ("onPremisesGatewayAddress", "198.51.100.10"),
        ("onPremisesNetworks", "172.20.0.0/16,192.168.7.0/24"),
        ("onPremisesDatabases", "172.20.1.10,172.20.1.11"),
        ("onPremisesApplications", "172.20.2.0/24"),
        ("onPremisesAdministrators", "172.20.3.0/24"),
        ("onPremisesPublicAddresses", "203.0.113.10"),
        ("publicDomain", "api.bank.example"),
        ("certificateArn", "arn:aws:acm:us-east-1:111122223333:certificate/0a1b2c3d"),
        ("applicationTag", "1.4.2"),
    ];
    for (key, text) in good.iter().chain(changes) {
        settings.insert(
            format!("slipway:{key}"),
            Setting { text: (*text).to_owned(), secret: key.starts_with("vpn") },
        );
    }
    settings.retain(|_, it| it.text != "-");
    settings
}

pub fn config(changes: &[(&str, &str)]) -> Config {
    Config::read("slipway", &settings(changes)).unwrap_or_else(|it| panic!("{it:?}"))
}

/// Runs `program` and gives what was recorded, and how it ended.
pub fn run_with(mock: Mock, program: impl FnOnce(&Context)) -> (Record, Result<(), Vec<String>>) {
    run_async(mock, async |context| program(context))
}

/// The environment of this configuration.
pub fn build_with(mock: Mock, config: &Config) -> (Record, Result<(), Vec<String>>) {
    run_async(mock, async |context| environment::build(context, config).await)
}

fn run_async(mock: Mock, program: impl AsyncFnOnce(&Context)) -> (Record, Result<(), Vec<String>>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mock = Arc::new(mock);
    let end = runtime.block_on(async {
        let context = Context::new(mock.clone(), "slipway", "dev", mock.preview);
        program(&context).await;
        context.finish().await
    });
    let record = mock.record.lock().unwrap().clone();
    (record, end)
}

/// Everything that the environment registers with this configuration.
pub fn build(changes: &[(&str, &str)]) -> Record {
    let config = config(changes);
    let (record, end) = build_with(Mock::default(), &config);
    assert_eq!(end, Ok(()));
    assert!(record.done);
    record
}

/// The ways an environment can look, each with a name.
pub fn variants() -> Vec<(&'static str, Record)> {
    let production = ("profile", "production");
    let gateway = [
        ("onPremisesLink", "transitGateway"),
        ("transitGatewayId", "tgw-0123456789abcdef0"),
        ("onPremisesGatewayAddress", "-"),
    ];
    vec![
        ("development", build(&[])),
        ("production", build(&[production])),
        ("transit gateway", build(&[production, gateway[0], gateway[1], gateway[2]])),
        (
            "BGP and keys of our own",
            build(&[
                ("onPremisesBgpAsn", "65010"),
                ("vpnPresharedKey1", "canaryFirst.key_1"),
                ("vpnPresharedKey2", "canarySecond.key_2"),
            ]),
        ),
        ("longest suffix", build(&[production, ("environmentSuffix", "a2345678901234567890")])),
        ("servers too, and no image yet", build(&[("serverMigration", "true"), ("applicationTag", "-")])),
    ]
}
