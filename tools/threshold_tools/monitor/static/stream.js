// The stream of portions; one that was broken off is taken up where it ended. Closed while nobody looks.
import { $ } from "./dom.js";

export const fleet = { doors: new Map(), broker: null };

function limits({ unlisted, lost }) {
  const told = [unlisted ? `${unlisted} more doors are not listed here; their events are kept and shown.` : "", lost ? `The history has lost ${lost} rows: its disk is too slow or full.` : ""].join(" ").trim();
  const note = $("limits");
  if (note && note.textContent !== told) { note.textContent = told; note.hidden = !told; }
}

export function listen(tell) {
  let source = null, last = "", lastAt = 0, timer = 0;
  const show = (text, bad) => {
    const link = $("link");
    if (link.textContent !== text) link.textContent = text;
    link.className = `link ${bad ? "bad" : "good"}`;
  };
  const open = () => {
    if (source) return;
    source = new EventSource(last ? `/stream?after=${encodeURIComponent(last)}` : "/stream");
    source.onmessage = (message) => {
      last = message.lastEventId; lastAt = Date.now();
      const portion = JSON.parse(message.data);
      if (portion.fresh) fleet.doors.clear();
      for (const door of portion.doors) fleet.doors.set(door.door, door);
      if (portion.broker) fleet.broker = portion.broker;
      limits(portion);
      const { state, why } = fleet.broker ?? { state: "connecting", why: "" };
      show(state === "connected" ? "Live" : state === "away" ? `Broker away: ${why}` : "Reaching the broker …", state !== "connected");
      tell(portion);
    };
    source.onerror = () => {
      show("Monitor not reached, trying again …", true);
      if (source.readyState === EventSource.CLOSED) { close(); clearTimeout(timer); timer = setTimeout(open, 3000); }
    };
  };
  const close = () => { source?.close(); source = null; };
  document.addEventListener("visibilitychange", () => {
    clearTimeout(timer);
    if (document.hidden) timer = setTimeout(close, 30000); else open();
  });
  addEventListener("pagehide", close);
  addEventListener("pageshow", (event) => { if (event.persisted) open(); });
  open();
}
