//! The bytes of the scripted wire: frames, several of them in one datagram.
//!
//! | bytes | field |
//! | --- | --- |
//! | 1 | [`MAGIC`]: in the range of RTP (RFC 7983 section 7), so that demultiplexers pass it on |
//! | 1 | [`VERSION`] |
//! | any | frames, one after the other |
//!
//! A frame is one byte of kind, two bytes of length, and its fields; numbers are big-endian:
//!
//! | kind | frame | fields |
//! | --- | --- | --- |
//! | 0 | `Hello` | |
//! | 1 | `Goodbye` | |
//! | 2 | `IceLost` | |
//! | 3 | `IceFound` | |
//! | 4 | `Fault` | text |
//! | 5 | `Keyframe` | line 1 |
//! | 6 | `Report` | rtt_ms 2, lost_per_mille 2, jitter_ms 2 |
//! | 7 | `Ack` | next 4 |
//! | 8 | `Chunk` | number 4, channel 2, content 1, data |
//! | 9 | `Media` | line 1, codec 1, flags 1, level 1, ssrc 4, seq 6, time 6, data |
//! | 10 | `Refused` | text |
//! | 11 | `Arrived` | line 1, packets 4 |
//! | 12 | `Tone` | line 1, code 1, flags 1, ticks 2, rate 4, ssrc 4, seq 6, time 6 |

use std::fmt;

use crate::Codec;

/// The first byte of every datagram that holds frames.
pub const MAGIC: u8 = 0x97;
/// The version of the format.
pub const VERSION: u8 = 1;
/// The bytes before the first frame.
pub const HEADER_LEN: usize = 2;
/// The bytes of a frame before its fields.
const FRAME_HEADER_LEN: usize = 3;
/// The bytes of a chunk without its data.
pub const CHUNK_OVERHEAD: usize = FRAME_HEADER_LEN + 7;
/// The bytes of a media frame without its data.
pub const MEDIA_OVERHEAD: usize = FRAME_HEADER_LEN + MEDIA_FIELDS_LEN;
const MEDIA_FIELDS_LEN: usize = 20;
const MEDIA_KIND: u8 = 9;

/// Sequence numbers and times have 48 bits: more than a call of a thousand years at 90 kHz
/// needs, and no sum of two of them overflows, as with what a real engine extends.
const U48: u64 = (1 << 48) - 1;

/// One thing that a side says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Frame<'a> {
    /// Stands for the DTLS handshake: the browser repeats it until one comes back.
    Hello,
    /// Stands for DTLS close_notify.
    Goodbye,
    /// The receiver's ICE is to lose its pair.
    IceLost,
    /// The receiver's ICE is to find a pair again.
    IceFound,
    /// The receiver's engine is to report a fault with this text.
    Fault(&'a str),
    /// The receiver's engine is to find, for this reason, that the sender's certificate is not the
    /// one that the offer names.
    Refused(&'a str),
    /// Asks for a keyframe on a line (PLI).
    Keyframe {
        /// The m-line's index.
        line: u8,
    },
    /// Stands for RTCP's reports: figures that the receiver's engine is to give.
    Report {
        /// The round trip.
        rtt_ms: u16,
        /// Lost packets of the receiver of this frame, in thousandths.
        lost_per_mille: u16,
        /// The jitter of what the receiver of this frame gets.
        jitter_ms: u16,
    },
    /// Stands for a receiver report: of the packets of a line, these first ones.
    Arrived {
        /// The m-line's index.
        line: u8,
        /// How many.
        packets: u32,
    },
    /// Every chunk below `next` has arrived.
    Ack {
        /// The number of the chunk that is expected.
        next: u32,
    },
    /// A piece of the reliable stream that carries the data channels.
    Chunk(Chunk<'a>),
    /// A piece of a coded frame.
    Media(Media<'a>),
    /// A packet of a key of a telephone.
    Tone(Tone),
}

/// A packet of a key of a telephone (RFC 4733).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tone {
    /// The m-line's index.
    pub line: u8,
    /// The event.
    pub code: u8,
    /// The first packet of a press.
    pub first: bool,
    /// The press is over.
    pub end: bool,
    /// How long it, or its segment, has lasted, in units of `rate`.
    pub ticks: u16,
    /// The clock, per second.
    pub rate: u32,
    /// The stream.
    pub ssrc: u32,
    /// A number of those that pieces of sound have; 48 bits.
    pub seq: u64,
    /// When the press, or its segment, began, in units of `rate`; 48 bits.
    pub time: u64,
}

/// A piece of the reliable stream, see [`Stream`](super::Stream).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chunk<'a> {
    /// Rises by one from chunk to chunk, over all channels.
    pub number: u32,
    /// The channel.
    pub channel: u16,
    /// What it does.
    pub content: Content,
    /// The label of a channel that opens, or a piece of a message.
    pub data: &'a [u8],
}

/// What a chunk does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Content {
    /// Opens the channel.
    Open,
    /// Closes the channel.
    Close,
    /// A piece of a message, more follow.
    More,
    /// The last, or only, piece of a text message.
    Text,
    /// The last, or only, piece of a binary message.
    Binary,
}

