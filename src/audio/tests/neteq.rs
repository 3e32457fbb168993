//! How a listener of libwebrtc's kind hears what is sent: a model of NetEq, as far as it decides
//! what is decoded, what is a pause and what is a loss.
//!
//! Every 10 ms it plays. It begins with the first packet 40 ms after it came. A packet whose time
//! has come is decoded; when none is there, 10 ms are made up: as part of a pause when the last
//! packet was one of at most two bytes (`DetermineAudioType` in libwebrtc's `opus_interface.cc`:
//! comfort noise), as concealment otherwise, which `getStats` counts.

use std::collections::BTreeMap;

use super::loss::voice;
use super::opus::PACKET_TIMES;
use super::{OPUS, input, ms, origin, out};
use crate::audio::AudioSender;
use crate::audio::codec::AudioDecoder;
use crate::config::AudioOut;
use crate::{AudioFrame, AudioIdle};

/// Samples of 10 ms at 48 kHz.
const STEP: usize = 480;

/// What it keeps in store.
const STORE_MS: u64 = 40;

struct Listener {
    decoder: Box<dyn AudioDecoder>,
    /// Packets that came, by their time.
    packets: BTreeMap<u64, Vec<u8>>,
    /// Decoded, and not yet played.
    ready: Vec<i16>,
    /// The time of what is played next; none before it begins.
    next: Option<u64>,
    begins_ms: Option<u64>,
    is_pause: bool,
    played: Vec<i16>,
    /// Steps that were made up in pauses, and such as are counted as concealed.
    paused: u64,
    concealed: u64,
}

impl Listener {
    fn new() -> Listener {
        Listener {
            decoder: OPUS.decoder(input(48_000)),
            packets: BTreeMap::new(),
            ready: Vec::new(),
            next: None,
            begins_ms: None,
            is_pause: false,
            played: Vec::new(),
            paused: 0,
            concealed: 0,
        }
    }

    fn packet(&mut self, rtp_time: u64, data: &[u8], at_ms: u64) {
        let begins = *self.begins_ms.get_or_insert(at_ms + STORE_MS);
        // Its time has not come yet: on a clean path nothing is late.
        let due = self.next.unwrap_or(rtp_time);
        assert!(rtp_time >= due, "{rtp_time} came when {due} was played, begun at {begins}");
        self.packets.insert(rtp_time, data.to_vec());
    }

    fn play(&mut self, at_ms: u64) {
        if self.begins_ms.is_none_or(|begins| at_ms < begins) {
            return;
        }
        let next = *self.next.get_or_insert_with(|| *self.packets.keys().next().unwrap());
        if self.ready.is_empty() {
            match self.packets.remove(&next) {
                Some(packet) => {
                    self.is_pause = packet.len() <= 2;
                    let frames = self.decoder.decode(&packet, &mut self.ready);
                    assert!(frames > 0 && frames % STEP == 0);
                }
                None => {
                    self.decoder.conceal(STEP, &mut self.ready);
                    *if self.is_pause { &mut self.paused } else { &mut self.concealed } += 1;
                }
            }
        }
        self.played.extend(self.ready.drain(..STEP));
        self.next = Some(next + STEP as u64);
    }
}

/// A talk of several pieces with pauses of odd lengths, heard over a clean path of 30 ms. With the
/// milliseconds of its packets and whether they have the marker bit.
fn talk(config: AudioOut) -> (Listener, Vec<(u64, bool)>) {
    let rate = config.rate;
    let voice = voice(48_000 * 2);
    let sound: Vec<i16> = voice.iter().step_by(48_000 / rate as usize).copied().collect();
    // When each begins, and how long it is.
    let pieces = [(300, 1_000), (2_013, 777), (3_500, 25), (5_555, 1_200), (6_830, 500)];
    let mut sender = AudioSender::new(config, OPUS);
    let (start, mut listener) = (origin(), Listener::new());
    let mut way: Vec<(u64, u64, Vec<u8>)> = Vec::new();
    let mut sent = Vec::new();
    sender.start(start);
    for at in 0..10_000 {
        for (_, len) in pieces.iter().filter(|(begins, _)| *begins == at) {
            let samples = &sound[..rate as usize / 1_000 * len];
            sender.send(AudioFrame::mono(samples, rate), start + ms(at)).unwrap();
        }
        while let Some(packet) = sender.handle_timeout(start + ms(at)) {
            way.push((at + 30, packet.rtp_time, packet.data.to_vec()));
            sent.push((at, packet.talkspurt));
        }
        for (_, rtp_time, data) in way.extract_if(.., |(arrives, ..)| *arrives == at) {
            listener.packet(rtp_time, &data, at);
        }
        if at % 10 == 0 {
            listener.play(at);
        }
    }
    (listener, sent)
}

