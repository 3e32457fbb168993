//! What a log tells in numbers: the figures of a call over its time.
//!
//! It walks over the records twice, the first time for the pacing grid, and derives nothing that
//! they do not tell: what a log leaves out at its [`Detail`](super::Detail) is `None` here, never
//! zero. It draws nothing and keeps no figures; whoever draws them bounds how many.
//!
//! Two figures are reckoned, because no record holds them as they are:
//! - what waits to be spoken: pieces that were taken, less a packet time for each packet with
//!   sound in it, set right by what was told of finished and cleared pieces. It is exact to a
//!   packet time.
//! - the pacing grid: RTP time is a function of a packet's deadline alone (`src/audio/send.rs`), so
//!   one point in time gives all deadlines. It is the earliest that the packets allow which follow
//!   the one before at once; where a pause or a slip lies between, only their RTP time counts.

use std::collections::{BTreeMap, VecDeque};
use std::iter::FusedIterator;
use std::net::SocketAddr;
use std::slice;
use std::time::Duration;

use super::Log;
use super::entry::{Call, Crossing, Entry, Heard, Meaning, Routing, Told, Value, Written};
use super::log::Record;
use crate::ConnectionState;

/// RTP time of sound in a second (RFC 7587 section 4.1).
const RTP_RATE: u64 = 48_000;

/// The number of Opus in a log.
const OPUS: u8 = 0;
/// And those of telephones: PCMU, PCMA, G.722.
const TELEPHONES: std::ops::RangeInclusive<u8> = 3..=5;

/// Something that a log tells of a call at a time.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Figure<'a> {
    /// The application was told of this state.
    State(ConnectionState),
    /// The application was told that the call is over, and why: the text of a
    /// [`CloseReason`](crate::CloseReason).
    Closed(&'a str),
    /// The application was told that messages can be sent.
    ChannelOpened,
    /// The application was told that the channel is gone.
    ChannelClosed,
    /// The application dropped the sound that waited, so much of it.
    Cleared(Duration),
    /// The endpoint took this as an address of the peer.
    Bound(SocketAddr),
    /// So much sound waits to be sent from now on; exact to a packet time.
    AudioWaiting(Duration),
    /// The session made a packet of PCM.
    AudioPacket {
        /// How long after its place on the pacing grid, in nanoseconds. Negative for the first
        /// packet after a slip, which does not wait for its place. RTP time has steps of 21 µs,
        /// and is no finer after a pause.
        late_ns: i64,
        /// The time since the packet before.
        since_last: Option<Duration>,
        /// Whether there is sound of a piece in it.
        sound: bool,
        /// Whether the transport took it; if not, it is lost.
        taken: bool,
    },
    /// An Opus packet came, and so many that were sent before it had not.
    AudioMissing {
        /// The line of the description, from 0.
        line: u8,
        /// Packets.
        packets: u64,
    },
    /// What the transport measured.
    Report {
        /// The round trip.
        rtt: Option<Duration>,
        /// The fraction of our packets that the peer missed, 0 to 1.
        loss_sent: Option<f32>,
        /// The fraction of the peer's packets that were missed, 0 to 1.
        loss_received: Option<f32>,
        /// The jitter of the peer's packets (RFC 3550 section 6.4.1).
        jitter_received: Option<Duration>,
    },
    /// A message of the peer came.
    MessageReceived {
        /// Bytes.
        len: u64,
        /// Whether it is for the application, and not a word of the protocol or nothing at all.
        application: bool,
    },
    /// A message was handed to the channel, one of the protocol's own included.
    MessageSent {
        /// Bytes.
        len: u64,
    },
    /// So many messages of the application wait in front of the channel from now on.
    MessagesWaiting {
        /// How many.
        messages: usize,
        /// How many bytes they have.
        bytes: u64,
    },
    /// So many bytes were handed to the channel and not acknowledged, when it was asked.
    ChannelBuffered(u64),
    /// A datagram came, of so many bytes, where the log has lengths of media.
    DatagramReceived(Option<u32>),
    /// The transport gave out a datagram, of so many bytes, where the log has lengths of media.
    DatagramSent(Option<u32>),
}

