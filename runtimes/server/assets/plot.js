// A small live plot: one or two lines over the last minute, one point a second.

/** A minute at one point a second. */
const POINTS_MAX = 60;
const PAD = { left: 38, right: 8, top: 8, bottom: 18 };

export class Plot {
  #canvas;
  #output;
  #name;
  #unit;
  #floor;
  #lines;

  /** `floor` is the least that the vertical axis spans; `colors` are CSS variables. */
  constructor(canvas, output, { name, unit, floor, colors }) {
    this.#canvas = canvas;
    this.#output = output;
    this.#name = name;
    this.#unit = unit;
    this.#floor = floor;
    this.#lines = colors.map((color) => ({ color, points: [] }));
    new ResizeObserver(() => this.draw()).observe(canvas);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.draw());
  }

  clear() {
    for (const line of this.#lines) line.points = [];
    this.#say([]);
    this.draw();
  }

  /** One value for each line; null where nothing is known. */
  push(values) {
    this.#lines.forEach((line, index) => {
      line.points.push(values[index] ?? null);
      if (line.points.length > POINTS_MAX) line.points.shift();
    });
    this.#say(values);
    this.draw();
  }

  #say(values) {
    const known = values.filter((value) => value !== null && value !== undefined);
    const text = known.length ? `${known.map(short).join(" / ")} ${this.#unit}` : "–";
    this.#output.textContent = text;
    const label = known.length ? `${this.#name}, now ${text}` : `${this.#name}, no data`;
    this.#canvas.setAttribute("aria-label", label);
  }

  draw() {
    const scale = devicePixelRatio || 1;
    const { clientWidth: width, clientHeight: height } = this.#canvas;
    if (!width || !height) return;
    this.#canvas.width = Math.round(width * scale);
    this.#canvas.height = Math.round(height * scale);
    const context = this.#canvas.getContext("2d");
    context.scale(scale, scale);
    const area = {
      left: PAD.left,
      top: PAD.top,
      width: width - PAD.left - PAD.right,
      height: height - PAD.top - PAD.bottom,
    };
    const top = this.#top();
    this.#axes(context, area, top);
    for (const line of this.#lines) this.#curve(context, area, top, line);
  }

  #top() {
    const values = this.#lines.flatMap((line) => line.points.filter((value) => value !== null));
    return nice(Math.max(this.#floor, ...values));
  }

  #axes(context, area, top) {
    const style = getComputedStyle(this.#canvas);
    context.font = `11px ${style.fontFamily}`;
    context.fillStyle = style.getPropertyValue("--soft");
    context.strokeStyle = style.getPropertyValue("--line");
    context.lineWidth = 1;
    context.textAlign = "right";
    context.textBaseline = "middle";
    for (const part of [0, 0.5, 1]) {
      const y = Math.round(area.top + area.height * (1 - part)) + 0.5;
      context.beginPath();
      context.moveTo(area.left, y);
      context.lineTo(area.left + area.width, y);
      context.stroke();
      context.fillText(short(top * part), area.left - 6, y);
    }
    context.textBaseline = "alphabetic";
    const base = area.top + area.height + 14;
    context.fillText("now", area.left + area.width, base);
    context.textAlign = "left";
    context.fillText("1 min ago", area.left, base);
  }

  #curve(context, area, top, { color, points }) {
    context.strokeStyle = getComputedStyle(this.#canvas).getPropertyValue(color);
    context.lineWidth = 2;
    context.lineJoin = "round";
    context.beginPath();
    let drawing = false;
    points.forEach((value, index) => {
      if (value === null) {
        drawing = false;
        return;
      }
      const age = points.length - 1 - index;
      const x = area.left + area.width * (1 - age / (POINTS_MAX - 1));
      const y = area.top + area.height * (1 - Math.min(1, value / top));
      if (drawing) context.lineTo(x, y);
      else context.moveTo(x, y);
      drawing = true;
    });
    context.stroke();
  }
}

/** The next of 1, 2, 5, 10, 20... */
function nice(value) {
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 5, 10].map((step) => step * power).find((step) => step >= value);
}

function short(value) {
  if (value === 0) return "0";
  return value < 10 ? value.toFixed(1).replace(/\.0$/, "") : String(Math.round(value));
}
