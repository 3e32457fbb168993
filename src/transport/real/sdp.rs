//! The text around the engine: what it is given of an offer, and what becomes of its answer.
//!
//! The engine reads and writes whole descriptions. Where it reads too strictly, in an order that
//! changes from run to run, or writes what RFC 8829 does not, the text is put right here, line by
//! line. Nothing here understands codecs.

use super::negotiate::CHANNEL_BYTES_MAX;
use super::snap;
use crate::offer::{LineKind, MediaLine};
use crate::{NegotiateError, Offer, RemoteCandidate, UdpCandidate};

/// How many remote candidates a session holds; later ones are ignored. A browser with four
/// interfaces and two TURN servers gathers about 20.
pub(super) const REMOTE_CANDIDATES_MAX: usize = 64;

/// What the peer's largest message is when it does not say (RFC 8841 section 6.1).
const MESSAGE_SIZE_DEFAULT: usize = 64 * 1024;

const MESSAGE_SIZE: &str = "a=max-message-size:";

const TRANSPORT_CC: &str =
    "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01";

/// The protocol of sound and pictures that the engine reads.
const RTP_PROTOCOL: &str = "UDP/TLS/RTP/SAVPF";

/// Those that mean the same (RFC 8829 section 5.1.2): whatever is written, keys come from DTLS.
/// Small devices write the first (libpeer, on which the ESP32 client is built).
const RTP_PROTOCOLS: [&str; 7] = [
    "UDP/TLS/RTP/SAVP",
    "TCP/TLS/RTP/SAVPF",
    "TCP/TLS/RTP/SAVP",
    "RTP/SAVPF",
    "RTP/SAVP",
    "RTP/AVPF",
    "RTP/AVP",
];

/// What libpeer says of itself in every offer (`sdp_create` in its `sdp.c`).
const LIBPEER: &str = "a=msid-semantic: iot";

/// Candidates that libpeer has room for (`AGENT_MAX_CANDIDATES` in its `agent.h`); it writes
/// further ones over what comes behind them.
const LIBPEER_CANDIDATES_MAX: usize = 10;

/// The payload type under which the engine is offered sound with copies, if it is free: the one
/// that browsers have for it, so that a later offer of theirs finds it agreed.
const RED: &str = "63";

/// The lines of one m-section, or of the part before the first.
pub(super) type Section<'a> = Vec<&'a str>;

pub(super) fn sections(sdp: &str) -> (Section<'_>, Vec<Section<'_>>) {
    let mut session = Vec::new();
    let mut media: Vec<Section<'_>> = Vec::new();
    for line in sdp.lines().filter(|line| !line.is_empty()) {
        if line.starts_with("m=") {
            // Browsers write about 40 lines, once what is not ours has been left out.
            let mut section = Vec::with_capacity(64);
            section.push(line);
            media.push(section);
        } else {
            media.last_mut().unwrap_or(&mut session).push(line);
        }
    }
    (session, media)
}

fn push(text: &mut String, line: &str) {
    text.push_str(line);
    text.push_str("\r\n");
}

fn bundle<'a>(session: &[&'a str]) -> Option<Vec<&'a str>> {
    let group = session.iter().find_map(|line| line.strip_prefix("a=group:BUNDLE"))?;
    Some(group.split_ascii_whitespace().collect())
}

/// Which lines the peer has stopped: port 0, neither `bundle-only` nor in the group.
pub(super) fn stopped(offer: &Offer) -> Vec<bool> {
    let session: Section<'_> =
        offer.sdp().lines().take_while(|line| !line.starts_with("m=")).collect();
    let bundled = bundle(&session).unwrap_or_default();
    let lines = offer.media().iter();
    lines.map(|line| line.stopped && !bundled.contains(&line.mid.as_str())).collect()
}

