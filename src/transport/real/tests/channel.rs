//! Data channels between the transport and a plain engine.

use std::time::Duration;

use str0m::Event;
use str0m::channel::ChannelConfig;

use super::pair::Pair;
use crate::Config;
use crate::transport::real::output::CHANNELS_MAX;
use crate::transport::{ChannelId, ChannelWritten, Transport, TransportEvent};

#[test]
fn messages_go_both_ways_as_text_and_binary_over_a_channel_of_any_label() {
    let mut pair = Pair::connected(&Config::new());
    let open = TransportEvent::ChannelOpen(ChannelId(0), "any label".to_owned());
    assert_eq!(pair.count(|event| *event == open), 1);
    let channel = ChannelId(0);
    for (binary, data) in [(false, &b"text"[..]), (true, b"\x00\xff")] {
        let written = pair.bot.write_channel(channel, binary, data, pair.now);
        assert_eq!(written, ChannelWritten::Taken);
        let theirs = pair.browser.channel();
        pair.browser_do(|rtc| {
            assert!(rtc.channel(theirs).unwrap().write(binary, data).unwrap());
        });
    }
    pair.run_for(Duration::from_secs(1));
    assert_eq!(pair.browser.messages(), [(false, &b"text"[..]), (true, b"\x00\xff")]);
    for (binary, data) in [(false, &b"text"[..]), (true, b"\x00\xff")] {
        let expected = TransportEvent::ChannelData(channel, binary, data.to_vec());
        assert_eq!(pair.count(|event| *event == expected), 1, "{expected:?}");
    }
}

#[test]
fn a_message_of_200_kilobytes_arrives_whole_in_both_directions() {
    let mut pair = Pair::connected(&Config::new());
    let long: Vec<u8> = (0..200_000u32).map(|n| n as u8).collect();
    let written = pair.bot.write_channel(ChannelId(0), true, &long, pair.now);
    assert_eq!(written, ChannelWritten::Taken);
    let theirs = pair.browser.channel();
    pair.browser_do(|rtc| assert!(rtc.channel(theirs).unwrap().write(true, &long).unwrap()));
    pair.run_for(Duration::from_secs(10));
    assert_eq!(pair.browser.messages(), [(true, &long[..])]);
    let expected = TransportEvent::ChannelData(ChannelId(0), true, long);
    assert_eq!(pair.count(|event| *event == expected), 1);
}

#[test]
fn the_largest_message_is_the_peers_and_one_byte_more_is_too_large() {
    let mut pair = Pair::new(&Config::new(), 1);
    let (offer, pending) = pair.browser.offer(|api| {
        api.add_channel("data".to_owned());
    });
    let (head, _) = offer.split_once("a=max-message-size:").unwrap();
    let offer = format!("{head}a=max-message-size:1000\r\n");
    let negotiated = pair.offered(&offer).unwrap();
    pair.browser.accept(pending, &negotiated);
    pair.browser_do(|_| ());
    pair.run_for(Duration::from_secs(1));
    let mut write =
        |len: usize| pair.bot.write_channel(ChannelId(0), false, &vec![b'a'; len], pair.now);
    assert_eq!(write(1000), ChannelWritten::Taken);
    assert_eq!(write(1001), ChannelWritten::TooLarge(1000));
}

#[test]
fn a_full_channel_tells_when_there_is_room() {
    let mut pair = Pair::connected(&Config::new());
    let channel = ChannelId(0);
    let block = vec![1; 64 * 1024];
    let mut taken = 0;
    while pair.bot.write_channel(channel, true, &block, pair.now) == ChannelWritten::Taken {
        taken += 1;
        assert!(taken < 100, "the channel has no end");
    }
    assert_eq!(taken, 8, "512 KiB");
    assert_eq!(pair.bot.buffered_amount(channel), 512 * 1024);
    pair.bot.set_buffered_amount_low_threshold(channel, 128 * 1024);
    pair.events.clear();
    pair.run_for(Duration::from_secs(20));
    let low = TransportEvent::BufferedAmountLow(channel);
    assert_eq!(pair.count(|event| *event == low), 1);
    assert_eq!(pair.bot.buffered_amount(channel), 0);
    assert_eq!(pair.browser.messages().len(), 8);
}

#[test]
fn a_closed_channel_is_gone_and_the_next_one_has_the_next_number() {
    let mut pair = Pair::connected(&Config::new());
    let theirs = pair.browser.channel();
    pair.browser_do(|rtc| rtc.direct_api().close_data_channel(theirs));
    pair.run_for(Duration::from_secs(1));
    assert_eq!(pair.count(|event| *event == TransportEvent::ChannelClose(ChannelId(0))), 1);
    let written = pair.bot.write_channel(ChannelId(0), false, b"a", pair.now);
    assert_eq!(written, ChannelWritten::Gone);
    pair.browser_do(|rtc| {
        rtc.direct_api().create_data_channel(str0m::channel::ChannelConfig {
            label: "second".to_owned(),
            ..Default::default()
        });
    });
    pair.run_for(Duration::from_secs(1));
    let open = TransportEvent::ChannelOpen(ChannelId(1), "second".to_owned());
    assert_eq!(pair.count(|event| *event == open), 1, "{:?}", pair.events);
}

#[test]
fn one_channel_more_than_the_limit_is_closed_and_the_others_go_on() {
    let mut pair = Pair::connected(&Config::new());
    for number in 1..=CHANNELS_MAX {
        pair.browser_do(|rtc| {
            let label = number.to_string();
            rtc.direct_api().create_data_channel(ChannelConfig { label, ..Default::default() });
        });
    }
    pair.run_for(Duration::from_secs(2));
    let opened = pair.count(|event| matches!(event, TransportEvent::ChannelOpen(..)));
    assert_eq!(opened, CHANNELS_MAX, "the first one was there before");
    assert_eq!(pair.bot.counters().channels_refused, 1);
    let closed = |event: &&Event| matches!(event, Event::ChannelClose(_));
    assert_eq!(pair.browser.events.iter().filter(closed).count(), 1);
    let written = pair.bot.write_channel(ChannelId(0), false, b"still here", pair.now);
    assert_eq!(written, ChannelWritten::Taken);
}

#[test]
fn closing_says_goodbye_and_then_nothing_more() {
    let mut pair = Pair::connected(&Config::new());
    pair.bot.close(pair.now);
    pair.run_for(Duration::from_secs(1));
    assert!(pair.bot.is_closed());
    assert_eq!(pair.bot.poll_timeout(), None);
    assert!(pair.browser.events.iter().any(|event| matches!(event, Event::Closed)));
    let sent = pair.sent.len();
    pair.run_for(Duration::from_secs(60));
    assert_eq!(pair.sent.len(), sent);
}

#[test]
fn a_peer_that_closes_is_told_once() {
    let mut pair = Pair::connected(&Config::new());
    pair.browser_do(|rtc| rtc.close().unwrap());
    pair.run_for(Duration::from_secs(1));
    assert_eq!(pair.count(|event| *event == TransportEvent::HungUp), 1);
    pair.bot.close(pair.now);
    pair.run_for(Duration::from_secs(1));
    assert!(pair.bot.is_closed());
}

#[test]
fn closing_before_anything_is_connected_is_immediate() {
    let mut pair = Pair::new(&Config::new(), 1);
    pair.bot.close(pair.now);
    assert!(pair.bot.is_closed());
    let mut pair = Pair::new(&Config::new(), 1);
    pair.negotiate(|api| {
        super::pair::audio(api);
    });
    pair.bot.close(pair.now);
    while pair.bot.poll_transmit().is_some() {}
    assert!(pair.bot.is_closed());
}
