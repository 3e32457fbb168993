//! No wake-up is lost.

use std::time::Duration;

use smallrtc::AudioIdle;
use smallrtc_udp::RECEIVE_BUDGET;

use super::rest::messages;
use super::{milliseconds, seconds, setup, text};
use crate::{Bot, Command, Outcome, Subject, Ticket, World, speech};

/// How long a quiet call is waited for: longer than the interval of pings and consent checks.
const QUIET_WITHIN: Duration = Duration::from_secs(10);

/// Messages that a page of the plain wire has on their way before the first is acknowledged.
const WINDOW: usize = 2;

/// A long message, and more of them than a session takes while its page acknowledges none.
const LONG_LEN: usize = 60_000;
const TAKEN_MAX: usize = 100;

/// Every kind of command, put down while the driver waits, is carried out at that moment.
pub fn every_command_wakes_a_driver_that_waits<S: Subject>() {
    let mut world = quiet::<S>(Bot::Silent, 1);
    for command in [
        Command::Audio(speech(1..11)),
        text("a message"),
        Command::Clear,
        Command::Audio(speech(11..21)),
        Command::Close,
    ] {
        wait_for_quiet(&mut world, milliseconds(30));
        let at = world.now();
        assert!(!world.subject.is_rung());
        let ticket = world.command(0, command.clone());
        assert!(world.subject.is_rung() || world.outcome(0, ticket).is_some(), "{command:?}");
        world.settle();
        assert!(world.outcome(0, ticket).is_some(), "{command:?} was not carried out");
        assert_eq!(world.now(), at);
    }
    wait_for_quiet(&mut world, milliseconds(1));
    let request = world.request("GET", "/", String::new());
    assert!(world.subject.is_rung(), "a request wakes");
    world.settle();
    assert_eq!(world.answer(request).map(|response| response.status), Some(404));
    world.drive_for(seconds(1));
    assert_eq!(world.texts(0), ["a message"]);
    let heard = world.heard(0);
    assert_eq!(heard[..1], [1], "the first word left before the queue was cleared");
}

/// A command that is put down while a step runs is not overlooked.
pub fn a_command_put_down_during_a_step_is_carried_out<S: Subject>() {
    let mut world = quiet::<S>(Bot::Silent, 1);
    for round in 0..20 {
        wait_for_quiet(&mut world, milliseconds(5));
        let ticket = world.command_during_step(0, text(&format!("round {round}")));
        // Something has to make it step.
        let request = world.request("GET", "/", String::new());
        world.settle();
        assert!(world.answer(request).is_some());
        assert!(world.outcome(0, ticket).is_some(), "round {round} was overlooked");
    }
    world.drive_for(milliseconds(100));
    let rounds: Vec<String> = (0..20).map(|round| format!("round {round}")).collect();
    assert_eq!(world.texts(0), rounds);
}

/// Requests at the budget of a step are answered in one; one more is answered in the next.
pub fn requests_at_the_budget_and_one_past_it_are_all_answered<S: Subject>() {
    let budget = S::BUDGETS.requests;
    for count in [budget, budget + 1, 3 * budget + 1] {
        let mut world = World::<S>::new(setup(1), Bot::Silent);
        world.settle();
        let tickets: Vec<_> =
            (0..count).map(|_| world.request("GET", "/", String::new())).collect();
        assert_eq!(world.turn_once(), count.min(budget), "in one step");
        // At the limit a driver may look once more.
        assert!(world.is_busy() || count == budget, "{count} requests");
        world.settle();
        assert!(tickets.iter().all(|ticket| world.answer(*ticket).is_some()));
    }
}

/// Calls that each put down one command: the budget in one step, one more in the next.
pub fn calls_at_the_budget_and_one_past_it_are_all_served<S: Subject>() {
    let budget = S::BUDGETS.calls;
    for count in [budget, budget + 1, 2 * budget + 1] {
        let mut world = quiet::<S>(Bot::Silent, count);
        wait_for_quiet(&mut world, milliseconds(5));
        for number in 0..count {
            world.command(number, text("a text"));
        }
        assert_eq!(world.turn_once(), count.min(budget), "in one step");
        world.settle();
        assert_eq!(world.open_orders(), 0, "in the steps that follow");
        world.drive_for(milliseconds(100));
        for number in 0..count {
            assert_eq!(world.texts(number), ["a text"], "call {number} of {count}");
        }
    }
}