impl Log {
    /// The figures of the call, each with its time since the session's birth, in their order.
    ///
    /// A session is [`ConnectionState::New`] before the first of them.
    ///
    /// ```no_run
    /// use smallrtc::record::{Figure, Log};
    ///
    /// let log = Log::read(&std::fs::read("call.log")?)?;
    /// let worst = log.figures().filter_map(|(at, figure)| match figure {
    ///     Figure::AudioPacket { late_ns, .. } => Some((late_ns, at)),
    ///     _ => None,
    /// });
    /// println!("{:?}", worst.max());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn figures(&self) -> Figures<'_> {
        Figures {
            records: self.records.iter(),
            at: 0,
            told: VecDeque::new(),
            sound: Sound::new(packet_time(self)),
            grid: Grid::of(self),
            outbox: Outbox::default(),
            highest: BTreeMap::new(),
        }
    }
}

/// The figures of a log. See [`Log::figures`].
#[derive(Clone, Debug)]
pub struct Figures<'a> {
    records: slice::Iter<'a, Record>,
    /// Nanoseconds since the session's birth.
    at: u64,
    /// What the last record told and was not taken yet.
    told: VecDeque<Figure<'a>>,
    sound: Sound,
    grid: Grid,
    outbox: Outbox,
    /// The highest sequence number of each stream of sound.
    highest: BTreeMap<(u8, u32), u64>,
}

impl<'a> Iterator for Figures<'a> {
    type Item = (Duration, Figure<'a>);

    fn next(&mut self) -> Option<(Duration, Figure<'a>)> {
        loop {
            if let Some(figure) = self.told.pop_front() {
                return Some((Duration::from_nanos(self.at), figure));
            }
            let record = self.records.next()?;
            self.at = self.at.saturating_add(record.after());
            self.read(record);
        }
    }
}

impl FusedIterator for Figures<'_> {}

impl<'a> Figures<'a> {
    fn read(&mut self, record: &'a Record) {
        match &record.entry {
            Entry::Routing { routing: Routing::Bound(path), .. }
            | Entry::Routing { routing: Routing::BoundInsteadOf(path), .. } => {
                self.tell(Figure::Bound(path.source));
            }
            Entry::Call { call, .. } => {
                self.called(call);
                for crossing in &record.crossings {
                    self.crossed(call, crossing);
                }
            }
            Entry::Header(_) | Entry::Mark(_) | Entry::End(..) | Entry::Routing { .. } => {}
        }
    }

    fn tell(&mut self, figure: Figure<'a>) {
        self.told.push_back(figure);
    }

    fn called(&mut self, call: &Call) {
        match call {
            Call::HandleDatagram { len, .. } => self.tell(Figure::DatagramReceived(*len)),
            // What the channel takes at once is written before the call gives its value.
            Call::SendMessage { len, .. } => self.outbox.push(*len),
            _ => {}
        }
    }

    fn crossed(&mut self, call: &Call, crossing: &'a Crossing) {
        match crossing {
            Crossing::Media { rtp_time, voice: Some(voice), written, .. } => {
                let taken = *written == Written::Taken;
                let figure = self.grid.packet(self.at, *rtp_time, *voice, taken);
                self.tell(figure);
                if *voice && self.sound.cut() {
                    self.tell_waiting();
                }
            }
            Crossing::Message { len, written, .. } => {
                if *written == Written::Taken {
                    self.tell(Figure::MessageSent { len: *len });
                }
                let is_gone = matches!(written, Written::Taken | Written::TooLarge(_));
                if is_gone && self.outbox.pop(*len) {
                    self.outbox.too_large += u64::from(*written != Written::Taken);
                    self.tell_outbox();
                }
            }
            Crossing::Buffered { amount, .. } => self.tell(Figure::ChannelBuffered(*amount)),
            Crossing::Transmit { len, .. } => self.tell(Figure::DatagramSent(*len)),
            Crossing::Heard(heard) => self.heard(heard),
            Crossing::Returned(value) => self.returned(call, value),
            _ => {}
        }
    }

