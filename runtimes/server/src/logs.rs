//! `smallrtc show` and `smallrtc replay`: a call as a timeline, and the proof that it repeats.
//!
//! Exit codes: 0 for a log that was read, and replayed identical, as far as it goes; 1 for one
//! that differs or is damaged; 2 when it cannot be read at all. A log that was cut, as a killed
//! process leaves it, is not damaged: it is read up to the cut.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Args;
use smallrtc::record::{Damage, Log, replay};

const UNREADABLE: u8 = 2;

/// Deadlines may lie before a session's birth; an `Instant` cannot lie before the machine's.
const BIRTH_AHEAD: Duration = Duration::from_secs(24 * 3600);

/// A log of a call.
#[derive(Debug, Args)]
pub(crate) struct LogFile {
    /// A file that `smallrtc serve --record` wrote.
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

impl LogFile {
    /// Prints the call as a timeline.
    pub(crate) fn show(&self) -> ExitCode {
        self.with_log(|log, out| {
            for line in log.timeline() {
                writeln!(out, "{line}")?;
            }
            Ok(true)
        })
    }

    /// Replays the call and tells whether it went the same way.
    pub(crate) fn replay(&self) -> ExitCode {
        self.with_log(|log, out| {
            let replay = replay(log, start()).map_err(io::Error::other)?;
            writeln!(out, "{replay}")?;
            Ok(replay.is_identical())
        })
    }

    fn with_log(&self, work: impl FnOnce(&Log, &mut dyn Write) -> io::Result<bool>) -> ExitCode {
        let log = match read(&self.file) {
            Ok(log) => log,
            Err(error) => {
                tell(&format!("error: {}: {error}", self.file.display()));
                return ExitCode::from(UNREADABLE);
            }
        };
        let mut out = io::BufWriter::new(io::stdout().lock());
        let _ = writeln!(out, "{}", headline(&log));
        if !log.is_of_this_build() {
            tell("warning: written by another build: a replay may differ for that alone");
        }
        let worked = work(&log, &mut out).and_then(|is_good| out.flush().map(|()| is_good));
        let is_damaged = match log.damage() {
            None => false,
            Some(damage) => {
                tell(&format!("note: {damage}"));
                !matches!(damage, Damage::Cut { .. })
            }
        };
        match worked {
            Ok(is_good) if is_good && !is_damaged => ExitCode::SUCCESS,
            // Whoever reads has read enough.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
            Err(error) => {
                tell(&format!("error: {error}"));
                ExitCode::FAILURE
            }
            Ok(_) => ExitCode::FAILURE,
        }
    }
}

fn read(file: &Path) -> Result<Log, Box<dyn std::error::Error>> {
    Ok(Log::read(&fs::read(file)?)?)
}

fn headline(log: &Log) -> String {
    format!(
        "smallrtc {}: {} calls in {:.3} s, media {}, messages {}{}",
        log.crate_version(),
        log.calls(),
        log.duration().as_secs_f64(),
        log.media().name(),
        log.messages().name(),
        if log.is_full() { ", ended at its limit" } else { "" }
    )
}

fn tell(text: &str) {
    // Where nobody reads it there is nobody to tell that it could not be written.
    let _ = writeln!(io::stderr(), "{text}");
}

#[expect(clippy::disallowed_methods, reason = "an `Instant` can be had in no other way")]
fn start() -> Instant {
    Instant::now() + BIRTH_AHEAD
}
