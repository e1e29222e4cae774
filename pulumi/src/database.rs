//! The database: RDS for PostgreSQL, private, encrypted, ready to be replicated from and to from its first day.

use serde_json::json;

use crate::aws::{cloudwatch, ec2, iam, rds, secretsmanager};
use crate::flows::{POSTGRES, Party};
use crate::keys::Keys;
use crate::names::{DB_INSTANCE, DB_PARAMETER_GROUP, DB_SUBNET_GROUP, SECRET, SECRET_VERSION};
use crate::network::{Network, ids};
use crate::pulumi::{Fields, Node, Output, Resource, Timeouts};
use crate::scope::{Ground, Scope};
use crate::security::Security;

/// The master user. `roles-target.sql` is run as it; nothing else is.
pub const MASTER: &str = "database_master";
/// The logs that RDS hands to CloudWatch.
const LOGS: [&str; 2] = ["postgresql", "upgrade"];

/// Parameters that differ from RDS's own: name, value, does it need a restart. All hold from the instance's first start.
pub const PARAMETERS: [(&str, &str, bool); 10] = [
    // A connection without TLS is refused.
    ("rds.force_ssl", "1", false),
    ("ssl_min_protocol_version", "TLSv1.2", false),
    // The way back reads this server's log; turning it on later would take a restart.
    ("rds.logical_replication", "1", true),
    // A failover must not wait longer for a replication client that is gone.
    ("wal_sender_timeout", "30000", false),
    // Changes are recorded: schema changes by PostgreSQL, roles' and grants' by pgaudit.
    ("shared_preload_libraries", "pg_stat_statements,pgaudit", true),
    ("pgaudit.log", "ddl,role", false),
    ("log_statement", "ddl", false),
    ("log_min_duration_statement", "1000", false),
    ("log_connections", "1", false),
    ("log_disconnections", "1", false),
];

/// The database.
pub struct Database {
    /// The instance.
    pub instance: rds::Instance,
    /// The master user's secret: `username` and `password`.
    pub master_secret: secretsmanager::Secret,
}

impl Database {
    /// Makes it.
    pub fn new(ground: &Ground, network: &Network, security: &Security, keys: &Keys) -> Self {
        let scope = ground.component("database");
        let (master_secret, password) = master(&scope, keys);
        let subnets = subnet_group(&scope, network);
        let parameters = parameter_group(&scope);
        let mut first: Vec<Resource> =
            log_groups(&scope, keys).iter().map(|it| it.resource().clone()).collect();
        let monitoring = monitoring_role(&scope);
        first.extend(monitoring.iter().map(|(_, rights)| rights.resource().clone()));

        let config = &scope.config().database;
        let name = scope.name(&DB_INSTANCE);
        let required = rds::InstanceRequired { instance_class: config.class.as_str().into() };
        let mut args = rds::InstanceArgs::new(required)
            .identifier(name.as_str())
            .engine("postgres")
            .engine_version(config.version.as_str())
            .db_name(config.name.as_str())
            .username(MASTER)
            .password(password)
            .port(i64::from(POSTGRES))
            .iam_database_authentication_enabled(true)
            .allocated_storage(i64::from(config.storage_gib))
            .max_allocated_storage(i64::from(config.max_storage_gib))
            .storage_type(rds::types::StorageType::Gp3)
            .storage_encrypted(true)
            .kms_key_id(keys.database.arn())
            .multi_az(config.multi_az)
            .publicly_accessible(false)
            .db_subnet_group_name(subnets.name())
            .vpc_security_group_ids(
                security.group(Party::Database).map(ec2::SecurityGroup::id).into_iter().collect::<Vec<_>>(),
            )
            .parameter_group_name(parameters.name())
            .ca_cert_identifier("rds-ca-rsa2048-g1")
            .backup_retention_period(i64::from(config.backup_days))
            .backup_window("02:00-03:00")
            .maintenance_window("sun:03:30-sun:04:30")
            .copy_tags_to_snapshot(true)
            .auto_minor_version_upgrade(true)
            .allow_major_version_upgrade(false)
            .enabled_cloudwatch_logs_exports(LOGS.map(str::to_owned).to_vec())
            .performance_insights_enabled(true)
            .performance_insights_kms_key_id(keys.database.arn())
            .performance_insights_retention_period(7)
            .monitoring_interval(i64::from(config.monitoring_seconds))
            // An environment goes as a whole, backups too, and nothing of it stays.
            .deletion_protection(false)
            .skip_final_snapshot(true)
            .delete_automated_backups(true)
            .tags(scope.tags(&name));
        if let Some((role, _)) = &monitoring {
            args = args.monitoring_role_arn(role.arn());
        }
        let slow = || "90m".to_owned(); // Multi-AZ and a large storage take their time
        let options = scope
            .named()
            .after(&first)
            .rules(|it| it.timeouts = Timeouts { create: slow(), update: slow(), delete: slow() });
        let instance = rds::Instance::new(scope.context(), &name, args, options);
        scope.end(Fields::from([
            ("identifier".to_owned(), Node::from(instance.identifier())),
            ("address".to_owned(), instance.address().into()),
            ("masterSecretArn".to_owned(), master_secret.arn().into()),
        ]));
        Self { instance, master_secret }
    }
}