/// The offer as the engine is to read it.
///
/// - Candidates are taken out: the engine keeps them in a hash set, so their order, and with it
///   the order of the checks, would change from run to run. [`candidates`] gives them in order.
/// - Sections that are no audio, video or data channel are taken out: the engine would leave them
///   out of its answer. [`answer`] refuses them in their place.
/// - Codecs that are not ours are taken out, unless no other is left for the engine to refuse:
///   browsers offer thirty formats, and reading them is most of what an answer costs.
/// - Feedback for congestion control is taken out of audio sections: for one voice stream it
///   costs 28 % more datagrams and steers nothing. Video keeps it: without it a browser stays at
///   its first 300 kbit/s.
/// - A missing direction is `sendrecv` (RFC 8866 section 6.7), a missing group of one section that
///   section: the engine wants both to be written, small devices leave them out.
/// - Sound and pictures have the one protocol that the engine reads. [`answer`] says the peer's own
///   again.
/// - Sound is offered with copies (RED) where the peer does not: the engine agrees on it with the
///   first offer and never later. [`answer`] takes back what the peer did not offer.
/// - `a=sctp-init` is what [`snap`] has decided on, once and in its place.
/// - The peer's largest message is never less than ours: the engine reads it in the first offer
///   that has a channel, and in no other. [`message_max`] is what counts.
pub(super) fn for_engine(offer: &Offer, sctp_init: Option<&str>) -> String {
    let (session, media) = sections(offer.sdp());
    let kept = |mid: &&str| {
        !offer.media().iter().any(|line| line.kind == LineKind::Other && line.mid == **mid)
    };
    let group = bundle(&session);
    let has_room = !media.iter().any(|section| formats(section[0]).any(|format| format == RED));
    let mut text = String::with_capacity(offer.sdp().len());
    for line in &session {
        if line.starts_with("a=group:BUNDLE") {
            let mids: Vec<&str> = group.iter().flatten().copied().filter(kept).collect();
            push(&mut text, &format!("a=group:BUNDLE {}", mids.join(" ")));
        } else if !is_left_out(line) {
            push(&mut text, line);
        }
    }
    if let ([only], None) = (offer.media(), &group) {
        push(&mut text, &format!("a=group:BUNDLE {}", only.mid));
    }
    let channels = offer.media().iter().position(|line| line.kind == LineKind::Application);
    let snapped = snap::section(offer).or(channels);
    for (index, (line, section)) in offer.media().iter().zip(&media).enumerate() {
        if line.kind != LineKind::Other {
            let adds_red = has_room && line.kind == LineKind::Audio && !line.offers_red();
            media_for_engine(&mut text, line, adds_red, section);
        }
        if let Some(init) = sctp_init.filter(|_| snapped == Some(index)) {
            push(&mut text, &format!("{}{init}", snap::ATTRIBUTE));
        }
    }
    text
}

fn media_for_engine(text: &mut String, offered: &MediaLine, adds_red: bool, section: &[&str]) {
    let words = ["a=sendrecv", "a=sendonly", "a=recvonly", "a=inactive"];
    let (kind, direction) = (offered.kind, offered.direction);
    let mut formats = our_formats(kind, section);
    let opus = formats.first().copied().filter(|_| adds_red);
    formats.extend(opus.map(|_| RED));
    for (index, line) in section.iter().enumerate() {
        let congestion = line.starts_with("a=extmap:") && line.contains(TRANSPORT_CC)
            || line.starts_with("a=rtcp-fb:") && line.ends_with("transport-cc");
        let for_video_only = kind == LineKind::Audio && congestion;
        if index == 0 {
            push(text, &line_for_engine(kind, line, &formats));
        } else if !is_left_out(line) && !for_video_only && is_about(line, &formats) {
            push(text, line);
        }
    }
    if let Some(opus) = opus {
        push(text, &format!("a=rtpmap:{RED} red/48000/2"));
        push(text, &format!("a=fmtp:{RED} {opus}/{opus}"));
    }
    if kind == LineKind::Application {
        push(text, &format!("{MESSAGE_SIZE}{CHANNEL_BYTES_MAX}"));
    } else if !section.iter().any(|line| words.contains(line)) {
        push(text, words[direction as usize]);
    }
}

/// An m-line with these formats, or with its own when there are none.
fn line_for_engine(kind: LineKind, line: &str, formats: &[&str]) -> String {
    let mut words: Vec<&str> = line.split_ascii_whitespace().collect();
    let is_rtp = matches!(kind, LineKind::Audio | LineKind::Video);
    if let Some(protocol) = words.get_mut(2)
        && is_rtp
        && RTP_PROTOCOLS.contains(protocol)
    {
        *protocol = RTP_PROTOCOL;
    }
    if !formats.is_empty() {
        words.truncate(3);
        words.extend(formats);
    }
    words.join(" ")
}

