// The devices of the Pipecat client. The code of Daily that opens them is on no registry: its
// package fetches it from Daily's servers. This has the same calls and events, on the browser's own
// devices; the screen is a picture that moves.

import { drawing } from "./drawing.js";

const KINDS = ["audio", "video", "screenVideo"];
/** The tone is to come back as it was played. */
const AUDIO = { echoCancellation: false, noiseSuppression: false, autoGainControl: false };

class Devices {
  #tracks = { audio: null, video: null, screenVideo: null };
  #heard = new Map();
  #open = false;

  on(event, heard) {
    this.#heard.set(event, [...(this.#heard.get(event) ?? []), heard]);
  }

  async startCamera({ startVideoOff, startAudioOff }) {
    this.#open = true;
    if (!startAudioOff) await this.#start("audio");
    if (!startVideoOff) await this.#start("video");
    return { camera: {}, mic: {}, speaker: {} };
  }

  async enumerateDevices() {
    return { devices: await navigator.mediaDevices.enumerateDevices() };
  }

  isLocalAudioLevelObserverRunning() {
    return true;
  }

  participants() {
    if (!this.#open) return {};
    const tracks = KINDS.map((kind) => [
      kind,
      { persistentTrack: this.#tracks[kind] ?? undefined },
    ]);
    return { local: { ...this.#local(), tracks: Object.fromEntries(tracks) } };
  }

  localAudio() {
    return this.#tracks.audio?.enabled === true;
  }

  localVideo() {
    return this.#tracks.video !== null;
  }

  localScreenVideo() {
    return this.#tracks.screenVideo !== null;
  }

  localScreenAudio() {
    return false;
  }

  /** A microphone that is off stays open and is silent. */
  setLocalAudio(on) {
    const track = this.#tracks.audio;
    if (track === null) {
      if (on) this.#start("audio");
      return;
    }
    track.enabled = on;
    this.#tell(on ? "track-started" : "track-stopped", "audio", track);
  }

  setLocalVideo(on) {
    if (on) this.#start("video");
    else this.#stop("video");
  }

  startScreenShare() {
    this.#start("screenVideo");
  }

  stopScreenShare() {
    this.#stop("screenVideo");
  }

  leave() {
    this.#open = false;
    Object.values(this.#tracks).forEach((track) => track?.stop());
    this.#tracks = { audio: null, video: null, screenVideo: null };
  }

  async #start(kind) {
    if (this.#tracks[kind]?.readyState === "live") return;
    const track = kind === "screenVideo" ? drawing() : await open(kind);
    if (!this.#open) {
      track.stop();
      return;
    }
    this.#tracks[kind] = track;
    this.#replaceWhenStopped(kind, track);
    this.#tell("track-started", kind, track);
  }

  /**
   * When the client makes a new connection it stops the tracks of the old one, and they are those
   * of the new one too: without a new track nobody would hear it, whatever the server is.
   */
  #replaceWhenStopped(kind, track) {
    const stop = track.stop.bind(track);
    track.stop = () => {
      stop();
      if (this.#open && this.#tracks[kind] === track) this.#start(kind);
    };
  }

  #stop(kind) {
    const track = this.#tracks[kind];
    if (track === null) return;
    this.#tracks[kind] = null;
    track.stop();
    this.#tell("track-stopped", kind, track);
  }

  #local() {
    return { local: true, user_id: "local", user_name: "local" };
  }

  #tell(event, type, track) {
    const told = { participant: this.#local(), type, track };
    for (const heard of this.#heard.get(event) ?? []) heard(told);
  }
}

async function open(kind) {
  const wanted = kind === "audio" ? { audio: AUDIO } : { video: true };
  const stream = await navigator.mediaDevices.getUserMedia(wanted);
  return stream.getTracks()[0];
}

let devices = null;
export default {
  getCallInstance: () => devices,
  createCallObject: () => (devices = new Devices()),
};
