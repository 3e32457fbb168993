//! What the suite asks of a driver: its machine, together with an application of the suite.
//!
//! A subject never waits and reads no clock. The suite plays the driver's loop (see
//! [`World`](crate::World)): it hands in datagrams and time, steps, sends, and lets the application
//! run where the real driver would let other tasks run.

use std::sync::Arc;
use std::time::Instant;

use smallrtc::signaling::Response;
use smallrtc::{
    AudioCleared, CloseReason, Config, ConnectionState, Datagram, Event, LocalCandidate, Message,
    Seed, SendError, SessionId, Transmit,
};
use smallrtc_udp::{Lateness, SocketStats};

/// Samples per second of all sound that the suite's applications send.
pub const RATE: u32 = 24_000;

/// A driver's inner step with an application on top.
pub trait Subject: Sized {
    /// What one step does at most.
    const BUDGETS: Budgets;

    /// A machine without calls.
    fn new(
        config: Arc<Config>,
        seed: &Seed,
        candidates: &[LocalCandidate],
        bot: Bot,
        now: Instant,
    ) -> Self;

    /// Takes a datagram.
    fn handle_datagram(&mut self, datagram: Datagram, now: Instant);

    /// Does what is due; true when a budget was used up and it wants to be stepped again at once.
    #[must_use]
    fn step(&mut self, now: Instant) -> bool;

    /// The next datagram to send.
    #[must_use]
    fn poll_transmit(&mut self) -> Option<Transmit>;

    /// When it wants to be stepped if nothing else happens.
    #[must_use]
    fn poll_timeout(&self) -> Option<Instant>;

    /// The turn that began with a step at `now` is over, after the last datagram; the same as
    /// [`Subject::poll_timeout`], and where lateness is counted.
    fn end_turn(&mut self, now: Instant) -> Option<Instant>;

    /// Whether its driver would end now.
    #[must_use]
    fn is_finished(&self) -> bool;

    /// Whether its driver, if it waited now, would be woken by a command.
    #[must_use]
    fn is_rung(&self) -> bool;

    /// The sockets broke.
    fn fail(&mut self, now: Instant);

    /// Drops the machine and leaves the application.
    fn drop_machine(&mut self);

    /// The application wants something. The driver may be waiting meanwhile.
    fn order(&mut self, order: Order);

    /// The application puts an order down while the next step runs, from within that step.
    fn order_during_step(&mut self, order: Order);

    /// Lets the application run as far as it can without the machine.
    fn run_application(&mut self);

    /// What the application has to tell.
    #[must_use]
    fn poll_report(&mut self) -> Option<Report>;
}

/// What one step does at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Budgets {
    /// HTTP requests.
    pub requests: usize,
    /// Calls of which each put down a command.
    pub calls: usize,
    /// Messages that one call wants to send.
    pub messages: usize,
    /// Events handed over.
    pub events: usize,
}

impl Budgets {
    /// These budgets, in the order of the fields.
    #[must_use]
    pub const fn new(requests: usize, calls: usize, messages: usize, events: usize) -> Budgets {
        Budgets { requests, calls, messages, events }
    }
}

/// How the application behaves in every call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Bot {
    /// Does what the test orders, and nothing by itself.
    Silent,
    /// Sends back what it hears and reads.
    Echo,
    /// Speaks words of 10 ms, counted from one, for as long as the call is connected.
    Talker,
}

/// Names an order; its outcome carries it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// Something that the application is to do.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Order {
    /// An HTTP request. Reported as [`Report::Answer`].
    Request {
        /// Its name.
        ticket: Ticket,
        /// GET, POST, PATCH.
        method: &'static str,
        /// The path.
        path: &'static str,
        /// The body.
        body: Vec<u8>,
    },
    /// A command to a call. Reported as [`Told::Done`] by its ticket, if it has one.
    Command(SessionId, Option<Ticket>, Command),
    /// The application stops reading what comes from a call, or goes on.
    Hold(SessionId, bool),
    /// Ends every call and the driver. Reported as [`Report::Ended`].
    Close(Ticket),
    /// Asks the driver for its figures. Reported as [`Report::Figures`].
    Figures(Ticket),
    /// Gives up every handle; calls go on.
    LetGo,
}

