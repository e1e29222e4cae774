//! Addresses that belong to whoever asks, and to nobody else: a database is never there.

use std::net::IpAddr;

/// Loopback, unspecified, link-local with the cloud's metadata, multicast and what is reserved above it.
pub fn is_local(address: IpAddr) -> bool {
    address.is_loopback() || is_metadata_or_worse(address)
}

/// The same without loopback, which a name such as `localhost` may mean: a proxy beside the operator.
pub fn is_metadata_or_worse(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.octets()[0] == 0 || v4.is_link_local() || v4.octets()[0] >= 224,
        IpAddr::V6(v6) => {
            let [first, second, ..] = v6.segments();
            // What begins with zeros is unspecified, or IPv4 in other clothes.
            (first == 0 && !v6.is_loopback())
                || v6.is_unicast_link_local()
                || v6.is_multicast()
                // Where EC2 has its metadata.
                || (first, second) == (0xfd00, 0xec2)
        }
    }
}
