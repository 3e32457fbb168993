// The client that Pipecat's users have, as npm gives it, on a page of another origin.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { after, before, describe, test } from "node:test";
import { Browser, path, stats } from "./lib/browser.js";
import {
  HTTP, OFFER, taken, untilSilence, untilTone, withoutInterruption, withServer,
} from "./lib/calls.js";
import { Pages } from "./lib/pages.js";
import { until } from "./lib/until.js";

/** How long the bot is heard without interruption. */
const LISTEN_MS = 5000;

let browser;
let pages;
before(async () => {
  [browser, pages] = await Promise.all([Browser.open(), Pages.open("pipecat")]);
});
after(() => Promise.all([browser?.close(), pages?.close()]));

/** A page with the client, and the program; in the end both are gone and every call replays. */
async function withClient(body, flags = []) {
  let page;
  const evidence = async () => JSON.stringify([page.faults, await seen(page), await lines(page)]);
  await withServer([...HTTP, ...flags], async (server) => {
    page = await browser.page(pages.url("pipecat"));
    const check = await body(server, page);
    assert.deepEqual(page.faults, [], "the page has no faults");
    return check;
  }, { evidence }).finally(() => page?.close());
}

/** Gives what the client's `connect()` resolves with. */
function connect(page, endpoint = OFFER) {
  const parameters = { webrtcRequestParams: { endpoint } };
  return page.evaluate((given) => window.app.connect(given), parameters);
}

function seen(page) {
  return page.evaluate(() => window.app.seen);
}

/** How often the client has told an event. */
async function count(page, name) {
  return (await seen(page)).events.filter((event) => event.name === name).length;
}

/** For each connection the state and, for each m-line, its mid, direction and sender's state. */
function lines(page) {
  return page.evaluate(() =>
    window.connections.map((connection) => ({
      state: connection.connectionState,
      lines: connection.getTransceivers().map((line) => ({
        mid: line.mid,
        direction: line.currentDirection,
        sends: line.sender.track?.readyState ?? null,
      })),
    })),
  );
}

/** Requests of every shape, all at once: each gets its own response. */
async function assertMessages(page) {
  const said = ["one", { two: [2, null, "ü"] }, "x".repeat(60000)];
  const ask = (all) => Promise.all(all.map((data) => window.app.request("echo", data)));
  assert.deepEqual(await page.evaluate(ask, said), said);
}

