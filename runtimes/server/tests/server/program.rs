//! The program: what it prints and how it ends.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};

pub(crate) fn smallrtc(flags: &[&str]) -> Child {
    Command::new(env!("CARGO_BIN_EXE_smallrtc"))
        .args(flags)
        .env_remove("RUST_LOG")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts")
}

/// The exit code and what was said on stderr.
pub(crate) fn end(mut child: Child) -> (Option<i32>, String) {
    let mut error = String::new();
    child.stderr.take().expect("piped").read_to_string(&mut error).expect("UTF-8");
    (child.wait().expect("it ends").code(), error)
}

/// Starts it on a free port and reads the address that it prints.
pub(crate) fn serve(flags: &[&str]) -> (Child, String) {
    let mut child = smallrtc(&[&["--listen", "127.0.0.1:0"], flags].concat());
    let mut line = String::new();
    let out = child.stdout.as_mut().expect("piped");
    BufReader::new(out).read_line(&mut line).expect("UTF-8");
    (child, line.trim_end().to_owned())
}

pub(crate) fn signal(child: &Child, name: &str) {
    // The shell's own, because not every machine has the program.
    let kill = ["-c", "kill \"$0\" \"$1\"", name, &child.id().to_string()];
    let sent = Command::new("sh").args(kill).status();
    assert!(sent.expect("a shell is there").success());
}

#[test]
fn the_address_is_printed_and_a_signal_ends_it_with_success() {
    for (name, flags, scheme) in [
        ("-INT", &[][..], "open http://127.0.0.1:"),
        ("-TERM", &["--tls-self-signed"], "open https://"),
        ("-TERM", &["--shards", "2"], "open http://"),
    ] {
        let (child, line) = serve(flags);
        assert!(line.starts_with(scheme), "{line}");
        signal(&child, name);
        let (code, error) = end(child);
        assert_eq!(code, Some(0), "{error}");
    }
}

#[test]
fn options_that_cannot_be_used_are_named_and_give_2() {
    let (taken, line) = serve(&[]);
    let address = line.trim_start_matches("open http://").trim_end_matches('/').to_owned();
    for (flags, word) in [
        (&["--listen", "nowhere"][..], "--listen"),
        (&["--listen", &address], "--listen"),
        (&["--listen", "203.0.113.1:0"], "--listen"),
        (&["--listen", "127.0.0.1:0", "--advertise", "0.0.0.0"], "--advertise"),
        (&["--tls-cert", "no/such", "--tls-key", "no/such"], "--tls-cert"),
        (&["--no-such-flag"], "--no-such-flag"),
        (&["serve", "--max-sessions", "0"], "--max-sessions"),
        (&["serve", "--shards", "0"], "--shards"),
        (&["--listen", "127.0.0.1:0", "--udp-port", "65535", "--shards", "2"], "--udp-port"),
    ] {
        let (code, error) = end(smallrtc(flags));
        assert_eq!(code, Some(2), "{flags:?}: {error}");
        assert!(error.contains(word), "{flags:?}: {error}");
    }
    signal(&taken, "-INT");
    assert_eq!(end(taken).0, Some(0));
}

#[test]
fn a_filter_for_logs_that_cannot_be_read_is_named() {
    let child = Command::new(env!("CARGO_BIN_EXE_smallrtc"))
        .env("RUST_LOG", "smallrtc=shout")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    let (code, error) = end(child);
    assert_eq!(code, Some(2), "{error}");
    assert!(error.contains("RUST_LOG"), "{error}");
}
