//! Sound that is held back goes on where it stopped.

use smallrtc::AudioIdle;

use super::{milliseconds, seconds, setup};
use crate::{Bot, Command, Outcome, Subject, World, speech};

/// How many words are said: a second of 10 ms each.
const WORDS: i16 = 100;

/// Words that are held back are not said, and none is missing or said twice afterwards. The one
/// that is faded out and the one that is faded in may come as other numbers.
pub fn sound_that_is_held_back_goes_on_where_it_stopped<S: Subject>() {
    let mut world = silent::<S>();
    let said = world.command(0, Command::Audio(speech(1..WORDS + 1)));
    world.drive_for(milliseconds(400));
    let pause = world.command(0, Command::Pause);
    world.drive_for(milliseconds(100));
    assert_eq!(world.outcome(0, pause), Some(&Outcome::Told));
    assert_eq!(world.outcome(0, said), Some(&Outcome::Sent(Ok(()))));
    let before = world.heard(0).len();
    assert!((30..60).contains(&before), "{before} words before the pause");
    world.drive_for(seconds(5));
    assert_eq!(world.heard(0).len(), before, "nothing is said in the pause");
    let _ = world.command(0, Command::Resume);
    world.drive_for(seconds(2));
    let heard = world.heard(0);
    let missing: Vec<i16> = (1..=WORDS).filter(|word| !heard.contains(word)).collect();
    assert!(missing.len() <= 3, "{missing:?} were not said");
    let around = |word: &i16| (before as i16 - 4..before as i16 + 4).contains(word);
    assert!(missing.iter().all(around), "{missing:?} around {before}");
}

/// What is held back is due at the moment at which it is let go.
pub fn a_pause_that_ends_wakes_a_driver_that_waits<S: Subject>() {
    let mut world = silent::<S>();
    let _ = world.command(0, Command::Pause);
    let _ = world.command(0, Command::Audio(speech(1..11)));
    world.drive_for(seconds(1));
    assert_eq!(world.heard(0), [0i16; 0]);
    let resume = world.command(0, Command::Resume);
    assert!(world.subject.is_rung() || world.outcome(0, resume).is_some());
    let at = world.now();
    world.settle();
    assert_eq!(world.now(), at);
    world.drive_for(milliseconds(300));
    assert_eq!(world.heard(0), (1..11).collect::<Vec<i16>>());
}

/// A call whose bot says nothing by itself, and nothing at all in pauses.
fn silent<S: Subject>() -> World<S> {
    let setup = setup(21).config(|config| config.audio_idle(AudioIdle::Nothing));
    World::<S>::connected(setup, Bot::Silent, 1)
}
