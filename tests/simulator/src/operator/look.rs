//! What an operator asks before it decides, in the order of `observe::look` and `observe::look_at_sides`.

use jiff::Timestamp;
use sandbox::world::{Call, Reply as Answer, rds, secrets};
use slipway::api::condition::Reason;
use slipway::aws::dms::TaskStatus;
use slipway::aws::secrets::Place;
use slipway::database::applications::ApplicationSeen;
use slipway::database::cname;
use slipway::database::goal::{Address, ConnectionGoal, Goal, due};
use slipway::database::observe::{LOGIN_EVERY, MATERIAL_EVERY, concerns_record};
use slipway::database::seen::{Known, MaterialSeen, Reach, Seen};
use slipway::database::sight::{self, Kept};
use slipway::fault::Fault;
use slipway::postgres::{Holder, PreCheck, Record, Server, Standing};
use slipway::side::{Direction, Side, Sides};

use super::aws::{present, strange};
use super::{Memory, Process};
use crate::database::{Fence, Refused};
use crate::world::World;
use crate::world::cluster::Traffic;

fn not_asked(side: Side) -> Fault {
    Fault::Again(format!("the {side} was not asked, since its Secrets or its address are not known"))
}

fn material() -> MaterialSeen {
    MaterialSeen {
        replication_username: "slipway_dms".to_owned(),
        replication_version: "s-1/7".to_owned(),
        ca_fingerprint: "0badcafe".to_owned(),
    }
}

impl Process {
    /// `observe::look`.
    pub(super) async fn look(&self, goal: &Goal, memory: &mut Memory, now: Timestamp) -> Seen {
        let material = self.material(memory, now).await;
        let address = Sides {
            source: self.address(&goal.sides.source.address, &mut memory.address.source, now).await,
            target: self.address(&goal.sides.target.address, &mut memory.address.target, now).await,
        };
        let seen_of_aws = sight::look(self, goal, &mut memory.sight, now).await;
        if let Ok(aws) = &seen_of_aws {
            memory.task_arn = aws.task.as_ref().map(|task| task.arn.clone()).or(memory.task_arn.take());
        }
        let mut database =
            Sides { source: Err(not_asked(Side::Source)), target: Err(not_asked(Side::Target)) };
        let mut replication_login = Sides { source: Ok(()), target: Ok(()) };
        let running = seen_of_aws.as_ref().is_ok_and(|aws| {
            aws.task.as_ref().is_some_and(|t| t.started_at.is_some() && t.status == TaskStatus::Running)
        });
        let mut standing = Sides::default();
        for side in Side::BOTH {
            if material.get(side).is_err() || address.get(side).is_err() {
                continue;
            }
            match self.server(side, memory).await {
                Ok(server) => {
                    if goal.is_moving() {
                        let fence = fence_of(&server);
                        *standing.get_mut(side) = Some(self.standing(side, fence, memory).await);
                    }
                    *database.get_mut(side) = Ok(server);
                }
                Err(fault) => *database.get_mut(side) = Err(fault),
            }
            if !running && goal.deletion.is_none() && database.get(side).is_ok() {
                *replication_login.get_mut(side) = self.login(side, memory, now).await;
            }
        }
        let precheck = self.precheck(goal, &database, memory).await;
        let secret = match &goal.cutover.connection {
            Some(ConnectionGoal::Secret { arn }) if precheck.source.is_some() => {
                Some(self.secret(arn, &mut memory.secret, now).await)
            }
            Some(ConnectionGoal::Secret { .. } | ConnectionGoal::Record(_) | ConnectionGoal::MultiHost)
            | None => None,
        };
        let cname = match cname::of(goal) {
            Some(record) if precheck.source.is_some() || concerns_record(goal) => {
                Some(self.cname(goal, record, memory, now).await)
            }
            Some(_) | None => None,
        };
        let applications = match precheck.source {
            Some(_) => Some(self.applications().await),
            None => None,
        };
        let refused = |side: Side| {
            matches!(database.get(side), Err(Fault::Blocked(_)))
                || matches!(replication_login.get(side), Err(Fault::Blocked(_)))
        };
        if Side::BOTH.into_iter().any(refused) {
            memory.material_at = None;
        }
        Seen {
            now,
            account: Ok(()),
            material,
            address,
            database,
            standing,
            applications,
            precheck,
            secret,
            cname,
            replication_login,
            aws: seen_of_aws,
            memory: memory.seen.clone(),
        }
    }

