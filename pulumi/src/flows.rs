//! Who may open a connection to whom. The security groups' rules and the table in docs/infrastructure.md are made of this;
//! what is not here is not possible.

use std::fmt::Write as _;

use crate::config::Config;

/// Who takes part in a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Party {
    /// Who calls the application, from `clientCidrs`.
    Clients,
    /// Anything outside, for calls to AWS.
    Internet,
    /// The source database, `onPremisesDatabases`.
    OnPremisesDatabase,
    /// The source's fleet, `onPremisesApplications`.
    OnPremisesApplication,
    /// From where people reach the control cluster, `onPremisesAdministrators`.
    OnPremisesAdministrators,
    /// The application's load balancer.
    LoadBalancer,
    /// The application's tasks in AWS.
    Application,
    /// The database in AWS.
    Database,
    /// DMS's replication instance.
    Replication,
    /// The nodes of the control cluster, on which Slipway runs.
    Control,
    /// The control cluster's Kubernetes API.
    ControlPlane,
    /// The VPC's endpoints to AWS.
    Endpoints,
    /// MGN's replication servers, to which the agents send disks.
    Staging,
    /// Servers that MGN launched as a test.
    Test,
}

impl Party {
    /// The parties in AWS: each has a security group.
    pub const GROUPS: [Self; 9] = [
        Self::LoadBalancer,
        Self::Application,
        Self::Database,
        Self::Replication,
        Self::Control,
        Self::ControlPlane,
        Self::Endpoints,
        Self::Staging,
        Self::Test,
    ];

    /// Is it there at all?
    pub fn exists(self, config: &Config) -> bool {
        match self {
            Self::Endpoints => config.interface_endpoints,
            Self::Staging | Self::Test => config.migration.servers,
            _ => true,
        }
    }

    /// The word for it in names.
    pub fn word(self) -> &'static str {
        match self {
            Self::Clients => "clients",
            Self::Internet => "internet",
            Self::OnPremisesDatabase => "on-premises-database",
            Self::OnPremisesApplication => "on-premises-application",
            Self::OnPremisesAdministrators => "on-premises-administrators",
            Self::LoadBalancer => "load-balancer",
            Self::Application => "application",
            Self::Database => "database",
            Self::Replication => "replication",
            Self::Control => "control",
            Self::ControlPlane => "control-plane",
            Self::Endpoints => "endpoints",
            Self::Staging => "staging",
            Self::Test => "test",
        }
    }
}

/// Which port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Port {
    /// PostgreSQL's.
    Postgres,
    /// HTTPS's.
    Https,
    /// The application's, `applicationPort`.
    Application,
    /// The kubelet's.
    Kubelet,
    /// DNS's, by TCP and by UDP.
    Dns,
    /// That of MGN's agents.
    Agent,
}

impl Port {
    /// Its number.
    pub fn number(self, config: &Config) -> u16 {
        match self {
            Self::Postgres => POSTGRES,
            Self::Https => 443,
            Self::Application => config.application_port,
            Self::Kubelet => 10250,
            Self::Dns => 53,
            Self::Agent => 1500,
        }
    }

    /// The protocols.
    pub fn protocols(self) -> &'static [&'static str] {
        if self == Self::Dns { &["tcp", "udp"] } else { &["tcp"] }
    }
}

/// PostgreSQL's port, on both sides.
pub const POSTGRES: u16 = 5432;

/// One flow.
#[derive(Clone, Copy, Debug)]
pub struct Flow {
    /// Who opens the connection.
    pub from: Party,
    /// Who accepts it.
    pub to: Party,
    /// On which port.
    pub port: Port,
    /// What it is for. It is the rule's description too, so it has only characters that EC2 takes.
    pub why: &'static str,
}

impl Flow {
    /// Its name: `application-database`.
    pub fn name(&self) -> String {
        format!("{}-{}", self.from.word(), self.to.word())
    }
}

const fn flow(from: Party, to: Party, port: Port, why: &'static str) -> Flow {
    Flow { from, to, port, why }
}

