//! Random worlds: the draw, the acts, and what is asked. It never looks inside a session.
//!
//! | limit | why |
//! | --- | --- |
//! | [`ACTS`] | a few calls live through several of each |
//! | [`SESSIONS_MAX`] | a few more want to come |
//! | [`REST_LIMIT`], [`STALE_PAIR_MAX`], [`END_LIMIT`] | what the protocols below may take |

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use smallrtc::{AudioFrame, ConnectionState, Event, Message, NegotiateError, Routed};

use crate::fate::Fate;
use crate::{
    BrowserEvent, DriverConfig, Kind, LinkConfig, Nat, NatConfig, NatKind, Packet, Setup, World,
    bot_address, null_packet,
};

/// Acts of one storm: enough that a few calls live through several of each.
const ACTS: usize = 80;

/// Words, or pieces of sound, of one act at most.
const SAID_MAX: usize = 4;

/// The rates that bots speak at.
const RATES: [u32; 4] = [8_000, 16_000, 24_000, 48_000];

/// Sessions of an endpoint; a few more want to come.
const SESSIONS_MAX: usize = 6;

/// Until all words are heard: SCTP may have doubled its timer up to a minute while links were dark
/// (RFC 9260 section 16), and its next packet may be lost as well.
const REST_LIMIT: Duration = Duration::from_secs(190);

/// How long the bot may speak to an address that its browser has lost: the engine gives the
/// pair up after 22 s.
const STALE_PAIR_MAX: Duration = Duration::from_secs(23);

/// How long is listened whether there is sound.
const LISTENED: Duration = Duration::from_secs(2);

/// Frames that reach the page in that time: with a driver that is late by up to 60 ms one in 80 ms
/// leaves at the least, and links lose one in twenty.
const FRAMES_MIN: usize = 20;

/// The longest ending of a call whose page vanished: 60 s, if it was not connected.
const END_LIMIT: Duration = Duration::from_secs(65);

const PLACES: [(u16, u16); 3] = [(0, 0), (0, 1), (7, 2)];

/// What was said in one call, and taken.
#[derive(Debug, Default)]
struct Words {
    bot: Vec<String>,
    page: Vec<String>,
    /// The page has left, in whatever way.
    is_gone: bool,
    fate: Fate,
}

impl Words {
    fn vanishes(&mut self, at: Duration) {
        self.is_gone = true;
        self.fate.goes(at);
    }
}

/// A world and what happens in it.
struct Storm {
    random: fastrand::Rng,
    world: World,
    calls: BTreeMap<usize, Words>,
    moves: u16,
    has_bots: bool,
}

/// Lets a storm pass over a world of which everything is drawn from one seed, and gives what is
/// left: no call, and all outcomes.
///
/// | drawn for the whole world | drawn for each of 80 acts |
/// | --- | --- |
/// | links: good or bad | a browser comes, hangs up, vanishes, moves to another address |
/// | one to three endpoints of six sessions | a link or all of them are dark for a while |
/// | a balancer before them, or none | a router forgets its mappings |
/// | no router, or one whose mappings live for so long | |
/// | clocks that drift by up to 200 ppm | a driver stops for a while |
/// | drivers: how late, how restless | an application reads now and then, or at once again |
/// | | either side says words or speaks; the page offers again; the bot asks for an offer |
/// | | the bot reads sound, clears what it queued, closes; a stranger sends bytes |
///
/// What is asked, beside what the pump checks on every datagram and every event:
///
/// - each side hears words of its own call alone, each at most once, in order,
/// - once everybody is left alone, a call that goes on has every word heard on either side within
///   190 s, but for what the session told to be dropped, and the page hears sound,
/// - no endpoint has more sessions than it may, and refuses only when all have as many,
/// - every call ends once, for a reason that an act explains: it is lost only when it was dark or
///   its page was gone for most of 20 s, hung up only when its page did that, and so on,
/// - it ends at most 65 s after its page is gone without a word, and then no endpoint keeps a
///   session or a deadline. The calls that go on to the end have it in the last 65 s.
///
/// Without bots the books of each call are kept as well ([`World::ledger`]), and a call at rest has
/// said and told of everything.
///
/// `prepare` sees the world before anything happens, and may seat bots. They may say what they
/// like, but for texts that begin with `bot `, which are the storm's own, and they must leave the
/// calls open for as long as they want to be tested.
///
/// ```
/// use smallrtc::{Endpoint, Event, SessionId};
/// use smallrtc_sim::{Kind, storm};
/// use std::time::Instant;
///
/// let world = storm(Kind::Scripted, 7, |world| {
///     for number in 0..world.endpoints() {
///         // Says everything back.
///         let echo = |id: SessionId, event: Event, core: &mut Endpoint, now: Instant| {
///             if let (Event::Message(message), Some(mut call)) = (event, core.session(id)) {
///                 call.send_message(message, now).ok();
///             }
///         };
///         world.set_bot_at(number, echo);
///     }
/// });
/// assert!(world.outcomes().any(|outcome| outcome.closed().is_some()));
/// ```
///
/// # Panics
/// When anything that is asked, above or by the pump, is not so.
pub fn storm(kind: Kind, seed: u64, prepare: impl FnOnce(&mut World)) -> World {
    storm_on(kind, seed, |setup| setup, prepare)
}

