//! X: the transport above the connection.

use std::time::Duration;

use serde_json::json;
use smallrtc::rtvi::{Rtvi, RtviEvent};
use smallrtc::{
    AudioFrame, CloseReason, Codec, ConnectionState, Event, Message, SendError, Source, TrackId,
};
use smallrtc_sim::{BrowserEvent, Kind, Pair, Setup, null_packet, null_words};

use crate::tracks::without_camera;

const MICROPHONE: TrackId = TrackId(0);

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn speaking(setup: Setup) -> Pair {
    let mut pair = Pair::new(setup);
    pair.connect();
    let now = pair.now();
    pair.browser.speak(null_packet(&[700, 700]), now);
    pair
}

fn scripted() -> Setup {
    Setup::new(Kind::Scripted, 1)
}

#[test]
fn x1_a_read_never_waits_and_readiness_is_told() {
    let mut pair = Pair::new(scripted());
    pair.connect();
    let mut samples = [0; 960];
    assert!(pair.session.recv_audio(MICROPHONE, &mut samples).is_none());
    let now = pair.now();
    pair.browser.speak(null_packet(&[700, 700]), now);
    pair.drive_for(Duration::from_millis(100));
    assert!(pair.events().any(|event| *event == Event::AudioReadable(MICROPHONE)));
    assert!(pair.session.recv_audio(MICROPHONE, &mut samples).is_some());
}

#[test]
fn x2_sound_comes_at_the_readers_rate_and_lost_packets_take_their_time() {
    for (rate, channels) in [(16_000, 1), (48_000, 2), (8_000, 1), (44_100, 2)] {
        let setup = scripted().config(|config| config.audio_in(rate, channels).unwrap());
        let mut pair = speaking(setup);
        let mut count = 0;
        pair.up.lose(move |_| {
            count += 1;
            count % 7 == 0
        });
        let (mut samples, mut heard) = ([0; 9_600], 0);
        for _ in 0..100 {
            pair.drive_for(Duration::from_millis(100));
            while let Some(info) = pair.session.recv_audio(MICROPHONE, &mut samples) {
                assert_eq!((info.rate, info.channels), (rate, channels));
                heard += info.samples;
            }
        }
        let heard = Duration::from_secs_f64(heard as f64 / f64::from(rate));
        assert!(heard.abs_diff(seconds(10)) < Duration::from_millis(150), "{rate}: {heard:?}");
    }
}

#[test]
fn x3_a_line_of_a_later_offer_is_told_as_a_track_and_its_end_too() {
    let mut pair = Pair::new(scripted().browser(|browser| browser.camera = true));
    pair.connect();
    let camera = TrackId(1);
    let told = |pair: &Pair| {
        let started =
            |event: &&Event| matches!(event, Event::TrackStarted(track) if track.id == camera);
        let ended = |event: &&Event| **event == Event::TrackEnded(camera);
        (pair.events().filter(started).count(), pair.events().filter(ended).count())
    };
    assert_eq!(told(&pair), (1, 0));
    let now = pair.now();
    let offer = pair.browser.offer(now);
    for (offer, expected) in
        [(&without_camera(&offer), (1, 1)), (&offer, (2, 1)), (&without_camera(&offer), (2, 2))]
    {
        let offer = smallrtc::Offer::parse(offer).unwrap();
        let _ = pair.session.accept_offer(&offer, now).unwrap();
        pair.flush();
        assert_eq!(told(&pair), expected);
        // Who waits for it need not ask: nothing is read, and nothing fails.
        assert!(pair.session.recv_encoded(camera).is_none());
    }
}

#[test]
fn x4_an_idle_call_is_due_for_its_checks_and_its_figures_alone() {
    let setup = scripted().config(|config| config.audio_idle(smallrtc::AudioIdle::Nothing));
    let mut pair = Pair::new(setup.browser(|browser| browser.chatters = false));
    pair.connect();
    pair.drive_for(seconds(1));
    let (mut wakes, end) = (0, pair.elapsed() + seconds(60));
    while pair.elapsed() < end {
        pair.step();
        wakes += 1;
    }
    // Both sides: a check a second, its answer, and what the page asks every 5 s.
    assert!(wakes < 60 * 6, "{wakes} in a minute");
}

