//! Players, recorders, relays: what goes on beside a call, as state machines.
//!
//! Nothing here opens a file, reads a clock or knows a session. Bytes of files come in by calls
//! and go out as [`FileWrite`]s; sound goes into a session, and comes from one, through the
//! application's hands.
//!
//! | part | in | out |
//! | --- | --- | --- |
//! | [`ogg`] | bytes, in any cut | Opus packets with their times, and back |
//! | [`wav`] | bytes, in any cut | samples, and back |
//! | [`Tone`], [`Silence`], [`AudioFile`] | bytes of a file | blocks of samples, when asked |
//! | [`OpusPass`] | bytes of an Ogg Opus file, time | coded frames for `send_encoded`, when due |
//! | [`Recorder`] | sound both ways, time | a WAV or Ogg Opus file, as long as the call |
//! | [`PacketRecorder`] | coded frames | an Ogg Opus file, as long as the call |
//! | [`DriftCorrector`] | sound at a peer's clock | the same at ours |
//! | [`Stretch`] | sound | the same, some millionths longer or shorter |
//! | [`Relay`] | items of one source | the same items, for each who subscribes |
//! | [`Blackhole`] | anything | a count |
//! | [`Player`] | a source, events of a session | pieces for `send_audio`, 200 ms ahead |

mod audio_file;
mod drift;
mod file;
pub(crate) mod frame;
pub mod ogg;
mod opus_file;
mod pass;
mod player;
mod recorder;
mod relay;
mod source;
mod toc;
pub mod wav;

#[cfg(test)]
mod tests;

pub use audio_file::{AudioFile, AudioFileError};
pub use drift::{DriftCorrector, DriftCounters, Stretch};
pub use file::{FileRead, FileWrite};
pub use ogg::{OggCounters, OggItem, OggOpusReader, OggOpusWriter, OggPacket, OpusHead, OpusTags};
pub use pass::{OpusPass, PassError};
pub use player::Player;
pub use recorder::{PacketCounters, PacketRecorder, RecordLayout, Recorder, RecorderCounters};
pub use relay::{Blackhole, DropPolicy, Relay, RelayCounters, SubscribeError, SubscriberId};
pub use source::{AudioFormat, AudioSource, Silence, Tone};
pub use wav::{WavError, WavFormat, WavReader, WavWriter};
