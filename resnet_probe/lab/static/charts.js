// Figures as SVG, drawn with d3; colours are classes, so that light, dark and the exported story give them.

const WIDE = 380;

/** An SVG with axes: `x` and `y` are scales without a range, `titles` what they show. */
function frame(host, label, { high = 200, x, y, titles, left = 44, ticks = {} }) {
  const wide = Math.max(240, Math.min(host.clientWidth || WIDE, 640));
  const edge = { top: 24, right: 12, bottom: 38, left };
  x.range([edge.left, wide - edge.right]);
  y.range([high - edge.bottom, edge.top]);
  const svg = d3.create("svg").attr("class", "chart").attr("viewBox", `0 0 ${wide} ${high}`).attr("width", wide).attr("height", high)
    .attr("role", "img").attr("aria-label", label);
  const axis = (place, made) => svg.append("g").attr("transform", place).call(made);
  axis(`translate(0,${high - edge.bottom})`, d3.axisBottom(x).ticks(ticks.x ?? 6, ticks.format).tickValues(ticks.values ?? null).tickSizeOuter(0));
  axis(`translate(${edge.left},0)`, d3.axisLeft(y).ticks(4).tickSizeOuter(0));
  svg.append("text").attr("class", "title").attr("x", (edge.left + wide - edge.right) / 2).attr("y", high - 5).attr("text-anchor", "middle").text(titles[0]);
  svg.append("text").attr("class", "title").attr("transform", `translate(11,${(edge.top + high - edge.bottom) / 2}) rotate(-90)`).attr("text-anchor", "middle").text(titles[1]);
  host.replaceChildren(svg.node());
  return svg;
}

/** What the lines mean, in a row above the figure, from the right. */
function key(svg, words) {
  let at = Number(svg.attr("width")) - 14;
  for (const [style, text] of words.reverse()) {
    svg.append("text").attr("x", at).attr("y", 12).attr("text-anchor", "end").text(text);
    at -= 6 * text.length + 8;
    svg.append("path").attr("class", style).attr("d", `M${at - 20} 8h20`);
    at -= 34;
  }
}

/** The change of the error with its 95 % interval, on a line with a mark at zero. */
export function interval(host, answer) {
  const [low, high] = [answer.increase_low, answer.increase_high];
  const reach = Math.max(Math.abs(low), Math.abs(high), 1) * 1.15;
  const wide = Math.max(120, host.clientWidth || 200);
  const x = d3.scaleLinear([-reach, reach], [4, wide - 4]);
  const svg = d3.create("svg").attr("class", "chart").attr("viewBox", `0 0 ${wide} 26`).attr("width", wide).attr("height", 26).attr("role", "img")
    .attr("aria-label", `Change of the error ${answer.increase.toFixed(2)} points, 95 % interval ${low.toFixed(2)} to ${high.toFixed(2)}`);
  svg.append("path").attr("class", "before-line").attr("d", `M4 12H${wide - 4}`);
  svg.append("path").attr("class", "zero").attr("d", `M${x(0)} 4v16`);
  svg.append("path").attr("class", "now-line").attr("d", `M${x(low)} 12H${x(high)}M${x(low)} 8v8M${x(high)} 8v8`);
  svg.append("circle").attr("class", "here").attr("cx", x(answer.increase)).attr("cy", 12).attr("r", 5);
  host.replaceChildren(svg.node());
}

/** Share of the paths of each length, the intact network's as a line. */
export function lengths(host, now, intact) {
  const last = 2 + Math.max(...[now, intact].map(({ shares }) => shares.findLastIndex((share) => share > 1e-4)));
  const x = d3.scaleLinear().domain([-0.7, last - 0.3]);
  const y = d3.scaleLinear().domain([0, 100 * Math.max(d3.max(now.shares), d3.max(intact.shares))]).nice();
  const svg = frame(host, `Paths by length: ${now.mean.toFixed(1)} residual branches on average, ${intact.mean.toFixed(1)} in the intact network`,
    { x, y, titles: ["residual branches on the path", "share of paths, %"], ticks: { format: "d", x: Math.min(last, 8) } });
  const half = (x(1) - x(0)) * 0.42;
  svg.selectAll("rect").data(now.shares.slice(0, last)).join("rect").attr("class", "now").attr("x", (_, length) => x(length) - half).attr("width", 2 * half)
    .attr("y", (share) => y(100 * share)).attr("height", (share) => y(0) - y(100 * share));
  svg.append("path").attr("class", "before-line").attr("d", d3.line((_, length) => x(length), (share) => y(100 * share)).curve(d3.curveStep)(intact.shares.slice(0, last)));
  key(svg, [["now-line", "now"], ["before-line", "intact"]]);
}

