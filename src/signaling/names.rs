//! What clients call their sessions.

use std::collections::BTreeMap;
use std::fmt::Write;

use crate::SessionId;
use crate::entropy::Entropy;

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

    /// A new name for a session: `SmallWebRTCConnection#<count>-<32 hex>` (`connection.py`).
    /// Whoever knows it can renegotiate and replace the call, so it is drawn from the secret
    /// stream.
    pub(super) fn give(&mut self, id: SessionId) -> String {
        let mut secret = [0; 16];
        self.entropy.fill_secret(&mut secret);
        let mut name = format!("SmallWebRTCConnection#{}-", self.given);
        for byte in secret {
            write!(name, "{byte:02x}").expect("writing to a string does not fail");
        }
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
        let first = names.give(id(0));
        let second = names.give(id(1));
        for (count, name) in [&first, &second].into_iter().enumerate() {
            let hex = name.strip_prefix(&format!("SmallWebRTCConnection#{count}-")).unwrap();
            assert_eq!(hex.len(), 32);
            assert!(hex.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')));
        }
        assert_ne!(first[24..], second[24..]);
    }

    #[test]
    fn a_freed_name_leads_nowhere() {
        let mut names = names();
        let id = SessionId { slot: 3, generation: 9 };
        let name = names.give(id);
        assert_eq!((names.session_of(&name), names.name_of(id)), (Some(id), Some(name.as_str())));
        names.free(id);
        names.free(id);
        assert_eq!((names.session_of(&name), names.name_of(id), names.len()), (None, None, 0));
        assert!(names.sessions.is_empty());
    }
}