describe("the client of Pipecat", () => {
  test("connects, is heard and hears, sends and gets messages, disconnects", async (t) => {
    await withClient(async (server, page) => {
      const ready = await connect(page);
      assert.equal(ready.about.library, "smallrtc");
      assert.match(ready.version, /^[12]\./);
      assert.deepEqual((await seen(page)).states, [
        "initializing", "initialized", "connecting", "connected", "ready",
      ]);
      const [{ lines: all }] = await lines(page);
      assert.deepEqual(
        all.map(({ mid, direction }) => [mid, direction]),
        [["0", "sendrecv"], ["1", "sendrecv"], ["2", "sendonly"]],
      );
      await untilTone(page, "the bot is heard");
      const found = await withoutInterruption(page, LISTEN_MS);
      t.diagnostic(`${found.hz.toFixed(2)} Hz, longest hole ${found.longestMs} ms`);
      await assertMessages(page);
      await page.evaluate(() => window.app.disconnect());
      await server.line(/call ended.*reason=hung up/);
      const { states, errors } = await seen(page);
      assert.deepEqual([states.at(-1), errors], ["disconnected", []]);
    });
  });

  test("its place is free when it has disconnected: it may come back", async () => {
    await withClient(async (server, page) => {
      await connect(page);
      for (const turn of [1, 2]) {
        await page.evaluate(() => window.app.disconnect());
        await until(() => server.lines(/call ended.*hung up/).length, (ended) => ended === turn,
          "the bot sees it");
        const parameters = { webrtcRequestParams: { endpoint: OFFER } };
        const again = (given) => window.app.connectAgain(given);
        assert.match((await page.evaluate(again, parameters)).version, /^2\./);
        await untilTone(page, "heard again");
      }
      await assertMessages(page);
    }, ["--max-sessions", "1"]);
  });

  test("its microphone is silent while it is off", async () => {
    await withClient(async (server, page) => {
      await connect(page);
      await untilTone(page, "before");
      await page.evaluate(() => window.app.enableMic(false));
      await untilSilence(page, "off");
      await page.evaluate(() => window.app.enableMic(true));
      await untilTone(page, "on again");
      assert.equal(server.lines(/to=disconnected/).length, 0);
    });
  });

  test("its camera comes back, its screen is taken, without a new offer", async () => {
    await withClient(async (server, page) => {
      await connect(page);
      let offers = 0;
      page.on("request", (request) => (offers += request.method() === "POST" ? 1 : 0));
      await page.evaluate(() => window.app.enableCam(true));
      await until(() => pictures(page), (frames) => frames >= 20, "the camera is returned");
      await page.evaluate(() => window.app.enableScreenShare(true));
      await until(() => screenLeft(page), (sent) => sent > 20, "the screen is sent");
      await page.evaluate(() => window.app.enableScreenShare(false));
      await untilTone(page, "sound goes on");
      assert.equal(offers, 0);
      return ([log]) => {
        const [, track] = log.match(/track (\d+) started: screenVideo, in\n/);
        assert.ok(taken(log, track) > 20, "the bot has the screen's pictures");
      };
    });
  });

  test("follows when the bot asks for a new offer, on the same connection", async () => {
    await withClient(async (server, page) => {
      await connect(page);
      await untilTone(page, "before");
      for (const turn of [1, 2]) {
        const offered = page.waitForRequest((request) => request.method() === "POST");
        const wish = (data) => window.app.request("renegotiate", data);
        assert.deepEqual(await page.evaluate(wish, { turn }), { turn });
        const { pc_id: id, restart_pc: restart } = (await offered).postDataJSON();
        assert.match(id, /^SmallWebRTCConnection#0-/);
        assert.equal(restart, false);
        const response = await (await offered).response();
        assert.equal((await response.json()).pc_id, id, `turn ${turn}`);
        await untilTone(page, "after");
      }
      await withoutInterruption(page, LISTEN_MS);
      await assertMessages(page);
      assert.equal((await lines(page)).length, 1, "it is the same connection");
      assert.equal(server.lines(/call begins/).length, 1, "it is the same call");
    });
  });

  test("comes back with sound by itself when its path has gone", async (t) => {
    await withClient(async (server, page) => {
      await connect(page);
      await page.evaluate(() => window.app.enableCam(true));
      await until(() => pictures(page), (decoded) => decoded >= 20, "the camera is returned");
      await untilTone(page, "before");
      const { local } = await path(page);
      const restarted = page.waitForRequest((request) =>
        request.method() === "POST" && request.postDataJSON().restart_pc === true,
      { timeout: 40000 });
      restarted.catch(() => {}); // Whoever waits for it is told.
      const begin = Date.now();
      await without(local.port, async () => {
        await server.line(/to=disconnected/, 15000);
        // Five seconds after it has seen that itself.
        const { pc_id: old } = (await restarted).postDataJSON();
        const { pc_id: id } = await (await (await restarted).response()).json();
        assert.notEqual(id, old);
        await server.line(/call ended.*reason=replaced/);
        const offered = Date.now();
        await server.line(/call begins.*Connection#1/);
        await until(() => page.evaluate(() => window.app.sounds()), (times) => times === 2,
          "the page is told of the new sound");
        await untilTone(page, "heard again");
        const heard = Date.now() - offered;
        t.diagnostic(`restarts after ${offered - begin} ms, heard ${heard} ms later`);
      });
      await withoutInterruption(page, LISTEN_MS);
      await until(() => pictures(page), (decoded) => decoded >= 20, "the camera is returned again");
      await assertMessages(page);
      assert.equal(await count(page, "disconnected"), 0, "the application was told nothing");
      assert.equal(server.lines(/call begins/).length, 2);
      const [{ state: left }, { state: now }] = await lines(page);
      assert.deepEqual([left, now], ["closed", "connected"]);
      await page.evaluate(() => window.app.disconnect());
      await server.line(/call ended.*reason=hung up/);
    }, ["--max-sessions", "1"]);
  });

  test("is told when the bot leaves", async () => {
    await withClient(async (server, page) => {
      await connect(page);
      server.signal("SIGTERM");
      await until(() => count(page, "botDisconnected"), (times) => times === 1, "told");
      await until(() => page.evaluate(() => window.app.state()), (now) => now === "disconnected",
        "the client leaves too");
      assert.equal(await server.ended(), 0);
    });
  });

  test("is told the status of a refusal, and asks once", async () => {
    await withClient(async (server, page) => {
      const posts = [];
      page.on("response", (response) => {
        if (response.request().method() === "POST") posts.push(response.status());
      });
      const refused = await connect(page, `${OFFER}s`).then(() => "connected", String);
      assert.match(refused, /WebRTC offer rejected with status 404/);
      assert.deepEqual(posts, [404]);
      page.faults = page.faults.filter((fault) => !fault.includes("404"));
    });
  });
});

/** Nothing leaves this UDP port while the body runs; every other way is open. */
async function without(port, body) {
  const rule = ["ipproto", "udp", "sport", String(port), "blackhole"];
  execFileSync("ip", ["rule", "add", ...rule]);
  try {
    await body();
  } finally {
    execFileSync("ip", ["rule", "delete", ...rule]);
  }
}

/** How many of the bot's pictures the newest connection has decoded. */
async function pictures(page) {
  const video = (entry) => entry.type === "inbound-rtp" && entry.kind === "video";
  return (await stats(page)).find(video)?.framesDecoded ?? 0;
}

/** How many of the screen's pictures have left, once the server has told of them. */
async function screenLeft(page) {
  const all = await stats(page);
  const sent = all.find((entry) => entry.type === "outbound-rtp" && entry.mid === "2");
  const report = (entry) => entry.type === "remote-inbound-rtp" && entry.localId === sent?.id;
  return all.find(report) === undefined ? 0 : sent.framesSent;
}
