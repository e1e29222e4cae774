//! What AWS has, asked part by part. What is settled is remembered for a while, so that a migration at rest costs two
//! calls a look; what changes by itself, or was just changed by a step, is asked for each time.

use jiff::{SignedDuration, Timestamp};

use crate::aws::cloudwatch::{SeenAlarm, TaskLag};
use crate::aws::dms::{
    Certificate, Connection, ConnectionStatus, Endpoint, Instance, InstanceStatus, SubnetGroup,
    TableStatistics, Task, TaskStatus,
};
use crate::aws::{Aws, Ownership};
use crate::database::decide::Step;
use crate::database::goal::{Goal, InstanceGoal, Intent, Names, due};
use crate::database::seen::{AwsSeen, Known};
use crate::side::{Side, Sides};

/// What is settled is looked at again this often: somebody else may have changed it.
const LOOK_AGAIN_EVERY: SignedDuration = SignedDuration::from_mins(2);
/// `CloudWatch` has one datapoint a minute.
const TASK_LAG_EVERY: SignedDuration = SignedDuration::from_mins(1);

/// A fact that stays true for a while.
#[derive(Clone, Debug)]
pub struct Kept<T>(Option<(Timestamp, T)>);

impl<T> Default for Kept<T> {
    fn default() -> Self {
        Self(None)
    }
}

impl<T: Clone> Kept<T> {
    /// The fact, if it is not too old.
    pub fn fresh(&self, now: Timestamp) -> Option<T> {
        self.0.as_ref().filter(|(at, _)| !due(Some(*at), LOOK_AGAIN_EVERY, now)).map(|(_, fact)| fact.clone())
    }

    /// The fact, if it is younger than `age`.
    pub fn younger(&self, age: SignedDuration, now: Timestamp) -> Option<T> {
        let found = self.0.as_ref().filter(|(at, _)| !due(Some(*at), age, now) && *at <= now);
        found.map(|(_, fact)| fact.clone())
    }

    /// The fact, however old.
    pub fn latest(&self) -> Option<T> {
        self.0.as_ref().map(|(_, fact)| fact.clone())
    }

    /// Remembers the fact, and hands it back.
    pub fn keep(&mut self, now: Timestamp, fact: T) -> T {
        self.0 = Some((now, fact.clone()));
        fact
    }

    fn keep_if(&mut self, settled: bool, now: Timestamp, fact: T) -> T {
        if settled {
            return self.keep(now, fact);
        }
        self.0 = None;
        fact
    }
}

/// What is remembered of AWS between looks.
#[derive(Clone, Debug, Default)]
pub struct Sight {
    instance: Kept<Option<Instance>>,
    subnet_group: Kept<Option<SubnetGroup>>,
    certificates: Kept<Vec<Certificate>>,
    endpoints: Sides<Kept<Option<Endpoint>>>,
    connections: Sides<Kept<Option<Connection>>>,
    alarms: Kept<Vec<SeenAlarm>>,
    task_lag: Option<TaskLag>,
    task_lag_at: Option<Timestamp>,
}

impl Sight {
    /// Forgets what a step may have changed.
    pub fn forget(&mut self, step: &Step) {
        match step {
            Step::CreateInstance | Step::DeleteInstance => self.instance = Kept::default(),
            Step::CreateSubnetGroup | Step::DeleteSubnetGroup => self.subnet_group = Kept::default(),
            Step::ImportCertificate(_) | Step::DeleteCertificate { .. } => {
                self.certificates = Kept::default();
            }
            Step::CreateEndpoint(side) | Step::ModifyEndpoint(side) | Step::DeleteEndpoint(side) => {
                *self.endpoints.get_mut(*side) = Kept::default();
                *self.connections.get_mut(*side) = Kept::default();
            }
            Step::TestConnection(side) => *self.connections.get_mut(*side) = Kept::default(),
            Step::PutAlarm(_) | Step::DeleteAlarms(_) => self.alarms = Kept::default(),
            // A start may be refused because a connection is not what it was.
            Step::StartTask(_) => self.connections = Sides::default(),
            // The task is asked for each time; the rest is not of AWS.
            Step::CreateTask
            | Step::StopTask
            | Step::DeleteTask
            | Step::Claim
            | Step::Release
            | Step::FenceTarget
            | Step::PrepareSource
            | Step::NoteSlot(_)
            | Step::Beat
            | Step::DropSlot(_)
            | Step::DropSourceRecord
            | Step::ReleaseTarget
            | Step::ReleaseSource
            | Step::DropTargetRecord
            | Step::DropReverseSlot(_)
            | Step::LowerTtl
            | Step::GiveBackRecord
            | Step::Decide(_)
            | Step::Latch(_)
            | Step::Move(_) => {}
        }
    }
}

