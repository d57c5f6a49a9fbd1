// What a snapshot looks like: each function writes one part of the page. Text goes in as text, never as markup.

import { Ruler, Sparkline, unit } from "./charts.js";
import { STYLE, change, count, figures, fixed, share, withUnit } from "./format.js";
import {
  ALL,
  PARTITION_STATES,
  armStyle,
  armsOf,
  bySize,
  contrastOf,
  direction,
  impressions,
  partitionWords,
  rowOf,
  trust,
  watchedArm,
} from "./reading.js";

const NOT_ENOUGH = "not enough data";
const KPIS = [
  { metric: "ctr", name: "CTR" },
  { metric: "conversion", name: "Conversion" },
  { metric: "relevance", name: "Contextual relevance" },
];
const VERDICTS = { up: "▲ personalization helps", down: "▼ personalization hurts", same: "● no change" };
// Above this share of rejected records a producer is probably broken; a few are always.
const REJECTED_WORTH_A_LOOK = 0.01;
const ARROWS = { up: "▲", down: "▼", same: "●" };

/** Change an element's text only when it differs, so that a screen reader is told only what is new. */
export function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

function make(tag, className = "", text = "") {
  const element = document.createElement(tag);
  if (className) element.className = className;
  if (text) element.textContent = text;
  return element;
}

function judgement(way, isUpGood) {
  if (way === "same" || isUpGood === null) return "same"; // of some metrics neither way is good
  return (way === "up") === isUpGood ? "good" : "bad";
}

function describe(element, { metric, arm, surface, field, estimate }) {
  Object.assign(element.dataset, { metric, arm, surface, field });
  for (const part of ["value", "low", "high", "n"]) element.dataset[part] = estimate?.[part] ?? "";
}

/** The row of key figures. Mutable state: the tiles and their pictures, made once. */
export class Tiles {
  #tiles;
  #lift;

  constructor(section) {
    const template = document.getElementById("tile");
    const tile = (metric, name) => {
      const root = template.content.firstElementChild.cloneNode(true);
      const part = (selector) => root.querySelector(selector);
      const [value, bounds, mark, words, plot, arm] = [".value", ".bounds", ".mark", ".words", ".plot", ".arm"].map(part);
      part(".name").textContent = name;
      root.dataset.tile = metric;
      section.append(root);
      return { root, metric, name, value, bounds, mark, words, plot, arm };
    };
    this.#tiles = KPIS.map(({ metric, name }) => tile(metric, name)).map((one) => ({ ...one, spark: new Sparkline(one.plot) }));
    const lift = tile("lift", "Lift vs holdout");
    lift.root.classList.add("lift");
    lift.arm.textContent = "CTR";
    this.#lift = { ...lift, ruler: new Ruler(lift.plot) };
  }

  draw(snapshot, window, surface, series, catalogue, isOld) {
    const mark = isOld ? { state: "old", words: "✕ old" } : trust(snapshot, window);
    const arm = watchedArm(window, surface);
    for (const tile of this.#tiles) {
      const { metric } = tile;
      const declared = catalogue.find((one) => one.name === metric);
      const estimate = rowOf(window, surface, arm)?.metrics[metric] ?? null;
      const { glyph, word } = armStyle(arm);
      say(tile.arm, `${glyph} ${word}`);
      tile.arm.className = `arm ${arm}`;
      tile.root.title = declared ? `${declared.title}: ${declared.help}` : "";
      tile.root.setAttribute("aria-label", `${tile.name}, ${word}`);
      figure(tile, estimate && figures(STYLE[metric], estimate), "–");
      describe(tile.value, { metric, arm, surface, field: "value", estimate });
      marks(tile, estimate && mark);
      compare(tile, window, surface, declared ? declared.is_up_good : true);
      // The series is of one surface; under the figures of another it would mislead.
      if (series.surface === surface) tile.spark.draw(series.points, metric, arm);
      else tile.spark.clear();
    }
    this.#drawLift(window, surface, mark);
  }

