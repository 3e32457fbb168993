//! How long an echo lags, and what is done about it.
//!
//! The browser's clock fills the queue that ours empties, and the path between them delays each
//! packet by another time. Packets leave at fixed points, 20 ms apart, from the first one on. So
//! the first block is *held* for 14 ms before it is sent: each later one then comes that long
//! before its packet is due, its *margin*, and may be as much later than the first was. No silence
//! goes ahead.
//!
//! What is watched is the least margin of each second ([`watch`]); to lag by less than a packet
//! more would help nobody, because a packet takes what is there when it is due. So the lag moves by
//! whole packets:
//!
//! | the margin | becomes |
//! | --- | --- |
//! | is below 4 ms, or will be in 20 s by what the clocks drift | a packet more |
//! | was above 28 ms for 30 s | as many packets less as are too many |
//! | was above 120 ms for 4 s, as after a stall | as many packets less as are too many, cut at once |
//! | is above 400 ms | the block is cut |
//! | anything else | left alone, to the bit |
//!
//! One move ends before another begins. A packet more or less is put in or left out of quiet sound
//! at once; loud sound is made longer or shorter by 1000 ppm (1.7 cents) for 20 s. Where a block is
//! late all the same, a *bridge* of a packet goes in its place just before it would be missing,
//! twice at most, and the lag is a packet more from then on. Silence that only fills the time of a
//! pause is left out when it comes late.
//! After 200 ms without sound all begins anew.
//!
//! Stretching leaves no packet some samples short, because 24 samples more than whole packets are
//! always queued.
//!
//! It reads no clock.

mod watch;
mod wire;

use std::time::{Duration, Instant};

use smallrtc::AudioId;

use self::watch::Watch;
pub(super) use self::wire::{PACKET, samples, ticks};
use self::wire::{Wire, nanos, nanos_until};

/// For how long the first block is held. 14 ms: with 20 ms for a packet and 7 ms for coders an echo
/// is heard after 42 ms, and what a path in one town and a busy machine are late is less.
const HOLD: Duration = Duration::from_millis(14);

/// What is always queued beyond whole packets, in samples: the 16 that `Stretch` holds back, and
/// what is rounded.
pub(super) const SLACK_SAMPLES: usize = 24;

/// The least margin that is left alone. 4 ms: what a block on a quiet path may be late next.
const MARGIN_MIN: i64 = 4_000_000;

/// A margin of a packet and so much more is a packet too much. 8 ms: what is left afterwards is
/// well above the least.
const MARGIN_SPARE: i64 = 8_000_000;

/// How long loud sound takes to move by a packet, in seconds.
const MOVE_SECS: i64 = 20;

/// By how much loud sound is stretched or shortened: a sixtieth of a semitone.
const LOUD_PPM: i32 = 1_000;

/// How much longer than a packet all that is queued must have waited, for how many seconds, to be
/// cut. 120 ms: four times what jitter of a bad path needs, and talking is not hard yet.
const CUT_MARGIN: i64 = 120_000_000;
const CUT_SECONDS: usize = 4;

/// The most that is queued. 400 ms: what ITU-T G.114 gives as the limit for talking.
pub(super) const BACKLOG_MAX: i64 = ticks(400, 1_000);

/// How long before it is missing a bridge is sent: longer than it takes to the queue.
const BRIDGE_AHEAD: Duration = Duration::from_millis(2);

/// Bridges one after the other: two waves of sound nobody said are heard as it, more as a buzz.
const BRIDGES_MAX: u8 = 2;

/// What blocks are multiples of, unless they come as they like: the slack is what is queued beyond
/// them.
const GRID: i64 = PACKET / 2;

/// What was heard.
#[derive(Clone, Copy, Debug)]
pub(super) struct Heard {
    pub(super) ticks: i64,
    /// Nobody hears what is done to it.
    pub(super) is_quiet: bool,
    /// Nobody said it: it fills the time of a pause.
    pub(super) is_filler: bool,
    /// 24 samples of it.
    pub(super) slack: i64,
}

/// What becomes of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It waits for [`Act::Begin`].
    Hold,
    /// It is left out.
    Skip,
    /// It is queued.
    Pass(Pass),
}

/// How a block is queued.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Pass {
    /// So much silence before it.
    pub(super) put: i64,
    /// Without so much of its beginning.
    pub(super) leave: i64,
    /// Longer by so many millionths.
    pub(super) ppm: i32,
    /// The sound before it broke off.
    pub(super) is_anew: bool,
}

