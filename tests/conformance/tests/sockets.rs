//! The drivers on real sockets of a loopback address.

smallrtc_conformance::socket_suite!(mio, smallrtc_conformance::sockets::MioDriver);
smallrtc_conformance::socket_suite!(smol, smallrtc_conformance::sockets::SmolDriver);