#[test]
fn x5_pictures_come_coded_and_none_ends_a_reader() {
    let setup = Setup::new(Kind::Real, 1).browser(|browser| browser.camera = true);
    let mut pair = Pair::new(setup);
    pair.connect();
    for (number, picture) in
        [vec![0x10; 2_000], vec![0xff; 3], vec![0x10; 50_000]].iter().enumerate()
    {
        let now = pair.now();
        pair.browser.send_media(1, number as u64 * 3_000, picture, now);
        pair.drive_for(Duration::from_millis(100));
    }
    let mut lengths = Vec::new();
    while let Some(frame) = pair.session.recv_encoded(TrackId(1)) {
        assert_eq!(frame.codec, Codec::Vp8);
        lengths.push(frame.data.len());
    }
    assert_eq!(lengths.last(), Some(&50_000));
}

#[test]
fn x6_a_write_that_is_not_taken_says_why() {
    let mut pair = Pair::new(scripted());
    let words = [900; 480];
    let early = pair.send_audio(&words, 24_000);
    assert!(matches!(early, Err(SendError::NoTrack { .. })), "{early:?}");
    pair.connect();
    assert!(pair.send_audio(&words, 24_000).is_ok());
    let odd = pair.send_audio(&words, 12_345);
    assert!(matches!(odd, Err(SendError::Unsupported { field, .. }) if !field.is_empty()));
    let minute = vec![900; 24_000 * 60];
    let full = pair.send_audio(&minute, 24_000);
    assert!(matches!(full, Err(SendError::QueueFull { wait: Some(_), .. })), "{full:?}");
    let now = pair.now();
    pair.session.close(now);
    assert_eq!(pair.send_audio(&words, 24_000), Err(SendError::Closed));
}

#[test]
fn x7_tracks_are_told_before_connected() {
    let mut pair = Pair::new(scripted().browser(|browser| browser.camera = true));
    pair.connect();
    let place = |wanted: &dyn Fn(&Event) -> bool| pair.events().position(wanted).unwrap();
    let connected = place(&|event| *event == Event::StateChanged(ConnectionState::Connected));
    assert!(place(&|event| matches!(event, Event::TrackStarted(_))) < connected);
}

#[test]
fn x8_the_end_says_who_ended_it() {
    type End = fn(&mut Pair);
    let ends: [(End, CloseReason); 3] = [
        (
            |pair| {
                let now = pair.now();
                pair.session.close(now);
            },
            CloseReason::Application,
        ),
        (
            |pair| {
                let now = pair.now();
                pair.browser.hang_up(now);
            },
            CloseReason::HungUp,
        ),
        (|pair| pair.browser.vanish(), CloseReason::Lost),
    ];
    for (end, reason) in ends {
        let mut pair = Pair::new(Setup::new(Kind::Real, 1));
        pair.connect();
        pair.drive_for(seconds(1));
        end(&mut pair);
        assert_eq!(pair.drive_until_closed(seconds(30)).1, reason);
    }
}

#[test]
fn x9_what_comes_in_and_what_goes_out_is_one_call_with_one_end() {
    let mut pair = speaking(scripted());
    pair.send_audio(&[900; 24_000], 24_000).unwrap();
    pair.drive_for(seconds(1));
    assert!(pair.session.recv_audio(MICROPHONE, &mut [0; 960]).is_some());
    assert!(pair.browser_events().any(|event| matches!(event, BrowserEvent::Media { .. })));
    let now = pair.now();
    pair.browser.hang_up(now);
    pair.drive_until_closed(seconds(1));
    let state =
        |wanted| pair.events().filter(|event| **event == Event::StateChanged(wanted)).count();
    assert_eq!(state(ConnectionState::Connected), 1);
    let ends = pair.events().filter(|event| matches!(event, Event::Closed { .. })).count();
    assert_eq!(ends, 1);
}