    /// `observe::look_at_sides`.
    pub(super) async fn look_at_sides(&self, memory: &mut Memory, ends: &Reach, now: Timestamp) -> Seen {
        let asked: Option<Fence> = memory.fence_id.parse().ok();
        let mut standing: Sides<Option<Known<Standing>>> = Sides::default();
        for side in Side::BOTH {
            *standing.get_mut(side) = Some(match ends.get(side) {
                Ok(_) => self.standing(side, asked, memory).await,
                Err(fault) => Err(fault.clone()),
            });
        }
        memory.seen.looked(&mut memory.fence_id, &mut standing);
        let mutant = self.sim.with(|world| world.mutant);
        if mutant == Some("blind-marker")
            && let Some(Ok(new)) = &mut standing.target
        {
            new.marker = true;
        }
        if mutant == Some("trust-fence")
            && let Some(Ok(old)) = &mut standing.source
        {
            old.sessions = 0;
            old.write_locks = 0;
            old.prepared.clear();
            old.unlayered.clear();
            memory.seen.quiet_looks = u32::MAX;
        }
        let old = Direction::FORWARD.from;
        let (mut precheck, mut applications) = (Sides::default(), None);
        let open = matches!(standing.get(old), Some(Ok(side)) if side.token.holder == Holder::Side(old));
        if open {
            applications = Some(self.applications().await);
            for side in Side::BOTH {
                if matches!(standing.get(side), Some(Ok(_))) {
                    *precheck.get_mut(side) = Some(self.ask_precheck(side, memory).await);
                }
            }
        }
        Seen::within_a_move(now, ends.clone(), standing, precheck, applications, memory.seen.clone())
    }

    /// `applications::read`.
    async fn applications(&self) -> Known<Vec<ApplicationSeen>> {
        let blind = self.sim.with(|world| world.mutant == Some("deaf-to-weights"));
        let read = |object: &Traffic| {
            let seen = ApplicationSeen::read(object);
            ApplicationSeen { changing: seen.changing && !blind, ..seen }
        };
        let list = |world: &mut World| Ok(world.cluster.traffic.newest().cloned());
        let found = self.kubernetes("List of the traffic", false, list).await?;
        let ours = found.filter(|object| object.spec.database.migration_ref.is_some());
        Ok(ours.iter().map(read).collect())
    }

    /// `observe::ends`.
    pub(super) async fn ends(&self, goal: &Goal, memory: &mut Memory, now: Timestamp) -> Reach {
        let material = self.material(memory, now).await;
        let mut ends = Sides { source: Err(not_asked(Side::Source)), target: Err(not_asked(Side::Target)) };
        for (side, material) in [(Side::Source, material.source), (Side::Target, material.target)] {
            let address = if let Some(known) = memory.address.get(side).latest() {
                Ok(known)
            } else {
                let wanted = &goal.sides.get(side).address;
                self.address(wanted, memory.address.get_mut(side), now).await
            };
            *ends.get_mut(side) = material.and_then(|material| Ok((material, address?)));
        }
        ends
    }

    async fn material(&self, memory: &mut Memory, now: Timestamp) -> Sides<Known<MaterialSeen>> {
        if memory.material_at.is_none_or(|at| due(Some(at), MATERIAL_EVERY, now)) {
            memory.material_at = None;
            if let Err(fault) = self.kubernetes("GetSecrets", false, |_| Ok(())).await {
                return Sides { source: Err(fault.clone()), target: Err(fault) };
            }
            memory.material_at = Some(now);
        }
        Sides { source: Ok(material()), target: Ok(material()) }
    }

    async fn address(
        &self,
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
        let call = Call::DescribeDatabases(rds::Describe { identifier: Some(identifier.clone()) });
        let found = present(self.aws("rds", "DescribeDBInstances", false, identifier, call).await)?;
        match found {
            Some(Answer::Databases(found)) if !found.is_empty() => {
                Ok(kept.keep(now, (found[0].address.clone(), found[0].port)))
            }
            _ => Err(Fault::blocked(
                Reason::InstanceMissing,
                format_args!("there is no RDS instance {identifier}"),
                "Correct the identifier",
            )),
        }
    }

