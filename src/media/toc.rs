//! What an Opus packet says of itself before it is decoded (RFC 6716 section 3).

/// The longest packet, in samples per channel at 48 kHz: 120 ms (RFC 6716 section 3.2.5).
pub(super) const PACKET_SAMPLES_MAX: u32 = 5_760;

/// The samples per channel at 48 kHz of each frame of a packet that begins with `toc`.
pub(super) fn frame_samples(toc: u8) -> u32 {
    let config = toc >> 3;
    match config {
        // SILK: 10, 20, 40, 60 ms. Hybrid: 10, 20 ms. CELT: 2.5, 5, 10, 20 ms.
        0..12 => [480, 960, 1_920, 2_880][usize::from(config % 4)],
        12..16 => [480, 960][usize::from(config % 2)],
        _ => 120 << (config % 4),
    }
}

/// How many samples per channel at 48 kHz a packet holds; `None` when its length cannot be right.
/// What the frames hold is not looked at.
pub(super) fn packet_samples(packet: &[u8]) -> Option<u32> {
    let toc = *packet.first()?;
    let frames = match toc & 3 {
        0 => 1,
        1 if packet.len() % 2 == 1 => 2,
        2 if packet.len() >= 2 => 2,
        3 => u32::from(*packet.get(1)? & 63),
        _ => return None,
    };
    let samples = frames * frame_samples(toc);
    (1..=PACKET_SAMPLES_MAX).contains(&samples).then_some(samples)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_of_the_rfc_is_followed() {
        let ms = |config: u8| f64::from(frame_samples(config << 3)) / 48.0;
        let silk = [10.0, 20.0, 40.0, 60.0];
        let all: Vec<f64> = (0..32).map(ms).collect();
        assert_eq!(all[..12], [silk, silk, silk].concat());
        assert_eq!(all[12..16], [10.0, 20.0, 10.0, 20.0]);
        assert_eq!(all[16..], [2.5, 5.0, 10.0, 20.0].repeat(4));
    }

    #[test]
    fn a_packet_has_as_many_frames_as_its_code_says() {
        assert_eq!(packet_samples(&[31 << 3, 1, 2]), Some(960));
        assert_eq!(packet_samples(&[31 << 3 | 1, 1, 2]), Some(1_920));
        assert_eq!(packet_samples(&[31 << 3 | 1, 1]), None, "two frames of one size");
        assert_eq!(packet_samples(&[31 << 3 | 2, 1, 0]), Some(1_920));
        assert_eq!(packet_samples(&[31 << 3 | 3, 6]), Some(PACKET_SAMPLES_MAX));
        assert_eq!(packet_samples(&[31 << 3 | 3, 7]), None, "140 ms");
        assert_eq!(packet_samples(&[31 << 3 | 3, 0]), None, "no frame");
        assert_eq!(packet_samples(&[31 << 3 | 3]), None);
        assert_eq!(packet_samples(&[]), None);
    }
}