/// A storm over a world that is set up a little otherwise than it is drawn.
fn storm_on(
    kind: Kind,
    seed: u64,
    change: impl FnOnce(Setup) -> Setup,
    prepare: impl FnOnce(&mut World),
) -> World {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut world = World::new(change(draw(kind, seed, &mut random)));
    prepare(&mut world);
    let has_bots = world.has_bots();
    let mut storm = Storm { random, world, calls: BTreeMap::new(), moves: 0, has_bots };
    for _ in 0..ACTS {
        storm.act();
        let pause = Duration::from_millis(storm.random.u64(..1_500));
        storm.world.drive_for(pause);
        storm.assert_nobody_hears_others();
    }
    storm.rest();
    storm.end();
    storm.world
}

/// A setup whose every property is drawn.
fn draw(kind: Kind, seed: u64, random: &mut fastrand::Rng) -> Setup {
    let links = [LinkConfig::clean(), LinkConfig::bad()];
    let mut setup = Setup::new(kind, seed)
        .links(links[random.usize(..2)])
        .places(&PLACES[..random.usize(1..=3)])
        .drift_ppm(random.i32(-200..=200))
        .config(|config| config.max_sessions(SESSIONS_MAX));
    if random.bool() {
        setup = setup.balanced();
    }
    if random.bool() {
        let lifetime = Duration::from_secs(random.u64(2..120));
        let router = NatConfig::new(NatKind::ALL[random.usize(..2)]);
        setup = setup.nat(NatConfig { lifetime, ..router });
    }
    setup.driver(DriverConfig {
        late: Duration::from_millis(random.u64(..60)),
        burst: random.usize(..8),
        spurious: random.bool().then(|| Duration::from_millis(random.u64(5..100))),
    })
}

impl Storm {
    /// Something happens to one of the calls, or one more comes.
    fn act(&mut self) {
        if self.calls.is_empty() || self.random.usize(..6) == 0 {
            self.come();
            return;
        }
        let chosen = self.random.usize(..self.calls.len());
        let number = *self.calls.keys().nth(chosen).expect("one of those that there are");
        let drawn = self.random.u64(1..8_000);
        let (world, span) = (&mut self.world, Duration::from_millis(drawn));
        match self.random.usize(..20) {
            0 => self.darkens(number, span),
            1 => self.darkens_all(span / 3),
            2 => world.nat(number).into_iter().for_each(Nat::rebind),
            3 => world.stall(world.outcome(number).endpoint, span / 4),
            4 => world.read_every(number, Some(span / 4)),
            5 => world.read_every(number, None),
            6 => self.moves(number),
            7 => self.strays(drawn),
            8 => self.ends(number),
            9 => self.offers_again(number),
            10..13 => self.bot_has_sound(number),
            13..17 => self.page_acts(number),
            _ => self.bot_says(number),
        }
    }

    fn darkens(&mut self, number: usize, span: Duration) {
        self.world.black_out(number, span);
        let (at, words) = (self.world.elapsed(), self.calls.get_mut(&number).expect("a call"));
        words.fate.darkens(at, at + span);
    }

    fn darkens_all(&mut self, span: Duration) {
        self.world.black_out_all(span);
        let at = self.world.elapsed();
        self.calls.values_mut().for_each(|words| words.fate.darkens(at, at + span));
    }

