//! Names in AWS: the type first, the environment last, as in `db-instance-dev`. One table says how long AWS lets each be, so
//! that a suffix too long for any of them is refused before anything is made.

/// A kind of thing that gets a name.
#[derive(Debug, PartialEq, Eq)]
pub struct Kind {
    /// What its names begin with.
    pub word: &'static str,
    /// The longest name that AWS takes.
    pub limit: usize,
    /// The longest part between word and suffix, such as `private-a`.
    pub part: usize,
}

/// A tag's value may have 256 characters; so long are the names of things that have only a tag for it.
const TAG: usize = 256;

macro_rules! kinds {
    ($($name:ident = $word:literal, $limit:expr, $part:literal;)*) => {
        $(#[doc = concat!("`", $word, "-…`")] pub const $name: Kind = Kind { word: $word, limit: $limit, part: $part };)*
        /// Every kind.
        pub const KINDS: &[Kind] = &[$($name),*];
    };
}

kinds! {
    PROVIDER = "provider", TAG, 0;
    COMPONENT = "component", TAG, 13;
    VPC = "vpc", TAG, 0;
    SUBNET = "subnet", TAG, 9;
    INTERNET_GATEWAY = "internet-gateway", TAG, 0;
    EIP = "eip", TAG, 5;
    NAT_GATEWAY = "nat-gateway", TAG, 1;
    ROUTE_TABLE = "route-table", TAG, 9;
    ROUTE_TABLE_ASSOCIATION = "route-table-association", TAG, 9;
    ROUTE = "route", TAG, 31;
    ROUTE_PROPAGATION = "route-propagation", TAG, 9;
    DEFAULT_SECURITY_GROUP = "default-security-group", TAG, 0;
    FLOW_LOG = "flow-log", TAG, 0;
    VPC_ENDPOINT = "vpc-endpoint", TAG, 14;
    CUSTOMER_GATEWAY = "customer-gateway", TAG, 0;
    VPN_GATEWAY = "vpn-gateway", TAG, 0;
    VPN_CONNECTION = "vpn-connection", TAG, 0;
    VPN_ROUTE = "vpn-route", TAG, 18;
    TRANSIT_GATEWAY_ATTACHMENT = "transit-gateway-attachment", TAG, 0;
    SECURITY_GROUP = "security-group", 255, 14;
    SECURITY_GROUP_RULE = "security-group-rule", TAG, 66;
    KMS_KEY = "kms-key", 250, 8; // an alias has 256 with its "alias/"
    LOG_GROUP = "log-group", 512, 13;
    ROLE = "role", 64, 13;
    ROLE_POLICY = "role-policy", 128, 13;
    ROLE_POLICY_ATTACHMENT = "role-policy-attachment", TAG, 24;
    ACCOUNT_ROLE = "account-role", TAG, 24;
    ACCOUNT_PROFILE = "account-profile", TAG, 24;
    REPLICATION_INSTANCE = "replication-instance", 63, 0;
    DMS_SUBNET_GROUP = "dms-subnet-group", 255, 0;
    BUCKET = "bucket", 50, 11; // and the account's 12 digits with a hyphen, of 63
    BUCKET_VERSIONING = "bucket-versioning", TAG, 11;
    BUCKET_ENCRYPTION = "bucket-encryption", TAG, 11;
    BUCKET_PUBLIC_ACCESS = "bucket-public-access", TAG, 11;
    BUCKET_OWNERSHIP = "bucket-ownership", TAG, 11;
    BUCKET_LIFECYCLE = "bucket-lifecycle", TAG, 11;
    BUCKET_POLICY = "bucket-policy", TAG, 11;
    REPOSITORY = "repository", 256, 0;
    REPOSITORY_LIFECYCLE = "repository-lifecycle", TAG, 0;
    ECS_CLUSTER = "ecs-cluster", 255, 0;
    ECS_SERVICE = "ecs-service", 255, 0;
    TASK_DEFINITION = "task-definition", 255, 0;
    SCALING_TARGET = "scaling-target", TAG, 0;
    SCALING_POLICY = "scaling-policy", 256, 3;
    ALB = "alb", 32, 0;
    TARGET_GROUP = "tg", 32, 6;
    TARGET = "target", TAG, 15;
    LISTENER = "listener", TAG, 0;
    WEB_ACL = "web-acl", 128, 0;
    WEB_ACL_ASSOCIATION = "web-acl-association", TAG, 0;
    WEB_ACL_LOGGING = "web-acl-logging", TAG, 0;
    ZONE = "zone", TAG, 7;
    HEALTH_CHECK = "health-check", TAG, 22;
    EKS_CLUSTER = "eks-cluster", 100, 0;
    NODE_GROUP = "node-group", 63, 0;
    LAUNCH_TEMPLATE = "launch-template", 128, 5;
    ADDON = "addon", TAG, 22;
    POD_IDENTITY = "pod-identity", TAG, 7;
    TOPIC = "topic", 256, 6;
    TOPIC_POLICY = "topic-policy", TAG, 6;
    SUBSCRIPTION = "subscription", TAG, 5;
    TRAIL = "trail", 128, 0;
    ALARM = "alarm", 255, 26;
    DASHBOARD = "dashboard", 255, 0;
    DB_INSTANCE = "db-instance", 63, 0;
    DB_SUBNET_GROUP = "db-subnet-group", 255, 0;
    DB_PARAMETER_GROUP = "db-parameter-group", 255, 2;
    SECRET = "secret", 512, 15;
    SECRET_VERSION = "secret-version", TAG, 15;
}

impl Kind {
    /// The name with nothing between: `vpc-dev`.
    pub fn name(&self, suffix: &str) -> String {
        format!("{}-{suffix}", self.word)
    }

    /// The name with a part between: `subnet-private-a-dev`.
    pub fn part(&self, part: &str, suffix: &str) -> String {
        format!("{}-{part}-{suffix}", self.word)
    }

    /// The most that is left for a suffix.
    pub fn room(&self) -> usize {
        let part = if self.part == 0 { 0 } else { self.part + 1 };
        self.limit - self.word.len() - part - 1
    }
}

/// The longest suffix. The operator's own names have to have room for it, too.
pub const LONGEST_SUFFIX: usize = 20;

/// Why this can't be a suffix, if it can't.
pub fn refuse_suffix(suffix: &str) -> Option<String> {
    let letters_of_a_dns_name = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if !suffix.chars().all(letters_of_a_dns_name) {
        return Some("has other characters than lower-case letters, digits and hyphens".to_owned());
    }
    if suffix.is_empty() || suffix.starts_with('-') || suffix.ends_with('-') || suffix.contains("--") {
        return Some("is empty, or begins or ends with a hyphen, or has two in a row".to_owned());
    }
    if suffix.len() > LONGEST_SUFFIX {
        return Some(format!("has {} characters, and {LONGEST_SUFFIX} is the most", suffix.len()));
    }
    KINDS.iter().find(|kind| suffix.len() > kind.room()).map(|kind| {
        format!("makes the names of {} longer than the {} characters that AWS takes", kind.word, kind.limit)
    })
}

/// The log groups of an environment, as patterns: ours, and those whose names AWS dictates.
pub fn log_groups(suffix: &str) -> [String; 6] {
    [
        LOG_GROUP.part("*", suffix),
        format!("/aws/rds/instance/{}/*", DB_INSTANCE.name(suffix)),
        replication_logs(suffix),
        format!("/aws/ecs/containerinsights/{}/*", ECS_CLUSTER.name(suffix)),
        format!("/aws/eks/{}/*", EKS_CLUSTER.name(suffix)),
        web_acl_logs(suffix),
    ]
}

/// What DMS calls the log group of our replication instance.
pub fn replication_logs(suffix: &str) -> String {
    format!("dms-tasks-{}", REPLICATION_INSTANCE.name(suffix))
}

/// A log group for a web ACL must begin like this.
pub fn web_acl_logs(suffix: &str) -> String {
    format!("aws-waf-logs-{}", WEB_ACL.name(suffix))
}
