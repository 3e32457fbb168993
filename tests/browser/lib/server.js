// The program under test, in its own network namespace. It records every call, and what it has
// recorded is replayed when it has ended.

import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { mkdtempSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";

const { SMALLRTC, SERVER_NETNS, RECORDINGS } = process.env;

/** How long the program may take to print its address. */
const START_MS = 10000;
/** A printed log of a minute has some MB. */
const LOG = { encoding: "utf8", maxBuffer: 256 * 1024 * 1024 };

export class Server {
  url = "";
  #process;
  #lines = [];
  #waiting = [];
  #ended;
  #recordings;

  /**
   * Starts it with flags; `here` means in the browser's namespace rather than its own, `detail`
   * how much of media and messages is recorded. `program` is another one in its place, which
   * takes where to record and no more of that.
   */
  static async start(flags, { here = false, detail = "sizes", program = SMALLRTC } = {}) {
    const server = new Server();
    server.#recordings = mkdtempSync(join(RECORDINGS, "server-"));
    const details = ["--record-media", detail, "--record-messages", detail];
    const record = ["--record", server.#recordings, ...(program === SMALLRTC ? details : [])];
    const command = [program, ...record, ...flags];
    const [first, ...rest] = here ? command : ["ip", "netns", "exec", SERVER_NETNS, ...command];
    const env = { ...process.env, RUST_LOG: "info", NO_COLOR: "1" };
    server.#process = spawn(first, rest, { env, stdio: ["ignore", "pipe", "pipe"] });
    server.#ended = new Promise((resolve) =>
      server.#process.on("exit", (code, signal) => resolve(code ?? signal)),
    );
    for (const stream of [server.#process.stdout, server.#process.stderr]) {
      createInterface({ input: stream }).on("line", (line) => server.#hear(line));
    }
    server.url = (await server.line(/^open (http\S+)/, START_MS))[1];
    return server;
  }

  /** The match of the first line, printed already or within `ms`, that fits the pattern. */
  line(pattern, ms = 5000) {
    const found = this.#lines.map((line) => line.match(pattern)).find(Boolean);
    if (found) return Promise.resolve(found);
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        const all = this.#lines.join("\n");
        reject(new Error(`the server never said ${pattern}; it said:\n${all}`));
      }, ms);
      this.#waiting.push({ pattern, resolve, timer });
    });
  }

  /** Every line so far that fits. */
  lines(pattern) {
    return this.#lines.filter((line) => pattern.test(line));
  }

  /** Sends a signal. */
  signal(name) {
    this.#process.kill(name);
  }

  /** The exit code, or the signal's name. */
  async ended(ms = 5000) {
    const late = new Promise((resolve) => setTimeout(resolve, ms, "still running").unref());
    return Promise.race([this.#ended, late]);
  }

  /** Ends it, by force when it does not end by itself. */
  async stop() {
    this.signal("SIGTERM");
    if ((await this.ended()) === "still running") this.signal("SIGKILL");
    await this.#ended;
  }

  /**
   * Replays every call that was recorded; asserts that each went the same way, and that each log
   * has its end, unless the program was not given the time to write it. What was printed, by file.
   */
  async replay() {
    const isWhole = (await this.#ended) === 0;
    const told = new Map();
    for (const name of readdirSync(this.#recordings)) {
      const file = join(this.#recordings, name);
      const command = [SMALLRTC, ["replay", file], { encoding: "utf8" }];
      const { status, stdout, stderr } = spawnSync(...command);
      assert.equal(status, 0, `${file}: ${stdout}${stderr}`);
      assert.match(stdout, /^identical: \d+ calls/m, file);
      if (isWhole) assert.equal(stderr, "", file);
      else assert.doesNotMatch(stderr, /warning|error/, file);
      told.set(file, stdout);
    }
    return told;
  }

  /** The log of each call, as the program prints it, in the order of their names. */
  logs() {
    return readdirSync(this.#recordings).sort().map((name) => {
      const command = [SMALLRTC, ["show", join(this.#recordings, name)]];
      const { status, stdout, stderr } = spawnSync(...command, LOG);
      assert.equal(status, 0, `${name}: ${stderr}`);
      return stdout;
    });
  }

  #hear(line) {
    this.#lines.push(line);
    this.#waiting = this.#waiting.filter(({ pattern, resolve, timer }) => {
      const found = line.match(pattern);
      if (!found) return true;
      clearTimeout(timer);
      resolve(found);
      return false;
    });
  }
}
