//! Ask Kubernetes, AWS and PostgreSQL what is true now. Changes nothing.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use kube::Client;

use crate::api::condition::Reason;
use crate::aws::dms::TaskStatus;
use crate::aws::{Account, Aws};
use crate::database::context::{Memory, Opened};
use crate::database::goal::{Address, Goal, due};
use crate::database::material::{self, Login, Material};
use crate::database::seen::{Known, Seen};
use crate::database::sight::{self, Kept};
use crate::fault::Fault;
use crate::postgres::{ConnectSpec, Connection, Question, Server, Whose, observe};
use crate::side::{Side, Sides};

/// Secrets that worked are read again this often.
const MATERIAL_EVERY: SignedDuration = SignedDuration::from_secs(30);
/// The login of DMS's role that worked is tried again this often while nothing runs.
const LOGIN_EVERY: SignedDuration = SignedDuration::from_mins(5);
/// The account behind the credentials is checked this often.
const ACCOUNT_EVERY: SignedDuration = SignedDuration::from_mins(5);

/// What observing found, and the means by which a step is then performed.
pub struct Observed {
    /// The facts.
    pub seen: Seen,
    /// The same, for hands: sessions and secrets.
    pub means: Means,
}

/// Sessions and secrets: what `act` needs and `decide` must not have.
#[derive(Default)]
pub struct Means {
    /// Open sessions of the operator's role.
    pub sessions: Sides<Option<Arc<Connection>>>,
    /// Secrets and authorities.
    pub material: Sides<Option<Material>>,
}

/// Looks at everything that the next decision needs.
pub async fn look(
    client: &Client,
    aws: &Aws,
    account: &Account,
    goal: &Goal,
    memory: &mut Memory,
    now: Timestamp,
) -> Observed {
    let who = who(aws, account, memory, now).await;
    let material = material(client, goal, memory, now).await;
    let address = Sides {
        source: address(aws, &goal.sides.source.address, &mut memory.address.source, now).await,
        target: address(aws, &goal.sides.target.address, &mut memory.address.target, now).await,
    };
    let sight = match &who {
        Ok(()) => sight::look(aws, goal, &mut memory.sight, now).await,
        Err(fault) => Err(fault.clone()),
    };
    let mut means = Means::default();
    let mut database = Sides { source: Err(not_asked(Side::Source)), target: Err(not_asked(Side::Target)) };
    let mut replication_login = Sides { source: Ok(()), target: Ok(()) };
    let running = sight.as_ref().is_ok_and(|aws| {
        aws.task.as_ref().is_some_and(|t| t.started_at.is_some() && t.status == TaskStatus::Running)
    });
    for side in Side::BOTH {
        let (Ok(material), Ok(address)) = (material.get(side), address.get(side)) else { continue };
        *means.material.get_mut(side) = Some(material.clone());
        match session(goal, side, material, address, memory).await {
            Ok((connection, server)) => {
                *means.sessions.get_mut(side) = Some(connection);
                *database.get_mut(side) = Ok(server);
            }
            Err(fault) => *database.get_mut(side) = Err(fault),
        }
        // While the task runs its own sessions are the proof. In a deletion nothing will log in any more.
        if !running && goal.deletion.is_none() && database.get(side).is_ok() {
            *replication_login.get_mut(side) = login(goal, side, material, address, memory, now).await;
        }
    }
    let refused = |side: Side| {
        matches!(database.get(side), Err(Fault::Blocked(_)))
            || matches!(replication_login.get(side), Err(Fault::Blocked(_)))
    };
    if Side::BOTH.into_iter().any(refused) {
        // What did not work may be mended at any moment; what worked is read again now and then.
        memory.material = None;
    }
    let seen = Seen {
        now,
        account: who,
        material: Sides {
            source: material.source.map(|m| m.seen()),
            target: material.target.map(|m| m.seen()),
        },
        address,
        database,
        replication_login,
        aws: sight,
        memory: memory.seen.clone(),
    };
    Observed { seen, means }
}

fn not_asked(side: Side) -> Fault {
    Fault::Again(format!("the {side} was not asked, since its Secrets or its address are not known"))
}

async fn who(aws: &Aws, account: &Account, memory: &mut Memory, now: Timestamp) -> Known<()> {
    let Some(expected) = &account.account_id else { return Ok(()) };
    if !due(memory.account_at, ACCOUNT_EVERY, now) {
        return Ok(());
    }
    let actual = aws.identity().await?;
    if actual == *expected {
        memory.account_at = Some(now);
        return Ok(());
    }
    Err(Fault::blocked(
        Reason::AccountMismatch,
        format_args!(
            "The operator's credentials belong to account {actual}, and this namespace is mapped to {expected}"
        ),
        "Correct the role in the operator's accounts file (slipway run --accounts)",
    ))
}

