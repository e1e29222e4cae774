//! The stack's configuration: read once into checked values, before anything is registered. All that is wrong is said at
//! once, each with its key.

use std::collections::BTreeMap;
use std::fmt;
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

pub use keys::{KEYS, Key, table};
use read::Reader;
pub use stands::{Application, Control, Migration, Traffic};

use crate::names;
use crate::pulumi::Setting;

mod keys;
mod network;
mod read;
mod stands;

/// Which set of defaults.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Profile {
    /// Cheap.
    #[default]
    Development,
    /// Available and recorded.
    Production,
}

/// How many NAT gateways.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Nat {
    /// One for all zones.
    Single,
    /// One in each zone.
    PerZone,
}

/// How the VPC and the company's own network are joined.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Link {
    /// A VPN that this program makes.
    Vpn {
        /// The public address of the gateway on-premises.
        gateway: Ipv4Addr,
        /// Routes come by BGP from this AS; without it they are static.
        bgp_asn: Option<u32>,
        /// The tunnels' keys; AWS makes them if there are none.
        preshared_keys: Option<[Setting; 2]>,
    },
    /// A transit gateway that exists, with a Direct Connect or VPN of its own.
    TransitGateway {
        /// Its id.
        id: String,
    },
}

/// The company's own network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OnPremises {
    /// How it is reached.
    pub link: Link,
    /// What is routed there.
    pub networks: Vec<Ipv4Net>,
    /// Where the source database is.
    pub databases: Vec<Ipv4Net>,
    /// Where the source's fleet is.
    pub applications: Vec<Ipv4Net>,
    /// From where people reach the control cluster.
    pub administrators: Vec<Ipv4Net>,
}

/// The database in AWS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Database {
    /// Its instance class.
    pub class: String,
    /// Its storage at first.
    pub storage_gib: u32,
    /// How far storage may grow by itself.
    pub max_storage_gib: u32,
    /// A standby in another zone.
    pub multi_az: bool,
    /// PostgreSQL's version: `17` or `17.6`.
    pub version: String,
    /// The first digits of it.
    pub major: u32,
    /// The database that is made.
    pub name: String,
    /// Days that backups are kept.
    pub backup_days: u32,
    /// Seconds between the operating system's figures; 0 is none.
    pub monitoring_seconds: u32,
}

/// The checked configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// What all names end with.
    pub suffix: String,
    /// Which set of defaults.
    pub profile: Profile,
    /// AWS's region.
    pub region: String,
    /// The only account that this may touch, if it is said.
    pub account: Option<String>,
    /// The VPC's network.
    pub vpc: Ipv4Net,
    /// How many NAT gateways.
    pub nat: Nat,
    /// Endpoints to AWS's APIs that cost by the hour.
    pub interface_endpoints: bool,
    /// Who may call the application.
    pub clients: Vec<Ipv4Net>,
    /// The port of the application, on both sides.
    pub application_port: u16,
    /// The company's own network.
    pub on_premises: OnPremises,
    /// The database in AWS.
    pub database: Database,
    /// What moves the data.
    pub migration: Migration,
    /// The application in AWS.
    pub application: Application,
    /// Where the application is called.
    pub traffic: Traffic,
    /// The cluster that Slipway runs in.
    pub control: Control,
    /// Who is told of alarms.
    pub alert_email: Option<String>,
    /// Days that logs are kept.
    pub log_days: u32,
}

/// A key that can't be as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// With its namespace: `slipway:vpcCidr`.
    pub key: String,
    /// What is wrong, and what to do.
    pub message: String,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.key, self.message)
    }
}

/// The days that CloudWatch Logs can keep something.
const LOG_DAYS: [u32; 15] = [1, 3, 5, 7, 14, 30, 60, 90, 120, 180, 365, 400, 731, 1827, 3653];
/// The seconds that RDS can have between the operating system's figures.
const MONITORING: [u32; 7] = [0, 1, 5, 10, 15, 30, 60];

impl Config {
    /// The source database as clients name it.
    pub fn source_host(&self) -> String {
        let first = || self.on_premises.databases.first().map(|it| it.addr().to_string()).unwrap_or_default();
        self.control.source_host.clone().unwrap_or_else(first)
    }

