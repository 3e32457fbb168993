//! A desk: signalling over an endpoint, and pages that call it, a millisecond at a time.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde_json::Value;
use smallrtc::signaling::{Options, Reply, Request, Signaling};
use smallrtc::{Config, Datagram, Endpoint, Event, LocalCandidate, Seed, SessionId, TransportId};
use smallrtc_sim::{Browser, BrowserConfig, Kind, Packet, bot_address, bot_certificate, start};

pub(crate) struct Desk {
    pub(crate) endpoint: Endpoint,
    pub(crate) signaling: Signaling,
    pub(crate) now: Instant,
    /// What every call told, with its time.
    pub(crate) events: Vec<(Duration, SessionId, Event)>,
    /// Where anything was sent to, a page or not.
    pub(crate) destinations: BTreeSet<SocketAddr>,
}

impl Desk {
    pub(crate) fn of(kind: Kind, config: Config, options: Options) -> Desk {
        let config = config.certificate(bot_certificate()).dangerous();
        let config = config.seeded_dtls(true).null_codec(true);
        let config = config.scripted_transport(kind == Kind::Scripted).done();
        let mut endpoint = Endpoint::new(config.shared(), Seed::from_number(1), start());
        endpoint.add_local_candidate(LocalCandidate::host(TransportId(0), bot_address()));
        let signaling = Signaling::with_options(Seed::from_number(2), options.shared());
        let (events, destinations) = (Vec::new(), BTreeSet::new());
        Desk { endpoint, signaling, now: start(), events, destinations }
    }

    /// What a request gets: the status, and the body as JSON, or as a text.
    pub(crate) fn ask(&mut self, method: &str, path: &str, body: &str) -> (u16, Value) {
        let request = Request::new(method, path, body.as_bytes());
        let reply = self.signaling.handle(&mut self.endpoint, request, self.now);
        let Reply::Now(response) = reply else { panic!("the endpoint has its candidates") };
        let body = serde_json::from_str(&response.body);
        (response.status, body.unwrap_or(Value::String(response.body)))
    }

    /// Lets time pass; datagrams take none.
    pub(crate) fn pass(&mut self, pages: &mut [&mut Browser], ms: u64) {
        for _ in 0..ms {
            self.now += Duration::from_millis(1);
            self.endpoint.handle_timeout(self.now);
            pages.iter_mut().for_each(|page| page.handle_timeout(self.now));
            while self.carry(pages) {}
        }
    }

    fn carry(&mut self, pages: &mut [&mut Browser]) -> bool {
        let mut moved = false;
        for page in pages.iter_mut() {
            while let Some(Packet { source, destination, payload }) = page.poll_packet() {
                let datagram = Datagram::udp(TransportId(0), source, destination, payload);
                let _ = self.endpoint.handle_datagram(datagram, self.now);
                moved = true;
            }
        }
        while let Some(transmit) = self.endpoint.poll_transmit() {
            let (destination, payload) = (transmit.destination, transmit.payload);
            self.destinations.insert(destination);
            let packet = Packet { source: bot_address(), destination, payload };
            if let Some(page) = pages.iter_mut().find(|page| page.address() == destination) {
                page.handle_packet(packet, self.now);
                moved = true;
            }
        }
        while let Some((id, event)) = self.endpoint.poll_event() {
            if matches!(event, Event::Closed { .. }) {
                self.signaling.session_closed(id);
            }
            self.events.push((self.now - start(), id, event));
            moved = true;
        }
        moved
    }
}

/// A page with an address of its own.
pub(crate) fn page(kind: Kind, number: u64) -> Browser {
    let mut config = BrowserConfig::new(kind, number);
    config.address.set_port(40_000 + u16::try_from(number).expect("a small number"));
    Browser::new(config, start())
}
