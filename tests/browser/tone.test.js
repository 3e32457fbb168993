// The measuring itself: a hole at the limit and one past it, a frequency that is off.

import assert from "node:assert/strict";
import { test } from "node:test";
import { analyse, TONE_HZ, toneWav } from "./lib/tone.js";

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