/// A piece of a coded frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Media<'a> {
    /// The m-line's index.
    pub line: u8,
    /// How it is coded.
    pub codec: Codec,
    /// Whether more pieces of the same frame follow.
    pub more: bool,
    /// The first piece of its frame.
    pub first: bool,
    /// Can be decoded without earlier frames.
    pub keyframe: bool,
    /// The first frame after silence that was not sent.
    pub talkspurt: bool,
    /// -dBov from 0 to 127, with the voice flag.
    pub level: Option<(u8, bool)>,
    /// The stream.
    pub ssrc: u32,
    /// Rises by one from piece to piece; 48 bits.
    pub seq: u64,
    /// In units of the codec's clock; 48 bits.
    pub time: u64,
    /// The bytes.
    pub data: &'a [u8],
}

impl<'a> Media<'a> {
    /// A whole frame that can be decoded by itself, of line 0 and stream 1, without a level.
    #[must_use]
    pub fn whole(codec: Codec, seq: u64, time: u64, data: &'a [u8]) -> Media<'a> {
        Media {
            line: 0,
            codec,
            more: false,
            first: true,
            keyframe: true,
            talkspurt: false,
            level: None,
            ssrc: 1,
            seq,
            time,
            data,
        }
    }
}

const FIRST: u8 = 1;
const MORE: u8 = 2;
const KEYFRAME: u8 = 4;
const TALKSPURT: u8 = 8;
const LEVEL: u8 = 16;
const VOICE: u8 = 32;

/// The datagram cannot be read as frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a datagram of scripted frames")
    }
}

impl std::error::Error for Malformed {}

/// Begins a datagram, to which [`Frame::encode`] appends.
#[must_use]
pub fn datagram() -> Vec<u8> {
    vec![MAGIC, VERSION]
}

