//! What is coded against loss, and what it is good for.

use std::sync::{Arc, Mutex};

use opus_pure::OpusDecoder;

use super::{OPUS, ms, origin, out};
use crate::AudioFrame;
use crate::audio::codec::AudioEncoder;
use crate::audio::send::AudioSender;

pub(super) const RATE: u32 = 48_000;
const PACKET: usize = 960;

/// Something like a voice: a gliding pitch with its harmonics, in syllables.
pub(super) fn voice(frames: usize) -> Vec<i16> {
    let mut turn = 0.0_f64;
    let sample = |at: usize| {
        let time = at as f64 / f64::from(RATE);
        turn += std::f64::consts::TAU * (130.0 + 40.0 * (time * 2.1).sin()) / f64::from(RATE);
        let tone: f64 = (1..=12).map(|n| (turn * f64::from(n)).sin() / f64::from(n)).sum();
        let syllable = (time * std::f64::consts::TAU * 1.7).sin().abs();
        (tone * syllable * 7_000.0) as i16
    };
    (0..frames).map(sample).collect()
}

/// The packets of 10 s of voice that an encoder makes which expects so much loss, or was told
/// nothing.
fn packets(loss: Option<u8>) -> Vec<Vec<u8>> {
    let mut encoder = OPUS.encoder(out(RATE));
    if let Some(loss) = loss {
        encoder.set_loss(loss);
    }
    let voice = voice(RATE as usize * 10);
    let coded = voice.chunks_exact(PACKET).map(|samples| {
        let mut packet = Vec::new();
        encoder.encode(samples, &mut packet);
        packet
    });
    coded.collect()
}

fn is_lost(packet: usize) -> bool {
    packet % 10 == 7
}

/// What is heard when each tenth packet is lost, and repaired from the next or concealed.
fn heard(packets: &[Vec<u8>], repairs: bool) -> Vec<i16> {
    let mut decoder = OpusDecoder::new(RATE as i32, 1).unwrap();
    let mut heard = vec![0; packets.len() * PACKET];
    for (at, room) in heard.chunks_exact_mut(PACKET).enumerate() {
        let decoded = match packets.get(at + 1) {
            Some(next) if is_lost(at) && repairs => decoder.decode_fec_s16(next, PACKET, room),
            _ if is_lost(at) => decoder.decode_s16(&[], PACKET, room),
            _ => decoder.decode_s16(&packets[at], PACKET, room),
        };
        assert_eq!(decoded.unwrap(), PACKET);
    }
    heard
}

/// How far what was lost stands out of the difference to what should be heard, in dB.
fn quality(heard: &[i16], whole: &[i16]) -> f64 {
    let (mut signal, mut noise) = (0.0, 1.0);
    for (at, (heard, whole)) in heard.chunks(PACKET).zip(whole.chunks(PACKET)).enumerate() {
        for (heard, whole) in heard.iter().zip(whole).filter(|_| is_lost(at)) {
            signal += f64::from(*whole).powi(2);
            noise += (f64::from(*heard) - f64::from(*whole)).powi(2);
        }
    }
    10.0 * f64::log10(signal / noise)
}

#[test]
#[expect(clippy::print_stdout, reason = "the figures are what somebody runs this for")]
fn lost_packets_come_back_from_the_next_one_better_than_concealment_makes_them_up() {
    let packets = packets(Some(10));
    let mut decoder = OpusDecoder::new(RATE as i32, 1).unwrap();
    let mut whole = vec![0; packets.len() * PACKET];
    for (packet, room) in packets.iter().zip(whole.chunks_exact_mut(PACKET)) {
        decoder.decode_s16(packet, PACKET, room).unwrap();
    }
    let repaired = quality(&heard(&packets, true), &whole);
    let concealed = quality(&heard(&packets, false), &whole);
    println!("lost packets: repaired {repaired:.1} dB, concealed {concealed:.1} dB");
    assert!(repaired > concealed + 6.0, "repaired {repaired:.1} dB, concealed {concealed:.1} dB");
}

#[test]
#[expect(clippy::print_stdout, reason = "the figures are what somebody runs this for")]
fn without_loss_not_a_bit_is_spent_on_repairs_and_with_it_the_bitrate_holds() {
    let bytes = |packets: &[Vec<u8>]| packets.iter().map(Vec::len).sum::<usize>();
    let plain = packets(None);
    assert_eq!(packets(Some(0)), plain);
    let plain = bytes(&plain);
    for loss in [1, 5, 10, 20] {
        let with = bytes(&packets(Some(loss)));
        println!("10 s at {loss} % loss: {with} bytes, {plain} without");
        assert!(with * 100 < plain * 120, "{loss} %: {with} bytes, {plain} without");
        assert!(with * 8 / 10 < 32_000, "{loss} %: {with} bytes are more than was asked for");
    }
}

/// An encoder that notes what it is told.
#[derive(Debug, Default)]
struct Listener(Arc<Mutex<Vec<u8>>>);

impl AudioEncoder for Listener {
    fn encode(&mut self, _: &[i16], packet: &mut Vec<u8>) {
        packet.push(0);
    }

    fn silence(&mut self, packet: &mut Vec<u8>) {
        packet.push(0);
    }

    fn set_loss(&mut self, percent: u8) {
        self.0.lock().unwrap().push(percent);
    }
}

#[test]
fn an_encoder_is_told_of_loss_where_the_peer_can_repair_it_and_when_it_changes() {
    let told = Arc::<Mutex<Vec<u8>>>::default();
    let mut sender = AudioSender::with_encoder(out(RATE), Box::new(Listener(told.clone())));
    let now = || told.lock().unwrap().clone();
    for _ in 0..10 {
        sender.report_loss(0.1);
    }
    assert_eq!(now(), [0; 0], "the peer has said nothing of repairs");
    sender.set_repairs(true);
    assert_eq!(now(), [10]);
    sender.set_repairs(true);
    sender.report_loss(0.1);
    assert_eq!(now(), [10]);
    sender.set_repairs(false);
    assert_eq!(now(), [10, 0]);
    sender.set_repairs(true);
    for _ in 0..30 {
        sender.report_loss(0.0);
    }
    assert_eq!(now(), [10, 0, 10, 5, 1, 0]);
}

#[test]
fn packets_stay_in_time_and_length_while_the_loss_changes() {
    let mut sender = AudioSender::new(out(RATE), OPUS);
    let (start, voice) = (origin(), voice(RATE as usize * 4));
    sender.set_repairs(true);
    sender.start(start);
    sender.send(AudioFrame::mono(&voice, RATE), start).unwrap();
    let mut decoder = OPUS.decoder(super::input(RATE));
    for at in 0..200_u16 {
        sender.report_loss(f32::from(at / 25 % 3) * 0.1);
        let packet = sender.handle_timeout(start + ms(20) * u32::from(at)).unwrap();
        assert_eq!(packet.rtp_time, u64::from(at) * PACKET as u64);
        assert_eq!(decoder.decode(packet.data, &mut Vec::new()), PACKET);
    }
}
