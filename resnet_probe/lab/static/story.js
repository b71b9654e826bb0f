// A story: the states that were visited, with numbers, figures and notes, as one page that needs no server.
import { make } from "./network.js";

const FIGURES = ["drawing", "paths", "profile", "confusion", "cloud"];

async function inlined(image) {
  const blob = await (await fetch(image.src)).blob();
  return new Promise((done) => {
    const reader = new FileReader();
    reader.addEventListener("load", () => done(reader.result));
    reader.readAsDataURL(blob);
  });
}

/** What the page shows now, kept apart from it. */
export function snapshot() {
  const figures = FIGURES.map((id) => document.getElementById(id)).filter((host) => host.childElementCount && !host.closest("[hidden]"))
    .map((host) => {
      const kept = host.cloneNode(true);
      for (const each of kept.querySelectorAll("button")) each.replaceWith(make("div", { class: each.className }, ...each.childNodes));
      for (const each of [kept, ...kept.querySelectorAll("[id],[role=toolbar],[tabindex]")]) for (const name of ["id", "role", "tabindex", "aria-label"]) each.removeAttribute(name);
      return kept;
    });
  const pictures = [...document.querySelectorAll("#examples li")].slice(0, 8).map((item) => item.cloneNode(true));
  return { figures, pictures };
}

/** The text of a page that shows these entries; it fetches nothing and runs nothing. */
export async function page(title, about, entries) {
  const styles = await (await fetch("static/lab.css")).text();
  const made = document.implementation.createHTMLDocument(title);
  made.documentElement.lang = "en";
  const policy = made.createElement("meta");
  policy.httpEquiv = "Content-Security-Policy";
  policy.content = "default-src 'none'; style-src 'unsafe-inline'; img-src data:";
  const view = Object.assign(made.createElement("meta"), { name: "viewport", content: "width=device-width, initial-scale=1" });
  const style = made.createElement("style");
  style.textContent = styles;
  made.head.prepend(Object.assign(made.createElement("meta")), policy, view, style);
  made.head.firstChild.setAttribute("charset", "utf-8");
  const main = make("main", {});
  for (const { words, rows, note, figures, pictures } of entries) {
    const numbers = make("table", {}, ...rows.map(([name, value]) => make("tr", {}, make("th", { scope: "row" }, name), make("td", {}, value))));
    const shown = pictures.map((each) => each.cloneNode(true));
    for (const image of shown.map((each) => each.querySelector("img"))) {
      image.setAttribute("src", await inlined(image));
      image.removeAttribute("loading");
    }
    main.append(make("section", {}, make("h2", {}, words), ...note.split("\n").filter(Boolean).map((line) => make("p", {}, line)),
      numbers, ...figures.map((each, number) => make("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": `${words}, figure ${number + 1}` }, each.cloneNode(true))), make("ul", { class: "pictures" }, ...shown)));
  }
  made.body.append(make("header", { class: "page" }, make("h1", {}, title), make("p", { class: "hint" }, about)), main);
  return `<!doctype html>\n${made.documentElement.outerHTML}\n`;
}
