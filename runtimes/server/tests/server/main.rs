//! The server from outside: HTTP, https, and the program, on loopback.

mod answers;
mod http;
mod life;
mod load;
mod load_program;
mod program;
mod proxies;
mod recordings;
mod shards;
mod support;
mod tls;
