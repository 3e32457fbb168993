//! An echo in a call: the session paces its packets, on virtual time.

use std::cell::RefCell;
use std::rc::Rc;

use smallrtc::Session;
use smallrtc_sim::{Bot, BrowserEvent, DriverConfig, Kind, Pair, Setup, null_packet, null_words};

use super::*;

/// What is said: loud, all the same, and a packet of it adds up to less than a word holds.
const LOUD: i16 = 120;

/// Samples of a packet in a call that is set up for an echo.
const PACKET: u32 = 480;

/// The echo, as the bot has it, in the session's own loop.
struct Hosted(Rc<RefCell<Echo>>);

fn send(echo: &mut Echo, piece: Option<(Vec<i16>, u32)>, session: &mut Session, now: Instant) {
    let Some((samples, rate)) = piece else { return };
    let frame = AudioFrame::mono(&samples, rate);
    let id = session.send_audio(frame, now).expect("there is room");
    echo.delay.queued(id, length(frame));
}

impl Bot<Session> for Hosted {
    fn on_event(&mut self, (): (), event: Event, session: &mut Session, now: Instant) {
        let echo = &mut *self.0.borrow_mut();
        match event {
            Event::AudioReadable(track) => {
                let mut samples = [0; 5_760];
                while let Some(block) = session.recv_audio(track, &mut samples) {
                    let frame = AudioFrame::mono(&samples[..block.samples], block.rate);
                    let is_filler = block.origin == AudioOrigin::Silence;
                    let piece = echo.hear(frame, is_filler, now);
                    let piece = piece.map(|it| (it.samples.to_vec(), it.rate));
                    send(echo, piece, session, now);
                }
            }
            Event::AudioStarted { id } => echo.delay.began(id, now),
            Event::AudioFinished { id, .. } => echo.delay.ended(id),
            _ => {}
        }
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.0.borrow().due()
    }

    fn handle_timeout(&mut self, session: &mut Session, now: Instant) {
        let echo = &mut *self.0.borrow_mut();
        let piece = echo.turn(now).map(|it| (it.samples.to_vec(), it.rate));
        send(echo, piece, session, now);
    }
}

/// A call in which a page says the same loud sound for so many seconds: what it hears, and what
/// the echo did.
fn call(setup: Setup, seconds: u64) -> (Vec<Vec<u8>>, Counters) {
    let mut pair = Pair::new(setup.config(echo_config));
    let echo = Rc::new(RefCell::new(Echo::default()));
    pair.set_bot(Hosted(Rc::clone(&echo)));
    pair.connect();
    let now = pair.now();
    pair.browser.speak(null_packet(&[LOUD, LOUD]), now);
    pair.drive_for(Duration::from_secs(seconds));
    let media = pair.browser_events().filter_map(|event| match event {
        BrowserEvent::Media { line: 0, data, .. } => Some(data.to_vec()),
        _ => None,
    });
    let counters = echo.borrow().delay.counters();
    (media.collect(), counters)
}

/// How many loud samples a packet of the null codec adds up to.
fn loud_samples(packet: &[u8]) -> u32 {
    let sum = packet[3..7].try_into().expect("four bytes");
    u32::from_le_bytes(sum) / u32::from(LOUD.unsigned_abs())
}

#[test]
fn the_first_packet_leaves_whole_and_so_does_every_other() {
    let (packets, counters) = call(Setup::new(Kind::Scripted, 1), 20);
    assert_eq!(counters, Counters { begun: 1, ..Counters::default() });
    // The slack, half of 5 ms of a fade, and 2 ms of the receiver's own resampler.
    let missing = PACKET - loud_samples(&packets[0]);
    assert!((24 + 60..24 + 60 + 48).contains(&missing), "{missing} samples");
    assert_eq!(null_words(&packets[0]), Some(vec![0, LOUD]));
    assert!(packets.len() > 900, "{}", packets.len());
    let whole = packets[1..].iter().filter(|packet| loud_samples(packet) == PACKET);
    assert_eq!(whole.count(), packets.len() - 1);
}

#[test]
fn clocks_that_drift_leave_no_packet_short_of_a_sample() {
    for ppm in [-450, 450] {
        let setup = Setup::new(Kind::Scripted, 2).drift_ppm(ppm).untraced().unrecorded();
        let (packets, counters) = call(setup, 200);
        assert!(counters.moved >= 2, "{counters:?}");
        assert_eq!((counters.bridged, counters.dry, counters.cut), (0, 0, 0), "{counters:?}");
        let whole = packets[1..].iter().filter(|packet| loud_samples(packet) == PACKET);
        assert_eq!(whole.count(), packets.len() - 1);
    }
}

#[test]
fn a_driver_that_is_late_by_some_milliseconds_costs_no_word() {
    let setup = Setup::new(Kind::Scripted, 3).driver(DriverConfig::sloppy());
    let (packets, counters) = call(setup, 60);
    let words = packets[1..].iter().filter_map(|packet| null_words(packet)).flatten();
    let missing = words.filter(|word| *word != LOUD).count();
    assert!(missing == 0, "{missing} words, {counters:?}");
}
