// The program for one test, and what a client's page hears of it.

import assert from "node:assert/strict";
import { Server } from "./server.js";
import { analyse, TONE_HZ } from "./tone.js";
import { until } from "./until.js";

const { SERVER_IP } = process.env;

/**
 * Where the program listens; a page on localhost may call it without https. When it is to end it
 * does not wait for calls to end first: those of a test are left running.
 */
export const HTTP = ["--listen", `${SERVER_IP}:7860`, "--drain-timeout", "0s"];
/** Of a client's call, what its page posts to. */
export const OFFER = `http://${SERVER_IP}:7860/api/offer`;

/**
 * Starts the program, runs the body, stops the program in any case. Its calls then replay
 * identical; what the body gives, if anything, is called with their logs as they are printed. When
 * the body fails, what `evidence` gives is told. The other options are those of `Server.start`.
 */
export async function withServer(flags, body, { evidence = () => "", ...options } = {}) {
  const server = await Server.start(flags, options);
  let check;
  try {
    check = await body(server);
  } catch (error) {
    const seen = await Promise.resolve(evidence()).catch(String);
    console.error(`${server.lines(/./).join("\n")}\n${seen}`);
    throw error;
  } finally {
    await server.stop();
  }
  const replays = await server.replay();
  assert.equal(replays.size, server.lines(/call begins/).length, "each call is recorded");
  check?.(server.logs());
}

/** What the page's ear hears from now on, for so many ms of sound and until it is enough. */
export async function hear(page, ms, isEnough = () => true) {
  await page.evaluate(() => window.app.ear.clear());
  const heard = () => page.evaluate(() => window.app.ear.ms());
  await until(heard, (now) => now >= ms && isEnough(), "sound is heard", ms * 3 + 15000);
  const { rate, text } = await page.evaluate(() => window.app.ear.take());
  const bytes = Buffer.from(text, "base64");
  const samples = new Int16Array(bytes.buffer, bytes.byteOffset, bytes.length / 2);
  return analyse(Float32Array.from(samples, (sample) => sample / 32768), rate);
}

/** What a browser under load conceals is not the program's fault: the part that may be missing. */
const MISSING_MAX = 0.05;
/** Of full scale: the microphones play the tone at 0.33 and 0.1, what is silent comes at 0. */
const HEARD_MIN = 0.03;
const SILENT_MAX = 0.003;

/** Whether that is the tone. */
export function isTone({ hz, level }) {
  return level > HEARD_MIN && Math.abs(hz / TONE_HZ - 1) < 0.01;
}

/** Hears the bot from the body's begin to its end, `ms` at least: next to nothing is missing. */
export async function withoutInterruption(page, ms, body = async () => {}) {
  let ended = false;
  const running = Promise.resolve(body()).finally(() => (ended = true));
  const [found] = await Promise.all([hear(page, ms, () => ended), running]);
  const missingMs = found.holes.reduce((sum, hole) => sum + hole.ms, 0);
  const text = JSON.stringify(found);
  assert.ok(isTone(found), text);
  assert.ok(missingMs / 1000 / found.seconds < MISSING_MAX, text);
  return found;
}

/** Waits until a quarter of a second of sound is the tone; gives it. */
export async function untilTone(page, what, ms = 15000) {
  return until(() => hear(page, 250), isTone, what, ms);
}

/** Waits until a quarter of a second of sound is silent; gives it. */
export async function untilSilence(page, what, ms = 15000) {
  return until(() => hear(page, 250), ({ level }) => level < SILENT_MAX, what, ms);
}

/** How many pictures of a track the bot took, by a call's printed log. */
export function taken(log, track) {
  return [...log.matchAll(new RegExp(`recv_encoded track ${track}\\n +(= .*)`, "g"))].filter(
    ([, result]) => result !== "= nothing",
  ).length;
}
