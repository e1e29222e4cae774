//! STS, in our words: which account the operator's credentials belong to.

use aws_sdk_sts::Client;
use tokio::sync::OnceCell;

use super::call::{Caller, Operation};
use crate::fault::Fault;

const GET_CALLER_IDENTITY: Operation =
    Operation::read("sts", "GetCallerIdentity", "the administrator's map of namespaces");

/// Asks STS who we are.
pub(super) struct Identity {
    client: Client,
    caller: Caller,
    region: String,
    account: OnceCell<Account>,
}

/// What every ARN of an account begins with.
#[derive(Clone, Debug)]
struct Account {
    partition: String,
    id: String,
}

impl Identity {
    pub(super) fn new(client: Client, caller: Caller, region: String) -> Self {
        Self { client, caller, region, account: OnceCell::new() }
    }

    /// The account's id, asked anew each time: credentials can be replaced under a running operator.
    pub(super) async fn account_id(&self) -> Result<String, Fault> {
        Ok(self.ask().await?.id)
    }

    /// The ARN of a subnet group: the only one that Slipway writes itself, since no describe call shows it and its tags
    /// can't be read without it (hashicorp/terraform-provider-aws, `internal/service/dms/replication_subnet_group.go`, does the same).
    pub(super) async fn subnet_group_arn(&self, identifier: &str) -> Result<String, Fault> {
        let Account { partition, id } = self.account.get_or_try_init(|| self.ask()).await?;
        Ok(format!("arn:{partition}:dms:{}:{id}:subgrp:{identifier}", self.region))
    }

    async fn ask(&self) -> Result<Account, Fault> {
        let request = self.client.get_caller_identity().send();
        let reply = self.caller.call(GET_CALLER_IDENTITY, "the operator's credentials", request).await?;
        let partition = reply.arn().and_then(|arn| arn.split(':').nth(1)).unwrap_or("aws").to_owned();
        let id = reply.account().unwrap_or_default().to_owned();
        if id.is_empty() {
            return Err(Fault::Again(
                "GetCallerIdentity: the answer names no account; it is tried again".into(),
            ));
        }
        Ok(Account { partition, id })
    }
}
