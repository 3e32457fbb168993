//! The state machine over scores, and over sound whose loudness is its score.

use proptest::prelude::*;

use super::*;
use crate::audio::tests::origin;
use crate::audio::{AudioCodec, AudioReceiver};
use crate::config::{AudioIn, AudioOut};
use crate::{AudioIdle, FrameTime, PacketTime, Redundancy};

const LOUD: i16 = 8_000;

/// Whatever is loud is a voice.
#[derive(Debug, Default)]
struct Loudness;

impl VoiceDetector for Loudness {
    fn score(&mut self, frame: &[i16]) -> u8 {
        assert_eq!(frame.len(), FRAME);
        let loud = frame.iter().filter(|sample| sample.unsigned_abs() > 4_000).count();
        if loud > FRAME / 2 { 255 } else { 0 }
    }

    fn reset(&mut self) {}
}

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// 48 ms of speech, 64 ms of silence: three frames and four.
fn short() -> VoiceActivity {
    VoiceActivity::new().min_speech(ms(48)).unwrap().min_silence(ms(64)).unwrap()
}

/// What a machine tells of these scores, with the number of the frame that it tells it at.
fn told(activity: VoiceActivity, scores: &[u8]) -> Vec<(usize, Speech)> {
    let mut machine = Machine::new(activity);
    let each = scores.iter().enumerate();
    each.filter_map(|(at, score)| Some((at, machine.step(*score)?))).collect()
}

#[test]
fn each_row_of_the_table_is_as_it_says() {
    use Speech::{Started, Stopped};
    // 50 % are 128 of 255, 35 % are 90.
    let (no, below, begins) = (89, 90, 128);
    let started = (2, Started(ms(0)));
    type Row<'a> = (&'a [u8], Vec<(usize, Speech)>);
    let rows: [Row<'_>; 9] = [
        (&[begins; 2], vec![]),
        (&[begins; 3], vec![started]),
        (&[127; 10], vec![]),
        (&[begins, below, below], vec![started]),
        (&[begins, begins, no, begins, begins], vec![]),
        (&[begins, begins, begins, no, no, no], vec![started]),
        (&[begins, begins, begins, no, no, no, no], vec![started, (6, Stopped(ms(48)))]),
        (&[begins, begins, begins, no, no, no, begins, no, no, no], vec![started]),
        // Between the two thresholds silence goes on, and so does a voice.
        (&[begins, begins, begins, no, below, below, 127], vec![started, (6, Stopped(ms(48)))]),
    ];
    for (scores, expected) in rows {
        assert_eq!(told(short(), scores), expected, "{scores:?}");
    }
}

#[test]
fn times_are_counted_in_steps_of_16_ms_rounded_up_and_never_less_than_one() {
    let activity = |speech, silence| {
        VoiceActivity::new().min_speech(ms(speech)).unwrap().min_silence(ms(silence)).unwrap()
    };
    let scores: Vec<u8> = [[255; 20], [0; 20]].concat();
    for (speech, silence, expected) in
        [(0, 0, [0, 20]), (16, 16, [0, 20]), (17, 17, [1, 21]), (200, 160, [12, 29])]
    {
        let at: Vec<usize> =
            told(activity(speech, silence), &scores).iter().map(|it| it.0).collect();
        assert_eq!(at, expected, "{speech} {silence}");
    }
}

#[test]
fn settings_are_taken_up_to_their_limits_and_refused_past_them_by_name() {
    let new = VoiceActivity::new;
    assert_eq!(VoiceActivity::default(), new());
    for percent in [16, 99] {
        assert_eq!(new().threshold(percent).unwrap().threshold_percent, percent);
    }
    let refused = |result: Result<VoiceActivity, ConfigError>| result.unwrap_err().to_string();
    assert_eq!(
        refused(new().threshold(15)),
        "voice_activity threshold: 15 (expected 16 to 99 percent)"
    );
    assert!(new().threshold(100).is_err());
    assert!(new().min_speech(ms(2_000)).is_ok() && new().min_silence(ms(10_000)).is_ok());
    let over = Duration::from_nanos(1);
    assert_eq!(
        refused(new().min_speech(ms(2_000) + over)),
        "voice_activity min_speech: 2001 (expected 0 to 2000 ms)"
    );
    assert_eq!(
        refused(new().min_silence(ms(10_000) + over)),
        "voice_activity min_silence: 10001 (expected 0 to 10000 ms)"
    );
}

