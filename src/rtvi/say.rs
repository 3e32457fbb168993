//! What a bot says of its own accord.

use serde::Serialize;
use serde_json::{Value, json};

use super::{LABEL, VERSION};
use crate::Message;

/// A message of the bot. [`RtviMessage::to_message`] writes it, for `send_message`.
///
/// ```
/// use smallrtc::Message;
/// use smallrtc::rtvi::RtviMessage;
///
/// let message: Message = RtviMessage::BotTranscription { text: "Hello." }.into();
/// let json = r#"{"label":"rtvi-ai","type":"bot-transcription","data":{"text":"Hello."}}"#;
/// assert_eq!(message, Message::text(json));
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum RtviMessage<'a> {
    /// Something of the application's own.
    ServerMessage(&'a Value),
    /// The answer to `RtviEvent::ClientMessage`.
    ServerResponse {
        /// The request's id.
        id: &'a str,
        /// The request's kind.
        kind: &'a str,
        /// The answer.
        data: Option<&'a Value>,
    },
    /// Something went wrong that no request caused.
    Error {
        /// What, for people.
        text: &'a str,
        /// Whether the bot cannot go on; the client disconnects then.
        fatal: bool,
    },
    /// A message of the client could not be served.
    ErrorResponse {
        /// The message's id.
        id: &'a str,
        /// Why, for people.
        text: &'a str,
    },
    /// The user began to speak.
    UserStartedSpeaking,
    /// The user stopped.
    UserStoppedSpeaking,
    /// What the user says or said.
    UserTranscription {
        /// The words.
        text: &'a str,
        /// Whose.
        user_id: &'a str,
        /// When, as ISO 8601.
        timestamp: &'a str,
        /// Whether they will not change any more.
        is_final: bool,
    },
    /// The bot is not listening.
    UserMuteStarted,
    /// The bot is listening again.
    UserMuteStopped,
    /// The bot began to speak.
    BotStartedSpeaking,
    /// The bot stopped.
    BotStoppedSpeaking,
    /// What the bot was about to say is not said.
    BotInterrupted,
    /// What the bot gives out.
    BotOutput {
        /// The words.
        text: &'a str,
        /// Whether they were spoken.
        spoken: bool,
        /// By what they were put together: `word`, `sentence`...
        aggregated_by: &'a str,
    },
    /// What the bot said.
    BotTranscription {
        /// The words.
        text: &'a str,
    },
    /// The language model began to answer.
    BotLlmStarted,
    /// It came to its end.
    BotLlmStopped,
    /// A piece of its answer.
    BotLlmText {
        /// The words.
        text: &'a str,
    },
    /// Speech began to be made.
    BotTtsStarted,
    /// It was made.
    BotTtsStopped,
    /// What is being spoken.
    BotTtsText {
        /// The words.
        text: &'a str,
    },
    /// How loud the user is, 0 to 1.
    UserAudioLevel(f32),
    /// How loud the bot is, 0 to 1.
    BotAudioLevel(f32),
    /// Times and counts of the bot's services.
    Metrics(&'a Value),
    /// A line of the bot's log.
    SystemLog {
        /// The line.
        text: &'a str,
    },
    /// A message of another type.
    Other {
        /// The `type`.
        kind: &'a str,
        /// The `id`, of an answer.
        id: Option<&'a str>,
        /// The `data`.
        data: Option<&'a Value>,
    },
}

/// What a bot can do, in `bot-ready`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Capabilities {
    /// It hears the user.
    pub audio_in: bool,
    /// It speaks.
    pub audio_out: bool,
    /// It sees the user.
    pub video_in: bool,
    /// It is seen.
    pub video_out: bool,
    /// It tells of its services' times and counts.
    pub metrics: bool,
}

/// In the order in which the original writes them.
#[derive(Serialize)]
struct Envelope<'a, D> {
    label: &'static str,
    r#type: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<D>,
}

#[derive(Serialize)]
struct Ready<'a> {
    version: &'static str,
    about: &'a Value,
    #[serde(skip_serializing_if = "Option::is_none")]
    capabilities: Option<Capabilities>,
}

