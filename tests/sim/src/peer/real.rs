//! A plain `str0m` engine in the browser's place.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use str0m::change::{SdpAnswer, SdpPendingOffer};
use str0m::channel::ChannelId;
use str0m::config::{DtlsCert, DtlsVersion};
use str0m::format::Codec;
use str0m::media::{Direction, Frequency, KeyframeRequestKind, MediaKind, MediaTime, Mid};
use str0m::net::{DatagramRecv, Protocol, Receive};
use str0m::{Candidate, Event, Input, Output, Rtc, RtcConfig};

use super::{Peer, dtls};
use crate::{BrowserConfig, BrowserEvent, Dtls, Packet};

/// What can be sent again: the engine's own figures.
const RTX_CACHE_PACKETS: usize = 1024;
const RTX_CACHE_AGE: Duration = Duration::from_secs(3);

/// Engine timeouts further away than this mean never.
const NEVER: Duration = Duration::from_secs(365 * 24 * 3600);

#[derive(Debug)]
pub(super) struct Real {
    rtc: Rtc,
    random: u64,
    address: SocketAddr,
    wanted: Vec<Wanted>,
    label: Option<String>,
    mids: Vec<Mid>,
    /// How many of them repair without a limit.
    unlimited: usize,
    offered: String,
    pending: Option<SdpPendingOffer>,
    channels: Vec<ChannelId>,
    packets: VecDeque<Packet>,
    events: VecDeque<BrowserEvent>,
    timeout: Option<Instant>,
}

/// An m-line of the first offer.
#[derive(Clone, Copy, Debug)]
struct Wanted {
    kind: MediaKind,
    direction: Direction,
}

impl Real {
    pub(super) fn new(config: &BrowserConfig, now: Instant) -> Real {
        let mut wanted = Vec::new();
        for (is_wanted, kind, direction) in [
            (config.audio, MediaKind::Audio, Direction::SendRecv),
            (config.camera, MediaKind::Video, Direction::SendRecv),
            (config.screen, MediaKind::Video, Direction::SendOnly),
        ] {
            if is_wanted {
                wanted.push(Wanted { kind, direction });
            }
        }
        let mut random = config.seed;
        let rtc = with_random(&mut random, || engine(config, now));
        Real {
            rtc,
            random,
            address: config.address,
            wanted,
            label: config.channel.clone(),
            mids: Vec::new(),
            unlimited: 0,
            offered: String::new(),
            pending: None,
            channels: Vec::new(),
            packets: VecDeque::new(),
            events: VecDeque::new(),
            timeout: Some(now),
        }
    }

    /// Runs one mutation with this browser's generator, and drains the engine.
    fn mutate<T>(&mut self, mutation: impl FnOnce(&mut Rtc) -> T) -> T {
        let mut random = self.random;
        let result = with_random(&mut random, || {
            let result = mutation(&mut self.rtc);
            self.drain();
            result
        });
        self.random = random;
        result
    }

    fn drain(&mut self) {
        while self.rtc.is_alive() {
            match self.rtc.poll_output() {
                Ok(Output::Timeout(at)) => {
                    let never = crate::start() + NEVER;
                    self.timeout = (at < never).then_some(at);
                    return;
                }
                // What a closed socket would have sent is gone with it.
                Ok(Output::Transmit(transmit)) if transmit.source == self.address => {
                    self.packets.push_back(Packet {
                        source: transmit.source,
                        destination: transmit.destination,
                        payload: Vec::from(transmit.contents).into(),
                    });
                }
                Ok(Output::Transmit(_)) => {}
                Ok(Output::Event(event)) => self.translate(event),
                Err(_) => self.fail(),
            }
        }
        self.timeout = None;
    }

    fn fail(&mut self) {
        self.rtc.disconnect();
        self.timeout = None;
        self.events.push_back(BrowserEvent::Failed);
    }

    fn translate(&mut self, event: Event) {
        let event = match event {
            Event::Connected => BrowserEvent::Connected,
            Event::ChannelOpen(id, _) => {
                self.channels.push(id);
                BrowserEvent::ChannelOpen
            }
            Event::ChannelClose(id) => {
                self.channels.retain(|channel| *channel != id);
                BrowserEvent::ChannelClosed
            }
            Event::ChannelData(data) => {
                BrowserEvent::Message { binary: data.binary, data: data.data }
            }
            Event::MediaData(media) => {
                let Some(line) = self.line(media.mid) else { return };
                BrowserEvent::Media {
                    line,
                    seq: **media.seq_range.end(),
                    time: match media.params.spec().codec {
                        // The engine tells it in samples, of which RTP counts every other one.
                        Codec::G722 => media.time.rebase(Frequency::EIGHT_KHZ).numer(),
                        _ => media.time.numer(),
                    },
                    data: media.data.to_vec().into(),
                }
            }
            Event::KeyframeRequest(request) => {
                let Some(line) = self.line(request.mid) else { return };
                BrowserEvent::KeyframeRequest { line }
            }
            Event::Closed => BrowserEvent::HungUp,
            _ => return,
        };
        self.events.push_back(event);
    }

