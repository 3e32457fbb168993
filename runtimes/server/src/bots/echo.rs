//! The echo bot: sound, messages and pictures come back.
//!
//! Sound is decoded and goes out again through the pacing queue; messages come back unchanged,
//! in order, text as text and binary as binary, but for those of RTVI; pictures come back as they
//! were coded, and so does sound in calls that give it out coded.
//!
//! Of RTVI `client-ready` is answered, a request of the page (`client-message`) gets itself back,
//! one of the kind `renegotiate` makes the bot ask for a new offer before, and `disconnect-bot`
//! ends the call.
//!
//! Messages go through a queue of their own, so that a peer that reads none of them stops
//! hearing nothing else.
//!
//! What the bot says is its [`Voice`]'s; all the rest is the same for every bot here.

use std::collections::BTreeMap;

use async_channel::{Receiver, Sender};
use futures_lite::future;
use smallrtc::rtvi::{Capabilities, Rtvi, RtviEvent, RtviMessage};
use smallrtc::{CloseReason, Codec, EncodedFrame, Event, MediaKind, Message, Track, TrackId};
use smallrtc_smol::{AudioBlock, PeerSender, Received};
use tracing::{debug, info};

use super::sound::Sound;
use crate::TapedPeer;

/// Messages on their way back that wait for room in the call's own queue. As many as a call holds
/// before its channel opens; when it is full the bot reads nothing until there is room, and the
/// call's limits hold.
const MESSAGES_MAX: usize = 50;

/// While a keyframe is missing, one is asked for at the first and then each this many frames:
/// twice a second at 30 frames a second, in case the request was lost.
const KEYFRAME_REQUEST_FRAMES: u32 = 15;

/// Lets the peer hear, read and see itself until the call ends; gives the reason of the end,
/// `None` when the driver went away before. Calls should be set up with
/// [`echo_config`](super::echo_config), or the echo lags more. Nobody else may clear or pause its
/// sound meanwhile: what the bot queued it takes for said, or still to be said.
pub async fn echo(call: impl Into<TapedPeer>) -> Option<CloseReason> {
    run(call.into(), Sound::default()).await
}

/// What a bot says.
pub(super) trait Voice {
    /// Takes what was heard.
    async fn hear(&mut self, call: &mut TapedPeer, block: &AudioBlock);

    /// Takes an event.
    async fn see(&mut self, call: &mut TapedPeer, event: &Event);

    /// Returns when [`Voice::turn`] has something to do. Safe to cancel.
    async fn due(&mut self);

    /// Says what is to be said now.
    async fn turn(&mut self, call: &mut TapedPeer);
}

/// Answers a call with this voice.
pub(super) async fn run(mut call: TapedPeer, mut voice: impl Voice) -> Option<CloseReason> {
    let (messages, waiting) = async_channel::bounded(MESSAGES_MAX);
    let answers = answer_messages(call.sender().clone(), waiting);
    let (reason, ()) = future::zip(answer_call(&mut call, &mut voice, messages), answers).await;
    reason
}

async fn answer_call(
    call: &mut TapedPeer,
    voice: &mut impl Voice,
    messages: Sender<Message>,
) -> Option<CloseReason> {
    let mut pictures = Pictures::default();
    loop {
        let received = async { Some(call.recv().await) };
        let due = async {
            voice.due().await;
            None
        };
        let Some(received) = future::or(received, due).await else {
            voice.turn(call).await;
            continue;
        };
        match received? {
            Received::Audio(block) => voice.hear(call, &block).await,
            // The other end is gone only when the call is, which is told next.
            Received::Message(message) => drop(messages.send(message).await),
            Received::Encoded { track, frame } if frame.codec == Codec::Opus => {
                send_coded(call, track, frame).await;
            }
            Received::Encoded { track, frame } => pictures.repeat(call, track, frame).await,
            Received::Event(event) => {
                voice.see(call, &event).await;
                pictures.see(call, &event).await;
                log(call, &event);
            }
            Received::Closed(reason) => return Some(reason),
            _ => {}
        }
    }
}

