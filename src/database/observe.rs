//! Ask Kubernetes, AWS and PostgreSQL what is true now. Changes nothing.

mod cname;

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use kube::Client;

use crate::api::condition::Reason;
use crate::aws::dms::TaskStatus;
use crate::aws::secrets::Place;
use crate::aws::{Account, Aws};
use crate::database::applications;
use crate::database::cname as record;
use crate::database::context::{Held, Memory, Opened};
use crate::database::goal::{Address, ConnectionGoal, Goal, due};
use crate::database::material::{self, Login, Material};
use crate::database::seen::{Known, Seen};
use crate::database::sight::{self, Kept};
use crate::fault::Fault;
use crate::operator::accounts;
use crate::postgres::{
    self, ConnectSpec, Connection, Holder, PreCheck, Question, Record, Server, Standing, StandingQuestion,
    Whose,
};
use crate::side::{Direction, Side, Sides};

pub use cname::{cname_every, cname_sets, concerns_record};

/// Secrets that worked are read again this often.
pub const MATERIAL_EVERY: SignedDuration = SignedDuration::from_secs(30);
/// The login of DMS's role that worked is tried again this often while nothing runs.
pub const LOGIN_EVERY: SignedDuration = SignedDuration::from_mins(5);
/// How long a side may take to answer in a move: the other must not be kept waiting by it.
pub const LOOK_WITHIN: Duration = Duration::from_secs(2);

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
    let who = accounts::verify(aws, account, &mut memory.account_at, now).await;
    let material = material(client, goal, memory, now).await;
    let address = Sides {
        source: address(aws, &goal.sides.source.address, &mut memory.address.source, now).await,
        target: address(aws, &goal.sides.target.address, &mut memory.address.target, now).await,
    };
    let sight = match &who {
        Ok(()) => sight::look(aws, goal, &mut memory.sight, now).await,
        Err(fault) => Err(fault.clone()),
    };
    if let Ok(aws) = &sight {
        memory.task_arn = aws.task.as_ref().map(|task| task.arn.clone()).or(memory.task_arn.take());
    }
    let mut means = Means::default();
    let mut database = Sides { source: Err(not_asked(Side::Source)), target: Err(not_asked(Side::Target)) };
    let mut replication_login = Sides { source: Ok(()), target: Ok(()) };
    let running = sight.as_ref().is_ok_and(|aws| {
        aws.task.as_ref().is_some_and(|t| t.started_at.is_some() && t.status == TaskStatus::Running)
    });
    let mut standing = Sides::default();
    for side in Side::BOTH {
        let (Ok(material), Ok(address)) = (material.get(side), address.get(side)) else { continue };
        *means.material.get_mut(side) = Some(material.clone());
        match session(goal, side, material, address, memory).await {
            Ok((connection, server)) => {
                if goal.is_moving() {
                    let question = question(goal, &material.replication.username, &server);
                    *standing.get_mut(side) = Some(postgres::standing(&connection, &question).await);
                }
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
    let precheck = precheck(goal, &database, &means).await;
    let applications = match precheck.source {
        Some(_) => Some(applications::read(client, goal).await),
        None => None,
    };
    let secret = match &goal.cutover.connection {
        Some(ConnectionGoal::Secret { arn }) if precheck.source.is_some() => {
            Some(secret(aws, arn, &mut memory.secret, now).await)
        }
        Some(ConnectionGoal::Secret { .. } | ConnectionGoal::Record(_) | ConnectionGoal::MultiHost)
        | None => None,
    };
    let cname = match record::of(goal) {
        Some(record) if precheck.source.is_some() || concerns_record(goal) => {
            Some(cname::cname(aws, goal, record, memory, now).await)
        }
        Some(_) | None => None,
    };
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
        standing,
        precheck,
        applications,
        secret,
        cname,
        replication_login,
        aws: sight,
        memory: memory.seen.clone(),
    };
    Observed { seen, means }
}

fn not_asked(side: Side) -> Fault {
    Fault::Again(format!("the {side} was not asked, since its Secrets or its address are not known"))
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

pub(super) async fn address(
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
    let held = (memory.sessions.get_mut(side), memory.spares.get_mut(side));
    let connection = connection(goal, side, material, address, held).await?;
    let server = postgres::observe(&connection, &whole(goal, material)).await?;
    Ok((connection, server))
}

/// The open session of a side: the one that is held, else the second one that a move holds, else a new one.
pub(super) async fn connection(
    goal: &Goal,
    side: Side,
    material: &Material,
    address: &(String, u16),
    held: (&mut Held, &mut Held),
) -> Known<Arc<Connection>> {
    let opened = opened(goal, side, &material.operator, material, address);
    let (first, second) = held;
    let usable = |held: &Held| {
        held.as_ref().is_some_and(|(with, connection)| *with == opened && connection.is_usable())
    };
    if !usable(first) {
        let spare = second.take();
        *first = if usable(&spare) {
            spare
        } else {
            let spec = spec(goal, side, Whose::Operator, material, address);
            Some((opened.clone(), Arc::new(Connection::open(&spec).await?)))
        };
    }
    first
        .as_ref()
        .map(|(_, connection)| Arc::clone(connection))
        .ok_or_else(|| Fault::Bug(format!("a session with the {side} was opened and is gone")))
}

fn whole(goal: &Goal, material: &Material) -> Question {
    Question { selection: goal.tables.clone(), dms_role: material.replication.username.clone() }
}

/// What is asked of a side during a move. The fence in question is the one that stands on the old side; before there is
/// one, no marker can be found, whatever its name.
fn question(goal: &Goal, dms_role: &str, old: &Server) -> StandingQuestion {
    let fence_id = match &old.record {
        Record::Present { token, .. } => token.fence_id.clone(),
        Record::Absent => None,
    };
    StandingQuestion {
        selection: goal.tables.clone(),
        dms_role: dms_role.to_owned(),
        fence_id: fence_id.unwrap_or_default(),
        slot: goal.migration.move_slot(),
    }
}

/// What could be in the way of a fence, asked only where one may come next.
async fn precheck(
    goal: &Goal,
    database: &Sides<Known<Server>>,
    means: &Means,
) -> Sides<Option<Known<PreCheck>>> {
    let mut found = Sides::default();
    let is_writer = |server: &Server| match &server.record {
        Record::Present { token, .. } => token.holder == Holder::Side(Side::Source),
        Record::Absent => false,
    };
    if goal.wanted_writer() == Side::Source || !database.source.as_ref().is_ok_and(is_writer) {
        return found;
    }
    for side in Side::BOTH {
        if let (Some(session), Some(material)) = (means.sessions.get(side), means.material.get(side)) {
            *found.get_mut(side) = Some(postgres::precheck(session, &whole(goal, material)).await);
        }
    }
    found
}

/// Where the applications' secret points. One that could be read is not read again at each look of a long wait.
async fn secret(
    aws: &Aws,
    arn: &str,
    kept: &mut Kept<Option<Place>>,
    now: Timestamp,
) -> Known<Option<Place>> {
    match kept.fresh(now) {
        Some(known) => Ok(known),
        None => Ok(kept.keep(now, aws.secrets.place(arn).await?)),
    }
}

/// A second session on each side, held from the beginning of a move on: should the first one break, the storm of
/// applications that come back may leave no room for another.
pub async fn hold_spares(goal: &Goal, memory: &mut Memory, ends: &Ends) {
    for side in Side::BOTH {
        let Ok((material, address)) = ends.get(side) else { continue };
        let opened = opened(goal, side, &material.operator, material, address);
        let held = memory.spares.get(side).as_ref();
        if held.is_some_and(|(with, connection)| *with == opened && connection.is_usable()) {
            continue;
        }
        // Without it a move is a little less safe from a storm; the check of free connections came before.
        let spare = Connection::open(&spec(goal, side, Whose::Operator, material, address)).await;
        *memory.spares.get_mut(side) = spare.ok().map(|connection| (opened, Arc::new(connection)));
    }
}

/// How each side is reached: secrets and address.
pub type Ends = Sides<Known<(Material, (String, u16))>>;

/// Finds out how each side is reached. AWS is asked only for an address that this process never knew.
pub async fn ends(client: &Client, aws: &Aws, goal: &Goal, memory: &mut Memory, now: Timestamp) -> Ends {
    let material = material(client, goal, memory, now).await;
    let mut ends = Sides { source: Err(not_asked(Side::Source)), target: Err(not_asked(Side::Target)) };
    for (side, material) in [(Side::Source, material.source), (Side::Target, material.target)] {
        let kept = memory.address.get_mut(side);
        let address = match kept.latest() {
            Some(known) => Ok(known),
            None => address(aws, &goal.sides.get(side).address, kept, now).await,
        };
        *ends.get_mut(side) = material.and_then(|material| Ok((material, address?)));
    }
    ends
}

/// Looks at both databases at once, and at nothing else: what a move needs while applications wait. Before the fence nobody
/// waits, and it looks at the applications, too.
pub async fn look_at_sides(
    client: &Client,
    goal: &Goal,
    memory: &mut Memory,
    ends: &Ends,
    now: Timestamp,
) -> Observed {
    let fence_id = memory.fence_id.clone();
    let ask = async |side: Side, first: &mut Held, second: &mut Held| -> Known<(Arc<Connection>, Standing)> {
        let (material, address) = ends.get(side).as_ref().map_err(Clone::clone)?;
        let question = StandingQuestion {
            selection: goal.tables.clone(),
            dms_role: material.replication.username.clone(),
            fence_id: fence_id.clone(),
            slot: goal.migration.move_slot(),
        };
        let look = async {
            let session = connection(goal, side, material, address, (first, second)).await?;
            let standing = postgres::standing(&session, &question).await?;
            Ok((session, standing))
        };
        tokio::time::timeout(LOOK_WITHIN, look).await.unwrap_or_else(|_| {
            Err(Fault::Again(format!("the {side} did not answer within {LOOK_WITHIN:?}")))
        })
    };
    let (sessions, spares) = (&mut memory.sessions, &mut memory.spares);
    let (source, target) = futures::join!(
        ask(Side::Source, &mut sessions.source, &mut spares.source),
        ask(Side::Target, &mut sessions.target, &mut spares.target)
    );
    let mut means = Means::default();
    for side in Side::BOTH {
        *means.material.get_mut(side) = ends.get(side).as_ref().ok().map(|(material, _)| material.clone());
    }
    means.sessions.source = source.as_ref().ok().map(|(session, _)| Arc::clone(session));
    means.sessions.target = target.as_ref().ok().map(|(session, _)| Arc::clone(session));
    let (source, target) = (source.map(|(_, standing)| standing), target.map(|(_, standing)| standing));
    let old = Direction::FORWARD.from;
    let mut standing = Sides { source: Some(source), target: Some(target) };
    memory.seen.looked(&mut memory.fence_id, &mut standing);
    let (mut precheck, mut applications) = (Sides::default(), None);
    let open = matches!(standing.get(old), Some(Ok(side)) if side.token.holder == Holder::Side(old));
    if open {
        applications =
            Some(tokio::time::timeout(LOOK_WITHIN, applications::read(client, goal)).await.unwrap_or_else(
                |_| Err(Fault::Again("the API server did not say which applications there are".to_owned())),
            ));
        for side in Side::BOTH {
            if let (Some(session), Ok((material, _))) = (means.sessions.get(side), ends.get(side)) {
                *precheck.get_mut(side) = Some(postgres::precheck(session, &whole(goal, material)).await);
            }
        }
    }
    let reach = |side: Side| {
        let known = ends.get(side).as_ref().map_err(Clone::clone);
        known.map(|(material, address)| (material.seen(), address.clone()))
    };
    let reach = Sides { source: reach(Side::Source), target: reach(Side::Target) };
    let seen = Seen::within_a_move(now, reach, standing, precheck, applications, memory.seen.clone());
    Observed { seen, means }
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
