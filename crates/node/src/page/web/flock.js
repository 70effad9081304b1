// The flock: every node a mark on a canvas, in its rack, in its zone. Drawn when something changed, and only then.

import { compare, compareText, fleet } from "./fleet.js";
import { draw, LETTERED, palette, sharpen } from "./marks.js";
import { announce, id, nodes as count } from "./words.js";

const [canvas, box, hint] = [id("flock"), id("flock-box"), id("hint")];
const calm = matchMedia("(prefers-reduced-motion: reduce)");
/** There the page is one column, and the flock as high as it needs. */
const narrow = matchMedia("(max-width: 900px)");

/** How far marks are apart, from the largest that is tried to the smallest; below so much racks are not named. */
const LARGEST = 34;
const SMALLEST = 7;
const NAMED = 10;
const [TITLE, RACK, GAP, ZONE_GAP] = [19, 13, 6, 9];

let on = null;
let colours = palette();
/** What is laid out: groups, the places of nodes, and how large a mark is. */
let laid = { zones: [], places: [], pitch: 0, mark: 0, wide: 0, high: 0, named: false };
let bySlot = new Map();
/** Marks that are to be drawn again, and those that still grow: slot to the part that is shown. */
const dirty = new Set();
const shown = new Map();
let whole = true;
let frame = null;
let focused = null;
let open = () => {};

/** Nodes in their racks in their zones, all by name. */
function grouped() {
  const zones = new Map();
  for (const node of fleet.agents().sort(compare)) {
    const racks = zones.get(node.who.zone) ?? zones.set(node.who.zone, new Map()).get(node.who.zone);
    const rack = racks.get(node.who.rack) ?? racks.set(node.who.rack, []).get(node.who.rack);
    rack.push(node);
  }
  const byName = ([a], [b]) => (a === "") - (b === "") || compareText(a, b);
  return [...zones].sort(byName).map(([zone, racks]) => ({ zone, racks: [...racks].sort(byName) }));
}

/** Lays racks of one width out in lines, zones beside each other where they fit; gives its height. */
function arrange(zones, pitch, columns, wide) {
  const named = pitch >= NAMED;
  const rackWide = columns * pitch + GAP;
  const perLine = Math.max(1, Math.floor((wide + GAP) / rackWide));
  const boxes = [];
  let [x, y, lineHigh] = [0, 0, 0];
  for (const zone of zones) {
    const racks = [];
    const zoneColumns = Math.min(perLine, zone.racks.length);
    const zoneWide = Math.max(zoneColumns * rackWide - GAP, Math.min(wide, 150));
    let high = TITLE;
    for (let first = 0; first < zone.racks.length; first += zoneColumns) {
      const line = zone.racks.slice(first, first + zoneColumns);
      const hasNames = named && line.some(([rack]) => rack !== "");
      const top = high + (hasNames ? RACK : 0);
      line.forEach(([rack, members], at) => racks.push({ rack, members, x: at * rackWide, y: top }));
      high = top + Math.ceil(Math.max(...line.map(([, members]) => members.length)) / columns) * pitch + GAP;
    }
    if (x > 0 && x + zoneWide > wide) [x, y, lineHigh] = [0, y + lineHigh + ZONE_GAP, 0];
    boxes.push({ ...zone, racks, x, y, wide: zoneWide });
    [x, lineHigh] = [x + zoneWide + 2 * ZONE_GAP, Math.max(lineHigh, high)];
  }
  return { boxes, high: y + lineHigh, named };
}

/** The largest marks with which everything fits, in the flattest way; the smallest, and a longer page, if none do. */
function fitted(zones, wide, high) {
  const most = Math.max(1, ...zones.flatMap((zone) => zone.racks.map(([, members]) => members.length)));
  const least = matchMedia("(pointer: coarse)").matches || wide < 500 ? 9 : SMALLEST;
  for (let pitch = LARGEST; ; pitch -= 1) {
    const widest = Math.max(1, Math.min(most, Math.floor(wide / pitch)));
    let best = null;
    for (let columns = 1; columns <= widest; columns += 1 + Math.floor(columns / 12)) {
      const arranged = { ...arrange(zones, pitch, columns, wide), pitch, columns };
      if (!best || arranged.high < best.high) best = arranged;
    }
    if (best.high <= high || pitch <= least) return best;
  }
}

