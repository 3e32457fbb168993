// A page that calls as the Pipecat client does, each step under the test's control.

import { drawing } from "./drawing.js";
import { newEar } from "./ear.js";

/** As the client: candidates are collected for so long, and this often it says that it lives. */
const FLUSH_MS = 200;
const PING_MS = 1000;
/** The tone is to come back as it was played. */
const AUDIO = { echoCancellation: false, noiseSuppression: false, autoGainControl: false };

const seen = { messages: [], patches: [], answers: [], renegotiations: 0, pings: 0, keys: [] };
const ear = newEar();
let url = "";
let pcId = null;
let connection;
let channel;
let microphone;
let screen = null;
let pinging = true;
let candidates = [];
let flushing = null;

async function post(method, body) {
  const headers = { "content-type": "application/json" };
  return fetch(url, { method, headers, body: JSON.stringify(body) });
}

/** Empty candidates too: Firefox has one for each m-line when it has no more. */
function trickle({ candidate }) {
  if (candidate === null) return;
  candidates.push({
    candidate: candidate.candidate,
    sdp_mid: candidate.sdpMid,
    sdp_mline_index: candidate.sdpMLineIndex,
  });
  flushing ??= setTimeout(flush, FLUSH_MS);
}

async function flush() {
  flushing = null;
  if (candidates.length === 0 || pcId === null) return;
  const sent = candidates;
  candidates = [];
  const { status } = await post("PATCH", { pc_id: pcId, candidates: sent });
  seen.patches.push({ status, candidates: sent.map(({ candidate }) => candidate) });
}

function hear(data) {
  const message = typeof data === "string" ? data : "binary";
  const asks = '"type":"renegotiate"';
  if (message.includes('"signalling"') && message.includes(asks)) {
    seen.renegotiations += 1;
    app.offer();
  } else {
    seen.messages.push(message);
  }
}

function show({ track, transceiver }) {
  const kind = track.kind;
  if (kind === "video" && transceiver.mid !== "1") return;
  document.getElementById(`remote-${kind}`).srcObject = new MediaStream([track]);
  if (kind === "audio") ear.listen(track);
}

const app = {
  seen,
  ear,

  /** Calls, and gives the answer's SDP. */
  async open(endpoint, { camera = false } = {}) {
    url = endpoint;
    const stream = await navigator.mediaDevices.getUserMedia({ audio: AUDIO, video: camera });
    [microphone] = stream.getAudioTracks();
    connection = new RTCPeerConnection();
    connection.onicecandidate = trickle;
    connection.ontrack = show;
    connection.addTransceiver(microphone, { direction: "sendrecv" });
    connection.addTransceiver(stream.getVideoTracks()[0] ?? "video", { direction: "sendrecv" });
    channel = connection.createDataChannel("chat", { ordered: true });
    channel.onmessage = ({ data }) => hear(data);
    setInterval(() => {
      if (!pinging || channel.readyState !== "open") return;
      seen.pings += 1;
      channel.send(`ping: ${Date.now()}`);
    }, PING_MS);
    return app.offer();
  },

  /** Offers what there is, on the same call. */
  async offer(options = {}) {
    await connection.setLocalDescription(await connection.createOffer(options));
    const { sdp, type } = connection.localDescription;
    const response = await post("POST", { sdp, type, pc_id: pcId, restart_pc: false });
    const answer = await response.json();
    if (!response.ok) throw new Error(`${response.status}: ${JSON.stringify(answer)}`);
    await connection.setRemoteDescription({ type: answer.type, sdp: answer.sdp });
    pcId = answer.pc_id;
    seen.answers.push(pcId);
    await flush();
    return answer.sdp;
  },

  state: () => [connection.connectionState, channel.readyState],
  sdp: () => [connection.localDescription.sdp, connection.remoteDescription.sdp],
  say: (text) => channel.send(text),
  ping: (on) => (pinging = on),
  enableMic: (on) => (microphone.enabled = on),
  giveMic: (on) => connection.getSenders()[0].replaceTrack(on ? microphone : null),

  /**
   * Presses keys of a telephone, after those that wait no more: each for so many ms, with so many
   * between. `seen.keys` has each as it begins, and an empty one after the last. Gives whether the
   * browser says that it can.
   */
  press(keys, ms, gapMs) {
    const { dtmf } = connection.getSenders()[0];
    dtmf.ontonechange = ({ tone }) => seen.keys.push(tone);
    const can = dtmf.canInsertDTMF;
    dtmf.insertDTMF(keys, ms, gapMs);
    return can;
  },

  /** Adds a line for the screen, behind the data channel's; gives its mid. */
  async share() {
    screen = connection.addTransceiver(drawing(), { direction: "sendonly" });
    await app.offer();
    return screen.mid;
  },

  async unshare() {
    screen.sender.track.stop();
    screen.stop();
    await app.offer();
  },

  /** The picture that is shown, as numbers: another picture has others. */
  picture() {
    const canvas = new OffscreenCanvas(16, 12);
    const context = canvas.getContext("2d");
    context.drawImage(document.getElementById("remote-video"), 0, 0, 16, 12);
    return [...context.getImageData(0, 0, 16, 12).data].join();
  },

  close: () => connection.close(),
};
window.app = app;
