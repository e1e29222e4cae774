//! Tags.
//!
//! | rule | source |
//! |---|---|
//! | key 1..128, value at most 256 characters, key not prefixed `aws:` or `dms:` | API model of Tag |
//! | an unknown ARN is `ResourceNotFoundFault` | API model |

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Reply;
use crate::world::{Refusal, World};

/// One tag.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
#[expect(missing_docs, reason = "the API's own fields")]
pub struct Tag {
    pub key: String,
    #[serde(default)]
    pub value: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource_arn: Option<String>,
}

/// `AddTagsToResource`
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
#[expect(missing_docs, reason = "the API's own fields")]
pub struct AddTagsToResource {
    pub resource_arn: String,
    pub tags: Vec<Tag>,
}

/// `RemoveTagsFromResource`
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
#[expect(missing_docs, reason = "the API's own fields")]
pub struct RemoveTagsFromResource {
    pub resource_arn: String,
    pub tag_keys: Vec<String>,
}

/// `ListTagsForResource`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
#[expect(missing_docs, reason = "the API's own fields")]
pub struct ListTagsForResource {
    pub resource_arn: Option<String>,
    #[serde(default)]
    pub resource_arn_list: Vec<String>,
}

/// The tags of a create call, if AWS would take them.
pub(super) fn checked(tags: &[Tag]) -> Result<BTreeMap<String, String>, Refusal> {
    let mut checked = BTreeMap::new();
    for Tag { key, value, .. } in tags {
        if key.is_empty() || key.chars().count() > 128 || value.chars().count() > 256 {
            return Err(Refusal::value(format!(
                "tag {key:?}: a key has 1 to 128 characters, a value at most 256"
            )));
        }
        let lower = key.to_lowercase();
        if lower.starts_with("aws:") || lower.starts_with("dms:") {
            return Err(Refusal::value(format!("tag {key:?}: the prefixes aws: and dms: are reserved")));
        }
        if checked.insert(key.clone(), value.clone()).is_some() {
            return Err(Refusal::value(format!("tag {key:?} is given twice")));
        }
    }
    Ok(checked)
}

impl World {
    pub(super) fn add_tags(&mut self, call: &AddTagsToResource) -> Result<Reply, Refusal> {
        let new = checked(&call.tags)?;
        let tags = self.dms.tags.get_mut(&call.resource_arn).ok_or_else(|| unknown(&call.resource_arn))?;
        tags.extend(new);
        Ok(Reply::Done)
    }

    pub(super) fn remove_tags(&mut self, call: &RemoveTagsFromResource) -> Result<Reply, Refusal> {
        let tags = self.dms.tags.get_mut(&call.resource_arn).ok_or_else(|| unknown(&call.resource_arn))?;
        tags.retain(|key, _| !call.tag_keys.contains(key));
        Ok(Reply::Done)
    }

    pub(super) fn list_tags(&self, call: &ListTagsForResource) -> Result<Reply, Refusal> {
        let many = !call.resource_arn_list.is_empty();
        let mut listed = Vec::new();
        for arn in call.resource_arn.iter().chain(&call.resource_arn_list) {
            let tags = self.dms.tags.get(arn).ok_or_else(|| unknown(arn))?;
            listed.extend(tags.iter().map(|(key, value)| Tag {
                key: key.clone(),
                value: value.clone(),
                resource_arn: many.then(|| arn.clone()),
            }));
        }
        Ok(Reply::Tags(listed))
    }
}

fn unknown(arn: &str) -> Refusal {
    Refusal::not_found(format!("nothing has the ARN {arn}"))
}
