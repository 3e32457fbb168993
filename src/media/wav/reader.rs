//! From bytes to samples.

use super::fold::Fold;
use super::{EXTENSIBLE, FLOAT, PCM};
use crate::media::FileRead;

/// What waits to be read. 64 KiB: a piece that a disk gives well, 0.3 s of the largest usual form.
const BUFFER_MAX: usize = 64 * 1024;

/// The most channels. 64: more than any file of sound has, and one sample of all of them is small.
const CHANNELS_MAX: u16 = 64;

/// The highest sample rate: twice what converters have.
const RATE_MAX: u32 = 768_000;

/// What of `fmt ` is read: up to the sub-format's code in WAVE_FORMAT_EXTENSIBLE.
const FORMAT_BYTES: usize = 26;
const FORMAT_BYTES_MIN: usize = 16;

/// `RIFF`, a size, `WAVE`; and a chunk's name and size.
const RIFF: usize = 12;
const CHUNK: usize = 8;

/// Why a file cannot be played.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WavError {
    /// It does not begin as a WAV file does.
    #[error("not a WAV file")]
    NotWav,
    /// The file ends before its sound.
    #[error("a WAV file without sound")]
    NoSound,
    /// The form of its sound is not known.
    #[error("{field}: {value} (expected {expected})")]
    Unsupported {
        /// The field.
        field: &'static str,
        /// The value that stands there.
        value: u32,
        /// The values that are possible.
        expected: &'static str,
    },
}

/// The form of a file's sound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct WavFormat {
    /// Samples per second and channel.
    pub rate: u32,
    /// Channels in the file.
    pub channels: u16,
    /// Channels that are given out: 1 or 2.
    pub channels_out: u8,
    /// Bits of one sample in the file.
    pub bits: u16,
    /// Whether samples are floating point numbers.
    pub is_float: bool,
}

/// Where a reader stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Before `RIFF`.
    Start,
    /// Before a chunk's name.
    Chunk,
    /// In a chunk that is skipped, so many bytes before its end.
    Skip(u64),
    /// In `data`: so many bytes before its end, `None` where the file's end is its end.
    Data(Option<u64>),
    /// Nothing more can be read.
    Failed(WavError),
}

/// The sound's form and place, once they are known.
#[derive(Clone, Debug)]
struct Sound {
    format: WavFormat,
    fold: Fold,
    /// Bytes of one sample of all channels.
    frame: usize,
}

/// Reads a WAV file that comes in pieces.
///
/// ```
/// use smallrtc::media::{WavReader, WavWriter};
///
/// let mut writer = WavWriter::new(16_000, 1);
/// writer.write(&[1, -2, 3]);
/// let mut file = Vec::new();
/// while let Some(write) = writer.poll_write() {
///     write.apply(&mut file);
/// }
///
/// let mut reader = WavReader::new();
/// assert_eq!(reader.push(&file), file.len());
/// let mut samples = [0; 8];
/// assert_eq!(reader.read(&mut samples)?, 3);
/// assert_eq!(samples[..3], [1, -2, 3]);
/// assert_eq!(reader.format().map(|format| format.rate), Some(16_000));
/// # Ok::<(), smallrtc::media::WavError>(())
/// ```
#[derive(Debug)]
pub struct WavReader {
    buffer: Vec<u8>,
    used: usize,
    stage: Stage,
    sound: Option<Sound>,
    /// Where the buffer's unread part lies in the file, and where the sound begins.
    offset: u64,
    start: u64,
    /// How long `data` is by its header.
    size: Option<u64>,
    is_ended: bool,
}

impl Default for WavReader {
    fn default() -> WavReader {
        WavReader::new()
    }
}

impl WavReader {
    /// A reader at the start of a file.
    #[must_use]
    pub fn new() -> WavReader {
        WavReader {
            buffer: Vec::new(),
            used: 0,
            stage: Stage::Start,
            sound: None,
            offset: 0,
            start: 0,
            size: None,
            is_ended: false,
        }
    }

    /// Takes the next bytes of the file, as many as there is room for, and gives how many: read
    /// until there is nothing before the rest is pushed.
    #[must_use = "what was not taken has to be pushed again"]
    pub fn push(&mut self, bytes: &[u8]) -> usize {
        self.buffer.drain(..self.used);
        self.used = 0;
        let len = bytes.len().min(BUFFER_MAX - self.buffer.len());
        self.buffer.extend_from_slice(&bytes[..len]);
        len
    }

    /// Says that the file ends here.
    pub fn finish(&mut self) {
        self.is_ended = true;
    }

    /// The form of the sound; `None` until enough of the file came and a read was tried.
    #[must_use]
    pub fn format(&self) -> Option<WavFormat> {
        let sound = self.sound.as_ref().filter(|_| matches!(self.stage, Stage::Data(_)));
        sound.map(|sound| sound.format)
    }

