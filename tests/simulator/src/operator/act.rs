//! One step, as the calls that it is made of: `src/database/act.rs`, `act/moving.rs` and the services below them.

use std::hash::{DefaultHasher, Hash, Hasher};

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use sandbox::world::cloudwatch as cw;
use sandbox::world::dms::{self, Tag};
use sandbox::world::{Call, secrets};
use serde_json::json;
use slipway::api::FINALIZER;
use slipway::api::database::DatabaseMigration;
use slipway::aws::cloudwatch::{Alarm, Comparison, MissingData, Statistic};
use slipway::aws::dms::StartType;
use slipway::aws::dms::settings::{table_mappings, task_settings};
use slipway::aws::secrets::Place;
use slipway::aws::{Ownership, RESOURCE_TAG, SECRET_VERSION_TAG, UID_TAG};
use slipway::database::act::{BEAT_WAIT, decision, given_up};
use slipway::database::decide::{Decide, LatchWhy, Move, MoveStep, Step, wanted};
use slipway::database::goal::{ConnectionGoal, Goal, InstanceGoal, Intent};
use slipway::database::seen::{AwsSeen, Seen, Verified};
use slipway::fault::Fault;
use slipway::postgres::{ClaimAs, Lag};
use slipway::side::Side;

use super::aws::present;
use super::eyes::group_arn;
use super::look::Ends;
use super::{Memory, Process, tell_watches};
use crate::clock::{MILLI, SECOND};
use crate::database::{Database, Entry, Guard, Refused, SlotName, WriteId};
use crate::world::cluster::Object;
use crate::world::{CANARY, World, authority, stamp};

/// The model's number for this migration.
pub(super) const OURS: u8 = 1;

fn vanished(what: &str) -> Fault {
    Fault::Wait(format!("the {what} is not there any more"))
}

fn owner_tags(ours: &Ownership) -> Vec<Tag> {
    vec![tag(UID_TAG, &ours.uid), tag(RESOURCE_TAG, &ours.resource)]
}

fn tag(key: &str, value: &str) -> Tag {
    Tag { key: key.to_owned(), value: value.to_owned(), resource_arn: None }
}

fn slot_name(world: &World, slot: &str) -> SlotName {
    if slot == world.names.back { SlotName::Back } else { SlotName::Forward }
}

impl Process {
    /// `act::act`.
    pub(super) async fn act(
        &self,
        object: &DatabaseMigration,
        goal: &Goal,
        seen: &Seen,
        memory: &mut Memory,
        step: &Step,
    ) -> Result<(), Fault> {
        memory.sight.forget(step);
        memory.seen.begins(step, seen.now);
        match step {
            Step::Claim => self.claim(object, seen.now).await,
            Step::Release => self.release(object).await,
            Step::Decide(decide) => self.record(object, goal, memory, decide).await.map(|_| ()),
            Step::Latch(why) => self.record_latch(object, goal, why).await,
            Step::Move(step) => {
                let ends = self.ends(goal, memory, seen.now).await;
                self.moving(goal, seen, memory, &ends, step).await
            }
            Step::FenceTarget => {
                self.change("fence_target", Side::Target, |_, to| to.fence_target(OURS), memory).await
            }
            Step::PrepareSource => {
                self.change("prepare_source", Side::Source, |_, to| to.prepare_source(OURS), memory).await
            }
            Step::NoteSlot(slot) => {
                self.slot("note_slot", Side::Source, slot, Database::note_slot, memory).await
            }
            Step::DropSlot(slot) => {
                self.slot("drop_slot", Side::Source, slot, Database::drop_slot, memory).await
            }
            Step::DropReverseSlot(slot) => {
                self.slot("drop_slot", Side::Target, slot, Database::drop_slot, memory).await
            }
            Step::DropSourceRecord => {
                self.change("drop_record", Side::Source, |_, to| to.drop_record(OURS), memory).await
            }
            Step::DropTargetRecord => {
                self.change("drop_record", Side::Target, |_, to| to.drop_record(OURS), memory).await
            }
            Step::ReleaseTarget => {
                self.change("release", Side::Target, |_, to| to.release(OURS), memory).await
            }
            Step::ReleaseSource => {
                self.change("release", Side::Source, |_, to| to.release(OURS), memory).await
            }
            Step::Beat => self.beat(goal, memory).await,
            other => self.of_aws(goal, seen, other).await,
        }
    }

