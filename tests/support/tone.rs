//! A tone into the call, and how much of it comes back.

use std::f32::consts::TAU;

use opus_pure::{Application, OpusDecoder, OpusEncoder};

const RATE: i32 = 48_000;
const FRAMES: usize = 960;

/// Codes a tone, packet by packet of 20 ms.
pub(crate) struct Microphone {
    opus: OpusEncoder,
    frequency: f32,
    played: usize,
}

impl Microphone {
    pub(crate) fn new(frequency: f32) -> Microphone {
        let opus = OpusEncoder::new(RATE, 1, Application::Voip).unwrap();
        Microphone { opus, frequency, played: 0 }
    }

    pub(crate) fn packet(&mut self) -> Vec<u8> {
        let samples: Vec<i16> = (self.played..self.played + FRAMES)
            .map(|index| {
                let phase = (index as f32 * self.frequency / RATE as f32).fract();
                ((TAU * phase).sin() * 8_000.0) as i16
            })
            .collect();
        self.played += FRAMES;
        let mut packet = vec![0; 1275];
        let len = self.opus.encode_s16(&samples, FRAMES, &mut packet).unwrap();
        packet.truncate(len);
        packet
    }
}

/// Decodes what comes back.
pub(crate) struct Speaker {
    opus: OpusDecoder,
    samples: Vec<i16>,
}

impl Speaker {
    pub(crate) fn new() -> Speaker {
        Speaker { opus: OpusDecoder::new(RATE, 1).unwrap(), samples: Vec::new() }
    }

    pub(crate) fn play(&mut self, packet: &[u8]) {
        let mut block = vec![0; 5760];
        let frames = self.opus.decode_s16(packet, 5760, &mut block).unwrap();
        self.samples.extend_from_slice(&block[..frames]);
    }

    /// The last second, once there is one that is loud throughout: each 10 ms of it.
    pub(crate) fn last_second(&self) -> Option<&[i16]> {
        let second = self.samples.last_chunk::<{ RATE as usize }>()?;
        let loud = |chunk: &[i16]| chunk.iter().any(|sample| sample.unsigned_abs() > 2_000);
        second.chunks(RATE as usize / 100).all(loud).then_some(second)
    }
}

/// The frequency of a tone, from the median time between its rises through zero: a seam, where a
/// loaded machine was late, counts no more than any other period.
pub(crate) fn frequency(samples: &[i16]) -> f32 {
    let rises: Vec<f32> = samples
        .windows(2)
        .enumerate()
        .filter(|(_, pair)| pair[0] < 0 && pair[1] >= 0)
        .map(|(index, pair)| {
            index as f32 + f32::from(pair[0]) / (f32::from(pair[0]) - f32::from(pair[1]))
        })
        .collect();
    let mut periods: Vec<f32> = rises.windows(2).map(|pair| pair[1] - pair[0]).collect();
    periods.sort_by(f32::total_cmp);
    periods.get(periods.len() / 2).map_or(0.0, |period| RATE as f32 / period)
}