/// Every flow.
pub const FLOWS: [Flow; 25] = [
    flow(Party::Clients, Party::LoadBalancer, Port::Https, "Requests to the application"),
    flow(Party::LoadBalancer, Party::Application, Port::Application, "Requests to the fleet in AWS"),
    flow(
        Party::LoadBalancer,
        Party::OnPremisesApplication,
        Port::Application,
        "Requests to the fleet on-premises while traffic is shifted",
    ),
    flow(
        Party::Application,
        Party::Database,
        Port::Postgres,
        "The fleet in AWS writes, once the target is the writer",
    ),
    flow(
        Party::Application,
        Party::OnPremisesDatabase,
        Port::Postgres,
        "The fleet in AWS writes, while the source is the writer",
    ),
    flow(
        Party::OnPremisesApplication,
        Party::Database,
        Port::Postgres,
        "The fleet on-premises writes, once the target is the writer",
    ),
    flow(
        Party::Replication,
        Party::OnPremisesDatabase,
        Port::Postgres,
        "DMS reads the source; on the way back it writes to it",
    ),
    flow(
        Party::Replication,
        Party::Database,
        Port::Postgres,
        "DMS writes to the target; on the way back it reads from it",
    ),
    flow(
        Party::Control,
        Party::OnPremisesDatabase,
        Port::Postgres,
        "Slipway looks at the source, fences and compares it",
    ),
    flow(
        Party::Control,
        Party::Database,
        Port::Postgres,
        "Slipway looks at the target, fences and compares it",
    ),
    flow(Party::Application, Party::Endpoints, Port::Https, "Calls to AWS without the internet"),
    flow(Party::Replication, Party::Endpoints, Port::Https, "Calls to AWS without the internet"),
    flow(Party::Control, Party::Endpoints, Port::Https, "Calls to AWS without the internet"),
    flow(Party::Application, Party::Internet, Port::Https, "Calls to AWS where the VPC has no endpoint"),
    flow(Party::Replication, Party::Internet, Port::Https, "Calls to AWS where the VPC has no endpoint"),
    flow(Party::Control, Party::Internet, Port::Https, "Calls to AWS where the VPC has no endpoint"),
    flow(
        Party::OnPremisesDatabase,
        Party::Database,
        Port::Postgres,
        "A DBA at the source restores schema and roles",
    ),
    flow(
        Party::OnPremisesAdministrators,
        Party::ControlPlane,
        Port::Https,
        "People reach the control cluster with kubectl and helm",
    ),
    flow(Party::Control, Party::ControlPlane, Port::Https, "Nodes and Slipway call Kubernetes"),
    flow(
        Party::ControlPlane,
        Party::Control,
        Port::Kubelet,
        "Kubernetes calls its nodes, for logs and figures",
    ),
    flow(Party::Control, Party::Control, Port::Dns, "Pods look up names"),
    flow(
        Party::OnPremisesApplication,
        Party::Staging,
        Port::Agent,
        "Agents of MGN send the disks of their servers",
    ),
    flow(Party::Staging, Party::Endpoints, Port::Https, "Calls to AWS without the internet"),
    flow(Party::Staging, Party::Internet, Port::Https, "Calls to AWS where the VPC has no endpoint"),
    flow(Party::Control, Party::Test, Port::Application, "A server that is tested is asked if it is well"),
];

/// The flows, as the table in the documentation.
pub fn table() -> String {
    let mut table = "| from | to | port | what for |\n|---|---|---|---|\n".to_owned();
    for Flow { from, to, port, why } in FLOWS {
        let port = match port {
            Port::Postgres => "5432",
            Port::Https => "443",
            Port::Application => "`applicationPort`",
            Port::Kubelet => "10250",
            Port::Dns => "53, TCP and UDP",
            Port::Agent => "1500",
        };
        let (from, to) = (from.word(), to.word());
        // Writing to a string can't fail.
        let _ = writeln!(table, "| {from} | {to} | {port} | {why} |");
    }
    table
}