#[test]
fn on_a_clean_path_nothing_is_concealed_whatever_is_sent_in_pauses() {
    for idle in [AudioIdle::Silence, AudioIdle::Dtx, AudioIdle::Nothing] {
        for packet_time in PACKET_TIMES {
            let (listener, sent) = talk(AudioOut { idle, packet_time, ..out(24_000) });
            let name = format!("{idle:?} {packet_time:?}");
            assert_eq!(listener.concealed, 0, "{name}");
            assert_eq!(listener.paused > 0, idle != AudioIdle::Silence, "{name}");
            let marked = sent.iter().filter(|(_, is_marked)| *is_marked);
            let marked: Vec<u64> = marked.map(|(at, _)| *at).collect();
            // Each piece after a pause; the last one comes before the pause has begun.
            let expected: &[u64] = match idle {
                AudioIdle::Silence => &[0],
                AudioIdle::Dtx | AudioIdle::Nothing => &[300, 2_013, 3_500, 5_555],
            };
            assert_eq!(marked, expected, "{name}");
        }
    }
}

#[test]
fn a_pause_is_heard_as_silence_and_begins_and_ends_without_a_click() {
    let (always, _) = talk(AudioOut { idle: AudioIdle::Silence, ..out(24_000) });
    let steepest = |sound: &[i16]| sound.windows(2).map(|two| two[0].abs_diff(two[1])).max();
    for idle in [AudioIdle::Silence, AudioIdle::Dtx, AudioIdle::Nothing] {
        let (listener, _) = talk(AudioOut { idle, ..out(24_000) });
        let played = &listener.played;
        // Between the first piece and the second, in the listener's time; the first packet is that
        // of the silence before, or of the piece.
        let offset = if idle == AudioIdle::Nothing { 300 } else { 0 };
        let pause = &played[48 * (1_450 - offset)..48 * (2_000 - offset)];
        let loudest = pause.iter().map(|sample| sample.unsigned_abs()).max();
        assert!(loudest <= Some(8), "{idle:?}: {loudest:?}");
        let (most, usual) = (steepest(played), steepest(&always.played));
        assert!(most <= usual.map(|usual| usual + usual / 4), "{idle:?}: {most:?} of {usual:?}");
    }
}

#[test]
fn a_listener_that_is_not_told_of_a_pause_conceals_it() {
    // What the model is good for: packets of silence, sent as rarely as those of a pause.
    let mut encoder = OPUS.encoder(out(24_000));
    let concealed = |packet: &[u8]| {
        let mut listener = Listener::new();
        for at in (0..2_000).step_by(10) {
            if at % 400 == 0 {
                listener.packet(at * 48, packet, at);
            }
            listener.play(at);
        }
        (listener.concealed > 0, listener.paused > 0)
    };
    let (mut silence, mut pause) = (Vec::new(), Vec::new());
    encoder.silence(&mut silence);
    encoder.pause(&mut pause);
    assert_eq!((concealed(&silence), concealed(&pause)), ((true, false), (false, true)));
}

#[test]
fn the_word_of_a_pause_lasts_as_long_as_any_packet() {
    for packet_time in PACKET_TIMES {
        for channels in [1, 2] {
            let mut encoder = OPUS.encoder(AudioOut { packet_time, channels, ..out(48_000) });
            let decoder = OPUS.decoder(input(48_000));
            let mut packet = vec![7; 9];
            encoder.pause(&mut packet);
            assert!(packet.len() <= 2, "{packet:?}");
            assert_eq!(decoder.duration(&packet), Some(480 * packet_time.chunks()));
        }
    }
}
