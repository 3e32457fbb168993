//! Session descriptions without their secrets.
//!
//! What is known to be harmless stays; the value of anything else becomes `x`, as many as it had
//! bytes. What the session reads of an offer is the same before and after: m-lines, mids,
//! directions and the ufrag stay, and a password keeps its length.

#[cfg(test)]
mod bounds;

/// Attributes whose values stay.
const HARMLESS: [&str; 32] = [
    "bundle-only",
    "candidate",
    "end-of-candidates",
    "extmap",
    "extmap-allow-mixed",
    "fingerprint",
    "fmtp",
    "group",
    "ice-lite",
    "ice-options",
    "ice-ufrag",
    "inactive",
    "max-message-size",
    "maxptime",
    "mid",
    "msid",
    "msid-semantic",
    "ptime",
    "recvonly",
    "rid",
    "rtcp",
    "rtcp-fb",
    "rtcp-mux",
    "rtcp-rsize",
    "rtpmap",
    "sctp-port",
    "sctpmap",
    "sendonly",
    "sendrecv",
    "setup",
    "ssrc",
    "ssrc-group",
];

/// Lines other than attributes that stay: version, origin, name, time, media, connection,
/// bandwidth. Keys (`k=`) and what tells of people (`e=`, `p=`, `i=`, `u=`) do not.
const LINES: [u8; 7] = [b'v', b'o', b's', b't', b'm', b'c', b'b'];

/// The description without what is secret or unknown.
pub(super) fn mask(sdp: &str) -> String {
    let mut masked = String::with_capacity(sdp.len());
    for line in sdp.split_inclusive('\n') {
        let text = line.trim_end_matches(['\r', '\n']);
        let kept = kept(text);
        masked.push_str(&text[..kept]);
        masked.push_str(&"x".repeat(text.len() - kept));
        masked.push_str(&line[text.len()..]);
    }
    masked
}

/// How many bytes of a line stay.
fn kept(line: &str) -> usize {
    if let Some(attribute) = line.strip_prefix("a=") {
        let (name, value) = attribute.split_once(':').unwrap_or((attribute, ""));
        return match (HARMLESS.contains(&name.trim_end()), attribute.contains(':')) {
            (true, _) => line.len(),
            // The colon stays as well: with it the line is still an attribute with a value.
            (false, true) => line.len() - value.len(),
            (false, false) => "a=".len(),
        };
    }
    match line.as_bytes() {
        [kind, b'=', ..] if LINES.contains(kind) => line.len(),
        [_, b'=', ..] => 2,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Offer;

    const SDP: &str = "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nk=clear:letmein\r\n\
        e=jane@example.org\r\na=identity:eyJpZHAi\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\n\
        a=mid:0\r\na=ice-ufrag:EEtu\r\na=ice-pwd:abcdefghijklmnopqrstuv\r\n\
        a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:PS1uQCVeeCFCanVmcjkp\r\n\
        a=fingerprint:sha-256 00:11:22\r\na=sctp-init:AQAAGgAA\r\na=new-thing:tell\r\n\
        a=candidate:1 1 udp 1 192.0.2.1 5 typ host\r\na=sendrecv\r\nnonsense\r\n";

    #[test]
    fn secrets_and_what_is_unknown_are_masked_and_the_rest_stays() {
        let masked = mask(SDP);
        for secret in
            ["letmein", "jane", "eyJ", "abcdefghijkl", "PS1uQC", "AQAAGg", "tell", "nonsense"]
        {
            assert!(!masked.contains(secret), "{masked}");
        }
        for kept in
            ["a=ice-ufrag:EEtu\r\n", "sha-256 00:11:22", "192.0.2.1 5 typ host", "a=ice-pwd:xxxx"]
        {
            assert!(masked.contains(kept), "{masked}");
        }
        assert_eq!(masked.len(), SDP.len());
    }

    #[test]
    fn a_session_reads_the_same_from_both() {
        let (plain, masked) = (Offer::parse(SDP).unwrap(), Offer::parse(&mask(SDP)).unwrap());
        assert_eq!(plain.media(), masked.media());
        assert_eq!(plain.ice_ufrag(), masked.ice_ufrag());
        assert_ne!(plain.ice_pwd(), masked.ice_pwd());
        assert_eq!(mask(masked.sdp()), masked.sdp(), "nothing is left to mask");
    }
}
