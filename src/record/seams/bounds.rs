//! What a message is to the session is known before the session reads it.

use super::*;
use crate::record::Tape;
use crate::record::player::{Played, Player};
use crate::record::recorder::bounds::{origin, recorder};

#[test]
fn the_longest_message_is_read_and_one_byte_more_and_an_empty_one_are_not() {
    for binary in [false, true] {
        let of = |len: usize| meaning(binary, &vec![b'x'; len]);
        assert_eq!(of(1), Meaning::Application);
        assert_eq!(of(MESSAGE_LEN_MAX), Meaning::Application);
        assert_eq!(of(MESSAGE_LEN_MAX + 1), Meaning::Unread);
        assert_eq!(of(0), Meaning::Unread);
    }
}

#[test]
fn of_the_text_of_a_fault_as_much_is_kept_as_its_limit_and_not_a_character_more() {
    for len in [FAULT_LEN_MAX - 1, FAULT_LEN_MAX, FAULT_LEN_MAX + 1] {
        let fault = TransportEvent::Fault("\u{20ac}".repeat(len));
        let Heard::Fault(kept) = heard(&fault, Keep::default(), None) else { panic!("a fault") };
        assert_eq!(kept.chars().count(), len.min(FAULT_LEN_MAX));
    }
}

#[test]
fn a_number_of_samples_stays_what_it_is() {
    assert_eq!([short(0), short(1), short(5_760)], [0, 1, 5_760]);
    assert_eq!(short(usize::MAX), u32::MAX);
}

#[test]
fn what_listens_says_nothing_of_itself() {
    #[derive(Debug)]
    struct Deaf;
    impl AudioDecoder for Deaf {
        fn decode(&mut self, _: &[u8], _: &mut Vec<i16>) -> usize {
            0
        }
        fn conceal(&mut self, _: usize, _: &mut Vec<i16>) {}
        fn copied(&self, _: &[u8]) -> usize {
            0
        }
        fn repair(&mut self, _: &[u8], _: &mut Vec<i16>) -> usize {
            0
        }
        fn duration(&self, _: &[u8]) -> Option<usize> {
            None
        }
        fn reset(&mut self) {}
    }
    let (recorder, _) = recorder(4_096, origin());
    let recorder = Arc::new(Mutex::new(recorder));
    let tapped = TappedDecoder::new(Box::new(Deaf), recorder);
    assert_eq!(format!("{tapped:?}"), "TappedDecoder { inner: Deaf, recorder: Recorder }");
    let tape = Tape::Records(tapped.recorder.0.clone());
    assert_eq!(format!("{tape:?}"), "Tape(records)");
    let player = Arc::new(Mutex::new(Player::new(Keep::default(), origin())));
    let played = Played::new(player.clone());
    let transport = Tapped::new(Box::new(played), tapped.recorder.0.clone());
    assert_eq!(format!("{transport:?}"), "Played", "it is that of the transport below");
    assert_eq!(format!("{:?}", Tape::Plays(player)), "Tape(plays)");
}
