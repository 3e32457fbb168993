//! What nobody reads costs nothing, and takes its time all the same.

use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::{input, ms, origin, out};
use crate::AudioOrigin;
use crate::audio::codec::AudioEncoder;
use crate::audio::{AudioCodec, AudioReceiver};

const PACKET: u64 = 960;

/// A receiver that gets packets of 20 ms, and what was read of it.
struct Rig {
    receiver: AudioReceiver,
    encoder: Box<dyn AudioEncoder>,
    start: Instant,
    seq: u64,
    samples: u64,
    end: Duration,
}

impl Rig {
    fn new(rate: u32) -> Rig {
        Rig {
            receiver: AudioReceiver::new(input(rate), AudioCodec::Null),
            encoder: AudioCodec::Null.encoder(out(8_000)),
            start: origin(),
            seq: 0,
            samples: 0,
            end: Duration::ZERO,
        }
    }

    fn packets(&mut self, count: u64) {
        for _ in 0..count {
            let mut data = Vec::new();
            self.encoder.encode(&[self.seq as i16; 160], &mut data);
            let now = self.start + ms(20 * self.seq);
            self.receiver.handle_packet(self.seq, PACKET * self.seq, 7, &data, now);
            self.seq += 1;
        }
    }

    /// Reads as a bot does that polls: until there is nothing. How much it got.
    fn read(&mut self) -> u64 {
        if self.receiver.is_idle() {
            self.receiver.wake();
            return 0;
        }
        let (mut buffer, before) = ([0; 1_000], self.samples);
        while let Some(info) = self.receiver.recv(&mut buffer) {
            assert_eq!(info.origin, AudioOrigin::Decoded);
            self.samples += info.samples as u64;
            let length = info.samples as f64 / f64::from(info.rate);
            self.end = info.time + Duration::from_secs_f64(length);
        }
        self.samples - before
    }

    fn dropped_at_48k(&self) -> u64 {
        self.receiver.counters().dropped_samples
    }
}

#[test]
fn two_seconds_unread_are_decoded_and_a_packet_more_discards_all_of_it() {
    let mut rig = Rig::new(16_000);
    rig.packets(100);
    assert!(!rig.receiver.is_idle() && rig.receiver.is_readable());
    assert_eq!(rig.dropped_at_48k(), 48_000, "a second is kept");
    rig.packets(1);
    assert!(rig.receiver.is_idle() && !rig.receiver.is_readable());
    rig.packets(5_000);
    assert!(rig.receiver.is_idle() && !rig.receiver.is_readable());
    assert_eq!(rig.receiver.counters().silence_samples, 0, "it is not silence, it is not heard");
}

#[test]
fn who_reads_again_hears_what_comes_from_then_on_at_its_time() {
    for rate in [8_000, 16_000, 44_100, 48_000] {
        let mut rig = Rig::new(rate);
        rig.packets(5_000);
        assert_eq!(rig.read(), 0);
        rig.packets(50);
        let heard = rig.read();
        // What the filter still holds back is less than a packet.
        let second = u64::from(rate);
        assert!((second - second / 50..=second).contains(&heard), "{rate}: {heard}");
        let behind = Duration::from_secs(101).abs_diff(rig.end);
        assert!(behind < ms(20), "{rate}: {:?}", rig.end);
    }
}

#[test]
fn a_reader_that_comes_every_two_seconds_is_one() {
    let mut rig = Rig::new(48_000);
    for _ in 0..20 {
        rig.packets(100);
        assert!(rig.read() > 0);
    }
    assert!(!rig.receiver.is_idle());
}

#[test]
fn a_long_pause_is_nobodys_idleness() {
    let mut rig = Rig::new(16_000);
    rig.packets(10);
    // Nine seconds that the peer did not send.
    let mut data = Vec::new();
    rig.encoder.encode(&[1; 160], &mut data);
    rig.receiver.handle_packet(10, PACKET * 460, 7, &data, rig.start + ms(9_200));
    assert!(!rig.receiver.is_idle() && rig.receiver.is_readable());
}

proptest! {
    #[test]
    fn whoever_reads_when_time_is_what_was_read_and_what_was_dropped(
        steps in prop::collection::vec((1_u64..300, any::<bool>()), 1..30),
    ) {
        let mut rig = Rig::new(48_000);
        for (packets, reads) in steps {
            rig.packets(packets);
            if reads {
                rig.read();
            }
        }
        rig.read();
        rig.read();
        prop_assert_eq!(rig.samples + rig.dropped_at_48k(), PACKET * rig.seq);
    }
}
