//! A script on its way.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use smallrtc::{
    AudioFrame, CloseReason, Codec, ConnectionState, EncodedFrame, Event, Message, Offer, TrackId,
};

use super::{Act, Ending, Network};
use crate::fate::Fate;
use crate::{BrowserEvent, Kind, Packet, Pair, Setup, bot_address};

/// How long a call that goes on may take until everything that was said is heard: SCTP may have
/// doubled its timer up to a minute while the links were broken (RFC 9260 section 16).
const REST_LIMIT: Duration = Duration::from_secs(130);

/// The longest ending: 60 s for a call that never connected (`CloseReason`).
const END_LIMIT: Duration = Duration::from_secs(61);

/// A call, and who is in it.
pub(super) struct Call {
    pair: Pair,
    kind: Kind,
    said: usize,
    speech_time: u64,
    page_time: u64,
    video_time: u64,
    port: u16,
    /// The page has left, in whatever way.
    is_gone: bool,
    listens: bool,
    /// The bot is ready.
    has_started: bool,
    /// What explains how it ends. The bot is deaf when it does not take its events for a while, or
    /// when the page says something before it is ready.
    fate: Fate,
}

impl Call {
    pub(super) fn new(setup: Setup) -> Call {
        let (kind, has_started) = (setup.browser.kind, setup.starts);
        let mut pair = Pair::new(setup);
        pair.negotiate().expect("the first offer is accepted");
        Call {
            pair,
            kind,
            said: 0,
            speech_time: 0,
            page_time: 0,
            video_time: 0,
            port: 41_000,
            is_gone: false,
            listens: true,
            has_started,
            fate: Fate::new(Duration::ZERO),
        }
    }

    pub(super) fn act(&mut self, act: Act) {
        match act {
            Act::Wait { .. }
            | Act::LinksAre(_)
            | Act::LinksBreak
            | Act::LinksHeal
            | Act::DriverStalls { .. }
            | Act::DriverIsLate { .. }
            | Act::TimeoutsCome { .. }
            | Act::StrangerSends { .. } => self.befall(act),
            Act::PageVanishes | Act::PageHangsUp => self.leave(act),
            Act::PageSays { .. }
            | Act::PageChatters { .. }
            | Act::PageFilms { .. }
            | Act::PageSpeaks { .. }
            | Act::PageShows { .. }
            | Act::PageReoffers
            | Act::PageListens(_)
            | Act::PageRestarts
            | Act::PageOpensChannel => self.page_acts(act),
            _ => self.bot_acts(act),
        }
        self.listen();
    }

    /// What happens to both.
    fn befall(&mut self, act: Act) {
        match act {
            Act::Wait { ms } => self.pair.drive_for(Duration::from_millis(ms)),
            Act::LinksAre(network) => {
                self.pair.up.set_config(network.link());
                self.pair.down.set_config(network.link());
            }
            Act::DriverStalls { ms } => self.pair.stall(Duration::from_millis(ms)),
            Act::DriverIsLate { ms, times } => {
                for _ in 0..times {
                    self.pair.stall(Duration::from_millis(ms));
                    self.pair.drive_for(Duration::from_millis(ms + 1));
                }
            }
            Act::TimeoutsCome { count } => {
                let now = self.pair.now();
                (0..count).for_each(|_| self.pair.session.handle_timeout(now));
            }
            Act::StrangerSends { len, first } => {
                let mut payload = vec![0x5a; len];
                payload.iter_mut().take(1).for_each(|byte| *byte = first);
                let source = SocketAddr::from(([203, 0, 113, 77], 7));
                let destination = bot_address();
                self.pair.inject(Packet { source, destination, payload: payload.into() });
            }
            _ => {
                let (is_down, at) = (matches!(act, Act::LinksBreak), self.pair.elapsed());
                if is_down {
                    self.fate.is_cut(at);
                } else {
                    self.fate.heals(at);
                }
                self.pair.up.set_down(is_down);
                self.pair.down.set_down(is_down);
            }
        }
    }

    fn leave(&mut self, act: Act) {
        let (now, at) = (self.pair.now(), self.pair.elapsed());
        match act {
            Act::PageHangsUp if !self.is_gone => {
                self.pair.browser.hang_up(now);
                self.fate.hangs_up(at);
            }
            Act::PageVanishes => {
                self.pair.browser.vanish();
                self.fate.goes(at);
            }
            _ => {}
        }
        self.is_gone = true;
    }

