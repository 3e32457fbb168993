//! An echo bot on the mio adapter, which runs alone on its thread.
//!
//! For whoever writes plain threads and no futures: the bot is an `App` that the driver calls with
//! the core at hand, and any HTTP library on any thread passes requests on through the `Handle`. It
//! shows the bot in 15 lines, signalling in as many, and how to end: `Handle::close` tells every
//! call, and `Driver::run` returns.
//!
//! Run: `cargo run --release -p smallrtc-server --example mio_echo [ADDRESS]`, open the printed
//! address, talk. ADDRESS is `127.0.0.1:7863` unless given.

#![expect(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a program has threads, and says where it can be found"
)]

use std::error::Error;
use std::time::Instant;
use std::{env, thread};

use smallrtc::{AudioFrame, Config, Endpoint, Event, SessionId};
use smallrtc_mio::{App, Driver, Handle, Options};

#[path = "common/stop.rs"]
mod stop;
#[path = "common/web.rs"]
mod web;

struct Echo;

impl App for Echo {
    fn on_event(&mut self, id: SessionId, event: Event, core: &mut Endpoint, now: Instant) {
        let Some(mut call) = core.session(id) else { return };
        match event {
            Event::AudioReadable(track) => {
                let mut samples = [0; 320];
                while let Some(block) = call.recv_audio(track, &mut samples) {
                    let heard = AudioFrame::mono(&samples[..block.samples], block.rate);
                    call.send_audio(heard, now).ok();
                }
            }
            Event::Message(message) => drop(call.send_message(message, now)),
            _ => {}
        }
    }
}

fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let address = env::args().nth(1).unwrap_or_else(|| "127.0.0.1:7863".to_owned());
    let taken = |error| format!("cannot listen on {address}: {error}");
    let http = tiny_http::Server::http(&address).map_err(taken)?;
    let listens = http.server_addr().to_ip().ok_or("listen on an IP address")?;
    let options = Options::new().udp((listens.ip(), 0).into());
    let (driver, handle) = Driver::bind(Config::new(), options, Echo)?;
    let stopper = handle.clone();
    stop::on_interrupt(move || stopper.close());
    thread::spawn(move || serve(&http, &handle));
    println!("listening on http://{listens}/");
    driver.run()?;
    Ok(())
}

/// HTTP: the page, and requests to the driver, which the handle waits for.
fn serve(http: &tiny_http::Server, handle: &Handle) {
    for request in http.incoming_requests() {
        web::answer(request, |request| Some(handle.serve(request)));
    }
}
