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
    COMPONENT = "component", TAG, 8;
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
    ROLE_POLICY_ATTACHMENT = "role-policy-attachment", TAG, 13;
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

/// The longest suffix. Load balancers and target groups, which stand on this ground, may have 32 characters, and the words
/// for them 11.
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
pub fn log_groups(suffix: &str) -> [String; 2] {
    [LOG_GROUP.part("*", suffix), format!("/aws/rds/instance/{}/*", DB_INSTANCE.name(suffix))]
}