    fn bot_acts(&mut self, act: Act) {
        let now = self.pair.now();
        match act {
            // Refused at the limits, which the books know.
            Act::BotSays { len } => self.bot_says(len),
            Act::BotChatters { count } => (0..count).for_each(|_| self.bot_says(1)),
            Act::BotSpeaks { samples, rate } => self.bot_speaks(samples, rate),
            Act::BotStammers { count } => (0..count).for_each(|_| self.bot_speaks(1, 48_000)),
            Act::BotClears => drop(self.pair.session.clear_audio(now)),
            Act::BotShows { len } => {
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
            Act::BotListens(listens) => {
                self.listens = listens;
                self.fate.was_deaf |= !listens;
                self.pair.session.hold_events(!listens);
            }
            Act::BotStarts => {
                self.has_started = true;
                self.pair.session.start(now);
            }
            Act::BotWantsOffer => self.pair.session.request_renegotiation(now),
            _ => {
                self.fate.closes(self.pair.elapsed());
                self.pair.session.close(now);
            }
        }
    }

    fn bot_says(&mut self, len: usize) {
        self.said += 1;
        let text = format!("{}:{}", self.said, "b".repeat(len));
        let _refused = self.pair.send_message(Message::text(text));
    }

    fn bot_speaks(&mut self, samples: usize, rate: u32) {
        let (sound, now) = (vec![1; samples], self.pair.now());
        let _refused = self.pair.session.send_audio(AudioFrame::mono(&sound, rate), now);
    }

    fn page_says(&mut self, len: usize) {
        self.said += 1;
        self.fate.was_deaf |= !self.has_started;
        let text = format!("{}:{}", self.said, "p".repeat(len));
        let _refused = self.pair.browser.send_text(&text, self.pair.now());
    }

    fn page_shows(&mut self, len: usize) {
        // A thirtieth of a second of 90 kHz.
        self.page_time += 3000;
        let now = self.pair.now();
        self.pair.browser.send_media(1, self.page_time, &vec![0; len], now);
    }

    fn page_acts(&mut self, act: Act) {
        if self.is_gone {
            return;
        }
        let now = self.pair.now();
        match act {
            Act::PageSays { len } => self.page_says(len),
            Act::PageChatters { count } => (0..count).for_each(|_| self.page_says(1)),
            Act::PageSpeaks { packets } => {
                for _ in 0..packets {
                    self.speech_time += 960;
                    let now = self.pair.now();
                    let data = [b'N', 1, 2, 0, 0, 0, 0, 1, 0, 2, 0];
                    self.pair.browser.send_media(0, self.speech_time, &data, now);
                    self.pair.drive_for(Duration::from_millis(20));
                }
            }
            Act::PageShows { len } => self.page_shows(len),
            Act::PageFilms { count, len } => (0..count).for_each(|_| self.page_shows(len)),
            Act::PageOpensChannel if self.pair.browser.is_open() => {
                self.pair.browser.open_channel("again", now);
            }
            Act::PageListens(listens) => self.page_listens(listens),
            // Refused when the session has ended.
            Act::PageReoffers => drop(self.pair.negotiate()),
            Act::PageRestarts => {
                self.port += 1;
                if self.pair.restart_from_port(self.port).is_err() {
                    self.fate.goes(self.pair.elapsed());
                }
            }
            _ => {}
        }
    }

    /// The engine of the real wire has no offer that takes no sound.
    fn page_listens(&mut self, listens: bool) {
        if self.kind == Kind::Real || listens {
            drop(self.pair.negotiate());
            return;
        }
        let now = self.pair.now();
        let offer = self.pair.browser.offer(now).replacen("a=sendrecv", "a=sendonly", 1);
        let offer = Offer::parse(&offer).expect("the browser's offer with another direction");
        let Ok(answer) = self.pair.session.accept_offer(&offer, now) else { return };
        self.pair.browser.accept_answer(answer.sdp(), now);
        self.pair.flush();
    }

    fn listen(&mut self) {
        let mut samples = [0; 1920];
        if self.listens {
            while self.pair.session.recv_audio(TrackId(0), &mut samples).is_some() {}
            while self.pair.session.recv_encoded(TrackId(1)).is_some() {}
        }
        self.pair.flush();
    }

    /// The call comes to rest, then the page is gone at last and the session has to notice.
    pub(super) fn end(mut self) -> Ending {
        self.pair.session.hold_events(false);
        self.rest();
        let state = self.pair.session.state();
        let was_connected =
            matches!(state, ConnectionState::Connected | ConnectionState::Disconnected);
        self.pair.up.set_down(true);
        self.fate.goes(self.pair.elapsed());
        self.pair.drive_for(END_LIMIT);
        let Some((at, reason)) = self.pair.closed() else {
            panic!("a ghost: {:?}", self.pair.session)
        };
        assert!(self.pair.session.is_finished(), "nothing is left after the end");
        assert_eq!(self.pair.session.poll_timeout(), None, "nothing is due after the end");
        let ends = self.pair.events().filter(|event| matches!(event, Event::Closed { .. }));
        assert_eq!(ends.count(), 1, "Closed comes once");
        assert_ne!(reason, CloseReason::Internal);
        let has_been_connected = self.pair.entered(ConnectionState::Connected).is_some();
        let mut told = self.pair.timed_browser_events().iter();
        if let Some((at, _)) = told.find(|told| told.1 == BrowserEvent::Failed) {
            self.fate.fails(*at);
        }
        self.fate.assert_explains(at, reason, has_been_connected);
        let ledger = self.pair.session.ledger().expect("scripts are checked");
        Ending {
            elapsed: self.pair.elapsed(),
            reason,
            was_connected,
            sound: ledger.sound(),
            stats: self.pair.session.stats(),
        }
    }

    /// With good links again, everything that was said is heard and all sound goes out, unless the
    /// call ends before.
    fn rest(&mut self) {
        self.pair.up.set_down(false);
        self.pair.down.set_down(false);
        self.pair.up.set_config(Network::CLEAN.link());
        self.pair.down.set_config(Network::CLEAN.link());
        self.fate.heals(self.pair.elapsed());
        let now = self.pair.now();
        self.pair.session.start(now);
        let is_over = self.is_gone || self.pair.closed().is_some();
        if is_over || self.pair.session.state() == ConnectionState::New {
            return;
        }
        self.pair.drive_until(REST_LIMIT, "everything that was said is heard", |pair| {
            let ledger = pair.session.ledger().expect("scripts are checked");
            pair.closed().is_some() || ledger.is_at_rest()
        });
    }
}