    fn line(&self, mid: Mid) -> Option<u8> {
        let line = self.mids.iter().position(|of_line| *of_line == mid)?;
        u8::try_from(line).ok()
    }

    /// Browsers repair whatever share of a stream is lost, the engine by default 15 %.
    fn repair_without_limit(&mut self) {
        let Real { rtc, mids, unlimited, .. } = self;
        for mid in &mids[*unlimited..] {
            if let Some(stream) = rtc.direct_api().stream_tx_by_mid(*mid, None) {
                stream.set_rtx_cache(RTX_CACHE_PACKETS, RTX_CACHE_AGE, None);
            }
        }
        *unlimited = mids.len();
    }

    /// Applies changes that need an offer.
    fn negotiate(&mut self, change: impl FnOnce(&mut str0m::change::SdpApi<'_>)) -> String {
        let (offer, pending) = self.mutate(|rtc| {
            let mut api = rtc.sdp_api();
            change(&mut api);
            api.apply().expect("something to negotiate")
        });
        self.pending = Some(pending);
        self.offered = offer.to_sdp_string();
        self.offered.clone()
    }
}

impl Peer for Real {
    fn offer(&mut self, now: Instant) -> String {
        self.handle_timeout(now);
        let (wanted, label) = (std::mem::take(&mut self.wanted), self.label.take());
        if wanted.is_empty() && label.is_none() {
            // The engine makes no offer without a change, browsers do: the same once more.
            return self.offered.clone();
        }
        let mut mids = Vec::new();
        let offer = self.negotiate(|api| {
            for Wanted { kind, direction } in wanted {
                mids.push(api.add_media(kind, direction, None, None, None));
            }
            if let Some(label) = label {
                api.add_channel(label);
            }
        });
        self.mids.extend(mids);
        offer
    }

    fn restart(&mut self, address: SocketAddr, now: Instant) -> String {
        self.handle_timeout(now);
        self.address = address;
        self.mutate(|rtc| {
            rtc.add_local_candidate(host(address));
        });
        self.negotiate(|api| {
            api.ice_restart(true);
        })
    }

    fn accept_answer(&mut self, sdp: &str, now: Instant) {
        self.handle_timeout(now);
        let answer = SdpAnswer::from_sdp_string(sdp).expect("an answer that can be read");
        let Some(pending) = self.pending.take() else { return };
        self.mutate(|rtc| rtc.sdp_api().accept_answer(pending, answer))
            .expect("an answer that fits the offer");
        self.repair_without_limit();
    }

    fn handle_packet(&mut self, packet: Packet, now: Instant) {
        if packet.destination != self.address {
            return;
        }
        let Ok(contents) = DatagramRecv::try_from(&packet.payload[..]) else { return };
        let (source, destination) = (packet.source, packet.destination);
        let receive = Receive { proto: Protocol::Udp, source, destination, contents };
        if self.mutate(|rtc| rtc.handle_input(Input::Receive(now, receive))).is_err() {
            self.fail();
        }
    }

    fn handle_timeout(&mut self, now: Instant) {
        if self.mutate(|rtc| rtc.handle_input(Input::Timeout(now))).is_err() {
            self.fail();
        }
    }

    fn packets(&mut self) -> &mut VecDeque<Packet> {
        &mut self.packets
    }

    fn events(&mut self) -> &mut VecDeque<BrowserEvent> {
        &mut self.events
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.timeout
    }

    fn open_channel(&mut self, label: &str, now: Instant) {
        self.handle_timeout(now);
        let label = label.to_owned();
        // The association is there, so nothing has to be negotiated.
        let offer = self.mutate(|rtc| {
            let mut api = rtc.sdp_api();
            api.add_channel(label);
            api.apply()
        });
        assert!(offer.is_none(), "one more channel needs no offer");
    }

