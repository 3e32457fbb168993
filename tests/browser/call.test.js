// Whole calls: the page in headless Chromium against the program, over a veth pair.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { after, before, describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import {
  Browser, connect, path, reason, startRecording, state, stats, stopRecording,
} from "./lib/browser.js";
import * as calls from "./lib/calls.js";
import { analyse, TONE_HZ } from "./lib/tone.js";
import { until } from "./lib/until.js";

const { SERVER_IP, CLIENT_IP, CLIENT_INTERFACE } = process.env;

/** One packet; the browser's own concealment hides what is shorter. */
const HOLE_MS_MAX = 20;
/** A call may not be judged by its first moments alone. */
const RECORD_S = 31;
/** Filling the browser's jitter buffer is not part of what is judged. */
const SETTLE_MS = 2000;
/** A log is handed to the disk once a second: after two it has begun. */
const RECORDED_MS = 2000;

let browser;
before(async () => {
  browser = await Browser.open();
});
after(() => browser?.close());

/**
 * Starts the program, opens the page, runs the body; stops the program in any case. Its calls then
 * replay identical.
 */
async function withServer(flags, body, { open = true, ...options } = {}) {
  await calls.withServer(flags, async (server) => {
    const page = await browser.page(open ? server.url : "about:blank");
    try {
      await body(server, page);
    } catch (error) {
      console.error(await evidence(page));
      throw error;
    } finally {
      if (!page.isClosed()) await page.close();
    }
    assert.deepEqual(page.faults, [], "the page has no faults");
  }, options);
}

/** What the page shows when a test has failed. */
async function evidence(page) {
  if (page.isClosed()) return "the page is closed";
  const seen = await page.evaluate(async () => {
    const text = (id) => document.getElementById(id).textContent;
    const report = await window.connections.at(-1)?.getStats();
    const kept = (entry) => entry.kind === "audio" || entry.type === "transport";
    return {
      state: text("state"),
      reason: text("reason"),
      notice: text("notice"),
      audio: report && [...report.values()].filter(kept),
    };
  });
  return JSON.stringify({ faults: page.faults, ...seen }, null, 1);
}

/** Records for some seconds and asserts that the tone is there, right and whole. */
async function assertTone(page, seconds) {
  await startRecording(page);
  await sleep(seconds * 1000);
  const { samples, rate, jumpMs } = await stopRecording(page);
  const found = analyse(samples, rate);
  const text = JSON.stringify({ ...found, jumpMs });
  assert.ok(found.seconds > seconds * 0.95, `recorded: ${text}`);
  assert.ok(Math.abs(found.hz / TONE_HZ - 1) < 0.01, `frequency: ${text}`);
  assert.ok(found.level > 0.05, `strength: ${text}`);
  assert.ok(found.longestMs <= HOLE_MS_MAX, `longest hole: ${text}`);
  return found;
}

const HTTPS = ["--listen", `${SERVER_IP}:7860`, "--tls-self-signed"];

