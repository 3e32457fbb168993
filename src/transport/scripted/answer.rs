//! The answer: as little SDP as tells a scripted peer what it has to know.

use std::fmt::Write as _;

use crate::offer::{Direction, LineKind, MediaLine};
use crate::transport::{IceCredentials, NegotiatedLine};
use crate::{Codec, LocalCandidate, MediaKind, Offer};

use super::stream::MESSAGE_LEN_MAX;

/// What becomes of an m-line. Video is VP8 always: a script needs no choice.
pub(super) fn negotiate(line: &MediaLine, sends_copies: bool) -> NegotiatedLine {
    let kind = match line.kind {
        LineKind::Application if !line.stopped => return NegotiatedLine::Channels,
        LineKind::Audio if !line.stopped => MediaKind::Audio,
        LineKind::Video if !line.stopped => MediaKind::Video,
        _ => return NegotiatedLine::Rejected,
    };
    NegotiatedLine::Media {
        kind,
        receives: line.direction.sends(),
        sends: line.direction.receives(),
        codec: match kind {
            MediaKind::Audio => Codec::Opus,
            MediaKind::Video => Codec::Vp8,
        },
        copies: sends_copies && line.offers_red(),
    }
}

/// Writes the answer.
pub(super) fn write(
    offer: &Offer,
    lines: &[NegotiatedLine],
    credentials: &IceCredentials,
    candidates: &[LocalCandidate],
) -> String {
    let mut sdp = String::from("v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\n");
    for (media, line) in offer.media().iter().zip(lines) {
        let written = write_line(&mut sdp, media, *line)
            .and_then(|()| write_transport(&mut sdp, credentials, candidates));
        written.expect("a String takes all text");
    }
    sdp
}

fn write_line(sdp: &mut String, media: &MediaLine, line: NegotiatedLine) -> std::fmt::Result {
    let word = match media.kind {
        LineKind::Audio => "audio",
        LineKind::Video => "video",
        LineKind::Application | LineKind::Other => "application",
    };
    match line {
        NegotiatedLine::Media { kind, .. } => {
            let format = match kind {
                MediaKind::Audio => "111\r\na=rtpmap:111 opus/48000/2",
                MediaKind::Video => "96\r\na=rtpmap:96 VP8/90000",
            };
            write!(sdp, "m={word} 9 UDP/TLS/RTP/SAVPF {format}\r\n")?;
        }
        NegotiatedLine::Channels => {
            write!(sdp, "m={word} 9 UDP/DTLS/SCTP webrtc-datachannel\r\na=sctp-port:5000\r\n")?;
            write!(sdp, "a=max-message-size:{MESSAGE_LEN_MAX}\r\n")?;
        }
        NegotiatedLine::Rejected => write!(sdp, "m={word} 0 UDP/TLS/RTP/SAVPF 0\r\n")?,
    }
    write!(sdp, "a=mid:{}\r\na={}\r\n", media.mid, inverse(media.direction))
}

fn write_transport(
    sdp: &mut String,
    credentials: &IceCredentials,
    candidates: &[LocalCandidate],
) -> std::fmt::Result {
    let IceCredentials { ufrag, pwd } = credentials;
    write!(sdp, "a=ice-ufrag:{ufrag}\r\na=ice-pwd:{pwd}\r\n")?;
    for (index, candidate) in candidates.iter().enumerate() {
        let (ip, port) = (candidate.advertised().ip(), candidate.advertised().port());
        let priority = 2_130_706_431 - index;
        write!(sdp, "a=candidate:{index} 1 udp {priority} {ip} {port} typ host\r\n")?;
    }
    sdp.push_str("a=end-of-candidates\r\na=setup:passive\r\n");
    Ok(())
}

fn inverse(direction: Direction) -> &'static str {
    match direction {
        Direction::SendRecv => "sendrecv",
        Direction::SendOnly => "recvonly",
        Direction::RecvOnly => "sendonly",
        Direction::Inactive => "inactive",
    }
}