/// The questions that a look asks of AWS: of the real one, or of a model.
#[allow(async_fn_in_trait, missing_docs)] // only ever called on a type that is known
pub trait Eyes {
    async fn task(&self, identifier: &str, ours: &Ownership) -> Known<Option<Task>>;
    async fn table_statistics(&self, task_arn: &str) -> Known<Vec<TableStatistics>>;
    async fn instance(
        &self,
        goal: &InstanceGoal,
        identifier: &str,
        ours: &Ownership,
    ) -> Known<Option<Instance>>;
    async fn subnet_group(&self, identifier: &str, ours: &Ownership) -> Known<Option<SubnetGroup>>;
    async fn certificates(&self, names: &Names, ours: &Ownership) -> Known<Vec<Certificate>>;
    async fn endpoint(&self, identifier: &str, side: Side, ours: &Ownership) -> Known<Option<Endpoint>>;
    async fn connection(&self, instance_arn: &str, endpoint_arn: &str) -> Known<Option<Connection>>;
    async fn alarms(&self, names: &[String], ours: &Ownership) -> Known<Vec<SeenAlarm>>;
    async fn task_lag(&self, instance: &str, task: &str, now: Timestamp) -> Known<Option<TaskLag>>;
}

impl Eyes for Aws {
    async fn task(&self, identifier: &str, ours: &Ownership) -> Known<Option<Task>> {
        self.dms.task(identifier, ours).await
    }

    async fn table_statistics(&self, task_arn: &str) -> Known<Vec<TableStatistics>> {
        self.dms.table_statistics(task_arn).await
    }

    async fn instance(
        &self,
        goal: &InstanceGoal,
        identifier: &str,
        ours: &Ownership,
    ) -> Known<Option<Instance>> {
        match goal {
            InstanceGoal::Existing { arn } => self.dms.instance_by_arn(arn, ours).await,
            InstanceGoal::Managed(_) => self.dms.instance(identifier, ours).await,
        }
    }

    async fn subnet_group(&self, identifier: &str, ours: &Ownership) -> Known<Option<SubnetGroup>> {
        self.dms.subnet_group(identifier, ours).await
    }

    async fn certificates(&self, names: &Names, ours: &Ownership) -> Known<Vec<Certificate>> {
        self.dms.certificates(|identifier| names.is_certificate(identifier), ours).await
    }

    async fn endpoint(&self, identifier: &str, side: Side, ours: &Ownership) -> Known<Option<Endpoint>> {
        self.dms.endpoint(identifier, side, ours).await
    }

    async fn connection(&self, instance_arn: &str, endpoint_arn: &str) -> Known<Option<Connection>> {
        self.dms.connection(instance_arn, endpoint_arn).await
    }

    async fn alarms(&self, names: &[String], ours: &Ownership) -> Known<Vec<SeenAlarm>> {
        self.cloudwatch.alarms(names, ours).await
    }

    async fn task_lag(&self, instance: &str, task: &str, now: Timestamp) -> Known<Option<TaskLag>> {
        self.cloudwatch.task_lag(instance, task, now).await
    }
}

/// Looks at everything of this migration.
pub async fn look(aws: &impl Eyes, goal: &Goal, sight: &mut Sight, now: Timestamp) -> Known<AwsSeen> {
    let ours = goal.ownership();
    let names = &goal.names;
    let task = aws.task(&names.task, &ours).await?;
    let tables = match &task {
        Some(Task { arn, started_at: Some(_), .. }) => aws.table_statistics(arn).await?,
        Some(_) | None => Vec::new(),
    };
    let instance = instance(aws, goal, &ours, sight, now).await?;
    let subnet_group = subnet_group(aws, goal, &ours, sight, now).await?;
    let certificates = if let Some(known) = sight.certificates.fresh(now) {
        known
    } else {
        let found = aws.certificates(names, &ours).await?;
        sight.certificates.keep_if(!found.is_empty(), now, found)
    };
    let mut endpoints = Sides::default();
    let mut connections = Sides::default();
    for side in Side::BOTH {
        let kept = sight.endpoints.get_mut(side);
        let endpoint = if let Some(known) = kept.fresh(now) {
            known
        } else {
            let found = aws.endpoint(names.endpoints.get(side), side, &ours).await?;
            let settled = found.as_ref().is_some_and(|endpoint| endpoint.active && !endpoint.deleting);
            kept.keep_if(settled, now, found)
        };
        if let (Some(instance), Some(endpoint)) = (&instance, &endpoint) {
            let kept = sight.connections.get_mut(side);
            *connections.get_mut(side) = if let Some(known) = kept.fresh(now) {
                known
            } else {
                let found = aws.connection(&instance.arn, &endpoint.arn).await?;
                let settled =
                    found.as_ref().is_some_and(|found| found.status == ConnectionStatus::Successful);
                kept.keep_if(settled, now, found)
            };
        }
        *endpoints.get_mut(side) = endpoint;
    }
    let alarms = if let Some(known) = sight.alarms.fresh(now) {
        known
    } else {
        let found = aws.alarms(&names.alarms(), &ours).await?;
        // Where all is removed, a call that was not answered may still make one after the others are gone.
        let finishes = goal.decided.as_ref().is_some_and(|decided| decided.intent == Intent::Finish);
        let removes = goal.deletion.is_some() || finishes;
        sight.alarms.keep_if(!(found.is_empty() && removes), now, found)
    };
    let task_lag = task_lag(aws, task.as_ref(), instance.as_ref(), sight, now).await;
    Ok(AwsSeen {
        instance,
        subnet_group,
        certificates,
        endpoints,
        connections,
        task,
        tables,
        alarms,
        task_lag,
    })
}

