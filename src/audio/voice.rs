//! When somebody speaks: a detector's score for each 16 ms of received sound, and the state machine
//! above it.
//!
//! Sound is judged as it is given out, at its media time, whether or not anybody pulls it. What was
//! concealed is judged like sound; of silence the detector is shown no more than it takes to come
//! to rest, the rest of it scores nothing.
//!
//! | state | 16 ms that score | becomes | told |
//! | --- | --- | --- | --- |
//! | quiet | at least the threshold | rising | |
//! | rising | at least the threshold less 15 points, for [`VoiceActivity::min_speech`] in all | speaking | started, at the first of them |
//! | rising | less | quiet | |
//! | speaking | less than the threshold less 15 points | falling | |
//! | falling | at least the threshold | speaking | |
//! | falling | less, for [`VoiceActivity::min_silence`] in all | quiet | stopped, at the first of them |
//! | speaking, falling | none: no packet came for that long and [`DTX_MAX`] more | quiet | stopped, where the sound ended |
//! | speaking, falling | none: the track or the call ends | quiet | stopped, where the sound ended |
//!
//! Started and stopped alternate, beginning with started. The detector stands behind a seam
//! ([`VoiceDetector`]), so a replay needs none. Scores are bytes: above the seam nothing is rounded
//! differently on another machine.
//!
//! It reads no clock, and never delays or changes sound.

#[cfg(feature = "earshot")]
mod earshot;
#[cfg(all(test, feature = "earshot"))]
pub(crate) mod heard;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::fmt;
use std::time::{Duration, Instant};

use crate::ConfigError;
use crate::audio::resample::Resampler;
use crate::config::range;

/// What a detector is given at once: 16 ms at 16 kHz.
pub(crate) const FRAME: usize = 256;
const RATE: u32 = 16_000;
const FRAME_TIME: Duration = Duration::from_millis(16);

/// How far a score may fall below the threshold before a voice is taken to have ended: 15 points of
/// a hundred, as Silero's iterator has it (`neg_threshold`).
const HYSTERESIS: u8 = 15;

/// How many frames of zeros a detector is shown before the rest of a silence is taken as read. 6:
/// its window of three frames, and its context of three more.
const REST_FRAMES: u64 = 6;

/// The longest time between two packets of a peer that sends in pauses what DTX leaves: 400 ms (RFC
/// 7587 section 3.1.3, what libopus does).
const DTX_MAX: Duration = Duration::from_millis(400);

/// Says of 16 ms of sound how much they are a voice. One detector belongs to one stream.
pub(crate) trait VoiceDetector: fmt::Debug + Send {
    /// 0 is surely none, 255 surely one. `frame` has [`FRAME`] samples of one channel at 16 kHz.
    fn score(&mut self, frame: &[i16]) -> u8;

    /// Forgets the past.
    fn reset(&mut self);
}

/// The detector of this build.
#[cfg(feature = "earshot")]
pub(crate) fn detector() -> Option<Box<dyn VoiceDetector>> {
    Some(Box::new(earshot::Earshot::new()))
}

/// A build without one.
#[cfg(not(feature = "earshot"))]
pub(crate) fn detector() -> Option<Box<dyn VoiceDetector>> {
    None
}

/// What is taken for speech. `Config::voice_activity` takes it, in a build with the feature
/// `earshot`.
///
/// ```
/// use smallrtc::VoiceActivity;
/// use std::time::Duration;
///
/// let activity = VoiceActivity::new().threshold(60)?.min_silence(Duration::from_millis(800))?;
/// # let _ = activity;
/// # Ok::<(), smallrtc::ConfigError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VoiceActivity {
    pub(crate) threshold_percent: u8,
    pub(crate) min_speech: Duration,
    pub(crate) min_silence: Duration,
}

impl VoiceActivity {
    /// The defaults.
    #[must_use]
    pub fn new() -> VoiceActivity {
        VoiceActivity {
            threshold_percent: 50,
            min_speech: Duration::from_millis(200),
            min_silence: Duration::from_millis(500),
        }
    }

    /// The score from which on a voice begins, in percent; it goes on down to 15 points less. 50:
    /// what the detector's author calls a good default.
    ///
    /// # Errors
    /// [`ConfigError::OutOfRange`] outside 16..=99.
    pub fn threshold(mut self, percent: u8) -> Result<VoiceActivity, ConfigError> {
        range("voice_activity threshold", u64::from(percent), 16..=99, "16 to 99 percent")?;
        self.threshold_percent = percent;
        Ok(self)
    }

