//! What a user of signalling can choose, with the source of each default.

use std::fmt;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

/// Sessions of `/start` that wait for their offer. 1024: as many calls as an endpoint takes by
/// default (`Config::max_sessions`); with bodies of [`START_BODY_LEN_MAX`] they hold 16 MiB.
///
/// [`START_BODY_LEN_MAX`]: super::START_BODY_LEN_MAX
const STARTS_MAX: usize = 1024;

/// How long a session of `/start` waits for its offer. 60 s: what the original grants a connection
/// to be made (`connection_timeout_secs`).
const START_TIMEOUT: Duration = Duration::from_secs(60);

/// No session of `/start` waits longer, whatever is configured: a day.
const START_TIMEOUT_MAX: Duration = Duration::from_secs(24 * 3600);

/// ICE servers that `/start` hands out. 16: a client asks each of them for an address, and browsers
/// warn at five.
pub const ICE_SERVERS_MAX: usize = 16;

/// URLs of one ICE server, each of at most [`ICE_URL_LEN_MAX`] bytes. 8: UDP, TCP and TLS over IPv4
/// and IPv6.
pub const ICE_URLS_MAX: usize = 8;

/// The longest URL of an ICE server, its user name or its credential, in bytes. 512: tokens of
/// providers have up to 200.
pub const ICE_URL_LEN_MAX: usize = 512;

/// The server that `enableDefaultIceServers` asks for, as in the original (`run.py`).
const DEFAULT_STUN: &str = "stun:stun.l.google.com:19302";

/// The settings of signalling, one for all endpoints of a node.
///
/// ```
/// use smallrtc::signaling::{IceServer, Mode, Options, RateLimit};
///
/// let turn = IceServer::new(["turn:turn.example.com:3478"])?.credentials("user", "secret")?;
/// let options = Options::new().mode(Mode::Single).ice_server(turn)?.rate_limit(RateLimit::OFF);
/// # Ok::<(), smallrtc::signaling::IceServerError>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    pub(super) mode: Mode,
    pub(super) origins: Origins,
    pub(super) ice_servers: Vec<IceServer>,
    pub(super) rate_limit: RateLimit,
    pub(super) starts_max: usize,
    pub(super) start_timeout: Duration,
}

/// How many calls there may be (`ConnectionMode` of the original's `request_handler.py`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Mode {
    /// One: an offer beside it gets 400.
    Single,
    /// As many as the endpoint takes. The default, as in the original.
    #[default]
    Multiple,
}

/// From where pages may use the server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Origins {
    /// From everywhere: clients are served from another port or host than the bot. The default, as
    /// in the original.
    #[default]
    Any,
    /// From these alone: `https://example.com`, scheme and host, and the port unless it is the
    /// scheme's own, as browsers write an origin.
    Only(Vec<String>),
}

/// How many requests one client address may make: so many at once, and so many a second for long.
///
/// What is counted is POST and PATCH. An IPv6 address counts with all of its /64, which is what one
/// customer has. It holds only for requests whose `client` is known. With several shards it is one
/// limit for all of them (`Signaling::share_clients`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimit {
    pub(super) limit: Option<(NonZeroU32, NonZeroU32)>,
}

impl RateLimit {
    /// None.
    pub const OFF: RateLimit = RateLimit { limit: None };

    /// `burst` requests at once, and `per_second` for long.
    #[must_use]
    pub const fn new(burst: NonZeroU32, per_second: NonZeroU32) -> RateLimit {
        RateLimit { limit: Some((burst, per_second)) }
    }
}

impl Default for RateLimit {
    /// 500 at once, so that the people behind one NAT can all call at the same moment; then 100 a
    /// second: an offer costs about a millisecond, so that one address takes a tenth of a core at
    /// most. The original has no limit (R6).
    fn default() -> RateLimit {
        const BURST: NonZeroU32 = NonZeroU32::new(500).expect("not 0");
        const PER_SECOND: NonZeroU32 = NonZeroU32::new(100).expect("not 0");
        RateLimit::new(BURST, PER_SECOND)
    }
}

impl Options {
    /// The defaults: many calls, pages from everywhere, no ICE servers, and limits.
    #[must_use]
    pub fn new() -> Options {
        Options {
            mode: Mode::default(),
            origins: Origins::default(),
            ice_servers: Vec::new(),
            rate_limit: RateLimit::default(),
            starts_max: STARTS_MAX,
            start_timeout: START_TIMEOUT,
        }
    }

