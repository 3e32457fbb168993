//! Networks of every kind, with real Opus: what of half a minute of speech had to be invented.
//!
//! `cargo test -p smallrtc --lib losses -- --nocapture` prints the table.

use std::collections::{BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use super::repair_opus::{packets, voice};
use super::{OPUS, input, ms, origin};
use crate::audio::AudioReceiver;
use crate::audio::receive::ReceiveCounters;

/// How much is said.
const SECONDS: usize = 30;

/// What a network does to the packet of this number: how late each of its copies comes.
type Network = Box<dyn FnMut(u64) -> Vec<Duration>>;

/// How the sender protects what it says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Protection {
    Nothing,
    /// In-band FEC.
    Fec,
    /// Each packet holds the one before as well, as the engine takes it apart.
    Red,
}

/// What became of it. Shares are per mille of the media time.
#[derive(Debug)]
struct Outcome {
    lost: f64,
    repaired: f64,
    concealed: f64,
    silence: f64,
    late: u64,
    /// The longest that sound which had arrived was held back.
    delay: Duration,
    counters: ReceiveCounters,
}

/// Loses a share of the packets, each by itself.
fn independent(share: f64) -> Network {
    let mut rng = fastrand::Rng::with_seed(11);
    Box::new(move |_| if rng.f64() < share { vec![] } else { vec![ms(0)] })
}

/// Loses a share of the packets, three in a row on average (Gilbert's model).
fn bursts(share: f64) -> Network {
    let (mut rng, mut is_lost) = (fastrand::Rng::with_seed(5), false);
    Box::new(move |_| {
        let turns = if is_lost { 1.0 / 3.0 } else { share / (1.0 - share) / 3.0 };
        is_lost ^= rng.f64() < turns;
        if is_lost { vec![] } else { vec![ms(0)] }
    })
}

fn jitter(most: u64) -> Network {
    let mut rng = fastrand::Rng::with_seed(3);
    Box::new(move |_| vec![ms(rng.u64(0..=most))])
}

/// Overtakes a share of the packets: they come 25 to 45 ms later than the others.
fn reordering(share: f64) -> Network {
    let mut rng = fastrand::Rng::with_seed(4);
    Box::new(move |_| vec![if rng.f64() < share { ms(rng.u64(25..=45)) } else { ms(0) }])
}

fn duplicates(share: f64) -> Network {
    let mut rng = fastrand::Rng::with_seed(8);
    Box::new(
        move |_| if rng.f64() < share { vec![ms(0), ms(rng.u64(0..100))] } else { vec![ms(0)] },
    )
}

/// Loses everything for a while.
fn blackout(packets: u64) -> Network {
    Box::new(move |seq| if (500..500 + packets).contains(&seq) { vec![] } else { vec![ms(0)] })
}

/// Nobody looks at the socket for two seconds; then everything is there at once.
fn stall() -> Network {
    Box::new(|seq| vec![ms(if (500..600).contains(&seq) { 20 * (600 - seq) } else { 0 })])
}

struct Ear {
    receiver: AudioReceiver,
    now: Instant,
    read: u64,
    /// Where sound ends that has arrived and was not read, and when it came.
    waiting: VecDeque<(u64, Instant)>,
    delay: Duration,
}

impl Ear {
    fn read(&mut self) {
        let mut buffer = [0; 4_800];
        while let Some(info) = self.receiver.recv(&mut buffer) {
            self.read += info.samples as u64;
        }
        let (read, now) = (self.read, self.now);
        let given = self.waiting.iter().filter(|(end, _)| *end <= read);
        let longest = given.map(|&(_, came)| now - came).max();
        self.delay = self.delay.max(longest.unwrap_or_default());
        self.waiting.retain(|(end, _)| *end > read);
    }

    fn run(&mut self, end: Instant) {
        while let Some(due) = self.receiver.poll_timeout().filter(|&due| due <= end) {
            self.now = self.now.max(due);
            self.receiver.handle_timeout(self.now);
            self.read();
        }
        self.now = end;
    }
}

fn listen(coded: &[Vec<u8>], protection: Protection, mut network: Network) -> Outcome {
    let start = origin();
    let count = coded.len() as u64;
    let mut arrivals: Vec<(Duration, u64)> = Vec::new();
    for seq in 0..count {
        // Both ends come: only they tell how long it was.
        let late = if seq == 0 || seq == count - 1 { vec![ms(0)] } else { network(seq) };
        arrivals.extend(late.into_iter().map(|late| (ms(20 * seq) + late, seq)));
    }
    arrivals.sort();
    let came: BTreeSet<u64> = arrivals.iter().map(|&(_, seq)| seq).collect();
    let receiver = AudioReceiver::new(input(48_000), OPUS);
    let mut ear = Ear { receiver, now: start, read: 0, waiting: VecDeque::new(), delay: ms(0) };
    let mut known = BTreeSet::new();
    for &(at, seq) in &arrivals {
        ear.run(start + at);
        let is_red = protection == Protection::Red;
        if is_red && !known.contains(&seq) && seq > 0 && known.insert(seq - 1) {
            let copy = &coded[seq as usize - 1];
            ear.receiver.handle_copy(seq - 1, (seq - 1) * 960, 1, copy, ear.now);
            ear.waiting.push_back((seq * 960, ear.now));
        }
        // The engine passes nothing on that it has, or had as a copy.
        if known.insert(seq) || !is_red {
            ear.receiver.handle_packet(seq, seq * 960, 1, &coded[seq as usize], ear.now);
            ear.waiting.push_back(((seq + 1) * 960, ear.now));
        }
        ear.read();
    }
    ear.run(ear.now + ms(60));
    assert_eq!(ear.read, count * 960, "media time is exact");
    let counters = ear.receiver.counters();
    assert_eq!((counters.dropped_samples, counters.restarts, counters.malformed), (0, 0, 0));
    let share = |samples: u64| samples as f64 * 1_000.0 / (count * 960) as f64;
    Outcome {
        lost: share((count - came.len() as u64) * 960),
        repaired: share(counters.repaired_samples),
        concealed: share(counters.concealed_samples),
        silence: share(counters.silence_samples),
        late: counters.late,
        delay: ear.delay,
        counters,
    }
}

