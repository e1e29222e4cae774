//! RDS, STS and Elastic Load Balancing: forms in, XML out.

use std::collections::BTreeMap;

use super::xml::{maybe, tag, text};
use crate::world::balancer::{self, Balancer, Target, TargetGroup};
use crate::world::rds::{Describe, Instance};
use crate::world::{Call, Refusal, Reply};

/// A form as an operation and a call. A parameter that the model lacks is refused rather than ignored.
pub(super) fn decode(body: &[u8]) -> (String, Result<Call, Refusal>) {
    let mut form = Form(form_urlencoded::parse(body).into_owned().collect());
    let action = form.take("Action").unwrap_or_default();
    // Paging is of no use with the few things that there are.
    for passed_over in ["Version", "MaxRecords", "PageSize"] {
        form.take(passed_over);
    }
    let (operation, call) = match action.as_str() {
        "DescribeDBInstances" => {
            let identifier = form.take("DBInstanceIdentifier");
            ("rds:DescribeDBInstances", Call::DescribeDatabases(Describe { identifier }))
        }
        "GetCallerIdentity" => ("sts:GetCallerIdentity", Call::GetCallerIdentity),
        "DescribeLoadBalancers" => {
            let (arns, names) = (form.list("LoadBalancerArns.member."), form.list("Names.member."));
            let call = balancer::Call::DescribeLoadBalancers { arns, names };
            ("elasticloadbalancing:DescribeLoadBalancers", Call::Balancer(call))
        }
        "DescribeTargetGroups" => {
            let (arns, names) = (form.list("TargetGroupArns.member."), form.list("Names.member."));
            let balancer_arn = form.take("LoadBalancerArn");
            let call = balancer::Call::DescribeTargetGroups { arns, names, balancer_arn };
            ("elasticloadbalancing:DescribeTargetGroups", Call::Balancer(call))
        }
        "DescribeTargetHealth" => {
            let group_arn = form.take("TargetGroupArn").unwrap_or_default();
            let targets = (1..)
                .map_while(|number| {
                    let id = form.take(&format!("Targets.member.{number}.Id"))?;
                    let port = form.take(&format!("Targets.member.{number}.Port"));
                    Some((id, port.and_then(|port| port.parse().ok())))
                })
                .collect();
            let call = balancer::Call::DescribeTargetHealth { group_arn, targets };
            ("elasticloadbalancing:DescribeTargetHealth", Call::Balancer(call))
        }
        other => {
            let refusal = Refusal::not_modelled(format!("Action={other}"));
            return (format!("query:{other}"), Err(refusal));
        }
    };
    let call = match form.0.into_keys().next() {
        Some(name) => Err(Refusal::not_modelled(format!("the parameter {name} of {operation}"))),
        None => Ok(call),
    };
    (operation.to_owned(), call)
}

/// The parameters, taken out one by one.
struct Form(BTreeMap<String, String>);

impl Form {
    fn take(&mut self, name: &str) -> Option<String> {
        self.0.remove(name)
    }

    /// `Names.member.1`, `Names.member.2` …
    fn list(&mut self, prefix: &str) -> Vec<String> {
        (1..).map_while(|number| self.take(&format!("{prefix}{number}"))).collect()
    }
}

/// A reply or an error as a document.
pub(super) fn encode(operation: &str, result: Result<Reply, Refusal>, request_id: &str) -> String {
    let action = operation.split_once(':').map_or(operation, |(_, action)| action);
    let space = match operation.split_once(':') {
        Some(("sts", _)) => "https://sts.amazonaws.com/doc/2011-06-15/",
        Some(("elasticloadbalancing", _)) => "http://elasticloadbalancing.amazonaws.com/doc/2015-12-01/",
        _ => "http://rds.amazonaws.com/doc/2014-10-31/",
    };
    let inner = match result {
        Ok(Reply::Databases(instances)) => {
            let all: String = instances.iter().map(instance).collect();
            tag("DBInstances", &all)
        }
        Ok(Reply::Identity { account, arn }) => {
            text("Arn", &arn) + &text("UserId", "AROA5A1D000000000000A:slipway") + &text("Account", &account)
        }
        Ok(Reply::Balancer(balancer::Reply::LoadBalancers(all))) => {
            tag("LoadBalancers", &all.iter().map(load_balancer).collect::<String>())
        }
        Ok(Reply::Balancer(balancer::Reply::TargetGroups(all))) => {
            tag("TargetGroups", &all.iter().map(target_group).collect::<String>())
        }
        Ok(Reply::Balancer(balancer::Reply::TargetHealth(all))) => {
            tag("TargetHealthDescriptions", &all.iter().map(target).collect::<String>())
        }
        Ok(other) => {
            return error("InternalFailure", &format!("not an answer of {operation}: {other:?}"), request_id);
        }
        Err(refusal) => return error(refusal.code, &refusal.message, request_id),
    };
    format!(
        "<{action}Response xmlns=\"{space}\">{}{}</{action}Response>",
        tag(&format!("{action}Result"), &inner),
        tag("ResponseMetadata", &text("RequestId", request_id))
    )
}