describe("over https at an address that is not the machine's own", () => {
  test("the echoed tone is right and whole, messages return, meters and plots live", async (t) => {
    await withServer(HTTPS, async (server, page) => {
      assert.equal(server.url, `https://${SERVER_IP}:7860/`);
      assert.equal(await page.locator("#notice").isVisible(), false);
      await connect(page);
      await sleep(SETTLE_MS);
      const found = await assertTone(page, RECORD_S);
      t.diagnostic(
        `${found.seconds.toFixed(1)} s, ${found.hz.toFixed(2)} Hz, level ` +
          `${found.level.toFixed(3)}, longest hole ${found.longestMs} ms`,
      );
      await assertMessagesReturn(page);
      for (const id of ["meter-out", "meter-in"]) {
        const level = await meter(page, id);
        assert.ok(level > -30 && level <= 0, `${id} shows ${level} dB`);
      }
      for (const [id, unit] of [["rtt", "ms"], ["jitter", "ms"], ["loss", "%"]]) {
        const shown = await page.locator(`#${id}-now`).textContent();
        assert.match(shown, new RegExp(`^[0-9.]+( / [0-9.]+)? ${unit}$`), id);
      }
      assert.match(await page.locator("#duration").textContent(), /^0:3\d$/);
      const { local, remote } = await path(page);
      assert.deepEqual([local.address, remote.address], [CLIENT_IP, SERVER_IP]);
      await page.locator("#connect").click();
      await server.line(/call ended.*reason=hung up/);
      assert.equal(await reason(page), "You hung up.");
    }, { detail: "full" });
  });

  test("camera pictures come back, and keyframes are asked for when one is missed", async () => {
    await withServer(HTTPS, async (server, page) => {
      await watchPictures(page);
      await connect(page);
      for (const turn of [1, 2]) {
        await page.locator("#camera").click();
        await assertPicturesMove(page, turn);
        await page.locator("#camera").click();
        await page.locator("#pictures").waitFor({ state: "hidden" });
      }
      await page.locator("#camera").click();
      await assertPicturesMove(page, 3);
      const keyframes = async () => (await videoSender(page)).keyFramesEncoded;
      const asked = async () => (await videoSender(page)).pliCount;
      const [before, pli] = [await keyframes(), await asked()];
      await page.evaluate(() => window.askForKeyframe());
      await until(asked, (count) => count > pli, "the request was passed on");
      await until(keyframes, (count) => count > before, "a keyframe was made");
    }, { detail: "none" });
  });

  test("mute sends silence, which comes back as silence", async () => {
    await withServer(HTTPS, async (server, page) => {
      await connect(page);
      const level = () => meter(page, "meter-in");
      await until(level, (db) => db > -30, "before the bot is heard");
      await page.locator("#mute").click();
      await until(level, (db) => db <= -55, "muted");
      await page.locator("#mute").click();
      await until(level, (db) => db > -30, "heard again");
    });
  });

  test("closing the tab ends the session with its reason", async () => {
    await withServer(HTTPS, async (server, page) => {
      await connect(page);
      await page.close();
      await server.line(/call ended.*reason=hung up/, 3000);
    });
  });

  for (const signal of ["SIGINT", "SIGTERM"]) {
    test(`${signal} says peerLeft to the page and exits with 0`, async () => {
      await withServer(HTTPS, async (server, page) => {
        await connect(page);
        server.signal(signal);
        await state(page, "disconnected", 4000);
        assert.equal(await reason(page), "The bot left.");
        await server.line(/call ended.*reason=closed by the application/);
        assert.equal(await server.ended(), 0);
      });
    });
  }

  test("an ICE restart from a new port keeps the call", async () => {
    await withServer(HTTPS, async (server, page) => {
      await connect(page);
      const before = await path(page);
      await page.locator("#restart").click();
      const port = before.local.port;
      const moved = await until(() => path(page), ({ local }) => local.port !== port, "moved");
      assert.equal(moved.connections, 1, "it is the same connection");
      assert.equal(server.lines(/call begins/).length, 1, "it is the same call");
      await sleep(1000);
      await assertTone(page, 5);
      await assertMessagesReturn(page);
      assert.equal(server.lines(/call ended/).length, 0);
      await state(page, "ready", 1000);
    });
  });
});

describe("on every address of the machine", () => {
  test("the program prints them, and calls come in on each", async () => {
    const flags = ["--listen", "0.0.0.0:7860", "--tls-self-signed"];
    await withServer(flags, async (server, page) => {
      assert.equal(server.url, "https://127.0.0.1:7860/");
      await server.line(new RegExp(`^open https://${SERVER_IP}:7860/$`));
      await page.goto(`https://${SERVER_IP}:7860/`);
      await connect(page);
      await sleep(SETTLE_MS);
      await assertTone(page, 3);
      assert.equal((await path(page)).remote.address, SERVER_IP);
    }, { open: false });
  });
});

describe("when the network goes away", () => {
  after(() => network("up"));

  test("for some seconds, the call goes on when it is back", async () => {
    await withServer(HTTPS, async (server, page) => {
      await connect(page);
      network("down");
      await state(page, "reconnecting", 15000);
      await server.line(/to=disconnected/, 10000);
      network("up");
      await state(page, "ready", 15000);
      await until(() => meter(page, "meter-in"), (db) => db > -30, "heard again");
      await assertMessagesReturn(page);
      assert.equal(server.lines(/call begins/).length, 1, "it is the same call");
      page.faults = page.faults.filter((fault) => !fault.includes("net::ERR"));
    });
  });

  test("for good, SIGINT ends the program in time, a second one at once", async () => {
    for (const [signals, code, ms] of [[1, 0, 4000], [2, 130, 1000]]) {
      await withServer(HTTPS, async (server, page) => {
        await connect(page);
        // A second SIGINT waits for nothing, not for the disk either.
        await sleep(RECORDED_MS);
        network("down");
        server.signal("SIGINT");
        await server.line(/closing/);
        const begin = Date.now();
        for (let sent = 1; sent < signals; sent += 1) server.signal("SIGINT");
        assert.equal(await server.ended(ms), code);
        assert.ok(Date.now() - begin < ms);
        // Else it would ask again, and nobody is there.
        await page.close();
        network("up");
        page.faults = page.faults.filter((fault) => !fault.includes("net::ERR"));
      });
    }
  });
});