async fn answer_messages(peer: PeerSender, messages: Receiver<Message>) {
    let mut rtvi = rtvi();
    while let Ok(message) = messages.recv().await {
        match answer(&mut rtvi, message) {
            Answer::Leave => return peer.close().await,
            Answer::Say { asks_for_offer, answer } => {
                if asks_for_offer {
                    peer.request_renegotiation().await;
                }
                for answer in std::iter::from_fn(|| rtvi.poll_reply()).chain(answer) {
                    if let Err(error) = peer.send_message(answer).await {
                        debug!(%error, "a message could not be returned");
                    }
                }
            }
        }
    }
}

fn rtvi() -> Rtvi {
    Rtvi::new().capabilities(Capabilities {
        audio_in: true,
        audio_out: true,
        video_in: true,
        video_out: true,
        metrics: false,
    })
}

/// What a message is answered with.
#[derive(Clone, Debug, PartialEq)]
enum Answer {
    /// This, after what RTVI replies by itself.
    Say { asks_for_offer: bool, answer: Option<Message> },
    /// The end of the call.
    Leave,
}

fn answer(rtvi: &mut Rtvi, message: Message) -> Answer {
    match rtvi.handle(message) {
        Some(RtviEvent::Foreign(message)) => {
            Answer::Say { asks_for_offer: false, answer: Some(message) }
        }
        Some(RtviEvent::ClientMessage { id, kind, data }) => {
            let response =
                RtviMessage::ServerResponse { id: &id, kind: &kind, data: data.as_ref() };
            Answer::Say { asks_for_offer: kind == "renegotiate", answer: Some(response.into()) }
        }
        Some(RtviEvent::DisconnectBot { .. }) => Answer::Leave,
        _ => Answer::Say { asks_for_offer: false, answer: None },
    }
}

async fn send_coded(peer: &mut TapedPeer, track: TrackId, frame: EncodedFrame) {
    if let Err(error) = peer.send_encoded(track, frame).await {
        debug!(%error, %track, "a frame could not be returned");
    }
}

/// The way back of pictures. What cannot be shown without a frame that was lost is held back
/// until the next keyframe: the peer's decoder could not know that something is missing.
#[derive(Debug, Default)]
struct Pictures {
    /// For each track that goes both ways, how many frames it waits for a keyframe; `None` when
    /// it does not.
    waiting: BTreeMap<TrackId, Option<u32>>,
}

/// What becomes of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Return,
    HoldBack,
    AskForKeyframe,
}

impl Pictures {
    async fn repeat(&mut self, peer: &mut TapedPeer, track: TrackId, frame: EncodedFrame) {
        match self.judge(track, frame.keyframe, frame.contiguous) {
            Verdict::Return => send_coded(peer, track, frame).await,
            Verdict::HoldBack => {}
            Verdict::AskForKeyframe => peer.request_keyframe(track).await,
        }
    }

    fn judge(&mut self, track: TrackId, keyframe: bool, contiguous: bool) -> Verdict {
        let Some(waiting) = self.waiting.get_mut(&track) else { return Verdict::HoldBack };
        if keyframe || (contiguous && waiting.is_none()) {
            *waiting = None;
            return Verdict::Return;
        }
        let frames = waiting.unwrap_or(0);
        *waiting = Some(frames.saturating_add(1));
        if frames % KEYFRAME_REQUEST_FRAMES == 0 {
            return Verdict::AskForKeyframe;
        }
        Verdict::HoldBack
    }

    async fn see(&mut self, peer: &mut TapedPeer, event: &Event) {
        match event {
            Event::TrackStarted(track) if goes_both_ways(track) => {
                self.waiting.insert(track.id, Some(0));
                peer.request_keyframe(track.id).await;
            }
            Event::TrackEnded(track) => drop(self.waiting.remove(track)),
            // The peer's decoder is stuck: its own encoder is where a keyframe comes from.
            Event::KeyframeRequested(track) if self.waiting.contains_key(track) => {
                peer.request_keyframe(*track).await;
            }
            _ => {}
        }
    }
}

fn goes_both_ways(track: &Track) -> bool {
    track.kind == MediaKind::Video && track.receives && track.sends
}

