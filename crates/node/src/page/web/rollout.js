// A rollout: what it is, how its waves do, and the buttons that steer it, each of which asks before anything happens.

import { ask as request, fleet } from "./fleet.js";
import { announce, clock, duration, id, make, nodes, number, say, size } from "./words.js";

const LABELS = { promote: "Promote", pause: "Pause", resume: "Resume", abort: "Abort", rollback: "Roll back" };
const DOING = { promote: "Promote", pause: "Pause", resume: "Resume", abort: "Abort", rollback: "Roll back" };

const buttons = new Map();
const ask = id("ask");
/** What the open dialog would do: the rollout as it was when its button was pressed. */
let asked = null;

/** Makes the buttons; they stay, so that nothing that changes takes the focus away. */
export function begin() {
  for (const deed of Object.keys(LABELS)) {
    const button = make("button", "", LABELS[deed]);
    button.type = "button";
    button.id = `do-${deed}`;
    button.addEventListener("click", () => press(deed));
    buttons.set(deed, button);
    id("buttons").append(button);
  }
  id("ask-no").addEventListener("click", () => ask.close());
  id("ask-yes").addEventListener("click", confirm);
  id("ask-message").addEventListener("keydown", (event) => event.key === "Enter" && confirm());
  ask.addEventListener("close", () => (asked = null));
}

/** Shows the application that is looked at. */
export function show() {
  const app = fleet.app();
  id("buttons").hidden = !app;
  if (!app) {
    say(id("reached"), fleet.about ? "Nothing was deployed yet: tiding deploy DIR --to PATH" : "");
    return;
  }
  say(id("rollout-name"), `${app.app} ${app.version}`);
  say(id("rollout-state"), app.state);
  id("rollout-state").dataset.is = app.is;
  const by = `ordered by ${app.by} at ${clock(app.created)}, epoch ${app.epoch}`;
  const whom = app.selector ? `, to ${app.selector}` : "";
  say(id("rollout-who"), `${by}${whom}${app.message ? `: ${app.message}` : ""}`);
  showWaves(app);
  showReached(app);
  showButtons(app);
}

function showReached(app) {
  const { failed } = app.reach;
  const parts = [app.reached];
  if (failed) parts.push(`${number(failed)} failed or went back, ${number(app.budget)} allowed`);
  if (app.eta !== null) parts.push(`everyone connected has it in about ${duration(app.eta)}, at the pace of the last seconds`);
  if (app.origin_sent) parts.push(`the origin sent ${size(app.origin_sent)} for ${size(app.bytes)} of content`);
  say(id("reached"), parts.join("; "));
}

function showWaves(app) {
  const list = id("waves");
  list.hidden = !app.waves.length;
  while (list.children.length > app.waves.length) list.lastChild.remove();
  while (list.children.length < app.waves.length) list.append(wave());
  app.waves.forEach((one, at) => showWave(list.children[at], one, at, standing(app, at)));
}

function wave() {
  const bar = make("div", "bar", make("span", "good"), make("span", "bad"));
  bar.setAttribute("aria-hidden", "true");
  return make("li", "", make("p", ""), bar);
}

/** Whether a wave is done, open or to come. */
function standing(app, at) {
  if (app.is === "finished") return "done";
  if (app.is === "halted") return app.waves[at].confirmed + app.waves[at].failed ? "halted" : "never opened";
  const open = app.wave ?? (app.is === "paused" ? pausedAt(app) : 0);
  if (at < open) return "done";
  return at > open ? "to come" : app.is === "paused" ? "paused" : "open";
}

/** A paused rollout says where it stands in words alone; the first wave that is not all confirmed is the one that is open. */
function pausedAt(app) {
  const at = app.waves.findIndex((wave) => wave.confirmed + wave.failed < wave.nodes);
  return at < 0 ? app.waves.length - 1 : at;
}

function showWave(item, one, at, is) {
  item.dataset.is = is;
  const failed = one.failed ? `, ${number(one.failed)} failed` : "";
  const count = is === "to come" || is === "never opened" ? nodes(one.nodes) : `${number(one.confirmed)} of ${number(one.nodes)}${failed}`;
  const [words, bar] = item.children;
  say(words, `${at + 1} ${is}: ${count}`);
  const share = (value) => `${(100 * value) / Math.max(1, one.nodes)}%`;
  bar.children[0].style.width = share(one.confirmed);
  bar.children[1].style.width = share(one.failed);
}

function showButtons(app) {
  const old = isOld();
  const why = new Map();
  for (const offer of app.offers) {
    const not = old ?? offer.not;
    const button = buttons.get(offer.deed);
    // Of pause and resume one is there at a time.
    const hidden = offer.deed === (app.is === "paused" ? "pause" : "resume");
    button.hidden = hidden;
    button.setAttribute("aria-disabled", String(Boolean(not)));
    button.title = not ?? offer.says;
    if (not && !hidden) why.set(not, [...(why.get(not) ?? []), LABELS[offer.deed]]);
  }
  say(id("nots"), [...why].map(([not, deeds]) => `${deeds.join(", ")}: ${not}`).join(". "));
}

/** Why nothing should be done by what is shown, if it is old. */
function isOld() {
  const { is } = fleet.freshness();
  return is === "fresh" ? undefined : "what is shown may be old";
}

function press(deed) {
  const app = fleet.app();
  const offer = app.offers.find((offer) => offer.deed === deed);
  const not = isOld() ?? offer.not;
  if (not) return announce(`${LABELS[deed]}: ${not}`);
  asked = { deed, app: app.app, order: app.order, wave: app.wave, to: offer.to };
  say(id("ask-title"), `${DOING[deed]} ${app.app} ${app.version}?`);
  say(id("ask-says"), offer.says);
  say(id("ask-yes"), DOING[deed]);
  id("ask-yes").classList.toggle("danger", deed === "abort" || deed === "rollback");
  id("ask-trouble").hidden = true;
  id("ask-message").value = "";
  ask.showModal();
  id("ask-message").focus();
}

async function confirm() {
  const yes = id("ask-yes");
  if (!asked || yes.disabled) return;
  yes.disabled = true;
  const doing = asked;
  // A text field holds no control characters but what was pasted.
  const message = id("ask-message").value.replace(/\p{Cc}/gu, " ").trim();
  const answer = await post({ ...doing, message });
  yes.disabled = false;
  if (answer.done === undefined) return asked === doing ? trouble(answer) : announce(answer.what);
  announce(answer.done);
  if (asked === doing) ask.close();
}

async function post(body) {
  const away = { what: "nothing was done as far as is known here", why: "tiding page does not answer", next: "see whether it still runs, and look at how it stands then" };
  try {
    const answer = await request("act", { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body) });
    const text = await answer.text();
    return answer.headers.get("content-type") === "application/json" ? JSON.parse(text) : { what: text };
  } catch {
    return away;
  }
}

function trouble({ what, why, next }) {
  const line = (head, text) => (text ? make("p", "", make("b", "", head), ` ${text}`) : null);
  const lines = [line("Not done:", what), line("Why:", why), line("Next:", next)];
  id("ask-trouble").replaceChildren(...lines.filter(Boolean));
  id("ask-trouble").hidden = false;
}
