//! The public side of the bank: a zone with its record, a load balancer in front of nobody yet, and a service without tasks.
//!
//! Everything that serves the bank listens on the same port, each on its own address: a name leads to an address alone.

use std::net::{Ipv4Addr, SocketAddr};

use tokio::net::TcpListener;

use super::{Environment, Error};
use crate::bank::api::Machine;
use crate::serve;
use crate::traffic::{Forwarder, NameServer, Prober};
use crate::world::Refusal;
use crate::world::balancer::Check;
use crate::world::route53::Wanted;

/// The zone.
pub const ZONE: &str = "bank.example";
/// The bank's public name.
pub const RECORD: &str = "api.bank.example";
/// Where the bank is served from before it moves.
pub const SOURCE_ADDRESS: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
/// The cluster and the service that it moves to.
pub const CLUSTER: &str = "ecs-dev";
/// See [`CLUSTER`].
pub const SERVICE: &str = "api-dev";

/// Where its tasks on AWS are reached.
const TASKS: [Ipv4Addr; 2] = [Ipv4Addr::new(127, 0, 0, 3), Ipv4Addr::new(127, 0, 0, 4)];

/// The name of the load balancer. A name of AWS's form would be known to the sandbox's name server alone.
const BALANCER_NAME: &str = "localhost";
/// What the name server draws follows from it.
const SEED: u64 = 1;

/// What plays the public side, and how to reach it.
pub struct Traffic {
    /// The zone's id.
    pub zone_id: String,
    /// The load balancer's ARN.
    pub balancer_arn: String,
    /// Its target group's.
    pub group_arn: String,
    /// Where it listens; every fleet listens on this port too.
    pub balancer: SocketAddr,
    names: NameServer,
    _forwarder: Forwarder,
    _prober: Prober,
}

/// The machines of both fleets. Dropping it ends them.
pub struct Fleets {
    /// On the bank's own machines.
    pub source: Machine,
    /// The tasks of the service.
    pub target: Vec<Machine>,
}

impl Fleets {
    /// Starts one machine of the source and the service's two tasks, which are registered and probed. Each goes to the
    /// database that takes the application's writes.
    pub async fn start(
        aws: &serve::Server,
        traffic: &Traffic,
        environment: &Environment,
    ) -> Result<Self, Error> {
        let logins = vec![environment.login("SOURCE_APP_DSN")?, environment.login("TARGET_APP_DSN")?];
        let port = traffic.balancer.port();
        let start = async |address: Ipv4Addr| {
            let started = Machine::start(address, port, logins.clone()).await;
            started.map_err(Error::io(format!("start a machine of the bank on {address}:{port}")))
        };
        let source = start(SOURCE_ADDRESS).await?;
        let mut target = Vec::new();
        for address in TASKS {
            target.push(start(address).await?);
            aws.with_world(|world, _| world.run_task(SERVICE, address, port));
        }
        Ok(Self { source, target })
    }
}

impl Traffic {
    /// Where the name server listens.
    pub fn dns(&self) -> SocketAddr {
        self.names.address()
    }
}

pub(super) async fn start(aws: &serve::Server) -> Result<Traffic, Error> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .await
        .map_err(Error::io("listen on 127.0.0.1 for the load balancer"))?;
    let balancer = listener.local_addr().map_err(Error::io("find the port of the load balancer"))?;
    let names = NameServer::start(aws.handle(), SEED).await;
    let names = names.map_err(Error::io("listen on 127.0.0.1 for DNS"))?;
    let made = aws.with_world(|world, _| {
        let zone_id = world.keep_zone(ZONE, false);
        let record = Wanted {
            name: RECORD.to_owned(),
            kind: "A".to_owned(),
            ttl: Some(60),
            values: vec![SOURCE_ADDRESS.to_string()],
            ..Wanted::default()
        };
        world.keep_record(&zone_id, record)?;
        let addresses = vec![Ipv4Addr::LOCALHOST];
        let (balancer_arn, group_arn) =
            world.keep_balancer("alb-dev", BALANCER_NAME, addresses, Check::default());
        world.keep_service(CLUSTER, SERVICE, 2, Some(&group_arn));
        Ok::<_, Refusal>((zone_id, balancer_arn, group_arn))
    });
    let (zone_id, balancer_arn, group_arn) = made.map_err(|refusal| Error::Malformed {
        what: "the bank's record".to_owned(),
        reason: refusal.to_string(),
    })?;
    let forwarder = Forwarder::start(aws.handle(), listener, &balancer_arn);
    let prober = Prober::start(aws.handle());
    Ok(Traffic { zone_id, balancer_arn, group_arn, balancer, names, _forwarder: forwarder, _prober: prober })
}
