//! A day of everything at once: the clock keeps its pace, and no sample is lost.

use std::time::Duration;

use proptest::prelude::*;

use super::out;
use super::send::Rig;
use crate::audio::resample::RATES;
use crate::config::AudioOut;
use crate::{AudioFrame, AudioId, AudioIdle, PacketTime};

const DAY: Duration = Duration::from_secs(24 * 3_600);

/// Between one round of steps and the next.
const REST: Duration = Duration::from_secs(3_600);

#[derive(Clone, Debug)]
enum Step {
    Send { rate: u32, frames: usize, channels: u8 },
    Run(Duration),
    Stall(Duration),
    Clear,
    Hold,
    Release,
}

fn step() -> impl Strategy<Value = Step> {
    let micros = |most: u64| (0..most).prop_map(Duration::from_micros);
    prop_oneof![
        6 => (prop::sample::select(RATES.to_vec()), 1usize..5_000, 1u8..=2)
            .prop_map(|(rate, frames, channels)| Step::Send { rate, frames, channels }),
        6 => micros(150_000).prop_map(Step::Run),
        2 => micros(3_000_000).prop_map(Step::Stall),
        1 => Just(Step::Clear),
        1 => Just(Step::Hold),
        1 => Just(Step::Release),
    ]
}

/// The books of all pieces: what was taken, and what was told of it.
#[derive(Default)]
struct Books {
    taken: Vec<(AudioId, u64)>,
    told: Vec<(AudioId, u64)>,
}

impl Books {
    fn take(&mut self, step: &Step, rig: &mut Rig) {
        match step {
            Step::Send { rate, frames, channels } => {
                let samples = vec![5; frames * usize::from(*channels)];
                let frame = AudioFrame { samples: &samples, rate: *rate, channels: *channels };
                // While the queue is held it may be full.
                if let Ok(id) = rig.sender.send(frame, rig.now) {
                    self.taken.push((id, *frames as u64));
                }
            }
            Step::Run(time) => rig.run(*time),
            Step::Stall(time) => {
                rig.now += *time;
                rig.serve();
            }
            Step::Clear => {
                let pieces = rig.sender.clear().pieces;
                self.told.extend(pieces.iter().map(|piece| (piece.id, piece.sent + piece.dropped)));
            }
            Step::Hold => rig.sender.hold(),
            Step::Release => rig.sender.release(rig.now),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn a_day_of_stalls_clears_pauses_and_rates_moves_no_clock_and_loses_no_sample(
        steps in prop::collection::vec(step(), 10..60),
        rate in prop::sample::select(vec![8_000, 12_000, 16_000, 24_000, 48_000]),
        channels in 1u8..=2,
        packet_time in prop::sample::select(
            vec![PacketTime::Ms10, PacketTime::Ms20, PacketTime::Ms40, PacketTime::Ms60],
        ),
        idle in prop::sample::select(vec![AudioIdle::Dtx, AudioIdle::Nothing]),
    ) {
        let mut rig = Rig::new(AudioOut { channels, packet_time, idle, ..out(rate) });
        let (start, mut books) = (rig.now, Books::default());
        rig.sender.start(start);
        while rig.now < start + DAY {
            steps.iter().for_each(|step| books.take(step, &mut rig));
            rig.run(REST);
        }
        rig.sender.release(rig.now);
        rig.run(REST);
        books.told.extend(&rig.finished);
        books.told.sort_unstable();
        prop_assert_eq!(books.told, books.taken);
        // A packet leaves at most a packet time before or after its point on the clock.
        let off = rig.packets.iter().map(|(at, packet)| {
            let time = Duration::from_nanos(packet.rtp_time * 1_000_000 / 48);
            (start + time, *at)
        });
        let ahead = off.clone().map(|(point, at)| point.saturating_duration_since(at)).max();
        let behind = off.map(|(point, at)| at.saturating_duration_since(point)).max();
        // The first packet is the clock's zero, wherever it was.
        let zero = rig.packets.first().map_or(Duration::ZERO, |(at, _)| *at - start);
        let behind = behind.unwrap_or_default().saturating_sub(zero);
        let spread = ahead.unwrap_or_default() + behind;
        prop_assert!(spread < 2 * packet_time.duration() + zero, "{:?} {:?}", ahead, behind);
        for pair in rig.packets.windows(2) {
            let spacing = 48 * packet_time.duration().as_millis() as u64;
            prop_assert!(pair[1].1.rtp_time >= pair[0].1.rtp_time + spacing);
        }
    }
}
