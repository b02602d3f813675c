// The tables with one row for each door: all doors, and their releases.
import { $, brief, doorLink, el, heads, kindTag, placeByKey, row, safely, tag, when } from "./dom.js";
import { eventList } from "./eventlist.js";
import { fleet, listen } from "./stream.js";

const small = (text) => el("small", {}, text);

export function stateTag(door) {
  if (!door.status) return tag("not reported", "warn");
  return tag(door.status, door.status === "online" ? "good" : "bad");
}
// An offline door reports nothing, so its last camera state and presence are not shown.
export function cameraTag(door) {
  if (!door.camera || door.status === "offline") return "";
  return tag(door.camera, door.camera === "working" ? "good" : door.camera === "starting" ? "warn" : "bad");
}
export const presence = (door) => (door.somebody === null || door.status !== "online" ? "" : door.somebody ? tag("somebody") : "nobody");

const cameraFails = (door) => door.status !== "offline" && !["", "working", "starting"].includes(door.camera);

// The problems that an operator has to solve, a line each; [] for a door in good order.
export function problems(door) {
  const lines = [];
  if (!door.status) lines.push("No status received");
  else if (door.status !== "online") lines.push(door.reason || "Offline");
  if (cameraFails(door) && !door.problems.some((line) => line.startsWith("camera"))) lines.push(`camera: ${door.camera}`);
  lines.push(...door.problems);
  if (door.release?.ok === false) lines.push(`release rejected: ${door.release.reason}`);
  return lines;
}
const troubled = (door) => safely(() => problems(door).length > 0, () => true);
// Offline doors come first, then doors without a picture, then those with other problems; each by name.
const severity = (door) => (door.status !== "online" ? 0 : cameraFails(door) ? 1 : troubled(door) ? 2 : 3);
export const orderKey = (door) => `${severity(door)} ${door.door}`;

function summary(entries) {
  $("summary").replaceChildren(...entries.map(([term, value, tone]) => el("div", { class: value ? tone : null }, el("dt", {}, term), el("dd", {}, String(value)))));
}
const counter = (all) => (test) => all.filter((door) => safely(() => test(door), () => false)).length;

function doorTable(table, cells, key, accepts = () => true) {
  const body = table.tBodies[0], titles = heads(table), shown = new Map();
  const visible = (door) => safely(() => accepts(door), () => true);
  return {
    update(doors, fresh) {
      if (fresh) { body.replaceChildren(); shown.clear(); }
      for (const door of doors) {
        const made = safely(() => row(titles, cells(door)), () => row(titles, [doorLink(door.door), "cannot be shown"]));
        const old = shown.get(door.door), place = key(door);
        if (old?.dataset.key === place && old.contains(document.activeElement)) { // keep the link that has the focus
          for (const cell of [...old.cells].slice(1)) cell.remove();
          old.append(...[...made.cells].slice(1));
          old.hidden = !visible(door);
          continue;
        }
        made.hidden = !visible(door);
        placeByKey(body, made, place, old);
        shown.set(door.door, made);
      }
    },
    filter() { for (const [name, made] of shown) made.hidden = !visible(fleet.doors.get(name)); },
    get empty() { return [...body.rows].every((made) => made.hidden); },
  };
}

export function doorsView() {
  const find = $("find"), trouble = $("trouble");
  const table = doorTable($("doors"), (door) => [
    doorLink(door.door),
    [stateTag(door), ...problems(door).map(small)],
    cameraTag(door),
    presence(door),
    door.last ? [kindTag(door.last.kind), el("small", {}, door.last.who ? `${door.last.who}, ` : "", when(door.last.at_ms))] : "",
    brief(door.gallery),
    door.release ? [door.release.release === null ? "none" : `#${door.release.release}`, door.release.ok ? "" : tag("rejected", "bad")] : "",
  ], orderKey, (door) => door.door.toLowerCase().includes(find.value.trim().toLowerCase()) && (!trouble.checked || troubled(door)));
  const showEmpty = () => {
    const text = !table.empty ? "" : !fleet.doors.size ? "No door has reported yet." : trouble.checked && !find.value ? "No door has a problem." : "No door matches.";
    if ($("none").textContent !== text) $("none").textContent = text;
    $("doors").hidden = text !== "";
  };
  for (const each of [find, trouble]) each.addEventListener("input", () => { table.filter(); showEmpty(); });
  const list = eventList($("rail"), (event) => {
    const reason = event.kind === "door-open" ? "" : event.reason; // an opening needs no explanation
    const made = el("li", {}, el("p", {}, when(event.at_ms), kindTag(event.kind), " ", event.who), el("p", { class: "muted" }, doorLink(event.door), reason ? ` · ${reason}` : ""));
    made.dataset.n = event.n;
    return made;
  }, () => true);
  listen((batch) => {
    table.update(batch.doors, batch.fresh);
    list.add(batch.events, batch.fresh);
    if (batch.doors.length || batch.fresh) {
      showEmpty();
      const count = counter([...fleet.doors.values()]);
      summary([["doors online", count((door) => door.status === "online"), ""], ["offline", count((door) => door.status === "offline"), "bad"], ["with problems", count(troubled), "warn"], ["with a visitor", count((door) => door.somebody && door.status === "online"), ""]]);
    }
  });
}

export function releasesView() {
  const newest = () => Math.max(0, ...[...fleet.doors.values()].map((door) => door.release?.release).filter(Number.isSafeInteger));
  const result = ({ release }) => (!release ? "not reported" : !release.ok ? "rejected" : release.release === newest() ? "newest" : "older");
  const TONES = { rejected: "bad", "not reported": "warn", older: "warn", newest: "good" };
  const key = (door) => `${Object.keys(TONES).indexOf(safely(() => result(door), () => "rejected"))} ${door.door}`;
  const table = doorTable($("releases"), (door) => {
    const { release } = door, verdict = tag(result(door), TONES[result(door)]);
    if (!release) return [doorLink(door.door), "", verdict, "", brief(door.gallery), "", ""];
    return [doorLink(door.door), release.release === null ? "none" : `#${release.release}`, verdict, release.applied_ms === null ? "" : when(release.applied_ms), brief(release.gallery), release.people === null ? "" : String(release.people), release.ok ? "" : release.reason];
  }, key);
  let top = 0;
  listen((batch) => {
    const all = [...fleet.doors.values()], now = newest();
    table.update(now === top ? batch.doors : all, batch.fresh);
    top = now;
    const count = counter(all);
    summary([["newest release", top ? `#${top}` : "–", ""], ["doors with the newest", count((door) => top && door.release?.release === top), ""], ["rejected the latest", count((door) => door.release && !door.release.ok), "bad"], ["not reported", count((door) => !door.release), "warn"]]);
  });
}
