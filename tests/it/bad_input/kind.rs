//! The two kinds of resources: their examples, their schemas, and good ones that between them have every field.

use kube::api::DynamicObject;
use kube::{Api, Client, CustomResourceExt};
use serde_json::{Value, json};
use slipway::api::application::ApplicationMigration;
use slipway::api::database::DatabaseMigration;
use slipway::application::goal::Goal as ApplicationGoal;
use slipway::database::goal::Goal as DatabaseGoal;

use super::generate::{put, remove};
use crate::journey::Journey;

/// Which kind of resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Database,
    Application,
}

impl Kind {
    pub const BOTH: [Self; 2] = [Self::Database, Self::Application];

    /// The example as it is in the repository.
    pub fn example(self) -> Value {
        let file = match self {
            Self::Database => "examples/database-migration.yaml",
            Self::Application => "examples/application-migration.yaml",
        };
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
        serde_saphyr::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
    }

    /// The example with a sandbox's places.
    pub fn placed(self, journey: &Journey) -> Value {
        match self {
            Self::Database => journey.example(|_| {}),
            Self::Application => {
                let traffic = &journey.sandbox.traffic;
                let mut object = self.example();
                let spec = &mut object["spec"];
                spec["source"]["ipv4Addresses"] = json!([sandbox::sandbox::SOURCE_ADDRESS.to_string()]);
                spec["target"] = json!({
                    "loadBalancerARN": traffic.balancer_arn,
                    "targetGroupARN": traffic.group_arn,
                    "ecsService": {"cluster": sandbox::sandbox::CLUSTER, "service": sandbox::sandbox::SERVICE},
                });
                spec["traffic"]["route53"]["zoneID"] = json!(traffic.zone_id);
                spec["traffic"]["route53"]["name"] = json!(sandbox::sandbox::RECORD);
                object
            }
        }
    }

    /// The schema of its spec.
    pub fn schema(self) -> Value {
        let crd = match self {
            Self::Database => json!(DatabaseMigration::crd()),
            Self::Application => json!(ApplicationMigration::crd()),
        };
        crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"].clone()
    }

    /// Those of a namespace.
    pub fn api(self, client: Client, namespace: &str) -> Api<DynamicObject> {
        match self {
            Self::Database => sandbox::sandbox::migrations(client, namespace),
            Self::Application => sandbox::sandbox::applications(client, namespace),
        }
    }

    /// What the operator makes of a resource: nothing, or what it says against it. `None` if it can't even be read.
    pub fn judge(self, object: &Value) -> Option<Result<(), String>> {
        let object = object.clone();
        let judged = match self {
            Self::Database => {
                let object: DatabaseMigration = serde_json::from_value(object).ok()?;
                DatabaseGoal::parse(&object).map(drop)
            }
            Self::Application => {
                let object: ApplicationMigration = serde_json::from_value(object).ok()?;
                ApplicationGoal::parse(&object).map(drop)
            }
        };
        Some(judged.map_err(|blocked| blocked.message))
    }

    /// Good resources that between them have every field: what excludes each other is in one or in another.
    pub fn good(self, example: &Value) -> Vec<Value> {
        match self {
            Self::Database => databases(example),
            Self::Application => applications(example),
        }
    }
}

