//! What is written comes back, in any cut and after any damage.

use proptest::prelude::*;

use super::page::{BUFFER_MAX, CONTINUED, FIRST, LAST, write_page};
use super::*;

/// CELT, full band, mono, 20 ms.
const TOC: u8 = 31 << 3;

fn packet(len: usize, value: u8) -> Vec<u8> {
    let mut packet = vec![value; len.max(1)];
    packet[0] = TOC;
    packet
}

fn drain(writer: &mut OggOpusWriter) -> Vec<u8> {
    std::iter::from_fn(|| writer.poll_write()).flat_map(|write| write.bytes).collect()
}

fn written(head: OpusHead, packets: &[Vec<u8>], trim: u32) -> Vec<u8> {
    let mut writer = OggOpusWriter::new(head, &OpusTags::new("test"), 7);
    let mut file = Vec::new();
    for packet in packets {
        assert!(writer.write(packet));
        while let Some(write) = writer.poll_write() {
            write.apply(&mut file);
        }
    }
    writer.finish(trim);
    while let Some(write) = writer.poll_write() {
        write.apply(&mut file);
    }
    file
}

fn read_in(file: &[u8], pieces: impl IntoIterator<Item = usize>) -> (Vec<OggItem>, OggOpusReader) {
    let (mut reader, mut items, mut rest) = (OggOpusReader::new(), Vec::new(), file);
    let mut pieces = pieces.into_iter().chain(std::iter::repeat(4_096));
    while !rest.is_empty() {
        let piece = pieces.next().unwrap().clamp(1, rest.len());
        rest = &rest[reader.push(&rest[..piece])..];
        while let Some(item) = reader.read() {
            items.push(item);
        }
        assert!(reader.held() <= 2 * BUFFER_MAX + 2 * PACKET_BYTES_MAX + 64 * 1024);
    }
    reader.finish();
    items.extend(std::iter::from_fn(|| reader.read()));
    (items, reader)
}

fn read(file: &[u8]) -> (Vec<OggItem>, OggCounters) {
    let (items, reader) = read_in(file, []);
    (items, reader.counters())
}

fn packets(items: &[OggItem]) -> Vec<OggPacket> {
    let packet = |item: &OggItem| match item {
        OggItem::Packet(packet) => Some(packet.clone()),
        _ => None,
    };
    items.iter().filter_map(packet).collect()
}

/// Samples that are played.
fn played(items: &[OggItem]) -> u64 {
    let kept = |packet: OggPacket| packet.samples - packet.trim_start - packet.trim_end;
    packets(items).into_iter().map(|packet| u64::from(kept(packet))).sum()
}

/// Where each page of a file begins, and its end.
fn page_starts(file: &[u8]) -> Vec<usize> {
    let starts = file.windows(5).enumerate().filter(|(_, window)| *window == b"OggS\0");
    starts.map(|(at, _)| at).chain([file.len()]).collect()
}

#[test]
fn headers_come_first_and_the_start_and_the_end_are_trimmed() {
    let mut head = OpusHead::new(1);
    head.pre_skip = 1_000;
    let file = written(head, &[packet(3, 1), packet(3, 2), packet(3, 3)], 100);
    let (items, counters) = read(&file);
    assert_eq!(items[..2], [OggItem::Head(head), OggItem::Tags(OpusTags::new("test"))]);
    let trims: Vec<_> = packets(&items).iter().map(|it| (it.trim_start, it.trim_end)).collect();
    assert_eq!(trims, [(960, 0), (40, 0), (0, 100)]);
    assert_eq!(played(&items), 3 * 960 - 1_000 - 100);
    assert_eq!(counters, OggCounters { pages: 3, ..OggCounters::default() });
}

