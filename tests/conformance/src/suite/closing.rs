//! Every call ends once, and every end is told.

use smallrtc::{CloseReason, SendError};

use super::{milliseconds, seconds, setup, text};
use crate::{Bot, Command, Order, Outcome, Subject, World, speech};

const CALLS: usize = 4;

/// `Config::linger`.
const LINGER_SECONDS: u64 = 2;

/// `Handle::close`: pages are told, calls end once, and the driver ends.
pub fn closing_the_handle_tells_every_call_once_and_ends_the_driver<S: Subject>() {
    for hold in [false, true] {
        let mut world = World::<S>::connected(setup(1), Bot::Talker, CALLS);
        if hold {
            // One that is not read must not keep the driver.
            world.hold(0, true);
            world.settle();
        }
        let ticket = world.close();
        world.orders_may_wait = true;
        world.drive_for(seconds(LINGER_SECONDS));
        if hold {
            world.hold(0, false);
            world.drive_for(seconds(1));
        }
        assert!(world.subject.is_finished());
        assert!(world.has_ended(ticket), "whoever closed waits no longer");
        for number in 0..CALLS {
            assert_eq!(world.ends(number), [CloseReason::Application], "call {number}");
            let left = |data: &[u8]| String::from_utf8_lossy(data).contains("peerLeft");
            let told = world.page(number).any(|event| {
                matches!(event, smallrtc_sim::BrowserEvent::Message { data, .. } if left(data))
            });
            assert!(told, "page {number} is told that the bot leaves");
        }
    }
}

/// Without handles the calls go on; the driver ends with the last of them.
pub fn a_driver_without_handles_ends_with_its_last_call<S: Subject>() {
    let mut world = World::<S>::connected(setup(2), Bot::Echo, 2);
    world.order(Order::LetGo);
    world.drive_for(seconds(1));
    for number in 0..2 {
        assert!(!world.subject.is_finished(), "call {number} goes on");
        world.send_text(number, "still there");
        world.drive_for(milliseconds(100));
        assert_eq!(world.texts(number), ["still there"]);
        let now = world.now();
        world.browser(number).hang_up(now);
        world.touched(number);
        world.drive_for(milliseconds(100));
        assert_eq!(world.ends(number), [CloseReason::HungUp]);
    }
    assert!(world.subject.is_finished());
}

/// Sockets that cannot be waited for any more: `Internal`, once for each call, and nothing more
/// when the machine is dropped then.
pub fn sockets_that_break_tell_every_call_once<S: Subject>() {
    let mut world = World::<S>::connected(setup(3), Bot::Talker, CALLS);
    world.fail();
    for number in 0..CALLS {
        assert_eq!(world.ends(number), [CloseReason::Internal], "call {number}");
    }
}

/// A machine that is only dropped: `Application`, once; what comes later is refused, and nothing
/// waits for ever.
pub fn a_machine_that_is_dropped_tells_every_call_once_and_refuses_the_rest<S: Subject>() {
    let mut world = World::<S>::connected(setup(4), Bot::Talker, CALLS);
    // Put down, and not looked at any more.
    let before =
        [world.command(0, text("nobody takes it")), world.command(1, Command::Audio(speech(1..3)))];
    let asked = world.request("GET", "/", String::new());
    world.drop_machine();
    let after = world.command(2, text("late"));
    let asked_after = world.request("GET", "/", String::new());
    let closed = world.close();
    for number in 0..CALLS {
        assert_eq!(world.ends(number), [CloseReason::Application], "call {number}");
    }
    let refused = Some(&Outcome::Sent(Err(SendError::Closed)));
    assert_eq!(world.outcome(0, before[0]), refused);
    assert_eq!(world.outcome(1, before[1]), refused);
    assert_eq!(world.outcome(2, after), refused);
    for ticket in [asked, asked_after] {
        assert_eq!(world.answer(ticket).map(|answer| answer.status), Some(503));
    }
    assert!(world.has_ended(closed));
    assert_eq!(world.open_orders(), 0, "somebody waits for ever");
}

/// A page hangs up: its call is told so once, others are not, and commands to it are refused.
pub fn a_page_that_hangs_up_ends_its_call_once_and_no_other<S: Subject>() {
    let mut world = World::<S>::connected(setup(5), Bot::Talker, CALLS);
    let now = world.now();
    world.browser(1).hang_up(now);
    world.touched(1);
    world.drive_for(milliseconds(100));
    assert_eq!(world.ends(1), [CloseReason::HungUp]);
    let ticket = world.command(1, text("late"));
    world.settle();
    assert_eq!(world.outcome(1, ticket), Some(&Outcome::Sent(Err(SendError::Closed))));
    world.drive_for(seconds(30));
    for number in 0..CALLS {
        assert_eq!(world.ends(number).len(), usize::from(number == 1), "call {number}");
    }
}
