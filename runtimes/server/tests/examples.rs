//! Every example, as a reader starts it: a program of its own, called by a model browser over real
//! sockets, and asked to end.

#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::print_stdout,
    reason = "programs run beside the test, which asks them, waits for them and shows what they did"
)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use smallrtc_server::load::{Load, Report};

const OFFER: &str = include_str!("../../../tests/sim/src/fixtures/offer.sdp");

/// Where the page comes from that asks.
const ORIGIN: &str = "http://localhost:5173";

/// How long an example may take to tell its address.
const START_TIME_MAX: Duration = Duration::from_secs(10);

/// How long the model browser calls.
const CALL_TIME: Duration = Duration::from_secs(3);

/// How long an example may take to say goodbye to nobody.
const STOP_TIME_MAX: Duration = Duration::from_secs(5);

/// What the manifest says of the examples: their names and files.
fn examples() -> Vec<(String, PathBuf)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let manifest = std::fs::read_to_string(folder.join("Cargo.toml")).expect("the manifest");
    let value = |section: &str, key: &str| {
        let line = section.lines().find_map(|line| line.strip_prefix(&format!("{key} = \"")));
        line.expect("a name and a path").trim_end_matches('"').to_owned()
    };
    let sections = manifest.split("[[example]]").skip(1);
    sections.map(|section| (value(section, "name"), folder.join(value(section, "path")))).collect()
}

/// Where cargo puts an example that it builds with the tests. Told to build this test alone it
/// builds none, and what may be there from before says nothing of the sources of today.
fn built(name: &str, path: &Path) -> PathBuf {
    let own = std::env::current_exe().expect("a test has a file");
    let folder = own.parent().and_then(Path::parent).expect("target/debug/deps").join("examples");
    let program = folder.join(format!("{name}{}", std::env::consts::EXE_SUFFIX));
    let made_of = std::fs::read_to_string(folder.join(format!("{name}.d"))).unwrap_or_default();
    let since = |path: &Path| std::fs::metadata(path).and_then(|file| file.modified()).ok();
    let built = since(&program);
    let sources: Vec<&Path> = made_of.split_ascii_whitespace().skip(1).map(Path::new).collect();
    let is_whole =
        sources.iter().any(|source| source.canonicalize().ok() == path.canonicalize().ok());
    let is_new = is_whole && built.is_some() && sources.iter().all(|source| since(source) <= built);
    assert!(
        is_new,
        "{name} is not built from its sources: cargo build -p smallrtc-server --examples"
    );
    program
}

/// A program that ends with the test, whatever the test does.
struct Program {
    child: Child,
    url: String,
}

impl Drop for Program {
    fn drop(&mut self) {
        // It has ended already when all went well.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Program {
    fn start(name: &str, path: &Path) -> Program {
        let mut child = Command::new(built(name, path))
            .arg("127.0.0.1:0")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        let out = child.stdout.take().expect("piped");
        let mut program = Program { child, url: String::new() };
        // Read on a thread: a program that says nothing must not hold up the test.
        let (line, said) = mpsc::channel();
        thread::spawn(move || {
            let mut first = String::new();
            BufReader::new(out).read_line(&mut first).ok();
            line.send(first).ok();
        });
        let first = said.recv_timeout(START_TIME_MAX).unwrap_or_default();
        let url = first.trim_end().strip_prefix("listening on ");
        program.url = url.unwrap_or_else(|| panic!("{name} said {first:?}")).to_owned();
        program
    }

    /// Asks it to end, as a shell does.
    fn stop(&mut self) -> Option<ExitStatus> {
        let id = self.child.id().to_string();
        // The shell's own, because not every machine has the program.
        let sent = Command::new("sh").args(["-c", "kill -TERM \"$0\"", &id]).status();
        assert!(sent.expect("a shell is there").success());
        let until = Instant::now() + STOP_TIME_MAX;
        while Instant::now() < until {
            if let Some(status) = self.child.try_wait().expect("it is ours") {
                return Some(status);
            }
            thread::sleep(Duration::from_millis(20));
        }
        None
    }
}

/// What the caller found, said in words where it is not as it should be.
fn faults(report: &Report) -> Vec<String> {
    let figures = &report.total;
    let (audio, messages, echo) = (&figures.audio, &figures.messages, &figures.echo);
    let hz = |pitch: Option<f32>| pitch.unwrap_or_default();
    let rules = [
        (report.outcomes.get("completed") == Some(&1), "the call was not completed"),
        (audio.received >= 75, "less than half of the sound came back in time"),
        (audio.lost == 0 && audio.duplicated == 0, "packets were lost or came twice"),
        (echo.calls_with_own_tone == 1, "the tone did not come back"),
        (echo.other * 20 <= echo.packets, "more than 5 % of the sound was something else"),
        ((hz(echo.heard_hz) - hz(echo.sent_hz)).abs() < 10.0, "the pitch is another"),
        (messages.sent >= 10, "fewer than 10 messages were sent"),
        (messages.returned == messages.sent, "messages did not come back"),
        (figures.disconnects == 0, "the bot was lost for a while"),
    ];
    rules.iter().filter(|(holds, _)| !holds).map(|(_, fault)| (*fault).to_owned()).collect()
}

/// Head and body of what a page from elsewhere is answered.
fn ask(url: &str, method: &str, path: &str, fields: &str, body: &str) -> (String, String) {
    let host = url.trim_start_matches("http://").trim_end_matches('/');
    let mut stream = TcpStream::connect(host).expect("it listens");
    stream.set_read_timeout(Some(STOP_TIME_MAX)).expect("a time that is not zero");
    let length = body.len();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: {host}\r\nOrigin: {ORIGIN}\r\nConnection: close\r\n\
         {fields}Content-Length: {length}\r\n\r\n{body}"
    );
    stream.write_all(request.as_bytes()).expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("it answers and closes");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    // Names are written in any case.
    (format!("{head}\r\n").to_ascii_lowercase(), body.to_owned())
}

