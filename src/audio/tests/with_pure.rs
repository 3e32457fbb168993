//! The tests of Opus, with the one in pure Rust.

#[path = "coded.rs"]
mod coded;
#[path = "loss.rs"]
mod loss;
#[path = "losses.rs"]
mod losses;
#[path = "neteq.rs"]
mod neteq;
#[path = "opus.rs"]
mod opus;
#[path = "repair_opus.rs"]
mod repair_opus;

use super::{input, ms, origin, out, resample, sine};
use crate::audio::AudioCodec;

const OPUS: AudioCodec = AudioCodec::OpusPure;
