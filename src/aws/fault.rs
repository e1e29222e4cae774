//! What a refused call to AWS means for the next step.
//!
//! A message holds the operation, its object, AWS's code and the request id, and for what a person must mend our own
//! sentence about it. Never AWS's message or the reply's body: they can repeat what was sent.

use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_sts::config::http::HttpResponse;
use aws_sdk_sts::error::{ConnectorError, ProvideErrorMetadata, SdkError};
use aws_sdk_sts::operation::RequestId;
use aws_sdk_sts::operation::assume_role::AssumeRoleError;

use super::call::Operation;
use crate::api::condition::Reason;
use crate::fault::{Blocked, Fault};

/// What a code asks for.
enum Verdict {
    Again(&'static str),
    Wait(&'static str),
    Unknown(&'static str),
    Blocked(Reason, String),
}

/// Says what the failure of `operation` on `on` means.
pub(super) fn classify<E>(operation: Operation, on: &str, error: &SdkError<E, HttpResponse>) -> Fault
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    let call = format!("{} {on}", operation.name);
    match error {
        SdkError::ConstructionFailure(_) => {
            Fault::Bug(format!("{call}: the request could not be built, so nothing was sent"))
        }
        SdkError::TimeoutError(_) => unanswered(operation, &call, "no answer in time"),
        SdkError::DispatchFailure(failure) => failure.as_connector_error().map_or_else(
            || unanswered(operation, &call, "the connection failed"),
            |source| undelivered(operation, &call, source),
        ),
        SdkError::ResponseError(reply) => {
            let status = reply.raw().status().as_u16();
            if status >= 500 {
                return Fault::Again(format!("{call}: HTTP {status} without a code; it is tried again"));
            }
            unanswered(operation, &call, &format!("an answer that can't be read (HTTP {status})"))
        }
        SdkError::ServiceError(reply) => {
            let status = reply.raw().status().as_u16();
            if status < 400 {
                // The SDK calls a success that it can't parse a service error too.
                return unanswered(
                    operation,
                    &call,
                    &format!("an answer that can't be read (HTTP {status})"),
                );
            }
            // Of an error without a code the SDK forgets the id.
            let request = error.request_id().or_else(|| reply.raw().headers().get("x-amzn-requestid"));
            let refusal = Refused { code: code(error), status, request, body: body(error) };
            refused(operation, &call, &refusal)
        }
        _ => unanswered(operation, &call, "it failed in a way that is not known"),
    }
}

/// What it means that AWS answers with this code, for a model that has no wire.
pub fn of_code(
    service: &'static str,
    name: &'static str,
    mutates: bool,
    on: &str,
    code: &str,
    status: u16,
) -> Fault {
    let operation = Operation { service, name, mutates, fields: "the spec" };
    let refusal = Refused { code: Some(code.to_owned()), status, request: None, body: b"" };
    refused(operation, &format!("{name} {on}"), &refusal)
}

/// What it means that AWS does not answer, for a model that has no wire.
pub fn of_silence(service: &'static str, name: &'static str, mutates: bool, on: &str) -> Fault {
    let operation = Operation { service, name, mutates, fields: "the spec" };
    unanswered(operation, &format!("{name} {on}"), "no answer in time")
}

/// Route 53's code for a batch of which a change can't be made.
const BATCH: &str = "InvalidChangeBatch";

/// AWS's word for why it refused. Route 53 has one refusal whose code is the name of its element; the SDK finds none there.
pub(super) fn code<E: ProvideErrorMetadata>(error: &SdkError<E, HttpResponse>) -> Option<String> {
    let found = error.code().map(str::to_owned);
    found.or_else(|| contains(body(error), b"<InvalidChangeBatch").then(|| BATCH.to_owned()))
}

/// What AWS answered, to be looked at and never repeated.
fn body<E>(error: &SdkError<E, HttpResponse>) -> &[u8] {
    match error {
        SdkError::ServiceError(reply) => reply.raw().body().bytes().unwrap_or_default(),
        _ => &[],
    }
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}

/// A batch was refused since a record stands otherwise than was thought, as opposed to one that could never be made. The
/// only place where AWS's prose is read: if it changes, a person is told what would have mended itself.
fn stands_otherwise(body: &[u8]) -> bool {
    ["but it already exists", "but it was not found", "do not match the current values"]
        .iter()
        .any(|words| contains(body, words.as_bytes()))
}

/// An answer that is an error.
struct Refused<'a> {
    code: Option<String>,
    status: u16,
    request: Option<&'a str>,
    body: &'a [u8],
}

fn refused(operation: Operation, call: &str, refusal: &Refused<'_>) -> Fault {
    let Refused { code, status, request, body } = refusal;
    let status = *status;
    let class = if status >= 500 { "server error" } else { "client error" };
    let code = code.as_deref().map_or_else(|| format!("HTTP {status}"), word);
    let request =
        request.map_or_else(|| "without a request id".to_owned(), |id| format!("request {}", word(id)));
    let head = format!("{call}: {code} ({class}, {request})");
    let verdict =
        if status >= 500 { Verdict::Again("it is tried again") } else { judge(operation, &code, body) };
    match verdict {
        Verdict::Again(why) => Fault::Again(format!("{head}: {why}")),
        Verdict::Wait(why) => Fault::Wait(format!("{head}: {why}")),
        Verdict::Unknown(why) => Fault::Unknown(format!("{head}: {why}")),
        Verdict::Blocked(reason, remedy) => {
            Fault::Blocked(Blocked { reason, message: format!("{head}: {remedy}") })
        }
    }
}

/// AWS's codes are words. Anything else that stands in their place is not repeated.
fn word(text: &str) -> String {
    let fits = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '=' | '/' | '+');
    text.chars().filter(fits).take(80).collect()
}

