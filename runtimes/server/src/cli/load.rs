//! What `smallrtc load` takes.

use std::time::Duration;

use clap::Args;
use smallrtc_server::load;

/// The arguments of `load`.
#[derive(Debug, Args)]
pub(crate) struct Load {
    /// The server: the address of its page, or of its signalling where that is not at
    /// `/api/offer`.
    #[arg(value_name = "URL")]
    url: String,
    /// How many calls.
    #[arg(long, value_name = "N", default_value_t = 1)]
    calls: usize,
    /// How long all calls last together, after the last has connected: `10s`, `500ms`, `2m`.
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = duration)]
    duration: Duration,
    /// How many calls begin in a second. All come from one address: a server of smallrtc that is
    /// to take more than 100 a second is started with `--rate-limit off`.
    #[arg(long, value_name = "PER_SECOND", default_value_t = 50)]
    rate: u32,
    /// Threads that the callers share; one does for 1,000 calls.
    #[arg(long, value_name = "N", default_value_t = 1)]
    threads: usize,
    /// Messages that each call sends in a second, 0 for none.
    #[arg(long, value_name = "PER_SECOND", default_value_t = 1)]
    messages: u32,
    /// Callers have no microphone.
    #[arg(long)]
    no_audio: bool,
    /// Fail when the sound does not come back.
    #[arg(long)]
    expect_echo: bool,
    /// Decode what comes back in one call of so many.
    #[arg(long, value_name = "N", default_value_t = 50)]
    listen_every: usize,
    /// Print JSON instead of a table; times are in microseconds.
    #[arg(long)]
    json: bool,
    /// Callers go without a word in the end.
    #[arg(long)]
    abrupt: bool,
    /// Take any certificate of an https server.
    #[arg(long)]
    insecure: bool,
}

impl Load {
    pub(crate) fn prints_json(&self) -> bool {
        self.json
    }

    pub(crate) fn load(self) -> load::Load {
        load::Load::new(self.url)
            .calls(self.calls)
            .duration(self.duration)
            .rate(self.rate)
            .threads(self.threads)
            .messages(self.messages)
            .audio(!self.no_audio)
            .expects_echo(self.expect_echo)
            .listen_every(self.listen_every)
            .abrupt(self.abrupt)
            .insecure(self.insecure)
    }
}

/// A whole number with its unit.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || "expected a whole number with its unit: 500ms, 10s or 2m".to_owned();
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().map_err(|_| wrong())?;
    match unit {
        "ms" => Ok(Duration::from_millis(number)),
        "s" => Ok(Duration::from_secs(number)),
        "m" => number.checked_mul(60).map(Duration::from_secs).ok_or_else(wrong),
        _ => Err(wrong()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Debug, Parser)]
    struct Alone {
        #[command(flatten)]
        load: Load,
    }

    fn load(words: &str) -> Result<load::Load, String> {
        let words = std::iter::once("load").chain(words.split_whitespace());
        let alone = Alone::try_parse_from(words).map_err(|error| error.to_string())?;
        Ok(alone.load.load())
    }

    #[test]
    fn the_defaults_are_those_of_the_library() {
        let given = load("http://x").unwrap();
        assert_eq!(format!("{given:?}"), format!("{:?}", load::Load::new("http://x")));
    }

    #[test]
    fn every_flag_arrives() {
        let words = "http://x --calls 2 --duration 500ms --rate 3 --threads 4 --messages 5 \
            --expect-echo --listen-every 6 --abrupt --insecure";
        let given = load(words).unwrap();
        assert_eq!((given.calls, given.rate, given.threads, given.messages), (2, 3, 4, 5));
        assert_eq!((given.duration, given.listen_every), (Duration::from_millis(500), 6));
        assert!(given.audio && given.expects_echo && given.abrupt && given.insecure);
        assert!(!load("http://x --no-audio").unwrap().audio);
    }

    #[test]
    fn a_time_is_a_number_with_its_unit() {
        for (text, expected) in [("500ms", 500), ("10s", 10_000), ("2m", 120_000)] {
            assert_eq!(duration(text), Ok(Duration::from_millis(expected)));
        }
        for text in ["", "10", "s", "1h", "1.5s", "-1s", "99999999999999999999s"] {
            assert!(duration(text).is_err(), "{text}");
        }
        assert!(load("http://x --duration soon").unwrap_err().contains("--duration"));
    }
}
