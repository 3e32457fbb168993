//! Files of a disk in calls of both drivers, on real sockets of a loopback address: what a page
//! hears is the file that is played, and what it says is recorded.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "../../support/page.rs"]
mod page;
#[path = "../../support/plain.rs"]
mod plain;
#[path = "../../support/tone.rs"]
mod tone;

use std::f32::consts::TAU;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use smallrtc::media::{AudioFile, AudioSource, Player, RecordLayout, Recorder, WavWriter};
use smallrtc::signaling::Call;
use smallrtc::{AudioFrame, Config, ConnectionState, Endpoint, Event, SessionId};
use smallrtc_files::{Disk, FileSource, FileWrites};
use smallrtc_mio::App;
use smallrtc_smol::{Peer, Received};

use crate::page::{Heard, PATIENCE, Page, Stack};
use crate::plain::Plain;
use crate::tone::Microphone;

/// How long the file is that is played. A multiple of what the player queues at once.
const FILE_S: usize = 3;
const FILE_RATE: usize = 16_000;
const FILE_HZ: f32 = 440.0;
const PAGE_HZ: f32 = 660.0;

/// The tone's tools count by it.
const RECORD_RATE: usize = 48_000;

/// More than the test records.
const RECORD_LEN_MAX: u64 = 64 << 20;

/// A directory for one test, gone with it.
struct Directory(PathBuf);