    /// How many calls there may be. Default: [`Mode::Multiple`].
    ///
    /// [`Mode::Single`] holds for one endpoint: whoever has several gives offers to the first
    /// alone.
    #[must_use]
    pub fn mode(mut self, mode: Mode) -> Options {
        self.mode = mode;
        self
    }

    /// From where pages may use the server. Default: [`Origins::Any`].
    #[must_use]
    pub fn allowed_origins(mut self, origins: Origins) -> Options {
        self.origins = origins;
        self
    }

    /// Adds a server that `/start` hands out (`iceConfig`). The bot uses none of them: it answers
    /// with its own addresses, and a client reaches it through its TURN server as well. Default:
    /// none.
    ///
    /// # Errors
    /// [`IceServerError`]: there are [`ICE_SERVERS_MAX`].
    pub fn ice_server(mut self, server: IceServer) -> Result<Options, IceServerError> {
        if self.ice_servers.len() >= ICE_SERVERS_MAX {
            let found = self.ice_servers.len() + 1;
            return Err(IceServerError::new("ice servers", found, "at most 16"));
        }
        self.ice_servers.push(server);
        Ok(self)
    }

    /// How many requests a client may make. Default: [`RateLimit::default`].
    #[must_use]
    pub fn rate_limit(mut self, limit: RateLimit) -> Options {
        self.rate_limit = limit;
        self
    }

    /// How many sessions of `/start` may wait for their offer; the next gets 503. Default: 1024, as
    /// many calls as an endpoint takes by default. 0 refuses all.
    #[must_use]
    pub fn starts_max(mut self, starts: usize) -> Options {
        self.starts_max = starts;
        self
    }

    /// How long a session of `/start` waits for its offer, a day at most. Default: 60 s, the time
    /// that the original grants a connection to be made (`connection_timeout_secs`).
    #[must_use]
    pub fn start_timeout(mut self, timeout: Duration) -> Options {
        self.start_timeout = timeout.min(START_TIMEOUT_MAX);
        self
    }

    /// Whether there may be one call only.
    #[must_use]
    pub fn is_single(&self) -> bool {
        self.mode == Mode::Single
    }

    /// Finished, to be shared.
    #[must_use]
    pub fn shared(self) -> Arc<Options> {
        Arc::new(self)
    }
}

impl Default for Options {
    fn default() -> Options {
        Options::new()
    }
}

/// A STUN or TURN server that clients are told of.
#[derive(Clone, PartialEq, Eq, Serialize)]
pub struct IceServer {
    urls: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    username: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    credential: Option<String>,
}

impl IceServer {
    /// A server by its URLs: `stun:`, `stuns:`, `turn:` or `turns:`, a host, and perhaps a port and
    /// `?transport=` (RFC 7064, RFC 7065).
    ///
    /// # Errors
    /// [`IceServerError`] names the URL: none, too many, too long, another scheme, no host, or a
    /// character that has no place in it.
    pub fn new<U: Into<String>>(
        urls: impl IntoIterator<Item = U>,
    ) -> Result<IceServer, IceServerError> {
        let urls: Vec<String> = urls.into_iter().map(Into::into).collect();
        if urls.is_empty() || urls.len() > ICE_URLS_MAX {
            return Err(IceServerError::new("urls", urls.len(), "1 to 8 URLs"));
        }
        urls.iter().try_for_each(|url| check_url(url))?;
        Ok(IceServer { urls, username: None, credential: None })
    }

    /// Who the client says it is, and how it proves that. TURN servers want both.
    ///
    /// # Errors
    /// [`IceServerError`]: one of them is empty or longer than [`ICE_URL_LEN_MAX`].
    pub fn credentials(
        mut self,
        username: impl Into<String>,
        credential: impl Into<String>,
    ) -> Result<IceServer, IceServerError> {
        let (username, credential) = (username.into(), credential.into());
        for (field, text) in [("username", &username), ("credential", &credential)] {
            if !(1..=ICE_URL_LEN_MAX).contains(&text.len()) {
                let found = format!("{} bytes", text.len());
                return Err(IceServerError::new(field, found, "1 to 512 bytes"));
            }
        }
        self.username = Some(username);
        self.credential = Some(credential);
        Ok(self)
    }

