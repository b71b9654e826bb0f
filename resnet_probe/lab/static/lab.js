// The page: what is done to the network goes to the server, and what comes back is shown.
import * as charts from "./charts.js";
import { Drawing, make } from "./network.js";
import { copy, edits, intact, move, neighbour, parsed, shape, words, written } from "./state.js";
import { page, snapshot } from "./story.js";

const $ = (id) => document.getElementById(id);
const client = crypto.randomUUID();
const networks = await (await fetch("networks")).json();
const drawing = new Drawing($("drawing"), act);
let state = intact(networks);
let chosen = new Set();
let place = history.state?.place ?? 0; // in the history of this page
let last = place;
let running;
let rest, answer; // what the server has said of the state: once, and on the most images so far
let gesture = false; // a slider is held
const story = [];

const network = () => networks[state.net];
const unit = (name) => network().units.find((each) => each.name === name);
const signed = (value, digits = 2) => `${value < 0 ? "−" : "+"}${Math.abs(value).toFixed(digits)}`;
const percent = (value) => `${value.toFixed(2)} %`;
const count = (value) => value.toLocaleString("en");

// -- what the user does ---------------------------------------------------------------------------------------------

function act(what, name, more) {
  if (what === "alike") return shape(network()).filter((each) => each.place === unit(name).place).map((each) => each.name);
  const next = copy(state);
  if (what === "select") {
    chosen = new Set(chosen);
    chosen.has(name) ? chosen.delete(name) : chosen.add(name);
    return draw();
  }
  if (what === "toggle") {
    chosen = new Set([name]);
    next.deleted.has(name) ? next.deleted.delete(name) : next.deleted.add(name);
    next.scales.delete(name);
  } else if (what === "scale") {
    chosen = new Set([name]);
    if (!unit(name).scalable) return draw();
    scaled(next, [name], (next.deleted.has(name) ? 0 : next.scales.get(name) ?? 1) + more);
  } else if (what === "shift" || what === "move") {
    chosen = new Set([name]);
    if (!move(network(), next, name, what === "move" ? more : neighbour(network(), next, name, more))) return draw();
  }
  return change(next);
}

function scaled(next, names, factor) {
  const held = Math.min(Math.max(Math.round(factor * 20) / 20, 0), 1.5);
  for (const name of names.filter((each) => unit(each).scalable)) {
    next.deleted.delete(name);
    held === 1 ? next.scales.delete(name) : next.scales.set(name, held);
  }
}

/** Go to a state: a new entry of the history, or another form of the newest one. */
function change(next, { same = false } = {}) {
  const fragment = written(network(), next);
  if (!same) last = ++place;
  state = next;
  history[same ? "replaceState" : "pushState"]({ place }, "", fragment ? `#${fragment}` : location.pathname);
  enter();
}

function enter() {
  draw();
  ask();
}

function arrive() {
  place = history.state?.place ?? ++last; // an address that was typed begins a new entry
  history.replaceState({ place }, "");
  last = Math.max(last, place);
  try {
    const before = state.net;
    state = parsed(networks, location.hash);
    if (state.net !== before) chosen = new Set();
    $("trouble").textContent = "";
    enter();
  } catch (error) {
    $("trouble").textContent = `This address cannot be shown: ${error.message}.`;
    draw();
  }
}

// -- what is shown --------------------------------------------------------------------------------------------------

