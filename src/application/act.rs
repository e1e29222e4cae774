//! Perform one step, idempotently, with a permit. A step that was half done is found by the next look and done again.

use jiff::Timestamp;
use kube::{Client, ResourceExt};

use crate::api::application::{ApplicationMigration, ApplicationMigrationStatus};
use crate::application::decide::{Batch, Step};
use crate::application::goal::Goal;
use crate::application::memory;
use crate::aws::Aws;
use crate::fault::Fault;
use crate::operator::objects;
use crate::permit::Permit;

/// The means to act with.
pub struct Hands<'a> {
    /// The Kubernetes API.
    pub client: &'a Client,
    /// AWS.
    pub aws: &'a Aws,
    /// Proof that this process may act.
    pub permit: &'a Permit<'a>,
}

/// Performs `step`, and returns the resource as it then is; `None` if it is the same as before. What a step leaves in the status
/// is written with `report`, so that a person reads at once what is being done.
pub async fn act(
    hands: &Hands<'_>,
    object: &ApplicationMigration,
    goal: &Goal,
    step: &Step,
    report: &ApplicationMigrationStatus,
    now: Timestamp,
) -> Result<Option<ApplicationMigration>, Fault> {
    let (permit, ours) = (hands.permit, &goal.ownership());
    let cloudwatch = &hands.aws.cloudwatch;
    let remember = async |version| {
        let status = memory::after(goal, step, report, now)
            .ok_or_else(|| Fault::Bug(format!("{} leaves nothing in the status", step.action())))?;
        let doing = format!("recording that {}", step.describe(goal));
        write(hands, object, version, &status, &doing).await.map(Some)
    };
    match step {
        Step::Claim => {
            let version = objects::hold(hands.client, permit, object).await?;
            remember(version).await
        }
        Step::Intend(_) | Step::Hold | Step::Latch(_) | Step::EndWayBack => {
            remember(object.resource_version()).await
        }
        Step::SetWeights(batch) => {
            let change = send(hands, goal, step, batch).await?;
            let status = memory::submitted(&object.status.clone().unwrap_or_default(), &change);
            write(hands, object, object.resource_version(), &status, "recording status.traffic.changeID")
                .await
                .map(Some)
        }
        Step::LeaveToTarget(batch) | Step::Restore(batch) => {
            send(hands, goal, step, batch).await.map(|_| None)
        }
        Step::PutAlarm(alarm) => cloudwatch.put_alarm(permit, ours, alarm).await.map(|()| None),
        Step::DeleteAlarms(names) => cloudwatch.delete_alarms(permit, ours, names).await.map(|()| None),
        Step::PutDashboard { body } => {
            cloudwatch.put_dashboard(permit, ours, &goal.names.dashboard, body).await.map(|()| None)
        }
        Step::DeleteDashboard => {
            let names = std::slice::from_ref(&goal.names.dashboard);
            cloudwatch.delete_dashboards(permit, ours, names).await.map(|()| None)
        }
        Step::Release => objects::release(hands.client, permit, object).await.map(|()| None),
    }
}

/// Sends a batch to Route 53. What a person finds of it in `CloudTrail` says whose it is and what it does.
async fn send(hands: &Hands<'_>, goal: &Goal, step: &Step, batch: &Batch) -> Result<String, Fault> {
    let comment = format!("Slipway {}: {}", goal.migration.resource(), step.describe(goal));
    let urgent = hands.aws.route53.urgent();
    let route53 = if batch.urgent { &urgent } else { &hands.aws.route53 };
    route53.change(hands.permit, &goal.record.zone_id, &comment, &batch.changes).await
}

/// It carries the resourceVersion, so that a goal that changed, and what another operator wrote, are looked at first.
async fn write(
    hands: &Hands<'_>,
    object: &ApplicationMigration,
    version: Option<String>,
    status: &ApplicationMigrationStatus,
    doing: &str,
) -> Result<ApplicationMigration, Fault> {
    objects::write_status(hands.client, hands.permit, object, version, status, doing).await
}
