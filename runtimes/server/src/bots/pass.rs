//! The pass bot: everything comes back as it was coded.
//!
//! Sound is neither decoded nor paced: a packet goes back when it comes. So it costs what the
//! network side of a call costs and nothing else, which is what it is for: measuring, and carrying
//! sound between calls whose codec is somebody else's concern. A packet that was lost on the way in
//! is missing on the way out, and one that was late leaves late: no clock of the bot's own mends
//! it. To a listener that is a worse echo than [`echo`](super::echo()).

use smallrtc::{CloseReason, Config};

use crate::TapedPeer;

/// Sets calls up for [`pass`]: sound is coded both ways.
#[must_use]
pub fn pass_config(config: Config) -> Config {
    config.audio_in_encoded().audio_out_encoded()
}

/// Gives the peer its own packets, messages and pictures back until the call ends; gives the
/// reason of the end, `None` when the driver went away before. Calls must be set up with
/// [`pass_config`]: sound that comes decoded is returned as [`echo`](super::echo()) does it.
pub async fn pass(call: impl Into<TapedPeer>) -> Option<CloseReason> {
    super::echo(call).await
}