    /// A session is opened first, if there is none.
    pub(super) async fn session(&self, side: Side, memory: &mut Memory) -> Result<(), Fault> {
        if *memory.sessions.get(side) {
            return Ok(());
        }
        self.sql("connect", side, false, |_| Ok(())).await?;
        *memory.sessions.get_mut(side) = true;
        Ok(())
    }

    /// A session in which a call failed without an answer is opened anew.
    pub(super) fn broken<T>(side: Side, memory: &mut Memory, asked: &Result<T, Fault>) {
        if let Err(Fault::Again(words)) = asked
            && words.ends_with("the connection was lost")
        {
            *memory.sessions.get_mut(side) = false;
        }
    }

    async fn server(&self, side: Side, memory: &mut Memory) -> Known<Server> {
        self.session(side, memory).await?;
        let server = self.sql("observe", side, false, move |world| Ok(world.server(side))).await;
        Self::broken(side, memory, &server);
        server
    }

    async fn standing(&self, side: Side, fence: Option<Fence>, memory: &mut Memory) -> Known<Standing> {
        self.session(side, memory).await?;
        let found = self
            .sql("standing", side, false, move |world| {
                let names = world.names.clone();
                world.database_mut(side).standing(fence, &names)
            })
            .await;
        Self::broken(side, memory, &found);
        found
    }

    async fn login(&self, side: Side, memory: &mut Memory, now: Timestamp) -> Known<()> {
        let last = memory.logins.get_mut(side);
        if last.is_some_and(|at| !due(Some(at), LOGIN_EVERY, now)) {
            return Ok(());
        }
        *last = None;
        let tried = self
            .sql("login of DMS's role", side, false, move |world| {
                if world.database(side).dms_connects { Ok(()) } else { Err(Refused::Denied) }
            })
            .await;
        match tried {
            // `failure`: a refused login is for a person to mend.
            Err(Fault::Again(words)) if words.starts_with("refused") => Err(Fault::blocked(
                Reason::LoginRefused,
                format_args!("The {side} refuses DMS's role: {words}"),
                "Let it connect",
            )),
            Err(fault) => Err(fault),
            Ok(()) => {
                *memory.logins.get_mut(side) = Some(now);
                Ok(())
            }
        }
    }

    async fn precheck(
        &self,
        goal: &Goal,
        database: &Sides<Known<Server>>,
        memory: &mut Memory,
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
            if database.get(side).is_ok() {
                *found.get_mut(side) = Some(self.ask_precheck(side, memory).await);
            }
        }
        found
    }

    async fn ask_precheck(&self, side: Side, memory: &mut Memory) -> Known<PreCheck> {
        self.session(side, memory).await?;
        let found = self
            .sql("precheck", side, false, move |world| {
                let names = world.names.clone();
                Ok(world.database(side).precheck(&names))
            })
            .await;
        Self::broken(side, memory, &found);
        found
    }

    async fn secret(
        &self,
        arn: &str,
        kept: &mut Kept<Option<Place>>,
        now: Timestamp,
    ) -> Known<Option<Place>> {
        match kept.fresh(now) {
            Some(known) => Ok(known),
            None => Ok(kept.keep(now, self.read_secret(arn).await?.1)),
        }
    }

    /// The version of a secret, and where it points.
    pub(super) async fn read_secret(&self, arn: &str) -> Known<(String, Option<Place>)> {
        let call = Call::Secrets(secrets::Call::Get(secrets::Get { secret_id: arn.to_owned() }));
        let Answer::Secrets(reply) = self.aws("secretsmanager", "GetSecretValue", false, arn, call).await?
        else {
            return Err(strange("GetSecretValue").fault);
        };
        Ok((reply.version.id, place(&reply.version.value)))
    }
}

/// Where a secret's value points.
pub fn place(value: &str) -> Option<Place> {
    let value: serde_json::Value = serde_json::from_str(value).ok()?;
    let text = |key: &str| value[key].as_str().map(str::to_owned);
    let port = value["port"].as_u64().and_then(|port| u16::try_from(port).ok())?;
    Some(Place { host: text("host")?, port, database: text("dbname")? })
}

fn fence_of(server: &Server) -> Option<Fence> {
    match &server.record {
        Record::Present { token, .. } => token.fence_id.as_ref().and_then(|fence| fence.parse().ok()),
        Record::Absent => None,
    }
}
