//! The two headers of a stream (RFC 7845 section 5).

use bytes::BufMut;

/// How much of the comments is kept. What is longer (pictures) is cut off.
const TAGS_BYTES_MAX: usize = super::PACKET_BYTES_MAX;

const HEAD_MAGIC: &[u8; 8] = b"OpusHead";
const TAGS_MAGIC: &[u8; 8] = b"OpusTags";

/// What a stream is: its first header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct OpusHead {
    /// 1 or 2.
    pub channels: u8,
    /// How many samples per channel at 48 kHz are to be decoded and dropped at the start.
    pub pre_skip: u16,
    /// The rate of the original in samples per second, for information; 0 when it is not known.
    pub input_rate: u32,
    /// What the decoded sound is to be amplified by, in 1/256 dB.
    pub gain: i16,
}

impl OpusHead {
    /// A stream of `channels` (1 or 2) that drops nothing at its start and is played as loud as it
    /// was coded.
    #[must_use]
    pub fn new(channels: u8) -> OpusHead {
        OpusHead { channels, pre_skip: 0, input_rate: 48_000, gain: 0 }
    }

    /// Reads a packet; `None` when it is no such header, or one of more than two channels or
    /// another major version.
    pub(super) fn parse(packet: &[u8]) -> Option<OpusHead> {
        let fields = packet.strip_prefix(HEAD_MAGIC)?;
        let [version, channels, skip_low, skip_high, r0, r1, r2, r3, gain_low, gain_high, family] =
            *fields.first_chunk()?;
        // One stream, coupled when there are two channels, is all that one decoder takes. Family 1
        // says the same in more words (RFC 7845 section 5.1.1.2).
        let is_plain = match family {
            0 => true,
            1 => fields.get(11..13) == Some(&[1, channels.wrapping_sub(1)]),
            _ => false,
        };
        let taken = version < 16 && (1..=2).contains(&channels) && is_plain;
        taken.then_some(OpusHead {
            channels,
            pre_skip: u16::from_le_bytes([skip_low, skip_high]),
            input_rate: u32::from_le_bytes([r0, r1, r2, r3]),
            gain: i16::from_le_bytes([gain_low, gain_high]),
        })
    }

    /// Whether a packet says that it is such a header, readable or not.
    pub(super) fn is_head(packet: &[u8]) -> bool {
        packet.starts_with(HEAD_MAGIC)
    }

    pub(super) fn to_bytes(self) -> Vec<u8> {
        let mut out = HEAD_MAGIC.to_vec();
        out.put_slice(&[1, self.channels]);
        out.put_u16_le(self.pre_skip);
        out.put_u32_le(self.input_rate);
        out.put_i16_le(self.gain);
        out.put_u8(0);
        out
    }
}

/// What a stream says about itself: its second header.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct OpusTags {
    /// Who wrote it.
    pub vendor: String,
    /// `NAME=value`, in their order.
    pub comments: Vec<String>,
}

impl OpusTags {
    /// A header without comments.
    #[must_use]
    pub fn new(vendor: impl Into<String>) -> OpusTags {
        OpusTags { vendor: vendor.into(), comments: Vec::new() }
    }

    pub(super) fn is_tags(packet: &[u8]) -> bool {
        packet.starts_with(TAGS_MAGIC)
    }

    /// Reads a packet as far as it goes: comments are no reason to refuse sound.
    pub(super) fn parse(packet: &[u8]) -> OpusTags {
        let mut rest = packet.strip_prefix(TAGS_MAGIC).unwrap_or_default();
        let vendor = string(&mut rest).unwrap_or_default();
        let count = length(&mut rest).unwrap_or_default();
        let comments = (0..count).map_while(|_| string(&mut rest)).collect();
        OpusTags { vendor, comments }
    }

