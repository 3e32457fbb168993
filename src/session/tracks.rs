//! The tracks of a call: roles by the order of m-lines, and what came in coded.

use std::time::Duration;

use crate::offer::LineKind;
use crate::transport::{Line, MediaPacket, NegotiatedLine};
use crate::video::inbox::EncodedInbox;
use crate::video::wish::KeyframeWish;
use crate::{Codec, Event, MediaKind, Source, Track, TrackId};

/// The tracks, in the order of m-lines.
#[derive(Debug, Default)]
pub(super) struct Tracks {
    slots: Vec<Slot>,
    views: Vec<Track>,
    /// The place in `views` of the track that PCM is decoded from: asked for several times for each
    /// packet, and changed by offers alone.
    microphone: Option<usize>,
    /// The m-lines that carry media, those that ended included.
    media_lines: Vec<TrackId>,
}

/// What belongs to one m-line that carries media.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) track: Track,
    codec: Codec,
    pub(super) inbox: EncodedInbox,
    pub(super) wish: KeyframeWish,
    clock: InboundClock,
    /// The media time of the last frame that was sent.
    pub(super) sent_time: Option<Duration>,
}

impl Tracks {
    pub(super) fn all(&self) -> &[Track] {
        &self.views
    }

    pub(super) fn send_codec(&self, track: TrackId) -> Option<Codec> {
        self.slot(track).filter(|slot| slot.track.sends).map(|slot| slot.codec)
    }

    /// What both sides know of a track, whether this side sends or not.
    pub(super) fn codec(&self, track: Option<TrackId>) -> Option<Codec> {
        Some(self.slot(track?)?.codec)
    }

    pub(super) fn slot(&self, track: TrackId) -> Option<&Slot> {
        self.slots.iter().find(|slot| slot.track.id == track)
    }

    pub(super) fn slot_mut(&mut self, track: TrackId) -> Option<&mut Slot> {
        self.slots.iter_mut().find(|slot| slot.track.id == track)
    }

    /// The track that PCM is decoded from: the microphone.
    pub(super) fn microphone(&self) -> Option<Track> {
        self.views.get(self.microphone?).copied()
    }

    /// Tracks that pictures come in on.
    pub(super) fn incoming_video(&self) -> Vec<TrackId> {
        let incoming = |track: &&Track| track.kind == MediaKind::Video && track.receives;
        self.views.iter().filter(incoming).map(|track| track.id).collect()
    }

    /// The track that the client means by the index of its transceiver: the media lines in
    /// order, data channels not counted (`smallWebRTCTransport.ts`).
    fn by_receiver_index(&self, index: u8) -> Option<TrackId> {
        self.media_lines.get(usize::from(index)).copied().filter(|id| self.slot(*id).is_some())
    }

    /// The peer switched a track on or off. `None` when there is no such track.
    pub(super) fn switch(&mut self, receiver_index: u8, enabled: bool) -> Option<TrackId> {
        let id = self.by_receiver_index(receiver_index)?;
        self.slot_mut(id)?.track.enabled = enabled;
        self.views.iter_mut().filter(|track| track.id == id).for_each(|t| t.enabled = enabled);
        Some(id)
    }

    /// Takes the outcome of a negotiation and says what changed. A line that is refused or stopped
    /// keeps its place: the screen does not become the camera when the camera ends.
    pub(super) fn apply(&mut self, offered: &[LineKind], lines: &[NegotiatedLine]) -> Vec<Event> {
        let mut changes = Vec::new();
        let mut seen = Seen::default();
        self.media_lines.clear();
        for (index, (line, offered)) in lines.iter().zip(offered).enumerate() {
            // An offer has at most `Offer::MEDIA_LINES_MAX` lines.
            let id = TrackId(index as Line);
            let source = seen.source(*offered);
            if source.is_some() {
                self.media_lines.push(id);
            }
            match *line {
                NegotiatedLine::Media { kind, receives, sends, codec, .. } => {
                    let source = source.unwrap_or(Source::Other);
                    let track = Track::new(id, kind, source, receives, sends);
                    changes.extend(self.set(track, codec));
                }
                NegotiatedLine::Rejected => changes.extend(self.remove(id)),
                NegotiatedLine::Channels => {}
            }
        }
        self.views = self.slots.iter().map(|slot| slot.track).collect();
        self.microphone = self.views.iter().position(|track| track.source == Source::Microphone);
        changes
    }

    fn set(&mut self, mut track: Track, codec: Codec) -> Option<Event> {
        if let Some(slot) = self.slot_mut(track.id) {
            slot.codec = codec;
            track.enabled = slot.track.enabled;
            let changed = slot.track != track;
            slot.track = track;
            return changed.then_some(Event::TrackStarted(track));
        }
        let slot = Slot {
            track,
            codec,
            inbox: EncodedInbox::new(track.kind == MediaKind::Video),
            wish: KeyframeWish::default(),
            clock: InboundClock::default(),
            sent_time: None,
        };
        let position = self.slots.partition_point(|slot| slot.track.id < track.id);
        self.slots.insert(position, slot);
        Some(Event::TrackStarted(track))
    }

    fn remove(&mut self, id: TrackId) -> Option<Event> {
        let position = self.slots.iter().position(|slot| slot.track.id == id)?;
        self.slots.remove(position);
        Some(Event::TrackEnded(id))
    }
}

