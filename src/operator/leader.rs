//! Holds the Lease for as long as this process may act: drives [`super::lease`] against the Kubernetes API, and writes down
//! until when permits are valid.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::pin::pin;
use std::time::Duration;

use futures::FutureExt;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::api::{Api, ObjectMeta, PostParams};
use kube::{Client, ResourceExt};
use tokio::sync::{oneshot, watch};

use super::lease::{Do, Elector, Lost, Record, Timing};
use crate::api::FIELD_MANAGER;
use crate::metrics::Metrics;
use crate::permit::{Term, clock};

/// Which Lease, and who asks for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Where the Lease is; else the namespace of the operator's own credentials.
    pub namespace: Option<String>,
    /// What it is called.
    pub name: String,
    /// Who we are: see [`identity`].
    pub identity: String,
    /// How long it lasts.
    pub timing: Timing,
}

/// A pod's name and uid are the same after its container was started again, whose earlier process is certainly dead; so the
/// Lease that it held is taken back at once. A name alone can come back while the pod that had it before runs on, on a
/// node that nobody reaches. Without a uid each process is somebody else, and waits.
pub fn identity(pod_name: Option<&str>, pod_uid: Option<&str>) -> String {
    match (pod_name, pod_uid) {
        (Some(name), Some(uid)) => format!("{name}_{uid}"),
        (name, _) => {
            format!("{}_{:016x}", name.unwrap_or("slipway"), RandomState::new().build_hasher().finish())
        }
    }
}

/// Why this process does not lead, or not any more.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It led.
    #[error("the Lease {lease} is lost: {lost}. This process ends, and whoever holds the Lease next goes on")]
    Lost {
        /// `namespace/name`.
        lease: String,
        /// Why.
        lost: Lost,
    },
    /// No rights.
    #[error(
        "{doing} the Lease {lease} is forbidden: let the operator's identity get, create and update \
         leases.coordination.k8s.io in that namespace, as the chart's Role does"
    )]
    Forbidden {
        /// What was tried.
        doing: &'static str,
        /// `namespace/name`.
        lease: String,
    },
    /// No namespace.
    #[error(
        "the Lease {lease} can't be created: its namespace does not exist. Set --lease-namespace or POD_NAMESPACE"
    )]
    NoNamespace {
        /// `namespace/name`.
        lease: String,
    },
}

/// How this process stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// The Lease was not read yet.
    Unknown,
    /// Somebody else holds it, or nobody yet.
    Follows,
    /// This process holds it.
    Leads,
}

/// One process's way through the election.
pub struct Election {
    api: Api<Lease>,
    name: String,
    lease: String,
    elector: Elector,
    timing: Timing,
    /// As last read or written, so that what others added to it stays.
    last: Option<Lease>,
    term: Term,
    standing: watch::Sender<Standing>,
    holder: Option<String>,
    metrics: Metrics,
}

impl Election {
    /// Nothing is asked yet. `term` says from now on until when this process may act.
    pub fn new(client: Client, candidate: Candidate, term: Term, metrics: Metrics) -> Self {
        let namespace = candidate.namespace.unwrap_or_else(|| client.default_namespace().to_owned());
        let timing = candidate.timing;
        Self {
            lease: format!("{namespace}/{}", candidate.name),
            api: Api::namespaced(client, &namespace),
            name: candidate.name,
            elector: Elector::new(candidate.identity, timing),
            timing,
            last: None,
            term,
            standing: watch::Sender::new(Standing::Unknown),
            holder: None,
            metrics,
        }
    }

    /// How it stands, from now on.
    pub fn standing(&self) -> watch::Receiver<Standing> {
        self.standing.subscribe()
    }

