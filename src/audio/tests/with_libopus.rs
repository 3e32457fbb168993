//! The tests of Opus, with libopus.

#[path = "coded.rs"]
mod coded;
#[path = "loss.rs"]
mod loss;
// These make their packets with the other one.
#[cfg(feature = "opus")]
#[path = "losses.rs"]
mod losses;
#[path = "neteq.rs"]
mod neteq;
#[path = "opus.rs"]
mod opus;
#[cfg(feature = "opus")]
#[path = "repair_opus.rs"]
mod repair_opus;

use super::{input, ms, origin, out, resample, sine};
use crate::audio::AudioCodec;

const OPUS: AudioCodec = AudioCodec::OpusLib;
