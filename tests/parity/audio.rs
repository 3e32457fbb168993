//! A, V: sound and pictures that go out.

use std::time::Duration;

use bytes::Bytes;
use smallrtc::{AudioIdle, Codec, Config, EncodedFrame, Event, PacketTime, SendError, TrackId};
use smallrtc_sim::{BrowserEvent, Kind, Pair, Setup, null_words};

const CAMERA: TrackId = TrackId(1);

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn call(config: impl FnOnce(Config) -> Config) -> Pair {
    let setup = Setup::new(Kind::Scripted, 1).browser(|browser| {
        (browser.camera, browser.levels) = (true, true);
    });
    let mut pair = Pair::new(setup.config(config));
    pair.connect();
    pair.drive_for(seconds(1));
    pair.forget();
    pair
}

/// The words that the page heard, each 10 ms of sound, and when.
fn heard(pair: &Pair) -> Vec<(Duration, i16)> {
    let mut words = Vec::new();
    for (at, event) in pair.timed_browser_events() {
        let BrowserEvent::Media { line: 0, data, .. } = event else { continue };
        words.extend(null_words(data).unwrap().into_iter().map(|word| (*at, word)));
    }
    words
}

fn spoken(pair: &Pair) -> Vec<(Duration, i16)> {
    heard(pair).into_iter().filter(|(_, word)| *word != 0).collect()
}

/// Steps of 10 ms at 24 kHz, counted from 1.
fn steps(count: i16) -> Vec<i16> {
    (1..=count).flat_map(|step| [step; 240]).collect()
}

#[test]
fn a1_sound_of_any_length_is_taken_and_none_is_refused() {
    let mut pair = call(|config| config);
    for length in [1, 7, 239, 241, 1_000, 24_001] {
        assert!(pair.send_audio(&vec![900; length], 24_000).is_ok(), "{length}");
    }
    assert_eq!(pair.send_audio(&[], 24_000), Err(SendError::Empty));
    pair.drive_for(seconds(3));
    let told = pair.events().filter(|event| matches!(event, Event::AudioFinished { .. }));
    assert_eq!(told.count(), 6);
}

#[test]
fn a2_the_end_of_a_piece_is_told_when_its_last_sample_left_and_when_the_call_ends() {
    let mut pair = call(|config| config);
    let first = pair.send_audio(&steps(100), 24_000).unwrap();
    let second = pair.send_audio(&steps(100), 24_000).unwrap();
    pair.drive_for(Duration::from_millis(1_500));
    assert!(
        pair.events().any(|event| *event == Event::AudioFinished { id: first, samples: 24_000 })
    );
    pair.browser.vanish();
    let now = pair.now();
    pair.session.close(now);
    pair.drive_until_closed(seconds(3));
    let of_second =
        |event: &&Event| matches!(event, Event::AudioFinished { id, .. } if *id == second);
    let Some(Event::AudioFinished { samples, .. }) = pair.events().find(of_second) else {
        panic!()
    };
    assert!((9_600..=14_400).contains(samples), "{samples}: half of it");
}

#[test]
fn a3_sound_begins_with_the_first_packet_and_a_stall_is_no_burst() {
    let mut pair = call(|config| config);
    pair.keep_transmits();
    // Ten seconds after the call was made, and the driver is away for one in the middle.
    pair.drive_for(seconds(9));
    pair.forget();
    pair.send_audio(&steps(300), 24_000).unwrap();
    pair.drive_for(seconds(1));
    pair.stall(seconds(1));
    pair.drive_for(seconds(4));
    let spoken = spoken(&pair);
    let words: Vec<i16> = spoken.iter().map(|(_, word)| *word).collect();
    assert_eq!(words, (1..=300).collect::<Vec<i16>>(), "no word is dropped");
    let mut left: Vec<Duration> = spoken.iter().map(|(at, _)| *at).collect();
    left.dedup();
    let closest = left.windows(2).map(|pair| pair[1] - pair[0]).min().unwrap();
    assert!(closest >= Duration::from_millis(19), "{closest:?}");
}

#[test]
fn a4_after_any_silence_sound_goes_at_its_pace() {
    for idle in [AudioIdle::Silence, AudioIdle::Dtx, AudioIdle::Nothing] {
        let mut pair = call(|config| config.audio_idle(idle));
        pair.send_audio(&steps(50), 24_000).unwrap();
        pair.drive_for(seconds(3));
        pair.forget();
        pair.send_audio(&steps(100), 24_000).unwrap();
        pair.drive_for(seconds(3));
        let spoken = spoken(&pair);
        let took = spoken.last().unwrap().0 - spoken[0].0;
        assert_eq!(spoken.len(), 100, "{idle:?}");
        assert_eq!(took, Duration::from_millis(980), "{idle:?}: paced");
    }
}

