//! A log in words: one line for each call, and under it what followed.
//!
//! `<` marks what came up from the transport, `>` what the session asked of it, `=` what the call
//! gave; lengths and levels stand where they were kept.

use std::fmt::{self, Write};
use std::time::Duration;

use super::entry::{
    Call, Crossing, Entry, Heard, LineOutcome, Path, Routing, Told, Value, Written,
};
use super::log::Record;
use crate::audio::dtmf::digit;

/// The columns before what followed from a call.
const INDENT: usize = 17;

impl Record {
    /// The record as lines, without a line break at the end.
    pub(super) fn text(&self, at: Duration) -> String {
        let mut text = format!("{:>14.6}  ", at.as_secs_f64());
        let written = match &self.entry {
            Entry::Header(header) => write!(text, "begin {}", header.crate_version),
            Entry::Call { call, .. } => write!(text, "{call}"),
            Entry::Mark(mark) => write!(text, "mark: {} calls", mark.calls),
            Entry::End(cause, mark) => write!(text, "end {cause:?}: {} calls", mark.calls),
            Entry::Routing { routing, .. } => write!(text, "endpoint {routing}"),
        };
        written.expect("a String takes all text");
        if let Entry::Call { call: Call::AcceptOffer { sdp }, .. } = &self.entry {
            indent(&mut text, sdp);
        }
        for crossing in &self.crossings {
            write!(text, "\n{:INDENT$}{crossing}", "").expect("a String takes all text");
            if let Crossing::Offer { outcome: Ok(negotiation), .. } = crossing {
                indent(&mut text, &negotiation.answer);
            }
        }
        text
    }
}

fn indent(text: &mut String, sdp: &str) {
    for line in sdp.lines() {
        write!(text, "\n{:INDENT$}| {}", "", line.trim_end()).expect("a String takes all text");
    }
}

/// A number that may have been left out, with a space before it.
struct Maybe<T>(Option<T>, &'static str);

impl<T: fmt::Display> fmt::Display for Maybe<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Some(value) => write!(f, " {value}{}", self.1),
            None => Ok(()),
        }
    }
}

/// Milliseconds from a call to a deadline.
struct Wait(Option<i64>);

impl fmt::Display for Wait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(nanos) => write!(f, "in {:.3} ms", nanos as f64 / 1e6),
            None => f.write_str("never"),
        }
    }
}

fn codec(number: u8) -> &'static str {
    ["opus", "vp8", "h264", "pcmu", "pcma", "g722"]
        .get(usize::from(number))
        .copied()
        .unwrap_or("unknown codec")
}

/// The key of a telephone, or `?` for an event that is none.
fn key(code: u8) -> char {
    digit(code).unwrap_or('?')
}

fn seconds(nanos: u64) -> f64 {
    Duration::from_nanos(nanos).as_secs_f64()
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} > {} on transport {}", self.source, self.destination, self.transport)
    }
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Call::Start => f.write_str("start"),
            Call::RequestRenegotiation => f.write_str("request_renegotiation"),
            Call::Close { replaced: false } => f.write_str("close"),
            Call::Close { replaced: true } => f.write_str("close, replaced"),
            Call::AcceptOffer { .. } => f.write_str("accept_offer"),
            Call::AddLocalCandidate { transport, base, advertised } => {
                write!(f, "add_local_candidate {advertised}, {base} on transport {transport}")
            }
            Call::AddRemoteCandidate { line } => {
                write!(f, "add_remote_candidate {}", line.as_deref().unwrap_or("that is no use"))
            }
            Call::HandleDatagram { path, len } => {
                write!(f, "handle_datagram{}{}", Maybe(*len, " bytes"), Maybe(*path, ""))
            }
            Call::HandleTimeout => f.write_str("handle_timeout"),
            Call::SendMessage { binary, len, .. } => {
                write!(f, "send_message {len} bytes{}", kind(*binary))
            }
            Call::SendAudio { rate, channels, samples, .. } => {
                write!(f, "send_audio {samples} samples, {rate} Hz, {channels} ch")
            }
            Call::ClearAudio => f.write_str("clear_audio"),
            Call::PauseAudio => f.write_str("pause_audio"),
            Call::ResumeAudio => f.write_str("resume_audio"),
            Call::SendDtmf { keys, duration, gap } => {
                let (duration, gap) = (seconds(*duration), seconds(*gap));
                write!(f, "send_dtmf {keys}, {duration:.3} s each, {gap:.3} s between")
            }
            Call::ClearDtmf => f.write_str("clear_dtmf"),
            Call::RecvAudio { track, room } => write!(f, "recv_audio track {track}, room {room}"),
            Call::SendEncoded { track, codec: number, time, keyframe, len, .. } => {
                let (codec, time) = (codec(*number), seconds(*time));
                let key = if *keyframe { ", keyframe" } else { "" };
                write!(f, "send_encoded track {track} {codec} at {time:.3} s, {len} bytes{key}")
            }
            Call::RecvEncoded { track } => write!(f, "recv_encoded track {track}"),
            Call::RequestKeyframe { track } => write!(f, "request_keyframe track {track}"),
            Call::HoldEvents(hold) => write!(f, "hold_events {hold}"),
            Call::PollTransmit => f.write_str("poll_transmit"),
            Call::PollEvent => f.write_str("poll_event"),
        }
    }
}

