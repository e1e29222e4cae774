//! Whose an AWS resource is: said by its tags, and by nothing else.

use super::dms::Owner;
use crate::api::condition::Reason;
use crate::fault::Fault;

/// Tag: the `metadata.uid` of the resource that it was made for.
pub const UID_TAG: &str = "slipway.dev/uid";
/// Tag: that resource's `namespace/name`, for a person who looks.
pub const RESOURCE_TAG: &str = "slipway.dev/resource";
/// Tag of an endpoint: which version of the Secret its password came from.
pub const SECRET_VERSION_TAG: &str = "slipway.dev/secret-version";

/// The migration on whose behalf a call is made.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Ownership {
    /// Its `metadata.uid`.
    pub uid: String,
    /// Its `namespace/name`.
    pub resource: String,
}

impl Ownership {
    /// The tags that say so.
    pub(super) fn tags(&self) -> [(&'static str, &str); 2] {
        [(UID_TAG, &self.uid), (RESOURCE_TAG, &self.resource)]
    }

    /// Whose a resource with these tags is. The uid alone decides: a name can come back with another meaning.
    pub fn judge(&self, tags: &[(String, String)]) -> Owner {
        match (value(tags, UID_TAG), value(tags, RESOURCE_TAG)) {
            (Some(uid), _) if uid == self.uid && !uid.is_empty() => Owner::Us,
            (Some(uid), Some(resource)) => Owner::Other(Some(format!("{resource} (uid {uid})"))),
            (Some(uid), None) => Owner::Other(Some(format!("uid {uid}"))),
            (None, Some(resource)) => Owner::Other(Some(resource.to_owned())),
            (None, None) => Owner::Other(None),
        }
    }

    /// Whom a resource with these tags was made for; `None` without a uid, as Slipway makes nothing without.
    pub fn said(tags: &[(String, String)]) -> Option<Self> {
        let uid = value(tags, UID_TAG).filter(|uid| !uid.is_empty())?;
        let resource = value(tags, RESOURCE_TAG).unwrap_or_default();
        Some(Self { uid: uid.to_owned(), resource: resource.to_owned() })
    }

    /// Lets only our own through.
    pub fn require(&self, operation: &str, on: &str, owner: &Owner) -> Result<(), Fault> {
        let whose = match owner {
            Owner::Us => return Ok(()),
            Owner::Other(Some(whose)) => format!("is tagged as belonging to {whose}"),
            Owner::Other(None) => format!("has no tag {UID_TAG}, so Slipway did not make it"),
        };
        Err(Fault::blocked(
            Reason::NotOurs,
            format_args!("{operation} {on}: not done, since it {whose}, not to {}", self.resource),
            "Rename or delete it, or choose another spec.environmentSuffix",
        ))
    }
}

/// The value of one tag.
pub(super) fn value<'a>(tags: &'a [(String, String)], key: &str) -> Option<&'a str> {
    tags.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_str())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]

    use super::*;

    fn tag(key: &str, value: &str) -> (String, String) {
        (key.to_owned(), value.to_owned())
    }

    #[test]
    fn only_our_uid_makes_it_ours() {
        let ours = Ownership { uid: "u-1".into(), resource: "bank/payments-db".into() };
        let tags = ours.tags().map(|(key, value)| tag(key, value));
        assert_eq!(ours.judge(&tags), Owner::Us);
        for (tags, expected) in [
            (vec![], None),
            (vec![tag(RESOURCE_TAG, "bank/payments-db")], Some("bank/payments-db")),
            (vec![tag(UID_TAG, "u-2")], Some("uid u-2")),
            (
                vec![tag(UID_TAG, "u-2"), tag(RESOURCE_TAG, "bank/payments-db")],
                Some("bank/payments-db (uid u-2)"),
            ),
        ] {
            let owner = ours.judge(&tags);
            assert_eq!(owner, Owner::Other(expected.map(str::to_owned)));
            let refused = ours.require("DeleteEndpoint", "dms-endpoint-x", &owner).unwrap_err();
            assert!(matches!(&refused, Fault::Blocked(b) if b.reason == Reason::NotOurs), "{refused}");
        }
        assert_eq!(Ownership::said(&tags), Some(ours));
        assert_eq!(Ownership::said(&[tag(RESOURCE_TAG, "bank/payments-db")]), None);
        assert_eq!(Ownership::said(&[tag(UID_TAG, "")]), None);
        let nobody = Ownership { uid: String::new(), resource: String::new() };
        assert_eq!(nobody.judge(&[tag(UID_TAG, "")]), Owner::Other(Some("uid ".into())));
    }
}
