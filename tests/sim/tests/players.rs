//! Files that are played into calls, and calls that are recorded.

#[macro_use]
extern crate smallrtc_sim_twice;

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::{Duration, Instant};

use smallrtc::media::{
    AudioFile, OggOpusWriter, OpusHead, OpusPass, OpusTags, Player, RecordLayout, Recorder,
    WavReader, WavWriter,
};
use smallrtc::{AudioFrame, Event, Session, TrackId};
use smallrtc_sim::{BrowserEvent, Kind, Pair, Setup, null_words};

const RATE: u32 = 24_000;
const MICROPHONE: TrackId = TrackId(0);

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// A WAV file of words: steps of 10 ms, numbered from one.
fn words(count: i16) -> Vec<u8> {
    let mut writer = WavWriter::new(RATE, 1);
    (1..=count).for_each(|word| writer.write(&[word; 240]));
    writer.flush();
    let mut file = Vec::new();
    while let Some(write) = writer.poll_write() {
        write.apply(&mut file);
    }
    file
}

/// A player and the file that it plays.
struct Bot {
    player: Player<AudioFile>,
    file: Vec<u8>,
}

impl Bot {
    fn feed(&mut self, session: &mut Session, now: Instant) {
        while let Some(wanted) = self.player.source().wants() {
            let start = self.file.len().min(wanted.offset as usize);
            let end = self.file.len().min(start + wanted.len);
            let bytes = &self.file[start..end];
            self.player.source_mut().handle_read(wanted.offset, bytes);
        }
        self.player.feed(|piece| session.send_audio(piece, now)).expect("there is room");
    }
}

/// A call whose bot plays words as soon as it is connected.
fn playing(kind: Kind, count: i16) -> (Pair, Rc<RefCell<Bot>>) {
    let mut pair = Pair::new(Setup::new(kind, 1));
    let bot = Bot { player: Player::new(AudioFile::new()), file: words(count) };
    let bot = Rc::new(RefCell::new(bot));
    let seated = Rc::clone(&bot);
    pair.set_bot(move |(), event: Event, session: &mut Session, now: Instant| {
        let mut bot = seated.borrow_mut();
        bot.player.handle_event(&event);
        if session.state() == smallrtc::ConnectionState::Connected {
            bot.feed(session, now);
        }
    });
    pair.connect();
    (pair, bot)
}

/// What the page heard, silence left out.
fn heard(pair: &Pair) -> Vec<i16> {
    let of_event = |event: &BrowserEvent| match event {
        BrowserEvent::Media { line: 0, data, .. } => null_words(data).unwrap_or_default(),
        _ => Vec::new(),
    };
    pair.browser_events().flat_map(of_event).filter(|word| *word != 0).collect()
}

#[test]
fn a_file_is_heard_word_by_word_with_two_hundred_milliseconds_on_their_way() {
    for kind in Kind::ALL {
        let (mut pair, bot) = playing(kind, 500);
        for _ in 0..100 {
            pair.drive_for(ms(20));
            let queued = bot.borrow().player.position();
            let said = ms(10 * heard(&pair).len() as u64);
            assert!(queued.abs_diff(said) <= ms(100), "{kind:?}: {queued:?} and {said:?}");
        }
        pair.drive_for(Duration::from_secs(5));
        assert_eq!(heard(&pair), (1..=500).collect::<Vec<i16>>(), "{kind:?}");
        assert!(bot.borrow().player.is_ended());
        assert_eq!(bot.borrow().player.position(), ms(5_000));
        assert_eq!(pair.session.stats().audio_slips, 0);
    }
}

