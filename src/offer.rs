//! Session descriptions, as far as the session itself has to understand them.
//!
//! The engine reads the whole offer; this module reads what decides about roles and restarts, and
//! refuses early, with the line named, what could never be answered.

use std::fmt;

use crate::NegotiateError;

/// The clocks of sound (RFC 7587 section 4.1, RFC 3551 section 4.5): telephone events at any other
/// stand beside none.
const KEY_CLOCKS: [u32; 2] = [48_000, 8_000];

/// RFC 6464 section 5.
const LEVELS_URI: &str = "urn:ietf:params:rtp-hdrext:ssrc-audio-level";

/// An SDP offer whose shape was checked.
#[derive(Clone, PartialEq, Eq)]
pub struct Offer {
    sdp: String,
    media: Vec<MediaLine>,
    ice_ufrag: String,
    ice_pwd: String,
    fingerprint: String,
}

/// One m-line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct MediaLine {
    pub(crate) kind: LineKind,
    pub(crate) mid: String,
    pub(crate) direction: Direction,
    /// Port 0 without `a=bundle-only`: the peer has stopped it (RFC 8829 section 5.2.2).
    pub(crate) stopped: bool,
    /// Payload types of Opus, and those whose format says `useinbandfec=1`: a bit for each.
    opus: u128,
    inband_fec: u128,
    /// Payload types of sound with copies of what was before it (RED, RFC 2198): a bit for each.
    red: u128,
    /// The clocks at which there are telephone events.
    key_clocks: Vec<u32>,
    takes_levels: bool,
}

impl MediaLine {
    /// Whether the peer makes use of Opus' in-band FEC. What does not say so cannot (RFC 7587
    /// section 6.1).
    pub(crate) fn repairs_opus(&self) -> bool {
        self.opus & self.inband_fec != 0
    }

    /// Whether the peer takes sound with copies under this payload type.
    pub(crate) fn takes_red(&self, payload_type: u8) -> bool {
        1_u128.checked_shl(u32::from(payload_type)).is_some_and(|bit| self.red & bit != 0)
    }

    /// Whether the peer takes sound with copies at all.
    pub(crate) fn offers_red(&self) -> bool {
        self.kind == LineKind::Audio && self.red != 0
    }

    /// Whether the peer wants to be told with each packet how loud it is (RFC 6464).
    pub(crate) fn takes_levels(&self) -> bool {
        self.takes_levels
    }

    /// Whether the peer takes telephone events on the times of sound with this clock (RFC 4733
    /// section 2.1).
    pub(crate) fn takes_keys(&self, clock_rate: u32) -> bool {
        self.key_clocks.contains(&clock_rate)
    }
}

/// What an m-line is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LineKind {
    Audio,
    Video,
    Application,
    Other,
}

/// The direction attribute, as its writer means it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Direction {
    #[default]
    SendRecv,
    SendOnly,
    RecvOnly,
    Inactive,
}

impl Direction {
    pub(crate) fn sends(self) -> bool {
        matches!(self, Direction::SendRecv | Direction::SendOnly)
    }

    pub(crate) fn receives(self) -> bool {
        matches!(self, Direction::SendRecv | Direction::RecvOnly)
    }
}

impl Offer {
    /// The longest text that is read, in bytes. Browsers' offers have 2 to 12 KiB.
    pub const LEN_MAX: usize = 64 * 1024;
    /// The most m-lines that are read. Pipecat's clients send at most 4.
    pub const MEDIA_LINES_MAX: usize = 16;

    /// Reads an offer.
    ///
    /// # Errors
    /// [`NegotiateError::TooLarge`] and [`NegotiateError::InvalidSdp`], the latter with the line
    /// or attribute that is wrong.
    pub fn parse(sdp: &str) -> Result<Offer, NegotiateError> {
        if sdp.len() > Offer::LEN_MAX {
            return Err(NegotiateError::TooLarge { len: sdp.len(), limit: Offer::LEN_MAX });
        }
        Reader::default().read(sdp)
    }

    /// The text.
    #[must_use]
    pub fn sdp(&self) -> &str {
        &self.sdp
    }

    pub(crate) fn media(&self) -> &[MediaLine] {
        &self.media
    }

    /// The peer's ufrag; another one in a re-offer asks for an ICE restart (RFC 8839 section
    /// 4.4.1.1.1).
    pub(crate) fn ice_ufrag(&self) -> &str {
        &self.ice_ufrag
    }

