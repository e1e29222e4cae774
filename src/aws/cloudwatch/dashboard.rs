//! Dashboards: read, set, deleted, and only our own. They have no region.

use aws_sdk_cloudwatch::types::{DashboardEntry, Tag};

use super::CloudWatch;
use crate::aws::call::{Operation, pages, present};
use crate::aws::dms::Owner;
use crate::aws::inventory::{Kind, Thing};
use crate::aws::owner::Ownership;
use crate::fault::Fault;
use crate::permit::Permit;

const GET: Operation = Operation::read("cloudwatch", "GetDashboard", "spec.alarms");
const LIST: Operation = Operation::read("cloudwatch", "ListDashboards", "spec.alarms");
const PUT: Operation = Operation::change("cloudwatch", "PutDashboard", "spec.alarms");
const DELETE: Operation = Operation::change("cloudwatch", "DeleteDashboards", "spec.alarms");

/// A dashboard as `CloudWatch` has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dashboard {
    /// Its name.
    pub name: String,
    /// JSON; `CloudWatch` may write it otherwise than it was sent.
    pub body: String,
    /// Whose it is.
    pub owner: Owner,
}

impl CloudWatch {
    /// The dashboard of this name.
    pub async fn dashboard(&self, name: &str, ours: &Ownership) -> Result<Option<Dashboard>, Fault> {
        let request = self.client.get_dashboard().dashboard_name(name).send();
        let Some(reply) = present(self.caller.call(GET, name, request).await)? else { return Ok(None) };
        let owner = self.owner(reply.dashboard_arn().unwrap_or_default(), ours).await?;
        let body = reply.dashboard_body.unwrap_or_default();
        Ok(Some(Dashboard { name: name.to_owned(), body, owner }))
    }

    /// All dashboards, whosever they are.
    pub(in crate::aws) async fn all_dashboards(&self) -> Result<Vec<Thing>, Fault> {
        let on = "all dashboards";
        let found = pages(
            on,
            |token| self.caller.call(LIST, on, self.client.list_dashboards().set_next_token(token).send()),
            |page| (page.dashboard_entries, page.next_token),
        )
        .await?;
        let thing = |seen: DashboardEntry| Thing {
            kind: Kind::Dashboard,
            identifier: seen.dashboard_name.unwrap_or_default(),
            arn: seen.dashboard_arn.unwrap_or_default(),
            state: String::new(),
            uses: Vec::new(),
        };
        Ok(found.into_iter().map(thing).collect())
    }

    /// Makes a dashboard, or sets our own anew; refuses to overwrite anybody else's. One that `CloudWatch` finds fault with
    /// is stored all the same, and is a fault.
    pub async fn put_dashboard(
        &self,
        permit: &Permit<'_>,
        ours: &Ownership,
        name: &str,
        body: &str,
    ) -> Result<(), Fault> {
        if let Some(seen) = self.dashboard(name, ours).await? {
            ours.require(PUT.name, name, &seen.owner)?;
        }
        // Tags are heeded when it is made and ignored later.
        let tags = ours.tags().map(|(key, value)| Tag::builder().key(key).value(value).build());
        let request = self.client.put_dashboard().dashboard_name(name).dashboard_body(body);
        let request = request.set_tags(Some(tags.into())).send();
        let reply = self.caller.change(permit, PUT, name, request).await?;
        let faults = reply.dashboard_validation_messages.unwrap_or_default();
        if faults.is_empty() {
            return Ok(());
        }
        // What it says can repeat what was sent, and we wrote that.
        Err(Fault::Bug(format!(
            "{} {name}: stored, but CloudWatch finds fault with {} places in its body",
            PUT.name,
            faults.len()
        )))
    }

    /// Deletes those of these dashboards that are ours, and refuses all of them if one is not. Content with what is gone.
    pub async fn delete_dashboards(
        &self,
        permit: &Permit<'_>,
        ours: &Ownership,
        names: &[String],
    ) -> Result<(), Fault> {
        let mut found = Vec::new();
        for name in names {
            if let Some(seen) = self.dashboard(name, ours).await? {
                ours.require(DELETE.name, name, &seen.owner)?;
                found.push(name);
            }
        }
        // One by one: of several of which one is gone, CloudWatch deletes none.
        for name in found {
            let request = self.client.delete_dashboards().dashboard_names(name).send();
            present(self.caller.change(permit, DELETE, name, request).await)?;
        }
        Ok(())
    }
}
