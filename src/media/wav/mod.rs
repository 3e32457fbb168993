//! WAV files (RIFF): read and written.
//!
//! The reader takes bytes in any cut and gives 16-bit samples of one or two channels; the writer
//! takes samples and gives [`FileWrite`](super::FileWrite)s that keep the header right while the
//! file grows. Neither changes the sample rate, opens a file, or holds more than 64 KiB of one.
//!
//! It is our own because the crates for it want a `Read` that blocks and a `Seek` at the end: a
//! file of theirs has a wrong header when its process is killed.
//!
//! What the reader takes: PCM of 8, 16, 24 and 32 bits, 32-bit float, plain and
//! WAVE_FORMAT_EXTENSIBLE, RIFF and RF64, any rate from 1 to 768000 Hz, 1 to 64 channels.
//!
//! | what | becomes |
//! | --- | --- |
//! | a chunk that is not known | skipped, whatever its size |
//! | `data` of size 0, 0xFFFFFFFF, or longer than the file | sound up to the file's end |
//! | chunks behind `data` | not read |
//! | a last sample that is not whole | dropped |
//! | more than two channels | two, by where the speakers stand; the bass channel is left out |
//! | more than 16 bits | rounded; float is clipped at full scale, NaN is silence |
//! | anything else | [`WavError`], once and for all |

mod fold;
mod reader;
mod writer;

#[cfg(test)]
mod tests;

pub use reader::{WavError, WavFormat, WavReader};
pub use writer::WavWriter;

/// WAVE_FORMAT_PCM, WAVE_FORMAT_IEEE_FLOAT and WAVE_FORMAT_EXTENSIBLE.
const PCM: u16 = 1;
const FLOAT: u16 = 3;
const EXTENSIBLE: u16 = 0xFFFE;
