//! What holds of received sound whatever the network does.
//!
//! A sender says packets; each is lost, late, or comes twice; there are pauses (DTX), and streams
//! begin anew. The first and the last packet of a stream arrive: only they tell how long it was.

use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::{input, ms, origin};
use crate::audio::{AudioCodec, AudioReceiver};
use crate::config::AudioIn;
use crate::{AudioInfo, AudioOrigin, FrameTime};

/// The longest that a packet is late, in steps of 10 ms.
const LATE_MAX: u8 = 12;

/// 10 ms at 48 kHz.
const CHUNK: u64 = 480;

/// What becomes of one packet.
#[derive(Clone, Debug)]
struct Fate {
    /// How late it comes, in steps of 10 ms; `None` when it is lost.
    late: Option<u8>,
    /// How late it comes again.
    again: Option<u8>,
    /// A pause before it, in chunks.
    pause: u64,
    begins_stream: bool,
    /// How much sound it holds, in chunks.
    chunks: u64,
}

/// A call, and how it is listened to.
#[derive(Clone, Debug)]
struct Case {
    fates: Vec<Fate>,
    has_copies: bool,
    listen: AudioIn,
    first_seq: u64,
    first_time: u64,
}

/// Losses and lateness from none to many, independent or in bursts.
fn network() -> impl Strategy<Value = (f64, f64, f64)> {
    let share = prop::sample::select(vec![0.000_01, 0.01, 0.05, 0.2, 0.6]);
    (share.clone(), share.clone(), share)
}

fn fate(lost: f64, late: f64, twice: f64) -> impl Strategy<Value = Fate> {
    let late = prop::option::weighted(late, 1..LATE_MAX).prop_map(Option::unwrap_or_default);
    (
        prop::option::weighted(1.0 - lost, late),
        prop::option::weighted(twice, 0..LATE_MAX),
        prop::option::weighted(0.03, 1u64..150),
        prop::bool::weighted(0.02),
        prop::sample::select(vec![1, 2, 4, 6]),
    )
        .prop_map(|(late, again, pause, begins_stream, chunks)| Fate {
            late,
            again,
            pause: pause.unwrap_or_default(),
            begins_stream,
            chunks,
        })
}

fn listening() -> impl Strategy<Value = AudioIn> {
    (
        prop::sample::select(vec![8_000u32, 12_000, 16_000, 24_000, 44_100, 48_000]),
        prop::sample::select(vec![FrameTime::Ms10, FrameTime::Ms20, FrameTime::AsItComes]),
        prop::sample::select(vec![0u64, 20, 60, 500]),
        1u8..=2,
    )
        .prop_map(|(rate, frame, wait, channels)| AudioIn {
            frame,
            reorder_wait: ms(wait),
            channels,
            ..input(rate)
        })
}

fn case() -> impl Strategy<Value = Case> {
    let fates = network().prop_flat_map(|(lost, late, twice)| {
        // One time of packets for the whole call, or another for each.
        let one = prop::option::weighted(0.8, prop::sample::select(vec![1, 2, 4, 6]));
        // A burst takes as many packets in a row as this number says, now and then.
        let bursts = prop::collection::vec(prop::option::weighted(0.02, 2usize..12), 150);
        let bursts = prop::option::of(bursts).prop_map(Option::unwrap_or_default);
        (prop::collection::vec(fate(lost, late, twice), 2..150), one, bursts)
    });
    let fates = fates.prop_map(|(mut fates, one, bursts)| {
        for (at, burst) in bursts.iter().enumerate().filter_map(|(at, it)| Some((at, (*it)?))) {
            fates.iter_mut().skip(at).take(burst).for_each(|fate| fate.late = None);
        }
        fates.iter_mut().for_each(|fate| fate.chunks = one.unwrap_or(fate.chunks));
        fates
    });
    let numbers = prop::sample::select(vec![0, 65_500, (1 << 32) - 30_000, 1 << 40]);
    (fates, any::<bool>(), listening(), numbers.clone(), numbers).prop_map(
        |(fates, has_copies, listen, first_seq, first_time)| Case {
            fates,
            has_copies,
            listen,
            first_seq,
            first_time,
        },
    )
}

/// A packet on its way.
#[derive(Clone, Debug)]
struct Packet {
    at: Duration,
    seq: u64,
    rtp_time: u64,
    ssrc: u32,
    data: Vec<u8>,
    /// Where its sound ends, in samples since the first packet.
    end: u64,
}

/// What was said, as it arrives.
struct Said {
    arrivals: Vec<Packet>,
    /// What each 10 ms of media time held; `None` in pauses.
    levels: Vec<Option<i16>>,
    /// Packets that came at least once.
    came: u64,
    is_clean: bool,
}