    /// How long a voice has to go on before [`SpeechStarted`](crate::Event::SpeechStarted) is told.
    /// Shorter sounds (a cough, a door) are none. 200 ms: Pipecat's `VADParams.start_secs`. Counted
    /// in steps of 16 ms, rounded up.
    ///
    /// # Errors
    /// [`ConfigError::OutOfRange`] above 2 s: whole answers are shorter than that.
    pub fn min_speech(mut self, time: Duration) -> Result<VoiceActivity, ConfigError> {
        range("voice_activity min_speech", whole_ms(time), 0..=2_000, "0 to 2000 ms")?;
        self.min_speech = time;
        Ok(self)
    }

    /// How long it has to be quiet before [`SpeechStopped`](crate::Event::SpeechStopped) is told:
    /// longer than the pauses between words. 500 ms: the `silence_duration_ms` of OpenAI's realtime
    /// interface. Counted in steps of 16 ms, rounded up.
    ///
    /// # Errors
    /// [`ConfigError::OutOfRange`] above 10 s, the longest gap that is filled.
    pub fn min_silence(mut self, time: Duration) -> Result<VoiceActivity, ConfigError> {
        range("voice_activity min_silence", whole_ms(time), 0..=10_000, "0 to 10000 ms")?;
        self.min_silence = time;
        Ok(self)
    }
}

impl Default for VoiceActivity {
    fn default() -> VoiceActivity {
        VoiceActivity::new()
    }
}

/// Milliseconds, rounded up.
fn whole_ms(time: Duration) -> u64 {
    u64::try_from(time.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX)
}

/// Something that was found, with its media time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Speech {
    Started(Duration),
    Stopped(Duration),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Quiet,
    /// So many frames since the one of this number.
    Rising(u64, u64),
    Speaking,
    Falling(u64, u64),
}

/// The state machine over scores.
#[derive(Debug)]
struct Machine {
    state: State,
    /// Scores at which a voice begins, and below which it ends.
    begins: u8,
    ends: u8,
    /// How many frames each takes.
    speech: u64,
    silence: u64,
    /// How many frames there were.
    frames: u64,
}

impl Machine {
    fn new(activity: VoiceActivity) -> Machine {
        // Of 255, rounded up: a threshold of 50 % is not met by a score of 127.
        let score = |percent: u8| (u16::from(percent) * 255).div_ceil(100) as u8;
        let frames = |time: Duration| {
            let frames = time.as_nanos().div_ceil(FRAME_TIME.as_nanos());
            u64::try_from(frames).unwrap_or(u64::MAX).max(1)
        };
        Machine {
            state: State::Quiet,
            begins: score(activity.threshold_percent),
            ends: score(activity.threshold_percent.saturating_sub(HYSTERESIS)),
            speech: frames(activity.min_speech),
            silence: frames(activity.min_silence),
            frames: 0,
        }
    }

    /// The media time at which a frame begins.
    fn time(frame: u64) -> Duration {
        Duration::from_millis(frame.saturating_mul(16))
    }

    /// Takes the score of the next frame.
    fn step(&mut self, score: u8) -> Option<Speech> {
        let at = self.frames;
        self.frames += 1;
        let (begins, goes_on) = (score >= self.begins, score >= self.ends);
        self.state = match self.state {
            State::Quiet if begins => State::Rising(1, at),
            State::Rising(count, since) if goes_on => State::Rising(count + 1, since),
            State::Quiet | State::Rising(..) => State::Quiet,
            State::Speaking if goes_on => State::Speaking,
            State::Speaking => State::Falling(1, at),
            State::Falling(..) if begins => State::Speaking,
            State::Falling(count, since) => State::Falling(count + 1, since),
        };
        match self.state {
            State::Rising(count, since) if count >= self.speech => {
                self.state = State::Speaking;
                Some(Speech::Started(Machine::time(since)))
            }
            State::Falling(count, since) if count >= self.silence => {
                self.state = State::Quiet;
                Some(Speech::Stopped(Machine::time(since)))
            }
            _ => None,
        }
    }

