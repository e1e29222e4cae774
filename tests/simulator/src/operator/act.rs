//! One step, as the calls that it is made of: `src/database/act.rs`, `act/moving.rs` and the services below them.

use std::hash::{DefaultHasher, Hash, Hasher};

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use sandbox::world::{Call, secrets};
use serde_json::json;
use slipway::api::FINALIZER;
use slipway::api::database::DatabaseMigration;
use slipway::aws::secrets::Place;
use slipway::database::act::{BEAT_WAIT, decision, given_up};
use slipway::database::decide::{Decide, LatchWhy, Move, MoveStep, Step};
use slipway::database::goal::{ConnectionGoal, Goal, Intent};
use slipway::database::seen::{Seen, Verified};
use slipway::fault::Fault;
use slipway::postgres::{ClaimAs, Lag};
use slipway::side::Side;

use super::{Memory, Process, tell_watches};
use crate::clock::{Kind as News, MILLI, SECOND};
use crate::database::{Database, Entry, Guard, Refused, SlotName, WriteId};
use crate::world::cluster::Object;
use crate::world::{CANARY, World, stamp};

/// The model's number for this migration.
pub(super) const OURS: u8 = 1;

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
                // As `act::act` asks; the model needs no more than that it was asked.
                self.ends(goal, memory, seen.now).await;
                self.moving(goal, seen, memory, step).await
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
            Step::LowerTtl => self.lower(goal, seen, memory).await,
            Step::GiveBackRecord => self.give_back(goal, memory).await,
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
        let read = object.metadata.resource_version.clone();
        let version = if object.metadata.finalizers.iter().flatten().any(|one| one == FINALIZER) {
            read
        } else {
            let patched = self
                .kubernetes("PatchFinalizers", true, move |world| {
                    let patched =
                        world.cluster.database.patch_finalizers(world.clock.now, read.as_deref(), true);
                    tell_watches(world, News::Database);
                    patched
                })
                .await?;
            patched.metadata.resource_version.clone()
        };
        let patch = json!({"provisionedAt": Time(now)});
        self.patch("PatchStatus provisionedAt", version, patch).await.map(|_| ())
    }

    async fn release(&self, object: &DatabaseMigration) -> Result<(), Fault> {
        let version = object.metadata.resource_version.clone();
        self.kubernetes("PatchFinalizers", true, move |world| {
            let patched = world.cluster.database.patch_finalizers(world.clock.now, version.as_deref(), false);
            tell_watches(world, News::Database);
            match patched {
                Err(kube::Error::Api(status)) if status.is_not_found() => Ok(()),
                other => other.map(|_| ()),
            }
        })
        .await
    }

    async fn patch(
        &self,
        name: &'static str,
        version: Option<String>,
        patch: serde_json::Value,
    ) -> Result<Object, Fault> {
        let version = if self.sim.with(|world| world.mutant == Some("no-cas")) { None } else { version };
        self.kubernetes(name, true, move |world| {
            let patched = world.cluster.database.patch_status(world.clock.now, version.as_deref(), &patch);
            tell_watches(world, News::Database);
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
                let patched =
                    world.cluster.database.patch_status(world.clock.now, version.as_deref(), &status);
                if finishes && let Ok(object) = &patched {
                    if object.spec.goal == slipway::api::database::Goal::Finish {
                        world.history.finish_ordered = true;
                    } else {
                        world.fail(15, "Finish was recorded while the goal was another");
                    }
                }
                tell_watches(world, News::Database);
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
            MoveStep::Fence => {
                let fence = move |world: &mut World, on: &mut Database| {
                    let done = on.fence(&guard);
                    if done.is_ok() {
                        world.judge_fence();
                    }
                    done
                };
                self.change("fence", from, fence, memory).await
            }
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
                let told = self.told_of_deletion.get().is_some_and(|at| at <= seen.now);
                self.sim.with(|world| {
                    if (told || goal.deletion.is_some()) && !world.holds(from, to) {
                        world.fail(16, "a resource that is deleted moves the writer");
                    }
                });
                let timeline = match seen.standing.get(from) {
                    Some(Ok(standing)) => u8::try_from(standing.timeline).unwrap_or(0),
                    Some(Err(fault)) => return Err(fault.clone()),
                    None => return Err(Fault::Bug(format!("the {from} was not asked"))),
                };
                self.change("give", from, move |_, on| on.give(&guard, timeline), memory).await
            }
            MoveStep::Open => self.change("open", to, move |_, on| on.open(&guard), memory).await,
            MoveStep::Repoint => {
                self.repoint(goal, seen, memory, step).await?;
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
    async fn repoint(&self, goal: &Goal, seen: &Seen, memory: &mut Memory, step: &Move) -> Result<(), Fault> {
        let (to, epoch) = (step.direction.to(), step.epoch);
        let arn = match &goal.cutover.connection {
            Some(ConnectionGoal::Secret { arn }) => arn,
            Some(ConnectionGoal::Record(_)) => return self.repoint_cname(goal, seen, memory, step).await,
            Some(ConnectionGoal::MultiHost) | None => return Ok(()),
        };
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
