//! A file as a source of sound: WAV, or Ogg Opus that is decoded.
//!
//! It asks for bytes at offsets and takes what it is given; who has the file answers, at once or
//! later. What kind of file it is, its first bytes tell.
//!
//! | state | wants | gives |
//! | --- | --- | --- |
//! | its kind is not known | the first bytes | nothing |
//! | playing, less than 250 ms are ready | the next bytes | sound |
//! | playing, more is ready | nothing | sound |
//! | at its end, looped | the first bytes of the sound | sound, without a gap |
//! | at its end | nothing | nothing: ended |
//! | it cannot be played | nothing | nothing: ended, with an error |
//!
//! An Ogg file is searched from its start by a seek: 14 MB an hour of speech, read and not decoded.
//!
//! Limits: the reader's buffer (128 KiB), 250 ms and a packet of samples.

use std::collections::VecDeque;
use std::time::Duration;

use super::opus_file::Opus;
use super::{AudioFormat, AudioSource, FileRead, WavError, WavReader};
use crate::audio::RATES;

/// How much sound is made ready before somebody pulls it: enough that a disk is asked four times a
/// second.
const READY: Duration = Duration::from_millis(250);

/// How many samples of all channels are read from a WAV file at a time.
const WAV_BLOCK: usize = 960;

/// The shortest Ogg file that is looped, in samples. 10 ms: each round reads the file from its
/// start, so one that holds next to nothing would be read without an end.
const LOOP_MIN: u64 = 480;

/// What both kinds of file begin with, and how many bytes tell them apart.
const MAGIC: usize = 4;

/// How many bytes of a file whose kind is not known are asked for.
const FIRST_READ: usize = 4_096;

/// Why a file cannot be played.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AudioFileError {
    /// It is neither WAV nor Ogg.
    #[error("neither a WAV nor an Ogg file")]
    UnknownKind,
    /// It is a WAV file that cannot be played.
    #[error(transparent)]
    Wav(#[from] WavError),
    /// The sample rate of a WAV file is none that a session takes.
    #[error("rate: {0} (expected 8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100 or 48000)")]
    Rate(u32),
    /// It is an Ogg file without Opus of one or two channels.
    #[error("an Ogg file without Opus of one or two channels")]
    NoOpus,
    /// This build decodes no Opus (feature `opus`).
    #[error("this build decodes no Opus")]
    NoDecoder,
}

/// What kind of file it is, and where it stands.
#[derive(Debug)]
enum Kind {
    /// The first bytes, fewer than tell.
    Unknown(Vec<u8>),
    Wav(WavReader),
    Ogg(Box<Opus>),
    Failed(AudioFileError),
}

/// A file that is played.
///
/// ```
/// use smallrtc::media::{AudioFile, AudioSource, WavWriter};
///
/// let mut writer = WavWriter::new(16_000, 1);
/// writer.write(&[5; 320]);
/// let mut bytes = Vec::new();
/// while let Some(write) = writer.poll_write() {
///     write.apply(&mut bytes);
/// }
///
/// let mut file = AudioFile::new();
/// let mut samples = [0; 100];
/// let mut heard = 0;
/// while !file.is_ended() {
///     // In an application, this reads a file.
///     while let Some(wanted) = file.wants() {
///         let start = bytes.len().min(wanted.offset as usize);
///         let end = bytes.len().min(start + wanted.len);
///         file.handle_read(wanted.offset, &bytes[start..end]);
///     }
///     heard += file.pull(&mut samples);
/// }
/// assert_eq!(heard, 320);
/// ```
#[derive(Debug)]
pub struct AudioFile {
    kind: Kind,
    format: Option<AudioFormat>,
    ready: VecDeque<i16>,
    is_looped: bool,
    /// Where to go as soon as the form is known.
    target: Option<Duration>,
    /// Whether something was heard since the file was begun: a loop over nothing would never end.
    is_heard: bool,
    is_ended: bool,
}

impl Default for AudioFile {
    fn default() -> AudioFile {
        AudioFile::new()
    }
}

