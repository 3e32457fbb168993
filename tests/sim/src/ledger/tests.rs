//! Each account fails when it is fed what must not happen, and only then.

use smallrtc::{CloseReason, Codec, ConnectionState};

use super::*;

/// Runs `wrong` on the books, which have to object with these words.
#[track_caller]
fn objects(words: &str, wrong: impl FnOnce(&mut Ledger)) {
    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        wrong(&mut Ledger::default());
    }));
    let cause = outcome.expect_err("the books must object");
    let text = cause.downcast_ref::<String>().cloned();
    let text = text.or_else(|| cause.downcast_ref::<&str>().map(|text| (*text).to_owned()));
    let text = text.expect("a panic says something");
    assert!(text.contains(words), "it objects, but says {text:?}");
}

fn started(id: u64) -> Event {
    Event::AudioStarted { id: AudioId(id) }
}

fn finished(id: u64, samples: u64) -> Event {
    Event::AudioFinished { id: AudioId(id), samples }
}

fn closed() -> Event {
    Event::Closed { reason: CloseReason::Lost }
}

fn stats(change: impl FnOnce(&mut Stats)) -> Stats {
    let mut stats = Stats::default();
    change(&mut stats);
    stats
}

fn text(text: &str) -> Event {
    Event::Message(Message::text(text))
}

/// A message of the bot that waits.
fn queued(books: &mut Ledger, text: &str) {
    books.message_sent(&Message::text(text), &Ok(Delivery::Queued), &Stats::default());
}

#[test]
fn sound_that_is_told_of_to_the_sample_adds_up() {
    let mut books = Ledger::default();
    for id in 0..4 {
        books.audio_sent(AudioId(id), 100, 8000);
    }
    books.told(&started(0));
    books.told(&finished(0, 100));
    books.told(&started(1));
    books.audio_cleared(&[(AudioId(2), 30, 70), (AudioId(3), 0, 100)]);
    assert_eq!(
        books.sound(),
        Sound { accepted: 400, sent: 130, dropped: 170, queued: 100, pieces: 3 }
    );
    books.told(&finished(1, 100));
    books.told(&started(2));
    books.audio_sent(AudioId(4), 100, 8000);
    books.told(&started(4));
    books.silenced();
    books.told(&finished(4, 7));
    books.drained();
    books.told(&closed());
    assert_eq!(
        books.sound(),
        Sound { accepted: 500, sent: 237, dropped: 263, queued: 0, pieces: 5 }
    );
}

#[test]
fn sound_that_does_not_add_up_is_found() {
    let one = |books: &mut Ledger| books.audio_sent(AudioId(0), 100, 8000);
    objects("ids of audio rise by one", |books| books.audio_sent(AudioId(1), 1, 8000));
    objects("was accepted", |books| books.told(&finished(0, 1)));
    objects("once and in order", |books| {
        one(books);
        books.audio_sent(AudioId(1), 1, 8000);
        books.told(&started(0));
        books.told(&finished(1, 1));
    });
    objects("101 of 100", |books| {
        one(books);
        books.told(&started(0));
        books.told(&finished(0, 101));
    });
    objects("cut short and the call goes on", |books| {
        one(books);
        books.told(&started(0));
        books.told(&finished(0, 99));
        books.drained();
    });
    objects("sent and dropped are all of it", |books| {
        one(books);
        books.audio_cleared(&[(AudioId(0), 50, 49)]);
    });
    objects("no more pieces are cleared", |books| {
        books.audio_cleared(&[(AudioId(0), 50, 50)]);
    });
    objects("cleared in order", |books| {
        one(books);
        books.audio_cleared(&[(AudioId(7), 50, 50)]);
    });
    objects("nothing was told of", |books| {
        one(books);
        books.told(&closed());
    });
}

