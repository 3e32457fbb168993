//! Figures of a session and of an endpoint.

use std::time::Duration;

use crate::{CloseReason, figures};

figures! {
    /// What a session counted since its birth, and the engine's last figures.
    #[derive(Clone, Copy, Debug, Default, PartialEq)]
    #[non_exhaustive]
    pub struct Stats {
        /// Datagrams taken.
        pub datagrams_received: u64,
        /// Datagrams that were nothing that WebRTC sends.
        pub datagrams_malformed: u64,
        /// Datagrams handed out.
        pub datagrams_sent: u64,
        /// Bytes of those taken.
        pub bytes_received: u64,
        /// Bytes of those handed out.
        pub bytes_sent: u64,
        /// Application messages given to the application.
        pub messages_received: u64,
        /// Application messages handed to the channel.
        pub messages_sent: u64,
        /// Messages that were given up because no channel opened in time, the call ended, or they
        /// are larger than the peer takes.
        pub messages_dropped: u64,
        /// Messages that were refused at a limit.
        pub messages_refused: u64,
        /// Messages of the channel that meant nothing.
        pub messages_noise: u64,
        /// Pings of the peer.
        pub pings: u64,
        /// Remote candidates that were refused because the session had too many.
        pub candidates_refused: u64,
        /// Pieces of audio that were refused because the queue was full.
        pub audio_refused: u64,
        /// Audio packets handed to the wire.
        pub audio_packets_sent: u64,
        /// Audio packets that arrived.
        pub audio_packets_received: u64,
        /// Audio packets that came twice.
        pub audio_packets_duplicate: u64,
        /// Audio packets that came after their time was given out.
        pub audio_packets_late: u64,
        /// Audio packets that could not be read.
        pub audio_packets_malformed: u64,
        /// How often the peer's audio began anew or its clock jumped.
        pub audio_restarts: u64,
        /// Samples at 48 kHz that were missing and decoded from a copy in another packet (RED or
        /// in-band FEC).
        pub audio_repaired_samples: u64,
        /// Samples at 48 kHz that were concealed.
        pub audio_concealed_samples: u64,
        /// Samples at 48 kHz that were filled with silence.
        pub audio_silence_samples: u64,
        /// Samples at 48 kHz that were dropped because nobody read them.
        pub audio_dropped_samples: u64,
        /// Events of speech that were dropped because nobody polled them.
        pub speech_events_dropped: u64,
        /// How often the pacing clock was late and slipped.
        pub audio_slips: u64,
        /// By how much in all: whole packet times that were not sent.
        pub audio_slipped: Duration,
        /// Coded frames that arrived.
        pub encoded_received: u64,
        /// Coded frames that were dropped because nobody read them.
        pub encoded_dropped: u64,
        /// Coded frames that were handed to the wire.
        pub encoded_sent: u64,
        /// Media frames that were dropped because the transmit queue was at its limit.
        pub media_dropped: u64,
        /// Keys of a telephone that the peer pressed and that were told of.
        pub dtmf_received: u64,
        /// Keys that were not told of because 256 others were not polled.
        pub dtmf_dropped: u64,
        /// Telephone events of the peer that are no key, packet by packet.
        pub dtmf_ignored: u64,
        /// Keys of a telephone that were handed to the wire.
        pub dtmf_sent: u64,
        /// Keyframes asked of the peer.
        pub keyframes_requested: u64,
        /// The round trip to the peer.
        pub rtt: Option<Duration>,
        /// The fraction of our packets that the peer missed, 0 to 1.
        pub loss_sent: Option<f32>,
        /// The fraction of the peer's packets that were missed, 0 to 1.
        pub loss_received: Option<f32>,
        /// Jitter of the peer's packets (RFC 3550 section 6.4.1).
        pub jitter_received: Option<Duration>,
        /// Calls that are not in the log, because it was at its limit or its sink took no more.
        pub calls_unrecorded: u64,
    }
}

