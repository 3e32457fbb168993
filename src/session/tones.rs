//! Keys of a telephone (DTMF), in and out.

use std::time::{Duration, Instant};

use super::Session;
use super::timer::Timer;
use crate::audio::dtmf::{Pressed, ToneDue, TonePacket};
use crate::offer::MediaLine;
use crate::record::{Call, of_encoded};
use crate::transport::{MediaWritten, ToneWrite};
use crate::{Codec, Event, SendError, TrackId};

/// Key presses whose event was not polled; one more is dropped, counted. 256: what a hand presses
/// in a minute.
pub(crate) const PRESSES_MAX: usize = 256;

impl Session {
    /// Sends keys of a telephone (DTMF, RFC 4733) on the call's first audio track, after those that
    /// wait: `0` to `9`, `A` to `D`, `#`, `*`, in upper or lower case; a comma waits 2 s. Each key
    /// sounds for `duration`, 40 ms to 6 s (W3C's default is 100 ms), and after each there is a gap
    /// of `gap`, 30 ms to 6 s (default 70 ms); one below 50 ms is made that long, so that the end
    /// of a key can be repeated.
    ///
    /// The queue of sound is held back meanwhile, faded as by
    /// [`pause_audio`](Session::pause_audio). Keys wait until the call is connected. When the last
    /// gap is over, [`Event::DtmfSent`] comes.
    ///
    /// # Errors
    /// All keys are taken, or none. `Unsupported` for a character, with its place counted from
    /// zero, and for times outside of those ranges; `NoTrack` when the peer does not take telephone
    /// events at the clock of the sound (48 kHz for Opus, else 8 kHz) or no audio track sends PCM;
    /// `QueueFull` past 256 keys and commas; `Empty`, `Closed`.
    pub fn send_dtmf(
        &mut self,
        keys: &str,
        duration: Duration,
        gap: Duration,
        now: Instant,
    ) -> Result<(), SendError> {
        self.note(now, |recorder| Call::dtmf(keys, duration, gap, recorder));
        let sent = self.queue_keys(keys, duration, gap, now);
        self.noted(|_| of_encoded(&sent));
        sent
    }

    fn queue_keys(
        &mut self,
        keys: &str,
        duration: Duration,
        gap: Duration,
        now: Instant,
    ) -> Result<(), SendError> {
        let now = self.clamp(now);
        if self.closing.is_some() {
            return Err(SendError::Closed);
        }
        if self.sender.is_none() || !self.sends_audio() || !self.takes_keys {
            let track = self.tracks.microphone().map_or(TrackId(0), |track| track.id);
            let expected = "an audio track that sends PCM, and telephone events at its clock";
            return Err(SendError::NoTrack { track, expected });
        }
        self.keys_out.push(keys, duration, gap, now)?;
        self.follow_keys();
        Ok(())
    }

    /// Drops the keys that were given to [`send_dtmf`](Session::send_dtmf) and have not begun. The
    /// one that sounds goes on to its end.
    pub fn clear_dtmf(&mut self, now: Instant) {
        self.note(now, |_| Call::ClearDtmf);
        self.clamp(now);
        self.keys_out.clear();
    }

    /// A packet of the peer's keys. It has a number of the stream of sound, which is not missing.
    pub(super) fn on_tone(&mut self, packet: &TonePacket, now: Instant) {
        let track = TrackId(packet.line);
        let receives = self.tracks.microphone().is_some_and(|it| it.id == track && it.receives);
        if !receives {
            return;
        }
        if let Some(receiver) = &mut self.receiver {
            let quiet = !receiver.is_readable();
            receiver.handle_other(packet.seq, packet.ssrc, now);
            self.tell_audio(track, quiet);
        }
        for pressed in self.keys_in.handle(*packet, now).into_iter().flatten() {
            self.tell_pressed(pressed);
        }
        self.follow_audio_timers();
        self.follow_keys();
    }

    /// A key was pressed of which no end came.
    pub(super) fn give_up_key(&mut self, now: Instant) {
        if let Some(pressed) = self.keys_in.handle_timeout(now) {
            self.tell_pressed(pressed);
        }
        self.follow_keys();
    }

    fn tell_pressed(&mut self, pressed: Pressed) {
        let Pressed { line, digit, duration } = pressed;
        if self.presses >= PRESSES_MAX {
            self.stats.dtmf_dropped += 1;
            return;
        }
        self.presses += 1;
        self.stats.dtmf_received += 1;
        self.events.push(Event::Dtmf { track: TrackId(line), digit, duration });
    }

    /// The next key is due, or the last one is over.
    pub(super) fn send_due_keys(&mut self, now: Instant) {
        while let Some(due) = self.keys_out.handle_timeout(now) {
            match due {
                ToneDue::Key(code, duration) => self.send_key(code, duration, now),
                ToneDue::Done => {
                    self.events.push(Event::DtmfSent);
                    self.let_sound_go(now);
                }
            }
        }
        self.follow_keys();
    }

    fn send_key(&mut self, code: u8, duration: Duration, now: Instant) {
        let codec = self.sound_codec();
        let line = self.tracks.microphone().map(|track| track.id.0);
        let (Some(sender), Some(line)) = (&mut self.sender, line) else { return };
        sender.hold();
        let rtp_time = codec.units(sender.time_at(now));
        let tone = ToneWrite { line, code, rtp_time, duration };
        match self.transport.write_tone(&tone, now) {
            MediaWritten::Taken => self.stats.dtmf_sent += 1,
            MediaWritten::Dropped | MediaWritten::TooLarge(_) | MediaWritten::NotReady => {
                self.stats.media_dropped += 1;
            }
        }
        self.follow_audio_timers();
    }

    /// The codec that sound is sent with.
    fn sound_codec(&self) -> Codec {
        let codec = self.tracks.codec(self.tracks.microphone().map(|track| track.id));
        codec.unwrap_or(Codec::Opus)
    }

    /// The sound that keys held back goes on, unless the application holds it back as well.
    fn let_sound_go(&mut self, now: Instant) {
        if self.audio_paused {
            return;
        }
        if let Some(sender) = &mut self.sender {
            sender.release(now);
        }
        self.follow_audio_timers();
    }

    /// What the offer says of the peer's telephone events.
    pub(super) fn follow_offered_keys(&mut self, line: Option<&MediaLine>, now: Instant) {
        let clock_rate = self.sound_codec().clock_rate();
        self.takes_keys = line.is_some_and(|line| line.takes_keys(clock_rate));
        if !self.takes_keys || !self.sends_audio() {
            self.end_keys(now);
        }
    }

    /// Keys can be sent from now on.
    pub(super) fn start_keys(&mut self, now: Instant) {
        self.keys_out.start(now);
        self.follow_keys();
    }

    /// The peer takes no keys any more, or the call ends.
    pub(super) fn end_keys(&mut self, now: Instant) {
        let was_busy = self.keys_out.is_busy();
        let dropped = self.keys_out.stop();
        if self.closing.is_none() && self.state == crate::ConnectionState::Connected {
            self.keys_out.start(now);
        }
        if was_busy || dropped > 0 {
            self.events.push(Event::DtmfSent);
            self.let_sound_go(now);
        }
        self.follow_keys();
    }

    fn follow_keys(&mut self) {
        self.timers.follow(Timer::KeysOut, self.keys_out.poll_timeout());
        self.timers.follow(Timer::KeysIn, self.keys_in.poll_timeout());
    }
}
