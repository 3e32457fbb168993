//! SCTP packets that are too long for a datagram: cut between chunks, or shortened.
//!
//! The engine's SCTP makes two kinds of them. It bundles small messages, and counts neither the
//! header of the chunk that it adds nor the padding of any (`bundle_data_chunks_into_packets`): a
//! hundred messages of a byte that wait at once make packets up to a fifth above its limit.
//! And it reports every gap in what came in, however many there are (`create_selective_ack_chunk`).
//!
//! What leaves here is whole packets with a checksum of their own (RFC 9260 section 3). A packet
//! that fits never comes here.
//!
//! | chunk | what becomes of it |
//! | --- | --- |
//! | DATA | packets are cut between them; they keep their order, and none is ever cut itself |
//! | SACK | the highest gaps are left out, as section 3.3.4 asks for |
//! | any other | is left out: a RE-CONFIG of more channels than a datagram names, or what repeats the peer's own words |
//!
//! That is allowed, and SCTP does not notice. Which chunks travel together is free (section 6.10).
//! Chunks, not packets, are acknowledged, counted as in flight and sent again, so a part that is
//! lost costs what a packet costs that is lost. A gap that was not reported counts as not yet
//! received, and is reported once those below it are closed.

use std::ops::Range;

/// Source and destination port, verification tag, checksum (RFC 9260 section 3.1).
const HEADER_LEN: usize = 12;

/// Where the checksum stands.
const CHECKSUM: Range<usize> = 8..12;

/// The type of an acknowledgement (RFC 9260 section 3.3.4).
const SACK: u8 = 3;

/// An acknowledgement without gaps, behind the header of its packet.
const SACK_LEN: usize = 16;

/// In a packet with an acknowledgement: its length, how many gaps it reports, how many TSNs that
/// came twice. Four bytes for each of both follow at the end.
const SACK_FIELDS: [Range<usize>; 3] = [14..16, 24..26, 26..28];

/// The packets that carry the chunks of `packet`, each at most `limit` bytes long, without those
/// that fit into none. Nothing when `packet` is not made of chunks.
pub(super) fn cut(packet: &[u8], limit: usize) -> Vec<Vec<u8>> {
    let Some((header, mut chunks)) = packet.split_at_checked(HEADER_LEN) else { return Vec::new() };
    if let Some(short) = shortened(packet, limit) {
        return vec![short];
    }
    let mut packets: Vec<Vec<u8>> = Vec::new();
    while !chunks.is_empty() {
        let Some((chunk, rest)) = first(chunks) else { return Vec::new() };
        chunks = rest;
        match packets.last_mut().filter(|last| last.len() + chunk.len() <= limit) {
            Some(last) => last.extend_from_slice(chunk),
            None => packets.push([header, chunk].concat()),
        }
    }
    let all = packets.len();
    packets.retain(|packet| packet.len() <= limit);
    if packets.len() < all {
        tracing::warn!(limit, "a chunk fits no datagram: left out");
    }
    packets.iter_mut().for_each(|packet| sign(packet));
    packets
}

/// The acknowledgement in `packet` with as many gaps, from the lowest on, and then as many TSNs
/// that came twice as there is room for. `None` when it is no acknowledgement.
///
/// Its length is not read: the engine writes it with 16 bits, and it may need more.
fn shortened(packet: &[u8], limit: usize) -> Option<Vec<u8>> {
    if packet.get(HEADER_LEN) != Some(&SACK) || packet.len() < HEADER_LEN + SACK_LEN {
        return None;
    }
    let number = |at: &Range<usize>| {
        let bytes = packet.get(at.clone()).and_then(|bytes| bytes.try_into().ok());
        usize::from(u16::from_be_bytes(bytes.unwrap_or_default()))
    };
    let room = limit.saturating_sub(HEADER_LEN + SACK_LEN) / 4;
    let [_, gaps, doubles] = SACK_FIELDS.each_ref().map(number);
    let gaps = gaps.min(room);
    let doubles = doubles.min(room - gaps);
    let len = SACK_LEN + 4 * (gaps + doubles);
    let mut short = packet.get(..HEADER_LEN + len)?.to_vec();
    for (at, value) in SACK_FIELDS.into_iter().zip([len, gaps, doubles]) {
        short[at].copy_from_slice(&u16::try_from(value).ok()?.to_be_bytes());
    }
    sign(&mut short);
    Some(short)
}