#[test]
fn a_pause_with_a_clear_acts_at_once_and_no_word_is_lost() {
    for kind in Kind::ALL {
        let (mut pair, bot) = playing(kind, 300);
        pair.drive_for(ms(1_000));
        let now = pair.now();
        bot.borrow_mut().player.pause();
        let cleared = pair.session.clear_audio(now);
        bot.borrow_mut().player.handle_cleared(&cleared);
        pair.drive_for(ms(100));
        let before = heard(&pair).len();
        pair.drive_for(ms(1_000));
        assert_eq!(heard(&pair).len(), before, "{kind:?}: silence");
        let now = pair.now();
        bot.borrow_mut().player.resume();
        bot.borrow_mut().feed(&mut pair.session, now);
        pair.drive_for(ms(3_000));
        let mut heard = heard(&pair);
        // A word that the clear cut in two is in two packets.
        heard.dedup();
        assert_eq!(heard, (1..=300).collect::<Vec<i16>>(), "{kind:?}");
    }
}

#[test]
fn a_seek_is_heard_at_once() {
    for kind in Kind::ALL {
        let (mut pair, bot) = playing(kind, 300);
        pair.drive_for(ms(500));
        let now = pair.now();
        let cleared = pair.session.clear_audio(now);
        {
            let mut bot = bot.borrow_mut();
            bot.player.handle_cleared(&cleared);
            bot.player.seek(ms(2_500));
            bot.feed(&mut pair.session, now);
        }
        pair.drive_for(ms(1_000));
        let heard = heard(&pair);
        let jump = heard.iter().position(|&word| word > 200).unwrap();
        assert_eq!(heard[jump..], (251..=300).collect::<Vec<i16>>(), "{kind:?}");
        assert!(jump < 60, "{kind:?}: {jump} words before it");
        assert_eq!(bot.borrow().player.position(), ms(3_000));
    }
}

#[test]
fn an_ogg_file_is_passed_on_packet_by_packet_at_its_own_pace() {
    let mut writer = OggOpusWriter::new(OpusHead::new(1), &OpusTags::new("test"), 1);
    for word in 0..100 {
        assert!(writer.write(&[31 << 3, 0xFF, word]));
    }
    writer.finish(0);
    let mut file = Vec::new();
    while let Some(write) = writer.poll_write() {
        write.apply(&mut file);
    }
    for kind in Kind::ALL {
        let setup = Setup::new(kind, 1).config(smallrtc::Config::audio_out_encoded);
        let mut pair = Pair::new(setup);
        pair.connect();
        let mut pass = OpusPass::new(1);
        pass.start(pair.now());
        while !pass.is_ended() {
            while let Some(wanted) = pass.wants() {
                let start = file.len().min(wanted.offset as usize);
                let end = file.len().min(start + wanted.len);
                pass.handle_read(wanted.offset, &file[start..end]);
            }
            let now = pair.now();
            while let Some(frame) = pass.handle_timeout(now) {
                pair.session.send_encoded(MICROPHONE, frame, now).unwrap();
            }
            if let Some(due) = pass.poll_timeout() {
                pair.drive_for(due - now);
            }
        }
        pair.drive_for(ms(500));
        let came: Vec<(u64, Vec<u8>)> = pair
            .browser_events()
            .filter_map(|event| match event {
                BrowserEvent::Media { line: 0, time, data, .. } => Some((*time, data.to_vec())),
                _ => None,
            })
            .collect();
        let expected = (0..100u8).map(|n| (u64::from(n) * 960, vec![31 << 3, 0xFF, n]));
        let first = came[0].0;
        let came: Vec<_> = came.into_iter().map(|(time, data)| (time - first, data)).collect();
        assert_eq!(came, expected.collect::<Vec<_>>(), "{kind:?}");
    }
}

/// Runs of one value, with their lengths in samples.
fn runs(samples: &[i16]) -> Vec<(i16, usize)> {
    samples.chunk_by(|a, b| a == b).map(|run| (run[0], run.len())).collect()
}

/// All samples of a WAV file.
fn read_wav(file: &[u8]) -> Vec<i16> {
    let mut reader = WavReader::new();
    let mut samples = vec![0; file.len()];
    let (mut len, mut rest) = (0, file);
    while !rest.is_empty() || !reader.is_ended() {
        rest = &rest[reader.push(rest)..];
        len += reader.read(&mut samples[len..]).expect("a file of ours can be read");
    }
    samples.truncate(len);
    samples
}