#[derive(Serialize)]
struct Response<'a> {
    t: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    d: Option<&'a Value>,
}

#[derive(Serialize)]
struct Transcription<'a> {
    text: &'a str,
    user_id: &'a str,
    timestamp: &'a str,
    r#final: bool,
}

#[derive(Serialize)]
struct Output<'a> {
    text: &'a str,
    spoken: bool,
    aggregated_by: &'a str,
}

/// The answer to `client-ready`.
pub(super) fn bot_ready(id: &str, about: &Value, capabilities: Option<Capabilities>) -> Message {
    write("bot-ready", Some(id), Some(Ready { version: VERSION, about, capabilities }))
}

impl RtviMessage<'_> {
    /// The message as it is sent.
    #[must_use]
    pub fn to_message(&self) -> Message {
        match *self {
            RtviMessage::ServerMessage(data) => write("server-message", None, Some(data)),
            RtviMessage::ServerResponse { id, kind, data } => {
                write("server-response", Some(id), Some(Response { t: kind, d: data }))
            }
            RtviMessage::Error { text, fatal } => {
                write("error", None, Some(json!({ "error": text, "fatal": fatal })))
            }
            RtviMessage::ErrorResponse { id, text } => {
                write("error-response", Some(id), Some(json!({ "error": text })))
            }
            RtviMessage::UserTranscription { text, user_id, timestamp, is_final } => {
                let data = Transcription { text, user_id, timestamp, r#final: is_final };
                write("user-transcription", None, Some(data))
            }
            RtviMessage::BotOutput { text, spoken, aggregated_by } => {
                write("bot-output", None, Some(Output { text, spoken, aggregated_by }))
            }
            RtviMessage::BotTranscription { text } => said("bot-transcription", text),
            RtviMessage::BotLlmText { text } => said("bot-llm-text", text),
            RtviMessage::BotTtsText { text } => said("bot-tts-text", text),
            RtviMessage::SystemLog { text } => said("system-log", text),
            RtviMessage::UserAudioLevel(level) => at_level("user-audio-level", level),
            RtviMessage::BotAudioLevel(level) => at_level("bot-audio-level", level),
            RtviMessage::Metrics(data) => write("metrics", None, Some(data)),
            RtviMessage::Other { kind, id, data } => write(kind, id, data),
            RtviMessage::UserStartedSpeaking => bare("user-started-speaking"),
            RtviMessage::UserStoppedSpeaking => bare("user-stopped-speaking"),
            RtviMessage::UserMuteStarted => bare("user-mute-started"),
            RtviMessage::UserMuteStopped => bare("user-mute-stopped"),
            RtviMessage::BotStartedSpeaking => bare("bot-started-speaking"),
            RtviMessage::BotStoppedSpeaking => bare("bot-stopped-speaking"),
            RtviMessage::BotInterrupted => bare("bot-interrupted"),
            RtviMessage::BotLlmStarted => bare("bot-llm-started"),
            RtviMessage::BotLlmStopped => bare("bot-llm-stopped"),
            RtviMessage::BotTtsStarted => bare("bot-tts-started"),
            RtviMessage::BotTtsStopped => bare("bot-tts-stopped"),
        }
    }
}

impl From<RtviMessage<'_>> for Message {
    fn from(message: RtviMessage<'_>) -> Message {
        message.to_message()
    }
}

fn bare(kind: &str) -> Message {
    write(kind, None, None::<()>)
}

fn said(kind: &str, text: &str) -> Message {
    write(kind, None, Some(json!({ "text": text })))
}

fn at_level(kind: &str, level: f32) -> Message {
    write(kind, None, Some(json!({ "value": level })))
}

fn write<D: Serialize>(kind: &str, id: Option<&str>, data: Option<D>) -> Message {
    let envelope = Envelope { label: LABEL, r#type: kind, id, data };
    let text = serde_json::to_string(&envelope);
    Message::Text(text.expect("structs and JSON values have only strings as keys"))
}
