//! The form that texts of the spec must have. Whatever could be taken for something else on its way, as a path by the
//! Kubernetes API or as the end of a text by PostgreSQL, is refused at admission.

use kube::core::Rule;

/// One line without control characters.
pub(in crate::api) const TEXT: &str = r"^[^\x00-\x1f\x7f]+$";
/// The name of an object of Kubernetes. It becomes a part of a path.
pub(in crate::api) const OBJECT_NAME: &str =
    r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*$";
/// A duration as Gateway API writes it (GEP-2257).
pub(in crate::api) const DURATION: &str = r"^([0-9]{1,5}(h|m|s|ms)){1,4}$";
/// A DNS name or an address: no URL, no port, no user, no dot at the end.
pub(in crate::api) const HOST: &str = r"^([A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?)*|[0-9A-Fa-f:]*:[0-9A-Fa-f:.]*)$";

/// A DNS name in lower case: one that an operator looks up, no dot at the end.
pub(in crate::api) const LOWER_HOST: &str =
    r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*$";
/// The name of a record: as a host, and labels may hold underscores.
pub(in crate::api) const RECORD: &str =
    r"^[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?)+$";
/// A path with a query, as a request line takes it (RFC 3986). No fragment, which would never be sent.
pub(in crate::api) const PATH: &str = r"^/[A-Za-z0-9/._~!$&'()*+,;=:@%?-]*$";
/// Four numbers.
pub(in crate::api) const IPV4: &str =
    r"^((25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])\.){3}(25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])$";

/// Resolvers read `2130706433`, `0x7f.1` and `0177.0.0.1` as addresses, and a person reads them as something else.
pub(in crate::api) fn decimal() -> Rule {
    Rule::new(r"!self.matches('(^|[.])(0[xX][0-9a-fA-F]*|[0-9]+)$') || self.matches('^((25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])[.]){3}(25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])$')")
        .message("host: an IPv4 address is written as four decimal numbers, such as 10.0.0.5")
}

/// What answers there belongs to the machine that asks: its own services, and the cloud's metadata with its credentials.
pub(in crate::api) fn beyond_this_machine() -> Rule {
    Rule::new(r"!self.matches('^(0|127|169[.]254|22[4-9]|2[3-5][0-9])([.][0-9]+)+$') && !self.matches('(?i)^(::|0+:|fe[89ab][0-9a-f]:|ff[0-9a-f]{2}:|fd00:0?ec2:)') && !self.matches('(?i)^(metadata([.]google[.]internal)?|instance-data([.]ec2[.]internal)?)$')")
        .message("host: loopback, link-local, multicast and metadata addresses are refused; use the database's own address")
}

/// DMS stands in a VPC and knows no name of this cluster.
pub(in crate::api) fn beyond_this_cluster() -> Rule {
    Rule::new(
        r"!self.matches('(?i)[.](svc|cluster[.]local)$') && !self.matches('(?i)^kubernetes([.]default)?$')",
    )
    .message("host: a name of this cluster is not known to DMS; use one that resolves in the VPC, too")
}