    /// Reads it, or says all that is wrong with it.
    pub fn read(project: &str, settings: &BTreeMap<String, Setting>) -> Result<Self, Vec<Refusal>> {
        let mut reader = Reader::new(project, settings);
        let profile = reader.get("profile", |text| match text {
            "development" => Ok(Profile::Development),
            "production" => Ok(Profile::Production),
            _ => Err("is neither development nor production".to_owned()),
        });
        reader.profile = profile.unwrap_or_default();
        let suffix = reader.get("environmentSuffix", |text| {
            names::refuse_suffix(text).map_or_else(|| Ok(text.to_owned()), Err)
        });
        let region = reader.get("region", region);
        let account = reader.optional("accountId", |text| {
            let digits = text.len() == 12 && text.bytes().all(|it| it.is_ascii_digit());
            if digits { Ok(text.to_owned()) } else { Err("is not an account's 12 digits".to_owned()) }
        });
        let vpc = reader.get("vpcCidr", network::vpc);
        let nat = reader.get("natGateways", |text| match text {
            "single" => Ok(Nat::Single),
            "perZone" => Ok(Nat::PerZone),
            _ => Err("is neither single nor perZone".to_owned()),
        });
        let interface_endpoints = reader.get("interfaceEndpoints", boolean);
        let clients = reader.get("clientCidrs", |text| network::list(text, 50, network::any));
        let application_port = reader.get("applicationPort", |text| {
            number(text, 1, 65535).and_then(|it| u16::try_from(it).map_err(|_| "is no port".to_owned()))
        });
        if application_port == Some(crate::flows::POSTGRES) {
            reader.refuse("applicationPort", "is PostgreSQL's port", true);
        }
        let on_premises = network::on_premises(&mut reader, vpc);
        let database = database(&mut reader);
        let migration = stands::migration(&mut reader);
        let application = stands::application(&mut reader, region.as_deref());
        let traffic = stands::traffic(&mut reader);
        let control = stands::control(&mut reader);
        let alert_email = stands::alert_email(&mut reader);
        let log_days = reader.get("logRetentionDays", |text| one_of(text, &LOG_DAYS));
        reader.refuse_unknown();
        reader.refuse_other_region(region.as_deref());
        let config = (|| {
            Some(Self {
                suffix: suffix?,
                profile: profile?,
                region: region?,
                account,
                vpc: vpc?,
                nat: nat?,
                interface_endpoints: interface_endpoints?,
                clients: clients?,
                application_port: application_port?,
                on_premises: on_premises?,
                database: database?,
                migration: migration?,
                application: application?,
                traffic: traffic?,
                control: control?,
                alert_email,
                log_days: log_days?,
            })
        })();
        match config {
            Some(config) if reader.refused.is_empty() => Ok(config),
            _ => Err(reader.refused),
        }
    }
}

fn database(reader: &mut Reader) -> Option<Database> {
    let class = reader.get("databaseClass", |text| {
        let words: Vec<&str> = text.split('.').collect();
        let plain =
            |it: &&str| !it.is_empty() && it.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
        if words.len() == 3 && words[0] == "db" && words.iter().all(plain) && text.len() <= 32 {
            Ok(text.to_owned())
        } else {
            Err("is no instance class".to_owned())
        }
    });
    let storage_gib = reader.get("databaseStorageGib", |text| number(text, 20, 65536));
    let max_storage_gib = reader.get("databaseMaxStorageGib", |text| number(text, 20, 65536));
    if let (Some(first), Some(most)) = (storage_gib, max_storage_gib)
        && most < first + first.div_ceil(10)
    {
        let why = format!("is not 10 % above databaseStorageGib ({first}), which RDS wants");
        reader.refuse("databaseMaxStorageGib", &why, true);
    }
    let multi_az = reader.get("databaseMultiAz", boolean);
    let version = reader.get("databaseVersion", |text| {
        let (major, minor) = text.split_once('.').unwrap_or((text, "0"));
        number(minor, 0, 99).and(number(major, 14, 18)).map(|major| (text.to_owned(), major))
    });
    let name = reader.get("databaseName", |text| {
        let plain = text.bytes().all(|it| it.is_ascii_lowercase() || it.is_ascii_digit() || it == b'_');
        let begins = text.bytes().next().is_some_and(|it| it.is_ascii_lowercase());
        if plain
            && begins
            && text.len() <= 63
            && !["postgres", "rdsadmin", "template0", "template1"].contains(&text)
        {
            Ok(text.to_owned())
        } else {
            Err("is not a lower-case name of a database of your own".to_owned())
        }
    });
    let backup_days = reader.get("databaseBackupDays", |text| number(text, 1, 35));
    let monitoring_seconds = reader.get("databaseMonitoringSeconds", |text| one_of(text, &MONITORING));
    let (version, major) = version?;
    Some(Database {
        class: class?,
        storage_gib: storage_gib?,
        max_storage_gib: max_storage_gib?,
        multi_az: multi_az?,
        version,
        major,
        name: name?,
        backup_days: backup_days?,
        monitoring_seconds: monitoring_seconds?,
    })
}

fn region(text: &str) -> Result<String, String> {
    let words: Vec<&str> = text.split('-').collect();
    let letters = |it: &str| it.len() >= 2 && it.bytes().all(|b| b.is_ascii_lowercase());
    let number = |it: &str| it.len() == 1 && it.bytes().all(|b| b.is_ascii_digit());
    let (Some(last), true) = (words.last(), words.len() == 3 && words[0].len() == 2) else {
        return Err("is no region of AWS".to_owned());
    };
    if !words[..2].iter().all(|it| letters(it)) || !number(last) {
        return Err("is no region of AWS".to_owned());
    }
    if words[0] == "cn" {
        return Err("is in another partition of AWS, whose names begin with arn:aws-cn".to_owned());
    }
    if text == "us-west-1" {
        return Err("gives new accounts two zones, and three are needed".to_owned());
    }
    Ok(text.to_owned())
}

fn boolean(text: &str) -> Result<bool, String> {
    text.parse().map_err(|_| "is neither true nor false".to_owned())
}

fn number(text: &str, least: u32, most: u32) -> Result<u32, String> {
    // A plus sign or leading zeros would be parsed, and mean a slip.
    let plain = text.bytes().all(|it| it.is_ascii_digit()) && (text.len() == 1 || !text.starts_with('0'));
    match text.parse() {
        Ok(number) if plain && (least..=most).contains(&number) => Ok(number),
        _ => Err(format!("is no number from {least} to {most}")),
    }
}

fn one_of(text: &str, allowed: &[u32]) -> Result<u32, String> {
    number(text, 0, u32::MAX).ok().filter(|it| allowed.contains(it)).ok_or_else(|| {
        let words: Vec<String> = allowed.iter().map(u32::to_string).collect();
        format!("is none of {}", words.join(", "))
    })
}
