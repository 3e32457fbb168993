// The tone that the fake microphone plays, and what a recording of its echo tells.

/** Hz; a whole number of periods fits a second, so that a file of whole seconds loops evenly. */
export const TONE_HZ = 440;
const RATE = 48000;
/** Longer than any call here: Chromium loses up to 15 ms where it begins the file again. */
const SECONDS = 60;
/** A third of full scale: loud, and far from clipping after resampling. */
const AMPLITUDE = 0.33;

/** A recording is looked at in steps of this many milliseconds. */
const STEP_MS = 0.25;
/** Each step sees the sound around it for half a period and a bit. */
const SPAN_MS = 1.25;
/** A step is part of a hole when the tone has less than this part of its usual strength. */
const HOLE_LEVEL = 0.25;

/** A WAV file, mono, 16 bit. */
export function toneWav() {
  const samples = new Int16Array(RATE * SECONDS);
  for (let i = 0; i < samples.length; i += 1) {
    samples[i] = Math.round(32767 * AMPLITUDE * Math.sin((2 * Math.PI * TONE_HZ * i) / RATE));
  }
  const header = Buffer.alloc(44);
  header.write("RIFF", 0);
  header.writeUInt32LE(36 + samples.byteLength, 4);
  header.write("WAVEfmt ", 8);
  header.writeUInt32LE(16, 16);
  header.writeUInt16LE(1, 20); // PCM
  header.writeUInt16LE(1, 22); // one channel
  header.writeUInt32LE(RATE, 24);
  header.writeUInt32LE(RATE * 2, 28);
  header.writeUInt16LE(2, 32);
  header.writeUInt16LE(16, 34);
  header.write("data", 36);
  header.writeUInt32LE(samples.byteLength, 40);
  return Buffer.concat([header, Buffer.from(samples.buffer)]);
}

/**
 * The strength of the tone over time: for each step the largest sample of the span around it.
 * The span is longer than half a period, so that the strength of a tone is even.
 */
function strength(samples, rate) {
  const step = Math.round((rate * STEP_MS) / 1000);
  const half = Math.round((rate * SPAN_MS) / 2000);
  const levels = [];
  for (let middle = half; middle + half <= samples.length; middle += step) {
    let peak = 0;
    for (let i = middle - half; i < middle + half; i += 1) {
      peak = Math.max(peak, Math.abs(samples[i]));
    }
    levels.push(peak);
  }
  return levels;
}

