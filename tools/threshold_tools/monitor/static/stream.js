// The stream of batches. After an interruption it continues where it ended; it closes while the page is hidden.
import { $ } from "./dom.js";

export const fleet = { doors: new Map(), broker: null };

function limits({ unlisted, lost }) {
  const text = [unlisted ? `${unlisted} more doors are not listed; their events are kept and shown.` : "", lost ? `The history lost ${lost} rows because its disk is too slow or full.` : ""].join(" ").trim();
  const note = $("limits");
  if (note && note.textContent !== text) { note.textContent = text; note.hidden = !text; }
}

export function listen(onBatch) {
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
      const batch = JSON.parse(message.data);
      if (batch.fresh) fleet.doors.clear();
      for (const door of batch.doors) fleet.doors.set(door.door, door);
      if (batch.broker) fleet.broker = batch.broker;
      limits(batch);
      const { state, why } = fleet.broker ?? { state: "connecting", why: "" };
      show(state === "connected" ? "Live" : state === "disconnected" ? `Broker unreachable: ${why}` : "Connecting to the broker …", state !== "connected");
      onBatch(batch);
    };
    source.onerror = () => {
      show("Monitor unreachable, retrying …", true);
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
