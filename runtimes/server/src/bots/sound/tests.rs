//! An echo on virtual time, between a path of every kind and a model of the pacing queue.

use std::collections::VecDeque;
use std::f64::consts::TAU;

use super::*;

mod paths;
mod session;
mod splices;

const MS: Duration = Duration::from_millis(1);
const PACKET_TIME: Duration = Duration::from_millis(20);

/// What the model's first packets after sound are: 100 ms of zeros, and two that say so.
const SETTLE_PACKETS: u32 = 7;

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// The pacing queue of a call that sends nothing while there is nothing to say.
#[derive(Debug, Default)]
struct Pacer {
    frames: usize,
    channels: usize,
    queue: VecDeque<i16>,
    /// Pieces that have not begun: where.
    pieces: VecDeque<(AudioId, u64)>,
    ids: u64,
    pushed: u64,
    cut: u64,
    deadline: Option<Instant>,
    last: Option<Instant>,
    settling: u32,
    /// Somebody else has paused sound.
    is_paused: bool,
}

impl Pacer {
    fn send(&mut self, samples: &[i16], now: Instant) -> AudioId {
        let id = AudioId(self.ids);
        self.ids += 1;
        self.pieces.push_back((id, self.pushed));
        self.pushed += samples.len() as u64;
        self.queue.extend(samples);
        let earliest = self.last.map_or(now, |last| now.max(last + PACKET_TIME));
        self.deadline.get_or_insert(earliest);
        id
    }

    /// The packet that is due, and the pieces that begin with it.
    fn pop(&mut self) -> (Vec<i16>, Vec<AudioId>) {
        let due = self.deadline.take().expect("one is due");
        self.last = Some(due);
        let len = self.frames * self.channels;
        let taken = len.min(self.queue.len());
        let mut packet: Vec<i16> = self.queue.drain(..taken).collect();
        packet.resize(len, 0);
        self.cut += taken as u64;
        let mut begun = Vec::new();
        while let Some((id, _)) = self.pieces.front().filter(|(_, at)| *at < self.cut) {
            begun.push(*id);
            self.pieces.pop_front();
        }
        self.settling = if taken > 0 { SETTLE_PACKETS } else { self.settling - 1 };
        self.deadline = (self.settling > 0).then(|| due + PACKET_TIME);
        (packet, begun)
    }

    /// How long the last of all that is queued has to wait.
    fn lag(&self, now: Instant) -> f64 {
        let sound = self.queue.len() as f64 / self.channels as f64 / self.frames as f64;
        let deadline = self.deadline.map_or(0.0, |at| ms(at.saturating_duration_since(now)));
        deadline + sound * ms(PACKET_TIME)
    }
}

/// Who hears the echo.
#[derive(Debug, Default)]
struct Ear {
    last: Vec<i16>,
    /// The largest difference of two samples in a row.
    step: u16,
    /// Zeros in a row, and the most of them between sound, in samples.
    zeros: usize,
    hole: usize,
    has_begun: bool,
    /// The first packet.
    first: Vec<i16>,
    /// Samples that were not zero.
    loud: u64,
}

impl Ear {
    fn hear(&mut self, packet: &[i16], channels: usize) {
        if self.first.is_empty() {
            self.first = packet.to_vec();
        }
        self.last.resize(channels, 0);
        for frame in packet.chunks_exact(channels) {
            for (last, sample) in self.last.iter_mut().zip(frame) {
                self.step = self.step.max(sample.abs_diff(*last));
                *last = *sample;
            }
            if frame[0] == 0 {
                self.zeros += 1;
                continue;
            }
            self.loud += 1;
            if std::mem::replace(&mut self.has_begun, true) {
                self.hole = self.hole.max(self.zeros);
            }
            self.zeros = 0;
        }
    }
}

/// A block comes.
#[derive(Clone, Copy, Debug)]
struct Comes {
    at: Duration,
    is_filler: bool,
}

/// An echo, and what is around it.
struct Rig {
    rate: u32,
    channels: u8,
    block: Duration,
    start: Instant,
    now: Instant,
    echo: Echo,
    pacer: Pacer,
    ear: Ear,
    /// Of each block that came: how long it takes until its first sample leaves.
    lags: Vec<f64>,
    /// Packets leave so much later than they are due.
    late: fn(u64) -> Duration,
    packets: u64,
    said: u64,
    /// Words of pieces that began, and when the bot reads them.
    words: VecDeque<(Instant, AudioId)>,
}