/// A datagram of these frames.
///
/// ```
/// use smallrtc::scripted::{Frame, decode, encode};
///
/// let bytes = encode(&[Frame::Hello, Frame::Keyframe { line: 1 }]);
/// assert_eq!(decode(&bytes)?, [Frame::Hello, Frame::Keyframe { line: 1 }]);
/// # Ok::<(), smallrtc::scripted::Malformed>(())
/// ```
///
/// # Panics
/// When a frame has more than 65535 bytes.
#[must_use]
#[inline]
pub fn encode(frames: &[Frame<'_>]) -> Vec<u8> {
    match frames {
        [Frame::Media(media)] => media.datagram(),
        frames => encode_all(frames),
    }
}

fn encode_all(frames: &[Frame<'_>]) -> Vec<u8> {
    // Room for all of it and no more: it is not moved while it grows, and not when it becomes
    // `Bytes`.
    let len: usize = frames.iter().map(Frame::len).sum();
    let mut bytes = Vec::with_capacity(HEADER_LEN + len);
    bytes.extend_from_slice(&[MAGIC, VERSION]);
    for frame in frames {
        frame.encode(&mut bytes);
    }
    bytes
}

/// The frames of a datagram, all or none.
///
/// # Errors
/// [`Malformed`] when the bytes are not what [`encode`] writes.
pub fn decode(bytes: &[u8]) -> Result<Vec<Frame<'_>>, Malformed> {
    Ok(frames(bytes)?.collect())
}

/// The frames of a datagram one after the other, all or none: what [`decode`] gives, without a
/// list to keep them in.
///
/// ```
/// use smallrtc::scripted::{Frame, encode, frames};
///
/// let bytes = encode(&[Frame::Hello, Frame::Keyframe { line: 1 }]);
/// assert_eq!(frames(&bytes)?.next(), Some(Frame::Hello));
/// assert!(frames(&bytes[..bytes.len() - 1]).is_err());
/// # Ok::<(), smallrtc::scripted::Malformed>(())
/// ```
///
/// # Errors
/// [`Malformed`] when the bytes are not what [`encode`] writes.
pub fn frames(bytes: &[u8]) -> Result<Frames<'_>, Malformed> {
    let whole = bytes.strip_prefix(&[MAGIC, VERSION]).ok_or(Malformed)?;
    let mut unread = whole;
    while !unread.is_empty() {
        // Nothing is kept of it: to read a frame twice takes less time than to move it about.
        (_, unread) = split(unread)?;
    }
    Ok(Frames(whole))
}

/// The head of a coded frame that is in one piece, and where in the datagram its data begin, which
/// are all the rest of it. `None` for a datagram that is malformed or holds anything else.
///
/// ```
/// use smallrtc::scripted::{Frame, decode, encode, lone_media};
///
/// assert_eq!(lone_media(&encode(&[Frame::Hello])), None);
/// ```
#[must_use]
#[inline]
pub fn lone_media(bytes: &[u8]) -> Option<(Media<'static>, usize)> {
    let whole = bytes.strip_prefix(&[MAGIC, VERSION])?;
    let ([MEDIA_KIND, high, low], tail) = whole.split_first_chunk()? else { return None };
    if tail.len() != usize::from(u16::from_be_bytes([*high, *low])) {
        return None;
    }
    let media = Media::read(&mut Fields(tail)).filter(|media| media.first && !media.more)?;
    let start = bytes.len() - media.data.len();
    let Media { line, codec, first, more, keyframe, talkspurt, level, ssrc, seq, time, .. } = media;
    let head =
        Media { line, codec, first, more, keyframe, talkspurt, level, ssrc, seq, time, data: &[] };
    Some((head, start))
}

/// The frames of one datagram, see [`frames`]: bytes that were found well-formed.
#[derive(Clone, Debug)]
pub struct Frames<'a>(&'a [u8]);

impl<'a> Iterator for Frames<'a> {
    type Item = Frame<'a>;

    #[inline]
    fn next(&mut self) -> Option<Frame<'a>> {
        if self.0.is_empty() {
            return None;
        }
        let (frame, rest) = split(self.0).ok()?;
        self.0 = rest;
        Some(frame)
    }
}

/// The first frame, and what follows it. Always inlined, with all that it calls for sound: whoever
/// wants to know only that the bytes are well-formed then reads no field whose value says nothing
/// about it.
#[inline(always)]
fn split(bytes: &[u8]) -> Result<(Frame<'_>, &[u8]), Malformed> {
    let (kind, tail) = bytes.split_first().ok_or(Malformed)?;
    let (length, tail) = tail.split_first_chunk().ok_or(Malformed)?;
    let length = usize::from(u16::from_be_bytes(*length));
    let (fields, tail) = tail.split_at_checked(length).ok_or(Malformed)?;
    let frame = Frame::read(*kind, fields).ok_or(Malformed)?;
    Ok((frame, tail))
}

impl<'a> Frame<'a> {
    /// Appends the frame to a datagram.
    ///
    /// # Panics
    /// When it has more than 65535 bytes.
    pub fn encode(&self, bytes: &mut Vec<u8>) {
        bytes.extend_from_slice(&frame_header(self.kind(), self.len()));
        self.write(bytes);
    }