    fn come(&mut self) {
        let number = self.world.add_browser(|_| {});
        match self.world.call(number) {
            Ok(_) => {
                let mut fate = Fate::new(self.world.elapsed());
                fate.has_bot = self.has_bots;
                self.calls.insert(number, Words { fate, ..Words::default() });
            }
            Err(NegotiateError::Full { limit }) => {
                assert_eq!(limit, SESSIONS_MAX);
                for endpoint in 0..self.world.endpoints() {
                    let len = self.world.endpoint_at(endpoint).len();
                    assert_eq!(len, limit, "refused, and endpoint {endpoint} has room");
                }
            }
            Err(error) => panic!("a browser's offer is refused: {error}"),
        }
        for endpoint in 0..self.world.endpoints() {
            assert!(self.world.endpoint_at(endpoint).len() <= SESSIONS_MAX, "one too many");
        }
    }

    fn moves(&mut self, number: usize) {
        if self.calls[&number].is_gone || self.world.session(number).is_none() {
            return;
        }
        self.moves += 1;
        let [high, low] = self.moves.to_be_bytes();
        let address = SocketAddr::from(([10, 99, high, low], 50_000));
        // Refused by a session that is closing, and by one that is not through its first offer:
        // then the page is where nobody looks for it.
        if self.world.restart(number, address).is_err() {
            let (at, words) = (self.world.elapsed(), self.calls.get_mut(&number).expect("a call"));
            words.fate.goes(at);
        }
    }

    /// Bytes of a stranger, who must get no answer: the world knows nobody at this address.
    fn strays(&mut self, drawn: u64) {
        let mut payload = vec![0; usize::try_from(drawn % 1_200).expect("a short one")];
        self.random.fill(&mut payload);
        let source = SocketAddr::from(([203, 0, 113, 77], 7));
        let packet = Packet { source, destination: bot_address(), payload: payload.into() };
        let routed = self.world.inject(packet);
        assert!(!matches!(routed, Routed::Session(_)), "bytes of a stranger reach a call");
    }

    fn bot_says(&mut self, number: usize) {
        let (now, words) = (self.world.now(), self.calls.get_mut(&number).expect("a call"));
        let Some(mut session) = self.world.session(number) else { return };
        for _ in 0..self.random.usize(1..=SAID_MAX) {
            let word = format!("bot {number} {}", words.bot.len());
            if session.send_message(Message::text(&word), now).is_ok() {
                words.bot.push(word);
            }
        }
    }

    fn offers_again(&mut self, number: usize) {
        let is_gone = self.calls[&number].is_gone;
        if !is_gone && self.world.session(number).is_some() {
            // Refused by a session that is closing.
            drop(self.world.offer_again(number));
        }
    }

    /// The bot queues sound, reads what there is, clears what is queued, or asks for an offer.
    fn bot_has_sound(&mut self, number: usize) {
        let (now, chosen) = (self.world.now(), self.random.usize(..4));
        let Some(mut session) = self.world.session(number) else { return };
        match chosen {
            0 => {
                for _ in 0..self.random.usize(1..=SAID_MAX) {
                    let (len, rate) = (self.random.usize(1..24_000), self.random.usize(..4));
                    let sound = vec![700; len];
                    // Refused while nobody takes sound.
                    drop(session.send_audio(AudioFrame::mono(&sound, RATES[rate]), now));
                }
            }
            1 => drop(session.clear_audio(now)),
            2 => session.request_renegotiation(now),
            _ => {
                let tracks: Vec<_> = session.tracks().iter().map(|track| track.id).collect();
                let mut samples = [0; 5_760];
                for track in tracks {
                    while session.recv_audio(track, &mut samples).is_some() {}
                }
            }
        }
    }

    /// The page says a word, turns its microphone on or off.
    fn page_acts(&mut self, number: usize) {
        let (now, words) = (self.world.now(), self.calls.get_mut(&number).expect("a call"));
        if words.is_gone {
            return;
        }
        let browser = self.world.browser(number);
        match self.random.usize(..4) {
            0 => browser.speak(null_packet(&[700, 700]), now),
            1 => browser.hush(),
            _ => {
                for _ in 0..self.random.usize(1..=SAID_MAX) {
                    let word = format!("page {number} {}", words.page.len());
                    if browser.send_text(&word, now) {
                        words.page.push(word);
                    }
                }
            }
        }
    }

    /// Somebody ends the call, in one way or the other.
    fn ends(&mut self, number: usize) {
        let (now, at) = (self.world.now(), self.world.elapsed());
        let words = self.calls.get_mut(&number).expect("a call");
        match self.random.usize(..3) {
            0 => {
                if let Some(mut session) = self.world.session(number) {
                    session.close(now);
                    words.fate.closes(at);
                }
            }
            1 if !words.is_gone => {
                self.world.browser(number).hang_up(now);
                words.is_gone = true;
                words.fate.hangs_up(at);
            }
            _ => {
                self.world.browser(number).vanish();
                words.vanishes(at);
            }
        }
    }

