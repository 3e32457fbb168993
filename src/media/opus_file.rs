//! An Ogg Opus file that is decoded.

use std::collections::VecDeque;
use std::fmt;

use super::ogg::{OggItem, OggOpusReader, OggPacket};
use super::{FileRead, OpusHead};
use crate::Config;
use crate::audio::AudioCodec;
use crate::audio::codec::AudioDecoder;
use crate::config::AudioIn;

/// What is read at a time: 10 s of speech.
const READ: usize = 32 * 1024;

/// How much is decoded before the place that a seek wants, so that the decoder has come to itself.
/// 160 ms: RFC 7845 section 4.6 asks for 80 ms at least, after which a voice that begins just there
/// was still found to be far off.
const PREROLL: u64 = 7_680;

/// How much of a gap is concealed; longer, a decoder drones.
const CONCEAL_MAX: u64 = 4_800;

/// The longest gap that is silence; what is longer is cut to it. 60 s: a recorder fills as much
/// before it begins a new stream, and a file that was tampered with does not play for years.
const GAP_MAX: u64 = 60 * 48_000;

/// How much silence is made at a time.
const SILENCE_BLOCK: u64 = 960;

/// Decodes a file whose bytes it asks for, in order.
pub(super) struct Opus {
    reader: OggOpusReader,
    codec: AudioCodec,
    /// With the channels of the first stream.
    decoder: Option<(Box<dyn AudioDecoder>, u8)>,
    head: Option<OpusHead>,
    /// Where the next bytes lie.
    offset: u64,
    is_finished: bool,
    /// Whether more bytes are needed.
    is_starved: bool,
    /// Where the stream's next packet is expected.
    next: u64,
    /// Silence that is to be made, and what comes after it.
    silence: u64,
    held: Option<OggPacket>,
    /// Samples that the file has played, all its streams together, and where to begin.
    played: u64,
    target: u64,
    scratch: Vec<i16>,
}

impl Opus {
    /// `None` where nothing decodes Opus.
    pub(super) fn new() -> Option<Opus> {
        AudioCodec::select(&Config::new()).map(Opus::with_codec)
    }

    pub(super) fn with_codec(codec: AudioCodec) -> Opus {
        Opus {
            reader: OggOpusReader::new(),
            codec,
            decoder: None,
            head: None,
            offset: 0,
            is_finished: false,
            is_starved: true,
            next: 0,
            silence: 0,
            held: None,
            played: 0,
            target: 0,
            scratch: Vec::new(),
        }
    }

    /// The channels of what is decoded, once they are known.
    pub(super) fn channels(&self) -> Option<u8> {
        self.decoder.as_ref().map(|&(_, channels)| channels)
    }

    /// Samples per channel that were played, or passed over by a seek, since the file's start.
    pub(super) fn played(&self) -> u64 {
        self.played
    }

    pub(super) fn wants(&self) -> Option<FileRead> {
        let wanted = self.is_starved && !self.is_finished;
        wanted.then_some(FileRead { offset: self.offset, len: READ })
    }

    /// Takes the next bytes; none at the end.
    pub(super) fn handle_read(&mut self, bytes: &[u8]) {
        self.is_starved = false;
        if bytes.is_empty() {
            self.is_finished = true;
            self.reader.finish();
        }
        self.offset += self.reader.push(bytes) as u64;
    }

    /// Begins anew, `target` samples after the start.
    pub(super) fn seek(&mut self, target: u64) {
        self.reader = OggOpusReader::new();
        if let Some((decoder, _)) = &mut self.decoder {
            decoder.reset();
        }
        (self.head, self.held) = (None, None);
        (self.offset, self.is_finished, self.is_starved) = (0, false, true);
        (self.next, self.silence, self.played, self.target) = (0, 0, 0, target);
    }

    /// Appends one packet's sound, or a part of a gap; gives whether the file is over.
    pub(super) fn decode(&mut self, out: &mut VecDeque<i16>) -> bool {
        loop {
            if self.silence > 0 {
                let len = self.silence.min(SILENCE_BLOCK);
                self.silence -= len;
                self.scratch.clear();
                self.scratch.resize(len as usize * usize::from(self.channels().unwrap_or(1)), 0);
                if self.give(out) {
                    return false;
                }
                continue;
            }
            let packet = match self.held.take() {
                Some(packet) => packet,
                None => match self.reader.read() {
                    Some(OggItem::Packet(packet)) => packet,
                    Some(OggItem::Head(head)) => {
                        self.begin(head);
                        continue;
                    }
                    Some(OggItem::Tags(_)) => continue,
                    None => {
                        self.is_starved = true;
                        return self.is_finished;
                    }
                },
            };
            if packet.position > self.next {
                self.gap(packet);
            } else {
                self.packet(&packet);
            }
            if self.give(out) {
                return false;
            }
        }
    }

    fn begin(&mut self, head: OpusHead) {
        match &mut self.decoder {
            Some((decoder, _)) => decoder.reset(),
            None => {
                let default = Config::new().audio_in;
                let config = AudioIn { rate: 48_000, channels: head.channels, ..default };
                self.decoder = Some((self.codec.decoder(config), head.channels));
            }
        }
        (self.head, self.next) = (Some(head), 0);
    }

    /// Conceals the start of what is missing before a packet; the rest will be silence.
    fn gap(&mut self, packet: OggPacket) {
        let skipped = self.head.map_or(0, |head| u64::from(head.pre_skip)).max(self.next);
        let len = packet.position.saturating_sub(skipped).min(GAP_MAX);
        self.next = packet.position;
        self.held = Some(packet);
        let concealed = if self.played == 0 { 0 } else { len.min(CONCEAL_MAX) };
        self.silence = len - concealed;
        self.scratch.clear();
        if let Some((decoder, _)) = &mut self.decoder {
            decoder.conceal(concealed as usize, &mut self.scratch);
        }
    }

    /// Decodes a packet into the scratch, trimmed; nothing when a seek passes over it.
    fn packet(&mut self, packet: &OggPacket) {
        self.next = packet.position + u64::from(packet.samples);
        self.scratch.clear();
        let kept = u64::from(packet.samples - packet.trim_start - packet.trim_end);
        if self.played + kept + PREROLL <= self.target {
            self.played += kept;
            return;
        }
        let Some((decoder, channels)) = &mut self.decoder else { return };
        let channels = usize::from(*channels);
        decoder.decode(&packet.data, &mut self.scratch);
        // What the decoder refuses has its time all the same.
        self.scratch.resize(packet.samples as usize * channels, 0);
        self.scratch.truncate((packet.samples - packet.trim_end) as usize * channels);
        self.scratch.drain(..packet.trim_start as usize * channels);
        let gain = self.head.map_or(0, |head| head.gain);
        if gain != 0 {
            let factor = 10f32.powf(f32::from(gain) / (20.0 * 256.0));
            for sample in &mut self.scratch {
                *sample = (f32::from(*sample) * factor).round() as i16;
            }
        }
    }

    /// Gives out what stands in the scratch, from the target on; gives whether that was anything.
    fn give(&mut self, out: &mut VecDeque<i16>) -> bool {
        let channels = usize::from(self.channels().unwrap_or(1));
        let len = (self.scratch.len() / channels) as u64;
        let before = self.target.saturating_sub(self.played).min(len);
        self.played += len;
        out.extend(&self.scratch[before as usize * channels..]);
        self.scratch.clear();
        before < len
    }
}

impl fmt::Debug for Opus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Opus")
            .field("head", &self.head)
            .field("offset", &self.offset)
            .field("played", &self.played)
            .finish_non_exhaustive()
    }
}