impl Rig {
    fn new(rate: u32, channels: u8, block: Duration) -> Rig {
        let frames = rate as usize / 50;
        let pacer = Pacer { frames, channels: channels.into(), ..Pacer::default() };
        let start = now();
        Rig {
            rate,
            channels,
            block,
            start,
            now: start,
            echo: Echo::default(),
            pacer,
            ear: Ear::default(),
            lags: Vec::new(),
            late: |_| Duration::ZERO,
            packets: 0,
            said: 0,
            words: VecDeque::new(),
        }
    }

    /// Blocks come as the path says, each with what `say` gives for its samples, until it says no
    /// more.
    fn run(
        &mut self,
        path: impl Iterator<Item = Comes>,
        mut say: impl FnMut(u64) -> i16,
    ) -> &mut Rig {
        let len = (self.rate as u64 * self.block.as_millis() as u64 / 1_000) as usize;
        let mut block = Vec::new();
        let mut before = Duration::ZERO;
        for comes in path {
            before = before.max(comes.at);
            self.go_on(self.start + before);
            block.clear();
            for _ in 0..len {
                let sample = if comes.is_filler { 0 } else { say(self.said) };
                self.said += u64::from(!comes.is_filler);
                block.extend(std::iter::repeat_n(sample, self.channels.into()));
            }
            let frame = AudioFrame { samples: &block, rate: self.rate, channels: self.channels };
            let now = self.now;
            let piece = self.echo.hear(frame, comes.is_filler, now).map(|it| it.samples.to_vec());
            let is_sent = piece.is_some();
            self.send(piece);
            if is_sent {
                self.lags.push(self.pacer.lag(now) - ms(self.block));
            }
        }
        self
    }

    fn send(&mut self, piece: Option<Vec<i16>>) {
        let Some(piece) = piece else { return };
        let id = self.pacer.send(&piece, self.now);
        let frames = piece.len() / usize::from(self.channels);
        self.echo.delay.queued(id, ticks(frames, self.rate));
    }

    /// Until that time.
    fn go_on(&mut self, until: Instant) {
        loop {
            let deadline = self.pacer.deadline.filter(|_| !self.pacer.is_paused);
            let leaves = deadline.map(|at| at + (self.late)(self.packets));
            let word = self.words.front().map(|word| word.0);
            let due = self.echo.due();
            let next = [leaves, word, due].into_iter().flatten().min();
            let Some(next) = next.filter(|next| *next <= until) else { break };
            self.now = self.now.max(next);
            if Some(next) == leaves {
                let (packet, begun) = self.pacer.pop();
                self.packets += 1;
                self.ear.hear(&packet, self.channels.into());
                let told = self.now + MS / 20;
                self.words.extend(begun.into_iter().map(|id| (told, id)));
            } else if Some(next) == word {
                let (_, id) = self.words.pop_front().expect("it was looked at");
                self.echo.delay.began(id, self.now);
            } else {
                let piece = self.echo.turn(self.now).map(|it| it.samples.to_vec());
                self.send(piece);
            }
        }
        self.now = until;
    }

    fn counters(&self) -> Counters {
        self.echo.delay.counters()
    }

    /// The shortest and the longest lag from this share of the call on.
    fn lags(&self, from: f64) -> (f64, f64) {
        let from = (self.lags.len() as f64 * from) as usize;
        let lags = self.lags[from..].iter();
        lags.fold((f64::MAX, f64::MIN), |(low, high), lag| (low.min(*lag), high.max(*lag)))
    }

    /// A tone has a zero now and then, and never three.
    fn has_no_hole(&self) -> bool {
        self.ear.hole < 3
    }

    fn hole_ms(&self) -> f64 {
        self.ear.hole as f64 * 1e3 / f64::from(self.rate)
    }
}

/// A loud tone of 440 Hz.
fn tone(rate: u32) -> impl FnMut(u64) -> i16 {
    let turn = TAU * 440.0 / f64::from(rate);
    move |at| ((at as f64 * turn).sin() * 9_000.0).round() as i16
}

/// The largest step that a tone of 440 Hz has by itself.
fn step_of_tone(rate: u32) -> u16 {
    (TAU * 440.0 / f64::from(rate) * 9_000.0) as u16 + 2
}

/// The same for half of each second, with soft edges.
fn talk(rate: u32) -> impl FnMut(u64) -> i16 {
    let mut tone = tone(rate);
    move |at| {
        let place = (at % u64::from(rate)) as f64 / f64::from(rate);
        let edge = (place.min(0.5 - place) * 50.0).clamp(0.0, 1.0);
        (f64::from(tone(at)) * edge) as i16
    }
}
