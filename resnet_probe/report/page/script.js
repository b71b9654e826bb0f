"use strict";
(() => {
  // Sorting: a button in every heading; numbers by value, the rest by text, empty cells last.
  const raw = (row, column) => {
    const cell = row.cells[column];
    return cell.dataset.sort !== undefined ? cell.dataset.sort : cell.textContent.trim().replace(/,/g, "");
  };
  const compare = (a, b) => {
    const [x, y] = [parseFloat(a), parseFloat(b)];
    return Number.isNaN(x) || Number.isNaN(y) ? a.localeCompare(b, "en", { numeric: true }) : x - y;
  };
  for (const table of document.querySelectorAll("table.sortable")) {
    const headings = [...table.tHead.rows[0].cells];
    headings.forEach((heading, column) => {
      const button = document.createElement("button");
      button.type = "button";
      button.append(...heading.childNodes);
      heading.append(button);
      button.addEventListener("click", () => {
        const falling = heading.getAttribute("aria-sort") === "ascending";
        headings.forEach((other) => other.removeAttribute("aria-sort"));
        heading.setAttribute("aria-sort", falling ? "descending" : "ascending");
        const rows = [...table.tBodies[0].rows];
        rows.sort((one, other) => {
          const [a, b] = [raw(one, column), raw(other, column)];
          const empty = (text) => text === "" || text === "–";
          if (empty(a) || empty(b)) return empty(a) - empty(b);
          return falling ? compare(b, a) : compare(a, b);
        });
        table.tBodies[0].append(...rows);
      });
    });
  }

  // Paths that are left: each block that is switched off takes one factor (1 + t) out of the counts. Exact integers.
  const without = (counts, off) => {
    let left = counts;
    for (let k = 0; k < off; k += 1) {
      const quotient = [];
      for (let i = 0; i < left.length - 1; i += 1) quotient.push(left[i] - (i ? quotient[i - 1] : 0n));
      left = quotient;
    }
    return left;
  };
  const total = (counts) => counts.reduce((sum, count) => sum + count, 0n);
  const mean = (counts) => {
    const weighted = counts.reduce((sum, count, length) => sum + count * BigInt(length), 0n);
    return Number((weighted * 100000n) / total(counts)) / 100000;
  };
  const full = (count) => {
    const digits = count.toString();
    if (digits.length <= 18) return count.toLocaleString("en");
    return `${digits[0]}.${digits.slice(1, 4)} × 10^${digits.length - 1}`;
  };
  const plain = (number) => String(Number(number.toPrecision(4)));

  for (const article of document.querySelectorAll("[data-network]")) {
    const about = JSON.parse(article.querySelector("script.data").textContent);
    const counts = about.counts.map((count) => BigInt(count));
    const panel = article.querySelector(".panel");
    const numbers = panel.querySelector(".numbers");
    const status = panel.querySelector(".paths");
    const restore = panel.querySelector(".restore");
    const svg = article.querySelector("svg.anatomy");
    const off = new Set();
    const switches = new Map();

    const show = (name) => {
      const unit = about.units[name];
      const heading = document.createElement("p");
      const strong = document.createElement("strong");
      strong.textContent = name;
      heading.append(strong, `: ${unit.what}, stage ${unit.stage}`);
      const list = document.createElement("dl");
      for (const [label, text] of Object.entries(unit.numbers)) {
        const pair = document.createElement("div");
        const term = document.createElement("dt");
        const value = document.createElement("dd");
        term.textContent = label;
        value.textContent = text;
        pair.append(term, value);
        list.append(pair);
      }
      numbers.replaceChildren(heading, list);
    };
    const tell = () => {
      const left = without(counts, off.size);
      const [all, rest] = [total(counts), total(left)];
      const blocks = switches.size;
      let words = `${full(all)} paths, ${plain(mean(counts))} residual branches long on average.`;
      if (off.size) {
        const share = Number((rest * 1000000n) / all) / 10000;
        words = `${off.size} of ${blocks} blocks are off: ${full(rest)} of ${full(all)} paths are left (${share < 0.0001 ? "less than 0.0001" : plain(share)} %), ${plain(mean(left))} residual branches long on average.`;
        const [only] = off;
        const error = about.units[only].error;
        if (off.size === 1 && error !== null) words += ` Measured error without ${only}: ${plain(error)} %.`;
      }
      status.textContent = words;
      restore.disabled = off.size === 0;
    };
    const toggle = (name) => {
      if (off.has(name)) off.delete(name);
      else off.add(name);
      const unit = switches.get(name);
      unit.classList.toggle("off", off.has(name));
      unit.setAttribute("aria-checked", String(!off.has(name)));
      tell();
    };

    svg.setAttribute("role", "group");
    for (const unit of svg.querySelectorAll(".unit")) {
      const name = unit.dataset.unit;
      const switchable = counts.length > 0 && about.units[name].block;
      unit.setAttribute("tabindex", "0");
      unit.setAttribute("role", switchable ? "switch" : "img");
      unit.setAttribute("aria-label", unit.querySelector("title").textContent);
      unit.addEventListener("pointerenter", () => show(name));
      unit.addEventListener("focus", () => show(name));
      if (!switchable) continue;
      unit.setAttribute("aria-checked", "true");
      switches.set(name, unit);
      unit.addEventListener("click", () => toggle(name));
      unit.addEventListener("keydown", (event) => {
        if (event.key !== "Enter" && event.key !== " ") return;
        event.preventDefault();
        toggle(name);
      });
    }
    if (restore) {
      restore.addEventListener("click", () => [...off].forEach(toggle));
      tell();
    }
    panel.hidden = false;
  }
})();