describe("over plain http", () => {
  test("localhost gives the microphone and the echo", async () => {
    await withServer(["--listen", "127.0.0.1:7860"], async (server, page) => {
      assert.equal(server.url, "http://127.0.0.1:7860/");
      await connect(page);
      await sleep(SETTLE_MS);
      await assertTone(page, 5);
      await assertMessagesReturn(page);
    }, { here: true });
  });

  test("another address: the page says why there is no microphone, messages work", async () => {
    await withServer(["--listen", `${SERVER_IP}:7860`], async (server, page) => {
      const notice = await page.locator("#notice").textContent();
      assert.match(notice, /only to https pages and to localhost/);
      assert.match(notice, /--tls-self-signed/);
      await page.locator("#connect").click();
      await state(page, "ready");
      await assertMessagesReturn(page);
    });
  });

  test("a full server is said to be full", async () => {
    const flags = ["--listen", "127.0.0.1:7860", "--max-sessions", "1"];
    await withServer(flags, async (server, page) => {
      await connect(page);
      const second = await browser.page(server.url);
      await second.locator("#connect").click();
      await second.locator("#reason", { hasText: "503" }).waitFor({ timeout: 5000 });
      await second.close();
      await state(page, "ready", 1000);
    }, { here: true });
  });
});

/** Takes the browser's end of the veth pair down, or up again. */
function network(way) {
  execFileSync("ip", ["link", "set", "dev", CLIENT_INTERFACE, way]);
}

/** What a meter shows, in dB. */
async function meter(page, id) {
  return Number(await page.locator(`#${id}`).getAttribute("aria-valuenow"));
}

/** Text is wrapped as JSON, JSON goes as it is; all come back unchanged and in order. */
async function assertMessagesReturn(page) {
  const texts = ["hello", '{"type":"demo","list":[1,2.5,"ü"],"deep":{"a":null}}', "ping is a word"];
  const before = await page.locator("#log .back").count();
  for (const text of texts) {
    await page.locator("#text").fill(text);
    await page.locator("#send").click();
  }
  await page.locator("#log .back").nth(before + texts.length - 1).waitFor({ timeout: 5000 });
  const lines = await page.locator("#log li.received").allTextContents();
  const last = lines.slice(-texts.length);
  texts.forEach((text, index) => assert.ok(last[index].includes(text), last[index]));
}

/** Statistics of the camera's sender. */
async function videoSender(page) {
  const senders = (await stats(page)).filter(
    (entry) => entry.type === "outbound-rtp" && entry.kind === "video" && entry.framesEncoded > 0,
  );
  assert.equal(senders.length, 1);
  return senders[0];
}

/** Lets the page's receiver ask for a keyframe, as one does that has lost a packet. */
async function watchPictures(page) {
  await page.route("**/transform.js", (route) =>
    route.fulfill({ contentType: "text/javascript", body: `(${transform})()` }),
  );
  await page.evaluate(() => {
    const worker = new Worker("transform.js");
    const Original = window.RTCPeerConnection;
    window.RTCPeerConnection = class extends Original {
      constructor(...parts) {
        super(...parts);
        this.addEventListener("track", ({ transceiver, receiver }) => {
          if (transceiver.mid === "1") receiver.transform = new RTCRtpScriptTransform(worker);
        });
      }
    };
    window.askForKeyframe = () => worker.postMessage("keyframe");
  });
}

/** Runs in the worker: frames pass as they are. */
function transform() {
  let transformer;
  self.onrtctransform = (event) => {
    transformer = event.transformer;
    transformer.readable.pipeTo(transformer.writable);
  };
  self.onmessage = () => transformer.sendKeyFrameRequest();
}

/** The echoed picture arrives and keeps changing. */
async function assertPicturesMove(page, turn) {
  const seen = () =>
    page.evaluate(() => {
      const video = document.getElementById("remote-video");
      const { totalVideoFrames } = video.getVideoPlaybackQuality();
      return { frames: totalVideoFrames, width: video.videoWidth };
    });
  const first = await seen();
  const { width } = await until(seen, ({ frames }) => frames >= first.frames + 20, "pictures");
  assert.ok(width >= 160, `turn ${turn}: the picture is ${width} wide`);
}
