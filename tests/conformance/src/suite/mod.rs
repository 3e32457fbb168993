//! The rules, each a function that fails when a subject breaks it.
//!
//! Beside what a function looks at, all of them stand under the checks of [`World`](crate::World).

use std::time::Duration;

use smallrtc::Message;
use smallrtc_sim::{Kind, Setup};

use crate::{Command, RATE};

mod closing;
mod flood;
mod held;
mod rest;
mod same;
mod stalls;
mod wakeups;

pub use closing::*;
pub use flood::*;
pub use held::*;
pub use rest::*;
pub use same::*;
pub use stalls::*;
pub use wakeups::*;

/// Makes the tests of one subject: a module with a test for each rule.
///
/// ```
/// // In a file under `tests/`:
/// smallrtc_conformance::machine_suite!(bare, smallrtc_conformance::Bare);
/// ```
#[macro_export]
macro_rules! machine_suite {
    ($module:ident, $subject:ty) => {
        mod $module {
            $crate::machine_suite! { @tests $subject,
                a_page_hears_and_reads_its_echo
                nothing_due_is_left_undone_when_the_driver_waits
                nothing_due_is_left_undone_with_calls_of_the_real_engine
                transmits_leave_in_order_of_their_session_when_more_are_due_than_one_turn_sends
                an_application_that_stops_reading_one_call_delays_no_other
                messages_that_are_not_read_come_in_order_when_they_are
                messages_that_are_never_read_end_their_call_and_no_other
                sound_that_is_held_back_goes_on_where_it_stopped
                a_pause_that_ends_wakes_a_driver_that_waits
                every_command_wakes_a_driver_that_waits
                a_command_put_down_during_a_step_is_carried_out
                requests_at_the_budget_and_one_past_it_are_all_answered
                calls_at_the_budget_and_one_past_it_are_all_served
                messages_at_the_budget_and_one_past_it_are_all_sent
                messages_that_wait_for_room_are_sent_when_there_is_room
                events_at_the_budget_and_one_past_it_are_all_told
                datagrams_one_past_the_budget_of_a_turn_are_all_taken
                what_could_not_be_sent_leaves_whole_and_in_order_when_the_socket_is_writable_again
                a_command_that_moves_the_deadline_nearer_is_in_time
                a_deadline_that_moved_away_wakes_for_nothing_and_does_nothing
                a_clock_that_jumps_two_seconds_slips_at_every_packet_time
                a_clock_that_jumps_ten_seconds_ends_no_call_and_loses_no_word
                a_clock_that_jumps_by_less_than_a_packet_leaves_the_grid_as_it_is
                calls_that_stall_together_keep_their_own_phases
                lateness_is_counted_from_the_deadline_and_reported
                a_thousand_calls_keep_their_pace_while_one_is_flooded
                it_sends_what_a_bare_loop_sends
                it_sends_what_a_bare_loop_sends_with_the_real_engine
                two_runs_of_one_seed_are_one_run
                closing_the_handle_tells_every_call_once_and_ends_the_driver
                a_driver_without_handles_ends_with_its_last_call
                sockets_that_break_tell_every_call_once
                a_machine_that_is_dropped_tells_every_call_once_and_refuses_the_rest
                a_page_that_hangs_up_ends_its_call_once_and_no_other
            }
        }
    };
    (@tests $subject:ty, $($name:ident)+) => {
        $(
            #[test]
            fn $name() {
                $crate::suite::$name::<$subject>();
            }
        )+
    };
}

/// Clean links, the plain wire, the null codec, the rate of the suite both ways, and no traces.
fn setup(seed: u64) -> Setup {
    setup_of(Kind::Scripted, seed)
}

fn setup_of(kind: Kind, seed: u64) -> Setup {
    let rate = |config: smallrtc::Config| config.audio_in(RATE, 1).expect("a usual rate");
    Setup::new(kind, seed).untraced().config(rate)
}

fn milliseconds(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn text(text: &str) -> Command {
    Command::Message(Message::text(text))
}

/// A packet of the null codec that holds two words of 10 ms.
pub(crate) fn null_packet(words: [i16; 2]) -> Vec<u8> {
    let mut packet = vec![b'N', 1, 2, 0, 0, 0, 0];
    packet.extend(words.iter().flat_map(|word| word.to_le_bytes()));
    packet
}