/// The payload types of the section that stand for a codec of ours, for its repair stream (RFC
/// 4588), for sound of it with copies (RED, RFC 2198) or for keys of a telephone beside it (RFC
/// 4733), in the peer's order; none when all are to be kept.
fn our_formats<'a>(kind: LineKind, section: &[&'a str]) -> Vec<&'a str> {
    let codecs: &[&str] = match kind {
        LineKind::Audio => &["opus", "g722", "pcmu", "pcma"],
        LineKind::Video => &["vp8", "h264"],
        LineKind::Application | LineKind::Other => return Vec::new(),
    };
    let about = |prefix: &'static str| {
        let lines = section.iter().filter_map(move |line| line.strip_prefix(prefix));
        lines.filter_map(|line| line.split_once(' '))
    };
    let (mut ours, mut red): (Vec<&str>, Vec<&str>) = (Vec::new(), Vec::new());
    let mut keys: Vec<&str> = Vec::new();
    for (format, codec) in about("a=rtpmap:") {
        let name = codec.split('/').next().unwrap_or_default();
        if kind == LineKind::Audio && name.eq_ignore_ascii_case("red") {
            red.push(format);
        } else if kind == LineKind::Audio && name.eq_ignore_ascii_case("telephone-event") {
            keys.push(format);
        } else if codecs.iter().any(|known| known.eq_ignore_ascii_case(name)) {
            ours.push(format);
        }
    }
    let repairs = about("a=fmtp:").filter_map(|(format, parameters)| {
        if red.contains(&format) {
            return parameters.split('/').all(|of| ours.contains(&of.trim())).then_some(format);
        }
        let mut parameters = parameters.split(';').map(str::trim);
        let repaired = parameters.find_map(|parameter| parameter.strip_prefix("apt="))?;
        ours.contains(&repaired).then_some(format)
    });
    let repairs: Vec<&str> = repairs.collect();
    if kind == LineKind::Audio {
        // These need no words (RFC 3551 section 6): PCMU, PCMA, G.722.
        let is_named = |format: &&&str| about("a=rtpmap:").any(|(named, _)| named == **format);
        ours.extend(["0", "8", "9"].iter().filter(|format| !is_named(format)));
    }
    let offered = section.first().into_iter().flat_map(|line| line.split_ascii_whitespace());
    let kept =
        |format: &&str| ours.contains(format) || repairs.contains(format) || keys.contains(format);
    match ours.is_empty() {
        true => Vec::new(),
        false => offered.skip(3).filter(kept).collect(),
    }
}

/// The payload types of an m-line.
fn formats(line: &str) -> impl Iterator<Item = &str> {
    line.split_ascii_whitespace().skip(3)
}

/// Whether an attribute belongs to one of these formats or to none; to any when there are none.
fn is_about(line: &str, formats: &[&str]) -> bool {
    let of = format_of(line);
    of.is_none_or(|of| formats.is_empty() || of == "*" || formats.contains(&of))
}

/// The format that an attribute belongs to, if it belongs to one.
fn format_of(line: &str) -> Option<&str> {
    let prefixes = ["a=rtpmap:", "a=fmtp:", "a=rtcp-fb:"];
    let rest = prefixes.iter().find_map(|prefix| line.strip_prefix(prefix))?;
    Some(rest.split(' ').next().unwrap_or_default())
}

fn is_left_out(line: &str) -> bool {
    is_candidate(line) || snap::value(line).is_some() || line.starts_with(MESSAGE_SIZE)
}

fn is_candidate(line: &str) -> bool {
    line.starts_with("a=candidate:") || line == "a=end-of-candidates"
}

/// The usable candidates of the offer, in order, each address once.
pub(super) fn candidates(offer: &Offer) -> Vec<UdpCandidate> {
    let mut found: Vec<UdpCandidate> = Vec::new();
    for line in offer.sdp().lines().filter(|line| line.starts_with("a=candidate:")) {
        // Names, TCP and garbage: the peer's own checks will show where it is.
        let Ok(RemoteCandidate::Udp(candidate)) = RemoteCandidate::parse(line) else { continue };
        if found.iter().all(|known| known.address() != candidate.address()) {
            found.push(candidate);
        }
    }
    found
}

/// The largest message that the peer takes, in bytes; `usize::MAX` for no limit.
pub(super) fn message_max(offer: &Offer) -> usize {
    let mut sizes = offer.sdp().lines().filter_map(|line| line.strip_prefix(MESSAGE_SIZE));
    match sizes.next().map(|size| size.trim().parse::<usize>()) {
        Some(Ok(0)) => usize::MAX,
        Some(Ok(size)) => size,
        Some(Err(_)) | None => MESSAGE_SIZE_DEFAULT,
    }
}

