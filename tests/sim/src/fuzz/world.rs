//! A network between two peers, and what both of them do.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use smallrtc::{CloseReason, Codec, EncodedFrame, Event, Message, TrackId};

use super::script::Script;
use crate::{DriverConfig, Kind, LinkConfig, Packet, Pair, Setup, null_packet};

/// Acts in one run: a call over the real engine takes milliseconds for each second.
const ACTS_MAX: usize = 64;

/// A session whose peer is gone ends within so long: it was connecting for 15 s at most, and a
/// stall of its driver may last for 8 s more.
const ENDS_WITHIN: Duration = Duration::from_secs(25);

/// Shorter than by default: silence is what a run spends most of its time on.
const CONNECTING: Duration = Duration::from_secs(15);
const LIVENESS: Duration = Duration::from_secs(2);
const DISCONNECTED: Duration = Duration::from_secs(4);

/// What the page's clock gains, ten times what crystals do: a run is short.
const DRIFT_PPM: i32 = 2_000;

/// The smallest MTU that a configuration takes.
const MTU_MIN: usize = 576;

/// A call between a session and a model browser, over the scripted wire or the real engine: the
/// links lose, double, reorder, cut and corrupt as the bytes say, and so do both sides speak,
/// offer again, stall, restart and leave; some drivers are late, some clocks drift. The pump's
/// checks hold, every log replays, and with the page gone the session ends, once, in time.
pub fn world(data: &[u8]) {
    let mut script = Script(data);
    let mut call = Call::new(&mut script);
    for _ in 0..ACTS_MAX {
        let Some(command) = script.command() else { break };
        call.act(command, &mut script);
        let mut samples = [0; 1_920];
        while call.pair.session.recv_audio(TrackId(0), &mut samples).is_some() {}
        while call.pair.session.recv_encoded(TrackId(1)).is_some() {}
        call.corrupted();
    }
    call.end();
}

struct Call {
    pair: Pair,
    /// Copies of datagrams that were corrupted on their way to the bot.
    corrupt: Arc<Mutex<Vec<Packet>>>,
    page_time: u64,
    port: u16,
    is_real: bool,
    is_gone: bool,
}

fn link(script: &mut Script<'_>) -> LinkConfig {
    let mut share = || f64::from(script.byte()) / 1_024.0;
    let (loss, duplicate, reorder) = (share(), share(), share());
    let milliseconds = |byte: u8| Duration::from_millis(u64::from(byte) / 2);
    LinkConfig {
        delay: milliseconds(script.byte()),
        jitter: milliseconds(script.byte()),
        loss,
        duplicate,
        reorder,
        mtu: if script.byte() < 8 { 600 } else { 1_500 },
        rate: match script.byte() {
            rate @ 1..=63 => Some(u64::from(rate) * 50_000),
            _ => None,
        },
        ..LinkConfig::clean()
    }
}

impl Call {
    fn new(script: &mut Script<'_>) -> Call {
        let (head, seed) = (script.byte(), u64::from(script.byte()));
        let kind = if head & 7 == 7 { Kind::Real } else { Kind::Scripted };
        let setup = Setup::new(kind, seed).untraced().browser(|browser| {
            browser.camera = head & 8 != 0;
            browser.screen = head & 16 != 0;
        });
        let setup = if seed & 32 != 0 { setup.driver(DriverConfig::sloppy()) } else { setup };
        let setup = if seed & 64 != 0 { setup.drift_ppm(DRIFT_PPM) } else { setup };
        let setup = if seed & 128 != 0 { setup.mtu(MTU_MIN) } else { setup };
        let setup = setup.config(|config| {
            config
                .connecting_timeout(CONNECTING)
                .liveness_timeout(LIVENESS)
                .disconnected_timeout(DISCONNECTED)
        });
        let setup = Setup {
            shuffles: head & 32 != 0,
            dawdles: head & 64 != 0,
            starts: head & 128 == 0,
            up: link(script),
            down: link(script),
            ..setup
        };
        let mut pair = Pair::new(setup);
        pair.negotiate().expect("the first offer is accepted");
        Call {
            pair,
            corrupt: Arc::default(),
            page_time: 0,
            port: 41_000,
            is_real: kind == Kind::Real,
            is_gone: false,
        }
    }

