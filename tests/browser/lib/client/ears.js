// What a track sounds like, sample by sample: as it is decoded, and as it is played.

/** One array of all blocks. */
function joined(blocks) {
  const samples = new Float32Array(blocks.reduce((sum, block) => sum + block.length, 0));
  let at = 0;
  for (const block of blocks) {
    samples.set(block, at);
    at += block.length;
  }
  return samples;
}

function median(values) {
  return values.sort((a, b) => a - b)[Math.floor(values.length / 2)];
}

/** What leaves the decoder: of each channel the samples, and by how much timestamps jumped. */
export class DecodedEar {
  rate = 0;
  jumpMs = 0;
  #channels = [];
  #starts = [];
  #samples = 0;
  #end = null;

  constructor(track) {
    // 200 buffers of 10 ms: the page may be held up for 2 s before one is lost.
    const processor = new MediaStreamTrackProcessor({ track: track.clone(), maxBufferSize: 200 });
    this.#read(processor.readable.getReader());
  }

  async #read(reader) {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      this.rate = value.sampleRate;
      this.#starts.push(Date.now() - (this.#samples * 1000) / this.rate);
      this.#samples += value.numberOfFrames;
      for (let planeIndex = 0; planeIndex < value.numberOfChannels; planeIndex += 1) {
        const block = new Float32Array(value.numberOfFrames);
        value.copyTo(block, { planeIndex, format: "f32-planar" });
        (this.#channels[planeIndex] ??= []).push(block);
      }
      const jump = Math.abs(value.timestamp - (this.#end ?? value.timestamp)) / 1000;
      this.jumpMs = Math.max(this.jumpMs, jump);
      this.#end = value.timestamp + value.duration;
      value.close();
    }
  }

  clear() {
    this.#channels = [];
    this.#starts = [];
    this.#samples = 0;
    this.jumpMs = 0;
  }

  /** When the first sample left the decoder, in ms by the clock of Date.now(). */
  since() {
    return median(this.#starts);
  }

  /** The samples of each channel. */
  take() {
    return this.#channels.map(joined);
  }
}

/** Runs among the worklets: each block of 128 samples, and when it was asked for. */
const WORKLET = `registerProcessor("ear", class extends AudioWorkletProcessor {
  process([[samples]]) {
    const block = samples?.slice() ?? new Float32Array(128);
    this.port.postMessage({ at: Date.now(), frame: currentFrame, block });
    return true;
  }
});`;

/** What is played: the first channel, with the time of each sample by the clock of Date.now(). */
export class PlayedEar {
  #context;
  #seen = [];

  static async listen(track) {
    const ear = new PlayedEar();
    ear.#context = new AudioContext({ latencyHint: 0 });
    const url = URL.createObjectURL(new Blob([WORKLET], { type: "text/javascript" }));
    await ear.#context.audioWorklet.addModule(url);
    const node = new AudioWorkletNode(ear.#context, "ear", { numberOfOutputs: 1 });
    node.port.onmessage = ({ data }) => ear.#seen.push(data);
    const source = ear.#context.createMediaStreamSource(new MediaStream([track]));
    source.connect(node).connect(ear.#context.destination);
    return ear;
  }

  clear() {
    this.#seen = [];
  }

  /**
   * Samples, their rate, and when the first was played in ms. Blocks are asked for several at a
   * time, some too early, some too late: their median is what the clock of samples stands at.
   */
  take() {
    const seen = this.#seen;
    const rate = this.#context.sampleRate;
    const starts = seen.map(({ at, frame }) => at - ((frame - seen[0].frame) * 1000) / rate);
    return { rate, since: median(starts), samples: joined(seen.map(({ block }) => block)) };
  }

  close() {
    return this.#context.close();
  }
}
