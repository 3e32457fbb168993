//! What a load found out.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::AddAssign;
use std::time::Duration;

use serde::{Serialize, Serializer};
use smallrtc_udp::Lateness;

/// What a load found out: of all calls together, and of each.
///
/// `Display` gives a table; serialised, times are whole microseconds in fields that end with
/// `_us`.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Report {
    /// Where the calls went.
    pub url: String,
    /// How long all calls lasted together.
    #[serde(rename = "steady_us", serialize_with = "micros")]
    pub steady: Duration,
    /// Whether the kernel stamped what arrived. Where it did not, the times of arrival are those
    /// at which this process read: its own lateness is in them.
    pub kernel_timestamps: bool,
    /// Whether the load was [stopped](super::Stop) before its time was up.
    pub is_stopped: bool,
    /// Whether the bot was expected to return the sound.
    pub expects_echo: bool,
    /// All calls together.
    pub total: Figures,
    /// How many calls took how long from one step to the next.
    pub connect: Connect,
    /// How many calls ended how: `completed`, or the text of what went wrong.
    pub outcomes: BTreeMap<String, usize>,
    /// Each call, in the order in which they began.
    pub calls: Vec<CallReport>,
}

/// Times of connecting, of the calls that came that far.
#[derive(Clone, Debug, Default, Serialize)]
#[non_exhaustive]
pub struct Connect {
    /// From the offer's being ready to its answer over HTTP. Waiting for one of the threads that
    /// post is in it, so that a slow server cannot hide behind few threads.
    pub post_to_answer: Spread,
    /// From the answer until ICE and DTLS were done.
    pub answer_to_connected: Spread,
    /// From the offer's being ready until the data channel was open.
    pub post_to_open: Spread,
}

/// One call.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct CallReport {
    /// Its number, from 0 on.
    pub number: usize,
    /// How it ended.
    pub outcome: Outcome,
    /// From the offer's being ready to its answer.
    #[serde(rename = "answered_us", serialize_with = "optional_micros")]
    pub answered: Option<Duration>,
    /// From the offer's being ready until ICE and DTLS were done.
    #[serde(rename = "connected_us", serialize_with = "optional_micros")]
    pub connected: Option<Duration>,
    /// From the offer's being ready until the data channel was open.
    #[serde(rename = "open_us", serialize_with = "optional_micros")]
    pub open: Option<Duration>,
    /// What went back and forth.
    pub figures: Figures,
}

/// How a call ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Outcome {
    /// It connected, its channel opened, and it lasted until the load ended.
    Completed,
    /// It did not come about.
    Failed(Failure),
    /// It connected, and ended before the load did.
    EndedEarly(EarlyEnd),
}

/// Why a call did not come about.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Failure {
    /// No socket for it: most often too many files are open (`ulimit -n`).
    #[error("no socket: {0}")]
    Socket(String),
    /// The engine made no offer, which is an error of this program.
    #[error("no offer: {0}")]
    Offer(String),
    /// HTTP failed: nobody there, the connection broke, no answer in time.
    #[error("no answer: {0}")]
    NoAnswer(String),
    /// The server answered with another status than success.
    #[error("refused with {status}: {detail}")]
    Refused {
        /// Of HTTP.
        status: u16,
        /// What the server said of it, shortened.
        detail: String,
    },
    /// The answer cannot be used.
    #[error("bad answer: {0}")]
    BadAnswer(String),
    /// ICE or DTLS were not done in time, 15 s after the offer.
    #[error("not connected in time")]
    NotConnected,
    /// Connected, but the data channel did not open in time, 15 s after the offer.
    #[error("the channel did not open in time")]
    NoChannel,
    /// It ended while it was being set up.
    #[error("ended while connecting: {0}")]
    Ended(EarlyEnd),
    /// The load was stopped before it came about.
    #[error("the load was stopped before")]
    Stopped,
}

/// Why a call ended before the load did.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum EarlyEnd {
    /// The bot said goodbye (`peerLeft`) or closed the data channel.
    #[error("the bot left")]
    BotLeft,
    /// The bot closed the connection.
    #[error("the bot closed the connection")]
    Closed,
    /// Nothing came any more: ICE gave up, or the last datagram was 5 s old at the end.
    #[error("the bot went silent")]
    WentSilent,
    /// The engine could not go on.
    #[error("the engine failed: {0}")]
    Engine(String),
}