/// The master user's secret and its password.
///
/// The password is made anew in each run, and the secret's version ignores all but the first. The instance takes it from the
/// version, not from where it was made: if a run breaks between the two, the next still gives both the same.
fn master(scope: &Scope, keys: &Keys) -> (secretsmanager::Secret, Output<String>) {
    let part = "database-master";
    let name = scope.part(&SECRET, part);
    let args = secretsmanager::SecretArgs::new()
        .name(name.as_str())
        .description("The database's master user: username and password")
        .kms_key_id(keys.secrets.arn())
        .recovery_window_in_days(0)
        .tags(scope.tags(&name));
    let secret = secretsmanager::Secret::new(scope.context(), &name, args, scope.named());
    let args = secretsmanager::GetRandomPasswordArgs::new().password_length(40).exclude_punctuation(true);
    let made = secretsmanager::get_random_password(scope.context(), args, &scope.options())
        .random_password()
        .secret();
    let text = made.map(|password| json!({ "username": MASTER, "password": password }).to_string());
    let required = secretsmanager::SecretVersionRequired { secret_id: secret.id().into() };
    let args = secretsmanager::SecretVersionArgs::new(required).secret_string(text);
    let options = scope.options().rules(|it| it.ignore_changes = vec!["secretString".to_owned()]);
    let version = secretsmanager::SecretVersion::new(
        scope.context(),
        &scope.part(&SECRET_VERSION, part),
        args,
        options,
    );
    let password = version.secret_string().try_map(move |text: String| {
        let parsed = serde_json::from_str::<serde_json::Value>(&text).ok();
        let password = parsed.as_ref().and_then(|it| it["password"].as_str()).map(str::to_owned);
        password.ok_or_else(|| {
            format!("{name} holds no JSON with a password: put one with username and password there")
        })
    });
    (secret, password)
}

fn subnet_group(scope: &Scope, network: &Network) -> rds::SubnetGroup {
    let name = scope.name(&DB_SUBNET_GROUP);
    let args =
        rds::SubnetGroupArgs::new(rds::SubnetGroupRequired { subnet_ids: ids(&network.private).into() })
            .name(name.as_str())
            .description("The private subnets")
            .tags(scope.tags(&name));
    rds::SubnetGroup::new(scope.context(), &name, args, scope.named())
}

/// The version is in the name: an upgrade needs a new group while the old one is in use.
fn parameter_group(scope: &Scope) -> rds::ParameterGroup {
    let major = scope.config().database.major.to_string();
    let name = scope.part(&DB_PARAMETER_GROUP, &major);
    let parameters: Vec<_> = PARAMETERS
        .iter()
        .map(|&(name, value, restart)| {
            let required =
                rds::types::ParameterGroupParameterRequired { name: name.into(), value: value.into() };
            rds::types::ParameterGroupParameter::new(required).apply_method(if restart {
                "pending-reboot"
            } else {
                "immediate"
            })
        })
        .collect();
    let args = rds::ParameterGroupArgs::new(rds::ParameterGroupRequired {
        family: format!("postgres{major}").into(),
    })
    .name(name.as_str())
    .description("Replication from the first day, TLS only, changes recorded")
    .parameters(parameters)
    .tags(scope.tags(&name));
    rds::ParameterGroup::new(scope.context(), &name, args, scope.named())
}

/// They are there before the instance.
fn log_groups(scope: &Scope, keys: &Keys) -> Vec<cloudwatch::LogGroup> {
    LOGS.iter()
        .map(|log| {
            let name = format!("/aws/rds/instance/{}/{log}", scope.name(&DB_INSTANCE));
            scope.log_group_as(&format!("db-{log}"), &name, keys)
        })
        .collect()
}

/// What RDS uses to hand over the operating system's figures, if it is to.
fn monitoring_role(scope: &Scope) -> Option<(iam::Role, iam::RolePolicyAttachment)> {
    if scope.config().database.monitoring_seconds == 0 {
        return None;
    }
    let role = scope.service_role("db-monitoring", "monitoring.rds.amazonaws.com");
    let policy = "service-role/AmazonRDSEnhancedMonitoringRole";
    let rights = scope.attach("db-monitoring", &role, policy, scope.options());
    Some((role, rights))
}
