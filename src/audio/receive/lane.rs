//! One codec's way from packets to the reader's rate.

use crate::Codec;
use crate::audio::codec::{AudioDecoder, decoder_rate};
use crate::audio::resample::{Resampler, phases};
use crate::config::AudioIn;

/// 48 kHz, in which time is counted.
const TICKS: u32 = 48_000;

/// A decoder, and what brings its sound to the reader's rate.
#[derive(Debug)]
pub(super) struct Lane {
    pub(super) codec: Codec,
    pub(super) decoder: Box<dyn AudioDecoder>,
    pub(super) resampler: Resampler,
    rate: u32,
    /// Of one sample of the decoder's, at 48 kHz.
    pub(super) ticks: u64,
}

impl Lane {
    pub(super) fn new(codec: Codec, decoder: Box<dyn AudioDecoder>, config: AudioIn) -> Lane {
        let rate = decoder_rate(codec);
        let resampler = Resampler::new(rate, config.rate, config.channels);
        Lane { codec, decoder, resampler, rate, ticks: u64::from(TICKS / rate) }
    }

    /// It is heard from now on, after so many ticks and samples at the reader's rate: the samples
    /// go on at the distance that they have. So nothing drifts, however often the codec changes.
    pub(super) fn begin(&mut self, given: u64, emitted: u64, to: u32) {
        self.decoder.reset();
        self.resampler.reset();
        if let Some((phases, step)) = phases(self.rate, to) {
            let due = emitted * step;
            self.resampler.set_position(due.saturating_sub(self.samples(given) * phases));
        }
    }

    /// The samples of so many ticks after so many that were given: where a gap is no whole number
    /// of samples, the next one makes up for it.
    pub(super) fn frames(&self, given: u64, len: u64) -> usize {
        (self.samples(given + len) - self.samples(given)) as usize
    }

    /// The whole samples in so many ticks. Opus is decoded at 48 kHz, and a division takes as long
    /// as copying a hundred samples.
    pub(super) fn samples(&self, ticks: u64) -> u64 {
        if self.ticks == 1 { ticks } else { ticks / self.ticks }
    }
}
