//! Pictures that come in over links of every kind: they flow on, and come back.
//!
//! The page's camera sends as a browser's does: thirty pictures a second, a keyframe first and
//! whenever the bot asks for one, at most one in 300 ms. A picture counts as seen when a decoder
//! could show it: it is a keyframe, or nothing is missing since the last one.

#[macro_use]
extern crate smallrtc_sim_twice;

use std::time::Duration;

use smallrtc::{Codec, EncodedFrame, Event, TrackId};
use smallrtc_sim::{BrowserEvent, Kind, LinkConfig, Pair, Setup, run};

const CAMERA: TrackId = TrackId(1);
const PICTURE: Duration = Duration::from_nanos(33_333_333);
const KEYFRAME_INTERVAL: Duration = Duration::from_millis(300);

/// The first bytes of a VP8 picture (RFC 6386 section 9.1), and filling: 40 kB for a keyframe, 3 kB
/// for any other, which is 720 kbit/s.
fn picture(keyframe: bool) -> Vec<u8> {
    let mut picture = vec![0x10, 0x02, 0x00, 0x9d, 0x01, 0x2a, 0x40, 0x01, 0xf0, 0x00];
    picture[0] |= u8::from(!keyframe);
    picture.resize(if keyframe { 40_000 } else { 3_000 }, 7);
    picture
}

/// A page's camera, and what the bot sees of it.
struct Camera {
    next: Duration,
    sent: u64,
    keyframe_at: Option<Duration>,
    is_wanted: bool,
    requests: usize,
    is_whole: bool,
    /// Whether the bot reads what comes.
    reads: bool,
    /// When pictures were seen.
    seen: Vec<Duration>,
}

impl Camera {
    fn new(pair: &Pair) -> Camera {
        Camera {
            next: pair.elapsed(),
            sent: 0,
            keyframe_at: None,
            is_wanted: true,
            requests: 0,
            is_whole: false,
            reads: true,
            seen: Vec::new(),
        }
    }

    fn run(&mut self, pair: &mut Pair, duration: Duration) {
        let end = pair.elapsed() + duration;
        while self.next < end {
            pair.drive_to(self.next);
            self.shoot(pair);
            self.next += PICTURE;
            self.look(pair);
        }
        pair.drive_to(end);
        self.look(pair);
    }

    fn shoot(&mut self, pair: &mut Pair) {
        let wish =
            |event: &&BrowserEvent| matches!(event, BrowserEvent::KeyframeRequest { line: 1 });
        let requests = pair.browser_events().filter(wish).count();
        self.is_wanted |= requests > self.requests;
        self.requests = requests;
        let may = self.keyframe_at.is_none_or(|at| self.next >= at + KEYFRAME_INTERVAL);
        let keyframe = self.is_wanted && may;
        if keyframe {
            (self.is_wanted, self.keyframe_at) = (false, Some(self.next));
        }
        let now = pair.now();
        pair.browser.send_media(CAMERA.0, self.sent * 3_000, &picture(keyframe), now);
        self.sent += 1;
        pair.flush();
    }

    fn look(&mut self, pair: &mut Pair) {
        while self.reads
            && let Some(frame) = pair.session.recv_encoded(CAMERA)
        {
            self.is_whole = frame.keyframe || self.is_whole && frame.contiguous;
            if self.is_whole {
                self.seen.push(pair.elapsed());
            }
        }
    }

    /// The longest time between two pictures that were seen.
    fn longest_gap(&self) -> Duration {
        self.seen.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or(Duration::MAX)
    }
}

fn connected(kind: Kind, seed: u64, link: LinkConfig) -> (Pair, Camera) {
    let setup = Setup::new(kind, seed).links(LinkConfig::clean());
    let mut pair = Pair::new(setup.browser(|browser| browser.camera = true));
    pair.connect();
    pair.up.set_config(link);
    pair.down.set_config(link);
    let camera = Camera::new(&pair);
    (pair, camera)
}

fn lossy(loss: f64) -> LinkConfig {
    LinkConfig { delay: Duration::from_millis(25), loss, ..LinkConfig::clean() }
}

#[test]
#[expect(clippy::print_stdout, reason = "the figures are what somebody runs this for")]
fn pictures_flow_on_at_every_loss() {
    let shares = [(0.01, 0.99, 300), (0.05, 0.99, 600), (0.2, 0.85, 2_000)];
    run("pictures_flow_on_at_every_loss", 3, |seed| {
        for (loss, share, gap_ms) in shares {
            let (mut pair, mut camera) = connected(Kind::Real, seed, lossy(loss));
            camera.run(&mut pair, Duration::from_secs(60));
            let seen = camera.seen.len() as f64 / camera.sent as f64;
            let gap = camera.longest_gap();
            println!("loss {loss}: {:.1} % of pictures seen, longest gap {gap:?}", seen * 100.0);
            assert!(seen >= share, "loss {loss}: {seen}");
            assert!(gap <= Duration::from_millis(gap_ms), "loss {loss}: {gap:?}");
        }
    });
}

