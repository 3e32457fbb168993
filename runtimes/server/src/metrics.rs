//! Every figure of a server as text that Prometheus reads (exposition format 0.0.4).
//!
//! Each field of the structs of figures becomes one line for each shard, so that none is
//! forgotten: `HandleStats::endpoint.sessions_closed` is `smallrtc_endpoint_sessions_closed_total`.
//! Names begin with `smallrtc_`; what never falls ends in `_total`; times are in seconds, lengths
//! in bytes, shares between 0 and 1, and all else is a number of things. What belongs to a shard
//! has the label `shard`, counted from 0. What calls counted is the sum over all that there ever
//! were.

use std::fmt::Write;

use smallrtc::figures::{Figure, Kind, Unit, Value};
use smallrtc_smol::HandleStats;

use crate::http::HttpStats;

/// The header `content-type` of the text.
pub(crate) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Of how many deadlines out of 1 the lateness is told.
const QUANTILES: [f64; 4] = [0.5, 0.9, 0.99, 1.0];

/// All figures. A shard that is gone has none.
pub(crate) fn write(shards: &[Option<HandleStats>], http: &HttpStats) -> String {
    let mut text = String::new();
    let told: Vec<(usize, Vec<Figure>)> =
        there(shards).map(|(shard, stats)| (shard, figures(stats, ""))).collect();
    for (index, about) in figures(&HandleStats::default(), "").iter().enumerate() {
        let name = head_of(&mut text, about);
        for (shard, figures) in &told {
            if let Some(value) = figures.get(index).and_then(|figure| figure.value) {
                line(&mut text, &name, &format!("{{shard=\"{shard}\"}}"), value);
            }
        }
    }
    write_lateness(&mut text, shards);
    for figure in figures(http, "http") {
        let name = head_of(&mut text, &figure);
        line(&mut text, &name, "", figure.value.unwrap_or_default());
    }
    text
}

/// The figures of a struct, always in the same order.
fn figures(stats: &impl Value, name: &str) -> Vec<Figure> {
    let mut figures = Vec::new();
    stats.tell(name, "", Kind::Gauge, &mut |figure| figures.push(figure));
    figures
}

/// Says what the lines of a figure are, and gives the name that they begin with.
fn head_of(text: &mut String, figure: &Figure) -> String {
    let unit = match figure.unit {
        Unit::Seconds => "_seconds",
        Unit::Ratio => "_ratio",
        _ => "",
    };
    let (total, kind) = match figure.kind {
        Kind::Counter => ("_total", "counter"),
        _ => ("", "gauge"),
    };
    let name = format!("smallrtc_{}{unit}{total}", figure.name);
    // The marks of documentation mean nothing here.
    let help = figure.help.trim().replace(['[', ']', '`'], "");
    head(text, &name, &help, kind);
    name
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
    use std::time::Duration;

    use super::*;

    #[test]
    fn figures_have_the_names_that_monitors_know_them_by() {
        let text = write(&[Some(HandleStats::default())], &HttpStats::default());
        for line in [
            "sessions gauge",
            "room gauge",
            "is_draining gauge",
            "calls_refused_total counter",
            "calls_messages_refused_total counter",
            "calls_audio_slipped_seconds_total counter",
            "calls_rtt_seconds gauge",
            "calls_loss_sent_ratio gauge",
            "endpoint_sessions_refused_total counter",
            "endpoint_closed_never_connected_total counter",
            "signaling_refused_rate_total counter",
            "signaling_clients gauge",
            "signaling_starts_waiting gauge",
            "signaling_offers_waiting gauge",
            "sockets_strangers_refused_total counter",
            "forward_addresses gauge",
            "forward_addresses_evicted_total counter",
            "turn_lateness_seconds summary",
            "http_requests_too_large_total counter",
        ] {
            assert!(text.contains(&format!("\n# TYPE smallrtc_{line}\n")), "{line} in {text}");
        }
        let help = "# HELP smallrtc_is_draining Whether it takes no new ones, because it is about \
            to end (Handle::drain).\n";
        assert!(text.contains(help), "{text}");
    }

    #[test]
    fn no_name_is_told_twice() {
        let text = write(&[Some(HandleStats::default())], &HttpStats::default());
        let mut names: Vec<&str> =
            text.lines().filter_map(|line| line.strip_prefix("# TYPE ")).collect();
        assert!(names.len() > 90, "{}", names.len());
        names.sort_unstable();
        let all = names.len();
        names.dedup();
        assert_eq!(names.len(), all);
    }

    #[test]
    fn each_line_has_a_name_labels_and_a_number() {
        let mut stats = HandleStats::default();
        stats.sessions = 3;
        stats.lateness.record(Duration::from_millis(2));
        stats.calls.rtt = Some(Duration::from_millis(250));
        let text = write(&[Some(stats), None, Some(HandleStats::default())], &HttpStats::default());
        assert!(text.contains("\nsmallrtc_sessions{shard=\"0\"} 3\n"), "{text}");
        assert!(text.contains("\nsmallrtc_sessions{shard=\"2\"} 0\n"), "{text}");
        assert!(!text.contains("shard=\"1\""), "a shard that is gone");
        assert!(text.contains("\nsmallrtc_calls_rtt_seconds{shard=\"0\"} 0.25\n"), "{text}");
        assert!(!text.contains("rtt_seconds{shard=\"2\"}"), "it was not measured");
        assert!(text.contains("smallrtc_turn_lateness_seconds_count{shard=\"0\"} 1\n"), "{text}");
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let (name, value) = line.rsplit_once(' ').unwrap();
            assert!(name.starts_with("smallrtc_") && value.parse::<f64>().is_ok(), "{line}");
        }
    }
}
