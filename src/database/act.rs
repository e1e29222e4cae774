//! Perform one step, idempotently, with a permit. A step that was half done is found by the next look and done again.

mod cname;
mod moving;

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::api::{Patch, PatchParams};
use kube::{Client, ResourceExt};
use serde_json::json;

use crate::api::FIELD_MANAGER;
use crate::api::database::{DatabaseMigration, TableSelector};
use crate::aws::Aws;
use crate::aws::dms::settings::{table_mappings, task_settings};
use crate::aws::dms::{NewInstance, NewTask};
use crate::database::context::Memory;
use crate::database::decide::{Step, wanted};
use crate::database::goal::{Goal, InstanceGoal};
use crate::database::material::Material;
use crate::database::observe::{self, Means};
use crate::database::seen::{AwsSeen, Seen};
use crate::fault::Fault;
use crate::operator::objects;
use crate::permit::Permit;
use crate::postgres::{self, Connection, TableKind};
use crate::side::Side;

pub use moving::{decision, given_up, moving, record};

/// How long a heartbeat is waited for on the target before its lag is taken from the one before.
pub const BEAT_WAIT: Duration = Duration::from_secs(3);

/// The means to act with.
pub struct Hands<'a> {
    /// The Kubernetes API.
    pub client: &'a Client,
    /// AWS.
    pub aws: &'a Aws,
    /// Sessions and secrets.
    pub means: &'a Means,
    /// Proof that this process may act.
    pub permit: &'a Permit<'a>,
}

/// Performs `step` on what was seen.
pub async fn act(
    hands: &Hands<'_>,
    object: &DatabaseMigration,
    goal: &Goal,
    seen: &Seen,
    memory: &mut Memory,
    step: &Step,
) -> Result<(), Fault> {
    // Done or half done: what was known of it is old from here on.
    memory.sight.forget(step);
    memory.seen.begins(step, seen.now);
    match step {
        Step::Claim => claim(hands, object, seen.now).await,
        Step::Release => objects::release(hands.client, hands.permit, object).await,
        Step::Decide(decide) => record(hands, object, goal, memory, decide).await.map(|_| ()),
        Step::Latch(why) => moving::record_latch(hands, object, goal, why).await,
        Step::LowerTtl => cname::lower(hands, goal, seen, memory).await,
        Step::GiveBackRecord => cname::give_back(hands, goal, memory).await,
        Step::Move(step) => {
            let ends = observe::ends(hands.client, hands.aws, goal, memory, seen.now).await;
            moving::moving(hands, goal, seen, memory, &ends, step).await
        }
        Step::FenceTarget
        | Step::PrepareSource
        | Step::NoteSlot(_)
        | Step::Beat
        | Step::DropSlot(_)
        | Step::DropSourceRecord
        | Step::ReleaseTarget
        | Step::ReleaseSource
        | Step::DropTargetRecord
        | Step::DropReverseSlot(_) => database(hands, goal, memory, step).await,
        Step::ImportCertificate(_)
        | Step::DeleteCertificate { .. }
        | Step::CreateSubnetGroup
        | Step::CreateInstance
        | Step::CreateEndpoint(_)
        | Step::ModifyEndpoint(_)
        | Step::TestConnection(_)
        | Step::CreateTask
        | Step::StartTask(_)
        | Step::StopTask
        | Step::PutAlarm(_)
        | Step::DeleteAlarms(_)
        | Step::DeleteTask
        | Step::DeleteEndpoint(_)
        | Step::DeleteInstance
        | Step::DeleteSubnetGroup => aws(hands, goal, seen, step).await,
    }
}