    /// At most 60 KiB: what is longer is left out, comment by comment.
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let mut out = TAGS_MAGIC.to_vec();
        let vendor = &self.vendor.as_bytes()[..self.vendor.len().min(TAGS_BYTES_MAX / 2)];
        let vendor = String::from_utf8_lossy(vendor);
        let mut room = TAGS_BYTES_MAX - out.len() - 8 - vendor.len();
        let fits = |comment: &&String| match room.checked_sub(4 + comment.len()) {
            Some(left) => {
                room = left;
                true
            }
            None => false,
        };
        let comments: Vec<&String> = self.comments.iter().take_while(fits).collect();
        put_string(&mut out, &vendor);
        out.put_u32_le(comments.len() as u32);
        for comment in comments {
            put_string(&mut out, comment);
        }
        out
    }
}

fn put_string(out: &mut Vec<u8>, text: &str) {
    out.put_u32_le(text.len() as u32);
    out.put_slice(text.as_bytes());
}

fn length(rest: &mut &[u8]) -> Option<usize> {
    let (len, after) = rest.split_first_chunk()?;
    *rest = after;
    usize::try_from(u32::from_le_bytes(*len)).ok()
}

fn string(rest: &mut &[u8]) -> Option<String> {
    let len = length(rest)?;
    let (text, after) = rest.split_at_checked(len)?;
    *rest = after;
    Some(String::from_utf8_lossy(text).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_comes_back_as_it_was_written() {
        let head = OpusHead { channels: 2, pre_skip: 312, input_rate: 24_000, gain: -256 };
        assert_eq!(OpusHead::parse(&head.to_bytes()), Some(head));
        assert_eq!(head.to_bytes().len(), 19);
    }

    #[test]
    fn a_head_of_family_one_is_read_when_one_decoder_can_play_it() {
        let mut bytes = OpusHead::new(2).to_bytes();
        bytes[18] = 1;
        assert_eq!(OpusHead::parse(&bytes), None, "the mapping is missing");
        bytes.extend_from_slice(&[1, 1, 0, 1]);
        assert_eq!(OpusHead::parse(&bytes), Some(OpusHead::new(2)));
        bytes[19] = 2;
        assert_eq!(OpusHead::parse(&bytes), None, "two streams");
    }

    #[test]
    fn a_head_that_cannot_be_played_is_none() {
        let with = |at: usize, value: u8| {
            let mut bytes = OpusHead::new(1).to_bytes();
            bytes[at] = value;
            OpusHead::parse(&bytes)
        };
        assert!(with(8, 15).is_some(), "a minor version");
        assert!(with(8, 16).is_none(), "a major version");
        assert!(with(9, 0).is_none() && with(9, 3).is_none(), "channels");
        assert!(with(18, 255).is_none(), "family");
        assert!(OpusHead::parse(b"OpusHead").is_none());
    }

    #[test]
    fn tags_come_back_and_broken_ones_are_read_as_far_as_they_go() {
        let mut tags = OpusTags::new("smallrtc");
        tags.comments = vec!["TITLE=a call".into(), "DATE=2026".into()];
        let bytes = tags.to_bytes();
        assert_eq!(OpusTags::parse(&bytes), tags);
        let cut = OpusTags::parse(&bytes[..bytes.len() - 1]);
        assert_eq!(cut.comments, ["TITLE=a call"]);
        assert_eq!(OpusTags::parse(b"OpusTags\xff\xff\xff\xff"), OpusTags::default());
    }

    #[test]
    fn tags_that_are_longer_than_a_page_are_cut() {
        let mut tags = OpusTags::new("v".repeat(TAGS_BYTES_MAX));
        tags.comments = vec!["c".repeat(20_000); 3];
        let bytes = tags.to_bytes();
        assert!(bytes.len() <= TAGS_BYTES_MAX);
        let read = OpusTags::parse(&bytes);
        assert_eq!((read.vendor.len(), read.comments.len()), (TAGS_BYTES_MAX / 2, 1));
    }
}
