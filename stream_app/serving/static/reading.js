// What a snapshot says. Pure: every function here takes a snapshot (see GET /v1/view) and returns plain values.

import { count, fixed, minuteOfDay, windowName, withUnit } from "./format.js";

export const ALL = "all";
export const DEFAULT_WINDOW = "5m";

/** The arms in the order and the shape they are drawn in. A glyph and a word go with every colour. */
export const ARMS = {
  personalized: { glyph: "●", word: "personalized", token: "--personalized", dash: [] },
  holdout: { glyph: "◆", word: "holdout", token: "--holdout", dash: [3, 2] },
  context_blind: { glyph: "■", word: "context-blind", token: "--context-blind", dash: [0.8, 1.2] },
};
const STRANGERS = { [ALL]: "all arms", none: "no arm" };
const STRANGER = { glyph: "○", token: "--dim", dash: [] };

export function armStyle(arm) {
  return ARMS[arm] ?? { ...STRANGER, word: STRANGERS[arm] ?? arm };
}

/** Glyph and word of each state a partition can be in. */
export const PARTITION_STATES = {
  live: "●",
  idle: "○",
  behind: "…",
  lost: "✕",
  absent: "–",
};

/** Window names, shortest first, "all" last. */
export function windowNames(snapshot) {
  const length = (name) => (name === ALL ? Infinity : snapshot.windows[name].length_ms);
  return Object.keys(snapshot.windows).sort((one, other) => length(one) - length(other));
}

/** Surface names in the order of their impressions over everything kept, busiest first, without "all". */
export function surfaceNames(snapshot) {
  const widest = windowNames(snapshot).at(-1);
  return widest === undefined ? [] : bySize(snapshot.windows[widest]);
}

export function bySize(window) {
  return window.rows
    .filter((row) => row.arm === ALL && row.surface !== ALL)
    .sort((one, other) => impressions(other) - impressions(one) || (one.surface < other.surface ? -1 : 1))
    .map((row) => row.surface);
}

export function impressions(row) {
  return row?.measures?.impressions ?? 0;
}

export function rowOf(window, surface, arm) {
  return window.rows.find((row) => row.surface === surface && row.arm === arm);
}

/** The arms seen on a surface, known ones first; "all" only where no arm is told apart. */
export function armsOf(window, surface) {
  const seen = window.rows.filter((row) => row.surface === surface && impressions(row) > 0).map((row) => row.arm);
  const known = Object.keys(ARMS).filter((arm) => seen.includes(arm));
  const others = seen.filter((arm) => arm !== ALL && !(arm in ARMS)).sort();
  return known.length + others.length ? [...known, ...others] : seen;
}

/**
 * The window to show: the wanted one, or the shortest longer one that has what it lacks.
 * Null when nothing has been counted in any of them.
 */
export function chooseWindow(snapshot, wanted, surface) {
  const names = windowNames(snapshot);
  const asked = names.includes(wanted) ? wanted : DEFAULT_WINDOW;
  const hasSomething = (name) => impressions(rowOf(snapshot.windows[name], surface, ALL)) > 0;
  const name = names.slice(Math.max(0, names.indexOf(asked))).find(hasSomething);
  if (name === undefined) return null;
  return { name, asked, ...snapshot.windows[name] };
}

/** The arm whose figures the tiles show: the one that is watched, else the only one there is, else all together. */
export function watchedArm(window, surface) {
  const arms = armsOf(window, surface);
  if (arms.includes("personalized")) return "personalized";
  return arms.length === 1 ? arms[0] : ALL;
}

/** What `arm` does against `against`, as a ratio with bounds; null when there is too little to say. */
export function contrastOf(window, surface, metric, arm = "personalized", against = "holdout") {
  const fits = (contrast) =>
    contrast.surface === surface && contrast.metric === metric && contrast.arm === arm && contrast.against === against;
  return window.contrasts.find(fits)?.ratio ?? null;
}

/** "up", "down", or "same" when the interval of the ratio includes 1: then nothing has been shown. */
export function direction(ratio) {
  if (ratio.low > 1) return "up";
  return ratio.high < 1 ? "down" : "same";
}

/** What can be said of a window's numbers, in words: complete, settling, incomplete. */
export function trust(snapshot, window) {
  if (!snapshot.complete || !window.complete) return { state: "incomplete", words: "! incomplete" };
  if (window.maturity !== null && window.maturity < 1) {
    // Rounded down: "100 % settled" is said of nothing that still settles.
    return { state: "settling", words: `◐ ${Math.floor(window.maturity * 100)} % settled` };
  }
  return { state: "complete", words: "✓ complete" };
}

/** What is wrong, worst first, each said once. */
export function alerts(snapshot, chosen, surface) {
  const { pipeline } = snapshot;
  const found = watchAlerts(snapshot);
  const reasons = snapshot.incomplete_because;
  if (!pipeline.redis.up && !reasons.some((text) => text.includes("Redis"))) {
    found.push({ level: "bad", text: "Redis is down: figures stand still" });
  }
  if (!snapshot.complete && !reasons.length) found.push({ level: "bad", text: "figures are incomplete" });
  found.push(...reasons.map((text) => ({ level: "bad", text })));
  const isSaid = (partition) => reasons.some((text) => new RegExp(`\\bpartition ${partition}\\b`).test(text));
  for (const { partition, state, lag_records: lag } of pipeline.partitions) {
    if (isSaid(partition)) continue;
    if (state === "lost") found.push({ level: "bad", text: `partition ${partition} is lost: its worker is silent` });
    if (state === "behind") found.push({ level: "warn", text: `partition ${partition} is ${count(lag)} records behind` });
  }
  if (surface !== ALL && !surfaceNames(snapshot).includes(surface)) {
    found.push({ level: "warn", text: `no surface “${surface}” has been seen` });
  } else if (chosen && chosen.name !== chosen.asked) {
    const text = `no events in the last ${windowName(chosen.asked)}: showing ${windowName(chosen.name)}`;
    found.push({ level: "warn", text });
  }
  return [...found.filter(({ level }) => level === "bad"), ...found.filter(({ level }) => level === "warn")];
}

