//! Every figure of a server as text that Prometheus reads (exposition format 0.0.4).
//!
//! Names begin with `smallrtc_`; what only grows ends in `_total`; times are in seconds, lengths in
//! bytes, shares between 0 and 1, and all else is a number of things. What belongs to a shard has
//! the label `shard`, counted from 0. The figures of single calls are there as sums over the calls
//! that are open, and so may fall: `smallrtc_open_calls_`.

use std::fmt::Write;
use std::time::Duration;

use smallrtc::signaling::SignalingStats;
use smallrtc::{EndpointStats, Stats};
use smallrtc_smol::HandleStats;
use smallrtc_udp::{ForwardStats, SocketStats};

use crate::http::HttpStats;

/// The header `content-type` of the text.
pub(crate) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Of how many deadlines out of 1 the lateness is told.
const QUANTILES: [f64; 4] = [0.5, 0.9, 0.99, 1.0];

/// A figure of a shard.
struct Figure<S: 'static> {
    name: &'static str,
    help: &'static str,
    kind: &'static str,
    /// `None` while it was not measured.
    value: fn(&S) -> Option<f64>,
}

/// Figures that only grow, named after their fields.
macro_rules! counters {
    ($prefix:literal, $stats:ty, $of:ident: $($field:ident $help:literal,)*) => {
        &[$(Figure {
            name: concat!("smallrtc_", $prefix, stringify!($field), "_total"),
            help: $help,
            kind: "counter",
            value: |stats: &$stats| Some($of(stats).$field as f64),
        }),*]
    };
}

/// Figures that rise and fall, named after their fields.
macro_rules! gauges {
    ($prefix:literal, $stats:ty, $of:ident: $($field:ident $help:literal,)*) => {
        &[$(Figure {
            name: concat!("smallrtc_", $prefix, stringify!($field)),
            help: $help,
            kind: "gauge",
            value: |stats: &$stats| Some($of(stats).$field as f64),
        }),*]
    };
}

const SHARD: &[Figure<HandleStats>] = &[
    Figure {
        name: "smallrtc_sessions",
        help: "Calls that are open.",
        kind: "gauge",
        value: |stats| Some(stats.sessions as f64),
    },
    Figure {
        name: "smallrtc_room",
        help: "Calls that would be taken now.",
        kind: "gauge",
        value: |stats| Some(stats.room as f64),
    },
    Figure {
        name: "smallrtc_is_draining",
        help: "1 while no new call is taken because the server is about to end.",
        kind: "gauge",
        value: |stats| Some(f64::from(u8::from(stats.is_draining))),
    },
    Figure {
        name: "smallrtc_calls_refused_total",
        help: "Calls that were closed because nobody accepted them in time.",
        kind: "counter",
        value: |stats| Some(stats.calls_refused as f64),
    },
];

const ENDPOINT: &[Figure<HandleStats>] = counters!("endpoint_", HandleStats, endpoint:
    sessions_accepted "Sessions that were made.",
    sessions_refused "Offers refused because the endpoint was full.",
    sessions_closed "Sessions that ended.",
    datagrams_unroutable "Datagrams that belong to no session.",
    datagrams_malformed "Datagrams that are nothing that WebRTC sends.",
    datagrams_not_mine "Datagrams for another shard.",
    requests_forged "STUN requests that were not made with the session's password.",
    addresses_refused "Addresses refused: too many, or another session's.",
    addresses_evicted "Addresses that made room for a newer one.",
    local_candidates_refused "Local candidates ignored because there were too many.",
);

