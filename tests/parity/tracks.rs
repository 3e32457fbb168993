//! T: tracks that come in.

use std::time::Duration;

use smallrtc::{Event, Offer, TrackId};
use smallrtc_sim::{Kind, Pair, Setup, null_packet};

const MICROPHONE: TrackId = TrackId(0);
const CAMERA: TrackId = TrackId(1);

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// A call whose page speaks: 20 ms at a time, of the level 700.
fn speaking() -> Pair {
    let mut pair =
        Pair::new(Setup::new(Kind::Scripted, 1).browser(|browser| browser.camera = true));
    pair.connect();
    let now = pair.now();
    pair.browser.speak(null_packet(&[700, 700]), now);
    pair
}

/// How long what can be read is.
fn read(pair: &mut Pair) -> Duration {
    let (mut samples, mut buffer) = (0, [0; 4_800]);
    while let Some(info) = pair.session.recv_audio(MICROPHONE, &mut buffer) {
        samples += info.samples;
    }
    Duration::from_millis(samples as u64 / 16)
}

/// A picture in one piece.
fn show(pair: &mut Pair, number: u64, keyframe: bool) {
    let now = pair.now();
    assert!(pair.browser.send_media(1, number * 3_000, &[u8::from(!keyframe), 1, 2], now));
    pair.flush();
}

#[test]
fn t1_what_comes_before_the_first_read_waits_for_a_second_of_it() {
    let mut pair = speaking();
    pair.drive_for(Duration::from_millis(1_900));
    let waited = read(&mut pair);
    assert!(waited.abs_diff(seconds(1)) < Duration::from_millis(30), "{waited:?}");
}

#[test]
fn t2_whoever_reads_hears_what_comes() {
    let mut pair = speaking();
    let mut heard = Duration::ZERO;
    for _ in 0..100 {
        pair.drive_for(Duration::from_millis(100));
        heard += read(&mut pair);
    }
    assert!(heard.abs_diff(seconds(10)) < Duration::from_millis(60), "{heard:?}");
}

#[test]
fn t3_what_nobody_reads_for_2_s_is_discarded_and_reading_begins_with_now() {
    let mut pair = speaking();
    pair.drive_for(seconds(30));
    assert_eq!(read(&mut pair), Duration::ZERO);
    let dropped = pair.session.stats().audio_dropped_samples;
    assert!(dropped > 29 * 48_000, "{dropped}");
    pair.drive_for(seconds(1));
    let fresh = read(&mut pair);
    assert!(fresh.abs_diff(seconds(1)) < Duration::from_millis(60), "{fresh:?}");
}

#[test]
fn t4_a_track_that_is_off_says_so_and_is_read_all_the_same() {
    let mut pair = speaking();
    for index in [0, 1] {
        let now = pair.now();
        let off = format!(
            r#"{{"type":"signalling","message":{{"type":"trackStatus","receiver_index":{index},"enabled":false}}}}"#
        );
        assert!(pair.browser.send_text(&off, now));
    }
    pair.drive_for(Duration::from_millis(500));
    assert!(pair.session.tracks().iter().all(|track| !track.enabled));
    assert!(read(&mut pair) > Duration::from_millis(400));
    show(&mut pair, 0, true);
    pair.drive_for(Duration::from_millis(100));
    assert!(pair.session.recv_encoded(CAMERA).is_some());
}

#[test]
fn t5_pictures_from_before_are_discarded_and_a_keyframe_is_asked_for() {
    let mut pair = speaking();
    for number in 0..100 {
        show(&mut pair, number, number == 0);
        pair.drive_for(Duration::from_millis(33));
    }
    let asked = pair.session.stats().keyframes_requested;
    assert_eq!(pair.session.recv_encoded(CAMERA), None, "three seconds old");
    assert_eq!(pair.session.stats().keyframes_requested, asked + 1);
    show(&mut pair, 100, false);
    show(&mut pair, 101, true);
    pair.drive_for(Duration::from_millis(100));
    let first = pair.session.recv_encoded(CAMERA).expect("the picture is back");
    assert!(first.keyframe);
}

/// The offer of a page whose second line is its camera, which is stopped for good.
pub(crate) fn without_camera(offer: &str) -> String {
    let names = offer.lines().filter_map(|line| line.strip_prefix("a=mid:"));
    let camera = names.into_iter().nth(1).expect("it has a camera");
    let (mut stopped, mut section) = (String::new(), 0);
    for line in offer.lines() {
        section += usize::from(line.starts_with("m="));
        let line = match (section, line.strip_prefix("m=video ")) {
            (2, Some(rest)) => format!("m=video 0 {}", rest.split_once(' ').unwrap().1),
            _ if line.starts_with("a=group:") => line.replace(&format!(" {camera}"), ""),
            _ => line.to_owned(),
        };
        stopped += &(line + "\r\n");
    }
    assert_ne!(stopped, offer);
    stopped
}

#[test]
fn t6_a_line_that_a_later_offer_stops_ends_its_track() {
    let mut pair = speaking();
    let now = pair.now();
    let stopped = without_camera(&pair.browser.offer(now));
    let _ = pair.session.accept_offer(&Offer::parse(&stopped).unwrap(), now).unwrap();
    pair.flush();
    assert!(pair.events().any(|event| *event == Event::TrackEnded(CAMERA)));
    assert_eq!(pair.session.tracks().len(), 1);
    pair.drive_for(seconds(1));
    assert!(read(&mut pair) > Duration::from_millis(900), "the microphone goes on");
}