/// Messages of one call, each of a task of its own where there are tasks: the budget in one step,
/// one more in the next.
pub fn messages_at_the_budget_and_one_past_it_are_all_sent<S: Subject>() {
    let budget = S::BUDGETS.messages;
    for count in [budget, budget + 1, 3 * budget + 1] {
        let mut world = quiet::<S>(Bot::Silent, 1);
        wait_for_quiet(&mut world, milliseconds(5));
        let texts: Vec<String> = (0..count).map(|number| format!("text {number}")).collect();
        for sent in &texts {
            world.command(0, text(sent));
        }
        assert_eq!(world.turn_once(), count.min(budget), "in one step");
        world.settle();
        assert_eq!(world.open_orders(), 0, "in the steps that follow");
        world.drive_for(seconds(2));
        // The order of tasks that wait beside each other is theirs.
        let sorted = |mut texts: Vec<String>| {
            texts.sort();
            texts
        };
        assert_eq!(sorted(world.texts(0)), sorted(texts));
    }
}

/// More messages than a session takes, while the page hears nothing: what is one past its limit
/// waits for room or is refused, and when there is room all that was not refused is sent, however
/// much waits, though nothing else wakes the driver.
pub fn messages_that_wait_for_room_are_sent_when_there_is_room<S: Subject>() {
    // As much as waits in any case: what a driver keeps, at its budget and one past it.
    for waiting in [1, S::BUDGETS.messages, S::BUDGETS.messages + 1, S::BUDGETS.messages + 2] {
        let mut world = quiet::<S>(Bot::Silent, 1);
        wait_for_quiet(&mut world, milliseconds(5));
        world.set_deaf(0, true);
        world.orders_may_wait = true;
        let long = |number: usize| text(&format!("{number:0>LONG_LEN$}"));
        let mut tickets = vec![world.command(0, long(0))];
        world.settle();
        while is_sent(&world, tickets[tickets.len() - 1]) {
            assert!(tickets.len() < TAKEN_MAX, "a session takes without limit");
            tickets.push(world.command(0, long(tickets.len())));
            world.settle();
        }
        // Behind a long one that waits for much room, short ones that fit into what is left of it.
        let taken = tickets.len() - 1;
        for _ in 1..waiting {
            tickets.push(world.command(0, text(&tickets.len().to_string())));
        }
        world.settle();
        world.drive_for(milliseconds(200));
        world.set_deaf(0, false);
        world.drive_for(seconds(5));
        world.orders_may_wait = false;
        world.settle();
        let sent = tickets.iter().enumerate().filter(|(_, ticket)| is_sent(&world, **ticket));
        let expected: Vec<String> = sent.map(|(number, _)| number.to_string()).collect();
        assert!(expected.len() >= taken);
        assert_eq!(world.open_orders(), 0, "{waiting} wait");
        let numbers: Vec<String> = world.texts(0).iter().map(|text| trimmed(text)).collect();
        assert_eq!(numbers, expected);
    }
}

/// The number in a text, without the zeros before it.
fn trimmed(text: &str) -> String {
    text.parse::<usize>().expect("a number").to_string()
}

fn is_sent<S: Subject>(world: &World<S>, ticket: Ticket) -> bool {
    world.outcome(0, ticket) == Some(&Outcome::Sent(Ok(())))
}

/// Events of many calls at once: the budget in one step, one more in the next.
pub fn events_at_the_budget_and_one_past_it_are_all_told<S: Subject>() {
    let budget = S::BUDGETS.events;
    for count in [budget, budget + 1] {
        let mut world = quiet::<S>(Bot::Silent, count.div_ceil(WINDOW));
        wait_for_quiet(&mut world, milliseconds(5));
        send_at_once(&mut world, count);
        world.hand_over_datagrams(milliseconds(10));
        assert_eq!(world.turn_once(), budget, "in one step");
        world.settle();
        assert_eq!(all_messages(&world), count, "in the step that follows");
    }
}

/// Datagrams beyond what one turn takes, with nothing behind them that would wake the driver.
pub fn datagrams_one_past_the_budget_of_a_turn_are_all_taken<S: Subject>() {
    for count in [RECEIVE_BUDGET, RECEIVE_BUDGET + 1, 3 * RECEIVE_BUDGET + 1] {
        let mut world = quiet::<S>(Bot::Silent, count.div_ceil(WINDOW));
        wait_for_quiet(&mut world, milliseconds(40));
        send_at_once(&mut world, count);
        world.drive_for(milliseconds(10));
        assert_eq!(all_messages(&world), count);
    }
}

/// So many messages leave the pages at this moment, a datagram each.
fn send_at_once<S: Subject>(world: &mut World<S>, count: usize) {
    for text in 0..count {
        world.send_text(text / WINDOW, &text.to_string());
    }
}

fn all_messages<S: Subject>(world: &World<S>) -> usize {
    (0..world.calls()).map(|number| messages(world, number).len()).sum()
}

