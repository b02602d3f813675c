// Building elements; foreign text only ever becomes text.
export const $ = (id) => document.getElementById(id);

export function el(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) if (value !== null) made.setAttribute(key, value);
  made.append(...children.filter((child) => child !== null && child !== ""));
  return made;
}

// What one door says must not keep others from being shown.
export function safely(make, instead) {
  try { return make(); } catch (error) { console.warn(error); return instead(); }
}

// A long hash, cut; all of it as its title.
export const brief = (text) => (text.length > 12 ? el("small", { class: "hash", title: text }, text.slice(0, 12)) : text);

export const tag = (text, tone = "") => el("span", { class: `tag ${tone}` }, text);

// A row for one of our tables; cells are strings, nodes or arrays of them.
export function row(heads, cells) {
  const made = el("tr", { role: "row" });
  cells.forEach((cell, i) => {
    const parts = (Array.isArray(cell) ? cell : [cell]).filter((part) => part !== null && part !== "");
    const kind = i === 0 ? "lead" : parts.length ? "" : "void";
    made.append(el("td", { role: "cell", "data-head": heads[i], class: kind || null }, ...parts));
  });
  return made;
}

export const heads = (table) => [...table.tHead.rows[0].cells].map((cell) => cell.textContent);

const clock = new Intl.DateTimeFormat([], { hour: "2-digit", minute: "2-digit", second: "2-digit", hour12: false });
const day = new Intl.DateTimeFormat([], { day: "numeric", month: "short" });
export function when(ms) {
  const at = new Date(ms);
  if (Number.isNaN(at.getTime())) return "no such time";
  const today = at.toDateString() === new Date().toDateString();
  return el("time", { datetime: at.toISOString(), title: at.toISOString() }, (today ? "" : `${day.format(at)} `) + clock.format(at));
}
export function doorLink(name) {
  const at = name.indexOf("/") + 1;
  return el("a", { class: "door", href: `/doors/${name.split("/").map(encodeURIComponent).join("/")}` }, el("span", { class: "site" }, name.slice(0, at)), name.slice(at));
}

const TONES = { "door-open": "good", denied: "bad", unknown: "warn", "camera-lost": "bad", "camera-blind": "bad", "store-failing": "bad", "release-refused": "bad", "open-expired": "warn", "open-unheard": "warn", "events-dropped": "bad", "clock-stepped": "warn" };
export const kindTag = (kind) => tag(kind, TONES[kind] ?? "");
export const near = (event) => (event.distance_sq === null || event.threshold_sq === null ? "" : `${event.distance_sq.toFixed(2)} of ${event.threshold_sq.toFixed(2)}`);
