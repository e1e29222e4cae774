//! The Java API on Fargate: its task, the two roles, the service, and how many there are of it.

use serde_json::json;

use super::balancer::Front;
use crate::aws::{appautoscaling, ec2, ecs, iam, secretsmanager};
use crate::database::Database;
use crate::flows::{POSTGRES, Party};
use crate::keys::Keys;
use crate::names::{ECS_SERVICE, SCALING_POLICY, SCALING_TARGET, TASK_DEFINITION};
use crate::network::{Network, ids};
use crate::pulumi::Output;
use crate::scope::Scope;
use crate::security::Security;

pub(super) struct Parts<'a> {
    pub(super) network: &'a Network<'a>,
    pub(super) security: &'a Security,
    pub(super) database: &'a Database,
    pub(super) keys: &'a Keys,
}

/// The container's name, which the load balancer and the logs have too.
const CONTAINER: &str = "application";
/// Of a CPU, in 1024ths, and MiB.
const SIZE: (&str, &str) = ("1024", "2048");

pub(super) fn new(
    scope: &Scope,
    parts: &Parts,
    cluster: &ecs::Cluster,
    image: &Output<String>,
    login: &secretsmanager::Secret,
    front: &Front,
) -> ecs::Service {
    let task = task(scope, parts, image, login);
    let name = scope.name(&ECS_SERVICE);
    let groups: Vec<Output<String>> =
        parts.security.group(Party::Application).map(ec2::SecurityGroup::id).into_iter().collect();
    let network =
        ecs::types::ServiceNetworkConfiguration::new(ecs::types::ServiceNetworkConfigurationRequired {
            subnets: ids(&parts.network.private).into(),
        })
        .security_groups(groups)
        .assign_public_ip(false);
    let balanced = ecs::types::ServiceLoadBalancer::new(ecs::types::ServiceLoadBalancerRequired {
        container_name: CONTAINER.into(),
        container_port: i64::from(scope.config().application_port).into(),
    })
    .target_group_arn(front.targets.arn());
    let breaker = ecs::types::ServiceDeploymentCircuitBreaker::new(
        ecs::types::ServiceDeploymentCircuitBreakerRequired { enable: true.into(), rollback: true.into() },
    );
    let tasks = i64::from(scope.config().application.tasks);
    let args = ecs::ServiceArgs::new()
        .name(name.as_str())
        .cluster(cluster.arn())
        .task_definition(task.arn())
        .desired_count(tasks)
        .launch_type("FARGATE")
        .platform_version("LATEST")
        .network_configuration(network)
        .load_balancers(vec![balanced])
        .health_check_grace_period_seconds(60)
        .deployment_circuit_breaker(breaker)
        .deployment_minimum_healthy_percent(100)
        .deployment_maximum_percent(200)
        .enable_execute_command(false)
        .propagate_tags("SERVICE")
        .force_delete(true)
        .tags(scope.tags(&name));
    // A group that no listener has is refused. How many tasks there are is for the scaling to say.
    let options = scope
        .named()
        .after([front.listener.resource()])
        .rules(|it| it.ignore_changes = vec!["desiredCount".to_owned()]);
    let service = ecs::Service::new(scope.context(), &name, args, options);
    scale(scope, cluster, &service);
    service
}

fn task(
    scope: &Scope,
    parts: &Parts,
    image: &Output<String>,
    login: &secretsmanager::Secret,
) -> ecs::TaskDefinition {
    let config = scope.config();
    let logs = scope.log_group("application", parts.keys);
    let (region, port, name) = (config.region.clone(), config.application_port, config.database.name.clone());
    let source = config.source_host();
    let database = parts.database.instance.address();
    let container = image.zip(&login.arn()).zip(&database.zip(&logs.name())).map(
        move |((image, login), (database, logs)): ((String, String), (String, String))| {
            // Both hosts, as pgJDBC takes them; it goes to the one that lets it write.
            let url = format!(
                "jdbc:postgresql://{source}:{POSTGRES},{database}:{POSTGRES}/{name}?targetServerType=primary&sslmode=verify-full"
            );
            json!([{
                "name": CONTAINER,
                "image": image,
                "essential": true,
                "readonlyRootFilesystem": true,
                "user": "10001",
                "portMappings": [{ "containerPort": port, "protocol": "tcp" }],
                "environment": [{ "name": "DATABASE_URL", "value": url }],
                "secrets": [
                    { "name": "DATABASE_USERNAME", "valueFrom": format!("{login}:username::") },
                    { "name": "DATABASE_PASSWORD", "valueFrom": format!("{login}:password::") },
                ],
                "linuxParameters": { "initProcessEnabled": true },
                "logConfiguration": { "logDriver": "awslogs", "options": {
                    "awslogs-group": logs, "awslogs-region": region, "awslogs-stream-prefix": CONTAINER,
                } },
            }])
            .to_string()
        },
    );
    let starts = starting_role(scope, login, &logs.arn(), parts.keys);
    // What the application itself may do at AWS: nothing, until it needs something.
    let runs = scope.service_role("application", "ecs-tasks.amazonaws.com");
    let name = scope.name(&TASK_DEFINITION);
    let required =
        ecs::TaskDefinitionRequired { container_definitions: container.into(), family: name.as_str().into() };
    let args = ecs::TaskDefinitionArgs::new(required)
        .cpu(SIZE.0)
        .memory(SIZE.1)
        .network_mode("awsvpc")
        .requires_compatibilities(vec!["FARGATE".to_owned()])
        .execution_role_arn(starts.0.arn())
        .task_role_arn(runs.arn())
        .skip_destroy(false)
        .tags(scope.tags(&name));
    ecs::TaskDefinition::new(scope.context(), &name, args, scope.options().after([starts.1.resource()]))
}