/** Standard deviation of each unit's output along the network, the intact network's as a line. */
export function profile(host, now, intact) {
  const names = intact.map(([name]) => name);
  const points = now.map(([name, std]) => [names.indexOf(name), std]).filter(([place]) => place >= 0).sort((a, b) => a[0] - b[0]);
  const x = d3.scaleLinear().domain([-0.5, names.length - 0.5]);
  const y = d3.scaleLinear().domain([0, d3.max([...now, ...intact], ([, std]) => std) || 1]).nice();
  const svg = frame(host, `Standard deviation of the outputs of ${names.length} units, now and intact`, { x, y, titles: ["unit, from input to output", "standard deviation"], ticks: { format: "d" } });
  const line = d3.line(([place]) => x(place), ([, std]) => y(std));
  svg.append("path").attr("class", "before-line").attr("d", line(intact.map(([, std], place) => [place, std])));
  svg.append("path").attr("class", "now-line").attr("d", line(points));
  svg.selectAll("circle").data(points).join("circle").attr("class", "now").attr("r", 2.5).attr("cx", ([place]) => x(place)).attr("cy", ([, std]) => y(std))
    .append("title").text(([place, std]) => `${names[place]}: ${std.toPrecision(3)}`);
  key(svg, [["now-line", "now"], ["before-line", "intact"]]);
}

/** Random deletions of a run by their number of blocks, and where this state stands among them. */
export function cloud(host, points, deleted, error) {
  const x = d3.scaleLinear().domain([-0.5, Math.max(d3.max(points, ([number]) => number), deleted) + 0.5]);
  const y = d3.scaleLinear().domain([0, Math.max(d3.max(points, ([, each]) => each), error)]).nice();
  const svg = frame(host, `${points.length} random deletions; this state, ${deleted} deleted, has ${error.toFixed(2)} % error`,
    { x, y, titles: ["blocks deleted", "error, %"], ticks: { format: "d" } });
  svg.selectAll(".dot").data(points).join("circle").attr("class", "dot").attr("r", 3).attr("cx", ([number]) => x(number)).attr("cy", ([, each]) => y(each));
  svg.append("circle").attr("class", "here").attr("r", 7).attr("cx", x(deleted)).attr("cy", y(error));
}

/** How many images of each class (rows) are taken for which (columns). */
export function confusion(host, matrix, classes) {
  const n = classes.length;
  const wide = Math.max(240, Math.min(host.clientWidth || WIDE, 460));
  const left = Math.min(84, 12 + 6.3 * d3.max(classes, (name) => name.length));
  const side = (wide - left - 4) / n;
  const top = 20;
  const high = top + n * side + left * 0.9;
  const wrong = d3.sum(matrix, (row, i) => d3.sum(row) - row[i]);
  const svg = d3.create("svg").attr("class", "chart").attr("viewBox", `0 0 ${wide} ${high}`).attr("width", wide).attr("height", high).attr("role", "img")
    .attr("aria-label", `Confusion matrix of ${n} classes: ${wrong} images off the diagonal; the table below has the errors of each class`);
  svg.append("text").attr("class", "title").attr("x", 2).attr("y", 12).text("label ↓  predicted →");
  matrix.forEach((row, i) => {
    const all = d3.sum(row) || 1;
    svg.append("text").attr("x", left - 5).attr("y", top + (i + 0.5) * side + 4).attr("text-anchor", "end").text(classes[i].slice(0, 12));
    svg.append("text").attr("transform", `translate(${left + (i + 0.5) * side + 4},${top + n * side + 7}) rotate(-60)`).attr("text-anchor", "end").text(classes[i].slice(0, 12));
    row.forEach((count, j) => {
      const cell = svg.append("rect").attr("x", left + j * side).attr("y", top + i * side).attr("width", side - 1).attr("height", side - 1);
      cell.attr("class", count ? "cell" : "cell-empty");
      if (count) cell.attr("fill-opacity", 0.12 + 0.5 * Math.sqrt(count / all));
      cell.append("title").text(`${classes[i]} taken for ${classes[j]}: ${count}`);
      if (count && side > 22) svg.append("text").attr("class", "count").attr("x", left + (j + 0.5) * side).attr("y", top + (i + 0.5) * side + 3.5).text(count);
    });
  });
  host.replaceChildren(svg.node());
}