#[test]
fn a_page_comes_out_at_least_every_second_and_is_readable_by_itself() {
    let mut writer = OggOpusWriter::new(OpusHead::new(1), &OpusTags::new("test"), 7);
    let mut file = Vec::new();
    for number in 0..200u64 {
        assert!(writer.write(&packet(80, number as u8)));
        while let Some(write) = writer.poll_write() {
            write.apply(&mut file);
        }
        // Killed here, this is what is left.
        let (items, counters) = read(&file);
        assert!(played(&items) + 20 * 960 >= (number + 1) * 960, "packet {number}");
        assert_eq!((counters.damaged_pages, counters.skipped_bytes), (0, 0));
    }
}

#[test]
fn a_flush_brings_out_what_there_is_and_the_end_is_an_empty_page() {
    let mut writer = OggOpusWriter::new(OpusHead::new(1), &OpusTags::new("test"), 7);
    assert!(writer.write(&packet(10, 1)));
    let _headers = drain(&mut writer);
    writer.flush();
    assert!(!drain(&mut writer).is_empty());
    writer.flush();
    assert!(drain(&mut writer).is_empty(), "there is nothing more");
    writer.finish(500);
    writer.finish(500);
    let end = drain(&mut writer);
    assert_eq!((end.len(), end[5]), (27, LAST));
    assert!(!writer.write(&packet(10, 1)), "it is finished");
}

#[test]
fn a_chained_stream_begins_its_time_anew() {
    let mut writer = OggOpusWriter::new(OpusHead::new(1), &OpusTags::new("one"), 7);
    assert!(writer.write(&packet(3, 1)) && writer.write(&packet(3, 2)));
    writer.chain(OpusHead::new(2), &OpusTags::new("two"));
    assert!(writer.write(&packet(3, 3)));
    assert_eq!(writer.samples(), 960);
    writer.finish(0);
    let (items, counters) = read(&drain(&mut writer));
    assert_eq!(items[4..6], [OggItem::Head(OpusHead::new(2)), OggItem::Tags(OpusTags::new("two"))]);
    let positions: Vec<u64> = packets(&items).iter().map(|packet| packet.position).collect();
    assert_eq!(positions, [0, 960, 0]);
    assert_eq!((counters.foreign_pages, counters.lost_pages), (0, 0));
}

#[test]
fn what_is_no_opus_packet_or_too_long_is_not_written() {
    let mut writer = OggOpusWriter::new(OpusHead::new(1), &OpusTags::new("test"), 7);
    assert!(!writer.write(&[]));
    assert!(!writer.write(&[TOC | 3]));
    assert!(writer.write(&packet(PACKET_BYTES_MAX, 1)));
    assert!(!writer.write(&packet(PACKET_BYTES_MAX + 1, 1)));
    writer.finish(0);
    let (items, _) = read(&drain(&mut writer));
    assert_eq!(packets(&items)[0].data.len(), PACKET_BYTES_MAX);
}

#[test]
fn a_disk_that_hangs_has_packets_refused_and_no_memory_taken() {
    let mut writer = OggOpusWriter::new(OpusHead::new(1), &OpusTags::new("test"), 7);
    let taken = (0..100).filter(|_| writer.write(&packet(60_000, 1))).count();
    assert!((18..=19).contains(&taken), "{taken} packets of 60000 bytes in 1 MiB");
    assert!(drain(&mut writer).len() < 1_200_000);
    assert!(writer.write(&packet(60_000, 1)), "there is room again");
}

#[test]
fn a_damaged_page_leaves_a_gap_in_time() {
    let all: Vec<_> = (0..60).map(|number| packet(50, number)).collect();
    let file = written(OpusHead::new(1), &all, 0);
    let starts = page_starts(&file);
    let mut damaged = file.clone();
    damaged[starts[3] + 100] ^= 0x10;
    let (items, counters) = read(&damaged);
    let found = packets(&items);
    assert_eq!(found.len(), 40);
    assert_eq!((found[19].position, found[20].position), (19 * 960, 40 * 960));
    assert_eq!((counters.damaged_pages, counters.lost_pages), (1, 1));
    assert_eq!(counters.skipped_bytes as usize, starts[4] - starts[3]);
}

