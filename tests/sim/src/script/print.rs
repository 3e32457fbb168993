//! A script as the text of a test.

use std::fmt::{self, Debug};

use super::{Network, Script};

/// The longest line (rustfmt.toml).
const WIDTH: usize = 100;

impl fmt::Display for Script {
    /// A whole `#[test]` function that runs the script, in rustfmt's style: paste it into a file
    /// of tests.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.body();
        writeln!(f, "#[test]\nfn a_call_that_was_found() {{")?;
        let types = ["AudioIdle", "PacketTime"].map(|name| text.contains(name).then_some(name));
        let types: Vec<_> = types.into_iter().flatten().collect();
        match types[..] {
            [] => {}
            [one] => writeln!(f, "    use smallrtc::{one};")?,
            _ => writeln!(f, "    use smallrtc::{{{}}};", types.join(", "))?,
        }
        let own =
            ["Act", "Network"].map(|name| text.contains(&format!("{name}::")).then_some(name));
        let own: Vec<_> = own.into_iter().flatten().chain(["Script"]).collect();
        writeln!(f, "    use smallrtc_sim::Kind;")?;
        match own[..] {
            [one] => writeln!(f, "    use smallrtc_sim::script::{one};")?,
            _ => writeln!(f, "    use smallrtc_sim::script::{{{}}};", own.join(", "))?,
        }
        write!(f, "\n{text}}}\n")
    }
}

impl Script {
    fn body(&self) -> String {
        let plain = Script::new(self.kind, self.seed);
        let new = format!("Script::new(Kind::{:?}, {})", self.kind, self.seed);
        let mut fields = Vec::new();
        let mut field = |name: &str, differs: bool, value: String| {
            if differs {
                fields.push(format!("{name}: {value}"));
            }
        };
        field("up", self.up != plain.up, self.up.text(13));
        field("down", self.down != plain.down, self.down.text(15));
        field("mtu", self.mtu != plain.mtu, self.mtu.to_string());
        field("idle", self.idle != plain.idle, format!("AudioIdle::{:?}", self.idle));
        let packet_time = format!("PacketTime::{:?}", self.packet_time);
        field("packet_time", self.packet_time != plain.packet_time, packet_time);
        field("starts", self.starts != plain.starts, self.starts.to_string());
        field("shuffles", self.shuffles != plain.shuffles, self.shuffles.to_string());
        field("dawdles", self.dawdles != plain.dawdles, self.dawdles.to_string());
        field("acts", !self.acts.is_empty(), "acts".to_owned());
        let mut text = String::new();
        if !self.acts.is_empty() {
            text = self.list();
        }
        if fields.is_empty() {
            return format!("{text}    {new}.run();\n");
        }
        // A field that is named as its variable is not said twice.
        let fields: Vec<_> =
            fields.iter().map(|field| field.replace("acts: acts", "acts")).collect();
        let literal = braced("Script", &fields, Some(&new), "    let script = ".len() + 1, 4);
        format!("{text}    let script = {literal};\n    script.run();\n")
    }

    /// The acts: in one line where they fit, else one a line.
    fn list(&self) -> String {
        let acts: Vec<_> = self.acts.iter().map(|act| format!("Act::{}", self.act(act))).collect();
        let line = format!("    let acts = vec![{}];\n", acts.join(", "));
        if line.len() <= WIDTH + 1 && line.lines().count() == 1 {
            return line;
        }
        let lines: String = acts.iter().map(|act| format!("        {act},\n")).collect();
        format!("    let acts = vec![\n{lines}    ];\n")
    }

    fn act(&self, act: &super::Act) -> String {
        match act {
            super::Act::LinksAre(network) => format!("LinksAre({})", network.text(24)),
            other => format!("{other:?}"),
        }
    }
}

impl Network {
    /// As a literal in a line with so many other characters: what differs from a clean link.
    fn text(&self, column: usize) -> String {
        if *self == Network::CLEAN {
            return "Network::CLEAN".to_owned();
        }
        let mut fields = Vec::new();
        let clean = Network::CLEAN;
        let mut field = |name: &str, value: &dyn Debug, plain: &dyn Debug| {
            let (value, plain) = (format!("{value:?}"), format!("{plain:?}"));
            if value != plain {
                fields.push(format!("{name}: {value}"));
            }
        };
        field("delay_ms", &self.delay_ms, &clean.delay_ms);
        field("jitter_ms", &self.jitter_ms, &clean.jitter_ms);
        field("loss_percent", &self.loss_percent, &clean.loss_percent);
        field("duplicate_percent", &self.duplicate_percent, &clean.duplicate_percent);
        field("reorder_percent", &self.reorder_percent, &clean.reorder_percent);
        field("rate_kbit", &self.rate_kbit, &clean.rate_kbit);
        // With nothing left to take from another, a base would be too much.
        let base = if fields.len() < 6 { Some("Network::CLEAN") } else { None };
        braced("Network", &fields, base, column, 8)
    }
}

/// A literal in one line where it fits, else a field a line.
fn braced(
    name: &str,
    fields: &[String],
    base: Option<&str>,
    column: usize,
    indent: usize,
) -> String {
    let base = base.map(|base| format!("..{base}"));
    let all: Vec<_> = fields.iter().chain(&base).map(String::as_str).collect();
    let line = format!("{name} {{ {} }}", all.join(", "));
    if column + line.len() <= WIDTH && !line.contains('\n') {
        return line;
    }
    let outer = " ".repeat(indent);
    let mut text = format!("{name} {{\n");
    for field in fields {
        text.push_str(&format!("{outer}    {field},\n"));
    }
    text.extend(base.map(|base| format!("{outer}    {base}\n")));
    text.push_str(&format!("{outer}}}"));
    text
}
