// Level meters: the loudest of the last moment in dBFS, shown from -60 dB (nothing) to 0 dB.

const FLOOR_DB = -60;
/** How fast a bar falls, so that the eye can follow: full scale in half a second. */
const FALL_PER_S = 2;
/** Screen readers are told twice a second. */
const SPEAK_MS = 500;

export class Meter {
  #element;
  #context;
  #analyser;
  #source = null;
  #samples;
  #level = 0;
  #drawn = 0;
  #spoken = 0;

  constructor(element, context) {
    this.#element = element;
    this.#context = context;
    this.#analyser = context.createAnalyser();
    this.#analyser.fftSize = 1024;
    this.#samples = new Float32Array(this.#analyser.fftSize);
  }

  /** Listens to a track; null for none. */
  listen(track) {
    this.#source?.disconnect();
    this.#source = track && this.#context.createMediaStreamSource(new MediaStream([track]));
    this.#source?.connect(this.#analyser);
  }

  /** Draws; to be called once for each frame of the screen. */
  draw(now) {
    let peak = 0;
    if (this.#source) {
      this.#analyser.getFloatTimeDomainData(this.#samples);
      for (const sample of this.#samples) peak = Math.max(peak, Math.abs(sample));
    }
    const db = Math.max(FLOOR_DB, 20 * Math.log10(peak || 1e-9));
    const fallen = this.#level - FALL_PER_S * Math.min(1, (now - this.#drawn) / 1000);
    this.#level = Math.min(1, Math.max(1 - db / FLOOR_DB, fallen, 0));
    this.#drawn = now;
    this.#element.style.setProperty("--level", this.#level.toFixed(3));
    if (now - this.#spoken < SPEAK_MS) return;
    this.#spoken = now;
    const shown = Math.round(FLOOR_DB * (1 - this.#level));
    this.#element.setAttribute("aria-valuenow", shown);
    this.#element.setAttribute("aria-valuetext", shown <= FLOOR_DB ? "silent" : `${shown} dB`);
  }
}
