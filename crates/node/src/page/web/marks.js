// How a node stands, as a mark: its word, its letter, its shape. No two differ by colour alone.

/** In the order of the legend: what needs somebody comes first. */
export const STANDINGS = [
  { is: "failed", word: "failed", letter: "X" },
  { is: "fell-back", word: "fell back", letter: "B" },
  { is: "away", word: "not connected", letter: "" },
  { is: "waiting", word: "waiting", letter: "W" },
  { is: "fetching", word: "fetching", letter: "F" },
  { is: "staged", word: "staged", letter: "S" },
  { is: "live", word: "live", letter: "L" },
  { is: "confirmed", word: "confirmed", letter: "C" },
  { is: "apart", word: "not for it", letter: "" },
];

const BY_NAME = new Map(STANDINGS.map((standing) => [standing.is, standing]));

export const standing = (is) => BY_NAME.get(is);

/** The colours of this moment, light or dark, from the style sheet. */
export function palette() {
  const style = getComputedStyle(document.documentElement);
  const of = (name) => style.getPropertyValue(name).trim();
  const marks = Object.fromEntries(STANDINGS.map(({ is }) => [is, of(`--mark-${is}`)]));
  return { ...marks, ground: of("--panel"), text: of("--text"), muted: of("--muted"), line: of("--line"), focus: of("--focus"), ink: of("--ink") };
}

/** From so wide on a mark holds its letter; below so much its shape is as plain as it can be. */
export const LETTERED = 17;
const TINY = 8;

/** Draws a mark whose box begins at x, y and is `box` wide; `part` is how much of it is here, from 0 to 1. */
export function draw(on, colours, is, x, y, box, part) {
  on.fillStyle = on.strokeStyle = colours[is];
  on.lineWidth = box < 14 ? 1 : 1.5;
  SHAPES[is](on, x, y, box, part, colours);
  if (box >= LETTERED && is !== "away") letter(on, colours, is, x + box / 2, y + box / 2, box);
}

function outline(on, x, y, box) {
  const by = on.lineWidth / 2;
  on.strokeRect(x + by, y + by, box - 2 * by, box - 2 * by);
}

function dot(on, x, y, box, wide) {
  const at = Math.round((box - wide) / 2);
  on.fillRect(x + at, y + at, wide, wide);
}

function corners(on, ...points) {
  on.beginPath();
  for (const [x, y] of points) on.lineTo(x, y);
  on.fill();
}

/** It fills from below as it comes; is hollow while it waits for its wave; is whole when it is well. What is wrong is no square. */
const SHAPES = {
  confirmed: (on, x, y, box) => on.fillRect(x, y, box, box),
  live(on, x, y, box, part, colours) {
    on.fillRect(x, y, box, box);
    on.fillStyle = colours.ground;
    if (box < LETTERED) dot(on, x, y, box, Math.max(1, Math.round(box / 3)));
    else on.fillRect(x + 3, y + box - 5, box - 6, 2);
  },
  staged(on, x, y, box) {
    outline(on, x, y, box);
    if (box >= LETTERED) on.fillRect(x + 3, y + box - 5, box - 6, 2);
    else if (box >= TINY) dot(on, x, y, box, Math.round(box / 3));
  },
  fetching(on, x, y, box, part, colours) {
    const high = Math.round(box * part);
    if (box >= TINY) outline(on, x, y, box);
    else on.fillRect(x, y + box - 1, box, 1);
    on.globalAlpha = box >= LETTERED ? 0.45 : 1;
    on.fillRect(x, y + box - high, box, high);
    on.globalAlpha = 1;
  },
  waiting(on, x, y, box) {
    if (box >= TINY) outline(on, x, y, box);
    else dot(on, x, y, box, 2);
  },
  failed(on, x, y, box) {
    const [half, more] = [box / 2, box < LETTERED ? 1 : 2];
    corners(on, [x + half, y - more], [x + box + more, y + half], [x + half, y + box + more], [x - more, y + half]);
  },
  "fell-back": (on, x, y, box) => corners(on, [x + box, y], [x + box, y + box], [x, y + box / 2]),
  away(on, x, y, box) {
    const half = box / 2;
    on.beginPath();
    on.arc(x + half, y + half, half - on.lineWidth / 2, 0, 7);
    on.moveTo(x + box * 0.2, y + box * 0.8);
    on.lineTo(x + box * 0.8, y + box * 0.2);
    on.stroke();
  },
  apart: (on, x, y, box) => on.fillRect(x + box * 0.2, y + Math.floor(box / 2), box * 0.6, 1),
};

const FILLED = new Set(["confirmed", "live", "failed", "fell-back"]);

function letter(on, colours, is, x, y, box) {
  on.font = `600 ${Math.round(box * 0.5)}px ui-sans-serif, system-ui, sans-serif`;
  on.textAlign = "center";
  on.textBaseline = "middle";
  on.fillStyle = FILLED.has(is) ? colours.ink : colours.text;
  const raised = is === "live" || is === "staged" ? 1 : -1;
  on.fillText(standing(is).letter, is === "fell-back" ? x + box / 7 : x, y - raised);
}

/** A canvas as large as `wide` by `high` CSS pixels, sharp on this screen. */
export function sharpen(canvas, wide, high) {
  const ratio = window.devicePixelRatio || 1;
  canvas.width = Math.round(wide * ratio);
  canvas.height = Math.round(high * ratio);
  canvas.style.width = `${wide}px`;
  canvas.style.height = `${high}px`;
  const on = canvas.getContext("2d");
  on.setTransform(ratio, 0, 0, ratio, 0, 0);
  return on;
}
