//! RDS, in our words: only read.

/// The RDS instance that a migration goes to.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Instance {
    pub identifier: String,
    pub status: String,
    /// `None` while it is being created.
    pub address: Option<(String, u16)>,
    pub storage_encrypted: bool,
    pub publicly_accessible: bool,
    /// A parameter group waits for a reboot, so `rds.logical_replication` may not be in force.
    pub pending_reboot: bool,
}
