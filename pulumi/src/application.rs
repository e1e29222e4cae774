//! The application in AWS: its images, the service that runs them, and the load balancer in front of both fleets.
//!
//! The service is not made before there is an image (`applicationTag`): the repository comes first, then the image is pushed.

use serde_json::json;

use crate::aws::{ecr, ecs, lb, secretsmanager};
use crate::database::Database;
use crate::keys::Keys;
use crate::names::{ECS_CLUSTER, REPOSITORY, REPOSITORY_LIFECYCLE, SECRET};
use crate::network::Network;
use crate::pulumi::{Fields, Node, Resource};
use crate::scope::{Ground, Scope};
use crate::security::Security;

mod balancer;
mod firewall;
mod service;

/// The application.
pub struct Application {
    /// Its images.
    pub repository: ecr::Repository,
    /// What it runs in.
    pub cluster: ecs::Cluster,
    /// It, once there is an image.
    pub service: Option<ecs::Service>,
    /// In front of it.
    pub balancer: lb::LoadBalancer,
    /// The fleet in AWS.
    pub targets: lb::TargetGroup,
    /// The fleet on-premises.
    pub on_premises: lb::TargetGroup,
    /// Its login to the databases, to be filled by whoever makes the role: `username` and `password`.
    pub login: secretsmanager::Secret,
}

impl Application {
    /// Makes it.
    pub fn new(
        ground: &Ground,
        network: &Network,
        security: &Security,
        database: &Database,
        keys: &Keys,
    ) -> Self {
        let scope = ground.component("application");
        let repository = repository(&scope);
        let cluster = cluster(&scope, keys);
        let login = login(&scope, keys);
        let front = balancer::new(&scope, network, security);
        firewall::new(&scope, &front.balancer, keys);
        let service = scope.config().application.tag.clone().map(|tag| {
            let parts = service::Parts { network, security, database, keys };
            let image = repository.repository_url().map(move |url| format!("{url}:{tag}"));
            service::new(&scope, &parts, &cluster, &image, &login, &front)
        });
        scope.end(Fields::from([
            ("repositoryUrl".to_owned(), Node::from(repository.repository_url())),
            ("loadBalancerArn".to_owned(), front.balancer.arn().into()),
            ("targetGroupArn".to_owned(), front.targets.arn().into()),
        ]));
        let balancer::Front { balancer, targets, on_premises, .. } = front;
        Self { repository, cluster, service, balancer, targets, on_premises, login }
    }
}

/// A tag means one image for ever, and old images go.
fn repository(scope: &Scope) -> ecr::Repository {
    let name = scope.name(&REPOSITORY);
    let encryption = ecr::types::RepositoryEncryptionConfiguration::new().encryption_type("KMS");
    let scanning = ecr::types::RepositoryImageScanningConfiguration::new(
        ecr::types::RepositoryImageScanningConfigurationRequired { scan_on_push: true.into() },
    );
    let args = ecr::RepositoryArgs::new()
        .name(name.as_str())
        .image_tag_mutability("IMMUTABLE")
        .image_scanning_configuration(scanning)
        .encryption_configurations(vec![encryption])
        .force_delete(true)
        .tags(scope.tags(&name));
    let repository = ecr::Repository::new(scope.context(), &name, args, scope.named());
    let policy = json!({ "rules": [{
        "rulePriority": 1,
        "description": "The last 50 images",
        "selection": { "tagStatus": "any", "countType": "imageCountMoreThan", "countNumber": 50 },
        "action": { "type": "expire" },
    }] });
    let required = ecr::LifecyclePolicyRequired {
        policy: policy.to_string().into(),
        repository: repository.name().into(),
    };
    let name = scope.name(&REPOSITORY_LIFECYCLE);
    ecr::LifecyclePolicy::new(
        scope.context(),
        &name,
        ecr::LifecyclePolicyArgs::new(required),
        scope.options(),
    );
    repository
}

fn cluster(scope: &Scope, keys: &Keys) -> ecs::Cluster {
    let name = scope.name(&ECS_CLUSTER);
    let figures = format!("/aws/ecs/containerinsights/{name}/performance");
    let figures: Resource = scope.log_group_as("ecs-figures", &figures, keys).resource().clone();
    let insights = ecs::types::ClusterSetting::new(ecs::types::ClusterSettingRequired {
        name: "containerInsights".into(),
        value: "enabled".into(),
    });
    let args = ecs::ClusterArgs::new().name(name.as_str()).settings(vec![insights]).tags(scope.tags(&name));
    ecs::Cluster::new(scope.context(), &name, args, scope.named().after([&figures]))
}

/// An empty secret. Its value is no business of this program, which therefore can't show it either.
fn login(scope: &Scope, keys: &Keys) -> secretsmanager::Secret {
    let name = scope.part(&SECRET, "application");
    let args = secretsmanager::SecretArgs::new()
        .name(name.as_str())
        .description("The application's login to the databases: username and password")
        .kms_key_id(keys.secrets.arn())
        .recovery_window_in_days(0)
        .tags(scope.tags(&name));
    secretsmanager::Secret::new(scope.context(), &name, args, scope.named())
}
