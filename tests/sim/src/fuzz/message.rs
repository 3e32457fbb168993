//! One message of the peer.

use smallrtc::CloseReason;
use smallrtc::scripted::{CHUNK_OVERHEAD, Chunk, Content, Frame, HEADER_LEN, encode};

use super::config;
use super::subject::Subject;

/// As much of a message as one datagram has room for.
const PIECE_LEN: usize = 1150 - HEADER_LEN - CHUNK_OVERHEAD;

/// A message of the peer's data channel, as text and as binary: the session goes on, unless the
/// message says that the peer leaves. What is the application's is told as it came, once; of
/// binary, that is all but what may be signalling.
pub fn message(data: &[u8]) {
    for content in [Content::Text, Content::Binary] {
        let mut subject = Subject::connected(config(true));
        let mut pieces = data.chunks(PIECE_LEN).peekable();
        let mut number = 0;
        while let Some(data) = pieces.next() {
            number += 1;
            let content = if pieces.peek().is_some() { Content::More } else { content };
            subject.hear(&encode(&[Frame::Chunk(Chunk { number, channel: 1, content, data })]));
        }
        subject.drive_for(std::time::Duration::from_millis(20));
        assert!(subject.closed.is_none_or(|reason| reason == CloseReason::PeerLeft));
        let stats = subject.session.stats();
        let counted = stats.messages_received + stats.messages_noise + stats.pings;
        assert!(counted <= 1, "one message is counted once: {stats:?}");
        for message in &subject.messages {
            assert_eq!(message.as_bytes(), data, "a message is told as it came");
        }
        assert_eq!(subject.messages.len() as u64, stats.messages_received);
        let is_free = content == Content::Binary && !data.contains(&b'{') && !data.is_empty();
        assert!(!is_free || stats.messages_received == 1, "a message is lost");
    }
}
