//! The baseline: the engine alone, driven as its documentation asks, one for each browser; and
//! with the codec put to it by hand.

use std::net::SocketAddr;
use std::time::Instant;

use str0m::change::SdpOffer;
use str0m::media::{Mid, Pt};
use str0m::net::{DatagramSend, Protocol, Receive};
use str0m::{Candidate, Event, Input, Output, Rtc};

use super::fleet::{Outbox, Side};
use super::sound::{self, Coder};
use super::{browser, server_address};

/// Engines.
pub struct Raw {
    calls: Vec<Call>,
    /// What is sent, in turn.
    packets: Vec<Vec<u8>>,
    /// What is coded and sent in their place, when there are coders.
    frames: Vec<Vec<i16>>,
    has_coders: bool,
}

struct Call {
    rtc: Rtc,
    line: Option<(Mid, Pt)>,
    timeout: Instant,
    is_connected: bool,
    heard: u64,
    coder: Option<Box<Coder>>,
}

impl Raw {
    /// Sends packets that were coded before, and decodes nothing.
    pub fn new(packets: Vec<Vec<u8>>) -> Raw {
        Raw { calls: Vec::new(), packets, frames: sound::frames(), has_coders: false }
    }

    /// Codes and decodes Opus: the least that a program without this crate has to do.
    pub fn with_coders() -> Raw {
        Raw { has_coders: true, ..Raw::new(Vec::new()) }
    }
}

impl Call {
    fn drain(&mut self, now: Instant, out: &mut Outbox<DatagramSend>) {
        loop {
            match self.rtc.poll_output().expect("the engine goes on") {
                Output::Timeout(at) if at <= now => {
                    self.rtc.handle_input(Input::Timeout(now)).expect("time passes");
                }
                Output::Timeout(at) => {
                    self.timeout = at;
                    return;
                }
                Output::Transmit(sent) => out.push((sent.destination, sent.contents)),
                Output::Event(Event::Connected) => self.is_connected = true,
                Output::Event(Event::MediaAdded(added)) => {
                    let pt = browser::payload_type(&mut self.rtc, added.mid);
                    self.line = Some((added.mid, pt));
                }
                Output::Event(Event::MediaData(data)) => {
                    self.heard += u64::from(!data.data.is_empty());
                    if let Some(coder) = &mut self.coder {
                        std::hint::black_box(coder.decode(&data.data));
                    }
                }
                Output::Event(_) => {}
            }
        }
    }
}

impl Side for Raw {
    type In = (SocketAddr, Vec<u8>);
    type Out = DatagramSend;

    fn accept(&mut self, offer: &str, now: Instant) -> String {
        let mut rtc = browser::engine(now);
        rtc.add_local_candidate(Candidate::host(server_address(), "udp").expect("legal"));
        let offer = SdpOffer::from_sdp_string(offer).expect("the offer is SDP");
        let answer = rtc.sdp_api().accept_offer(offer).expect("the offer is good");
        let coder = self.has_coders.then(|| Box::new(Coder::new()));
        let call = Call { rtc, line: None, timeout: now, is_connected: false, heard: 0, coder };
        self.calls.push(call);
        answer.to_sdp_string()
    }

    fn arrival(source: SocketAddr, payload: Vec<u8>) -> Self::In {
        (source, payload)
    }

    fn bytes(out: &DatagramSend) -> &[u8] {
        out
    }

    fn receive(
        &mut self,
        arrivals: &mut Vec<(usize, Self::In)>,
        out: &mut Outbox<DatagramSend>,
        now: Instant,
    ) {
        for (index, (source, payload)) in arrivals.drain(..) {
            let call = &mut self.calls[index];
            let receive = Receive::new(Protocol::Udp, source, server_address(), &payload);
            let input = Input::Receive(now, receive.expect("browsers send what WebRTC sends"));
            call.rtc.handle_input(input).expect("browsers send no rubbish");
            call.drain(now, out);
        }
    }

    fn speak(&mut self, turn: usize, out: &mut Outbox<DatagramSend>, now: Instant) {
        let frame = &self.frames[turn % sound::FRAMES];
        for call in &mut self.calls {
            let packet = match &mut call.coder {
                Some(coder) => coder.encode(frame),
                None => &self.packets[turn % self.packets.len()],
            };
            let line = call.line.expect("speaks when connected");
            browser::write(&mut call.rtc, line, turn as u64 * 960, packet, now);
            call.drain(now, out);
        }
    }

    fn wake(&mut self, out: &mut Outbox<DatagramSend>, now: Instant) -> u64 {
        let mut woken = 0;
        for call in &mut self.calls {
            if call.timeout <= now {
                call.rtc.handle_input(Input::Timeout(now)).expect("time passes");
                call.drain(now, out);
                woken += 1;
            }
        }
        woken
    }

    fn next_wake(&self) -> Option<Instant> {
        self.calls.iter().map(|call| call.timeout).min()
    }

    fn is_connected(&self) -> bool {
        self.calls.iter().all(|call| call.is_connected)
    }

    fn heard(&self) -> u64 {
        self.calls.iter().map(|call| call.heard).sum()
    }
}
