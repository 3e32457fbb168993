//! The real transport against a plain engine in the browser's place, on virtual time.

mod channel;
mod hostile;
mod later;
mod media;
mod negotiation;
mod pair;
mod panics;
mod red;
mod tones;
