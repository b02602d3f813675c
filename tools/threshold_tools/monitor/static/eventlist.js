// Events, newest first, bounded; can be paused, and says aloud no more often than every 15 s what has happened.
import { $, doorLink, el, heads, kindTag, near, row, safely, when } from "./dom.js";

const MOST = 200, SAY_MS = 15000;

export function eventList(list, drawn, fits) {
  const draw = (event) => safely(() => drawn(event), () => el(list.tagName === "TBODY" ? "tr" : "li", { hidden: "" }));
  let paused = false, waiting = [], unsaid = [], saidAt = Date.now(), frame = 0;
  const told = () => { $("nothing").hidden = list.childElementCount > 0; };
  const show = () => {
    frame = 0;
    const fresh = waiting.splice(0).filter(fits).slice(-MOST);
    const made = document.createDocumentFragment();
    for (const event of fresh.reverse()) { const item = draw(event); item.classList.add("new"); made.append(item); }
    list.prepend(made);
    while (list.childElementCount > MOST) list.lastElementChild.remove();
    told();
  };
  const say = () => {
    if (!unsaid.length || Date.now() - saidAt < SAY_MS) return;
    const last = unsaid.at(-1);
    $("spoken").textContent = `${unsaid.length} new, the last: ${last.door}, ${last.kind}${last.who ? `, ${last.who}` : ""}`;
    unsaid = []; saidAt = Date.now();
  };
  setInterval(say, 3000);
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
      if (!fresh) unsaid = unsaid.concat(events.filter(fits)).slice(-999);
      if (!paused || fresh) { if (document.hidden || fresh) show(); else if (!frame) frame = requestAnimationFrame(show); }
    },
    reset() { list.replaceChildren(); waiting = []; unsaid = []; },
    older(events) { for (const event of events) list.append(draw(event)); told(); },
    get oldest() { return list.lastElementChild?.dataset.n; },
  };
}

export function eventRow(table) {
  const names = heads(table);
  return (event) => {
    const who = event.who ? (event.person !== event.who ? [event.who, small(event.person)] : event.who) : "";
    const made = row(names, [when(event.at_ms), doorLink(event.door), kindTag(event.kind), who, [event.reason, event.rule ? small(`rule ${event.rule}`) : ""], near(event)]);
    made.dataset.n = event.n;
    return made;
  };
}
function small(text) { const made = document.createElement("small"); made.textContent = text; return made; }