    /// The key of the peer's STUN responses (RFC 8445 section 7.2.2).
    pub(crate) fn ice_pwd(&self) -> &str {
        &self.ice_pwd
    }

    /// The peer's certificate, as it names it.
    pub(crate) fn fingerprint(&self) -> &str {
        &self.fingerprint
    }
}

impl fmt::Debug for Offer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Offer").field("media", &self.media).finish_non_exhaustive()
    }
}

/// The SDP answer, to be given to the peer as it is.
#[derive(Clone, PartialEq, Eq)]
pub struct Answer {
    sdp: String,
}

impl Answer {
    pub(crate) fn new(sdp: String) -> Answer {
        Answer { sdp }
    }

    /// The text.
    #[must_use]
    pub fn sdp(&self) -> &str {
        &self.sdp
    }
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The text holds the ICE password.
        write!(f, "Answer({} bytes)", self.sdp.len())
    }
}

#[derive(Default)]
struct Reader {
    media: Vec<MediaLine>,
    session_direction: Direction,
    ice_ufrag: Option<String>,
    ice_pwd: Option<String>,
    /// The first of each of [`HASHES`], and of any other.
    fingerprints: [Option<String>; HASHES.len() + 1],
}

/// The bit of a payload type; none for what is none.
fn bit(payload_type: &str) -> u128 {
    payload_type.parse::<u32>().ok().and_then(|at| 1_u128.checked_shl(at)).unwrap_or(0)
}

/// The hashes of fingerprints that the engine checks.
const HASHES: [&str; 2] = ["sha-256", "sha-1"];

impl Reader {
    fn read(mut self, sdp: &str) -> Result<Offer, NegotiateError> {
        let mut lines = sdp.lines();
        if lines.next().map(str::trim_end) != Some("v=0") {
            return Err(invalid("the first line is not `v=0`"));
        }
        for line in lines {
            self.line(line.trim_end())?;
        }
        if self.media.is_empty() {
            return Err(invalid("there is no m-line"));
        }
        Ok(Offer {
            sdp: sdp.to_owned(),
            ice_ufrag: self.ice_ufrag.take().ok_or_else(|| invalid("a=ice-ufrag is missing"))?,
            ice_pwd: self.ice_pwd.take().ok_or_else(|| invalid("a=ice-pwd is missing"))?,
            fingerprint: self.certificate()?,
            media: self.media,
        })
    }

