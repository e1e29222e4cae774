//! How AWS says no.

/// An error answer: the code that clients match on, and a message.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {message}")]
pub struct Refusal {
    /// The code, as `InvalidResourceStateFault`.
    pub code: &'static str,
    /// What was refused and why.
    pub message: String,
    /// `resourceArn` of a `ResourceAlreadyExistsFault`.
    pub resource_arn: Option<String>,
}

impl Refusal {
    /// Any code.
    pub fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), resource_arn: None }
    }

    /// `ResourceNotFoundFault`
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new("ResourceNotFoundFault", message)
    }

    /// `InvalidResourceStateFault`
    pub fn state(message: impl Into<String>) -> Self {
        Self::new("InvalidResourceStateFault", message)
    }

    /// `InvalidParameterValueException`
    pub fn value(message: impl Into<String>) -> Self {
        Self::new("InvalidParameterValueException", message)
    }

    /// `InvalidParameterCombinationException`
    pub fn combination(message: impl Into<String>) -> Self {
        Self::new("InvalidParameterCombinationException", message)
    }

    /// `ResourceAlreadyExistsFault` with the ARN of the one that exists.
    pub fn exists(what: &str, name: &str, arn: &str) -> Self {
        Self {
            code: "ResourceAlreadyExistsFault",
            message: format!("{what} {name} already exists"),
            resource_arn: Some(arn.to_owned()),
        }
    }

    /// `ResourceQuotaExceededFault`
    pub fn quota(what: &str, limit: usize) -> Self {
        Self::new("ResourceQuotaExceededFault", format!("the account's quota of {limit} {what} is used up"))
    }

    /// AWS can do it, this model can't: said aloud rather than answered wrongly.
    pub fn not_modelled(what: impl std::fmt::Display) -> Self {
        Self::new("UnknownOperationException", format!("the AWS stand-in does not model {what}"))
    }
}
