//! The exchange that was captured, and what the table says.

use super::*;

/// The client's words of a call with Pipecat 1.14 and `@pipecat-ai/client-js` 1.13.
const READY: &str = r#"{"id":"d7c2a1f0","label":"rtvi-ai","type":"client-ready","data":{"version":"2.1.0","about":{"library":"@pipecat-ai/client-js","library_version":"1.13.1","platform_details":{}}}}"#;
const NONSENSE: &str = r#"{"id":"00000002","label":"rtvi-ai","type":"nonsense","data":{}}"#;
const DISCONNECT: &str = r#"{"id":"00000003","label":"rtvi-ai","type":"disconnect-bot","data":{}}"#;

fn replies(rtvi: &mut Rtvi) -> Vec<String> {
    let text = |message: Message| String::from_utf8(message.as_bytes().to_vec()).unwrap();
    std::iter::from_fn(|| rtvi.poll_reply()).map(text).collect()
}

/// What a message means to a bot that is ready, and what is replied.
fn told(text: &str) -> (Option<RtviEvent>, Vec<String>) {
    let mut rtvi = Rtvi::new();
    let event = rtvi.handle(Message::text(text));
    (event, replies(&mut rtvi))
}

fn message(kind: &str, data: &str) -> String {
    format!(r#"{{"label":"rtvi-ai","type":"{kind}","id":"x","data":{data}}}"#)
}

fn ready(version: &str) -> String {
    message("client-ready", &format!(r#"{{"version":"{version}"}}"#))
}

#[test]
fn the_exchange_of_the_original_is_repeated_byte_by_byte() {
    let mut rtvi = Rtvi::new()
        .about(
            serde_json::from_str(r#"{"library":"pipecat-ai","library_version":"1.14.0"}"#).unwrap(),
        )
        .capabilities(Capabilities {
            audio_in: true,
            audio_out: true,
            video_in: true,
            ..Capabilities::default()
        });
    let event = rtvi.handle(Message::text(READY));
    let Some(RtviEvent::ClientReady { id, version, about }) = event else { panic!("{event:?}") };
    assert_eq!((id.as_str(), version.as_deref()), ("d7c2a1f0", Some("2.1.0")));
    assert_eq!(about.unwrap()["library"], "@pipecat-ai/client-js");
    assert_eq!(
        replies(&mut rtvi),
        [
            r#"{"label":"rtvi-ai","type":"bot-ready","id":"d7c2a1f0","data":{"version":"2.2.0","about":{"library":"pipecat-ai","library_version":"1.14.0"},"capabilities":{"audio_in":true,"audio_out":true,"video_in":true,"video_out":false,"metrics":false}}}"#
        ]
    );
    assert_eq!(rtvi.handle(Message::text(NONSENSE)), None);
    assert_eq!(
        replies(&mut rtvi),
        [
            r#"{"label":"rtvi-ai","type":"error-response","id":"00000002","data":{"error":"Unsupported type nonsense"}}"#
        ]
    );
    let event = rtvi.handle(Message::text(DISCONNECT));
    assert_eq!(event, Some(RtviEvent::DisconnectBot { id: "00000003".to_owned() }));
    assert!(replies(&mut rtvi).is_empty());
}

#[test]
fn the_same_json_as_a_binary_message_is_the_same() {
    let binary = Message::Binary(READY.as_bytes().to_vec().into());
    let mut rtvi = Rtvi::new();
    assert_eq!(rtvi.handle(binary), told(READY).0);
    assert_eq!(replies(&mut rtvi), told(READY).1);
}

#[test]
fn clients_of_version_1_and_2_are_welcome_and_others_are_told_and_served() {
    for version in ["1.0.0", "1.4.2", "2.0.0", "2.99.7"] {
        let (event, replies) = told(&ready(version));
        assert!(matches!(event, Some(RtviEvent::ClientReady { .. })));
        assert_eq!(replies.len(), 1, "{version}: {replies:?}");
    }
    let long = "9".repeat(1000);
    for (version, problem) in [
        ("3.0.0", "RTVI version 3.0.0 is not compatible with server protocol 2.2.0."),
        ("0.3.0", "RTVI version 0.3.0 is not compatible with server protocol 2.2.0."),
        ("2.0", "Invalid client version format (2.0)."),
        ("two", "Invalid client version format (two)."),
        ("2.-1.0", "Invalid client version format (2.-1.0)."),
        (&long, &format!("Invalid client version format ({}).", &long[..64])),
        ("", "Client version unknown."),
    ] {
        let (event, replies) = told(&ready(version));
        assert!(matches!(event, Some(RtviEvent::ClientReady { .. })));
        let error = format!("{problem} Compatibility issues may occur.");
        let error = RtviMessage::ErrorResponse { id: "x", text: &error }.to_message();
        assert_eq!((replies[0].as_bytes(), replies.len()), (error.as_bytes(), 2));
        assert!(replies[1].contains(r#""type":"bot-ready","id":"x""#), "{replies:?}");
    }
    for data in ["{}", "null", r#"{"version":2}"#] {
        let (_, replies) = told(&message("client-ready", data));
        assert!(replies[0].contains("Client version unknown."), "{replies:?}");
    }
}

#[test]
fn a_client_waits_for_a_bot_that_is_not_ready() {
    let mut rtvi = Rtvi::new().not_ready();
    assert!(rtvi.handle(Message::text(READY)).is_some());
    assert!(replies(&mut rtvi).is_empty());
    rtvi.handle(Message::text(ready("2.0.0")));
    rtvi.set_ready();
    rtvi.set_ready();
    let told = replies(&mut rtvi);
    assert_eq!(told.len(), 1, "once, and to the newest: {told:?}");
    assert!(told[0].contains(r#""id":"x""#));
    let mut early = Rtvi::new().not_ready();
    early.set_ready();
    assert!(replies(&mut early).is_empty(), "nobody asked yet");
    early.handle(Message::text(READY));
    assert_eq!(replies(&mut early).len(), 1);
}

#[test]
fn requests_of_the_page_and_their_answers_have_one_id() {
    let (event, replies) = told(&message("client-message", r#"{"t":"add","d":{"a":[1,2]}}"#));
    let data = Some(json!({ "a": [1, 2] }));
    let (id, kind) = ("x".to_owned(), "add".to_owned());
    assert_eq!(event, Some(RtviEvent::ClientMessage { id, kind, data }));
    assert!(replies.is_empty());
    let answer = RtviMessage::ServerResponse { id: "x", kind: "add", data: Some(&json!(3)) };
    let text = r#"{"label":"rtvi-ai","type":"server-response","id":"x","data":{"t":"add","d":3}}"#;
    assert_eq!(answer.to_message(), Message::text(text));
}

#[test]
fn every_type_of_the_protocol_is_passed_on() {
    let text = r#"{"content":"hi","options":{"run_immediately":false}}"#;
    let expected = RtviEvent::SendText {
        id: "x".to_owned(),
        content: "hi".to_owned(),
        run_immediately: false,
        audio_response: true,
    };
    assert_eq!(told(&message("send-text", text)).0, Some(expected));
    let result = r#"{"function_name":"f","tool_call_id":"c","arguments":{"a":1},"result":"r"}"#;
    assert!(matches!(
        told(&message("llm-function-call-result", result)).0,
        Some(RtviEvent::FunctionCallResult { arguments, .. }) if arguments["a"] == 1
    ));
    assert!(matches!(
        told(&message("ui-event", r#"{"event":"click","payload":1}"#)).0,
        Some(RtviEvent::UiEvent { event, payload: Some(_), .. }) if event == "click"
    ));
    assert!(matches!(
        told(&message("ui-snapshot", r#"{"tree":[1]}"#)).0,
        Some(RtviEvent::UiSnapshot { tree, .. }) if tree == json!([1])
    ));
    assert!(matches!(
        told(&message("ui-cancel-job-group", r#"{"job_id":"j","reason":null}"#)).0,
        Some(RtviEvent::UiCancelJobGroup { job_id, reason: None, .. }) if job_id == "j"
    ));
    for name in OTHERS {
        let (event, replies) = told(&message(name, r#"{"a":1}"#));
        assert!(
            matches!(event, Some(RtviEvent::Other { kind, data, .. }) if kind == name && data["a"] == 1)
        );
        assert!(replies.is_empty());
    }
}

#[test]
fn what_lacks_something_is_answered_with_the_field_named() {
    for (kind, data, detail) in [
        ("client-message", "{}", "t: missing (expected a string)"),
        ("client-message", r#"{"t":1}"#, "t: a number (expected a string)"),
        ("send-text", "{}", "content: missing (expected a string)"),
        ("send-text", r#"{"content":"a","options":[]}"#, "options: a list (expected an object)"),
        (
            "send-text",
            r#"{"content":"a","options":{"audio_response":1}}"#,
            "audio_response: a number (expected true or false)",
        ),
        ("llm-function-call-result", "{}", "function_name: missing (expected a string)"),
        (
            "llm-function-call-result",
            r#"{"function_name":"f","tool_call_id":"c","arguments":{},"result":1}"#,
            "result: a number (expected an object or a string)",
        ),
        ("ui-event", r#"{"event":{}}"#, "event: an object (expected a string)"),
        ("ui-cancel-job-group", r#"{"job_id":true}"#, "job_id: a boolean (expected a string)"),
    ] {
        let (event, replies) = told(&message(kind, data));
        let text = format!("Invalid message: {detail}");
        let reply = RtviMessage::ErrorResponse { id: "x", text: &text }.to_message();
        assert_eq!(event, None);
        assert_eq!(replies.iter().map(String::as_bytes).collect::<Vec<_>>(), [reply.as_bytes()]);
    }
}

#[test]
fn an_envelope_that_cannot_be_read_is_an_error_that_ends_nothing() {
    for (text, detail) in [
        (r#"{"label":"rtvi-ai"}"#, "type: missing (expected a string)"),
        (r#"{"label":"rtvi-ai","type":7,"id":"x"}"#, "type: a number (expected a string)"),
        (r#"{"label":"rtvi-ai","type":"nonsense"}"#, "id: missing (expected a string)"),
        (
            r#"{"label":"rtvi-ai","type":"nonsense","id":"x","data":[]}"#,
            "data: a list (expected an object)",
        ),
    ] {
        let (event, replies) = told(text);
        assert_eq!(event, None);
        let expected = format!(
            r#"{{"label":"rtvi-ai","type":"error","data":{{"error":"Invalid RTVI transport message: {detail}","fatal":false}}}}"#
        );
        assert_eq!(replies, [expected]);
    }
}

#[test]
fn messages_that_cannot_be_read_are_counted_whichever_part_of_them_is_wrong() {
    let mut rtvi = Rtvi::new();
    for (text, invalid) in [
        (message("client-message", "{}"), 1),
        (message("client-message", r#"{"t":"add"}"#), 1),
        (r#"{"label":"rtvi-ai"}"#.to_owned(), 2),
        (message("ui-event", "{}"), 3),
    ] {
        rtvi.handle(Message::text(text));
        assert_eq!(rtvi.stats().invalid, invalid);
    }
    assert_eq!((rtvi.stats().received, rtvi.stats().unsupported), (4, 0));
}

#[test]
fn an_id_at_the_limit_is_answered_and_one_byte_more_is_an_error() {
    let with = |len: usize| {
        let id = "i".repeat(len);
        told(&format!(r#"{{"label":"rtvi-ai","type":"disconnect-bot","id":"{id}"}}"#))
    };
    assert!(matches!(with(ID_LEN_MAX).0, Some(RtviEvent::DisconnectBot { .. })));
    let (event, replies) = with(ID_LEN_MAX + 1);
    assert_eq!((event, replies[0].contains("id: 129 bytes (expected at most 128)")), (None, true));
}

#[test]
fn all_else_is_the_applications_own_and_comes_out_as_it_went_in() {
    let deep = format!(r#"{{"label":"rtvi-ai","data":{}{}}}"#, "[".repeat(9000), "]".repeat(9000));
    for text in [
        "",
        "hello",
        "rtvi-ai",
        "[]",
        r#"["rtvi-ai","client-ready","1",{}]"#,
        "7",
        "null",
        r#"{"type":"client-ready","id":"1"}"#,
        r#"{"label":"rtvi","type":"client-ready","id":"1"}"#,
        r#"{"label":["rtvi-ai"],"type":"client-ready","id":"1"}"#,
        r#"{"label":"rtvi-ai","label":"rtvi-ai","type":"client-ready","id":"1"}"#,
        r#"{"label":"rtvi-ai","type":"client-ready","id":"1""#,
        &deep,
    ] {
        let message = Message::text(text);
        let mut rtvi = Rtvi::new();
        assert_eq!(rtvi.handle(message.clone()), Some(RtviEvent::Foreign(message)));
        assert_eq!((rtvi.stats(), replies(&mut rtvi)), (RtviStats::default(), Vec::new()));
    }
    let noise = Message::Binary(vec![0xff, 0, 0x7b].into());
    assert_eq!(Rtvi::new().handle(noise.clone()), Some(RtviEvent::Foreign(noise)));
}

#[test]
fn replies_that_nobody_polls_stay_few_and_are_counted() {
    let mut rtvi = Rtvi::new();
    for _ in 0..REPLIES_MAX {
        rtvi.handle(Message::text(NONSENSE));
    }
    assert_eq!(rtvi.stats().replies_dropped, 0, "at the limit");
    rtvi.handle(Message::text(NONSENSE));
    assert_eq!(rtvi.stats().replies_dropped, 1);
    assert_eq!(replies(&mut rtvi).len(), REPLIES_MAX);
    let counted = RtviStats { received: 17, unsupported: 17, replies_dropped: 1, invalid: 0 };
    assert_eq!(rtvi.stats(), counted);
    let long = message(&"n".repeat(1000), "{}");
    rtvi.handle(Message::text(long));
    assert!(replies(&mut rtvi)[0].len() < 200);
}

#[test]
fn at_the_limit_the_replies_that_came_first_stay() {
    let mut rtvi = Rtvi::new();
    rtvi.handle(Message::text(READY));
    for _ in 0..REPLIES_MAX {
        rtvi.handle(Message::text(NONSENSE));
    }
    let kept = replies(&mut rtvi);
    assert_eq!(kept.len(), REPLIES_MAX);
    assert!(kept[0].contains(r#""type":"bot-ready""#), "the page waits for it: {}", kept[0]);
}

#[test]
fn what_a_bot_says_is_written_as_the_original_writes_it() {
    let (value, words) = (json!({ "a": 1 }), "hi");
    for (message, kind, rest) in [
        (RtviMessage::ServerMessage(&value), "server-message", r#","data":{"a":1}"#),
        (RtviMessage::Metrics(&value), "metrics", r#","data":{"a":1}"#),
        (RtviMessage::BotStartedSpeaking, "bot-started-speaking", ""),
        (RtviMessage::BotStoppedSpeaking, "bot-stopped-speaking", ""),
        (RtviMessage::UserStartedSpeaking, "user-started-speaking", ""),
        (RtviMessage::UserStoppedSpeaking, "user-stopped-speaking", ""),
        (RtviMessage::UserMuteStarted, "user-mute-started", ""),
        (RtviMessage::UserMuteStopped, "user-mute-stopped", ""),
        (RtviMessage::BotInterrupted, "bot-interrupted", ""),
        (RtviMessage::BotLlmStarted, "bot-llm-started", ""),
        (RtviMessage::BotLlmStopped, "bot-llm-stopped", ""),
        (RtviMessage::BotTtsStarted, "bot-tts-started", ""),
        (RtviMessage::BotTtsStopped, "bot-tts-stopped", ""),
        (RtviMessage::BotLlmText { text: words }, "bot-llm-text", r#","data":{"text":"hi"}"#),
        (RtviMessage::BotTtsText { text: words }, "bot-tts-text", r#","data":{"text":"hi"}"#),
        (RtviMessage::SystemLog { text: words }, "system-log", r#","data":{"text":"hi"}"#),
        (RtviMessage::UserAudioLevel(0.5), "user-audio-level", r#","data":{"value":0.5}"#),
        (RtviMessage::BotAudioLevel(0.25), "bot-audio-level", r#","data":{"value":0.25}"#),
        (
            RtviMessage::BotOutput { text: words, spoken: true, aggregated_by: "sentence" },
            "bot-output",
            r#","data":{"text":"hi","spoken":true,"aggregated_by":"sentence"}"#,
        ),
        (
            RtviMessage::UserTranscription {
                text: words,
                user_id: "u",
                timestamp: "2026-01-01T00:00:00Z",
                is_final: true,
            },
            "user-transcription",
            r#","data":{"text":"hi","user_id":"u","timestamp":"2026-01-01T00:00:00Z","final":true}"#,
        ),
        (
            RtviMessage::Error { text: words, fatal: true },
            "error",
            r#","data":{"error":"hi","fatal":true}"#,
        ),
        (
            RtviMessage::Other { kind: "ui-command", id: Some("9"), data: Some(&value) },
            "ui-command",
            r#","id":"9","data":{"a":1}"#,
        ),
    ] {
        let expected = format!(r#"{{"label":"rtvi-ai","type":"{kind}"{rest}}}"#);
        assert_eq!(Message::from(message), Message::text(expected));
    }
}
