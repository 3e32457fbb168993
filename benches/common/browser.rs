//! A browser: the engine without anything around it, that offers audio and a data channel.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use str0m::change::{SdpAnswer, SdpPendingOffer};
use str0m::config::DtlsVersion;
use str0m::media::{Direction, Frequency, MediaKind, MediaTime, Mid, Pt};
use str0m::net::{Protocol, Receive};
use str0m::rtp::Extension;
use str0m::{Candidate, Event, Input, Output, Rtc, RtcConfig};

use super::{browser_address, server_address};

/// The engine as a session of this crate configures it (`src/transport/real/negotiate.rs`), so
/// that what differs between the sides is what stands above it. The exception is the DTLS
/// configuration, which sessions share: it costs or saves at connecting only. Transport-wide
/// congestion control is missing because a session takes it out of audio lines: with it the
/// baseline would carry more datagrams than what is compared to it.
pub fn engine(now: Instant) -> Rtc {
    let mut config = RtcConfig::new()
        .set_dtls_version(DtlsVersion::Auto)
        .clear_codecs()
        .enable_opus(true, false)
        .enable_vp8(true)
        .clear_extension_map()
        .set_extension(1, Extension::AudioLevel)
        .set_extension(4, Extension::RtpMid)
        .set_reordering_size_audio(0)
        .set_sctp_max_buffered_amount(512 * 1024)
        .set_sctp_max_message_size(256 * 1024)
        .set_stats_interval(Some(Duration::from_secs(1)))
        .set_mtu(1150..=usize::MAX);
    config.codec_config().add_h264(127.into(), Some(121.into()), true, 0x42_001f);
    config.codec_config().add_h264(108.into(), Some(109.into()), true, 0x42_e01f);
    config.build(now)
}

/// The payload type that Opus was negotiated with.
pub fn payload_type(rtc: &mut Rtc, mid: Mid) -> Pt {
    let writer = rtc.writer(mid).expect("negotiated");
    writer.payload_params().next().expect("Opus was negotiated").pt()
}

/// Writes one audio frame, with the level that every browser tells.
pub fn write(rtc: &mut Rtc, (mid, pt): (Mid, Pt), rtp_time: u64, frame: &[u8], now: Instant) {
    let writer = rtc.writer(mid).expect("negotiated").audio_level(-30, true);
    let time = MediaTime::new(rtp_time, Frequency::FORTY_EIGHT_KHZ);
    writer.write(pt, now, time, frame).expect("the engine is drained after each write");
}

/// One caller.
pub struct Browser {
    rtc: Rtc,
    mid: Mid,
    pt: Option<Pt>,
    address: SocketAddr,
    pending: Option<SdpPendingOffer>,
    rtp_time: u64,
    timeout: Instant,
    channel_is_open: bool,
    /// Packets of sound that came.
    pub heard: u64,
    /// What it sent and nobody fetched yet.
    pub outbox: Vec<Vec<u8>>,
}

impl Browser {
    /// A browser and its offer.
    pub fn new(index: usize, now: Instant) -> (Browser, String) {
        let mut rtc = engine(now);
        let address = browser_address(index);
        rtc.add_local_candidate(Candidate::host(address, "udp").expect("a legal address"));
        let mut api = rtc.sdp_api();
        let mid = api.add_media(MediaKind::Audio, Direction::SendRecv, None, None, None);
        api.add_channel("chat".to_owned());
        let (offer, pending) = api.apply().expect("there is something to offer");
        let mut browser = Browser {
            rtc,
            mid,
            pt: None,
            address,
            pending: Some(pending),
            rtp_time: 0,
            timeout: now,
            channel_is_open: false,
            heard: 0,
            outbox: Vec::new(),
        };
        browser.drain(now);
        (browser, offer.to_sdp_string())
    }

    pub fn accept(&mut self, answer: &str, now: Instant) {
        let answer = SdpAnswer::from_sdp_string(answer).expect("the answer is SDP");
        let pending = self.pending.take().expect("an offer is answered once");
        self.rtc.sdp_api().accept_answer(pending, answer).expect("the answer fits the offer");
        self.drain(now);
    }

    pub fn is_ready(&self) -> bool {
        self.rtc.is_connected() && self.channel_is_open
    }

    pub fn speak(&mut self, frame: &[u8], now: Instant) {
        let pt = *self.pt.get_or_insert_with(|| payload_type(&mut self.rtc, self.mid));
        write(&mut self.rtc, (self.mid, pt), self.rtp_time, frame, now);
        self.rtp_time += 960;
        self.drain(now);
    }

    pub fn receive(&mut self, payload: &[u8], now: Instant) {
        let receive = Receive::new(Protocol::Udp, server_address(), self.address, payload)
            .expect("the server sends what WebRTC sends");
        self.rtc.handle_input(Input::Receive(now, receive)).expect("the server sends no rubbish");
        self.drain(now);
    }

    pub fn wake(&mut self, now: Instant) {
        while self.timeout <= now {
            self.rtc.handle_input(Input::Timeout(now)).expect("time passes");
            self.drain(now);
        }
    }

    fn drain(&mut self, now: Instant) {
        loop {
            match self.rtc.poll_output().expect("the engine goes on") {
                Output::Timeout(at) => {
                    self.timeout = at;
                    return self.wake(now);
                }
                Output::Transmit(transmit) => self.outbox.push(transmit.contents.into()),
                Output::Event(Event::ChannelOpen(..)) => self.channel_is_open = true,
                Output::Event(Event::MediaData(_)) => self.heard += 1,
                Output::Event(_) => {}
            }
        }
    }
}
