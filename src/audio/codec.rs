//! The seam between sound and its code.

use std::fmt;

use crate::Config;
use crate::audio::null::{NullDecoder, NullEncoder};
use crate::config::{AudioIn, AudioOut};

/// Codes PCM. One encoder belongs to one outgoing stream.
pub(crate) trait AudioEncoder: fmt::Debug + Send {
    /// Codes one packet: interleaved samples of exactly one packet time at `AudioOut::rate` and
    /// `AudioOut::channels`. The bytes replace what stands in `packet`.
    fn encode(&mut self, samples: &[i16], packet: &mut Vec<u8>);

    /// Writes a packet of silence into `packet` without coding anything. Unless `AudioOut::idle` is
    /// `Silence` the second one in a row, or the very first packet, may say that others do not
    /// follow. The decoder's state after it is near enough to that of coded zeros for the encoder
    /// to go on.
    fn silence(&mut self, packet: &mut Vec<u8>);

    /// So many percent of the packets from now on will be lost: at 0, what is coded is as if no
    /// packet ever were; above, a packet may hold what repairs the one before it.
    fn set_loss(&mut self, percent: u8);
}

/// Decodes packets. One decoder belongs to one incoming stream. It gives 48 kHz, always: the pure
/// Rust Opus decodes wrongly at other rates (measured: 1 to 35 dB against libopus).
pub(crate) trait AudioDecoder: fmt::Debug + Send {
    /// Appends the packet's samples, interleaved, `AudioIn::channels` of them per sample time, and
    /// gives the number of samples per channel. A packet that cannot be decoded appends nothing
    /// and gives zero.
    fn decode(&mut self, packet: &[u8], samples: &mut Vec<i16>) -> usize;

    /// Appends `frames` samples per channel of concealment.
    fn conceal(&mut self, frames: usize, samples: &mut Vec<i16>);

    /// How many samples per channel at 48 kHz, directly before those of the packet, it holds a copy
    /// of (in-band FEC) that could be decoded now; zero when none.
    fn copied(&self, packet: &[u8]) -> usize;

    /// Appends the sound directly before the packet from the copy that it holds, as many samples
    /// per channel as [`AudioDecoder::copied`] says, and gives their number. To be called before
    /// the packet itself is decoded. Without a copy, or with one that cannot be decoded, it appends
    /// nothing and gives zero.
    fn repair(&mut self, packet: &[u8], samples: &mut Vec<i16>) -> usize;

    /// How many samples per channel at 48 kHz the packet holds; `None` when it is malformed.
    fn duration(&self, packet: &[u8]) -> Option<usize>;

    /// Forgets the past.
    fn reset(&mut self);
}

/// Makes the coders that the configuration asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AudioCodec {
    /// Opus in pure Rust.
    #[cfg(feature = "opus")]
    OpusPure,
    /// Cheap, self-describing bytes, for simulation.
    Null,
}

impl AudioCodec {
    /// The codec that the configuration asks for; `None` in a core without codecs, which carries
    /// encoded audio only.
    pub(crate) fn select(config: &Config) -> Option<AudioCodec> {
        if config.dangerous.null_codec {
            return Some(AudioCodec::Null);
        }
        #[cfg(feature = "opus")]
        return Some(AudioCodec::OpusPure);
        #[cfg(not(feature = "opus"))]
        None
    }

    pub(crate) fn encoder(self, config: AudioOut) -> Box<dyn AudioEncoder> {
        match self {
            #[cfg(feature = "opus")]
            AudioCodec::OpusPure => Box::new(super::opus::PureEncoder::new(config)),
            AudioCodec::Null => Box::new(NullEncoder::new(config)),
        }
    }

    pub(crate) fn decoder(self, config: AudioIn) -> Box<dyn AudioDecoder> {
        match self {
            #[cfg(feature = "opus")]
            AudioCodec::OpusPure => Box::new(super::opus::PureDecoder::new(config)),
            AudioCodec::Null => Box::new(NullDecoder::new(config)),
        }
    }
}