/// A network, and how much of what is invented without protection is with FEC and with RED, at
/// most.
struct Profile {
    name: &'static str,
    network: fn() -> Network,
    left: [f64; 2],
}

impl Profile {
    const fn new(name: &'static str, network: fn() -> Network, left: [f64; 2]) -> Profile {
        Profile { name, network, left }
    }
}

/// Of packets that are lost each by itself, RED leaves those before which another is lost, and FEC
/// those too of which the encoder makes no copy, because there is hardly a voice in them. Of a
/// burst either mends the last packet.
const PROFILES: [Profile; 14] = [
    Profile::new("clean", || independent(0.0), [0.0, 0.0]),
    Profile::new("loss 1 %", || independent(0.01), [0.35, 0.05]),
    Profile::new("loss 5 %", || independent(0.05), [0.3, 0.12]),
    Profile::new("loss 20 %", || independent(0.2), [0.4, 0.3]),
    Profile::new("loss 1 % in bursts", || bursts(0.01), [0.9, 0.75]),
    Profile::new("loss 5 % in bursts", || bursts(0.05), [0.9, 0.75]),
    Profile::new("loss 20 % in bursts", || bursts(0.2), [0.9, 0.75]),
    Profile::new("jitter 30 ms", || jitter(30), [0.5, 0.0]),
    Profile::new("jitter 60 ms", || jitter(60), [0.5, 0.4]),
    Profile::new("reordering 3 %", || reordering(0.03), [0.5, 0.0]),
    Profile::new("duplicates 5 %", || duplicates(0.05), [0.0, 0.0]),
    Profile::new("black-out 1 s", || blackout(50), [1.0, 1.0]),
    Profile::new("black-out 5 s", || blackout(250), [1.0, 1.0]),
    Profile::new("stall 2 s", stall, [0.0, 0.0]),
];

#[test]
#[expect(clippy::print_stdout, reason = "the table is what the test is read for")]
fn little_is_invented_where_the_sender_says_things_twice() {
    let speech = voice(16_000, SECONDS);
    let plain = packets(&speech, 16_000, 20, false);
    let with_copies = packets(&speech, 16_000, 20, true);
    let mut faults = Vec::new();
    println!("per mille of media time     lost  repaired  concealed  silence  late  delay ms");
    for Profile { name, network, left } in PROFILES {
        let protections = [Protection::Nothing, Protection::Fec, Protection::Red];
        let mut bare = 0.0;
        for (protection, left) in protections.into_iter().zip([1.0, left[0], left[1]]) {
            let coded = if protection == Protection::Fec { &with_copies } else { &plain };
            let outcome = listen(coded, protection, network());
            let Outcome { lost, repaired, concealed, silence, late, delay, counters } = outcome;
            let what = match protection {
                Protection::Nothing => name,
                Protection::Fec => "  with FEC",
                Protection::Red => "  with RED",
            };
            let delay_ms = delay.as_secs_f64() * 1_000.0;
            println!(
                "{what:<24} {lost:>7.1} {repaired:>9.1} {concealed:>10.1} {silence:>8.1} \
                 {late:>5} {delay_ms:>9.1}"
            );
            let invented = concealed + silence;
            let missing =
                counters.repaired_samples + counters.concealed_samples + counters.silence_samples;
            if protection == Protection::Nothing {
                bare = invented;
            }
            let count = (SECONDS * 50) as f64;
            let expected = ((lost / 1_000.0 * count + late as f64).round() * 960.0) as u64;
            // With RED a packet that was overtaken is missing, and repaired, as well.
            let adds_up = missing == expected || protection == Protection::Red;
            if invented > bare * left + 1e-9 || delay > ms(60) || !adds_up {
                faults.push(format!("{name}, {what}: {invented:.1} of {bare:.1}, {delay:?}"));
            }
            // No gap is concealed for longer than 100 ms.
            if name.starts_with("black-out") && counters.concealed_samples > 4_800 {
                faults.push(format!("{name}, {what}: {concealed:.1} were concealed"));
            }
        }
    }
    assert!(faults.is_empty(), "{faults:#?}");
}
