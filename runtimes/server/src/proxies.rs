//! Who a request comes from, where reverse proxies stand in front of the server.
//!
//! Behind a proxy every connection comes from the proxy, and the limit of one client would be that
//! of all. A proxy that is trusted says in `X-Forwarded-For` whom it took the connection from: it
//! appends that address to what came with the request. So the list is read from its end, as far as
//! the addresses are those of trusted proxies; the first other one is the client's. What stands
//! before it was written by the client, and is never looked at.
//!
//! | the connection comes from | the header | the client is |
//! | --- | --- | --- |
//! | no trusted proxy | any | the connection's address |
//! | a trusted proxy | none | the connection's address |
//! | a trusted proxy | ends in an address that is no trusted proxy's | that address |
//! | a trusted proxy | names trusted proxies alone | the first of them |
//! | a trusted proxy | as far as it is read, no list of addresses | the connection's, counted |
//! | a trusted proxy | names [`HOPS_MAX`] of them, and more follow | the connection's, counted |
//!
//! `Forwarded` (RFC 7239) is not read: a proxy that writes the one header passes the other on as
//! the client wrote it.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use crate::limits::HOPS_MAX;

/// An address, or all addresses that begin alike (CIDR, RFC 4632).
///
/// ```
/// use smallrtc_server::Network;
///
/// let network: Network = "10.0.0.0/8".parse()?;
/// assert!(network.contains("10.1.2.3".parse()?));
/// assert!(!network.contains("11.1.2.3".parse()?));
/// assert!("10.0.0.1/8".parse::<Network>().is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    bits: u8,
}

/// Why a text is no [`Network`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{found:?} is no network (expected {expected})")]
pub struct NetworkError {
    found: String,
    expected: &'static str,
}

impl Network {
    /// Whether an address is one of it. An IPv4 address that is written as IPv6 is the IPv4 one.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                let differs = u32::from(own) ^ u32::from(other);
                differs.checked_shr(32 - u32::from(self.bits)).unwrap_or(0) == 0
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => {
                let differs = u128::from(own) ^ u128::from(other);
                differs.checked_shr(128 - u32::from(self.bits)).unwrap_or(0) == 0
            }
            _ => false,
        }
    }
}

impl FromStr for Network {
    type Err = NetworkError;

    /// `192.0.2.1`, `10.0.0.0/8`, `2001:db8::/32`. Behind the bits that are told none may be set,
    /// so that an address is not taken for its network.
    fn from_str(text: &str) -> Result<Network, NetworkError> {
        let wrong = |expected| NetworkError { found: text.to_owned(), expected };
        let (address, bits) = text.split_once('/').unzip();
        let address = address.unwrap_or(text).parse::<IpAddr>();
        let address = address.map_err(|_| wrong("an address, or one with a number of bits"))?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        if address.to_canonical() != address {
            return Err(wrong("an IPv4 address as such"));
        }
        let Some(bits) = bits else { return Ok(Network { address, bits: most }) };
        let bits = bits.parse::<u8>().ok().filter(|bits| *bits <= most);
        let bits = bits.ok_or_else(|| wrong("at most 32 bits of IPv4, 128 of IPv6"))?;
        let host_is_zero = match address {
            IpAddr::V4(address) => u32::from(address).checked_shl(u32::from(bits)) == Some(0),
            IpAddr::V6(address) => u128::from(address).checked_shl(u32::from(bits)) == Some(0),
        };
        if bits < most && !host_is_zero {
            return Err(wrong("no bits set behind those that are told"));
        }
        Ok(Network { address, bits })
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.bits)
    }
}

/// The header cannot be read: the client is unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Unreadable;

/// Whom a request comes from that came over a connection from `peer`. `forwarded` are the values
/// of `X-Forwarded-For` in their order, none of them text where it is not.
pub(crate) fn client_of<'a>(
    peer: IpAddr,
    trusted: &[Network],
    forwarded: impl DoubleEndedIterator<Item = Option<&'a str>>,
) -> Result<IpAddr, Unreadable> {
    let is_trusted = |address| trusted.iter().any(|network| network.contains(address));
    let mut client = peer.to_canonical();
    if !is_trusted(client) {
        return Ok(client);
    }
    // Several headers are one list (RFC 9110 section 5.3).
    let mut hops = forwarded.rev().flat_map(|value| {
        let listed = value.map(|value| value.rsplit(',').map(Some));
        listed.into_iter().flatten().chain(value.is_none().then_some(None))
    });
    for _ in 0..=HOPS_MAX {
        let Some(hop) = hops.next() else { return Ok(client) };
        client = hop.and_then(|hop| address_in(hop.trim())).ok_or(Unreadable)?;
        if !is_trusted(client) {
            return Ok(client);
        }
    }
    Err(Unreadable)
}