#[test]
fn pieces_that_begin_twice_late_or_never_are_found() {
    let two = |books: &mut Ledger| {
        books.audio_sent(AudioId(0), 100, 8000);
        books.audio_sent(AudioId(1), 100, 8000);
    };
    objects("begin once and in order", |books| {
        two(books);
        books.told(&started(1));
    });
    objects("begin once and in order", |books| {
        two(books);
        books.told(&started(0));
        books.told(&started(0));
    });
    objects("no piece is left", |books| books.told(&started(0)));
    objects("begins if any of it is sent", |books| {
        two(books);
        books.told(&finished(0, 100));
    });
    objects("begins if any of it is sent", |books| {
        two(books);
        books.silenced();
        books.told(&started(0));
        books.told(&finished(0, 0));
    });
    objects("nothing of it was sent", |books| {
        two(books);
        books.told(&started(0));
        books.audio_cleared(&[(AudioId(0), 0, 100), (AudioId(1), 0, 100)]);
    });
    objects("begin once and in order", |books| {
        two(books);
        books.audio_cleared(&[(AudioId(0), 10, 90), (AudioId(1), 0, 100)]);
        books.audio_sent(AudioId(2), 100, 8000);
        books.told(&started(2));
    });
    objects("pieces began unsaid", |books| {
        two(books);
        books.audio_cleared(&[(AudioId(0), 10, 90), (AudioId(1), 0, 100)]);
        books.told(&closed());
    });
}

#[test]
fn too_much_sound_is_found() {
    let mut books = Ledger::default();
    for id in 0..6000 {
        books.audio_sent(AudioId(id), 80, 8000);
    }
    objects("of sound wait", |books| {
        for id in 0..6010 {
            books.audio_sent(AudioId(id), 80, 8000);
        }
    });
    objects("8193 pieces", |books| {
        for id in 0..=8192 {
            books.audio_sent(AudioId(id), 1, 8000);
        }
    });
}