    /// What either side heard is what the other said: no word twice, none of another call, and
    /// none before one that was said before it.
    fn assert_nobody_hears_others(&self) {
        for (number, words) in &self.calls {
            let outcome = self.world.outcome(*number);
            let said = words.page.iter().map(Message::text);
            let heard = outcome.messages().into_iter().cloned();
            assert_in_order(said, heard, &format!("the bot of browser {number}"));
            let heard = outcome.browser_messages().into_iter();
            let heard = heard.filter(|message| message.starts_with("bot "));
            assert_in_order(words.bot.iter().cloned(), heard, &format!("browser {number}"));
        }
    }

    /// Everybody is left alone, and calls that go on come to rest.
    fn rest(&mut self) {
        for number in self.calls.keys() {
            self.world.read_every(*number, None);
            if let Some(nat) = self.world.nat(*number) {
                nat.keep(Duration::from_secs(3_600));
            }
        }
        let end = self.world.now() + REST_LIMIT;
        self.world.drive_for(STALE_PAIR_MAX);
        let numbers: Vec<_> = self.calls.keys().copied().collect();
        while let Some(number) = numbers.iter().find(|number| self.owes_words(**number)) {
            assert!(self.world.now() < end, "browser {number}: not every word was heard");
            self.world.drive_for(Duration::from_secs(1));
        }
        while let Some(number) = numbers.iter().find(|number| self.owes_accounts(**number)) {
            let ledger = self.world.ledger(*number);
            assert!(self.world.now() < end, "browser {number}: not all is told of: {ledger:?}");
            self.world.drive_for(Duration::from_secs(1));
        }
        self.assert_nobody_hears_others();
        let since = self.world.elapsed();
        let mut talks = numbers;
        talks.retain(|number| self.talks(*number));
        self.world.drive_for(LISTENED);
        talks.retain(|number| self.talks(*number));
        for number in talks {
            let heard = self.world.outcome(number).heard();
            let frames = heard.iter().filter(|(at, _)| *at >= since).count();
            assert!(frames >= FRAMES_MIN, "browser {number} heard {frames} frames in 2 s");
        }
    }

    /// Whether a call that goes on has words that were not heard, and not told to be dropped.
    fn owes_words(&mut self, number: usize) -> bool {
        let words = &self.calls[&number];
        let (by_bot, by_page) = (words.bot.len() as u64, words.page.len());
        if words.is_gone {
            return false;
        }
        let Some(session) = self.world.session(number) else { return false };
        let dropped = session.stats().messages_dropped;
        drop(session);
        let outcome = self.world.outcome(number);
        let heard = outcome.browser_messages();
        let heard = heard.iter().filter(|message| message.starts_with("bot ")).count() as u64;
        heard + dropped < by_bot || outcome.messages().len() < by_page
    }

    /// Whether the books of a call that goes on are open.
    fn owes_accounts(&mut self, number: usize) -> bool {
        let is_over = self.calls[&number].is_gone || self.world.session(number).is_none();
        let ledger = self.world.ledger(number);
        !self.has_bots && !is_over && ledger.is_some_and(|ledger| !ledger.is_at_rest())
    }

    fn talks(&mut self, number: usize) -> bool {
        let is_gone = self.calls[&number].is_gone;
        let Some(session) = self.world.session(number) else { return false };
        !is_gone && session.state() == ConnectionState::Connected
    }

    fn end(&mut self) {
        let at = self.world.elapsed();
        for (number, words) in &mut self.calls {
            self.world.browser(*number).vanish();
            words.vanishes(at);
        }
        self.world.drive_for(END_LIMIT);
        for endpoint in 0..self.world.endpoints() {
            let core = self.world.endpoint_at(endpoint);
            assert!(core.is_empty(), "endpoint {endpoint} keeps {} ghosts", core.len());
            assert_eq!(core.poll_timeout(), None, "something is due at endpoint {endpoint}");
        }
        for (number, words) in &mut self.calls {
            let outcome = self.world.outcome(*number);
            let mut told = outcome.browser_events.iter();
            if let Some((at, _)) = told.find(|told| told.1 == BrowserEvent::Failed) {
                words.fate.fails(*at);
            }
            let ends = outcome.events.iter().filter(|told| matches!(told.1, Event::Closed { .. }));
            assert_eq!(ends.count(), 1, "browser {number}: Closed comes once");
            let (at, reason) = outcome.ended().expect("it was just counted");
            let was_connected = outcome.told(&Event::StateChanged(ConnectionState::Connected));
            words.fate.assert_explains(at, reason, was_connected);
        }
    }
}

