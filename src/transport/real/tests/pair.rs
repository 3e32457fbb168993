//! A bot and a browser with 10 ms between them.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use str0m::change::{SdpAnswer, SdpPendingOffer};
use str0m::channel::ChannelId as EngineChannel;
use str0m::media::{Direction, MediaKind as EngineKind, MediaTime, Mid};
use str0m::net::{Protocol, Receive};
use str0m::{Candidate, Event, Input, Output as EngineOutput, Rtc, RtcConfig};

use crate::transport::real::rng::SessionRng;
use crate::transport::real::{Real, dtls};
use crate::transport::{
    IceCredentials, MediaWrite, Negotiated, Transport, TransportEvent, TransportSetup,
};
use crate::{Codec, Config, Datagram, LocalCandidate, NegotiateError, Offer, TransportId};

pub(super) const BOT: &str = "192.0.2.1:3478";
pub(super) const BROWSER: &str = "198.51.100.7:50000";
const LATENCY: Duration = Duration::from_millis(10);

/// One datagram on the wire.
#[derive(Clone, Debug)]
pub(super) struct Packet {
    pub(super) at: Instant,
    pub(super) source: SocketAddr,
    pub(super) destination: SocketAddr,
    pub(super) payload: Bytes,
}

pub(super) struct Browser {
    pub(super) rtc: Rtc,
    rng: SessionRng,
    pub(super) address: SocketAddr,
    pub(super) events: Vec<Event>,
    timeout: Option<Instant>,
}

pub(super) struct Pair {
    pub(super) now: Instant,
    pub(super) start: Instant,
    pub(super) bot: Real,
    pub(super) browser: Browser,
    pub(super) events: Vec<TransportEvent>,
    /// All that the bot has sent.
    pub(super) sent: Vec<Packet>,
    pub(super) wire: VecDeque<Packet>,
    restarts: u32,
}

pub(super) fn credentials(number: u32) -> IceCredentials {
    IceCredentials {
        ufrag: format!("AAAAAAAAAAAAAAAAAA{number:02}"),
        pwd: format!("a-password-of-128-bits-{number:02}"),
    }
}

pub(super) fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

pub(super) fn bot(config: &Config, seed: u64) -> Real {
    let setup = TransportSetup { credentials: credentials(0), public_seed: seed };
    Real::new(config, setup)
}

#[expect(clippy::disallowed_methods, reason = "virtual time has to begin somewhere")]
pub(super) fn epoch() -> Instant {
    Instant::now()
}

impl Browser {
    fn new(now: Instant, change: impl FnOnce(RtcConfig) -> RtcConfig) -> Browser {
        let mut rng = SessionRng::new(0xb);
        let rtc = {
            let _entered = rng.enter();
            let config = RtcConfig::new()
                .set_crypto_provider(Arc::new(dtls::crypto_provider(true)))
                .set_sctp_max_buffered_amount(1 << 20);
            let mut rtc = change(config).build(now);
            rtc.add_local_candidate(Candidate::host(address(BROWSER), "udp").unwrap());
            rtc
        };
        Browser { rtc, rng, address: address(BROWSER), events: Vec::new(), timeout: Some(now) }
    }