function draw() {
  drawing.draw(network(), state, chosen);
  $("networks").value = state.net;
  $("name").textContent = network().name;
  const blocks = network().units.filter((each) => each.editable);
  const kind = blocks[0].kind === "block" ? "residual blocks" : "layers";
  $("facts").textContent = `${blocks.length} ${kind}; ${count(network().images)} images of ${network().data}`;
  $("state").textContent = words(network(), state);
  $("undo").disabled = place === 0;
  $("redo").disabled = place === last;
  $("reset").disabled = edits(network(), state).length === 0;
  $("save").hidden = !network().saves;
  $("save").disabled = edits(network(), state).length === 0;
  const names = [...chosen];
  const one = names.length === 1 ? unit(names[0]) : undefined;
  $("selected-h").textContent = one ? one.name : names.length ? `${names.length} selected: ${names.join(", ")}` : "No block is selected";
  const about = one && [one.kind, one.shortcut && `shortcut ${one.shortcut}`, one.resizes && "changes the shape", one.inside && `inside ${one.inside}`, `output ${one.shape}`];
  $("selected-more").textContent = one ? about.filter(Boolean).join(", ") : names.length ? "Delete or scale them together." : "Click one, or move to it with the arrow keys.";
  const off = names.length > 0 && names.every((name) => state.deleted.has(name));
  $("delete").textContent = off ? "Put back" : "Delete";
  $("delete").disabled = names.length === 0;
  const scalable = names.filter((name) => unit(name).scalable);
  const factor = scalable.length ? (state.deleted.has(scalable[0]) ? 0 : state.scales.get(scalable[0]) ?? 1) : 1;
  $("scale").disabled = scalable.length === 0;
  $("scale").value = factor;
  $("factor").textContent = `× ${factor}`;
  $("earlier").disabled = !one || neighbour(network(), state, one.name, -1) === undefined;
  $("later").disabled = !one || neighbour(network(), state, one.name, 1) === undefined;
}

async function ask() {
  running?.abort();
  const mine = running = new AbortController();
  rest = answer = undefined;
  $("answer").setAttribute("aria-busy", "true");
  const asked = performance.now();
  try {
    const body = JSON.stringify({ network: state.net, edits: edits(network(), state), client });
    const reply = await fetch("ask", { method: "POST", headers: { "Content-Type": "application/json" }, body, signal: mine.signal });
    if (!reply.ok) throw new Error((await reply.json()).error);
    $("trouble").textContent = "";
    const reader = reply.body.pipeThrough(new TextDecoderStream()).getReader();
    let text = "";
    for (let part = await reader.read(); !part.done; part = await reader.read()) {
      const lines = (text + part.value).split("\n");
      text = lines.pop();
      for (const line of lines) if (mine === running) show(JSON.parse(line), asked);
    }
  } catch (error) {
    if (error.name !== "AbortError") $("trouble").textContent = error instanceof TypeError ? "The lab does not answer; is it still running?" : error.message;
  }
}

function show(said, asked) {
  if (!("error" in said)) {
    rest = said;
    charts.lengths($("paths"), said.paths, network().paths);
    $("paths-more").textContent = `${said.paths.total} ${said.paths.total === "1" ? "path" : "paths"}, ${said.paths.mean.toFixed(2)} residual branches long on average; intact ${network().paths.total}, ${network().paths.mean.toFixed(2)}.`;
    charts.profile($("profile"), said.profile, network().profile);
    $("lines").replaceChildren(...said.lines.map(line));
    return finish();
  }
  answer = said;
  const edited = edits(network(), state).length > 0;
  if ($("answer").dataset.state !== location.hash) $("answer").dataset.ms = Math.round(performance.now() - asked);
  Object.assign($("answer").dataset, { state: location.hash, images: said.images, wrong: said.wrong, changed: said.changed });
  $("error").textContent = percent(said.error);
  $("error-more").textContent = `${count(said.wrong)} of ${count(said.images)} wrong; intact ${percent(said.intact.error)}`;
  $("increase").textContent = edited ? `${signed(said.increase)} points` : "none";
  const side = said.increase_low > 0 ? "worse" : said.increase_high < 0 ? "better" : "";
  $("increase").className = `big ${side}`;
  $("increase-more").textContent = edited ? `95 % interval ${signed(said.increase_low)} to ${signed(said.increase_high)}` : "nothing is edited";
  if (edited) charts.interval($("interval"), said);
  else $("interval").replaceChildren();
  $("loss").textContent = said.loss.toFixed(4);
  $("loss-more").textContent = edited ? `${signed(said.loss_increase, 4)} nats (${signed(said.loss_low, 4)} to ${signed(said.loss_high, 4)})` : "nats";
  $("changed").textContent = count(said.changed);
  $("changed-more").textContent = `${count(said.newly_wrong)} newly wrong, ${count(said.newly_right)} newly right`;
  $("progress").value = said.images / said.of;
  $("seen").textContent = said.images === said.of ? `all ${count(said.of)} images` : `${count(said.images)} of ${count(said.of)} images`;
  examples(said);
  classes(said);
  $("cloud-panel").hidden = network().cloud.length === 0;
  if (network().cloud.length) {
    const more = state.scales.size || edits(network(), state).some((edit) => edit.reorder) ? " It is scaled or reordered too, as they are not." : "";
    charts.cloud($("cloud"), network().cloud, state.deleted.size, said.error);
    $("cloud-more").textContent = `${count(network().cloud.length)} random deletions from the run; the large mark is this state.${more}`;
  }
  finish();
}

