//! Sound and pictures between the transport and a plain engine.

use std::time::Duration;

use str0m::media::{Frequency, MediaTime, Mid};
use str0m::{Event, media::KeyframeRequestKind};

use super::pair::{Pair, audio, frame_of, video};
use crate::transport::TRANSMIT_BYTES_MAX;
use crate::transport::{
    ChannelId, ChannelWritten, MediaPacket, MediaWrite, MediaWritten, Transport, TransportEvent,
};
use crate::{Codec, Config};

fn packets(pair: &Pair) -> Vec<&MediaPacket> {
    let packets = pair.events.iter().filter_map(|event| match event {
        TransportEvent::Media(packet) => Some(packet),
        _ => None,
    });
    packets.collect()
}

fn mid(pair: &Pair, line: usize) -> Mid {
    pair.bot.out.lines[line].as_ref().unwrap().mid
}

#[test]
fn audio_goes_both_ways_with_its_times_and_levels() {
    let mut pair = Pair::connected(&Config::new());
    pair.bot_speaks(0..50);
    pair.browser_speaks(mid(&pair, 0), 0..50);
    let heard = pair.browser.media();
    assert_eq!(heard.len(), 50);
    for (index, (time, payload)) in heard.iter().enumerate() {
        assert_eq!(payload[..], (index as u64).to_be_bytes());
        assert_eq!(time - heard[0].0, 960 * index as u64);
    }
    assert_ne!(heard[0].0, 0, "a stream does not start at zero");
    let packets = packets(&pair);
    assert_eq!(packets.len(), 50);
    for (index, packet) in packets.iter().enumerate() {
        assert_eq!(packet.data[..], (index as u64).to_be_bytes());
        assert_eq!(packet.rtp_time - packets[0].rtp_time, 960 * index as u64);
        assert_eq!(packet.seq - packets[0].seq, index as u64);
        assert_eq!((packet.line, packet.codec), (0, Codec::Opus));
        assert_eq!(packet.ssrc, packets[0].ssrc);
        assert_eq!(packet.level, Some((30, true)));
        assert!(packet.keyframe);
    }
    assert_ne!(packets[0].ssrc, 0);
}

#[test]
fn the_marker_and_the_level_reach_the_peer() {
    let mut pair = Pair::connected(&Config::new());
    pair.bot_speaks(0..2);
    let heard: Vec<_> = pair
        .browser
        .events
        .iter()
        .filter_map(|event| match event {
            Event::MediaData(data) => Some(data),
            _ => None,
        })
        .collect();
    assert!(heard[0].audio_start_of_talk_spurt);
    assert!(!heard[1].audio_start_of_talk_spurt);
    assert_eq!(heard[0].ext_vals.audio_level, Some(-40));
    assert_eq!(heard[0].ext_vals.voice_activity, Some(true));
}

#[test]
fn nothing_is_sent_before_the_call_is_connected_or_on_a_line_that_does_not_send() {
    let mut pair = Pair::new(&Config::new(), 1);
    let frame = frame_of(0, b"frame");
    assert_eq!(pair.bot.write_media(&frame, pair.now), MediaWritten::NotReady);
    pair.negotiate(|api| {
        audio(api);
    });
    assert_eq!(pair.bot.write_media(&frame, pair.now), MediaWritten::NotReady);
    pair.run_for(Duration::from_secs(1));
    assert_eq!(pair.bot.write_media(&frame, pair.now), MediaWritten::Taken);
    for (line, codec) in [(0, Codec::Vp8), (1, Codec::Opus), (255, Codec::Opus)] {
        let wrong = MediaWrite { line, codec, ..frame.clone() };
        assert_eq!(pair.bot.write_media(&wrong, pair.now), MediaWritten::NotReady);
    }
}

/// A VP8 keyframe's first bytes (RFC 6386 section 9.1) and filling.
fn picture(len: usize) -> Vec<u8> {
    let mut picture = vec![0x10, 0x02, 0x00, 0x9d, 0x01, 0x2a, 0x40, 0x01, 0xf0, 0x00];
    picture.resize(len, 7);
    picture
}

