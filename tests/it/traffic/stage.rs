//! A journey with both fleets, and applications of the zone.

use std::time::Duration;

use kube::Api;
use kube::api::{DynamicObject, Patch, PatchParams};
use sandbox::sandbox as stage;
use sandbox::sandbox::{CLUSTER, Fleets, Options, RECORD, SERVICE, ZONE};
use sandbox::world::route53::{Routing, Wanted};
use serde_json::{Value, json};

use crate::journey::{self, View};

/// The bank's API.
pub const NAME: &str = "payments-api";
/// An alias has the load balancer's TTL of a minute, and each step waits for it.
pub const PATIENCE: Duration = Duration::from_mins(4);

/// A journey with both fleets.
pub struct Stage {
    pub journey: journey::Journey,
    pub fleets: Fleets,
}

impl Stage {
    /// With an operator.
    pub async fn begin(test: &str) -> Self {
        let mut stage = Box::pin(Self::begin_with(test, |_| {})).await;
        stage.journey.start_operator();
        stage
    }

    /// With other options than the usual, and no operator yet.
    pub async fn begin_with(test: &str, change: impl FnOnce(&mut Options)) -> Self {
        let journey = journey::Journey::begin_with(test, change).await;
        let sandbox = &journey.sandbox;
        let fleets = Fleets::start(&sandbox.aws, &sandbox.traffic, &sandbox.environment).await.unwrap();
        Self { journey, fleets }
    }

    /// A migration of the bank's API, with what `change` makes of it.
    pub fn example(&self, change: impl FnOnce(&mut Value)) -> Value {
        let traffic = &self.journey.sandbox.traffic;
        let mut object = json!({
            "apiVersion": "slipway.dev/v1alpha1",
            "kind": "ApplicationMigration",
            "metadata": {"name": NAME, "namespace": "default"},
            "spec": {
                "goal": "Stage",
                "environmentSuffix": "dev",
                "database": {"type": "None"},
                "source": {
                    "ipv4Addresses": ["127.0.0.2"],
                    "healthCheck": {"protocol": "HTTP", "port": traffic.balancer.port(), "path": "/healthz"},
                },
                "target": {
                    "loadBalancerARN": traffic.balancer_arn,
                    "targetGroupARN": traffic.group_arn,
                    "ecsService": {"cluster": CLUSTER, "service": SERVICE},
                },
                "traffic": {
                    "route53": {
                        "zoneID": traffic.zone_id, "name": RECORD, "ttlSeconds": 5, "existingRecord": "Replace",
                    },
                    "maxWeight": 100,
                    "steps": [{"weight": 50, "hold": "1s"}, {"weight": 100, "hold": "1s"}],
                },
                "gates": [{"name": "healthy", "interval": "1s", "http": {"side": "Target", "path": "/healthz"}}],
                "alarms": {"snsTopicARN": "arn:aws:sns:us-east-1:111122223333:alerts-dev"},
            },
        });
        change(&mut object);
        object
    }

    /// Another application of the zone, that no minute is waited for: what it leads to is a host name, whose records keep a
    /// TTL of a second. Its name leads to this machine, by a record that stands there already. It has no gates and no alarms.
    pub fn quick(&self, name: &str, change: impl FnOnce(&mut Value)) -> Value {
        self.keep(record(name, None));
        self.example(|object| {
            object["metadata"]["name"] = json!(name);
            let spec = &mut object["spec"];
            let health = spec["source"]["healthCheck"].take();
            spec["source"] = json!({"hostname": "localhost", "healthCheck": health});
            spec["traffic"]["route53"]["name"] = json!(full(name));
            spec["traffic"]["route53"]["ttlSeconds"] = json!(1);
            for field in ["gates", "alarms"] {
                spec.as_object_mut().unwrap().remove(field);
            }
            change(object);
        })
    }

    /// Puts a record into the zone, as somebody else would.
    pub fn keep(&self, wanted: Wanted) {
        let zone = &self.journey.sandbox.traffic.zone_id;
        self.journey.sandbox.aws.with_world(|world, _| world.keep_record(zone, wanted)).unwrap();
    }

    pub fn applications(&self) -> Api<DynamicObject> {
        stage::applications(self.journey.client.clone(), "default")
    }

    /// Changes the spec of the bank's API.
    pub async fn patch(&self, spec: Value) {
        self.patch_of(NAME, spec).await;
    }

    /// Changes the spec of an application.
    pub async fn patch_of(&self, name: &str, spec: Value) {
        let merge = Patch::Merge(json!({"spec": spec}));
        self.applications().patch(name, &PatchParams::default(), &merge).await.unwrap();
    }

    /// Waits until the bank's API is as wanted.
    pub async fn until(&self, what: &str, reached: impl Fn(&View) -> bool) -> View {
        self.until_of(NAME, what, reached).await
    }

    /// Waits until an application is as wanted.
    pub async fn until_of(&self, name: &str, what: &str, reached: impl Fn(&View) -> bool) -> View {
        self.journey
            .eventually(PATIENCE, &format!("{name}: {what}"), || async {
                let object = self.applications().get(name).await.map_err(|error| error.to_string())?;
                let view = View::of(&object);
                let traffic = &view.status()["traffic"];
                let seen =
                    format!("{}\n  traffic {traffic}\n  gates {}", view.describe(), view.status()["gates"]);
                if reached(&view) { Ok(view) } else { Err(seen) }
            })
            .await
    }

    /// Type, set identifier, routing and answer of each record of the bank's API that Route 53 has, in order.
    pub fn records(&self) -> Vec<(String, Option<String>, String)> {
        self.records_of(RECORD)
    }

    /// The same of any name, its marker with it.
    pub fn records_of(&self, name: &str) -> Vec<(String, Option<String>, String)> {
        let zone = self.journey.sandbox.traffic.zone_id.clone();
        self.journey.sandbox.aws.with_world(|world, _| {
            let sets = world.records(&zone).into_iter();
            let sets = sets.filter(|set| set.name.trim_end_matches('.').ends_with(name));
            sets.map(|set| {
                let says = format!("{:?} {:?}", set.routing, set.answer);
                (set.kind.clone(), set.set_identifier().map(str::to_owned), says)
            })
            .collect()
        })
    }

    /// Of the target's record of the bank's API.
    pub fn target_weight(&self) -> Option<u64> {
        let zone = self.journey.sandbox.traffic.zone_id.clone();
        self.journey.sandbox.aws.with_world(|world, _| {
            let mut sets =
                world.records(&zone).into_iter().filter(|set| set.name.trim_end_matches('.') == RECORD);
            sets.find_map(|set| match &set.routing {
                Routing::Weighted { set_identifier, weight } if set_identifier == "slipway-target" => {
                    Some(u64::from(*weight))
                }
                _ => None,
            })
        })
    }
}

/// The whole name of a quick application.
pub fn full(name: &str) -> String {
    format!("{name}.{ZONE}")
}

/// A record of a quick application that leads to this machine: a simple one, or a weighted one.
pub fn record(name: &str, weighted: Option<(&str, i64)>) -> Wanted {
    Wanted {
        name: full(name),
        kind: "CNAME".to_owned(),
        ttl: Some(1),
        values: vec!["localhost".to_owned()],
        set_identifier: weighted.map(|(identifier, _)| identifier.to_owned()),
        weight: weighted.map(|(_, weight)| weight),
        ..Wanted::default()
    }
}

/// The weight that the status says.
pub fn weight(view: &View) -> Option<i64> {
    view.status()["traffic"]["weight"].as_i64()
}
