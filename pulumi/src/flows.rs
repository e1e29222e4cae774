//! Who may open a connection to whom. The security groups' rules and the table in docs/infrastructure.md are made of this;
//! what is not here is not possible.

use std::fmt::Write as _;

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
    /// The VPC's endpoints to AWS.
    Endpoints,
}

impl Party {
    /// The parties in AWS: each has a security group.
    pub const GROUPS: [Self; 6] = [
        Self::LoadBalancer,
        Self::Application,
        Self::Database,
        Self::Replication,
        Self::Control,
        Self::Endpoints,
    ];

    /// The word for it in names.
    pub fn word(self) -> &'static str {
        match self {
            Self::Clients => "clients",
            Self::Internet => "internet",
            Self::OnPremisesDatabase => "on-premises-database",
            Self::OnPremisesApplication => "on-premises-application",
            Self::LoadBalancer => "load-balancer",
            Self::Application => "application",
            Self::Database => "database",
            Self::Replication => "replication",
            Self::Control => "control",
            Self::Endpoints => "endpoints",
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
    /// On which port, TCP.
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
pub const FLOWS: [Flow; 17] = [
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
];

/// The flows, as the table in the documentation.
pub fn table() -> String {
    let mut table = "| from | to | port | what for |\n|---|---|---|---|\n".to_owned();
    for Flow { from, to, port, why } in FLOWS {
        let port = match port {
            Port::Postgres => "5432",
            Port::Https => "443",
            Port::Application => "`applicationPort`",
        };
        let (from, to) = (from.word(), to.word());
        // Writing to a string can't fail.
        let _ = writeln!(table, "| {from} | {to} | {port} | {why} |");
    }
    table
}