    /// How many samples per channel the file says it has; `None` when it does not say, or is not
    /// known yet.
    #[must_use]
    pub fn frames(&self) -> Option<u64> {
        Some(self.size? / self.sound.as_ref()?.frame as u64)
    }

    /// Whether all sound was read: nothing more will come, whatever is pushed.
    #[must_use]
    pub fn is_ended(&self) -> bool {
        let frame = self.sound.as_ref().map_or(1, |sound| sound.frame);
        match self.stage {
            Stage::Data(Some(left)) if left < frame as u64 => true,
            Stage::Data(_) => self.is_ended && self.unread().len() < frame,
            _ => false,
        }
    }

    /// The bytes of the file that are wanted next. Chunks that mean nothing are not among them, so
    /// a file that can be read at any place need not be pushed whole. `None` when all was read.
    #[must_use]
    pub fn wants(&self) -> Option<FileRead> {
        let len = BUFFER_MAX - self.unread().len();
        let skip = if let Stage::Skip(left) = self.stage { left } else { 0 };
        let offset = (self.offset + self.unread().len() as u64).saturating_add(skip);
        let wanted = !self.is_ended && !self.is_ended() && len > 0;
        (wanted && !matches!(self.stage, Stage::Failed(_))).then_some(FileRead { offset, len })
    }

    /// Says that what is pushed next lies at `offset`, which [`WavReader::wants`] gave. Who pushes
    /// a file from its start to its end need not say it.
    pub fn jump(&mut self, offset: u64) {
        let at = self.offset + self.unread().len() as u64;
        if let Stage::Skip(left) = &mut self.stage {
            *left = left.saturating_sub(offset.saturating_sub(at));
            self.offset += offset.saturating_sub(at);
        }
    }

    /// Goes to a sample of the sound, or to its end. What is pushed next has to lie at the offset
    /// that [`WavReader::wants`] gives then. Does nothing before the form is known.
    pub fn seek(&mut self, frame: u64) {
        let (Some(sound), Stage::Data(_)) = (&self.sound, self.stage) else { return };
        let bytes = frame.saturating_mul(sound.frame as u64).min(self.size.unwrap_or(u64::MAX / 2));
        self.stage = Stage::Data(self.size.map(|size| size - bytes));
        self.offset = self.start.saturating_add(bytes);
        self.buffer.clear();
        self.used = 0;
        self.is_ended = false;
    }

    /// Reads samples, interleaved where there are two channels, as many as there are and `samples`
    /// has room for, and gives how many: whole ones of all channels. None until more bytes came.
    ///
    /// # Errors
    /// [`WavError`] when the file cannot be played, from the moment when that is known.
    pub fn read(&mut self, samples: &mut [i16]) -> Result<usize, WavError> {
        loop {
            let unread = self.unread().len();
            let stage = self.stage;
            self.step();
            match self.stage {
                Stage::Failed(error) => return Err(error),
                Stage::Data(left) => return Ok(self.samples(left, samples)),
                _ if self.stage == stage && self.unread().len() == unread => {
                    return self.starved();
                }
                _ => {}
            }
        }
    }

    /// What it means that nothing can be read before the sound.
    fn starved(&mut self) -> Result<usize, WavError> {
        if !self.is_ended {
            return Ok(0);
        }
        let error = if self.stage == Stage::Start { WavError::NotWav } else { WavError::NoSound };
        self.stage = Stage::Failed(error);
        Err(error)
    }

    fn unread(&self) -> &[u8] {
        &self.buffer[self.used..]
    }

    fn skip(&mut self, len: usize) {
        self.used += len;
        self.offset += len as u64;
    }

    /// Parses what stands before the sound, one thing at a time.
    fn step(&mut self) {
        match self.stage {
            Stage::Start => self.begin(),
            Stage::Chunk => self.chunk(),
            Stage::Skip(left) => {
                let len = self.unread().len();
                let skipped = usize::try_from(left).map_or(len, |left| left.min(len));
                self.skip(skipped);
                let left = left - skipped as u64;
                self.stage = if left == 0 { Stage::Chunk } else { Stage::Skip(left) };
            }
            Stage::Data(_) | Stage::Failed(_) => {}
        }
    }

    fn begin(&mut self) {
        let Some(header) = self.unread().first_chunk::<RIFF>() else { return };
        let is_wav = [b"RIFF", b"RF64"].contains(&header.first_chunk().unwrap_or(b"none"))
            && header.ends_with(b"WAVE");
        self.stage = if is_wav { Stage::Chunk } else { Stage::Failed(WavError::NotWav) };
        self.skip(RIFF);
    }

