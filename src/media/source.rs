//! What sound comes from: anything that gives a block when asked.
//!
//! A source has no clock and no pace. Who pulls decides when; a [`Player`](super::Player) pulls at
//! the pace of a session.

use std::f64::consts::TAU;
use std::time::Duration;

use crate::ConfigError;

/// How long a tone fades in and out: long enough that nothing clicks, too short to be heard.
const FADE: Duration = Duration::from_millis(5);

/// The rate of what is generated here.
const RATE: u32 = 48_000;

/// The highest tone: what people hear, and within what Opus carries.
const FREQUENCY_MAX_HZ: u32 = 20_000;

/// The form of a source's sound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct AudioFormat {
    /// Samples per second and channel: one that `Session::send_audio` takes.
    pub rate: u32,
    /// 1 or 2; samples of two channels are interleaved.
    pub channels: u8,
}

impl AudioFormat {
    /// `rate` has to be one that `Session::send_audio` takes, `channels` 1 or 2.
    #[must_use]
    pub fn new(rate: u32, channels: u8) -> AudioFormat {
        AudioFormat { rate, channels }
    }
}

/// Gives sound, block by block.
pub trait AudioSource {
    /// The form of the sound; `None` until it is known. It does not change after that.
    fn format(&self) -> Option<AudioFormat>;

    /// Fills `samples` from its start, with whole samples of all channels, and gives how many were
    /// written. Fewer than there is room for, or none, when the source ends or has to wait for
    /// something: [`AudioSource::is_ended`] tells which.
    fn pull(&mut self, samples: &mut [i16]) -> usize;

    /// Whether nothing will ever be pulled again.
    fn is_ended(&self) -> bool;
}

/// How many samples of RATE a duration is, rounded down.
fn samples(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos() * u128::from(RATE) / 1_000_000_000).unwrap_or(u64::MAX)
}

/// One sine tone, at 48 kHz, one channel. It fades in and out in 5 ms.
#[derive(Clone, Debug)]
pub struct Tone {
    frequency_hz: u32,
    amplitude: f64,
    position: u64,
    /// Samples in all; `None` when it never ends.
    len: Option<u64>,
}

impl Tone {
    /// A tone of `frequency_hz` whose peaks lie `attenuation_db` below full scale. Without a
    /// duration it never ends.
    ///
    /// # Errors
    /// [`ConfigError::OutOfRange`] for a frequency outside 1..=20000 or an attenuation above 127.
    pub fn new(
        frequency_hz: u32,
        attenuation_db: u8,
        duration: Option<Duration>,
    ) -> Result<Tone, ConfigError> {
        let refused =
            |field, value, expected| Err(ConfigError::OutOfRange { field, value, expected });
        if !(1..=FREQUENCY_MAX_HZ).contains(&frequency_hz) {
            return refused("tone frequency", frequency_hz.into(), "1 to 20000");
        }
        if attenuation_db > 127 {
            return refused("tone attenuation", attenuation_db.into(), "0 to 127");
        }
        let amplitude = f64::from(i16::MAX) * 10f64.powf(-f64::from(attenuation_db) / 20.0);
        Ok(Tone { frequency_hz, amplitude, position: 0, len: duration.map(samples) })
    }

    fn sample(&self, position: u64) -> i16 {
        // Whole seconds hold whole waves, so precision does not fade with time.
        let time = (position % u64::from(RATE)) as f64 / f64::from(RATE);
        let wave = (TAU * f64::from(self.frequency_hz) * time).sin();
        let to_end = self.len.map_or(u64::MAX, |len| len - position);
        let edge = position.min(to_end) as f64 / samples(FADE) as f64;
        let fade = if edge < 1.0 { (1.0 - (TAU / 2.0 * edge).cos()) / 2.0 } else { 1.0 };
        (self.amplitude * fade * wave).round() as i16
    }
}

impl AudioSource for Tone {
    fn format(&self) -> Option<AudioFormat> {
        Some(AudioFormat::new(RATE, 1))
    }

    fn pull(&mut self, samples: &mut [i16]) -> usize {
        let len = left(samples.len(), self.position, self.len);
        for (sample, position) in samples[..len].iter_mut().zip(self.position..) {
            *sample = self.sample(position);
        }
        self.position += len as u64;
        len
    }

    fn is_ended(&self) -> bool {
        self.len.is_some_and(|len| self.position >= len)
    }
}

