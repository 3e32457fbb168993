//! The server from outside: HTTP, https, and the program, on loopback.

mod http;
mod program;
mod support;
mod tls;
