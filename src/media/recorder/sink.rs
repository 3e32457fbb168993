//! What a recorder writes to: a WAV file, or packets in an Ogg file.

use std::collections::VecDeque;

use crate::audio::AudioCodec;
use crate::audio::codec::AudioEncoder;
use crate::config::{AudioIdle, AudioOut, PacketTime};
use crate::media::{FileWrite, OggOpusWriter, OpusHead, OpusTags, WavWriter};
use crate::{Config, ConfigError};

/// How many bytes may wait to be polled. 4 MiB: 20 s of two channels at 48 kHz.
const QUEUED_MAX: usize = 4 << 20;

/// Samples of a packet at 48 kHz.
const PACKET: usize = 960;

/// What an Opus coder looks ahead at 48 kHz: 6.5 ms. It is dropped at the start.
const LOOKAHEAD: u16 = 312;

/// How many samples of silence that are owed are written at a time: 10 s at 48 kHz, so that a disk
/// that comes back does not hold up the call.
const OWED_STEP: u64 = 480_000;

#[derive(Debug)]
enum Form {
    Wav(WavWriter),
    Ogg(Box<Coded>),
}

/// An Ogg file that is coded.
#[derive(Debug)]
struct Coded {
    writer: OggOpusWriter,
    encoder: Box<dyn AudioEncoder>,
    head: OpusHead,
    /// Samples that do not fill a packet.
    rest: Vec<i16>,
    packet: Vec<u8>,
    /// Samples per channel of this stream.
    len: u64,
    /// Pages that were given out and not polled.
    pages: VecDeque<FileWrite>,
    queued: usize,
}

#[derive(Debug)]
pub(super) struct Sink {
    form: Form,
    channels: usize,
    written: u64,
    unpolled: u64,
    /// Samples per channel that are silent because there was no room, and are not written yet.
    owed: u64,
}

fn tags() -> OpusTags {
    OpusTags::new(concat!("smallrtc ", env!("CARGO_PKG_VERSION")))
}

impl Sink {
    pub(super) fn wav(rate: u32, channels: u8) -> Sink {
        Sink::new(Form::Wav(WavWriter::new(rate, channels)), channels)
    }

    pub(super) fn ogg(bitrate: u32, channels: u8) -> Result<Sink, ConfigError> {
        let config = Config::new().audio_bitrate(bitrate)?;
        let Some(codec) = AudioCodec::select(&config) else {
            return Err(ConfigError::OutOfRange {
                field: "recorder bitrate",
                value: bitrate.into(),
                expected: "a build with the feature `opus`",
            });
        };
        let encoder = codec.encoder(AudioOut {
            rate: 48_000,
            channels,
            packet_time: PacketTime::Ms20,
            idle: AudioIdle::Silence,
            ..config.audio_out
        });
        let mut head = OpusHead::new(channels);
        head.pre_skip = LOOKAHEAD;
        let coded = Coded {
            writer: OggOpusWriter::new(head, &tags(), 1),
            encoder,
            head,
            rest: Vec::new(),
            packet: Vec::new(),
            len: 0,
            pages: VecDeque::new(),
            queued: 0,
        };
        Ok(Sink::new(Form::Ogg(Box::new(coded)), channels))
    }

    fn new(form: Form, channels: u8) -> Sink {
        Sink { form, channels: usize::from(channels), written: 0, unpolled: 0, owed: 0 }
    }

    pub(super) fn written(&self) -> u64 {
        self.written
    }

    pub(super) fn unpolled(&self) -> u64 {
        self.unpolled
    }

    fn is_full(&self) -> bool {
        match &self.form {
            Form::Wav(writer) => writer.queued() >= QUEUED_MAX,
            Form::Ogg(coded) => coded.queued >= QUEUED_MAX,
        }
    }

    /// Appends samples, interleaved; where there is no room, silence will stand for them.
    pub(super) fn write(&mut self, samples: &[i16]) {
        let len = (samples.len() / self.channels) as u64;
        self.pay();
        if self.owed > 0 || self.is_full() {
            self.owed += len;
            self.unpolled += len;
        } else {
            self.append(samples);
        }
    }

    /// Writes silence that is owed, as far as there is room.
    fn pay(&mut self) {
        let zeros = [0; 2 * PACKET];
        let mut step = OWED_STEP;
        while self.owed > 0 && step > 0 && !self.is_full() {
            let len = self.owed.min(PACKET as u64);
            self.append(&zeros[..len as usize * self.channels]);
            self.owed -= len;
            step = step.saturating_sub(len);
        }
    }

    fn append(&mut self, samples: &[i16]) {
        self.written += (samples.len() / self.channels) as u64;
        match &mut self.form {
            Form::Wav(writer) => writer.write(samples),
            Form::Ogg(coded) => coded.append(samples, self.channels),
        }
    }

    /// Brings out what there is: the file is readable up to here.
    pub(super) fn flush(&mut self) {
        match &mut self.form {
            Form::Wav(writer) => writer.flush(),
            Form::Ogg(coded) => coded.flush(),
        }
    }

    /// Time is left out here.
    pub(super) fn cut(&mut self) {
        if let Form::Ogg(coded) = &mut self.form {
            coded.end(self.channels);
            coded.writer.chain(coded.head, &tags());
            coded.collect();
        }
    }

    pub(super) fn finish(&mut self) {
        self.pay();
        match &mut self.form {
            Form::Wav(writer) => writer.flush(),
            Form::Ogg(coded) => coded.end(self.channels),
        }
    }

    pub(super) fn poll_write(&mut self) -> Option<FileWrite> {
        match &mut self.form {
            Form::Wav(writer) => writer.poll_write(),
            Form::Ogg(coded) => {
                coded.collect();
                let write = coded.pages.pop_front()?;
                coded.queued -= write.bytes.len();
                Some(write)
            }
        }
    }
}

impl Coded {
    fn append(&mut self, samples: &[i16], channels: usize) {
        self.len += (samples.len() / channels) as u64;
        self.rest.extend_from_slice(samples);
        self.code(channels);
    }

    /// Codes whole packets.
    fn code(&mut self, channels: usize) {
        let whole = self.rest.len() / (PACKET * channels) * PACKET * channels;
        for block in self.rest[..whole].chunks_exact(PACKET * channels) {
            self.encoder.encode(block, &mut self.packet);
            let is_taken = self.writer.write(&self.packet);
            debug_assert!(is_taken, "an encoder's packet, and pages are collected");
        }
        self.rest.drain(..whole);
        self.collect();
    }

    fn flush(&mut self) {
        self.writer.flush();
        self.collect();
    }

    /// Takes the writer's pages over, so that it is never full.
    fn collect(&mut self) {
        while let Some(write) = self.writer.poll_write() {
            self.queued += write.bytes.len();
            self.pages.push_back(write);
        }
    }

    /// Codes what is left and what the coder looks ahead, and ends the stream at its last sample.
    fn end(&mut self, channels: usize) {
        let all = self.len + u64::from(LOOKAHEAD);
        let missing = all.saturating_sub(self.writer.samples()) as usize;
        let padded = missing.next_multiple_of(PACKET);
        self.rest.resize(padded * channels, 0);
        self.code(channels);
        let trim = self.writer.samples().saturating_sub(all);
        self.writer.finish(u32::try_from(trim).unwrap_or(u32::MAX));
        self.collect();
        self.len = 0;
    }
}