    /// Its bytes on the wire.
    fn len(&self) -> usize {
        match self {
            Frame::Hello | Frame::Goodbye | Frame::IceLost | Frame::IceFound => FRAME_HEADER_LEN,
            Frame::Fault(text) | Frame::Refused(text) => FRAME_HEADER_LEN + text.len(),
            Frame::Keyframe { .. } => FRAME_HEADER_LEN + 1,
            Frame::Report { .. } => FRAME_HEADER_LEN + 6,
            Frame::Arrived { .. } => FRAME_HEADER_LEN + 5,
            Frame::Ack { .. } => FRAME_HEADER_LEN + 4,
            Frame::Chunk(chunk) => CHUNK_OVERHEAD + chunk.data.len(),
            Frame::Media(media) => MEDIA_OVERHEAD + media.data.len(),
            Frame::Tone(_) => FRAME_HEADER_LEN + 25,
        }
    }

    fn kind(&self) -> u8 {
        match self {
            Frame::Hello => 0,
            Frame::Goodbye => 1,
            Frame::IceLost => 2,
            Frame::IceFound => 3,
            Frame::Fault(_) => 4,
            Frame::Keyframe { .. } => 5,
            Frame::Report { .. } => 6,
            Frame::Ack { .. } => 7,
            Frame::Chunk(_) => 8,
            Frame::Media(_) => MEDIA_KIND,
            Frame::Refused(_) => 10,
            Frame::Arrived { .. } => 11,
            Frame::Tone(_) => 12,
        }
    }

    fn write(&self, bytes: &mut Vec<u8>) {
        match self {
            Frame::Hello | Frame::Goodbye | Frame::IceLost | Frame::IceFound => {}
            Frame::Fault(text) | Frame::Refused(text) => bytes.extend_from_slice(text.as_bytes()),
            Frame::Keyframe { line } => bytes.push(*line),
            Frame::Report { rtt_ms, lost_per_mille, jitter_ms } => {
                for number in [rtt_ms, lost_per_mille, jitter_ms] {
                    bytes.extend(number.to_be_bytes());
                }
            }
            Frame::Arrived { line, packets } => {
                bytes.push(*line);
                bytes.extend(packets.to_be_bytes());
            }
            Frame::Ack { next } => bytes.extend(next.to_be_bytes()),
            Frame::Chunk(chunk) => chunk.write(bytes),
            Frame::Media(media) => {
                bytes.extend_from_slice(&media.fields());
                bytes.extend_from_slice(media.data);
            }
            Frame::Tone(tone) => tone.write(bytes),
        }
    }

    #[inline(always)]
    fn read(kind: u8, fields: &'a [u8]) -> Option<Frame<'a>> {
        let mut fields = Fields(fields);
        let frame = match kind {
            0 => Frame::Hello,
            1 => Frame::Goodbye,
            2 => Frame::IceLost,
            3 => Frame::IceFound,
            4 => Frame::Fault(std::str::from_utf8(fields.rest()).ok()?),
            5 => Frame::Keyframe { line: fields.u8()? },
            6 => Frame::Report {
                rtt_ms: fields.u16()?,
                lost_per_mille: fields.u16()?,
                jitter_ms: fields.u16()?,
            },
            7 => Frame::Ack { next: fields.u32()? },
            8 => Frame::Chunk(Chunk::read(&mut fields)?),
            MEDIA_KIND => Frame::Media(Media::read(&mut fields)?),
            10 => Frame::Refused(std::str::from_utf8(fields.rest()).ok()?),
            11 => Frame::Arrived { line: fields.u8()?, packets: fields.u32()? },
            12 => Frame::Tone(Tone::read(&mut fields)?),
            _ => return None,
        };
        fields.0.is_empty().then_some(frame)
    }
}

impl Tone {
    fn write(&self, bytes: &mut Vec<u8>) {
        let flags = u8::from(self.first) | u8::from(self.end) << 1;
        bytes.extend_from_slice(&[self.line, self.code, flags]);
        bytes.extend(self.ticks.to_be_bytes());
        bytes.extend(self.rate.to_be_bytes());
        bytes.extend(self.ssrc.to_be_bytes());
        bytes.extend_from_slice(&(self.seq & U48).to_be_bytes()[2..]);
        bytes.extend_from_slice(&(self.time & U48).to_be_bytes()[2..]);
    }