#[test]
fn video_and_keyframe_requests_go_both_ways() {
    let mut pair = Pair::new(&Config::new(), 1);
    pair.negotiate(|api| {
        audio(api);
        video(api);
    });
    pair.run_for(Duration::from_secs(1));
    let line = 1;
    let frame = MediaWrite {
        line,
        codec: Codec::Vp8,
        rtp_time: 0,
        talkspurt: false,
        voice: None,
        level: None,
        redundant: false,
        data: &picture(5_000),
    };
    assert_eq!(pair.bot.write_media(&frame, pair.now), MediaWritten::Taken);
    let (mid, now) = (mid(&pair, 1), pair.now);
    pair.browser_do(|rtc| {
        let writer = rtc.writer(mid).unwrap();
        let pt = writer.payload_params().next().unwrap().pt();
        let time = MediaTime::new(90_000, Frequency::NINETY_KHZ);
        writer.write(pt, now, time, picture(7_000)).unwrap();
    });
    pair.run_for(Duration::from_millis(500));
    assert_eq!(pair.browser.media()[0].1, picture(5_000));
    let [packet] = packets(&pair)[..] else { panic!("{:?}", pair.events) };
    assert_eq!((packet.line, packet.codec, packet.keyframe), (1, Codec::Vp8, true));
    assert_eq!(packet.data[..], picture(7_000)[..]);

    pair.bot.request_keyframe(line, pair.now);
    pair.browser_do(|rtc| {
        let mut writer = rtc.writer(mid).unwrap();
        writer.request_keyframe(None, KeyframeRequestKind::Pli).unwrap();
    });
    pair.run_for(Duration::from_secs(1));
    assert!(pair.browser.events.iter().any(|event| matches!(event, Event::KeyframeRequest(_))));
    assert_eq!(pair.count(|event| *event == TransportEvent::KeyframeRequest(1)), 1);
}

#[test]
fn media_is_dropped_and_messages_wait_at_the_transmit_limit_and_not_one_before() {
    let mut pair = Pair::connected(&Config::new());
    let mut frame = frame_of(0, &[1; 1_000]);
    let mut taken = 0;
    while pair.bot.write_media(&frame, pair.now) == MediaWritten::Taken {
        frame.rtp_time += 960;
        taken += 1;
        assert!(taken < 1_000, "the queue has no end");
    }
    let mut bytes = 0;
    let refused = pair.bot.counters().media_refused;
    assert_eq!(refused, 1);
    assert_eq!(
        pair.bot.write_channel(ChannelId(0), false, b"later", pair.now),
        ChannelWritten::Full
    );
    let mut last = 0;
    while let Some(transmit) = pair.bot.poll_transmit() {
        last = transmit.payload.len();
        bytes += last;
        // Only what the peer acknowledges is told as room: it is a sign of life.
        assert_eq!(pair.bot.poll_event(), None);
    }
    assert!(bytes >= TRANSMIT_BYTES_MAX && bytes - last < TRANSMIT_BYTES_MAX, "{bytes}");
    assert_eq!(
        pair.bot.write_channel(ChannelId(0), false, b"now", pair.now),
        ChannelWritten::Taken
    );
    assert_eq!(pair.bot.write_media(&frame, pair.now), MediaWritten::Taken);
}