    fn heard(&mut self, heard: &Heard) {
        match heard {
            // A copy in another packet is none that came.
            Heard::Media { line, codec, seq, ssrc, repaired: false, .. }
                if *codec == OPUS || TELEPHONES.contains(codec) =>
            {
                let last = self.highest.entry((*line, *ssrc)).or_insert(*seq);
                let packets = seq.saturating_sub(*last).saturating_sub(1);
                *last = (*last).max(*seq);
                if packets > 0 {
                    self.tell(Figure::AudioMissing { line: *line, packets });
                }
            }
            Heard::Message { len, meaning, .. } => {
                let application = *meaning == Meaning::Application;
                self.tell(Figure::MessageReceived { len: *len, application });
            }
            Heard::Stats(stats) => self.tell(Figure::Report {
                rtt: stats.rtt,
                loss_sent: stats.loss_sent,
                loss_received: stats.loss_received,
                jitter_received: stats.jitter_received,
            }),
            _ => {}
        }
    }

    fn returned(&mut self, call: &Call, value: &'a Value) {
        match (call, value) {
            (Call::SendAudio { rate, channels, samples, .. }, Value::AudioId(id)) => {
                self.sound.push(*id, length(*samples, *channels, *rate));
                self.tell_waiting();
            }
            (Call::SendMessage { .. }, Value::Message { sent: false }) => self.tell_outbox(),
            (Call::SendMessage { .. }, Value::Error(_)) => self.outbox.take_back(),
            (Call::ClearAudio, Value::Cleared(_) | Value::ClearedPieces(_)) => {
                let dropped = self.sound.clear();
                self.tell(Figure::Cleared(Duration::from_nanos(dropped)));
                self.tell_waiting();
            }
            (_, Value::Event(told)) => self.told(told),
            _ => {}
        }
    }

    fn told(&mut self, told: &'a Told) {
        match told {
            Told::State(name) => {
                if let Some(state) = state(name) {
                    self.tell(Figure::State(state));
                }
            }
            Told::Closed(reason) => self.tell(Figure::Closed(reason)),
            Told::ChannelOpened(_) => self.tell(Figure::ChannelOpened),
            Told::ChannelClosed => self.tell(Figure::ChannelClosed),
            Told::AudioFinished { id, .. } if self.sound.finish(*id) => self.tell_waiting(),
            Told::MessagesDropped(count) if self.outbox.dropped(*count) => self.tell_outbox(),
            _ => {}
        }
    }

    fn tell_waiting(&mut self) {
        self.tell(Figure::AudioWaiting(Duration::from_nanos(self.sound.waiting)));
    }

    fn tell_outbox(&mut self) {
        let (messages, bytes) = (self.outbox.lengths.len(), self.outbox.bytes);
        self.tell(Figure::MessagesWaiting { messages, bytes });
    }
}

fn state(name: &str) -> Option<ConnectionState> {
    use ConnectionState::{Closed, Connected, Connecting, Disconnected, Failed, New};
    let states = [New, Connecting, Connected, Disconnected, Failed, Closed];
    states.into_iter().find(|state| state.to_string() == name)
}

/// Nanoseconds of a packet, as this session sends them.
fn packet_time(log: &Log) -> u64 {
    u64::from(log.header.settings.out_packet_ms) * 1_000_000
}

/// Nanoseconds of interleaved samples. The numbers are a log's, and may be anything.
fn length(samples: u64, channels: u8, rate: u32) -> u64 {
    let frames = u128::from(samples / u64::from(channels.max(1)));
    u64::try_from(frames * 1_000_000_000 / u128::from(rate.max(1))).unwrap_or(u64::MAX)
}

/// What waits to be spoken.
#[derive(Clone, Debug)]
struct Sound {
    /// Nanoseconds of a packet.
    packet_time: u64,
    /// Pieces that were not told of as finished, with their nanoseconds.
    pieces: VecDeque<(u64, u64)>,
    /// The sum of those.
    whole: u64,
    /// What of it waits.
    waiting: u64,
}

impl Sound {
    fn new(packet_time: u64) -> Sound {
        Sound { packet_time, pieces: VecDeque::new(), whole: 0, waiting: 0 }
    }

