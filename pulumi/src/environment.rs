//! The whole environment: what is made, in the order in which it is understood.

use crate::aws::{self, index};
use crate::config::Config;
use crate::database::Database;
use crate::keys::Keys;
use crate::names::PROVIDER;
use crate::network::{Network, ids};
use crate::pulumi::{Context, Options};
use crate::scope::Ground;
use crate::security::Security;

/// Registers everything. Nothing is waited for: what is needed first comes from what is given to what.
pub fn build(context: &Context, config: &Config) {
    let provider =
        aws::provider(context, &PROVIDER.name(&config.suffix), &config.region, config.account.as_deref());
    let options = Options { provider: Some(provider.clone()), ..Options::default() };
    let account =
        index::get_caller_identity(context, index::GetCallerIdentityArgs::new(), &options).account_id();
    let ground = Ground { context, config, provider, account };

    let keys = Keys::new(&ground);
    let network = Network::new(&ground, &keys);
    let security = Security::new(&ground, &network.vpc.id());
    let database = Database::new(&ground, &network, &security, &keys);

    context.export("region", config.region.as_str());
    context.export("vpcId", network.vpc.id());
    context.export("publicSubnetIds", ids(&network.public));
    context.export("privateSubnetIds", ids(&network.private));
    context.export("securityGroupIds", security.ids());
    context.export("databaseIdentifier", database.instance.identifier());
    context.export("databaseAddress", database.instance.address());
    context.export("databaseName", config.database.name.as_str());
    context.export("databaseMasterSecretArn", database.master_secret.arn());
    context.export("databaseKeyArn", keys.database.arn());
    context.export("logsKeyArn", keys.logs.arn());
    context.export("secretsKeyArn", keys.secrets.arn());
    network.finish(&security);
}