#[test]
fn messages_out_that_are_lost_doubled_or_turned_are_found() {
    let mut books = Ledger::default();
    for text in ["a", "b", "c"] {
        queued(&mut books, text);
    }
    books.page_heard(b"a");
    books.page_heard(br#"{"type":"signalling","message":{"type":"peerLeft"}}"#);
    books.page_heard(b"c");
    // The one in between was told of as dropped.
    books.settle(&stats(|stats| (stats.messages_sent, stats.messages_dropped) = (2, 1)));

    objects("never said", |books| books.page_heard(b"a"));
    objects("twice", |books| {
        queued(books, "a");
        books.page_heard(b"a");
        books.page_heard(b"a");
    });
    objects("out of order", |books| {
        queued(books, "a");
        queued(books, "b");
        books.page_heard(b"b");
        books.page_heard(b"a");
    });
    objects("1 messages did not arrive", |books| {
        queued(books, "a");
        queued(books, "b");
        books.page_heard(b"b");
        books.settle(&stats(|stats| stats.messages_sent = 2));
    });
    objects("was accepted", |books| books.settle(&stats(|stats| stats.messages_sent = 1)));
    objects("Sent, but 1 wait", |books| {
        books.message_sent(&Message::text("a"), &Ok(Delivery::Sent), &Stats::default());
    });
    objects("MessagesDrained", |books| books.told(&Event::MessagesDrained));
}

#[test]
fn two_channels_keep_no_order_but_nothing_comes_twice() {
    let mut books = Ledger::default();
    books.channel_changed();
    books.channel_changed();
    queued(&mut books, "a");
    queued(&mut books, "b");
    books.page_heard(b"b");
    books.page_heard(b"a");
    books.settle(&stats(|stats| stats.messages_sent = 2));
    objects("twice", |books| {
        books.channel_changed();
        books.channel_changed();
        queued(books, "a");
        books.page_heard(b"a");
        books.page_heard(b"a");
    });
}

#[test]
fn too_many_messages_out_are_found() {
    let fill = |books: &mut Ledger, count: usize| {
        (0..count).for_each(|_| queued(books, "x"));
    };
    fill(&mut Ledger::default(), 50);
    objects("51 messages wait", |books| fill(books, 51));
    objects("4097 messages wait", |books| {
        books.told(&Event::ChannelOpened { label: String::new() });
        fill(books, 4097);
    });
    objects("bytes of messages wait", |books| {
        (0..5).for_each(|_| queued(books, &"x".repeat(256 * 1024)));
    });
    objects("262145 bytes is taken", |books| queued(books, &"x".repeat(256 * 1024 + 1)));
    let mut books = Ledger::default();
    let full = Err(SendError::QueueFull { limit: 50, wait: None });
    books.message_sent(&Message::text("a"), &full, &stats(|stats| stats.messages_refused = 1));
    books.told(&Event::MessagesDrained);
}

#[test]
fn messages_in_that_nobody_said_or_too_many_at_once_are_found() {
    let mut books = Ledger::default();
    for said in ["a", "ping: 1", "b"] {
        books.page_said(digest(said.as_bytes()));
    }
    books.told(&text("a"));
    books.told(&text("b"));
    objects("the bot hears", |books| books.told(&text("a")));
    objects("out of order", |books| {
        books.page_said(digest(b"a"));
        books.page_said(digest(b"b"));
        books.told(&text("b"));
        books.told(&text("a"));
    });
    let flood = |books: &mut Ledger, count: usize, len: usize| {
        books.forged();
        (0..count).for_each(|_| books.told(&text(&"x".repeat(len))));
    };
    flood(&mut Ledger::default(), 1024, 1);
    objects("1025 messages waited", |books| flood(books, 1025, 1));
    objects("bytes of messages waited", |books| flood(books, 17, 256 * 1024));
    objects("262145 bytes came in", |books| flood(books, 1, 256 * 1024 + 1));
}

#[test]
fn events_that_wait_twice_or_follow_the_end_are_found() {
    let connected = Event::StateChanged(ConnectionState::Connected);
    let mut books = Ledger::default();
    books.told(&connected);
    books.told(&Event::AudioReadable(TrackId(0)));
    books.told(&Event::AudioReadable(TrackId(1)));
    books.drained();
    books.told(&connected);
    objects("waits twice", |books| {
        books.told(&connected);
        books.told(&Event::StateChanged(ConnectionState::Disconnected));
    });
    objects("waits twice", |books| {
        books.told(&Event::AudioReadable(TrackId(1)));
        books.told(&Event::AudioReadable(TrackId(1)));
    });
    objects("after Closed", |books| {
        books.told(&closed());
        books.told(&closed());
    });
}

#[test]
fn too_much_sound_or_too_many_frames_in_are_found() {
    let mut books = Ledger::default();
    books.audio_read(16_000, 0, 16_000);
    books.audio_read(160_000, 160_000, 16_000);
    objects("of sound waited", |books| books.audio_read(16_001, 0, 16_000));
    objects("of sound waited", |books| {
        books.audio_read(160_000, 160_000, 16_000);
        books.audio_read(16_001, 0, 16_000);
    });
    let frames = |books: &mut Ledger, count: u64, len: usize, apart: u64| {
        let data = bytes::Bytes::from(vec![0; len]);
        for number in 0..count {
            let time = Duration::from_micros(number * apart);
            let frame = EncodedFrame::new(Codec::Vp8, time, true, data.clone());
            books.frame_read(TrackId(1), &frame);
        }
    };
    frames(&mut Ledger::default(), 800, 1, 2_500);
    objects("801 frames", |books| frames(books, 801, 1, 1));
    objects("bytes of frames", |books| frames(books, 9, 1024 * 1024, 1));
    objects("waited", |books| frames(books, 3, 1, 1_000_001));
}

#[test]
fn an_offer_that_is_too_large_and_taken_is_found() {
    let books = Ledger::default();
    books.offered(&"m=audio\n".repeat(16));
    objects("17 m-lines", |books| books.offered(&"m=audio\n".repeat(17)));
    books.offered(&"x".repeat(64 * 1024));
    objects("65537 bytes", |books| books.offered(&"x".repeat(64 * 1024 + 1)));
}

#[test]
fn what_a_bot_sends_is_its_own_affair_but_for_the_order_of_sound() {
    let mut books = Ledger::default();
    for id in 0..3 {
        books.audio_sent(AudioId(id), 100, 8000);
    }
    books.told(&started(0));
    books.told(&finished(0, 100));
    books.told(&started(1));
    books.bot_sits();
    books.page_heard(b"a word of the bot");
    books.settle(&stats(|stats| stats.messages_sent = 1));
    // The second was cleared by the bot, and the fourth is its own.
    books.told(&finished(2, 100));
    books.told(&finished(3, 50));
    books.told(&closed());
}

#[test]
fn sound_of_a_bot_finishes_once_and_in_order_and_what_it_hears_was_said() {
    objects("finishes twice or out of order", |books| {
        books.bot_sits();
        books.told(&finished(1, 1));
        books.told(&finished(1, 1));
    });
    objects("never said", |books| {
        books.bot_sits();
        books.told(&text("nobody said it"));
    });
}
