//! What callers say, and how it is known again.
//!
//! A caller says a tone, coded beforehand: [`LOOP`] packets of 20 ms, over and over. Callers next
//! to each other have different pitches, so that a bot that mixes its calls up is found out. Each
//! round begins with a burst of another pitch, the mark that the delay of an echo is measured by.
//!
//! An [`Ear`] decodes what comes back and says of each packet what it is. It is what tells a bot
//! that returns silence from one that returns the tone. Nothing here touches a socket or a clock.

use std::f32::consts::TAU;
use std::sync::Arc;
use std::time::Duration;

use opus_pure::{Application, Error as OpusError, OpusDecoder, OpusEncoder};

/// How much sound a packet holds, as browsers send it.
pub(super) const PACKET_TIME: Duration = Duration::from_millis(20);

/// Packets of a round, which begins with a burst: 2 s. A delay can be told up to this long.
pub(super) const LOOP: usize = 100;

/// Packets that the burst lasts: 60 ms, more than the longest packet of Opus that bots send.
const BURST: usize = 3;

/// The pitch of the burst, in Hz. Well above the tones, within what narrowband Opus carries.
const BURST_PITCH: f32 = 2_500.0;

/// Pitches of the tone, in Hz: whole numbers, so that a round ends where the next begins, and
/// none a multiple of another.
const PITCHES: [f32; 4] = [400.0, 520.0, 680.0, 880.0];

const RATE: usize = 48_000;
const SAMPLES: usize = RATE / 50;

/// The longest packet of Opus: 120 ms (RFC 6716 section 3.2.5).
const SAMPLES_MAX: usize = RATE * 12 / 100;

/// Loud enough to be speech: a quarter of full scale.
const AMPLITUDE: f32 = 8_000.0;

/// Below this, in 16-bit units, sound is silence: 50 dB below full scale, 40 dB below the tone.
const SILENCE_RMS: f32 = 100.0;

/// The part of a packet's power that must be at the pitches that were sent. A sine that came
/// through Opus keeps more than nine tenths there; noise or another tone has next to nothing.
const OWN_PART_MIN: f32 = 0.7;

/// The burst's beginning is looked for in steps of 2.5 ms.
const STEP: usize = RATE / 400;

/// The part of a step's power that must be at the burst's pitch.
const BURST_PART_MIN: f32 = 0.5;

/// What must pass without a burst before the next: less than a round, more than a burst's echo.
const BURST_PAUSE: usize = RATE / 2;

/// Pitches are kept of this many packets; the median of the latest is what is told.
const PITCHES_MAX: usize = 101;

/// What one kind of caller says.
#[derive(Debug)]
pub(super) struct Tone {
    pitch: f32,
    packets: Vec<Arc<[u8]>>,
    /// Where the burst begins in the packets' decoded sound, from the first packet on.
    mark: Duration,
}

impl Tone {
    /// One for each pitch.
    pub(super) fn all() -> Result<Vec<Arc<Tone>>, OpusError> {
        PITCHES.iter().map(|pitch| Tone::code(*pitch).map(Arc::new)).collect()
    }

    fn code(pitch: f32) -> Result<Tone, OpusError> {
        let mut opus = OpusEncoder::new(RATE as i32, 1, Application::Voip)?;
        let mut packets = Vec::with_capacity(LOOP);
        // A round first that is not kept, so that the last packet leads on to the first.
        for number in 0..2 * LOOP {
            let mut packet = vec![0; 1275];
            let len = opus.encode_s16(&sound(pitch, number % LOOP), SAMPLES, &mut packet)?;
            if number >= LOOP {
                packets.push(Arc::from(&packet[..len]));
            }
        }
        let mut tone = Tone { pitch, packets, mark: Duration::ZERO };
        tone.mark = tone.listen_to_itself()?;
        Ok(tone)
    }

    /// The codec delays what it codes, and a burst needs some steps to be recognised. The same
    /// ear tells how much that is, so that it cancels out.
    fn listen_to_itself(&self) -> Result<Duration, OpusError> {
        let mut ear = Ear::new(self)?;
        let mut mark = None;
        for number in 0..2 * LOOP {
            let begun = ear.listen(&self.packets[number % LOOP]).and_then(|heard| heard.burst);
            if let Some(offset) = begun {
                let number = u32::try_from(number % LOOP).unwrap_or_default();
                mark = Some(PACKET_TIME * number + offset);
            }
        }
        Ok(mark.unwrap_or_default())
    }