    fn read(fields: &mut Fields<'_>) -> Option<Tone> {
        let [line, code, flags] = fields.take()?;
        Some(Tone {
            line,
            code,
            first: flags & 1 != 0,
            end: flags & 2 != 0,
            ticks: fields.u16()?,
            rate: fields.u32()?,
            ssrc: fields.u32()?,
            seq: u48(fields.take()?),
            time: u48(fields.take()?),
        })
    }
}

impl<'a> Chunk<'a> {
    fn write(&self, bytes: &mut Vec<u8>) {
        bytes.extend(self.number.to_be_bytes());
        bytes.extend(self.channel.to_be_bytes());
        bytes.push(match self.content {
            Content::Open => 0,
            Content::Close => 1,
            Content::More => 2,
            Content::Text => 3,
            Content::Binary => 4,
        });
        bytes.extend(self.data);
    }

    fn read(fields: &mut Fields<'a>) -> Option<Chunk<'a>> {
        let (number, channel) = (fields.u32()?, fields.u16()?);
        let content = match fields.u8()? {
            0 => Content::Open,
            1 => Content::Close,
            2 => Content::More,
            3 => Content::Text,
            4 => Content::Binary,
            _ => return None,
        };
        Some(Chunk { number, channel, content, data: fields.rest() })
    }
}

impl<'a> Media<'a> {
    /// A datagram of this frame alone, which nearly all are: its head is put together in place and
    /// written at once.
    fn datagram(&self) -> Vec<u8> {
        let len = MEDIA_OVERHEAD + self.data.len();
        let mut head = [0; HEADER_LEN + MEDIA_OVERHEAD];
        let (start, fields) = head.split_at_mut(HEADER_LEN + FRAME_HEADER_LEN);
        start[..HEADER_LEN].copy_from_slice(&[MAGIC, VERSION]);
        start[HEADER_LEN..].copy_from_slice(&frame_header(MEDIA_KIND, len));
        fields.copy_from_slice(&self.fields());
        [&head[..], self.data].concat()
    }

    /// All but the data.
    fn fields(&self) -> [u8; MEDIA_FIELDS_LEN] {
        let (level, voice) = self.level.unwrap_or_default();
        let mut flags = 0;
        for (flag, set) in [
            (FIRST, self.first),
            (MORE, self.more),
            (KEYFRAME, self.keyframe),
            (TALKSPURT, self.talkspurt),
            (LEVEL, self.level.is_some()),
            (VOICE, voice),
        ] {
            flags |= if set { flag } else { 0 };
        }
        let codec = match self.codec {
            Codec::Opus => 0,
            Codec::Vp8 => 1,
            Codec::H264 => 2,
            Codec::Pcmu => 3,
            Codec::Pcma => 4,
            Codec::G722 => 5,
        };
        let mut fields = [0; MEDIA_FIELDS_LEN];
        fields[..4].copy_from_slice(&[self.line, codec, flags, level]);
        fields[4..8].copy_from_slice(&self.ssrc.to_be_bytes());
        fields[8..14].copy_from_slice(&(self.seq & U48).to_be_bytes()[2..]);
        fields[14..].copy_from_slice(&(self.time & U48).to_be_bytes()[2..]);
        fields
    }

