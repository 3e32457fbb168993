//! What `serve` takes to record what is said.

use std::io;
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use smallrtc_server::{AudioFileKind, AudioRecordingOptions, AudioRecordings, AudioSides, Disk};

use super::Bot;

const BYTES_PER_MIB: u64 = 1024 * 1024;

/// Whether what is said in calls is recorded, and how.
#[derive(Clone, Debug, Args)]
pub(crate) struct RecordAudio {
    /// Writes what is said in each call to a sound file in this directory, named after the call's
    /// pc_id. A file can be played while it grows, and after a crash up to its last second.
    #[arg(long, value_name = "DIR")]
    record_audio: Option<PathBuf>,
    /// What sound files are. With `--bot pass` they are `ogg`, as the sound is coded.
    #[arg(long, value_enum, value_name = "KIND", requires = "record_audio")]
    record_audio_as: Option<Kind>,
    /// Who stands where in sound files. With `--bot pass` they are `separate`.
    #[arg(long, value_enum, value_name = "SIDES", requires = "record_audio")]
    record_audio_sides: Option<Sides>,
    /// The most MiB of one sound file. At the limit it ends, the call goes on.
    #[arg(long, value_name = "MIB", default_value_t = 1024, requires = "record_audio",
        value_parser = clap::value_parser!(u64).range(2..=1024 * 1024))]
    record_audio_max: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Kind {
    /// Ogg Opus, 29 MB an hour of both sides (the default).
    Ogg,
    /// WAV, 16 bits at 48 kHz, 691 MB an hour of both sides.
    Wav,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Sides {
    /// One file, the caller left, the bot right (the default).
    Stereo,
    /// One file of one channel, both added up.
    Mixed,
    /// Two files, one for each.
    Separate,
}

impl From<Kind> for AudioFileKind {
    fn from(kind: Kind) -> AudioFileKind {
        match kind {
            Kind::Ogg => AudioFileKind::Ogg,
            Kind::Wav => AudioFileKind::Wav,
        }
    }
}

impl From<Sides> for AudioSides {
    fn from(sides: Sides) -> AudioSides {
        match sides {
            Sides::Stereo => AudioSides::Stereo,
            Sides::Mixed => AudioSides::Mixed,
            Sides::Separate => AudioSides::Separate,
        }
    }
}

impl RecordAudio {
    /// Whether anything is recorded.
    pub(crate) fn is_on(&self) -> bool {
        self.record_audio.is_some()
    }

    /// Where calls are recorded, if they are.
    ///
    /// # Errors
    /// A directory that cannot be made, or what the bot's sound cannot be recorded as; the text
    /// names the option.
    pub(crate) fn open(&self, bot: &Bot, disk: &Disk) -> Result<Option<AudioRecordings>, String> {
        let Some(directory) = &self.record_audio else { return Ok(None) };
        let mut options = AudioRecordingOptions::new();
        options.kind = self.record_audio_as.map_or(options.kind, AudioFileKind::from);
        options.sides = self.record_audio_sides.map_or(options.sides, AudioSides::from);
        options.len_max = self.record_audio_max * BYTES_PER_MIB;
        options.is_coded = *bot == Bot::Pass;
        if options.is_coded {
            if options.kind != AudioFileKind::Ogg {
                return Err("--record-audio-as wav: expected ogg with --bot pass".to_owned());
            }
            if self.record_audio_sides.is_some_and(|sides| sides != Sides::Separate) {
                let expected = "--record-audio-sides: expected separate with --bot pass";
                return Err(expected.to_owned());
            }
        }
        let told = |error: io::Error| format!("--record-audio {}: {error}", directory.display());
        AudioRecordings::create(directory, options, disk).map(Some).map_err(told)
    }
}
