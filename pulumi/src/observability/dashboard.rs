//! One page with the figures of both sides' way: who asks, what answers, what is carried, what is full.

use serde_json::{Value, json};

use super::Watched;
use crate::aws::cloudwatch;
use crate::names::DASHBOARD;
use crate::scope::Scope;

/// Load balancer and its targets, database and replication instance, cluster.
type Names = (((String, String), (String, String)), String);

pub(super) fn new(scope: &Scope, watched: &Watched) {
    let name = scope.name(&DASHBOARD);
    let region = scope.config().region.clone();
    let application = watched.application;
    let front = application.balancer.arn_suffix().zip(&application.targets.arn_suffix());
    let behind =
        watched.database.instance.identifier().zip(&watched.migration.instance.replication_instance_id());
    let body = front.zip(&behind).zip(&application.cluster.name()).map(
        move |(((balancer, targets), (database, replication)), cluster): Names| {
            let elb = |metric: &str, statistic: &str| {
                json!(["AWS/ApplicationELB", metric, "LoadBalancer", balancer, "TargetGroup", targets, { "stat": statistic }])
            };
            let rds = |metric: &str| json!(["AWS/RDS", metric, "DBInstanceIdentifier", database]);
            let dms = |metric: &str| json!(["AWS/DMS", metric, "ReplicationInstanceIdentifier", replication]);
            let pages = [
                ("Requests", vec![elb("RequestCount", "Sum"), elb("HTTPCode_Target_5XX_Count", "Sum")]),
                ("Seconds to answer", vec![elb("TargetResponseTime", "p50"), elb("TargetResponseTime", "p99")]),
                ("Targets", vec![elb("HealthyHostCount", "Minimum"), elb("UnHealthyHostCount", "Maximum")]),
                ("Tasks", vec![json!(["ECS/ContainerInsights", "RunningTaskCount", "ClusterName", cluster])]),
                ("Database: processors", vec![rds("CPUUtilization")]),
                ("Database: connections", vec![rds("DatabaseConnections")]),
                ("Database: storage left", vec![rds("FreeStorageSpace")]),
                ("Database: log kept for slots", vec![rds("OldestReplicationSlotLag")]),
                ("Replication: processors", vec![dms("CPUUtilization")]),
                ("Replication: memory left", vec![dms("FreeableMemory")]),
                ("Replication: storage left", vec![dms("FreeStorageSpace")]),
            ];
            let widgets: Vec<Value> = pages
                .into_iter()
                .enumerate()
                .map(|(index, (title, metrics))| {
                    json!({
                        "type": "metric", "x": index % 3 * 8, "y": index / 3 * 6, "width": 8, "height": 6,
                        "properties": { "title": title, "region": region, "metrics": metrics, "period": 60 },
                    })
                })
                .collect();
            json!({ "widgets": widgets }).to_string()
        },
    );
    let args = cloudwatch::DashboardArgs::new(cloudwatch::DashboardRequired {
        dashboard_body: body.into(),
        dashboard_name: name.as_str().into(),
    });
    cloudwatch::Dashboard::new(scope.context(), &name, args, scope.named());
}
