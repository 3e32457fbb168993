//! A reader for the STUN messages that ICE sends (RFC 8489, RFC 8445): whose they are, and
//! whether they were made with the right password.
//!
//! It reads in place, allocates nothing and never panics: it is the first code that touches a
//! stranger's datagram. It does not answer, keep state or decide where a message goes.

use str0m::crypto::from_feature_flags;

const HEADER: usize = 20;
const MAGIC: [u8; 4] = [0x21, 0x12, 0xa4, 0x42];
const USERNAME: u16 = 0x0006;
const MESSAGE_INTEGRITY: u16 = 0x0008;
/// The method of every message that ICE sends.
pub(crate) const BINDING: u16 = 1;

/// RFC 8489 section 5.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    Request,
    Indication,
    Success,
    Failure,
}

/// What can be told of a message without its password.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct StunPeek<'a> {
    pub(crate) class: Class,
    pub(crate) method: u16,
    /// What stands before the colon of USERNAME in a request: the ufrag of the side that is
    /// asked (RFC 8445 section 7.2.2).
    pub(crate) local_ufrag: Option<&'a [u8]>,
}

/// Reads the header and the user name. `None` when it is not a STUN message: whatever the
/// attributes are, their lengths must add up to the datagram's.
pub(crate) fn peek(payload: &[u8]) -> Option<StunPeek<'_>> {
    let message = Message::read(payload)?;
    let mut local_ufrag = None;
    for attribute in message.attributes() {
        let attribute = attribute?;
        if attribute.kind == USERNAME && local_ufrag.is_none() {
            let colon = attribute.value.iter().position(|byte| *byte == b':');
            local_ufrag = colon.map(|colon| &attribute.value[..colon]);
        }
    }
    Some(StunPeek { class: message.class(), method: message.method(), local_ufrag })
}

/// Whether MESSAGE-INTEGRITY was made with `password` (RFC 8489 section 14.5).
pub(crate) fn verifies(payload: &[u8], password: &str) -> bool {
    let Some(message) = Message::read(payload) else { return false };
    for attribute in message.attributes() {
        let Some(attribute) = attribute else { return false };
        if attribute.kind == MESSAGE_INTEGRITY {
            return message.integrity_holds(&attribute, password);
        }
    }
    false
}

#[derive(Clone, Copy)]
struct Message<'a> {
    payload: &'a [u8],
}

#[derive(Clone, Copy)]
struct Attribute<'a> {
    kind: u16,
    /// Where its header begins in the datagram.
    start: usize,
    value: &'a [u8],
}

impl<'a> Message<'a> {
    fn read(payload: &'a [u8]) -> Option<Message<'a>> {
        let header = payload.get(..HEADER)?;
        // The two first bits are zero and the length counts whole words (section 5).
        let len = usize::from(u16::from_be_bytes([header[2], header[3]]));
        let shaped = header[0] < 0x40 && header[4..8] == MAGIC && len.is_multiple_of(4);
        (shaped && HEADER + len == payload.len()).then_some(Message { payload })
    }

    fn kind(&self) -> u16 {
        u16::from_be_bytes([self.payload[0], self.payload[1]])
    }

    /// Bits 4 and 8 of the type.
    fn class(&self) -> Class {
        match self.kind() & 0x0110 {
            0x0000 => Class::Request,
            0x0010 => Class::Indication,
            0x0100 => Class::Success,
            _ => Class::Failure,
        }
    }

    /// The other bits of the type.
    fn method(&self) -> u16 {
        let kind = self.kind();
        kind & 0x000f | (kind & 0x00e0) >> 1 | (kind & 0x3e00) >> 2
    }

    /// The attributes in order; `None` once for one that reaches beyond the end.
    fn attributes(self) -> impl Iterator<Item = Option<Attribute<'a>>> {
        let mut start = HEADER;
        std::iter::from_fn(move || {
            if start >= self.payload.len() {
                return None;
            }
            let read = self.attribute(start);
            start = match read {
                // Values are padded to words; a message ends on one, so `end` stays within it.
                Some(attribute) => start + 4 + attribute.value.len().next_multiple_of(4),
                None => self.payload.len(),
            };
            Some(read)
        })
    }

    fn attribute(&self, start: usize) -> Option<Attribute<'a>> {
        let header = self.payload.get(start..start + 4)?;
        let kind = u16::from_be_bytes([header[0], header[1]]);
        let len = usize::from(u16::from_be_bytes([header[2], header[3]]));
        let value = self.payload.get(start + 4..start + 4 + len)?;
        Some(Attribute { kind, start, value })
    }

    fn integrity_holds(&self, integrity: &Attribute<'_>, password: &str) -> bool {
        let Ok(expected) = <[u8; 20]>::try_from(integrity.value) else { return false };
        // The length that was hashed ends behind MESSAGE-INTEGRITY: what follows, FINGERPRINT,
        // was added later (section 14.5).
        let hashed_len = integrity.start + 4 + expected.len() - HEADER;
        let Ok(hashed_len) = u16::try_from(hashed_len) else { return false };
        let hmac = from_feature_flags().sha1_hmac_provider;
        let made = hmac.sha1_hmac(
            password.as_bytes(),
            &[&self.payload[..2], &hashed_len.to_be_bytes(), &self.payload[4..integrity.start]],
        );
        same(&made, &expected)
    }
}

