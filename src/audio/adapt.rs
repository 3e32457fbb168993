//! Brings what a call speaks to the rate and the one channel of a telephone's codec.
//!
//! The queue is cut at the rate of `Config::audio_out` whatever the codec is, so that counts stay
//! exact and nothing of it changes when an offer in mid-call changes the codec. What the filter
//! holds back (24 samples of the lower rate: 3 ms at 8 kHz) is like the lookahead of any encoder.

use super::codec::AudioEncoder;
use super::queue::middle;
use super::resample::Resampler;
use crate::config::AudioOut;

/// An encoder behind a resampler.
#[derive(Debug)]
pub(super) struct Adapted {
    inner: Box<dyn AudioEncoder>,
    resampler: Resampler,
    channels: u8,
    /// Scratch: one channel, at the rate of the call and at that of the codec.
    mono: Vec<i16>,
    resampled: Vec<i16>,
}

impl Adapted {
    /// An encoder of one channel at `rate` takes what `config` gives.
    pub(super) fn wrap(
        inner: Box<dyn AudioEncoder>,
        config: AudioOut,
        rate: u32,
    ) -> Box<dyn AudioEncoder> {
        if (config.rate, config.channels) == (rate, 1) {
            return inner;
        }
        Box::new(Adapted {
            inner,
            resampler: Resampler::new(config.rate, rate, 1),
            channels: config.channels,
            mono: Vec::new(),
            resampled: Vec::new(),
        })
    }
}

impl AudioEncoder for Adapted {
    fn encode(&mut self, samples: &[i16], packet: &mut Vec<u8>) {
        let samples = if self.channels == 1 {
            samples
        } else {
            self.mono.clear();
            self.mono.extend(samples.chunks_exact(2).map(middle));
            &self.mono
        };
        // Both rates divide by 100: 10 ms in are 10 ms out.
        self.resampled.clear();
        self.resampler.process(samples, &mut self.resampled);
        self.inner.encode(&self.resampled, packet);
    }

    /// Comes after zeros that were coded, longer than the filter is.
    fn silence(&mut self, packet: &mut Vec<u8>) {
        self.inner.silence(packet);
    }

    fn pause(&mut self, packet: &mut Vec<u8>) {
        self.inner.pause(packet);
    }

    fn set_loss(&mut self, percent: u8) {
        self.inner.set_loss(percent);
    }
}
