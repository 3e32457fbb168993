//! The inner steps of the drivers, on virtual time.

smallrtc_conformance::machine_suite!(bare, smallrtc_conformance::Bare);
smallrtc_conformance::machine_suite!(smol, smallrtc_conformance::Smol);
smallrtc_conformance::machine_suite!(mio, smallrtc_conformance::Mio);
