// Pictures: the trend of every arm, the sparkline of one, and the ruler that shows whether an interval includes zero.
// uPlot draws on a canvas; what is text and must be read by a screen reader is in the page instead.

import { decimals, fixed, minuteOfDay } from "./format.js";
import { ARMS, armStyle } from "./reading.js";

const SPANS_MIN = [5, 10, 20, 30, 60];
const MOST_STRANGERS = 3; // arms of other names, drawn only where there are none of ours

/** The hundredth of the screen's height that the style sheet counts in, in CSS pixels. */
export function unit() {
  const portrait = innerWidth <= innerHeight;
  return portrait ? innerWidth * 0.0142 : Math.min(innerHeight / 100, innerWidth * 0.005625);
}

function colour(token) {
  return getComputedStyle(document.documentElement).getPropertyValue(token).trim();
}

/** The minutes that hold every point with something in it, from a short list: the first minutes fill the picture too. */
export function spanMinutes(points) {
  const oldest = points.find((point) => Object.keys(point.arms).length > 0);
  if (!oldest) return SPANS_MIN.at(-1);
  const minutes = (points.at(-1).end_ms - oldest.start_ms) / 60_000;
  return SPANS_MIN.find((span) => span >= minutes) ?? SPANS_MIN.at(-1);
}

/**
 * Columns for uPlot: the middle of each point in seconds, then low and high of each arm, then the value of each arm.
 * uPlot paints in this order, so every line lies above every band.
 */
function columns(points, arms, metric) {
  const estimates = arms.map((arm) => points.map((point) => point.arms[arm]?.[metric] ?? null));
  const parts = (series, names) => names.map((name) => series.map((one) => one?.[name] ?? null));
  return [
    points.map((point) => (point.start_ms + point.end_ms) / 2000),
    ...estimates.flatMap((series) => parts(series, ["low", "high"])),
    ...estimates.flatMap((series) => parts(series, ["value"])),
  ];
}

/** The columns of one of `size` arms. */
function ofArm(table, index, size) {
  return { lows: table[2 * index + 1], highs: table[2 * index + 2], values: table[2 * size + index + 1] };
}

/**
 * Bounds of the vertical axis: all values, and the bands as far as they are usually wide. The first minutes' bands are
 * so wide that they would press every line flat.
 */
function extent(table, size) {
  const values = [];
  const reaches = [];
  for (let index = 0; index < size; index += 1) {
    const one = ofArm(table, index, size);
    one.values.forEach((value, row) => {
      if (value === null) return;
      values.push(value);
      reaches.push(Math.max(value - one.lows[row], one.highs[row] - value));
    });
  }
  if (!values.length) return [0, 1];
  const reach = reaches.sort((one, other) => one - other)[Math.floor(reaches.length / 2)];
  const low = Math.min(...values);
  const high = Math.max(...values);
  const margin = Math.max(reach, 0.1 * (high - low), 0.02 * high, 1e-4);
  return [Math.max(0, low - margin), Math.min(1, high + margin)];
}

function lines(arms, width) {
  // The holdout's band is drawn by its edges, or two bands that overlap would look like a third.
  const bound = (arm) => ({ points: { show: false }, stroke: arm === "holdout" ? `${colour("--holdout")}80` : "transparent", width: width / 4 });
  const line = (arm) => {
    const { token, dash } = armStyle(arm);
    return { points: { show: false }, stroke: colour(token), width, dash: dash.map((part) => part * width * 2.4), cap: "butt" };
  };
  return [...arms.flatMap((arm) => [bound(arm), bound(arm)]), ...arms.map(line)];
}

function bands(arms) {
  return arms.map((arm, index) => ({
    series: [2 * index + 2, 2 * index + 1],
    fill: colour(armStyle(arm).token) + (arm === "personalized" ? "3c" : "14"),
  }));
}

/** The shape of an arm's glyph around a point of the canvas. */
function stamp(context, glyph, x, y, size) {
  context.beginPath();
  if (glyph === "◆") {
    context.moveTo(x, y - size * 1.25);
    context.lineTo(x + size * 1.25, y);
    context.lineTo(x, y + size * 1.25);
    context.lineTo(x - size * 1.25, y);
  } else if (glyph === "■") {
    context.rect(x - size, y - size, 2 * size, 2 * size);
  } else {
    context.arc(x, y, size, 0, 2 * Math.PI);
  }
  context.fill();
}

