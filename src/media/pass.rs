//! Passes an Ogg Opus file on as it is: no decoder, no encoder.
//!
//! It asks for bytes as [`AudioFile`](super::AudioFile) does and gives coded frames for
//! `Session::send_encoded` (`Config::audio_out_encoded`), each when it is due. Deadlines are
//! absolute and count from the first packet on.
//!
//! - Late by less than a packet: the grid stays.
//! - Late by a packet or more: the grid slips by whole packets. No burst, nothing left out; the
//!   track's time goes on by what was lost, as after a pause.
//! - Something is missing in the file: a pause of the same length, 60 s at most.
//! - Paused: no deadline. What is resumed is due at once; the track's time has gone on.
//! - The file cannot be passed on (see [`PassError`]): ended, with the error.
//!
//! Packets that hold nothing but what is dropped at a stream's start or end are left out, so a loop
//! is late by less than a packet.

use std::time::{Duration, Instant};

use super::FileRead;
use super::ogg::{OggItem, OggOpusReader, OggPacket};
use crate::{Codec, EncodedFrame};

/// What is read at a time: 10 s of speech.
const READ: usize = 32 * 1024;

/// The longest packet that is passed on, at 48 kHz: 60 ms, what sessions send.
const SAMPLES_MAX: u32 = 2_880;
/// And the shortest, 10 ms: fewer make more packets than a call sends.
const SAMPLES_MIN: u32 = 480;

/// The longest pause for what is missing, at 48 kHz. 60 s, as in all players here.
const GAP_MAX: u64 = 60 * 48_000;

/// Why a file cannot be passed on. It can still be decoded: [`AudioFile`](super::AudioFile).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PassError {
    /// It holds no Opus of one or two channels.
    #[error("an Ogg file without Opus of one or two channels")]
    NoOpus,
    /// It has more channels than are to be sent.
    #[error("channels: {0} (expected 1)")]
    Channels(u8),
    /// Its packets are shorter than 10 ms or longer than 60 ms.
    #[error("packets of {0} samples at 48 kHz (expected 480 to 2880)")]
    PacketTime(u32),
    /// It wants to be played louder or softer than it was coded: 1/256 dB.
    #[error("gain: {0} (expected 0)")]
    Gain(i16),
}

/// Passes an Ogg Opus file on.
#[derive(Debug)]
pub struct OpusPass {
    channels_max: u8,
    reader: OggOpusReader,
    offset: u64,
    is_finished: bool,
    is_starved: bool,
    is_looped: bool,
    is_heard: bool,
    is_ended: bool,
    is_paused: bool,
    error: Option<PassError>,
    /// What is to be sent at `due`.
    next: Option<OggPacket>,
    due: Option<Instant>,
    /// The first packet's deadline: the track's time zero.
    epoch: Option<Instant>,
    /// Where the stream's next packet is expected.
    expected: u64,
    /// Samples that the file has played, and where to begin.
    played: u64,
    target: u64,
    slips: u64,
}

/// The time of samples at 48 kHz.
fn duration(samples: u64) -> Duration {
    Duration::from_nanos(samples.saturating_mul(62_500) / 3)
}

impl OpusPass {
    /// A file at its start, for a track that at most `channels` (1 or 2) are sent on.
    #[must_use]
    pub fn new(channels: u8) -> OpusPass {
        OpusPass {
            channels_max: channels,
            reader: OggOpusReader::new(),
            offset: 0,
            is_finished: false,
            is_starved: true,
            is_looped: false,
            is_heard: false,
            is_ended: false,
            is_paused: false,
            error: None,
            next: None,
            due: None,
            epoch: None,
            expected: 0,
            played: 0,
            target: 0,
            slips: 0,
        }
    }

    /// Whether the file begins again at its end. Off by default.
    pub fn set_looped(&mut self, is_looped: bool) {
        self.is_looped = is_looped;
    }

    /// The bytes that are wanted now; `None` when there are enough.
    #[must_use]
    pub fn wants(&self) -> Option<FileRead> {
        let wanted = self.is_starved && !self.is_finished && !self.is_ended;
        wanted.then_some(FileRead { offset: self.offset, len: READ })
    }

    /// Takes bytes of the file from `offset` on; none means that the file ends there. Bytes of
    /// another place than the one wanted are dropped.
    pub fn handle_read(&mut self, offset: u64, bytes: &[u8]) {
        if self.wants().is_none_or(|wanted| wanted.offset != offset) {
            return;
        }
        self.is_starved = false;
        if bytes.is_empty() {
            self.is_finished = true;
            self.reader.finish();
        }
        self.offset += self.reader.push(bytes) as u64;
        self.advance();
    }