    /// One transaction on one side.
    async fn change(
        &self,
        name: &'static str,
        side: Side,
        effect: impl FnOnce(&mut World, &mut Database) -> Result<(), Refused> + 'static,
        memory: &mut Memory,
    ) -> Result<(), Fault> {
        if !*memory.sessions.get(side) {
            return Err(Fault::Again(format!("no session with the {side}")));
        }
        let done = self
            .sql(name, side, true, move |world| {
                // What it changes is checked as any other change of the world.
                let mut database = world.database_mut(side).clone();
                let before = database.row.map_or(0, |row| row.epoch);
                let done = effect(world, &mut database);
                let went_back = database.row.is_some_and(|row| row.epoch < before);
                *world.database_mut(side) = database;
                if went_back {
                    world.fail(1, "the epoch of a side went back");
                }
                world.trace.say(world.clock.now, || format!("  {side}: {name}: {done:?}"));
                done
            })
            .await;
        Self::broken(side, memory, &done);
        match done {
            Err(Fault::Again(_)) if self.sim.with(|world| world.mutant == Some("silence-is-success")) => {
                Ok(())
            }
            done => done,
        }
    }

    async fn slot(
        &self,
        name: &'static str,
        side: Side,
        slot: &str,
        effect: fn(&mut Database, SlotName) -> Result<(), Refused>,
        memory: &mut Memory,
    ) -> Result<(), Fault> {
        let slot = slot.to_owned();
        self.change(name, side, move |world, to| effect(to, slot_name(world, &slot)), memory).await
    }

    /// `act::claim`: the finalizer, then the status.
    async fn claim(&self, object: &DatabaseMigration, now: Timestamp) -> Result<(), Fault> {
        let mut version = object.metadata.resource_version.clone();
        if !object.metadata.finalizers.iter().flatten().any(|one| one == FINALIZER) {
            let patched = self
                .kubernetes("PatchFinalizers", true, move |world| {
                    let patched = world.cluster.patch_finalizers(world.clock.now, version.as_deref(), true);
                    tell_watches(world);
                    patched
                })
                .await?;
            version = patched.metadata.resource_version.clone();
        }
        let patch = json!({"provisionedAt": Time(now)});
        self.patch("PatchStatus provisionedAt", version, patch).await.map(|_| ())
    }

    async fn release(&self, object: &DatabaseMigration) -> Result<(), Fault> {
        let version = object.metadata.resource_version.clone();
        let done = self
            .kubernetes("PatchFinalizers", true, move |world| {
                let patched = world.cluster.patch_finalizers(world.clock.now, version.as_deref(), false);
                tell_watches(world);
                match patched {
                    Err(kube::Error::Api(status)) if status.is_not_found() => Ok(()),
                    other => other.map(|_| ()),
                }
            })
            .await;
        done
    }

    async fn patch(
        &self,
        name: &'static str,
        version: Option<String>,
        patch: serde_json::Value,
    ) -> Result<Object, Fault> {
        let version = if self.sim.with(|world| world.mutant == Some("no-cas")) { None } else { version };
        self.kubernetes(name, true, move |world| {
            let patched = world.cluster.patch_status(world.clock.now, version.as_deref(), &patch);
            tell_watches(world);
            patched
        })
        .await
    }

    /// `act::record`: a decision, before its first effect.
    pub(super) async fn record(
        &self,
        object: &DatabaseMigration,
        goal: &Goal,
        memory: &mut Memory,
        decide: &Decide,
    ) -> Result<Object, Fault> {
        let status = decision(goal, decide, self.now());
        let version = object.metadata.resource_version.clone();
        let finishes = decide.intent == Intent::Finish;
        let version = if self.sim.with(|world| world.mutant == Some("no-cas")) { None } else { version };
        let recorded = self
            .kubernetes(decide_name(decide.intent), true, move |world| {
                let patched = world.cluster.patch_status(world.clock.now, version.as_deref(), &status);
                if finishes && let Ok(object) = &patched {
                    if object.spec.goal == slipway::api::database::Goal::Finish {
                        world.history.finish_ordered = true;
                    } else {
                        world.fail(15, "Finish was recorded while the goal was another");
                    }
                }
                tell_watches(world);
                patched
            })
            .await?;
        memory.seen.decided(decide.epoch);
        Ok(recorded)
    }

