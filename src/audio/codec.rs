//! The seam between sound and its code.

use std::fmt;

use crate::audio::adapt::Adapted;
use crate::audio::null::{NullDecoder, NullEncoder};
use crate::audio::telephone::{Telephone, TelephoneDecoder, TelephoneEncoder};
use crate::config::{AudioIn, AudioOut};
use crate::{AudioIdle, Codec, Config};

/// Codes PCM. One encoder belongs to one outgoing stream.
pub(crate) trait AudioEncoder: fmt::Debug + Send {
    /// Codes one packet: interleaved samples of exactly one packet time at `AudioOut::rate` and
    /// `AudioOut::channels`. The bytes replace what stands in `packet`.
    fn encode(&mut self, samples: &[i16], packet: &mut Vec<u8>);

    /// Writes a packet of silence into `packet`, as cheaply as it can be had. Unless
    /// `AudioOut::idle` is `Silence` the second one in a row, or the very first packet, may say
    /// that others do not follow. The decoder's state after it is near enough to that of coded
    /// zeros for the encoder to go on.
    fn silence(&mut self, packet: &mut Vec<u8>);

    /// So many percent of the packets from now on will be lost: at 0, what is coded is as if no
    /// packet ever were; above, a packet may hold what repairs the one before it.
    fn set_loss(&mut self, percent: u8);
}

/// Decodes packets. One decoder belongs to one incoming stream. It gives sound at the rate of its
/// codec ([`decoder_rate`]), and counts in samples of that rate.
pub(crate) trait AudioDecoder: fmt::Debug + Send {
    /// Appends the packet's samples, interleaved, `AudioIn::channels` of them per sample time, and
    /// gives the number of samples per channel. A packet that cannot be decoded appends nothing
    /// and gives zero.
    fn decode(&mut self, packet: &[u8], samples: &mut Vec<i16>) -> usize;

    /// Appends `frames` samples per channel of concealment.
    fn conceal(&mut self, frames: usize, samples: &mut Vec<i16>);

    /// How many samples per channel, directly before those of the packet, it holds a copy of
    /// (in-band FEC) that could be decoded now; zero when none.
    fn copied(&self, _packet: &[u8]) -> usize {
        0
    }

    /// Appends the sound directly before the packet from the copy that it holds, as many samples
    /// per channel as [`AudioDecoder::copied`] says, and gives their number. To be called before
    /// the packet itself is decoded. Without a copy, or with one that cannot be decoded, it appends
    /// nothing and gives zero.
    fn repair(&mut self, _packet: &[u8], _samples: &mut Vec<i16>) -> usize {
        0
    }

    /// How many samples per channel the packet holds; `None` when it is malformed.
    fn duration(&self, packet: &[u8]) -> Option<usize>;

    /// Forgets the past.
    fn reset(&mut self);
}

/// The rate at which a codec's decoder gives sound. Opus: 48 kHz, always, because the pure Rust one
/// decodes wrongly at other rates (measured: 1 to 35 dB against libopus). All of them divide
/// 48 kHz.
pub(crate) fn decoder_rate(codec: Codec) -> u32 {
    match codec {
        Codec::Pcmu | Codec::Pcma => 8_000,
        Codec::G722 => 16_000,
        Codec::Opus | Codec::Vp8 | Codec::H264 => 48_000,
    }
}

/// Makes the coders that the configuration asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AudioCodec {
    /// Opus in pure Rust.
    #[cfg(feature = "opus")]
    OpusPure,
    /// Cheap, self-describing bytes, for simulation.
    Null,
    /// G.711 and G.722.
    Pcmu,
    Pcma,
    G722,
}

impl AudioCodec {
    /// The Opus that the configuration asks for; `None` in a core without it, which carries
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

    /// What codes and decodes here. `None` for all when one codec that may be negotiated has no
    /// coders: a call is not to change from PCM to coded frames by what its peer offers.
    pub(crate) fn of(config: &Config, codec: Codec) -> Option<AudioCodec> {
        let one = |codec| match codec {
            Codec::Opus => AudioCodec::select(config),
            Codec::Pcmu => Some(AudioCodec::Pcmu),
            Codec::Pcma => Some(AudioCodec::Pcma),
            Codec::G722 => Some(AudioCodec::G722),
            Codec::Vp8 | Codec::H264 => None,
        };
        let are_all = config.audio_codecs.iter().all(|codec| one(*codec).is_some());
        one(codec).filter(|_| are_all)
    }

    /// How sound is sent with it: what has no DTX sends silence, because its receivers take each
    /// pause for a loss.
    pub(crate) fn audio_out(self, config: AudioOut) -> AudioOut {
        let idle = match (self.telephone(), config.idle) {
            (Some(_), AudioIdle::Dtx) => AudioIdle::Silence,
            (_, idle) => idle,
        };
        AudioOut { idle, ..config }
    }

    pub(crate) fn encoder(self, config: AudioOut) -> Box<dyn AudioEncoder> {
        let Some(telephone) = self.telephone() else {
            return match self {
                #[cfg(feature = "opus")]
                AudioCodec::OpusPure => Box::new(super::opus::PureEncoder::new(config)),
                _ => Box::new(NullEncoder::new(config)),
            };
        };
        let encoder = TelephoneEncoder::new(telephone, config.packet_time.chunks());
        Adapted::wrap(Box::new(encoder), config, telephone.rate())
    }

    pub(crate) fn decoder(self, config: AudioIn) -> Box<dyn AudioDecoder> {
        let Some(telephone) = self.telephone() else {
            return match self {
                #[cfg(feature = "opus")]
                AudioCodec::OpusPure => Box::new(super::opus::PureDecoder::new(config)),
                _ => Box::new(NullDecoder::new(config)),
            };
        };
        Box::new(TelephoneDecoder::new(telephone, config.channels))
    }

    fn telephone(self) -> Option<Telephone> {
        match self {
            AudioCodec::Pcmu => Some(Telephone::Pcmu),
            AudioCodec::Pcma => Some(Telephone::Pcma),
            AudioCodec::G722 => Some(Telephone::G722),
            #[cfg(feature = "opus")]
            AudioCodec::OpusPure => None,
            AudioCodec::Null => None,
        }
    }
}
