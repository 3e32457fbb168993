//! Whole calls as scripts: what was found by chance, written down as a test.
//!
//! A [`Script`] is a call's setting and a list of [`Act`]s. [`Script::run`] does them one after the
//! other under all checks of the pump, lets the call come to rest, makes the page vanish, and
//! asks that
//!
//! - what was said before is heard, on either side, where the call went on to the end,
//! - sound that was queued has gone out by then,
//! - the session ends once, within the time that its reason allows, with everything accounted for,
//! - an act explains that reason: a call is lost only when the links were broken or the page was
//!   gone for most of 20 s, and so on.
//!
//! A script prints as a whole `#[test]` function that runs it: see its `Display`.
//!
//! ```
//! use smallrtc_sim::Kind;
//! use smallrtc_sim::script::{Act, Script};
//!
//! let acts = vec![Act::BotSays { len: 5 }, Act::Wait { ms: 300 }, Act::PageHangsUp];
//! let script = Script { acts, ..Script::new(Kind::Scripted, 1) };
//! script.run();
//! assert!(script.to_string().contains("Act::BotSays { len: 5 },"));
//! ```

mod call;
mod print;

use std::time::Duration;

use smallrtc::{AudioIdle, CloseReason, PacketTime, Stats};

use crate::{Kind, LinkConfig, Setup, Sound};

/// Something that somebody does in a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Act {
    /// Time passes.
    Wait {
        /// Milliseconds.
        ms: u64,
    },
    /// The bot sends messages.
    BotSays {
        /// Bytes of a message.
        len: usize,
    },
    /// The bot sends many short messages at once.
    BotChatters {
        /// How many.
        count: usize,
    },
    /// The page sends a message.
    PageSays {
        /// Bytes.
        len: usize,
    },
    /// The page sends many short messages at once.
    PageChatters {
        /// How many.
        count: usize,
    },
    /// The bot queues sound.
    BotSpeaks {
        /// How many samples.
        samples: usize,
        /// Samples per second.
        rate: u32,
    },
    /// The bot queues many pieces of sound, each one sample long.
    BotStammers {
        /// How many.
        count: usize,
    },
    /// The bot drops the sound that is queued.
    BotClears,
    /// The page sends sound, a packet each 20 ms.
    PageSpeaks {
        /// How many packets.
        packets: u64,
    },
    /// The bot sends a picture.
    BotShows {
        /// Bytes.
        len: usize,
    },
    /// The page sends a picture.
    PageShows {
        /// Bytes.
        len: usize,
    },
    /// The page sends pictures, each 33 ms after the other by their own time, all at once.
    PageFilms {
        /// How many.
        count: u64,
        /// Bytes of each.
        len: usize,
    },
    /// Both ask each other for a keyframe.
    KeyframesAreWanted,
    /// Both links are like this from now on.
    LinksAre(Network),
    /// Both links lose everything.
    LinksBreak,
    /// They carry again.
    LinksHeal,
    /// The bot's driver does not run.
    DriverStalls {
        /// For so many milliseconds.
        ms: u64,
    },
    /// The bot's driver wakes late, again and again.
    DriverIsLate {
        /// By so many milliseconds.
        ms: u64,
        /// So many times.
        times: u32,
    },
    /// The bot's driver calls for timeouts that are not due.
    TimeoutsCome {
        /// How many at one instant.
        count: u32,
    },
    /// The bot reads no sound and no pictures and takes no events, or does so again.
    BotListens(bool),
    /// The page takes sound of the bot, or takes it no more. On the real wire: a re-offer.
    PageListens(bool),
    /// The page offers again.
    PageReoffers,
    /// The page restarts ICE from another port.
    PageRestarts,
    /// The bot asks for an offer.
    BotWantsOffer,
    /// The page opens one more channel.
    PageOpensChannel,
    /// A stranger sends bytes to the bot.
    StrangerSends {
        /// How many.
        len: usize,
        /// The first one, which says what it might be.
        first: u8,
    },
    /// The bot is ready.
    BotStarts,
    /// The bot ends the call.
    BotCloses,
    /// The page ends the call.
    PageHangsUp,
    /// The page is gone without a word.
    PageVanishes,
}

/// What a link does, in whole numbers. Whoever names some of it takes the rest from
/// [`Network::CLEAN`], which is the default.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    /// How long every packet takes, in milliseconds.
    pub delay_ms: u64,
    /// What is added at most.
    pub jitter_ms: u64,
    /// Of a hundred packets, so many are lost.
    pub loss_percent: u8,
    /// So many come twice.
    pub duplicate_percent: u8,
    /// So many are overtaken.
    pub reorder_percent: u8,
    /// Kilobits per second; none for no limit.
    pub rate_kbit: Option<u64>,
}

impl Default for Network {
    fn default() -> Network {
        Network::CLEAN
    }
}

impl Network {
    /// 10 ms and nothing else, as [`LinkConfig::clean`].
    pub const CLEAN: Network = Network {
        delay_ms: 10,
        jitter_ms: 0,
        loss_percent: 0,
        duplicate_percent: 0,
        reorder_percent: 0,
        rate_kbit: None,
    };