/// What the answer says besides the engine's own words.
pub(super) struct Ours<'a> {
    pub(super) ufrag: &'a str,
    pub(super) pwd: &'a str,
    /// Attributes from `candidate:` on, without their ufrag.
    pub(super) candidates: &'a [String],
    /// By line of the offer: refused or stopped.
    pub(super) rejected: &'a [bool],
    /// Whether the peer has asked, in this offer, for our `a=sctp-init`.
    pub(super) tells_sctp_init: bool,
    /// Whether the peer is to send sound with copies (RED) where it offers to.
    pub(super) takes_copies: bool,
}

/// The answer as the peer is to read it.
///
/// - Our credentials stand in the place of the engine's: after an ICE restart it makes its own.
/// - A line has the protocol that it was offered with (RFC 8829 section 5.3.1).
/// - A refused line says port 0 and `inactive`, and is not in the group (RFC 9143 section 7.3.3);
///   the engine writes `sendrecv` and leaves it in.
/// - All candidates stand once, in the first line that is not refused, which is the one whose
///   transport the bundle uses (RFC 9143 section 7.3); nothing is trickled to the peer, so
///   `end-of-candidates` closes them. A small device is told those alone that it has room for.
/// - Sound with copies stands in the answer where the peer has offered it, and in front when it is
///   to send it: browsers do so when it stands before the codec that it is of.
/// - Keys of a telephone stand at the clock of the sound alone, where the peer has that one. Chrome
///   would take the slowest, and count it by the clock of Opus: of 100 ms it sends 17. What a peer
///   sends at another clock is heard all the same.
/// - Lines that the engine was not shown are refused in their place: an answer has as many as the
///   offer (RFC 8829 section 5.3.1).
pub(super) fn answer(offer: &Offer, engine: &str, ours: &Ours<'_>) -> String {
    let (session, media) = sections(engine);
    let mut offered = offer.sdp().lines().filter(|line| line.starts_with("m="));
    let mut text = String::with_capacity(engine.len() + 512);
    for line in &session {
        if line.starts_with("a=group:BUNDLE") {
            push(&mut text, &group(offer, ours.rejected));
        } else {
            push(&mut text, line);
        }
    }
    let mut engine_sections = media.iter();
    let mut candidates_due = true;
    for (index, line) in offer.media().iter().enumerate() {
        let offered = offered.next().unwrap_or_default();
        let answered = if line.kind == LineKind::Other { None } else { engine_sections.next() };
        match answered {
            Some(section) if !ours.rejected[index] => {
                section_answer(&mut text, section, offered, ours);
                if std::mem::take(&mut candidates_due) {
                    push_candidates(&mut text, offer, ours);
                }
            }
            _ => refuse(&mut text, offered, &line.mid),
        }
    }
    text
}

fn group(offer: &Offer, rejected: &[bool]) -> String {
    let mids = offer.media().iter().zip(rejected).filter(|(_, rejected)| !**rejected);
    let mids: Vec<&str> = mids.map(|(line, _)| line.mid.as_str()).collect();
    format!("a=group:BUNDLE {}", mids.join(" "))
}

fn section_answer(text: &mut String, section: &[&str], offered: &str, ours: &Ours<'_>) {
    let red: Vec<&str> = section.iter().filter_map(|line| red_of(line)).collect();
    let is_unasked = |format: &&&str| !formats(offered).any(|known| known == **format);
    let unasked = red.iter().filter(is_unasked).copied();
    let left_out: Vec<&str> = unasked.chain(keys_beside(section)).collect();
    for line in section {
        if line.starts_with("m=") {
            let line = line_answer(line, offered);
            push(text, &formats_answer(&line, &red, &left_out, ours.takes_copies));
        } else if format_of(line).is_some_and(|format| left_out.contains(&format)) {
            // The peer did not offer it, or is not to use it.
        } else if line.starts_with("a=ice-ufrag:") {
            push(text, &format!("a=ice-ufrag:{}", ours.ufrag));
        } else if line.starts_with("a=ice-pwd:") {
            push(text, &format!("a=ice-pwd:{}", ours.pwd));
        } else if !is_candidate(line) && (ours.tells_sctp_init || snap::value(line).is_none()) {
            push(text, line);
        }
    }
}

/// The payload type of sound with copies, of an `a=rtpmap`.
fn red_of(line: &str) -> Option<&str> {
    let (format, name) = line.strip_prefix("a=rtpmap:")?.split_once(' ')?;
    name.starts_with("red/").then_some(format)
}

