// The page: buttons, meters, messages and plots around one call.

import { Call } from "./call.js";
import { Meter } from "./meter.js";
import { NetworkView } from "./network.js";

/** The log keeps this many lines. */
const LOG_MAX = 200;
/** Messages that wait for their echo; older ones are not looked for any more. */
const WAITING_MAX = 50;

const at = (id) => document.getElementById(id);
const call = new Call();
const network = new NetworkView(call);
let context = null;
let meters = null;
let microphone = null;
let camera = null;
let waiting = [];
/** Counts calls: what a cancelled one still waits for must not touch the next. */
let calls = 0;

// ---------------------------------------------------------------------------------- the call

async function connect() {
  calls += 1;
  const mine = calls;
  show("connecting", "Waiting for the microphone…");
  openMeters();
  const track = await openMicrophone();
  if (mine !== calls) {
    track?.stop();
    return;
  }
  microphone = track;
  meters?.[0].listen(microphone);
  try {
    await call.connect(microphone, camera);
  } catch (error) {
    show("disconnected", `This browser cannot make the call: ${error.message}`, true);
  }
}

/** A browser lets sound begin only with a click, so this waits for one. */
function openMeters() {
  try {
    context ??= new AudioContext();
    meters ??= [new Meter(at("meter-out"), context), new Meter(at("meter-in"), context)];
    context.resume();
  } catch (error) {
    notice(`No level meters: ${error.message}. The call goes on without them.`);
  }
}

function hangUp() {
  calls += 1;
  // While the microphone is waited for there is no call yet.
  if (call.state === "disconnected") show("disconnected", "You hung up.");
  else call.hangUp();
}

/** The microphone, or null: a call without one can still listen and exchange messages. */
async function openMicrophone() {
  if (!navigator.mediaDevices) return null;
  const on = at("processing").checked;
  const audio = { echoCancellation: on, noiseSuppression: on, autoGainControl: on };
  try {
    const stream = await navigator.mediaDevices.getUserMedia({ audio });
    return stream.getAudioTracks()[0];
  } catch (error) {
    notice(`No microphone: ${error.message}. The call goes on without it.`);
    return null;
  }
}

function closeDevices() {
  meters?.forEach((meter) => meter.listen(null));
  for (const track of [microphone, camera]) track?.stop();
  microphone = null;
  camera = null;
  at("remote-audio").srcObject = null;
  showPictures();
}

function toggleMute() {
  const muted = at("mute").getAttribute("aria-pressed") !== "true";
  at("mute").setAttribute("aria-pressed", muted);
  at("mute").textContent = muted ? "Muted" : "Mute";
  call.setMicrophone(!muted);
}

async function toggleCamera() {
  if (camera) {
    camera.stop();
    camera = null;
  } else {
    try {
      const video = { width: 640, height: 480 };
      camera = (await navigator.mediaDevices.getUserMedia({ video })).getVideoTracks()[0];
    } catch (error) {
      notice(`No camera: ${error.message}.`);
      return;
    }
  }
  if (call.state === "disconnected") return closeDevices();
  await call.setCamera(camera);
  showPictures();
}

function showPictures() {
  at("camera").setAttribute("aria-pressed", camera !== null);
  at("pictures").hidden = camera === null;
  at("local-video").srcObject = camera && new MediaStream([camera]);
}

call.addEventListener("track", ({ detail: { track } }) => {
  const element = at(track.kind === "audio" ? "remote-audio" : "remote-video");
  element.srcObject = new MediaStream([track]);
  if (track.kind === "audio") meters?.[1].listen(track);
});

call.addEventListener("state", ({ detail: { state, reason, bad } }) => show(state, reason, bad));

