//! What stands before the load balancer: AWS's own rules against common attacks, and a limit for each address.

use serde_json::{Value, json};

use crate::aws::{lb, wafv2};
use crate::keys::Keys;
use crate::names::{WEB_ACL, WEB_ACL_ASSOCIATION, WEB_ACL_LOGGING, web_acl_logs};
use crate::scope::Scope;

/// Requests from one address in five minutes, after which it is shut out.
const LIMIT: u32 = 10_000;
/// AWS's own sets, in the order in which they judge.
const SETS: [&str; 4] = [
    "AWSManagedRulesAmazonIpReputationList",
    "AWSManagedRulesCommonRuleSet",
    "AWSManagedRulesKnownBadInputsRuleSet",
    "AWSManagedRulesSQLiRuleSet",
];

pub(super) fn new(scope: &Scope, balancer: &lb::LoadBalancer, keys: &Keys) {
    let name = scope.name(&WEB_ACL);
    let visible = wafv2::types::WebAclVisibilityConfig::new(wafv2::types::WebAclVisibilityConfigRequired {
        cloudwatch_metrics_enabled: true.into(),
        metric_name: name.as_str().into(),
        sampled_requests_enabled: true.into(),
    });
    let required = wafv2::WebAclRequired {
        default_action: wafv2::types::WebAclDefaultAction::new()
            .allow(wafv2::types::WebAclDefaultActionAllow::new())
            .into(),
        scope: "REGIONAL".into(),
        visibility_config: visible.into(),
    };
    let args = wafv2::WebAclArgs::new(required)
        .name(name.as_str())
        .description("Common attacks, and too many requests from one address")
        .rule_json(rules().to_string())
        .tags(scope.tags(&name));
    let acl = wafv2::WebAcl::new(scope.context(), &name, args, scope.named());
    let required = wafv2::WebAclAssociationRequired {
        resource_arn: balancer.arn().into(),
        web_acl_arn: acl.arn().into(),
    };
    let args = wafv2::WebAclAssociationArgs::new(required);
    let name = scope.name(&WEB_ACL_ASSOCIATION);
    wafv2::WebAclAssociation::new(scope.context(), &name, args, scope.options());

    let logs = scope.log_group_as("web-acl", &web_acl_logs(&scope.config().suffix), keys);
    let required = wafv2::WebAclLoggingConfigurationRequired {
        log_destination_configs: vec![logs.arn()].into(),
        resource_arn: acl.arn().into(),
    };
    // A session's cookie or token in a log would be a login.
    let redacted = ["authorization", "cookie"].map(|header| {
        use wafv2::types::{
            WebAclLoggingConfigurationRedactedField as Field,
            WebAclLoggingConfigurationRedactedFieldSingleHeader as Header,
            WebAclLoggingConfigurationRedactedFieldSingleHeaderRequired as Required,
        };
        Field::new().single_header(Header::new(Required { name: header.into() }))
    });
    let args = wafv2::WebAclLoggingConfigurationArgs::new(required).redacted_fields(redacted.to_vec());
    wafv2::WebAclLoggingConfiguration::new(
        scope.context(),
        &scope.name(&WEB_ACL_LOGGING),
        args,
        scope.options(),
    );
}

/// As WAF's own API has them.
fn rules() -> Value {
    let seen = |name: &str| json!({ "CloudWatchMetricsEnabled": true, "MetricName": name, "SampledRequestsEnabled": true });
    let mut rules: Vec<Value> = SETS
        .iter()
        .enumerate()
        .map(|(priority, set)| {
            json!({
                "Name": set,
                "Priority": priority,
                "OverrideAction": { "None": {} },
                "Statement": { "ManagedRuleGroupStatement": { "VendorName": "AWS", "Name": set } },
                "VisibilityConfig": seen(set),
            })
        })
        .collect();
    rules.push(json!({
        "Name": "limit",
        "Priority": SETS.len(),
        "Action": { "Block": {} },
        "Statement": { "RateBasedStatement": { "Limit": LIMIT, "AggregateKeyType": "IP" } },
        "VisibilityConfig": seen("limit"),
    }));
    Value::Array(rules)
}