    /// The link that it describes.
    #[must_use]
    pub fn link(self) -> LinkConfig {
        LinkConfig {
            delay: Duration::from_millis(self.delay_ms),
            jitter: Duration::from_millis(self.jitter_ms),
            loss: f64::from(self.loss_percent) / 100.0,
            duplicate: f64::from(self.duplicate_percent) / 100.0,
            reorder: f64::from(self.reorder_percent) / 100.0,
            rate: self.rate_kbit.map(|kbit| kbit * 1000),
            ..LinkConfig::clean()
        }
    }
}

/// A call: its setting, and what is done in it. Whoever names some of it takes the rest from
/// [`Script::new`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Script {
    /// What the page runs on.
    pub kind: Kind,
    /// Where every random choice comes from.
    pub seed: u64,
    /// From the page to the bot.
    pub up: Network,
    /// From the bot to the page.
    pub down: Network,
    /// The bot's MTU.
    pub mtu: usize,
    /// What the bot sends while it says nothing.
    pub idle: AudioIdle,
    /// How much sound a packet of the bot holds.
    pub packet_time: PacketTime,
    /// Whether the bot is ready at once, and not by [`Act::BotStarts`].
    pub starts: bool,
    /// As [`Setup::shuffles`].
    pub shuffles: bool,
    /// As [`Setup::dawdles`].
    pub dawdles: bool,
    /// What is done, in order.
    pub acts: Vec<Act>,
}

impl Script {
    /// A call with clean links and nothing done in it.
    #[must_use]
    pub fn new(kind: Kind, seed: u64) -> Script {
        Script {
            kind,
            seed,
            up: Network::CLEAN,
            down: Network::CLEAN,
            mtu: 1150,
            idle: AudioIdle::Silence,
            packet_time: PacketTime::Ms20,
            starts: true,
            shuffles: false,
            dawdles: false,
            acts: Vec::new(),
        }
    }

    /// The call's setup.
    ///
    /// # Panics
    /// With an MTU outside 576 to 1500 bytes.
    #[must_use]
    pub fn setup(&self) -> Setup {
        let (idle, packet_time) = (self.idle, self.packet_time);
        let mut setup = Setup::new(self.kind, self.seed)
            .mtu(self.mtu)
            .browser(|browser| browser.camera = true)
            .config(|config| config.audio_idle(idle).audio_packet_time(packet_time));
        (setup.up, setup.down) = (self.up.link(), self.down.link());
        (setup.starts, setup.shuffles, setup.dawdles) = (self.starts, self.shuffles, self.dawdles);
        setup
    }

    /// Runs the call to its end.
    ///
    /// # Panics
    /// When anything is wrong.
    pub fn run(&self) -> Ending {
        self.run_on(self.setup())
    }

    /// Does the acts in a call that is set up otherwise than the script says: for a test of tests,
    /// which plants a fault and wants it found.
    ///
    /// # Panics
    /// When anything is wrong, or `setup` checks nothing.
    pub fn run_on(&self, setup: Setup) -> Ending {
        let mut call = call::Call::new(setup);
        for act in &self.acts {
            call.act(*act);
        }
        call.end()
    }
}

/// How a call ended, and what was done in it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Ending {
    /// How long it took, in virtual time.
    pub elapsed: Duration,
    /// Why it ended.
    pub reason: CloseReason,
    /// Whether it was connected when all acts were done, and had come to rest.
    pub was_connected: bool,
    /// What became of the bot's sound.
    pub sound: Sound,
    /// What the session counted.
    pub stats: Stats,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A page and a bot that say a word, stop for a while, and go on.
    fn talk(act: Act) -> Script {
        let acts = vec![
            Act::Wait { ms: 1_000 },
            act,
            Act::Wait { ms: 8_000 },
            Act::LinksHeal,
            Act::BotSays { len: 3 },
            Act::Wait { ms: 1_000 },
        ];
        Script { acts, ..Script::new(Kind::Scripted, 1) }
    }

    /// With half a second each until it is disconnected, and then lost.
    fn impatient(script: &Script) -> Setup {
        let half = Duration::from_millis(500);
        script.setup().config(|config| config.liveness_timeout(half).disconnected_timeout(half))
    }

    #[test]
    fn links_that_were_broken_for_eight_seconds_lose_no_call() {
        let ending = talk(Act::LinksBreak).run();
        assert!(ending.was_connected);
    }

    #[test]
    #[should_panic(expected = "Lost at")]
    fn a_call_that_is_lost_before_its_time_is_caught() {
        let script = talk(Act::LinksBreak);
        script.run_on(impatient(&script));
    }

    #[test]
    #[should_panic(expected = "Lost at")]
    fn a_call_that_is_lost_because_its_page_was_quiet_is_caught() {
        let script = talk(Act::Wait { ms: 1_500 });
        script.run_on(impatient(&script).browser(|browser| browser.chatters = false));
    }

    #[test]
    #[should_panic(expected = "NeverConnected at")]
    fn a_call_that_is_given_up_before_its_minute_is_caught() {
        let acts = vec![Act::LinksBreak, Act::Wait { ms: 20_000 }];
        let script = Script { acts, ..Script::new(Kind::Scripted, 1) };
        let brief = Duration::from_secs(10);
        script.run_on(script.setup().config(|config| config.connecting_timeout(brief)));
    }
}
