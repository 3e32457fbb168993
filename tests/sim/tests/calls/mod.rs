//! Scripts of whole calls, drawn by chance and shrunk to the shortest that fails.

mod found;
mod pasted;

pub(crate) use found::printed;

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{RngSeed, TestError, TestRunner};
use smallrtc::{AudioIdle, PacketTime};
use smallrtc_sim::Kind;
use smallrtc_sim::script::{Act, Network, Script};

/// Shrinking ends here: a script of forty acts needs a few hundred steps.
const SHRINK_STEPS_MAX: u32 = 2_000;

/// Bytes that a page films at once at most: some two hundred packets at the smallest MTU. The
/// engine may panic when a report of arrivals fills its packet, which takes twice as many
/// (`found::a_report_of_arrivals_that_fills_its_packet_ends_the_call_of_its_page`).
const FILM_MAX: u64 = 100_000;

/// The rates that bots speak at.
const RATES: [u32; 5] = [8_000, 16_000, 24_000, 44_100, 48_000];

fn network() -> impl Strategy<Value = Network> {
    let rate = prop_oneof![3 => Just(None), 1 => (300..5_000_u64).prop_map(Some)];
    let shares = (0..15_u8, 0..5_u8, 0..5_u8);
    let drawn = (1..200_u64, 0..80_u64, shares, rate).prop_map(
        |(delay_ms, jitter_ms, (loss_percent, duplicate_percent, reorder_percent), rate_kbit)| {
            Network {
                delay_ms,
                jitter_ms,
                loss_percent,
                duplicate_percent,
                reorder_percent,
                rate_kbit,
            }
        },
    );
    prop_oneof![2 => Just(Network::CLEAN), 3 => drawn]
}

/// Mostly less than `often`, and now and then as many as go past a limit.
fn count(often: usize, seldom: usize) -> impl Strategy<Value = usize> {
    prop_oneof![9 => 1..often, 1 => often..seldom]
}

/// What both sides say and show.
fn talk() -> impl Strategy<Value = Act> {
    let rate = proptest::sample::select(&RATES[..]);
    prop_oneof![
        3 => (1..20_000_usize).prop_map(|len| Act::BotSays { len }),
        1 => count(60, 5_000).prop_map(|count| Act::BotChatters { count }),
        1 => count(60, 1_500).prop_map(|count| Act::PageChatters { count }),
        3 => (1..20_000_usize).prop_map(|len| Act::PageSays { len }),
        3 => (count(60_000, 500_000), rate)
            .prop_map(|(samples, rate)| Act::BotSpeaks { samples, rate }),
        1 => count(50, 9_000).prop_map(|count| Act::BotStammers { count }),
        2 => Just(Act::BotClears),
        3 => (1..20_u64).prop_map(|packets| Act::PageSpeaks { packets }),
        2 => (1..9_000_usize).prop_map(|len| Act::BotShows { len }),
        2 => (1..9_000_usize).prop_map(|len| Act::PageShows { len }),
        1 => (1..1_000_u64, 1..9_000_usize)
            .prop_map(|(count, len)| (count.min(FILM_MAX / len as u64), len))
            .prop_map(|(count, len)| Act::PageFilms { count, len }),
        1 => Just(Act::KeyframesAreWanted),
        1 => any::<bool>().prop_map(Act::BotListens),
    ]
}

/// What links, drivers and strangers do to them.
fn fate() -> impl Strategy<Value = Act> {
    prop_oneof![
        2 => network().prop_map(Act::LinksAre),
        1 => Just(Act::LinksBreak),
        2 => Just(Act::LinksHeal),
        1 => (0..8_000_u64).prop_map(|ms| Act::DriverStalls { ms }),
        2 => (1..60_u64, 1..40_u32).prop_map(|(ms, times)| Act::DriverIsLate { ms, times }),
        1 => (1..200_u32).prop_map(|count| Act::TimeoutsCome { count }),
        1 => (0..1_200_usize, any::<u8>())
            .prop_map(|(len, first)| Act::StrangerSends { len, first }),
    ]
}

/// How the call itself is changed.
fn change() -> impl Strategy<Value = Act> {
    prop_oneof![
        3 => Just(Act::PageReoffers),
        2 => any::<bool>().prop_map(Act::PageListens),
        3 => Just(Act::PageRestarts),
        3 => Just(Act::BotWantsOffer),
        3 => Just(Act::PageOpensChannel),
        3 => Just(Act::BotStarts),
        1 => Just(Act::BotCloses),
        1 => Just(Act::PageHangsUp),
        1 => Just(Act::PageVanishes),
    ]
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        6 => (0..3_000_u64).prop_map(|ms| Act::Wait { ms }),
        12 => talk(),
        5 => fate(),
        4 => change(),
    ]
}

/// Every kind of call over one wire.
pub(crate) fn script(kind: Kind) -> impl Strategy<Value = Script> {
    let mtu = prop_oneof![Just(1150), Just(1200), Just(576)];
    let idle =
        prop_oneof![Just(AudioIdle::Silence), Just(AudioIdle::Dtx), Just(AudioIdle::Nothing)];
    let time = prop_oneof![Just(PacketTime::Ms20), Just(PacketTime::Ms10), Just(PacketTime::Ms60)];
    let flags = (any::<bool>(), any::<bool>(), any::<bool>());
    let setting = (0..1_000_000_u64, network(), network(), mtu, idle, time, flags);
    let acts = proptest::collection::vec(act(), 0..40);
    (setting, acts).prop_map(move |((seed, up, down, mtu, idle, packet_time, flags), acts)| {
        let (is_held, shuffles, dawdles) = flags;
        let starts = !is_held;
        Script {
            up,
            down,
            mtu,
            idle,
            packet_time,
            starts,
            shuffles,
            dawdles,
            acts,
            ..Script::new(kind, seed)
        }
    })
}

/// So many of the calls that this seed draws.
pub(crate) fn drawn(kind: Kind, seed: u64, cases: u32) -> Vec<Script> {
    let strategy = script(kind);
    let mut runner = TestRunner::new(config(seed, cases));
    let mut draw = || strategy.new_tree(&mut runner).expect("nothing is filtered").current();
    (0..cases).map(|_| draw()).collect()
}

fn config(seed: u64, cases: u32) -> ProptestConfig {
    ProptestConfig {
        cases,
        rng_seed: RngSeed::Fixed(seed),
        failure_persistence: None,
        max_shrink_iters: SHRINK_STEPS_MAX,
        ..ProptestConfig::default()
    }
}

/// What was found: the cause, and the shortest call that fails.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) cause: String,
    pub(crate) script: Script,
}

/// Runs so many calls that this seed draws, each through `check`. The first that panics is shrunk.
pub(crate) fn search(
    kind: Kind,
    seed: u64,
    cases: u32,
    check: impl Fn(&Script),
) -> Result<(), Box<Found>> {
    let outcome = TestRunner::new(config(seed, cases)).run(&script(kind), |script| {
        check(&script);
        Ok(())
    });
    match outcome {
        Ok(()) => Ok(()),
        Err(TestError::Fail(cause, script)) => {
            Err(Box::new(Found { cause: cause.to_string(), script }))
        }
        Err(TestError::Abort(cause)) => panic!("no search: {cause}"),
    }
}
