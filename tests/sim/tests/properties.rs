//! Whole calls of random acts, shrunk to the shortest script that fails.
//!
//! Whatever happens: the pump's checks hold, messages arrive in order and at most once, sound is
//! never shortened, and the session ends once, within the time that its reason allows.

use std::time::Duration;

use bytes::Bytes;
use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use smallrtc::{
    AudioIdle, CloseReason, Codec, ConnectionState, EncodedFrame, Event, Message, PacketTime,
    TrackId,
};
use smallrtc_sim::{Kind, LinkConfig, Pair, Setup, seeds};

/// Something that somebody does.
#[derive(Clone, Debug)]
enum Act {
    Wait(u64),
    BotSays(usize),
    PageSays(usize),
    BotSpeaks(usize),
    BotClears,
    PageSpeaks(u8),
    BotShows(usize),
    PageShows(usize),
    KeyframesAreWanted,
    LinksBreak,
    LinksHeal,
    DriverStalls(u64),
    PageReoffers,
    PageRestarts,
    BotWantsOffer,
    PageOpensChannel,
    BotStarts,
    BotCloses,
    PageHangsUp,
    PageVanishes,
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        6 => (0..3_000_u64).prop_map(Act::Wait),
        3 => (1..20_000_usize).prop_map(Act::BotSays),
        3 => (1..20_000_usize).prop_map(Act::PageSays),
        3 => (1..5_000_usize).prop_map(Act::BotSpeaks),
        1 => Just(Act::BotClears),
        3 => (1..20_u8).prop_map(Act::PageSpeaks),
        2 => (1..9_000_usize).prop_map(Act::BotShows),
        2 => (1..9_000_usize).prop_map(Act::PageShows),
        1 => Just(Act::KeyframesAreWanted),
        1 => Just(Act::LinksBreak),
        2 => Just(Act::LinksHeal),
        1 => (0..8_000_u64).prop_map(Act::DriverStalls),
        1 => Just(Act::PageReoffers),
        1 => Just(Act::PageRestarts),
        1 => Just(Act::BotWantsOffer),
        1 => Just(Act::PageOpensChannel),
        1 => Just(Act::BotStarts),
        1 => prop_oneof![
            Just(Act::BotCloses),
            Just(Act::PageHangsUp),
            Just(Act::PageVanishes),
        ],
    ]
}

/// A call, and what was said in it.
struct Call {
    pair: Pair,
    bot_said: Vec<String>,
    page_said: Vec<String>,
    page_time: u64,
    video_time: u64,
    port: u16,
    is_gone: bool,
}

impl Call {
    fn new(setup: Setup) -> Call {
        let mut pair = Pair::new(setup);
        pair.negotiate().expect("the first offer is accepted");
        Call {
            pair,
            bot_said: Vec::new(),
            page_said: Vec::new(),
            page_time: 0,
            video_time: 0,
            port: 41_000,
            is_gone: false,
        }
    }

    fn act(&mut self, act: &Act) {
        let now = self.pair.now();
        match *act {
            Act::Wait(milliseconds) => self.pair.drive_for(Duration::from_millis(milliseconds)),
            Act::DriverStalls(milliseconds) => {
                self.pair.stall(Duration::from_millis(milliseconds));
            }
            Act::LinksBreak | Act::LinksHeal => {
                let is_down = matches!(act, Act::LinksBreak);
                self.pair.up.set_down(is_down);
                self.pair.down.set_down(is_down);
            }
            Act::BotStarts => self.pair.session.start(now),
            Act::BotCloses => self.pair.session.close(now),
            Act::BotWantsOffer => self.pair.session.request_renegotiation(now),
            Act::PageVanishes => {
                self.pair.browser.vanish();
                self.is_gone = true;
            }
            Act::PageHangsUp => {
                self.pair.browser.hang_up(now);
                self.is_gone = true;
            }
            _ => self.talk(act),
        }
        self.listen();
    }

