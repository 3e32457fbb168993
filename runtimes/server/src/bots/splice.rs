//! Sound that has a seam: where some is missing that it goes on without, or was left out.
//!
//! | seam | is heard as |
//! | --- | --- |
//! | a block is late | the last waves over again, for at most two packets, the second one fading out |
//! | it comes, or another one | the waves fade into it |
//! | blocks are left out | the first of them fades into the one that is taken again |
//! | sound broke off | the next block fades in |
//!
//! How long the waves are is where the last sound is most like itself. Nothing has a step that the
//! sound itself has not.

/// How long a fade is: long enough that nothing clicks, too short for a syllable.
const FADE_MS: usize = 5;

/// The waves that are repeated: from the pitch of a high voice, 400 Hz, to the longest that a
/// packet holds.
const WAVE_MIN_US: usize = 2_500;
const WAVE_MAX_MS: usize = 20;

/// How much of the last sound has to be like what was before it.
const ALIKE_MS: usize = 10;

/// What is kept of the last sound: all that the search for waves looks at.
const TAIL_MS: usize = WAVE_MAX_MS + ALIKE_MS;

/// At which rate waves are looked for first; what that misses is looked for around the best. 8 kHz:
/// all of a voice's pitch.
const SEARCH_RATE: usize = 8_000;

/// Sound below this is quiet: -50 dB.
const QUIET: u16 = 100;

/// Whether all of this is quiet.
pub(super) fn is_quiet(samples: &[i16]) -> bool {
    samples.iter().all(|sample| sample.unsigned_abs() < QUIET)
}

/// One stream of sound.
#[derive(Debug)]
pub(super) struct Splice {
    channels: usize,
    /// Samples per channel of a millisecond, rounded down.
    per_ms: usize,
    /// The last sound, interleaved.
    tail: Vec<i16>,
    /// What would have come next, to fade from: nothing, or [`FADE_MS`] of it.
    next: Vec<i16>,
    /// The wave that is repeated, and how far: samples per channel.
    wave: Option<Wave>,
}

#[derive(Clone, Copy, Debug)]
struct Wave {
    len: usize,
    at: usize,
}

impl Splice {
    /// `channels` is 1 or 2.
    pub(super) fn new(rate: u32, channels: u8) -> Splice {
        let (channels, per_ms) = (usize::from(channels.max(1)), (rate as usize / 1_000).max(1));
        let tail = vec![0; TAIL_MS * per_ms * channels];
        Splice { channels, per_ms, tail, next: Vec::new(), wave: None }
    }

    /// Takes a block: it goes out as it is, but for its first 5 ms after a seam.
    pub(super) fn join(&mut self, block: &[i16], out: &mut Vec<i16>) {
        let start = out.len();
        out.extend_from_slice(block);
        let frames = (self.next.len() / self.channels).min(block.len() / self.channels);
        for at in 0..frames * self.channels {
            let share = (at / self.channels + 1) as f32 / (frames + 1) as f32;
            let (from, to) = (f32::from(self.next[at]), f32::from(block[at]));
            out[start + at] = (from + share * (to - from)).round_ties_even() as i16;
        }
        self.next.clear();
        self.wave = None;
        let kept = self.tail.len().saturating_sub(block.len());
        self.tail.drain(..self.tail.len() - kept);
        let room = TAIL_MS * self.per_ms * self.channels - kept;
        self.tail.extend_from_slice(&out[out.len() - room..]);
    }

    /// Leaves a block out.
    pub(super) fn skip(&mut self, block: &[i16]) {
        if self.next.is_empty() {
            self.next.extend_from_slice(&block[..block.len().min(self.fade())]);
        }
    }

    /// Sound broke off with silence.
    pub(super) fn broke(&mut self) {
        self.next.clear();
        self.next.resize(self.fade(), 0);
    }

    /// Whether nobody would hear the last sound break off.
    pub(super) fn is_quiet(&self) -> bool {
        is_quiet(&self.tail[self.tail.len() - self.fade()..])
    }

    /// Goes on with the last waves for so many samples of each channel; `ends` with silence.
    pub(super) fn bridge(&mut self, frames: usize, ends: bool, out: &mut Vec<i16>) {
        let mut wave = self.wave.unwrap_or_else(|| Wave { len: self.wave_len(), at: 0 });
        for at in 0..frames {
            let gain = if ends { 1.0 - (at + 1) as f32 / frames as f32 } else { 1.0 };
            self.say(wave, gain, out);
            wave.at += 1;
        }
        self.wave = Some(wave);
        let mut next = std::mem::take(&mut self.next);
        next.clear();
        for at in 0..FADE_MS * self.per_ms {
            let gain = if ends { 0.0 } else { 1.0 };
            self.say(Wave { at: wave.at + at, ..wave }, gain, &mut next);
        }
        self.next = next;
    }

    fn fade(&self) -> usize {
        FADE_MS * self.per_ms * self.channels
    }

    /// One sample of each channel of the wave. Where a wave follows on another, what the seam would
    /// step by is taken back over the wave's first part.
    fn say(&self, wave: Wave, gain: f32, out: &mut Vec<i16>) {
        let (end, at) = (self.tail.len() / self.channels, wave.at % wave.len);
        let mend = (FADE_MS * self.per_ms).min(wave.len);
        let left = (mend.saturating_sub(at)) as f32 / mend as f32;
        for channel in 0..self.channels {
            let sample = |frame: usize| f32::from(self.tail[frame * self.channels + channel]);
            let step = sample(end - 1) - sample(end - wave.len - 1);
            let value = (sample(end - wave.len + at) + left * step) * gain;
            out.push(value.round_ties_even() as i16);
        }
    }

    /// How long the wave is that the last sound goes on with, in samples per channel.
    fn wave_len(&self) -> usize {
        let (shortest, longest) = (WAVE_MIN_US * self.per_ms / 1_000, WAVE_MAX_MS * self.per_ms);
        // A frame before the wave is looked at as well.
        let (shortest, longest) = (shortest.max(2), longest - 1);
        let step = (self.per_ms * 1_000 / SEARCH_RATE).max(1);
        let best = self.best((shortest..=longest).step_by(step), step);
        let near = best.saturating_sub(step - 1).max(shortest)..=(best + step - 1).min(longest);
        self.best(near, 1)
    }

    /// Of these lengths the one after which the last sound is most like what was before it.
    fn best(&self, lengths: impl Iterator<Item = usize>, step: usize) -> usize {
        let end = self.tail.len() / self.channels;
        let sample = |frame: usize| f32::from(self.tail[frame * self.channels]);
        let mut best = (f32::MIN, 2);
        for len in lengths {
            let (mut product, mut power) = (0.0, 1.0);
            for frame in (end - ALIKE_MS * self.per_ms..end).step_by(step) {
                let before = sample(frame - len);
                product += sample(frame) * before;
                power += before * before;
            }
            let alike = product / power.sqrt();
            if alike > best.0 {
                best = (alike, len);
            }
        }
        best.1
    }
}
