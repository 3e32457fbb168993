// A page with many calls at once, each of which judges itself what it hears.

import { analyse, bursts, dialled, smoothness } from "../tone.js";
import { DecodedEar, PlayedEar } from "./ears.js";

/** What is asked of the browser's statistics of a track; they all only grow. */
const COUNTERS = [
  "totalSamplesReceived", "concealedSamples", "silentConcealedSamples", "concealmentEvents",
  "insertedSamplesForDeceleration", "removedSamplesForAcceleration", "jitterBufferDelay",
  "jitterBufferEmittedCount", "jitterBufferTargetDelay", "packetsReceived", "packetsLost",
  "packetsDiscarded", "fecPacketsReceived",
];
/** The tone is to come back as it was played. */
const AUDIO = { echoCancellation: false, noiseSuppression: false, autoGainControl: false };

class Call {
  /** What the bot told, and when. */
  told = [];
  #connection = new RTCPeerConnection();
  #channel;
  #track;
  #decoded;
  #played;
  #before;

  /**
   * Calls, and gives the answer. `microphone`: with sound both ways. `stereo` asks for two
   * channels, as a page has to that wants them (RFC 7587). `storeMs` is how much sound the browser
   * is to keep in store, against jitter. `via` is where the way to the bot leads, and no other way
   * is told: neither does the page hear of the bot's address, nor it of the page's.
   */
  async open(endpoint, { microphone = null, stereo = false, storeMs = null, via = null } = {}) {
    this.#connection.ontrack = ({ track }) => this.#hear(track);
    const direction = microphone === null ? "recvonly" : "sendrecv";
    const { receiver } = this.#connection.addTransceiver(microphone ?? "audio", { direction });
    receiver.jitterBufferTarget = storeMs;
    this.#channel = this.#connection.createDataChannel("chat", { ordered: true });
    this.#channel.onmessage = ({ data }) => this.told.push({ at: Date.now(), ...JSON.parse(data) });
    const opened = new Promise((resolve) => (this.#channel.onopen = resolve));
    const offer = await this.#connection.createOffer();
    if (stereo) offer.sdp = offer.sdp.replace("useinbandfec=1", "useinbandfec=1;stereo=1");
    await this.#connection.setLocalDescription(offer);
    await this.#collected();
    let { sdp } = this.#connection.localDescription;
    if (via !== null) sdp = sdp.replace(/^a=candidate:.*\r\n/gm, "");
    const answer = await post(endpoint, { sdp, type: "offer" });
    if (via !== null) {
      answer.sdp = answer.sdp.replace(/^(a=candidate:\S+ \d \S+ \d+) \S+ \d+/gm, `$1 ${via}`);
    }
    await this.#connection.setRemoteDescription({ type: answer.type, sdp: answer.sdp });
    await opened;
    return answer.sdp;
  }

  #hear(track) {
    const audio = document.createElement("audio");
    [audio.autoplay, audio.srcObject] = [true, new MediaStream([track])];
    document.body.append(audio);
    this.#track = track;
    this.#decoded = new DecodedEar(track);
  }

  /** From now on hears what is played too. */
  async listen() {
    this.#played = await PlayedEar.listen(this.#track);
  }

  /** All candidates are in the description. */
  async #collected() {
    while (this.#connection.iceGatheringState !== "complete") {
      await new Promise((resolve) => {
        this.#connection.addEventListener("icegatheringstatechange", resolve, { once: true });
      });
    }
  }

  /** Sends a command; gives when. */
  say(command) {
    const text = JSON.stringify(command);
    const at = Date.now();
    this.#channel.send(text);
    return at;
  }

  async counters() {
    const all = [...(await this.#connection.getStats()).values()];
    const track = all.find(({ type, kind }) => type === "inbound-rtp" && kind === "audio");
    return COUNTERS.map((name) => track?.[name] ?? 0);
  }

  /** Listens from now on. */
  async begin() {
    this.#before = await this.counters();
    this.#decoded.clear();
    this.#played?.clear();
  }

  /** What was heard since, to be judged later: judging takes the processor's time. */
  async end() {
    const { rate, jumpMs } = this.#decoded;
    const since = this.#decoded.since();
    const channels = this.#decoded.take();
    const played = this.#played?.take();
    const now = await this.counters();
    const counted = now.map((value, index) => [COUNTERS[index], value - this.#before[index]]);
    this.#ended = { rate, jumpMs, since, channels, played, counted: Object.fromEntries(counted) };
  }
  #ended;

  /** A tone that did not stop, channel by channel, and what the browser counted. */
  tone() {
    const { rate, jumpMs, channels, counted } = this.#ended;
    const heard = channels.map((samples) => {
      const found = analyse(samples, rate);
      return { ...found, ...smoothness(samples, rate, found) };
    });
    return { heard, jumpMs, counted };
  }

  /** Tones with silence between them: as they were decoded, and when they were played. */
  bursts() {
    const { rate, jumpMs, since, channels, counted, played } = this.#ended;
    const decoded = { since, ...bursts(channels[0], rate) };
    const heard = played && { since: played.since, ...bursts(played.samples, played.rate) };
    return { decoded, jumpMs, counted, heard };
  }

  /** Keys of a telephone, and what was heard in the half second before the end. */
  keys() {
    const { rate, jumpMs, channels: [samples], counted } = this.#ended;
    const last = analyse(samples.subarray(-rate / 2), rate);
    return { keys: dialled(samples, rate), last, jumpMs, counted };
  }

  async close() {
    await this.#played?.close();
    this.#connection.close();
  }
}

async function post(endpoint, offer) {
  const headers = { "content-type": "application/json" };
  const response = await fetch(endpoint, { method: "POST", headers, body: JSON.stringify(offer) });
  const answer = await response.json();
  if (!response.ok) throw new Error(`${response.status}: ${JSON.stringify(answer)}`);
  return answer;
}

const calls = new Map();

window.app = {
  calls,

  /** Opens a call, which has a name from now on. */
  async open(name, endpoint, { talks = false, ...options } = {}) {
    // Only a page that may capture tells the addresses of all interfaces.
    const stream = await navigator.mediaDevices.getUserMedia({ audio: AUDIO });
    const [microphone] = stream.getTracks();
    if (!talks) microphone.stop();
    const call = new Call();
    calls.set(name, call);
    return call.open(endpoint, { microphone: talks ? microphone : null, ...options });
  },

  /** All calls listen from now on. */
  begin: () => Promise.all([...calls.values()].map((call) => call.begin())),

  /** What each has heard since: as the kind of a name says, else as `tone`. */
  async end(kinds) {
    await Promise.all([...calls.values()].map((call) => call.end()));
    return [...calls].map(([name, call]) => [name, call[kinds[name] ?? "tone"]()]);
  },
};
