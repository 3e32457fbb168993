//! Messages of the data channel: what is the protocol's own, and what is the application's.
//!
//! Clients write JSON as text, iOS writes the same JSON as binary messages; both are read. Anything
//! that is neither a ping nor `{"type":"signalling","message":{..}}` belongs to the application,
//! JSON without `type`, JSON lists and plain bytes included (clients of Pipecat's SmallWebRTC).

use bytes::Bytes;
use serde::Deserialize;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::SendError;

/// A message of the application.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Message {
    /// A text message; clients expect JSON.
    Text(String),
    /// A binary message.
    Binary(Bytes),
}

impl Message {
    /// A text message.
    #[must_use]
    pub fn text(text: impl Into<String>) -> Message {
        Message::Text(text.into())
    }

    /// A value, written as JSON text.
    ///
    /// # Errors
    /// [`SendError::NotJson`] when the value cannot be written (a map with keys that are not
    /// strings).
    pub fn json(value: &impl Serialize) -> Result<Message, SendError> {
        serde_json::to_string(value)
            .map(Message::Text)
            .map_err(|error| SendError::NotJson(error.to_string()))
    }

    /// Reads the message, text or binary, as JSON.
    ///
    /// # Errors
    /// The reader's error, when it is not JSON of that shape.
    pub fn parse<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        serde_json::from_slice(self.as_bytes())
    }

    /// The bytes of the message, text as UTF-8.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Message::Text(text) => text.as_bytes(),
            Message::Binary(bytes) => bytes,
        }
    }

    /// Whether it is sent as a binary message.
    #[must_use]
    pub fn is_binary(&self) -> bool {
        matches!(self, Message::Binary(_))
    }

    /// The length in bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.as_bytes().len()
    }

    /// Whether there is no byte in it. Such a message cannot be sent.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.as_bytes().is_empty()
    }
}

/// What an incoming message turned out to be.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Inbound {
    /// `ping: ...`, sent once a second by the JavaScript client.
    Ping,
    /// The peer switched a track on or off.
    TrackStatus { receiver_index: u8, enabled: bool },
    /// The peer leaves.
    PeerLeft,
    /// `renegotiate`: only a server says that, so nothing follows from it here.
    Renegotiate,
    /// A signalling message that means nothing: counted and dropped.
    Noise,
    /// For the application.
    Application(Message),
}

/// The text that asks the client for a new offer.
pub(crate) const RENEGOTIATE: &str = r#"{"type":"signalling","message":{"type":"renegotiate"}}"#;
/// The text that tells the client that the bot leaves.
pub(crate) const PEER_LEFT: &str = r#"{"type":"signalling","message":{"type":"peerLeft"}}"#;

#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(rename = "type", borrow)]
    kind: Option<std::borrow::Cow<'a, str>>,
    message: Option<Signal>,
}

#[derive(Deserialize)]
struct Signal {
    #[serde(rename = "type")]
    kind: Option<String>,
    receiver_index: Option<u64>,
    enabled: Option<bool>,
}

/// Sorts an incoming message.
pub(crate) fn classify(binary: bool, data: Vec<u8>) -> Inbound {
    // Only text pings count: `b"ping"` is the application's (M4).
    if !binary && data.starts_with(b"ping") {
        return Inbound::Ping;
    }
    if looks_like_object(&data)
        && contains(&data, b"signalling")
        && let Some(inbound) = signalling(&data)
    {
        return inbound;
    }
    if binary {
        return Inbound::Application(Message::Binary(Bytes::from(data)));
    }
    match String::from_utf8(data) {
        Ok(text) => Inbound::Application(Message::Text(text)),
        Err(_) => Inbound::Noise,
    }
}

fn looks_like_object(data: &[u8]) -> bool {
    data.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'{')
}

/// Most application messages never name signalling, nor RTVI, and reading each as JSON would be
/// most of the cost of receiving it.
pub(crate) fn contains(data: &[u8], word: &[u8]) -> bool {
    data.windows(word.len()).any(|window| window == word)
}

