//! A test that finds a bug in a bot.
//!
//! The bot writes captions to the page: a word every 100 ms, from the moment the call is
//! connected. [`Hasty`] hands each word to the session and forgets it. On a good network that
//! works, always. On a bad one the data channel may open seconds after the call is connected; the
//! session keeps 50 messages until then, refuses the rest with `QueueFull`, and gives all of them
//! up after 10 s (`MessagesDropped`). [`Patient`] keeps its words itself until the channel is open
//! and the session takes them.
//!
//! ```sh
//! cargo run -p smallrtc-sim --example finds_a_bug
//! ```

#![forbid(unsafe_code)]

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use smallrtc::{ConnectionState, Event, Message, Session};
use smallrtc_sim::{Bot, Kind, LinkConfig, Pair, Setup, find, seeds};

/// Words of a caption.
const WORDS: usize = 100;
/// How far they lie apart.
const PAUSE: Duration = Duration::from_millis(100);
/// How long the page may take to hear all of them. A channel whose first packets are lost opens
/// after 6, 18 or 42 s.
const LIMIT: Duration = Duration::from_secs(120);

/// Seeds that a test tries.
pub(crate) const SEEDS: u64 = 20;

/// Says when the next word is due: the voice that both bots write down.
#[derive(Debug, Default)]
struct Voice {
    said: usize,
    next: Option<Instant>,
}

impl Voice {
    fn on_event(&mut self, event: &Event, now: Instant) {
        let connected = Event::StateChanged(ConnectionState::Connected);
        if *event == connected && self.said == 0 {
            self.next = Some(now);
        }
    }

    fn word(&mut self) -> String {
        self.said += 1;
        self.next = self.next.map(|next| next + PAUSE).filter(|_| self.said < WORDS);
        format!("word {}", self.said)
    }
}

/// Counts on every message being taken.
#[derive(Debug, Default)]
pub(crate) struct Hasty {
    voice: Voice,
}

impl Bot<Session> for Hasty {
    fn on_event(&mut self, (): (), event: Event, _: &mut Session, now: Instant) {
        self.voice.on_event(&event, now);
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.voice.next
    }

    fn handle_timeout(&mut self, session: &mut Session, now: Instant) {
        // The bug: what the session answers is thrown away.
        session.send_message(Message::text(self.voice.word()), now).ok();
    }
}

/// Keeps what was not taken, and waits for the channel.
#[derive(Debug, Default)]
pub(crate) struct Patient {
    voice: Voice,
    words: VecDeque<String>,
    is_open: bool,
}

impl Patient {
    fn write(&mut self, session: &mut Session, now: Instant) {
        while let Some(word) = self.words.front().filter(|_| self.is_open) {
            // Refused: `MessagesDrained` tells when there is room again.
            if session.send_message(Message::text(word), now).is_err() {
                return;
            }
            self.words.pop_front();
        }
    }
}

impl Bot<Session> for Patient {
    fn on_event(&mut self, (): (), event: Event, session: &mut Session, now: Instant) {
        self.voice.on_event(&event, now);
        self.is_open |= matches!(event, Event::ChannelOpened { .. });
        self.write(session, now);
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.voice.next
    }

    fn handle_timeout(&mut self, session: &mut Session, now: Instant) {
        let word = self.voice.word();
        self.words.push_back(word);
        self.write(session, now);
    }
}

/// The test: the page hears every word in time, and in order.
pub(crate) fn every_word_is_heard(seed: u64, link: LinkConfig, bot: impl Bot<Session> + 'static) {
    let mut pair = Pair::new(Setup::new(Kind::Real, seed).links(link));
    pair.set_bot(bot);
    pair.negotiate().expect("the browser's offer is accepted");
    let mut heard = Vec::new();
    while heard.len() < WORDS && pair.elapsed() < LIMIT {
        pair.drive_for(Duration::from_secs(1));
        heard = pair.browser_messages();
        heard.retain(|message| message.starts_with("word "));
    }
    let missing = WORDS - heard.len();
    assert!(missing == 0, "{missing} words are missing");
    assert!((1..=WORDS).map(|word| format!("word {word}")).eq(heard), "another order");
}

#[expect(clippy::print_stdout, reason = "an example says what it does")]
fn main() {
    let link = LinkConfig::bad();
    let found = find(seeds(SEEDS), |seed| every_word_is_heard(seed, link, Hasty::default()));
    match found {
        Some(failure) => {
            println!("the hasty bot fails with seed {}: {}", failure.seed, failure.message);
            println!("run it again: {}", failure.replay_line("every_word_is_heard"));
        }
        None => println!("no seed of these finds the bug"),
    }
    for seed in seeds(SEEDS) {
        every_word_is_heard(seed, link, Patient::default());
    }
    println!("the patient bot passes them all");
}
