//! What a session tells, handed over to its application.

use smallrtc::{Event, SessionGuard};

use crate::link::Link;
use crate::{AudioBlock, Received};

/// Samples of one block: 60 ms at 48000 Hz and two channels, which is the longest packet that
/// browsers send. What is longer comes as several blocks.
pub(crate) const BLOCK_LEN: usize = 5760;

impl Link {
    /// Hands an event over, and what it says can be pulled.
    pub(crate) fn deliver(
        &mut self,
        event: Event,
        session: &mut SessionGuard<'_>,
        block: &mut [i16],
    ) {
        match event {
            Event::AudioReadable(track) => {
                self.readable.audio.insert(track);
                self.pull(session, block);
            }
            Event::EncodedReadable(track) => {
                self.readable.encoded.insert(track);
                self.pull(session, block);
            }
            // `send_message` waits by itself.
            Event::MessagesDrained => {}
            Event::Message(message) => self.push(Received::Message(message)),
            event => self.push(Received::Event(event)),
        }
    }

    /// Pulls sound and frames as long as the inbox has room. What stays in the session keeps its
    /// limits and its counters there.
    pub(crate) fn pull(&mut self, session: &mut SessionGuard<'_>, block: &mut [i16]) {
        while let Some(track) = self.readable.audio.first().copied() {
            if self.is_full() {
                return;
            }
            let Some(info) = session.recv_audio(track, block) else {
                self.readable.audio.remove(&track);
                continue;
            };
            let samples = block[..info.samples * usize::from(info.channels)].to_vec();
            self.push(Received::Audio(AudioBlock {
                track,
                samples,
                rate: info.rate,
                channels: info.channels,
                time: info.time,
                origin: info.origin,
                parts: info.parts,
                sender_level: info.sender_level,
            }));
        }
        while let Some(track) = self.readable.encoded.first().copied() {
            if self.is_full() {
                return;
            }
            match session.recv_encoded(track) {
                Some(frame) => self.push(Received::Encoded { track, frame }),
                None => {
                    self.readable.encoded.remove(&track);
                }
            }
        }
    }
}
