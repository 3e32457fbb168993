// Hears the newest sound of the bot, across connections, as the browser decodes it.

/** What is kept: longer than any test listens. */
const SECONDS_MAX = 120;

/** An ear for this browser. */
export function newEar() {
  return "MediaStreamTrackProcessor" in window ? new Ear() : new RecordingEar();
}

/** Chromium gives the samples themselves. */
class Ear {
  #blocks = [];
  #rate = 48000;
  #length = 0;
  #reader = null;

  /** From now on hears this track. */
  listen(track) {
    this.#reader?.cancel();
    // 200 buffers of 10 ms: the page may be held up for 2 s before one is lost.
    const processor = new MediaStreamTrackProcessor({ track: track.clone(), maxBufferSize: 200 });
    this.#reader = processor.readable.getReader();
    this.#read(this.#reader);
  }

  async #read(reader) {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      const block = new Float32Array(value.numberOfFrames);
      value.copyTo(block, { planeIndex: 0, format: "f32-planar" });
      this.#rate = value.sampleRate;
      this.#blocks.push(block);
      this.#length += block.length;
      value.close();
      while (this.#length > SECONDS_MAX * this.#rate) this.#length -= this.#blocks.shift().length;
    }
  }

  /** Forgets what was heard so far. */
  clear() {
    this.#blocks = [];
    this.#length = 0;
  }

  /** How many ms have been heard since. */
  ms() {
    return (1000 * this.#length) / this.#rate;
  }

  /** Rate and samples, 16 bit, as base64. */
  async take() {
    return { rate: this.#rate, text: text(this.#blocks) };
  }
}

/** Firefox gives a recording, coded once more. It has no audio device here, and needs none. */
class RecordingEar {
  #stream = new MediaStream();
  #recorder = null;
  #parts = [];
  #begin = Infinity;

  listen(track) {
    this.#stream = new MediaStream([track]);
  }

  clear() {
    this.#parts = [];
    this.#begin = Infinity;
    const recorder = new MediaRecorder(this.#stream);
    this.#recorder = recorder;
    recorder.ondataavailable = ({ data }) => this.#parts.push(data);
    recorder.onstart = () => (this.#begin = performance.now());
    recorder.start();
  }

  ms() {
    return Math.max(0, performance.now() - this.#begin);
  }

  async take() {
    const stopped = new Promise((resolve) => (this.#recorder.onstop = resolve));
    this.#recorder.stop();
    await stopped;
    const coded = await new Blob(this.#parts).arrayBuffer();
    const sound = await new OfflineAudioContext(1, 48000, 48000).decodeAudioData(coded);
    return { rate: sound.sampleRate, text: text([sound.getChannelData(0)]) };
  }
}

function text(blocks) {
  const samples = new Int16Array(blocks.reduce((sum, block) => sum + block.length, 0));
  let at = 0;
  for (const block of blocks) {
    for (const sample of block) {
      samples[at] = Math.max(-32768, Math.min(32767, sample * 32767));
      at += 1;
    }
  }
  const bytes = new Uint8Array(samples.buffer);
  let characters = "";
  for (let i = 0; i < bytes.length; i += 8192) {
    characters += String.fromCharCode(...bytes.subarray(i, i + 8192));
  }
  return btoa(characters);
}
