// Keys of a telephone (DTMF, RFC 4733): a page presses them while it speaks.

import assert from "node:assert/strict";
import { setPriority } from "node:os";
import { after, before, describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { Browser } from "./lib/browser.js";
import { HTTP, OFFER, untilTone, withoutInterruption, withServer } from "./lib/calls.js";
import { Firefox } from "./lib/firefox.js";
import { Pages } from "./lib/pages.js";
import { Server } from "./lib/server.js";
import { TONE_HZ } from "./lib/tone.js";
import { until } from "./lib/until.js";

const { SERVER_IP, SPEAKER } = process.env;

/** How long the echo is heard afterwards. */
const LISTEN_MS = 3000;

/** A browser ends a key with the packet of sound in which its time is over. */
const PACKET_MS = 20;
/** The most that one telephone event says, by the clock of Opus; what is longer is several. */
const EVENT_MS = 1365;
/**
 * The browsers, and what a key is longer at most than it was pressed. Chromium begins each further
 * event with a packet of sound, and leaves out what falls into the packet in which one was full.
 * Firefox has no telephone events at the clock of Opus: it counts a packet of sound as 960 by a
 * clock of 8 kHz, which is 120 ms.
 */
const BROWSERS = {
  Chromium: { kind: Browser, lateMs: (ms) => PACKET_MS * (1 + Math.floor(ms / EVENT_MS)) },
  Firefox: { kind: Firefox, lateMs: () => 6 * PACKET_MS },
};

/**
 * What is pressed, each after the other: the keys, how long each is, and the gap. Those that are
 * longer than one event can say are one key all the same, also where it ends as the event is full.
 */
const PRESSED = [
  { keys: "159#", ms: 100, gapMs: 70 },
  { keys: "0000", ms: 40, gapMs: 30 },
  { keys: "2,*aD", ms: 160, gapMs: 100 },
  { keys: "6", ms: 1370, gapMs: 70 },
  { keys: "78", ms: 3000, gapMs: 70 },
];

let pages;
before(async () => {
  // When the machine does something else besides, a late bot cannot be told from a fault.
  setPriority(-15);
  pages = await Pages.open("caller", "listener");
});
after(() => pages?.close());

for (const [name, { kind, lateMs }] of Object.entries(BROWSERS)) {
  describe(name, () => {
    let browser;
    before(async () => {
      browser = await kind.open();
    });
    after(() => browser?.close());

    test("presses keys: the bot hears each once, and the echo goes on", async (t) => {
      let page;
      const evidence = async () => JSON.stringify([page.faults, await seen(page)]);
      await withServer(HTTP, async (server) => {
        page = await browser.page(pages.url("caller"));
        await page.evaluate((url) => window.app.open(url), OFFER);
        await untilTone(page, "the bot is heard");
        for (const pressed of PRESSED) await press(page, pressed);
        await untilTone(page, "the bot is heard again");
        await withoutInterruption(page, LISTEN_MS);
        await page.evaluate(() => window.app.close());
        await server.line(/call ended.*reason=hung up/);
        assert.deepEqual(page.faults, [], "the page has no faults");
        return ([log]) => assertHeard(t, log, lateMs);
      }, { detail: "full", evidence }).finally(() => page?.close());
    });
  });
}

function seen(page) {
  return page.evaluate(() => window.app.seen);
}

/** Presses keys, and waits until the last one is over. */
async function press(page, { keys, ms, gapMs }) {
  const before = (await seen(page)).keys.length;
  const press = ([keys, ms, gapMs]) => window.app.press(keys, ms, gapMs);
  assert.equal(await page.evaluate(press, [keys, ms, gapMs]), true, "the bot takes keys");
  const isOver = ({ keys }) => keys.length > before && keys.at(-1) === "";
  const { keys: all } = await until(() => seen(page), isOver, keys, 20000);
  assert.equal(all.slice(before).join("").toUpperCase(), keys.toUpperCase());
}

/** By the log of the call each key was heard once, in order, for as long as it was pressed. */
function assertHeard(t, log, lateMs) {
  const heard = [...log.matchAll(/key (.) pressed for ([0-9.]+) s/g)].map(
    ([, key, seconds]) => ({ key, ms: Math.round(Number(seconds) * 1000) }),
  );
  const expected = PRESSED.flatMap(({ keys, ms }) =>
    [...keys.toUpperCase().replaceAll(",", "")].map((key) => ({ key, ms })),
  );
  t.diagnostic(heard.map(({ key, ms }) => `${key} ${ms} ms`).join(", "));
  assert.deepEqual(heard.map(({ key }) => key), expected.map(({ key }) => key));
  heard.forEach(({ ms }, index) => {
    const pressedMs = expected[index].ms;
    const isRight = ms > pressedMs - PACKET_MS && ms <= pressedMs + lateMs(pressedMs);
    assert.ok(isRight, `${JSON.stringify(heard[index])}, pressed for ${pressedMs} ms`);
  });
}

/** A browser's buffer finds its length first, and keeps so much in store that nothing is late. */
const SETTLE_MS = 2500;
const STORE_MS = 250;
/** How long the bot speaks after keys, and altogether. */
const SPEAK_MS = 1000;
const TONE_MS = 20000;
/** A span of what is heard and a packet: so much shorter or longer a key may seem. */
const HEARD_MS = 45;
/** What is missing of the sound when the machine made the bot late once. */
const SLIP_MS = 45;
/** What the bot presses while it speaks. */
const DIALLED = [
  { keys: "159#", ms: 100, gap_ms: 70 },
  { keys: "2*0D", ms: 200, gap_ms: 100 },
  { keys: "7", ms: 3000, gap_ms: 70 },
];

describe("a bot that speaks", () => {
  let browser;
  before(async () => {
    browser = await Browser.open();
  });
  after(() => browser?.close());

  test("presses keys: Chromium plays each once, misses nothing, and the speech goes on", async (t) => {
    const server = await Server.start([`${SERVER_IP}:7860`], { program: SPEAKER });
    const page = await browser.page(pages.url("listener"));
    let found;
    try {
      const open = ([endpoint, storeMs]) => window.app.open("call", endpoint, { storeMs });
      await page.evaluate(open, [OFFER, STORE_MS]);
      await say(page, { do: "say", hz: [TONE_HZ], ms: TONE_MS, rates: [48000] });
      await sleep(SETTLE_MS);
      const before = await slips(page);
      await page.evaluate(() => window.app.begin());
      for (const [index, dialled] of DIALLED.entries()) {
        await say(page, { do: "dial", ...dialled });
        const isOver = (all) => all.filter(({ did }) => did === "dial").length > index;
        await until(() => told(page), isOver, dialled.keys);
        await sleep(SPEAK_MS);
      }
      [[, found]] = await page.evaluate(() => window.app.end({ call: "keys" }));
      found.slips = (await slips(page)) - before;
      assert.deepEqual(page.faults, [], "the page has no faults");
    } catch (error) {
      console.error(`${server.lines(/./).join("\n")}\n${page.faults.join("\n")}`);
      throw error;
    } finally {
      await page.close();
      await server.stop();
    }
    assertPlayed(t, found);
    assert.equal((await server.replay()).size, 1);
  });
});

/** What Chromium played: each key once, in order, and nothing in the place of what did not come. */
function assertPlayed(t, { keys, last, counted, slips }) {
  const { packetsReceived, packetsLost, concealedSamples } = counted;
  t.diagnostic(
    `${keys.map(({ key, ms }) => `${key} ${ms} ms`).join(", ")}; ${packetsLost} of ` +
      `${packetsReceived + packetsLost} packets missed, ${concealedSamples} samples concealed`,
  );
  const text = JSON.stringify([keys, last, counted, slips]);
  const expected = DIALLED.flatMap(({ keys, ms }) => [...keys].map((key) => ({ key, ms })));
  assert.deepEqual(keys.map(({ key }) => key), expected.map(({ key }) => key), text);
  keys.forEach(({ ms }, index) => {
    assert.ok(Math.abs(ms - expected[index].ms) <= HEARD_MS, `${index}: ${text}`);
  });
  assert.equal(packetsLost, 0, text);
  assert.ok(concealedSamples <= 48 * SLIP_MS * slips, text);
  assert.ok(last.level > 0.25 && Math.abs(last.hz / TONE_HZ - 1) < 0.002, text);
  assert.equal(last.longestMs, 0, text);
}

/** What the bot has told. */
function told(page) {
  return page.evaluate(() => window.app.calls.get("call").told);
}

/** How often the bot was so late that its clock slipped. */
async function slips(page) {
  const before = (await told(page)).length;
  await say(page, { do: "stats" });
  const newest = (all) => all.slice(before).find(({ did }) => did === "stats");
  return newest(await until(() => told(page), newest, "stats")).slips;
}

/** Tells the bot what to do. */
function say(page, command) {
  return page.evaluate((command) => window.app.calls.get("call").say(command), command);
}