fn signalling(data: &[u8]) -> Option<Inbound> {
    #[derive(Deserialize)]
    struct Outer<'a> {
        #[serde(rename = "type", borrow)]
        kind: Option<std::borrow::Cow<'a, str>>,
    }
    let outer: Outer<'_> = serde_json::from_slice(data).ok()?;
    if outer.kind.as_deref() != Some("signalling") {
        return None;
    }
    let Ok(envelope) = serde_json::from_slice::<Envelope<'_>>(data) else {
        return Some(Inbound::Noise);
    };
    debug_assert_eq!(envelope.kind.as_deref(), Some("signalling"));
    // Without one it is the application's, as in Pipecat's `connection.py`.
    envelope.message.map(signal)
}

fn signal(signal: Signal) -> Inbound {
    match (signal.kind.as_deref(), signal.receiver_index, signal.enabled) {
        (Some("trackStatus"), Some(index), Some(enabled)) => match u8::try_from(index) {
            Ok(receiver_index) => Inbound::TrackStatus { receiver_index, enabled },
            Err(_) => Inbound::Noise,
        },
        (Some("peerLeft"), _, _) => Inbound::PeerLeft,
        (Some("renegotiate"), _, _) => Inbound::Renegotiate,
        _ => Inbound::Noise,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Inbound {
        classify(false, text.as_bytes().to_vec())
    }

    #[test]
    fn a_message_is_read_as_json_whether_it_is_text_or_binary() {
        let message = Message::json(&vec![1, 2]).unwrap();
        assert_eq!(message, Message::text("[1,2]"));
        let binary = Message::Binary(Bytes::from_static(b"[1,2]"));
        for message in [message, binary] {
            assert_eq!(message.parse::<Vec<u8>>().unwrap(), [1, 2]);
            assert!(message.parse::<String>().is_err(), "of another shape");
            assert_eq!((message.len(), message.is_empty()), (5, false));
        }
        assert!(Message::text("").is_empty() && Message::Binary(Bytes::new()).is_empty());
    }

    #[test]
    fn a_value_whose_keys_are_no_text_is_not_json_and_the_error_says_so() {
        let map = std::collections::BTreeMap::from([(vec![1], 2)]);
        let Err(SendError::NotJson(why)) = Message::json(&map) else { panic!("it was taken") };
        assert_eq!(why, "key must be a string");
    }

    #[test]
    fn pings_are_the_protocols_own_only_as_text() {
        assert_eq!(text("ping: 1790000000123"), Inbound::Ping);
        assert_eq!(text("pingpong"), Inbound::Ping);
        let bytes = Bytes::from_static(b"ping");
        assert_eq!(classify(true, b"ping".to_vec()), Inbound::Application(Message::Binary(bytes)));
    }

    #[test]
    fn track_status_is_read_from_text_and_from_binary() {
        let json = r#"{"type":"signalling","message":{"type":"trackStatus","receiver_index":1,"enabled":false}}"#;
        let expected = Inbound::TrackStatus { receiver_index: 1, enabled: false };
        assert_eq!(text(json), expected);
        assert_eq!(classify(true, json.as_bytes().to_vec()), expected);
    }

    #[test]
    fn malformed_signalling_is_noise_and_nothing_else() {
        for json in [
            // What a replay puts in the place of noise (`record/player.rs`).
            r#"{"type":"signalling","message":0}"#,
            r#"{"type":"signalling","message":{"type":"trackStatus"}}"#,
            r#"{"type":"signalling","message":{"type":"trackStatus","receiver_index":700,"enabled":true}}"#,
            r#"{"type":"signalling","message":{"type":"what"}}"#,
        ] {
            assert_eq!(text(json), Inbound::Noise, "{json}");
        }
        assert_eq!(classify(false, vec![0xff, 0xfe]), Inbound::Noise);
    }

    #[test]
    fn json_without_type_lists_and_words_belong_to_the_application() {
        let bare = [r#"{"type":"signalling"}"#, r#"{"type":"signalling","message":null}"#];
        let others = ["{}", "[]", "[1,2]", "hello", r#"{"a":"signalling"}"#, r#"{"type":3}"#];
        for json in bare.into_iter().chain(others) {
            assert_eq!(text(json), Inbound::Application(Message::text(json)), "{json}");
        }
    }

    #[test]
    fn what_this_side_says_is_read_back_as_such() {
        assert_eq!(text(PEER_LEFT), Inbound::PeerLeft);
        assert_eq!(text(RENEGOTIATE), Inbound::Renegotiate);
    }
}
