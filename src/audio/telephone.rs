//! The codecs of telephones behind the seam: PCMU and PCMA at 8 kHz, G.722 at 16 kHz. One channel
//! each, 64 kbit/s, any packet time.
//!
//! They repair nothing: a lost packet is concealed ([`conceal`](super::conceal)), and the loss that
//! the peer reports changes nothing here.

use super::conceal::Concealment;
use super::{g711, g722};
use crate::audio::codec::{AudioDecoder, AudioEncoder};

/// The longest packet that is decoded, in bytes: 200 ms, what RFC 3551 section 4.2 asks receivers
/// to take.
const PACKET_MAX: usize = 1_600;

/// The codecs of telephones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Telephone {
    Pcmu,
    Pcma,
    G722,
}

impl Telephone {
    pub(super) fn rate(self) -> u32 {
        match self {
            Telephone::Pcmu | Telephone::Pcma => 8_000,
            Telephone::G722 => 16_000,
        }
    }
}

/// Codes for a telephone.
#[derive(Debug)]
pub(super) struct TelephoneEncoder {
    codec: Telephone,
    g722: g722::Encoder,
    /// Samples of a packet.
    frames: usize,
    zeros: Vec<i16>,
}

impl TelephoneEncoder {
    /// For packets of so many chunks of 10 ms.
    pub(super) fn new(codec: Telephone, chunks: usize) -> TelephoneEncoder {
        let frames = codec.rate() as usize / 100 * chunks;
        let zeros = if codec == Telephone::G722 { vec![0; frames] } else { Vec::new() };
        TelephoneEncoder { codec, g722: g722::Encoder::new(), frames, zeros }
    }
}

impl AudioEncoder for TelephoneEncoder {
    fn encode(&mut self, samples: &[i16], packet: &mut Vec<u8>) {
        packet.clear();
        match self.codec {
            Telephone::Pcmu => packet.extend(samples.iter().map(|sample| g711::ulaw(*sample))),
            Telephone::Pcma => packet.extend(samples.iter().map(|sample| g711::alaw(*sample))),
            Telephone::G722 => self.g722.encode(samples, packet),
        }
    }

    /// G.722 has no silence but coded zeros: the decoder's predictor has to be followed.
    fn silence(&mut self, packet: &mut Vec<u8>) {
        packet.clear();
        match self.codec {
            Telephone::Pcmu => packet.resize(self.frames, g711::ULAW_ZERO),
            Telephone::Pcma => packet.resize(self.frames, g711::ALAW_ZERO),
            Telephone::G722 => self.g722.encode(&self.zeros, packet),
        }
    }

    fn set_loss(&mut self, _percent: u8) {}
}

/// Decodes what a telephone sends.
#[derive(Debug)]
pub(super) struct TelephoneDecoder {
    codec: Telephone,
    g722: g722::Decoder,
    concealment: Concealment,
    /// Each sample stands so many times in what is given: the channels are all the same.
    channels: usize,
    /// Scratch: one channel.
    mono: Vec<i16>,
}

impl TelephoneDecoder {
    pub(super) fn new(codec: Telephone, channels: u8) -> TelephoneDecoder {
        TelephoneDecoder {
            codec,
            g722: g722::Decoder::new(),
            concealment: Concealment::new(codec.rate()),
            channels: usize::from(channels),
            mono: Vec::new(),
        }
    }

    fn give(&self, samples: &mut Vec<i16>) {
        match self.channels {
            1 => samples.extend_from_slice(&self.mono),
            _ => samples.extend(self.mono.iter().flat_map(|sample| [*sample, *sample])),
        }
    }
}

impl AudioDecoder for TelephoneDecoder {
    fn decode(&mut self, packet: &[u8], samples: &mut Vec<i16>) -> usize {
        if self.duration(packet).is_none() {
            return 0;
        }
        self.mono.clear();
        match self.codec {
            Telephone::Pcmu => self.mono.extend(packet.iter().map(|byte| g711::from_ulaw(*byte))),
            Telephone::Pcma => self.mono.extend(packet.iter().map(|byte| g711::from_alaw(*byte))),
            Telephone::G722 => self.g722.decode(packet, &mut self.mono),
        }
        self.concealment.heard(&mut self.mono);
        self.give(samples);
        self.mono.len()
    }

    fn conceal(&mut self, frames: usize, samples: &mut Vec<i16>) {
        self.mono.clear();
        self.concealment.conceal(frames, &mut self.mono);
        self.give(samples);
    }

    fn duration(&self, packet: &[u8]) -> Option<usize> {
        let samples = if self.codec == Telephone::G722 { 2 } else { 1 };
        (1..=PACKET_MAX).contains(&packet.len()).then_some(packet.len() * samples)
    }

    fn reset(&mut self) {
        self.g722 = g722::Decoder::new();
        self.concealment.reset();
    }
}