/// The first chunk with its padding, and the rest (RFC 9260 section 3.2).
fn first(chunks: &[u8]) -> Option<(&[u8], &[u8])> {
    let &[_kind, _flags, high, low, ..] = chunks else { return None };
    let len = usize::from(u16::from_be_bytes([high, low]));
    if len < 4 {
        return None;
    }
    chunks.split_at_checked(len.next_multiple_of(4).min(chunks.len()).max(len))
}

/// Writes the checksum: CRC32c over the packet with zeros in its place, little endian (RFC 9260
/// appendix A). Bit by bit, because packets are too long rarely.
fn sign(packet: &mut [u8]) {
    packet[CHECKSUM].fill(0);
    let sum = packet.iter().fold(u32::MAX, |sum, byte| {
        (0..8).fold(sum ^ u32::from(*byte), |sum, _| {
            let carry = if sum & 1 == 1 { 0x82f6_3b78 } else { 0 };
            (sum >> 1) ^ carry
        })
    });
    packet[CHECKSUM].copy_from_slice(&(!sum).to_le_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A DATA chunk (type 0) with so many bytes of data, which are all `fill`.
    fn chunk(len: u16, fill: u8) -> Vec<u8> {
        let total = 16 + len;
        let mut chunk = vec![0, 3];
        chunk.extend(total.to_be_bytes());
        chunk.extend([0; 12]);
        chunk.resize(usize::from(total), fill);
        chunk.resize(usize::from(total).next_multiple_of(4), 0);
        chunk
    }

    fn packet(chunks: &[Vec<u8>]) -> Vec<u8> {
        let mut packet = vec![0x13, 0x88, 0x13, 0x88, 1, 2, 3, 4, 0, 0, 0, 0];
        packet.extend(chunks.concat());
        sign(&mut packet);
        packet
    }

    #[test]
    fn the_checksum_is_crc32c() {
        // RFC 3720 section B.4: 32 bytes of zeros have AA 36 91 8A, as they go over the wire.
        let mut zeros = [0; 32];
        sign(&mut zeros);
        assert_eq!(zeros[CHECKSUM], [0xaa, 0x36, 0x91, 0x8a]);
        let mut other = [0; 32];
        other[31] = 1;
        sign(&mut other);
        assert_ne!(other[CHECKSUM], zeros[CHECKSUM]);
    }

    #[test]
    fn a_packet_is_cut_before_the_chunk_that_does_not_fit() {
        let chunks = [chunk(1, b'a'), chunk(5, b'b'), chunk(4, b'c')];
        let whole = packet(&chunks);
        assert_eq!(cut(&whole, whole.len()), std::slice::from_ref(&whole));
        let expected = [packet(&chunks[..2]), packet(&chunks[2..])];
        assert_eq!(cut(&whole, whole.len() - 1), expected);
    }

    /// An acknowledgement with this length, and words of four bytes that count from 1.
    fn sack(len: usize, gaps: u16, doubles: u16) -> Vec<u8> {
        let words = 1..=u32::from(gaps) + u32::from(doubles);
        let mut sack = vec![SACK, 0];
        sack.extend((len as u16).to_be_bytes());
        sack.extend([0, 0, 0, 9, 0, 1, 0, 0]);
        sack.extend(gaps.to_be_bytes());
        sack.extend(doubles.to_be_bytes());
        sack.extend(words.flat_map(u32::to_be_bytes));
        packet(&[sack])
    }

    #[test]
    fn a_short_acknowledgement_is_shortened_as_well() {
        let limit = HEADER_LEN + SACK_LEN + 4 * 5;
        let short = [sack(SACK_LEN + 4 * 5, 5, 0)];
        assert_eq!(cut(&sack(SACK_LEN + 4 * 10, 10, 0), limit), short);
        let without = sack(SACK_LEN, 0, 0);
        assert_eq!(cut(&without, limit), std::slice::from_ref(&without));
    }

    #[test]
    fn an_acknowledgement_leaves_out_the_highest_gaps() {
        let (header, gaps, both) = (HEADER_LEN + SACK_LEN, 100, 150);
        let whole = sack(SACK_LEN + 4 * both, 100, 50);
        for (limit, kept) in [(header + 4 * both, (100, 50)), (header + 4 * both - 1, (100, 49))] {
            let len = SACK_LEN + 4 * usize::from(kept.0 + kept.1);
            assert_eq!(cut(&whole, limit), [sack(len, kept.0, kept.1)], "{limit}");
        }
        let limit = header + 4 * gaps;
        assert_eq!(cut(&whole, limit), [sack(SACK_LEN + 4 * gaps, 100, 0)]);
        assert_eq!(cut(&whole, limit - 1), [sack(SACK_LEN + 4 * (gaps - 1), 99, 0)]);
        assert_eq!(cut(&whole, 0), [sack(SACK_LEN, 0, 0)]);
    }

    #[test]
    fn an_acknowledgement_whose_length_does_not_fit_its_field_is_shortened_all_the_same() {
        let gaps = 30_000;
        let whole = sack(SACK_LEN + 4 * usize::from(gaps), gaps, 0);
        assert_eq!(whole.len(), HEADER_LEN + SACK_LEN + 120_000);
        let short = cut(&whole, 1150);
        assert_eq!(short, [sack(SACK_LEN + 4 * 280, 280, 0)]);
        assert_eq!(short[0].len(), 1148);
    }

    #[test]
    fn no_packet_is_longer_than_the_limit_and_no_chunk_is_missing() {
        let chunks: Vec<_> = (0..200).map(|number| chunk(number % 7 + 1, number as u8)).collect();
        for limit in [40, 100, 576, 1150] {
            let packets = cut(&packet(&chunks), limit);
            assert!(packets.iter().all(|packet| packet.len() <= limit), "{limit}");
            let carried: Vec<u8> =
                packets.iter().flat_map(|packet| packet[HEADER_LEN..].iter().copied()).collect();
            assert_eq!(carried, chunks.concat(), "{limit}");
        }
    }

    #[test]
    fn a_chunk_that_fits_into_no_packet_is_left_out_alone() {
        // An answer to a HEARTBEAT (type 5) repeats what the peer wrote.
        let mut echo = chunk(2000, b'e');
        echo[0] = 5;
        let chunks = [chunk(1, b'a'), echo, chunk(1, b'b')];
        assert_eq!(cut(&packet(&chunks), 1150), [packet(&chunks[..1]), packet(&chunks[2..])]);
        assert_eq!(cut(&packet(&chunks[1..2]), 1150), Vec::<Vec<u8>>::new());
    }

    #[test]
    fn what_is_not_made_of_chunks_is_not_sent() {
        assert_eq!(cut(&[7; 11], 4), Vec::<Vec<u8>>::new());
        assert_eq!(cut(&packet(&[vec![0, 3, 0, 3], chunk(1, b'a')]), 16), Vec::<Vec<u8>>::new());
        assert_eq!(cut(&packet(&[vec![0, 3, 9, 9]]), 14), Vec::<Vec<u8>>::new());
        let lies = packet(&[vec![SACK, 0, 0, 16, 0, 0, 0, 9, 0, 1, 0, 0, 0, 9, 0, 0]]);
        assert_eq!(cut(&lies, 100), [lies], "it reports nine gaps and has none");
    }
}
