//! What a peer gives.

use std::time::Duration;

use smallrtc::{
    AudioFrame, AudioLevel, AudioOrigin, AudioParts, CloseReason, EncodedFrame, Event, Message,
    TrackId,
};

/// Something that came from a call. `Closed` comes exactly once and last.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Received {
    /// Decoded sound.
    Audio(AudioBlock),
    /// A coded frame: video, or audio when `Config::audio_in_encoded` is set.
    Encoded {
        /// The track that it came on.
        track: TrackId,
        /// The frame.
        frame: EncodedFrame,
    },
    /// A message of the peer's application.
    Message(Message),
    /// Anything else: states, channels, tracks, finished audio, keyframes asked for. Never
    /// `Event::Message`, `AudioReadable`, `EncodedReadable`, `MessagesDrained` or `Closed`.
    Event(Event),
    /// The end, with its reason; `Peer::recv` gives `None` from now on.
    Closed(CloseReason),
}

impl Received {
    /// The bytes that it keeps, as far as a peer can make them many.
    pub(crate) fn byte_len(&self) -> usize {
        match self {
            Received::Audio(block) => size_of_val(block.samples.as_slice()),
            Received::Encoded { frame, .. } => frame.data.len(),
            Received::Message(message) => message.len(),
            Received::Event(Event::ChannelOpened { label }) => label.len(),
            Received::Event(_) | Received::Closed(_) => 0,
        }
    }
}

/// A block of decoded sound, at the rate of `Config::audio_in`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct AudioBlock {
    /// The track that it came on.
    pub track: TrackId,
    /// Interleaved samples.
    pub samples: Vec<i16>,
    /// Samples per second and channel.
    pub rate: u32,
    /// 1 or 2.
    pub channels: u8,
    /// The media time of the first sample since the track's first packet.
    pub time: Duration,
    /// Where the block comes from; of several origins the one that matters most.
    pub origin: AudioOrigin,
    /// How many of its samples per channel come from where.
    pub parts: AudioParts,
    /// How loud it is, if any of it was decoded from packets whose sender told their level.
    pub sender_level: Option<AudioLevel>,
}

impl AudioBlock {
    /// The block in the form that `send_audio` takes: an echo is
    /// `peer.send_audio(block.frame()).await`.
    #[must_use]
    pub fn frame(&self) -> AudioFrame<'_> {
        AudioFrame { samples: &self.samples, rate: self.rate, channels: self.channels }
    }

    /// How loud it is: by its sender's word, or measured now.
    #[must_use]
    pub fn level(&self) -> AudioLevel {
        self.sender_level.unwrap_or_else(|| AudioLevel::of(&self.samples))
    }
}