/// No answer: a change may have been carried out, a read can be repeated.
fn unanswered(operation: Operation, call: &str, what: &str) -> Fault {
    if operation.mutates {
        return Fault::Unknown(format!("{call}: {what}, so it may have been carried out; looking first"));
    }
    Fault::Again(format!("{call}: {what}; it is tried again"))
}

/// The request did not get through, or its answer did not.
fn undelivered(operation: Operation, call: &str, source: &ConnectorError) -> Fault {
    if let Some(error) = in_chain::<SdkError<AssumeRoleError, HttpResponse>>(source)
        && let Some(code) = error.code()
    {
        let head = format!("{call}: not sent, since AssumeRole was refused with {}", word(code));
        if is_denied(code) {
            return Fault::Blocked(Blocked {
                reason: Reason::AccessDenied,
                message: format!(
                    "{head}: allow the operator's identity sts:AssumeRole on the role that the administrator's map \
                     names for this namespace, in the role's trust policy too (with its external id, if it asks for one)"
                ),
            });
        }
        return Fault::Again(format!("{head}; it is tried again"));
    }
    if in_chain::<CredentialsError>(source).is_some() {
        return Fault::Again(format!(
            "{call}: not sent, since no AWS credentials could be had; it is tried again"
        ));
    }
    let refused = in_chain::<std::io::Error>(source)
        .is_some_and(|error| error.kind() == std::io::ErrorKind::ConnectionRefused);
    if refused {
        return Fault::Again(format!(
            "{call}: not sent, since the connection was refused; it is tried again"
        ));
    }
    unanswered(
        operation,
        call,
        if source.is_timeout() { "no answer in time" } else { "the connection failed" },
    )
}

fn in_chain<'a, T: std::error::Error + 'static>(
    error: &'a (dyn std::error::Error + 'static),
) -> Option<&'a T> {
    std::iter::successors(Some(error), |error| error.source()).find_map(|error| error.downcast_ref())
}

fn is_denied(code: &str) -> bool {
    matches!(
        code,
        "AccessDeniedFault"
            | "AccessDenied"
            | "AccessDeniedException"
            | "UnauthorizedOperation"
            | "UnauthorizedAccess"
            | "NotAuthorized"
    )
}