function show(state, reason, bad = false) {
  const calling = state !== "disconnected";
  at("state").dataset.state = state;
  at("state").textContent = state;
  at("reason").textContent = reason;
  at("reason").dataset.bad = bad;
  const button = at("connect");
  button.dataset.action = calling ? "hang-up" : "connect";
  button.textContent = calling ? (state === "connecting" ? "Cancel" : "Hang up") : "Connect";
  const live = state === "connected" || state === "ready" || state === "reconnecting";
  for (const id of ["text", "send", "restart"]) at(id).disabled = !live;
  at("mute").disabled = !live || !microphone;
  at("camera").disabled = !live || !navigator.mediaDevices;
  if (calling) return;
  closeDevices();
  waiting = [];
  at("mute").setAttribute("aria-pressed", "false");
  at("mute").textContent = "Mute";
}

// ---------------------------------------------------------------------------------- messages

function sendMessage(typed) {
  const text = isJson(typed) ? typed : JSON.stringify({ type: "message", text: typed });
  if (!call.send(text)) return log("note", "", "Not sent: no channel is open.");
  waiting.push({ text, time: performance.now(), line: log("sent", "You", text) });
  if (waiting.length > WAITING_MAX) waiting.shift();
}

function isJson(text) {
  try {
    return typeof JSON.parse(text) === "object";
  } catch {
    return false;
  }
}

call.addEventListener("message", ({ detail: { data } }) => {
  const text = typeof data === "string" ? data : `[${data.byteLength} bytes]`;
  const line = log("received", "Bot", text);
  const index = waiting.findIndex((entry) => entry.text === data);
  if (index < 0) return;
  const [entry] = waiting.splice(index, 1);
  const back = document.createElement("span");
  back.className = "back";
  back.textContent = ` ✓ unchanged, ${(performance.now() - entry.time).toFixed(1)} ms`;
  line.append(back);
});

function log(kind, who, text) {
  const line = document.createElement("li");
  line.className = kind;
  if (who) {
    const name = document.createElement("span");
    name.className = "who";
    name.textContent = `${who}: `;
    line.append(name);
  }
  line.append(text);
  const list = at("log");
  list.append(line);
  while (list.children.length > LOG_MAX) list.firstChild.remove();
  list.scrollTop = list.scrollHeight;
  return line;
}

// ------------------------------------------------------------------------------------ notices

function notice(...paragraphs) {
  at("notice").replaceChildren(
    ...paragraphs.map((content) => {
      const paragraph = document.createElement("p");
      paragraph.append(...[content].flat());
      return paragraph;
    }),
  );
  at("notice").hidden = paragraphs.length === 0;
}

function code(text) {
  const element = document.createElement("code");
  element.textContent = text;
  return element;
}

/** Browsers give microphone and camera to https and to localhost only. */
function warnOfPlainHttp() {
  if (isSecureContext && navigator.mediaDevices) return;
  const listen = `0.0.0.0:${location.port || 80}`;
  notice(
    "No microphone here: browsers give it only to https pages and to localhost. " +
      "You can still connect and send messages.",
    ["To use it, start the server with", code(`smallrtc --listen ${listen} --tls-self-signed`)],
    ["and open", code(`https://${location.host}/`), "The browser warns of the certificate once."],
  );
}

// -------------------------------------------------------------------------------------- wiring

at("connect").addEventListener("click", () =>
  at("connect").dataset.action === "hang-up" ? hangUp() : connect(),
);
at("mute").addEventListener("click", toggleMute);
at("camera").addEventListener("click", toggleCamera);
at("restart").addEventListener("click", () => call.restartIce());
at("compose").addEventListener("submit", (event) => {
  event.preventDefault();
  const typed = at("text").value.trim();
  if (typed) sendMessage(typed);
  at("text").value = "";
});
// Another network means other addresses: the call moves there at once.
addEventListener("online", () => call.restartIce());
// A page that goes away says so, rather than leave the server to find out.
addEventListener("pagehide", () => call.hangUp("The page was left."));

function frame(now) {
  meters?.forEach((meter) => meter.draw(now));
  requestAnimationFrame(frame);
}
requestAnimationFrame(frame);
warnOfPlainHttp();
network.run();
