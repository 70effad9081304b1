// Numbers and times in words, and elements that hold text and never markup.

const UNITS = ["B", "kB", "MB", "GB", "TB"];

export const number = (value) => value.toLocaleString("en");

export const nodes = (count) => `${number(count)} ${count === 1 ? "node" : "nodes"}`;

/** Bytes, in powers of a thousand. */
export function size(bytes) {
  let [value, unit] = [bytes, 0];
  while (value >= 999.5 && unit + 1 < UNITS.length) [value, unit] = [value / 1000, unit + 1];
  return `${value.toFixed(unit === 0 || value >= 99.95 ? 0 : 1)} ${UNITS[unit]}`;
}

/** Seconds: 12 s, 3 min 5 s, 2 h 10 min, 4 d. */
export function duration(seconds) {
  const whole = Math.max(0, Math.round(seconds));
  if (whole < 100) return `${whole} s`;
  if (whole < 7200) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
  if (whole < 172800) return `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`;
  return `${Math.floor(whole / 86400)} d`;
}

/** Microseconds. */
export function moment(micros) {
  const ms = micros / 1000;
  if (ms < 1000) return `${ms.toFixed(ms < 10 ? 1 : 0)} ms`;
  return ms < 100000 ? `${(ms / 1000).toFixed(1)} s` : duration(ms / 1000);
}

/** A time of the wall clock; with its day when that is not today. */
export function clock(seconds) {
  const then = new Date(seconds * 1000);
  const time = then.toLocaleTimeString("en-GB");
  const isToday = then.toDateString() === new Date().toDateString();
  return isToday ? time : then.toLocaleString("en-GB", { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit" });
}

export const id = (name) => document.getElementById(name);

/** An element with classes, and text or other elements in it. */
export function make(tag, classes, ...inside) {
  const element = document.createElement(tag);
  if (classes) element.className = classes;
  element.append(...inside.filter((part) => part !== null && part !== undefined));
  return element;
}

/** Sets text only where it changed, so that nothing is announced or laid out anew for nothing. */
export function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

const announcements = [];
let announcing = null;

/** Says something to those who do not see the page; what comes close together is said together. */
export function announce(text) {
  if (announcements.at(-1) !== text) announcements.push(text);
  announcing ??= setTimeout(() => {
    id("said").textContent = announcements.splice(0).slice(-4).join(". ");
    announcing = null;
  }, 700);
}