/// The payload types of keys at other clocks than that of the sound, when they are at that one too.
fn keys_beside<'a>(section: &[&'a str]) -> Vec<&'a str> {
    // By payload type its name and its clock.
    let maps: Vec<(&str, &str, &str)> = section
        .iter()
        .filter_map(|line| {
            let (format, name) = line.strip_prefix("a=rtpmap:")?.split_once(' ')?;
            let mut parts = name.split('/');
            Some((format, parts.next()?, parts.next()?))
        })
        .collect();
    let (keys, sound): (Vec<_>, Vec<_>) =
        maps.into_iter().partition(|(_, name, _)| name.eq_ignore_ascii_case("telephone-event"));
    let mut offered = section.first().into_iter().flat_map(|line| formats(line));
    let first = offered.find_map(|format| sound.iter().find(|(known, ..)| *known == format));
    let is_beside = |key: &&(&str, &str, &str)| first.is_some_and(|(.., clock)| key.2 != *clock);
    let beside: Vec<&str> = keys.iter().filter(is_beside).map(|(format, ..)| *format).collect();
    if beside.len() == keys.len() { Vec::new() } else { beside }
}

/// The engine's m-line without formats that are left out, and with those of sound with copies
/// behind the others when the peer is not to send them.
fn formats_answer(line: &str, red: &[&str], left_out: &[&str], takes_copies: bool) -> String {
    if red.is_empty() && left_out.is_empty() {
        return line.to_owned();
    }
    let head = line.split_ascii_whitespace().take(3);
    let is_last = |format: &&str| !takes_copies && red.contains(format);
    let first = formats(line).filter(|format| !is_last(format));
    let last = formats(line).filter(is_last);
    let words = head.chain(first.chain(last).filter(|format| !left_out.contains(format)));
    words.collect::<Vec<_>>().join(" ")
}

/// The engine's m-line under the protocol of the peer's.
fn line_answer(line: &str, offered: &str) -> String {
    match offered.split_ascii_whitespace().nth(2) {
        Some(protocol) if RTP_PROTOCOLS.contains(&protocol) => {
            line.replacen(RTP_PROTOCOL, protocol, 1)
        }
        _ => line.to_owned(),
    }
}

fn push_candidates(text: &mut String, offer: &Offer, ours: &Ours<'_>) {
    let mut told: Vec<&str> = ours.candidates.iter().map(String::as_str).collect();
    if offer.sdp().lines().any(|line| line == LIBPEER) {
        // It tries them in their order, and unless it was built for IPv6 has no use for those. What
        // is left is in the order in which the addresses were added.
        told.sort_by_key(|candidate| !is_ipv4(candidate));
        told.truncate(LIBPEER_CANDIDATES_MAX);
    }
    for candidate in told {
        push(text, &format!("a={candidate} ufrag {}", ours.ufrag));
    }
    push(text, "a=end-of-candidates");
}

fn is_ipv4(candidate: &str) -> bool {
    let parsed = RemoteCandidate::parse(candidate);
    matches!(parsed, Ok(RemoteCandidate::Udp(candidate)) if candidate.address().is_ipv4())
}

/// Keeps kind and protocol of the offered line and sets the port to 0. Formats of RTP are replaced
/// by one that needs no `rtpmap`: parsers ask for those of any other, refused or not.
fn refuse(text: &mut String, offered: &str, mid: &str) {
    let words: Vec<&str> = offered.split_ascii_whitespace().collect();
    let [kind, _port, proto, formats @ ..] = &words[..] else { return };
    let formats = if *kind == "m=application" { formats.join(" ") } else { "0".to_owned() };
    push(text, &format!("{kind} 0 {proto} {formats}"));
    push(text, "c=IN IP4 0.0.0.0");
    push(text, "a=inactive");
    push(text, &format!("a=mid:{mid}"));
}

