//! Pages (RFC 3533 section 6): found in bytes, checked, made.

use bytes::{BufMut, Bytes, BytesMut};

/// The pattern that every page begins with.
const CAPTURE: &[u8; 4] = b"OggS";

/// A page's header without its table of segments.
const HEADER: usize = 27;

/// What waits to be parsed. 128 KiB: the longest page has 65307 bytes (255 segments of 255), and as
/// much again lets a file be read in pieces of a useful size.
pub(super) const BUFFER_MAX: usize = 128 * 1024;

/// How many bytes of false pages are checked for each byte that came, and how many besides. A page
/// of 28 bytes may claim 65307, and each check costs what the page claims: without a bound a
/// hostile file costs 2000 times its length. 16: a damaged page is searched as often as it could
/// hold pages of speech.
const CHECKED_RATIO: u64 = 16;
const CHECKED_FREE: u64 = 1 << 20;

/// The packet that a page begins with began on the page before.
pub(super) const CONTINUED: u8 = 1;
/// The first page of a stream.
pub(super) const FIRST: u8 = 2;
/// The last page of a stream.
pub(super) const LAST: u8 = 4;

const fn crc_table() -> [u32; 256] {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = (byte as u32) << 24;
        let mut bit = 0;
        while bit < 8 {
            crc = (crc << 1) ^ if crc >> 31 == 1 { 0x04c1_1db7 } else { 0 };
            bit += 1;
        }
        table[byte] = crc;
        byte += 1;
    }
    table
}

static CRC: [u32; 256] = crc_table();

/// The checksum of a page; the field of the checksum itself counts as zeros.
fn checksum(page: &[u8]) -> u32 {
    page.iter().enumerate().fold(0, |crc: u32, (at, &byte)| {
        let byte = if (22..26).contains(&at) { 0 } else { byte };
        (crc << 8) ^ CRC[usize::from((crc >> 24) as u8 ^ byte)]
    })
}

/// One page whose checksum is right.
#[derive(Clone, Debug)]
pub(super) struct Page {
    pub(super) flags: u8,
    /// Samples at 48 kHz at the end of the last packet that ends on the page; `None` when no packet
    /// does.
    pub(super) granule: Option<u64>,
    pub(super) serial: u32,
    pub(super) sequence: u32,
    /// The lengths of the segments.
    pub(super) lacing: Bytes,
    pub(super) body: Bytes,
}

impl Page {
    fn parse(page: &[u8]) -> Page {
        let field = |at: usize| {
            u32::from_le_bytes(page[at..at + 4].try_into().expect("four bytes of the header"))
        };
        let granule = u64::from(field(6)) | u64::from(field(10)) << 32;
        let whole = Bytes::copy_from_slice(page);
        let segments = usize::from(page[26]);
        Page {
            flags: page[5],
            // The field is signed, and -1 is the one negative number that means anything.
            granule: (granule < 1 << 63).then_some(granule),
            serial: field(14),
            sequence: field(18),
            lacing: whole.slice(HEADER..HEADER + segments),
            body: whole.slice(HEADER + segments..),
        }
    }
}

/// Writes a page: `lacing` holds at most 255 lengths that add up to the body's.
pub(super) fn write_page(
    out: &mut BytesMut,
    flags: u8,
    granule: u64,
    [serial, sequence]: [u32; 2],
    lacing: &[u8],
    body: &[u8],
) {
    let start = out.len();
    out.put_slice(CAPTURE);
    out.put_slice(&[0, flags]);
    out.put_u64_le(granule);
    out.put_u32_le(serial);
    out.put_u32_le(sequence);
    out.put_u32_le(0);
    out.put_u8(u8::try_from(lacing.len()).expect("the writer ends a page at 255 segments"));
    out.put_slice(lacing);
    out.put_slice(body);
    let crc = checksum(&out[start..]);
    out[start + 22..start + 26].copy_from_slice(&crc.to_le_bytes());
}

/// Finds pages in bytes.
#[derive(Debug, Default)]
pub(super) struct Pages {
    buffer: Vec<u8>,
    /// How much of the buffer is used up.
    used: usize,
    is_ended: bool,
    /// Bytes that came, and bytes of false pages that were checked.
    taken: u64,
    checked: u64,
    pub(super) skipped_bytes: u64,
    pub(super) damaged_pages: u64,
}

impl Pages {
    /// Takes as much as there is room for; gives how much.
    pub(super) fn push(&mut self, bytes: &[u8]) -> usize {
        if self.used > 0 {
            self.buffer.drain(..self.used);
            self.used = 0;
        }
        let len = bytes.len().min(BUFFER_MAX - self.buffer.len());
        self.buffer.extend_from_slice(&bytes[..len]);
        self.taken += len as u64;
        len
    }