fn log(peer: &TapedPeer, event: &Event) {
    let (shard, call) = (peer.shard(), peer.id());
    match event {
        Event::StateChanged(state) => debug!(shard, %call, %state, "state"),
        Event::ChannelOpened { label } => debug!(shard, %call, label, "channel open"),
        Event::TrackStatus { track, enabled } => {
            debug!(shard, %call, %track, enabled, "track status")
        }
        Event::MessagesDropped { count } => {
            info!(shard, %call, count, "messages dropped: no channel")
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    const CAMERA: TrackId = TrackId(1);

    fn rtvi_message(kind: &str, data: &str) -> Message {
        Message::text(format!(r#"{{"label":"rtvi-ai","type":"{kind}","id":"7","data":{data}}}"#))
    }

    #[test]
    fn messages_return_as_they_came_and_rtvi_is_answered() {
        let mut rtvi = rtvi();
        let say = |asks_for_offer, answer| Answer::Say { asks_for_offer, answer };
        for own in [Message::text(r#"{"a":1}"#), Message::Binary(vec![0xff, 0].into())] {
            assert_eq!(answer(&mut rtvi, own.clone()), say(false, Some(own)));
        }
        let ready = rtvi_message("client-ready", r#"{"version":"2.1.0"}"#);
        assert_eq!(answer(&mut rtvi, ready), say(false, None));
        let reply = rtvi.poll_reply().unwrap();
        assert!(reply.as_bytes().starts_with(br#"{"label":"rtvi-ai","type":"bot-ready","id":"7""#));
        for (kind, asks) in [("add", false), ("renegotiate", true)] {
            let data = format!(r#"{{"t":"{kind}","d":[1]}}"#);
            let response = rtvi_message("server-response", &data);
            let answered = answer(&mut rtvi, rtvi_message("client-message", &data));
            let Answer::Say { asks_for_offer, answer: Some(said) } = answered else {
                panic!("{answered:?}")
            };
            assert_eq!(asks_for_offer, asks);
            let [said, response] = [said, response].map(|it| it.parse::<Value>().unwrap());
            assert_eq!(said, response);
        }
        assert_eq!(answer(&mut rtvi, rtvi_message("disconnect-bot", "{}")), Answer::Leave);
        assert_eq!(answer(&mut rtvi, rtvi_message("dtmf", "{}")), say(false, None));
    }

    fn pictures() -> Pictures {
        Pictures { waiting: BTreeMap::from([(CAMERA, Some(0))]) }
    }

    #[test]
    fn nothing_returns_before_the_first_keyframe() {
        let mut pictures = pictures();
        assert_eq!(pictures.judge(CAMERA, false, true), Verdict::AskForKeyframe);
        assert_eq!(pictures.judge(CAMERA, false, true), Verdict::HoldBack);
        assert_eq!(pictures.judge(CAMERA, true, true), Verdict::Return);
        assert_eq!(pictures.judge(CAMERA, false, true), Verdict::Return);
    }

    #[test]
    fn after_a_gap_nothing_returns_until_a_keyframe() {
        let mut pictures = pictures();
        assert_eq!(pictures.judge(CAMERA, true, true), Verdict::Return);
        assert_eq!(pictures.judge(CAMERA, false, false), Verdict::AskForKeyframe);
        assert_eq!(pictures.judge(CAMERA, false, true), Verdict::HoldBack);
        // A keyframe stands for itself, whatever is missing before it.
        assert_eq!(pictures.judge(CAMERA, true, false), Verdict::Return);
    }

    #[test]
    fn a_lost_request_is_repeated() {
        let mut pictures = pictures();
        let frames = (0..61).map(|_| pictures.judge(CAMERA, false, true));
        let asked = frames.filter(|verdict| *verdict == Verdict::AskForKeyframe).count();
        assert_eq!(asked, 5);
    }

    #[test]
    fn a_track_that_goes_one_way_only_returns_nothing() {
        assert_eq!(pictures().judge(TrackId(2), true, true), Verdict::HoldBack);
    }
}