/// What went back and forth, of one call or of all.
#[derive(Clone, Debug, Default, Serialize)]
#[non_exhaustive]
pub struct Figures {
    /// Sound.
    pub audio: Audio,
    /// Messages over the data channel.
    pub messages: Messages,
    /// Whether the sound came back; of the calls that were listened to.
    pub echo: Echo,
    /// How often ICE lost the bot, whether it came back or not.
    pub disconnects: u64,
    /// Datagrams that this machine refused to send: lost at the source.
    pub refused_sends: u64,
}

/// Sound, in RTP packets.
///
/// `lateness` is what a play-out buffer would have to hold. It compares when packets arrived with
/// the times of media that they bear: of each 256 packets the one that was least late counts as
/// punctual (the lower envelope), the others are late by their distance from it. The way there and
/// back that all packets share is not in it. When the bot passes packets on as they come,
/// `sent_late` is in it, too: a bot without a clock of its own cannot be more punctual than its
/// caller.
#[derive(Clone, Debug, Default, Serialize)]
#[non_exhaustive]
pub struct Audio {
    /// Packets sent.
    pub sent: u64,
    /// How late they were sent: this program's own fault.
    pub sent_late: Spread,
    /// Times that this program was so late that it left sound out instead of sending a burst.
    pub slips: u64,
    /// Packets received, duplicates included.
    pub received: u64,
    /// What should have come, from the first sequence number to the last.
    pub expected: u64,
    /// Packets that are missing between the first and the last.
    pub lost: u64,
    /// Packets that came again.
    pub duplicated: u64,
    /// Packets that came after a later one.
    pub reordered: u64,
    /// How late packets arrived, by the kernel's clock, while all calls lasted.
    pub lateness: Spread,
    /// The time from one packet of a call to the next, by the kernel's clock, while all calls
    /// lasted.
    pub gap: Spread,
    /// The longest time without a packet while all calls lasted, one figure for each call that
    /// received any.
    pub longest_gap: Spread,
}

/// Messages over the data channel.
#[derive(Clone, Debug, Default, Serialize)]
#[non_exhaustive]
pub struct Messages {
    /// Messages sent.
    pub sent: u64,
    /// Those that came back, at the latest half a second after the load ended.
    pub returned: u64,
    /// Those that the channel did not take: its buffer was full.
    pub refused: u64,
    /// From sending to return, while all calls lasted.
    pub round_trip: Spread,
}

/// What was heard in the calls that were listened to.
///
/// `delay` goes from sending the packet in which a burst begins until the packet arrives in which
/// its echo begins, counted at the same place of both sounds. What is the same for every bot is not
/// in it: recording a packet, the caller's own coding, a play-out buffer. What the bot adds is: its
/// own decoding and coding, 6.5 ms or so in sum, its buffers, its pacing. Delays from 2 s on are
/// told as what exceeds a multiple of 2 s.
#[derive(Clone, Debug, Default, Serialize)]
#[non_exhaustive]
pub struct Echo {
    /// Calls that were listened to.
    pub calls: u64,
    /// Calls of them in which at least half of the packets held the tone that was sent.
    pub calls_with_own_tone: u64,
    /// Packets that were decoded.
    pub packets: u64,
    /// Those that held the pitch that was sent.
    pub own: u64,
    /// Those that held silence.
    pub silent: u64,
    /// Those that held something else, or could not be decoded.
    pub other: u64,
    /// The pitch that was sent, in Hz; of one call.
    pub sent_hz: Option<f32>,
    /// The pitch that was heard, in Hz: the median of the latest packets that were not silent; of
    /// one call.
    pub heard_hz: Option<f32>,
    /// How long sound was on its way.
    pub delay: Spread,
}

/// How a figure is spread. All zero when nothing was measured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Spread {
    /// How many values.
    pub count: u64,
    /// Half of them are not above this.
    #[serde(rename = "p50_us", serialize_with = "micros")]
    pub p50: Duration,
    /// 99 of 100 are not above this.
    #[serde(rename = "p99_us", serialize_with = "micros")]
    pub p99: Duration,
    /// The largest.
    #[serde(rename = "max_us", serialize_with = "micros")]
    pub max: Duration,
}