/// Whether a re-offer keeps what the call stands on: the certificate, and the lines with their
/// names in their places (RFC 8829 section 5.2.2). A stopped line may be used anew.
pub(super) fn compatible(before: &Offer, offer: &Offer) -> Result<(), NegotiateError> {
    let incompatible = |reason: String| Err(NegotiateError::Incompatible { reason });
    if !before.fingerprint().eq_ignore_ascii_case(offer.fingerprint()) {
        return incompatible("a=fingerprint is another than before".to_owned());
    }
    let (known, now) = (before.media(), offer.media());
    if now.len() < known.len() {
        return incompatible(format!("{} m-lines came, {} are known", now.len(), known.len()));
    }
    for (index, (known, now)) in known.iter().zip(now).enumerate() {
        let same = known.mid == now.mid && known.kind == now.kind;
        if !same && !known.stopped {
            return incompatible(format!(
                "m-line {index} is {:?} `{}`, was {:?} `{}`",
                now.kind, now.mid, known.kind, known.mid
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sound and channels in one bundle, with candidates, feedback and an association begun.
    const OFFER: &str = "v=0\r\na=group:BUNDLE 0 1\r\na=ice-ufrag:abcd\r\n\
        a=ice-pwd:abcdefghijklmnopqrstuv\r\na=fingerprint:sha-256 00:11\r\n\
        m=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:0\r\na=rtpmap:111 opus/48000/2\r\n\
        a=rtcp-fb:111 nack\r\na=rtcp-fb:111 transport-cc\r\n\
        a=candidate:1 1 udp 2113937151 192.0.2.7 50000 typ host\r\n\
        a=candidate:2 1 udp 2113937150 192.0.2.8 50000 typ host\r\n\
        m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\na=mid:1\r\n\
        a=sctp-init:theirs\r\na=candidate:1 1 udp 2113937151 192.0.2.7 50000 typ host\r\n";

    fn engine_reads(sctp_init: Option<&str>) -> Vec<String> {
        let offer = Offer::parse(OFFER).unwrap();
        for_engine(&offer, sctp_init).lines().map(str::to_owned).collect()
    }

    #[test]
    fn the_engine_sees_no_candidate_and_no_feedback_for_congestion_of_sound() {
        let lines = engine_reads(None);
        for hidden in ["a=candidate", "a=sctp-init", "a=rtcp-fb:111 transport-cc"] {
            assert!(!lines.iter().any(|line| line.starts_with(hidden)), "{hidden}: {lines:?}");
        }
        assert!(lines.iter().any(|line| line == "a=rtcp-fb:111 nack"), "{lines:?}");
    }

    #[test]
    fn what_begins_the_association_stands_once_and_in_the_section_of_the_channels() {
        let lines = engine_reads(Some("ours"));
        let at = |start: &str| lines.iter().position(|line| line.starts_with(start)).unwrap();
        let inits = lines.iter().filter(|line| line.starts_with("a=sctp-init")).count();
        assert_eq!((inits, lines[at("a=sctp-init")].as_str()), (1, "a=sctp-init:ours"));
        assert!(at("a=sctp-init") > at("m=application"), "{lines:?}");
    }

    #[test]
    fn each_address_of_an_offer_is_a_candidate_once_and_in_order() {
        let found = candidates(&Offer::parse(OFFER).unwrap());
        let found: Vec<_> = found.iter().map(|found| found.address().to_string()).collect();
        assert_eq!(found, ["192.0.2.7:50000", "192.0.2.8:50000"]);
    }

    #[test]
    fn a_line_with_port_zero_is_stopped_unless_it_is_in_the_bundle() {
        let audio = OFFER.replace("m=audio 9", "m=audio 0");
        assert_eq!(stopped(&Offer::parse(&audio).unwrap()), [false, false]);
        let outside = audio.replace("BUNDLE 0 1", "BUNDLE 1");
        assert_eq!(stopped(&Offer::parse(&outside).unwrap()), [true, false]);
        assert_eq!(stopped(&Offer::parse(OFFER).unwrap()), [false, false]);
    }

    #[test]
    fn the_longest_message_is_what_the_peer_says_and_zero_is_no_limit() {
        let of = |lines: &str| {
            let offer = "v=0\r\na=ice-ufrag:abcd\r\na=ice-pwd:abcdefghijklmnopqrstuv\r\n\
                a=fingerprint:sha-256 00:11\r\nm=application 9 UDP/DTLS/SCTP x\r\na=mid:0\r\n";
            message_max(&Offer::parse(&format!("{offer}{lines}")).unwrap())
        };
        assert_eq!(of("a=max-message-size:262144\r\n"), 262_144);
        assert_eq!(of("a=max-message-size:0\r\n"), usize::MAX);
        // RFC 8841 section 6.1: nothing said is 64 KiB.
        assert_eq!([of(""), of("a=max-message-size:many\r\n")], [65_536; 2]);
        assert_eq!(of("a=max-message-size:100\r\na=max-message-size:0\r\n"), 100);
    }
}