/// What is to be done without a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Act {
    /// What was held is queued, after the slack.
    Begin,
    /// So much sound is made up; the last that is.
    Bridge { ticks: i64, is_last: bool },
}

/// What an echo did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counters {
    /// How often sound began.
    pub(super) begun: u64,
    /// How often the lag was moved by packets.
    pub(super) moved: u64,
    /// Packets that were made up.
    pub(super) bridged: u64,
    /// How often the queue ran dry.
    pub(super) dry: u64,
    /// Blocks that were cut.
    pub(super) cut: u64,
    /// Blocks of silence that came late.
    pub(super) left_out: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Phase {
    /// For a block.
    #[default]
    Waits,
    /// So much sound, until then. Until there is a packet of it, without end.
    Holds(i64, Option<Instant>),
    Flows,
}

/// The lag is on its way.
#[derive(Clone, Copy, Debug)]
struct Move {
    /// By so many packets.
    packets: i64,
    /// So much is still to be put in, or left out where it is less than none.
    owed: i64,
    /// So much was.
    done: i64,
    /// Loud blocks are left out as well.
    is_cut: bool,
}

/// The state of an echo's lag.
#[derive(Debug, Default)]
pub(super) struct Delay {
    phase: Phase,
    wire: Wire,
    watch: Watch,
    moves: Option<Move>,
    bridges: u8,
    slack: i64,
    counters: Counters,
}

impl Delay {
    /// A block came.
    pub(super) fn hear(&mut self, heard: Heard, now: Instant) -> Verdict {
        self.slack = heard.slack;
        if self.phase != Phase::Flows || self.wire.rests(now) {
            return self.hold(heard, now);
        }
        // Where nothing is sent, as while somebody else pauses sound, there is no end to what
        // bridges would lead over.
        if self.wire.waiting() > BACKLOG_MAX {
            self.counters.cut += 1;
            return Verdict::Skip;
        }
        self.bridges = 0;
        let Some(dry_at) = self.wire.dry_at(0) else { return Verdict::Pass(Pass::default()) };
        if now >= dry_at {
            self.wire.ran_dry(now);
            self.counters.dry += 1;
            (self.moves, self.watch) = (None, Watch::default());
            return Verdict::Pass(Pass { is_anew: true, ..Pass::default() });
        }
        let margin = nanos_until(now, dry_at);
        if heard.is_filler && margin >= nanos(PACKET) + MARGIN_SPARE {
            self.counters.left_out += 1;
            return Verdict::Skip;
        }
        if margin > nanos(BACKLOG_MAX) {
            self.counters.cut += 1;
            return Verdict::Skip;
        }
        self.watch(now);
        self.plan(heard);
        self.step(heard)
    }

    /// A block was queued, with so much more sound than it holds; less where that is negative.
    pub(super) fn gave(&mut self, more: i64, heard: Heard) {
        let Some(moves) = &mut self.moves else { return };
        moves.owed -= more;
        moves.done += more;
        // Less than two samples cannot be told from what is rounded.
        if moves.owed.abs() < heard.slack / 12 {
            self.end_move();
        }
    }

    /// So many blocks that were held are too many.
    pub(super) fn left_out(&mut self, blocks: u64) {
        self.counters.cut += blocks;
    }

    /// What was held is gone.
    pub(super) fn forget_held(&mut self) {
        if let Phase::Holds(..) = self.phase {
            self.phase = Phase::Waits;
        }
    }

    /// A piece was queued.
    pub(super) fn queued(&mut self, id: AudioId, ticks: i64) {
        self.wire.push(id, ticks);
    }

    /// A piece was refused: nothing of it goes out, and what comes next begins anew.
    pub(super) fn refused(&mut self) {
        self.phase = Phase::Waits;
    }

    /// The first sample of a piece has left.
    pub(super) fn began(&mut self, id: AudioId, now: Instant) {
        self.wire.began(id, now);
    }

    /// A piece is no longer queued.
    pub(super) fn ended(&mut self, id: AudioId) {
        self.wire.forget(id);
    }

    /// When [`Delay::turn`] has something to do; a bridge is wanted when sound is loud.
    pub(super) fn due(&self, is_loud: bool) -> Option<Instant> {
        match self.phase {
            Phase::Holds(_, begins) => begins,
            Phase::Flows if is_loud && self.bridges < BRIDGES_MAX => {
                Some(self.wire.dry_at(0)? - BRIDGE_AHEAD)
            }
            _ => None,
        }
    }

