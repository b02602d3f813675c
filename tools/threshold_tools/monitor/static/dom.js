// Builds elements. Text from doors only ever becomes text nodes.
export const $ = (id) => document.getElementById(id);

export function el(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) if (value !== null) made.setAttribute(key, value);
  made.append(...children.filter((child) => child !== null && child !== ""));
  return made;
}

// A malformed message of one door must not stop the rows of other doors.
export function safely(make, instead) {
  try { return make(); } catch (error) { console.warn(error); return instead(); }
}

// The first 8 characters of a hash; the tooltip has all of it.
export const brief = (text) => (text.length > 12 ? el("code", { class: "hash", title: text }, text.slice(0, 8)) : text);

const KINDS = JSON.parse($("main").dataset.kinds);
export const kindText = (kind) => KINDS[kind] ?? kind;

export const tag = (text, tone = "") => el("span", { class: `tag ${tone}` }, text);

// A table row; each cell is a string, a node or an array of them.
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
  if (Number.isNaN(at.getTime())) return "invalid time";
  const today = at.toDateString() === new Date().toDateString();
  return el("time", { datetime: at.toISOString(), title: at.toISOString() }, (today ? "" : `${day.format(at)} `) + clock.format(at));
}
export function doorLink(name) {
  const at = name.indexOf("/") + 1;
  return el("a", { class: "door", href: `/doors/${name.split("/").map(encodeURIComponent).join("/")}` }, el("span", { class: "site" }, name.slice(0, at)), name.slice(at));
}

const TONES = { "door-open": "good", denied: "bad", unknown: "warn", "camera-lost": "bad", "camera-blind": "bad", "store-failing": "bad", "release-refused": "bad", "open-expired": "warn", "open-unheard": "warn", "events-dropped": "bad", "clock-stepped": "warn" };
export const kindTag = (kind) => tag(kindText(kind), TONES[kind] ?? "");
export const distance = (event) => (event.distance_sq === null || event.threshold_sq === null ? "" : `${event.distance_sq.toFixed(2)} (threshold ${event.threshold_sq.toFixed(2)})`);

// Insert a child by its key, or replace it in place; the children stay sorted by their keys.
export function placeByKey(container, made, key, old) {
  made.dataset.key = key;
  if (old?.dataset.key === key) { old.replaceWith(made); return; }
  const focused = old?.contains(document.activeElement);
  old?.remove();
  const next = [...container.children].find((child) => child.dataset.key > key);
  container.insertBefore(made, next ?? null);
  if (focused) made.querySelector("a")?.focus();
}