    /// Runs for the Lease, then renews it, until `finished` is sent or dropped; then gives it back.
    ///
    /// # Errors
    /// When it may not, or when it is lost: then nothing may be changed any more.
    pub async fn run(mut self, finished: oneshot::Receiver<()>) -> Result<(), Error> {
        let mut finished = pin!(finished.map(|_| ()));
        loop {
            self.tell();
            match self.elector.next(clock()) {
                Do::Look => self.look().await?,
                Do::Write(record) => self.write(&record).await?,
                Do::Sleep(until) => {
                    tokio::select! {
                        () = tokio::time::sleep(until.saturating_sub(clock())) => {}
                        () = &mut finished => {
                            self.give_back().await;
                            return Ok(());
                        }
                    }
                }
                Do::Lost(lost) => return Err(Error::Lost { lease: self.lease, lost }),
            }
        }
    }

    async fn look(&mut self) -> Result<(), Error> {
        let sent = clock();
        match tokio::time::timeout(self.patience(sent), self.api.get_opt(&self.name)).await {
            Ok(Ok(lease)) => {
                self.elector.saw(lease.as_ref().map(record), clock());
                self.last = lease;
            }
            Ok(Err(error)) => return self.failed("reading", sent, Some(&error)),
            Err(_) => return self.failed("reading", sent, None),
        }
        Ok(())
    }

    async fn write(&mut self, wanted: &Record) -> Result<(), Error> {
        let sent = clock();
        let doing = if wanted.version.is_some() { "updating" } else { "creating" };
        match tokio::time::timeout(self.patience(sent), self.put(wanted)).await {
            Ok(Ok(lease)) => {
                self.elector.wrote(record(&lease), sent, clock());
                self.last = Some(lease);
                Ok(())
            }
            Ok(Err(kube::Error::Api(status))) if status.code == 409 => {
                self.elector.refused(clock());
                Ok(())
            }
            Ok(Err(kube::Error::Api(status))) if status.code == 404 && wanted.version.is_none() => {
                Err(Error::NoNamespace { lease: self.lease.clone() })
            }
            Ok(Err(error)) => self.failed(doing, sent, Some(&error)),
            Err(_) => self.failed(doing, sent, None),
        }
    }

    /// Nothing is waited for longer than this process may act.
    fn patience(&self, now: Duration) -> Duration {
        let left = self.elector.valid_until().map(|until| until.saturating_sub(now));
        left.map_or(self.timing.patience(), |left| left.min(self.timing.patience()))
    }

    /// Forbidden is told at once to whoever installs it; a leader tries for as long as it may act.
    fn failed(
        &mut self,
        doing: &'static str,
        sent: Duration,
        error: Option<&kube::Error>,
    ) -> Result<(), Error> {
        let why = match error {
            Some(kube::Error::Api(status)) if status.code == 403 && self.elector.valid_until().is_none() => {
                return Err(Error::Forbidden { doing, lease: self.lease.clone() });
            }
            Some(kube::Error::Api(status)) => format!("{} ({})", status.reason, status.code),
            Some(_) | None => "the API server did not answer".to_owned(),
        };
        tracing::warn!(lease = self.lease, why, "{doing} the Lease failed");
        self.elector.failed(sent, clock());
        Ok(())
    }

    async fn put(&self, wanted: &Record) -> kube::Result<Lease> {
        let params = PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PostParams::default() };
        let lease = lease(&self.name, wanted, self.last.as_ref(), MicroTime(jiff::Timestamp::now()));
        if wanted.version.is_some() {
            self.api.replace(&self.name, &params, &lease).await
        } else {
            self.api.create(&params, &lease).await
        }
    }

    /// Others need not wait for it to expire.
    async fn give_back(&mut self) {
        let record = self.elector.give_back();
        self.tell();
        let Some(record) = record else { return };
        match tokio::time::timeout(self.timing.retry, self.put(&record)).await {
            Ok(Ok(_)) => tracing::info!(lease = self.lease, "gave the Lease back"),
            Ok(Err(_)) | Err(_) => {
                tracing::warn!(
                    lease = self.lease,
                    "the Lease could not be given back; others wait until it expires"
                );
            }
        }
    }

    /// Says how it stands, to permits first.
    fn tell(&mut self) {
        self.term.set(self.elector.valid_until());
        let leads = self.elector.valid_until().is_some();
        self.metrics.leader.set(i64::from(leads));
        let holder = self.elector.holder();
        if holder != self.holder.as_deref() {
            self.holder = holder.map(ToOwned::to_owned);
            tracing::info!(lease = self.lease, holder, leads, "who leads");
        }
        let standing = match (leads, &self.last) {
            (true, _) => Standing::Leads,
            (false, Some(_)) => Standing::Follows,
            (false, None) => Standing::Unknown,
        };
        self.standing.send_if_modified(|known| std::mem::replace(known, standing) != standing);
    }
}

