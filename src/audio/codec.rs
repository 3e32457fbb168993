//! The seam between sound and its code.

use std::fmt;
use std::sync::Arc;

use crate::audio::adapt::Adapted;
use crate::audio::null::{NullDecoder, NullEncoder};
use crate::audio::telephone::{Telephone, TelephoneDecoder, TelephoneEncoder};
use crate::config::{AudioIn, AudioOut};
use crate::{AudioIdle, Codec, Config, PacketTime};

/// Codes PCM. One encoder belongs to one outgoing stream. Made by an [`AudioCoder`].
///
/// It must give the same bytes for the same calls: recordings are replayed.
pub trait AudioEncoder: fmt::Debug + Send {
    /// Codes one packet: interleaved samples of exactly one packet time at the rate and channels of
    /// its [`EncoderSettings`]. The bytes replace what stands in `packet`. With none at all,
    /// nothing is sent for this time (an encoder's own DTX).
    fn encode(&mut self, samples: &[i16], packet: &mut Vec<u8>);

    /// Writes a packet of silence, one packet time long, into `packet`, as cheaply as it can be
    /// had. Called in pauses, when 100 ms of zeros have been coded before. The decoder's state
    /// after it has to be near enough to that of coded zeros for the encoder to go on.
    fn silence(&mut self, packet: &mut Vec<u8>);

    /// Writes a packet that says that nothing is said from here on (DTX), for a receiver that is to
    /// fill a pause by itself and not to take it for a loss. Called after one of silence where most
    /// packets of a pause are not sent ([`EncoderSettings::idle`]). Of a code that has no word for
    /// it, a packet of silence.
    fn pause(&mut self, packet: &mut Vec<u8>) {
        self.silence(packet);
    }

    /// So many percent of the packets from now on will be lost, 0 to 20: at 0, which is where an
    /// encoder begins, what is coded is as if no packet ever were; above, a packet may hold what
    /// repairs the one before it. Told when the peer's reports change it, for Opus alone.
    fn set_loss(&mut self, percent: u8);
}

/// Decodes packets. One decoder belongs to one incoming stream. Made by an [`AudioCoder`].
///
/// Its sound has the rate and channels of its [`DecoderSettings`], interleaved, and it counts in
/// samples per channel at that rate. It must give the same sound for the same calls, and must not
/// panic, whatever bytes come: they are the peer's. What it gives too much is cut, what it gives
/// too little becomes silence: time never shrinks.
pub trait AudioDecoder: fmt::Debug + Send {
    /// Appends the packet's samples, and gives their number. A packet that cannot be decoded
    /// appends nothing and gives zero.
    fn decode(&mut self, packet: &[u8], samples: &mut Vec<i16>) -> usize;

    /// Appends `frames` samples per channel in the place of lost ones: at most 100 ms in a row. It
    /// should fade, and lead from what was decoded before to what is decoded next without a click.
    fn conceal(&mut self, frames: usize, samples: &mut Vec<i16>);

    /// How many samples, directly before those of the packet, it holds a copy of (in-band FEC) that
    /// could be decoded now; zero when none, which is what it gives unless a decoder says better.
    fn copied(&self, _packet: &[u8]) -> usize {
        0
    }

    /// Appends the sound directly before the packet from the copy that it holds, as many samples as
    /// [`AudioDecoder::copied`] says, and gives their number. Called before the packet itself is
    /// decoded. Without a copy, or with one that cannot be decoded, it appends nothing and gives
    /// zero.
    fn repair(&mut self, _packet: &[u8], _samples: &mut Vec<i16>) -> usize {
        0
    }

    /// How many samples the packet holds; `None` when it is malformed. More than 200 ms, and none,
    /// count as malformed. Called for each packet when it comes, so it should only look.
    fn duration(&self, packet: &[u8]) -> Option<usize>;

    /// Forgets the past: another stream begins.
    fn reset(&mut self);
}

