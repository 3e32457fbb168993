//! What packets of Opus are made of (RFC 6716), as far as both coders of it need it.

/// The longest coded frame of at most 20 ms, in bytes (RFC 6716 section 3.4).
const FRAME_MAX: usize = 1275;

/// What surrounds up to three frames of different sizes: a TOC byte, their number, and two bytes
/// of length for each but the last (RFC 6716 section 3.2.5).
const FRAMING_MAX: usize = 6;

/// Concealment comes in steps of 2.5 ms, the shortest frame (RFC 6716 section 2.1.4).
pub(super) const CONCEAL_STEP: usize = 120;

/// A frame of 20 ms that says "silence" in two bytes: the range coder's first symbol in CELT
/// (RFC 6716 section 4.3, `silence`) with all bits set.
const SILENT_FRAME: [u8; 2] = [0xFF, 0xFE];

/// CELT, full band, 10 ms and 20 ms: configurations 30 and 31 of RFC 6716 section 3.1.
const TOC_10_MS: u8 = 30 << 3;
const TOC_20_MS: u8 = 31 << 3;
const TOC_STEREO: u8 = 1 << 2;

/// The longest frame of SILK at 48 kHz, in samples; a longer one of Opus holds several (RFC 6716
/// section 4.2.2).
const SILK_FRAME: usize = 960;

/// As much as a packet of so many chunks of 10 ms can hold: an encoder takes the length of its
/// buffer for its budget, and it is zeroed for each packet, so it is not that of the longest.
pub(super) fn bytes_max(chunks: usize) -> usize {
    chunks.div_ceil(2) * FRAME_MAX + FRAMING_MAX
}

/// Writes a packet of silence of so many chunks of 10 ms: 1, or an even number. What decodes it is
/// silent afterwards, whatever it was before.
pub(super) fn write_silence(chunks: usize, channels: u8, packet: &mut Vec<u8>) {
    write_pause(chunks, channels, packet);
    for _ in 0..chunks.div_ceil(2) {
        packet.extend_from_slice(&SILENT_FRAME);
    }
}

/// Writes Opus' own packet of a pause: frames without a byte (RFC 6716 section 3.1), two bytes at
/// most. By that libwebrtc knows a pause (`DetermineAudioType` in its `opus_interface.cc`); what
/// follows any longer packet and is not sent counts as lost there. To a decoder it is a lost
/// packet, in place of which it goes on with what it has: after SILK that is noise as loud as the
/// sound was, after [`write_silence`] it is silence.
pub(super) fn write_pause(chunks: usize, channels: u8, packet: &mut Vec<u8>) {
    let stereo = if channels == 2 { TOC_STEREO } else { 0 };
    packet.clear();
    match chunks {
        1 => packet.push(TOC_10_MS | stereo),
        2 => packet.push(TOC_20_MS | stereo),
        // Code 3 (RFC 6716 section 3.2.5): several frames of one size, and their number.
        chunks => packet.extend_from_slice(&[TOC_20_MS | stereo | 3, chunks as u8 / 2]),
    }
}

/// Whether a packet has no layer but CELT's: configurations 16 to 31 (RFC 6716 section 3.1).
pub(super) fn is_celt(packet: &[u8]) -> bool {
    packet.first().is_some_and(|toc| toc & 0x80 != 0)
}

/// Whether the first frame holds a copy of what came before (LBRR, RFC 6716 section 4.2.5); not to
/// be asked of one of CELT alone. The rules are those of libopus (`opus_packet_has_lbrr`): before
/// the copy stand the flags, one bit for the voice activity of each SILK frame and one for the
/// copy, for each channel. `len` is the frame's duration at 48 kHz.
pub(super) fn has_copy(first: &[u8], len: usize, is_stereo: bool) -> bool {
    let Some(flags) = first.first() else { return false };
    let silk_frames = len.div_ceil(SILK_FRAME);
    let bit = |at: usize| flags & (0x80 >> at) != 0;
    bit(silk_frames) || is_stereo && bit(2 * silk_frames + 1)
}