    /// The packet with this number, counted from the call's first.
    pub(super) fn packet(&self, number: u64) -> Arc<[u8]> {
        Arc::clone(&self.packets[(number % LOOP as u64) as usize])
    }

    /// Whether a round begins with this packet.
    pub(super) fn is_first(number: u64) -> bool {
        number.is_multiple_of(LOOP as u64)
    }

    /// How long after a round's first packet its mark is.
    pub(super) fn mark(&self) -> Duration {
        self.mark
    }

    /// In Hz.
    pub(super) fn pitch(&self) -> f32 {
        self.pitch
    }
}

fn sound(pitch: f32, number: usize) -> [i16; SAMPLES] {
    let pitch = if number < BURST { BURST_PITCH } else { pitch };
    std::array::from_fn(|index| {
        let phase = ((number * SAMPLES + index) as f32 * pitch / RATE as f32).fract();
        ((TAU * phase).sin() * AMPLITUDE) as i16
    })
}

/// What a packet was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sound {
    Own,
    Silence,
    Other,
}

/// What was heard in a packet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Heard {
    pub(super) sound: Sound,
    /// Where in the packet a burst began, if one did.
    pub(super) burst: Option<Duration>,
}

/// Decodes and judges one call's packets.
#[derive(Debug)]
pub(super) struct Ear {
    opus: OpusDecoder,
    own: f32,
    samples: Vec<i16>,
    since_burst: usize,
    pitches: Vec<f32>,
    next_pitch: usize,
}

impl Ear {
    pub(super) fn new(tone: &Tone) -> Result<Ear, OpusError> {
        Ok(Ear {
            opus: OpusDecoder::new(RATE as i32, 1)?,
            own: tone.pitch,
            samples: vec![0; SAMPLES_MAX],
            since_burst: BURST_PAUSE,
            pitches: Vec::with_capacity(PITCHES_MAX),
            next_pitch: 0,
        })
    }

    /// Judges a packet; `None` when it is no Opus.
    pub(super) fn listen(&mut self, packet: &[u8]) -> Option<Heard> {
        let len = self.opus.decode_s16(packet, SAMPLES_MAX, &mut self.samples).ok()?;
        let samples = std::mem::take(&mut self.samples);
        let heard = self.judge(&samples[..len.min(SAMPLES_MAX)]);
        self.samples = samples;
        Some(heard)
    }

    fn judge(&mut self, samples: &[i16]) -> Heard {
        let burst = self.find_burst(samples);
        let total = power(samples);
        if total.sqrt() < SILENCE_RMS {
            return Heard { sound: Sound::Silence, burst };
        }
        let own = power_at(samples, self.own) + power_at(samples, BURST_PITCH);
        self.note_pitch(samples);
        let sound = if own >= OWN_PART_MIN * total { Sound::Own } else { Sound::Other };
        Heard { sound, burst }
    }

    fn find_burst(&mut self, samples: &[i16]) -> Option<Duration> {
        let mut begun = None;
        for (number, step) in samples.chunks(STEP).enumerate() {
            let total = power(step);
            let is_burst = total.sqrt() >= SILENCE_RMS
                && power_at(step, BURST_PITCH) >= BURST_PART_MIN * total;
            if is_burst {
                if self.since_burst >= BURST_PAUSE {
                    begun = Some(Duration::from_micros(2_500) * u32::try_from(number).unwrap_or(0));
                }
                self.since_burst = 0;
            } else {
                self.since_burst = self.since_burst.saturating_add(step.len());
            }
        }
        begun
    }

    fn note_pitch(&mut self, samples: &[i16]) {
        let Some(pitch) = pitch(samples) else { return };
        if self.pitches.len() < PITCHES_MAX {
            self.pitches.push(pitch);
        } else {
            self.pitches[self.next_pitch % PITCHES_MAX] = pitch;
        }
        self.next_pitch += 1;
    }

    /// The pitch of what was not silent, in Hz: the median of the latest packets.
    pub(super) fn pitch(&self) -> Option<f32> {
        let mut pitches = self.pitches.clone();
        pitches.sort_by(f32::total_cmp);
        pitches.get(pitches.len() / 2).copied()
    }
}

/// The mean square.
fn power(samples: &[i16]) -> f32 {
    let sum: f32 = samples.iter().map(|sample| f32::from(*sample) * f32::from(*sample)).sum();
    sum / samples.len().max(1) as f32
}