fn kind(binary: Option<bool>) -> &'static str {
    match binary {
        Some(true) => ", binary",
        Some(false) => ", text",
        None => "",
    }
}

impl fmt::Display for Written {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Written::Taken => f.write_str("taken"),
            Written::Full => f.write_str("no room"),
            Written::TooLarge(limit) => write!(f, "too large, at most {limit} bytes"),
            Written::Gone => f.write_str("not possible"),
        }
    }
}

impl fmt::Display for Crossing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use Crossing as C;
        match self {
            C::LocalCandidate => f.write_str("> local candidate"),
            C::RemoteCandidate => f.write_str("> remote candidate"),
            C::Offer { outcome: Err(kind), .. } => write!(f, "> offer: refused, {kind}"),
            C::Offer { outcome: Ok(negotiation), .. } => {
                write!(f, "> offer: accepted, ufrag {}", negotiation.ufrag)?;
                negotiation.lines.iter().try_for_each(|line| write!(f, ", {line}"))
            }
            C::Datagram { authenticated, malformed } => {
                let words = [(*authenticated, ", verified"), (*malformed, ", malformed")];
                let words = words.iter().filter(|(is_so, _)| *is_so).map(|(_, word)| *word);
                write!(f, "> datagram{}", words.collect::<String>())
            }
            C::Timeout => f.write_str("> timeout"),
            C::Media { line, codec: number, rtp_time, written, level, len, .. } => {
                write!(f, "> media line {line} {} time {rtp_time}", codec(*number))?;
                write!(
                    f,
                    "{}{}",
                    Maybe(*len, " bytes"),
                    Maybe(level.map(|l| -i16::from(l)), " dB")
                )?;
                write!(f, "{}: {written}", traits(self))
            }
            C::Keyframe { line } => write!(f, "> keyframe, line {line}"),
            C::Message { channel, binary, len, written, .. } => {
                write!(f, "> message channel {channel}, {len} bytes{}: {written}", kind(*binary))
            }
            C::Buffered { channel, amount } => {
                write!(f, "> buffered on channel {channel}: {amount} bytes")
            }
            C::Threshold { channel, threshold } => {
                write!(f, "> threshold of channel {channel}: {threshold} bytes")
            }
            C::Goodbye => f.write_str("> goodbye"),
            C::Wants { has_transmit, deadline } => {
                let datagram = if *has_transmit { "to send, " } else { "" };
                write!(f, "  transport: {datagram}due {}", Wait(*deadline))
            }
            C::Heard(heard) => write!(f, "< {heard}"),
            C::Transmit { path, len } => {
                write!(f, "< transmit{}{}", Maybe(*len, " bytes"), Maybe(*path, ""))
            }
            C::Encoded { samples, len, .. } => {
                write!(f, "  encoded {samples} samples{}", Maybe(*len, " bytes"))
            }
            C::SilenceEncoded { len } => write!(f, "  encoded silence{}", Maybe(*len, " bytes")),
            C::LossExpected { percent } => write!(f, "  encoder expects {percent} % loss"),
            C::Duration(Some(frames)) => write!(f, "  a packet of {frames} samples"),
            C::Duration(None) => f.write_str("  a packet that cannot be read"),
            C::Decoded { frames, .. } => write!(f, "  decoded {frames} samples"),
            C::Concealed { frames, .. } => write!(f, "  concealed {frames} samples"),
            C::DecoderReset => f.write_str("  decoder reset"),
            C::VoiceScored { score } => write!(f, "  a voice by {score} of 255"),
            C::DetectorReset => f.write_str("  detector reset"),
            C::Returned(value) => write!(f, "= {value}"),
            C::Deadline(deadline) => write!(f, "  due {}", Wait(*deadline)),
            C::DeadlineUnseen => f.write_str("  (dropped)"),
            C::Copied(0) => f.write_str("  a packet without a copy"),
            C::Copied(frames) => write!(f, "  a packet with a copy of {frames} samples"),
            C::Repaired { frames, .. } => write!(f, "  repaired {frames} samples"),
            C::Tone { line, code, rtp_time, duration, written } => {
                let key = code.map_or('?', key);
                let duration = seconds(*duration);
                write!(f, "> key {key} line {line} time {rtp_time}, {duration:.3} s: {written}")
            }
        }
    }
}

