//! An echo bot on smol: open the printed address in a browser and talk.
//!
//! `cargo run --release -p smallrtc-server --example echo`

#![expect(clippy::print_stdout, reason = "a program says where it can be found")]

use smallrtc_server::{Options, Peer, Received, Server};

async fn echo(mut peer: Peer) {
    while let Some(received) = peer.recv().await {
        let Received::Audio(block) = received else { continue };
        peer.send_audio(block.frame()).await.ok();
    }
}
fn main() -> Result<(), Box<dyn std::error::Error>> {
    smol::block_on(async {
        let server = Server::bind(Options::default()).await?;
        println!("open {}", server.url());
        while let Some(peer) = server.accept().await {
            smol::spawn(echo(peer)).detach();
        }
        Ok(())
    })
}
