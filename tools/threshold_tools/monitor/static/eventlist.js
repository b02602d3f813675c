// Events, newest first; bounded and pausable. A screen reader gets a summary at most every 15 s.
import { $, distance, doorLink, el, heads, kindTag, kindText, row, safely, when } from "./dom.js";

const MOST = 200, ANNOUNCE_MS = 15000;

export function eventList(list, drawn, fits) {
  const draw = (event) => safely(() => drawn(event), () => el(list.tagName === "TBODY" ? "tr" : "li", { hidden: "" }));
  let paused = false, waiting = [], unannounced = [], announcedAt = Date.now(), frame = 0;
  const showEmpty = () => { $("nothing").hidden = list.childElementCount > 0; };
  const show = () => {
    frame = 0;
    const fresh = waiting.splice(0).filter(fits).slice(-MOST);
    const made = document.createDocumentFragment();
    for (const event of fresh.reverse()) { const item = draw(event); item.classList.add("new"); made.append(item); }
    list.prepend(made);
    while (list.childElementCount > MOST) list.lastElementChild.remove();
    showEmpty();
  };
  const announce = () => {
    if (!unannounced.length || Date.now() - announcedAt < ANNOUNCE_MS) return;
    const last = unannounced.at(-1);
    $("spoken").textContent = `${unannounced.length} new, the latest: ${last.door}, ${kindText(last.kind)}${last.who ? `, ${last.who}` : ""}`;
    unannounced = []; announcedAt = Date.now();
  };
  setInterval(announce, 3000);
  const pause = $("pause");
  pause.addEventListener("click", () => {
    paused = !paused;
    pause.setAttribute("aria-pressed", String(paused));
    if (!paused) show();
  });
  return {
    add(events, fresh) {
      if (fresh) { list.replaceChildren(); waiting = []; }
      waiting = waiting.concat(events).slice(-MOST);
      if (!fresh) unannounced = unannounced.concat(events.filter(fits)).slice(-999);
      if (!paused || fresh) { if (document.hidden || fresh) show(); else if (!frame) frame = requestAnimationFrame(show); }
    },
    reset() { list.replaceChildren(); waiting = []; unannounced = []; },
    older(events) { for (const event of events) list.append(draw(event)); showEmpty(); },
    get oldest() { return list.lastElementChild?.dataset.n; },
  };
}

export function eventRow(table) {
  const names = heads(table);
  return (event) => {
    const person = event.who ? (event.person !== event.who ? [event.who, el("small", {}, event.person)] : event.who) : "";
    const reason = [event.reason, event.action ? el("small", {}, event.action) : "", event.rule ? el("small", {}, `Rule ${event.rule}`) : ""];
    const cells = { Time: when(event.at_ms), Door: doorLink(event.door), Event: kindTag(event.kind), Person: person, Reason: reason, Distance: distance(event) };
    const made = row(names, names.map((name) => cells[name]));
    made.dataset.n = event.n;
    return made;
  };
}