/// More comes in a second than is kept (8 MiB), so that what is oldest goes; keyframes are not
/// where the reader looks.
#[test]
fn x10_a_reader_that_samples_gets_the_newest_pictures_from_a_keyframe_on() {
    let mut pair = Pair::new(scripted().browser(|browser| browser.camera = true));
    pair.connect();
    let (mut newest, mut first) = (Duration::ZERO, Vec::new());
    for number in 0..300_u64 {
        let now = pair.now();
        let mut picture = vec![7; 300_000];
        picture[0] = u8::from(!number.is_multiple_of(7));
        assert!(pair.browser.send_media(1, number * 3_000, &picture, now));
        pair.drive_for(Duration::from_nanos(33_333_333));
        if number % 30 == 29 {
            // One picture a second is looked at, and what is older is thrown away.
            let mut frames = std::iter::from_fn(|| pair.session.recv_encoded(TrackId(1)));
            first.extend(frames.next().map(|frame| frame.keyframe));
            newest = frames.last().unwrap().time;
        }
    }
    assert_eq!(first, [true; 10]);
    assert!(pair.session.stats().encoded_dropped >= 20, "{:?}", pair.session.stats());
    assert!(newest > Duration::from_millis(9_900), "{newest:?}");
}

#[test]
fn x11_sources_have_the_originals_names() {
    let setup = scripted().browser(|browser| (browser.camera, browser.screen) = (true, true));
    let mut pair = Pair::new(setup);
    pair.connect();
    let names: Vec<_> = pair.session.tracks().iter().map(|track| track.source.name()).collect();
    assert_eq!(names, ["microphone", "camera", "screenVideo"]);
    assert_eq!(Source::Microphone.name(), "microphone");
}

#[test]
fn x12_blocks_of_any_length_follow_each_other_and_the_end_of_the_last_is_told() {
    let mut pair = Pair::new(scripted());
    pair.connect();
    pair.drive_for(seconds(1));
    pair.forget();
    let (mut said, mut last) = (0, None);
    for length in [100, 960, 33, 4_800, 1_000, 7] {
        let now = pair.now();
        let samples = vec![900; length];
        last = Some(pair.session.send_audio(AudioFrame::mono(&samples, 24_000), now).unwrap());
        said += length;
    }
    // The original waits for 2 s of silence before it leaves; here the last word is known to be on
    // its way.
    let finished = Event::AudioFinished { id: last.unwrap(), samples: 7 };
    pair.drive_until(seconds(1), "the last piece has left", |pair| {
        pair.events().any(|event| *event == finished)
    });
    let now = pair.now();
    pair.session.close(now);
    pair.drive_until_closed(seconds(1));
    let words = pair.browser_events().filter_map(|event| match event {
        BrowserEvent::Media { line: 0, data, .. } => null_words(data),
        _ => None,
    });
    let spoken = words.flatten().filter(|word| *word != 0).count();
    assert_eq!(spoken, said.div_ceil(240), "each word is 10 ms of 24 kHz");
}

#[test]
fn x13_client_ready_begins_the_conversation() {
    let mut pair = Pair::new(scripted());
    pair.connect();
    let ready = json!({
        "id": "d7c2a1f0", "label": "rtvi-ai", "type": "client-ready",
        "data": { "version": "2.1.0", "about": { "library": "@pipecat-ai/client-js" } },
    });
    let now = pair.now();
    assert!(pair.browser.send_text(&ready.to_string(), now));
    pair.drive_for(seconds(1));
    let mut rtvi = Rtvi::new().not_ready();
    let heard: Vec<Message> = pair.messages().into_iter().cloned().collect();
    let event = rtvi.handle(heard[0].clone());
    assert!(matches!(event, Some(RtviEvent::ClientReady { id, .. }) if id == "d7c2a1f0"));
    assert_eq!(rtvi.poll_reply(), None, "the bot is not ready yet");
    rtvi.set_ready();
    while let Some(reply) = rtvi.poll_reply() {
        let _ = pair.send_message(reply).unwrap();
    }
    pair.drive_for(seconds(1));
    let reply: serde_json::Value = serde_json::from_str(&pair.browser_messages()[0]).unwrap();
    assert_eq!(
        (reply["type"].as_str(), reply["id"].as_str()),
        (Some("bot-ready"), Some("d7c2a1f0"))
    );
}

#[test]
fn x14_messages_while_it_closes_are_refused() {
    let mut pair = Pair::new(scripted());
    pair.connect();
    let now = pair.now();
    pair.session.close(now);
    assert_eq!(pair.send_message(Message::text("late")), Err(SendError::Closed));
}
