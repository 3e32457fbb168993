//! What clients call their sessions.

use std::collections::BTreeMap;
use std::fmt::Write;

use crate::SessionId;
use crate::entropy::Entropy;

/// What every name begins with, as in the original (`connection.py`).
const PREFIX: &str = "SmallWebRTCConnection#";

/// Hex digits behind the count.
const HEX_LEN: usize = 32;

/// How many of them are the shard, which is below 4096; the other 29 are 116 random bits.
const SHARD_HEX_LEN: usize = 3;

/// The shard that a name of this shape leads to. Anybody can write such a name: it says where to
/// look, and nothing else.
pub(super) fn shard_of(name: &str) -> Option<u16> {
    let (count, hex) = name.strip_prefix(PREFIX)?.split_once('-')?;
    let is_hex = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    if count.is_empty() || !count.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    if hex.len() != HEX_LEN || !hex.bytes().all(is_hex) {
        return None;
    }
    u16::from_str_radix(&hex[..SHARD_HEX_LEN], 16).ok()
}

/// The lengths of the parts of a session's id, in hex digits (RFC 9562 section 4).
const UUID_PARTS: [usize; 5] = [8, 4, 4, 4, 12];

/// The shard that a session's id of this shape leads to, with as little meaning as that of a name.
pub(super) fn shard_of_start(id: &str) -> Option<u16> {
    let is_hex = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    let mut parts = id.split('-');
    for len in UUID_PARTS {
        let part = parts.next()?;
        if part.len() != len || !part.bytes().all(is_hex) {
            return None;
        }
    }
    if parts.next().is_some() {
        return None;
    }
    u16::from_str_radix(&id[..SHARD_HEX_LEN], 16).ok()
}

/// The `pc_id` of each session, both ways.
#[derive(Debug)]
pub(super) struct Names {
    entropy: Entropy,
    given: u64,
    sessions: BTreeMap<String, SessionId>,
    names: BTreeMap<SessionId, String>,
    /// What a call that took another's place was asked for by: the other's name, both ways.
    successors: BTreeMap<String, SessionId>,
    former: BTreeMap<SessionId, String>,
}

impl Names {
    pub(super) fn new(entropy: Entropy) -> Names {
        Names {
            entropy,
            given: 0,
            sessions: BTreeMap::new(),
            names: BTreeMap::new(),
            successors: BTreeMap::new(),
            former: BTreeMap::new(),
        }
    }

    /// A new name for a session of the shard: `SmallWebRTCConnection#<count>-<32 hex>`, whose
    /// first three hex digits are the shard. Whoever knows it can renegotiate and replace the
    /// call, so the rest is drawn from the secret stream.
    pub(super) fn give(&mut self, id: SessionId, shard: u16) -> String {
        let mut secret = [0; 16];
        self.entropy.fill_secret(&mut secret);
        let mut name = format!("{PREFIX}{}-{shard:03x}", self.given);
        let length = name.len() - SHARD_HEX_LEN + HEX_LEN;
        for byte in secret {
            write!(name, "{byte:02x}").expect("writing to a string does not fail");
        }
        name.truncate(length);
        self.given += 1;
        self.free(id);
        self.sessions.insert(name.clone(), id);
        self.names.insert(id, name.clone());
        name
    }

    /// A new id for a session of `/start`: a UUID of version 4 as in the original, whose first
    /// three hex digits are the shard. Whoever knows it gets what was kept for its owner, so the
    /// other 110 bits are drawn from the secret stream.
    pub(super) fn give_start(&mut self, shard: u16) -> String {
        let mut secret = [0; 16];
        self.entropy.fill_secret(&mut secret);
        // Version 4 and variant 0b10 (RFC 9562 section 5.4).
        secret[6] = secret[6] & 0x0f | 0x40;
        secret[8] = secret[8] & 0x3f | 0x80;
        let mut hex = format!("{shard:03x}");
        for byte in secret {
            write!(hex, "{byte:02x}").expect("writing to a string does not fail");
        }
        // In the place of the first digits drawn, so that version and variant stay where they are.
        hex.replace_range(SHARD_HEX_LEN..2 * SHARD_HEX_LEN, "");
        let mut rest = hex.as_str();
        let parts = UUID_PARTS.map(|len| {
            let (part, behind) = rest.split_at(len);
            rest = behind;
            part
        });
        parts.join("-")
    }

    pub(super) fn free(&mut self, id: SessionId) {
        if let Some(name) = self.names.remove(&id) {
            self.sessions.remove(&name);
        }
        if let Some(name) = self.former.remove(&id) {
            self.successors.remove(&name);
        }
    }

    /// Remembers by what name a call was asked for that took another's place, as long as it lives.
    pub(super) fn succeed(&mut self, name: String, id: SessionId) {
        if let Some(before) = self.successors.insert(name.clone(), id) {
            self.former.remove(&before);
        }
        self.former.insert(id, name);
    }

    /// The call that took the place of the one with this name.
    pub(super) fn successor_of(&self, name: &str) -> Option<SessionId> {
        self.successors.get(name).copied()
    }

