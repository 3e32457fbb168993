//! STUN as it stands on the wire (RFC 8489), with a stand-in for the integrity.
//!
//! Headers, attributes and their order are those of real checks, so that everything which routes
//! by ufrag works on them. MESSAGE-INTEGRITY holds a keyed checksum instead of an HMAC: it tells
//! the right password from a wrong one and withstands nobody who wants to forge it.

use std::net::SocketAddr;

/// `Binding Request` (RFC 8489 section 5).
const REQUEST: u16 = 0x0001;
/// `Binding Success Response`.
const SUCCESS: u16 = 0x0101;
const MAGIC_COOKIE: [u8; 4] = [0x21, 0x12, 0xa4, 0x42];
const USERNAME: u16 = 0x0006;
const MESSAGE_INTEGRITY: u16 = 0x0008;
const XOR_MAPPED_ADDRESS: u16 = 0x0020;
/// RFC 8445 section 16.1.
const USE_CANDIDATE: u16 = 0x0025;
const HEADER_LEN: usize = 20;
const INTEGRITY_LEN: usize = 20;

/// A transaction id (RFC 8489 section 5).
pub type TransactionId = [u8; 12];

/// A binding message, as far as the scripted wire needs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Binding<'a> {
    /// A request, otherwise a success response.
    pub is_request: bool,
    /// What pairs a response with its request.
    pub transaction: TransactionId,
    /// The receiver's ufrag, from a request's USERNAME.
    pub receiver: &'a [u8],
    /// The sender's ufrag, from a request's USERNAME.
    pub sender: &'a [u8],
    /// The request nominates its pair.
    pub nominates: bool,
    /// The bytes that the integrity covers, and the integrity.
    signed: (&'a [u8], &'a [u8]),
}

/// Whether the first byte is that of a STUN message (RFC 7983 section 7).
#[must_use]
pub fn is_stun(bytes: &[u8]) -> bool {
    bytes.first().is_some_and(|first| *first < 4)
}

/// Writes a request to the side with `receiver` and `pwd`, from the side with `sender`.
#[must_use]
pub fn request(
    transaction: TransactionId,
    receiver: &str,
    sender: &str,
    pwd: &str,
    nominates: bool,
) -> Vec<u8> {
    let mut bytes = header(REQUEST, transaction);
    attribute(&mut bytes, USERNAME, format!("{receiver}:{sender}").as_bytes());
    if nominates {
        attribute(&mut bytes, USE_CANDIDATE, &[]);
    }
    sign(bytes, pwd)
}

/// Writes the response to a request that came from `source`, as the side with `pwd`.
#[must_use]
pub fn response(transaction: TransactionId, source: SocketAddr, pwd: &str) -> Vec<u8> {
    let mut bytes = header(SUCCESS, transaction);
    attribute(&mut bytes, XOR_MAPPED_ADDRESS, &xor_mapped(source, transaction));
    sign(bytes, pwd)
}

impl<'a> Binding<'a> {
    /// Reads a message; `None` for anything but a binding request or success response that ends
    /// with its integrity.
    #[must_use]
    pub fn parse(bytes: &'a [u8]) -> Option<Binding<'a>> {
        let (header, mut rest) = bytes.split_at_checked(HEADER_LEN)?;
        let kind = u16::from_be_bytes([header[0], header[1]]);
        let length = usize::from(u16::from_be_bytes([header[2], header[3]]));
        if length != rest.len() || header[4..8] != MAGIC_COOKIE {
            return None;
        }
        let mut binding = Binding {
            is_request: match kind {
                REQUEST => true,
                SUCCESS => false,
                _ => return None,
            },
            transaction: header[8..].try_into().ok()?,
            receiver: &[],
            sender: &[],
            nominates: false,
            signed: (&[], &[]),
        };
        while !rest.is_empty() {
            let covered = bytes.len() - rest.len();
            let (kind, value, tail) = next_attribute(rest)?;
            rest = tail;
            match kind {
                USERNAME => {
                    let colon = value.iter().position(|byte| *byte == b':')?;
                    (binding.receiver, binding.sender) = (&value[..colon], &value[colon + 1..]);
                }
                USE_CANDIDATE => binding.nominates = true,
                MESSAGE_INTEGRITY => binding.signed = (&bytes[..covered], value),
                _ => {}
            }
        }
        (binding.signed.1.len() == INTEGRITY_LEN).then_some(binding)
    }

    /// Whether the integrity was made with this password.
    #[must_use]
    pub fn verifies(&self, pwd: &str) -> bool {
        self.signed.1 == checksum(self.signed.0, pwd)
    }
}

fn next_attribute(bytes: &[u8]) -> Option<(u16, &[u8], &[u8])> {
    let (head, rest) = bytes.split_first_chunk::<4>()?;
    let length = usize::from(u16::from_be_bytes([head[2], head[3]]));
    let (value, rest) = rest.split_at_checked(length)?;
    let (_padding, rest) = rest.split_at_checked(length.wrapping_neg() & 3)?;
    Some((u16::from_be_bytes([head[0], head[1]]), value, rest))
}

fn header(kind: u16, transaction: TransactionId) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(128);
    bytes.extend(kind.to_be_bytes());
    bytes.extend([0; 2]);
    bytes.extend(MAGIC_COOKIE);
    bytes.extend(transaction);
    bytes
}

