//! Records a call into one file: what is heard, what is said, side by side or mixed.
//!
//! Both directions stand on one line of time that begins when the recorder is made. A gap in what
//! comes is silence in the file: the file is as long as the call, to the sample. The file is
//! written while the call goes on, [`HOLD`] behind it, and is readable at every moment.
//!
//! It never reads a clock, never opens a file, and never stops for what comes in:
//!
//! | what comes | becomes |
//! | --- | --- |
//! | heard sound, by its media time | its place behind what was heard before |
//! | heard sound that came before, or too late | dropped, counted |
//! | a gap in media time | silence |
//! | media time that lies more than 2 s off | a new clock: the block ends now, counted |
//! | the peer's clock drifts from ours | a little longer or shorter, as by a [`DriftCorrector`](super::DriftCorrector) |
//! | the delay changes by more than 100 ms | silence, or a cut, of as much |
//! | sound that is queued (`send_audio`) | a place behind what is queued, from now on |
//! | it finishes later than that (a stall) | what follows is moved back |
//! | it is cleared | what was not sent is not recorded |
//! | a stall of the driver | nothing is lost: time is written with the second call after it |
//! | more than 60 s without a call | cut out, counted (Ogg: a new chained stream) |
//! | writes that nobody polls | silence instead of sound from 4 MiB on, counted |
//!
//! A [`PacketRecorder`] writes one direction's Opus packets as they are.

mod lane;
mod packets;
mod sink;

#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use self::lane::{Lane, Queued};
use self::sink::Sink;
use super::FileWrite;
use crate::audio::RATES;
use crate::{AudioCleared, AudioFrame, AudioId, ConfigError, Event};

pub use packets::{PacketCounters, PacketRecorder};

/// How far behind the call the file is written. 400 ms: what comes late by reordering, repair and
/// an event loop under load is still in time.
const HOLD: Duration = Duration::from_millis(400);

/// How often the file is written. 200 ms: with what is held and the call before, a file that is cut
/// off lacks less than a second.
const INTERVAL: Duration = Duration::from_millis(200);

/// The most time that passes in silence between two calls. 60 s: a machine that slept is no pause
/// of a call.
const FILL_MAX: Duration = Duration::from_secs(60);

/// How many pieces that are queued are known. 8192, as in a session's queue.
const PIECES_MAX: usize = 8_192;

/// What stands in a recorder's file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RecordLayout {
    /// What the peer says. One channel.
    Heard,
    /// What this side says. One channel.
    Said,
    /// Heard left, said right.
    Sides,
    /// Both added up. One channel.
    Mixed,
}

/// What a recorder counted. Samples are per channel at the file's rate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RecorderCounters {
    /// Samples that were written.
    pub written: u64,
    /// Heard samples that came before, or after their time was written as silence. Silence that
    /// comes late is none.
    pub late: u64,
    /// Samples of silence where no heard sound came.
    pub filled: u64,
    /// How often heard media time lay more than 2 s off and was taken to have begun anew.
    pub restarts: u64,
    /// Samples that were put in or taken out against drift, and where a delay jumped.
    pub corrected: u64,
    /// Samples that had no room: more than 61 s ahead.
    pub dropped: u64,
    /// Samples that are silent because nobody polled the writes.
    pub unpolled: u64,
    /// How often more than 60 s were cut out.
    pub cuts: u64,
}

/// Records a call into one file.
///
/// ```
/// use smallrtc::AudioFrame;
/// use smallrtc::media::{RecordLayout, Recorder};
/// use std::time::{Duration, Instant};
///
/// let start = Instant::now();
/// let mut recorder = Recorder::wav(16_000, RecordLayout::Sides, start)?;
/// let ms = Duration::from_millis(20);
/// // What `recv_audio` gave, with its media time.
/// recorder.heard(AudioFrame::mono(&[7; 320], 16_000), Duration::ZERO, start + ms);
/// recorder.finish(start + 2 * ms);
/// let mut file = Vec::new();
/// while let Some(write) = recorder.poll_write() {
///     write.apply(&mut file);
/// }
/// // A header, and 40 ms of two channels.
/// assert_eq!(file.len(), 44 + 640 * 2 * 2);
/// # Ok::<(), smallrtc::ConfigError>(())
/// ```
#[derive(Debug)]
pub struct Recorder {
    rate: u32,
    layout: RecordLayout,
    sink: Sink,
    /// Position zero, and when the driver last called.
    epoch: Instant,
    last_now: Instant,
    deadline: Option<Instant>,
    heard: Lane,
    said: Lane,
    pieces: VecDeque<Queued>,
    scratch: Vec<i16>,
    cuts: u64,
}

