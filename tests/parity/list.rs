//! The lines, in the order of the original's parts: construction and SDP (C), life cycle (L),
//! messages (M), tracks in (T), sound and pictures out (A, V), the transport above (X), the request
//! handler and runner (R), inputs that hurt it (H).

/// One behaviour of the original.
#[derive(Debug)]
pub(crate) struct Line {
    pub(crate) id: &'static str,
    pub(crate) behaviour: &'static str,
    /// The figure that decides it; empty when there is none.
    pub(crate) constant: &'static str,
    /// Where it stands in the original.
    pub(crate) source: &'static str,
    pub(crate) here: Here,
}

/// What became of it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Here {
    Same,
    Better(&'static str),
    /// With the reason, which lies in the protocol.
    Refused(&'static str),
}

use Here::{Better, Refused, Same};

const fn line(
    id: &'static str,
    behaviour: &'static str,
    constant: &'static str,
    source: &'static str,
    here: Here,
) -> Line {
    Line { id, behaviour, constant, source, here }
}

const CONNECTION: &str = "`connection.py`";
const TRANSPORT: &str = "`transport.py`";
const HANDLER: &str = "`request_handler.py`";
const BASE_OUTPUT: &str = "`base_output.py`";
const BASE_INPUT: &str = "`base_input.py`";
const RUNNER: &str = "`run.py`";

pub(crate) const LINES: &[Line] = &[
    line(
        "C1",
        "ICE servers: none, URLs, or URLs with credentials; one STUN and one TURN are used, the rest is ignored",
        "",
        CONNECTION,
        Better(
            "all go to the client by `/start`, a wrong one is refused with its field; the bot uses none: it has a public address, or tells the one that is mapped to it (`--advertise`)",
        ),
    ),
    line(
        "C2",
        "`pc_id` is `SmallWebRTCConnection#<n>-<32 hex>`, a new one on restart",
        "32 hex",
        CONNECTION,
        Better("drawn from the seed's secret stream, with the shard in front"),
    ),
    line(
        "C3",
        "events: app-message, track-started, -ended, -status, connecting, connected, disconnected, closed, failed",
        "",
        CONNECTION,
        Better("`disconnected` comes when nothing came for 5 s; there it never comes"),
    ),
    line("C4", "an offer gives the answer; before it there is none", "", CONNECTION, Same),
    line(
        "C5",
        "lines 0 and 1 are answered `sendrecv` even with nothing to send, others `recvonly`",
        "2",
        CONNECTION,
        Better("each answers what is offered: one that is offered both ways is never `recvonly`"),
    ),
    line(
        "C6",
        "SCTP packets are short enough for a path of 1280 bytes",
        "1100",
        CONNECTION,
        Better("every datagram is: `Config::mtu`, 1150"),
    ),
    line(
        "C7",
        "max-bundle; a screen's keyframe of hundreds of packets is put together",
        "512 packets",
        CONNECTION,
        Same,
    ),
    line(
        "C8",
        "an offer without pictures, without sound or without a channel works",
        "",
        CONNECTION,
        Same,
    ),
    line(
        "L1",
        "`connected` and messages wait for `connect()`; then the client is asked to renegotiate, which forces a keyframe",
        "",
        CONNECTION,
        Better("`start()`: a PLI in place of a renegotiation, and nothing is told twice"),
    ),
    line(
        "L2",
        "messages before `connect()` wait without a limit",
        "none",
        CONNECTION,
        Better("1024 messages, 4 MiB; one more ends the call as `ApplicationTooSlow`"),
    ),
    line(
        "L3",
        "after the first ping a call is connected only while the last ping is young",
        "3 s",
        CONNECTION,
        Better("pings are one sign of life among others: a tab in the background keeps its call"),
    ),
    line(
        "L4",
        "a connection that is not made is closed",
        "60 s",
        CONNECTION,
        Better("15 s without a check of the peer, 60 s at most"),
    ),
    line(
        "L5",
        "lost consent closes the call",
        "24 to 36 s",
        CONNECTION,
        Better("`Disconnected` after 5 s, `Closed` after 15 s more"),
    ),
    line("L6", "`failed` closes, and what is closed leaves the map", "", HANDLER, Same),
    line(
        "L7",
        "`disconnect()` says `peerLeft` and closes",
        "",
        CONNECTION,
        Better("it waits, 2 s at most, until the word has arrived, and all before it"),
    ),
    line(
        "L8",
        "a new offer with a known `pc_id` is answered on the same connection",
        "",
        CONNECTION,
        Same,
    ),
    line(
        "L9",
        "`restart_pc` makes a new connection and a new `pc_id`",
        "",
        CONNECTION,
        Better(
            "the old one is freed at once, and sound is heard within 0.5 s of the new one's offer",
        ),
    ),
    line(
        "L10",
        "after an answer the server may not ask for an offer for a while",
        "2 s",
        CONNECTION,
        Better("by state: one wish until its offer comes, unsaid when that came first"),
    ),
    line("L11", "what a track sends is replaced without an offer", "", CONNECTION, Same),
    line(
        "M1",
        "messages before the channel opens wait",
        "50",
        CONNECTION,
        Better("the 51st is refused with the limit, not dropped"),
    ),
    line(
        "M2",
        "no channel in time: they are dropped, and so are later ones",
        "10 s",
        CONNECTION,
        Better("told (`MessagesDropped`, `NoChannel`), and a channel that opens after all is used"),
    ),
    line("M3", "they leave in order when the channel opens", "", CONNECTION, Same),
    line(
        "M4",
        "a text that begins with `ping` is a sign of life and no message",
        "",
        CONNECTION,
        Same,
    ),
    line(
        "M5",
        "`signalling` with a `message` is consumed, JSON without `type` and lists are lost",
        "",
        CONNECTION,
        Better("what is no signalling is the application's, whatever it is"),
    ),
    line(
        "M6",
        "`trackStatus` 0, 1, 2 switches that track; another index is ignored",
        "3",
        CONNECTION,
        Same,
    ),
    line(
        "M7",
        "what is sent piles up without a limit",
        "none",
        CONNECTION,
        Better("1 MiB and a write window; then `QueueFull`, and `MessagesDrained`"),
    ),
    line(
        "M8",
        "binary messages are read as JSON too",
        "",
        CONNECTION,
        Better("and those that are not go to the application"),
    ),
    line(
        "T1",
        "what comes before the first read is dropped undecoded",
        "",
        CONNECTION,
        Better("the newest second waits for 2 s"),
    ),
    line("T2", "a read switches the track on", "", CONNECTION, Same),
    line(
        "T3",
        "without a read it is switched off and what waits is discarded",
        "2 s",
        CONNECTION,
        Better("by media time, without a task that polls; 1 s waits at most"),
    ),
    line(
        "T4",
        "a picture of a track that is off reads as none, sound is read all the same",
        "",
        CONNECTION,
        Better("the flag is told (`Track::enabled`), and what comes is taken"),
    ),
    line(
        "T5",
        "old pictures are discarded when the application begins",
        "",
        CONNECTION,
        Better("they go up to a keyframe, and one is asked for"),
    ),
    line("T6", "a stopped track ends", "", CONNECTION, Same),
    line(
        "A1",
        "sound is taken in multiples of 10 ms, else an error; no bytes give a future that never ends",
        "10 ms",
        TRANSPORT,
        Better("any length; nothing is `Empty`"),
    ),
    line(
        "A2",
        "a future per piece ends with its last sample; never, when the call ends",
        "",
        TRANSPORT,
        Better("`AudioFinished` comes always, with what went out"),
    ),
    line(
        "A3",
        "paced by the wall clock from construction on; what was missed is sent at once",
        "10 ms",
        TRANSPORT,
        Better("from the first packet on, by the session's clock; a stall slips, nothing bursts"),
    ),
    line(
        "A4",
        "nothing to say: silence, or nothing and then a burst",
        "5 ms",
        TRANSPORT,
        Better("silence, DTX or nothing, and after any of them at its pace"),
    ),
    line(
        "A5",
        "at 22.05 and 11.025 kHz a sample in 400 is lost",
        "0.2 %",
        TRANSPORT,
        Better("to the sample"),
    ),
    line(
        "A6",
        "Opus packets of 20 ms, 50 a second, silence too",
        "20 ms",
        TRANSPORT,
        Better("10, 20, 40 or 60 ms, DTX"),
    ),
    line(
        "A7",
        "after an interruption up to 40 ms are still played, then there is a click",
        "40 ms",
        TRANSPORT,
        Better("`clear_audio`: a fade in the packet being built, and no speech after it"),
    ),
    line("A8", "each packet tells its level", "", TRANSPORT, Same),
    line(
        "V1",
        "pictures are RGB of a fixed size, queued without a limit",
        "1024 x 768",
        TRANSPORT,
        Refused(
            "the wire carries coded pictures, and coding one takes longer than an event loop may stand still: coded ones are taken, of any size, with limits",
        ),
    ),
    line(
        "V2",
        "bit rates of pictures are fixed",
        "0.25 to 3 Mbit/s",
        TRANSPORT,
        Better("whoever codes chooses; `KeyframeRequested` tells of the peer's wishes"),
    ),
    line(
        "X1",
        "a read waits, with a warning",
        "2 s",
        TRANSPORT,
        Better("a read never waits; `AudioReadable` tells"),
    ),
    line(
        "X2",
        "sound comes resampled, in frames that vary, and lost packets shorten time",
        "16 kHz, 20 ms",
        TRANSPORT,
        Better("the reader's rate and channels, to the sample, whatever is lost"),
    ),
    line(
        "X3",
        "a track that ended is waited for",
        "10 ms",
        TRANSPORT,
        Better("`TrackEnded`, `TrackStarted`"),
    ),
    line(
        "X4",
        "without a track or a frame the reader sleeps",
        "10 ms",
        TRANSPORT,
        Better("nothing polls: an idle call is due only for its checks"),
    ),
    line(
        "X5",
        "pictures come as RGB; another format ends the reader",
        "",
        TRANSPORT,
        Refused("as V1: pictures come coded, VP8 or H.264, and none ends a reader"),
    ),
    line("X6", "a write says whether it was taken", "", TRANSPORT, Better("or why not")),
    line("X7", "connected is told when tracks are there", "", TRANSPORT, Same),
    line(
        "X8",
        "disconnected is told only when the peer goes",
        "",
        TRANSPORT,
        Better("`CloseReason` says who"),
    ),
    line("X9", "input and output share a call: one connect, one end", "", TRANSPORT, Same),
    line(
        "X10",
        "pictures are sampled: all, on request, or so many a second",
        "30",
        TRANSPORT,
        Better("read at any pace: what was not read goes up to a keyframe"),
    ),
    line("X11", "sources are `microphone`, `camera`, `screenVideo`", "", TRANSPORT, Same),
    line(
        "X12",
        "sound is written in blocks of 40 ms, trailing ones padded; the pipeline's part: 2 s of silence before the end, events of the bot's speech",
        "4 x 10 ms, 2 s",
        BASE_OUTPUT,
        Better(
            "any block, the last packet is filled up; `AudioFinished` tells when the last word has left, so nothing has to be waited for. When the bot speaks is the application's to say (`RtviMessage::BotStartedSpeaking`)",
        ),
    ),
    line(
        "X13",
        "input begins with `client-ready`; the pipeline's part: an audio filter, and what is to be done when no sound comes",
        "",
        BASE_INPUT,
        Better(
            "`RtviEvent::ClientReady` tells, the bot answers when it is ready, and what came before `start()` waits. Filters and patience are the application's: it reads PCM, and no read waits",
        ),
    ),
    line(
        "X14",
        "messages while it closes are dropped",
        "",
        TRANSPORT,
        Better("refused with `Closed`"),
    ),
    line(
        "R1",
        "`pc_id` to connection, removed at the end",
        "",
        HANDLER,
        Better("the key from before a restart goes too"),
    ),
    line(
        "R2",
        "an error in the bot still gives an answer, and a call without a bot",
        "",
        HANDLER,
        Better("a call that nobody serves lives as long as its page, or as the handle of it"),
    ),
    line("R3", "candidates before the answer: 404", "404", HANDLER, Same),
    line(
        "R4",
        "`close()` ends all calls",
        "",
        HANDLER,
        Better("each by itself: none stops the others"),
    ),
    line(
        "R5",
        "a session of `/start` lives until its bot ends",
        "",
        RUNNER,
        Better("and one that is not used for 60 s is forgotten"),
    ),
    line("R6", "no limits", "", RUNNER, Better("of calls, sessions, and requests of an address")),
    line(
        "R7",
        "options: `--host`, `--port`, `-t`, `--ice-servers` and `PIPECAT_ICE_SERVERS`, `--allowed-origins`, `--esp32`, `-v`",
        "localhost:7860",
        RUNNER,
        Better(
            "a wrong one is named with what was expected; `--listen` is host and port, `RUST_LOG` says what is logged. There is one transport to choose, and every answer is as small as `--esp32` makes it",
        ),
    ),
    line("R8", "one process, one loop for all calls", "1", RUNNER, Better("shards: a loop a core")),
    line(
        "R9",
        "files of a bot are uploaded (`-u`) and downloaded (`-f`)",
        "50 MiB",
        RUNNER,
        Refused(
            "a call needs none, and the protocol has a word for it: `/start` gives no `fileUploadUrl`, as the original without `-u`, so no client offers a file",
        ),
    ),
    line(
        "H1",
        "empty or broken SDP: 200, and a ghost for ever",
        "for ever",
        HANDLER,
        Better("400, no call, nothing kept"),
    ),
    line(
        "H2",
        "SIGTERM with ghosts hangs",
        "15 minutes",
        RUNNER,
        Better("calls are told, and it ends within a bound"),
    ),
    line(
        "H3",
        "an offer whose peer never checks holds its place",
        "60 s",
        CONNECTION,
        Better("15 s"),
    ),
    line(
        "H4",
        "`restart_pc` leaves the old `pc_id` in the map",
        "for ever",
        HANDLER,
        Better("it goes at once, but for a restart whose answer was lost"),
    ),
    line("H5", "a broken candidate: 500", "500", HANDLER, Better("400, the candidate named")),
    line(
        "H6",
        "an unknown `pc_id`: 404, or 400 under `/sessions`",
        "404",
        RUNNER,
        Better("404 under both"),
    ),
    line("H7", "unknown fields, no candidates, mDNS: 200", "200", HANDLER, Same),
    line("H8", "no `sdp`, no JSON: 422", "422", RUNNER, Better("400, the field named")),
    line(
        "H9",
        "a tab in the background falls silent after its last ping",
        "5 s",
        CONNECTION,
        Better("sound and messages flow on"),
    ),
    line(
        "H10",
        "`[]`, `{}`, noise on the channel: logged",
        "",
        CONNECTION,
        Better("the application's, or counted; the call lives"),
    ),
    line("H11", "`trackStatus` off has no effect on sound", "", CONNECTION, Same),
    line(
        "H12",
        "a client that stops sending gets silence",
        "50 a second",
        CONNECTION,
        Better("without warnings"),
    ),
];