    fn talk(&mut self, act: &Act) {
        let now = self.pair.now();
        match *act {
            Act::BotSays(len) => {
                let text = format!("{}:{}", self.bot_said.len(), "b".repeat(len));
                if self.pair.send_message(Message::text(&text)).is_ok() {
                    self.bot_said.push(text);
                }
            }
            Act::PageSays(len) if !self.is_gone => {
                let text = format!("{}:{}", self.page_said.len(), "p".repeat(len));
                if self.pair.browser.send_text(&text, now) {
                    self.page_said.push(text);
                }
            }
            Act::BotSpeaks(len) => drop(self.pair.send_audio(&vec![1; len], 24_000)),
            Act::BotClears => drop(self.pair.session.clear_audio(now)),
            Act::BotShows(len) => {
                self.video_time += 33;
                let time = Duration::from_millis(self.video_time);
                let picture = EncodedFrame::new(Codec::Vp8, time, true, Bytes::from(vec![0; len]));
                let _ = self.pair.session.send_encoded(TrackId(1), picture, now);
            }
            Act::KeyframesAreWanted => {
                self.pair.session.request_keyframe(TrackId(1), now);
                if !self.is_gone {
                    self.pair.browser.request_keyframe(1, now);
                }
            }
            _ if self.is_gone => {}
            Act::PageSpeaks(count) => {
                for _ in 0..count {
                    self.page_time += 960;
                    let now = self.pair.now();
                    let data = [b'N', 1, 2, 0, 0, 0, 0, 1, 0, 2, 0];
                    self.pair.browser.send_media(0, self.page_time, &data, now);
                    self.pair.drive_for(Duration::from_millis(20));
                }
            }
            Act::PageShows(len) => {
                self.page_time += 960;
                self.pair.browser.send_media(1, self.page_time, &vec![0; len], now);
            }
            Act::PageOpensChannel if self.pair.browser.is_open() => {
                self.pair.browser.open_channel("again", now);
            }
            // Refused when the session has ended.
            Act::PageReoffers => drop(self.pair.negotiate()),
            Act::PageRestarts => {
                self.port += 1;
                drop(self.pair.restart_from_port(self.port));
            }
            _ => {}
        }
    }

    fn listen(&mut self) {
        let mut samples = [0; 1920];
        while self.pair.session.recv_audio(TrackId(0), &mut samples).is_some() {}
        while self.pair.session.recv_encoded(TrackId(1)).is_some() {}
        self.pair.flush();
    }

    /// The page is gone at last: the session has to notice.
    fn end(&mut self) -> Result<(), TestCaseError> {
        let was_connected = matches!(
            self.pair.session.state(),
            ConnectionState::Connected | ConnectionState::Disconnected
        );
        self.pair.up.set_down(true);
        self.pair.drive_for(Duration::from_secs(61));
        let Some((_, reason)) = self.pair.closed() else {
            return Err(TestCaseError::fail(format!("a ghost: {:?}", self.pair.session)));
        };
        prop_assert!(self.pair.session.is_finished());
        let ends = self.pair.events().filter(|event| matches!(event, Event::Closed { .. }));
        prop_assert_eq!(ends.count(), 1);
        prop_assert!(reason != CloseReason::Internal && reason != CloseReason::ApplicationTooSlow);
        prop_assert!(!was_connected || reason != CloseReason::NeverConnected);
        Ok(())
    }

    /// What was heard is a beginning of what was said. Messages that waited for a channel that
    /// never came are told as dropped.
    fn check_messages(&self) -> Result<(), TestCaseError> {
        let heard: Vec<String> = self
            .pair
            .messages()
            .into_iter()
            .map(|message| String::from_utf8_lossy(message.as_bytes()).into_owned())
            .collect();
        prop_assert_eq!(&heard, &self.page_said[..heard.len().min(self.page_said.len())]);
        let mut heard = self.pair.browser_messages();
        heard.retain(|text| !text.contains("signalling"));
        let mut said = self.bot_said.iter();
        for text in heard {
            prop_assert!(said.any(|of_bot| *of_bot == text), "out of order or twice");
        }
        Ok(())
    }
}

/// Every kind of call.
fn setup() -> impl Strategy<Value = Setup> {
    let link = prop_oneof![Just(LinkConfig::clean()), Just(LinkConfig::bad())];
    let mtu = prop_oneof![Just(1150), Just(1200), Just(576)];
    let idle =
        prop_oneof![Just(AudioIdle::Silence), Just(AudioIdle::Dtx), Just(AudioIdle::Nothing)];
    let time = prop_oneof![Just(PacketTime::Ms20), Just(PacketTime::Ms10), Just(PacketTime::Ms60)];
    let flags = (any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>());
    (flags, 0..1_000_000_u64, link, mtu, idle, time).prop_map(
        |((is_real, is_held, shuffles, dawdles), seed, link, mtu, idle, time)| {
            let kind = if is_real { Kind::Real } else { Kind::Scripted };
            let setup = Setup::new(kind, seed)
                .links(link)
                .mtu(mtu)
                .browser(|browser| browser.camera = true)
                .config(|config| config.audio_idle(idle).audio_packet_time(time));
            Setup { starts: !is_held, shuffles, dawdles, ..setup }
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 64,
        // The gate tries the same calls each time; another seed searches elsewhere.
        rng_seed: RngSeed::Fixed(seeds(1)[0]),
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn whatever_is_done_in_a_call_it_ends_once_and_nothing_is_mixed_up(
        setup in setup(),
        acts in proptest::collection::vec(act(), 0..40),
    ) {
        let mut call = Call::new(setup);
        for act in &acts {
            call.act(act);
        }
        call.end()?;
        call.check_messages()?;
    }
}
