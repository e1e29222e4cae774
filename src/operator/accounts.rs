//! The administrator's map: which namespace may use which AWS account, region and role. Never in a resource, so that
//! nobody who may write a migration can choose whose account it changes.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;

use crate::api::condition::Reason;
use crate::aws::{Account, Aws};
use crate::database::goal::due;
use crate::fault::{Blocked, Fault};

/// Where a namespace's migrations go, as the file has it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Entry {
    #[serde(default, rename = "accountID")]
    account_id: Option<String>,
    #[serde(default = "region")]
    region: String,
    #[serde(default, rename = "roleARN")]
    role_arn: Option<String>,
    #[serde(default, rename = "externalID")]
    external_id: Option<String>,
}

impl From<Entry> for Account {
    fn from(entry: Entry) -> Self {
        let Entry { account_id, region, role_arn, external_id } = entry;
        Self { account_id, region, role_arn, external_id }
    }
}

fn region() -> String {
    "us-east-1".to_owned()
}

/// The map.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Accounts {
    /// No map: every namespace uses the operator's own identity in one region.
    Own {
        /// The region.
        region: String,
    },
    /// Only these namespaces may migrate anything.
    Mapped(BTreeMap<String, Account>),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct File {
    namespaces: BTreeMap<String, Entry>,
}

/// The account behind the credentials is checked this often.
const VERIFIED_EVERY: SignedDuration = SignedDuration::from_mins(5);

/// The credentials at hand belong to the account that the map says, if it says one. `last` is when that was last so.
pub async fn verify(
    aws: &Aws,
    account: &Account,
    last: &mut Option<Timestamp>,
    now: Timestamp,
) -> Result<(), Fault> {
    let Some(expected) = &account.account_id else { return Ok(()) };
    if !due(*last, VERIFIED_EVERY, now) {
        return Ok(());
    }
    let actual = aws.identity().await?;
    if actual == *expected {
        *last = Some(now);
        return Ok(());
    }
    Err(Fault::blocked(
        Reason::AccountMismatch,
        format_args!(
            "The operator's credentials belong to account {actual}, and this namespace is mapped to {expected}"
        ),
        "Correct the role in the operator's accounts file (slipway run --accounts)",
    ))
}

/// What is wrong with the map.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It is no such map.
    #[error(
        "the accounts file is not a map `namespaces: {{<namespace>: {{accountID, region, roleARN, externalID}}}}`: {0}"
    )]
    Syntax(String),
    /// An account id that is none.
    #[error("namespaces.{namespace}.accountID: {account_id:?} is not 12 digits")]
    AccountId {
        /// Where.
        namespace: String,
        /// What.
        account_id: String,
    },
}

impl Accounts {
    /// Reads the map from YAML.
    ///
    /// # Errors
    /// When it is not such a map.
    pub fn parse(yaml: &str) -> Result<Self, Error> {
        let file: File = serde_saphyr::from_str(yaml).map_err(|e| Error::Syntax(e.to_string()))?;
        for (namespace, account) in &file.namespaces {
            if let Some(id) = account.account_id.as_ref()
                && !(id.len() == 12 && id.bytes().all(|b| b.is_ascii_digit()))
            {
                return Err(Error::AccountId { namespace: namespace.clone(), account_id: id.clone() });
            }
        }
        Ok(Self::Mapped(file.namespaces.into_iter().map(|(name, entry)| (name, entry.into())).collect()))
    }

    /// The account of a namespace.
    ///
    /// # Errors
    /// [`Reason::AccountNotMapped`] where the administrator mapped none.
    pub fn of(&self, namespace: &str) -> Result<Account, Blocked> {
        match self {
            Self::Own { region } => Ok(Account {
                account_id: None,
                region: region.clone(),
                role_arn: None,
                external_id: None,
            }),
            Self::Mapped(map) => map.get(namespace).cloned().ok_or_else(|| {
                Blocked::new(
                    Reason::AccountNotMapped,
                    format_args!("The namespace {namespace} is mapped to no AWS account"),
                    "Ask the operator's administrator to add it to the accounts file (slipway run --accounts)",
                )
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_mapped_namespaces_have_an_account() {
        let accounts = Accounts::parse(
            "namespaces:\n  payments:\n    accountID: \"111122223333\"\n    roleARN: arn:aws:iam::111122223333:role/slipway-dev\n",
        )
        .expect("a good map");
        let account = accounts.of("payments").expect("mapped");
        assert_eq!(account.region, "us-east-1");
        assert_eq!(account.account_id.as_deref(), Some("111122223333"));
        assert_eq!(accounts.of("other").expect_err("not mapped").reason, Reason::AccountNotMapped);
    }

    #[test]
    fn a_bad_map_is_refused_with_the_fields_name() {
        for (yaml, expected) in [
            ("namespaces: {a: {accountID: \"12\"}}", "namespaces.a.accountID"),
            ("namespaces: {a: {accountId: \"111122223333\"}}", "accounts file"),
            ("accounts: {}", "accounts file"),
        ] {
            let error = Accounts::parse(yaml).expect_err(yaml).to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
