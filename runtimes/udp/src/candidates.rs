//! The addresses that peers may send to.

use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use if_addrs::IfOperStatus;
use smallrtc::{LocalCandidate, TransportId};
use tracing::warn;

/// How many candidates a socket gives at most. Every one costs the peer a check per candidate of
/// its own, and a machine with more addresses than this has bridges that no peer can reach: bind
/// to the address that is meant.
pub const CANDIDATES_MAX: usize = 16;

/// Every address of this machine's interfaces that are not down, sorted, without duplicates.
///
/// # Errors
/// What the operating system says.
pub fn interface_addresses() -> io::Result<Vec<IpAddr>> {
    let addresses: BTreeSet<IpAddr> = if_addrs::get_if_addrs()?
        .into_iter()
        .filter(|interface| {
            // Tunnels and loopback tell no state.
            !matches!(
                interface.oper_status,
                IfOperStatus::Down | IfOperStatus::NotPresent | IfOperStatus::LowerLayerDown
            )
        })
        .map(|interface| interface.ip())
        .collect();
    Ok(addresses.into_iter().collect())
}

/// What a socket is bound to, as far as candidates are concerned.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bound {
    pub(crate) transport: TransportId,
    pub(crate) address: SocketAddr,
    /// Whether a socket on `::` carries IPv4 as well.
    pub(crate) dual_stack: bool,
    /// Where packets to the rest of the world leave from, where that is known.
    pub(crate) preferred: Option<IpAddr>,
}

impl Bound {
    /// The candidates, given the machine's addresses and those that a NAT maps to it.
    pub(crate) fn candidates(
        &self,
        interfaces: &[IpAddr],
        advertise: &[IpAddr],
    ) -> Vec<LocalCandidate> {
        let port = self.address.port();
        let bases = self.bases(interfaces, advertise);
        let hosts = bases.iter().map(|ip| LocalCandidate::host(self.transport, (*ip, port).into()));
        let mapped = advertise.iter().filter(|ip| !bases.contains(ip)).filter_map(|ip| {
            let base = self.base_of(*ip, &bases)?;
            let (advertised, base) = ((*ip, port).into(), (base, port).into());
            Some(LocalCandidate::mapped(self.transport, advertised, base))
        });
        let mut candidates: Vec<_> = mapped.chain(hosts).collect();
        if candidates.len() > CANDIDATES_MAX {
            warn!(
                addresses = candidates.len(),
                limit = CANDIDATES_MAX,
                "some addresses are not offered to peers: bind to the one that is meant"
            );
            candidates.truncate(CANDIDATES_MAX);
        }
        candidates
    }

    /// The machine's own addresses that the socket receives on and peers may be told.
    fn bases(&self, interfaces: &[IpAddr], advertise: &[IpAddr]) -> Vec<IpAddr> {
        if !self.address.ip().is_unspecified() {
            return vec![self.address.ip()];
        }
        let carried = |ip: &&IpAddr| match self.address {
            SocketAddr::V4(_) => ip.is_ipv4(),
            SocketAddr::V6(_) => ip.is_ipv6() || self.dual_stack,
        };
        let usable = |ip: &&IpAddr| !ip.is_loopback() && !ip.is_unspecified() && !is_link_local(ip);
        let mut bases: Vec<IpAddr> =
            interfaces.iter().filter(carried).filter(usable).copied().collect();
        // An advertised address of this machine is no mapping: it asks for loopback, say.
        let asked = interfaces.iter().filter(carried).filter(|ip| advertise.contains(ip));
        let missing: Vec<IpAddr> = asked.filter(|ip| !bases.contains(ip)).copied().collect();
        bases.extend(missing);
        if bases.is_empty() {
            // A machine without a network still talks to itself.
            bases =
                interfaces.iter().filter(carried).filter(|ip| ip.is_loopback()).copied().collect();
        }
        bases
    }

    /// Which base a mapping ends at: where packets leave from, else the first of the family.
    fn base_of(&self, advertised: IpAddr, bases: &[IpAddr]) -> Option<IpAddr> {
        let mut family = bases.iter().filter(|ip| ip.is_ipv4() == advertised.is_ipv4());
        let preferred = self.preferred.filter(|preferred| family.clone().any(|ip| ip == preferred));
        preferred.or_else(|| family.next().copied())
    }
}

/// Whether a socket on `::` carries IPv4 as well, by the system's default. Nothing is sent:
/// connecting a UDP socket only asks for a route.
pub(crate) fn dual_stack() -> bool {
    let mapped = SocketAddr::from((Ipv4Addr::LOCALHOST.to_ipv6_mapped(), 9));
    UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0)).is_ok_and(|probe| probe.connect(mapped).is_ok())
}