impl Directory {
    fn new(name: &str) -> Directory {
        let name = format!("smallrtc-conformance-{name}-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        let _ = fs::remove_dir_all(&path);
        fs::create_dir(&path).unwrap();
        Directory(path)
    }

    fn played(&self) -> PathBuf {
        self.0.join("played.wav")
    }

    fn recorded(&self) -> PathBuf {
        self.0.join("recorded.wav")
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Writes the file that is played.
fn write_tone(disk: &Disk, path: &Path) {
    let samples: Vec<i16> = (0..FILE_S * FILE_RATE)
        .map(|index| {
            let phase = (index as f32 * FILE_HZ / FILE_RATE as f32).fract();
            ((TAU * phase).sin() * 8_000.0) as i16
        })
        .collect();
    let mut file = FileWrites::create(disk, path, RECORD_LEN_MAX).unwrap();
    let mut writer = WavWriter::new(FILE_RATE as u32, 1);
    writer.write(&samples);
    writer.flush();
    file.take(|| writer.poll_write());
    assert!(disk.flush(PATIENCE));
}

/// What a bot plays and records in a call.
struct Deck {
    player: Player<FileSource>,
    /// From the connection on.
    recorder: Option<Recorder>,
    writes: FileWrites,
}

impl Deck {
    fn open(
        disk: &Disk,
        directory: &Directory,
        wake: impl Fn() + Send + Sync + 'static,
    ) -> Arc<Mutex<Deck>> {
        let source = FileSource::open(disk, &directory.played(), wake).unwrap();
        let writes = FileWrites::create(disk, &directory.recorded(), RECORD_LEN_MAX).unwrap();
        Arc::new(Mutex::new(Deck { player: Player::new(source), recorder: None, writes }))
    }

    fn hear(&mut self, frame: AudioFrame<'_>, time: Duration, now: Instant) {
        if let Some(recorder) = &mut self.recorder {
            recorder.heard(frame, time, now);
        }
    }

    fn see(&mut self, event: &Event, now: Instant) {
        if *event == Event::StateChanged(ConnectionState::Connected) {
            let recorder = Recorder::wav(RECORD_RATE as u32, RecordLayout::Sides, now);
            self.recorder = Some(recorder.unwrap());
        }
        self.player.handle_event(event);
        if let Some(recorder) = &mut self.recorder {
            recorder.handle_event(event, now);
        }
    }

    /// Lets the recorder write what is due. Sound comes far more often than that is.
    fn write(&mut self, now: Instant) {
        let Some(recorder) = &mut self.recorder else { return };
        recorder.handle_timeout(now);
        self.writes.take(|| recorder.poll_write());
    }

    fn finish(&mut self, now: Instant) {
        if let Some(recorder) = &mut self.recorder {
            recorder.finish(now);
            self.writes.take(|| recorder.poll_write());
        }
    }
}

/// A driver with a bot that has a deck.
trait Bot {
    fn start(disk: Arc<Disk>, directory: Arc<Directory>) -> Self;
    fn post(&self, offer: &str) -> String;
    /// Waits until the call and the driver have ended.
    fn stop(self);
}

/// The deck of the call, as soon as there is one, and what the disk's thread wakes.
#[derive(Clone, Default)]
struct Desk {
    deck: Arc<OnceLock<Arc<Mutex<Deck>>>>,
    handle: Arc<OnceLock<smallrtc_mio::Handle>>,
}

impl Desk {
    /// Queues what is to be queued, and writes.
    fn turn(&self, id: SessionId, endpoint: &mut Endpoint, now: Instant) {
        let Some(mut deck) = self.deck.get().map(|deck| deck.lock().unwrap()) else { return };
        let Some(mut session) = endpoint.session(id) else { return };
        let Deck { player, recorder, .. } = &mut *deck;
        player.source_mut().fetch();
        while let Some(piece) = player.next_piece().filter(|_| recorder.is_some()) {
            let id = session.send_audio(piece, now).unwrap();
            recorder.as_mut().unwrap().said(id, piece);
            player.queued(id);
        }
        deck.write(now);
    }
}

struct Booth {
    disk: Arc<Disk>,
    directory: Arc<Directory>,
    desk: Desk,
}

impl App for Booth {
    fn on_call(&mut self, call: Call, endpoint: &mut Endpoint, now: Instant) {
        let (desk, id) = (self.desk.clone(), call.id);
        let wake = move || {
            let (turned, handle) = (desk.clone(), desk.handle.get().unwrap());
            let _ = handle.try_post(move |endpoint, now| turned.turn(id, endpoint, now));
        };
        let deck = Deck::open(&self.disk, &self.directory, wake);
        assert!(self.desk.deck.set(deck).is_ok(), "one call");
        endpoint.session(id).unwrap().start(now);
    }

    fn on_event(&mut self, id: SessionId, event: Event, endpoint: &mut Endpoint, now: Instant) {
        let deck = Arc::clone(self.desk.deck.get().unwrap());
        deck.lock().unwrap().see(&event, now);
        if let Event::AudioReadable(track) = event {
            let mut samples = [0; 5760];
            let mut session = endpoint.session(id).unwrap();
            while let Some(block) = session.recv_audio(track, &mut samples) {
                let heard = AudioFrame::mono(&samples[..block.samples], block.rate);
                deck.lock().unwrap().hear(heard, block.time, now);
            }
        }
        if let Event::Closed { .. } = event {
            deck.lock().unwrap().finish(now);
        } else {
            self.desk.turn(id, endpoint, now);
        }
    }
}

struct Mio {
    handle: smallrtc_mio::Handle,
    ended: Receiver<io::Result<Booth>>,
}

impl Bot for Mio {
    fn start(disk: Arc<Disk>, directory: Arc<Directory>) -> Mio {
        let desk = Desk::default();
        let booth = Booth { disk, directory, desk: desk.clone() };
        let options = smallrtc_mio::Options::new().udp("127.0.0.1:0".parse().unwrap());
        let (driver, handle) = smallrtc_mio::Driver::bind(Config::new(), options, booth).unwrap();
        assert!(desk.handle.set(handle.clone()).is_ok());
        let (end, ended) = channel();
        thread::spawn(move || end.send(driver.run()).unwrap_or(()));
        Mio { handle, ended }
    }

    fn post(&self, offer: &str) -> String {
        self.handle.request("POST", "/api/offer", offer.as_bytes()).body
    }

    fn stop(self) {
        self.handle.close();
        drop(self.ended.recv_timeout(PATIENCE).expect("the driver ends, in time").unwrap());
    }
}

struct Smol {
    handle: smallrtc_smol::Handle,
    thread: JoinHandle<()>,
}

/// Plays and records until the call has ended.
async fn play_and_record(mut peer: Peer, disk: Arc<Disk>, directory: Arc<Directory>) {
    let (wake, woken) = smol::channel::bounded(1);
    let deck = Deck::open(&disk, &directory, move || wake.try_send(()).unwrap_or(()));
    let mut deck = Arc::into_inner(deck).unwrap().into_inner().unwrap();
    loop {
        let next = async { Some(peer.recv().await) };
        let wakes = async {
            // The deck has the other end.
            woken.recv().await.unwrap();
            None
        };
        let received = smol::future::or(next, wakes).await;
        let now = Instant::now();
        match received {
            Some(Some(Received::Audio(block))) => deck.hear(block.frame(), block.time, now),
            Some(Some(Received::Event(event))) => deck.see(&event, now),
            Some(Some(Received::Closed(_)) | None) => return deck.finish(now),
            Some(Some(_)) | None => {}
        }
        let Deck { player, recorder, .. } = &mut deck;
        player.source_mut().fetch();
        while let Some(piece) = player.next_piece().filter(|_| recorder.is_some()) {
            let Ok(id) = peer.send_audio(piece).await else { break };
            recorder.as_mut().unwrap().said(id, piece);
            player.queued(id);
        }
        deck.write(now);
    }
}

impl Bot for Smol {
    fn start(disk: Arc<Disk>, directory: Arc<Directory>) -> Smol {
        let options = smallrtc_smol::Options::new().udp("127.0.0.1:0".parse().unwrap());
        let (driver, handle) = smallrtc_smol::bind(Config::new(), options).unwrap();
        let calls = handle.clone();
        let thread = thread::spawn(move || {
            let bot = async {
                let peer = calls.accept().await.unwrap();
                play_and_record(peer, disk, directory).await;
            };
            let (ended, ()) = smol::block_on(smol::future::zip(driver.run(), bot));
            ended.unwrap();
        });
        Smol { handle, thread }
    }

    fn post(&self, offer: &str) -> String {
        smol::block_on(self.handle.request("POST", "/api/offer", offer.as_bytes())).body
    }

    fn stop(self) {
        smol::block_on(self.handle.close());
        self.thread.join().unwrap();
    }
}

/// The samples of each side of a recording.
fn sides(path: &Path) -> [Vec<i16>; 2] {
    let bytes = fs::read(path).unwrap();
    let (mut file, mut block, mut samples) = (AudioFile::new(), [0; 4_096], Vec::new());
    while !file.is_ended() {
        while let Some(read) = file.wants() {
            let from = (read.offset as usize).min(bytes.len());
            let until = from.saturating_add(read.len).min(bytes.len());
            file.handle_read(read.offset, &bytes[from..until]);
        }
        let len = file.pull(&mut block);
        samples.extend_from_slice(&block[..len]);
    }
    let format = file.format().unwrap();
    assert_eq!((format.rate as usize, format.channels), (RECORD_RATE, 2));
    [0, 1].map(|side| samples.iter().skip(side).step_by(2).copied().collect())
}

/// Seconds in which there is sound, and its frequency.
fn loud(samples: &[i16]) -> (f32, f32) {
    let is_loud = |chunk: &&[i16]| chunk.iter().any(|sample| sample.unsigned_abs() > 2_000);
    let chunks = samples.chunks(RECORD_RATE / 100).filter(is_loud);
    (chunks.count() as f32 / 100.0, tone::frequency(samples))
}

fn play_and_record_with<B: Bot>(name: &str) {
    let directory = Arc::new(Directory::new(name));
    let disk = Arc::new(Disk::start().unwrap());
    write_tone(&disk, &directory.played());
    let bot = B::start(Arc::clone(&disk), Arc::clone(&directory));
    let mut page = Page::new(Plain::new);
    page.call(|offer| bot.post(offer));
    page.hear("the data channel opens", |heard| *heard == Heard::Open);
    // Nobody reads it, and so it is in nobody's way.
    page.stack.send_text("a message", Instant::now());
    page.speak(Microphone::new(PAGE_HZ));
    let until = |page: &mut Page<Plain>, what, is_loud| {
        page.go_on(what, |page| {
            while let Some(heard) = page.stack.poll_heard() {
                if let Heard::Audio(packet) = heard {
                    page.speaker.play(&packet);
                }
            }
            page.speaker.last_second().is_some() == is_loud
        });
    };
    until(&mut page, "a second of the file is heard", true);
    let hz = tone::frequency(page.speaker.last_second().unwrap());
    assert!((hz - FILE_HZ).abs() < 2.0, "{hz} Hz");
    until(&mut page, "the file's end is heard", false);
    page.hang_up();
    bot.stop();
    assert!(disk.flush(PATIENCE));

    let [(heard_s, heard_hz), (said_s, said_hz)] =
        sides(&directory.recorded()).map(|side| loud(&side));
    let text = format!("heard {heard_s} s of {heard_hz} Hz, said {said_s} s of {said_hz} Hz");
    assert!((heard_hz - PAGE_HZ).abs() < 2.0 && (said_hz - FILE_HZ).abs() < 2.0, "{text}");
    // All of the file was played, and what was said meanwhile was recorded.
    assert!((said_s - FILE_S as f32).abs() < 0.1 && heard_s > 1.0, "{text}");
}

#[test]
fn a_page_hears_a_file_and_is_recorded_by_the_mio_driver() {
    play_and_record_with::<Mio>("mio");
}

#[test]
fn a_page_hears_a_file_and_is_recorded_by_the_smol_driver() {
    play_and_record_with::<Smol>("smol");
}
