//! Figures of signalling.

use crate::figures;

figures! {
    /// What signalling counted since it was made. Every request is counted once in `requests`, and
    /// once more in what it became.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    #[non_exhaustive]
    pub struct SignalingStats {
        /// Requests of any kind.
        pub requests: u64,
        /// Offers that made a call.
        pub calls: u64,
        /// Offers that made a call in the place of another (`restart_pc`); in `calls` as well.
        pub calls_replaced: u64,
        /// Offers that an existing call answered.
        pub renegotiations: u64,
        /// Requests whose candidates were taken.
        pub trickles: u64,
        /// Of those, how many answers waited for a restarted call to connect.
        pub trickles_held: u64,
        /// Sessions that `/start` made.
        pub starts: u64,
        /// Sessions of `/start` that nobody used in time.
        pub starts_expired: u64,
        /// Preflights that were answered with yes.
        pub preflights: u64,
        /// Preflights from an origin that is not allowed.
        pub origins_refused: u64,
        /// Requests that had to wait for local candidates.
        pub waits: u64,
        /// Of those, how many waited as long as they may.
        pub waits_timed_out: u64,
        /// Of those, how many nobody waited for any more.
        pub waits_cancelled: u64,
        /// 400: the request cannot be read, or asks for what there is not.
        pub refused_malformed: u64,
        /// 400: another call is there (`Mode::Single`).
        pub refused_single: u64,
        /// 404: no such path.
        pub refused_path: u64,
        /// 404: no such call, or no such session of `/start`.
        pub refused_unknown: u64,
        /// 405.
        pub refused_method: u64,
        /// 413.
        pub refused_too_large: u64,
        /// 429, of an offer 503: the client asks too often.
        pub refused_rate: u64,
        /// 503: the endpoint is full, closed or has no address.
        pub refused_full: u64,
        /// 503: too many offers wait for local candidates.
        pub refused_waiting: u64,
        /// 503: too many sessions of `/start` wait for their offer.
        pub refused_starts: u64,
        /// 503: no new call is taken any more.
        pub refused_draining: u64,
        /// Clients whose requests were no longer counted because there were too many clients.
        pub clients_evicted: u64,
        /// Clients whose requests are counted now.
        pub clients: u64 = gauge,
        /// Sessions of `/start` that wait for their offer now.
        pub starts_waiting: u64 = gauge,
        /// Requests whose response is still to come, or waits to be polled.
        pub offers_waiting: u64 = gauge,
    }
}
