// What the browser's statistics say of the call, once a second: plots and figures.

import { Plot } from "./plot.js";

const INTERVAL_MS = 1000;

const at = (id) => document.getElementById(id);

export class NetworkView {
  #call;
  #plots;
  #before = null;
  #since = null;

  constructor(call) {
    this.#call = call;
    const both = ["--in", "--out"];
    const plot = (id, options) => new Plot(at(`plot-${id}`), at(`${id}-now`), options);
    this.#plots = {
      rtt: plot("rtt", { name: "Round trip", unit: "ms", floor: 10, colors: ["--in"] }),
      jitter: plot("jitter", { name: "Jitter", unit: "ms", floor: 10, colors: both }),
      loss: plot("loss", { name: "Loss", unit: "%", floor: 5, colors: both }),
    };
    call.addEventListener("state", ({ detail: { state } }) => this.#onState(state));
  }

  run() {
    setInterval(() => this.#tick(), INTERVAL_MS);
  }

  #onState(state) {
    if (state === "connecting") {
      this.#since = null;
      for (const plot of Object.values(this.#plots)) plot.clear();
    }
    if (state === "connected") this.#since ??= performance.now();
    if (state === "disconnected") this.#before = null;
  }

  async #tick() {
    if (this.#since === null) return;
    const report = await this.#call.stats();
    if (report) this.#show(read(report));
  }

  #show(now) {
    const before = this.#before ?? now;
    this.#before = now;
    const seconds = (now.time - before.time) / 1000;
    this.#plots.rtt.push([now.rtt]);
    this.#plots.jitter.push([now.jitterIn, now.jitterOut]);
    this.#plots.loss.push([lossIn(before, now), now.lossOut]);
    at("duration").textContent = duration((performance.now() - this.#since) / 1000);
    at("rate-in").textContent = rate(now.bytesIn - before.bytesIn, seconds);
    at("rate-out").textContent = rate(now.bytesOut - before.bytesOut, seconds);
    at("path").textContent = now.path;
  }
}

/** The few figures that are shown, in ms and percent; null where the browser knows none. */
function read(report) {
  const all = [...report.values()];
  const transport = all.find((entry) => entry.type === "transport");
  const pair = report.get(transport?.selectedCandidatePairId);
  const inbound = all.find((entry) => entry.type === "inbound-rtp" && entry.kind === "audio");
  const remote = all.find((entry) => entry.type === "remote-inbound-rtp" && entry.kind === "audio");
  const ms = (seconds) => (seconds === undefined ? null : seconds * 1000);
  return {
    time: transport?.timestamp ?? performance.now(),
    rtt: ms(pair?.currentRoundTripTime),
    jitterIn: ms(inbound?.jitter),
    jitterOut: ms(remote?.jitter),
    lossOut: remote?.fractionLost === undefined ? null : remote.fractionLost * 100,
    lost: inbound?.packetsLost ?? 0,
    received: inbound?.packetsReceived ?? 0,
    bytesIn: transport?.bytesReceived ?? 0,
    bytesOut: transport?.bytesSent ?? 0,
    path: path(report, pair),
  };
}

function path(report, pair) {
  const address = (id) => {
    const candidate = report.get(id);
    return candidate ? `${candidate.address ?? "?"}:${candidate.port}` : "?";
  };
  return pair ? `${address(pair.localCandidateId)} → ${address(pair.remoteCandidateId)}` : "–";
}

function lossIn(before, now) {
  const lost = Math.max(0, now.lost - before.lost);
  const all = lost + now.received - before.received;
  return all > 0 ? (100 * lost) / all : null;
}

function rate(bytes, seconds) {
  return seconds > 0 ? `${Math.max(0, Math.round((bytes * 8) / seconds / 1000))} kbit/s` : "–";
}

function duration(seconds) {
  const whole = Math.floor(seconds);
  return `${Math.floor(whole / 60)}:${String(whole % 60).padStart(2, "0")}`;
}
