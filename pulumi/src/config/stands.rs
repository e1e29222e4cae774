//! The keys of what stands on the ground: migration, application, traffic, control cluster, alerts.

use std::net::Ipv4Addr;

use super::network::{self, public};
use super::read::{Reader, quoted};
use super::{boolean, number};

/// What moves the data, and the servers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Migration {
    /// DMS's instance class.
    pub class: String,
    /// Its storage, for what can't be applied at once.
    pub storage_gib: u32,
    /// A standby in another zone.
    pub multi_az: bool,
    /// What MGN needs to carry servers, too.
    pub servers: bool,
}

/// The application in AWS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Application {
    /// The image's tag in the repository; nothing runs without one.
    pub tag: Option<String>,
    /// The load balancer's certificate.
    pub certificate: String,
    /// What answers 200 while the application is well.
    pub health_path: String,
    /// Tasks, at least.
    pub tasks: u32,
    /// Tasks, at most.
    pub max_tasks: u32,
}

/// Where the application is called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Traffic {
    /// The public zone, which is the application's name.
    pub domain: String,
    /// The addresses at which it is called today.
    pub source_addresses: Vec<Ipv4Addr>,
}

/// The cluster that Slipway runs in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Control {
    /// Of Kubernetes: `1.35`.
    pub version: String,
    /// The nodes' instance type.
    pub node_type: String,
    /// The namespace of the migrations.
    pub namespace: String,
    /// The source database as clients name it; its first address if it is not said.
    pub source_host: Option<String>,
}

pub(super) fn migration(reader: &mut Reader) -> Option<Migration> {
    let class =
        reader.get("replicationClass", |text| words(text, "dms.", 3, "no class of a replication instance"));
    let storage_gib = reader.get("replicationStorageGib", |text| number(text, 5, 6144));
    let multi_az = reader.get("replicationMultiAz", boolean);
    let servers = reader.get("serverMigration", boolean);
    Some(Migration { class: class?, storage_gib: storage_gib?, multi_az: multi_az?, servers: servers? })
}

pub(super) fn application(reader: &mut Reader, region: Option<&str>) -> Option<Application> {
    let tag = reader.optional("applicationTag", |text| {
        let plain = |it: u8| it.is_ascii_alphanumeric() || b"_.-".contains(&it);
        let first = text.bytes().next().is_some_and(|it| it.is_ascii_alphanumeric() || it == b'_');
        if first && text.len() <= 128 && text.bytes().all(plain) {
            Ok(text.to_owned())
        } else {
            Err("is no image's tag".to_owned())
        }
    });
    let certificate = reader.get("certificateArn", |text| {
        let parts: Vec<&str> = text.split(':').collect();
        let ["arn", "aws", "acm", of, account, id] = parts.as_slice() else {
            return Err("is no ARN of a certificate in ACM".to_owned());
        };
        let id = id.strip_prefix("certificate/").unwrap_or_default();
        if account.len() != 12 || id.is_empty() || !id.bytes().all(|it| it.is_ascii_hexdigit() || it == b'-')
        {
            return Err("is no ARN of a certificate in ACM".to_owned());
        }
        if region.is_some_and(|it| it != *of) {
            return Err("is in another region than the load balancer".to_owned());
        }
        Ok(text.to_owned())
    });
    let health_path = reader.get("healthCheckPath", |text| {
        let plain = |it: u8| it.is_ascii_alphanumeric() || b"/_.-".contains(&it);
        if text.starts_with('/') && text.len() <= 255 && text.bytes().all(plain) {
            Ok(text.to_owned())
        } else {
            Err("is no path such as /healthz".to_owned())
        }
    });
    let tasks = reader.get("applicationTasks", |text| number(text, 1, 500));
    let max_tasks = reader.get("applicationMaxTasks", |text| number(text, 1, 500));
    if let (Some(least), Some(most)) = (tasks, max_tasks)
        && most < least
    {
        reader.refuse("applicationMaxTasks", &format!("is below applicationTasks ({least})"), true);
    }
    Some(Application {
        tag,
        certificate: certificate?,
        health_path: health_path?,
        tasks: tasks?,
        max_tasks: max_tasks?,
    })
}

pub(super) fn traffic(reader: &mut Reader) -> Option<Traffic> {
    let domain = reader.get("publicDomain", |text| host(text, 2));
    let source_addresses = reader.get("onPremisesPublicAddresses", |text| {
        let networks = network::list(text, 8, network::any)?;
        let addresses: Vec<Ipv4Addr> = networks.iter().map(ipnet::Ipv4Net::addr).collect();
        let single = networks.iter().all(|it| it.prefix_len() == 32);
        if single && addresses.iter().all(|&it| public(it)) {
            Ok(addresses)
        } else {
            Err("has something else than single public addresses".to_owned())
        }
    });
    Some(Traffic { domain: domain?, source_addresses: source_addresses? })
}

pub(super) fn control(reader: &mut Reader) -> Option<Control> {
    let version = reader.get("kubernetesVersion", |text| match text.strip_prefix("1.") {
        Some(minor) => number(minor, 30, 99).map(|_| text.to_owned()),
        None => Err("is no version such as 1.35".to_owned()),
    });
    let node_type = reader.get("controlNodeType", |text| words(text, "", 2, "no instance type"));
    let namespace = reader.get("migrationNamespace", |text| {
        if text.contains('.') { Err("has a dot".to_owned()) } else { host(text, 1) }
    });
    let source_host = reader.optional("sourceDatabaseHost", |text| host(text, 1));
    Some(Control { version: version?, node_type: node_type?, namespace: namespace?, source_host })
}

pub(super) fn alert_email(reader: &mut Reader) -> Option<String> {
    reader.optional("alertEmail", |text| {
        let plain = |it: char| it.is_ascii_graphic() && !"\"\\<>,;:".contains(it);
        match text.split_once('@') {
            Some((who, whose)) if !who.is_empty() && who.chars().all(plain) => {
                host(whose, 2).map(|_| text.to_owned())
            }
            _ => Err("is no e-mail address".to_owned()),
        }
    })
}

/// `dms.r6i.large`, `t3.medium`.
fn words(text: &str, begin: &str, count: usize, what: &str) -> Result<String, String> {
    let plain = |it: &str| {
        let letters = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        !it.is_empty() && it.bytes().all(letters)
    };
    if text.starts_with(begin)
        && text.len() <= 32
        && text.split('.').count() == count
        && text.split('.').all(plain)
    {
        Ok(text.to_owned())
    } else {
        Err(format!("is {what}"))
    }
}

/// A host's name in lower case, of so many labels at least.
fn host(text: &str, labels: usize) -> Result<String, String> {
    let plain = |label: &str| {
        let letters = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        (1..=63).contains(&label.len())
            && label.bytes().all(letters)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    if text.len() <= 253 && text.split('.').count() >= labels && text.split('.').all(plain) {
        Ok(text.to_owned())
    } else {
        Err(format!("has {}, which is no name in lower case", quoted(text)))
    }
}
