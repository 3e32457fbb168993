//! What a model browser runs on: an engine that offers, answers and carries media.

use std::collections::VecDeque;
use std::fmt::Debug;
use std::net::SocketAddr;
use std::time::Instant;

use smallrtc::Codec;

use crate::{BrowserConfig, BrowserEvent, Kind, Packet};

mod dtls;
mod real;
mod scripted;

/// An engine. Every call leaves it drained into its queues.
pub(crate) trait Peer: Debug + Send {
    /// The offer of a first call, or of a call that goes on.
    fn offer(&mut self, now: Instant) -> String;
    /// An offer that restarts ICE from another address.
    fn restart(&mut self, address: SocketAddr, now: Instant) -> String;
    fn accept_answer(&mut self, sdp: &str, now: Instant);
    fn handle_packet(&mut self, packet: Packet, now: Instant);
    fn handle_timeout(&mut self, now: Instant);
    /// What it sends, to be taken from the front.
    fn packets(&mut self) -> &mut VecDeque<Packet>;
    /// What happened, to be taken from the front.
    fn events(&mut self) -> &mut VecDeque<BrowserEvent>;
    fn poll_timeout(&self) -> Option<Instant>;
    /// Opens one more channel, which is then the one that messages go through.
    fn open_channel(&mut self, label: &str, now: Instant);
    /// False when no channel is open or it takes no more.
    fn write_message(&mut self, binary: bool, data: &[u8], now: Instant) -> bool;
    /// Sends a frame on an m-line, of the first codec that was agreed on if none is named; `time`
    /// is in units of the codec's clock.
    fn write_media(
        &mut self,
        line: u8,
        codec: Option<Codec>,
        time: u64,
        data: &[u8],
        now: Instant,
    ) -> bool;
    fn request_keyframe(&mut self, line: u8, now: Instant);
    fn hang_up(&mut self, now: Instant);
}

pub(crate) fn new(config: &BrowserConfig, now: Instant) -> Box<dyn Peer> {
    match config.kind {
        Kind::Real => Box::new(real::Real::new(config, now)),
        Kind::Scripted => Box::new(scripted::Scripted::new(config, now)),
    }
}
