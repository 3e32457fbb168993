// A page with the Pipecat client in it, as an application would have it.

import { PipecatClient } from "@pipecat-ai/client-js";
import { SmallWebRTCTransport } from "@pipecat-ai/small-webrtc-transport";
import { newEar } from "./ear.js";

const seen = { states: [], events: [], errors: [] };
const ear = newEar();
let client;
let transport;

function make() {
  transport = new SmallWebRTCTransport();
  client = new PipecatClient({ transport, enableMic: true, callbacks: callbacks() });
}

function callbacks() {
  const event = (name) => (detail) => seen.events.push({ name, detail: JSON.stringify(detail) });
  return {
    onTransportStateChanged: (state) => seen.states.push(state),
    onConnected: event("connected"),
    onDisconnected: event("disconnected"),
    onBotConnected: event("botConnected"),
    onBotDisconnected: event("botDisconnected"),
    onBotReady: event("botReady"),
    onError: (error) => seen.errors.push(JSON.stringify(error)),
    onMessageError: (error) => seen.errors.push(JSON.stringify(error)),
    onTrackStarted: (track, participant) => {
      if (participant?.local) return;
      seen.events.push({ name: "trackStarted", detail: track.kind });
      if (track.kind === "audio") {
        listen(track);
      } else {
        document.getElementById("remote-video").srcObject = new MediaStream([track]);
      }
    },
  };
}

/** Chromium decodes only what an element plays. */
function listen(track) {
  document.getElementById("remote-audio").srcObject = new MediaStream([track]);
  ear.listen(track);
}

window.app = {
  seen,
  ear,

  /**
   * How often the client told of the bot's sound. After a restart it does only when sound came
   * before the answer to its candidates: then it forgets the tracks of the old connection, and with
   * them new ones of the same name.
   */
  sounds: () => seen.events.filter(({ name, detail }) =>
    name === "trackStarted" && detail === "audio").length,

  /** Makes the client; gives what `connect()` resolves with. */
  connect(parameters) {
    make();
    return client.connect(parameters);
  },

  /** The same by way of `/start`, whose answer names the session to call. */
  startAndConnect(request) {
    make();
    return client.startBotAndConnect(request);
  },

  /** What the client does when its connection has failed, and need not wait for here. */
  reconnect: () => transport.attemptReconnection(true),

  /** The same client again. */
  connectAgain: (parameters) => client.connect(parameters),

  disconnect: () => client.disconnect(),

  /** A request of the page: the echo's response is what it said. */
  request: (name, data) => client.sendClientRequest(name, data),
  enableMic: (on) => client.enableMic(on),
  enableCam: (on) => client.enableCam(on),
  enableScreenShare: (on) => client.enableScreenShare(on),
  state: () => client.state,
  channel: () => transport.dc?.readyState,
};