impl Spread {
    pub(super) fn of(mut values: Vec<Duration>) -> Spread {
        values.sort();
        let Some(max) = values.last().copied() else { return Spread::default() };
        // The smallest value that the part of all does not exceed.
        let at = |part: usize| values[(values.len() * part).div_ceil(100).max(1) - 1];
        Spread { count: values.len() as u64, p50: at(50), p99: at(99), max }
    }
}

impl From<&Lateness> for Spread {
    /// To two digits.
    fn from(values: &Lateness) -> Spread {
        if values.count() == 0 {
            return Spread::default();
        }
        let (p50, p99) = (values.quantile(0.5), values.quantile(0.99));
        Spread { count: values.count(), p50, p99, max: values.max() }
    }
}

impl Report {
    /// Whether all calls connected and lasted, and, if an echo was expected, every call that was
    /// listened to heard its own tone.
    #[must_use]
    pub fn is_success(&self) -> bool {
        let lasted = self.calls.iter().all(|call| call.outcome == Outcome::Completed);
        lasted && (!self.expects_echo || self.echo_came_back())
    }

    /// Calls that came about.
    #[must_use]
    pub fn connected(&self) -> usize {
        self.calls.iter().filter(|call| !matches!(call.outcome, Outcome::Failed(_))).count()
    }

    fn echo_came_back(&self) -> bool {
        let echo = &self.total.echo;
        echo.calls > 0 && echo.calls_with_own_tone == echo.calls
    }
}

impl Audio {
    /// Packets that were sent beyond those that came. A bot that returns each packet numbers its
    /// own anew, so that `lost` knows only of the way back; what was lost on the way there, or by
    /// the bot, is in here. Of no meaning for a bot that speaks when it likes.
    #[must_use]
    pub fn unreturned(&self) -> u64 {
        self.sent.saturating_sub(self.received - self.duplicated)
    }
}

impl AddAssign<&Figures> for Figures {
    /// Adds the counts. A spread cannot be made of spreads: those stay as they are.
    fn add_assign(&mut self, other: &Figures) {
        let (audio, more) = (&mut self.audio, &other.audio);
        audio.sent += more.sent;
        audio.slips += more.slips;
        audio.received += more.received;
        audio.expected += more.expected;
        audio.lost += more.lost;
        audio.duplicated += more.duplicated;
        audio.reordered += more.reordered;
        let (messages, more) = (&mut self.messages, &other.messages);
        messages.sent += more.sent;
        messages.returned += more.returned;
        messages.refused += more.refused;
        let (echo, more) = (&mut self.echo, &other.echo);
        echo.calls += more.calls;
        echo.calls_with_own_tone += more.calls_with_own_tone;
        echo.packets += more.packets;
        echo.own += more.own;
        echo.silent += more.silent;
        echo.other += more.other;
        echo.sent_hz = echo.sent_hz.or(more.sent_hz);
        echo.heard_hz = echo.heard_hz.or(more.heard_hz);
        self.disconnects += other.disconnects;
        self.refused_sends += other.refused_sends;
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Outcome::Completed => f.write_str("completed"),
            Outcome::Failed(failure) => write!(f, "failed: {failure}"),
            Outcome::EndedEarly(end) => write!(f, "ended early: {end}"),
        }
    }
}

impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.count == 0 {
            return f.write_str("nothing measured");
        }
        let ms = |at: Duration| at.as_secs_f64() * 1000.0;
        let (p50, p99, max) = (ms(self.p50), ms(self.p99), ms(self.max));
        write!(f, "p50 {p50:9.3}   p99 {p99:9.3}   max {max:9.3} ms   of {}", self.count)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Figures { audio, messages, echo, .. } = &self.total;
        let seconds = self.steady.as_secs_f64();
        let stopped = if self.is_stopped { ", stopped before the time was up" } else { "" };
        let calls = self.calls.len();
        writeln!(f, "{calls} calls to {}, {seconds:.1} s together{stopped}", self.url)?;
        for (outcome, calls) in &self.outcomes {
            writeln!(f, "  {calls:6}  {outcome}")?;
        }
        writeln!(f, "connecting")?;
        writeln!(f, "  post to answer       {}", self.connect.post_to_answer)?;
        writeln!(f, "  answer to connected  {}", self.connect.answer_to_connected)?;
        writeln!(f, "  post to open channel {}", self.connect.post_to_open)?;
        if audio.sent > 0 || audio.received > 0 {
            write_audio(f, audio)?;
            if !self.kernel_timestamps {
                writeln!(f, "  (no timestamps of the kernel: lateness includes this program's)")?;
            }
            write_echo(f, echo)?;
        }
        if messages.sent > 0 {
            let Messages { sent, returned, refused, round_trip } = messages;
            writeln!(f, "messages: {sent} sent, {returned} returned, {refused} refused")?;
            writeln!(f, "  round trip           {round_trip}")?;
        }
        let Figures { disconnects, refused_sends, .. } = self.total;
        write!(f, "{disconnects} disconnects, {refused_sends} datagrams not sent by this machine")
    }
}

