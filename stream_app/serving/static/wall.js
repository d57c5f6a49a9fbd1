// The wall: what the server pushes, drawn at once. This module holds the state and the clock; what a snapshot says is
// worked out in reading.js, what it looks like in panels.js and charts.js.
//
//   ?window=1h    which window the tiles and the table show (keys 1 to 8, arrow left and right)
//   ?surface=x    only this surface (arrow up and down)
//   ?stale=15     seconds of silence after which the figures count as old

import { Trend, spanMinutes } from "./charts.js";
import { Feed } from "./feed.js";
import { duration, minuteOfDay, moment, timeOfDay, windowName } from "./format.js";
import { Tiles, drawAlerts, drawArms, drawPipeline, drawWatch, say } from "./panels.js";
import { ALL, ARMS, DEFAULT_WINDOW, alerts, chooseWindow, patienceMs, surfaceNames, trust, watchOf, windowNames } from "./reading.js";

const SILENCE_S = 15;
const AGE_WORTH_SAYING_MS = 60_000;
const parameters = new URLSearchParams(location.search);
const element = (id) => document.getElementById(id);

const tiles = new Tiles(element("tiles"));
const trend = new Trend(element("trend-chart"));

// Mutable state of the page.
let snapshot = null;
let catalogue = [];
let wanted = parameters.get("window") ?? DEFAULT_WINDOW;
let surface = parameters.get("surface") ?? ALL;
let shown = null; // the window on display
let clockOffsetMs = 0; // server's clock less ours: a wall's own clock is often wrong
let ofSurface = null; // the series of the chosen surface, where that is not all of them
let drawnAsOld = null; // whether the tiles on display say that they are old

const patience = 1000 * (Number(parameters.get("stale")) || SILENCE_S);
const feed = new Feed("v1/stream", patience, {
  onSnapshot(received) {
    snapshot = received;
    render();
    followSurface();
  },
  onHeartbeat(atMs) {
    clockOffsetMs = atMs - Date.now();
    tick();
  },
  onNewBuild() {
    location.reload();
  },
});

function now() {
  return Date.now() + clockOffsetMs;
}

/** Two ways to be old: nobody speaks to us, or what they say ends long ago. */
function staleness() {
  if (feed.silenceMs >= patience) return { why: "connection", ageMs: feed.silenceMs };
  if (shown === null) return null;
  const ageMs = now() - shown.end_ms;
  return ageMs > patienceMs(shown.length_ms) ? { why: "data", ageMs } : null;
}

function render() {
  if (snapshot === null) return;
  shown = snapshot.end_ms === null ? null : chooseWindow(snapshot, wanted, surface);
  const root = document.documentElement;
  document.body.classList.toggle("waiting", shown === null);
  document.title = `Lynceus · ${snapshot.title}`;
  say(element("title"), snapshot.title);
  fillChoices();
  drawAlerts(element("alert"), alerts(snapshot, shown, surface));
  drawPipeline(snapshot.pipeline);
  if (shown === null) {
    const isElsewhere = snapshot.end_ms !== null && surface !== ALL;
    say(element("waiting-words"), isElsewhere ? `nothing from surface “${surface}” yet` : "connected; figures appear as soon as events are counted");
    element("trust").hidden = true;
    say(element("end"), "");
  } else {
    renderFigures();
  }
  tick();
  root.dataset.endMs = snapshot.end_ms ?? "";
  root.dataset.window = shown?.name ?? "";
  root.dataset.ready = "1";
}

/** The stream carries the series of all surfaces together; that of one is asked for. */
async function followSurface() {
  const asked = surface;
  if (asked === ALL || shown === null) return;
  const answer = await fetch(`v1/series?surface=${encodeURIComponent(asked)}`).catch(() => null);
  if (!answer?.ok) return;
  const received = await answer.json();
  if (asked !== surface || shown === null) return; // chosen anew meanwhile
  ofSurface = received;
  renderFigures();
}

/** The series to draw: the chosen surface's own where it has come, else that of all, which then says so. */
function series() {
  return ofSurface?.surface === surface ? ofSurface : snapshot.series;
}

function renderFigures() {
  drawnAsOld = staleness() !== null;
  tiles.draw(snapshot, shown, surface, series(), catalogue, drawnAsOld);
  const { state, words } = trust(snapshot, shown);
  drawArms(element("arms"), shown, surface, !drawnAsOld && state !== "incomplete");
  element("trust").hidden = drawnAsOld; // what was complete then says nothing about now
  element("trust").dataset.state = state;
  say(element("trust"), words);
  drawWatch(element("watch"), watchOf(snapshot.watch, surface));
  renderTrend();
}

