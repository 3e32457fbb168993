//! The resampler beside the bare codec: what bringing 20 ms of sound to another rate costs, as a
//! part of what coding it costs. The session's own benches measure the whole way.
//!
//! `cargo bench --bench audio` prints the best of many rounds in microseconds for each 20 ms of one
//! channel, and the ratio to Opus in the same run.

#![expect(clippy::print_stdout, reason = "a benchmark prints what it measured")]

use std::hint::black_box;
use std::time::{Duration, Instant};

use opus_pure::{Application, MAX_PACKET_BYTES, OpusDecoder, OpusEncoder};

#[expect(dead_code, reason = "the benchmark needs the way that every packet goes, no more")]
#[path = "../src/audio/resample.rs"]
mod resample;

use resample::Resampler;

/// Rounds of a second each; the best one counts, since other work on the machine only adds.
const ROUNDS: usize = 40;

/// Packets in a second.
const PACKETS: usize = 50;

/// The least time for 20 ms, in microseconds.
#[expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]
fn measure(mut packet: impl FnMut(usize)) -> f64 {
    let mut best = Duration::MAX;
    for _ in 0..ROUNDS {
        let start = Instant::now();
        (0..PACKETS).for_each(&mut packet);
        best = best.min(start.elapsed());
    }
    best.as_secs_f64() * 1e6 / PACKETS as f64
}

/// A second of something like a voice: a gliding tone with overtones, swelling four times.
fn voice(rate: u32) -> Vec<i16> {
    let mut turn = 0.0f64;
    (0..rate)
        .map(|at| {
            let time = f64::from(at) / f64::from(rate);
            turn += (120.0 + 40.0 * (time * 3.0).sin()) / f64::from(rate) * std::f64::consts::TAU;
            let tone: f64 = (1..20).map(|n| (turn * f64::from(n)).sin() / f64::from(n)).sum();
            (tone * 6_000.0 * (time * 4.0 * std::f64::consts::PI).sin().abs()) as i16
        })
        .collect()
}

fn encoder(rate: u32) -> OpusEncoder {
    let mut encoder =
        OpusEncoder::new(rate as i32, 1, Application::Voip).expect("Opus codes at this rate");
    encoder.bitrate_bps = 32_000;
    encoder.complexity = 5;
    encoder
}

fn encode(rate: u32) -> f64 {
    let sound = voice(rate);
    let frames = rate as usize / PACKETS;
    let mut encoder = encoder(rate);
    let mut packet = vec![0; MAX_PACKET_BYTES];
    measure(|at| {
        let samples = &sound[at * frames..(at + 1) * frames];
        black_box(encoder.encode_s16(samples, frames, &mut packet).expect("20 ms are coded"));
    })
}

fn decode() -> f64 {
    let mut encoder = encoder(48_000);
    let packets: Vec<Vec<u8>> = voice(48_000)
        .chunks(960)
        .map(|samples| {
            let mut packet = vec![0; MAX_PACKET_BYTES];
            let len = encoder.encode_s16(samples, 960, &mut packet).expect("20 ms are coded");
            packet.truncate(len);
            packet
        })
        .collect();
    let mut decoder = OpusDecoder::new(48_000, 1).expect("Opus decodes at 48 kHz");
    let mut samples = vec![0; 960];
    measure(|at| {
        black_box(decoder.decode_s16(&packets[at], 960, &mut samples).expect("it is Opus"));
    })
}

fn convert(from: u32, to: u32) -> f64 {
    let sound = voice(from);
    let frames = from as usize / PACKETS;
    let mut resampler = Resampler::new(from, to, 1);
    let mut output = Vec::new();
    measure(|at| {
        output.clear();
        resampler.process(&sound[at * frames..(at + 1) * frames], &mut output);
        black_box(&output);
    })
}

fn main() {
    let (encoded, decoded) = (encode(24_000), decode());
    println!("opus encode, 24 kHz, 32 kb/s, complexity 5  {encoded:7.1} us");
    println!("opus decode to 48 kHz                       {decoded:7.1} us");
    for to in [8_000, 16_000, 24_000, 44_100] {
        let time = convert(48_000, to);
        let ratio = time / decoded;
        println!("48000 to {to:5}, after decoding              {time:7.1} us {ratio:6.3} of it");
    }
    for from in [8_000, 16_000, 22_050, 44_100, 48_000] {
        let time = convert(from, 24_000);
        let ratio = time / encoded;
        println!("{from:5} to 24000, before encoding             {time:7.1} us {ratio:6.3} of it");
    }
}
