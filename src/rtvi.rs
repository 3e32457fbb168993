//! RTVI, the application's protocol of Pipecat's clients: optional, and nothing else knows of it.
//!
//! Every client's `connect()` waits for `bot-ready`, which answers its `client-ready`; the rest is
//! how a page and a bot speak with each other. [`Rtvi`] is one call's end of it, a pure state
//! machine: messages of the channel go in ([`Rtvi::handle`]), what they mean comes out, and answers
//! are polled ([`Rtvi::poll_reply`]). What a bot says of its own accord is an [`RtviMessage`]. It
//! never sends by itself, keeps no message, and reads no clock.
//!
//! | a message | event | reply |
//! | --- | --- | --- |
//! | without the label `rtvi-ai` | [`RtviEvent::Foreign`] | |
//! | with it, without `type` or `id`, or with `data` that is no object | none | `error`, not fatal |
//! | `client-ready` of version 1 or 2 | [`RtviEvent::ClientReady`] | `bot-ready`, when the bot is ready |
//! | `client-ready` of another, or of none | the same | `error-response`, and `bot-ready` all the same |
//! | of a type that is known | its own, or [`RtviEvent::Other`] | |
//! | the same, with `data` that lacks something | none | `error-response`, the field named |
//! | of another type | none | `error-response`: `Unsupported type <type>` |
//!
//! | what | limit | at the limit |
//! | --- | --- | --- |
//! | a message | what a channel carries; read as JSON only when the label stands in it | |
//! | `id` | [`ID_LEN_MAX`] | as one without `id` |
//! | replies that nobody polled | [`REPLIES_MAX`] | the newest is dropped, counted |
//! | `client-ready` that waits for the bot | 1 | the newest counts |
//!
//! ```
//! use smallrtc::Message;
//! use smallrtc::rtvi::{Rtvi, RtviEvent, RtviMessage};
//! use serde_json::json;
//!
//! let mut rtvi = Rtvi::new();
//! # let mut sent = Vec::new();
//! # let mut send = |message: Message| sent.push(message);
//! for text in [
//!     r#"{"id":"1","label":"rtvi-ai","type":"client-ready","data":{"version":"2.1.0"}}"#,
//!     r#"{"id":"2","label":"rtvi-ai","type":"client-message","data":{"t":"add","d":[1,2]}}"#,
//!     r#"{"id":"3","label":"rtvi-ai","type":"disconnect-bot","data":{}}"#,
//! ] {
//!     // `Event::Message(message)` of the session.
//!     match rtvi.handle(Message::text(text)) {
//!         Some(RtviEvent::ClientMessage { id, kind, .. }) if kind == "add" => {
//!             let sum = json!(3);
//!             send(RtviMessage::ServerResponse { id: &id, kind: &kind, data: Some(&sum) }.into());
//!         }
//!         Some(RtviEvent::DisconnectBot { .. }) => { /* `session.close(now)` */ }
//!         _ => {}
//!     }
//!     while let Some(reply) = rtvi.poll_reply() {
//!         send(reply);
//!     }
//! }
//! # assert_eq!(sent.len(), 2);
//! # assert!(sent[0].as_bytes().starts_with(br#"{"label":"rtvi-ai","type":"bot-ready","id":"1""#));
//! ```

mod say;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;

use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::Message;
use crate::message::contains;

pub use say::{Capabilities, RtviMessage};

/// The label of every message of the protocol.
pub const LABEL: &str = "rtvi-ai";

/// The version that is spoken, that of Pipecat 1.14.
pub const VERSION: &str = "2.2.0";

/// Major numbers of clients that are understood, those that Pipecat 1.14 takes.
const MAJORS: [u32; 2] = [1, 2];

/// Replies that wait to be polled. 16: one message makes two at most, so that they pile up only
/// when nobody polls.
pub const REPLIES_MAX: usize = 16;

/// The longest `id` of a message, in bytes. 128: clients write 8 characters, or a UUID.
pub const ID_LEN_MAX: usize = 128;

/// How much of what a client wrote is repeated in an error, in characters.
const REPEATED_MAX: usize = 64;

/// Types that are passed on as [`RtviEvent::Other`].
const OTHERS: [&str; 5] =
    ["send-file", "raw-audio", "raw-audio-batch", "dtmf", "append-to-context"];

