//! ICE candidates, ours and the peer's.

use std::net::{IpAddr, SocketAddr};

use crate::{CandidateError, TransportId};

/// An address of ours that the peer may send to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LocalCandidate {
    transport: TransportId,
    base: SocketAddr,
    advertised: SocketAddr,
}

impl LocalCandidate {
    /// An address of an interface of this machine.
    #[must_use]
    pub fn host(transport: TransportId, address: SocketAddr) -> LocalCandidate {
        LocalCandidate { transport, base: address, advertised: address }
    }

    /// A public address that a 1:1 NAT maps to `base`, an address of this machine.
    #[must_use]
    pub fn mapped(
        transport: TransportId,
        advertised: SocketAddr,
        base: SocketAddr,
    ) -> LocalCandidate {
        LocalCandidate { transport, base, advertised }
    }

    /// The transport that its datagrams go through.
    #[must_use]
    pub fn transport(&self) -> TransportId {
        self.transport
    }

    /// The address on this machine.
    #[must_use]
    pub fn base(&self) -> SocketAddr {
        self.base
    }

    /// The address that the peer is told.
    #[must_use]
    pub fn advertised(&self) -> SocketAddr {
        self.advertised
    }
}

/// What a line of the peer's `candidate` attribute means.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RemoteCandidate {
    /// An address to try.
    Udp(UdpCandidate),
    /// Well-formed, but nothing to try: TCP, a name in `.local` (the peer's checks reveal the
    /// address), a component other than RTP, an address family or transport that is unknown.
    Unusable,
    /// The empty string: the peer has no more (RFC 8840 section 13).
    EndOfCandidates,
}

/// A remote UDP candidate, in the text that the peer sent, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UdpCandidate {
    address: SocketAddr,
    line: String,
}

impl UdpCandidate {
    /// Where the peer says that it can be reached.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The whole attribute, from `candidate:` on, without `a=`.
    #[must_use]
    pub fn line(&self) -> &str {
        &self.line
    }
}

impl RemoteCandidate {
    /// The longest attribute that is read, in bytes. Real ones stay below 300.
    pub const LEN_MAX: usize = 1024;

    /// Reads an attribute as browsers give it: with or without `a=`; the empty string ends the
    /// list.
    ///
    /// # Errors
    /// [`CandidateError::Invalid`] when the text does not follow RFC 8839 section 5.1.
    pub fn parse(text: &str) -> Result<RemoteCandidate, CandidateError> {
        let text = text.trim();
        let line = text.strip_prefix("a=").unwrap_or(text);
        if line.is_empty() || line == "end-of-candidates" {
            return Ok(RemoteCandidate::EndOfCandidates);
        }
        if line.len() > RemoteCandidate::LEN_MAX {
            return Err(invalid(format!(
                "{} bytes, the limit is {}",
                line.len(),
                RemoteCandidate::LEN_MAX
            )));
        }
        let Some(rest) = line.strip_prefix("candidate:") else {
            return Err(invalid("it does not begin with `candidate:`"));
        };
        parse_fields(line, rest)
    }
}

fn parse_fields(line: &str, rest: &str) -> Result<RemoteCandidate, CandidateError> {
    let mut fields = rest.split_ascii_whitespace();
    let mut next =
        |name: &'static str| fields.next().ok_or_else(|| invalid(format!("the {name} is missing")));
    let foundation = next("foundation")?;
    if foundation.len() > 32 || !foundation.bytes().all(is_ice_char) {
        return Err(invalid("the foundation is not 1 to 32 ICE characters"));
    }
    let component: u16 = number(next("component id")?, "component id")?;
    let transport = next("transport")?.to_owned();
    let _priority: u32 = number(next("priority")?, "priority")?;
    let address = next("address")?.to_owned();
    let port: u16 = number(next("port")?, "port")?;
    if next("word `typ`")? != "typ" {
        return Err(invalid("the word `typ` is missing"));
    }
    let kind = next("type")?;
    let known = matches!(kind, "host" | "srflx" | "prflx" | "relay");
    let usable = known && component == 1 && port != 0 && transport.eq_ignore_ascii_case("udp");
    let Ok(ip) = address.parse::<IpAddr>() else {
        // A name: mDNS, or a host name that nothing here resolves.
        return Ok(RemoteCandidate::Unusable);
    };
    if !usable || ip.is_unspecified() || ip.is_multicast() {
        return Ok(RemoteCandidate::Unusable);
    }
    Ok(RemoteCandidate::Udp(UdpCandidate {
        address: SocketAddr::new(ip, port),
        line: line.to_owned(),
    }))
}

