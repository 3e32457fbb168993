//! Keys of a telephone between the transport and a plain engine.

use std::time::Duration;

use str0m::Event;
use str0m::format::{Codec as EngineCodec, FormatParams};
use str0m::media::{Frequency, MediaTime, Mid, TelephoneEvent};

use super::pair::{Pair, audio};
use crate::Config;
use crate::audio::dtmf::{TonePacket, ToneReceiver};
use crate::transport::{MediaWritten, ToneWrite, Transport, TransportEvent};

const MS: Duration = Duration::from_millis(1);

/// A browser that offers telephone events at these clocks, connected.
fn connected(clocks: &[(u8, Frequency)]) -> Pair {
    let mut pair = Pair::with_browser(&Config::new(), 1, |mut config| {
        for (pt, clock) in clocks {
            let (codec, format) = (EngineCodec::Tele, FormatParams::default());
            config.codec_config().add_config((*pt).into(), None, codec, *clock, None, format);
        }
        config
    });
    pair.negotiate(|api| {
        audio(api);
    });
    pair.run_for(Duration::from_secs(1));
    assert!(pair.events.contains(&TransportEvent::Connected), "{:?}", pair.events);
    pair
}

const BOTH: [(u8, Frequency); 2] = [(100, Frequency::FORTY_EIGHT_KHZ), (101, Frequency::EIGHT_KHZ)];

fn mid(pair: &Pair) -> Mid {
    pair.bot.out.lines[0].as_ref().unwrap().mid
}

fn key(code: u8, rtp_time: u64, duration: Duration) -> ToneWrite {
    ToneWrite { line: 0, code, rtp_time, duration }
}

/// What the browser was told: code, end, RTP time, marker.
fn heard(pair: &Pair) -> Vec<(u8, bool, u64, bool)> {
    let heard = pair.browser.events.iter().filter_map(|event| match event {
        Event::MediaData(data) if data.params.spec().codec == EngineCodec::Tele => Some(data),
        _ => None,
    });
    heard
        .map(|data| {
            let report = TelephoneEvent::parse(&data.data, Frequency::FORTY_EIGHT_KHZ).unwrap();
            (report.event, report.end, data.time.numer(), data.audio_start_of_talk_spurt)
        })
        .collect()
}

fn tones(pair: &Pair) -> Vec<TonePacket> {
    let tones = pair.events.iter().filter_map(|event| match event {
        TransportEvent::Tone(packet) => Some(*packet),
        _ => None,
    });
    tones.collect()
}

#[test]
fn a_key_leaves_every_20_ms_on_the_time_and_the_numbers_of_the_sound() {
    let mut pair = connected(&BOTH);
    pair.bot_speaks(0..10);
    assert_eq!(pair.bot.write_tone(&key(7, 9_600, 100 * MS), pair.now), MediaWritten::Taken);
    pair.run_for(200 * MS);
    pair.bot_speaks(20..22);
    let (heard, sound) = (heard(&pair), pair.browser.media());
    assert_eq!(heard.len(), 7, "five reports and two repeated ends: {heard:?}");
    let begin = sound[0].0 + 9_600;
    assert!(heard.iter().all(|(code, _, at, _)| (*code, *at) == (7, begin)), "{heard:?}");
    let ends: Vec<bool> = heard.iter().map(|(_, end, _, _)| *end).collect();
    assert_eq!(ends, [false, false, false, false, true, true, true]);
    let markers: Vec<bool> = heard.iter().map(|(_, _, _, marker)| *marker).collect();
    assert_eq!(markers, [true, false, false, false, false, false, false]);
    // One stream: the numbers of all its packets follow each other.
    let rtp = pair
        .sent
        .iter()
        .filter(|sent| sent.payload[0] >> 6 == 2 && !(192..224).contains(&sent.payload[1]));
    let numbers: Vec<u16> =
        rtp.map(|sent| u16::from_be_bytes([sent.payload[2], sent.payload[3]])).collect();
    assert_eq!(numbers.len(), 10 + 7 + 2);
    assert!(numbers.windows(2).all(|pair| pair[1] == pair[0].wrapping_add(1)), "{numbers:?}");
}