/// What a frame that is sent has besides its time and its size.
fn traits(media: &Crossing) -> String {
    let Crossing::Media { talkspurt, voice, redundant, .. } = media else { return String::new() };
    let words = [
        (*voice == Some(true), ", sound"),
        (*talkspurt, ", after a pause"),
        (*redundant, ", with a copy"),
    ];
    words.iter().filter(|(is_so, _)| *is_so).map(|(_, word)| *word).collect()
}

impl fmt::Display for LineOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LineOutcome::Media { video, receives, sends, codec: number, copies } => {
                let what = if *video { "video" } else { "audio" };
                let way = match (receives, sends) {
                    (true, true) => "both ways",
                    (true, false) => "in",
                    (false, true) => "out",
                    (false, false) => "off",
                };
                let copies = if *copies { ", takes copies" } else { "" };
                write!(f, "{what} {} {way}{copies}", codec(*number))
            }
            LineOutcome::Channels => f.write_str("channels"),
            LineOutcome::Rejected => f.write_str("rejected"),
        }
    }
}

impl fmt::Display for Heard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Heard::IceConnected => f.write_str("ICE connected"),
            Heard::IceDisconnected => f.write_str("ICE disconnected"),
            Heard::Connected => f.write_str("connected"),
            Heard::Media {
                line,
                codec: number,
                seq,
                rtp_time,
                contiguous,
                repaired,
                level,
                len,
                ..
            } => {
                write!(f, "media line {line} {} seq {seq} time {rtp_time}", codec(*number))?;
                let level = level.map(|(level, _)| -i16::from(level));
                write!(f, "{}{}", Maybe(*len, " bytes"), Maybe(level, " dB"))?;
                f.write_str(if *repaired { ", from a copy" } else { "" })?;
                f.write_str(if *contiguous { "" } else { ", after a loss" })
            }
            Heard::KeyframeRequest(line) => write!(f, "keyframe wanted, line {line}"),
            Heard::ChannelOpen { channel, label } => write!(f, "channel {channel} open: {label}"),
            Heard::Message { channel, binary, len, meaning, .. } => {
                write!(f, "message channel {channel}, {len} bytes{}: {meaning:?}", kind(*binary))
            }
            Heard::ChannelClose(channel) => write!(f, "channel {channel} closed"),
            Heard::BufferedAmountLow(channel) => write!(f, "room on channel {channel}"),
            Heard::Stats(stats) => {
                write!(f, "stats")?;
                write!(f, "{}", Maybe(stats.rtt.map(|rtt| rtt.as_millis()), " ms round trip"))?;
                write!(f, "{}", Maybe(stats.loss_sent, " of ours lost"))?;
                write!(f, "{}", Maybe(stats.loss_received, " of theirs lost"))
            }
            Heard::PeerReport { line, packets } => {
                write!(f, "report on {packets} packets, line {line}")
            }
            Heard::Tone { line, seq, rtp_time, code, is_first, is_end, ticks, .. } => {
                let key = key(*code);
                write!(f, "key {key} line {line} seq {seq} time {rtp_time}, {ticks} ticks")?;
                f.write_str(if *is_first { ", begins" } else { "" })?;
                f.write_str(if *is_end { ", ends" } else { "" })
            }
            Heard::HungUp => f.write_str("hung up"),
            Heard::Refused(why) => write!(f, "refused: {why}"),
            Heard::Fault(fault) => write!(f, "fault: {fault}"),
        }
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Done => f.write_str("done"),
            Value::Error(error) => write!(f, "error: {error}"),
            Value::Message { sent: true } => f.write_str("sent"),
            Value::Message { sent: false } => f.write_str("queued"),
            Value::AudioId(id) => write!(f, "piece {id}"),
            Value::Cleared(pieces) => {
                write!(f, "cleared {} pieces", pieces.len())?;
                pieces.iter().try_for_each(|(id, sent, dropped)| {
                    write!(f, ", piece {id}: {sent} sent, {dropped} dropped")
                })
            }
            Value::ClearedPieces(pieces) => {
                write!(f, "cleared {} pieces", pieces.len())?;
                pieces.iter().try_for_each(|(id, sent, dropped, confirmed, played)| {
                    write!(f, ", piece {id}: {sent} sent, {dropped} dropped")?;
                    write!(f, ", {confirmed} confirmed, {played} played")
                })
            }
            Value::Audio { samples, time, origin, level, .. } => {
                let origins = ["decoded", "repaired", "concealed", "silence"];
                let origin = origins.get(usize::from(*origin)).unwrap_or(&"unknown");
                write!(f, "{samples} samples at {:.3} s, {origin}", seconds(*time))?;
                match level {
                    Some((level, _)) => write!(f, ", the peer says -{level} dB"),
                    None => Ok(()),
                }
            }
            Value::Encoded { codec: number, time, len, .. } => {
                write!(f, "{} at {:.3} s", codec(*number), seconds(*time))?;
                write!(f, "{}", Maybe(*len, " bytes"))
            }
            Value::Event(told) => write!(f, "{told}"),
        }
    }
}

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Told::State(state) => write!(f, "state {state}"),
            Told::ChannelOpened(label) => write!(f, "channel opened: {label}"),
            Told::Message { binary, len, .. } => write!(f, "message {len} bytes{}", kind(*binary)),
            Told::TrackStarted { track, source, receives, sends } => {
                let way = match (receives, sends) {
                    (true, true) => "both ways",
                    (true, false) => "in",
                    (false, true) => "out",
                    (false, false) => "off",
                };
                write!(f, "track {track} started: {source}, {way}")
            }
            Told::TrackEnded(track) => write!(f, "track {track} ended"),
            Told::TrackStatus { track, enabled: true } => write!(f, "track {track} switched on"),
            Told::TrackStatus { track, enabled: false } => write!(f, "track {track} switched off"),
            Told::AudioReadable(track) => write!(f, "audio readable, track {track}"),
            Told::EncodedReadable(track) => write!(f, "coded frame readable, track {track}"),
            Told::AudioStarted { id } => write!(f, "piece {id} begins"),
            Told::AudioFinished { id, samples } => write!(f, "piece {id} out, {samples} samples"),
            Told::SpeechStarted { track, time } => {
                write!(f, "speech on track {track} from {:.3} s on", seconds(*time))
            }
            Told::SpeechStopped { track, time } => {
                write!(f, "speech on track {track} until {:.3} s", seconds(*time))
            }
            Told::KeyframeRequested(track) => write!(f, "keyframe requested, track {track}"),
            Told::Dtmf { track, digit, duration } => {
                let (digit, duration) = (digit.unwrap_or('?'), seconds(*duration));
                write!(f, "key {digit} pressed for {duration:.3} s, track {track}")
            }
            Told::DtmfSent => f.write_str("keys sent"),
            Told::Closed(reason) => write!(f, "closed: {reason}"),
            Told::ChannelClosed => f.write_str("channel closed"),
            Told::MessagesDrained => f.write_str("messages drained"),
            Told::MessagesDropped(count) => write!(f, "{count} messages dropped"),
        }
    }
}

impl fmt::Display for Routing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Routing::Admitted { sessions, half_open } => {
                write!(f, "admitted beside {sessions} sessions, {half_open} never connected")
            }
            Routing::Bound(path) => write!(f, "bound {path}"),
            Routing::BoundInsteadOf(path) => write!(f, "bound {path}, another address went"),
            Routing::AddressRefused(path) => write!(f, "refused the address {path}"),
            Routing::Forged(path) => write!(f, "refused a forged request {path}"),
            Routing::Released => f.write_str("freed all addresses"),
        }
    }
}
