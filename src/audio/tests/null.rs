//! The code for simulation: what goes in comes out, to the chunk.

use super::{input, out};
use crate::audio::AudioCodec;
use crate::config::{AudioIn, AudioOut};

#[test]
fn two_channels_keep_their_steps_and_concealment_holds_the_last_of_each() {
    let mut encoder = AudioCodec::Null.encoder(AudioOut { channels: 2, ..out(24_000) });
    let mut decoder = AudioCodec::Null.decoder(AudioIn { channels: 2, ..input(48_000) });
    let steps: Vec<i16> = [[5, -5], [7, -7]].iter().flat_map(|step| step.repeat(240)).collect();
    let (mut packet, mut samples) = (Vec::new(), Vec::new());
    encoder.encode(&steps, &mut packet);
    assert_eq!(decoder.decode(&packet, &mut samples), 960);
    decoder.conceal(3, &mut samples);
    let expected: Vec<i16> =
        [[5, -5].repeat(480), [7, -7].repeat(483)].into_iter().flatten().collect();
    assert_eq!(samples, expected);
    decoder.reset();
    samples.clear();
    decoder.conceal(2, &mut samples);
    assert_eq!(samples, [0; 4]);
}

#[test]
fn one_channel_is_heard_on_both_and_of_two_the_left_one_alone() {
    let mut packet = Vec::new();
    AudioCodec::Null.encoder(out(24_000)).encode(&[5; 480], &mut packet);
    let mut stereo = AudioCodec::Null.decoder(AudioIn { channels: 2, ..input(48_000) });
    let mut samples = Vec::new();
    assert_eq!(stereo.decode(&packet, &mut samples), 960);
    assert_eq!(samples, [5; 1_920]);
    let mut encoder = AudioCodec::Null.encoder(AudioOut { channels: 2, ..out(24_000) });
    encoder.encode(&[5, -5].repeat(480), &mut packet);
    samples.clear();
    assert_eq!(AudioCodec::Null.decoder(input(48_000)).decode(&packet, &mut samples), 960);
    assert_eq!(samples, [5; 960]);
}

#[test]
fn packets_with_another_tag_count_or_length_are_malformed() {
    let mut packet = Vec::new();
    AudioCodec::Null.encoder(out(24_000)).encode(&[5; 480], &mut packet);
    let mut decoder = AudioCodec::Null.decoder(input(48_000));
    assert_eq!(decoder.duration(&packet), Some(960));
    let changed = |place: usize, byte: u8| {
        let mut packet = packet.clone();
        packet[place] = byte;
        packet
    };
    let mut longer = packet.clone();
    longer.push(0);
    let cut = packet[..packet.len() - 1].to_vec();
    let wrong = [
        changed(0, b'M'),
        changed(1, 0),
        changed(1, 3),
        changed(2, 0),
        changed(2, 13),
        longer,
        cut,
    ];
    for wrong in wrong {
        let mut samples = Vec::new();
        assert_eq!((decoder.duration(&wrong), decoder.decode(&wrong, &mut samples)), (None, 0));
        assert!(samples.is_empty());
    }
}
