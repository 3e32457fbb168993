//! Which codecs sound has.

use std::sync::Arc;

use super::Config;
use crate::{AudioCoder, Codec, ConfigError};

impl Config {
    /// The codecs of sound that are answered, the best first: of those that a peer offers, the
    /// first of these is what this side sends with, and all of them are understood, packet by
    /// packet. By default Opus, G.722, PCMU, PCMA: what a browser has to know (RFC 7874 section 3),
    /// and G.722, which is what telephones have that sound better. So Opus is spoken with whoever
    /// offers it, wherever it stands in the offer: it mends losses, and it has the whole band; a
    /// telephone that offers G.711 or G.722 alone has its call.
    ///
    /// Sound is coded and decoded here when there are coders for all of these, and else passed on
    /// as it is coded, whatever a peer offers: a core without Opus gives PCM once Opus is not in
    /// this list.
    ///
    /// # Errors
    /// [`ConfigError::OutOfRange`] for none, for one that stands there twice, or one of pictures.
    pub fn audio_codecs(mut self, codecs: &[Codec]) -> Result<Config, ConfigError> {
        let is_twice = |at: usize| codecs[..at].contains(&codecs[at]);
        let wrong = (0..codecs.len()).find(|at| !codecs[*at].is_audio() || is_twice(*at));
        if codecs.is_empty() || wrong.is_some() {
            return Err(ConfigError::OutOfRange {
                field: "audio_codecs",
                value: wrong.map_or(0, |at| at as u64 + 1),
                expected: "at least one codec of sound, and each once",
            });
        }
        self.audio_codecs = codecs.to_vec();
        Ok(self)
    }

    /// Codes and decodes Opus with libopus, the C library (feature `libopus`). Off by default, and
    /// on in a build without the feature `opus`: the pure Rust one sounds the same (it is a port of
    /// the same version), needs no C compiler to be built, and takes up to a fifth more time to
    /// code (measured at complexity 5 to 9).
    #[cfg(feature = "libopus")]
    #[must_use]
    pub fn libopus(mut self, on: bool) -> Config {
        self.libopus = on;
        self
    }

    /// Codes and decodes this codec with coders of the application's own: another Opus, hardware.
    /// By default with those that are built in. A second call for a codec replaces the first.
    ///
    /// Whether it is answered at all, and before which others, is what [`Config::audio_codecs`]
    /// says.
    ///
    /// # Errors
    /// [`ConfigError::OutOfRange`] for a codec of pictures.
    pub fn audio_coder(
        mut self,
        codec: Codec,
        coder: Arc<dyn AudioCoder>,
    ) -> Result<Config, ConfigError> {
        if !codec.is_audio() {
            let (field, expected) = ("audio_coder", "a codec of sound");
            return Err(ConfigError::OutOfRange { field, value: 1, expected });
        }
        self.audio_coders.retain(|(of, _)| *of != codec);
        self.audio_coders.push((codec, coder));
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codecs_are_taken_in_their_order_and_refused_by_their_place() {
        let taken = |codecs: &[Codec]| Config::new().audio_codecs(codecs);
        let all = [Codec::Pcma, Codec::Pcmu, Codec::G722, Codec::Opus];
        assert_eq!(taken(&all).unwrap().audio_codecs, all);
        assert_eq!(taken(&[Codec::G722]).unwrap().audio_codecs, [Codec::G722]);
        for (codecs, at) in [
            (&[][..], 0),
            (&[Codec::Vp8], 1),
            (&[Codec::Opus, Codec::H264], 2),
            (&[Codec::Opus, Codec::Pcmu, Codec::Opus], 3),
        ] {
            let error = taken(codecs).unwrap_err().to_string();
            let told = "(expected at least one codec of sound, and each once)";
            assert_eq!(error, format!("audio_codecs: {at} {told}"));
        }
    }

    #[cfg(all(feature = "opus", feature = "libopus"))]
    #[test]
    fn of_two_that_code_opus_the_pure_one_does_unless_the_other_is_asked_for() {
        use crate::audio::Coder;
        let name = |config: &Config| Coder::of(config, Codec::Opus).unwrap().name().to_owned();
        assert_eq!(name(&Config::new()), "opus-pure");
        assert_eq!(name(&Config::new().libopus(true)), "libopus");
        assert_eq!(name(&Config::new().libopus(true).libopus(false)), "opus-pure");
        let back = crate::record::settings_there_and_back(&Config::new().libopus(true));
        assert_eq!(name(&back), "libopus", "a log says which");
    }

    #[test]
    fn what_is_answered_by_default_is_opus_and_what_telephones_speak() {
        let default = [Codec::Opus, Codec::G722, Codec::Pcmu, Codec::Pcma];
        assert_eq!(Config::new().audio_codecs, default);
        assert!(default.into_iter().all(Codec::is_audio) && !Codec::H264.is_audio());
    }
}