    async fn record_latch(
        &self,
        object: &DatabaseMigration,
        goal: &Goal,
        why: &LatchWhy,
    ) -> Result<(), Fault> {
        let status = given_up(goal, why, self.now());
        let version = object.metadata.resource_version.clone();
        self.patch("PatchStatus latch", version, status).await.map(|_| ())
    }

    /// `postgres::beat`.
    async fn beat(&self, goal: &Goal, memory: &mut Memory) -> Result<(), Fault> {
        for side in Side::BOTH {
            if !*memory.sessions.get(side) {
                return Err(Fault::Again(format!("no session with the {side}")));
            }
        }
        let written = self.sim.with(|world| world.clock.now);
        let number = self
            .sql("beat", Side::Source, true, |world| {
                let source = world.database_mut(Side::Source);
                let number = u16::try_from(source.log.len()).unwrap_or(u16::MAX);
                source.beat(number).map(|()| number)
            })
            .await;
        Self::broken(Side::Source, memory, &number);
        let number = number?;
        let wait = i64::try_from(BEAT_WAIT.as_micros()).unwrap_or(3 * SECOND);
        let mut waited = 0;
        let arrived = loop {
            let read = self
                .sql("read the heartbeat", Side::Target, false, move |world| {
                    Ok(world.database(Side::Target).log.contains(&Entry::Beat(number)))
                })
                .await;
            Self::broken(Side::Target, memory, &read);
            if read? {
                break true;
            }
            if waited >= wait {
                break false;
            }
            self.sim.sleep(200 * MILLI).await;
            waited += 200 * MILLI;
        };
        let (now, at) = self.sim.with(|world| (world.clock.now, stamp(world.clock.now + self.skew)));
        let age = SignedDuration::from_micros(if arrived { now - written } else { now - written + wait });
        memory.seen.beaten(Lag { age, arrived, at }, goal.cutover.max_lag);
        Ok(())
    }

    /// `act::moving`.
    pub(super) async fn moving(
        &self,
        goal: &Goal,
        seen: &Seen,
        memory: &mut Memory,
        _ends: &Ends,
        step: &Move,
    ) -> Result<(), Fault> {
        let (from, to) = (step.direction.from, step.direction.to());
        let number = |text: &str| text.parse().unwrap_or_default();
        let epoch = u16::try_from(step.epoch).unwrap_or(u16::MAX);
        let guard = Guard { uid: OURS, epoch, fence: number(&step.fence_id) };
        match &step.what {
            MoveStep::Claim(side, how) => {
                let how = *how;
                self.change("claim", *side, move |_, on| on.claim(&guard, how), memory).await
            }
            MoveStep::CreateSlot => {
                self.change("create_slot", to, move |_, on| on.create_slot(&guard), memory).await
            }
            MoveStep::Fence => self.change("fence", from, move |_, on| on.fence(&guard), memory).await,
            MoveStep::EndSessions => {
                self.change("end_sessions", from, move |_, on| on.end_sessions(&guard), memory).await
            }
            MoveStep::AddLayer => {
                self.change("add_layer", from, move |_, on| on.add_layer(&guard), memory).await
            }
            MoveStep::Mark => self.change("mark", from, move |_, on| on.mark(&guard), memory).await,
            MoveStep::Freeze => self.change("freeze", to, move |_, on| on.freeze(&guard), memory).await,
            MoveStep::Verify => self.verify(memory, step).await,
            MoveStep::Sequences => {
                let value: WriteId = self
                    .sql("read sequences", from, false, move |world| Ok(world.database(from).sequence))
                    .await?;
                self.change("move_sequences", to, move |_, on| on.move_sequences(&guard, value), memory)
                    .await?;
                memory.seen.moved(step);
                Ok(())
            }
            MoveStep::ArmReverse => {
                let position = self
                    .sql("arm_from", to, true, move |world| world.database_mut(to).arm_from(&guard))
                    .await?;
                self.change("arm", from, move |_, on| on.arm(&guard, position), memory).await
            }
            MoveStep::Promote => {
                let timeline = match seen.standing.get(from) {
                    Some(Ok(standing)) => u8::try_from(standing.timeline).unwrap_or(0),
                    Some(Err(fault)) => return Err(fault.clone()),
                    None => return Err(Fault::Bug(format!("the {from} was not asked"))),
                };
                self.change("give", from, move |_, on| on.give(&guard, timeline), memory).await
            }
            MoveStep::Open => self.change("open", to, move |_, on| on.open(&guard), memory).await,
            MoveStep::Repoint => {
                self.repoint(goal, seen, to, step.epoch).await?;
                memory.seen.moved(step);
                Ok(())
            }
            MoveStep::Unfence => self.change("unfence", from, move |_, on| on.unfence(&guard), memory).await,
            MoveStep::TakeBack => {
                self.change("take_back", from, move |_, on| on.take_back(&guard), memory).await
            }
            MoveStep::DropSlot(side, slot) => {
                let (side, slot) = (*side, slot.clone());
                let claim = move |_: &mut World, on: &mut Database| on.claim(&guard, ClaimAs::Unchanged);
                self.change("claim", side, claim, memory).await?;
                let drop = move |world: &mut World, on: &mut Database| {
                    on.drop_move_slot(&guard, slot_name(world, &slot))
                };
                self.change("drop_move_slot", side, drop, memory).await
            }
            MoveStep::Thaw => self.change("thaw", to, move |_, on| on.thaw(&guard), memory).await,
        }
    }

