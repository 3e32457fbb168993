// One call over the SmallWebRTC protocol, spoken as Pipecat's JavaScript client speaks it
// (smallWebRTCTransport.ts): the client offers, the server answers; messages and signalling go
// over the data channel "chat".
//
// Events: "state" {state, reason, bad}, "message" {data}, "track" {track}, "open".
// States: disconnected, connecting, connected (media flows), ready (the bot said so),
// reconnecting.

/** The JavaScript client's ping interval. */
const PING_MS = 1000;
/** Candidates are collected this long and go out as one PATCH. */
const CANDIDATES_MS = 200;
/** ICE may be disconnected this long before the call is restarted. */
const DISCONNECTED_MS = 5000;
/** How long one attempt to reconnect may take before the next begins. */
const ATTEMPT_MS = 8000;
/** The pause before an attempt when the server could not be reached. */
const RETRY_MS = 2000;
/** How often reconnecting is tried. */
const ATTEMPTS_MAX = 3;
/** How long a request may take: the server gathers addresses before it answers. */
const REQUEST_MS = 10000;

/** Answers of the server that another attempt would not change. */
class Refused extends Error {}

export class Call extends EventTarget {
  #url;
  #pc = null;
  #channel = null;
  #pcId = null;
  #tracks = [null, null];
  #enabled = [true, false];
  #state = "disconnected";
  #attempts = 0;
  #negotiating = false;
  #again = false;
  #candidates = [];
  #timers = new Map();
  #clientReadyId = "";

  constructor(url = "api/offer") {
    super();
    this.#url = url;
  }

  get state() {
    return this.#state;
  }

  /** Starts the call. Either track may be null. */
  async connect(audio, video) {
    this.#tracks = [audio, video];
    this.#enabled = [audio !== null, video !== null];
    this.#attempts = 0;
    this.#pcId = null;
    this.#become("connecting", "Connecting…");
    await this.#recreate(false);
  }

  /** Ends the call: closing the connection tells the server at once. */
  hangUp(reason = "You hung up.") {
    this.#end(reason, false);
  }

