//! Seams, sample by sample.

use super::*;

const RATE: u32 = 16_000;
const BLOCK: usize = 320;

/// So many blocks of a tone, all of it.
fn blocks(count: usize) -> Vec<i16> {
    (0..(count * BLOCK) as u64).map(tone(RATE)).collect()
}

fn largest_step(samples: &[i16]) -> u16 {
    samples.windows(2).map(|pair| pair[0].abs_diff(pair[1])).max().unwrap_or_default()
}

/// A splice that has taken ten blocks, and what it gave.
fn begun(tone: &[i16]) -> (Splice, Vec<i16>) {
    let (mut splice, mut out) = (Splice::new(RATE, 1), Vec::new());
    for block in tone[..10 * BLOCK].chunks(BLOCK) {
        splice.join(block, &mut out);
    }
    assert_eq!(out, tone[..10 * BLOCK]);
    (splice, out)
}

#[test]
fn a_bridge_goes_on_with_the_wave_and_the_late_block_after_it() {
    let tone = blocks(11);
    let (mut splice, mut out) = begun(&tone);
    splice.bridge(BLOCK, false, &mut out);
    // The same tone goes on: no sample is far from what was said.
    let far = out.iter().zip(&tone).map(|(heard, said)| heard.abs_diff(*said)).max();
    assert!(far < Some(1_000), "{far:?}");
    splice.join(&tone[10 * BLOCK..], &mut out);
    assert_eq!(out.len(), 12 * BLOCK);
    assert!(largest_step(&out) <= step_of_tone(RATE) * 5 / 4, "{}", largest_step(&out));
    assert_eq!(out[12 * BLOCK - 200..], tone[11 * BLOCK - 200..]);
}

#[test]
fn the_second_bridge_ends_in_silence_and_sound_fades_in_after_it() {
    let tone = blocks(11);
    let (mut splice, mut out) = begun(&tone);
    splice.bridge(BLOCK, false, &mut out);
    splice.bridge(BLOCK, true, &mut out);
    assert_eq!(out.last(), Some(&0));
    out.extend([0; BLOCK]);
    splice.join(&tone[10 * BLOCK..], &mut out);
    assert!(largest_step(&out) <= step_of_tone(RATE) * 5 / 4, "{}", largest_step(&out));
}

#[test]
fn blocks_that_are_left_out_leave_no_click() {
    let tone = blocks(40);
    for left_out in 1..20 {
        let (mut splice, mut out) = begun(&tone);
        let (skipped, taken) = tone[10 * BLOCK..].split_at(left_out * BLOCK);
        skipped.chunks(BLOCK).for_each(|block| splice.skip(block));
        splice.join(&taken[..BLOCK], &mut out);
        assert_eq!(out.len(), 11 * BLOCK);
        // Two tones of opposite phase: both of them step while one becomes the other.
        assert!(largest_step(&out) <= step_of_tone(RATE) * 3 / 2, "{}", largest_step(&out));
        assert_eq!(out[out.len() - 200..], taken[BLOCK - 200..BLOCK]);
    }
}

#[test]
fn sound_of_any_form_is_taken() {
    for (rate, channels) in [(0, 0), (8_000, 1), (11_025, 2), (44_100, 2), (48_000, 3)] {
        let (mut splice, mut out) = (Splice::new(rate, channels), Vec::new());
        splice.bridge(7, false, &mut out);
        for len in [0, 1, 5, 48_000] {
            splice.skip(&vec![1; len]);
            splice.join(&vec![1; len], &mut out);
            splice.bridge(1_000, false, &mut out);
        }
        assert!(!out.is_empty());
    }
}