    /// Reads both sides, one after the other: nothing may change meanwhile.
    async fn verify(&self, memory: &mut Memory, step: &Move) -> Result<(), Fault> {
        let mut read: Vec<Vec<WriteId>> = Vec::new();
        for side in [step.direction.from, step.direction.to()] {
            let rows = self
                .sql("compare", side, false, move |world| Ok(world.database(side).writes().collect()))
                .await;
            Self::broken(side, memory, &rows);
            let mut rows: Vec<WriteId> = rows?;
            rows.sort_unstable();
            read.push(rows);
        }
        memory.seen.verified = Some(Verified {
            fence_id: step.fence_id.clone(),
            difference: (read[0] != read[1]).then(|| "rows of public.accounts differ".to_owned()),
            tables: 2,
            rows: u64::try_from(read[0].len()).unwrap_or(0),
            at: self.now(),
        });
        Ok(())
    }

    /// `act::moving::repoint` and `Secrets::point`.
    async fn repoint(&self, goal: &Goal, seen: &Seen, to: Side, epoch: i64) -> Result<(), Fault> {
        let Some(ConnectionGoal::Secret { arn }) = &goal.cutover.connection else { return Ok(()) };
        let (host, port) = seen.address.get(to).as_ref().map_err(Clone::clone)?.clone();
        let place = Place { host, port, database: goal.sides.get(to).database.clone() };
        let (version, points) = self.read_secret(arn).await?;
        if points.as_ref() == Some(&place) {
            return Ok(());
        }
        let value =
            json!({"host": place.host, "port": place.port, "dbname": place.database, "password": CANARY});
        let call = Call::Secrets(secrets::Call::Put(secrets::Put {
            secret_id: arn.clone(),
            client_request_token: token(epoch, &version),
            secret_string: value.to_string(),
        }));
        self.aws("secretsmanager", "PutSecretValue", true, arn, call).await?;
        Ok(())
    }