/// By which ECS starts a task: fetch this image, read this login, write this log.
fn starting_role(
    scope: &Scope,
    login: &secretsmanager::Secret,
    logs: &Output<String>,
    keys: &Keys,
) -> (iam::Role, iam::RolePolicy) {
    let part = "ecs-execution";
    let role = scope.service_role(part, "ecs-tasks.amazonaws.com");
    let (region, repository) = (scope.config().region.clone(), scope.name(&crate::names::REPOSITORY));
    let inputs = login.arn().zip(logs).zip(&keys.secrets.arn().zip(scope.account()));
    let policy = inputs.map(move |((login, logs), (key, account)): ((String, String), (String, String))| {
        json!({ "Version": "2012-10-17", "Statement": [
            // AWS knows no narrower one for this.
            { "Effect": "Allow", "Action": "ecr:GetAuthorizationToken", "Resource": "*" },
            {
                "Effect": "Allow",
                "Action": ["ecr:BatchCheckLayerAvailability", "ecr:GetDownloadUrlForLayer", "ecr:BatchGetImage"],
                "Resource": format!("arn:aws:ecr:{region}:{account}:repository/{repository}"),
            },
            {
                "Effect": "Allow",
                "Action": ["logs:CreateLogStream", "logs:PutLogEvents"],
                "Resource": format!("{logs}:*"),
            },
            { "Effect": "Allow", "Action": "secretsmanager:GetSecretValue", "Resource": login },
            {
                "Effect": "Allow",
                "Action": "kms:Decrypt",
                "Resource": key,
                "Condition": { "StringEquals": {
                    "kms:ViaService": format!("secretsmanager.{region}.amazonaws.com"),
                } },
            },
        ] })
        .to_string()
    });
    let rights = scope.rights(part, &role, policy);
    (role, rights)
}

/// As many as it takes for the processors to be busy to 60 %.
fn scale(scope: &Scope, cluster: &ecs::Cluster, service: &ecs::Service) {
    use appautoscaling::types::{
        PolicyTargetTrackingScalingPolicyConfiguration as Tracking,
        PolicyTargetTrackingScalingPolicyConfigurationPredefinedMetricSpecification as Metric,
        PolicyTargetTrackingScalingPolicyConfigurationPredefinedMetricSpecificationRequired as MetricRequired,
        PolicyTargetTrackingScalingPolicyConfigurationRequired as TrackingRequired,
    };

    let config = &scope.config().application;
    let name = scope.name(&SCALING_TARGET);
    let id = cluster
        .name()
        .zip(&service.name())
        .map(|(cluster, service): (String, String)| format!("service/{cluster}/{service}"));
    let required = appautoscaling::TargetRequired {
        max_capacity: i64::from(config.max_tasks).into(),
        min_capacity: i64::from(config.tasks).into(),
        resource_id: id.into(),
        scalable_dimension: "ecs:service:DesiredCount".into(),
        service_namespace: "ecs".into(),
    };
    let args = appautoscaling::TargetArgs::new(required).tags(scope.tags(&name));
    let target = appautoscaling::Target::new(scope.context(), &name, args, scope.options());

    let metric =
        Metric::new(MetricRequired { predefined_metric_type: "ECSServiceAverageCPUUtilization".into() });
    let tracking = Tracking::new(TrackingRequired { target_value: 60.0.into() })
        .predefined_metric_specification(metric)
        .scale_in_cooldown(300)
        .scale_out_cooldown(60);
    let name = scope.part(&SCALING_POLICY, "cpu");
    let required = appautoscaling::PolicyRequired {
        resource_id: target.resource_id().into(),
        scalable_dimension: target.scalable_dimension().into(),
        service_namespace: target.service_namespace().into(),
    };
    let args = appautoscaling::PolicyArgs::new(required)
        .name(name.as_str())
        .policy_type("TargetTrackingScaling")
        .target_tracking_scaling_policy_configuration(tracking);
    appautoscaling::Policy::new(scope.context(), &name, args, scope.options());
}