/** What the watch says of a surface, by the cause of its verdict: how bad it is, and in a word or two. */
const CAUSES = {
  drop: { level: "bad", word: "drop", text: "personalization dropped" },
  context: { level: "bad", word: "no context", text: "context does not arrive" },
  instrumentation: { level: "bad", word: "tracking", text: "tracking is broken" },
  mismatch: { level: "bad", word: "shares off", text: "the arms do not have their shares" },
  site_wide: { level: "warn", word: "site-wide", text: "the whole site changed, not personalization" },
  traffic: { level: "warn", word: "traffic", text: "traffic changed" },
};
const LONGEST_PART = 24; // a part of a surface with a longer name is told by API and command line: a row has one line
const OF = { ctr: "CTR", conversion: "conversion", relevance: "relevance" };

/** The verdicts that are open, and what keeps the watch from its work. */
function watchAlerts({ watch, incomplete_because: reasons }) {
  const found = [];
  const said = new Set();
  for (const { open } of watch.surfaces) {
    for (const { surface, kpi, cause, size, since_ms: since, contributors } of open) {
      const known = CAUSES[cause];
      if (!known) continue; // not enough is known yet: the meter says so
      const once = `${cause === "drop" ? kpi : cause} ${surface}`; // one cause may explain the fall of several rates
      if (said.has(once)) continue;
      said.add(once);
      const lost = cause === "drop" && size ? ` by ${withUnit(fixed(size.value * 100, 0), "%")}` : "";
      const what = OF[kpi] && cause === "drop" ? ` (${OF[kpi]}${lost})` : "";
      const [[most = ""] = []] = contributors;
      const where = cause === "drop" && most && most.length <= LONGEST_PART ? `, mostly ${most}` : "";
      found.push({ level: known.level, text: `${surface}: ${known.text}${what} since ${minuteOfDay(since)}${where}` });
    }
  }
  const why = watch.held_because;
  if (why && watch.surfaces.length && !reasons.some((text) => why.includes(text) || text.includes(why))) {
    found.push({ level: "warn", text: `the watch stands still: ${why}` });
  }
  if (watch.waiting && !watch.is_publishing) found.push({ level: "warn", text: `${count(watch.waiting)} verdicts wait for Kafka` });
  if (watch.unwatched) found.push({ level: "warn", text: `${count(watch.unwatched)} surfaces are not watched` });
  return found;
}

/** How far the evidence of a surface is on the way to an alarm, the rate that is furthest, and what to call it. */
export function meterOf({ surface, cause, paused, meters, words }) {
  const way = ({ log_evidence: evidence, log_threshold: threshold }) => Math.min(1, Math.max(0, evidence / threshold));
  const share = Math.max(0, ...meters.map((meter) => (meter.is_active ? 1 : way(meter))));
  const said = meters.map(({ kpi, log_evidence: e, log_threshold: t }) => `${OF[kpi] ?? kpi} ${fixed(e, 1)} of ${fixed(t, 1)}`);
  const title = [words, paused && `paused: ${paused}`, `evidence: ${said.join(", ")}`].filter(Boolean).join("; ");
  const percent = withUnit(fixed(Math.floor(share * 100), 0), "%");
  const as = (state, words) => ({ surface, share, state, words, title });
  const known = CAUSES[cause];
  if (known) return as(known.level === "bad" ? "alarm" : "notice", `${known.level === "bad" ? "✕" : "!"} ${known.word}`);
  if (paused) return as("paused", "– paused");
  if (cause === "not_enough") return as("learning", "○ learning");
  return share < 0.5 ? as("calm", `● calm ${percent}`) : as("rising", `▲ rising ${percent}`);
}

const URGENCY = ["alarm", "notice", "rising", "paused", "learning", "calm"];

/** The meters of the surfaces, the most urgent first, and one line about all of them. */
export function watchOf({ surfaces }, chosen) {
  const of = surfaces.filter(({ surface }) => chosen === ALL || surface === chosen).map(meterOf);
  of.sort((a, b) => URGENCY.indexOf(a.state) - URGENCY.indexOf(b.state) || b.share - a.share || (a.surface < b.surface ? -1 : 1));
  const calm = of.filter(({ state }) => state === "calm").length;
  const words = { 0: "none is calm", [of.length]: of.length === 1 ? "calm" : `all ${of.length} surfaces calm` }[calm];
  return { meters: of, words: `Watch against drops: ${words ?? `${calm} of ${of.length} surfaces calm`}` };
}

/** How long a window's end may lie behind the clock before its numbers are old. */
export function patienceMs(lengthMs) {
  return Math.max(3 * lengthMs, 60_000);
}

/** "partitions: 30 of 32 healthy"; an idle partition has nothing to do and is as healthy as a live one. */
export function partitionWords(partitions) {
  if (!partitions.length) return "no partitions yet";
  const healthy = partitions.filter(({ state }) => state === "live" || state === "idle").length;
  return `partitions: ${healthy === partitions.length ? "all" : `${healthy} of`} ${partitions.length} healthy`;
}
