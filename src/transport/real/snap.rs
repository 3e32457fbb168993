//! Leaving out the SCTP handshake: `a=sctp-init` (draft-hancke-tsvwg-snap).
//!
//! A peer that offers its INIT chunk is answered with ours, and the association of both begins
//! established: two round trips less until the data channel opens. We make no offers, so we never
//! ask for it. A peer that offers it is free to get no answer to it, and shakes hands then; so
//! whatever is wrong with the attribute is answered by silence, and no offer fails because of it.
//!
//! | what an offer holds | what becomes of it |
//! | --- | --- |
//! | one INIT in its first data channel section | answered with ours |
//! | it elsewhere, twice, over [`INIT_LEN_MAX`], or unreadable | as if it were not there |
//! | in a re-offer the same, as the draft has it | answered with the same |
//! | in a re-offer none, or the section is stopped | the association goes on, not answered |
//! | in a re-offer another one | `Incompatible`: an association cannot be made anew |
//! | in a re-offer one, while an association runs that shook hands | as if it were not there |
//!
//! It never reads the chunk: whether an INIT can be used is for the engine to say, on an engine
//! that is thrown away if it does not.

use super::sdp;
use crate::offer::LineKind;
use crate::{NegotiateError, Offer};

pub(super) const ATTRIBUTE: &str = "a=sctp-init:";

/// The longest value that the engine is shown, in bytes. Chunks have 20 bytes and a few for each
/// extension, under 100 in all implementations; the engine itself takes 2048 before base64.
const INIT_LEN_MAX: usize = 512;

/// The INIT that the peer offers, as it is written; `None` when there is none that counts.
pub(super) fn offered(offer: &Offer) -> Option<&str> {
    let (_, media) = sdp::sections(offer.sdp());
    let mut values = media.get(section(offer)?)?.iter().filter_map(|line| value(line));
    let only = values.next()?;
    (values.next().is_none() && only.len() <= INIT_LEN_MAX).then_some(only)
}

/// The m-line whose section the attribute belongs to: the first data channel that lives.
pub(super) fn section(offer: &Offer) -> Option<usize> {
    let stopped = sdp::stopped(offer);
    let mut lines = offer.media().iter().zip(stopped);
    lines.position(|(line, stopped)| line.kind == LineKind::Application && !stopped)
}

pub(super) fn value(line: &str) -> Option<&str> {
    line.strip_prefix(ATTRIBUTE)
}

/// Whether the engine's answer takes the offer up.
pub(super) fn is_taken_up(answer: &str) -> bool {
    answer.lines().any(|line| value(line).is_some())
}

/// What the engine is to be shown of a re-offer, given what was agreed before.
pub(super) fn of_reoffer<'a>(
    agreed: Option<&'a str>,
    offer: &'a Offer,
) -> Result<Option<&'a str>, NegotiateError> {
    match (agreed, offered(offer)) {
        (Some(agreed), Some(now)) if agreed != now => Err(NegotiateError::Incompatible {
            reason: "a=sctp-init is another than before".to_owned(),
        }),
        // The engine wants it repeated in every offer, in a stopped section as well.
        (Some(agreed), _) => Ok(Some(agreed)),
        (None, offered) => Ok(offered),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_takes_the_offer_up_when_it_says_so_in_a_line_of_its_own() {
        assert!(is_taken_up("v=0\r\na=mid:0\r\na=sctp-init:AAAA\r\n"));
        assert!(!is_taken_up("v=0\r\na=mid:0\r\ns=a=sctp-init:AAAA\r\n"));
    }

    const HEAD: &str = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n";
    const TRANSPORT: &str = "a=ice-ufrag:abcd\r\na=ice-pwd:abcdefghijklmnopqrstuv\r\n\
        a=setup:actpass\r\na=fingerprint:sha-256 \
        00:01:02:03:04:05:06:07:08:09:0A:0B:0C:0D:0E:0F:\
        10:11:12:13:14:15:16:17:18:19:1A:1B:1C:1D:1E:1F\r\n";

    fn section(mid: &str, port: u16, rest: &str) -> String {
        format!(
            "m=application {port} UDP/DTLS/SCTP webrtc-datachannel\r\nc=IN IP4 0.0.0.0\r\n\
            a=mid:{mid}\r\n{TRANSPORT}{rest}"
        )
    }

    fn of(media: &str) -> Option<String> {
        let offer = Offer::parse(&format!("{HEAD}{media}")).unwrap();
        offered(&offer).map(str::to_owned)
    }

    #[test]
    fn a_value_of_the_limit_counts_and_a_longer_one_does_not() {
        let with =
            |len: usize| of(&section("0", 9, &format!("{ATTRIBUTE}{}\r\n", "A".repeat(len))));
        assert_eq!(with(INIT_LEN_MAX).map(|value| value.len()), Some(INIT_LEN_MAX));
        assert_eq!(with(INIT_LEN_MAX + 1), None);
    }

    #[test]
    fn what_was_agreed_stays_and_another_value_is_refused() {
        let offer = |rest: &str| Offer::parse(&format!("{HEAD}{}", section("0", 9, rest))).unwrap();
        let (one, none) = (offer(&format!("{ATTRIBUTE}one\r\n")), offer(""));
        assert_eq!(of_reoffer(None, &none), Ok(None));
        assert_eq!(of_reoffer(None, &one), Ok(Some("one")));
        assert_eq!(of_reoffer(Some("one"), &one), Ok(Some("one")));
        assert_eq!(of_reoffer(Some("one"), &none), Ok(Some("one")));
        let refused = of_reoffer(Some("two"), &one).unwrap_err().to_string();
        assert!(refused.starts_with("sdp: a=sctp-init is another than before ("), "{refused}");
    }

    #[test]
    fn one_value_counts_and_it_stands_in_the_first_section_that_lives() {
        let (one, two) = (format!("{ATTRIBUTE}one\r\n"), format!("{ATTRIBUTE}two\r\n"));
        assert_eq!(of(&section("0", 9, "")), None);
        assert_eq!(of(&section("0", 9, &one)).as_deref(), Some("one"));
        assert_eq!(of(&section("0", 9, &format!("{one}{one}"))), None);
        let both = format!("{}{}", section("0", 9, &one), section("1", 9, &two));
        assert_eq!(of(&both).as_deref(), Some("one"));
        let second = format!("{}{}", section("0", 0, &one), section("1", 9, &two));
        assert_eq!(of(&second).as_deref(), Some("two"));
        assert_eq!(of(&format!("{one}{}", section("0", 9, ""))), None);
    }
}
