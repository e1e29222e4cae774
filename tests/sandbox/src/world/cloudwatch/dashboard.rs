//! Dashboards.
//!
//! | rule | source |
//! |---|---|
//! | a body that is no JSON object, or a name with other characters than `A-Za-z0-9-_`, is refused | API model of PutDashboard |
//! | a body that is odd is stored, and the answer says what is odd about it | API model of DashboardValidationMessage |
//! | tags are heeded when it is made, and ignored when it is changed | API model of PutDashboard |
//! | an absent one is `ResourceNotFound`: the code of its error in the query protocol, by which the SDK knows it | API model of DashboardNotFoundError |

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::Value;

use super::{CloudWatch, Reply};
use crate::world::{Refusal, World};

/// `PutDashboard`
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "the API's own fields")]
pub struct PutDashboard {
    pub name: String,
    pub body: String,
    pub tags: BTreeMap<String, String>,
}

/// A dashboard.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the API's own fields")]
pub struct Dashboard {
    pub arn: String,
    pub name: String,
    pub body: String,
    pub modified: Timestamp,
    pub tags: BTreeMap<String, String>,
}

impl CloudWatch {
    pub(super) fn dashboard(&self, name: &str) -> Result<&Dashboard, Refusal> {
        self.dashboards
            .get(name)
            .ok_or_else(|| Refusal::new("ResourceNotFound", format!("Dashboard {name} does not exist")))
    }
}

impl World {
    /// The dashboards' names, to count what is left.
    pub fn dashboards(&self) -> Vec<String> {
        self.cloudwatch.dashboards.keys().cloned().collect()
    }

    pub(super) fn put_dashboard(&mut self, call: PutDashboard) -> Result<Reply, Refusal> {
        let PutDashboard { name, body, tags } = call;
        let refuse = |why: String| Err(Refusal::new("InvalidParameterInput", why));
        let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
        if name.is_empty() || name.len() > 255 || !name.bytes().all(legal) {
            return refuse(format!(
                "DashboardName {name:?} must have 1 to 255 characters of A-Z a-z 0-9 - _"
            ));
        }
        let Ok(Value::Object(content)) = serde_json::from_str(&body) else {
            return refuse("The field DashboardBody must be a valid JSON object".to_owned());
        };
        // Dashboards belong to no region.
        let arn = format!("arn:aws:cloudwatch::{}:dashboard/{name}", self.names.account());
        let messages = messages(content.get("widgets"));
        // Tags are heeded when it is made and ignored later.
        let standing = self.cloudwatch.dashboards.get(&name).map(|standing| standing.tags.clone());
        let tags = standing.unwrap_or(tags);
        let dashboard = Dashboard { arn, name: name.clone(), body, modified: self.now, tags };
        self.cloudwatch.dashboards.insert(name, dashboard);
        Ok(Reply::DashboardValidation(messages))
    }
}

fn messages(widgets: Option<&Value>) -> Vec<(String, String)> {
    let Some(Value::Array(widgets)) = widgets else {
        return vec![("/widgets".to_owned(), "Should be an array".to_owned())];
    };
    let mut messages = Vec::new();
    for (number, widget) in widgets.iter().enumerate() {
        for field in ["type", "properties"] {
            if widget.get(field).is_none() {
                let path = format!("/widgets/{number}");
                messages.push((path, format!("Should have required property '{field}'")));
            }
        }
        let metrics = widget.pointer("/properties/metrics");
        if metrics.is_some_and(|metrics| !metrics.is_array()) {
            let path = format!("/widgets/{number}/properties/metrics");
            messages.push((path, "Should be an array".to_owned()));
        }
    }
    messages
}
