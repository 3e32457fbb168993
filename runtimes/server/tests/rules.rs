//! What a runner of the original is started with works here too: the environment, in each form
//! that it may have.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, Command, Output, Stdio};

use serde_json::{Value, json};

const SERVERS: &str = "PIPECAT_ICE_SERVERS";

fn program(servers: &str, flags: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_smallrtc"));
    command.args(["serve", "--listen", "127.0.0.1:0"]).args(flags).env(SERVERS, servers);
    command.env_remove("RUST_LOG").stdin(Stdio::null());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// A program that is ended with the test, however that ends.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What `/start` tells a client of such a server.
#[expect(clippy::disallowed_types, reason = "a program is asked over a socket")]
fn told(servers: &str, flags: &[&str], body: &Value) -> Value {
    let mut running = Running(program(servers, flags).spawn().expect("it starts"));
    let mut line = String::new();
    let out = running.0.stdout.as_mut().expect("piped");
    BufReader::new(out).read_line(&mut line).expect("UTF-8");
    let address = line.trim().trim_start_matches("open http://").trim_end_matches('/');
    let body = body.to_string();
    let mut stream = std::net::TcpStream::connect(address).expect("it listens");
    write!(
        stream,
        "POST /start HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("it answers");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    serde_json::from_str::<Value>(body).expect("JSON")["iceConfig"].clone()
}

#[test]
fn ice_servers_of_the_environment_reach_the_client_in_each_form_of_the_original() {
    let nothing = json!({});
    let one = |urls: Value| json!({ "urls": urls });
    for (servers, expected) in [
        (
            "stun:192.0.2.3:3478, stun:192.0.2.4:3478",
            json!([one(json!(["stun:192.0.2.3:3478"])), one(json!(["stun:192.0.2.4:3478"]))]),
        ),
        (
            r#"{"urls":"turn:192.0.2.3:3478","username":"u","credential":"c"}"#,
            json!([{ "urls": ["turn:192.0.2.3:3478"], "username": "u", "credential": "c" }]),
        ),
        (
            r#"["stun:192.0.2.3:3478",{"urls":["stun:192.0.2.4:3478","stun:192.0.2.5:3478"]}]"#,
            json!([
                one(json!(["stun:192.0.2.3:3478"])),
                one(json!(["stun:192.0.2.4:3478", "stun:192.0.2.5:3478"])),
            ]),
        ),
    ] {
        let config = told(servers, &[], &nothing);
        let mut found = config["iceServers"].clone();
        // One URL may be written as itself.
        for server in found.as_array_mut().expect("a list") {
            if server["urls"].is_string() {
                server["urls"] = json!([server["urls"]]);
            }
        }
        assert_eq!(found, expected, "{servers}");
    }
}

#[test]
fn what_is_said_on_the_command_line_goes_before_the_environment_and_both_before_the_default() {
    let wants = json!({ "enableDefaultIceServers": true });
    let flags = ["--ice-servers", "stun:192.0.2.9:3478"];
    for (flags, named) in [(&flags[..], "192.0.2.9"), (&[], "192.0.2.3")] {
        let config = told("stun:192.0.2.3:3478", flags, &wants).to_string();
        assert!(config.contains(named) && config.matches("stun:").count() == 1, "{config}");
    }
    assert_eq!(told("", &[], &json!({})), Value::Null);
    let default = told("", &[], &wants)["iceServers"].clone();
    assert_eq!(default.as_array().map(Vec::len), Some(1), "{default}");
}

#[test]
fn an_environment_that_cannot_be_used_is_named_and_gives_2() {
    for servers in ["http://192.0.2.3", r#"[{"url":"stun:192.0.2.3"}]"#, "["] {
        let Output { status, stderr, .. } = program(servers, &[]).output().expect("it starts");
        let error = String::from_utf8_lossy(&stderr).into_owned();
        assert_eq!(status.code(), Some(2), "{servers}: {error}");
        assert!(error.contains("--ice-servers"), "{servers}: {error}");
    }
}