#[test]
fn keys_follow_each_other_at_50_ms_and_a_long_one_has_several_segments() {
    let mut pair = connected(&BOTH);
    for (number, code) in [3, 3, 15].into_iter().enumerate() {
        let time = 48 * 90 * number as u64;
        let written = pair.bot.write_tone(&key(code, time, 40 * MS), pair.now);
        assert_eq!(written, MediaWritten::Taken, "key {number}");
        pair.run_for(90 * MS);
    }
    let written = pair.bot.write_tone(&key(1, 48 * 1_000, 6_000 * MS), pair.now);
    assert_eq!(written, MediaWritten::Taken);
    pair.run_for(Duration::from_secs(7));
    let heard = heard(&pair);
    let ends = |code| heard.iter().filter(|it| it.0 == code && it.1).count();
    assert_eq!((ends(3), ends(15), ends(1)), (6, 3, 3));
    let mut times: Vec<u64> = heard.iter().filter(|it| it.0 == 1).map(|it| it.2).collect();
    times.dedup();
    assert_eq!(times.len(), 5, "6 s are 288000 ticks, 65535 each");
}

#[test]
fn a_peer_without_keys_at_the_clock_of_the_sound_is_sent_none() {
    for clocks in [&[][..], &[(101, Frequency::EIGHT_KHZ)]] {
        let mut pair = connected(clocks);
        let written = pair.bot.write_tone(&key(1, 0, 100 * MS), pair.now);
        assert_eq!(written, MediaWritten::NotReady);
    }
    let mut pair = Pair::new(&Config::new(), 1);
    let written = pair.bot.write_tone(&key(1, 0, 100 * MS), pair.now);
    assert_eq!(written, MediaWritten::NotReady, "before the call");
}

#[test]
fn a_key_that_the_engine_would_not_take_is_refused_and_the_call_goes_on() {
    let mut pair = connected(&BOTH);
    let wrong = [key(17, 0, 100 * MS), key(1, 0, 39 * MS), key(1, 0, 6_001 * MS)];
    for tone in wrong {
        assert_eq!(pair.bot.write_tone(&tone, pair.now), MediaWritten::NotReady, "{tone:?}");
    }
    assert_eq!(pair.bot.write_tone(&key(1, 0, 100 * MS), pair.now), MediaWritten::Taken);
    let written = pair.bot.write_tone(&key(1, 9_600, 100 * MS), pair.now);
    assert_eq!(written, MediaWritten::NotReady, "the other one sounds");
    pair.run_for(Duration::from_secs(1));
    assert_eq!(heard(&pair).len(), 7);
    pair.bot_speaks(50..52);
}

#[test]
fn a_key_of_the_peer_comes_packet_by_packet_and_is_one_press() {
    let mut pair = connected(&BOTH);
    let (mid, mut receiver) = (mid(&pair), ToneReceiver::default());
    pair.browser_speaks(mid, 0..3);
    let now = pair.now;
    pair.browser_do(|rtc| {
        let event = TelephoneEvent { event: 9, end: true, volume: 10, duration: 100 * MS };
        let writer = rtc.writer(mid).unwrap().telephone_event(event);
        let pt = writer.payload_params().next().unwrap().pt();
        let time = MediaTime::new(2_880, Frequency::FORTY_EIGHT_KHZ);
        writer.write(pt, now, time, Vec::new()).unwrap();
    });
    pair.run_for(Duration::from_secs(1));
    let tones = tones(&pair);
    assert_eq!(tones.len(), 7, "{tones:?}");
    assert!(tones[0].is_first && !tones[1].is_first);
    let TonePacket { line, rate, code, .. } = tones[0];
    assert_eq!((line, rate, code), (0, 48_000, 9));
    let sound = pair.events.iter().find_map(|event| match event {
        TransportEvent::Media(packet) => Some((packet.seq, packet.ssrc, packet.rtp_time)),
        _ => None,
    });
    let (seq, ssrc, time) = sound.unwrap();
    assert_eq!((tones[0].seq, tones[0].ssrc), (seq + 3, ssrc), "of one stream");
    assert_eq!(tones[0].rtp_time, time + 2_880);
    let pressed: Vec<_> =
        tones.iter().flat_map(|packet| receiver.handle(*packet, now)).flatten().collect();
    assert_eq!(pressed.len(), 1);
    assert_eq!((pressed[0].digit, pressed[0].duration), ('9', 100 * MS));
}

/// What a report of the peer names is sound alone, or the estimate of what was played would run
/// ahead.
#[test]
fn packets_of_keys_are_not_counted_as_sound_in_reports() {
    let mut pair = connected(&BOTH);
    pair.bot_speaks(0..100);
    let _ = pair.bot.write_tone(&key(7, 96_000, 2_000 * MS), pair.now);
    pair.run_for(Duration::from_millis(2_100));
    pair.bot_speaks(205..605);
    pair.run_for(Duration::from_secs(10));
    let reported = pair.events.iter().rev().find_map(|event| match event {
        TransportEvent::PeerReport { packets, .. } => Some(*packets),
        _ => None,
    });
    assert_eq!(reported, Some(500), "frames of sound");
}