/** When everything is said of a state, it is told and becomes part of the story. */
function finish() {
  if (!rest || answer?.images !== answer?.of) return;
  $("answer").setAttribute("aria-busy", "false");
  $("live").textContent = `${words(network(), state)}: error ${percent(answer.error)} on all ${answer.of} images, ${signed(answer.increase)} points.`;
  if (!gesture) visited(answer);
}

function examples(said) {
  $("examples").replaceChildren(...said.examples.map((each) => {
    const [mark, kind] = each.after === each.label ? ["✓", "newly right"] : ["✗", each.before === each.label ? "newly wrong" : "still wrong"];
    const image = make("img", { src: `picture/${state.net}/${each.number}`, alt: "", loading: "lazy" });
    const said = make("span", {}, make("strong", { title: kind }, `${mark} ${each.label}`), make("span", { class: "unseen" }, `, ${kind}: `), make("br"), `${each.before} → ${each.after}`, make("br"), `${Math.round(100 * each.confidence)} %`);
    return make("li", {}, image, said);
  }));
  const left = said.changed - said.examples.length;
  $("examples-more").textContent = said.changed ? (left ? `and ${count(left)} more` : "") : "No prediction differs from the intact network’s.";
}

function classes(said) {
  const names = network().classes;
  if (said.confusion) charts.confusion($("confusion"), said.confusion, names);
  else $("confusion").replaceChildren();
  const share = (wrong, all) => (all ? percent((100 * wrong) / all) : "–");
  const rows = said.classes.map(([all, before, after], i) => ({ name: names[i], all, before, after, by: Math.abs(after - before) }));
  const most = said.confusion ? rows : rows.sort((a, b) => b.by - a.by).slice(0, 30);
  const head = make("thead", {}, make("tr", {}, ...["class", "images", "intact error", "error"].map((text) => make("th", { scope: "col" }, text))));
  const body = most.map((row) => make("tr", {}, make("th", { scope: "row" }, row.name), make("td", {}, count(row.all)), make("td", {}, share(row.before, row.all)), make("td", {}, share(row.after, row.all))));
  $("classes").replaceChildren(make("caption", {}, said.confusion ? "Errors by class" : "The classes that changed most"), head, make("tbody", {}, ...body));
}

function line(text) {
  const button = make("button", { type: "button", "aria-label": `Copy ${text}` }, "Copy");
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(text);
    button.textContent = "Copied";
  });
  return make("div", { class: "line" }, make("code", { tabindex: 0 }, text), button);
}

// -- keeping --------------------------------------------------------------------------------------------------------

