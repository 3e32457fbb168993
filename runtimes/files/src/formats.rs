//! Files of other kinds, held in memory: mp3, flac, aac.
//!
//! `symphonia` reads and decodes them (feature `player-formats`; MPL-2.0). It pulls bytes where the
//! state machines of the core are given them, so the file is in memory as a whole, once for all
//! calls that play it, and the core knows nothing of it.
//!
//! | what | limit | at the limit |
//! | --- | --- | --- |
//! | a file | [`MEMORY_LEN_MAX`] | refused |
//! | packets of a file without a sound between them | 1000 | ended |

use std::fmt;
use std::io::Cursor;

use bytes::Bytes;
use smallrtc::media::{AudioFormat, AudioSource};
use symphonia::core::codecs::audio::{AudioDecoder, AudioDecoderOptions};
use symphonia::core::errors::Error;
use symphonia::core::formats::probe::Hint;
use symphonia::core::formats::{FormatOptions, FormatReader, TrackType};
use symphonia::core::io::MediaSourceStream;
use symphonia::core::meta::MetadataOptions;

/// The longest file, in bytes. 64 MiB: an hour of mp3 at 128 kbit/s, six minutes of flac.
pub const MEMORY_LEN_MAX: usize = 64 << 20;

/// Packets that may follow each other and hold no sound. 1000: half a minute of damage in a file
/// that goes on.
const SILENT_PACKETS_MAX: usize = 1_000;

/// The rates that `Session::send_audio` takes.
const RATES: [u32; 9] = [8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000];

/// Why a file cannot be played.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum MemoryFileError {
    /// It has more than [`MEMORY_LEN_MAX`] bytes; so many.
    TooLong(usize),
    /// It is no mp3, flac or aac file, or a broken one; what is wrong.
    Unreadable(String),
    /// Its sample rate is none that a session takes.
    Rate(u32),
    /// It has so many channels, and not one or two.
    Channels(usize),
    /// There is nothing to be heard in it.
    Empty,
}

impl fmt::Display for MemoryFileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            MemoryFileError::TooLong(len) => {
                write!(f, "length: {len} bytes (expected at most {MEMORY_LEN_MAX})")
            }
            MemoryFileError::Unreadable(reason) => {
                write!(f, "neither an mp3 nor a flac nor an aac file: {reason}")
            }
            MemoryFileError::Rate(rate) => write!(f, "rate: {rate} (expected one of {RATES:?})"),
            MemoryFileError::Channels(channels) => {
                write!(f, "channels: {channels} (expected 1 or 2)")
            }
            MemoryFileError::Empty => f.write_str("it holds no sound"),
        }
    }
}

impl std::error::Error for MemoryFileError {}

/// A file at its start.
type Opened = (Box<dyn FormatReader>, Box<dyn AudioDecoder>, u32);

/// An mp3, flac or aac file as a source of sound: aac in ADTS or in MP4 (`.m4a`).
pub struct MemoryFile {
    bytes: Bytes,
    opened: Opened,
    format: AudioFormat,
    /// What was decoded and not pulled, from `pulled` on.
    ready: Vec<i16>,
    pulled: usize,
    is_looped: bool,
    /// Whether something was heard since the file was begun: a loop over nothing would never end.
    is_heard: bool,
    is_ended: bool,
}

impl MemoryFile {
    /// Decodes the first sound of a file. Clones of the bytes are one memory.
    ///
    /// # Errors
    /// Why the file cannot be played.
    pub fn new(bytes: Bytes) -> Result<MemoryFile, MemoryFileError> {
        if bytes.len() > MEMORY_LEN_MAX {
            return Err(MemoryFileError::TooLong(bytes.len()));
        }
        let opened = open(&bytes)?;
        let mut file = MemoryFile {
            bytes,
            opened,
            format: AudioFormat::new(0, 0),
            ready: Vec::new(),
            pulled: 0,
            is_looped: false,
            is_heard: false,
            is_ended: false,
        };
        let (rate, channels) = file.decode().ok_or(MemoryFileError::Empty)?;
        if !RATES.contains(&rate) {
            return Err(MemoryFileError::Rate(rate));
        }
        match u8::try_from(channels) {
            Ok(channels @ 1..=2) => file.format = AudioFormat::new(rate, channels),
            _ => return Err(MemoryFileError::Channels(channels)),
        }
        Ok(file)
    }