    /// Makes an offer; `change` says what it adds.
    pub(super) fn offer(
        &mut self,
        change: impl FnOnce(&mut str0m::change::SdpApi<'_>),
    ) -> (String, SdpPendingOffer) {
        let _entered = self.rng.enter();
        let mut api = self.rtc.sdp_api();
        change(&mut api);
        let (offer, pending) = api.apply().unwrap();
        (offer.to_sdp_string(), pending)
    }

    pub(super) fn accept(&mut self, pending: SdpPendingOffer, negotiated: &Negotiated) {
        let answer = SdpAnswer::from_sdp_string(negotiated.answer.sdp()).unwrap();
        let _entered = self.rng.enter();
        self.rtc.sdp_api().accept_answer(pending, answer).unwrap();
    }

    fn run(&mut self, now: Instant, packets: &mut VecDeque<Packet>, change: impl FnOnce(&mut Rtc)) {
        let _entered = self.rng.enter();
        change(&mut self.rtc);
        for _ in 0..100_000 {
            match self.rtc.poll_output().unwrap() {
                EngineOutput::Timeout(at) if at <= now => {
                    self.rtc.handle_input(Input::Timeout(now)).unwrap();
                }
                EngineOutput::Timeout(at) => return self.timeout = Some(at),
                EngineOutput::Transmit(transmit) => packets.push_back(Packet {
                    at: now + LATENCY,
                    source: self.address,
                    destination: transmit.destination,
                    payload: Vec::from(transmit.contents).into(),
                }),
                EngineOutput::Event(event) => self.events.push(event),
            }
        }
        panic!("the browser never comes to rest");
    }

    pub(super) fn channel(&self) -> EngineChannel {
        let open = self.events.iter().find_map(|event| match event {
            Event::ChannelOpen(channel, _) => Some(*channel),
            _ => None,
        });
        open.expect("the channel is open")
    }

    /// What arrived on channels.
    pub(super) fn messages(&self) -> Vec<(bool, &[u8])> {
        let messages = self.events.iter().filter_map(|event| match event {
            Event::ChannelData(data) => Some((data.binary, &data.data[..])),
            _ => None,
        });
        messages.collect()
    }

    /// RTP times and payloads that arrived.
    pub(super) fn media(&self) -> Vec<(u64, Vec<u8>)> {
        let media = self.events.iter().filter_map(|event| match event {
            Event::MediaData(data) => Some((data.time.numer(), data.data.to_vec())),
            _ => None,
        });
        media.collect()
    }
}

pub(super) fn audio(api: &mut str0m::change::SdpApi<'_>) -> Mid {
    api.add_media(EngineKind::Audio, Direction::SendRecv, None, None, None)
}

pub(super) fn video(api: &mut str0m::change::SdpApi<'_>) -> Mid {
    api.add_media(EngineKind::Video, Direction::SendRecv, None, None, None)
}

impl Pair {
    /// Not yet connected; the bot has one address.
    pub(super) fn new(config: &Config, seed: u64) -> Pair {
        Pair::with_browser(config, seed, |browser| browser)
    }

    /// With a browser that differs from the engine's defaults.
    pub(super) fn with_browser(
        config: &Config,
        seed: u64,
        change: impl FnOnce(RtcConfig) -> RtcConfig,
    ) -> Pair {
        let start = epoch();
        let mut bot = bot(config, seed);
        bot.add_local_candidate(LocalCandidate::host(TransportId(3), address(BOT)), start);
        Pair {
            now: start,
            start,
            bot,
            browser: Browser::new(start, change),
            events: Vec::new(),
            sent: Vec::new(),
            wire: VecDeque::new(),
            restarts: 0,
        }
    }

    /// With audio and a data channel, connected.
    pub(super) fn connected(config: &Config) -> Pair {
        let mut pair = Pair::new(config, 1);
        pair.negotiate(|api| {
            audio(api);
            api.add_channel("any label".to_owned());
        });
        pair.run_for(Duration::from_secs(1));
        assert!(pair.events.contains(&TransportEvent::Connected), "{:?}", pair.events);
        pair
    }

    pub(super) fn offered(&mut self, sdp: &str) -> Result<Negotiated, NegotiateError> {
        self.restarts += 1;
        self.bot.accept_offer(&Offer::parse(sdp)?, credentials(self.restarts), self.now)
    }

