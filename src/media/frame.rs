//! Audio and video as they pass in and out of a session.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;

/// Sound to be sent: interleaved 16-bit samples.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct AudioFrame<'a> {
    /// Interleaved samples, any number of whole ones above zero.
    pub samples: &'a [i16],
    /// Samples per second and channel: 8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100 or
    /// 48000.
    pub rate: u32,
    /// 1 or 2.
    pub channels: u8,
}

impl<'a> AudioFrame<'a> {
    /// One channel.
    #[must_use]
    pub fn mono(samples: &'a [i16], rate: u32) -> AudioFrame<'a> {
        AudioFrame { samples, rate, channels: 1 }
    }

    /// Two channels, interleaved.
    #[must_use]
    pub fn stereo(samples: &'a [i16], rate: u32) -> AudioFrame<'a> {
        AudioFrame { samples, rate, channels: 2 }
    }
}

impl fmt::Debug for AudioFrame<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "AudioFrame({} samples, {} Hz, {} ch)",
            self.samples.len(),
            self.rate,
            self.channels
        )
    }
}

/// How a frame is coded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Codec {
    /// Opus, RFC 6716.
    Opus,
    /// VP8, RFC 6386.
    Vp8,
    /// H.264, Annex B with start codes.
    H264,
    /// G.711, µ-law: 8 kHz, a byte for each sample.
    Pcmu,
    /// G.711, A-law: 8 kHz, a byte for each sample.
    Pcma,
    /// G.722 at 64 kbit/s: 16 kHz, a byte for each two samples.
    G722,
}

impl Codec {
    /// Whether it codes sound.
    #[must_use]
    pub fn is_audio(self) -> bool {
        match self {
            Codec::Opus | Codec::Pcmu | Codec::Pcma | Codec::G722 => true,
            Codec::Vp8 | Codec::H264 => false,
        }
    }

    /// The units of its RTP clock in one second: 48,000 for Opus (RFC 7587 section 4.1), 90,000 for
    /// pictures, 8,000 for the others, G.722 too, though its sound has 16 kHz (RFC 3551 section
    /// 4.5.2).
    #[must_use]
    pub fn clock_rate(self) -> u32 {
        match self {
            Codec::Opus => 48_000,
            Codec::Pcmu | Codec::Pcma | Codec::G722 => 8_000,
            Codec::Vp8 | Codec::H264 => 90_000,
        }
    }

    /// How many ticks of 48 kHz, in which sound is timed here, a unit of a sound's RTP clock is.
    pub(crate) fn ticks(self) -> u64 {
        match self {
            Codec::Opus => 1,
            _ => u64::from(48_000 / self.clock_rate()),
        }
    }

    /// The whole units of its RTP clock in so many ticks of 48 kHz. Opus has as many, and is spared
    /// a division.
    pub(crate) fn units(self, ticks: u64) -> u64 {
        if self == Codec::Opus { ticks } else { ticks / self.ticks() }
    }
}

/// One coded frame: an audio packet's payload or a whole picture.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct EncodedFrame {
    /// How it is coded.
    pub codec: Codec,
    /// Its media time since the track's first frame. Times of one track must not fall.
    pub time: Duration,
    /// Whether it can be decoded without earlier ones. Always true for audio.
    pub keyframe: bool,
    /// Whether nothing is missing between the frame before and this one. Ignored when sending.
    pub contiguous: bool,
    /// The coded bytes.
    pub data: Bytes,
}

impl EncodedFrame {
    /// A frame to be sent.
    #[must_use]
    pub fn new(codec: Codec, time: Duration, keyframe: bool, data: Bytes) -> EncodedFrame {
        EncodedFrame { codec, time, keyframe, contiguous: true, data }
    }
}

impl fmt::Debug for EncodedFrame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EncodedFrame")
            .field("codec", &self.codec)
            .field("time", &self.time)
            .field("keyframe", &self.keyframe)
            .field("contiguous", &self.contiguous)
            .field("len", &self.data.len())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_of_sound_has_its_channels_and_prints_without_its_samples() {
        let samples = [1, -1, 2, -2];
        let (mono, stereo) =
            (AudioFrame::mono(&samples, 16_000), AudioFrame::stereo(&samples, 48_000));
        assert_eq!((mono.channels, mono.rate, mono.samples), (1, 16_000, &samples[..]));
        assert_eq!((stereo.channels, stereo.rate, stereo.samples), (2, 48_000, &samples[..]));
        assert_eq!(format!("{mono:?}"), "AudioFrame(4 samples, 16000 Hz, 1 ch)");
        assert_eq!(format!("{stereo:?}"), "AudioFrame(4 samples, 48000 Hz, 2 ch)");
    }

    #[test]
    fn a_coded_frame_to_be_sent_is_whole_and_prints_without_its_bytes() {
        let data = Bytes::from_static(b"a picture");
        let frame = EncodedFrame::new(Codec::Vp8, Duration::from_millis(40), true, data);
        assert!(frame.contiguous);
        let text = "EncodedFrame { codec: Vp8, time: 40ms, keyframe: true, contiguous: true, \
            len: 9 }";
        assert_eq!(format!("{frame:?}"), text);
    }
}