/// What a client's message means.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum RtviEvent {
    /// No message of this protocol: the application's own.
    Foreign(Message),
    /// The client listens. Its `connect()` returns when `bot-ready` has come.
    ClientReady {
        /// The message's id.
        id: String,
        /// The version that it speaks, if it says so.
        version: Option<String>,
        /// What it says of itself: `library`, `platform` and so on.
        about: Option<Value>,
    },
    /// The client wants the bot to leave: close the session, which tells the client (`peerLeft`).
    DisconnectBot {
        /// The message's id.
        id: String,
    },
    /// A message or request of the page. A request waits for [`RtviMessage::ServerResponse`], or
    /// [`RtviMessage::ErrorResponse`], with this id.
    ClientMessage {
        /// The message's id.
        id: String,
        /// What kind, in the page's own terms (`t`).
        kind: String,
        /// What goes with it (`d`).
        data: Option<Value>,
    },
    /// The user typed instead of speaking.
    SendText {
        /// The message's id.
        id: String,
        /// What was typed.
        content: String,
        /// Whether the bot is to be interrupted and to answer at once. True unless said otherwise.
        run_immediately: bool,
        /// Whether the answer is to be spoken. True unless said otherwise.
        audio_response: bool,
    },
    /// The result of a function that the page was asked to call.
    FunctionCallResult {
        /// The message's id.
        id: String,
        /// Which function.
        function_name: String,
        /// Which call of it.
        tool_call_id: String,
        /// What it was called with.
        arguments: Map<String, Value>,
        /// What came of it: an object or a text.
        result: Value,
    },
    /// Something happened in the page's user interface.
    UiEvent {
        /// The message's id.
        id: String,
        /// What.
        event: String,
        /// What goes with it.
        payload: Option<Value>,
    },
    /// What the page shows.
    UiSnapshot {
        /// The message's id.
        id: String,
        /// The tree of what is shown.
        tree: Value,
    },
    /// The user wants a group of jobs to stop.
    UiCancelJobGroup {
        /// The message's id.
        id: String,
        /// Which.
        job_id: String,
        /// Why.
        reason: Option<String>,
    },
    /// Another message of the protocol: `send-file`, `raw-audio`, `raw-audio-batch`, `dtmf`,
    /// `append-to-context`.
    Other {
        /// The message's id.
        id: String,
        /// The `type`.
        kind: String,
        /// The `data`.
        data: Map<String, Value>,
    },
}

/// What one call's end counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RtviStats {
    /// Messages of the protocol.
    pub received: u64,
    /// Of those, how many could not be read.
    pub invalid: u64,
    /// Of those, how many were of a type that is not known.
    pub unsupported: u64,
    /// Replies that were dropped because nobody polled.
    pub replies_dropped: u64,
}

/// The bot's end of RTVI in one call. See the [module](self).
#[derive(Clone, Debug)]
pub struct Rtvi {
    about: Value,
    capabilities: Option<Capabilities>,
    is_ready: bool,
    /// The id of the `client-ready` that waits for the bot.
    waiting: Option<String>,
    replies: VecDeque<Message>,
    stats: RtviStats,
}

/// The fields are read as any JSON first, so that what is wrong can be named.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Envelope {
    label: Value,
    r#type: Value,
    id: Value,
    data: Value,
}

impl Rtvi {
    /// The end of a bot that is ready from the beginning, and says that it is smallrtc.
    #[must_use]
    pub fn new() -> Rtvi {
        Rtvi {
            about: json!({ "library": "smallrtc", "library_version": env!("CARGO_PKG_VERSION") }),
            capabilities: None,
            is_ready: true,
            waiting: None,
            replies: VecDeque::new(),
            stats: RtviStats::default(),
        }
    }

    /// What the bot says of itself in `bot-ready`: an object with `library`, `library_version` and
    /// whatever else. Default: this crate.
    #[must_use]
    pub fn about(mut self, about: Value) -> Rtvi {
        self.about = about;
        self
    }

    /// What the bot can do, as `bot-ready` says. Default: nothing is said.
    #[must_use]
    pub fn capabilities(mut self, capabilities: Capabilities) -> Rtvi {
        self.capabilities = Some(capabilities);
        self
    }

    /// The bot needs time before it is ready: `bot-ready` waits for [`Rtvi::set_ready`].
    #[must_use]
    pub fn not_ready(mut self) -> Rtvi {
        self.is_ready = false;
        self
    }

    /// The bot is ready now. A client that has been waiting is told.
    pub fn set_ready(&mut self) {
        self.is_ready = true;
        if let Some(id) = self.waiting.take() {
            self.reply_ready(&id);
        }
    }