  /** Switches the microphone on or off. The track goes on, silent, as the protocol expects. */
  setMicrophone(on) {
    this.#enabled[0] = on;
    if (this.#tracks[0]) this.#tracks[0].enabled = on;
    this.#tellTrackStatus(0);
  }

  /** Sends the camera's track, or nothing when it is null. No new offer is needed. */
  async setCamera(track) {
    this.#tracks[1] = track;
    this.#enabled[1] = track !== null;
    await this.#pc?.getTransceivers()[1].sender.replaceTrack(track);
    this.#tellTrackStatus(1);
  }

  /** Sends text; false when no channel is open. */
  send(text) {
    if (this.#channel?.readyState !== "open") return false;
    this.#channel.send(text);
    return true;
  }

  /** Moves the call to newly gathered addresses; it stays the same call. */
  restartIce() {
    if (!this.#pc || !this.#pcId) return;
    this.#pc.restartIce();
    this.#negotiate(false);
  }

  async stats() {
    return this.#pc ? this.#pc.getStats() : null;
  }

  #become(state, reason, bad = false) {
    this.#state = state;
    this.dispatchEvent(new CustomEvent("state", { detail: { state, reason, bad } }));
  }

  #end(reason, bad) {
    if (this.#state === "disconnected") return;
    this.#drop();
    this.#pcId = null;
    this.#become("disconnected", reason, bad);
  }

  #drop() {
    for (const timer of this.#timers.values()) clearTimeout(timer);
    this.#timers.clear();
    const pc = this.#pc;
    this.#pc = null;
    this.#channel = null;
    this.#candidates = [];
    this.#negotiating = false;
    this.#again = false;
    pc?.close();
  }

  /** One timer of each name at a time. */
  #after(name, ms, action) {
    clearTimeout(this.#timers.get(name));
    this.#timers.set(name, setTimeout(action, ms));
  }

  #cancel(name) {
    clearTimeout(this.#timers.get(name));
    this.#timers.delete(name);
  }

  /** A new connection in place of the one before, if any. */
  async #recreate(restart) {
    this.#drop();
    const pc = new RTCPeerConnection();
    this.#pc = pc;
    // The server goes by the order of m-lines: microphone, camera, screen (unused here, but the
    // JavaScript client always offers it).
    pc.addTransceiver("audio", { direction: "sendrecv" });
    pc.addTransceiver("video", { direction: "sendrecv" });
    pc.addTransceiver("video", { direction: "sendonly" });
    this.#tracks.forEach((track, index) => pc.getTransceivers()[index].sender.replaceTrack(track));
    this.#openChannel(pc.createDataChannel("chat", { ordered: true }));
    pc.ontrack = ({ track }) =>
      this.dispatchEvent(new CustomEvent("track", { detail: { track } }));
    pc.onicecandidate = ({ candidate }) => candidate && this.#trickle(pc, candidate);
    pc.oniceconnectionstatechange = () => this.#onIce(pc);
    pc.onconnectionstatechange = () => this.#onConnection(pc);
    await this.#negotiate(restart);
  }

  /** One offer at a time; a wish for another while one is under way is kept. */
  async #negotiate(restart) {
    const pc = this.#pc;
    if (!pc) return;
    if (this.#negotiating) {
      this.#again = true;
      return;
    }
    this.#negotiating = true;
    let fault = null;
    try {
      await this.#exchange(pc, restart);
    } catch (error) {
      fault = error;
    }
    // Meanwhile the call may have ended, or have another connection with its own negotiation.
    if (pc !== this.#pc) return;
    this.#negotiating = false;
    if (fault) {
      this.#again = false;
      this.#onFault(fault);
    } else if (this.#again) {
      this.#again = false;
      await this.#negotiate(false);
    }
  }

  async #exchange(pc, restart) {
    await pc.setLocalDescription(await pc.createOffer());
    const { sdp, type } = pc.localDescription;
    const body = { sdp, type, pc_id: this.#pcId, restart_pc: restart };
    const answer = await this.#request("POST", body);
    if (pc !== this.#pc) return;
    await pc.setRemoteDescription({ sdp: answer.sdp, type: answer.type });
    // A restart gives the call a new name.
    this.#pcId = answer.pc_id;
    this.#sendCandidates(pc);
  }

  async #request(method, body) {
    const response = await fetch(this.#url, {
      method,
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(body),
      signal: AbortSignal.timeout(REQUEST_MS),
    });
    if (response.ok) return response.json();
    const text = await response.text();
    let detail = text;
    try {
      detail = JSON.parse(text).detail ?? text;
    } catch {
      // A proxy's own page: its text is all there is.
    }
    const error = `${response.status}: ${String(detail).slice(0, 300)}`;
    throw response.status < 500 ? new Refused(error) : new Error(error);
  }