    #[inline(always)]
    fn read(fields: &mut Fields<'a>) -> Option<Media<'a>> {
        // Taken at once, so that what is left is compared with what is wanted only here.
        let head: [u8; MEDIA_FIELDS_LEN] = fields.take()?;
        let [line, codec, flags, level, s0, s1, s2, s3, q0, q1, q2, q3, q4, q5, time @ ..] = head;
        let codec = match codec {
            0 => Codec::Opus,
            1 => Codec::Vp8,
            2 => Codec::H264,
            3 => Codec::Pcmu,
            4 => Codec::Pcma,
            5 => Codec::G722,
            _ => return None,
        };
        let has = |flag| flags & flag != 0;
        Some(Media {
            line,
            codec,
            first: has(FIRST),
            more: has(MORE),
            keyframe: has(KEYFRAME),
            talkspurt: has(TALKSPURT),
            level: has(LEVEL).then_some((level & 127, has(VOICE))),
            ssrc: u32::from_be_bytes([s0, s1, s2, s3]),
            seq: u48([q0, q1, q2, q3, q4, q5]),
            time: u48(time),
            data: fields.rest(),
        })
    }
}

/// The kind of a frame, and how many bytes follow; `len` is that of the whole frame.
fn frame_header(kind: u8, len: usize) -> [u8; FRAME_HEADER_LEN] {
    let fields = u16::try_from(len - FRAME_HEADER_LEN).expect("a frame fits 65535 bytes");
    let [high, low] = fields.to_be_bytes();
    [kind, high, low]
}

/// A number of six bytes.
fn u48([b0, b1, b2, b3, b4, b5]: [u8; 6]) -> u64 {
    u64::from_be_bytes([0, 0, b0, b1, b2, b3, b4, b5])
}

/// What is left of a frame's fields.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, tail) = self.0.split_first_chunk()?;
        self.0 = tail;
        Some(*head)
    }

    fn u8(&mut self) -> Option<u8> {
        self.take().map(u8::from_be_bytes)
    }

    fn u16(&mut self) -> Option<u16> {
        self.take().map(u16::from_be_bytes)
    }

    fn u32(&mut self) -> Option<u32> {
        self.take().map(u32::from_be_bytes)
    }

    fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn media(data: &[u8]) -> Media<'_> {
        Media {
            line: 2,
            codec: Codec::H264,
            more: true,
            first: true,
            keyframe: true,
            talkspurt: false,
            level: Some((127, true)),
            ssrc: 7,
            seq: U48,
            time: 90_000,
            data,
        }
    }

    #[test]
    fn every_frame_reads_back_as_what_was_written() {
        let chunk = |content| Chunk { number: 9, channel: 3, content, data: b"chat" };
        let tone = Tone {
            line: 2,
            code: 11,
            first: true,
            end: false,
            ticks: 9,
            rate: 8_000,
            ssrc: 7,
            seq: U48,
            time: 3,
        };
        let frames = [
            Frame::Hello,
            Frame::Goodbye,
            Frame::IceLost,
            Frame::IceFound,
            Frame::Fault("broken"),
            Frame::Refused("another certificate"),
            Frame::Keyframe { line: 1 },
            Frame::Report { rtt_ms: 20, lost_per_mille: 5, jitter_ms: 3 },
            Frame::Arrived { line: 3, packets: 70_000 },
            Frame::Ack { next: u32::MAX },
            Frame::Chunk(chunk(Content::Open)),
            Frame::Chunk(chunk(Content::Close)),
            Frame::Chunk(chunk(Content::More)),
            Frame::Chunk(chunk(Content::Text)),
            Frame::Chunk(chunk(Content::Binary)),
            Frame::Media(media(&[1, 2, 3])),
            Frame::Tone(tone),
            Frame::Tone(Tone { first: false, end: true, ..tone }),
            Frame::Media(Media { level: None, codec: Codec::Opus, ..media(&[]) }),
        ];
        assert_eq!(decode(&encode(&frames)).unwrap(), frames);
    }

    #[test]
    fn a_piece_of_sound_alone_is_written_as_it_is_among_others() {
        for data in [&[][..], &[1, 2, 3]] {
            let frame = Frame::Media(media(data));
            let mut bytes = datagram();
            frame.encode(&mut bytes);
            assert_eq!(encode(&[frame]), bytes);
        }
    }