    /// Takes a message of the client, text or binary, and tells what it means: nothing when there
    /// is nothing for the application to do. Poll the replies then.
    pub fn handle(&mut self, message: Message) -> Option<RtviEvent> {
        let is_candidate = is_object(&message) && contains(message.as_bytes(), LABEL.as_bytes());
        let envelope = match is_candidate.then(|| message.parse::<Envelope>()) {
            Some(Ok(envelope)) if envelope.label == LABEL => envelope,
            _ => return Some(RtviEvent::Foreign(message)),
        };
        self.stats.received += 1;
        match read(envelope) {
            Ok((kind, id, data)) => self.handle_known(&kind, id, data),
            Err(detail) => {
                self.stats.invalid += 1;
                let text = format!("Invalid RTVI transport message: {detail}");
                self.reply(&RtviMessage::Error { text: &text, fatal: false });
                None
            }
        }
    }

    /// The next reply, to be sent to the client.
    #[must_use]
    pub fn poll_reply(&mut self) -> Option<Message> {
        self.replies.pop_front()
    }

    /// What was counted.
    #[must_use]
    pub fn stats(&self) -> RtviStats {
        self.stats
    }

    fn handle_known(
        &mut self,
        kind: &str,
        id: String,
        data: Map<String, Value>,
    ) -> Option<RtviEvent> {
        match kind {
            "client-ready" => return Some(self.client_ready(id, data)),
            "disconnect-bot" => return Some(RtviEvent::DisconnectBot { id }),
            _ if OTHERS.contains(&kind) => {
                return Some(RtviEvent::Other { id, kind: kind.to_owned(), data });
            }
            _ => {}
        }
        let mut fields = Fields(data);
        let event = match kind {
            "client-message" => client_message(&id, &mut fields),
            "send-text" => send_text(&id, &mut fields),
            "llm-function-call-result" => function_call_result(&id, &mut fields),
            "ui-event" => ui_event(&id, &mut fields),
            "ui-snapshot" => Ok(RtviEvent::UiSnapshot { id: id.clone(), tree: fields.any("tree") }),
            "ui-cancel-job-group" => ui_cancel_job_group(&id, &mut fields),
            _ => {
                self.stats.unsupported += 1;
                let text = format!("Unsupported type {}", clip(kind));
                self.reply(&RtviMessage::ErrorResponse { id: &id, text: &text });
                return None;
            }
        };
        match event {
            Ok(event) => Some(event),
            Err(detail) => {
                self.stats.invalid += 1;
                let text = format!("Invalid message: {detail}");
                self.reply(&RtviMessage::ErrorResponse { id: &id, text: &text });
                None
            }
        }
    }

    /// A client of a version that is not understood is told, and served as well as can be.
    fn client_ready(&mut self, id: String, mut data: Map<String, Value>) -> RtviEvent {
        let version = match data.remove("version") {
            Some(Value::String(version)) => Some(version),
            _ => None,
        };
        let about = data.remove("about").filter(Value::is_object);
        if let Some(problem) = problem_with(version.as_deref().unwrap_or_default()) {
            let text = format!("{problem} Compatibility issues may occur.");
            self.reply(&RtviMessage::ErrorResponse { id: &id, text: &text });
        }
        if self.is_ready {
            self.reply_ready(&id);
        } else {
            self.waiting = Some(id.clone());
        }
        RtviEvent::ClientReady { id, version, about }
    }

    fn reply_ready(&mut self, id: &str) {
        let ready = say::bot_ready(id, &self.about, self.capabilities);
        self.put(ready);
    }

    fn reply(&mut self, reply: &RtviMessage<'_>) {
        self.put(reply.to_message());
    }

    fn put(&mut self, reply: Message) {
        if self.replies.len() >= REPLIES_MAX {
            self.stats.replies_dropped += 1;
            return;
        }
        self.replies.push_back(reply);
    }
}

impl Default for Rtvi {
    fn default() -> Rtvi {
        Rtvi::new()
    }
}

/// A list would be read as the fields in order.
fn is_object(message: &Message) -> bool {
    message.as_bytes().trim_ascii_start().first() == Some(&b'{')
}