function median(values) {
  return [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? 0;
}

/**
 * What a recording of the echo holds: its length in seconds, the tone's usual strength (1 is full
 * scale) and frequency in Hz, every hole with its place and length in ms.
 *
 * A hole of a whole packet is measured a span shorter than it is at both ends together; the span
 * is added again, so a hole is never measured too short.
 */
export function analyse(samples, rate) {
  const levels = strength(samples, rate);
  const level = median(levels);
  const holes = [];
  let begin = null;
  levels.forEach((value, index) => {
    const hole = value < level * HOLE_LEVEL;
    if (hole && begin === null) begin = index;
    if (begin !== null && (!hole || index === levels.length - 1)) {
      holes.push({ atMs: begin * STEP_MS, ms: (index - begin) * STEP_MS + SPAN_MS });
      begin = null;
    }
  });
  const longestMs = holes.reduce((longest, hole) => Math.max(longest, hole.ms), 0);
  const seconds = samples.length / rate;
  return { seconds, level, hz: frequency(samples, rate, level), holes, longestMs };
}

/**
 * The median distance of rising zero crossings, between samples: holes and the joints at a
 * hole's end move few of them and so not the median.
 */
function frequency(samples, rate, level) {
  const periods = [];
  let last = null;
  let armed = false;
  for (let i = 1; i < samples.length; i += 1) {
    if (samples[i] < -level / 4) armed = true;
    if (!armed || samples[i - 1] >= 0 || samples[i] < 0) continue;
    armed = false;
    const crossing = i - samples[i] / (samples[i] - samples[i - 1]);
    if (last !== null) periods.push(crossing - last);
    last = crossing;
  }
  return periods.length ? rate / median(periods) : 0;
}

/**
 * How smooth a tone is that `analyse` has judged. `step`: the largest step from one sample to the
 * next, as a multiple of the tone's own largest; a click has more. `turn`: by how much, in
 * periods, the phase of two neighbouring spans of 20 ms differs at most from what the tone's
 * frequency makes it: samples that were left out or said twice turn it.
 */
export function smoothness(samples, rate, { level, hz }) {
  const usual = (level * 2 * Math.PI * hz) / rate;
  let step = 0;
  for (let i = 1; i < samples.length; i += 1) {
    step = Math.max(step, Math.abs(samples[i] - samples[i - 1]));
  }
  const phases = spans(samples, rate, hz);
  let turn = 0;
  for (let i = 1; i < phases.length; i += 1) {
    const turned = phases[i] - phases[i - 1];
    turn = Math.max(turn, Math.abs(turned - Math.round(turned)));
  }
  return { step: step / usual, turn };
}

/** For each 20 ms the phase of the tone in it, in periods. */
function spans(samples, rate, hz) {
  const length = Math.round(rate / 50);
  const phases = [];
  for (let begin = 0; begin + length <= samples.length; begin += length) {
    let [real, imaginary] = [0, 0];
    for (let i = begin; i < begin + length; i += 1) {
      const angle = (2 * Math.PI * hz * i) / rate;
      // A window: the tone's own mirror image leaks little into it.
      const weight = 0.5 - 0.5 * Math.cos((2 * Math.PI * (i - begin + 0.5)) / length);
      real += weight * samples[i] * Math.cos(angle);
      imaginary -= weight * samples[i] * Math.sin(angle);
    }
    phases.push(Math.atan2(imaginary, real) / (2 * Math.PI));
  }
  return phases;
}

/** Nearer than this to a tone's edge nothing is silence, nor is the tone in its full strength. */
const EDGE_MS = 20;
/** Sound that is weaker than this part of a tone has ended: 40 dB below it. */
const ENDED_LEVEL = 0.01;

/**
 * Tones with silence between them: of each where it begins and how long it is, in ms, its largest
 * step as `smoothness` has it, from the silence before it to that after it, and what turned in the
 * middle of it. `rest` is the largest sample between them, as a part of theirs.
 */
export function bursts(samples, rate) {
  const levels = strength(samples, rate);
  const top = levels.reduce((most, level) => Math.max(most, level), 0);
  const level = median(levels.filter((value) => value > top / 2));
  const found = [];
  let begin = null;
  let last = null;
  const end = () => {
    if (begin !== null) found.push({ begin, end: last });
    begin = null;
  };
  levels.forEach((value, index) => {
    if (value > level * ENDED_LEVEL) {
      begin ??= index;
      last = index;
    } else if (begin !== null && (index - last) * STEP_MS > EDGE_MS) {
      end();
    }
  });
  end();
  return { level, rest: rest(levels, level, found), tones: found.map((one) => tone(one)) };

  function tone({ begin, end }) {
    const at = (index) => Math.round((index * STEP_MS * rate) / 1000);
    const edge = Math.round((EDGE_MS * rate) / 1000);
    const whole = samples.subarray(Math.max(0, at(begin) - edge), at(end) + edge);
    const inner = samples.subarray(at(begin) + edge, at(end) - edge);
    const hz = frequency(inner, rate, level);
    const { step } = smoothness(whole, rate, { level, hz });
    const { turn } = smoothness(inner, rate, { level, hz });
    // The span around the last loud sample is as long after it as before it.
    const spanMs = SPAN_MS / 2;
    const ms = (end - begin) * STEP_MS - spanMs;
    return { atMs: begin * STEP_MS + spanMs, ms, hz, step, turn };
  }
}

/** The largest sample outside of tones and their edges, as a part of the tones' level. */
function rest(levels, level, tones) {
  const edge = EDGE_MS / STEP_MS;
  let most = 0;
  let next = 0;
  levels.forEach((value, index) => {
    while (next < tones.length && index > tones[next].end + edge) next += 1;
    if (next < tones.length && index >= tones[next].begin - edge) return;
    most = Math.max(most, value);
  });
  return most / level;
}

/** What a key of a telephone sounds like: the tone of its row and the one of its column, in Hz. */
const ROWS = [697, 770, 852, 941];
const COLUMNS = [1209, 1336, 1477, 1633];
const KEYS = ["123A", "456B", "789C", "*0#D"];
/** Each span is as long that neighbouring rows are told apart; spans follow at half their length. */
const KEY_SPAN_MS = 30;
/** What a row's tone and a column's make of a span, when it is a key's: the rest is its edges. */
const KEY_PART = 0.7;
/** Of full scale; a pause is less. */
const KEY_LEVEL = 0.02;
/** Between two keys lies more; less is a hole in one. */
const KEY_HOLE_MS = 45;

/** The keys of a telephone that are heard, in order, each with how long it is, to a span. */
export function dialled(samples, rate) {
  const length = Math.round((rate * KEY_SPAN_MS) / 1000);
  const found = [];
  for (let begin = 0; begin + length <= samples.length; begin += length / 2) {
    const key = keyOf(samples.subarray(begin, begin + length), rate);
    if (key === null) continue;
    // The middle half of the span is that key's.
    const atMs = (1000 * begin) / rate + KEY_SPAN_MS / 4;
    const last = found.at(-1);
    const goesOn = last?.key === key && atMs - last.atMs - last.ms < KEY_HOLE_MS;
    if (goesOn) last.ms = atMs + KEY_SPAN_MS / 2 - last.atMs;
    else found.push({ key, atMs, ms: KEY_SPAN_MS / 2 });
  }
  return found;
}

function keyOf(span, rate) {
  const energy = span.reduce((sum, sample) => sum + sample * sample, 0) / span.length;
  if (Math.sqrt(2 * energy) < KEY_LEVEL) return null;
  const most = (tones) => {
    const parts = tones.map((hz) => part(span, rate, hz) / energy);
    const top = Math.max(...parts);
    return [parts.indexOf(top), top];
  };
  const [[row, inRow], [column, inColumn]] = [most(ROWS), most(COLUMNS)];
  const isKey = inRow + inColumn > KEY_PART && Math.min(inRow, inColumn) > KEY_PART / 4;
  return isKey ? KEYS[row][column] : null;
}

/** The mean square that a tone has in a span. */
function part(span, rate, hz) {
  let [real, imaginary] = [0, 0];
  span.forEach((sample, i) => {
    const angle = (2 * Math.PI * hz * i) / rate;
    real += sample * Math.cos(angle);
    imaginary -= sample * Math.sin(angle);
  });
  return (2 * (real * real + imaginary * imaginary)) / (span.length * span.length);
}
