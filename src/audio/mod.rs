//! Sound: from PCM to paced packets, and from packets to PCM whose time never shrinks.
//!
//! [`send`] owns the pacing clock, [`queue`] what waits for it; [`receive`] owns order, waiting and
//! gaps, [`pcm`] what waits to be read. [`codec`] is the seam to the coders, of which [`telephone`]
//! has G.711 and G.722; [`resample`] is the only place where rates change; [`dtmf`] is keys of a
//! telephone. Nothing here reads a clock: time comes in with each call.

mod adapt;
pub(crate) mod codec;
mod conceal;
pub(crate) mod dtmf;
mod g711;
mod g722;
mod level;
#[cfg(feature = "libopus")]
mod libopus;
mod loss;
mod null;
#[cfg(feature = "opus")]
mod opus;
#[cfg(any(feature = "opus", feature = "libopus"))]
mod opus_coder;
#[cfg(any(feature = "opus", feature = "libopus"))]
mod opus_packet;
mod pcm;
mod progress;
mod queue;
pub(crate) mod receive;
mod redundancy;
mod resample;
pub(crate) mod send;
mod telephone;
pub(crate) mod voice;

pub(crate) use codec::{AudioCodec, Coder};
pub use level::AudioLevel;
pub(crate) use queue::Told;
pub(crate) use receive::AudioReceiver;
pub use redundancy::Redundancy;
pub(crate) use resample::{RATES, Resampler, dot, kaiser, nearest, sinc};
pub(crate) use send::{AudioPacket, AudioSender};
pub use voice::VoiceActivity;

#[cfg(test)]
pub(crate) mod tests;