fn databases(example: &Value) -> Vec<Value> {
    let mut one = example.clone();
    let spec = &mut one["spec"];
    spec["attempt"] = json!(2);
    spec["abortAttempt"] = json!(1);
    spec["suspend"] = json!(false);
    spec["deletionPolicy"] = json!("Delete");
    spec["source"]["tls"]["mode"] = json!("VerifyFull");
    spec["target"]["tls"]["mode"] = json!("VerifyCA");
    spec["tables"] = json!({"include": [{"schema": "public", "name": "*"}], "exclude": [{"schema": "public", "name": "x"}]});
    let managed = &mut spec["replication"]["instance"]["managed"];
    managed["multiAZ"] = json!(true);
    managed["engineVersion"] = json!("3.5.4");
    managed["kmsKeyARN"] = json!("arn:aws:kms:us-east-1:111122223333:key/0a1b2c3d");
    spec["replication"]["tuning"] = json!({"parallelTables": 8, "commitRate": 10_000, "maxLOBKiB": 32});
    spec["replication"]["slot"] = json!({"warnRetainedGiB": 20});
    spec["verification"] =
        json!({"invariants": [{"name": "money", "sql": "SELECT sum(balance) FROM accounts"}]});
    spec["cutover"] = json!({
        "maxLag": "5s", "maxWriteOutage": "60s", "connection": {"multiHost": {}},
        "notBefore": "2026-12-01T01:00:00Z", "notAfter": "2026-12-01T02:00:00Z",
    });
    spec["rollback"] = json!({"minSoak": "72h"});
    let mut other = one.clone();
    let spec = &mut other["spec"];
    spec["target"]["endpoint"] = json!({"host": "rds.bank.example", "port": 5432});
    remove(&mut other, "spec.target.rdsInstanceIdentifier");
    let spec = &mut other["spec"];
    spec["replication"]["instance"] = json!({"arn": "arn:aws:dms:us-east-1:111122223333:rep:ABC"});
    let secret = "arn:aws:secretsmanager:us-east-1:111122223333:secret:app-AbCdEf";
    spec["cutover"]["connection"] = json!({"secret": {"secretARN": secret}});
    let mut third = other.clone();
    let spec = &mut third["spec"];
    // A CNAME carries no port.
    spec["target"]["endpoint"]["port"] = spec["source"]["endpoint"]["port"].clone();
    let record = json!({"zoneID": "Z0A1B2C3", "name": "db.bank.example", "ttlSeconds": 5});
    spec["cutover"]["connection"] = json!({"record": record});
    vec![one, other, third]
}

fn applications(example: &Value) -> Vec<Value> {
    let mut one = example.clone();
    let spec = &mut one["spec"];
    spec["attempt"] = json!(2);
    spec["abortAttempt"] = json!(1);
    spec["suspend"] = json!(false);
    spec["deletionPolicy"] = json!("Delete");
    spec["traffic"]["steps"] =
        json!([{"weight": 25, "hold": "30m"}, {"weight": 100, "hold": "1h", "gates": ["errors", "login"]}]);
    spec["gates"] = json!([
        {"name": "errors", "mode": "Enforce", "interval": "1m", "failuresToTrip": 2, "alarm": {"alarmName": "a"}},
        {"name": "latency", "metric": {
            "namespace": "AWS/ApplicationELB", "metricName": "TargetResponseTime", "statistic": "p99",
            "dimensions": {"LoadBalancer": "app/alb-dev/50dc6c495c0c9188"},
            "sourceDimensions": {"LoadBalancer": "app/onprem-proxy/1"},
            "operator": "LessThanOrEqual", "maxRatioToSourcePercent": 120, "minSamples": 100,
        }},
        {"name": "requests", "metric": {
            "namespace": "AWS/ApplicationELB", "metricName": "RequestCount", "statistic": "Sum",
            "dimensions": {"LoadBalancer": "app/alb-dev/50dc6c495c0c9188"},
            "operator": "GreaterThanOrEqual", "threshold": "0.5",
        }},
        {"name": "login", "http": {"side": "Target", "path": "/login", "expectedStatus": 200}},
        {"name": "lag", "databaseLag": {"max": "5s"}},
        {"name": "verified", "databaseVerified": {}},
        {"name": "accounts", "sql": {"query": "SELECT count(*) > 0 FROM public.accounts", "expect": "true"}},
    ]);
    let mut other = one.clone();
    put(&mut other, "spec.source.hostname", json!("old.bank.example"));
    remove(&mut other, "spec.source.ipv4Addresses");
    let spec = &mut other["spec"];
    spec["database"] = json!({"type": "None"});
    spec["gates"].as_array_mut().unwrap().truncate(4);
    spec["traffic"]["route53"]["name"] = json!("other.bank.example");
    vec![one, other]
}
