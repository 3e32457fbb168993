// The Pipecat client by way of `/start`: the session is named first, then called.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { Browser } from "./lib/browser.js";
import { HTTP, OFFER, untilTone, withoutInterruption, withServer } from "./lib/calls.js";
import { Pages } from "./lib/pages.js";
import { until } from "./lib/until.js";

const { origin: ORIGIN } = new URL(OFFER);
/** What the original answers for a session that is not there. */
const UNKNOWN = "Invalid or not-yet-ready session_id";
/** How long the bot is heard without interruption. */
const LISTEN_MS = 3000;

let browser;
let pages;
before(async () => {
  [browser, pages] = await Promise.all([Browser.open(), Pages.open("pipecat")]);
});
after(() => Promise.all([browser?.close(), pages?.close()]));

/** A page whose client has started a session and called it; every request of the page is kept. */
async function withSession(body) {
  let page;
  const evidence = async () => JSON.stringify([page.faults, page.requests]);
  await withServer(HTTP, async (server) => {
    page = await browser.page(pages.url("pipecat"));
    page.requests = [];
    page.on("response", (response) => keep(page, response));
    const request = { endpoint: `${ORIGIN}/start`, requestData: { body: { who: "the page" } } };
    const connecting = page.evaluate((given) => window.app.startAndConnect(given), request);
    assert.equal((await connecting).about.library, "smallrtc");
    await untilTone(page, "the bot is heard");
    await body(server, page);
    assert.deepEqual(page.faults, [], "the page has no faults");
  }, { evidence }).finally(() => page?.close());
}

function keep(page, response) {
  const method = response.request().method();
  if (method !== "POST" && method !== "PATCH") return;
  const { pathname } = new URL(response.url());
  page.requests.push({ method, path: pathname, status: response.status(), response });
}

/** The session that `/start` has named. */
async function session(page) {
  const { sessionId } = await page.requests[0].response.json();
  return sessionId;
}

describe("by way of /start", () => {
  test("the Pipecat client connects, hears, sends and gets messages, and leaves", async () => {
    await withSession(async (server, page) => {
      const id = await session(page);
      assert.match(id, /^[0-9a-f-]{36}$/);
      await until(() => page.requests.length, (count) => count >= 3, "candidates are sent");
      assert.deepEqual(
        page.requests.slice(0, 3).map(({ method, path, status }) => [method, path, status]),
        [
          ["POST", "/start", 200],
          ["POST", `/sessions/${id}/api/offer`, 200],
          ["PATCH", `/sessions/${id}/api/offer`, 200],
        ],
      );
      await withoutInterruption(page, LISTEN_MS);
      const ask = (data) => window.app.request("echo", data);
      assert.deepEqual(await page.evaluate(ask, { by: "start" }), { by: "start" });
      await page.evaluate(() => window.app.disconnect());
      await server.line(/call ended.*reason=hung up/);
    });
  });

  test("it follows when the bot asks, and reconnects, in the same session", async () => {
    await withSession(async (server, page) => {
      const id = await session(page);
      const offers = () => page.requests.filter(
        ({ method, path }) => method === "POST" && path === `/sessions/${id}/api/offer`,
      );
      await page.evaluate(() => window.app.request("renegotiate"));
      await until(() => offers().length, (count) => count === 2, "it offers again");
      await until(() => page.evaluate(() => window.connections[0].signalingState),
        (state) => state === "stable", "the answer is taken");
      await page.evaluate(() => window.app.reconnect());
      await until(() => offers().length, (count) => count === 3, "it has reconnected");
      const answers = await Promise.all(offers().map(({ response }) => response.json()));
      const [first, again, restarted] = answers.map(({ pc_id: pcId }) => pcId);
      assert.equal(first, again);
      assert.notEqual(first, restarted);
      await server.line(/call ended.*reason=replaced/);
      await until(() => page.evaluate(() => window.app.sounds()), (times) => times === 2,
        "the page is told of the new sound");
      await untilTone(page, "heard again");
      await withoutInterruption(page, LISTEN_MS);
      assert.deepEqual(page.requests.filter(({ status }) => status !== 200), []);
    });
  });

  test("a session that nobody started is not there", async () => {
    await withServer(HTTP, async () => {
      const unknown = "00000000-0000-4000-8000-000000000000";
      const response = await fetch(`${ORIGIN}/sessions/${unknown}/api/offer`, {
        method: "POST",
        body: JSON.stringify({ sdp: "v=0", type: "offer" }),
      });
      assert.equal(response.status, 404);
      assert.equal(await response.text(), UNKNOWN);
    });
  });
});
