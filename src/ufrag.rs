//! The ICE username fragment, which carries the way to its session.
//!
//! A datagram from an unknown address names its session only by the ufrag in a STUN request, so
//! the ufrag is a routing label: any node, shard or load balancer can read it without a table.
//! Its layout is fixed:
//!
//! | characters | bits | field |
//! | --- | --- | --- |
//! | 1 | 6 | version of this layout, now 0 |
//! | 2 | 12 | node |
//! | 2 | 12 | shard: an endpoint of the node |
//! | 4 | 24 | slot: a session's place in the endpoint |
//! | 3 | 18 | generation of the slot |
//! | 8 | 48 | random |
//!
//! Each character holds 6 bits, most significant first, in the alphabet of base64, which is that
//! of `ice-char` (RFC 8839 section 5.4). It is a label, not a secret: the password is the secret.

use std::fmt;

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// The version of the layout above.
const VERSION: u64 = 0;

/// The fields of a ufrag of ours.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ufrag {
    /// The node, below 4096.
    pub node: u16,
    /// The shard of the node, below 4096.
    pub shard: u16,
    /// The session's slot, below 2^24.
    pub slot: u32,
    /// How often the slot was used before, modulo 2^18.
    pub generation: u32,
    /// 48 random bits.
    pub random: u64,
}

impl Ufrag {
    /// The length of its text.
    pub const LEN: usize = 20;
    /// One past the largest node or shard.
    pub const NODES: u16 = 1 << 12;
    /// One past the largest slot.
    pub const SLOTS: u32 = 1 << 24;
    /// One past the largest generation.
    pub const GENERATIONS: u32 = 1 << 18;
    /// The random bits that are kept.
    pub const RANDOM_MASK: u64 = (1 << 48) - 1;

    const WIDTHS: [usize; 6] = [1, 2, 2, 4, 3, 8];

    fn fields(self) -> [u64; 6] {
        [
            VERSION,
            u64::from(self.node),
            u64::from(self.shard),
            u64::from(self.slot),
            u64::from(self.generation),
            self.random & Ufrag::RANDOM_MASK,
        ]
    }

    /// Reads a ufrag of ours; `None` for one that is not, or of another version.
    #[must_use]
    pub fn parse(text: &[u8]) -> Option<Ufrag> {
        if text.len() != Ufrag::LEN {
            return None;
        }
        let mut fields = [0u64; 6];
        let mut rest = text;
        for (field, width) in fields.iter_mut().zip(Ufrag::WIDTHS) {
            let (head, tail) = rest.split_at(width);
            rest = tail;
            for byte in head {
                *field = *field << 6 | u64::from(sextet(*byte)?);
            }
        }
        let [version, node, shard, slot, generation, random] = fields;
        (version == VERSION).then_some(Ufrag {
            node: u16::try_from(node).ok()?,
            shard: u16::try_from(shard).ok()?,
            slot: u32::try_from(slot).ok()?,
            generation: u32::try_from(generation).ok()?,
            random,
        })
    }
}

fn sextet(byte: u8) -> Option<u8> {
    match byte {
        b'A'..=b'Z' => Some(byte - b'A'),
        b'a'..=b'z' => Some(byte - b'a' + 26),
        b'0'..=b'9' => Some(byte - b'0' + 52),
        b'+' => Some(62),
        b'/' => Some(63),
        _ => None,
    }
}

impl fmt::Display for Ufrag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (field, width) in self.fields().into_iter().zip(Ufrag::WIDTHS) {
            write_sextets(f, field, width)?;
        }
        Ok(())
    }
}

/// Writes the lowest `width` * 6 bits of `value`, most significant first.
fn write_sextets(f: &mut impl fmt::Write, value: u64, width: usize) -> fmt::Result {
    for index in (0..width).rev() {
        let bits = (value >> (6 * index)) & 63;
        f.write_char(char::from(ALPHABET[bits as usize]))?;
    }
    Ok(())
}

/// Writes bytes as ICE characters, 6 bits of each byte in one character.
pub(crate) fn ice_text(random: &[u8]) -> String {
    random.iter().map(|byte| char::from(ALPHABET[usize::from(byte & 63)])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ufrag_reads_back_as_what_was_written() {
        let ufrag = Ufrag {
            node: 4095,
            shard: 7,
            slot: 0x00ab_cdef,
            generation: 262_143,
            random: 0x1234_5678_9abc,
        };
        let text = ufrag.to_string();
        assert_eq!(text.len(), Ufrag::LEN);
        assert_eq!(Ufrag::parse(text.as_bytes()), Some(ufrag));
        assert_eq!(Ufrag::default().to_string(), "A".repeat(Ufrag::LEN));
    }

    #[test]
    fn foreign_text_is_none() {
        for text in
            ["", "EEtu", "BAAAAAAAAAAAAAAAAAAA", "AAAAAAAAAAAAAAAAAAA=", "AAAAAAAAAAAAAAAAAAAAA"]
        {
            assert_eq!(Ufrag::parse(text.as_bytes()), None, "{text}");
        }
    }
}