#[test]
fn a5_an_hour_at_odd_rates_loses_no_sample() {
    for rate in [22_050, 11_025, 44_100] {
        let mut pair = call(|config| config);
        let second = vec![500; rate as usize];
        let mut finished = 0;
        for _ in 0..120 {
            for _ in 0..30 {
                pair.send_audio(&second, rate).unwrap();
            }
            pair.drive_for(seconds(30));
            for event in pair.events() {
                if let Event::AudioFinished { samples, .. } = event {
                    finished += samples;
                }
            }
            pair.forget();
        }
        // The last piece may still be on its way.
        let whole = 3_600 * u64::from(rate);
        assert!((whole - u64::from(rate)..=whole).contains(&finished), "{rate}: {finished}");
    }
}

#[test]
fn a6_packets_last_20_ms_and_what_is_asked_for() {
    for (time, ms) in [
        (PacketTime::Ms10, 10),
        (PacketTime::Ms20, 20),
        (PacketTime::Ms40, 40),
        (PacketTime::Ms60, 60),
    ] {
        let mut pair = call(|config| config.audio_packet_time(time));
        pair.drive_for(seconds(6));
        let packets =
            pair.browser_events().filter(|event| matches!(event, BrowserEvent::Media { .. }));
        let count = packets.count() as u64;
        assert!(count.abs_diff(6_000 / ms) <= 1, "{ms} ms: {count}");
    }
    assert_eq!(PacketTime::default(), PacketTime::Ms20);
    let mut pair = call(|config| config.audio_idle(AudioIdle::Dtx));
    pair.drive_for(seconds(10));
    let packets = pair.browser_events().filter(|event| matches!(event, BrowserEvent::Media { .. }));
    assert!(packets.count() < 100, "silence costs a packet now and then");
}

#[test]
fn a7_after_an_interruption_no_speech_leaves_and_what_left_is_told() {
    let mut pair = call(|config| config);
    let id = pair.send_audio(&steps(500), 24_000).unwrap();
    pair.drive_for(seconds(1));
    let now = pair.now();
    let cleared = pair.session.clear_audio(now);
    let piece = cleared.pieces[0];
    assert_eq!((piece.id, piece.sent + piece.dropped), (id, 120_000));
    assert!((23_000..=26_000).contains(&piece.sent), "{}", piece.sent);
    pair.drive_for(Duration::from_millis(15));
    pair.forget();
    pair.drive_for(seconds(1));
    // One packet may be on the wire, or be the one that is faded.
    assert!(spoken(&pair).len() <= 2, "{:?}", spoken(&pair));
}

#[test]
fn a8_each_packet_tells_its_level() {
    let mut pair = call(|config| config);
    pair.keep_transmits();
    pair.send_audio(&vec![12_000; 24_000], 24_000).unwrap();
    pair.drive_for(Duration::from_millis(500));
    let mut levels = Vec::new();
    for (_, sent) in pair.transmits() {
        for frame in smallrtc::scripted::decode(&sent.payload).into_iter().flatten() {
            if let smallrtc::scripted::Frame::Media(media) = frame {
                levels.push(media.level.expect("every packet has one").0);
            }
        }
    }
    assert!(levels.len() > 20 && levels[2..].iter().all(|level| *level < 20), "{levels:?}");
}

fn picture(ms: u64, len: usize) -> EncodedFrame {
    EncodedFrame::new(Codec::Vp8, Duration::from_millis(ms), true, Bytes::from(vec![0; len]))
}

#[test]
fn v1_pictures_go_out_coded_of_any_size_and_are_refused_where_nothing_drains() {
    let mut pair = call(|config| config);
    let mut refused = None;
    for number in 0..1_000 {
        let now = pair.now();
        let sent = pair.session.send_encoded(CAMERA, picture(number, 20_000), now);
        if let Err(error) = sent {
            refused = Some((number, error));
            break;
        }
    }
    let (count, error) = refused.expect("there is a limit");
    assert!(matches!(error, SendError::QueueFull { limit, .. } if limit == 256 * 1024), "{error}");
    assert!((10..20).contains(&count), "{count}");
}

#[test]
fn v2_whoever_codes_chooses_the_rate_and_hears_of_wishes() {
    let mut pair = call(|config| config);
    for number in 0..90_u64 {
        let len = [1_000, 5_000, 12_000][number as usize / 30];
        let now = pair.now();
        assert_eq!(pair.session.send_encoded(CAMERA, picture(number * 33, len), now), Ok(()));
        pair.drive_for(Duration::from_millis(33));
    }
    let shown =
        pair.browser_events().filter(|event| matches!(event, BrowserEvent::Media { line: 1, .. }));
    assert!(shown.count() >= 89);
    let now = pair.now();
    pair.browser.request_keyframe(1, now);
    pair.flush();
    pair.drive_for(seconds(1));
    assert!(pair.events().any(|event| *event == Event::KeyframeRequested(CAMERA)));
}
