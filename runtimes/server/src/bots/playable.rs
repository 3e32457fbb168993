//! A file for the play bot, looked at before any call comes.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;
use std::sync::Arc;

use smallrtc::Config;
use smallrtc::media::{AudioFile, AudioFileError, AudioSource, FileRead, OpusPass};

use crate::tape::now;

/// How many channels a packet may have that is passed on: every Opus decoder takes both (RFC 7587
/// section 4).
pub(super) const PASS_CHANNELS: u8 = 2;

/// The longest file that is looked through for whether it can be passed on, in bytes. 64 MiB:
/// hours of speech, read in a tenth of a second. Longer ones are decoded.
const PASS_LEN_MAX: u64 = 64 << 20;

/// A file that [`play`](super::play()) can play.
#[derive(Clone, Debug)]
pub struct Playable {
    pub(super) path: Arc<Path>,
    pub(super) way: Way,
}

/// How a file is played.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Way {
    Decoded,
    Passed,
    /// Of another kind, held in memory.
    #[cfg(feature = "player-formats")]
    Memory(bytes::Bytes),
}

/// Why a file cannot be played.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PlayError {
    /// It cannot be read.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// It is of a kind or a form that is not played.
    #[error(transparent)]
    File(#[from] AudioFileError),
    /// There is nothing to be heard in it.
    #[error("it holds no sound")]
    Empty,
    /// It is none of the kinds that are held in memory either.
    #[cfg(feature = "player-formats")]
    #[error("neither a WAV nor an Ogg file, {0}")]
    Memory(#[from] smallrtc_files::MemoryFileError),
}

impl Playable {
    /// Looks at a file: WAV, or Ogg Opus, and with the feature `player-formats` mp3, flac or aac,
    /// which are held in memory (64 MiB at most). It blocks: it belongs at the start of a program.
    ///
    /// An Ogg Opus file whose packets browsers can be given as they are (10 to 60 ms, no gain in
    /// its header) is passed on undecoded: set calls up with [`Playable::config`].
    ///
    /// # Errors
    /// What is wrong with the file.
    pub fn open(path: &Path) -> Result<Playable, PlayError> {
        let mut file = File::open(path)?;
        if file.metadata()?.is_dir() {
            return Err(PlayError::Io(io::ErrorKind::IsADirectory.into()));
        }
        match check(&mut file) {
            #[cfg(feature = "player-formats")]
            Err(PlayError::File(AudioFileError::UnknownKind)) => {
                let way = Way::Memory(memory(&mut file)?);
                return Ok(Playable { path: path.into(), way });
            }
            checked => checked?,
        }
        let way = if passes(&mut file)? { Way::Passed } else { Way::Decoded };
        Ok(Playable { path: path.into(), way })
    }

    /// The same, decoded in any case: what is passed on undecoded cannot be recorded or mixed as
    /// samples.
    #[must_use]
    pub fn decoded(self) -> Playable {
        let way = if self.is_passed() { Way::Decoded } else { self.way };
        Playable { way, ..self }
    }

    /// Whether its packets are passed on as they are.
    #[must_use]
    pub fn is_passed(&self) -> bool {
        self.way == Way::Passed
    }

    /// Sets calls up for this file: sound goes out as it is coded, or at 48 kHz.
    #[must_use]
    pub fn config(&self, config: Config) -> Config {
        match self.way {
            Way::Passed => config.audio_out_encoded(),
            _ => super::tone_config(config),
        }
    }
}

fn read(file: &mut File, wanted: FileRead) -> io::Result<Vec<u8>> {
    file.seek(SeekFrom::Start(wanted.offset))?;
    let mut bytes = Vec::new();
    file.take(wanted.len as u64).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Plays the first sample.
fn check(file: &mut File) -> Result<(), PlayError> {
    let mut player = AudioFile::new();
    while let Some(wanted) = player.wants() {
        let bytes = read(file, wanted)?;
        player.handle_read(wanted.offset, &bytes);
    }
    match player.error() {
        Some(error) => Err(error.into()),
        None if player.pull(&mut [0; 2]) == 0 => Err(PlayError::Empty),
        None => Ok(()),
    }
}

/// The whole of a file that can be played from memory.
#[cfg(feature = "player-formats")]
fn memory(file: &mut File) -> Result<bytes::Bytes, PlayError> {
    let most = smallrtc_files::MEMORY_LEN_MAX as u64 + 1;
    file.seek(SeekFrom::Start(0))?;
    let mut bytes = Vec::new();
    file.take(most).read_to_end(&mut bytes)?;
    let bytes = bytes::Bytes::from(bytes);
    smallrtc_files::MemoryFile::new(bytes.clone())?;
    Ok(bytes)
}

/// Whether every packet of the file can be passed on: plays all of it, faster than it is.
fn passes(file: &mut File) -> io::Result<bool> {
    if file.metadata()?.len() > PASS_LEN_MAX {
        return Ok(false);
    }
    let mut pass = OpusPass::new(PASS_CHANNELS);
    pass.start(now());
    let mut packets = 0;
    while !pass.is_ended() {
        while let Some(wanted) = pass.wants() {
            let bytes = read(file, wanted)?;
            pass.handle_read(wanted.offset, &bytes);
        }
        packets += pass.poll_timeout().map_or(0, |due| pass.handle_timeout(due).iter().len());
    }
    Ok(packets > 0 && pass.error().is_none())
}