#[test]
fn a_damaged_page_of_tags_costs_the_tags_alone() {
    let mut file = written(OpusHead::new(1), &[packet(5, 1)], 0);
    let tags = page_starts(&file)[1];
    file[tags + 30] ^= 1;
    let (items, _) = read(&file);
    assert!(matches!(items[..], [OggItem::Head(_), OggItem::Packet(_)]));
}

#[test]
fn a_stream_that_was_cut_out_of_a_longer_one_begins_at_zero() {
    let mut file = bytes::BytesMut::new();
    let head = OpusHead::new(1).to_bytes();
    write_page(&mut file, FIRST, 0, [1, 0], &[head.len() as u8], &head);
    write_page(&mut file, 0, 0, [1, 1], &[16], b"OpusTags\0\0\0\0\0\0\0\0");
    write_page(&mut file, 0, 1_000_960, [1, 2], &[1], &[TOC]);
    write_page(&mut file, LAST, 1_001_500, [1, 3], &[1], &[TOC]);
    let (items, _) = read(&file);
    let found: Vec<_> = packets(&items).iter().map(|it| (it.position, it.trim_end)).collect();
    assert_eq!(found, [(0, 0), (960, 420)]);
}

#[test]
fn a_packet_over_several_pages_is_put_together_and_dropped_when_one_is_missing() {
    let long = packet(600, 9);
    let pages = |leave_out: Option<u32>| {
        let mut file = bytes::BytesMut::new();
        let head = OpusHead::new(1).to_bytes();
        write_page(&mut file, FIRST, 0, [1, 0], &[head.len() as u8], &head);
        let parts: [(u8, u64, &[u8], &[u8]); 3] = [
            (0, u64::MAX, &[255], &long[..255]),
            (CONTINUED, u64::MAX, &[255], &long[255..510]),
            (CONTINUED | LAST, 1_920, &[90, 1], &[&long[510..], &[TOC]].concat()),
        ];
        for ((flags, granule, lacing, body), number) in parts.into_iter().zip(1..) {
            if leave_out != Some(number) {
                write_page(&mut file, flags, granule, [1, number], lacing, body);
            }
        }
        let (items, counters) = read(&file);
        let data: Vec<_> = packets(&items).iter().map(|it| (it.data.len(), it.position)).collect();
        (data, counters.dropped_packets)
    };
    assert_eq!(pages(None), (vec![(600, 0), (1, 960)], 0));
    assert_eq!(pages(Some(1)), (vec![(1, 960)], 1));
    assert_eq!(pages(Some(2)).0.len(), 1);
    assert_eq!(pages(Some(3)), (vec![], 0));
}

#[test]
fn a_packet_that_never_ends_is_dropped_at_its_limit() {
    let mut file = bytes::BytesMut::new();
    let head = OpusHead::new(1).to_bytes();
    write_page(&mut file, FIRST, 0, [1, 0], &[head.len() as u8], &head);
    let body = packet(255 * 255, 1);
    write_page(&mut file, 0, u64::MAX, [1, 1], &[255; 255], &body);
    for number in 2..20 {
        write_page(&mut file, CONTINUED, u64::MAX, [1, number], &[255; 255], &body);
    }
    write_page(&mut file, CONTINUED, 960, [1, 20], &[3, 1], &[TOC; 4]);
    let (items, reader) = read_in(&file, []);
    assert_eq!(packets(&items).len(), 1);
    assert_eq!(reader.counters().dropped_packets, 1);
}

