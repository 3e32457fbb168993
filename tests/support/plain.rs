//! A plain `str0m` engine in the page's place: a model of a browser.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Instant;

use str0m::change::{SdpAnswer, SdpPendingOffer};
use str0m::channel::ChannelId;
use str0m::media::{Direction, Frequency, MediaKind, MediaTime, Mid};
use str0m::net::{DatagramRecv, Protocol, Receive};
use str0m::{Candidate, Event, Input, Output, Rtc, RtcConfig};

use crate::page::{Heard, Stack};

pub(crate) struct Plain {
    rtc: Rtc,
    address: SocketAddr,
    pending: Option<SdpPendingOffer>,
    microphone: Option<Mid>,
    channel: Option<ChannelId>,
    packets: VecDeque<(SocketAddr, Vec<u8>)>,
    heard: VecDeque<Heard>,
    timeout: Option<Instant>,
}

impl Plain {
    pub(crate) fn new(address: SocketAddr) -> Plain {
        let mut rtc =
            RtcConfig::new().clear_codecs().enable_opus(true, false).build(Instant::now());
        rtc.add_local_candidate(Candidate::host(address, "udp").unwrap());
        Plain {
            rtc,
            address,
            pending: None,
            microphone: None,
            channel: None,
            packets: VecDeque::new(),
            heard: VecDeque::new(),
            timeout: None,
        }
    }

    /// Offers an ICE restart from another address.
    #[allow(dead_code, reason = "not every suite changes addresses")]
    pub(crate) fn restart(&mut self, address: SocketAddr, now: Instant) -> String {
        self.handle_timeout(now);
        self.address = address;
        self.rtc.add_local_candidate(Candidate::host(address, "udp").unwrap());
        let mut api = self.rtc.sdp_api();
        api.ice_restart(true);
        let (offer, pending) = api.apply().unwrap();
        self.pending = Some(pending);
        self.drain();
        offer.to_sdp_string()
    }

    fn drain(&mut self) {
        self.timeout = None;
        while self.rtc.is_alive() {
            match self.rtc.poll_output().unwrap() {
                Output::Timeout(at) => {
                    self.timeout = Some(at);
                    return;
                }
                Output::Transmit(transmit) => {
                    self.packets.push_back((transmit.destination, transmit.contents.into()));
                }
                Output::Event(event) => self.translate(event),
            }
        }
    }

    fn translate(&mut self, event: Event) {
        self.heard.push_back(match event {
            Event::ChannelOpen(id, _) => {
                self.channel = Some(id);
                Heard::Open
            }
            Event::ChannelData(data) => Heard::Message(String::from_utf8(data.data).unwrap()),
            Event::Closed => Heard::Closed,
            Event::MediaData(media) => Heard::Audio(media.data.to_vec()),
            _ => return,
        });
    }
}

impl Stack for Plain {
    fn offer(&mut self, _: Instant) -> String {
        let mut api = self.rtc.sdp_api();
        let direction = Direction::SendRecv;
        self.microphone = Some(api.add_media(MediaKind::Audio, direction, None, None, None));
        api.add_channel("chat".to_owned());
        let (offer, pending) = api.apply().unwrap();
        self.pending = Some(pending);
        self.drain();
        offer.to_sdp_string()
    }

    fn accept_answer(&mut self, sdp: &str, _: Instant) {
        let answer = SdpAnswer::from_sdp_string(sdp).unwrap();
        let pending = self.pending.take().unwrap();
        self.rtc.sdp_api().accept_answer(pending, answer).unwrap();
        self.drain();
    }

    fn receive(&mut self, source: SocketAddr, payload: &[u8], now: Instant) {
        let contents = DatagramRecv::try_from(payload).unwrap();
        let destination = self.address;
        let receive = Receive { proto: Protocol::Udp, source, destination, contents };
        self.rtc.handle_input(Input::Receive(now, receive)).unwrap();
        self.drain();
    }

    fn handle_timeout(&mut self, now: Instant) {
        self.rtc.handle_input(Input::Timeout(now)).unwrap();
        self.drain();
    }

    fn poll_timeout(&mut self) -> Option<Instant> {
        self.timeout
    }

    fn poll_packet(&mut self) -> Option<(SocketAddr, Vec<u8>)> {
        self.packets.pop_front()
    }

    fn poll_heard(&mut self) -> Option<Heard> {
        self.heard.pop_front()
    }

    fn send_text(&mut self, text: &str, now: Instant) {
        self.handle_timeout(now);
        let mut channel = self.rtc.channel(self.channel.unwrap()).unwrap();
        assert!(channel.write(false, text.as_bytes()).unwrap());
        self.drain();
    }

    fn send_opus(&mut self, number: u64, payload: &[u8], now: Instant) {
        self.handle_timeout(now);
        let writer = self.rtc.writer(self.microphone.unwrap()).unwrap();
        let pt = writer.payload_params().next().unwrap().pt();
        let time = MediaTime::new(number * 960, Frequency::FORTY_EIGHT_KHZ);
        writer.write(pt, now, time, payload.to_vec()).unwrap();
        self.drain();
    }

    fn close(&mut self, now: Instant) {
        self.handle_timeout(now);
        self.rtc.close().unwrap();
        self.drain();
    }
}