/// Type, id and data of a message.
fn read(envelope: Envelope) -> Result<(String, String, Map<String, Value>), String> {
    let kind = text("type", envelope.r#type)?;
    let id = text("id", envelope.id)?;
    if id.len() > ID_LEN_MAX {
        return Err(format!("id: {} bytes (expected at most {ID_LEN_MAX})", id.len()));
    }
    let data = match envelope.data {
        Value::Null => Map::new(),
        Value::Object(data) => data,
        other => return Err(invalid("data", &other, "an object")),
    };
    Ok((kind, id, data))
}

/// What is wrong with a client's version, in Pipecat's words.
fn problem_with(version: &str) -> Option<String> {
    if version.is_empty() {
        return Some("Client version unknown.".to_owned());
    }
    let shown = clip(version);
    let parts: Option<Vec<u32>> = version.split('.').map(|part| part.parse().ok()).collect();
    match parts.as_deref() {
        Some([major, _, _]) if MAJORS.contains(major) => None,
        Some([_, _, _]) => {
            let text = format!("RTVI version {shown} is not compatible");
            Some(format!("{text} with server protocol {VERSION}."))
        }
        _ => Some(format!("Invalid client version format ({shown}).")),
    }
}

/// The fields of `data`, taken out one by one.
struct Fields(Map<String, Value>);

impl Fields {
    fn any(&mut self, name: &str) -> Value {
        self.0.remove(name).unwrap_or_default()
    }

    fn optional(&mut self, name: &str) -> Option<Value> {
        Some(self.any(name)).filter(|value| !value.is_null())
    }

    fn text(&mut self, name: &'static str) -> Result<String, String> {
        text(name, self.any(name))
    }

    fn flag(&mut self, name: &'static str, default: bool) -> Result<bool, String> {
        match self.any(name) {
            Value::Null => Ok(default),
            Value::Bool(flag) => Ok(flag),
            other => Err(invalid(name, &other, "true or false")),
        }
    }

    fn object(&mut self, name: &'static str) -> Result<Map<String, Value>, String> {
        match self.any(name) {
            Value::Object(fields) => Ok(fields),
            other => Err(invalid(name, &other, "an object")),
        }
    }
}

fn client_message(id: &str, fields: &mut Fields) -> Result<RtviEvent, String> {
    let (kind, data) = (fields.text("t")?, fields.optional("d"));
    Ok(RtviEvent::ClientMessage { id: id.to_owned(), kind, data })
}

fn send_text(id: &str, fields: &mut Fields) -> Result<RtviEvent, String> {
    let content = fields.text("content")?;
    let mut options = match fields.optional("options") {
        None => Fields(Map::new()),
        Some(Value::Object(options)) => Fields(options),
        Some(other) => return Err(invalid("options", &other, "an object")),
    };
    let run_immediately = options.flag("run_immediately", true)?;
    let audio_response = options.flag("audio_response", true)?;
    Ok(RtviEvent::SendText { id: id.to_owned(), content, run_immediately, audio_response })
}

fn function_call_result(id: &str, fields: &mut Fields) -> Result<RtviEvent, String> {
    let function_name = fields.text("function_name")?;
    let tool_call_id = fields.text("tool_call_id")?;
    let arguments = fields.object("arguments")?;
    let result = fields.any("result");
    if !(result.is_object() || result.is_string()) {
        return Err(invalid("result", &result, "an object or a string"));
    }
    let id = id.to_owned();
    Ok(RtviEvent::FunctionCallResult { id, function_name, tool_call_id, arguments, result })
}

fn ui_event(id: &str, fields: &mut Fields) -> Result<RtviEvent, String> {
    let (event, payload) = (fields.text("event")?, fields.optional("payload"));
    Ok(RtviEvent::UiEvent { id: id.to_owned(), event, payload })
}

fn ui_cancel_job_group(id: &str, fields: &mut Fields) -> Result<RtviEvent, String> {
    let job_id = fields.text("job_id")?;
    let reason = match fields.optional("reason") {
        None => None,
        Some(reason) => Some(text("reason", reason)?),
    };
    Ok(RtviEvent::UiCancelJobGroup { id: id.to_owned(), job_id, reason })
}

fn text(field: &str, value: Value) -> Result<String, String> {
    match value {
        Value::String(text) => Ok(text),
        other => Err(invalid(field, &other, "a string")),
    }
}

fn invalid(field: &str, found: &Value, expected: &str) -> String {
    let found = match found {
        Value::Null => "missing",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    };
    format!("{field}: {found} (expected {expected})")
}

/// Errors do not repeat at length what came in.
fn clip(text: &str) -> String {
    text.chars().take(REPEATED_MAX).collect()
}
