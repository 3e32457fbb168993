//! The panels under one time axis: what each draws, and what it says instead where the log tells
//! nothing.

use plotters::style::RGBColor;
use smallrtc::record::Detail;

use super::call::Call;
use super::series::{Bars, Point, Series};

pub(super) const BLUE: RGBColor = RGBColor(0x2f, 0x6f, 0xb0);
pub(super) const ORANGE: RGBColor = RGBColor(0xd9, 0x82, 0x2b);
pub(super) const RED: RGBColor = RGBColor(0xc2, 0x3b, 0x3b);

/// One panel.
#[derive(Debug)]
pub(super) struct Panel {
    pub(super) title: &'static str,
    /// In their order, with the colour of what they explain.
    pub(super) legend: Vec<(Option<RGBColor>, String)>,
    pub(super) curves: Vec<Curve>,
    /// Why there is nothing to draw.
    pub(super) absent: Option<String>,
}

/// What is drawn in a panel.
#[derive(Debug)]
pub(super) struct Curve {
    pub(super) colour: RGBColor,
    pub(super) form: Form,
    pub(super) points: Vec<Point>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Form {
    /// A value stays until the next one.
    Steps,
    /// The same, filled down to zero.
    Filled,
    /// Values, joined.
    Line,
    /// Values, not joined.
    Dots,
    /// From zero, each so many seconds wide.
    Bars(f64),
}

/// All panels, from the top.
pub(super) fn panels(call: &Call, media: Detail) -> Vec<Panel> {
    vec![
        waiting(call),
        pacing(call),
        loss(call),
        missing(call),
        round_trip(call),
        messages(call),
        channel(call),
        datagrams(call, media),
    ]
}

impl Panel {
    fn new(title: &'static str) -> Panel {
        Panel { title, legend: Vec::new(), curves: Vec::new(), absent: None }
    }

    fn absent(title: &'static str, why: impl Into<String>) -> Panel {
        Panel { absent: Some(why.into()), ..Panel::new(title) }
    }

    fn curve(&mut self, colour: RGBColor, form: Form, points: Vec<Point>, text: String) {
        self.curves.push(Curve { colour, form, points });
        self.legend.push((Some(colour), text));
    }

