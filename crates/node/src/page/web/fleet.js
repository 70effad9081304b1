// What is known of the fleet, kept as new as the feed; how old it is; which application is looked at.

import { standing } from "./marks.js";

/** After so many seconds without a word from our own server, or from an origin, what is shown is old. */
const MUTE = 6;
const STALE = 15;

/** This tab's half of the session: it came behind the hash of the address, and stays in this tab. */
if (location.hash.length > 1) {
  sessionStorage.setItem("key", location.hash.slice(1));
  history.replaceState(null, "", "/");
}
const key = sessionStorage.getItem("key") ?? "";

/** Asks our own server. */
export const ask = (path, more = {}) => fetch(path, { ...more, headers: { ...more.headers, "x-tiding-key": key } });

const collator = new Intl.Collator("en", { numeric: true });

class Fleet extends EventTarget {
  nodes = [];
  apps = [];
  about = null;
  /** The name of the application that is looked at. */
  chosen = null;
  lost = null;
  ended = false;
  #heard = null;
  #began = Date.now();
  #skew = 0;
  #checked = null;
  #source = null;

  /** Listens, and goes on listening through whatever happens. */
  listen() {
    this.#source = new EventSource(`feed?key=${key}`);
    this.#source.onmessage = (event) => this.#take(JSON.parse(event.data));
    this.#source.onerror = () => this.#broken();
  }

  async #broken() {
    if (this.#source.readyState !== EventSource.CLOSED) return;
    // It will not try again by itself: either the session is over, or it was no answer of ours.
    const status = await ask("node?slot=x").then((answer) => answer.status, () => 0);
    this.ended = status === 403;
    this.dispatchEvent(new Event("fresh"));
    if (!this.ended) setTimeout(() => this.listen(), 2000);
  }

  #take(frame) {
    this.#heard = Date.now();
    this.ended = false;
    this.#skew = Date.now() / 1000 - frame.now;
    this.#checked = frame.checked === null ? null : Date.now() - frame.checked * 1000;
    this.lost = frame.lost;
    if (frame.full) [this.nodes, this.apps] = [[], []];
    if (frame.fleet) this.about = frame.fleet;
    for (const app of frame.apps) this.apps[app.slot] = app;
    const [fresh, changed] = [frame.full || frame.nodes.some((line) => line.who), frame.nodes.map((line) => this.#node(line))];
    this.chosen = this.app()?.app ?? this.#newest()?.app ?? null;
    this.dispatchEvent(new CustomEvent("changed", { detail: { fresh, changed, apps: frame.apps } }));
    this.dispatchEvent(new Event("fresh"));
  }

  #node(line) {
    const node = (this.nodes[line.slot] ??= { slot: line.slot });
    return Object.assign(node, line);
  }

  #newest() {
    const running = this.apps.filter((app) => app.is !== "finished");
    return (running.length ? running : this.apps).toSorted((a, b) => b.created - a.created)[0];
  }

  /** The application that is looked at. */
  app() {
    return this.apps.find((app) => app.app === this.chosen);
  }

  choose(name) {
    this.chosen = name;
    this.dispatchEvent(new CustomEvent("changed", { detail: { fresh: true, changed: this.nodes, apps: this.apps } }));
  }

  /** The agents. */
  agents() {
    return this.nodes.filter((node) => node.who.role === "agent");
  }

  /** How a node stands with the application that is looked at. */
  mark(node) {
    const slot = this.app()?.slot;
    const mark = node.marks.find((mark) => mark.app === slot);
    return mark ?? { is: node.up ? "waiting" : "away", part: 0 };
  }

  /** How many agents stand how. */
  counts() {
    const counts = new Map();
    for (const node of this.agents()) {
      const { is } = this.mark(node);
      counts.set(is, (counts.get(is) ?? 0) + 1);
    }
    return counts;
  }

  /** Those in trouble, the worst first. */
  worst() {
    const ranked = this.agents().map((node) => ({ node, rank: rank(node, this.mark(node)) }));
    const bad = ranked.filter(({ rank }) => rank < 9);
    bad.sort((a, b) => a.rank - b.rank || a.node.since - b.node.since || compare(a.node, b.node));
    return bad.map(({ node }) => node);
  }

  /** In words: `failed`, `fetching 40 %`. */
  words(node) {
    const { is, part } = this.mark(node);
    return is === "fetching" ? `fetching ${Math.floor(part / 10)} %` : standing(is).word;
  }

  /** For how many seconds something is so that began at a time of the server's clock. */
  ago(since) {
    return Date.now() / 1000 - this.#skew - since;
  }

  /** How fresh everything is: seconds since an origin said so, and what is in the way. */
  freshness() {
    const now = Date.now();
    const mute = (now - (this.#heard ?? this.#began)) / 1000;
    const checked = this.#checked === null ? null : Math.max(0, (now - this.#checked) / 1000);
    if (this.ended) return { is: "ended", checked };
    if (mute > MUTE || (this.#heard === null && mute > 2)) return { is: "mute", since: mute, checked };
    if (this.#heard === null) return { is: "starting", checked };
    if (this.lost) return { is: "lost", since: this.ago(this.lost.since), at: this.lost.since, why: this.lost.why, checked };
    if (checked === null) return { is: "starting", checked };
    return { is: checked > STALE ? "stale" : "fresh", since: checked, checked };
  }
}

function rank(node, mark) {
  if (mark.is === "failed") return 0;
  if (mark.is === "fell-back") return mark.why ? 1 : 2;
  if (mark.why && mark.is !== "apart") return 3;
  return mark.is === "away" ? 4 : 9;
}

/** By name, numbers as numbers. */
export const compare = (a, b) => collator.compare(a.who.name, b.who.name);
export const compareText = (a, b) => collator.compare(a, b);

export const fleet = new Fleet();
