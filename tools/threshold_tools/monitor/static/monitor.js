// Every page: colours, sign-in link, forms; then the script of the page's view.
import { $ } from "./dom.js";
import { doorsView, releasesView } from "./doors.js";
import { eventsView } from "./events.js";
import { doorView, healthView } from "./health.js";

const root = document.documentElement;
const theme = $("theme");
const dark = () => (root.dataset.theme ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")) === "dark";
const labelTheme = () => { theme.textContent = dark() ? "Light" : "Dark"; theme.setAttribute("aria-label", `${dark() ? "Light" : "Dark"} colours`); };
theme.addEventListener("click", () => { root.dataset.theme = dark() ? "light" : "dark"; localStorage.setItem("theme", root.dataset.theme); labelTheme(); });
labelTheme();

document.querySelector(".top [aria-current]")?.scrollIntoView({ block: "nearest", inline: "center" });

const reload = document.querySelector("[data-reload-s]");
if (reload) setTimeout(() => location.reload(), 1000 * Number(reload.dataset.reloadS));

// The link that the monitor prints has a one-time code after #, which browsers do not send. It is taken out of the
// address before anything else, and posted like a token.
const code = $("code");
function postCode() {
  if (!code || location.hash.length < 2) return;
  code.value = location.hash.slice(1);
  history.replaceState(null, "", location.pathname);
  code.form.submit();
}
postCode();
addEventListener("hashchange", postCode); // the link was pasted into a tab with this page

// The id of a new person names a folder, so the form checks it before it is sent; ids of known people are accepted.
for (const field of document.querySelectorAll("input[data-id-pattern]")) {
  const pattern = new RegExp(`^(?:${field.dataset.idPattern})$`, "u");
  field.addEventListener("input", () => {
    const fits = !field.value || pattern.test(field.value.trim()) || [...field.list.options].some((option) => option.value === field.value);
    field.setCustomValidity(fits ? "" : field.dataset.idRule);
  });
}

const views = { doors: doorsView, events: eventsView, health: healthView, releases: releasesView, door: doorView };
const view = document.querySelector("[data-view]");
if (view) views[view.dataset.view](view);
