//! Coders that do not keep their word: time does not depend on it.

use super::{input, ms, origin};
use crate::audio::AudioReceiver;
use crate::{AudioDecoder, Codec};

/// Says that a packet has as many samples as its first byte in hundreds, and gives as many as its
/// second; concealment is always 7 samples, and copies too long.
#[derive(Debug)]
struct Liar;

impl AudioDecoder for Liar {
    fn decode(&mut self, packet: &[u8], samples: &mut Vec<i16>) -> usize {
        samples.resize(samples.len() + usize::from(packet[1]) * 100, 5);
        usize::from(packet[2]) * 100
    }

    fn conceal(&mut self, _frames: usize, samples: &mut Vec<i16>) {
        samples.extend([5; 7]);
    }

    fn copied(&self, _packet: &[u8]) -> usize {
        960
    }

    fn repair(&mut self, _packet: &[u8], samples: &mut Vec<i16>) -> usize {
        samples.extend([5; 3_000]);
        2_000
    }

    fn duration(&self, packet: &[u8]) -> Option<usize> {
        Some(usize::from(*packet.first()?) * 100)
    }

    fn reset(&mut self) {}
}

#[test]
fn a_decoder_that_gives_too_much_or_too_little_changes_no_time() {
    for rate in [16_000, 44_100, 48_000] {
        let listen = input(rate);
        let mut receiver = AudioReceiver::with_decoder(listen, Codec::Opus, Box::new(Liar));
        let (mut now, mut time, mut heard) = (origin(), 0, 0);
        let mut buffer = [0; 48_000];
        let packets = [[10, 10, 10], [10, 0, 10], [10, 96, 10], [10, 5, 200], [10, 200, 0]];
        for (seq, packet) in (0..).zip(packets.iter().cycle().take(50)) {
            // Every seventh is lost, and "repaired" by the one after it.
            if seq % 7 != 3 {
                receiver.handle_packet(seq, time, 1, packet, now);
            }
            time += 1_000;
            now += ms(100);
            receiver.handle_timeout(now);
            while let Some(info) = receiver.recv(&mut buffer) {
                heard += info.samples as u64;
            }
        }
        assert_eq!(heard, (time * u64::from(rate)).div_ceil(48_000), "{rate}");
        assert_eq!(receiver.counters().malformed, 0);
    }
}

#[test]
fn a_packet_of_200_ms_is_the_longest_and_one_of_nothing_is_none() {
    for (hundreds, is_taken) in [(96, true), (97, false), (0, false)] {
        let listen = input(48_000);
        let mut receiver = AudioReceiver::with_decoder(listen, Codec::Opus, Box::new(Liar));
        receiver.handle_packet(0, 0, 1, &[hundreds, hundreds, hundreds], origin());
        let counters = receiver.counters();
        assert_eq!((receiver.is_readable(), counters.malformed), (is_taken, u64::from(!is_taken)));
    }
}
