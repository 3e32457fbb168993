//! What the echo bot says: what it hears, as soon as it can be said without a hole.
//!
//! [`Delay`] decides about each block, [`Splice`] mends where sound is left out or late, and
//! `Stretch` makes it longer or shorter. [`Echo`] is all of them and reads no clock; [`Sound`] is
//! what gives it one.

use std::time::{Duration, Instant};

use futures_lite::future;
use smallrtc::media::Stretch;
use smallrtc::{AudioFrame, AudioId, AudioIdle, AudioOrigin, Config, ConnectionState, Event};
use smallrtc_smol::AudioBlock;
use tracing::debug;

use super::alarm::Alarm;
use super::delay::{Act, Counters, Delay, Heard, Pass, Verdict, samples, ticks};
use super::delay::{BACKLOG_MAX, PACKET, SLACK_SAMPLES};
use super::echo::Voice;
use super::splice::{Splice, is_quiet};
use crate::TapedPeer;
use crate::tape::now;

#[cfg(test)]
mod tests;

/// How long after a call is connected it says a word of silence, if it has nothing else to say:
/// pages are told of a bot's sound by its first packet, and of a restarted call's only if that
/// comes within 400 ms.
const GREETING_AFTER: Duration = Duration::from_millis(200);

/// That word: one packet.
const GREETING: AudioFrame<'static> = AudioFrame { samples: &[0; 160], rate: 8_000, channels: 1 };

/// The rate of an echo both ways, so that it is not resampled: what calls have for speech that goes
/// out.
const RATE: u32 = 24_000;

/// Sets calls up for [`echo`](super::echo()): nothing goes out while nothing is said, so that the
/// first packet leaves when it is wanted, and sound has one rate both ways. Without it an echo lags
/// by up to 20 ms more.
#[must_use]
pub fn echo_config(config: Config) -> Config {
    let config = config.audio_in(RATE, 1).and_then(|config| config.audio_out(RATE, 1));
    config.expect("Opus codes 24 kHz and one channel").audio_idle(AudioIdle::Nothing)
}

/// The way back of sound.
#[derive(Debug, Default)]
pub(super) struct Sound {
    echo: Echo,
    greets: Option<Instant>,
    told: Counters,
    alarm: Alarm,
}

impl Voice for Sound {
    async fn hear(&mut self, peer: &mut TapedPeer, block: &AudioBlock) {
        self.greets = None;
        let is_filler = block.origin == AudioOrigin::Silence;
        if let Some(frame) = self.echo.hear(block.frame(), is_filler, now()) {
            let (sent, ticks) = (peer.send_audio(frame).await, length(frame));
            self.sent(sent, ticks);
        }
        self.tell(peer);
    }

    async fn see(&mut self, _: &mut TapedPeer, event: &Event) {
        match event {
            Event::AudioStarted { id } => self.echo.delay.began(*id, now()),
            Event::AudioFinished { id, .. } => self.echo.delay.ended(*id),
            Event::StateChanged(ConnectionState::Connected) if !self.echo.has_heard() => {
                self.greets = Some(now() + GREETING_AFTER);
            }
            _ => {}
        }
    }

    async fn due(&mut self) {
        let Some(due) = [self.greets, self.echo.due()].into_iter().flatten().min() else {
            return future::pending().await;
        };
        self.alarm.wait(due).await;
    }

    async fn turn(&mut self, peer: &mut TapedPeer) {
        let now = now();
        if self.greets.is_some_and(|at| at <= now) {
            self.greets = None;
            if let Err(error) = peer.send_audio(GREETING).await {
                debug!(%error, "silence could not be said");
            }
        }
        if let Some(frame) = self.echo.turn(now) {
            let (sent, ticks) = (peer.send_audio(frame).await, length(frame));
            self.sent(sent, ticks);
        }
        self.tell(peer);
    }
}

impl Sound {
    fn sent(&mut self, sent: Result<AudioId, smallrtc::SendError>, ticks: i64) {
        match sent {
            Ok(id) => self.echo.delay.queued(id, ticks),
            Err(error) => {
                self.echo.delay.refused();
                debug!(%error, "sound could not be returned");
            }
        }
    }

    /// Tells of what was done to sound, where that is not what was told before.
    fn tell(&mut self, peer: &TapedPeer) {
        let counters = self.echo.delay.counters();
        if std::mem::replace(&mut self.told, counters) != counters {
            debug!(shard = peer.shard(), call = %peer.id(), ?counters, "the echo's lag");
        }
    }
}

fn length(frame: AudioFrame<'_>) -> i64 {
    ticks(frame.samples.len() / usize::from(frame.channels.max(1)), frame.rate)
}

/// Sound of one form on its way back.
#[derive(Debug)]
struct Form {
    rate: u32,
    channels: u8,
    splice: Splice,
    stretch: Stretch,
    /// Blocks before the first packet. At most [`BACKLOG_MAX`] of sound.
    held: Vec<i16>,
    was_quiet: bool,
}