/// The intent, before the first effect: the finalizer first, then the status that forbids going back to Plan. Both carry
/// the resourceVersion, so that a goal that changed since is looked at again first.
async fn claim(hands: &Hands<'_>, object: &DatabaseMigration, now: Timestamp) -> Result<(), Fault> {
    let version = objects::hold(hands.client, hands.permit, object).await?;
    let patch = json!({"metadata": {"resourceVersion": version}, "status": {"provisionedAt": Time(now)}});
    let params = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
    hands.permit.check("recording status.provisionedAt")?;
    objects::api(hands.client, object)
        .patch_status(&object.name_any(), &params, &Patch::Merge(patch))
        .await
        .map_err(|error| objects::kubernetes("recording status.provisionedAt", &error))?;
    Ok(())
}

async fn database(hands: &Hands<'_>, goal: &Goal, memory: &mut Memory, step: &Step) -> Result<(), Fault> {
    let permit = hands.permit;
    let migration = |side| -> Result<postgres::Holding, Fault> {
        Ok(postgres::Holding {
            resource: goal.migration.resource(),
            uid: goal.migration.uid.clone(),
            dms_role: material(hands, side)?.replication.username.clone(),
        })
    };
    match step {
        Step::FenceTarget => {
            let selection = &goal.tables;
            postgres::fence_target(
                session(hands, Side::Target)?,
                permit,
                &migration(Side::Target)?,
                selection,
            )
            .await
        }
        Step::PrepareSource => {
            postgres::prepare_source(session(hands, Side::Source)?, permit, &migration(Side::Source)?).await
        }
        Step::NoteSlot(slot) => postgres::note_slot(session(hands, Side::Source)?, permit, slot).await,
        Step::Beat => {
            let (source, target) = (session(hands, Side::Source)?, session(hands, Side::Target)?);
            let lag = postgres::beat(source, target, permit, BEAT_WAIT).await?;
            memory.seen.beaten(lag, goal.cutover.max_lag);
            Ok(())
        }
        Step::DropSlot(slot) => postgres::drop_slot(session(hands, Side::Source)?, permit, slot).await,
        Step::DropReverseSlot(slot) => postgres::drop_slot(session(hands, Side::Target)?, permit, slot).await,
        Step::DropSourceRecord => {
            postgres::drop_record(session(hands, Side::Source)?, permit, &migration(Side::Source)?).await
        }
        Step::DropTargetRecord => {
            postgres::drop_record(session(hands, Side::Target)?, permit, &migration(Side::Target)?).await
        }
        Step::ReleaseTarget => {
            postgres::release(session(hands, Side::Target)?, permit, &migration(Side::Target)?).await
        }
        Step::ReleaseSource => {
            postgres::release(session(hands, Side::Source)?, permit, &migration(Side::Source)?).await
        }
        other => Err(Fault::Bug(format!("{} is no step of the databases", other.action()))),
    }
}