/** Mark the newest point of each arm with its glyph, and points without neighbours with glyph and whisker. */
function markPoints(plot, arms, size) {
  const { ctx: context } = plot;
  const { left, top, width, height } = plot.bbox;
  context.save();
  context.beginPath();
  context.rect(left - 2 * size, top, width + 4 * size, height);
  context.clip();
  context.setLineDash([]); // the last line drawn may have been a dashed one
  arms.forEach((arm, index) => {
    const { values, lows, highs } = ofArm(plot.data, index, arms.length);
    const { glyph, token } = armStyle(arm);
    context.fillStyle = context.strokeStyle = colour(token);
    context.lineWidth = size / 2;
    const newest = values.findLastIndex((value) => value !== null);
    values.forEach((value, row) => {
      const isAlone = value !== null && (values[row - 1] ?? null) === null && (values[row + 1] ?? null) === null;
      if (!isAlone && row !== newest) return;
      const aside = isAlone ? 3 * size * (index - (arms.length - 1) / 2) : 0; // whiskers side by side, not on top of each other
      const x = plot.valToPos(plot.data[0][row], "x", true) + aside;
      if (isAlone) {
        context.beginPath();
        context.moveTo(x, plot.valToPos(lows[row], "y", true));
        context.lineTo(x, plot.valToPos(highs[row], "y", true));
        context.stroke();
      }
      stamp(context, glyph, x, plot.valToPos(value, "y", true), size);
    });
  });
  context.restore();
}

/** A lighter ground under the minutes whose counts may still change. */
function shadeUnsealed(plot, sealedMs) {
  if (sealedMs === null) return;
  const { ctx: context } = plot;
  const { left, top, width, height } = plot.bbox;
  const from = Math.max(left, plot.valToPos(sealedMs / 1000, "x", true));
  if (from >= left + width) return;
  context.save();
  context.beginPath();
  context.rect(from, top, left + width - from, height);
  context.clip();
  context.setLineDash([]);
  context.strokeStyle = colour("--rule");
  context.lineWidth = uPlot.pxRatio * 1.5;
  const step = 1.4 * unit() * uPlot.pxRatio;
  for (let x = from - height; x < left + width; x += step) {
    context.beginPath();
    context.moveTo(x, top + height);
    context.lineTo(x + height, top);
    context.stroke();
  }
  context.restore();
}

/**
 * One uPlot in one element, built anew when the element's size or the arms change.
 *
 * Mutable state: the plot and what it was built for.
 */
class Picture {
  #element;
  #plot = null;
  #builtFor = "";

  constructor(element) {
    this.#element = element;
  }

  /** Draw `table` between `from` and `to`; `options(width, height)` says how when it must be built. */
  draw(key, table, options) {
    const { clientWidth: width, clientHeight: height } = this.#element;
    if (!width || !height) return;
    const wanted = `${key} ${width}x${height} ${devicePixelRatio}`;
    if (wanted === this.#builtFor) {
      this.#plot.setData(table);
      return;
    }
    this.clear();
    this.#builtFor = wanted;
    const quiet = { legend: { show: false }, cursor: { show: false }, select: { show: false } };
    this.#plot = new uPlot({ ...quiet, width, height, ...options }, table, this.#element);
  }

  clear() {
    this.#plot?.destroy();
    this.#plot = null;
    this.#builtFor = "";
  }
}

/** The main chart: CTR of every arm over the last hour, each line labelled where it ends. */
export class Trend {
  #element;
  #picture;
  #labels = new Map();
  // What is being drawn: uPlot asks for these again on every draw.
  #range = [0, 1];
  #span = [0, 1];
  #sealedMs = null;

  constructor(element) {
    this.#element = element;
    this.#picture = new Picture(element);
  }

  draw(points, metric, sealedMs) {
    // Last drawn lies on top: that is to be the arm that is watched.
    const isSeen = (arm) => points.some((point) => point.arms[arm]?.[metric]);
    const known = Object.keys(ARMS).reverse().filter(isSeen);
    const others = [...new Set(points.flatMap((point) => Object.keys(point.arms)))].filter(isSeen).sort();
    const arms = known.length ? known : others.slice(0, MOST_STRANGERS);
    const table = columns(points, arms, metric);
    const endMs = points.at(-1)?.end_ms ?? 0;
    this.#span = [endMs / 1000 - 60 * spanMinutes(points), endMs / 1000];
    this.#range = extent(table, arms.length);
    this.#sealedMs = sealedMs;
    this.#picture.draw(arms.join(), table, this.#options(arms));
  }

