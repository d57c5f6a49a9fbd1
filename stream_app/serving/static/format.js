// Numbers and times as people read them. Pure: nothing here reads a clock, a locale or the page.

const THIN = "\u202f"; // narrow and never broken, so that "4.12 %" stays on one line
const MINUS = "\u2212";
const SECOND = 1000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;
const WEEKDAYS = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"];
const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/** How a metric is shown: `percent` of a ratio, or the `score` itself. */
export const STYLE = { ctr: "percent", conversion: "percent", relevance: "score" };

/** 12345.6 -> "12 346" with thin spaces and a true minus. */
export function count(number) {
  return fixed(number, 0);
}

/** Fixed decimals, thin spaces between thousands, a true minus, never "−0". */
export function fixed(number, decimals) {
  const [whole, fraction] = Math.abs(number).toFixed(decimals).split(".");
  const grouped = whole.replace(/\B(?=(\d{3})+$)/g, THIN);
  const digits = fraction === undefined ? grouped : `${grouped}.${fraction}`;
  return number < 0 && /[1-9]/.test(digits) ? MINUS + digits : digits;
}

/** Fixed decimals with "+" or "−" before anything but zero. */
export function signed(number, decimals) {
  const digits = fixed(number, decimals);
  return number > 0 && /[1-9]/.test(digits) ? `+${digits}` : digits;
}

/** Three significant digits of a percentage, at most three decimals: 0.046, 0.35, 4.12, 12.3, 100. */
export function decimals(percentage) {
  const size = Math.abs(percentage);
  if (size >= 99.95) return 0;
  if (size >= 9.995) return 1;
  return size >= 0.0995 || size === 0 ? 2 : 3;
}

/** An estimate's value and bounds as digits with the same number of decimals, fewer the less is known; and their unit. */
export function figures(style, estimate) {
  const scale = style === "score" ? 1 : 100;
  const shown = [estimate.value, estimate.low, estimate.high].map((number) => number * scale);
  const places = style === "score" ? 3 : decimals(shown[2]);
  const [value, low, high] = shown.map((number) => fixed(number, places));
  return { value, low, high, unit: style === "score" ? "" : "%" };
}

/** A ratio of two rates as the relative change it means: 1.123 -> "+12.3". */
export function change(ratio) {
  const shown = [ratio.value, ratio.low, ratio.high].map((number) => (number - 1) * 100);
  const places = Math.max(...shown.map(Math.abs)) >= 99.95 ? 0 : 1;
  const [value, low, high] = shown.map((number) => signed(number, places));
  return { value, low, high, unit: "%" };
}

/** "4.12 %" */
export function withUnit(digits, unit) {
  return unit ? `${digits}${THIN}${unit}` : digits;
}

/** A share of a whole as a percentage that never rounds something down to nothing. */
export function share(part, whole) {
  if (!whole) return withUnit("0", "%");
  const percentage = (100 * part) / whole;
  if (part > 0 && percentage < 0.01) return withUnit(`<${THIN}0.01`, "%");
  return withUnit(part === 0 ? "0" : fixed(percentage, decimals(percentage)), "%");
}

/** 725000 -> "12 min". */
export function duration(ms) {
  if (ms < MINUTE) return `${Math.floor(Math.max(0, ms) / SECOND)}${THIN}s`;
  if (ms < 2 * HOUR) return `${Math.floor(ms / MINUTE)}${THIN}min`;
  if (ms < 2 * DAY) return `${Math.floor(ms / HOUR)}${THIN}h`;
  return `${Math.floor(ms / DAY)}${THIN}days`;
}

/** "14:05" in the viewer's zone. */
export function minuteOfDay(ms) {
  return timeOfDay(ms).slice(0, 5);
}

/** "14:05:09" in the viewer's zone. */
export function timeOfDay(ms) {
  const date = new Date(ms);
  return [date.getHours(), date.getMinutes(), date.getSeconds()].map((part) => String(part).padStart(2, "0")).join(":");
}

/** The time of day to the second if it is the day of `nowMs`, else the date and the minute. */
export function moment(ms, nowMs) {
  const date = new Date(ms);
  if (date.toDateString() === new Date(nowMs).toDateString()) return timeOfDay(ms);
  const day = `${WEEKDAYS[date.getDay()]} ${date.getDate()} ${MONTHS[date.getMonth()]}`;
  const year = date.getFullYear() === new Date(nowMs).getFullYear() ? "" : ` ${date.getFullYear()}`;
  return `${day}${year} ${minuteOfDay(ms)}`;
}

/** "5m" -> "5 min"; "all" -> "everything". */
export function windowName(name) {
  const parts = /^(\d+)([smhd])$/.exec(name);
  if (!parts) return name === "all" ? "everything" : name;
  const unit = { s: "s", m: "min", h: "h", d: parts[1] === "1" ? "day" : "days" }[parts[2]];
  return `${parts[1]} ${unit}`;
}
