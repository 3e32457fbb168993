//! What is measured: this crate over the engine, as sessions by themselves and as an endpoint.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use smallrtc::{
    AudioFrame, Config, ConnectionState, Datagram, Endpoint, Event, LocalCandidate, Offer, Seed,
    Session, SessionId, TrackId, Transmit, TransportId,
};

use super::fleet::{Outbox, Side};
use super::{server_address, sound};

/// Room for 20 ms at the highest rate.
const PCM: usize = 960;

/// With the null codec, and what comes in at `rate`: at 48 kHz nothing is resampled.
pub fn null_config(rate: u32) -> Config {
    let config = Config::new().audio_in(rate, 1).expect("a legal rate");
    config.dangerous().null_codec(true).done()
}

fn local() -> LocalCandidate {
    LocalCandidate::host(TransportId(0), server_address())
}

fn arrival(source: SocketAddr, payload: Vec<u8>) -> Datagram {
    Datagram::udp(TransportId(0), source, server_address(), Bytes::from(payload))
}

/// Sessions, one for each browser.
pub struct Sessions {
    config: Arc<Config>,
    calls: Vec<Call>,
    frames: Vec<Vec<i16>>,
}

struct Call {
    session: Session,
    deadline: Option<Instant>,
    heard: u64,
}

impl Sessions {
    pub fn new(config: Config) -> Sessions {
        Sessions { config: config.shared(), calls: Vec::new(), frames: sound::frames() }
    }
}

impl Call {
    fn drain(&mut self, out: &mut Outbox<Transmit>) {
        while let Some(transmit) = self.session.poll_transmit() {
            out.push((transmit.destination, transmit));
        }
        while let Some(event) = self.session.poll_event() {
            if let Event::AudioReadable(track) = event {
                let session = &mut self.session;
                self.heard += listen(|samples| session.recv_audio(track, samples).is_some());
            }
        }
        self.deadline = self.session.poll_timeout();
    }
}

/// Reads all sound there is; gives how often there was some.
fn listen(mut read: impl FnMut(&mut [i16]) -> bool) -> u64 {
    let mut samples = [0; PCM];
    let mut times = 0;
    while read(&mut samples) {
        times += 1;
    }
    times
}

impl Side for Sessions {
    type In = Datagram;
    type Out = Transmit;

    fn accept(&mut self, offer: &str, now: Instant) -> String {
        let seed = Seed::from_number(self.calls.len() as u64);
        let mut session = Session::new(self.config.clone(), seed, now);
        session.add_local_candidate(local(), now).expect("one address");
        let offer = Offer::parse(offer).expect("the offer is good");
        let answer = session.accept_offer(&offer, now).expect("the offer is good");
        session.start(now);
        self.calls.push(Call { session, deadline: Some(now), heard: 0 });
        answer.sdp().to_owned()
    }

    fn arrival(source: SocketAddr, payload: Vec<u8>) -> Datagram {
        arrival(source, payload)
    }

    fn bytes(out: &Transmit) -> &[u8] {
        &out.payload
    }

    fn receive(
        &mut self,
        arrivals: &mut Vec<(usize, Datagram)>,
        out: &mut Outbox<Transmit>,
        now: Instant,
    ) {
        for (index, datagram) in arrivals.drain(..) {
            self.calls[index].session.handle_datagram(datagram, now);
            self.calls[index].drain(out);
        }
    }

    fn speak(&mut self, turn: usize, out: &mut Outbox<Transmit>, now: Instant) {
        let frame = AudioFrame::mono(&self.frames[turn % sound::FRAMES], sound::RATE);
        for call in &mut self.calls {
            call.session.send_audio(frame, now).expect("there is room");
            call.drain(out);
        }
    }

    fn wake(&mut self, out: &mut Outbox<Transmit>, now: Instant) -> u64 {
        let mut woken = 0;
        for call in &mut self.calls {
            if call.deadline.is_some_and(|at| at <= now) {
                call.session.handle_timeout(now);
                call.drain(out);
                woken += 1;
            }
        }
        woken
    }

    fn next_wake(&self) -> Option<Instant> {
        self.calls.iter().filter_map(|call| call.deadline).min()
    }

    fn is_connected(&self) -> bool {
        self.calls.iter().all(|call| call.session.state() == ConnectionState::Connected)
    }

    fn heard(&self) -> u64 {
        self.calls.iter().map(|call| call.heard).sum()
    }
}

/// The same sessions behind one endpoint.
pub struct Shared {
    endpoint: Endpoint,
    sessions: Vec<SessionId>,
    frames: Vec<Vec<i16>>,
    heard: u64,
}

impl Shared {
    pub fn new(config: Config, now: Instant) -> Shared {
        let mut endpoint = Endpoint::new(config.shared(), Seed::from_number(1), now);
        endpoint.add_local_candidate(local());
        Shared { endpoint, sessions: Vec::new(), frames: sound::frames(), heard: 0 }
    }

    fn drain(&mut self, out: &mut Outbox<Transmit>) {
        while let Some(transmit) = self.endpoint.poll_transmit() {
            out.push((transmit.destination, transmit));
        }
        while let Some((id, event)) = self.endpoint.poll_event() {
            if let Event::AudioReadable(track) = event {
                self.listen(id, track);
            }
        }
    }

    fn listen(&mut self, id: SessionId, track: TrackId) {
        let mut session = self.endpoint.session(id).expect("it has just spoken");
        self.heard += listen(|samples| session.recv_audio(track, samples).is_some());
    }
}

impl Side for Shared {
    type In = Datagram;
    type Out = Transmit;

    fn accept(&mut self, offer: &str, now: Instant) -> String {
        let offer = Offer::parse(offer).expect("the offer is good");
        let (id, answer) = self.endpoint.accept(&offer, now).expect("there is room");
        self.endpoint.session(id).expect("it was just made").start(now);
        self.sessions.push(id);
        answer.sdp().to_owned()
    }

    fn arrival(source: SocketAddr, payload: Vec<u8>) -> Datagram {
        arrival(source, payload)
    }

    fn bytes(out: &Transmit) -> &[u8] {
        &out.payload
    }

    fn receive(
        &mut self,
        arrivals: &mut Vec<(usize, Datagram)>,
        out: &mut Outbox<Transmit>,
        now: Instant,
    ) {
        for (_, datagram) in arrivals.drain(..) {
            let _ = self.endpoint.handle_datagram(datagram, now);
        }
        self.drain(out);
    }

    fn speak(&mut self, turn: usize, out: &mut Outbox<Transmit>, now: Instant) {
        let frame = AudioFrame::mono(&self.frames[turn % sound::FRAMES], sound::RATE);
        for id in &self.sessions {
            let mut session = self.endpoint.session(*id).expect("nobody hung up");
            session.send_audio(frame, now).expect("there is room");
        }
        self.drain(out);
    }

    fn wake(&mut self, out: &mut Outbox<Transmit>, now: Instant) -> u64 {
        self.endpoint.handle_timeout(now);
        self.drain(out);
        1
    }

    fn next_wake(&self) -> Option<Instant> {
        self.endpoint.poll_timeout()
    }

    fn is_connected(&self) -> bool {
        self.sessions.len() == self.endpoint.len()
    }

    fn heard(&self) -> u64 {
        self.heard
    }
}