/// Makes the coders of one codec: an Opus of another make, coders in hardware. Given with
/// [`Config::audio_coder`], it takes the place of the one that is built in.
///
/// ```
/// use std::sync::Arc;
///
/// use smallrtc::{
///     AudioCoder, AudioDecoder, AudioEncoder, Codec, Config, DecoderSettings, EncoderSettings,
/// };
///
/// /// Keeps the upper half of each sample. (Real ones code what their codec's name says.)
/// #[derive(Debug)]
/// struct UpperHalf;
///
/// impl AudioCoder for UpperHalf {
///     fn name(&self) -> &str {
///         "upper half"
///     }
///
///     fn encoder(&self, settings: EncoderSettings) -> Box<dyn AudioEncoder> {
///         let frames = settings.rate as usize / 100 * settings.packet_time.chunks();
///         Box::new(Encoder { len: frames * usize::from(settings.channels) })
///     }
///
///     fn decoder(&self, settings: DecoderSettings) -> Box<dyn AudioDecoder> {
///         Box::new(Decoder { channels: usize::from(settings.channels) })
///     }
/// }
///
/// #[derive(Debug)]
/// struct Encoder {
///     len: usize,
/// }
///
/// impl AudioEncoder for Encoder {
///     fn encode(&mut self, samples: &[i16], packet: &mut Vec<u8>) {
///         packet.clear();
///         packet.extend(samples.iter().map(|sample| (sample >> 8) as u8));
///     }
///
///     fn silence(&mut self, packet: &mut Vec<u8>) {
///         packet.clear();
///         packet.resize(self.len, 0);
///     }
///
///     fn set_loss(&mut self, _percent: u8) {}
/// }
///
/// #[derive(Debug)]
/// struct Decoder {
///     channels: usize,
/// }
///
/// impl AudioDecoder for Decoder {
///     fn decode(&mut self, packet: &[u8], samples: &mut Vec<i16>) -> usize {
///         for byte in packet {
///             samples.extend(vec![i16::from(*byte as i8) << 8; self.channels]);
///         }
///         packet.len()
///     }
///
///     fn conceal(&mut self, frames: usize, samples: &mut Vec<i16>) {
///         samples.resize(samples.len() + frames * self.channels, 0);
///     }
///
///     fn duration(&self, packet: &[u8]) -> Option<usize> {
///         Some(packet.len())
///     }
///
///     fn reset(&mut self) {}
/// }
///
/// let config = Config::new().audio_coder(Codec::Pcmu, Arc::new(UpperHalf))?;
/// # Ok::<(), smallrtc::ConfigError>(())
/// ```
pub trait AudioCoder: fmt::Debug + Send + Sync {
    /// What it is called: it stands in recordings, which a replay at full detail needs the same
    /// coders for.
    fn name(&self) -> &str;

    /// An encoder for a stream that begins.
    fn encoder(&self, settings: EncoderSettings) -> Box<dyn AudioEncoder>;

    /// A decoder for a stream that begins.
    fn decoder(&self, settings: DecoderSettings) -> Box<dyn AudioDecoder>;
}

/// What an encoder is to code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct EncoderSettings {
    /// Samples per second and channel: for Opus those of [`Config::audio_out`], 8000 for PCMU and
    /// PCMA, 16000 for G.722.
    pub rate: u32,
    /// 1 or 2: for Opus those of [`Config::audio_out`], else 1.
    pub channels: u8,
    /// How much sound each packet holds ([`Config::audio_packet_time`]).
    pub packet_time: PacketTime,
    /// [`Config::audio_bitrate`], in bits per second; for Opus.
    pub bitrate: u32,
    /// [`Config::audio_complexity`], 0 to 10; for Opus.
    pub complexity: u8,
    /// What is sent while there is nothing to say ([`Config::audio_idle`]).
    pub idle: AudioIdle,
}

/// What a decoder is to give.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DecoderSettings {
    /// Samples per second and channel: 48000 for Opus, 8000 for PCMU and PCMA, 16000 for G.722.
    pub rate: u32,
    /// 1 or 2 ([`Config::audio_in`]), whatever the packets hold.
    pub channels: u8,
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
    /// Opus by libopus.
    #[cfg(feature = "libopus")]
    OpusLib,
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
        #[cfg(feature = "libopus")]
        if config.libopus {
            return Some(AudioCodec::OpusLib);
        }
        #[cfg(feature = "opus")]
        return Some(AudioCodec::OpusPure);
        #[cfg(not(feature = "opus"))]
        None
    }

    fn name(self) -> &'static str {
        match self {
            #[cfg(feature = "opus")]
            AudioCodec::OpusPure => "opus-pure",
            #[cfg(feature = "libopus")]
            AudioCodec::OpusLib => "libopus",
            AudioCodec::Null => "null",
            AudioCodec::Pcmu => "pcmu",
            AudioCodec::Pcma => "pcma",
            AudioCodec::G722 => "g722",
        }
    }

    pub(crate) fn encoder(self, config: AudioOut) -> Box<dyn AudioEncoder> {
        let Some(telephone) = self.telephone() else {
            return match self {
                #[cfg(feature = "opus")]
                AudioCodec::OpusPure => super::opus::encoder(config),
                #[cfg(feature = "libopus")]
                AudioCodec::OpusLib => super::libopus::encoder(config),
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
                AudioCodec::OpusPure => super::opus::decoder(config),
                #[cfg(feature = "libopus")]
                AudioCodec::OpusLib => super::libopus::decoder(config),
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
            #[cfg(feature = "libopus")]
            AudioCodec::OpusLib => None,
            AudioCodec::Null => None,
        }
    }
}

