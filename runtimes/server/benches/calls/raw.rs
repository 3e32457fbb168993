//! The engine alone behind one plain socket: what a call costs before anything of ours.
//!
//! It is written as the engine's own examples are: a thread with a blocking socket, a table of
//! addresses, the earliest deadline of all. Signalling is an HTTP listener on a thread beside it.
//! Its engines are set up as this crate's are where that changes the cost of a packet.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::net::{SocketAddr, UdpSocket};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use str0m::change::SdpOffer;
use str0m::media::Mid;
use str0m::net::{DatagramRecv, Protocol, Receive};
use str0m::rtp::{Extension, RtpPacket, RtpWrite};
use str0m::{Candidate, Event, Input, Output, Rtc, RtcConfig};

/// How long an offer waits for the loop at most.
const WAIT_MAX: Duration = Duration::from_millis(5);

/// An offer, and the way back for its answer.
type Request = (String, Sender<String>);

/// Serves until it is killed.
pub(crate) fn serve() -> ! {
    let http = tiny_http::Server::http("127.0.0.1:0").expect("loopback is free");
    println!("open http://{}/", http.server_addr().to_ip().expect("an IP address"));
    let (requests, asked) = channel();
    thread::spawn(move || signal(&http, &requests));
    let socket = UdpSocket::bind("127.0.0.1:0").expect("loopback is free");
    Calls::new(socket, asked).run()
}

fn signal(http: &tiny_http::Server, requests: &Sender<Request>) {
    for mut request in http.incoming_requests() {
        let body: Value = serde_json::from_reader(request.as_reader()).expect("an offer");
        let (answer, answered) = channel();
        let sdp = body["sdp"].as_str().expect("an offer").to_owned();
        requests.send((sdp, answer)).expect("calls are taken until the end");
        let sdp = answered.recv().expect("every offer is answered");
        let body = json!({ "type": "answer", "sdp": sdp }).to_string();
        // A caller that does not wait any more needs no answer.
        let _ = request.respond(tiny_http::Response::from_string(body));
    }
}

struct Calls {
    socket: UdpSocket,
    local: SocketAddr,
    asked: Receiver<Request>,
    calls: Vec<Call>,
    addresses: BTreeMap<SocketAddr, usize>,
    due: BinaryHeap<Reverse<(Instant, usize)>>,
}

struct Call {
    rtc: Rtc,
    mid: Option<Mid>,
    /// The entry of the heap that counts.
    armed: Option<Instant>,
}

impl Calls {
    fn new(socket: UdpSocket, asked: Receiver<Request>) -> Calls {
        let local = socket.local_addr().expect("it is bound");
        let (calls, addresses, due) = (Vec::new(), BTreeMap::new(), BinaryHeap::new());
        Calls { socket, local, asked, calls, addresses, due }
    }

    fn run(mut self) -> ! {
        let mut buffer = [0; 2048];
        loop {
            while let Ok((offer, answer)) = self.asked.try_recv() {
                let sdp = self.accept(&offer);
                answer.send(sdp).expect("whoever asked waits");
            }
            self.run_due();
            let next = self.due.peek().map_or(WAIT_MAX, |Reverse((at, _))| {
                at.saturating_duration_since(Instant::now()).min(WAIT_MAX)
            });
            let wait = next.max(Duration::from_micros(1));
            self.socket.set_read_timeout(Some(wait)).expect("a wait that is not zero");
            if let Ok((len, source)) = self.socket.recv_from(&mut buffer) {
                self.receive(source, &buffer[..len]);
            }
        }
    }

    fn accept(&mut self, offer: &str) -> String {
        let config = RtcConfig::new()
            .clear_codecs()
            .enable_opus(true, false)
            .clear_extension_map()
            .set_extension(1, Extension::AudioLevel)
            .set_extension(4, Extension::RtpMid)
            .set_rtp_mode(true);
        let mut rtc = config.build(Instant::now());
        rtc.add_local_candidate(Candidate::host(self.local, "udp").expect("an address"));
        let offer = SdpOffer::from_sdp_string(offer).expect("an offer");
        let answer = rtc.sdp_api().accept_offer(offer).expect("an offer that can be taken");
        self.calls.push(Call { rtc, mid: None, armed: None });
        self.drain(self.calls.len() - 1);
        answer.to_sdp_string()
    }

    fn receive(&mut self, source: SocketAddr, datagram: &[u8]) {
        let Ok(contents) = DatagramRecv::try_from(datagram) else { return };
        let (now, destination) = (Instant::now(), self.local);
        let receive = Receive { proto: Protocol::Udp, source, destination, contents };
        let input = Input::Receive(now, receive);
        let index = match self.addresses.get(&source) {
            Some(index) => *index,
            None => {
                // The first datagram of a call names it.
                let Some(index) = self.calls.iter().position(|call| call.rtc.accepts(&input))
                else {
                    return;
                };
                self.addresses.insert(source, index);
                index
            }
        };
        let call = &mut self.calls[index];
        if call.rtc.is_alive() {
            call.rtc.handle_input(input).expect("a caller that means well");
            self.drain(index);
        }
    }

    fn run_due(&mut self) {
        while let Some(Reverse((at, index))) = self.due.peek().copied() {
            let now = Instant::now();
            if at > now {
                return;
            }
            self.due.pop();
            let call = &mut self.calls[index];
            if call.armed == Some(at) && call.rtc.is_alive() {
                call.armed = None;
                call.rtc.handle_input(Input::Timeout(now)).expect("time passes");
                self.drain(index);
            }
        }
    }

    fn drain(&mut self, index: usize) {
        let call = &mut self.calls[index];
        while call.rtc.is_alive() {
            match call.rtc.poll_output().expect("a caller that means well") {
                Output::Timeout(at) => {
                    if call.armed.is_none_or(|armed| at < armed) {
                        call.armed = Some(at);
                        self.due.push(Reverse((at, index)));
                    }
                    return;
                }
                Output::Transmit(transmit) => {
                    // What cannot be sent is lost, as in the calls.
                    let _ = self.socket.send_to(&transmit.contents, transmit.destination);
                }
                Output::Event(event) => call.handle(event),
            }
        }
    }
}

impl Call {
    fn handle(&mut self, event: Event) {
        match event {
            Event::MediaAdded(media) => self.mid = Some(media.mid),
            Event::RtpPacket(packet) => self.give_back(&packet),
            Event::ChannelData(data) => {
                if let Some(mut channel) = self.rtc.channel(data.id) {
                    // A full channel drops the echo, which the load counts.
                    let _ = channel.write(data.binary, &data.data);
                }
            }
            _ => {}
        }
    }

    fn give_back(&mut self, packet: &RtpPacket) {
        let Some(mid) = self.mid else { return };
        let mut api = self.rtc.direct_api();
        let Some(stream) = api.stream_tx_by_mid(mid, None) else { return };
        let (header, payload) = (&packet.header, packet.payload.clone());
        let now = Instant::now();
        let write =
            RtpWrite::new(header.payload_type, packet.seq_no, header.timestamp, now, payload);
        stream.write_rtp(write);
    }
}
