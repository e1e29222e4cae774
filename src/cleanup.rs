//! What an operator left in AWS, told by names and tags alone: for when there is no cluster to ask any more.
//!
//! Something belongs to the environment if it is called what the operator calls things of its kind for the migration that
//! its tags name, with the suffix that was asked for. The tags alone do not say the suffix, and a name alone not who
//! chose it.

use crate::application::goal as application;
use crate::aws::Aws;
use crate::aws::Ownership;
use crate::aws::inventory::{Kind, Thing};
use crate::database::goal as database;
use crate::fault::Fault;

pub mod remove;
pub mod tell;
#[cfg(test)]
mod tests;

/// What is looked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scope {
    /// `spec.environmentSuffix`.
    pub suffix: String,
    /// One migration, as `namespace/name`; every one if `None`.
    pub resource: Option<String>,
}

/// Something of ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ours {
    /// What it is.
    pub thing: Thing,
    /// Whom it was made for.
    pub owner: Ownership,
    /// What uses it and is not to be removed, as "task x": AWS lets it not be deleted then.
    pub used_by: Option<String>,
}

/// Something that is left alone, although its name or its suffix is like ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Left {
    /// What it is.
    pub thing: Thing,
    /// Why.
    pub why: Why,
}

/// Why something is left alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Why {
    /// The suffix is the one, and Slipway calls nothing so.
    Name,
    /// It is called as by Slipway, with another suffix.
    Suffix,
    /// It has no tag of Slipway's.
    NoTag,
    /// By its tags it was made for a migration that calls it otherwise: one whose suffix only ends like this one.
    Tag(Ownership),
    /// It was made for another migration than the one asked for.
    Resource(Ownership),
}

/// What is there.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Look {
    /// Ours, in the order in which it would go.
    pub ours: Vec<Ours>,
    /// What is left alone.
    pub left: Vec<Left>,
    /// How many more there are of the same kinds, nothing of which is like ours.
    pub others: usize,
}

impl Look {
    /// What can be removed, of one kind.
    pub fn removable(&self, kind: Kind) -> impl Iterator<Item = &Ours> {
        self.ours.iter().filter(move |ours| ours.thing.kind == kind && ours.used_by.is_none())
    }
}

/// Looks at everything of the kinds that the operator makes. Tags are read only of what is called like ours, since AWS
/// lets an account read them a few times a second.
pub async fn look(aws: &Aws, scope: &Scope) -> Result<Look, Fault> {
    let mut look = Look::default();
    let mut all = Vec::new();
    for kind in Kind::ALL {
        for thing in aws.things(kind).await? {
            all.push(thing.clone());
            match scope.by_name(&thing) {
                ByName::Like => {
                    let Some(tags) = aws.tags(&thing).await? else { continue };
                    match scope.by_tags(&thing, Ownership::said(&tags)) {
                        Ok(owner) => look.ours.push(Ours { thing, owner, used_by: None }),
                        Err(why) => look.left.push(Left { thing, why }),
                    }
                }
                ByName::Left(why) => look.left.push(Left { thing, why }),
                ByName::Other => look.others += 1,
            }
        }
    }
    hold(&mut look.ours, &all);
    Ok(look)
}

/// What can be told by the name.
#[derive(Debug, PartialEq, Eq)]
enum ByName {
    /// It may be ours.
    Like,
    Left(Why),
    /// Nothing of it is like ours.
    Other,
}

impl Scope {
    fn by_name(&self, thing: &Thing) -> ByName {
        let suffixed = thing.identifier.strip_suffix(&self.suffix).is_some_and(|head| head.ends_with('-'));
        let heads = database::heads(thing.kind).iter().chain(application::heads(thing.kind));
        let headed = heads.into_iter().any(|head| thing.identifier.starts_with(head));
        match (headed, suffixed) {
            (true, true) => ByName::Like,
            (true, false) => ByName::Left(Why::Suffix),
            (false, true) => ByName::Left(Why::Name),
            (false, false) => ByName::Other,
        }
    }

    fn by_tags(&self, thing: &Thing, owner: Option<Ownership>) -> Result<Ownership, Why> {
        let owner = owner.ok_or(Why::NoTag)?;
        let name = owner.resource.split_once('/').map_or("", |(_, name)| name);
        // The names of the two kinds of migration never meet: the type at the beginning is another.
        let ours = database::Names::new(name, &self.suffix).has(thing.kind, &thing.identifier)
            || application::Names::new(name, &self.suffix).has(thing.kind, &thing.identifier);
        if !database::is_identifier(name) || !ours {
            return Err(Why::Tag(owner));
        }
        match &self.resource {
            Some(resource) if *resource != owner.resource => Err(Why::Resource(owner)),
            Some(_) | None => Ok(owner),
        }
    }
}

/// Finds what is used by something that stays. What uses comes before what is used, so one pass finds chains too.
fn hold(ours: &mut [Ours], all: &[Thing]) {
    for at in 0..ours.len() {
        let arn = &ours[at].thing.arn;
        let goes = |user: &Thing| ours.iter().any(|o| o.thing.arn == user.arn && o.used_by.is_none());
        let user = all.iter().find(|user| user.uses.contains(arn) && !goes(user));
        ours[at].used_by = user.map(|user| format!("{} {}", user.kind.as_str(), user.identifier));
    }
}