  #options(arms) {
    const u = unit();
    const font = `${2.65 * u}px ${getComputedStyle(document.body).fontFamily}`;
    const axis = { stroke: colour("--dim"), font, ticks: { show: false }, gap: 0.9 * u };
    const grid = { stroke: colour("--rule"), width: 1 };
    const percentages = (plot, splits) => {
      const places = Math.max(0, Math.min(3, Math.ceil(-Math.log10((splits[1] - splits[0]) * 100) - 1e-9)));
      return splits.map((value) => `${fixed(value * 100, places)} %`);
    };
    return {
      padding: [1.2 * u, 21 * u, 0, 0],
      scales: { x: { time: false, range: () => this.#span }, y: { range: () => this.#range } },
      axes: [
        { ...axis, grid: { show: false }, size: 4.2 * u, space: 11 * u, incrs: [60, 120, 300, 600, 900, 1800], values: (plot, splits) => splits.map((second) => minuteOfDay(second * 1000)) },
        { ...axis, grid, size: 8.6 * u, space: 6.5 * u, values: percentages },
      ],
      series: [{}, ...lines(arms, 0.45 * u)],
      bands: bands(arms),
      hooks: {
        drawClear: [(plot) => shadeUnsealed(plot, this.#sealedMs)],
        draw: [
          (plot) => {
            markPoints(plot, arms, 0.8 * u * uPlot.pxRatio);
            this.#label(plot, arms);
          },
        ],
      },
    };
  }

  /** Put each arm's name where its line ends, pushed apart where lines meet. */
  #label(plot, arms) {
    const u = unit();
    const ratio = uPlot.pxRatio;
    const ends = arms
      .map((arm, index) => ({ arm, value: ofArm(plot.data, index, arms.length).values.findLast((value) => value !== null) }))
      .map(({ arm, value }) => ({ arm, top: plot.valToPos(value, "y", true) / ratio }))
      .sort((one, other) => one.top - other.top);
    const gap = 3.4 * u;
    const ceiling = plot.bbox.top / ratio + gap / 2;
    const floor = (plot.bbox.top + plot.bbox.height) / ratio - gap / 2;
    ends.forEach((end, index) => (end.top = Math.max(end.top, index ? ends[index - 1].top + gap : ceiling)));
    ends.reverse().forEach((end, index) => (end.top = Math.min(end.top, index ? ends[index - 1].top - gap : floor)));
    for (const [arm, label] of this.#labels) {
      if (arms.includes(arm)) continue;
      label.remove();
      this.#labels.delete(arm);
    }
    for (const { arm, top } of ends) {
      if (!this.#labels.has(arm)) {
        const label = document.createElement("span");
        const { glyph, word } = armStyle(arm);
        label.className = `line-label ${arm}`;
        label.textContent = `${glyph} ${word}`;
        this.#labels.set(arm, this.#element.appendChild(label));
      }
      const { style } = this.#labels.get(arm);
      style.left = `${(plot.bbox.left + plot.bbox.width) / ratio + 1.6 * u}px`;
      style.top = `${top}px`;
    }
  }
}

/** A tile's small picture of one arm and metric over the same hour. */
export class Sparkline {
  #picture;
  #range = [0, 1];
  #span = [0, 1];

  constructor(element) {
    this.#picture = new Picture(element);
  }

  draw(points, metric, arm) {
    const table = columns(points, [arm], metric);
    if (!table[1].some((value) => value !== null)) {
      this.#picture.clear();
      return;
    }
    const u = unit();
    const endMs = points.at(-1).end_ms;
    this.#span = [endMs / 1000 - 60 * spanMinutes(points), endMs / 1000];
    this.#range = extent(table, 1);
    this.#picture.draw(arm, table, {
      padding: [0.4 * u, 1 * u, 0.4 * u, 0],
      scales: { x: { time: false, range: () => this.#span }, y: { range: () => this.#range } },
      axes: [{ show: false }, { show: false }],
      series: [{}, ...lines([arm], 0.35 * u)],
      bands: bands([arm]),
      hooks: { draw: [(plot) => markPoints(plot, [arm], 0.6 * u * uPlot.pxRatio)] },
    });
  }

  clear() {
    this.#picture.clear();
  }
}

/** Value and interval of a relative change on a line with zero in its middle: does the interval include zero? */
export class Ruler {
  #parts;
  #root;

  constructor(element) {
    this.#root = document.createElement("div");
    this.#root.className = "ruler";
    const part = (name) => {
      const one = this.#root.appendChild(document.createElement("span"));
      one.className = name;
      return one;
    };
    this.#parts = Object.fromEntries(["track", "zero", "range", "point", "zero-word"].map((name) => [name, part(name)]));
    this.#parts["zero-word"].textContent = "◆ holdout";
    this.#parts.zero.style.left = this.#parts["zero-word"].style.left = "50%";
    element.append(this.#root);
  }

  /** `ratio` has value, low and high around 1; null clears the line. */
  draw(ratio) {
    this.#root.hidden = ratio === null;
    if (ratio === null) return;
    const reach = Math.max(0.05, 1.1 * Math.abs(ratio.low - 1), 1.1 * Math.abs(ratio.high - 1));
    const place = (number) => 50 + (50 * (number - 1)) / reach;
    this.#parts.range.style.left = `${place(ratio.low)}%`;
    this.#parts.range.style.width = `${place(ratio.high) - place(ratio.low)}%`;
    this.#parts.point.style.left = `${place(ratio.value)}%`;
  }
}