/// Where packets of a family to the rest of the world leave from. Nothing is sent; the address is
/// one of documentation (RFC 5737), which the default route covers.
pub(crate) fn preferred_ipv4() -> Option<IpAddr> {
    let probe = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
    probe.connect((Ipv4Addr::new(192, 0, 2, 1), 9)).ok()?;
    Some(probe.local_addr().ok()?.ip())
}

/// Link-local addresses need a scope that candidates cannot carry (RFC 8445 section 5.1.1.1), and
/// those of IPv4 mean that no network was found.
fn is_link_local(ip: &IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ips(texts: &[&str]) -> Vec<IpAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    fn bound(address: &str) -> Bound {
        let address = address.parse().unwrap();
        Bound { transport: TransportId(3), address, dual_stack: true, preferred: None }
    }

    /// `advertised<base` for mapped candidates, the address for others.
    fn shown(bound: Bound, interfaces: &[&str], advertise: &[&str]) -> Vec<String> {
        let candidates = bound.candidates(&ips(interfaces), &ips(advertise));
        let show = |candidate: &LocalCandidate| {
            assert_eq!(candidate.transport(), TransportId(3));
            assert_eq!(candidate.base().port(), bound.address.port());
            let (advertised, base) = (candidate.advertised().ip(), candidate.base().ip());
            if advertised == base { base.to_string() } else { format!("{advertised}<{base}") }
        };
        candidates.iter().map(show).collect()
    }

    const MACHINE: [&str; 6] =
        ["10.0.0.5", "127.0.0.1", "169.254.3.4", "192.168.1.9", "::1", "fe80::1"];

    #[test]
    fn a_wildcard_gives_every_usable_address_of_its_family() {
        assert_eq!(shown(bound("0.0.0.0:7"), &MACHINE, &[]), ["10.0.0.5", "192.168.1.9"]);
        let machine = ["10.0.0.5", "127.0.0.1", "2001:db8::5", "::1", "fe80::1"];
        assert_eq!(shown(bound("[::]:7"), &machine, &[]), ["10.0.0.5", "2001:db8::5"]);
        let only_v6 = Bound { dual_stack: false, ..bound("[::]:7") };
        assert_eq!(shown(only_v6, &machine, &[]), ["2001:db8::5"]);
    }

    #[test]
    fn loopback_is_given_when_nothing_else_is_there_or_it_is_bound_or_asked_for() {
        let alone = ["127.0.0.1", "::1", "fe80::1"];
        assert_eq!(shown(bound("0.0.0.0:7"), &alone, &[]), ["127.0.0.1"]);
        assert_eq!(shown(bound("[::]:7"), &alone, &[]), ["127.0.0.1", "::1"]);
        assert_eq!(shown(bound("127.0.0.1:7"), &MACHINE, &[]), ["127.0.0.1"]);
        let asked = shown(bound("0.0.0.0:7"), &MACHINE, &["127.0.0.1"]);
        assert_eq!(asked, ["10.0.0.5", "192.168.1.9", "127.0.0.1"]);
    }

    #[test]
    fn a_public_address_is_mapped_to_where_packets_leave_from() {
        let first = shown(bound("0.0.0.0:7"), &MACHINE, &["203.0.113.1"]);
        assert_eq!(first, ["203.0.113.1<10.0.0.5", "10.0.0.5", "192.168.1.9"]);
        let preferred = Some("192.168.1.9".parse().unwrap());
        let routed = Bound { preferred, ..bound("0.0.0.0:7") };
        let routed = shown(routed, &MACHINE, &["203.0.113.1"]);
        assert_eq!(routed, ["203.0.113.1<192.168.1.9", "10.0.0.5", "192.168.1.9"]);
        let other_family = shown(bound("0.0.0.0:7"), &MACHINE, &["2001:db8::1"]);
        assert_eq!(other_family, ["10.0.0.5", "192.168.1.9"]);
        let specific = shown(bound("10.0.0.5:7"), &MACHINE, &["203.0.113.1"]);
        assert_eq!(specific, ["203.0.113.1<10.0.0.5", "10.0.0.5"]);
    }

    #[test]
    fn one_address_past_the_limit_is_left_out() {
        let many: Vec<String> =
            (0..=CANDIDATES_MAX).map(|host| format!("10.0.0.{}", host + 1)).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        let full = shown(bound("0.0.0.0:7"), &many[..CANDIDATES_MAX], &[]);
        assert_eq!(full, many[..CANDIDATES_MAX]);
        assert_eq!(shown(bound("0.0.0.0:7"), &many, &[]), full);
    }
}
