// Health of all doors as small plots, and the page of one door.
import { $, brief, doorLink, el, placeByKey, safely } from "./dom.js";
import { cameraTag, orderKey, presence, problems, stateTag } from "./doors.js";
import { eventList, eventRow } from "./eventlist.js";
import { olderButton, storedEvents } from "./events.js";
import { plot, spark, swatch } from "./plot.js";
import { fleet, listen } from "./stream.js";

const total = (stages) => Object.values(stages).reduce((sum, value) => sum + value, 0);
const MEASURES = [["frames/s", (r) => r.fps, "", 1], ["temperature", (r) => r.temperature_c, "°C", 1], ["events waiting", (r) => r.outbox_depth, "", 0]];
const STAGES = ["stage times", (r) => (Object.keys(r.stages).length ? total(r.stages) : null), "ms", 1];
const figure = (value, unit, digits) => (value === null || value === undefined ? "–" : `${value.toFixed(digits)} ${unit}`.trim());
const problemList = (lines) => el("ul", { class: "problems" }, ...lines.map((line) => el("li", {}, line)));
const storedHealth = async (query) => (await fetch(`/api/health?${new URLSearchParams({ ...query, hours: $("hours").value })}`)).json();

export function healthView() {
  let known = {};
  const drawn = new Map();
  const tile = (name) => {
    const points = known[name] ?? [], door = fleet.doors.get(name);
    const lines = [...MEASURES, STAGES].map(([title, pick, unit, digits]) => {
      const values = points.map((reading) => [reading.at_ms, pick(reading)]), now = values.at(-1)?.[1] ?? null;
      if (values.every(([, value]) => value === null)) return null; // the board has no such sensor
      return el("div", { class: "spark" }, el("span", { class: "muted" }, title), spark(values, `${title} of ${name}, now ${figure(now, unit, digits)}`), el("b", {}, figure(now, unit, digits)));
    });
    const empty = lines.every((line) => line === null) ? el("p", { class: "muted" }, "No health report in this time range.") : null;
    const made = el("li", { class: "tile" }, el("h2", {}, doorLink(name), stateTag(door)), problemList(door.status === "offline" ? [] : problems(door)), ...lines, empty);
    placeByKey($("healths"), made, orderKey(door), drawn.get(name));
    drawn.set(name, made);
  };
  const draw = (name) => safely(() => tile(name), () => null);
  const load = async () => {
    known = await storedHealth({});
    [...fleet.doors.keys()].forEach(draw);
  };
  $("hours").addEventListener("change", load);
  listen((batch) => {
    if (batch.fresh) { load(); return; }
    for (const each of batch.doors) {
      const points = (known[each.door] ??= []);
      if (each.health && (points.at(-1)?.at_ms ?? 0) < each.health.at_ms) points.push(each.health);
      draw(each.door);
    }
  });
}

function duration(seconds) {
  const hours = Math.floor(seconds / 3600);
  return hours >= 48 ? `${Math.floor(hours / 24)} days` : hours ? `${hours} h` : `${Math.floor(seconds / 60)} min`;
}

const MIN_RANGE_MS = 60e3;

export function doorView(view) {
  const name = view.dataset.door, table = $("events");
  let points = [];
  const list = eventList(table.tBodies[0], eventRow(table), (event) => event.door === name);
  olderButton(list, () => ({ door: name }));
  const graphs = () => {
    const to = Date.now(), asked = to - Number($("hours").value) * 3600e3;
    const from = Math.max(asked, Math.min(points[0]?.at_ms ?? asked, to - MIN_RANGE_MS)); // no empty space before the first report
    const made = MEASURES.map(([title, pick, unit]) => {
      const values = points.map((r) => [r.at_ms, pick(r)]);
      if (values.every(([, value]) => value === null)) return null;
      return el("figure", {}, el("h3", {}, title), plot([{ name: title, points: values }], unit, from, to, `${title} of ${name} over time`));
    }).filter(Boolean);
    const stages = [...new Set(points.flatMap((r) => Object.keys(r.stages)))].slice(0, 6);
    const series = stages.map((stage) => ({ name: stage, points: points.map((r) => [r.at_ms, Object.hasOwn(r.stages, stage) ? r.stages[stage] : null]) }));
    if (stages.length) made.push(el("figure", {}, el("h3", {}, "median time of each stage"), plot(series, "ms", from, to, `median time of each stage of ${name}`), el("ul", { class: "legend" }, ...stages.map((stage, i) => el("li", {}, swatch(i), stage)))));
    $("graphs").replaceChildren(...(made.length ? made : [el("p", { class: "muted" }, "No health report in this time range.")]));
  };
  const load = async () => { points = (await storedHealth({ door: name }))[name]; graphs(); };
  $("hours").addEventListener("change", load);
  const loadEvents = async () => { list.reset(); list.older(await storedEvents({ door: name })); };
  listen((batch) => {
    if (batch.fresh) { load(); loadEvents(); } else list.add(batch.events, false);
    const now = batch.doors.find((each) => each.door === name);
    if (!now) return;
    const models = now.release ? Object.entries(now.release.models).map(([job, hash]) => `${job} ${hash.slice(0, 8)}`).join(", ") : "";
    const release = !now.release ? "not reported" : now.release.release === null ? "none" : `#${now.release.release}${now.release.ok ? "" : ", the latest was rejected"}`;
    const facts = [["state", stateTag(now)], ["camera", cameraTag(now)], ["presence", presence(now)], ["running for", now.uptime_s === null || now.status === "offline" ? "" : duration(now.uptime_s)], ["release", release], ["gallery", brief(now.gallery)], ["models", models]];
    $("facts").replaceChildren(...facts.filter(([, value]) => value !== "").map(([term, value]) => el("div", {}, el("dt", {}, term), el("dd", {}, value))));
    $("problems").replaceChildren(...problems(now).map((line) => el("li", {}, line)));
    if (now.health && (points.at(-1)?.at_ms ?? 0) < now.health.at_ms) { points.push(now.health); graphs(); }
  });
}