/// Compares without telling by its duration where the first difference is.
fn same(a: &[u8; 20], b: &[u8; 20]) -> bool {
    let difference = a.iter().zip(b).fold(0, |all, (a, b)| all | (a ^ b));
    std::hint::black_box(difference) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 5769 section 2.1: a request with FINGERPRINT behind the integrity.
    const REQUEST: &[u8] = b"\x00\x01\x00\x58\x21\x12\xa4\x42\xb7\xe7\xa7\x01\xbc\x34\xd6\x86\
        \xfa\x87\xdf\xae\x80\x22\x00\x10STUN test client\x00\x24\x00\x04\x6e\x00\x01\xff\
        \x80\x29\x00\x08\x93\x2f\xf9\xb1\x51\x26\x3b\x36\x00\x06\x00\x09\x65\x76\x74\x6a\
        \x3a\x68\x36\x76\x59\x20\x20\x20\x00\x08\x00\x14\x9a\xea\xa7\x0c\xbf\xd8\xcb\x56\
        \x78\x1e\xf2\xb5\xb2\xd3\xf2\x49\xc1\xb5\x71\xa2\x80\x28\x00\x04\xe5\x7a\x3b\xcf";
    const PASSWORD: &str = "VOkJxbRl1RmTxUk/WvJxBt";

    #[test]
    fn the_test_vector_of_rfc_5769_is_read_and_verified() {
        let peeked = peek(REQUEST).unwrap();
        assert_eq!((peeked.class, peeked.method), (Class::Request, BINDING));
        assert_eq!(peeked.local_ufrag, Some(&b"evtj"[..]));
        assert!(verifies(REQUEST, PASSWORD));
        assert!(!verifies(REQUEST, "VOkJxbRl1RmTxUk/WvJxBT"));
    }

    #[test]
    fn every_single_changed_byte_before_the_fingerprint_is_noticed() {
        for index in 0..REQUEST.len() - 8 {
            for bit in 0..8 {
                let mut changed = REQUEST.to_vec();
                changed[index] ^= 1 << bit;
                assert!(!verifies(&changed, PASSWORD), "byte {index}, bit {bit}");
            }
        }
    }

    #[test]
    fn every_cut_is_no_message() {
        for len in 0..REQUEST.len() {
            assert_eq!(peek(&REQUEST[..len]), None, "{len} bytes");
            assert!(!verifies(&REQUEST[..len], PASSWORD));
        }
    }

    /// A request of these attributes.
    fn request(attributes: &[(u16, &[u8])]) -> Vec<u8> {
        let mut message = vec![0, 1, 0, 0];
        message.extend([&MAGIC[..], &[0; 12]].concat());
        for (kind, value) in attributes {
            message.extend(kind.to_be_bytes());
            message.extend(u16::try_from(value.len()).unwrap().to_be_bytes());
            message.extend(*value);
            message.resize(message.len().next_multiple_of(4), 0);
        }
        let len = u16::try_from(message.len() - HEADER).unwrap();
        message[2..4].copy_from_slice(&len.to_be_bytes());
        message
    }

    #[test]
    fn the_first_user_name_counts_and_no_other_attribute_is_one() {
        let software = 0x8022;
        let message = request(&[(software, b"a:b"), (USERNAME, b"ours:x"), (USERNAME, b"y:z")]);
        assert_eq!(peek(&message).unwrap().local_ufrag, Some(&b"ours"[..]));
        assert_eq!(peek(&request(&[(software, b"a:b")])).unwrap().local_ufrag, None);
    }

    #[test]
    fn each_part_of_the_header_alone_can_make_it_no_message() {
        let good = request(&[]);
        assert!(peek(&good).is_some());
        for (place, byte) in [(0, 0x40), (0, 0x80), (4, 0x20), (7, 0x43)] {
            let mut bad = good.clone();
            bad[place] = byte;
            assert_eq!(peek(&bad), None, "byte {place}");
        }
        for more in 1..4 {
            let mut odd = good.clone();
            odd[3] = more;
            odd.resize(HEADER + usize::from(more), 0);
            assert_eq!(peek(&odd), None, "{more} bytes behind the header");
        }
    }

    #[test]
    fn differences_do_not_make_up_for_each_other() {
        let mut other = [0; 20];
        assert!(same(&[0; 20], &other));
        (other[3], other[11]) = (0x40, 0x40);
        assert!(!same(&[0; 20], &other));
    }

    #[test]
    fn an_attribute_that_reaches_beyond_the_end_makes_no_message() {
        let mut message = REQUEST.to_vec();
        message[23] = 0xff;
        assert_eq!(peek(&message), None);
    }

    #[test]
    fn classes_and_methods_follow_the_interleaved_bits() {
        for (kind, class, method) in [
            (0x0001u16, Class::Request, 1),
            (0x0011, Class::Indication, 1),
            (0x0101, Class::Success, 1),
            (0x0111, Class::Failure, 1),
            (0x3eef, Class::Request, 0xfff),
        ] {
            let mut message = [0; HEADER];
            message[..2].copy_from_slice(&kind.to_be_bytes());
            message[4..8].copy_from_slice(&MAGIC);
            let peeked = peek(&message).unwrap();
            assert_eq!((peeked.class, peeked.method), (class, method));
            assert_eq!(peeked.local_ufrag, None);
        }
    }
}