impl Form {
    fn new(rate: u32, channels: u8) -> Form {
        Form {
            rate,
            channels,
            splice: Splice::new(rate, channels),
            stretch: Stretch::new(channels),
            held: Vec::new(),
            was_quiet: false,
        }
    }

    /// So much sound in interleaved samples, rounded down.
    fn len(&self, ticks: i64) -> usize {
        samples(ticks, self.rate) * usize::from(self.channels)
    }

    /// Whether a block is quiet, and the one before it was: what is held back of that is so too.
    fn is_quiet(&mut self, block: &[i16]) -> bool {
        let is_quiet = is_quiet(block);
        std::mem::replace(&mut self.was_quiet, is_quiet) && is_quiet
    }

    /// Keeps a block, and gives how many were left out. The oldest of a burst goes: what is quiet
    /// as far as a packet stays, and whatever is more than would be queued.
    fn hold(&mut self, block: &[i16]) -> u64 {
        if block.is_empty() {
            return 0;
        }
        self.held.extend_from_slice(block);
        let (packet, most) = (self.len(PACKET), self.len(BACKLOG_MAX));
        let mut left_out = 0;
        while self.held.len() > most
            || self.held.len() >= packet + block.len() && is_quiet(&self.held[..block.len()])
        {
            self.held.drain(..block.len().min(self.held.len()));
            left_out += 1;
        }
        left_out
    }

    /// Gives what goes out for a block, and how much more that is than the block holds. What is
    /// held back for good by the first stretching counts as given.
    fn pass(&mut self, block: &[i16], pass: Pass, out: &mut Vec<i16>) -> i64 {
        if pass.is_anew {
            self.splice.broke();
        }
        let mut said = vec![0; self.len(pass.put)];
        let left = self.len(pass.leave).min(block.len());
        if left > 0 {
            self.splice.skip(block);
        }
        self.splice.join(&block[left..], &mut said);
        if pass.ppm == 0 && self.was_quiet {
            self.stretch.snap();
        }
        let held = self.stretch.held();
        let given = self.stretch.stretch(&said, pass.ppm, out) + self.stretch.held() - held;
        let taken = block.len() / usize::from(self.channels);
        ticks(given, self.rate) - ticks(taken, self.rate)
    }
}

/// An echo, without a clock and without a call.
#[derive(Debug, Default)]
pub(super) struct Echo {
    delay: Delay,
    form: Option<Form>,
    /// What goes out.
    piece: Vec<i16>,
}

impl Echo {
    /// Takes a block; gives what goes out now, if anything does.
    fn hear(
        &mut self,
        frame: AudioFrame<'_>,
        is_filler: bool,
        now: Instant,
    ) -> Option<AudioFrame<'_>> {
        let AudioFrame { samples, rate, channels } = frame;
        let is_known = |form: &&mut Form| (form.rate, form.channels) == (rate, channels);
        let is_new = self.form.as_mut().filter(is_known).is_none();
        if is_new {
            self.form = Some(Form::new(rate, channels));
            self.delay.forget_held();
        }
        let form = self.form.as_mut()?;
        let heard = Heard {
            ticks: length(frame),
            // Where the form changes there is a seam anyway.
            is_quiet: form.is_quiet(samples) || is_new,
            is_filler,
            slack: ticks(SLACK_SAMPLES, rate),
        };
        self.piece.clear();
        match self.delay.hear(heard, now) {
            Verdict::Hold => self.delay.left_out(form.hold(samples)),
            Verdict::Skip => form.splice.skip(samples),
            Verdict::Pass(pass) => {
                let more = form.pass(samples, pass, &mut self.piece);
                self.delay.gave(more, heard);
            }
        }
        self.piece()
    }

    /// Does what is due; gives what goes out now, if anything does.
    fn turn(&mut self, now: Instant) -> Option<AudioFrame<'_>> {
        let form = self.form.as_mut()?;
        self.piece.clear();
        match self.delay.turn(!form.splice.is_quiet(), now)? {
            Act::Begin => {
                form.splice.broke();
                form.stretch = Stretch::new(form.channels);
                self.piece.resize(SLACK_SAMPLES * usize::from(form.channels), 0);
                let held = std::mem::take(&mut form.held);
                form.pass(&held, Pass::default(), &mut self.piece);
            }
            Act::Bridge { ticks, is_last } => {
                let mut made = Vec::new();
                form.splice.bridge(samples(ticks, form.rate), is_last, &mut made);
                form.stretch.stretch(&made, 0, &mut self.piece);
            }
        }
        self.piece()
    }

    /// When there is something to do without a block.
    fn due(&self) -> Option<Instant> {
        let form = self.form.as_ref()?;
        self.delay.due(!form.splice.is_quiet())
    }

    fn has_heard(&self) -> bool {
        self.form.is_some()
    }

    fn piece(&self) -> Option<AudioFrame<'_>> {
        let form = self.form.as_ref().filter(|_| !self.piece.is_empty())?;
        Some(AudioFrame { samples: &self.piece, rate: form.rate, channels: form.channels })
    }
}