function renderTrend() {
  const { points, surface: drawn } = series();
  const where = surface !== ALL && drawn === ALL ? " of all surfaces" : "";
  say(element("trend-words"), `CTR over 5 min${where}, last ${spanMinutes(points)} min`);
  const isSettling = snapshot.sealed_ms !== null && points.length > 0 && snapshot.sealed_ms < points.at(-1).end_ms;
  element("trend-settling").hidden = !isSettling;
  trend.draw(points, "ctr", snapshot.sealed_ms);
  const newest = points.at(-1);
  const rates = Object.entries(ARMS)
    .filter(([arm]) => newest?.arms[arm]?.ctr)
    .map(([arm, { word }]) => `${word} ${(newest.arms[arm].ctr.value * 100).toFixed(2)} %`);
  const summary = newest ? `CTR of each arm by the minute; at ${minuteOfDay(newest.start_ms)}: ${rates.join(", ") || "none"}` : "no points yet";
  element("trend-chart").setAttribute("aria-label", summary);
}

/** What changes without the server: the clock, the seconds since it spoke, and so whether figures are old. */
function tick() {
  feed.watch();
  const stale = staleness();
  say(element("clock"), timeOfDay(now()));
  document.body.classList.toggle("stale", stale !== null);
  document.body.classList.toggle("silent", stale?.why === "connection");
  const isConnected = snapshot !== null || stale !== null;
  const state = stale ? "stale" : isConnected ? "live" : "connecting";
  element("connection").dataset.state = state;
  say(element("state"), { stale: "✕ STALE", live: "● LIVE", connecting: "○ CONNECTING" }[state]);
  say(element("age"), isConnected ? duration(stale ? stale.ageMs : feed.silenceMs) : "");
  if (shown === null) return;
  const ageMs = now() - shown.end_ms;
  const isOld = ageMs > AGE_WORTH_SAYING_MS;
  const end = moment(shown.end_ms, now());
  const isSilent = stale?.why === "connection";
  const ending = isOld ? `data ends ${end}, ${duration(ageMs)} ago` : `ends ${end}`;
  say(element("end"), isSilent ? `server silent, data ends ${end}` : ending);
  element("end").classList.toggle("old", isOld || isSilent);
  if (drawnAsOld !== (stale !== null)) renderFigures();
}

function fillChoices() {
  choices(element("window"), windowNames(snapshot).map((name) => [name, windowName(name)]), shown?.name ?? wanted);
  const known = surfaceNames(snapshot);
  const names = [ALL, ...known, ...(surface === ALL || known.includes(surface) ? [] : [surface])];
  choices(element("surface"), names.map((name) => [name, name === ALL ? "all surfaces" : name]), surface);
}

function choices(select, options, chosen) {
  const key = options.map(([value]) => value).join("\n");
  if (select.dataset.options !== key) {
    select.dataset.options = key;
    select.replaceChildren(...options.map(([value, text]) => new Option(text, value)));
  }
  select.value = chosen;
}

function choose(name, value) {
  if (value === undefined) return;
  if (name === "window") wanted = value;
  else surface = value;
  parameters.set(name, value);
  history.replaceState(null, "", `?${parameters}`);
  render();
  followSurface();
}

function step(select, by) {
  const values = [...select.options].map((option) => option.value);
  return values[(select.selectedIndex + by + values.length) % values.length];
}

addEventListener("keydown", (event) => {
  if (snapshot === null || event.ctrlKey || event.altKey || event.metaKey) return;
  if (event.target instanceof HTMLSelectElement) return; // it has its own use for the keys
  const names = windowNames(snapshot);
  if (/^[1-9]$/.test(event.key)) choose("window", names[Number(event.key) - 1]);
  else if (event.key === "ArrowRight") choose("window", step(element("window"), 1));
  else if (event.key === "ArrowLeft") choose("window", step(element("window"), -1));
  else if (event.key === "ArrowDown") choose("surface", step(element("surface"), 1));
  else if (event.key === "ArrowUp") choose("surface", step(element("surface"), -1));
  else return;
  event.preventDefault();
});
for (const name of ["window", "surface"]) {
  element(name).addEventListener("change", ({ target }) => {
    choose(name, target.value);
    target.blur(); // the keys belong to the wall again
  });
}
addEventListener("resize", render);
setInterval(tick, 500);
tick();

// Titles and definitions are a courtesy (hover, screen readers): without them the wall still shows every figure.
const answer = await fetch("v1/catalogue").catch(() => null);
if (answer?.ok) {
  catalogue = (await answer.json()).metrics;
  render();
}
