//! Nothing due is left undone, and everything comes in order.

use std::time::Duration;

use smallrtc::{AudioIdle, CloseReason, Message};
use smallrtc_sim::{Kind, LinkConfig, Setup};
use smallrtc_smol::SEND_BUDGET;

use super::{milliseconds, null_packet, seconds, setup, setup_of};
use crate::{Bot, Subject, Told, World};

/// So much sound is in one packet of a page's microphone.
const PACKET: Duration = Duration::from_millis(20);

/// Messages that a session keeps for an application that does not poll (`ApplicationTooSlow`).
const INBOUND_MAX: usize = 1024;

/// More messages than any driver keeps beside those of the session.
const INBOX_ROOM: usize = 512;

/// Messages of a burst that a session takes in any case, whatever a driver keeps beside them.
const HELD: usize = 1000;

/// Words and texts that a page sends come back, all of them and in order.
pub fn a_page_hears_and_reads_its_echo<S: Subject>() {
    let mut world = World::<S>::connected(setup(1), Bot::Echo, 1);
    let mut texts = Vec::new();
    for packet in 0..100 {
        let (first, now) = (1 + packet * 2, world.now());
        let data = null_packet([first, first + 1]);
        let time = u64::try_from(packet).expect("counted from zero") * 960;
        assert!(world.browser(0).send_media(0, time, &data, now));
        texts.push(format!("text {packet}"));
        world.send_text(0, &texts[texts.len() - 1]);
        world.drive_for(PACKET);
    }
    world.drive_for(seconds(1));
    let heard = world.heard(0);
    assert!(heard.is_sorted(), "{heard:?}");
    let words: std::collections::BTreeSet<i16> = heard.into_iter().collect();
    // The last word waits in a resampler for what would follow it.
    assert!((1..=199).all(|word| words.contains(&word)), "{words:?}");
    assert_eq!(world.texts(0), texts);
}

/// With calls of every kind on bad links, at every wait: the deadline lies ahead, nothing is to be
/// sent, told or carried out, and one more step does nothing. See [`World`].
pub fn nothing_due_is_left_undone_when_the_driver_waits<S: Subject>() {
    for bot in [Bot::Silent, Bot::Echo, Bot::Talker] {
        for idle in [AudioIdle::Silence, AudioIdle::Dtx, AudioIdle::Nothing] {
            let setup = setup(7).config(|config| config.audio_idle(idle));
            converse::<S>(setup.links(LinkConfig::bad()), bot, 8, 300);
        }
    }
}

/// The same with DTLS, SRTP and SCTP in place of the plain wire.
pub fn nothing_due_is_left_undone_with_calls_of_the_real_engine<S: Subject>() {
    converse::<S>(setup_of(Kind::Real, 3), Bot::Echo, 2, 100);
    converse::<S>(setup_of(Kind::Real, 4).links(LinkConfig::bad()), Bot::Talker, 2, 100);
}

/// Pages speak and write all the time; one after another hangs up at the end.
fn converse<S: Subject>(setup: Setup, bot: Bot, calls: usize, packets: u64) {
    let mut world = World::<S>::new(setup, bot);
    for number in 0..calls {
        world.add_browser();
        world.call(number);
        world.drive_for(milliseconds(130));
    }
    world.drive_for(seconds(4));
    for packet in 0..packets {
        for number in 0..calls {
            let now = world.now();
            let data = null_packet([1, 2]);
            assert!(world.browser(number).send_media(0, packet * 960, &data, now));
            if packet % 7 == number as u64 % 7 {
                world.send_text(number, "a text");
            }
            world.touched(number);
        }
        world.drive_for(PACKET);
    }
    for number in 0..calls {
        let now = world.now();
        world.browser(number).hang_up(now);
        world.touched(number);
        world.drive_for(milliseconds(300));
    }
    // What was lost on a bad link ends by the clock.
    world.drive_for(seconds(30));
    for number in 0..calls {
        let ends = world.ends(number);
        assert!(matches!(ends[..], [CloseReason::HungUp | CloseReason::Lost]), "{ends:?}");
        let audio = world.told(number).filter(|told| matches!(told, Told::Audio { .. })).count();
        assert!(audio > 50, "the application heard {audio} blocks");
        assert!(world.watch(number).datagrams() > 10);
    }
    assert_eq!(world.deadline(), None, "nothing of a call that ended is waited for");
}