    #[test]
    fn a_whole_frame_of_media_alone_is_told_as_it_is_read_and_nothing_else_is() {
        let whole = Media { more: false, ..media(&[1, 2, 3]) };
        let bytes = encode(&[Frame::Media(whole)]);
        let (head, start) = lone_media(&bytes).unwrap();
        assert_eq!(Media { data: &bytes[start..], ..head }, whole);
        let second = Media { first: false, ..whole };
        let hello = encode(&[Frame::Hello]);
        let two = encode(&[Frame::Media(whole), Frame::Hello]);
        let pieces = [media(&[1]), second].map(|piece| encode(&[Frame::Media(piece)]));
        for other in [&hello, &two, &pieces[0], &pieces[1], &datagram()] {
            assert_eq!(lone_media(other), None, "{other:?}");
        }
    }

    #[test]
    fn one_byte_that_is_another_makes_a_frame_that_both_ways_of_reading_agree_on() {
        let bytes = encode(&[Frame::Media(Media { more: false, ..media(&[1, 2, 3]) })]);
        for (at, value) in (0..bytes.len()).flat_map(|at| (0..=255).map(move |value| (at, value))) {
            let mut bytes = bytes.clone();
            bytes[at] = value;
            let whole = match decode(&bytes).as_deref() {
                Ok([Frame::Media(media)]) if media.first && !media.more => Some(*media),
                _ => None,
            };
            let lone = lone_media(&bytes);
            let lone = lone.map(|(head, start)| Media { data: &bytes[start..], ..head });
            assert_eq!(lone, whole, "{at}: {value}");
        }
        for len in 0..bytes.len() {
            let is_whole = decode(&bytes[..len]).is_ok_and(|frames| !frames.is_empty());
            assert_eq!(lone_media(&bytes[..len]).is_some(), is_whole, "{len}");
        }
    }

    #[test]
    #[should_panic(expected = "a frame fits 65535 bytes")]
    fn a_piece_that_no_frame_has_room_for_is_not_written() {
        let _ = encode(&[Frame::Media(media(&[0; 65_516]))]);
    }

    #[test]
    fn a_datagram_is_made_with_the_room_that_its_frames_take() {
        let chunk = Chunk { number: 9, channel: 3, content: Content::More, data: b"chat" };
        let all = [Frame::Fault("broken"), Frame::Chunk(chunk), Frame::Media(media(&[1, 2]))];
        let bytes = encode(&all);
        assert_eq!(bytes.capacity(), bytes.len());
    }

    #[test]
    fn frames_come_one_by_one_and_none_of_a_datagram_whose_last_is_cut() {
        let all = [Frame::Hello, Frame::Fault("broken"), Frame::Ack { next: 7 }];
        let bytes = encode(&all);
        assert!(frames(&bytes).unwrap().eq(all));
        assert_eq!(frames(&bytes[..bytes.len() - 1]).unwrap_err(), Malformed);
        assert_eq!(frames(&datagram()).unwrap().next(), None);
    }

    #[test]
    fn the_overheads_are_what_frames_take() {
        let chunk = Chunk { number: 0, channel: 0, content: Content::Text, data: &[0; 5] };
        assert_eq!(encode(&[Frame::Chunk(chunk)]).len(), HEADER_LEN + CHUNK_OVERHEAD + 5);
        assert_eq!(encode(&[Frame::Media(media(&[0; 5]))]).len(), HEADER_LEN + MEDIA_OVERHEAD + 5);
    }

    #[test]
    fn a_datagram_that_is_cut_anywhere_is_malformed_or_shorter() {
        let whole = encode(&[Frame::Report { rtt_ms: 1, lost_per_mille: 2, jitter_ms: 3 }]);
        for length in 0..whole.len() {
            let frames = decode(&whole[..length]);
            assert!(frames == Err(Malformed) || length == HEADER_LEN, "{length}: {frames:?}");
        }
    }

    #[test]
    fn unknown_kinds_and_versions_are_malformed() {
        for bytes in [&[MAGIC, 2][..], &[MAGIC, VERSION, 11, 0, 0], &[MAGIC, VERSION, 0, 0, 1, 0]] {
            assert_eq!(decode(bytes), Err(Malformed), "{bytes:?}");
        }
    }
}