fn record(lease: &Lease) -> Record {
    let spec = lease.spec.as_ref();
    let seconds = spec.and_then(|spec| spec.lease_duration_seconds).unwrap_or_default();
    Record {
        version: lease.resource_version(),
        holder: spec.and_then(|spec| spec.holder_identity.clone()).filter(|holder| !holder.is_empty()),
        duration: Duration::from_secs(u64::try_from(seconds).unwrap_or_default()),
        transitions: spec.and_then(|spec| spec.lease_transitions).unwrap_or_default(),
    }
}

/// The times are for people: no process decides by them.
fn lease(name: &str, wanted: &Record, last: Option<&Lease>, now: MicroTime) -> Lease {
    let mut lease = last.filter(|_| wanted.version.is_some()).cloned().unwrap_or_default();
    let before = lease.spec.take().unwrap_or_default();
    let same_term =
        before.holder_identity == wanted.holder && before.lease_transitions == Some(wanted.transitions);
    let acquired = if same_term { before.acquire_time.clone() } else { Some(now.clone()) };
    lease.metadata = ObjectMeta {
        name: Some(name.to_owned()),
        resource_version: wanted.version.clone(),
        ..lease.metadata
    };
    lease.spec = Some(LeaseSpec {
        holder_identity: wanted.holder.clone(),
        lease_duration_seconds: i32::try_from(wanted.duration.as_secs()).ok(),
        acquire_time: acquired,
        renew_time: Some(now),
        lease_transitions: Some(wanted.transitions),
        ..before
    });
    lease
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_pod_keeps_its_identity_and_a_process_without_one_has_its_own() {
        assert_eq!(identity(Some("slipway-0"), Some("u-1")), "slipway-0_u-1");
        assert_ne!(identity(Some("slipway-0"), None), identity(Some("slipway-0"), None));
        assert_ne!(identity(None, Some("u-1")), identity(None, Some("u-1")));
    }

    #[test]
    fn a_lease_says_what_its_record_says_and_keeps_what_others_wrote() {
        let at = |second| MicroTime(jiff::Timestamp::from_second(second).unwrap());
        let first = Record {
            version: None,
            holder: Some("a".to_owned()),
            duration: Duration::from_secs(15),
            transitions: 0,
        };
        let mut made = lease("slipway", &first, None, at(1));
        made.metadata.resource_version = Some("7".to_owned());
        made.metadata.labels = Some([("team".to_owned(), "bank".to_owned())].into());
        let renewal = record(&made);
        assert_eq!(renewal, Record { version: Some("7".to_owned()), ..first });

        let renewed = lease("slipway", &renewal, Some(&made), at(2));
        let spec = renewed.spec.clone().unwrap();
        assert_eq!((spec.acquire_time, spec.renew_time), (Some(at(1)), Some(at(2))));
        assert_eq!(renewed.metadata.labels, made.metadata.labels);
        assert_eq!(record(&renewed), renewal);

        let taken = Record { holder: Some("b".to_owned()), transitions: 1, ..renewal.clone() };
        assert_eq!(lease("slipway", &taken, Some(&made), at(3)).spec.unwrap().acquire_time, Some(at(3)));
        let given_back = Record { holder: None, ..renewal };
        assert_eq!(record(&lease("slipway", &given_back, Some(&made), at(4))), given_back);
    }
}