    /// Begins, or goes on after a pause: the next packet is due now.
    pub fn start(&mut self, now: Instant) {
        self.is_paused = false;
        self.due = Some(now);
    }

    /// Sends nothing more until [`OpusPass::start`].
    pub fn pause(&mut self) {
        self.is_paused = true;
    }

    /// Goes to the packet at a time of the file's sound, or to its end. When it is due does not
    /// change.
    pub fn seek(&mut self, time: Duration) {
        let target = u64::try_from(time.as_nanos() * 3 / 62_500).unwrap_or(u64::MAX);
        self.rewind(target);
        self.is_ended = self.error.is_some();
        self.is_heard = true;
    }

    fn rewind(&mut self, target: u64) {
        self.reader = OggOpusReader::new();
        (self.offset, self.is_finished, self.is_starved) = (0, false, true);
        (self.next, self.expected, self.played, self.target) = (None, 0, 0, target);
    }

    /// When the next packet is due; `None` while there is none, or it is paused, or not started.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.due.filter(|_| self.next.is_some() && !self.is_paused)
    }

    /// Gives the packet that is due, with the track's time. Call it again until it gives `None`;
    /// there is at most one packet for each deadline.
    pub fn handle_timeout(&mut self, now: Instant) -> Option<EncodedFrame> {
        let due = self.poll_timeout().filter(|&due| due <= now)?;
        let packet = self.next.take()?;
        let length = duration(packet.samples.into());
        let late = now.saturating_duration_since(due);
        let slipped = (late.as_nanos() / length.as_nanos()) as u32;
        self.slips += u64::from(slipped > 0);
        let due = due + length * slipped;
        let epoch = *self.epoch.get_or_insert(due);
        self.due = Some(due + length);
        self.is_heard = true;
        self.advance();
        Some(EncodedFrame::new(Codec::Opus, due.duration_since(epoch), true, packet.data))
    }

    /// Reads up to the next packet that is to be sent.
    fn advance(&mut self) {
        while self.next.is_none() && !self.is_ended {
            match self.reader.read() {
                Some(OggItem::Packet(packet)) => self.take(packet),
                Some(OggItem::Head(head)) => {
                    self.expected = 0;
                    if head.gain != 0 {
                        self.fail(PassError::Gain(head.gain));
                    } else if head.channels > self.channels_max {
                        self.fail(PassError::Channels(head.channels));
                    }
                }
                Some(OggItem::Tags(_)) => {}
                None if !self.is_finished => {
                    self.is_starved = true;
                    return;
                }
                None => self.turn(),
            }
        }
    }

    /// Keeps a packet, unless nothing of it is to be heard.
    fn take(&mut self, packet: OggPacket) {
        if !(SAMPLES_MIN..=SAMPLES_MAX).contains(&packet.samples) {
            self.fail(PassError::PacketTime(packet.samples));
            return;
        }
        let kept = u64::from(packet.samples - packet.trim_start - packet.trim_end);
        let gap = packet.position.saturating_sub(self.expected).min(GAP_MAX);
        self.expected = packet.position.saturating_add(packet.samples.into());
        let is_before = self.played + gap + kept <= self.target;
        if let Some(due) = &mut self.due
            && self.played >= self.target
        {
            *due += duration(gap);
        }
        self.played += gap + kept;
        if kept > 0 && !is_before {
            self.next = Some(packet);
        }
    }

    fn fail(&mut self, error: PassError) {
        self.error = Some(error);
        self.is_ended = true;
    }

    fn turn(&mut self) {
        if self.is_looped && std::mem::take(&mut self.is_heard) {
            self.rewind(0);
        } else {
            self.is_ended = true;
            if self.played == 0 && self.reader.counters().pages == 0 {
                self.error = Some(PassError::NoOpus);
            }
        }
    }

    /// Whether everything was given out, or nothing can be.
    #[must_use]
    pub fn is_ended(&self) -> bool {
        self.is_ended && self.next.is_none()
    }

    /// Why nothing more is given, where the file cannot be passed on.
    #[must_use]
    pub fn error(&self) -> Option<PassError> {
        self.error
    }

    /// How often it was late by a packet or more.
    #[must_use]
    pub fn slips(&self) -> u64 {
        self.slips
    }
}