    fn line(&mut self, line: &str) -> Result<(), NegotiateError> {
        if let Some(rest) = line.strip_prefix("m=") {
            return self.media_line(rest);
        }
        let Some(attribute) = line.strip_prefix("a=") else { return Ok(()) };
        let (name, value) = attribute.split_once(':').unwrap_or((attribute, ""));
        match name {
            // Everything is bundled, so the first value counts (RFC 8843 section 7.3).
            "ice-ufrag" => keep_first(&mut self.ice_ufrag, value, "a=ice-ufrag", 4..=256)?,
            "ice-pwd" => keep_first(&mut self.ice_pwd, value, "a=ice-pwd", 22..=256)?,
            "fingerprint" => self.fingerprint(value)?,
            "mid" => self.mid(value)?,
            "rtpmap" => self.rtpmap(value),
            "fmtp" => self.fmtp(value),
            "extmap" => self.extmap(value),
            "sendrecv" => self.direction(Direction::SendRecv),
            "sendonly" => self.direction(Direction::SendOnly),
            "recvonly" => self.direction(Direction::RecvOnly),
            "inactive" => self.direction(Direction::Inactive),
            "bundle-only" => {
                if let Some(media) = self.media.last_mut() {
                    media.stopped = false;
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn media_line(&mut self, rest: &str) -> Result<(), NegotiateError> {
        if self.media.len() == Offer::MEDIA_LINES_MAX {
            return Err(invalid(format!("more than {} m-lines", Offer::MEDIA_LINES_MAX)));
        }
        let mut words = rest.split_ascii_whitespace();
        let kind = match words.next() {
            Some("audio") => LineKind::Audio,
            Some("video") => LineKind::Video,
            Some("application") => LineKind::Application,
            Some(_) => LineKind::Other,
            None => return Err(invalid("an m-line is empty")),
        };
        let port = words.next().and_then(|port| port.split('/').next()?.parse::<u16>().ok());
        let Some(port) = port else {
            return Err(invalid(format!("the m-line `{}` has no port", clip(rest))));
        };
        self.media.push(MediaLine {
            kind,
            mid: String::new(),
            direction: self.session_direction,
            stopped: port == 0,
            opus: 0,
            inband_fec: 0,
            red: 0,
            key_clocks: Vec::new(),
            takes_levels: false,
        });
        Ok(())
    }

    /// One certificate may have several, aiortc writes three: the first counts whose hash can be
    /// checked, sha-256 before sha-1 (RFC 8122 section 5).
    fn fingerprint(&mut self, value: &str) -> Result<(), NegotiateError> {
        let hash = value.split(' ').next().unwrap_or_default();
        let at = HASHES.iter().position(|known| hash.eq_ignore_ascii_case(known));
        let slot = &mut self.fingerprints[at.unwrap_or(HASHES.len())];
        keep_first(slot, value, "a=fingerprint", 8..=512)
    }

    /// The fingerprint that the handshake is to show.
    fn certificate(&mut self) -> Result<String, NegotiateError> {
        let [sha_256, sha_1, other] = &mut self.fingerprints;
        if let Some(known) = sha_256.take().or_else(|| sha_1.take()) {
            return Ok(known);
        }
        Err(match other {
            None => invalid("a=fingerprint is missing"),
            Some(other) => {
                let hash = clip(other.split(' ').next().unwrap_or_default());
                invalid(format!("a=fingerprint is made with `{hash}`, expected sha-256"))
            }
        })
    }

    fn rtpmap(&mut self, value: &str) {
        let Some((payload_type, format)) = value.split_once(' ') else { return };
        let mut parts = format.split('/');
        let (name, clock) = (parts.next().unwrap_or_default(), parts.next());
        let Some(media) = self.media.last_mut() else { return };
        if name.eq_ignore_ascii_case("opus") {
            media.opus |= bit(payload_type);
        } else if name.eq_ignore_ascii_case("red") {
            media.red |= bit(payload_type);
        }
        let clock =
            clock.and_then(|clock| clock.parse().ok()).filter(|clock| KEY_CLOCKS.contains(clock));
        if let Some(clock) = clock
            && name.eq_ignore_ascii_case("telephone-event")
            && !media.takes_keys(clock)
        {
            media.key_clocks.push(clock);
        }
    }

    fn fmtp(&mut self, value: &str) {
        let Some((payload_type, parameters)) = value.split_once(' ') else { return };
        let has_fec = parameters.split(';').any(|parameter| parameter.trim() == "useinbandfec=1");
        if let Some(media) = self.media.last_mut().filter(|_| has_fec) {
            media.inband_fec |= bit(payload_type);
        }
    }

    /// A header extension, and which way it goes (RFC 8285 section 6).
    fn extmap(&mut self, value: &str) {
        let mut words = value.split_ascii_whitespace();
        let (Some(number), Some(uri)) = (words.next(), words.next()) else { return };
        let takes = !number.ends_with("/sendonly") && !number.ends_with("/inactive");
        if let Some(media) = self.media.last_mut().filter(|_| uri == LEVELS_URI && takes) {
            media.takes_levels = true;
        }
    }

    fn mid(&mut self, value: &str) -> Result<(), NegotiateError> {
        // The engine holds mids in 16 bytes.
        if value.is_empty() || value.len() > 16 || !value.is_ascii() {
            return Err(invalid(format!(
                "a=mid is `{}`, not 1 to 16 ASCII characters",
                clip(value)
            )));
        }
        if self.media.iter().any(|media| media.mid == value) {
            return Err(invalid(format!("a=mid `{value}` stands twice")));
        }
        if let Some(media) = self.media.last_mut() {
            media.mid = value.to_owned();
        }
        Ok(())
    }

    fn direction(&mut self, direction: Direction) {
        match self.media.last_mut() {
            Some(media) => media.direction = direction,
            None => self.session_direction = direction,
        }
    }
}

fn keep_first(
    slot: &mut Option<String>,
    value: &str,
    name: &str,
    lengths: std::ops::RangeInclusive<usize>,
) -> Result<(), NegotiateError> {
    if !lengths.contains(&value.len()) {
        return Err(invalid(format!(
            "{name} has {} characters, expected {} to {}",
            value.len(),
            lengths.start(),
            lengths.end()
        )));
    }
    slot.get_or_insert_with(|| value.to_owned());
    Ok(())
}

fn clip(text: &str) -> String {
    text.chars().take(24).collect()
}

fn invalid(reason: impl Into<String>) -> NegotiateError {
    NegotiateError::InvalidSdp { reason: reason.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "v=0\r\na=ice-ufrag:page\r\na=ice-pwd:abcdefghijklmnopqrstuv\r\n\
        a=fingerprint:sha-256 00:11\r\n";

    /// An offer of these lines behind what every offer needs.
    fn parse(lines: &str) -> Result<Offer, NegotiateError> {
        Offer::parse(&format!("{HEAD}{lines}"))
    }

    /// Why an offer is refused.
    fn refused(offer: Result<Offer, NegotiateError>) -> String {
        match offer {
            Err(NegotiateError::InvalidSdp { reason }) => reason,
            other => panic!("expected a refusal of the text, got {other:?}"),
        }
    }

    #[test]
    fn an_offer_gives_its_lines_in_order_with_what_each_is_for() {
        let offer = parse(
            "m=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:0\r\n\
             m=video 9 UDP/TLS/RTP/SAVPF 96\r\na=mid:1\r\n\
             m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\na=mid:2\r\n\
             m=text 9 RTP/AVP 98\r\na=mid:3\r\n",
        );
        let offer = offer.unwrap();
        let lines: Vec<_> =
            offer.media().iter().map(|line| (line.kind, line.mid.as_str())).collect();
        use LineKind::{Application, Audio, Other, Video};
        assert_eq!(lines, [(Audio, "0"), (Video, "1"), (Application, "2"), (Other, "3")]);
        assert_eq!((offer.ice_ufrag(), offer.ice_pwd()), ("page", "abcdefghijklmnopqrstuv"));
        assert_eq!(offer.fingerprint(), "sha-256 00:11");
        assert!(offer.sdp().starts_with(HEAD));
    }

    #[test]
    fn a_line_repairs_opus_when_the_format_of_an_opus_says_so() {
        let repairs = |lines: &str| {
            let line = format!("m=audio 9 UDP/TLS/RTP/SAVPF 111\r\n{lines}");
            parse(&line).unwrap().media()[0].repairs_opus()
        };
        let opus = "a=rtpmap:111 OPUS/48000/2\r\n";
        let says = |parameters: &str| format!("a=fmtp:{parameters}\r\n");
        assert!(repairs(&format!("{opus}{}", says("111 useinbandfec=1"))));
        assert!(repairs(&format!("{}{opus}", says("111 minptime=10; useinbandfec=1 ;x=y"))));
        let silent = ["111 useinbandfec=0", "111 minptime=10", "63 useinbandfec=1", "111"];
        for parameters in silent.into_iter().chain(["239 useinbandfec=1", "-1 useinbandfec=1"]) {
            assert!(!repairs(&format!("{opus}{}", says(parameters))), "{parameters}");
        }
        assert!(!repairs(opus));
        assert!(!repairs(&format!("a=rtpmap:111 red/48000/2\r\n{}", says("111 useinbandfec=1"))));
    }

    #[test]
    fn a_line_takes_levels_when_their_extension_comes_towards_the_peer() {
        let takes = |lines: &str| {
            let line = format!("m=audio 9 UDP/TLS/RTP/SAVPF 111\r\n{lines}");
            parse(&line).unwrap().media()[0].takes_levels()
        };
        for number in ["1", "14/recvonly", "14/sendrecv"] {
            assert!(takes(&format!("a=extmap:{number} {LEVELS_URI}\r\n")), "{number}");
        }
        assert!(takes(&format!("a=extmap:1 {LEVELS_URI} vad=on\r\n")));
        for other in ["1/sendonly", "1/inactive", "1 urn:other"] {
            assert!(!takes(&format!("a=extmap:{other} {LEVELS_URI}\r\n")), "{other}");
        }
        assert!(!takes("a=extmap:1\r\n") && !takes("a=extmap:\r\n") && !takes(""));
    }

    #[test]
    fn a_direction_of_the_session_holds_for_lines_that_say_nothing() {
        let line = "m=audio 9 UDP/TLS/RTP/SAVPF 111\r\n";
        let of = |lines: String| {
            let offer = parse(&lines).unwrap();
            offer.media().iter().map(|line| line.direction).collect::<Vec<_>>()
        };
        use Direction::{Inactive, RecvOnly, SendOnly, SendRecv};
        assert_eq!(of(line.to_owned()), [SendRecv]);
        let given = format!("a=inactive\r\n{line}{line}a=sendonly\r\n{line}a=recvonly\r\n");
        assert_eq!(of(given), [Inactive, SendOnly, RecvOnly]);
        assert_eq!(of(format!("a=recvonly\r\n{line}a=sendrecv\r\n")), [SendRecv]);
    }

    #[test]
    fn each_direction_says_who_sends() {
        let ways = |direction: Direction| (direction.sends(), direction.receives());
        assert_eq!(ways(Direction::SendRecv), (true, true));
        assert_eq!(ways(Direction::SendOnly), (true, false));
        assert_eq!(ways(Direction::RecvOnly), (false, true));
        assert_eq!(ways(Direction::Inactive), (false, false));
    }

    #[test]
    fn a_line_of_port_zero_is_stopped_unless_it_is_only_bundled() {
        let stopped = |lines: &str| parse(lines).unwrap().media()[0].stopped;
        assert!(!stopped("m=audio 9 UDP/TLS/RTP/SAVPF 111\r\n"));
        assert!(!stopped("m=audio 50000/2 RTP/AVP 111\r\n"), "a port with a number of ports");
        assert!(stopped("m=audio 0 UDP/TLS/RTP/SAVPF 111\r\n"));
        assert!(!stopped("m=audio 0 UDP/TLS/RTP/SAVPF 111\r\na=bundle-only\r\n"));
        // Before all lines it belongs to none.
        assert!(stopped("a=bundle-only\r\nm=audio 0 UDP/TLS/RTP/SAVPF 111\r\n"));
    }

    #[test]
    fn of_credentials_that_stand_several_times_the_first_count() {
        let offer = parse(
            "m=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=ice-ufrag:other\r\n\
             a=ice-pwd:vutsrqponmlkjihgfedcba\r\na=fingerprint:sha-256 22:33\r\n",
        );
        let offer = offer.unwrap();
        assert_eq!((offer.ice_ufrag(), offer.fingerprint()), ("page", "sha-256 00:11"));
        assert_eq!(offer.ice_pwd(), "abcdefghijklmnopqrstuv");
    }

    #[test]
    fn an_offer_is_read_up_to_its_longest_and_not_a_byte_further() {
        let line = "m=audio 9 UDP/TLS/RTP/SAVPF 111\r\n";
        let pad = Offer::LEN_MAX - HEAD.len() - line.len();
        assert!(parse(&format!("{line}{}", "x".repeat(pad))).is_ok());
        let error = parse(&format!("{line}{}", "x".repeat(pad + 1))).unwrap_err();
        assert_eq!(error.to_string(), "sdp: 65537 bytes, the limit is 65536");
    }

    #[test]
    fn as_many_lines_are_read_as_may_be_and_one_more_is_refused() {
        let lines = |count| "m=audio 9 UDP/TLS/RTP/SAVPF 111\r\n".repeat(count);
        assert_eq!(parse(&lines(16)).unwrap().media().len(), Offer::MEDIA_LINES_MAX);
        assert_eq!(refused(parse(&lines(17))), "more than 16 m-lines");
    }

    #[test]
    fn lengths_of_credentials_are_those_of_the_standard() {
        let with = |name: &str, len: usize| {
            let rest = HEAD.lines().filter(|line| !line.starts_with(name));
            let rest: String = rest.flat_map(|line| [line, "\r\n"]).collect();
            let hash = if name == "a=fingerprint:" { "sha-1 " } else { "" };
            let value: String = hash.chars().chain(std::iter::repeat('x')).take(len).collect();
            let line = "m=audio 9 UDP/TLS/RTP/SAVPF 111";
            Offer::parse(&format!("{rest}{name}{value}\r\n{line}\r\n"))
        };
        for (name, least, most) in
            [("a=ice-ufrag:", 4, 256), ("a=ice-pwd:", 22, 256), ("a=fingerprint:", 8, 512)]
        {
            let plain = name.trim_end_matches(':');
            let told = |len| format!("{plain} has {len} characters, expected {least} to {most}");
            assert!(with(name, least).is_ok() && with(name, most).is_ok(), "{name}");
            assert_eq!(refused(with(name, least - 1)), told(least - 1));
            assert_eq!(refused(with(name, most + 1)), told(most + 1));
        }
    }

    #[test]
    fn of_several_fingerprints_the_one_counts_whose_hash_is_checked() {
        let with = |values: &[&str]| {
            let rest = HEAD.lines().filter(|line| !line.starts_with("a=fingerprint:"));
            let rest: String = rest.flat_map(|line| [line, "\r\n"]).collect();
            let own: String =
                values.iter().map(|value| format!("a=fingerprint:{value}\r\n")).collect();
            Offer::parse(&format!("{rest}{own}m=audio 9 UDP/TLS/RTP/SAVPF 111\r\n"))
        };
        let [long, good, old] = ["sha-512 00:11:22", "SHA-256 00:11:22", "sha-1 00:11:22"];
        assert_eq!(with(&[long, old, good]).unwrap().fingerprint(), good);
        assert_eq!(with(&[long, old]).unwrap().fingerprint(), old);
        let reason = "a=fingerprint is made with `sha-512`, expected sha-256";
        assert_eq!(refused(with(&[long])), reason);
    }

    #[test]
    fn what_is_missing_is_named() {
        let line = "m=audio 9 UDP/TLS/RTP/SAVPF 111\r\n";
        for (name, reason) in [
            ("a=ice-ufrag", "a=ice-ufrag is missing"),
            ("a=ice-pwd", "a=ice-pwd is missing"),
            ("a=fingerprint", "a=fingerprint is missing"),
        ] {
            let rest = HEAD.lines().filter(|line| !line.starts_with(name));
            let rest: String = rest.flat_map(|line| [line, "\r\n"]).collect();
            assert_eq!(refused(Offer::parse(&format!("{rest}{line}"))), reason);
        }
        assert_eq!(refused(parse("")), "there is no m-line");
        for none in ["", "hello", "v=1\r\n", " v=0\r\n"] {
            assert_eq!(refused(Offer::parse(none)), "the first line is not `v=0`");
        }
        // Lines may end with a line feed alone, and with spaces.
        assert!(Offer::parse(&format!("{HEAD}{line}").replace("\r\n", " \n")).is_ok());
    }

    #[test]
    fn a_line_without_a_kind_or_a_port_is_refused_with_its_beginning() {
        assert_eq!(refused(parse("m=\r\n")), "an m-line is empty");
        assert_eq!(refused(parse("m=audio\r\n")), "the m-line `audio` has no port");
        assert_eq!(refused(parse("m=audio x y\r\n")), "the m-line `audio x y` has no port");
        let long = format!("m=audio 65536 {}\r\n", "x".repeat(99));
        assert_eq!(refused(parse(&long)), "the m-line `audio 65536 xxxxxxxxxxxx` has no port");
    }

    #[test]
    fn a_mid_has_1_to_16_ascii_characters_and_stands_once() {
        let line = "m=audio 9 UDP/TLS/RTP/SAVPF 111\r\n";
        let mid = |mid: &str| parse(&format!("{line}a=mid:{mid}\r\n"));
        assert_eq!(mid("sixteen-letters!").unwrap().media()[0].mid, "sixteen-letters!");
        assert_eq!(refused(mid("")), "a=mid is ``, not 1 to 16 ASCII characters");
        assert_eq!(
            refused(mid("seventeen-letters")),
            "a=mid is `seventeen-letters`, not 1 to 16 ASCII characters"
        );
        assert_eq!(refused(mid("\u{e9}")), "a=mid is `\u{e9}`, not 1 to 16 ASCII characters");
        let twice = format!("{line}a=mid:0\r\n{line}a=mid:0\r\n");
        assert_eq!(refused(parse(&twice)), "a=mid `0` stands twice");
    }

    #[test]
    fn neither_offer_nor_answer_is_printed_with_its_password() {
        let offer = parse("m=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:0\r\n").unwrap();
        let text = format!("{offer:?}");
        assert!(text.starts_with("Offer { media: [MediaLine { kind: Audio"), "{text}");
        assert!(!text.contains("abcdefghijklmnopqrstuv"), "{text}");
        let answer = Answer::new(HEAD.to_owned());
        assert_eq!(format!("{answer:?}"), format!("Answer({} bytes)", HEAD.len()));
        assert_eq!(answer.sdp(), HEAD);
    }
}
