//! Secrets Manager, as far as reading a secret and giving it a new value goes: secrets were made before Slipway came.
//!
//! | rule | from |
//! |---|---|
//! | a new version takes the label AWSCURRENT, and the one that had it becomes AWSPREVIOUS | API reference, `PutSecretValue` |
//! | the request's token becomes the version's id; the same token with the same value does nothing | the same |
//! | the same token with another value is `ResourceExistsException` | the same |

use serde::Deserialize;

use super::Refusal;

/// The label of the value that applications read.
const CURRENT: &str = "AWSCURRENT";
const PREVIOUS: &str = "AWSPREVIOUS";

/// A secret and all its versions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Secret {
    /// `ARN`
    pub arn: String,
    /// `Name`
    pub name: String,
    /// Somebody deleted it, and it is kept for some days.
    pub deleted: bool,
    /// Oldest first.
    pub versions: Vec<Version>,
}

/// One value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    /// `VersionId`
    pub id: String,
    /// `SecretString`
    pub value: String,
    /// `VersionStages`
    pub stages: Vec<String>,
}

/// A call.
#[derive(Clone, Debug)]
pub enum Call {
    /// `GetSecretValue`
    Get(Get),
    /// `PutSecretValue`
    Put(Put),
}

/// `GetSecretValue`
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct Get {
    /// Name or ARN.
    pub secret_id: String,
}

/// `PutSecretValue`
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct Put {
    /// Name or ARN.
    pub secret_id: String,
    /// Without it an SDK makes one up.
    pub client_request_token: String,
    /// The new value.
    pub secret_string: String,
}

/// An answer: the secret and the version in question; its value only if it was asked for.
#[derive(Clone, Debug)]
pub struct Reply {
    /// `ARN`
    pub arn: String,
    /// `Name`
    pub name: String,
    /// The version.
    pub version: Version,
    /// `GetSecretValue`
    pub with_value: bool,
}

/// The secrets of the account.
#[derive(Clone, Debug, Default)]
pub(super) struct Secrets {
    pub(super) all: Vec<Secret>,
}

impl Secrets {
    pub(super) fn call(&mut self, call: Call) -> Result<Reply, Refusal> {
        match call {
            Call::Get(Get { secret_id }) => {
                let secret = self.find(&secret_id)?;
                let current = |version: &&mut Version| version.stages.iter().any(|stage| stage == CURRENT);
                let version = secret.versions.iter_mut().find(current).cloned().ok_or_else(|| {
                    not_found(
                        "Secrets Manager can't find the specified secret value for staging label: AWSCURRENT",
                    )
                })?;
                Ok(Reply { arn: secret.arn.clone(), name: secret.name.clone(), version, with_value: true })
            }
            Call::Put(Put { secret_id, client_request_token: token, secret_string: value }) => {
                if !(32..=64).contains(&token.len()) {
                    return Err(Refusal::new(
                        "InvalidParameterException",
                        "ClientRequestToken must be 32-64 characters long.",
                    ));
                }
                let secret = self.find(&secret_id)?;
                let known = secret.versions.iter().find(|version| version.id == token);
                let version = match known {
                    Some(version) if version.value == value => version.clone(),
                    Some(_) => {
                        return Err(Refusal::new(
                            "ResourceExistsException",
                            format!(
                                "You can't use ClientRequestToken {token} because that value is already in use for a \
                                 version of secret {}.",
                                secret.arn
                            ),
                        ));
                    }
                    None => secret.add(token, value),
                };
                Ok(Reply { arn: secret.arn.clone(), name: secret.name.clone(), version, with_value: false })
            }
        }
    }

    fn find(&mut self, id: &str) -> Result<&mut Secret, Refusal> {
        let found = self.all.iter_mut().find(|secret| secret.arn == id || secret.name == id);
        match found {
            Some(secret) if secret.deleted => Err(Refusal::new(
                "InvalidRequestException",
                "You can't perform this operation on the secret because it was marked for deletion.",
            )),
            Some(secret) => Ok(secret),
            None => Err(not_found("Secrets Manager can't find the specified secret.")),
        }
    }
}

impl Secret {
    /// Adds a version, and moves the labels.
    pub(super) fn add(&mut self, id: String, value: String) -> Version {
        for version in &mut self.versions {
            let was_current = version.stages.iter().any(|stage| stage == CURRENT);
            version.stages.retain(|stage| stage != CURRENT && stage != PREVIOUS);
            if was_current {
                version.stages.push(PREVIOUS.to_owned());
            }
        }
        let version = Version { id, value, stages: vec![CURRENT.to_owned()] };
        self.versions.push(version.clone());
        version
    }
}

fn not_found(message: &str) -> Refusal {
    Refusal::new("ResourceNotFoundException", message)
}
