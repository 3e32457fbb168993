//! The server from outside: HTTP, https, and the program, on loopback.

mod http;
mod life;
mod load;
mod load_program;
mod program;
mod recordings;
mod shards;
mod support;
mod tls;