impl AudioFile {
    /// A file at its start, played once.
    #[must_use]
    pub fn new() -> AudioFile {
        AudioFile {
            kind: Kind::Unknown(Vec::new()),
            format: None,
            ready: VecDeque::new(),
            is_looped: false,
            target: None,
            is_heard: false,
            is_ended: false,
        }
    }

    /// Whether the file begins again at its end, with the sample after the last. Off by default;
    /// it may change at any time before the end is reached. An Ogg file of less than 10 ms is
    /// played once.
    pub fn set_looped(&mut self, is_looped: bool) {
        self.is_looped = is_looped;
    }

    /// Why the file ended, where it could not be played.
    #[must_use]
    pub fn error(&self) -> Option<AudioFileError> {
        if let Kind::Failed(error) = self.kind { Some(error) } else { None }
    }

    /// The bytes that are wanted now; `None` when there are enough. Ask after each
    /// [`AudioFile::handle_read`], after each pull and after a seek.
    #[must_use]
    pub fn wants(&self) -> Option<FileRead> {
        if self.is_ended || self.is_full() {
            return None;
        }
        match &self.kind {
            Kind::Unknown(head) => Some(FileRead { offset: head.len() as u64, len: FIRST_READ }),
            Kind::Wav(reader) => reader.wants(),
            Kind::Ogg(opus) => opus.wants(),
            Kind::Failed(_) => None,
        }
    }

    /// Takes bytes of the file from `offset` on; none means that the file ends there. Not all of
    /// them need be taken: what is wanted next tells. Bytes of another place than the one wanted
    /// are dropped: they were on their way when a seek came.
    pub fn handle_read(&mut self, offset: u64, bytes: &[u8]) {
        if self.wants().is_none_or(|wanted| wanted.offset != offset) {
            return;
        }
        match &mut self.kind {
            Kind::Unknown(head) => {
                let is_end = bytes.is_empty();
                head.extend_from_slice(&bytes[..bytes.len().min(FIRST_READ)]);
                if is_end || head.len() >= MAGIC {
                    self.begin();
                }
            }
            Kind::Wav(reader) => {
                reader.jump(offset);
                if bytes.is_empty() {
                    reader.finish();
                } else {
                    // The rest is wanted again.
                    let _taken = reader.push(bytes);
                }
            }
            Kind::Ogg(opus) => opus.handle_read(bytes),
            Kind::Failed(_) => {}
        }
        self.fill();
    }

    /// Goes to a time of the file's sound, or to its end when that comes before. What was made
    /// ready is forgotten.
    pub fn seek(&mut self, time: Duration) {
        self.ready.clear();
        self.is_ended = matches!(self.kind, Kind::Failed(_));
        self.is_heard = true;
        self.target = Some(time);
        self.go();
    }

    /// Goes where a seek wants to, as soon as it is known where that is.
    fn go(&mut self) {
        let (Some(format), Some(time)) = (self.format, self.target) else { return };
        let frame = time.as_nanos() * u128::from(format.rate) / 1_000_000_000;
        let frame = u64::try_from(frame).unwrap_or(u64::MAX);
        self.target = None;
        match &mut self.kind {
            Kind::Wav(reader) => reader.seek(frame),
            Kind::Ogg(opus) => opus.seek(frame),
            Kind::Unknown(_) | Kind::Failed(_) => {}
        }
        self.ready.clear();
    }

    /// Tells the kind by the first bytes.
    fn begin(&mut self) {
        let Kind::Unknown(head) = &mut self.kind else { return };
        let head = std::mem::take(head);
        self.kind = match head.first_chunk::<MAGIC>() {
            Some(b"RIFF" | b"RF64") => Kind::Wav(WavReader::new()),
            Some(b"OggS") => match Opus::new() {
                Some(opus) => Kind::Ogg(Box::new(opus)),
                None => Kind::Failed(AudioFileError::NoDecoder),
            },
            _ => Kind::Failed(AudioFileError::UnknownKind),
        };
        // An empty buffer has room for the first bytes.
        match &mut self.kind {
            Kind::Wav(reader) => drop(reader.push(&head)),
            Kind::Ogg(opus) => opus.handle_read(&head),
            Kind::Unknown(_) | Kind::Failed(_) => {}
        }
    }

