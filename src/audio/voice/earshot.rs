//! The detector of the crate `earshot`: a small network of its own, in pure Rust, without a model
//! file, threads or randomness. The same samples give the same scores on the same machine; its
//! logarithms are the system's.
//!
//! It is made to tell a voice from what is around it. What it takes for one and is none (measured,
//! at a threshold of 50 %): a steady tone between 200 and 450 Hz that is loud, and noise alone that
//! is nearly as loud as sound can be (white, -13 dBFS). Softer noise, hum, clicks, and tones above
//! and below that are none to it.

use std::fmt;

use ::earshot::Detector;

use super::{FRAME, VoiceDetector};

/// 8 KiB, so it does not stand in the session itself.
pub(super) struct Earshot(Box<Detector>);

impl Earshot {
    pub(super) fn new() -> Earshot {
        Earshot(Detector::default_boxed())
    }
}

impl VoiceDetector for Earshot {
    fn score(&mut self, frame: &[i16]) -> u8 {
        debug_assert_eq!(frame.len(), FRAME, "the detector takes whole frames");
        // What is no number becomes zero.
        (self.0.predict_i16(frame) * 255.0).round().clamp(0.0, 255.0) as u8
    }

    fn reset(&mut self) {
        self.0.reset();
    }
}

impl fmt::Debug for Earshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Earshot")
    }
}
