//! What a call costs that is connected and silent: wake-ups and datagrams in an hour.
//!
//! On virtual time: the side is woken exactly when it asks for it, never before. The browser says
//! nothing (its microphone is muted), so what passes is consent, reports and, if so configured,
//! our silence.

mod common;

use std::time::{Duration, Instant};

use common::fleet::{Fleet, NoMeter, Side};
use common::ours::{Sessions, null_config};
use common::raw::Raw;
use common::sound;
use smallrtc::AudioIdle;

const HOUR: Duration = Duration::from_secs(3600);

/// Everything that belongs to connecting is over by then.
const SETTLING: Duration = Duration::from_secs(60);

#[expect(clippy::print_stdout, reason = "a bench prints")]
fn idle<S: Side>(name: &str, side: S, now: Instant) {
    let mut fleet = Fleet::connect(side, NoMeter, 1, now);
    // The browser is woken every 10 ms, which only shifts its timers by as much.
    let pass = |fleet: &mut Fleet<S, NoMeter>, time: Duration| {
        let end = fleet.now + time;
        while fleet.now < end {
            fleet.run_until(fleet.now + Duration::from_millis(10));
        }
    };
    pass(&mut fleet, SETTLING);
    (fleet.wakes, fleet.sent, fleet.received) = (0, 0, 0);
    pass(&mut fleet, HOUR);
    println!("  {name:<42} {:8}   {:8}   {:8}", fleet.wakes, fleet.sent, fleet.received);
}

#[expect(clippy::disallowed_methods, reason = "an instant to begin virtual time at")]
#[expect(clippy::print_stdout, reason = "a bench prints")]
fn main() {
    let now = Instant::now();
    println!("one connected call in an hour                  wake-ups       sent   received");
    let session = |idle| Sessions::new(null_config(16_000).audio_idle(idle));
    let without_stats =
        |idle| Sessions::new(null_config(16_000).audio_idle(idle).stats_interval(None));
    idle("raw engine, figures every second", Raw::new(sound::null_packets()), now);
    idle("session, idle Nothing", session(AudioIdle::Nothing), now);
    idle("session, idle Nothing, no figures", without_stats(AudioIdle::Nothing), now);
    idle("session, idle Dtx", session(AudioIdle::Dtx), now);
    idle("session, idle Silence", session(AudioIdle::Silence), now);
}
