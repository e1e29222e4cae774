//! The API server's audit log: who wrote what. For tests that count writes.

use std::fs;
use std::path::Path;

use serde::Deserialize;

use super::{Error, io_error};

/// One write that the API server answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    /// `sandbox-admin`, or `system:serviceaccount:slipway-system:slipway`.
    pub user: String,
    /// `create`, `update`, `patch`, `delete` or `deletecollection`.
    pub verb: String,
    /// API group; empty for the core group.
    pub group: String,
    /// Plural name, `databasemigrations`.
    pub resource: String,
    /// `status`, or empty.
    pub subresource: String,
    /// Empty for what has none.
    pub namespace: String,
    /// Empty for a creation with a generated name.
    pub name: String,
    /// HTTP status of the answer: 403 for a refusal.
    pub code: u16,
}

impl Write {
    /// The user name of the operator's service account.
    pub fn is_by_operator(&self) -> bool {
        self.user == "system:serviceaccount:slipway-system:slipway"
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Line {
    stage: String,
    verb: String,
    user: User,
    #[serde(default)]
    object_ref: Object,
    #[serde(default)]
    response_status: Answer,
}

#[derive(Deserialize)]
struct User {
    username: String,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Object {
    api_group: String,
    resource: String,
    subresource: String,
    namespace: String,
    name: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Answer {
    code: u16,
}

/// All writes so far, in the order of their answers. A write is listed before its caller has the answer.
pub fn writes(log: &Path) -> Result<Vec<Write>, Error> {
    let text = fs::read_to_string(log).map_err(io_error(|| format!("read {}", log.display())))?;
    let mut writes = Vec::new();
    // The last line may be half written.
    for line in text.split_inclusive('\n').filter(|line| line.ends_with('\n')) {
        let line: Line = serde_json::from_str(line).map_err(|error| Error::Malformed {
            what: log.display().to_string(),
            reason: error.to_string(),
        })?;
        if line.stage != "ResponseComplete" {
            continue;
        }
        writes.push(Write {
            user: line.user.username,
            verb: line.verb,
            group: line.object_ref.api_group,
            resource: line.object_ref.resource,
            subresource: line.object_ref.subresource,
            namespace: line.object_ref.namespace,
            name: line.object_ref.name,
            code: line.response_status.code,
        });
    }
    Ok(writes)
}
