//! The bitrate that is asked for is about what is coded.

use super::loss::{RATE, voice};
use super::{OPUS, out};
use crate::PacketTime;
use crate::config::AudioOut;

/// The bytes of 10 s of voice.
fn coded(config: AudioOut) -> usize {
    let mut encoder = OPUS.encoder(config);
    let voice = voice(RATE as usize * 10);
    let frames = RATE as usize / 100 * config.packet_time.chunks();
    let (mut bytes, mut packet) = (0, Vec::new());
    for samples in voice.chunks_exact(frames) {
        encoder.encode(samples, &mut packet);
        bytes += packet.len();
    }
    bytes
}

#[test]
#[expect(clippy::print_stdout, reason = "the figures are what somebody runs this for")]
fn the_bitrate_is_about_what_is_asked_for_at_each_packet_time() {
    for packet_time in [PacketTime::Ms10, PacketTime::Ms20, PacketTime::Ms40, PacketTime::Ms60] {
        for bitrate in [16_000, 32_000, 64_000] {
            let bytes = coded(AudioOut { bitrate, packet_time, ..out(RATE) });
            let rate = bytes * 8 / 10;
            println!("{packet_time:?}: {rate} of {bitrate} bit/s");
            let asked = bitrate as usize;
            assert!((asked / 2..=asked * 13 / 10).contains(&rate), "{packet_time:?}: {rate}");
        }
    }
}

/// The packets of two seconds of voice.
fn packets(config: AudioOut) -> Vec<Vec<u8>> {
    let mut encoder = OPUS.encoder(config);
    let voice = voice(RATE as usize * 2);
    let frames = RATE as usize / 100 * config.packet_time.chunks();
    let coded = voice.chunks_exact(frames).map(|samples| {
        let mut packet = Vec::new();
        encoder.encode(samples, &mut packet);
        packet
    });
    coded.collect()
}

#[test]
fn more_bits_a_second_are_more_bytes_at_each_packet_time() {
    for packet_time in [PacketTime::Ms10, PacketTime::Ms20, PacketTime::Ms40, PacketTime::Ms60] {
        let bytes = [12_000, 24_000, 48_000, 96_000]
            .map(|bitrate| packets(AudioOut { bitrate, packet_time, ..out(RATE) }))
            .map(|packets| packets.iter().map(Vec::len).sum::<usize>());
        assert!(
            bytes.is_sorted_by(|less, more| less * 13 < more * 10),
            "{packet_time:?} {bytes:?}"
        );
    }
}

#[test]
fn more_effort_codes_the_same_sound_another_way() {
    for packet_time in [PacketTime::Ms10, PacketTime::Ms20, PacketTime::Ms40, PacketTime::Ms60] {
        let coded =
            [0, 5, 10].map(|complexity| packets(AudioOut { complexity, packet_time, ..out(RATE) }));
        assert!(coded[0] != coded[1] && coded[1] != coded[2], "{packet_time:?}");
        let again = packets(AudioOut { complexity: 5, packet_time, ..out(RATE) });
        assert_eq!(again, coded[1], "{packet_time:?}: the same effort codes it the same way");
    }
}