    /// Nothing more comes: a page that is not whole is none.
    pub(super) fn finish(&mut self) {
        self.is_ended = true;
    }

    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        self.buffer.capacity()
    }

    fn skip(&mut self, len: usize) {
        self.used += len;
        self.skipped_bytes += len as u64;
    }

    /// The next whole page. `None` until more bytes came.
    pub(super) fn next(&mut self) -> Option<Page> {
        loop {
            self.find_capture()?;
            let data = &self.buffer[self.used..];
            let Some(len) = page_len(data).filter(|&len| len <= data.len()) else {
                if !self.is_ended {
                    return None;
                }
                self.skip(1);
                continue;
            };
            let page = &data[..len];
            let is_version = page[4] == 0;
            if is_version && checksum(page).to_le_bytes() == page[22..26] {
                let page = Page::parse(page);
                self.used += len;
                return Some(page);
            }
            self.reject(if is_version { len } else { 0 });
        }
    }

    /// Goes past the start of what is no page, or past all that it claimed to be when such claims
    /// have cost too much already.
    fn reject(&mut self, checked: usize) {
        self.damaged_pages += u64::from(checked > 0);
        self.checked += checked as u64;
        let is_costly = self.checked > CHECKED_FREE + CHECKED_RATIO * self.taken;
        self.skip(if is_costly { checked.max(1) } else { CAPTURE.len() });
    }

    /// Skips what stands before the next capture pattern, whole or begun.
    fn find_capture(&mut self) -> Option<()> {
        let data = &self.buffer[self.used..];
        if let Some(at) = data.windows(CAPTURE.len()).position(|window| window == CAPTURE) {
            self.skip(at);
            return Some(());
        }
        let kept = if self.is_ended { 0 } else { data.len().min(CAPTURE.len() - 1) };
        self.skip(data.len() - kept);
        None
    }
}

/// The length that a page's header claims; `None` while the header is not whole.
fn page_len(data: &[u8]) -> Option<usize> {
    let segments = usize::from(*data.get(HEADER - 1)?);
    let lacing = data.get(HEADER..HEADER + segments)?;
    Some(HEADER + segments + lacing.iter().map(|&len| usize::from(len)).sum::<usize>())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(body: &[u8]) -> BytesMut {
        let mut out = BytesMut::new();
        write_page(&mut out, FIRST, 7, [1, 0], &[body.len() as u8], body);
        out
    }

    #[test]
    fn the_checksum_is_that_of_the_catalogue() {
        // CRC-32/CKSUM of "123456789" is 0x765e7680: Ogg's polynomial, inverted at the end.
        let mut page = [0; 31];
        page[22..].copy_from_slice(b"123456789");
        let crc = b"123456789"
            .iter()
            .fold(0u32, |crc, &byte| (crc << 8) ^ CRC[usize::from((crc >> 24) as u8 ^ byte)]);
        assert_eq!(!crc, 0x765e_7680);
        // The checksum's own field counts as zeros.
        page[22..26].fill(0);
        let without = checksum(&page);
        page[22..26].fill(9);
        assert_eq!(checksum(&page), without);
    }

    #[test]
    fn a_page_is_found_between_other_bytes_and_a_false_one_is_searched() {
        let mut pages = Pages::default();
        let good = page(b"sound");
        let mut false_page = page(&good);
        false_page[22] ^= 1;
        let bytes = [&b"noise Og"[..], &false_page, b"OggS more noise"].concat();
        assert_eq!(pages.push(&bytes), bytes.len());
        let found = pages.next().unwrap();
        assert_eq!((found.flags, found.granule, &found.body[..]), (FIRST, Some(7), &b"sound"[..]));
        assert!(pages.next().is_none());
        pages.finish();
        assert!(pages.next().is_none());
        assert_eq!(pages.damaged_pages, 1);
        assert_eq!(pages.skipped_bytes as usize, bytes.len() - good.len());
    }

    #[test]
    fn no_more_is_held_than_the_buffer_has_room_for() {
        let mut pages = Pages::default();
        let mut claims = b"OggS".to_vec();
        claims.resize(26, 0);
        claims.extend_from_slice(&[255; 256]);
        claims.resize(BUFFER_MAX + 1, 0);
        assert_eq!(pages.push(&claims), BUFFER_MAX);
        assert_eq!(pages.push(&claims), 0, "there is no room until pages were asked for");
        assert!(pages.next().is_none());
        assert_eq!(pages.push(&claims), BUFFER_MAX - 3, "all but a pattern's start was skipped");
        assert!(pages.held() <= 2 * BUFFER_MAX);
    }

    #[test]
    fn false_pages_are_searched_until_that_costs_too_much_and_then_skipped_whole() {
        // Headers that claim 65 KB each stand side by side.
        let mut header = b"OggS".to_vec();
        header.resize(26, 0);
        header.push(255);
        let mut pages = Pages::default();
        let file: Vec<u8> = header.iter().copied().cycle().take(1 << 20).collect();
        let mut rest = &file[..];
        while !rest.is_empty() {
            rest = &rest[pages.push(rest)..];
            assert!(pages.next().is_none());
        }
        let bound = CHECKED_FREE + CHECKED_RATIO * file.len() as u64 + 65_307;
        let searched = file.len() as u64 / 27;
        assert!(pages.damaged_pages < searched, "{}", pages.damaged_pages);
        assert!(pages.checked <= bound + file.len() as u64, "{} > {bound}", pages.checked);
        assert!(pages.checked > CHECKED_FREE, "the bound was reached");
    }
}
