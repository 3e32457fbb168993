//! The tone bot: one pitch, for as long as the call lasts.

use smallrtc::media::{Player, Tone};
use smallrtc::{CloseReason, Config, ConfigError};

use super::echo::run;
use super::play::Playing;
use crate::TapedPeer;

/// How far below full scale the tone is: loud, and nothing clips that is added to it.
const ATTENUATION_DB: u8 = 12;

/// Sets calls up for [`tone`]: sound goes out at 48 kHz, as every tone needs that people hear.
#[must_use]
pub fn tone_config(config: Config) -> Config {
    config.audio_out(48_000, 1).expect("Opus codes 48 kHz and one channel")
}

/// Says a tone of so many Hz, from when the call is connected until it ends; gives the reason of
/// the end, `None` when the driver went away before. Messages and pictures come back as from
/// [`echo`](super::echo()). Calls should be set up with [`tone_config`], or high tones are not
/// heard.
///
/// # Errors
/// [`ConfigError::OutOfRange`] outside 1..=20000.
pub fn tone(
    call: impl Into<TapedPeer>,
    frequency_hz: u32,
) -> Result<impl Future<Output = Option<CloseReason>>, ConfigError> {
    let player = Player::new(Tone::new(frequency_hz, ATTENUATION_DB, None)?);
    Ok(run(call.into(), Playing::new(player, None)))
}
