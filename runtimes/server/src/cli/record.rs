//! What `serve` takes to record calls.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use clap::{Args, ValueEnum};
use smallrtc::Config;
use smallrtc::record::{Detail, Recording};
use smallrtc_server::Recordings;

const BYTES_PER_MIB: u64 = 1024 * 1024;

/// Whether calls are recorded, and what of them.
#[derive(Clone, Debug, Args)]
pub(crate) struct Record {
    /// Writes the log of each call to a file in this directory: `smallrtc show` prints it,
    /// `smallrtc replay` proves it. No key and no password is in it.
    #[arg(long, value_name = "DIR")]
    record: Option<PathBuf>,
    /// What is recorded of sound and pictures.
    #[arg(long, value_enum, value_name = "DETAIL", default_value_t = Kept::Sizes, requires = "record")]
    record_media: Kept,
    /// What is recorded of messages.
    #[arg(long, value_enum, value_name = "DETAIL", default_value_t = Kept::Sizes, requires = "record")]
    record_messages: Kept,
    /// The most MiB of one log. At the limit the recording ends, the call goes on.
    #[arg(long, value_name = "MIB", default_value_t = 64, requires = "record",
        value_parser = clap::value_parser!(u64).range(1..=1024 * 1024))]
    record_max: u64,
}

/// How much is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Kept {
    /// What limits count, nothing else.
    None,
    /// Sizes and levels.
    Sizes,
    /// All content: what was said can be heard again.
    Full,
}

impl From<Kept> for Detail {
    fn from(kept: Kept) -> Detail {
        match kept {
            Kept::None => Detail::None,
            Kept::Sizes => Detail::Sizes,
            Kept::Full => Detail::Full,
        }
    }
}

impl Record {
    /// The configuration with a recording, and the files that it goes to.
    ///
    /// # Errors
    /// When the directory cannot be made; the text names the option.
    pub(crate) fn apply(
        &self,
        config: Config,
    ) -> Result<(Config, Option<Arc<Recordings>>), String> {
        let Some(directory) = &self.record else { return Ok((config, None)) };
        let told = |error: io::Error| format!("--record {}: {error}", directory.display());
        let recordings = Recordings::create(directory).map_err(told)?;
        let recording = Recording::new(recordings.clone())
            .media(self.record_media.into())
            .messages(self.record_messages.into())
            .bytes_max(self.record_max * BYTES_PER_MIB);
        Ok((config.record(recording), Some(recordings)))
    }
}