const SIGNALING: &[Figure<HandleStats>] = counters!("signaling_", HandleStats, signaling:
    requests "Requests of any kind.",
    calls "Offers that made a call.",
    calls_replaced "Offers that made a call in the place of another.",
    renegotiations "Offers that an existing call answered.",
    trickles "Requests whose candidates were taken.",
    trickles_held "Of those, answers that waited for a restarted call.",
    starts "Sessions that /start made.",
    starts_expired "Sessions of /start that nobody used in time.",
    preflights "Preflights that were answered with yes.",
    origins_refused "Preflights from an origin that is not allowed.",
    waits "Offers that had to wait for local candidates.",
    waits_timed_out "Offers that waited as long as they may.",
    waits_cancelled "Offers that nobody waited for any more.",
    refused_malformed "400: requests that cannot be read or served.",
    refused_single "400: another call is there already.",
    refused_path "404: no such path.",
    refused_unknown "404: no such call or session.",
    refused_method "405.",
    refused_too_large "413.",
    refused_rate "429: the client asks too often.",
    refused_full "503: no room.",
    refused_waiting "503: too many offers wait for local candidates.",
    refused_starts "503: too many sessions of /start wait.",
    refused_draining "503: the server is about to end.",
    clients_evicted "Clients that are no longer counted because there were too many.",
);

const SIGNALING_NOW: &[Figure<HandleStats>] = gauges!("signaling_", HandleStats, signaling:
    clients "Clients whose requests are counted.",
    starts_waiting "Sessions of /start that wait for their offer.",
    offers_waiting "Requests whose response is still to come.",
);

const SOCKETS: &[Figure<HandleStats>] = counters!("sockets_", HandleStats, sockets:
    received "Datagrams received.",
    receive_errors "Errors of the system while receiving.",
    sent "Datagrams handed to the kernel.",
    sends "System calls in which that was tried.",
    send_errors "Datagrams that the kernel refused: lost.",
    send_waits "How often a datagram had to wait for room.",
    waiting_overflowed "Datagrams lost because too many waited.",
    waiting_expired "Datagrams lost because they waited too long.",
    strangers_refused "Datagrams to addresses never heard from, lost because they were too many.",
);

const FORWARD: &[Figure<HandleStats>] = counters!("forward_", HandleStats, forward:
    handed "Datagrams given to other shards.",
    dropped "Datagrams and proofs lost on the way to other shards.",
    taken "Datagrams taken from other shards.",
    misdirected "Datagrams of other shards that no socket here could have received.",
    foreign "Datagrams for another node, or for no shard: dropped.",
    addresses_evicted "Addresses that made room for a newer one.",
);

const FORWARD_NOW: &[Figure<HandleStats>] = gauges!("forward_", HandleStats, forward:
    addresses "Addresses that lead to other shards.",
);

const OPEN_CALLS: &[Figure<HandleStats>] = gauges!("open_calls_", HandleStats, open_calls:
    datagrams_received "Datagrams taken.",
    datagrams_malformed "Datagrams that were nothing that WebRTC sends.",
    datagrams_sent "Datagrams handed out.",
    bytes_received "Bytes of the datagrams taken.",
    bytes_sent "Bytes of the datagrams handed out.",
    messages_received "Application messages given to the application.",
    messages_sent "Application messages handed to the channel.",
    messages_dropped "Messages given up.",
    messages_refused "Messages refused at a limit.",
    messages_noise "Messages that meant nothing.",
    pings "Pings of the peers.",
    candidates_refused "Remote candidates refused at the limit.",
    audio_refused "Pieces of audio refused because the queue was full.",
    audio_packets_sent "Audio packets handed to the wire.",
    audio_packets_received "Audio packets that arrived.",
    audio_packets_duplicate "Audio packets that came twice.",
    audio_packets_late "Audio packets that came too late.",
    audio_packets_malformed "Audio packets that could not be read.",
    audio_restarts "How often a peer's audio began anew.",
    audio_concealed_samples "Samples at 48 kHz that were concealed.",
    audio_silence_samples "Samples at 48 kHz filled with silence.",
    audio_dropped_samples "Samples at 48 kHz dropped unread.",
    audio_slips "How often the pacing clock slipped.",
    encoded_received "Coded frames that arrived.",
    encoded_dropped "Coded frames dropped unread.",
    encoded_sent "Coded frames handed to the wire.",
    media_dropped "Media frames dropped because the transmit queue was full.",
    keyframes_requested "Keyframes asked of the peers.",
    calls_unrecorded "Inputs that are not in a log.",
);

