//! The state machine of a session, as a table.
//!
//! ```text
//!                offer accepted          ICE + DTLS
//!        New ───────────────► Connecting ───────────► Connected ◄────────┐
//!         │                        │                   │      │ silence   │ traffic
//!         │ timeout, fault         │ timeout, fault    │      ▼           │
//!         ├──────────► Failed ◄────┴───────────────────┤  Disconnected ───┘
//!         │              │                             │      │ silence, fault
//!         │ ended        │ ended                 ended │      ▼
//!         └──────────────┴────────► Closed ◄───────────┘    Failed
//! ```
//!
//! Everything that changes the state stands in [`TABLE`]. An input that has no line for a state
//! changes nothing there: it is late news, never an error.

use crate::ConnectionState::{self, Closed, Connected, Connecting, Disconnected, Failed, New};

/// What can change the state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Input {
    /// The first offer was answered.
    OfferAccepted,
    /// ICE and DTLS are done.
    TransportConnected,
    /// The liveness timer found no authenticated traffic.
    Silence,
    /// Authenticated traffic came.
    Traffic,
    /// A timer or a fault says that the session cannot go on.
    Failure,
    /// The goodbye went out, or none is possible.
    Ended,
}

impl Input {
    #[cfg(test)]
    const ALL: [Input; 6] = [
        Input::OfferAccepted,
        Input::TransportConnected,
        Input::Silence,
        Input::Traffic,
        Input::Failure,
        Input::Ended,
    ];
}

/// From, input, to.
const TABLE: &[(ConnectionState, Input, ConnectionState)] = &[
    (New, Input::OfferAccepted, Connecting),
    (New, Input::Failure, Failed),
    (New, Input::Ended, Closed),
    (Connecting, Input::TransportConnected, Connected),
    (Connecting, Input::Failure, Failed),
    (Connecting, Input::Ended, Closed),
    (Connected, Input::Silence, Disconnected),
    (Connected, Input::Failure, Failed),
    (Connected, Input::Ended, Closed),
    (Disconnected, Input::Traffic, Connected),
    (Disconnected, Input::Failure, Failed),
    (Disconnected, Input::Ended, Closed),
    (Failed, Input::Ended, Closed),
];

/// The state that follows, if the input changes it.
pub(crate) fn next(state: ConnectionState, input: Input) -> Option<ConnectionState> {
    TABLE.iter().find(|(from, by, _)| *from == state && *by == input).map(|(_, _, to)| *to)
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATES: [ConnectionState; 6] = [New, Connecting, Connected, Disconnected, Failed, Closed];

    /// The whole matrix, as a reader would draw it; a change of the table shows here.
    const MATRIX: &str = "\
state        offer        transport    silence      traffic      failure      ended
new          connecting   -            -            -            failed       closed
connecting   -            connected    -            -            failed       closed
connected    -            -            disconnected -            failed       closed
disconnected -            -            -            connected    failed       closed
failed       -            -            -            -            -            closed
closed       -            -            -            -            -            -
";

    fn row(cells: &[String]) -> String {
        let padded: Vec<_> = cells.iter().map(|cell| format!("{cell:<12}")).collect();
        format!("{}\n", padded.join(" ").trim_end())
    }

    #[test]
    fn every_state_answers_every_input_as_drawn() {
        let head = ["state", "offer", "transport", "silence", "traffic", "failure", "ended"];
        let mut drawn = row(&head.map(str::to_owned));
        for state in STATES {
            let mut cells = vec![state.to_string()];
            for input in Input::ALL {
                cells.push(next(state, input).map_or("-".to_owned(), |to| to.to_string()));
            }
            drawn += &row(&cells);
        }
        assert_eq!(drawn, MATRIX, "\n{drawn}");
    }

    #[test]
    fn no_line_stands_twice() {
        for (index, (from, input, _)) in TABLE.iter().enumerate() {
            let again = TABLE[index + 1..].iter().any(|(f, i, _)| f == from && i == input);
            assert!(!again, "{from} {input:?}");
        }
    }

    #[test]
    fn every_state_can_end_and_the_end_is_final() {
        for state in STATES {
            let ends = next(state, Input::Ended);
            assert_eq!(ends, (state != Closed).then_some(Closed));
            assert!(Input::ALL.iter().all(|input| next(Closed, *input).is_none()));
        }
    }
}
