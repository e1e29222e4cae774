//! Every key: what it is, its defaults, what it is for. The table in docs/infrastructure.md is made of this.

use std::fmt::Write as _;

use super::Profile;

/// A key of the configuration.
#[derive(Clone, Debug)]
pub struct Key {
    /// Its name within the project's namespace.
    pub name: &'static str,
    /// Its default in each profile; empty where there is none.
    pub defaults: [&'static str; 2],
    /// It may be left out although it has no default.
    pub optional: bool,
    /// A value that would do.
    pub example: &'static str,
    /// What it is for.
    pub what: &'static str,
}

impl Key {
    /// Its default, if it has one.
    pub fn default(&self, profile: Profile) -> Option<&'static str> {
        let value = self.defaults[usize::from(profile == Profile::Production)];
        (!value.is_empty()).then_some(value)
    }
}

const fn required(name: &'static str, example: &'static str, what: &'static str) -> Key {
    Key { name, defaults: ["", ""], optional: false, example, what }
}

const fn optional(name: &'static str, example: &'static str, what: &'static str) -> Key {
    Key { name, defaults: ["", ""], optional: true, example, what }
}

const fn default(name: &'static str, value: &'static str, what: &'static str) -> Key {
    Key { name, defaults: [value, value], optional: false, example: value, what }
}

const fn by_profile(name: &'static str, defaults: [&'static str; 2], what: &'static str) -> Key {
    Key { name, defaults, optional: false, example: defaults[1], what }
}

/// Every key.
pub const KEYS: &[Key] = &[
    required(
        "environmentSuffix",
        "dev",
        "what all names end with: lower-case letters, digits and single hyphens, at most 20",
    ),
    default("profile", "development", "which defaults: `development` or `production`"),
    default("region", "us-east-1", "AWS's region"),
    optional("accountId", "111122223333", "the only account that may be touched; any, if it is not set"),
    default(
        "vpcCidr",
        "10.40.0.0/16",
        "the VPC's network: a private one from /16 to /20, apart from `onPremisesNetworks`",
    ),
    by_profile("natGateways", ["single", "perZone"], "`single`, or `perZone`, which outlives a zone"),
    by_profile(
        "interfaceEndpoints",
        ["false", "true"],
        "calls to AWS's APIs stay in the VPC; costs by the hour, endpoint and zone",
    ),
    default("clientCidrs", "0.0.0.0/0", "who may call the application"),
    default("applicationPort", "8080", "the application's port, on both sides"),
    default("onPremisesLink", "vpn", "`vpn` makes one; `transitGateway` takes one that exists"),
    optional(
        "onPremisesGatewayAddress",
        "198.51.100.10",
        "with `vpn`, required: the public address of the gateway on-premises",
    ),
    optional(
        "onPremisesBgpAsn",
        "65010",
        "with `vpn`: routes come by BGP from this AS; without it they are static",
    ),
    optional(
        "vpnPresharedKey1",
        "…",
        "with `vpn`, with `--secret`: the first tunnel's key; AWS makes both if neither is set",
    ),
    optional("vpnPresharedKey2", "…", "with `vpn`, with `--secret`: the second tunnel's key"),
    optional("transitGatewayId", "tgw-0123456789abcdef0", "with `transitGateway`, required: its id"),
    required("onPremisesNetworks", "172.20.0.0/16", "what is routed to on-premises"),
    required(
        "onPremisesDatabases",
        "172.20.1.10",
        "the source database's addresses, within `onPremisesNetworks`",
    ),
    required(
        "onPremisesApplications",
        "172.20.2.0/24",
        "the addresses of the application's fleet on-premises, within `onPremisesNetworks`",
    ),
    required(
        "onPremisesAdministrators",
        "172.20.3.0/24",
        "from where people reach the control cluster, within `onPremisesNetworks`",
    ),
    required(
        "onPremisesPublicAddresses",
        "203.0.113.10",
        "the public addresses at which the application is called today",
    ),
    optional(
        "sourceDatabaseHost",
        "pg01.bank.example",
        "the source database as its certificate names it; else its first address",
    ),
    by_profile("databaseClass", ["db.t4g.medium", "db.r7g.large"], "the instance class"),
    by_profile("databaseStorageGib", ["50", "200"], "storage at first"),
    by_profile("databaseMaxStorageGib", ["200", "1000"], "how far storage may grow by itself"),
    default("databaseMultiAz", "true", "a standby in another zone"),
    default(
        "databaseVersion",
        "17",
        "PostgreSQL's version, 14 to 18, with or without the minor one; not below the source's",
    ),
    default("databaseName", "application", "the database that is made"),
    by_profile(
        "databaseBackupDays",
        ["7", "35"],
        "days that backups are kept, 1 to 35; they go with the instance",
    ),
    by_profile(
        "databaseMonitoringSeconds",
        ["0", "60"],
        "seconds between the operating system's figures; 0 is none",
    ),
    by_profile(
        "replicationClass",
        ["dms.t3.medium", "dms.r6i.large"],
        "the class of DMS's replication instance",
    ),
    by_profile("replicationStorageGib", ["50", "200"], "its storage, for what can't be applied at once"),
    by_profile("replicationMultiAz", ["false", "true"], "a standby of it in another zone"),
    default("serverMigration", "false", "what MGN needs to carry servers, too"),
    required("publicDomain", "api.bank.example", "the application's name: a public zone is made for it"),
    required(
        "certificateArn",
        "arn:aws:acm:us-east-1:111122223333:certificate/0a1b2c3d",
        "the certificate of the load balancer, in ACM, in `region`",
    ),
    optional("applicationTag", "1.4.2", "the image's tag in the repository; without it nothing runs yet"),
    by_profile("applicationTasks", ["2", "3"], "tasks of the application, at least"),
    by_profile("applicationMaxTasks", ["4", "12"], "tasks of the application, at most"),
    default("healthCheckPath", "/healthz", "what answers 200 while the application is well, on both sides"),
    default("kubernetesVersion", "1.35", "the control cluster's version"),
    by_profile("controlNodeType", ["t3.medium", "m7i.large"], "the instance type of its two to four nodes"),
    default("migrationNamespace", "migrations", "the namespace of the migrations in it"),
    optional("alertEmail", "oncall@bank.example", "who is told of alarms; AWS asks for a confirmation"),
    by_profile("logRetentionDays", ["30", "400"], "days that logs are kept"),
];

/// The keys, as the table in the documentation.
pub fn table() -> String {
    let mut table = "| key | development | production | what for |\n|---|---|---|---|\n".to_owned();
    for key in KEYS {
        let show = |value: &str| match value {
            "" if key.optional => "–".to_owned(),
            "" => "**required**".to_owned(),
            value => format!("`{value}`"),
        };
        let [development, production] = key.defaults.map(show);
        // Writing to a string can't fail.
        let _ = writeln!(table, "| `{}` | {development} | {production} | {} |", key.name, key.what);
    }
    table
}
