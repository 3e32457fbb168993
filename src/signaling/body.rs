//! The JSON of requests, checked field by field before anything is done.
//!
//! The fields are read as any JSON value first, so that what is wrong can be named by field and
//! not by byte offset. Unknown fields are skipped without being kept.

use serde::Deserialize;
use serde_json::Value;

use super::refusal::Refusal;
use super::{BODY_LEN_MAX, CANDIDATES_MAX, START_BODY_LEN_MAX};
use crate::{CandidateError, Offer, RemoteCandidate};

/// POST: an offer.
#[derive(Debug)]
pub(super) struct OfferBody {
    pub(super) offer: Offer,
    pub(super) pc_id: Option<String>,
    pub(super) restart_pc: bool,
    pub(super) request_data: Option<Value>,
}

/// PATCH: candidates.
#[derive(Debug)]
pub(super) struct PatchBody {
    pub(super) pc_id: String,
    pub(super) candidates: Vec<RemoteCandidate>,
}

/// POST `/start`.
#[derive(Debug, Default, PartialEq)]
pub(super) struct StartBody {
    pub(super) default_ice_servers: bool,
    /// `body`, as JSON text.
    pub(super) body: Option<String>,
}

// The fields default to null, which every optional one may be as well.
#[derive(Deserialize)]
#[serde(default)]
#[derive(Default)]
struct RawOffer {
    sdp: Value,
    r#type: Value,
    pc_id: Value,
    restart_pc: Value,
    request_data: Value,
    #[serde(rename = "requestData")]
    request_data_camel: Value,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct RawPatch {
    pc_id: Value,
    candidates: Value,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct RawCandidate {
    candidate: Value,
    sdp_mid: Value,
    sdp_mline_index: Value,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct RawStart {
    transport: Value,
    #[serde(rename = "createDailyRoom")]
    create_daily_room: Value,
    #[serde(rename = "enableDefaultIceServers")]
    default_ice_servers: Value,
    body: Value,
}

/// What both have in common.
#[derive(Default, Deserialize)]
#[serde(default)]
struct RawNamed {
    pc_id: Value,
}

/// The `pc_id` of a body, if it is one that can be read.
pub(super) fn name_in(body: &[u8]) -> Option<String> {
    match json(body) {
        Ok(RawNamed { pc_id: Value::String(name) }) => Some(name),
        _ => None,
    }
}

impl OfferBody {
    pub(super) fn read(body: &[u8]) -> Result<OfferBody, Refusal> {
        let raw: RawOffer = json(body)?;
        let sdp = required_text("sdp", &raw.sdp, "a WebRTC offer")?;
        let kind = required_text("type", &raw.r#type, "`offer`")?;
        if kind != "offer" {
            return Err(invalid("type", &format!("`{}`", clip(kind)), "`offer`"));
        }
        let restart_pc = match raw.restart_pc {
            Value::Null => false,
            Value::Bool(restart) => restart,
            other => return Err(invalid("restart_pc", kind_of(&other), "true or false")),
        };
        let pc_id = optional_text("pc_id", raw.pc_id)?;
        let data = first_that_says(raw.request_data, raw.request_data_camel);
        let offer = Offer::parse(sdp)?;
        Ok(OfferBody { offer, pc_id, restart_pc, request_data: data })
    }
}

impl PatchBody {
    pub(super) fn read(body: &[u8]) -> Result<PatchBody, Refusal> {
        let raw: RawPatch = json(body)?;
        let pc_id = required_text("pc_id", &raw.pc_id, "the pc_id of the answer")?.to_owned();
        let list = match raw.candidates {
            Value::Array(list) => list,
            Value::Null => return Err(invalid("candidates", "missing", "a list")),
            other => return Err(invalid("candidates", kind_of(&other), "a list")),
        };
        if list.len() > CANDIDATES_MAX {
            let detail =
                format!("candidates: {} entries, the limit is {CANDIDATES_MAX}", list.len());
            return Err(Refusal::Invalid(detail));
        }
        let candidates = list.into_iter().enumerate().map(|(index, raw)| candidate(index, raw));
        Ok(PatchBody { pc_id, candidates: candidates.collect::<Result<_, _>>()? })
    }
}

impl StartBody {
    /// Every field is optional, and what is no JSON at all is taken as no fields (`run.py`).
    pub(super) fn read(body: &[u8]) -> Result<StartBody, Refusal> {
        if body.len() > BODY_LEN_MAX {
            return Err(Refusal::BODY_TOO_LARGE);
        }
        if serde_json::from_slice::<serde::de::IgnoredAny>(body).is_err() {
            return Ok(StartBody::default());
        }
        let raw: RawStart = json(body)?;
        match raw.transport {
            Value::Null if raw.create_daily_room == Value::Bool(true) => {
                return Err(invalid("createDailyRoom", "true", "none: there is `webrtc` alone"));
            }
            Value::Null => {}
            Value::String(name) if name == "webrtc" => {}
            Value::String(name) => {
                return Err(invalid("transport", &format!("`{}`", clip(&name)), "`webrtc`"));
            }
            other => return Err(invalid("transport", kind_of(&other), "`webrtc`")),
        }
        let default_ice_servers = match raw.default_ice_servers {
            Value::Null => false,
            Value::Bool(wanted) => wanted,
            other => {
                return Err(invalid("enableDefaultIceServers", kind_of(&other), "true or false"));
            }
        };
        let body = Some(raw.body).filter(|body| !body.is_null()).map(|body| body.to_string());
        if body.as_ref().is_some_and(|body| body.len() > START_BODY_LEN_MAX) {
            return Err(Refusal::TooLarge { field: "body.body", limit: START_BODY_LEN_MAX });
        }
        Ok(StartBody { default_ice_servers, body })
    }
}

/// Whether a value says as little as none: what counts as false in the original's language.
pub(super) fn says_nothing(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Bool(true) => false,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::Object(fields) => fields.is_empty(),
    }
}

/// The first that says something; of two that say nothing the first that is there.
fn first_that_says(first: Value, second: Value) -> Option<Value> {
    let both = [first, second];
    let says = both.iter().position(|value| !says_nothing(value));
    let index = says.or_else(|| both.iter().position(|value| !value.is_null()))?;
    both.into_iter().nth(index)
}

/// The text of a candidate that cannot be taken.
pub(super) fn bad_candidate(index: usize, error: &CandidateError) -> Refusal {
    Refusal::Invalid(format!("candidates[{index}].{error}"))
}

fn candidate(index: usize, raw: Value) -> Result<RemoteCandidate, Refusal> {
    let field = |name: &str| format!("candidates[{index}].{name}");
    if !raw.is_object() {
        return Err(invalid(&format!("candidates[{index}]"), kind_of(&raw), "an object"));
    }
    let raw: RawCandidate =
        serde_json::from_value(raw).map_err(|error| Refusal::Invalid(format!("body: {error}")))?;
    // All m-lines are bundled, so these decide nothing (RFC 8843 section 7.1); only their kind is
    // checked.
    optional_text(&field("sdp_mid"), raw.sdp_mid)?;
    if !(raw.sdp_mline_index.is_null() || raw.sdp_mline_index.is_u64()) {
        let found = kind_of(&raw.sdp_mline_index);
        return Err(invalid(&field("sdp_mline_index"), found, "a number from 0 on"));
    }
    let Value::String(text) = &raw.candidate else {
        return Err(invalid(&field("candidate"), kind_of(&raw.candidate), "a string"));
    };
    RemoteCandidate::parse(text).map_err(|error| bad_candidate(index, &error))
}

fn json<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, Refusal> {
    if body.len() > BODY_LEN_MAX {
        return Err(Refusal::BODY_TOO_LARGE);
    }
    let text = body.trim_ascii_start();
    // A list would be read as the fields in order.
    if text.first() != Some(&b'{') {
        return Err(invalid("body", "not an object", "a JSON object"));
    }
    serde_json::from_slice(body).map_err(|error| Refusal::Invalid(format!("body: {error}")))
}

fn required_text<'a>(field: &str, value: &'a Value, expected: &str) -> Result<&'a str, Refusal> {
    match value {
        Value::String(text) if text.is_empty() => Err(invalid(field, "empty", expected)),
        Value::String(text) => Ok(text),
        other => Err(invalid(field, kind_of(other), expected)),
    }
}

/// An empty text counts as none, as in the original (`if pc_id and ...`).
fn optional_text(field: &str, value: Value) -> Result<Option<String>, Refusal> {
    match value {
        Value::Null => Ok(None),
        Value::String(text) => Ok(Some(text).filter(|text| !text.is_empty())),
        other => Err(invalid(field, kind_of(&other), "a string")),
    }
}

fn invalid(field: &str, found: &str, expected: &str) -> Refusal {
    Refusal::Invalid(format!("{field}: {found} (expected {expected})"))
}

fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "missing",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

/// Answers do not repeat at length what came in.
fn clip(text: &str) -> String {
    text.chars().take(24).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SDP: &str = "v=0\r\nm=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\na=mid:0\r\n\
        a=ice-ufrag:abcd\r\na=ice-pwd:abcdefghijklmnopqrstuv\r\na=fingerprint:sha-256 00:11:22\r\n";

    fn offer(fields: &str) -> Result<OfferBody, Refusal> {
        let sdp = Value::from(SDP);
        OfferBody::read(format!(r#"{{"sdp":{sdp},"type":"offer"{fields}}}"#).as_bytes())
    }

    fn patch(body: &str) -> Result<PatchBody, Refusal> {
        PatchBody::read(body.as_bytes())
    }

    #[test]
    fn an_offer_of_the_smallest_client_is_enough() {
        let body = offer("").unwrap();
        assert_eq!(body.offer.sdp(), SDP);
        assert_eq!((body.pc_id, body.restart_pc, body.request_data), (None, false, None));
    }

    #[test]
    fn request_data_is_read_under_both_names_and_the_protocols_own_wins() {
        let data = |fields| offer(fields).unwrap().request_data;
        assert_eq!(data(r#","request_data":{"a":1}"#), Some(serde_json::json!({"a": 1})));
        assert_eq!(data(r#","requestData":[2]"#), Some(serde_json::json!([2])));
        assert_eq!(data(r#","requestData":1,"request_data":2"#), Some(Value::from(2)));
        assert_eq!(data(r#","request_data":null,"requestData":1"#), Some(Value::from(1)));
    }

    #[test]
    fn request_data_that_says_nothing_gives_way_to_what_says_something() {
        let data = |fields| offer(fields).unwrap().request_data;
        assert_eq!(data(r#","request_data":{},"requestData":[1]"#), Some(serde_json::json!([1])));
        assert_eq!(data(r#","request_data":{},"requestData":0"#), Some(serde_json::json!({})));
        assert_eq!(data(r#","requestData":{}"#), Some(serde_json::json!({})));
        for empty in ["null", "false", "0", "0.0", "\"\"", "[]", "{}"] {
            assert!(says_nothing(&serde_json::from_str(empty).unwrap()), "{empty}");
        }
        for full in ["true", "1", "\"x\"", "[0]", r#"{"a":null}"#] {
            assert!(!says_nothing(&serde_json::from_str(full).unwrap()), "{full}");
        }
    }

    #[test]
    fn every_field_of_a_start_is_optional_and_what_is_no_json_is_none() {
        let none = StartBody::default();
        for body in ["", "{}", "{", "garbage", r#"{"transport":null,"body":null,"x":1}"#] {
            assert_eq!(StartBody::read(body.as_bytes()).unwrap(), none, "{body}");
        }
        let body = r#"{"transport":"webrtc","enableDefaultIceServers":true,"body":{"a": 1}}"#;
        let read = StartBody::read(body.as_bytes()).unwrap();
        assert_eq!((read.default_ice_servers, read.body.as_deref()), (true, Some(r#"{"a":1}"#)));
    }

    #[test]
    fn what_is_wrong_with_a_start_is_named() {
        for (body, detail) in [
            ("[]", "body: not an object"),
            ("null", "body: not an object"),
            (r#"{"transport":"daily"}"#, "transport: `daily` (expected `webrtc`)"),
            (r#"{"transport":7}"#, "transport: a number (expected `webrtc`)"),
            (r#"{"createDailyRoom":true}"#, "createDailyRoom: true"),
            (r#"{"enableDefaultIceServers":1}"#, "enableDefaultIceServers: a number"),
        ] {
            match StartBody::read(body.as_bytes()) {
                Err(Refusal::Invalid(text)) => assert!(text.starts_with(detail), "{body}: {text}"),
                other => panic!("{body}: {other:?}"),
            }
        }
    }

    #[test]
    fn what_is_kept_of_a_start_at_the_limit_is_kept_and_one_byte_more_is_not() {
        let read = |len: usize| {
            let body = format!(r#"{{"body":"{}"}}"#, "y".repeat(len - 2));
            StartBody::read(body.as_bytes())
        };
        let kept = read(START_BODY_LEN_MAX).unwrap().body.unwrap();
        assert_eq!(kept.len(), START_BODY_LEN_MAX);
        let limit = START_BODY_LEN_MAX;
        let refused = Refusal::TooLarge { field: "body.body", limit };
        assert_eq!(read(START_BODY_LEN_MAX + 1).unwrap_err(), refused);
        let long = " ".repeat(BODY_LEN_MAX + 1);
        assert_eq!(StartBody::read(long.as_bytes()).unwrap_err(), Refusal::BODY_TOO_LARGE);
    }

    #[test]
    fn null_and_unknown_fields_are_as_none() {
        let body = offer(r#","pc_id":null,"restart_pc":null,"requestData":null,"x":{"y":[]}"#);
        let body = body.unwrap();
        assert_eq!((body.pc_id, body.restart_pc, body.request_data), (None, false, None));
        assert_eq!(offer(r#","pc_id":"""#).unwrap().pc_id, None);
        assert_eq!(offer(r#","pc_id":"p""#).unwrap().pc_id.as_deref(), Some("p"));
    }

    #[test]
    fn candidates_of_browsers_are_read_and_the_empty_one_ends_the_list() {
        let line = "candidate:1 1 udp 2113937151 192.0.2.7 50000 typ host";
        let body = format!(
            r#"{{"pc_id":"p","candidates":[
                {{"candidate":"{line}","sdp_mid":"0","sdp_mline_index":0}},
                {{"candidate":"{line}","sdp_mid":null,"sdp_mline_index":null}},
                {{"candidate":"","sdp_mid":"0","sdp_mline_index":0,"usernameFragment":"x"}},
                {{"candidate":""}}]}}"#
        );
        let PatchBody { pc_id, candidates } = patch(&body).unwrap();
        assert_eq!((pc_id.as_str(), candidates.len()), ("p", 4));
        assert_eq!(candidates[2..], [const { RemoteCandidate::EndOfCandidates }; 2]);
        assert!(patch(r#"{"pc_id":"p","candidates":[]}"#).unwrap().candidates.is_empty());
    }

    #[test]
    fn a_body_at_the_limit_is_read_and_one_byte_more_is_not() {
        let filler = |len: usize| format!(r#","x":"{}""#, "y".repeat(len));
        let empty = format!(r#"{{"sdp":{},"type":"offer"{}}}"#, Value::from(SDP), filler(0));
        let room = BODY_LEN_MAX - empty.len();
        assert!(offer(&filler(room)).is_ok());
        assert_eq!(offer(&filler(room + 1)).unwrap_err(), Refusal::BODY_TOO_LARGE);
    }

    #[test]
    fn as_many_candidates_as_a_session_takes_are_read_and_one_more_is_not() {
        let list = |len| vec![r#"{"candidate":""}"#; len].join(",");
        let body = |len| format!(r#"{{"pc_id":"p","candidates":[{}]}}"#, list(len));
        assert_eq!(patch(&body(CANDIDATES_MAX)).unwrap().candidates.len(), CANDIDATES_MAX);
        let refused = "candidates: 65 entries, the limit is 64".to_owned();
        assert_eq!(patch(&body(CANDIDATES_MAX + 1)).unwrap_err(), Refusal::Invalid(refused));
    }

    #[test]
    fn json_that_is_built_to_hurt_is_refused() {
        let deep = format!(r#","request_data":{}{}"#, "[".repeat(9_000), "]".repeat(9_000));
        assert!(matches!(offer(&deep), Err(Refusal::Invalid(_))));
        assert!(matches!(offer(r#","sdp":"twice""#), Err(Refusal::Invalid(_))));
        assert!(matches!(OfferBody::read(b"{\"sdp\":\"\xff\"}"), Err(Refusal::Invalid(_))));
    }
}
