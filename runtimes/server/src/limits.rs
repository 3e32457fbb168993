//! What one connection, and all of them together, may cost.

use std::time::Duration;

/// The most HTTP connections at once; the newest is closed at once beyond that. A browser keeps
/// at most six to one host, for [`HEADER_TIME_MAX`] after the last request, so 256 let 40 callers
/// arrive within the same ten seconds.
pub const HTTP_CONNECTIONS_MAX: usize = 256;

/// The largest request body in bytes, answered by 413 beyond that: what signalling reads.
pub const HTTP_BODY_MAX: usize = smallrtc::signaling::BODY_LEN_MAX;

/// The largest request head in bytes, answered by 431 beyond that. Browsers send below 2 KiB;
/// cookies of other services on `localhost` may add several KiB. hyper takes no less than 8 KiB.
pub const HTTP_HEAD_MAX: usize = 32 * 1024;

/// The most header fields, answered by 431 beyond that: hyper's own default.
pub const HTTP_HEADERS_MAX: usize = 100;

/// How long a connection may take to send a request's head, counted from the answer before it or
/// from its beginning. Small devices have this long for a TCP round trip and a TLS handshake.
pub const HEADER_TIME_MAX: Duration = Duration::from_secs(10);

/// How long a request may take from its head to its answer, answered by 408 beyond that. The
/// ESP32 client waits this long for an answer (pipecat-esp32 `http.cpp`).
pub const REQUEST_TIME_MAX: Duration = Duration::from_secs(10);

/// How long all shards together may take to tell their figures. 1 s: what health checks of load
/// balancers wait at least; a shard that needs longer for one turn is not well.
pub const HEALTH_TIME_MAX: Duration = Duration::from_secs(1);

/// How long the program lets calls go on, by default, after it was asked to end. 2 s: whoever
/// pressed Ctrl-C with a call open waits for it. A server that is to finish its calls is given
/// more, but 2 s less (`Config::linger`, for the goodbye) than it has until it is killed: Docker
/// kills after 10 s, Kubernetes after 30.
pub const DRAIN_TIME: Duration = Duration::from_secs(2);

/// How long the goodbye may take, whatever goes wrong, before the program ends without it. 10 s:
/// five times `Config::linger` as it is by default.
pub const CLOSE_TIME_MAX: Duration = Duration::from_secs(10);

/// The trusted proxies that one request may have passed; of one that names more, the client counts
/// as unknown. 16: more than stand one behind the other anywhere, and few to look at in a head of
/// [`HTTP_HEAD_MAX`].
pub const HOPS_MAX: usize = 16;

/// How long a TLS handshake may take.
pub const TLS_TIME_MAX: Duration = Duration::from_secs(10);