/// Everything that was heard was said, once and in this order.
fn assert_in_order<T: PartialEq + std::fmt::Debug>(
    mut said: impl Iterator<Item = T>,
    heard: impl Iterator<Item = T>,
    who: &str,
) {
    for word in heard {
        let is_said = said.any(|said| said == word);
        assert!(is_said, "{who} hears {word:?}: never said, twice or out of order");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::Lost;

    /// A storm whose driver loses what `loses` says.
    fn with_a_thief(loses: impl FnMut(Lost<'_>) -> bool + 'static) {
        storm_on(Kind::Scripted, 1, |setup| setup, |world| world.lose(loses));
    }

    /// Says yes to the one with this number of those that `counts` says.
    fn only(number: usize, counts: fn(Lost<'_>) -> bool) -> impl FnMut(Lost<'_>) -> bool {
        let mut count = 0;
        move |lost| {
            let is_counted = counts(lost);
            count += usize::from(is_counted);
            is_counted && count == number
        }
    }

    #[test]
    fn a_thief_who_takes_nothing_changes_nothing() {
        with_a_thief(|_| false);
    }

    #[test]
    #[should_panic(expected = "not every word was heard")]
    fn a_driver_that_loses_one_message_of_a_page_is_caught() {
        with_a_thief(only(7, |lost| matches!(lost, Lost::Told(Event::Message(_)))));
    }

    #[test]
    #[should_panic(expected = "messages did not arrive, 0 were told of")]
    fn a_bot_whose_message_does_not_reach_the_page_is_caught() {
        let is_word = |event: &BrowserEvent| match event {
            BrowserEvent::Message { data, .. } => data.starts_with(b"bot "),
            _ => false,
        };
        let is_word = move |lost: Lost<'_>| matches!(lost, Lost::Heard(event) if is_word(event));
        let mut count = 0;
        with_a_thief(move |lost| {
            count += usize::from(is_word(lost));
            is_word(lost) && count == 7
        });
    }

    #[test]
    #[should_panic(expected = "not all is told of")]
    fn a_driver_that_loses_word_of_one_piece_of_sound_is_caught() {
        with_a_thief(only(3, |lost| matches!(lost, Lost::Told(Event::AudioFinished { .. }))));
    }

    #[test]
    #[should_panic(expected = "begins if any of it is sent")]
    fn a_driver_that_loses_word_of_where_a_piece_begins_is_caught() {
        with_a_thief(only(3, |lost| matches!(lost, Lost::Told(Event::AudioStarted { .. }))));
    }

    #[test]
    #[should_panic(expected = "Lost at")]
    fn a_session_that_is_lost_without_a_cause_is_caught() {
        let impatient = |setup: Setup| {
            let second = Duration::from_secs(1);
            setup.config(|config| config.liveness_timeout(second).disconnected_timeout(second))
        };
        storm_on(Kind::Scripted, 1, impatient, |_| {});
    }

    #[test]
    #[should_panic(expected = "Closed comes once")]
    fn a_call_whose_end_nobody_tells_is_caught() {
        with_a_thief(only(1, |lost| matches!(lost, Lost::Told(Event::Closed { .. }))));
    }

    #[test]
    fn words_may_be_missing() {
        assert_in_order(1..=5, [1, 3, 5].into_iter(), "somebody");
    }

    #[test]
    #[should_panic(expected = "hears 1: never said, twice or out of order")]
    fn a_word_that_comes_twice_is_caught() {
        assert_in_order(1..=5, [1, 1].into_iter(), "somebody");
    }

    #[test]
    #[should_panic(expected = "hears 2: never said, twice or out of order")]
    fn a_word_that_comes_late_is_caught() {
        assert_in_order(1..=5, [1, 3, 2].into_iter(), "somebody");
    }

    #[test]
    #[should_panic(expected = "hears 6: never said, twice or out of order")]
    fn a_word_that_nobody_said_is_caught() {
        assert_in_order(1..=5, [6].into_iter(), "somebody");
    }
}
