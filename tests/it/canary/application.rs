//! What an application, its database and AWS answer may hold a secret, and goes nowhere.

use std::net::Ipv4Addr;

use axum::http::{StatusCode, Uri};
use sandbox::canary::MARK;
use sandbox::sandbox::{SERVICE, SOURCE_ADDRESS, applications};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::bad_input::kind::Kind;
use crate::crash::replies::order;
use crate::journey::{Journey, NAME, PATIENCE, View, execute};

const APPLICATION: &str = "payments-api";

/// Servers of both fleets that say the word wherever an answer has room for it.
async fn babble(journey: &Journey) -> JoinSet<()> {
    let port = journey.sandbox.traffic.balancer.port();
    let mut servers = JoinSet::new();
    for address in [SOURCE_ADDRESS, Ipv4Addr::new(127, 0, 0, 3), Ipv4Addr::new(127, 0, 0, 4)] {
        let listener = TcpListener::bind((address, port)).await.unwrap();
        let answer = async |uri: Uri| {
            let status = match uri.path() {
                "/healthz" => StatusCode::OK,
                "/moved" => StatusCode::FOUND,
                _ => StatusCode::INTERNAL_SERVER_ERROR,
            };
            let headers = [
                ("set-cookie", format!("session={MARK}")),
                ("location", format!("http://{MARK}.example/{MARK}")),
                ("www-authenticate", format!("Basic realm={MARK:?}")),
            ];
            (status, headers, format!("the password is {MARK}"))
        };
        let router = axum::Router::new().fallback(answer);
        servers.spawn(async move { axum::serve(listener, router).await.unwrap() });
        if address != SOURCE_ADDRESS {
            journey.sandbox.aws.with_world(|world, _| world.run_task(SERVICE, address, port));
        }
    }
    servers
}

/// The word backwards: the question itself stands in the spec, where everybody may read it.
fn reversed() -> String {
    format!("reverse('{}')", MARK.chars().rev().collect::<String>())
}

fn gates() -> Value {
    let http = |side: &str, path: &str| json!({"side": side, "path": path, "expectedStatus": 204});
    let sql = |query: String| json!({"query": query, "expect": "another"});
    json!([
        {"name": "moved", "interval": "1s", "http": http("Source", "/moved")},
        {"name": "broken", "interval": "1s", "http": http("Target", "/broken")},
        {"name": "answer", "interval": "1s", "sql": sql(format!("SELECT {}", reversed()))},
        {"name": "error", "interval": "1s", "sql": sql(format!("SELECT {}::integer", reversed()))},
        {"name": "relation", "interval": "1s",
         "sql": sql(format!("SELECT query_to_xml('SELECT * FROM ' || {}, true, true, '')", reversed()))},
        {"name": "alarm", "interval": "1s", "alarm": {"alarmName": "a"}},
        {"name": "metric", "interval": "1s", "metric": {
            "namespace": "AWS/ApplicationELB", "metricName": "RequestCount", "statistic": "Sum",
            "operator": "LessThanOrEqual", "threshold": "5"}},
    ])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_applications_databases_and_aws_answer_goes_nowhere() {
    let traced = |options: &mut sandbox::sandbox::Options| options.operator_log = Some("trace".to_owned());
    let mut journey = Box::pin(Journey::begin_with("canary-application", traced)).await;
    let _servers = babble(&journey).await;
    // The servers' own logs repeat what they were asked, which is theirs to do.
    let quiet = "ALTER ROLE slipway_operator SET log_min_messages = panic";
    for server in [&journey.sandbox.source, &journey.sandbox.target] {
        execute(server, quiet).await;
    }
    journey.start_operator();
    journey.apply(|object| object["spec"]["applications"] = json!([APPLICATION])).await;
    journey.until_replicating(NAME).await;
    let mut object = Kind::Application.placed(&journey);
    let spec = &mut object["spec"];
    spec["goal"] = json!("Stage");
    spec["gates"] = gates();
    spec["source"]["healthCheck"] = json!({
        "protocol": "HTTP", "port": journey.sandbox.traffic.balancer.port(), "path": "/healthz",
    });
    // Each service of AWS refuses in its own form, and says the word.
    order(&journey, "access-denied cloudwatch:*");
    journey.try_apply(&object).await.unwrap();
    let api = applications(journey.client.clone(), "default");
    let until = async |what: &str, reached: &dyn Fn(&View) -> bool| {
        journey
            .eventually(PATIENCE, what, || async {
                let object = api.get(APPLICATION).await.map_err(|error| error.to_string())?;
                let view = View::of(&object);
                let seen = format!("{} {:#}", view.describe(), view.status()["gates"]);
                if reached(&view) { Ok(view) } else { Err(seen) }
            })
            .await
    };
    // Everything was asked, and judged by what was answered.
    let result = |view: &View, name: &str| {
        let gates = view.status()["gates"].as_array().cloned().unwrap_or_default();
        let gate = gates.into_iter().find(|gate| gate["name"] == name).unwrap_or_default();
        (gate["result"].as_str().unwrap_or_default().to_owned(), gate["value"].clone())
    };
    let judged = |view: &View| {
        result(view, "moved") == ("Fail".to_owned(), json!("302"))
            && result(view, "broken") == ("Fail".to_owned(), json!("500"))
            && result(view, "answer") == ("Fail".to_owned(), json!("another"))
    };
    let view = until("every gate judged", &judged).await;
    let reason = |view: &View, name: &str| {
        let gates = view.status()["gates"].as_array().cloned().unwrap_or_default();
        gates.iter().find(|gate| gate["name"] == name).map(|gate| gate["reason"].to_string())
    };
    for name in ["error", "relation"] {
        assert_eq!(result(&view, name).0, "Unknown", "{:#}", view.status()["gates"]);
        let reason = reason(&view, name).unwrap_or_default();
        assert!(reason.contains("asking the gate's question"), "{reason}");
    }
    for name in ["alarm", "metric"] {
        let reason = reason(&view, name).unwrap_or_default();
        assert!(reason.contains("AccessDenied"), "{reason}");
    }
    journey.no_canary().await;
    for (fault, call) in [
        ("expired-token", "ecs:DescribeServices"),
        ("error500", "elasticloadbalancing:DescribeTargetHealth"),
        ("access-denied", "route53:ListResourceRecordSets"),
    ] {
        journey.sandbox.aws.clear_faults();
        order(&journey, &format!("{fault} {call}"));
        // The second time, what it made of the first was written.
        let refused = || {
            let calls = journey.sandbox.aws.calls().into_iter();
            calls.filter(|made| made.operation == call && made.outcome != "ok").count()
        };
        let met = || async { if refused() > 1 { Ok(()) } else { Err(format!("{} refusals", refused())) } };
        journey.eventually(PATIENCE, call, met).await;
        journey.no_canary().await;
    }
    journey.end().await;
}
