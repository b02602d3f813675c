import { $, brief, doorLink, el, heads, kindTag, row, safely, tag, when } from "./dom.js";
import { eventList, eventRow } from "./eventlist.js";
import { plot, spark, swatch } from "./plot.js";
import { fleet, listen } from "./stream.js";

const root = document.documentElement;
const theme = $("theme");
const dark = () => (root.dataset.theme ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")) === "dark";
const named = () => { theme.textContent = dark() ? "Light" : "Dark"; theme.setAttribute("aria-label", `${dark() ? "Light" : "Dark"} colours`); };
theme.addEventListener("click", () => { root.dataset.theme = dark() ? "light" : "dark"; localStorage.setItem("theme", root.dataset.theme); named(); });
named();

document.querySelector(".top [aria-current]")?.scrollIntoView({ block: "nearest", inline: "center" });

const again = document.querySelector("[data-again]");
if (again) setTimeout(() => location.reload(), 1000 * Number(again.dataset.again));

const names = () => [...fleet.doors.keys()].sort();
const view = document.querySelector("[data-view]");
const views = { doors, events, health, releases, door };
if (view) views[view.dataset.view]();

function summary(entries) {
  $("summary").replaceChildren(...entries.map(([term, value, tone]) => el("div", { class: value ? tone : null }, el("dt", {}, term), el("dd", {}, String(value)))));
}
function state(door) {
  if (!door.status) return tag("unheard");
  return tag(door.status, door.status === "online" ? "good" : "bad");
}
const cameraTag = (door) => (door.camera ? tag(door.camera, door.camera === "working" ? "good" : door.camera === "starting" ? "warn" : "bad") : "");
const presence = (door) => (door.somebody === null || door.status !== "online" ? "" : door.somebody ? tag("somebody") : "nobody");
const small = (text) => el("small", {}, text);

const counter = (all) => (test) => all.filter((door) => safely(() => test(door), () => false)).length;

function rows(table, cells, wanted = () => true) {
  const body = table.tBodies[0], titles = heads(table), shown = new Map();
  return {
    update(doors, fresh) {
      if (fresh) { body.replaceChildren(); shown.clear(); }
      for (const door of doors) {
        const made = safely(() => row(titles, cells(door)), () => row(titles, [doorLink(door.door), "cannot be shown"]));
        const old = shown.get(door.door);
        made.hidden = !safely(() => wanted(door), () => true);
        if (old) {
          if (old.contains(document.activeElement)) { // the focus stays where it is, on the link in the first cell
            for (const cell of [...old.cells].slice(1)) cell.remove();
            old.append(...[...made.cells].slice(1));
            continue;
          }
          old.replaceWith(made);
        } else {
          const next = [...shown.keys()].filter((name) => name > door.door).sort()[0];
          body.insertBefore(made, next ? shown.get(next) : null);
        }
        shown.set(door.door, made);
      }
    },
    filter() { for (const [name, made] of shown) made.hidden = !safely(() => wanted(fleet.doors.get(name)), () => true); },
    get empty() { return [...body.rows].every((made) => made.hidden); },
  };
}

const troubled = (door) => door.status !== "online" || door.problems.length > 0 || !["", "working", "starting"].includes(door.camera) || door.release?.ok === false;

function doors() {
  const find = $("find"), trouble = $("trouble");
  const table = rows($("doors"), (door) => [
    doorLink(door.door),
    [state(door), door.status === "offline" ? small(door.reason) : ""],
    [cameraTag(door), ...door.problems.map((problem) => small(problem))],
    presence(door),
    door.last ? [kindTag(door.last.kind), el("small", {}, door.last.who ? `${door.last.who}, ` : "", when(door.last.at_ms))] : "",
    brief(door.gallery),
    door.release ? [door.release.release === null ? "none" : `#${door.release.release}`, door.release.ok ? "" : tag("refused", "bad")] : "",
  ], (door) => door.door.toLowerCase().includes(find.value.trim().toLowerCase()) && (!trouble.checked || troubled(door)));
  const told = () => {
    const text = !table.empty ? "" : !fleet.doors.size ? "No door has been heard of yet." : trouble.checked && !find.value ? "No door is in trouble." : "No door fits.";
    if ($("none").textContent !== text) $("none").textContent = text;
    $("doors").hidden = text !== "";
  };
  for (const each of [find, trouble]) each.addEventListener("input", () => { table.filter(); told(); });
  const list = eventList($("rail"), (event) => {
    const made = el("li", {}, el("p", {}, when(event.at_ms), kindTag(event.kind), " ", event.who), el("p", { class: "muted" }, doorLink(event.door), event.reason ? ` · ${event.reason}` : ""));
    made.dataset.n = event.n;
    return made;
  }, () => true);
  listen((portion) => {
    table.update(portion.doors, portion.fresh);
    list.add(portion.events, portion.fresh);
    if (portion.doors.length || portion.fresh) {
      told();
      const count = counter([...fleet.doors.values()]);
      summary([["doors online", count((door) => door.status === "online"), ""], ["offline", count((door) => door.status === "offline"), "bad"], ["in trouble", count(troubled), "warn"], ["at the door", count((door) => door.somebody && door.status === "online"), ""]]);
    }
  });
}

function events() {
  const asked = new URLSearchParams(location.search), door = $("door"), kind = $("kind");
  const choose = (name) => { if (name && ![...door.options].some((option) => option.value === name)) door.append(el("option", { value: name }, name)); };
  choose(asked.get("door"));
  door.value = asked.get("door") ?? ""; kind.value = asked.get("kind") ?? "";
  const table = $("events");
  const fits = (event) => (!door.value || event.door === door.value) && (!kind.value || event.kind === kind.value);
  const list = eventList(table.tBodies[0], eventRow(table), fits);
  const refill = async () => {
    const query = new URLSearchParams({ door: door.value, kind: kind.value });
    history.replaceState(null, "", `?${query}`);
    list.reset();
    list.older(await (await fetch(`/api/events?${query}`)).json());
  };
  for (const each of [door, kind]) each.addEventListener("change", refill);
  $("filter").addEventListener("submit", (event) => event.preventDefault());
  older(list, () => ({ door: door.value, kind: kind.value }));
  listen((portion) => {
    for (const each of portion.doors) choose(each.door);
    list.add(portion.events, portion.fresh);
    if (portion.fresh && (door.value || kind.value)) refill();
  });
}
function older(list, query) {
  $("older").addEventListener("click", async () => {
    const found = await (await fetch(`/api/events?${new URLSearchParams({ ...query(), before: list.oldest ?? "" })}`)).json();
    list.older(found);
    $("older").disabled = !found.length;
  });
}

const total = (stages) => Object.values(stages).reduce((sum, value) => sum + value, 0);
const MEASURES = [["fps", "frames/s", (r) => r.fps, "", 1], ["temperature_c", "temperature", (r) => r.temperature_c, "°C", 1], ["outbox_depth", "outbox", (r) => r.outbox_depth, "", 0], ["stages", "stages", (r) => (Object.keys(r.stages).length ? total(r.stages) : null), "ms", 1]];
const figure = (value, unit, digits) => (value === null || value === undefined ? "–" : `${value.toFixed(digits)} ${unit}`.trim());

const mark = (door) => (!door || !troubled(door) ? null : door.status !== "online" ? state(door) : tag(door.problems.length ? "problems" : door.camera !== "working" ? `camera ${door.camera}` : "refused", "bad"));

function health() {
  let known = {};
  const drawn = new Map();
  const draw = (name) => safely(() => tile(name), () => null);
  const tile = (name) => {
    const points = known[name] ?? [];
    const lines = MEASURES.map(([, title, pick, unit, digits]) => {
      const values = points.map((reading) => [reading.at_ms, pick(reading)]), now = values.at(-1)?.[1] ?? null;
      return el("div", { class: "spark" }, el("span", { class: "muted" }, title), spark(values, `${title} of ${name}, now ${figure(now, unit, digits)}`), el("b", {}, figure(now, unit, digits)));
    });
    const made = el("li", { class: "tile" }, el("h2", {}, doorLink(name), mark(fleet.doors.get(name))), ...lines);
    const old = drawn.get(name);
    if (old) old.replaceWith(made); else $("healths").append(made);
    drawn.set(name, made);
  };
  const load = async () => {
    known = await (await fetch(`/api/health?hours=${$("hours").value}`)).json();
    names().forEach(draw);
  };
  $("hours").addEventListener("change", load);
  listen((portion) => {
    if (portion.fresh) load();
    else for (const each of portion.doors) {
      const points = (known[each.door] ??= []);
      if (each.health && (points.at(-1)?.at_ms ?? 0) < each.health.at_ms) { points.push(each.health); draw(each.door); }
    }
  });
}

function releases() {
  const newest = () => Math.max(0, ...[...fleet.doors.values()].map((door) => door.release?.release).filter(Number.isSafeInteger));
  const table = rows($("releases"), (door) => {
    const told = door.release;
    if (!told) return [doorLink(door.door), "", tag("not reported", "warn"), "", brief(door.gallery), "", ""];
    const verdict = !told.ok ? tag("refused", "bad") : told.release === newest() ? tag("newest", "good") : tag("older", "warn");
    return [doorLink(door.door), told.release === null ? "none" : `#${told.release}`, verdict, told.applied_ms === null ? "" : when(told.applied_ms), brief(told.gallery), told.people === null ? "" : String(told.people), told.reason];
  });
  let top = 0;
  listen((portion) => {
    const all = [...fleet.doors.values()], now = newest();
    table.update(now === top ? portion.doors : all, portion.fresh);
    top = now;
    const count = counter(all);
    summary([["newest release", top ? `#${top}` : "–", ""], ["run it", count((door) => top && door.release?.release === top), ""], ["refused the last", count((door) => door.release && !door.release.ok), "bad"], ["not reported", count((door) => !door.release), "warn"]]);
  });
}

function door() {
  const name = view.dataset.door, table = $("events");
  let points = [];
  const list = eventList(table.tBodies[0], eventRow(table), (event) => event.door === name);
  older(list, () => ({ door: name }));
  const graphs = () => {
    const to = Date.now(), from = to - Number($("hours").value) * 3600e3;
    const made = MEASURES.slice(0, 3).map(([, title, pick, unit]) => el("figure", {}, el("h3", {}, title), plot([{ name: title, points: points.map((r) => [r.at_ms, pick(r)]) }], unit, from, to, `${title} of ${name} over time`)));
    const stages = [...new Set(points.flatMap((r) => Object.keys(r.stages)))].slice(0, 6);
    const series = stages.map((stage) => ({ name: stage, points: points.map((r) => [r.at_ms, Object.hasOwn(r.stages, stage) ? r.stages[stage] : null]) }));
    made.push(el("figure", {}, el("h3", {}, "stages, median"), plot(series, "ms", from, to, `median time of each stage of ${name}`), el("ul", { class: "legend" }, ...stages.map((stage, i) => el("li", {}, swatch(i), stage)))));
    $("graphs").replaceChildren(...made);
  };
  const load = async () => {
    points = (await (await fetch(`/api/health?${new URLSearchParams({ door: name, hours: $("hours").value })}`)).json())[name];
    graphs();
  };
  $("hours").addEventListener("change", load);
  const past = async () => { list.reset(); list.older(await (await fetch(`/api/events?${new URLSearchParams({ door: name })}`)).json()); };
  listen((portion) => {
    if (portion.fresh) { load(); past(); } else list.add(portion.events, false);
    const now = portion.doors.find((each) => each.door === name);
    if (!now) return;
    const facts = [["state", state(now)], ["why", now.reason], ["camera", cameraTag(now)], ["presence", presence(now)], ["up for", now.uptime_s === null ? "" : `${(now.uptime_s / 3600).toFixed(1)} h`], ["gallery", brief(now.gallery)], ["release", now.release ? `#${now.release.release ?? "none"}, ${now.release.reason}` : "not reported"], ["models", now.release ? Object.entries(now.release.models).map(([job, hash]) => `${job} ${hash}`).join(", ") : ""]];
    $("facts").replaceChildren(...facts.filter(([, value]) => value !== "").map(([term, value]) => el("div", {}, el("dt", {}, term), el("dd", {}, value))));
    $("problems").replaceChildren(...now.problems.map((problem) => el("li", {}, problem)));
    if (now.health && (points.at(-1)?.at_ms ?? 0) < now.health.at_ms) { points.push(now.health); graphs(); }
  });
}