impl Slot {
    /// The media time of a packet, from the track's first on.
    pub(super) fn time(&mut self, packet: &MediaPacket) -> Duration {
        self.clock.time(packet)
    }
}

/// Counts lines by kind, because roles go by their order.
#[derive(Default)]
struct Seen {
    audio: usize,
    video: usize,
}

impl Seen {
    /// The role of the next line; `None` when it carries no media.
    fn source(&mut self, kind: LineKind) -> Option<Source> {
        let (count, roles): (_, &[Source]) = match kind {
            LineKind::Audio => (&mut self.audio, &[Source::Microphone]),
            LineKind::Video => (&mut self.video, &[Source::Camera, Source::ScreenVideo]),
            LineKind::Application | LineKind::Other => return None,
        };
        let source = roles.get(*count).copied().unwrap_or(Source::Other);
        *count += 1;
        Some(source)
    }
}

/// Turns RTP time into media time that begins at zero. Another stream goes on where the one before
/// it ended; a packet that comes late has its own, earlier time.
#[derive(Debug, Default)]
struct InboundClock {
    ssrc: Option<u32>,
    base: u64,
    offset: Duration,
    last: Duration,
}

impl InboundClock {
    fn time(&mut self, packet: &MediaPacket) -> Duration {
        if self.ssrc != Some(packet.ssrc) {
            self.ssrc = Some(packet.ssrc);
            self.base = packet.rtp_time;
            self.offset = self.last;
        }
        let rate = packet.codec.clock_rate();
        let units = packet.rtp_time.saturating_sub(self.base);
        let nanos = u128::from(units) * 1_000_000_000 / u128::from(rate);
        let since = Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
        let time = self.offset.saturating_add(since);
        self.last = self.last.max(time);
        time
    }
}

#[cfg(test)]
mod tests {

    use super::*;

    fn media(kind: MediaKind) -> NegotiatedLine {
        let codec = if kind == MediaKind::Audio { Codec::Opus } else { Codec::Vp8 };
        NegotiatedLine::Media { kind, receives: true, sends: true, codec, copies: false }
    }

    #[test]
    fn roles_go_by_the_order_of_lines_whatever_stands_between() {
        let mut tracks = Tracks::default();
        let lines = [
            NegotiatedLine::Channels,
            media(MediaKind::Video),
            media(MediaKind::Audio),
            media(MediaKind::Video),
            media(MediaKind::Video),
        ];
        let offered = [
            LineKind::Application,
            LineKind::Video,
            LineKind::Audio,
            LineKind::Video,
            LineKind::Video,
        ];
        assert_eq!(tracks.apply(&offered, &lines).len(), 4);
        let sources: Vec<_> = tracks.all().iter().map(|t| (t.id.0, t.source.name())).collect();
        let expected = [(1, "camera"), (2, "microphone"), (3, "screenVideo"), (4, "other")];
        assert_eq!(sources, expected);
        assert_eq!(tracks.microphone().map(|track| track.id), Some(TrackId(2)));
        assert_eq!(tracks.by_receiver_index(0), Some(TrackId(1)));
        assert_eq!(tracks.by_receiver_index(4), None);
    }

    #[test]
    fn a_stopped_line_ends_its_track_and_an_unchanged_one_says_nothing() {
        let mut tracks = Tracks::default();
        let offered = [LineKind::Audio, LineKind::Video];
        let _ = tracks.apply(&offered, &[media(MediaKind::Audio), media(MediaKind::Video)]);
        let lines = [media(MediaKind::Audio), NegotiatedLine::Rejected];
        let changes = tracks.apply(&offered, &lines);
        assert_eq!(changes, [Event::TrackEnded(TrackId(1))]);
        assert_eq!(tracks.all().len(), 1);
        assert!(tracks.incoming_video().is_empty());
    }

    #[test]
    fn the_screen_stays_the_screen_when_the_camera_ends() {
        let mut tracks = Tracks::default();
        let offered = [LineKind::Audio, LineKind::Video, LineKind::Video];
        let (audio, video) = (media(MediaKind::Audio), media(MediaKind::Video));
        let _ = tracks.apply(&offered, &[audio, video, video]);
        let changes = tracks.apply(&offered, &[audio, NegotiatedLine::Rejected, video]);
        assert_eq!(changes, [Event::TrackEnded(TrackId(1))]);
        assert_eq!(tracks.all()[1].source, Source::ScreenVideo);
        assert_eq!(tracks.by_receiver_index(1), None);
        assert_eq!(tracks.by_receiver_index(2), Some(TrackId(2)));
    }

    #[test]
    fn media_time_begins_at_zero_and_goes_on_over_another_stream() {
        let mut clock = InboundClock::default();
        let packet = |ssrc, rtp_time| MediaPacket {
            line: 0,
            codec: Codec::Vp8,
            seq: 0,
            rtp_time,
            ssrc,
            contiguous: true,
            keyframe: true,
            repaired: false,
            level: None,
            data: bytes::Bytes::new(),
        };
        assert_eq!(clock.time(&packet(1, 5_000)), Duration::ZERO);
        assert_eq!(clock.time(&packet(1, 95_000)), Duration::from_secs(1));
        assert_eq!(clock.time(&packet(2, 7)), Duration::from_secs(1));
        assert_eq!(clock.time(&packet(2, 90_007)), Duration::from_secs(2));
    }
}
