// The measuring itself: a hole at the limit and one past it, a frequency that is off.

import assert from "node:assert/strict";
import { test } from "node:test";
import { dice } from "./lib/proxy.js";
import { analyse, bursts, dialled, smoothness, TONE_HZ, toneWav } from "./lib/tone.js";

const RATE = 48000;

function tone(seconds, hz, phase = 0) {
  const samples = new Float32Array(RATE * seconds);
  return samples.map((_, i) => 0.3 * Math.sin((2 * Math.PI * hz * i) / RATE + phase));
}

test("a clean tone has its frequency and no hole", () => {
  const found = analyse(tone(5, TONE_HZ), RATE);
  assert.ok(Math.abs(found.hz - TONE_HZ) < 0.5, `${found.hz} Hz`);
  assert.equal(found.longestMs, 0);
  assert.equal(found.seconds, 5);
});

test("holes are found and measured to 2 ms, never too short", () => {
  for (const ms of [5, 10, 20, 21, 40, 200]) {
    for (const phase of [0, 1, 2, 3]) {
      const samples = tone(5, TONE_HZ, phase);
      samples.fill(0, RATE, RATE + (RATE * ms) / 1000);
      const { holes, longestMs } = analyse(samples, RATE);
      assert.equal(holes.length, 1, `${ms} ms, phase ${phase}`);
      const error = longestMs - ms;
      assert.ok(error >= -0.5 && error <= 2, `${ms} ms were measured as ${longestMs} ms`);
      assert.ok(Math.abs(holes[0].atMs - 1000) < 2);
    }
  }
});

test("a tone that is 2 % off is seen to be", () => {
  const { hz } = analyse(tone(5, TONE_HZ * 1.02), RATE);
  assert.ok(Math.abs(hz / TONE_HZ - 1.02) < 0.002, `${hz} Hz`);
});

test("holes and jumps of the phase do not move the frequency", () => {
  const samples = tone(5, TONE_HZ);
  for (let second = 0; second < 5; second += 1) {
    samples.fill(0, second * RATE, second * RATE + 1000);
    samples.set(tone(1, TONE_HZ, 2).subarray(0, 2000), second * RATE + 20000);
  }
  const { hz } = analyse(samples, RATE);
  assert.ok(Math.abs(hz / TONE_HZ - 1) < 0.002, `${hz} Hz`);
});

test("silence has no frequency", () => {
  assert.equal(analyse(new Float32Array(RATE), RATE).hz, 0);
});

test("the microphone's file loops without a jump", () => {
  const wav = toneWav();
  const samples = new Int16Array(wav.buffer.slice(wav.byteOffset + 44, wav.byteOffset + wav.length));
  const twice = new Float32Array(samples.length * 2);
  twice.set(samples);
  twice.set(samples, samples.length);
  const found = analyse(twice.map((sample) => sample / 32768), RATE);
  assert.ok(Math.abs(found.hz - TONE_HZ) < 0.5);
  assert.equal(found.longestMs, 0);
  assert.ok(Math.abs(samples.at(-1)) < 700, "the last sample is one step before the first");
});

test("a clean tone is smooth, and one with a click is not", () => {
  const samples = tone(2, TONE_HZ);
  const found = analyse(samples, RATE);
  const clean = smoothness(samples, RATE, found);
  assert.ok(Math.abs(clean.step - 1) < 0.01 && clean.turn < 0.001, JSON.stringify(clean));
  // A hundredth of full scale, where the tone is at its steepest.
  samples[RATE + 1] += 0.01;
  const { step } = smoothness(samples, RATE, found);
  assert.ok(step > 1.25, `${step}`);
});

test("samples that are missing turn the phase, whole periods do not", () => {
  for (const [missing, turned] of [[11, 0.1], [54, 0.495], [109, 0.001]]) {
    const samples = tone(2, TONE_HZ);
    samples.copyWithin(RATE, RATE + missing);
    const { turn } = smoothness(samples.subarray(0, -missing), RATE, { level: 0.3, hz: TONE_HZ });
    assert.ok(turn > turned * 0.45 && turn <= turned * 1.05, `${missing}: ${turn}`);
  }
});

