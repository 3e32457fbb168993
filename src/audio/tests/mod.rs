//! What is sent and received, through the crate's own interface, on virtual time.

mod clear;
mod coders;
mod day;
mod dtmf;
mod idle;
mod levels;
mod null;
mod pause;
mod receive;
mod receive_always;
mod redundancy;
mod repair;
mod resample;
mod room;
mod send;
mod telephone;
#[cfg(feature = "libopus")]
#[cfg_attr(
    feature = "opus",
    expect(clippy::duplicate_mod, reason = "the same tests for each coder of Opus")
)]
mod with_libopus;
#[cfg(feature = "opus")]
mod with_pure;

use std::time::{Duration, Instant};

use crate::config::{AudioIn, AudioOut};
use crate::{AudioIdle, FrameTime, PacketTime, Redundancy};

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// Virtual time needs one real instant to count from.
#[expect(clippy::disallowed_methods, reason = "an `Instant` has no other origin")]
pub(crate) fn origin() -> Instant {
    Instant::now()
}

fn out(rate: u32) -> AudioOut {
    AudioOut {
        rate,
        channels: 1,
        packet_time: PacketTime::Ms20,
        idle: AudioIdle::Nothing,
        bitrate: 32_000,
        complexity: 5,
        redundancy: Redundancy::Off,
        encoded: false,
    }
}

fn input(rate: u32) -> AudioIn {
    let frame = FrameTime::AsItComes;
    AudioIn { frame, reorder_wait: ms(60), redundancy: true, rate, channels: 1, decode: true }
}

/// `frames` samples of a tone that is loud and does not clip.
fn sine(hertz: f64, rate: u32, frames: usize) -> Vec<i16> {
    (0..frames)
        .map(|at| {
            let turn = at as f64 * hertz / f64::from(rate) * std::f64::consts::TAU;
            (turn.sin() * 12_000.0).round() as i16
        })
        .collect()
}