    async fn of_aws(&self, goal: &Goal, seen: &Seen, step: &Step) -> Result<(), Fault> {
        let names = &goal.names;
        let ours = &goal.ownership();
        let there = seen.aws.as_ref().map_err(Clone::clone)?;
        match step {
            Step::ImportCertificate(side) => {
                let identifier = wanted::certificate(goal, seen, *side)
                    .ok_or_else(|| vanished("certificate authority"))?;
                let call = dms::Call::ImportCertificate(dms::ImportCertificate {
                    certificate_identifier: identifier.clone(),
                    certificate_pem: authority().to_owned(),
                    tags: owner_tags(ours),
                });
                self.dms("ImportCertificate", true, &identifier, call).await?;
            }
            Step::DeleteCertificate { arn, .. } => {
                let call =
                    dms::Call::DeleteCertificate(dms::DeleteCertificate { certificate_arn: arn.clone() });
                self.delete(ours, "DeleteCertificate", arn, call).await?;
            }
            Step::CreateSubnetGroup => {
                let InstanceGoal::Managed(managed) = &goal.instance else { return Ok(()) };
                let call = dms::Call::CreateReplicationSubnetGroup(dms::CreateReplicationSubnetGroup {
                    replication_subnet_group_identifier: names.subnet_group.clone(),
                    replication_subnet_group_description: "Slipway".to_owned(),
                    subnet_ids: managed.subnet_ids.clone(),
                    tags: owner_tags(ours),
                });
                self.dms("CreateReplicationSubnetGroup", true, &names.subnet_group, call).await?;
            }
            Step::DeleteSubnetGroup => {
                let call = dms::Call::DeleteReplicationSubnetGroup(dms::DeleteReplicationSubnetGroup {
                    replication_subnet_group_identifier: names.subnet_group.clone(),
                });
                let arn = group_arn(&names.subnet_group);
                self.delete(ours, "DeleteReplicationSubnetGroup", &arn, call).await?;
            }
            Step::CreateInstance => {
                let call = self.new_instance(goal, ours);
                self.dms("CreateReplicationInstance", true, &names.instance, call).await?;
            }
            Step::DeleteInstance => {
                let arn = instance_arn(there)?;
                let call = dms::Call::DeleteReplicationInstance(dms::DeleteReplicationInstance {
                    replication_instance_arn: arn.clone(),
                });
                self.delete(ours, "DeleteReplicationInstance", &arn, call).await?;
            }
            Step::CreateEndpoint(side) | Step::ModifyEndpoint(side) => {
                self.set_endpoint(goal, seen, there, *side, matches!(step, Step::CreateEndpoint(_))).await?;
            }
            Step::DeleteEndpoint(side) => {
                let arn = endpoint_arn(there, *side)?;
                let call = dms::Call::DeleteEndpoint(dms::DeleteEndpoint { endpoint_arn: arn.clone() });
                self.delete(ours, "DeleteEndpoint", &arn, call).await?;
            }
            Step::TestConnection(side) => {
                let (instance, endpoint) = (instance_arn(there)?, endpoint_arn(there, *side)?);
                self.prove_present(ours, "TestConnection", &endpoint).await?;
                let call = dms::Call::TestConnection(dms::TestConnection {
                    replication_instance_arn: instance,
                    endpoint_arn: endpoint.clone(),
                });
                self.dms("TestConnection", true, &endpoint, call).await?;
            }
            Step::CreateTask => self.create_task(goal, there, ours).await?,
            Step::StartTask(start) => {
                let arn = task_arn(there)?;
                self.prove_present(ours, "StartReplicationTask", &arn).await?;
                let start = match start {
                    StartType::First => "start-replication",
                    StartType::Resume => "resume-processing",
                };
                let call = dms::Call::StartReplicationTask(dms::StartReplicationTask {
                    replication_task_arn: arn.clone(),
                    start_replication_task_type: start.to_owned(),
                });
                self.dms("StartReplicationTask", true, &arn, call).await?;
            }
            Step::StopTask => self.stop_task(ours, &task_arn(there)?).await?,
            Step::DeleteTask => {
                let arn = task_arn(there)?;
                let by = dms::TaskByArn { replication_task_arn: arn.clone() };
                self.delete(ours, "DeleteReplicationTask", &arn, dms::Call::DeleteReplicationTask(by))
                    .await?;
            }
            Step::PutAlarm(alarm) => self.put_alarm(ours, alarm).await?,
            Step::DeleteAlarms(names) => {
                let names = names.clone();
                let call = Call::CloudWatch(cw::Call::DeleteAlarms { names });
                present(self.aws("cloudwatch", "DeleteAlarms", true, "alarms", call).await)?;
            }
            other => return Err(Fault::Bug(format!("{} is no step of AWS", other.action()))),
        }
        Ok(())
    }

    /// Deletes what is ours; content if it is gone.
    async fn delete(
        &self,
        ours: &Ownership,
        name: &'static str,
        arn: &str,
        call: dms::Call,
    ) -> Result<(), Fault> {
        if self.prove(ours, name, arn).await? {
            let done = present(self.dms(name, true, arn, call).await)?;
            if done.is_some() {
                let kind = name.trim_start_matches("Delete");
                self.sim.with(|world| world.deleted.push((kind.to_owned(), arn.to_owned())));
            }
        }
        Ok(())
    }

