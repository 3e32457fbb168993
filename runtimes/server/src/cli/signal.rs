//! What `serve` takes about who may call and what clients are told.

use std::num::NonZeroU32;

use clap::{Args, ValueEnum};
use serde::Deserialize;
use serde_json::Value;
use smallrtc::signaling::{IceServer, Mode, Options, Origins, RateLimit};

/// Who may call, and what clients are told.
#[derive(Clone, Debug, Args)]
pub(crate) struct Signal {
    /// How many calls there may be at once: one, or as many as --max-sessions.
    #[arg(long, value_enum, default_value_t = Calls::Multiple)]
    mode: Calls,
    /// From where pages may use the server, separated by commas: `https://example.com`. `*` is
    /// everywhere.
    #[arg(long, value_name = "ORIGINS", default_value = "*", value_delimiter = ',',
        value_parser = origin)]
    allowed_origins: Vec<String>,
    /// STUN and TURN servers that clients are told of by `/start`: URLs separated by commas, or a
    /// JSON object or list with `urls`, `username` and `credential`.
    #[arg(long, value_name = "SERVERS", env = "PIPECAT_ICE_SERVERS", hide_env_values = true,
        default_value = "", hide_default_value = true, value_parser = ice_servers)]
    ice_servers: IceServers,
    /// How many requests one client address may make: so many at once, and so many a second for
    /// long; `off` for no limit. A load generator has one address; and behind a proxy all clients
    /// have the proxy's, unless it is a --trusted-proxy.
    #[arg(long, value_name = "BURST/PER_SECOND", default_value = "500/100",
        value_parser = rate_limit)]
    rate_limit: RateLimit,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Calls {
    /// One; another is refused with 400.
    Single,
    /// As many as there is room for.
    Multiple,
}

/// A list that is one value of the command line.
#[derive(Clone, Debug, PartialEq)]
struct IceServers(Vec<IceServer>);

/// One server as Pipecat's runner takes it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawServer {
    urls: Value,
    username: Option<String>,
    credential: Option<String>,
}

impl Signal {
    pub(crate) fn options(self) -> Options {
        let origins = if self.allowed_origins.iter().any(|origin| origin == "*") {
            Origins::Any
        } else {
            Origins::Only(self.allowed_origins)
        };
        let mode = match self.mode {
            Calls::Single => Mode::Single,
            Calls::Multiple => Mode::Multiple,
        };
        let options = Options::new().mode(mode).allowed_origins(origins);
        let options = options.rate_limit(self.rate_limit);
        self.ice_servers.0.into_iter().fold(options, |options, server| {
            options.ice_server(server).expect("their number was checked when they were read")
        })
    }
}

fn origin(text: &str) -> Result<String, String> {
    let text = text.trim();
    let host = text.split_once("://").map(|(_, host)| host);
    match host {
        _ if text == "*" => Ok(text.to_owned()),
        Some(host) if !host.is_empty() && !host.contains('/') => Ok(text.to_owned()),
        _ => Err("expected `*`, or scheme://host without a path".to_owned()),
    }
}

fn rate_limit(text: &str) -> Result<RateLimit, String> {
    if text == "off" {
        return Ok(RateLimit::OFF);
    }
    let numbers = text.split_once('/').and_then(|(burst, rate)| {
        Some((burst.parse::<NonZeroU32>().ok()?, rate.parse::<NonZeroU32>().ok()?))
    });
    let (burst, rate) = numbers.ok_or("expected `off`, or two whole numbers as in 500/100")?;
    Ok(RateLimit::new(burst, rate))
}

fn ice_servers(text: &str) -> Result<IceServers, String> {
    let text = text.trim();
    let servers = if text.starts_with(['[', '{']) {
        let json: Value = serde_json::from_str(text).map_err(|error| error.to_string())?;
        match json {
            Value::Array(list) => list.into_iter().map(server).collect::<Result<_, _>>()?,
            one => vec![server(one)?],
        }
    } else {
        let urls = text.split(',').map(str::trim).filter(|url| !url.is_empty());
        urls.map(|url| IceServer::new([url])).collect::<Result<Vec<_>, _>>().map_err(shown)?
    };
    servers.iter().cloned().try_fold(Options::new(), Options::ice_server).map_err(shown)?;
    Ok(IceServers(servers))
}

fn server(json: Value) -> Result<IceServer, String> {
    if let Value::String(url) = json {
        return IceServer::new([url]).map_err(shown);
    }
    let raw: RawServer = serde_json::from_value(json).map_err(|error| error.to_string())?;
    let urls: Vec<String> = match raw.urls {
        Value::String(url) => vec![url],
        list => serde_json::from_value(list).map_err(|error| format!("urls: {error}"))?,
    };
    let server = IceServer::new(urls).map_err(shown)?;
    match (raw.username, raw.credential) {
        (None, None) => Ok(server),
        (Some(user), Some(credential)) => server.credentials(user, credential).map_err(shown),
        _ => Err("username and credential belong together".to_owned()),
    }
}

fn shown(error: impl std::fmt::Display) -> String {
    error.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(url: &str) -> IceServer {
        IceServer::new([url]).unwrap()
    }

    #[test]
    fn ice_servers_are_read_as_pipecats_runner_reads_them() {
        let read = |text| ice_servers(text).unwrap().0;
        assert_eq!(read(""), []);
        assert_eq!(read("stun:a:1, turn:b ,"), [plain("stun:a:1"), plain("turn:b")]);
        let turn = IceServer::new(["turn:a", "turns:a"]).unwrap().credentials("u", "c").unwrap();
        let object = r#"{"urls":["turn:a","turns:a"],"username":"u","credential":"c"}"#;
        assert_eq!(read(object), std::slice::from_ref(&turn));
        let list = format!(r#"[{object},{{"urls":"stun:a"}},"stun:b"]"#);
        assert_eq!(read(&list), [turn, plain("stun:a"), plain("stun:b")]);
    }

    #[test]
    fn ice_servers_that_are_none_are_refused() {
        for text in [
            "http://a",
            "[",
            "[7]",
            "{}",
            r#"{"urls":7}"#,
            r#"{"urls":[]}"#,
            r#"{"urls":"stun:a","url":"stun:b"}"#,
            r#"{"urls":"turn:a","username":"u"}"#,
            &["stun:a"; 17].join(","),
        ] {
            assert!(ice_servers(text).is_err(), "{text}");
        }
        assert_eq!(ice_servers(&["stun:a"; 16].join(",")).unwrap().0.len(), 16);
    }

    #[test]
    fn rates_and_origins_are_read_and_others_refused() {
        let limit = RateLimit::new(NonZeroU32::new(7).unwrap(), NonZeroU32::new(3).unwrap());
        assert_eq!(rate_limit("7/3"), Ok(limit));
        assert_eq!(rate_limit("off"), Ok(RateLimit::OFF));
        assert_eq!(rate_limit("500/100"), Ok(RateLimit::default()));
        for text in ["", "7", "0/1", "1/0", "a/b", "1/2/3", "-1/2"] {
            assert!(rate_limit(text).is_err(), "{text}");
        }
        for text in ["*", "https://example.com", "http://localhost:5173"] {
            assert_eq!(origin(text).as_deref(), Ok(text));
        }
        for text in ["", "example.com", "https://", "https://example.com/"] {
            assert!(origin(text).is_err(), "{text}");
        }
    }
}
