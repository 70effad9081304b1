// Nodes one by one: the table beside the flock, those in trouble, and one node with all that is known of it.

import { ask, compare, fleet } from "./fleet.js";
import { draw, palette, sharpen, standing, STANDINGS } from "./marks.js";
import { announce, duration, id, make, moment, nodes as count, number, say, size } from "./words.js";

const ROWS = 100;
const WORST = 8;
const NAMED = 6;
/** A table is read, not watched: it changes at most so often, in milliseconds. */
const CALM = 500;

let first = 0;
let redraw = null;
let opened = null;
let back = null;

/** A small picture of a mark, which words stand beside. */
export function picture(is, part = 0.6) {
  const canvas = make("canvas", "mark");
  canvas.setAttribute("aria-hidden", "true");
  draw(sharpen(canvas, 13, 13), palette(), is, 1.5, 1.5, 10, part);
  return canvas;
}

export function begin() {
  id("filter").addEventListener("input", () => {
    first = 0;
    showTable();
  });
  id("earlier").addEventListener("click", () => turn(-ROWS));
  id("later").addEventListener("click", () => turn(ROWS));
  id("as-flock").addEventListener("click", () => view("flock"));
  id("as-table").addEventListener("click", () => view("table"));
  id("node-close").addEventListener("click", close);
  document.addEventListener("keydown", (event) => event.key === "Escape" && !id("ask").open && close());
  fleet.addEventListener("changed", ({ detail }) => {
    redraw ??= setTimeout(showAll, detail.fresh ? 0 : CALM);
    if (opened !== null && detail.changed.some((node) => node.slot === opened)) refresh();
  });
}

function showAll() {
  redraw = null;
  showLegend();
  showWorst();
  showTable();
}

/** The table or the flock. */
export function view(which) {
  const isTable = which === "table";
  id("table-box").hidden = !isTable;
  id("flock-box").hidden = isTable;
  id("as-table").setAttribute("aria-pressed", String(isTable));
  id("as-flock").setAttribute("aria-pressed", String(!isTable));
  showTable();
}

// The legend counts, and leads to those it counts.

const entries = new Map();

function showLegend() {
  const counts = fleet.counts();
  for (const { is, word, letter } of STANDINGS) {
    const entry = entries.get(is) ?? legend(is, word, letter);
    const many = counts.get(is) ?? 0;
    // That nothing failed is worth saying; of all else only what there is.
    entry.item.hidden = is !== "failed" && !many;
    entry.item.classList.toggle("none", !many);
    say(entry.count, number(many));
  }
}

function legend(is, word, letter) {
  const counted = make("b", "");
  const button = make("button", "plain", picture(is), make("span", "letter", letter), `${word} `, counted);
  button.type = "button";
  button.title = `Show those that are ${word} in the table`;
  button.addEventListener("click", () => {
    id("filter").value = word;
    first = 0;
    view("table");
    id("filter").focus();
  });
  const item = make("li", "", button);
  id("legend").append(item);
  const entry = { item, count: counted };
  entries.set(is, entry);
  return entry;
}

/** Draws what is a picture anew, when it gets light or dark. */
export function recolour() {
  entries.clear();
  id("legend").replaceChildren();
  worstWas = "";
  if (fleet.about) showAll();
  if (opened !== null) refresh();
}

// The table.

function turn(by) {
  first = Math.max(0, first + by);
  showTable();
}

function matching() {
  const terms = id("filter").value.toLowerCase().trim();
  const of = (node) => `${node.who.name}\n${node.who.labels}\n${node.who.software}\n${fleet.words(node)}`.toLowerCase();
  const word = STANDINGS.find((standing) => standing.word === terms);
  const chosen = fleet.agents().filter((node) => (word ? fleet.mark(node).is === word.is : terms.split(/\s+/).every((term) => of(node).includes(term))));
  return chosen.sort(compare);
}

function showTable() {
  if (id("table-box").hidden) return;
  const found = matching();
  if (first >= found.length) first = Math.max(0, Math.floor((found.length - 1) / ROWS) * ROWS);
  const page = found.slice(first, first + ROWS);
  const held = document.activeElement?.dataset?.slot;
  id("rows").replaceChildren(...page.map(row));
  if (held !== undefined) id("rows").querySelector(`[data-slot="${CSS.escape(held)}"]`)?.focus();
  const which = found.length > ROWS ? `${number(first + 1)} to ${number(first + page.length)} of ` : "";
  say(id("matching"), `${which}${count(found.length)}`);
  id("earlier").disabled = first === 0;
  id("later").disabled = first + ROWS >= found.length;
}

function row(node) {
  const { is, part, why } = fleet.mark(node);
  const cells = [make("td", "word", picture(is, part / 1000), fleet.words(node)), make("td", "number", `${Math.floor(part / 10)} %`),
    ...[node.who.zone, node.who.rack, node.who.software, presence(node), why ?? ""].map((text) => make("td", "", text))];
  const head = make("th", "", link(node));
  head.scope = "row";
  return make("tr", "", head, ...cells);
}

function presence(node) {
  return `${node.up ? "for" : "not, for"} ${duration(fleet.ago(node.since))}`;
}

function link(node) {
  const button = make("button", "link", node.who.name);
  button.type = "button";
  button.dataset.slot = node.slot;
  button.addEventListener("click", () => open(node.slot, button));
  return button;
}

// Those in trouble: a reason that many have is said once.

let worstWas = "";

/** What is wrong, in the order of what is worst, and who has it. */
function reasons() {
  const groups = new Map();
  for (const node of fleet.worst()) {
    const { is, why } = fleet.mark(node);
    const reason = why ?? (is === "fell-back" ? "runs what it ran before" : standing(is).word);
    const group = groups.get(`${is} ${reason}`) ?? { is, reason, members: [] };
    group.members.push(node);
    groups.set(`${is} ${reason}`, group);
  }
  return [...groups.values()];
}

