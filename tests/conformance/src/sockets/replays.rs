//! What a driver recorded on real sockets replays on the bare loop.
//!
//! A log has the driver's whole order of work in it: which datagram, command and timeout came to
//! the session when. The replay has no driver, socket or clock. That it is identical shows that a
//! session gets nothing from its driver but what crosses its calls.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use smallrtc::record::{Archive, Detail, Figure, Log, LogSink, Recording, Replay, replay};
use smallrtc::{CloseReason, Config};
use smallrtc_sim::{Kind, Setup, tone};

use super::rules::{end, say, stop};
use super::{Page, Remote, Running};
use crate::suite::null_packet;
use crate::{Bot, RATE};

/// Packets of sound that a page sends, and texts.
const PACKETS: u64 = 25;
const TEXTS: usize = 5;

/// 20 ms of silence in Opus: a CELT frame in full band (RFC 6716 section 3.1).
const OPUS_SILENCE: [u8; 3] = [0xf8, 0xff, 0xfe];

/// Before a session's birth there may be deadlines, and before an `Instant` there is nothing.
const AHEAD: Duration = Duration::from_secs(24 * 3600);

/// The logs of a driver's calls.
#[derive(Clone, Default)]
struct Shelf(Arc<Mutex<Vec<Bytes>>>);

/// One log.
#[derive(Clone, Default)]
struct Bytes(Arc<Mutex<Vec<u8>>>);

impl Archive for Shelf {
    fn open(&self, _: &str) -> Option<Box<dyn LogSink>> {
        let bytes = Bytes::default();
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(bytes.clone());
        Some(Box::new(bytes))
    }
}

impl LogSink for Bytes {
    fn write(&mut self, bytes: &[u8]) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        true
    }
}

/// Over the real wire with Opus and over the plain one with the null codec; at each detail, and at
/// the finest one to the sample.
pub fn a_recorded_call_replays_identical_on_the_bare_loop<D: Running>() {
    for kind in [Kind::Scripted, Kind::Real] {
        let details = [Detail::None, Detail::Sizes, Detail::Full];
        let [none, sizes, full] = details.map(|detail| replayed(&recorded::<D>(kind, detail)));
        assert_eq!(none.media, sizes.media, "neither has media to be digested");
        assert_ne!(full.media, sizes.media, "coded bytes and samples were compared");
    }
}

/// A call with everything: sound and texts there and back, sound of the bot's own that is cut
/// short, the end.
fn recorded<D: Running>(kind: Kind, detail: Detail) -> Log {
    let shelf = Shelf::default();
    let recording = Recording::new(Arc::new(shelf.clone())).media(detail).messages(detail);
    let driver = D::start(config(kind).record(recording), Bot::Echo);
    let mut page = Page::call_over(&driver, kind, 8);
    for number in 0..PACKETS {
        let packet = match kind {
            Kind::Real => OPUS_SILENCE.to_vec(),
            _ => null_packet([7, 8]),
        };
        page.send_sound(number, &packet);
        page.go_on_for(Duration::from_millis(2));
    }
    for number in 0..TEXTS {
        page.send_text(&format!("text {number}"));
    }
    page.go_on("the texts return", |page| page.texts().len() >= TEXTS);
    let before = page.watch().departures().len();
    say(&driver, page.id, tone(440.0, RATE, RATE as usize));
    page.go_on("it speaks", |page| page.watch().departures().len() >= before + 10);
    driver.remote().clear(page.id);
    page.go_on_for(Duration::from_millis(50));
    page.hang_up();
    assert_eq!(end(&driver), CloseReason::HungUp);
    stop(driver, []);

    let logs = shelf.0.lock().unwrap_or_else(PoisonError::into_inner);
    let [bytes] = &logs[..] else { panic!("{} logs of one call", logs.len()) };
    let log = Log::read(&bytes.0.lock().unwrap_or_else(PoisonError::into_inner));
    log.expect("it was written by this build")
}

fn config(kind: Kind) -> Config {
    let setup = Setup::new(kind, 1);
    let setup = if kind == Kind::Real { setup.opus() } else { setup };
    setup.config.audio_in(RATE, 1).expect("a usual rate")
}

/// The log has the call in it, and replays.
fn replayed(log: &Log) -> Replay {
    assert!(log.is_whole() && log.is_of_this_build());
    let count = |is_it: fn(&Figure<'_>) -> bool| log.figures().filter(|it| is_it(&it.1)).count();
    let texts = count(|it| matches!(it, Figure::MessageReceived { application: true, .. }));
    assert_eq!(texts, TEXTS);
    assert!(count(|it| matches!(it, Figure::AudioPacket { sound: true, .. })) >= 10);
    assert_eq!(count(|it| matches!(it, Figure::Cleared(_))), 1);
    assert_eq!(count(|it| matches!(it, Figure::Closed("hung up"))), 1);
    let replay = replay(log, Instant::now() + AHEAD).expect("its header is one of this build");
    let detail = log.media().name();
    assert!(replay.is_identical(), "at {detail}: {replay}");
    assert_eq!(replay.calls, log.calls() as u64, "at {detail}");
    replay
}