    pub(super) fn session_of(&self, name: &str) -> Option<SessionId> {
        self.sessions.get(name).copied()
    }

    pub(super) fn name_of(&self, id: SessionId) -> Option<&str> {
        self.names.get(&id).map(String::as_str)
    }

    pub(super) fn len(&self) -> usize {
        self.names.len()
    }

    pub(super) fn sessions(&self) -> Vec<SessionId> {
        self.names.keys().copied().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Seed;

    fn names() -> Names {
        Names::new(Entropy::new(&Seed::from_number(1)))
    }

    #[test]
    fn names_have_the_shape_of_the_original_and_never_repeat() {
        let mut names = names();
        let id = |slot| SessionId { slot, generation: 0 };
        let first = names.give(id(0), 0);
        let second = names.give(id(1), 0);
        for (count, name) in [&first, &second].into_iter().enumerate() {
            let hex = name.strip_prefix(&format!("SmallWebRTCConnection#{count}-")).unwrap();
            assert_eq!(hex.len(), 32);
            assert!(hex.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')));
        }
        assert_ne!(first[24..], second[24..]);
    }

    #[test]
    fn a_name_tells_its_shard_and_keeps_its_length() {
        let mut names = names();
        let id = SessionId { slot: 0, generation: 0 };
        for shard in [0, 1, 10, 255, 4095] {
            let name = names.give(id, shard);
            assert_eq!(shard_of(&name), Some(shard), "{name}");
            assert_eq!(name.split_once('-').unwrap().1.len(), HEX_LEN);
        }
        let [one, two] = [0, 1].map(|_| names.give(id, 7));
        let random = |name: &str| name.split_once('-').unwrap().1[SHARD_HEX_LEN..].to_owned();
        assert_ne!(random(&one), random(&two));
    }

    #[test]
    fn a_name_of_another_shape_leads_nowhere() {
        let hex = "0123456789abcdef0123456789abcdef";
        assert_eq!(shard_of(&format!("{PREFIX}12-{hex}")), Some(0x012));
        for name in [
            String::new(),
            PREFIX.to_owned(),
            format!("{PREFIX}12{hex}"),
            format!("{PREFIX}-{hex}"),
            format!("{PREFIX}x-{hex}"),
            format!("{PREFIX}1-+{}", &hex[1..]),
            format!("{PREFIX}1-{}", hex.to_uppercase()),
            format!("{PREFIX}1-{}", &hex[1..]),
            format!("{PREFIX}1-{hex}0"),
            format!("{PREFIX}1-\u{e9}{}", &hex[2..]),
            format!("Connection#1-{hex}"),
        ] {
            assert_eq!(shard_of(&name), None, "{name}");
        }
    }

    #[test]
    fn the_id_of_a_session_is_a_random_uuid_that_tells_its_shard() {
        let mut names = names();
        for shard in [0, 1, 0xabc, 4095] {
            let id = names.give_start(shard);
            assert_eq!((id.len(), shard_of_start(&id)), (36, Some(shard)), "{id}");
            assert_eq!(id.as_bytes()[14], b'4', "the version: {id}");
            assert!(b"89ab".contains(&id.as_bytes()[19]), "the variant: {id}");
        }
        let [one, two] = [0, 1].map(|_| names.give_start(7));
        assert_eq!(one[..3], two[..3]);
        assert_ne!(one[3..], two[3..]);
        let digits: String = one.chars().filter(|digit| *digit != '-').collect();
        assert_eq!(digits.len(), 32);
    }

    #[test]
    fn the_id_of_a_session_of_another_shape_leads_nowhere() {
        let id = "00212233-4455-4677-8899-aabbccddeeff";
        assert_eq!(shard_of_start(id), Some(2));
        for other in [
            String::new(),
            id.to_uppercase(),
            id.replace('-', ""),
            format!("{id}-"),
            format!("{id}0"),
            format!("0{id}"),
            id.replace("00212233", "+0212233"),
            id.replace("00212233", "\u{e9}12233"),
        ] {
            assert_eq!(shard_of_start(&other), None, "{other}");
        }
    }

    #[test]
    fn a_freed_name_leads_nowhere() {
        let mut names = names();
        let id = SessionId { slot: 3, generation: 9 };
        let name = names.give(id, 0);
        assert_eq!((names.session_of(&name), names.name_of(id)), (Some(id), Some(name.as_str())));
        names.free(id);
        names.free(id);
        assert_eq!((names.session_of(&name), names.name_of(id), names.len()), (None, None, 0));
        assert!(names.sessions.is_empty());
    }

    #[test]
    fn the_name_before_leads_to_the_newest_that_was_asked_for_by_it_while_that_lives() {
        let mut names = names();
        let [one, two] = [3, 4].map(|slot| SessionId { slot, generation: 0 });
        for id in [one, two] {
            names.give(id, 0);
            names.succeed("before".to_owned(), id);
            assert_eq!(names.successor_of("before"), Some(id));
        }
        names.free(one);
        assert_eq!(names.successor_of("before"), Some(two));
        assert_eq!(names.session_of("before"), None);
        names.free(two);
        assert!(names.successors.is_empty() && names.former.is_empty());
    }
}
