//! Writing and reading bytes: postcard at the end of a buffer, and digests.

#[cfg(test)]
mod bounds;

use postcard::ser_flavors::Flavor;
use serde::Serialize;

/// Writes at the end of a buffer that goes on to be used.
struct Append<'a>(&'a mut Vec<u8>);

impl Flavor for Append<'_> {
    type Output = ();

    fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
        self.0.push(byte);
        Ok(())
    }

    fn try_extend(&mut self, bytes: &[u8]) -> postcard::Result<()> {
        self.0.extend_from_slice(bytes);
        Ok(())
    }

    fn finalize(self) -> postcard::Result<()> {
        Ok(())
    }
}

/// Appends a value.
pub(super) fn append(value: &impl Serialize, buffer: &mut Vec<u8>) {
    postcard::serialize_with_flavor(value, Append(buffer))
        .expect("plain data of known length can be written into memory");
}

/// A digest of bytes in order, and of how they were divided. Not cryptographic: it finds mistakes,
/// not forgers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Digest(u64);

impl Digest {
    pub(super) const START: Digest = Digest(0xcbf2_9ce4_8422_2325);

    /// Eight bytes at a time: byte by byte it would be most of the cost of a recording.
    pub(super) fn fold(&mut self, bytes: &[u8]) {
        self.word(bytes.len() as u64);
        let (words, rest) = bytes.as_chunks::<8>();
        for word in words {
            self.word(u64::from_le_bytes(*word));
        }
        let mut last = [0; 8];
        last[..rest.len()].copy_from_slice(rest);
        self.word(u64::from_le_bytes(last));
    }

    /// Samples, as the bytes that they have everywhere.
    pub(super) fn fold_samples(&mut self, samples: &[i16]) {
        self.word(samples.len() as u64);
        for chunk in samples.chunks(4) {
            let word = chunk.iter().fold(0, |word, sample| word << 16 | u64::from(*sample as u16));
            self.word(word);
        }
    }

    /// Each step can be undone, so that a difference in one word never vanishes.
    fn word(&mut self, word: u64) {
        self.0 = (self.0 ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29);
    }

    pub(super) fn value(self) -> u64 {
        self.0 ^ self.0 >> 32
    }

    /// The half that stands beside single results and in front of records.
    pub(super) fn short(self) -> u32 {
        // The lower half is what is meant.
        self.value() as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(parts: &[&[u8]]) -> Digest {
        let mut digest = Digest::START;
        parts.iter().for_each(|part| digest.fold(part));
        digest
    }

    #[test]
    fn a_digest_sees_every_byte_and_every_seam() {
        let bytes: Vec<u8> = (0..40).collect();
        let plain = digest(&[&bytes]);
        for place in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[place] ^= 1;
            assert_ne!(digest(&[&changed]), plain, "{place}");
            assert_ne!(digest(&[&changed]).short(), plain.short(), "{place}");
            assert_ne!(digest(&[&bytes[..place], &bytes[place..]]), plain, "{place}");
        }
        assert_ne!(digest(&[&[0]]), digest(&[&[0, 0]]));
    }

    #[test]
    fn samples_count_as_what_they_are() {
        let of = |samples: &[i16]| {
            let mut digest = Digest::START;
            digest.fold_samples(samples);
            digest
        };
        assert_ne!(of(&[1, 2, 3, 4, 5]), of(&[1, 2, 3, 4, 6]));
        assert_ne!(of(&[-1, 0]), of(&[0, -1]));
        assert_ne!(of(&[0; 4]), of(&[0; 5]));
    }
}
