//! The describing calls.

use super::{Call, Health, Reply, Target};
use crate::world::{Refusal, World};

impl World {
    pub(in crate::world) fn balancer_call(&mut self, call: Call) -> Result<Reply, Refusal> {
        match call {
            Call::DescribeLoadBalancers { arns, names } => {
                let all = &self.balancers.all;
                named(all, &arns, &names, |it| (&it.arn, &it.name), "LoadBalancerNotFound", "Load balancers")
                    .map(Reply::LoadBalancers)
            }
            Call::DescribeTargetGroups { arns, names, balancer_arn } => {
                if let Some(arn) = &balancer_arn
                    && !self.balancers.all.iter().any(|balancer| balancer.arn == *arn)
                {
                    return Err(Refusal::new(
                        "LoadBalancerNotFound",
                        format!("Load balancers '[{arn}]' not found"),
                    ));
                }
                let all = &self.balancers.groups;
                let mut found = named(
                    all,
                    &arns,
                    &names,
                    |it| (&it.arn, &it.name),
                    "TargetGroupNotFound",
                    "Target groups",
                )?;
                found.retain(|group| {
                    balancer_arn.as_ref().is_none_or(|arn| group.balancer_arns.contains(arn))
                });
                Ok(Reply::TargetGroups(found))
            }
            Call::DescribeTargetHealth { group_arn, targets } => self.target_health(&group_arn, &targets),
        }
    }

    fn target_health(&mut self, arn: &str, wanted: &[(String, Option<u16>)]) -> Result<Reply, Refusal> {
        let now = self.now;
        let group = self.balancers.group_mut(arn).ok_or_else(|| {
            Refusal::new("TargetGroupNotFound", format!("Target groups '[{arn}]' not found"))
        })?;
        group.targets.retain(|target| !matches!(target.health, Health::Draining(gone) if gone <= now));
        let is = |target: &Target, (id, port): &(String, Option<u16>)| {
            target.address.to_string() == *id && port.is_none_or(|port| port == target.port)
        };
        if let Some((id, _)) =
            wanted.iter().find(|wanted| !group.targets.iter().any(|target| is(target, wanted)))
        {
            return Err(Refusal::new(
                "InvalidTarget",
                format!("The target '{id}' is not registered with {arn}"),
            ));
        }
        let shown = group
            .targets
            .iter()
            .filter(|target| wanted.is_empty() || wanted.iter().any(|wanted| is(target, wanted)));
        Ok(Reply::TargetHealth(shown.cloned().collect()))
    }
}

/// Those of these ARNs and names, each of which must be there; all without.
fn named<T: Clone>(
    all: &[T],
    arns: &[String],
    names: &[String],
    of: fn(&T) -> (&String, &String),
    code: &'static str,
    what: &str,
) -> Result<Vec<T>, Refusal> {
    let missing: Vec<&String> = arns
        .iter()
        .filter(|arn| !all.iter().any(|it| of(it).0 == *arn))
        .chain(names.iter().filter(|name| !all.iter().any(|it| of(it).1 == *name)))
        .collect();
    if !missing.is_empty() {
        let missing: Vec<&str> = missing.into_iter().map(String::as_str).collect();
        return Err(Refusal::new(code, format!("{what} '[{}]' not found", missing.join(", "))));
    }
    let wanted = |it: &&T| {
        let (arn, name) = of(it);
        (arns.is_empty() && names.is_empty()) || arns.contains(arn) || names.contains(name)
    };
    Ok(all.iter().filter(wanted).cloned().collect())
}
