//! Calls to AWS: the stand-in's own words out, the product's own verdict on what comes back.

use sandbox::world::dms;
use sandbox::world::{Call, Reply as Answer};
use slipway::aws::dms::Owner;
use slipway::aws::{self, Ownership};
use slipway::fault::Fault;

use super::{PATIENCE, Process, Reply};
use crate::clock::SECOND;
use crate::world::World;
use crate::world::faults::{Kind, Point, Service};

/// A describe may not know for so long what was just made.
const YOUNG: i64 = 60 * SECOND;

/// A call that failed.
pub(super) struct Refusal {
    pub(super) code: String,
    /// What the product makes of it.
    pub(super) fault: Fault,
}

impl Refusal {
    /// Nothing has this name.
    fn is_absent(&self) -> bool {
        matches!(
            self.code.as_str(),
            "ResourceNotFoundFault"
                | "ResourceNotFound"
                | "ResourceNotFoundException"
                | "DBInstanceNotFoundFault"
                | "NoSuchHostedZone"
                | "NoSuchChange"
                | "LoadBalancerNotFound"
                | "TargetGroupNotFound"
                | "ClusterNotFoundException"
        )
    }
}

impl From<Refusal> for Fault {
    fn from(refusal: Refusal) -> Self {
        refusal.fault
    }
}

/// `None` where AWS says that there is nothing of this name, as `present` of the product.
pub(super) fn present<T>(result: Result<T, Refusal>) -> Result<Option<T>, Fault> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(refusal) if refusal.is_absent() => Ok(None),
        Err(refusal) => Err(refusal.fault),
    }
}

impl Process {
    /// One call to AWS.
    pub(super) async fn aws(
        &self,
        service: &'static str,
        name: &'static str,
        mutates: bool,
        on: &str,
        call: Call,
    ) -> Result<Answer, Refusal> {
        let young = self.sim.with(|world| {
            let now = world.clock.now;
            world.young.iter().any(|(what, at)| what == on && now - at < YOUNG)
        });
        let point = Point { service: Service::Aws, name, on: on.to_owned(), mutates, young };
        let made = name.starts_with("Create") || name == "ImportCertificate";
        let what = on.to_owned();
        let effect = move |world: &mut World| {
            let now = world.now();
            let answer = world.aws.call(call, now);
            if answer.is_ok() && name == "ChangeResourceRecordSets" {
                world.judge_records();
            }
            if answer.is_ok() && made {
                world.young.push((what.clone(), world.clock.now));
                if let Ok(Answer::Dms(reply)) = &answer {
                    world.young.extend(arn(reply).map(|arn| (arn, world.clock.now)));
                }
                *world.made.entry(what.clone()).or_default() += 1;
            }
            answer.map_err(|refusal| refusal.code)
        };
        let failed = |code: &str, status: u16| Refusal {
            code: code.to_owned(),
            fault: aws::of_code(service, name, mutates, on, code, status),
        };
        match self.call(point, PATIENCE, effect).await {
            Reply::Answer(Ok(answer)) => Ok(answer),
            Reply::Answer(Err(code)) => Err(failed(code, 400)),
            Reply::Silence => {
                Err(Refusal { code: String::new(), fault: aws::of_silence(service, name, mutates, on) })
            }
            Reply::Refused(kind) => Err(match kind {
                Kind::Throttled => failed("ThrottlingException", 400),
                Kind::ServerError => failed("InternalFailure", 500),
                Kind::Denied => failed("AccessDeniedFault", 400),
                Kind::Expired => failed("ExpiredTokenException", 403),
                Kind::Conflict => failed("InvalidResourceStateFault", 400),
                Kind::NotFound => failed("ResourceNotFoundFault", 400),
            }),
        }
    }

    /// One call to DMS.
    pub(super) async fn dms(
        &self,
        name: &'static str,
        mutates: bool,
        on: &str,
        call: dms::Call,
    ) -> Result<dms::Reply, Refusal> {
        match self.aws("dms", name, mutates, on, Call::Dms(call)).await? {
            Answer::Dms(reply) => Ok(reply),
            _ => Err(strange(name)),
        }
    }

    /// The tags of a resource of DMS; `None` if it is not there.
    pub(super) async fn tags(&self, arn: &str) -> Result<Option<Vec<(String, String)>>, Fault> {
        let call = dms::Call::ListTagsForResource(dms::ListTagsForResource {
            resource_arn: Some(arn.to_owned()),
            resource_arn_list: Vec::new(),
        });
        match present(self.dms("ListTagsForResource", false, arn, call).await)? {
            Some(dms::Reply::Tags(tags)) => {
                Ok(Some(tags.into_iter().map(|tag| (tag.key, tag.value)).collect()))
            }
            _ => Ok(None),
        }
    }

    /// Whose it is; `None` if it is not there.
    pub(super) async fn owner(&self, ours: &Ownership, arn: &str) -> Result<Option<Owner>, Fault> {
        Ok(self.tags(arn).await?.map(|tags| self.judge(ours, &tags)))
    }

    /// Whose it is by its tags.
    pub(super) fn judge(&self, ours: &Ownership, tags: &[(String, String)]) -> Owner {
        if self.sim.with(|world| world.mutant == Some("no-owner")) { Owner::Us } else { ours.judge(tags) }
    }

    /// Reads the owner anew before a change; false if there is nothing.
    pub(super) async fn prove(&self, ours: &Ownership, operation: &str, arn: &str) -> Result<bool, Fault> {
        if self.sim.with(|world| world.mutant == Some("no-owner")) {
            return Ok(true);
        }
        let Some(tags) = self.tags(arn).await? else { return Ok(false) };
        ours.require(operation, arn, &ours.judge(&tags))?;
        Ok(true)
    }
}

/// An answer of another kind than asked for: a mistake of the simulator.
pub(super) fn strange(name: &str) -> Refusal {
    Refusal { code: String::new(), fault: Fault::Bug(format!("{name}: an answer of another kind")) }
}

fn arn(reply: &dms::Reply) -> Option<String> {
    match reply {
        dms::Reply::Instance(view) => Some(view.replication_instance_arn.clone()),
        dms::Reply::Certificate(view) => Some(view.certificate_arn.clone()),
        dms::Reply::Endpoint(view) => Some(view.endpoint_arn.clone()),
        dms::Reply::Task(view) => Some(view.replication_task_arn.clone()),
        _ => None,
    }
}