figures! {
    /// What an endpoint counted since its birth.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    #[non_exhaustive]
    pub struct EndpointStats {
        /// Sessions that were made.
        pub sessions_accepted: u64,
        /// Offers that were refused because the endpoint was full.
        pub sessions_refused: u64,
        /// Sessions that ended; each is counted once more in the reason for which it did.
        pub sessions_closed: u64,
        /// Sessions that ended because the peer closed the connection.
        pub closed_hung_up: u64,
        /// Sessions that ended because the peer said that it left.
        pub closed_peer_left: u64,
        /// Sessions that ended because nothing was heard of the peer any more.
        pub closed_lost: u64,
        /// Sessions that ended because they were not connected in time.
        pub closed_never_connected: u64,
        /// Sessions that the application ended.
        pub closed_application: u64,
        /// Sessions whose place another one took.
        pub closed_replaced: u64,
        /// Sessions that ended because the application did not poll their messages.
        pub closed_application_too_slow: u64,
        /// Sessions that ended because the peer was not who made the offer.
        pub closed_refused: u64,
        /// Sessions that ended because of a fault of the engine.
        pub closed_internal: u64,
        /// Datagrams that belong to no session.
        pub datagrams_unroutable: u64,
        /// Datagrams that are nothing that WebRTC sends.
        pub datagrams_malformed: u64,
        /// Datagrams for another shard.
        pub datagrams_not_mine: u64,
        /// STUN requests that named a session and were not made with its password.
        pub requests_forged: u64,
        /// Addresses that were refused because the session had too many, or because another session
        /// held them.
        pub addresses_refused: u64,
        /// Addresses that made room for a newer one of the same session.
        pub addresses_evicted: u64,
        /// Local candidates that were ignored because there were too many.
        pub local_candidates_refused: u64,
    }
}

impl EndpointStats {
    /// The count of the sessions that ended for this reason.
    pub(crate) fn closed_for(&mut self, reason: CloseReason) -> &mut u64 {
        match reason {
            CloseReason::HungUp => &mut self.closed_hung_up,
            CloseReason::PeerLeft => &mut self.closed_peer_left,
            CloseReason::Lost => &mut self.closed_lost,
            CloseReason::NeverConnected => &mut self.closed_never_connected,
            CloseReason::Application => &mut self.closed_application,
            CloseReason::Replaced => &mut self.closed_replaced,
            CloseReason::ApplicationTooSlow => &mut self.closed_application_too_slow,
            CloseReason::Refused => &mut self.closed_refused,
            CloseReason::Internal => &mut self.closed_internal,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_figures_of_two_calls_add_up_and_the_worse_measure_is_taken() {
        let one = Stats { pings: 3, loss_sent: Some(0.25), ..Stats::default() };
        let rtt = Some(Duration::from_millis(7));
        let sum = one + Stats { pings: 4, rtt, loss_sent: Some(0.5), ..Stats::default() };
        assert_eq!((sum.pings, sum.rtt), (7, rtt));
        assert_eq!((sum.loss_sent, sum.loss_received), (Some(0.5), None));
        let slipped = Duration::from_millis(20);
        let sum = Stats { audio_slipped: slipped, ..one } + Stats { audio_slipped: slipped, ..one };
        assert_eq!((sum.audio_slipped, sum.jitter_received), (slipped * 2, None));
    }

    #[test]
    fn the_figures_of_two_endpoints_add_up() {
        let one =
            EndpointStats { sessions_accepted: 3, datagrams_not_mine: 1, ..Default::default() };
        let other = EndpointStats { sessions_accepted: 4, addresses_refused: 2, ..one };
        let sum = one + other;
        assert_eq!((sum.sessions_accepted, sum.datagrams_not_mine), (7, 2));
        assert_eq!((sum.addresses_refused, sum.sessions_closed), (2, 0));
    }
}