/// More datagrams are due at one instant than one turn sends: all of them leave at that instant, in
/// several turns, one packet of sound of each call, and each session's in their order.
pub fn transmits_leave_in_order_of_their_session_when_more_are_due_than_one_turn_sends<
    S: Subject,
>() {
    const CALLS: usize = SEND_BUDGET + 50;
    let mut world = World::<S>::new(setup(2), Bot::Talker);
    for _ in 0..CALLS {
        let number = world.add_browser();
        world.call(number);
        world.drive_for(milliseconds(1));
    }
    world.drive_for(seconds(1));
    for number in 0..CALLS {
        world.watch(number).forget();
    }
    let (back, full) = (world.elapsed() + milliseconds(100), world.full_sends());
    world.stall(milliseconds(100));
    world.drive_for(milliseconds(100));
    assert!(world.full_sends() > full, "no budget was used up");
    for number in 0..CALLS {
        let departures = world.watch(number).departures();
        let at: Vec<_> = departures.iter().map(|packet| packet.at).collect();
        assert_eq!(at, [back], "call {number}");
    }
    for number in 0..CALLS {
        world.send_text(number, "a text");
    }
    world.drive_for(seconds(1));
    for number in 0..CALLS {
        let heard = world.heard(number);
        let words = (1..).take(heard.len()).collect::<Vec<i16>>();
        assert_eq!(heard, words, "call {number}");
    }
}

/// One call is not read for a while. The others go on as if it were not there.
pub fn an_application_that_stops_reading_one_call_delays_no_other<S: Subject>() {
    let mut world = World::<S>::connected(setup(3), Bot::Echo, 3);
    world.hold(1, true);
    world.settle();
    for text in 0..200 {
        for number in 0..3 {
            world.send_text(number, &format!("text {text}"));
        }
        world.drive_for(milliseconds(3));
    }
    world.drive_for(milliseconds(100));
    let texts: Vec<String> = (0..200).map(|text| format!("text {text}")).collect();
    assert_eq!((world.texts(0), world.texts(2)), (texts.clone(), texts.clone()));
    assert!(world.texts(1).len() <= 1, "a reader that is held has one thing in hand at most");
    world.hold(1, false);
    world.drive_for(seconds(1));
    assert_eq!(world.texts(1), texts);
}

/// Messages beyond what a driver keeps wait in the session, and come in order.
pub fn messages_that_are_not_read_come_in_order_when_they_are<S: Subject>() {
    let mut world = World::<S>::connected(setup(4), Bot::Silent, 1);
    world.hold(0, true);
    world.settle();
    for text in 0..HELD {
        world.send_text(0, &text.to_string());
        world.drive_for(milliseconds(1));
    }
    world.drive_for(milliseconds(200));
    assert!(messages(&world, 0).len() <= 1);
    let at = world.now();
    world.hold(0, false);
    world.settle();
    assert_eq!(world.now(), at, "it takes no time");
    let numbers: Vec<String> = (0..HELD).map(|text| text.to_string()).collect();
    assert_eq!(messages(&world, 0), numbers);
    assert!(world.ends(0).is_empty());
}

/// Messages that are never read end their call at the core's limit, and no other.
pub fn messages_that_are_never_read_end_their_call_and_no_other<S: Subject>() {
    let mut world = World::<S>::connected(setup(5), Bot::Silent, 2);
    world.hold(0, true);
    world.settle();
    for text in 0..INBOUND_MAX + INBOX_ROOM {
        if world.browser(0).is_open() {
            let now = world.now();
            let _ = world.browser(0).send_text(&text.to_string(), now);
            world.touched(0);
        }
        world.drive_for(milliseconds(1));
    }
    world.drive_for(milliseconds(200));
    world.hold(0, false);
    world.drive_for(seconds(5));
    assert_eq!(world.ends(0), [CloseReason::ApplicationTooSlow]);
    let told = messages(&world, 0);
    let numbers: Vec<String> = (0..told.len()).map(|text| text.to_string()).collect();
    assert_eq!(told, numbers, "what was acknowledged is told, in order");
    assert!(told.len() >= INBOUND_MAX, "{}", told.len());
    assert!(world.ends(1).is_empty());
}

/// The messages that the application was told of.
pub(super) fn messages<S: Subject>(world: &World<S>, number: usize) -> Vec<String> {
    let text = |told: &Told| match told {
        Told::Message(Message::Text(text)) => Some(text.clone()),
        _ => None,
    };
    world.told(number).filter_map(text).collect()
}