#[test]
fn a_call_is_recorded_both_ways_for_as_long_as_it_lasts() {
    for kind in Kind::ALL {
        let setup = Setup::new(kind, 1).config(|config| config.audio_in(RATE, 1).unwrap());
        let mut pair = Pair::new(setup);
        pair.connect();
        let start = pair.now();
        let recorder = Recorder::wav(RATE, RecordLayout::Sides, start).unwrap();
        let recorder = Rc::new(RefCell::new(recorder));
        let seated = Rc::clone(&recorder);
        let started = Rc::new(Cell::new(start));
        let told = Rc::clone(&started);
        pair.set_bot(move |(), event: Event, _: &mut Session, now: Instant| {
            if matches!(event, Event::AudioStarted { .. }) {
                told.set(now);
            }
            seated.borrow_mut().handle_event(&event, now);
        });
        let mut sent = 0;
        let mut file = Vec::new();
        let mut block = [0; 4_800];
        for n in 0..250u64 {
            let now = pair.now();
            let mut packet = vec![b'N', 1, 2, 0, 0, 0, 0];
            packet.extend_from_slice(&[100, 0, 100, 0]);
            // A second of it is a pause of the peer.
            if !(100..150).contains(&n) {
                assert!(pair.browser.send_media(0, n * 960, &packet, now));
            }
            if n == 50 {
                let said = [50; RATE as usize];
                let id = pair.send_audio(&said, RATE).unwrap();
                recorder.borrow_mut().said(id, AudioFrame::mono(&said, RATE));
            }
            if n == 75 {
                let cleared = pair.session.clear_audio(now);
                sent = cleared.pieces[0].sent;
                recorder.borrow_mut().handle_cleared(&cleared);
            }
            pair.drive_for(ms(20));
            let now = pair.now();
            let mut recorder = recorder.borrow_mut();
            while let Some(info) = pair.session.recv_audio(MICROPHONE, &mut block) {
                let sound = AudioFrame::mono(&block[..info.samples], info.rate);
                recorder.heard(sound, info.time, now);
            }
            recorder.handle_timeout(now);
            while let Some(write) = recorder.poll_write() {
                write.apply(&mut file);
            }
        }
        let now = pair.now();
        recorder.borrow_mut().finish(now);
        while let Some(write) = recorder.borrow_mut().poll_write() {
            write.apply(&mut file);
        }
        let samples = read_wav(&file);
        let lasted = now.duration_since(start).as_millis() as usize * 24;
        assert_eq!(samples.len(), 2 * lasted, "{kind:?}");
        let side = |side: usize| samples.iter().copied().skip(side).step_by(2);
        let heard: Vec<i16> = side(0).collect();
        let loud = heard.iter().filter(|&&sample| sample > 90).count();
        assert!(loud.abs_diff(200 * 480) < 480, "{kind:?}: {loud} samples of 96000 heard");
        let said = runs(&side(1).collect::<Vec<_>>());
        let [(0, before), (50, spoken), (0, _)] = said[..] else { panic!("{kind:?}: {said:?}") };
        let start_ms = started.get().duration_since(start).as_millis() as usize;
        assert!((1_000..=1_020).contains(&start_ms), "{kind:?}: with the next packet");
        // What the session says of it, to the sample.
        assert_eq!((before, spoken), (24 * start_ms, sent as usize), "{kind:?}");
        assert!((24 * 480..=27 * 480).contains(&spoken), "{kind:?}: {spoken} samples said");
        // What the receiver's own filter held back at the pause, 2 ms, comes with the next packet,
        // and with it the frame in which it lies.
        let late = recorder.borrow().counters().late;
        assert!(late <= 480, "{kind:?}: {late} samples came late");
    }
}