/// What makes the coders of one codec: what is built in, or the application's own.
#[derive(Clone, Debug)]
pub(crate) enum Coder {
    Ours(AudioCodec),
    Theirs(Codec, Arc<dyn AudioCoder>),
}

impl From<AudioCodec> for Coder {
    fn from(ours: AudioCodec) -> Coder {
        Coder::Ours(ours)
    }
}

impl Coder {
    /// What codes and decodes here. `None` for all when one codec that may be negotiated has no
    /// coders: a call is not to change from PCM to coded frames by what its peer offers.
    pub(crate) fn of(config: &Config, codec: Codec) -> Option<Coder> {
        let are_all = config.audio_codecs.iter().all(|codec| Coder::one(config, *codec).is_some());
        Coder::one(config, codec).filter(|_| are_all)
    }

    /// The same for one codec by itself.
    pub(crate) fn one(config: &Config, codec: Codec) -> Option<Coder> {
        let theirs = config.audio_coders.iter().find(|(of, _)| *of == codec);
        if let Some((_, coder)) = theirs {
            return Some(Coder::Theirs(codec, coder.clone()));
        }
        Some(Coder::Ours(match codec {
            Codec::Opus => AudioCodec::select(config)?,
            Codec::Pcmu => AudioCodec::Pcmu,
            Codec::Pcma => AudioCodec::Pcma,
            Codec::G722 => AudioCodec::G722,
            Codec::Vp8 | Codec::H264 => return None,
        }))
    }

    /// What it is called in recordings.
    pub(crate) fn name(&self) -> &str {
        match self {
            Coder::Ours(ours) => ours.name(),
            Coder::Theirs(_, theirs) => theirs.name(),
        }
    }

    pub(crate) fn encoder(&self, config: AudioOut) -> Box<dyn AudioEncoder> {
        let (codec, coder) = match self {
            Coder::Ours(ours) => return ours.encoder(config),
            Coder::Theirs(codec, coder) => (*codec, coder),
        };
        let AudioOut { packet_time, bitrate, complexity, idle, .. } = config;
        let (rate, channels) = match codec {
            Codec::Opus => (config.rate, config.channels),
            _ => (decoder_rate(codec), 1),
        };
        let settings = EncoderSettings { rate, channels, packet_time, bitrate, complexity, idle };
        let encoder = coder.encoder(settings);
        if codec == Codec::Opus { encoder } else { Adapted::wrap(encoder, config, rate) }
    }

    pub(crate) fn decoder(&self, config: AudioIn) -> Box<dyn AudioDecoder> {
        match self {
            Coder::Ours(ours) => ours.decoder(config),
            Coder::Theirs(codec, coder) => coder
                .decoder(DecoderSettings { rate: decoder_rate(*codec), channels: config.channels }),
        }
    }
}

/// How sound is sent with a codec: what has no DTX sends silence, because its receivers take each
/// pause for a loss.
pub(crate) fn audio_out(codec: Codec, config: AudioOut) -> AudioOut {
    let idle = match config.idle {
        AudioIdle::Dtx if codec != Codec::Opus => AudioIdle::Silence,
        idle => idle,
    };
    AudioOut { idle, ..config }
}

/// Stands in a replay for coders that are not at hand, where nothing is coded or decoded.
#[derive(Debug)]
pub(crate) struct Absent(pub(crate) String);

impl AudioCoder for Absent {
    fn name(&self) -> &str {
        &self.0
    }

    fn encoder(&self, _settings: EncoderSettings) -> Box<dyn AudioEncoder> {
        Box::new(Nothing)
    }

    fn decoder(&self, _settings: DecoderSettings) -> Box<dyn AudioDecoder> {
        Box::new(Nothing)
    }
}

/// Coders that neither code nor decode.
#[derive(Debug)]
struct Nothing;

impl AudioEncoder for Nothing {
    fn encode(&mut self, _samples: &[i16], packet: &mut Vec<u8>) {
        packet.clear();
    }

    fn silence(&mut self, packet: &mut Vec<u8>) {
        packet.clear();
    }

    fn set_loss(&mut self, _percent: u8) {}
}

impl AudioDecoder for Nothing {
    fn decode(&mut self, _packet: &[u8], _samples: &mut Vec<i16>) -> usize {
        0
    }

    fn conceal(&mut self, _frames: usize, _samples: &mut Vec<i16>) {}

    fn duration(&self, _packet: &[u8]) -> Option<usize> {
        None
    }

    fn reset(&mut self) {}
}