    /// Time has passed.
    pub(super) fn turn(&mut self, is_loud: bool, now: Instant) -> Option<Act> {
        if self.due(is_loud)? > now {
            return None;
        }
        if let Phase::Holds(..) = self.phase {
            self.phase = Phase::Flows;
            (self.wire, self.watch, self.moves, self.bridges) = Default::default();
            self.counters.begun += 1;
            return Some(Act::Begin);
        }
        self.bridges += 1;
        if self.wire.dry_at(0)? <= now {
            // It would come too late itself.
            self.bridges = BRIDGES_MAX;
            return None;
        }
        self.counters.bridged += 1;
        // Whatever was under way, afterwards whole packets are queued, and the slack.
        let ticks = PACKET - self.wire.left() % PACKET + self.slack;
        let done = self.moves.take().map_or(0, |moves| moves.done);
        self.watch.shift(nanos(round_packets(done + ticks)));
        Some(Act::Bridge { ticks, is_last: self.bridges == BRIDGES_MAX })
    }

    pub(super) fn counters(&self) -> Counters {
        self.counters
    }

    fn hold(&mut self, heard: Heard, now: Instant) -> Verdict {
        let (held, begins) = match self.phase {
            Phase::Holds(held, begins) => (held, begins),
            _ => (0, None),
        };
        if heard.is_filler {
            self.phase = Phase::Holds(held, begins);
            self.counters.left_out += 1;
            return Verdict::Skip;
        }
        let held = held + heard.ticks;
        let begins = begins.or_else(|| (held >= PACKET).then(|| now + HOLD));
        self.phase = Phase::Holds(held, begins);
        Verdict::Hold
    }

    /// Notes the margin that this block would have if nothing were under way.
    fn watch(&mut self, now: Instant) {
        let done = self.moves.map_or(0, |moves| moves.done);
        if let Some(dry_at) = self.wire.dry_at(done) {
            self.watch.note(nanos_until(now, dry_at), now);
        }
    }

    fn plan(&mut self, heard: Heard) {
        if self.moves.is_some() {
            return;
        }
        let Some(least) = self.watch.least() else { return };
        let packet = nanos(PACKET);
        // Where the drift leads while loud sound is moved.
        let later = least + MOVE_SECS * self.watch.slope().min(0);
        let (packets, is_cut) = match self.watch.least_of(CUT_SECONDS) {
            Some(least) if least >= CUT_MARGIN => ((MARGIN_SPARE - least) / packet, true),
            _ if later < MARGIN_MIN => (1, false),
            _ if later >= packet + MARGIN_SPARE && self.watch.is_full() => {
                ((MARGIN_SPARE - later) / packet, false)
            }
            _ => (0, false),
        };
        let owed = packets * PACKET + self.lacking(heard);
        if owed != 0 {
            self.moves = Some(Move { packets, owed, done: 0, is_cut });
            self.counters.moved += u64::from(packets != 0);
        }
    }

    /// What the slack lacks, or has too much of where it is less than none.
    fn lacking(&self, heard: Heard) -> i64 {
        let spare = self.wire.left() % GRID;
        let is_enough = (heard.slack / 3..=2 * heard.slack).contains(&spare);
        if is_enough || heard.ticks % GRID != 0 { 0 } else { heard.slack - spare }
    }

    fn step(&mut self, heard: Heard) -> Verdict {
        let Some(moves) = &mut self.moves else { return Verdict::Pass(Pass::default()) };
        let mut pass = Pass::default();
        if moves.owed < 0 && (heard.is_quiet || moves.is_cut) {
            if moves.owed + heard.ticks <= 0 {
                moves.owed += heard.ticks;
                moves.done -= heard.ticks;
                self.counters.cut += u64::from(!heard.is_quiet);
                if moves.owed == 0 {
                    self.end_move();
                }
                return Verdict::Skip;
            }
            // What is left of a cut has time.
            moves.is_cut = false;
        }
        match heard.is_quiet {
            true if moves.owed > 0 => pass.put = moves.owed,
            true => pass.leave = -moves.owed,
            false if moves.owed > 0 => pass.ppm = LOUD_PPM,
            false => pass.ppm = -LOUD_PPM,
        }
        Verdict::Pass(pass)
    }

    fn end_move(&mut self) {
        if let Some(moves) = self.moves.take() {
            self.watch.shift(moves.packets * nanos(PACKET));
        }
    }
}

/// The nearest number of whole packets, in ticks.
fn round_packets(ticks: i64) -> i64 {
    (ticks + PACKET / 2).div_euclid(PACKET) * PACKET
}
