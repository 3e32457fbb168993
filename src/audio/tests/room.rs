//! What a clear gives back.

use super::send::Rig;
use super::{ms, out};
use crate::SendError;

#[test]
fn after_a_clear_there_is_room_for_as_much_as_ever_and_no_more() {
    let mut rig = Rig::new(out(16_000));
    rig.sender.start(rig.now);
    let minute = vec![1; 60 * 16_000];
    for played in [0, 1_000, 2_015] {
        rig.send(&minute, 16_000).unwrap();
        let full = rig.send(&[1], 16_000);
        assert!(matches!(full, Err(SendError::QueueFull { limit: 60_000, .. })), "{full:?}");
        rig.run(ms(played));
        assert_eq!(rig.sender.clear().pieces.len(), 1);
        // What was not played is dropped, and takes no room.
    }
}