#[test]
fn a_stream_beside_ours_and_one_of_many_channels_are_skipped() {
    let ours = written(OpusHead::new(1), &[packet(5, 1), packet(5, 2)], 0);
    let starts = page_starts(&ours);
    let mut beside = bytes::BytesMut::new();
    write_page(&mut beside, FIRST, 0, [99, 0], &[7], b"\x80theora");
    let mut file = [&ours[..starts[1]], &beside, &ours[starts[1]..]].concat();
    let (items, counters) = read(&file);
    assert_eq!((packets(&items).len(), counters.foreign_pages), (2, 1));

    let mut head = OpusHead::new(2).to_bytes();
    head[9] = 6;
    let mut many = bytes::BytesMut::new();
    write_page(&mut many, FIRST, 0, [5, 0], &[head.len() as u8], &head);
    write_page(&mut many, LAST, 960, [5, 1], &[1], &[TOC]);
    file.extend_from_slice(&many);
    let (items, counters) = read(&file);
    assert_eq!((packets(&items).len(), counters.unsupported_streams), (2, 1));
    assert_eq!(counters.foreign_pages, 2, "its sound is of no stream that is read");
}

#[test]
fn time_that_goes_back_is_counted_and_own_time_goes_on() {
    let mut file = bytes::BytesMut::new();
    let head = OpusHead::new(1).to_bytes();
    write_page(&mut file, FIRST, 0, [1, 0], &[head.len() as u8], &head);
    for (number, granule) in [(1, 960), (2, 1_000), (3, u64::MAX - 5), (4, (1 << 63) - 1)] {
        write_page(&mut file, 0, granule, [1, number], &[1], &[TOC]);
    }
    write_page(&mut file, LAST, 0, [1, 5], &[1], &[TOC]);
    let (items, counters) = read(&file);
    let positions: Vec<_> = packets(&items).iter().map(|it| it.position).collect();
    assert_eq!(positions, [0, 960, 1_920, (1 << 63) - 1 - 960, (1 << 63) - 1]);
    assert_eq!(counters.clock_faults, 1);
    assert_eq!(packets(&items)[4].trim_end, 960, "an end before the start trims it all");
}

fn some_packets() -> impl Strategy<Value = Vec<Vec<u8>>> {
    prop::collection::vec(
        (1..900usize, any::<u8>()).prop_map(|(len, value)| packet(len, value)),
        1..80,
    )
}

proptest! {
    #![proptest_config(ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::with_cases(64)
    })]

    #[test]
    fn packets_come_back_to_the_byte_whatever_the_cut(
        all in some_packets(),
        pieces in prop::collection::vec(1..3_000usize, 0..50),
        trim in 0..960u32,
    ) {
        let file = written(OpusHead::new(1), &all, trim);
        let (items, reader) = read_in(&file, pieces);
        let found: Vec<Vec<u8>> = packets(&items).iter().map(|it| it.data.to_vec()).collect();
        prop_assert_eq!(&found, &all);
        prop_assert_eq!(played(&items), all.len() as u64 * 960 - u64::from(trim));
        prop_assert_eq!(reader.counters().skipped_bytes, 0);
    }

    #[test]
    fn damage_never_panics_and_what_is_whole_is_read_in_its_place(
        all in some_packets(),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..30),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut file = written(OpusHead::new(1), &all, 0);
        for (at, value) in damage {
            let at = at.index(file.len());
            file[at] = value;
        }
        file.truncate(cut.index(file.len()) + 1);
        let (items, _) = read_in(&file, []);
        for packet in packets(&items) {
            // A page whose header changed and whose checksum is right by chance is not to be
            // expected in these few cases.
            prop_assert_eq!(&packet.data[..], &all[(packet.position / 960) as usize][..]);
        }
    }

    #[test]
    fn any_bytes_are_read_without_a_panic(
        noise in prop::collection::vec(
            prop_oneof![Just(b"OggS\0".to_vec()), Just(b"OpusHead".to_vec()), prop::collection::vec(any::<u8>(), 1..40)],
            0..60,
        ),
    ) {
        let file = noise.concat();
        let (items, _) = read_in(&file, []);
        prop_assert!(items.is_empty());
    }
}