    pub(super) fn negotiate(
        &mut self,
        change: impl FnOnce(&mut str0m::change::SdpApi<'_>),
    ) -> Negotiated {
        let (offer, pending) = self.browser.offer(change);
        let negotiated = self.offered(&offer).unwrap();
        self.browser.accept(pending, &negotiated);
        self.browser_do(|_| ());
        negotiated
    }

    pub(super) fn browser_do(&mut self, change: impl FnOnce(&mut Rtc)) {
        self.browser.run(self.now, &mut self.wire, change);
        self.flush();
    }

    pub(super) fn flush(&mut self) {
        while let Some(transmit) = self.bot.poll_transmit() {
            assert_eq!(transmit.transport, TransportId(3));
            let packet = Packet {
                at: self.now + LATENCY,
                source: transmit.source,
                destination: transmit.destination,
                payload: transmit.payload,
            };
            self.sent.push(packet.clone());
            self.wire.push_back(packet);
        }
        while let Some(event) = self.bot.poll_event() {
            self.events.push(event);
        }
    }

    fn deliver(&mut self, packet: Packet) {
        let Packet { source, destination, payload, .. } = packet;
        if destination == self.browser.address {
            let Ok(receive) = Receive::new(Protocol::Udp, source, destination, &payload) else {
                panic!("the bot sent what nobody reads");
            };
            let now = self.now;
            self.browser.run(now, &mut self.wire, |rtc| {
                rtc.handle_input(Input::Receive(now, receive)).unwrap();
            });
        } else if destination == address(BOT) {
            let datagram = Datagram::udp(TransportId(3), source, destination, payload);
            let _ = self.bot.handle_datagram(datagram, self.now);
        }
    }

    /// Lets time pass, jumping from one thing that happens to the next.
    pub(super) fn run_for(&mut self, duration: Duration) {
        let end = self.now + duration;
        for _ in 0..1_000_000 {
            self.flush();
            let next = self.wire.iter().map(|packet| packet.at);
            let next = next.chain(self.bot.poll_timeout()).chain(self.browser.timeout).min();
            let Some(next) = next.filter(|next| *next <= end) else {
                self.now = end;
                return;
            };
            self.now = self.now.max(next);
            let now = self.now;
            if self.bot.poll_timeout().is_some_and(|at| at <= now) {
                self.bot.handle_timeout(now);
            }
            if self.browser.timeout.is_some_and(|at| at <= now) {
                self.browser.run(now, &mut self.wire, |rtc| {
                    rtc.handle_input(Input::Timeout(now)).unwrap();
                });
            }
            while let Some(index) = self.wire.iter().position(|packet| packet.at <= now) {
                let packet = self.wire.remove(index).unwrap();
                self.deliver(packet);
            }
        }
        panic!("time does not pass");
    }

    /// Sends frames of 20 ms from the bot; their payload is their number.
    pub(super) fn bot_speaks(&mut self, frames: std::ops::Range<u64>) {
        for frame in frames {
            let number = frame.to_be_bytes();
            let write = frame_of(frame, &number);
            assert_eq!(
                self.bot.write_media(&write, self.now),
                crate::transport::MediaWritten::Taken
            );
            self.run_for(Duration::from_millis(20));
        }
    }

    pub(super) fn browser_speaks(&mut self, mid: Mid, frames: std::ops::Range<u64>) {
        for frame in frames {
            let now = self.now;
            self.browser_do(|rtc| {
                let writer = rtc.writer(mid).unwrap().audio_level(-30, true);
                let pt = writer.payload_params().next().unwrap().pt();
                let time = MediaTime::new(frame * 960, str0m::media::Frequency::FORTY_EIGHT_KHZ);
                writer.write(pt, now, time, frame.to_be_bytes().to_vec()).unwrap();
            });
            self.run_for(Duration::from_millis(20));
        }
    }

    pub(super) fn count(&self, matches: impl Fn(&TransportEvent) -> bool) -> usize {
        self.events.iter().filter(|event| matches(event)).count()
    }
}

/// The frame with a number, by which it is known again.
pub(super) fn frame_of(frame: u64, data: &[u8]) -> MediaWrite<'_> {
    MediaWrite {
        line: 0,
        codec: Codec::Opus,
        rtp_time: frame * 960,
        talkspurt: frame == 0,
        voice: Some(true),
        level: Some(40),
        redundant: false,
        data,
    }
}
