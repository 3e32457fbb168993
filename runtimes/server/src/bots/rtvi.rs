//! The one exchange of RTVI that every client's `connect()` waits for: `client-ready` is answered
//! by `bot-ready` (RTVI of `@pipecat-ai/client-js` 1.13).

use serde::Deserialize;
use serde_json::{Value, json};
use smallrtc::Message;

/// The protocol's version; clients take any with the major number 1 or 2.
const VERSION: &str = "2.0.0";

#[derive(Deserialize)]
struct Envelope {
    label: String,
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    id: Value,
}

/// The answer, when the message is `client-ready`.
pub(crate) fn bot_ready(message: &Message) -> Option<Message> {
    let envelope: Envelope = message.parse().ok()?;
    if envelope.label != "rtvi-ai" || envelope.kind != "client-ready" {
        return None;
    }
    let about = json!({ "library": "smallrtc", "library_version": env!("CARGO_PKG_VERSION") });
    let answer = json!({
        "label": "rtvi-ai",
        "type": "bot-ready",
        "id": envelope.id,
        "data": { "version": VERSION, "about": about },
    });
    Some(Message::text(answer.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn client_ready_is_answered_under_its_own_id() {
        let json = r#"{"id":"d7c2a1f0","label":"rtvi-ai","type":"client-ready","data":{"version":"2.1.0"}}"#;
        for message in [Message::text(json), Message::Binary(json.as_bytes().to_vec().into())] {
            let answer: Value = bot_ready(&message).unwrap().parse().unwrap();
            assert_eq!(answer["label"], "rtvi-ai");
            assert_eq!(answer["type"], "bot-ready");
            assert_eq!(answer["id"], "d7c2a1f0");
            assert_eq!(answer["data"]["version"], "2.0.0");
        }
    }

    #[test]
    fn nothing_else_is_answered() {
        for text in [
            "client-ready",
            "[]",
            r#"{"type":"client-ready"}"#,
            r#"{"label":"other","type":"client-ready"}"#,
            r#"{"label":"rtvi-ai","type":"bot-ready"}"#,
            r#"{"label":"rtvi-ai","type":7}"#,
        ] {
            assert_eq!(bot_ready(&Message::text(text)), None, "{text}");
        }
    }
}
