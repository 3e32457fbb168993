//! One call's echo: what came back of what was said, and after which time.
//!
//! Bounded by what is on its way: the time of the last mark, and of the packet that was just
//! received. A delay of a round of the tone or more cannot be told from one that is a round
//! shorter.

use std::sync::Arc;
use std::time::Duration;

use opus_pure::Error as OpusError;
use smallrtc_udp::Lateness;

use super::report::Echo;
use super::tone::{Ear, LOOP, PACKET_TIME, Sound, Tone};

/// Listens to one call.
#[derive(Debug)]
pub(super) struct Listener {
    ear: Ear,
    tone: Arc<Tone>,
    /// When the packet that begins the latest round was sent.
    marked: Option<Duration>,
    /// When the one before was sent.
    marked_before: Option<Duration>,
    arrived: Duration,
    own: u64,
    silent: u64,
    other: u64,
    delay: Lateness,
}

impl Listener {
    pub(super) fn new(tone: &Arc<Tone>) -> Result<Listener, OpusError> {
        Ok(Listener {
            ear: Ear::new(tone)?,
            tone: Arc::clone(tone),
            marked: None,
            marked_before: None,
            arrived: Duration::ZERO,
            own: 0,
            silent: 0,
            other: 0,
            delay: Lateness::new(),
        })
    }

    /// A round's first packet is sent now.
    pub(super) fn sent_at(&mut self, now: Duration) {
        self.marked_before = self.marked.replace(now);
    }

    /// A part of the tone was left out: no delay can be told until the next round.
    pub(super) fn forget_marks(&mut self) {
        (self.marked, self.marked_before) = (None, None);
    }

    /// When the packet arrived that is heard next.
    pub(super) fn arrived_at(&mut self, at: Duration) {
        self.arrived = at;
    }

    /// Decodes a packet and judges it.
    pub(super) fn listen(&mut self, packet: &[u8]) {
        let Some(heard) = self.ear.listen(packet) else {
            self.other += 1;
            return;
        };
        match heard.sound {
            Sound::Own => self.own += 1,
            Sound::Silence => self.silent += 1,
            Sound::Other => self.other += 1,
        }
        if let Some(delay) = heard.burst.and_then(|offset| self.delay_of(self.arrived + offset)) {
            self.delay.record(delay);
        }
    }

    /// The echo of a round that had begun already.
    fn delay_of(&self, heard: Duration) -> Option<Duration> {
        let rounds = [self.marked, self.marked_before];
        let delays = rounds.into_iter().flatten().filter_map(|marked| {
            let delay = heard.checked_sub(marked + self.tone.mark())?;
            (delay < PACKET_TIME * LOOP as u32).then_some(delay)
        });
        delays.min()
    }

    /// The figures, and all delays.
    pub(super) fn report(&self) -> (Echo, &Lateness) {
        let packets = self.own + self.silent + self.other;
        let is_own = packets > 0 && 2 * self.own >= packets;
        let echo = Echo {
            calls: 1,
            calls_with_own_tone: u64::from(is_own),
            packets,
            own: self.own,
            silent: self.silent,
            other: self.other,
            sent_hz: Some(self.tone.pitch()),
            heard_hz: self.ear.pitch(),
            delay: (&self.delay).into(),
        };
        (echo, &self.delay)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tone() -> Arc<Tone> {
        Arc::clone(&Tone::all().expect("Opus codes a tone")[0])
    }

    /// Sends three rounds and gives each packet back after `delay`.
    fn echoed(delay: Duration, change: impl Fn(Arc<[u8]>) -> Arc<[u8]>) -> Listener {
        let tone = tone();
        let mut listener = Listener::new(&tone).unwrap();
        let begun = Duration::from_secs(1_000);
        let late = (delay.as_millis() / 20) as u64;
        for number in 0..3 * LOOP as u64 {
            let now = begun + PACKET_TIME * number as u32;
            if Tone::is_first(number) {
                listener.sent_at(now);
            }
            if let Some(echo) = number.checked_sub(late) {
                let sent = begun + PACKET_TIME * echo as u32;
                listener.arrived_at(sent + delay);
                listener.listen(&change(tone.packet(echo)));
            }
        }
        listener
    }

    #[test]
    fn an_echo_is_known_again_with_its_delay() {
        for delay in [0, 7, 130, 1_500] {
            let delay = Duration::from_millis(delay);
            let listener = echoed(delay, |packet| packet);
            let (echo, delays) = listener.report();
            assert_eq!(echo.calls_with_own_tone, 1);
            assert!(echo.own > echo.packets * 9 / 10, "{echo:?}");
            assert!(delays.count() >= 2);
            // The decoder has settled after the first round, whose mark may be a step off.
            assert!(echo.delay.p50.abs_diff(delay) <= delay / 50 + Duration::from_micros(2_500));
            assert!((echo.heard_hz.unwrap() - echo.sent_hz.unwrap()).abs() < 10.0);
        }
    }

    #[test]
    fn a_mark_that_may_have_been_left_out_is_not_measured_by() {
        let tone = tone();
        let mut listener = Listener::new(&tone).unwrap();
        listener.sent_at(Duration::from_secs(1));
        listener.forget_marks();
        listener.arrived_at(Duration::from_secs(1));
        for number in 0..LOOP as u64 {
            listener.listen(&tone.packet(number));
        }
        assert_eq!(listener.report().1.count(), 0);
        assert_eq!(listener.report().0.calls_with_own_tone, 1);
    }

    #[test]
    fn silence_and_noise_are_no_echo() {
        let garbage = echoed(Duration::ZERO, |_| Arc::from([0xff; 3]));
        let (echo, delays) = garbage.report();
        assert_eq!((echo.calls_with_own_tone, echo.own, delays.count()), (0, 0, 0));
        assert_eq!(echo.packets, 3 * LOOP as u64);

        let tone = tone();
        let mut nothing = Listener::new(&tone).unwrap();
        nothing.sent_at(Duration::from_secs(1));
        assert_eq!(nothing.report().0.calls_with_own_tone, 0);
    }
}