async fn aws(hands: &Hands<'_>, goal: &Goal, seen: &Seen, step: &Step) -> Result<(), Fault> {
    let (permit, dms, names) = (hands.permit, &hands.aws.dms, &goal.names);
    let ours = &goal.ownership();
    let there = seen.aws.as_ref().map_err(Clone::clone)?;
    match step {
        Step::ImportCertificate(side) => {
            let identifier =
                wanted::certificate(goal, seen, *side).ok_or_else(|| vanished("certificate authority"))?;
            dms.import_certificate(permit, ours, &identifier, &material(hands, *side)?.ca_pem).await
        }
        Step::DeleteCertificate { arn, .. } => dms.delete_certificate(permit, ours, arn).await,
        Step::CreateSubnetGroup => {
            dms.create_subnet_group(permit, ours, &names.subnet_group, &managed(goal)?.subnet_ids).await
        }
        Step::DeleteSubnetGroup => dms.delete_subnet_group(permit, ours, &names.subnet_group).await,
        Step::CreateInstance => dms.create_instance(permit, ours, &new_instance(goal)?).await,
        Step::DeleteInstance => dms.delete_instance(permit, ours, &instance_arn(there)?).await,
        Step::CreateEndpoint(side) | Step::ModifyEndpoint(side) => {
            let settings =
                wanted::endpoint(goal, seen, there, *side).ok_or_else(|| vanished("certificate"))?;
            let password = &material(hands, *side)?.replication.password;
            if matches!(step, Step::CreateEndpoint(_)) {
                dms.create_endpoint(permit, ours, names.endpoints.get(*side), &settings, password).await
            } else {
                dms.modify_endpoint(permit, ours, &endpoint_arn(there, *side)?, &settings, password).await
            }
        }
        Step::DeleteEndpoint(side) => dms.delete_endpoint(permit, ours, &endpoint_arn(there, *side)?).await,
        Step::TestConnection(side) => {
            let (instance, endpoint) = (instance_arn(there)?, endpoint_arn(there, *side)?);
            dms.test_connection(permit, ours, &instance, &endpoint).await
        }
        Step::CreateTask => dms.create_task(permit, ours, &new_task(goal, seen, there)?).await,
        Step::StartTask(start) => dms.start_task(permit, ours, &task_arn(there)?, *start).await,
        Step::StopTask => dms.stop_task(permit, ours, &task_arn(there)?).await,
        Step::DeleteTask => dms.delete_task(permit, ours, &task_arn(there)?).await,
        Step::PutAlarm(alarm) => hands.aws.cloudwatch.put_alarm(permit, ours, alarm).await,
        Step::DeleteAlarms(alarms) => hands.aws.cloudwatch.delete_alarms(permit, ours, alarms).await,
        other => Err(Fault::Bug(format!("{} is no step of AWS", other.action()))),
    }
}

fn session<'a>(hands: &Hands<'a>, side: Side) -> Result<&'a Connection, Fault> {
    hands
        .means
        .sessions
        .get(side)
        .as_deref()
        .ok_or_else(|| Fault::Again(format!("no session with the {side}")))
}

fn material<'a>(hands: &Hands<'a>, side: Side) -> Result<&'a Material, Fault> {
    hands.means.material.get(side).as_ref().ok_or_else(|| Fault::Again(format!("no Secrets of the {side}")))
}

fn vanished(what: &str) -> Fault {
    Fault::Wait(format!("the {what} is not there any more"))
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

fn managed(goal: &Goal) -> Result<&crate::api::database::ManagedInstance, Fault> {
    match &goal.instance {
        InstanceGoal::Managed(managed) => Ok(managed),
        InstanceGoal::Existing { .. } => {
            Err(Fault::Bug("an existing replication instance is never changed".to_owned()))
        }
    }
}

fn new_instance(goal: &Goal) -> Result<NewInstance, Fault> {
    let managed = managed(goal)?;
    Ok(NewInstance {
        identifier: goal.names.instance.clone(),
        class: managed.class.clone(),
        storage_gib: managed.storage_gib,
        multi_az: managed.multi_az,
        engine_version: managed.engine_version.clone(),
        subnet_group: goal.names.subnet_group.clone(),
        security_group_ids: managed.security_group_ids.clone(),
        kms_key_arn: managed.kms_key_arn.clone(),
    })
}

fn new_task(goal: &Goal, seen: &Seen, there: &AwsSeen) -> Result<NewTask, Fault> {
    let source = seen.database.source.as_ref().map_err(Clone::clone)?;
    let mut exclude = goal.tables.exclude.clone();
    // DMS would load a partitioned parent beside its partitions: every row twice.
    exclude.extend(
        source
            .tables
            .iter()
            .filter(|table| table.kind == TableKind::Partitioned)
            .map(|table| TableSelector { schema: table.schema.clone(), name: table.name.clone() }),
    );
    Ok(NewTask {
        identifier: goal.names.task.clone(),
        instance_arn: instance_arn(there)?,
        source_endpoint_arn: endpoint_arn(there, Side::Source)?,
        target_endpoint_arn: endpoint_arn(there, Side::Target)?,
        table_mappings: table_mappings(&goal.tables.include, &exclude).map_err(Fault::Blocked)?,
        settings: task_settings(&goal.tuning),
    })
}
