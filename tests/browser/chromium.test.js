// What a client may do in the middle of a call, and what may happen to it: Chromium.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { Browser, path } from "./lib/browser.js";
import {
  HTTP, OFFER, taken, untilSilence, untilTone, withoutInterruption, withServer,
} from "./lib/calls.js";
import { Pages } from "./lib/pages.js";
import { until } from "./lib/until.js";

/** How long the client says nothing while audio flows. */
const QUIET_MS = 10000;

let browser;
let pages;
before(async () => {
  [browser, pages] = await Promise.all([Browser.open(), Pages.open("caller")]);
});
after(() => Promise.all([browser?.close(), pages?.close()]));

/**
 * A page that calls, and the program. What the body gives is called with the printed logs of the
 * calls when the program has ended.
 */
async function withCaller(body) {
  let page;
  const evidence = async () =>
    JSON.stringify([page.faults, await page.evaluate(() => [window.app.seen, window.app.sdp()])]);
  await withServer(HTTP, async (server) => {
    page = await caller();
    const check = await body(server, page);
    assert.deepEqual(page.faults, [], "the page has no faults");
    return check;
  }, { evidence }).finally(() => page?.close());
}

/** A page whose call goes both ways. */
async function caller() {
  const page = await browser.page(pages.url("caller"));
  await page.evaluate((url) => window.app.open(url), OFFER);
  const state = () => page.evaluate(() => window.app.state());
  await until(state, ([, channel]) => channel === "open", "the channel opens");
  await untilTone(page, "the bot is heard");
  return page;
}

/** Messages return in order. */
async function assertMessages(page, name) {
  const texts = [1, 2, 3].map((number) => JSON.stringify({ name, number }));
  await page.evaluate((all) => all.forEach((text) => window.app.say(text)), texts);
  const messages = () => page.evaluate(() => window.app.seen.messages);
  const heard = await until(messages, (all) => all.includes(texts[2]), "messages return");
  assert.deepEqual(heard.slice(-3), texts);
}

describe("in the middle of a call", () => {
  test("a screen is added behind the channel's line, taken, and removed", async () => {
    await withCaller(async (server, page) => {
      let mid = "";
      await withoutInterruption(page, 3000, async () => {
        mid = await page.evaluate(() => window.app.share());
        assert.equal(mid, "3");
        await until(() => told(page, mid), ({ frames, lost }) => frames > 20 && lost === 0,
          "the server tells of the screen's packets");
      });
      await assertMessages(page, "shared");
      await withoutInterruption(page, 1000, () => page.evaluate(() => window.app.unshare()));
      await assertMessages(page, "not shared");
      const answers = await page.evaluate(() => window.app.seen.answers);
      assert.deepEqual(answers, Array(3).fill(answers[0]), "it is the same call");
      return ([log]) => {
        const [, track] = log.match(/track (\d+) started: screenVideo, in\n/);
        assert.ok(taken(log, track) > 20, "the bot has pictures");
        assert.match(log, new RegExp(`track ${track} ended`));
      };
    });
  });

  test("an ICE restart from a new port interrupts nothing", async () => {
    await withCaller(async (server, page) => {
      const before = await path(page);
      await withoutInterruption(page, 5000, async () => {
        await page.evaluate(() => window.app.offer({ iceRestart: true }));
        await until(() => path(page), ({ local }) => local.port !== before.local.port, "moved");
        await assertMessages(page, "moved");
      });
      const { answers } = await page.evaluate(() => window.app.seen);
      assert.equal(answers[0], answers[1], "it is the same call");
      assert.equal(server.lines(/to=disconnected/).length, 0);
    });
  });

  test("a microphone that is off is silence, one that is taken away is no end", async () => {
    await withCaller(async (server, page) => {
      for (const way of ["enableMic", "giveMic"]) {
        await page.evaluate((name) => window.app[name](false), way);
        await untilSilence(page, `${way} off`);
        await assertMessages(page, `${way} off`);
        await page.evaluate((name) => window.app[name](true), way);
        await untilTone(page, `${way} on`);
      }
      await withoutInterruption(page, 2000);
      assert.equal(server.lines(/to=disconnected/).length, 0);
    });
  });

  test("without pings sound goes on, both ways", async (t) => {
    await withCaller(async (server, page) => {
      const pings = () => page.evaluate(() => window.app.seen.pings);
      await until(pings, (count) => count > 0, "it has said once that it lives");
      await page.evaluate(() => window.app.ping(false));
      const count = await pings();
      const found = await withoutInterruption(page, QUIET_MS);
      assert.equal(await pings(), count, "it said nothing");
      t.diagnostic(`${found.seconds.toFixed(1)} s, longest hole ${found.longestMs} ms`);
      assert.equal(server.lines(/to=disconnected/).length, 0);
      await assertMessages(page, "after");
    });
  });
});

describe("a tab that says nothing of its end", () => {
  test("is noticed by its silence, closed or crashed", async (t) => {
    await withCaller(async (server, closed) => {
      const crashed = await caller();
      const gone = new Promise((resolve) => crashed.on("crash", resolve));
      crashed.goto("chrome://crash").catch(() => {});
      await gone;
      await closed.close();
      const begin = Date.now();
      for (const [what, pattern, ms] of [
        ["disconnected", /to=disconnected/, 10000],
        ["lost", /call ended.*reason=lost/, 25000],
      ]) {
        await until(() => server.lines(pattern), ({ length }) => length === 2, what, ms);
        t.diagnostic(`${what} ${Date.now() - begin} ms after`);
      }
      await crashed.close();
    });
  });
});

/** How many frames the line has sent, and how many packets the server says to miss. */
function told(page, mid) {
  return page.evaluate(async (wanted) => {
    const stats = [...(await window.connections.at(-1).getStats()).values()];
    const sent = stats.find((entry) => entry.type === "outbound-rtp" && entry.mid === wanted);
    const report = stats.find(
      (entry) => entry.type === "remote-inbound-rtp" && entry.localId === sent?.id,
    );
    return { frames: sent?.framesSent ?? 0, lost: report?.packetsLost ?? null };
  }, mid);
}
