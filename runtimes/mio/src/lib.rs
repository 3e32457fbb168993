//! The mio adapter of smallrtc.

#![forbid(unsafe_code)]