/// `ice-char` of RFC 8839 section 5.1.
fn is_ice_char(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'+' || byte == b'/'
}

fn number<T: std::str::FromStr>(text: &str, name: &str) -> Result<T, CandidateError> {
    text.parse().map_err(|_| invalid(format!("the {name} is `{}`", clip(text))))
}

fn clip(text: &str) -> String {
    text.chars().take(24).collect()
}

fn invalid(reason: impl Into<String>) -> CandidateError {
    CandidateError::Invalid { reason: reason.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<RemoteCandidate, CandidateError> {
        RemoteCandidate::parse(text)
    }

    #[test]
    fn a_host_candidate_of_a_browser_is_read() {
        let line = "candidate:842163049 1 udp 1677729535 192.0.2.7 46154 typ srflx raddr 10.0.0.1 rport 46154 generation 0 ufrag EEtu network-cost 999";
        let Ok(RemoteCandidate::Udp(candidate)) = parse(line) else { panic!("refused") };
        assert_eq!(candidate.address(), "192.0.2.7:46154".parse().unwrap());
        assert_eq!(candidate.line(), line);
        assert_eq!(parse(&format!("a={line}")), Ok(RemoteCandidate::Udp(candidate)));
    }

    #[test]
    fn what_cannot_be_tried_is_unusable_and_no_error() {
        for line in [
            "candidate:1 1 udp 2113937151 4fd1d3e8-4a2d-4a91-9b9b-2fd3c5a10b6b.local 50000 typ host",
            "candidate:1 1 tcp 1518280447 192.0.2.1 9 typ host tcptype active",
            "candidate:1 2 udp 2113937150 192.0.2.1 50001 typ host",
            "candidate:1 1 udp 2113937151 0.0.0.0 50000 typ host",
            "candidate:1 1 udp 2113937151 192.0.2.1 50000 typ new",
            "candidate:1 1 udp 2113937151 192.0.2.1 0 typ host",
        ] {
            assert_eq!(parse(line), Ok(RemoteCandidate::Unusable), "{line}");
        }
    }

    #[test]
    fn the_empty_string_ends_the_list() {
        assert_eq!(parse(""), Ok(RemoteCandidate::EndOfCandidates));
        assert_eq!(parse("a=end-of-candidates"), Ok(RemoteCandidate::EndOfCandidates));
    }

    #[test]
    fn garbage_is_refused_with_the_field_named() {
        for (line, word) in [
            ("garbage", "candidate:"),
            ("candidate:", "foundation"),
            ("candidate:1 x udp 1 192.0.2.1 1 typ host", "component"),
            ("candidate:1 1 udp x 192.0.2.1 1 typ host", "priority"),
            ("candidate:1 1 udp 1 192.0.2.1 99999 typ host", "port"),
            ("candidate:1 1 udp 1 192.0.2.1 9 host", "typ"),
        ] {
            let Err(error) = parse(line) else { panic!("{line} was taken") };
            assert!(error.to_string().contains(word), "{line}: {error}");
        }
        let long = format!("candidate:{}", "a".repeat(RemoteCandidate::LEN_MAX));
        assert!(parse(&long).is_err());
    }

    #[test]
    fn a_foundation_has_1_to_32_ice_characters() {
        let of = |foundation: &str| {
            parse(&format!("candidate:{foundation} 1 udp 1 192.0.2.1 9 typ host"))
        };
        assert!(matches!(of(&"+/9z".repeat(8)), Ok(RemoteCandidate::Udp(_))));
        for wrong in ["a".repeat(33), "a-b".to_owned(), "\u{e9}".to_owned()] {
            let error = of(&wrong).unwrap_err().to_string();
            let reason = "the foundation is not 1 to 32 ICE characters";
            assert!(error.starts_with(&format!("candidate: {reason} (expected ")), "{error}");
        }
    }
}