  #drawLift(window, surface, mark) {
    const tile = this.#lift;
    const ratio = contrastOf(window, surface, "ctr");
    const way = ratio && direction(ratio);
    // No conclusion from figures that cannot be trusted.
    const isSound = mark.state !== "incomplete" && mark.state !== "old";
    const verdict = ratio && isSound ? judgement(way, true) : "same";
    tile.root.setAttribute("aria-label", "Lift of CTR, personalized against holdout");
    tile.root.classList.toggle("good", verdict === "good");
    tile.root.classList.toggle("bad", verdict === "bad");
    figure(tile, ratio && change(ratio), " … ");
    describe(tile.value, { metric: "lift", arm: "personalized", surface, field: "value", estimate: ratio });
    marks(tile, ratio && mark);
    const seen = impressions(rowOf(window, surface, "holdout"));
    const lacking = seen ? `◆ holdout: ${count(seen)} impressions` : "no holdout in this window";
    say(tile.words, !ratio ? lacking : isSound ? VERDICTS[way] : `no verdict: ${mark.state}`);
    tile.words.className = `words ${ratio ? `verdict ${verdict}` : ""}`;
    tile.ruler.draw(ratio);
  }
}

function figure(tile, shown, between) {
  tile.value.classList.toggle("absent", !shown);
  if (!shown) {
    say(tile.value, "not enough\ndata");
    say(tile.bounds, "");
    return;
  }
  const unitPart = make("span", "unit", shown.unit && withUnit("", shown.unit));
  tile.value.replaceChildren(shown.value, unitPart);
  say(tile.bounds, withUnit(`${shown.low}${between}${shown.high}`, shown.unit));
}

function marks(tile, mark) {
  const isWorthSaying = mark && mark.state !== "complete";
  say(tile.mark, isWorthSaying ? mark.words : "");
  tile.mark.className = `mark ${mark?.state ?? ""}`;
}

/** Under a figure: its change against the holdout where that has been worked out, else the holdout's own figure. */
function compare(tile, window, surface, isUpGood) {
  const { metric, words } = tile;
  const ratio = metric === "ctr" ? null : contrastOf(window, surface, metric);
  if (ratio) {
    const way = direction(ratio);
    const { value, unit: sign } = change(ratio);
    words.className = `words ${judgement(way, isUpGood)}`;
    say(words, way === "same" ? "● no change vs holdout" : `${ARROWS[way]} ${withUnit(value, sign)} vs holdout`);
    return;
  }
  const holdout = rowOf(window, surface, "holdout")?.metrics[metric] ?? null;
  const shown = holdout && figures(STYLE[metric], holdout);
  words.className = "words";
  const { glyph, word } = armStyle("holdout");
  words.replaceChildren(...(shown ? [make("span", "holdout", `${glyph} ${word}`), ` ${withUnit(shown.value, shown.unit)}`] : []));
}

/** Fill the table with as many of the busiest surfaces as its card has room for; unsound lifts are not coloured. */
export function drawArms(card, window, surface, isSound) {
  const table = card.querySelector("table");
  const surfaces = surface === ALL ? bySize(window) : [surface];
  const groups = surfaces.map((name) => ({ name, arms: armsOf(window, name) })).filter(({ arms }) => arms.length);
  const style = getComputedStyle(card);
  const u = unit();
  const padding = parseFloat(style.paddingTop) + parseFloat(style.paddingBottom);
  const room = card.clientHeight - padding - u; // what is left over goes to the rules between groups
  const isFree = innerWidth <= innerHeight; // a scrolling page has room for all
  const capacity = isFree ? Infinity : Math.floor(room / (3.4 * u)) - 1;
  const shown = [];
  let rows = 0;
  for (const group of groups) {
    if (shown.length && rows + group.arms.length + 1 > capacity) break;
    shown.push(group);
    rows += group.arms.length + 1;
  }
  const whole = { name: ALL, arms: armsOf(window, ALL) };
  if (surface === ALL && shown.length === groups.length && rows + whole.arms.length + 1 <= capacity) {
    shown.unshift(whole);
    rows += whole.arms.length + 1;
  }
  const height = Math.min(room / (rows + 1), 4.6 * u);
  if (!isFree) table.style.setProperty("--row", `${Math.floor(height)}px`);
  const isCut = shown.length < groups.length;
  say(document.getElementById("arms-count"), isCut ? `${shown.length} of ${groups.length} surfaces` : "Surface, arm");
  table.replaceChildren(table.caption, table.tHead, ...shown.map((group) => groupOf(window, group, capacity, isSound)));
}

