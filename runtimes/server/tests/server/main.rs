//! The server from outside: HTTP, https, and the program, on loopback.

mod answers;
mod http;
mod life;
mod load;
mod load_program;
#[expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    reason = "a page has a socket and a clock, and one that cannot go on has failed"
)]
#[path = "../../../../tests/support/page.rs"]
mod page;
#[expect(clippy::disallowed_methods, clippy::unwrap_used, reason = "as above")]
#[path = "../../../../tests/support/plain.rs"]
mod plain;
mod program;
mod proxies;
mod recordings;
mod shards;
mod sound;
mod support;
mod tls;
#[expect(clippy::unwrap_used, reason = "a codec that codes nothing has failed")]
#[path = "../../../../tests/support/tone.rs"]
mod tone;
