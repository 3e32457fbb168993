//! `smallrtc show` and `smallrtc replay`: a call as a timeline, and the proof that it repeats.
//!
//! Exit codes: 0 for a log that was read, and replayed identical, as far as it goes; 1 for one
//! that differs or is damaged; 2 when it cannot be read at all, or its picture not be written. A
//! log that was cut or has no end, as a killed process leaves it, is not damaged: it is read up to
//! there.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};
use std::{fmt, fs};

use clap::Args;
use smallrtc::record::{Damage, Log, Replay, replay};

use crate::plot;

const UNUSABLE: u8 = 2;

/// Deadlines may lie before a session's birth; an `Instant` cannot lie before the machine's.
const BIRTH_AHEAD: Duration = Duration::from_secs(24 * 3600);

/// A log of a call.
#[derive(Debug, Args)]
pub(crate) struct LogFile {
    /// A file that `smallrtc serve --record` wrote.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Also draws the call over its time, as a picture in SVG: states, sound that waits, pacing,
    /// loss, round trip, messages, datagrams. A picture that is there already is replaced; the log
    /// itself never is.
    #[arg(long, value_name = "SVG")]
    plot: Option<PathBuf>,
}

impl LogFile {
    /// Prints the call as a timeline.
    pub(crate) fn show(&self) -> ExitCode {
        self.with_log(|log, out| {
            // Whoever reads the lines may end before they do.
            let drawn = self.draw(log, None);
            let told = log.timeline().try_for_each(|line| writeln!(out, "{line}"));
            drawn?;
            told?;
            Ok(true)
        })
    }

    /// Replays the call and tells whether it went the same way.
    pub(crate) fn replay(&self) -> ExitCode {
        self.with_log(|log, out| {
            let replay = replay(log, start()).map_err(io::Error::other)?;
            writeln!(out, "{replay}")?;
            self.draw(log, Some(&replay))?;
            Ok(replay.is_identical())
        })
    }

    /// Writes the picture, if one is wanted.
    fn draw(&self, log: &Log, replay: Option<&Replay>) -> Result<(), Failure> {
        let Some(picture) = &self.plot else { return Ok(()) };
        let told = |error: &dyn fmt::Display| {
            Failure::Picture(format!("--plot {}: {error}", picture.display()))
        };
        // The log would be gone.
        if let (Ok(one), Ok(other)) = (self.file.canonicalize(), picture.canonicalize())
            && one == other
        {
            return Err(told(&"this is the log itself"));
        }
        let name = self.file.file_name().unwrap_or_default().to_string_lossy();
        let svg = plot::draw(log, &name, replay).map_err(|error| told(&error))?;
        fs::write(picture, svg).map_err(|error| told(&error))
    }

    fn with_log(
        &self,
        work: impl FnOnce(&Log, &mut dyn Write) -> Result<bool, Failure>,
    ) -> ExitCode {
        let (log, len) = match read(&self.file) {
            Ok(read) => read,
            Err(error) => {
                tell(&format!("error: {}: {error}", self.file.display()));
                return ExitCode::from(UNUSABLE);
            }
        };
        let mut out = io::BufWriter::new(io::stdout().lock());
        let _ = writeln!(out, "{}", headline(&log));
        if !log.is_of_this_build() {
            tell("warning: written by another build: a replay may differ for that alone");
        }
        let worked = work(&log, &mut out).and_then(|is_good| {
            out.flush()?;
            Ok(is_good)
        });
        if let Some(note) = note_on_end(&log, len) {
            tell(&format!("note: {note}"));
        }
        let is_damaged = !matches!(log.damage(), None | Some(Damage::Cut { .. }));
        match worked {
            Ok(is_good) if is_good && !is_damaged => ExitCode::SUCCESS,
            Ok(_) => ExitCode::FAILURE,
            // Whoever reads has read enough.
            Err(Failure::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => {
                ExitCode::SUCCESS
            }
            Err(Failure::Output(error)) => {
                tell(&format!("error: {error}"));
                ExitCode::FAILURE
            }
            Err(Failure::Picture(error)) => {
                tell(&format!("error: {error}"));
                ExitCode::from(UNUSABLE)
            }
        }
    }
}

/// Why a log that was read could not be shown.
enum Failure {
    /// What is printed could not be written.
    Output(io::Error),
    /// The picture could not: the option and why.
    Picture(String),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Failure {
        Failure::Output(error)
    }
}

/// The log, and how many bytes it has.
fn read(file: &Path) -> Result<(Log, usize), Box<dyn std::error::Error>> {
    let bytes = fs::read(file)?;
    Ok((Log::read(&bytes)?, bytes.len()))
}

/// How far a log of so many bytes was read, if not to its end.
fn note_on_end(log: &Log, len: usize) -> Option<String> {
    let goes_on = "what recorded it was killed, or still records";
    match log.damage() {
        Some(Damage::Cut { .. }) => Some(format!("{}: {goes_on}", log.damage()?)),
        Some(damage) => Some(format!("{damage}: read up to there")),
        None => (!log.is_whole()).then(|| format!("ends at byte {len} without an end: {goes_on}")),
    }
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
