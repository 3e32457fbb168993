//! Bytes, read as numbers and pieces. What is read past the end is zero.

use smallrtc::Codec;
use smallrtc::scripted::{Chunk, Content, Frame, Media, Tone};

/// What is left of a script.
#[derive(Clone, Copy, Debug)]
pub(super) struct Script<'a>(pub(super) &'a [u8]);

impl<'a> Script<'a> {
    /// The next command; `None` at the end.
    pub(super) fn command(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    pub(super) fn byte(&mut self) -> u8 {
        self.command().unwrap_or(0)
    }

    pub(super) fn short(&mut self) -> u16 {
        u16::from_be_bytes([self.byte(), self.byte()])
    }

    /// Bytes with their length in front.
    pub(super) fn take(&mut self) -> &'a [u8] {
        let len = usize::from(self.byte());
        let (head, rest) = self.0.split_at(len.min(self.0.len()));
        self.0 = rest;
        head
    }

    /// A number near `expected` as a rule, far from it now and then.
    pub(super) fn near(&mut self, expected: u64) -> u64 {
        match self.byte() {
            step @ 0..=119 => expected.wrapping_add(u64::from(step % 8)),
            step @ 120..=199 => expected.saturating_sub(u64::from(step - 119)),
            step @ 200..=251 => expected.wrapping_add(u64::from(step) << (step - 200)),
            252 => 0,
            253 => u64::MAX,
            _ => u64::from(self.short()),
        }
    }

    /// A frame of the scripted wire; `number` and `seq` are those that the receiver expects.
    pub(super) fn frame(&mut self, number: u32, seq: u64) -> Frame<'a> {
        match self.byte() & 15 {
            0 => Frame::IceLost,
            1 => Frame::IceFound,
            2 => Frame::Hello,
            3 => Frame::Keyframe { line: self.byte() & 3 },
            4 => Frame::Report {
                rtt_ms: self.short(),
                lost_per_mille: self.short(),
                jitter_ms: self.short(),
            },
            5 => Frame::Ack { next: self.near(0) as u32 },
            6 => Frame::Goodbye,
            7 => Frame::Fault("fuzz"),
            15 => Frame::Refused("fuzz"),
            8..=11 => Frame::Chunk(self.chunk(number)),
            14 => Frame::Tone(self.tone(seq)),
            _ => Frame::Media(self.media(seq)),
        }
    }

    fn chunk(&mut self, number: u32) -> Chunk<'a> {
        let head = self.byte();
        let content = match head & 7 {
            0 => Content::Open,
            1 => Content::Close,
            2 | 3 => Content::More,
            4 | 5 => Content::Text,
            _ => Content::Binary,
        };
        let number = if head & 128 == 0 { number } else { self.near(u64::from(number)) as u32 };
        let channel = u16::from(head >> 3 & 3);
        Chunk { number, channel, content, data: self.take() }
    }

    /// A packet of a key of a telephone; `seq` is the number that follows.
    pub(super) fn tone(&mut self, seq: u64) -> Tone {
        let (head, flags) = (self.byte(), self.byte());
        Tone {
            line: head & 3,
            code: head >> 3 & 17,
            first: flags & 1 != 0,
            end: flags & 2 != 0,
            ticks: self.short(),
            rate: [48_000, 8_000, 0, u32::MAX][usize::from(flags >> 2 & 3)],
            ssrc: u32::from(flags >> 6),
            seq: self.near(seq),
            time: self.near(seq.wrapping_mul(960)),
        }
    }

    /// A piece of media; `seq` is the number that follows.
    pub(super) fn media(&mut self, seq: u64) -> Media<'a> {
        let (head, flags) = (self.byte(), self.byte());
        Media {
            line: head & 3,
            codec: [Codec::Opus, Codec::Vp8, Codec::H264, Codec::G722][usize::from(head >> 2 & 3)],
            more: flags & 3 == 3,
            first: flags & 12 != 12,
            keyframe: flags & 16 != 0,
            talkspurt: flags & 32 != 0,
            level: (flags & 64 != 0).then_some((head & 127, flags & 128 != 0)),
            ssrc: u32::from(head >> 6),
            seq: self.near(seq),
            time: self.near(seq.wrapping_mul(960)),
            data: self.take(),
        }
    }
}

/// Cuts bytes into pieces with their lengths in front.
pub(super) fn split(data: &[u8]) -> Vec<&[u8]> {
    let mut script = Script(data);
    let mut pieces = Vec::new();
    while !script.0.is_empty() {
        pieces.push(script.take());
    }
    pieces
}
