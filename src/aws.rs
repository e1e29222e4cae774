//! AWS, in our words: one file per service, and the only place that names the SDK's types.
//!
//! Every call that changes something takes a [`Permit`](crate::permit::Permit). No call is retried here: a failed call
//! becomes a [`Fault`], and the next reconcile observes before it tries again. So a lost reply can't be re-sent by
//! anybody who does not know what it did.

use std::sync::Arc;
use std::time::Duration;

use aws_config::retry::RetryConfig;
use aws_config::sts::AssumeRoleProvider;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::provider::SharedCredentialsProvider;

use crate::fault::Fault;

pub mod balancer;
mod call;
pub mod cloudwatch;
pub mod dms;
pub mod ecs;
mod fault;
mod identity;
pub mod inventory;
mod limit;
mod owner;
pub mod rds;
#[cfg(test)]
pub(crate) mod responder;
pub mod route53;
pub mod secrets;

pub use call::CallObserver;
pub use fault::{of_code, of_silence};
pub use owner::{Ownership, RESOURCE_TAG, SECRET_VERSION_TAG, UID_TAG};

use call::Caller;
use identity::Identity;
use limit::Limit;

/// Log directives that must always hold: below these levels the SDK logs whole requests, passwords included.
pub const QUIET: [&str; 4] =
    ["aws_smithy_runtime=info", "aws_runtime=info", "aws_config=info", "aws_smithy_http_client=info"];

/// Where the resources of a namespace are: from the administrator's map, never from a resource.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Account {
    /// The account that the credentials must belong to, if the administrator says so.
    pub account_id: Option<String>,
    /// The region.
    pub region: String,
    /// The role to assume; the operator's own identity acts if there is none.
    pub role_arn: Option<String>,
    /// What the role's trust policy asks for.
    pub external_id: Option<String>,
}

/// The services of one account in one region; Route 53 has no regions.
pub struct Aws {
    /// Database Migration Service.
    pub dms: dms::Dms,
    /// Relational Database Service.
    pub rds: rds::Rds,
    /// Metrics and alarms.
    pub cloudwatch: cloudwatch::CloudWatch,
    /// Secrets Manager.
    pub secrets: secrets::Secrets,
    /// Records of hosted zones.
    pub route53: route53::Route53,
    /// The same, of those by which applications find the writer.
    pub connections: route53::Route53,
    /// Load balancers and their targets.
    pub balancers: balancer::Balancers,
    /// ECS.
    pub ecs: ecs::Ecs,
    identity: Arc<Identity>,
}

impl Aws {
    /// Makes the clients. Nothing is sent yet, but the machine's own credentials may be looked for. `AWS_ENDPOINT_URL_*`
    /// is heeded.
    pub async fn connect(account: &Account, observer: Arc<dyn CallObserver>) -> Self {
        let timeouts = TimeoutConfig::builder()
            .connect_timeout(Duration::from_secs(3))
            .operation_attempt_timeout(Duration::from_secs(15))
            .operation_timeout(Duration::from_secs(20))
            .build();
        let config = aws_config::defaults(BehaviorVersion::latest())
            .region(Region::new(account.region.clone()))
            .retry_config(RetryConfig::disabled())
            .timeout_config(timeouts);
        let config = Box::pin(config.load()).await;
        let route53 = limit::of_route53(account);
        let Some(role) = &account.role_arn else { return Self::new(&config, &observer, route53) };
        let mut provider = AssumeRoleProvider::builder(role).session_name("slipway").configure(&config);
        if let Some(external_id) = &account.external_id {
            provider = provider.external_id(external_id);
        }
        let provider = SharedCredentialsProvider::new(Box::pin(provider.build()).await);
        Self::new(&config.into_builder().credentials_provider(provider).build(), &observer, route53)
    }

    /// Limits: DMS allows an account 200 calls and 8 more each second in all (AWS DMS user guide, quotas; its other figure
    /// is half of that), and half is left to others. The rest are far below what AWS allows.
    fn new(config: &SdkConfig, observer: &Arc<dyn CallObserver>, route53: Arc<Limit>) -> Self {
        let caller =
            |burst, per_second| Caller::new(Arc::new(Limit::new(burst, per_second)), Arc::clone(observer));
        let region = config.region().map(ToString::to_string).unwrap_or_default();
        let route53 = route53::Route53::new(config, Caller::new(route53, Arc::clone(observer)));
        let identity = Arc::new(Identity::new(aws_sdk_sts::Client::new(config), caller(20, 2), region));
        Self {
            dms: dms::Dms::new(
                aws_sdk_databasemigration::Client::new(config),
                caller(100, 4),
                Arc::clone(&identity),
            ),
            rds: rds::Rds::new(aws_sdk_rds::Client::new(config), caller(20, 2)),
            secrets: secrets::Secrets::new(aws_sdk_secretsmanager::Client::new(config), caller(20, 2)),
            cloudwatch: cloudwatch::CloudWatch::new(aws_sdk_cloudwatch::Client::new(config), caller(20, 2)),
            connections: route53.of_connections(),
            route53,
            balancers: balancer::Balancers::new(
                aws_sdk_elasticloadbalancingv2::Client::new(config),
                caller(20, 2),
            ),
            ecs: ecs::Ecs::new(aws_sdk_ecs::Client::new(config), caller(20, 2)),
            identity,
        }
    }

    /// The id of the account that the credentials belong to, asked anew each time.
    pub async fn identity(&self) -> Result<String, Fault> {
        self.identity.account_id().await
    }
}
