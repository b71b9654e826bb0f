// A state of the lab: which network, which blocks are deleted, scaled and moved. Every state has an address.

export const shape = (network) => network.units.filter((unit) => unit.editable && unit.place);

/** The intact network number `net`. */
export const intact = (networks, net = 0) => ({
  net, deleted: new Set(), scales: new Map(), order: shape(networks[net]).map((unit) => unit.name),
});

export const copy = (state) => ({
  net: state.net, deleted: new Set(state.deleted), scales: new Map(state.scales), order: [...state.order],
});

/** Names in the places that hold another block than at first, from input to output. */
export const moved = (network, state) => state.order.filter((name, place) => name !== shape(network)[place].name);

/** The edits as the command line makes them: delete, scale, reorder, each in the order of the network. */
export function edits(network, state) {
  const found = [];
  const names = network.units.map((unit) => unit.name);
  const deleted = names.filter((name) => state.deleted.has(name));
  const scaled = names.filter((name) => state.scales.has(name) && !state.deleted.has(name));
  const order = moved(network, state);
  if (deleted.length) found.push({ delete: deleted });
  if (scaled.length) found.push({ scale: Object.fromEntries(scaled.map((name) => [name, state.scales.get(name)])) });
  if (order.length) found.push({ reorder: order });
  return found;
}

/** The state as the fragment of an address. */
export function written(network, state) {
  const parts = new URLSearchParams();
  if (state.net) parts.set("net", network.name);
  for (const edit of edits(network, state)) {
    for (const [kind, what] of Object.entries(edit)) {
      const words = kind === "scale" ? Object.entries(what).map(([name, factor]) => `${name}*${factor}`) : what;
      parts.set(kind, words.join(" "));
    }
  }
  return parts.toString();
}

/** The state that a fragment stands for; what the network does not allow is an error. */
export function parsed(networks, fragment) {
  const parts = new URLSearchParams(fragment.replace(/^#/, ""));
  const net = parts.has("net") ? networks.findIndex((each) => each.name === parts.get("net")) : 0;
  if (net < 0) throw new Error(`there is no network ${parts.get("net")} here`);
  const state = intact(networks, net);
  const words = (kind) => (parts.get(kind) ?? "").split(" ").filter(Boolean);
  const unit = (name, allowed) => {
    const found = networks[net].units.find((each) => each.name === name && each[allowed]);
    if (!found) throw new Error(`${networks[net].name} has no ${name} that can be edited so`);
    return found;
  };
  for (const name of words("delete")) state.deleted.add(unit(name, "editable").name);
  for (const word of words("scale")) {
    const [name, factor] = [word.slice(0, word.lastIndexOf("*")), Number(word.slice(word.lastIndexOf("*") + 1))];
    if (!Number.isFinite(factor)) throw new Error(`${word} is no factor`);
    state.scales.set(unit(name, "scalable").name, factor);
  }
  const order = words("reorder");
  const places = shape(networks[net]);
  const free = places.flatMap((each, place) => (order.includes(each.name) ? [place] : []));
  if (free.length !== order.length) throw new Error("a block to be moved is not there, or named twice");
  free.forEach((place, number) => {
    if (unit(order[number], "place").place !== places[place].place) throw new Error(`${order[number]} does not fit there`);
    state.order[place] = order[number];
  });
  return state;
}

/** Move a block to the place of another of its shape; those between make room. Returns whether anything moved. */
export function move(network, state, name, target) {
  const places = shape(network);
  const kind = places.find((unit) => unit.name === name)?.place;
  const alike = places.flatMap((unit, place) => (unit.place === kind ? [place] : []));
  const names = alike.map((place) => state.order[place]);
  const [from, to] = [names.indexOf(name), names.indexOf(target)];
  if (kind === undefined || from === to || to < 0) return false;
  names.splice(to, 0, ...names.splice(from, 1));
  alike.forEach((place, number) => { state.order[place] = names[number]; });
  return true;
}

/** The block of the same shape that stands one place earlier (-1) or later (1), or nothing. */
export function neighbour(network, state, name, step) {
  const places = shape(network);
  const kind = places.find((unit) => unit.name === name)?.place;
  const names = state.order.filter((_, place) => places[place].place === kind);
  return kind === undefined ? undefined : names[names.indexOf(name) + step];
}

/** The edits in words. */
export function words(network, state) {
  const found = edits(network, state).map((edit) => {
    if (edit.delete) return `deleted ${edit.delete.join(", ")}`;
    if (edit.scale) return `scaled ${Object.entries(edit.scale).map(([name, factor]) => `${name} × ${factor}`).join(", ")}`;
    return `new order ${edit.reorder.join(", ")}`;
  });
  return found.join("; ") || "Intact";
}