/// What is no plain number of things: times, and the worst of what was measured.
const OPEN_CALLS_MEASURED: &[Figure<HandleStats>] = &[
    measured("smallrtc_open_calls_audio_slipped_seconds", "Sound not sent for slips.", |stats| {
        Some(stats.open_calls.audio_slipped.as_secs_f64())
    }),
    measured("smallrtc_open_calls_rtt_seconds", "The longest round trip.", |stats| {
        seconds(stats.open_calls.rtt)
    }),
    measured("smallrtc_open_calls_loss_sent_ratio", "The largest loss on the way out.", |stats| {
        stats.open_calls.loss_sent.map(f64::from)
    }),
    measured("smallrtc_open_calls_loss_received_ratio", "The largest loss on the way in.", |it| {
        it.open_calls.loss_received.map(f64::from)
    }),
    measured("smallrtc_open_calls_jitter_received_seconds", "The largest jitter.", |stats| {
        seconds(stats.open_calls.jitter_received)
    }),
];

const HTTP: &[Figure<HttpStats>] = counters!("http_", HttpStats, http:
    connections "Connections that were taken.",
    connections_refused "Connections closed because there were too many.",
    accept_errors "Connections that the system could not give.",
    handshakes_failed "TLS handshakes that failed or took too long.",
    requests "Requests.",
    requests_late "408: requests that took too long.",
    requests_too_large "413: requests refused before their body was read.",
    connections_broken "Connections that ended early.",
);

fn endpoint(stats: &HandleStats) -> &EndpointStats {
    &stats.endpoint
}

fn signaling(stats: &HandleStats) -> &SignalingStats {
    &stats.signaling
}

fn sockets(stats: &HandleStats) -> &SocketStats {
    &stats.sockets
}

fn forward(stats: &HandleStats) -> &ForwardStats {
    &stats.forward
}

fn open_calls(stats: &HandleStats) -> &Stats {
    &stats.open_calls
}

fn http(stats: &HttpStats) -> &HttpStats {
    stats
}

const fn measured(
    name: &'static str,
    help: &'static str,
    value: fn(&HandleStats) -> Option<f64>,
) -> Figure<HandleStats> {
    Figure { name, help, kind: "gauge", value }
}

fn seconds(time: Option<Duration>) -> Option<f64> {
    time.map(|time| time.as_secs_f64())
}

/// All figures. A shard that is gone has none.
pub(crate) fn write(shards: &[Option<HandleStats>], http: &HttpStats) -> String {
    let mut text = String::new();
    for figures in [
        SHARD,
        ENDPOINT,
        SIGNALING,
        SIGNALING_NOW,
        SOCKETS,
        FORWARD,
        FORWARD_NOW,
        OPEN_CALLS,
        OPEN_CALLS_MEASURED,
    ] {
        for figure in figures {
            head(&mut text, figure.name, figure.help, figure.kind);
            for (shard, stats) in there(shards) {
                if let Some(value) = (figure.value)(stats) {
                    line(&mut text, figure.name, &format!("{{shard=\"{shard}\"}}"), value);
                }
            }
        }
    }
    write_lateness(&mut text, shards);
    for figure in HTTP {
        head(&mut text, figure.name, figure.help, figure.kind);
        line(&mut text, figure.name, "", (figure.value)(http).unwrap_or_default());
    }
    text
}

