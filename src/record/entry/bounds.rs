//! Settings and numbers come back from a log as they went into it.

use std::time::Duration;

use super::*;
use crate::{AudioIdle, FrameTime, PacketTime, Redundancy};

#[test]
fn every_setting_that_decides_something_comes_back() {
    let times = [PacketTime::Ms10, PacketTime::Ms20, PacketTime::Ms40, PacketTime::Ms60];
    let idles = [AudioIdle::Silence, AudioIdle::Dtx, AudioIdle::Nothing];
    let mut seen = Vec::new();
    for time in times {
        for idle in idles {
            for is_coded in [false, true] {
                let config = Config::new().audio_packet_time(time).audio_idle(idle);
                let config = if is_coded { config.audio_in_encoded() } else { config };
                let config = if is_coded { config.audio_out_encoded() } else { config };
                let settings = Settings::of(&config);
                let back = settings.config().expect("settings of a configuration are one");
                assert_eq!(Settings::of(&back), settings);
                assert_eq!((back.audio_in.decode, back.audio_out.encoded), (!is_coded, is_coded));
                assert!(!seen.contains(&settings), "no two are the same");
                seen.push(settings);
            }
        }
    }
    let [settings, ..] = &seen[..] else { panic!("there are some") };
    for impossible in [
        Settings { out_packet_ms: 30, ..settings.clone() },
        Settings { out_idle: 3, ..settings.clone() },
        Settings { out_redundancy: 3, ..settings.clone() },
        Settings { in_rate: 1, ..settings.clone() },
        Settings { in_frame_ms: 30, ..settings.clone() },
        Settings { in_reorder_wait: 500_000_001, ..settings.clone() },
        Settings { mtu: 1, ..settings.clone() },
        Settings { audio_codecs: vec![], ..settings.clone() },
        Settings { audio_codecs: vec![0, 1], ..settings.clone() },
    ] {
        assert!(impossible.config().is_none(), "{impossible:?}");
    }
}

#[test]
fn every_kind_of_redundancy_comes_back() {
    for redundancy in [Redundancy::Off, Redundancy::ByLoss, Redundancy::Always] {
        let settings = Settings::of(&Config::new().audio_out_redundancy(redundancy));
        let back = settings.config().expect("it was one").audio_out.redundancy;
        assert_eq!(back, redundancy);
    }
}

#[test]
fn the_order_of_codecs_comes_back() {
    let codecs = [Codec::Pcma, Codec::Opus, Codec::G722];
    let config = Config::new().audio_codecs(&codecs).expect("they are of sound");
    let back = Settings::of(&config).config().expect("it was one");
    assert_eq!(back.audio_codecs, codecs);
}

#[test]
fn every_length_of_frames_comes_back() {
    for time in [FrameTime::Ms10, FrameTime::Ms20, FrameTime::AsItComes] {
        let settings = Settings::of(&Config::new().audio_in_frames(time));
        assert_eq!(settings.config().expect("it was one").audio_in.frame, time);
    }
}

#[test]
fn the_coders_of_a_build_have_their_names() {
    let null = Config::new().dangerous().null_codec(true).done();
    assert_eq!(coders(&null), ["null", "g722", "pcmu", "pcma"]);
    let telephones = Config::new().audio_codecs(&[Codec::Pcma, Codec::Pcmu]).expect("of sound");
    assert_eq!(coders(&telephones), ["pcma", "pcmu"]);
    let ours = if cfg!(feature = "opus") {
        ["opus-pure", "g722", "pcmu", "pcma"]
    } else if cfg!(feature = "libopus") {
        ["libopus", "g722", "pcmu", "pcma"]
    } else {
        // One has none: sound passes as it is coded, whatever it is coded with.
        [""; 4]
    };
    assert_eq!(coders(&Config::new()), ours);
}

#[test]
fn nanoseconds_stay_what_they_are() {
    assert_eq!(nanos(Duration::ZERO), 0);
    assert_eq!(nanos(Duration::new(2, 3)), 2_000_000_003);
    assert_eq!(nanos(Duration::MAX), u64::MAX);
}

#[test]
fn what_the_session_decides_counts_for_the_digest_and_what_comes_from_below_does_not() {
    let decisions = [
        Crossing::LocalCandidate,
        Crossing::RemoteCandidate,
        Crossing::Offer { fresh: String::new(), outcome: Err(String::new()) },
        Crossing::Timeout,
        Crossing::Keyframe { line: 0 },
        Crossing::Threshold { channel: 0, threshold: 0 },
        Crossing::Goodbye,
        Crossing::Returned(Value::Done),
        Crossing::Deadline(None),
    ];
    let others = [
        Crossing::Datagram { authenticated: true, malformed: false },
        Crossing::Buffered { channel: 0, amount: 0 },
        Crossing::Wants { has_transmit: true, deadline: None },
        Crossing::Heard(Heard::Connected),
        Crossing::Transmit { path: None, len: None },
        Crossing::Encoded { samples: 0, len: None, digest: None },
        Crossing::SilenceEncoded { len: None },
        Crossing::Duration(None),
        Crossing::Decoded { frames: 0, digest: None },
        Crossing::Concealed { frames: 0, digest: None },
        Crossing::DecoderReset,
        Crossing::DeadlineUnseen,
        Crossing::Copied(0),
        Crossing::Repaired { frames: 0, digest: None },
    ];
    assert!(decisions.iter().all(Crossing::is_decision));
    assert!(!others.iter().any(Crossing::is_decision));
}

#[test]
fn what_became_of_a_line_comes_back_whatever_it_was() {
    for kind in [MediaKind::Audio, MediaKind::Video] {
        for codec in [Codec::Opus, Codec::Vp8, Codec::H264, Codec::Pcmu, Codec::Pcma, Codec::G722] {
            let copies = codec == Codec::Opus;
            let line = NegotiatedLine::Media { kind, receives: true, sends: false, codec, copies };
            let outcome = LineOutcome::from(line);
            let LineOutcome::Media { video, .. } = outcome else { panic!("media") };
            assert_eq!(video, kind == MediaKind::Video);
            assert_eq!(NegotiatedLine::from(outcome), line);
        }
    }
}
