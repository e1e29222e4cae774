//! What a component is given: the run, the configuration, its own name, and the tags of all that it makes.

use std::collections::BTreeMap;

use serde_json::json;

use crate::aws::{cloudwatch, iam};
use crate::config::Config;
use crate::keys::Keys;
use crate::names::{COMPONENT, Kind, LOG_GROUP, ROLE, ROLE_POLICY, ROLE_POLICY_ATTACHMENT};
use crate::pulumi::{Context, Fields, Options, Output, Resource};

/// What is the same for all components.
pub struct Ground<'a> {
    /// The run.
    pub context: &'a Context,
    /// The checked configuration.
    pub config: &'a Config,
    /// The provider, with our region.
    pub provider: Resource,
    /// The account.
    pub account: Output<String>,
}

impl<'a> Ground<'a> {
    /// Begins a component, such as `network`.
    pub fn component(&'a self, word: &'static str) -> Scope<'a> {
        let options = Options { provider: Some(self.provider.clone()), ..Options::default() };
        let name = COMPONENT.part(word, &self.config.suffix);
        let component = self.context.component(&format!("slipway:infra:{word}"), &name, options);
        Scope { ground: self, word, component }
    }
}

/// One component.
pub struct Scope<'a> {
    ground: &'a Ground<'a>,
    word: &'static str,
    component: Resource,
}

impl Scope<'_> {
    /// The run.
    pub fn context(&self) -> &Context {
        self.ground.context
    }

    /// The checked configuration.
    pub fn config(&self) -> &Config {
        self.ground.config
    }

    /// The account.
    pub fn account(&self) -> &Output<String> {
        &self.ground.account
    }

    /// A name with nothing between: `vpc-dev`.
    pub fn name(&self, kind: &Kind) -> String {
        kind.name(&self.ground.config.suffix)
    }

    /// A name with a part between: `subnet-private-a-dev`.
    pub fn part(&self, kind: &Kind, part: &str) -> String {
        kind.part(part, &self.ground.config.suffix)
    }

    /// The tags of what has this name. By the second one an environment can be found without Pulumi.
    pub fn tags(&self, name: &str) -> BTreeMap<String, String> {
        BTreeMap::from([
            ("Name".to_owned(), name.to_owned()),
            ("slipway.dev/environment".to_owned(), self.ground.config.suffix.clone()),
            ("slipway.dev/component".to_owned(), self.word.to_owned()),
        ])
    }

    /// Options of what belongs to the component.
    pub fn options(&self) -> Options {
        Options { parent: Some(self.component.clone()), ..Options::default() }
    }

    /// Options of what has a name that AWS allows once: the old one goes before the new one comes.
    pub fn named(&self) -> Options {
        self.options().rules(|it| it.delete_before_replace = true)
    }

    /// A role that only `service` takes on, and only for this account.
    pub fn service_role(&self, part: &str, service: &str) -> iam::Role {
        let (name, service) = (self.part(&ROLE, part), service.to_owned());
        let trust = self.account().map(move |account| {
            json!({ "Version": "2012-10-17", "Statement": [{
                "Effect": "Allow",
                "Principal": { "Service": service },
                "Action": "sts:AssumeRole",
                "Condition": { "StringEquals": { "aws:SourceAccount": account } },
            }] })
            .to_string()
        });
        let args = iam::RoleArgs::new(iam::RoleRequired { assume_role_policy: trust.into() })
            .name(name.as_str())
            .force_detach_policies(true)
            .tags(self.tags(&name));
        iam::Role::new(self.context(), &name, args, self.named())
    }

    /// What a role may do.
    pub fn rights(&self, part: &str, role: &iam::Role, policy: Output<String>) -> iam::RolePolicy {
        let name = self.part(&ROLE_POLICY, part);
        let required = iam::RolePolicyRequired { policy: policy.into(), role: role.id().into() };
        let args = iam::RolePolicyArgs::new(required).name(name.as_str());
        iam::RolePolicy::new(self.context(), &name, args, self.named())
    }

    /// Gives a role a policy of AWS's own.
    pub fn attach(
        &self,
        part: &str,
        role: &iam::Role,
        policy: &str,
        options: Options,
    ) -> iam::RolePolicyAttachment {
        let args = iam::RolePolicyAttachmentArgs::new(iam::RolePolicyAttachmentRequired {
            policy_arn: format!("arn:aws:iam::aws:policy/{policy}").into(),
            role: role.name().into(),
        });
        iam::RolePolicyAttachment::new(
            self.context(),
            &self.part(&ROLE_POLICY_ATTACHMENT, part),
            args,
            options,
        )
    }

    /// An encrypted log group that goes with the environment.
    pub fn log_group(&self, part: &str, keys: &Keys) -> cloudwatch::LogGroup {
        self.log_group_as(part, &self.part(&LOG_GROUP, part), keys)
    }

    /// The same, by a name that AWS dictates. What writes to it makes it by itself, kept for ever and with AWS's key, if it is
    /// not there before.
    pub fn log_group_as(&self, part: &str, name: &str, keys: &Keys) -> cloudwatch::LogGroup {
        let args = cloudwatch::LogGroupArgs::new()
            .name(name)
            .retention_in_days(i64::from(self.config().log_days))
            .kms_key_id(keys.logs.arn())
            .tags(self.tags(name));
        cloudwatch::LogGroup::new(self.context(), &self.part(&LOG_GROUP, part), args, self.named())
    }

    /// Ends the component.
    pub fn end(self, outputs: Fields) {
        self.ground.context.outputs(&self.component, outputs);
    }
}