/// That they alternate from started on, and that nothing is shorter than it may be.
fn check(found: &[Speech], activity: VoiceActivity) {
    let mut before: Option<Speech> = None;
    for speech in found {
        match (before, *speech) {
            (None, Speech::Started(_)) => {}
            (Some(Speech::Started(from)), Speech::Stopped(until)) => {
                assert!(until >= from + activity.min_speech);
            }
            (Some(Speech::Stopped(from)), Speech::Started(until)) => assert!(until > from),
            (before, speech) => panic!("{speech:?} after {before:?}"),
        }
        before = Some(*speech);
    }
}

proptest! {
    #[test]
    fn whatever_the_scores_are_speech_starts_and_stops_in_turn_and_seldom(
        scores in prop::collection::vec(any::<u8>(), 0..2_000),
        (speech, silence) in (0_u64..300, 0_u64..300),
    ) {
        let activity = VoiceActivity::new().min_speech(ms(speech)).unwrap();
        let activity = activity.min_silence(ms(silence)).unwrap();
        let mut machine = Machine::new(activity);
        let mut found: Vec<_> = scores.iter().filter_map(|score| machine.step(*score)).collect();
        let is_speaking = machine.is_speaking();
        prop_assert_eq!(is_speaking, machine.end().map(|stopped| found.push(stopped)).is_some());
        check(&found, activity);
        prop_assert_eq!(found.len() % 2, 0, "what started has stopped");
        let pair = speech.div_ceil(16).max(1) + silence.div_ceil(16).max(1);
        prop_assert!(found.len() as u64 / 2 <= scores.len() as u64 / pair + 1);
        prop_assert_eq!(machine.end(), None);
    }

    #[test]
    fn silence_as_a_number_is_silence(
        parts in prop::collection::vec((0_usize..3_000, any::<bool>(), any::<bool>()), 1..20),
        rate in prop::sample::select(vec![8_000_u32, 16_000, 24_000, 44_100, 48_000]),
    ) {
        let mut voices = [true, false].map(|_| Voice::new(short(), Box::new(Loudness), (rate, 1)));
        for (len, is_loud, again) in parts {
            let len = len * (rate as usize / 8_000);
            let sound = vec![if is_loud { LOUD } else { 0 }; len];
            voices.iter_mut().for_each(|voice| voice.hear(&sound));
            // As the receiver does: first as many samples as settle a filter.
            voices.iter_mut().for_each(|voice| voice.hear(&[0; 512]));
            if again {
                voices[0].hear_silence(len as u64);
                voices[1].hear(&vec![0; len]);
            }
        }
        let [short, long] = &mut voices;
        prop_assert_eq!(&short.found, &long.found);
        prop_assert_eq!(short.machine.frames, long.machine.frames);
        prop_assert_eq!(short.waiting.len(), long.waiting.len());
        check(short.found.make_contiguous(), super::tests::short());
    }
}

/// A receiver that looks for speech, at 16 kHz, and packets of 20 ms of the null codec.
struct Rig {
    receiver: AudioReceiver,
    start: Instant,
    now: Instant,
    seq: u64,
    /// Packet times that the peer sent nothing in.
    unsent: u64,
}

impl Rig {
    fn new() -> Rig {
        let config = AudioIn {
            rate: 16_000,
            channels: 1,
            decode: true,
            reorder_wait: ms(60),
            redundancy: true,
            frame: FrameTime::Ms20,
        };
        let mut receiver = AudioReceiver::new(config, AudioCodec::Null);
        receiver.find_speech(short(), Box::new(Loudness));
        let start = origin();
        Rig { receiver, start, now: start, seq: 0, unsent: 0 }
    }

    /// So many packets come, loud or not; what was found.
    fn packets(&mut self, count: u64, is_loud: bool) -> Vec<Speech> {
        let mut encoder = AudioCodec::Null.encoder(AudioOut {
            rate: 48_000,
            channels: 1,
            packet_time: PacketTime::Ms20,
            idle: AudioIdle::Nothing,
            bitrate: 32_000,
            complexity: 5,
            redundancy: Redundancy::Off,
            encoded: false,
        });
        let mut found = Vec::new();
        for _ in 0..count {
            let mut data = Vec::new();
            encoder.encode(&[if is_loud { LOUD } else { 0 }; 960], &mut data);
            let time = self.seq + self.unsent;
            found.extend(self.wait_until(self.start + ms(20 * time)));
            self.receiver.handle_packet(self.seq, 960 * time, 7, &data, self.now);
            found.extend(std::iter::from_fn(|| self.receiver.poll_speech()));
            self.seq += 1;
        }
        found
    }