impl Recorder {
    /// A WAV file of `rate` samples per second. Make it when the call is connected: what is queued
    /// to be said counts from that moment.
    ///
    /// # Errors
    /// [`ConfigError::OutOfRange`] for a rate that `Session::send_audio` would not take.
    pub fn wav(rate: u32, layout: RecordLayout, now: Instant) -> Result<Recorder, ConfigError> {
        if !RATES.contains(&rate) {
            return Err(ConfigError::OutOfRange {
                field: "recorder rate",
                value: rate.into(),
                expected: "8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100 or 48000",
            });
        }
        let channels = if layout == RecordLayout::Sides { 2 } else { 1 };
        Ok(Recorder::new(rate, layout, Sink::wav(rate, channels), now))
    }

    /// An Ogg Opus file, coded at 48 kHz with `bitrate` bits per second.
    ///
    /// # Errors
    /// [`ConfigError::OutOfRange`] outside 6000..=510000, and for every bitrate where nothing codes
    /// Opus (feature `opus`).
    pub fn ogg_opus(
        bitrate: u32,
        layout: RecordLayout,
        now: Instant,
    ) -> Result<Recorder, ConfigError> {
        let channels = if layout == RecordLayout::Sides { 2 } else { 1 };
        let sink = Sink::ogg(bitrate, channels)?;
        Ok(Recorder::new(48_000, layout, sink, now))
    }

    fn new(rate: u32, layout: RecordLayout, sink: Sink, now: Instant) -> Recorder {
        Recorder {
            rate,
            layout,
            sink,
            epoch: now,
            last_now: now,
            deadline: Some(now + INTERVAL),
            heard: Lane::new(rate),
            said: Lane::new(rate),
            pieces: VecDeque::new(),
            scratch: Vec::new(),
            cuts: 0,
        }
    }

    /// How many samples a duration is.
    fn samples(&self, duration: Duration) -> u64 {
        let samples = duration.as_nanos() * u128::from(self.rate) / 1_000_000_000;
        u64::try_from(samples).unwrap_or(u64::MAX)
    }

    fn position(&self, now: Instant) -> u64 {
        self.samples(now.saturating_duration_since(self.epoch))
    }

    /// Takes what was heard: a block of `Session::recv_audio` and its media time. Blocks at another
    /// rate than the file's are converted, two channels become one.
    ///
    /// Sound of a form that `Session::send_audio` would not take is dropped.
    pub fn heard(&mut self, frame: AudioFrame<'_>, time: Duration, now: Instant) {
        if self.layout != RecordLayout::Said {
            let position = self.position(now);
            self.heard.hear(frame, time, position);
        }
    }

    /// Takes what `Session::send_audio` just took, and the id that it gave.
    pub fn said(&mut self, id: AudioId, frame: AudioFrame<'_>, now: Instant) {
        if self.layout == RecordLayout::Heard {
            return;
        }
        let position = self.position(now);
        if let Some(piece) = self.said.queue(id, frame, position) {
            if self.pieces.len() >= PIECES_MAX {
                self.pieces.pop_front();
            }
            self.pieces.push_back(piece);
        }
    }

    /// Takes an event of the session. Others than `AudioFinished` do nothing.
    pub fn handle_event(&mut self, event: &Event, now: Instant) {
        let Event::AudioFinished { id, samples } = *event else { return };
        let Some(piece) = self.take(id) else { return };
        if samples < piece.samples {
            self.said.cut(piece.at(samples));
        }
        let late = self.position(now).saturating_sub(piece.end);
        self.said.delay(piece.end, late);
        if late > self.said.slack() {
            for later in &mut self.pieces {
                later.start += late;
                later.end += late;
            }
        }
    }

