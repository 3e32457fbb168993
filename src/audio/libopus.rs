//! Opus (RFC 6716) by libopus, the C library, which the `opus` crate brings and builds.

use opus::{Application, Bitrate, Channels, Decoder, Encoder, packet};

use crate::audio::codec::{AudioDecoder, AudioEncoder};
use crate::audio::opus_coder::{Codes, Decodes, OpusDecoder, OpusEncoder};
use crate::audio::opus_packet::has_copy;
use crate::config::{AudioIn, AudioOut};

/// 48 kHz: the clock of RTP for Opus (RFC 7587 section 4.1).
const DECODER_RATE: u32 = 48_000;

fn channels(count: u8) -> Channels {
    if count == 2 { Channels::Stereo } else { Channels::Mono }
}

pub(super) fn encoder(config: AudioOut) -> Box<dyn AudioEncoder> {
    let legal = "the configuration holds only what Opus codes";
    let mut opus =
        Encoder::new(config.rate, channels(config.channels), Application::Voip).expect(legal);
    opus.set_bitrate(Bitrate::Bits(config.bitrate as i32)).expect(legal);
    opus.set_complexity(i32::from(config.complexity)).expect(legal);
    Box::new(OpusEncoder::new(opus, config))
}

impl Codes for Encoder {
    type Error = opus::Error;

    fn code(&mut self, samples: &[i16], _: u8, packet: &mut [u8]) -> opus::Result<usize> {
        self.encode(samples, packet)
    }

    fn expect_loss(&mut self, percent: u8) {
        let told = self.set_inband_fec(percent > 0);
        let told = told.and(self.set_packet_loss_perc(i32::from(percent.min(100))));
        debug_assert!(told.is_ok(), "a share of a hundred is legal");
    }
}

pub(super) fn decoder(config: AudioIn) -> Box<dyn AudioDecoder> {
    let opus = Decoder::new(DECODER_RATE, channels(config.channels));
    let opus = opus.expect("48 kHz and 1 or 2 channels");
    Box::new(OpusDecoder::new(opus, config))
}

impl Decodes for Decoder {
    fn fill(&mut self, packet: &[u8], _: usize, is_copy: bool, samples: &mut [i16]) -> usize {
        self.decode(packet, samples, is_copy).unwrap_or_default()
    }

    fn len(packet: &[u8]) -> Option<usize> {
        packet::get_nb_samples(packet, DECODER_RATE).ok()
    }

    fn copy_len(packet: &[u8]) -> Option<usize> {
        let len = packet::get_samples_per_frame(packet, DECODER_RATE).ok()?;
        let is_stereo = packet::get_nb_channels(packet).ok()? == Channels::Stereo;
        let frames = packet::parse(packet).ok()?.frames;
        has_copy(frames.first()?, len, is_stereo).then_some(len)
    }

    fn forget(&mut self) -> bool {
        self.reset_state().is_ok()
    }
}
