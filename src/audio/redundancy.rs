//! When sound that is sent goes out twice.

/// Whether each packet of sound takes a copy of the one before it along (RED, RFC 2198), to a peer
/// that offers to take it apart (`audio/red`). A packet that is lost alone is heard all the same.
///
/// What a second of a voice costs at the default bitrate, in kbit/s with the headers of RTP, UDP
/// and IPv4, by the loss that the peer has reported for a while (measured; from 1 % on
/// in-band FEC is in it):
///
/// | loss | `Off` | `ByLoss` | `Always` |
/// | --- | --- | --- | --- |
/// | 0 % | 51 | 51 | 75 |
/// | 1 % | 54 | 83 | 83 |
/// | 5 % | 54 | 83 | 83 |
/// | 20 % | 55 | 84 | 84 |
///
/// What of it a listener misses who keeps 40 ms in store, in-band FEC included (measured on a
/// simulated call, in percent of all packets; bursts are of two packets on average):
///
/// | loss | `Off` | with copies | in bursts, `Off` | in bursts, with copies |
/// | --- | --- | --- | --- | --- |
/// | 1 % | 0.1 | 0 | 0.6 | 0.3 |
/// | 5 % | 0.6 | 0 | 3.0 | 1.7 |
/// | 20 % | 5.2 | 1.1 | 10 | 4.8 |
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Redundancy {
    /// Never: what is lost is mended by in-band FEC, or made up by the listener.
    Off,
    /// While the peer reports that packets are lost, from about 0.5 % on. Browsers report every
    /// 5 s, so what is lost before the first such report has no copy.
    ByLoss,
    /// From the first packet on: the default.
    #[default]
    Always,
}