    fn act(&mut self, command: u8, script: &mut Script<'_>) {
        let now = self.pair.now();
        let pair = &mut self.pair;
        match command & 31 {
            0..=7 => {
                pair.drive_for(Duration::from_millis(u64::from(script.byte()) << (command & 3)))
            }
            8 => pair.stall(Duration::from_millis(u64::from(script.byte()) * 32)),
            9 => pair.up.set_config(link(script)),
            10 => pair.down.set_config(link(script)),
            11 => pair.up.set_down(script.byte() & 1 == 1),
            12 => pair.down.set_down(script.byte() & 1 == 1),
            13 if self.is_real => self.corrupt_some(script),
            14 => {
                let samples = vec![9; usize::from(script.short() & 0x3fff)];
                let _ = pair.send_audio(&samples, 24_000);
            }
            15 => drop(pair.session.clear_audio(now)),
            16 => {
                let bytes = Bytes::from(vec![b'x'; usize::from(script.short())]);
                let _ = pair.send_message(Message::Binary(bytes));
            }
            17 => {
                let time = pair.elapsed();
                let data = Bytes::from(vec![2; usize::from(script.short())]);
                let frame = EncodedFrame::new(Codec::Vp8, time, true, data);
                let _ = pair.session.send_encoded(TrackId(1), frame, now);
            }
            18 => pair.session.request_keyframe(TrackId(1), now),
            19 => pair.session.request_renegotiation(now),
            20 => pair.session.start(now),
            21 if script.byte() > 200 => pair.session.close(now),
            22 => pair.session.hold_events(script.byte() & 1 == 1),
            _ if self.is_gone => {}
            _ => self.page_acts(command, script),
        }
    }

    fn page_acts(&mut self, command: u8, script: &mut Script<'_>) {
        let now = self.pair.now();
        let pair = &mut self.pair;
        match command & 31 {
            23 => drop(pair.browser.send_text(&String::from_utf8_lossy(script.take()), now)),
            24 => drop(pair.browser.send_binary(&vec![3; usize::from(script.short())], now)),
            25 if command >> 5 == 7 => pair.browser.speak(null_packet(&[7, 8]), now),
            26 if command >> 5 == 7 => pair.browser.hush(),
            line @ (25 | 26) => {
                self.page_time += 960;
                pair.browser.send_media(line - 25, self.page_time, script.take(), now);
            }
            27 => pair.browser.request_keyframe(script.byte() & 1, now),
            28 if pair.browser.is_open() => pair.browser.open_channel("again", now),
            // Refused when the session has ended.
            29 => drop(pair.negotiate()),
            30 => {
                self.port += 1;
                drop(pair.restart_from_port(self.port));
            }
            31 if script.byte() > 200 => {
                self.is_gone = true;
                match script.byte() & 1 {
                    0 => pair.browser.hang_up(now),
                    _ => pair.browser.vanish(),
                }
            }
            _ => {}
        }
    }

    /// From now on one datagram in so many reaches the bot changed, instead of whole. Only over
    /// the real engine: nothing authenticates the script.
    fn corrupt_some(&mut self, script: &mut Script<'_>) {
        let (every, at, with) = (u32::from(script.byte() | 1), script.short(), script.byte() | 1);
        let (kept, mut count) = (self.corrupt.clone(), 0_u32);
        self.pair.up.lose(move |packet| {
            count += 1;
            let chosen = count % every == 0;
            if chosen {
                let mut bytes = packet.payload.to_vec();
                let at = usize::from(at) % bytes.len();
                bytes[at] ^= with;
                let packet = Packet { payload: bytes.into(), ..packet.clone() };
                kept.lock().expect("nothing panics with the lock held").push(packet);
            }
            chosen
        });
    }

    /// Delivers what was corrupted since.
    fn corrupted(&mut self) {
        let mut corrupt = self.corrupt.lock().expect("nothing panics with the lock held");
        let packets = std::mem::take(&mut *corrupt);
        drop(corrupt);
        for packet in packets {
            self.pair.inject(packet);
        }
    }

    /// The page is gone at last: the session has to notice.
    fn end(mut self) {
        self.pair.session.hold_events(false);
        self.pair.browser.vanish();
        self.pair.up.set_down(true);
        let (_, reason) = self.pair.drive_until_closed(ENDS_WITHIN);
        let ends = self.pair.events().filter(|event| matches!(event, Event::Closed { .. }));
        assert_eq!(ends.count(), 1);
        assert_ne!(reason, CloseReason::Internal, "the engine broke");
    }
}