function lay() {
  const zones = grouped();
  const room = narrow.matches ? innerHeight * 0.6 : box.clientHeight - 6;
  const wide = box.clientWidth - 2;
  const { boxes, high, pitch, columns, named } = fitted(zones, wide, Math.max(260, room));
  const places = boxes.flatMap((zone) => zone.racks.flatMap((rack) => rack.members.map((node, at) => ({
    node, x: zone.x + rack.x + (at % columns) * pitch + 1, y: zone.y + rack.y + Math.floor(at / columns) * pitch + 1,
  }))));
  laid = { zones: boxes, places, pitch, columns, mark: pitch - (pitch < 12 ? 2 : 4), wide, high: Math.max(high, 40), named };
  bySlot = new Map(places.map((place, at) => [place.node.slot, at]));
  on = sharpen(canvas, wide, laid.high);
  document.body.classList.toggle("has-letters", laid.mark >= LETTERED);
  whole = true;
}

function paint() {
  frame = null;
  if (!box.clientWidth) return;
  if (whole) paintAll();
  else for (const slot of dirty) paintOne(slot);
  dirty.clear();
  grow();
  if (dirty.size) later();
}

/** Those that still grow are drawn again in the next frame. */
function grow() {
  for (const [slot, part] of shown) {
    const place = laid.places[bySlot.get(slot)];
    const target = place ? fleet.mark(place.node).part / 1000 : part;
    if (Math.abs(target - part) < 0.004) {
      shown.delete(slot);
      continue;
    }
    shown.set(slot, part + (target - part) * 0.25);
    dirty.add(slot);
  }
}

function later() {
  frame ??= requestAnimationFrame(paint);
}

function paintAll() {
  on.clearRect(0, 0, laid.wide, laid.high + 2);
  on.textBaseline = "alphabetic";
  for (const zone of laid.zones) paintNames(zone);
  for (const place of laid.places) paintMark(place);
  whole = false;
  if (focused !== null) paintOne(focused);
}

function paintNames(zone) {
  on.textAlign = "left";
  on.textBaseline = "alphabetic";
  on.fillStyle = colours.text;
  on.font = "600 12px ui-sans-serif, system-ui, sans-serif";
  const members = zone.racks.reduce((sum, rack) => sum + rack.members.length, 0);
  const name = zone.zone === "" ? "no zone" : zone.zone;
  on.fillText(clipped(name, zone.wide - 70), zone.x, zone.y + 13);
  const after = zone.x + on.measureText(clipped(name, zone.wide - 70)).width + 8;
  on.fillStyle = colours.muted;
  on.font = "11px ui-sans-serif, system-ui, sans-serif";
  on.fillText(count(members), after, zone.y + 13);
  if (!laid.named) return;
  for (const rack of zone.racks) {
    on.fillText(clipped(rack.rack, laid.columns * laid.pitch), zone.x + rack.x, zone.y + rack.y - 3);
  }
}

function clipped(text, wide) {
  if (on.measureText(text).width <= wide) return text;
  let [cut, long] = [text, text.length];
  while (long > 1 && on.measureText(cut).width > wide) cut = `${text.slice(0, (long -= 1))}…`;
  return cut;
}

function paintMark({ node, x, y }) {
  const { is, part } = fleet.mark(node);
  draw(on, colours, is, x, y, laid.mark, shown.get(node.slot) ?? part / 1000);
}

function paintOne(slot) {
  const place = laid.places[bySlot.get(slot)];
  if (!place) return;
  const [gap, wide] = [(laid.pitch - laid.mark) / 2, laid.pitch];
  on.clearRect(place.x - gap, place.y - gap, wide, wide);
  paintMark(place);
  if (slot !== focused) return;
  on.strokeStyle = colours.focus;
  on.lineWidth = 2;
  on.strokeRect(place.x - gap, place.y - gap, wide, wide);
}

/** A ring reaches into the neighbours' boxes: they are drawn again as well. */
function refocus(slot) {
  const before = focused;
  focused = slot;
  if (before !== null || slot === null) whole = true;
  if (slot !== null) dirty.add(slot);
  later();
}