/// An address, which some proxies write with the port.
fn address_in(hop: &str) -> Option<IpAddr> {
    let alone = hop.strip_prefix('[').and_then(|hop| hop.strip_suffix(']')).unwrap_or(hop);
    let with_port = || hop.parse::<SocketAddr>().ok().map(|address| address.ip());
    let address = alone.parse::<IpAddr>().ok().or_else(with_port)?;
    Some(address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn networks(texts: &[&str]) -> Vec<Network> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    /// Who the client is behind proxies at 10.0.0.0/8 and 2001:db8::1, by these headers.
    fn client(peer: &str, headers: &[&str]) -> Result<String, Unreadable> {
        let trusted = networks(&["10.0.0.0/8", "2001:db8::1"]);
        let headers = headers.iter().map(|header| Some(*header));
        client_of(ip(peer), &trusted, headers).map(|client| client.to_string())
    }

    #[test]
    fn without_a_trusted_proxy_the_header_means_nothing() {
        for header in ["198.51.100.7", "10.0.0.1", "", "garbage"] {
            assert_eq!(client("192.0.2.1", &[header]).as_deref(), Ok("192.0.2.1"), "{header}");
        }
        let none = client_of(ip("10.0.0.1"), &[], [Some("198.51.100.7")].into_iter());
        assert_eq!(none, Ok(ip("10.0.0.1")), "nobody is trusted by default");
    }

    #[test]
    fn the_client_is_the_last_address_that_is_no_trusted_proxys() {
        for (headers, expected) in [
            (&["198.51.100.7"][..], "198.51.100.7"),
            (&["203.0.113.9, 198.51.100.7"], "198.51.100.7"),
            (&["203.0.113.9,198.51.100.7 , 10.0.0.2,\t10.9.9.9"], "198.51.100.7"),
            (&["203.0.113.9", "198.51.100.7", "10.0.0.2"], "198.51.100.7"),
            (&["what the client wrote, 198.51.100.7"], "198.51.100.7"),
            (&["198.51.100.7:4711"], "198.51.100.7"),
            (&["[2001:db8::2]:4711, 2001:db8::1"], "2001:db8::2"),
            (&["[2001:db8::2]"], "2001:db8::2"),
            (&["::ffff:198.51.100.7"], "198.51.100.7"),
            (&["::ffff:10.0.0.2, ::ffff:10.0.0.3"], "10.0.0.2"),
            (&["10.0.0.7, 10.0.0.8"], "10.0.0.7"),
            (&[], "10.0.0.1"),
        ] {
            for peer in ["10.0.0.1", "::ffff:10.0.0.1"] {
                assert_eq!(client(peer, headers).as_deref(), Ok(expected), "{headers:?}");
            }
        }
    }

    #[test]
    fn a_list_that_cannot_be_read_names_nobody() {
        for header in ["", ",", "unknown", "198.51.100.7,", "198.51.100.256", "a.example", "1.2.3"]
        {
            assert_eq!(client("10.0.0.1", &[header]), Err(Unreadable), "{header:?}");
        }
        let trusted = networks(&["10.0.0.0/8"]);
        let not_text = [Some("198.51.100.7"), None].into_iter();
        assert_eq!(client_of(ip("10.0.0.1"), &trusted, not_text), Err(Unreadable));
        let before = [None, Some("198.51.100.7")].into_iter();
        assert_eq!(client_of(ip("10.0.0.1"), &trusted, before), Ok(ip("198.51.100.7")));
    }

    #[test]
    fn as_many_proxies_as_the_limit_are_passed_and_one_more_is_not() {
        let behind = |hops: usize| format!("198.51.100.7{}", ", 10.0.0.2".repeat(hops));
        assert_eq!(client("10.0.0.1", &[&behind(HOPS_MAX)]).as_deref(), Ok("198.51.100.7"));
        assert_eq!(client("10.0.0.1", &[&behind(HOPS_MAX + 1)]), Err(Unreadable));
        // What the client wrote before its own address is not counted.
        let forged = format!("{}, 198.51.100.7", behind(1000));
        assert_eq!(client("10.0.0.1", &[&forged]).as_deref(), Ok("198.51.100.7"));
    }

    #[test]
    fn networks_hold_what_begins_alike() {
        for (network, inside, outside) in [
            ("192.0.2.1", "192.0.2.1", "192.0.2.0"),
            ("192.0.2.0/31", "192.0.2.1", "192.0.2.2"),
            ("10.0.0.0/8", "10.255.255.255", "11.0.0.0"),
            ("0.0.0.0/0", "255.1.2.3", "::1"),
            ("2001:db8::/33", "2001:db8:7fff::1", "2001:db8:8000::"),
            ("::/0", "2001:db8::1", "192.0.2.1"),
            ("::1", "::1", "::2"),
        ] {
            let [network] = networks(&[network])[..] else { panic!("one") };
            assert!(network.contains(ip(inside)) && !network.contains(ip(outside)), "{network}");
            assert_eq!(network.to_string().parse(), Ok(network));
        }
    }

    #[test]
    fn what_is_no_network_is_refused_with_what_is_expected() {
        for (text, expected) in [
            ("", "an address, or one with a number of bits"),
            ("example.org", "an address, or one with a number of bits"),
            ("10.0.0.0/", "at most 32 bits of IPv4, 128 of IPv6"),
            ("10.0.0.0/33", "at most 32 bits of IPv4, 128 of IPv6"),
            ("::/129", "at most 32 bits of IPv4, 128 of IPv6"),
            ("10.0.0.1/8", "no bits set behind those that are told"),
            ("0.0.0.1/0", "no bits set behind those that are told"),
            ("2001:db8::1/64", "no bits set behind those that are told"),
            ("::ffff:10.0.0.1", "an IPv4 address as such"),
        ] {
            let error = text.parse::<Network>().unwrap_err().to_string();
            assert_eq!(error, format!("{text:?} is no network (expected {expected})"));
        }
        for text in ["10.0.0.1/32", "::1/128", "0.0.0.0/0"] {
            assert!(text.parse::<Network>().is_ok(), "{text}");
        }
    }
}