/// While a socket is blocked nothing is polled; afterwards everything leaves, in order.
pub fn what_could_not_be_sent_leaves_whole_and_in_order_when_the_socket_is_writable_again<
    S: Subject,
>() {
    let mut world = World::<S>::connected(setup(6), Bot::Silent, 3);
    for number in 0..3 {
        world.command(number, Command::Audio(speech(1..101)));
    }
    world.drive_for(milliseconds(205));
    let before: Vec<u64> = (0..3).map(|number| world.watch(number).datagrams()).collect();
    world.set_blocked(true);
    for round in 0..10 {
        for number in 0..3 {
            world.command(number, text(&format!("text {round}")));
        }
        world.drive_for(milliseconds(20));
    }
    for (number, before) in before.iter().enumerate() {
        assert_eq!(world.watch(number).datagrams(), *before, "nothing leaves a blocked socket");
    }
    world.set_blocked(false);
    world.drive_for(seconds(3));
    let texts: Vec<String> = (0..10).map(|round| format!("text {round}")).collect();
    for number in 0..3 {
        assert_eq!(world.heard(number), (1..101).collect::<Vec<i16>>(), "no word is lost");
        assert_eq!(world.texts(number), texts);
    }
}

/// A call that has nothing to do for a while is given sound: it leaves at that moment, and the
/// rest of it at its pace.
pub fn a_command_that_moves_the_deadline_nearer_is_in_time<S: Subject>() {
    let mut world = quiet::<S>(Bot::Silent, 2);
    wait_for_quiet(&mut world, milliseconds(100));
    world.watch(0).forget();
    let (old, at) = (world.deadline().expect("pings are waited for"), world.elapsed());
    world.command(0, Command::Audio(speech(1..9)));
    world.settle();
    let new = world.deadline().expect("sound is due");
    assert!(new < old && new <= world.now() + milliseconds(20), "the deadline did not move");
    world.drive_for(milliseconds(90));
    let departures: Vec<_> = world.watch(0).departures().iter().map(|packet| packet.at).collect();
    let expected: Vec<_> = (0..4).map(|packet| at + milliseconds(20) * packet).collect();
    assert_eq!(departures[..4], expected);
}

/// Calls end while the driver waits for a deadline of theirs: the wake-up finds nothing to do, and
/// no deadline is left.
pub fn a_deadline_that_moved_away_wakes_for_nothing_and_does_nothing<S: Subject>() {
    let mut world = World::<S>::connected(setup(9), Bot::Talker, 3);
    // The sound that was due in 20 ms is dropped: the deadline moves away.
    let mut quiet = self::quiet::<S>(Bot::Silent, 1);
    quiet.command(0, Command::Audio(speech(1..200)));
    quiet.drive_for(milliseconds(50));
    quiet.command(0, Command::Clear);
    quiet.drive_for(milliseconds(300));
    quiet.watch(0).forget();
    quiet.drive_for(seconds(2));
    assert_eq!(quiet.watch(0).departures(), [], "what was dropped is not sent");

    for number in 0..3 {
        let now = world.now();
        world.browser(number).hang_up(now);
        world.touched(number);
    }
    world.drive_for(milliseconds(15));
    let sent: Vec<u64> = (0..3).map(|number| world.watch(number).datagrams()).collect();
    assert_eq!(world.deadline(), None, "nothing is waited for");
    // A driver whose timer fires all the same steps at the old deadline.
    world.drive_for(milliseconds(20));
    let now = world.now();
    assert!(!world.subject.step(now));
    world.settle();
    let after: Vec<u64> = (0..3).map(|number| world.watch(number).datagrams()).collect();
    assert_eq!(sent, after);
    assert_eq!(world.deadline(), None);
}

/// Calls that send nothing while there is nothing to say, whose channels are open.
fn quiet<S: Subject>(bot: Bot, calls: usize) -> World<S> {
    let setup = setup(8).config(|config| config.audio_idle(AudioIdle::Nothing));
    let setup = setup.browser(|browser| browser.chatters = false);
    World::connected(setup, bot, calls)
}

/// Goes on to a moment at which nothing is due for so long.
fn wait_for_quiet<S: Subject>(world: &mut World<S>, rest: Duration) {
    let until = world.now() + QUIET_WITHIN;
    loop {
        world.settle();
        let quiet = world.next_event().is_none_or(|at| at > world.now() + rest);
        if quiet && world.deadline().is_none_or(|at| at > world.now() + rest) {
            return;
        }
        assert!(world.now() < until, "never quiet for {rest:?}");
        world.drive_for(milliseconds(1));
    }
}
