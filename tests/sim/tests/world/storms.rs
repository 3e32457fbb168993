//! Everything at once, drawn from a seed: see [`storm`].

use std::time::Instant;

use smallrtc::{Endpoint, Event, Message, SessionId};
use smallrtc_sim::{Kind, repeat, run, storm};

#[test]
fn storms_end_every_call_once_mix_none_and_leave_nothing() {
    run("storms_end_every_call_once_mix_none_and_leave_nothing", 5, |seed| {
        for kind in Kind::ALL {
            repeat(|| storm(kind, seed, |_| {}).trace.clone());
        }
    });
}

#[test]
#[should_panic(expected = "never said, twice or out of order")]
fn a_storm_finds_a_bot_that_says_a_word_twice() {
    storm(Kind::Scripted, 1, |world| {
        for number in 0..world.endpoints() {
            world.set_bot_at(
                number,
                |id: SessionId, event: Event, core: &mut Endpoint, now: Instant| {
                    if let (Event::ChannelOpened { .. }, Some(mut call)) = (event, core.session(id))
                    {
                        for word in ["bot 0 0", "bot 0 0"] {
                            call.send_message(Message::text(word), now).ok();
                        }
                    }
                },
            );
        }
    });
}
