//! RDS, as far as describing instances goes: they were made before Slipway came.

use super::Refusal;

/// A database instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instance {
    /// `DBInstanceIdentifier`
    pub identifier: String,
    /// `DBInstanceArn`
    pub arn: String,
    /// `Endpoint.Address`
    pub address: String,
    /// `Endpoint.Port`
    pub port: u16,
    /// `DBName`
    pub database: String,
    /// `MasterUsername`
    pub master_username: String,
    /// `EngineVersion`
    pub engine_version: String,
    /// `DBInstanceStatus`: `available`, `modifying`, `backing-up`, …
    pub status: String,
    /// Name of the one parameter group.
    pub parameter_group: String,
    /// `in-sync`, or `pending-reboot` while a static parameter such as `rds.logical_replication` is not active yet.
    pub parameter_apply_status: String,
    /// `StorageEncrypted`
    pub storage_encrypted: bool,
    /// `PubliclyAccessible`
    pub publicly_accessible: bool,
    /// `CACertificateIdentifier`
    pub ca_certificate_identifier: String,
}

/// `DescribeDBInstances`
#[derive(Clone, Debug, Default)]
pub struct Describe {
    /// Name or ARN; all instances without.
    pub identifier: Option<String>,
}

pub(super) fn describe(instances: &[Instance], call: &Describe) -> Result<Vec<Instance>, Refusal> {
    let Some(wanted) = &call.identifier else { return Ok(instances.to_vec()) };
    let found = instances
        .iter()
        .find(|instance| instance.identifier.eq_ignore_ascii_case(wanted) || instance.arn == *wanted);
    match found {
        Some(instance) => Ok(vec![instance.clone()]),
        None => Err(Refusal::new("DBInstanceNotFound", format!("DBInstance {wanted} not found."))),
    }
}