#[test]
fn no_datagram_exceeds_the_mtu() {
    for mtu in [576, 619, 620, 1150, 1500] {
        let config = Config::new().mtu(mtu).unwrap();
        let mut pair = Pair::new(&config, 1);
        pair.negotiate(|api| {
            audio(api);
            video(api);
            api.add_channel("data".to_owned());
        });
        pair.run_for(Duration::from_secs(1));
        let written = pair.bot.write_channel(ChannelId(0), true, &[7; 60_000], pair.now);
        assert_eq!(written, ChannelWritten::Taken);
        let frame = MediaWrite {
            line: 1,
            codec: Codec::Vp8,
            rtp_time: 0,
            talkspurt: false,
            voice: None,
            level: None,
            redundant: false,
            data: &picture(20_000),
        };
        let shown = if mtu < 620 { MediaWritten::NotReady } else { MediaWritten::Taken };
        assert_eq!(pair.bot.write_media(&frame, pair.now), shown);
        let most = pair.bot.settings.audio_max();
        let data = vec![1; most + 1];
        let opus = frame_of(0, &data[..most]);
        assert_eq!(pair.bot.write_media(&opus, pair.now), MediaWritten::Taken);
        let opus = frame_of(0, &data);
        assert_eq!(pair.bot.write_media(&opus, pair.now), MediaWritten::TooLarge(most));
        pair.run_for(Duration::from_secs(2));
        for packet in &pair.sent {
            let (len, first) = (packet.payload.len(), packet.payload[0]);
            assert!(len <= mtu, "{len} of {mtu}, first byte {first}");
        }
        let longest = pair.sent.iter().map(|packet| packet.payload.len()).max().unwrap();
        assert!(longest >= mtu - 60, "{longest} of {mtu}");
        assert!(pair.browser.media().iter().any(|(_, data)| data[..] == vec![1; most]), "{mtu}");
        assert_eq!(pair.browser.messages(), [(true, &[7; 60_000][..])]);
    }
}

#[test]
fn figures_are_taken_every_interval() {
    let mut pair = Pair::connected(&Config::new());
    pair.browser_speaks(mid(&pair, 0), 0..300);
    pair.bot_speaks(0..300);
    pair.run_for(Duration::from_secs(4));
    let stats: Vec<_> = pair
        .events
        .iter()
        .filter_map(|event| match event {
            TransportEvent::Stats(stats) => Some(*stats),
            _ => None,
        })
        .collect();
    assert!((16..=18).contains(&stats.len()), "{}", stats.len());
    let last = stats[stats.len() - 1];
    let rtt = last.rtt.unwrap();
    assert!((20..=25).contains(&rtt.as_millis()), "{rtt:?}");
    assert!(last.bytes_sent > 300 * 30 && last.bytes_received > 300 * 30, "{last:?}");
    assert_eq!(last.loss_received.unwrap_or(0.0), 0.0);
    assert!(last.jitter_received.unwrap() < Duration::from_millis(1));
}

#[test]
fn a_frame_that_no_packet_can_carry_is_lost_and_the_call_goes_on() {
    let mut pair = Pair::new(&Config::new(), 1);
    pair.negotiate(|api| {
        audio(api);
        video(api);
    });
    pair.run_for(Duration::from_secs(1));
    let (mid, now) = (mid(&pair, 1), pair.now);
    // NAL unit type 30 is unspecified (H.264 table 7-1): the receiver cannot take it apart.
    for _ in 0..3 {
        pair.browser_do(|rtc| {
            let writer = rtc.writer(mid).unwrap();
            let h264 = |codec| codec == str0m::format::Codec::H264;
            let params = writer.payload_params().find(|params| h264(params.spec().codec));
            let pt = params.unwrap().pt();
            let time = MediaTime::new(90_000, Frequency::NINETY_KHZ);
            writer.write(pt, now, time, vec![0, 0, 0, 1, 0x7e, 1, 2, 3]).unwrap();
        });
        pair.run_for(Duration::from_millis(100));
    }
    assert_eq!(pair.bot.counters().bad_frames, 3);
    assert_eq!(pair.count(|event| matches!(event, TransportEvent::Fault(_))), 0);
    for (codec, data) in [(Codec::Vp8, &b"?"[..]), (Codec::H264, b"?"), (Codec::H264, b"")] {
        let (voice, level, redundant) = (None, None, false);
        let frame = MediaWrite {
            line: 1,
            codec,
            rtp_time: 0,
            talkspurt: false,
            voice,
            level,
            redundant,
            data,
        };
        let _ = pair.bot.write_media(&frame, pair.now);
    }
    pair.bot_speaks(0..5);
    assert!(pair.browser.media().len() >= 5);
    assert_eq!(pair.count(|event| matches!(event, TransportEvent::Fault(_))), 0);
}
