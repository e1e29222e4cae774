//! The whole environment: what is made, in the order in which it is understood.

use crate::account_roles::{self, AccountRoles};
use crate::application::Application;
use crate::aws::{self, index};
use crate::config::Config;
use crate::control::Control;
use crate::database::Database;
use crate::keys::Keys;
use crate::manifests::{self, Made};
use crate::migration::Migration;
use crate::names::PROVIDER;
use crate::network::{Network, ids};
use crate::observability::{Observability, Watched};
use crate::pulumi::{Context, Options};
use crate::scope::Ground;
use crate::security::Security;
use crate::traffic::Traffic;

/// Registers everything. Nothing is waited for but what decides what there is to register: which of the account's roles are
/// there. What is needed first comes from what is given to what.
pub async fn build(context: &Context, config: &Config) {
    let provider =
        aws::provider(context, &PROVIDER.name(&config.suffix), &config.region, config.account.as_deref());
    let options = Options { provider: Some(provider.clone()), ..Options::default() };
    let account =
        index::get_caller_identity(context, index::GetCallerIdentityArgs::new(), &options).account_id();
    let mut wanted: Vec<&str> = account_roles::DMS.iter().map(|it| it.name).collect();
    if config.migration.servers {
        wanted.extend(account_roles::MGN.iter().map(|it| it.name).chain([account_roles::MGN_LINKED]));
    }
    let roles = AccountRoles::find(context, &options, &config.suffix, &wanted).await;
    let ground = Ground { context, config, provider, account };

    let keys = Keys::new(&ground);
    let network = Network::new(&ground, &keys);
    let security = Security::new(&ground, &network.vpc.id());
    let database = Database::new(&ground, &network, &security, &keys);
    let migration = Migration::new(&ground, &network, &security, &keys, &roles);
    let application = Application::new(&ground, &network, &security, &database, &keys);
    let traffic = Traffic::new(&ground, &network, &application);
    let control = Control::new(&ground, &network, &security, &keys);
    let watched = Watched {
        database: &database,
        migration: &migration,
        application: &application,
        control: &control,
        vpn: network.vpn(),
    };
    let observability = Observability::new(&ground, &watched, &keys);
    let made = Made {
        database: &database,
        migration: &migration,
        application: &application,
        traffic: &traffic,
        observability: &observability,
    };
    manifests::export(context, config, &ground.account, &made);

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
    context.export("replicationInstanceArn", migration.instance.replication_instance_arn());
    context.export("dmsSecretsRoleArn", migration.secrets_role.arn());
    context.export("repositoryUrl", application.repository.repository_url());
    context.export("loadBalancerArn", application.balancer.arn());
    context.export("loadBalancerName", application.balancer.dns_name());
    context.export("targetGroupArns", vec![application.targets.arn(), application.on_premises.arn()]);
    context.export("applicationSecretArn", application.login.arn());
    context.export("ecsClusterName", application.cluster.name());
    context.export("publicZoneId", traffic.public.zone_id());
    context.export("publicNameServers", traffic.public.name_servers());
    context.export("privateZoneId", traffic.private.zone_id());
    context.export("clusterName", control.cluster.name());
    context.export("operatorRoleArn", control.operator.arn());
    context.export("alertTopicArn", observability.topic.arn());
    if let Some(told) = migration.servers {
        context.export("mgnReplicationTemplate", told);
    }
    network.finish(&security);
}
