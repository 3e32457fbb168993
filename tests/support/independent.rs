//! The `rtc` crate in the page's place: a stack that shares no code with this side's engine.

use std::net::SocketAddr;
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use rtc::data_channel::RTCDataChannelId;
use rtc::interceptor::Registry;
use rtc::media_stream::MediaStreamTrack;
use rtc::peer_connection::configuration::RTCConfigurationBuilder;
use rtc::peer_connection::configuration::interceptor_registry::register_default_interceptors;
use rtc::peer_connection::configuration::media_engine::{MIME_TYPE_OPUS, MediaEngine};
use rtc::peer_connection::event::{RTCDataChannelEvent, RTCPeerConnectionEvent};
use rtc::peer_connection::message::{RTCMessage, TaggedRTCMessage};
use rtc::peer_connection::sdp::RTCSessionDescription;
use rtc::peer_connection::transport::{CandidateConfig, CandidateHostConfig, RTCIceCandidate};
use rtc::peer_connection::{RTCPeerConnection, RTCPeerConnectionBuilder};
use rtc::rtp;
use rtc::rtp_transceiver::RTCRtpSenderId;
use rtc::rtp_transceiver::rtp_sender::{
    RTCRtpCodec, RTCRtpCodecParameters, RTCRtpCodingParameters, RTCRtpEncodingParameters,
    RtpCodecKind,
};
use rtc::sansio::Protocol;
use rtc::shared::{TaggedBytesMut, TransportContext, TransportProtocol};

use crate::page::{Heard, Stack};

const SSRC: u32 = 0x5EED;

pub(crate) struct Independent {
    peer: RTCPeerConnection,
    address: SocketAddr,
    microphone: RTCRtpSenderId,
    channel: Option<RTCDataChannelId>,
}

impl Independent {
    pub(crate) fn new(address: SocketAddr) -> Independent {
        let opus = RTCRtpCodec {
            mime_type: MIME_TYPE_OPUS.to_owned(),
            clock_rate: 48_000,
            channels: 2,
            sdp_fmtp_line: "minptime=10;useinbandfec=1".to_owned(),
            rtcp_feedback: vec![],
        };
        let mut media = MediaEngine::default();
        let codec = RTCRtpCodecParameters { rtp_codec: opus.clone(), payload_type: 111 };
        media.register_codec(codec, RtpCodecKind::Audio).unwrap();
        let registry = register_default_interceptors(Registry::new(), &mut media).unwrap();
        let mut peer = RTCPeerConnectionBuilder::new()
            .with_configuration(RTCConfigurationBuilder::new().build())
            .with_media_engine(media)
            .with_interceptor_registry(registry)
            .build(Instant::now())
            .unwrap();
        let microphone = peer.add_track(track(opus)).unwrap();
        peer.create_data_channel("chat", None).unwrap();
        Independent { peer, address, microphone, channel: None }
    }
}

impl Stack for Independent {
    fn offer(&mut self, now: Instant) -> String {
        let offer = self.peer.create_offer(None).unwrap();
        self.peer.set_local_description(now, offer).unwrap();
        let candidate = CandidateHostConfig {
            base_config: CandidateConfig {
                network: "udp".to_owned(),
                address: self.address.ip().to_string(),
                port: self.address.port(),
                component: 1,
                ..Default::default()
            },
            ..Default::default()
        };
        let candidate = candidate.new_candidate_host().unwrap();
        let candidate = RTCIceCandidate::from(&candidate).to_json().unwrap();
        self.peer.add_local_candidate(candidate).unwrap();
        self.peer.local_description().unwrap().sdp.clone()
    }

    fn accept_answer(&mut self, sdp: &str, now: Instant) {
        let answer = RTCSessionDescription::answer(sdp.to_owned()).unwrap();
        self.peer.set_remote_description(now, answer).unwrap();
    }

    fn receive(&mut self, source: SocketAddr, payload: &[u8], now: Instant) {
        let transport = TransportContext {
            local_addr: self.address,
            peer_addr: source,
            ecn: None,
            transport_protocol: TransportProtocol::UDP,
        };
        let message = BytesMut::from(payload);
        self.peer.handle_read(TaggedBytesMut { now, transport, message }).unwrap();
    }

    fn handle_timeout(&mut self, now: Instant) {
        self.peer.handle_timeout(now).unwrap();
    }

    fn poll_timeout(&mut self) -> Option<Instant> {
        self.peer.poll_timeout()
    }

    fn poll_packet(&mut self) -> Option<(SocketAddr, Vec<u8>)> {
        let packet = self.peer.poll_write()?;
        Some((packet.transport.peer_addr, packet.message.to_vec()))
    }

    fn poll_heard(&mut self) -> Option<Heard> {
        while let Some(event) = self.peer.poll_event() {
            if let RTCPeerConnectionEvent::OnDataChannel(RTCDataChannelEvent::OnOpen(id)) = event {
                self.channel = Some(id);
                return Some(Heard::Open);
            }
        }
        while let Some(TaggedRTCMessage { message, .. }) = self.peer.poll_read() {
            return Some(match message {
                RTCMessage::RtpPacket(_, packet) => Heard::Audio(packet.payload.to_vec()),
                RTCMessage::DataChannelMessage(_, message) => {
                    Heard::Message(String::from_utf8(message.data.to_vec()).unwrap())
                }
                _ => continue,
            });
        }
        None
    }

    fn send_text(&mut self, text: &str, now: Instant) {
        let mut channel = self.peer.data_channel(self.channel.unwrap()).unwrap();
        channel.send_text(now, text).unwrap();
    }

    fn send_opus(&mut self, number: u64, payload: &[u8], now: Instant) {
        let mut sender = self.peer.rtp_sender(self.microphone).unwrap();
        let codecs = sender.get_parameters().rtp_parameters.codecs.clone();
        let header = rtp::Header {
            version: 2,
            payload_type: codecs.first().unwrap().payload_type,
            sequence_number: number as u16,
            timestamp: (number * 960) as u32,
            ssrc: SSRC,
            ..Default::default()
        };
        let payload = Bytes::copy_from_slice(payload);
        sender.write_rtp(now, rtp::Packet { header, payload }).unwrap();
    }

    fn close(&mut self, _: Instant) {
        self.peer.close().unwrap();
    }
}

fn track(codec: RTCRtpCodec) -> MediaStreamTrack {
    let coding = RTCRtpCodingParameters { ssrc: Some(SSRC), ..Default::default() };
    MediaStreamTrack::new(
        "stream".to_owned(),
        "microphone".to_owned(),
        "microphone".to_owned(),
        RtpCodecKind::Audio,
        vec![RTCRtpEncodingParameters {
            rtp_coding_parameters: coding,
            codec,
            ..Default::default()
        }],
    )
}
