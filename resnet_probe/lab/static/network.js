// The drawing: stages as rows, each block with its shortcut and its branch, each a button.
import { moved, shape } from "./state.js";

const SVG = "http://www.w3.org/2000/svg";

/** An element with attributes and children; text is never read as markup. */
export function make(tag, attributes = {}, ...children) {
  const svg = ["svg", "path", "rect", "circle", "text"].includes(tag);
  const made = svg ? document.createElementNS(SVG, tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) if (value !== undefined && value !== false) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

const short = (name) => (name.length <= 11 ? name : `…${name.slice(-10)}`);

function picture(unit, text) {
  const block = unit.kind === "block";
  const box = unit.editable ? "box" : "fixed";
  const parts = block
    ? [make("path", { class: "shortcut", d: "M0 48H57" }), make("path", { d: "M65 48h1" }),
       make("path", { class: "branch", d: "M5 48V22H61V44" }), make("rect", { class: box, x: 11, y: 10, width: 44, height: 24, rx: 4 }),
       make("circle", { class: "add", cx: 61, cy: 48, r: 4 }), make("path", { class: "plus", d: "M59 48h4m-2 -2v4" })]
    : [make("path", { d: "M0 48H66" }), make("rect", { class: box, x: 11, y: 36, width: 44, height: 24, rx: unit.kind === "parallel" ? 12 : 4 })];
  parts.push(make("text", { class: "value", x: 33, y: block ? 26 : 52 }, text), make("text", { class: "name", x: 33, y: 74 }, short(unit.name)));
  return make("svg", { viewBox: "0 0 66 78", "aria-hidden": "true" }, ...parts);
}

function told(unit, state, chosen, away) {
  const words = [unit.name, `${unit.kind}${unit.inside ? ` inside ${unit.inside}` : ""}, stage ${unit.stage}`];
  if (unit.resizes) words.push("changes the shape");
  if (state.deleted.has(unit.name)) words.push("deleted");
  else if (state.scales.has(unit.name)) words.push(`scaled by ${state.scales.get(unit.name)}`);
  if (away) words.push("moved");
  if (chosen) words.push("selected");
  return words.join(", ");
}

/** Draws a network in a state, and calls `act` with what is done to its units. */
export class Drawing {
  constructor(host, act) {
    this.host = host;
    this.act = act;
    this.here = undefined; // the unit that Tab reaches
    host.addEventListener("keydown", (event) => this.key(event));
  }

  draw(network, state, chosen) {
    const focused = this.host.contains(document.activeElement);
    const places = shape(network);
    const away = new Set(moved(network, state));
    const units = network.units.map((unit) => {
      const place = places.indexOf(unit);
      return [unit, place < 0 ? unit : places.find((each) => each.name === state.order[place])];
    });
    if (!network.units.some((unit) => unit.editable && unit.name === this.here)) {
      this.here = network.units.find((unit) => unit.editable).name;
    }
    const rows = d3.groups(units, ([slot]) => slot.stage).map(([stage, members]) => {
      const buttons = members.map(([, unit]) => this.button(unit, state, chosen.has(unit.name), away.has(unit.name)));
      const which = make("div", { class: "which" }, `stage ${stage}`, make("span", {}, members[0][0].shape));
      return make("div", { class: "stage" }, which, make("div", { class: "row" }, ...buttons));
    });
    this.host.replaceChildren(...rows);
    if (focused) this.focus(this.here);
  }

  button(unit, state, chosen, away) {
    const off = state.deleted.has(unit.name);
    const factor = state.scales.get(unit.name);
    const classes = ["unit", unit.resizes && "resizes", off && "off", away && "moved", chosen && "chosen"];
    const button = make("button", {
      type: "button", class: classes.filter(Boolean).join(" "), "data-unit": unit.name, title: unit.name,
      "aria-label": told(unit, state, chosen, away), tabindex: unit.name === this.here ? 0 : -1, disabled: unit.editable ? undefined : "",
      ...(unit.editable ? { role: "switch", "aria-checked": String(!off) } : {}),
    }, picture(unit, off ? "off" : factor === undefined ? "" : `× ${factor}`));
    if (!off && factor !== undefined) { // opaque: the wire ends at the box
      const share = 100 * Math.min(Math.max(factor, 0.08), 1);
      button.querySelector("rect").style.fill = `color-mix(in srgb, var(--fill) ${share}%, var(--paper))`;
    }
    if (!unit.editable) return button;
    button.addEventListener("focus", () => { this.here = unit.name; });
    button.addEventListener("click", (event) => {
      if (this.dropped) { this.dropped = false; return; } // the end of a drag
      this.here = unit.name;
      this.act(event.shiftKey ? "select" : "toggle", unit.name);
    });
    if (unit.place) button.addEventListener("pointerdown", (event) => this.drag(event, unit, button));
    return button;
  }

  drag(start, unit, button) {
    if (start.button !== 0 || start.pointerType === "touch") return; // touch scrolls; there are buttons to move
    this.dropped = false;
    const alike = new Set(this.act("alike", unit.name));
    let target;
    const over = (event) => {
      if (Math.hypot(event.clientX - start.clientX, event.clientY - start.clientY) < 8 && target === undefined) return;
      document.body.classList.add("dragging");
      button.classList.add("dragged");
      const found = document.elementFromPoint(event.clientX, event.clientY)?.closest(".unit");
      target?.classList?.remove("target");
      target = found && found !== button && alike.has(found.dataset.unit) ? found : null;
      target?.classList.add("target");
    };
    const end = () => {
      removeEventListener("pointermove", over);
      removeEventListener("pointerup", end);
      removeEventListener("pointercancel", end);
      document.body.classList.remove("dragging");
      button.classList.remove("dragged");
      if (target === undefined) return;
      this.dropped = true; // the click that follows is no click
      setTimeout(() => { this.dropped = false; });
      if (target) this.act("move", unit.name, target.dataset.unit);
    };
    addEventListener("pointermove", over);
    addEventListener("pointerup", end);
    addEventListener("pointercancel", end);
  }

  focus(name) {
    this.here = name;
    for (const button of this.host.querySelectorAll(".unit:enabled")) {
      button.tabIndex = button.dataset.unit === name ? 0 : -1;
      if (button.dataset.unit === name) button.focus();
    }
  }

  key(event) {
    const name = event.target.closest(".unit")?.dataset.unit;
    if (!name || event.ctrlKey || event.metaKey) return;
    const names = [...this.host.querySelectorAll(".unit:enabled")].map((button) => button.dataset.unit);
    const step = { ArrowLeft: -1, ArrowUp: -1, ArrowRight: 1, ArrowDown: 1 }[event.key];
    if (step && event.altKey) this.act("shift", name, step);
    else if (step) this.focus(names[Math.min(Math.max(names.indexOf(name) + step, 0), names.length - 1)]);
    else if (event.key === "Home") this.focus(names[0]);
    else if (event.key === "End") this.focus(names.at(-1));
    else if (event.key === "+" || event.key === "-" || event.key === "−") this.act("scale", name, event.key === "+" ? 0.05 : -0.05);
    else return;
    event.preventDefault();
  }
}