    async fn prove_present(&self, ours: &Ownership, name: &'static str, arn: &str) -> Result<(), Fault> {
        if self.prove(ours, name, arn).await? {
            return Ok(());
        }
        Err(Fault::Unknown(format!("{name} {arn}: it is not there; looking again")))
    }

    /// `Dms::stop_task`.
    pub(super) async fn stop_task(&self, ours: &Ownership, arn: &str) -> Result<(), Fault> {
        self.prove_present(ours, "StopReplicationTask", arn).await?;
        let by = dms::TaskByArn { replication_task_arn: arn.to_owned() };
        self.dms("StopReplicationTask", true, arn, dms::Call::StopReplicationTask(by)).await?;
        Ok(())
    }

    fn new_instance(&self, goal: &Goal, ours: &Ownership) -> dms::Call {
        let InstanceGoal::Managed(managed) = &goal.instance else {
            return dms::Call::DescribeCertificates(dms::Describe::default());
        };
        dms::Call::CreateReplicationInstance(Box::new(dms::CreateReplicationInstance {
            replication_instance_identifier: goal.names.instance.clone(),
            allocated_storage: u32::try_from(managed.storage_gib).ok(),
            replication_instance_class: managed.class.clone(),
            vpc_security_group_ids: managed.security_group_ids.clone(),
            availability_zone: None,
            replication_subnet_group_identifier: Some(goal.names.subnet_group.clone()),
            preferred_maintenance_window: None,
            multi_az: Some(managed.multi_az),
            engine_version: None,
            auto_minor_version_upgrade: Some(false),
            tags: owner_tags(ours),
            kms_key_id: None,
            publicly_accessible: Some(false),
            resource_identifier: None,
        }))
    }

    async fn set_endpoint(
        &self,
        goal: &Goal,
        seen: &Seen,
        there: &AwsSeen,
        side: Side,
        create: bool,
    ) -> Result<(), Fault> {
        let ours = &goal.ownership();
        let settings = wanted::endpoint(goal, seen, there, side).ok_or_else(|| vanished("certificate"))?;
        let ssl_mode = match settings.tls {
            slipway::aws::dms::EndpointTls::VerifyCa => "verify-ca",
            _ => "verify-full",
        };
        let version = settings.secret_version.clone().unwrap_or_default();
        let endpoint_type = side.as_str().to_owned();
        if create {
            let mut tags = owner_tags(ours);
            tags.push(tag(SECRET_VERSION_TAG, &version));
            let identifier = goal.names.endpoints.get(side).clone();
            let call = dms::Call::CreateEndpoint(Box::new(dms::CreateEndpoint {
                endpoint_identifier: identifier.clone(),
                endpoint_type,
                engine_name: "postgres".to_owned(),
                username: Some(settings.username),
                password: Some(CANARY.to_owned()),
                server_name: Some(settings.host),
                port: Some(settings.port),
                database_name: Some(settings.database),
                extra_connection_attributes: None,
                kms_key_id: None,
                tags,
                certificate_arn: settings.certificate_arn,
                ssl_mode: Some(ssl_mode.to_owned()),
                settings: serde_json::Map::new(),
                resource_identifier: None,
            }));
            self.dms("CreateEndpoint", true, &identifier, call).await?;
            return Ok(());
        }
        let arn = endpoint_arn(there, side)?;
        self.prove_present(ours, "ModifyEndpoint", &arn).await?;
        let call = dms::Call::ModifyEndpoint(Box::new(dms::ModifyEndpoint {
            endpoint_arn: arn.clone(),
            endpoint_identifier: None,
            endpoint_type: Some(endpoint_type),
            engine_name: Some("postgres".to_owned()),
            username: Some(settings.username),
            password: Some(CANARY.to_owned()),
            server_name: Some(settings.host),
            port: Some(settings.port),
            database_name: Some(settings.database),
            extra_connection_attributes: None,
            certificate_arn: settings.certificate_arn,
            ssl_mode: Some(ssl_mode.to_owned()),
            settings: serde_json::Map::new(),
            exact_settings: None,
        }));
        self.dms("ModifyEndpoint", true, &arn, call).await?;
        let call = dms::Call::AddTagsToResource(dms::AddTagsToResource {
            resource_arn: arn.clone(),
            tags: vec![tag(SECRET_VERSION_TAG, &version)],
        });
        self.dms("AddTagsToResource", true, &arn, call).await?;
        Ok(())
    }

