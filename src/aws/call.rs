//! How every call to AWS is made: within the limit, counted, logged, and with a fault if it fails.

use std::sync::Arc;

use aws_sdk_sts::config::http::HttpResponse;
use aws_sdk_sts::error::{ProvideErrorMetadata, SdkError};
use futures::future::BoxFuture;

use super::fault::{classify, code};
use super::limit::{Limit, Turn};
use crate::fault::Fault;
use crate::permit::Permit;

/// Told of every call, to count it.
pub trait CallObserver: Send + Sync {
    /// All three are bounded words: `outcome` is `ok`, `absent`, or the class of a fault.
    fn called(&self, service: &'static str, operation: &'static str, outcome: &'static str);
}

/// One operation of one service, and what a person needs to know when it is refused.
#[derive(Clone, Copy, Debug)]
pub(super) struct Operation {
    /// As IAM writes it: `dms`, `route53`, `elasticloadbalancing`.
    pub(super) service: &'static str,
    /// As AWS writes it: `CreateEndpoint`.
    pub(super) name: &'static str,
    /// It changes something, so an answer that got lost matters.
    pub(super) mutates: bool,
    /// The fields of the spec that its values come from.
    pub(super) fields: &'static str,
}

impl Operation {
    pub(super) const fn read(service: &'static str, name: &'static str, fields: &'static str) -> Self {
        Self { service, name, mutates: false, fields }
    }

    pub(super) const fn change(service: &'static str, name: &'static str, fields: &'static str) -> Self {
        Self { service, name, mutates: true, fields }
    }
}

/// A call that failed: the fault, and AWS's word for those who know more about this one call.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) code: Option<String>,
    pub(super) fault: Fault,
}

impl Refusal {
    /// Nothing has this name (DMS, then RDS, `CloudWatch`, Route 53, load balancers and ECS).
    pub(super) fn is_absent(&self) -> bool {
        matches!(
            self.code.as_deref(),
            Some(
                "ResourceNotFoundFault"
                    | "DBInstanceNotFound"
                    | "DBInstanceNotFoundFault"
                    | "ResourceNotFound"
                    | "ResourceNotFoundException"
                    | "NoSuchHostedZone"
                    | "NoSuchChange"
                    | "LoadBalancerNotFound"
                    | "TargetGroupNotFound"
                    | "ClusterNotFoundException"
            )
        )
    }
}

impl From<Refusal> for Fault {
    fn from(refusal: Refusal) -> Self {
        refusal.fault
    }
}

/// `None` where AWS says that there is nothing of this name.
pub(super) fn present<T>(result: Result<T, Refusal>) -> Result<Option<T>, Fault> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(refusal) if refusal.is_absent() => Ok(None),
        Err(refusal) => Err(refusal.fault),
    }
}

/// Makes the calls to one service.
#[derive(Clone)]
pub(super) struct Caller {
    limit: Arc<Limit>,
    observer: Arc<dyn CallObserver>,
    turn: Turn,
}

impl Caller {
    pub(super) fn new(limit: Arc<Limit>, observer: Arc<dyn CallObserver>) -> Self {
        Self { limit, observer, turn: Turn::Routine }
    }

    /// The same within the same limit, for calls that wait behind no routine one.
    pub(super) fn urgent(&self) -> Self {
        Self { limit: Arc::clone(&self.limit), observer: Arc::clone(&self.observer), turn: Turn::Urgent }
    }

    /// Reads: waits for its turn, sends `request` once, and says what became of it. `on` is the name of what it is about.
    pub(super) fn call<'a, T, E>(
        &'a self,
        operation: Operation,
        on: &str,
        request: impl Future<Output = Result<T, SdkError<E, HttpResponse>>> + Send + 'a,
    ) -> BoxFuture<'a, Result<T, Refusal>>
    where
        T: Send + 'a,
        E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
    {
        self.send(None, operation, on, request)
    }

    /// Changes something: as [`Self::call`], if the permit is still valid when its turn has come.
    pub(super) fn change<'a, T, E>(
        &'a self,
        permit: &'a Permit<'_>,
        operation: Operation,
        on: &str,
        request: impl Future<Output = Result<T, SdkError<E, HttpResponse>>> + Send + 'a,
    ) -> BoxFuture<'a, Result<T, Refusal>>
    where
        T: Send + 'a,
        E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
    {
        self.send(Some(permit), operation, on, request)
    }

    fn send<'a, T, E>(
        &'a self,
        permit: Option<&'a Permit<'_>>,
        operation: Operation,
        on: &str,
        request: impl Future<Output = Result<T, SdkError<E, HttpResponse>>> + Send + 'a,
    ) -> BoxFuture<'a, Result<T, Refusal>>
    where
        T: Send + 'a,
        E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
    {
        let on = on.to_owned();
        let request: BoxFuture<'a, _> = Box::pin(request);
        Box::pin(async move {
            self.limit.take(self.turn).await;
            if let Err(fault) = permitted(permit, operation, &on) {
                return Err(Refusal { code: None, fault });
            }
            if operation.mutates {
                tracing::info!(service = operation.service, operation = operation.name, on, "changing AWS");
            } else {
                tracing::debug!(service = operation.service, operation = operation.name, on, "reading AWS");
            }
            let result = request
                .await
                .map_err(|error| Refusal { code: code(&error), fault: classify(operation, &on, &error) });
            let outcome = match &result {
                Ok(_) => "ok",
                Err(refusal) if refusal.is_absent() => "absent",
                Err(refusal) => refusal.fault.class(),
            };
            self.observer.called(operation.service, operation.name, outcome);
            result
        })
    }
}

fn permitted(permit: Option<&Permit<'_>>, operation: Operation, on: &str) -> Result<(), Fault> {
    match permit {
        Some(permit) => permit.check(format_args!("{} {on}", operation.name)),
        None if operation.mutates => {
            Err(Fault::Bug(format!("{} {on} was asked for without a permit", operation.name)))
        }
        None => Ok(()),
    }
}

/// More pages than any account can fill: the largest answer that Slipway asks for is the tables of one task.
pub(super) const PAGES_MAX: usize = 10_000;

/// Asks for page after page. AWS saying that there is nothing is an empty list.
pub(super) async fn pages<'a, O, T>(
    on: &str,
    mut ask: impl FnMut(Option<String>) -> BoxFuture<'a, Result<O, Refusal>>,
    split: impl Fn(O) -> (Option<Vec<T>>, Option<String>),
) -> Result<Vec<T>, Fault> {
    let mut all = Vec::new();
    let mut marker = None;
    for _ in 0..PAGES_MAX {
        let Some(page) = present(ask(marker.clone()).await)? else { return Ok(all) };
        let (items, next) = split(page);
        all.extend(items.unwrap_or_default());
        let next = next.filter(|next| !next.is_empty());
        if next.is_none() {
            return Ok(all);
        }
        if next == marker {
            break;
        }
        marker = next;
    }
    Err(endless(on))
}

/// Half a list must not pass for a whole one.
pub(super) fn endless(on: &str) -> Fault {
    Fault::Again(format!("listing {on}: AWS's pages have no end; it is tried again"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_reading_goes_without_a_permit() {
        assert_eq!(permitted(None, Operation::read("dms", "DescribeX", ""), "x"), Ok(()));
        let fault = permitted(None, Operation::change("dms", "DeleteX", ""), "x");
        assert!(matches!(fault, Err(Fault::Bug(_))), "{fault:?}");
    }
}
