// All events, filtered by door and kind.
import { $, el, heads } from "./dom.js";
import { eventList, eventRow } from "./eventlist.js";
import { listen } from "./stream.js";

export const storedEvents = async (query) => (await fetch(`/api/events?${new URLSearchParams(query)}`)).json();

// The button that appends older events from the history.
export function olderButton(list, query) {
  $("older").addEventListener("click", async () => {
    const found = await storedEvents({ ...query(), before: list.oldest ?? "" });
    list.older(found);
    $("older").disabled = !found.length;
  });
}

export function eventsView() {
  const asked = new URLSearchParams(location.search), door = $("door"), kind = $("kind");
  const addDoor = (name) => { if (name && ![...door.options].some((option) => option.value === name)) door.append(el("option", { value: name }, name)); };
  addDoor(asked.get("door"));
  door.value = asked.get("door") ?? ""; kind.value = asked.get("kind") ?? "";
  const table = $("events");
  const query = () => ({ door: door.value, kind: kind.value });
  const fits = (event) => (!door.value || event.door === door.value) && (!kind.value || event.kind === kind.value);
  const list = eventList(table.tBodies[0], eventRow(table), fits);
  const refill = async () => {
    history.replaceState(null, "", `?${new URLSearchParams(query())}`);
    list.reset();
    list.older(await storedEvents(query()));
  };
  for (const each of [door, kind]) each.addEventListener("change", refill);
  $("filter").addEventListener("submit", (event) => event.preventDefault());
  olderButton(list, query);
  listen((batch) => {
    for (const each of batch.doors) addDoor(each.door);
    list.add(batch.events, batch.fresh);
    if (batch.fresh && (door.value || kind.value)) refill();
  });
}
