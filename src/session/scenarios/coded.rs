//! Sound that passes through as it is coded, in a core with coders and in one without.

use super::*;
use crate::{Codec, SendError, TrackId};

const MICROPHONE: TrackId = TrackId(0);
const CODECS: [Codec; 4] = [Codec::Opus, Codec::Pcmu, Codec::Pcma, Codec::G722];

/// What a core without an Opus has by default, asked for where there is one.
fn connected() -> Rig {
    let config = Config::new();
    let config = if cfg!(any(feature = "opus", feature = "libopus")) {
        config.audio_in_encoded().audio_out_encoded()
    } else {
        config
    };
    Rig::with(config, SDP).started().connect()
}

#[test]
fn coded_sound_comes_with_the_times_of_its_own_clock_whatever_it_is_coded_with() {
    for codec in CODECS {
        let mut rig = connected();
        let step = u64::from(codec.clock_rate()) / 50;
        for seq in 0..10 {
            rig.send(media(0, codec, (seq, 77 + seq * step), &[seq as u8; 9]));
        }
        let events = rig.events();
        assert!(events.contains(&Event::EncodedReadable(MICROPHONE)), "{codec:?}: {events:?}");
        for seq in 0..10u8 {
            let frame = rig.session.recv_encoded(MICROPHONE).expect("ten came");
            let time = Duration::from_millis(20) * u32::from(seq);
            assert_eq!((frame.codec, frame.time, &frame.data[..]), (codec, time, &[seq; 9][..]));
        }
        assert_eq!(rig.session.recv_audio(MICROPHONE, &mut [0; 960]), None);
        let counted = rig.session.stats();
        assert_eq!((counted.encoded_received, counted.audio_packets_received), (10, 0));
    }
}

#[test]
fn coded_sound_goes_out_as_it_is_and_pcm_is_refused() {
    let mut rig = connected();
    let now = rig.now;
    assert_eq!(rig.session.send_codec(MICROPHONE), Some(Codec::Opus));
    for at in 0..3u8 {
        let time = Duration::from_millis(20) * u32::from(at);
        let frame = EncodedFrame::new(Codec::Opus, time, true, vec![at; 5].into());
        rig.session.send_encoded(MICROPHONE, frame, now).unwrap();
    }
    let mut sent = Vec::new();
    while let Some(transmit) = rig.session.poll_transmit() {
        for frame in decode(&transmit.payload).into_iter().flatten() {
            if let Frame::Media(media) = frame {
                sent.push((media.codec, media.time, media.data.to_vec()));
            }
        }
    }
    let expected = [0, 1, 2].map(|at| (Codec::Opus, 960 * u64::from(at), vec![at; 5]));
    assert_eq!(sent, expected);
    let other = EncodedFrame::new(Codec::Pcmu, Duration::from_secs(1), true, vec![1].into());
    let refused = rig.session.send_encoded(MICROPHONE, other, now);
    assert!(matches!(refused, Err(SendError::Unsupported { field: "codec", .. })), "{refused:?}");
    let refused = rig.session.send_audio(crate::AudioFrame::mono(&[1; 480], 24_000), now);
    assert!(matches!(refused, Err(SendError::NoTrack { .. })), "{refused:?}");
}

/// A core without an Opus decodes what telephones send once Opus is not in its list.
#[test]
fn telephones_are_heard_without_any_opus_where_none_is_offered() {
    let codecs = [Codec::Pcmu, Codec::Pcma, Codec::G722];
    let config = Config::new().audio_codecs(&codecs).unwrap();
    let mut rig = Rig::with(config, SDP).started().connect();
    for (seq, codec) in (0..).zip(codecs) {
        rig.send(media(0, codec, (seq, seq * 160), &[0x55; 160]));
    }
    let mut samples = [0; 320];
    let heard = std::iter::from_fn(|| rig.session.recv_audio(MICROPHONE, &mut samples));
    assert_eq!(heard.map(|info| info.samples).sum::<usize>(), 3 * 320);
}