function visited(said) {
  const address = written(network(), state);
  if (story.some((each) => each.address === address && each.net === state.net)) return;
  const rows = [["error", `${percent(said.error)} (${said.wrong} of ${said.images} images wrong)`], ["intact", percent(said.intact.error)],
    ["change", `${signed(said.increase)} points (95 % interval ${signed(said.increase_low)} to ${signed(said.increase_high)})`],
    ["loss", `${said.loss.toFixed(4)} nats (${signed(said.loss_increase, 4)})`], ["predictions changed", `${said.changed} (${said.newly_wrong} newly wrong, ${said.newly_right} newly right)`],
    ["paths", `${rest.paths.total}, ${rest.paths.mean.toFixed(2)} residual branches long on average`]];
  const entry = { address, net: state.net, words: `${networks.length > 1 ? `${network().name}: ` : ""}${words(network(), state)}`, rows, note: "", ...snapshot() };
  story.push(entry);
  const note = make("textarea", { "aria-label": `Note on ${entry.words}`, placeholder: "A note" });
  note.addEventListener("input", () => { entry.note = note.value; });
  const drop = make("button", { type: "button", "aria-label": `Drop ${entry.words}` }, "Drop");
  const item = make("li", {}, make("a", { href: `#${address}` }, entry.words), make("p", {}, `${percent(said.error)}, ${signed(said.increase)} points`), note, drop);
  drop.addEventListener("click", () => {
    story.splice(story.indexOf(entry), 1);
    item.remove();
    $("export").disabled = story.length === 0;
  });
  $("story").append(item);
  $("export").disabled = false;
}

async function send(where, body, status, said) {
  const reply = await fetch(where, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });
  const found = await reply.json().catch(() => ({ error: "it failed" }));
  $(status).textContent = reply.ok ? `${said} ${found.files.join(", ")}` : found.error;
}

$("save").addEventListener("click", () => send("save", { network: state.net, edits: edits(network(), state) }, "saved", "Saved:"));
$("export").addEventListener("click", async () => {
  const about = `${networks.map((each) => `${each.name}, ${count(each.images)} images of ${each.data}`).join("; ")}. Made with resnet-probe lab.`;
  await send("story", { html: await page(`${networks.map((each) => each.name).join(", ")} in the lab`, about, story) }, "exported", "Written:");
});

// -- the controls ---------------------------------------------------------------------------------------------------

$("undo").addEventListener("click", () => history.back());
$("redo").addEventListener("click", () => history.forward());
$("reset").addEventListener("click", () => change(intact(networks, state.net)));
$("networks").addEventListener("change", () => {
  chosen = new Set();
  state = intact(networks, Number($("networks").value));
  change(state);
});
$("delete").addEventListener("click", () => {
  const next = copy(state);
  const off = [...chosen].every((name) => next.deleted.has(name));
  for (const name of chosen) {
    off ? next.deleted.delete(name) : next.deleted.add(name);
    next.scales.delete(name);
  }
  change(next);
});
$("scale").addEventListener("input", () => {
  const next = copy(state);
  scaled(next, [...chosen], Number($("scale").value));
  change(next, { same: gesture });
  gesture = true;
});
$("scale").addEventListener("change", () => { gesture = false; ask(); });
$("earlier").addEventListener("click", () => act("shift", [...chosen][0], -1));
$("later").addEventListener("click", () => act("shift", [...chosen][0], 1));
addEventListener("keydown", (event) => {
  if (!(event.ctrlKey || event.metaKey) || event.key.toLowerCase() !== "z" || event.target.matches("textarea")) return;
  event.preventDefault();
  const again = event.shiftKey ? $("redo") : $("undo");
  if (!again.disabled) again.click();
});
addEventListener("popstate", arrive);
if (!history.state) history.replaceState({ place }, "");

$("networks").replaceChildren(...networks.map((each, number) => make("option", { value: number }, each.name)));
$("choice").hidden = networks.length < 2;
document.title = `${networks.map((each) => each.name).join(", ")} · resnet-probe lab`;
arrive();
