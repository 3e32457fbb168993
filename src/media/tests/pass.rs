//! Files that are passed on as they are.

use std::time::{Duration, Instant};

use super::*;

const MS: Duration = Duration::from_millis(1);

fn packets(count: u8) -> Vec<Vec<u8>> {
    (0..count).map(packet).collect()
}

#[expect(clippy::disallowed_methods, reason = "an `Instant` has no other origin")]
fn start() -> Instant {
    Instant::now()
}

fn serve(pass: &mut OpusPass, file: &[u8]) {
    while let Some(wanted) = pass.wants() {
        pass.handle_read(wanted.offset, part(file, wanted));
    }
}

/// Runs on time; gives when each packet came, its track's time and what it says.
fn run(pass: &mut OpusPass, file: &[u8], from: Instant, count: usize) -> Vec<(u128, u128, u8)> {
    let mut sent = Vec::new();
    serve(pass, file);
    while let Some(due) = pass.poll_timeout().filter(|_| sent.len() < count) {
        while let Some(frame) = pass.handle_timeout(due) {
            sent.push((
                (due - from).as_millis(),
                frame.time.as_millis(),
                *frame.data.last().unwrap(),
            ));
        }
        assert!(pass.handle_timeout(due).is_none());
        serve(pass, file);
    }
    sent
}

#[test]
fn each_packet_comes_when_it_is_due_and_the_file_ends() {
    let (file, now) = (ogg(OpusHead::new(1), &packets(5), 0), start());
    let mut pass = OpusPass::new(1);
    serve(&mut pass, &file);
    assert_eq!(pass.poll_timeout(), None, "it was not started");
    pass.start(now);
    let sent = run(&mut pass, &file, now, 99);
    assert_eq!(sent, (0..5).map(|n| (20 * n, 20 * n, n as u8)).collect::<Vec<_>>());
    assert_eq!((pass.is_ended(), pass.error(), pass.slips()), (true, None, 0));
}

#[test]
fn a_loop_has_no_gap_and_leaves_out_what_nobody_hears() {
    let mut head = OpusHead::new(1);
    head.pre_skip = 1_000;
    let (file, now) = (ogg(head, &packets(5), 970), start());
    let mut pass = OpusPass::new(1);
    pass.set_looped(true);
    pass.start(now);
    let sent = run(&mut pass, &file, now, 8);
    let expected = [1, 2, 3, 1, 2, 3, 1, 2].into_iter().zip(0..);
    assert_eq!(sent, expected.map(|(value, n)| (20 * n, 20 * n, value)).collect::<Vec<_>>());
}

#[test]
fn a_stall_makes_the_grid_slip_and_no_burst() {
    let (file, now) = (ogg(OpusHead::new(1), &packets(5), 0), start());
    let mut pass = OpusPass::new(1);
    pass.start(now);
    serve(&mut pass, &file);
    assert!(pass.handle_timeout(now).is_some());
    let late = pass.handle_timeout(now + 75 * MS).unwrap();
    assert_eq!((late.time, late.data[2]), (60 * MS, 1));
    assert!(pass.handle_timeout(now + 79 * MS).is_none());
    assert_eq!(pass.handle_timeout(now + 80 * MS).unwrap().data[2], 2);
    assert_eq!(pass.slips(), 1);
}

#[test]
fn a_pause_sends_nothing_and_the_tracks_time_goes_on() {
    let (file, now) = (ogg(OpusHead::new(1), &packets(9), 0), start());
    let mut pass = OpusPass::new(1);
    pass.start(now);
    serve(&mut pass, &file);
    assert!(pass.handle_timeout(now).is_some());
    pass.pause();
    assert_eq!((pass.poll_timeout(), pass.handle_timeout(now + 50 * MS)), (None, None));
    pass.start(now + 1_000 * MS);
    let frame = pass.handle_timeout(now + 1_000 * MS).unwrap();
    assert_eq!((frame.time, frame.data[2]), (1_000 * MS, 1));
    pass.seek(131 * MS);
    serve(&mut pass, &file);
    assert_eq!(pass.poll_timeout(), Some(now + 1_020 * MS), "a seek does not move the deadline");
    assert_eq!(pass.handle_timeout(now + 1_020 * MS).unwrap().data[2], 6, "120 to 140 ms");
    pass.seek(1_000 * MS);
    serve(&mut pass, &file);
    assert!(pass.is_ended());
    pass.seek(Duration::ZERO);
    serve(&mut pass, &file);
    assert_eq!(pass.handle_timeout(now + 1_040 * MS).unwrap().data[2], 0);
}

#[test]
fn what_is_missing_in_the_file_is_a_pause() {
    let mut file = ogg(OpusHead::new(1), &packets(60), 0);
    let pages: Vec<usize> =
        (0..file.len() - 4).filter(|&at| file[at..].starts_with(b"OggS")).collect();
    file[pages[3] + 40] ^= 1;
    let now = start();
    let mut pass = OpusPass::new(1);
    pass.start(now);
    let sent = run(&mut pass, &file, now, 99);
    let expected = (0..20).chain(40..60).map(|n| (20 * n, 20 * n, n as u8));
    assert_eq!(sent, expected.collect::<Vec<_>>());
}

#[test]
fn bytes_of_another_place_are_dropped() {
    let file = ogg(OpusHead::new(1), &packets(5), 0);
    let mut pass = OpusPass::new(1);
    pass.handle_read(10, &file[10..]);
    assert_eq!(pass.wants().map(|wanted| wanted.offset), Some(0));
}

#[test]
fn a_file_that_cannot_be_passed_on_says_why() {
    let now = start();
    let error = |file: &[u8]| {
        let mut pass = OpusPass::new(1);
        pass.start(now);
        run(&mut pass, file, now, 1);
        assert!(pass.error().is_none() || pass.is_ended() && pass.poll_timeout().is_none());
        pass.error()
    };
    let mut loud = OpusHead::new(1);
    loud.gain = 256;
    let of = |head, toc: u8| ogg(head, &[vec![toc]], 0);
    assert_eq!(error(&of(OpusHead::new(1), 31 << 3)), None);
    assert_eq!(error(&of(OpusHead::new(1), 11 << 3)), None, "60 ms");
    assert_eq!(error(&of(OpusHead::new(1), 30 << 3)), None, "10 ms");
    assert_eq!(error(&of(OpusHead::new(1), 29 << 3)), Some(PassError::PacketTime(240)));
    let long = ogg(OpusHead::new(1), &[vec![11 << 3 | 1, 0, 0]], 0);
    assert_eq!(error(&long), Some(PassError::PacketTime(5_760)));
    assert_eq!(error(&of(OpusHead::new(2), 31 << 3)), Some(PassError::Channels(2)));
    assert_eq!(error(&of(loud, 31 << 3)), Some(PassError::Gain(256)));
    assert_eq!(error(b"RIFF and so on"), Some(PassError::NoOpus));
    assert_eq!(PassError::Channels(2).to_string(), "channels: 2 (expected 1)");
}