    fn is_full(&self) -> bool {
        let Some(AudioFormat { rate, channels }) = self.format else { return false };
        let ready = READY.as_millis() as usize * rate as usize / 1_000 * usize::from(channels);
        self.ready.len() >= ready
    }

    /// Makes sound ready as far as the bytes go.
    fn fill(&mut self) {
        while !self.is_full() && !self.is_ended {
            let before = self.ready.len();
            let is_over = match &mut self.kind {
                Kind::Unknown(_) => false,
                Kind::Failed(_) => true,
                Kind::Wav(_) => self.fill_wav(),
                Kind::Ogg(_) => self.fill_ogg(),
            };
            self.is_heard |= self.ready.len() > before;
            if is_over {
                self.turn();
            } else if self.ready.len() == before && !self.is_seeking() {
                return;
            }
        }
    }

    /// At the end: once more from the start, or no more.
    fn turn(&mut self) {
        let is_too_short = matches!(&self.kind, Kind::Ogg(opus) if opus.played() < LOOP_MIN);
        if !self.is_looped || !std::mem::take(&mut self.is_heard) || is_too_short {
            self.is_ended = true;
            return;
        }
        match &mut self.kind {
            Kind::Wav(reader) => reader.seek(0),
            Kind::Ogg(opus) => opus.seek(0),
            Kind::Unknown(_) | Kind::Failed(_) => {}
        }
    }

    fn is_seeking(&self) -> bool {
        self.format.is_some() && self.target.is_some()
    }

    /// Reads a block; gives whether that was all.
    fn fill_wav(&mut self) -> bool {
        let Kind::Wav(reader) = &mut self.kind else { return true };
        let mut block = [0; WAV_BLOCK];
        let len = match reader.read(&mut block) {
            Ok(len) => len,
            Err(error) => {
                self.kind = Kind::Failed(error.into());
                return true;
            }
        };
        let is_over = reader.is_ended();
        if self.format.is_none()
            && let Some(format) = reader.format()
        {
            if !RATES.contains(&format.rate) {
                self.kind = Kind::Failed(AudioFileError::Rate(format.rate));
                return true;
            }
            self.format = Some(AudioFormat::new(format.rate, format.channels_out));
            if self.target.is_some() {
                self.go();
                return false;
            }
        }
        self.ready.extend(&block[..len]);
        is_over
    }

    /// Decodes a packet; gives whether that was all.
    fn fill_ogg(&mut self) -> bool {
        let Kind::Ogg(opus) = &mut self.kind else { return true };
        let is_over = opus.decode(&mut self.ready);
        if self.format.is_none()
            && let Some(channels) = opus.channels()
        {
            self.format = Some(AudioFormat::new(48_000, channels));
            if self.target.is_some() {
                self.go();
                return false;
            }
        }
        if is_over && self.format.is_none() {
            self.kind = Kind::Failed(AudioFileError::NoOpus);
        }
        is_over
    }
}

impl AudioSource for AudioFile {
    fn format(&self) -> Option<AudioFormat> {
        self.format
    }

    fn pull(&mut self, samples: &mut [i16]) -> usize {
        let channels = self.format.map_or(1, |format| usize::from(format.channels));
        let room = samples.len() / channels * channels;
        let mut len = 0;
        while len < room {
            if self.ready.is_empty() {
                self.fill();
            }
            let part = self.ready.len().min(room - len);
            if part == 0 {
                break;
            }
            let ready = self.ready.drain(..part);
            samples[len..len + part].iter_mut().zip(ready).for_each(|(out, sample)| *out = sample);
            len += part;
        }
        len
    }

    fn is_ended(&self) -> bool {
        self.is_ended && self.ready.is_empty()
    }
}