    /// Nothing comes; timers are served.
    fn wait_until(&mut self, until: Instant) -> Vec<Speech> {
        let mut found = Vec::new();
        while let Some(due) = self.receiver.poll_timeout().filter(|due| *due <= until) {
            self.now = self.now.max(due);
            self.receiver.handle_timeout(self.now);
            found.extend(std::iter::from_fn(|| self.receiver.poll_speech()));
        }
        self.now = until.max(self.now);
        found
    }
}

/// Whether it happened then, to a frame of the detector and the delay of a filter.
fn is_at(speech: &Speech, expected: Speech) -> bool {
    match (speech, expected) {
        (Speech::Started(at), Speech::Started(then)) => at.abs_diff(then) <= ms(18),
        (Speech::Stopped(at), Speech::Stopped(then)) => at.abs_diff(then) <= ms(18),
        _ => false,
    }
}

#[test]
fn speech_is_found_at_its_media_time_though_nobody_pulls_sound() {
    let mut rig = Rig::new();
    assert_eq!(rig.packets(200, false), []);
    let [started] = rig.packets(100, true)[..] else { panic!("once") };
    assert!(is_at(&started, Speech::Started(ms(4_000))), "{started:?}");
    let [stopped] = rig.packets(100, false)[..] else { panic!("once") };
    assert!(is_at(&stopped, Speech::Stopped(ms(6_000))), "{stopped:?}");
    assert_eq!(rig.packets(500, false), []);
}

#[test]
fn a_pause_that_the_peer_does_not_send_ends_speech_when_nothing_comes_any_more() {
    let mut rig = Rig::new();
    assert_eq!(rig.packets(50, true).len(), 1);
    let last = rig.now;
    assert_eq!(rig.wait_until(last + ms(463)), [], "64 ms of silence, and 400 ms between packets");
    let [stopped] = rig.wait_until(last + ms(464))[..] else { panic!("now") };
    assert!(is_at(&stopped, Speech::Stopped(ms(1_000))), "{stopped:?}");
    assert_eq!(rig.receiver.poll_timeout(), None);
    assert_eq!(rig.wait_until(last + ms(60_000)), [], "once");
    // It goes on: the pause is filled, and is none of it.
    rig.unsent = 350;
    let found = rig.packets(50, true);
    let [started] = found[..] else { panic!("{found:?}") };
    assert!(is_at(&started, Speech::Started(ms(8_000))), "{started:?}");
}

#[test]
fn what_dtx_sends_of_a_pause_does_not_put_its_end_off() {
    let mut rig = Rig::new();
    assert_eq!(rig.packets(50, true).len(), 1);
    let mut found = Vec::new();
    for _ in 0..5 {
        rig.unsent += 19;
        found.extend(rig.packets(1, false));
    }
    let [stopped] = found[..] else { panic!("{found:?}") };
    assert!(is_at(&stopped, Speech::Stopped(ms(1_000))), "{stopped:?}");
}

#[test]
fn speech_ends_with_the_track_and_does_not_go_on_by_itself() {
    let mut rig = Rig::new();
    assert_eq!(rig.packets(50, true).len(), 1);
    rig.receiver.end_speech();
    let stopped = rig.receiver.poll_speech().unwrap();
    assert!(is_at(&stopped, Speech::Stopped(ms(1_000))), "{stopped:?}");
    rig.receiver.end_speech();
    assert_eq!((rig.receiver.poll_speech(), rig.receiver.poll_timeout()), (None, None));
}

#[test]
fn what_is_made_up_after_an_outage_is_no_speech() {
    let mut rig = Rig::new();
    let activity = VoiceActivity::new();
    rig.receiver.find_speech(activity, Box::new(Loudness));
    assert_eq!(rig.packets(50, true).len(), 1);
    let last = rig.now;
    // The numbers of five seconds of packets are missing, and 100 ms of them are concealed.
    assert_eq!(rig.wait_until(last + ms(5_000)).len(), 1);
    rig.seq += 250;
    let found = rig.packets(50, false);
    assert_eq!(found, [], "concealment is shorter than speech has to be");
}

#[test]
fn lost_packets_within_speech_do_not_end_it() {
    let mut rig = Rig::new();
    let mut found = rig.packets(20, true);
    for _ in 0..20 {
        rig.seq += 2;
        found.extend(rig.packets(3, true));
    }
    assert_eq!(found.len(), 1, "{found:?}");
}

#[test]
fn two_channels_are_judged_by_their_mean() {
    let mut voice = Voice::new(short(), Box::new(Loudness), (16_000, 2));
    voice.hear(&[i16::MAX, i16::MIN].repeat(16_000));
    assert_eq!(voice.poll_found(), None);
    voice.hear(&[0, 2 * LOUD].repeat(16_000));
    assert!(matches!(voice.poll_found(), Some(Speech::Started(_))));
}
