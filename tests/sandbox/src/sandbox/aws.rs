//! AWS: the stand-in, its data plane, and the wires between them.

use std::net::{Ipv4Addr, SocketAddr};

use jiff::Timestamp;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::{ACCOUNT, Error, RDS_INSTANCE, REGION};
use crate::bank::DATABASE;
use crate::dataplane::DataPlane;
use crate::postgres::{self, Server, connect_local};
use crate::serve;
use crate::world::{Config, Delays, Subnet, Switches, World, rds};

/// The data plane, and what carries effects to it.
pub(super) struct Wiring {
    plane: DataPlane,
    carrier: JoinHandle<()>,
}

impl Wiring {
    /// Ends every running task where it is.
    pub(super) async fn stop(self) {
        self.carrier.abort();
        self.plane.stop().await;
    }
}

/// An account with three subnets, two of them in one availability zone, and the target server as its one RDS instance.
pub(super) async fn start(delays: &Delays, target: &Server) -> Result<(serve::Server, Wiring), Error> {
    let subnet = |id: &str, zone: &str| Subnet {
        id: id.to_owned(),
        zone: format!("{REGION}{zone}"),
        vpc: "vpc-0d".to_owned(),
    };
    let config = Config {
        account: ACCOUNT.to_owned(),
        region: REGION.to_owned(),
        seed: 1,
        subnets: vec![subnet("subnet-0a", "a"), subnet("subnet-0b", "b"), subnet("subnet-0c", "a")],
        databases: vec![instance(target).await?],
        delays: *delays,
        switches: Switches::default(),
    };
    // The clock of AWS must not stand still because a database is slow, so its side of the wire has no bound.
    let (effects, mut wanted) = mpsc::unbounded_channel();
    let (hand_over, taken) = mpsc::channel(64);
    let (reports, heard) = mpsc::channel(64);
    let carrier = tokio::spawn(async move {
        while let Some(effect) = wanted.recv().await {
            if hand_over.send(effect).await.is_err() {
                return;
            }
        }
    });
    let plane = DataPlane::start(taken, reports);
    let world = World::new(config, Timestamp::now());
    let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let server = serve::Server::start(listen, world, effects, heard)
        .await
        .map_err(Error::io("listen on 127.0.0.1 for AWS"))?;
    Ok((server, Wiring { plane, carrier }))
}

async fn instance(target: &Server) -> Result<rds::Instance, Error> {
    let client = connect_local(&target.superuser_dsn("postgres")).await?;
    let version = client
        .query_one("SELECT split_part(current_setting('server_version'), ' ', 1)", &[])
        .await
        .map_err(postgres::Error::sql("asking the target for its version"))?;
    Ok(rds::Instance {
        identifier: RDS_INSTANCE.to_owned(),
        arn: format!("arn:aws:rds:{REGION}:{ACCOUNT}:db:{RDS_INSTANCE}"),
        address: "localhost".to_owned(),
        port: target.port(),
        database: DATABASE.to_owned(),
        master_username: "postgres".to_owned(),
        engine_version: version.get(0),
        status: "available".to_owned(),
        parameter_group: format!("parameters-{RDS_INSTANCE}"),
        parameter_apply_status: "in-sync".to_owned(),
        storage_encrypted: true,
        publicly_accessible: false,
        ca_certificate_identifier: "rds-ca-rsa2048-g1".to_owned(),
    })
}
