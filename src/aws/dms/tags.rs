//! Tags of DMS resources: read to know the owner, written to say it.

use std::sync::PoisonError;

use aws_sdk_databasemigration::types::Tag;

use super::{Dms, Owner};
use crate::aws::call::{Operation, present};
use crate::aws::inventory::Tags;
use crate::aws::owner::Ownership;
use crate::fault::Fault;
use crate::permit::Permit;

const LIST_TAGS: Operation =
    Operation::read("dms", "ListTagsForResource", "spec.replication.instance and spec.environmentSuffix");
const ADD_TAGS: Operation =
    Operation::change("dms", "AddTagsToResource", "metadata.name and spec.environmentSuffix");

/// Whether a change to an existing resource may go on.
pub(super) enum Standing {
    /// It is ours, as of now.
    Ours,
    /// There is nothing there.
    Gone,
}

impl Dms {
    /// The tags of one resource, read now; `None` if it is not there.
    pub(in crate::aws) async fn tags(&self, arn: &str) -> Result<Option<Tags>, Fault> {
        let request = self.client.list_tags_for_resource().resource_arn(arn).send();
        let reply = present(self.caller.call(LIST_TAGS, arn, request).await)?;
        Ok(reply.map(|reply| {
            let tags = reply.tag_list.unwrap_or_default();
            tags.into_iter().filter_map(|tag| Some((tag.key?, tag.value.unwrap_or_default()))).collect()
        }))
    }

    /// Whose a resource is, for a read; `None` if it went away since it was described, which must not look like
    /// somebody else's.
    pub(super) async fn owner(&self, ours: &Ownership, arn: &str) -> Result<Option<Owner>, Fault> {
        let key = (arn.to_owned(), ours.uid.clone());
        if self.proved.lock().unwrap_or_else(PoisonError::into_inner).contains(&key) {
            return Ok(Some(Owner::Us));
        }
        let Some(tags) = self.tags(arn).await? else { return Ok(None) };
        let owner = ours.judge(&tags);
        if owner == Owner::Us {
            self.proved.lock().unwrap_or_else(PoisonError::into_inner).insert(key);
        }
        Ok(Some(owner))
    }

    /// Reads the owner's tag anew. To be asked in the same call as the change.
    pub(super) async fn prove(
        &self,
        ours: &Ownership,
        operation: Operation,
        arn: &str,
    ) -> Result<Standing, Fault> {
        self.proved
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&(arn.to_owned(), ours.uid.clone()));
        let Some(tags) = self.tags(arn).await? else { return Ok(Standing::Gone) };
        ours.require(operation.name, arn, &ours.judge(&tags))?;
        Ok(Standing::Ours)
    }

    /// As [`prove`](Self::prove), for changes that make no sense without the resource.
    pub(super) async fn prove_present(
        &self,
        ours: &Ownership,
        operation: Operation,
        arn: &str,
    ) -> Result<(), Fault> {
        match self.prove(ours, operation, arn).await? {
            Standing::Ours => Ok(()),
            Standing::Gone => {
                Err(Fault::Unknown(format!("{} {arn}: it is not there; looking again", operation.name)))
            }
        }
    }

    /// Sets one tag of a resource that was just proved ours.
    pub(super) async fn tag(
        &self,
        permit: &Permit<'_>,
        arn: &str,
        key: &str,
        value: &str,
    ) -> Result<(), Fault> {
        let request = self.client.add_tags_to_resource().resource_arn(arn).tags(tag(key, value)).send();
        self.caller.change(permit, ADD_TAGS, arn, request).await?;
        Ok(())
    }
}

/// The owner's tags, for a create call.
pub(super) fn owner_tags(ours: &Ownership) -> Vec<Tag> {
    ours.tags().into_iter().map(|(key, value)| tag(key, value)).collect()
}

pub(super) fn tag(key: &str, value: &str) -> Tag {
    Tag::builder().key(key).value(value).build()
}
