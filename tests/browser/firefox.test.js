// Calls of Firefox: its own SDP and candidates, its own engine of sound and pictures.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import {
  HTTP, OFFER, untilSilence, untilTone, withoutInterruption, withServer,
} from "./lib/calls.js";
import { Firefox } from "./lib/firefox.js";
import { Pages } from "./lib/pages.js";
import { until } from "./lib/until.js";

/** How long the bot is heard without interruption. */
const LISTEN_MS = 5000;

let browser;
let pages;
before(async () => {
  [browser, pages] = await Promise.all([Firefox.open(), Pages.open("caller", "pipecat")]);
});
after(() => Promise.all([browser?.close(), pages?.close()]));

/** A page and the program; in the end both are gone and every call replays. */
async function withPage(name, body) {
  let page;
  const evidence = async () => JSON.stringify([page.faults, await seen(page)]);
  await withServer(HTTP, async (server) => {
    page = await browser.page(pages.url(name));
    await body(server, page);
    assert.deepEqual(page.faults, [], "the page has no faults");
  }, { evidence }).finally(() => page?.close());
}

function seen(page) {
  return page.evaluate(() => window.app.seen);
}

async function open(page, options = {}) {
  await page.evaluate((...given) => window.app.open(...given), OFFER, options);
  const state = () => page.evaluate(() => window.app.state());
  await until(state, ([, channel]) => channel === "open", "the channel opens");
}

/** Messages return in order. */
async function assertMessages(page, name) {
  const texts = [1, 2, 3].map((number) => JSON.stringify({ name, number }));
  await page.evaluate((all) => all.forEach((text) => window.app.say(text)), texts);
  const heard = await until(async () => (await seen(page)).messages,
    (all) => all.includes(texts[2]), "messages return");
  assert.deepEqual(heard.slice(-3), texts);
}

/** Every candidate was taken, and each m-line's end of them, which is an empty one. */
async function assertCandidatesTaken(page, ends) {
  const patches = async () => (await seen(page)).patches;
  const isEmpty = (candidate) => candidate === "";
  const sent = (all) => all.flatMap(({ candidates }) => candidates);
  const all = await until(patches, (now) => sent(now).filter(isEmpty).length >= ends, "all sent");
  assert.deepEqual([...new Set(all.map(({ status }) => status))], [200]);
  assert.ok(sent(all).some((candidate) => candidate.includes("typ host")), JSON.stringify(all));
}

/** The local port in use. */
function port(page) {
  return page.evaluate(async () => {
    const stats = [...(await window.connections.at(-1).getStats()).values()];
    const pair = stats.find((entry) => entry.type === "candidate-pair" && entry.selected);
    return stats.find((entry) => entry.id === pair?.localCandidateId)?.port ?? null;
  });
}

describe("Firefox", () => {
  test("connects, is heard and hears, sends and gets messages, leaves", async (t) => {
    await withPage("caller", async (server, page) => {
      await open(page);
      await assertCandidatesTaken(page, 3);
      await untilTone(page, "the bot is heard");
      const found = await withoutInterruption(page, LISTEN_MS);
      t.diagnostic(`${found.hz.toFixed(2)} Hz, longest hole ${found.longestMs} ms`);
      await assertMessages(page, "text");
      await page.evaluate(() => window.app.enableMic(false));
      await untilSilence(page, "the microphone is off");
      await page.evaluate(() => window.app.enableMic(true));
      await untilTone(page, "and on again");
      await page.evaluate(() => window.app.close());
      await server.line(/call ended.*reason=hung up/);
    });
  });

  test("has its camera's pictures returned, and they move", async (t) => {
    await withPage("caller", async (server, page) => {
      await open(page, { camera: true });
      const decoded = await until(() => frames(page), (count) => count >= 30, "pictures", 20000);
      const pictures = new Set();
      const look = async () => pictures.add(await page.evaluate(() => window.app.picture()));
      await until(look, ({ size }) => size >= 5, "the pictures are different ones");
      await untilTone(page, "sound comes with them");
      t.diagnostic(`${decoded} pictures, ${pictures.size} of those looked at are different`);
    });
  });

  test("keeps its call over an ICE restart", async () => {
    await withPage("caller", async (server, page) => {
      await open(page);
      await untilTone(page, "before");
      const before = await port(page);
      assert.ok(before > 0);
      await withoutInterruption(page, LISTEN_MS, async () => {
        await page.evaluate(() => window.app.offer({ iceRestart: true }));
        await until(() => port(page), (now) => now !== null && now !== before, "moved");
        await assertMessages(page, "moved");
      });
      await assertCandidatesTaken(page, 6);
      const { answers } = await seen(page);
      assert.equal(answers[0], answers[1], "it is the same call");
      assert.equal(server.lines(/to=disconnected/).length, 0);
    });
  });

  test("has the Pipecat client connected, heard, reconnected and left", async () => {
    await withPage("pipecat", async (server, page) => {
      const parameters = { webrtcRequestParams: { endpoint: OFFER } };
      const ready = await page.evaluate((given) => window.app.connect(given), parameters);
      assert.equal(ready.about.library, "smallrtc");
      await until(async () => (await seen(page)).events,
        (all) => all.some(({ name }) => name === "trackStarted"), "the client tells of the bot");
      await untilTone(page, "the bot is heard");
      const ask = (data) => window.app.request("echo", data);
      assert.deepEqual(await page.evaluate(ask, { from: "Firefox" }), { from: "Firefox" });
      await page.evaluate(() => window.app.reconnect());
      await server.line(/call ended.*reason=replaced/);
      await until(() => page.evaluate(() => window.app.sounds()), (times) => times === 2,
        "the page is told of the new sound");
      await untilTone(page, "heard again");
      const channel = () => page.evaluate(() => window.app.channel());
      await until(channel, (now) => now === "open", "the new channel opens");
      assert.deepEqual(await page.evaluate(ask, { again: true }), { again: true });
      await page.evaluate(() => window.app.disconnect());
      await server.line(/call ended.*reason=hung up/);
    });
  });
});

/** How many of the bot's pictures were decoded. */
function frames(page) {
  return page.evaluate(async () => {
    const stats = [...(await window.connections.at(-1).getStats()).values()];
    const video = stats.find((entry) => entry.type === "inbound-rtp" && entry.kind === "video");
    return video?.framesDecoded ?? 0;
  });
}