/// How many of `room` samples there are before the end.
fn left(room: usize, position: u64, len: Option<u64>) -> usize {
    let left = len.map_or(u64::MAX, |len| len.saturating_sub(position));
    usize::try_from(left).map_or(room, |left| left.min(room))
}

/// Silence, at 48 kHz, one channel.
#[derive(Clone, Debug)]
pub struct Silence {
    position: u64,
    len: Option<u64>,
}

impl Silence {
    /// Without a duration it never ends.
    #[must_use]
    pub fn new(duration: Option<Duration>) -> Silence {
        Silence { position: 0, len: duration.map(samples) }
    }
}

impl AudioSource for Silence {
    fn format(&self) -> Option<AudioFormat> {
        Some(AudioFormat::new(RATE, 1))
    }

    fn pull(&mut self, samples: &mut [i16]) -> usize {
        let len = left(samples.len(), self.position, self.len);
        samples[..len].fill(0);
        self.position += len as u64;
        len
    }

    fn is_ended(&self) -> bool {
        self.len.is_some_and(|len| self.position >= len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(mut source: impl AudioSource, block: usize) -> Vec<i16> {
        let mut found = Vec::new();
        let mut samples = vec![0; block];
        while !source.is_ended() {
            let len = source.pull(&mut samples);
            found.extend_from_slice(&samples[..len]);
        }
        assert_eq!(source.pull(&mut samples), 0);
        found
    }

    #[test]
    fn a_tone_has_its_length_its_level_and_its_frequency() {
        let tone = Tone::new(441, 6, Some(Duration::from_millis(1_003))).unwrap();
        let found = all(tone.clone(), 960);
        assert_eq!(found.len(), 48_144);
        let peak = found.iter().copied().max().unwrap();
        assert_eq!(peak, (32_767.0 * 0.501_187_f64) as i16);
        let crossings = found.windows(2).filter(|pair| pair[0] < 0 && pair[1] >= 0).count();
        assert!((441..=443).contains(&crossings), "{crossings}");
        assert_eq!(all(tone, 7), found, "blocks of any length are the same sound");
    }

    #[test]
    fn a_tone_does_not_click() {
        let found = all(Tone::new(1_000, 0, Some(Duration::from_millis(100))).unwrap(), 480);
        let steps = |part: &[i16]| {
            part.windows(2).map(|it| (i32::from(it[0]) - i32::from(it[1])).abs()).max()
        };
        // The steepest step of the wave itself: 2 pi f / rate of full scale.
        let steepest = (32_767.0 * TAU / 48.0) as i32 + 1;
        assert!(steps(&found).unwrap() <= steepest);
        let last = found.len() - 24;
        assert!(steps(&found[..24]).unwrap() < steepest / 10, "half a millisecond at the start");
        assert!(steps(&found[last..]).unwrap() < steepest / 10, "and at the end");
        assert!(found[0].abs() + found[found.len() - 1].abs() < 10);
    }

    #[test]
    fn a_tone_of_a_day_is_as_pure_as_at_its_start() {
        let mut tone = Tone::new(440, 0, None).unwrap();
        let mut first = [0; 960];
        tone.position = 48_000;
        assert_eq!(tone.pull(&mut first), 960);
        tone.position = 86_400 * 48_000;
        let mut later = [0; 960];
        assert_eq!(tone.pull(&mut later), 960);
        assert_eq!(first, later);
        assert!(!tone.is_ended());
    }

    #[test]
    fn tones_outside_of_their_ranges_are_refused() {
        let told = |frequency, attenuation| {
            Tone::new(frequency, attenuation, None).err().map(|error| error.to_string())
        };
        assert_eq!(told(1, 127).or(told(20_000, 0)), None);
        assert_eq!(told(0, 0).unwrap(), "tone frequency: 0 (expected 1 to 20000)");
        assert_eq!(told(20_001, 0).unwrap(), "tone frequency: 20001 (expected 1 to 20000)");
        assert_eq!(told(440, 128).unwrap(), "tone attenuation: 128 (expected 0 to 127)");
    }

    #[test]
    fn silence_is_zeros_for_as_long_as_it_should() {
        assert_eq!(all(Silence::new(Some(Duration::from_millis(25))), 480), [0; 1_200]);
        let mut endless = Silence::new(None);
        let mut samples = [1; 100];
        assert_eq!((endless.pull(&mut samples), endless.is_ended()), (100, false));
        assert_eq!(samples, [0; 100]);
    }
}
