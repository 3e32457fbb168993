//! The play bot: a file, over and over.
//!
//! It begins when the call is connected. A WAV file goes through the pacing queue, 200 ms ahead of
//! the wire; an Ogg Opus file whose packets fit is passed on packet by packet, each when it is due,
//! without a codec. At its end the file begins again, with the sample (or the packet) after the
//! last.

use std::io;

use async_channel::Receiver;
use futures_lite::future;
use smallrtc::media::{AudioSource, OpusPass, Player, Tone};
use smallrtc::{CloseReason, ConnectionState, Event, MediaKind, TrackId};
#[cfg(feature = "player-formats")]
use smallrtc_files::MemoryFile;
use smallrtc_files::{Disk, FileReads, FileSource};
use smallrtc_smol::AudioBlock;
use smol::Timer;
use tracing::{debug, warn};

use super::Playable;
use super::echo::{Voice, run};
use super::playable::{PASS_CHANNELS, Way};
use crate::TapedPeer;
use crate::tape::now;

/// Plays a file into a call until that ends; gives the reason of the end, `None` when the driver
/// went away before. Messages and pictures come back as from [`echo`](super::echo()). Calls must
/// be set up with [`Playable::config`].
///
/// # Errors
/// The system's, when the file can be opened no more.
pub fn play<C: Into<TapedPeer>>(
    call: C,
    file: &Playable,
    disk: &Disk,
) -> io::Result<impl Future<Output = Option<CloseReason>> + use<C>> {
    let (wake, woken) = async_channel::bounded(1);
    // One that waits already is enough.
    let wake = move || wake.try_send(()).unwrap_or(());
    let call = call.into();
    let voice = match &file.way {
        Way::Decoded => {
            let mut source = FileSource::open(disk, &file.path, wake)?;
            source.set_looped(true);
            Either::Decoded(Playing::new(Player::new(source), Some(woken)))
        }
        Way::Passed => {
            let mut pass = OpusPass::new(PASS_CHANNELS);
            pass.set_looped(true);
            let reads = FileReads::open(disk, &file.path, wake)?;
            Either::Passed(Passing { pass, reads, woken, track: None, is_connected: false })
        }
        #[cfg(feature = "player-formats")]
        Way::Memory(bytes) => {
            let source = MemoryFile::new(bytes.clone());
            let mut source = source.expect("the same bytes were played before");
            source.set_looped(true);
            Either::Memory(Playing::new(Player::new(source), None))
        }
    };
    Ok(async move {
        match voice {
            #[cfg(feature = "player-formats")]
            Either::Memory(voice) => run(call, voice).await,
            Either::Decoded(voice) => run(call, voice).await,
            Either::Passed(voice) => run(call, voice).await,
        }
    })
}

enum Either {
    #[cfg(feature = "player-formats")]
    Memory(Playing<MemoryFile>),
    Decoded(Playing<FileSource>),
    Passed(Passing),
}

/// A source that may have to fetch what it plays.
pub(super) trait Fetch: AudioSource {
    /// Takes what has come, asks for what is wanted.
    fn fetch(&mut self) {}
}

impl Fetch for Tone {}

#[cfg(feature = "player-formats")]
impl Fetch for MemoryFile {}

impl Fetch for FileSource {
    fn fetch(&mut self) {
        FileSource::fetch(self);
    }
}

/// The voice that plays a source.
pub(super) struct Playing<S> {
    player: Player<S>,
    /// Tells when the source can go on; a source that never waits has none.
    woken: Option<Receiver<()>>,
    is_connected: bool,
}

impl<S: Fetch> Playing<S> {
    pub(super) fn new(player: Player<S>, woken: Option<Receiver<()>>) -> Playing<S> {
        Playing { player, woken, is_connected: false }
    }

    async fn feed(&mut self, call: &mut TapedPeer) {
        while let Some(piece) = self.player.next_piece() {
            match call.send_audio(piece).await {
                Ok(id) => self.player.queued(id),
                // The next event tries again, and the call's end is told next.
                Err(error) => return debug!(%error, "a file could not be played on"),
            }
        }
    }
}

impl<S: Fetch> Voice for Playing<S> {
    async fn hear(&mut self, _: &mut TapedPeer, _: &AudioBlock) {}

    async fn see(&mut self, call: &mut TapedPeer, event: &Event) {
        self.is_connected |= is_connected(event);
        self.player.handle_event(event);
        self.turn(call).await;
    }

    async fn due(&mut self) {
        match &self.woken {
            Some(woken) if woken.recv().await.is_ok() => {}
            _ => future::pending().await,
        }
    }

    async fn turn(&mut self, call: &mut TapedPeer) {
        self.player.source_mut().fetch();
        if self.is_connected {
            self.feed(call).await;
        }
    }
}

fn is_connected(event: &Event) -> bool {
    *event == Event::StateChanged(ConnectionState::Connected)
}

/// The voice that passes packets on.
struct Passing {
    pass: OpusPass,
    reads: FileReads,
    woken: Receiver<()>,
    track: Option<TrackId>,
    is_connected: bool,
}

impl Passing {
    fn fetch(&mut self) {
        while let Some(part) = self.reads.poll(self.pass.wants()) {
            self.pass.handle_read(part.offset, &part.bytes);
        }
    }
}

impl Voice for Passing {
    async fn hear(&mut self, _: &mut TapedPeer, _: &AudioBlock) {}

    async fn see(&mut self, call: &mut TapedPeer, event: &Event) {
        let had = self.track.filter(|_| self.is_connected);
        self.is_connected |= is_connected(event);
        match event {
            Event::TrackStarted(track) if track.kind == MediaKind::Audio && track.sends => {
                self.track.get_or_insert(track.id);
            }
            Event::TrackEnded(track) if self.track == Some(*track) => {
                self.track = None;
                self.pass.pause();
            }
            _ => {}
        }
        if had.is_none() && self.is_connected && self.track.is_some() {
            self.pass.start(now());
        }
        self.turn(call).await;
    }

    async fn due(&mut self) {
        let deadline = self.pass.poll_timeout();
        let packet = async {
            match deadline {
                Some(deadline) => drop(Timer::at(deadline).await),
                None => future::pending().await,
            }
        };
        let bytes = async {
            if self.woken.recv().await.is_err() {
                future::pending().await
            }
        };
        future::or(packet, bytes).await;
    }

    async fn turn(&mut self, call: &mut TapedPeer) {
        self.fetch();
        let Some(track) = self.track else { return };
        while let Some(frame) = self.pass.handle_timeout(now()) {
            if let Err(error) = call.send_encoded(track, frame).await {
                debug!(%error, "a packet could not be passed on");
            }
            self.fetch();
        }
        if let Some(error) = self.pass.error() {
            warn!(%error, "the file has changed and is not played on");
            self.track = None;
        }
    }
}