    /// Takes what `Session::clear_audio` gave: what was not sent is not recorded.
    pub fn handle_cleared(&mut self, cleared: &AudioCleared) {
        for part in &cleared.pieces {
            if let Some(piece) = self.take(part.id)
                && part.dropped > 0
            {
                self.said.cut(piece.at(part.sent));
            }
        }
    }

    fn take(&mut self, id: AudioId) -> Option<Queued> {
        let at = self.pieces.iter().position(|piece| piece.id == id)?;
        self.pieces.remove(at)
    }

    /// When [`Recorder::handle_timeout`] is to be called next; `None` after the end.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.deadline
    }

    /// Lets time pass: writes what is older than 400 ms. Call it after the session's events were
    /// polled and its sound was pulled, or what came during a stall may be late.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.deadline.is_none_or(|deadline| now < deadline) {
            return;
        }
        // What came since the last call may not have been handed over yet.
        let until = self.position(self.last_now).saturating_sub(self.samples(HOLD));
        self.write_until(until);
        self.sink.flush();
        self.last_now = now.max(self.last_now);
        self.deadline = Some(now + INTERVAL);
    }

    /// Writes everything up to now, and the end. What is queued and was not said by now is not in
    /// the file.
    pub fn finish(&mut self, now: Instant) {
        if self.deadline.take().is_some() {
            let now = self.position(now);
            self.said.cut(now);
            self.write_until(now.max(self.heard.end()));
            self.sink.finish();
        }
    }

    fn write_until(&mut self, until: u64) {
        let from = self.heard.base();
        let until = until.max(from);
        if until - from > self.samples(FILL_MAX) {
            self.cut_to(until);
            return;
        }
        // In pieces, so that a long silence takes no memory.
        let step = self.samples(INTERVAL);
        let mut from = from;
        while from < until {
            let len = (until - from).min(step) as usize;
            self.write(len);
            from += len as u64;
        }
    }

    /// Leaves out what nobody recorded: the machine slept.
    fn cut_to(&mut self, until: u64) {
        let end = self.heard.end().max(self.said.end()).min(until);
        let rest = end.saturating_sub(self.heard.base()).min(self.samples(FILL_MAX));
        self.write(rest as usize);
        self.heard.jump(until);
        self.said.jump(until);
        self.sink.cut();
        self.cuts += 1;
    }

    fn write(&mut self, len: usize) {
        let out = &mut self.scratch;
        out.clear();
        match self.layout {
            RecordLayout::Heard | RecordLayout::Said => {
                let (lane, other) = match self.layout {
                    RecordLayout::Heard => (&mut self.heard, &mut self.said),
                    _ => (&mut self.said, &mut self.heard),
                };
                out.extend(lane.take(len));
                drop(other.take(len));
            }
            RecordLayout::Sides => {
                let pairs = self.heard.take(len).zip(self.said.take(len));
                out.extend(pairs.flat_map(|(heard, said)| [heard, said]));
            }
            RecordLayout::Mixed => {
                let pairs = self.heard.take(len).zip(self.said.take(len));
                out.extend(pairs.map(|(heard, said)| heard.saturating_add(said)));
            }
        }
        self.sink.write(out);
    }

    /// The next bytes of the file and their place; `None` when all were given out.
    pub fn poll_write(&mut self) -> Option<FileWrite> {
        self.sink.poll_write()
    }

    /// What was counted.
    #[must_use]
    pub fn counters(&self) -> RecorderCounters {
        RecorderCounters {
            written: self.sink.written(),
            late: self.heard.late,
            filled: self.heard.filled,
            restarts: self.heard.restarts,
            corrected: self.heard.corrected(),
            dropped: self.heard.dropped + self.said.dropped,
            unpolled: self.sink.unpolled(),
            cuts: self.cuts,
        }
    }
}