async fn material(
    client: &Client,
    goal: &Goal,
    memory: &mut Memory,
    now: Timestamp,
) -> Sides<Known<Material>> {
    if let Some((at, known)) = &memory.material
        && !due(Some(*at), MATERIAL_EVERY, now)
    {
        return Sides { source: Ok(known.source.clone()), target: Ok(known.target.clone()) };
    }
    let read = material::read(client, goal).await;
    memory.material = match (&read.source, &read.target) {
        (Ok(source), Ok(target)) => Some((now, Sides { source: source.clone(), target: target.clone() })),
        _ => None,
    };
    read
}

async fn address(
    aws: &Aws,
    address: &Address,
    kept: &mut Kept<(String, u16)>,
    now: Timestamp,
) -> Known<(String, u16)> {
    let identifier = match address {
        Address::Given { host, port } => return Ok((host.clone(), *port)),
        Address::Rds { identifier } => identifier,
    };
    if let Some(known) = kept.fresh(now) {
        return Ok(known);
    }
    let field = "spec.target.rdsInstanceIdentifier";
    let instance = aws.rds.instance(identifier).await?.ok_or_else(|| {
        Fault::blocked(
            Reason::InstanceMissing,
            format_args!("{field}: there is no RDS instance {identifier} in this account and region"),
            "Correct the identifier, or create the instance",
        )
    })?;
    if !instance.storage_encrypted {
        return Err(Fault::blocked(
            Reason::InstanceUnfit,
            format_args!("{field}: the storage of RDS instance {identifier} is not encrypted"),
            "Encryption can't be switched on later: restore a snapshot into an encrypted instance and use that",
        ));
    }
    let address = instance.address.ok_or_else(|| {
        Fault::Wait(format!("RDS instance {identifier} has no address yet ({})", instance.status))
    })?;
    Ok(kept.keep(now, address))
}

/// An open session and what the server says in it. A session that was lost is opened again at the next look.
async fn session(
    goal: &Goal,
    side: Side,
    material: &Material,
    address: &(String, u16),
    memory: &mut Memory,
) -> Known<(Arc<Connection>, Server)> {
    let opened = opened(goal, side, &material.operator, material, address);
    let kept = memory.sessions.get_mut(side);
    let connection = match kept {
        Some((with, connection)) if *with == opened && connection.is_usable() => Arc::clone(connection),
        _ => {
            *kept = None;
            let connection =
                Arc::new(Connection::open(&spec(goal, side, Whose::Operator, material, address)).await?);
            *kept = Some((opened, Arc::clone(&connection)));
            connection
        }
    };
    let question =
        Question { selection: goal.tables.clone(), dms_role: material.replication.username.clone() };
    let server = observe(&connection, &question).await?;
    Ok((connection, server))
}

/// Tries the login that DMS will use, so that a wrong password is found before anything is made with it.
async fn login(
    goal: &Goal,
    side: Side,
    material: &Material,
    address: &(String, u16),
    memory: &mut Memory,
    now: Timestamp,
) -> Known<()> {
    let opened = opened(goal, side, &material.replication, material, address);
    let last = memory.logins.get_mut(side);
    if let Some((with, at)) = last
        && *with == opened
        && !due(Some(*at), LOGIN_EVERY, now)
    {
        return Ok(());
    }
    *last = None;
    Connection::open(&spec(goal, side, Whose::Dms, material, address)).await?;
    *last = Some((opened, now));
    Ok(())
}

fn opened(goal: &Goal, side: Side, login: &Login, material: &Material, address: &(String, u16)) -> Opened {
    Opened {
        host: address.0.clone(),
        port: address.1,
        database: goal.sides.get(side).database.clone(),
        username: login.username.clone(),
        version: login.version.clone(),
        ca_pem: material.ca_pem.clone(),
    }
}

fn spec(goal: &Goal, side: Side, whose: Whose, material: &Material, address: &(String, u16)) -> ConnectSpec {
    let login = match whose {
        Whose::Operator => &material.operator,
        Whose::Dms => &material.replication,
    };
    let wish = goal.sides.get(side);
    ConnectSpec {
        side,
        host: address.0.clone(),
        port: address.1,
        database: wish.database.clone(),
        whose,
        username: login.username.clone(),
        password: login.password.clone(),
        tls_mode: wish.tls,
        ca_pem: material.ca_pem.clone(),
        application_name: "slipway".to_owned(),
    }
}