/// The table of codes. One that nobody knows is tried again, never final.
fn judge(operation: Operation, code: &str, body: &[u8]) -> Verdict {
    let field = |fields: &str, what: &str| {
        Verdict::Blocked(Reason::RequestRefused, format!("{what}; look at {fields}"))
    };
    match code {
        _ if is_denied(code) => Verdict::Blocked(Reason::AccessDenied, allow(operation)),

        "Throttling"
        | "ThrottlingException"
        | "ThrottledException"
        | "RequestThrottled"
        | "RequestThrottledException"
        | "RequestLimitExceeded"
        | "TooManyRequestsException"
        | "KMSThrottlingFault" => Verdict::Again("AWS is throttling; it is tried again"),
        "ExpiredToken"
        | "ExpiredTokenException"
        | "RequestExpired"
        | "InvalidClientTokenId"
        | "UnrecognizedClientException" => {
            Verdict::Again("the operator's credentials are not valid at the moment; it is tried again")
        }
        "InsufficientResourceCapacityFault" => Verdict::Again("AWS has no capacity for it now; it is tried again"),

        // Nothing was done, and each turn looks before it acts. `Unknown` would look again without a pause, for ever if
        // what we see is not what Route 53 compares with.
        BATCH if stands_otherwise(body) => {
            Verdict::Again("nothing was changed, since a record stands otherwise than was thought; looking again")
        }
        BATCH => field(
            operation.fields,
            "nothing was changed, since Route 53 can't make these records beside the zone's others: a CNAME stands alone and \
             not at the zone's apex, and an alias needs its load balancer",
        ),
        "PriorRequestNotComplete" => Verdict::Wait("Route 53 is busy with an earlier change of this zone"),
        "NoSuchHostedZone" => field(&format!("{}.zoneID", operation.fields), "this account has no hosted zone of this id"),
        "NoSuchHealthCheck" => field(
            operation.fields,
            "a health check that one of the records names is gone; make it anew, or take it off the record",
        ),

        "InvalidResourceStateFault" => Verdict::Wait("it is busy with an earlier step"),
        "ResourceAlreadyExistsFault" => Verdict::Unknown("something has this name; looking whose it is"),
        "ResourceNotFoundFault" | "ResourceNotFound" | "ResourceNotFoundException" => {
            Verdict::Unknown("it, or something it needs, is not there; looking again")
        }

        "ResourceQuotaExceededFault"
        | "LimitExceeded"
        | "LimitExceededFault"
        | "LimitExceededException"
        | "LimitsExceeded" => Verdict::Blocked(
            Reason::QuotaExceeded,
            format!(
                "the account has reached its quota for {} in this region; raise it in Service Quotas, or delete what is no \
                 longer used",
                operation.service
            ),
        ),
        "StorageQuotaExceededFault" => Verdict::Blocked(
            Reason::QuotaExceeded,
            "the account has reached its quota for DMS storage in this region; raise it in Service Quotas, or lower \
             spec.replication.instance.managed.storageGiB"
                .to_owned(),
        ),

        "KMSAccessDeniedFault" => Verdict::Blocked(
            Reason::AccessDenied,
            "allow the operator's role kms:CreateGrant, kms:DescribeKey, kms:Encrypt and kms:Decrypt on the key of \
             spec.replication.instance.managed.kmsKeyARN, in the key's policy too"
                .to_owned(),
        ),
        "DecryptionFailure" | "EncryptionFailure" => Verdict::Blocked(
            Reason::AccessDenied,
            "allow the operator's role kms:Decrypt and kms:GenerateDataKey on the secret's key, in the key's policy too, \
             and see that the key is enabled"
                .to_owned(),
        ),
        "InvalidRequestException" => field(
            operation.fields,
            "AWS does not do it in the state that it is in: a secret that is being deleted, or that another service manages",
        ),
        "ResourceExistsException" => Verdict::Unknown("it was written before in another way; looking again"),
        "KMSKeyNotAccessibleFault"
        | "KMSDisabledFault"
        | "KMSInvalidStateFault"
        | "KMSNotFoundFault"
        | "KMSFault" => field(
            "spec.replication.instance.managed.kmsKeyARN",
            "AWS can't use the key: it must exist in this region and be enabled",
        ),
        "ReplicationSubnetGroupDoesNotCoverEnoughAZs" => field(
            "spec.replication.instance.managed.subnetIDs",
            "the subnets must lie in at least two availability zones of one VPC",
        ),
        "InvalidSubnet" | "SubnetAlreadyInUse" => field(
            "spec.replication.instance.managed.subnetIDs",
            "a subnet does not exist in this account and region, is in another VPC than the others, or is in use",
        ),
        "InvalidCertificateFault" => field(
            "the keys that spec.source.tls.caRef and spec.target.tls.caRef name",
            "DMS can't read the certificate authorities: each must be PEM text",
        ),
        "SNSInvalidTopicFault" | "SNSNoAuthorizationFault" => {
            field("spec.alarms.snsTopicARN", "the topic does not exist or does not allow this account to publish")
        }
        "InvalidParameterValueException"
        | "InvalidParameterValue"
        | "InvalidParameterCombinationException"
        | "InvalidParameterCombination"
        | "InvalidParameterException"
        | "InvalidOperationFault"
        | "InvalidParameterInput"
        | "InvalidInput"
        | "InvalidFormat"
        | "InvalidFormatFault"
        | "MissingParameter"
        | "MissingRequiredParameter"
        | "MissingRequiredParameterException"
        | "ValidationError"
        | "ValidationException" => {
            field(operation.fields, "AWS does not accept a value (CloudTrail has its reason under the request id)")
        }
        _ => Verdict::Again("a code that Slipway does not know; it is tried again"),
    }
}

/// What to allow so that `operation` is let through.
fn allow(operation: Operation) -> String {
    let Operation { service, name, .. } = operation;
    match name {
        "CreateReplicationSubnetGroup" | "CreateReplicationInstance" => format!(
            "allow the operator's role {service}:{name} and {service}:AddTagsToResource, and see that the account has \
             the role dms-vpc-role (trusts dms.amazonaws.com, policy AmazonDMSVPCManagementRole); one made a moment \
             ago takes a minute to be known"
        ),
        "CreateEndpoint" | "CreateReplicationTask" | "ImportCertificate" => {
            format!("allow the operator's role {service}:{name} and {service}:AddTagsToResource")
        }
        "GetSecretValue" | "PutSecretValue" => format!(
            "allow the operator's role {service}:{name} on this secret, and kms:Decrypt and kms:GenerateDataKey on its key \
             if it has one of its own"
        ),
        "PutMetricAlarm" | "PutDashboard" => {
            format!("allow the operator's role {service}:{name} and {service}:TagResource")
        }
        _ => format!("allow the operator's role {service}:{name}"),
    }
}

#[cfg(test)]
mod tests;