function groupOf(window, { name, arms }, capacity, isSound) {
  const body = make("tbody");
  const head = body.appendChild(make("tr", "group"));
  const title = head.appendChild(make("th", "", name === ALL ? "all surfaces" : name));
  title.scope = "rowgroup";
  title.colSpan = 2;
  title.title = name;
  const verdict = head.appendChild(make("td"));
  verdict.colSpan = 2;
  const ratio = contrastOf(window, name, "ctr");
  if (ratio) {
    const way = direction(ratio);
    const { value, low, high, unit: sign } = change(ratio);
    const words = way === "same" ? "no change" : `CTR ${withUnit(value, sign)}`;
    const span = make("span", isSound ? judgement(way, true) : "same", `${ARROWS[way]} ${words} (${low}…${high})`);
    describe(span, { metric: "lift", arm: "personalized", surface: name, field: "lift", estimate: ratio });
    verdict.append(span);
  }
  for (const arm of arms.slice(0, Math.max(1, capacity - 1))) {
    const row = body.appendChild(make("tr"));
    const { glyph, word } = armStyle(arm);
    const label = row.appendChild(make("th", arm, `${glyph} ${word}`));
    label.scope = "row";
    const { measures, metrics } = rowOf(window, name, arm);
    for (const { metric } of KPIS) row.append(cellOf(name, arm, metric, measures, metrics[metric] ?? null));
  }
  return body;
}

function cellOf(surface, arm, metric, measures, estimate) {
  const cell = make("td", estimate ? "" : "absent");
  const shown = estimate && figures(STYLE[metric], estimate);
  // As tables do: no zero before the point where the decimals take the room.
  const brief = (digits) => digits.replace(/^0(\.\d{3})$/, "$1");
  const value = make("span", shown ? "value-part" : "", shown ? brief(shown.value) : NOT_ENOUGH);
  describe(value, { metric, arm, surface, field: "value", estimate });
  cell.append(value);
  if (shown) cell.append(make("span", "interval-part", `${brief(shown.low)}–${brief(shown.high)}`));
  cell.dataset.impressions = measures.impressions ?? "";
  cell.dataset.clicks = measures.clicks ?? "";
  return cell;
}

/** The pipeline strip: is what is shown above all that there is? */
export function drawPipeline(pipeline) {
  const { outcomes, records, redis, rejected, workers } = pipeline;
  const reasons = Object.entries(rejected).map(([reason, number]) => `${reason} ${count(number)}`);
  const rate = pipeline.events_per_second;
  const isBehind = pipeline.partitions.some(({ state }) => state === "behind" || state === "lost");
  const stages = [
    { name: "events/s", field: "rate", text: fixed(rate, rate < 10 && rate > 0 ? 1 : 0), number: rate },
    { name: "lag, records", field: "lag", text: count(pipeline.lag_records), number: pipeline.lag_records, level: isBehind ? "warn" : "" },
    ...["late", "duplicate", "rejected"].map((outcome) => ({
      name: { duplicate: "duplicates" }[outcome] ?? outcome,
      field: outcome,
      text: share(outcomes[outcome] ?? 0, records),
      number: outcomes[outcome] ?? 0,
      level: outcome === "rejected" && outcomes[outcome] > REJECTED_WORTH_A_LOOK * records ? "warn" : "",
      title: `${count(outcomes[outcome] ?? 0)} of ${count(records)} records` + (outcome === "rejected" && reasons.length ? `: ${reasons.join(", ")}` : ""),
    })),
    { name: "Redis", field: "redis", text: redis.up ? withUnit(fixed(redis.ms, 1), "ms") : "down", number: redis.ms ?? "", level: redis.up ? "good" : "bad" },
    { name: "workers", field: "workers", text: count(workers.length), number: workers.length, level: workers.length ? "" : "bad", title: workers.join(", ") },
  ];
  const list = document.getElementById("pipeline");
  if (!list.children.length) {
    for (const { name } of stages) {
      const stage = list.appendChild(make("div", "card stage"));
      stage.append(make("dt", "", name), make("dd"));
    }
  }
  stages.forEach(({ field, text, number, level = "", title = "" }, index) => {
    const stage = list.children[index];
    stage.title = title;
    const [, value] = stage.children;
    say(value, text);
    value.className = level;
    Object.assign(value.dataset, { field, value: number });
  });
  drawPartitions(pipeline.partitions);
}

