//! What stands before the endpoints of a world and knows them by one address.
//!
//! A stranger's datagrams go to the first endpoint, which tells by a STUN request whose call it is
//! of; from then on all that comes from that address goes there. It never reads a datagram itself.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// Where it listens.
pub(super) const BALANCER: SocketAddr =
    SocketAddr::new(IpAddr::V4(Ipv4Addr::new(198, 18, 0, 1)), 7860);

/// Addresses that it remembers. 65,536: more than a world has browsers; when it is full it forgets
/// all, and learns them again from the next requests.
const BALANCED_MAX: usize = 65_536;

/// The endpoint that each address's datagrams go to.
#[derive(Debug, Default)]
pub(super) struct Balancer {
    endpoints: BTreeMap<SocketAddr, usize>,
}

impl Balancer {
    /// A request from there named this endpoint.
    pub(super) fn learn(&mut self, source: SocketAddr, endpoint: usize) {
        if self.endpoints.len() >= BALANCED_MAX && !self.endpoints.contains_key(&source) {
            self.endpoints.clear();
        }
        self.endpoints.insert(source, endpoint);
    }

    /// Where a datagram from there goes.
    pub(super) fn endpoint(&self, source: SocketAddr) -> usize {
        self.endpoints.get(&source).copied().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(number: usize) -> SocketAddr {
        let number = u32::try_from(number).expect("a test has fewer addresses");
        SocketAddr::from((Ipv4Addr::from(number), 1))
    }

    #[test]
    fn it_remembers_65536_addresses_and_forgets_all_for_one_more() {
        let mut balancer = Balancer::default();
        for number in 0..BALANCED_MAX {
            balancer.learn(address(number), 3);
        }
        balancer.learn(address(7), 4);
        let last = address(BALANCED_MAX - 1);
        assert_eq!([address(0), address(7), last].map(|of| balancer.endpoint(of)), [3, 4, 3]);
        balancer.learn(address(BALANCED_MAX), 5);
        let one_more = address(BALANCED_MAX);
        assert_eq!([address(0), last, one_more].map(|of| balancer.endpoint(of)), [0, 0, 5]);
    }
}
