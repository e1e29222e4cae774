//! One thing that is in the way, as data: what goes wrong, the word for it, what the message must say, what mends it.

use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::Api;
use kube::api::DeleteParams;
use sandbox::sandbox as stage;
use sandbox::serve::fault::Order;
use sandbox::world::Meddling;
use serde_json::{Value, json};

use crate::journey::{Journey, View, texts};

/// Something that somebody does.
pub enum Deed {
    /// Statements on the source, as superuser.
    Source(&'static str),
    /// Statements on the target, as superuser.
    Target(&'static str),
    /// Statements on both, as the owner of the tables.
    Owner(&'static str),
    /// The source is stopped and started again.
    RestartSource,
    /// A merge patch of the spec.
    Spec(Value),
    /// A Secret holds this and nothing else.
    Secret(&'static str, &'static [(&'static str, &'static str)]),
    /// A `ConfigMap` holds this under the key `ca.crt`.
    Authority(&'static str, String),
    /// A Secret is gone.
    NoSecret(&'static str),
    /// A `ConfigMap` is gone.
    NoConfigMap(&'static str),
    /// Secrets and `ConfigMap`s are as they should be.
    Secrets,
    /// Something happens in AWS.
    Aws(Meddling),
}

/// One thing in the way.
pub struct Case {
    /// The migration's name.
    pub name: &'static str,
    /// What goes wrong before the migration is applied.
    pub wrong: Vec<Deed>,
    /// The reason of the Stalled condition.
    pub reason: &'static str,
    /// Words of its message.
    pub says: Vec<&'static str>,
    /// What mends it.
    pub mend: Vec<Deed>,
    /// What clears it away for the next case.
    pub after: Vec<Deed>,
}

/// The parts of the world that nothing may change while something is in the way.
#[derive(Debug, PartialEq)]
struct Untouched {
    mutating_calls: usize,
    /// Tables and slots of our own making.
    ours: Vec<String>,
    /// Every privilege on the target's database and tables.
    privileges: Vec<String>,
}

impl Untouched {
    async fn look(journey: &Journey) -> Self {
        let ours = "SELECT schemaname || '.' || tablename FROM pg_tables WHERE schemaname IN ('slipway', 'awsdms_control')
                    UNION ALL SELECT slot_name FROM pg_replication_slots";
        let privileges = "SELECT 'database ' || coalesce(datacl::text, '') FROM pg_database WHERE datname = current_database()
            UNION ALL SELECT relname || ' ' || coalesce(relacl::text, '')
              FROM pg_class WHERE relnamespace = 'public'::regnamespace
            UNION ALL SELECT relname || '.' || attname || ' ' || attacl::text
              FROM pg_attribute JOIN pg_class c ON c.oid = attrelid WHERE attacl IS NOT NULL
               AND relnamespace = 'public'::regnamespace
            ORDER BY 1";
        let mut found = texts(&journey.sandbox.source, ours).await;
        found.extend(texts(&journey.sandbox.target, ours).await);
        Self {
            mutating_calls: journey.mutating_calls().len(),
            ours: found,
            privileges: texts(&journey.sandbox.target, privileges).await,
        }
    }
}

impl Case {
    /// Lives through it: the migration stalls with the reason and nothing is touched; once mended it goes past it by
    /// itself. It is suspended before that, so that the next case finds nothing either.
    pub async fn live_through(&self, journey: &mut Journey) {
        let mut migration = journey.example(|migration| migration["metadata"]["name"] = json!(self.name));
        for deed in &self.wrong {
            match deed {
                Deed::Spec(change) => merge(&mut migration["spec"], change),
                other => other.done(journey, self.name).await,
            }
        }
        let before = Untouched::look(journey).await;
        assert_eq!(before.ours, Vec::<String>::new(), "{}", self.name);
        journey.try_apply(&migration).await.unwrap();
        let stalled = |view: &View| view.is_current() && view.is("Stalled", "True", self.reason);
        let view = journey.until(self.name, &format!("Stalled=True ({})", self.reason), stalled).await;
        self.tells(&view);
        journey.until_quiet(self.name).await;
        let view = journey.view(self.name).await;
        assert!(view.is("Stalled", "True", self.reason), "{}", view.describe());
        assert_eq!(Untouched::look(journey).await, before, "{}", view.describe());
        assert!(!view.is_held() && view.status()["provisionedAt"].is_null(), "{}", view.describe());

        journey.patch(self.name, json!({"spec": {"suspend": true}})).await.unwrap();
        for deed in &self.mend {
            deed.done(journey, self.name).await;
        }
        let past = |view: &View| view.is_current() && view.is("Reconciling", "True", "Suspended");
        let view = journey.until(self.name, "past what was in the way", past).await;
        assert!(view.is("Stalled", "False", "Suspended"), "{}", view.describe());
        assert!(view.is("Assessed", "True", "Assessed"), "{}", view.describe());
        journey.delete(self.name).await;
        journey.until_gone(self.name).await;
        for deed in &self.after {
            deed.done(journey, self.name).await;
        }
    }

    fn tells(&self, view: &View) {
        let (ready, stalled) = (view.message("Ready"), view.message("Stalled"));
        println!("{}: {}: {stalled}", self.name, self.reason);
        for word in &self.says {
            assert!(stalled.contains(word), "{} does not say {word:?}:\n{}", self.name, view.describe());
        }
        assert_eq!(ready, stalled, "{}", view.describe());
        assert!(view.is("Ready", "False", self.reason), "{}", view.describe());
        let next = view.status()["next"].as_str().unwrap_or_default();
        assert!(next.contains(self.reason), "{}", view.describe());
    }
}

impl Deed {
    /// Does it. `name` is the migration that a change of the spec is for.
    pub async fn done(&self, journey: &mut Journey, name: &str) {
        match self {
            Self::Source(sql) => journey.on_source(sql).await,
            Self::Target(sql) => journey.on_target(sql).await,
            Self::Owner(sql) => {
                let sql = format!("SET ROLE payments_owner; {sql}");
                journey.on_source(&sql).await;
                journey.on_target(&sql).await;
            }
            Self::RestartSource => journey.sandbox.source.restart().await.unwrap(),
            Self::Spec(change) => journey.patch(name, json!({ "spec": change })).await.unwrap(),
            Self::Secret(secret, data) => {
                remove::<Secret>(journey, secret).await;
                let data: serde_json::Map<String, Value> =
                    data.iter().map(|(key, value)| ((*key).to_owned(), json!(value))).collect();
                let object = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": secret},
                    "type": "Opaque", "stringData": data});
                journey.try_apply(&object).await.unwrap();
            }
            Self::Authority(map, pem) => {
                let object = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": map},
                    "data": {"ca.crt": pem}});
                journey.try_apply(&object).await.unwrap();
            }
            Self::NoSecret(secret) => remove::<Secret>(journey, secret).await,
            Self::NoConfigMap(map) => remove::<ConfigMap>(journey, map).await,
            Self::Secrets => {
                // The type of a Secret can't be changed, and a case may have made one of another.
                for secret in ["source-operator", "source-dms", "target-operator", "target-dms"] {
                    remove::<Secret>(journey, secret).await;
                }
                Box::pin(stage::apply_secrets(&journey.client, journey.environment())).await.unwrap();
            }
            Self::Aws(meddling) => journey.sandbox.aws.order(Order::World(meddling.clone())).unwrap(),
        }
    }
}

async fn remove<K>(journey: &Journey, name: &str)
where
    K: kube::Resource<Scope = kube::core::NamespaceResourceScope, DynamicType = ()>
        + Clone
        + std::fmt::Debug
        + serde::de::DeserializeOwned,
{
    match Api::<K>::namespaced(journey.client.clone(), "default").delete(name, &DeleteParams::default()).await
    {
        Err(kube::Error::Api(status)) if status.is_not_found() => {}
        other => drop(other.unwrap()),
    }
}

/// A JSON merge patch (RFC 7396).
fn merge(into: &mut Value, change: &Value) {
    let Some(change) = change.as_object() else {
        *into = change.clone();
        return;
    };
    for (key, value) in change {
        if value.is_null() {
            into.as_object_mut().unwrap().remove(key);
        } else {
            merge(&mut into[key], value);
        }
    }
}