    fn push(&mut self, id: u64, length: u64) {
        self.pieces.push_back((id, length));
        self.whole = self.whole.saturating_add(length);
        self.waiting = self.waiting.saturating_add(length);
    }

    /// A packet's sound went; whether any did.
    fn cut(&mut self) -> bool {
        let before = self.waiting;
        self.waiting = before.saturating_sub(self.packet_time);
        self.waiting != before
    }

    /// The piece and all before it went out; whether that is news.
    fn finish(&mut self, id: u64) -> bool {
        while let Some((first, length)) = self.pieces.front().copied() {
            if first > id {
                break;
            }
            self.pieces.pop_front();
            self.whole = self.whole.saturating_sub(length);
        }
        let before = self.waiting;
        self.waiting = before.min(self.whole);
        self.waiting != before
    }

    /// Everything goes; how much waited.
    fn clear(&mut self) -> u64 {
        self.pieces.clear();
        self.whole = 0;
        std::mem::take(&mut self.waiting)
    }
}

/// Messages of the application in front of the channel.
#[derive(Clone, Debug, Default)]
struct Outbox {
    lengths: VecDeque<u64>,
    bytes: u64,
    /// Those that went because they are too large for the peer, and were not told of yet.
    too_large: u64,
}

impl Outbox {
    fn push(&mut self, len: u64) {
        self.lengths.push_back(len);
        self.bytes = self.bytes.saturating_add(len);
    }

    /// The last one was refused.
    fn take_back(&mut self) {
        let len = self.lengths.pop_back().unwrap_or(0);
        self.bytes = self.bytes.saturating_sub(len);
    }

    /// The first one went, unless what went is the protocol's own, which stands behind or in
    /// between and has another length.
    fn pop(&mut self, len: u64) -> bool {
        let is_first = self.lengths.front() == Some(&len);
        if is_first {
            self.lengths.pop_front();
            self.bytes = self.bytes.saturating_sub(len);
        }
        is_first
    }

    /// So many are told as dropped. When it is more than what is too large, all are given up;
    /// whether there were any.
    fn dropped(&mut self, count: u64) -> bool {
        let too_large = self.too_large.min(count);
        self.too_large -= too_large;
        count > too_large && self.empty()
    }

    fn empty(&mut self) -> bool {
        self.bytes = 0;
        let were_there = !self.lengths.is_empty();
        self.lengths.clear();
        were_there
    }
}

/// The pacing grid of the call's sound.
#[derive(Clone, Debug)]
struct Grid {
    /// Nanoseconds from the session's birth to RTP time zero; before the birth it is negative.
    epoch: i128,
    last: Option<u64>,
}

impl Grid {
    fn of(log: &Log) -> Grid {
        let spacing = packet_time(log) / 1_000_000 * (RTP_RATE / 1_000);
        let (mut at, mut last, mut epoch) = (0u64, None, None::<i128>);
        for record in &log.records {
            at = at.saturating_add(record.after());
            for crossing in &record.crossings {
                let Crossing::Media { rtp_time, voice: Some(_), .. } = crossing else { continue };
                let follows = |last: u64| rtp_time.checked_sub(last) == Some(spacing);
                if last.is_none_or(follows) {
                    let zero = i128::from(at) - nanos(*rtp_time);
                    epoch = Some(epoch.map_or(zero, |epoch| epoch.min(zero)));
                }
                last = Some(*rtp_time);
            }
        }
        Grid { epoch: epoch.unwrap_or(0), last: None }
    }

    fn packet(&mut self, at: u64, rtp_time: u64, sound: bool, taken: bool) -> Figure<'static> {
        let late = i128::from(at) - self.epoch - nanos(rtp_time);
        let late_ns = i64::try_from(late).unwrap_or(if late < 0 { i64::MIN } else { i64::MAX });
        let last = self.last.replace(at);
        let since_last = last.map(|last| Duration::from_nanos(at.saturating_sub(last)));
        Figure::AudioPacket { late_ns, since_last, sound, taken }
    }
}

/// RTP time in nanoseconds.
fn nanos(rtp_time: u64) -> i128 {
    i128::from(rtp_time) * 1_000_000_000 / i128::from(RTP_RATE)
}