fn error(code: &str, message: &str, request_id: &str) -> String {
    let kind = if code == "InternalFailure" { "Receiver" } else { "Sender" };
    let fields = text("Type", kind) + &text("Code", code) + &text("Message", message);
    tag("ErrorResponse", &(tag("Error", &fields) + &text("RequestId", request_id)))
}

fn instance(instance: &Instance) -> String {
    let Instance {
        identifier,
        arn,
        address,
        port,
        database,
        master_username,
        engine_version,
        status,
        parameter_group,
        parameter_apply_status,
        storage_encrypted,
        publicly_accessible,
        ca_certificate_identifier,
    } = instance;
    let group =
        text("DBParameterGroupName", parameter_group) + &text("ParameterApplyStatus", parameter_apply_status);
    let fields = [
        text("DBInstanceIdentifier", identifier),
        text("DBInstanceArn", arn),
        text("DBInstanceStatus", status),
        text("Engine", "postgres"),
        text("EngineVersion", engine_version),
        text("DBName", database),
        text("MasterUsername", master_username),
        tag("Endpoint", &(text("Address", address) + &text("Port", &port.to_string()))),
        tag("DBParameterGroups", &tag("DBParameterGroup", &group)),
        text("StorageEncrypted", &storage_encrypted.to_string()),
        text("PubliclyAccessible", &publicly_accessible.to_string()),
        text("CACertificateIdentifier", ca_certificate_identifier),
    ];
    tag("DBInstance", &fields.concat())
}

fn load_balancer(balancer: &Balancer) -> String {
    let fields = [
        text("LoadBalancerArn", &balancer.arn),
        text("LoadBalancerName", &balancer.name),
        text("DNSName", &balancer.dns_name),
        text("CanonicalHostedZoneId", &balancer.zone_id),
        text("CreatedTime", &balancer.created.to_string()),
        text("Scheme", "internet-facing"),
        text("VpcId", &balancer.vpc_id),
        tag("State", &text("Code", &balancer.state)),
        text("Type", "application"),
        text("IpAddressType", "ipv4"),
    ];
    tag("member", &fields.concat())
}

fn target_group(group: &TargetGroup) -> String {
    let balancers: String = group.balancer_arns.iter().map(|arn| text("member", arn)).collect();
    let check = &group.check;
    let fields = [
        text("TargetGroupArn", &group.arn),
        text("TargetGroupName", &group.name),
        text("Protocol", "HTTP"),
        text("Port", &group.port.to_string()),
        text("VpcId", &group.vpc_id),
        text("HealthCheckProtocol", "HTTP"),
        text("HealthCheckPort", "traffic-port"),
        text("HealthCheckEnabled", "true"),
        text("HealthCheckIntervalSeconds", &check.interval_seconds.to_string()),
        text("HealthCheckTimeoutSeconds", &check.timeout_seconds.to_string()),
        text("HealthyThresholdCount", &check.healthy_threshold.to_string()),
        text("UnhealthyThresholdCount", &check.unhealthy_threshold.to_string()),
        text("HealthCheckPath", &check.path),
        tag("Matcher", &text("HttpCode", "200")),
        tag("LoadBalancerArns", &balancers),
        text("TargetType", "ip"),
    ];
    tag("member", &fields.concat())
}

fn target(target: &Target) -> String {
    let (state, reason, description) = target.health.words();
    let port = target.port.to_string();
    let id =
        text("Id", &target.address.to_string()) + &text("Port", &port) + &text("AvailabilityZone", "all");
    let health =
        text("State", state) + &maybe("Reason", reason) + &maybe("Description", description.as_deref());
    tag("member", &(tag("Target", &id) + &text("HealthCheckPort", &port) + &tag("TargetHealth", &health)))
}