fn write_lateness(text: &mut String, shards: &[Option<HandleStats>]) {
    const NAME: &str = "smallrtc_turn_lateness_seconds";
    head(text, NAME, "How late turns were, each against its earliest deadline.", "summary");
    for (shard, stats) in there(shards) {
        let lateness = &stats.lateness;
        for part in QUANTILES {
            let labels = format!("{{shard=\"{shard}\",quantile=\"{part}\"}}");
            line(text, NAME, &labels, lateness.quantile(part).as_secs_f64());
        }
        let labels = format!("{{shard=\"{shard}\"}}");
        let sum: f64 = lateness.iter().map(|(late, times)| late.as_secs_f64() * times as f64).sum();
        line(text, &format!("{NAME}_sum"), &labels, sum);
        line(text, &format!("{NAME}_count"), &labels, lateness.count() as f64);
    }
}

fn there(shards: &[Option<HandleStats>]) -> impl Iterator<Item = (usize, &HandleStats)> {
    shards.iter().enumerate().filter_map(|(index, stats)| Some((index, stats.as_ref()?)))
}

fn head(text: &mut String, name: &str, help: &str, kind: &str) {
    writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}").expect("text takes everything");
}

fn line(text: &mut String, name: &str, labels: &str, value: f64) {
    writeln!(text, "{name}{labels} {value}").expect("text takes everything");
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The names of a struct's fields, as it is written for debugging.
    fn fields(debug: &str) -> Vec<String> {
        let words = debug.split(['{', ',', '}']).filter_map(|part| part.split_once(':'));
        words.map(|(name, _)| name.trim().to_owned()).collect()
    }

    #[test]
    fn every_figure_that_there_is_is_told() {
        let stats = HandleStats::default();
        let text = write(&[Some(stats.clone())], &HttpStats::default());
        for (prefix, debug) in [
            ("endpoint_", format!("{:?}", stats.endpoint)),
            ("signaling_", format!("{:?}", stats.signaling)),
            ("sockets_", format!("{:?}", stats.sockets)),
            ("forward_", format!("{:?}", stats.forward)),
            ("open_calls_", format!("{:?}", stats.open_calls)),
            ("http_", format!("{:?}", HttpStats::default())),
        ] {
            let fields = fields(&debug);
            assert!(fields.len() >= 6, "{debug}");
            for field in fields {
                let name = format!("# TYPE smallrtc_{prefix}{field}");
                let told = text.lines().filter_map(|line| line.strip_prefix(&name));
                let units = ["_total counter", " gauge", "_seconds gauge", "_ratio gauge"];
                let told: Vec<&str> = told.filter(|rest| units.contains(rest)).collect();
                assert_eq!(told.len(), 1, "{prefix}{field}: {told:?}");
            }
        }
        for name in ["sessions", "room", "is_draining", "calls_refused_total"] {
            assert!(text.contains(&format!("\nsmallrtc_{name}{{shard=\"0\"}} 0\n")), "{name}");
        }
    }

    #[test]
    fn each_line_has_a_name_labels_and_a_number() {
        let mut stats = HandleStats::default();
        stats.sessions = 3;
        stats.lateness.record(Duration::from_millis(2));
        stats.open_calls.rtt = Some(Duration::from_millis(250));
        let text = write(&[Some(stats), None, Some(HandleStats::default())], &HttpStats::default());
        assert!(text.contains("\nsmallrtc_sessions{shard=\"0\"} 3\n"), "{text}");
        assert!(text.contains("\nsmallrtc_sessions{shard=\"2\"} 0\n"), "{text}");
        assert!(!text.contains("shard=\"1\""), "a shard that is gone");
        assert!(text.contains("\nsmallrtc_open_calls_rtt_seconds{shard=\"0\"} 0.25\n"), "{text}");
        assert!(!text.contains("rtt_seconds{shard=\"2\"}"), "it was not measured");
        assert!(text.contains("smallrtc_turn_lateness_seconds_count{shard=\"0\"} 1\n"), "{text}");
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let (name, value) = line.rsplit_once(' ').unwrap();
            assert!(name.starts_with("smallrtc_") && value.parse::<f64>().is_ok(), "{line}");
        }
    }
}
