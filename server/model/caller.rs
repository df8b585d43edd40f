use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// Identity of the client behind a request, as the key of budgets: its principal; or, without credentials, the IPv4
/// address of its peer, or the /64 network of its IPv6 address, because one host owns all addresses of such a network.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Caller(Arc<str>);

/// Bits of an IPv6 address that identify the host within its network.
const HOST_BITS: u32 = 64;

impl Caller {
    /// Returns the caller of this peer address. All requests without an address share one caller.
    pub fn of_peer(address: Option<IpAddr>) -> Self {
        let key = match address.unwrap_or(IpAddr::V6(Ipv6Addr::UNSPECIFIED)).to_canonical() {
            IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> HOST_BITS << HOST_BITS).to_string(),
            IpAddr::V4(address) => address.to_string(),
        };
        Self(key.into())
    }

    /// Returns the caller of this principal. No address looks like it.
    pub fn of_principal(name: &str) -> Self {
        Self(format!("principal {name}").into())
    }
}

impl fmt::Display for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_one_host_are_one_caller() {
        for (one, other, same) in [
            ("192.0.2.1", "192.0.2.1", true),
            ("192.0.2.1", "::ffff:192.0.2.1", true),
            ("192.0.2.1", "192.0.2.2", false),
            ("2001:db8::1", "2001:db8::ffff:0:0:1", true),
            ("2001:db8::1", "2001:db8:0:1::1", false),
        ] {
            let caller = |text: &str| Caller::of_peer(Some(text.parse().expect("an address")));
            assert_eq!(caller(one) == caller(other), same, "{one} {other}");
        }
        assert_eq!(Caller::of_peer(None), Caller::of_peer(None));
    }
}