function showWorst() {
  const groups = reasons();
  const shown = groups.slice(0, WORST);
  const now = JSON.stringify([groups.length, shown.map(({ is, reason, members }) => [is, reason, members.length, ...some(members).map((node) => node.slot)])]);
  if (now === worstWas) return;
  worstWas = now;
  const held = id("worst-list").contains(document.activeElement) ? document.activeElement.dataset.slot : undefined;
  const items = shown.map(reasonItem);
  if (groups.length > WORST) items.push(make("li", "muted", `and ${number(groups.length - WORST)} more reasons`));
  if (!items.length) items.push(make("li", "muted", fleet.agents().length ? "No node is in trouble." : "No agent is there yet."));
  id("worst-list").replaceChildren(...items);
  if (held !== undefined) id("worst-list").querySelector(`[data-slot="${CSS.escape(held)}"]`)?.focus();
}

const some = (members) => members.slice(0, NAMED);

function reasonItem({ is, reason, members }) {
  const links = make("span", "names", ...some(members).map((node) => make("span", "", link(node))));
  const more = members.length > NAMED ? [make("span", "muted", `and ${number(members.length - NAMED)} more`)] : [];
  links.append(...more);
  const words = is === "away" ? `${reason}, longest first` : is === "failed" || is === "fell-back" ? `${standing(is).word}: ${reason}` : `${standing(is).word}, in trouble: ${reason}`;
  return make("li", "", picture(is), make("span", "why", make("b", "", count(members.length)), ` ${words}`), links);
}

// One node.

/** Opens a node; `from` is where the focus returns to. */
export async function open(slot, from) {
  [opened, back] = [slot, from ?? back];
  if (!(await refresh())) return;
  id("node").hidden = false;
  document.body.classList.add("has-node");
  id("node").focus();
  announce(`${fleet.nodes[slot].who.name} is open`);
}

function close() {
  if (opened === null) return;
  opened = null;
  id("node").hidden = true;
  document.body.classList.remove("has-node");
  if (back?.isConnected) back.focus();
}

let asking = false;
let again = false;

/** Asks for all that is known of the open node; what changes meanwhile is asked for once more. */
async function refresh() {
  again = true;
  if (asking) return true;
  asking = true;
  let node = null;
  while (again && opened !== null) {
    again = false;
    node = await ask(`node?slot=${opened}`).then((answer) => (answer.ok ? answer.json() : null), () => null);
    if (node && node.slot === opened) showNode(node);
    await new Promise((done) => setTimeout(done, node && !id("node").hidden ? CALM : 0));
  }
  asking = false;
  return node !== null;
}

function showNode(node) {
  say(id("node-name"), node.who.name);
  const facts = [["Connected", presence(node)], ["Labels", node.who.labels || "none"], ["Software", node.who.software || "unknown"], ["Id", node.id.slice(0, 16)]];
  if (node.limit !== null) facts.push(["Limit", `${size(node.limit)}/s`]);
  const list = make("dl", "", ...facts.flatMap(([term, text]) => [make("dt", "", term), make("dd", "", text)]));
  const apps = node.apps.toSorted((a, b) => (b.app === fleet.chosen) - (a.app === fleet.chosen)).map(onNode);
  if (!apps.length) apps.push(make("p", "muted", "Nothing was deployed to it yet."));
  id("node-body").replaceChildren(list, ...apps);
}

const PHASES = { told: "waiting", fetching: "fetching", complete: "fetching", staged: "staged", live: "live", confirmed: "confirmed", failed: "failed", "fell-back": "fell-back" };

function onNode(app) {
  const is = PHASES[app.phase];
  const word = app.phase === "complete" ? "complete, being laid out" : standing(is).word;
  const live = app.live ? `${app.live} is live` : "nothing is live";
  const pieces = `${number(app.have)} of ${number(app.total)} pieces`;
  return make("article", "", make("h3", "", `${app.app} ${app.version}`),
    make("p", "phase", picture(is, app.have / Math.max(1, app.total)), `${word}; ${pieces}; ${live}`),
    app.trouble ? make("p", "trouble", app.trouble) : null,
    make("p", "muted", `${size(app.from_origin)} from the origin, ${size(app.from_peers)} from peers, ${size(app.had)} were here already`),
    waterfall(app.timeline));
}

/** What a node did until when, each beginning where the one before ended. */
const STEPS = [["first_byte_us", "first byte", "waiting"], ["last_byte_us", "last byte", "fetching"], ["complete_us", "complete", "fetching"],
  ["staged_us", "staged", "staged"], ["live_us", "live", "live"], ["confirmed_us", "confirmed", "confirmed"]];

function waterfall(times) {
  const known = STEPS.filter(([key]) => times[key] !== null);
  if (!known.length) return make("p", "muted", "It was told; nothing has come yet.");
  const end = Math.max(1, ...known.map(([key]) => times[key]));
  let from = 0;
  const items = known.map(([key, word, is]) => {
    const bar = make("span", "span");
    bar.dataset.is = is;
    bar.style.left = `${(100 * Math.min(from, times[key])) / end}%`;
    bar.style.width = `${(100 * Math.max(0, times[key] - from)) / end}%`;
    const track = make("span", "track", bar);
    track.setAttribute("aria-hidden", "true");
    from = times[key];
    return make("li", "", make("span", "", word), track, make("span", "number", moment(times[key])));
  });
  const list = make("ol", "waterfall", make("li", "", make("span", "", "told"), make("span", "track"), make("span", "number", "0 ms")), ...items);
  list.setAttribute("aria-label", "When it got how far, since it was told");
  return list;
}