fn data(level: i16, chunks: u64, copy: Option<(i16, u64)>) -> Vec<u8> {
    let mut data = vec![if copy.is_some() { b'F' } else { b'N' }, 1, chunks as u8, 0, 0, 0, 0];
    data.extend(level.to_le_bytes().repeat(chunks as usize));
    if let Some((level, chunks)) = copy {
        data.push(chunks as u8);
        data.extend(level.to_le_bytes().repeat(chunks as usize));
    }
    data
}

fn said(case: &Case) -> Said {
    let (mut arrivals, mut levels, mut is_clean) = (Vec::new(), Vec::new(), true);
    let (mut at, mut ssrc, mut came) = (ms(0), 1, 0);
    let (mut seq, mut rtp_time) = (case.first_seq, case.first_time);
    let mut before: Option<(i16, u64)> = None;
    for (index, fate) in case.fates.iter().enumerate() {
        let begins = index == 0 || fate.begins_stream;
        let next_begins = case.fates.get(index + 1).is_none_or(|next| next.begins_stream);
        if index > 0 && begins {
            // All of the stream before has arrived when the next one begins.
            at += ms(10) * u32::from(LATE_MAX);
            (ssrc, seq, rtp_time) = (ssrc + 1, seq / 2 + 50_000, rtp_time / 2 + 11);
        }
        if !begins && fate.pause > 0 {
            levels.resize(levels.len() + fate.pause as usize, None);
            rtp_time += fate.pause * CHUNK;
            at += ms(10) * fate.pause as u32;
            before = None;
        }
        let level = (index % 1_000) as i16 + 1;
        let copy = before.filter(|_| case.has_copies && !begins);
        levels.resize(levels.len() + fate.chunks as usize, Some(level));
        let packet = Packet {
            at,
            seq,
            rtp_time,
            ssrc,
            data: data(level, fate.chunks, copy),
            end: levels.len() as u64 * CHUNK,
        };
        let late = if begins || next_begins { Some(0) } else { fate.late };
        if let Some(late) = late {
            let again = fate.again.map(|again| late.max(again));
            for late in [Some(late), again].into_iter().flatten() {
                arrivals.push(Packet { at: at + ms(10) * u32::from(late), ..packet.clone() });
            }
            came += 1;
        }
        is_clean &= late == Some(0);
        (seq, rtp_time) = (seq + 1, rtp_time + fate.chunks * CHUNK);
        at += ms(10) * fate.chunks as u32;
        before = Some((level, fate.chunks));
    }
    arrivals.sort_by_key(|packet| packet.at);
    Said { arrivals, levels, came, is_clean }
}

struct Rig {
    receiver: AudioReceiver,
    listen: AudioIn,
    start: Instant,
    now: Instant,
    /// Samples per channel that were read.
    read: u64,
    blocks: Vec<(AudioInfo, i16)>,
}

impl Rig {
    fn new(listen: AudioIn) -> Rig {
        let receiver = AudioReceiver::new(listen, AudioCodec::Null);
        let start = origin();
        Rig { receiver, listen, start, now: start, read: 0, blocks: Vec::new() }
    }

    /// Reads all that waits, and checks that it follows what was read before.
    fn read(&mut self) {
        let mut buffer = [0; 96_000];
        let (rate, channels) = (u64::from(self.listen.rate), usize::from(self.listen.channels));
        while let Some(info) = self.receiver.recv(&mut buffer) {
            let time = Duration::from_nanos(self.read % rate * 1_000_000_000 / rate);
            assert_eq!(info.time, Duration::from_secs(self.read / rate) + time);
            let frame = self.listen.frame.samples(self.listen.rate);
            assert!(frame.is_none_or(|frame| frame == info.samples as u64));
            let all = info.parts;
            let parts = [
                (AudioOrigin::Decoded, all.decoded),
                (AudioOrigin::Repaired, all.repaired),
                (AudioOrigin::Concealed, all.concealed),
                (AudioOrigin::Silence, all.silence),
            ];
            assert_eq!(parts.iter().map(|part| part.1).sum::<usize>(), info.samples);
            let most = parts.iter().find(|part| part.1 > 0).map(|part| part.0);
            assert_eq!(most, Some(info.origin));
            self.read += info.samples as u64;
            let heard = &buffer[..info.samples * channels];
            if self.listen.frame == FrameTime::AsItComes && rate == 48_000 {
                for (sample, chunk) in heard.chunks(CHUNK as usize * channels).enumerate() {
                    assert!(chunk.iter().all(|other| *other == chunk[0]), "{sample} {info:?}");
                    let samples = chunk.len() / channels;
                    let block = AudioInfo { samples, ..info };
                    self.blocks.push((block, chunk[0]));
                }
            }
        }
    }