    async fn create_task(&self, goal: &Goal, there: &AwsSeen, ours: &Ownership) -> Result<(), Fault> {
        let mappings = table_mappings(&goal.tables.include, &goal.tables.exclude).map_err(Fault::Blocked)?;
        let call = dms::Call::CreateReplicationTask(Box::new(dms::CreateReplicationTask {
            replication_task_identifier: goal.names.task.clone(),
            source_endpoint_arn: endpoint_arn(there, Side::Source)?,
            target_endpoint_arn: endpoint_arn(there, Side::Target)?,
            replication_instance_arn: instance_arn(there)?,
            migration_type: "full-load-and-cdc".to_owned(),
            table_mappings: mappings,
            replication_task_settings: Some(task_settings(&goal.tuning)),
            tags: owner_tags(ours),
            resource_identifier: None,
        }));
        self.dms("CreateReplicationTask", true, &goal.names.task, call).await?;
        Ok(())
    }

    async fn put_alarm(&self, ours: &Ownership, alarm: &Alarm) -> Result<(), Fault> {
        let call = Call::CloudWatch(cw::Call::PutMetricAlarm(Box::new(cw::PutMetricAlarm {
            name: alarm.name.clone(),
            description: Some(alarm.description.clone()),
            actions_enabled: true,
            ok_actions: vec![alarm.sns_topic_arn.clone()],
            alarm_actions: vec![alarm.sns_topic_arn.clone()],
            insufficient_data_actions: Vec::new(),
            series: cw::Series {
                namespace: "AWS/DMS".to_owned(),
                name: alarm.metric.clone(),
                dimensions: alarm.dimensions.iter().cloned().collect(),
            },
            statistic: match alarm.statistic {
                Statistic::Maximum => cw::Statistic::Maximum,
                _ => cw::Statistic::SampleCount,
            },
            period_seconds: 60,
            evaluation_periods: i64::from(alarm.periods),
            datapoints_to_alarm: Some(i64::from(alarm.periods)),
            threshold: alarm.threshold,
            comparison_operator: match alarm.comparison {
                Comparison::GreaterThanThreshold => "GreaterThanThreshold",
                _ => "LessThanThreshold",
            }
            .to_owned(),
            treat_missing_data: Some(
                if alarm.missing_data == MissingData::Breaching { "breaching" } else { "notBreaching" }
                    .to_owned(),
            ),
            unit: None,
            tags: owner_tags(ours).into_iter().map(|tag| (tag.key, tag.value)).collect(),
        })));
        self.aws("cloudwatch", "PutMetricAlarm", true, &alarm.name, call).await?;
        Ok(())
    }
}

/// The same for a repeat of the same request, as the product's.
fn token(epoch: i64, version: &str) -> String {
    let mut hasher = DefaultHasher::new();
    version.hash(&mut hasher);
    format!("{epoch:0>32}-{:016x}", hasher.finish())
}

fn decide_name(intent: Intent) -> &'static str {
    match intent {
        Intent::Steady => "PatchStatus DecideSteady",
        Intent::Move => "PatchStatus DecideMove",
        Intent::Return => "PatchStatus DecideReturn",
        Intent::Finish => "PatchStatus DecideFinish",
        Intent::Finished => "PatchStatus DecideFinished",
    }
}

fn instance_arn(there: &AwsSeen) -> Result<String, Fault> {
    there.instance.as_ref().map(|i| i.arn.clone()).ok_or_else(|| vanished("replication instance"))
}

fn endpoint_arn(there: &AwsSeen, side: Side) -> Result<String, Fault> {
    there.endpoints.get(side).as_ref().map(|e| e.arn.clone()).ok_or_else(|| vanished("endpoint"))
}

fn task_arn(there: &AwsSeen) -> Result<String, Fault> {
    there.task.as_ref().map(|t| t.arn.clone()).ok_or_else(|| vanished("task"))
}
