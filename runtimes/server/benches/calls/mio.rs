//! The same bot as `pass`, on the mio adapter: what a call costs without tasks and channels.
//!
//! It is an `App` that gives back what it is given. Signalling is an HTTP listener on a thread
//! beside the driver's, as in the raw engine's baseline.

use std::thread;
use std::time::Instant;

use smallrtc::{Config, Endpoint, Event, SessionId};
use smallrtc_mio::{App, Driver, Handle, Options};

/// More calls than a row has.
const CALLS_MAX: usize = 10_000;

/// Serves until it is killed.
pub(crate) fn serve() -> ! {
    let http = tiny_http::Server::http("127.0.0.1:0").expect("loopback is free");
    println!("open http://{}/", http.server_addr().to_ip().expect("an IP address"));
    let config = Config::new().max_sessions(CALLS_MAX).audio_in_encoded().audio_out_encoded();
    let options = Options::new().udp("127.0.0.1:0".parse().expect("an address"));
    let (driver, handle) = Driver::bind(config, options, Pass).expect("loopback is free");
    thread::spawn(move || signal(&http, &handle));
    driver.run().expect("its socket works");
    unreachable!("the listener has a handle for as long as the process lasts")
}

fn signal(http: &tiny_http::Server, handle: &Handle) {
    for mut request in http.incoming_requests() {
        let mut body = Vec::new();
        request.as_reader().read_to_end(&mut body).expect("a caller that means well");
        let response = handle.request(request.method().as_str(), request.url(), &body);
        let answer = tiny_http::Response::from_string(response.body);
        // A caller that does not wait any more needs no answer.
        let _ = request.respond(answer.with_status_code(response.status));
    }
}

struct Pass;

impl App for Pass {
    fn on_event(&mut self, id: SessionId, event: Event, core: &mut Endpoint, now: Instant) {
        let Some(mut call) = core.session(id) else { return };
        match event {
            Event::EncodedReadable(track) => {
                while let Some(frame) = call.recv_encoded(track) {
                    // A full queue drops the frame, which the load counts.
                    let _ = call.send_encoded(track, frame, now);
                }
            }
            Event::Message(message) => {
                let _ = call.send_message(message, now);
            }
            _ => {}
        }
    }
}