    /// There is no more sound, or not for now.
    fn end(&mut self) -> Option<Speech> {
        let state = std::mem::replace(&mut self.state, State::Quiet);
        match state {
            State::Quiet | State::Rising(..) => None,
            State::Speaking => Some(Speech::Stopped(Machine::time(self.frames))),
            State::Falling(_, since) => Some(Speech::Stopped(Machine::time(since))),
        }
    }

    fn is_speaking(&self) -> bool {
        matches!(self.state, State::Speaking | State::Falling(..))
    }
}

/// Finds speech in one stream of sound.
#[derive(Debug)]
pub(crate) struct Voice {
    detector: Box<dyn VoiceDetector>,
    machine: Machine,
    channels: usize,
    /// How long without a packet is the end of speech.
    stall: Duration,
    /// When that is.
    stalls_at: Option<Instant>,
    resampler: Resampler,
    /// Scratch: one channel at the reader's rate.
    mono: Vec<i16>,
    /// At 16 kHz: less than a frame waits.
    waiting: Vec<i16>,
    /// The caller takes what was found after each call, so there are at most as many as alternate
    /// in the longest gap that is filled.
    found: VecDeque<Speech>,
}

impl Voice {
    /// For sound of `rate` samples a second, interleaved.
    pub(crate) fn new(
        activity: VoiceActivity,
        detector: Box<dyn VoiceDetector>,
        (rate, channels): (u32, u8),
    ) -> Voice {
        Voice {
            detector,
            machine: Machine::new(activity),
            channels: usize::from(channels),
            stall: activity.min_silence + DTX_MAX,
            stalls_at: None,
            resampler: Resampler::new(rate, RATE, 1),
            mono: Vec::new(),
            waiting: Vec::new(),
            found: VecDeque::new(),
        }
    }

    /// Takes sound, interleaved.
    pub(crate) fn hear(&mut self, samples: &[i16]) {
        self.mono.clear();
        match self.channels {
            1 => self.mono.extend_from_slice(samples),
            _ => self.mono.extend(samples.chunks_exact(2).map(|pair| {
                // The mean of two fits what both fit.
                ((i32::from(pair[0]) + i32::from(pair[1])) / 2) as i16
            })),
        }
        self.resampler.process(&self.mono, &mut self.waiting);
        self.judge();
    }

    /// Takes `len` zeros of each channel, without making them where there are many.
    pub(crate) fn hear_silence(&mut self, len: u64) {
        // What the detector sees of it, in samples of the reader's rate, rounded up.
        let stored = len.min(self.resampler.settle() + self.resampler.inputs_for(FRAME) as u64);
        self.mono.clear();
        self.mono.resize(stored as usize, 0);
        self.resampler.process(&self.mono, &mut self.waiting);
        self.judge();
        let zeros = self.resampler.skip_zeros(len - stored);
        let shown = zeros.min(REST_FRAMES * FRAME as u64);
        self.waiting.resize(self.waiting.len() + shown as usize, 0);
        self.judge();
        let mut left = self.waiting.len() as u64 + zeros - shown;
        if left >= FRAME as u64 {
            self.detector.reset();
        }
        while left >= FRAME as u64 {
            let found = self.machine.step(0);
            self.found.extend(found);
            left -= FRAME as u64;
        }
        self.waiting.clear();
        self.waiting.resize(left as usize, 0);
    }

    /// Scores whole frames.
    fn judge(&mut self) {
        let whole = self.waiting.len() / FRAME * FRAME;
        for frame in self.waiting[..whole].chunks_exact(FRAME) {
            let found = self.machine.step(self.detector.score(frame));
            self.found.extend(found);
        }
        self.waiting.drain(..whole);
    }

    /// Another stream begins.
    pub(crate) fn restart(&mut self) {
        self.detector.reset();
    }

    /// A packet came, and what it gave was heard.
    pub(crate) fn packet(&mut self, now: Instant) {
        self.stalls_at = self.machine.is_speaking().then(|| now + self.stall);
    }

    /// When [`Voice::handle_timeout`] has something to do.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.stalls_at
    }

    /// Ends speech of which nothing has come for long enough.
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        if self.stalls_at.is_some_and(|at| at <= now) {
            self.end();
        }
    }

    /// The track or the call ends.
    pub(crate) fn end(&mut self) {
        self.stalls_at = None;
        let found = self.machine.end();
        self.found.extend(found);
    }

    /// What was found, oldest first.
    pub(crate) fn poll_found(&mut self) -> Option<Speech> {
        self.found.pop_front()
    }
}