    fn note(&mut self, text: impl Into<String>) {
        self.legend.push((None, text.into()));
    }
}

fn waiting(call: &Call) -> Panel {
    let title = "Sound waiting to be sent, ms";
    let Some(most) = call.waiting.highest() else {
        return Panel::absent(title, "no sound was given to be sent as PCM");
    };
    let mut panel = Panel::new(title);
    let text = format!("at most {}", at(most, "ms"));
    panel.curve(BLUE, Form::Filled, call.waiting.points(), text);
    panel
}

fn pacing(call: &Call) -> Panel {
    let title = "Pacing: packets of sound after their place on the grid, ms";
    let (Some(latest), Some(earliest)) = (call.late.highest(), call.late.lowest()) else {
        return Panel::absent(title, "no packet of PCM was made");
    };
    let mut panel = Panel::new(title);
    let count = call.late.count();
    let text = format!("{count} packets, the latest {}", at(latest, "ms"));
    panel.curve(BLUE, Form::Line, call.late.points(), text);
    if earliest.1 < 0.0 {
        panel.note(format!("ahead of its place after a slip: {}", at(earliest, "ms")));
    }
    if let (Some(least), Some(most)) = (call.spacing.lowest(), call.spacing.highest()) {
        panel.note(format!("apart {} to {} ms", number(least.1), number(most.1)));
    }
    if call.refused.count() > 0 {
        let text = format!("{} not taken by the transport", call.refused.count());
        panel.curve(RED, Form::Dots, call.refused.points(), text);
    }
    panel
}

fn loss(call: &Call) -> Panel {
    let title = "Loss as reported, %";
    let reports = [("of ours", BLUE, &call.loss_sent), ("of theirs", ORANGE, &call.loss_received)];
    if reports.iter().all(|(_, _, series)| series.count() == 0) {
        return Panel::absent(title, "the transport reported none");
    }
    let mut panel = Panel::new(title);
    for (whose, colour, series) in reports {
        report(&mut panel, whose, colour, series, "%");
    }
    panel
}

/// What a report averages away, and what is lost where none is made: a hole of a second.
fn missing(call: &Call) -> Panel {
    let title = "Packets of theirs with sound that had not come when a later one did";
    let missing = &call.missing;
    if missing.count() == 0 {
        return Panel::absent(title, "none");
    }
    let mut panel = Panel::new(title);
    let text = format!("{:.0} packets", missing.total());
    panel.curve(RED, Form::Bars(missing.seconds()), missing.bars(1.0), text);
    panel.note(format!("in each {}", interval(missing)));
    panel
}

fn round_trip(call: &Call) -> Panel {
    let title = "Round trip, and jitter of their packets, ms";
    if call.rtt.count() + call.jitter.count() == 0 {
        return Panel::absent(title, "the transport reported neither");
    }
    let mut panel = Panel::new(title);
    report(&mut panel, "round trip", BLUE, &call.rtt, "ms");
    report(&mut panel, "jitter", ORANGE, &call.jitter, "ms");
    panel
}

/// What the transport reported now and then, or that it did not.
fn report(panel: &mut Panel, what: &str, colour: RGBColor, series: &Series, unit: &str) {
    match series.highest() {
        Some(most) => {
            let is_any = most.1 > 0.0;
            let text = if is_any { at(most, unit) } else { format!("0 {unit}") };
            let text = format!("{what} at most {text}");
            panel.curve(colour, Form::Line, series.points(), text);
        }
        None => panel.note(format!("{what}: not reported")),
    }
}

fn messages(call: &Call) -> Panel {
    let title = "Messages, received upwards, sent downwards";
    let (received, sent) = (&call.messages_in, &call.messages_out);
    if received.count() + sent.count() == 0 {
        return Panel::absent(title, "no message came or went");
    }
    let mut panel = Panel::new(title);
    let own = call.messages_in_own;
    let text = format!("{} received, {own} for the application", received.count());
    panel.curve(BLUE, Form::Bars(received.seconds()), received.bars(1.0), text);
    let text = format!("{} sent", sent.count());
    panel.curve(ORANGE, Form::Bars(sent.seconds()), sent.bars(-1.0), text);
    panel.note(format!("in each {}", interval(received)));
    panel
}

fn channel(call: &Call) -> Panel {
    let title = "Messages waiting, bytes";
    let mut panel = Panel::new(title);
    for (series, colour, what) in [
        (&call.outbox, ORANGE, "in front of the channel"),
        (&call.buffered, BLUE, "handed over and not acknowledged"),
    ] {
        match series.highest().filter(|most| most.1 > 0.0) {
            Some(most) => {
                let text = format!("{what} at most {}", at(most, "B"));
                panel.curve(colour, Form::Steps, series.points(), text);
            }
            None => panel.note(format!("{what}: none")),
        }
    }
    if panel.curves.is_empty() {
        return Panel::absent(title, "no message waited");
    }
    panel
}

fn datagrams(call: &Call, media: Detail) -> Panel {
    let title = "Datagrams, kbit/s";
    let (received, sent) = (&call.datagrams_in, &call.datagrams_out);
    let (unread, unsent) = call.unmeasured;
    if unread + unsent > 0 {
        let left_out = format!("their lengths are not in this log: media {}", media.name());
        return Panel::absent(title, format!("{unread} received, {unsent} sent; {left_out}"));
    }
    if received.count() + sent.count() == 0 {
        return Panel::absent(title, "no datagram came or went");
    }
    let mut panel = Panel::new(title);
    for (bars, colour, what) in [(received, BLUE, "received"), (sent, ORANGE, "sent")] {
        let rate = bars.bars(8.0 / 1_000.0 / bars.seconds());
        let text = format!("{} {what}, {:.1} kB", bars.count(), bars.total() / 1_000.0);
        panel.curve(colour, Form::Steps, rate, text);
    }
    panel.note(format!("in each {}", interval(received)));
    panel
}

/// The time of a bar in words.
fn interval(bars: &Bars) -> String {
    format!("{} ms", number(bars.seconds() * 1e3))
}

/// A value with its unit and its time.
fn at(point: Point, unit: &str) -> String {
    let space = if unit == "%" { "" } else { " " };
    format!("{}{space}{unit} at {:.2} s", number(point.1), point.0)
}

/// A number in as many digits as one reads.
pub(super) fn number(value: f64) -> String {
    let digits = match value.abs() {
        size if size >= 100.0 => 0,
        size if size >= 10.0 => 1,
        _ => 2,
    };
    let text = format!("{value:.digits$}");
    let text =
        if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    // A little less than nothing is nothing.
    if text == "-0" { "0".to_owned() } else { text.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::number;

    #[test]
    fn numbers_are_short() {
        for (value, text) in [
            (0.0, "0"),
            (-0.001, "0"),
            (0.5, "0.5"),
            (12.34, "12.3"),
            (100.0, "100"),
            (1234.5, "1234"),
            (-20.0, "-20"),
        ] {
            assert_eq!(number(value), text);
        }
    }
}
