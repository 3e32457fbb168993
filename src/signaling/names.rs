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

/// The `pc_id` of each session, both ways.
#[derive(Debug)]
pub(super) struct Names {
    entropy: Entropy,
    given: u64,
    sessions: BTreeMap<String, SessionId>,
    names: BTreeMap<SessionId, String>,
}

impl Names {
    pub(super) fn new(entropy: Entropy) -> Names {
        Names { entropy, given: 0, sessions: BTreeMap::new(), names: BTreeMap::new() }
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

    pub(super) fn free(&mut self, id: SessionId) {
        if let Some(name) = self.names.remove(&id) {
            self.sessions.remove(&name);
        }
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
}
