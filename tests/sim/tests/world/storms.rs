//! Everything at once, drawn from a seed: see [`storm`].

use std::cell::Cell;
use std::time::Instant;

use smallrtc::{Endpoint, Event, Message, SessionId};
use smallrtc_sim::{Kind, World, repeat, run, seeds, storm};

use crate::seconds;

/// Storms of one run, over each wire.
const STORMS: u64 = 6;

/// What has to have happened in all of them, each of which runs twice: about half of what does. A
/// simulator that excuses every call hears nothing.
const LEAST: Tally = Tally {
    calls: 150,
    lived: 130,
    by_page: 200,
    by_bot: 230,
    pieces: 60,
    packets: 220_000,
    samples: 70_000,
};

/// What happened in storms.
#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    /// Calls that were answered.
    calls: usize,
    /// Those of them that went on until their page was taken away at the end.
    lived: usize,
    /// Words of pages that bots heard.
    by_page: usize,
    /// Words of bots that pages heard.
    by_bot: usize,
    /// Pieces of bots' sound that were told of.
    pieces: u64,
    /// Packets of sound that pages heard.
    packets: usize,
    /// Samples of pages' sound that bots read.
    samples: u64,
}

impl Tally {
    fn add(mut self, world: &World) -> Tally {
        for (number, outcome) in world.outcomes().enumerate() {
            let Some((ended, _)) = outcome.ended() else { continue };
            let words = outcome.browser_messages();
            let ledger = world.ledger(number).expect("an answered call has books");
            self.calls += 1;
            self.lived += usize::from(world.elapsed() - ended <= seconds(65));
            self.by_page += outcome.messages().len();
            self.by_bot += words.iter().filter(|word| word.starts_with("bot ")).count();
            self.pieces += ledger.sound().pieces;
            self.packets += outcome.heard().len();
            self.samples += ledger.heard();
        }
        self
    }

    fn assert_enough(&self) {
        let pairs = [
            (self.calls, LEAST.calls),
            (self.lived, LEAST.lived),
            (self.by_page, LEAST.by_page),
            (self.by_bot, LEAST.by_bot),
            (self.packets, LEAST.packets),
        ];
        let is_enough = pairs.iter().all(|(count, least)| count >= least)
            && self.pieces >= LEAST.pieces
            && self.samples >= LEAST.samples;
        assert!(is_enough, "too little happened: {self:?} of {LEAST:?}");
    }
}

#[test]
fn storms_end_every_call_once_for_a_reason_mix_none_and_leave_nothing() {
    let tally = Cell::new(Tally::default());
    let name = "storms_end_every_call_once_for_a_reason_mix_none_and_leave_nothing";
    run(name, STORMS, |seed| {
        for kind in Kind::ALL {
            repeat(|| {
                let world = storm(kind, seed, |_| {});
                tally.set(tally.get().add(&world));
                world.trace.clone()
            });
        }
    });
    // One seed alone need not have much of everything.
    if seeds(STORMS).len() as u64 == STORMS {
        tally.get().assert_enough();
    }
}

#[test]
#[should_panic(expected = "too little happened")]
fn storms_in_which_nothing_is_heard_do_not_pass() {
    Tally { by_page: 0, ..LEAST }.assert_enough();
}

#[test]
#[should_panic(expected = "never said, twice or out of order")]
fn a_storm_finds_a_bot_that_says_a_word_twice() {
    storm(Kind::Scripted, 1, |world| {
        for number in 0..world.endpoints() {
            world.set_bot_at(
                number,
                |id: SessionId, event: Event, core: &mut Endpoint, now: Instant| {
                    if let (Event::ChannelOpened { .. }, Some(mut call)) = (event, core.session(id))
                    {
                        for word in ["bot 0 0", "bot 0 0"] {
                            call.send_message(Message::text(word), now).ok();
                        }
                    }
                },
            );
        }
    });
}

/// Both copies of the bot's last flight were lost, and then most repetitions of the page's: its
/// handshake ran out of time, which it tells nobody, and the call, connected for the bot, was lost.
#[test]
fn a_page_whose_handshake_is_dark_for_too_long_is_gone() {
    storm(Kind::Real, 77_000_221, |_| {});
}