  #trickle(pc, candidate) {
    if (pc !== this.#pc) return;
    this.#candidates.push({
      candidate: candidate.candidate,
      sdp_mid: candidate.sdpMid,
      sdp_mline_index: candidate.sdpMLineIndex,
    });
    this.#after("candidates", CANDIDATES_MS, () => this.#sendCandidates(pc));
  }

  #sendCandidates(pc) {
    // Before the answer there is no pc_id to send them to; they go once it is there.
    if (pc !== this.#pc || !this.#pcId || this.#candidates.length === 0) return;
    if (pc.signalingState !== "stable") return;
    const candidates = this.#candidates.splice(0);
    this.#request("PATCH", { pc_id: this.#pcId, candidates }).catch((error) =>
      console.warn("candidates were not taken", error),
    );
  }

  #onIce(pc) {
    if (pc !== this.#pc) return;
    switch (pc.iceConnectionState) {
      case "connected":
      case "completed":
        this.#cancel("disconnected");
        this.#cancel("attempt");
        this.#attempts = 0;
        if (this.#state === "reconnecting" && pc.connectionState === "connected") {
          this.#become("ready", "Connected again.");
        }
        break;
      case "disconnected":
        this.#become("reconnecting", "The connection is interrupted…");
        this.#after("disconnected", DISCONNECTED_MS, () => this.#reconnect());
        break;
      case "failed":
        this.#reconnect();
        break;
    }
  }

  #onConnection(pc) {
    if (pc !== this.#pc) return;
    if (pc.connectionState === "connected" && this.#state === "connecting") {
      this.#become("connected", "Connected. Waiting for the bot…");
    } else if (pc.connectionState === "connected" && this.#state === "reconnecting") {
      this.#become("ready", "Connected again.");
    } else if (pc.connectionState === "failed" && pc.iceConnectionState !== "failed") {
      this.#reconnect();
    }
  }

  /** ICE restarts, which keep the call; at last a new connection in the call's place. */
  #reconnect(why = null) {
    for (const name of ["disconnected", "attempt", "retry"]) this.#cancel(name);
    this.#attempts += 1;
    if (this.#attempts > ATTEMPTS_MAX) {
      this.#end(why ? `The server cannot be reached: ${why}` : "The connection was lost.", true);
      return;
    }
    const state = this.#state === "connecting" ? "connecting" : "reconnecting";
    this.#become(state, `Reconnecting, attempt ${this.#attempts} of ${ATTEMPTS_MAX}…`);
    if (this.#pcId && this.#attempts < ATTEMPTS_MAX) this.restartIce();
    else this.#recreate(this.#pcId !== null);
    this.#after("attempt", ATTEMPT_MS, () => this.#reconnect(why));
  }

  #onFault(error) {
    if (error instanceof Refused) {
      this.#end(`The server refused the call: ${error.message}`, true);
      return;
    }
    const state = this.#state === "connecting" ? "connecting" : "reconnecting";
    this.#become(state, `No answer (${error.message}); trying again…`);
    this.#cancel("attempt");
    this.#after("retry", RETRY_MS, () => this.#reconnect(error.message));
  }

  #openChannel(channel) {
    this.#channel = channel;
    channel.binaryType = "arraybuffer";
    channel.onopen = () => {
      if (channel !== this.#channel) return;
      for (const index of [0, 1, 2]) this.#tellTrackStatus(index);
      this.#ping();
      this.#sayReady();
      this.dispatchEvent(new Event("open"));
    };
    channel.onmessage = ({ data }) => channel === this.#channel && this.#onMessage(data);
    channel.onclose = () => {
      // The server closes the whole connection at once; ICE alone would notice only after
      // half a minute.
      if (channel === this.#channel) this.#end("The server closed the call.", true);
    };
  }

  #ping() {
    this.#after("ping", PING_MS, () => {
      this.send(`ping: ${Date.now()}`);
      this.#ping();
    });
  }

  #tellTrackStatus(index) {
    const enabled = this.#enabled[index] ?? false;
    const message = { type: "trackStatus", receiver_index: index, enabled };
    this.send(JSON.stringify({ type: "signalling", message }));
  }

  #sayReady() {
    this.#clientReadyId = Math.random().toString(16).slice(2, 10);
    const data = { version: "2.0.0", about: { library: "smallrtc page" } };
    const id = this.#clientReadyId;
    this.send(JSON.stringify({ id, label: "rtvi-ai", type: "client-ready", data }));
  }

  #onMessage(data) {
    let json = null;
    try {
      json = JSON.parse(typeof data === "string" ? data : new TextDecoder().decode(data));
    } catch {
      // Not JSON: it is shown as it is.
    }
    if (json?.type === "signalling") this.#onSignalling(json.message);
    else if (json?.label === "rtvi-ai" && json.type === "bot-ready") this.#onBotReady(json);
    else this.dispatchEvent(new CustomEvent("message", { detail: { data } }));
  }

  #onSignalling(message) {
    if (message?.type === "renegotiate") this.#negotiate(false);
    else if (message?.type === "peerLeft") this.#end("The bot left.", false);
  }

  #onBotReady(json) {
    if (json.id !== this.#clientReadyId) return;
    this.#become("ready", "The bot listens: say something.");
  }
}