async fn instance(
    aws: &impl Eyes,
    goal: &Goal,
    ours: &Ownership,
    sight: &mut Sight,
    now: Timestamp,
) -> Known<Option<Instance>> {
    if let Some(known) = sight.instance.fresh(now) {
        return Ok(known);
    }
    let found = aws.instance(&goal.instance, &goal.names.instance, ours).await?;
    let settled = found.as_ref().is_some_and(|found| found.status == InstanceStatus::Available);
    Ok(sight.instance.keep_if(settled, now, found))
}

async fn subnet_group(
    aws: &impl Eyes,
    goal: &Goal,
    ours: &Ownership,
    sight: &mut Sight,
    now: Timestamp,
) -> Known<Option<SubnetGroup>> {
    if matches!(goal.instance, InstanceGoal::Existing { .. }) {
        return Ok(None);
    }
    if let Some(known) = sight.subnet_group.fresh(now) {
        return Ok(known);
    }
    let found = aws.subnet_group(&goal.names.subnet_group, ours).await?;
    let settled = found.as_ref().is_some_and(|found| found.complete);
    Ok(sight.subnet_group.keep_if(settled, now, found))
}

/// The second witness only: if it can't be had, the heartbeat still tells.
async fn task_lag(
    aws: &impl Eyes,
    task: Option<&Task>,
    instance: Option<&Instance>,
    sight: &mut Sight,
    now: Timestamp,
) -> Option<TaskLag> {
    let (task, instance) = (task?, instance?);
    if task.status != TaskStatus::Running || !task.full_load_finished {
        sight.task_lag = None;
        return None;
    }
    if due(sight.task_lag_at, TASK_LAG_EVERY, now) {
        sight.task_lag_at = Some(now);
        let asked = aws.task_lag(&instance.identifier, task.resource_id(), now).await;
        sight.task_lag = asked.ok().flatten();
    }
    sight.task_lag
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::database::DeletionPolicy;
    use crate::database::decide::scene::{Scene, now};

    /// Has what it is told to have, and no task.
    struct Has(AwsSeen);

    impl Eyes for Has {
        async fn task(&self, _: &str, _: &Ownership) -> Known<Option<Task>> {
            Ok(None)
        }

        async fn table_statistics(&self, _: &str) -> Known<Vec<TableStatistics>> {
            Ok(Vec::new())
        }

        async fn instance(&self, _: &InstanceGoal, _: &str, _: &Ownership) -> Known<Option<Instance>> {
            Ok(self.0.instance.clone())
        }

        async fn subnet_group(&self, _: &str, _: &Ownership) -> Known<Option<SubnetGroup>> {
            Ok(self.0.subnet_group.clone())
        }

        async fn certificates(&self, _: &Names, _: &Ownership) -> Known<Vec<Certificate>> {
            Ok(self.0.certificates.clone())
        }

        async fn endpoint(&self, _: &str, side: Side, _: &Ownership) -> Known<Option<Endpoint>> {
            Ok(self.0.endpoints.get(side).clone())
        }

        async fn connection(&self, _: &str, _: &str) -> Known<Option<Connection>> {
            Ok(None)
        }

        async fn alarms(&self, _: &[String], _: &Ownership) -> Known<Vec<SeenAlarm>> {
            Ok(self.0.alarms.clone())
        }

        async fn task_lag(&self, _: &str, _: &str, _: Timestamp) -> Known<Option<TaskLag>> {
            Ok(None)
        }
    }

    /// A call that was not answered may make an alarm after the others were removed.
    #[tokio::test]
    async fn that_there_is_no_alarm_is_not_remembered_while_all_is_removed() {
        let mut scene = Scene::replicating();
        scene.goal.deletion = Some(DeletionPolicy::Delete);
        let mut has = Has(scene.aws().clone());
        let late = std::mem::take(&mut has.0.alarms);
        assert!(!late.is_empty());
        let mut sight = Sight::default();
        let seen = look(&has, &scene.goal, &mut sight, now()).await.expect("seen");
        assert!(seen.alarms.is_empty());
        has.0.alarms = late;
        let later = now() + SignedDuration::from_secs(1);
        let seen = look(&has, &scene.goal, &mut sight, later).await.expect("seen");
        assert_eq!(seen.alarms, has.0.alarms);
    }
}