    fn chunk(&mut self) {
        let Some((&[n0, n1, n2, n3, s0, s1, s2, s3], body)) =
            self.unread().split_first_chunk::<CHUNK>()
        else {
            return;
        };
        let (name, size) = ([n0, n1, n2, n3], u32::from_le_bytes([s0, s1, s2, s3]));
        match &name {
            b"fmt " => {
                let len = (size as usize).min(FORMAT_BYTES);
                let Some(format) = body.get(..len) else { return };
                match parse_format(format) {
                    Ok(sound) => self.sound = Some(sound),
                    Err(error) => {
                        self.stage = Stage::Failed(error);
                        return;
                    }
                }
            }
            b"data" => {
                self.skip(CHUNK);
                self.start = self.offset;
                let is_open = matches!(size, 0 | u32::MAX);
                self.size = (!is_open).then_some(u64::from(size));
                self.stage = match self.sound {
                    Some(_) => Stage::Data(self.size),
                    None => Stage::Failed(WavError::NoSound),
                };
                return;
            }
            _ => {}
        }
        self.skip(CHUNK);
        // Chunks of odd length are followed by one byte more.
        self.stage = Stage::Skip(u64::from(size) + u64::from(size % 2));
    }

    fn samples(&mut self, left: Option<u64>, samples: &mut [i16]) -> usize {
        let Some(sound) = &self.sound else { return 0 };
        let out = sound.fold.channels_out();
        let held = self.unread().len() as u64;
        let frames = left.map_or(held, |left| left.min(held)) as usize / sound.frame;
        let frames = frames.min(samples.len() / out);
        let bytes = &self.unread()[..frames * sound.frame];
        let mut all = [0; CHANNELS_MAX as usize];
        let width = usize::from(sound.format.bits / 8);
        for (frame, out) in bytes.chunks_exact(sound.frame).zip(samples.chunks_exact_mut(out)) {
            for (sample, bytes) in all.iter_mut().zip(frame.chunks_exact(width)) {
                *sample = to_i16(bytes, sound.format.is_float);
            }
            sound.fold.apply(&all[..sound.fold.channels()], out);
        }
        let len = bytes.len();
        self.skip(len);
        self.stage = Stage::Data(left.map(|left| left - len as u64));
        frames * out
    }
}

/// One sample of 8, 16, 24 or 32 bits.
fn to_i16(bytes: &[u8], is_float: bool) -> i16 {
    let rounded = |value: i32, half: i32| {
        (value.saturating_add(half) >> 16).clamp(i32::from(i16::MIN), i32::from(i16::MAX)) as i16
    };
    match *bytes {
        [byte] => (i16::from(byte) - 128) << 8,
        [low, high] => i16::from_le_bytes([low, high]),
        [low, middle, high] => rounded(i32::from_le_bytes([0, low, middle, high]), 1 << 15),
        [b0, b1, b2, b3] if is_float => {
            // A conversion clips, and makes nothing of NaN.
            (f32::from_le_bytes([b0, b1, b2, b3]) * 32_768.0).round() as i16
        }
        [b0, b1, b2, b3] => rounded(i32::from_le_bytes([b0, b1, b2, b3]), 1 << 15),
        _ => 0,
    }
}

fn parse_format(bytes: &[u8]) -> Result<Sound, WavError> {
    let unsupported = |field, value, expected| WavError::Unsupported { field, value, expected };
    let short = |at: usize| {
        let bytes = bytes.get(at..at + 2).and_then(|bytes| bytes.try_into().ok());
        bytes.map_or(0, u16::from_le_bytes)
    };
    let long = |at: usize| u32::from(short(at)) | u32::from(short(at + 2)) << 16;
    if bytes.len() < FORMAT_BYTES_MIN {
        return Err(unsupported("fmt size", bytes.len() as u32, "16 bytes or more"));
    }
    let (channels, rate, align, bits) = (short(2), long(4), short(12), short(14));
    let is_extensible = short(0) == EXTENSIBLE;
    let code = if is_extensible { short(24) } else { short(0) };
    let mask = if is_extensible { long(20) } else { 0 };
    let is_float = match (code, bits) {
        (PCM, 8 | 16 | 24 | 32) => false,
        (FLOAT, 32) => true,
        (PCM, _) => return Err(unsupported("bits", bits.into(), "8, 16, 24 or 32")),
        (FLOAT, _) => return Err(unsupported("float bits", bits.into(), "32")),
        _ => return Err(unsupported("format", code.into(), "1 (PCM) or 3 (float)")),
    };
    if !(1..=CHANNELS_MAX).contains(&channels) {
        return Err(unsupported("channels", channels.into(), "1 to 64"));
    }
    if !(1..=RATE_MAX).contains(&rate) {
        return Err(unsupported("rate", rate, "1 to 768000"));
    }
    let frame = usize::from(channels) * usize::from(bits / 8);
    if usize::from(align) != frame {
        return Err(unsupported("block align", align.into(), "channels times bytes of a sample"));
    }
    let fold = Fold::new(channels, mask);
    let channels_out = fold.channels_out() as u8;
    let format = WavFormat { rate, channels, channels_out, bits, is_float };
    Ok(Sound { format, fold, frame })
}