/// Sessions, headers and pages from elsewhere: all that signalling gives must come through.
fn faults_of_signalling(url: &str) -> Vec<String> {
    let ask = |method, path: &str, body| ask(url, method, path, "", body);
    let (head, status) = ask("GET", "/status?now", "");
    let named = format!("access-control-allow-origin: {ORIGIN}\r\n");
    let (_, start) = ask("POST", "/start", r#"{"body":{"a":1}}"#);
    let start: serde_json::Value = serde_json::from_str(&start).unwrap_or_default();
    let id = start["sessionId"].as_str().unwrap_or_default();
    let (of_session, empty) = ask("GET", &format!("/sessions/{id}/files"), "");
    let (bad, detail) = ask("POST", &format!("/sessions/{id}/api/offer"), "{}");
    let (unknown, text) = ask("POST", "/sessions/nobody/api/offer", "{}");
    let fields = "Access-Control-Request-Method: PATCH\r\nAccess-Control-Request-Headers: x-a\r\n";
    let (preflight, _) = self::ask(url, "OPTIONS", "/api/offer", fields, "");
    let rules = [
        (status == r#"{"status":"ready","transports":["webrtc"]}"#, "the status is another"),
        (head.contains("content-type: application/json\r\n"), "the type is not told"),
        (head.contains(&named) && preflight.contains(&named), "the page's origin is not named"),
        (preflight.contains(" 200 "), "the preflight is refused"),
        (preflight.contains("access-control-allow-headers: x-a\r\n"), "its headers are refused"),
        (of_session.contains(" 200 ") && empty.is_empty(), "the session is not known"),
        (bad.contains(" 400 ") && detail.contains("sdp: missing"), "its offer goes elsewhere"),
        (unknown.contains(" 404 "), "nobody's session is known"),
        (text == "Invalid or not-yet-ready session_id", "the original says it in other words"),
        (unknown.contains("content-type: text/plain; charset=utf-8\r\n"), "text is told as JSON"),
    ];
    rules.iter().filter(|(holds, _)| !holds).map(|(_, fault)| (*fault).to_owned()).collect()
}

/// One call through all requests that make and steer it, each under both paths: every example
/// leaves them to the same signalling.
fn faults_of_a_call(url: &str) -> Vec<String> {
    let ask = |method, path: &str, body: Value| ask(url, method, path, "", &body.to_string());
    let json = |text: &str| serde_json::from_str::<Value>(text).unwrap_or_default();
    let (_, start) = ask("POST", "/start", json!({}));
    let by_session =
        format!("/sessions/{}/api/offer", json(&start)["sessionId"].as_str().unwrap_or("?"));
    let (head, answer) = ask("POST", &by_session, json!({ "type": "offer", "sdp": OFFER }));
    let (made, pc_id) = (json(&answer), json(&answer)["pc_id"].clone());
    let candidate = json!({ "candidate": "candidate:1 1 udp 1 127.0.0.1 9 typ host" });
    let trickle = json!({ "pc_id": pc_id, "candidates": [candidate] });
    let again = json!({ "type": "offer", "sdp": OFFER, "pc_id": pc_id });
    let length = format!("content-length: {}\r\n", answer.len());
    let mut rules = vec![
        (head.contains(" 200 ") && made["type"] == "answer", "no call by a session"),
        (pc_id.is_string(), "the call has no name"),
        (head.contains(&length) && !head.contains("transfer-encoding"), "an answer without length"),
    ];
    for path in ["/api/offer", &by_session] {
        let (head, taken) = ask("PATCH", path, trickle.clone());
        rules.push((head.contains(" 200 "), "candidates are refused"));
        rules.push((taken == r#"{"status":"success"}"#, "candidates are not taken"));
        let (head, answer) = ask("POST", path, again.clone());
        let is_same = json(&answer)["pc_id"] == pc_id;
        rules.push((head.contains(" 200 ") && is_same, "a re-offer makes another call"));
    }
    let (head, detail) = ask("GET", "/api/offer", json!({}));
    let is_told = head.contains("allow: post, patch, options\r\n");
    rules.push((head.contains(" 405 ") && is_told, "a wrong method is not told the right ones"));
    rules.push((detail == r#"{"detail":"Method Not Allowed"}"#, "nor what is wrong with it"));
    let (head, detail) = ask("POST", "/api/nothing", json!({}));
    rules.push((head.contains(" 404 ") && detail == r#"{"detail":"Not Found"}"#, "a wrong path"));
    let faults = rules.iter().filter(|(holds, _)| !holds);
    faults.map(|(_, fault)| (*fault).to_owned()).collect()
}

/// Calls an example, then ends it; gives what was wrong.
fn call(name: &str, path: &Path) -> Vec<String> {
    let mut program = Program::start(name, path);
    let load = Load::new(program.url.as_str()).duration(CALL_TIME).messages(5).expects_echo(true);
    let report = load.run().unwrap_or_else(|error| panic!("{name}: {error}"));
    let mut faults = faults(&report);
    faults.extend(faults_of_signalling(&program.url));
    faults.extend(faults_of_a_call(&program.url));
    if !faults.is_empty() {
        println!("{name}\n{report}");
    }
    match program.stop() {
        Some(status) if status.success() => {}
        Some(status) => faults.push(format!("ended with {status}")),
        None => faults.push("did not end when it was asked to".to_owned()),
    }
    faults
}

#[test]
fn every_example_returns_what_a_model_browser_says_and_writes() {
    let examples = examples();
    assert!(examples.len() >= 6, "{examples:?}");
    let calls = examples.into_iter().map(|(name, path)| {
        let called = thread::Builder::new().name(name.clone());
        let thread = called.spawn(move || call(&name, &path)).expect("a thread");
        (thread.thread().name().unwrap_or_default().to_owned(), thread)
    });
    // All of them begin before the first is waited for.
    let calls: Vec<_> = calls.collect();
    let mut found = Vec::new();
    for (name, thread) in calls {
        match thread.join() {
            Ok(faults) => found.extend(faults.iter().map(|fault| format!("{name}: {fault}"))),
            Err(_) => found.push(format!("{name}: see above")),
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn every_example_ends_when_it_is_asked_to_and_no_call_is_there() {
    // Once may be luck: the signal itself may interrupt a wait that nothing else would end.
    const ROUNDS: usize = 4;
    for (name, path) in examples() {
        for round in 0..ROUNDS {
            let status = Program::start(&name, &path).stop();
            assert!(status.is_some_and(|it| it.success()), "{name}, {round}: {status:?}");
        }
    }
}

#[test]
fn every_file_beside_the_examples_is_one() {
    let examples = examples();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples");
    let files = std::fs::read_dir(&folder).expect("the examples").map(|file| file.expect("a file"));
    for file in files.filter(|file| file.path().extension().is_some_and(|end| end == "rs")) {
        let registered =
            examples.iter().any(|(_, path)| path.file_name() == Some(&file.file_name()));
        assert!(registered, "{} is no example in the manifest", file.path().display());
        let text = std::fs::read_to_string(file.path()).expect("UTF-8");
        for part in
            ["//! For whoever", "//! Run: `cargo run --release -p smallrtc-server --example "]
        {
            assert!(text.contains(part), "{} does not say {part:?}", file.path().display());
        }
    }
}