    /// Whether the file begins again at its end. Off by default.
    pub fn set_looped(&mut self, is_looped: bool) {
        self.is_looped = is_looped;
    }

    /// Decodes the next sound into `ready`, which is empty; gives its rate and channels. `None` at
    /// the end.
    fn decode(&mut self) -> Option<(u32, usize)> {
        let (reader, decoder, track) = &mut self.opened;
        self.ready.clear();
        self.pulled = 0;
        for _ in 0..SILENT_PACKETS_MAX {
            // What is damaged so that no packet is found any more ends the file.
            let packet = reader.next_packet().ok()??;
            if packet.track_id != *track {
                continue;
            }
            match decoder.decode(&packet) {
                Ok(sound) if sound.frames() > 0 => {
                    sound.copy_to_vec_interleaved(&mut self.ready);
                    self.is_heard = true;
                    return Some((sound.spec().rate(), sound.spec().channels().count()));
                }
                Ok(_) | Err(Error::DecodeError(_)) => {}
                Err(_) => return None,
            }
        }
        None
    }

    /// Makes something ready: the next sound, or of a loop the first.
    fn fill(&mut self) {
        let form = (self.format.rate, usize::from(self.format.channels));
        if let Some(found) = self.decode() {
            if found == form {
                return;
            }
            // What comes has another form than what was told.
            self.ready.clear();
            (self.is_ended, self.is_looped) = (true, false);
        }
        let again = self.is_looped && std::mem::take(&mut self.is_heard);
        match open(&self.bytes) {
            Ok(opened) if again => self.opened = opened,
            _ => self.is_ended = true,
        }
    }
}

fn open(bytes: &Bytes) -> Result<Opened, MemoryFileError> {
    let unreadable = |error: Error| MemoryFileError::Unreadable(error.to_string());
    let stream = MediaSourceStream::new(Box::new(Cursor::new(bytes.clone())), Default::default());
    let (format, tags) = (FormatOptions::default(), MetadataOptions::default());
    let probe = symphonia::default::get_probe();
    let reader = probe.probe(&Hint::new(), stream, format, tags).map_err(unreadable)?;
    let track = reader.default_track(TrackType::Audio).ok_or(MemoryFileError::Empty)?;
    let track_id = track.id;
    let params = track.codec_params.as_ref().and_then(|params| params.audio());
    let params = params.ok_or(MemoryFileError::Empty)?;
    let codecs = symphonia::default::get_codecs();
    let decoder = codecs.make_audio_decoder(params, &AudioDecoderOptions::default());
    let decoder = decoder.map_err(unreadable)?;
    Ok((reader, decoder, track_id))
}

impl fmt::Debug for MemoryFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryFile")
            .field("len", &self.bytes.len())
            .field("format", &self.format)
            .field("is_ended", &self.is_ended)
            .finish_non_exhaustive()
    }
}

impl AudioSource for MemoryFile {
    fn format(&self) -> Option<AudioFormat> {
        Some(self.format)
    }

    fn pull(&mut self, samples: &mut [i16]) -> usize {
        let channels = usize::from(self.format.channels);
        let room = samples.len() / channels * channels;
        let mut len = 0;
        while len < room {
            if self.pulled == self.ready.len() {
                if self.is_ended {
                    break;
                }
                self.fill();
                continue;
            }
            let part = (self.ready.len() - self.pulled).min(room - len);
            let ready = &self.ready[self.pulled..self.pulled + part];
            samples[len..len + part].copy_from_slice(ready);
            len += part;
            self.pulled += part;
        }
        len
    }

    fn is_ended(&self) -> bool {
        self.is_ended && self.pulled == self.ready.len()
    }
}