/// What a call is to do.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Command {
    /// Queue sound: one channel at [`RATE`].
    Audio(Vec<i16>),
    /// Send a message.
    Message(Message),
    /// Drop the sound that is queued.
    Clear,
    /// Hold the sound back that is queued.
    Pause,
    /// Let it go.
    Resume,
    /// End the call.
    Close,
}

/// What the application tells the suite.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Report {
    /// Of a call.
    Told(SessionId, Told),
    /// The answer to a request.
    Answer(Ticket, Response),
    /// `Close` has ended.
    Ended(Ticket),
    /// The driver's figures.
    Figures(Ticket, Figures),
}

/// What a driver tells of itself.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Figures {
    /// Calls that are open.
    pub sessions: usize,
    /// Its sockets together.
    pub sockets: SocketStats,
    /// How late it was.
    pub lateness: Lateness,
}

impl Figures {
    /// These figures, in the order of the fields.
    #[must_use]
    pub fn new(sessions: usize, sockets: SocketStats, lateness: Lateness) -> Figures {
        Figures { sessions, sockets, lateness }
    }
}

/// What the application was told in a call.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Told {
    /// The call is there, and so named in signalling.
    Called {
        /// `pc_id`.
        pc_id: String,
    },
    /// An event that has no form of its own here.
    Event(Event),
    /// A message of the page.
    Message(Message),
    /// Sound of the page: so many samples of each channel.
    Audio {
        /// Interleaved samples.
        samples: Vec<i16>,
        /// Samples per second.
        rate: u32,
        /// Channels.
        channels: u8,
    },
    /// What became of a command.
    Done(Ticket, Outcome),
    /// The end.
    Closed(CloseReason),
}

/// What became of a command.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Outcome {
    /// Of [`Command::Audio`] and [`Command::Message`].
    Sent(Result<(), SendError>),
    /// Of [`Command::Clear`].
    Cleared(AudioCleared),
    /// Of [`Command::Pause`] and [`Command::Resume`]: the call has been told, or has ended.
    Told,
    /// Of [`Command::Close`]: the call has been told.
    Closing,
}

/// The application's mind in one call: the same for every driver.
#[derive(Debug)]
pub(crate) struct Mind {
    bot: Bot,
    next_word: i16,
}

/// How many words a talker says in one piece: 200 ms.
const PIECE_WORDS: i16 = 20;

/// Words are counted up to here and from one again.
const WORD_MAX: i16 = 30_000;

impl Mind {
    pub(crate) fn new(bot: Bot) -> Mind {
        Mind { bot, next_word: 1 }
    }

    /// What follows from being told something.
    pub(crate) fn react(&mut self, told: &Told) -> Vec<Command> {
        match (self.bot, told) {
            (Bot::Echo, Told::Message(message)) => vec![Command::Message(message.clone())],
            (Bot::Echo, Told::Audio { samples, rate: RATE, channels: 1 }) => {
                vec![Command::Audio(samples.clone())]
            }
            (Bot::Talker, Told::Event(Event::StateChanged(ConnectionState::Connected))) => {
                // Two pieces, so that one is queued when the other is finished.
                vec![self.speak(), self.speak()]
            }
            (Bot::Talker, Told::Event(Event::AudioFinished { .. })) => vec![self.speak()],
            _ => Vec::new(),
        }
    }

    fn speak(&mut self) -> Command {
        let words = self.next_word..self.next_word + PIECE_WORDS;
        self.next_word = if words.end >= WORD_MAX { 1 } else { words.end };
        Command::Audio(speech(words))
    }
}

/// Sound that says each number for 10 ms.
#[must_use]
pub fn speech(words: std::ops::Range<i16>) -> Vec<i16> {
    words.flat_map(|word| [word; RATE as usize / 100]).collect()
}