test("words between silence are found, with their lengths and what lies between them", () => {
  const samples = new Float32Array(RATE * 5);
  for (const at of [1, 3]) samples.set(tone(1, TONE_HZ), at * RATE);
  const clean = bursts(samples, RATE);
  assert.deepEqual(clean.tones.map(({ atMs }) => Math.round(atMs / 1000)), [1, 3]);
  for (const { ms, hz, step, turn } of clean.tones) {
    assert.ok(Math.abs(ms - 1000) < 2, `${ms} ms`);
    assert.ok(Math.abs(hz - TONE_HZ) < 0.5 && step < 1.02 && turn < 0.001);
  }
  assert.equal(clean.rest, 0);
  samples[RATE * 2.5] = 0.0015;
  assert.ok(Math.abs(bursts(samples, RATE).rest - 0.005) < 0.0001);
});

test("a tone that is cut off has a step, one that is faded in 5 ms has none", () => {
  // Cut at a peak.
  const end = Math.round((RATE * 100.25) / TONE_HZ);
  for (const [fadeMs, least, most] of [[0, 10, 20], [5, 0.99, 1.1]]) {
    const samples = new Float32Array(RATE);
    samples.set(tone(1, TONE_HZ).subarray(0, end));
    const length = (RATE * fadeMs) / 1000;
    for (let i = 0; i < length; i += 1) {
      const wave = Math.cos((2 * Math.PI * TONE_HZ * i) / RATE);
      samples[end + i] = samples[end - 1] * wave * (1 - i / length);
    }
    const { tones: [{ step }] } = bursts(samples, RATE);
    assert.ok(step >= least && step <= most, `${fadeMs} ms: ${step}`);
  }
});

test("each key of a telephone is told from the others, and from a tone", () => {
  const rows = [697, 770, 852, 941];
  const columns = [1209, 1336, 1477, 1633];
  const samples = tone(5, TONE_HZ);
  samples.fill(0, RATE, 4 * RATE);
  const all = [..."123A456B789C*0#D"];
  for (let at = 0; at < all.length; at += 1) {
    const [row, column] = [tone(1, rows[at >> 2]), tone(1, columns[at % 4], 1)];
    const sum = row.map((sample, i) => (sample + column[i]) / 2).subarray(0, RATE / 10);
    samples.set(sum, RATE * (1.1 + 0.15 * at));
    samples.fill(0, RATE * (1.15 + 0.15 * at), RATE * (1.16 + 0.15 * at));
  }
  const found = dialled(samples, RATE);
  assert.deepEqual(found.map(({ key }) => key), all);
  for (const { ms } of found) assert.ok(ms >= 70 && ms <= 130, `${ms} ms`);
  const twice = dialled(samples.subarray(RATE, RATE * 1.25), RATE).map(({ key }) => key);
  assert.deepEqual(twice, ["1"], "a hole in a key makes no two of it");
  assert.deepEqual(dialled(tone(1, 770), RATE), [], "a row alone is no key");
});

test("dice of one seed fall alike, those of another do not, and all evenly", () => {
  const rolls = (seed) => {
    const roll = dice(seed);
    return Array.from({ length: 10000 }, roll);
  };
  assert.deepEqual(rolls(1), rolls(1));
  assert.notDeepEqual(rolls(1), rolls(2));
  for (const seed of [0, 1, 20, 2 ** 32 - 1]) {
    const low = rolls(seed).filter((value) => value < 0.05).length;
    assert.ok(low > 430 && low < 570, `seed ${seed}: ${low} of 10000 below 0.05`);
    assert.ok(rolls(seed).every((value) => value >= 0 && value < 1));
  }
});
