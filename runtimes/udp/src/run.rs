//! Runs: neighbours that one system call can carry.
//!
//! A system that cuts up datagrams by itself (UDP segmentation offload, GSO) takes many in one
//! piece: all from one address to one other, all of one length, but that the last may be shorter.
//! A message of many packets or a frame of a picture is such a run; the sound of a hundred calls is
//! none. Only neighbours are joined, so that nothing overtakes anything.
//!
//! | what | limit | at the limit |
//! | --- | --- | --- |
//! | datagrams of a run | [`RUN_SEGMENTS_MAX`], or what the system takes | the next run begins |
//! | bytes of a run | [`RUN_LEN_MAX`] | the next run begins |

use std::net::SocketAddr;

use smallrtc::Transmit;

/// How many datagrams one run holds at most: what Linux takes (`UDP_MAX_SEGMENTS` before 6.9).
pub const RUN_SEGMENTS_MAX: usize = 64;

/// How many bytes one run holds at most: a packet's 65,535 less the headers of IPv6 and UDP.
pub const RUN_LEN_MAX: usize = 65_487;

/// One datagram or several, as the kernel is to get them.
#[derive(Debug)]
pub(crate) struct Run<'a> {
    pub(crate) source: SocketAddr,
    pub(crate) destination: SocketAddr,
    pub(crate) contents: &'a [u8],
    pub(crate) segments: usize,
    /// The length of each, but of the last.
    pub(crate) segment_len: usize,
}

/// How many of the first datagrams make up one run of at most `segments_max`; 0 of none.
pub(crate) fn run_len<'a>(
    mut transmits: impl Iterator<Item = &'a Transmit>,
    segments_max: usize,
) -> usize {
    let Some(first) = transmits.next() else { return 0 };
    let segment_len = first.payload.len();
    let mut segments = 1;
    for transmit in transmits {
        let len = transmit.payload.len();
        let joins = segments < segments_max
            && (transmit.source, transmit.destination) == (first.source, first.destination)
            && (1..=segment_len).contains(&len)
            && segments * segment_len + len <= RUN_LEN_MAX;
        if !joins {
            break;
        }
        segments += 1;
        if len < segment_len {
            break;
        }
    }
    segments
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use smallrtc::TransportId;

    fn transmit(source: u16, destination: u16, len: usize) -> Transmit {
        let [source, destination] = [source, destination].map(|port| ([127, 0, 0, 1], port).into());
        Transmit::udp(TransportId(0), source, destination, Bytes::from(vec![0; len]))
    }

    /// The runs that datagrams of these lengths make between two addresses.
    fn runs(lens: &[usize], segments_max: usize) -> Vec<usize> {
        let transmits: Vec<_> = lens.iter().map(|len| transmit(1, 2, *len)).collect();
        split(&transmits, segments_max)
    }

    fn split(transmits: &[Transmit], segments_max: usize) -> Vec<usize> {
        let (mut runs, mut rest) = (Vec::new(), transmits);
        while !rest.is_empty() {
            let run = run_len(rest.iter(), segments_max);
            runs.push(run);
            rest = &rest[run..];
        }
        runs
    }

    #[test]
    fn equal_datagrams_are_one_run_and_a_shorter_one_ends_it() {
        assert_eq!(runs(&[], 64), Vec::<usize>::new());
        assert_eq!(runs(&[9, 9, 9], 64), [3]);
        assert_eq!(runs(&[9, 9, 4, 9, 9], 64), [3, 2]);
        assert_eq!(runs(&[9, 9, 4, 4], 64), [3, 1]);
        assert_eq!(runs(&[4, 9, 9], 64), [1, 2]);
    }

    #[test]
    fn an_empty_datagram_is_in_no_run() {
        assert_eq!(runs(&[0, 0, 9, 0, 9], 64), [1, 1, 1, 1, 1]);
    }

    #[test]
    fn another_destination_or_source_ends_a_run() {
        let [one, other_source, other_destination] =
            [(1, 2), (3, 2), (1, 4)].map(|(source, destination)| transmit(source, destination, 9));
        assert_eq!(
            split(&[one.clone(), one.clone(), other_destination, one.clone()], 64),
            [2, 1, 1]
        );
        assert_eq!(split(&[one.clone(), one.clone(), other_source, one], 64), [2, 1, 1]);
    }

    #[test]
    fn one_datagram_past_what_the_system_takes_begins_the_next_run() {
        assert_eq!(runs(&[9; RUN_SEGMENTS_MAX], RUN_SEGMENTS_MAX), [64]);
        assert_eq!(runs(&[9; RUN_SEGMENTS_MAX + 1], RUN_SEGMENTS_MAX), [64, 1]);
        assert_eq!(runs(&[9; 3], 1), [1, 1, 1]);
    }

    #[test]
    fn one_byte_past_the_limit_begins_the_next_run() {
        let half = RUN_LEN_MAX / 2;
        assert_eq!(runs(&[half, half], 64), [2]);
        assert_eq!(runs(&[half, half, RUN_LEN_MAX - 2 * half], 64), [3]);
        assert_eq!(runs(&[half, half, RUN_LEN_MAX - 2 * half + 1], 64), [2, 1]);
    }
}