fn attribute(bytes: &mut Vec<u8>, kind: u16, value: &[u8]) {
    let length = u16::try_from(value.len()).expect("attributes of this module are short");
    bytes.extend(kind.to_be_bytes());
    bytes.extend(length.to_be_bytes());
    bytes.extend(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
}

/// Writes the length and appends the integrity.
fn sign(mut bytes: Vec<u8>, pwd: &str) -> Vec<u8> {
    let length = bytes.len() - HEADER_LEN + 4 + INTEGRITY_LEN;
    let length = u16::try_from(length).expect("messages of this module are short");
    bytes[2..4].copy_from_slice(&length.to_be_bytes());
    let integrity = checksum(&bytes, pwd);
    attribute(&mut bytes, MESSAGE_INTEGRITY, &integrity);
    bytes
}

/// FNV-1a over password and bytes, spread over the length of an HMAC-SHA1.
fn checksum(bytes: &[u8], pwd: &str) -> [u8; INTEGRITY_LEN] {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in pwd.bytes().chain([0]).chain(bytes.iter().copied()) {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    }
    let mut integrity = [0; INTEGRITY_LEN];
    for part in integrity.chunks_mut(8) {
        part.copy_from_slice(&hash.to_be_bytes()[..part.len()]);
    }
    integrity
}

/// RFC 8489 section 14.2.
fn xor_mapped(source: SocketAddr, transaction: TransactionId) -> Vec<u8> {
    let mut mask = MAGIC_COOKIE.to_vec();
    mask.extend(transaction);
    let (family, address) = match source {
        SocketAddr::V4(source) => (1, source.ip().octets().to_vec()),
        SocketAddr::V6(source) => (2, source.ip().octets().to_vec()),
    };
    let port = source.port() ^ u16::from_be_bytes([MAGIC_COOKIE[0], MAGIC_COOKIE[1]]);
    let mut value = vec![0, family];
    value.extend(port.to_be_bytes());
    value.extend(address.iter().zip(mask).map(|(byte, mask)| byte ^ mask));
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_names_both_sides_and_verifies_with_its_password_alone() {
        let bytes = request([7; 12], "bot", "page", "secret", true);
        let binding = Binding::parse(&bytes).unwrap();
        assert!(binding.is_request && binding.nominates);
        assert_eq!((binding.receiver, binding.sender), (&b"bot"[..], &b"page"[..]));
        assert!(binding.verifies("secret"));
        assert!(!binding.verifies("secret2"));
    }

    #[test]
    fn an_address_of_either_family_is_masked_as_in_the_examples_of_rfc_5769() {
        let transaction = [0xb7, 0xe7, 0xa7, 0x01, 0xbc, 0x34, 0xd6, 0x86, 0xfa, 0x87, 0xdf, 0xae];
        let masked = |source: &str| xor_mapped(source.parse().unwrap(), transaction);
        let four = [0, 1, 0xa1, 0x47, 0xe1, 0x12, 0xa6, 0x43];
        assert_eq!(masked("192.0.2.1:32853"), four);
        let six = [
            0, 2, 0xa1, 0x47, 0x01, 0x13, 0xa9, 0xfa, 0xa5, 0xd3, 0xf1, 0x79, 0xbc, 0x25, 0xf4,
            0xb5, 0xbe, 0xd2, 0xb9, 0xd9,
        ];
        assert_eq!(masked("[2001:db8:1234:5678:11:2233:4455:6677]:32853"), six);
    }

    #[test]
    fn a_response_carries_its_transaction() {
        let bytes = response([9; 12], "192.0.2.1:5000".parse().unwrap(), "secret");
        let binding = Binding::parse(&bytes).unwrap();
        assert!(!binding.is_request);
        assert_eq!(binding.transaction, [9; 12]);
        assert!(binding.verifies("secret"));
    }

    #[test]
    fn no_byte_of_a_request_can_change_unseen() {
        let whole = request([7; 12], "bot", "page", "secret", false);
        for index in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[index] ^= 0x55;
            let taken = Binding::parse(&bytes).is_some_and(|binding| binding.verifies("secret"));
            assert!(!taken, "byte {index}");
            assert_eq!(Binding::parse(&whole[..index]), None);
        }
    }
}
