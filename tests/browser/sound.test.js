// What a browser makes of our sound: on a clean path, when it is cut off, when packets are lost.

import assert from "node:assert/strict";
import { setPriority } from "node:os";
import { after, before, describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { Browser } from "./lib/browser.js";
import { HTTP, OFFER, withServer } from "./lib/calls.js";
import { Pages } from "./lib/pages.js";
import { Proxy } from "./lib/proxy.js";
import { TONE_HZ } from "./lib/tone.js";
import { until } from "./lib/until.js";

const { SERVER_IP, CLIENT_IP, SPEAKER } = process.env;

/** How long each tone of a clean path is heard. */
const LISTEN_MS = 20000;
/** A browser's buffer finds its length first. */
const SETTLE_MS = 2500;
/**
 * What a browser is to keep in store where nothing may be missing: whatever else the machine does
 * delays the packets of such a call, and is not what is asked for.
 */
const STORE_MS = 250;
/** The browser changes the speed of sound by leaving out or repeating a period or two of it. */
const PERIODS_MS = 12;
/** A tone's own step is 1, a fade of 5 ms adds 0.07 to it, and what Opus adds is around 0.1. */
const STEP_MAX = 1.25;
/** The shortest packet that Opus has is coded worst. */
const STEP_AT_6_KBIT_MAX = 1.6;
/** In periods: 0.1 of one are 11 samples that are missing, or one too many. */
const TURN_MAX = 0.1;
/** Of a tone's level: 50 dB below it. */
const REST_MAX = 0.003;

/** A browser reports every 2.5 to 7.5 s, and the bot looks at reports once a second. */
const CONFIRMED_WITHIN_MS = 9000;
/** How long the tones are, so that they outlast whatever listens to them. */
const TONE_MS = LISTEN_MS + SETTLE_MS + 10000;
/** How many words a call hears, and what one is. */
const WORDS = 4;
const WORD = { do: "say", hz: [TONE_HZ], ms: 1000, rates: [24000] };
/** A pause is longer than what a browser waits for a stream without packets (1 s). */
const WORD_EVERY_MS = 4500;
/** How often a setting is listened to while the machine is too busy for it. */
const ATTEMPTS_MAX = 2;
/** Where something is missing a browser conceals a little more, to come back smoothly. */
const MEND_MS = 25;

/**
 * Settings of the bot, and of what it says: a tone that goes on, or words, with pauses in which
 * something is sent, or little, or nothing. Of two channels the tones have a common period, or a
 * change of speed would be heard in one of them.
 */
const SETTINGS = Object.fromEntries(
  Object.entries({
    "packets of 10 ms": { flags: "packet=10", packetMs: 10 },
    "packets of 20 ms": { flags: "packet=20" },
    "packets of 40 ms": { flags: "packet=40", packetMs: 40 },
    "packets of 60 ms": { flags: "packet=60", packetMs: 60 },
    "blocks of odd lengths": { blocks: [441, 7, 1021, 160, 333] },
    "8 kHz": { rates: [8000] },
    "16 kHz": { rates: [16000] },
    "24 kHz": { rates: [24000] },
    "44.1 kHz": { rates: [44100] },
    "48 kHz": { rates: [48000], flags: "out=48000x1" },
    // Between two rates lies what the filters delay, up to 3 ms of silence: it turns the phase.
    "rates that change": {
      rates: [48000, 16000, 44100, 8000], blocks: [24000, 8000, 22050, 4000],
      holeMs: 5, stepMax: 1.5, turnMax: 0.51,
    },
    stereo: { hz: [TONE_HZ, 2 * TONE_HZ], rates: [48000], flags: "out=48000x2", stereo: true },
    "6 kbit/s": { flags: "bitrate=6000,out=8000x1", stepMax: STEP_AT_6_KBIT_MAX, turnMax: 0.2 },
    "510 kbit/s": { flags: "bitrate=510000,out=48000x1" },
    "complexity 0": { flags: "complexity=0" },
    "complexity 10": { flags: "complexity=10" },
    "silence in pauses": { flags: "idle=silence", words: "silence" },
    "DTX in pauses": { flags: "idle=dtx", words: "dtx" },
    "nothing in pauses": { flags: "idle=nothing", words: "nothing" },
  }).map(([name, setting]) => [
    name,
    {
      hz: [TONE_HZ], rates: [24000], blocks: [], packetMs: 20, holeMs: 0, stepMax: STEP_MAX,
      turnMax: TURN_MAX, storeMs: STORE_MS, ...setting,
    },
  ]),
);

let browser;
let pages;
before(async () => {
  // Program and browsers have it too. When the machine does something else besides, a bot that is
  // late and a browser that is cannot be told from faults of theirs.
  setPriority(-15);
  [browser, pages] = await Promise.all([Browser.open(), Pages.open("listener")]);
});
after(() => Promise.all([browser?.close(), pages?.close()]));

/** Runs the body with a page and a program, all of whose calls then replay identical. */
async function withPage(flags, options, body) {
  let page;
  const evidence = () => page?.faults.join("\n");
  await withServer(flags, async () => {
    page = await browser.page(pages.url("listener"));
    try {
      await body(page);
      assert.deepEqual(page.faults, [], "the page has no faults");
    } finally {
      await page.close();
    }
  }, { evidence, ...options });
}

/** Runs the body with one bot that speaks for each setting, and a call to each from one page. */
async function withSpeakers(settings, body) {
  const names = Object.keys(settings);
  const address = (index) => `${SERVER_IP}:${7870 + index}`;
  const flags = names.map((name, index) =>
    [address(index), settings[name].flags].filter(Boolean).join(","),
  );
  await withPage(flags, { program: SPEAKER }, async (page) => {
    for (const [index, name] of names.entries()) {
      const { stereo, storeMs } = settings[name];
      await open(page, name, `http://${address(index)}/api/offer`, { stereo, storeMs });
    }
    await body(page);
  });
}

function open(page, name, endpoint, options) {
  const open = ([name, endpoint, options]) => window.app.open(name, endpoint, options);
  return page.evaluate(open, [name, endpoint, options]);
}

/** Commands the bots of these calls; gives when. */
function command(page, names, command) {
  const say = ([names, command]) =>
    names.map((name) => window.app.calls.get(name).say(command)).at(-1);
  return page.evaluate(say, [names, command]);
}

/** What the bot of a call has told of this kind, at least so many times. */
async function told(page, name, did, count = 1) {
  const seen = () => page.evaluate((name) => window.app.calls.get(name).told, name);
  const has = (all) => all.filter((one) => one.did === did).length >= count;
  return (await until(seen, has, `${name}: ${did}`)).filter((one) => one.did === did);
}

/** What each call hears while the body runs, by name. */
async function hear(page, kinds, body) {
  await page.evaluate(() => window.app.begin());
  await body();
  return new Map(await page.evaluate((kinds) => window.app.end(kinds), kinds));
}

function sum(all, field) {
  return all.reduce((sum, one) => sum + one[field], 0);
}

/** How long sound lay in the browser's buffer on average. */
function storedMs({ jitterBufferDelay, jitterBufferEmittedCount }) {
  return (1000 * jitterBufferDelay) / jitterBufferEmittedCount;
}

/** How long it was to lie there: as long as it was asked to, or longer when packets came late. */
function targetMs({ jitterBufferTargetDelay, jitterBufferEmittedCount }) {
  return (1000 * jitterBufferTargetDelay) / jitterBufferEmittedCount;
}

describe("on a clean path", () => {
  test("every setting of sound is heard without a click, and nothing is concealed", async (t) => {
    let left = SETTINGS;
    for (let attempt = 1; attempt <= ATTEMPTS_MAX && Object.keys(left).length > 0; attempt += 1) {
      const heard = await listen(left);
      // All are told before any is judged: what is wrong with one may be so with others.
      for (const [name, found] of heard) t.diagnostic(line(name, found));
      for (const [name, found] of heard) {
        const judge = left[name].words ? assertWords : assertTone;
        if (!found.disturbed) judge(name, left[name], found);
      }
      const again = Object.entries(left).filter(([name]) => heard.get(name).disturbed);
      if (attempt === ATTEMPTS_MAX) {
        again.forEach(([name]) => assertExcused(name, heard.get(name)));
      }
      left = Object.fromEntries(again);
    }
  });
});

/** What is heard with each setting, each in a call of its own, all at once. */
async function listen(settings) {
  const names = Object.keys(settings);
  const words = names.filter((name) => settings[name].words);
  const tones = names.filter((name) => !settings[name].words);
  let heard;
  await withSpeakers(settings, async (page) => {
    for (const name of tones) {
      const { hz, rates, blocks } = settings[name];
      await command(page, [name], { do: "say", hz, ms: TONE_MS, rates, blocks });
    }
    // A stream that begins with a pause has another beginning.
    await command(page, words, WORD);
    await sleep(SETTLE_MS);
    const slipped = await slips(page, names);
    const kinds = Object.fromEntries(words.map((name) => [name, "bursts"]));
    heard = await hear(page, kinds, () => sayWords(page, words));
    const slippedMore = await slips(page, names);
    await command(page, names, { do: "clear" });
    for (const [index, name] of names.entries()) {
      const found = heard.get(name);
      const [before, after] = [slipped[index], slippedMore[index]];
      found.slips = after.slips - before.slips;
      found.slippedMs = after.slipped_ms - before.slipped_ms;
      found.disturbed = found.slips > 0 || isLate(found);
      found.finished = await told(page, name, "finished", words.includes(name) ? WORDS + 1 : 0);
      [{ pieces: found.pieces }] = await told(page, name, "clear");
    }
  });
  return heard;
}

/** Says words with pauses between them until the time of listening is over. */
async function sayWords(page, names) {
  const end = Date.now() + LISTEN_MS;
  for (let word = 0; word < WORDS; word += 1) {
    await sleep(500);
    await command(page, names, WORD);
    await sleep(WORD_EVERY_MS - 500);
  }
  await sleep(Math.max(0, end - Date.now()));
}

/** Packets came so late that the browser wants to store more than it was asked to. */
function isLate({ counted }) {
  return targetMs(counted) > STORE_MS + 20;
}

/** How often the bot was so late, in each call, that its clock slipped. */
async function slips(page, names) {
  const count = (names) => names.map((name) => window.app.calls.get(name).told.length);
  const before = await page.evaluate(count, names);
  await command(page, names, { do: "stats" });
  const found = [];
  for (const [index, name] of names.entries()) {
    const seen = () => page.evaluate((name) => window.app.calls.get(name).told, name);
    const newest = (all) => all.slice(before[index]).find(({ did }) => did === "stats");
    found.push(newest(await until(seen, newest, `${name}: stats`)));
  }
  return found;
}

function line(name, { heard, decoded, counted, slips, slippedMs, pieces }) {
  const { concealedSamples: all, silentConcealedSamples: silent } = counted;
  const most = (field) => Math.max(...(heard ?? decoded.tones).map((one) => one[field]));
  const [{ sent, confirmed }] = [...pieces, {}];
  const isWhole = pieces.length === 1;
  const part = isWhole ? `, ${((100 * confirmed) / sent).toFixed(0)} % confirmed` : "";
  return (
    `${name}: concealed ${all} samples, ${silent} of them silent; stored ` +
    `${storedMs(counted).toFixed(0)} of ${targetMs(counted).toFixed(0)} ms; largest step ` +
    `${most("step").toFixed(2)}, turn ${most("turn").toFixed(3)}${part}` +
    `${slips > 0 ? `; the busy machine made ${slips} packets ${slippedMs.toFixed(0)} ms late` : ""}`
  );
}

function assertTone(name, setting, { heard, counted, pieces }) {
  const { hz, packetMs, holeMs, stepMax, turnMax } = setting;
  const text = `${name}: ${JSON.stringify([heard, counted, pieces])}`;
  assert.equal(heard.length, hz.length, text);
  assert.equal(counted.packetsLost, 0, text);
  assert.equal(counted.concealedSamples, 0, text);
  const packets = (heard[0].seconds * 1000) / packetMs;
  assert.ok(Math.abs(counted.packetsReceived / packets - 1) < 0.03, text);
  heard.forEach((channel, index) => {
    assert.ok(channel.seconds * 1000 > LISTEN_MS - 500, text);
    assert.ok(Math.abs(channel.hz / hz[index] - 1) < 0.002, text);
    assert.ok(channel.level > 0.25, text);
    assert.ok(channel.longestMs <= holeMs, text);
    assert.ok(channel.step < stepMax, text);
    assert.ok(channel.turn < turnMax, text);
  });
  // Of pieces that ended nothing is told in the end: of one piece everything is.
  if (pieces.length !== 1) return;
  const [{ sent, dropped, confirmed, played_estimate: played }] = pieces;
  const ms = (samples) => (samples / (sent + dropped)) * TONE_MS;
  assert.ok(ms(sent) > LISTEN_MS + SETTLE_MS, text);
  assert.ok(confirmed <= sent && ms(sent - confirmed) < CONFIRMED_WITHIN_MS, text);
  assert.ok(played <= sent && ms(sent - played) < 300, text);
}

/** What is concealed is what the machine took from the bot, and how the browser mends that. */
function assertExcused(name, found) {
  const { counted, slips, slippedMs } = found;
  const text = `${name}: ${JSON.stringify(found)}`;
  assert.ok(!isLate(found) && slippedMs < LISTEN_MS / 5, `the machine is too busy: ${text}`);
  const audible = counted.concealedSamples - counted.silentConcealedSamples;
  assert.ok(audible <= 48 * (slippedMs + MEND_MS * slips), text);
  assert.equal(counted.packetsLost, 0, text);
}

/** Each word is whole, begins cleanly, and there is nothing between them. */
function assertWords(name, { words }, { decoded, counted, finished }) {
  const text = `${name}: ${JSON.stringify([decoded, counted, finished])}`;
  assert.equal(decoded.tones.length, WORDS, text);
  // To fill its store the browser says words more slowly, and faster when it is too full.
  const longest = WORD.ms + PERIODS_MS + counted.insertedSamplesForDeceleration / 48;
  const shortest = WORD.ms - PERIODS_MS - counted.removedSamplesForAcceleration / 48;
  for (const { ms, hz, step, turn } of decoded.tones) {
    assert.ok(ms < longest && ms > shortest, text);
    assert.ok(Math.abs(hz / TONE_HZ - 1) < 0.002, text);
    assert.ok(step < STEP_MAX, text);
    assert.ok(turn < TURN_MAX, text);
  }
  assert.ok(decoded.rest < REST_MAX, text);
  // A second after the last packet a browser counts what does not come as concealed: all silent.
  const { concealedSamples, silentConcealedSamples } = counted;
  const excused = words === "nothing" ? silentConcealedSamples : 0;
  assert.ok(concealedSamples <= excused, text);
  assert.deepEqual(finished.map(({ samples }) => samples), Array(WORDS + 1).fill(24 * WORD.ms));
}

/** How many times the bot is cut off while the browser has all that it needs. */
const CUTS = 8;
const CUTS_MAX = 30;
/**
 * From the command to silence, the median. What left before the command is heard out: with packets
 * of 20 ms it is 5 ms more on average than with those of 10 ms.
 */
const CUT_MS_MAX = { "packets of 10 ms": 60, "packets of 20 ms": 70 };
/**
 * The least that lies in a browser's buffer on average. What lies there beyond it on a busy machine
 * is not the bot's.
 */
const LEAST_STORED_MS = 30;
/** What the estimate takes for granted (`AudioProgress::played_estimate`). */
const ESTIMATED_STORED_MS = 80;
/** A packet, what the codec and the path take, and the change of the buffer meanwhile. */
const ESTIMATE_ERROR_MS = 35;

describe("barge-in", () => {
  test("is silence in 60 ms, without a step, and the bot knows what was heard", async (t) => {
    const settings = {
      "packets of 10 ms": { flags: "packet=10" },
      "packets of 20 ms": { flags: "packet=20" },
    };
    const names = Object.keys(settings);
    await withSpeakers(settings, async (page) => {
      const listen = (names) =>
        Promise.all(names.map((name) => window.app.calls.get(name).listen()));
      await page.evaluate(listen, names);
      const cuts = new Map(names.map((name) => [name, []]));
      const isEnough = () => [...cuts.values()].every((all) => all.length >= CUTS);
      for (let turn = 0; turn < CUTS_MAX && !isEnough(); turn += 1) {
        for (const [name, cut] of await cutOff(page, names, turn)) {
          // The first finds a browser that only begins; a gap that it conceals is no tone.
          if (turn > 0 && cut.concealed === 0) cuts.get(name).push(cut);
        }
      }
      for (const [name, all] of cuts) {
        for (const cut of all) {
          const text = Object.entries(cut).map(([name, value]) => `${name} ${value.toFixed(2)}`);
          t.diagnostic(`${name}: ${text.join(", ")}`);
        }
        assert.ok(all.length >= CUTS, `the machine is too busy: ${all.length} cuts`);
        all.forEach(assertCut);
      }
      for (const [name, all] of cuts) {
        const ms = medianSilentMs(t, name, all);
        assert.ok(ms <= CUT_MS_MAX[name], `${name}: ${ms} ms`);
      }
    });
  });
});

/** How long it took until silence with the browser's least buffer; tells how it was measured. */
function medianSilentMs(t, name, cuts) {
  const own = ({ silentMs, storedMs }) => silentMs - Math.max(0, storedMs - LEAST_STORED_MS);
  const sorted = (value) => cuts.map(value).sort((a, b) => a - b);
  const middle = (values) => values[Math.floor(values.length / 2)];
  const heard = sorted(({ silentMs }) => silentMs);
  const times = sorted(own);
  const played = sorted(({ playedSilentMs }) => playedSilentMs);
  t.diagnostic(
    `${name}: silent after ${middle(heard).toFixed(1)} ms (median), at most ` +
      `${heard.at(-1).toFixed(1)}; with ${LEAST_STORED_MS} ms in the browser's buffer ` +
      `${middle(times).toFixed(1)}, at most ${times.at(-1).toFixed(1)}; behind Web Audio's own ` +
      `${middle(played).toFixed(1)} ms`,
  );
  return middle(times);
}

/** Has the bots speak and cuts them off; tells what was heard and what they say of it, by name. */
async function cutOff(page, names, turn) {
  const kinds = Object.fromEntries(names.map((name) => [name, "bursts"]));
  const heard = await hear(page, kinds, async () => {
    await command(page, names, { do: "say", hz: [TONE_HZ], ms: 3000, rates: [48000] });
    // Each time at another place between two packets.
    await sleep(800 + 7 * turn);
    await command(page, names, { do: "clear" });
    await sleep(300);
  });
  const cuts = new Map();
  for (const name of names) {
    const report = (await told(page, name, "clear", turn + 1)).at(-1);
    cuts.set(name, judged(heard.get(name), report));
  }
  return cuts;
}

function judged({ decoded, heard: played, counted }, { cleared_ms: cleared, pieces: [piece] }) {
  assert.equal(decoded.tones.length, 1, JSON.stringify(decoded));
  const end = ({ since, tones }) => since + tones.at(-1).atMs + tones.at(-1).ms - cleared;
  const [{ atMs, ms, step }] = decoded.tones;
  const changed = counted.insertedSamplesForDeceleration - counted.removedSamplesForAcceleration;
  return {
    silentMs: end(decoded),
    playedSilentMs: end(played),
    step,
    rest: decoded.rest,
    longerMs: ms - (piece.sent + changed) / 48,
    estimateShortMs: cleared - decoded.since - atMs - piece.played_estimate / 48,
    storedMs: storedMs(counted),
    concealed: counted.concealedSamples,
  };
}

function assertCut(cut) {
  const text = JSON.stringify(cut);
  assert.ok(cut.step < STEP_MAX, text);
  assert.ok(cut.rest < REST_MAX, text);
  // What was said to be sent, all of it and nothing else, is heard.
  assert.ok(Math.abs(cut.longerMs) < PERIODS_MS, text);
  // The estimate is as far off as the buffer is from where it is taken to be.
  const error = cut.estimateShortMs - (ESTIMATED_STORED_MS - cut.storedMs);
  assert.ok(Math.abs(error) < ESTIMATE_ERROR_MS, text);
}

/** The part of the datagrams that are lost, each way. */
const LOSS = 0.05;
const SEED = 20;
/** What may be concealed of it: a fifth of what is lost. */
const CONCEALED_MAX = 0.01;
/** With packets of 20 ms two that are lost in a row, and what leads to them and away. */
const DROP_OUT_MS_MAX = 60;

/** A path that loses nothing tells by how little is concealed there that the machine has time. */
const CALM_MAX = 0.002;
const LOSSY_MS = 15000;

describe("with 5 % of the datagrams lost each way", () => {
  test("the echo has its pitch and no drop-outs, and next to nothing is concealed", async (t) => {
    for (let attempt = 1; ; attempt += 1) {
      const { lossy, whole, ways } = await listenToEchoes(SEED + attempt);
      const isCalm = concealed(whole) < CALM_MAX;
      for (const [name, found] of [["lossy", lossy], ["whole", whole]]) {
        t.diagnostic(echoLine(name, found));
      }
      t.diagnostic(ways.map(({ came, lost }) => `${lost} of ${came} lost`).join(", "));
      if (isCalm || attempt === ATTEMPTS_MAX) return assertEcho(lossy, whole, ways);
    }
  });
});

/** The echo of two calls at once: over a path that loses some, and over one that does not. */
async function listenToEchoes(seed) {
  const target = { host: SERVER_IP, port: 7860 };
  const paths = { lossy: await Proxy.open(CLIENT_IP, target, seed) };
  paths.whole = await Proxy.open(CLIENT_IP, target, seed);
  let heard;
  try {
    await withPage(HTTP, {}, async (page) => {
      for (const [name, { place }] of Object.entries(paths)) {
        await open(page, name, OFFER, { talks: true, via: place });
      }
      await sleep(SETTLE_MS);
      paths.lossy.lose(LOSS);
      await sleep(1000);
      heard = await hear(page, {}, () => sleep(LOSSY_MS));
    });
  } finally {
    await Promise.all(Object.values(paths).map((path) => path.close()));
  }
  const { there, back } = paths.lossy;
  return { lossy: heard.get("lossy"), whole: heard.get("whole"), ways: [there, back] };
}

/** The part of the sound that the browser made up. */
function concealed({ counted }) {
  return counted.concealedSamples / counted.totalSamplesReceived;
}

function echoLine(name, found) {
  const { heard: [tone], counted } = found;
  return (
    `${name}: the browser missed ${counted.packetsLost} of ` +
    `${counted.packetsLost + counted.packetsReceived} packets and concealed ` +
    `${(100 * concealed(found)).toFixed(2)} %; ${tone.hz.toFixed(2)} Hz, drop-outs of ` +
    `${sum(tone.holes, "ms")} ms, the longest ${tone.longestMs} ms; stored ` +
    `${storedMs(counted).toFixed(0)} ms`
  );
}

/** What the whole path conceals and lacks is the machine's, and so is as much of the other one. */
function assertEcho(lossy, whole, ways) {
  const text = JSON.stringify([lossy, whole, ways]);
  const { heard: [tone], counted } = lossy;
  const { heard: [wholeTone] } = whole;
  for (const { came, lost } of ways) assert.ok(came > 500 && lost / came > LOSS / 2, text);
  assert.ok(counted.packetsLost > 15, text);
  assert.ok(concealed(lossy) - concealed(whole) < CONCEALED_MAX, text);
  assert.ok(Math.abs(tone.hz / TONE_HZ - 1) < 0.002, text);
  assert.ok(tone.longestMs - wholeTone.longestMs <= DROP_OUT_MS_MAX, text);
  const missingMs = sum(tone.holes, "ms") - sum(wholeTone.holes, "ms");
  assert.ok(missingMs / LOSSY_MS < CONCEALED_MAX, text);
}