    fn write_message(&mut self, binary: bool, data: &[u8], now: Instant) -> bool {
        self.handle_timeout(now);
        let Some(id) = self.channels.last().copied() else { return false };
        self.mutate(|rtc| match rtc.channel(id) {
            Some(mut channel) => channel.write(binary, data).unwrap_or(false),
            None => false,
        })
    }

    fn write_media(
        &mut self,
        line: u8,
        codec: Option<smallrtc::Codec>,
        time: u64,
        data: &[u8],
        now: Instant,
    ) -> bool {
        self.handle_timeout(now);
        let Some(mid) = self.mids.get(usize::from(line)).copied() else { return false };
        // What waits in the engine for a path goes out in hash order of its lines then.
        if !self.rtc.is_connected() {
            return false;
        }
        let taken = self.mutate(|rtc| {
            let Some(writer) = rtc.writer(mid) else { return false };
            let is_wanted = |known| codec.is_none_or(|codec| sound(codec) == known);
            let agreed = writer.payload_params().find(|params| is_wanted(params.spec().codec));
            let Some(params) = agreed else { return false };
            let pt = params.pt();
            let clock = match params.spec().codec {
                Codec::Opus => Frequency::FORTY_EIGHT_KHZ,
                Codec::PCMU | Codec::PCMA | Codec::G722 => Frequency::EIGHT_KHZ,
                _ => Frequency::NINETY_KHZ,
            };
            writer.write(pt, now, MediaTime::new(time, clock), data.to_vec()).is_ok()
        });
        // The engine makes packets of frames when time passes.
        self.handle_timeout(now);
        taken
    }

    fn request_keyframe(&mut self, line: u8, now: Instant) {
        self.handle_timeout(now);
        let Some(mid) = self.mids.get(usize::from(line)).copied() else { return };
        self.mutate(|rtc| {
            if let Some(mut writer) = rtc.writer(mid) {
                // Refused while nothing was received: there is nothing to ask for then.
                let _ = writer.request_keyframe(None, KeyframeRequestKind::Pli);
            }
        });
    }

    fn hang_up(&mut self, now: Instant) {
        self.handle_timeout(now);
        // Refused while SCTP is on its way: then the page is gone without a word.
        if self.mutate(|rtc| rtc.close()).is_err() {
            self.rtc.disconnect();
            self.timeout = None;
        }
    }
}

fn engine(config: &BrowserConfig, now: Instant) -> Rtc {
    let rtc = RtcConfig::new()
        .set_crypto_provider(Arc::new(dtls::crypto_provider()))
        .set_dtls_version(match config.dtls {
            Dtls::V12 => DtlsVersion::Dtls12,
            Dtls::V13 => DtlsVersion::Dtls13,
            Dtls::Auto => DtlsVersion::Auto,
        })
        .set_snap_enabled(config.snap)
        .set_dtls_cert(DtlsCert {
            certificate: include_bytes!("../../fixtures/page.cert.der").to_vec(),
            private_key: include_bytes!("../../fixtures/page.key.der").to_vec(),
        })
        .clear_codecs()
        .enable_vp8(true)
        .enable_h264(true)
        .set_reordering_size_audio(0)
        .set_sctp_max_buffered_amount(512 * 1024)
        .set_mtu(config.mtu..=usize::MAX);
    let rtc = config.sounds.iter().fold(rtc, |rtc, codec| match sound(*codec) {
        Codec::PCMU => rtc.enable_pcmu(true, false),
        Codec::PCMA => rtc.enable_pcma(true, false),
        Codec::G722 => rtc.enable_g722(true, false),
        _ => rtc.enable_opus(true, config.copies),
    });
    let mut rtc = rtc.build(now);
    rtc.add_local_candidate(host(config.address));
    rtc
}

/// The engine's name of a codec of sound.
fn sound(codec: smallrtc::Codec) -> Codec {
    match codec {
        smallrtc::Codec::Pcmu => Codec::PCMU,
        smallrtc::Codec::Pcma => Codec::PCMA,
        smallrtc::Codec::G722 => Codec::G722,
        _ => Codec::Opus,
    }
}

fn host(address: SocketAddr) -> Candidate {
    Candidate::host(address, "udp").expect("an address that can be a candidate")
}

/// The engine draws from a thread's generator: put this browser's in its place for a while.
fn with_random<T>(random: &mut u64, work: impl FnOnce() -> T) -> T {
    let outer = fastrand::get_seed();
    fastrand::seed(*random);
    let result = work();
    *random = fastrand::get_seed();
    fastrand::seed(outer);
    result
}