function changed({ detail }) {
  if (detail.fresh) {
    shown.clear();
    lay();
  }
  for (const node of detail.changed) {
    const mark = fleet.mark(node);
    if (mark.is === "fetching" && !calm.matches && !detail.fresh && !shown.has(node.slot)) shown.set(node.slot, node.drawn ?? 0);
    node.drawn = mark.part / 1000;
    dirty.add(node.slot);
  }
  if (focused !== null) dirty.add(focused);
  later();
}

/** The place of a node under a point, if there is one. */
function at(x, y) {
  const [pitch, gap] = [laid.pitch, (laid.pitch - laid.mark) / 2];
  return laid.places.find((place) => x >= place.x - gap && x < place.x - gap + pitch && y >= place.y - gap && y < place.y - gap + pitch);
}

function describe(node) {
  const { why } = fleet.mark(node);
  const where = [node.who.zone && `zone ${node.who.zone}`, node.who.rack && `rack ${node.who.rack}`].filter(Boolean).join(", ");
  return [node.who.name, where, fleet.words(node), why].filter(Boolean).join(", ");
}

function point(event) {
  const place = at(event.offsetX, event.offsetY);
  hint.hidden = !place;
  canvas.style.cursor = place ? "pointer" : "default";
  if (!place) return;
  hint.textContent = describe(place.node);
  const right = place.x + 14 + hint.offsetWidth > box.clientWidth;
  hint.style.left = `${Math.max(0, right ? place.x - hint.offsetWidth - 4 : place.x + 14)}px`;
  hint.style.top = `${place.y + laid.pitch + 4}px`;
}

/** The nearest mark in a direction. */
function next(from, dx, dy) {
  let [best, nearest] = [null, Infinity];
  for (const place of laid.places) {
    const [along, across] = dx ? [(place.x - from.x) * dx, Math.abs(place.y - from.y)] : [(place.y - from.y) * dy, Math.abs(place.x - from.x)];
    if (along <= 1) continue;
    const far = along + across * 4;
    if (far < nearest) [best, nearest] = [place, far];
  }
  return best;
}

const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

function pressed(event) {
  const here = laid.places[bySlot.get(focused)];
  if (event.key in ARROWS || event.key === "Home" || event.key === "End") {
    event.preventDefault();
    move(here, event.key);
  } else if (event.key === "Enter" && here) {
    open(here.node.slot, canvas);
  }
}

function move(here, key) {
  const to = key === "Home" ? laid.places[0] : key === "End" ? laid.places.at(-1) : here ? next(here, ...ARROWS[key]) : laid.places[0];
  if (!to) return;
  refocus(to.node.slot);
  announce(describe(to.node));
  const top = canvas.offsetTop + to.y;
  if (top < box.scrollTop || top + laid.pitch > box.scrollTop + box.clientHeight) box.scrollTop = top - box.clientHeight / 2;
}

/** Begins to draw; `opens` is told which node is to be opened, and where to return to. */
export function begin(opens) {
  open = opens;
  fleet.addEventListener("changed", changed);
  canvas.addEventListener("pointermove", point);
  canvas.addEventListener("pointerleave", () => (hint.hidden = true));
  canvas.addEventListener("keydown", pressed);
  canvas.addEventListener("click", (event) => {
    const place = at(event.offsetX, event.offsetY);
    if (!place) return;
    refocus(place.node.slot);
    open(place.node.slot, canvas);
  });
  canvas.addEventListener("focus", () => focused === null && laid.places[0] && canvas.matches(":focus-visible") && refocus(laid.places[0].node.slot));
  canvas.addEventListener("blur", () => refocus(null));
  new ResizeObserver(relay).observe(box);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", recolour);
  recolour();
}

let width = 0;
let height = 0;

function relay() {
  const same = width === box.clientWidth && (narrow.matches || height === box.clientHeight);
  if (same || !box.clientWidth) return;
  [width, height] = [box.clientWidth, box.clientHeight];
  lay();
  later();
}

function recolour() {
  colours = palette();
  whole = true;
  if (on) later();
}