/** One cell per partition; where they do not all fit, the troubled ones come first and the rest are counted. */
function drawPartitions(partitions) {
  const list = document.querySelector("#partitions ul");
  const u = unit();
  const places = Math.max(1, Math.floor((list.clientWidth + 0.5 * u) / (4.1 * u + 0.01)));
  const fits = partitions.length <= places;
  const severity = ["lost", "absent", "behind", "idle", "live"];
  const ranked = [...partitions].sort((one, other) => severity.indexOf(one.state) - severity.indexOf(other.state));
  const shown = fits ? partitions : ranked.slice(0, Math.max(1, places - 3));
  say(document.getElementById("partitions-words"), partitionWords(partitions));
  const cells = shown.map(({ partition, state, lag_records: lag, worker }) => {
    const cell = make("li", state);
    const glyph = make("span", "", PARTITION_STATES[state] ?? "?");
    glyph.ariaHidden = "true";
    const words = `partition ${partition}: ${state}, ${count(lag)} records behind, ${worker ? `worker ${worker}` : "no worker"}`;
    cell.append(glyph, make("span", "unseen", words));
    Object.assign(cell.dataset, { partition, state });
    cell.title = words;
    return cell;
  });
  const rest = partitions.length - shown.length;
  if (rest) cells.push(make("li", "rest", `+ ${rest}`));
  list.replaceChildren(...cells);
}

/** The alert row: as many findings as one line holds, and how many more there are. */
export function drawAlerts(row, found) {
  const key = found.map(({ level, text }) => level + text).join("\n");
  row.hidden = found.length === 0;
  if (row.dataset.said === `${key} ${innerWidth}`) return;
  row.dataset.said = `${key} ${innerWidth}`;
  row.classList.toggle("bad", found.some(({ level }) => level === "bad"));
  row.replaceChildren(...found.map(({ level, text }) => make("span", level, text)));
  const rest = make("span", "rest");
  let hidden = 0;
  while (row.scrollWidth > row.clientWidth + 1 && row.children.length > (hidden ? 2 : 1)) {
    rest.remove();
    row.lastElementChild.remove();
    hidden += 1;
    rest.textContent = `and ${hidden} more`;
    row.append(rest);
  }
}

const METERS = 4;

/** The evidence meters: how close the watch over each surface is to an alarm; the most urgent, where not all fit. */
export function drawWatch(card, { meters, words }) {
  card.hidden = meters.length === 0;
  const shown = meters.slice(0, METERS);
  const rest = meters.length - shown.length;
  say(card.querySelector("h2"), rest ? `${words}, ${rest} not shown` : words);
  card.querySelector("ul").replaceChildren(...shown.map(meterRow));
}

function meterRow({ surface, share, state, words, title }) {
  const row = make("li");
  Object.assign(row.dataset, { surface, state, share });
  row.title = `${surface}: ${title}`;
  const line = row.appendChild(make("div", "line"));
  line.append(make("span", "where", surface), make("span", `state ${state}`, words));
  const track = row.appendChild(make("div", "track"));
  track.setAttribute("role", "meter");
  track.setAttribute("aria-label", `evidence of a drop on ${surface}`);
  Object.assign(track, { ariaValueMin: "0", ariaValueMax: "100", ariaValueNow: String(Math.round(share * 100)) });
  track.appendChild(make("div", `fill ${state}`)).style.width = `${share * 100}%`;
  return row;
}
