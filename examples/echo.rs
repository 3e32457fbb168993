//! An echo bot on smol: the bot of README, with messages and an end.
//!
//! For whoever writes async code and has no loop of their own: a server of smallrtc-server takes
//! the calls, each is a task with its `Peer`. It shows a whole bot, and how to end one: every call
//! is told, none is left to find out.
//!
//! Run: `cargo run --release -p smallrtc-server --example echo [ADDRESS]`, open the printed
//! address, talk. ADDRESS is `127.0.0.1:7860` unless given.

#![expect(clippy::print_stdout, reason = "a program says where it can be found")]

use std::error::Error;
use std::io;

use async_signal::{Signal, Signals};
use futures_lite::{StreamExt, future};
use smallrtc_server::{Options, Peer, Received, Server};

async fn echo(mut peer: Peer) {
    while let Some(received) = peer.recv().await {
        match received {
            Received::Audio(block) => drop(peer.send_audio(block.frame()).await),
            Received::Message(message) => drop(peer.send_message(message).await),
            _ => {}
        }
    }
}

async fn take_calls(server: &Server) {
    while let Some(peer) = server.accept().await {
        smol::spawn(echo(peer)).detach();
    }
}

/// Ctrl-C, and a kill that asks. Windows knows Ctrl-C alone.
async fn interrupted(signals: io::Result<Signals>) {
    match signals {
        Ok(mut signals) => drop(signals.next().await),
        Err(_) => future::pending().await,
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut options = Options::new();
    if let Some(address) = std::env::args().nth(1) {
        options = options.listen(address.parse()?);
    }
    smol::block_on(async {
        let server = Server::bind(options).await?;
        let signals = Signals::new([Signal::Int, Signal::Term]);
        let signals = signals.or_else(|_| Signals::new([Signal::Int]));
        println!("listening on {}", server.url());
        future::or(take_calls(&server), interrupted(signals)).await;
        server.close().await;
        Ok(())
    })
}