    /// Lets time pass to an instant, with each deadline kept.
    fn run(&mut self, end: Instant) {
        while let Some(due) = self.receiver.poll_timeout().filter(|&due| due <= end) {
            self.now = self.now.max(due);
            self.receiver.handle_timeout(self.now);
            self.read();
        }
        self.now = end;
    }

    /// So many samples at 48 kHz, at the reader's rate.
    fn out(&self, samples: u64) -> u64 {
        (samples * u64::from(self.listen.rate)).div_ceil(48_000)
    }

    /// What of so many samples whole frames give.
    fn framed(&self, samples: u64) -> u64 {
        let frame = self.listen.frame.samples(self.listen.rate).unwrap_or(1);
        samples / frame * frame
    }
}

/// Plays a case and checks what holds at every instant; gives the end.
fn play(case: &Case, said: &Said) -> Rig {
    let mut rig = Rig::new(case.listen);
    let most = case.listen.reorder_wait;
    for (index, packet) in said.arrivals.iter().enumerate() {
        rig.run(rig.start + packet.at);
        let Packet { seq, rtp_time, ssrc, ref data, .. } = *packet;
        rig.receiver.handle_packet(seq, rtp_time, ssrc, data, rig.now);
        rig.read();
        let due = rig.receiver.poll_timeout();
        assert!(due.is_none_or(|due| due > rig.now && due <= rig.now + most));
        // What came longer ago than the longest wait was given out, with all before it.
        let old = said.arrivals[..=index].iter().filter(|old| old.at + most <= packet.at);
        let end = old.map(|old| old.end).max().unwrap_or_default();
        assert!(rig.read >= rig.framed(rig.out(end)), "{} of {end}", rig.read);
        if said.is_clean {
            let end = said.arrivals[..=index].iter().map(|packet| packet.end).max();
            let whole = rig.framed(rig.out(end.unwrap_or_default()));
            assert_eq!(rig.read, whole, "a clean stream waits for nothing");
            assert_eq!(due, None);
        }
    }
    rig.run(rig.now + most);
    rig
}

/// No gap is concealed for more than 100 ms, and what is heard lies where it was said.
fn check_sound(rig: &Rig, said: &Said) {
    let (mut position, mut concealed) = (0, 0);
    for (info, sample) in &rig.blocks {
        let expected = said.levels[position / CHUNK as usize];
        concealed =
            if info.origin == AudioOrigin::Concealed { concealed + info.samples } else { 0 };
        assert!(concealed <= 4_800, "at {position}");
        match info.origin {
            AudioOrigin::Decoded | AudioOrigin::Repaired => {
                assert_eq!(Some(*sample), expected, "at {position}");
            }
            AudioOrigin::Concealed => {}
            AudioOrigin::Silence => assert_eq!(*sample, 0, "at {position}"),
        }
        position += info.samples;
    }
}

proptest! {
    /// Elapsed media time: from the RTP time of each stream's first packet to the end of its last
    /// one, all streams together, at 48 kHz, brought to the reader's rate and rounded up. The
    /// samples given out are that many, but for what does not fill a last frame.
    #[test]
    fn media_time_is_given_out_to_the_sample_whatever_the_network_does(case in case()) {
        let said = said(&case);
        let rig = play(&case, &said);
        let elapsed = said.levels.len() as u64 * CHUNK;
        prop_assert_eq!(rig.read, rig.framed(rig.out(elapsed)));
        check_sound(&rig, &said);

        let counters = rig.receiver.counters();
        prop_assert_eq!(counters.dropped_samples, 0);
        prop_assert_eq!(counters.malformed, 0);
        prop_assert_eq!(counters.packets, said.arrivals.len() as u64);
        prop_assert_eq!(counters.packets - counters.duplicates, said.came);
        let streams = 1 + case.fates.iter().skip(1).filter(|fate| fate.begins_stream).count();
        prop_assert_eq!(counters.restarts, streams as u64 - 1);
        let invented = counters.repaired_samples + counters.concealed_samples;
        if let [first, rest @ ..] = &case.fates[..]
            && rest.iter().all(|fate| fate.chunks == first.chunks)
        {
            let decoded = (said.came - counters.late) * first.chunks * CHUNK;
            prop_assert_eq!(decoded + invented + counters.silence_samples, elapsed);
        }
        if said.is_clean {
            prop_assert_eq!((invented, counters.late), (0, 0));
        }
        if !case.has_copies {
            prop_assert_eq!(counters.repaired_samples, 0);
        }
    }
}
