// The page: puts its parts together, says how fresh they are, and says changes to those who do not see them.

import { ask, fleet } from "./fleet.js";
import * as flock from "./flock.js";
import * as nodes from "./nodes.js";
import * as rollout from "./rollout.js";
import { announce, clock, duration, id, make, number, say } from "./words.js";

const said = new Map();

function changed({ detail }) {
  for (const app of detail.apps) tellChange(app);
  if (detail.apps.length || detail.fresh) {
    showApps();
    rollout.show();
    showHistory();
  }
  showFleet();
}

/** Says what is new about a rollout, but not what was so when the page was opened. */
function tellChange(app) {
  const [before, now] = [said.get(app.app), { state: app.state, failed: app.reach.failed }];
  said.set(app.app, now);
  if (before === undefined) return;
  if (before.state !== now.state && app.is !== "spreading") announce(`${app.app} ${app.version}: ${app.state}`);
  if (before.failed < now.failed) announce(`${app.app}: ${number(now.failed)} failed or went back`);
}

function showFleet() {
  const agents = fleet.agents();
  const up = agents.filter((node) => node.up).length;
  const { id: name, origin, datacenter } = fleet.about;
  say(id("fleet"), `fleet ${name}, origin ${origin} of ${datacenter}, ${number(up)} of ${number(agents.length)} agents connected`);
}

function showApps() {
  const bar = id("apps");
  bar.hidden = fleet.apps.length < 2;
  fleet.apps.forEach((app, at) => {
    const button = bar.children[at] ?? tab();
    say(button, app.app);
    button.dataset.is = app.is;
    button.setAttribute("aria-pressed", String(app.app === fleet.chosen));
  });
}

function tab() {
  const button = make("button", "");
  button.type = "button";
  button.addEventListener("click", () => fleet.choose(button.textContent));
  id("apps").append(button);
  return button;
}

/** Journals are read as a whole: after something happened, and not more often than this, in milliseconds. */
const RECALL = 4000;
let recalling = null;
let historyWas = "";
let deedsWere = "";

function showHistory() {
  const deeds = fleet.apps.map(({ order, is, wave }) => `${order} ${is} ${wave}`).join();
  if (deeds === deedsWere) return;
  deedsWere = deeds;
  recalling ??= setTimeout(recall, historyWas ? RECALL : 0);
}

async function recall() {
  const lines = await ask("history").then((answer) => (answer.ok ? answer.json() : null), () => null);
  recalling = null;
  const now = JSON.stringify(lines);
  if (lines === null || now === historyWas) return;
  historyWas = now;
  const items = lines.map(historyItem);
  if (!items.length) items.push(make("li", "muted", "Nothing was done yet."));
  id("history-list").replaceChildren(...items);
}

function historyItem({ time, who, app, what, why }) {
  const about = app && fleet.apps.length > 1 ? `${app}: ${what}` : what;
  const by = who ? make("span", "who", ` by ${who}`) : null;
  return make("li", who ? "" : "by-itself", make("time", "", time === null ? "" : clock(time)), make("span", "", about, by), why ? make("span", "why", why) : null);
}

const ENDED = "This page's session has ended: it lives as long as tiding page runs, twelve hours at most, and in the tab that its link opened. Press Enter where tiding page runs to get a new link, or start it again.";
let freshWas = "";

function showFresh() {
  const { is, since, at, why, checked } = fleet.freshness();
  const old = checked === null ? "Nothing is shown yet." : `What is shown is how it stood ${duration(checked)} ago.`;
  const behind = fleet.about?.behind;
  const alarms = {
    ...(behind ? { fresh: behind } : {}),
    ended: ENDED,
    mute: `tiding page does not answer since ${clock(Date.now() / 1000 - since)}. ${old} It is tried again by itself.`,
    lost: `No origin answers since ${clock(at)} (${duration(since)}): ${why}. ${old} It is tried again by itself.`,
    stale: `No origin has said anything for ${duration(since)}. ${old}`,
  };
  document.body.dataset.fresh = is;
  // The alarm's own text is announced as it appears, not each time it counts on.
  const alarm = id("alarm");
  alarm.hidden = !(is in alarms);
  alarm.setAttribute("aria-live", is === freshWas ? "off" : "assertive");
  say(alarm, alarms[is] ?? "");
  const light = { fresh: `checked ${duration(checked ?? 0)} ago`, starting: "asking the origin" };
  say(id("checked"), light[is] ?? "old");
  if (is === freshWas) return;
  if (freshWas && is === "fresh") announce("An origin answers again");
  freshWas = is;
  rollout.show();
}

rollout.begin();
nodes.begin();
flock.begin(nodes.open);
fleet.addEventListener("changed", changed);
fleet.addEventListener("fresh", showFresh);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", nodes.recolour);
setInterval(showFresh, 1000);
fleet.listen();
