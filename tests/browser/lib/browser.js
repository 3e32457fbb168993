// Headless Chromium with a microphone that plays the tone, and what the tests do with the page.

import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { chromium } from "playwright-core";
import { toneWav } from "./tone.js";

const FLAGS = [
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
  "--use-fake-ui-for-media-stream",
  "--use-fake-device-for-media-stream",
  "--autoplay-policy=no-user-gesture-required",
];

export class Browser {
  #directory;
  #context;

  /** A browser of its own, with a profile of its own. */
  static async open() {
    const browser = new Browser();
    browser.#directory = await mkdtemp(join(tmpdir(), "smallrtc-browser-"));
    const wav = join(browser.#directory, "tone.wav");
    await writeFile(wav, toneWav());
    browser.#context = await chromium.launchPersistentContext(
      join(browser.#directory, "profile"),
      {
        executablePath: process.env.CHROMIUM,
        headless: true,
        chromiumSandbox: false,
        ignoreHTTPSErrors: true,
        viewport: { width: 1280, height: 800 },
        args: [...FLAGS, `--use-file-for-fake-audio-capture=${wav}`],
      },
    );
    await browser.#warmUp();
    return browser;
  }

  /** The first sound of a cold browser may take it seconds; the tests are about calls. */
  async #warmUp() {
    const page = await this.#context.newPage();
    await page.evaluate(() => {
      const late = new Promise((resolve) => setTimeout(resolve, 10000));
      return Promise.race([new AudioContext().resume(), late]);
    });
    await page.close();
  }

  /** A tab with the page in it. Faults of the page fail the test through `page.faults`. */
  async page(url) {
    const page = await this.#context.newPage();
    page.faults = [];
    page.on("pageerror", (error) => page.faults.push(error.message));
    page.on("console", (message) => {
      if (message.type() === "error") page.faults.push(message.text());
    });
    page.on("requestfailed", (request) =>
      page.faults.push(`${request.url()}: ${request.failure()?.errorText}`),
    );
    await page.addInitScript(keepConnections);
    await page.goto(url);
    return page;
  }

  async close() {
    await this.#context.close();
    await rm(this.#directory, { recursive: true, force: true, maxRetries: 3 });
  }
}

/** Runs in the page before its own code: the tests may then look at its connections. */
export function keepConnections() {
  const Original = RTCPeerConnection;
  window.connections = [];
  window.RTCPeerConnection = class extends Original {
    constructor(...parts) {
      super(...parts);
      window.connections.push(this);
    }
  };
}

/**
 * Presses Connect, with the microphone as it is, and waits until the bot is ready: a browser that
 * has only begun may take long over its first microphone.
 */
export async function connect(page) {
  await page.locator("summary").click();
  await page.locator("#processing").uncheck();
  await page.locator("#connect").click();
  await state(page, "ready", 20000);
}

/** Waits for the page to show a state. */
export async function state(page, name, timeout = 10000) {
  await page.locator(`#state[data-state="${name}"]`).waitFor({ timeout });
}

/** What the page says of the state. */
export async function reason(page) {
  return page.locator("#reason").textContent();
}

/** Begins to record the bot's sound as the browser decodes it. */
export async function startRecording(page) {
  await page.evaluate(() => {
    const [track] = document.getElementById("remote-audio").srcObject.getAudioTracks();
    // 200 buffers of 10 ms: the page may be held up for 2 s before one is lost.
    const processor = new MediaStreamTrackProcessor({ track: track.clone(), maxBufferSize: 200 });
    const recording = { rate: 0, blocks: [], jumps: [], end: null };
    window.recording = recording;
    const reader = processor.readable.getReader();
    const read = async () => {
      for (;;) {
        const { value, done } = await reader.read();
        if (done) return;
        const plane = new Float32Array(value.numberOfFrames);
        value.copyTo(plane, { planeIndex: 0, format: "f32-planar" });
        recording.rate = value.sampleRate;
        recording.blocks.push(plane);
        recording.jumps.push(value.timestamp - (recording.end ?? value.timestamp));
        recording.end = value.timestamp + value.duration;
        value.close();
      }
    };
    read();
    recording.stop = () => reader.cancel();
  });
}

/** Ends it: samples of one channel, their rate, and by how many ms the timestamps jumped. */
export async function stopRecording(page) {
  const { rate, text, jumpMs } = await page.evaluate(() => {
    const { rate, blocks, jumps, stop } = window.recording;
    stop();
    const length = blocks.reduce((sum, block) => sum + block.length, 0);
    const samples = new Int16Array(length);
    let at = 0;
    for (const block of blocks) {
      for (const sample of block) {
        samples[at] = Math.max(-32768, Math.min(32767, sample * 32767));
        at += 1;
      }
    }
    const bytes = new Uint8Array(samples.buffer);
    let text = "";
    for (let i = 0; i < bytes.length; i += 8192) {
      text += String.fromCharCode(...bytes.subarray(i, i + 8192));
    }
    const jumpMs = Math.max(0, ...jumps.map(Math.abs)) / 1000;
    return { rate, text: btoa(text), jumpMs };
  });
  const bytes = Buffer.from(text, "base64");
  const samples = new Int16Array(bytes.buffer, bytes.byteOffset, bytes.length / 2);
  return { rate, jumpMs, samples: Float32Array.from(samples, (sample) => sample / 32768) };
}

/** The browser's statistics of the newest connection, as a list. */
export async function stats(page) {
  return page.evaluate(async () => [...(await window.connections.at(-1).getStats()).values()]);
}

/** The pair of candidates in use: the local port, and the session that the server knows. */
export async function path(page) {
  const all = await stats(page);
  const transport = all.find((entry) => entry.type === "transport");
  const pair = all.find((entry) => entry.id === transport.selectedCandidatePairId);
  const local = all.find((entry) => entry.id === pair.localCandidateId);
  const remote = all.find((entry) => entry.id === pair.remoteCandidateId);
  return { local, remote, connections: await page.evaluate(() => window.connections.length) };
}
