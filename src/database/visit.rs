//! A look at one side's database for somebody else: an application's migration, which must know from where its fleets write.

use std::net::IpAddr;
use std::sync::Arc;

use jiff::Timestamp;
use kube::Client;

use crate::api::condition::Reason;
use crate::aws::Aws;
use crate::database::context::Held;
use crate::database::goal::{Goal, due};
use crate::database::material::{self, Material};
use crate::database::observe::{self, LOOK_WITHIN, MATERIAL_EVERY};
use crate::database::seen::Known;
use crate::database::sight::Kept;
use crate::fault::Fault;
use crate::postgres::{self, Connection};
use crate::side::{Side, Sides};

/// What is kept between looks. All of it may be lost at any moment.
#[derive(Default)]
pub struct Visit {
    material: Option<(Timestamp, Sides<Known<Material>>)>,
    address: Sides<Kept<(String, u16)>>,
    sessions: Sides<Held>,
}

impl Visit {
    /// A session of the operator's role on one side.
    pub async fn enter(
        &mut self,
        client: &Client,
        aws: &Aws,
        goal: &Goal,
        side: Side,
        now: Timestamp,
    ) -> Known<Arc<Connection>> {
        let look = async {
            let stale = self
                .material
                .as_ref()
                .is_none_or(|(at, known)| due(Some(*at), MATERIAL_EVERY, now) || known.get(side).is_err());
            if stale {
                self.material = Some((now, material::read(client, goal).await));
            }
            let material = match &self.material {
                Some((_, known)) => known.get(side).clone()?,
                None => return Err(Fault::Bug("Secrets were read and are gone".to_owned())),
            };
            let kept = self.address.get_mut(side);
            let address = observe::address(aws, &goal.sides.get(side).address, kept, now).await?;
            let mut no_spare = None;
            let held = (self.sessions.get_mut(side), &mut no_spare);
            let opened = observe::connection(goal, side, &material, &address, held).await;
            if matches!(opened, Err(Fault::Blocked(_))) {
                // A password that was changed may be read at any moment.
                self.material = None;
            }
            opened
        };
        tokio::time::timeout(LOOK_WITHIN, Box::pin(look)).await.unwrap_or_else(|_| {
            Err(Fault::Again(format!("the {side} database did not answer within {LOOK_WITHIN:?}")))
        })
    }
}

/// From where the applications' roles are logged in to this side.
pub async fn sessions(connection: &Connection, goal: &Goal, side: Side) -> Known<Vec<IpAddr>> {
    let roles = &goal.sides.get(side).application_roles;
    let look = postgres::sessions(connection, roles);
    let found = tokio::time::timeout(LOOK_WITHIN, look).await.unwrap_or_else(|_| {
        Err(Fault::Again(format!("the {side} database did not say within {LOOK_WITHIN:?} who is logged in")))
    })?;
    let known: Vec<IpAddr> = found.iter().filter_map(|(address, _)| *address).collect();
    if known.is_empty() && !found.is_empty() {
        return Err(Fault::blocked(
            Reason::PrivilegeMissing,
            format_args!("On the {side}, the operator may not see from where applications are logged in"),
            format_args!(
                "Grant pg_read_all_stats to its role: examples/sql/roles-{side}.sql has every grant that is needed"
            ),
        ));
    }
    Ok(known)
}