    /// The public STUN server that the original hands out for `enableDefaultIceServers`.
    pub(super) fn default_stun() -> IceServer {
        IceServer { urls: vec![DEFAULT_STUN.to_owned()], username: None, credential: None }
    }
}

/// Credentials are not for logs.
impl fmt::Debug for IceServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IceServer").field("urls", &self.urls).finish_non_exhaustive()
    }
}

/// What is wrong with an ICE server.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {found} (expected {expected})")]
pub struct IceServerError {
    field: &'static str,
    found: String,
    expected: &'static str,
}

impl IceServerError {
    fn new(field: &'static str, found: impl fmt::Display, expected: &'static str) -> Self {
        IceServerError { field, found: found.to_string(), expected }
    }
}

fn check_url(url: &str) -> Result<(), IceServerError> {
    let bad = |expected| {
        let shown: String = url.chars().take(64).collect();
        Err(IceServerError::new("urls", format!("`{shown}`"), expected))
    };
    if url.len() > ICE_URL_LEN_MAX {
        return bad("at most 512 bytes");
    }
    if !url.bytes().all(|byte| byte.is_ascii_graphic()) {
        return bad("no spaces and ASCII alone");
    }
    let host = ["stun:", "stuns:", "turn:", "turns:"].iter().find_map(|it| url.strip_prefix(it));
    match host {
        None => bad("stun:, stuns:, turn: or turns:"),
        Some(host) if host.is_empty() || host.starts_with([':', '?', '/']) => bad("a host"),
        Some(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_of_ice_servers_are_taken_and_others_are_named() {
        for url in ["stun:a", "stuns:a:1", "turn:[::1]:3478?transport=tcp", "turns:x.example"] {
            assert!(IceServer::new([url]).is_ok(), "{url}");
        }
        for (url, expected) in [
            ("http://x", "stun:, stuns:, turn: or turns:"),
            ("", "stun:, stuns:, turn: or turns:"),
            ("stun:", "a host"),
            ("turn::3478", "a host"),
            ("stun:a b", "no spaces and ASCII alone"),
            ("stun:\u{e9}", "no spaces and ASCII alone"),
        ] {
            let error = IceServer::new([url]).unwrap_err().to_string();
            assert_eq!(error, format!("urls: `{url}` (expected {expected})"));
        }
    }

    #[test]
    fn an_ice_server_at_each_limit_is_taken_and_one_past_it_is_not() {
        let url = |len: usize| format!("stun:{}", "a".repeat(len - 5));
        assert!(IceServer::new([url(ICE_URL_LEN_MAX)]).is_ok());
        assert!(IceServer::new([url(ICE_URL_LEN_MAX + 1)]).is_err());
        assert!(IceServer::new(vec!["stun:a"; ICE_URLS_MAX]).is_ok());
        assert!(IceServer::new(vec!["stun:a"; ICE_URLS_MAX + 1]).is_err());
        assert!(IceServer::new(Vec::<String>::new()).is_err());
        let server = || IceServer::new(["turn:a"]).unwrap();
        assert!(server().credentials("u".repeat(512), "c".repeat(512)).is_ok());
        for (user, credential) in [("", "c"), ("u", ""), (&*"u".repeat(513), "c")] {
            assert!(server().credentials(user, credential).is_err());
        }
        let mut options = Options::new();
        for _ in 0..ICE_SERVERS_MAX {
            options = options.ice_server(server()).unwrap();
        }
        let error = options.ice_server(server()).unwrap_err().to_string();
        assert_eq!(error, "ice servers: 17 (expected at most 16)");
    }

    #[test]
    fn a_server_is_written_as_browsers_read_it_and_logged_without_its_secret() {
        let server = IceServer::new(["turn:a", "turns:a"]).unwrap();
        let server = server.credentials("user", "hush").unwrap();
        assert_eq!(
            serde_json::to_string(&server).unwrap(),
            r#"{"urls":["turn:a","turns:a"],"username":"user","credential":"hush"}"#
        );
        assert!(!format!("{server:?}").contains("hush"));
        let stun = serde_json::to_string(&IceServer::default_stun()).unwrap();
        assert_eq!(stun, r#"{"urls":["stun:stun.l.google.com:19302"]}"#);
    }
}