fn write_audio(f: &mut fmt::Formatter<'_>, audio: &Audio) -> fmt::Result {
    let Audio { sent, received, expected, lost, duplicated, reordered, slips, .. } = audio;
    let unreturned = audio.unreturned();
    writeln!(f, "audio: {sent} packets sent, {received} received of {expected} expected")?;
    writeln!(f, "  {lost} lost, {duplicated} duplicated, {reordered} reordered")?;
    writeln!(f, "  {unreturned} more sent than received, {slips} slips of this program")?;
    writeln!(f, "  sent late by         {}", audio.sent_late)?;
    writeln!(f, "  arrived late by      {}", audio.lateness)?;
    writeln!(f, "  from one to the next {}", audio.gap)?;
    writeln!(f, "  longest gap of calls {}", audio.longest_gap)
}

fn write_echo(f: &mut fmt::Formatter<'_>, echo: &Echo) -> fmt::Result {
    let Echo { calls, calls_with_own_tone, packets, own, silent, other, .. } = echo;
    writeln!(f, "echo: {calls_with_own_tone} of {calls} calls listened to heard their own tone")?;
    writeln!(f, "  of {packets} packets {own} own tone, {silent} silence, {other} other")?;
    if let (Some(sent), Some(heard)) = (echo.sent_hz, echo.heard_hz) {
        writeln!(f, "  sent {sent:.0} Hz, heard {heard:.0} Hz")?;
    }
    writeln!(f, "  delay                {}", echo.delay)
}

fn micros<S: Serializer>(time: &Duration, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_u64(u64::try_from(time.as_micros()).unwrap_or(u64::MAX))
}

fn optional_micros<S: Serializer>(time: &Option<Duration>, to: S) -> Result<S::Ok, S::Error> {
    match time {
        Some(time) => micros(time, to),
        None => to.serialize_none(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn a_spread_is_of_values_that_occurred() {
        let spread = Spread::of((1..=200).rev().map(|at| at * MS).collect());
        assert_eq!(spread, Spread { count: 200, p50: 100 * MS, p99: 198 * MS, max: 200 * MS });
        assert_eq!(Spread::of(vec![MS]), Spread { count: 1, p50: MS, p99: MS, max: MS });
        assert_eq!(Spread::of(Vec::new()), Spread::default());
        assert_eq!(Spread::from(&Lateness::new()), Spread::default());
    }

    #[test]
    fn outcomes_are_told_in_words_and_in_json() {
        let refused = Failure::Refused { status: 503, detail: "full".to_owned() };
        for (outcome, words, json) in [
            (Outcome::Completed, "completed", r#""completed""#),
            (
                Outcome::Failed(refused),
                "failed: refused with 503: full",
                r#"{"failed":{"refused":{"status":503,"detail":"full"}}}"#,
            ),
            (
                Outcome::EndedEarly(EarlyEnd::WentSilent),
                "ended early: the bot went silent",
                r#"{"ended_early":"went_silent"}"#,
            ),
        ] {
            assert_eq!(outcome.to_string(), words);
            assert_eq!(serde_json::to_string(&outcome).unwrap(), json);
        }
    }

    #[test]
    fn figures_of_calls_add_up() {
        let mut one = Figures { disconnects: 1, refused_sends: 2, ..Figures::default() };
        one.audio.lost = 3;
        one.messages.returned = 4;
        one.echo.sent_hz = Some(400.0);
        let mut sum = Figures::default();
        sum += &one;
        sum += &one;
        assert_eq!((sum.disconnects, sum.refused_sends), (2, 4));
        assert_eq!((sum.audio.lost, sum.messages.returned), (6, 8));
        assert_eq!(sum.echo.sent_hz, Some(400.0));
        (sum.audio.sent, sum.audio.received, sum.audio.duplicated) = (10, 9, 2);
        assert_eq!(sum.audio.unreturned(), 3);
    }
}