/// The part of the mean square that is at a pitch (Goertzel's algorithm).
fn power_at(samples: &[i16], pitch: f32) -> f32 {
    let coefficient = 2.0 * (TAU * pitch / RATE as f32).cos();
    let (mut last, mut before) = (0.0_f32, 0.0_f32);
    for sample in samples {
        (last, before) = (f32::from(*sample) + coefficient * last - before, last);
    }
    let squared = last * last + before * before - coefficient * last * before;
    let len = samples.len().max(1) as f32;
    2.0 * squared / (len * len)
}

/// From the first rise through zero to the last.
fn pitch(samples: &[i16]) -> Option<f32> {
    let mut rises = samples.windows(2).enumerate().filter_map(|(index, pair)| {
        let (low, high) = (f32::from(pair[0]), f32::from(pair[1]));
        (low < 0.0 && high >= 0.0).then(|| index as f32 + low / (low - high))
    });
    let first = rises.next()?;
    let (last, periods) = rises.fold((first, 0), |(_, periods), rise| (rise, periods + 1));
    (periods > 0).then(|| RATE as f32 * periods as f32 / (last - first))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hear(ear: &mut Ear, packets: impl Iterator<Item = Arc<[u8]>>) -> Vec<Heard> {
        packets.map(|packet| ear.listen(&packet).unwrap()).collect()
    }

    fn part(heard: &[Heard], sound: Sound) -> f32 {
        heard.iter().filter(|heard| heard.sound == sound).count() as f32 / heard.len() as f32
    }

    #[test]
    fn every_tone_is_its_own_and_no_other() {
        let tones = Tone::all().unwrap();
        for tone in &tones {
            for other in &tones {
                let mut ear = Ear::new(other).unwrap();
                let heard = hear(&mut ear, (0..200).map(|number| tone.packet(number)));
                let is_same = tone.pitch() == other.pitch();
                let own = part(&heard, Sound::Own);
                // Bursts are the same in all.
                assert!(if is_same { own > 0.95 } else { own < 0.1 }, "{own} {}", tone.pitch());
                assert!((ear.pitch().unwrap() - tone.pitch()).abs() < 10.0);
            }
        }
    }

    #[test]
    fn silence_is_heard_as_silence() {
        let mut opus = OpusEncoder::new(RATE as i32, 1, Application::Voip).unwrap();
        let tone = &Tone::all().unwrap()[0];
        let mut ear = Ear::new(tone).unwrap();
        for _ in 0..50 {
            let mut packet = vec![0; 1275];
            let len = opus.encode_s16(&[0; SAMPLES], SAMPLES, &mut packet).unwrap();
            let heard = ear.listen(&packet[..len]).unwrap();
            assert_eq!((heard.sound, heard.burst), (Sound::Silence, None));
        }
        assert_eq!(ear.pitch(), None);
    }

    #[test]
    fn the_mark_is_heard_once_a_round_where_it_is_expected() {
        for tone in Tone::all().unwrap() {
            let mut ear = Ear::new(&tone).unwrap();
            let heard = hear(&mut ear, (0..5 * LOOP as u64).map(|number| tone.packet(number)));
            let marks: Vec<Duration> = heard
                .iter()
                .zip(0..)
                .filter_map(|(heard, number)| Some(PACKET_TIME * number + heard.burst?))
                .collect();
            assert_eq!(marks.len(), 5, "{marks:?}");
            assert!(tone.mark() < Duration::from_millis(60), "{:?}", tone.mark());
            for (mark, round) in marks.iter().zip(0..).skip(1) {
                assert_eq!(*mark - PACKET_TIME * LOOP as u32 * round, tone.mark());
            }
        }
    }

    #[test]
    fn what_is_no_opus_is_refused() {
        let mut ear = Ear::new(&Tone::all().unwrap()[0]).unwrap();
        assert!(ear.listen(&[]).is_none() || ear.listen(&[0xff; 3]).is_none());
    }

    #[test]
    fn pitches_are_kept_of_the_latest_packets_only() {
        let mut ear = Ear::new(&Tone::all().unwrap()[0]).unwrap();
        for pitch in [PITCHES[0], PITCHES[1]] {
            for number in 0..PITCHES_MAX {
                ear.note_pitch(&sound(pitch, BURST + number % (LOOP - BURST)));
                assert!(ear.pitches.len() <= PITCHES_MAX);
            }
            assert!((ear.pitch().unwrap() - pitch).abs() < 1.0);
        }
    }
}
