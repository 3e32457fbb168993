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
//! | sound that is queued (`send_audio`) | nothing yet: it waits for its `AudioStarted` |
//! | it starts | its place, from now on; behind the piece before it, where that has just ended |
//! | it is cleared, or ends early | what was not sent is not recorded |
//! | it is held up on its way (`pause_audio`) | its rest stands before the pause |
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
use std::ops::Range;
use std::time::{Duration, Instant};

use self::lane::Lane;
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

/// A piece that the session has and that is not finished.
#[derive(Debug)]
struct Piece {
    id: AudioId,
    /// How many samples per channel it has, at its own rate.
    len: u64,
    /// At the file's rate; empty from its start on.
    samples: Vec<i16>,
    /// Whether another piece was on its way when this one was queued.
    follows: bool,
    /// Whether it was cleared: its start is still to come, and no end.
    is_cleared: bool,
    /// From where to where it stands, once it has started.
    place: Option<Range<u64>>,
}

impl Piece {
    /// How much `len` of its own samples are of `whole`.
    fn part(&self, len: u64, whole: u64) -> u64 {
        (u128::from(whole) * u128::from(len.min(self.len)) / u128::from(self.len.max(1))) as u64
    }
}

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
    pieces: VecDeque<Piece>,
    /// Samples of pieces that have not started.
    waiting: u64,
    scratch: Vec<i16>,
    cuts: u64,
}

impl Recorder {
    /// A WAV file of `rate` samples per second, whose first moment is now: make it when the call is
    /// connected.
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
            waiting: 0,
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

    /// Takes what `Session::send_audio` just took, and the id that it gave. Where it stands is told
    /// by its `AudioStarted`: hand events over, too.
    pub fn said(&mut self, id: AudioId, frame: AudioFrame<'_>) {
        if self.layout == RecordLayout::Heard {
            return;
        }
        let follows = !self.pieces.is_empty();
        let Some((len, samples)) = self.said.convert_said(frame, !follows) else { return };
        let count = samples.len() as u64;
        if self.waiting + count > self.said.room() {
            self.said.dropped += count;
            return;
        }
        if self.pieces.len() >= PIECES_MAX {
            let oldest = self.pieces.pop_front();
            self.waiting -= oldest.map_or(0, |piece| piece.samples.len() as u64);
        }
        self.waiting += count;
        let piece = Piece { id, len, samples, follows, is_cleared: false, place: None };
        self.pieces.push_back(piece);
    }

    /// Takes an event of the session. Others than `AudioStarted` and `AudioFinished` do nothing.
    pub fn handle_event(&mut self, event: &Event, now: Instant) {
        let now = self.position(now);
        match *event {
            Event::AudioStarted { id } => {
                let Some(at) = self.find(id) else { return };
                self.place(at, now);
                if self.pieces[at].is_cleared {
                    self.pieces.remove(at);
                }
            }
            Event::AudioFinished { id, samples } => {
                let Some(at) = self.find(id) else { return };
                if self.pieces[at].place.is_none() {
                    // Its start was not handed over.
                    let len = self.pieces[at].samples.len() as u64;
                    self.place(at, now.saturating_sub(len));
                }
                self.end(at, samples);
            }
            _ => {}
        }
    }

    /// Puts a piece where it starts.
    fn place(&mut self, at: usize, now: u64) {
        let Some(piece) = self.pieces.get_mut(at).filter(|piece| piece.place.is_none()) else {
            return;
        };
        let samples = std::mem::take(&mut piece.samples);
        self.waiting -= samples.len() as u64;
        let end = self.said.end();
        // A packet that holds the end of one piece and the start of another is sent once, and what
        // sends it may be late. More than that is a pause.
        let goes_on = piece.follows && now <= end + self.said.slack();
        let start = if goes_on { end } else { now.max(end) };
        piece.place = Some(start..start + samples.len() as u64);
        self.said.say(start, &samples);
    }

    /// Forgets a piece that was placed, and what was not sent of it.
    fn end(&mut self, at: usize, sent: u64) {
        let Some(piece) = self.pieces.remove(at) else { return };
        if let Some(place) = &piece.place
            && sent < piece.len
        {
            self.said.cut(place.start + piece.part(sent, place.end - place.start));
        }
    }

    /// Takes what `Session::clear_audio` gave: what was not sent is not recorded.
    pub fn handle_cleared(&mut self, cleared: &AudioCleared) {
        for part in &cleared.pieces {
            let Some(at) = self.find(part.id) else { continue };
            let piece = &mut self.pieces[at];
            if piece.place.is_some() || part.sent == 0 {
                self.waiting -= piece.samples.len() as u64;
                self.end(at, part.sent);
            } else {
                // Its start was not polled yet, and is told all the same.
                piece.is_cleared = true;
                let whole = piece.samples.len() as u64;
                let sent = piece.part(part.sent, whole);
                piece.samples.truncate(sent as usize);
                self.waiting -= whole - sent;
            }
        }
    }

    fn find(&self, id: AudioId) -> Option<usize> {
        self.pieces.iter().position(|piece| piece.id == id)
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
    /// the file, and neither is what a peer whose packets come early said ahead of now: files of
    /// one call that are finished at one moment are as long as each other.
    pub fn finish(&mut self, now: Instant) {
        if self.deadline.take().is_some() {
            let now = self.position(now);
            self.said.cut(now);
            self.pieces.clear();
            self.write_until(now);
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