#[test]
fn pictures_come_back_within_a_second_of_a_black_out() {
    run("pictures_come_back_within_a_second_of_a_black_out", 3, |seed| {
        for kind in Kind::ALL {
            let (mut pair, mut camera) = connected(kind, seed, lossy(0.0));
            camera.run(&mut pair, Duration::from_secs(5));
            black_out(&mut pair, true);
            camera.run(&mut pair, Duration::from_secs(5));
            black_out(&mut pair, false);
            let back = pair.elapsed();
            camera.run(&mut pair, Duration::from_secs(5));
            // What was on its way when the links came back counts for nothing.
            let seen = camera.seen.iter().find(|at| **at > back + Duration::from_millis(25));
            let after = *seen.expect("pictures come back") - back;
            assert!(after <= Duration::from_secs(1), "{kind:?}: {after:?}");
            let asked = pair.session.stats().keyframes_requested;
            assert!(asked <= 3, "{kind:?}: asked {asked} times");
        }
    });
}

fn black_out(pair: &mut Pair, is_down: bool) {
    pair.up.set_down(is_down);
    pair.down.set_down(is_down);
}

#[test]
fn a_camera_whose_first_keyframe_was_lost_is_asked_for_another() {
    for kind in Kind::ALL {
        let (mut pair, mut camera) = connected(kind, 1, lossy(0.0));
        pair.up.set_down(true);
        camera.run(&mut pair, PICTURE);
        pair.up.set_down(false);
        camera.run(&mut pair, Duration::from_secs(2));
        let first = camera.seen.first().copied().unwrap_or(Duration::MAX);
        assert!(first < pair.elapsed() - Duration::from_secs(1), "{kind:?}: {first:?}");
    }
}

#[test]
fn pictures_that_nobody_reads_are_discarded_without_a_word_to_the_peer() {
    for kind in Kind::ALL {
        let (mut pair, mut camera) = connected(kind, 1, lossy(0.0));
        camera.reads = false;
        camera.run(&mut pair, Duration::from_secs(30));
        let stats = pair.session.stats();
        assert_eq!(stats.keyframes_requested, 0, "{kind:?}");
        assert!(stats.encoded_dropped >= 890, "{kind:?}: {}", stats.encoded_dropped);
        camera.reads = true;
        camera.run(&mut pair, Duration::from_secs(2));
        assert_eq!(pair.session.stats().keyframes_requested, 1, "{kind:?}");
        // They begin after a round trip, with what is new.
        assert!((50..=60).contains(&camera.seen.len()), "{kind:?}: {}", camera.seen.len());
        assert!(camera.longest_gap() < 2 * PICTURE, "{kind:?}");
    }
}

#[test]
#[expect(clippy::print_stdout, reason = "the figure is what somebody runs this for")]
fn the_bots_own_pictures_flow_on_at_a_loss_of_one_in_five() {
    run("the_bots_own_pictures_flow_on_at_a_loss_of_one_in_five", 3, |seed| {
        let (mut pair, _) = connected(Kind::Real, seed, lossy(0.2));
        let (mut next_key, mut seen, mut expected) = (true, 0, None);
        for number in 0..1_800_u32 {
            let frame = EncodedFrame::new(
                Codec::Vp8,
                PICTURE * number,
                next_key,
                picture(std::mem::take(&mut next_key)).into(),
            );
            let now = pair.now();
            pair.session.send_encoded(CAMERA, frame, now).unwrap();
            pair.flush();
            pair.drive_for(PICTURE);
            let mut broken = false;
            for event in pair.browser_events() {
                let BrowserEvent::Media { line: 1, time, data, .. } = event else { continue };
                let follows = expected.is_some_and(|expected: u64| time.abs_diff(expected) < 9);
                let shown = data[0] & 1 == 0 || follows;
                seen += u32::from(shown);
                expected = shown.then_some(time + 3_000);
                broken |= !shown;
            }
            if broken {
                let now = pair.now();
                pair.browser.request_keyframe(CAMERA.0, now);
            }
            let wish = |event: &Event| *event == Event::KeyframeRequested(CAMERA);
            next_key |= pair.events().any(wish);
            pair.forget();
        }
        println!("{seen} of 1800 pictures could be shown");
        assert!(seen >= 1_440, "{seen} of 1800 pictures");
    });
}

#[test]
fn a_track_that_the_page_switches_off_and_on_says_so() {
    for kind in Kind::ALL {
        let (mut pair, mut camera) = connected(kind, 1, lossy(0.0));
        for enabled in [false, true, false] {
            let text = format!(
                r#"{{"type":"signalling","message":{{"type":"trackStatus","receiver_index":1,"enabled":{enabled}}}}}"#
            );
            let now = pair.now();
            assert!(pair.browser.send_text(&text, now));
            pair.flush();
            camera.run(&mut pair, Duration::from_secs(1));
            let track = pair.session.tracks()[1];
            assert_eq!((track.id, track.enabled), (CAMERA, enabled), "{kind:?}");
            let told = Event::TrackStatus { track: CAMERA, enabled };
            assert!(pair.events().any(|event| *event == told), "{kind:?}");
        }
        // What comes is taken either way, and an offer changes nothing of it.
        assert!(camera.seen.len() > 80, "{kind:?}");
        pair.negotiate().unwrap();
        assert!(!pair.session.tracks()[1].enabled, "{kind:?}");
    }
}
