//! The Kubernetes API, as far as a migration of each kind and one Lease go.

use std::rc::Rc;

use kube::core::Status;
use slipway::api::application::ApplicationMigration;
use slipway::api::database::DatabaseMigration;
use slipway::operator::lease::Record;

use super::shelf::Shelf;

/// A `DatabaseMigration` as it was at one version.
pub type Object = Rc<DatabaseMigration>;
/// An `ApplicationMigration` as it was at one version.
pub type Traffic = Rc<ApplicationMigration>;

/// The API server.
#[derive(Default)]
pub struct Cluster {
    /// The `DatabaseMigration`.
    pub database: Shelf<DatabaseMigration>,
    /// The `ApplicationMigration`.
    pub traffic: Shelf<ApplicationMigration>,
    /// The Lease.
    pub lease: Option<Record>,
    leases: u64,
    /// Once the `DatabaseMigration` is deleted: whether the target was open by then.
    pub open_when_deleted: Option<bool>,
    /// Texts that people can read: statuses and events.
    pub said: Vec<String>,
}

/// How the API server says no.
pub fn refusal(code: u16, reason: &str) -> kube::Error {
    kube::Error::Api(Box::new(Status::failure("refused by the simulator", reason).with_code(code)))
}

impl Cluster {
    /// The `DatabaseMigration` is gone, or finished.
    pub fn is_over(&self) -> bool {
        self.database.newest().is_none_or(|object| {
            object.status.as_ref().is_some_and(|status| {
                let decided = status.decided.as_ref().map(|decided| decided.intent.as_str());
                status.phase.as_deref() == Some("Finished") || decided == Some("Finished")
            })
        })
    }

    /// How often a status was written, of either.
    pub fn status_writes(&self) -> u64 {
        self.database.status_writes + self.traffic.status_writes
    }

    /// Writes the Lease, on the version that was read.
    pub fn write_lease(&mut self, record: Record) -> Result<Record, kube::Error> {
        let present = self.lease.as_ref().and_then(|lease| lease.version.clone());
        if present != record.version {
            return Err(refusal(409, "Conflict"));
        }
        self.leases += 1;
        let record = Record { version: Some(self.leases.to_string()), ..record };
        self.lease = Some(record.clone());
        Ok(record)
    }
}
